/* output.h -- files and directories that appear under their name only when complete.
 *
 * Output: written to a hidden temporary name in the same directory, then fsync, rename, fsync of the
 * directory. Discarding (or a crash) leaves the old file, if any, as it was. OutputDir: the same for a whole
 * directory. */
#ifndef RECAST_CORE_OUTPUT_H
#define RECAST_CORE_OUTPUT_H

#include "core/memory.h"

typedef struct Output Output;

/* Creates the temporary beside `path`. ERR_IO if the directory is missing or not writable. */
int output_create(Output **out, const char *path, const Allocator *allocator, Error *err) MUST_CHECK;
/* Reserves `size` bytes on disk, so that a full disk is an error now and not in the middle. File systems that
 * can't reserve are no error. The file's length is still that of what is written. */
int output_reserve(Output *o, uint64_t size, Error *err) MUST_CHECK;
/* Writes at an offset; may be called from several threads for disjoint ranges. */
int output_write(Output *o, uint64_t offset, const void *bytes, size_t length, Error *err) MUST_CHECK;
/* A hint: these bytes may go to the disk from now on, so that less is left for the commit; and of a file that
 * was reserved larger than an eighth of memory, what lies 512 MB before them may leave the page cache. */
void output_start(const Output *o, uint64_t offset, uint64_t length);
/* A descriptor for reading back what was written (same lifetime). */
int output_fd(const Output *o);
const char *output_path(const Output *o); /* the final path */
/* Flushes, renames into place, frees o. On failure the temporary is removed, the old file stays, o is freed
 * too. */
int output_commit(Output *o, Error *err) MUST_CHECK;
void output_discard(Output *o); /* NULL-safe: removes the temporary, frees o */

/* ---- files that survive the process, for work that can go on ---- */

/* As output_create, but the temporary is named after `key` (".NAME.KEY.partial"; key: 1 to 32 hex digits) and
 * stays when the process dies: the next call with the same path and key opens it again. *size: bytes that it
 * holds already, 0 if it is new. A lock keeps a second writer out (ERR_IO); `shared` ones may write together,
 * each its own ranges. ERR_IO too if something else has the name (a link, another user's file). */
int output_resume(Output **out, const char *path, const char *key, bool shared, uint64_t *size,
                  const Allocator *allocator, Error *err) MUST_CHECK;
/* What was written so far is on disk when this returns. */
int output_flush(Output *o, Error *err) MUST_CHECK;
/* Removes what output_resume would take up, if there is something; for names that nobody writes to. */
void output_forget(const char *path, const char *key);
void output_keep(Output *o); /* NULL-safe: frees o and leaves the temporary for output_resume */

/* One small file in one call: create, write, commit. */
int output_file(const char *path, const void *bytes, size_t length, const Allocator *allocator,
                Error *err) MUST_CHECK;

typedef struct OutputDir OutputDir;

/* A new hidden directory beside `path`. If `path` exists: an empty directory is fine; otherwise ERR_IO unless
 * `replace`, which swaps the old one out at commit. */
int output_dir_create(OutputDir **out, const char *path, bool replace, const Allocator *allocator,
                      Error *err) MUST_CHECK;
/* As output_dir_create, but the hidden directory is named after `key` (".NAME.KEY.partial"; key: 1 to 32 hex
 * digits) and stays when the process dies; the next call with the same path and key takes it up again, with
 * the unfinished files in it (output_resume's and journals) and nothing else. A lock keeps a second process
 * out (ERR_IO); ERR_IO too if something else has the name. Unfinished files that are left at commit are
 * removed. */
int output_dir_resume(OutputDir **out, const char *path, bool replace, const char *key,
                      const Allocator *allocator, Error *err) MUST_CHECK;
const char *output_dir_staging(const OutputDir *d); /* where to write until commit; borrowed */
const char *output_dir_path(const OutputDir *d);    /* the final path; borrowed */
/* Renames into place (an old directory is removed after the swap) and frees d, also on failure; then the old
 * directory stays as it was. Files written there must have been flushed, as Output and copy_file do. */
int output_dir_commit(OutputDir *d, Error *err) MUST_CHECK;
void output_dir_discard(OutputDir *d); /* NULL-safe: removes the staging directory with all in it, frees d */
/* NULL-safe: frees d and leaves the staging directory for output_dir_resume if a journal in it tells how to
 * go on; else as output_dir_discard. */
void output_dir_keep(OutputDir *d);

/* mkdir -p */
int make_directories(const char *path, Error *err) MUST_CHECK;
/* Copies a regular file to a new name (which must not exist): reflink where the file system can, else copies
 * bytes; `link` hard-links instead, and copies if that is impossible. fsyncs. Mode 0666 less the umask, as
 * Output. Leaves nothing on failure. */
int copy_file(const char *from, const char *to, bool link, Error *err) MUST_CHECK;
/* The part of copy_file that moves no byte: a reflink, or with `link` a hard link. *done: whether it did;
 * else nothing is there. Errors as those of copy_file. */
int share_file(bool *done, const char *from, const char *to, bool link, Error *err) MUST_CHECK;

#endif
