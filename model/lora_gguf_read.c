/* lora_gguf_read.c -- llama.cpp's adapter GGUF as an adapter: the same modules and parts as PEFT's, whose
 * values lie elsewhere. Which base tensor a name means is the family's business. */
#include "model/lora_gguf.h"

#include "model/family.h"
#include "model/gguf.h"
#include "model/lora_private.h"
#include <string.h>

typedef struct Reader {
    LoraAdapter *adapter;
    const Model *base;
    Arena *arena;
    size_t capacity; /* of modules */
} Reader;

static bool cut_end(char out[128], const char *name, const char *end) {
    size_t n = strlen(name), e = strlen(end);
    if (n <= e || n - e >= 128 || strcmp(name + n - e, end)) return false;
    memcpy(out, name, n - e);
    out[n - e] = 0;
    return true;
}

/* The part of one expert of a tensor: rows [rows, columns] as torch has them. */
static int add_part(Reader *r, const Tensor *t, const char *path, LoraPart part, uint32_t expert,
                    Error *err) {
    LoraAdapter *a = r->adapter;
    uint64_t index, bytes = t->dims[0] * t->dims[1] * dtype_info(t->type)->bytes;
    SafetensorsEntry *e = arena_alloc(r->arena, 1, sizeof *e);
    if (!e) return error_memory(err, "an adapter's tensors");
    *e = (SafetensorsEntry){.name = t->name,
                            .type = t->type,
                            .n_dims = 2,
                            .shape = {t->dims[1], t->dims[0]},
                            .offset = t->extents[0].offset + expert * bytes,
                            .length = bytes};
    if (!table_get(a->by_path, path, strlen(path), &index)) {
        const char *copy = arena_string(r->arena, path);
        if (a->n_modules == r->capacity)
            return error_set(err, ERR_FORMAT, "more pairs than the model has tensors");
        if (!copy || table_put(a->by_path, copy, strlen(copy), a->n_modules))
            return error_memory(err, "an adapter's tensors");
        index = a->n_modules++;
        a->modules[index] = (LoraModule){.path = copy};
    }
    a->modules[index].parts[part] = e;
    return 0;
}

static int add_tensor(Reader *r, const Tensor *t, Error *err) {
    char weight[128], name[160];
    TensorSpec spec;
    bool is_a = cut_end(weight, t->name, ".lora_a");
    if (!is_a && !cut_end(weight, t->name, ".lora_b"))
        return error_set(err, ERR_UNSUPPORTED, "tensor %s is no side of a pair (.lora_a, .lora_b)", t->name);
    if (!family_find_spec(r->base->family, &r->base->params, weight, &spec))
        return error_set(err, ERR_FORMAT, "tensor %s: the model has no tensor %s; it would be lost", t->name,
                         weight);
    if (!dtype_is_float(t->type) || t->n_extents != 1)
        return error_set(err, ERR_UNSUPPORTED, "tensor %s is %s; adapters are F32, F16 or BF16", t->name,
                         dtype_name(t->type));
    bool embedding = !strcmp(weight, "token_embd.weight");
    LoraPart part = embedding ? (is_a ? LORA_EMBEDDING_A : LORA_EMBEDDING_B) : is_a ? LORA_A : LORA_B;
    uint64_t experts = spec.stacked ? spec.dims[2] : 1;
    if (t->dims[2] != experts || t->dims[3] != 1)
        return error_set(err, ERR_FORMAT, "tensor %s is for %llu experts, the model has %llu", t->name,
                         (unsigned long long)t->dims[2], (unsigned long long)experts);
    for (uint32_t e = 0; e < experts; e++) {
        if (!family_expert_name(&spec, e, name, sizeof name) || !cut_end(weight, name, ".weight"))
            return error_set(err, ERR_LIMIT, "a name is too long");
        TRY(add_part(r, t, weight, part, e, err));
    }
    return 0;
}

static int read_alpha(LoraAdapter *a, Error *err) {
    const GgufValue *v = metadata_get(a->gguf->metadata, "adapter.lora.alpha");
    const char *type = metadata_string(a->gguf->metadata, "adapter.type");
    if (!is_lora_gguf(a->gguf) || !type || strcmp(type, "lora"))
        return error_set(err, ERR_FORMAT, "general.type is not \"adapter\" or adapter.type is not \"lora\"");
    if (metadata_get(a->gguf->metadata, "adapter.alora.invocation_tokens"))
        return error_set(err, ERR_UNSUPPORTED,
                         "it acts only behind certain tokens (adapter.alora.invocation_tokens)");
    if (v && v->type != GGUF_F32) return error_set(err, ERR_FORMAT, "adapter.lora.alpha is no f32");
    a->config.alpha = v ? (double)v->f32 : 0;
    return 0;
}

static int read_all(LoraAdapter *a, const LoraSpec *spec, const Model *base, Arena *arena,
                    const Allocator *allocator, Error *err) {
    if (!base->family)
        return error_set(err, ERR_UNSUPPORTED,
                         "the model's architecture is not known, so neither are its tensors");
    a->path = arena_string(arena, spec->path);
    TRY(gguf_open(&a->gguf, spec->path, allocator, err));
    TRY(read_alpha(a, err));
    a->file = a->gguf->files[0].input;
    a->info = (LoraAdapterInfo){.name = input_name(a->file),
                                .scale = spec->scale,
                                .rounding = spec->rounding,
                                .layout = spec->layout};
    TRY(sha256_input(a->info.weights_sha256, a->file, NULL, NULL, err));
    if (strcmp(a->gguf->params.architecture, base->family->name))
        return error_set(err, ERR_FORMAT, "it is for %s, the model is %s", a->gguf->params.architecture,
                         base->family->name);
    Reader r = {.adapter = a, .base = base, .arena = arena, .capacity = base->n_tensors};
    a->modules = arena_alloc(arena, r.capacity, sizeof *a->modules);
    if (!a->path || !a->modules) return error_memory(err, spec->path);
    TRY(table_open(&a->by_path, arena, r.capacity, err));
    for (size_t i = 0; i < a->gguf->n_tensors; i++) TRY(add_tensor(&r, &a->gguf->tensors[i], err));
    return 0;
}

int lora_adapter_open_gguf(LoraAdapter *out, const LoraSpec *spec, const Model *base, Arena *arena,
                           const Allocator *allocator, Error *err) {
    int code = read_all(out, spec, base, arena, allocator, err);
    return code ? error_wrap(err, code, "adapter %s", spec->path) : 0;
}
