/* The hash that runs beside the forward pass: the same as hashing everything at the end. */
#include "runner/logits_hash.h"
#include "tests/unit/fixture.h"

enum { N = 20011, ROWS = 9 };

/* Rows follow each other at once, so that a row which is not copied in time would show. */
Test(runner_logits_hash, is_that_of_all_rows) {
    char want[SHA256_HEX], got[SHA256_HEX];
    float *all = malloc(ROWS * N * sizeof *all), *row = malloc(N * sizeof *row);
    uint64_t state = 3;
    LogitsHash *h;
    Error err = {0};
    cr_assert(all && row);
    for (size_t i = 0; i < ROWS * N; i++) all[i] = (float)(fixture_random(&state) >> 40);
    cr_assert_eq(logits_hash_open(&h, N, NULL, &err), 0, "%s", err.message);
    for (int again = 0; again < 2; again++) {
        for (size_t r = 0; r < ROWS; r++) {
            memcpy(row, all + r * N, N * sizeof *row);
            logits_hash_add(h, row);
            memset(row, 0, N * sizeof *row); /* the caller's again */
        }
        logits_hash_finish(h, got);
        cr_assert_eq(sha256_bytes(want, all, ROWS * N * sizeof *all, &err), 0);
        cr_assert_str_eq(got, want);
    }
    logits_hash_close(h);
    free(all);
    free(row);
}

Test(runner_logits_hash, of_nothing_and_abandoned) {
    char got[SHA256_HEX];
    LogitsHash *h;
    Error err = {0};
    float row[3] = {1, 2, 3};
    cr_assert_eq(logits_hash_open(&h, 3, NULL, &err), 0, "%s", err.message);
    logits_hash_finish(h, got);
    cr_assert_str_eq(got, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    logits_hash_add(h, row);
    logits_hash_close(h);
    logits_hash_close(NULL);
}

/* The n-th request fails. */
static void *resize(void *context, void *pointer, size_t size) {
    int *left = context;
    if (!size) {
        free(pointer);
        return NULL;
    }
    return (*left)-- > 1 ? realloc(pointer, size) : NULL;
}

Test(runner_logits_hash, without_memory) {
    for (int n = 1; n <= 3; n++) {
        int left = n;
        Allocator allocator = {resize, &left};
        LogitsHash *h = NULL;
        Error err = {0};
        int code = logits_hash_open(&h, 100, &allocator, &err);
        cr_assert_eq(code, n < 3 ? ERR_MEMORY : 0, "request %d", n);
        logits_hash_close(h);
    }
}
