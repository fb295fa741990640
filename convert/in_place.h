/* in_place.h -- changes values of a GGUF in the file itself, in milliseconds whatever its size.
 *
 * Only the bytes of values are written, so each must keep its size: numbers, bools, and strings of equal
 * length. Anything else would move the data behind it and is refused; a new file (execute.h) is the way then.
 * A crash at any moment leaves a file that is the old one or the new one after the next in_place_open
 * (undo.h). */
#ifndef RECAST_CONVERT_IN_PLACE_H
#define RECAST_CONVERT_IN_PLACE_H

#include "model/metadata.h"

typedef struct InPlace InPlace;

/* Opens a file, one shard of a split model included, for edits and keeps other editors out until it is
 * closed. If an earlier edit was cut short, the file is first put back to what it was. Errors: ERR_IO
 * (missing; a symbolic link, a file with several hard links or without write permission, each of which the
 * message explains; in use by another editor), what undo.h and gguf_open_shard say. */
int in_place_open(InPlace **out, const char *path, const Allocator *allocator, Error *err) MUST_CHECK;
/* Closes the file and lets others edit it; NULL-safe. An edit that was not committed has not happened. */
void in_place_close(InPlace *e);

bool in_place_restored(const InPlace *e);            /* was an edit cut short, and has it been taken back? */
const Metadata *in_place_metadata(const InPlace *e); /* what the file says; borrowed */

/* Makes the file say `edited`, an edited copy of in_place_metadata; once for each open. *n_values: how many
 * differ, 0 if nothing was to be done. When this returns 0, the change is on disk. After an error the file is
 * what it was; if not even that can be written any more, the message says so and the undo record stays for
 * the next in_place_open. Errors: ERR_UNSUPPORTED (the header would grow or shrink), ERR_CHECK (the file
 * changed since it was opened), ERR_FORMAT (a known family could not have such parameters), ERR_IO. */
int in_place_commit(InPlace *e, const Metadata *edited, size_t *n_values, Error *err) MUST_CHECK;

/* Is there a record of an edit of `path` that was cut short? Reads only. A record that is no use counts too,
 * since somebody has to look at it. ERR_MEMORY, ERR_IO. */
int in_place_interrupted(bool *out, const char *path, Error *err) MUST_CHECK;

#endif
