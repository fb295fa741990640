/* Signals become a flag that work notices between two steps. */
#include "core/process.h"
#include "core/progress.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

typedef struct Seen {
    const char *phase;
    uint64_t done, total;
    int answer;
} Seen;

static int see(void *context, const char *phase, uint64_t done, uint64_t total) {
    Seen *s = context;
    *s = (Seen){phase, done, total, s->answer};
    return s->answer;
}

Test(core_process, progress_is_passed_on) {
    Seen seen = {0};
    Progress p = {.update = see, .context = &seen};
    Error e;
    cr_assert_eq(progress_update(NULL, "hash", 1, 2, &e), 0);
    cr_assert_eq(progress_update(&(Progress){0}, "hash", 1, 2, &e), 0);
    cr_assert_eq(progress_update(&p, "write x", 3, 4, &e), 0);
    cr_assert_str_eq(seen.phase, "write x");
    cr_assert_eq(seen.done, 3);
    cr_assert_eq(seen.total, 4);
    seen.answer = -5;
    cr_assert_eq(progress_update(&p, "write x", 4, 4, &e), ERR_INTERRUPTED);
    cr_assert_str_eq(e.message, "interrupted during: write x");
}

Test(core_process, a_signal_becomes_a_flag) {
    cr_assert_not(process_interrupted());
    process_catch_signals();
    cr_assert_eq(process_signal(), 0);
    raise(SIGTERM);
    cr_assert(process_interrupted());
    cr_assert_eq(process_signal(), SIGTERM);
    cr_assert_eq(progress_update(NULL, "hash", 0, 1, NULL), ERR_INTERRUPTED);
}

Test(core_process, a_second_signal_ends_the_program, .signal = SIGINT) {
    signal(SIGINT, SIG_DFL); /* whatever the shell that started us had it set to */
    process_catch_signals();
    raise(SIGTERM);
    raise(SIGINT);
    pause();
}

Test(core_process, an_ignored_signal_stays_ignored) {
    signal(SIGINT, SIG_IGN);
    process_catch_signals();
    raise(SIGINT);
    cr_assert_not(process_interrupted());
}

Test(core_process, a_closed_pipe_is_an_error_value) {
    process_catch_signals();
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    close(ends[0]);
    cr_assert_eq(write(ends[1], "x", 1), -1);
    cr_assert_eq(errno, EPIPE);
    close(ends[1]);
}

Test(core_process, a_question_is_answered_once_and_stops_nothing) {
    process_catch_signals();
    cr_assert_not(process_asked());
    raise(SIGUSR1);
    cr_assert(process_asked());
    cr_assert_not(process_asked());
    cr_assert_not(process_interrupted());
}
