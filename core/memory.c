/* memory.c -- the allocation hook, checked sizes, and the arena.
 *
 * The arena hands out slices of growing chunks and frees all of them at once. Under AddressSanitizer it
 * poisons what it hasn't handed out and leaves a gap behind every slice, so that an overrun inside an arena
 * is caught as well. */
#include "core/memory.h"
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_ARENAS 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define POISON_ARENAS 1
#endif
#ifdef POISON_ARENAS
#include <sanitizer/asan_interface.h>
enum { GAP = 16, TEXT_ALIGNMENT = 8 }; /* the sanitizer sees granules of 8 bytes */
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
enum { GAP = 0, TEXT_ALIGNMENT = 1 };
#endif

/* A first chunk that suits a small file; doubled up to a size where the cost of malloc has long vanished. */
enum { FIRST_CHUNK = 4096, LARGEST_CHUNK = 1 << 20 };

typedef struct Chunk {
    struct Chunk *next;
    size_t size, used; /* of bytes[] */
    alignas(max_align_t) unsigned char bytes[];
} Chunk;

struct Arena {
    const Allocator *allocator;
    Chunk *chunks; /* the first one is being filled */
    size_t next_size;
};

/* ---- the hook ---- */

void *mem_resize(const Allocator *allocator, void *pointer, size_t size) {
    if (size > PTRDIFF_MAX) return NULL;
    if (size == 0) size = 1;
    if (allocator) return allocator->resize(allocator->context, pointer, size);
    return realloc(pointer, size);
}

void *mem_alloc(const Allocator *allocator, size_t size) {
    return mem_resize(allocator, NULL, size);
}

void mem_free(const Allocator *allocator, void *pointer) {
    if (!pointer) return;
    if (allocator) {
        allocator->resize(allocator->context, pointer, 0);
    } else {
        free(pointer);
    }
}

/* ---- sizes ---- */

bool size_add(size_t *out, size_t a, size_t b) {
    return !__builtin_add_overflow(a, b, out);
}
bool size_mul(size_t *out, size_t a, size_t b) {
    return !__builtin_mul_overflow(a, b, out);
}
bool u64_add(uint64_t *out, uint64_t a, uint64_t b) {
    return !__builtin_add_overflow(a, b, out);
}
bool u64_mul(uint64_t *out, uint64_t a, uint64_t b) {
    return !__builtin_mul_overflow(a, b, out);
}

bool u64_align(uint64_t *out, uint64_t n, uint64_t alignment) {
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) return false;
    uint64_t sum;
    if (!u64_add(&sum, n, alignment - 1)) return false;
    *out = sum & ~(alignment - 1);
    return true;
}

/* ---- the arena ---- */

int arena_open(Arena **out, const Allocator *allocator, Error *err) {
    Arena *arena = mem_alloc(allocator, sizeof *arena);
    *out = arena;
    if (!arena) return error_memory(err, "an arena");
    *arena = (Arena){.allocator = allocator, .next_size = FIRST_CHUNK};
    return 0;
}

void arena_close(Arena *arena) {
    if (!arena) return;
    const Allocator *allocator = arena->allocator;
    for (Chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        ASAN_UNPOISON_MEMORY_REGION(chunk->bytes, chunk->size);
        mem_free(allocator, chunk);
    }
    mem_free(allocator, arena);
}

/* A new chunk with room for `size` bytes. A large request gets a chunk of its own, second in the list, so
 * that the chunk being filled goes on being filled. */
static Chunk *add_chunk(Arena *arena, size_t size) {
    size_t room = size > arena->next_size / 2 ? size : arena->next_size;
    size_t total;
    if (!size_add(&total, sizeof(Chunk), room)) return NULL;
    Chunk *chunk = mem_alloc(arena->allocator, total);
    if (!chunk) return NULL;
    chunk->size = room;
    chunk->used = 0;
    ASAN_POISON_MEMORY_REGION(chunk->bytes, room);
    if (room == size && arena->chunks) {
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
    } else {
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    if (room != size && arena->next_size < LARGEST_CHUNK) arena->next_size *= 2;
    return chunk;
}

static void *take(Arena *arena, size_t size, size_t alignment) {
    size_t with_gap;
    if (!size_add(&with_gap, size, GAP)) return NULL;
    Chunk *chunk = arena->chunks;
    size_t start = chunk ? (chunk->used + alignment - 1) & ~(alignment - 1) : 0;
    if (!chunk || start > chunk->size || with_gap > chunk->size - start) {
        chunk = add_chunk(arena, with_gap);
        if (!chunk) return NULL;
        start = 0;
    }
    chunk->used = start + with_gap;
    ASAN_UNPOISON_MEMORY_REGION(chunk->bytes + start, size);
    return chunk->bytes + start;
}

void *arena_alloc(Arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (!size_mul(&bytes, count, size)) return NULL;
    void *memory = take(arena, bytes ? bytes : 1, alignof(max_align_t));
    return memory ? memset(memory, 0, bytes) : NULL;
}

char *arena_copy(Arena *arena, const char *bytes, size_t length) {
    size_t size;
    if (!size_add(&size, length, 1)) return NULL;
    char *copy = take(arena, size, TEXT_ALIGNMENT);
    if (!copy) return NULL;
    if (length) memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

char *arena_string(Arena *arena, const char *string) {
    return arena_copy(arena, string, strlen(string));
}

char *arena_printf(Arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : take(arena, (size_t)n + 1, TEXT_ALIGNMENT);
    if (text) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

int error_memory(Error *err, const char *what) {
    return error_set(err, ERR_MEMORY, "not enough memory for %s", what);
}
