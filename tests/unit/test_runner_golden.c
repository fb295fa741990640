/* What transformers says of the tiny model, in float32, for 19 cases (tests/golden/make_golden.py made the
 * file): base, 1 to 128 experts, linear, dynamic and YaRN scaling, within and beyond the native context.
 * Greedy tokens must be equal, the 20 largest logits within 1e-5 of the largest. */
#include "core/json.h"
#include "model/checkpoint.h"
#include "model/views.h"
#include "runner/generate.h"
#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <string.h>

enum { MAX_PROMPT = 2000, CONTEXT = 2048, CASES = 19 };

/* `dynamic` runs the whole sequence again for each token: 24 times 800 tokens. A sanitizer makes that 20
 * seconds, and finds nothing in the 24th run that it missed in the fourth. */
#if defined(__SANITIZE_ADDRESS__)
enum { MOST_RECOMPUTED = 4 };
#else
enum { MOST_RECOMPUTED = INT_MAX };
#endif

static void check_tokens(const char *name, const Generation *g, const cJSON *greedy) {
    uint32_t i = 0;
    for (const cJSON *token = greedy->child; token && i < g->n_tokens; token = token->next, i++)
        cr_assert_eq(g->tokens[i], (uint32_t)token->valueint,
                     "%s: token %u is %u, transformers has %d (margin %g)", name, i, g->tokens[i],
                     token->valueint, (double)g->margins[i]);
}

/* Largest difference over the top 20, relative to the largest magnitude among them. */
static double check_logits(const char *name, const Generation *g, const cJSON *top) {
    double largest = 0, difference = 0;
    cr_assert_eq(cJSON_GetArraySize(top), 20);
    for (const cJSON *pair = top->child; pair; pair = pair->next) {
        double expected = pair->child->next->valuedouble,
               found = (double)g->first_logits[pair->child->valueint];
        largest = fmax(largest, fabs(expected));
        difference = fmax(difference, fabs(found - expected));
    }
    cr_assert_leq(difference, 1e-5 * largest, "%s: logits differ by %g of %g", name, difference, largest);
    return difference / largest;
}

static void run_case(const Model *base, const cJSON *item) {
    const char *name = json_get(item, "name")->valuestring;
    const cJSON *ids = json_get(item, "ids"), *greedy = json_get(item, "greedy");
    uint32_t prompt[MAX_PROMPT];
    size_t n = 0;
    for (const cJSON *id = ids->child; id; id = id->next) prompt[n++] = (uint32_t)id->valueint;

    Error err = {0};
    Model *model;
    Runner *r;
    Generation *g;
    cr_assert_eq(override_open(&model, base, json_get(item, "overrides"), (OverrideOptions){0}, NULL, &err),
                 0, "%s: %s", name, err.message);
    cr_assert_eq(runner_open(&r, model, (RunnerOptions){.context = CONTEXT, .kv = KV_F32}, NULL, &err), 0,
                 "%s: %s", name, err.message);
    int count = cJSON_GetArraySize(greedy);
    bool recompute = model->params.rope.type == ROPE_DYNAMIC;
    if (recompute && count > MOST_RECOMPUTED) count = MOST_RECOMPUTED;
    GenerateOptions options = {.max_tokens = (uint32_t)count, .recompute = recompute};
    cr_assert_eq(generate(&g, r, prompt, n, (SampleOptions){0}, options, NULL, &err), 0, "%s: %s", name,
                 err.message);
    cr_assert_eq(g->n_tokens, (uint32_t)count, "%s", name);
    check_tokens(name, g, greedy);
    double difference = check_logits(name, g, json_get(item, "top"));
    cr_log_info("%s: %zu + %u tokens, logits within %.1e\n", name, n, g->n_tokens, difference);
    generation_close(g);
    runner_close(r);
    model_close(model);
}

Test(runner_golden, equals_transformers) {
    Error err = {0};
    Model *base;
    cJSON *cases;
    cr_assert_eq(checkpoint_open(&base, "tests/data/tiny-qwen3moe", NULL, &err), 0, "%s", err.message);
    cr_assert_eq(json_parse_file(&cases, "tests/golden/tiny-golden.json", 1 << 20, &err), 0, "%s",
                 err.message);
    cr_assert_eq(cJSON_GetArraySize(cases), CASES);
    for (const cJSON *item = cases->child; item; item = item->next) run_case(base, item);
    cJSON_Delete(cases);
    model_close(base);
}
