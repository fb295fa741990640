/* planes.h -- bytes of 16-bit floats sorted by what they mean, so that zstd's entropy coder sees them.
 *
 * A file is cut into blocks of 1 MiB. Each becomes one byte that says how, and as many bytes as before:
 *   0  as they were
 *   1  little-endian 16-bit words, each rotated left by one so that the sign stands below the mantissa and,
 * for bf16, the high byte is the exponent: first all high bytes, then all low bytes, then an odd last byte
 * The exponents of trained weights hold some 2.6 bits of 8; the low bytes can't be compressed. The size is
 * known beforehand: that of the file and one byte a block. */
#ifndef RECAST_PACKAGER_PLANES_H
#define RECAST_PACKAGER_PLANES_H

#include "core/input.h"

enum { PLANES_BLOCK = 1 << 20 };
#define PLANES_SUFFIX ".planes"

uint64_t planes_size(uint64_t size); /* of the whole */
/* One block: out gets 1 + length bytes. */
void planes_split(uint8_t *out, const uint8_t *in, size_t length);
/* Back: in holds 1 + length bytes. ERR_FORMAT for a first byte that isn't known. */
int planes_join(uint8_t *out, const uint8_t *in, size_t length, Error *err) MUST_CHECK;
/* Is it worth it for this file? Looks at up to 16 blocks of it. */
int planes_pay(bool *pay, const char *directory, const char *path, uint64_t size, Error *err) MUST_CHECK;

#endif
