/* threads.h -- the same work on several threads. */
#ifndef RECAST_CORE_THREADS_H
#define RECAST_CORE_THREADS_H

#include "core/error.h"
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
unsigned threads_available(void); /* processors this process may use, at least 1 */

#endif
