/* options.h -- command lines: declared in a table, from which parsing and --help both follow. */
#ifndef RECAST_CLI_OPTIONS_H
#define RECAST_CLI_OPTIONS_H

#include "core/error.h"
#include <stddef.h>

enum { OPTION_LIST_MAX = 64, POSITIONAL_MAX = 8 };

typedef enum OptionKind {
    OPTION_FLAG,   /* bool * */
    OPTION_STRING, /* const char ** */
    OPTION_LIST,   /* OptionList *: may be repeated */
    OPTION_U32,    /* uint32_t * */
    OPTION_U64,    /* uint64_t * */
    OPTION_FLOAT   /* float * */
} OptionKind;

typedef struct OptionList {
    const char *items[OPTION_LIST_MAX];
    size_t count;
} OptionList;

typedef struct OptionSpec {
    const char *name; /* "--set" */
    char letter;      /* 'o' for -o; 0 if there is none */
    OptionKind kind;
    const char *value; /* "KEY=VALUE": for --help; NULL for flags */
    const char *help;  /* NULL: an old name, which --help leaves out */
    void *target;      /* left alone when the option is absent */
} OptionSpec;

typedef struct Positionals {
    const char *items[POSITIONAL_MAX];
    size_t count;
} Positionals;

/* Parses argv[1..]; options and positionals may be mixed; "--" ends options; "--name=value" and "-ovalue"
 * work. Values are borrowed from argv. Errors: ERR_USAGE, with the nearest known option for an unknown one.
 */
int options_parse(int argc, char **argv, const OptionSpec *specs, size_t n_specs, Positionals *positionals,
                  Error *err) MUST_CHECK;

/* Strict decimal numbers: no sign, no blanks, no rest. */
bool parse_u64(const char *text, uint64_t max, uint64_t *out);
/* A finite decimal number, '.' as the point in every locale. */
bool parse_double(const char *text, double *out);

#endif
