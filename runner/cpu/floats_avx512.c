/* floats_avx512.c -- float products with AVX-512. */
#if defined(__x86_64__)
#define WIDTH 16
#include "runner/cpu/floats_lanes.h"

void floats_avx512(const MatTile *tile) {
    floats_lanes(tile);
}

void mix_avx512(float *o, const float *p, size_t p_stride, const float *v, size_t n, size_t heads,
                size_t head_dim) {
    mix_lanes(o, p, p_stride, v, n, heads, head_dim);
}
#else
typedef int floats_avx512_is_for_x86;
#endif
