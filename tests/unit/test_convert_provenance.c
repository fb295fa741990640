/* The recast.* keys: what is written, and what is not believed when it is read. */
#include "convert/provenance.h"
#include <criterion/criterion.h>
#include <string.h>

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
/* printf %s '{"a":1}' | sha256sum */
#define RECIPE      "{\"a\":1}"
#define RECIPE_HASH "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"

static Arena *arena;
static Metadata *m;

static void setup(void) {
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&m, arena, NULL), 0);
    cr_assert_eq(metadata_set_string(m, "general.architecture", "qwen3moe", NULL), 0);
}

static void teardown(void) {
    arena_close(arena);
}

TestSuite(convert_provenance, .init = setup, .fini = teardown);

static FileProof files[] = {{"config.json", 10, HASH_A}, {"model.safetensors", 20, HASH_B}};
static SourceProof proof = {.n_files = 2, .files = files, .weights_sha256 = HASH_A};
static const Change changes[] = {{"num_experts_per_tok", "8", "16"},
                                 {"rope_scaling", "null", "{\"factor\":4}"}};
static const char *const tags[] = {"moe", "extreme"};

static Provenance full(void) {
    return (Provenance){.derivation = RECIPE,
                        .repo = "Qwen/Qwen3-30B-A3B-Instruct-2507",
                        .commit = "0123456789012345678901234567890123456789",
                        .proof = &proof,
                        .n_changes = 2,
                        .changes = changes,
                        .output = "bf16",
                        .license = "apache-2.0",
                        .author = "somebody",
                        .n_tags = 2,
                        .tags = tags};
}

static void set(const Provenance *p) {
    Error err = {0};
    cr_assert_eq(provenance_set(m, p, &err), 0, "%s", err.message);
}

static void is_text(const char *key, const char *expected) {
    const char *value = metadata_string(m, key);
    cr_assert_not_null(value, "%s", key);
    cr_assert_str_eq(value, expected, "%s", key);
}

static void is_list(const char *key, const char *first, const char *second) {
    const GgufValue *v = metadata_get(m, key);
    cr_assert_not_null(v, "%s", key);
    cr_assert(v->type == GGUF_ARRAY && v->array.type == GGUF_STRING && v->array.count == 2, "%s", key);
    cr_assert_str_eq(v->array.strings[0].data, first);
    cr_assert_str_eq(v->array.strings[1].data, second);
}

Test(convert_provenance, all_keys) {
    Provenance p = full();
    set(&p);
    uint32_t n;
    bool edited = true;
    cr_assert(metadata_u32(m, "recast.derivation", &n) && n == 1);
    is_text("recast.recipe", RECIPE);
    is_text("recast.recipe.sha256", RECIPE_HASH);
    is_text("recast.source.repo", "Qwen/Qwen3-30B-A3B-Instruct-2507");
    is_text("recast.source.commit", "0123456789012345678901234567890123456789");
    is_list("recast.source.names", "config.json", "model.safetensors");
    is_list("recast.source.sha256", HASH_A, HASH_B);
    is_text("recast.weights.sha256", HASH_A);
    is_list("recast.overrides", "num_experts_per_tok: 8 -> 16", "rope_scaling: null -> {\"factor\":4}");
    is_text("recast.output", "bf16");
    cr_assert(metadata_bool(m, "recast.edited", &edited) && !edited);
    /* As llama.cpp's converter derives them from a model card's base_model. */
    cr_assert(metadata_u32(m, "general.base_model.count", &n) && n == 1);
    is_text("general.base_model.0.name", "Qwen3 30B A3B Instruct 2507");
    is_text("general.base_model.0.version", "2507");
    is_text("general.base_model.0.organization", "Qwen");
    is_text("general.base_model.0.repo_url", "https://huggingface.co/Qwen/Qwen3-30B-A3B-Instruct-2507");
    is_text("general.source.repo_url", "https://huggingface.co/Qwen/Qwen3-30B-A3B-Instruct-2507");
    is_text("general.license", "apache-2.0");
    is_text("general.author", "somebody");
    is_list("general.tags", "moe", "extreme");
    cr_assert_eq(metadata_count(m), 21);
}

/* llama.cpp's writer drops empty strings and arrays, so there must be none. */
Test(convert_provenance, what_is_not_known_is_left_out) {
    SourceProof no_digest = {.n_files = 0, .weights_sha256 = ""};
    Provenance p = {.proof = &no_digest, .output = "", .derivation = "", .license = ""};
    set(&p);
    cr_assert_eq(metadata_count(m), 3);
    cr_assert_not_null(metadata_get(m, "recast.derivation"));
    cr_assert_not_null(metadata_get(m, "recast.edited"));
}

/* Made from a GGUF that has provenance: nothing of the older one stays. */
Test(convert_provenance, older_provenance_goes) {
    Provenance p = full();
    set(&p);
    cr_assert_eq(metadata_set_string(m, "general.base_model.1.name", "another", NULL), 0);
    cr_assert_eq(metadata_set_bool(m, "recast.edited", true, NULL), 0);
    Provenance q = {.repo = "a/b-model", .output = "f16"};
    set(&q);
    bool edited = true;
    cr_assert_null(metadata_get(m, "recast.recipe"));
    cr_assert_null(metadata_get(m, "recast.source.names"));
    cr_assert_null(metadata_get(m, "general.base_model.1.name"));
    cr_assert_null(metadata_get(m, "general.base_model.0.version"));
    is_text("general.base_model.0.name", "B Model");
    is_text("general.base_model.0.organization", "A");
    is_text("recast.output", "f16");
    cr_assert(metadata_bool(m, "recast.edited", &edited) && !edited);
}

Test(convert_provenance, reads_what_was_written) {
    Provenance p = full();
    ProvenanceRead r;
    Error err = {0};
    cr_assert_eq(provenance_read(&r, m, &err), 0);
    cr_assert_not(r.present);
    set(&p);
    cr_assert_eq(provenance_read(&r, m, &err), 0, "%s", err.message);
    cr_assert(r.present);
    cr_assert_eq(r.derivation_version, 1);
    cr_assert_str_eq(r.derivation, RECIPE);
    cr_assert_str_eq(r.derivation_sha256, RECIPE_HASH);
    cr_assert_str_eq(r.commit, "0123456789012345678901234567890123456789");
    cr_assert_eq(r.n_files, 2);
    cr_assert_str_eq(r.names[1].data, "model.safetensors");
    cr_assert_str_eq(r.sha256[1].data, HASH_B);
    cr_assert_str_eq(r.weights_sha256, HASH_A);
    cr_assert_eq(r.n_changes, 2);
    cr_assert_str_eq(r.changes[0].data, "num_experts_per_tok: 8 -> 16");
    cr_assert_str_eq(r.output, "bf16");
    cr_assert_not(r.edited);
}

static void is_refused(const char *part) {
    ProvenanceRead r;
    Error err = {0};
    cr_assert_eq(provenance_read(&r, m, &err), ERR_FORMAT, "%s", part);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
}

static void put(const char *key, const char *value) {
    cr_assert_eq(metadata_set_string(m, key, value, NULL), 0);
}

Test(convert_provenance, contradictions) {
    Provenance p = full();
    const char *one[] = {HASH_A}, *bad[] = {HASH_A, "x"};
    set(&p);
    put("recast.recipe", "{\"a\":2}");
    is_refused("one was changed");
    metadata_unset(m, "recast.recipe");
    is_refused("belong together");

    set(&p);
    cr_assert_eq(metadata_set_strings(m, "recast.source.sha256", one, 1, NULL), 0);
    is_refused("names 2 files and recast.source.sha256 has 1");
    cr_assert_eq(metadata_set_strings(m, "recast.source.sha256", bad, 2, NULL), 0);
    is_refused("a list of SHA-256 values");
    cr_assert_eq(metadata_set_u32(m, "recast.source.sha256", 1, NULL), 0);
    is_refused("an array of strings");

    set(&p);
    put("recast.derivation", "1");
    is_refused("recast.derivation is not a u32");
    metadata_unset(m, "recast.derivation");
    is_refused("recast.derivation is not: a tool dropped");

    set(&p);
    put("recast.weights.sha256", "12ab");
    is_refused("recast.weights.sha256");
    set(&p);
    put("recast.edited", "true");
    is_refused("recast.edited is not a bool");
    set(&p);
    cr_assert_eq(metadata_set_u32(m, "recast.output", 1, NULL), 0);
    is_refused("recast.output");

    set(&p);
    cr_assert_eq(metadata_set_strings(m, "recast.lora.sha256", one, 1, NULL), 0);
    cr_assert_eq(metadata_set_strings(m, "recast.lora.scale", bad, 2, NULL), 0);
    is_refused("names 1 adapters and recast.lora.scale has 2 numbers");
}
