/* dtype.h -- number formats: GGUF's type ids, their blocks, and the names that safetensors gives them. */
#ifndef RECAST_CORE_DTYPE_H
#define RECAST_CORE_DTYPE_H

#include "core/error.h"
#include <stddef.h>

/* Values are GGUF type ids (ggml.h). Those from 100 up exist in safetensors only and have no GGUF form. */
typedef enum DType {
    DT_F32 = 0,
    DT_F16 = 1,
    DT_Q4_0 = 2,
    DT_Q4_1 = 3,
    DT_Q5_0 = 6,
    DT_Q5_1 = 7,
    DT_Q8_0 = 8,
    DT_Q8_1 = 9,
    DT_Q2_K = 10,
    DT_Q3_K = 11,
    DT_Q4_K = 12,
    DT_Q5_K = 13,
    DT_Q6_K = 14,
    DT_Q8_K = 15,
    DT_IQ2_XXS = 16,
    DT_IQ2_XS = 17,
    DT_IQ3_XXS = 18,
    DT_IQ1_S = 19,
    DT_IQ4_NL = 20,
    DT_IQ3_S = 21,
    DT_IQ2_S = 22,
    DT_IQ4_XS = 23,
    DT_I8 = 24,
    DT_I16 = 25,
    DT_I32 = 26,
    DT_I64 = 27,
    DT_F64 = 28,
    DT_IQ1_M = 29,
    DT_BF16 = 30,
    DT_TQ1_0 = 34,
    DT_TQ2_0 = 35,
    DT_MXFP4 = 39,
    DT_NVFP4 = 40,
    DT_Q1_0 = 41,
    DT_Q2_0 = 42,
    DT_BOOL = 100,
    DT_U8,
    DT_U16,
    DT_U32,
    DT_U64,
    DT_F8_E4M3,
    DT_F8_E5M2,
    DT_F8_E8M0,
    DT_NONE = 255
} DType;

typedef struct DTypeInfo {
    DType type;
    const char *name;        /* "BF16", "Q4_K": ggml's spelling in upper case */
    const char *safetensors; /* "BF16"; NULL if safetensors has none */
    uint32_t block;          /* elements a block */
    uint32_t bytes;          /* bytes a block */
} DTypeInfo;

const DTypeInfo *dtype_info(DType type);                 /* NULL if unknown */
const DTypeInfo *dtype_by_gguf_id(uint32_t id);          /* NULL if unknown or removed */
const DTypeInfo *dtype_by_safetensors(const char *name); /* NULL if unknown */
const char *dtype_name(DType type);                      /* never NULL */
bool dtype_is_float(DType type);                         /* F32, F16 or BF16 */
/* Bytes of `elements` (a multiple of the block) in the type; false if not a multiple or on overflow. */
bool dtype_bytes(DType type, uint64_t elements, uint64_t *bytes);

#endif
