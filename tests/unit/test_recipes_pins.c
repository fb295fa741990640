/* test_recipes_pins.c -- pins checked against a proof, pins written into a recipe's text, the derivation.
 * Hashes are those that sha256sum prints for the bundled checkpoint; its weights digest was computed by an
 * independent program. */
#include "core/json.h"
#include "core/output.h"
#include "recipes/recipe.h"
#include "support.h"

#define COMMIT "9a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
#define DIGEST "be974b7483e75be19e66256c857e600cc3f6ef5f1cae5a6135690b52fb2bc4bb"
#define ZERO   "0000000000000000000000000000000000000000000000000000000000000000"

static const char tiny[] = "tests/data/tiny-qwen3moe";
static const char *const files[][2] = {
    {"config.json", "9ac0c210c195f52fed80be5392d88e73ce8549701ee85129f9dc0858d2166175"},
    {"generation_config.json", "53ae866e1cb4194583ad6a46fb4a83d836669a3e3cf4c69dacf05b560ed38921"},
    {"merges.txt", "bb18f7fb7474b34f630ba3c3106d8c1a5aaa3f113251e03b4ba30a849e3ba45a"},
    {"model-00001-of-00002.safetensors", "4fd0186d32ebbe7a967fa7bf9f32e0dd798001acd6773f70bc6f1c8681dbe849"},
    {"model-00002-of-00002.safetensors", "291f824822d16106af4e492e00b03c4aa26dc0b1855389f50760fbacf3a683d6"},
    {"model.safetensors.index.json", "1f48c86f6d2c0b83037593c2addf0765475318193753738fdc1ce3063b6095c0"},
    {"tokenizer.json", "cbad8be7d02d2a8f3fbe1e7675be15d42905bf4742658edb84552f313a1645a6"},
    {"tokenizer_config.json", "d775247822ae86034c2210c763bc61a1a7316d1ae13c692a6c8c7a85674282ca"},
    {"vocab.json", "8d3f1a196d8a2269f72d3ac93f75f52ca2961e13fa7907b7496c294a31604fbb"},
};
enum { N_FILES = sizeof files / sizeof *files };

typedef struct Case {
    TempDir t;
    Model *source;
    SourceProof *proof;
} Case;

static void open_case(Case *c, const char *directory) {
    Error err;
    cr_assert_eq(model_open(&c->source, directory, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(source_prove(&c->proof, c->source, 1, NULL, NULL, &err), 0, "%s", err.message);
}

static void close_case(Case *c) {
    source_proof_close(c->proof);
    model_close(c->source);
    temp_dir_close(&c->t);
}

static Recipe *load_text(TempDir *t, const char *text, const char *const *sets, size_t n_sets) {
    const char *path = temp_path(t, "r.json");
    file_put(path, text);
    Recipe *r;
    Error err;
    cr_assert_eq(recipe_load(&r, path, sets, n_sets, NULL, &err), 0, "%s", err.message);
    return r;
}

/* A recipe with more members of "base". */
static Recipe *load_base(TempDir *t, const char *base) {
    char text[2048];
    snprintf(text, sizeof text,
             "{\"recipe\":1,\"name\":\"n\",\"base\":{\"path\":\"x\"%s},\"outputs\":[{\"format\":\"hf\"}]}",
             base);
    return load_text(t, text, NULL, 0);
}

static void holds(Case *c, const char *base, const char *commit, size_t expected) {
    Recipe *r = load_base(&c->t, base);
    Error err;
    size_t pinned;
    int code = recipe_check_pins(r, c->source, c->proof, commit, &pinned, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    cr_assert_eq(pinned, expected);
    recipe_close(r);
}

static void fails_with(Case *c, const char *base, const char *commit, const char *message) {
    Recipe *r = load_base(&c->t, base);
    Error err;
    size_t pinned;
    cr_assert_eq(recipe_check_pins(r, c->source, c->proof, commit, &pinned, &err), ERR_CHECK);
    cr_assert(strstr(err.message, message), "%s", err.message);
    cr_assert_eq(pinned, 0);
    recipe_close(r);
}

Test(test_recipes_pins, of_a_recipe) {
    Case c;
    temp_dir_open(&c.t);
    open_case(&c, tiny);
    cr_assert_eq(c.proof->n_files, N_FILES);
    holds(&c, "", NULL, 0);
    holds(&c, ",\"commit\":\"" COMMIT "\"", COMMIT, 0);
    holds(&c, ",\"commit\":\"" COMMIT "\"", NULL, 0);
    holds(&c, ",\"weights_sha256\":\"" DIGEST "\"", NULL, 1);
    holds(
        &c,
        ",\"sha256\":{\"config.json\":\"9ac0c210c195f52fed80be5392d88e73ce8549701ee85129f9dc0858d2166175\"}",
        NULL, 1);
    fails_with(&c, ",\"commit\":\"" COMMIT "\"", "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
               "base.commit pins " COMMIT
               ", but the source is commit 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567");
    fails_with(&c, ",\"weights_sha256\":\"" ZERO "\"", NULL,
               "base.weights_sha256 pins " ZERO ", but the weights digest of the source is " DIGEST);
    fails_with(
        &c, ",\"sha256\":{\"config.json\":\"" ZERO "\"}", NULL,
        "config.json: SHA-256 is 9ac0c210c195f52fed80be5392d88e73ce8549701ee85129f9dc0858d2166175, but "
        "base.sha256 in ");
    fails_with(&c, ",\"sha256\":{\"other.json\":\"" ZERO "\"}", NULL,
               "base.sha256 pins other.json, but the source has no such file");
    c.proof->weights_sha256[0] = '\0';
    fails_with(&c, ",\"weights_sha256\":\"" DIGEST "\"", NULL, "has no weights digest");
    close_case(&c);
}

/* A snapshot as the cache lays it out: large files under their SHA-256, small ones under a git hash. */
static void make_snapshot(TempDir *t) {
    Error err;
    cr_assert_eq(make_directories(temp_path(t, "snapshots/" COMMIT), &err), 0);
    cr_assert_eq(make_directories(temp_path(t, "blobs"), &err), 0);
    for (size_t i = 0; i < N_FILES; i++) {
        bool large = strstr(files[i][0], "safetensors") && !strstr(files[i][0], "index");
        char blob[128], name[256], target[256], from[256];
        snprintf(blob, sizeof blob, large ? "%s" : "%.40s", files[i][1]);
        snprintf(name, sizeof name, "blobs/%s", blob);
        snprintf(from, sizeof from, "%s/%s", tiny, files[i][0]);
        cr_assert_eq(copy_file(from, temp_path(t, name), false, &err), 0, "%s", err.message);
        snprintf(target, sizeof target, "../../blobs/%s", blob);
        snprintf(name, sizeof name, "snapshots/" COMMIT "/%s", files[i][0]);
        cr_assert_eq(symlink(target, temp_path(t, name)), 0);
    }
}

Test(test_recipes_pins, of_the_cache) {
    Case c;
    temp_dir_open(&c.t);
    make_snapshot(&c.t);
    open_case(&c, temp_path(&c.t, "snapshots/" COMMIT));
    holds(&c, "", COMMIT, 2); /* both shards */
    holds(&c,
          ",\"sha256\":{\"model-00001-of-00002.safetensors\":"
          "\"4fd0186d32ebbe7a967fa7bf9f32e0dd798001acd6773f70bc6f1c8681dbe849\","
          "\"vocab.json\":\"8d3f1a196d8a2269f72d3ac93f75f52ca2961e13fa7907b7496c294a31604fbb\"}",
          COMMIT, 3); /* a file that both cover counts once */
    memcpy(c.proof->files[4].sha256, ZERO, SHA256_HEX);
    fails_with(&c, "", COMMIT,
               "model-00002-of-00002.safetensors: SHA-256 is " ZERO
               ", but the Hugging Face cache names its blob "
               "291f824822d16106af4e492e00b03c4aa26dc0b1855389f50760fbacf3a683d6");
    close_case(&c);
}

/* ---- writing pins ---- */

static void pin(Case *c, const Recipe *r, const char *commit, Buffer *text) {
    Error err;
    buffer_init(text, NULL);
    cr_assert_eq(recipe_pinned_text(r, c->proof, commit, text, &err), 0, "%s", err.message);
}

Test(test_recipes_pins, text_is_otherwise_as_it_was) {
    Case c;
    temp_dir_open(&c.t);
    open_case(&c, tiny);
    c.proof->n_files = 2; /* a short list is enough to look at */
    static const char before[] = "{ \"recipe\" : 1,\n"
                                 "    \"name\":\"n\",\n"
                                 "    \"base\": {\n"
                                 "        \"repo\": \"a/b\"\n"
                                 "    },\n"
                                 "    \"overrides\": { \"rope_theta\": 1.0e4 },\n"
                                 "    \"outputs\": [ {\"format\":\"hf\"} ] }\n";
    static const char after[] = "{ \"recipe\" : 1,\n"
                                "    \"name\":\"n\",\n"
                                "    \"base\": {\n"
                                "        \"repo\": \"a/b\",\n"
                                "        \"commit\": \"" COMMIT "\",\n"
                                "        \"sha256\": {\n"
                                "            \"config.json\": "
                                "\"9ac0c210c195f52fed80be5392d88e73ce8549701ee85129f9dc0858d2166175\",\n"
                                "            \"generation_config.json\": "
                                "\"53ae866e1cb4194583ad6a46fb4a83d836669a3e3cf4c69dacf05b560ed38921\"\n"
                                "        },\n"
                                "        \"weights_sha256\": \"" DIGEST "\"\n"
                                "    },\n"
                                "    \"overrides\": { \"rope_theta\": 1.0e4 },\n"
                                "    \"outputs\": [ {\"format\":\"hf\"} ] }\n";
    Recipe *r = load_text(&c.t, before, NULL, 0);
    Buffer text, again;
    pin(&c, r, COMMIT, &text);
    cr_assert_str_eq(buffer_string(&text), after);
    recipe_close(r);
    /* pinning what is pinned changes nothing, and old pins are replaced */
    r = load_text(&c.t, after, NULL, 0);
    pin(&c, r, COMMIT, &again);
    cr_assert_str_eq(buffer_string(&again), after);
    buffer_free(&again);
    recipe_close(r);
    buffer_free(&text);
    close_case(&c);
}

Test(test_recipes_pins, text_after_set) {
    Case c;
    temp_dir_open(&c.t);
    open_case(&c, tiny);
    const char *set = "overrides.num_experts_per_tok=12";
    Recipe *r, *pinned;
    Error err;
    size_t count;
    cr_assert_eq(recipe_load(&r, "recipes/tiny-extreme.json", &set, 1, NULL, &err), 0, "%s", err.message);
    Buffer text, one, two;
    pin(&c, r, NULL, &text);
    pinned = load_text(&c.t, buffer_string(&text), NULL, 0);
    cr_assert_eq(json_get(pinned->overrides, "num_experts_per_tok")->valuedouble, 12);
    cr_assert_null(pinned->commit);
    cr_assert_str_eq(pinned->weights_sha256, DIGEST);
    for (size_t i = 0; i < N_FILES; i++)
        cr_assert_str_eq(json_get(pinned->sha256, files[i][0])->valuestring, files[i][1]);
    cr_assert_eq(recipe_check_pins(pinned, c.source, c.proof, NULL, &count, &err), 0, "%s", err.message);
    cr_assert_eq(count, N_FILES + 1);
    /* the pinned recipe derives the same bytes */
    buffer_init(&one, NULL);
    buffer_init(&two, NULL);
    cr_assert_eq(recipe_derivation(r, 0, c.proof, NULL, &one, &err), 0);
    cr_assert_eq(recipe_derivation(pinned, 0, c.proof, NULL, &two, &err), 0);
    cr_assert_str_eq(buffer_string(&one), buffer_string(&two));
    buffer_free(&one);
    buffer_free(&two);
    buffer_free(&text);
    recipe_close(r);
    recipe_close(pinned);
    close_case(&c);
}

/* ---- derivation ---- */

Test(test_recipes_pins, derivation) {
    Case c;
    temp_dir_open(&c.t);
    open_case(&c, tiny);
    c.proof->n_files = 1;
    Recipe *r = load_text(
        &c.t,
        "{\"recipe\":1,\"name\":\"n\",\"base\":{\"repo\":\"a/b\",\"path\":\"x\",\"revision\":\"dev\"},"
        "\"overrides\":{\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}, "
        "\"num_experts_per_tok\":16},\"outputs\":[{\"type\":\"f16\",\"format\":\"gguf\","
        "\"gguf_dynamic\":{\"bake\":1024}},{\"format\":\"hf\"}],\"package\":{\"author\":\"me\"}}",
        NULL, 0);
    Error err;
    Buffer json;
    buffer_init(&json, NULL);
    cr_assert_eq(recipe_derivation(r, 0, c.proof, COMMIT, &json, &err), 0);
    cr_assert_str_eq(
        buffer_string(&json),
        "{\"base\":{\"commit\":\"" COMMIT "\",\"repo\":\"a/b\",\"sha256\":{\"config.json\":"
        "\"9ac0c210c195f52fed80be5392d88e73ce8549701ee85129f9dc0858d2166175\"},\"weights_sha256\":\"" DIGEST
        "\"},\"output\":{\"format\":\"gguf\",\"gguf_dynamic\":{\"bake\":1024},\"type\":\"f16\"},"
        "\"overrides\":{\"num_experts_per_tok\":16,\"rope_scaling\":{\"factor\":4,\"type\":\"linear\"}}}");
    c.proof->weights_sha256[0] = '\0';
    cr_assert_eq(recipe_derivation(r, 1, c.proof, NULL, &json, &err), 0);
    cr_assert_str_eq(
        buffer_string(&json),
        "{\"base\":{\"repo\":\"a/b\",\"sha256\":{\"config.json\":"
        "\"9ac0c210c195f52fed80be5392d88e73ce8549701ee85129f9dc0858d2166175\"}},\"output\":{\"format\":"
        "\"hf\"},\"overrides\":{\"num_experts_per_tok\":16,\"rope_scaling\":{\"factor\":4,\"type\":"
        "\"linear\"}}}");
    OutputTypes bf16 = output_types(output_preset("bf16"));
    cr_assert_eq(recipe_plain_derivation(&bf16, NULL, c.proof, &json, &err), 0);
    cr_assert_str_eq(
        buffer_string(&json),
        "{\"base\":{\"sha256\":{\"config.json\":"
        "\"9ac0c210c195f52fed80be5392d88e73ce8549701ee85129f9dc0858d2166175\"}},\"output\":{\"format\":"
        "\"gguf\",\"type\":\"bf16\"}}");
    SplitRule rule = {.max_tensors = 128};
    cr_assert_eq(recipe_plain_derivation(&bf16, &rule, c.proof, &json, &err), 0);
    cr_assert_not_null(strstr(buffer_string(&json), "{\"format\":\"gguf\",\"split\":128,\"type\":\"bf16\"}"));
    rule = (SplitRule){.max_bytes = 1500000000, .metadata_first = true};
    cr_assert_eq(recipe_plain_derivation(&bf16, &rule, c.proof, &json, &err), 0);
    cr_assert_not_null(strstr(buffer_string(&json), "\"split\":\"metadata-first,1500M\""));
    buffer_free(&json);
    recipe_close(r);
    close_case(&c);
}
