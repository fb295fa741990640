/* promise.c -- what pins say of a source before it is read, so that a header can carry its hashes and one
 * pass both verify them and write. */
#include "recipes/recipe_private.h"
#include <string.h>

static bool pin_of(const Recipe *r, const SourceFile *file, char hex[SHA256_HEX]) {
    const cJSON *pin = r && r->sha256 ? json_get(r->sha256, file->name) : NULL;
    if (!pin) return hub_blob_sha256(input_path(file->input), hex);
    memcpy(hex, pin->valuestring, SHA256_HEX); /* checked when the recipe was loaded */
    return true;
}

/* Weights are promised by a pin or a blob's name; the rest is small and hashed now, whatever is promised. */
static int promise_files(const Recipe *r, const Model *source, SourceProof *proof, bool *all, Error *err) {
    *all = true;
    for (size_t i = 0; i < source->n_files && *all; i++) {
        const SourceFile *file = &source->files[i];
        if (file->role == SOURCE_WEIGHTS)
            *all = pin_of(r, file, proof->files[i].sha256);
        else
            TRY(sha256_input(proof->files[i].sha256, file->input, NULL, NULL, err));
    }
    return 0;
}

int recipe_promised_proof(SourceProof **out, const Recipe *r, const Model *source, const char *commit,
                          const Allocator *allocator, Error *err) {
    SourceProof *proof;
    size_t pinned;
    bool all, has_digest;
    *out = NULL;
    TRY(source_proof_blank(&proof, source, &has_digest, allocator, err));
    if (has_digest && !(r && r->weights_sha256)) {
        source_proof_close(proof);
        return 0;
    }
    int code = promise_files(r, source, proof, &all, err);
    if (!code && all && has_digest) memcpy(proof->weights_sha256, r->weights_sha256, SHA256_HEX);
    if (!code && all && r) code = recipe_check_pins(r, source, proof, commit, &pinned, err);
    if (code || !all)
        source_proof_close(proof);
    else
        *out = proof;
    return code;
}

bool recipe_has_pins(const Recipe *r) {
    return (r->sha256 && r->sha256->child) || r->weights_sha256;
}
