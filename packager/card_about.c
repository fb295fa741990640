/* card_about.c -- sections of the card: what the variant is, what was changed and what was not, what to know
 * before relying on it, whose it is. Numbers come from shapes and hashes, never from the model's name. */
#include "model/family.h"
#include "model/lora.h"
#include "packager/card_private.h"
#include <string.h>

/* ---- what it is ---- */

void card_summary(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    if (m->repo)
        buffer_printf(out, "A variant of [%s](https://huggingface.co/%s)", m->repo, m->repo);
    else
        buffer_text(out, "A variant of a local checkpoint");
    if (m->commit) buffer_printf(out, " at commit `%s`", m->commit);
    buffer_text(out, ", made by Recast from the recipe in `recipe.json`. ");
    if (m->lora)
        buffer_text(out, "Adapters (LoRA) were merged into its weights; nothing else was trained.\n");
    else
        buffer_text(out, m->n_changes
                             ? "Parameters were changed; nothing was trained, and no weight was edited.\n"
                             : "Nothing was changed but the container; nothing was trained.\n");
}

static void row(Buffer *out, const char *what, uint64_t base, uint64_t now,
                void (*write)(Buffer *, uint64_t)) {
    buffer_printf(out, "| %s | ", what);
    write(out, base);
    buffer_text(out, " | ");
    write(out, now);
    buffer_text(out, " |\n");
}

static void plain_number(Buffer *out, uint64_t n) {
    buffer_printf(out, "%llu", (unsigned long long)n);
}

/* Names such as "A6B" are guesses; these figures come from the shapes. */
void card_parameters(Buffer *out, const PackageInputs *in) {
    const ModelParams *base = &in->source->params, *now = &in->derived->params;
    if (!in->derived->family) return; /* without a family the shapes are not known to be all */
    buffer_text(out, "| | base | this variant |\n|---|---|---|\n");
    if (now->n_experts) {
        buffer_printf(out, "| experts used for a token | %u of %u | %u of %u |\n", base->n_experts_used,
                      base->n_experts, now->n_experts_used, now->n_experts);
        row(out, "active parameters", params_active(base), params_active(now), markdown_count);
    }
    row(out, "all parameters", params_total(base), params_total(now), markdown_count);
    row(out, "context, tokens", base->context, now->context, plain_number);
    if (!now->n_experts) return;
    buffer_printf(out,
                  "\nAll %u experts are present; %u of them are used for each token. Parameters are counted "
                  "from the shapes of the tensors, embedding and output head included; a name such as "
                  "\"A3B\" or \"A6B\" is only a name.\n",
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
                      "pairs and %zu whole tensors, all applied\n",
                      infos[i].scale, infos[i].weights_sha256, infos[i].n_pairs, infos[i].n_replaced);
    buffer_printf(
        out,
        "- so %zu tensors of the checkpoint differ from the base's: %llu of %llu values, by at most %g (in ",
        all.n_tensors, (unsigned long long)all.changed, (unsigned long long)all.elements, (double)all.max);
    markdown_code(out, all.max_name);
    buffer_printf(out, "), by %g on average\n", all.mean);
}

void card_changes(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    for (size_t i = 0; i < m->n_changes; i++) {
        buffer_text(out, "- ");
        markdown_code(out, m->changes[i].key);
        buffer_text(out, ": ");
        markdown_code(out, m->changes[i].old_value);
        buffer_text(out, " -> ");
        markdown_code(out, m->changes[i].new_value);
        buffer_char(out, '\n');
    }
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
}

static void write_artifact(Buffer *out, const Manifest *m, const Artifact *a) {
    buffer_text(out, "- ");
    markdown_code(out, a->path);
    buffer_printf(out, " (%s, %zu tensors): ", a->type, a->n_tensors);
    if (a->lossless)
        buffer_text(out, "the same digest, so every value is the base's\n");
    else if (!a->weights_sha256[0])
        buffer_text(out, "no weights digest\n");
    else if (m->lora)
        buffer_printf(out, "after the merge `%s`\n", a->weights_sha256);
    else
        buffer_printf(out, "rounded to %s, so its digest is another: `%s`\n", a->type, a->weights_sha256);
}

void card_unchanged(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    bool rounded = false;
    for (size_t i = 0; i < m->n_artifacts; i++) rounded = rounded || !m->artifacts[i].lossless;
    buffer_printf(out, "%s%s.", m->lora ? "All tensors that no adapter names" : "The weights",
                  rounded && !m->lora ? ", but for rounding where the list says so" : "");
    if (m->weights_sha256 && m->weights_sha256[0])
        buffer_printf(out,
                      " The weights digest of the base, a SHA-256 over every tensor's name, shape and values "
                      "that does not depend on the container, is\n`%s`.",
                      m->weights_sha256);
    buffer_text(out, "\n\n");
    for (size_t i = 0; i < m->n_artifacts; i++) write_artifact(out, m, &m->artifacts[i]);
}

void card_sweep(Buffer *out, const PackageInputs *in) {
    if (!in->recipe->sweep) return;
    buffer_text(out, "The base at other numbers of experts a token and other RoPE settings, each reading the "
                     "same text (`recast sweep`; lines are 95 % intervals):\n\n"
                     "![Perplexity, KL divergence and router share by experts a token](sweep.svg)\n");
}

/* ---- advice ---- */

void card_advice(Buffer *out, const PackageInputs *in) {
    const ModelParams *base = &in->source->params, *now = &in->derived->params;
    bool yarn = now->rope.type == ROPE_YARN;
    if (now->n_experts_used > base->n_experts_used)
        buffer_printf(out,
                      "- **More experts are not better by themselves.** The router was trained with %u "
                      "experts a token. Above that count quality usually falls a little, and each token "
                      "costs more time: measure on your own texts against the base.\n",
                      base->n_experts_used);
    if (now->n_experts_used < base->n_experts_used)
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
    if (!yarn && now->context > base->context)
        buffer_printf(out,
                      "- **The context was raised from %u to %u tokens** without YaRN; beyond what the model "
                      "was trained for, measure before use.\n",
                      base->context, now->context);
}

/* ---- whose it is ---- */

void card_attribution(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    const char *slash = m->repo ? strchr(m->repo, '/') : NULL;
    if (m->license)
        buffer_printf(out, "This variant is published under `%s`. ", m->license);
    else
        buffer_text(out, "This variant names no licence of its own. ");
    if (m->repo)
        buffer_printf(out, "Its weights %s [%s](https://huggingface.co/%s)",
                      m->lora ? "derive from" : "are those of", m->repo, m->repo);
    else
        buffer_printf(out, "Its weights %s a local checkpoint", m->lora ? "derive from" : "are those of");
    if (slash) buffer_printf(out, " by %.*s", (int)(slash - m->repo), m->repo);
    buffer_text(out, ", whose licence and terms hold for it too.\n");
}
