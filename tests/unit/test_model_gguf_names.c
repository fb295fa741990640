/* The GGUF form of a checkpoint: names, order, stacked experts, keys. Golden files are what llama.cpp's
 * converter wrote (tests/golden/make_keys.py). */
#include "core/json.h"
#include "core/sha256.h"
#include "fixture.h"
#include "model/checkpoint.h"
#include "model/family.h"
#include "model/model_id.h"
#include "model/views.h"
#include "retype_fixture.h"
#include "support.h"

/* ---- opening ---- */

typedef struct Views {
    cJSON *overrides;
    Model *source, *changed, *names;
} Views;

static void views_close(Views *v) {
    model_close(v->names);
    model_close(v->changed);
    model_close(v->source);
    cJSON_Delete(v->overrides);
    *v = (Views){0};
}

/* overrides: JSON or NULL */
static int views_try(Views *v, const char *directory, const char *overrides, const GgufNamesOptions *options,
                     Error *err) {
    *v = (Views){0};
    cr_assert_eq(checkpoint_open(&v->source, directory, NULL, err), 0, "%s", err->message);
    const Model *base = v->source;
    if (overrides) {
        cr_assert_eq(json_parse(&v->overrides, overrides, strlen(overrides), "test", err), 0, "%s",
                     err->message);
        OverrideOptions accept = {.accept_inert_dynamic = true};
        cr_assert_eq(override_open(&v->changed, base, v->overrides, accept, NULL, err), 0, "%s",
                     err->message);
        base = v->changed;
    }
    return gguf_names_open(&v->names, base, options, NULL, err);
}

static Views views_open(const char *directory, const char *overrides, const GgufNamesOptions *options) {
    Views v;
    Error err = {0};
    cr_assert_eq(views_try(&v, directory, overrides, options, &err), 0, "%s", err.message);
    return v;
}

static void refused(const char *overrides, const GgufNamesOptions *options, ErrorCode code,
                    const char *part) {
    Views v;
    Error err = {0};
    cr_assert_eq(views_try(&v, FIXTURE_TINY, overrides, options, &err), (int)code, "%s", err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
    views_close(&v);
}

/* ---- golden lines ---- */

/* The next tab-separated field of a line; NULL at its end. */
static char *field(char **line) {
    return strsep(line, "\t\n");
}

static char *golden(const char *name) {
    return fixture_read("tests/golden", name, NULL);
}

static void array_value(Buffer *b, const GgufArray *a) {
    Buffer elements;
    char hex[SHA256_HEX];
    buffer_init(&elements, NULL);
    for (uint64_t i = 0; a->strings && i < a->count; i++) {
        buffer_u64(&elements, a->strings[i].length);
        buffer_append(&elements, a->strings[i].data, a->strings[i].length);
    }
    if (!a->strings) buffer_append(&elements, a->raw, a->count * gguf_type_bytes(a->type));
    cr_assert_eq(sha256_bytes(hex, elements.data, elements.length, NULL), 0);
    buffer_printf(b, "%s %llu %s", gguf_type_name(a->type), (unsigned long long)a->count, hex);
    buffer_free(&elements);
}

/* As make_keys.py spells values. */
static void print_value(Buffer *b, const GgufValue *v) {
    uint32_t bits;
    switch (v->type) {
    case GGUF_F32:
        memcpy(&bits, &v->f32, sizeof bits);
        buffer_printf(b, "0x%08x", bits);
        break;
    case GGUF_BOOL: buffer_text(b, v->u ? "true" : "false"); break;
    case GGUF_STRING: json_write_string(b, v->string.data); break;
    case GGUF_ARRAY: array_value(b, &v->array); break;
    case GGUF_I32: buffer_printf(b, "%lld", (long long)v->i); break;
    default: buffer_printf(b, "%llu", (unsigned long long)v->u);
    }
}

static void check_keys(const Metadata *m) {
    char *text = golden("tiny-keys.txt"), *rest = text;
    size_t count = 0;
    for (char *line; (line = strsep(&rest, "\n")) && *line; count++) {
        const char *key = field(&line), *type = field(&line), *value = field(&line);
        const GgufValue *ours = metadata_get(m, key);
        Buffer printed;
        cr_assert_not_null(ours, "%s is missing", key);
        cr_assert_str_eq(gguf_type_name(ours->type), type, "%s is %s, not %s", key,
                         gguf_type_name(ours->type), type);
        buffer_init(&printed, NULL);
        print_value(&printed, ours);
        cr_assert_str_eq(buffer_string(&printed), value, "%s is %s, not %s", key, buffer_string(&printed),
                         value);
        buffer_free(&printed);
    }
    cr_assert_eq(count, 33);
    cr_assert_eq(metadata_count(m), count, "and no other key");
    free(text);
}

Test(model_gguf_names, writes_the_keys_of_llama_cpp) {
    Views v = views_open(FIXTURE_TINY, NULL, NULL);
    check_keys(v.names->metadata);
    views_close(&v);
}

static void check_tensor(const Model *m, char *line) {
    const char *name = field(&line), *type = field(&line), *shape = field(&line), *hash = field(&line);
    const Tensor *t = model_find(m, name);
    char ours[64], hex[SHA256_HEX];
    int n = 0;
    cr_assert_not_null(t, "%s", name);
    cr_assert_str_eq(dtype_name(t->type), type, "%s", name);
    for (uint32_t i = 0; i < t->n_dims; i++)
        n += snprintf(ours + n, sizeof ours - (size_t)n, "%s%llu", i ? "," : "",
                      (unsigned long long)t->dims[i]);
    cr_assert_str_eq(ours, shape, "%s", name);
    uint8_t *bytes = malloc(tensor_bytes(t));
    cr_assert_not_null(bytes);
    cr_assert_eq(model_read(t, 0, tensor_rows(t), bytes, NULL), 0, "%s", name);
    cr_assert_eq(sha256_bytes(hex, bytes, tensor_bytes(t), NULL), 0);
    free(bytes);
    cr_assert_str_eq(hex, hash, "%s", name);
}

Test(model_gguf_names, gives_the_tensors_of_llama_cpp_in_every_float_type) {
    static const struct {
        const char *name;
        DType type;
        uint32_t file_type;
    } types[] = {{"f32", DT_F32, 0}, {"f16", DT_F16, 1}, {"bf16", DT_BF16, 32}, {"q8_0", DT_Q8_0, 7}};
    Views v = views_open(FIXTURE_TINY, NULL, NULL);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        Model *typed;
        uint32_t file_type = 99;
        cr_assert_eq(retype_as(&typed, v.names, types[i].type, NULL, NULL), 0);
        cr_assert(metadata_u32(typed->metadata, "general.file_type", &file_type));
        cr_assert_eq(file_type, types[i].file_type);
        char *text = golden("tiny-tensors.txt"), *rest = text;
        size_t count = 0;
        for (char *line; (line = strsep(&rest, "\n")) && *line;) {
            if (strcmp(field(&line), types[i].name)) continue;
            check_tensor(typed, line);
            count++;
        }
        cr_assert_eq(count, 27);
        cr_assert_eq(typed->n_tensors, count);
        free(text);
        model_close(typed);
    }
    views_close(&v);
}

/* ---- tensors ---- */

Test(model_gguf_names, copies_extents_and_computes_nothing) {
    Views v = views_open(FIXTURE_TINY, NULL, NULL);
    const Tensor *t = model_find(v.names, "blk.1.ffn_up_exps.weight");
    for (size_t i = 0; i < v.names->n_tensors; i++) cr_assert_eq(v.names->tensors[i].n_transforms, 0);
    cr_assert_eq(t->dims[2], 128);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < t->n_extents; i++) sum += t->extents[i].length;
    cr_assert_eq(sum, 64 * 32 * 128 * 2);
    cr_assert_eq(tensor_stored_bytes(t), sum);
    cr_assert_str_eq(v.names->tensors[0].name, "output.weight");
    cr_assert_str_eq(v.names->tensors[2].name, "token_embd.weight");
    cr_assert_str_eq(v.names->tensors[26].name, "blk.1.ffn_up_exps.weight");
    views_close(&v);
}

static void make(FixturePath dir, FixtureModel m) {
    fixture_dir(dir);
    fixture_model(dir, &m);
}

Test(model_gguf_names, merges_extents_that_touch) {
    FixtureModel m = fixture_model_default();
    FixturePath fused;
    m.fused = true;
    make(fused, m);
    Views v = views_open(fused, NULL, NULL);
    cr_assert_eq(model_find(v.names, "blk.0.ffn_down_exps.weight")->n_extents, 1,
                 "one piece of the fused tensor");
    cr_assert_eq(model_find(v.names, "blk.0.ffn_gate_exps.weight")->n_extents, 8,
                 "gate and up rows alternate");
    views_close(&v);
    fixture_remove(fused);
}

/* Every tensor of a GGUF view must hold the fixture's values, expert by expert. */
static void check_values(const Model *names, const FixtureModel *m) {
    for (size_t i = 0; i < names->n_tensors; i++) {
        const Tensor *t = &names->tensors[i];
        size_t n = (size_t)(t->dims[0] * t->dims[1]);
        uint16_t *ours = malloc(tensor_bytes(t)), *theirs = malloc(2 * n);
        cr_assert(ours && theirs);
        cr_assert_eq(model_read(t, 0, tensor_rows(t), ours, NULL), 0);
        for (uint32_t e = 0; e < t->dims[2]; e++) {
            char name[128];
            uint32_t count;
            cr_assert(family_hf_name(names, t->name, e, name, sizeof name, &count));
            cr_assert_eq(count, t->dims[2]);
            fixture_values(theirs, n, name, m->seed);
            cr_assert_eq(memcmp(ours + e * n, theirs, 2 * n), 0, "%s", name);
        }
        free(ours);
        free(theirs);
    }
}

Test(model_gguf_names, stacks_any_shape) {
    struct {
        uint32_t layers, experts;
        bool tied, fused;
        uint32_t shards;
        size_t tensors;
    } cases[] = {{2, 102, false, false, 3, 27},
                 {1, 256, true, false, 1, 14},
                 {1, 8, false, false, 1, 15},
                 {11, 3, false, true, 2, 135}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        FixtureModel m = fixture_model_default();
        FixturePath dir;
        m.layers = cases[i].layers, m.experts = cases[i].experts, m.tied = cases[i].tied,
        m.fused = cases[i].fused;
        m.shards = cases[i].shards, m.hidden = 16, m.ff = 4;
        make(dir, m);
        Views v = views_open(dir, NULL, NULL);
        cr_assert_eq(v.names->n_tensors, cases[i].tensors);
        cr_assert_eq(model_find(v.names, "output.weight") == NULL, cases[i].tied);
        check_values(v.names, &m);
        views_close(&v);
        fixture_remove(dir);
    }
}

Test(model_gguf_names, refuses_experts_of_different_types) {
    static const char old[] = "experts.3.up_proj.weight\":{\"dtype\":\"BF16\"",
                      new[] = "experts.3.up_proj.weight\":{\"dtype\":\"F16\" ";
    FixturePath dir;
    make(dir, fixture_model_default());
    size_t length;
    char *bytes = fixture_read(dir, "model.safetensors", &length),
         *at = memmem(bytes, length, old, sizeof old - 1);
    cr_assert_not_null(at);
    memcpy(at, new, sizeof new - 1); /* both types have two bytes, so the header alone can be changed */
    fixture_write(dir, "model.safetensors", bytes, length);
    free(bytes);
    Views v;
    Error err = {0};
    cr_assert_eq(views_try(&v, dir, NULL, NULL, &err), ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "experts.3.up_proj.weight is F16"), "%s", err.message);
    views_close(&v);
    fixture_remove(dir);
}

/* ---- parameters ---- */

Test(model_gguf_names, writes_what_the_run_time_obeys) {
    Views v = views_open(FIXTURE_TINY,
                         "{\"num_experts_per_tok\":16,\"max_position_embeddings\":1024,\"rope_scaling\":{"
                         "\"rope_type\":\"yarn\","
                         "\"factor\":4.0,\"original_max_position_embeddings\":256}}",
                         NULL);
    const Metadata *m = v.names->metadata;
    uint32_t u = 0;
    float f = 0;
    cr_assert(metadata_u32(m, "qwen3moe.expert_used_count", &u) && u == 16);
    cr_assert(metadata_u32(m, "qwen3moe.context_length", &u) && u == 1024, "a server would cap at 256");
    cr_assert_str_eq(metadata_string(m, "qwen3moe.rope.scaling.type"), "yarn");
    cr_assert(metadata_f32(m, "qwen3moe.rope.scaling.factor", &f) && f == 4);
    cr_assert(metadata_u32(m, "qwen3moe.rope.scaling.original_context_length", &u) && u == 256);
    cr_assert_null(metadata_get(m, "qwen3moe.rope.scaling.attn_factor"));
    cr_assert_eq(metadata_count(m), 33 + 3);
    cr_assert_eq(v.names->n_changes, 3);
    views_close(&v);
}

Test(model_gguf_names, refuses_rope_that_gguf_cannot_say) {
    refused("{\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4.0}}", NULL, ERR_UNSUPPORTED,
            "gguf_dynamic");
    refused("{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":"
            "256,\"beta_fast\":16}}",
            NULL, ERR_UNSUPPORTED, "beta_fast");
    refused("{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":4.0,\"original_max_position_embeddings\":"
            "256}}",
            NULL, ERR_UNSUPPORTED, "llama3");
}

Test(model_gguf_names, keeps_any_rope_for_the_runner) {
    GgufNamesOptions lenient = {.lenient_rope = true};
    Views v =
        views_open(FIXTURE_TINY, "{\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4.0}}", &lenient);
    cr_assert_eq(v.names->params.rope.type, ROPE_DYNAMIC);
    cr_assert_null(metadata_get(v.names->metadata, "qwen3moe.rope.scaling.type"));
    views_close(&v);
}

Test(model_gguf_names, bakes_dynamic_at_a_length) {
    GgufNamesOptions options = {.bake_dynamic = 1024};
    Views v =
        views_open(FIXTURE_TINY, "{\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4.0}}", &options);
    float f = 0;
    uint32_t u = 0;
    cr_assert(metadata_f32(v.names->metadata, "qwen3moe.rope.freq_base", &f));
    /* 10000 * (4 * 1024 / 256 - 3)^(16/14) */
    cr_assert_float_eq(f, 187533.18f, 0.1f, "%.9g", (double)f);
    cr_assert(metadata_u32(v.names->metadata, "qwen3moe.context_length", &u) && u == 1024);
    cr_assert_null(metadata_get(v.names->metadata, "qwen3moe.rope.scaling.type"));
    cr_assert_eq(v.names->params.rope.type, ROPE_DEFAULT);
    views_close(&v);
    options.bake_dynamic = 255;
    refused("{\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4.0}}", &options, ERR_RECIPE,
            "255 is below");
    refused(NULL, &options, ERR_RECIPE, "only \"dynamic\" can be baked");
}

Test(model_gguf_names, refuses_unnormalised_experts) {
    FixturePath dir;
    fixture_dir(dir);
    fixture_copy_dir(FIXTURE_TINY, dir);
    fixture_replace(dir, "config.json", "\"norm_topk_prob\": true", "\"norm_topk_prob\": false");
    Views v;
    Error err = {0};
    cr_assert_eq(views_try(&v, dir, NULL, NULL, &err), ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "norm_topk_prob"), "%s", err.message);
    views_close(&v);
    fixture_remove(dir);
}

Test(model_gguf_names, refuses_a_base_that_is_gguf) {
    Views v = views_open(FIXTURE_TINY, NULL, NULL);
    Model *again;
    Error err = {0};
    cr_assert_eq(gguf_names_open(&again, v.names, NULL, NULL, &err), ERR_UNSUPPORTED);
    views_close(&v);
}

/* ---- names and sampling ---- */

Test(model_gguf_names, takes_names_from_the_recipe) {
    GgufNamesOptions options = {.name = "Tiny-30B-A6B-16-Extreme-128k-context"};
    Views v = views_open(FIXTURE_TINY, NULL, &options);
    const Metadata *m = v.names->metadata;
    cr_assert_str_eq(metadata_string(m, "general.name"), "Tiny-30B-A6B-16-Extreme-128k-context");
    cr_assert_str_eq(metadata_string(m, "general.basename"), "Tiny");
    cr_assert_str_eq(metadata_string(m, "general.size_label"), "A6B");
    cr_assert_str_eq(metadata_string(m, "general.finetune"), "30b-Extreme-128k-context");
    cr_assert_str_eq(metadata_string(m, "general.version"), "16");
    views_close(&v);
}

Test(model_gguf_names, takes_names_from_the_directory_or_the_config) {
    FixturePath dir, inner;
    fixture_dir(dir);
    fixture_path(inner, dir, "some-model-2M-chat");
    fixture_copy_dir(FIXTURE_TINY, inner);
    char slashed[FIXTURE_PATH + 4];
    snprintf(slashed, sizeof slashed, "%s/.", inner);
    for (int i = 0; i < 2; i++) {
        Views v = views_open(i ? slashed : inner, NULL, NULL);
        cr_assert_str_eq(metadata_string(v.names->metadata, "general.name"), "Some Model 2M Chat");
        cr_assert_str_eq(metadata_string(v.names->metadata, "general.size_label"), "2M");
        views_close(&v);
    }
    fixture_replace(inner, "config.json", "\"attention_bias\"",
                    "\"_name_or_path\": \"my-org/Other-model\", \"attention_bias\"");
    Views v = views_open(inner, NULL, NULL);
    cr_assert_str_eq(metadata_string(v.names->metadata, "general.name"), "Other Model");
    cr_assert_str_eq(metadata_string(v.names->metadata, "general.organization"), "My Org");
    cr_assert_str_eq(metadata_string(v.names->metadata, "general.finetune"), "chat");
    views_close(&v);
    fixture_remove(dir);
}

Test(model_gguf_names, writes_every_sampling_key) {
    static const char config[] =
        "{\"sequence\":\"top_k\",\"top_k\":-1,\"top_p\":1,\"min_p\":0.05,\"xtc_probability\":0.5,"
        "\"xtc_threshold\":0.1,\"temperature\":0.7,\"penalty_last_n\":64,\"repetition_penalty\":1.05,"
        "\"mirostat\":2,\"mirostat_tau\":5,\"mirostat_eta\":null}";
    FixturePath dir;
    fixture_dir(dir);
    fixture_copy_dir(FIXTURE_TINY, dir);
    fixture_write_text(dir, "generation_config.json", config);
    Views v = views_open(dir, NULL, NULL);
    const Metadata *m = v.names->metadata;
    float f = 0;
    const GgufValue *k = metadata_get(m, "general.sampling.top_k");
    cr_assert(k && k->type == GGUF_I32 && k->i == -1);
    cr_assert_str_eq(metadata_string(m, "general.sampling.sequence"), "top_k");
    cr_assert(metadata_f32(m, "general.sampling.penalty_repeat", &f) && f == 1.05f);
    cr_assert(metadata_f32(m, "general.sampling.mirostat_tau", &f) && f == 5);
    cr_assert_null(metadata_get(m, "general.sampling.mirostat_eta"));
    views_close(&v);
    fixture_write_text(dir, "generation_config.json", "{\"top_k\":1.5}");
    Error err = {0};
    cr_assert_eq(views_try(&v, dir, NULL, NULL, &err), ERR_FORMAT);
    cr_assert_not_null(strstr(err.message, "top_k"), "%s", err.message);
    views_close(&v);
    fixture_remove(dir);
}

/* ---- model ids, against gguf-py ---- */

static const char *json_or_null(Buffer *b, const char *s) {
    buffer_clear(b);
    if (s)
        json_write_string(b, s);
    else
        buffer_text(b, "null");
    return buffer_string(b);
}

Test(model_gguf_names, reads_model_ids_as_gguf_py) {
    char *text = golden("model-ids.txt"), *rest = text;
    size_t count = 0;
    Buffer b;
    buffer_init(&b, NULL);
    for (char *line; (line = strsep(&rest, "\n")) && *line; count++) {
        Arena *arena;
        ModelId id;
        cJSON *name;
        cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
        uint64_t total = strtoull(field(&line), NULL, 10);
        const char *quoted = field(&line);
        cr_assert_eq(json_parse(&name, quoted, strlen(quoted), "id", NULL), 0);
        cr_assert_eq(model_id_parse(&id, name->valuestring, total, arena, NULL), 0);
        const char *ours[] = {id.name,
                              id.organization,
                              id.basename,
                              id.finetune,
                              id.version,
                              id.size_label,
                              model_id_title(id.name, arena)};
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
            const char *theirs = field(&line);
            cr_assert_str_eq(json_or_null(&b, ours[i]), theirs, "%s of %llu: field %zu is %s, not %s", quoted,
                             (unsigned long long)total, i, buffer_string(&b), theirs);
        }
        cJSON_Delete(name);
        arena_close(arena);
    }
    cr_assert_eq(count, 159);
    buffer_free(&b);
    free(text);
}

Test(model_gguf_names, rounds_sizes_as_gguf_py) {
    static const struct {
        uint64_t params;
        const char *text;
    } cases[] = {{0, "0.00K"},
                 {999, "1.0K"},
                 {1500, "1.5K"},
                 {201000, "201K"},
                 {1000000, "1000K"},
                 {9949999, "10M"},
                 {9400000, "9.4M"},
                 {1762304, "1.8M"},
                 {1780000000, "1.8B"},
                 {30532122624, "31B"},
                 {2500000, "2.5M"},
                 {235093634560, "235B"},
                 {1000000000000, "1000B"},
                 {2400000000000, "2.4T"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[32];
        model_id_rounded(out, sizeof out, cases[i].params);
        cr_assert_str_eq(out, cases[i].text);
    }
}

/* ---- memory ---- */

/* All three views, made with an allocator that fails at its n-th request; true when it did not fail. */
static bool views_with(size_t n, const Model *source, const cJSON *overrides) {
    FailingAllocator f;
    Model *changed = NULL, *names = NULL, *typed = NULL;
    Error err = {0};
    failing_init(&f, n);
    int code = override_open(&changed, source, overrides, (OverrideOptions){0}, &f.allocator, &err);
    if (!code) code = gguf_names_open(&names, changed, NULL, &f.allocator, &err);
    if (!code) code = retype_as(&typed, names, DT_F16, &f.allocator, &err);
    cr_assert(code == 0 || code == ERR_MEMORY, "%s", err.message);
    cr_assert_eq(code != 0, f.failed);
    model_close(typed);
    model_close(names);
    model_close(changed);
    cr_assert_eq(f.live, 0, "request %zu", n);
    return !code;
}

Test(model_gguf_names, survives_every_failed_allocation) {
    Model *source;
    cJSON *overrides = cJSON_Parse("{\"num_experts_per_tok\":16,\"rope_theta\":5}");
    cr_assert_eq(checkpoint_open(&source, FIXTURE_TINY, NULL, NULL), 0);
    size_t n = 0;
    while (!views_with(n, source, overrides)) cr_assert_lt(++n, 1000);
    cr_assert_gt(n, 3);
    model_close(source);
    cJSON_Delete(overrides);
}
