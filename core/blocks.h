/* blocks.h -- the bytes of ggml's block formats: how quantized elements lie in a file.
 *
 * Names and fields are ggml's. All are packed, so a pointer into a file's bytes needs no alignment;
 * multi-byte fields are little-endian. `d`, `m`, `s`, `dmin` without another type are float16 bits. */
#ifndef RECAST_CORE_BLOCKS_H
#define RECAST_CORE_BLOCKS_H

#include <stdint.h>

enum { QK_LEGACY = 32, QK_K = 256 };

#define PACKED __attribute__((packed))
#define BLOCK_SIZE_IS(type, bytes) \
    _Static_assert(sizeof(type) == (bytes), #type " has " #bytes " bytes in a file")

/* ---- 32 elements; byte j of qs: element j in the low nibble, j + 16 in the high one ---- */

typedef struct PACKED block_q4_0 {
    uint16_t d;
    uint8_t qs[16]; /* d * (q - 8) */
} block_q4_0;
BLOCK_SIZE_IS(block_q4_0, 18);

typedef struct PACKED block_q4_1 {
    uint16_t d, m;
    uint8_t qs[16]; /* d * q + m */
} block_q4_1;
BLOCK_SIZE_IS(block_q4_1, 20);

typedef struct PACKED block_q5_0 {
    uint16_t d;
    uint8_t qh[4];  /* bit j of this 32-bit word: the fifth bit of element j */
    uint8_t qs[16]; /* d * (q - 16) */
} block_q5_0;
BLOCK_SIZE_IS(block_q5_0, 22);

typedef struct PACKED block_q5_1 {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16]; /* d * q + m */
} block_q5_1;
BLOCK_SIZE_IS(block_q5_1, 24);

typedef struct PACKED block_q8_0 {
    uint16_t d;
    int8_t qs[32]; /* d * q */
} block_q8_0;
BLOCK_SIZE_IS(block_q8_0, 34);

typedef struct PACKED block_q8_1 {
    uint16_t d, s; /* s: d times the sum of qs */
    int8_t qs[32];
} block_q8_1;
BLOCK_SIZE_IS(block_q8_1, 36);

typedef struct PACKED block_iq4_nl {
    uint16_t d;
    uint8_t qs[16]; /* d * table[q] */
} block_iq4_nl;
BLOCK_SIZE_IS(block_iq4_nl, 18);

typedef struct PACKED block_mxfp4 {
    uint8_t e; /* E8M0 */
    uint8_t qs[16];
} block_mxfp4;
BLOCK_SIZE_IS(block_mxfp4, 17);

/* ---- 64 and 128 elements ---- */

typedef struct PACKED block_nvfp4 {
    uint8_t d[4];   /* UE4M3, one for 16 elements */
    uint8_t qs[32]; /* byte 8s + j: elements 16s + j and 16s + 8 + j */
} block_nvfp4;
BLOCK_SIZE_IS(block_nvfp4, 36);

typedef struct PACKED block_q2_0 {
    uint16_t d;
    uint8_t qs[16]; /* 64 elements */
} block_q2_0;
BLOCK_SIZE_IS(block_q2_0, 18);

typedef struct PACKED block_q1_0 {
    uint16_t d;
    uint8_t qs[16]; /* 128 elements */
} block_q1_0;
BLOCK_SIZE_IS(block_q1_0, 18);

/* ---- 256 elements: super-blocks ---- */

typedef struct PACKED block_q2_K {
    uint8_t scales[QK_K / 16]; /* of 16 elements: scale in the low nibble, minimum in the high one */
    uint8_t qs[QK_K / 4];
    uint16_t d, dmin; /* d * scale * q - dmin * minimum */
} block_q2_K;
BLOCK_SIZE_IS(block_q2_K, 84);

typedef struct PACKED block_q3_K {
    uint8_t hmask[QK_K / 8]; /* element i: byte i % 32, bit i / 32 */
    uint8_t qs[QK_K / 4];    /* the low two bits, as in Q2_K */
    uint8_t scales[12];      /* 16 of 6 bits */
    uint16_t d;              /* d * (scale - 32) * (q - 4) */
} block_q3_K;
BLOCK_SIZE_IS(block_q3_K, 110);

typedef struct PACKED block_q4_K {
    uint16_t d, dmin;
    uint8_t scales[12]; /* 8 scales and 8 minima of 6 bits */
    uint8_t qs[QK_K / 2];
} block_q4_K;
BLOCK_SIZE_IS(block_q4_K, 144);

typedef struct PACKED block_q5_K {
    uint16_t d, dmin;
    uint8_t scales[12]; /* as in Q4_K */
    uint8_t qh[QK_K / 8];
    uint8_t qs[QK_K / 2];
} block_q5_K;
BLOCK_SIZE_IS(block_q5_K, 176);

typedef struct PACKED block_q6_K {
    uint8_t ql[QK_K / 2];
    uint8_t qh[QK_K / 4];
    int8_t scales[QK_K / 16];
    uint16_t d; /* d * scale * (q - 32) */
} block_q6_K;
BLOCK_SIZE_IS(block_q6_K, 210);

/* Activations, never weights: float scale, and sums of 16 elements. */
typedef struct PACKED block_q8_K {
    float d;
    int8_t qs[QK_K];
    int16_t bsums[QK_K / 16];
} block_q8_K;
BLOCK_SIZE_IS(block_q8_K, 292);

typedef struct PACKED block_iq4_xs {
    uint16_t d;
    uint16_t scales_h; /* two high bits of each of 8 scales */
    uint8_t scales_l[QK_K / 64];
    uint8_t qs[QK_K / 2]; /* d * (scale - 32) * table[q] */
} block_iq4_xs;
BLOCK_SIZE_IS(block_iq4_xs, 136);

/* ---- 256 elements, formats whose tensors are carried as bytes and not decoded ---- */

typedef struct PACKED block_iq2_xxs {
    uint16_t d;
    uint16_t qs[QK_K / 8];
} block_iq2_xxs;
BLOCK_SIZE_IS(block_iq2_xxs, 66);

typedef struct PACKED block_iq2_xs {
    uint16_t d;
    uint16_t qs[QK_K / 8];
    uint8_t scales[QK_K / 32];
} block_iq2_xs;
BLOCK_SIZE_IS(block_iq2_xs, 74);

typedef struct PACKED block_iq2_s {
    uint16_t d;
    uint8_t qs[QK_K / 4];
    uint8_t qh[QK_K / 32];
    uint8_t scales[QK_K / 32];
} block_iq2_s;
BLOCK_SIZE_IS(block_iq2_s, 82);

typedef struct PACKED block_iq3_xxs {
    uint16_t d;
    uint8_t qs[3 * QK_K / 8];
} block_iq3_xxs;
BLOCK_SIZE_IS(block_iq3_xxs, 98);

typedef struct PACKED block_iq3_s {
    uint16_t d;
    uint8_t qs[QK_K / 4];
    uint8_t qh[QK_K / 32];
    uint8_t signs[QK_K / 8];
    uint8_t scales[QK_K / 64];
} block_iq3_s;
BLOCK_SIZE_IS(block_iq3_s, 110);

typedef struct PACKED block_iq1_s {
    uint16_t d;
    uint8_t qs[QK_K / 8];
    uint16_t qh[QK_K / 32];
} block_iq1_s;
BLOCK_SIZE_IS(block_iq1_s, 50);

/* d is spread over the top four bits of the scales. */
typedef struct PACKED block_iq1_m {
    uint8_t qs[QK_K / 8];
    uint8_t qh[QK_K / 16];
    uint8_t scales[QK_K / 32];
} block_iq1_m;
BLOCK_SIZE_IS(block_iq1_m, 56);

typedef struct PACKED block_tq1_0 {
    uint8_t qs[48]; /* five ternary digits a byte: 240 elements */
    uint8_t qh[4];  /* four a byte: the last 16 */
    uint16_t d;
} block_tq1_0;
BLOCK_SIZE_IS(block_tq1_0, 54);

typedef struct PACKED block_tq2_0 {
    uint8_t qs[QK_K / 4];
    uint16_t d;
} block_tq2_0;
BLOCK_SIZE_IS(block_tq2_0, 66);

#undef BLOCK_SIZE_IS
#undef PACKED

#endif
