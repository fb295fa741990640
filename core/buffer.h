/* buffer.h -- bytes that grow: text and binary headers are built in one.
 *
 * A Buffer remembers a failed allocation (or a size overflow) and ignores later appends, so callers build
 * first and check `buffer_ok` once at the end. */
#ifndef RECAST_CORE_BUFFER_H
#define RECAST_CORE_BUFFER_H

#include "core/memory.h"
#include <stdarg.h>

typedef struct Buffer {
    char *data;    /* length bytes, always followed by a NUL that is not counted (NULL while empty) */
    size_t length; /* bytes */
    size_t capacity;
    bool failed;
    const Allocator *allocator; /* may be NULL */
} Buffer;

void buffer_init(Buffer *b, const Allocator *allocator);
void buffer_free(Buffer *b);
void buffer_clear(Buffer *b); /* length 0, memory kept */
void buffer_append(Buffer *b, const void *bytes, size_t length);
void buffer_text(Buffer *b, const char *string);
/* Text from a file, safe for a terminal: '?' for control characters and for bytes that are not UTF-8. */
void buffer_printable(Buffer *b, const char *bytes, size_t length);
void buffer_char(Buffer *b, char c);
void buffer_printf(Buffer *b, const char *format, ...) ERROR_PRINTF(2, 3);
void buffer_vprintf(Buffer *b, const char *format, va_list args);
void buffer_zeros(Buffer *b, size_t count);
/* little-endian integers and IEEE floats */
void buffer_u8(Buffer *b, uint8_t v);
void buffer_u16(Buffer *b, uint16_t v);
void buffer_u32(Buffer *b, uint32_t v);
void buffer_u64(Buffer *b, uint64_t v);
void buffer_f32(Buffer *b, float v);
void buffer_f64(Buffer *b, double v);
const char *buffer_string(const Buffer *b);                              /* never NULL */
int buffer_ok(const Buffer *b, const char *what, Error *err) MUST_CHECK; /* 0 or ERR_MEMORY */

/* What a buffer_u* put, taken out again. A read beyond the end gives zeros and sets failed: check it once at
 * the end. */
typedef struct BufferReader {
    const char *at, *end;
    bool failed;
} BufferReader;
uint32_t reader_u32(BufferReader *r);
uint64_t reader_u64(BufferReader *r);
void reader_bytes(BufferReader *r, void *out, size_t length);

/* little-endian reads from unaligned memory */
uint16_t load_u16(const void *p);
uint32_t load_u32(const void *p);
uint64_t load_u64(const void *p);

#endif
