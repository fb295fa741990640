/* sha256_arm.c -- SHA-256's compression with the cryptography extension of 64-bit Arm, one stream or two
 * interleaved. */
#include "core/sha256_blocks.h"

#ifdef SHA256_HAS_ARM
#include <arm_neon.h>

#if defined(__clang__)
#define SHA_TARGET __attribute__((target("sha2")))
#else /* GCC declares them for sha2 and aes together; it never uses the latter by itself */
#define SHA_TARGET __attribute__((target("+crypto")))
#endif
#define SHA_INLINE SHA_TARGET __attribute__((always_inline)) static inline

typedef struct State {
    uint32x4_t abcd, efgh;
} State;

SHA_INLINE uint32x4_t load_words(const uint8_t *data) {
    return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data)));
}

/* Rounds 4i .. 4i+3, which use the words w0. w1, w2, w3 are those of the three groups after it; w0 becomes
 * the fourth. */
SHA_INLINE void four_rounds(State *s, int i, uint32x4_t *w0, uint32x4_t w1, uint32x4_t w2, uint32x4_t w3) {
    uint32x4_t k = vaddq_u32(*w0, vld1q_u32(sha256_k + 4 * i)), abcd = s->abcd;
    s->abcd = vsha256hq_u32(abcd, s->efgh, k);
    s->efgh = vsha256h2q_u32(s->efgh, abcd, k);
    if (i < 12) *w0 = vsha256su1q_u32(vsha256su0q_u32(*w0, w1), w2, w3);
}

SHA_INLINE void add_state(State *s, State before) {
    s->abcd = vaddq_u32(s->abcd, before.abcd);
    s->efgh = vaddq_u32(s->efgh, before.efgh);
}

SHA_TARGET static void arm_one(uint32_t h[8], const uint8_t *data, size_t n) {
    State s = {vld1q_u32(h), vld1q_u32(h + 4)};
    for (; n; n--, data += SHA256_BLOCK) {
        const State before = s;
        uint32x4_t w0 = load_words(data), w1 = load_words(data + 16);
        uint32x4_t w2 = load_words(data + 32), w3 = load_words(data + 48);
        UNROLLED for (int i = 0; i < 16; i += 4) {
            four_rounds(&s, i, &w0, w1, w2, w3);
            four_rounds(&s, i + 1, &w1, w2, w3, w0);
            four_rounds(&s, i + 2, &w2, w3, w0, w1);
            four_rounds(&s, i + 3, &w3, w0, w1, w2);
        }
        add_state(&s, before);
    }
    vst1q_u32(h, s.abcd);
    vst1q_u32(h + 4, s.efgh);
}

SHA_TARGET static void arm_two(uint32_t a[8], const uint8_t *data_a, uint32_t b[8], const uint8_t *data_b,
                               size_t n) {
    State s = {vld1q_u32(a), vld1q_u32(a + 4)}, t = {vld1q_u32(b), vld1q_u32(b + 4)};
    for (; n; n--, data_a += SHA256_BLOCK, data_b += SHA256_BLOCK) {
        const State s_before = s, t_before = t;
        uint32x4_t w0 = load_words(data_a), w1 = load_words(data_a + 16);
        uint32x4_t w2 = load_words(data_a + 32), w3 = load_words(data_a + 48);
        uint32x4_t v0 = load_words(data_b), v1 = load_words(data_b + 16);
        uint32x4_t v2 = load_words(data_b + 32), v3 = load_words(data_b + 48);
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
    vst1q_u32(a, s.abcd);
    vst1q_u32(a + 4, s.efgh);
    vst1q_u32(b, t.abcd);
    vst1q_u32(b + 4, t.efgh);
}

const Sha256Path sha256_arm = {"arm-sha2", CPU_ARM_SHA2, arm_one, arm_two};

#endif
