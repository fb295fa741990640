/* What pins promise of a source before it is read. */
#include "fixture.h"
#include "recipes/recipe.h"
#include <criterion/criterion.h>

static FixturePath dir, path;
static Model *source;
static SourceProof *found;
static Error err;

static void write_recipe(const char *members) {
    char text[4096];
    snprintf(text, sizeof text,
             "{\"recipe\":1,\"name\":\"x\",\"base\":{\"path\":\"model\"%s},\"overrides\":{},"
             "\"outputs\":[{\"format\":\"gguf\",\"type\":\"bf16\"}]}",
             members);
    fixture_write_text(dir, "r.json", text);
}

static void setup(void) {
    FixturePath model;
    FixtureModel f = fixture_model_default();
    fixture_dir(dir);
    fixture_path(path, dir, "r.json");
    fixture_path(model, dir, "model");
    cr_assert_eq(mkdir(model, 0755), 0);
    fixture_model(model, &f);
    cr_assert_eq(model_open(&source, model, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(source_prove(&found, source, 1, NULL, NULL, &err), 0, "%s", err.message);
}

static void teardown(void) {
    source_proof_close(found);
    model_close(source);
    fixture_remove(dir);
}

#define PROMISE(name) Test(recipes_promise, name, .init = setup, .fini = teardown)

static int promise(SourceProof **out) {
    Recipe *r;
    cr_assert_eq(recipe_load(&r, path, NULL, 0, NULL, &err), 0, "%s", err.message);
    int code = recipe_promised_proof(out, r, source, NULL, NULL, &err);
    recipe_close(r);
    return code;
}

static const char *hash_of(const char *name) {
    size_t i = 0;
    while (i < found->n_files && strcmp(found->files[i].name, name)) i++;
    cr_assert_lt(i, found->n_files, "%s", name);
    return found->files[i].sha256;
}

/* pins of the one weights file and of the digest; NULL: left out */
static void pin(const char *weights, const char *digest) {
    char text[512] = "", one[256];
    snprintf(one, sizeof one, ",\"sha256\":{\"model.safetensors\":\"%s\"}", weights ? weights : "");
    if (weights) strcat(text, one);
    snprintf(one, sizeof one, ",\"weights_sha256\":\"%s\"", digest ? digest : "");
    if (digest) strcat(text, one);
    write_recipe(text);
}

PROMISE(is_the_proof_if_the_pins_are_right) {
    SourceProof *p;
    pin(hash_of("model.safetensors"), found->weights_sha256);
    cr_assert_eq(promise(&p), 0, "%s", err.message);
    cr_assert_not_null(p);
    cr_assert_eq(p->n_files, found->n_files);
    cr_assert_str_eq(p->weights_sha256, found->weights_sha256);
    for (size_t i = 0; i < p->n_files; i++) {
        cr_assert_str_eq(p->files[i].name, found->files[i].name);
        cr_assert_str_eq(p->files[i].sha256, found->files[i].sha256);
        cr_assert_eq(p->files[i].size, found->files[i].size);
    }
    source_proof_close(p);
}

/* Weights are not read: what pins say is passed on, true or not, for the pass to verify. */
PROMISE(says_what_the_pins_say) {
    static const char hex[] = "00000000000000000000000000000000000000000000000000000000000000aa";
    SourceProof *p;
    pin(hex, hex);
    cr_assert_eq(promise(&p), 0, "%s", err.message);
    cr_assert_not_null(p);
    cr_assert_str_eq(p->weights_sha256, hex);
    source_proof_close(p);
}

PROMISE(needs_all_pins) {
    SourceProof *p;
    pin(NULL, found->weights_sha256);
    cr_assert_eq(promise(&p), 0);
    cr_assert_null(p);
    pin(hash_of("model.safetensors"), NULL);
    cr_assert_eq(promise(&p), 0);
    cr_assert_null(p);
    pin(NULL, NULL);
    cr_assert_eq(promise(&p), 0);
    cr_assert_null(p);
    cr_assert_eq(recipe_promised_proof(&p, NULL, source, NULL, NULL, &err), 0);
    cr_assert_null(p);
}

PROMISE(small_files_are_checked_at_once) {
    char text[1024];
    SourceProof *p;
    snprintf(text, sizeof text,
             ",\"sha256\":{\"model.safetensors\":\"%s\",\"config.json\":\"%s\"},\"weights_sha256\":\"%s\"",
             hash_of("model.safetensors"), hash_of("model.safetensors"), found->weights_sha256);
    write_recipe(text);
    cr_assert_eq(promise(&p), ERR_CHECK);
    cr_assert_null(p);
    cr_assert_not_null(strstr(err.message, "config.json"), "%s", err.message);
}

PROMISE(a_blank_proof_has_the_sizes) {
    SourceProof *p;
    bool has_digest;
    cr_assert_eq(source_proof_blank(&p, source, &has_digest, NULL, &err), 0);
    cr_assert(has_digest);
    cr_assert_eq(p->n_files, found->n_files);
    cr_assert_eq(strlen(p->weights_sha256), 64);
    for (size_t i = 0; i < p->n_files; i++) {
        cr_assert_eq(p->files[i].size, found->files[i].size);
        cr_assert_eq(strspn(p->files[i].sha256, "0"), 64);
    }
    source_proof_close(p);
}
