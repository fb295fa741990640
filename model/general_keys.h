/* general_keys.h -- the general.* keys of a GGUF made from a Hugging Face checkpoint. */
#ifndef RECAST_MODEL_GENERAL_KEYS_H
#define RECAST_MODEL_GENERAL_KEYS_H

#include "model/model.h"

/* Sets general.architecture, general.type, general.sampling.* (from generation_config.json), general.name and
 * what the name tells. m: the GGUF view, whose tensors give the sizes; name: the recipe's, or NULL for the
 * source directory's. */
int general_keys_set(Metadata *metadata, const Model *m, const char *name, Error *err) MUST_CHECK;

#endif
