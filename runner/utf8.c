/* utf8.c -- text that may not be UTF-8: replacing what is ill-formed, and cutting a stream between
 * characters. */
#include "runner/tokenizer.h"

#include "core/utf8.h"

/* The longest start of a well-formed sequence at s (Unicode 15, table 3-7): its bytes, and how many the whole
 * sequence needs. 0 if s[0] starts none. */
static size_t subpart(const unsigned char *s, size_t length, size_t *needed) {
    unsigned char lead = s[0], low = 0x80, high = 0xBF; /* of the second byte */
    *needed = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (*needed == 0) return 0;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    size_t n = 1;
    while (n < *needed && n < length && s[n] >= low && s[n] <= high) {
        low = 0x80;
        high = 0xBF;
        n++;
    }
    return n;
}

void utf8_replace_invalid(Buffer *out, const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        size_t valid = utf8_invalid_at(text + at, length - at), needed;
        buffer_append(out, text + at, valid);
        at += valid;
        if (at == length) break;
        size_t n = subpart((const unsigned char *)text + at, length - at, &needed);
        buffer_append(out, "\xEF\xBF\xBD", 3);
        at += n ? n : 1;
    }
}

size_t utf8_complete_prefix(const char *text, size_t length) {
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        const unsigned char *s = (const unsigned char *)text + length - back;
        size_t needed;
        if (*s >= 0x80 && *s < 0xC0) continue; /* look for the lead byte */
        return subpart(s, back, &needed) == back && needed > back ? length - back : length;
    }
    return length;
}
