/* What transformers says behind sequences whose lengths lie at the edges of things: one token, chunks of
 * attention, the native context, thousands of positions; by number of experts and kind of RoPE.
 * tests/golden/make_lengths.py made the file. */
#include "core/json.h"
#include "model/checkpoint.h"
#include "model/views.h"
#include "runner/generate.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { MOST = 4096, CASES = 25 };

static Runner *open(const Model *m, uint32_t n) {
    Runner *r;
    Error err = {0};
    RunnerOptions options = {.context = n + 4, .kv = KV_F32};
    if (m->params.rope.type == ROPE_DYNAMIC) options.rope_length = n; /* one pass over the whole sequence */
    cr_assert_eq(runner_open(&r, m, options, NULL, &err), 0, "%s", err.message);
    return r;
}

static void check_top(const char *name, const float *logits, const cJSON *top) {
    double largest = 0, difference = 0;
    cr_assert_eq(cJSON_GetArraySize(top), 20);
    for (const cJSON *pair = top->child; pair; pair = pair->next) {
        double expected = pair->child->next->valuedouble, found = (double)logits[pair->child->valueint];
        largest = fmax(largest, fabs(expected));
        difference = fmax(difference, fabs(found - expected));
    }
    cr_assert_leq(difference, 1e-5 * largest, "%s: logits differ by %g of %g", name, difference, largest);
}

static void run_case(const Model *base, const cJSON *item, uint32_t *tokens) {
    const char *name = json_get(item, "name")->valuestring;
    uint32_t n = (uint32_t)json_get(item, "n")->valueint;
    Error err = {0};
    Model *m;
    int code = override_open(&m, base, json_get(item, "overrides"), (OverrideOptions){0}, NULL, &err);
    cr_assert_eq(code, 0, "%s: %s", name, err.message);
    Runner *r = open(m, n);
    for (uint64_t i = 0; i < n; i++) tokens[i] = (uint32_t)((31 * i * i + 17 * i + 5) % 1000);
    cr_assert_eq(runner_forward(r, tokens, n, &err), 0, "%s: %s", name, err.message);
    check_top(name, runner_logits(r), json_get(item, "top"));
    for (const cJSON *t = json_get(item, "greedy")->child; t; t = t->next) {
        uint32_t token = sample_greedy(runner_logits(r), m->params.n_vocab, NULL);
        cr_assert_eq(token, (uint32_t)t->valueint, "%s", name);
        cr_assert_eq(runner_forward(r, &token, 1, &err), 0, "%s: %s", name, err.message);
    }
    runner_close(r);
    model_close(m);
}

Test(runner_lengths, equals_transformers) {
    Error err = {0};
    Model *base;
    cJSON *cases;
    uint32_t *tokens = malloc(MOST * sizeof *tokens);
    cr_assert_eq(checkpoint_open(&base, "tests/data/tiny-qwen3moe", NULL, &err), 0, "%s", err.message);
    cr_assert_eq(json_parse_file(&cases, "tests/golden/lengths-golden.json", 1 << 20, &err), 0, "%s",
                 err.message);
    cr_assert_eq(cJSON_GetArraySize(cases), CASES);
    for (const cJSON *item = cases->child; item; item = item->next) run_case(base, item, tokens);
    cJSON_Delete(cases);
    model_close(base);
    free(tokens);
}
