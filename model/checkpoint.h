/* checkpoint.h -- a Hugging Face checkpoint directory as a model (FORM_HF).
 *
 * Reads config.json, model.safetensors.index.json or model.safetensors, generation_config.json and the
 * tokenizer's files. Shards and index must agree in both directions. Experts are shown one by one under their
 * classic names, whether the file holds them so or fused ("mlp.experts.gate_up_proj" [E, 2I, d],
 * "mlp.experts.down_proj" [E, d, I]): fused tensors become extents into the same bytes.
 * "*.rotary_emb.inv_freq" is left out. Pickled (.bin) checkpoints are refused. */
#ifndef RECAST_MODEL_CHECKPOINT_H
#define RECAST_MODEL_CHECKPOINT_H

#include "model/model.h"

int checkpoint_open(Model **out, const char *directory, const Allocator *allocator, Error *err) MUST_CHECK;

#endif
