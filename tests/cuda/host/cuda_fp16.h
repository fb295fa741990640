/* cuda_fp16.h -- the conversions that runner/cuda/ takes from CUDA's header of this name. */
#ifndef RECAST_TESTS_CUDA_HOST_CUDA_FP16_H
#define RECAST_TESTS_CUDA_HOST_CUDA_FP16_H

#include "core/strict_math.h"

struct __half {
    unsigned short bits;
};

uint16_t host_f16(float f);

inline __half __ushort_as_half(unsigned short bits) {
    return {bits};
}

inline unsigned short __half_as_ushort(__half h) {
    return h.bits;
}

inline float __half2float(__half h) {
    float f = strict_f32_of((h.bits & 0x7FFFu) << 13) * 0x1p112f;
    uint32_t special = (h.bits & 0x7C00) == 0x7C00 ? 0x7F800000 : 0;
    return strict_f32_of(strict_bits_of(f) | special | (h.bits & 0x8000u) << 16);
}

inline __half __float2half_rn(float f) {
    return {host_f16(f)};
}

#endif
