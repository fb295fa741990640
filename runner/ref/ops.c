/* ops.c -- operations over whole tokens. */
#include "runner/ref/ops.h"
#include "core/floats.h"
#include "core/quantize.h"
#include "core/strict_math.h"
#include "runner/ref/kernels.h"
#include "runner/ref/quantized.h"
#include <math.h>

enum {
    ROW_BLOCK = 8, /* rows widened together when several vectors share them: with one vector they fit in L2 */
    ITEM_ROWS = 64,       /* rows of a work item */
    ALONE_WORK = 1 << 21, /* multiply-adds, some 0.2 ms: starting and joining a thread takes 0.03 */
};

/* ---- threads ---- */

_Static_assert(sizeof(ActBlock) <= 32 * ROW_BLOCK * sizeof(float), "quantized activations fit in scratch");

size_t team_scratch(size_t columns) {
    return ROW_BLOCK * columns;
}

int team_run(const Team *team, uint64_t work, size_t count, ThreadWork items, Error *err) {
    return threads_run(work < ALONE_WORK ? 1 : team->n_threads, count, items, err);
}

static const float *vector_of(const Product *p, size_t i) {
    return p->x + (p->pick ? p->pick[i] : i) * p->w->columns;
}

/* A row as float32, whatever its type. */
void widen_row(const Matrix *w, size_t row, float *out) {
    const uint8_t *at = w->data + row * w->row_bytes;
    if (dtype_is_float(w->type))
        kernel_widen(w->type, at, out, w->columns);
    else
        quantizer_of(w->type)->dequantize(out, at, w->columns);
}

/* Few rows, all vectors. A row that several vectors meet is widened once. */
static void product_rows(const Product *p, size_t first, size_t n_rows, float *scratch) {
    const Matrix *w = p->w;
    const uint8_t *rows = w->data + first * w->row_bytes;
    DType type = w->type;
    size_t row_bytes = w->row_bytes;
    if ((p->n > 1 && type != DT_F32) || !dtype_is_float(type)) {
        for (size_t r = 0; r < n_rows; r++) widen_row(w, first + r, scratch + r * w->columns);
        rows = (const uint8_t *)scratch, type = DT_F32, row_bytes = w->columns * sizeof *scratch;
    }
    for (size_t i = 0; i < p->n; i++) {
        const float *x = vector_of(p, i);
        float *out = p->out + i * w->rows + first;
        for (size_t r = 0; r < n_rows; r++) out[r] = kernel_dot(type, rows + r * row_bytes, x, w->columns);
    }
}

/* Rows of a quantized matrix: each vector is quantized once for all of them. */
static void product_quantized(const Product *p, size_t first, size_t n_rows, ActBlock *scratch) {
    const Matrix *w = p->w;
    for (size_t i = 0; i < p->n; i++) {
        float *out = p->out + i * w->rows + first;
        quantized_activations(scratch, vector_of(p, i), w->columns);
        for (size_t r = 0; r < n_rows; r++)
            out[r] = quantized_dot(w->type, w->data + (first + r) * w->row_bytes, scratch, w->columns);
    }
}

typedef struct ProductWork {
    const Team *team;
    const Product *products;
    size_t count;
} ProductWork;

static size_t items_of(const Product *p) {
    return p->n ? (p->w->rows + ITEM_ROWS - 1) / ITEM_ROWS : 0;
}

static int run_product_item(void *context, size_t index, unsigned thread, Error *err) {
    (void)err;
    const ProductWork *work = context;
    const Product *p = work->products;
    for (; index >= items_of(p); p++) index -= items_of(p);
    float *scratch = work->team->scratch + thread * work->team->scratch_floats;
    size_t end = (index + 1) * ITEM_ROWS < p->w->rows ? (index + 1) * ITEM_ROWS : p->w->rows;
    if (!work->team->float_activations && !dtype_is_float(p->w->type)) {
        product_quantized(p, index * ITEM_ROWS, end - index * ITEM_ROWS, (ActBlock *)scratch);
        return 0;
    }
    for (size_t r = index * ITEM_ROWS; r < end; r += ROW_BLOCK)
        product_rows(p, r, end - r < ROW_BLOCK ? end - r : ROW_BLOCK, scratch);
    return 0;
}

int team_products(const Team *team, const Product *products, size_t count, Error *err) {
    ProductWork work = {.team = team, .products = products, .count = count};
    uint64_t macs = 0;
    size_t items = 0;
    for (size_t i = 0; i < count; i++) {
        macs += (uint64_t)products[i].n * products[i].w->rows * products[i].w->columns;
        items += items_of(&products[i]);
    }
    return team_run(team, macs, items, (ThreadWork){run_product_item, &work}, err);
}

/* ---- rotary embedding ---- */

void rope_angles(float *cosine, float *sine, const float *inv_freq, float attention_factor, uint32_t position,
                 size_t head_dim) {
    for (size_t i = 0; i < head_dim / 2; i++) {
        float angle = (float)position * inv_freq[i];
        float c = (float)strict_cos(angle), s = (float)strict_sin(angle);
        cosine[i] = c * attention_factor;
        sine[i] = s * attention_factor;
    }
}

void rope_turn(float *x, const float *cosine, const float *sine, size_t head_dim) {
    float *second = x + head_dim / 2;
    for (size_t i = 0; i < head_dim / 2; i++) {
        float u = x[i], v = second[i];
        float uc = u * cosine[i], vs = v * sine[i], vc = v * cosine[i], us = u * sine[i];
        x[i] = uc - vs;
        second[i] = vc + us;
    }
}

/* ---- experts ---- */

/* The most probable expert that is still there (probability >= 0); a NaN is taken when nothing else is left.
 */
static size_t most_probable(const float *probability, const bool *taken, size_t n) {
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (!taken[i] && (best == n || probability[i] > probability[best])) best = i;
    return best;
}

void route(float *logits, size_t n_experts, size_t n_used, bool renormalise) {
    enum { MOST = 1024 }; /* experts; runner_open sees to it */
    bool taken[MOST] = {false};
    float chosen[MOST];
    kernel_exps(logits, n_experts);
    float total = kernel_sum(logits, n_experts);
    for (size_t i = 0; i < n_experts; i++) logits[i] /= total;
    for (size_t i = 0; i < n_used; i++) taken[most_probable(logits, taken, n_experts)] = true;

    size_t n = 0;
    for (size_t i = 0; i < n_experts; i++)
        if (taken[i]) chosen[n++] = logits[i];
    float sum = renormalise ? kernel_sum(chosen, n) : 1;
    for (size_t i = 0; i < n_experts; i++) logits[i] = taken[i] ? logits[i] / sum : -1;
}

size_t first_nonfinite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((f32_bits(x[i]) & 0x7F800000) == 0x7F800000) return i;
    return n;
}
