/* A package as it was made, and the ways in which somebody may have tampered with it. */
#include "validate_fixture.h"

#define GGUF "{\"format\":\"gguf\",\"type\":\"bf16\"}"
#define F16  "{\"format\":\"gguf\",\"type\":\"f16\"}"
#define HF   "{\"format\":\"hf\"}"

static void sha256_of_file(char hex[SHA256_HEX], const char *directory, const char *name) {
    size_t length;
    char *bytes = fixture_read(directory, name, &length);
    OK(sha256_bytes(hex, bytes, length, err));
    free(bytes);
}

/* What a forger does after changing a file: every hash of it in the manifest and SHA256SUMS follows. */
static void forge_hashes(const char *package, const char *name, const char *old) {
    char new[SHA256_HEX], manifest_old[SHA256_HEX], manifest_new[SHA256_HEX];
    sha256_of_file(new, package, name);
    sha256_of_file(manifest_old, package, "manifest.json");
    fixture_replace(package, "manifest.json", old, new);
    sha256_of_file(manifest_new, package, "manifest.json");
    fixture_replace(package, "SHA256SUMS", old, new);
    fixture_replace(package, "SHA256SUMS", manifest_old, manifest_new);
}

static void forge_manifest(const char *package, const char *old, const char *new) {
    char before[SHA256_HEX], after[SHA256_HEX];
    sha256_of_file(before, package, "manifest.json");
    fixture_replace(package, "manifest.json", old, new);
    sha256_of_file(after, package, "manifest.json");
    fixture_replace(package, "SHA256SUMS", before, after);
}

static void expect_failure(Made *m, const char *group, const char *name, const char *words) {
    Report *r = validate_at(m->package, NULL, NULL);
    fails_with(r, group, name, words);
    report_is(r, "failed");
    report_close(r);
}

Test(test_validate_package, derived_with_its_source) {
    Made *m = made_open(GGUF "," F16 "," HF);
    cr_assert_eq(report_count(m->report, CHECK_FAIL), 0);
    Report *r = validate_at(m->package, m->source, NULL);
    report_is(r, "derived");
    static const char *const groups[] = {"structure", "hashes", "source", "rebuild", "generation"};
    for (size_t i = 0; i < 5; i++) cr_assert_eq(report_group(r, groups[i]), CHECK_PASS, "%s", groups[i]);
    cr_assert_eq(report_group(r, "quality"), CHECK_NOT_RUN, "the F16 one has figures, but no limit is set");
    const Check *digest = find_check(r, "source", "tiny-BF16.gguf: weights digest");
    cr_assert_str_eq(
        digest->detail,
        "lossless: be974b7483e75be19e66256c857e600cc3f6ef5f1cae5a6135690b52fb2bc4bb, as the source");
    digest = find_check(r, "source", "tiny-F16.gguf: weights digest");
    cr_assert_eq(strncmp(digest->detail, "not lossless: another digest", 28), 0, "%s", digest->detail);
    cr_assert_eq(find_check(r, "generation", "hf: generation")->status, CHECK_PASS);
    report_close(r);
    made_close(m);
}

Test(test_validate_package, consistent_without_a_source) {
    Made *m = made_open(GGUF "," HF);
    Report *r = validate_at(m->package, NULL, NULL);
    Error err = {0};
    report_is(r, "consistent");
    cr_assert_eq(find_check(r, "source", NULL)->status, CHECK_NOT_RUN);
    cr_assert_eq(find_check(r, "rebuild", NULL)->status, CHECK_NOT_RUN);
    for (size_t i = 0; i < r->n_checks; i++) /* a report is the same wherever the package lies */
        cr_assert_null(strstr(r->checks[i].detail, m->root), "%s", r->checks[i].detail);
    cr_assert_eq(validate_require(r, "structure,hashes,generation", &err), 0);
    report_is(r, "consistent");
    cr_assert_eq(validate_require(r, "hashes,hash", &err), ERR_USAGE);
    cr_assert_eq(validate_groups_known("structure,hashes,source,rebuild,generation,quality", &err), 0);
    cr_assert_eq(validate_groups_known("hashes,hash", &err), ERR_USAGE);
    cr_assert_eq(validate_groups_known("hashes,", &err), ERR_USAGE);
    cr_assert_eq(validate_groups_known("", &err), ERR_USAGE);
    cr_assert_eq(validate_require(r, "hashes,source", &err), 0);
    fails_with(r, "source", "required", "not everything");
    report_is(r, "failed");
    report_close(r);
    made_close(m);
}

Test(test_validate_package, a_flipped_bit) {
    Made *m = made_open(GGUF);
    flip_bit(m->package, made_gguf, 1000);
    Report *r = validate_at(m->package, m->source, NULL);
    report_is(r, "failed");
    fails_with(r, "hashes", made_gguf, "SHA-256 is");
    fails_with(r, "source", "tiny-BF16.gguf: tensors", "1 of 27 tensors differ; the first: blk.1.");
    fails_with(r, "source", "tiny-BF16.gguf: weights digest", "other weights");
    fails_with(r, "rebuild", "tiny-BF16.gguf: recipe", "another file");
    report_close(r);
    made_close(m);
}

/* Without the source: a forger who fixes all hashes of the file is caught by the weights digest, and one who
 * fixes that too by what the model says. */
Test(test_validate_package, a_flipped_bit_with_forged_hashes) {
    Made *m = made_open(GGUF);
    char old[SHA256_HEX];
    memcpy(old, m->files[0].sha256, SHA256_HEX);
    size_t length;
    char *bytes = fixture_read(m->package, made_gguf, &length);
    for (size_t i = 1; i < 2000; i += 2)
        bytes[length - i] ^= 0x02; /* exponents, of the last expert and of a norm */
    for (size_t i = length / 2; i < length; i += 2) bytes[i] ^= 0x10;
    fixture_write(m->package, made_gguf, bytes, length);
    free(bytes);
    forge_hashes(m->package, made_gguf, old);
    Report *r = validate_at(m->package, NULL, NULL);
    cr_assert_eq(find_check(r, "hashes", "files")->status, CHECK_PASS);
    fails_with(r, "hashes", "tiny-BF16.gguf: manifest", "weights digest");
    report_close(r);

    Model *forged;
    FixturePath path;
    char digest[SHA256_HEX], both[256], was[256];
    fixture_path(path, m->package, made_gguf);
    OK(model_open(&forged, path, NULL, err));
    OK(weights_digest(digest, forged, 2, NULL, err));
    model_close(forged);
    snprintf(was, sizeof was, "\"weights_sha256\": \"%s\"", m->proof->weights_sha256);
    snprintf(both, sizeof both, "\"weights_sha256\": \"%s\"", digest);
    while (strstr(bytes = fixture_read(m->package, "manifest.json", NULL), was)) {
        free(bytes);
        forge_manifest(m->package, was, both);
    }
    free(bytes);
    r = validate_at(m->package, NULL, NULL);
    fails_with(r, "generation", "tiny-BF16.gguf: generation", "prompt 1 (\"And the LORD said\"): ");
    report_is(r, "failed");
    report_close(r);
    made_close(m);
}

Test(test_validate_package, a_changed_key) {
    Made *m = made_open(GGUF);
    uint32_t used = 12;
    poke_key(m->package, made_gguf, "qwen3moe.expert_used_count", &used, 4);
    Report *r = validate_at(m->package, m->source, NULL);
    fails_with(r, "hashes", made_gguf, "SHA-256 is");
    fails_with(r, "structure", "tiny-BF16.gguf: provenance",
               "provenance describes another file: its recipe sets num_experts_per_tok to 16");
    fails_with(r, "source", "tiny-BF16.gguf: parameters", "experts used is 12, expected 16");
    fails_with(r, "source", "tiny-BF16.gguf: keys", "qwen3moe.expert_used_count");
    fails_with(r, "generation", "tiny-BF16.gguf: generation", "prompt 1");
    report_close(r);
    made_close(m);
}

Test(test_validate_package, files_added_renamed_removed) {
    Made *m = made_open(GGUF "," HF);
    FixturePath from, to;
    fixture_write_text(m->package, "hf/modeling_qwen.py", "import os");
    expect_failure(m, "hashes", "hf/modeling_qwen.py", "is not in the manifest");
    fixture_unlink(m->package, "hf/modeling_qwen.py");
    fixture_path(from, m->package, made_gguf);
    fixture_path(to, m->package, "tiny-Q4_K_M.gguf");
    cr_assert_eq(rename(from, to), 0);
    expect_failure(m, "hashes", made_gguf, "is missing");
    expect_failure(m, "hashes", "tiny-Q4_K_M.gguf", "is not in the manifest");
    cr_assert_eq(rename(to, from), 0);
    fixture_path(from, m->package, ".cache"); /* what `hf download` leaves behind */
    cr_assert_eq(mkdir(from, 0755), 0);
    fixture_write_text(from, "x", "x");
    Report *r = validate_at(m->package, NULL, NULL);
    report_is(r, "consistent");
    report_close(r);
    made_close(m);
}

/* The card says "recast validate .": a path that is a piece of other words too must not eat them. */
static void expect_detail(const char *directory, const char *path, const char *detail) {
    cr_assert_eq(chdir(directory), 0);
    Report *r = validate_at(path, NULL, NULL);
    cr_assert_str_eq(find_check(r, "hashes", "SHA256SUMS")->detail, "agrees with manifest.json");
    cr_assert_str_eq(find_check(r, "structure", "hf: opens")->detail, detail);
    report_close(r);
}

Test(test_validate_package, paths_that_are_pieces_of_words) {
    Made *m = made_open(HF);
    FixturePath path;
    fixture_write_text(m->package, "hf/config.json", "[]");
    static const char detail[] = "config.json: a JSON object was expected";
    expect_detail(m->package, ".", detail);
    expect_detail(m->root, "pkg", detail);
    fixture_path(path, m->root, "e");
    cr_assert_eq(rename(m->package, path), 0);
    expect_detail(m->root, "e", detail);
    expect_detail(m->root, "./e", detail);
    expect_detail(m->root, "e/", detail);
    expect_detail("/", path, detail);
    made_close(m);
}

Test(test_validate_package, links_are_not_followed) {
    Made *m = made_open(GGUF "," HF);
    FixturePath real, link;
    fixture_path(real, m->root, "elsewhere.gguf");
    fixture_path(link, m->package, made_gguf);
    cr_assert_eq(rename(link, real), 0);
    cr_assert_eq(symlink(real, link), 0);
    Report *r = validate_at(m->package, NULL, NULL);
    fails_with(r, "hashes", made_gguf, "is a symbolic link");
    cr_assert_eq(find_check(r, "structure", "tiny-BF16.gguf: opens")->status, CHECK_NOT_RUN);
    report_close(r);
    fixture_path(real, m->root, "elsewhere.json");
    fixture_path(link, m->package, "hf/config.json");
    cr_assert_eq(rename(link, real), 0);
    cr_assert_eq(symlink(real, link), 0);
    expect_failure(m, "hashes", "hf/config.json", "is a symbolic link");
    made_close(m);
}

Test(test_validate_package, poisoned_manifests) {
    Made *m = made_open(GGUF);
    size_t length;
    char *good = fixture_read(m->package, "manifest.json", &length);
    fixture_write_text(m->root, "secret", "x");
    fixture_replace(m->package, "manifest.json", "\"path\": \"README.md\"", "\"path\": \"../secret\"");
    expect_failure(m, "hashes", "manifest.json", "has a part \"..\"");
    fixture_write(m->package, "manifest.json", good, length);
    fixture_replace(m->package, "manifest.json", "\"tokens\": 6", "\"tokens\": 5000");
    expect_failure(m, "generation", "tiny-BF16.gguf: generation", "2048");
    fixture_write(m->package, "manifest.json", good, length);
    fixture_replace(m->package, "manifest.json", "\"tokens\": 6", "\"tokens\": 4000000000");
    expect_failure(m, "hashes", "manifest.json", "above 65536 tokens");
    fixture_write(m->package, "manifest.json", good, length / 2);
    expect_failure(m, "hashes", "manifest.json", "manifest.json");
    fixture_write(m->package, "manifest.json", good, length);
    fixture_replace(m->package, "manifest.json", "\"lossless\": true", "\"lossless\": false");
    expect_failure(m, "hashes", "tiny-BF16.gguf: manifest", "not lossless");
    expect_failure(m, "hashes", "SHA256SUMS", "for manifest.json, expected");
    free(good);
    made_close(m);
}

Test(test_validate_package, other_overrides_in_the_manifest) {
    Made *m = made_open(GGUF);
    forge_manifest(m->package, "\"new\": 16", "\"new\": 12");
    expect_failure(m, "hashes", "tiny-BF16.gguf: manifest",
                   "the manifest gives the override num_experts_per_tok: 8 -> 12, the artifact has "
                   "num_experts_per_tok: 8 -> 16");
    made_close(m);
}

Test(test_validate_package, sums_that_disagree) {
    Made *m = made_open(GGUF);
    size_t length;
    char *good = fixture_read(m->package, "SHA256SUMS", &length);
    fixture_replace(m->package, "SHA256SUMS", m->files[0].sha256, m->proof->weights_sha256);
    expect_failure(m, "hashes", "SHA256SUMS", "for tiny-BF16.gguf, expected");
    fixture_write(m->package, "SHA256SUMS", good, length - 67);
    expect_failure(m, "hashes", "SHA256SUMS", "");
    fixture_write_text(m->package, "SHA256SUMS", "no sums\n");
    expect_failure(m, "hashes", "SHA256SUMS", "line 1");
    fixture_unlink(m->package, "SHA256SUMS");
    expect_failure(m, "hashes", "SHA256SUMS", "is missing");
    free(good);
    made_close(m);
}

/* A forger adds a file to the manifest too: only the recipe, run again, tells that it does not belong there.
 */
Test(test_validate_package, a_file_that_the_recipe_does_not_give) {
    Made *m = made_open(HF);
    char entry[512], before[SHA256_HEX], hex[SHA256_HEX], line[256];
    fixture_write_text(m->package, "hf/a.py", "x");
    sha256_of_file(hex, m->package, "hf/a.py");
    snprintf(
        entry, sizeof entry,
        "{\"path\": \"hf/a.py\", \"size\": 1, \"sha256\": \"%s\"}, {\n      \"path\": \"hf/config.json\"",
        hex);
    sha256_of_file(before, m->package, "manifest.json");
    fixture_replace(m->package, "manifest.json", "{\n      \"path\": \"hf/config.json\"", entry);
    sha256_of_file(line, m->package, "manifest.json");
    fixture_replace(m->package, "SHA256SUMS", before, line);
    snprintf(line, sizeof line, "%s  hf/a.py\n", hex);
    char *sums = fixture_read(m->package, "SHA256SUMS", NULL), all[8192];
    snprintf(all, sizeof all, "%s%s", sums, line);
    fixture_write_text(m->package, "SHA256SUMS", all);
    free(sums);
    Report *r = validate_at(m->package, NULL, NULL);
    fails_with(r, "hashes", "provenance.json", "hf/a.py of the manifest is not among its subjects");
    fails_with(r, "hashes", "bom.cdx.json", "hf/a.py of the manifest is not among its files");
    report_close(r);
    r = validate_at(m->package, m->source, NULL);
    fails_with(r, "rebuild", "hf: recipe", "the recipe gives no file a.py");
    report_close(r);
    made_close(m);
}

Test(test_validate_package, another_source_and_another_pin) {
    Made *m = made_open(GGUF "," HF);
    FixturePath copy, path;
    Model *other;
    Recipe *recipe;
    fixture_path(copy, m->root, "other");
    fixture_copy_dir(FIXTURE_TINY, copy);
    flip_bit(copy, "model-00002-of-00002.safetensors", 10);
    OK(model_open(&other, copy, NULL, err));
    Report *r = validate_at(m->package, other, NULL);
    report_is(r, "failed");
    fails_with(r, "source", "files of the source",
               "model-00002-of-00002.safetensors of the source has SHA-256");
    fails_with(r, "source", "pins", "model-00002-of-00002.safetensors: SHA-256 is");
    fails_with(r, "source", "tiny-BF16.gguf: source files", "model-00002-of-00002.safetensors");
    fails_with(r, "source", "tiny-BF16.gguf: tensors", "1 of 27");
    fails_with(r, "source", "hf: tensors", "1 of 789");
    fails_with(r, "rebuild", "hf: recipe", "model-00002-of-00002.safetensors");
    report_close(r);
    model_close(other);

    fixture_replace(m->root, "recipe.json", "\"repo\": \"example/tiny\"",
                    "\"repo\": \"example/tiny\", \"sha256\": {\"config.json\": "
                    "\"0000000000000000000000000000000000000000000000000000000000000000\"}");
    fixture_path(path, m->root, "recipe.json");
    OK(recipe_load(&recipe, path, NULL, 0, NULL, err));
    r = validate_at(m->package, m->source, recipe);
    fails_with(r, "source", "pins", "config.json: SHA-256 is");
    report_close(r);
    recipe_close(recipe);
    made_close(m);
}
