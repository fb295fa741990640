/* test_recipes_parse.c -- loading recipes: the shipped ones, --set, and one rejected recipe for every mistake
 * (tests/golden/recipes-reject: NAME.json and NAME.expected, which holds the error's name and its message).
 */
#include "core/json.h"
#include "recipes/recipe.h"
#include "support.h"

static Recipe *load(const char *path, const char *const *sets, size_t n) {
    Recipe *r;
    Error err;
    int code = recipe_load(&r, path, sets, n, NULL, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    return r;
}

static int load_error(const char *path, const char *set, Error *err) {
    Recipe *r;
    int code = recipe_load(&r, path, &set, set ? 1 : 0, NULL, err);
    cr_assert_neq(code, 0, "%s was loaded", set ? set : path);
    cr_assert_null(r);
    cr_assert_eq(code, (int)err->code);
    return code;
}

static const char tiny[] = "recipes/tiny-extreme.json";

Test(test_recipes_parse, tiny) {
    Recipe *r = load(tiny, NULL, 0);
    cr_assert_str_eq(r->path, tiny);
    cr_assert_str_eq(r->directory, "recipes");
    cr_assert_str_eq(r->name, "Tiny-Extreme-16-4x");
    cr_assert_str_eq(r->base_path, "recipes/../tests/data/tiny-qwen3moe");
    cr_assert_null(r->repo);
    cr_assert_str_eq(r->revision, "main");
    cr_assert_null(r->commit);
    cr_assert_null(r->sha256);
    cr_assert_null(r->weights_sha256);
    cr_assert_eq(r->n_outputs, 3);
    cr_assert_eq(r->outputs[0].format, OUTPUT_GGUF);
    cr_assert_eq(r->outputs[0].types.preset->type, DT_BF16);
    cr_assert_str_eq(r->outputs[0].type_name, "bf16");
    cr_assert_str_eq(recipe_output_name(r, 0), "Tiny-Extreme-16-4x-BF16.gguf");
    cr_assert_eq(r->outputs[1].types.preset->type, DT_F32);
    cr_assert_str_eq(recipe_output_name(r, 1), "Tiny-Extreme-16-4x-F32.gguf");
    cr_assert_eq(r->outputs[2].format, OUTPUT_HF);
    cr_assert_str_eq(r->outputs[2].type_name, "");
    cr_assert_str_eq(recipe_output_name(r, 2), "hf");
    cr_assert_eq(r->n_prompts, 3);
    cr_assert_str_eq(r->prompts[0], "And the LORD said unto Moses,");
    cr_assert_eq(r->n_tokens, 48);
    cr_assert_str_eq(r->license, "apache-2.0");
    cr_assert_null(r->author);
    cr_assert_eq(r->n_tags, 2);
    cr_assert_str_eq(r->tags[0], "extreme");
    cr_assert(!r->edited && !r->accept_inert_dynamic);
    recipe_close(r);
    recipe_close(NULL);
}

typedef struct Shipped {
    const char *file, *repo;
    double experts, context; /* 0: not overridden */
} Shipped;

Test(test_recipes_parse, shipped) {
    static const Shipped shipped[] = {
        {"qwen3-30b-a4.5b-12-extreme-128k.json", "Qwen/Qwen3-30B-A3B", 12, 131072},
        {"qwen3-30b-a6b-16-extreme-128k.json", "Qwen/Qwen3-30B-A3B", 16, 131072},
        {"qwen3-30b-a6b-16-instruct-2507.json", "Qwen/Qwen3-30B-A3B-Instruct-2507", 16, 0},
        {"qwen3-30b-a6b-16-thinking-2507.json", "Qwen/Qwen3-30B-A3B-Thinking-2507", 16, 0},
        {"qwen3-30b-a7.5b-24-extreme-128k.json", "Qwen/Qwen3-30B-A3B", 24, 131072},
        {"tiny-extreme.json", NULL, 16, 1024},
    };
    size_t n = sizeof shipped / sizeof *shipped;
    cr_assert_eq(count_entries("recipes") > n, true);
    for (size_t i = 0; i < n; i++) {
        char path[256];
        snprintf(path, sizeof path, "recipes/%s", shipped[i].file);
        Recipe *r = load(path, NULL, 0);
        const cJSON *context = json_get(r->overrides, "max_position_embeddings");
        const cJSON *rope = json_get(r->overrides, "rope_scaling");
        cr_assert_eq(json_get(r->overrides, "num_experts_per_tok")->valuedouble, shipped[i].experts);
        cr_assert_eq(context ? context->valuedouble : 0, shipped[i].context);
        cr_assert_eq(rope != NULL, shipped[i].context > 0);
        if (shipped[i].repo) {
            cr_assert_str_eq(r->repo, shipped[i].repo);
            cr_assert_null(r->base_path);
            cr_assert(!rope || json_get(rope, "original_max_position_embeddings")->valuedouble == 32768);
        }
        cr_assert_str_eq(json_get(r->json, "$schema")->valuestring, "recipe.schema.json");
        recipe_close(r);
    }
}

/* Every file in the folder is one of the six recipes above, the schema or the table of releases: a new recipe
 * must be tested too. */
Test(test_recipes_parse, no_recipe_is_forgotten) {
    DIR *dir = opendir("recipes");
    cr_assert_not_null(dir);
    size_t json = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        json += dot && strcmp(dot, ".json") == 0;
    }
    closedir(dir);
    cr_assert_eq(json, 8);
}

Test(test_recipes_parse, defaults) {
    TempDir t;
    temp_dir_open(&t);
    const char *path = temp_path(&t, "r.json");
    file_put(path, "{\"recipe\":1,\"name\":\"n\",\"base\":{\"path\":\"/abs/dir\"},"
                   "\"outputs\":[{\"format\":\"gguf\",\"type\":\"f16\",\"gguf_dynamic\":{\"bake\":4096}}],"
                   "\"accept\":[\"inert-dynamic\"]}");
    Recipe *r = load(path, NULL, 0);
    cr_assert_str_eq(r->base_path, "/abs/dir");
    cr_assert(cJSON_IsObject(r->overrides));
    cr_assert_null(r->overrides->child);
    cr_assert_eq(r->n_prompts, 1);
    cr_assert_str_eq(r->prompts[0], "In the beginning");
    cr_assert_eq(r->n_tokens, 64);
    cr_assert_eq(r->outputs[0].bake_dynamic, 4096);
    cr_assert_eq(r->outputs[0].types.preset->type, DT_F16);
    cr_assert(r->accept_inert_dynamic);
    cr_assert_null(r->license);
    cr_assert_eq(r->n_tags, 0);
    recipe_close(r);
    temp_dir_close(&t);
}

/* Beside plain prompts, conversations. */
Test(test_recipes_parse, conversations) {
    TempDir t;
    temp_dir_open(&t);
    const char *path = temp_path(&t, "r.json");
    file_put(path,
             "{\"recipe\":1,\"name\":\"n\",\"base\":{\"path\":\"x\"},\"outputs\":[{\"format\":\"hf\"}],"
             "\"validate\":{\"prompts\":[\"plain\",{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
             "{\"content\":\"u\",\"role\":\"user\"}]}]}}");
    const char *sets[] = {"validate.prompts[2]={\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"}]}"};
    Recipe *r = load(path, sets, 1);
    cr_assert_eq(r->n_prompts, 3);
    cr_assert_str_eq(r->prompts[0], "plain");
    cr_assert_eq(r->chats[0].n_messages, 0);
    cr_assert_null(r->prompts[1]);
    cr_assert_eq(r->chats[1].n_messages, 2);
    cr_assert_str_eq(r->chats[1].messages[0].role, "system");
    cr_assert_str_eq(r->chats[1].messages[1].role, "user");
    cr_assert_str_eq(r->chats[1].messages[1].content, "u");
    cr_assert_null(r->prompts[2]);
    cr_assert_str_eq(r->chats[2].messages[0].content, "a");
    recipe_close(r);
    temp_dir_close(&t);
}

/* ---- --set ---- */

Test(test_recipes_parse, set) {
    const char *sets[] = {
        "overrides.num_experts_per_tok=12",
        "outputs[0].type=f16",
        "outputs.1.format=hf",                                  /* replaces f32's format ... */
        "outputs[1]={\"format\": \"gguf\", \"type\": \"f32\"}", /* ... and the whole again */
        "name=Other",
        "overrides.rope_scaling.factor=8",
        "overrides.max_position_embeddings=2048",
        "base.revision=\"12\"",
        "package.author=A = B"};
    Recipe *r = load(tiny, sets, sizeof sets / sizeof *sets);
    cr_assert_eq(json_get(r->overrides, "num_experts_per_tok")->valuedouble, 12);
    cr_assert_eq(r->outputs[0].types.preset->type, DT_F16);
    cr_assert_str_eq(recipe_output_name(r, 0), "Other-F16.gguf");
    cr_assert_eq(r->outputs[1].types.preset->type, DT_F32);
    cr_assert_eq(json_get(json_get(r->overrides, "rope_scaling"), "factor")->valuedouble, 8);
    cr_assert_str_eq(r->revision, "12");
    cr_assert_str_eq(r->author, "A = B");
    cr_assert(r->edited);
    recipe_close(r);
}

Test(test_recipes_parse, split) {
    static const struct {
        const char *set;
        SplitRule rule;
    } cases[] = {{"outputs[0].split=48G", {.max_bytes = 48000000000}},
                 {"outputs[0].split=128", {.max_tensors = 128}},
                 {"outputs[0].split=\"128\"", {.max_tensors = 128}},
                 {"outputs[0].split=metadata-first", {.metadata_first = true}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Recipe *r;
        Error err;
        cr_assert_eq(recipe_load(&r, tiny, &cases[i].set, 1, NULL, &err), 0, "%s", err.message);
        const SplitRule *found = &r->outputs[0].split, *expected = &cases[i].rule;
        cr_assert(found->max_bytes == expected->max_bytes && found->max_tensors == expected->max_tensors &&
                      found->metadata_first == expected->metadata_first,
                  "%s", cases[i].set);
        cr_assert(split_rule_is_none(&r->outputs[1].split));
        recipe_close(r);
    }
}

Test(test_recipes_parse, set_makes_what_is_missing) {
    TempDir t;
    temp_dir_open(&t);
    const char *path = temp_path(&t, "r.json");
    file_put(
        path,
        "{\"recipe\":1,\"name\":\"n\",\"base\":{\"path\":\"x\"}, \"overrides\":{\"rope_scaling\":null}}");
    const char *sets[] = {"outputs[0].format=gguf",
                          "outputs[0].type=bf16",
                          "outputs.1.format=hf",
                          "validate.prompts[0]=In the beginning was the Word",
                          "validate.tokens=7",
                          "overrides.rope_scaling.rope_type=linear",
                          "overrides.rope_scaling.factor=2"};
    Recipe *r = load(path, sets, sizeof sets / sizeof *sets);
    cr_assert_eq(r->n_outputs, 2);
    cr_assert_eq(r->outputs[1].format, OUTPUT_HF);
    cr_assert_str_eq(r->prompts[0], "In the beginning was the Word");
    cr_assert_eq(r->n_tokens, 7);
    cr_assert_str_eq(json_get(json_get(r->overrides, "rope_scaling"), "rope_type")->valuestring, "linear");
    recipe_close(r);
    temp_dir_close(&t);
}

Test(test_recipes_parse, set_errors) {
    static const char *const cases[][2] = {
        {"name", "--set name: there is no =; write KEY.KEY=VALUE or KEY[N].KEY=VALUE"},
        {"=1", "--set =1: a part of the path is empty; write KEY.KEY=VALUE or KEY[N].KEY=VALUE"},
        {".name=1", "--set .name=1: a part of the path is empty; write KEY.KEY=VALUE or KEY[N].KEY=VALUE"},
        {"a..b=1", "--set a..b=1: a part of the path is empty; write KEY.KEY=VALUE or KEY[N].KEY=VALUE"},
        {"outputs[0.type=1",
         "--set outputs[0.type=1: a [ is not closed; write KEY.KEY=VALUE or KEY[N].KEY=VALUE"},
        {"outputs[x]=1", "--set outputs[x]=1: between [ and ] stands a number up to 1000; write "
                         "KEY.KEY=VALUE or KEY[N].KEY=VALUE"},
        {"outputs[0]x=1",
         "--set outputs[0]x=1: after ] comes . or =; write KEY.KEY=VALUE or KEY[N].KEY=VALUE"},
        {"outputs[4].type=f16",
         "--set outputs[4].type=f16: \"4\" stands at an array of 3; expected a number in 0 .. 3"},
        {"outputs.type=f16",
         "--set outputs.type=f16: \"type\" stands at an array of 3; expected a number in 0 .. 3"},
        {"name.x=1", "--set name.x=1: \"name\" is neither an object nor an array in this recipe"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error err;
        cr_assert_eq(load_error(tiny, cases[i][0], &err), ERR_USAGE);
        cr_assert_str_eq(err.message, cases[i][1]);
    }
    Error err;
    cr_assert_eq(load_error(tiny, "outputs[0]={\"format\"}", &err), ERR_USAGE);
    cr_assert_eq(load_error(tiny, "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=1", &err), ERR_USAGE);
    cr_assert_eq(load_error(tiny, "overrides.num_experts_per_tok=many", &err), ERR_RECIPE);
    cr_assert_str_eq(err.message,
                     "recipes/tiny-extreme.json: overrides.num_experts_per_tok: expected an integer in "
                     "1 .. 4294967295, found \"many\"");
    cr_assert_eq(load_error(tiny, "outputs[1].type=iq2_s", &err), ERR_UNSUPPORTED);
}

/* Files beside the recipe are relative to it. */
Test(test_recipes_parse, files_of_a_package) {
    const char *sets[] = {"package.card=mine/CARD.md.in", "package.sweep=/tmp/sweep.svg"};
    Recipe *r = load(tiny, sets, 2);
    cr_assert_str_eq(r->card, "recipes/mine/CARD.md.in");
    cr_assert_str_eq(r->sweep, "/tmp/sweep.svg");
    recipe_close(r);
    r = load(tiny, NULL, 0);
    cr_assert(!r->card && !r->sweep);
    recipe_close(r);
    Error err;
    cr_assert_eq(load_error(tiny, "package.card=\"\"", &err), ERR_RECIPE);
}

/* ---- what is refused ---- */

static char *slurp(const char *path) {
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    char *text = calloc(1, 4096);
    cr_assert_not_null(text);
    cr_assert_lt(fread(text, 1, 4095, f), 4095);
    fclose(f);
    return text;
}

Test(test_recipes_parse, rejects) {
    const char *folder = "tests/golden/recipes-reject";
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".json") != 0) continue;
        char path[512], expected[512], found[1200];
        int length = (int)(dot - e->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        snprintf(expected, sizeof expected, "%s/%.*s.expected", folder, length, e->d_name);
        Error err;
        load_error(path, NULL, &err);
        snprintf(found, sizeof found, "%s\n%s\n", error_name(err.code), err.message);
        char *text = slurp(expected);
        cr_expect_str_eq(found, text, "%s:\n%s", e->d_name, found);
        free(text);
        n++;
    }
    closedir(dir);
    cr_assert_geq(n, 60);
}

Test(test_recipes_parse, missing_and_oversized_files) {
    TempDir t;
    temp_dir_open(&t);
    Error err;
    cr_assert_eq(load_error(temp_path(&t, "none.json"), NULL, &err), ERR_IO);
    cr_assert_eq(load_error(t.path, NULL, &err), ERR_IO);
    const char *path = temp_path(&t, "big.json");
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(ftruncate(fileno(f), (1 << 20) + 1), 0);
    fclose(f);
    cr_assert_eq(load_error(path, NULL, &err), ERR_LIMIT);
    temp_dir_close(&t);
}

Test(test_recipes_parse, memory_running_out) {
    bool done = false;
    for (size_t left = 0; !done && left < 1000; left++) {
        FailingAllocator f;
        failing_init(&f, left);
        Recipe *r;
        Error err;
        int code = recipe_load(&r, tiny, NULL, 0, &f.allocator, &err);
        done = code == 0;
        if (done) recipe_close(r);
        cr_assert(done || code == ERR_MEMORY, "%s", err.message);
        cr_assert_eq(f.live, 0);
    }
    cr_assert(done);
}
