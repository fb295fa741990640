/* presets_fixture.h -- the model that tests/golden/presets-256.txt is about: two layers of a random Qwen3-MoE
 * with rows of 256, so that every K-quant applies, and an importance matrix for it in llama.cpp's older
 * format. Both are the same wherever they are made: by the test, and by tests/golden/make_presets.py for
 * llama-quantize. */
#ifndef RECAST_TESTS_PRESETS_FIXTURE_H
#define RECAST_TESTS_PRESETS_FIXTURE_H

#include "fixture.h"

#define PRESETS_IMATRIX "imatrix.dat"

static inline FixtureModel presets_model(void) {
    FixtureModel m = fixture_model_default();
    m.experts = 2;
    m.used = 1;
    m.hidden = m.ff = 256;
    m.kv_heads = 1;
    m.head_dim = 64;
    m.seed = 256;
    return m;
}

/* One entry: n sums over 3 calls, some of them zero, as a column that was never active has it. */
static inline void presets_entry(Buffer *b, const char *name, uint32_t n) {
    uint64_t state = n;
    for (const char *c = name; *c; c++) state = state * 31 + (unsigned char)*c;
    buffer_u32(b, (uint32_t)strlen(name));
    buffer_text(b, name);
    buffer_u32(b, 3);
    buffer_u32(b, n);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t r = fixture_random(&state);
        float unit = (float)(r >> 40) * 0x1p-24f, sum = r % 16 ? unit * unit * unit * 40 : 0;
        uint32_t bits;
        memcpy(&bits, &sum, 4);
        buffer_u32(b, bits);
    }
}

/* As llama-imatrix writes it: nothing of the embedding, which is no product of matrices. */
static inline void presets_imatrix(const char *directory, const FixtureModel *m) {
    const struct {
        const char *name;
        uint32_t n;
    } parts[] = {{"attn_q", m->hidden},
                 {"attn_k", m->hidden},
                 {"attn_v", m->hidden},
                 {"attn_output", m->heads * m->head_dim},
                 {"ffn_gate_exps", m->hidden * m->experts},
                 {"ffn_up_exps", m->hidden * m->experts},
                 {"ffn_down_exps", m->ff * m->experts}};
    enum { PARTS = sizeof parts / sizeof parts[0] };
    Buffer b;
    buffer_init(&b, NULL);
    buffer_u32(&b, 1 + PARTS * m->layers);
    presets_entry(&b, "output.weight", m->hidden);
    for (uint32_t i = 0; i < PARTS * m->layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s.weight", i / PARTS, parts[i % PARTS].name);
        presets_entry(&b, name, parts[i % PARTS].n);
    }
    buffer_u32(&b, 8);
    buffer_u32(&b, 8);
    buffer_text(&b, "text.txt");
    cr_assert_not(b.failed);
    fixture_write(directory, PRESETS_IMATRIX, b.data, b.length);
    buffer_free(&b);
}

#endif
