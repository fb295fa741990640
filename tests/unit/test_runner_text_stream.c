/* text_stream: stop strings and half characters, however the text is cut into pieces. */
#include "runner/text_stream.h"
#include "tests/unit/support.h"

static TextStream *open_stream(const char *const *stops, size_t n) {
    TextStream *s;
    Error err = {0};
    cr_assert_eq(text_stream_open(&s, stops, n, NULL, &err), 0, "%s", err.message);
    return s;
}

static void add(TextStream *s, const char *bytes, size_t n, Buffer *out) {
    cr_assert_eq(text_stream_add(s, bytes, n, out, NULL), 0);
}

/* What is shown of a text in pieces of `step` bytes; is it all that was shown, whole characters only? */
static void shows(const char *text, const char *const *stops, size_t n_stops, const char *expected,
                  bool stopped) {
    size_t length = strlen(text);
    for (size_t step = 1; step <= length + 1; step++) {
        TextStream *s = open_stream(stops, n_stops);
        Buffer out;
        buffer_init(&out, NULL);
        for (size_t i = 0; i < length; i += step)
            add(s, text + i, length - i < step ? length - i : step, &out);
        cr_assert_eq(text_stream_stopped(s), stopped, "\"%s\" by %zu", text, step);
        cr_assert_eq(text_stream_finish(s, &out, NULL), 0);
        cr_assert_str_eq(buffer_string(&out), expected, "\"%s\" by %zu", text, step);
        buffer_free(&out);
        text_stream_close(s);
    }
}

#define SHOWS(text, expected, stopped, ...)                                     \
    do {                                                                        \
        static const char *const stops_[] = {__VA_ARGS__};                      \
        shows(text, stops_, sizeof stops_ / sizeof *stops_, expected, stopped); \
    } while (0)

Test(runner_text_stream, stops) {
    shows("all of it", NULL, 0, "all of it", false);
    SHOWS("hello END more", "hello ", true, "END");
    SHOWS("hello EN", "hello EN", false, "END");
    SHOWS("ENEND", "EN", true, "END"); /* a false beginning first */
    SHOWS("aaab rest", "a", true, "aab");
    SHOWS("ENDall", "", true, "END");
    SHOWS("a\n\nb", "a", true, "\n\n");
    SHOWS("xx yy zz", "xx ", true, "zz", "yy");
    SHOWS("xx yy", "xx ", true, "y");
    SHOWS("abcde", "ab", true, "cde", "dex", "zzzzzzzzz");
    SHOWS("kein Ende", "kein Ende", false, "a much longer stop string than the text");
}

Test(runner_text_stream, characters) {
    /* U+00E9 and U+20AC; a stop string that shares the first byte of another character */
    shows("caf\xC3\xA9 \xE2\x82\xAC 5", NULL, 0, "caf\xC3\xA9 \xE2\x82\xAC 5", false);
    SHOWS("caf\xC3\xA9 \xE2\x82\xAC 5", "caf\xC3\xA9 ", true, "\xE2\x82\xAC");
    SHOWS("caf\xC3\xA9!", "caf\xC3\xA9!", false, "\xC3\xA8");
    SHOWS("\xF0\x9F\x98\x80\xF0\x9F\x98\x81.", "\xF0\x9F\x98\x80", true, "\xF0\x9F\x98\x81");
}

Test(runner_text_stream, comes_as_soon_as_it_may) {
    static const char *const stops[] = {"STOP"};
    TextStream *s = open_stream(stops, 1);
    Buffer out;
    buffer_init(&out, NULL);
    add(s, "ab", 2, &out);
    cr_assert_str_eq(buffer_string(&out), "ab");
    add(s, "S", 1, &out);
    cr_assert_str_eq(buffer_string(&out), "ab", "a possible beginning is held back");
    add(s, "x\xE2", 2, &out);
    cr_assert_str_eq(buffer_string(&out), "abSx", "half a character too");
    add(s, "\x82\xAC", 2, &out);
    cr_assert_str_eq(buffer_string(&out), "abSx\xE2\x82\xAC");
    add(s, "STOP", 4, &out);
    add(s, "never", 5, &out);
    cr_assert_str_eq(buffer_string(&out), "abSx\xE2\x82\xAC");
    buffer_free(&out);
    text_stream_close(s);
}

/* What is cut short at the end comes out as it is. */
Test(runner_text_stream, unfinished_character) {
    TextStream *s = open_stream(NULL, 0);
    Buffer out;
    buffer_init(&out, NULL);
    add(s, "x\xE2\x82", 3, &out);
    cr_assert_str_eq(buffer_string(&out), "x");
    cr_assert_eq(text_stream_finish(s, &out, NULL), 0);
    cr_assert_str_eq(buffer_string(&out), "x\xE2\x82");
    buffer_free(&out);
    text_stream_close(s);
    text_stream_close(NULL);
}

Test(runner_text_stream, refusals) {
    static const char *const stops[] = {"a", ""};
    TextStream *s;
    Error err = {0};
    cr_assert_eq(text_stream_open(&s, stops, 2, NULL, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "empty"), "%s", err.message);
    for (size_t left = 0; left < 2; left++) {
        FailingAllocator f;
        Buffer out;
        failing_init(&f, left);
        buffer_init(&out, NULL);
        int code = text_stream_open(&s, stops, 1, &f.allocator, NULL);
        if (!code) {
            code = text_stream_add(s, "text", 4, &out, NULL);
            text_stream_close(s);
        }
        cr_assert_eq(code, ERR_MEMORY);
        cr_assert_eq(f.live, 0);
        buffer_free(&out);
    }
}
