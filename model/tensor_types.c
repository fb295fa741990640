/* tensor_types.c -- the list of patterns and types. What a pattern means is tensor_pattern.c's business. */
#include "model/tensor_types.h"

#include "model/tensor_pattern.h"
#include <regex.h>
#include <string.h>

typedef struct Entry {
    struct Entry *next;
    const char *pattern; /* in lower case */
    DType type;
    regex_t regex;
} Entry;

struct TensorTypes {
    Arena *arena;
    const Allocator *allocator;
    Entry *first, **end;
    size_t count;
};

int tensor_types_open(TensorTypes **out, const Allocator *allocator, Error *err) {
    *out = NULL;
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    TensorTypes *t = arena_alloc(arena, 1, sizeof *t);
    if (!t) {
        arena_close(arena);
        return error_memory(err, "a list of tensor types");
    }
    *t = (TensorTypes){.arena = arena, .allocator = allocator, .end = &t->first};
    *out = t;
    return 0;
}

void tensor_types_close(TensorTypes *t) {
    if (!t) return;
    for (Entry *e = t->first; e; e = e->next) regfree(&e->regex);
    arena_close(t->arena);
}

/* ---- adding ---- */

static char ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int compile(regex_t *out, const char *pattern, const char *posix, Error *err) {
    int code = regcomp(out, posix, REG_EXTENDED | REG_NOSUB);
    if (!code) return 0;
    if (code == REG_ESPACE) return error_memory(err, "a pattern for tensor names");
    char why[128];
    regerror(code, out, why, sizeof why);
    return error_set(err, ERR_RECIPE, "the pattern \"%s\": %s", pattern, why);
}

int tensor_types_add(TensorTypes *t, const char *pattern, DType type, Error *err) {
    Entry *e = arena_alloc(t->arena, 1, sizeof *e);
    char *lower = arena_string(t->arena, pattern);
    if (!e || !lower) return error_memory(err, "a list of tensor types");
    for (char *c = lower; *c; c++) *c = ascii_lower(*c);
    Buffer posix;
    buffer_init(&posix, t->allocator);
    int code = tensor_pattern_translate(&posix, lower, err);
    if (!code) code = compile(&e->regex, lower, buffer_string(&posix), err);
    buffer_free(&posix);
    if (code) return code;
    e->pattern = lower;
    e->type = type;
    *t->end = e;
    t->end = &e->next;
    t->count++;
    return 0;
}

DType weight_type_by_name(const char *name, size_t length) {
    for (uint32_t id = 0; id < DT_BOOL; id++) {
        const DTypeInfo *info = dtype_by_gguf_id(id);
        if (!info || strlen(info->name) != length) continue;
        size_t same = 0;
        while (same < length && ascii_lower(name[same]) == ascii_lower(info->name[same])) same++;
        if (same < length) continue;
        bool weights = dtype_is_float(info->type) || info->block > 1;
        return weights && info->type != DT_Q8_1 && info->type != DT_Q8_K ? info->type : DT_NONE;
    }
    return DT_NONE;
}

int tensor_types_add_word(TensorTypes *t, const char *word, size_t length, Error *err) {
    const char *sign = memchr(word, '=', length);
    if (!sign || sign == word || memchr(word, 0, length))
        return error_set(err, ERR_FORMAT, "\"%.*s\" is not of the form pattern=type",
                         length < 200 ? (int)length : 200, word);
    size_t before = (size_t)(sign - word), after = length - before - 1;
    DType type = weight_type_by_name(sign + 1, after);
    if (type == DT_NONE)
        return error_set(err, ERR_FORMAT,
                         "\"%.*s\" is no type of weights; types are f32, f16, bf16, q8_0, q4_K and so on",
                         after < 200 ? (int)after : 200, sign + 1);
    char *pattern = arena_copy(t->arena, word, before);
    if (!pattern) return error_memory(err, "a list of tensor types");
    return tensor_types_add(t, pattern, type, err);
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

int tensor_types_add_text(TensorTypes *t, const char *name, const char *text, size_t length, Error *err) {
    size_t line = 1;
    for (size_t at = 0; at < length;) {
        if (is_space(text[at])) {
            line += text[at++] == '\n';
            continue;
        }
        size_t end = at;
        while (end < length && !is_space(text[end])) end++;
        int code = tensor_types_add_word(t, text + at, end - at, err);
        if (code) return error_wrap(err, code, "%s: line %zu", name, line);
        at = end;
    }
    return 0;
}

/* ---- reading ---- */

DType tensor_types_find(const TensorTypes *t, const char *tensor_name) {
    for (const Entry *e = t->first; e; e = e->next)
        if (!regexec(&e->regex, tensor_name, 0, NULL, 0)) return e->type;
    return DT_NONE;
}

size_t tensor_types_count(const TensorTypes *t) {
    return t->count;
}

static const Entry *entry_at(const TensorTypes *t, size_t i) {
    const Entry *e = t->first;
    while (i--) e = e->next;
    return e;
}

const char *tensor_types_pattern(const TensorTypes *t, size_t i) {
    return entry_at(t, i)->pattern;
}

DType tensor_types_type(const TensorTypes *t, size_t i) {
    return entry_at(t, i)->type;
}
