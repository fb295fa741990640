/* options.c -- see options.h. */
#include "cli/options.h"
#include "core/json.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

bool parse_u64(const char *text, uint64_t max, uint64_t *out) {
    uint64_t value = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    if (value > max) return false;
    *out = value;
    return true;
}

/* A JSON number's grammar is the locale-free one; cJSON parses it. A leading '.' or '+' is refused, which is
 * fine. */
bool parse_double(const char *text, double *out) {
    cJSON *number = NULL;
    if (json_parse(&number, text, strlen(text), "number", NULL)) return false;
    bool ok = cJSON_IsNumber(number) && isfinite(number->valuedouble);
    if (ok) *out = number->valuedouble;
    cJSON_Delete(number);
    return ok;
}

static const OptionSpec *find_long(const OptionSpec *specs, size_t n, const char *name, size_t length) {
    for (size_t i = 0; i < n; i++)
        if (strlen(specs[i].name) == length && !memcmp(specs[i].name, name, length)) return &specs[i];
    return NULL;
}

static const OptionSpec *find_letter(const OptionSpec *specs, size_t n, char letter) {
    for (size_t i = 0; i < n; i++)
        if (specs[i].letter == letter) return &specs[i];
    return NULL;
}

static int unknown_option(const OptionSpec *specs, size_t n, const char *name, Error *err) {
    const char *known[OPTION_LIST_MAX + 1];
    size_t count = 0;
    for (size_t i = 0; i < n && count < OPTION_LIST_MAX; i++) known[count++] = specs[i].name;
    known[count] = NULL;
    const char *near = nearest_word(name, known);
    if (near) return error_set(err, ERR_USAGE, "unknown option %s: did you mean %s?", name, near);
    return error_set(err, ERR_USAGE, "unknown option %s", name);
}

static int store(const OptionSpec *spec, const char *value, Error *err) {
    uint64_t number;
    double real;
    switch (spec->kind) {
    case OPTION_FLAG: *(bool *)spec->target = true; return 0;
    case OPTION_STRING: *(const char **)spec->target = value; return 0;
    case OPTION_LIST: {
        OptionList *list = spec->target;
        if (list->count == OPTION_LIST_MAX)
            return error_set(err, ERR_USAGE, "%s is given more than %d times", spec->name, OPTION_LIST_MAX);
        list->items[list->count++] = value;
        return 0;
    }
    case OPTION_U32:
        if (!parse_u64(value, UINT32_MAX, &number)) break;
        *(uint32_t *)spec->target = (uint32_t)number;
        return 0;
    case OPTION_U64:
        if (!parse_u64(value, UINT64_MAX, &number)) break;
        *(uint64_t *)spec->target = number;
        return 0;
    case OPTION_FLOAT:
        if (!parse_double(value, &real)) break;
        *(float *)spec->target = (float)real;
        return 0;
    }
    return error_set(err, ERR_USAGE, "%s takes a %s, not \"%s\"", spec->name,
                     spec->kind == OPTION_FLOAT ? "number" : "whole number", value);
}

int options_parse(int argc, char **argv, const OptionSpec *specs, size_t n_specs, Positionals *positionals,
                  Error *err) {
    positionals->count = 0;
    bool only_positionals = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (only_positionals || arg[0] != '-' || !arg[1]) {
            if (positionals->count == POSITIONAL_MAX)
                return error_set(err, ERR_USAGE, "too many arguments: \"%s\"", arg);
            positionals->items[positionals->count++] = arg;
            continue;
        }
        if (!strcmp(arg, "--")) {
            only_positionals = true;
            continue;
        }
        const OptionSpec *spec;
        const char *value = NULL;
        if (arg[1] == '-') {
            const char *equals = strchr(arg, '=');
            spec = find_long(specs, n_specs, arg, equals ? (size_t)(equals - arg) : strlen(arg));
            if (equals) value = equals + 1;
        } else {
            spec = find_letter(specs, n_specs, arg[1]);
            if (arg[2]) value = arg + 2;
        }
        if (!spec) return unknown_option(specs, n_specs, arg, err);
        if (spec->kind == OPTION_FLAG && value)
            return error_set(err, ERR_USAGE, "%s takes no value", spec->name);
        if (spec->kind != OPTION_FLAG && !value) {
            if (i + 1 == argc)
                return error_set(err, ERR_USAGE, "%s needs a value: %s", spec->name, spec->value);
            value = argv[++i];
        }
        TRY(store(spec, value, err));
    }
    return 0;
}
