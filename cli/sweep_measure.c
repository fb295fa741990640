/* sweep_measure.c -- the figures of every setting: what it costs, how fast it is, what it predicts. */
#include "cli/sweep.h"
#include "core/strict_math.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BLOCK = 64, /* positions that are drawn together: neighbours are not independent */
    RESAMPLES = 1000,
    PREFILL = 128, /* tokens of the speed measurement */
    DECODE = 32,
};

static const double temperatures[] = {0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0};
enum { N_TEMPERATURES = sizeof temperatures / sizeof temperatures[0] };

/* ---- what it costs ---- */

/* Experts count as far as they are chosen, of the embedding one row. */
static void count_weights(SweepSetting *t, const Model *m) {
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *x = &m->tensors[i];
        double share = 1;
        if (strstr(x->name, "experts.") || strstr(x->name, "_exps"))
            share = (double)t->experts / m->params.n_experts;
        else if (!strcmp(x->name, "token_embd.weight") || !strcmp(x->name, "model.embed_tokens.weight"))
            share = m->params.tied_embeddings ? 1 : 1 / (double)m->params.n_vocab;
        t->active_parameters += share * (double)tensor_elements(x);
        t->bytes_per_token += share * (double)tensor_bytes(x);
    }
    if (!runner_kv_bytes(&m->params, t->context, KV_F16, &t->kv_bytes)) t->kv_bytes = 0;
}

/* ---- how fast it is ---- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The first run reads the weights into memory. */
static int measure_speed(SweepSetting *t, const uint32_t *tokens, size_t n, Error *err) {
    size_t prompt = n < PREFILL ? n : PREFILL;
    uint32_t room = runner_context(t->runner);
    if (prompt + DECODE > room) prompt = room > DECODE ? room - DECODE : 0;
    if (!prompt) return 0;
    for (int round = 0; round < 2; round++) {
        runner_reset(t->runner);
        double start = now();
        TRY(runner_forward(t->runner, tokens, prompt, err));
        double read = now();
        for (size_t i = 0; i < DECODE; i++) TRY(runner_forward(t->runner, &tokens[i % n], 1, err));
        double end = now();
        t->prefill = (double)prompt / (read - start);
        t->decode = DECODE / (end - read);
    }
    return 0;
}

/* ---- what it predicts ---- */

static uint64_t next_random(uint64_t *state) { /* SplitMix64 */
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The mean of differences, and its 95 % interval by drawing blocks of positions with replacement. Paired:
 * what is hard for both drops out. */
static int bootstrap(SweepDepth *d, const double *differences, size_t n, Arena *arena, Error *err) {
    size_t blocks = (n + BLOCK - 1) / BLOCK;
    double *sum = arena_alloc(arena, blocks, sizeof *sum),
           *means = arena_alloc(arena, RESAMPLES, sizeof *means);
    uint64_t seed = 1;
    if (!sum || !means) return error_memory(err, "a bootstrap");
    d->delta = eval_mean(differences, n).mean;
    for (size_t i = 0; i < n; i++) sum[i / BLOCK] += differences[i];
    for (size_t r = 0; r < RESAMPLES; r++) {
        double total = 0;
        size_t count = 0;
        for (size_t i = 0; i < blocks; i++) {
            size_t k = (size_t)(next_random(&seed) % blocks);
            total += sum[k];
            count += k + 1 < blocks ? BLOCK : n - k * BLOCK;
        }
        means[r] = total / (double)count;
    }
    qsort(means, RESAMPLES, sizeof *means, ascending);
    d->low = means[RESAMPLES / 40];
    d->high = means[RESAMPLES - 1 - RESAMPLES / 40];
    return 0;
}

/* Where the base's entropy, which rises with temperature, passes a value. */
static double temperature_for(const double *entropies, double wanted) {
    for (size_t i = 0; i + 1 < N_TEMPERATURES; i++) {
        double a = entropies[i], b = entropies[i + 1];
        if (wanted < a || wanted > b || !(b > a)) continue;
        return temperatures[i] + (temperatures[i + 1] - temperatures[i]) * (wanted - a) / (b - a);
    }
    return NAN;
}

static int fill_depth(SweepDepth *d, const EvalText *t, size_t model, Arena *arena, Error *err) {
    double *values = arena_alloc(arena, t->n, sizeof *values), *base = arena_alloc(arena, t->n, sizeof *base);
    if (!values || !base) return error_memory(err, "the figures");
    static const EvalFigure figures[] = {eval_kl, eval_entropy, eval_same, eval_nll};
    EvalMean *means[] = {&d->kl, &d->entropy, &d->same, &d->nll};
    for (size_t f = 0; f < 4; f++)
        *means[f] = eval_mean(values, eval_text_figures(values, t, model, figures[f], 0, UINT32_MAX));
    eval_text_figures(base, t, 0, eval_nll, 0, UINT32_MAX);
    for (size_t i = 0; i < t->n; i++) values[i] -= base[i];
    double sampled = 0;
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) /* the positions at which the base was tried at other temperatures */
        if (t->position[i] % 8 == 0) sampled += t->points[model][i].entropy, n++;
    d->temperature = temperature_for(t->entropies, sampled / (double)n);
    return bootstrap(d, values, t->n, arena, err);
}

static int run_window(Sweep *s, size_t window, const uint32_t *tokens, size_t n, const SweepOptions *o,
                      Error *err) {
    Runner *runners[SWEEP_MOST_SETTINGS];
    EvalText *text;
    EvalTextOptions options = {.window = s->windows[window],
                               .max_tokens = o->max_tokens,
                               .temperatures = temperatures,
                               .n_temperatures = N_TEMPERATURES,
                               .progress = o->progress,
                               .phase = "sweep"};
    for (size_t i = 0; i < s->n_settings; i++) {
        runners[i] = s->settings[i].runner;
        runner_note_route(runners[i]);
    }
    TRY(eval_text(&text, runners, s->n_settings, tokens, n, options, NULL, err));
    s->tokens = text->n_tokens;
    int code = 0;
    for (size_t i = 0; !code && i < s->n_settings; i++) {
        SweepDepth *d = &s->settings[i].depth[window];
        code = fill_depth(d, text, i, text->arena, err);
        d->route_share = runner_route_share(runners[i]);
    }
    eval_text_close(text);
    return code;
}

uint32_t sweep_context(const Sweep *s) {
    uint32_t context = PREFILL + DECODE;
    for (size_t w = 0; w < s->n_windows; w++)
        if (s->windows[w] > context) context = s->windows[w];
    return context;
}

static int open_runners(Sweep *s, SweepOptions *o, Error *err) {
    o->runner.context = sweep_context(s);
    for (size_t i = 0; i < s->n_settings; i++) {
        SweepSetting *t = &s->settings[i];
        TRY(runner_open(&t->runner, t->model ? t->model : s->model, o->runner, NULL, err));
        device_line_opened(o->device, t->runner);
        o->runner.weights_of = s->settings[0].runner;
        count_weights(t, s->model);
    }
    s->arithmetic = runner_arithmetic(s->settings[0].runner);
    return 0;
}

int sweep_measure(Sweep *s, const uint32_t *tokens, size_t n_tokens, SweepOptions options, Error *err) {
    int code = open_runners(s, &options, err);
    for (size_t i = 0; !code && options.speed && i < s->n_settings; i++)
        code = measure_speed(&s->settings[i], tokens, n_tokens, err);
    for (size_t w = 0; !code && w < s->n_windows; w++)
        code = run_window(s, w, tokens, n_tokens, &options, err);
    for (size_t i = 0; i < s->n_settings; i++) {
        runner_close(s->settings[i].runner);
        s->settings[i].runner = NULL;
    }
    return code;
}
