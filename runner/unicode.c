/* unicode.c -- kinds of code points and canonical composition (Unicode 15, sections 3.11 and 3.12), over the
 * generated tables. Nothing here depends on a locale. */
#include "runner/unicode.h"

#include "core/utf8.h"
#include "runner/unicode_tables.h"
#include <string.h>

/* ---- look-ups ---- */

static uint32_t range_value(const UnicodeRange *ranges, size_t count, uint32_t c) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last) {
            low = middle + 1;
        } else if (c < ranges[middle].first) {
            high = middle;
        } else {
            return ranges[middle].value;
        }
    }
    return 0;
}

/* 0 beyond Unicode. */
static unsigned properties(uint32_t c) {
    if (c > 0x10FFFF) return 0;
    unsigned pair = unicode_blocks[unicode_block_index[c / UNICODE_BLOCK]][c % UNICODE_BLOCK / 2];
    return c % 2 ? pair >> 4 : pair & 0xF;
}

UnicodeKind unicode_kind(uint32_t c) {
    return (UnicodeKind)(properties(c) & UNICODE_KIND);
}

bool unicode_is_letter(uint32_t c) {
    return unicode_kind(c) == KIND_LETTER;
}
bool unicode_is_number(uint32_t c) {
    return unicode_kind(c) == KIND_NUMBER;
}
bool unicode_is_space(uint32_t c) {
    return unicode_kind(c) == KIND_SPACE;
}

/* ---- Hangul syllables are arithmetic (section 3.12) ---- */

enum {
    S_BASE = 0xAC00,
    L_BASE = 0x1100,
    V_BASE = 0x1161,
    T_BASE = 0x11A7,
    L_COUNT = 19,
    V_COUNT = 21,
    T_COUNT = 28,
    S_COUNT = L_COUNT * V_COUNT * T_COUNT
};

static uint32_t compose_hangul(uint32_t first, uint32_t second) {
    if (first - L_BASE < L_COUNT && second - V_BASE < V_COUNT) {
        return S_BASE + ((first - L_BASE) * V_COUNT + (second - V_BASE)) * T_COUNT;
    }
    if (first - S_BASE < S_COUNT && (first - S_BASE) % T_COUNT == 0 && second > T_BASE &&
        second < T_BASE + T_COUNT) {
        return first + (second - T_BASE);
    }
    return 0;
}

static size_t decompose_hangul(uint32_t c, uint32_t out[4]) {
    uint32_t s = c - S_BASE, t = s % T_COUNT;
    out[0] = L_BASE + s / (V_COUNT * T_COUNT);
    out[1] = V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT;
    out[2] = T_BASE + t;
    return t ? 3 : 2;
}

/* ---- decomposition ---- */

static size_t decompose(uint32_t c, uint32_t out[4]) {
    out[0] = c;
    if (c < 0xC0) return 1;
    if (c - S_BASE < S_COUNT) return decompose_hangul(c, out);
    size_t low = 0, high = unicode_decompositions_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const UnicodeDecomposition *d = &unicode_decompositions[middle];
        if (c == d->code_point) {
            size_t n = 0;
            while (n < 4 && d->parts[n]) n++;
            memcpy(out, d->parts, n * sizeof *out);
            return n;
        }
        if (c > d->code_point) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 1;
}

/* ---- canonical order ---- */

/* A code point with its combining class in the upper bits, so that neither is looked up twice. */
enum { CLASS_SHIFT = 24, POINT_MASK = 0xFFFFFF };

static uint32_t with_class(uint32_t c) {
    uint32_t ccc = c < 0x300 ? 0 : range_value(unicode_combining, unicode_combining_count, c);
    return ccc << CLASS_SHIFT | c;
}

/* Sorts a run of marks by class, equal ones staying in order. Counting, because a hostile text is one run of
 * a million marks. */
static void sort_run(uint32_t *run, uint32_t *scratch, size_t n) {
    size_t starts[256] = {0};
    for (size_t i = 0; i < n; i++) starts[run[i] >> CLASS_SHIFT]++;
    size_t sum = 0;
    for (size_t ccc = 0; ccc < 256; ccc++) {
        size_t count = starts[ccc];
        starts[ccc] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) scratch[starts[run[i] >> CLASS_SHIFT]++] = run[i];
    memcpy(run, scratch, n * sizeof *run);
}

static void put_in_order(uint32_t *points, uint32_t *scratch, size_t n) {
    for (size_t begin = 0; begin < n;) {
        size_t end = begin;
        bool ordered = true;
        for (; end < n && points[end] >> CLASS_SHIFT; end++) {
            if (end > begin && points[end] >> CLASS_SHIFT < points[end - 1] >> CLASS_SHIFT) ordered = false;
        }
        if (!ordered) sort_run(points + begin, scratch, end - begin);
        begin = end + 1;
    }
}

/* ---- composition ---- */

static uint32_t compose_pair(uint32_t first, uint32_t second) {
    uint32_t hangul = compose_hangul(first, second);
    if (hangul) return hangul;
    size_t low = 0, high = unicode_pairs_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const UnicodePair *pair = &unicode_pairs[middle];
        if (first == pair->first && second == pair->second) return pair->composed;
        if (first > pair->first || (first == pair->first && second > pair->second)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
}

/* In place; returns how many are left. A mark composes with the last starter unless one of its own class or
 * above, or another starter, stands between. */
static size_t compose(uint32_t *points, size_t n) {
    size_t kept = 0, starter = 0;
    bool has_starter = false;
    uint32_t last = 0; /* class of the last point kept behind the starter */
    for (size_t i = 0; i < n; i++) {
        uint32_t ccc = points[i] >> CLASS_SHIFT;
        bool adjacent = has_starter && kept == starter + 1;
        if (has_starter && (adjacent || last < ccc)) {
            uint32_t c = compose_pair(points[starter], points[i] & POINT_MASK);
            if (c) {
                points[starter] = c;
                continue;
            }
        }
        if (ccc == 0) {
            starter = kept;
            has_starter = true;
        }
        last = ccc;
        points[kept++] = points[i];
    }
    return kept;
}

/* ---- NFC ---- */

/* Nothing below U+0300 moves; its lead bytes are below 0xCC. */
enum { FIRST_LEAD = 0xCC };

/* The first code point at or behind `at` that NFC may change or join to its left, or length. *before: where
 * the code point in front of it begins (`at` if there is none). */
static size_t find_moving(const char *text, size_t length, size_t at, size_t *before) {
    *before = at;
    while (at < length) {
        uint32_t c;
        if ((unsigned char)text[at] < FIRST_LEAD) { /* one byte, or two of which the second is below 0xC0 */
            if (((unsigned char)text[at] & 0xC0) != 0x80) *before = at;
            at++;
            continue;
        }
        size_t size = utf8_decode(text + at, length - at, &c);
        if (size == 0) return length; /* the caller promised valid text */
        if (properties(c) & UNICODE_MOVES) return at;
        *before = at;
        at += size;
    }
    return length;
}

/* The end of the moving code points at `at`. */
static size_t skip_moving(const char *text, size_t length, size_t at) {
    for (uint32_t c; at < length;) {
        size_t size = utf8_decode(text + at, length - at, &c);
        if (size == 0 || !(properties(c) & UNICODE_MOVES)) break;
        at += size;
    }
    return at;
}

size_t unicode_nfc_prefix(const char *text, size_t length) {
    size_t before, moving = find_moving(text, length, 0, &before);
    return moving == length ? length : before;
}

/* Memory for the segments that are not copied. */
typedef struct Segment {
    Buffer points, scratch;
} Segment;

static void decompose_all(Buffer *points, const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        uint32_t c, parts[4];
        size_t size = utf8_decode(text + at, length - at, &c);
        if (size == 0) return;
        size_t n = decompose(c, parts);
        for (size_t i = 0; i < n; i++) parts[i] = with_class(parts[i]);
        buffer_append(points, parts, n * sizeof *parts);
        at += size;
    }
}

static void normalize(Buffer *out, Segment *s, const char *text, size_t length) {
    buffer_clear(&s->points);
    buffer_clear(&s->scratch);
    decompose_all(&s->points, text, length);
    buffer_zeros(&s->scratch, s->points.length);
    if (s->points.failed || s->scratch.failed) {
        out->failed = true;
        return;
    }
    uint32_t *points = (uint32_t *)(void *)s->points.data;
    size_t n = s->points.length / sizeof *points;
    put_in_order(points, (uint32_t *)(void *)s->scratch.data, n);
    n = compose(points, n);
    for (size_t i = 0; i < n; i++) {
        char utf8[4];
        buffer_append(out, utf8, utf8_encode(utf8, points[i] & POINT_MASK));
    }
}

/* Text may be cut in front of every code point that does not move: it is a starter, is not changed, and joins
 * with nothing to its left. So a segment is one such code point and the moving ones behind it; all else is
 * copied. */
void unicode_nfc(Buffer *out, const char *text, size_t length) {
    Segment s;
    buffer_init(&s.points, out->allocator);
    buffer_init(&s.scratch, out->allocator);
    for (size_t at = 0; at < length;) {
        size_t begin, moving = find_moving(text, length, at, &begin);
        if (moving == length) begin = length;
        buffer_append(out, text + at, begin - at);
        at = skip_moving(text, length, moving);
        if (at > begin) normalize(out, &s, text + begin, at - begin);
    }
    buffer_free(&s.points);
    buffer_free(&s.scratch);
}
