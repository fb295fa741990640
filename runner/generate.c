/* generate.c -- a whole generation: prompt, tokens, and the hashes of both (docs/arithmetic.md, section 10).
 */
#include "runner/generate.h"
#include "core/process.h"
#include "runner/logits_hash.h"
#include "runner/slide.h"
#include <time.h>

enum { DEFAULT_CHUNK = 256 };

/* What one generation needs while it runs. */
typedef struct Job {
    Generation *g;
    Runner *runner;
    const GenerateOptions *options;
    const uint32_t *prompt;
    size_t n_prompt;
    uint32_t *sequence; /* prompt and generated tokens, for recompute and slide; else NULL */
    Sampler *sampler;
    Sha256 *tokens_hash;
    LogitsHash *logits_hash;
} Job;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int forward_chunks(Job *job, const uint32_t *tokens, size_t count, Error *err) {
    size_t chunk = job->options->prefill_chunk ? job->options->prefill_chunk : DEFAULT_CHUNK;
    if (!count) return runner_forward(job->runner, tokens, 0, err); /* says what is wrong */
    for (size_t done = 0; done < count; done += chunk) {
        if (process_interrupted()) return error_set(err, ERR_INTERRUPTED, "interrupted");
        TRY(runner_forward(job->runner, tokens + done, count - done < chunk ? count - done : chunk, err));
    }
    return 0;
}

/* The context as it is, or what is left of it from its beginning. */
static int advance_sliding(Job *job, size_t n, Error *err) {
    Generation *g = job->g;
    size_t total = job->n_prompt + n, dropped = slide_dropped(total, runner_context(job->runner));
    if (n && dropped == g->dropped) return runner_forward(job->runner, &job->sequence[total - 1], 1, err);
    g->dropped = dropped;
    if (!dropped) return forward_chunks(job, job->sequence, total, err);
    runner_reset(job->runner);
    TRY(forward_chunks(job, job->sequence, SLIDE_KEPT, err));
    return forward_chunks(job, job->sequence + SLIDE_KEPT + dropped, total - SLIDE_KEPT - dropped, err);
}

/* The logits behind prompt and n generated tokens, the last of which has not been run yet. */
static int advance(Job *job, size_t n, Error *err) {
    const Generation *g = job->g;
    if (n && job->sequence) job->sequence[job->n_prompt + n - 1] = g->tokens[n - 1];
    if (job->options->slide) return advance_sliding(job, n, err);
    if (!job->options->recompute) {
        size_t kept = job->options->kept;
        if (n == 0) return forward_chunks(job, job->prompt + kept, job->n_prompt - kept, err);
        return runner_forward(job->runner, &g->tokens[n - 1], 1, err);
    }
    TRY(runner_set_rope_length(job->runner, (uint32_t)(job->n_prompt + n), err));
    return forward_chunks(job, job->sequence, job->n_prompt + n, err);
}

static int step(Job *job, bool *more, Error *err) {
    Generation *g = job->g;
    const GenerateOptions *o = job->options;
    const float *logits = runner_logits(job->runner);
    uint32_t n = g->n_tokens;
    uint32_t best = runner_best(job->runner, &g->margins[n]);
    uint32_t token = sampler_is_greedy(job->sampler) ? best : sampler_next(job->sampler, logits);
    unsigned char id[4] = {token & 0xFF, token >> 8 & 0xFF, token >> 16 & 0xFF, token >> 24};
    g->tokens[n] = token;
    g->n_tokens = n + 1;
    sha256_update(job->tokens_hash, id, sizeof id);
    logits_hash_add(job->logits_hash, logits);
    if (o->emit) TRY(o->emit(o->context, token, err));
    *more = g->n_tokens < o->max_tokens && !(o->stop_at_end && o->ends && o->ends(o->context, token));
    if (!*more) return 0;
    if (process_interrupted()) return error_set(err, ERR_INTERRUPTED, "interrupted");
    return advance(job, g->n_tokens, err);
}

static int run(Job *job, Error *err) {
    Generation *g = job->g;
    bool more = job->options->max_tokens > 0;
    double start = now();
    if (!job->options->kept) runner_reset(job->runner);
    TRY(advance(job, 0, err));
    const float *logits = runner_logits(job->runner);
    for (uint32_t i = 0; i < runner_params(job->runner)->n_vocab; i++) g->first_logits[i] = logits[i];
    double read = now();
    while (more) TRY(step(job, &more, err));
    g->prefill_seconds = read - start;
    g->decode_seconds = now() - read;
    sha256_finish(job->tokens_hash, g->tokens_sha256);
    logits_hash_finish(job->logits_hash, g->logits_sha256);
    return 0;
}

static int check_slide(const Job *job, Error *err) {
    const GenerateOptions *o = job->options;
    if (o->recompute || o->kept)
        return error_set(err, ERR_USAGE, "a context can't slide and be %s",
                         o->recompute ? "recomputed for each token" : "kept");
    if (runner_context(job->runner) >= SLIDE_LEAST ||
        job->n_prompt + o->max_tokens <= runner_context(job->runner))
        return 0;
    return error_set(err, ERR_USAGE, "a context of %u positions can't slide; it needs at least %d",
                     runner_context(job->runner), SLIDE_LEAST);
}

static int check_room(const Runner *r, size_t n_prompt, uint32_t max_tokens, Error *err) {
    if (n_prompt <= runner_context(r) && max_tokens <= runner_context(r) - n_prompt) return 0;
    return error_set(
        err, ERR_LIMIT,
        "%zu tokens of prompt and %u to generate do not fit in a context of %u; raise the context or "
        "generate fewer, or let it slide",
        n_prompt, max_tokens, runner_context(r));
}

static int check_kept(const Job *job, Error *err) {
    size_t kept = job->options->kept;
    if (!kept || (kept < job->n_prompt && kept == runner_position(job->runner) && !job->options->recompute))
        return 0;
    return error_set(err, ERR_USAGE, "%zu of %zu prompt tokens can't be kept: the runner holds %u", kept,
                     job->n_prompt, runner_position(job->runner));
}

static int prepare(Job *job, SampleOptions sample, const Allocator *allocator, Error *err) {
    Generation *g = job->g;
    uint32_t n_vocab = runner_params(job->runner)->n_vocab;
    if (job->options->slide)
        TRY(check_slide(job, err));
    else
        TRY(check_room(job->runner, job->n_prompt, job->options->max_tokens, err));
    TRY(check_kept(job, err));
    g->arithmetic = runner_arithmetic(job->runner);
    g->tokens = arena_alloc(g->arena, job->options->max_tokens, sizeof *g->tokens);
    g->margins = arena_alloc(g->arena, job->options->max_tokens, sizeof *g->margins);
    g->first_logits = arena_alloc(g->arena, n_vocab, sizeof *g->first_logits);
    if (!g->tokens || !g->margins || !g->first_logits) return error_memory(err, "a generation");
    if (job->options->recompute || job->options->slide) {
        job->sequence =
            arena_alloc(g->arena, job->n_prompt + job->options->max_tokens, sizeof *job->sequence);
        if (!job->sequence) return error_memory(err, "a generation");
        for (size_t i = 0; i < job->n_prompt; i++) job->sequence[i] = job->prompt[i];
    }
    TRY(sampler_open(&job->sampler, sample, n_vocab, allocator, err));
    sampler_prompt(job->sampler, job->prompt, job->n_prompt);
    TRY(sha256_open(&job->tokens_hash, err));
    return logits_hash_open(&job->logits_hash, n_vocab, allocator, err);
}

int generate(Generation **out, Runner *r, const uint32_t *prompt, size_t n_prompt, SampleOptions sample,
             GenerateOptions options, const Allocator *allocator, Error *err) {
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Generation *g = arena_alloc(arena, 1, sizeof *g);
    if (!g) {
        arena_close(arena);
        return error_memory(err, "a generation");
    }
    g->arena = arena;
    Job job = {.g = g, .runner = r, .options = &options, .prompt = prompt, .n_prompt = n_prompt};
    int code = prepare(&job, sample, allocator, err);
    if (!code) code = run(&job, err);
    if (options.recompute) {
        int restored = runner_set_rope_length(r, 0, code ? NULL : err); /* the table it was opened with */
        if (!code) code = restored;
    }
    sampler_close(job.sampler);
    sha256_close(job.tokens_hash);
    logits_hash_close(job.logits_hash);
    if (code)
        generation_close(g);
    else
        *out = g;
    return code;
}

void generation_close(Generation *g) {
    if (g) arena_close(g->arena);
}
