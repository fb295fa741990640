/* gguf_split.c -- names of shards, split keys, and the text of a split rule. */
#include "model/gguf_split.h"

#include <stdio.h>
#include <string.h>

enum { NUMBER_DIGITS = 5, SUFFIX_LENGTH = 20 /* "-00001-of-00003.gguf" */ };

/* ---- the rule ---- */

bool split_rule_is_none(const SplitRule *rule) {
    return !rule->max_bytes && !rule->max_tensors && !rule->metadata_first;
}

static int not_a_rule(const char *text, Error *err) {
    return error_set(
        err, ERR_USAGE,
        "\"%.40s\" is no way to split: give a size (\"48G\", also K and M, in powers of 1000), a "
        "number of tensors (128), \"metadata-first\", or \"metadata-first,48G\"",
        text);
}

/* "48G" sets max_bytes, "128" max_tensors. */
static int parse_limit(SplitRule *rule, const char *limit, const char *text, Error *err) {
    static const char units[] = "KMG";
    size_t digits = strspn(limit, "0123456789");
    const char *unit = limit[digits] ? strchr(units, limit[digits]) : NULL;
    uint64_t n = 0;
    if (!digits || (limit[digits] && (!unit || limit[digits + 1]))) return not_a_rule(text, err);
    bool fits = true;
    for (size_t i = 0; fits && i < digits; i++)
        fits = u64_mul(&n, n, 10) && u64_add(&n, n, (uint64_t)(limit[i] - '0'));
    for (const char *u = units; unit && fits && u <= unit; u++) fits = u64_mul(&n, n, 1000);
    if (!fits || !n) return not_a_rule(text, err);
    if (unit)
        rule->max_bytes = n;
    else
        rule->max_tensors = n;
    return 0;
}

int split_rule_parse(SplitRule *out, const char *text, Error *err) {
    static const char first[] = "metadata-first";
    *out = (SplitRule){0};
    const char *limit = text;
    if (!strncmp(text, first, sizeof first - 1)) {
        out->metadata_first = true;
        limit += sizeof first - 1;
        if (!*limit) return 0;
        if (*limit++ != ',') return not_a_rule(text, err);
    }
    return parse_limit(out, limit, text, err);
}

const char *split_rule_text(const SplitRule *rule, char out[SPLIT_RULE_TEXT]) {
    static const char units[][2] = {"", "K", "M", "G"};
    const char *first = rule->metadata_first ? "metadata-first" : "";
    bool limited = rule->max_bytes || rule->max_tensors;
    uint64_t n = rule->max_bytes ? rule->max_bytes : rule->max_tensors;
    int unit = 0;
    while (rule->max_bytes && unit < 3 && n % 1000 == 0) n /= 1000, unit++;
    if (limited)
        snprintf(out, SPLIT_RULE_TEXT, "%s%s%llu%s", first, *first ? "," : "", (unsigned long long)n,
                 units[unit]);
    else
        snprintf(out, SPLIT_RULE_TEXT, "%s", first);
    return out;
}

/* ---- names ---- */

static bool take_number(const char *digits, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < NUMBER_DIGITS; i++) {
        if (digits[i] < '0' || digits[i] > '9') return false;
        *out = *out * 10 + (uint32_t)(digits[i] - '0');
    }
    return true;
}

bool gguf_is_shard_path(const char *path, uint32_t *number, uint32_t *count) {
    size_t length = strlen(path);
    if (length < SUFFIX_LENGTH) return false;
    const char *s = path + length - SUFFIX_LENGTH;
    return s[0] == '-' && !memcmp(s + 6, "-of-", 4) && !strcmp(s + 15, ".gguf") &&
           take_number(s + 1, number) && take_number(s + 10, count);
}

size_t gguf_stem_length(const char *path) {
    uint32_t number, count;
    size_t length = strlen(path);
    if (gguf_is_shard_path(path, &number, &count)) return length - SUFFIX_LENGTH;
    return length > 5 && !strcmp(path + length - 5, ".gguf") ? length - 5 : length;
}

char *gguf_shard_path(Arena *arena, const char *path, size_t index, size_t count) {
    char *stem = arena_copy(arena, path, gguf_stem_length(path));
    return stem ? arena_printf(arena, "%s-%05zu-of-%05zu.gguf", stem, index + 1, count) : NULL;
}

/* ---- keys ---- */

static const char *const split_keys[] = {"split.no", "split.tensors.count", "split.count"};
enum { N_SPLIT_KEYS = sizeof split_keys / sizeof *split_keys };

bool gguf_is_split_key(const GgufKv *kv) {
    for (int i = 0; i < N_SPLIT_KEYS; i++)
        if (kv->key.length == strlen(split_keys[i]) && !memcmp(kv->key.data, split_keys[i], kv->key.length))
            return true;
    return false;
}

void gguf_unset_split_keys(Metadata *m) {
    for (int i = 0; i < N_SPLIT_KEYS; i++) metadata_unset(m, split_keys[i]);
}
