/* lora_apply.c -- rows of a tensor with what the adapters do to them (docs/lora.md).
 *
 * Rows are widened to float32, every operation works on them in order, and they are rounded to the tensor's
 * type at the end. What changed is counted on the way: each row once, whoever reads it again, in sums that no
 * order of rows can change. */
#include "core/floats.h"
#include "core/quantize.h"
#include "model/lora_private.h"
#include <math.h>
#include <string.h>

enum {
    CHUNK_BYTES = 128 << 10,  /* of float32 rows that go through all operations together: a part of the second
                                 cache, beside A */
    LARGEST_SIDE = 256 << 20, /* bytes of A, or of a call's rows of B, as float32 */
    NOT_FINITE = 0x7F800000,
};

/* Everything one call needs. */
typedef struct Work {
    LoraTensor *tensor;
    Lora *lora;
    uint64_t first, n, columns; /* rows of this call */
    uint64_t chunk;             /* rows that go together */
    float *sum, *old, *delta;   /* [chunk][columns]; delta only where it is wanted apart */
    DType from, type;           /* as stored, and as given */
} Work;

/* A and B of one operation, for all rows of a call. */
typedef struct Sides {
    float *a, *b;
} Sides;

static size_t stored_row(const Work *w) {
    uint64_t bytes;
    return dtype_bytes(w->from, w->columns, &bytes) ? (size_t)bytes : 0;
}

static int widen(const Work *w, float *out, const void *in, uint64_t n, Error *err) {
    if (w->from == DT_BF16) {
        w->lora->kernel->widen_bf16(out, in, (size_t)n);
        return 0;
    }
    if (!dtype_is_float(w->from)) return dequantize(out, w->from, in, (size_t)n, err);
    return floats_convert(DT_F32, out, w->from, in, (size_t)n, err);
}

/* To the tensor's type and back: F32 keeps what it is. */
static int round_values(const Work *w, float *values, uint64_t n, Error *err) {
    uint16_t piece[4096];
    if (w->type == DT_F32) return 0;
    for (uint64_t i = 0; i < n;) {
        size_t here = n - i < 4096 ? (size_t)(n - i) : 4096;
        TRY(floats_convert(w->type, piece, DT_F32, values + i, here, err));
        TRY(floats_convert(DT_F32, values + i, w->type, piece, here, err));
        i += here;
    }
    return 0;
}

/* ---- the product ---- */

static int open_sides(Sides *s, const Work *w, const LoraOp *op, Error *err) {
    size_t a = lora_panels_size(op->rank, w->columns) * sizeof(float);
    size_t b = (size_t)(w->n * op->rank) * sizeof(float);
    if (a > LARGEST_SIDE || b > LARGEST_SIDE)
        return error_set(err, ERR_LIMIT,
                         "an adapter of rank %u on rows of %llu elements needs too much memory", op->rank,
                         (unsigned long long)w->columns);
    s->a = mem_alloc(NULL, a);
    s->b = mem_alloc(NULL, b);
    if (!s->a || !s->b) return error_memory(err, "an adapter's product");
    TRY(lora_load_columns(w->lora, s->a, &op->columns, op->rank, w->columns, err));
    return lora_load_rows(w->lora, s->b, &op->rows, op->rank, w->first, w->n, err);
}

static void close_sides(Sides *s) {
    mem_free(NULL, s->a);
    mem_free(NULL, s->b);
}

static void product(const Work *w, const LoraOp *op, const Sides *s, uint64_t row, uint64_t n, float *out,
                    bool add) {
    LoraDelta d = {.b = s->b + row * op->rank,
                   .a = s->a,
                   .n_rows = (size_t)n,
                   .rank = op->rank,
                   .columns = (size_t)w->columns,
                   .scale = op->scale,
                   .add = add,
                   .out = out};
    w->lora->kernel->delta(&d);
}

static void add_values(float *sum, const float *values, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) sum[i] += values[i];
}

/* ---- DoRA ---- */

/* Square root of the sum of squares, which is taken in double: 8 sums of every 8th column, added up in order.
 */
static float row_norm(const float *old, const float *delta, uint64_t n) {
    double sums[8] = {0}, sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        double value = (double)(old[i] + delta[i]);
        sums[i % 8] += value * value;
    }
    for (size_t i = 0; i < 8; i++) sum += sums[i];
    return (float)sqrt(sum);
}

/* The norm is that of the unmerged weights with this adapter alone, as in training. */
static int apply_dora(const Work *w, const LoraOp *op, uint64_t row, uint64_t n, Error *err) {
    for (uint64_t r = 0; r < n; r++) {
        const float *delta = w->delta + r * w->columns;
        float *sum = w->sum + r * w->columns, magnitude;
        TRY(lora_load(&magnitude, op->adapter, op->entry, w->first + row + r, 1, err));
        float factor = magnitude / row_norm(w->old + r * w->columns, delta, w->columns);
        for (uint64_t i = 0; i < w->columns; i++) sum[i] = factor * (sum[i] + delta[i]);
    }
    return 0;
}

/* ---- one operation on a chunk: rows row .. row + n of the call ---- */

static int apply_add(const Work *w, const LoraOp *op, const Sides *s, uint64_t row, uint64_t n, Error *err) {
    bool rounded = op->wrapped && op->adapter->info.rounding == LORA_PEFT;
    if (!rounded) {
        product(w, op, s, row, n, w->sum, true);
        return 0;
    }
    product(w, op, s, row, n, w->delta, false);
    TRY(round_values(w, w->delta, n * w->columns, err));
    add_values(w->sum, w->delta, n * w->columns);
    return 0;
}

static int apply_vector(const Work *w, const LoraOp *op, uint64_t row, uint64_t n, Error *err) {
    TRY(lora_load(w->delta, op->adapter, op->entry, (w->first + row) * w->columns, n * w->columns, err));
    for (uint64_t i = 0; i < n * w->columns; i++) w->sum[i] += op->scale * w->delta[i];
    return 0;
}

/* Where a row stands among sorted ids, or n_ids. */
static uint64_t find_id(const LoraOp *op, uint64_t row) {
    uint64_t low = 0, high = op->n_ids;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (op->ids[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int apply_rows(const Work *w, const LoraOp *op, uint64_t row, uint64_t n, Error *err) {
    uint64_t begin = w->first + row;
    for (uint64_t i = find_id(op, begin); i < op->n_ids && op->ids[i] < begin + n; i++)
        TRY(lora_load(w->sum + (op->ids[i] - begin) * w->columns, op->adapter, op->entry,
                      op->places[i] * w->columns, w->columns, err));
    return 0;
}

static int apply_op(const Work *w, const LoraOp *op, const Sides *s, uint64_t row, uint64_t n, Error *err) {
    uint64_t at = (w->first + row) * w->columns, count = n * w->columns;
    switch (op->kind) {
    case LORA_OP_ADD: TRY(apply_add(w, op, s, row, n, err)); break;
    case LORA_OP_DORA:
        product(w, op, s, row, n, w->delta, false);
        TRY(apply_dora(w, op, row, n, err));
        break;
    case LORA_OP_VECTOR: TRY(apply_vector(w, op, row, n, err)); break;
    case LORA_OP_REPLACE: TRY(lora_load(w->sum, op->adapter, op->entry, at, count, err)); break;
    case LORA_OP_ROWS: TRY(apply_rows(w, op, row, n, err)); break;
    }
    bool more = op->next && op->next->adapter != op->adapter;
    return more && op->adapter->info.rounding == LORA_PEFT ? round_values(w, w->sum, count, err) : 0;
}

/* ---- what is not finite ---- */

static bool has_nonfinite(const float *values, uint64_t n, uint64_t *at) {
    *at = floats_first_nonfinite(DT_F32, values, (size_t)n);
    return *at < n;
}

/* Tells which of base, A, B and the sum is not a number; row: of the tensor. */
static int not_finite(const Work *w, uint64_t row, const float *old, Error *err) {
    uint64_t at;
    if (has_nonfinite(old, w->columns, &at))
        return error_set(err, ERR_NUMERIC, "row %llu, element %llu of the base is NaN or infinite",
                         (unsigned long long)row, (unsigned long long)at);
    for (const LoraOp *op = w->tensor->first; op; op = op->next) {
        const SafetensorsEntry *entries[] = {op->columns.entry, op->rows.entry, op->entry};
        for (size_t i = 0; i < 3; i++) {
            const SafetensorsEntry *e = entries[i];
            float values[4096];
            uint64_t n = e ? e->length / dtype_info(e->type)->bytes : 0;
            for (uint64_t done = 0; done < n; done += 4096) {
                uint64_t here = n - done < 4096 ? n - done : 4096;
                TRY(lora_load(values, op->adapter, e, done, here, err));
                if (!has_nonfinite(values, here, &at)) continue;
                return error_set(
                    err, ERR_NUMERIC,
                    "adapter %s: element %llu of %s is NaN or infinite: nothing is merged with it",
                    op->adapter->path, (unsigned long long)(done + at), e->name);
            }
        }
    }
    return error_set(err, ERR_NUMERIC, "row %llu becomes larger than %s can hold when the adapters are added",
                     (unsigned long long)row, dtype_name(w->type));
}

/* ---- rounding and counting ---- */

typedef struct Counts {
    uint64_t changed;
    uint32_t max;
    uint64_t sum[2];
} Counts;

static void add_sum(uint64_t to[2], const uint64_t what[2]) {
    uint64_t low = to[0] + what[0];
    to[1] += what[1] + (low < to[0]);
    to[0] = low;
}

/* A row's sum in units of 2^-64: integers add up to the same in any order. */
static void count_row(Counts *c, const LoraRowStats *s) {
    double whole = floor(s->sum);
    uint64_t fixed[2] = {(uint64_t)((s->sum - whole) * 0x1p63) << 1,
                         whole < 0x1p40 ? (uint64_t)whole : (uint64_t)1 << 40};
    add_sum(c->sum, fixed);
    c->changed += s->changed;
    if (s->max > c->max) c->max = s->max;
}

static int finish_row(const Work *w, void *out, const void *in, const float *sum, const float *old,
                      float *scratch, LoraRowStats *stats, Error *err) {
    size_t n = (size_t)w->columns;
    if (w->type == DT_BF16) {
        w->lora->kernel->finish_bf16(out, sum, in, n, stats);
        return 0;
    }
    TRY(floats_convert(w->type, out, DT_F32, sum, n, err));
    TRY(floats_convert(DT_F32, scratch, w->type, out, n, err));
    lora_row_stats(stats, scratch, sum, old, n);
    return 0;
}

/* Was the row read before? Called with the lock held. */
static bool mark_row(LoraTensor *t, uint64_t row) {
    uint64_t bit = (uint64_t)1 << row % 64;
    bool before = t->seen[row / 64] & bit;
    t->seen[row / 64] |= bit;
    t->rows_seen += !before;
    return before;
}

static void note_rows(const Work *w, uint64_t row, uint64_t n, const LoraRowStats *stats) {
    LoraTensor *t = w->tensor;
    Counts c = {0};
    pthread_mutex_lock(&w->lora->lock);
    for (uint64_t r = 0; r < n; r++)
        if (!mark_row(t, row + r)) count_row(&c, &stats[r]);
    t->changed += c.changed;
    if (c.max > t->max) t->max = c.max;
    add_sum(t->sum, c.sum);
    pthread_mutex_unlock(&w->lora->lock);
}

/* in: the stored rows, which only BF16 wants again. */
static int finish_chunk(const Work *w, uint64_t row, uint64_t n, const uint8_t *in, uint8_t *out,
                        LoraRowStats *stats, Error *err) {
    size_t row_bytes = (size_t)w->columns * dtype_info(w->type)->bytes, in_bytes = stored_row(w);
    for (uint64_t r = 0; r < n; r++) {
        const float *sum = w->sum + r * w->columns, *old = w->old + r * w->columns;
        TRY(finish_row(w, out + r * row_bytes, in + r * in_bytes, sum, old, w->delta, &stats[r], err));
        if (stats[r].max >= NOT_FINITE || stats[r].largest >= NOT_FINITE)
            return not_finite(w, w->first + row + r, old, err);
    }
    note_rows(w, w->first + row, n, stats);
    return 0;
}

/* ---- a call ---- */

static size_t count_ops(const LoraTensor *t) {
    size_t n = 0;
    for (const LoraOp *op = t->first; op; op = op->next) n++;
    return n;
}

static bool has_sides(const LoraOp *op) {
    return op->kind == LORA_OP_ADD || op->kind == LORA_OP_DORA;
}

static int run_chunks(Work *w, const Sides *sides, LoraRowStats *stats, const uint8_t *in, uint8_t *out,
                      Error *err) {
    size_t row_bytes = (size_t)w->columns * dtype_info(w->type)->bytes, in_bytes = stored_row(w);
    for (uint64_t row = 0; row < w->n; row += w->chunk) {
        uint64_t n = w->n - row < w->chunk ? w->n - row : w->chunk;
        size_t i = 0;
        TRY(widen(w, w->old, in + row * in_bytes, n * w->columns, err));
        memcpy(w->sum, w->old, (size_t)(n * w->columns) * sizeof *w->sum);
        for (const LoraOp *op = w->tensor->first; op; op = op->next)
            TRY(apply_op(w, op, &sides[i++], row, n, err));
        TRY(finish_chunk(w, row, n, in + row * in_bytes, out + row * row_bytes, stats, err));
    }
    return 0;
}

static int run(Work *w, Sides *sides, const void *in, void *out, Error *err) {
    size_t i = 0, bytes = (size_t)(w->chunk * w->columns) * sizeof *w->sum;
    LoraRowStats *stats = mem_alloc(NULL, (size_t)w->chunk * sizeof *stats);
    w->sum = mem_alloc(NULL, bytes);
    w->old = mem_alloc(NULL, bytes);
    w->delta = mem_alloc(NULL, bytes);
    int code = w->sum && w->old && w->delta && stats ? 0 : error_memory(err, "rows of a tensor");
    for (const LoraOp *op = w->tensor->first; !code && op; op = op->next, i++)
        if (has_sides(op)) code = open_sides(&sides[i], w, op, err);
    if (!code) code = run_chunks(w, sides, stats, in, out, err);
    mem_free(NULL, w->sum);
    mem_free(NULL, w->old);
    mem_free(NULL, w->delta);
    mem_free(NULL, stats);
    return code;
}

int lora_apply(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
               const void *in, void *out, Error *err) {
    LoraTensor *tensor = (LoraTensor *)t->context;
    Lora *l = tensor->lora;
    size_t n = count_ops(tensor);
    uint64_t chunk = CHUNK_BYTES / sizeof(float) / row_elements;
    Work w = {.tensor = tensor,
              .lora = l,
              .first = first_row,
              .n = n_rows,
              .columns = row_elements,
              .chunk = chunk ? chunk : 1,
              .from = t->from,
              .type = t->to};
    Sides *sides = mem_alloc(NULL, n * sizeof *sides);
    if (!sides) return error_memory(err, "rows of a tensor");
    memset(sides, 0, n * sizeof *sides);
    int code = run(&w, sides, in, out, err);
    for (size_t i = 0; i < n; i++) close_sides(&sides[i]);
    mem_free(NULL, sides);
    return code;
}
