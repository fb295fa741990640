/* process.c -- signal flags and the table of CPU features: the only mutable global state of the program, but
 * for one flag in a handler (cli/cut_file.c). */
#include "core/process.h"
#include "core/cpu.h"
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>

/* Atomic, because a handler runs on any thread and all threads look; lock-free ones are allowed there. */
static atomic_int caught; /* the signal, or 0 */
static atomic_int asked;  /* somebody wants to know how far the work is */

/* The first signal is a wish that the work notices between two steps. Whoever sends a second doesn't want to
 * wait. */
static void on_signal(int number) {
    if (caught) {
        signal(number, SIG_DFL);
        raise(number); /* delivered when this handler returns */
        return;
    }
    caught = number;
}

/* A shell without job control, and nohup, start children with signals ignored: leave it so. */
static void catch_one(int number) {
    struct sigaction old, action = {.sa_handler = on_signal};
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_IGN) return;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL); /* no SA_RESTART: a blocked read must return to see the flag */
}

static void on_question(int number) {
    (void)number;
    asked = 1;
}

/* Nothing has to stop for this one, so calls are restarted. */
static void catch_question(void) {
    struct sigaction action = {.sa_handler = on_question, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
}

void process_catch_signals(void) {
    catch_question();
    catch_one(SIGINT);
    catch_one(SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

void process_allow_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

bool process_interrupted(void) {
    return caught != 0;
}

bool process_forget_interrupt(void) {
    if (caught != SIGINT) return false;
    caught = 0;
    return true;
}

bool process_asked(void) {
    if (!asked) return false;
    asked = 0;
    return true;
}

int process_signal(void) {
    return (int)caught;
}

/* Two threads that ask first both find the same answer, so no lock is needed. */
CpuFeatures cpu_features(void) {
    static const uint32_t KNOWN = 1u << 31;
    static _Atomic uint32_t kept;
    uint32_t features = atomic_load_explicit(&kept, memory_order_relaxed);
    if (features & KNOWN) return features & ~KNOWN;
    features = cpu_limit(cpu_detect(), getenv("RECAST_CPU"));
    atomic_store_explicit(&kept, features | KNOWN, memory_order_relaxed);
    return features;
}
