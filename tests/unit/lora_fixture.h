/* lora_fixture.h -- small adapters: any keys, any shapes, values from a seed, with a configuration to go with
 * them. */
#ifndef RECAST_TESTS_LORA_FIXTURE_H
#define RECAST_TESTS_LORA_FIXTURE_H

#include "core/floats.h"
#include "fixture.h"
#include "model/checkpoint.h"
#include "model/lora.h"
#include "model/safetensors.h"

#define LORA_GOLDEN "tests/golden/lora"
#define LORA_PREFIX "base_model.model."

/* ---- making one ---- */

static inline float *lora_values(size_t n, uint64_t seed) {
    float *v = malloc(n * sizeof *v + 1);
    cr_assert_not_null(v);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(fixture_random(&seed) >> 40) / 16777216.0f - 0.5f; /* -0.5 .. 0.5 */
    return v;
}

static inline void lora_put(FixtureShard *s, const char *key, uint64_t rows, uint64_t columns,
                            const float *values) {
    char name[400];
    uint64_t shape[2] = {rows, columns};
    size_t n = (size_t)(rows * (columns ? columns : 1));
    snprintf(name, sizeof name, LORA_PREFIX "%s", key);
    fixture_shard_add(s, name, DT_F32, columns ? 2 : 1, shape, values, 4 * n);
}

static inline void lora_put_random(FixtureShard *s, const char *key, uint64_t rows, uint64_t columns,
                                   uint64_t seed) {
    float *v = lora_values((size_t)(rows * (columns ? columns : 1)), seed);
    lora_put(s, key, rows, columns, v);
    free(v);
}

static inline void lora_put_pair(FixtureShard *s, const char *module, uint64_t out, uint64_t in,
                                 uint64_t rank, uint64_t seed) {
    char key[300];
    snprintf(key, sizeof key, "%s.lora_A.weight", module);
    lora_put_random(s, key, rank, in, seed);
    snprintf(key, sizeof key, "%s.lora_B.weight", module);
    lora_put_random(s, key, out, rank, seed + 1);
}

/* config: members of adapter_config.json besides peft_type. */
static inline void lora_write(FixtureShard *s, const char *directory, const char *config) {
    Buffer text;
    mkdir(directory, 0755);
    buffer_init(&text, NULL);
    buffer_printf(&text, "{\"peft_type\": \"LORA\"%s%s}", *config ? ", " : "", config);
    fixture_write(directory, LORA_CONFIG_FILE, text.data, text.length);
    buffer_free(&text);
    fixture_shard_write(s, directory, LORA_WEIGHTS_FILE);
}

/* ---- reading ---- */

typedef struct Merged {
    Model *base, *view;
} Merged;

static inline Merged merged_open_all(const char *checkpoint, const LoraSpec *specs, size_t n) {
    Merged m;
    Error err = {0};
    cr_assert_eq(checkpoint_open(&m.base, checkpoint, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(lora_open(&m.view, m.base, specs, n, NULL, &err), 0, "%s", err.message);
    return m;
}

static inline Merged merged_open(const char *checkpoint, const char *adapter, LoraRounding rounding) {
    LoraSpec spec = {.path = adapter, .scale = 1, .rounding = rounding};
    return merged_open_all(checkpoint, &spec, 1);
}

static inline void merged_close(Merged *m) {
    model_close(m->view);
    model_close(m->base);
}

/* All rows; free it. */
static inline void *tensor_bytes_of(const Model *m, const char *name) {
    Error err = {0};
    const Tensor *t = model_find(m, name);
    cr_assert_not_null(t, "%s", name);
    void *bytes = malloc((size_t)tensor_bytes(t) + 1);
    cr_assert_not_null(bytes);
    cr_assert_eq(model_read(t, 0, tensor_rows(t), bytes, &err), 0, "%s", err.message);
    return bytes;
}

/* ---- bases ---- */

/* A fixture whose expert size is not half of its hidden size, so that shapes tell layouts apart. */
static inline FixtureModel small_model(void) {
    FixtureModel m = fixture_model_default();
    m.ff = 48;
    m.experts = 4;
    return m;
}

enum { SE = 4, SR = 3, SD = 64, SI = 48 };

static inline void base_write(const FixtureModel *m, FixturePath out, const char *directory,
                              const char *name) {
    fixture_path(out, directory, name);
    mkdir(out, 0755);
    fixture_model(out, m);
}

#endif
