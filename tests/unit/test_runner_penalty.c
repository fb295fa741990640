/* penalty: the numbers of transformers and vLLM (tests/golden/make_penalty.py), through the sampler too. */
#include "runner/sample.h"
#include "tests/unit/support.h"
#include <math.h>

enum { N = 10 };

typedef struct Case {
    PenaltyOptions options;
    float expected[N];
} Case;

static const Case cases[] = {
    {{1.3f, 0.0f, 0.0f},
     {-0x1.1d41d40000000p+3f, 0x1.89d89e0000000p+0f, -0x1.8000000000000p+1f, 0x1.205a060000000p+2f,
      0x1.b6db6e0000000p-1f, -0x1.58af8a0000000p+2f, 0x1.2db6dc0000000p+2f, -0x1.7c57c60000000p-2f,
      -0x1.5249240000000p+2f, 0x0.0p+0f}},
    {{1.0f, 0.6f, 0.0f},
     {-0x1.dd41d40000000p+2f, 0x1.6666660000000p+0f, -0x1.8000000000000p+1f, 0x1.76db6e0000000p+2f,
      0x1.b6db6e0000000p-1f, -0x1.2f8af80000000p+2f, 0x1.2db6dc0000000p+2f, -0x1.24924a0000000p-2f,
      -0x1.5249240000000p+2f, 0x0.0p+0f}},
    {{1.0f, 0.0f, 0.35f},
     {-0x1.cd41d40000000p+2f, 0x1.a666660000000p+0f, -0x1.8000000000000p+1f, 0x1.76db6e0000000p+2f,
      0x1.b6db6e0000000p-1f, -0x1.4c57c40000000p+2f, 0x1.2db6dc0000000p+2f, -0x1.24924a0000000p-2f,
      -0x1.5249240000000p+2f, 0x0.0p+0f}},
    {{1.17f, 0.45f, 0.21f},
     {-0x1.15d9f60000000p+3f, 0x1.0ca5980000000p+0f, -0x1.8000000000000p+1f, 0x1.4064080000000p+2f,
      0x1.b6db6e0000000p-1f, -0x1.7b564e0000000p+2f, 0x1.2db6dc0000000p+2f, -0x1.564efe0000000p-2f,
      -0x1.5249240000000p+2f, 0x0.0p+0f}},
    {{0.8f, -0.5f, -0.25f},
     {-0x1.2f15f20000000p+2f, 0x1.a000000000000p+1f, -0x1.8000000000000p+1f, 0x1.d4924a0000000p+2f,
      0x1.b6db6e0000000p-1f, -0x1.083a840000000p+1f, 0x1.2db6dc0000000p+2f, -0x1.d41d440000000p-3f,
      -0x1.5249240000000p+2f, 0x0.0p+0f}},
};

static const uint32_t prompt[] = {3, 1, 3, 7}, answer[] = {0, 5, 5, 5, 1};

static void logits_of_script(float *logits) {
    for (int i = 0; i < N - 1; i++) logits[i] = (float)((i * 7919 % 97 - 48) / 7.0);
    logits[N - 1] = 0;
}

Test(runner_penalty, equals_transformers_and_vllm) {
    float logits[N], before[N];
    logits_of_script(logits);
    memcpy(before, logits, sizeof logits);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        Penalty *p;
        Error err = {0};
        cr_assert_eq(penalty_open(&p, cases[c].options, N, NULL, &err), 0, "%s", err.message);
        for (size_t i = 0; i < 4; i++) penalty_note(p, prompt[i], false);
        for (size_t i = 0; i < 5; i++) penalty_note(p, answer[i], true);
        penalty_note(p, N, true); /* beyond the vocabulary */
        const float *x = penalty_apply(p, logits);
        for (int i = 0; i < N; i++)
            cr_assert(x[i] == cases[c].expected[i], "case %zu, token %d: %a, expected %a", c, i, (double)x[i],
                      (double)cases[c].expected[i]);
        penalty_close(p);
    }
    cr_assert_arr_eq(logits, before, sizeof logits);
    penalty_close(NULL);
}

/* A penalty of 1 a time takes tokens one after another from the top: 2.5, 2.4, 1.9, then 2.5 - 1 again. */
Test(runner_penalty, greedy_obeys) {
    static const uint32_t expected[] = {2, 0, 1, 2, 0, 1};
    const float logits[] = {2.4f, 1.9f, 2.5f, -9};
    SampleOptions options = {.penalty = {.frequency = 1}};
    Sampler *s;
    cr_assert_eq(sampler_open(&s, options, 4, NULL, NULL), 0);
    for (size_t i = 0; i < 6; i++) cr_assert_eq(sampler_next(s, logits), expected[i], "step %zu", i);
    sampler_close(s);
    /* the prompt counts for repetition: 2.5 / 1.1 < 2.4 */
    options = (SampleOptions){.penalty = {.repeat = 1.1f}};
    cr_assert_eq(sampler_open(&s, options, 4, NULL, NULL), 0);
    sampler_prompt(s, (const uint32_t[]){2}, 1);
    cr_assert_eq(sampler_next(s, logits), 0);
    sampler_close(s);
    /* and not for the others */
    options = (SampleOptions){.penalty = {.presence = 5, .frequency = 5}};
    cr_assert_eq(sampler_open(&s, options, 4, NULL, NULL), 0);
    sampler_prompt(s, (const uint32_t[]){2}, 1);
    cr_assert_eq(sampler_next(s, logits), 2);
    sampler_close(s);
}

/* Token 0 stands so far below after being said that it never comes twice in a row. */
Test(runner_penalty, sampling_obeys) {
    const float logits[] = {5, 5, 5};
    SampleOptions options = {.temperature = 1, .top_p = 1, .seed = 3, .penalty = {.frequency = 50}};
    Sampler *s;
    uint32_t counts[3] = {0};
    cr_assert_eq(sampler_open(&s, options, 3, NULL, NULL), 0);
    for (int i = 0; i < 30; i++) counts[sampler_next(s, logits)]++;
    for (int i = 0; i < 3; i++) cr_assert_eq(counts[i], 10, "%u", counts[i]);
    sampler_close(s);
}

Test(runner_penalty, off_by_default) {
    cr_assert(!penalty_wanted(&(PenaltyOptions){0}));
    cr_assert(!penalty_wanted(&(PenaltyOptions){.repeat = 1}));
    cr_assert(penalty_wanted(&(PenaltyOptions){.repeat = 1.01f}));
    cr_assert(penalty_wanted(&(PenaltyOptions){.presence = -1}));
    cr_assert(penalty_wanted(&(PenaltyOptions){.frequency = 1}));
}

static void refuse(PenaltyOptions options, const char *word) {
    Sampler *s;
    Error err = {0};
    cr_assert_eq(sampler_open(&s, (SampleOptions){.penalty = options}, 4, NULL, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, word), "%s", err.message);
}

Test(runner_penalty, refusals) {
    refuse((PenaltyOptions){.repeat = -1}, "repetition");
    refuse((PenaltyOptions){.repeat = INFINITY}, "repetition");
    refuse((PenaltyOptions){.repeat = NAN}, "repetition");
    refuse((PenaltyOptions){.presence = NAN}, "presence");
    refuse((PenaltyOptions){.frequency = -INFINITY}, "frequency");
}

Test(runner_penalty, every_allocation_may_fail) {
    int code = ERR_MEMORY;
    for (size_t left = 0; code; left++) {
        FailingAllocator f;
        Sampler *s = NULL;
        failing_init(&f, left);
        cr_assert_lt(left, 20);
        code = sampler_open(&s, (SampleOptions){.temperature = 1, .top_p = 1, .penalty = {.repeat = 2}}, 8,
                            &f.allocator, NULL);
        cr_assert(code == 0 || code == ERR_MEMORY);
        sampler_close(s);
        cr_assert_eq(f.live, 0);
    }
}
