/* unicode_tables.h -- the form of the generated tables; private to unicode.c. Each is sorted by its first
 * field. */
#ifndef RECAST_RUNNER_UNICODE_TABLES_H
#define RECAST_RUNNER_UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

typedef struct UnicodeRange {
    uint32_t first, last;
    uint32_t value; /* of all code points first .. last; those in no range have 0 */
} UnicodeRange;

/* values of UnicodeKind */
extern const UnicodeRange unicode_kinds[];
extern const size_t unicode_kinds_count;

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
