/* test_recipes_stack.c -- a recipe as views over the bundled checkpoint: parameters, names, types, and what
 * can only be refused when the base is there. */
#include "core/json.h"
#include "recipes/recipe.h"
#include "support.h"

static const char tiny[] = "recipes/tiny-extreme.json";

static Model *open_tiny(void) {
    Model *m;
    Error err;
    cr_assert_eq(model_open(&m, "tests/data/tiny-qwen3moe", NULL, &err), 0, "%s", err.message);
    return m;
}

static Recipe *load(const char *const *sets, size_t n) {
    Recipe *r;
    Error err;
    cr_assert_eq(recipe_load(&r, tiny, sets, n, NULL, &err), 0, "%s", err.message);
    return r;
}

static void check_variant(const Model *m) {
    cr_assert_eq(m->params.n_experts, 128);
    cr_assert_eq(m->params.n_experts_used, 16);
    cr_assert_eq(m->params.context, 1024);
    cr_assert_eq(m->params.rope.type, ROPE_YARN);
    cr_assert_eq(m->params.rope.factor, 4.0f);
    cr_assert_eq(m->params.rope.original_context, 256);
    cr_assert_eq(m->n_changes, 3);
    cr_assert_str_eq(m->changes[0].key, "num_experts_per_tok");
    cr_assert_str_eq(m->changes[0].old_value, "8");
    cr_assert_str_eq(m->changes[0].new_value, "16");
}

Test(test_recipes_stack, gguf_and_hf) {
    Model *source = open_tiny();
    Recipe *r = load(NULL, 0);
    RecipeStack s;
    Error err;
    cr_assert_eq(recipe_stack_open(&s, r, 0, source, NULL, &err), 0, "%s", err.message);
    cr_assert(s.override && s.names && s.retype && s.top == s.retype);
    cr_assert_eq(s.top->form, FORM_GGUF);
    check_variant(s.top);
    cr_assert_eq(model_find(s.top, "blk.0.ffn_gate_exps.weight")->type, DT_BF16);
    cr_assert_eq(model_find(s.top, "blk.0.attn_norm.weight")->type, DT_F32);
    cr_assert_str_eq(metadata_string(s.top->metadata, "general.name"), "Tiny-Extreme-16-4x");
    recipe_stack_close(&s);
    cr_assert_null(s.top);

    cr_assert_eq(recipe_stack_open(&s, r, 1, source, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(model_find(s.top, "blk.0.ffn_gate_exps.weight")->type, DT_F32);
    recipe_stack_close(&s);

    cr_assert_eq(recipe_stack_open(&s, r, 2, source, NULL, &err), 0, "%s", err.message);
    cr_assert(!s.names && !s.retype && s.top == s.override);
    cr_assert_eq(s.top->form, FORM_HF);
    check_variant(s.top);
    recipe_stack_close(&s);

    cr_assert_eq(recipe_override_open(&s, r, source, NULL, &err), 0, "%s", err.message);
    cr_assert(!s.names && !s.retype && s.top == s.override);
    check_variant(s.top);
    recipe_stack_close(&s);
    recipe_stack_close(&s); /* harmless twice */
    recipe_close(r);
    model_close(source);
}

static void refused(const Model *source, const char *const *sets, size_t n, int code, const char *message) {
    Recipe *r = load(sets, n);
    RecipeStack s;
    Error err;
    cr_assert_eq(recipe_stack_open(&s, r, 0, source, NULL, &err), code, "%s", err.message);
    cr_assert(strncmp(err.message, message, strlen(message)) == 0, "%s", err.message);
    cr_assert(!s.top && !s.override && !s.names && !s.retype);
    recipe_close(r);
}

Test(test_recipes_stack, what_only_the_base_can_tell) {
    Model *source = open_tiny();
    const char *many = "overrides.num_experts_per_tok=200";
    refused(source, &many, 1, ERR_RECIPE,
            "recipes/tiny-extreme.json: overrides.num_experts_per_tok: 200 of 128 experts");
    const char *far = "overrides.max_position_embeddings=1025";
    refused(source, &far, 1, ERR_RECIPE,
            "recipes/tiny-extreme.json: overrides.max_position_embeddings: 1025");
    const char *unnamed = "overrides.rope_scaling={\"rope_type\":\"yarn\",\"factor\":4}";
    refused(source, &unnamed, 1, ERR_RECIPE,
            "recipes/tiny-extreme.json: overrides.rope_scaling: yarn must name ");
    const char *dynamic[] = {"overrides.rope_scaling={\"rope_type\":\"dynamic\",\"factor\":4}"};
    refused(source, dynamic, 1, ERR_RECIPE, "recipes/tiny-extreme.json: overrides.rope_scaling: \"dynamic\"");
    const char *unbaked[] = {dynamic[0], "overrides.max_position_embeddings=256"};
    refused(source, unbaked, 2, ERR_UNSUPPORTED, "recipes/tiny-extreme.json: outputs[0]: ");
    model_close(source);
}

Test(test_recipes_stack, dynamic_when_baked_or_accepted) {
    Model *source = open_tiny();
    const char *sets[] = {"overrides.rope_scaling={\"rope_type\":\"dynamic\",\"factor\":4}",
                          "overrides.max_position_embeddings=256", "outputs[0].gguf_dynamic.bake=1024"};
    Recipe *r = load(sets, 3);
    RecipeStack s;
    Error err;
    cr_assert_eq(recipe_stack_open(&s, r, 0, source, NULL, &err), 0, "%s", err.message);
    recipe_stack_close(&s);
    recipe_close(r);
    const char *inert[] = {sets[0], "accept[0]=inert-dynamic"};
    r = load(inert, 2);
    cr_assert_eq(recipe_stack_open(&s, r, 2, source, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(s.top->params.context, 1024);
    recipe_stack_close(&s);
    recipe_close(r);
    model_close(source);
}
