/* weights.c -- no NaN and no infinity among the weights: every element is looked at, quantized ones as the
 * float32 that they stand for. Types that core/quantize.h can't read are named, not passed over. */
#include "core/floats.h"
#include "core/quantize.h"
#include "validate/validation.h"
#include <string.h>

#define ALL_FINITE UINT64_MAX

typedef struct Scan {
    Sweep sweep;
    const Model *model;
    uint64_t *flaws; /* by tensor: index of the first element that is not finite, or ALL_FINITE */
} Scan;

/* A table of integers can hold no NaN. */
static bool is_integer(DType t) {
    return (t >= DT_I8 && t <= DT_I64) || (t >= DT_BOOL && t <= DT_U64);
}

static bool is_readable(DType t) {
    return dtype_is_float(t) || quantizer_of(t);
}

enum { AT_ONCE = 4096 /* elements that are dequantized in one go: whole blocks of any type */ };

/* The first of `elements` that isn't finite, or `elements`. */
static int first_nonfinite(size_t *out, DType type, const uint8_t *data, size_t elements, Error *err) {
    float values[AT_ONCE];
    const DTypeInfo *info = dtype_info(type);
    *out = elements;
    if (dtype_is_float(type)) {
        *out = floats_first_nonfinite(type, data, elements);
        return 0;
    }
    for (size_t i = 0; i < elements; i += AT_ONCE) {
        size_t n = elements - i < AT_ONCE ? elements - i : AT_ONCE;
        TRY(dequantize(values, type, data + i / info->block * info->bytes, n, err));
        size_t first = floats_first_nonfinite(DT_F32, values, n);
        if (first == n) continue;
        *out = i + first;
        return 0;
    }
    return 0;
}

/* A piece is whole rows where model_read gives rows, else bytes: then it is cut where blocks end. */
static uint64_t whole_blocks(const TensorPieces *p, const DTypeInfo *info) {
    return p->unit == 1 ? p->step - p->step % info->bytes : p->step;
}

static int scan_tensor(void *context, size_t index, unsigned thread, Error *err) {
    Scan *s = context;
    const Tensor *t = &s->model->tensors[index];
    TensorPieces p = tensor_pieces(t, t->n_transforms != 0);
    if (!is_readable(t->type)) return 0;
    uint8_t *buffer;
    const DTypeInfo *info = dtype_info(t->type);
    uint64_t step = whole_blocks(&p, info);
    TRY(sweep_buffer(&s->sweep, thread, 0, (size_t)step * p.unit, &buffer, err));
    for (uint64_t at = 0; at < p.total; at += step) {
        uint64_t n = p.total - at < step ? p.total - at : step;
        size_t bytes = (size_t)n * p.unit, elements = bytes / info->bytes * info->block, first;
        TRY(tensor_piece(t, &p, at, n, buffer, err));
        TRY(first_nonfinite(&first, t->type, buffer, elements, err));
        if (first < elements) {
            s->flaws[index] = at * p.unit / info->bytes * info->block + first;
            return 0;
        }
        TRY(sweep_advance(&s->sweep, bytes, err));
    }
    return 0;
}

static void report_scan(const Validation *v, const Scan *s) {
    const Model *m = s->model;
    size_t flawed = 0, floats = 0, others = 0, first = 0;
    for (size_t i = 0; i < m->n_tensors; i++) {
        DType type = m->tensors[i].type;
        floats += is_readable(type);
        others += !is_readable(type) && !is_integer(type);
        if (s->flaws[i] != ALL_FINITE && !flawed++) first = i;
    }
    if (flawed) {
        const Tensor *t = &m->tensors[first];
        uint64_t at = s->flaws[first];
        check_add(v, "structure", CHECK_FAIL, "weights finite",
                  "%zu of %zu tensors hold NaN or infinity; the first is %s, at row %llu, element %llu",
                  flawed, m->n_tensors, t->name, (unsigned long long)(at / t->dims[0]),
                  (unsigned long long)(at % t->dims[0]));
    } else if (others) {
        check_add(v, "structure", CHECK_NOT_RUN, "weights finite",
                  "%zu of %zu tensors are in types whose elements this version does not read; %zu others "
                  "are finite",
                  others, m->n_tensors, floats);
    } else {
        check_add(v, "structure", CHECK_PASS, "weights finite", "no NaN or infinity in %zu tensors",
                  m->n_tensors);
    }
}

int check_finite(const Validation *v, const Model *m, Error *err) {
    Scan s = {.model = m, .sweep.phase = "look for NaN"};
    s.flaws = arena_alloc(v->arena, m->n_tensors, sizeof *s.flaws);
    if (!s.flaws) return error_memory(err, "the scan of the weights");
    for (size_t i = 0; i < m->n_tensors; i++) {
        s.flaws[i] = ALL_FINITE;
        if (is_readable(m->tensors[i].type)) s.sweep.total += tensor_bytes(&m->tensors[i]);
    }
    Error found = {0};
    int code = sweep_run(&s.sweep, v->options, m->n_tensors, (ThreadWork){scan_tensor, &s}, &found);
    if (code) return check_error(v, "structure", "weights finite", &found, err);
    report_scan(v, &s);
    return 0;
}
