/* generate.h -- a whole generation with its hashes: what run prints and validate compares. */
#ifndef RECAST_RUNNER_GENERATE_H
#define RECAST_RUNNER_GENERATE_H

#include "core/sha256.h"
#include "runner/runner.h"
#include "runner/sample.h"

typedef struct GenerateOptions {
    uint32_t max_tokens;
    bool stop_at_end; /* stop after a token for which `ends` is true; validation generates exactly max_tokens
                       */
    uint32_t prefill_chunk; /* tokens a forward call while reading the prompt; 0: 256. Changes no bit */
    bool recompute; /* run the whole sequence again for each token (`dynamic` beyond its native length, as
                       transformers without a cache does); the frequency table then follows the sequence's
                       length */
    bool slide; /* a sequence longer than the context goes on without its oldest tokens (runner/slide.h), else
                   it is ERR_LIMIT; not with recompute or kept */
    size_t kept; /* how many of the prompt's tokens the runner holds already, from its first position on; they
                    are not run again. ERR_USAGE unless runner_position says so and one is left to run; not
                    with recompute. 0: the runner is reset. Changes no bit */
    bool (*ends)(void *context, uint32_t token); /* may be NULL */
    int (*emit)(void *context, uint32_t token,
                Error *err); /* called for each token as it comes; may be NULL */
    void *context;
} GenerateOptions;

typedef struct Generation {
    uint32_t n_tokens;
    uint32_t *tokens;               /* generated ones, prompt excluded */
    float *margins;                 /* best minus second logit at each step */
    float *first_logits;            /* n_vocab logits at the last prompt position */
    char tokens_sha256[SHA256_HEX]; /* ids as u32 little-endian */
    char logits_sha256[SHA256_HEX]; /* all n_vocab float32, little-endian, of each generated step, before any
                                       penalty */
    size_t dropped;                 /* tokens that slid out of the context by the end */
    const char *arithmetic;
    double prefill_seconds, decode_seconds; /* for the user's eyes only: never stored in an output */
    Arena *arena;
} Generation;

int generate(Generation **out, Runner *r, const uint32_t *prompt, size_t n_prompt, SampleOptions sample,
             GenerateOptions options, const Allocator *allocator, Error *err) MUST_CHECK;
void generation_close(Generation *g); /* NULL-safe */

#endif
