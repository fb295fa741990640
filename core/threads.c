/* threads.c -- runs numbered items on several threads.
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

static void *take_items(void *argument) {
    const Member *member = argument;
    Team *team = member->team;
    for (;;) {
        size_t index = atomic_fetch_add(&team->next, 1);
        if (index >= team->count || index > atomic_load(&team->failed)) return NULL;
        Error error = {0};
        int code = team->work.run(team->work.context, index, member->number, &error);
        if (code) record_failure(team, index, code, &error);
    }
}

int threads_run(unsigned n_threads, size_t count, ThreadWork work, Error *err) {
    if (n_threads == 0) n_threads = threads_available();
    if (n_threads > LARGEST_TEAM) n_threads = LARGEST_TEAM;
    if (n_threads > count) n_threads = (unsigned)count;

    Team team = {.work = work, .count = count, .lock = PTHREAD_MUTEX_INITIALIZER};
    atomic_init(&team.next, 0);
    atomic_init(&team.failed, SIZE_MAX);
    Member members[LARGEST_TEAM] = {{.team = &team}};
    unsigned n = 1;
    for (; n < n_threads; n++) {
        members[n] = (Member){.team = &team, .number = n};
        if (pthread_create(&members[n].thread, NULL, take_items, &members[n]) != 0) break; /* fewer will do */
    }
    take_items(&members[0]);
    for (unsigned i = 1; i < n; i++) pthread_join(members[i].thread, NULL);
    pthread_mutex_destroy(&team.lock);

    if (team.code && err) *err = team.error;
    return team.code;
}

unsigned threads_available(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return (unsigned)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* a machine with more processors than cpu_set_t holds */
    return online > 0 ? (unsigned)online : 1;
}
