/* bpe_heap.c -- merges with a heap of candidates.
 *
 * A candidate is rank and position in one integer, so the smallest is the leftmost of the lowest rank. It is
 * not removed when its pair changes; when it comes up, its symbol has another rank, and it is dropped. */
#include "runner/bpe_private.h"

static int push(BpeWork *w, uint32_t at, Error *err) {
    if (at == NONE || w->symbols[at].rank == NONE) return 0;
    uint64_t item = (uint64_t)w->symbols[at].rank << 32 | at;
    if (w->heap_count == w->heap_capacity) {
        size_t capacity = w->heap_capacity ? 2 * w->heap_capacity : 256;
        uint64_t *heap = mem_resize(w->allocator, w->heap, capacity * sizeof *heap);
        if (!heap) return error_memory(err, "the merges of a text");
        w->heap = heap;
        w->heap_capacity = capacity;
    }
    size_t i = w->heap_count++;
    while (i > 0 && w->heap[(i - 1) / 2] > item) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = item;
    w->steps++;
    return 0;
}

static uint64_t pop(BpeWork *w) {
    uint64_t top = w->heap[0], item = w->heap[--w->heap_count];
    size_t i = 0, n = w->heap_count;
    for (size_t child = 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && w->heap[child + 1] < w->heap[child]) child++;
        if (w->heap[child] >= item) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = item;
    return top;
}

int bpe_merge_by_heap(const Bpe *bpe, BpeWork *w, uint32_t n, Error *err) {
    w->heap_count = 0;
    for (uint32_t at = 0; at < n; at++) TRY(push(w, at, err));
    while (w->heap_count) {
        uint64_t top = pop(w);
        uint32_t at = (uint32_t)top, rank = (uint32_t)(top >> 32);
        if (w->symbols[at].rank != rank) continue;
        bpe_merge(bpe, w->symbols, at, rank);
        TRY(push(w, w->symbols[at].previous, err));
        TRY(push(w, at, err));
    }
    return 0;
}
