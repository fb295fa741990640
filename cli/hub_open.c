/* hub_open.c -- see hub_open.h. */
#include "cli/hub_open.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TOKEN_SIZE = 4096 };

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_on(const char *name) {
    static const char *const yes[] = {"1", "ON", "YES", "TRUE"};
    const char *value = variable(name);
    for (size_t i = 0; value && i < sizeof yes / sizeof *yes; i++)
        if (!strcasecmp(value, yes[i])) return true;
    return false;
}

/* Below a home directory: $VAR/END, or ~/.cache/REST/END. */
static const char *below(const char *home_variable, const char *rest, const char *end, char *buf,
                         size_t size) {
    const char *home = variable(home_variable), *user = variable("HOME");
    int n = -1;
    if (home)
        n = snprintf(buf, size, "%s/%s", home, end);
    else if (user)
        n = snprintf(buf, size, "%s/.cache/%s%s", user, rest, end);
    return n > 0 && (size_t)n < size ? buf : NULL;
}

static const char *token_file(char *buf, size_t size) {
    const char *named = variable("HF_TOKEN_PATH"), *cache = variable("XDG_CACHE_HOME");
    if (named) return named;
    if (!variable("HF_HOME") && cache) {
        int n = snprintf(buf, size, "%s/huggingface/token", cache);
        return n > 0 && (size_t)n < size ? buf : NULL;
    }
    return below("HF_HOME", "huggingface/", "token", buf, size);
}

/* Without blanks and line ends around it; false if nothing is left. */
static bool trim(char *token) {
    size_t begin = strspn(token, " \t\r\n"), end = strlen(token);
    while (end > begin && strchr(" \t\r\n", token[end - 1])) end--;
    memmove(token, token + begin, end - begin);
    token[end - begin] = '\0';
    return end > begin;
}

static bool find_token(char token[TOKEN_SIZE]) {
    const char *value = variable("HF_TOKEN");
    char buf[4096];
    if (!value) value = variable("HUGGING_FACE_HUB_TOKEN");
    if (value) {
        int n = snprintf(token, TOKEN_SIZE, "%s", value);
        return n > 0 && n < TOKEN_SIZE && trim(token);
    }
    const char *path = token_file(buf, sizeof buf);
    FILE *f = path ? fopen(path, "r") : NULL;
    if (!f) return false;
    size_t n = fread(token, 1, TOKEN_SIZE - 1, f);
    fclose(f);
    token[n] = '\0';
    return trim(token);
}

int cli_hub_open(Hub **out, bool need_token, unsigned connections, float wait, Error *err) {
    char token[TOKEN_SIZE], buf[4096];
    *out = NULL;
    if (is_on("HF_HUB_OFFLINE"))
        return error_set(err, ERR_IO, "HF_HUB_OFFLINE is set, so the Hub is not asked");
    bool found = find_token(token);
    if (!found && need_token)
        return error_set(err, ERR_IO,
                         "no token: set HF_TOKEN or run `hf auth login` (looked for in HF_TOKEN and %s)",
                         token_file(buf, sizeof buf) ? token_file(buf, sizeof buf) : "no home directory");
    if (found && !need_token && is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN")) found = false;
    HubOptions options = {.endpoint = variable("HF_ENDPOINT"),
                          .token = found ? token : NULL,
                          .wait = (double)wait,
                          .connections = connections};
    int code = hub_open(out, &options, err);
    memset(token, 0, sizeof token);
    return code;
}

const char *cli_cache_directory(const char *what, char *buf, size_t size) {
    const char *cache = variable("XDG_CACHE_HOME"), *user = variable("HOME");
    int n = -1;
    if (cache)
        n = snprintf(buf, size, "%s/recast/%s", cache, what);
    else if (user)
        n = snprintf(buf, size, "%s/.cache/recast/%s", user, what);
    return n > 0 && (size_t)n < size ? buf : NULL;
}
