/* quantized_neon_dot.c -- quantized products with NEON's dot product extension. */
#if defined(__aarch64__)
#define DOTPROD 1
#include "runner/cpu/quantized_neon.h"

void quantized_neon_dot(const MatTile *tile) {
    quantized_of_type(tile);
}
#else
typedef int quantized_neon_dot_is_for_arm;
#endif
