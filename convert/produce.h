/* produce.h -- a GGUF with its provenance, in one call: what build and convert write and what validate
 * rebuilds to hash. */
#ifndef RECAST_CONVERT_PRODUCE_H
#define RECAST_CONVERT_PRODUCE_H

#include "convert/execute.h"
#include "convert/provenance.h"

/* model: FORM_GGUF, retyped. Adds the provenance to a copy of its metadata, plans, and executes; path NULL:
 * hash only. */
int gguf_produce(FileResult *out, const Model *model, const Provenance *provenance, const char *path,
                 ExecuteOptions options, Error *err) MUST_CHECK;

#endif
