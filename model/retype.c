/* retype.c -- the same tensors in another type, cast or quantized. It adds one row transform to each tensor
 * whose type changes, and nothing to the others, which stay copies of their extents. Which type a tensor gets
 * is llama.cpp's converter's policy. */
#include "core/floats.h"
#include "core/quantize.h"
#include "model/family.h"
#include "model/views.h"
#include <string.h>

uint32_t gguf_file_type(DType type) {
    switch (type) {
    case DT_F16: return 1;
    case DT_Q4_0: return 2;
    case DT_Q4_1: return 3;
    case DT_Q8_0: return 7;
    case DT_Q5_0: return 8;
    case DT_Q5_1: return 9;
    case DT_BF16: return 32;
    default: return 0; /* F32 */
    }
}

/* ---- names of types ---- */

static const DType offered[] = {DT_F32, DT_F16, DT_BF16, DT_Q8_0};
const char *const output_type_names[] = {"f32", "f16", "bf16", "q8_0", NULL};

DType output_type_by_name(const char *name) {
    for (size_t i = 0; name && output_type_names[i]; i++)
        if (!strcmp(output_type_names[i], name)) return offered[i];
    return DT_NONE;
}

const char *output_type_name(DType type) {
    for (size_t i = 0; output_type_names[i]; i++)
        if (offered[i] == type) return output_type_names[i];
    return NULL;
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

static int apply_quantize(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                          const void *in, void *out, Error *err) {
    FloatRows rows = {.type = t->from,
                      .data = in,
                      .n_rows = (size_t)n_rows,
                      .row_elements = (size_t)row_elements,
                      .first_row = first_row};
    int code = quantize_rows(t->to, out, &rows, err);
    return code ? error_wrap(err, code, "%s", (const char *)t->context) : 0;
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

/* Rows that are no whole number of blocks can't be quantized: llama.cpp's converter makes them F16. */
static const DType FALLBACK = DT_F16;

static bool rows_fit(const Tensor *t, DType type) {
    return t->dims[0] % dtype_info(type)->block == 0;
}

/* The type that a tensor gets. Integers stay: they are tables, not weights. */
static DType type_for(const Model *base, const Tensor *t, DType asked, DType common) {
    if (!dtype_is_float(t->type)) return t->type;
    if (asked == DT_NONE) {
        TensorSpec spec;
        bool known = base->family && family_find_spec(base->family, &base->params, t->name, &spec);
        return known && spec.keep_f32 ? DT_F32 : t->type;
    }
    if (keeps_f32(base, t, common)) return DT_F32;
    return rows_fit(t, asked) ? asked : FALLBACK;
}

/* What is quantized as asked already stays, as with llama-quantize. */
static int check_stored(const Model *base, const Tensor *t, DType asked, Error *err) {
    const DTypeInfo *info = dtype_info(t->type);
    if (asked == DT_NONE || t->type == asked || (info && info->block == 1)) return 0;
    return error_set(
        err, ERR_UNSUPPORTED,
        "%s: tensor %s is already quantized (%s); give the float model, or leave out the type to keep it",
        base->path, t->name, dtype_name(t->type));
}

/* ---- the view ---- */

typedef struct Retyped {
    Model model; /* first, so that a Model can be taken for what it is part of */
    const char **fallbacks;
    size_t n_fallbacks;
} Retyped;

static int retype_tensor(Tensor *t, DType to, Error *err) {
    if (t->type == to) return 0;
    if (t->n_transforms == TENSOR_MAX_TRANSFORMS)
        return error_set(err, ERR_LIMIT, "tensor %s: more than %d transforms in a row", t->name,
                         TENSOR_MAX_TRANSFORMS);
    t->transforms[t->n_transforms++] =
        (RowTransform){.from = t->type,
                       .to = to,
                       .apply = dtype_is_float(to) ? apply_cast : apply_quantize,
                       .context = t->name};
    t->type = to;
    return 0;
}

static int retype_all(Retyped *r, const Model *base, DType type, Error *err) {
    Arena *arena = r->model.arena;
    Tensor *tensors = arena_alloc(arena, base->n_tensors, sizeof *tensors);
    r->fallbacks = arena_alloc(arena, base->n_tensors, sizeof *r->fallbacks);
    if (!tensors || !r->fallbacks) return error_memory(err, "the tensor table");
    DType common = gguf_common_type(base);
    for (size_t i = 0; i < base->n_tensors; i++) {
        tensors[i] = base->tensors[i];
        TRY(check_stored(base, &tensors[i], type, err));
        DType to = type_for(base, &tensors[i], type, common);
        TRY(retype_tensor(&tensors[i], to, err));
        if (type != DT_NONE && to == FALLBACK && !rows_fit(&tensors[i], type))
            r->fallbacks[r->n_fallbacks++] = tensors[i].name;
    }
    r->model.tensors = tensors;
    return 0;
}

/* A quantization mixture (Q4_K_M) can't be told from types alone: without a type what the file says of itself
 * stays. */
static int set_file_type(Model *m, const Model *base, DType type, Error *err) {
    Metadata *metadata;
    TRY(metadata_copy(&metadata, base->metadata, m->arena, err));
    m->metadata = metadata;
    DType common = type == DT_NONE ? gguf_common_type(base) : type;
    if (type == DT_NONE && !dtype_is_float(common)) return 0;
    if (!dtype_is_float(common)) TRY(metadata_set_u32(metadata, "general.quantization_version", 2, err));
    return metadata_set_u32(metadata, "general.file_type", gguf_file_type(common), err);
}

static void close_view(Model *m) {
    arena_close(m->arena);
}

int retype_open(Model **out, const Model *base, DType type, const Allocator *allocator, Error *err) {
    *out = NULL;
    if (base->form != FORM_GGUF || !base->metadata)
        return error_set(err, ERR_UNSUPPORTED, "%s: types are chosen for the GGUF form only", base->path);
    if (type != DT_NONE && !output_type_name(type))
        return error_set(err, ERR_UNSUPPORTED, "type %s is not offered: f32, f16, bf16 and q8_0 are",
                         dtype_name(type));
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Retyped *r = arena_alloc(arena, 1, sizeof *r);
    int code = r ? 0 : error_memory(err, "a retyped model");
    if (!code) {
        r->model = *base;
        r->model.arena = arena;
        r->model.close = close_view;
        code = retype_all(r, base, type, err);
    }
    if (!code) code = set_file_type(&r->model, base, type, err);
    if (code)
        arena_close(arena);
    else
        *out = &r->model;
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

size_t retype_fallbacks(const Model *retyped, const char *const **names) {
    *names = NULL;
    if (!retyped || retyped->close != close_view) return 0;
    const Retyped *r = (const Retyped *)retyped;
    *names = r->fallbacks;
    return r->n_fallbacks;
}
