/* difference.c -- see difference.h. Tensors are dealt out to threads; each is read in pieces of rows. */
#include "validate/difference.h"

#include "core/floats.h"
#include "core/quantize.h"
#include "core/threads.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_ELEMENTS = 1 << 18 };

typedef struct Work {
    TensorDifference *out;
    const Tensor *const *a, *const *b;
    const Progress *progress;
    pthread_mutex_t lock; /* guards done and the call of progress */
    uint64_t done, total; /* elements */
} Work;

/* Running sums of one tensor. */
typedef struct Sums {
    double square, a_square, b_square, product;
} Sums;

static bool can_read(DType type) {
    return dtype_is_float(type) || quantizer_of(type);
}

static int rows_f32(const Tensor *t, uint64_t row, uint64_t n, void *raw, float *out, Error *err) {
    size_t elements = (size_t)(n * t->dims[0]);
    TRY(model_read(t, row, n, raw, err));
    if (dtype_is_float(t->type)) return floats_convert(DT_F32, out, t->type, raw, elements, err);
    return dequantize(out, t->type, raw, elements, err);
}

static void add_piece(TensorDifference *d, Sums *s, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double x = (double)a[i], y = (double)b[i];
        s->a_square += x * x;
        s->b_square += y * y;
        s->product += x * y;
        if (f32_bits(a[i]) == f32_bits(b[i])) continue;
        double delta = fabs(x - y);
        d->differ++;
        if (!isnan(d->max) && !(delta <= d->max)) d->max = delta; /* a NaN stays */
        s->square += delta * delta;
    }
}

static void conclude(TensorDifference *d, const Sums *s) {
    d->rmse = d->elements ? sqrt(s->square / (double)d->elements) : 0;
    d->relative = s->square > 0 ? sqrt(s->square / s->a_square) : s->square; /* x / 0: infinite; NaN stays */
    double lengths = sqrt(s->a_square) * sqrt(s->b_square);
    d->cosine = lengths != 0 ? s->product / lengths : s->a_square == s->b_square ? 1 : 0; /* NaN stays */
    if (!d->differ || d->cosine > 1) d->cosine = 1; /* rounding of the sums */
    if (d->cosine < -1) d->cosine = -1;
}

static int advance(Work *w, uint64_t elements, Error *err) {
    pthread_mutex_lock(&w->lock);
    w->done += elements;
    int code = progress_update(w->progress, "compare tensors", w->done, w->total, err);
    pthread_mutex_unlock(&w->lock);
    return code;
}

typedef struct Room {
    uint8_t *raw;
    float *a, *b;
} Room;

static void room_close(Room *r) {
    free(r->raw);
    free(r->a);
    free(r->b);
}

static int room_open(Room *r, const Tensor *a, const Tensor *b, uint64_t rows, Error *err) {
    size_t elements, raw, widest = (size_t)tensor_row_bytes(a);
    if (tensor_row_bytes(b) > widest) widest = (size_t)tensor_row_bytes(b);
    *r = (Room){NULL, NULL, NULL};
    if (!size_mul(&elements, (size_t)rows, (size_t)a->dims[0]) || !size_mul(&raw, (size_t)rows, widest))
        return error_set(err, ERR_LIMIT, "tensor %s: a row is too long", a->name);
    r->raw = malloc(raw + 1);
    r->a = calloc(elements + 1, sizeof *r->a);
    r->b = calloc(elements + 1, sizeof *r->b);
    if (r->raw && r->a && r->b) return 0;
    room_close(r);
    return error_memory(err, "comparing tensors");
}

static uint64_t rows_at_once(const Tensor *t) {
    return t->dims[0] < PIECE_ELEMENTS ? PIECE_ELEMENTS / (t->dims[0] + !t->dims[0]) : 1;
}

static int measure(Work *w, TensorDifference *d, const Tensor *a, const Tensor *b, Error *err) {
    uint64_t rows = tensor_rows(a), piece = rows_at_once(a);
    Sums sums = {0};
    Room r;
    TRY(room_open(&r, a, b, piece, err));
    int code = 0;
    for (uint64_t row = 0; !code && row < rows; row += piece) {
        uint64_t n = rows - row < piece ? rows - row : piece;
        code = rows_f32(a, row, n, r.raw, r.a, err);
        if (!code) code = rows_f32(b, row, n, r.raw, r.b, err);
        if (!code) add_piece(d, &sums, r.a, r.b, (size_t)(n * a->dims[0]));
        if (!code) code = advance(w, n * a->dims[0], err);
    }
    room_close(&r);
    if (code) return code;
    d->measured = true;
    d->elements = tensor_elements(a);
    d->identical = a->type == b->type && d->differ == 0 && dtype_is_float(a->type);
    conclude(d, &sums);
    return 0;
}

static int same_bytes(Work *w, bool *same, const Tensor *a, const Tensor *b, Error *err) {
    uint64_t rows = tensor_rows(a), size = tensor_row_bytes(a), piece = rows_at_once(a);
    uint8_t *pa = malloc((size_t)(piece * size) + 1), *pb = malloc((size_t)(piece * size) + 1);
    int code = pa && pb ? 0 : error_memory(err, "comparing tensors");
    *same = true;
    for (uint64_t row = 0; !code && *same && row < rows; row += piece) {
        uint64_t n = rows - row < piece ? rows - row : piece;
        code = model_read(a, row, n, pa, err);
        if (!code) code = model_read(b, row, n, pb, err);
        if (!code) *same = !memcmp(pa, pb, (size_t)(n * size));
        if (!code) code = advance(w, 0, err); /* to be interrupted; counted when the pair is done */
    }
    free(pa);
    free(pb);
    return code;
}

/* Quantized tensors of one type are told equal by their bytes: two blocks may stand for the same numbers. */
static int compare_pair(void *context, size_t i, unsigned thread, Error *err) {
    Work *w = context;
    TensorDifference *d = &w->out[i];
    const Tensor *a = w->a[i], *b = w->b[i];
    (void)thread;
    *d = (TensorDifference){0};
    if (!b) return 0;
    bool readable = a->dims[0] && can_read(a->type) && can_read(b->type);
    if (a->type == b->type && !(readable && dtype_is_float(a->type))) {
        TRY(same_bytes(w, &d->identical, a, b, err));
        if (d->identical) return advance(w, tensor_elements(a), err);
    }
    return readable ? measure(w, d, a, b, err) : advance(w, tensor_elements(a), err);
}

int tensor_differences(TensorDifference *out, size_t n, const Tensor *const *a, const Tensor *const *b,
                       DifferenceOptions options, Error *err) {
    Work w = {.out = out, .a = a, .b = b, .progress = options.progress};
    for (size_t i = 0; i < n; i++)
        if (b[i]) w.total += tensor_elements(a[i]);
    if (pthread_mutex_init(&w.lock, NULL)) return error_memory(err, "a lock");
    int code = threads_run(options.threads, n, (ThreadWork){compare_pair, &w}, err);
    pthread_mutex_destroy(&w.lock);
    return code;
}
