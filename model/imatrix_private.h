/* imatrix_private.h -- what the readers of the two formats share. */
#ifndef RECAST_MODEL_IMATRIX_PRIVATE_H
#define RECAST_MODEL_IMATRIX_PRIVATE_H

#include "model/imatrix.h"

/* An importance matrix in the making. */
typedef struct ImatrixFile {
    Input *in;
    Arena *arena;
    bool is_gguf;
    size_t n_entries;
    ImatrixEntry *entries;
    Table *names;
    size_t n_datasets;
    const char *const *datasets;
    uint32_t chunk_count, chunk_size;
} ImatrixFile;

/* Room for so many entries; once, before the first imatrix_add. */
int imatrix_reserve(ImatrixFile *f, size_t count, Error *err) MUST_CHECK;
int imatrix_add(ImatrixFile *f, ImatrixEntry e, Error *err) MUST_CHECK; /* ERR_FORMAT: a name twice */
/* ERR_NUMERIC for NaN, infinity and negative numbers. */
int imatrix_check_values(const ImatrixFile *f, const char *name, const float *values, uint64_t count,
                         Error *err) MUST_CHECK;

int imatrix_read_legacy(ImatrixFile *f, Error *err) MUST_CHECK;

#endif
