/* metadata.c -- GGUF key-values as an ordered list. It knows types and bytes, not what a key means. */
#include "model/metadata.h"

#include "core/table.h"
#include <string.h>

struct Metadata {
    Arena *arena;
    GgufKv **slots; /* in order; each lives on its own, so pointers from metadata_get stay valid when more are
                       added */
    size_t n_slots, capacity;
    size_t n_removed;
    Table *first;    /* key -> the slot that held it first */
    size_t *current; /* first slot -> the slot that holds the key now (an unset key that returns goes to the
                        end) */
};

static const struct {
    const char *name;
    uint32_t bytes;
} type_info[GGUF_N_TYPES] = {
    [GGUF_U8] = {"u8", 1},      [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2}, [GGUF_I16] = {"i16", 2},
    [GGUF_U32] = {"u32", 4},    [GGUF_I32] = {"i32", 4},   [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1},
    [GGUF_STRING] = {"str", 0}, [GGUF_ARRAY] = {"arr", 0}, [GGUF_U64] = {"u64", 8}, [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(GgufType type) {
    return (unsigned)type < GGUF_N_TYPES ? type_info[type].name : "unknown";
}

uint32_t gguf_type_bytes(GgufType type) {
    return (unsigned)type < GGUF_N_TYPES ? type_info[type].bytes : 0;
}

int metadata_open(Metadata **out, Arena *arena, Error *err) {
    Metadata *m = arena_alloc(arena, 1, sizeof *m);
    *out = NULL;
    if (!m) return error_memory(err, "a list of GGUF keys");
    m->arena = arena;
    TRY(table_open(&m->first, arena, 64, err));
    *out = m;
    return 0;
}

size_t metadata_slots(const Metadata *m) {
    return m->n_slots;
}

size_t metadata_count(const Metadata *m) {
    return m->n_slots - m->n_removed;
}

const GgufKv *metadata_slot(const Metadata *m, size_t i) {
    return i < m->n_slots ? m->slots[i] : NULL;
}

/* The slot that holds a key, or NULL. */
static GgufKv *find(const Metadata *m, const char *key, size_t length) {
    uint64_t first;
    if (!table_get(m->first, key, length, &first)) return NULL;
    GgufKv *kv = m->slots[m->current[first]];
    return kv->removed ? NULL : kv;
}

const GgufValue *metadata_get(const Metadata *m, const char *key) {
    const GgufKv *kv = find(m, key, strlen(key));
    return kv ? &kv->value : NULL;
}

static int grow(Metadata *m, Error *err) {
    if (m->n_slots < m->capacity) return 0;
    size_t capacity = m->capacity ? m->capacity * 2 : 64;
    GgufKv **slots = arena_alloc(m->arena, capacity, sizeof(GgufKv *));
    size_t *current = arena_alloc(m->arena, capacity, sizeof *current);
    if (!slots || !current) return error_memory(err, "a list of GGUF keys");
    if (m->n_slots) {
        memcpy(slots, m->slots, m->n_slots * sizeof(GgufKv *));
        memcpy(current, m->current, m->n_slots * sizeof *current);
    }
    m->slots = slots;
    m->current = current;
    m->capacity = capacity;
    return 0;
}

/* Puts a slot at the end for a key that is not there now. */
static int append(Metadata *m, const GgufKv *kv, Error *err) {
    TRY(grow(m, err));
    GgufKv *copy = arena_alloc(m->arena, 1, sizeof *copy);
    if (!copy) return error_memory(err, "a GGUF key");
    *copy = *kv;
    copy->removed = false;
    uint64_t first;
    if (table_get(m->first, kv->key.data, kv->key.length, &first)) {
        m->current[first] = m->n_slots;
    } else {
        int code = table_put(m->first, kv->key.data, kv->key.length, m->n_slots);
        if (code) return error_memory(err, "a GGUF key");
        m->current[m->n_slots] = m->n_slots;
    }
    m->slots[m->n_slots++] = copy;
    return 0;
}

int metadata_add(Metadata *m, const GgufKv *kv, Error *err) {
    if (find(m, kv->key.data, kv->key.length))
        return error_set(err, ERR_FORMAT, "the key %.64s is there twice", kv->key.data);
    return append(m, kv, err);
}

int metadata_copy(Metadata **out, const Metadata *from, Arena *arena, Error *err) {
    TRY(metadata_open(out, arena, err));
    for (size_t i = 0; i < from->n_slots; i++)
        if (!from->slots[i]->removed) TRY(append(*out, from->slots[i], err));
    return 0;
}

/* ---- setting ---- */

static int copy_string(GgufString *out, GgufString s, const char *key, Arena *arena, Error *err) {
    if (s.length && memchr(s.data, 0, s.length))
        return error_set(err, ERR_FORMAT, "%.64s: a string for GGUF holds a NUL, which other tools would cut",
                         key);
    out->data = arena_copy(arena, s.length ? s.data : "", s.length);
    out->length = s.length;
    return out->data ? 0 : error_memory(err, "a GGUF string");
}

static int copy_array(GgufArray *out, const GgufArray *a, const char *key, Arena *arena, Error *err) {
    *out = (GgufArray){.type = a->type, .count = a->count};
    if ((unsigned)a->type >= GGUF_N_TYPES || a->type == GGUF_ARRAY)
        return error_set(err, ERR_FORMAT, "%.64s: an array of type %d is no GGUF array", key, (int)a->type);
    if (a->type == GGUF_STRING) {
        GgufString *strings = arena_alloc(arena, a->count, sizeof *strings);
        if (!strings) return error_memory(err, "a GGUF array");
        for (uint64_t i = 0; i < a->count; i++) TRY(copy_string(&strings[i], a->strings[i], key, arena, err));
        out->strings = strings;
        return 0;
    }
    size_t bytes;
    char *raw = size_mul(&bytes, a->count, gguf_type_bytes(a->type)) ? arena_alloc(arena, bytes, 1) : NULL;
    if (!raw) return error_memory(err, "a GGUF array");
    if (bytes) memcpy(raw, a->raw, bytes);
    out->raw = raw;
    return 0;
}

/* Does the number fit the type that it is to be written as? */
static bool fits(const GgufValue *v) {
    switch (v->type) {
    case GGUF_BOOL: return v->u <= 1;
    case GGUF_U8: return v->u <= UINT8_MAX;
    case GGUF_U16: return v->u <= UINT16_MAX;
    case GGUF_U32: return v->u <= UINT32_MAX;
    case GGUF_I8: return v->i >= INT8_MIN && v->i <= INT8_MAX;
    case GGUF_I16: return v->i >= INT16_MIN && v->i <= INT16_MAX;
    case GGUF_I32: return v->i >= INT32_MIN && v->i <= INT32_MAX;
    default: return (unsigned)v->type < GGUF_N_TYPES;
    }
}

int metadata_set(Metadata *m, const char *key, GgufValue value, Error *err) {
    GgufKv kv = {.value = value};
    size_t length = strlen(key);
    if (length == 0) return error_set(err, ERR_FORMAT, "a GGUF key may not be empty");
    if (!fits(&value))
        return error_set(err, ERR_FORMAT, "%.64s: the value does not fit the type %s", key,
                         gguf_type_name(value.type));
    if (value.type == GGUF_STRING) TRY(copy_string(&kv.value.string, value.string, key, m->arena, err));
    if (value.type == GGUF_ARRAY) TRY(copy_array(&kv.value.array, &value.array, key, m->arena, err));
    GgufKv *old = find(m, key, length);
    if (old) {
        old->value = kv.value;
        return 0;
    }
    kv.key.data = arena_copy(m->arena, key, length);
    kv.key.length = length;
    if (!kv.key.data) return error_memory(err, "a GGUF key");
    return append(m, &kv, err);
}

int metadata_set_u32(Metadata *m, const char *key, uint32_t v, Error *err) {
    return metadata_set(m, key, (GgufValue){.type = GGUF_U32, .u = v}, err);
}

int metadata_set_i32(Metadata *m, const char *key, int32_t v, Error *err) {
    return metadata_set(m, key, (GgufValue){.type = GGUF_I32, .i = v}, err);
}

int metadata_set_f32(Metadata *m, const char *key, float v, Error *err) {
    return metadata_set(m, key, (GgufValue){.type = GGUF_F32, .f32 = v}, err);
}

int metadata_set_bool(Metadata *m, const char *key, bool v, Error *err) {
    return metadata_set(m, key, (GgufValue){.type = GGUF_BOOL, .u = v}, err);
}

int metadata_set_string(Metadata *m, const char *key, const char *v, Error *err) {
    return metadata_set(m, key, (GgufValue){.type = GGUF_STRING, .string = {v, strlen(v)}}, err);
}

int metadata_set_strings(Metadata *m, const char *key, const char *const *v, size_t count, Error *err) {
    GgufString *strings = arena_alloc(m->arena, count, sizeof *strings);
    if (!strings) return error_memory(err, "a GGUF array");
    for (size_t i = 0; i < count; i++) strings[i] = (GgufString){v[i], strlen(v[i])};
    GgufValue value = {.type = GGUF_ARRAY,
                       .array = {.type = GGUF_STRING, .count = count, .strings = strings}};
    return metadata_set(m, key, value, err);
}

void metadata_unset(Metadata *m, const char *key) {
    GgufKv *kv = find(m, key, strlen(key));
    if (!kv) return;
    kv->removed = true;
    m->n_removed++;
}

/* ---- typed reads ---- */

bool metadata_u32(const Metadata *m, const char *key, uint32_t *out) {
    const GgufValue *v = metadata_get(m, key);
    if (!v) return false;
    switch (v->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        if (v->u > UINT32_MAX) return false;
        *out = (uint32_t)v->u;
        return true;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        if (v->i < 0 || v->i > UINT32_MAX) return false;
        *out = (uint32_t)v->i;
        return true;
    default: return false;
    }
}

bool metadata_f32(const Metadata *m, const char *key, float *out) {
    const GgufValue *v = metadata_get(m, key);
    if (!v || v->type != GGUF_F32) return false;
    *out = v->f32;
    return true;
}

bool metadata_bool(const Metadata *m, const char *key, bool *out) {
    const GgufValue *v = metadata_get(m, key);
    if (!v || v->type != GGUF_BOOL) return false;
    *out = v->u != 0;
    return true;
}

const char *metadata_string(const Metadata *m, const char *key) {
    const GgufValue *v = metadata_get(m, key);
    if (!v || v->type != GGUF_STRING) return NULL;
    if (memchr(v->string.data, 0, v->string.length)) return NULL;
    return v->string.data;
}

/* An empty key (which no file can hold) stands for one that does not fit, so that a lookup finds nothing. */
const char *metadata_arch_key(const Metadata *m, const char *suffix, char *buf, size_t size) {
    const char *arch = metadata_string(m, "general.architecture");
    size_t a = arch ? strlen(arch) : 0, s = strlen(suffix);
    if (size == 0) return buf;
    if (a + 1 + s >= size) {
        buf[0] = 0;
        return buf;
    }
    memcpy(buf, arch ? arch : "", a);
    buf[a] = '.';
    memcpy(buf + a + 1, suffix, s + 1);
    return buf;
}

/* ---- writing ---- */

static void write_string(Buffer *b, GgufString s) {
    buffer_u64(b, s.length);
    buffer_append(b, s.data, s.length);
}

static void write_array(Buffer *b, const GgufArray *a) {
    buffer_u32(b, (uint32_t)a->type);
    buffer_u64(b, a->count);
    if (a->type == GGUF_STRING)
        for (uint64_t i = 0; i < a->count; i++) write_string(b, a->strings[i]);
    else
        buffer_append(b, a->raw, (size_t)(a->count * gguf_type_bytes(a->type)));
}

void metadata_write_kv(Buffer *b, const GgufKv *kv) {
    const GgufValue *v = &kv->value;
    write_string(b, kv->key);
    buffer_u32(b, (uint32_t)v->type);
    switch (v->type) {
    case GGUF_U8:
    case GGUF_BOOL: buffer_u8(b, (uint8_t)v->u); break;
    case GGUF_I8: buffer_u8(b, (uint8_t)v->i); break;
    case GGUF_U16: buffer_u16(b, (uint16_t)v->u); break;
    case GGUF_I16: buffer_u16(b, (uint16_t)v->i); break;
    case GGUF_U32: buffer_u32(b, (uint32_t)v->u); break;
    case GGUF_I32: buffer_u32(b, (uint32_t)v->i); break;
    case GGUF_U64: buffer_u64(b, v->u); break;
    case GGUF_I64: buffer_u64(b, (uint64_t)v->i); break;
    case GGUF_F32: buffer_f32(b, v->f32); break;
    case GGUF_F64: buffer_f64(b, v->f64); break;
    case GGUF_STRING: write_string(b, v->string); break;
    case GGUF_ARRAY: write_array(b, &v->array); break;
    case GGUF_N_TYPES: break;
    }
}
