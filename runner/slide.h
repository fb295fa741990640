/* slide.h -- which tokens of a sequence a sliding context still holds (docs/generation.md).
 *
 * The context has room for N positions. When a token comes to a full one, the first SLIDE_KEPT tokens stay
 * (attention rests on them: StreamingLLM, arXiv 2309.17453) and of the others the older half goes. What is
 * left is run anew, from its beginning, so that what follows has the bits of a run that was given those
 * tokens only. */
#ifndef RECAST_RUNNER_SLIDE_H
#define RECAST_RUNNER_SLIDE_H

#include <stddef.h>
#include <stdint.h>

enum { SLIDE_KEPT = 4, SLIDE_LEAST = 8 /* the smallest context that can slide */ };

/* How many of n tokens are gone, those behind the first SLIDE_KEPT: a function of n alone. 0 while n fits.
 * context: at least SLIDE_LEAST. */
size_t slide_dropped(size_t n, uint32_t context);

#endif
