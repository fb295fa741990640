/* init.h -- a recipe for a base, and what to know before it is built. */
#ifndef RECAST_RECIPES_INIT_H
#define RECAST_RECIPES_INIT_H

#include "core/buffer.h"
#include "recipes/releases.h"

typedef struct InitOptions {
    const char *base_path; /* of a local checkpoint, as the recipe is to name it; NULL: base.repo */
    const char *name;      /* of the recipe; NULL: made of the base and what changes */
    uint32_t experts;      /* a token; 0: as the base */
    uint32_t context;      /* positions; 0: as the base */
    const char *rope;      /* "yarn", "linear", "dynamic", "default"; NULL: yarn if the context needs one */
    double factor;         /* 0: from the context */
} InitOptions;

/* Appends the recipe's text, and to `notes` a line for each thing that matters. base: a release, or (repo
 * NULL unless it is one) the figures of a local checkpoint. Errors: ERR_RECIPE for what can't work (experts
 * of a dense model, more than there are, a context beyond what no scaling reaches), ERR_UNSUPPORTED
 * (hybrids). */
int init_recipe(Buffer *recipe, Buffer *notes, const Release *base, const InitOptions *options,
                Error *err) MUST_CHECK;

#endif
