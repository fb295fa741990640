/* test_runner_piece_cache.c -- what is kept, what isn't, and that a text with a cache has the ids of its
 * pieces without one. */
#include "runner/piece_cache.h"
#include "runner/tokenizer.h"
#include "tests/unit/fixture.h"
#include "tests/unit/support.h"
#include "tests/unit/vocab_fixture.h"

Test(runner_piece_cache, sizes) {
    PieceCache c;
    bool found;
    cr_assert_eq(piece_cache_open(&c, 10, NULL, NULL), 0);
    cr_expect_null(c.slots, "a short text needs none");
    cr_expect_null(piece_cache_slot(&c, "a", 1, &found));
    cr_expect(!found);
    piece_cache_close(&c);
    cr_assert_eq(piece_cache_open(&c, SIZE_MAX, NULL, NULL), 0);
    cr_expect_leq((c.mask + 1) * sizeof *c.slots, 1u << 20);
    piece_cache_close(&c);
    FailingAllocator f;
    failing_init(&f, 0);
    cr_expect_eq(piece_cache_open(&c, 1000, &f.allocator, NULL), ERR_MEMORY);
}

Test(runner_piece_cache, finds_what_it_holds) {
    PieceCache c;
    bool found;
    static const char text[40] = "a\0bcdefghijklmnopqrstuvwxyz0123456789";
    cr_assert_eq(piece_cache_open(&c, 1 << 20, NULL, NULL), 0);
    for (size_t length = 1; length <= PIECE_BYTES; length++) {
        CachedPiece *slot = piece_cache_slot(&c, text, length, &found);
        cr_assert_not_null(slot);
        cr_expect(!found, "%zu bytes", length);
        slot->ids[0] = (uint32_t)length;
        slot->count = 1;
    }
    for (size_t length = 1; length <= PIECE_BYTES; length++) {
        CachedPiece *slot = piece_cache_slot(&c, text, length, &found);
        if (found) cr_expect_eq(slot->ids[0], length);
        cr_expect(found || slot->length == length, "another came into its slot");
    }
    piece_cache_slot(&c, text, PIECE_BYTES, &found);
    cr_expect(found, "the last one is there");
    cr_expect_null(piece_cache_slot(&c, text, PIECE_BYTES + 1, &found));
    cr_expect(!found);
    piece_cache_close(&c);
}

/* All look alike behind their end, and there are twice as many as slots. */
Test(runner_piece_cache, zeros_of_any_length) {
    static const char zeros[PIECE_BYTES];
    PieceCache c;
    bool found;
    cr_assert_eq(piece_cache_open(&c, 256, NULL, NULL), 0);
    cr_assert_eq(c.mask, 15u);
    for (size_t round = 0; round < 2; round++) {
        for (size_t length = 1; length <= PIECE_BYTES; length++) {
            CachedPiece *slot = piece_cache_slot(&c, zeros, length, &found);
            cr_expect(!found || slot->ids[0] == length, "%zu", length);
            slot->ids[0] = (uint32_t)length;
        }
    }
    piece_cache_close(&c);
}

/* More different pieces than slots, each of them several times: the whole text against its parts, which are
 * too short for a cache. */
Test(runner_piece_cache, ids_are_the_same) {
    VocabFiles files;
    Vocab *vocab;
    Tokenizer *t;
    Buffer text;
    Tokens whole, parts;
    uint64_t state = 3;
    cr_assert_eq(vocab_files_open(&files, FIXTURE_TINY, 1024, NULL), 0);
    cr_assert_eq(vocab_open(&vocab, &files.model, NULL, NULL), 0);
    cr_assert_eq(tokenizer_open(&t, vocab, NULL, NULL), 0);
    buffer_init(&text, NULL);
    tokens_init(&whole, NULL);
    tokens_init(&parts, NULL);
    for (size_t i = 0; i < 60000; i++) {
        char word[64];
        state = state * 6364136223846793005u + 1442695040888963407u;
        int n = snprintf(word, sizeof word, "%s%llx<think>", i % 2 ? " of" : "the ",
                         (unsigned long long)(state >> 33) % (i % 3 ? 40000 : 50));
        buffer_append(&text, word, (size_t)n);
        cr_assert_eq(tokenizer_encode(t, word, (size_t)n, &parts, NULL), 0);
    }
    cr_assert_eq(tokenizer_encode(t, text.data, text.length, &whole, NULL), 0);
    cr_assert_eq(whole.count, parts.count);
    cr_expect_arr_eq(whole.ids, parts.ids, whole.count * sizeof *whole.ids);
    tokens_free(&whole);
    tokens_free(&parts);
    buffer_free(&text);
    tokenizer_close(t);
    vocab_close(vocab);
    vocab_files_close(&files);
}
