/* logits_hash.h -- SHA-256 over the logits of a generation (docs/arithmetic.md, section 10), beside the
 * forward pass.
 *
 * A vocabulary of 151,936 is 608 KB a token, which takes some 0.35 ms to hash: a tenth and more of a token on
 * a GPU. So a thread of its own hashes a copy while the next token is computed. */
#ifndef RECAST_RUNNER_LOGITS_HASH_H
#define RECAST_RUNNER_LOGITS_HASH_H

#include "core/memory.h"
#include "core/sha256.h"

typedef struct LogitsHash LogitsHash;

/* Over rows of n_vocab floats; caller closes. If no thread can be made, rows are hashed when they are added.
 * Errors: ERR_MEMORY. */
int logits_hash_open(LogitsHash **out, size_t n_vocab, const Allocator *allocator, Error *err) MUST_CHECK;
void logits_hash_close(LogitsHash *h); /* NULL-safe; waits for the thread */
/* Copies a row and returns, or waits first until the row before it is hashed. */
void logits_hash_add(LogitsHash *h, const float *logits);
/* The hash of all rows so far, little-endian; the next row begins another. */
void logits_hash_finish(LogitsHash *h, char hex[SHA256_HEX]);

#endif
