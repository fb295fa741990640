/* utf8.c -- strict UTF-8. */
#include "core/utf8.h"

size_t utf8_decode(const char *s, size_t length, uint32_t *code_point) {
    if (length == 0) return 0;
    const unsigned char *u = (const unsigned char *)s;
    uint32_t c = u[0];
    size_t n = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (n == 0 || n > length) return 0;
    if (n > 1) c &= 0x7Fu >> n;
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (u[i] & 0x3F);
    }
    if (n == 3 && (c < 0x800 || (c >= 0xD800 && c < 0xE000))) return 0;
    if (n == 4 && (c < 0x10000 || c > 0x10FFFF)) return 0;
    if (code_point) *code_point = c;
    return n;
}

size_t utf8_encode(char out[4], uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)((0xF00u >> n & 0xF0) | c);
    return n;
}

size_t utf8_invalid_at(const char *s, size_t length) {
    size_t at = 0;
    while (at < length) {
        size_t n = utf8_decode(s + at, length - at, NULL);
        if (n == 0) break;
        at += n;
    }
    return at;
}

size_t utf8_cut(const char *s, size_t length, size_t limit) {
    if (length <= limit) return length;
    while (limit > 0 && (s[limit] & 0xC0) == 0x80) limit--;
    return limit;
}
