/* error.c -- fills and extends error values. Allocates nothing, so it works when memory is gone.
 *
 * Messages quote names from files that may be hostile, and end on terminals and in logs. So control
 * characters and bytes that are not UTF-8 become '?': a tensor name can neither add a line nor move a cursor.
 */
#include "core/error.h"
#include "core/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = sizeof(((Error *)0)->message) };

size_t printable_length(const char *s, size_t n) {
    uint32_t c = 0;
    size_t length = utf8_decode(s, n, &c);
    bool control = c < 0x20 || (c >= 0x7F && c < 0xA0); /* U+0080 to U+009F steer terminals too */
    return length && !control ? length : 0;
}

/* Copies text into out (which holds `size` bytes with the NUL), cleaned, and cut between characters if it is
 * too long. Returns the length. */
static size_t copy_clean(char *out, size_t size, const char *text) {
    size_t left = strlen(text), written = 0;
    while (left > 0) {
        size_t n = printable_length(text, left);
        size_t step = n ? n : 1;
        if (step > size - 1 - written) break;
        if (n) {
            memcpy(out + written, text, n);
        } else {
            out[written] = '?';
        }
        written += step;
        text += step;
        left -= step;
    }
    out[written] = '\0';
    return written;
}

/* A body that is too long is cut so that the suffix, which carries the reason or the place, always fits. */
static void fill(Error *err, ErrorCode code, const char *suffix, const char *format, va_list args) {
    /* Not err->message itself: that may be one of the arguments. Longer by a character, so that one which
     * vsnprintf cuts in two lies beyond what is copied. */
    char body[MESSAGE_SIZE + 4];
    if (vsnprintf(body, sizeof body, format, args) < 0) body[0] = '\0';
    *err = (Error){.code = code};
    size_t length = copy_clean(err->message, sizeof err->message - strlen(suffix), body);
    memcpy(err->message + length, suffix, strlen(suffix) + 1);
}

int error_set(Error *err, ErrorCode code, const char *format, ...) {
    if (!err) return (int)code;
    va_list args;
    va_start(args, format);
    fill(err, code, "", format, args);
    va_end(args);
    return (int)code;
}

int error_sys(Error *err, ErrorCode code, int sys, const char *format, ...) {
    if (!err) return (int)code;
    char text[128] = "", suffix[160] = "";
    if (sys) snprintf(suffix, sizeof suffix, ": %s", strerror_r(sys, text, sizeof text));
    va_list args;
    va_start(args, format);
    fill(err, code, suffix, format, args);
    va_end(args);
    err->sys = sys;
    return (int)code;
}

int error_at(Error *err, ErrorCode code, uint64_t offset, const char *format, ...) {
    if (!err) return (int)code;
    char suffix[48];
    snprintf(suffix, sizeof suffix, " (at byte %llu)", (unsigned long long)offset);
    va_list args;
    va_start(args, format);
    fill(err, code, suffix, format, args);
    va_end(args);
    err->has_offset = true;
    err->offset = offset;
    return (int)code;
}

int error_wrap(Error *err, int code, const char *format, ...) {
    if (!err || !code) return code;
    Error outer;
    va_list args;
    va_start(args, format);
    fill(&outer, err->code, ": ", format, args);
    va_end(args);
    size_t length = strlen(outer.message);
    copy_clean(outer.message + length, sizeof outer.message - length, err->message);
    memcpy(err->message, outer.message, sizeof err->message);
    return code;
}

const char *error_name(ErrorCode code) {
    switch (code) {
#define X(value, name, status) \
    case value: return name;
        ERROR_CODES(X)
#undef X
    }
    return "unknown";
}

int error_exit_status(ErrorCode code) {
    switch (code) {
#define X(value, name, status) \
    case value: return status;
        ERROR_CODES(X)
#undef X
    }
    return 3;
}
