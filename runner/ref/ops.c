/* ops.c -- operations over whole tokens. */
#include "runner/ref/ops.h"
#include "core/floats.h"
#include "core/quantize.h"
#include "core/strict_math.h"
#include "runner/ref/kernels.h"
#include <math.h>

enum {
    ITEM_ROWS = 64, /* rows of a work item */
    ALONE_WORK =
        1 << 18, /* multiply-adds, some 10 us: about what it takes until a sleeping thread is there */
    NEAR = 4,    /* products back that one looks for activations to share */
};

/* ---- threads ---- */

/* A kernel's, and behind it widened rows. */
size_t team_scratch(size_t columns) {
    return mat_scratch(columns) / sizeof(float) + MAT_PANEL * columns;
}

int team_run(const Team *team, uint64_t work, size_t count, ThreadWork items, Error *err) {
    if (work >= ALONE_WORK) return thread_pool_run(team->pool, count, items, err);
    for (size_t i = 0; i < count; i++) TRY(items.run(items.context, i, 0, err));
    return 0;
}

/* A row as float32, whatever its type. */
void widen_row(const Matrix *w, size_t row, float *out) {
    const uint8_t *at = w->data + row * w->row_bytes;
    if (dtype_is_float(w->type))
        kernel_widen(w->type, at, out, w->columns);
    else
        quantizer_of(w->type)->dequantize(out, at, w->columns);
}

/* ---- products ---- */

typedef struct ProductWork {
    const Team *team;
    const Product *products;
    size_t count;
} ProductWork;

static size_t items_of(const Product *p) {
    return p->n ? (p->w->rows + ITEM_ROWS - 1) / ITEM_ROWS : 0;
}

/* Rows of a quantized matrix as float32, a few at a time. */
static void product_widened(const Team *team, const Product *p, MatTile tile, size_t first, float *scratch) {
    size_t end = first + tile.n_rows, columns = tile.columns;
    float *wide = scratch + mat_scratch(columns) / sizeof *scratch;
    tile.rows = (const uint8_t *)wide;
    tile.row_bytes = columns * sizeof *wide;
    tile.type = DT_F32;
    for (; first < end; first += tile.n_rows) {
        tile.n_rows = end - first < MAT_PANEL ? end - first : MAT_PANEL;
        for (size_t r = 0; r < tile.n_rows; r++) widen_row(p->w, first + r, wide + r * columns);
        tile.out = p->out + first;
        team->kernels->floats(&tile);
    }
}

static int run_product_item(void *context, size_t index, unsigned thread, Error *err) {
    (void)err;
    const ProductWork *work = context;
    const Team *team = work->team;
    size_t low = 0, high = work->count - 1; /* the first product that ends behind this item */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (work->products[middle].items_end > index)
            high = middle;
        else
            low = middle + 1;
    }
    const Product *p = &work->products[low];
    const Matrix *w = p->w;
    size_t first = (index - (p->items_end - items_of(p))) * ITEM_ROWS;
    float *scratch = team->scratch + thread * team->scratch_floats;
    MatTile tile = {.type = w->type,
                    .rows = w->data + first * w->row_bytes,
                    .row_bytes = w->row_bytes,
                    .n_rows = w->rows - first < ITEM_ROWS ? w->rows - first : ITEM_ROWS,
                    .columns = w->columns,
                    .x = p->packed ? p->packed : (const uint8_t *)p->x,
                    .x_bytes =
                        p->packed ? team->kernels->packed_bytes(w->columns) : w->columns * sizeof *p->x,
                    .pick = p->pick,
                    .n = p->n,
                    .out = p->out + first,
                    .out_stride = w->rows,
                    .scratch = scratch};
    if (p->packed)
        team->kernels->quantized(&tile);
    else if (dtype_is_float(w->type))
        team->kernels->floats(&tile);
    else
        product_widened(team, p, tile, first, scratch);
    return 0;
}

/* ---- activations for quantized weights: each vector is quantized once ---- */

/* Rows of products[i].x that it or a later product takes. */
static size_t rows_wanted(const Product *products, size_t count, size_t i) {
    size_t n = 0;
    for (size_t j = i; j < count; j++) {
        const Product *p = &products[j];
        if (p->x != products[i].x || p->w->columns != products[i].w->columns) continue;
        if (!p->pick && p->n > n) n = p->n;
        for (size_t k = 0; p->pick && k < p->n; k++) n = p->pick[k] >= n ? (size_t)p->pick[k] + 1 : n;
    }
    return n;
}

/* An earlier product near this one whose activations will do for it. */
static const Product *lender(const Team *team, const Product *products, size_t i) {
    for (size_t back = 1, seen = 0; back <= i && seen < NEAR; back++) {
        const Product *p = &products[i - back];
        if (!p->vectors) continue;
        seen++;
        if (p->x == products[i].x && p->w->columns == products[i].w->columns &&
            team->kernels->same_pack(p->w->type, products[i].w->type))
            return p;
    }
    return NULL;
}

static int run_pack_item(void *context, size_t index, unsigned thread, Error *err) {
    (void)err, (void)thread;
    const ProductWork *work = context;
    const Product *p = work->products;
    for (; index >= p->vectors; p++) index -= p->vectors;
    size_t columns = p->w->columns;
    work->team->kernels->pack((uint8_t *)p->packed + index * work->team->kernels->packed_bytes(columns),
                              p->w->type, p->x + index * columns, columns);
    return 0;
}

/* Gives every product of a quantized matrix its packed activations. */
static int pack_all(const Team *team, Product *products, size_t count, Error *err) {
    ProductWork work = {.team = team, .products = products, .count = count};
    size_t vectors = 0, used = 0;
    uint64_t elements = 0;
    for (size_t i = 0; i < count; i++) {
        Product *p = &products[i];
        p->packed = NULL;
        p->vectors = 0;
        if (!p->n || team->float_activations || dtype_is_float(p->w->type)) continue;
        const Product *from = lender(team, products, i);
        p->packed = from ? from->packed : team->packed + used;
        if (from) continue;
        p->vectors = rows_wanted(products, count, i);
        vectors += p->vectors;
        used += p->vectors * team->kernels->packed_bytes(p->w->columns);
        elements += p->vectors * p->w->columns;
        if (used > team->packed_bytes)
            return error_set(err, ERR_LIMIT, "too many activations for the runner's working memory");
    }
    /* one takes as long as four multiply-adds or more */
    return team_run(team, 8 * elements, vectors, (ThreadWork){run_pack_item, &work}, err);
}

int team_products(const Team *team, Product *products, size_t count, Error *err) {
    ProductWork work = {.team = team, .products = products, .count = count};
    uint64_t macs = 0;
    size_t items = 0;
    TRY(pack_all(team, products, count, err));
    for (size_t i = 0; i < count; i++) {
        macs += (uint64_t)products[i].n * products[i].w->rows * products[i].w->columns;
        items += items_of(&products[i]);
        products[i].items_end = items;
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

/* A vocabulary of 150,000 is looked at for every token: whole pieces are, in a loop that a compiler turns
 * into vectors. An exponent of all ones carries into the sign. */
size_t first_nonfinite(const float *x, size_t n) {
    enum { PIECE = 256 };
    size_t i = 0;
    for (; i + PIECE <= n; i += PIECE) {
        uint32_t carry = 0;
        for (size_t k = 0; k < PIECE; k++) carry |= (strict_bits_of(x[i + k]) & 0x7F800000) + 0x00800000;
        if (carry >> 31) break;
    }
    for (; i < n; i++)
        if ((strict_bits_of(x[i]) & 0x7F800000) == 0x7F800000) return i;
    return n;
}
