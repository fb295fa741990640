/* tensor_pattern.c -- ECMAScript regular expressions, as std::regex has them in llama-quantize, become POSIX
 * extended ones.
 *
 * Only whether a name matches counts, not where or what groups caught: so lazy quantifiers are plain ones and
 * (?:...) is a group. Everything that POSIX leaves undefined is either spelled out (sets are written anew,
 * character by character) or refused, so that no C library's extensions are reached. */
#include "model/tensor_pattern.h"

#include <string.h>

enum {
    MAX_REPEATS = 1000 /* product of all {m,n}: bounds what regcomp builds, groups may nest */
};

typedef struct Translation {
    const char *pattern; /* printable ASCII, NUL-terminated */
    size_t at;
    Buffer *out;
    unsigned depth;   /* open groups */
    unsigned repeats; /* product of the {m,n} so far */
    bool repeatable;  /* the last thing written may be followed by a quantifier */
    Error *err;
} Translation;

static int refuse(const Translation *t, size_t at, const char *why) {
    return error_set(t->err, ERR_RECIPE, "the pattern \"%s\": %s, at byte %zu", t->pattern, why, at);
}

/* ---- sets of characters ---- */

typedef struct Set {
    bool has[128];
    size_t count;
} Set;

static void set_put(Set *s, unsigned char c) {
    if (!s->has[c]) s->count++;
    s->has[c] = true;
}

static void set_range(Set *s, unsigned char first, unsigned char last) {
    for (unsigned c = first; c <= last; c++) set_put(s, (unsigned char)c);
}

static bool set_named(Set *s, const char *name, size_t length) {
    static const struct {
        const char *name;
        const char *ranges; /* pairs of first and last */
    } classes[] = {
        {"d", "09"},         {"digit", "09"},      {"w", "09AZ__az"},     {"s", "\t\r  "},
        {"space", "\t\r  "}, {"alpha", "AZaz"},    {"alnum", "09AZaz"},   {"lower", "az"},
        {"upper", "AZ"},     {"xdigit", "09AFaf"}, {"punct", "!/:@[`{~"}, {"blank", "\t\t  "},
    };
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strlen(classes[i].name) != length || memcmp(classes[i].name, name, length) != 0) continue;
        for (const char *r = classes[i].ranges; *r; r += 2)
            set_range(s, (unsigned char)r[0], (unsigned char)r[1]);
        return true;
    }
    return false;
}

/* ']' stands first, '^' never, '-' last; '[' is followed by neither '.', '=' nor ':', which have lower
 * codes. */
static void write_set(Buffer *out, const Set *s, bool negated) {
    if (s->count == 1 && s->has['^'] && !negated) {
        buffer_text(out, "\\^");
        return;
    }
    buffer_text(out, negated ? "[^" : "[");
    bool dash_first = s->count == 2 && s->has['^'] && s->has['-'];
    if (s->has[']']) buffer_char(out, ']');
    if (dash_first) buffer_char(out, '-');
    for (unsigned c = 1; c < 128; c++)
        if (s->has[c] && c != ']' && c != '^' && c != '-') buffer_char(out, (char)c);
    if (s->has['^']) buffer_char(out, '^');
    if (s->has['-'] && !dash_first) buffer_char(out, '-');
    buffer_char(out, ']');
}

/* ---- escapes ---- */

/* Behind a backslash, in a set or outside: a class (added to the set) or one character in *literal. */
static int take_escape(Translation *t, Set *s, bool *is_class, unsigned char *literal) {
    static const char letters[] = "tnvfr", meaning[] = "\t\n\v\f\r";
    size_t start = t->at - 1;
    char c = t->pattern[t->at];
    if (!c) return refuse(t, start, "it ends in a backslash");
    t->at++;
    *is_class = c == 'd' || c == 'w' || c == 's';
    if (*is_class) {
        set_named(s, &c, 1);
        return 0;
    }
    const char *letter = strchr(letters, c);
    if (letter) {
        *literal = (unsigned char)meaning[letter - letters];
        return 0;
    }
    if (c >= '0' && c <= '9')
        return refuse(t, start, "back-references and \\0 are not offered; write the text itself");
    if (c >= 'a' && c <= 'z')
        return refuse(t, start,
                      "this escape is not offered: \\d, \\w, \\s, \\t and escaped punctuation are "
                      "(patterns count in lower case, so \\D is \\d)");
    *literal = (unsigned char)c;
    return 0;
}

static void write_literal(Buffer *out, unsigned char c) {
    if (strchr("^.[$()|*+?{\\", c)) {
        buffer_char(out, '\\');
        buffer_char(out, (char)c);
    } else if (c == ']' || c == '}') {
        buffer_printf(out, "[%c]", c);
    } else
        buffer_char(out, (char)c);
}

static int translate_escape(Translation *t) {
    Set s = {0};
    bool is_class;
    unsigned char literal = 0;
    TRY(take_escape(t, &s, &is_class, &literal));
    if (is_class)
        write_set(t->out, &s, false);
    else
        write_literal(t->out, literal);
    t->repeatable = true;
    return 0;
}

/* ---- brackets ---- */

static int take_named_class(Translation *t, Set *s) {
    const char *name = t->pattern + t->at + 1, *end = strstr(name, ":]");
    if (t->pattern[t->at] != ':') return refuse(t, t->at, "[. .] and [= =] are not offered");
    if (!end || !set_named(s, name, (size_t)(end - name)))
        return refuse(t, t->at, "no class of characters has this name");
    t->at = (size_t)(end + 2 - t->pattern);
    return 0;
}

/* One character or class of a bracket. */
static int take_member(Translation *t, Set *s, bool *is_class, unsigned char *literal) {
    char c = t->pattern[t->at++], next = t->pattern[t->at];
    *is_class = false;
    if (c == '\\') return take_escape(t, s, is_class, literal);
    if (c == '[' && next && strchr(":.=", next)) {
        *is_class = true;
        return take_named_class(t, s);
    }
    *literal = (unsigned char)c;
    return 0;
}

static int take_members(Translation *t, Set *s, size_t start) {
    for (;;) {
        bool is_class;
        unsigned char first, last;
        if (!t->pattern[t->at]) return refuse(t, start, "the bracket is not closed");
        if (t->pattern[t->at] == ']') return 0;
        TRY(take_member(t, s, &is_class, &first));
        if (is_class) continue;
        const char *next = t->pattern + t->at;
        if (next[0] != '-' || next[1] == ']' || !next[1]) {
            set_put(s, first);
            continue;
        }
        size_t range = t->at++;
        TRY(take_member(t, s, &is_class, &last));
        if (is_class || last < first) return refuse(t, range, "the range has no end above its begin");
        set_range(s, first, last);
    }
}

static int translate_bracket(Translation *t) {
    size_t start = t->at++;
    bool negated = t->pattern[t->at] == '^';
    if (negated) t->at++;
    Set s = {0};
    TRY(take_members(t, &s, start));
    if (!s.count) return refuse(t, start, "the bracket is empty");
    t->at++;
    write_set(t->out, &s, negated);
    t->repeatable = true;
    return 0;
}

/* ---- groups and quantifiers ---- */

static int translate_group(Translation *t) {
    const char *next = t->pattern + t->at + 1;
    if (*next == '?' && next[1] != ':')
        return refuse(t, t->at, "assertions like (?=...) and (?!...) are not offered");
    t->at += *next == '?' ? 3 : 1;
    t->depth++;
    t->repeatable = false;
    buffer_char(t->out, '(');
    return 0;
}

static int translate_group_end(Translation *t) {
    if (!t->depth) return refuse(t, t->at, "there is no group to close");
    t->depth--;
    t->at++;
    t->repeatable = true;
    buffer_char(t->out, ')');
    return 0;
}

static bool take_number(Translation *t, unsigned *out) {
    size_t start = t->at;
    for (*out = 0; t->pattern[t->at] >= '0' && t->pattern[t->at] <= '9'; t->at++)
        if (*out <= MAX_REPEATS) *out = *out * 10 + (unsigned)(t->pattern[t->at] - '0');
    return t->at > start;
}

/* {m}, {m,} or {m,n} */
static int translate_count(Translation *t) {
    size_t start = t->at++;
    unsigned least, most;
    bool well = take_number(t, &least), open = false;
    most = least;
    if (well && t->pattern[t->at] == ',') {
        t->at++;
        open = !take_number(t, &most);
        if (open) most = least;
    }
    if (!well || t->pattern[t->at] != '}' || most < least)
        return refuse(t, start, "expected {m}, {m,} or {m,n}");
    t->at++;
    if (most > 1) t->repeats = most > MAX_REPEATS ? MAX_REPEATS + 1 : t->repeats * most;
    if (t->repeats > MAX_REPEATS) return refuse(t, start, "more than 1000 repetitions in all");
    buffer_append(t->out, t->pattern + start, t->at - start);
    return 0;
}

static int translate_quantifier(Translation *t) {
    char c = t->pattern[t->at];
    if (!t->repeatable) return refuse(t, t->at, "there is nothing to repeat");
    if (c == '{') {
        TRY(translate_count(t));
    } else {
        buffer_char(t->out, c);
        t->at++;
    }
    if (t->pattern[t->at] == '?') t->at++; /* lazy */
    t->repeatable = false;
    return 0;
}

/* ---- the whole ---- */

static int translate_one(Translation *t) {
    char c = t->pattern[t->at];
    switch (c) {
    case '\\': t->at++; return translate_escape(t);
    case '[': return translate_bracket(t);
    case '(': return translate_group(t);
    case ')': return translate_group_end(t);
    case '*':
    case '+':
    case '?':
    case '{': return translate_quantifier(t);
    case '^':
    case '$':
    case '|':
        buffer_char(t->out, c);
        t->repeatable = false;
        break;
    case '.':
        buffer_char(t->out, c);
        t->repeatable = true;
        break;
    default: write_literal(t->out, (unsigned char)c); t->repeatable = true;
    }
    t->at++;
    return 0;
}

int tensor_pattern_translate(Buffer *out, const char *pattern, Error *err) {
    Translation t = {.pattern = pattern, .out = out, .repeats = 1, .err = err};
    if (!*pattern) return error_set(err, ERR_RECIPE, "a pattern for tensor names is empty");
    if (strlen(pattern) > TENSOR_PATTERN_MAX)
        return error_set(err, ERR_RECIPE, "the pattern \"%.40s...\" has more than %d bytes", pattern,
                         (int)TENSOR_PATTERN_MAX);
    for (size_t i = 0; pattern[i]; i++)
        if (pattern[i] < ' ' || pattern[i] > '~') return refuse(&t, i, "this byte is no printable ASCII");
    while (pattern[t.at]) TRY(translate_one(&t));
    if (t.depth) return refuse(&t, t.at, "a group is not closed");
    return buffer_ok(out, "a pattern for tensor names", err);
}
