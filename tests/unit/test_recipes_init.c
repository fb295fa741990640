/* test_recipes_init.c -- the table of releases, and recipes made from it. */
#include "recipes/init.h"
#include "recipes/recipe.h"
#include "support.h"

static cJSON *table;

static void open_table(void) {
    Error err;
    cr_assert_eq(releases_load(&table, &err), 0, "%s", err.message);
}

static void close_table(void) {
    cJSON_Delete(table);
}

TestSuite(releases, .init = open_table, .fini = close_table);
TestSuite(init, .init = open_table, .fini = close_table);

Test(releases, every_entry_is_sound) {
    cr_assert_gt(releases_count(table), 40u);
    for (size_t i = 0; i < releases_count(table); i++) {
        Release r, again;
        release_at(table, i, &r);
        const ModelParams *p = &r.params;
        cr_assert(r.repo && strncmp(r.repo, "Qwen/", 5) == 0);
        cr_expect_eq(release_find(table, r.repo + 5, &again, NULL), 0);
        cr_expect_str_eq(again.repo, r.repo); /* no name is there twice */
        cr_expect(p->n_layers && p->n_heads && p->n_kv_heads && p->head_dim, "%s", r.repo);
        cr_expect_eq(p->n_heads % p->n_kv_heads, 0, "%s", r.repo);
        cr_expect((p->n_experts == 0) == (p->n_experts_used == 0), "%s", r.repo);
        cr_expect(p->n_experts_used <= p->n_experts, "%s", r.repo);
        cr_expect(!p->context || !r.trained || r.trained <= p->context, "%s", r.repo);
        cr_expect(!r.claimed || r.claimed > r.trained, "%s", r.repo);
        cr_expect(!(r.native_long && r.claimed), "%s", r.repo);
    }
}

/* Figures computed by hand elsewhere: 30.53 billion in all, 3.35 with 8 experts, 5.16 with 16. */
Test(releases, parameters_follow_from_shapes) {
    Release r;
    cr_assert_eq(release_find(table, "qwen3-30b-a3b", &r, NULL), 0);
    cr_expect_eq(params_total(&r.params) / 10000000, 3053u);
    cr_expect_eq(params_active(&r.params) / 10000000, 335u);
    r.params.n_experts_used = 16;
    cr_expect_eq(params_active(&r.params) / 10000000, 516u);
}

Test(releases, a_checkpoint_is_recognised_by_its_figures) {
    Release r, found;
    cr_assert_eq(release_find(table, "Qwen3-30B-A3B-Instruct-2507", &r, NULL), 0);
    cr_assert(release_of(table, &r.params, &found));
    cr_expect_str_eq(found.repo, r.repo);
    r.params.rope.theta = 1;
    cr_expect(!release_of(table, &r.params, &found));
}

/* Every release that can have a recipe: the recipe loads, and what it says is what was asked for. */
Test(init, recipes_load) {
    char directory[] = "/tmp/recast-init.XXXXXX", path[100];
    Error err;
    cr_assert(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/r.json", directory);
    for (size_t i = 0; i < releases_count(table); i++) {
        Release r;
        Buffer text, notes;
        Recipe *recipe;
        InitOptions o = {.context = 131072};
        release_at(table, i, &r);
        if (r.params.n_experts) o.experts = r.params.n_experts_used * 2;
        buffer_init(&text, NULL);
        buffer_init(&notes, NULL);
        int code = init_recipe(&text, &notes, &r, &o, &err);
        cr_expect_eq(code, r.hybrid ? ERR_UNSUPPORTED : 0, "%s: %s", r.repo, err.message);
        if (!code) {
            FILE *f = fopen(path, "w");
            fputs(buffer_string(&text), f);
            fclose(f);
            cr_assert_eq(recipe_load(&recipe, path, NULL, 0, NULL, &err), 0, "%s: %s\n%s", r.repo,
                         err.message, buffer_string(&text));
            const cJSON *rope = cJSON_GetObjectItem(recipe->overrides, "rope_scaling");
            cr_expect_eq(r.native_long || r.params.context >= 131072, rope == NULL, "%s", r.repo);
            cr_expect(strlen(buffer_string(&notes)) > 20, "%s", r.repo);
            recipe_close(recipe);
        }
        buffer_free(&text);
        buffer_free(&notes);
    }
    unlink(path);
    cr_expect_eq(rmdir(directory), 0);
}

Test(init, what_can_not_work) {
    Release r;
    Buffer b;
    Error err;
    buffer_init(&b, NULL);
    cr_assert_eq(release_find(table, "Qwen3-8B", &r, NULL), 0);
    cr_expect_eq(init_recipe(&b, &b, &r, &(InitOptions){.experts = 16}, &err), ERR_RECIPE);
    cr_expect(strstr(err.message, "dense"));
    cr_assert_eq(release_find(table, "Qwen3-30B-A3B", &r, NULL), 0);
    cr_expect_eq(init_recipe(&b, &b, &r, &(InitOptions){.experts = 129}, &err), ERR_RECIPE);
    cr_expect_eq(init_recipe(&b, &b, &r, &(InitOptions){.context = 131072, .factor = 2}, &err), ERR_RECIPE);
    cr_expect_eq(init_recipe(&b, &b, &r, &(InitOptions){.context = 131072, .rope = "default"}, &err),
                 ERR_RECIPE);
    cr_expect_eq(init_recipe(&b, &b, &r, &(InitOptions){.rope = "llama3"}, &err), ERR_USAGE);
    buffer_free(&b);
}
