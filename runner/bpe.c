/* bpe.c -- merges by rank, lowest first, ties from the left: a heap of candidate pairs over a linked list of
 * symbols.
 *
 * A candidate is rank and position in one integer. It is not removed when one of its symbols is merged away;
 * when it comes up, the pair that stands at its position now has another rank (or none), and it is dropped.
 */
#include "runner/bpe.h"

#include "core/utf8.h"
#include <string.h>

enum {
    NONE = UINT32_MAX >> 1
}; /* no symbol, no rank, no token; above every real one (VOCAB_LIMIT is 2^24) */

typedef struct PairSlot {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank; /* NONE: free */
    uint32_t result;
} PairSlot;

struct Bpe {
    PairSlot *slots;
    size_t mask;            /* slots - 1, a power of two less one; at most half of them are taken */
    uint32_t byte_ids[256]; /* NONE: the vocabulary lacks the byte, and it is dropped, as Hugging Face does */
};

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

static PairSlot *find_slot(const Bpe *bpe, uint64_t pair) {
    uint64_t h = (pair ^ pair >> 32) * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h >> 20) & bpe->mask;
    while (bpe->slots[i].rank != NONE && bpe->slots[i].pair != pair) i = (i + 1) & bpe->mask;
    return &bpe->slots[i];
}

static uint64_t pair_of(uint32_t left, uint32_t right) {
    return (uint64_t)left << 32 | right;
}

int bpe_open(Bpe **out, const Vocab *vocab, Arena *arena, Error *err) {
    *out = NULL;
    size_t capacity = 16;
    while (capacity < 2 * (size_t)vocab->n_merges) capacity *= 2;
    Bpe *bpe = arena_alloc(arena, 1, sizeof *bpe);
    if (!bpe) return error_memory(err, "the table of merges");
    bpe->slots = arena_alloc(arena, capacity, sizeof *bpe->slots);
    if (!bpe->slots) return error_memory(err, "the table of merges");
    bpe->mask = capacity - 1;
    for (size_t i = 0; i < capacity; i++) bpe->slots[i].rank = NONE;
    for (uint32_t rank = 0; rank < vocab->n_merges; rank++) {
        const TokenMerge *merge = &vocab->merge_ids[rank];
        uint64_t pair = pair_of(merge->left, merge->right);
        *find_slot(bpe, pair) = (PairSlot){pair, rank, merge->result};
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[4];
        uint64_t id;
        size_t size = utf8_encode(text, byte_level_code_point((unsigned char)byte));
        bpe->byte_ids[byte] = table_get(vocab->ids, text, size, &id) ? (uint32_t)id : NONE;
    }
    *out = bpe;
    return 0;
}

/* ---- the heap: smallest first ---- */

static int heap_push(BpeWork *w, uint64_t item, Error *err) {
    if (w->heap_count == w->heap_capacity) {
        size_t capacity = w->heap_capacity ? 2 * w->heap_capacity : 256;
        uint64_t *heap = mem_resize(w->allocator, w->heap, capacity * sizeof *heap);
        if (!heap) return error_memory(err, "the merges of a text");
        w->heap = heap;
        w->heap_capacity = capacity;
    }
    size_t at = w->heap_count++;
    while (at > 0 && w->heap[(at - 1) / 2] > item) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = item;
    return 0;
}

static uint64_t heap_pop(BpeWork *w) {
    uint64_t top = w->heap[0], item = w->heap[--w->heap_count];
    size_t at = 0, n = w->heap_count;
    for (size_t child = 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && w->heap[child + 1] < w->heap[child]) child++;
        if (w->heap[child] >= item) break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = item;
    return top;
}

/* ---- a piece ---- */

void bpe_work_init(BpeWork *w, const Allocator *allocator) {
    *w = (BpeWork){.allocator = allocator};
}

void bpe_work_free(BpeWork *w) {
    mem_free(w->allocator, w->ids);
    mem_free(w->allocator, w->heap);
}

static int reserve_symbols(BpeWork *w, size_t n, Error *err) {
    if (n >= NONE) {
        return error_set(err, ERR_LIMIT, "a word of %zu bytes; at most %u are tokenized", n,
                         (unsigned)NONE - 1);
    }
    if (n <= w->capacity) return 0;
    size_t capacity = n < 256 ? 256 : n + n / 2;
    uint32_t *memory = mem_resize(w->allocator, w->ids, 3 * capacity * sizeof *memory);
    if (!memory) return error_memory(err, "the symbols of a text");
    w->ids = memory;
    w->previous = memory + capacity;
    w->next = memory + 2 * capacity;
    w->capacity = capacity;
    return 0;
}

static int push_candidate(const Bpe *bpe, BpeWork *w, uint32_t at, Error *err) {
    if (at == NONE || w->next[at] == NONE) return 0;
    uint32_t rank = find_slot(bpe, pair_of(w->ids[at], w->ids[w->next[at]]))->rank;
    return rank == NONE ? 0 : heap_push(w, (uint64_t)rank << 32 | at, err);
}

static int merge_all(const Bpe *bpe, BpeWork *w, Error *err) {
    while (w->heap_count) {
        uint64_t top = heap_pop(w);
        uint32_t at = (uint32_t)top, right = w->next[at];
        if (w->ids[at] == NONE || right == NONE) continue;
        const PairSlot *slot = find_slot(bpe, pair_of(w->ids[at], w->ids[right]));
        if (slot->rank != top >> 32) continue;
        w->ids[at] = slot->result;
        w->ids[right] = NONE;
        w->next[at] = w->next[right];
        if (w->next[at] != NONE) w->previous[w->next[at]] = at;
        TRY(push_candidate(bpe, w, w->previous[at], err));
        TRY(push_candidate(bpe, w, at, err));
    }
    return 0;
}

int bpe_encode(const Bpe *bpe, BpeWork *w, const char *piece, size_t length, Tokens *out, Error *err) {
    TRY(reserve_symbols(w, length, err));
    uint32_t n = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t id = bpe->byte_ids[(unsigned char)piece[i]];
        if (id == NONE) continue;
        w->ids[n] = id;
        w->previous[n] = n ? n - 1 : NONE;
        w->next[n] = n + 1;
        n++;
    }
    if (n == 0) return 0;
    w->next[n - 1] = NONE;
    w->heap_count = 0;
    for (uint32_t at = 0; at + 1 < n; at++) TRY(push_candidate(bpe, w, at, err));
    TRY(merge_all(bpe, w, err));
    for (uint32_t at = 0; at != NONE; at = w->next[at]) TRY(tokens_push(out, w->ids[at], err));
    return 0;
}
