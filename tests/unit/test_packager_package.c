/* test_packager_package.c -- a whole package in a temporary directory: what is there, that its sums hold,
 * that the same inputs give the same bytes, and what is refused. */
#include "core/output.h"
#include "packager_fixture.h"

static void put_artifacts(TempDir *t) {
    Error err;
    cr_assert_eq(make_directories(temp_path(t, "p/hf"), &err), 0);
    file_put(temp_path(t, "p/hf/config.json"), "{}");
    file_put(temp_path(t, "p/Tiny-Extreme-16-4x-BF16.gguf"), "gguf bytes");
}

static int package(TempDir *t, const PackageFixture *f, Error *err) {
    return package_write(temp_path(t, "p"), &f->inputs, NULL, err);
}

/* A whole small file; free it. */
static char *slurp(const char *path) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char *text = calloc(1, 1 << 16);
    cr_assert_not_null(text);
    cr_assert_lt(fread(text, 1, (1 << 16) - 1, file), (1 << 16) - 1);
    fclose(file);
    return text;
}

Test(test_packager_package, contents) {
    TempDir t;
    PackageFixture f;
    Error err;
    temp_dir_open(&t);
    put_artifacts(&t);
    fixture_open(&f, "a/b", NULL, 0);
    f.recipe->repo = "a/b";
    cr_assert_eq(package(&t, &f, &err), 0, "%s", err.message);
    cr_assert_eq(count_entries(temp_path(&t, "p")), 9);
    cr_assert(file_is(temp_path(&t, "p/recipe.json"),
                      "{\n  \"recipe\": 1,\n  \"base\": {\n    \"repo\": \"a/b\"\n  }\n}\n"));
    cr_assert(file_is(temp_path(&t, "p/.gitattributes"),
                      "*.gguf filter=lfs diff=lfs merge=lfs -text\n"
                      "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
                      "tokenizer.json filter=lfs diff=lfs merge=lfs -text\n"));
    char *sums = slurp(temp_path(&t, "p/SHA256SUMS"));
    static const char *const order[] = {".gitattributes",  "README.md",      "Tiny-Extreme-16-4x-BF16.gguf",
                                        "bom.cdx.json",    "hf/config.json", "manifest.json",
                                        "provenance.json", "recipe.json"};
    const char *line = sums;
    for (size_t i = 0; i < 8; i++) {
        char *end = strchr(line, '\n'), hex[SHA256_HEX], path[128];
        cr_assert_not_null(end);
        cr_assert_eq(sscanf(line, "%64[0-9a-f]  %127[^\n]", hex, path), 2);
        cr_assert_str_eq(path, order[i]);
        line = end + 1;
    }
    cr_assert_eq(*line, '\0');
    /* sha256sum itself agrees */
    char command[PATH_MAX + 64];
    snprintf(command, sizeof command, "cd '%s' && sha256sum --strict --quiet -c SHA256SUMS",
             temp_path(&t, "p"));
    cr_assert_eq(system(command), 0);
    free(sums);

    Manifest *m;
    cr_assert_eq(manifest_read(&m, temp_path(&t, "p"), NULL, &err), 0, "%s", err.message);
    cr_assert_eq(m->n_files, 7);
    cr_assert_str_eq(m->files[1].path, "README.md");
    cr_assert_str_eq(m->recipe_file, "recipe.json");
    manifest_close(m);
    char *readme = slurp(temp_path(&t, "p/README.md"));
    cr_assert(strstr(readme, "| `recipe.json` |"));
    cr_assert(strstr(readme, "| `Tiny-Extreme-16-4x-BF16.gguf` | 10 | `" GGUF_HASH "` |"));
    cr_assert(!strstr(readme, "/home/"));
    free(readme);
    fixture_close(&f);
    temp_dir_close(&t);
}

Test(test_packager_package, same_bytes_in_another_place) {
    TempDir t, u;
    PackageFixture f;
    Error err;
    temp_dir_open(&t);
    temp_dir_open(&u);
    put_artifacts(&t);
    put_artifacts(&u);
    fixture_open(&f, NULL, NULL, 0);
    cr_assert_eq(package(&t, &f, &err), 0, "%s", err.message);
    ManifestFile swap = f.files[0]; /* the order of the caller's list does not matter */
    f.files[0] = f.files[1];
    f.files[1] = swap;
    cr_assert_eq(package(&u, &f, &err), 0, "%s", err.message);
    char *one = slurp(temp_path(&t, "p/SHA256SUMS")), *two = slurp(temp_path(&u, "p/SHA256SUMS"));
    cr_assert_str_eq(one, two);
    free(one);
    free(two);
    fixture_close(&f);
    temp_dir_close(&t);
    temp_dir_close(&u);
}

/* Without a repository a recipe must keep a path, but not the machine's. */
Test(test_packager_package, path_of_a_local_base) {
    static const char *const cases[][2] = {
        {"/home/someone/models/tiny/", "tiny"}, {"../x", "x"}, {"..", "checkpoint"}, {"/", "checkpoint"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TempDir t;
        PackageFixture f;
        Error err;
        char wanted[256];
        temp_dir_open(&t);
        put_artifacts(&t);
        fixture_open(&f, NULL, NULL, 0);
        f.recipe->base_path = cases[i][0];
        f.inputs.pinned_recipe = "{\"recipe\": 1, \"base\": {\"path\": \"/home/someone/models/tiny\"}}";
        cr_assert_eq(package(&t, &f, &err), 0, "%s", err.message);
        snprintf(wanted, sizeof wanted, "{\"recipe\": 1, \"base\": {\"path\": \"%s\"}}", cases[i][1]);
        cr_assert(file_is(temp_path(&t, "p/recipe.json"), wanted));
        fixture_close(&f);
        temp_dir_close(&t);
    }
}

/* ---- refused; nothing of the package's own is written then ---- */

static void refused(TempDir *t, const PackageFixture *f, int code, const char *message) {
    Error err;
    cr_assert_eq(package(t, f, &err), code, "%s", err.message);
    cr_assert(strstr(err.message, message), "%s", err.message);
    cr_assert(!path_exists(temp_path(t, "p/manifest.json")) && !path_exists(temp_path(t, "p/SHA256SUMS")));
}

Test(test_packager_package, path_tricks) {
    TempDir t;
    PackageFixture f;
    temp_dir_open(&t);
    put_artifacts(&t);
    fixture_open(&f, NULL, NULL, 0);
    file_put(temp_path(&t, "outside"), "{}");
    f.files[0].path = "../outside";
    refused(&t, &f, ERR_FORMAT, "the path \"../outside\" has a part \"..\"");
    f.files[0].path = "/etc/hostname";
    refused(&t, &f, ERR_FORMAT, "is absolute");
    f.files[0].path = "hf\\config.json";
    refused(&t, &f, ERR_FORMAT, "holds a backslash");
    f.files[0].path = "README.md";
    refused(&t, &f, ERR_FORMAT, "which the package writes itself");
    f.files[0].path = "Tiny-Extreme-16-4x-BF16.gguf";
    f.files[0].size = 10;
    refused(&t, &f, ERR_FORMAT, "is listed twice");
    f.files[0].path = "hf/absent.json";
    refused(&t, &f, ERR_IO, "hf/absent.json is to be packaged: ");
    f.files[0].path = "no/absent.json";
    refused(&t, &f, ERR_IO, "no/absent.json: can't enter its directory: ");
    f.files[0].path = "hf";
    refused(&t, &f, ERR_FORMAT, "hf is not a regular file");
    fixture_close(&f);
    temp_dir_close(&t);
}

Test(test_packager_package, links_and_changes) {
    TempDir t;
    PackageFixture f;
    temp_dir_open(&t);
    put_artifacts(&t);
    fixture_open(&f, NULL, NULL, 0);
    f.files[0].size = 3;
    refused(&t, &f, ERR_CHECK, "hf/config.json has 2 bytes, expected 3");
    f.files[0].size = 2;
    file_put(temp_path(&t, "p/hf/stray.bin"), "x");
    refused(&t, &f, ERR_FORMAT, "hf/stray.bin belongs to no artifact");
    unlink(temp_path(&t, "p/hf/stray.bin"));
    unlink(temp_path(&t, "p/hf/config.json"));
    cr_assert_eq(symlink("../../outside", temp_path(&t, "p/hf/config.json")), 0);
    file_put(temp_path(&t, "outside"), "{}");
    refused(&t, &f, ERR_FORMAT, "hf/config.json is not a regular file");
    unlink(temp_path(&t, "p/hf/config.json"));
    rmdir(temp_path(&t, "p/hf"));
    cr_assert_eq(symlink("..", temp_path(&t, "p/hf")), 0);
    file_put(temp_path(&t, "config.json"), "{}");
    refused(&t, &f, ERR_IO, "hf/config.json: can't enter its directory");
    fixture_close(&f);
    temp_dir_close(&t);
}
