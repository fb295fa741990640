/* source.c -- does the artifact follow from the source that was supplied? Parameters, keys, every tensor, the
 * weights digest, and the hashes of the source's files that the artifact recorded. */
#include "model/lora.h"
#include "model/views.h"
#include "validate/validation.h"
#include <string.h>

/* ---- the source's files, as the artifact recorded them ---- */

static const FileProof *find_proof(const SourceProof *proof, const char *name) {
    for (size_t i = 0; i < proof->n_files; i++)
        if (!strcmp(proof->files[i].name, name)) return &proof->files[i];
    return NULL;
}

static bool recorded(const ProvenanceRead *p, const char *name) {
    for (size_t i = 0; i < p->n_files; i++)
        if (!strcmp(p->names[i].data, name)) return true;
    return false;
}

static bool check_recorded(const Validation *v, const ProvenanceRead *p, const SourceProof *proof) {
    for (size_t i = 0; i < p->n_files; i++) {
        const char *name = p->names[i].data, *hash = p->sha256[i].data;
        const FileProof *f = find_proof(proof, name);
        if (f && !strcmp(f->sha256, hash)) continue;
        if (f)
            check_add(v, "source", CHECK_FAIL, "source files",
                      "%s of the source has SHA-256 %s; this file was made from %s: "
                      "another source",
                      name, f->sha256, hash);
        else
            check_add(v, "source", CHECK_FAIL, "source files",
                      "this file was made from %s, and the source has no such file", name);
        return false;
    }
    for (size_t i = 0; i < proof->n_files; i++) {
        if (recorded(p, proof->files[i].name)) continue;
        check_add(v, "source", CHECK_FAIL, "source files",
                  "the source has a file %s that this one was not made from", proof->files[i].name);
        return false;
    }
    return true;
}

int check_source_files(const Validation *v, const Model *artifact, const SourceProof *proof, Error *err) {
    ProvenanceRead p;
    Error found = {0};
    if (artifact->form != FORM_GGUF) return 0; /* a checkpoint carries no record; its manifest does */
    if (provenance_read(&p, artifact->metadata, &found))
        return check_error(v, "source", "source files", &found, err);
    if (!p.n_files) {
        check_add(v, "source", CHECK_NOT_RUN, "source files", "the file does not say what it was made from");
        return 0;
    }
    if (check_recorded(v, &p, proof))
        check_add(v, "source", CHECK_PASS, "source files",
                  "%zu files, with the hashes that recast.source.sha256 names", p.n_files);
    return 0;
}

/* ---- weights digest ---- */

static void judge_digest(const Validation *v, const char *found, const char *expected, bool must,
                         bool same_tensors) {
    if (!strcmp(found, expected))
        check_add(v, "source", CHECK_PASS, "weights digest", "lossless: %s, as the source", found);
    else if (must || !same_tensors)
        check_add(v, "source", CHECK_FAIL, "weights digest",
                  "%s, but the source has %s: these are other weights", found, expected);
    else
        check_add(v, "source", CHECK_PASS, "weights digest",
                  "not lossless: another digest (%s, the source has %s), since its type rounds", found,
                  expected);
}

/* Of a merge the digest must be another, and every tensor what the merge gives. */
static void judge_merged(const Validation *v, const char *found, const char *source, bool same_tensors) {
    if (!strcmp(found, source))
        check_add(v, "source", CHECK_FAIL, "weights digest",
                  "%s, as the source: adapters should have been merged", found);
    else if (!same_tensors)
        check_add(v, "source", CHECK_FAIL, "weights digest", "%s: not that of the merged weights", found);
    else
        check_add(v, "source", CHECK_PASS, "weights digest", "merged: %s; before the merge %s", found,
                  source);
}

/* What adapters changed, and that all else is the source's. */
static int check_adapters(const Validation *v, const Model *expected, Error *err) {
    const LoraAdapterInfo *infos;
    Error found = {0};
    size_t n = lora_adapters(expected->lora, &infos), applied = 0;
    if (lora_finish(expected->lora, v->options->threads, &found))
        return check_error(v, "source", "adapters", &found, err);
    for (size_t i = 0; i < n; i++) applied += infos[i].n_pairs + infos[i].n_replaced;
    check_add(
        v, "source", CHECK_PASS, "adapters",
        "%zu, with %zu pairs and tensors, all of them applied: %zu tensors of the checkpoint changed, the "
        "others are the source's bytes",
        n, applied, lora_tensors(expected->lora));
    for (size_t i = 0; i < n; i++)
        if (infos[i].unread)
            check_add(v, "source", CHECK_NOT_RUN, "adapters", "%s: " LORA_UNREAD_TEXT, infos[i].name,
                      infos[i].unread);
    return 0;
}

static void check_digest(const Validation *v, const char *found, const Model *expected,
                         const SourceProof *proof, bool same_tensors) {
    if (!proof->weights_sha256[0])
        check_add(v, "source", CHECK_NOT_RUN, "weights digest",
                  "the source has none (unknown architecture or quantized)");
    else if (!found[0])
        check_add(v, "source", CHECK_NOT_RUN, "weights digest", "the artifact has none (quantized tensors)");
    else if (expected->lora)
        judge_merged(v, found, proof->weights_sha256, same_tensors);
    else
        judge_digest(v, found, proof->weights_sha256, retype_is_lossless(expected), same_tensors);
}

int artifact_digest(char hex[SHA256_HEX], const Validation *v, const Model *m, Error *err) {
    Error found = {0};
    int code = weights_digest(hex, m, v->options->threads, v->options->progress, &found);
    if (!code) return 0;
    hex[0] = 0;
    if (!error_is_ours(code)) return 0; /* no digest; the structure says what is wrong, if anything is */
    if (err) *err = found;
    return code;
}

int check_source(const Validation *v, const Model *artifact, const char *digest, const Expected *expected,
                 const SourceProof *proof, Error *err) {
    bool same;
    TRY(check_source_files(v, artifact, proof, err));
    TRY(compare_parameters(v, artifact, expected->top, err));
    if (artifact->form == FORM_GGUF) TRY(compare_keys(v, artifact, expected->top, err));
    TRY(compare_tensors(v, artifact, expected->top, &same, err));
    check_digest(v, digest, expected->top, proof, same);
    return expected->top->lora && same ? check_adapters(v, expected->top, err) : 0;
}
