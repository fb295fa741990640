/* clone.h -- a GGUF whose tensors lie in another GGUF just as they are to lie in it: only the header differs,
 * so the data need not pass through this program.
 *
 * Such files come from edits and from recipes that change parameters of a GGUF and keep its types. Where the
 * file system can (btrfs, XFS, ZFS, bcachefs, some network ones), both files share the same blocks: it takes
 * milliseconds and no space, whatever the size. Blocks can be shared only whole and at the same place modulo
 * their size; clone_pad sees to that. docs/edit.md tells why it always does.
 *
 * How an executor uses it, for each output:
 *   1. clone_share, before space is looked for and reserved, as sharing needs none. If *done, all bytes from
 *      plan->data_offset on are there, and only the header is to be written;
 *   2. if not, and nothing is to be hashed: reserve, then clone_copy. *done means the same. When hashing, its
 *      own reading and writing is better: the bytes must be read once in any case;
 *   3. if not, the ordinary way, for every byte: what a failed try may have written is written again.
 * To hash what was shared, read the tensors through the plan as usual, and don't write. */
#ifndef RECAST_CONVERT_CLONE_H
#define RECAST_CONVERT_CLONE_H

#include "convert/gguf_plan.h"
#include "core/output.h"
#include "core/progress.h"

enum {
    CLONE_BLOCK = 4096,    /* bytes: block of btrfs, XFS and others as they are made unless told otherwise */
    CLONE_LEAST = 1 << 20, /* bytes of data below which a header is not padded */
};

/* A stretch of one file that can become the data of a plan's file. */
typedef struct CloneRange {
    const Input *file;
    uint64_t from;   /* byte in file that comes to plan->data_offset */
    uint64_t length; /* bytes, up to the end of the last tensor */
} CloneRange;

/* false: some tensor is transformed, or the data does not lie in one stretch in the plan's order. Padding
 * between tensors is not looked at here. */
bool clone_find(CloneRange *out, const GgufPlan *plan);

/* Sets recast.pad in m, the keys that are to be written for model, to a string that brings the data to the
 * place of the source's data modulo CLONE_BLOCK; removes it where that needs no string or can't be. Depends
 * on m and the source file alone, never on the file system: the same edit gives the same bytes everywhere.
 * The last change of m before it is planned. */
int clone_pad(Metadata *m, const Model *model, const Allocator *allocator, Error *err) MUST_CHECK;

/* Makes the output share the source's blocks. *done: whether it does; if not, that is no error. Errors:
 * ERR_IO when the few bytes at the ends can't be read or written. */
int clone_share(bool *done, Output *o, const GgufPlan *plan, Error *err) MUST_CHECK;
/* Copies inside the kernel (on network file systems, on the server). *done as above. Errors: ERR_INTERRUPTED;
 * ERR_IO when the disk is full. */
int clone_copy(bool *done, Output *o, const GgufPlan *plan, const Progress *progress, const char *phase,
               Error *err) MUST_CHECK;

#endif
