/* lora_gguf.h -- an adapter kept beside the model: llama.cpp's adapter GGUF, written and read.
 *
 * The format: general.type "adapter", adapter.type "lora", adapter.lora.alpha; for each weight NAME two
 * tensors NAME.lora_a [rank, in] and NAME.lora_b [out, rank] (torch shapes; experts have one dimension more
 * in front), and y = W x + user * alpha / rank * B (A x). The embedding's are turned: lora_a [vocabulary,
 * rank], lora_b [d, rank]. Source: llama.cpp, src/llama-adapter.cpp and convert_lora_to_gguf.py. It has no
 * place for DoRA, whole tensors, single rows or biases: those are refused. */
#ifndef RECAST_MODEL_LORA_GGUF_H
#define RECAST_MODEL_LORA_GGUF_H

#include "model/lora.h"

/* The one adapter of a lora view in that format (FORM_GGUF, float32). What the file can't say is put into B:
 * ranks and scales that differ by module, rsLoRA. view must outlive it. name: general.name, NULL: none.
 * ERR_UNSUPPORTED. */
int lora_gguf_open(Model **out, const Model *view, const char *name, const Allocator *allocator,
                   Error *err) MUST_CHECK;

/* Is the model such an adapter? */
bool is_lora_gguf(const Model *m);

#endif
