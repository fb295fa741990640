/* json.h -- JSON in: cJSON behind limits. JSON out: two deterministic writers.
 *
 * Reading refuses what cJSON would let pass: depth above 64 (cJSON allows 1000), more than 2^22 values,
 * invalid UTF-8, an escaped or raw NUL (cJSON would cut the string), trailing garbage, duplicate keys (each
 * object's keys meet in a hash table once), numbers that are not finite. The tree is plain cJSON; free it
 * with cJSON_Delete. */
#ifndef RECAST_CORE_JSON_H
#define RECAST_CORE_JSON_H

#include "core/buffer.h"
#include <cjson/cJSON.h>

/* name is used in messages (a file name). Errors: ERR_FORMAT with line, column and byte offset, ERR_MEMORY.
 * *out is NULL on failure. Takes 0.02 s for the header of 18,867 tensors, 0.12 s for a vocabulary of 151,643
 * keys. */
int json_parse(cJSON **out, const char *text, size_t length, const char *name, Error *err) MUST_CHECK;
/* Reads and parses a file of at most `limit` bytes. */
int json_parse_file(cJSON **out, const char *path, uint64_t limit, Error *err) MUST_CHECK;

/* The member of a (small) object, or NULL. Case-sensitive. JSON null counts as absent in json_present. */
const cJSON *json_get(const cJSON *object, const char *key);
const cJSON *json_present(const cJSON *object, const char *key);
/* A number that is an integer in 0 .. 2^53, else false. */
bool json_u64(const cJSON *item, uint64_t *out);
/* A number that is an integer in 0 .. 2^32-1, else false. */
bool json_u32(const cJSON *item, uint32_t *out);

/* RFC 8785 (JCS): no spaces, keys sorted as UTF-16, shortest numbers as ECMAScript prints them.
 * NaN and infinities, which only a tree built by hand can hold, become null. */
void json_write_canonical(Buffer *b, const cJSON *item);
/* Two-space indent, keys in the tree's order, the same numbers; ends with a newline. Arrays of scalars stay
 * on one line when they are at most 100 characters. What cJSON_CreateRaw made is written as it is: integers
 * that a double can't hold. */
void json_write_pretty(Buffer *b, const cJSON *item);
/* A quoted, escaped JSON string. Also a safe YAML scalar: DEL, C1 controls, U+2028, U+2029 and U+FEFF are
 * escaped too. Bytes that are not UTF-8 become U+FFFD. */
void json_write_string(Buffer *b, const char *s);

/* ---- editing text in place: everything untouched stays as it was spelled ---- */

typedef struct JsonSpan {
    size_t begin, end; /* byte range of a value in the text */
} JsonSpan;
/* Finds the value at a path of object keys in valid JSON text; false if it is not there. */
bool json_text_find(const char *text, size_t length, const char *const *path, size_t depth, JsonSpan *out);
/* Sets the value at `path` (all but the last key must exist) to `value` (JSON text, inserted as it is
 * spelled), replacing the value's own bytes or appending a member at the end of the object in the style of
 * its neighbours. ERR_FORMAT if a parent is missing. */
int json_text_set(Buffer *text, const char *const *path, size_t depth, const char *value,
                  Error *err) MUST_CHECK;
/* Removes the member at `path` with its comma; no error if it is absent. */
int json_text_remove(Buffer *text, const char *const *path, size_t depth, Error *err) MUST_CHECK;

/* The key of `known` (NULL-terminated) nearest to `key` by edit distance, or NULL if none is near (distance
 * above a third of the length, at least 2). For "unknown key: did you mean ...?". */
const char *nearest_word(const char *key, const char *const *known);

#endif
