/* config_patch.h -- overrides written into the text of a config.json, everything else left as it was spelled.
 */
#ifndef RECAST_CONVERT_CONFIG_PATCH_H
#define RECAST_CONVERT_CONFIG_PATCH_H

#include "core/json.h"

/* text: config.json, edited in place; config: the same, parsed; overrides: an object of config.json's keys
 * (num_experts_per_tok, max_position_embeddings, rope_scaling, rope_theta). Rope goes where the source spells
 * it (docs/hf-form.md). ERR_UNSUPPORTED for another key. */
int config_patch(Buffer *text, const cJSON *config, const cJSON *overrides, Error *err) MUST_CHECK;

#endif
