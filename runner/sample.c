/* sample.c -- the next token, by docs/arithmetic.md, section 9,
 * on logits from which docs/generation.md's penalties are taken first. */
#include "runner/sample.h"
#include "core/strict_math.h"
#include "runner/ref/versions.h"
#include <stdlib.h>

typedef struct Candidate {
    float logit;
    uint32_t id;
} Candidate;

struct Sampler {
    SampleOptions options;
    uint32_t n_vocab;
    uint64_t drawn; /* numbers taken from the stream */
    const Allocator *allocator;
    Candidate *candidates; /* [n_vocab] */
    float *p;              /* [n_vocab] */
    Penalty *penalty;      /* NULL: none */
};

static int check(const SampleOptions *o, uint32_t n_vocab, Error *err) {
    if (!n_vocab) return error_set(err, ERR_USAGE, "a sampler needs at least one token to choose from");
    if (!(o->temperature >= 0) || isinf(o->temperature))
        return error_set(err, ERR_USAGE, "temperature is %g, expected 0 (greedy) or a finite number above 0",
                         (double)o->temperature);
    if (o->temperature == 0) return 0;
    if (!(o->top_p > 0 && o->top_p <= 1))
        return error_set(err, ERR_USAGE, "top-p is %g, expected above 0 and at most 1 (off)",
                         (double)o->top_p);
    if (!(o->min_p >= 0 && o->min_p <= 1))
        return error_set(err, ERR_USAGE, "min-p is %g, expected 0 (off) to 1", (double)o->min_p);
    return 0;
}

int sampler_open(Sampler **out, SampleOptions options, uint32_t n_vocab, const Allocator *allocator,
                 Error *err) {
    size_t bytes = 0;
    TRY(check(&options, n_vocab, err));
    Sampler *s = mem_alloc(allocator, sizeof *s);
    if (!s) return error_memory(err, "a sampler");
    *s = (Sampler){.options = options, .n_vocab = n_vocab, .allocator = allocator};
    int code = 0;
    if (penalty_wanted(&options.penalty))
        code = penalty_open(&s->penalty, options.penalty, n_vocab, allocator, err);
    if (code) {
        sampler_close(s);
        return code;
    }
    if (options.temperature > 0) {
        if (size_mul(&bytes, n_vocab, sizeof *s->candidates)) s->candidates = mem_alloc(allocator, bytes);
        if (size_mul(&bytes, n_vocab, sizeof *s->p)) s->p = mem_alloc(allocator, bytes);
        if (!s->candidates || !s->p) {
            sampler_close(s);
            return error_memory(err, "a sampler's candidates");
        }
    }
    *out = s;
    return 0;
}

void sampler_close(Sampler *s) {
    if (!s) return;
    mem_free(s->allocator, s->candidates);
    mem_free(s->allocator, s->p);
    penalty_close(s->penalty);
    mem_free(s->allocator, s);
}

/* The largest, -infinity of none. A vocabulary of 150,000 is looked at for every token; 16 maxima side by
 * side become vectors. */
KERNEL static float largest(const float *x, size_t n) {
    enum { WIDTH = 16 };
    float lane[WIDTH], most = -INFINITY;
    size_t i = 0;
    for (size_t l = 0; l < WIDTH; l++) lane[l] = -INFINITY;
    for (; i + WIDTH <= n; i += WIDTH)
        for (size_t l = 0; l < WIDTH; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (size_t l = 0; l < WIDTH; l++) most = lane[l] > most ? lane[l] : most;
    for (; i < n; i++) most = x[i] > most ? x[i] : most;
    return most;
}

uint32_t sample_greedy(const float *logits, uint32_t n, float *margin) {
    float top = largest(logits, n);
    uint32_t best = 0;
    while (best < n && logits[best] != top) best++;
    if (best == n) best = 0; /* nothing but NaN, which no runner gives */
    if (!margin) return best;
    float before = largest(logits, best), behind = largest(logits + best + 1, n - best - 1);
    *margin = logits[best] - (before > behind ? before : behind);
    return best;
}

/* SplitMix64: a function of seed and count alone. A double in 0 .. 1, 1 excluded. */
static double draw(Sampler *s) {
    uint64_t z = s->options.seed + ++s->drawn * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

static bool before(Candidate a, Candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static int by_logit(const void *a, const void *b) {
    Candidate x = *(const Candidate *)a, y = *(const Candidate *)b;
    return before(x, y) ? -1 : before(y, x) ? 1 : 0;
}

/* Restores the heap below `root`: the last in order stands on top. */
static void sift(Candidate *heap, size_t root, size_t n) {
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= n) return;
        if (child + 1 < n && before(heap[child], heap[child + 1])) child++;
        if (!before(heap[root], heap[child])) return;
        Candidate t = heap[root];
        heap[root] = heap[child], heap[child] = t;
        root = child;
    }
}

/* The first `keep` candidates in order; a heap of them saves sorting a vocabulary of 150,000. */
static void select_first(Candidate *c, size_t n, size_t keep) {
    if (keep < n) {
        for (size_t i = keep / 2; i-- > 0;) sift(c, i, keep);
        for (size_t i = keep; i < n; i++)
            if (before(c[i], c[0])) {
                c[0] = c[i];
                sift(c, 0, keep);
            }
    }
    qsort(c, keep, sizeof *c, by_logit);
}

int sample_top(uint32_t *ids, const float *logits, uint32_t n, uint32_t count, Error *err) {
    size_t bytes;
    Candidate *c = size_mul(&bytes, n, sizeof *c) ? mem_alloc(NULL, bytes) : NULL;
    if (!c) return error_memory(err, "the largest logits");
    for (uint32_t i = 0; i < n; i++) c[i] = (Candidate){isnan(logits[i]) ? -INFINITY : logits[i], i};
    select_first(c, n, count);
    for (uint32_t i = 0; i < count; i++) ids[i] = c[i].id;
    mem_free(NULL, c);
    return 0;
}

static double sum_of(const float *p, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += p[i];
    return sum;
}

/* How many of the n candidates top-p and min-p leave; at least 1. */
static size_t cut(const SampleOptions *o, const float *p, size_t n) {
    if (o->top_p < 1) {
        double wanted = o->top_p * sum_of(p, n), sum = 0;
        size_t kept = 0;
        while (kept < n && (kept == 0 || sum < wanted)) sum += p[kept++];
        n = kept;
    }
    float least = o->min_p * p[0];
    while (n > 1 && p[n - 1] < least) n--;
    return n;
}

static uint32_t choose(Sampler *s, const float *logits) {
    const SampleOptions *o = &s->options;
    if (o->temperature == 0) return sample_greedy(logits, s->n_vocab, NULL);
    /* a NaN, which no runner gives, would leave the order undefined */
    for (uint32_t i = 0; i < s->n_vocab; i++)
        s->candidates[i] = (Candidate){isnan(logits[i]) ? -INFINITY : logits[i], i};
    size_t n = o->top_k && o->top_k < s->n_vocab ? o->top_k : s->n_vocab;
    select_first(s->candidates, s->n_vocab, n);
    for (size_t i = 0; i < n; i++)
        s->p[i] = strict_expf((s->candidates[i].logit - s->candidates[0].logit) / o->temperature);
    n = cut(o, s->p, n);

    double target = draw(s) * sum_of(s->p, n), sum = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        sum += s->p[i];
        if (sum > target) return s->candidates[i].id;
    }
    return s->candidates[n - 1].id;
}

void sampler_prompt(Sampler *s, const uint32_t *tokens, size_t count) {
    for (size_t i = 0; s->penalty && i < count; i++) penalty_note(s->penalty, tokens[i], false);
}

bool sampler_is_greedy(const Sampler *s) {
    return !s->penalty && s->options.temperature == 0;
}

uint32_t sampler_next(Sampler *s, const float *logits) {
    uint32_t token = choose(s, s->penalty ? penalty_apply(s->penalty, logits) : logits);
    if (s->penalty) penalty_note(s->penalty, token, true);
    return token;
}
