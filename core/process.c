/* process.c -- signal flags: the only mutable global state of the program. */
#include "core/process.h"
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t caught; /* the signal, or 0 */

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

void process_catch_signals(void) {
    catch_one(SIGINT);
    catch_one(SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

bool process_interrupted(void) {
    return caught != 0;
}

int process_signal(void) {
    return (int)caught;
}
