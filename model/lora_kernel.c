/* lora_kernel.c -- see lora_kernel.h: the definition, and the choice of a faster function. */
#include "model/lora_kernel.h"

#include "core/floats.h"
#include <math.h>
#include <string.h>

static float *panel_row(const LoraDelta *d, size_t row, size_t panel) {
    return d->out + row * d->columns + panel * LORA_PANEL;
}

static void delta_row(const LoraDelta *d, size_t row, size_t panel, size_t n) {
    const float *b = d->b + row * d->rank, *a = d->a + panel * d->rank * LORA_PANEL;
    float sum[LORA_PANEL] = {0}, *out = panel_row(d, row, panel);
    for (size_t k = 0; k < d->rank; k++)
        for (size_t i = 0; i < n; i++) sum[i] = fmaf(b[k], a[k * LORA_PANEL + i], sum[i]);
    for (size_t i = 0; i < n; i++) out[i] = d->add ? out[i] + d->scale * sum[i] : d->scale * sum[i];
}

void lora_delta_reference(const LoraDelta *d) {
    for (size_t panel = 0; panel * LORA_PANEL < d->columns; panel++) {
        size_t left = d->columns - panel * LORA_PANEL, n = left < LORA_PANEL ? left : LORA_PANEL;
        for (size_t row = 0; row < d->n_rows; row++) delta_row(d, row, panel, n);
    }
}

void lora_row_stats(LoraRowStats *out, const float *new_values, const float *sum, const float *old_values,
                    size_t n) {
    float sums[16] = {0};
    *out = (LoraRowStats){0};
    for (size_t i = 0; i < n; i++) {
        float difference = fabsf(new_values[i] - old_values[i]);
        uint32_t bits = f32_bits(difference), magnitude = f32_bits(sum[i]) & 0x7FFFFFFF;
        if (bits > out->max) out->max = bits;
        if (magnitude > out->largest) out->largest = magnitude;
        out->changed += bits != 0;
        sums[i % 16] += difference;
    }
    for (size_t i = 0; i < 16; i++) out->sum += (double)sums[i];
}

static void finish_bf16_reference(uint16_t *new_row, const float *sum, const uint16_t *old_row, size_t n,
                                  LoraRowStats *stats) {
    float sums[16] = {0};
    *stats = (LoraRowStats){0};
    for (size_t i = 0; i < n; i++) {
        new_row[i] = bf16_from_f32(sum[i]);
        float difference = fabsf(f32_from_bf16(new_row[i]) - f32_from_bf16(old_row[i]));
        uint32_t bits = f32_bits(difference), magnitude = f32_bits(sum[i]) & 0x7FFFFFFF;
        if (bits > stats->max) stats->max = bits;
        if (magnitude > stats->largest) stats->largest = magnitude;
        stats->changed += bits != 0;
        sums[i % 16] += difference;
    }
    for (size_t i = 0; i < 16; i++) stats->sum += (double)sums[i];
}

static void widen_bf16_reference(float *out, const uint16_t *in, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = f32_from_bf16(in[i]);
}

static const LoraKernel kernels[] = {
#if defined(__x86_64__)
    {"avx512", CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL, lora_delta_avx512,
     lora_finish_bf16_avx512, lora_widen_bf16_avx512},
    {"avx2", CPU_AVX2 | CPU_FMA, lora_delta_avx2, lora_finish_bf16_avx2, lora_widen_bf16_avx2},
#endif
    {"definition", 0, lora_delta_reference, finish_bf16_reference, widen_bf16_reference},
};

const LoraKernel *lora_kernels(size_t *count) {
    *count = sizeof kernels / sizeof kernels[0];
    return kernels;
}

const LoraKernel *lora_kernel_for(CpuFeatures features) {
    size_t i = 0;
    while ((kernels[i].needs & features) != kernels[i].needs) i++;
    return &kernels[i];
}
