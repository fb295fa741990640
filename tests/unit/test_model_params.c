/* Parameters: from config.json in its spellings, from GGUF keys, back to GGUF keys, and counts from shapes.
 */
#include "core/json.h"
#include "model/family.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Qwen3-30B-A3B's config.json as published (transformers 4), and as transformers 5 saves the same. */
static const char old_config[] =
    "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"attention_bias\":false,\"decoder_sparse_step\":1,\"head_"
    "dim\":128,"
    "\"hidden_act\":\"silu\",\"hidden_size\":2048,\"intermediate_size\":6144,\"max_position_embeddings\":"
    "40960,"
    "\"max_window_layers\":48,\"mlp_only_layers\":[],\"model_type\":\"qwen3_moe\",\"moe_intermediate_size\":"
    "768,"
    "\"norm_topk_prob\":true,\"num_attention_heads\":32,\"num_experts\":128,\"num_experts_per_tok\":8,"
    "\"num_hidden_layers\":48,\"num_key_value_heads\":4,\"rms_norm_eps\":1e-06,\"rope_scaling\":null,"
    "\"rope_theta\":1000000.0,\"sliding_window\":null,\"tie_word_embeddings\":false,\"use_sliding_window\":"
    "false,"
    "\"vocab_size\":151936}";
static const char new_config[] =
    "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"attention_bias\":false,\"decoder_sparse_step\":1,"
    "\"dtype\":\"bfloat16\","
    "\"head_dim\":128,\"hidden_act\":\"silu\",\"hidden_size\":2048,\"intermediate_size\":6144,"
    "\"max_position_embeddings\":40960,\"mlp_only_layers\":[],\"model_type\":\"qwen3_moe\",\"moe_"
    "intermediate_size\":768,"
    "\"norm_topk_prob\":true,\"num_attention_heads\":32,\"num_experts_per_tok\":8,\"num_hidden_layers\":48,"
    "\"num_key_value_heads\":4,\"num_local_experts\":128,\"rms_norm_eps\":1e-06,"
    "\"rope_parameters\":{\"rope_theta\":1000000.0,\"rope_type\":\"default\"},\"tie_word_embeddings\":false,"
    "\"vocab_size\":151936}";

static cJSON *parse(const char *text) {
    cJSON *tree;
    Error err = {0};
    cr_assert_eq(json_parse(&tree, text, strlen(text), "test", &err), 0, "%s: %s", text, err.message);
    return tree;
}

/* Members of `changes` replace or join those of the config. */
static int read_changed(ModelParams *p, const char *config, const char *changes, Error *err) {
    cJSON *tree = parse(config), *patch = parse(changes);
    for (const cJSON *item = patch->child; item; item = item->next) {
        cJSON_DeleteItemFromObjectCaseSensitive(tree, item->string);
        cJSON_AddItemToObject(tree, item->string, cJSON_Duplicate(item, true));
    }
    int code = family_qwen3moe.params_from_config(p, tree, err);
    cJSON_Delete(tree);
    cJSON_Delete(patch);
    return code;
}

static ModelParams accepted(const char *changes) {
    ModelParams p;
    Error err = {0};
    cr_assert_eq(read_changed(&p, old_config, changes, &err), 0, "%s: %s", changes, err.message);
    return p;
}

static void refused_of(const char *config, const char *changes, ErrorCode code, const char *part) {
    ModelParams p;
    Error err = {0};
    cr_assert_eq(read_changed(&p, config, changes, &err), (int)code, "%s: %s", changes, err.message);
    cr_assert_not_null(strstr(err.message, part), "%s: %s", changes, err.message);
}

static void refused(const char *changes, ErrorCode code, const char *part) {
    refused_of(old_config, changes, code, part);
}

/* ---- config.json ---- */

Test(model_params, reads_the_published_config) {
    ModelParams p = accepted("{}");
    cr_assert_str_eq(p.architecture, "qwen3moe");
    cr_assert(p.n_layers == 48 && p.n_embd == 2048 && p.n_ff == 6144 && p.n_heads == 32 && p.n_kv_heads == 4);
    cr_assert(p.head_dim == 128 && p.n_experts == 128 && p.n_experts_used == 8 && p.n_ff_expert == 768);
    cr_assert(p.n_vocab == 151936 && p.context == 40960 && p.norm_topk_prob && !p.tied_embeddings);
    cr_assert(p.rms_eps == 1e-6f && p.rope.theta == 1e6f && p.rope.type == ROPE_DEFAULT);
}

Test(model_params, reads_the_new_spelling_alike) {
    ModelParams old = accepted("{}"), new;
    Error err = {0};
    cr_assert_eq(read_changed(&new, new_config, "{}", &err), 0, "%s", err.message);
    cr_assert_eq(memcmp(&old, &new, sizeof old), 0);
}

Test(model_params, takes_head_dim_from_its_key_and_only_else_from_the_quotient) {
    cr_assert_eq(accepted("{\"head_dim\":64}").head_dim, 64);
    cr_assert_eq(accepted("{\"head_dim\":null}").head_dim, 64); /* 2048 / 32 */
    refused("{\"head_dim\":null,\"hidden_size\":2049}", ERR_FORMAT, "head_dim is missing");
}

Test(model_params, refuses_spellings_that_contradict) {
    cr_assert_eq(accepted("{\"num_local_experts\":128}").n_experts, 128);
    refused("{\"num_local_experts\":64}", ERR_FORMAT, "num_experts is 128 but num_local_experts is 64");
    refused("{\"rope_parameters\":{\"rope_theta\":10000,\"rope_type\":\"default\"}}", ERR_FORMAT,
            "rope_theta is given twice");
}

Test(model_params, refuses_what_the_code_does_not_do) {
    refused("{\"attention_bias\":true}", ERR_UNSUPPORTED, "attention_bias is true");
    refused("{\"use_sliding_window\":true}", ERR_UNSUPPORTED, "use_sliding_window is true");
    refused("{\"mlp_only_layers\":[0]}", ERR_UNSUPPORTED, "mlp_only_layers");
    refused("{\"decoder_sparse_step\":2}", ERR_UNSUPPORTED, "decoder_sparse_step");
    refused("{\"quantization_config\":{\"quant_method\":\"fp8\"}}", ERR_UNSUPPORTED, "quantization_config");
    refused("{\"hidden_act\":\"gelu\"}", ERR_UNSUPPORTED, "hidden_act");
    refused("{\"partial_rotary_factor\":0.25}", ERR_UNSUPPORTED, "partial_rotary_factor");
}

Test(model_params, keeps_norm_topk_prob_for_the_views_to_judge) {
    cr_assert_not(accepted("{\"norm_topk_prob\":false}").norm_topk_prob);
    cr_assert_not(accepted("{\"norm_topk_prob\":null}").norm_topk_prob); /* the class's default */
    cr_assert(accepted("{\"tie_word_embeddings\":true}").tied_embeddings);
}

Test(model_params, refuses_numbers_that_make_no_model) {
    refused("{\"num_key_value_heads\":5}", ERR_FORMAT, "32 query heads can't share 5");
    refused("{\"head_dim\":127}", ERR_FORMAT, "even");
    refused("{\"num_experts_per_tok\":129}", ERR_FORMAT, "129 of 128 experts");
    refused("{\"num_experts_per_tok\":0}", ERR_FORMAT, "num_experts_per_tok is 0");
    refused("{\"hidden_size\":-1}", ERR_FORMAT, "hidden_size is -1");
    refused("{\"hidden_size\":2048.5}", ERR_FORMAT, "hidden_size is 2048.5");
    refused("{\"hidden_size\":\"2048\"}", ERR_FORMAT, "hidden_size is a string");
    refused("{\"hidden_size\":null}", ERR_FORMAT, "hidden_size is missing");
    refused("{\"num_hidden_layers\":513}", ERR_LIMIT, "513");
    refused("{\"num_experts\":1025}", ERR_LIMIT, "1025");
    refused("{\"hidden_size\":4294967295}", ERR_LIMIT, "hidden_size");
    refused("{\"rms_norm_eps\":-1}", ERR_FORMAT, "rms_norm_eps");
    refused("{\"rms_norm_eps\":1e300}", ERR_FORMAT, "float32");
    refused("{\"rope_theta\":0}", ERR_FORMAT, "rope_theta");
}

/* ---- RoPE in config.json ---- */

Test(model_params, reads_yarn_in_each_spelling) {
    static const char *const spellings[] = {
        "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":32768}"
        "}",
        "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32768}}",
        "{\"rope_theta\":null,\"rope_scaling\":null,\"rope_parameters\":{\"rope_type\":\"yarn\",\"type\":"
        "\"yarn\",\"factor\":4.0,"
        "\"original_max_position_embeddings\":32768,\"rope_theta\":1000000.0}}",
        "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0},\"original_max_position_embeddings\":"
        "32768}",
    };
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        RopeParams r = accepted(spellings[i]).rope;
        cr_assert(r.type == ROPE_YARN && r.factor == 4 && r.original_context == 32768 && r.theta == 1e6f,
                  "%s", spellings[i]);
        cr_assert(r.beta_fast == 32 && r.beta_slow == 1 && r.truncate && !r.has_attention_factor &&
                  !r.beyond_gguf);
    }
}

Test(model_params, fills_an_original_context_as_transformers_does) {
    RopeParams r = accepted("{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0}}").rope;
    cr_assert_eq(r.original_context, 40960);
}

Test(model_params, reads_other_rope_types) {
    cr_assert_eq(accepted("{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2}}").rope.type,
                 ROPE_LINEAR);
    cr_assert_eq(accepted("{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.5}}").rope.type,
                 ROPE_DYNAMIC);
    cr_assert_eq(
        accepted("{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1}}").rope.type,
        ROPE_LLAMA3);
    cr_assert_eq(accepted("{\"rope_scaling\":{\"type\":\"su\"}}").rope.type, ROPE_LONGROPE);
    cr_assert_eq(accepted("{\"rope_scaling\":{\"rope_type\":\"proportional\"}}").rope.type, ROPE_UNKNOWN);
    cr_assert_eq(accepted("{\"rope_scaling\":{}}").rope.type, ROPE_DEFAULT);
}

Test(model_params, sees_what_yarn_says_beyond_gguf) {
    static const char *const fields[] = {"\"beta_fast\":16", "\"beta_slow\":2", "\"truncate\":false",
                                         "\"mscale\":1,\"mscale_all_dim\":0.8"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,%s}}", fields[i]);
        cr_assert(accepted(text).rope.beyond_gguf, "%s", fields[i]);
    }
    cr_assert_not(
        accepted("{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":32,\"mscale\":1}}")
            .rope.beyond_gguf,
        "one mscale alone is ignored by transformers");
}

Test(model_params, rounds_an_attention_factor_as_gguf_will) {
    RopeParams r =
        accepted("{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"attention_factor\":1.0}}").rope;
    /* Python: m = 1 + 0.1 * math.log(4); x = numpy.float32(1 / m); numpy.float32(float(x) * m) */
    cr_assert(r.has_attention_factor);
    cr_assert_eq(r.attn_factor, 0x1.c1a9d6p-1f);
    cr_assert_eq(r.attention_factor, 1.0f);
}

Test(model_params, refuses_wrong_rope_objects) {
    refused("{\"rope_scaling\":{\"factor\":4}}", ERR_FORMAT, "no rope_type");
    refused("{\"rope_scaling\":{\"rope_type\":\"yarn\"}}", ERR_FORMAT, "needs a factor");
    refused("{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":0.5}}", ERR_FORMAT, "factor is 0.5");
    refused("{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":\"4\"}}", ERR_FORMAT,
            "factor is a string");
    refused("{\"rope_scaling\":{\"rope_type\":\"yarn\",\"type\":\"linear\",\"factor\":4}}", ERR_FORMAT,
            "remove the wrong one");
    refused("{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"attention_factor\":0}}", ERR_FORMAT,
            "attention_factor");
    refused("{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"beta_fast\":0.5}}", ERR_FORMAT,
            "beta_fast");
    refused("{\"rope_scaling\":{\"rope_type\":4,\"factor\":4}}", ERR_FORMAT, "string");
    refused("{\"rope_scaling\":[4]}", ERR_FORMAT, "expected an object");
    refused("{\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}}", ERR_UNSUPPORTED,
            "per layer type");
}

Test(model_params, refuses_contradicting_rope_spellings) {
    refused_of(
        new_config,
        "{\"rope_theta\":1000000.0,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4},\"rope_parameters\":"
        "{\"rope_theta\":1000000.0,\"rope_type\":\"linear\",\"factor\":4}}",
        ERR_FORMAT, "are both there and differ");
    /* transformers would silently run this with theta 10000 */
    refused_of(new_config, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}", ERR_FORMAT,
               "stands only in rope_parameters");
}

/* ---- GGUF keys ---- */

typedef struct Keys {
    Arena *arena;
    Metadata *m;
} Keys;

static Keys keys_open(const char *architecture) {
    Keys k;
    cr_assert_eq(arena_open(&k.arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&k.m, k.arena, NULL), 0);
    if (architecture) cr_assert_eq(metadata_set_string(k.m, "general.architecture", architecture, NULL), 0);
    return k;
}

static ModelParams from_keys(const Keys *k) {
    ModelParams p;
    Error err = {0};
    cr_assert_eq(params_from_metadata(&p, k->m, &err), 0, "%s", err.message);
    return p;
}

static const char *const no_keys[] = {NULL};

/* Writes the parameters of a changed config and checks that every key of `expected` is there in this order.
 */
static void check_order(const char *changes, const char *const *expected, const char *const *absent) {
    Keys k = keys_open("qwen3moe");
    ModelParams p = accepted(changes);
    Error err = {0};
    cr_assert_eq(params_to_metadata(k.m, &p, &err), 0, "%s", err.message);
    size_t slot = 1;
    for (; *expected; expected++, slot++) {
        const GgufKv *kv = metadata_slot(k.m, slot);
        cr_assert_not_null(kv, "%s", *expected);
        cr_assert_str_eq(kv->key.data, *expected);
    }
    cr_assert_eq(metadata_count(k.m), slot);
    for (; *absent; absent++) cr_assert_null(metadata_get(k.m, *absent), "%s", *absent);
    arena_close(k.arena);
}

Test(model_params, writes_keys_in_the_converters_order) {
    static const char *const keys[] = {"qwen3moe.block_count",
                                       "qwen3moe.context_length",
                                       "qwen3moe.embedding_length",
                                       "qwen3moe.feed_forward_length",
                                       "qwen3moe.attention.head_count",
                                       "qwen3moe.attention.head_count_kv",
                                       "qwen3moe.rope.scaling.type",
                                       "qwen3moe.rope.scaling.factor",
                                       "qwen3moe.rope.scaling.original_context_length",
                                       "qwen3moe.rope.freq_base",
                                       "qwen3moe.attention.layer_norm_rms_epsilon",
                                       "qwen3moe.expert_count",
                                       "qwen3moe.expert_used_count",
                                       "qwen3moe.attention.key_length",
                                       "qwen3moe.attention.value_length",
                                       "qwen3moe.expert_feed_forward_length",
                                       NULL};
    check_order(
        "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32768}}",
        keys, no_keys);
}

Test(model_params, come_back_from_their_own_keys) {
    static const char *const cases[] = {
        "{}",
        "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":3.2}}",
        "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32768}}",
        "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":1.5,\"attention_factor\":0.7}}",
        "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2.7,\"attention_factor\":1.3333}}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Keys k = keys_open("qwen3moe");
        ModelParams p = accepted(cases[i]), back;
        Error err = {0};
        cr_assert_eq(params_to_metadata(k.m, &p, &err), 0, "%s", err.message);
        cr_assert_eq(metadata_set_u32(k.m, "qwen3moe.vocab_size", p.n_vocab, &err), 0);
        back = from_keys(&k);
        cr_assert_eq(family_qwen3moe.check_params(&back, &err), 0, "%s", err.message);
        cr_assert_eq(memcmp(&p, &back, sizeof p), 0, "%s", cases[i]);
        arena_close(k.arena);
    }
}

Test(model_params, writes_attn_factor_only_when_it_is_not_the_default) {
    Keys k = keys_open("qwen3moe");
    ModelParams p = accepted("{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"attention_factor\":1.0}}");
    float x = 0;
    cr_assert_eq(params_to_metadata(k.m, &p, NULL), 0);
    cr_assert(metadata_f32(k.m, "qwen3moe.rope.scaling.attn_factor", &x));
    cr_assert_eq(x, 0x1.c1a9d6p-1f);
    cr_assert_null(metadata_get(k.m, "qwen3moe.rope.scaling.yarn_attn_factor"), "nobody reads that one");
    arena_close(k.arena);
}

Test(model_params, removes_stale_scaling_keys) {
    static const char *const stale[] = {"x.rope.scaling.original_context_length",
                                        "x.rope.scaling.attn_factor", "x.rope.scaling.yarn_beta_fast",
                                        "x.rope.scale_linear"};
    Keys k = keys_open("x");
    for (size_t i = 0; i < 4; i++) cr_assert_eq(metadata_set_f32(k.m, stale[i], 2, NULL), 0);
    cr_assert_eq(metadata_set_string(k.m, "x.rope.scaling.type", "yarn", NULL), 0);
    RopeParams linear = {.type = ROPE_LINEAR, .theta = 10000, .factor = 2};
    cr_assert_eq(rope_to_metadata(k.m, &linear, NULL), 0);
    for (size_t i = 0; i < 4; i++) cr_assert_null(metadata_get(k.m, stale[i]), "%s", stale[i]);
    cr_assert_str_eq(metadata_string(k.m, "x.rope.scaling.type"), "linear");
    RopeParams none = {.type = ROPE_DEFAULT, .theta = 10000};
    cr_assert_eq(rope_to_metadata(k.m, &none, NULL), 0);
    cr_assert_null(metadata_get(k.m, "x.rope.scaling.type"));
    cr_assert_null(metadata_get(k.m, "x.rope.scaling.factor"));
    arena_close(k.arena);
}

Test(model_params, refuses_rope_that_gguf_cannot_say) {
    static const struct {
        RopeParams rope;
        const char *part;
    } cases[] = {
        {{.type = ROPE_DYNAMIC, .factor = 4}, "bake"},
        {{.type = ROPE_LONGROPE, .factor = 4}, "longrope"},
        {{.type = ROPE_LLAMA3, .factor = 4}, "llama3"},
        {{.type = ROPE_UNKNOWN}, "unknown"},
        {{.type = ROPE_YARN, .factor = 4, .beyond_gguf = true}, "beta_fast"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Keys k = keys_open("qwen3moe");
        Error err = {0};
        cr_assert_eq(rope_to_metadata(k.m, &cases[i].rope, &err), ERR_UNSUPPORTED);
        cr_assert_not_null(strstr(err.message, cases[i].part), "%s", err.message);
        arena_close(k.arena);
    }
}

Test(model_params, reads_keys_with_llama_cpp_defaults) {
    Keys k = keys_open("llama");
    cr_assert_eq(metadata_set_u32(k.m, "llama.attention.head_count", 32, NULL), 0);
    cr_assert_eq(metadata_set_u32(k.m, "llama.embedding_length", 4096, NULL), 0);
    cr_assert_eq(metadata_set_u32(k.m, "llama.context_length", 8192, NULL), 0);
    cr_assert_eq(metadata_set_f32(k.m, "llama.rope.scale_linear", 2, NULL), 0);
    ModelParams p = from_keys(&k);
    cr_assert_str_eq(p.architecture, "llama");
    cr_assert(p.n_kv_heads == 32 && p.head_dim == 128 && p.n_experts == 0 && p.rope.theta == 10000);
    cr_assert(p.rope.type == ROPE_LINEAR && p.rope.factor == 2, "no type means linear; the old key counts");
    cr_assert_eq(metadata_set_string(k.m, "llama.rope.scaling.type", "yarn", NULL), 0);
    p = from_keys(&k);
    cr_assert(p.rope.type == ROPE_YARN && p.rope.original_context == 8192 && p.rope.truncate);
    cr_assert_eq(metadata_set_string(k.m, "llama.rope.scaling.type", "none", NULL), 0);
    cr_assert_eq(from_keys(&k).rope.type, ROPE_DEFAULT);
    cr_assert_eq(metadata_set_string(k.m, "llama.rope.scaling.type", "bent", NULL), 0);
    cr_assert_eq(from_keys(&k).rope.type, ROPE_UNKNOWN);
    arena_close(k.arena);
}

Test(model_params, counts_tokens_as_the_vocabulary) {
    static const char *const tokens[] = {"a", "b", "c"};
    Keys k = keys_open("llama");
    cr_assert_eq(metadata_set_strings(k.m, "tokenizer.ggml.tokens", tokens, 3, NULL), 0);
    cr_assert_eq(from_keys(&k).n_vocab, 3);
    arena_close(k.arena);
}

Test(model_params, refuses_keys_of_a_wrong_type) {
    ModelParams p;
    Error err = {0};
    Keys k = keys_open("llama");
    cr_assert_eq(metadata_set_string(k.m, "llama.block_count", "48", NULL), 0);
    cr_assert_eq(params_from_metadata(&p, k.m, &err), ERR_FORMAT);
    cr_assert_not_null(strstr(err.message, "llama.block_count has the type str"), "%s", err.message);
    arena_close(k.arena);
    k = keys_open("llama");
    cr_assert_eq(metadata_set_u32(k.m, "llama.rope.freq_base", 48, NULL), 0);
    cr_assert_eq(params_from_metadata(&p, k.m, &err), ERR_FORMAT);
    arena_close(k.arena);
    k = keys_open(NULL);
    cr_assert_eq(params_from_metadata(&p, k.m, &err), ERR_FORMAT);
    arena_close(k.arena);
}

Test(model_params, leaves_lists_a_layer_of_other_architectures_alone) {
    uint32_t list[2] = {8, 4};
    Keys k = keys_open("openelm");
    GgufValue v = {.type = GGUF_ARRAY, .array = {.type = GGUF_U32, .count = 2, .raw = list}};
    cr_assert_eq(metadata_set(k.m, "openelm.attention.head_count", v, NULL), 0);
    cr_assert_eq(from_keys(&k).n_heads, 0);
    arena_close(k.arena);
}

Test(model_params, refuses_partial_rotation_of_a_known_family) {
    ModelParams p = accepted("{}");
    Error err = {0};
    Keys k = keys_open("qwen3moe");
    cr_assert_eq(params_to_metadata(k.m, &p, NULL), 0);
    cr_assert_eq(metadata_set_u32(k.m, "qwen3moe.rope.dimension_count", 64, NULL), 0);
    cr_assert_eq(params_from_metadata(&p, k.m, &err), ERR_UNSUPPORTED);
    arena_close(k.arena);
}

Test(model_params, refuses_incomplete_or_absurd_gguf_parameters) {
    ModelParams good = accepted("{}"), p = good;
    Error err = {0};
    cr_assert_eq(family_qwen3moe.check_params(&p, &err), 0);
    p.n_ff_expert = 0;
    cr_assert_eq(family_qwen3moe.check_params(&p, &err), ERR_FORMAT);
    p = good, p.rope.theta = NAN;
    cr_assert_eq(family_qwen3moe.check_params(&p, &err), ERR_FORMAT);
    p = good, p.rms_eps = INFINITY;
    cr_assert_eq(family_qwen3moe.check_params(&p, &err), ERR_FORMAT);
    p = good, p.rope.type = ROPE_YARN, p.rope.factor = NAN, p.rope.original_context = 1;
    cr_assert_eq(family_qwen3moe.check_params(&p, &err), ERR_FORMAT);
    p = good, p.rope.type = ROPE_YARN, p.rope.factor = 4;
    cr_assert_eq(family_qwen3moe.check_params(&p, &err), ERR_FORMAT);
    p = good, p.rope.has_attention_factor = true, p.rope.attention_factor = -1;
    cr_assert_eq(family_qwen3moe.check_params(&p, &err), ERR_FORMAT);
}

/* ---- counts and names ---- */

Test(model_params, counts_parameters_of_qwen3_30b) {
    ModelParams p = accepted("{}");
    cr_assert_eq(params_total(&p), 30532122624u); /* what llama.cpp's converter counts, too */
    /* minus 48 layers x 120 unused experts x 3 x 2048 x 768 */
    cr_assert_eq(params_active(&p), 3353032704u);
    p.n_experts_used = 16;
    cr_assert_eq(params_active(&p), 5164972032u);
    p.tied_embeddings = true;
    cr_assert_eq(params_total(&p), 30532122624u - 151936u * 2048u);
}

Test(model_params, counts_absurd_shapes_without_wrapping) {
    ModelParams p = {
        .n_layers = UINT32_MAX, .n_embd = UINT32_MAX, .n_experts = UINT32_MAX, .n_ff_expert = UINT32_MAX};
    cr_assert_eq(params_total(&p), UINT64_MAX);
}

Test(model_params, names_rope_types) {
    for (RopeType t = ROPE_DEFAULT; t < ROPE_UNKNOWN; t++)
        cr_assert_eq(rope_type_by_name(rope_type_name(t)), t);
    cr_assert_str_eq(rope_type_name(ROPE_YARN), "yarn");
    cr_assert_eq(rope_type_by_name("YARN"), ROPE_UNKNOWN);
    cr_assert_eq(rope_type_by_name(NULL), ROPE_UNKNOWN);
    cr_assert_str_eq(rope_type_name(ROPE_UNKNOWN), "unknown");
}
