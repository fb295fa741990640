/* generate: hashes of what was generated, stopping, streaming, recomputing, and its refusals. */
#include "core/sha256.h"
#include "model/checkpoint.h"
#include "model/views.h"
#include "runner/generate.h"
#include "tests/unit/fixture.h"
#include "tests/unit/support.h"
#include <math.h>

static const uint32_t prompt[] = {73, 310, 14, 500};
enum { N_PROMPT = 4, TOKENS = 12 };

typedef struct Open {
    Model *base, *model;
    Runner *runner;
} Open;

static void open_tiny(Open *o, const char *overrides, RunnerOptions options) {
    Error err = {0};
    cJSON *object = cJSON_Parse(overrides);
    cr_assert_eq(checkpoint_open(&o->base, FIXTURE_TINY, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(override_open(&o->model, o->base, object, (OverrideOptions){0}, NULL, &err), 0, "%s",
                 err.message);
    cr_assert_eq(runner_open(&o->runner, o->model, options, NULL, &err), 0, "%s", err.message);
    cJSON_Delete(object);
}

static void close_tiny(Open *o) {
    runner_close(o->runner);
    model_close(o->model);
    model_close(o->base);
}

static Generation *make(Runner *r, const uint32_t *tokens, size_t n, SampleOptions sample,
                        GenerateOptions options) {
    Generation *g;
    Error err = {0};
    cr_assert_eq(generate(&g, r, tokens, n, sample, options, NULL, &err), 0, "%s", err.message);
    return g;
}

static Generation *greedy(Runner *r, GenerateOptions options) {
    return make(r, prompt, N_PROMPT, (SampleOptions){0}, options);
}

static void same(const Generation *a, const Generation *b) {
    cr_assert_str_eq(a->tokens_sha256, b->tokens_sha256);
    cr_assert_str_eq(a->logits_sha256, b->logits_sha256);
}

/* Everything a generation says, made again by hand. */
Test(runner_generate, equals_steps_by_hand) {
    Open o;
    uint32_t tokens[TOKENS];
    char hex[SHA256_HEX];
    Sha256 *hash;
    open_tiny(&o, "{}", (RunnerOptions){0});
    Generation *g = greedy(o.runner, (GenerateOptions){.max_tokens = TOKENS});
    cr_assert_eq(g->n_tokens, TOKENS);
    cr_assert_str_eq(g->arithmetic, "recast-arithmetic-1/f32 activations/kv f32");

    runner_reset(o.runner);
    cr_assert_eq(sha256_open(&hash, NULL), 0);
    cr_assert_eq(runner_forward(o.runner, prompt, N_PROMPT, NULL), 0);
    cr_assert_arr_eq(runner_logits(o.runner), g->first_logits, 1024 * sizeof(float));
    for (int i = 0; i < TOKENS; i++) {
        float margin;
        sha256_update(hash, runner_logits(o.runner), 1024 * sizeof(float));
        tokens[i] = sample_greedy(runner_logits(o.runner), 1024, &margin);
        cr_assert_eq(tokens[i], g->tokens[i]);
        cr_assert_eq(margin, g->margins[i]);
        cr_assert_eq(runner_forward(o.runner, &tokens[i], 1, NULL), 0);
    }
    sha256_finish(hash, hex);
    cr_assert_str_eq(hex, g->logits_sha256);
    cr_assert_eq(sha256_bytes(hex, tokens, sizeof tokens, NULL), 0); /* this machine is little-endian */
    cr_assert_str_eq(hex, g->tokens_sha256);
    sha256_close(hash);
    generation_close(g);
    generation_close(NULL);
    close_tiny(&o);
}

Test(runner_generate, nothing_to_generate) {
    Open o;
    open_tiny(&o, "{}", (RunnerOptions){0});
    Generation *g = greedy(o.runner, (GenerateOptions){0});
    cr_assert_eq(g->n_tokens, 0);
    cr_assert_str_eq(g->tokens_sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    cr_assert(isfinite(g->first_logits[0]));
    generation_close(g);
    close_tiny(&o);
}

Test(runner_generate, chunks_and_recomputing_change_nothing) {
    Open o;
    open_tiny(&o, "{}", (RunnerOptions){0});
    Generation *a = greedy(o.runner, (GenerateOptions){.max_tokens = TOKENS});
    Generation *b = greedy(o.runner, (GenerateOptions){.max_tokens = TOKENS, .prefill_chunk = 1});
    Generation *c =
        greedy(o.runner, (GenerateOptions){.max_tokens = TOKENS, .prefill_chunk = 3, .recompute = true});
    same(a, b);
    same(a, c);
    generation_close(a);
    generation_close(b);
    generation_close(c);
    close_tiny(&o);
}

/* A conversation goes on where the cache ends; every bit is that of a run from the start. */
Test(runner_generate, keeps_what_the_runner_holds) {
    Open o;
    Error err = {0};
    Generation *g;
    uint32_t longer[N_PROMPT + 5];
    open_tiny(&o, "{}", (RunnerOptions){0});
    Generation *a = greedy(o.runner, (GenerateOptions){.max_tokens = 4});
    cr_assert_eq(runner_position(o.runner), N_PROMPT + 3);
    memcpy(longer, prompt, sizeof prompt);
    memcpy(longer + N_PROMPT, a->tokens, 3 * sizeof *longer);
    longer[7] = 9, longer[8] = 8;
    GenerateOptions options = {.max_tokens = 6, .kept = N_PROMPT + 3};
    Generation *kept = make(o.runner, longer, 9, (SampleOptions){0}, options);
    Generation *again = make(o.runner, longer, 9, (SampleOptions){0}, (GenerateOptions){.max_tokens = 6});
    same(kept, again);

    runner_rewind(o.runner, 100); /* it holds fewer: nothing happens */
    cr_assert_eq(runner_position(o.runner), 9 + 5);
    runner_rewind(o.runner, 2);
    options.kept = 2;
    Generation *rewound = make(o.runner, longer, 9, (SampleOptions){0}, options);
    same(rewound, again);

    options.kept = 3; /* the runner holds more */
    cr_assert_eq(generate(&g, o.runner, longer, 9, (SampleOptions){0}, options, NULL, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "3 of 9"), "%s", err.message);
    runner_rewind(o.runner, 9);
    options.kept = 9; /* nothing left to run */
    cr_assert_eq(generate(&g, o.runner, longer, 9, (SampleOptions){0}, options, NULL, &err), ERR_USAGE);
    options.kept = 2, options.recompute = true;
    runner_rewind(o.runner, 2);
    cr_assert_eq(generate(&g, o.runner, longer, 9, (SampleOptions){0}, options, NULL, &err), ERR_USAGE);
    generation_close(a);
    generation_close(kept);
    generation_close(again);
    generation_close(rewound);
    close_tiny(&o);
}

/* The hash of logits is of the model's own: a penalty that changes no choice changes no hash. */
Test(runner_generate, hashes_are_before_penalties) {
    Open o;
    SampleOptions slight = {.penalty = {.repeat = 1.0000001f}}, strong = {.penalty = {.frequency = 100}};
    GenerateOptions options = {.max_tokens = TOKENS};
    open_tiny(&o, "{}", (RunnerOptions){0});
    Generation *plain = greedy(o.runner, options);
    Generation *near = make(o.runner, prompt, N_PROMPT, slight, options);
    Generation *far = make(o.runner, prompt, N_PROMPT, strong, options);
    same(plain, near);
    for (uint32_t i = 0; i < TOKENS; i++)
        for (uint32_t k = 0; k < i; k++)
            cr_assert_neq(far->tokens[i], far->tokens[k], "no token comes twice");
    generation_close(plain);
    generation_close(near);
    generation_close(far);
    close_tiny(&o);
}

/* ---- callbacks ---- */

typedef struct Watch {
    uint32_t tokens[TOKENS], n;
    uint32_t end;     /* the token that ends */
    uint32_t fail_at; /* emit fails at this count; 0: never */
} Watch;

static bool ends(void *context, uint32_t token) {
    return token == ((Watch *)context)->end;
}

static int emit(void *context, uint32_t token, Error *err) {
    Watch *w = context;
    w->tokens[w->n++] = token;
    return w->n == w->fail_at ? error_set(err, ERR_IO, "the reader went away") : 0;
}

Test(runner_generate, emits_and_stops) {
    Open o;
    Error err = {0};
    Generation *stopped;
    open_tiny(&o, "{}", (RunnerOptions){0});
    Generation *g = greedy(o.runner, (GenerateOptions){.max_tokens = TOKENS});
    Watch w = {.end = g->tokens[5]};
    uint32_t first = 0;
    while (g->tokens[first] != w.end) first++;
    GenerateOptions options = {
        .max_tokens = TOKENS, .stop_at_end = true, .ends = ends, .emit = emit, .context = &w};
    stopped = greedy(o.runner, options);
    cr_assert_eq(stopped->n_tokens, first + 1, "the token that ends is part of the generation");
    cr_assert_eq(w.n, first + 1);
    cr_assert_arr_eq(w.tokens, g->tokens, w.n * sizeof w.tokens[0]);
    generation_close(stopped);

    options.stop_at_end = false;
    w.n = 0;
    stopped = greedy(o.runner, options);
    cr_assert_eq(stopped->n_tokens, TOKENS);
    same(g, stopped);
    generation_close(stopped);

    w = (Watch){.fail_at = 3};
    cr_assert_eq(generate(&stopped, o.runner, prompt, N_PROMPT, (SampleOptions){0}, options, NULL, &err),
                 ERR_IO);
    cr_assert_str_eq(err.message, "the reader went away");
    cr_assert_eq(w.n, 3);
    generation_close(g);
    close_tiny(&o);
}

Test(runner_generate, sampling_repeats_with_its_seed) {
    Open o;
    SampleOptions sample = {.temperature = 1, .top_k = 50, .top_p = 0.95f, .seed = 11};
    GenerateOptions options = {.max_tokens = TOKENS};
    open_tiny(&o, "{}", (RunnerOptions){0});
    Generation *a = make(o.runner, prompt, N_PROMPT, sample, options);
    Generation *b = make(o.runner, prompt, N_PROMPT, sample, options);
    sample.seed = 12;
    Generation *c = make(o.runner, prompt, N_PROMPT, sample, options);
    same(a, b);
    cr_assert_str_neq(a->tokens_sha256, c->tokens_sha256);
    generation_close(a);
    generation_close(b);
    generation_close(c);
    close_tiny(&o);
}

/* ---- dynamic RoPE ---- */

Test(runner_generate, dynamic_beyond_the_native_context) {
    Open o;
    Error err = {0};
    uint32_t text[255];
    Generation *g;
    for (size_t i = 0; i < 255; i++) text[i] = (uint32_t)(i * 37 % 1000);
    open_tiny(&o, "{\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4.0}}",
              (RunnerOptions){.context = 300});
    GenerateOptions options = {.max_tokens = 6};
    cr_assert_eq(generate(&g, o.runner, text, 255, (SampleOptions){0}, options, NULL, &err), ERR_LIMIT);
    cr_assert_not_null(strstr(err.message, "dynamic"), "%s", err.message);
    options.recompute = true;
    g = make(o.runner, text, 255, (SampleOptions){0}, options);
    cr_assert_eq(g->n_tokens, 6);

    /* afterwards the runner has its own table back */
    Generation *again = greedy(o.runner, (GenerateOptions){.max_tokens = TOKENS});
    Open plain;
    open_tiny(&plain, "{}", (RunnerOptions){0});
    Generation *without = greedy(plain.runner, (GenerateOptions){.max_tokens = TOKENS});
    same(again, without);
    generation_close(again);
    generation_close(without);
    close_tiny(&plain);

    /* the last step by hand: the whole sequence with the table of its length */
    float last[1024];
    uint32_t sequence[260];
    memcpy(sequence, text, sizeof text);
    memcpy(sequence + 255, g->tokens, 5 * sizeof g->tokens[0]);
    cr_assert_eq(runner_set_rope_length(o.runner, 260, &err), 0);
    cr_assert_eq(runner_forward(o.runner, sequence, 260, &err), 0, "%s", err.message);
    memcpy(last, runner_logits(o.runner), sizeof last);
    cr_assert_eq(sample_greedy(last, 1024, NULL), g->tokens[5]);
    generation_close(g);
    close_tiny(&o);
}

/* ---- refusals ---- */

static void refuse(Runner *r, size_t n_prompt, SampleOptions sample, uint32_t max, ErrorCode code,
                   const char *word) {
    Generation *g;
    Error err = {0};
    cr_assert_eq(generate(&g, r, prompt, n_prompt, sample, (GenerateOptions){.max_tokens = max}, NULL, &err),
                 (int)code, "%s", err.message);
    cr_assert_not_null(strstr(err.message, word), "%s", err.message);
}

Test(runner_generate, refusals) {
    Open o;
    open_tiny(&o, "{}", (RunnerOptions){.context = 8});
    refuse(o.runner, 0, (SampleOptions){0}, 4, ERR_USAGE, "empty");
    refuse(o.runner, 4, (SampleOptions){0}, 5, ERR_LIMIT, "context of 8");
    refuse(o.runner, 4, (SampleOptions){0}, UINT32_MAX, ERR_LIMIT, "context of 8");
    refuse(o.runner, 4, (SampleOptions){.temperature = -1}, 4, ERR_USAGE, "temperature");
    Generation *g = greedy(o.runner, (GenerateOptions){.max_tokens = 4});
    cr_assert_eq(g->n_tokens, 4);
    generation_close(g);
    close_tiny(&o);
}

Test(runner_generate, every_allocation_may_fail) {
    Open o;
    Error err = {0};
    int code = ERR_MEMORY;
    open_tiny(&o, "{}", (RunnerOptions){.context = 8});
    for (size_t left = 0; code; left++) {
        FailingAllocator f;
        Generation *g = NULL;
        failing_init(&f, left);
        cr_assert_lt(left, 100);
        code = generate(&g, o.runner, prompt, N_PROMPT, (SampleOptions){.temperature = 1, .top_p = 1},
                        (GenerateOptions){.max_tokens = 3, .recompute = true}, &f.allocator, &err);
        cr_assert(code == 0 || code == ERR_MEMORY, "%s", err.message);
        generation_close(g);
        cr_assert_eq(f.live, 0);
    }
    close_tiny(&o);
}
