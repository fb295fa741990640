/* sets.h -- the parts that kernels.c makes its tables of. */
#ifndef RECAST_RUNNER_CPU_SETS_H
#define RECAST_RUNNER_CPU_SETS_H

#include "runner/cpu/kernels.h"

void floats_portable(const MatTile *tile);

#if defined(__x86_64__)
void floats_avx2(const MatTile *tile);   /* AVX2, FMA, F16C */
void floats_avx512(const MatTile *tile); /* AVX-512 F, BW, DQ, VL */
void mix_avx2(float *o, const float *p, size_t p_stride, const float *v, size_t n, size_t heads,
              size_t head_dim);
void mix_avx512(float *o, const float *p, size_t p_stride, const float *v, size_t n, size_t heads,
                size_t head_dim);

size_t packed_bytes_avx2(size_t columns);
void pack_avx2(void *out, DType type, const float *x, size_t columns);
void quantized_avx2(const MatTile *tile);

size_t packed_bytes_vnni(size_t columns); /* AVX-512 with VNNI */
void pack_vnni(void *out, DType type, const float *x, size_t columns);
void quantized_vnni(const MatTile *tile);

bool same_pack_lanes(DType a, DType b);
#endif

#if defined(__aarch64__)
void floats_neon(const MatTile *tile);
void mix_neon(float *o, const float *p, size_t p_stride, const float *v, size_t n, size_t heads,
              size_t head_dim);
size_t packed_bytes_neon(size_t columns);
void pack_neon(void *out, DType type, const float *x, size_t columns);
void quantized_neon(const MatTile *tile);
void quantized_neon_dot(const MatTile *tile); /* DotProd */
#endif

#endif
