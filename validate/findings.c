/* findings.c -- how a check becomes a line of the report, and which errors are no finding. */
#include "validate/validation.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Names come from a package that may be anybody's: they are made safe for a terminal here, details when they
 * are printed. */
static const char *labelled(const Validation *v, Buffer *b, const char *name) {
    if (v->label[0]) {
        buffer_printable(b, v->label, strlen(v->label));
        buffer_text(b, ": ");
    }
    buffer_printable(b, name, strlen(name));
    return buffer_string(b);
}

/* Is what stands at `at` the path, and no piece of a sentence? A directory may be called "e" or ".", so a
 * path of letters or dots alone counts only where a path must be: before a slash, or before a colon at the
 * start. */
static bool is_path(const char *text, const char *at, const char *path) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t length = strlen(path);
    char next = at[length];
    if (at != text && !strchr(" \"(", at[-1])) return false;
    if (next == '/') return true;
    if (strspn(path, letters) == length || strspn(path, ".") == length) return at == text && next == ':';
    return strchr(" \":;,)", next); /* or the end */
}

/* "PATH/config.json" becomes "config.json", the path itself `label`. */
static void without(const char *path, const char *label, Buffer *out, const char *text) {
    size_t length = path ? strlen(path) : 0;
    const char *at = length ? strstr(text, path) : NULL, *rest = text;
    while (at) {
        bool found = is_path(text, at, path);
        const char *end = at + (found ? length : 1);
        buffer_append(out, rest, (size_t)((found ? at : end) - rest));
        if (found && *end == '/')
            end++;
        else if (found)
            buffer_text(out, label);
        rest = end;
        at = strstr(rest, path);
    }
    buffer_text(out, rest);
}

/* A report holds no path of the machine: it is the same wherever the artifact lies. Shards are named by their
 * first one and lie beside it. */
static void without_path(const Validation *v, Buffer *out, const char *text) {
    uint32_t number, count;
    const char *slash = v->path ? strrchr(v->path, '/') : NULL;
    bool beside = slash && slash != v->path && gguf_is_shard_path(v->path, &number, &count);
    Buffer itself;
    char directory[PATH_MAX];
    buffer_init(&itself, NULL);
    without(v->path, v->label[0] ? v->label : "the file", &itself, text);
    snprintf(directory, sizeof directory, "%.*s", beside ? (int)(slash - v->path) : 0,
             v->path ? v->path : "");
    without(directory, "the directory", out, buffer_string(&itself));
    if (itself.failed) v->report->failed_alloc = true;
    buffer_free(&itself);
}

static void add_text(const Validation *v, const char *group, CheckStatus status, const char *name,
                     const char *detail) {
    Buffer full;
    buffer_init(&full, NULL);
    report_add(v->report, group, status, labelled(v, &full, name), "%s", detail);
    if (full.failed) v->report->failed_alloc = true;
    buffer_free(&full);
}

void check_add(const Validation *v, const char *group, CheckStatus status, const char *name,
               const char *detail, ...) {
    Buffer b;
    va_list args;
    buffer_init(&b, NULL);
    va_start(args, detail);
    buffer_vprintf(&b, detail, args);
    va_end(args);
    if (b.failed) v->report->failed_alloc = true;
    add_text(v, group, status, name, buffer_string(&b));
    buffer_free(&b);
}

bool error_is_ours(int code) {
    return code == ERR_MEMORY || code == ERR_IO || code == ERR_INTERRUPTED || code == ERR_DEVICE;
}

int check_error(const Validation *v, const char *group, const char *name, const Error *found, Error *err) {
    if (error_is_ours(found->code)) {
        if (err) *err = *found;
        return found->code;
    }
    Buffer clean;
    buffer_init(&clean, NULL);
    without_path(v, &clean, found->message);
    add_text(v, group, found->code == ERR_UNSUPPORTED ? CHECK_NOT_RUN : CHECK_FAIL, name,
             buffer_string(&clean));
    if (clean.failed) v->report->failed_alloc = true;
    buffer_free(&clean);
    return 0;
}

/* A file that another one names and that is not there is the artifact's fault, not the machine's. */
static bool is_absence(const Error *e) {
    return e->code == ERR_IO &&
           (e->sys == 0 || e->sys == ENOENT || e->sys == ENOTDIR || e->sys == ENAMETOOLONG);
}

int check_open_error(const Validation *v, const Error *found, Error *err) {
    Error e = *found;
    if (is_absence(&e)) e.code = ERR_FORMAT;
    return check_error(v, "structure", "opens", &e, err);
}
