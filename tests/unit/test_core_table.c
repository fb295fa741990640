/* Names to numbers: every key comes back, none is confused with another, growth loses none. */
#include "core/table.h"
#include "support.h"

enum { MANY = 20000 };

Test(core_table, put_and_get) {
    Arena *a;
    Table *t;
    cr_assert_eq(arena_open(&a, NULL, NULL), 0);
    cr_assert_eq(table_open(&t, a, 0, NULL), 0);
    uint64_t v = 7;
    cr_assert_not(table_get(t, "a", 1, &v));
    cr_assert_eq(v, 7, "left alone when nothing is found");
    cr_assert_eq(table_put(t, "a", 1, 1), 0);
    cr_assert_eq(table_put(t, "ab", 2, UINT64_MAX), 0);
    cr_assert_eq(table_put(t, "a", 1, 3), -1);
    cr_assert(table_get(t, "a", 1, &v));
    cr_assert_eq(v, 1, "a second put changes nothing");
    cr_assert(table_get(t, "abc", 2, &v) && v == UINT64_MAX);
    cr_assert_not(table_get(t, "abc", 3, NULL));
    cr_assert_eq(table_count(t), 2);
    arena_close(a);
}

Test(core_table, keys_are_bytes) {
    Arena *a;
    Table *t;
    cr_assert_eq(arena_open(&a, NULL, NULL), 0);
    cr_assert_eq(table_open(&t, a, 4, NULL), 0);
    uint64_t v;
    cr_assert_not(table_get(t, "", 0, NULL));
    cr_assert_eq(table_put(t, "", 0, 1), 0);
    cr_assert_eq(table_put(t, NULL, 0, 9), -1, "no bytes are no bytes");
    cr_assert_eq(table_put(t, "\0", 1, 2), 0);
    cr_assert_eq(table_put(t, "\0\0", 2, 3), 0);
    cr_assert_eq(table_put(t, "a\0b", 3, 4), 0);
    cr_assert_eq(table_put(t, "a\0c", 3, 5), 0);
    cr_assert(table_get(t, NULL, 0, &v) && v == 1);
    cr_assert(table_get(t, "\0", 1, &v) && v == 2);
    cr_assert(table_get(t, "\0\0", 2, &v) && v == 3);
    cr_assert(table_get(t, "a\0b", 3, &v) && v == 4);
    cr_assert(table_get(t, "a\0c", 3, &v) && v == 5);
    arena_close(a);
}

static void fill_and_check(size_t expected) {
    Arena *a;
    Table *t;
    char key[32];
    cr_assert_eq(arena_open(&a, NULL, NULL), 0);
    cr_assert_eq(table_open(&t, a, expected, NULL), 0);
    for (uint64_t i = 0; i < MANY; i++) {
        char *name = arena_printf(a, "blk.%llu.weight", (unsigned long long)i);
        cr_assert_eq(table_put(t, name, strlen(name), i * i), 0);
    }
    cr_assert_eq(table_count(t), MANY);
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t v = 0;
        int length = snprintf(key, sizeof key, "blk.%llu.weight", (unsigned long long)i);
        cr_assert(table_get(t, key, (size_t)length, &v), "%s", key);
        cr_assert_eq(v, i * i);
    }
    cr_assert_not(table_get(t, "blk.20000.weight", 16, NULL));
    arena_close(a);
}

Test(core_table, grows_without_a_hint) {
    fill_and_check(0);
}
Test(core_table, exact_hint) {
    fill_and_check(MANY);
}
/* A count out of a hostile file must not become an allocation. */
Test(core_table, absurd_hint) {
    fill_and_check(SIZE_MAX);
}

Test(core_table, every_allocation_may_fail) {
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        failing_init(&f, n);
        Arena *a;
        if (arena_open(&a, &f.allocator, NULL) == 0) {
            Table *t;
            static char keys[3000][8];
            size_t put = 0;
            int code = table_open(&t, a, 0, NULL);
            while (!code && put < 3000) {
                int length = snprintf(keys[put], sizeof keys[put], "%zu", put);
                code = table_put(t, keys[put], (size_t)length, put);
                if (!code) put++;
            }
            cr_assert_eq(code, f.failed ? ERR_MEMORY : 0);
            for (size_t i = 0; t && i < put; i++) { /* what is in stays in */
                uint64_t v;
                cr_assert(table_get(t, keys[i], strlen(keys[i]), &v) && v == i);
            }
            arena_close(a);
        }
        cr_assert_eq(f.live, 0);
        if (!f.failed) {
            cr_assert_gt(n, 3);
            break;
        }
    }
}
