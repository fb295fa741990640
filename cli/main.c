/* main.c -- recast: one program, one command a job. */
#include "cli/cli.h"
#include "cli/cut_file.h"
#include "cli/progress_line.h"
#include "core/json.h"
#include "core/process.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void print_usage(FILE *to) {
    fprintf(to,
            "recast %s -- turns a recipe and a checkpoint into a model variant that anyone can check\n\n"
            "usage: recast COMMAND ... (recast COMMAND --help tells more)\n\n",
            RECAST_VERSION);
    for (const Command *const *c = commands; *c; c++) fprintf(to, "  %-10s %s\n", (*c)->name, (*c)->summary);
    fprintf(to, "\nexit status: 0 done, 1 a check failed, 2 usage, 3 bad input or I/O, 4 no such device, 130 "
                "interrupted\n");
}

static const Command *find_command(const char *name) {
    for (const Command *const *c = commands; *c; c++)
        if (!strcmp((*c)->name, name)) return *c;
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[32];
    size_t n = 0;
    for (const Command *const *c = commands; *c && n < 31; c++) names[n++] = (*c)->name;
    names[n] = NULL;
    const char *near = nearest_word(name, names);
    fprintf(stderr, "recast: unknown command \"%s\"%s%s%s recast --help lists them\n", name,
            near ? ": did you mean " : "", near ? near : "", near ? "?" : ";");
    return error_exit_status(ERR_USAGE);
}

static int report(Cli *cli, int code, const Error *err) {
    cli_end_progress(cli);
    if (!code) {
        if (fflush(stdout) == 0 && !ferror(stdout)) return cli->exit_status;
        fprintf(stderr, "recast %s: writing to standard output failed\n", cli->command->name);
        return error_exit_status(ERR_IO);
    }
    fflush(stdout);
    fprintf(stderr, "recast %s: %s\n", cli->command->name, err->message);
    if (code == ERR_USAGE) fprintf(stderr, "recast %s --help tells how to use it\n", cli->command->name);
    return error_exit_status((ErrorCode)code);
}

/* What stands before any command. A full disk or a closed pipe must not look like success. */
static int written(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    fprintf(stderr, "recast: writing to standard output failed\n");
    return error_exit_status(ERR_IO);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_usage(stderr);
        return error_exit_status(ERR_USAGE);
    }
    bool help = !strcmp(argv[1], "help"); /* help COMMAND: as COMMAND --help */
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || (help && argc == 2)) {
        print_usage(stdout);
        return written();
    }
    if (!strcmp(argv[1], "--version")) {
        printf("recast %s\n", RECAST_VERSION);
        return written();
    }
    const Command *command = find_command(argv[help ? 2 : 1]);
    if (!command) return unknown_command(argv[help ? 2 : 1]);
    process_catch_signals();
    process_allow_files();
    catch_cut_files();
    ProgressLine line;
    progress_line_init(&line, NULL, true);
    Cli cli = {.command = command, .line = &line};
    Error err = {0};
    char *asked[] = {argv[0], "--help", NULL};
    int code = help ? command->run(&cli, 2, asked, &err) : command->run(&cli, argc - 1, argv + 1, &err);
    return report(&cli, code, &err);
}
