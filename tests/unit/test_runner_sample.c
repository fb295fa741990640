/* sample: greedy choice and margins, the stream of random numbers, the cuts, and frequencies. */
#include "runner/sample.h"
#include "tests/unit/support.h"
#include <math.h>

static Sampler *open_sampler(SampleOptions options, uint32_t n) {
    Sampler *s;
    Error err = {0};
    cr_assert_eq(sampler_open(&s, options, n, NULL, &err), 0, "%s", err.message);
    return s;
}

static SampleOptions plain(float temperature, uint64_t seed) {
    return (SampleOptions){.temperature = temperature, .top_p = 1, .seed = seed};
}

/* Draws many and counts them. */
static void count(uint32_t *counts, SampleOptions options, const float *logits, uint32_t n, int draws) {
    Sampler *s = open_sampler(options, n);
    memset(counts, 0, n * sizeof *counts);
    for (int i = 0; i < draws; i++) {
        uint32_t id = sampler_next(s, logits);
        cr_assert_lt(id, n);
        counts[id]++;
    }
    sampler_close(s);
}

Test(runner_sample, greedy) {
    const float logits[] = {-1, 3, 2.5f, 3, -INFINITY};
    float margin;
    cr_assert_eq(sample_greedy(logits, 5, &margin), 1, "ties go to the lower id");
    cr_assert_eq(margin, 0);
    cr_assert_eq(sample_greedy(logits, 3, &margin), 1);
    cr_assert_eq(margin, 0.5f);
    cr_assert_eq(sample_greedy(logits, 1, &margin), 0);
    cr_assert_eq(margin, INFINITY);
    cr_assert_eq(sample_greedy(logits, 5, NULL), 1);
    Sampler *s = open_sampler((SampleOptions){0}, 5);
    cr_assert_eq(sampler_next(s, logits), 1);
    sampler_close(s);
}

/* SplitMix64's published outputs for the seed 1234567. With equal logits id = floor(n u): the top bits. */
Test(runner_sample, stream) {
    static const uint64_t outputs[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                       4593380528125082431u, 16408922859458223821u};
    float logits[1024] = {0};
    Sampler *s = open_sampler(plain(0.7f, 1234567), 1024);
    for (size_t i = 0; i < 5; i++) cr_assert_eq(sampler_next(s, logits), outputs[i] >> 54, "number %zu", i);
    sampler_close(s);
}

Test(runner_sample, frequencies) {
    const float p[] = {0.4f, 0.05f, 0.3f, 0.25f};
    float logits[4];
    uint32_t counts[4];
    for (int i = 0; i < 4; i++) logits[i] = 5 + logf(p[i]);
    count(counts, plain(1, 42), logits, 4, 20000);
    for (int i = 0; i < 4; i++) /* five standard deviations */
        cr_assert_float_eq((double)counts[i], 20000 * (double)p[i],
                           5 * sqrt(20000 * (double)p[i] * (1 - (double)p[i])), "token %d: %u", i, counts[i]);
    /* at temperature 0.5 the probabilities are squared */
    double sum = 0.16 + 0.0025 + 0.09 + 0.0625;
    count(counts, plain(0.5f, 43), logits, 4, 20000);
    cr_assert_float_eq((double)counts[0], 20000 * 0.16 / sum, 5 * sqrt(20000 * 0.25));
    cr_assert_float_eq((double)counts[1], 20000 * 0.0025 / sum, 5 * sqrt(20000 * 0.01));
}

Test(runner_sample, same_seed_same_tokens) {
    float logits[300];
    uint32_t first[50], different = 0;
    for (int i = 0; i < 300; i++) logits[i] = (float)((i * 7919) % 97) / 20;
    SampleOptions options = {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .min_p = 0.01f, .seed = 7};
    Sampler *a = open_sampler(options, 300), *b = open_sampler(options, 300);
    options.seed = 8;
    Sampler *c = open_sampler(options, 300);
    for (int i = 0; i < 50; i++) {
        first[i] = sampler_next(a, logits);
        cr_assert_eq(sampler_next(b, logits), first[i]);
        different += sampler_next(c, logits) != first[i];
    }
    cr_assert_gt(different, 25);
    sampler_close(a);
    sampler_close(b);
    sampler_close(c);
}

Test(runner_sample, top_k) {
    float logits[100];
    uint32_t counts[100];
    for (int i = 0; i < 100; i++) logits[i] = (float)(i % 10); /* ten ids of each value: ties at every cut */
    SampleOptions options = plain(100, 1);
    options.top_k = 13; /* 9, 19 .. 99, then 8, 18, 28 */
    count(counts, options, logits, 100, 5000);
    for (int i = 0; i < 100; i++) {
        bool kept = i % 10 == 9 || i == 8 || i == 18 || i == 28;
        cr_assert_eq(counts[i] > 0, kept, "token %d: %u", i, counts[i]);
    }
    options.top_k = 1;
    count(counts, options, logits, 100, 100);
    cr_assert_eq(counts[9], 100);
    options.top_k = 1000; /* more than there are: off */
    count(counts, options, logits, 100, 5000);
    for (int i = 0; i < 100; i++) cr_assert_gt(counts[i], 0);
}

Test(runner_sample, top_p_and_min_p) {
    const float p[] = {0.1f, 0.5f, 0.25f, 0.15f};
    float logits[4];
    uint32_t counts[4];
    for (int i = 0; i < 4; i++) logits[i] = logf(p[i]);
    SampleOptions options = plain(1, 3);
    options.top_p = 0.74f; /* 0.5 + 0.25 reach it */
    count(counts, options, logits, 4, 3000);
    cr_assert(counts[1] > 1800 && counts[2] > 800 && !counts[0] && !counts[3]);
    options.top_p = 0.76f; /* one more is needed */
    count(counts, options, logits, 4, 3000);
    cr_assert(counts[3] > 0 && !counts[0]);
    options.top_p = 1e-6f; /* one always stays */
    count(counts, options, logits, 4, 100);
    cr_assert_eq(counts[1], 100);
    options.top_p = 1, options.min_p = 0.29f; /* 0.15 is 0.3 of 0.5 */
    count(counts, options, logits, 4, 3000);
    cr_assert(counts[3] > 0 && !counts[0]);
    options.min_p = 1;
    count(counts, options, logits, 4, 100);
    cr_assert_eq(counts[1], 100);
}

Test(runner_sample, extremes) {
    const float bad[] = {NAN, 1, -INFINITY, NAN}, none[] = {-INFINITY, -INFINITY};
    uint32_t counts[4];
    count(counts, plain(1, 1), bad, 4, 100);
    cr_assert_eq(counts[1], 100);
    count(counts, plain(1, 1), none, 2, 10); /* nothing sensible, but an id in range */
    count(counts, plain(1e-40f, 1), bad, 4, 100);
    cr_assert_eq(counts[1], 100);
}

static void refuse(SampleOptions options, uint32_t n, const char *word) {
    Sampler *s;
    Error err = {0};
    cr_assert_eq(sampler_open(&s, options, n, NULL, &err), ERR_USAGE, "%s", word);
    cr_assert_not_null(strstr(err.message, word), "%s", err.message);
}

Test(runner_sample, refusals) {
    SampleOptions o = plain(-1, 0);
    refuse(o, 4, "temperature");
    refuse(plain(NAN, 0), 4, "temperature");
    refuse(plain(INFINITY, 0), 4, "temperature");
    refuse(plain(1, 0), 0, "at least one token");
    o = plain(1, 0), o.top_p = 0;
    refuse(o, 4, "top-p");
    o.top_p = 1.5f;
    refuse(o, 4, "top-p");
    o = plain(1, 0), o.min_p = -0.1f;
    refuse(o, 4, "min-p");
    o.min_p = NAN;
    refuse(o, 4, "min-p");
}

Test(runner_sample, no_memory) {
    for (size_t left = 0; left < 3; left++) {
        FailingAllocator f;
        Sampler *s;
        failing_init(&f, left);
        cr_assert_eq(sampler_open(&s, plain(1, 0), 10, &f.allocator, NULL), ERR_MEMORY);
        cr_assert_eq(f.live, 0);
    }
}

/* The largest, against picking one after the other. */
Test(runner_sample, top) {
    enum { N = 500 };
    float logits[N];
    uint64_t state = 3;
    for (size_t i = 0; i < N; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        logits[i] = (float)(state >> 60); /* 16 values: many ties */
    }
    logits[17] = NAN;
    for (uint32_t count = 0; count <= N; count += count < 3 ? 1 : 71) {
        uint32_t ids[N];
        bool taken[N] = {false};
        cr_assert_eq(sample_top(ids, logits, N, count, NULL), 0);
        for (uint32_t k = 0; k < count; k++) {
            uint32_t best = N;
            for (uint32_t i = 0; i < N; i++)
                if (!taken[i] && i != 17 && (best == N || logits[i] > logits[best])) best = i;
            if (best == N) best = 17; /* the NaN comes last */
            taken[best] = true;
            cr_assert_eq(ids[k], best, "%u of %u: %u, not %u", k, count, ids[k], best);
        }
    }
}
