/* gguf_set.c -- which tensors go to which file, and the keys of each. The layout inside a file is
 * gguf_plan.c's. */
#include "convert/gguf_set.h"

#include "model/gguf.h"

static const char plan_of[] = "the plan of a GGUF in several files";

/* ---- which tensor goes where ---- */

/* Bytes of data with the padding behind them; too large for a number: the largest, and the plan refuses it.
 */
static uint64_t padded_bytes(const Tensor *t) {
    uint64_t bytes;
    return u64_align(&bytes, tensor_bytes(t), GGUF_DEFAULT_ALIGNMENT) ? bytes : UINT64_MAX;
}

/* Must a tensor begin a new file, given what the last one holds? Tensors are counted over the whole model, as
 * gguf-split counts them. Above the byte limit a tensor is alone in its file (to gguf-split, an error). */
static bool starts_file(const SplitRule *rule, size_t tensor, size_t held, uint64_t held_bytes,
                        uint64_t bytes) {
    if (!held) return false; /* but the first under metadata_first, no file stays empty */
    if (rule->max_tensors && tensor % rule->max_tensors == 0) return true;
    return rule->max_bytes && (bytes > rule->max_bytes || held_bytes > rule->max_bytes - bytes);
}

/* ends[f]: the first tensor behind file f. Returns how many files there are. */
static size_t cut(size_t *ends, const Model *m, const SplitRule *rule) {
    size_t n = 0, held = 0;
    uint64_t held_bytes = 0;
    if (rule->metadata_first && m->n_tensors) ends[n++] = 0;
    for (size_t i = 0; i < m->n_tensors; i++) {
        uint64_t bytes = padded_bytes(&m->tensors[i]);
        if (starts_file(rule, i, held, held_bytes, bytes)) {
            ends[n++] = i;
            held = 0;
            held_bytes = 0;
        }
        held++;
        if (!u64_add(&held_bytes, held_bytes, bytes)) held_bytes = UINT64_MAX;
    }
    ends[n++] = m->n_tensors;
    return n;
}

/* ---- keys ---- */

static int set_u16(Metadata *m, const char *key, size_t v, Error *err) {
    return metadata_set(m, key, (GgufValue){.type = GGUF_U16, .u = v}, err);
}

/* Old split keys go, so that the new ones stand at the end, in gguf-split's order. */
static int shard_keys(Metadata **out, const GgufSet *s, size_t file, size_t n_tensors, const Metadata *keys,
                      Error *err) {
    if (file == 0)
        TRY(metadata_copy(out, keys, s->arena, err));
    else
        TRY(metadata_open(out, s->arena, err));
    gguf_unset_split_keys(*out);
    TRY(set_u16(*out, "split.no", file, err));
    TRY(metadata_set_i32(*out, "split.tensors.count", (int32_t)n_tensors, err));
    return set_u16(*out, "split.count", s->n_files, err);
}

/* ---- the set ---- */

static int plan_shard(GgufSet *s, size_t file, const Model *model, const Metadata *keys, size_t begin,
                      size_t end, const Allocator *allocator, Error *err) {
    Metadata *own;
    Model *part = arena_alloc(s->arena, 1, sizeof *part);
    if (!part) return error_memory(err, plan_of);
    *part = *model;
    part->n_tensors = end - begin;
    part->tensors = model->tensors + begin;
    part->names = NULL; /* it counts from the model's first tensor */
    TRY(shard_keys(&own, s, file, model->n_tensors, keys, err));
    return gguf_plan_open(&s->files[file], part, own, allocator, err);
}

static int plan_shards(GgufSet *s, const Model *model, const Metadata *keys, const SplitRule *rule,
                       const Allocator *allocator, Error *err) {
    if (model->n_tensors > INT32_MAX)
        return error_set(err, ERR_LIMIT, "%zu tensors are more than split.tensors.count can tell",
                         model->n_tensors);
    size_t room;
    size_t *ends = size_add(&room, model->n_tensors, 2) ? arena_alloc(s->arena, room, sizeof *ends) : NULL;
    if (!ends) return error_memory(err, plan_of);
    size_t n = cut(ends, model, rule);
    if (n > GGUF_MAX_SHARDS)
        return error_set(err, ERR_LIMIT,
                         "the rule would make %zu files, and split.count can tell of %d at most; choose a "
                         "larger size or number of tensors",
                         n, GGUF_MAX_SHARDS);
    s->files = arena_alloc(s->arena, n, sizeof *s->files);
    if (!s->files) return error_memory(err, plan_of);
    s->n_files = n;
    for (size_t f = 0; f < n; f++)
        TRY(plan_shard(s, f, model, keys, f ? ends[f - 1] : 0, ends[f], allocator, err));
    return 0;
}

static int plan_all(GgufSet *s, const Model *model, const Metadata *keys, const SplitRule *rule,
                    const Allocator *allocator, Error *err) {
    if (s->split) {
        TRY(plan_shards(s, model, keys, rule, allocator, err));
    } else {
        s->files = arena_alloc(s->arena, 1, sizeof *s->files);
        if (!s->files) return error_memory(err, plan_of);
        s->n_files = 1;
        TRY(gguf_plan_open(&s->files[0], model, keys, allocator, err));
    }
    for (size_t f = 0; f < s->n_files; f++)
        if (!u64_add(&s->total_size, s->total_size, s->files[f]->file_size))
            return error_set(err, ERR_LIMIT, "the files would be larger than can be told");
    return 0;
}

int gguf_set_open(GgufSet **out, const Model *model, const Metadata *metadata, const SplitRule *rule,
                  const Allocator *allocator, Error *err) {
    *out = NULL;
    const Metadata *keys = metadata ? metadata : model->metadata;
    if (model->form != FORM_GGUF || !keys)
        return error_set(err, ERR_UNSUPPORTED, "%s is not in GGUF form and can't be laid out as a GGUF file",
                         model->path);
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    GgufSet *s = arena_alloc(arena, 1, sizeof *s);
    if (!s) {
        arena_close(arena);
        return error_memory(err, plan_of);
    }
    *s = (GgufSet){.split = rule && !split_rule_is_none(rule), .arena = arena};
    int code = plan_all(s, model, keys, rule, allocator, err);
    if (code)
        gguf_set_close(s);
    else
        *out = s;
    return code;
}

void gguf_set_close(GgufSet *s) {
    if (!s) return;
    for (size_t f = 0; f < s->n_files; f++) gguf_plan_close(s->files[f]);
    arena_close(s->arena);
}

char *gguf_set_path(const GgufSet *s, Arena *arena, const char *path, size_t f) {
    return s->split ? gguf_shard_path(arena, path, f, s->n_files) : arena_string(arena, path);
}
