/* quantize_iq4_fast_baseline.c -- IQ4_NL and IQ4_XS, 4 (super-)blocks at a time. */
#include "core/quantize_iq4.h"

#define LANES 4
#include "core/quantize_iq4_fast.h"

size_t quantize_iq4_nl_baseline(void *out, const FloatRows *rows) {
    return quantize_iq4(out, rows, QK_LEGACY);
}

size_t quantize_iq4_xs_baseline(void *out, const FloatRows *rows) {
    return quantize_iq4(out, rows, QK_K);
}
