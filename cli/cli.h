/* cli.h -- what every command shares. Only cli/ prints or exits: results on stdout, progress and messages on
 * stderr. */
#ifndef RECAST_CLI_CLI_H
#define RECAST_CLI_CLI_H

#include "cli/options.h"
#include "core/buffer.h"
#include "core/progress.h"
#include "recipes/recipe.h"

typedef struct Cli Cli;

typedef struct Command {
    const char *name;
    const char *summary;  /* one line */
    const char *usage;    /* "build RECIPE [-o DIR] [options]" */
    const char *details;  /* what it does; NULL if the summary says it */
    const char *examples; /* lines, each indented by two */
    int (*run)(Cli *cli, int argc, char **argv, Error *err);
} Command;

struct Cli {
    const Command *command;
    bool help, json, quiet, verbose; /* the options that every command has */
    uint32_t threads;
    bool done;       /* --help was printed: the command returns 0 at once */
    int exit_status; /* what main returns if there is no error: 1 after a failed check */
    Positionals args;
    Progress progress;
    struct ProgressLine *line;
};

extern const Command command_init, command_publish, command_launch;
extern const Command command_sign, command_package, command_unpack;
extern const Command command_build, command_pin, command_convert, command_edit, command_inspect,
    command_compare, command_validate, command_run, command_eval, command_sweep, command_tokenize;
extern const Command *const commands[]; /* NULL-terminated */

/* Parses with the command's specs and the common ones; prints --help if asked (cli->done). Checks the number
 * of positionals. */
int cli_parse(Cli *cli, int argc, char **argv, const OptionSpec *specs, size_t n_specs, size_t min_args,
              size_t max_args, Error *err) MUST_CHECK;

/* A model as users name it: a recipe (*.json), a checkpoint directory or a GGUF. */
typedef struct Subject {
    Recipe *recipe;     /* NULL if it is none */
    const char *commit; /* of the source, NULL if unknown */
    Model *source;      /* checkpoint or GGUF */
    RecipeStack stack;  /* of a recipe */
    const Model *model; /* what to read */
} Subject;
/* A recipe is opened before retype, or as its N-th output (1-based) if output is not 0. */
int subject_open(Subject *out, const char *path, const OptionList *sets, uint32_t output,
                 Error *err) MUST_CHECK;
void subject_close(Subject *s);
/* Says on stderr if an edit in place of this file was cut short. */
void warn_interrupted_edit(const Cli *cli, const char *path);

/* $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub; NULL if there is no home. In buf. */
const char *hub_cache_root(char *buf, size_t size);

/* Prints a JSON document on stdout; takes ownership of it. */
int cli_print_json(cJSON *document, Error *err) MUST_CHECK;
/* A text whose control characters are made visible, so that a hostile file can't drive the terminal. */
void cli_print_safe(const char *text, size_t length);
/* "3.74 GB" in decimal units. */
const char *human_bytes(uint64_t bytes, char buf[32]);
/* ERR_IO if there is a file of that name already (a device is fine): what took hours must not be overwritten
 * by a slip of the hand. `option` ("-o") gave the name; path NULL: it was not given. The command has an
 * option
 * --replace, and asks before the work. */
int cli_check_new(const char *path, const char *option, Error *err) MUST_CHECK;
enum { CLI_PATH_MAX = 4096 };
/* How a file that is written at `out` names `given`: as it is if out lies here (or is NULL), else by the
 * whole path, in buf, since what is relative there is relative to another directory. *path is borrowed.
 * ERR_IO */
int cli_path_from(const char *given, const char *out, char buf[CLI_PATH_MAX], const char **path,
                  Error *err) MUST_CHECK;
/* ERR_IO with what to do if `path` is a directory without manifest.json; anything else is found out later. */
int cli_check_package(const char *path, Error *err) MUST_CHECK;
/* A lower room's message says what to ask for ("ask to replace it"); behind that, " (--flag)" says how here.
 */
void cli_name_flag(Error *err, const char *phrase, const char *flag);
/* Ends the progress line, if one is shown. */
void cli_end_progress(Cli *cli);

#endif
