/* sha256_blocks.c -- SHA-256's compression for processors without instructions of their own for it (OpenSSL's
 * assembly where it can be had, else plain C), and the list of all ways to do it. */
#define OPENSSL_SUPPRESS_DEPRECATED /* EVP has no way to give a state or to take one back */
#include "core/sha256_blocks.h"

#include <openssl/opensslconf.h>
#include <string.h>
#ifndef OPENSSL_NO_DEPRECATED_3_0
#include <openssl/sha.h>
#endif

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4,
 * section 4.2.2). */
const _Alignas(16) uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

static inline uint32_t load_be(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* w[t] for t >= 16, in a ring of sixteen words. */
static inline uint32_t schedule(uint32_t w[16], int t) {
    uint32_t w2 = w[(t - 2) & 15], w15 = w[(t - 15) & 15];
    uint32_t s1 = rotate(w2, 17) ^ rotate(w2, 19) ^ w2 >> 10,
             s0 = rotate(w15, 7) ^ rotate(w15, 18) ^ w15 >> 3;
    return w[t & 15] += s1 + w[(t - 7) & 15] + s0;
}

/* One round. The variables change their roles from round to round instead of their values moving. */
#define ROUND(a, b, c, d, e, f, g, h, t, word)                                                  \
    do {                                                                                        \
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))); \
        t1 += sha256_k[t] + (word);                                                             \
        d += t1;                                                                                \
        h = t1 + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));    \
    } while (0)

#define EIGHT_ROUNDS(t, word)                                  \
    do {                                                       \
        ROUND(a, b, c, d, e, f, g, h, (t) + 0, word((t) + 0)); \
        ROUND(h, a, b, c, d, e, f, g, (t) + 1, word((t) + 1)); \
        ROUND(g, h, a, b, c, d, e, f, (t) + 2, word((t) + 2)); \
        ROUND(f, g, h, a, b, c, d, e, (t) + 3, word((t) + 3)); \
        ROUND(e, f, g, h, a, b, c, d, (t) + 4, word((t) + 4)); \
        ROUND(d, e, f, g, h, a, b, c, (t) + 5, word((t) + 5)); \
        ROUND(c, d, e, f, g, h, a, b, (t) + 6, word((t) + 6)); \
        ROUND(b, c, d, e, f, g, h, a, (t) + 7, word((t) + 7)); \
    } while (0)

#define FIRST(t) (w[t] = load_be(data + 4 * (t)))
#define LATER(t) schedule(w, t)

static void plain_one(uint32_t state[8], const uint8_t *data, size_t n) {
    for (; n; n--, data += SHA256_BLOCK) {
        uint32_t w[16];
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        EIGHT_ROUNDS(0, FIRST);
        EIGHT_ROUNDS(8, FIRST);
        for (int t = 16; t < 64; t += 16) {
            EIGHT_ROUNDS(t, LATER);
            EIGHT_ROUNDS(t + 8, LATER);
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
    }
}

/* Sixteen words and eight variables fill the registers of any processor: two streams interleaved in C would
 * only spill. */
static void plain_two(uint32_t a[8], const uint8_t *data_a, uint32_t b[8], const uint8_t *data_b, size_t n) {
    plain_one(a, data_a, n);
    plain_one(b, data_b, n);
}

static const Sha256Path plain = {"plain", 0, plain_one, plain_two};

#ifndef OPENSSL_NO_DEPRECATED_3_0

/* 0.55 GB/s with AVX2 where plain C does 0.38. Own code with an AVX2 message schedule was no faster than
 * plain C (docs/performance.md). Whole blocks only, so nothing stays in the context. */
static void openssl_one(uint32_t h[8], const uint8_t *data, size_t n) {
    SHA256_CTX context = {.md_len = SHA256_DIGEST_LENGTH};
    for (int i = 0; i < 8; i++) context.h[i] = h[i];
    SHA256_Update(&context, data, n * SHA256_BLOCK);
    for (int i = 0; i < 8; i++) h[i] = (uint32_t)context.h[i];
}

static void openssl_two(uint32_t a[8], const uint8_t *data_a, uint32_t b[8], const uint8_t *data_b,
                        size_t n) {
    openssl_one(a, data_a, n);
    openssl_one(b, data_b, n);
}

static const Sha256Path openssl = {"openssl", 0, openssl_one, openssl_two};

#endif

size_t sha256_paths(const Sha256Path *const **out) {
    static const Sha256Path *const paths[] = {
#if defined(__x86_64__)
        &sha256_shani,
#endif
#ifdef SHA256_HAS_ARM
        &sha256_arm,
#endif
#ifndef OPENSSL_NO_DEPRECATED_3_0
        &openssl,
#endif
        &plain,
    };
    *out = paths;
    return sizeof paths / sizeof paths[0];
}

const Sha256Path *sha256_path(CpuFeatures have) {
    const Sha256Path *const *paths;
    size_t n = sha256_paths(&paths);
    for (size_t i = 0; i < n; i++)
        if ((paths[i]->needs & ~have) == 0) return paths[i];
    return &plain;
}
