/* bpe.h -- byte-pair merges: one piece of text to ids. */
#ifndef RECAST_RUNNER_BPE_H
#define RECAST_RUNNER_BPE_H

#include "runner/tokenizer.h"

typedef struct Bpe Bpe;

/* The table of pairs, in the arena. Immutable afterwards. */
int bpe_open(Bpe **out, const Vocab *vocab, Arena *arena, Error *err) MUST_CHECK;

/* Memory that is used again from piece to piece; one for each call of encode. */
typedef struct BpeWork {
    uint32_t *ids, *previous, *next; /* symbols: a linked list over the bytes of the piece */
    size_t capacity;
    uint64_t *heap;
    size_t heap_count, heap_capacity;
    const Allocator *allocator;
} BpeWork;

void bpe_work_init(BpeWork *w, const Allocator *allocator);
void bpe_work_free(BpeWork *w);
/* Appends the ids of `length` bytes. n log n in the length; no recursion. */
int bpe_encode(const Bpe *bpe, BpeWork *w, const char *piece, size_t length, Tokens *out,
               Error *err) MUST_CHECK;

/* The byte-level alphabet: bytes that print stand for themselves, the other 68 for U+0100 and up, in order.
 */
uint32_t byte_level_code_point(unsigned char byte);
int byte_level_byte(uint32_t code_point); /* -1 if it stands for none */

#endif
