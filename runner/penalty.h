/* penalty.h -- lower logits for tokens that have been said before (docs/generation.md).
 *
 * The repetition penalty is that of transformers' RepetitionPenaltyLogitsProcessor: tokens of prompt and
 * answer, a logit above 0 divided, any other multiplied. Presence and frequency penalties are those of the
 * OpenAI API as vLLM computes them: tokens of the answer only, subtracted. Logits are read, never changed:
 * what is hashed and recorded is always the model's own. */
#ifndef RECAST_RUNNER_PENALTY_H
#define RECAST_RUNNER_PENALTY_H

#include "core/memory.h"

typedef struct PenaltyOptions {
    float repeat;    /* 0 or 1: off */
    float presence;  /* 0: off; may be negative */
    float frequency; /* 0: off; may be negative */
} PenaltyOptions;

typedef struct Penalty Penalty;

/* Would these options change anything? */
bool penalty_wanted(const PenaltyOptions *o);
/* Memory for n_vocab logits and counts. ERR_USAGE if an option is not finite or `repeat` is negative;
 * ERR_MEMORY. Caller closes. */
int penalty_open(Penalty **out, PenaltyOptions options, uint32_t n_vocab, const Allocator *allocator,
                 Error *err) MUST_CHECK;
void penalty_close(Penalty *p); /* NULL-safe */
/* Notes a token of the prompt or (answer true) of the answer; ids beyond the vocabulary are ignored. */
void penalty_note(Penalty *p, uint32_t token, bool answer);
/* The n_vocab logits with the penalties taken off, in p's own memory; valid until the next call. */
const float *penalty_apply(Penalty *p, const float *logits);

#endif
