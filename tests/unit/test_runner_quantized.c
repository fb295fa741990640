/* Quantized weights (section 11 of docs/arithmetic.md): activations and dot products against sums of plain
 * integers over blocks of any bytes, and whole passes against hashes of an independent implementation. */
#include "core/blocks.h"
#include "core/floats.h"
#include "core/quantize.h"
#include "core/sha256.h"
#include "model/checkpoint.h"
#include "model/views.h"
#include "runner/ref/quantized.h"
#include "runner/runner.h"
#include "tests/unit/fixture.h"
#include <math.h>

static const DType types[] = {DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q8_0,   DT_Q2_K,
                              DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS};
enum { N_TYPES = sizeof types / sizeof *types, COLUMNS = 2304 /* nine super-blocks: 72 blocks, 32 lanes */ };

static bool has_minimum(DType t) {
    return t == DT_Q4_1 || t == DT_Q5_1 || t == DT_Q2_K || t == DT_Q4_K || t == DT_Q5_K;
}

/* ---- activations ---- */

static float unit(uint64_t *state) {
    return (float)(fixture_random(state) >> 40) / 8388608.0f - 1;
}

/* The page's words, with rint and division in place of the code's tricks. */
static void check_activations(const float *x, const ActBlock *b) {
    float amax = 0;
    int sum[2] = {0, 0};
    for (int i = 0; i < 32; i++) amax = fmaxf(amax, fabsf(x[i]));
    float d = amax / 127, r = 1 / d;
    bool gone = amax == 0 || isinf(r);
    cr_assert_eq(f32_bits(b->d), f32_bits(gone ? 0 : d), "%a", (double)amax);
    for (int i = 0; i < 32; i++) {
        int q = gone ? 0 : (int)lrintf(x[i] * r);
        cr_assert_eq(b->q[i], q, "element %d of amax %a: %d, not %d", i, (double)amax, b->q[i], q);
        cr_assert(q >= -127 && q <= 127);
        sum[i / 16] += q;
    }
    cr_assert(b->sum[0] == sum[0] && b->sum[1] == sum[1]);
}

Test(runner_quantized, activations_of_every_size) {
    uint64_t state = 7;
    float x[64];
    ActBlock b[2];
    for (int e = -149; e <= 120; e++)
        for (int k = 0; k < 8; k++) {
            for (int i = 0; i < 64; i++) x[i] = ldexpf(unit(&state), e + (k == 7 ? i % 12 : 0));
            quantized_activations(b, x, 64);
            check_activations(x, &b[0]);
            check_activations(x + 32, &b[1]);
        }
}

Test(runner_quantized, ties_go_to_even_and_the_largest_is_127) {
    float x[32] = {127, -127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f, 63.5f, -0.0f, 0.25f};
    static const int8_t q[13] = {127, -127, 0, 2, 2, 0, -2, -2, 126, -126, 64, 0, 0};
    ActBlock b;
    quantized_activations(&b, x, 32);
    cr_assert_eq(b.d, 1);
    for (int i = 0; i < 13; i++) cr_assert_eq(b.q[i], q[i], "%d: %d", i, b.q[i]);
    cr_assert_eq(b.sum[0], 64);
    cr_assert_eq(b.sum[1], 0);
    for (int i = 0; i < 32; i++) x[i] = -1e30f;
    quantized_activations(&b, x, 32);
    for (int i = 0; i < 32; i++) cr_assert_eq(b.q[i], -127);
    cr_assert_eq(b.sum[1], -16 * 127);
}

/* Below 127 * 2^-128 (about 3.7e-37) the reciprocal of d is infinite. */
Test(runner_quantized, tiny_blocks_are_zero) {
    static const float largest[] = {0, 0x1p-149f, 1e-40f, 3e-37f, 3.7e-37f, 3.8e-37f, 4e-37f, 1e-30f};
    for (size_t k = 0; k < sizeof largest / sizeof *largest; k++) {
        float x[32] = {largest[k], -largest[k], largest[k] / 2};
        ActBlock b;
        quantized_activations(&b, x, 32);
        check_activations(x, &b);
        cr_assert_eq(b.d != 0, largest[k] > 3.75e-37f, "%a", (double)largest[k]);
    }
}

/* What is no number must not become one. */
Test(runner_quantized, nan_and_infinity_stay) {
    for (int at = 0; at < 32; at += 31)
        for (int k = 0; k < 3; k++) {
            float x[32];
            ActBlock b;
            for (int i = 0; i < 32; i++) x[i] = (float)i - 3;
            x[at] = k == 0 ? NAN : k == 1 ? INFINITY : -INFINITY;
            quantized_activations(&b, x, 32);
            cr_assert(k == 0 ? isnan(b.d) : isinf(b.d));
            block_q8_0 w = {.d = 0x3C00, .qs = {1, 2, 3}};
            cr_assert_not(isfinite(quantized_dot(DT_Q8_0, &w, &b, 32)));
        }
}

/* ---- weights ---- */

/* What a block is made of, found by dequantizing: with d = 1, dmin = 0 a weight is scale * c, an integer;
 * with d = 0 and dmin = 1 it is the minimum. Offsets of d and m (dmin) are ggml's. */
typedef struct Place {
    DType type;
    size_t d, m;
} Place;

static Place place_of(DType type) {
    switch (type) {
    case DT_Q4_1:
    case DT_Q5_1:
    case DT_Q4_K:
    case DT_Q5_K: return (Place){type, 0, 2};
    case DT_Q2_K: return (Place){type, 80, 82};
    case DT_Q3_K: return (Place){type, 108, 0};
    case DT_Q6_K: return (Place){type, 208, 0};
    default: return (Place){type, 0, 0};
    }
}

static void put16(uint8_t *at, uint16_t v) {
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

static uint16_t get16(const uint8_t *at) {
    return (uint16_t)(at[0] | at[1] << 8);
}

/* The 32-lane sum of section 2, of terms that are given with their scales. */
static float lanes(const float *scale, const int64_t *v, size_t n) {
    float lane[32] = {0};
    for (size_t j = 0; j < n; j++) lane[j % 32] = fmaf(scale[j], (float)v[j], lane[j % 32]);
    for (int s = 16; s; s /= 2)
        for (int l = 0; l < s; l++) lane[l] += lane[l + s];
    return lane[0];
}

/* quantized_dot as a sum of int64 products of what the dequantizer says the integers are. */
static float expected_dot(DType type, const uint8_t *row, const ActBlock *x, size_t n) {
    const Quantizer *q = quantizer_of(type);
    size_t block = dtype_info(type)->block, bytes = dtype_info(type)->bytes;
    Place at = place_of(type);
    float *d = calloc(n / 32, sizeof *d), *m = calloc(n / 32, sizeof *m), w[256], low[256];
    int64_t *v = calloc(n / 32, sizeof *v), *min = calloc(n / 32, sizeof *min);
    uint8_t copy[256];
    cr_assert(d && m && v && min);
    for (size_t i = 0; i < n; i += block, row += bytes) {
        memcpy(copy, row, bytes);
        put16(copy + at.d, 0x3C00); /* 1 */
        if (has_minimum(type)) put16(copy + at.m, 0);
        q->dequantize(w, copy, block);
        put16(copy + at.d, 0);
        if (has_minimum(type)) put16(copy + at.m, 0x3C00);
        q->dequantize(low, copy, block);
        for (size_t k = 0; k < block; k++) {
            size_t j = (i + k) / 32;
            const ActBlock *a = &x[j];
            cr_assert_eq(w[k], rintf(w[k]));
            d[j] = f32_from_f16(get16(row + at.d)) * a->d;
            v[j] += (int64_t)w[k] * a->q[k % 32];
            if (!has_minimum(type)) continue;
            m[j] = f32_from_f16(get16(row + at.m)) * a->d;
            min[j] += (int64_t)fabsf(low[k]) * a->q[k % 32];
        }
    }
    for (size_t j = 0; j < n / 32; j++) cr_assert(llabs(v[j]) < 1 << 24 && llabs(min[j]) < 1 << 24);
    float result = lanes(d, v, n / 32), less = lanes(m, min, n / 32);
    if (type == DT_Q4_1 || type == DT_Q5_1)
        result += less;
    else if (has_minimum(type))
        result -= less;
    free(d);
    free(m);
    free(v);
    free(min);
    return result;
}

/* n weights of random bytes; `kind` 0: scales about 2^-10, 1: any finite scale, 2: all bits of the rest set,
 * 3: none set. */
static void random_row(uint8_t *row, DType type, size_t n, int kind, uint64_t *state) {
    size_t bytes = dtype_info(type)->bytes;
    Place at = place_of(type);
    for (size_t i = 0; i < n / dtype_info(type)->block; i++, row += bytes) {
        for (size_t k = 0; k < bytes; k++)
            row[k] = kind == 2 ? 0xFF : kind == 3 ? 0 : (uint8_t)fixture_random(state);
        for (int k = 0; k < 1 + has_minimum(type); k++) {
            uint16_t h = (uint16_t)fixture_random(state);
            h = kind == 1 ? (uint16_t)(h & ~0x0400) : (uint16_t)((h & 0x8FFF) | 0x1000);
            put16(row + (k ? at.m : at.d), h);
        }
    }
}

Test(runner_quantized, dot_of_any_bytes) {
    static const size_t lengths[] = {256, 1024, 1280, COLUMNS};
    uint64_t state = 3;
    float x[COLUMNS];
    ActBlock acts[COLUMNS / 32];
    uint8_t *row = malloc(COLUMNS * 2 + 1);
    cr_assert_not_null(row);
    for (size_t t = 0; t < N_TYPES; t++)
        for (int round = 0; round < 32; round++) {
            size_t n = lengths[round / 4 % 4];
            for (size_t i = 0; i < n; i++) x[i] = round % 5 ? unit(&state) : i % 64 < 32 ? 1 : -1e-3f;
            if (round % 7 == 0) memset(x + 32, 0, 32 * sizeof *x);
            quantized_activations(acts, x, n);
            random_row(row + 1, types[t], n, round % 4, &state); /* no alignment */
            float got = quantized_dot(types[t], row + 1, acts, n),
                  want = expected_dot(types[t], row + 1, acts, n);
            cr_assert_eq(f32_bits(got), f32_bits(want), "%s, %zu, round %d: %a, not %a", dtype_name(types[t]),
                         n, round, (double)got, (double)want);
        }
    free(row);
}

/* A row of 32-element blocks need not be a whole number of 256. */
Test(runner_quantized, one_block_by_hand) {
    ActBlock a = {.d = 0.5f};
    for (int i = 0; i < 32; i++) a.q[i] = (int8_t)(i - 10);
    for (int i = 0; i < 32; i++) a.sum[i / 16] = (int16_t)(a.sum[i / 16] + a.q[i]);
    block_q8_0 q8 = {.d = 0x4000}; /* 2 */
    q8.qs[0] = 3, q8.qs[31] = -128;
    cr_assert_eq(quantized_dot(DT_Q8_0, &q8, &a, 32), 3 * -10 + -128 * 21);
    block_q4_1 q4 = {.d = 0x3C00, .m = 0xBC00, .qs = {[15] = 0xF2}}; /* 1, -1; elements 15: 2, 31: 15 */
    cr_assert_eq(quantized_dot(DT_Q4_1, &q4, &a, 32), 0.5f * (2 * 5 + 15 * 21) - 0.5f * (31 * 16 - 320));
    block_iq4_nl nl = {.d = 0x3C00};
    for (int i = 0; i < 16; i++) nl.qs[i] = 0x88; /* 1 everywhere */
    nl.qs[0] = 0x8F;                              /* element 0: 113 */
    cr_assert_eq(quantized_dot(DT_IQ4_NL, &nl, &a, 32), 0.5f * (31 * 16 - 320 + 112 * -10));
}

/* The largest integer of all: Q6_K with every q and scale at its end. */
Test(runner_quantized, largest_integer_is_exact) {
    block_q6_K w;
    float x[256];
    ActBlock acts[8];
    memset(&w, 0, sizeof w); /* c = -32 everywhere */
    memset(w.scales, 0x80, sizeof w.scales);
    w.d = 0x3C00;
    for (int i = 0; i < 256; i++) x[i] = i < 32 ? 127 : 0;
    quantized_activations(acts, x, 256);
    cr_assert_eq(quantized_dot(DT_Q6_K, &w, acts, 256), 16646144);
}

Test(runner_quantized, knows_what_it_can_do) {
    for (size_t t = 0; t < N_TYPES; t++) cr_assert(quantized_knows(types[t]) && quantizer_of(types[t]));
    static const DType others[] = {DT_F32, DT_F16, DT_BF16, DT_NONE};
    for (size_t t = 0; t < 4; t++) cr_assert_not(quantized_knows(others[t]));
}

/* ---- whole passes ---- */

/* A few tokens, or enough of them that the threads get work to share. */
enum { SHORT = 6, LONG = 48 };

static void fill_prompt(uint32_t *tokens, size_t n) {
    for (size_t i = 0; i < n; i++) tokens[i] = (uint32_t)((i * i * 31 + 17 * i + 5) % 1000);
}

/* Rows of 256 everywhere, so that each matrix can be in any type. */
static FixtureModel shape(void) {
    FixtureModel m = fixture_model_default();
    m.layers = 1, m.experts = 4, m.hidden = 256, m.ff = 256, m.head_dim = 64, m.tied = true;
    return m;
}

static Model *in_type(Model **base, Model **names, const char *directory, DType type) {
    Model *out;
    Error err = {0};
    const Preset *preset = NULL;
    for (size_t i = 0; i < preset_count() && !preset; i++)
        if (preset_at(i)->type == type) preset = preset_at(i);
    cr_assert_not_null(preset);
    RetypeOptions options = {.rules = mixture_rules(preset)};
    options.rules.pure = true;
    options.rules.embedding_type = options.rules.output_type = type;
    cr_assert_eq(checkpoint_open(base, directory, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(gguf_names_open(names, *base, &(GgufNamesOptions){0}, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(retype_open(&out, *names, &options, NULL, &err), 0, "%s", err.message);
    for (size_t i = 0; i < out->n_tensors; i++) {
        const Tensor *t = &out->tensors[i];
        bool matrix = t->n_dims > 1 && !strstr(t->name, "ffn_gate_inp");
        cr_assert_eq(t->type, matrix ? type : DT_F32, "%s", t->name);
    }
    return out;
}

static void pass_is(const Model *m, RunnerOptions options, size_t n, const char *sha256, const char *what) {
    const size_t chunks[] = {n, n - 2, 1};
    Runner *r;
    Error err = {0};
    uint32_t prompt[LONG];
    char hex[SHA256_HEX];
    fill_prompt(prompt, n);
    options.context = LONG;
    cr_assert_eq(runner_open(&r, m, options, NULL, &err), 0, "%s", err.message);
    for (size_t c = 0; c < 3; c++) {
        runner_reset(r);
        for (size_t i = 0; i < n; i += chunks[c])
            cr_assert_eq(runner_forward(r, prompt + i, n - i < chunks[c] ? n - i : chunks[c], &err), 0, "%s",
                         err.message);
        cr_assert_eq(sha256_bytes(hex, runner_logits(r), 1024 * sizeof(float), NULL), 0);
        cr_assert_str_eq(hex, sha256, "%s, %u threads, chunks of %zu: %s", what, options.threads, chunks[c],
                         hex);
    }
    runner_close(r);
}

/* What tests/golden/make_strict.py prints for this model as GGUFs. To make them anew (T: Q4_0; P: a preset of
 * it): RECAST_TEST_KEEP=DIR build/tests/test_runner_quantized      leaves the checkpoint in DIR recast
 * convert DIR -o X.gguf --type P --tensor-type .=T --embedding-type T --output-type T */
typedef struct Golden {
    DType type;
    const char *q8, *f32, *q8_kv_f16, *q8_kv_q8_0;
} Golden;
static const Golden goldens[] = {
    {DT_Q4_0, "b5531aea64e02f88bc515d93ac3ea6c057e35d1a7152034a9043cf98e6d64bdf",
     "f763909ee6ae7b1dc84cf8272636de59c324bd0938c5751320d7fdbaaf20e85f",
     "f676f13dacbcd370f45795944592e4dff9fcc99b3791c1487dfc5f031bd20b65",
     "9b793aa42f02be3cc86dae18981682f080c92f6f82af7e3d94e0658a34606093"},
    {DT_Q4_1, "59ca9e47d905d910f5d175bb43ffafd63feb5a0dfb2d3b5ac6f7db59b02f285a",
     "2476c2fc4d744458b4dff417f24f9b116ca71767056562b7a91b105aadd59083",
     "7c573f99fb3ddbd6f0049766d9c19fc7835f894c1369288aee2eb6dfdf5fab01",
     "b70c9436ffce7a7e3d2f35d77bb701ceab60ffe914ae5a75ae95a52fb3ab1ac2"},
    {DT_Q5_0, "12ab7a88bff5d5dd86a4d73713eb5594307301c47cba99e68ef146843d01825e",
     "331b0aeb67b2c099097d23701e307a4bab6b6e068a25f0775f3578343bf6944d",
     "9854a0fce0b6b1a17ba196da951487ec671bc685f0a82d81c127f1c0d567fe17",
     "866aa5c3103fc5f3f14dcf67eb5d545b3fdd9e26384a819c8f619e8ac4d14633"},
    {DT_Q5_1, "b394ae85dd161a2964036bbe45232eb1069bddca45432a14a1056b0779aac267",
     "f3aff486144c974be560fd31ce712a57c374709d1a707f4e6f8d9328c88cec0a",
     "1ac9507570bee91b99be9361f031bc99a38cea89e93df695ad9e849a27ca73ca",
     "911995efaecd5cf1478fda901c89f105c615d23e680617b6dd879ef53bde419b"},
    {DT_Q8_0, "2ec1ca0630286fcc89ce17a2cc5a2818cb3db2e7c186ead5b9bef9147703b310",
     "603bfd4a8d35d50c0a7f7268dff1449b05dd18313db56cfd64a9bdab081007ae",
     "06ee8b8d367111c0b34b39a1aa186302dcf652a2a1cad87d7640c2fa9e845aff",
     "f4685a459974aec09d09ba57c96c0440147fde489fe63435f4088681d1675a97"},
    {DT_Q2_K, "55143f0884778c79af018a24743a46b290b961b3e37203bf4da17145e85d8ec7",
     "4a24c727947593b864bfe095753bcb6ef667460a1f22ed5307248cbb53ec4063",
     "8e8a7bc37bcd765bae6c151d2ea58ded67278f4a85cf7fb572eb6d92d87d5035",
     "0b0890e019da220166036ca1503b081f293c98c0fd39d1653618ab055bf2ae71"},
    {DT_Q3_K, "bc0a804ca717fe2b8e75a10d4b018805e6331fa0fd683d7149d87a0bfe6f08bd",
     "5dcb92740b66453d598c26c8df2515346753d29623d3b7d750225d4a6417d25c",
     "4cc9890ff4f283c6b05f325ce94a73a301e62e4eafbd4ef69fd8a305090a5fad",
     "da4b3b84a40c23c8c2958a9b319772d209e2e437bafd5f1e0272002120c94fd5"},
    {DT_Q4_K, "1970bd3cd2e7b062d94960bf7eb93578cfafa2222ae01517cc0430a90faf7e3d",
     "cec68506bae68a7f7143db825f4b7015ecbbb2e6d7fd20e2464646becd582078",
     "4ee6f024d02b2b48aede4cc4267e5e0eadefd4abe43acbe8886c37e9da19a86c",
     "b17348cb0b9f056dc1ee2ee1a0051ce858eec6f5d8494a2db4e063b93065e71e"},
    {DT_Q5_K, "6328d25198e9e8bc420f3520206ad3434783fe6b7c86c89df6f2686f925d22e0",
     "452510329681fc8a8e553e5a3031796fd703fbb4b330c3ed8ef5c947ff2132ca",
     "6b13fdcf0e6c141edf638e08b55e26e40a9efbbd82336600dcbdaad48c503231",
     "0d0bc74152b6eb728d92d224d068ce78dcf841eec77ee6ed6142b82489609ccb"},
    {DT_Q6_K, "4ed1962ebbdba99ba1e65fd4860e2339f6acf9c2968b0cf52a4ff65435118960",
     "68ce88632d7ca1ee725878fbe1137296de815141c909585a07708c2fd1414233",
     "723ab4940e418cd8e668e0c95cc92a48e1f142c70f4295c38d430114fa724267",
     "eefa159ff2b837c745d30709b1c54152d90dac60e5550cc481f62e3764814cdc"},
    {DT_IQ4_NL, "edadd46a67ccf552da8d3cf2c8661c3459f27a5323315fee8d6d92cb167620c1",
     "98f37a1a034733b2020bfb1aa4c7670edb2b5140aff147f85dccec8ffa035546",
     "fb1b1bcca6e38c1720be207d692899462127b9e379c273e2031f64c26fe58481",
     "82e46409fc94170e28c803e59c5b72f548fd086def0dddefe137d6202746b8d5"},
    {DT_IQ4_XS, "7c8ba6ecdbec8c5f93bf27d4bb3f885263c18c6dd9cc45a91c147dd3ae74e218",
     "33f64dc2935fc89450cfcbea333bb8d37710c18b924b46c2d48e453207be73fd",
     "3662ff24182e8a9bf0db8cf885a8fc2d7acef19645af33925753b02e500a4cce",
     "aa7e1f3e8a528c7ccb139f0b5bf754968b1b47e96dee2a49cd31a5479a94a7dd"},
};

static void check_golden(const char *directory, const Golden *g) {
    Model *base, *names, *m = in_type(&base, &names, directory, g->type);
    const char *what = dtype_name(g->type);
    for (unsigned threads = 1; threads <= 7; threads += threads == 1 ? 1 : 5)
        pass_is(m, (RunnerOptions){.threads = threads}, SHORT, g->q8, what);
    pass_is(m, (RunnerOptions){.threads = 2, .activations = ACTIVATIONS_F32}, SHORT, g->f32, what);
    pass_is(m, (RunnerOptions){.threads = 2, .kv = KV_F16}, SHORT, g->q8_kv_f16, what);
    pass_is(m, (RunnerOptions){.threads = 2, .kv = KV_Q8_0}, SHORT, g->q8_kv_q8_0, what);
    model_close(m);
    model_close(names);
    model_close(base);
}

static void check_goldens(size_t first, size_t n) {
    FixturePath directory;
    FixtureModel m = shape();
    fixture_dir(directory);
    fixture_model(directory, &m);
    for (size_t i = first; i < first + n; i++) check_golden(directory, &goldens[i]);
    fixture_remove(directory);
}

Test(runner_quantized, bits_of_the_legacy_types) {
    const char *keep = getenv("RECAST_TEST_KEEP");
    FixtureModel m = shape();
    if (keep) fixture_model(keep, &m);
    check_goldens(0, 5);
}

Test(runner_quantized, bits_of_the_k_types) {
    check_goldens(5, 5);
}

Test(runner_quantized, bits_of_the_iq4_types) {
    check_goldens(10, 2);
}

Test(runner_quantized, threads_and_chunks_change_nothing) {
    static const struct {
        DType type;
        const char *q8, *f32;
    } expected[] = {{DT_Q5_1, "458e5076e6885225fdebd01d6f52da7d72cd1c47cea40dce378fbec967bda4ff",
                     "a3d5e7aefb732d0e6c4e1386a11d98905f1c42bcba0fb79f30bcd836fd190205"},
                    {DT_Q4_K, "43853ad86f4cde20338625090469707022d2cc6d99d9a9faecde1ba68f6aefd7",
                     "420163dac6e8b619d647945e4728c4a6d7668afb499fd0be2a22bda31fda943b"}};
    FixturePath directory;
    FixtureModel m = shape();
    fixture_dir(directory);
    fixture_model(directory, &m);
    for (size_t i = 0; i < 2; i++) {
        Model *base, *names, *model = in_type(&base, &names, directory, expected[i].type);
        const char *what = dtype_name(expected[i].type);
        for (unsigned threads = 1; threads <= 7; threads += threads == 1 ? 1 : 5) {
            RunnerOptions q8 = {.threads = threads},
                          f32 = {.threads = threads, .activations = ACTIVATIONS_F32};
            pass_is(model, q8, LONG, expected[i].q8, what);
            pass_is(model, f32, LONG, expected[i].f32, what);
        }
        model_close(model);
        model_close(names);
        model_close(base);
    }
    fixture_remove(directory);
}

Test(runner_quantized, arithmetic_is_named) {
    FixturePath directory;
    FixtureModel m = shape();
    Model *base, *names;
    Runner *r;
    fixture_dir(directory);
    fixture_model(directory, &m);
    Model *model = in_type(&base, &names, directory, DT_Q8_0);
    cr_assert_eq(runner_open(&r, model, (RunnerOptions){.context = 8, .kv = KV_F16}, NULL, NULL), 0);
    cr_assert_str_eq(runner_arithmetic(r), "recast-arithmetic-1/q8 activations/kv f16");
    runner_close(r);
    RunnerOptions wide = {.context = 8, .activations = ACTIVATIONS_F32};
    cr_assert_eq(runner_open(&r, model, wide, NULL, NULL), 0);
    cr_assert_str_eq(runner_arithmetic(r), "recast-arithmetic-1/f32 activations/kv f32");
    runner_close(r);
    model_close(model);
    model_close(names);
    model_close(base);
    fixture_remove(directory);
}
