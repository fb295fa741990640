/* IQ4_NL and IQ4_XS: literals worked out by hand, hashes of what llama.cpp makes of the same numbers, and
 * every path of this machine against the definition. */
#include "core/blocks.h"
#include "quantize_fixture.h"

static const Quantizer *const all[] = {&quantizer_iq4_nl, &quantizer_iq4_xs};

static const float values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

Test(core_quantize_iq4, bytes_are_those_of_llama_cpp) {
    golden_is(&quantizer_iq4_nl, "b054d8a8e48c16ce25bd08f83306ee19", "dbd28a3506992fb1aa32e2f59fd9dc9a");
    golden_is(&quantizer_iq4_xs, "ac4fb9565b2291878067dd6052a003f1", "572ef36d910f0cb13d7150a5dd174224");
}

Test(core_quantize_iq4, every_path_gives_the_bytes_of_the_definition) {
    for (int i = 0; i < 2; i++) paths_agree(all[i]);
}

Test(core_quantize_iq4, nan_infinity_and_2_to_the_40_are_refused_with_their_place) {
    for (int i = 0; i < 2; i++) bad_numbers_are_refused(all[i]);
}

/* ---- literals ---- */

Test(core_quantize_iq4, zeros) {
    float x[256], w[256];
    uint8_t nl[18] = {0}, xs[136] = {0x00, 0x80, 0xAA, 0xAA};
    memset(nl + 2, 0x88, 16);
    memset(xs + 8, 0x88, 128);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 256; i++) {
            x[i] = round == 0 ? 0 : round == 1 && i % 3 ? -0.0f : 0.9e-15f; /* below 1e-15 is zero */
            w[i] = 1;
        }
        block_is(&quantizer_iq4_nl, x, NULL, nl);
        block_is(&quantizer_iq4_xs, x, NULL, xs);
        block_is(&quantizer_iq4_nl, x, w, nl);
        block_is(&quantizer_iq4_xs, x, w, xs);
    }
    /* The smallest that isn't */
    x[0] = 1e-15f;
    uint8_t block[136];
    cr_assert_eq(one_block(&quantizer_iq4_nl, x, NULL, block), 32u);
    cr_assert_neq(block[2] & 15, 8);
}

/* Numbers that are the 16 values times a power of two have no error: nothing beats that scale. */
Test(core_quantize_iq4, nl_finds_the_scale_of_exact_multiples) {
    float x[32], back[32];
    for (int i = 0; i < 32; i++) x[i] = values[(i * 5 + i / 16) % 16] * -0.25f;
    uint8_t want[18] = {0x00, 0xB4}; /* -0.25 */
    for (int i = 0; i < 16; i++) want[2 + i] = (uint8_t)(i * 5 % 16 | ((i + 16) * 5 + 1) % 16 << 4);
    block_is(&quantizer_iq4_nl, x, NULL, want);
    float w[32];
    for (int i = 0; i < 32; i++) w[i] = 3;
    block_is(&quantizer_iq4_nl, x, w, want);
    quantizer_iq4_nl.dequantize(back, want, 32);
    for (int i = 0; i < 32; i++) cr_assert_eq(back[i], x[i]);
}

/* Sub-block b is (b - 7) * 4 / 32 times the values... times 2^-4, so the scales are small integers times d.
 */
Test(core_quantize_iq4, xs_has_six_bits_of_scale_in_two_places) {
    static const int scale[8] = {-32, 31, 1, -1, 16, -17, 5, -20};
    float x[256], back[256];
    uint8_t want[136] = {0x00, 0x2C}; /* d = 2^-4 */
    for (int i = 0; i < 256; i++) {
        x[i] = (float)scale[i / 32] * 0x1p-4f * values[i * 7 % 16];
        int j = i % 32;
        want[8 + i / 32 * 16 + j % 16] |= (uint8_t)(i * 7 % 16 << (j < 16 ? 0 : 4));
    }
    /* scale + 32: 0, 63, 33, 31, 48, 15, 37, 12. High bits: 0 3 2 1 3 0 2 0, from the lowest on */
    want[2] = 3 << 2 | 2 << 4 | 1 << 6;
    want[3] = 3 << 0 | 2 << 4;
    const uint8_t low[4] = {0xF0, 0xF1, 0xF0, 0xC5};
    memcpy(want + 4, low, 4);
    block_is(&quantizer_iq4_xs, x, NULL, want);
    quantizer_iq4_xs.dequantize(back, want, 256);
    for (int i = 0; i < 256; i++) cr_assert_eq(back[i], x[i], "element %d", i);
}

Test(core_quantize_iq4, numbers_beyond_the_largest_scale_are_refused) {
    /* Of exact multiples of the values, the scale is the factor; IQ4_XS stores a 32nd of it. The importance
     * is small, or else the search's own products would be infinite, as they are in llama.cpp. */
    float x[256] = {0}, small[256];
    for (int i = 0; i < 256; i++) small[i] = 1e-12f;
    uint8_t block[136];
    static const float factors[4] = {65504, 65536, 65504 * 32, 65536 * 32};
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < 32; i++) x[i] = values[i % 16] * factors[k];
        cr_assert_eq(one_block(&quantizer_iq4_nl, x, small, block), k == 0 ? 32u : 0u);
        cr_assert_eq(one_block(&quantizer_iq4_xs, x, small, block), k < 3 ? 256u : 0u);
    }
    float rows[3 * 512] = {0}, w[512];
    for (int i = 0; i < 512; i++) w[i] = 1;
    rows[2 * 512 + 300] = 0x1p35f;
    FloatRows r = {.type = DT_F32, .data = rows, .n_rows = 3, .row_elements = 512, .importance = w};
    for (int i = 0; i < 2; i++) all_stop_at(all[i], &r, 2 * 512 + 300);
}

Test(core_quantize_iq4, without_any_weight_the_scale_is_zero) {
    float x[256], w[256] = {0};
    for (int i = 0; i < 256; i++) x[i] = (float)(i % 11) - 5;
    uint8_t nl[18] = {0}, xs[136] = {0x00, 0x80, 0xAA, 0xAA};
    memset(nl + 2, 0x88, 16);
    memset(xs + 8, 0x88, 128);
    block_is(&quantizer_iq4_nl, x, w, nl);
    block_is(&quantizer_iq4_xs, x, w, xs);
}

/* ---- the nearest value ---- */

/* ggml's rule, written for one number: the upper of two that are equally near. */
static int nearest(float v) {
    int best = 0;
    if (v >= values[15]) return 15;
    for (int i = 1; i < 16 && v > values[i - 1]; i++)
        if (!(v - values[i - 1] < values[i] - v)) best = i;
    return best;
}

/* What the faster paths compare with: the midpoint is the first float for which the upper value is chosen,
 * by the differences as float32 rounds them. Both differences are monotonic in v, so this says it for every
 * float between two values. */
Test(core_quantize_iq4, the_midpoint_is_where_the_choice_changes) {
    for (int i = 0; i < 15; i++) {
        float middle = (values[i] + values[i + 1]) / 2, below = middle;
        cr_assert_eq(nearest(middle), i + 1);
        for (int k = 0; k < 100000; k++) {
            below = nextafterf(below, -1000);
            cr_assert_eq(nearest(below), i, "%a", (double)below);
        }
    }
}

/* Every path near each midpoint: the first 16 elements are the values themselves and the others have no
 * weight, so the scale is 1 and elements are looked up as they are. */
Test(core_quantize_iq4, every_path_takes_the_nearest_value) {
    for (int i = 0; i < 15; i++)
        for (int k = -16; k < 16; k++) {
            float x[32], w[32] = {0}, v = (values[i] + values[i + 1]) / 2;
            for (int step = 0; step < abs(k); step++) v = nextafterf(v, k < 0 ? -1000 : 1000);
            for (int e = 0; e < 16; e++) {
                w[e] = 1;
                x[e] = values[e];
                x[e + 16] = v;
            }
            uint8_t block[18];
            cr_assert_eq(one_block(&quantizer_iq4_nl, x, w, block), 32u);
            cr_assert_eq(block[1] << 8 | block[0], 0x3C00, "the scale is 1");
            for (int e = 0; e < 16; e++) cr_assert_eq(block[2 + e], e | (i + (k >= 0)) << 4);
        }
}

/* ---- and back ---- */

/* Random bytes, read bit by bit as the layout says. */
Test(core_quantize_iq4, elements_come_back_as_the_layout_says) {
    uint32_t s = 4711;
    for (int round = 0; round < 200; round++) {
        uint8_t b[2 * 136];
        float out[512];
        for (size_t i = 0; i < sizeof b; i++) b[i] = (uint8_t)next(&s);
        b[1] = b[137] = b[19] = 0x30; /* finite */
        quantizer_iq4_nl.dequantize(out, b, 64);
        for (size_t i = 0; i < 64; i++) {
            const uint8_t *block = b + i / 32 * 18, *q = block + 2;
            float d = f32_from_f16((uint16_t)(block[0] | block[1] << 8));
            int index = i % 32 < 16 ? q[i % 16] % 16 : q[i % 16] / 16;
            cr_assert_eq(f32_bits(out[i]), f32_bits(d * values[index]), "IQ4_NL, element %zu", i);
        }
        quantizer_iq4_xs.dequantize(out, b, 512);
        for (size_t i = 0; i < 512; i++) {
            const uint8_t *block = b + i / 256 * 136;
            size_t sub = i % 256 / 32;
            int low = sub % 2 ? block[4 + sub / 2] / 16 : block[4 + sub / 2] % 16;
            int high = (block[2] | block[3] << 8) / (1 << 2 * sub) % 4;
            float d = f32_from_f16((uint16_t)(block[0] | block[1] << 8)) * (float)(low + 16 * high - 32);
            uint8_t q = block[8 + 16 * sub + i % 16];
            cr_assert_eq(f32_bits(out[i]), f32_bits(d * values[i % 32 < 16 ? q % 16 : q / 16]),
                         "IQ4_XS, element %zu", i);
        }
    }
}
