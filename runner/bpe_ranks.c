/* bpe_ranks.c -- merges of a long piece in linear time: a list of candidates for each rank, in blocks.
 *
 * It holds for a vocabulary whose merges are ordered: a merge of rank r then only makes pairs of higher
 * ranks, so one walk up the ranks meets all. Within a rank the order is free, for occurrences of a pair of
 * two different tokens never overlap; where both are the same, a run of them is merged from its left end.
 * Candidates are dropped late, as in bpe_heap.c: at most three for each symbol ever come up.
 *
 * A bit for each rank says whether its list holds something, and a bit for each 64 of those. All of it is
 * empty again when a piece is done. */
#include "runner/bpe_private.h"

#include <string.h>

static int open_lists(const Bpe *bpe, BpeWork *w, Error *err) {
    if (w->bits) return 0;
    size_t words = bpe->n_merges / 64 + 1, above = words / 64 + 1;
    w->bits = mem_alloc(w->allocator, (words + above) * sizeof *w->bits);
    w->first = mem_alloc(w->allocator, (bpe->n_merges + (size_t)1) * sizeof *w->first);
    if (!w->bits || !w->first) return error_memory(err, "the merges of a text by rank");
    memset(w->bits, 0, (words + above) * sizeof *w->bits);
    w->above = w->bits + words;
    return 0;
}

/* The lowest rank that has candidates, from `rank` on; NONE if there is none. Its bits are cleared. */
static uint32_t take_rank(const Bpe *bpe, BpeWork *w, uint32_t rank) {
    size_t words = bpe->n_merges / 64 + 1, n_above = words / 64 + 1;
    for (size_t i = rank / 4096; i < n_above; i++) {
        if (!w->above[i]) continue;
        size_t word = 64 * i + (size_t)__builtin_ctzll(w->above[i]);
        uint32_t found = (uint32_t)(64 * word) + (uint32_t)__builtin_ctzll(w->bits[word]);
        w->bits[word] &= w->bits[word] - 1;
        if (!w->bits[word]) w->above[i] &= w->above[i] - 1;
        return found;
    }
    return NONE;
}

static int take_block(BpeWork *w, uint32_t *out, Error *err) {
    if (w->free != NONE) {
        *out = w->free;
        w->free = w->blocks[*out].next;
        return 0;
    }
    if (w->n_blocks == w->blocks_capacity) {
        size_t capacity = w->n_blocks ? 2 * w->n_blocks : 128;
        CandidateBlock *memory = mem_resize(w->allocator, w->blocks, capacity * sizeof *memory);
        if (!memory) return error_memory(err, "the merges of a text");
        w->blocks = memory;
        w->blocks_capacity = capacity;
    }
    *out = (uint32_t)w->n_blocks++;
    return 0;
}

static int push(BpeWork *w, uint32_t at, Error *err) {
    if (at == NONE || w->symbols[at].rank == NONE) return 0;
    uint32_t rank = w->symbols[at].rank;
    uint64_t bit = (uint64_t)1 << rank % 64;
    bool used = w->bits[rank / 64] & bit;
    if (!used || w->blocks[w->first[rank]].count == CANDIDATES) {
        uint32_t block = NONE;
        TRY(take_block(w, &block, err));
        w->blocks[block].next = used ? w->first[rank] : NONE;
        w->blocks[block].count = 0;
        w->first[rank] = block;
        w->bits[rank / 64] |= bit;
        w->above[rank / 4096] |= (uint64_t)1 << rank / 64 % 64;
    }
    CandidateBlock *block = &w->blocks[w->first[rank]];
    block->at[block->count++] = at;
    w->steps++;
    return 0;
}

static int merge(const Bpe *bpe, BpeWork *w, uint32_t at, uint32_t rank, Error *err) {
    bpe_merge(bpe, w->symbols, at, rank);
    TRY(push(w, w->symbols[at].previous, err));
    return push(w, at, err);
}

/* A run of one token, in which `at` lies: two by two from its left end. All pairs in it have this rank, so
 * each run is walked once. */
static int merge_run(const Bpe *bpe, BpeWork *w, uint32_t at, uint32_t rank, Error *err) {
    const Symbol *symbols = w->symbols;
    while (symbols[at].previous != NONE && symbols[symbols[at].previous].rank == rank) {
        at = symbols[at].previous;
        w->steps++;
    }
    for (; at != NONE && symbols[at].rank == rank; at = symbols[at].next) TRY(merge(bpe, w, at, rank, err));
    return 0;
}

/* Merging makes no candidates of this rank, so its blocks stay as they are; but w->blocks may move. */
static int merge_rank(const Bpe *bpe, BpeWork *w, uint32_t rank, Error *err) {
    bool same = bpe->merges[rank].left == bpe->merges[rank].right;
    for (uint32_t i = w->first[rank]; i != NONE;) {
        CandidateBlock block = w->blocks[i];
        /* They lie anywhere in megabytes: wait for all at once, not for one after the other. */
        for (uint32_t k = 0; k < block.count; k++) __builtin_prefetch(&w->symbols[block.at[k]]);
        for (uint32_t k = 0; k < block.count; k++) {
            uint32_t at = block.at[k];
            if (w->symbols[at].rank != rank) continue;
            TRY(same ? merge_run(bpe, w, at, rank, err) : merge(bpe, w, at, rank, err));
        }
        w->blocks[i].next = w->free;
        w->free = i;
        i = block.next;
    }
    return 0;
}

int bpe_merge_by_rank(const Bpe *bpe, BpeWork *w, uint32_t n, Error *err) {
    TRY(open_lists(bpe, w, err));
    w->n_blocks = 0;
    w->free = NONE;
    for (uint32_t at = 0; at < n; at++) TRY(push(w, at, err));
    for (uint32_t rank = take_rank(bpe, w, 0); rank != NONE; rank = take_rank(bpe, w, rank + 1)) {
        TRY(merge_rank(bpe, w, rank, err));
    }
    return 0;
}
