/* SHA-256 against the examples of NIST (FIPS 180-4 test vectors) and against sha256sum's answers. */
#include "core/sha256.h"
#include "core/sha256_blocks.h"
#include "support.h"
#include <openssl/evp.h>

static const char EMPTY[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char ABC[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char MILLION[] =
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"; /* 10^6 times 'a' */

Test(core_sha256, bytes) {
    char hex[SHA256_HEX];
    cr_assert_eq(sha256_bytes(hex, NULL, 0, NULL), 0);
    cr_assert_str_eq(hex, EMPTY);
    cr_assert_eq(sha256_bytes(hex, "abc", 3, NULL), 0);
    cr_assert_str_eq(hex, ABC);
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    cr_assert_eq(sha256_bytes(hex, two_blocks, sizeof two_blocks - 1, NULL), 0);
    cr_assert_str_eq(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

Test(core_sha256, running_hash_starts_anew) {
    Sha256 *h;
    char hex[SHA256_HEX], piece[999];
    memset(piece, 'a', sizeof piece);
    cr_assert_eq(sha256_open(&h, NULL), 0);
    for (int i = 0; i < 1001; i++) sha256_update(h, piece, sizeof piece); /* 999,999 */
    sha256_update(h, "a", 1);
    sha256_finish(h, hex);
    cr_assert_str_eq(hex, MILLION);
    sha256_finish(h, hex);
    cr_assert_str_eq(hex, EMPTY);
    sha256_update(h, "a", 1);
    sha256_update(h, NULL, 0);
    sha256_update(h, "bc", 2);
    sha256_finish(h, hex);
    cr_assert_str_eq(hex, ABC);
    sha256_close(h);
    sha256_close(NULL);
}

typedef struct Calls {
    int n, stop_at;
    uint64_t last;
} Calls;

static int count(void *context, uint64_t bytes) {
    Calls *c = context;
    c->last = bytes;
    return ++c->n == c->stop_at;
}

Test(core_sha256, input_in_pieces) {
    enum { SIZE = (9 << 20) + 5 }; /* two pieces of 4 MiB and a rest */
    unsigned char *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (unsigned char)(i * 31 >> 3);
    Input *in;
    cr_assert_eq(input_open_memory(&in, "memory", bytes, SIZE, NULL, NULL), 0);
    char whole[SHA256_HEX], pieces[SHA256_HEX];
    Calls calls = {0};
    cr_assert_eq(sha256_bytes(whole, bytes, SIZE, NULL), 0);
    cr_assert_eq(sha256_input(pieces, in, count, &calls, NULL), 0);
    cr_assert_str_eq(pieces, whole);
    cr_assert_eq(calls.n, 3);
    cr_assert_eq(calls.last, SIZE);

    Error e;
    calls = (Calls){.stop_at = 2};
    cr_assert_eq(sha256_input(pieces, in, count, &calls, &e), ERR_INTERRUPTED);
    cr_assert_str_eq(pieces, "");
    cr_assert_eq(calls.last, 8 << 20);
    input_close(in);
    free(bytes);
}

Test(core_sha256, files) {
    TempDir t;
    temp_dir_open(&t);
    Input *in;
    char hex[SHA256_HEX];
    file_put(temp_path(&t, "abc"), "abc");
    file_put(temp_path(&t, "empty"), "");
    cr_assert_eq(input_open(&in, temp_path(&t, "abc"), NULL, NULL), 0);
    cr_assert_eq(sha256_input(hex, in, NULL, NULL, NULL), 0);
    cr_assert_str_eq(hex, ABC);
    Error e;
    cr_assert_eq(truncate(temp_path(&t, "abc"), 1), 0);
    cr_assert_eq(sha256_input(hex, in, NULL, NULL, &e), ERR_FORMAT, "the file was cut meanwhile");
    input_close(in);
    cr_assert_eq(input_open(&in, temp_path(&t, "empty"), NULL, NULL), 0);
    cr_assert_eq(sha256_input(hex, in, NULL, NULL, NULL), 0);
    cr_assert_str_eq(hex, EMPTY);
    input_close(in);
    temp_dir_close(&t);
}

Test(core_sha256, what_is_a_hash) {
    cr_assert(sha256_is_hex(ABC));
    cr_assert_not(sha256_is_hex(NULL));
    cr_assert_not(sha256_is_hex(""));
    cr_assert_not(sha256_is_hex(ABC + 1));
    char text[70];
    snprintf(text, sizeof text, "%s0", ABC);
    cr_assert_not(sha256_is_hex(text));
    snprintf(text, sizeof text, "%s", ABC);
    text[5] = 'B';
    cr_assert_not(sha256_is_hex(text));
    text[5] = 'g';
    cr_assert_not(sha256_is_hex(text));
}

/* ---- every way to compress that this machine can run, against OpenSSL ---- */

static uint8_t noise[1 << 16];

static void make_noise(void) {
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
}

static void by_openssl(char hex[SHA256_HEX], const void *bytes, size_t length) {
    unsigned char digest[32];
    cr_assert_eq(EVP_Digest(bytes, length, digest, NULL, EVP_sha256(), NULL), 1);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* Calls test with each path in turn; it must find at least the plain one. */
static void with_paths(void (*test)(const Sha256Path *path)) {
    const Sha256Path *const *paths;
    size_t n = sha256_paths(&paths), run = 0;
    make_noise();
    for (size_t i = 0; i < n; i++) {
        if (paths[i]->needs & ~cpu_detect()) continue;
        test(paths[i]);
        run++;
    }
    cr_assert_geq(run, 1);
    cr_assert_eq(paths[n - 1]->needs, 0);
}

static void every_length(const Sha256Path *path) {
    Sha256 *h;
    char ours[SHA256_HEX], theirs[SHA256_HEX];
    cr_assert_eq(sha256_open_path(&h, path, NULL), 0);
    for (size_t n = 0; n <= 300; n++) {
        by_openssl(theirs, noise + n % 7, n);
        sha256_update(h, noise + n % 7, n);
        sha256_finish(h, ours);
        cr_assert_str_eq(ours, theirs, "%s, %zu bytes", path->name, n);
        for (size_t cut = 0; cut <= n; cut += 13) {
            sha256_update(h, noise + n % 7, cut);
            sha256_update(h, noise + n % 7 + cut, n - cut);
            sha256_finish(h, ours);
            cr_assert_str_eq(ours, theirs, "%s, %zu bytes cut at %zu", path->name, n, cut);
        }
    }
    sha256_close(h);
}

Test(core_sha256, every_length_on_every_path) {
    with_paths(every_length);
}

static void pairs(const Sha256Path *path) {
    Sha256 *a, *b;
    char ours[SHA256_HEX], theirs[SHA256_HEX];
    uint32_t x = 7;
    cr_assert_eq(sha256_open_path(&a, path, NULL), 0);
    cr_assert_eq(sha256_open_path(&b, path, NULL), 0);
    for (int i = 0; i < 500; i++) {
        size_t at_a = 0, at_b = 0, from_a = i % 61, from_b = i % 127;
        for (int piece = 0; piece < 4; piece++) {
            size_t n = (x = x * 1664525 + 1013904223) >> 20, m = (x = x * 1664525 + 1013904223) >> 20;
            if (piece == i % 5) n = 0;
            if (piece == i % 3) m %= 70;
            sha256_update2(a, noise + from_a + at_a, n, b, noise + from_b + at_b, m);
            at_a += n;
            at_b += m;
        }
        by_openssl(theirs, noise + from_a, at_a);
        sha256_finish(a, ours);
        cr_assert_str_eq(ours, theirs, "%s, first of pair %d", path->name, i);
        by_openssl(theirs, noise + from_b, at_b);
        sha256_finish(b, ours);
        cr_assert_str_eq(ours, theirs, "%s, second of pair %d", path->name, i);
    }
    sha256_close(a);
    sha256_close(b);
}

Test(core_sha256, two_at_once) {
    with_paths(pairs);
}

/* A hash put down on one path goes on with another. */
static void export_and_import(const Sha256Path *path) {
    Sha256 *a, *b;
    Sha256State state;
    char ours[SHA256_HEX], theirs[SHA256_HEX];
    cr_assert_eq(sha256_open_path(&a, path, NULL), 0);
    cr_assert_eq(sha256_open(&b, NULL), 0);
    for (size_t cut = 0; cut < 200; cut++) {
        sha256_update(a, noise, cut);
        sha256_export(a, &state);
        cr_assert_eq(state.length, cut);
        for (size_t i = cut % 64; i < 64; i++) cr_assert_eq(state.tail[i], 0);
        sha256_update(b, "something else", 14);
        sha256_import(b, &state);
        sha256_update(b, noise + cut, 1000 - cut);
        sha256_finish(b, ours);
        by_openssl(theirs, noise, 1000);
        cr_assert_str_eq(ours, theirs, "%s, put down after %zu bytes", path->name, cut);
        sha256_finish(a, ours);
    }
    sha256_close(a);
    sha256_close(b);
}

Test(core_sha256, put_down_and_taken_up) {
    with_paths(export_and_import);
}

/* By numbers, since the library under OpenSSL's path and the reference are the same. */
static void million(const Sha256Path *path) {
    Sha256 *h;
    char ours[SHA256_HEX];
    memset(noise, 'a', sizeof noise);
    cr_assert_eq(sha256_open_path(&h, path, NULL), 0);
    for (size_t left = 1000000; left;) {
        size_t n = left < sizeof noise ? left : sizeof noise;
        sha256_update(h, noise, n);
        left -= n;
    }
    sha256_finish(h, ours);
    cr_assert_str_eq(ours, MILLION, "%s", path->name);
    sha256_update(h, "abc", 3);
    sha256_finish(h, ours);
    cr_assert_str_eq(ours, ABC, "%s", path->name);
    sha256_finish(h, ours);
    cr_assert_str_eq(ours, EMPTY, "%s", path->name);
    sha256_close(h);
}

Test(core_sha256, nist_on_every_path) {
    with_paths(million);
}

/* 2^61 bytes and more: the length in bits is kept modulo 2^64, which is where the standard ends. */
Test(core_sha256, paths_agree_on_any_state) {
    const Sha256Path *const *paths;
    size_t n = sha256_paths(&paths);
    char first[SHA256_HEX] = "", hex[SHA256_HEX];
    for (size_t i = 0; i < n; i++) {
        if (paths[i]->needs & ~cpu_detect()) continue;
        Sha256 *h;
        Sha256State state = {.length = UINT64_MAX - 70};
        memset(state.h, 0xA5, sizeof state.h);
        memset(state.tail, 0x5A, sizeof state.tail);
        cr_assert_eq(sha256_open_path(&h, paths[i], NULL), 0);
        sha256_import(h, &state);
        sha256_update(h, noise, 200);
        sha256_finish(h, hex);
        if (!first[0]) memcpy(first, hex, sizeof hex);
        cr_assert_str_eq(hex, first, "%s", paths[i]->name);
        sha256_close(h);
    }
}

Test(core_sha256, two_at_once_on_two_paths) {
    Sha256 *a, *b;
    const Sha256Path *const *paths;
    size_t n = sha256_paths(&paths);
    char ours[SHA256_HEX], theirs[SHA256_HEX];
    make_noise();
    cr_assert_eq(sha256_open(&a, NULL), 0);
    cr_assert_eq(sha256_open_path(&b, paths[n - 1], NULL), 0);
    sha256_update2(a, NULL, 0, b, noise, 1000);
    sha256_update2(a, noise, 5000, b, noise + 1000, 4000);
    sha256_update2(a, NULL, 0, b, NULL, 0);
    by_openssl(theirs, noise, 5000);
    sha256_finish(a, ours);
    cr_assert_str_eq(ours, theirs);
    sha256_finish(b, ours);
    cr_assert_str_eq(ours, theirs);
    sha256_close(a);
    sha256_close(b);
}

Test(core_sha256, features_choose_the_path) {
    const Sha256Path *const *paths;
    size_t n = sha256_paths(&paths);
    cr_assert_eq(sha256_path(0)->needs, 0u);
    cr_assert_str_eq(paths[n - 1]->name, "plain");
    cr_assert_eq(sha256_path(~0u), paths[0]);
}
