/* gguf_plan.c -- lays a GGUF file out: the header's bytes and where each tensor's data goes.
 *
 * GGUF v3, as github.com/ggml-org/ggml docs/gguf.md has it. Whatever llama.cpp's reader would refuse is
 * refused here, before a byte is written. */
#include "convert/gguf_plan.h"

#include "model/gguf.h"
#include <string.h>

enum { LONGEST_NAME = 63 }; /* ggml keeps names in 64 bytes, NUL included */

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

static int too_large(const Tensor *t, Error *err) {
    return error_set(err, ERR_LIMIT, "tensor %s: the file would be larger than a file can be", t->name);
}

/* Offsets from the start of the data; *data_size is what they add up to. */
static int place_tensors(GgufPlan *p, uint64_t *data_size, Error *err) {
    const Model *m = p->model;
    p->offsets = arena_alloc(p->arena, m->n_tensors, sizeof *p->offsets);
    if (!p->offsets) return error_memory(err, "the plan of a GGUF file");
    uint64_t at = 0;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        uint64_t elements, bytes;
        TRY(check_tensor(t, err));
        p->offsets[i] = at;
        if (!u64_mul(&elements, t->dims[0], t->dims[1]) || !u64_mul(&elements, elements, t->dims[2]) ||
            !u64_mul(&elements, elements, t->dims[3]) || !dtype_bytes(t->type, elements, &bytes) ||
            !u64_add(&at, at, bytes) || !u64_align(&at, at, p->alignment) || at > INT64_MAX) {
            return too_large(t, err);
        }
    }
    *data_size = at;
    return 0;
}

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

static int write_header(GgufPlan *p, Error *err) {
    const Model *m = p->model;
    Buffer *b = &p->header;
    buffer_append(b, "GGUF", 4);
    buffer_u32(b, 3);
    buffer_u64(b, m->n_tensors);
    write_keys(b, p->metadata);
    for (size_t i = 0; i < m->n_tensors; i++) write_tensor(b, &m->tensors[i], p->offsets[i]);
    uint64_t padded;
    if (!u64_align(&padded, b->length, p->alignment))
        return error_set(err, ERR_LIMIT, "a GGUF header is too large");
    buffer_zeros(b, (size_t)(padded - b->length));
    TRY(buffer_ok(b, "the header of a GGUF file", err));
    p->data_offset = b->length;
    return 0;
}

static int lay_out(GgufPlan *p, Error *err) {
    uint64_t data_size = 0;
    TRY(place_tensors(p, &data_size, err));
    TRY(write_header(p, err));
    if (!u64_add(&p->file_size, p->data_offset, data_size) || p->file_size > INT64_MAX) {
        return error_set(err, ERR_LIMIT, "the GGUF file would be larger than a file can be");
    }
    return 0;
}

int gguf_plan_open(GgufPlan **out, const Model *model, const Metadata *metadata, const Allocator *allocator,
                   Error *err) {
    *out = NULL;
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
        return error_memory(err, "the plan of a GGUF file");
    }
    *p =
        (GgufPlan){.model = model, .metadata = metadata, .alignment = GGUF_DEFAULT_ALIGNMENT, .arena = arena};
    buffer_init(&p->header, allocator);
    int code = lay_out(p, err);
    if (code) {
        gguf_plan_close(p);
        return code;
    }
    *out = p;
    return 0;
}

void gguf_plan_close(GgufPlan *p) {
    if (!p) return;
    buffer_free(&p->header);
    arena_close(p->arena);
}
