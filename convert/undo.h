/* undo.h -- what to do with a file whose change in place was cut short.
 *
 * Before the first byte of NAME is changed, ".NAME.recast-undo" beside it says what will be, and is on disk;
 * it goes when the change is on disk. So whoever finds such a record puts the old bytes back, and the file is
 * what it was. The record knows the file by inode and size, and every byte that it names must still be the
 * old or the new one: it never touches another file. docs/edit.md has the format. */
#ifndef RECAST_CONVERT_UNDO_H
#define RECAST_CONVERT_UNDO_H

#include "core/buffer.h"

typedef struct BytePatch {
    uint64_t offset; /* bytes from the start of the file */
    uint32_t length; /* bytes */
    const uint8_t *before, *after;
} BytePatch;

typedef struct UndoRecord {
    uint64_t inode, size; /* of the file */
    size_t n_patches;
    const BytePatch *patches; /* by offset, none overlaps another */
} UndoRecord;

enum { UNDO_MAX_BYTES = 16 << 20 /* of a record */ };

/* ".NAME.recast-undo" beside target. In the arena. ERR_IO when the name is too long for that. */
int undo_path(char **out, const char *target, Arena *arena, Error *err) MUST_CHECK;
/* Writes the record; when this returns, it is on disk. ERR_LIMIT when it would be too large. */
int undo_write(const char *target, const UndoRecord *record, Error *err) MUST_CHECK;
/* *out NULL: there is none. It lives in the arena. ERR_FORMAT if what has the name is no intact record. */
int undo_read(UndoRecord **out, const char *target, Arena *arena, Error *err) MUST_CHECK;
/* Removes the record, and that is on disk; its absence is no error. *removed (may be NULL) tells whether the
 * name is gone, also after an error. */
int undo_remove(const char *target, bool *removed, Error *err) MUST_CHECK;

/* Is fd the file that the record tells of? ERR_CHECK, with what differs, if not. name is used in messages. */
int undo_check(const UndoRecord *record, int fd, const char *name, Error *err) MUST_CHECK;
/* Puts old (or new) bytes into fd, and waits until they are on disk. */
int undo_put(const UndoRecord *record, int fd, bool new_bytes, const char *name, Error *err) MUST_CHECK;

#endif
