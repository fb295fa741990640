/* gguf_plan.c -- lays a GGUF out: which tensors go to which file, each file's header, and where each tensor's
 * data goes.
 *
 * GGUF v3, as github.com/ggml-org/ggml docs/gguf.md has it; several files as llama.cpp's gguf-split makes
 * them. Whatever llama.cpp's reader would refuse is refused here, before a byte is written. */
#include "convert/gguf_plan.h"

#include "model/gguf.h"
#include <string.h>

enum { LONGEST_NAME = 63 }; /* ggml keeps names in 64 bytes, NUL included */

static const char plan_of[] = "the plan of a GGUF file";

static bool is_written(const GgufKv *kv) {
    return !kv->removed && !gguf_plan_drops(kv);
}

/* ggml's C tools copy the key but always pad to 32, and then their own reader refuses the file. So there is
 * one alignment, and a key that says another would be wrong. */
bool gguf_plan_drops(const GgufKv *kv) {
    static const char key[] = "general.alignment";
    if (kv->key.length != sizeof key - 1 || memcmp(kv->key.data, key, sizeof key - 1) != 0) return false;
    return kv->value.type != GGUF_U32 || kv->value.u != GGUF_DEFAULT_ALIGNMENT;
}

static int check_tensor(const Tensor *t, Error *err) {
    const DTypeInfo *info = dtype_info(t->type);
    if (strlen(t->name) > LONGEST_NAME) {
        return error_set(err, ERR_UNSUPPORTED,
                         "tensor %s: GGUF names have at most %d bytes, this one has %zu", t->name,
                         LONGEST_NAME, strlen(t->name));
    }
    if (!info || t->type >= DT_BOOL) {
        return error_set(err, ERR_UNSUPPORTED, "tensor %s: GGUF has no type %s", t->name,
                         dtype_name(t->type));
    }
    if (t->n_dims > TENSOR_MAX_DIMS || t->dims[0] % info->block != 0) {
        return error_set(err, ERR_UNSUPPORTED,
                         "tensor %s: %s rows are multiples of %u elements, these have %llu", t->name,
                         info->name, info->block, (unsigned long long)t->dims[0]);
    }
    return 0;
}

/* ---- which tensor goes where ---- */

static int too_large(const Tensor *t, Error *err) {
    return error_set(err, ERR_LIMIT, "tensor %s: the file would be larger than a file can be", t->name);
}

/* Bytes of data with the padding behind them. */
static int padded_bytes(uint64_t *out, const GgufPlan *p, const Tensor *t, Error *err) {
    uint64_t elements;
    TRY(check_tensor(t, err));
    if (!u64_mul(&elements, t->dims[0], t->dims[1]) || !u64_mul(&elements, elements, t->dims[2]) ||
        !u64_mul(&elements, elements, t->dims[3]) || !dtype_bytes(t->type, elements, out) ||
        !u64_align(out, *out, p->alignment))
        return too_large(t, err);
    return 0;
}

/* Must a tensor begin a new file, given what the last one holds? Tensors are counted over the whole model, as
 * gguf-split counts them; a tensor above the byte limit (an error there) gets a file of its own. */
static bool starts_file(const SplitRule *rule, size_t tensor, size_t held, uint64_t held_bytes,
                        uint64_t bytes) {
    if (!held) return false; /* no file stays empty */
    if (rule->max_tensors && tensor % rule->max_tensors == 0) return true;
    return rule->max_bytes && (bytes > rule->max_bytes || held_bytes > rule->max_bytes - bytes);
}

/* Sets offsets, file_of and n_files. data_sizes (n_tensors + 1 of them) gets the bytes of data of each file.
 */
static int place_tensors(GgufPlan *p, const SplitRule *rule, uint64_t *data_sizes, Error *err) {
    const Model *m = p->model;
    size_t file = 0, held = 0;
    uint64_t at = 0;
    if (rule->metadata_first && m->n_tensors) data_sizes[file++] = 0;
    for (size_t i = 0; i < m->n_tensors; i++) {
        uint64_t bytes;
        TRY(padded_bytes(&bytes, p, &m->tensors[i], err));
        if (starts_file(rule, i, held, at, bytes)) {
            data_sizes[file++] = at;
            held = 0;
            at = 0;
        }
        p->file_of[i] = (uint32_t)file;
        p->offsets[i] = at;
        held++;
        if (!u64_add(&at, at, bytes) || at > INT64_MAX) return too_large(&m->tensors[i], err);
        if (file >= GGUF_MAX_SHARDS)
            return error_set(err, ERR_LIMIT,
                             "the rule would make more than %d files, which split.count can't tell; choose a "
                             "larger size or number of tensors",
                             GGUF_MAX_SHARDS);
    }
    data_sizes[file] = at;
    p->n_files = file + 1;
    return 0;
}

static int make_files(GgufPlan *p, const Allocator *allocator, Error *err) {
    const Model *m = p->model;
    p->files = arena_alloc(p->arena, p->n_files, sizeof *p->files);
    if (!p->files) {
        p->n_files = 0;
        return error_memory(err, plan_of);
    }
    for (size_t f = 0; f < p->n_files; f++) buffer_init(&p->files[f].header, allocator);
    size_t i = 0;
    for (size_t f = 0; f < p->n_files; f++) {
        p->files[f].first_tensor = i;
        while (i < m->n_tensors && p->file_of[i] == f) i++;
        p->files[f].n_tensors = i - p->files[f].first_tensor;
    }
    return 0;
}

/* ---- keys ---- */

static int set_u16(Metadata *m, const char *key, size_t v, Error *err) {
    return metadata_set(m, key, (GgufValue){.type = GGUF_U16, .u = v}, err);
}

/* Old split keys make room for new ones at the end, in gguf-split's order. */
static int shard_keys(GgufPlan *p, size_t file, const Metadata *base, Error *err) {
    Metadata *m;
    if (p->model->n_tensors > INT32_MAX)
        return error_set(err, ERR_LIMIT, "%zu tensors are more than split.tensors.count can tell",
                         p->model->n_tensors);
    if (file == 0)
        TRY(metadata_copy(&m, base, p->arena, err));
    else
        TRY(metadata_open(&m, p->arena, err));
    gguf_unset_split_keys(m);
    TRY(set_u16(m, "split.no", file, err));
    TRY(metadata_set_i32(m, "split.tensors.count", (int32_t)p->model->n_tensors, err));
    TRY(set_u16(m, "split.count", p->n_files, err));
    p->files[file].metadata = m;
    return 0;
}

/* ---- headers ---- */

static void write_keys(Buffer *b, const Metadata *m) {
    size_t count = 0;
    for (size_t i = 0; i < metadata_slots(m); i++) count += is_written(metadata_slot(m, i));
    buffer_u64(b, count);
    for (size_t i = 0; i < metadata_slots(m); i++) {
        const GgufKv *kv = metadata_slot(m, i);
        if (is_written(kv)) metadata_write_kv(b, kv);
    }
}

static void write_tensor(Buffer *b, const Tensor *t, uint64_t offset) {
    buffer_u64(b, strlen(t->name));
    buffer_text(b, t->name);
    buffer_u32(b, t->n_dims);
    for (uint32_t d = 0; d < t->n_dims; d++) buffer_u64(b, t->dims[d]);
    buffer_u32(b, (uint32_t)t->type);
    buffer_u64(b, offset);
}

static int write_header(GgufPlan *p, GgufPlanFile *file, Error *err) {
    Buffer *b = &file->header;
    buffer_append(b, "GGUF", 4);
    buffer_u32(b, 3);
    buffer_u64(b, file->n_tensors);
    write_keys(b, file->metadata);
    for (size_t i = file->first_tensor; i < file->first_tensor + file->n_tensors; i++)
        write_tensor(b, &p->model->tensors[i], p->offsets[i]);
    uint64_t padded;
    if (!u64_align(&padded, b->length, p->alignment))
        return error_set(err, ERR_LIMIT, "a GGUF header is too large");
    buffer_zeros(b, (size_t)(padded - b->length));
    TRY(buffer_ok(b, "the header of a GGUF file", err));
    file->data_offset = b->length;
    return 0;
}

static int lay_out(GgufPlan *p, const SplitRule *rule, const Metadata *metadata, const Allocator *allocator,
                   Error *err) {
    size_t n = p->model->n_tensors;
    p->offsets = arena_alloc(p->arena, n, sizeof *p->offsets);
    p->file_of = arena_alloc(p->arena, n, sizeof *p->file_of);
    uint64_t *data_sizes = arena_alloc(p->arena, n + 1, sizeof *data_sizes);
    if (!p->offsets || !p->file_of || !data_sizes) return error_memory(err, plan_of);
    TRY(place_tensors(p, rule, data_sizes, err));
    TRY(make_files(p, allocator, err));
    for (size_t f = 0; f < p->n_files; f++) {
        GgufPlanFile *file = &p->files[f];
        file->metadata = metadata;
        if (p->split) TRY(shard_keys(p, f, metadata, err));
        TRY(write_header(p, file, err));
        if (!u64_add(&file->file_size, file->data_offset, data_sizes[f]) || file->file_size > INT64_MAX ||
            !u64_add(&p->total_size, p->total_size, file->file_size))
            return error_set(err, ERR_LIMIT, "the GGUF file would be larger than a file can be");
    }
    p->header = p->files[0].header;
    p->data_offset = p->files[0].data_offset;
    p->file_size = p->files[0].file_size;
    return 0;
}

/* ---- opening ---- */

int gguf_plan_split(GgufPlan **out, const Model *model, const Metadata *metadata, const SplitRule *rule,
                    const Allocator *allocator, Error *err) {
    static const SplitRule none;
    *out = NULL;
    if (!rule) rule = &none;
    if (!metadata) metadata = model->metadata;
    if (model->form != FORM_GGUF || !metadata) {
        return error_set(err, ERR_UNSUPPORTED, "%s is not in GGUF form and can't be laid out as a GGUF file",
                         model->path);
    }
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    GgufPlan *p = arena_alloc(arena, 1, sizeof *p);
    if (!p) {
        arena_close(arena);
        return error_memory(err, plan_of);
    }
    *p = (GgufPlan){.model = model,
                    .split = !split_rule_is_none(rule),
                    .alignment = GGUF_DEFAULT_ALIGNMENT,
                    .arena = arena};
    int code = lay_out(p, rule, metadata, allocator, err);
    if (code) {
        gguf_plan_close(p);
        return code;
    }
    *out = p;
    return 0;
}

int gguf_plan_open(GgufPlan **out, const Model *model, const Metadata *metadata, const Allocator *allocator,
                   Error *err) {
    return gguf_plan_split(out, model, metadata, NULL, allocator, err);
}

void gguf_plan_close(GgufPlan *p) {
    if (!p) return;
    for (size_t f = 0; f < p->n_files; f++) buffer_free(&p->files[f].header);
    arena_close(p->arena);
}

char *gguf_plan_path(const GgufPlan *p, Arena *arena, const char *path, size_t i) {
    return p->split ? gguf_shard_path(arena, path, i, p->n_files) : arena_string(arena, path);
}
