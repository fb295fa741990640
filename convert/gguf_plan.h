/* gguf_plan.h -- the layout of a GGUF, in one file or in several, before a byte is written. Pure: reads no
 * tensor data.
 *
 * Tensors stay in the model's order. File f holds tensors first_tensor .. first_tensor + n_tensors of it, one
 * behind the other; all tensors of file f come before those of file f + 1. A file may hold none. */
#ifndef RECAST_CONVERT_GGUF_PLAN_H
#define RECAST_CONVERT_GGUF_PLAN_H

#include "model/gguf_split.h"
#include "model/model.h"

typedef struct GgufPlanFile {
    Buffer header;                  /* its first bytes: magic to the start of the data, padding included */
    const Metadata *metadata;       /* the keys in that header */
    size_t first_tensor, n_tensors; /* of plan->model->tensors */
    uint64_t data_offset;           /* == header.length, a multiple of the alignment */
    uint64_t file_size;             /* bytes, padding after the last tensor included */
} GgufPlanFile;

typedef struct GgufPlan {
    const Model *model; /* FORM_GGUF; borrowed */
    size_t n_files;     /* 1 without a rule; at least 1 with one */
    GgufPlanFile *files;
    bool split;          /* by a rule: files have shards' names, even if there is but one */
    uint64_t *offsets;   /* of each tensor of the model: from the start of the data of its own file */
    uint32_t *file_of;   /* of each tensor of the model: index of its file */
    uint64_t total_size; /* of all files */
    uint32_t alignment;  /* of all files: 32 */
    /* of files[0], for those who plan a single file; header shares its bytes */
    Buffer header;
    uint64_t data_offset, file_size;
    Arena *arena;
} GgufPlan;

/* One file. metadata: the keys to write, NULL for the model's own; borrowed. GGUF v3, alignment 32 (an
 * alignment key other than 32 is dropped, since C tools corrupt such files). Errors: ERR_UNSUPPORTED (a
 * tensor type without GGUF id, a name above 63 bytes), ERR_LIMIT. */
int gguf_plan_open(GgufPlan **out, const Model *model, const Metadata *metadata, const Allocator *allocator,
                   Error *err) MUST_CHECK;
/* By a rule (NULL or all zero: the same as gguf_plan_open). File 0 gets the keys, less old split keys, and
 * its own three split keys behind them; the other files get their three split keys and nothing else. */
int gguf_plan_split(GgufPlan **out, const Model *model, const Metadata *metadata, const SplitRule *rule,
                    const Allocator *allocator, Error *err) MUST_CHECK;
void gguf_plan_close(GgufPlan *p); /* NULL-safe */

/* Where file i goes if the whole is asked for as `path` ("X.gguf"): `path` itself for a plan without a rule,
 * else X-00001-of-0000N.gguf. In the arena; NULL: no memory. */
char *gguf_plan_path(const GgufPlan *p, Arena *arena, const char *path, size_t i);

/* Is this a key that no plan writes: general.alignment other than 32? */
bool gguf_plan_drops(const GgufKv *kv);

#endif
