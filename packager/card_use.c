/* card_use.c -- sections of the card: how to check it, how to run it, what it says, what was checked. */
#include "core/json.h"
#include "packager/card_private.h"
#include <string.h>

/* ---- checking ---- */

void card_verify(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    buffer_printf(
        out,
        "In this directory:\n\n```sh\n"
        "sha256sum -c SHA256SUMS      # every file is the one that was published\n"
        "recast validate .            # it agrees with its own manifest, generation included\n"
        "recast validate . --source CHECKPOINT --recipe recipe.json%s   # it follows from the base\n```\n\n",
        m->lora ? " --lora ADAPTER" : "");
    if (m->repo) {
        buffer_printf(out, "CHECKPOINT is the directory that `hf download %s", m->repo);
        if (m->commit) buffer_printf(out, " --revision %s", m->commit);
        buffer_text(out, "` prints. ");
    } else {
        buffer_text(out, "CHECKPOINT is the directory of the base. ");
    }
    if (m->lora) buffer_text(out, "ADAPTER is the directory of an adapter, for each in the recipe's order. ");
    buffer_text(out, "The last command compares every tensor with the base and runs the recipe again to the "
                     "same SHA-256.\n");
}

/* ---- running ---- */

static void run_gguf(Buffer *out, const char *path, uint32_t context) {
    buffer_printf(
        out,
        "- llama.cpp: `llama-server -m %s -c %u --jinja`\n"
        "- text-generation-webui: `python server.py --model %s --loader llama.cpp --ctx-size %u`, "
        "the file in `user_data/models`\n"
        "- Ollama: `recast launch . --engine ollama -o Modelfile && ollama create NAME -f Modelfile`\n"
        "- Recast: `recast run %s -p \"Hello\"`\n",
        path, context, path, context, path);
}

static void run_hf(Buffer *out, const char *path, uint32_t context) {
    buffer_printf(out,
                  "- vLLM: `vllm serve ./%s --max-model-len %u`\n"
                  "- SGLang: `python -m sglang.launch_server --model-path ./%s --context-length %u`\n"
                  "- transformers: `AutoModelForCausalLM.from_pretrained(\"%s\", dtype=\"auto\", "
                  "device_map=\"auto\")`; from the Hub with the repository's name and `subfolder=\"%s\"`, "
                  "for `AutoTokenizer` too\n",
                  path, context, path, context, path, path);
}

/* One line an engine. Names of artifacts follow from the recipe's: letters, digits, '.', '_', '-'. */
void card_engines(Buffer *out, const PackageInputs *in) {
    const Artifact *gguf = card_first_of(&in->manifest, "gguf"), *hf = card_first_of(&in->manifest, "hf");
    uint32_t context = in->derived->params.context;
    buffer_printf(out,
                  "In this directory. Expert count and RoPE scaling are in the files, so no engine needs an "
                  "option for them. The longest context is %u tokens; memory is reserved for what is asked "
                  "for.\n\n",
                  context);
    if (gguf) run_gguf(out, gguf->path, context);
    if (hf) run_hf(out, hf->path, context);
    buffer_text(out,
                "\n`recast launch . --engine ENGINE --gpu \"RTX 4090\"` writes a start script for any of "
                "these engines and says what fits into that GPU's memory.\n");
}

/* ---- what it says ---- */

static bool same_generation(const GenerationRecord *a, const GenerationRecord *b) {
    return a->n_tokens == b->n_tokens && strcmp(a->prompt, b->prompt) == 0 && strcmp(a->text, b->text) == 0 &&
           strcmp(a->arithmetic, b->arithmetic) == 0 && strcmp(a->tokens_sha256, b->tokens_sha256) == 0 &&
           strcmp(a->logits_sha256, b->logits_sha256) == 0;
}

static bool said_before(const Manifest *m, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (same_generation(&m->generations[j], &m->generations[i])) return true;
    return false;
}

/* Lossless forms generate the same bits: they are named together. */
static void write_generators(Buffer *out, const Manifest *m, size_t first) {
    for (size_t i = first; i < m->n_generations; i++) {
        const GenerationRecord *g = &m->generations[i];
        if (!same_generation(g, &m->generations[first])) continue;
        if (i > first) buffer_text(out, ", ");
        if (g->artifact)
            markdown_code(out, g->artifact);
        else
            buffer_text(out, "the base with the overrides");
    }
}

void card_generations(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    if (m->n_generations == 0) return;
    buffer_text(out, "Greedy, in Recast's strict arithmetic, which gives the same bits on every machine; "
                     "`recast validate` repeats these and compares the hashes.\n\n");
    for (size_t i = 0; i < m->n_generations; i++) {
        const GenerationRecord *g = &m->generations[i];
        if (said_before(m, i)) continue;
        buffer_printf(out, "%u tokens after\n\n", g->n_tokens);
        markdown_fenced(out, g->prompt);
        markdown_fenced(out, g->text);
        buffer_text(out, "By ");
        write_generators(out, m, i);
        buffer_printf(out, "; arithmetic `%s`, tokens `%s`, logits `%s`.\n\n", g->arithmetic,
                      g->tokens_sha256, g->logits_sha256);
    }
}

/* ---- what was checked ---- */

/* The checks of the build in one paragraph; the manifest has them all. */
void card_checks(Buffer *out, const PackageInputs *in) {
    const cJSON *report = in->manifest.report;
    const cJSON *checks = json_get(report, "checks"), *verdict = json_get(report, "verdict");
    unsigned pass = 0, fail = 0, not_run = 0;
    if (!cJSON_IsArray(checks) || !cJSON_IsString(verdict)) return;
    for (const cJSON *c = checks->child; c; c = c->next) {
        const cJSON *status = json_get(c, "status");
        if (!cJSON_IsString(status)) continue;
        pass += strcmp(status->valuestring, "pass") == 0;
        fail += strcmp(status->valuestring, "fail") == 0;
        not_run += strcmp(status->valuestring, "not run") == 0;
    }
    buffer_text(out, "Verdict: ");
    markdown_text(out, verdict->valuestring);
    buffer_printf(out, ". %u passed, %u failed, %u not run; `manifest.json` lists them.\n", pass, fail,
                  not_run);
}
