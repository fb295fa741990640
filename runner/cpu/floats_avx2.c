/* floats_avx2.c -- float products with AVX2, FMA and F16C. */
#if defined(__x86_64__)
#define WIDTH 8
#include "runner/cpu/floats_lanes.h"

void floats_avx2(const MatTile *tile) {
    floats_lanes(tile);
}

void mix_avx2(float *o, const float *p, size_t p_stride, const float *v, size_t n, size_t heads,
              size_t head_dim) {
    mix_lanes(o, p, p_stride, v, n, heads, head_dim);
}
#else
typedef int floats_avx2_is_for_x86;
#endif
