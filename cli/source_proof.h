/* source_proof.h -- what headers will say of the source: promised by pins and verified in the pass that
 * writes, or found by a pass before it. */
#ifndef RECAST_CLI_SOURCE_PROOF_H
#define RECAST_CLI_SOURCE_PROOF_H

#include "core/progress.h"
#include "recipes/recipe.h"

typedef enum ProofHow {
    PROOF_FOUND,    /* the source has been hashed, and agrees with whatever pins there are */
    PROOF_PROMISED, /* pins say so; the pass must verify it */
    PROOF_PLANNED,  /* hashes are zeros: for sizes only */
    PROOF_IN_PASS, /* the pass finds it, and pins are compared after it: for outputs that say nothing of it */
    PROOF_NONE     /* no hash at all */
} ProofHow;

/* How often a conversion reads its source: 2 when it must be hashed first. */
int proof_passes(ProofHow how);

typedef struct ProofOptions {
    const Recipe *recipe; /* NULL if there is none */
    const char *commit;
    bool plan_only; /* hash nothing */
    bool no_hash;   /* hash only what pins in the recipe ask for */
    bool in_pass;   /* nothing needs to be known before: *out is NULL where pins don't promise all */
    unsigned threads;
    const Progress *progress;
    void (*say)(const char *text); /* messages for the user; NULL: none */
    const Allocator *allocator;
} ProofOptions;

/* Caller closes *out. */
int settle_proof(SourceProof **out, ProofHow *how, const Model *source, const ProofOptions *options,
                 Error *err) MUST_CHECK;

#endif
