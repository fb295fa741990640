/* source_proof.c -- see source_proof.h. */
#include "cli/source_proof.h"

#include "model/proof_walk.h"

static int hash_first(SourceProof **out, const Model *source, const ProofOptions *o, Error *err) {
    size_t pinned;
    if (o->recipe && o->say)
        o->say("the source is not pinned, so it is hashed first and then read again; `recast pin` spares "
               "that\n");
    TRY(source_prove(out, source, o->threads, o->progress, o->allocator, err));
    return o->recipe ? recipe_check_pins(o->recipe, source, *out, o->commit, &pinned, err) : 0;
}

int proof_passes(ProofHow how) {
    return how == PROOF_PLANNED || how == PROOF_FOUND ? 2 : 1;
}

int settle_proof(SourceProof **out, ProofHow *how, const Model *source, const ProofOptions *o, Error *err) {
    bool has_digest;
    *out = NULL;
    *how = PROOF_NONE;
    if (o->no_hash && !(o->recipe && recipe_has_pins(o->recipe)))
        return source_proof_open(out, 0, o->allocator, err);
    *how = PROOF_PROMISED;
    TRY(recipe_promised_proof(out, o->recipe, source, o->commit, o->allocator, err));
    if (*out) return 0;
    *how = PROOF_IN_PASS;
    if (o->in_pass) return 0;
    *how = o->plan_only ? PROOF_PLANNED : PROOF_FOUND;
    if (o->plan_only) return source_proof_blank(out, source, &has_digest, o->allocator, err);
    int code = hash_first(out, source, o, err);
    if (code) {
        source_proof_close(*out);
        *out = NULL;
    }
    return code;
}
