#include "core/utf8.h"
#include <criterion/criterion.h>
#include <string.h>

Test(core_utf8, every_scalar_value_round_trips) {
    unsigned wrong = 0;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        char bytes[4];
        uint32_t back = UINT32_MAX;
        size_t n = utf8_encode(bytes, c);
        wrong += n != (c < 0x80 ? 1u : c < 0x800 ? 2u : c < 0x10000 ? 3u : 4u);
        wrong += utf8_decode(bytes, n, &back) != n || back != c;
        wrong += utf8_decode(bytes, n - 1, &back) != 0;
    }
    cr_assert_eq(wrong, 0);
}

Test(core_utf8, known_bytes) {
    char bytes[4];
    cr_assert_eq(utf8_encode(bytes, 0xE9), 2);
    cr_assert(memcmp(bytes, "\xC3\xA9", 2) == 0);
    cr_assert_eq(utf8_encode(bytes, 0x20AC), 3);
    cr_assert(memcmp(bytes, "\xE2\x82\xAC", 3) == 0);
    cr_assert_eq(utf8_encode(bytes, 0x1F600), 4);
    cr_assert(memcmp(bytes, "\xF0\x9F\x98\x80", 4) == 0);
}

Test(core_utf8, ill_formed_bytes_are_refused) {
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFF",
        "\xC3",
        "\xC3(",
        "\xE2\x82",
        "\xE2(\xAC",
        "\xF0\x9F\x98",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(utf8_decode(bad[i], strlen(bad[i]), NULL), 0, "case %zu", i);
    cr_assert_eq(utf8_decode("", 0, NULL), 0);
}

Test(core_utf8, where_text_is_invalid_and_where_it_may_be_cut) {
    cr_assert_eq(utf8_invalid_at("h\xC3\xA9llo", 6), 6);
    cr_assert_eq(utf8_invalid_at("h\xC3\xA9\xFFo", 5), 3);
    cr_assert_eq(utf8_cut("h\xC3\xA9llo", 6, 10), 6);
    cr_assert_eq(utf8_cut("h\xC3\xA9llo", 6, 3), 3);
    cr_assert_eq(utf8_cut("h\xC3\xA9llo", 6, 2), 1);
    cr_assert_eq(utf8_cut("\xF0\x9F\x98\x80", 4, 3), 0);
}
