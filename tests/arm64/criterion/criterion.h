/* criterion.h -- as much of Criterion as the unit tests use, for programs that run in an emulator: the
 * library itself starts each test by an exec of its own, which an emulated program can't do. See
 * ../criterion.c. */
#ifndef RECAST_TESTS_ARM64_CRITERION_H
#define RECAST_TESTS_ARM64_CRITERION_H

#pragma GCC system_header /* macros with nothing for "..." are no warning, as with the real one */

#include <signal.h>
#include <stdbool.h>
#include <string.h>

typedef struct UnitTest {
    const char *suite, *name;
    void (*body)(void), (*init)(void), (*fini)(void); /* body NULL: said of all tests of the suite */
    int signal;                                       /* that must end it; 0: none */
    double timeout;                                   /* seconds; 0: none */
    struct UnitTest *next;
} UnitTest;

void unit_test_add(UnitTest *test);
/* Reports a failure; doesn't return from a fatal one. */
void unit_test_failed(bool fatal, const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void unit_test_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void unit_test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define Test(Suite, Name, ...)                                                       \
    static void Suite##_##Name##_body(void);                                         \
    static UnitTest Suite##_##Name = {                                               \
        .suite = #Suite, .name = #Name, .body = Suite##_##Name##_body, __VA_ARGS__}; \
    __attribute__((constructor)) static void Suite##_##Name##_add(void) {            \
        unit_test_add(&Suite##_##Name);                                              \
    }                                                                                \
    static void Suite##_##Name##_body(void)

#define TestSuite(Suite, ...)                                                   \
    static UnitTest Suite##_suite = {.suite = #Suite, .name = "", __VA_ARGS__}; \
    __attribute__((constructor)) static void Suite##_suite_add(void) {          \
        unit_test_add(&Suite##_suite);                                          \
    }                                                                           \
    struct Suite##_semicolon

#define CR_CHECK(fatal, holds, what, ...) \
    ((holds) ? (void)0 : unit_test_failed(fatal, __FILE__, __LINE__, what, " " __VA_ARGS__))

#define CR_EQ(f, a, b, ...)        CR_CHECK(f, (a) == (b), #a " == " #b, __VA_ARGS__)
#define CR_STR_EQ(f, a, b, ...)    CR_CHECK(f, strcmp(a, b) == 0, #a " is " #b, __VA_ARGS__)
#define CR_ARR_EQ(f, a, b, n, ...) CR_CHECK(f, memcmp(a, b, n) == 0, #a " has the bytes of " #b, __VA_ARGS__)

#define cr_assert(holds, ...)          CR_CHECK(true, holds, #holds, __VA_ARGS__)
#define cr_assert_not(holds, ...)      CR_CHECK(true, !(holds), "not " #holds, __VA_ARGS__)
#define cr_assert_fail(...)            CR_CHECK(true, false, "not to come here", __VA_ARGS__)
#define cr_assert_eq(a, b, ...)        CR_EQ(true, a, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)       CR_CHECK(true, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)        CR_CHECK(true, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)       CR_CHECK(true, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)        CR_CHECK(true, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)       CR_CHECK(true, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_null(p, ...)         CR_CHECK(true, (p) == NULL, #p " is NULL", __VA_ARGS__)
#define cr_assert_not_null(p, ...)     CR_CHECK(true, (p) != NULL, #p " is not NULL", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)    CR_STR_EQ(true, a, b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)   CR_CHECK(true, strcmp(a, b) != 0, #a " is not " #b, __VA_ARGS__)
#define cr_assert_str_empty(a, ...)    CR_CHECK(true, (a)[0] == 0, #a " is empty", __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) CR_ARR_EQ(true, a, b, n, __VA_ARGS__)
#define cr_assert_float_eq(a, b, e, ...) \
    CR_CHECK(true, (a) - (b) <= (e) && (b) - (a) <= (e), #a " is about " #b, __VA_ARGS__)
#define cr_expect(holds, ...)          CR_CHECK(false, holds, #holds, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)        CR_EQ(false, a, b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...)       CR_CHECK(false, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...)       CR_CHECK(false, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)        CR_CHECK(false, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_expect_null(p, ...)         CR_CHECK(false, (p) == NULL, #p " is NULL", __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)    CR_STR_EQ(false, a, b, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...) CR_ARR_EQ(false, a, b, n, __VA_ARGS__)
#define cr_skip_test(...)              unit_test_skip(" " __VA_ARGS__)
#define cr_log_info(...)               unit_test_note(" " __VA_ARGS__)

#endif
