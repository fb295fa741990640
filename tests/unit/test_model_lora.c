/* Adapters merged while rows are read: against PEFT, against plain arithmetic, and what is refused. */
#include "lora_fixture.h"
#include "model/gguf.h"
#include "model/lora_kernel.h"
#include "model/proof.h"
#include "model/views.h"
#include "support.h"
#include <math.h>

/* ---- against PEFT: every value equal or one ulp apart, at most 0.1 % of them apart ---- */

/* Neighbouring bf16 numbers differ by 1. */
static int32_t order_of(uint16_t bits) {
    return bits & 0x8000 ? -(int32_t)(bits & 0x7FFF) : (int32_t)bits;
}

typedef struct Distance {
    size_t elements, apart;
    int32_t most;
} Distance;

static void compare_entry(Distance *d, const Input *in, const SafetensorsEntry *e, const Model *view) {
    const Tensor *t = model_find(view, e->name);
    cr_assert_not_null(t, "%s", e->name);
    cr_assert_eq(t->n_transforms, 1u, "%s is not changed", e->name);
    size_t n = (size_t)(e->length / 2);
    uint16_t *wanted = malloc(2 * n), *found = malloc(2 * n);
    cr_assert(wanted && found);
    cr_assert_eq(input_read(in, e->offset, wanted, 2 * n, NULL), 0);
    cr_assert_eq(model_read(t, 0, e->shape[0], found, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        int32_t apart = abs(order_of(wanted[i]) - order_of(found[i]));
        d->elements++;
        d->apart += apart != 0;
        if (apart > d->most) d->most = apart;
    }
    free(wanted);
    free(found);
}

static void check_golden(const char *name, LoraRounding rounding) {
    FixturePath adapter, path;
    Arena *arena;
    Input *in;
    SafetensorsHeader header;
    Distance d = {0};
    fixture_path(adapter, LORA_GOLDEN, name);
    fixture_path(path, adapter, "merged.safetensors");
    Merged m = merged_open(FIXTURE_TINY, adapter, rounding);
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(input_open(&in, path, NULL, NULL), 0);
    cr_assert_eq(safetensors_read(&header, in, arena, NULL), 0);
    for (size_t i = 0; i < header.n_entries; i++) compare_entry(&d, in, &header.entries[i], m.view);
    cr_assert_gt(d.elements, 1000u);
    cr_expect_leq(d.most, 1, "%s: %d ulp", name, d.most);
    cr_expect_leq(1000 * d.apart, d.elements, "%s: %zu of %zu apart", name, d.apart, d.elements);
    Error err = {0};
    cr_expect_eq(lora_finish(m.view->lora, 2, &err), 0, "%s", err.message);
    input_close(in);
    arena_close(arena);
    merged_close(&m);
}

Test(lora, golden_linear) {
    static const char *const cases[] = {"attention", "rslora-patterns", "one-layer", "dora", "tokens"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_golden(cases[i], LORA_ONCE);
}

Test(lora, golden_parameters_round_twice) {
    check_golden("experts", LORA_PEFT);
    check_golden("experts-down", LORA_PEFT);
    check_golden("router", LORA_PEFT);
    check_golden("embedding", LORA_PEFT);
}

Test(lora, what_no_adapter_names_stays_bytes) {
    Merged m = merged_open(FIXTURE_TINY, LORA_GOLDEN "/one-layer", LORA_ONCE);
    size_t changed = 0;
    for (size_t i = 0; i < m.view->n_tensors; i++) {
        const Tensor *t = &m.view->tensors[i];
        changed += t->n_transforms != 0;
        if (t->n_transforms) continue;
        cr_expect_eq(memcmp(t, &m.base->tensors[i], sizeof *t), 0);
    }
    cr_expect_eq(changed, 1u);
    cr_expect_eq(lora_tensors(m.view->lora), 1u);
    merged_close(&m);
}

/* ---- against plain arithmetic ---- */

static float *entry_values(const char *adapter, const char *key, SafetensorsEntry *entry) {
    FixturePath path;
    Arena *arena;
    Input *in;
    SafetensorsHeader header;
    char name[400];
    fixture_path(path, adapter, LORA_WEIGHTS_FILE);
    snprintf(name, sizeof name, LORA_PREFIX "%s", key);
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(input_open(&in, path, NULL, NULL), 0);
    cr_assert_eq(safetensors_read(&header, in, arena, NULL), 0);
    float *out = NULL;
    for (size_t i = 0; i < header.n_entries; i++) {
        const SafetensorsEntry *e = &header.entries[i];
        if (strcmp(e->name, name)) continue;
        size_t n = (size_t)e->length / dtype_info(e->type)->bytes;
        void *bytes = malloc((size_t)e->length);
        out = malloc(4 * n);
        cr_assert(bytes && out);
        cr_assert_eq(input_read(in, e->offset, bytes, (size_t)e->length, NULL), 0);
        cr_assert_eq(floats_convert(DT_F32, out, e->type, bytes, n, NULL), 0);
        free(bytes);
        *entry = *e;
        entry->name = NULL;
    }
    cr_assert_not_null(out, "%s", name);
    input_close(in);
    arena_close(arena);
    return out;
}

/* Experts in rounding "once": W + f32(s * sum), B's column j * E + e with A's row e * r + j. */
Test(lora, fused_experts_once_equal_plain_float32) {
    const char *adapter = LORA_GOLDEN "/experts";
    enum { E = 128, R = 2, D = 64, I = 32, EXPERT = 77 };
    SafetensorsEntry ea, eb;
    float *a = entry_values(adapter, "model.layers.1.mlp.experts.base_layer.lora_A.weight", &ea);
    float *b = entry_values(adapter, "model.layers.1.mlp.experts.base_layer.lora_B.weight", &eb);
    cr_assert(ea.shape[0] == E * R && ea.shape[1] == D && eb.shape[0] == 2 * I && eb.shape[1] == E * R);
    Merged m = merged_open(FIXTURE_TINY, adapter, LORA_ONCE);
    char name[100];
    snprintf(name, sizeof name, "model.layers.1.mlp.experts.%d.up_proj.weight", EXPERT);
    uint16_t *before = tensor_bytes_of(m.base, name), *after = tensor_bytes_of(m.view, name);
    for (size_t o = 0; o < I; o++)
        for (size_t i = 0; i < D; i++) {
            float sum = 0;
            for (size_t j = 0; j < R; j++)
                sum = fmaf(b[(I + o) * E * R + j * E + EXPERT], a[(EXPERT * R + j) * D + i], sum);
            float wanted = f32_from_bf16(before[o * D + i]) + 2.0f * sum;
            cr_assert_eq(after[o * D + i], bf16_from_f32(wanted), "row %zu, column %zu", o, i);
        }
    free(a);
    free(b);
    free(before);
    free(after);
    merged_close(&m);
}

/* A fixture whose expert size is not half of its hidden size, so that shapes tell layouts apart. */
static FixtureModel small_model(void) {
    FixtureModel m = fixture_model_default();
    m.ff = 48;
    m.experts = 4;
    return m;
}

enum { SE = 4, SR = 3, SD = 64, SI = 48 };

static void base_write(const FixtureModel *m, FixturePath out, const char *directory, const char *name) {
    fixture_path(out, directory, name);
    mkdir(out, 0755);
    fixture_model(out, m);
}

/* rsLoRA of experts one by one, which PEFT 0.21 makes sqrt(2) too large for gate and up: plain arithmetic. */
Test(lora, per_expert_rslora) {
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    fixture_shard_begin(&s);
    lora_put_pair(&s, "model.layers.0.mlp.experts.2.gate_proj", SI, SD, SR, 5);
    lora_write(&s, adapter, "\"r\": 3, \"lora_alpha\": 2, \"use_rslora\": true");
    float *a = lora_values(SR * SD, 5), *b = lora_values(SI * SR, 6), scale = (float)(2 / sqrt(3.0));
    Merged m = merged_open(base, adapter, LORA_ONCE);
    const char *name = "model.layers.0.mlp.experts.2.gate_proj.weight";
    uint16_t *before = tensor_bytes_of(m.base, name), *after = tensor_bytes_of(m.view, name);
    for (size_t o = 0; o < SI; o++)
        for (size_t i = 0; i < SD; i++) {
            float sum = 0;
            for (size_t j = 0; j < SR; j++) sum = fmaf(b[o * SR + j], a[j * SD + i], sum);
            cr_assert_eq(after[o * SD + i], bf16_from_f32(f32_from_bf16(before[o * SD + i]) + scale * sum));
        }
    cr_expect_eq(lora_finish(m.view->lora, 1, NULL), 0);
    free(a);
    free(b);
    free(before);
    free(after);
    merged_close(&m);
    fixture_remove(dir);
}

/* ---- layouts of experts ---- */

/* The same pairs in each of the ways in which they are kept. */
static void write_fused(const char *directory, LoraLayout layout) {
    static const char *const config =
        "\"r\": 3, \"lora_alpha\": 3, \"target_parameters\": [\"mlp.experts.gate_up_proj\", "
        "\"mlp.experts.down_proj\"], \"layers_to_transform\": [0], \"peft_version\": \"%s\"";
    static const char *const modules[2] = {"model.layers.0.mlp.experts.base_layer",
                                           "model.layers.0.mlp.experts"};
    char text[300], key[200];
    FixtureShard s;
    fixture_shard_begin(&s);
    for (size_t which = 0; which < 2; which++) {
        size_t in = which ? SI : SD, out = which ? SD : 2 * SI, er = SE * SR;
        float *a = lora_values(er * in, 10 + which), *b = lora_values(out * er, 20 + which);
        float *a2 = malloc(4 * er * out), *b2 = malloc(4 * (in > out ? in : out) * er);
        for (size_t e = 0; e < SE; e++)
            for (size_t j = 0; j < SR; j++) {
                for (size_t o = 0; o < out; o++) {
                    float v = b[o * er + e * SR + j]; /* as Unsloth packs it */
                    if (layout == LORA_LAYOUT_PEFT) b2[o * er + j * SE + e] = v;
                    if (layout == LORA_LAYOUT_UNSLOTH) b2[o * er + e * SR + j] = v;
                    if (layout == LORA_LAYOUT_PEFT_0_18) a2[(e * SR + j) * out + o] = v;
                }
                if (layout == LORA_LAYOUT_PEFT_0_18)
                    for (size_t i = 0; i < in; i++) b2[i * er + j * SE + e] = a[(e * SR + j) * in + i];
            }
        bool turned = layout == LORA_LAYOUT_PEFT_0_18;
        snprintf(key, sizeof key, "%s.lora_A.weight", modules[which]);
        lora_put(&s, key, er, turned ? out : in, turned ? a2 : a);
        snprintf(key, sizeof key, "%s.lora_B.weight", modules[which]);
        lora_put(&s, key, turned ? in : out, er, b2);
        free(a);
        free(b);
        free(a2);
        free(b2);
    }
    snprintf(text, sizeof text, config, layout == LORA_LAYOUT_PEFT_0_18 ? "0.18.1" : "0.21.2");
    lora_write(&s, directory, text);
}

static void digest_of(char hex[SHA256_HEX], const char *base, const char *adapter, LoraLayout layout) {
    LoraSpec spec = {.path = adapter, .scale = 1, .layout = layout};
    Error err = {0};
    Merged m = merged_open_all(base, &spec, 1);
    cr_assert_eq(weights_digest(hex, m.view, 2, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(lora_finish(m.view->lora, 2, &err), 0, "%s", err.message);
    merged_close(&m);
}

Test(lora, layouts_of_fused_experts) {
    FixturePath dir, base, fused, adapter;
    FixtureModel model = small_model();
    char first[SHA256_HEX], hex[SHA256_HEX];
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    model.fused = true;
    base_write(&model, fused, dir, "fused");
    static const char *const names[] = {"peft", "peft-0.18", "unsloth-legacy"};
    for (int layout = 0; layout < 3; layout++) {
        fixture_path(adapter, dir, names[layout]);
        write_fused(adapter, (LoraLayout)layout);
        digest_of(layout ? hex : first, base, adapter, (LoraLayout)layout);
        if (layout) cr_expect_str_eq(hex, first, "%s", names[layout]);
        digest_of(hex, fused, adapter, (LoraLayout)layout); /* the base's own layout makes no difference */
        cr_expect_str_eq(hex, first, "%s on fused experts", names[layout]);
    }
    fixture_path(adapter, dir, "peft-0.18"); /* shapes tell it, whoever asks for PEFT's */
    digest_of(hex, base, adapter, LORA_LAYOUT_PEFT);
    cr_expect_str_eq(hex, first);
    fixture_path(adapter, dir, "unsloth-legacy"); /* nothing tells this one: other weights come out */
    digest_of(hex, base, adapter, LORA_LAYOUT_PEFT);
    cr_expect_str_neq(hex, first);
    fixture_remove(dir);
}

/* Hidden size twice the expert size: only peft_version tells gate_up_proj of 0.18. The tiny model is so. */
Test(lora, ambiguous_layout_goes_by_version) {
    FixturePath dir, adapter;
    char first[SHA256_HEX], hex[SHA256_HEX];
    fixture_dir(dir);
    fixture_path(adapter, dir, "adapter");
    fixture_copy_dir(LORA_GOLDEN "/experts", adapter);
    digest_of(first, FIXTURE_TINY, adapter, LORA_LAYOUT_PEFT);
    fixture_replace(adapter, LORA_CONFIG_FILE, "\"peft_version\": \"0.21.2\"",
                    "\"peft_version\": \"0.18.0\"");
    digest_of(hex, FIXTURE_TINY, adapter, LORA_LAYOUT_PEFT);
    cr_expect_str_neq(hex, first);
    fixture_remove(dir);
}

/* ---- one result whatever the way ---- */

Test(lora, rows_one_by_one_and_gguf_form) {
    Merged m = merged_open(FIXTURE_TINY, LORA_GOLDEN "/experts", LORA_ONCE);
    char hf[SHA256_HEX], gguf[SHA256_HEX], bare[SHA256_HEX];
    Model *names;
    Error err = {0};
    cr_assert_eq(gguf_names_open(&names, m.view, NULL, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(weights_digest(hf, m.view, 1, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(weights_digest(gguf, names, 3, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(weights_digest(bare, m.base, 1, NULL, &err), 0);
    cr_expect_str_eq(hf, gguf);
    cr_expect_str_neq(hf, bare);
    const Tensor *t = model_find(names, "blk.0.ffn_down_exps.weight");
    uint8_t *all = tensor_bytes_of(names, t->name), row[128];
    cr_assert_eq(tensor_row_bytes(t), 64u);
    for (uint64_t r = 0; r < tensor_rows(t); r += 61) {
        cr_assert_eq(model_read(t, r, 1, row, NULL), 0);
        cr_assert_eq(memcmp(row, all + r * 64, 64), 0, "row %llu", (unsigned long long)r);
    }
    free(all);
    model_close(names);
    merged_close(&m);
}

Test(lora, kernels_have_the_bits_of_the_definition) {
    size_t n;
    const LoraKernel *k = lora_kernels(&n);
    CpuFeatures have = cpu_detect();
    for (size_t columns = 1; columns < 300; columns += columns < 70 ? 7 : 33)
        for (size_t rank = 1; rank < 40; rank += 6)
            for (size_t rows = 1; rows < 10; rows += 4) {
                size_t panels = (columns + LORA_PANEL - 1) / LORA_PANEL, count = rows * columns;
                float *a = lora_values(panels * LORA_PANEL * rank, columns),
                      *b = lora_values(rows * rank, rank);
                float *start = lora_values(count, 3), *wanted = malloc(4 * count), *found = malloc(4 * count);
                for (int add = 0; add < 2; add++) {
                    LoraDelta d = {b, a, rows, rank, columns, 0.3f, add, wanted};
                    memcpy(wanted, start, 4 * count);
                    k[n - 1].delta(&d);
                    for (size_t i = 0; i + 1 < n; i++) {
                        if ((k[i].needs & have) != k[i].needs) continue;
                        memcpy(found, start, 4 * count);
                        d.out = found;
                        k[i].delta(&d);
                        cr_assert_eq(memcmp(found, wanted, 4 * count), 0, "%s %zu %zu", k[i].name, columns,
                                     rank);
                    }
                }
                free(a);
                free(b);
                free(start);
                free(wanted);
                free(found);
            }
}

static void same_stats(const LoraKernel *k, const float *sum, const uint16_t *old, size_t n) {
    size_t count;
    const LoraKernel *definition = lora_kernels(&count) + count - 1;
    uint16_t wanted[100], found[100];
    float wide[2][100];
    LoraRowStats s, t;
    definition->finish_bf16(wanted, sum, old, n, &s);
    k->finish_bf16(found, sum, old, n, &t);
    cr_assert_eq(memcmp(wanted, found, 2 * n), 0, "%s", k->name);
    cr_assert(s.max == t.max && s.largest == t.largest && s.changed == t.changed && s.sum == t.sum, "%s",
              k->name);
    definition->widen_bf16(wide[0], old, n);
    k->widen_bf16(wide[1], old, n);
    cr_assert_eq(memcmp(wide[0], wide[1], 4 * n), 0, "%s", k->name);
}

Test(lora, finishing_a_row) {
    size_t n;
    const LoraKernel *k = lora_kernels(&n);
    CpuFeatures have = cpu_detect();
    uint64_t seed = 9;
    for (size_t length = 0; length < 100; length++) {
        float sum[100];
        uint16_t old[100];
        for (size_t i = 0; i < 100; i++) {
            old[i] = (uint16_t)(fixture_random(&seed) & 0xBFFF); /* finite */
            uint32_t bits = (uint32_t)old[i] << 16 | (i % 3 ? fixture_random(&seed) & 0x1FFFF : 0);
            sum[i] = f32_from_bits(bits & 0xBFFFFFFF);
        }
        for (size_t i = 0; i < n; i++)
            if ((k[i].needs & have) == k[i].needs) same_stats(&k[i], sum, old, length);
    }
}

/* ---- counting ---- */

Test(lora, changes_are_counted_once_in_any_order) {
    LoraSummary first = {0};
    for (unsigned way = 0; way < 3; way++) {
        Merged m = merged_open(FIXTURE_TINY, LORA_GOLDEN "/attention", LORA_ONCE);
        const char *name = "model.layers.0.self_attn.o_proj.weight";
        uint8_t row[256];
        if (way == 1)
            for (int r = 63; r >= 0; r--)
                cr_assert_eq(model_read(model_find(m.view, name), (uint64_t)r, 1, row, NULL), 0);
        if (way == 2)
            for (int twice = 0; twice < 2; twice++) free(tensor_bytes_of(m.view, name));
        cr_assert_eq(lora_finish(m.view->lora, 1 + way, NULL), 0);
        LoraSummary s = lora_summary(m.view->lora);
        if (!way) first = s;
        cr_expect_eq(s.changed, first.changed);
        cr_expect_eq(s.elements, 40960u);
        cr_expect_eq(memcmp(&s.max, &first.max, sizeof s.max), 0);
        cr_expect_eq(s.mean, first.mean);
        merged_close(&m);
    }
    cr_expect(first.mean > 0 && (double)first.max > first.mean && first.changed > 30000);
}

Test(lora, a_target_that_stays_is_an_error) {
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    Error err = {0};
    float zeros[SD * SR] = {0};
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    fixture_shard_begin(&s);
    lora_put_pair(&s, "model.layers.0.self_attn.q_proj", 64, SD, SR, 5);
    lora_put_random(&s, "model.layers.1.self_attn.q_proj.lora_A.weight", SR, SD, 7);
    lora_put(&s, "model.layers.1.self_attn.q_proj.lora_B.weight", 64, SR, zeros);
    lora_write(&s, adapter, "\"r\": 3");
    Merged m = merged_open(base, adapter, LORA_ONCE);
    cr_expect_eq(lora_finish(m.view->lora, 2, &err), ERR_CHECK);
    cr_expect(strstr(err.message, "1 of 2 targets") && strstr(err.message, "model.layers.1.self_attn.q_proj"),
              "%s", err.message);
    merged_close(&m);
    fixture_remove(dir);
}

/* ---- several adapters, whole tensors, float32 bases ---- */

Test(lora, order_scale_and_rounding) {
    FixturePath dir, base;
    FixtureModel model = small_model();
    FixtureShard s;
    const char *module = "model.layers.0.self_attn.k_proj", *name = "model.layers.0.self_attn.k_proj.weight";
    FixturePath one, two;
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(one, dir, "one");
    fixture_path(two, dir, "two");
    fixture_shard_begin(&s);
    lora_put_pair(&s, module, 32, SD, 1, 5);
    lora_write(&s, one, "\"r\": 1, \"lora_alpha\": 1");
    fixture_shard_begin(&s);
    lora_put_pair(&s, module, 32, SD, 1, 50);
    lora_write(&s, two, "\"r\": 1, \"lora_alpha\": 2");
    float *a1 = lora_values(SD, 5), *b1 = lora_values(32, 6), *a2 = lora_values(SD, 50),
          *b2 = lora_values(32, 51);
    for (int peft = 0; peft < 2; peft++) {
        LoraSpec specs[2] = {{.path = one, .scale = 0.5, .rounding = peft ? LORA_PEFT : LORA_ONCE},
                             {.path = two, .scale = -1, .rounding = peft ? LORA_PEFT : LORA_ONCE}};
        Merged m = merged_open_all(base, specs, 2);
        uint16_t *before = tensor_bytes_of(m.base, name), *after = tensor_bytes_of(m.view, name);
        for (size_t i = 0; i < 32 * SD; i++) {
            float w = f32_from_bf16(before[i]) + 0.5f * (b1[i / SD] * a1[i % SD]);
            if (peft) w = f32_from_bf16(bf16_from_f32(w));
            w = w + -2.0f * (b2[i / SD] * a2[i % SD]);
            cr_assert_eq(after[i], bf16_from_f32(w), "element %zu", i);
        }
        free(before);
        free(after);
        merged_close(&m);
    }
    free(a1);
    free(b1);
    free(a2);
    free(b2);
    fixture_remove(dir);
}

Test(lora, whole_tensors_and_float32) {
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    model.float32 = true;
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    fixture_shard_begin(&s);
    lora_put_random(&s, "lm_head.weight", 1024, SD, 5);
    lora_put_pair(&s, "model.layers.0.self_attn.k_proj", 32, SD, 1, 7);
    lora_write(&s, adapter, "\"r\": 1, \"lora_alpha\": 1, \"modules_to_save\": [\"lm_head\"]");
    Merged m = merged_open(base, adapter, LORA_ONCE);
    float *head = tensor_bytes_of(m.view, "lm_head.weight"), *wanted = lora_values(1024 * SD, 5);
    cr_expect_eq(memcmp(head, wanted, 4 * 1024 * SD), 0);
    float *before = tensor_bytes_of(m.base, "model.layers.0.self_attn.k_proj.weight");
    float *after = tensor_bytes_of(m.view, "model.layers.0.self_attn.k_proj.weight");
    float *a = lora_values(SD, 7), *b = lora_values(32, 8);
    for (size_t i = 0; i < 32 * SD; i++) cr_assert_eq(after[i], before[i] + b[i / SD] * a[i % SD]);
    cr_expect_eq(lora_finish(m.view->lora, 1, NULL), 0);
    free(head);
    free(wanted);
    free(before);
    free(after);
    free(a);
    free(b);
    merged_close(&m);
    fixture_remove(dir);
}

/* ---- what is refused ---- */

static void expect_refused(const char *base, const char *adapter, ErrorCode code, const char *why) {
    Model *checkpoint, *view;
    Error err = {0};
    LoraSpec spec = {.path = adapter, .scale = 1};
    cr_assert_eq(checkpoint_open(&checkpoint, base, NULL, &err), 0, "%s", err.message);
    int found = lora_open(&view, checkpoint, &spec, 1, NULL, &err);
    cr_expect_eq(found, code, "%s: code %d, message %s", why, found, err.message);
    cr_expect_not_null(strstr(err.message, why), "\"%s\" is not in: %s", why, err.message);
    cr_expect_null(view);
    model_close(view);
    model_close(checkpoint);
}

Test(lora, configurations_that_are_refused) {
    static const struct {
        const char *config;
        ErrorCode code;
        const char *why;
    } cases[] = {
        {"\"use_qalora\": true", ERR_UNSUPPORTED, "use_qalora is set"},
        {"\"use_bdlora\": {\"a\": 1}", ERR_UNSUPPORTED, "use_bdlora is set"},
        {"\"kasa_config\": {\"a\": 1}", ERR_UNSUPPORTED, "kasa_config is set"},
        {"\"monteclora_config\": {\"a\": 1}", ERR_UNSUPPORTED, "monteclora_config is set"},
        {"\"arrow_config\": {\"a\": 1}", ERR_UNSUPPORTED, "arrow_config is set"},
        {"\"alora_invocation_tokens\": [1]", ERR_UNSUPPORTED, "can't be merged by design"},
        {"\"layer_replication\": [[0, 1]]", ERR_UNSUPPORTED, "layer_replication is set"},
        {"\"megatron_config\": {\"a\": 1}", ERR_UNSUPPORTED, "megatron_config is set"},
        {"\"fan_in_fan_out\": true", ERR_UNSUPPORTED, "fan_in_fan_out is true"},
        {"\"init_lora_weights\": \"pissa_niter_4\"", ERR_UNSUPPORTED, "trained on a changed base"},
        {"\"init_lora_weights\": \"olora\"", ERR_UNSUPPORTED, "trained on a changed base"},
        {"\"init_lora_weights\": \"corda\"", ERR_UNSUPPORTED, "trained on a changed base"},
        {"\"init_lora_weights\": \"loftq\"", ERR_UNSUPPORTED, "trained on a changed base"},
        {"\"init_lora_weights\": \"lora_ga\"", ERR_UNSUPPORTED, "trained on a changed base"},
        {"\"use_something_new\": true", ERR_UNSUPPORTED, "use_something_new is set"},
        {"\"bias\": \"all\"", ERR_FORMAT, "holds no biases"},
        {"\"use_dora\": true", ERR_FORMAT, "no lora_magnitude_vector"},
        {"\"r\": 5", ERR_FORMAT, "has rank 3, but adapter_config.json gives it 5"},
        {"\"rank_pattern\": {\"layers.0.self_attn.q_proj\": 2}", ERR_FORMAT, "has rank 3"},
        {"\"rank_pattern\": {\"layers.0.self.attn.q.proj\": 2}", ERR_FORMAT, "has rank 3"},
        {"\"rank_pattern\": {\"model.layers.[0-3].self_attn.q_proj\": 2}", ERR_FORMAT, "has rank 3"},
        {"\"rank_pattern\": {\"yers.0.self_attn.q_proj\": 2, \"s.0.self_attn.q_pro\": 2}", ERR_NONE, ""},
        {"\"rank_pattern\": {\"[\": 2}", ERR_UNSUPPORTED, "rank_pattern"},
        {"\"lora_alpha\": 0", ERR_UNSUPPORTED, "nothing would change"},
        {"\"target_modules\": [\"q_proj\", \"k_proj\"]", ERR_FORMAT, "2 of them have no pair"},
        {"\"target_modules\": \".*\\\\.(q|v)_proj\"", ERR_FORMAT, "2 of them have no pair"},
        {"\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [0, 1], \"x\": 0", ERR_NONE, ""},
        {"\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [0]", ERR_FORMAT,
         "layers.1.self_attn.q_proj has a pair, but layers_to_transform leaves it out"},
        {"\"target_modules\": [\"q_proj\"], \"exclude_modules\": [\"layers.1.self_attn.q_proj\"]", ERR_FORMAT,
         "layers.1.self_attn.q_proj has a pair, but exclude_modules leaves it out"},
        {"\"target_modules\": [\"k_proj\"], \"layers_to_transform\": 9", ERR_FORMAT, "does not name it"},
        {"\"target_modules\": [\"q_proj\", \"k_proj\"], \"exclude_modules\": [\"k_proj\"]", ERR_NONE, ""},
        {"\"target_parameters\": [\"mlp.experts.down_proj\"]", ERR_FORMAT, "which has no pair"},
        {"\"target_parameters\": [\"mlp.gate.weight\"]", ERR_FORMAT,
         "layers.0.mlp.gate.weight, which has no pair"},
        {"\"trainable_token_indices\": [1, 2]", ERR_FORMAT, "holds no trainable_tokens_delta"},
        {"\"trainable_token_indices\": {\"embed_tokens\": [1]}", ERR_FORMAT,
         "holds no trainable_tokens_delta"},
        {"\"trainable_token_indices\": {\"embed_tokens\": []}", ERR_NONE, ""},
        {"\"lora_bias\": true", ERR_FORMAT, "lora_bias is true, but module model.layers.0.self_attn.q_proj"},
        {"\"modules_to_save\": [\"lm_head\"]", ERR_FORMAT, "the adapter holds no lm_head.weight"},
        {"\"init_lora_weights\": \"gaussian\", \"velora_config\": {\"a\": 1}, \"lora_dropout\": 0.1",
         ERR_NONE, ""},
    };
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    char config[500];
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_shard_begin(&s);
        lora_put_pair(&s, "model.layers.0.self_attn.q_proj", 64, SD, SR, 5);
        lora_put_pair(&s, "model.layers.1.self_attn.q_proj", 64, SD, SR, 7);
        bool rank = strstr(cases[i].config, "\"r\":");
        snprintf(config, sizeof config, "%s%s", rank ? "" : "\"r\": 3, ", cases[i].config);
        lora_write(&s, adapter, config);
        if (cases[i].code != ERR_NONE) {
            expect_refused(base, adapter, cases[i].code, cases[i].why);
            continue;
        }
        Merged m = merged_open(base, adapter, LORA_ONCE);
        merged_close(&m);
    }
    fixture_write_text(adapter, LORA_CONFIG_FILE, "{\"peft_type\": \"IA3\"}");
    expect_refused(base, adapter, ERR_UNSUPPORTED, "peft_type is \"IA3\"");
    fixture_write_text(adapter, LORA_CONFIG_FILE, "{}");
    expect_refused(base, adapter, ERR_FORMAT, "peft_type");
    fixture_write_text(adapter, LORA_CONFIG_FILE, "[1]");
    expect_refused(base, adapter, ERR_FORMAT, "a JSON object was expected");
    fixture_remove(dir);
}

/* What POSIX can't say leaves the comparison out, and that is told. */
Test(lora, expressions_that_can_not_be_read) {
    static const struct {
        const char *config, *unread;
    } cases[] = {
        {"\"target_modules\": \".*(?<!x)_proj\"", "target_modules"},
        {"\"target_modules\": \"(?=.*)k_proj\"", "target_modules"},
        {"\"target_modules\": [\"q_proj\", \"k_proj\"], \"exclude_modules\": \".*(?<!x)k_proj\"",
         "exclude_modules"},
        {"\"target_modules\": \".*\\\\.q_proj\"", NULL},
        {"\"target_modules\": "
         "\"(?:x.*?(?:q|v)_proj)|(?:\\\\bmodel\\\\.layers\\\\.[\\\\d]{1,}\\\\.self_attn\\\\.(?:q_proj|x))\"",
         NULL},
        {"\"target_modules\": \"(?:x|model\\\\b\\\\.layers.*q_proj)\"", "target_modules"},
        {"\"target_modules\": \"(x|model)(\\\\b|y).layers.*q_proj\"", "target_modules"},
        {"\"target_modules\": \"all-linear\"", "target_modules"},
        {"\"lora_dropout\": 0", NULL},
    };
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    char config[500];
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const LoraAdapterInfo *infos;
        fixture_shard_begin(&s);
        lora_put_pair(&s, "model.layers.0.self_attn.q_proj", 64, SD, SR, 5);
        lora_put_pair(&s, "model.layers.1.self_attn.q_proj", 64, SD, SR, 7);
        snprintf(config, sizeof config, "\"r\": 3, %s", cases[i].config);
        lora_write(&s, adapter, config);
        Merged m = merged_open(base, adapter, LORA_ONCE);
        cr_assert_eq(lora_adapters(m.view->lora, &infos), 1u);
        const char *unread = infos[0].unread ? infos[0].unread : "", *wanted = cases[i].unread;
        cr_expect_str_eq(unread, wanted ? wanted : "", "%s", cases[i].config);
        merged_close(&m);
    }
    fixture_remove(dir);
}

/* key, rows, columns of one more tensor beside a good pair; columns 0: a vector */
Test(lora, keys_that_are_refused) {
    static const struct {
        const char *key;
        uint64_t rows, columns;
        const char *config;
        ErrorCode code;
        const char *why;
    } cases[] = {
        {"model.layers.0.self_attn.k_proj.lora_A.weight", 3, 64, "", ERR_FORMAT, "but no lora_B"},
        {"model.layers.0.self_attn.k_proj.lora_B.weight", 32, 3, "", ERR_FORMAT, "but no lora_A"},
        {"model.layers.0.self_attn.k_proj.lora_A.default.weight", 3, 64, "", ERR_FORMAT, "save_pretrained"},
        {"model.layers.0.self_attn.k_proj.lora_magnitude_vector", 32, 0, "", ERR_FORMAT, "but no pair"},
        {"model.layers.0.self_attn.q_proj.lora_magnitude_vector", 64, 0, "", ERR_FORMAT, "use_dora is false"},
        {"model.layers.0.self_attn.q_proj.lora_B.bias", 64, 0, "", ERR_UNSUPPORTED, "has no bias"},
        {"model.layers.0.self_attn.q_proj.weight", 64, 64, "", ERR_FORMAT, "a whole tensor and a pair"},
        {"model.layers.0.self_attn.k_proj.weight", 32, 64, "", ERR_FORMAT, "modules_to_save does not name"},
        {"lm_head.weight", 1024, 63, "\"modules_to_save\": [\"lm_head\"]", ERR_FORMAT,
         "the shape [1024, 63]"},
        {"lm_head.weight", 1030, 64, "\"modules_to_save\": [\"lm_head\"]", ERR_UNSUPPORTED,
         "tokens were added"},
        {"visual.weight", 3, 3, "\"modules_to_save\": [\"visual\"]", ERR_FORMAT, "it would be lost"},
        {"model.layers.0.self_attn.k_proj.something", 3, 3, "", ERR_FORMAT, "is none of PEFT's"},
        {"model.embed_tokens.token_adapter.trainable_tokens_delta", 2, 64, "", ERR_FORMAT,
         "does not say which"},
        {"model.embed_tokens.token_adapter.trainable_tokens_delta", 2, 64,
         "\"trainable_token_indices\": [1, 2000]", ERR_FORMAT, "none of its 1024 rows"},
        {"model.embed_tokens.token_adapter.trainable_tokens_delta", 2, 64,
         "\"trainable_token_indices\": [1, 1]", ERR_FORMAT, "twice"},
        {"model.embed_tokens.token_adapter.trainable_tokens_delta", 3, 64,
         "\"trainable_token_indices\": [1, 2]", ERR_FORMAT, "[2, 64] was expected"},
        {"model.layers.0.mlp.experts.lora_A.weight", 12, 48, "", ERR_FORMAT, "but no lora_B"},
    };
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    char config[300];
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_shard_begin(&s);
        lora_put_pair(&s, "model.layers.0.self_attn.q_proj", 64, SD, SR, 5);
        lora_put_random(&s, cases[i].key, cases[i].rows, cases[i].columns, 7);
        snprintf(config, sizeof config, "\"r\": 3%s%s", *cases[i].config ? ", " : "", cases[i].config);
        lora_write(&s, adapter, config);
        expect_refused(base, adapter, cases[i].code, cases[i].why);
    }
    fixture_remove(dir);
}

/* Each name of modules_to_save, in all layers; as PEFT has it, a name is any end of a path. */
Test(lora, saved_modules_that_are_not_there) {
    static const struct {
        const char *keys[5], *names, *why; /* vectors of d, lm_head a matrix */
    } cases[] = {
        {{"lm_head.weight"}, "\"lm_head\", \"embed_tokens\"", "holds no model.embed_tokens.weight"},
        {{"model.layers.1.input_layernorm.weight"},
         "\"input_layernorm\"",
         "no model.layers.0.input_layernorm"},
        {{"model.norm.weight"}, "\"norm\"", "holds no model.layers.0."},
        {{"lm_head.weight"}, "\"lm_head\", \"score\"", "score, of which the adapter holds nothing"},
        {{"model.layers.0.input_layernorm.weight", "model.layers.1.input_layernorm.weight",
          "model.layers.0.post_attention_layernorm.weight", "model.layers.1.post_attention_layernorm.weight"},
         "\"layernorm\"",
         NULL},
    };
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    char config[300];
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_shard_begin(&s);
        for (size_t k = 0; cases[i].keys[k]; k++) {
            bool head = !strcmp(cases[i].keys[k], "lm_head.weight");
            lora_put_random(&s, cases[i].keys[k], head ? 1024 : SD, head ? SD : 0, k);
        }
        snprintf(config, sizeof config, "\"modules_to_save\": [%s]", cases[i].names);
        lora_write(&s, adapter, config);
        if (cases[i].why) {
            expect_refused(base, adapter, ERR_FORMAT, cases[i].why);
            continue;
        }
        Merged m = merged_open(base, adapter, LORA_ONCE);
        cr_expect_eq(lora_finish(m.view->lora, 1, NULL), 0);
        merged_close(&m);
    }
    fixture_remove(dir);
}

/* ---- biases: known families have none, so a base of another one ---- */

enum { BIASED = 6 };

static void biased_base(const char *directory) {
    uint64_t matrix[2] = {BIASED, 8}, nothing[2] = {BIASED, 0};
    float *w = lora_values(BIASED * 8, 1);
    FixtureShard s;
    fixture_shard_begin(&s);
    fixture_shard_add(&s, "layers.0.q_proj.weight", DT_F32, 2, matrix, w, BIASED * 8 * 4);
    fixture_shard_add(&s, "layers.0.q_proj.bias", DT_F32, 1, matrix, w, BIASED * 4);
    fixture_shard_add(&s, "layers.0.empty.weight", DT_F32, 2, nothing, w, 0);
    free(w);
    mkdir(directory, 0755);
    fixture_write_text(directory, "config.json", "{\"architectures\": [\"OtherForCausalLM\"]}");
    fixture_shard_write(&s, directory, "model.safetensors");
}

/* bias + s * B.bias; a trained bias takes the base's place, under either of PEFT's names, before that. */
Test(lora, biases) {
    static const struct {
        const char *trained, *config;
    } cases[] = {
        {NULL, "\"r\": 2, \"lora_alpha\": 3, \"lora_bias\": true"},
        {"layers.0.q_proj.bias", "\"r\": 2, \"lora_alpha\": 3, \"bias\": \"all\""},
        {"layers.0.q_proj.base_layer.bias", "\"r\": 2, \"lora_alpha\": 3, \"bias\": \"lora_only\""},
        {"layers.0.q_proj.base_layer.bias",
         "\"r\": 2, \"lora_alpha\": 3, \"bias\": \"all\", \"lora_bias\": true"},
    };
    FixturePath dir, base, adapter;
    FixtureShard s;
    fixture_dir(dir);
    fixture_path(base, dir, "base");
    biased_base(base);
    fixture_path(adapter, dir, "adapter");
    float *own = lora_values(BIASED, 1), *added = lora_values(BIASED, 70), *trained = lora_values(BIASED, 80);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool of_b = strstr(cases[i].config, "lora_bias");
        fixture_shard_begin(&s);
        lora_put_pair(&s, "layers.0.q_proj", BIASED, 8, 2, 5);
        if (of_b) lora_put(&s, "layers.0.q_proj.lora_B.bias", BIASED, 0, added);
        if (cases[i].trained) lora_put(&s, cases[i].trained, BIASED, 0, trained);
        lora_write(&s, adapter, cases[i].config);
        Merged m = merged_open(base, adapter, LORA_ONCE);
        float *found = tensor_bytes_of(m.view, "layers.0.q_proj.bias");
        for (size_t x = 0; x < BIASED; x++) {
            float wanted = cases[i].trained ? trained[x] : own[x];
            if (of_b) wanted += 1.5f * added[x];
            cr_expect_eq(found[x], wanted, "case %zu, element %zu", i, x);
        }
        cr_expect_eq(lora_finish(m.view->lora, 1, NULL), 0);
        free(found);
        merged_close(&m);
    }
    free(own);
    free(added);
    free(trained);
    fixture_remove(dir);
}

Test(lora, rows_without_elements) {
    FixturePath dir, base, adapter;
    FixtureShard s;
    uint64_t nothing[2] = {BIASED, 0};
    Error err = {0};
    fixture_dir(dir);
    fixture_path(base, dir, "base");
    biased_base(base);
    fixture_path(adapter, dir, "adapter");
    fixture_shard_begin(&s);
    fixture_shard_add(&s, LORA_PREFIX "layers.0.empty.weight", DT_F32, 2, nothing, "", 0);
    lora_write(&s, adapter, "\"modules_to_save\": [\"empty\"]");
    Merged m = merged_open(base, adapter, LORA_ONCE);
    cr_expect_eq(lora_finish(m.view->lora, 1, &err), ERR_CHECK, "%s", err.message);
    merged_close(&m);
    fixture_remove(dir);
}

static void refuse_pair(const char *base, const char *adapter, const char *module, uint64_t out, uint64_t in,
                        const char *config, ErrorCode code, const char *why) {
    FixtureShard s;
    fixture_shard_begin(&s);
    lora_put_pair(&s, module, out, in, 3, 5);
    lora_write(&s, adapter, config);
    expect_refused(base, adapter, code, why);
}

Test(lora, pairs_that_do_not_fit) {
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    const char *r3 = "\"r\": 3";
    refuse_pair(base, adapter, "model.layers.9.self_attn.q_proj", 64, 64, r3, ERR_FORMAT, "it would be lost");
    refuse_pair(base, adapter, "model.layers.0.self_attn.q_proj", 64, 60, r3, ERR_FORMAT,
                "made for another model");
    refuse_pair(base, adapter, "model.layers.0.self_attn.q_proj", 60, 64, r3, ERR_FORMAT,
                "made for another model");
    refuse_pair(base, adapter, "model.layers.0.self_attn.q_norm", 1, 16, r3, ERR_UNSUPPORTED, "is no matrix");
    refuse_pair(base, adapter, "model.layers.0.mlp.experts", 64, 48, r3, ERR_FORMAT, "no multiple of");
    fixture_shard_begin(&s); /* twelve rows are 3 for each of 4 experts, but outputs of nothing */
    lora_put_random(&s, "model.layers.0.mlp.experts.lora_A.weight", 12, 48, 1);
    lora_put_random(&s, "model.layers.0.mlp.experts.lora_B.weight", 50, 12, 2);
    lora_write(&s, adapter, r3);
    expect_refused(base, adapter, ERR_FORMAT, "neither gate_up_proj nor down_proj");
    fixture_shard_begin(&s); /* one and the same tensor by two modules */
    lora_put_random(&s, "model.layers.0.mlp.experts.lora_A.weight", 12, 48, 1);
    lora_put_random(&s, "model.layers.0.mlp.experts.lora_B.weight", 64, 12, 2);
    lora_put_pair(&s, "model.layers.0.mlp.experts.1.down_proj", 64, 48, 3, 3);
    lora_write(&s, adapter, r3);
    expect_refused(base, adapter, ERR_FORMAT, "is changed by another module already");
    fixture_shard_begin(&s);
    lora_write(&s, adapter, r3);
    expect_refused(base, adapter, ERR_FORMAT, "there is nothing to merge");
    fixture_remove(dir);
}

Test(lora, tied_embeddings) {
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    model.tied = true;
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    fixture_shard_begin(&s);
    lora_put_random(&s, "model.embed_tokens.lora_embedding_A", 3, 1024, 1);
    lora_put_random(&s, "model.embed_tokens.lora_embedding_B", 64, 3, 2);
    lora_write(&s, adapter, "\"r\": 3");
    expect_refused(base, adapter, ERR_UNSUPPORTED, "are one tensor");
    fixture_remove(dir);
}

/* Numbers of experts that add up to a small one, modulo 2^64. */
Test(lora, beside_a_base_of_too_many_experts) {
    Model *base, *names, *view;
    Error err = {0};
    LoraSpec spec = {.path = LORA_GOLDEN "/one-layer", .scale = 1};
    cr_assert_eq(checkpoint_open(&base, FIXTURE_TINY, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(gguf_names_open(&names, base, NULL, NULL, &err), 0, "%s", err.message);
    Model hostile = *names;
    Tensor *tensors = calloc(names->n_tensors + 2, sizeof *tensors);
    cr_assert_not_null(tensors);
    memcpy(tensors, names->tensors, names->n_tensors * sizeof *tensors);
    for (size_t i = 0; i < 2; i++)
        tensors[hostile.n_tensors++] = (Tensor){.name = "x", .n_dims = 3, .dims = {0, 0, INT64_MAX, 1}};
    hostile.tensors = tensors;
    cr_expect_eq(lora_beside_open(&view, &hostile, &spec, 1, NULL, &err), ERR_LIMIT, "%s", err.message);
    cr_expect_null(view);
    free(tensors);
    model_close(names);
    model_close(base);
}

Test(lora, files_that_are_not_there_or_cut) {
    FixturePath dir, adapter;
    fixture_dir(dir);
    fixture_path(adapter, dir, "adapter");
    expect_refused(FIXTURE_TINY, adapter, ERR_IO, "adapter_config.json is missing");
    fixture_copy_dir(LORA_GOLDEN "/one-layer", adapter);
    size_t length;
    char *bytes = fixture_read(adapter, LORA_WEIGHTS_FILE, &length);
    fixture_write(adapter, LORA_WEIGHTS_FILE, bytes, length - 4);
    expect_refused(FIXTURE_TINY, adapter, ERR_FORMAT, LORA_WEIGHTS_FILE);
    free(bytes);
    fixture_unlink(adapter, LORA_WEIGHTS_FILE);
    expect_refused(FIXTURE_TINY, adapter, ERR_IO, "adapter_model.safetensors is missing");
    fixture_write_text(adapter, "adapter_model.bin", "PK");
    expect_refused(FIXTURE_TINY, adapter, ERR_UNSUPPORTED, "torch.load('adapter_model.bin'");
    fixture_remove(dir);
}

Test(lora, not_finite) {
    FixturePath dir, base, adapter;
    FixtureModel model = small_model();
    FixtureShard s;
    Error err = {0};
    fixture_dir(dir);
    base_write(&model, base, dir, "base");
    fixture_path(adapter, dir, "adapter");
    for (int large = 0; large < 2; large++) {
        float a[64] = {0}, b[32] = {0};
        a[7] = large ? 3e38f : NAN;
        b[3] = 2;
        fixture_shard_begin(&s);
        lora_put(&s, "model.layers.0.self_attn.k_proj.lora_A.weight", 1, SD, a);
        lora_put(&s, "model.layers.0.self_attn.k_proj.lora_B.weight", 32, 1, b);
        lora_write(&s, adapter, "\"r\": 1, \"lora_alpha\": 1");
        Merged m = merged_open(base, adapter, LORA_ONCE);
        cr_expect_eq(lora_finish(m.view->lora, 1, &err), ERR_NUMERIC);
        const char *why =
            large ? "becomes larger than BF16 can hold" : "element 7 of base_model.model.model.layers.0";
        cr_expect_not_null(strstr(err.message, why), "%s", err.message);
        merged_close(&m);
    }
    fixture_remove(dir);
}

Test(lora, without_memory) {
    for (size_t left = 0;; left += 3) {
        FailingAllocator f;
        Model *base, *view;
        Error err = {0};
        LoraSpec spec = {.path = LORA_GOLDEN "/experts-down", .scale = 1};
        cr_assert_eq(checkpoint_open(&base, FIXTURE_TINY, NULL, &err), 0);
        failing_init(&f, left);
        int code = lora_open(&view, base, &spec, 1, &f.allocator, &err);
        if (code) cr_expect(code == ERR_MEMORY && !view, "%s", err.message);
        model_close(view);
        model_close(base);
        if (!code) return;
        cr_assert_lt(left, 100000u);
    }
}

Test(lora, names) {
    LoraRounding r;
    LoraLayout l;
    cr_expect(lora_rounding_by_name(&r, "peft") && r == LORA_PEFT);
    cr_expect_not(lora_rounding_by_name(&r, "twice"));
    cr_expect(lora_layout_by_name(&l, "unsloth-legacy") && l == LORA_LAYOUT_UNSLOTH);
    cr_expect_not(lora_layout_by_name(&l, ""));
    cr_expect_str_eq(lora_layout_name(LORA_LAYOUT_PEFT_0_18), "peft-0.18");
}
