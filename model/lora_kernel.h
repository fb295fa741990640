/* lora_kernel.h -- the arithmetic of a merge on rows of float32: one definition, and faster functions with
 * its bits (private to lora_*.c; docs/lora.md).
 *
 * A is held in panels: LORA_PANEL columns of all ranks side by side, so that a panel stays in the first cache
 * while all rows go by. The last panel is filled up with zeros. */
#ifndef RECAST_MODEL_LORA_KERNEL_H
#define RECAST_MODEL_LORA_KERNEL_H

#include "core/cpu.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LORA_PANEL = 64 };

/* Delta of n_rows rows: s * (((0 + b0*a0) + b1*a1) + ...), each step one fmaf, ranks in ascending order. */
typedef struct LoraDelta {
    const float *b; /* [n_rows][rank] */
    const float *a; /* [panels][rank][LORA_PANEL] */
    size_t n_rows, rank, columns;
    float scale;
    bool add;   /* to what is in out; else out is set */
    float *out; /* [n_rows][columns] */
} LoraDelta;

/* What a row became. */
typedef struct LoraRowStats {
    uint32_t max; /* bits of the largest |new - old|, a float32 */
    uint32_t
        largest; /* bits of the largest |sum| before it was rounded: 0x7F800000 and above is not finite */
    uint32_t changed;
    double sum; /* of |new - old|: 16 float32 sums of every 16th column, added up in order as double */
} LoraRowStats;

typedef struct LoraKernel {
    const char *name;
    CpuFeatures needs;
    void (*delta)(const LoraDelta *d);
    /* new_row: bfloat16 of sum[0 .. n), rounded to nearest even; old_row: what was there before. */
    void (*finish_bf16)(uint16_t *new_row, const float *sum, const uint16_t *old_row, size_t n,
                        LoraRowStats *stats);
    /* bfloat16 to float32 */
    void (*widen_bf16)(float *out, const uint16_t *in, size_t n);
} LoraKernel;

/* From the fastest to the definition, which needs nothing. */
const LoraKernel *lora_kernels(size_t *count);
const LoraKernel *lora_kernel_for(CpuFeatures features);

/* The definition, also for what a vector leaves over. */
void lora_delta_reference(const LoraDelta *d);
/* Stats of a row whose new and old values are given as float32, for the other types. */
void lora_row_stats(LoraRowStats *out, const float *new_values, const float *sum, const float *old_values,
                    size_t n);

#if defined(__x86_64__)
void lora_delta_avx2(const LoraDelta *d);
void lora_finish_bf16_avx2(uint16_t *new_row, const float *sum, const uint16_t *old_row, size_t n,
                           LoraRowStats *stats);
void lora_widen_bf16_avx2(float *out, const uint16_t *in, size_t n);
void lora_delta_avx512(const LoraDelta *d);
void lora_finish_bf16_avx512(uint16_t *new_row, const float *sum, const uint16_t *old_row, size_t n,
                             LoraRowStats *stats);
void lora_widen_bf16_avx512(float *out, const uint16_t *in, size_t n);
#endif

#endif
