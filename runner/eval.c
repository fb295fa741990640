/* eval.c -- see eval.h. */
#include "runner/eval.h"

#include "core/strict_math.h"
#include "core/threads.h"
#include "runner/ref/versions.h"
#include <math.h>
#include <stdlib.h>

enum { HEAD_BATCH = 32 }; /* positions whose logits exist at once */

/* ---- one position ---- */

size_t eval_best(const float *logits, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

INLINE double add_lanes(double lane[LANES]) {
    for (size_t s = LANES / 2; s; s /= 2)
        for (size_t l = 0; l < s; l++) lane[l] += lane[l + s];
    return lane[0];
}

/* Sums over the vocabulary, in 32 lanes. e = exp(z - its largest). */
typedef struct Sums {
    double a, b;           /* of e, and of e times (z - largest): b only for the entropy of b */
    double entropy, cross; /* e_b (b - largest); e_a ((a - its largest) - (b - its largest)) */
    double mean_a, mean_b; /* of z */
} Sums;

KERNEL static void sum_up(Sums *out, const float *a, float most_a, const float *b, float most_b, size_t n) {
    double sa[LANES] = {0}, sb[LANES] = {0}, h[LANES] = {0}, c[LANES] = {0}, ma[LANES] = {0}, mb[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t l = 0; l < LANES && i + l < n; l++) {
            float x = a[i + l] - most_a, y = b[i + l] - most_b;
            double ea = (double)strict_expf(x), eb = (double)strict_expf(y);
            sa[l] += ea;
            sb[l] += eb;
            h[l] += eb * (double)y;
            c[l] += ea * ((double)x - (double)y);
            ma[l] += (double)a[i + l];
            mb[l] += (double)b[i + l];
        }
    *out = (Sums){.a = add_lanes(sa),
                  .b = add_lanes(sb),
                  .entropy = add_lanes(h),
                  .cross = add_lanes(c),
                  .mean_a = add_lanes(ma) / (double)n,
                  .mean_b = add_lanes(mb) / (double)n};
}

/* Squares of the differences and of a, less their means. */
KERNEL static double distance(const float *a, double mean_a, const float *b, double mean_b, size_t n) {
    double d[LANES] = {0}, s[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t l = 0; l < LANES && i + l < n; l++) {
            double x = (double)a[i + l] - mean_a, y = (double)b[i + l] - mean_b;
            d[l] += (x - y) * (x - y);
            s[l] += x * x;
        }
    double difference = add_lanes(d), size = add_lanes(s);
    return size > 0 ? sqrt(difference / size) : 0;
}

EvalPoint eval_point(const float *a, const float *b, size_t n, size_t next) {
    size_t best_a = eval_best(a, n), best_b = eval_best(b, n);
    Sums s;
    sum_up(&s, a, a[best_a], b, b[best_b], n);
    double log_a = strict_log(s.a), log_b = strict_log(s.b), kl = s.cross / s.a - log_a + log_b;
    return (EvalPoint){.nll = next < n ? log_b - (double)(b[next] - b[best_b]) : 0,
                       .entropy = log_b - s.entropy / s.b,
                       .kl = a == b || kl < 0 ? 0 : kl, /* rounding may take a zero below zero */
                       .error = a == b ? 0 : distance(a, s.mean_a, b, s.mean_b, n),
                       .same = best_a == best_b,
                       .right = best_b == next};
}

/* log of the sum of exp(z): z less this is the log of the probability. */
static double log_sum(const float *z, float most, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += strict_exp((double)z[i] - (double)most);
    return (double)most + strict_log(sum);
}

static double mean_of(const float *z, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)z[i];
    return sum / (double)n;
}

EvalPoint eval_point_exact(const float *a, const float *b, size_t n, size_t next) {
    size_t best_a = eval_best(a, n), best_b = eval_best(b, n);
    double log_a = log_sum(a, a[best_a], n), log_b = log_sum(b, b[best_b], n), kl = 0, entropy = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)a[i] - log_a, y = (double)b[i] - log_b;
        kl += strict_exp(x) * (x - y);
        entropy -= strict_exp(y) * y;
    }
    return (EvalPoint){.nll = next < n ? log_b - (double)b[next] : 0,
                       .entropy = entropy,
                       .kl = kl < 0 ? 0 : kl, /* rounding may take a zero below zero */
                       .error = a == b ? 0 : distance(a, mean_of(a, n), b, mean_of(b, n), n),
                       .same = best_a == best_b,
                       .right = best_b == next};
}

KERNEL static void scaled_sums(double *sum, double *weighted, const float *z, float most, float inverse,
                               size_t n) {
    double s[LANES] = {0}, w[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t l = 0; l < LANES && i + l < n; l++) {
            float y = (z[i + l] - most) * inverse;
            double e = (double)strict_expf(y);
            s[l] += e;
            w[l] += e * (double)y;
        }
    *sum = add_lanes(s);
    *weighted = add_lanes(w);
}

void eval_entropies(double *out, const float *logits, size_t n, const double *temperatures,
                    size_t n_temperatures) {
    float most = logits[eval_best(logits, n)];
    for (size_t t = 0; t < n_temperatures; t++) {
        double sum, weighted;
        scaled_sums(&sum, &weighted, logits, most, (float)(1 / temperatures[t]), n);
        out[t] = strict_log(sum) - weighted / sum;
    }
}

/* ---- windows ---- */

struct EvalRoom {
    Arena *arena;
    size_t n_models, n_embd, n_vocab;
    uint32_t window;
    float **states; /* [n_models][window][n_embd] */
    float **logits; /* [n_models][HEAD_BATCH][n_vocab] */
};

int eval_room_open(EvalRoom **out, const ModelParams *p, size_t n_models, uint32_t window,
                   const Allocator *allocator, Error *err) {
    Arena *arena;
    size_t states, logits;
    *out = NULL;
    TRY(arena_open(&arena, allocator, err));
    EvalRoom *r = arena_alloc(arena, 1, sizeof *r);
    bool ok = r && size_mul(&states, window, p->n_embd) && size_mul(&logits, HEAD_BATCH, p->n_vocab);
    if (ok) {
        *r = (EvalRoom){arena, n_models, p->n_embd, p->n_vocab, window, NULL, NULL};
        r->states = arena_alloc(arena, n_models, sizeof *r->states);
        r->logits = arena_alloc(arena, n_models, sizeof *r->logits);
        ok = r->states && r->logits;
    }
    for (size_t k = 0; ok && k < n_models; k++) {
        r->states[k] = arena_alloc(arena, states, sizeof(float));
        r->logits[k] = arena_alloc(arena, logits, sizeof(float));
        ok = r->states[k] && r->logits[k];
    }
    if (ok) {
        *out = r;
        return 0;
    }
    arena_close(arena);
    return error_memory(err, "the evaluation's working memory");
}

uint64_t eval_room_bytes(const ModelParams *p, size_t n_models, uint32_t window) {
    uint64_t states = window, logits = HEAD_BATCH;
    bool ok = u64_mul(&states, states, (uint64_t)p->n_embd * sizeof(float)) &&
              u64_mul(&logits, logits, (uint64_t)p->n_vocab * sizeof(float)) &&
              u64_add(&states, states, logits) && u64_mul(&states, states, n_models);
    return ok ? states : 0;
}

void eval_room_close(EvalRoom *room) {
    if (room) arena_close(room->arena);
}

typedef struct Batch {
    EvalPoint *const *points;
    const EvalRoom *room;
    const EvalWindow *window;
    size_t at, count; /* positions */
} Batch;

static int score_position(void *context, size_t index, unsigned thread, Error *err) {
    const Batch *b = context;
    const EvalRoom *r = b->room;
    size_t position = b->at + index, next = b->window->known ? b->window->tokens[position + 1] : r->n_vocab;
    (void)thread;
    (void)err;
    const float *first = r->logits[0] + index * r->n_vocab;
    size_t at = position - b->window->first;
    const EvalWindow *w = b->window;
    for (size_t k = 0; k < r->n_models; k++)
        b->points[k][at] = (w->exact ? eval_point_exact : eval_point)(
            first, r->logits[k] + index * r->n_vocab, r->n_vocab, next);
    if (w->entropies && at % 8 == 0)
        eval_entropies(w->entropies + at / 8 * w->n_temperatures, first, r->n_vocab, w->temperatures,
                       w->n_temperatures);
    return 0;
}

static int check(const EvalRoom *r, const EvalWindow *w, size_t n_models, Error *err) {
    bool ok = n_models == r->n_models && w->n <= r->window && w->first <= w->end && w->end <= w->n &&
              (!w->known || w->end < w->n || w->first == w->end);
    return ok ? 0 : error_set(err, ERR_USAGE, "a window of %zu tokens does not fit its evaluation", w->n);
}

/* A model of another shape would be written past the room. */
static int check_models(const EvalRoom *r, Runner *const *runners, Error *err) {
    for (size_t k = 0; k < r->n_models; k++) {
        const ModelParams *p = runner_params(runners[k]);
        if (p->n_vocab != r->n_vocab || p->n_embd != r->n_embd)
            return error_set(
                err, ERR_USAGE,
                "models of %u tokens and an embedding of %u, and of %zu and %zu, can't be compared",
                p->n_vocab, p->n_embd, r->n_vocab, r->n_embd);
    }
    return 0;
}

int eval_window(EvalPoint *const *points, Runner *const *runners, size_t n_models, EvalRoom *room,
                const EvalWindow *w, Error *err) {
    TRY(check(room, w, n_models, err));
    TRY(check_models(room, runners, err));
    for (size_t k = 0; k < n_models; k++) {
        runner_reset(runners[k]);
        TRY(runner_states(runners[k], w->tokens, w->n, room->states[k], err));
    }
    Batch b = {.points = points, .room = room, .window = w};
    for (b.at = w->first; b.at < w->end; b.at += b.count) {
        b.count = w->end - b.at < HEAD_BATCH ? w->end - b.at : HEAD_BATCH;
        for (size_t k = 0; k < n_models; k++)
            TRY(runner_head(runners[k], room->states[k] + b.at * room->n_embd, b.count, room->logits[k],
                            err));
        TRY(threads_run(runner_threads(runners[0]), b.count, (ThreadWork){score_position, &b}, err));
    }
    return 0;
}

/* ---- figures of many positions ---- */

static double plain_mean(const double *values, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    return n ? sum / (double)n : 0;
}

double eval_standard_error(const double *values, size_t n) {
    double square = 0, mean = plain_mean(values, n);
    if (n < 2) return 0;
    for (size_t i = 0; i < n; i++) square += (values[i] - mean) * (values[i] - mean);
    return sqrt(square / (double)(n - 1) / (double)n);
}

EvalMean eval_mean(const double *values, size_t n) {
    return (EvalMean){plain_mean(values, n), 1.96 * eval_standard_error(values, n)};
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double eval_quantile(double *values, size_t n, double q) {
    if (!n) return 0;
    qsort(values, n, sizeof *values, ascending);
    size_t at = (size_t)ceil(q * (double)n);
    return values[at ? at - 1 : 0];
}
