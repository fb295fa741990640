/* gguf_set.h -- a GGUF cut into files by a rule, planned before a byte is written.
 *
 * Every file is a GgufPlan of its own over a part of the model's tensors, so whoever writes one file can
 * write a set: each file is one output of a conversion (execute.h), all with the same `set` number. Tensors
 * keep the model's order: file f has those that come behind those of file f - 1. */
#ifndef RECAST_CONVERT_GGUF_SET_H
#define RECAST_CONVERT_GGUF_SET_H

#include "convert/gguf_plan.h"
#include "model/gguf_split.h"

typedef struct GgufSet {
    bool split; /* by a rule: files are named as shards, even if there is but one */
    size_t n_files;
    GgufPlan *
        *files; /* ->model is a part of the model: tensors and n_tensors are the file's, names is NULL */
    uint64_t total_size; /* bytes of all files */
    Arena *arena;
} GgufSet;

/* metadata: NULL for the model's own. rule NULL or all zero: one file with the keys as they are. Else file 0
 * gets the keys without old split keys, and its three split keys behind them; the other files get their three
 * split keys and nothing else. Errors: those of gguf_plan_open, ERR_LIMIT (more than 65,535 files). */
int gguf_set_open(GgufSet **out, const Model *model, const Metadata *metadata, const SplitRule *rule,
                  const Allocator *allocator, Error *err) MUST_CHECK;
void gguf_set_close(GgufSet *s); /* NULL-safe */

/* Where file f goes if the whole is asked for as `path` ("DIR/X.gguf"): there if there is no rule, else
 * "DIR/X-00001-of-0000N.gguf". In the arena; NULL: no memory. */
char *gguf_set_path(const GgufSet *s, Arena *arena, const char *path, size_t f);

#endif
