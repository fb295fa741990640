/* sample.h -- choosing the next token: greedy, or temperature with top-k, top-p and min-p and a seed; either
 * with penalties for what was said before (runner/penalty.h, docs/generation.md). The same seed gives the
 * same tokens on every machine: strict math, a counter-based generator, ties to the lower id. */
#ifndef RECAST_RUNNER_SAMPLE_H
#define RECAST_RUNNER_SAMPLE_H

#include "runner/penalty.h"

typedef struct SampleOptions {
    float temperature; /* 0: greedy */
    uint32_t top_k;    /* 0: off */
    float top_p;       /* 1: off */
    float min_p;       /* 0: off */
    uint64_t seed;
    PenaltyOptions penalty; /* all zero: off; greedy obeys it too */
} SampleOptions;

typedef struct Sampler Sampler;
int sampler_open(Sampler **out, SampleOptions options, uint32_t n_vocab, const Allocator *allocator,
                 Error *err) MUST_CHECK;
void sampler_close(Sampler *s);
/* Notes the tokens of the prompt, for the repetition penalty. */
void sampler_prompt(Sampler *s, const uint32_t *tokens, size_t count);
/* The next token for n_vocab logits, which then counts as said. Draws one number from the stream when
 * temperature > 0. */
uint32_t sampler_next(Sampler *s, const float *logits);
/* Is the next token sample_greedy of the logits as they are? Then it needn't be asked. */
bool sampler_is_greedy(const Sampler *s);
/* The ids of the `count` largest of n logits, best first, ties to the lower id; count is at most n.
 * ERR_MEMORY. */
int sample_top(uint32_t *ids, const float *logits, uint32_t n, uint32_t count, Error *err) MUST_CHECK;
/* The largest logit's index (ties to the lower) and how far the second one is below it (margin >= 0; may be
 * NULL). */
uint32_t sample_greedy(const float *logits, uint32_t n, float *margin);

#endif
