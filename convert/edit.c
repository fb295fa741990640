/* edit.c -- KEY=TYPE:VALUE, as users spell a change of metadata.
 *
 * llama.cpp reads each key as exactly one type and refuses a file with another, so its four loose types (int,
 * float, bool, str) follow the type that the key has. GGUF's own types (u8 .. f64) are taken literally:
 * whoever names one means it. */
#include "convert/edit.h"

#include "core/json.h"
#include "core/utf8.h"
#include <math.h>
#include <string.h>

enum { LONGEST_NUMBER = 400 };

/* TYPE as spelled: one of GGUF's, or a loose one. */
typedef enum Spelling { LOOSE_INT, LOOSE_FLOAT, BOOL_OR_STR, LITERAL } Spelling;

static const struct {
    const char *name;
    Spelling spelling;
    GgufType type;
} types[] = {
    {"int", LOOSE_INT, GGUF_U32},      {"float", LOOSE_FLOAT, GGUF_F32}, {"bool", BOOL_OR_STR, GGUF_BOOL},
    {"str", BOOL_OR_STR, GGUF_STRING}, {"u8", LITERAL, GGUF_U8},         {"i8", LITERAL, GGUF_I8},
    {"u16", LITERAL, GGUF_U16},        {"i16", LITERAL, GGUF_I16},       {"u32", LITERAL, GGUF_U32},
    {"i32", LITERAL, GGUF_I32},        {"u64", LITERAL, GGUF_U64},       {"i64", LITERAL, GGUF_I64},
    {"f32", LITERAL, GGUF_F32},        {"f64", LITERAL, GGUF_F64},
};
enum { N_TYPES = sizeof types / sizeof *types };
static const char type_names[] = "int, float, bool, str, u8, i8, u16, i16, u32, i32, u64, i64, f32, f64";

static bool is_integer(GgufType t) {
    return t == GGUF_U8 || t == GGUF_I8 || t == GGUF_U16 || t == GGUF_I16 || t == GGUF_U32 || t == GGUF_I32 ||
           t == GGUF_U64 || t == GGUF_I64;
}
static bool is_float(GgufType t) {
    return t == GGUF_F32 || t == GGUF_F64;
}

/* ---- values ---- */

static int not_a(Error *err, const char *key, const char *text, const char *what) {
    return error_set(err, ERR_USAGE, "%s: \"%.80s\" is not %s", key, text, what);
}

/* Digits with an optional sign; false if it is something else or does not fit 64 bits. */
static bool parse_integer(const char *text, bool *negative, uint64_t *magnitude) {
    *negative = text[0] == '-';
    if (text[0] == '-' || text[0] == '+') text++;
    if (!text[0]) return false;
    uint64_t n = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || !u64_mul(&n, n, 10) || !u64_add(&n, n, (uint64_t)(*text - '0')))
            return false;
    }
    *magnitude = n;
    *negative = *negative && n != 0;
    return true;
}

/* Largest magnitudes on either side of zero. */
static void integer_range(GgufType t, uint64_t *below, uint64_t *above) {
    unsigned bits = 8 * gguf_type_bytes(t);
    bool is_signed = t == GGUF_I8 || t == GGUF_I16 || t == GGUF_I32 || t == GGUF_I64;
    *above = UINT64_MAX >> (64 - bits + is_signed);
    *below = is_signed ? *above + 1 : 0;
}

static int integer_value(GgufValue *v, const char *key, const char *text, Error *err) {
    bool negative;
    uint64_t n, below, above;
    if (!parse_integer(text, &negative, &n)) return not_a(err, key, text, "a whole number");
    integer_range(v->type, &below, &above);
    if (n > (negative ? below : above)) {
        return error_set(err, ERR_USAGE, "%s: %.40s is out of range for %s (%s%llu to %llu)", key, text,
                         gguf_type_name(v->type), below ? "-" : "", (unsigned long long)below,
                         (unsigned long long)above);
    }
    if (below) {
        v->i = negative ? (int64_t)(0 - n) : (int64_t)n;
    } else {
        v->u = n;
    }
    return 0;
}

/* The JSON reader knows numbers whatever the locale is. */
static bool parse_number(const char *text, double *out) {
    size_t length = strlen(text);
    cJSON *item;
    if (length > LONGEST_NUMBER || strspn(text, "0123456789+-.eE") != length) return false;
    if (json_parse(&item, text, length, "a number", NULL)) return false;
    bool number = cJSON_IsNumber(item);
    if (number) *out = item->valuedouble;
    cJSON_Delete(item);
    return number;
}

static int float_value(GgufValue *v, const char *key, const char *text, Error *err) {
    double d;
    if (!parse_number(text, &d)) return not_a(err, key, text, "a finite number");
    if (v->type == GGUF_F64) {
        v->f64 = d;
        return 0;
    }
    v->f32 = (float)d;
    if (isfinite(v->f32)) return 0;
    return error_set(err, ERR_USAGE, "%s: %.40s is out of range for f32", key, text);
}

static int bool_value(GgufValue *v, const char *key, const char *text, Error *err) {
    v->u = strcmp(text, "true") == 0;
    if (v->u || strcmp(text, "false") == 0) return 0;
    return not_a(err, key, text, "true or false");
}

static int string_value(GgufValue *v, const char *key, const char *text, Error *err) {
    size_t length = strlen(text);
    v->string = (GgufString){text, length};
    if (utf8_invalid_at(text, length) == length) return 0;
    return error_set(err, ERR_USAGE, "%s: the value is not UTF-8", key);
}

static int parse_value(GgufValue *v, const char *key, const char *text, Error *err) {
    if (is_integer(v->type)) return integer_value(v, key, text, err);
    if (is_float(v->type)) return float_value(v, key, text, err);
    return v->type == GGUF_BOOL ? bool_value(v, key, text, err) : string_value(v, key, text, err);
}

/* ---- types ---- */

static int other_type(Error *err, const char *key, const char *asked, GgufType has) {
    return error_set(err, ERR_USAGE,
                     "%s is %s in this file, not %s; llama.cpp reads a key as one type only. To change the "
                     "type, name GGUF's "
                     "own (f32:1.0) or --unset the key first",
                     key, gguf_type_name(has), asked);
}

/* The type to write for spelling i, given what the key has now (NULL: no such key). */
static int choose_type(GgufType *out, int i, const char *key, const char *text, const GgufValue *old,
                       Error *err) {
    *out = types[i].type;
    if (types[i].spelling == LITERAL) return 0;
    if (!old) {
        if (types[i].spelling == LOOSE_INT && text[0] == '-') *out = GGUF_I32;
        return 0;
    }
    bool fits = types[i].spelling == LOOSE_INT     ? is_integer(old->type) || is_float(old->type)
                : types[i].spelling == LOOSE_FLOAT ? is_float(old->type)
                                                   : old->type == types[i].type;
    if (!fits) return other_type(err, key, types[i].name, old->type);
    *out = old->type;
    return 0;
}

static int find_type(const char *name, size_t length) {
    for (int i = 0; i < N_TYPES; i++) {
        if (strlen(types[i].name) == length && memcmp(types[i].name, name, length) == 0) return i;
    }
    return -1;
}

/* Does the part before a colon look like a TYPE: a short word of letters and digits? */
static bool looks_like_type(const char *s, size_t length) {
    return length > 0 && length <= 8 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789") >= length;
}

/* ---- keys ---- */

static int unknown_key(const Metadata *m, const char *key, const char *what, Error *err) {
    size_t n = metadata_slots(m), used = 0;
    const char **known = mem_alloc(NULL, (n + 1) * sizeof *known);
    if (!known) return error_memory(err, "the list of keys");
    for (size_t i = 0; i < n; i++) {
        const GgufKv *kv = metadata_slot(m, i);
        if (!kv->removed) known[used++] = kv->key.data;
    }
    known[used] = NULL;
    const char *nearest = nearest_word(key, known);
    int code = nearest ? error_set(err, ERR_USAGE, "there is no key %.80s: did you mean %.80s? %s", key,
                                   nearest, what)
                       : error_set(err, ERR_USAGE, "there is no key %.80s%s%s", key, *what ? ". " : "", what);
    mem_free(NULL, known);
    return code;
}

/* Keys that an edit can't touch without making the file wrong. */
static int check_key(const char *key, Error *err) {
    if (key[0] == '\0') return error_set(err, ERR_USAGE, "a key is missing before \"=\"");
    if (utf8_invalid_at(key, strlen(key)) != strlen(key))
        return error_set(err, ERR_USAGE, "the key is not UTF-8");
    if (strcmp(key, "general.architecture") == 0) {
        return error_set(err, ERR_USAGE,
                         "general.architecture decides what all tensors mean and can't be edited");
    }
    if (strcmp(key, "general.alignment") == 0) {
        return error_set(err, ERR_USAGE,
                         "general.alignment decides where tensors lie and can't be edited; 32 is written");
    }
    if (strcmp(key, "recast.pad") == 0) {
        return error_set(err, ERR_USAGE,
                         "recast.pad is written, and left out, as the place of the tensor data demands");
    }
    if (strncmp(key, "recast.", 7) == 0) {
        return error_set(err, ERR_USAGE,
                         "%.80s is provenance, which is not edited; recast.edited will say that the file was",
                         key);
    }
    return 0;
}

/* What llama-gguf-split --merge leaves behind in a whole file may go. */
static int check_split_key(const Metadata *m, const char *key, bool unset, Error *err) {
    uint32_t count = 0;
    if (strncmp(key, "split.", 6) != 0) return 0;
    metadata_u32(m, "split.count", &count);
    if (unset && count == 0) return 0;
    return error_set(err, ERR_USAGE, "%.80s tells how files belong together and can't be edited", key);
}

static int set_parsed(Metadata *m, const char *key, const char *rest, Error *err) {
    TRY(check_key(key, err));
    TRY(check_split_key(m, key, false, err));
    const GgufValue *old = metadata_get(m, key);
    const char *colon = strchr(rest, ':'), *text = colon ? colon + 1 : rest;
    int type = colon ? find_type(rest, (size_t)(colon - rest)) : -1;
    if (old && old->type == GGUF_ARRAY)
        return error_set(err, ERR_USAGE, "%.80s is an array, which can't be edited", key);
    GgufValue value = {.type = GGUF_STRING};
    if (type >= 0) {
        TRY(choose_type(&value.type, type, key, text, old, err));
    } else if (old) {
        value.type = old->type; /* no TYPE: a colon belongs to the value */
        text = rest;
    } else if (colon && looks_like_type(rest, (size_t)(colon - rest))) {
        return error_set(err, ERR_USAGE, "%.80s: there is no type %.*s; the types are %s", key,
                         (int)(colon - rest), rest, type_names);
    } else {
        return unknown_key(m, key, "A new key needs a type: KEY=TYPE:VALUE", err);
    }
    TRY(parse_value(&value, key, text, err));
    return metadata_set(m, key, value, err);
}

int edit_set(Metadata *m, const char *expression, Error *err) {
    const char *equals = strchr(expression, '=');
    if (!equals) {
        return error_set(err, ERR_USAGE, "\"%.80s\" is not KEY=TYPE:VALUE (general.name=str:My model)",
                         expression);
    }
    size_t length = (size_t)(equals - expression);
    char *key = mem_alloc(NULL, length + 1);
    if (!key) return error_memory(err, "a key");
    memcpy(key, expression, length);
    key[length] = '\0';
    int code = set_parsed(m, key, equals + 1, err);
    mem_free(NULL, key);
    return code;
}

int edit_unset(Metadata *m, const char *key, Error *err) {
    TRY(check_key(key, err));
    TRY(check_split_key(m, key, true, err));
    if (!metadata_get(m, key)) return unknown_key(m, key, "", err);
    metadata_unset(m, key);
    return 0;
}

int edit_finish(Metadata *m, Error *err) {
    if (!metadata_get(m, "recast.derivation")) return 0;
    return metadata_set_bool(m, "recast.edited", true, err);
}
