/* quantize.h -- float rows to ggml's block formats and back.
 *
 * A quantizer is a row of one table (quantize.c): a definition, scalar and made to be read, faster paths that
 * give the same bits, and the way back to float32. A further format is a file of its own and one more row.
 * The bytes are those of llama.cpp built without floating-point contraction. */
#ifndef RECAST_CORE_QUANTIZE_H
#define RECAST_CORE_QUANTIZE_H

#include "core/cpu.h"
#include "core/dtype.h"
#include "core/error.h"
#include <stddef.h>

/* What is to be quantized. */
typedef struct FloatRows {
    DType type;       /* F32, F16 or BF16 */
    const void *data; /* n_rows * row_elements elements, one after the other; may be unaligned */
    size_t n_rows, row_elements;
    uint64_t first_row; /* the number of the first one within its tensor, for messages */
    /* How much each column matters: row_elements weights of an importance matrix, the same for every row.
     * NULL: none. Formats without a use for it (Q8_0) ignore it. */
    const float *importance;
} FloatRows;

/* One way to quantize. row_elements is a multiple of the block. `out` may be unaligned. Gives the number of
 * elements done: all of them, or the place of the first block that it can't write, which has a NaN or an
 * infinity or needs a scale that float16 can't hold; blocks from there on are undefined, and with an
 * importance those before it in the same row as well. */
typedef struct QuantizePath {
    const char *name;
    CpuFeatures needs;
    size_t (*run)(void *out, const FloatRows *rows);
} QuantizePath;

typedef struct Quantizer {
    DType type;
    const QuantizePath *paths; /* the fastest first; the last one needs nothing and is the definition */
    size_t n_paths;
    void (*dequantize)(float *out, const void *blocks, size_t n_elements);
} Quantizer;

/* The table's row of a type; NULL if none is offered. */
const Quantizer *quantizer_of(DType type);
/* The fastest path that `have` can run. */
const QuantizePath *quantizer_path(const Quantizer *q, CpuFeatures have);

/* Rows as blocks of `to`, by the fastest path of this machine. ERR_UNSUPPORTED (no such quantizer, source not
 * a float type, rows not whole blocks); ERR_NUMERIC names row and element: NaN, infinity, or larger than a
 * block's scale can say. */
int quantize_rows(DType to, void *out, const FloatRows *rows, Error *err) MUST_CHECK;
/* n_elements, a multiple of the block, back to float32. ERR_UNSUPPORTED: no such quantizer, no whole blocks.
 */
int dequantize(float *out, DType from, const void *blocks, size_t n_elements, Error *err) MUST_CHECK;

#endif
