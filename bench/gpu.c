/* gpu.c -- seconds of the runner on a GPU, without what the command does beside it (sampling, hashes).
 *
 *   gpu_bench FILE.gguf CONTEXTS PROMPTS TOKENS [CHUNK]    lists as "0 1024 32768"
 *
 * Prints "prefill N SECONDS" for each prompt and "decode CONTEXT SECONDS" for each context: of one token, the
 * median of TOKENS, its logits on the host included. Token ids are random, so that tokens choose different
 * experts. One prompt is read for all of them. */
#include "model/gguf.h"
#include "runner/runner.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 32, NAMED = 1000, WARM_UP = 3, MOST_TOKENS = 4096 };

typedef struct Marks {
    uint32_t at[MOST];
    size_t n;
} Marks;

typedef struct Bench {
    Runner *runner;
    uint32_t *tokens;
    uint32_t chunk, n_tokens;
    double read; /* seconds that the prompt has taken so far */
} Bench;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static Marks parse(const char *list) {
    Marks m = {.n = 0};
    char *end;
    for (const char *s = list; m.n < MOST; s = end) {
        unsigned long n = strtoul(s, &end, 10);
        if (end == s) break;
        m.at[m.n++] = (uint32_t)n;
    }
    return m;
}

/* The smallest mark that is at least `from`; UINT32_MAX if there is none. */
static uint32_t next_mark(const Marks *m, uint32_t from) {
    uint32_t best = UINT32_MAX;
    for (size_t i = 0; i < m->n; i++)
        if (m->at[i] >= from && m->at[i] < best) best = m->at[i];
    return best;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int read_prompt(Bench *b, uint32_t until, Error *err) {
    for (uint32_t at = runner_position(b->runner); at < until; at = runner_position(b->runner)) {
        uint32_t n = until - at < b->chunk ? until - at : b->chunk;
        double begin = seconds();
        TRY(runner_forward(b->runner, b->tokens + at, n, err));
        b->read += seconds() - begin;
    }
    return 0;
}

/* The median of n_tokens single tokens behind what is there; nothing of them stays. */
static int decode(Bench *b, double *out, Error *err) {
    static double took[MOST_TOKENS];
    uint32_t from = runner_position(b->runner);
    for (uint32_t i = 0; i < WARM_UP; i++) TRY(runner_forward(b->runner, b->tokens + from + i, 1, err));
    runner_rewind(b->runner, from);
    for (uint32_t i = 0; i < b->n_tokens; i++) {
        double begin = seconds();
        TRY(runner_forward(b->runner, b->tokens + from + i, 1, err));
        took[i] = seconds() - begin;
    }
    runner_rewind(b->runner, from);
    qsort(took, b->n_tokens, sizeof *took, compare);
    *out = took[b->n_tokens / 2];
    return 0;
}

static int measure(Bench *b, const Marks *contexts, const Marks *prompts, Error *err) {
    for (uint32_t at = 0;; at++) {
        uint32_t context = next_mark(contexts, at), prompt = next_mark(prompts, at);
        at = context < prompt ? context : prompt;
        if (at == UINT32_MAX) return 0;
        TRY(read_prompt(b, at, err));
        if (at == prompt) printf("prefill %u %.9f\n", at, b->read);
        if (at == context) {
            double took;
            TRY(decode(b, &took, err));
            printf("decode %u %.9f\n", at, took);
        }
        fflush(stdout);
    }
}

/* The same at the first context without the marks by which a late error gets its name (docs/cuda.md). */
static int compare_marks(const Bench *b, const Model *model, RunnerOptions options, uint32_t context,
                         Error *err) {
    Bench with = *b, without = *b;
    double marked, unmarked;
    options.weights_of = b->runner;
    options.device_unmarked = true;
    TRY(runner_open(&without.runner, model, options, NULL, err));
    runner_rewind(with.runner, context);
    int code = read_prompt(&without, context, err);
    if (!code) code = decode(&with, &marked, err);
    if (!code) code = decode(&without, &unmarked, err);
    runner_close(without.runner);
    if (!code)
        fprintf(stderr, "gpu_bench: a token at %u takes %.4f ms, %.4f ms without marks\n", context,
                marked * 1e3, unmarked * 1e3);
    return code;
}

static uint32_t largest(const Marks *m, uint32_t than) {
    for (size_t i = 0; i < m->n; i++)
        if (m->at[i] > than) than = m->at[i];
    return than;
}

static int run(const char *path, const Marks *contexts, const Marks *prompts, Bench *b, Error *err) {
    Model *model;
    uint32_t most = largest(prompts, largest(contexts, 0)) + b->n_tokens + WARM_UP;
    TRY(gguf_open(&model, path, NULL, err));
    b->tokens = malloc(most * sizeof *b->tokens);
    int code = b->tokens ? 0 : error_set(err, ERR_MEMORY, "out of memory");
    uint64_t state = 1;
    for (uint32_t i = 0; !code && i < most; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        b->tokens[i] = (uint32_t)(state >> 33) % NAMED;
    }
    RunnerOptions options = {.context = most, .kv = KV_F16, .device = DEVICE_CUDA};
    if (!code) code = runner_open(&b->runner, model, options, NULL, err);
    if (!code) code = measure(b, contexts, prompts, err);
    if (!code && contexts->n) code = compare_marks(b, model, options, contexts->at[0], err);
    runner_close(b->runner);
    free(b->tokens);
    model_close(model);
    return code;
}

int main(int argc, char **argv) {
    Error err = {0};
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: gpu_bench FILE.gguf CONTEXTS PROMPTS TOKENS [CHUNK]\n");
        return 2;
    }
    Marks contexts = parse(argv[2]), prompts = parse(argv[3]);
    Bench b = {.n_tokens = (uint32_t)strtoul(argv[4], NULL, 10),
               .chunk = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 512};
    if (!b.n_tokens || b.n_tokens > MOST_TOKENS || !b.chunk) return 2;
    int code = run(argv[1], &contexts, &prompts, &b, &err);
    if (code) fprintf(stderr, "gpu_bench: %s\n", err.message);
    return error_exit_status((ErrorCode)code);
}
