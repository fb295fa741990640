/* test_packager_card.c -- the model card: front matter, figures from shapes, what it says of changes, advice,
 * safety of quoted text. Figures of the tiny model: 2 layers, width 64, 128 experts of width 32, 8 query and
 * 2 key heads of 16, 1024 tokens; counted by hand below. */
#include "packager_fixture.h"

enum {
    EXPERT = 3 * 32 * 64,
    LAYER =
        64 + 64 + (8 * 16 * 64) * 2 + (2 * 16 * 64) * 2 + 16 + 16 + 128 * 64, /* norms, attention, router */
    REST = 2 * 1024 * 64 + 64                                                 /* embedding, head, last norm */
};

static char *card(const PackageFixture *f) {
    Buffer b;
    Error err;
    buffer_init(&b, NULL);
    cr_assert_eq(card_write(&b, &f->inputs, &err), 0, "%s", err.message);
    char *text = strdup(buffer_string(&b));
    buffer_free(&b);
    return text;
}

static void has(const char *text, const char *piece) {
    cr_assert(strstr(text, piece), "not in the card: %s\n\n%s", piece, text);
}

static void lacks(const char *text, const char *piece) {
    cr_assert(!strstr(text, piece), "in the card: %s\n\n%s", piece, text);
}

Test(test_packager_card, front_matter) {
    PackageFixture f;
    const char *sets[] = {"package.author=A *bold* one", "package.tags=[\"x: #y\", \"moe\"]"};
    fixture_open(&f, "Org/Base", sets, 2);
    char *text = card(&f);
    static const char expected[] = "---\n"
                                   "license: \"apache-2.0\"\n"
                                   "base_model: \"Org/Base\"\n"
                                   "base_model_relation: \"finetune\"\n"
                                   "pipeline_tag: \"text-generation\"\n"
                                   "library_name: \"transformers\"\n"
                                   "tags:\n"
                                   "- \"gguf\"\n"
                                   "- \"llama-cpp\"\n"
                                   "- \"safetensors\"\n"
                                   "- \"qwen3_moe\"\n"
                                   "- \"moe\"\n"
                                   "- \"recast\"\n"
                                   "- \"x: #y\"\n"
                                   "---\n\n"
                                   "# Tiny-Extreme-16-4x\n";
    cr_assert_eq(strncmp(text, expected, strlen(expected)), 0, "%s", text);
    has(text, "Author: A \\*bold\\* one\n");
    free(text);
    fixture_close(&f);
}

Test(test_packager_card, gguf_alone_and_no_repo) {
    PackageFixture f;
    fixture_open(&f, "Org/Base", NULL, 0);
    f.inputs.manifest.n_artifacts = 1;
    char *text = card(&f);
    has(text, "base_model_relation: \"quantized\"\n");
    has(text, "library_name: \"gguf\"\n");
    lacks(text, "safetensors");
    lacks(text, "AutoModel");
    free(text);
    f.inputs.manifest.repo = f.inputs.manifest.commit = f.inputs.manifest.license = NULL;
    text = card(&f);
    lacks(text, "base_model");
    lacks(text, "license:");
    has(text, "A variant of a local checkpoint");
    free(text);
    fixture_close(&f);
}

Test(test_packager_card, figures) {
    PackageFixture f;
    fixture_open(&f, "Org/Base", NULL, 0);
    char *text = card(&f), wanted[200];
    has(text, "| experts used for a token | 8 of 128 | 16 of 128 |\n");
    cr_assert_eq(2 * LAYER + 2 * 8 * EXPERT + REST, 287104);
    cr_assert_eq(2 * LAYER + 2 * 16 * EXPERT + REST, 385408);
    cr_assert_eq(2 * LAYER + 2 * 128 * EXPERT + REST, 1761664);
    snprintf(wanted, sizeof wanted, "| active parameters | %d | %d |\n", 287104, 385408);
    has(text, wanted);
    has(text, "| all parameters | 1.76 million | 1.76 million |\n");
    has(text, "| context, tokens | 256 | 1024 |\n");
    has(text, "All 128 experts are present; 16 of them are used for each token.");
    free(text);
    fixture_close(&f);
}

Test(test_packager_card, changes_and_advice) {
    PackageFixture f;
    fixture_open(&f, "Org/Base", NULL, 0);
    char *text = card(&f);
    has(text, "- `num_experts_per_tok`: `8` -> `16`\n"
              "- `max_position_embeddings`: `256` -> `1024`\n"
              "- `rope_scaling`: `null` -> "
              "`{\"factor\":4,\"original_max_position_embeddings\":256,\"rope_type\":\"yarn\"}`\n");
    has(text, HASH_2);
    has(text, "- `hf` (bf16, 789 tensors): the same digest, so every value is the base's\n");
    has(text, "The router was trained with 8 experts a token. Above that count quality usually falls");
    has(text, "YaRN is static.");
    has(text, "near (typical length) / 256.");
    has(text, "sha256sum -c SHA256SUMS ");
    has(text, "recast validate . ");
    has(text, "recast validate . --source CHECKPOINT --recipe recipe.json");
    has(text, "hf download Org/Base --revision 9a1b2c3d4e5f60718293a4b5c6d7e8f901234567`");
    has(text, "llama-cli -m Tiny-Extreme-16-4x-BF16.gguf -c 1024\n");
    has(text, "from_pretrained(\"hf\", dtype=\"auto\"");
    has(text, "- `recast launch . --engine llama.cpp`\n");
    has(text, "- `recast launch . --engine vllm`\n");
    has(text, "| output | type | bytes of weights | bits a weight | again after new settings |\n");
    has(text, "| `hf/config.json` | 2 | `" JSON_HASH "` |\n");
    has(text, "Verdict: derived. 1 passed, 0 failed, 1 not run;");
    free(text);
    fixture_close(&f);
}

Test(test_packager_card, bits_of_outputs) {
    PackageFixture f;
    fixture_open(&f, NULL, NULL, 0);
    f.files[1].size = 1761664 * 2 + 9000;
    char *text = card(&f);
    has(text, "| `Tiny-Extreme-16-4x-BF16.gguf` | bf16 | 3532328 | 16.04 | all of it |\n");
    has(text, "| `hf` | bf16 | 0 | 0.00 | the small files |\n"); /* the fixture has only its config.json */
    free(text);
    f.artifacts[0].path = "Tiny-00001-of-00002.gguf";
    f.files[0] = (ManifestFile){"Tiny-00001-of-00002.gguf", 1761664, JSON_HASH};
    f.files[1] = (ManifestFile){"Tiny-00002-of-00002.gguf", 1761664, GGUF_HASH};
    text = card(&f);
    has(text, "| `Tiny-00001-of-00002.gguf` | bf16 | 3523328 | 16.00 | the first shard |\n");
    free(text);
    f.files[1].path = "Tiny-00002-of-00003.gguf"; /* of another set */
    text = card(&f);
    has(text, "| `Tiny-00001-of-00002.gguf` | bf16 | 1761664 | 8.00 | the first shard |\n");
    free(text);
    fixture_close(&f);
}

Test(test_packager_card, advice_follows_the_recipe) {
    PackageFixture f;
    const char *sets[] = {"overrides={\"num_experts_per_tok\": 4}"};
    fixture_open(&f, NULL, sets, 1);
    f.artifacts[0].lossless = false;
    char *text = card(&f);
    lacks(text, "YaRN");
    lacks(text, "Above that count");
    has(text, "Fewer experts cost quality.");
    has(text, "rounded to bf16, so its digest is another: `" HASH_2 "`\n");
    free(text);
    fixture_close(&f);
    const char *none[] = {"overrides={}"};
    fixture_open(&f, NULL, none, 1);
    text = card(&f);
    lacks(text, "Before you rely on it");
    has(text, "Nothing was changed but the container");
    free(text);
    fixture_close(&f);
}

/* Generated text can't leave its fence, and steers no terminal. */
Test(test_packager_card, generated_text) {
    PackageFixture f;
    fixture_open(&f, NULL, NULL, 0);
    char *text = card(&f);
    has(text, "````text\n Speak ```unto\xEF\xBF\xBD[1m\nAaron\n````\n");
    has(text, "48 tokens after\n\n```text\nAnd the LORD said unto Moses,\n```\n");
    has(text, "By the base with the overrides, `Tiny-Extreme-16-4x-BF16.gguf`; arithmetic "
              "`recast-arithmetic-1/f32/kv f32`, tokens `" HASH_1 "`, logits `" HASH_2 "`.\n");
    for (const char *p = text; *p; p++) cr_assert(*p == '\n' || (unsigned char)*p >= 0x20);
    free(text);
    fixture_close(&f);
}
