/* tokenize.c DIRECTORY FILE... -- how fast texts become token ids: one line a file with its name, MB/s, the
 * number of ids and a hash of them. DIRECTORY holds tokenizer.json. Only encoding is timed, the best of RUNS
 * (3). bench/tokenize.sh compiles and runs it. */
#include "core/input.h"
#include "core/sha256.h"
#include "runner/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_TEXT = 1 << 30 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int measure(const Tokenizer *t, const char *path, Error *err) {
    const char *runs = getenv("RUNS"), *slash = strrchr(path, '/');
    char *text, hash[SHA256_HEX];
    size_t length, count = 0;
    double best = 0;
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    int code = input_read_file(&text, &length, path, MAX_TEXT, arena, err);
    for (int i = 0; !code && i < (runs ? atoi(runs) : 3); i++) {
        Tokens ids;
        tokens_init(&ids, NULL);
        double start = seconds();
        code = tokenizer_encode(t, text, length, &ids, err);
        double took = seconds() - start;
        if (i == 0 || took < best) best = took;
        count = ids.count;
        if (!code) code = sha256_bytes(hash, ids.ids, count * sizeof *ids.ids, err);
        tokens_free(&ids);
    }
    if (!code) {
        printf("%s %.2f %zu %.12s\n", slash ? slash + 1 : path, (double)length / 1e6 / best, count, hash);
    }
    arena_close(arena);
    return code;
}

int main(int argc, char **argv) {
    Error err = {0};
    char path[4096];
    SourceFile file = {.name = "tokenizer.json", .role = SOURCE_TOKENIZER};
    Vocab *vocab = NULL;
    Tokenizer *tokenizer = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: tokenize DIRECTORY FILE...\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/tokenizer.json", argv[1]);
    int code = input_open(&file.input, path, NULL, &err);
    Model model = {.form = FORM_HF, .path = argv[1], .files = &file, .n_files = 1};
    if (!code) code = vocab_open(&vocab, &model, NULL, &err);
    if (!code) code = tokenizer_open(&tokenizer, vocab, NULL, &err);
    for (int i = 2; !code && i < argc; i++) code = measure(tokenizer, argv[i], &err);
    if (code) fprintf(stderr, "tokenize: %s\n", err.message);
    tokenizer_close(tokenizer);
    vocab_close(vocab);
    input_close(file.input);
    return code ? 1 : 0;
}
