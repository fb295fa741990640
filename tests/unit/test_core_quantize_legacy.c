/* Q4_0, Q4_1, Q5_0, Q5_1: literals worked out by hand, hashes of what llama.cpp makes of the same numbers,
 * and every path of this machine against the definition. */
#include "core/blocks.h"
#include "quantize_fixture.h"

static const Quantizer *const all[] = {&quantizer_q4_0, &quantizer_q4_1, &quantizer_q5_0, &quantizer_q5_1};

Test(core_quantize_legacy, bytes_are_those_of_llama_cpp) {
    golden_is(&quantizer_q4_0, "788cb0bb16d62a051cd87bbcf35f8027", "e2fb3778439dcf04122ae3f8fe77c21d");
    golden_is(&quantizer_q4_1, "2b45b76f722b0098d4b7f7650db4769d", "c369005d4aec88d91019892e9c8f723f");
    golden_is(&quantizer_q5_0, "2de72e95f8d4e64abede9de38ce6bea1", "d7b5aa5e660c477995449666b8c4b3d6");
    golden_is(&quantizer_q5_1, "6e24d7678e66659a419d130b08c4ef8d", "cde6b954d20722e80709b90b3740e9ed");
}

Test(core_quantize_legacy, every_path_gives_the_bytes_of_the_definition) {
    for (int i = 0; i < 4; i++) paths_agree(all[i]);
}

Test(core_quantize_legacy, nan_infinity_and_2_to_the_40_are_refused_with_their_place) {
    for (int i = 0; i < 4; i++) bad_numbers_are_refused(all[i]);
}

/* ---- literals, without an importance ---- */

Test(core_quantize_legacy, zeros) {
    float x[32] = {0}, w[32];
    for (int i = 0; i < 32; i++) w[i] = 1;
    uint8_t zero[24] = {0};
    uint8_t q4_0[18] = {0, 0x80}, q5_0[22] = {0, 0x80, 0xFF, 0xFF, 0xFF, 0xFF};
    memset(q4_0 + 2, 0x88, 16);
    block_is(&quantizer_q4_0, x, NULL, q4_0);
    block_is(&quantizer_q5_0, x, NULL, q5_0);
    block_is(&quantizer_q4_1, x, NULL, zero);
    block_is(&quantizer_q5_1, x, NULL, zero);
    for (int i = 0; i < 4; i++) block_is(all[i], x, w, zero);
    /* Of zeros of both signs, the first one is the minimum. */
    x[0] = -0.0f;
    zero[3] = 0x80;
    block_is(&quantizer_q4_1, x, NULL, zero);
    block_is(&quantizer_q5_1, x, NULL, zero);
    block_is(&quantizer_q4_0, x, NULL, q4_0);
    zero[3] = 0;
    x[0] = 0;
    for (int i = 1; i < 32; i++) x[i] = -0.0f;
    block_is(&quantizer_q4_1, x, NULL, zero);
    block_is(&quantizer_q5_1, x, NULL, zero);
    block_is(&quantizer_q5_0, x, NULL, q5_0);
}

Test(core_quantize_legacy, q4_0_the_first_of_equal_magnitudes_decides_the_sign_of_the_scale) {
    /* d = -8 / -8 = 1; q = trunc(x + 8.5), at most 15; the high nibbles are of elements 16 ... 31 */
    float x[32] = {0, -8, 8, 0.5f, -0.5f, 0.49f, -0.51f, 7.4f, 7.5f, -7.5f, -7.51f, [16] = 1, [31] = -3};
    uint8_t want[18] = {0x00, 0x3C, 0x98, 0x80, 0x8F, 0x89, 0x88, 0x88, 0x87,
                        0x8F, 0x8F, 0x81, 0x80, 0x88, 0x88, 0x88, 0x88, 0x58};
    block_is(&quantizer_q4_0, x, NULL, want);
    x[1] = 8; /* d = -1; q = trunc(8.5 - x) */
    x[2] = -8;
    uint8_t other[18] = {0x00, 0xBC, 0x78, 0x80, 0x8F, 0x88, 0x89, 0x88, 0x89,
                         0x81, 0x81, 0x8F, 0x8F, 0x88, 0x88, 0x88, 0x88, 0xB8};
    block_is(&quantizer_q4_0, x, NULL, other);
}

Test(core_quantize_legacy, q4_1_and_q5_1_count_from_the_minimum) {
    float x[32];
    uint8_t q4[20] = {0x00, 0x3C, 0x00, 0xBC}; /* d = 1, m = -1 */
    for (int i = 0; i < 32; i++) x[i] = (float)(i % 16) - 1;
    for (int i = 0; i < 16; i++) q4[4 + i] = (uint8_t)(i | i << 4);
    block_is(&quantizer_q4_1, x, NULL, q4);
    uint8_t q5[24] = {0x00, 0x3C, 0x00, 0xBC, 0x00, 0x00, 0xFF, 0xFF};
    for (int i = 0; i < 32; i++) x[i] = (float)i - 1;
    memcpy(q5 + 8, q4 + 4, 16);
    block_is(&quantizer_q5_1, x, NULL, q5);
    /* Halves go up, since 0.5 is added. */
    x[3] = 1.5f;
    q5[8 + 3] = 0x33;
    block_is(&quantizer_q5_1, x, NULL, q5);
    x[3] = 1.4999998f;
    q5[8 + 3] = 0x32;
    block_is(&quantizer_q5_1, x, NULL, q5);
}

Test(core_quantize_legacy, q5_0_has_the_fifth_bits_apart) {
    float x[32];
    uint8_t want[22] = {0x00, 0x3C, 0x00, 0x00, 0xFF, 0xFF}; /* d = -16 / -16 */
    for (int i = 0; i < 32; i++) x[i] = (float)i - 16;
    for (int i = 0; i < 16; i++) want[6 + i] = (uint8_t)(i | i << 4);
    block_is(&quantizer_q5_0, x, NULL, want);
}

Test(core_quantize_legacy, a_constant_block_has_no_range) {
    float x[32];
    for (int i = 0; i < 32; i++) x[i] = -2.5f;
    uint8_t want[24] = {0, 0, 0x00, 0xC1};
    block_is(&quantizer_q4_1, x, NULL, want);
    block_is(&quantizer_q5_1, x, NULL, want);
    float w[32];
    for (int i = 0; i < 32; i++) w[i] = 0.25f;
    block_is(&quantizer_q4_1, x, w, want);
    block_is(&quantizer_q5_1, x, w, want);
}

Test(core_quantize_legacy, q_are_zero_where_the_inverse_of_the_scale_is_infinite) {
    float x[32] = {-8 * 0x1p-128f, 0x1p-126f}; /* 1 / 2^-128 is infinite */
    uint8_t q4_0[18] = {0}, other[24] = {0};
    block_is(&quantizer_q4_0, x, NULL, q4_0);
    x[0] = -8 * 0x1p-127f; /* finite; q of the smaller is 2 + 8 */
    memset(q4_0 + 2, 0x88, 16);
    q4_0[2] = 0x80;
    q4_0[3] = 0x8A;
    block_is(&quantizer_q4_0, x, NULL, q4_0);
    float y[32] = {15 * 0x1p-128f};
    block_is(&quantizer_q4_1, y, NULL, other);
    y[0] = 31 * 0x1p-128f;
    block_is(&quantizer_q5_1, y, NULL, other);
    y[0] = 31 * 0x1p-127f;
    other[8] = 15;
    other[4] = 1;
    block_is(&quantizer_q5_1, y, NULL, other);
}

Test(core_quantize_legacy, numbers_beyond_the_largest_scale_are_refused) {
    /* 65520 is the first number that float16 can't hold */
    largest_is(&quantizer_q4_0, -nextafterf(65520.0f, 0) * 8);
    largest_is(&quantizer_q4_0, nextafterf(65520.0f, 0) * 8);
    largest_is(&quantizer_q5_0, nextafterf(65520.0f, 0) * 16);
    float x[32];
    uint8_t block[24];
    for (int q = 1; q < 4; q += 2) { /* the minimum itself */
        for (int i = 0; i < 32; i++) x[i] = -nextafterf(65520.0f, 0);
        cr_assert_eq(one_block(all[q], x, NULL, block), 32u);
        for (int i = 0; i < 32; i++) x[i] = -65520.0f;
        cr_assert_eq(one_block(all[q], x, NULL, block), 0u);
    }
    memset(x, 0, sizeof x);
    x[9] = 65520.0f * 15;
    cr_assert_eq(one_block(&quantizer_q4_1, x, NULL, block), 0u);
    x[9] = 65519.0f * 15;
    cr_assert_eq(one_block(&quantizer_q4_1, x, NULL, block), 32u);
    /* With an importance, too, and in the middle of a row */
    float rows[6 * 64] = {0}, w[64];
    for (int i = 0; i < 64; i++) w[i] = 1;
    rows[5 * 64 + 40] = 0x1p30f;
    for (int q = 0; q < 4; q++)
        all_stop_at(
            all[q],
            &(FloatRows){.type = DT_F32, .data = rows, .n_rows = 6, .row_elements = 64, .importance = w},
            5 * 64 + 40);
}

/* ---- with an importance ---- */

Test(core_quantize_legacy, the_weights_come_of_the_whole_row) {
    /* Two rows that begin alike: blocks differ, since the second row's mean square is another. */
    float x[2 * 64], w[64];
    uint32_t s = 7;
    for (int i = 0; i < 64; i++) {
        x[i] = x[64 + i] = bell(&s);
        w[i] = fabsf(bell(&s));
    }
    for (int i = 96; i < 128; i++) x[i] *= 100;
    block_q4_0 blocks[4];
    FloatRows rows = {.type = DT_F32, .data = x, .n_rows = 2, .row_elements = 64, .importance = w};
    cr_assert_eq(quantizer_q4_0.paths[0].run(blocks, &rows), 128u);
    cr_assert_neq(memcmp(&blocks[0], &blocks[2], sizeof blocks[0]), 0);
    rows.importance = NULL;
    cr_assert_eq(quantizer_q4_0.paths[0].run(blocks, &rows), 128u);
    cr_assert_eq(memcmp(&blocks[0], &blocks[2], sizeof blocks[0]), 0);
}

Test(core_quantize_legacy, what_matters_is_met_more_closely) {
    /* x[5] counts a million times as much as the others: its error is below any other scale's. */
    for (int f = 0; f < 4; f++) {
        float x[32], w[32], back[32];
        uint32_t s = 99;
        for (int i = 0; i < 32; i++) {
            x[i] = bell(&s);
            w[i] = i == 5 ? 1e6f : 1;
        }
        uint8_t block[24];
        cr_assert_eq(one_block(all[f], x, NULL, block), 32u);
        all[f]->dequantize(back, block, 32);
        float plain = fabsf(back[5] - x[5]);
        cr_assert_eq(one_block(all[f], x, w, block), 32u);
        all[f]->dequantize(back, block, 32);
        cr_assert_leq(fabsf(back[5] - x[5]), plain);
        cr_assert_lt(fabsf(back[5] - x[5]), 0.01f);
    }
}

/* ---- and back ---- */

/* Random bytes, read bit by bit as the layout says. */
Test(core_quantize_legacy, elements_come_back_as_the_layout_says) {
    uint32_t s = 4711;
    for (int round = 0; round < 400; round++) {
        uint8_t bytes[2 * 24];
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)next(&s);
        for (int f = 0; f < 4; f++) {
            size_t size = bytes_of(all[f]->type), start = f == 0 ? 2 : f == 1 ? 4 : f == 2 ? 6 : 8;
            float out[64];
            all[f]->dequantize(out, bytes, 64);
            for (size_t i = 0; i < 64; i++) {
                const uint8_t *b = bytes + i / 32 * size, *fifth = b + start - 4;
                size_t e = i % 32;
                int q = e < 16 ? b[start + e] % 16 : b[start + e - 16] / 16;
                if (f >= 2 && fifth[e / 8] >> e % 8 & 1) q += 16;
                float d = f32_from_f16((uint16_t)(b[0] | b[1] << 8));
                float m = f32_from_f16((uint16_t)(b[2] | b[3] << 8));
                float want = f == 0 ? d * (float)(q - 8) : f == 2 ? d * (float)(q - 16) : d * (float)q + m;
                if (isnan(want))
                    cr_assert(isnan(out[i]));
                else
                    cr_assert_eq(f32_bits(out[i]), f32_bits(want), "%s, element %zu",
                                 dtype_name(all[f]->type), i);
            }
        }
    }
}
