/* packager_fixture.h -- the inputs of a package over the bundled checkpoint, with invented artifacts. */
#ifndef RECAST_TESTS_PACKAGER_FIXTURE_H
#define RECAST_TESTS_PACKAGER_FIXTURE_H

#include "core/json.h"
#include "packager/package.h"
#include "support.h"

#define HASH_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define HASH_2 "2222222222222222222222222222222222222222222222222222222222222222"
#define HASH_3 "3333333333333333333333333333333333333333333333333333333333333333"
/* sha256sum of "gguf bytes" and "{}": what the artifacts hold */
#define GGUF_HASH "9b88fb9402211bd8fda38aa1ea7f049dce0d025071ffbbb164611cb2a2153519"
#define JSON_HASH "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

static const char fixture_report[] = "{\"verdict\":\"derived\",\"checks\":[{\"group\":\"source\",\"name\":"
                                     "\"weights digest\",\"status\":\"pass\","
                                     "\"detail\":\"equal\"},{\"group\":\"quality\",\"name\":\"kl\","
                                     "\"status\":\"not run\",\"detail\":\"lossless\"}]}";

typedef struct PackageFixture {
    Model *source;
    Recipe *recipe;
    RecipeStack stack;
    cJSON *report;
    FileProof sources[1];
    Artifact artifacts[2];
    ManifestFile files[2];
    GenerationRecord generations[2];
    PackageInputs inputs;
} PackageFixture;

/* repo: of the base; NULL for none. */
static inline void fixture_open(PackageFixture *f, const char *repo, const char *const *sets, size_t n_sets) {
    Error err;
    memset(f, 0, sizeof *f);
    cr_assert_eq(model_open(&f->source, "tests/data/tiny-qwen3moe", NULL, &err), 0, "%s", err.message);
    int code = recipe_load(&f->recipe, "recipes/tiny-extreme.json", sets, n_sets, NULL, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    code = recipe_override_open(&f->stack, f->recipe, f->source, NULL, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    code = json_parse(&f->report, fixture_report, strlen(fixture_report), "report", &err);
    cr_assert_eq(code, 0, "%s", err.message);
    f->sources[0] = (FileProof){"config.json", 945, HASH_1};
    f->artifacts[0] =
        (Artifact){"Tiny-Extreme-16-4x-BF16.gguf", "gguf", "bf16", 27, HASH_2, true, HASH_3, {0}, HASH_1};
    f->artifacts[1] = (Artifact){"hf", "hf", "bf16", 789, HASH_2, true, NULL, {0}, ""};
    f->files[0] = (ManifestFile){"hf/config.json", 2, JSON_HASH};
    f->files[1] = (ManifestFile){"Tiny-Extreme-16-4x-BF16.gguf", 10, GGUF_HASH};
    f->generations[0] =
        (GenerationRecord){"And the LORD said unto Moses,", NULL,   48,     "recast-arithmetic-1/f32/kv f32",
                           " Speak ```unto\x1b[1m\nAaron",  HASH_1, HASH_2, 0.25f};
    f->generations[1] = f->generations[0];
    f->generations[1].artifact = "Tiny-Extreme-16-4x-BF16.gguf";
    f->inputs = (PackageInputs){
        .recipe = f->recipe,
        .source = f->source,
        .derived = f->stack.top,
        .pinned_recipe =
            "{\n  \"$schema\": \"recipe.schema.json\",\n  \"recipe\": 1,\n  \"base\": {\n    \"repo\": "
            "\"a/b\",\n    \"path\": \"/home/someone/tiny\"\n  }\n}\n",
        .manifest = {.name = f->recipe->name,
                     .repo = repo,
                     .commit = repo ? "9a1b2c3d4e5f60718293a4b5c6d7e8f901234567" : NULL,
                     .license = f->recipe->license,
                     .author = f->recipe->author,
                     .n_sources = 1,
                     .sources = f->sources,
                     .weights_sha256 = HASH_2,
                     .n_changes = f->stack.top->n_changes,
                     .changes = f->stack.top->changes,
                     .n_artifacts = 2,
                     .artifacts = f->artifacts,
                     .n_generations = 2,
                     .generations = f->generations,
                     .report = f->report,
                     .n_files = 2,
                     .files = f->files},
    };
}

static inline void fixture_close(PackageFixture *f) {
    recipe_stack_close(&f->stack);
    recipe_close(f->recipe);
    model_close(f->source);
    cJSON_Delete(f->report);
}

#endif
