/* model_id.c -- a model's name taken apart, as llama.cpp's converter does it. Text only; which keys come of
 * it is general_keys.c's matter. */
#include "model/model_id.h"
#include "core/buffer.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ASCII only: the C library's ctype.h would ask the locale. */
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
static bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}
static bool is_letter(char c) {
    return is_lower(c) || is_upper(c) || (unsigned char)c >= 0x80;
}
static char lower(char c) {
    return is_upper(c) ? (char)(c + 32) : c;
}
static char upper(char c) {
    return is_lower(c) ? (char)(c - 32) : c;
}

static bool same_word(const char *a, const char *b) {
    while (*a && lower(*a) == lower(*b)) a++, b++;
    return !*a && !*b;
}

static bool is_one_of(const char *word, const char *const *list) {
    for (; *list; list++)
        if (same_word(word, *list)) return true;
    return false;
}

static const char *skip_digits(const char *s) {
    while (is_digit(*s)) s++;
    return s;
}

/* The text after a prefix, whatever its case, or NULL. */
static const char *after(const char *s, const char *prefix) {
    for (; *prefix; s++, prefix++)
        if (lower(*s) != *prefix) return NULL;
    return s;
}

/* digits(.digits)* up to the end */
static bool is_number_list(const char *s) {
    for (;;) {
        const char *end = skip_digits(s);
        if (end == s) return false;
        if (!*end) return true;
        if (*end != '.') return false;
        s = end + 1;
    }
}

/* (v|iter)?\d+([.]\d+)* */
static bool is_version(const char *s) {
    const char *rest = after(s, "iter");
    if (!rest) rest = after(s, "v");
    return is_number_list(rest ? rest : s);
}

/* i?q\d(_\w)* or b?fp?(16|32) */
static bool is_type(const char *s) {
    const char *q = after(s, "iq");
    if (!q) q = after(s, "q");
    if (q && is_digit(*q)) {
        q++;
        while (*q == '_' && (is_letter(q[1]) || is_digit(q[1]) || q[1] == '_')) q += 2;
        if (!*q) return true;
    }
    const char *f = after(s, "bf");
    if (!f) f = after(s, "f");
    if (!f) return false;
    if (lower(*f) == 'p') f++;
    return !strcmp(f, "16") || !strcmp(f, "32");
}

/* \d+([._]\d+)?[KMBT]\d? up to the end */
static bool is_amount(const char *s) {
    const char *end = skip_digits(s);
    if (end == s) return false;
    if ((*end == '.' || *end == '_') && is_digit(end[1])) end = skip_digits(end + 1);
    if (!*end || !strchr("kmbt", lower(*end))) return false;
    end++;
    return !*end || (is_digit(*end) && !end[1]);
}

/* (A|\d+x)?AMOUNT, or a word */
static bool is_size(const char *s) {
    static const char *const words[] = {"small", "mini", "medium", "large", "xl", "xxl", NULL};
    if (is_one_of(s, words) || is_amount(s)) return true;
    if (lower(*s) == 'a') return is_amount(s + 1);
    const char *x = skip_digits(s);
    return x > s && lower(*x) == 'x' && is_amount(x + 1);
}

static bool is_finetune(const char *s) {
    static const char *const words[] = {"chat", "instruct", "vision", "lora", NULL};
    return is_one_of(s, words);
}

/* ---- annotation ---- */

enum { BASENAME = 1, SIZE = 2, FINETUNE = 4, VERSION = 8, TYPE = 16 };

typedef struct Part {
    char *text;
    unsigned kinds;
} Part;

typedef struct Parts {
    Part *items;
    size_t count;
} Parts;

/* "7b1" -> "7.1B", "1_5b" -> "1.5B" */
static char *normal_size(const char *text, Arena *arena) {
    size_t n = strlen(text);
    char *s = arena_alloc(arena, n + 2, 1);
    if (!s) return NULL;
    memcpy(s, text, n);
    for (size_t i = 0; i < n; i++)
        if (s[i] == '_') s[i] = '.';
    if (n >= 2 && is_digit(s[n - 1])) {
        char unit = s[n - 2], digit = s[n - 1];
        s[n - 2] = '.', s[n - 1] = digit, s[n++] = unit;
    }
    if (n >= 2 && is_digit(s[n - 2])) s[n - 1] = upper(s[n - 1]);
    return s;
}

/* A plain "128K" far from the real number of parameters is a context length. "A3B" and "8x7B" are no plain
 * numbers. */
static bool is_far_from(const char *size, uint64_t total) {
    size_t n = strlen(size);
    if (!total || n < 2 || !is_digit(size[0]) || !is_digit(size[n - 2])) return false;
    double label = 0, scale = 1;
    for (size_t i = 0; i + 1 < n; i++) {
        if (size[i] == 'x' || size[i] == 'X') return false;
        if (size[i] == '.')
            scale = 0.1;
        else if (scale == 1)
            label = 10 * label + (size[i] - '0');
        else
            label += scale * (size[i] - '0'), scale *= 0.1;
    }
    for (const char *unit = "KMBT"; *unit; unit++) {
        label *= 1000;
        if (*unit == size[n - 1]) break;
    }
    return fabs(label - (double)total) > (double)(total / 8 * 7 + total % 8 * 7 / 8);
}

static bool annotate(Part *part, bool first, uint64_t total, Arena *arena) {
    if (is_version(part->text)) {
        part->kinds = VERSION;
    } else if (is_type(part->text)) {
        part->kinds = TYPE;
    } else if (!first && is_size(part->text)) {
        part->text = normal_size(part->text, arena);
        if (!part->text) return false;
        part->kinds = is_far_from(part->text, total) ? FINETUNE : SIZE;
        size_t n = strlen(part->text);
        if (part->kinds == FINETUNE) part->text[n - 1] = lower(part->text[n - 1]);
    } else if (!first && is_finetune(part->text)) {
        part->kinds = FINETUNE;
    }
    return true;
}

static bool has_digit(const char *s) {
    while (*s && !is_digit(*s)) s++;
    return *s;
}

/* "large" is no size where a number gives one. */
static void drop_word_sizes(Parts *p) {
    bool number = false;
    for (size_t i = 0; i < p->count; i++) number |= (p->items[i].kinds & SIZE) && has_digit(p->items[i].text);
    for (size_t i = 0; number && i < p->count; i++)
        if ((p->items[i].kinds & SIZE) && !has_digit(p->items[i].text)) p->items[i].kinds &= ~(unsigned)SIZE;
}

/* The words and versions at the start are the base name, less the versions that end it; other words are the
 * finetune. */
static void find_basename(Parts *p) {
    bool at_start = true;
    size_t end = 0;
    for (size_t i = 0; i < p->count; i++) {
        Part *part = &p->items[i];
        bool belongs = (!part->kinds && is_letter(part->text[0])) || (part->kinds & VERSION);
        at_start = at_start && belongs;
        if (at_start)
            part->kinds |= BASENAME, end = i + 1;
        else if (!part->kinds)
            part->kinds = FINETUNE;
    }
    for (size_t i = end; end == p->count && i > 0 && p->items[i - 1].kinds == (BASENAME | VERSION); i--)
        p->items[i - 1].kinds = VERSION;
}

static bool seen_before(const Parts *p, size_t i, unsigned kind) {
    for (size_t k = 0; k < i; k++)
        if ((p->items[k].kinds & kind) && !strcmp(p->items[k].text, p->items[i].text)) return true;
    return false;
}

/* Parts of a kind joined by '-'; *out NULL if there are none. */
static int join(const char **out, const Parts *p, unsigned kind, unsigned without, Arena *arena, Error *err) {
    Buffer b;
    buffer_init(&b, NULL);
    *out = NULL;
    for (size_t i = 0; i < p->count; i++) {
        if (!(p->items[i].kinds & kind) || (p->items[i].kinds & without)) continue;
        if (kind == SIZE && seen_before(p, i, kind)) continue;
        if (b.length) buffer_char(&b, '-');
        buffer_text(&b, p->items[i].text);
    }
    int code = buffer_ok(&b, "a model's name", err);
    if (!code && b.length) {
        *out = arena_copy(arena, b.data, b.length);
        if (!*out) code = error_memory(err, "a model's name");
    }
    buffer_free(&b);
    return code;
}

static int split(Parts *out, const char *name, Arena *arena, Error *err) {
    char *text = arena_string(arena, name);
    out->count = 0;
    out->items = arena_alloc(arena, strlen(name) / 2 + 1, sizeof(Part));
    if (!text || !out->items) return error_memory(err, "a model's name");
    for (char *s = text; *s;) {
        size_t n = strcspn(s, "-");
        char *next = s + n + (s[n] == '-');
        s[n] = 0;
        if (n) out->items[out->count++].text = s;
        s = next;
    }
    return 0;
}

int model_id_parse(ModelId *out, const char *id, uint64_t total_params, Arena *arena, Error *err) {
    memset(out, 0, sizeof *out);
    out->name = id;
    if (strchr(id, ' ')) return 0; /* a sentence, not an id */
    const char *slash = strchr(id, '/');
    if (slash) {
        out->name = slash + 1;
        if (id[0] != '.') {
            out->organization = arena_copy(arena, id, (size_t)(slash - id));
            if (!out->organization) return error_memory(err, "a model's name");
        }
    }
    Parts parts;
    TRY(split(&parts, out->name, arena, err));
    for (size_t i = 0; i < parts.count; i++)
        if (!annotate(&parts.items[i], i == 0, total_params, arena))
            return error_memory(err, "a model's name");
    drop_word_sizes(&parts);
    find_basename(&parts);
    TRY(join(&out->basename, &parts, BASENAME, 0, arena, err));
    TRY(join(&out->size_label, &parts, SIZE, 0, arena, err));
    TRY(join(&out->finetune, &parts, FINETUNE, 0, arena, err));
    TRY(join(&out->version, &parts, VERSION, BASENAME, arena, err));
    if (!out->size_label && !out->finetune && !out->version) out->basename = NULL; /* too little to go by */
    return 0;
}

/* ---- titles and sizes ---- */

/* All its letters small, at least one, and neither a number nor a version ("v1.5"). */
static bool wants_capital(const char *word, size_t n) {
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (is_upper(word[i])) return false;
        any |= is_lower(word[i]);
    }
    if (!any || is_digit(word[0])) return false;
    char copy[64];
    if (word[0] != 'v' || n >= sizeof copy) return true;
    memcpy(copy, word + 1, n - 1);
    copy[n - 1] = 0;
    return !is_number_list(copy);
}

const char *model_id_title(const char *name, Arena *arena) {
    char *out = arena_alloc(arena, strlen(name) + 1, 1), *to = out;
    if (!out) return NULL;
    static const char gaps[] = "- \t\n\v\f\r";
    for (const char *s = name + strspn(name, gaps); *s; s += strspn(s, gaps)) {
        size_t n = strcspn(s, gaps);
        bool capital = wants_capital(s, n);
        if (to > out) *to++ = ' ';
        for (size_t i = 0; i < n; i++)
            *to++ = capital && (i == 0 || !is_letter(s[i - 1])) ? upper(s[i]) : s[i];
        s += n;
    }
    *to = 0;
    return out;
}

void model_id_rounded(char *out, size_t size, uint64_t params) {
    static const struct {
        double above, scale;
        char unit;
    } units[] = {{1e12, 1e-12, 'T'}, {1e9, 1e-9, 'B'}, {1e6, 1e-6, 'M'}, {-1, 1e-3, 'K'}};
    size_t i = 0;
    while ((double)params <= units[i].above) i++;
    double scaled = (double)params * units[i].scale;
    double whole = nearbyint(scaled); /* half to even, as Python's round */
    int decimals = whole >= 10 ? 0 : whole >= 1 ? 1 : 2;
    snprintf(out, size, "%.*f%c", decimals, scaled, units[i].unit);
}
