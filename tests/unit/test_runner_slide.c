/* A context that slides: which tokens it holds, and that each step has the bits of a fresh run of those. */
#include "model/checkpoint.h"
#include "runner/generate.h"
#include "runner/slide.h"
#include "tests/unit/fixture.h"
#include "tests/unit/support.h"

/* Token after token, as the header tells it. */
Test(runner_slide, as_told) {
    for (uint32_t context = SLIDE_LEAST; context < 40; context++) {
        size_t held = 0, dropped = 0;
        for (size_t n = 1; n < 200; n++) {
            if (held == context) {
                size_t others = context - SLIDE_KEPT, older = others - others / 2;
                held -= older;
                dropped += older;
            }
            held++;
            cr_assert_eq(slide_dropped(n, context), dropped, "%zu tokens in %u", n, context);
            cr_assert_eq(n - slide_dropped(n, context), held);
        }
    }
}

enum { CONTEXT = 16, MOST = 64 };

/* Greedy, with a fresh run of what the context holds for every token. */
static void by_hand(Runner *r, const uint32_t *prompt, size_t n, const Generation *g) {
    uint32_t all[MOST], held[CONTEXT];
    char hex[SHA256_HEX];
    Sha256 *hash;
    memcpy(all, prompt, n * sizeof *all);
    cr_assert_eq(sha256_open(&hash, NULL), 0);
    for (uint32_t i = 0; i < g->n_tokens; i++, n++) {
        size_t dropped = slide_dropped(n, CONTEXT), count = 0;
        for (size_t k = 0; k < n; k++)
            if (k < SLIDE_KEPT || k >= SLIDE_KEPT + dropped) held[count++] = all[k];
        runner_reset(r);
        cr_assert_eq(runner_forward(r, held, count, NULL), 0);
        sha256_update(hash, runner_logits(r), 1024 * sizeof(float));
        all[n] = sample_greedy(runner_logits(r), 1024, NULL);
        cr_assert_eq(all[n], g->tokens[i], "step %u", i);
    }
    sha256_finish(hash, hex);
    cr_assert_str_eq(hex, g->logits_sha256);
    sha256_close(hash);
}

static const uint32_t prompt[40] = {73,  310, 14,  500, 7,   81, 9,   300, 44, 51, 600, 12, 13, 700,
                                    15,  16,  170, 18,  190, 20, 210, 22,  23, 24, 250, 26, 27, 280,
                                    291, 303, 31,  320, 333, 34, 350, 36,  37, 38, 39,  400};

Test(runner_slide, bits_of_a_fresh_run) {
    static const struct {
        size_t n_prompt;
        uint32_t n;
        size_t dropped;
    } cases[] = {{4, 12, 0}, {4, 24, 12}, {16, 20, 24}, {17, 3, 6}, {40, 8, 36}};
    Error err = {0};
    Model *model;
    Runner *r;
    cr_assert_eq(checkpoint_open(&model, FIXTURE_TINY, NULL, &err), 0, "%s", err.message);
    RunnerOptions options = {.context = CONTEXT};
    cr_assert_eq(runner_open(&r, model, options, NULL, &err), 0, "%s", err.message);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t chunk = 0; chunk < 4; chunk += 3) {
            Generation *g;
            GenerateOptions o = {.max_tokens = cases[i].n, .slide = true, .prefill_chunk = chunk};
            cr_assert_eq(
                generate(&g, r, prompt, cases[i].n_prompt, (SampleOptions){.top_p = 1}, o, NULL, &err), 0,
                "%s", err.message);
            cr_assert_eq(g->n_tokens, cases[i].n);
            cr_assert_eq(g->dropped, cases[i].dropped, "case %zu: %zu", i, g->dropped);
            by_hand(r, prompt, cases[i].n_prompt, g);
            generation_close(g);
        }
    runner_close(r);
    model_close(model);
}

static void refused(Runner *r, size_t n_prompt, GenerateOptions o, ErrorCode code) {
    Error err = {0};
    Generation *g;
    cr_assert_eq(generate(&g, r, prompt, n_prompt, (SampleOptions){.top_p = 1}, o, NULL, &err), (int)code,
                 "%s", err.message);
}

Test(runner_slide, refusals) {
    Error err = {0};
    Model *model;
    Runner *r;
    Generation *g;
    cr_assert_eq(checkpoint_open(&model, FIXTURE_TINY, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(runner_open(&r, model, (RunnerOptions){.context = 7}, NULL, &err), 0, "%s", err.message);
    refused(r, 4, (GenerateOptions){.max_tokens = 4}, ERR_LIMIT);
    refused(r, 4, (GenerateOptions){.max_tokens = 4, .slide = true}, ERR_USAGE);
    refused(r, 4, (GenerateOptions){.max_tokens = 2, .slide = true, .recompute = true}, ERR_USAGE);
    refused(r, 4, (GenerateOptions){.max_tokens = 2, .slide = true, .kept = 1}, ERR_USAGE);
    GenerateOptions fits = {.max_tokens = 3, .slide = true};
    cr_assert_eq(generate(&g, r, prompt, 4, (SampleOptions){.top_p = 1}, fits, NULL, &err), 0, "%s",
                 err.message);
    cr_assert_eq(g->dropped, 0);
    generation_close(g);
    runner_close(r);
    model_close(model);
}
