/* test_model_checkpoint.c -- checkpoint directories: what is opened, in which layout, and what is refused. */
#include "model/checkpoint.h"

#include "core/json.h"
#include "fixture.h"
#include "model/family.h"

static FixturePath dir;
static Model *m;
static Error e;

static void setup(void) {
    fixture_dir(dir);
}

static void teardown(void) {
    model_close(m);
    fixture_remove(dir);
}

static void opens(void) {
    cr_assert_eq(checkpoint_open(&m, dir, NULL, &e), 0, "%s", e.message);
}

static void refused(int code, const char *part) {
    int got = checkpoint_open(&m, dir, NULL, &e);
    cr_assert_eq(got, code, "got %d: %s", got, e.message);
    cr_assert_null(m);
    cr_assert_not_null(strstr(e.message, part), "%s", e.message);
    cr_assert_not_null(strstr(e.message, dir), "the message must say where: %s", e.message);
}

static void make(FixtureModel f) {
    fixture_model(dir, &f);
}

#define MODEL(...) Test(model_checkpoint, __VA_ARGS__, .init = setup, .fini = teardown)

/* ---- what is opened ---- */

Test(model_checkpoint, the_bundled_model) {
    static const char *const files[] = {"config.json",
                                        "generation_config.json",
                                        "merges.txt",
                                        "model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors",
                                        "model.safetensors.index.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "vocab.json"};
    static const SourceRole roles[] = {SOURCE_CONFIG,    SOURCE_GENERATION, SOURCE_TOKENIZER,
                                       SOURCE_WEIGHTS,   SOURCE_WEIGHTS,    SOURCE_INDEX,
                                       SOURCE_TOKENIZER, SOURCE_TOKENIZER,  SOURCE_TOKENIZER};
    cr_assert_eq(model_open(&m, FIXTURE_TINY, NULL, &e), 0, "%s", e.message);
    cr_assert_eq(m->form, FORM_HF);
    cr_assert_str_eq(m->path, FIXTURE_TINY);
    cr_assert_eq(m->family, family_by_hf("Qwen3MoeForCausalLM"));
    cr_assert_str_eq(m->params.architecture, "qwen3moe");
    cr_assert_eq(m->params.n_experts, 128);
    cr_assert_eq(m->params.n_experts_used, 8);
    cr_assert_eq(m->n_tensors, 2 * (9 + 3 * 128) + 3);
    cr_assert_eq(m->n_files, 9);
    for (size_t i = 0; i < m->n_files; i++) {
        cr_assert_str_eq(m->files[i].name, files[i]);
        cr_assert_eq(m->files[i].role, roles[i], "%s", files[i]);
    }
    const Tensor *t = model_find(m, "model.layers.1.mlp.experts.127.down_proj.weight");
    cr_assert_not_null(t);
    cr_assert(t->type == DT_BF16 && t->n_dims == 2 && t->dims[0] == 32 && t->dims[1] == 64 &&
              t->dims[2] == 1);
    cr_assert_eq(tensor_bytes(t), 2 * 32 * 64);
    cr_assert_null(model_find(m, "model.layers.2.input_layernorm.weight"));
    cr_assert_null(m->metadata);
    cr_assert_not_null(strstr(m->config_text, "\"num_experts_per_tok\": 8"));
    cr_assert_eq(json_get(m->config, "num_experts")->valuedouble, 128);
    cr_assert_eq(family_check_tensors(m, &e), 0, "%s", e.message);
    model_close(m);
}

MODEL(tensors_stand_as_they_lie_and_read_back) {
    FixtureModel f = fixture_model_default();
    f.shards = 3;
    make(f);
    opens();
    for (size_t i = 1; i < m->n_tensors; i++) {
        const Extent *a = m->tensors[i - 1].extents, *b = m->tensors[i].extents;
        int order = strcmp(input_name(a->file), input_name(b->file));
        cr_assert(order < 0 || (order == 0 && a->offset + a->length == b->offset), "%s", m->tensors[i].name);
    }
    const Tensor *t = model_find(m, "model.layers.1.mlp.experts.7.up_proj.weight");
    uint16_t expected[32 * 64], got[32 * 64];
    fixture_values(expected, 32 * 64, t->name, f.seed);
    cr_assert_eq(model_read(t, 0, 32, got, &e), 0, "%s", e.message);
    cr_assert_eq(memcmp(got, expected, sizeof got), 0);
    cr_assert_eq(model_read(t, 5, 3, got, &e), 0);
    cr_assert_eq(memcmp(got, expected + 5 * 64, 3 * 64 * 2), 0);
    cr_assert_eq(model_read(t, 32, 0, got, &e), 0);
    cr_assert_eq(model_read(t, 30, 3, got, &e), ERR_LIMIT);
    cr_assert_eq(model_read(t, UINT64_MAX, 2, got, &e), ERR_LIMIT);
    cr_assert_eq(tensor_read_stored(t, 4090, got, 7, &e), ERR_FORMAT, "7 of the 6 bytes left");
    const void *mapped;
    cr_assert_eq(tensor_map(t, 5, 27, &mapped, &e), 0);
    cr_assert_not_null(mapped);
    cr_assert_eq(memcmp(mapped, expected + 5 * 64, 27 * 64 * 2), 0);
}

/* The same values, the same names, whether experts lie one by one or fused, with or without ".weight". */
MODEL(fused_experts_are_shown_one_by_one) {
    for (int suffix = 0; suffix < 2; suffix++) {
        FixtureModel f = fixture_model_default();
        f.fused = true;
        f.fused_suffix = suffix;
        f.experts = 102;
        f.shards = 1 + (uint32_t)suffix;
        fixture_remove(dir);
        cr_assert_eq(mkdir(dir, 0755), 0);
        make(f);
        opens();
        cr_assert_eq(m->n_tensors, 2 * (9 + 3 * 102) + 3);
        cr_assert_eq(family_check_tensors(m, &e), 0, "%s", e.message);
        uint16_t expected[32 * 64], got[32 * 64];
        for (size_t i = 0; i < m->n_tensors; i++) {
            const Tensor *t = &m->tensors[i];
            if (!strstr(t->name, ".experts.")) continue;
            fixture_values(expected, 32 * 64, t->name, f.seed);
            cr_assert_eq(model_read(t, 0, tensor_rows(t), got, &e), 0);
            cr_assert_eq(memcmp(got, expected, sizeof got), 0, "%s", t->name);
        }
        const Tensor *down = model_find(m, "model.layers.0.mlp.experts.101.down_proj.weight");
        cr_assert(down && down->n_dims == 2 && down->dims[0] == 32 && down->dims[1] == 64);
        model_close(m);
        m = NULL;
    }
}

MODEL(many_tied_experts_in_one_layer) {
    FixtureModel f = fixture_model_default();
    f.layers = 1, f.experts = 256, f.tied = true, f.shards = 5;
    make(f);
    opens();
    cr_assert_eq(m->n_tensors, 9 + 3 * 256 + 2);
    cr_assert(m->params.tied_embeddings);
    cr_assert_eq(family_check_tensors(m, &e), 0, "%s", e.message);
}

MODEL(a_cache_of_links) {
    FixturePath blob, link;
    make(fixture_model_default());
    fixture_path(blob, dir, "blob");
    fixture_path(link, dir, "model.safetensors");
    cr_assert_eq(rename(link, blob), 0);
    cr_assert_eq(symlink("blob", link), 0);
    opens();
    cr_assert_str_eq(m->files[3].name, "model.safetensors");
}

MODEL(an_unknown_architecture_is_opened_without_a_family) {
    make(fixture_model_default());
    fixture_replace(dir, "config.json", "Qwen3MoeForCausalLM", "SomethingElseForCausalLM");
    opens();
    cr_assert_null(m->family);
    cr_assert_str_eq(m->params.architecture, "SomethingElseForCausalLM");
    cr_assert_eq(m->params.n_experts, 0);
    cr_assert_eq(m->n_tensors, 2 * (9 + 3 * 8) + 3);
}

MODEL(an_unknown_architecture_keeps_fused_tensors_as_they_are) {
    FixtureModel f = fixture_model_default();
    f.fused = true;
    make(f);
    fixture_replace(dir, "config.json", "Qwen3MoeForCausalLM", "SomethingElseForCausalLM");
    opens();
    const Tensor *t = model_find(m, "model.layers.0.mlp.experts.gate_up_proj");
    cr_assert(t && t->n_dims == 3 && t->dims[0] == 64 && t->dims[1] == 64 && t->dims[2] == 8);
}

/* RoPE's table in old files is nobody's weight, listed or not. */
MODEL(inv_freq_is_left_out) {
    FixtureShard s;
    Buffer b;
    make(fixture_model_default());
    fixture_unlink(dir, "model.safetensors");
    fixture_shard_begin(&s);
    fixture_shard_add(&s, "model.norm.weight", DT_F32, 1, (uint64_t[]){1}, "abcd", 4);
    fixture_shard_add(&s, "model.layers.0.self_attn.rotary_emb.inv_freq", DT_F32, 1, (uint64_t[]){2},
                      "abcdefgh", 8);
    fixture_shard_write(&s, dir, "a.safetensors");
    buffer_init(&b, NULL);
    buffer_text(&b, "{\"weight_map\":{\"model.norm.weight\":\"a.safetensors\"}}");
    fixture_write(dir, "model.safetensors.index.json", b.data, b.length);
    buffer_free(&b);
    opens();
    cr_assert_eq(m->n_tensors, 1);
    cr_assert_null(model_find(m, "model.layers.0.self_attn.rotary_emb.inv_freq"));
}

/* ---- what is refused: files ---- */

MODEL(no_config) {
    refused(ERR_IO, "config.json is missing");
}

MODEL(config_that_is_no_object) {
    make(fixture_model_default());
    fixture_write_text(dir, "config.json", "[]");
    refused(ERR_FORMAT, "a JSON object was expected");
    fixture_write_text(dir, "config.json", "{\"a\":1,}");
    refused(ERR_FORMAT, "JSON");
    fixture_write_text(dir, "config.json", "");
    refused(ERR_FORMAT, "JSON");
}

MODEL(config_that_contradicts_itself) {
    make(fixture_model_default());
    fixture_replace(dir, "config.json", "\"num_experts\": 8", "\"num_experts\": 8, \"num_local_experts\": 9");
    refused(ERR_FORMAT, "num_local_experts");
}

MODEL(no_weights) {
    make(fixture_model_default());
    fixture_unlink(dir, "model.safetensors");
    refused(ERR_IO, "holds no weights");
    fixture_write_text(dir, "pytorch_model-00001-of-00002.bin", "PK");
    refused(ERR_UNSUPPORTED, "pickles");
}

MODEL(index_and_a_single_file_that_it_does_not_name) {
    FixtureModel f = fixture_model_default();
    f.shards = 2;
    make(f);
    fixture_copy(dir, dir, "config.json");
    fixture_write_text(dir, "model.safetensors", "anything");
    refused(ERR_FORMAT, "holds both");
}

MODEL(a_file_without_tensors) {
    FixtureShard s;
    make(fixture_model_default());
    fixture_shard_begin(&s);
    fixture_shard_write(&s, dir, "model.safetensors");
    refused(ERR_FORMAT, "hold no tensors");
}

/* ---- what is refused: index and shards ---- */

static void make_two_shards(void) {
    FixtureModel f = fixture_model_default();
    f.shards = 2;
    make(f);
}

#define INDEX "model.safetensors.index.json"

MODEL(missing_shard) {
    make_two_shards();
    fixture_unlink(dir, "model-00002-of-00002.safetensors");
    refused(ERR_IO, "model-00002-of-00002.safetensors is missing");
    FixturePath link; /* a cache whose download was broken off: the link is there, the blob is not */
    fixture_path(link, dir, "model-00002-of-00002.safetensors");
    cr_assert_eq(symlink("nowhere", link), 0);
    refused(ERR_IO, "model-00002-of-00002.safetensors is missing");
}

MODEL(truncated_shard) {
    FixturePath path;
    make_two_shards();
    fixture_path(path, dir, "model-00002-of-00002.safetensors");
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(truncate(path, st.st_size - 1), 0);
    refused(ERR_FORMAT, "truncated");
    cr_assert_eq(truncate(path, 0), 0);
    refused(ERR_FORMAT, "truncated");
}

MODEL(index_without_weight_map) {
    make_two_shards();
    fixture_replace(dir, INDEX, "weight_map", "weight_mop");
    refused(ERR_FORMAT, "weight_map is missing");
}

MODEL(index_that_names_a_tensor_nobody_has) {
    make_two_shards();
    fixture_replace(dir, INDEX, "\"weight_map\": {",
                    "\"weight_map\": {\n    \"ghost\": \"model-00001-of-00002.safetensors\",");
    refused(ERR_FORMAT, "ghost is not in model-00001-of-00002.safetensors");
}

MODEL(index_that_forgets_a_tensor) {
    make_two_shards();
    fixture_replace(dir, INDEX, "    \"model.embed_tokens.weight\": \"model-00001-of-00002.safetensors\",\n",
                    "");
    refused(ERR_FORMAT, "model.embed_tokens.weight, which the index does not list");
}

MODEL(index_that_names_the_wrong_shard) {
    make_two_shards();
    fixture_replace(dir, INDEX, "\"lm_head.weight\": \"model-00002", "\"lm_head.weight\": \"model-00001");
    refused(ERR_FORMAT, "lm_head.weight");
}

MODEL(index_with_a_wrong_total_size_is_no_error) {
    make_two_shards();
    fixture_replace(dir, INDEX, "\"metadata\": {}", "\"metadata\": {\"total_size\": 1}");
    opens();
}

MODEL(index_with_paths) {
    static const char *const names[] = {
        "../x.safetensors",   "/etc/x.safetensors", "a/b.safetensors", "..", ".safetensors", "",
        "a\\\\b.safetensors", "model.bin"};
    make_two_shards();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"weight_map\":{\"lm_head.weight\":\"%s\"}}", names[i]);
        fixture_write_text(dir, INDEX, text);
        refused(strcmp(names[i], "model.bin") ? ERR_FORMAT : ERR_UNSUPPORTED, "lm_head.weight");
    }
    fixture_write_text(dir, INDEX, "{\"weight_map\":{\"lm_head.weight\":1}}");
    refused(ERR_FORMAT, "lm_head.weight");
}

/* ---- what is refused: tensors ---- */

static void single_tensor(const char *name, DType type, uint32_t n_dims, const uint64_t *shape) {
    FixtureShard s;
    uint64_t bytes = dtype_info(type)->bytes;
    for (uint32_t i = 0; i < n_dims; i++) bytes *= shape[i];
    void *zeros = calloc(1, (size_t)bytes);
    cr_assert_not_null(zeros);
    fixture_shard_begin(&s);
    fixture_shard_add(&s, name, type, n_dims, shape, zeros, (size_t)bytes);
    fixture_shard_write(&s, dir, "model.safetensors");
    free(zeros);
}

MODEL(five_dimensions) {
    make(fixture_model_default());
    single_tensor("model.visual.weight", DT_BF16, 5, (uint64_t[]){1, 2, 1, 2, 1});
    refused(ERR_UNSUPPORTED, "5 dimensions");
}

MODEL(other_fused_layouts) {
    FixtureModel f = fixture_model_default();
    f.ff = 24;
    make(f);
    single_tensor("model.layers.0.mlp.experts.gate_proj", DT_BF16, 3, (uint64_t[]){8, 24, 64});
    refused(ERR_UNSUPPORTED, "model.layers.0.mlp.experts.gate_proj [8, 24, 64]");
    single_tensor("model.layers.0.mlp.experts.gate_up_proj_blocks", DT_U8, 2, (uint64_t[]){8, 24});
    refused(ERR_UNSUPPORTED, "gate_up_proj_blocks [8, 24]");
    single_tensor("model.layers.0.mlp.experts.gate_up_proj", DT_BF16, 3, (uint64_t[]){8, 64, 48});
    refused(ERR_UNSUPPORTED, "transposed");
    single_tensor("model.layers.0.mlp.experts.down_proj", DT_BF16, 3, (uint64_t[]){8, 24, 64});
    refused(ERR_UNSUPPORTED, "transposed");
    single_tensor("model.layers.0.mlp.experts.down_proj.weight", DT_BF16, 3, (uint64_t[]){7, 64, 24});
    refused(ERR_UNSUPPORTED, "[7, 64, 24]; fused experts are read as [8, 64, 24]");
    single_tensor("model.layers.0.mlp.experts.down_proj", DT_BF16, 2, (uint64_t[]){64, 24});
    refused(ERR_UNSUPPORTED, "[64, 24]");
}

MODEL(an_expert_that_is_there_in_both_layouts) {
    FixtureShard s;
    static const char zeros[8 * 64 * 32 * 2];
    make(fixture_model_default());
    fixture_shard_begin(&s);
    fixture_shard_add(&s, "model.layers.0.mlp.experts.down_proj", DT_BF16, 3, (uint64_t[]){8, 64, 32}, zeros,
                      sizeof zeros);
    fixture_shard_add(&s, "model.layers.0.mlp.experts.3.down_proj.weight", DT_BF16, 2, (uint64_t[]){64, 32},
                      zeros, 64 * 32 * 2);
    fixture_shard_write(&s, dir, "model.safetensors");
    refused(ERR_FORMAT, "model.layers.0.mlp.experts.3.down_proj.weight is there twice");
}

/* ---- memory ---- */

typedef struct Failing {
    size_t left;
} Failing;

static void *failing_resize(void *context, void *pointer, size_t size) {
    Failing *f = context;
    if (size == 0) {
        free(pointer);
        return NULL;
    }
    if (f->left == 0) return NULL;
    f->left--;
    return realloc(pointer, size);
}

MODEL(every_failed_allocation_is_an_error) {
    make_two_shards();
    for (size_t n = 0;; n++) {
        Failing f = {n};
        Allocator a = {failing_resize, &f};
        int code = checkpoint_open(&m, dir, &a, &e);
        if (!code) {
            model_close(m);
            m = NULL;
            cr_assert_gt(n, 4);
            break;
        }
        cr_assert_eq(code, ERR_MEMORY, "allocation %zu: %s", n, e.message);
        cr_assert_null(m);
        cr_assert_lt(n, 10000);
    }
}

/* ---- model_open ---- */

MODEL(model_open_tells_what_stands_there) {
    FixturePath path;
    fixture_path(path, dir, "missing");
    cr_assert_eq(model_open(&m, path, NULL, &e), ERR_IO);
    fixture_write_text(dir, "x.safetensors", "{}");
    fixture_path(path, dir, "x.safetensors");
    cr_assert_eq(model_open(&m, path, NULL, &e), ERR_FORMAT);
    cr_assert_not_null(strstr(e.message, "name the directory"), "%s", e.message);
    cr_assert_eq(model_open(&m, dir, NULL, &e), ERR_IO);
    cr_assert_not_null(strstr(e.message, "config.json"), "%s", e.message);
}
