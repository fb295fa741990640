/* Errors are values: what they say, what they keep, what they never let through. */
#include "core/error.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(core_error, set_fills_everything) {
    Error e = {.code = ERR_IO, .sys = EIO, .has_offset = true, .offset = 9};
    cr_assert_eq(error_set(&e, ERR_FORMAT, "%s: expected %d, found %d", "x.gguf", 3, 4), ERR_FORMAT);
    cr_assert_eq(e.code, ERR_FORMAT);
    cr_assert_eq(e.sys, 0);
    cr_assert_not(e.has_offset);
    cr_assert_eq(e.offset, 0);
    cr_assert_str_eq(e.message, "x.gguf: expected 3, found 4");
}

Test(core_error, sys_appends_the_reason) {
    Error e;
    cr_assert_eq(error_sys(&e, ERR_IO, ENOSPC, "cannot write %s", "x"), ERR_IO);
    cr_assert_str_eq(e.message, "cannot write x: No space left on device");
    cr_assert_eq(e.sys, ENOSPC);
    cr_assert_eq(error_sys(&e, ERR_IO, 0, "cannot write"), ERR_IO);
    cr_assert_str_eq(e.message, "cannot write");
}

Test(core_error, at_appends_the_place) {
    Error e;
    cr_assert_eq(error_at(&e, ERR_FORMAT, UINT64_MAX, "bad length"), ERR_FORMAT);
    cr_assert_str_eq(e.message, "bad length (at byte 18446744073709551615)");
    cr_assert(e.has_offset);
    cr_assert_eq(e.offset, UINT64_MAX);
}

Test(core_error, wrap_prepends_and_keeps) {
    Error e;
    int code = error_at(&e, ERR_FORMAT, 7, "bad length");
    cr_assert_eq(error_wrap(&e, code, "shard %d", 2), ERR_FORMAT);
    cr_assert_str_eq(e.message, "shard 2: bad length (at byte 7)");
    cr_assert_eq(e.offset, 7);
    code = error_sys(&e, ERR_IO, EIO, "a");
    cr_assert_eq(error_wrap(&e, code, "b"), ERR_IO);
    cr_assert_eq(e.sys, EIO);
    cr_assert_eq(error_wrap(&e, 0, "c"), 0);
    cr_assert_str_eq(e.message, "b: a: Input/output error");
}

Test(core_error, without_a_place_to_write) {
    cr_assert_eq(error_set(NULL, ERR_LIMIT, "x"), ERR_LIMIT);
    cr_assert_eq(error_sys(NULL, ERR_IO, EIO, "x"), ERR_IO);
    cr_assert_eq(error_at(NULL, ERR_FORMAT, 1, "x"), ERR_FORMAT);
    cr_assert_eq(error_wrap(NULL, ERR_MEMORY, "x"), ERR_MEMORY);
}

Test(core_error, own_message_as_argument) {
    Error e;
    (void)error_set(&e, ERR_FORMAT, "inner");
    (void)error_set(&e, ERR_CHECK, "outer, because %s", e.message);
    cr_assert_str_eq(e.message, "outer, because inner");
}

Test(core_error, long_messages_keep_reason_and_place) {
    static char text[3000];
    memset(text, 'a', sizeof text - 1);
    Error e;
    (void)error_set(&e, ERR_FORMAT, "%s", text);
    cr_assert_eq(strlen(e.message), sizeof e.message - 1);
    (void)error_sys(&e, ERR_IO, EIO, "%s", text);
    cr_assert_eq(strlen(e.message), sizeof e.message - 1);
    cr_assert_str_eq(strchr(e.message, ':'), ": Input/output error");
    (void)error_at(&e, ERR_IO, 5, "%s", text);
    cr_assert_str_eq(strchr(e.message, ' '), " (at byte 5)");
    cr_assert_eq(error_wrap(&e, ERR_IO, "%s", text), ERR_IO);
    cr_assert_eq(strlen(e.message), sizeof e.message - 1);
}

Test(core_error, long_messages_end_with_a_whole_character) {
    static char text[3000];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4) memcpy(text + i, "\xF0\x9F\x98\x80", 5);
        Error e;
        (void)error_set(&e, ERR_FORMAT, "%s", text);
        cr_assert_eq(strlen(e.message), shift + (999 - shift) / 4 * 4);
        cr_assert_null(strchr(e.message, '?'));
    }
}

Test(core_error, hostile_bytes_are_replaced) {
    Error e;
    (void)error_set(&e, ERR_FORMAT, "name \"%s\"",
                    "a\nb\x1B[2Jc\x7F\xC2\x9B"
                    "d\xFF\xC0\x80"
                    "e\xED\xA0\x80"
                    "f\t");
    cr_assert_str_eq(e.message, "name \"a?b?[2Jc???d???e???f?\"");
    (void)error_set(&e, ERR_FORMAT, "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 cut \xE2\x82");
    cr_assert_str_eq(e.message, "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 cut ??");
}

Test(core_error, names_and_exit_statuses) {
    cr_assert_str_eq(error_name(ERR_NONE), "none");
    cr_assert_str_eq(error_name(ERR_INTERRUPTED), "interrupted");
    cr_assert_str_eq(error_name((ErrorCode)1000), "unknown");
    cr_assert_eq(error_exit_status(ERR_NONE), 0);
    cr_assert_eq(error_exit_status(ERR_CHECK), 1);
    cr_assert_eq(error_exit_status(ERR_USAGE), 2);
    cr_assert_eq(error_exit_status(ERR_MEMORY), 3);
    cr_assert_eq(error_exit_status(ERR_DEVICE), 4);
    cr_assert_eq(error_exit_status(ERR_INTERRUPTED), 130);
    cr_assert_eq(error_exit_status((ErrorCode)1000), 3);
}
