/* fixture.h -- what tests build: temporary directories, files, small random Qwen3-MoE checkpoints.
 *
 * Weights depend on the seed and the tensor's classic name only, so the same model in another layout (fused,
 * sharded, float32) has the same values. Everything asserts on failure. */
#ifndef RECAST_TESTS_FIXTURE_H
#define RECAST_TESTS_FIXTURE_H

#include "core/buffer.h"
#include "core/dtype.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURE_TINY \
    "tests/data/tiny-qwen3moe" /* the bundled trained model; tests run in the repository's root */

enum { FIXTURE_PATH = 512 };
typedef char FixturePath[FIXTURE_PATH];

/* ---- files ---- */

/* A new empty directory; fixture_remove it at the end. */
static inline void fixture_dir(FixturePath out) {
    const char *base = getenv("TMPDIR");
    int n = snprintf(out, FIXTURE_PATH, "%s/recast-test-XXXXXX", base && *base ? base : "/tmp");
    cr_assert(n > 0 && n < FIXTURE_PATH);
    cr_assert_not_null(mkdtemp(out));
}

static inline int fixture_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

/* Removes a directory with all in it (links are removed, not followed). */
static inline void fixture_remove(const char *directory) {
    nftw(directory, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fixture_path(FixturePath out, const char *directory, const char *name) {
    int n = snprintf(out, FIXTURE_PATH, "%s/%s", directory, name);
    cr_assert(n > 0 && n < FIXTURE_PATH);
}

static inline void fixture_write(const char *directory, const char *name, const void *bytes, size_t length) {
    FixturePath path;
    fixture_path(path, directory, name);
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fwrite(bytes, 1, length, f), length);
    cr_assert_eq(fclose(f), 0);
}

static inline void fixture_write_text(const char *directory, const char *name, const char *text) {
    fixture_write(directory, name, text, strlen(text));
}

/* A whole file, NUL-terminated; free it. length may be NULL. */
static inline char *fixture_read(const char *directory, const char *name, size_t *length) {
    FixturePath path;
    fixture_path(path, directory, name);
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    cr_assert_geq(size, 0);
    rewind(f);
    char *bytes = malloc((size_t)size + 1);
    cr_assert_not_null(bytes);
    cr_assert_eq(fread(bytes, 1, (size_t)size, f), (size_t)size);
    bytes[size] = 0;
    fclose(f);
    if (length) *length = (size_t)size;
    return bytes;
}

static inline bool fixture_exists(const char *directory, const char *name) {
    FixturePath path;
    fixture_path(path, directory, name);
    return access(path, F_OK) == 0;
}

static inline void fixture_unlink(const char *directory, const char *name) {
    FixturePath path;
    fixture_path(path, directory, name);
    cr_assert_eq(unlink(path), 0, "%s", path);
}

static inline void fixture_copy(const char *from, const char *to, const char *name) {
    size_t length;
    char *bytes = fixture_read(from, name, &length);
    fixture_write(to, name, bytes, length);
    free(bytes);
}

/* Copies the regular files of a directory (not those below) into another, which is made if it is not there.
 */
static inline void fixture_copy_dir(const char *from, const char *to) {
    mkdir(to, 0755);
    DIR *d = opendir(from);
    cr_assert_not_null(d, "%s", from);
    for (struct dirent *e; (e = readdir(d));) {
        FixturePath path;
        struct stat st;
        fixture_path(path, from, e->d_name);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) fixture_copy(from, to, e->d_name);
    }
    closedir(d);
}

/* Replaces the first `old` of a text file by `new`; asserts that it is there. For breaking a config or an
 * index. */
static inline void fixture_replace(const char *directory, const char *name, const char *old,
                                   const char *new) {
    char *text = fixture_read(directory, name, NULL), *at = strstr(text, old);
    cr_assert_not_null(at, "%s is not in %s", old, name);
    Buffer b;
    buffer_init(&b, NULL);
    buffer_append(&b, text, (size_t)(at - text));
    buffer_text(&b, new);
    buffer_text(&b, at + strlen(old));
    cr_assert_not(b.failed);
    fixture_write(directory, name, b.data, b.length);
    buffer_free(&b);
    free(text);
}

/* ---- safetensors ---- */

typedef struct FixtureShard {
    Buffer header, data;
} FixtureShard;

static inline void fixture_shard_begin(FixtureShard *s) {
    buffer_init(&s->header, NULL);
    buffer_init(&s->data, NULL);
    buffer_text(&s->header, "{\"__metadata__\":{\"format\":\"pt\"}");
}

/* shape in torch order */
static inline void fixture_shard_add(FixtureShard *s, const char *name, DType type, uint32_t n_dims,
                                     const uint64_t *shape, const void *bytes, size_t length) {
    buffer_printf(&s->header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, dtype_info(type)->safetensors);
    for (uint32_t i = 0; i < n_dims; i++)
        buffer_printf(&s->header, "%s%llu", i ? "," : "", (unsigned long long)shape[i]);
    buffer_printf(&s->header, "],\"data_offsets\":[%zu,%zu]}", s->data.length, s->data.length + length);
    buffer_append(&s->data, bytes, length);
}

/* Appends the whole file to `out`. */
static inline void fixture_shard_end(FixtureShard *s, Buffer *out) {
    buffer_char(&s->header, '}');
    while (s->header.length % 8) buffer_char(&s->header, ' ');
    buffer_u64(out, s->header.length);
    buffer_append(out, s->header.data, s->header.length);
    buffer_append(out, s->data.data, s->data.length);
    cr_assert_not(out->failed || s->header.failed || s->data.failed);
    buffer_free(&s->header);
    buffer_free(&s->data);
}

static inline void fixture_shard_write(FixtureShard *s, const char *directory, const char *name) {
    Buffer file;
    buffer_init(&file, NULL);
    fixture_shard_end(s, &file);
    fixture_write(directory, name, file.data, file.length);
    buffer_free(&file);
}

/* ---- a random Qwen3-MoE checkpoint ---- */

typedef struct FixtureModel {
    uint32_t layers, experts, used, hidden, heads, kv_heads, head_dim, ff; /* ff: of an expert */
    uint32_t vocab, context;
    uint32_t shards;   /* 1: model.safetensors; more: with an index, tensors dealt out in runs */
    bool tied;         /* no lm_head */
    bool fused;        /* experts as gate_up_proj and down_proj */
    bool fused_suffix; /* ... named with ".weight" */
    bool float32;      /* stored as F32, the same values */
    uint64_t seed;
} FixtureModel;

/* Two layers, 8 experts with 2 used, hidden 64, one bf16 file: 170 KB. vocab fits the bundled tokenizer. */
static inline FixtureModel fixture_model_default(void) {
    return (FixtureModel){.layers = 2,
                          .experts = 8,
                          .used = 2,
                          .hidden = 64,
                          .heads = 4,
                          .kv_heads = 2,
                          .head_dim = 16,
                          .ff = 32,
                          .vocab = 1024,
                          .context = 256,
                          .shards = 1,
                          .seed = 1};
}

static inline uint64_t fixture_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* n bf16 values (as bits): norms between 0.75 and 1.25, all others between -0.125 and 0.125. */
static inline void fixture_values(uint16_t *out, size_t n, const char *name, uint64_t seed) {
    uint64_t state = seed * 0x100000001B3u ^ 0xCBF29CE484222325u;
    for (const char *c = name; *c; c++) state = (state ^ (unsigned char)*c) * 0x100000001B3u;
    bool norm = strstr(name, "norm.weight") != NULL;
    for (size_t i = 0; i < n; i++) {
        float unit = (float)(fixture_random(&state) >> 40) / 16777216.0f * 2.0f - 1.0f,
              f = norm ? 1 + unit / 4 : unit / 8;
        uint32_t bits;
        memcpy(&bits, &f, 4);
        out[i] = (uint16_t)(bits >> 16);
    }
}

typedef struct FixtureWriter {
    const FixtureModel *m;
    const char *directory;
    FixtureShard shard;
    uint32_t number;    /* of the open shard, from 0 */
    size_t done, total; /* tensors */
    Buffer map;
} FixtureWriter;

static inline void fixture_shard_name(char out[64], const FixtureModel *m, uint32_t number) {
    if (m->shards <= 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05u-of-%05u.safetensors", number + 1, m->shards);
}

/* One tensor of bf16 bits; opens the next shard when it is time. */
static inline void fixture_put(FixtureWriter *w, const char *name, uint32_t n_dims, const uint64_t *shape,
                               const uint16_t *bits, size_t n) {
    char file[64];
    if (w->done * w->m->shards / w->total > w->number) {
        fixture_shard_name(file, w->m, w->number++);
        fixture_shard_write(&w->shard, w->directory, file);
        fixture_shard_begin(&w->shard);
    }
    if (w->m->float32) {
        uint32_t *wide = malloc(4 * n);
        cr_assert_not_null(wide);
        for (size_t i = 0; i < n; i++) wide[i] = (uint32_t)bits[i] << 16;
        fixture_shard_add(&w->shard, name, DT_F32, n_dims, shape, wide, 4 * n);
        free(wide);
    } else {
        fixture_shard_add(&w->shard, name, DT_BF16, n_dims, shape, bits, 2 * n);
    }
    fixture_shard_name(file, w->m, w->number);
    buffer_printf(&w->map, "%s\n    \"%s\": \"%s\"", w->done ? "," : "", name, file);
    w->done++;
}

static inline void fixture_tensor(FixtureWriter *w, const char *name, uint64_t rows, uint64_t columns) {
    uint64_t shape[2] = {rows, columns};
    size_t n = (size_t)(rows * (columns ? columns : 1));
    uint16_t *bits = malloc(2 * n);
    cr_assert_not_null(bits);
    fixture_values(bits, n, name, w->m->seed);
    fixture_put(w, name, columns ? 2 : 1, shape, bits, n);
    free(bits);
}

static inline void fixture_fused_experts(FixtureWriter *w, const char *prefix) {
    const FixtureModel *m = w->m;
    const char *suffix = m->fused_suffix ? ".weight" : "";
    size_t one = (size_t)m->ff * m->hidden;
    uint16_t *gate_up = malloc(2 * 2 * one * m->experts), *down = malloc(2 * one * m->experts);
    cr_assert(gate_up && down);
    char name[160];
    for (uint32_t e = 0; e < m->experts; e++) {
        snprintf(name, sizeof name, "%smlp.experts.%u.gate_proj.weight", prefix, e);
        fixture_values(gate_up + 2 * e * one, one, name, m->seed);
        snprintf(name, sizeof name, "%smlp.experts.%u.up_proj.weight", prefix, e);
        fixture_values(gate_up + (2 * e + 1) * one, one, name, m->seed);
        snprintf(name, sizeof name, "%smlp.experts.%u.down_proj.weight", prefix, e);
        fixture_values(down + e * one, one, name, m->seed);
    }
    snprintf(name, sizeof name, "%smlp.experts.gate_up_proj%s", prefix, suffix);
    fixture_put(w, name, 3, (uint64_t[]){m->experts, 2 * m->ff, m->hidden}, gate_up, 2 * one * m->experts);
    snprintf(name, sizeof name, "%smlp.experts.down_proj%s", prefix, suffix);
    fixture_put(w, name, 3, (uint64_t[]){m->experts, m->hidden, m->ff}, down, one * m->experts);
    free(gate_up);
    free(down);
}

static inline void fixture_layer(FixtureWriter *w, uint32_t layer) {
    const FixtureModel *m = w->m;
    const struct {
        const char *name;
        uint64_t rows, columns;
    } parts[] = {
        {"self_attn.q_proj.weight", m->heads * m->head_dim, m->hidden},
        {"self_attn.k_proj.weight", m->kv_heads * m->head_dim, m->hidden},
        {"self_attn.v_proj.weight", m->kv_heads * m->head_dim, m->hidden},
        {"self_attn.o_proj.weight", m->hidden, m->heads * m->head_dim},
        {"self_attn.q_norm.weight", m->head_dim, 0},
        {"self_attn.k_norm.weight", m->head_dim, 0},
        {"mlp.gate.weight", m->experts, m->hidden},
        {"input_layernorm.weight", m->hidden, 0},
        {"post_attention_layernorm.weight", m->hidden, 0},
    };
    char prefix[64], name[160];
    snprintf(prefix, sizeof prefix, "model.layers.%u.", layer);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, parts[i].name);
        fixture_tensor(w, name, parts[i].rows, parts[i].columns);
    }
    if (m->fused) fixture_fused_experts(w, prefix);
    for (uint32_t e = 0; !m->fused && e < m->experts; e++) {
        snprintf(name, sizeof name, "%smlp.experts.%u.gate_proj.weight", prefix, e);
        fixture_tensor(w, name, m->ff, m->hidden);
        snprintf(name, sizeof name, "%smlp.experts.%u.up_proj.weight", prefix, e);
        fixture_tensor(w, name, m->ff, m->hidden);
        snprintf(name, sizeof name, "%smlp.experts.%u.down_proj.weight", prefix, e);
        fixture_tensor(w, name, m->hidden, m->ff);
    }
}

static inline void fixture_config(const FixtureModel *m, const char *directory) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_printf(
        &b,
        "{\n  \"architectures\": [\n    \"Qwen3MoeForCausalLM\"\n  ],\n  \"attention_bias\": false,\n"
        "  \"decoder_sparse_step\": 1,\n  \"head_dim\": %u,\n  \"hidden_act\": \"silu\",\n  \"hidden_size\": "
        "%u,\n"
        "  \"intermediate_size\": %u,\n  \"max_position_embeddings\": %u,\n  \"mlp_only_layers\": [],\n"
        "  \"model_type\": \"qwen3_moe\",\n  \"moe_intermediate_size\": %u,\n  \"norm_topk_prob\": true,\n",
        m->head_dim, m->hidden, 4 * m->ff, m->context, m->ff);
    buffer_printf(&b,
                  "  \"num_attention_heads\": %u,\n  \"num_experts\": %u,\n  \"num_experts_per_tok\": %u,\n"
                  "  \"num_hidden_layers\": %u,\n  \"num_key_value_heads\": %u,\n  \"rms_norm_eps\": 1e-06,\n"
                  "  \"rope_scaling\": null,\n  \"rope_theta\": 10000.0,\n  \"sliding_window\": null,\n"
                  "  \"tie_word_embeddings\": %s,\n  \"torch_dtype\": \"%s\",\n  \"use_sliding_window\": "
                  "false,\n  \"vocab_size\": %u\n}\n",
                  m->heads, m->experts, m->used, m->layers, m->kv_heads, m->tied ? "true" : "false",
                  m->float32 ? "float32" : "bfloat16", m->vocab);
    cr_assert_not(b.failed);
    fixture_write(directory, "config.json", b.data, b.length);
    buffer_free(&b);
}

/* Writes a checkpoint with the bundled model's tokenizer into a directory that exists. */
static inline void fixture_model(const char *directory, const FixtureModel *m) {
    static const char *const companions[] = {"generation_config.json", "tokenizer.json",
                                             "tokenizer_config.json", "vocab.json", "merges.txt"};
    size_t per_layer = 9 + (m->fused ? 2 : 3 * (size_t)m->experts);
    FixtureWriter w = {.m = m, .directory = directory, .total = m->layers * per_layer + (m->tied ? 2 : 3)};
    char file[64];
    buffer_init(&w.map, NULL);
    fixture_shard_begin(&w.shard);
    fixture_tensor(&w, "model.embed_tokens.weight", m->vocab, m->hidden);
    for (uint32_t i = 0; i < m->layers; i++) fixture_layer(&w, i);
    fixture_tensor(&w, "model.norm.weight", m->hidden, 0);
    if (!m->tied) fixture_tensor(&w, "lm_head.weight", m->vocab, m->hidden);
    cr_assert_eq(w.done, w.total);
    fixture_shard_name(file, m, w.number);
    fixture_shard_write(&w.shard, directory, file);
    if (m->shards > 1) {
        Buffer index;
        buffer_init(&index, NULL);
        buffer_printf(&index, "{\n  \"metadata\": {},\n  \"weight_map\": {%s\n  }\n}\n",
                      buffer_string(&w.map));
        cr_assert_not(index.failed);
        fixture_write(directory, "model.safetensors.index.json", index.data, index.length);
        buffer_free(&index);
    }
    buffer_free(&w.map);
    fixture_config(m, directory);
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; i++)
        fixture_copy(FIXTURE_TINY, directory, companions[i]);
}

#endif
