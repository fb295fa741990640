/* The same work on several threads: each item once, and always the same error. */
#include "core/threads.h"
#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { ITEMS = 1000 };

typedef struct Tally {
    atomic_int done[ITEMS];
    atomic_int total;
    unsigned n_threads;
    atomic_bool bad_thread;
    const size_t *failing; /* ends with SIZE_MAX */
} Tally;

static int count_item(void *context, size_t index, unsigned thread, Error *err) {
    Tally *t = context;
    atomic_fetch_add(&t->done[index], 1);
    atomic_fetch_add(&t->total, 1);
    if (thread >= t->n_threads) atomic_store(&t->bad_thread, true);
    for (const size_t *f = t->failing; f && *f != SIZE_MAX; f++) {
        if (*f != index) continue;
        if (index % 2 == 0) usleep(2000); /* even ones fail late, after higher odd ones */
        return error_at(err, ERR_CHECK, index, "item %zu", index);
    }
    return 0;
}

Test(core_threads, each_item_once) {
    static const unsigned teams[] = {1, 2, 3, 16, 300, 100000};
    for (size_t i = 0; i < sizeof teams / sizeof *teams; i++) {
        Tally t = {.n_threads = teams[i]};
        cr_assert_eq(threads_run(teams[i], ITEMS, (ThreadWork){count_item, &t}, NULL), 0);
        for (size_t j = 0; j < ITEMS; j++) cr_assert_eq(t.done[j], 1);
        cr_assert_not(t.bad_thread);
    }
}

Test(core_threads, no_items_and_default_team) {
    Tally t = {.n_threads = threads_available()};
    cr_assert_eq(threads_run(4, 0, (ThreadWork){count_item, &t}, NULL), 0);
    cr_assert_eq(t.total, 0);
    cr_assert_eq(threads_run(0, ITEMS, (ThreadWork){count_item, &t}, NULL), 0);
    cr_assert_eq(t.total, ITEMS);
    cr_assert_not(t.bad_thread);
}

Test(core_threads, one_thread_runs_in_order_and_stops) {
    static const size_t failing[] = {10, 12, SIZE_MAX};
    Tally t = {.n_threads = 1, .failing = failing};
    Error e;
    cr_assert_eq(threads_run(1, ITEMS, (ThreadWork){count_item, &t}, &e), ERR_CHECK);
    cr_assert_eq(t.total, 11);
    cr_assert_eq(e.offset, 10);
}

/* 10 is slow to fail and 11 is quick; whichever comes first in time, the answer is 10. */
Test(core_threads, the_lowest_error_is_returned) {
    static const size_t failing[] = {10, 11, 13, 400, SIZE_MAX};
    for (int round = 0; round < 50; round++) {
        Tally t = {.n_threads = 8, .failing = failing};
        Error e = {0};
        cr_assert_eq(threads_run(8, ITEMS, (ThreadWork){count_item, &t}, &e), ERR_CHECK);
        cr_assert_eq(e.offset, 10);
        cr_assert_str_eq(e.message, "item 10 (at byte 10)");
        for (size_t j = 0; j <= 10; j++) cr_assert_eq(t.done[j], 1);
        cr_assert_lt(t.total, ITEMS, "later items are not started");
    }
}

typedef struct Race {
    atomic_int started;
    size_t slow;
} Race;

/* Both items are under way before either fails, and `slow` fails last. */
static int fail_both(void *context, size_t index, unsigned thread, Error *err) {
    (void)thread;
    Race *race = context;
    atomic_fetch_add(&race->started, 1);
    for (int i = 0; i < 5000 && atomic_load(&race->started) < 2; i++) usleep(1000);
    if (index == race->slow) usleep(30000);
    return error_at(err, index ? ERR_IO : ERR_CHECK, index, "item");
}

Test(core_threads, order_in_time_does_not_matter) {
    for (size_t slow = 0; slow < 2; slow++) {
        Race race = {.slow = slow};
        Error e = {0};
        cr_assert_eq(threads_run(2, 2, (ThreadWork){fail_both, &race}, &e), ERR_CHECK);
        cr_assert_eq(e.offset, 0);
    }
}

static int fail_silently(void *context, size_t index, unsigned thread, Error *err) {
    (void)context, (void)index, (void)thread, (void)err;
    return ERR_IO;
}

Test(core_threads, an_error_without_a_listener) {
    cr_assert_eq(threads_run(4, 100, (ThreadWork){fail_silently, NULL}, NULL), ERR_IO);
}

/* Two items that wait for each other end only if they run at the same time. */
static int meet(void *context, size_t index, unsigned thread, Error *err) {
    (void)index, (void)thread;
    atomic_int *arrived = context;
    atomic_fetch_add(arrived, 1);
    for (int i = 0; i < 5000 && atomic_load(arrived) < 2; i++) usleep(1000);
    return atomic_load(arrived) == 2 ? 0 : error_set(err, ERR_CHECK, "alone");
}

Test(core_threads, items_run_at_the_same_time) {
    atomic_int arrived = 0;
    cr_assert_eq(threads_run(2, 2, (ThreadWork){meet, &arrived}, NULL), 0);
}

/* ---- a pool ---- */

Test(core_threads, a_pool_runs_items_at_the_same_time) {
    ThreadPool *pool;
    cr_assert_eq(thread_pool_open(&pool, 2, NULL, NULL), 0);
    for (int run = 0; run < 20; run++) {
        atomic_int arrived = 0;
        cr_assert_eq(thread_pool_run(pool, 2, (ThreadWork){meet, &arrived}, NULL), 0);
        if (run % 5 == 0) usleep(5000); /* the other thread has gone to sleep meanwhile */
    }
    thread_pool_close(pool);
}

Test(core_threads, a_pool_returns_the_lowest_error_and_goes_on) {
    static const size_t failing[] = {10, 11, 500, SIZE_MAX};
    ThreadPool *pool;
    cr_assert_eq(thread_pool_open(&pool, 3, NULL, NULL), 0);
    for (int run = 0; run < 20; run++) {
        Tally bad = {.n_threads = 3, .failing = failing}, good = {.n_threads = 3};
        Error e = {0};
        cr_assert_eq(thread_pool_run(pool, ITEMS, (ThreadWork){count_item, &bad}, &e), ERR_CHECK);
        cr_assert_eq(e.offset, 10);
        cr_assert_eq(thread_pool_run(pool, ITEMS, (ThreadWork){count_item, &good}, NULL), 0);
        cr_assert_eq(good.total, ITEMS);
        cr_assert_not(good.bad_thread);
    }
    thread_pool_close(pool);
}

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

Test(core_threads, an_idle_pool_sleeps) {
    static const unsigned teams[] = {2, 7};
    for (size_t i = 0; i < 2; i++) {
        ThreadPool *pool;
        Tally t = {.n_threads = teams[i]};
        cr_assert_eq(thread_pool_open(&pool, teams[i], NULL, NULL), 0);
        cr_assert_eq(thread_pool_run(pool, ITEMS, (ThreadWork){count_item, &t}, NULL), 0);
        usleep(20000);
        double before = processor_seconds();
        usleep(100000);
        cr_assert_lt(processor_seconds() - before, 0.02);
        thread_pool_close(pool);
    }
}

static void *no_memory(void *context, void *pointer, size_t size) {
    (void)context, (void)pointer, (void)size;
    return NULL;
}

Test(core_threads, a_pool_without_memory) {
    Allocator allocator = {no_memory, NULL};
    ThreadPool *pool;
    Error e = {0};
    cr_assert_eq(thread_pool_open(&pool, 2, &allocator, &e), ERR_MEMORY);
    thread_pool_close(NULL);
}

Test(core_threads, available) {
    cr_assert_geq(threads_available(), 1);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_assert_eq(threads_available(), 1, "what the process may use, not what the machine has");
}
