/* bpe_private.h -- what bpe.c, bpe_heap.c and bpe_ranks.c share. */
#ifndef RECAST_RUNNER_BPE_PRIVATE_H
#define RECAST_RUNNER_BPE_PRIVATE_H

#include "runner/bpe.h"

/* no symbol, no rank, no token; above every real one (VOCAB_LIMIT is 2^24) */
enum { NONE = UINT32_MAX >> 1 };

/* Bytes. Up to SHORT_PIECE the array wins, from LONG_PIECE on the lists (measured on the Qwen3 tokenizer). */
enum { SHORT_PIECE = 48, LONG_PIECE = 512 };

enum { BITS_A_SLOT = 4 };

typedef struct PairSlot {
    uint32_t left, right, rank; /* NONE: free */
} PairSlot;

struct Bpe {
    PairSlot *slots;
    size_t mask; /* slots - 1, a power of two less one; at most half of them are taken */
    uint64_t *filter;
    size_t filter_mask;
    const TokenMerge *merges; /* by rank; the vocabulary's */
    uint32_t n_merges;
    bool ordered;           /* every merge ranks behind all merges that make its parts */
    uint32_t byte_ids[256]; /* NONE: the vocabulary lacks the byte, and it is dropped, as Hugging Face does */
};

/* The rank of a pair, or NONE. */
uint32_t bpe_rank(const Bpe *bpe, uint32_t left, uint32_t right);
void bpe_merge(const Bpe *bpe, Symbol *symbols, uint32_t at, uint32_t rank);
/* All merges of w->symbols[0 .. n), a linked list from 0 with its ranks. By rank: only if bpe->ordered. */
int bpe_merge_by_heap(const Bpe *bpe, BpeWork *w, uint32_t n, Error *err) MUST_CHECK;
int bpe_merge_by_rank(const Bpe *bpe, BpeWork *w, uint32_t n, Error *err) MUST_CHECK;

#endif
