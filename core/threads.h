/* threads.h -- the same work on several threads. */
#ifndef RECAST_CORE_THREADS_H
#define RECAST_CORE_THREADS_H

#include "core/memory.h"
#include <stddef.h>

typedef struct ThreadWork {
    /* Does item `index`; thread in 0 .. n_threads-1. A non-zero return stops further items from starting. */
    int (*run)(void *context, size_t index, unsigned thread, Error *err);
    void *context;
} ThreadWork;

/* Runs items 0 .. count-1, taken in order, on up to n_threads threads (the caller is one), and waits. Returns
 * the error of the lowest item that failed. n_threads 0 means one a processor. If no thread can be made the
 * caller does all. */
int threads_run(unsigned n_threads, size_t count, ThreadWork work, Error *err) MUST_CHECK;

/* Threads that stay between runs, for work that comes in many short pieces. After a run they look out for the
 * next one for some 50 us, then sleep until it comes: an idle pool takes no processor time, and one with more
 * threads than processors never spins. One run at a time. */
typedef struct ThreadPool ThreadPool;
/* n_threads as in threads_run, the caller of each run included. If fewer can be made, fewer will do. Errors:
 * ERR_MEMORY. */
int thread_pool_open(ThreadPool **out, unsigned n_threads, const Allocator *allocator, Error *err) MUST_CHECK;
void thread_pool_close(ThreadPool *pool); /* NULL-safe; waits for the threads to end */
/* As threads_run with the pool's threads. A thread that is late for a short run is not waited for. */
int thread_pool_run(ThreadPool *pool, size_t count, ThreadWork work, Error *err) MUST_CHECK;

unsigned threads_available(void); /* processors this process may use, at least 1 */

#endif
