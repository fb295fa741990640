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
    cr_assert_eq(card_write(&b, &f->inputs, NULL, &err), 0, "%s", err.message);
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
    has(text, "- llama.cpp: `llama-server -m Tiny-Extreme-16-4x-BF16.gguf -c 1024 --jinja`\n");
    has(text, "- text-generation-webui: `");
    has(text, "- Ollama: `");
    has(text, "- vLLM: `vllm serve ./hf --max-model-len 1024`\n");
    has(text, "- SGLang: `");
    has(text, "from_pretrained(\"hf\", dtype=\"auto\"");
    has(text, "| output | type | size | bits a weight |\n|---|---|---:|---:|\n");
    has(text, "| `Tiny-Extreme-16-4x-BF16.gguf` | metadata | `" HASH_1 "` |\n");
    has(text, "| `Tiny-Extreme-16-4x-BF16.gguf` | derivation | `" HASH_3 "` |\n");
    has(text, "- `hf`: the small files; of the weights none\n");
    has(text,
        "This variant is published under `apache-2.0`. Its weights are those of "
        "[Org/Base](https://huggingface.co/Org/Base) by Org, whose licence and terms hold for it too.\n");
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
    has(text, "| `Tiny-Extreme-16-4x-BF16.gguf` | bf16 | 3.53 MB | 16.04 |\n");
    has(text, "| `hf` | bf16 | 0 bytes | 0.00 |\n"); /* the fixture has only its config.json */
    free(text);
    f.artifacts[0].path = "Tiny-00001-of-00002.gguf";
    f.files[0] = (ManifestFile){"Tiny-00001-of-00002.gguf", 1761664, JSON_HASH};
    f.files[1] = (ManifestFile){"Tiny-00002-of-00002.gguf", 1761664, GGUF_HASH};
    text = card(&f);
    has(text, "| `Tiny-00001-of-00002.gguf` | bf16 | 3.52 MB | 16.00 |\n");
    has(text, "- `Tiny-00001-of-00002.gguf`: the first shard alone\n");
    free(text);
    f.files[1].path = "Tiny-00002-of-00003.gguf"; /* of another set */
    text = card(&f);
    has(text, "| `Tiny-00001-of-00002.gguf` | bf16 | 1.76 MB | 8.00 |\n");
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

/* One table says what each output takes and costs; the lossless ones have the base's own perplexity. */
Test(test_packager_card, costs_of_outputs) {
    PackageFixture f;
    fixture_open(&f, "Org/Base", NULL, 0);
    char *text = card(&f);
    lacks(text, "mean KL");
    free(text);
    f.artifacts[0].lossless = false;
    f.artifacts[0].quality =
        (QualityRecord){.positions = 100, .kl = 0.0125, .kl_error = 0.001, .kl_999 = 0.5, .top1 = 0.9375};
    text = card(&f);
    has(text, "| output | type | size | bits a weight | mean KL | 99.9 % KL | top-1 |\n"
              "|---|---|---:|---:|---:|---:|---:|\n");
    has(text, " | 0.0125 ± 0.001 | 0.5 | 93.75 % |\n");
    has(text, "| `hf` | bf16 | 0 bytes | 0.00 | 0 | 0 | 100 % |\n");
    has(text, "in the answers to a few prompts. KL is");
    lacks(text, "erplexit");
    free(text);
    f.artifacts[0].quality.source_ppl = 8;
    f.artifacts[0].quality.source_ppl_error = 0.25;
    f.artifacts[0].quality.ppl = 9;
    f.artifacts[0].quality.ppl_error = 0.5;
    text = card(&f);
    has(text, "| bits a weight | perplexity | mean KL | 99.9 % KL | top-1 "
              "|\n|---|---|---:|---:|---:|---:|---:|---:|\n");
    has(text, " | 9.0000 ± 0.9800 | 0.0125 ± 0.001 | 0.5 | 93.75 % |\n");
    has(text, "| `hf` | bf16 | 0 bytes | 0.00 | 8.0000 ± 0.4900 | 0 | 0 | 100 % |\n");
    has(text, "of a text, where that has a perplexity of 8.0000. KL is");
    free(text);
    f.artifacts[0].quality.source_ppl_error = f.artifacts[0].quality.ppl_error = 0; /* an older record */
    text = card(&f);
    has(text, " | 9.0000 | 0.0125 ± 0.001 | 0.5 | 93.75 % |\n");
    free(text);
    f.artifacts[1].lossless = false; /* measured not at all */
    text = card(&f);
    has(text, "| `hf` | bf16 | 0 bytes | 0.00 | – | – | – | – |\n");
    free(text);
    fixture_close(&f);
}

static int checked(const PackageFixture *f, const char *text, Error *err) {
    return card_check(text, strlen(text), &f->inputs.manifest, err);
}

/* A card of anyone's package: licence and base are the manifest's, or it is refused. */
Test(test_packager_card, what_a_card_may_claim) {
    static const char *const good = "---\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\ntags:\n- \"x\"\n"
                                    "# no\nx: >-\n  base_model: y\n"
                                    "y: [a, {b: 'it''s'}, !t \"c\"] # '\nz: don't [\n\n---\n";
    static const char *const bad[] = {
        "# no front matter\n",
        "",
        "---\nlicense: \"mit\"\nbase_model: \"Org/Base\"\n---\n",
        "---\nlicense: apache-2.0\nbase_model: \"Org/Base\"\n---\n",
        "---\nlicense: \"apache-2.0\"\n---\nbase_model: \"Org/Base\"\n",
        "---\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\nbase_model: \"Org/Base\"\n---\n",
        "---\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\n\"base_model\": x\n---\n",
        "---\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\nbase_model : x\n---\n",
        "---\n license: \"apache-2.0\"\n base_model: \"Org/Base\"\n---\n",
        "---\nlicense: \"apache-2.0\"\nbase_model:\n- \"Org/Base\"\n- \"Org/Else\"\n---\n",
        /* YAML sees other lines, or text where lines are */
        "---\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\nx: a\rlicense: mit\n---\n",
        "---\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\nx: a\xC2\x85license: mit\n---\n",
        "---\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\nx: a\u2028license: mit\n---\n",
        "---\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\n# a\u2029license: mit\n---\n",
        "---\nx: 'a\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\n '\n---\n",
        "---\nx:\n- !t 'it''s\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\n '\n---\n",
        "---\nx: [{a, \"b\": 'c'},\nlicense: \"apache-2.0\"\nbase_model: \"Org/Base\"\n ]\n---\n",
    };
    PackageFixture f;
    Error err;
    fixture_open(&f, "Org/Base", NULL, 0);
    char *own = card(&f);
    cr_assert_eq(checked(&f, own, &err), 0, "%s", err.message);
    free(own);
    cr_assert_eq(checked(&f, good, &err), 0, "%s", err.message);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(checked(&f, bad[i], &err), ERR_CHECK, "%s", bad[i]);
    f.inputs.manifest.repo = f.inputs.manifest.license = NULL;
    own = card(&f);
    cr_assert_eq(checked(&f, own, &err), 0, "%s", err.message);
    free(own);
    cr_assert_eq(checked(&f, good, &err), ERR_CHECK);
    cr_assert_eq(checked(&f, "---\n base_model: \"Org/Base\"\n---\n", &err), ERR_CHECK);
    fixture_close(&f);
}

/* Names from anywhere are text: no markup, no HTML, no further column. */
Test(test_packager_card, hostile_names) {
    PackageFixture f;
    fixture_open(&f, "Org/Base", NULL, 0);
    f.files[0].path = "hf/a`b|<img src=x>.json";
    f.inputs.manifest.author = "<script>alert(\"1\")</script> & [x](y) `z`";
    Change change = {"k`<b>", "\"a``b\"", "\"<i>|\x1b\""};
    f.inputs.manifest.changes = &change;
    f.inputs.manifest.n_changes = 1;
    char *text = card(&f);
    has(text, "| ``hf/a`b\\|<img src=x>.json`` | 2 | `");
    has(text, "Author: &lt;script&gt;alert\\(&quot;1&quot;\\)&lt;/script&gt; &amp; \\[x\\]\\(y\\) \\`z\\`\n");
    has(text, "- ``k`<b>``: ```\"a``b\"``` -> `\"<i>|\xEF\xBF\xBD\"`\n");
    lacks(text, "<script>");
    free(text);
    fixture_close(&f);
}
