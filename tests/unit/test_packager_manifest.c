/* test_packager_manifest.c -- manifest.json written and read back, and what a hostile one is refused for. */
#include "packager_fixture.h"
#include <math.h>

static void write_manifest(TempDir *t, const char *text) {
    file_put(temp_path(t, "manifest.json"), text);
}

static char *manifest_text(PackageFixture *f) {
    Manifest m = f->inputs.manifest;
    ManifestFile files[3] = {f->files[1], f->files[0], {"recipe.json", 5, HASH_3}};
    m.files = files;
    m.n_files = 3;
    m.recipe_file = "recipe.json";
    Buffer b;
    Error err;
    buffer_init(&b, NULL);
    cr_assert_eq(manifest_write(&b, &m, &err), 0, "%s", err.message);
    char *text = strdup(buffer_string(&b));
    buffer_free(&b);
    return text;
}

Test(test_packager_manifest, there_and_back) {
    PackageFixture f;
    TempDir t;
    temp_dir_open(&t);
    const char *set = "package.author=Someone";
    fixture_open(&f, "Org/Base", &set, 1);
    f.generations[1].least_margin = INFINITY;
    char *text = manifest_text(&f), *again;
    write_manifest(&t, text);
    Manifest *m;
    Error err;
    cr_assert_eq(manifest_read(&m, t.path, NULL, &err), 0, "%s", err.message);
    cr_assert_str_eq(m->name, "Tiny-Extreme-16-4x");
    cr_assert_str_eq(m->repo, "Org/Base");
    cr_assert_str_eq(m->commit, "9a1b2c3d4e5f60718293a4b5c6d7e8f901234567");
    cr_assert_str_eq(m->license, "apache-2.0");
    cr_assert_str_eq(m->author, "Someone");
    cr_assert_eq(m->n_sources, 1);
    cr_assert_str_eq(m->sources[0].name, "config.json");
    cr_assert_eq(m->sources[0].size, 945);
    cr_assert_str_eq(m->sources[0].sha256, HASH_1);
    cr_assert_str_eq(m->weights_sha256, HASH_2);
    cr_assert_eq(m->n_changes, 3);
    cr_assert_str_eq(m->changes[2].key, "rope_scaling");
    cr_assert_str_eq(m->changes[2].old_value, "null");
    cr_assert_str_eq(m->changes[2].new_value,
                     "{\"factor\":4,\"original_max_position_embeddings\":256,\"rope_type\":\"yarn\"}");
    cr_assert_str_eq(m->recipe_file, "recipe.json");
    cr_assert_eq(m->n_artifacts, 2);
    cr_assert_str_eq(m->artifacts[0].path, "Tiny-Extreme-16-4x-BF16.gguf");
    cr_assert_eq(m->artifacts[0].n_tensors, 27);
    cr_assert(m->artifacts[0].lossless);
    cr_assert_str_eq(m->artifacts[0].derivation_sha256, HASH_3);
    cr_assert_null(m->artifacts[1].derivation_sha256);
    cr_assert_str_eq(m->artifacts[0].metadata_sha256, HASH_1);
    cr_assert_str_eq(m->artifacts[1].metadata_sha256, "");
    cr_assert_str_eq(m->artifacts[1].format, "hf");
    cr_assert_eq(m->n_generations, 2);
    cr_assert_null(m->generations[0].artifact);
    cr_assert_str_eq(m->generations[0].text, " Speak ```unto\x1b[1m\nAaron");
    cr_assert_eq(m->generations[0].least_margin, 0.25f);
    cr_assert(isinf(m->generations[1].least_margin));
    cr_assert_eq(m->generations[0].n_tokens, 48);
    cr_assert_str_eq(json_get(m->report, "verdict")->valuestring, "derived");
    cr_assert_eq(m->n_files, 3);
    cr_assert_str_eq(m->files[1].path, "hf/config.json");
    cr_assert_str_eq(m->files[1].sha256, JSON_HASH);
    /* what was read writes the same bytes */
    Buffer b;
    buffer_init(&b, NULL);
    cr_assert_eq(manifest_write(&b, m, &err), 0);
    again = b.data;
    cr_assert_str_eq(again, text);
    buffer_free(&b);
    free(text);
    manifest_close(m);
    manifest_close(NULL);
    fixture_close(&f);
    temp_dir_close(&t);
}

/* ---- refused ---- */

/* Replaces the first `old` and reads: the error must hold `message`. */
static void refused(TempDir *t, const char *good, const char *old, const char *new, const char *message) {
    const char *at = strstr(good, old);
    cr_assert_not_null(at, "%s", old);
    char *text = malloc(strlen(good) + strlen(new) + 1);
    cr_assert_not_null(text);
    sprintf(text, "%.*s%s%s", (int)(at - good), good, new, at + strlen(old));
    write_manifest(t, text);
    free(text);
    Manifest *m;
    Error err;
    int code = manifest_read(&m, t->path, NULL, &err);
    cr_assert_neq(code, 0, "accepted: %s", new);
    cr_assert_null(m);
    cr_assert(code == ERR_FORMAT || code == ERR_UNSUPPORTED, "%s", err.message);
    cr_assert(strstr(err.message, message), "%s", err.message);
    cr_assert(strstr(err.message, "manifest.json: "), "%s", err.message);
}

typedef struct Wrong {
    const char *old, *new, *message;
} Wrong;

Test(test_packager_manifest, paths) {
    static const Wrong cases[] = {
        {"\"hf/config.json\"", "\"../hf/config.json\"",
         "files[1].path \"../hf/config.json\" has a part \"..\""},
        {"\"hf/config.json\"", "\"hf/../../x\"", "files[1].path \"hf/../../x\" has a part \"..\""},
        {"\"hf/config.json\"", "\"/etc/passwd\"", "files[1].path \"/etc/passwd\" is absolute"},
        {"\"hf/config.json\"", "\"hf\\\\x\"", "files[1].path \"hf\\x\" holds a backslash"},
        {"\"hf/config.json\"", "\"C:x\"", "files[1].path \"C:x\" holds a colon"},
        {"\"hf/config.json\"", "\"hf//x\"", "files[1].path \"hf//x\" has an empty part"},
        {"\"hf/config.json\"", "\"hf/\"", "files[1].path \"hf/\" has an empty part"},
        {"\"hf/config.json\"", "\"./hf\"", "files[1].path \"./hf\" has a part \".\""},
        {"\"hf/config.json\"", "\"hf/a\\nb\"", "holds a control character"},
        {"\"hf/config.json\"", "\"hf/.git/hooks\"", "files[1].path \"hf/.git/hooks\" has a part \".git\""},
        {"\"hf/config.json\"", "\"hf/.Git\"", "has a part \".git\""},
        {"\"hf/config.json\"", "\"hf/x.\"", "has a part that ends in a dot or a blank"},
        {"\"hf/config.json\"", "\"hf/.. /x\"", "has a part that ends in a dot or a blank"},
        {"\"hf/config.json\"", "\"\"", "files[1].path \"\" is empty"},
        {"\"path\": \"hf/config.json\"", "\"path\": 7", "files[1].path is not a string"},
        {"\"path\": \"recipe.json\"", "\"path\": \"hf/config.json\"",
         "files[2].path \"hf/config.json\" is there twice"},
        {"\"path\": \"recipe.json\"", "\"path\": \"a.json\"", "files[2].path is not in order"},
        {"\"path\": \"recipe.json\"", "\"path\": \"hf/Config.json\"",
         "files[2].path \"hf/Config.json\" differs from another only in its case"},
        {"\"path\": \"recipe.json\"", "\"path\": \"Model.sig\"",
         "files[2].path names a file that can't be listed"},
        {"\"path\": \"recipe.json\"", "\"path\": \"manifest.json\"",
         "files[2].path names a file that can't be listed"},
        {"\"path\": \"recipe.json\"", "\"path\": \"z.json\"", "recipe is not among the files"},
        {"\"path\": \"config.json\"", "\"path\": \"../config.json\"",
         "base.files[0].path \"../config.json\" has a part"},
    };
    PackageFixture f;
    TempDir t;
    temp_dir_open(&t);
    fixture_open(&f, "Org/Base", NULL, 0);
    char *good = manifest_text(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(&t, good, cases[i].old, cases[i].new, cases[i].message);
    free(good);
    fixture_close(&f);
    temp_dir_close(&t);
}

Test(test_packager_manifest, members) {
    static const Wrong cases[] = {
        {"\"manifest\": 1", "\"manifest\": 2", "version 2 of the manifest"},
        {"\"manifest\": 1", "\"manifest\": \"1\"", "manifest is not an integer"},
        {"\"name\": \"Tiny-Extreme-16-4x\"", "\"nom\": 1", "name is missing"},
        {"\"base\"", "\"bass\"", "base is missing"},
        {"\"size\": 945", "\"size\": -1", "base.files[0].size is not an integer in 0 .. 2^53"},
        {"\"size\": 945", "\"size\": 9.5", "base.files[0].size is not an integer in 0 .. 2^53"},
        {"\"size\": 945", "\"size\": 1e300", "base.files[0].size is not an integer in 0 .. 2^53"},
        {"\"size\": 945,", "", "base.files[0].size is missing"},
        {HASH_1, "abc", "base.files[0].sha256 is not a SHA-256"},
        {HASH_2, "XYZ", "base.weights_sha256 is not a SHA-256"},
        {"\"overrides\": [", "\"overrides\": [7, ", "overrides holds something that is not an object"},
        {"\"key\": \"num_experts_per_tok\"", "\"kee\": 1", "overrides[0].key is missing"},
        {"\"format\": \"gguf\"", "\"format\": \"exe\"", "artifacts[0].format is neither"},
        {"\"path\": \"hf\"", "\"path\": \"h\"", "artifacts[1].path is not among the files"},
        {"\"path\": \"hf\"", "\"path\": \"hf/config.json\"", "artifacts[1].path is not among the files"},
        {"\"metadata_sha256\": \"" HASH_1, "\"metadata_sha256\": \"1111",
         "artifacts[0].metadata_sha256 is not a SHA-256"},
        {"\"format\": \"hf\"", "\"format\": \"hf\", \"metadata_sha256\": \"" HASH_1 "\"",
         "artifacts[1].metadata_sha256 is given for no gguf"},
        {"\"lossless\": true", "\"lossless\": 1", "artifacts[0].lossless is missing, or neither"},
        {"\"tokens\": 48", "\"tokens\": 0", "generations[0].tokens is not in 1 .."},
        {"\"artifact\": \"Tiny-Extreme-16-4x-BF16.gguf\"", "\"artifact\": \"other\"",
         "generations[1].artifact is not among the artifacts"},
        {"\"checks\": [", "\"cheques\": [", "report.checks is missing"},
        {"\"files\": [\n    {\n      \"path\": \"Tiny",
         "\"files\": 5, \"more\": [\n    {\n      \"path\": \"Tiny", "files is not an array"},
        {"{", "{\"manifest\": 1, ", "is there twice in one object"},
    };
    PackageFixture f;
    TempDir t;
    temp_dir_open(&t);
    fixture_open(&f, "Org/Base", NULL, 0);
    char *good = manifest_text(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(&t, good, cases[i].old, cases[i].new, cases[i].message);
    refused(&t, "[]", "[]", "[1]", "not a JSON object");
    free(good);
    fixture_close(&f);
    Manifest *m;
    Error err;
    cr_assert_eq(manifest_read(&m, temp_path(&t, "nowhere"), NULL, &err), ERR_IO);
    temp_dir_close(&t);
}

/* ---- what a type costs ---- */

Test(test_packager_manifest, quality_there_and_back) {
    static const QualityRecord records[] = {
        {1234, 0.012345678901234567, 1e-300, 0.25, 0.98765432109876543, 7.0000000000000009, 7.25,
         0.1250000000000003, 1e-9},
        {1, 0, 0, 0, 1, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < 2; i++) {
        PackageFixture f;
        TempDir t;
        temp_dir_open(&t);
        fixture_open(&f, "Org/Base", NULL, 0);
        f.artifacts[0].lossless = false;
        f.artifacts[0].quality = records[i];
        char *text = manifest_text(&f);
        cr_assert(strstr(text, "\"mean_kl\""));
        cr_assert_eq(strstr(text, "erplexity") != NULL, records[i].ppl > 0);
        write_manifest(&t, text);
        Manifest *m;
        Error err;
        cr_assert_eq(manifest_read(&m, t.path, NULL, &err), 0, "%s", err.message);
        cr_assert_eq(memcmp(&m->artifacts[0].quality, &records[i], sizeof records[i]), 0,
                     "every bit of every figure");
        cr_assert_eq(m->artifacts[1].quality.positions, 0);
        manifest_close(m);
        free(text);
        fixture_close(&f);
        temp_dir_close(&t);
    }
}

Test(test_packager_manifest, quality_members) {
    static const Wrong cases[] = {
        {"\"quality\": {", "\"quality\": 7, \"more\": {", "artifacts[0].quality is not an object"},
        {"\"quality\": {", "\"quality\": [], \"more\": {", "artifacts[0].quality is not an object"},
        {"\"positions\": 100", "\"positions\": -1", "artifacts[0].quality.positions is not an integer"},
        {"\"positions\": 100", "\"positions\": 1.5", "artifacts[0].quality.positions is not an integer"},
        {"\"positions\": 100,", "", "artifacts[0].quality.positions is missing"},
        {"\"mean_kl\": 0.5", "\"mean_kl\": -0.5",
         "artifacts[0].quality.mean_kl is missing, or no finite number"},
        {"\"mean_kl\": 0.5", "\"mean_kl\": \"0.5\"",
         "artifacts[0].quality.mean_kl is missing, or no finite number"},
        {"\"mean_kl\": 0.5,", "", "artifacts[0].quality.mean_kl is missing, or no finite number"},
        {"\"mean_kl_error\": 0.25", "\"mean_kl_error\": null",
         "quality.mean_kl_error is missing, or no finite number"},
        {"\"kl_999\": 2", "\"kl_999\": true", "quality.kl_999 is missing, or no finite number"},
        {"\"top1\": 0.75", "\"top1\": 1.5", "quality.top1 is above 1"},
        {"\"top1\": 0.75", "\"top1\": -1", "quality.top1 is missing, or no finite number"},
        {"\"source_perplexity\": 8", "\"source_perplexity\": \"8\"",
         "quality.source_perplexity is missing, or"},
        {"\"perplexity\": 9", "\"perplexity\": -9", "quality.perplexity is missing, or no finite number"},
        {"\"perplexity_standard_error\": 0.5", "\"perplexity_standard_error\": \"x\"",
         "quality.perplexity_standard_error is missing, or no finite number"},
        {"\"source_perplexity_standard_error\": 0.75", "\"source_perplexity_standard_error\": -1",
         "quality.source_perplexity_standard_error is missing, or no finite number"},
    };
    PackageFixture f;
    TempDir t;
    temp_dir_open(&t);
    fixture_open(&f, "Org/Base", NULL, 0);
    f.artifacts[0].lossless = false;
    f.artifacts[0].quality = (QualityRecord){100, 0.5, 0.25, 2, 0.75, 8, 9, 0.75, 0.5};
    char *good = manifest_text(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(&t, good, cases[i].old, cases[i].new, cases[i].message);
    free(good);
    fixture_close(&f);
    temp_dir_close(&t);
}

/* Packages of earlier versions give perplexities without their standard errors. */
Test(test_packager_manifest, perplexity_without_its_error) {
    PackageFixture f;
    TempDir t;
    Manifest *m;
    Error err;
    temp_dir_open(&t);
    fixture_open(&f, "Org/Base", NULL, 0);
    f.artifacts[0].lossless = false;
    f.artifacts[0].quality = (QualityRecord){100, 0.5, 0.25, 2, 0.75, 8, 9, 0.75, 0.5};
    char *text = manifest_text(&f);
    for (char *at; (at = strstr(text, "perplexity_standard_error"));) at[0] = 'x'; /* keys nobody knows */
    write_manifest(&t, text);
    cr_assert_eq(manifest_read(&m, t.path, NULL, &err), 0, "%s", err.message);
    const QualityRecord *q = &m->artifacts[0].quality;
    cr_assert(q->ppl == 9 && q->source_ppl == 8 && q->ppl_error == 0 && q->source_ppl_error == 0);
    manifest_close(m);
    free(text);
    fixture_close(&f);
    temp_dir_close(&t);
}

/* Whoever checks a package generates all this again. */
Test(test_packager_manifest, most_records_and_tokens) {
    static GenerationRecord many[MANIFEST_MOST_RECORDS + 1];
    for (int beyond = 0; beyond < 3; beyond++) {
        size_t n = MANIFEST_MOST_RECORDS + (beyond == 1);
        PackageFixture f;
        TempDir t;
        Manifest *m;
        Error err;
        temp_dir_open(&t);
        fixture_open(&f, "Org/Base", NULL, 0);
        for (size_t i = 0; i < n; i++) {
            many[i] = f.generations[0];
            many[i].n_tokens = MANIFEST_MOST_TOKENS / MANIFEST_MOST_RECORDS;
        }
        if (beyond == 2) many[n - 1].n_tokens++;
        f.inputs.manifest.generations = many;
        f.inputs.manifest.n_generations = n;
        char *text = manifest_text(&f);
        write_manifest(&t, text);
        int code = manifest_read(&m, t.path, NULL, &err);
        cr_assert_eq(code, beyond ? ERR_FORMAT : 0, "%s", code ? err.message : "accepted");
        if (beyond)
            cr_assert(strstr(err.message, beyond == 1
                                              ? "generations has more than 1024 elements"
                                              : "generations[1023].tokens brings all records together "
                                                "above 65536 tokens"),
                      "%s", err.message);
        else
            cr_assert_eq(m->n_generations, n);
        manifest_close(m);
        free(text);
        fixture_close(&f);
        temp_dir_close(&t);
    }
}

/* Every cut of a good manifest is an error and nothing worse. */
Test(test_packager_manifest, truncated) {
    PackageFixture f;
    TempDir t;
    temp_dir_open(&t);
    fixture_open(&f, NULL, NULL, 0);
    char *text = manifest_text(&f);
    for (size_t n = strlen(text) - 2; n > 0; n = n > 97 ? n - 97 : 0) {
        text[n] = '\0';
        write_manifest(&t, text);
        Manifest *m;
        Error err;
        cr_assert_eq(manifest_read(&m, t.path, NULL, &err), ERR_FORMAT);
    }
    free(text);
    fixture_close(&f);
    temp_dir_close(&t);
}

Test(test_packager_manifest, nothing_wrong_is_written) {
    static const char *const bad[] = {"../x", "/x", "a//b", "a\\b", ""};
    PackageFixture f;
    fixture_open(&f, NULL, NULL, 0);
    Manifest m = f.inputs.manifest;
    Buffer b;
    Error err;
    buffer_init(&b, NULL);
    cr_assert_eq(manifest_write(&b, &m, &err), ERR_FORMAT); /* not sorted */
    m.n_files = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        f.files[0].path = bad[i];
        cr_assert_eq(manifest_write(&b, &m, &err), ERR_FORMAT, "%s", bad[i]);
    }
    cr_assert_eq(b.length, 0);
    buffer_free(&b);
    fixture_close(&f);
}
