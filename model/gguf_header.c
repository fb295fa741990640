/* gguf_header.c -- reads the header of one GGUF file: keys, tensor table, where the data lies. Data is not
 * touched. What the keys mean, and files that belong together, are gguf.c's business.
 *
 * The checks are those of llama.cpp's reader (ggml/src/gguf.cpp), so that what is opened here opens there,
 * and a few more: data must lie inside the file, and a header of more than 1 GiB is refused, which bounds the
 * memory that a hostile file can ask for. */
#include "model/gguf_header.h"

#include "model/gguf.h"
#include <stdio.h>
#include <string.h>

enum {
    WINDOW_BYTES = 1 << 18,
    MANY_STRINGS = 1 << 18, /* a vocabulary of today has fewer, and is read without growing */
    MAX_NAME = 63,          /* bytes of a tensor name: ggml's GGML_MAX_NAME less the NUL */
    MIN_KV_BYTES = 14,      /* key length, one byte of key, type, one byte of value */
    MIN_INFO_BYTES = 24     /* name length, n_dims, type, offset */
};
static const uint64_t MAX_STRING = 1u << 30, MAX_ARRAY = 1u << 30;

typedef struct Reader {
    Input *in;
    Arena *arena;
    const char *path;
    uint64_t at, size; /* bytes from the start of the file */
    uint64_t limit;    /* bytes that the header may have */
    uint8_t *window;   /* window_length bytes of the file from window_at on */
    uint64_t window_at;
    size_t window_length;
    Error *err;
} Reader;

/* ---- bytes ---- */

static int check_left(const Reader *r, uint64_t n, const char *what) {
    if (n > r->size - r->at)
        return error_at(r->err, ERR_FORMAT, r->at,
                        "%s: the file ends within %s: %llu bytes are needed, %llu are left; it may be "
                        "truncated",
                        r->path, what, (unsigned long long)n, (unsigned long long)(r->size - r->at));
    if (n > r->limit || r->at > r->limit - n)
        return error_at(r->err, ERR_LIMIT, r->at, "%s: the header goes beyond 1 GiB at %s", r->path, what);
    return 0;
}

/* Brings the next n bytes, no more than a window, into it. *out is good until the next call. */
static int look(Reader *r, const uint8_t **out, uint64_t n, const char *what) {
    TRY(check_left(r, n, what));
    if (r->at < r->window_at || r->at + n > r->window_at + r->window_length) {
        uint64_t left = r->size - r->at;
        r->window_at = r->at;
        r->window_length = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        TRY(input_read(r->in, r->window_at, r->window, r->window_length, r->err));
    }
    *out = r->window + (r->at - r->window_at);
    return 0;
}

static int take(Reader *r, void *out, uint64_t n, const char *what) {
    const uint8_t *bytes;
    if (n > WINDOW_BYTES) {
        TRY(check_left(r, n, what));
        TRY(input_read(r->in, r->at, out, (size_t)n, r->err));
    } else {
        TRY(look(r, &bytes, n, what));
        if (n) memcpy(out, bytes, (size_t)n);
    }
    r->at += n;
    return 0;
}

/* Text with a NUL behind it, in the arena. A vocabulary has 300,000 short ones: they are packed. */
static int take_text(Reader *r, const char **out, uint64_t n, const char *what) {
    const uint8_t *bytes;
    if (n > WINDOW_BYTES) {
        char *text = arena_alloc(r->arena, (size_t)n + 1, 1);
        if (!text) return error_memory(r->err, what);
        *out = text;
        return take(r, text, n, what);
    }
    TRY(look(r, &bytes, n, what));
    r->at += n;
    *out = arena_copy(r->arena, (const char *)bytes, (size_t)n);
    return *out ? 0 : error_memory(r->err, what);
}

static int take_u32(Reader *r, uint32_t *out, const char *what) {
    uint8_t b[4];
    TRY(take(r, b, sizeof b, what));
    *out = load_u32(b);
    return 0;
}

static int take_u64(Reader *r, uint64_t *out, const char *what) {
    uint8_t b[8];
    TRY(take(r, b, sizeof b, what));
    *out = load_u64(b);
    return 0;
}

static int take_string(Reader *r, GgufString *out, const char *what) {
    uint64_t start = r->at, length;
    TRY(take_u64(r, &length, what));
    if (length > MAX_STRING)
        return error_at(r->err, ERR_FORMAT, start,
                        "%s: the length of %s is %llu, above the format's limit of 1 GiB", r->path, what,
                        (unsigned long long)length);
    if (length > r->size - r->at)
        return error_at(r->err, ERR_FORMAT, start,
                        "%s: the length of %s is %llu, but only %llu bytes are left", r->path, what,
                        (unsigned long long)length, (unsigned long long)(r->size - r->at));
    out->length = length;
    return take_text(r, &out->data, length, what);
}

/* ---- key-values ---- */

static int take_strings(Reader *r, GgufArray *a, const char *what) {
    /* The count is a claim until that many strings have been read: memory follows the bytes, not the claim.
     */
    uint64_t capacity = a->count < MANY_STRINGS ? a->count : MANY_STRINGS;
    GgufString *strings = arena_alloc(r->arena, (size_t)capacity, sizeof *strings);
    if (!strings) return error_memory(r->err, what);
    for (uint64_t i = 0; i < a->count; i++) {
        if (i == capacity) {
            capacity = capacity * 2 < a->count ? capacity * 2 : a->count;
            GgufString *more = arena_alloc(r->arena, (size_t)capacity, sizeof *more);
            if (!more) return error_memory(r->err, what);
            memcpy(more, strings, (size_t)i * sizeof *more);
            strings = more;
        }
        TRY(take_string(r, &strings[i], what));
    }
    a->strings = strings;
    return 0;
}

static int take_array(Reader *r, GgufArray *a, const char *what) {
    uint64_t start = r->at;
    uint32_t type;
    TRY(take_u32(r, &type, what));
    if (type == GGUF_ARRAY)
        return error_at(r->err, ERR_FORMAT, start,
                        "%s: %s is an array of arrays, which llama.cpp does not read", r->path, what);
    if (type >= GGUF_N_TYPES)
        return error_at(r->err, ERR_FORMAT, start, "%s: %s has elements of type %u; types are 0 to 12",
                        r->path, what, type);
    *a = (GgufArray){.type = (GgufType)type};
    TRY(take_u64(r, &a->count, what));
    uint64_t each = type == GGUF_STRING ? 8 : gguf_type_bytes(a->type);
    if (a->count > MAX_ARRAY)
        return error_at(r->err, ERR_FORMAT, start + 4,
                        "%s: %s has %llu elements, above the format's limit of 2^30", r->path, what,
                        (unsigned long long)a->count);
    if (a->count * each > r->size - r->at)
        return error_at(r->err, ERR_FORMAT, start + 4,
                        "%s: %s has %llu elements, more than the %llu bytes left can hold", r->path, what,
                        (unsigned long long)a->count, (unsigned long long)(r->size - r->at));
    if (type == GGUF_STRING) return take_strings(r, a, what);
    if (a->count * each > r->limit)
        return error_at(r->err, ERR_LIMIT, start, "%s: the header goes beyond 1 GiB at %s", r->path, what);
    void *raw = arena_alloc(r->arena, (size_t)a->count, each);
    if (!raw) return error_memory(r->err, what);
    a->raw = raw;
    return take(r, raw, a->count * each, what);
}

static int take_scalar(Reader *r, GgufValue *v, const char *what) {
    uint8_t b[8] = {0};
    uint32_t bytes = gguf_type_bytes(v->type);
    TRY(take(r, b, bytes, what));
    uint64_t u = load_u64(b);
    switch (v->type) {
    case GGUF_I8: v->i = (int8_t)u; break;
    case GGUF_I16: v->i = (int16_t)u; break;
    case GGUF_I32: v->i = (int32_t)u; break;
    case GGUF_I64: v->i = (int64_t)u; break;
    case GGUF_F32: memcpy(&v->f32, b, 4); break;
    case GGUF_F64: memcpy(&v->f64, b, 8); break;
    case GGUF_BOOL: v->u = u != 0; break; /* any other byte than 0 is true, as in llama.cpp */
    default: v->u = u; break;
    }
    return 0;
}

static int take_kv(Reader *r, Metadata *m, uint64_t index) {
    char what[128];
    uint64_t start = r->at;
    GgufKv kv = {0};
    snprintf(what, sizeof what, "key %llu", (unsigned long long)index);
    TRY(take_string(r, &kv.key, what));
    if (kv.key.length == 0) return error_at(r->err, ERR_FORMAT, start, "%s: %s is empty", r->path, what);
    snprintf(what, sizeof what, "the value of %.64s", kv.key.data);
    uint64_t type_at = r->at;
    uint32_t type;
    TRY(take_u32(r, &type, what));
    if (type >= GGUF_N_TYPES)
        return error_at(r->err, ERR_FORMAT, type_at, "%s: %s has type %u; types are 0 to 12", r->path, what,
                        type);
    kv.value.type = (GgufType)type;
    if (type == GGUF_STRING)
        TRY(take_string(r, &kv.value.string, what));
    else if (type == GGUF_ARRAY)
        TRY(take_array(r, &kv.value.array, what));
    else
        TRY(take_scalar(r, &kv.value, what));
    int code = metadata_add(m, &kv, r->err);
    return code == ERR_FORMAT
               ? error_at(r->err, code, start, "%s: the key %.64s is there twice", r->path, kv.key.data)
               : code;
}

/* ---- the tensor table ---- */

typedef struct TensorList {
    Tensor *items;
    size_t count, capacity;
    Table *names;
} TensorList;

static int take_shape(Reader *r, Tensor *t) {
    uint64_t at = r->at;
    TRY(take_u32(r, &t->n_dims, "a tensor's number of dimensions"));
    if (t->n_dims > TENSOR_MAX_DIMS)
        return error_at(r->err, ERR_FORMAT, at, "%s: tensor %s has %u dimensions; at most 4 are allowed",
                        r->path, t->name, t->n_dims);
    uint64_t elements = 1, rows = 1;
    for (uint32_t i = 0; i < TENSOR_MAX_DIMS; i++) {
        t->dims[i] = 1;
        at = r->at;
        if (i < t->n_dims) TRY(take_u64(r, &t->dims[i], "a tensor's shape"));
        if (t->dims[i] > INT64_MAX)
            return error_at(r->err, ERR_FORMAT, at, "%s: tensor %s: dimension %u is negative (%lld)", r->path,
                            t->name, i, (long long)t->dims[i]);
        bool ok = u64_mul(&elements, elements, t->dims[i]) && elements <= INT64_MAX;
        if (i && ok) ok = u64_mul(&rows, rows, t->dims[i]) && rows <= INT64_MAX;
        if (!ok)
            return error_at(r->err, ERR_FORMAT, at, "%s: tensor %s: the product of its dimensions overflows",
                            r->path, t->name);
    }
    return 0;
}

static int take_type(Reader *r, Tensor *t, uint64_t *bytes) {
    uint64_t at = r->at;
    uint32_t id;
    TRY(take_u32(r, &id, "a tensor's type"));
    const DTypeInfo *info = dtype_by_gguf_id(id);
    if (!info)
        return error_at(r->err, ERR_FORMAT, at,
                        "%s: tensor %s has type %u, which GGUF does not have (any more)", r->path, t->name,
                        id);
    if (t->dims[0] % info->block)
        return error_at(r->err, ERR_FORMAT, at,
                        "%s: tensor %s: rows of %llu elements are no multiple of the %u in a block of %s",
                        r->path, t->name, (unsigned long long)t->dims[0], info->block, info->name);
    t->type = t->stored = info->type;
    if (!dtype_bytes(info->type, tensor_elements(t), bytes))
        return error_at(r->err, ERR_FORMAT, at, "%s: tensor %s: its size in bytes overflows", r->path,
                        t->name);
    return 0;
}

/* Where a tensor's data lies is known only when the whole table has been read; until then its extent holds
 * the offset in the data section. `next` is the one offset that the format allows. */
static int take_tensor(Reader *r, TensorList *list, uint64_t alignment, uint64_t *next) {
    Tensor *t = &list->items[list->count];
    Extent *extent = arena_alloc(r->arena, 1, sizeof *extent);
    if (!extent) return error_memory(r->err, "the tensor table");
    GgufString name;
    uint64_t start = r->at, bytes, offset, padded;
    TRY(take_string(r, &name, "a tensor's name"));
    if (name.length > MAX_NAME || memchr(name.data, 0, name.length))
        return error_at(
            r->err, ERR_FORMAT, start,
            "%s: the name of tensor %zu has %llu bytes%s; llama.cpp reads at most 63, without NUL", r->path,
            list->count, (unsigned long long)name.length, name.length > MAX_NAME ? "" : " and holds a NUL");
    t->name = name.data;
    int code = table_put(list->names, name.data, (size_t)name.length, list->count);
    if (code == -1)
        return error_at(r->err, ERR_FORMAT, start, "%s: tensor %s is there twice", r->path, t->name);
    if (code) return error_memory(r->err, "the tensor table");
    TRY(take_shape(r, t));
    TRY(take_type(r, t, &bytes));
    uint64_t at = r->at;
    TRY(take_u64(r, &offset, "a tensor's offset"));
    if (offset != *next)
        return error_at(
            r->err, ERR_FORMAT, at,
            "%s: tensor %s: its data begins at %llu of the data section, expected %llu: tensors must "
            "follow each other without holes or overlaps",
            r->path, t->name, (unsigned long long)offset, (unsigned long long)*next);
    if (!u64_align(&padded, bytes, alignment) || !u64_add(next, *next, padded))
        return error_at(r->err, ERR_FORMAT, at, "%s: tensor %s: the sizes of the tensors overflow", r->path,
                        t->name);
    *extent = (Extent){r->in, offset, bytes};
    t->extents = extent;
    t->n_extents = bytes ? 1 : 0;
    list->count++;
    return 0;
}

static int take_tensors(Reader *r, TensorList *list, uint64_t n_tensors, uint64_t alignment) {
    uint64_t next = 0;
    TRY(table_open(&list->names, r->arena, n_tensors < 65536 ? (size_t)n_tensors : 65536, r->err));
    for (uint64_t i = 0; i < n_tensors; i++) {
        if (list->count == list->capacity) {
            list->capacity = list->capacity ? list->capacity * 2 : 1024;
            Tensor *more = arena_alloc(r->arena, list->capacity, sizeof *more);
            if (!more) return error_memory(r->err, "the tensor table");
            if (list->count) memcpy(more, list->items, list->count * sizeof *more);
            list->items = more;
        }
        TRY(take_tensor(r, list, alignment, &next));
    }
    return 0;
}

/* Turns offsets in the data section into offsets in the file, and checks that the file holds the data. */
static int place_data(Reader *r, TensorList *list, uint64_t alignment) {
    uint64_t start;
    if (!u64_align(&start, r->at, alignment))
        return error_set(r->err, ERR_FORMAT, "%s: the header's size overflows", r->path);
    if (list->count && start > r->size)
        return error_at(
            r->err, ERR_FORMAT, r->at,
            "%s: tensor data should begin at byte %llu, the file ends at %llu; it may be truncated", r->path,
            (unsigned long long)start, (unsigned long long)r->size);
    for (size_t i = 0; i < list->count; i++) {
        Extent *e = (Extent *)list->items[i].extents;
        uint64_t end;
        if (!u64_add(&e->offset, e->offset, start) || !u64_add(&end, e->offset, e->length) ||
            (e->length && end > r->size))
            return error_at(r->err, ERR_FORMAT, e->offset,
                            "%s: the data of tensor %s (%llu bytes) goes beyond the end of the file at "
                            "%llu; it may be truncated",
                            r->path, list->items[i].name, (unsigned long long)e->length,
                            (unsigned long long)r->size);
    }
    return 0;
}

/* ---- the file ---- */

static int take_preamble(Reader *r, uint64_t *n_tensors, uint64_t *n_kv) {
    char magic[4];
    uint32_t version;
    TRY(take(r, magic, sizeof magic, "the magic number"));
    if (memcmp(magic, "GGUF", sizeof magic))
        return error_at(r->err, ERR_FORMAT, 0, "%s is no GGUF file: it does not begin with GGUF", r->path);
    TRY(take_u32(r, &version, "the version"));
    if (version && (version & 0xFFFF) == 0)
        return error_at(r->err, ERR_FORMAT, 4,
                        "%s: version 0x%08X: a big-endian file; only little-endian GGUF is read", r->path,
                        version);
    if (version < 2 || version > 3)
        return error_at(r->err, ERR_FORMAT, 4, "%s: GGUF version %u; versions 2 and 3 are read", r->path,
                        version);
    TRY(take_u64(r, n_tensors, "the number of tensors"));
    TRY(take_u64(r, n_kv, "the number of keys"));
    uint64_t left = r->size - r->at;
    if (*n_tensors > left / MIN_INFO_BYTES)
        return error_at(r->err, ERR_FORMAT, 8,
                        "%s: %llu tensors are announced, more than a file of %llu bytes can describe",
                        r->path, (unsigned long long)*n_tensors, (unsigned long long)r->size);
    if (*n_kv > left / MIN_KV_BYTES)
        return error_at(r->err, ERR_FORMAT, 16,
                        "%s: %llu keys are announced, more than a file of %llu bytes can hold", r->path,
                        (unsigned long long)*n_kv, (unsigned long long)r->size);
    return 0;
}

static int find_alignment(Reader *r, const Metadata *m, uint64_t *alignment) {
    const GgufValue *v = metadata_get(m, "general.alignment");
    *alignment = GGUF_DEFAULT_ALIGNMENT;
    if (!v) return 0;
    if (v->type != GGUF_U32)
        return error_set(r->err, ERR_FORMAT, "%s: general.alignment has type %s; it must be u32", r->path,
                         gguf_type_name(v->type));
    if (v->u == 0 || (v->u & (v->u - 1)))
        return error_set(r->err, ERR_FORMAT, "%s: general.alignment is %llu; it must be a power of two",
                         r->path, (unsigned long long)v->u);
    *alignment = v->u;
    return 0;
}

static int read_header(GgufHeader *out, Reader *r) {
    Metadata *metadata;
    TensorList list = {0};
    uint64_t n_tensors = 0, n_kv = 0, alignment;
    TRY(take_preamble(r, &n_tensors, &n_kv));
    TRY(metadata_open(&metadata, r->arena, r->err));
    for (uint64_t i = 0; i < n_kv; i++) TRY(take_kv(r, metadata, i));
    TRY(find_alignment(r, metadata, &alignment));
    TRY(take_tensors(r, &list, n_tensors, alignment));
    TRY(place_data(r, &list, alignment));
    *out = (GgufHeader){
        .metadata = metadata, .n_tensors = list.count, .tensors = list.items, .names = list.names};
    return 0;
}

int gguf_header_read(GgufHeader *out, Input *in, uint64_t *limit, Arena *arena, const Allocator *allocator,
                     Error *err) {
    Reader r = {.in = in,
                .arena = arena,
                .path = input_path(in),
                .size = input_size(in),
                .limit = *limit,
                .err = err};
    r.window = mem_alloc(allocator, WINDOW_BYTES);
    int code = r.window ? read_header(out, &r) : error_memory(err, "the header of a GGUF file");
    mem_free(allocator, r.window);
    if (!code) *limit -= r.at;
    return code;
}
