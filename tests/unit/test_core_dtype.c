#include "core/blocks.h"
#include "core/dtype.h"
#include <criterion/criterion.h>
#include <stddef.h>

/* ggml's type ids, elements and bytes a block. */
static const struct {
    uint32_t id;
    const char *name;
    uint32_t block, bytes;
} ggml[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},      {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},      {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},
    {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},   {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},   {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18},    {42, "Q2_0", 64, 18},
};

Test(core_dtype, gguf_ids_are_ggmls) {
    for (size_t i = 0; i < sizeof ggml / sizeof ggml[0]; i++) {
        const DTypeInfo *info = dtype_by_gguf_id(ggml[i].id);
        cr_assert_not_null(info, "%s", ggml[i].name);
        cr_assert_eq((uint32_t)info->type, ggml[i].id);
        cr_assert_str_eq(info->name, ggml[i].name);
        cr_assert_eq(info->block, ggml[i].block, "%s", ggml[i].name);
        cr_assert_eq(info->bytes, ggml[i].bytes, "%s", ggml[i].name);
        cr_assert_eq(dtype_info(info->type), info);
        cr_assert_str_eq(dtype_name(info->type), ggml[i].name);
    }
}

Test(core_dtype, no_other_id_is_known) {
    size_t next = 0;
    for (uint32_t id = 0; id < 300; id++) {
        bool known = next < sizeof ggml / sizeof ggml[0] && ggml[next].id == id;
        cr_assert_eq(dtype_by_gguf_id(id) != NULL, known, "id %u", id);
        next += known;
    }
    cr_assert_null(dtype_by_gguf_id(UINT32_MAX));
    cr_assert_null(dtype_info(DT_NONE));
    cr_assert_str_eq(dtype_name(DT_NONE), "unknown");
}

Test(core_dtype, safetensors_names) {
    static const struct {
        const char *name;
        DType type;
        uint32_t bytes;
    } names[] = {
        {"F64", DT_F64, 8},         {"F32", DT_F32, 4},         {"F16", DT_F16, 2},
        {"BF16", DT_BF16, 2},       {"I64", DT_I64, 8},         {"I32", DT_I32, 4},
        {"I16", DT_I16, 2},         {"I8", DT_I8, 1},           {"U64", DT_U64, 8},
        {"U32", DT_U32, 4},         {"U16", DT_U16, 2},         {"U8", DT_U8, 1},
        {"BOOL", DT_BOOL, 1},       {"F8_E4M3", DT_F8_E4M3, 1}, {"F8_E5M2", DT_F8_E5M2, 1},
        {"F8_E8M0", DT_F8_E8M0, 1},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const DTypeInfo *info = dtype_by_safetensors(names[i].name);
        cr_assert_not_null(info, "%s", names[i].name);
        cr_assert_eq(info->type, names[i].type);
        cr_assert_eq(info->block, 1);
        cr_assert_eq(info->bytes, names[i].bytes);
        cr_assert_str_eq(info->safetensors, names[i].name);
    }
    static const char *const unknown[] = {"", "bf16", "Q4_0", "F33", "BF16 ", "F4"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        cr_assert_null(dtype_by_safetensors(unknown[i]), "%s", unknown[i]);
}

Test(core_dtype, floats) {
    cr_assert(dtype_is_float(DT_F32) && dtype_is_float(DT_F16) && dtype_is_float(DT_BF16));
    cr_assert(!dtype_is_float(DT_F64) && !dtype_is_float(DT_Q8_0) && !dtype_is_float(DT_I32) &&
              !dtype_is_float(DT_NONE));
}

Test(core_dtype, bytes_of_elements) {
    uint64_t bytes = 7;
    cr_assert(dtype_bytes(DT_BF16, 2048, &bytes));
    cr_assert_eq(bytes, 4096);
    cr_assert(dtype_bytes(DT_Q4_K, 2048, &bytes));
    cr_assert_eq(bytes, 1152);
    cr_assert(dtype_bytes(DT_Q6_K, 0, &bytes));
    cr_assert_eq(bytes, 0);
    cr_assert_not(dtype_bytes(DT_Q4_K, 2049, &bytes));
    cr_assert_not(dtype_bytes(DT_Q8_0, 16, &bytes));
    cr_assert_not(dtype_bytes(DT_NONE, 1, &bytes));
    cr_assert(dtype_bytes(DT_F32, UINT64_MAX / 4, &bytes));
    cr_assert_not(dtype_bytes(DT_F32, UINT64_MAX / 4 + 1, &bytes));
    cr_assert_not(dtype_bytes(DT_F64, UINT64_MAX, &bytes));
    cr_assert(dtype_bytes(DT_Q4_0, UINT64_MAX - 31, &bytes)); /* 4.5 bits an element: no overflow */
    cr_assert_eq(bytes, (UINT64_MAX / 32) * 18);
}

Test(core_dtype, fields_lie_where_ggml_has_them) {
    cr_assert_eq(offsetof(block_q5_1, qs), 8);
    cr_assert_eq(offsetof(block_q2_K, d), 80);
    cr_assert_eq(offsetof(block_q3_K, scales), 96);
    cr_assert_eq(offsetof(block_q3_K, d), 108);
    cr_assert_eq(offsetof(block_q4_K, qs), 16);
    cr_assert_eq(offsetof(block_q5_K, qs), 48);
    cr_assert_eq(offsetof(block_q6_K, scales), 192);
    cr_assert_eq(offsetof(block_q6_K, d), 208);
    cr_assert_eq(offsetof(block_iq4_xs, qs), 8);
    cr_assert_eq(offsetof(block_nvfp4, qs), 4);
    cr_assert_eq(offsetof(block_mxfp4, qs), 1);
}
