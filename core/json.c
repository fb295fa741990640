/* json.c -- reading JSON: the strict scanner, then cJSON, then the check for duplicate keys. Accessors.
 *
 * cJSON looks a key up by walking the whole object, so nothing here calls its lookups: a vocabulary has
 * 151,000 keys. */
#include "core/json.h"
#include "core/input.h"
#include "core/json_scan.h"
#include "core/table.h"
#include "core/utf8.h"
#include <stdio.h>
#include <string.h>

/* Up to this many keys, comparing each pair is faster than filling a table (a tensor's entry in safetensors
 * has three). */
enum { SMALL_OBJECT = 12 };

static void line_and_column(const char *text, size_t at, size_t *line, size_t *column) {
    size_t lines = 1, start = 0;
    for (size_t i = 0; i < at; i++) {
        if (text[i] != '\n') continue;
        lines++;
        start = i + 1;
    }
    *line = lines;
    *column = at - start + 1;
}

static int syntax_error(const JsonScan *s, const char *name, Error *err) {
    size_t line, column, at = s->problem_at;
    line_and_column(s->text, at, &line, &column);
    char found[64] = "";
    if (s->expected && at >= s->length) {
        snprintf(found, sizeof found, ", found the end of the text");
    } else if (s->expected) {
        unsigned char c = (unsigned char)s->text[at];
        snprintf(found, sizeof found, c > 0x20 && c < 0x7F ? ", found '%c'" : ", found byte 0x%02X", c);
    }
    return error_at(err, ERR_FORMAT, at, "%s: invalid JSON, line %zu, column %zu: %s%s", name, line, column,
                    s->problem, found);
}

/* The first key of the object that an earlier one equals, or NULL. *code is ERR_MEMORY when there was none
 * for the table. */
static const cJSON *duplicate_in(const cJSON *object, Arena *arena, int *code, Error *err) {
    size_t count = 0;
    for (const cJSON *m = object->child; m; m = m->next) count++;
    if (count <= SMALL_OBJECT) {
        for (const cJSON *m = object->child; m; m = m->next)
            for (const cJSON *earlier = object->child; earlier != m; earlier = earlier->next)
                if (strcmp(earlier->string, m->string) == 0) return m;
        return NULL;
    }
    Table *seen;
    *code = table_open(&seen, arena, count, err);
    for (const cJSON *m = object->child; m && !*code; m = m->next) {
        int put = table_put(seen, m->string, strlen(m->string), 0);
        if (put == -1) return m;
        if (put) *code = error_memory(err, "the check for duplicate keys");
    }
    return NULL;
}

/* Depth is bounded: the scanner has been over the text. */
static const cJSON *find_duplicate(const cJSON *item, Arena *arena, int *code, Error *err) {
    if (cJSON_IsObject(item)) {
        const cJSON *duplicate = duplicate_in(item, arena, code, err);
        if (duplicate || *code) return duplicate;
    }
    for (const cJSON *m = item->child; m; m = m->next) {
        const cJSON *duplicate = m->child ? find_duplicate(m, arena, code, err) : NULL;
        if (duplicate || *code) return duplicate;
    }
    return NULL;
}

/* Counts keys in the order of the text up to `wanted`; true when it was met. */
static bool key_number(const cJSON *item, const cJSON *wanted, size_t *number) {
    for (const cJSON *m = item->child; m; m = m->next) {
        if (m->string) ++*number;
        if (m == wanted || key_number(m, wanted, number)) return true;
    }
    return false;
}

static int duplicate_error(const cJSON *root, const cJSON *duplicate, const char *text, size_t length,
                           const char *name, Error *err) {
    JsonScan s = {.text = text, .length = length};
    key_number(root, duplicate, &s.stop_key);
    json_scan_document(&s);
    size_t line, column, key_length = s.key_at[1] - s.key_at[0];
    line_and_column(text, s.key_at[0], &line, &column);
    /* As spelled in the text, so that it is one printable line. */
    int shown = (int)utf8_cut(text + s.key_at[0], key_length, 200);
    return error_at(err, ERR_FORMAT, s.key_at[0],
                    "%s: line %zu, column %zu: the key %.*s is there twice in one object", name, line, column,
                    shown, text + s.key_at[0]);
}

static int check_duplicates(const cJSON *root, const char *text, size_t length, const char *name,
                            Error *err) {
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    int code = 0;
    const cJSON *duplicate = find_duplicate(root, arena, &code, err);
    if (duplicate) code = duplicate_error(root, duplicate, text, length, name, err);
    arena_close(arena);
    return code;
}

int json_parse(cJSON **out, const char *text, size_t length, const char *name, Error *err) {
    *out = NULL;
    JsonScan s = {.text = text, .length = length};
    if (!json_scan_document(&s)) return syntax_error(&s, name, err);
    cJSON *root = cJSON_ParseWithLength(text, length);
    /* The scanner is stricter than cJSON, so only memory can be missing. */
    if (!root) return error_memory(err, name);
    int code = check_duplicates(root, text, length, name, err);
    if (code) {
        cJSON_Delete(root);
        return code;
    }
    *out = root;
    return 0;
}

int json_parse_file(cJSON **out, const char *path, uint64_t limit, Error *err) {
    *out = NULL;
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    char *text;
    size_t length;
    int code = input_read_file(&text, &length, path, limit, arena, err);
    if (!code) code = json_parse(out, text, length, path, err);
    arena_close(arena);
    return code;
}

const cJSON *json_get(const cJSON *object, const char *key) {
    if (!cJSON_IsObject(object)) return NULL;
    for (const cJSON *m = object->child; m; m = m->next)
        if (m->string && strcmp(m->string, key) == 0) return m;
    return NULL;
}

const cJSON *json_present(const cJSON *object, const char *key) {
    const cJSON *item = json_get(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

bool json_u64(const cJSON *item, uint64_t *out) {
    if (!cJSON_IsNumber(item)) return false;
    double v = item->valuedouble;
    /* Above 2^53 a double no longer tells neighbouring integers apart. NaN fails the first comparison. */
    if (!(v >= 0 && v <= 9007199254740992.0) || v != (double)(uint64_t)v) return false;
    *out = (uint64_t)v;
    return true;
}

bool json_u32(const cJSON *item, uint32_t *out) {
    uint64_t v;
    if (!json_u64(item, &v) || v > UINT32_MAX) return false;
    *out = (uint32_t)v;
    return true;
}

enum { WORD_LIMIT = 128 };

/* Levenshtein distance of two words of at most WORD_LIMIT bytes: one row of the usual table at a time. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t row[WORD_LIMIT + 1];
    for (size_t j = 0; j <= b_length; j++) row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_length];
}

const char *nearest_word(const char *key, const char *const *known) {
    size_t length = strlen(key);
    if (length > WORD_LIMIT) return NULL;
    size_t limit = length / 3 > 2 ? length / 3 : 2, best = limit + 1;
    const char *nearest = NULL;
    for (; *known; known++) {
        size_t known_length = strlen(*known);
        if (known_length > WORD_LIMIT) continue;
        size_t distance = edit_distance(key, length, *known, known_length);
        /* A word that shares no letter is not near, however short both are. */
        if (distance >= best || distance >= length) continue;
        best = distance;
        nearest = *known;
    }
    return nearest;
}
