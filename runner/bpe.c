/* bpe.c -- the table of merges, and which way a piece is merged: lowest rank first, ties from the left.
 *
 * Three ways to the same ids. A word of a few bytes is an array whose lowest rank is looked for anew each
 * time. A longer piece is a linked list with a heap of candidates (bpe_heap.c); a long one, where the heap is
 * slow, with a list of candidates for each rank (bpe_ranks.c). */
#include "runner/bpe_private.h"

#include "core/utf8.h"
#include <string.h>

/* ---- the byte-level alphabet (GPT-2's) ---- */

static bool stands_for_itself(uint32_t c) {
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

/* The 68 others, in order: 00 to 20, 7F to A0, AD. */
uint32_t byte_level_code_point(unsigned char byte) {
    if (stands_for_itself(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xAD ? 0x143 : 0x121u + (byte - 0x7Fu);
}

int byte_level_byte(uint32_t c) {
    if (stands_for_itself(c)) return (int)c;
    if (c >= 0x100 && c <= 0x120) return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142) return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

/* ---- pairs ---- */

static PairSlot *find_slot(const Bpe *bpe, uint32_t left, uint32_t right, uint64_t hash) {
    size_t i = (size_t)(hash >> 20) & bpe->mask;
    while (bpe->slots[i].rank != NONE && (bpe->slots[i].left != left || bpe->slots[i].right != right)) {
        i = (i + 1) & bpe->mask;
    }
    return &bpe->slots[i];
}

static uint64_t hash_pair(uint32_t left, uint32_t right) {
    return (left * (uint64_t)0x9E3779B97F4A7C15u) ^ (right * (uint64_t)0xC2B2AE3D27D4EB4Fu);
}

/* Most pairs that come up are no merge. A bit for each hash says so from memory that stays close; the table
 * itself is megabytes. */
uint32_t bpe_rank(const Bpe *bpe, uint32_t left, uint32_t right) {
    uint64_t hash = hash_pair(left, right);
    size_t bit = (size_t)(hash >> 24) & bpe->filter_mask;
    if (!(bpe->filter[bit / 64] >> bit % 64 & 1)) return NONE;
    return find_slot(bpe, left, right, hash)->rank;
}

static int open_pairs(Bpe *bpe, const Vocab *vocab, Arena *arena, Error *err) {
    size_t capacity = 64;
    while (capacity < 2 * (size_t)vocab->n_merges) capacity *= 2;
    bpe->slots = arena_alloc(arena, capacity, sizeof *bpe->slots);
    bpe->filter = arena_alloc(arena, capacity * BITS_A_SLOT / 64, sizeof *bpe->filter);
    if (!bpe->slots || !bpe->filter) return error_memory(err, "the table of merges");
    bpe->mask = capacity - 1;
    bpe->filter_mask = capacity * BITS_A_SLOT - 1;
    bpe->merges = vocab->merge_ids;
    bpe->n_merges = vocab->n_merges;
    for (size_t i = 0; i < capacity; i++) bpe->slots[i].rank = NONE;
    for (uint32_t rank = 0; rank < vocab->n_merges; rank++) {
        const TokenMerge *merge = &vocab->merge_ids[rank];
        uint64_t hash = hash_pair(merge->left, merge->right);
        size_t bit = (size_t)(hash >> 24) & bpe->filter_mask;
        *find_slot(bpe, merge->left, merge->right, hash) = (PairSlot){merge->left, merge->right, rank};
        bpe->filter[bit / 64] |= (uint64_t)1 << bit % 64;
    }
    return 0;
}

/* Does every merge come behind all that make its parts? So it is where merges were learned one after the
 * other. A file may say otherwise. */
static int find_order(Bpe *bpe, const Vocab *vocab, Arena *arena, Error *err) {
    uint32_t *made = arena_alloc(arena, vocab->n_tokens, sizeof *made); /* 1 + the last rank that makes it */
    if (!made) return error_memory(err, "the order of merges");
    for (uint32_t rank = 0; rank < vocab->n_merges; rank++) made[vocab->merge_ids[rank].result] = rank + 1;
    bpe->ordered = true;
    for (uint32_t rank = 0; rank < vocab->n_merges; rank++) {
        const TokenMerge *merge = &vocab->merge_ids[rank];
        if (made[merge->left] > rank || made[merge->right] > rank) bpe->ordered = false;
    }
    return 0;
}

int bpe_open(Bpe **out, const Vocab *vocab, Arena *arena, Error *err) {
    *out = NULL;
    Bpe *bpe = arena_alloc(arena, 1, sizeof *bpe);
    if (!bpe) return error_memory(err, "the table of merges");
    TRY(open_pairs(bpe, vocab, arena, err));
    TRY(find_order(bpe, vocab, arena, err));
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[4];
        uint64_t id;
        size_t size = utf8_encode(text, byte_level_code_point((unsigned char)byte));
        bpe->byte_ids[byte] = table_get(vocab->ids, text, size, &id) ? (uint32_t)id : NONE;
    }
    *out = bpe;
    return 0;
}

/* ---- a piece ---- */

void bpe_work_init(BpeWork *w, const Allocator *allocator) {
    *w = (BpeWork){.allocator = allocator};
}

void bpe_work_free(BpeWork *w) {
    mem_free(w->allocator, w->symbols);
    mem_free(w->allocator, w->heap);
    mem_free(w->allocator, w->bits);
    mem_free(w->allocator, w->first);
    mem_free(w->allocator, w->blocks);
}

/* The merge of rank r at symbol `at`: its right neighbour leaves the list, and the two pairs that it was part
 * of get their new ranks. */
void bpe_merge(const Bpe *bpe, Symbol *symbols, uint32_t at, uint32_t rank) {
    Symbol *s = &symbols[at], *right = &symbols[s->next];
    s->id = bpe->merges[rank].result;
    s->next = right->next;
    right->rank = NONE;
    s->rank = NONE;
    if (s->next != NONE) {
        symbols[s->next].previous = at;
        s->rank = bpe_rank(bpe, s->id, symbols[s->next].id);
    }
    if (s->previous != NONE) {
        Symbol *previous = &symbols[s->previous];
        previous->rank = bpe_rank(bpe, previous->id, s->id);
    }
}

static int reserve_symbols(BpeWork *w, size_t n, Error *err) {
    if (n >= NONE) {
        return error_set(err, ERR_LIMIT, "a word of %zu bytes; at most %u are tokenized", n,
                         (unsigned)NONE - 1);
    }
    if (n <= w->capacity) return 0;
    size_t capacity = n < 256 ? 256 : n + n / 2;
    Symbol *symbols = mem_resize(w->allocator, w->symbols, capacity * sizeof *symbols);
    if (!symbols) return error_memory(err, "the symbols of a text");
    w->symbols = symbols;
    w->capacity = capacity;
    return 0;
}

/* The bytes as a linked list; returns how many have a token. */
static uint32_t link_symbols(const Bpe *bpe, Symbol *symbols, const char *piece, size_t length) {
    uint32_t n = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t id = bpe->byte_ids[(unsigned char)piece[i]];
        if (id == NONE) continue;
        symbols[n] = (Symbol){id, n + 1, n ? n - 1 : NONE, NONE};
        if (n) symbols[n - 1].rank = bpe_rank(bpe, symbols[n - 1].id, id);
        n++;
    }
    if (n) symbols[n - 1].next = NONE;
    return n;
}

int bpe_encode_long(const Bpe *bpe, BpeWork *w, const char *piece, size_t length, bool by_rank, Tokens *out,
                    Error *err) {
    TRY(reserve_symbols(w, length, err));
    uint32_t n = link_symbols(bpe, w->symbols, piece, length);
    if (n == 0) return 0;
    TRY(by_rank && bpe->ordered ? bpe_merge_by_rank(bpe, w, n, err) : bpe_merge_by_heap(bpe, w, n, err));
    for (uint32_t at = 0; at != NONE; at = w->symbols[at].next) TRY(tokens_push(out, w->symbols[at].id, err));
    return 0;
}

/* ---- a short piece ---- */

/* ranks[i]: of the pair i, i + 1. Rank and place are compared as one number, without a branch that would be
 * guessed wrong. */
static size_t merge_short(const Bpe *bpe, uint32_t *ids, uint32_t *ranks, size_t n) {
    while (n > 1) {
        uint64_t lowest = UINT64_MAX;
        for (size_t i = 0; i + 1 < n; i++) {
            uint64_t item = (uint64_t)ranks[i] << 32 | i;
            lowest = item < lowest ? item : lowest;
        }
        uint32_t rank = (uint32_t)(lowest >> 32);
        size_t at = (uint32_t)lowest;
        if (rank == NONE) break;
        n--;
        ids[at] = bpe->merges[rank].result;
        for (size_t i = at + 1; i < n; i++) ids[i] = ids[i + 1];
        for (size_t i = at; i + 1 < n; i++) ranks[i] = ranks[i + 1];
        if (at + 1 < n) ranks[at] = bpe_rank(bpe, ids[at], ids[at + 1]);
        if (at > 0) ranks[at - 1] = bpe_rank(bpe, ids[at - 1], ids[at]);
    }
    return n;
}

int bpe_encode(const Bpe *bpe, BpeWork *w, const char *piece, size_t length, Tokens *out, Error *err) {
    uint32_t ids[SHORT_PIECE], ranks[SHORT_PIECE];
    size_t n = 0;
    if (length > SHORT_PIECE) {
        return bpe_encode_long(bpe, w, piece, length, length >= LONG_PIECE, out, err);
    }
    for (size_t i = 0; i < length; i++) {
        uint32_t id = bpe->byte_ids[(unsigned char)piece[i]];
        if (id == NONE) continue;
        ids[n] = id;
        if (n) ranks[n - 1] = bpe_rank(bpe, ids[n - 1], id);
        n++;
    }
    return tokens_append(out, ids, merge_short(bpe, ids, ranks, n), err);
}
