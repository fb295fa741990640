/* test_runner_bpe.c -- the three ways to merge a piece give what the definition gives; the two for long
 * pieces take steps in proportion to its length. */
#include "runner/bpe_private.h"
#include "tests/unit/fixture.h"
#include "tests/unit/vocab_fixture.h"

typedef struct Setup {
    VocabFiles files;
    Vocab *vocab;
    Arena *arena;
    Bpe *bpe;
    BpeWork work;
} Setup;

static void setup_open(Setup *s) {
    Error err = {0};
    cr_assert_eq(vocab_files_open(&s->files, FIXTURE_TINY, 1024, &err), 0, "%s", err.message);
    cr_assert_eq(vocab_open(&s->vocab, &s->files.model, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(arena_open(&s->arena, NULL, NULL), 0);
    cr_assert_eq(bpe_open(&s->bpe, s->vocab, s->arena, &err), 0, "%s", err.message);
    bpe_work_init(&s->work, NULL);
}

static void setup_close(Setup *s) {
    bpe_work_free(&s->work);
    arena_close(s->arena);
    vocab_close(s->vocab);
    vocab_files_close(&s->files);
}

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* The definition: of all pairs the one of the lowest rank, of those the leftmost, until no pair has one. */
static void define(const Vocab *v, Tokens *ids, const Bpe *bpe, const char *piece, size_t length) {
    for (size_t i = 0; i < length; i++) {
        uint32_t id = bpe->byte_ids[(unsigned char)piece[i]];
        if (id != NONE) cr_assert_eq(tokens_push(ids, id, NULL), 0);
    }
    for (;;) {
        uint32_t lowest = v->n_merges;
        size_t at = 0;
        for (size_t i = 0; i + 1 < ids->count; i++) {
            for (uint32_t rank = 0; rank < lowest; rank++) {
                const TokenMerge *m = &v->merge_ids[rank];
                if (m->left != ids->ids[i] || m->right != ids->ids[i + 1]) continue;
                lowest = rank;
                at = i;
            }
        }
        if (lowest == v->n_merges) return;
        ids->ids[at] = v->merge_ids[lowest].result;
        ids->count--;
        memmove(ids->ids + at + 1, ids->ids + at + 2, (ids->count - at - 1) * sizeof *ids->ids);
    }
}

static void expect_equal(const Tokens *a, const Tokens *b, const char *way, const char *piece,
                         size_t length) {
    cr_assert(a->count == b->count && (!a->count || memcmp(a->ids, b->ids, a->count * sizeof *a->ids) == 0),
              "%s, %zu bytes: %.*s", way, length, (int)length, piece);
}

/* `expected`: NULL for pieces that are too long for the definition. */
static void expect_agreement(const Bpe *bpe, BpeWork *w, const Vocab *v, const char *piece, size_t length,
                             bool defined) {
    Tokens expected, heap, ranks, any;
    tokens_init(&expected, NULL);
    tokens_init(&heap, NULL);
    tokens_init(&ranks, NULL);
    tokens_init(&any, NULL);
    cr_assert_eq(bpe_encode_long(bpe, w, piece, length, false, &heap, NULL), 0);
    cr_assert_eq(bpe_encode_long(bpe, w, piece, length, true, &ranks, NULL), 0);
    cr_assert_eq(bpe_encode(bpe, w, piece, length, &any, NULL), 0);
    if (defined) {
        define(v, &expected, bpe, piece, length);
        expect_equal(&heap, &expected, "heap", piece, length);
    }
    expect_equal(&ranks, &heap, "ranks", piece, length);
    expect_equal(&any, &heap, "by length", piece, length);
    tokens_free(&expected);
    tokens_free(&heap);
    tokens_free(&ranks);
    tokens_free(&any);
}

Test(runner_bpe, three_ways_agree) {
    static const char *const alphabets[] = {"the ", "ainot", "abcdefghijklmnopqrstuvwxyz", "sh", "e", " ."};
    Setup s;
    uint64_t state = 1;
    char piece[3000];
    setup_open(&s);
    cr_assert(s.bpe->ordered);
    for (size_t k = 0; k < 600; k++) {
        const char *alphabet = alphabets[k % (sizeof alphabets / sizeof *alphabets)];
        size_t length = 1 + next_random(&state) % (k % 10 ? 60 : sizeof piece);
        for (size_t i = 0; i < length; i++) piece[i] = alphabet[next_random(&state) % strlen(alphabet)];
        expect_agreement(s.bpe, &s.work, s.vocab, piece, length, length <= 60);
    }
    setup_close(&s);
}

/* ---- vocabularies made by hand ---- */

typedef struct Made {
    Vocab v;
    GgufString tokens[8];
    Arena *arena;
    Bpe *bpe;
    BpeWork work;
} Made;

static void made_open(Made *m, const char *const *texts, size_t n, const TokenMerge *merges,
                      size_t n_merges) {
    Table *ids;
    cr_assert_eq(arena_open(&m->arena, NULL, NULL), 0);
    cr_assert_eq(table_open(&ids, m->arena, n, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        m->tokens[i] = (GgufString){texts[i], strlen(texts[i])};
        cr_assert_eq(table_put(ids, texts[i], strlen(texts[i]), i), 0);
    }
    m->v = (Vocab){.n_tokens = (uint32_t)n,
                   .tokens = m->tokens,
                   .ids = ids,
                   .merge_ids = merges,
                   .n_merges = (uint32_t)n_merges};
    cr_assert_eq(bpe_open(&m->bpe, &m->v, m->arena, NULL), 0);
    bpe_work_init(&m->work, NULL);
}

static void made_close(Made *m) {
    bpe_work_free(&m->work);
    arena_close(m->arena);
}

static void expect_all_texts(Made *m, const char *alphabet, size_t longest) {
    char piece[16];
    size_t letters = strlen(alphabet), texts = 1;
    for (size_t length = 1; length <= longest; length++) {
        texts *= letters;
        for (size_t text = 0; text < texts; text++) {
            size_t rest = text;
            for (size_t i = 0; i < length; i++, rest /= letters) piece[i] = alphabet[rest % letters];
            expect_agreement(m->bpe, &m->work, &m->v, piece, length, true);
        }
    }
}

Test(runner_bpe, runs_of_one_letter) {
    static const char *const texts[] = {"a", "aa", "aaaa", "aaa", "b", "aab"};
    static const TokenMerge merges[] = {{0, 0, 1}, {1, 1, 2}, {1, 0, 3}, {1, 4, 5}};
    Made m;
    char run[700];
    made_open(&m, texts, 6, merges, 4);
    cr_expect(m.bpe->ordered);
    expect_all_texts(&m, "ab", 10);
    memset(run, 'a', sizeof run);
    for (size_t length = 1; length <= sizeof run; length++) {
        expect_agreement(m.bpe, &m.work, &m.v, run, length, length < 100);
    }
    made_close(&m);
}

/* abc is made of ab before ab is made; aa is made twice, the second time behind a merge that uses it. */
Test(runner_bpe, merges_out_of_order) {
    static const char *const texts[] = {"a", "b", "c", "ab", "abc", "bc", "cab", "aa"};
    static const TokenMerge merges[] = {{3, 2, 4}, {2, 3, 6}, {0, 1, 3}, {1, 2, 5}, {3, 3, 7}, {0, 5, 4}};
    Made m;
    made_open(&m, texts, 8, merges, 6);
    cr_expect(!m.bpe->ordered);
    expect_all_texts(&m, "abc", 8);
    made_close(&m);
}

Test(runner_bpe, nothing_to_merge) {
    static const char *const texts[] = {"a", "b"};
    Made m;
    Tokens ids;
    char long_piece[LONG_PIECE + 1];
    memset(long_piece, 'x', sizeof long_piece);
    made_open(&m, texts, 2, NULL, 0);
    expect_all_texts(&m, "abx", 4);
    tokens_init(&ids, NULL);
    cr_assert_eq(bpe_encode(m.bpe, &m.work, long_piece, sizeof long_piece, &ids, NULL), 0);
    cr_expect_eq(ids.count, 0, "no byte has a token");
    tokens_free(&ids);
    made_close(&m);
}

/* ---- how long it takes ---- */

static uint64_t steps(Setup *s, const char *unit, size_t length, bool by_rank) {
    Buffer text;
    Tokens ids;
    uint64_t state = 7;
    buffer_init(&text, NULL);
    tokens_init(&ids, NULL);
    while (text.length < length) {
        if (*unit) {
            buffer_text(&text, unit);
        } else {
            buffer_char(&text, (char)('a' + next_random(&state) % 26));
        }
    }
    s->work.steps = 0;
    cr_assert_eq(bpe_encode_long(s->bpe, &s->work, text.data, length, by_rank, &ids, NULL), 0);
    buffer_free(&text);
    tokens_free(&ids);
    return s->work.steps;
}

/* A symbol is put up once at first, and each of the at most n - 1 merges puts up two; runs are walked once.
 */
Test(runner_bpe, steps_are_linear) {
    static const char *const units[] = {"", "a", "the", " ", "=", "\xCC\x81\xCC\xA3", "\xE4\xB8\xAD", "\n"};
    Setup s;
    setup_open(&s);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        for (size_t length = 1 << 12; length <= 1 << 18; length *= 8) {
            cr_expect_leq(steps(&s, units[i], length, true), 4 * length, "%s", units[i]);
            cr_expect_leq(steps(&s, units[i], length, false), 3 * length, "%s", units[i]);
        }
    }
    setup_close(&s);
}
