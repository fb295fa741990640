/* quantized_avx2.c -- quantized products with AVX2: 8 blocks at a time. */
#if defined(__x86_64__)
#define WIDTH 8
#include "runner/cpu/quantized_lanes.h"

size_t packed_bytes_avx2(size_t columns) {
    return groups_of(columns) * sizeof(ActGroup);
}

void pack_avx2(void *out, DType type, const float *x, size_t columns) {
    pack_lanes(out, type, x, columns);
}

/* Packed activations differ only in the order of bytes. */
bool same_pack_lanes(DType a, DType b) {
    return layout_of(a) == layout_of(b);
}

void quantized_avx2(const MatTile *tile) {
    quantized_lanes(tile);
}
#else
typedef int quantized_avx2_is_for_x86;
#endif
