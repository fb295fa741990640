/* json_scan.c -- the strict JSON scanner. Recursion is bounded by JSON_DEPTH_LIMIT. */
#include "core/json_scan.h"
#include "core/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cJSON 1.7.15 copies a number into 64 bytes and would cut a longer one. */
enum { NUMBER_LIMIT = 63 };

static bool fail(JsonScan *s, size_t at, const char *problem) {
    s->problem = problem;
    s->problem_at = at;
    s->expected = strncmp(problem, "expected ", 9) == 0;
    return false;
}

static int peek(const JsonScan *s) {
    return s->at < s->length ? (unsigned char)s->text[s->at] : -1;
}

static bool is_digit(int c) {
    return c >= '0' && c <= '9';
}

void json_scan_space(JsonScan *s) {
    while (s->at < s->length) {
        char c = s->text[s->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') break;
        s->at++;
    }
}

static bool hex4(JsonScan *s, size_t at, unsigned *out) {
    unsigned v = 0;
    for (size_t i = at; i < at + 4; i++) {
        int c = i < s->length ? (unsigned char)s->text[i] : -1;
        int digit = is_digit(c)            ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return fail(s, at - 2, "\\u is not followed by four hexadecimal digits");
        v = v * 16 + (unsigned)digit;
    }
    *out = v;
    return true;
}

/* At a backslash inside a string. */
static bool scan_escape(JsonScan *s) {
    size_t start = s->at++;
    int c = peek(s);
    s->at++;
    if (c != 'u') {
        if (c > 0 && strchr("\"\\/bfnrt", c)) return true;
        return fail(s, start, "unknown escape in a string");
    }
    unsigned unit;
    if (!hex4(s, s->at, &unit)) return false;
    s->at += 4;
    if (unit == 0)
        return fail(s, start, "a string holds the escape \\u0000, which C programs would cut it at");
    if (unit >= 0xDC00 && unit < 0xE000) return fail(s, start, "a string holds half a surrogate pair");
    if (unit < 0xD800 || unit >= 0xDC00) return true;
    if (s->length - s->at < 6 || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u')
        return fail(s, start, "a string holds half a surrogate pair");
    if (!hex4(s, s->at + 2, &unit)) return false;
    if (unit < 0xDC00 || unit >= 0xE000) return fail(s, start, "a string holds half a surrogate pair");
    s->at += 6;
    return true;
}

bool json_scan_string(JsonScan *s) {
    size_t start = s->at++;
    for (;;) {
        int c = peek(s);
        if (c < 0) return fail(s, start, "a string that begins here does not end");
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c == '\\') {
            if (!scan_escape(s)) return false;
        } else if (c < 0x20) {
            return fail(s, s->at, "a control character inside a string must be written as an escape");
        } else if (c < 0x80) {
            s->at++;
        } else {
            size_t n = utf8_decode(s->text + s->at, s->length - s->at, NULL);
            if (n == 0) return fail(s, s->at, "invalid UTF-8 inside a string");
            s->at += n;
        }
    }
}

/* Would a double overflow? The decimal point is moved into the exponent, so that strtod sees nothing that
 * depends on the locale. Without an exponent, 63 digits can't overflow. */
static bool is_finite(const char *text, size_t length) {
    char digits[NUMBER_LIMIT + 32];
    size_t n = 0, i = 0;
    long fraction = 0, exponent = 0;
    bool after_point = false;
    for (; i < length && text[i] != 'e' && text[i] != 'E'; i++) {
        if (text[i] == '.') {
            after_point = true;
            continue;
        }
        digits[n++] = text[i];
        fraction += after_point;
    }
    if (i == length) return true;
    bool negative = text[++i] == '-';
    if (text[i] == '-' || text[i] == '+') i++;
    for (; i < length; i++)
        if (exponent < 100000) exponent = exponent * 10 + (text[i] - '0');
    snprintf(digits + n, sizeof digits - n, "e%ld", (negative ? -exponent : exponent) - fraction);
    return isfinite(strtod(digits, NULL));
}

static bool scan_digits(JsonScan *s) {
    if (!is_digit(peek(s))) return fail(s, s->at, "expected a digit");
    while (is_digit(peek(s))) s->at++;
    return true;
}

static bool scan_number(JsonScan *s) {
    size_t start = s->at;
    if (peek(s) == '-') s->at++;
    if (peek(s) == '0') {
        s->at++;
        if (is_digit(peek(s))) return fail(s, start, "a number may not begin with a superfluous 0");
    } else if (!scan_digits(s)) {
        return false;
    }
    if (peek(s) == '.') {
        s->at++;
        if (!scan_digits(s)) return false;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-') s->at++;
        if (!scan_digits(s)) return false;
    }
    if (s->at - start > NUMBER_LIMIT) return fail(s, start, "a number has more than 63 characters");
    if (!is_finite(s->text + start, s->at - start))
        return fail(s, start, "a number is too large for a double");
    return true;
}

static bool scan_word(JsonScan *s, const char *word) {
    size_t n = strlen(word);
    if (s->length - s->at < n || memcmp(s->text + s->at, word, n) != 0)
        return fail(s, s->at, "expected a value");
    s->at += n;
    return true;
}

static bool enter(JsonScan *s) {
    if (s->depth == JSON_DEPTH_LIMIT)
        return fail(s, s->at, "arrays and objects are nested more than 64 deep");
    s->depth++;
    s->at++;
    json_scan_space(s);
    return true;
}

static bool leave(JsonScan *s) {
    s->depth--;
    s->at++;
    return true;
}

static bool scan_array(JsonScan *s) {
    if (!enter(s)) return false;
    if (peek(s) == ']') return leave(s);
    for (;;) {
        if (!json_scan_value(s)) return false;
        json_scan_space(s);
        if (peek(s) == ']') return leave(s);
        if (peek(s) != ',') return fail(s, s->at, "expected ',' or ']' after an array's element");
        s->at++;
        json_scan_space(s);
    }
}

bool json_scan_object_begin(JsonScan *s) {
    if (peek(s) != '{') return fail(s, s->at, "expected an object");
    return enter(s);
}

bool json_scan_object_next(JsonScan *s, bool first) {
    json_scan_space(s);
    if (peek(s) == '}') {
        leave(s);
        return false;
    }
    if (!first) {
        if (peek(s) != ',') return fail(s, s->at, "expected ',' or '}' after an object's member");
        s->at++;
        json_scan_space(s);
    }
    if (peek(s) != '"') return fail(s, s->at, first ? "expected a key or '}'" : "expected a key");
    s->key_at[0] = s->at;
    if (!json_scan_string(s)) return false;
    s->key_at[1] = s->at;
    s->keys++;
    json_scan_space(s);
    if (peek(s) != ':') return fail(s, s->at, "expected ':' after a key");
    s->at++;
    json_scan_space(s);
    return true;
}

static bool scan_object(JsonScan *s) {
    if (!json_scan_object_begin(s)) return false;
    for (bool first = true; json_scan_object_next(s, first); first = false) {
        if (s->keys == s->stop_key) return false;
        if (!json_scan_value(s)) return false;
    }
    return s->problem == NULL;
}

bool json_scan_value(JsonScan *s) {
    int c = peek(s);
    if (++s->values > JSON_VALUE_LIMIT) return fail(s, s->at, "more than 4194304 values");
    switch (c) {
    case '{': return scan_object(s);
    case '[': return scan_array(s);
    case '"': return json_scan_string(s);
    case 't': return scan_word(s, "true");
    case 'f': return scan_word(s, "false");
    case 'n': return scan_word(s, "null");
    default: break;
    }
    if (c == '-' || is_digit(c)) return scan_number(s);
    return fail(s, s->at, "expected a value");
}

bool json_scan_document(JsonScan *s) {
    if (s->length >= 3 && memcmp(s->text, "\xEF\xBB\xBF", 3) == 0)
        return fail(s, 0, "the text begins with a byte order mark; save it as plain UTF-8");
    json_scan_space(s);
    if (!json_scan_value(s)) return false;
    json_scan_space(s);
    if (s->at != s->length) return fail(s, s->at, "expected the end of the text after its value");
    return true;
}
