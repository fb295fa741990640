/* piece_cache.c -- a direct-mapped cache: one slot for each hash. */
#include "runner/piece_cache.h"

#include <string.h>

/* Measured: from 4096 to 16384 slots prose gains 15 % of speed, code and Hebrew 10 %; four times as many gain
 * 3 % more. */
enum { MIN_TEXT = 256, MIN_SLOTS = 16, MAX_SLOTS = 16384, BYTES_A_SLOT = 16 };

int piece_cache_open(PieceCache *cache, size_t length, const Allocator *allocator, Error *err) {
    *cache = (PieceCache){.allocator = allocator};
    if (length < MIN_TEXT) return 0;
    size_t n = MIN_SLOTS;
    while (n < MAX_SLOTS && n < length / BYTES_A_SLOT) n *= 2;
    cache->slots = mem_alloc(allocator, n * sizeof *cache->slots);
    if (!cache->slots) return error_memory(err, "the words of a text");
    memset(cache->slots, 0, n * sizeof *cache->slots);
    cache->mask = n - 1;
    return 0;
}

void piece_cache_close(PieceCache *cache) {
    mem_free(cache->allocator, cache->slots);
}

static size_t hash(const char key[PIECE_BYTES], size_t length) {
    uint64_t words[PIECE_BYTES / 8];
    memcpy(words, key, sizeof words);
    uint64_t h = length;
    for (size_t i = 0; i < PIECE_BYTES / 8; i++) h = (h ^ words[i] ^ h >> 29) * 0x9E3779B97F4A7C15u;
    return (size_t)(h >> 32);
}

CachedPiece *piece_cache_slot(PieceCache *cache, const char *text, size_t length, bool *found) {
    char key[PIECE_BYTES] = {0};
    *found = false;
    if (!cache->slots || length > sizeof key) return NULL;
    memcpy(key, text, length);
    CachedPiece *slot = &cache->slots[hash(key, length) & cache->mask];
    *found = slot->length == length && memcmp(slot->text, key, sizeof key) == 0;
    memcpy(slot->text, key, sizeof key);
    slot->length = (uint8_t)length;
    return slot;
}
