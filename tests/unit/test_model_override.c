/* The override view: every rule of a recipe's "overrides", on checkpoints and on GGUF models. */
#include "core/json.h"
#include "fixture.h"
#include "model/checkpoint.h"
#include "model/family.h"
#include "model/views.h"

/* ---- bases ---- */

/* A base of parameters alone: what override reads of a checkpoint (context 40960, 128 experts with 8 used).
 */
typedef struct Base {
    Model model;
    Metadata *keys;
    cJSON *config;
} Base;

static Base base_open(void) {
    Base b = {.model = {.form = FORM_HF, .path = "base", .family = &family_qwen3moe}};
    ModelParams *p = &b.model.params;
    *p = (ModelParams){.architecture = "qwen3moe", .n_experts = 128, .n_experts_used = 8, .context = 40960};
    p->rope = (RopeParams){.theta = 1e6f};
    cr_assert_eq(arena_open(&b.model.arena, NULL, NULL), 0);
    b.config =
        cJSON_Parse("{\"num_experts_per_tok\":8,\"max_position_embeddings\":40960,\"rope_scaling\":null,"
                    "\"rope_theta\":1000000.0}");
    cr_assert_not_null(b.config);
    b.model.config = b.config;
    return b;
}

/* As a GGUF model of some architecture. */
static Base gguf_open_base(const char *architecture) {
    Base b = base_open();
    char key[100];
    b.model.form = FORM_GGUF;
    b.model.family = family_by_gguf(architecture);
    b.model.config = NULL;
    cr_assert_eq(metadata_open(&b.keys, b.model.arena, NULL), 0);
    cr_assert_eq(metadata_set_string(b.keys, "general.architecture", architecture, NULL), 0);
    snprintf(key, sizeof key, "%s.context_length", architecture);
    cr_assert_eq(metadata_set_u32(b.keys, key, 40960, NULL), 0);
    snprintf(key, sizeof key, "%s.expert_count", architecture);
    cr_assert_eq(metadata_set_u32(b.keys, key, 128, NULL), 0);
    snprintf(key, sizeof key, "%s.expert_used_count", architecture);
    cr_assert_eq(metadata_set_u32(b.keys, key, 8, NULL), 0);
    snprintf(key, sizeof key, "%s.rope.freq_base", architecture);
    cr_assert_eq(metadata_set_f32(b.keys, key, 1e6f, NULL), 0);
    cr_assert_eq(params_from_metadata(&b.model.params, b.keys, NULL), 0);
    b.model.metadata = b.keys;
    return b;
}

static void base_close(Base *b) {
    cJSON_Delete(b->config);
    arena_close(b->model.arena);
}

typedef struct Opened {
    cJSON *overrides;
    Model *view;
} Opened;

static int try(Opened *o, const Base *b, const char *overrides, bool inert, Error *err) {
    o->overrides = cJSON_Parse(overrides);
    cr_assert_not_null(o->overrides, "%s", overrides);
    OverrideOptions options = {.accept_inert_dynamic = inert};
    return override_open(&o->view, &b->model, o->overrides, options, NULL, err);
}

static void opened_close(Opened *o) {
    model_close(o->view);
    cJSON_Delete(o->overrides);
}

static Opened accepted(const Base *b, const char *overrides) {
    Opened o;
    Error err = {0};
    cr_assert_eq(try(&o, b, overrides, false, &err), 0, "%s: %s", overrides, err.message);
    return o;
}

static void refused_by(Base b, const char *overrides, ErrorCode code, const char *part) {
    Opened o;
    Error err = {0};
    cr_assert_eq(try(&o, &b, overrides, false, &err), (int)code, "%s: %s", overrides, err.message);
    cr_assert_not_null(strstr(err.message, part), "%s: %s", overrides, err.message);
    cr_assert_null(o.view);
    opened_close(&o);
    base_close(&b);
}

static void refused(const char *overrides, const char *part) {
    refused_by(base_open(), overrides, ERR_RECIPE, part);
}

#define YARN(fields) "{\"rope_scaling\":{\"rope_type\":\"yarn\"," fields "}}"
static const char extreme[] =
    "{\"num_experts_per_tok\":16,\"max_position_embeddings\":131072,\"rope_scaling\":"
    "{\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":32768}}";

/* ---- values ---- */

Test(model_override, changes_parameters_and_nothing_else) {
    Base b = base_open();
    Opened o = accepted(&b, extreme);
    cr_assert_eq(o.view->params.n_experts_used, 16);
    cr_assert_eq(o.view->params.context, 131072);
    const RopeParams *r = &o.view->params.rope;
    cr_assert(r->type == ROPE_YARN && r->factor == 4 && r->original_context == 32768 && r->theta == 1e6f);
    cr_assert_eq(b.model.params.n_experts_used, 8, "the base stays");
    cr_assert_eq(o.view->overrides, o.overrides);
    cr_assert_eq(o.view->tensors, b.model.tensors);
    opened_close(&o);
    base_close(&b);
}

Test(model_override, takes_nothing_at_all) {
    Base b = base_open();
    Opened o = accepted(&b, "{}");
    cr_assert_eq(o.view->n_changes, 0);
    cr_assert_eq(memcmp(&o.view->params, &b.model.params, sizeof(ModelParams)), 0);
    opened_close(&o);
    base_close(&b);
}

Test(model_override, takes_a_theta) {
    Base b = base_open();
    Opened o = accepted(&b, "{\"rope_theta\":5000000}");
    cr_assert_eq(o.view->params.rope.theta, 5e6f);
    opened_close(&o);
    base_close(&b);
}

Test(model_override, accepts_the_limits) {
    static const char *const cases[] = {
        "{\"num_experts_per_tok\":1}",
        "{\"num_experts_per_tok\":128}",
        "{\"max_position_embeddings\":40960}",
        "{\"max_position_embeddings\":1}",
        "{\"max_position_embeddings\":135168,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":3.3}}",
        "{\"max_position_embeddings\":40960,\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4}}",
        "{\"rope_scaling\":null}",
        "{\"rope_scaling\":{\"rope_type\":\"default\"}}"};
    Base b = base_open();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Opened o = accepted(&b, cases[i]);
        opened_close(&o);
    }
    base_close(&b);
}

Test(model_override, lists_changes_as_config_json_spells_them) {
    static const char *const keys[] = {"num_experts_per_tok", "max_position_embeddings", "rope_scaling"};
    static const char *const olds[] = {"8", "40960", "null"};
    static const char *const news[] = {
        "16", "131072", "{\"factor\":4,\"original_max_position_embeddings\":32768,\"rope_type\":\"yarn\"}"};
    Base b = base_open();
    Opened o = accepted(&b, extreme);
    cr_assert_eq(o.view->n_changes, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_str_eq(o.view->changes[i].key, keys[i]);
        cr_assert_str_eq(o.view->changes[i].old_value, olds[i]);
        cr_assert_str_eq(o.view->changes[i].new_value, news[i]);
    }
    opened_close(&o);
    o = accepted(&b, "{\"num_experts_per_tok\":8,\"rope_theta\":1000000}");
    cr_assert_eq(o.view->n_changes, 0, "the same value is no change");
    opened_close(&o);
    base_close(&b);
}

Test(model_override, tells_the_old_scaling_in_any_spelling) {
    Base b = base_open();
    cJSON_Delete(b.config);
    b.model.config = b.config =
        cJSON_Parse("{\"rope_parameters\":{\"rope_theta\":1000000.0,\"rope_type\":\"linear\",\"factor\":2}}");
    b.model.params.rope.type = ROPE_LINEAR, b.model.params.rope.factor = 2;
    Opened o = accepted(&b, "{\"rope_scaling\":null}");
    cr_assert_str_eq(o.view->changes[0].old_value, "{\"factor\":2,\"rope_type\":\"linear\"}");
    cr_assert_str_eq(o.view->changes[0].new_value, "null");
    opened_close(&o);
    base_close(&b);
}

/* ---- refusals ---- */

Test(model_override, refuses_unknown_keys_with_the_nearest) {
    refused("{\"num_experts_per_token\":16}", "did you mean \"num_experts_per_tok\"?");
    refused("{\"zzz\":16}", "known: num_experts_per_tok, max_position_embeddings, rope_scaling, rope_theta");
    refused(YARN("\"factr\":4"), "did you mean \"factor\"?");
    refused("{\"rope_scaling\":{\"rope_type\":\"yarm\",\"factor\":4}}", "did you mean \"yarn\"?");
    refused("{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"rope_theta\":1}}", "rope_theta");
    refused("[1]", "expected an object");
}

Test(model_override, refuses_expert_counts_out_of_range) {
    refused("{\"num_experts_per_tok\":200}", "overrides.num_experts_per_tok: 200 of 128 experts");
    refused("{\"num_experts_per_tok\":129}", "129 of 128");
    refused("{\"num_experts_per_tok\":0}", "1 .. 128");
    refused("{\"num_experts_per_tok\":-1}", "1 .. 128");
    refused("{\"num_experts_per_tok\":8.5}", "1 .. 128");
    refused("{\"num_experts_per_tok\":\"16\"}", "1 .. 128");
    refused("{\"num_experts_per_tok\":null}", "1 .. 128");
    Base dense = base_open();
    dense.model.params.n_experts = 0;
    refused_by(dense, "{\"num_experts_per_tok\":2}", ERR_RECIPE, "no experts");
}

Test(model_override, refuses_wrong_numbers) {
    refused("{\"max_position_embeddings\":0}", "overrides.max_position_embeddings");
    refused("{\"max_position_embeddings\":1e10}", "overrides.max_position_embeddings");
    refused("{\"rope_theta\":0}", "overrides.rope_theta");
    refused("{\"rope_theta\":-5}", "overrides.rope_theta");
    refused("{\"rope_theta\":1e300}", "overrides.rope_theta");
    refused("{\"rope_theta\":null}", "overrides.rope_theta");
}

Test(model_override, refuses_wrong_scaling) {
    refused("{\"rope_scaling\":4}", "overrides.rope_scaling: expected an object");
    refused("{\"rope_scaling\":{\"factor\":4}}", "rope_type is missing");
    refused("{\"rope_scaling\":{\"rope_type\":4}}", "overrides.rope_scaling.rope_type: expected a string");
    refused(YARN("\"original_max_position_embeddings\":32768"),
            "overrides.rope_scaling.rope_type \"yarn\" needs a factor");
    refused(YARN("\"original_max_position_embeddings\":32768,\"factor\":0"),
            "overrides.rope_scaling.factor is 0");
    refused(YARN("\"original_max_position_embeddings\":32768,\"factor\":-4"),
            "overrides.rope_scaling.factor is -4");
    refused(YARN("\"original_max_position_embeddings\":32768,\"factor\":0.99"),
            "overrides.rope_scaling.factor is 0.99");
    refused(YARN("\"original_max_position_embeddings\":32768,\"factor\":\"4\""),
            "overrides.rope_scaling.factor is a string");
    refused(YARN("\"original_max_position_embeddings\":32768,\"factor\":4,\"attention_factor\":-1"),
            "attention_factor");
}

Test(model_override, wants_the_original_context_of_yarn_named) {
    refused(YARN("\"factor\":4"), "add \"original_max_position_embeddings\": 40960");
}

Test(model_override, refuses_a_context_beyond_the_scaling) {
    refused("{\"max_position_embeddings\":40961}", "40961 is above 1 x 40960");
    refused("{\"max_position_embeddings\":131073,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,"
            "\"original_max_position_embeddings\":32768}}",
            "131073 is above 4 x 32768 (factor x original context) = 131072");
    refused("{\"max_position_embeddings\":81921,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2}}",
            "2 x 40960");
    refused(YARN("\"factor\":1,\"original_max_position_embeddings\":32768"), "40960 is above 1 x 32768");
}

Test(model_override, knows_dynamic_to_be_inert_below_its_context) {
    static const char inert[] =
        "{\"max_position_embeddings\":131072,\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4}}";
    refused(inert, "inert-dynamic");
    Base b = base_open();
    Opened o;
    Error err = {0};
    cr_assert_eq(try(&o, &b, inert, true, &err), 0, "%s", err.message);
    cr_assert(o.view->params.rope.type == ROPE_DYNAMIC && o.view->params.context == 131072);
    opened_close(&o);
    cr_assert_eq(
        try(&o, &b,
            "{\"max_position_embeddings\":163841,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4}}", true,
            &err),
        ERR_RECIPE, "accepted as inert, but not beyond its reach");
    opened_close(&o);
    base_close(&b);
}

static Base yarn_base(void) {
    Base b = base_open();
    b.model.params.context = 131072;
    b.model.params.rope =
        (RopeParams){.type = ROPE_YARN, .theta = 1e6f, .factor = 4, .original_context = 32768};
    cJSON_DeleteItemFromObject(b.config, "rope_scaling");
    cJSON_AddItemToObject(
        b.config, "rope_scaling",
        cJSON_Parse("{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32768}"));
    return b;
}

Test(model_override, judges_a_scaled_base_by_its_native_context) {
    refused_by(yarn_base(), "{\"rope_scaling\":null}", ERR_RECIPE, "131072 is above 1 x 32768");
    refused_by(yarn_base(), "{\"max_position_embeddings\":131073}", ERR_RECIPE, "4 x 32768");
    Base b = yarn_base();
    Opened o = accepted(&b, "{\"rope_scaling\":null,\"max_position_embeddings\":32768}");
    cr_assert_eq(o.view->params.rope.type, ROPE_DEFAULT);
    opened_close(&o);
    o = accepted(&b, "{\"num_experts_per_tok\":4}");
    cr_assert_eq(o.view->params.rope.type, ROPE_YARN);
    opened_close(&o);
    base_close(&b);
}

Test(model_override, refuses_to_move_an_original_context_that_was_guessed) {
    Base b = yarn_base();
    cJSON_DeleteItemFromObject(cJSON_GetObjectItem(b.config, "rope_scaling"),
                               "original_max_position_embeddings");
    refused_by(b, "{\"max_position_embeddings\":65536}", ERR_RECIPE,
               "does not name original_max_position_embeddings");
}

Test(model_override, stands_on_no_other_override) {
    Base b = base_open();
    Opened o = accepted(&b, extreme);
    Model *again;
    Error err = {0};
    cr_assert_eq(override_open(&again, o.view, o.overrides, (OverrideOptions){0}, NULL, &err),
                 ERR_UNSUPPORTED);
    opened_close(&o);
    base_close(&b);
}

/* ---- GGUF ---- */

Test(model_override, edits_keys_of_any_architecture) {
    static const char *const architectures[] = {"qwen3moe", "mixtral-like"};
    for (size_t i = 0; i < 2; i++) {
        Base b = gguf_open_base(architectures[i]);
        size_t before = metadata_count(b.keys);
        Opened o = accepted(&b, extreme);
        const Metadata *m = o.view->metadata;
        char key[100];
        uint32_t u = 0;
        float f = 0;
        cr_assert(metadata_u32(m, metadata_arch_key(m, "expert_used_count", key, sizeof key), &u) && u == 16);
        cr_assert(metadata_u32(m, metadata_arch_key(m, "context_length", key, sizeof key), &u) &&
                  u == 131072);
        cr_assert_str_eq(metadata_string(m, metadata_arch_key(m, "rope.scaling.type", key, sizeof key)),
                         "yarn");
        cr_assert(metadata_f32(m, metadata_arch_key(m, "rope.scaling.factor", key, sizeof key), &f) &&
                  f == 4);
        metadata_arch_key(m, "rope.scaling.original_context_length", key, sizeof key);
        cr_assert(metadata_u32(m, key, &u) && u == 32768);
        cr_assert(metadata_f32(m, metadata_arch_key(m, "rope.freq_base", key, sizeof key), &f) && f == 1e6f);
        cr_assert_eq(metadata_count(m), before + 3);
        cr_assert_eq(metadata_count(b.keys), before, "the base's keys stay");
        cr_assert_str_eq(o.view->changes[0].old_value, "8");
        cr_assert_str_eq(o.view->changes[2].old_value, "null");
        opened_close(&o);
        base_close(&b);
    }
}

Test(model_override, leaves_other_gguf_keys_alone) {
    Base b = gguf_open_base("llama");
    cr_assert_eq(metadata_set_string(b.keys, "llama.rope.scaling.type", "longrope", NULL), 0);
    cr_assert_eq(metadata_set_f32(b.keys, "llama.rope.scaling.attn_factor", 1.19f, NULL), 0);
    cr_assert_eq(params_from_metadata(&b.model.params, b.keys, NULL), 0);
    Opened o = accepted(&b, "{\"num_experts_per_tok\":4,\"max_position_embeddings\":1024,\"rope_theta\":7}");
    float f = 0;
    cr_assert_str_eq(metadata_string(o.view->metadata, "llama.rope.scaling.type"), "longrope");
    cr_assert(metadata_f32(o.view->metadata, "llama.rope.scaling.attn_factor", &f) && f == 1.19f);
    cr_assert(metadata_f32(o.view->metadata, "llama.rope.freq_base", &f) && f == 7);
    cr_assert_eq(metadata_count(o.view->metadata), metadata_count(b.keys));
    opened_close(&o);
    base_close(&b);
}

Test(model_override, pins_an_original_context_that_a_gguf_leaves_out) {
    Base b = gguf_open_base("llama");
    uint32_t u = 0;
    cr_assert_eq(metadata_set_string(b.keys, "llama.rope.scaling.type", "yarn", NULL), 0);
    cr_assert_eq(metadata_set_f32(b.keys, "llama.rope.scaling.factor", 4, NULL), 0);
    cr_assert_eq(params_from_metadata(&b.model.params, b.keys, NULL), 0);
    Opened o = accepted(&b, "{\"max_position_embeddings\":81920}");
    cr_assert(metadata_u32(o.view->metadata, "llama.rope.scaling.original_context_length", &u) && u == 40960);
    cr_assert_eq(o.view->n_changes, 1);
    opened_close(&o);
    base_close(&b);
}

Test(model_override, tells_the_old_scaling_of_a_gguf) {
    Base b = gguf_open_base("llama");
    cr_assert_eq(metadata_set_string(b.keys, "llama.rope.scaling.type", "linear", NULL), 0);
    cr_assert_eq(metadata_set_f32(b.keys, "llama.rope.scaling.factor", 2, NULL), 0);
    cr_assert_eq(params_from_metadata(&b.model.params, b.keys, NULL), 0);
    Opened o = accepted(&b, "{\"rope_scaling\":null}");
    cr_assert_str_eq(o.view->changes[0].old_value, "{\"factor\":2,\"rope_type\":\"linear\"}");
    cr_assert_null(metadata_get(o.view->metadata, "llama.rope.scaling.type"));
    opened_close(&o);
    base_close(&b);
}

Test(model_override, refuses_what_gguf_cannot_say) {
    refused_by(gguf_open_base("qwen3moe"), "{\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4}}",
               ERR_UNSUPPORTED, "dynamic");
}

/* ---- a real checkpoint, and one of an unknown family ---- */

Test(model_override, works_on_the_bundled_checkpoint) {
    Model *base, *view;
    cJSON *overrides = cJSON_Parse("{\"num_experts_per_tok\":16}");
    Error err = {0};
    cr_assert_eq(checkpoint_open(&base, FIXTURE_TINY, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(override_open(&view, base, overrides, (OverrideOptions){0}, NULL, &err), 0, "%s",
                 err.message);
    cr_assert_eq(view->params.n_experts_used, 16);
    cr_assert_eq(view->n_tensors, base->n_tensors);
    cr_assert_str_eq(view->changes[0].old_value, "8");
    model_close(view);
    model_close(base);
    cJSON_Delete(overrides);
}

Test(model_override, judges_an_unknown_checkpoint_by_its_config) {
    Base b = base_open();
    b.model.family = NULL;
    b.model.params = (ModelParams){.architecture = "MixtralForCausalLM"};
    cJSON_AddItemToObject(b.config, "num_local_experts", cJSON_CreateNumber(8));
    cJSON_ReplaceItemInObject(b.config, "num_experts_per_tok", cJSON_CreateNumber(2));
    Opened o = accepted(&b, "{\"num_experts_per_tok\":3,\"max_position_embeddings\":40960}");
    cr_assert_eq(o.view->params.n_experts_used, 3);
    opened_close(&o);
    refused_by(b, "{\"num_experts_per_tok\":9}", ERR_RECIPE, "9 of 8 experts");
}
