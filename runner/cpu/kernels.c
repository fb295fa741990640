/* kernels.c -- the table of kernel sets, and the portable one. */
#include "runner/cpu/kernels.h"
#include "runner/cpu/sets.h"
#include "runner/ref/kernels.h"
#include "runner/ref/quantized.h"

/* ---- portable: runner/ref/ itself ---- */

/* A row that several vectors meet is widened once. */
void floats_portable(const MatTile *t) {
    bool widen = t->n > 1 && t->type != DT_F32;
    for (size_t r = 0; r < t->n_rows; r++) {
        const void *row = t->rows + r * t->row_bytes;
        if (widen) {
            kernel_widen(t->type, row, t->scratch, t->columns);
            row = t->scratch;
        }
        for (size_t i = 0; i < t->n; i++)
            t->out[i * t->out_stride + r] =
                kernel_dot(widen ? DT_F32 : t->type, row, (const float *)mat_vector(t, i), t->columns);
    }
}

static size_t packed_bytes_portable(size_t columns) {
    return columns / 32 * sizeof(ActBlock);
}

static void pack_portable(void *out, DType type, const float *x, size_t columns) {
    (void)type;
    quantized_activations(out, x, columns);
}

static bool same_pack_portable(DType a, DType b) {
    (void)a, (void)b;
    return true;
}

static void quantized_portable(const MatTile *t) {
    for (size_t i = 0; i < t->n; i++)
        for (size_t r = 0; r < t->n_rows; r++)
            t->out[i * t->out_stride + r] = quantized_dot(t->type, t->rows + r * t->row_bytes,
                                                          (const ActBlock *)mat_vector(t, i), t->columns);
}

static void mix_portable(float *o, const float *p, size_t p_stride, const float *v, size_t n, size_t heads,
                         size_t head_dim) {
    for (size_t j = 0; j < heads; j++) kernel_mix(o + j * head_dim, p + j * p_stride, v, n, head_dim);
}

/* ---- the sets, slowest first ---- */

enum {
    NEEDS_AVX2 = CPU_AVX2 | CPU_FMA | CPU_F16C,
    NEEDS_AVX512 = NEEDS_AVX2 | CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL,
    NEEDS_VNNI = NEEDS_AVX512 | CPU_AVX512VNNI,
};

static const struct {
    CpuFeatures needs;
    MatKernels kernels;
} sets[] = {
    {0,
     {"portable", floats_portable, packed_bytes_portable, pack_portable, same_pack_portable,
      quantized_portable, mix_portable}},
#if defined(__x86_64__)
    {NEEDS_AVX2,
     {"avx2", floats_avx2, packed_bytes_avx2, pack_avx2, same_pack_lanes, quantized_avx2, mix_avx2}},
    {NEEDS_AVX512,
     {"avx512", floats_avx512, packed_bytes_avx2, pack_avx2, same_pack_lanes, quantized_avx2, mix_avx512}},
    {NEEDS_VNNI,
     {"vnni", floats_avx512, packed_bytes_vnni, pack_vnni, same_pack_lanes, quantized_vnni, mix_avx512}},
#endif
#if defined(__aarch64__)
    {CPU_ARM_NEON,
     {"neon", floats_neon, packed_bytes_neon, pack_neon, same_pack_portable, quantized_neon, mix_neon}},
    {CPU_ARM_NEON | CPU_ARM_DOTPROD,
     {"neon-dot", floats_neon, packed_bytes_neon, pack_neon, same_pack_portable, quantized_neon_dot,
      mix_neon}},
#endif
};

const MatKernels *mat_kernels_at(CpuFeatures have, size_t i) {
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        if ((sets[s].needs & ~have) == 0 && i-- == 0) return &sets[s].kernels;
    return NULL;
}

const MatKernels *mat_kernels(CpuFeatures have) {
    size_t n = 1;
    while (mat_kernels_at(have, n)) n++;
    return mat_kernels_at(have, n - 1);
}

/* Unpacked weights take less than two bytes each, but come in groups of 512. */
size_t mat_scratch(size_t columns) {
    return (MAT_PANEL * (columns + 512) * sizeof(float) + MAT_ALIGNMENT - 1) / MAT_ALIGNMENT * MAT_ALIGNMENT;
}
