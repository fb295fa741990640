/* input.h -- files that are read: by pread (an I/O error is an error value) or, for the runner, mapped.
 *
 * An Input is immutable and safe to use from many threads. Parsers never see a path: tests and fuzzers feed
 * them memory. A mapped page that can't be read raises SIGBUS, so only the runner maps; conversion and
 * hashing pread. */
#ifndef RECAST_CORE_INPUT_H
#define RECAST_CORE_INPUT_H

#include "core/buffer.h"

typedef struct Input Input;

/* Opens a regular file for reading. Errors: ERR_IO (missing, not permitted, a directory). Caller closes. */
int input_open(Input **out, const char *path, const Allocator *allocator, Error *err) MUST_CHECK;
/* An Input over `length` bytes of memory that the caller keeps alive; `name` is used in messages. */
int input_open_memory(Input **out, const char *name, const void *bytes, size_t length,
                      const Allocator *allocator, Error *err) MUST_CHECK;
/* The open file behind a descriptor, which is duplicated: for reading back a file that has no final name yet.
 * `name` is used in messages. */
int input_open_fd(Input **out, int fd, const char *name, const Allocator *allocator, Error *err) MUST_CHECK;
void input_close(Input *in); /* NULL-safe */

uint64_t input_size(const Input *in);    /* bytes, as seen when it was opened */
const char *input_path(const Input *in); /* as given; borrowed */
const char *input_name(const Input *in); /* last component of the path; borrowed */
int input_fd(const Input *in);           /* for calls that copy inside the kernel; -1 for memory; borrowed */

/* Exactly `length` bytes from `offset` into buffer, or an error: ERR_FORMAT "truncated" beyond the end,
 * ERR_IO. EINTR is retried. Thread-safe. */
int input_read(const Input *in, uint64_t offset, void *buffer, size_t length, Error *err) MUST_CHECK;
/* A hint that changes nothing but speed: these bytes are wanted soon. */
void input_prefetch(const Input *in, uint64_t offset, uint64_t length);
/* The whole file mapped read-only; the same pointer at each call; lives as long as the Input. Not thread-safe
 * the first time. Zero-length files give a valid pointer. */
int input_map(Input *in, const uint8_t **out, Error *err) MUST_CHECK;
/* Is `path` this very file on disk, by whatever name or link? */
bool input_is(const Input *in, const char *path);
/* Appends what tells this file, as it was when opened, from any other and from itself after a change: device,
 * inode, size and modification time. For keys of unfinished work on this machine; never for an output. */
void input_identity(const Input *in, Buffer *out);
/* 0 if the file on disk still has the size, inode and modification time it had at open; ERR_CHECK if not. Of
 * one that was opened by descriptor the file behind that is looked at, whatever name it has now. */
int input_unchanged(const Input *in, Error *err) MUST_CHECK;

/* A whole small file as text in the arena, NUL-terminated; ERR_LIMIT if larger than `limit` bytes. */
int input_read_file(char **text, size_t *length, const char *path, uint64_t limit, Arena *arena,
                    Error *err) MUST_CHECK;

#endif
