/* gguf_split.h -- what a GGUF in several files (shards) is called, and the rule by which one is cut.
 *
 * Names and keys are llama.cpp's (tools/gguf-split): NAME-00001-of-00003.gguf; each shard carries split.no
 * (u16, from 0), split.tensors.count (i32, of all shards) and split.count (u16); the first one alone carries
 * the model's own keys. Tensor offsets start anew in each shard. Reading is gguf.h's, writing
 * convert/gguf_plan.h's business. */
#ifndef RECAST_MODEL_GGUF_SPLIT_H
#define RECAST_MODEL_GGUF_SPLIT_H

#include "model/metadata.h"

enum { GGUF_MAX_SHARDS = 65535 /* split.count is u16 */ };

/* All zero: one file, without split keys. Both limits may be given; whichever is met first starts a new
 * shard.
 */
typedef struct SplitRule {
    uint64_t max_bytes; /* of tensor data in a shard, each tensor padded to 32; a larger tensor has a shard of
                           its own. 0: no limit */
    uint64_t max_tensors; /* in a shard; 0: no limit */
    bool metadata_first;  /* shard 1 holds keys alone, so that no other shard depends on them */
} SplitRule;

bool split_rule_is_none(const SplitRule *rule);
/* "48G" (also K, M: powers of 1000), "128" (tensors), "metadata-first", "metadata-first,48G". ERR_USAGE says
 * what can be written. */
int split_rule_parse(SplitRule *out, const char *text, Error *err) MUST_CHECK;
/* The same rule always gives the same text ("48000M" comes out as "48G"); "" for none. */
enum { SPLIT_RULE_TEXT = 64 };
const char *split_rule_text(const SplitRule *rule, char out[SPLIT_RULE_TEXT]);

/* "DIR/NAME.gguf" (or a shard's name already) becomes "DIR/NAME-00002-of-00003.gguf" for index 1 of 3. In the
 * arena; NULL: no memory. */
char *gguf_shard_path(Arena *arena, const char *path, size_t index, size_t count);
/* Is `path` named as a shard is? *number is from 1 on. */
bool gguf_is_shard_path(const char *path, uint32_t *number, uint32_t *count);

/* Bytes of `path` without a shard's suffix or ".gguf". */
size_t gguf_stem_length(const char *path);

bool gguf_is_split_key(const GgufKv *kv);
void gguf_unset_split_keys(Metadata *m);

#endif
