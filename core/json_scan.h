/* json_scan.h -- a strict scanner over JSON text (RFC 8259), private to the json_*.c files.
 *
 * It builds nothing: it moves `at` past values and says where and why text is wrong. json.c runs it in front
 * of cJSON, which accepts more than JSON; json_text.c uses it to find the bytes of a value. */
#ifndef RECAST_CORE_JSON_SCAN_H
#define RECAST_CORE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* A value takes cJSON up to 100 bytes: 64 MiB of "0," (a few kB in an archive) would become 2.5 GB. */
enum { JSON_DEPTH_LIMIT = 64, JSON_VALUE_LIMIT = 1 << 22 };

typedef struct JsonScan {
    const char *text;
    size_t length;
    size_t at;           /* the next byte */
    unsigned depth;      /* open arrays and objects */
    size_t values;       /* begun so far */
    const char *problem; /* NULL while all is well */
    bool expected;       /* problem reads "expected ...": the caller adds what was found */
    size_t problem_at;
    size_t keys;      /* object keys passed, in the order of the text */
    size_t key_at[2]; /* where the last key passed began and ended, quotes included */
    size_t stop_key;  /* stop (false, no problem) behind this key, counted from 1; 0: never */
} JsonScan;

void json_scan_space(JsonScan *s);
bool json_scan_string(JsonScan *s);   /* at a quote */
bool json_scan_value(JsonScan *s);    /* at the first byte of a value */
bool json_scan_document(JsonScan *s); /* one value with space around it, and nothing more */

/* Walking one object. begin: at '{'; then next until it returns false, with key_at filled and `at` on the
 * value's first byte each time (the caller then scans the value). After the last member `at` is behind '}'. A
 * false with a problem is an error. */
bool json_scan_object_begin(JsonScan *s);
bool json_scan_object_next(JsonScan *s, bool first);

#endif
