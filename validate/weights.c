/* weights.c -- no NaN and no infinity among the weights: every float element is looked at.
 * Quantized blocks are not decoded here; that is said, not passed over. */
#include "core/floats.h"
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

static int scan_tensor(void *context, size_t index, unsigned thread, Error *err) {
    Scan *s = context;
    const Tensor *t = &s->model->tensors[index];
    TensorPieces p = tensor_pieces(t, t->n_transforms != 0);
    if (!dtype_is_float(t->type)) return 0;
    uint8_t *buffer;
    size_t width = dtype_info(t->type)->bytes;
    TRY(sweep_buffer(&s->sweep, thread, 0, (size_t)p.step * p.unit, &buffer, err));
    for (uint64_t at = 0; at < p.total; at += p.step) {
        uint64_t n = p.total - at < p.step ? p.total - at : p.step;
        size_t bytes = (size_t)n * p.unit, elements = bytes / width;
        TRY(tensor_piece(t, &p, at, n, buffer, err));
        size_t first = floats_first_nonfinite(t->type, buffer, elements);
        if (first < elements) {
            s->flaws[index] = at * p.unit / width + first;
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
        floats += dtype_is_float(type);
        others += !dtype_is_float(type) && !is_integer(type);
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
                  "%zu of %zu tensors are in types whose elements this version does not read; %zu float ones "
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
        if (dtype_is_float(m->tensors[i].type)) s.sweep.total += tensor_bytes(&m->tensors[i]);
    }
    Error found = {0};
    int code = sweep_run(&s.sweep, v->options, m->n_tensors, (ThreadWork){scan_tensor, &s}, &found);
    if (code) return check_error(v, "structure", "weights finite", &found, err);
    report_scan(v, &s);
    return 0;
}
