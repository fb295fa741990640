/* same_files.h -- which files of two GGUFs hold the same bytes: what somebody who has the one must download
 * to have the other. */
#ifndef RECAST_CLI_SAME_FILES_H
#define RECAST_CLI_SAME_FILES_H

#include "core/progress.h"
#include "model/model.h"

typedef struct SameFiles {
    const Model *a, *b;
    size_t n_files; /* of b */
    bool *same;     /* one for each file of b: a has it at the same place in the set */
    Arena *arena;
} SameFiles;

/* Cheap where it can be: one file on disk under two names is not read, files of other sizes neither, and
 * reading ends at the first difference. Both models are GGUF sources. */
int same_files_open(SameFiles **out, const Model *a, const Model *b, const Progress *progress,
                    Error *err) MUST_CHECK;
void same_files_close(SameFiles *s); /* NULL-safe */

/* Do x of a and y of b lie at the same place of files that are the same? Then they need not be read. */
bool same_files_cover(const SameFiles *s, const Tensor *x, const Tensor *y);
/* Appends "none", "shard 1 (4.1 kB of 2.3 MB)", "shards 1, 3 (...)" or "all (2.3 MB)". */
void same_files_text(const SameFiles *s, Buffer *out);

#endif
