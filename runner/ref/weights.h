/* weights.h -- a model's tensors as the forward pass wants them: where each matrix lies, with its shape
 * checked.
 *
 * A matrix is used where it stands in the mapped file. Rows that no file holds ready (a view computes them,
 * or a stack of experts is scattered) are read into memory once. Norms are widened to float32. */
#ifndef RECAST_RUNNER_REF_WEIGHTS_H
#define RECAST_RUNNER_REF_WEIGHTS_H

#include "model/model.h"

typedef struct Matrix {  /* [rows][columns], row after row */
    const uint8_t *data; /* borrowed: a mapped file or the arena; any alignment */
    DType type;          /* F32, F16, BF16 or one of quantized.h */
    size_t rows, columns;
    size_t row_bytes;
} Matrix;

typedef struct LayerWeights {
    const float *attn_norm;  /* [n_embd] */
    Matrix q;                /* [n_heads * head_dim][n_embd] */
    Matrix k, v;             /* [n_kv_heads * head_dim][n_embd] */
    Matrix o;                /* [n_embd][n_heads * head_dim] */
    const float *q_norm;     /* [head_dim] */
    const float *k_norm;     /* [head_dim] */
    const float *ffn_norm;   /* [n_embd] */
    Matrix router;           /* [n_experts][n_embd] */
    const Matrix *gate, *up; /* n_experts of [n_ff_expert][n_embd] */
    const Matrix *down;      /* n_experts of [n_embd][n_ff_expert] */
} LayerWeights;

typedef struct Weights {
    Matrix embedding;           /* [n_vocab][n_embd] */
    Matrix head;                /* [n_vocab][n_embd]; the embedding if the model has no head of its own */
    const float *norm;          /* [n_embd] */
    const LayerWeights *layers; /* n_layers */
    bool quantized;             /* is any matrix? */
} Weights;

/* model: FORM_GGUF, family qwen3moe, parameters checked. Everything that is allocated lives in the arena.
 * Errors: ERR_FORMAT (a tensor is missing or has another shape), ERR_UNSUPPORTED (a weight type), ERR_MEMORY,
 * ERR_IO. */
int weights_open(Weights *out, const Model *model, Arena *arena, Error *err) MUST_CHECK;

/* How many bytes weights_open will use where the files are mapped, and how many it will read into memory,
 * norms as float32 included; quantized: as in Weights. Errors: ERR_IO. */
int weights_bytes(uint64_t *mapped, uint64_t *read, bool *quantized, const Model *model,
                  Error *err) MUST_CHECK;

#endif
