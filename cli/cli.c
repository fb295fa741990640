/* cli.c -- parsing, help and printing that every command shares. */
#include "cli/cli.h"
#include "cli/progress_line.h"
#include "core/json.h"
#include "core/utf8.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_SPECS = 48 };

static void print_option(const OptionSpec *spec) {
    char left[64];
    if (spec->letter)
        snprintf(left, sizeof left, "-%c, %s %s", spec->letter, spec->name, spec->value ? spec->value : "");
    else
        snprintf(left, sizeof left, "    %s %s", spec->name, spec->value ? spec->value : "");
    printf("  %-30s %s\n", left, spec->help);
}

static void print_help(const Command *command, const OptionSpec *specs, size_t n_specs) {
    printf("recast %s -- %s\n\nusage: recast %s\n", command->name, command->summary, command->usage);
    if (command->details) printf("\n%s\n", command->details);
    printf("\noptions:\n");
    for (size_t i = 0; i < n_specs; i++)
        if (specs[i].help) print_option(&specs[i]);
    printf("\nexamples:\n%s", command->examples);
}

int cli_parse(Cli *cli, int argc, char **argv, const OptionSpec *specs, size_t n_specs, size_t min_args,
              size_t max_args, Error *err) {
    const char *form = NULL;
    const OptionSpec common[] = {
        {"--json", 0, OPTION_FLAG, NULL, "print one JSON document on stdout", &cli->json},
        {"--quiet", 'q', OPTION_FLAG, NULL, "no progress, no messages but errors", &cli->quiet},
        {"--verbose", 'v', OPTION_FLAG, NULL, "say more", &cli->verbose},
        {"--progress", 0, OPTION_STRING, "FORM",
         "line (on a terminal), json (a line of JSON a report, on stderr) or none", &form},
        {"--threads", 0, OPTION_U32, "N", "threads to use (default: one a processor)", &cli->threads},
        {"--help", 'h', OPTION_FLAG, NULL, "this text", &cli->help},
    };
    OptionSpec all[MAX_SPECS];
    size_t n = 0;
    for (size_t i = 0; i < n_specs && n < MAX_SPECS; i++) all[n++] = specs[i];
    for (size_t i = 0; i < sizeof common / sizeof *common && n < MAX_SPECS; i++) all[n++] = common[i];
    TRY(options_parse(argc, argv, all, n, &cli->args, err));
    if (cli->help) {
        print_help(cli->command, all, n);
        cli->done = true;
        return 0;
    }
    if (cli->args.count < min_args || cli->args.count > max_args)
        return error_set(err, ERR_USAGE, "%s argument; usage: recast %s",
                         cli->args.count < min_args ? "missing" : "unexpected", cli->command->usage);
    if (!progress_line_init(cli->line, form, cli->quiet))
        return error_set(err, ERR_USAGE, "--progress %s: line, json and none are offered", form);
    cli->progress = progress_line_progress(cli->line);
    return 0;
}

int cli_check_new(const char *path, const char *option, Error *err) {
    struct stat st;
    if (!path || stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return 0;
    return error_set(err, ERR_IO, "%s exists: give another %s, or --replace to write it anew", path, option);
}

int cli_check_package(const char *path, Error *err) {
    char manifest[CLI_PATH_MAX];
    struct stat st;
    int n = snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return 0;
    if (n < 0 || (size_t)n >= sizeof manifest || stat(manifest, &st) == 0 || errno != ENOENT) return 0;
    return error_set(err, ERR_IO, "%s is no package: it has no manifest.json; recast build makes packages",
                     path);
}

int cli_path_from(const char *given, const char *out, char buf[CLI_PATH_MAX], const char **path, Error *err) {
    char *whole = NULL;
    *path = given;
    if (!out || !strchr(out, '/') || given[0] == '/') return 0;
    whole = realpath(given, NULL);
    int n = whole ? snprintf(buf, CLI_PATH_MAX, "%s", whole) : -1;
    free(whole);
    *path = buf;
    return n > 0 && n < CLI_PATH_MAX ? 0 : error_set(err, ERR_IO, "%s: the whole path can't be found", given);
}

void cli_name_flag(Error *err, const char *phrase, const char *flag) {
    char *at = strstr(err->message, phrase);
    size_t n = strlen(flag) + 3, end = at ? strlen(at) + 1 : 0;
    if (!at || strlen(err->message) + n >= sizeof err->message) return;
    at += strlen(phrase);
    memmove(at + n, at, end - strlen(phrase));
    at[0] = ' ', at[1] = '(', at[n - 1] = ')';
    memcpy(at + 2, flag, n - 3);
}

void cli_end_progress(Cli *cli) {
    progress_line_end(cli->line);
}

int cli_print_json(cJSON *document, Error *err) {
    Buffer text;
    buffer_init(&text, NULL);
    json_write_pretty(&text, document);
    cJSON_Delete(document);
    int code = buffer_ok(&text, "the JSON output", err);
    if (!code) fputs(buffer_string(&text), stdout);
    buffer_free(&text);
    return code;
}

void cli_print_safe(const char *text, size_t length) {
    for (size_t i = 0, n; i < length; i += n ? n : 1) {
        n = printable_length(text + i, length - i);
        if (n)
            fwrite(text + i, 1, n, stdout);
        else if (text[i] == '\n')
            fputs("\\n", stdout);
        else if (text[i] == '\t')
            fputs("\\t", stdout);
        else
            printf("\\x%02x", (unsigned char)text[i]);
    }
}

const char *human_bytes(uint64_t bytes, char buf[32]) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) value /= 1000, unit++;
    snprintf(buf, 32,
             unit == 0     ? "%.0f %s"
             : value < 10  ? "%.2f %s"
             : value < 100 ? "%.1f %s"
                           : "%.0f %s",
             value, units[unit]);
    return buf;
}

const char *hub_cache_root(char *buf, size_t size) {
    const char *hub = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME"), *user = getenv("HOME");
    int n = -1;
    if (hub && *hub)
        n = snprintf(buf, size, "%s", hub);
    else if (home && *home)
        n = snprintf(buf, size, "%s/hub", home);
    else if (user && *user)
        n = snprintf(buf, size, "%s/.cache/huggingface/hub", user);
    return n > 0 && (size_t)n < size ? buf : NULL;
}
