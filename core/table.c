/* table.c -- names to numbers, by open addressing with linear probing.
 *
 * Keys come from files that may be hostile, so each table has its own random seed: nobody can prepare a
 * million names that fall on one slot. Nothing iterates over a table, so the seed shows in no output. */
#include "core/table.h"
#include <string.h>
#include <sys/random.h>

/* The hint may be a count out of a file: never allocate more than this on its word alone. */
enum { SMALLEST = 16, LARGEST_HINT = 1 << 20 };

typedef struct Slot {
    const char *key; /* NULL: free */
    size_t length;
    uint64_t hash;
    uint64_t value;
} Slot;

struct Table {
    Arena *arena;
    Slot *slots;
    size_t capacity; /* a power of two, at most three quarters full */
    size_t count;
    uint64_t seed;
};

/* FNV-1a leaves the low bits weak for short keys; the finaliser is MurmurHash3's fmix64. */
static uint64_t hash_of(const Table *t, const char *key, size_t length) {
    uint64_t h = 0xCBF29CE484222325u ^ t->seed;
    for (size_t i = 0; i < length; i++) h = (h ^ (unsigned char)key[i]) * 0x100000001B3u;
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDu;
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53u;
    return h ^ h >> 33;
}

/* The slot that holds the key, or the free slot where it would go. */
static Slot *find(const Table *t, const char *key, size_t length, uint64_t hash) {
    size_t i = (size_t)hash & (t->capacity - 1);
    for (;;) {
        Slot *slot = &t->slots[i];
        if (!slot->key) return slot;
        if (slot->hash == hash && slot->length == length && memcmp(slot->key, key, length) == 0) return slot;
        i = (i + 1) & (t->capacity - 1);
    }
}

int table_open(Table **out, Arena *arena, size_t expected, Error *err) {
    *out = NULL;
    size_t hint = expected < LARGEST_HINT ? expected : LARGEST_HINT;
    size_t capacity = SMALLEST;
    while (capacity / 4 * 3 < hint) capacity *= 2;

    Table *t = arena_alloc(arena, 1, sizeof *t);
    Slot *slots = arena_alloc(arena, capacity, sizeof *slots);
    if (!t || !slots) return error_memory(err, "a table of names");
    t->arena = arena;
    t->slots = slots;
    t->capacity = capacity;
    if (getrandom(&t->seed, sizeof t->seed, GRND_NONBLOCK) != sizeof t->seed) {
        t->seed = (uint64_t)(uintptr_t)t; /* an address is less random, but no reason to fail */
    }
    *out = t;
    return 0;
}

/* The old slots stay in the arena: all of them together are smaller than the new ones. */
static bool grow(Table *t) {
    size_t capacity;
    if (!size_mul(&capacity, t->capacity, 2)) return false;
    Slot *slots = arena_alloc(t->arena, capacity, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < t->capacity; i++) {
        const Slot *slot = &t->slots[i];
        if (!slot->key) continue;
        size_t j = (size_t)slot->hash & (capacity - 1);
        while (slots[j].key) j = (j + 1) & (capacity - 1);
        slots[j] = *slot;
    }
    t->slots = slots;
    t->capacity = capacity;
    return true;
}

int table_put(Table *t, const char *key, size_t length, uint64_t value) {
    if (!key) key = ""; /* the empty key of an empty view */
    uint64_t hash = hash_of(t, key, length);
    Slot *slot = find(t, key, length, hash);
    if (slot->key) return -1;
    if (t->count >= t->capacity / 4 * 3) {
        if (!grow(t)) return ERR_MEMORY;
        slot = find(t, key, length, hash);
    }
    *slot = (Slot){key, length, hash, value};
    t->count++;
    return 0;
}

bool table_get(const Table *t, const char *key, size_t length, uint64_t *value) {
    if (!key) key = "";
    const Slot *slot = find(t, key, length, hash_of(t, key, length));
    if (!slot->key) return false;
    if (value) *value = slot->value;
    return true;
}

size_t table_count(const Table *t) {
    return t->count;
}
