/* retype.c -- the same tensors in other types, cast or quantized. It adds row transforms to each tensor whose
 * type changes, and nothing to the others, which stay copies of their extents. Which type a tensor gets is
 * the policy of llama.cpp's converter for float types, and of its llama-quantize for presets (mixture.h). */
#include "core/floats.h"
#include "core/quantize.h"
#include "model/family.h"
#include "model/views.h"
#include <string.h>

uint32_t gguf_file_type(DType type) {
    for (size_t i = 0; i < preset_count(); i++)
        if (preset_at(i)->type == type) return preset_at(i)->file_type;
    return FILE_F32;
}

/* ---- the transforms ---- */

/* A finite weight that F16 can't hold would become infinite and ruin the model. An infinity or NaN that was
 * there before is passed on: judging the source is validate's work. */
static int check_overflow(const RowTransform *t, const void *in, const void *out, size_t n,
                          uint64_t first_row, uint64_t row_elements, Error *err) {
    size_t in_bytes = dtype_info(t->from)->bytes;
    for (size_t i = 0; i < n; i++) {
        i += floats_first_nonfinite(DT_F16, (const uint8_t *)out + 2 * i, n - i);
        if (i >= n) return 0;
        const uint8_t *element = (const uint8_t *)in + in_bytes * i;
        if (floats_first_nonfinite(t->from, element, 1) == 0) continue;
        float value;
        TRY(floats_convert(DT_F32, &value, t->from, element, 1, err));
        return error_set(
            err, ERR_NUMERIC,
            "%s: row %llu, element %llu is %g, beyond the largest F16 (65504); choose bf16 or f32",
            (const char *)t->context, (unsigned long long)(first_row + i / row_elements),
            (unsigned long long)(i % row_elements), (double)value);
    }
    return 0;
}

static int apply_cast(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                      const void *in, void *out, Error *err) {
    size_t n = (size_t)(n_rows * row_elements);
    TRY(floats_convert(t->to, out, t->from, in, n, err));
    return t->to == DT_F16 ? check_overflow(t, in, out, n, first_row, row_elements, err) : 0;
}

/* What quantizing a tensor needs besides its rows. */
typedef struct QuantizeContext {
    const char *name;        /* first: of the tensor, as a cast has it */
    const float *importance; /* of its columns, for one matrix after the other; NULL: none */
    uint64_t matrix_rows;
} QuantizeContext;

/* Rows of one matrix: an importance is the same for all of them. */
static int quantize_matrix(const RowTransform *t, const FloatRows *rows, void *out, Error *err) {
    const QuantizeContext *c = t->context;
    int code = quantize_rows(t->to, out, rows, err);
    return code ? error_wrap(err, code, "%s", c->name) : 0;
}

static int apply_quantize(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                          const void *in, void *out, Error *err) {
    const QuantizeContext *c = t->context;
    const DTypeInfo *from = dtype_info(t->from), *to = dtype_info(t->to);
    size_t in_row = (size_t)row_elements * from->bytes,
           out_row = (size_t)row_elements / to->block * to->bytes;
    for (uint64_t done = 0; done < n_rows;) {
        uint64_t row = first_row + done, left = c->matrix_rows - row % c->matrix_rows;
        size_t n = (size_t)(left < n_rows - done ? left : n_rows - done);
        FloatRows rows = {.type = t->from,
                          .data = (const uint8_t *)in + done * in_row,
                          .n_rows = n,
                          .row_elements = (size_t)row_elements,
                          .first_row = row,
                          .importance =
                              c->importance ? c->importance + row / c->matrix_rows * row_elements : NULL};
        TRY(quantize_matrix(t, &rows, (uint8_t *)out + done * out_row, err));
        done += n;
    }
    return 0;
}

static int apply_dequantize(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                            const void *in, void *out, Error *err) {
    (void)first_row;
    return dequantize(out, t->from, in, (size_t)(n_rows * row_elements), err);
}

/* ---- which type ---- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), e = strlen(end);
    return n >= e && !strcmp(s + n - e, end);
}

/* Trailing sizes of 1 don't count, as in ggml: a row of n is a vector. */
static uint32_t real_dims(const Tensor *t) {
    uint32_t n = t->n_dims;
    while (n > 1 && t->dims[n - 1] == 1) n--;
    return n;
}

/* For architectures without a family: vectors, norms, routers, whatever is no ".weight", and matrices that
 * are F32 in a file whose other matrices are not. */
static bool f32_by_name(const Tensor *t, DType common) {
    return real_dims(t) < 2 || ends_with(t->name, "_norm.weight") || strstr(t->name, "ffn_gate_inp") ||
           !ends_with(t->name, ".weight") || (t->type == DT_F32 && common != DT_F32);
}

static bool keeps_f32(const Model *base, const Tensor *t, DType common) {
    TensorSpec spec;
    if (base->family && family_find_spec(base->family, &base->params, t->name, &spec)) return spec.keep_f32;
    return f32_by_name(t, common);
}

DType gguf_common_type(const Model *m) {
    uint64_t elements[256] = {0};
    DType best = DT_F32;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        TensorSpec spec;
        if (real_dims(t) < 2 || (unsigned)t->type >= 256) continue;
        if (m->family && family_find_spec(m->family, &m->params, t->name, &spec) && spec.keep_f32) continue;
        elements[t->type] += tensor_elements(t);
        if (elements[t->type] > elements[best]) best = t->type;
    }
    return best;
}

/* As stored, but for what llama.cpp wants in F32. */
static DType stored_type(const Model *base, const Tensor *t) {
    TensorSpec spec;
    bool known = base->family && family_find_spec(base->family, &base->params, t->name, &spec);
    return dtype_is_float(t->type) && known && spec.keep_f32 ? DT_F32 : t->type;
}

/* Of a conversion to a float type. Integers stay: they are tables, not weights. */
static DType float_type(const Model *base, const Tensor *t, DType asked, DType common) {
    if (asked == DT_NONE) return stored_type(base, t);
    if (dtype_info(t->type)->block == 1 && !dtype_is_float(t->type)) return t->type;
    return keeps_f32(base, t, common) ? DT_F32 : asked;
}

/* ---- the view ---- */

typedef struct Retyped {
    Model model;            /* first, so that a Model can be taken for what it is part of */
    const Mixture *mixture; /* of a quantized preset, else NULL */
} Retyped;

typedef struct Retyping {
    Retyped *view;
    const Model *base;
    RetypeOptions options;
    DType common; /* of the base */
} Retyping;

static int add_transform(Tensor *t, RowTransform transform, Error *err) {
    if (t->n_transforms == TENSOR_MAX_TRANSFORMS)
        return error_set(err, ERR_LIMIT, "tensor %s: more than %d transforms in a row", t->name,
                         TENSOR_MAX_TRANSFORMS);
    transform.from = t->type;
    t->transforms[t->n_transforms++] = transform;
    t->type = transform.to;
    return 0;
}

static int add_quantize(Retyping *r, Tensor *t, DType to, Error *err) {
    QuantizeContext *c = arena_alloc(r->view->model.arena, 1, sizeof *c);
    if (!c) return error_memory(err, "a tensor");
    *c = (QuantizeContext){.name = t->name, .matrix_rows = t->dims[1] ? t->dims[1] : 1};
    if (r->options.rules.imatrix) TRY(imatrix_weights(&c->importance, r->options.rules.imatrix, t, err));
    return add_transform(t, (RowTransform){.to = to, .apply = apply_quantize, .context = c}, err);
}

/* What is quantized already is made of floats that were better; who wants it all the same must say so. */
static int check_quantized(const Retyping *r, const Tensor *t, Error *err) {
    if (r->options.requantize && quantizer_of(t->type)) return 0;
    return error_set(
        err, ERR_UNSUPPORTED,
        r->options.requantize
            ? "%s: tensor %s is %s, which this version can't turn into numbers"
            : "%s: tensor %s is already quantized (%s); give the float model, leave out the type to "
              "keep it, or ask to requantize, which adds one error to the other",
        r->base->path, t->name, dtype_name(t->type));
}

static int retype_tensor(Retyping *r, Tensor *t, DType to, Error *err) {
    if (t->type == to) return 0;
    if (!dtype_is_float(t->type)) {
        TRY(check_quantized(r, t, err));
        TRY(add_transform(t, (RowTransform){.to = DT_F32, .apply = apply_dequantize, .context = t->name},
                          err));
        if (to == DT_F32) return 0;
    }
    if (!dtype_is_float(to)) return add_quantize(r, t, to, err);
    return add_transform(t, (RowTransform){.to = to, .apply = apply_cast, .context = t->name}, err);
}

static DType type_for(const Retyping *r, size_t i) {
    const Tensor *t = &r->base->tensors[i];
    const Preset *preset = r->options.rules.preset;
    if (!r->view->mixture) return float_type(r->base, t, preset ? preset->type : DT_NONE, r->common);
    DType type = r->view->mixture->types[i];
    if (type != DT_NONE) return type;
    return dtype_is_float(t->type) && real_dims(t) < 2 ? DT_F32 : stored_type(r->base, t);
}

static int retype_all(Retyping *r, Error *err) {
    const Model *base = r->base;
    Model *m = &r->view->model;
    const Preset *preset = r->options.rules.preset;
    Mixture *mixture = NULL;
    Tensor *tensors = arena_alloc(m->arena, base->n_tensors, sizeof *tensors);
    if (!tensors) return error_memory(err, "the tensor table");
    r->common = gguf_common_type(base);
    if (preset && !dtype_is_float(preset->type))
        TRY(mixture_plan(&mixture, base, &r->options.rules, m->arena, err));
    r->view->mixture = mixture;
    for (size_t i = 0; i < base->n_tensors; i++) {
        tensors[i] = base->tensors[i];
        TRY(retype_tensor(r, &tensors[i], type_for(r, i), err));
    }
    m->tensors = tensors;
    return 0;
}

/* The keys that llama-quantize leaves, with the file's name and never its path. */
static int set_imatrix(Metadata *m, const Imatrix *imatrix, Error *err) {
    TRY(metadata_set_string(m, "quantize.imatrix.file", imatrix->file_name, err));
    if (imatrix->n_datasets && imatrix->datasets[0][0])
        TRY(metadata_set_string(m, "quantize.imatrix.dataset", imatrix->datasets[0], err));
    TRY(metadata_set_u32(m, "quantize.imatrix.entries_count", (uint32_t)imatrix->n_entries, err));
    return imatrix->chunk_count
               ? metadata_set_u32(m, "quantize.imatrix.chunks_count", imatrix->chunk_count, err)
               : 0;
}

/* A mixture (Q4_K_M) can't be told from types alone: without a preset what the file says of itself stays. */
static int set_file_type(Model *m, const Model *base, const MixtureRules *rules, Error *err) {
    const Preset *preset = rules ? rules->preset : NULL;
    Metadata *metadata;
    TRY(metadata_copy(&metadata, base->metadata, m->arena, err));
    m->metadata = metadata;
    if (!preset) {
        DType common = gguf_common_type(base);
        return dtype_is_float(common)
                   ? metadata_set_u32(metadata, "general.file_type", gguf_file_type(common), err)
                   : 0;
    }
    if (!dtype_is_float(preset->type))
        TRY(metadata_set_u32(metadata, "general.quantization_version", 2, err));
    if (!dtype_is_float(preset->type) && rules->imatrix) TRY(set_imatrix(metadata, rules->imatrix, err));
    return metadata_set_u32(metadata, "general.file_type", preset->file_type, err);
}

static void close_view(Model *m) {
    arena_close(m->arena);
}

int retype_open(Model **out, const Model *base, const RetypeOptions *options, const Allocator *allocator,
                Error *err) {
    *out = NULL;
    if (base->form != FORM_GGUF || !base->metadata)
        return error_set(err, ERR_UNSUPPORTED, "%s: types are chosen for the GGUF form only", base->path);
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Retyped *view = arena_alloc(arena, 1, sizeof *view);
    int code = view ? 0 : error_memory(err, "a retyped model");
    if (!code) {
        *view = (Retyped){.model = *base};
        view->model.arena = arena;
        view->model.close = close_view;
        Retyping r = {.view = view, .base = base};
        if (options) r.options = *options;
        code = retype_all(&r, err);
    }
    if (!code) code = set_file_type(&view->model, base, options ? &options->rules : NULL, err);
    if (code)
        arena_close(arena);
    else
        *out = &view->model;
    return code;
}

bool retype_is_lossless(const Model *retyped) {
    for (size_t i = 0; i < retyped->n_tensors; i++) {
        const Tensor *t = &retyped->tensors[i];
        for (uint32_t k = 0; k < t->n_transforms; k++)
            if (t->transforms[k].to != DT_F32 && t->transforms[k].to != t->transforms[k].from) return false;
    }
    return true;
}

size_t retype_fallbacks(const Model *retyped, const MixtureFallback **list) {
    *list = NULL;
    if (!retyped || retyped->close != close_view) return 0;
    const Retyped *r = (const Retyped *)retyped;
    if (!r->mixture) return 0;
    *list = r->mixture->fallbacks;
    return r->mixture->n_fallbacks;
}
