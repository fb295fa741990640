/* SHA-256 against the examples of NIST (FIPS 180-4 test vectors) and against sha256sum's answers. */
#include "core/sha256.h"
#include "support.h"

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
