/* findings.c -- how a check becomes a line of the report, and which errors are no finding. */
#include "validate/validation.h"
#include <errno.h>
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

/* A report holds no path of the machine: it is the same wherever the artifact lies. "DIR/config.json" becomes
 * "config.json", the path itself the label. */
static void without_path(const Validation *v, Buffer *out, const char *text) {
    size_t length = v->path ? strlen(v->path) : 0;
    const char *at = length ? strstr(text, v->path) : NULL;
    for (; at; text = at + length, at = strstr(text, v->path)) {
        buffer_append(out, text, (size_t)(at - text));
        if (at[length] == '/')
            at++;
        else
            buffer_text(out, v->label[0] ? v->label : "the file");
    }
    buffer_text(out, text);
}

static void add_text(const Validation *v, const char *group, CheckStatus status, const char *name,
                     const char *detail) {
    Buffer full, clean;
    buffer_init(&full, NULL);
    buffer_init(&clean, NULL);
    without_path(v, &clean, detail);
    report_add(v->report, group, status, labelled(v, &full, name), "%s", buffer_string(&clean));
    if (full.failed || clean.failed) v->report->failed_alloc = true;
    buffer_free(&full);
    buffer_free(&clean);
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
    add_text(v, group, found->code == ERR_UNSUPPORTED ? CHECK_NOT_RUN : CHECK_FAIL, name, found->message);
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
