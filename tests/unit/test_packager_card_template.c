/* test_packager_card_template.c -- templates of the model card: what they give and what is refused
 * (tests/golden/card: accept-NAME.md.in gives accept-NAME.md, reject-NAME.md.in says reject-NAME.expected),
 * and what becomes of one in a package. */
#include "core/output.h"
#include "packager_fixture.h"
#include <dirent.h>

static const char folder[] = "tests/golden/card";

static char *slurp(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char *text = calloc(1, 1 << 16);
    cr_assert_not_null(text);
    *length = fread(text, 1, (1 << 16) - 1, file);
    cr_assert_lt(*length, (1 << 16) - 1);
    fclose(file);
    return text;
}

typedef void Visit(const char *path, const char *expected);

/* Every PREFIX-NAME.md.in, with the path of what it should give. */
static size_t visit_all(const char *prefix, const char *suffix, Visit *visit) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    cr_assert_not_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        size_t length = strlen(e->d_name);
        if (strncmp(e->d_name, prefix, strlen(prefix)) || length < 6 ||
            strcmp(e->d_name + length - 6, ".md.in"))
            continue;
        char path[600], expected[600];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        snprintf(expected, sizeof expected, "%s/%.*s%s", folder, (int)length - 6, e->d_name, suffix);
        visit(path, expected);
        n++;
    }
    closedir(dir);
    return n;
}

static void gives(const char *path, const char *expected) {
    PackageFixture f;
    Arena *arena;
    CardTemplate t;
    Buffer b;
    Error err;
    size_t length;
    fixture_open(&f, "Org/Base", NULL, 0);
    cr_assert_eq(arena_open(&arena, NULL, &err), 0);
    cr_assert_eq(card_template_read(&t, path, arena, &err), 0, "%s", err.message);
    buffer_init(&b, NULL);
    cr_assert_eq(card_write(&b, &f.inputs, &t, &err), 0, "%s", err.message);
    char *text = slurp(expected, &length);
    cr_expect_str_eq(buffer_string(&b), text, "%s:\n%s", path, buffer_string(&b));
    cr_expect_eq(b.length, length, "%s", path);
    free(text);
    buffer_free(&b);
    arena_close(arena);
    fixture_close(&f);
}

static void refuses(const char *path, const char *expected) {
    Arena *arena;
    CardTemplate t;
    Error err;
    char found[1200];
    size_t length;
    cr_assert_eq(arena_open(&arena, NULL, &err), 0);
    cr_expect_neq(card_template_read(&t, path, arena, &err), 0, "%s was taken", path);
    snprintf(found, sizeof found, "%s\n%s\n", error_name(err.code), err.message);
    char *text = slurp(expected, &length);
    cr_expect_str_eq(found, text, "%s:\n%s", path, found);
    free(text);
    arena_close(arena);
}

Test(test_packager_card_template, accepts) {
    cr_assert_geq(visit_all("accept-", ".md", gives), 7);
}

Test(test_packager_card_template, rejects) {
    cr_assert_geq(visit_all("reject-", ".expected", refuses), 28);
}

Test(test_packager_card_template, limits) {
    TempDir t;
    Arena *arena;
    CardTemplate own;
    Error err;
    temp_dir_open(&t);
    cr_assert_eq(arena_open(&arena, NULL, &err), 0);
    cr_assert_eq(card_template_read(&own, temp_path(&t, "none"), arena, &err), ERR_IO);
    FILE *file = fopen(temp_path(&t, "big"), "wb");
    cr_assert_not_null(file);
    for (int i = 0; i < (1 << 20) + 1; i++) fputc('\n', file);
    fclose(file);
    cr_assert_eq(card_template_read(&own, temp_path(&t, "big"), arena, &err), ERR_LIMIT);
    /* small, and much too large once it is expanded */
    file = fopen(temp_path(&t, "bomb"), "wb");
    cr_assert_not_null(file);
    for (int i = 0; i < 50000; i++) fputs("{{engines}}\n", file);
    fclose(file);
    cr_assert_eq(card_template_read(&own, temp_path(&t, "bomb"), arena, &err), 0, "%s", err.message);
    PackageFixture f;
    Buffer b;
    fixture_open(&f, "Org/Base", NULL, 0);
    buffer_init(&b, NULL);
    cr_assert_eq(card_write(&b, &f.inputs, &own, &err), ERR_LIMIT);
    cr_assert(strstr(err.message, "larger than 10 MB"), "%s", err.message);
    buffer_free(&b);
    fixture_close(&f);
    arena_close(arena);
    temp_dir_close(&t);
}

/* It makes README.md, is kept beside it as it was, and the recipe of the package names it. */
Test(test_packager_card_template, in_a_package) {
    static const char own[] = "# My {{name}}\n\n{{changes}}\n";
    TempDir t;
    PackageFixture f;
    Error err;
    size_t length;
    temp_dir_open(&t);
    cr_assert_eq(make_directories(temp_path(&t, "p/hf"), &err), 0);
    file_put(temp_path(&t, "p/hf/config.json"), "{}");
    file_put(temp_path(&t, "p/Tiny-Extreme-16-4x-BF16.gguf"), "gguf bytes");
    file_put(temp_path(&t, "mine.md"), own);
    fixture_open(&f, "a/b", NULL, 0);
    char *path = strdup(temp_path(&t, "mine.md"));
    f.recipe->card = path;
    f.inputs.pinned_recipe =
        "{\n  \"base\": {\"path\": \"/home/x\"},\n  \"package\": { \"card\": \"somewhere/mine.md\" }\n}\n";
    cr_assert_eq(package_write(temp_path(&t, "p"), &f.inputs, NULL, &err), 0, "%s", err.message);
    cr_assert(file_is(temp_path(&t, "p/README.md.in"), own));
    cr_assert(file_is(temp_path(&t, "p/recipe.json"), "{\n  \"base\": {\"path\": \"tiny-qwen3moe\"},\n  "
                                                      "\"package\": { \"card\": \"README.md.in\" }\n}\n"));
    char *readme = slurp(temp_path(&t, "p/README.md"), &length);
    cr_assert(strstr(readme, "---\n\n# My Tiny-Extreme-16-4x\n\n- `num_experts_per_tok`: `8` -> `16`\n"),
              "%s", readme);
    free(readme);
    char *sums = slurp(temp_path(&t, "p/SHA256SUMS"), &length);
    cr_assert(strstr(sums, "  README.md.in\n"));
    free(sums);
    Manifest *m;
    cr_assert_eq(manifest_read(&m, temp_path(&t, "p"), NULL, &err), 0, "%s", err.message);
    cr_assert_str_eq(m->files[2].path, "README.md.in");
    manifest_close(m);
    free(path);
    fixture_close(&f);
    temp_dir_close(&t);
}

/* The program's own card is a template like any other. */
Test(test_packager_card_template, the_own_one) {
    Arena *arena;
    CardTemplate t;
    PackageFixture f;
    Buffer a, b;
    Error err;
    fixture_open(&f, "Org/Base", NULL, 0);
    cr_assert_eq(arena_open(&arena, NULL, &err), 0);
    cr_assert_eq(card_template_read(&t, "packager/card.md", arena, &err), 0, "%s", err.message);
    buffer_init(&a, NULL);
    buffer_init(&b, NULL);
    cr_assert_eq(card_write(&a, &f.inputs, NULL, &err), 0);
    cr_assert_eq(card_write(&b, &f.inputs, &t, &err), 0);
    cr_assert_str_eq(buffer_string(&a), buffer_string(&b));
    cr_assert(!strstr(buffer_string(&a), "{{") && !strstr(buffer_string(&a), "\n\n\n"));
    buffer_free(&a);
    buffer_free(&b);
    arena_close(arena);
    fixture_close(&f);
}
