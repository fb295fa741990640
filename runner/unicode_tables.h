/* unicode_tables.h -- the form of the generated tables; private to unicode.c. Each table with code
 * points of its own is sorted by its first field. */
#ifndef RECAST_RUNNER_UNICODE_TABLES_H
#define RECAST_RUNNER_UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

/* What each code point is, four bits: a UnicodeKind, and UNICODE_MOVES where NFC may change it or join it to
 * what stands in front of it. The lower half of a byte is the even code point. */
enum { UNICODE_BLOCK = 128, UNICODE_BLOCKS = 0x110000 / UNICODE_BLOCK, UNICODE_KIND = 3, UNICODE_MOVES = 4 };
extern const uint8_t unicode_block_index[UNICODE_BLOCKS];
extern const uint8_t unicode_blocks[][UNICODE_BLOCK / 2];

typedef struct UnicodeRange {
    uint32_t first, last;
    uint32_t value; /* of all code points first .. last; those in no range have 0 */
} UnicodeRange;

/* canonical combining classes, of code points that do not decompose */
extern const UnicodeRange unicode_combining[];
extern const size_t unicode_combining_count;

typedef struct UnicodeDecomposition {
    uint32_t code_point;
    uint32_t parts[4]; /* the whole canonical decomposition; unused ones are 0. Hangul is not listed */
} UnicodeDecomposition;
extern const UnicodeDecomposition unicode_decompositions[];
extern const size_t unicode_decompositions_count;

typedef struct UnicodePair {
    uint32_t first, second, composed;
} UnicodePair;
extern const UnicodePair unicode_pairs[];
extern const size_t unicode_pairs_count;

#endif
