/* gguf.h -- a GGUF file as a model (FORM_GGUF), versions 2 and 3, any architecture, any tensor types.
 * Format: github.com/ggml-org/ggml docs/gguf.md. Everything that llama.cpp's reader refuses is refused here,
 * with the byte offset, and tensor data must lie inside the file.
 *
 * The first shard of a split model (gguf_split.h) opens all of them as one: its keys but for the split keys,
 * tensors in shard order, files in shard order. */
#ifndef RECAST_MODEL_GGUF_H
#define RECAST_MODEL_GGUF_H

#include "model/model.h"

/* Errors: ERR_UNSUPPORTED for a later shard (the message names the first), ERR_FORMAT for shards that don't
 * belong together, ERR_IO for one that is missing. */
int gguf_open(Model **out, const char *path, const Allocator *allocator, Error *err) MUST_CHECK;
/* The same over an Input (memory in tests); on success the model owns `in`. Other shards are looked for
 * beside input_path(in). */
int gguf_open_input(Model **out, Input *in, const Allocator *allocator, Error *err) MUST_CHECK;
/* One file as it stands, be it a shard or not: split keys are kept, no other file is opened, and parameters
 * are not read. */
int gguf_open_shard(Model **out, Input *in, const Allocator *allocator, Error *err) MUST_CHECK;

enum { GGUF_DEFAULT_ALIGNMENT = 32 };

#endif
