/* test_validate_evidence.c -- provenance.json and bom.cdx.json that say other things than the manifest: what
 * they leave out, what they say twice, and whose they say the package is. */
#include "core/json.h"
#include "validate_fixture.h"
#include <cjson/cJSON.h>

#define OUTPUTS "{\"format\":\"gguf\",\"type\":\"bf16\"},{\"format\":\"hf\"}"

static const char statement[] = "provenance.json", bom[] = "bom.cdx.json";

/* "a.0.b": members and elements. */
static cJSON *at(cJSON *root, const char *path) {
    char copy[200];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *part = strtok(copy, "."); part; part = strtok(NULL, ".")) {
        root = *part >= '0' && *part <= '9' ? cJSON_GetArrayItem(root, atoi(part))
                                            : cJSON_GetObjectItemCaseSensitive(root, part);
        cr_assert_not_null(root, "%s: %s", path, part);
    }
    return root;
}

static void save(const Made *m, const char *file, const cJSON *root) {
    char *text = cJSON_Print(root);
    fixture_write_text(m->package, file, text);
    free(text);
}

/* words NULL: it agrees. */
static void expect(const Made *m, const char *file, const char *words) {
    Report *r = validate_at(m->package, NULL, NULL);
    const Check *found = NULL;
    for (size_t i = 0; i < r->n_checks; i++)
        if (!strcmp(r->checks[i].group, "hashes") && !strcmp(r->checks[i].name, file) &&
            strncmp(r->checks[i].detail, "SHA-256 is", 10) && !strstr(r->checks[i].detail, " bytes, the"))
            found = &r->checks[i];
    cr_assert_not_null(found, "%s", file);
    cr_expect_eq(found->status, words ? CHECK_FAIL : CHECK_PASS, "%s: %s", words, found->detail);
    if (words) cr_expect(strstr(found->detail, words), "\"%s\" is not in: %s", words, found->detail);
    report_close(r);
}

static cJSON *load(const Made *m, const char *file) {
    char *text = fixture_read(m->package, file, NULL);
    cJSON *root = cJSON_Parse(text);
    cr_assert_not_null(root);
    free(text);
    return root;
}

/* A string in place of another; the file is as before afterwards. */
static void change(const Made *m, const char *file, const char *path, const char *to, const char *words) {
    cJSON *root = load(m, file), *item = at(root, path);
    char *was = fixture_read(m->package, file, NULL);
    cr_assert(cJSON_IsString(item) && cJSON_SetValuestring(item, to), "%s", path);
    save(m, file, root);
    expect(m, file, words);
    fixture_write_text(m->package, file, was);
    free(was);
    cJSON_Delete(root);
}

/* An element replaced by a copy of the one before. */
static void twice(const Made *m, const char *file, const char *list, int index, const char *words) {
    cJSON *root = load(m, file), *items = at(root, list);
    char *was = fixture_read(m->package, file, NULL);
    cJSON_ReplaceItemInArray(items, index, cJSON_Duplicate(cJSON_GetArrayItem(items, index - 1), true));
    save(m, file, root);
    expect(m, file, words);
    fixture_write_text(m->package, file, was);
    free(was);
    cJSON_Delete(root);
}

static int index_of(const Made *m, const char *file, const char *list, const char *name) {
    cJSON *root = load(m, file), *item;
    int i = 0, found = -1;
    cJSON_ArrayForEach(item, at(root, list)) {
        if (!strcmp(at(item, "name")->valuestring, name)) found = i;
        i++;
    }
    cJSON_Delete(root);
    cr_assert_gt(found, 0, "%s", name);
    return found;
}

Test(test_validate_evidence, as_made) {
    Made *m = made_open(OUTPUTS);
    expect(m, statement, NULL);
    expect(m, bom, NULL);
    made_close(m);
}

Test(test_validate_evidence, one_named_twice_in_place_of_another) {
    static const char list[] = "predicate.buildDefinition.resolvedDependencies",
                      files[] = "metadata.component.components";
    Made *m = made_open(OUTPUTS);
    twice(m, statement, "subject", index_of(m, statement, "subject", made_gguf),
          "tiny-BF16.gguf of the manifest is not among its subjects");
    twice(m, statement, "subject", index_of(m, statement, "subject", "hf/tokenizer_config.json"),
          "hf/tokenizer_config.json of the manifest is not among its subjects");
    twice(m, statement, list, index_of(m, statement, list, "vocab.json"),
          "vocab.json, a source of the manifest, is not among its dependencies");
    twice(m, statement, list, index_of(m, statement, list, "example/tiny"), "the base is not among");
    twice(m, bom, files, index_of(m, bom, files, made_gguf),
          "tiny-BF16.gguf of the manifest is not among its files");
    made_close(m);
}

Test(test_validate_evidence, whose_it_is) {
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    Made *m = made_open(OUTPUTS);
    change(m, bom, "metadata.component.licenses.0.license.id", "MIT", "licence of tiny");
    change(m, bom, "metadata.component.pedigree.ancestors.0.name", "other", "base of tiny");
    change(m, bom, "metadata.component.pedigree.ancestors.0.group", "org", "base of tiny");
    change(m, bom, "metadata.component.components.0.hashes.0.alg", "SHA-1", "file");
    change(m, statement, "predicate.buildDefinition.resolvedDependencies.1.annotations.weights_sha256", zeros,
           "weights digest of example/tiny");

    cJSON *root = load(m, bom), *authors = cJSON_AddArrayToObject(at(root, "metadata.component"), "authors");
    cJSON *author = cJSON_CreateObject();
    cJSON_AddStringToObject(author, "name", "Somebody");
    cJSON_AddItemToArray(authors, author);
    save(m, bom, root);
    expect(m, bom, "author of tiny");
    cJSON_Delete(cJSON_DetachItemFromObject(at(root, "metadata.component"), "authors"));
    cJSON_AddItemToArray(at(root, "metadata.component.components.0.hashes"),
                         cJSON_Duplicate(at(root, "metadata.component.components.1.hashes.0"), true));
    save(m, bom, root);
    expect(m, bom, "file");
    cJSON_Delete(root);
    made_close(m);
}
