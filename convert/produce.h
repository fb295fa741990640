/* produce.h -- GGUFs with their provenance: what build and convert write and what validate rebuilds to hash.
 */
#ifndef RECAST_CONVERT_PRODUCE_H
#define RECAST_CONVERT_PRODUCE_H

#include "convert/execute.h"
#include "convert/gguf_set.h"
#include "convert/provenance.h"

typedef struct Product {
    const Model *model; /* FORM_GGUF, retyped */
    const Provenance *provenance;
    const char *path; /* NULL: hash only */
    SplitRule split;  /* all zero: one file; else `path` without the shards' suffix names them */
} Product;

/* Any number of products, planned: their headers are made. */
typedef struct Production {
    Conversion conversion; /* its outputs are the files of the first product, then those of the second ...;
                              source, promised and proof are the caller's to set before convert_execute */
    size_t n_products;
    GgufSet **sets;       /* one a product */
    size_t *first_output; /* of each product, and n_outputs at the end */
    Arena *arena;
} Production;

/* Everything that products point to must outlive it, but for the provenances. */
int production_open(Production **out, const Product *products, size_t n, const Allocator *allocator,
                    Error *err) MUST_CHECK;
void production_close(Production *p); /* NULL-safe */

#endif
