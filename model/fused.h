/* fused.h -- expert tensors that a checkpoint holds as one block per layer (private to checkpoint.c).
 *
 * transformers 5 keeps experts fused in memory, and such files exist: "...mlp.experts.gate_up_proj" [E, 2I,
 * d], rows 0 .. I-1 the gate and I .. 2I-1 the up projection, and "...mlp.experts.down_proj" [E, d, I], with
 * or without ".weight". Each expert lies in one piece, so a fused file is read through extents and nothing is
 * moved. Other fused layouts (gate and up apart, transposed [E, d, 2I]) are known by name or shape and
 * refused. */
#ifndef RECAST_MODEL_FUSED_H
#define RECAST_MODEL_FUSED_H

#include "model/params.h"
#include "model/safetensors.h"

typedef enum FusedKind { FUSED_NO, FUSED_GATE_UP, FUSED_DOWN, FUSED_OTHER } FusedKind;

/* By the name alone. */
FusedKind fused_kind(const char *name);
/* 0 if the tensor (of another kind than FUSED_NO) has the shape that p asks for; ERR_UNSUPPORTED with name
 * and shape if not. path is for the message. */
int fused_check(const SafetensorsEntry *e, const ModelParams *p, const char *path, Error *err) MUST_CHECK;

/* How many classic tensors it stands for. */
size_t fused_count(FusedKind kind, uint32_t n_experts);
/* The i-th of them, in order of place: name in the arena, two dimensions. ERR_MEMORY. */
int fused_part(SafetensorsEntry *out, const SafetensorsEntry *e, size_t i, Arena *arena,
               Error *err) MUST_CHECK;

#endif
