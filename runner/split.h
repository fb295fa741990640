/* split.h -- Qwen's split pattern, by hand: where one piece of normalised text ends and the next begins. */
#ifndef RECAST_RUNNER_SPLIT_H
#define RECAST_RUNNER_SPLIT_H

#include <stddef.h>

/* The end of the piece that begins at `at` (< length) in valid UTF-8. Reads to the right only, so pieces may
 * be cut off one after the other; over a whole text that is linear. */
size_t split_piece(const char *text, size_t length, size_t at);

#endif
