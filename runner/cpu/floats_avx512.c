/* floats_avx512.c -- float products with AVX-512. */
#if defined(__x86_64__)
#define WIDTH 16
#include "runner/cpu/floats_lanes.h"

void floats_avx512(const MatTile *tile) {
    floats_lanes(tile);
}
#else
typedef int floats_avx512_is_for_x86;
#endif
