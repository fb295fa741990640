/* dtype.c -- the table of number formats. Block sizes are those of the structs in blocks.h. */
#include "core/dtype.h"
#include "core/blocks.h"
#include "core/memory.h"
#include <string.h>

#define NUMBER(id, text, size) \
    { DT_##id, #id, text, 1, size }
#define BLOCK(id, elements, type) \
    { DT_##id, #id, NULL, elements, sizeof(type) }

static const DTypeInfo types[] = {
    NUMBER(F32, "F32", 4),
    NUMBER(F16, "F16", 2),
    BLOCK(Q4_0, 32, block_q4_0),
    BLOCK(Q4_1, 32, block_q4_1),
    BLOCK(Q5_0, 32, block_q5_0),
    BLOCK(Q5_1, 32, block_q5_1),
    BLOCK(Q8_0, 32, block_q8_0),
    BLOCK(Q8_1, 32, block_q8_1),
    BLOCK(Q2_K, QK_K, block_q2_K),
    BLOCK(Q3_K, QK_K, block_q3_K),
    BLOCK(Q4_K, QK_K, block_q4_K),
    BLOCK(Q5_K, QK_K, block_q5_K),
    BLOCK(Q6_K, QK_K, block_q6_K),
    BLOCK(Q8_K, QK_K, block_q8_K),
    BLOCK(IQ2_XXS, QK_K, block_iq2_xxs),
    BLOCK(IQ2_XS, QK_K, block_iq2_xs),
    BLOCK(IQ3_XXS, QK_K, block_iq3_xxs),
    BLOCK(IQ1_S, QK_K, block_iq1_s),
    BLOCK(IQ4_NL, 32, block_iq4_nl),
    BLOCK(IQ3_S, QK_K, block_iq3_s),
    BLOCK(IQ2_S, QK_K, block_iq2_s),
    BLOCK(IQ4_XS, QK_K, block_iq4_xs),
    NUMBER(I8, "I8", 1),
    NUMBER(I16, "I16", 2),
    NUMBER(I32, "I32", 4),
    NUMBER(I64, "I64", 8),
    NUMBER(F64, "F64", 8),
    BLOCK(IQ1_M, QK_K, block_iq1_m),
    NUMBER(BF16, "BF16", 2),
    BLOCK(TQ1_0, QK_K, block_tq1_0),
    BLOCK(TQ2_0, QK_K, block_tq2_0),
    BLOCK(MXFP4, 32, block_mxfp4),
    BLOCK(NVFP4, 64, block_nvfp4),
    BLOCK(Q1_0, 128, block_q1_0),
    BLOCK(Q2_0, 64, block_q2_0),
    NUMBER(BOOL, "BOOL", 1),
    NUMBER(U8, "U8", 1),
    NUMBER(U16, "U16", 2),
    NUMBER(U32, "U32", 4),
    NUMBER(U64, "U64", 8),
    NUMBER(F8_E4M3, "F8_E4M3", 1),
    NUMBER(F8_E5M2, "F8_E5M2", 1),
    NUMBER(F8_E8M0, "F8_E8M0", 1),
};

enum { N_TYPES = sizeof types / sizeof types[0] };

const DTypeInfo *dtype_info(DType type) {
    for (size_t i = 0; i < N_TYPES; i++)
        if (types[i].type == type) return &types[i];
    return NULL;
}

const DTypeInfo *dtype_by_gguf_id(uint32_t id) {
    /* From DT_BOOL on the numbers are ours, and a GGUF file that holds one is wrong. */
    return id < DT_BOOL ? dtype_info((DType)id) : NULL;
}

const DTypeInfo *dtype_by_safetensors(const char *name) {
    for (size_t i = 0; i < N_TYPES; i++)
        if (types[i].safetensors && strcmp(types[i].safetensors, name) == 0) return &types[i];
    return NULL;
}

const char *dtype_name(DType type) {
    const DTypeInfo *info = dtype_info(type);
    return info ? info->name : "unknown";
}

bool dtype_is_float(DType type) {
    return type == DT_F32 || type == DT_F16 || type == DT_BF16;
}

bool dtype_bytes(DType type, uint64_t elements, uint64_t *bytes) {
    const DTypeInfo *info = dtype_info(type);
    return info && elements % info->block == 0 && u64_mul(bytes, elements / info->block, info->bytes);
}
