/* utf8.h -- one code point of UTF-8 at a time, strictly (Unicode 15, table 3-7): no overlong forms, no
 * surrogates, nothing above U+10FFFF. */
#ifndef RECAST_CORE_UTF8_H
#define RECAST_CORE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decodes the code point at the start of s[0 .. length). Returns its bytes (1 to 4), or 0 if they are not
 * valid UTF-8 or length is 0. code_point may be NULL. */
size_t utf8_decode(const char *s, size_t length, uint32_t *code_point);
/* Writes a code point (a Unicode scalar value) to out, without a NUL. Returns its bytes (1 to 4). */
size_t utf8_encode(char out[4], uint32_t code_point);
/* The offset of the first byte that is not part of valid UTF-8, or length. */
size_t utf8_invalid_at(const char *s, size_t length);
/* The largest number of bytes, at most `limit`, that does not cut a character of s[0 .. length) in two. */
size_t utf8_cut(const char *s, size_t length, size_t limit);

#endif
