/* card_files.c -- sections of the card: the outputs with what each takes and costs, the files, the hashes and
 * what they cover. */
#include "packager/card_private.h"
#include <inttypes.h>
#include <string.h>

bool card_has_format(const Manifest *m, const char *format) {
    return card_first_of(m, format) != NULL;
}

const Artifact *card_first_of(const Manifest *m, const char *format) {
    for (size_t i = 0; i < m->n_artifacts; i++)
        if (strcmp(m->artifacts[i].format, format) == 0) return &m->artifacts[i];
    return NULL;
}

bool card_is_split(const Artifact *a) {
    return strcmp(a->format, "hf") && strstr(a->path, "-00001-of-") != NULL;
}

/* ---- what each output takes ---- */

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

static uint64_t bytes_of(const Manifest *m, const Artifact *a) {
    uint64_t bytes = 0;
    for (size_t f = 0; f < m->n_files; f++)
        if (holds_weights(a, m->files[f].path)) bytes += m->files[f].size;
    return bytes;
}

static void write_size(Buffer *out, const PackageInputs *in, const Artifact *a) {
    uint64_t weights = in->derived->family ? params_total(&in->derived->params) : 0,
             bytes = bytes_of(&in->manifest, a);
    buffer_text(out, "| ");
    markdown_cell(out, a->path);
    buffer_printf(out, " | %s | ", a->type);
    markdown_bytes(out, bytes);
    buffer_text(out, " | ");
    if (weights && bytes <= UINT64_MAX / 800)
        buffer_printf(out, "%" PRIu64 ".%02" PRIu64, 800 * bytes / weights / 100,
                      800 * bytes / weights % 100);
    buffer_text(out, " |");
}

/* ---- what each costs ---- */

/* What was measured anywhere: some positions, and on a text. All have the same source. */
typedef struct Measured {
    bool any, text;
    const QualityRecord *source; /* of which source_ppl is wanted; NULL: none */
} Measured;

static Measured measured(const Manifest *m) {
    Measured all = {.any = false};
    for (size_t i = 0; i < m->n_artifacts; i++) {
        const QualityRecord *q = &m->artifacts[i].quality;
        all.any = all.any || q->positions;
        if (!q->positions || !(q->ppl > 0)) continue;
        all.text = true;
        all.source = q;
    }
    return all;
}

static void write_perplexity(Buffer *out, double value, double error) {
    buffer_printf(out, " %.4f", value);
    if (error > 0) buffer_printf(out, " ± %.4f", 1.96 * error);
    buffer_text(out, " |");
}

static void write_cost(Buffer *out, const Artifact *a, const Measured *all) {
    const QualityRecord *q = &a->quality;
    if (!all->any) return;
    if (a->lossless) {
        if (all->text) write_perplexity(out, all->source->source_ppl, all->source->source_ppl_error);
        buffer_text(out, " 0 | 0 | 100 % |");
    } else if (!q->positions) {
        buffer_text(out, all->text ? " – | – | – | – |" : " – | – | – |");
    } else {
        if (all->text && q->ppl > 0)
            write_perplexity(out, q->ppl, q->ppl_error);
        else if (all->text)
            buffer_text(out, " – |");
        buffer_printf(out, " %.4g ± %.2g | %.4g | %.2f %% |", q->kl, q->kl_error, q->kl_999, 100 * q->top1);
    }
}

static void explain_cost(Buffer *out, const Measured *all) {
    if (!all->any) return;
    buffer_text(out,
                "\nWhat the types cost is measured beside the variant with weights that are not rounded, "
                "token by token");
    if (all->text)
        buffer_printf(out, " of a text, where that has a perplexity of %.4f. ", all->source->source_ppl);
    else
        buffer_text(out, ", in the answers to a few prompts. ");
    buffer_text(out, "KL is the mean Kullback-Leibler divergence from its predictions, in nats; 99.9 % KL is "
                     "what that share of the tokens does not exceed; top-1 is the share of tokens where both "
                     "find the same one most probable. Behind ± stands half of a 95 % interval");
    buffer_text(out, all->text ? "; the perplexities are of one text, so their differences are surer than "
                                 "their intervals.\n"
                               : ".\n");
}

void card_outputs(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    Measured all = measured(m);
    if (!m->n_artifacts) return;
    buffer_printf(out, "| output | type | size | bits a weight |%s%s\n|---|---|---:|---:|%s%s\n",
                  all.text ? " perplexity |" : "", all.any ? " mean KL | 99.9 % KL | top-1 |" : "",
                  all.text ? "---:|" : "", all.any ? "---:|---:|---:|" : "");
    for (size_t i = 0; i < m->n_artifacts; i++) {
        write_size(out, in, &m->artifacts[i]);
        write_cost(out, &m->artifacts[i], &all);
        buffer_char(out, '\n');
    }
    explain_cost(out, &all);
}

/* ---- what an update of settings changes ---- */

void card_update(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    if (!m->n_artifacts) return;
    buffer_text(out, "When a later version changes settings alone (experts a token, context, RoPE, chat "
                     "template), download again:\n\n");
    for (size_t i = 0; i < m->n_artifacts; i++) {
        const Artifact *a = &m->artifacts[i];
        buffer_text(out, "- ");
        markdown_code(out, a->path);
        buffer_printf(out, ": %s\n",
                      strcmp(a->format, "hf") == 0 ? "the small files; of the weights none"
                      : card_is_split(a)           ? "the first shard alone"
                                                   : "all of it");
    }
    buffer_text(out, "\nA file whose SHA-256 is the same need not be.\n");
}

/* ---- files and hashes ---- */

void card_files(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    buffer_text(out, "| file | bytes | SHA-256 |\n|---|---:|---|\n");
    for (size_t i = 0; i < m->n_files; i++) {
        buffer_text(out, "| ");
        markdown_cell(out, m->files[i].path);
        buffer_printf(out, " | %" PRIu64 " | `%s` |\n", m->files[i].size, m->files[i].sha256);
    }
    buffer_text(out,
                "\n`manifest.json` says the same for programs, with the hashes of every file of the base.\n");
}

static void digest(Buffer *out, const char *of, const char *covers, const char *hex) {
    if (!hex || !hex[0]) return;
    buffer_text(out, "| ");
    if (of)
        markdown_cell(out, of);
    else
        buffer_text(out, "the base");
    buffer_printf(out, " | %s | `%s` |\n", covers, hex);
}

void card_digests(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    Buffer rows;
    buffer_init(&rows, NULL);
    digest(&rows, NULL, "weights", m->weights_sha256);
    for (size_t i = 0; i < m->n_artifacts; i++) {
        const Artifact *a = &m->artifacts[i];
        digest(&rows, a->path, "weights", a->weights_sha256);
        digest(&rows, a->path, "metadata", a->metadata_sha256);
        digest(&rows, a->path, "derivation", a->derivation_sha256);
    }
    if (rows.length)
        buffer_printf(
            out,
            "| of | over its | SHA-256 |\n|---|---|---|\n%s\nWeights: every tensor's name, shape and "
            "values, whatever the container. Metadata: every key and value of a GGUF, chat "
            "template and tokenizer too. Derivation: what of the recipe decides the file's "
            "bytes.\n",
            buffer_string(&rows));
    out->failed = out->failed || rows.failed;
    buffer_free(&rows);
}
