/* gguf.h -- a GGUF file as a model (FORM_GGUF), versions 2 and 3, any architecture, any tensor types.
 * Format: github.com/ggml-org/ggml docs/gguf.md. Everything that llama.cpp's reader refuses is refused here, with the byte
 * offset, and tensor data must lie inside the file. */
#ifndef RECAST_MODEL_GGUF_H
#define RECAST_MODEL_GGUF_H

#include "model/model.h"

int gguf_open(Model **out, const char *path, const Allocator *allocator, Error *err) MUST_CHECK;
/* The same over an Input (memory in tests); on success the model owns `in`. */
int gguf_open_input(Model **out, Input *in, const Allocator *allocator, Error *err) MUST_CHECK;

enum { GGUF_DEFAULT_ALIGNMENT = 32 };

#endif
