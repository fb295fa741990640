/* memory.h -- the allocation hook, the arena, and sizes that can't overflow.
 *
 * Every object that owns memory is opened with a `const Allocator *` (NULL: malloc). Tests pass one that
 * fails at the n-th request. Most modules own one Arena per open file or model and free nothing singly. */
#ifndef RECAST_CORE_MEMORY_H
#define RECAST_CORE_MEMORY_H

#include "core/error.h"
#include <stddef.h>

typedef struct Allocator {
    /* resize(context, NULL, n) allocates, (context, p, 0) frees and returns NULL, else resizes; NULL on
     * failure. */
    void *(*resize)(void *context, void *pointer, size_t size);
    void *context;
} Allocator;

/* Uninitialised memory of `size` bytes (size 0 gives a valid pointer), or NULL. allocator may be NULL. */
void *mem_alloc(const Allocator *allocator, size_t size);
void *mem_resize(const Allocator *allocator, void *pointer, size_t size);
void mem_free(const Allocator *allocator, void *pointer); /* NULL-safe */

/* Sizes: false when the result does not fit. */
bool size_add(size_t *out, size_t a, size_t b);
bool size_mul(size_t *out, size_t a, size_t b);
bool u64_add(uint64_t *out, uint64_t a, uint64_t b);
bool u64_mul(uint64_t *out, uint64_t a, uint64_t b);
/* n rounded up to a multiple of a power of two; false on overflow. */
bool u64_align(uint64_t *out, uint64_t n, uint64_t alignment);

/* An arena: memory that lives and dies together. Not thread-safe. */
typedef struct Arena Arena;
int arena_open(Arena **out, const Allocator *allocator, Error *err) MUST_CHECK;
void arena_close(Arena *arena); /* NULL-safe; every pointer from it dies */
/* Zeroed memory aligned for any object; NULL on failure (size overflow included: count * size). */
void *arena_alloc(Arena *arena, size_t count, size_t size);
char *arena_copy(Arena *arena, const char *bytes, size_t length); /* length bytes plus NUL; NULL on failure */
char *arena_string(Arena *arena, const char *string);
char *arena_printf(Arena *arena, const char *format, ...) ERROR_PRINTF(2, 3);
/* Fills err with ERR_MEMORY and what was being done ("the tensor table of x.gguf"); returns the code. */
int error_memory(Error *err, const char *what);

#endif
