/* planes.c -- see planes.h. */
#include "packager/planes.h"
#include "packager/tree.h"
#include <math.h>
#include <string.h>

enum { SAMPLES = 16 };
/* Below this share of the block a gain is not worth another name for the file. */
static const double least_gain = 0.03;

uint64_t planes_size(uint64_t size) {
    return size + (size + PLANES_BLOCK - 1) / PLANES_BLOCK;
}

/* ---- does it pay? ---- */

/* Bits that an ideal coder of single bytes needs. */
static double bits(const uint32_t counts[256], double total) {
    double sum = 0;
    for (size_t i = 0; i < 256; i++)
        if (counts[i]) sum -= counts[i] * log2(counts[i] / total);
    return sum;
}

static uint16_t rotated(const uint8_t *p) {
    uint16_t v = (uint16_t)(p[0] | p[1] << 8);
    return (uint16_t)(v << 1 | v >> 15);
}

static bool block_pays(const uint8_t *in, size_t length) {
    uint32_t mixed[256] = {0}, high[256] = {0}, low[256] = {0};
    size_t words = length / 2;
    if (!words) return false;
    for (size_t i = 0; i < words; i++) {
        uint16_t v = rotated(in + 2 * i);
        mixed[in[2 * i]]++;
        mixed[in[2 * i + 1]]++;
        high[v >> 8]++;
        low[v & 255]++;
    }
    double together = bits(mixed, 2.0 * (double)words);
    double apart = bits(high, (double)words) + bits(low, (double)words);
    return together - apart > least_gain * 16.0 * (double)words;
}

int planes_pay(bool *pay, const char *directory, const char *path, uint64_t size, Error *err) {
    uint64_t blocks = (size + PLANES_BLOCK - 1) / PLANES_BLOCK;
    uint64_t samples = blocks < SAMPLES ? blocks : SAMPLES, gains = 0;
    Input *in = NULL;
    *pay = false;
    if (!samples) return 0;
    uint8_t *block = mem_alloc(NULL, PLANES_BLOCK);
    if (!block) return error_memory(err, "an archive");
    int code = package_open_file(&in, directory, path, err);
    for (uint64_t i = 0; i < samples && !code; i++) {
        uint64_t at = (blocks * i / samples) * PLANES_BLOCK, left = size - at;
        size_t length = left < PLANES_BLOCK ? (size_t)left : PLANES_BLOCK;
        code = input_read(in, at, block, length, err);
        if (!code) gains += block_pays(block, length);
    }
    *pay = 4 * gains >= samples && gains;
    input_close(in);
    mem_free(NULL, block);
    return code;
}

/* ---- one block ---- */

void planes_split(uint8_t *out, const uint8_t *in, size_t length) {
    size_t words = length / 2;
    out[0] = block_pays(in, length);
    if (!out[0]) {
        memcpy(out + 1, in, length);
        return;
    }
    uint8_t *high = out + 1, *low = high + words;
    for (size_t i = 0; i < words; i++) {
        uint16_t v = rotated(in + 2 * i);
        high[i] = (uint8_t)(v >> 8);
        low[i] = (uint8_t)v;
    }
    if (length % 2) out[length] = in[length - 1];
}

int planes_join(uint8_t *out, const uint8_t *in, size_t length, Error *err) {
    size_t words = length / 2;
    if (in[0] > 1) return error_set(err, ERR_FORMAT, "planes: a block says %u, known are 0 and 1", in[0]);
    if (!in[0]) {
        memcpy(out, in + 1, length);
        return 0;
    }
    const uint8_t *high = in + 1, *low = high + words;
    for (size_t i = 0; i < words; i++) {
        uint16_t v = (uint16_t)(high[i] << 8 | low[i]);
        v = (uint16_t)(v >> 1 | v << 15);
        out[2 * i] = (uint8_t)v;
        out[2 * i + 1] = (uint8_t)(v >> 8);
    }
    if (length % 2) out[length - 1] = in[length];
    return 0;
}
