/* gguf_names.c -- the GGUF form of a Hugging Face model. Tensors are renamed, experts of a layer become one
 * tensor whose extents are theirs in order, and metadata is made; no weight is read or copied. */
#include "model/family.h"
#include "model/general_keys.h"
#include "model/rope.h"
#include "model/views.h"
#include "model/vocab.h"
#include <string.h>

/* ---- tensors ---- */

typedef struct Builder {
    const Model *base;
    Model *model;
    Tensor *tensors;
    Table *names;
    size_t count;
    Error *err;
} Builder;

static int require(const Tensor **out, const Builder *b, const char *name) {
    *out = model_find(b->base, name);
    if (!*out) return error_set(b->err, ERR_FORMAT, "%s: tensor %s is missing", b->base->path, name);
    if (!dtype_is_float((*out)->type))
        return error_set(
            b->err, ERR_UNSUPPORTED,
            "%s: tensor %s is stored as %s; only F32, F16 and BF16 weights have a GGUF form here",
            b->base->path, name, dtype_name((*out)->type));
    return 0;
}

/* Adds an extent; one that continues the last becomes part of it, so that a fused file is one piece. */
static void add_extent(Extent *list, uint32_t *count, const Extent *e) {
    Extent *last = *count ? &list[*count - 1] : NULL;
    if (last && last->file == e->file && last->offset + last->length == e->offset)
        last->length += e->length;
    else
        list[(*count)++] = *e;
}

/* Expert e must be stored like expert 0 for their bytes to stand side by side; what a view computes of its
 * rows must keep the type. */
static int check_alike(const Builder *b, const Tensor *first, const Tensor *t) {
    if (t->n_transforms > 1 || (t->n_transforms && t->transforms[0].from != t->transforms[0].to))
        return error_set(b->err, ERR_UNSUPPORTED,
                         "tensor %s is computed, so it can't be stacked as it is stored", t->name);
    if (t->stored == first->stored) return 0;
    return error_set(b->err, ERR_UNSUPPORTED,
                     "%s: tensor %s is %s, but %s is %s; experts of a layer must have one type",
                     b->base->path, t->name, dtype_name(t->stored), first->name, dtype_name(first->stored));
}

/* The experts of a stack of which some are computed. */
typedef struct Stack {
    const Tensor **experts;
    uint64_t rows; /* of each */
} Stack;

/* Each expert's rows through its own transform. */
static int apply_stack(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                       const void *in, void *out, Error *err) {
    const Stack *s = t->context;
    size_t row_bytes = (size_t)row_elements * dtype_info(t->from)->bytes;
    for (uint64_t done = 0; done < n_rows;) {
        uint64_t row = first_row + done, left = s->rows - row % s->rows;
        uint64_t n = left < n_rows - done ? left : n_rows - done;
        const Tensor *expert = s->experts[row / s->rows];
        const RowTransform *own = expert->n_transforms ? &expert->transforms[0] : NULL;
        const uint8_t *from = (const uint8_t *)in + done * row_bytes;
        uint8_t *to = (uint8_t *)out + done * row_bytes;
        if (!own) memcpy(to, from, (size_t)n * row_bytes);
        int code = own ? own->apply(own, row % s->rows, n, row_elements, from, to, err) : 0;
        if (code) return error_wrap(err, code, "%s", expert->name);
        done += n;
    }
    return 0;
}

static int stack_transforms(const Builder *b, Tensor *out, const Tensor **experts, uint32_t n) {
    bool computed = false;
    for (uint32_t e = 0; e < n; e++) computed |= experts[e]->n_transforms != 0;
    if (!computed) return 0;
    Stack *s = arena_alloc(b->model->arena, 1, sizeof *s);
    if (!s) return error_memory(b->err, "the experts of a layer");
    *s = (Stack){experts, tensor_rows(experts[0])};
    out->transforms[out->n_transforms++] =
        (RowTransform){.from = out->type, .to = out->type, .apply = apply_stack, .context = s};
    return 0;
}

static int stack_experts(Builder *b, const TensorSpec *spec, Tensor *out) {
    uint32_t experts = (uint32_t)spec->dims[2], n = 0;
    const Tensor **list = arena_alloc(b->model->arena, experts, sizeof *list);
    size_t extents = 0;
    if (!list) return error_memory(b->err, "the experts of a layer");
    for (uint32_t e = 0; e < experts; e++) {
        char name[160];
        if (!family_expert_name(spec, e, name, sizeof name))
            return error_set(b->err, ERR_LIMIT, "a name is too long");
        TRY(require(&list[e], b, name));
        TRY(check_alike(b, list[0], list[e]));
        extents += list[e]->n_extents;
    }
    Extent *all = arena_alloc(b->model->arena, extents, sizeof *all);
    if (!all) return error_memory(b->err, "the experts of a layer");
    for (uint32_t e = 0; e < experts; e++)
        for (uint32_t i = 0; i < list[e]->n_extents; i++) add_extent(all, &n, &list[e]->extents[i]);
    out->type = out->stored = list[0]->stored;
    out->extents = all;
    out->n_extents = n;
    return stack_transforms(b, out, list, experts);
}

static int add_tensor(Builder *b, const TensorSpec *spec) {
    Tensor *t = &b->tensors[b->count];
    if (spec->stacked) {
        TRY(stack_experts(b, spec, t));
    } else {
        const Tensor *from;
        TRY(require(&from, b, spec->hf_name));
        *t = *from;
    }
    t->n_dims = spec->n_dims;
    memcpy(t->dims, spec->dims, sizeof t->dims);
    t->name = arena_string(b->model->arena, spec->gguf_name);
    if (!t->name || table_put(b->names, t->name, strlen(t->name), b->count))
        return error_memory(b->err, "the tensor table");
    b->count++;
    return 0;
}

static int build_tensors(Model *m, const Model *base, Error *err) {
    const Family *family = base->family;
    size_t n = family->n_tensors(&base->params);
    Builder b = {.base = base, .model = m, .err = err, .tensors = arena_alloc(m->arena, n, sizeof(Tensor))};
    if (!b.tensors) return error_memory(err, "the tensor table");
    TRY(table_open(&b.names, m->arena, n, err));
    for (size_t i = 0; i < n; i++) {
        TensorSpec spec;
        family->tensor(&base->params, i, &spec);
        if (spec.optional && !model_find(base, spec.hf_name)) continue;
        TRY(add_tensor(&b, &spec));
    }
    m->tensors = b.tensors;
    m->n_tensors = b.count;
    m->names = b.names;
    return 0;
}

/* ---- parameters ---- */

/* `dynamic` at one length is a fixed base frequency, so the file is exact at that length and only there. */
static int bake(ModelParams *p, uint32_t length, Error *err) {
    if (p->rope.type != ROPE_DYNAMIC)
        return error_set(err, ERR_RECIPE,
                         "gguf_dynamic.bake: the rope_type is \"%s\", only \"dynamic\" can be baked",
                         rope_type_name(p->rope.type));
    if (length < p->context)
        return error_set(
            err, ERR_RECIPE,
            "gguf_dynamic.bake: %u is below max_position_embeddings (%u), where \"dynamic\" changes nothing",
            length, p->context);
    float theta = rope_dynamic_theta(p, length);
    p->rope = (RopeParams){.type = ROPE_DEFAULT, .theta = theta};
    p->context = length;
    return 0;
}

static int settle_params(Model *m, const GgufNamesOptions *options, Error *err) {
    if (!m->params.norm_topk_prob)
        return error_set(
            err, ERR_UNSUPPORTED,
            "%s: norm_topk_prob is false (or absent), but GGUF can't say so and its run times always "
            "normalise the expert weights: the model would run differently",
            m->path);
    return options->bake_dynamic ? bake(&m->params, options->bake_dynamic, err) : 0;
}

/* ---- metadata ---- */

static int params_keys(Metadata *metadata, const Model *m, bool lenient, Error *err) {
    ModelParams p = m->params;
    if (lenient) p.rope = (RopeParams){.type = ROPE_DEFAULT, .theta = p.rope.theta};
    int code = params_to_metadata(metadata, &p, err);
    return code ? error_wrap(err, code, "%s", m->path) : 0;
}

static int vocab_keys(Metadata *metadata, const Model *base, const Allocator *allocator, Error *err) {
    Vocab *vocab;
    TRY(vocab_open(&vocab, base, allocator, err));
    int code = vocab_to_metadata(metadata, vocab, err);
    vocab_close(vocab);
    return code;
}

static int build_metadata(Model *m, const Model *base, const GgufNamesOptions *options,
                          const Allocator *allocator, Error *err) {
    Metadata *metadata;
    TRY(metadata_open(&metadata, m->arena, err));
    TRY(general_keys_set(metadata, m, options->name, err));
    TRY(params_keys(metadata, m, options->lenient_rope, err));
    TRY(metadata_set_u32(metadata, "general.file_type", gguf_file_type(gguf_common_type(m)), err));
    TRY(metadata_set_u32(metadata, "general.quantization_version", 2, err));
    TRY(vocab_keys(metadata, base, allocator, err));
    m->metadata = metadata;
    return 0;
}

/* ---- the view ---- */

static void close_view(Model *m) {
    arena_close(m->arena);
}

static int check_base(const Model *base, Error *err) {
    if (base->form != FORM_HF)
        return error_set(err, ERR_UNSUPPORTED, "%s has the GGUF form already", base->path);
    return family_check_tensors(base, err);
}

int gguf_names_open(Model **out, const Model *base, const GgufNamesOptions *options,
                    const Allocator *allocator, Error *err) {
    static const GgufNamesOptions defaults;
    if (!options) options = &defaults;
    *out = NULL;
    TRY(check_base(base, err));
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Model *m = arena_alloc(arena, 1, sizeof *m);
    int code = m ? 0 : error_memory(err, "the GGUF form of a model");
    if (!code) {
        *m = *base;
        m->form = FORM_GGUF;
        m->arena = arena;
        m->close = close_view;
        code = settle_params(m, options, err);
    }
    if (!code) code = build_tensors(m, base, err);
    if (!code) code = build_metadata(m, base, options, allocator, err);
    if (code)
        arena_close(arena);
    else
        *out = m;
    return code;
}
