/* test_runner_unicode.c -- every code point, all pairs that could compose or move, and random texts, against
 * hashes of what Hugging Face tokenizers says (tests/golden/make_unicode_golden.py describes them). */
#include "core/sha256.h"
#include "core/utf8.h"
#include "runner/unicode.h"
#include "tests/unit/fixture.h"

typedef struct Points {
    uint32_t *c;
    size_t n;
} Points;

typedef struct Golden {
    char *text;
    Points pool, composites;
    const char *planes[17], *pairs, *texts;
    uint32_t n_texts;
} Golden;

static Points points(char *list) {
    Points p = {malloc(strlen(list) / 2 * sizeof(uint32_t)), 0};
    char *rest;
    for (char *word = strtok_r(list, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        p.c[p.n++] = (uint32_t)strtoul(word, NULL, 16);
    }
    return p;
}

static void golden_open(Golden *g) {
    char *rest, *words;
    *g = (Golden){.text = fixture_read("tests/golden", "unicode.txt", NULL)};
    for (char *line = strtok_r(g->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *kind = strtok_r(line, " ", &words);
        if (strcmp(kind, "plane") == 0) {
            unsigned long plane = strtoul(strtok_r(NULL, " ", &words), NULL, 10);
            cr_assert_leq(plane, 16);
            g->planes[plane] = words;
        } else if (strcmp(kind, "pool") == 0) {
            g->pool = points(words);
        } else if (strcmp(kind, "composites") == 0) {
            g->composites = points(words);
        } else if (strcmp(kind, "pairs") == 0) {
            g->pairs = words;
        } else if (strcmp(kind, "texts") == 0) {
            g->n_texts = (uint32_t)strtoul(strtok_r(NULL, " ", &words), NULL, 10);
            g->texts = words;
        }
    }
}

static void golden_close(Golden *g) {
    free(g->text);
    free(g->pool.c);
    free(g->composites.c);
}

static void append_point(Buffer *b, uint32_t c) {
    char utf8[4];
    buffer_append(b, utf8, utf8_encode(utf8, c));
}

Test(runner_unicode, every_code_point) {
    Golden g;
    Sha256 *h;
    char hex[SHA256_HEX];
    Buffer b;
    buffer_init(&b, NULL);
    golden_open(&g);
    cr_assert_eq(sha256_open(&h, NULL), 0);
    for (uint32_t plane = 0; plane < 17; plane++) {
        for (uint32_t c = plane << 16; c < (plane + 1) << 16; c++) {
            char utf8[4];
            if (c >= 0xD800 && c < 0xE000) continue;
            buffer_clear(&b);
            buffer_char(&b, ".LNs"[unicode_kind(c)]);
            unicode_nfc(&b, utf8, utf8_encode(utf8, c));
            buffer_char(&b, '\n');
            sha256_update(h, b.data, b.length);
        }
        sha256_finish(h, hex);
        cr_expect_str_eq(hex, g.planes[plane], "plane %u", plane);
    }
    sha256_close(h);
    buffer_free(&b);
    golden_close(&g);
}

Test(runner_unicode, every_pair) {
    Golden g;
    Sha256 *h;
    char hex[SHA256_HEX];
    Buffer text, out;
    buffer_init(&text, NULL);
    buffer_init(&out, NULL);
    golden_open(&g);
    cr_assert_gt(g.pool.n, 1000);
    cr_assert_eq(sha256_open(&h, NULL), 0);
    for (size_t i = 0; i < g.pool.n; i++) {
        buffer_clear(&text);
        buffer_clear(&out);
        for (size_t k = 0; k < g.pool.n; k++) {
            append_point(&text, g.pool.c[i]);
            append_point(&text, g.pool.c[k]);
            buffer_char(&text, '\n');
        }
        unicode_nfc(&out, text.data, text.length);
        sha256_update(h, out.data, out.length);
    }
    sha256_finish(h, hex);
    cr_expect_str_eq(hex, g.pairs);
    sha256_close(h);
    buffer_free(&text);
    buffer_free(&out);
    golden_close(&g);
}

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

Test(runner_unicode, random_texts) {
    Golden g;
    char hex[SHA256_HEX];
    Buffer text, out;
    uint64_t state = 1;
    buffer_init(&text, NULL);
    buffer_init(&out, NULL);
    golden_open(&g);
    cr_assert_gt(g.n_texts, 1000);
    for (uint32_t i = 0; i < g.n_texts; i++) {
        buffer_clear(&text);
        uint32_t length = 1 + next_random(&state) % 16;
        while (length--) {
            const Points *source = next_random(&state) % 4 == 0 ? &g.composites : &g.pool;
            append_point(&text, source->c[next_random(&state) % source->n]);
        }
        unicode_nfc(&out, text.data, text.length);
        buffer_char(&out, '\n');
    }
    cr_assert_eq(sha256_bytes(hex, out.data, out.length, NULL), 0);
    cr_expect_str_eq(hex, g.texts);
    buffer_free(&text);
    buffer_free(&out);
    golden_close(&g);
}

Test(runner_unicode, kinds) {
    cr_expect(unicode_is_letter('a') && unicode_is_letter(0xE9) && unicode_is_letter(0x4E2D));
    cr_expect(unicode_is_letter(0x31350), "CJK extension H, Unicode 15");
    cr_expect(unicode_is_number('7') && unicode_is_number(0x2153) && unicode_is_number(0x0660));
    cr_expect(unicode_is_space(' ') && unicode_is_space(0x85) && unicode_is_space(0xA0) &&
              unicode_is_space(0x3000));
    cr_expect(!unicode_is_space(0x180E), "a space to others, not to Oniguruma");
    cr_expect(!unicode_is_space(0x1C) && !unicode_is_space(0x200B));
    cr_expect(!unicode_is_letter(0x0301) && !unicode_is_number(0x0301) && !unicode_is_space(0x0301));
    cr_expect_eq(unicode_kind(0x10FFFF), KIND_OTHER);
    cr_expect_eq(unicode_kind(0x110000), KIND_OTHER);
    for (unsigned char c = 0; c < 0x80; c++) cr_expect_eq(unicode_ascii_kind(c), unicode_kind(c), "%u", c);
}

Test(runner_unicode, nfc) {
    static const struct {
        const char *text, *normal;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"e\xCC\x81", "\xC3\xA9"},
        {"a\xCC\x87\xCC\xA3", "\xE1\xBA\xA1\xCC\x87"}, /* the mark below goes first and composes */
        {"\xCC\x81"
         "a",
         "\xCC\x81"
         "a"},                                                    /* a mark in front of everything */
        {"\xE2\x84\xA6", "\xCE\xA9"},                             /* OHM SIGN is a singleton */
        {"\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC"},             /* U+0958 is excluded from composition */
        {"\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C"}, /* three jamo */
        {"\xEA\xB0\x80\xE1\x86\xA8", "\xEA\xB0\x81"},             /* syllable and trailing jamo */
        {"e\xE2\x80\x8D\xCC\x81", "e\xE2\x80\x8D\xCC\x81"},       /* a joiner stands between */
        {"\xF0\x91\x82\xA5\xF0\x91\x82\xBA", "\xF0\x91\x82\xAB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Buffer b;
        buffer_init(&b, NULL);
        unicode_nfc(&b, cases[i].text, strlen(cases[i].text));
        cr_expect_str_eq(buffer_string(&b), cases[i].normal, "case %zu", i);
        buffer_free(&b);
    }
}

/* A million marks in the worst order: quadratic sorting would take minutes. */
Test(runner_unicode, many_marks, .timeout = 20) {
    Buffer text, out;
    buffer_init(&text, NULL);
    buffer_init(&out, NULL);
    for (int i = 0; i < 500000; i++) buffer_text(&text, "\xCC\x81\xCC\xA3"); /* classes 230 and 220 */
    unicode_nfc(&out, text.data, text.length);
    cr_assert_eq(out.length, text.length);
    cr_expect_eq(memcmp(out.data, "\xCC\xA3\xCC\xA3", 4), 0);
    cr_expect_eq(memcmp(out.data + out.length - 4, "\xCC\x81\xCC\x81", 4), 0);
    buffer_free(&text);
    buffer_free(&out);
}

Test(runner_unicode, prefix_in_nfc) {
    static const struct {
        const char *text;
        size_t prefix;
    } cases[] = {
        {"", 0},
        {"plain \xC3\xA9 \xE4\xB8\xAD", 12},
        {"caf\xC3\xA9", 5},
        {"cafe\xCC\x81 x", 3},
        {"\xCC\x81", 0},
        {"ab\xE2\x84\xA6", 1},                       /* OHM SIGN becomes OMEGA */
        {"\xC3\xA9\xC3\xA9\xCC\xA3", 2},             /* a mark that goes in front of the acute */
        {"\xE1\x84\x80\xE1\x85\xA1", 0},             /* jamo join */
        {"x\xEA\xB0\x80\xE1\x86\xA8", 1},            /* a syllable and a final consonant */
        {"\xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4", 9}, /* syllables do not */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(unicode_nfc_prefix(cases[i].text, strlen(cases[i].text)), cases[i].prefix, "case %zu",
                     i);
    }
}

/* What lies between characters that stay as they are is normalised as if it stood alone. */
Test(runner_unicode, texts_may_be_cut) {
    Golden g;
    Buffer text, whole, parts;
    uint64_t state = 2;
    buffer_init(&text, NULL);
    buffer_init(&whole, NULL);
    buffer_init(&parts, NULL);
    golden_open(&g);
    for (uint32_t i = 0; i < 4000; i++) {
        size_t begin = text.length;
        uint32_t n = next_random(&state) % 6;
        while (n--) append_point(&text, g.pool.c[next_random(&state) % g.pool.n]);
        unicode_nfc(&parts, text.data + begin, text.length - begin);
        const char *between = i % 2 ? "\n" : "\xE4\xB8\xAD\n";
        buffer_text(&text, between);
        buffer_text(&parts, between);
    }
    unicode_nfc(&whole, text.data, text.length);
    cr_assert_eq(whole.length, parts.length);
    cr_expect_arr_eq(whole.data, parts.data, whole.length);
    buffer_free(&text);
    buffer_free(&whole);
    buffer_free(&parts);
    golden_close(&g);
}
