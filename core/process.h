/* process.h -- the program's only global state: signal flags (and, with the fast kernels, the table of CPU
 * features). */
#ifndef RECAST_CORE_PROCESS_H
#define RECAST_CORE_PROCESS_H

#include <stdbool.h>

/* Catches SIGINT and SIGTERM (a second one ends the program at once); notes SIGUSR1; ignores SIGPIPE and
 * SIGXFSZ, so that they arrive as EPIPE and EFBIG. Called once by cli/. */
void process_catch_signals(void);
/* From now on as many files may be open as the system lets this process have: shells start with 1024, and a
 * checkpoint of several hundred shards needs three for each while they are written side by side. Called once,
 * by main. */
void process_allow_files(void);
bool process_interrupted(void); /* has one arrived? */
/* Takes back an interrupt by SIGINT that has been obeyed, so that the next is the first again (a conversation
 * stops an answer and goes on). false, and nothing changes, if there was none or another signal came. */
bool process_forget_interrupt(void);
bool process_asked(void); /* has SIGUSR1 arrived since the last call? */
int process_signal(void); /* which; 0 if none */

#endif
