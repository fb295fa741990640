/* The allocation hook, sizes that can't overflow, and the arena, with every allocation failing once. */
#include "support.h"
#include <stdalign.h>

Test(core_memory, sizes) {
    size_t s;
    uint64_t u;
    cr_assert(size_add(&s, SIZE_MAX - 1, 1) && s == SIZE_MAX);
    cr_assert_not(size_add(&s, SIZE_MAX, 1));
    cr_assert(size_mul(&s, 3, 5) && s == 15);
    cr_assert_not(size_mul(&s, SIZE_MAX / 2 + 1, 2));
    cr_assert(u64_add(&u, UINT64_MAX, 0) && u == UINT64_MAX);
    cr_assert_not(u64_add(&u, UINT64_MAX, 1));
    cr_assert(u64_mul(&u, UINT64_C(1) << 32, UINT32_MAX));
    cr_assert_not(u64_mul(&u, UINT64_C(1) << 32, UINT64_C(1) << 32));
}

Test(core_memory, alignment_of_sizes) {
    uint64_t u;
    cr_assert(u64_align(&u, 0, 32) && u == 0);
    cr_assert(u64_align(&u, 1, 32) && u == 32);
    cr_assert(u64_align(&u, 32, 32) && u == 32);
    cr_assert(u64_align(&u, 33, 1) && u == 33);
    cr_assert(u64_align(&u, UINT64_MAX - 31, 32) && u == UINT64_MAX - 31);
    cr_assert_not(u64_align(&u, UINT64_MAX - 30, 32));
    cr_assert_not(u64_align(&u, 1, 0));
    cr_assert_not(u64_align(&u, 1, 24));
}

Test(core_memory, hook) {
    FailingAllocator f;
    failing_init(&f, 2);
    char *p = mem_alloc(&f.allocator, 0);
    cr_assert_not_null(p);
    p = mem_resize(&f.allocator, p, 100);
    cr_assert_not_null(p);
    cr_assert_null(mem_resize(&f.allocator, p, 200)); /* p lives on */
    p[99] = 1;
    mem_free(&f.allocator, p);
    mem_free(&f.allocator, NULL);
    cr_assert_eq(f.live, 0);
    cr_assert_null(mem_alloc(NULL, SIZE_MAX));
    p = mem_alloc(NULL, 0);
    cr_assert_not_null(p);
    mem_free(NULL, p);
}

Test(core_memory, arena_gives_zeroed_aligned_memory) {
    Arena *a;
    FailingAllocator f;
    failing_init(&f, SIZE_MAX);
    cr_assert_eq(arena_open(&a, &f.allocator, NULL), 0);
    unsigned char *last = NULL;
    for (size_t i = 0; i < 3000; i++) {
        size_t size = i % 97;
        unsigned char *p = arena_alloc(a, size, 1);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % alignof(max_align_t), 0);
        cr_assert_neq(p, last, "even an empty object has an address of its own");
        for (size_t j = 0; j < size; j++) cr_assert_eq(p[j], 0);
        memset(p, 0xFF, size);
        last = p;
    }
    unsigned char *big = arena_alloc(a, 1000, 7000);
    cr_assert_not_null(big);
    big[7000 * 1000 - 1] = 1;
    arena_close(a);
    arena_close(NULL);
}

Test(core_memory, arena_objects_do_not_overlap) {
    Arena *a;
    cr_assert_eq(arena_open(&a, NULL, NULL), 0);
    enum { N = 500 };
    char *text[N];
    uint64_t *number[N];
    for (unsigned i = 0; i < N; i++) {
        text[i] = arena_printf(a, "%0*u", (int)(i % 60) + 1, i); /* odd lengths between aligned objects */
        number[i] = arena_alloc(a, 1, sizeof *number[i]);
        *number[i] = i;
    }
    for (unsigned i = 0; i < N; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "%0*u", (int)(i % 60) + 1, i);
        cr_assert_str_eq(text[i], expected);
        cr_assert_eq(*number[i], i);
    }
    arena_close(a);
}

Test(core_memory, arena_refuses_sizes_that_overflow) {
    Arena *a;
    cr_assert_eq(arena_open(&a, NULL, NULL), 0);
    cr_assert_null(arena_alloc(a, SIZE_MAX / 2, 3));
    cr_assert_null(arena_alloc(a, 1, SIZE_MAX));
    cr_assert_null(arena_alloc(a, 1, SIZE_MAX - 40));
    cr_assert_null(arena_copy(a, "x", SIZE_MAX));
    cr_assert_not_null(arena_alloc(a, 1, 1), "it still works");
    arena_close(a);
}

Test(core_memory, arena_text) {
    Arena *a;
    cr_assert_eq(arena_open(&a, NULL, NULL), 0);
    char *copy = arena_copy(a, "a\0b", 3);
    cr_assert_eq(memcmp(copy, "a\0b", 4), 0);
    cr_assert_str_eq(arena_copy(a, NULL, 0), "");
    cr_assert_str_eq(arena_string(a, "word"), "word");
    cr_assert_str_eq(arena_printf(a, "%s-%05d", "x", 42), "x-00042");
    arena_close(a);
}

Test(core_memory, every_allocation_of_an_arena_may_fail) {
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        failing_init(&f, n);
        Arena *a;
        Error e = {0};
        int code = arena_open(&a, &f.allocator, &e);
        if (code) {
            cr_assert_eq(code, ERR_MEMORY);
            cr_assert_eq(e.code, ERR_MEMORY);
            cr_assert_null(a);
        } else {
            size_t served = 0;
            while (served < 200 && arena_alloc(a, 1, 1000)) served++;
            if (served == 200) cr_assert_not_null(arena_copy(a, "x", 1));
            arena_close(a);
        }
        cr_assert_eq(f.live, 0);
        if (!f.failed) {
            cr_assert_gt(n, 4);
            break;
        }
    }
}

Test(core_memory, error) {
    Error e;
    cr_assert_eq(error_memory(&e, "the tensor table of x.gguf"), ERR_MEMORY);
    cr_assert_str_eq(e.message, "not enough memory for the tensor table of x.gguf");
}
