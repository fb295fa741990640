/* quantize_iq4_fast_avx512.c -- IQ4_NL and IQ4_XS, 16 (super-)blocks at a time. */
#include "core/quantize_iq4.h"

#if defined(__x86_64__)
#define LANES 16
#include "core/quantize_iq4_fast.h"

size_t quantize_iq4_nl_avx512(void *out, const FloatRows *rows) {
    return quantize_iq4(out, rows, QK_LEGACY);
}

size_t quantize_iq4_xs_avx512(void *out, const FloatRows *rows) {
    return quantize_iq4(out, rows, QK_K);
}
#endif
