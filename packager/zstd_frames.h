/* zstd_frames.h -- the frames of a stream that has a seek table (zstd_stream.h), decoded ahead of their
 * reader by several threads.
 *
 * Nothing is believed: a frame is handed out only if it is one whole frame of exactly the length, the size
 * and the checksum that table and frame agree on. At the first that is not, or that is too large, the reader
 * is told from where to go on by itself, and finds there what it would have found without threads. */
#ifndef RECAST_PACKAGER_ZSTD_FRAMES_H
#define RECAST_PACKAGER_ZSTD_FRAMES_H

#include "core/input.h"

/* Threads that decode beside the one that reads: what they make must be hashed by one thread, which has
 * enough to do with that many. Each holds a decoded frame, at most ZSTD_FRAME_BYTES, and zstd's window, at
 * most 2^ZSTD_WINDOW_LOG bytes (and some 2 MB); one more decoded frame is with the reader. */
enum { ZSTD_MOST_DECODERS = 4 };

typedef struct ZstdFrames ZstdFrames;
/* threads: all of them, the reader included; 0: one a processor. *out is NULL, without an error, where there
 * is nothing to gain: one thread, no seek table that fits the file, or less than two frames. Borrows `in`.
 * Errors: ERR_IO, ERR_MEMORY. */
int zstd_frames_open(ZstdFrames **out, const Input *in, unsigned threads, Error *err) MUST_CHECK;
void zstd_frames_close(ZstdFrames *f); /* NULL-safe */
/* The next frame's bytes, which stay until the next call; waits for them. NULL: what is left begins at *at of
 * the file. */
const uint8_t *zstd_frames_next(ZstdFrames *f, size_t *length, uint64_t *at);

#endif
