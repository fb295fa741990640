/* bpe.h -- byte-pair merges: one piece of text to ids. */
#ifndef RECAST_RUNNER_BPE_H
#define RECAST_RUNNER_BPE_H

#include "runner/tokenizer.h"

typedef struct Bpe Bpe;

/* The table of pairs, in the arena. Immutable afterwards. */
int bpe_open(Bpe **out, const Vocab *vocab, Arena *arena, Error *err) MUST_CHECK;

/* A token at work. Its place is that of its first byte among those of the piece. */
typedef struct Symbol {
    uint32_t id, next, previous;
    uint32_t rank; /* of the merge with the next one */
} Symbol;

/* Places of symbols whose rank is the same: a line of a processor's cache. */
enum { CANDIDATES = 14 };
typedef struct CandidateBlock {
    uint32_t next, count, at[CANDIDATES];
} CandidateBlock;

/* Memory that is used again from piece to piece; one for each call of encode. After an error it can only be
 * freed. */
typedef struct BpeWork {
    Symbol *symbols;
    size_t capacity;
    uint64_t *heap; /* bpe_heap.c */
    size_t heap_count, heap_capacity;
    uint64_t *bits, *above; /* bpe_ranks.c: which ranks have candidates; one allocation */
    uint32_t *first;        /* of each rank; only where its bit is set */
    CandidateBlock *blocks;
    size_t n_blocks, blocks_capacity;
    uint32_t free;  /* the first block to be used again */
    uint64_t steps; /* candidates put up and symbols walked over, in long pieces: what the time goes with */
    const Allocator *allocator;
} BpeWork;

void bpe_work_init(BpeWork *w, const Allocator *allocator);
void bpe_work_free(BpeWork *w);
/* Appends the ids of `length` bytes. Linear in the length if merges are ordered as they were learned, as in
 * every trained vocabulary, else n log n; no recursion. */
int bpe_encode(const Bpe *bpe, BpeWork *w, const char *piece, size_t length, Tokens *out,
               Error *err) MUST_CHECK;
/* The same for a piece of any length, never by the way for short ones. by_rank false: by the heap. For
 * tests. */
int bpe_encode_long(const Bpe *bpe, BpeWork *w, const char *piece, size_t length, bool by_rank, Tokens *out,
                    Error *err) MUST_CHECK;

/* The byte-level alphabet: bytes that print stand for themselves, the other 68 for U+0100 and up, in order.
 */
uint32_t byte_level_code_point(unsigned char byte);
int byte_level_byte(uint32_t code_point); /* -1 if it stands for none */

#endif
