/* card.c -- README.md of a package: the model card that Hugging Face shows.
 *
 * Front matter first (hub-docs, model-cards.md; every string is quoted as JSON, which is YAML too), then
 * prose. It says what can be checked and no more: numbers come from shapes and hashes, never from the model's
 * name. */
#include "core/json.h"
#include "model/family.h"
#include "model/lora.h"
#include "packager/manifest_private.h"
#include <inttypes.h>
#include <string.h>

static bool has_format(const Manifest *m, const char *format) {
    for (size_t i = 0; i < m->n_artifacts; i++)
        if (strcmp(m->artifacts[i].format, format) == 0) return true;
    return false;
}

static const Artifact *first_of(const Manifest *m, const char *format) {
    for (size_t i = 0; i < m->n_artifacts; i++)
        if (strcmp(m->artifacts[i].format, format) == 0) return &m->artifacts[i];
    return NULL;
}

/* ---- front matter ---- */

static void yaml_pair(Buffer *out, const char *key, const char *value) {
    buffer_printf(out, "%s: ", key);
    json_write_string(out, value);
    buffer_char(out, '\n');
}

/* The i-th tag of the card, or NULL behind the last: what the files are first, then the recipe's. "" is none.
 */
static const char *tag_at(const PackageInputs *in, size_t i) {
    const Manifest *m = &in->manifest;
    const Family *family = in->derived->family;
    switch (i) {
    case 0: return has_format(m, "gguf") ? "gguf" : "";
    case 1: return has_format(m, "gguf") ? "llama-cpp" : "";
    case 2: return has_format(m, "hf") ? "safetensors" : "";
    case 3: return family ? family->hf_model_type : "";
    case 4: return in->derived->params.n_experts ? "moe" : "";
    case 5: return "recast";
    default: return i - 6 < in->recipe->n_tags ? in->recipe->tags[i - 6] : NULL;
    }
}

static bool tag_is_new(const PackageInputs *in, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (strcmp(tag_at(in, j), tag_at(in, i)) == 0) return false;
    return tag_at(in, i)[0] != '\0';
}

static void write_front_matter(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    bool hf = has_format(m, "hf");
    buffer_text(out, "---\n");
    if (m->license) yaml_pair(out, "license", m->license);
    if (m->repo) {
        /* The Hub has no word for "same weights, other parameters"; finetune is the closest for safetensors.
         */
        yaml_pair(out, "base_model", m->repo);
        yaml_pair(out, "base_model_relation", hf || m->lora ? "finetune" : "quantized");
    }
    yaml_pair(out, "pipeline_tag", "text-generation");
    yaml_pair(out, "library_name", hf ? "transformers" : "gguf");
    buffer_text(out, "tags:\n");
    for (size_t i = 0; tag_at(in, i); i++) {
        if (!tag_is_new(in, i)) continue;
        buffer_text(out, "- ");
        json_write_string(out, tag_at(in, i));
        buffer_char(out, '\n');
    }
    buffer_text(out, "---\n\n");
}

/* ---- pieces of Markdown ---- */

/* Text of a recipe in running Markdown: nothing in it is markup. */
static void write_escaped(Buffer *out, const char *text) {
    for (; *text; text++) {
        if (strchr("\\`*_{}[]<>()#+-.!|~&", *text)) buffer_char(out, '\\');
        buffer_char(out, *text);
    }
}

/* Generated text and prompts may hold anything: control characters become U+FFFD, and the fence is longer
 * than any run of backticks inside. */
static void write_fenced(Buffer *out, const char *text) {
    size_t longest = 2, run = 0;
    for (const char *p = text; *p; p++) {
        run = *p == '`' ? run + 1 : 0;
        if (run > longest) longest = run;
    }
    for (size_t i = 0; i <= longest; i++) buffer_char(out, '`');
    buffer_text(out, "text\n");
    for (const char *p = text; *p; p++) {
        bool control = ((unsigned char)*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7F;
        if (control)
            buffer_text(out, "\xEF\xBF\xBD");
        else
            buffer_char(out, *p);
    }
    if (*text && text[strlen(text) - 1] != '\n') buffer_char(out, '\n');
    for (size_t i = 0; i <= longest; i++) buffer_char(out, '`');
    buffer_text(out, "\n\n");
}

/* "30.53 billion", in integer arithmetic: no locale, no rounding of the machine's own. */
static void write_count(Buffer *out, uint64_t n) {
    uint64_t unit = n >= 1000000000 ? 1000000000 : 1000000;
    if (n < 1000000) {
        buffer_printf(out, "%" PRIu64, n);
        return;
    }
    uint64_t hundredths = (n + unit / 200) / (unit / 100);
    buffer_printf(out, "%" PRIu64 ".%02" PRIu64 " %s", hundredths / 100, hundredths % 100,
                  unit == 1000000 ? "million" : "billion");
}

/* ---- what it is ---- */

static void write_intro(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    buffer_printf(out, "# %s\n\n", m->name);
    if (m->repo)
        buffer_printf(out, "A variant of [%s](https://huggingface.co/%s)", m->repo, m->repo);
    else
        buffer_text(out, "A variant of a local checkpoint");
    if (m->commit) buffer_printf(out, " at commit `%s`", m->commit);
    buffer_text(out, ", made by Recast from the recipe in `recipe.json`. ");
    if (m->lora)
        buffer_text(out, "Adapters (LoRA) were merged into its weights; nothing else was trained.\n\n");
    else
        buffer_text(out, m->n_changes
                             ? "Parameters were changed; nothing was trained, and no weight was edited.\n\n"
                             : "Nothing was changed but the container; nothing was trained.\n\n");
    if (m->author) {
        buffer_text(out, "Author: ");
        write_escaped(out, m->author);
        buffer_text(out, "\n\n");
    }
}

/* Names such as "A6B" are guesses; these figures come from the shapes. */
static void write_parameters(Buffer *out, const PackageInputs *in) {
    const ModelParams *base = &in->source->params, *now = &in->derived->params;
    if (!in->derived->family) return; /* without a family the shapes are not known to be all */
    buffer_text(out, "| | base | this variant |\n|---|---|---|\n");
    if (now->n_experts) {
        buffer_printf(out, "| experts used for a token | %u of %u | %u of %u |\n", base->n_experts_used,
                      base->n_experts, now->n_experts_used, now->n_experts);
        buffer_text(out, "| active parameters | ");
        write_count(out, params_active(base));
        buffer_text(out, " | ");
        write_count(out, params_active(now));
        buffer_text(out, " |\n");
    }
    buffer_text(out, "| all parameters | ");
    write_count(out, params_total(base));
    buffer_text(out, " | ");
    write_count(out, params_total(now));
    buffer_printf(out, " |\n| context, tokens | %u | %u |\n\n", base->context, now->context);
    if (!now->n_experts) return;
    buffer_printf(out,
                  "All %u experts are present; %u of them are used for each token. Parameters are counted "
                  "from the shapes of the tensors, embedding and output head included; a name such as "
                  "\"A3B\" or \"A6B\" is only a name.\n\n",
                  now->n_experts, now->n_experts_used);
}

/* ---- what was changed, what was not ---- */

static void write_adapters(Buffer *out, const Lora *lora) {
    const LoraAdapterInfo *infos;
    size_t n = lora_adapters(lora, &infos);
    LoraSummary all = lora_summary(lora);
    for (size_t i = 0; i < n; i++)
        buffer_printf(out,
                      "- an adapter was merged, scale %g: `adapter_model.safetensors` with SHA-256 `%s`, %zu "
                      "pairs and %zu "
                      "whole tensors, all applied\n",
                      infos[i].scale, infos[i].weights_sha256, infos[i].n_pairs, infos[i].n_replaced);
    buffer_printf(
        out,
        "- so %zu tensors of the checkpoint differ from the base's: %llu of %llu values, by at most %g "
        "(in `%s`), by %g on average\n",
        all.n_tensors, (unsigned long long)all.changed, (unsigned long long)all.elements, (double)all.max,
        all.max_name, all.mean);
}

static void write_changes(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    buffer_text(out, "## What was changed\n\n");
    for (size_t i = 0; i < m->n_changes; i++)
        buffer_printf(out, "- `%s`: `%s` -> `%s`\n", m->changes[i].key, m->changes[i].old_value,
                      m->changes[i].new_value);
    for (size_t i = 0; i < in->recipe->n_outputs; i++) {
        const RecipeOutput *o = &in->recipe->outputs[i];
        if (o->bake_dynamic)
            buffer_printf(out,
                          "- `%s`: GGUF has no dynamic RoPE scaling, so the base frequency that it has at %u "
                          "tokens is written as a fixed one; shorter texts run with it too\n",
                          o->file_name, o->bake_dynamic);
    }
    if (m->lora) write_adapters(out, m->lora);
    if (m->n_changes == 0 && !m->lora) buffer_text(out, "No parameter.\n");
    buffer_char(out, '\n');
}

static void write_unchanged(Buffer *out, const Manifest *m) {
    bool rounded = false;
    for (size_t i = 0; i < m->n_artifacts; i++) rounded = rounded || !m->artifacts[i].lossless;
    buffer_printf(out, "## What was not changed\n\n%s%s.",
                  m->lora ? "All tensors that no adapter names" : "The weights",
                  rounded && !m->lora ? ", but for rounding where the list says so" : "");
    if (m->weights_sha256 && m->weights_sha256[0])
        buffer_printf(out,
                      " The weights digest of the base, a SHA-256 over every tensor's name, shape and values "
                      "that does not depend on the container, is\n`%s`.",
                      m->weights_sha256);
    buffer_text(out, "\n\n");
    for (size_t i = 0; i < m->n_artifacts; i++) {
        const Artifact *a = &m->artifacts[i];
        if (a->lossless)
            buffer_printf(out, "- `%s` (%s, %zu tensors): the same digest, so every value is the base's\n",
                          a->path, a->type, a->n_tensors);
        else if (a->weights_sha256[0] && m->lora)
            buffer_printf(out, "- `%s` (%s, %zu tensors): after the merge `%s`\n", a->path, a->type,
                          a->n_tensors, a->weights_sha256);
        else if (a->weights_sha256[0])
            buffer_printf(out, "- `%s` (%s, %zu tensors): rounded to %s, so its digest is another: `%s`\n",
                          a->path, a->type, a->n_tensors, a->type, a->weights_sha256);
        else
            buffer_printf(out, "- `%s` (%s, %zu tensors): no weights digest\n", a->path, a->type,
                          a->n_tensors);
    }
    buffer_char(out, '\n');
}

/* What types cost: only of those that were measured. */
static void write_quality(Buffer *out, const Manifest *m) {
    size_t n = 0;
    bool text = false;
    for (size_t i = 0; i < m->n_artifacts; i++) {
        n += m->artifacts[i].quality.positions > 0;
        text = text || m->artifacts[i].quality.ppl > 0;
    }
    if (!n) return;
    buffer_printf(
        out,
        "## What the smaller files cost\n\nPredictions beside those of the base with the changes above, "
        "token "
        "by token%s. KL is the mean Kullback-Leibler divergence with its 95 %% interval, top-1 the share of "
        "tokens where both find the same one most probable.\n\n| file | type | mean KL | 99.9 %% KL | top-1 "
        "|%s\n|---|---|---|---|---|%s\n",
        text ? " of a text" : ", in the answers to a few prompts", text ? " perplexity | base |" : "",
        text ? "---|---|" : "");
    for (size_t i = 0; i < m->n_artifacts; i++) {
        const Artifact *a = &m->artifacts[i];
        const QualityRecord *q = &a->quality;
        if (!q->positions) continue;
        buffer_printf(out, "| `%s` | %s | %.4g ± %.2g | %.4g | %.2f %% |", a->path, a->type, q->kl,
                      q->kl_error, q->kl_999, 100 * q->top1);
        if (text) buffer_printf(out, " %.4f | %.4f |", q->ppl, q->source_ppl);
        buffer_char(out, '\n');
    }
    buffer_char(out, '\n');
}

static void write_sweep(Buffer *out, const Recipe *r) {
    if (!r->sweep) return;
    buffer_text(out,
                "## What other settings do\n\nThe base at other numbers of experts a token and other RoPE "
                "settings, each reading the same text (`recast sweep`; lines are 95 % intervals):\n\n"
                "![Perplexity, KL divergence and router share by experts a token](sweep.svg)\n\n");
}

/* ---- advice ---- */

static void write_advice(Buffer *out, const PackageInputs *in) {
    const ModelParams *base = &in->source->params, *now = &in->derived->params;
    bool more = now->n_experts_used > base->n_experts_used,
         fewer = now->n_experts_used < base->n_experts_used;
    bool yarn = now->rope.type == ROPE_YARN, beyond = !yarn && now->context > base->context;
    if (!more && !fewer && !yarn && !beyond) return;
    buffer_text(out, "## Before you rely on it\n\n");
    if (more)
        buffer_printf(out,
                      "- **More experts are not better by themselves.** The router was trained with %u "
                      "experts a token. Above that count quality usually falls a little, and each token "
                      "costs more time: measure on your own texts against the base.\n",
                      base->n_experts_used);
    if (fewer)
        buffer_printf(
            out,
            "- **Fewer experts cost quality.** The router was trained with %u experts a token; with fewer "
            "the model is faster and usually worse: measure on your own texts against the base.\n",
            base->n_experts_used);
    if (yarn)
        buffer_printf(out,
                      "- **YaRN is static.** Every text, short ones too, runs with the scaling for %u "
                      "tokens, which can cost quality on short texts. The maker of the model advises to use "
                      "it only where long texts are needed, with a factor near (typical length) / %u.\n",
                      now->context, now->rope.original_context);
    if (beyond)
        buffer_printf(out,
                      "- **The context was raised from %u to %u tokens** without YaRN; beyond what the model "
                      "was trained for, measure before use.\n",
                      base->context, now->context);
    buffer_char(out, '\n');
}

/* ---- files, checking, running ---- */

/* Is the file one that holds the artifact's weights? A split GGUF goes by its first shard's name. */
static bool holds_weights(const Artifact *a, const char *file) {
    size_t n = strlen(a->path), length = strlen(file);
    if (strcmp(a->format, "hf") == 0)
        return strncmp(file, a->path, n) == 0 && file[n] == '/' && length > 12 &&
               strcmp(file + length - 12, ".safetensors") == 0;
    const char *shard = strstr(a->path, "-00001-of-");
    if (!shard) return strcmp(file, a->path) == 0;
    size_t before = (size_t)(shard - a->path) + 1;
    return length == n && strncmp(file, a->path, before) == 0 && strcmp(file + before + 5, shard + 6) == 0;
}

/* What each output takes, and what of it an update of settings changes. */
static void write_outputs(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    uint64_t weights = in->derived->family ? params_total(&in->derived->params) : 0;
    if (!m->n_artifacts) return;
    buffer_text(out, "| output | type | bytes of weights | bits a weight | again after new settings |\n"
                     "|---|---|---:|---:|---|\n");
    for (size_t i = 0; i < m->n_artifacts; i++) {
        const Artifact *a = &m->artifacts[i];
        bool hf = strcmp(a->format, "hf") == 0, split = strstr(a->path, "-00001-of-") != NULL;
        uint64_t bytes = 0;
        for (size_t f = 0; f < m->n_files; f++)
            if (holds_weights(a, m->files[f].path)) bytes += m->files[f].size;
        buffer_printf(out, "| `%s` | %s | %" PRIu64 " | ", a->path, a->type, bytes);
        if (weights && bytes <= UINT64_MAX / 800)
            buffer_printf(out, "%" PRIu64 ".%02" PRIu64, 800 * bytes / weights / 100,
                          800 * bytes / weights % 100);
        buffer_printf(out, " | %s |\n", hf ? "the small files" : split ? "the first shard" : "all of it");
    }
    buffer_text(out,
                "\nThe last column is what must be downloaded again when a later version changes settings "
                "alone (experts a token, context, RoPE, chat template); files of the same SHA-256 "
                "need not be.\n\n");
}

static void write_files(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    buffer_text(out, "## Files\n\n");
    write_outputs(out, in);
    buffer_text(out, "| file | bytes | SHA-256 |\n|---|---:|---|\n");
    for (size_t i = 0; i < m->n_files; i++)
        buffer_printf(out, "| `%s` | %" PRIu64 " | `%s` |\n", m->files[i].path, m->files[i].size,
                      m->files[i].sha256);
    buffer_text(
        out, "\n`manifest.json` says the same for programs, with the hashes of every file of the base.\n\n");
}

static void write_checking(Buffer *out, const Manifest *m) {
    buffer_text(
        out,
        "## How to check it\n\nIn this directory:\n\n```sh\n"
        "sha256sum -c SHA256SUMS      # every file is the one that was published\n"
        "recast validate .            # it agrees with its own manifest, generation included\n"
        "recast validate . --source CHECKPOINT --recipe recipe.json   # it follows from the base\n```\n\n");
    if (m->repo) {
        buffer_printf(out, "CHECKPOINT is the directory that `hf download %s", m->repo);
        if (m->commit) buffer_printf(out, " --revision %s", m->commit);
        buffer_text(out, "` prints. ");
    } else {
        buffer_text(out, "CHECKPOINT is the directory of the base. ");
    }
    buffer_text(out, "The last command compares every tensor with the base and runs the recipe again to the "
                     "same SHA-256.\n\n");
}

static void write_running(Buffer *out, const PackageInputs *in) {
    const Artifact *gguf = first_of(&in->manifest, "gguf"), *hf = first_of(&in->manifest, "hf");
    buffer_text(out, "## How to run it\n\n");
    if (gguf)
        buffer_printf(out,
                      "llama.cpp (expert count and RoPE scaling are in the file; `-c` is the context to "
                      "reserve memory for, at most %u):\n\n```sh\nllama-cli -m %s -c %u\n```\n\n",
                      in->derived->params.context, gguf->path, in->derived->params.context);
    if (hf)
        buffer_printf(out,
                      "transformers, from a copy of this directory (from the Hub: the repository's name and "
                      "`subfolder=\"%s\"`):\n\n```python\nfrom transformers import AutoModelForCausalLM, "
                      "AutoTokenizer\n\n"
                      "tokenizer = AutoTokenizer.from_pretrained(\"%s\")\n"
                      "model = AutoModelForCausalLM.from_pretrained(\"%s\", dtype=\"auto\", "
                      "device_map=\"auto\")\n```\n\n",
                      hf->path, hf->path, hf->path);
    buffer_text(out, "Start scripts for each engine, with what fits into a GPU's memory:\n\n");
    if (gguf)
        buffer_text(out, "- `recast launch . --engine llama.cpp`\n"
                         "- `recast launch . --engine text-generation-webui`\n"
                         "- `recast launch . --engine ollama`\n");
    if (hf)
        buffer_text(out, "- `recast launch . --engine vllm`\n"
                         "- `recast launch . --engine sglang`\n"
                         "- `recast launch . --engine transformers`\n");
    buffer_char(out, '\n');
}

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
            buffer_printf(out, "`%s`", g->artifact);
        else
            buffer_text(out, "the base with the overrides");
    }
}

static void write_generations(Buffer *out, const Manifest *m) {
    if (m->n_generations == 0) return;
    buffer_text(out, "## What it generates\n\nGreedy, in Recast's strict arithmetic, which gives the same "
                     "bits on every machine; `recast validate` repeats these and compares the hashes.\n\n");
    for (size_t i = 0; i < m->n_generations; i++) {
        const GenerationRecord *g = &m->generations[i];
        if (said_before(m, i)) continue;
        buffer_printf(out, "%u tokens after\n\n", g->n_tokens);
        write_fenced(out, g->prompt);
        write_fenced(out, g->text);
        buffer_text(out, "By ");
        write_generators(out, m, i);
        buffer_printf(out, "; arithmetic `%s`, tokens `%s`, logits `%s`.\n\n", g->arithmetic,
                      g->tokens_sha256, g->logits_sha256);
    }
}

/* The checks of the build in one paragraph; the manifest has them all. */
static void write_report(Buffer *out, const Manifest *m) {
    const cJSON *checks = json_get(m->report, "checks"), *verdict = json_get(m->report, "verdict");
    unsigned pass = 0, fail = 0, not_run = 0;
    if (!cJSON_IsArray(checks) || !cJSON_IsString(verdict)) return;
    for (const cJSON *c = checks->child; c; c = c->next) {
        const cJSON *status = json_get(c, "status");
        if (!cJSON_IsString(status)) continue;
        pass += strcmp(status->valuestring, "pass") == 0;
        fail += strcmp(status->valuestring, "fail") == 0;
        not_run += strcmp(status->valuestring, "not run") == 0;
    }
    buffer_text(out, "## Checks made when it was built\n\nVerdict: ");
    write_escaped(out, verdict->valuestring);
    buffer_printf(out, ". %u passed, %u failed, %u not run; `manifest.json` lists them.\n", pass, fail,
                  not_run);
}

int card_write(Buffer *out, const PackageInputs *in, Error *err) {
    write_front_matter(out, in);
    write_intro(out, in);
    write_parameters(out, in);
    write_changes(out, in);
    write_unchanged(out, &in->manifest);
    write_quality(out, &in->manifest);
    write_sweep(out, in->recipe);
    write_advice(out, in);
    write_files(out, in);
    write_checking(out, &in->manifest);
    write_running(out, in);
    write_generations(out, &in->manifest);
    write_report(out, &in->manifest);
    return buffer_ok(out, "README.md", err);
}
