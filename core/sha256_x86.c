/* sha256_x86.c -- SHA-256's compression with the SHA extensions of x86-64, one stream or two interleaved.
 *
 * SHA256RNDS2 does two rounds; its result is needed by the next one 4 cycles later (Zen 4), but the unit
 * could start another every 2: one stream leaves it idle half of the time. The processor's own reordering
 * does the interleaving; the code only has to put both streams' groups of rounds close enough together. */
#include "core/sha256_blocks.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define SHA_TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define SHA_INLINE SHA_TARGET __attribute__((always_inline)) static inline

/* a b e f and c d g h, the order in which the instructions want the eight words (highest lane first). */
typedef struct State {
    __m128i abef, cdgh;
} State;

SHA_INLINE State load_state(const uint32_t h[8]) {
    __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xB1);
    __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1B);
    return (State){_mm_alignr_epi8(badc, hgfe, 8), _mm_blend_epi16(hgfe, badc, 0xF0)};
}

SHA_INLINE void store_state(uint32_t h[8], State s) {
    __m128i abef = _mm_shuffle_epi32(s.abef, 0x1B), cdgh = _mm_shuffle_epi32(s.cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(abef, cdgh, 0xF0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(cdgh, abef, 8));
}

SHA_INLINE __m128i load_words(const uint8_t *data) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)data), big_endian);
}

/* Rounds 4i .. 4i+3, which use the words w0. w1, w2, w3 are those of the three groups after it; w0 becomes
 * the fourth. */
SHA_INLINE void four_rounds(State *s, int i, __m128i *w0, __m128i w1, __m128i w2, __m128i w3) {
    __m128i k = _mm_add_epi32(*w0, _mm_load_si128((const __m128i *)(sha256_k + 4 * i)));
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, k);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(k, 0x0E));
    if (i < 12) {
        __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(*w0, w1), _mm_alignr_epi8(w3, w2, 4));
        *w0 = _mm_sha256msg2_epu32(sum, w3);
    }
}

SHA_INLINE void add_state(State *s, State before) {
    s->abef = _mm_add_epi32(s->abef, before.abef);
    s->cdgh = _mm_add_epi32(s->cdgh, before.cdgh);
}

SHA_TARGET static void shani_one(uint32_t h[8], const uint8_t *data, size_t n) {
    State s = load_state(h);
    for (; n; n--, data += SHA256_BLOCK) {
        const State before = s;
        __m128i w0 = load_words(data), w1 = load_words(data + 16);
        __m128i w2 = load_words(data + 32), w3 = load_words(data + 48);
        UNROLLED for (int i = 0; i < 16; i += 4) {
            four_rounds(&s, i, &w0, w1, w2, w3);
            four_rounds(&s, i + 1, &w1, w2, w3, w0);
            four_rounds(&s, i + 2, &w2, w3, w0, w1);
            four_rounds(&s, i + 3, &w3, w0, w1, w2);
        }
        add_state(&s, before);
    }
    store_state(h, s);
}

SHA_TARGET static void shani_two(uint32_t a[8], const uint8_t *data_a, uint32_t b[8], const uint8_t *data_b,
                                 size_t n) {
    State s = load_state(a), t = load_state(b);
    for (; n; n--, data_a += SHA256_BLOCK, data_b += SHA256_BLOCK) {
        const State s_before = s, t_before = t;
        __m128i w0 = load_words(data_a), w1 = load_words(data_a + 16);
        __m128i w2 = load_words(data_a + 32), w3 = load_words(data_a + 48);
        __m128i v0 = load_words(data_b), v1 = load_words(data_b + 16);
        __m128i v2 = load_words(data_b + 32), v3 = load_words(data_b + 48);
        UNROLLED for (int i = 0; i < 16; i += 4) {
            four_rounds(&s, i, &w0, w1, w2, w3);
            four_rounds(&t, i, &v0, v1, v2, v3);
            four_rounds(&s, i + 1, &w1, w2, w3, w0);
            four_rounds(&t, i + 1, &v1, v2, v3, v0);
            four_rounds(&s, i + 2, &w2, w3, w0, w1);
            four_rounds(&t, i + 2, &v2, v3, v0, v1);
            four_rounds(&s, i + 3, &w3, w0, w1, w2);
            four_rounds(&t, i + 3, &v3, v0, v1, v2);
        }
        add_state(&s, s_before);
        add_state(&t, t_before);
    }
    store_state(a, s);
    store_state(b, t);
}

const Sha256Path sha256_shani = {"sha-ni", CPU_SHA | CPU_SSE41 | CPU_SSSE3, shani_one, shani_two};

#endif
