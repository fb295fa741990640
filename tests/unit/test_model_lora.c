/* Adapters merged while rows are read: against PEFT and against plain arithmetic. What is refused:
 * test_model_lora_refused.c. */
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
