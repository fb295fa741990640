/* test_runner_tokenizer.c -- ids equal Hugging Face tokenizers' (tests/golden/make_tokenizer_golden.py) from
 * both forms of the vocabulary; decoding; text that isn't UTF-8; texts made to be slow.
 *
 * The real Qwen3 tokenizer is too large for the repository. With RECAST_QWEN3_TOKENIZER set to a directory
 * that holds its tokenizer.json, it is tested as well. */
#include "runner/bpe.h"
#include "runner/split.h"
#include "tests/unit/fixture.h"
#include "tests/unit/support.h"
#include "tests/unit/vocab_fixture.h"

typedef struct Setup {
    VocabFiles files;
    Vocab *vocab, *from_gguf;
    Arena *arena;
    Model gguf; /* the same vocabulary as GGUF keys */
    Tokenizer *t, *t_gguf;
} Setup;

static void setup_open(Setup *s, const char *directory, uint32_t rows) {
    Error err = {0};
    Metadata *m;
    *s = (Setup){.vocab = NULL};
    cr_assert_eq(vocab_files_open(&s->files, directory, rows, &err), 0, "%s", err.message);
    cr_assert_eq(vocab_open(&s->vocab, &s->files.model, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(tokenizer_open(&s->t, s->vocab, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(arena_open(&s->arena, NULL, &err), 0);
    cr_assert_eq(metadata_open(&m, s->arena, &err), 0);
    cr_assert_eq(vocab_to_metadata(m, s->vocab, &err), 0, "%s", err.message);
    s->gguf = (Model){.form = FORM_GGUF, .path = "memory", .metadata = m};
    cr_assert_eq(vocab_open(&s->from_gguf, &s->gguf, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(tokenizer_open(&s->t_gguf, s->from_gguf, NULL, &err), 0, "%s", err.message);
}

static void setup_close(Setup *s) {
    tokenizer_close(s->t);
    tokenizer_close(s->t_gguf);
    vocab_close(s->vocab);
    vocab_close(s->from_gguf);
    vocab_files_close(&s->files);
    arena_close(s->arena);
}

static void print_ids(Buffer *out, const Tokens *ids) {
    for (size_t i = 0; i < ids->count; i++) buffer_printf(out, i ? " %u" : "%u", ids->ids[i]);
}

static void expect_ids(const Tokenizer *t, const char *text, size_t length, const char *expected,
                       const char *what) {
    Tokens ids;
    Buffer found;
    Error err = {0};
    tokens_init(&ids, NULL);
    buffer_init(&found, NULL);
    cr_assert_eq(tokenizer_encode(t, text, length, &ids, &err), 0, "%s", err.message);
    print_ids(&found, &ids);
    cr_expect_str_eq(buffer_string(&found), expected, "%s: %s, expected %s", what, buffer_string(&found),
                     expected);
    buffer_free(&found);
    tokens_free(&ids);
}

static size_t unquote(char *text) {
    size_t n = 0;
    for (char *p = text; *p; p++) {
        if (*p == '\\') {
            char hex[3] = {p[2], p[3], 0};
            text[n++] = (char)strtoul(hex, NULL, 16);
            p += 3;
        } else {
            text[n++] = *p;
        }
    }
    text[n] = 0;
    return n;
}

static size_t check_golden(const Setup *s, const char *name) {
    char *text = fixture_read("tests/golden", name, NULL), *rest;
    size_t n = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), n++) {
        char *tab = strchr(line, '\t'), spelled[4096];
        cr_assert(tab && line[0] == '"' && tab[-1] == '"');
        tab[-1] = 0;
        snprintf(spelled, sizeof spelled, "%s", line + 1);
        size_t length = unquote(line + 1);
        expect_ids(s->t, line + 1, length, tab + 1, spelled);
        expect_ids(s->t_gguf, line + 1, length, tab + 1, spelled);
    }
    free(text);
    return n;
}

/* ---- against Hugging Face ---- */

Test(runner_tokenizer, golden) {
    Setup s;
    setup_open(&s, FIXTURE_TINY, 1024);
    cr_assert_gt(check_golden(&s, "tokenizer-tiny.txt"), 400);
    setup_close(&s);
}

Test(runner_tokenizer, golden_qwen3) {
    const char *directory = getenv("RECAST_QWEN3_TOKENIZER");
    if (!directory || !*directory) {
        cr_skip_test("RECAST_QWEN3_TOKENIZER is not set: the real Qwen3 tokenizer was not tested");
        return;
    }
    Setup s;
    setup_open(&s, directory, 151936);
    cr_assert_gt(check_golden(&s, "tokenizer-qwen3.txt"), 400);
    setup_close(&s);
}

/* ---- decoding ---- */

static void expect_text(const Tokenizer *t, const char *text) {
    Tokens ids;
    Buffer back;
    Error err = {0};
    tokens_init(&ids, NULL);
    buffer_init(&back, NULL);
    cr_assert_eq(tokenizer_encode(t, text, strlen(text), &ids, &err), 0);
    cr_assert_eq(tokenizer_decode(t, ids.ids, ids.count, &back, &err), 0, "%s", err.message);
    cr_expect_str_eq(buffer_string(&back), text);
    buffer_free(&back);
    tokens_free(&ids);
}

Test(runner_tokenizer, decode_returns_the_text) {
    Setup s;
    char *prose = fixture_read(FIXTURE_TINY, "merges.txt", NULL);
    setup_open(&s, FIXTURE_TINY, 1024);
    expect_text(s.t, "");
    expect_text(s.t, "In the beginning\n\n God's <|im_start|>x<think> 12\t\r\n");
    expect_text(s.t, "\xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80 \xC3\xA9");
    expect_text(s.t, prose);
    free(prose);
    setup_close(&s);
}

Test(runner_tokenizer, decode_single_ids) {
    Setup s;
    Buffer b;
    Error err = {0};
    setup_open(&s, FIXTURE_TINY, 1024);
    buffer_init(&b, NULL);
    const uint32_t ids[] = {1001, 220, 1003, 1010, 198, 0}; /* 1010 is a padding row */
    cr_assert_eq(tokenizer_decode(s.t, ids, 6, &b, &err), 0);
    cr_expect_str_eq(buffer_string(&b), "<|im_start|> <think>\n!");
    const uint32_t beyond[] = {0, 1024};
    cr_expect_eq(tokenizer_decode(s.t, beyond, 2, &b, &err), ERR_FORMAT);
    cr_expect(strstr(err.message, "token id 1024 at position 1; the vocabulary has 1024 tokens"), "%s",
              err.message);
    buffer_free(&b);
    setup_close(&s);
}

Test(runner_tokenizer, byte_level_alphabet) {
    bool seen[0x144] = {false};
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t c = byte_level_code_point((unsigned char)byte);
        cr_assert_lt(c, 0x144u);
        cr_expect(!seen[c]);
        seen[c] = true;
        cr_expect_eq(byte_level_byte(c), (int)byte);
    }
    cr_expect_eq(byte_level_code_point(' '), 0x120u);
    cr_expect_eq(byte_level_code_point('\n'), 0x10Au);
    cr_expect_eq(byte_level_code_point(0x7F), 0x121u);
    cr_expect_eq(byte_level_code_point(0xA0), 0x142u);
    cr_expect_eq(byte_level_code_point(0xAD), 0x143u);
    cr_expect_eq(byte_level_byte(' '), -1);
    cr_expect_eq(byte_level_byte(0x144), -1);
    cr_expect_eq(byte_level_byte(0x10FFFF), -1);
}

/* ---- added tokens ---- */

Test(runner_tokenizer, added_tokens) {
    Setup s;
    setup_open(&s, FIXTURE_TINY, 1024);
    cr_expect_eq(tokenizer_added(s.t, "<|im_end|>"), 1002);
    cr_expect_eq(tokenizer_added(s.t, "<think>"), 1003);
    cr_expect_eq(tokenizer_added(s.t, "<|im_end"), -1);
    cr_expect_eq(tokenizer_added(s.t, "a"), -1, "a token, but no added one");
    cr_expect_eq(tokenizer_added(s.t, "[PAD1010]"), -1, "padding rows never match");
    cr_expect_eq(tokenizer_added(s.t, ""), -1);
    cr_expect(tokenizer_ends(s.t, 1002) && tokenizer_ends(s.t, 1000));
    cr_expect(!tokenizer_ends(s.t, 1001) && !tokenizer_ends(s.t, 0));
    setup_close(&s);
}

/* A vocabulary of single letters and added tokens of which one begins another. */
Test(runner_tokenizer, leftmost_then_longest) {
    static const char *const texts[] = {"a", "b", "c", "<x>", "<x><y>", "<x><y><z>", "y", "<", ">", "", "x"};
    static const int32_t types[] = {1, 1, 1, 3, 4, 4, 1, 1, 1, 3, 5};
    enum { N = sizeof texts / sizeof *texts };
    GgufString tokens[N];
    const char *const none[] = {NULL};
    Arena *arena;
    Table *ids;
    Tokenizer *t;
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(table_open(&ids, arena, N, NULL), 0);
    for (size_t i = 0; i < N; i++) {
        tokens[i] = (GgufString){texts[i], strlen(texts[i])};
        cr_assert_eq(table_put(ids, texts[i], strlen(texts[i]), i), 0);
    }
    Vocab v = {.n_tokens = N, .tokens = tokens, .types = types, .ids = ids, .id_order = none};
    cr_assert_eq(tokenizer_open(&t, &v, NULL, NULL), 0);
    expect_ids(t, "a<x>b", 5, "0 3 1", "one");
    expect_ids(t, "<x><y>c", 7, "4 2", "the longer one");
    expect_ids(t, "<x><y><z>", 9, "5", "the longest one");
    expect_ids(t, "<x><y><x>", 9, "4 3", "falls back");
    expect_ids(t, "<x><yb", 6, "3 7 6 1", "the longest that is complete");
    expect_ids(t, "<x", 2, "7 10", "cut off");
    expect_ids(t, "a?b", 3, "0 1", "a byte without a token is dropped");
    cr_expect(!tokenizer_ends(t, 3));
    tokenizer_close(t);
    arena_close(arena);
}

/* ---- pieces ---- */

Test(runner_tokenizer, split_pieces) {
    static const struct {
        const char *text, *pieces; /* joined with | */
    } cases[] = {
        {"it's IT'S y'aLL 'sister", "it|'s| IT|'S| y|'aLL| '|sister"},
        {"a  b", "a| | b"},
        {"x \t\n y", "x| \t\n| y"},
        {"a\xC2\xA0"
         "b",
         "a|\xC2\xA0"
         "b"},
        {"a   \n\n  b   ", "a|   \n\n| | b|   "},
        {"...\r\n\r\n x", "...\r\n\r\n| x"},
        {"12\xE2\x85\x93", "1|2|\xE2\x85\x93"},
        {"'\xC5\xBFx 'l 'v", "'\xC5\xBF|x| '|l| '|v"},
        {"\n", "\n"},
        {"  1", " | |1"},
        {"\xE3\x80\x80!", "\xE3\x80\x80|!"},
        {"\xE1\xA0\x8E"
         "a",
         "\xE1\xA0\x8E"
         "a"},
        {"\r\na", "\r\n|a"},
        {"e\xCC\x81", "e|\xCC\x81"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Buffer b;
        size_t length = strlen(cases[i].text);
        buffer_init(&b, NULL);
        for (size_t at = 0; at < length;) {
            size_t end = split_piece(cases[i].text, length, at);
            cr_assert(end > at && end <= length);
            if (at) buffer_char(&b, '|');
            buffer_append(&b, cases[i].text + at, end - at);
            at = end;
        }
        cr_expect_str_eq(buffer_string(&b), cases[i].pieces, "case %zu: %s", i, buffer_string(&b));
        buffer_free(&b);
    }
}

/* ---- bytes that are no UTF-8 ---- */

static const struct {
    const char *bytes, *repaired;
} broken[] = {
    /* the examples of The Unicode Standard, section 3.9 */
    {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", "a\uFFFD\uFFFD\uFFFD"
                                                             "b\uFFFD"
                                                             "c\uFFFD\uFFFD"
                                                             "d"},
    {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"
                                             "A"},
    {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"
                                             "A"},
    {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"
                                             "A\uFFFD\uFFFD"
                                             "B"},
    {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "\uFFFD\uFFFD\uFFFD\uFFFD"
                                             "A"},
    {"ok \xC3\xA9", "ok \xC3\xA9"},
    {"", ""},
    {"\xE4\xB8", "\uFFFD"},
    {"x\xF0\x9F\x98", "x\uFFFD"},
};

Test(runner_tokenizer, invalid_utf8) {
    Setup s;
    setup_open(&s, FIXTURE_TINY, 1024);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        Buffer b, ids;
        Tokens direct;
        buffer_init(&b, NULL);
        buffer_init(&ids, NULL);
        tokens_init(&direct, NULL);
        utf8_replace_invalid(&b, broken[i].bytes, strlen(broken[i].bytes));
        cr_expect_str_eq(buffer_string(&b), broken[i].repaired, "case %zu", i);
        cr_assert_eq(tokenizer_encode(s.t, broken[i].repaired, strlen(broken[i].repaired), &direct, NULL), 0);
        print_ids(&ids, &direct);
        expect_ids(s.t, broken[i].bytes, strlen(broken[i].bytes), buffer_string(&ids), "broken");
        tokens_free(&direct);
        buffer_free(&ids);
        buffer_free(&b);
    }
    setup_close(&s);
}

Test(runner_tokenizer, complete_prefix) {
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"", 0},
        {"ab", 2},
        {"a\xC3", 1},
        {"a\xC3\xA9", 3},
        {"\xE4", 0},
        {"\xE4\xB8", 0},
        {"\xE4\xB8\xAD", 3},
        {"x\xF0\x9F\x98", 1},
        {"\xF0\x9F\x98\x80", 4},
        {"\x80\x80", 2},
        {"a\xFF", 2},
        {"\xED\xA0", 2},
        {"\xE0\x80", 2},
        {"a\x80\x80\x80\x80", 5},
        {"\xC3\xA9\xA9", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(utf8_complete_prefix(cases[i].text, strlen(cases[i].text)), cases[i].length, "case %zu",
                     i);
    }
}

/* ---- texts made to be slow: with anything quadratic this test runs into the limit of minutes; steps are
 * counted in test_runner_bpe ---- */

static void encode_megabyte(const Tokenizer *t, const char *unit) {
    Buffer text, back;
    Tokens ids;
    buffer_init(&text, NULL);
    buffer_init(&back, NULL);
    tokens_init(&ids, NULL);
    while (text.length < 1 << 20) buffer_text(&text, unit);
    buffer_char(&text, 'x');
    cr_assert_eq(tokenizer_encode(t, text.data, text.length, &ids, NULL), 0);
    cr_expect_gt(ids.count, 1);
    cr_assert_eq(tokenizer_decode(t, ids.ids, ids.count, &back, NULL), 0);
    cr_expect_eq(back.data[back.length - 1], 'x');
    tokens_free(&ids);
    buffer_free(&back);
    buffer_free(&text);
}

Test(runner_tokenizer, a_megabyte_of_one_word) {
    Setup s;
    setup_open(&s, FIXTURE_TINY, 1024);
    static const char *const units[] = {
        "a", "the", "qzv", " ", " \n", "<|im_en", "\xCC\x81\xCC\xA3", "=", "'s", "\xE1\x84\x80\xE1\x85\xA1"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) encode_megabyte(s.t, units[i]);
    setup_close(&s);
}

/* ---- memory ---- */

Test(runner_tokenizer, memory_runs_out) {
    Setup s;
    static const char text[] = "In the beginning e\xCC\x81 <think> \xFF";
    setup_open(&s, FIXTURE_TINY, 1024);
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        Tokenizer *t = NULL;
        Tokens ids;
        Buffer back;
        Error err = {0};
        failing_init(&f, n);
        tokens_init(&ids, &f.allocator);
        buffer_init(&back, &f.allocator);
        int code = tokenizer_open(&t, s.vocab, &f.allocator, &err);
        if (!code) code = tokenizer_encode(t, text, sizeof text - 1, &ids, &err);
        if (!code) code = tokenizer_decode(t, ids.ids, ids.count, &back, &err);
        if (!code) cr_expect_str_eq(buffer_string(&back), "In the beginning \xC3\xA9 <think> \uFFFD");
        tokens_free(&ids);
        buffer_free(&back);
        tokenizer_close(t);
        cr_assert_eq(f.live, 0, "after %zu", n);
        if (!code) break;
        cr_assert_eq(code, ERR_MEMORY, "after %zu: %s", n, err.message);
        cr_assert_lt(n, 200);
    }
    setup_close(&s);
}

/* A long text: with a cache, a word that is merged by rank, and one by the heap. */
Test(runner_tokenizer, memory_runs_out_in_a_long_word) {
    Setup s;
    char text[3000];
    setup_open(&s, FIXTURE_TINY, 1024);
    for (size_t i = 0; i < sizeof text; i++) text[i] = "the nainot"[i % (i < 2000 ? 3 : 7)];
    memset(text + 2000, ' ', 1);
    text[2300] = '.';
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        Tokens ids;
        Error err = {0};
        Tokenizer *t = NULL;
        failing_init(&f, n);
        tokens_init(&ids, &f.allocator);
        int code = tokenizer_open(&t, s.vocab, &f.allocator, &err);
        if (!code) code = tokenizer_encode(t, text, sizeof text, &ids, &err);
        tokens_free(&ids);
        tokenizer_close(t);
        cr_assert_eq(f.live, 0, "after %zu", n);
        if (!code) break;
        cr_assert_eq(code, ERR_MEMORY, "after %zu: %s", n, err.message);
        cr_assert_lt(n, 200);
    }
    setup_close(&s);
}
