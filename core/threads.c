/* threads.c -- runs numbered items on several threads, started for it or kept in a pool.
 *
 * Items are taken in order, and one is left out only when a lower one has failed. So every item below the
 * lowest failure has run and succeeded, and the error that is returned doesn't depend on how threads were
 * scheduled. */
#include "core/threads.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

enum { LARGEST_TEAM = 256 };

typedef struct Team {
    ThreadWork work;
    size_t count;
    atomic_size_t next;
    atomic_size_t failed; /* lowest item that failed, SIZE_MAX while none has */
    pthread_mutex_t lock; /* guards code and error, and writes of failed */
    int code;
    Error error;
} Team;

typedef struct Member {
    Team *team;
    unsigned number;
    pthread_t thread;
} Member;

static void record_failure(Team *team, size_t index, int code, const Error *error) {
    pthread_mutex_lock(&team->lock);
    if (index < atomic_load(&team->failed)) {
        atomic_store(&team->failed, index);
        team->code = code;
        team->error = *error;
    }
    pthread_mutex_unlock(&team->lock);
}

static void take_items(Team *team, unsigned thread) {
    for (;;) {
        size_t index = atomic_fetch_add(&team->next, 1);
        if (index >= team->count || index > atomic_load(&team->failed)) return;
        Error error = {0};
        int code = team->work.run(team->work.context, index, thread, &error);
        if (code) record_failure(team, index, code, &error);
    }
}

static void *run_member(void *argument) {
    const Member *member = argument;
    take_items(member->team, member->number);
    return NULL;
}

static void start_team(Team *team, size_t count, ThreadWork work) {
    team->work = work;
    team->count = count;
    team->code = 0;
    atomic_store(&team->next, 0);
    atomic_store(&team->failed, SIZE_MAX);
}

static int team_result(const Team *team, Error *err) {
    if (team->code && err) *err = team->error;
    return team->code;
}

static unsigned team_size(unsigned wanted) {
    if (wanted == 0) wanted = threads_available();
    return wanted > LARGEST_TEAM ? LARGEST_TEAM : wanted;
}

int threads_run(unsigned n_threads, size_t count, ThreadWork work, Error *err) {
    n_threads = team_size(n_threads);
    if (n_threads > count) n_threads = (unsigned)count;

    Team team = {.lock = PTHREAD_MUTEX_INITIALIZER};
    start_team(&team, count, work);
    Member members[LARGEST_TEAM] = {{.team = &team}};
    unsigned n = 1;
    for (; n < n_threads; n++) {
        members[n] = (Member){.team = &team, .number = n};
        if (pthread_create(&members[n].thread, NULL, run_member, &members[n]) != 0) break; /* fewer will do */
    }
    take_items(&team, 0);
    for (unsigned i = 1; i < n; i++) pthread_join(members[i].thread, NULL);
    pthread_mutex_destroy(&team.lock);
    return team_result(&team, err);
}

/* ---- a pool ---- */

/* The pool's word: which run it is, whether it may still be joined, and how many workers are in it. A worker
 * joins by a compare-and-swap that fails if anything has changed, so nobody touches a run that has ended. */
#define RUN_STEP ((uint64_t)1 << 32)
#define RUN_OPEN ((uint64_t)1 << 31)
#define RUN_STOP ((uint64_t)1 << 30) /* the pool closes */
#define RUN_IN   (RUN_STOP - 1)      /* workers inside */

enum { SPINS = 1500 /* pauses: some 20 us on a Zen 4, 60 on an Intel server */ };

struct ThreadPool {
    const Allocator *allocator;
    Team team;
    atomic_uint_fast64_t word;
    atomic_uint sleepers;       /* workers that sleep, or are about to */
    atomic_bool caller_waits;   /* for the last worker to leave */
    pthread_mutex_t lock;       /* of the two conditions */
    pthread_cond_t begun, left; /* a run has begun; the last worker has left */
    unsigned n_threads, spins;
    pthread_t threads[LARGEST_TEAM];
    atomic_uint numbered; /* workers that have taken their number */
};

static void spin_once(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Is there something new for a worker that has seen `seen`? */
static bool is_news(uint64_t word, uint64_t seen) {
    return word & RUN_STOP || (word & RUN_OPEN && word / RUN_STEP != seen);
}

static uint64_t await_news(ThreadPool *pool, uint64_t seen) {
    uint64_t word = atomic_load(&pool->word);
    for (unsigned i = 0; i < pool->spins && !is_news(word, seen); i++) {
        spin_once();
        word = atomic_load(&pool->word);
    }
    if (is_news(word, seen)) return word;
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1); /* before the word is read: whoever changes it sees this */
    while (word = atomic_load(&pool->word), !is_news(word, seen))
        pthread_cond_wait(&pool->begun, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
    return word;
}

static void leave(ThreadPool *pool) {
    uint64_t word = atomic_fetch_sub(&pool->word, 1) - 1;
    if (word & RUN_IN || !atomic_load(&pool->caller_waits)) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->left);
    pthread_mutex_unlock(&pool->lock);
}

static void *run_worker(void *argument) {
    ThreadPool *pool = argument;
    unsigned number = 1 + atomic_fetch_add(&pool->numbered, 1);
    uint64_t seen = 0;
    for (;;) {
        uint64_t word = await_news(pool, seen);
        if (word & RUN_STOP) return NULL;
        if (!atomic_compare_exchange_strong(&pool->word, &word, word + 1)) continue;
        seen = word / RUN_STEP;
        take_items(&pool->team, number);
        leave(pool);
    }
}

static void wake(ThreadPool *pool) {
    if (!atomic_load(&pool->sleepers)) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->begun);
    pthread_mutex_unlock(&pool->lock);
}

int thread_pool_open(ThreadPool **out, unsigned n_threads, const Allocator *allocator, Error *err) {
    ThreadPool *pool = mem_alloc(allocator, sizeof *pool);
    if (!pool) return error_memory(err, "a pool of threads");
    *pool = (ThreadPool){.allocator = allocator,
                         .n_threads = 1,
                         .team = {.lock = PTHREAD_MUTEX_INITIALIZER},
                         .lock = PTHREAD_MUTEX_INITIALIZER,
                         .begun = PTHREAD_COND_INITIALIZER,
                         .left = PTHREAD_COND_INITIALIZER};
    n_threads = team_size(n_threads);
    pool->spins = n_threads <= threads_available() ? SPINS : 0;
    for (; pool->n_threads < n_threads; pool->n_threads++)
        if (pthread_create(&pool->threads[pool->n_threads], NULL, run_worker, pool) != 0) break;
    *out = pool;
    return 0;
}

void thread_pool_close(ThreadPool *pool) {
    if (!pool) return;
    atomic_fetch_or(&pool->word, RUN_STOP);
    wake(pool);
    for (unsigned i = 1; i < pool->n_threads; i++) pthread_join(pool->threads[i], NULL);
    pthread_mutex_destroy(&pool->team.lock);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->begun);
    pthread_cond_destroy(&pool->left);
    mem_free(pool->allocator, pool);
}

static void await_workers(ThreadPool *pool) {
    for (unsigned i = 0; i < pool->spins; i++) {
        if (!(atomic_load(&pool->word) & RUN_IN)) return;
        spin_once();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->caller_waits, true);
    while (atomic_load(&pool->word) & RUN_IN) pthread_cond_wait(&pool->left, &pool->lock);
    atomic_store(&pool->caller_waits, false);
    pthread_mutex_unlock(&pool->lock);
}

int thread_pool_run(ThreadPool *pool, size_t count, ThreadWork work, Error *err) {
    start_team(&pool->team, count, work);
    if (count > 1 && pool->n_threads > 1) {
        atomic_fetch_add(&pool->word, RUN_STEP | RUN_OPEN);
        wake(pool);
    }
    take_items(&pool->team, 0);
    if (count > 1 && pool->n_threads > 1) {
        atomic_fetch_and(&pool->word, ~RUN_OPEN);
        await_workers(pool);
    }
    return team_result(&pool->team, err);
}

unsigned threads_available(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return (unsigned)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* a machine with more processors than cpu_set_t holds */
    return online > 0 ? (unsigned)online : 1;
}
