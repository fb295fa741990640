/* text_stream.h -- the text of a generation as it comes: never half a character, never part of a stop string.
 *
 * Bytes go in token by token; what is sure to be shown comes out. A stop string may begin and end anywhere,
 * across tokens and inside them: its possible beginning is held back until it is clear what it is. The stop
 * string itself and what follows it never come out. */
#ifndef RECAST_RUNNER_TEXT_STREAM_H
#define RECAST_RUNNER_TEXT_STREAM_H

#include "core/buffer.h"

typedef struct TextStream TextStream;

/* stops are borrowed. ERR_USAGE for an empty one. Caller closes. */
int text_stream_open(TextStream **out, const char *const *stops, size_t n_stops, const Allocator *allocator,
                     Error *err) MUST_CHECK;
void text_stream_close(TextStream *s); /* NULL-safe */
/* Takes bytes and appends to `ready` those that are sure to be shown; nothing once it has stopped. */
int text_stream_add(TextStream *s, const char *bytes, size_t length, Buffer *ready, Error *err) MUST_CHECK;
/* Has a stop string been seen? */
bool text_stream_stopped(const TextStream *s);
/* The end of the generation: appends what was held back, unless a stop string was seen. */
int text_stream_finish(TextStream *s, Buffer *ready, Error *err) MUST_CHECK;

#endif
