/* test_packager_evidence.c -- the provenance statement, the bill of materials and the hashes of tensors,
 * against files that other programs have checked (tests/golden/check_evidence.py). */
#include "packager/evidence.h"
#include "packager_fixture.h"

static char *slurp(const char *path) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char *text = calloc(1, 1 << 16);
    cr_assert_lt(fread(text, 1, (1 << 16) - 1, file), (1 << 16) - 1);
    fclose(file);
    return text;
}

/* The program's version is the one thing that may change. */
static void without_version(Buffer *out, const char *text) {
    static const char version[] = "\"" RECAST_VERSION "\"";
    for (const char *at; (at = strstr(text, version)); text = at + sizeof version - 1) {
        buffer_append(out, text, (size_t)(at - text));
        buffer_text(out, "\"0.0.0\"");
    }
    buffer_text(out, text);
}

static void same_as(const Buffer *found, const char *golden) {
    Buffer text;
    char *expected = slurp(golden);
    buffer_init(&text, NULL);
    without_version(&text, buffer_string(found));
    cr_assert_str_eq(buffer_string(&text), expected, "%s:\n%s", golden, buffer_string(&text));
    buffer_free(&text);
    free(expected);
}

Test(packager_evidence, provenance_and_bom) {
    static const char *const licence[] = {"package.license=apache-2.0"};
    PackageFixture f;
    Buffer b;
    Error err;
    fixture_open(&f, "Org/Base", licence, 1);
    f.artifacts[0].quality = (QualityRecord){.positions = 64,
                                             .kl = 0.001,
                                             .kl_error = 0.0001,
                                             .kl_999 = 0.01,
                                             .top1 = 0.984375,
                                             .ppl = 12.5,
                                             .ppl_error = 0.25};
    buffer_init(&b, NULL);
    cr_assert_eq(provenance_statement(&b, &f.inputs, HASH_1, &err), 0, "%s", err.message);
    same_as(&b, "tests/golden/provenance.json");
    buffer_clear(&b);
    cr_assert_eq(bom_write(&b, &f.inputs, HASH_1, HASH_2, &err), 0, "%s", err.message);
    same_as(&b, "tests/golden/bom.cdx.json");
    buffer_free(&b);
    fixture_close(&f);
}

/* Without a repository, an author, a licence: nothing is invented. */
Test(packager_evidence, only_what_is_known) {
    PackageFixture f;
    Buffer b;
    Error err;
    fixture_open(&f, NULL, NULL, 0);
    f.inputs.manifest.license = f.inputs.manifest.author = NULL;
    buffer_init(&b, NULL);
    cr_assert_eq(provenance_statement(&b, &f.inputs, HASH_1, &err), 0, "%s", err.message);
    cr_assert_eq(bom_write(&b, &f.inputs, HASH_1, HASH_2, &err), 0, "%s", err.message);
    cr_assert_not(strstr(buffer_string(&b), "huggingface"));
    cr_assert_not(strstr(buffer_string(&b), "licenses"));
    cr_assert_not(strstr(buffer_string(&b), "authors"));
    cr_assert_not(strstr(buffer_string(&b), "\": null"));
    buffer_free(&b);
    fixture_close(&f);
}

/* llama-gguf-hash --sha256 printed the golden lines. */
Test(packager_evidence, hashes_of_tensors) {
    Buffer b;
    Error err;
    char *golden = slurp("tests/golden/other-architecture.gguf.manifest");
    buffer_init(&b, NULL);
    int code = tensor_hashes_write(&b, "tests/golden/other-architecture.gguf", "other-architecture.gguf",
                                   NULL, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    cr_assert_str_eq(buffer_string(&b), golden);
    buffer_clear(&b);
    cr_assert_eq(tensor_hashes_write(&b, "tests/golden/bom.cdx.json", "x", NULL, &err), ERR_FORMAT);
    buffer_free(&b);
    free(golden);
}
