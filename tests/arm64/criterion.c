/* criterion.c -- runs the tests that criterion/criterion.h has registered, each in a process of its own, and
 * closes with the line that tests/run.sh reads. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PASSED = 0, FAILED = 1, SKIPPED = 77 };

static UnitTest *tests, **last = &tests;
static bool has_failed;

void unit_test_add(UnitTest *test) {
    *last = test;
    last = &test->next;
}

void unit_test_failed(bool fatal, const char *file, int line, const char *what, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("%s:%d: expected %s:", file, line, what);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    has_failed = true;
    if (!fatal) return;
    fflush(NULL);
    _exit(FAILED);
}

void unit_test_note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

_Noreturn void unit_test_skip(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    fflush(NULL);
    _exit(SKIPPED);
}

static const UnitTest *suite_of(const UnitTest *test) {
    static const UnitTest none;
    for (const UnitTest *t = tests; t; t = t->next)
        if (!t->body && strcmp(t->suite, test->suite) == 0) return t;
    return &none;
}

static _Noreturn void run(const UnitTest *test) {
    const UnitTest *suite = suite_of(test);
    double timeout = test->timeout > 0 ? test->timeout : suite->timeout;
    if (timeout > 0) alarm((unsigned)(timeout * 10)); /* an emulator takes its time */
    if (suite->init) suite->init();
    if (test->init) test->init();
    test->body();
    if (test->fini) test->fini();
    if (suite->fini) suite->fini();
    fflush(NULL);
    _exit(has_failed ? FAILED : PASSED);
}

int main(void) {
    unsigned tested = 0, passed = 0, failed = 0, crashed = 0;
    for (const UnitTest *test = tests; test; test = test->next) {
        int status;
        if (!test->body) continue;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) run(test);
        if (child < 0 || waitpid(child, &status, 0) != child) return EXIT_FAILURE;
        int exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        bool ended_right = test->signal ? WIFSIGNALED(status) && WTERMSIG(status) == test->signal
                                        : exit_code == PASSED || exit_code == SKIPPED;
        tested++;
        passed += ended_right;
        failed += !ended_right && exit_code >= 0;
        crashed += !ended_right && exit_code < 0;
        printf("[%s] %s::%s\n",
               !ended_right           ? "FAIL"
               : exit_code == SKIPPED ? "SKIP"
                                      : "PASS",
               test->suite, test->name);
    }
    printf("Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: %u\n", tested, passed, failed,
           crashed);
    return failed || crashed || !tested;
}
