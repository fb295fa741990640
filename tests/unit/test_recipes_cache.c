/* test_recipes_cache.c -- finding a base in the Hugging Face cache (a false one in a temporary directory) and
 * by base.path; what the names of blobs promise. */
#include "core/output.h"
#include "recipes/recipe_private.h"
#include "support.h"

#define COMMIT "9a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
#define OTHER  "0000000000000000000000000000000000000001"
#define PINNED "7777777777777777777777777777777777777777"

static const char rest[] = "\"outputs\":[{\"format\":\"hf\"}]}";

/* A recipe over "Org/Some.Model" with more members of "base". */
static Recipe *open_recipe(TempDir *t, const char *base) {
    char text[1024];
    snprintf(text, sizeof text, "{\"recipe\":1,\"name\":\"n\",\"base\":{%s},%s", base, rest);
    const char *path = temp_path(t, "r.json");
    file_put(path, text);
    Recipe *r;
    Error err;
    cr_assert_eq(recipe_load(&r, path, NULL, 0, NULL, &err), 0, "%s", err.message);
    return r;
}

static void make(TempDir *t, const char *name) {
    Error err;
    cr_assert_eq(make_directories(temp_path(t, name), &err), 0, "%s", err.message);
}

static void make_cache(TempDir *t) {
    make(t, "hub/models--Org--Some.Model/refs/pr");
    make(t, "hub/models--Org--Some.Model/snapshots/" COMMIT);
    make(t, "hub/models--Org--Some.Model/snapshots/" PINNED);
    file_put(temp_path(t, "hub/models--Org--Some.Model/refs/main"), COMMIT);
    file_put(temp_path(t, "hub/models--Org--Some.Model/refs/pr/1"), PINNED "\n");
    file_put(temp_path(t, "hub/models--Org--Some.Model/refs/gone"), OTHER);
    file_put(temp_path(t, "hub/models--Org--Some.Model/refs/odd"), "../../../../etc");
}

static void found(TempDir *t, const char *base, const char *commit) {
    Recipe *r = open_recipe(t, base);
    const char *directory, *at;
    char wanted[PATH_MAX + 128];
    Error err;
    int code = recipe_locate(r, temp_path(t, "hub"), &directory, &at, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    snprintf(wanted, sizeof wanted, "%s/models--Org--Some.Model/snapshots/%s", temp_path(t, "hub"), commit);
    cr_assert_str_eq(directory, wanted);
    cr_assert_str_eq(at, commit);
    recipe_close(r);
}

/* `end` is how the message ends: the command to type. */
static void not_found(TempDir *t, const char *base, const char *cache, const char *end) {
    Recipe *r = open_recipe(t, base);
    const char *directory, *commit;
    Error err;
    cr_assert_eq(recipe_locate(r, cache, &directory, &commit, &err), ERR_IO);
    cr_assert_null(directory);
    cr_assert_null(commit);
    char tail[400];
    snprintf(tail, sizeof tail, "%s (or name a directory that holds it in base.path)", end);
    size_t n = strlen(err.message), k = strlen(tail);
    cr_assert(n > k && strcmp(err.message + n - k, tail) == 0, "%s", err.message);
    recipe_close(r);
}

Test(test_recipes_cache, locate) {
    TempDir t;
    temp_dir_open(&t);
    make_cache(&t);
    found(&t, "\"repo\":\"Org/Some.Model\"", COMMIT);
    found(&t, "\"repo\":\"Org/Some.Model\",\"revision\":\"pr/1\"", PINNED);
    found(&t, "\"repo\":\"Org/Some.Model\",\"revision\":\"" COMMIT "\"", COMMIT);
    found(&t, "\"repo\":\"Org/Some.Model\",\"commit\":\"" PINNED "\"", PINNED); /* not what main says */
    temp_dir_close(&t);
}

Test(test_recipes_cache, not_there) {
    TempDir t;
    temp_dir_open(&t);
    make_cache(&t);
    const char *hub = temp_path(&t, "hub");
    char cache[PATH_MAX];
    snprintf(cache, sizeof cache, "%s", hub);
    not_found(&t, "\"repo\":\"Org/Some.Model\"", NULL, "fetch it with: hf download Org/Some.Model");
    not_found(&t, "\"repo\":\"Org/Other\"", cache, "fetch it with: hf download Org/Other");
    not_found(&t, "\"repo\":\"gpt2\"", cache, "fetch it with: hf download gpt2");
    not_found(&t, "\"repo\":\"Org/Some.Model\",\"revision\":\"dev\"", cache,
              "fetch it with: hf download Org/Some.Model --revision dev");
    not_found(&t, "\"repo\":\"Org/Some.Model\",\"revision\":\"gone\"", cache,
              "fetch it with: hf download Org/Some.Model --revision gone");
    not_found(&t, "\"repo\":\"Org/Some.Model\",\"revision\":\"odd\"", cache,
              "fetch it with: hf download Org/Some.Model --revision odd");
    not_found(&t, "\"repo\":\"Org/Some.Model\",\"commit\":\"" OTHER "\"", cache,
              "fetch it with: hf download Org/Some.Model --revision " OTHER);
    temp_dir_close(&t);
}

Test(test_recipes_cache, message) {
    TempDir t;
    temp_dir_open(&t);
    Recipe *r = open_recipe(&t, "\"repo\":\"Org/Some.Model\"");
    const char *directory, *commit;
    char wanted[PATH_MAX + 300];
    Error err;
    cr_assert_eq(recipe_locate(r, "/no/hub", &directory, &commit, &err), ERR_IO);
    snprintf(
        wanted, sizeof wanted,
        "%s: base.repo: Org/Some.Model is not in the Hugging Face cache /no/hub; fetch it with: hf download "
        "Org/Some.Model (or name a directory that holds it in base.path)",
        temp_path(&t, "r.json"));
    cr_assert_str_eq(err.message, wanted);
    recipe_close(r);
    temp_dir_close(&t);
}

Test(test_recipes_cache, path_comes_first) {
    TempDir t;
    temp_dir_open(&t);
    make_cache(&t);
    make(&t, "local");
    Recipe *r = open_recipe(&t, "\"repo\":\"Org/Some.Model\",\"path\":\"local\",\"commit\":\"" PINNED "\"");
    const char *directory, *commit;
    Error err;
    cr_assert_eq(recipe_locate(r, temp_path(&t, "hub"), &directory, &commit, &err), 0);
    cr_assert_str_eq(directory, temp_path(&t, "local"));
    cr_assert_str_eq(commit, PINNED);
    recipe_close(r);
    r = open_recipe(&t, "\"path\":\"local\"");
    cr_assert_eq(recipe_locate(r, NULL, &directory, &commit, &err), 0);
    cr_assert_null(commit);
    recipe_close(r);
    r = open_recipe(&t, "\"path\":\"nowhere\"");
    cr_assert_eq(recipe_locate(r, NULL, &directory, &commit, &err), ERR_IO);
    cr_assert(strstr(err.message, "base.path: can't find "), "%s", err.message);
    recipe_close(r);
    temp_dir_close(&t);
}

/* ---- blobs ---- */

static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static bool promise(TempDir *t, const char *target, char hex[SHA256_HEX]) {
    const char *link = temp_path(t, "link");
    unlink(link);
    cr_assert_eq(symlink(target, link), 0);
    return hub_blob_sha256(link, hex);
}

Test(test_recipes_cache, blob_names) {
    TempDir t;
    temp_dir_open(&t);
    char hex[SHA256_HEX], target[256];
    snprintf(target, sizeof target, "../../blobs/%s", digest);
    cr_assert(promise(&t, target, hex));
    cr_assert_str_eq(hex, digest);
    snprintf(target, sizeof target, "/home/x/hub/models--a--b/blobs/%s", digest);
    cr_assert(promise(&t, target, hex));
    snprintf(target, sizeof target, "blobs/%s", digest);
    cr_assert(promise(&t, target, hex));
    cr_assert_not(promise(&t, "../../blobs/" COMMIT, hex)); /* a git hash */
    snprintf(target, sizeof target, "../../objects/%s", digest);
    cr_assert_not(promise(&t, target, hex));
    cr_assert_not(promise(&t, digest, hex));
    snprintf(target, sizeof target, "../../blobs/%s0", digest);
    cr_assert_not(promise(&t, target, hex));
    file_put(temp_path(&t, "plain"), "x");
    cr_assert_not(hub_blob_sha256(temp_path(&t, "plain"), hex));
    cr_assert_not(hub_blob_sha256(temp_path(&t, "absent"), hex));
    temp_dir_close(&t);
}
