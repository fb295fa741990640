/* quantized_neon.c -- quantized products with plain NEON, and the activations for both NEON sets. */
#if defined(__aarch64__)
#include "runner/cpu/quantized_neon.h"

size_t packed_bytes_neon(size_t columns) {
    return fours_of(columns) * sizeof(ActFour);
}

void pack_neon(void *out, DType type, const float *x, size_t columns) {
    (void)type;
    pack(out, x, columns);
}

void quantized_neon(const MatTile *tile) {
    quantized_of_type(tile);
}
#else
typedef int quantized_neon_is_for_arm;
#endif
