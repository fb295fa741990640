/* sha256.c -- running SHA-256 hashes over the block functions of sha256_blocks.h: padding, tails, pairs,
 * files. Knows nothing of pins and digests of weights. */
#include "core/sha256.h"
#include "core/sha256_blocks.h"
#include <string.h>

enum { PIECE = 4 << 20 }; /* bytes a read */

struct Sha256 {
    const Sha256Path *path;
    Sha256State state;
};

/* The first 32 bits of the fractional parts of the square roots of the first 8 primes (FIPS 180-4,
 * section 5.3.3). */
static const Sha256State start = {
    .h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};

int sha256_open_path(Sha256 **out, const Sha256Path *path, Error *err) {
    *out = mem_alloc(NULL, sizeof **out);
    if (!*out) return error_memory(err, "a SHA-256");
    **out = (Sha256){.path = path, .state = start};
    return 0;
}

int sha256_open(Sha256 **out, Error *err) {
    return sha256_open_path(out, sha256_path(cpu_features()), err);
}

void sha256_close(Sha256 *h) {
    mem_free(NULL, h);
}

void sha256_export(const Sha256 *h, Sha256State *out) {
    *out = h->state;
    size_t used = out->length % SHA256_BLOCK;
    memset(out->tail + used, 0, SHA256_BLOCK - used);
}

void sha256_import(Sha256 *h, const Sha256State *state) {
    h->state = *state;
}

void sha256_save(const Sha256 *h, Buffer *out) {
    Sha256State s;
    sha256_export(h, &s);
    for (int i = 0; i < 8; i++) buffer_u32(out, s.h[i]);
    buffer_u64(out, s.length);
    buffer_append(out, s.tail, sizeof s.tail);
}

void sha256_load(Sha256 *h, BufferReader *in) {
    Sha256State s;
    for (int i = 0; i < 8; i++) s.h[i] = reader_u32(in);
    s.length = reader_u64(in);
    reader_bytes(in, s.tail, sizeof s.tail);
    sha256_import(h, &s);
}

/* Bytes that are not yet hashed. */
typedef struct Rest {
    const uint8_t *at;
    size_t length;
} Rest;

/* Fills a begun block, if there is one, and compresses it once full: afterwards either the rest is empty or
 * the state stands at a block's beginning. */
static Rest fill_tail(Sha256 *h, const void *bytes, size_t length) {
    Sha256State *s = &h->state;
    size_t used = s->length % SHA256_BLOCK, n = used ? SHA256_BLOCK - used : 0;
    if (n > length) n = length;
    if (n) memcpy(s->tail + used, bytes, n);
    s->length += length;
    if (used && used + n == SHA256_BLOCK) h->path->one(s->h, s->tail, 1);
    return (Rest){n ? (const uint8_t *)bytes + n : bytes, length - n};
}

static void keep_tail(Sha256 *h, Rest rest) {
    if (rest.length) memcpy(h->state.tail, rest.at, rest.length);
}

static Rest skip(Rest rest, size_t blocks) {
    return (Rest){rest.at + blocks * SHA256_BLOCK, rest.length - blocks * SHA256_BLOCK};
}

/* Whole blocks, then what is left into the tail. */
static void add_blocks(Sha256 *h, Rest rest) {
    size_t blocks = rest.length / SHA256_BLOCK;
    if (blocks) {
        h->path->one(h->state.h, rest.at, blocks);
        rest = skip(rest, blocks);
    }
    keep_tail(h, rest);
}

void sha256_update(Sha256 *h, const void *bytes, size_t length) {
    Rest rest = fill_tail(h, bytes, length);
    if (rest.length) add_blocks(h, rest);
}

void sha256_update2(Sha256 *a, const void *bytes_a, size_t length_a, Sha256 *b, const void *bytes_b,
                    size_t length_b) {
    Rest x = fill_tail(a, bytes_a, length_a), y = fill_tail(b, bytes_b, length_b);
    size_t blocks = (x.length < y.length ? x.length : y.length) / SHA256_BLOCK;
    if (blocks && a->path == b->path) {
        a->path->two(a->state.h, x.at, b->state.h, y.at, blocks);
        x = skip(x, blocks);
        y = skip(y, blocks);
    }
    if (x.length) add_blocks(a, x);
    if (y.length) add_blocks(b, y);
}

/* FIPS 180-4, section 5.1.1: a one bit, zeros, the length in bits as a big-endian 64-bit number. */
static void pad(Sha256 *h) {
    Sha256State *s = &h->state;
    size_t used = s->length % SHA256_BLOCK;
    uint64_t bits = s->length * 8;
    s->tail[used++] = 0x80;
    if (used > SHA256_BLOCK - 8) {
        memset(s->tail + used, 0, SHA256_BLOCK - used);
        h->path->one(s->h, s->tail, 1);
        used = 0;
    }
    memset(s->tail + used, 0, SHA256_BLOCK - 8 - used);
    for (int i = 0; i < 8; i++) s->tail[SHA256_BLOCK - 1 - i] = (uint8_t)(bits >> (8 * i));
    h->path->one(s->h, s->tail, 1);
}

void sha256_finish(Sha256 *h, char hex[SHA256_HEX]) {
    static const char digits[] = "0123456789abcdef";
    pad(h);
    for (int i = 0; i < 2 * SHA256_BYTES; i++) hex[i] = digits[h->state.h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[SHA256_HEX - 1] = '\0';
    h->state = start;
}

int sha256_bytes(char hex[SHA256_HEX], const void *bytes, size_t length, Error *err) {
    hex[0] = '\0';
    Sha256 *h;
    TRY(sha256_open(&h, err));
    sha256_update(h, bytes, length);
    sha256_finish(h, hex);
    sha256_close(h);
    return 0;
}

static int hash_pieces(Sha256 *h, const Input *in, unsigned char *piece,
                       int (*done)(void *context, uint64_t bytes), void *context, Error *err) {
    uint64_t size = input_size(in);
    for (uint64_t offset = 0; offset < size;) {
        size_t n = size - offset < PIECE ? (size_t)(size - offset) : PIECE;
        TRY(input_read(in, offset, piece, n, err));
        sha256_update(h, piece, n);
        offset += n;
        if (done && done(context, offset)) {
            return error_set(err, ERR_INTERRUPTED, "interrupted while hashing %s", input_path(in));
        }
    }
    return 0;
}

int sha256_input(char hex[SHA256_HEX], const Input *in, int (*done)(void *context, uint64_t bytes),
                 void *context, Error *err) {
    hex[0] = '\0';
    Sha256 *h;
    TRY(sha256_open(&h, err));
    unsigned char *piece = mem_alloc(NULL, PIECE);
    int code = piece ? hash_pieces(h, in, piece, done, context, err) : error_memory(err, "hashing a file");
    if (!code) sha256_finish(h, hex);
    mem_free(NULL, piece);
    sha256_close(h);
    return code;
}

bool sha256_is_hex(const char *s) {
    return s && strspn(s, "0123456789abcdef") == SHA256_HEX - 1 && s[SHA256_HEX - 1] == '\0';
}
