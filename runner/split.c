/* split.c -- the pattern as a hand-written matcher. Alternatives in their order (vocab_qwen2_pattern):
 *
 *   1  (?i:'s|'t|'re|'ve|'m|'ll|'d)      4  ' '?[^\s\p{L}\p{N}]+[\r\n]*
 *   2  [^\r\n\p{L}\p{N}]?\p{L}+          5  \s*[\r\n]+
 *   3  \p{N}                             6  \s+(?!\S)
 *                                        7  \s+
 *
 * Any first character decides which of them can match, so nothing is tried twice. */
#include "runner/split.h"

#include "core/utf8.h"
#include "runner/unicode.h"

typedef struct Text {
    const char *bytes;
    size_t length;
} Text;

/* One character; at the end of the text size is 0 and kind one that no alternative wants. */
typedef struct Char {
    uint32_t c;
    uint16_t size;
    int16_t kind; /* UnicodeKind or KIND_END */
} Char;

enum { KIND_END = -1 };

static inline Char char_at(Text t, size_t at) {
    if (at >= t.length) return (Char){0, 0, KIND_END};
    unsigned char byte = (unsigned char)t.bytes[at];
    if (byte < 0x80) return (Char){byte, 1, (int16_t)unicode_ascii_kind(byte)};
    uint32_t c = 0;
    size_t size = utf8_decode(t.bytes + at, t.length - at, &c);
    if (size == 0) size = 1; /* not valid, against the contract: still move on */
    return (Char){c, (uint16_t)size, (int16_t)unicode_kind(c)};
}

static bool is_newline(Char c) {
    return c.size && (c.c == '\r' || c.c == '\n');
}

static inline size_t skip_kind(Text t, size_t at, int kind) {
    for (Char c = char_at(t, at); c.kind == kind; c = char_at(t, at)) at += c.size;
    return at;
}

/* As (?i:) folds: ASCII letters, and U+017F, which folds to s. (U+212A folds to k, which no contraction has.)
 */
static uint32_t fold(uint32_t c) {
    if (c >= 'A' && c <= 'Z') return c | 0x20;
    return c == 0x17F ? 's' : c;
}

/* The end of a contraction whose apostrophe is at `at`, or 0. */
static size_t contraction(Text t, size_t at) {
    Char first = char_at(t, at + 1), second = char_at(t, at + 1 + first.size);
    size_t end = at + 1 + first.size;
    switch (first.size ? fold(first.c) : 0) {
    case 's':
    case 't':
    case 'm':
    case 'd': return end;
    case 'r':
    case 'v': return second.size && fold(second.c) == 'e' ? end + second.size : 0;
    case 'l': return second.size && fold(second.c) == 'l' ? end + second.size : 0;
    default: return 0;
    }
}

/* Alternative 4 without its space. */
static size_t punctuation(Text t, size_t at) {
    at = skip_kind(t, at, KIND_OTHER);
    while (at < t.length && (t.bytes[at] == '\r' || t.bytes[at] == '\n')) at++;
    return at;
}

/* Alternatives 5 to 7: a run up to its last line break; else all of it at the end of the text; else all but
 * its last character, which goes to what follows; else that one character. */
static size_t white_space(Text t, size_t at) {
    size_t end = at, last = at, line = 0;
    for (Char c = char_at(t, end); c.kind == KIND_SPACE; c = char_at(t, end)) {
        last = end;
        end += c.size;
        if (is_newline(c)) line = end;
    }
    if (line) return line;
    return end == t.length || last == at ? end : last;
}

size_t split_piece(const char *text, size_t length, size_t at) {
    Text t = {text, length};
    Char c = char_at(t, at), next = char_at(t, at + c.size);
    if (c.c == '\'') {
        size_t end = contraction(t, at);
        if (end) return end;
    }
    if (c.kind == KIND_LETTER) return skip_kind(t, at, KIND_LETTER);
    if (c.kind == KIND_NUMBER) return at + c.size;
    if (next.kind == KIND_LETTER && !is_newline(c)) return skip_kind(t, at + c.size, KIND_LETTER);
    if (c.kind == KIND_OTHER) return punctuation(t, at);
    if (c.c == ' ' && next.kind == KIND_OTHER) return punctuation(t, at + c.size);
    return white_space(t, at);
}
