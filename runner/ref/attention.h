/* attention.h -- the attention half of a layer. */
#ifndef RECAST_RUNNER_REF_ATTENTION_H
#define RECAST_RUNNER_REF_ATTENTION_H

#include "runner/ref/forward.h"

/* Floats of scratch that attention needs for each thread. */
size_t attention_scratch(const ModelParams *p);
/* Keys and values of `count` tokens from position `first` on into the cache. a.y [count][n_embd] is the
 * layer's normed input. Leaves their queries, not yet normed, in a.q. */
int attention_store(RefState *s, uint32_t layer, uint32_t first, size_t count, Error *err) MUST_CHECK;
/* a.x += W_o . attention for tokens from..count-1 of that batch. */
int attention_add(RefState *s, uint32_t layer, uint32_t first, size_t from, size_t count,
                  Error *err) MUST_CHECK;

#endif
