/* metadata.h -- GGUF key-values as an ordered list: read, looked up, edited, written.
 *
 * Setting a key that exists keeps its place; a new one goes to the end. Everything lives in the arena given
 * at open. */
#ifndef RECAST_MODEL_METADATA_H
#define RECAST_MODEL_METADATA_H

#include "core/buffer.h"

typedef enum GgufType { /* value type ids of the GGUF specification */
                        GGUF_U8,
                        GGUF_I8,
                        GGUF_U16,
                        GGUF_I16,
                        GGUF_U32,
                        GGUF_I32,
                        GGUF_F32,
                        GGUF_BOOL,
                        GGUF_STRING,
                        GGUF_ARRAY,
                        GGUF_U64,
                        GGUF_I64,
                        GGUF_F64,
                        GGUF_N_TYPES
} GgufType;

typedef struct GgufString {
    const char *data; /* UTF-8, length bytes, then a NUL that is not counted; may hold NULs of its own */
    uint64_t length;
} GgufString;

typedef struct GgufArray {
    GgufType type; /* of its elements; never GGUF_ARRAY */
    uint64_t count;
    const void *raw;           /* little-endian elements back to back; NULL for strings */
    const GgufString *strings; /* if type is GGUF_STRING */
} GgufArray;

typedef struct GgufValue {
    GgufType type;
    union {
        uint64_t u; /* U8, U16, U32, U64, BOOL (0 or 1) */
        int64_t i;  /* I8, I16, I32, I64 */
        float f32;
        double f64;
        GgufString string;
        GgufArray array;
    };
} GgufValue;

typedef struct GgufKv {
    GgufString key;
    GgufValue value;
    bool removed; /* by metadata_unset: skip it */
} GgufKv;

typedef struct Metadata Metadata;

int metadata_open(Metadata **out, Arena *arena, Error *err) MUST_CHECK;
/* A copy that can be edited; values are shared with `from`, which must outlive it. */
int metadata_copy(Metadata **out, const Metadata *from, Arena *arena, Error *err) MUST_CHECK;
size_t metadata_slots(const Metadata *m);                          /* items to walk, removed ones included */
size_t metadata_count(const Metadata *m);                          /* items that are not removed */
const GgufKv *metadata_slot(const Metadata *m, size_t i);          /* in order; check ->removed */
const GgufValue *metadata_get(const Metadata *m, const char *key); /* NULL if absent */

/* Copy key and value bytes into the arena; strings must hold no NUL (other tools would cut them): ERR_FORMAT.
 */
int metadata_set(Metadata *m, const char *key, GgufValue value, Error *err) MUST_CHECK;
int metadata_set_u32(Metadata *m, const char *key, uint32_t v, Error *err) MUST_CHECK;
int metadata_set_i32(Metadata *m, const char *key, int32_t v, Error *err) MUST_CHECK;
int metadata_set_f32(Metadata *m, const char *key, float v, Error *err) MUST_CHECK;
int metadata_set_bool(Metadata *m, const char *key, bool v, Error *err) MUST_CHECK;
int metadata_set_string(Metadata *m, const char *key, const char *v, Error *err) MUST_CHECK;
int metadata_set_strings(Metadata *m, const char *key, const char *const *v, size_t count,
                         Error *err) MUST_CHECK;
void metadata_unset(Metadata *m, const char *key);
/* Appends key and value as they are, without a copy (for a reader whose bytes lie in the same arena; strings
 * may hold NULs). ERR_FORMAT if the key is there already. */
int metadata_add(Metadata *m, const GgufKv *kv, Error *err) MUST_CHECK;

/* Typed reads: false if absent or of another kind. Any unsigned or non-negative integer type counts as
 * u32/u64. */
bool metadata_u32(const Metadata *m, const char *key, uint32_t *out);
bool metadata_f32(const Metadata *m, const char *key, float *out);
bool metadata_bool(const Metadata *m, const char *key, bool *out);
const char *metadata_string(const Metadata *m,
                            const char *key); /* NULL if absent, not a string or holding a NUL */
/* "ARCH.suffix", ARCH being general.architecture; the key lives in buf. */
const char *metadata_arch_key(const Metadata *m, const char *suffix, char *buf, size_t size);

/* Appends the binary form of key and value as GGUF v3 spells them. */
void metadata_write_kv(Buffer *b, const GgufKv *kv);
const char *gguf_type_name(GgufType type); /* "u32", "str", "arr" */
uint32_t gguf_type_bytes(GgufType type);   /* 0 for strings and arrays */

#endif
