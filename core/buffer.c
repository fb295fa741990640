/* buffer.c -- bytes that grow, and little-endian numbers in them. */
#include "core/buffer.h"
#include <stdio.h>
#include <string.h>

void buffer_init(Buffer *b, const Allocator *allocator) {
    *b = (Buffer){.allocator = allocator};
}

void buffer_free(Buffer *b) {
    mem_free(b->allocator, b->data);
    buffer_init(b, b->allocator);
}

void buffer_clear(Buffer *b) {
    b->length = 0;
    if (b->data) b->data[0] = '\0';
}

/* Where the next `length` bytes go, or NULL. There is always one byte more, for the NUL. */
static char *reserve(Buffer *b, size_t length) {
    if (b->failed) return NULL;
    size_t needed;
    if (!size_add(&needed, b->length, length) || !size_add(&needed, needed, 1)) {
        b->failed = true;
        return NULL;
    }
    if (needed > b->capacity) {
        size_t capacity = b->capacity < 64 ? 64 : b->capacity;
        while (capacity < needed) {
            if (!size_mul(&capacity, capacity, 2)) capacity = needed;
        }
        char *data = mem_resize(b->allocator, b->data, capacity);
        if (!data) {
            b->failed = true; /* the old bytes stay until buffer_free */
            return NULL;
        }
        b->data = data;
        b->capacity = capacity;
    }
    return b->data + b->length;
}

static void advance(Buffer *b, size_t length) {
    b->length += length;
    b->data[b->length] = '\0';
}

void buffer_append(Buffer *b, const void *bytes, size_t length) {
    if (length == 0) return;
    char *to = reserve(b, length);
    if (!to) return;
    memcpy(to, bytes, length);
    advance(b, length);
}

void buffer_text(Buffer *b, const char *string) {
    buffer_append(b, string, strlen(string));
}

void buffer_printable(Buffer *b, const char *bytes, size_t length) {
    for (size_t i = 0; i < length && !b->failed;) {
        size_t n = printable_length(bytes + i, length - i);
        buffer_append(b, n ? bytes + i : "?", n ? n : 1);
        i += n ? n : 1;
    }
}

void buffer_char(Buffer *b, char c) {
    buffer_append(b, &c, 1);
}

void buffer_vprintf(Buffer *b, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0) {
        b->failed = true;
        return;
    }
    char *to = reserve(b, (size_t)n);
    if (!to) return;
    vsnprintf(to, (size_t)n + 1, format, args);
    advance(b, (size_t)n);
}

void buffer_printf(Buffer *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buffer_vprintf(b, format, args);
    va_end(args);
}

void buffer_zeros(Buffer *b, size_t count) {
    if (count == 0) return;
    char *to = reserve(b, count);
    if (!to) return;
    memset(to, 0, count);
    advance(b, count);
}

/* ---- numbers: shifts, so that the bytes are the same on a big-endian machine ---- */

void buffer_u8(Buffer *b, uint8_t v) {
    buffer_append(b, &v, 1);
}

void buffer_u16(Buffer *b, uint16_t v) {
    unsigned char bytes[2] = {(unsigned char)v, (unsigned char)(v >> 8)};
    buffer_append(b, bytes, sizeof bytes);
}

void buffer_u32(Buffer *b, uint32_t v) {
    unsigned char bytes[4];
    for (int i = 0; i < 4; i++) bytes[i] = (unsigned char)(v >> (8 * i));
    buffer_append(b, bytes, sizeof bytes);
}

void buffer_u64(Buffer *b, uint64_t v) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(v >> (8 * i));
    buffer_append(b, bytes, sizeof bytes);
}

void buffer_f32(Buffer *b, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    buffer_u32(b, bits);
}

void buffer_f64(Buffer *b, double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    buffer_u64(b, bits);
}

uint16_t load_u16(const void *p) {
    const unsigned char *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

uint32_t load_u32(const void *p) {
    const unsigned char *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t load_u64(const void *p) {
    const unsigned char *b = p;
    return load_u32(b) | (uint64_t)load_u32(b + 4) << 32;
}

const char *buffer_string(const Buffer *b) {
    return b->data ? b->data : "";
}

int buffer_ok(const Buffer *b, const char *what, Error *err) {
    return b->failed ? error_memory(err, what) : 0;
}

void reader_bytes(BufferReader *r, void *out, size_t length) {
    if ((size_t)(r->end - r->at) < length) {
        r->failed = true;
        r->at = r->end;
        memset(out, 0, length);
        return;
    }
    memcpy(out, r->at, length);
    r->at += length;
}

uint32_t reader_u32(BufferReader *r) {
    uint8_t bytes[4];
    reader_bytes(r, bytes, sizeof bytes);
    return load_u32(bytes);
}

uint64_t reader_u64(BufferReader *r) {
    uint8_t bytes[8];
    reader_bytes(r, bytes, sizeof bytes);
    return load_u64(bytes);
}
