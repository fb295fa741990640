/* Adapters that are refused, and why: configurations, keys, shapes, files, numbers. */
#include "lora_fixture.h"
#include "model/gguf.h"
#include "model/views.h"
#include "support.h"
#include <math.h>

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

Test(lora_refused, configurations_that_are_refused) {
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
Test(lora_refused, expressions_that_can_not_be_read) {
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
Test(lora_refused, keys_that_are_refused) {
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
Test(lora_refused, saved_modules_that_are_not_there) {
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
Test(lora_refused, biases) {
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

Test(lora_refused, rows_without_elements) {
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

Test(lora_refused, pairs_that_do_not_fit) {
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

Test(lora_refused, tied_embeddings) {
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
Test(lora_refused, beside_a_base_of_too_many_experts) {
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

Test(lora_refused, files_that_are_not_there_or_cut) {
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

Test(lora_refused, not_finite) {
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

Test(lora_refused, without_memory) {
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

Test(lora_refused, names) {
    LoraRounding r;
    LoraLayout l;
    cr_expect(lora_rounding_by_name(&r, "peft") && r == LORA_PEFT);
    cr_expect_not(lora_rounding_by_name(&r, "twice"));
    cr_expect(lora_layout_by_name(&l, "unsloth-legacy") && l == LORA_LAYOUT_UNSLOTH);
    cr_expect_not(lora_layout_by_name(&l, ""));
    cr_expect_str_eq(lora_layout_name(LORA_LAYOUT_PEFT_0_18), "peft-0.18");
}
