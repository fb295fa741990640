/* json_write.c -- JSON out: RFC 8785 (the JSON Canonicalization Scheme) and a readable form with the same
 * numbers.
 *
 * Numbers are printed as ECMAScript prints them (ECMA-262, Number::toString): the shortest digits that read
 * back as the same double. NaN and infinities, which JSON can't say and json_parse never lets in, become null
 * as in ECMAScript. */
#include "core/json.h"
#include "core/utf8.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_LIMIT = 100 };

/* ---- numbers ---- */

/* A decimal: digits without a point times 10^exponent. */
typedef struct Decimal {
    uint64_t digits;
    int exponent;
} Decimal;

/* v > 0 rounded to `count` significant digits. printf's decimal point, which depends on the locale, is
 * skipped over. */
static Decimal round_to(double v, int count) {
    char text[40];
    snprintf(text, sizeof text, "%.*e", count - 1, v);
    Decimal d = {0, 0};
    const char *p = text;
    for (; *p && *p != 'e'; p++)
        if (*p >= '0' && *p <= '9') d.digits = d.digits * 10 + (uint64_t)(*p - '0');
    d.exponent = (int)strtol(p + (*p == 'e'), NULL, 10) - (count - 1);
    return d;
}

static bool reads_back(Decimal d, double v) {
    char text[40];
    snprintf(text, sizeof text, "%" PRIu64 "e%d", d.digits, d.exponent);
    return strtod(text, NULL) == v;
}

/* The shortest decimal that reads back as v > 0, and of those the nearest. Below a power of two doubles lie
 * twice as dense as above it, so there the nearest decimal of some length can miss while the next one up
 * hits: 2^-44 is 5.684341886080802e-14, although ...801e-14 is nearer. */
static Decimal shortest(double v) {
    for (int count = 1; count < 17; count++) {
        Decimal d = round_to(v, count), up = {d.digits + 1, d.exponent};
        if (reads_back(d, v)) return d;
        if (reads_back(up, v)) return up;
    }
    return round_to(v, 17); /* 17 digits tell all doubles apart */
}

static void write_number(Buffer *b, double v) {
    if (!isfinite(v)) {
        buffer_text(b, "null");
        return;
    }
    if (v < 0) buffer_char(b, '-');
    v = fabs(v);
    if (v < 9007199254740992.0 && v == (double)(uint64_t)v) {
        buffer_printf(b, "%" PRIu64, (uint64_t)v); /* -0 is 0 */
        return;
    }
    Decimal d = shortest(v);
    while (d.digits % 10 == 0) {
        d.digits /= 10;
        d.exponent++;
    }
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%" PRIu64, d.digits);
    int point = count + d.exponent; /* the value is 0.DIGITS times 10^point */
    if (count <= point && point <= 21)
        buffer_printf(b, "%s%.*s", digits, point - count, "000000000000000000000");
    else if (0 < point && point <= 21)
        buffer_printf(b, "%.*s.%s", point, digits, digits + point);
    else if (-6 < point && point <= 0)
        buffer_printf(b, "0.%.*s%s", -point, "000000", digits);
    else
        buffer_printf(b, "%.1s%s%se%+d", digits, count > 1 ? "." : "", digits + 1, point - 1);
}

/* ---- strings ---- */

/* YAML readers refuse or fold these inside a quoted scalar: DEL, the C1 controls (NEL among them), the line
 * and paragraph separators, the byte order mark. */
static bool yaml_special(uint32_t c) {
    return (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF || c == 0xFFFE || c == 0xFFFF;
}

static void write_char(Buffer *b, const char *s, size_t n, uint32_t c, bool yaml) {
    static const char short_form[] = "btn?fr"; /* of 8, 9, 10, 12, 13 */
    if (c == '"' || c == '\\')
        buffer_printf(b, "\\%c", (int)c);
    else if (c >= 8 && c <= 13 && c != 11)
        buffer_printf(b, "\\%c", short_form[c - 8]);
    else if (c < 0x20 || (yaml && yaml_special(c)))
        buffer_printf(b, "\\u%04x", (unsigned)c);
    else
        buffer_append(b, s, n);
}

static bool is_plain(unsigned char c) {
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

/* Bytes that are not UTF-8 (a GGUF's strings may hold some) become U+FFFD, so that the output is always JSON.
 */
static void write_string(Buffer *b, const char *s, bool yaml) {
    size_t length = strlen(s), at = 0;
    buffer_char(b, '"');
    while (at < length) {
        size_t plain = at;
        while (plain < length && is_plain((unsigned char)s[plain])) plain++;
        buffer_append(b, s + at, plain - at);
        at = plain;
        if (at == length) break;
        uint32_t c;
        size_t n = utf8_decode(s + at, length - at, &c);
        if (n)
            write_char(b, s + at, n, c, yaml);
        else
            buffer_text(b, "\xEF\xBF\xBD");
        at += n ? n : 1;
    }
    buffer_char(b, '"');
}

void json_write_string(Buffer *b, const char *s) {
    write_string(b, s, true);
}

/* ---- values ---- */

static bool is_container(const cJSON *item) {
    return cJSON_IsObject(item) || cJSON_IsArray(item);
}

static void write_scalar(Buffer *b, const cJSON *item, bool yaml) {
    if (cJSON_IsTrue(item))
        buffer_text(b, "true");
    else if (cJSON_IsFalse(item))
        buffer_text(b, "false");
    else if (cJSON_IsNumber(item))
        write_number(b, item->valuedouble);
    else if (cJSON_IsString(item) && item->valuestring)
        write_string(b, item->valuestring, yaml);
    else if (cJSON_IsRaw(item) && item->valuestring)
        buffer_text(b, item->valuestring);
    else
        buffer_text(b, "null");
}

/* UTF-16 order. It differs from the order of UTF-8 bytes in one place: characters above U+FFFF are surrogates
 * (D800..DFFF) in UTF-16 and so come before U+E000..U+FFFF, whose first byte is EE or EF. Bytes that large
 * only begin a character. */
static int utf16_weight(char c) {
    int byte = (unsigned char)c;
    return byte == 0xEE || byte == 0xEF ? byte + 0x10 : byte;
}

static int compare_keys(const void *a, const void *b) {
    const char *x = (*(const cJSON *const *)a)->string, *y = (*(const cJSON *const *)b)->string;
    while (*x && *x == *y) x++, y++;
    return utf16_weight(*x) - utf16_weight(*y);
}

static void write_canonical_object(Buffer *b, const cJSON *object) {
    size_t count = 0;
    for (const cJSON *m = object->child; m; m = m->next) count++;
    const cJSON **members = mem_alloc(b->allocator, (count + 1) * sizeof *members);
    if (!members) {
        b->failed = true;
        return;
    }
    count = 0;
    for (const cJSON *m = object->child; m; m = m->next) members[count++] = m;
    qsort(members, count, sizeof *members, compare_keys);
    buffer_char(b, '{');
    for (size_t i = 0; i < count; i++) {
        if (i) buffer_char(b, ',');
        write_string(b, members[i]->string, false);
        buffer_char(b, ':');
        json_write_canonical(b, members[i]);
    }
    buffer_char(b, '}');
    mem_free(b->allocator, members);
}

void json_write_canonical(Buffer *b, const cJSON *item) {
    if (cJSON_IsObject(item)) {
        write_canonical_object(b, item);
    } else if (cJSON_IsArray(item)) {
        buffer_char(b, '[');
        for (const cJSON *m = item->child; m; m = m->next) {
            json_write_canonical(b, m);
            if (m->next) buffer_char(b, ',');
        }
        buffer_char(b, ']');
    } else {
        write_scalar(b, item, false);
    }
}

static size_t count_characters(const char *s, size_t length) {
    size_t n = 0;
    for (size_t i = 0; i < length; i++) n += (s[i] & 0xC0) != 0x80;
    return n;
}

/* The array on one line, or false with nothing written if it does not fit or holds a container. */
static bool write_short_array(Buffer *b, const cJSON *array) {
    for (const cJSON *m = array->child; m; m = m->next)
        if (is_container(m)) return false;
    size_t start = b->length;
    buffer_char(b, '[');
    for (const cJSON *m = array->child; m; m = m->next) {
        write_scalar(b, m, true);
        if (m->next) buffer_text(b, ", ");
        /* Characters are at most four bytes: beyond this no count is needed, and a long array costs nothing
         * twice. */
        if (b->length - start > 4 * LINE_LIMIT) break;
    }
    buffer_char(b, ']');
    if (b->failed || count_characters(b->data + start, b->length - start) <= LINE_LIMIT) return true;
    b->length = start;
    b->data[start] = '\0';
    return false;
}

static void new_line(Buffer *b, unsigned indent) {
    buffer_printf(b, "\n%*s", (int)(2 * indent), "");
}

static void write_pretty(Buffer *b, const cJSON *item, unsigned indent) {
    if (!is_container(item)) {
        write_scalar(b, item, true);
        return;
    }
    bool object = cJSON_IsObject(item);
    if (!item->child) {
        buffer_text(b, object ? "{}" : "[]");
        return;
    }
    if (!object && write_short_array(b, item)) return;
    buffer_char(b, object ? '{' : '[');
    for (const cJSON *m = item->child; m; m = m->next) {
        new_line(b, indent + 1);
        if (object) {
            write_string(b, m->string, true);
            buffer_text(b, ": ");
        }
        write_pretty(b, m, indent + 1);
        if (m->next) buffer_char(b, ',');
    }
    new_line(b, indent);
    buffer_char(b, object ? '}' : ']');
}

void json_write_pretty(Buffer *b, const cJSON *item) {
    write_pretty(b, item, 0);
    buffer_char(b, '\n');
}
