/* error.h -- errors are values.
 *
 * Every function that can fail returns an int: 0, or the ErrorCode of what went wrong, and takes a last
 * argument `Error *err` (may be NULL) that it fills in. Nothing below cli/ prints or exits. A message says
 * what, where (file, tensor, byte offset), what was expected and found, and what to do; callers prepend
 * context with error_wrap. */
#ifndef RECAST_CORE_ERROR_H
#define RECAST_CORE_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* code, short name, exit status that cli/ gives it */
#define ERROR_CODES(X)                                                                                   \
    X(ERR_NONE, "none", 0)          /* success */                                                        \
    X(ERR_CHECK, "check failed", 1) /* a pin, hash or validation differs */                              \
    X(ERR_USAGE, "usage", 2)        /* the command line is wrong */                                      \
    X(ERR_IO, "i/o", 3)             /* the system refused: Error.sys is errno */                         \
    X(ERR_FORMAT, "format", 3)      /* a file is not what it claims to be */                             \
    X(ERR_RECIPE, "recipe", 3)      /* a recipe asks for something wrong; message names the JSON path */ \
    X(ERR_UNSUPPORTED, "unsupported", 3)   /* well-formed, but not offered; message says what is */      \
    X(ERR_MEMORY, "memory", 3)             /* an allocation failed */                                    \
    X(ERR_LIMIT, "limit", 3)               /* larger than a stated limit, or a size overflows */         \
    X(ERR_NUMERIC, "numeric", 3)           /* NaN or infinity where none may be */                       \
    X(ERR_DEVICE, "device", 4)             /* no such device */                                          \
    X(ERR_INTERRUPTED, "interrupted", 130) /* SIGINT or SIGTERM */

typedef enum ErrorCode {
#define X(code, name, status) code,
    ERROR_CODES(X)
#undef X
} ErrorCode;

typedef struct Error {
    ErrorCode code;
    int sys;            /* errno, 0 if none */
    bool has_offset;    /* is offset meaningful? */
    uint64_t offset;    /* bytes from the start of the file that the message names */
    char message[1000]; /* UTF-8, one line; control characters and stray bytes are '?'; cut when it is too
                         * long, but error_sys and error_at never lose the reason or the offset */
} Error;

#if defined(__GNUC__)
#define ERROR_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define MUST_CHECK               __attribute__((warn_unused_result))
#else
#define ERROR_PRINTF(fmt, first)
#define MUST_CHECK
#endif

/* All four fill *err (if not NULL) and return the code, so a function can `return error_set(...)`. */
int error_set(Error *err, ErrorCode code, const char *format, ...) ERROR_PRINTF(3, 4);
/* As error_set, for a failed system call: appends ": " and the text of sys (an errno). */
int error_sys(Error *err, ErrorCode code, int sys, const char *format, ...) ERROR_PRINTF(4, 5);
/* As error_set, for a place in a file: appends " (at byte N)". */
int error_at(Error *err, ErrorCode code, uint64_t offset, const char *format, ...) ERROR_PRINTF(4, 5);
/* Prepends "context: " to the message already there and returns its code. */
int error_wrap(Error *err, int code, const char *format, ...) ERROR_PRINTF(3, 4);

const char *error_name(ErrorCode code); /* "format"; static string */
int error_exit_status(ErrorCode code);  /* 0, 1, 2, 3, 4 or 130 */

/* Bytes of the UTF-8 character at s (at most n), or 0 if it is malformed, cut, or a control character. */
size_t printable_length(const char *s, size_t n);

/* Return early with the callee's code. */
#define TRY(call)                        \
    do {                                 \
        int try_code_ = (call);          \
        if (try_code_) return try_code_; \
    } while (0)

#endif
