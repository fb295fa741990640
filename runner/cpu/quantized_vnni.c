/* quantized_vnni.c -- quantized products with AVX-512 and VNNI: 16 blocks at a time. */
#if defined(__x86_64__)
#define WIDTH 16
#define VNNI  1
#include "runner/cpu/quantized_lanes.h"

size_t packed_bytes_vnni(size_t columns) {
    return groups_of(columns) * sizeof(ActGroup);
}

void pack_vnni(void *out, DType type, const float *x, size_t columns) {
    pack_lanes(out, type, x, columns);
}

void quantized_vnni(const MatTile *tile) {
    quantized_lanes(tile);
}
#else
typedef int quantized_vnni_is_for_x86;
#endif
