/* safetensors.c -- reads and checks the header of one safetensors file. Data is not touched.
 *
 * Stricter than the reference reader where it lets ambiguity pass: a header begins with '{', no key comes
 * twice, numbers are spelled as plain integers. Misaligned data is fine: readers copy bytes. */
#include "model/safetensors.h"

#include "core/json.h"
#include <stdlib.h>
#include <string.h>

static const uint64_t MAX_HEADER = 100000000; /* the reference reader's limit, bytes */

typedef struct File {
    const char *path;
    uint64_t data, size; /* where the data section begins, where the file ends */
    Arena *arena;
    Error *err;
} File;

/* cJSON keeps numbers as doubles, where 1.0 and 1 look the same; so the text is looked at: outside strings, a
 * number is digits only. The text is valid JSON already. */
static const char *find_odd_number(const char *text) {
    bool in_string = false;
    for (const char *c = text; *c; c++) {
        if (in_string) {
            if (*c == '\\')
                c++;
            else if (*c == '"')
                in_string = false;
        } else if (*c == '"') {
            in_string = true;
        } else if (*c == '-') {
            return c;
        } else if (*c >= '0' && *c <= '9') {
            while (*c >= '0' && *c <= '9') c++;
            if (*c == '.' || *c == 'e' || *c == 'E') return c;
            c--;
        }
    }
    return NULL;
}

static int check_metadata(const File *f, const cJSON *item) {
    if (!cJSON_IsObject(item))
        return error_at(f->err, ERR_FORMAT, 8, "%s: __metadata__ is no object", f->path);
    for (const cJSON *m = item->child; m; m = m->next)
        if (!cJSON_IsString(m))
            return error_at(f->err, ERR_FORMAT, 8,
                            "%s: __metadata__.%s is no string; only strings may stand there", f->path,
                            m->string);
    return 0;
}

static int read_shape(const File *f, SafetensorsEntry *e, const cJSON *item) {
    const cJSON *shape = json_get(item, "shape");
    if (!cJSON_IsArray(shape))
        return error_at(f->err, ERR_FORMAT, 8, "%s: tensor %s has no shape", f->path, e->name);
    for (const cJSON *d = shape->child; d; d = d->next) {
        if (e->n_dims == 4)
            return error_at(f->err, ERR_UNSUPPORTED, 8,
                            "%s: tensor %s has %d dimensions; at most 4 are offered", f->path, e->name,
                            cJSON_GetArraySize(shape));
        if (!json_u64(d, &e->shape[e->n_dims++]))
            return error_at(f->err, ERR_FORMAT, 8, "%s: tensor %s: its shape must be integers from 0 to 2^53",
                            f->path, e->name);
    }
    return 0;
}

/* Bytes that dtype and shape ask for. Rows are multiplied on their own too: an empty dimension must not hide
 * an overflow. */
static int shape_bytes(const File *f, const SafetensorsEntry *e, uint64_t *bytes) {
    uint64_t elements = e->n_dims ? e->shape[e->n_dims - 1] : 1, rows = 1;
    bool ok = true;
    for (uint32_t i = 0; ok && i + 1 < e->n_dims; i++) ok = u64_mul(&rows, rows, e->shape[i]);
    ok = ok && u64_mul(&elements, elements, rows) && dtype_bytes(e->type, elements, bytes);
    return ok ? 0
              : error_at(f->err, ERR_FORMAT, 8, "%s: tensor %s: the product of its shape overflows", f->path,
                         e->name);
}

static int read_offsets(const File *f, SafetensorsEntry *e, const cJSON *item) {
    const cJSON *offsets = json_get(item, "data_offsets");
    uint64_t begin, end, bytes = 0;
    bool two = cJSON_IsArray(offsets) && cJSON_GetArraySize(offsets) == 2;
    if (!two || !json_u64(offsets->child, &begin) || !json_u64(offsets->child->next, &end))
        return error_at(f->err, ERR_FORMAT, 8,
                        "%s: tensor %s: data_offsets must be two integers from 0 to 2^53", f->path, e->name);
    if (end < begin)
        return error_at(f->err, ERR_FORMAT, 8,
                        "%s: tensor %s: data_offsets end (%llu) before they begin (%llu)", f->path, e->name,
                        (unsigned long long)end, (unsigned long long)begin);
    TRY(shape_bytes(f, e, &bytes));
    if (end - begin != bytes)
        return error_at(f->err, ERR_FORMAT, f->data + begin,
                        "%s: tensor %s has %llu bytes by its data_offsets, %llu by its dtype and "
                        "shape",
                        f->path, e->name, (unsigned long long)(end - begin), (unsigned long long)bytes);
    if (end > f->size - f->data)
        return error_at(f->err, ERR_FORMAT, f->data + begin,
                        "%s: tensor %s ends at byte %llu, the file ends at %llu; it is truncated: "
                        "download it again",
                        f->path, e->name, (unsigned long long)(f->data + end), (unsigned long long)f->size);
    e->offset = f->data + begin;
    e->length = bytes;
    return 0;
}

static int read_entry(const File *f, SafetensorsEntry *e, const cJSON *item) {
    e->name = arena_string(f->arena, item->string);
    if (!e->name) return error_memory(f->err, "the tensor table");
    if (!cJSON_IsObject(item))
        return error_at(f->err, ERR_FORMAT, 8, "%s: tensor %s is no object", f->path, e->name);
    const cJSON *dtype = json_get(item, "dtype");
    if (!cJSON_IsString(dtype))
        return error_at(f->err, ERR_FORMAT, 8, "%s: tensor %s has no dtype", f->path, e->name);
    const DTypeInfo *info = dtype_by_safetensors(dtype->valuestring);
    if (!info)
        return error_at(f->err, ERR_FORMAT, 8, "%s: tensor %s has the dtype %.40s, which is unknown here",
                        f->path, e->name, dtype->valuestring);
    e->type = info->type;
    TRY(read_shape(f, e, item));
    return read_offsets(f, e, item);
}

/* By place; tensors without bytes stand before one that begins there; the name decides the rest. */
static int compare_entries(const void *a, const void *b) {
    const SafetensorsEntry *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Tensors fill the data section from its first byte to its last: nothing can hide between them. */
static int check_places(const File *f, const SafetensorsHeader *h) {
    uint64_t at = f->data;
    for (size_t i = 0; i < h->n_entries; i++) {
        const SafetensorsEntry *e = &h->entries[i];
        if (e->offset != at)
            return error_at(f->err, ERR_FORMAT, e->offset,
                            "%s: tensor %s begins at byte %llu, but the data before it ends at %llu: %s",
                            f->path, e->name, (unsigned long long)e->offset, (unsigned long long)at,
                            e->offset > at ? "a hole" : "they overlap");
        at += e->length;
    }
    if (at == f->size) return 0;
    return error_at(f->err, ERR_FORMAT, at,
                    "%s: the data ends at byte %llu, the file at %llu: bytes that belong to no tensor",
                    f->path, (unsigned long long)at, (unsigned long long)f->size);
}

static int read_entries(const File *f, SafetensorsHeader *out, const cJSON *root) {
    size_t count = 0, n = 0;
    for (const cJSON *m = root->child; m; m = m->next) count++;
    SafetensorsEntry *entries = arena_alloc(f->arena, count, sizeof *entries);
    if (!entries) return error_memory(f->err, "the tensor table");
    for (const cJSON *m = root->child; m; m = m->next) {
        if (!strcmp(m->string, "__metadata__"))
            TRY(check_metadata(f, m));
        else
            TRY(read_entry(f, &entries[n++], m));
    }
    qsort(entries, n, sizeof *entries, compare_entries);
    *out = (SafetensorsHeader){n, entries};
    return check_places(f, out);
}

static int parse(const File *f, SafetensorsHeader *out, const char *text, size_t length) {
    if (length == 0 || text[0] != '{')
        return error_at(f->err, ERR_FORMAT, 8, "%s: the header does not begin with '{'", f->path);
    cJSON *root;
    int code = json_parse(&root, text, length, "header", f->err);
    if (code) return error_wrap(f->err, code, "%s", f->path);
    const char *odd = find_odd_number(text);
    code = odd ? error_at(f->err, ERR_FORMAT, 8 + (uint64_t)(odd - text),
                          "%s: the header holds a number that is not spelled as a plain "
                          "non-negative integer",
                          f->path)
               : read_entries(f, out, root);
    cJSON_Delete(root);
    return code;
}

int safetensors_read(SafetensorsHeader *out, const Input *in, Arena *arena, Error *err) {
    *out = (SafetensorsHeader){0};
    File f = {.path = input_path(in), .size = input_size(in), .arena = arena, .err = err};
    uint8_t prefix[8];
    if (f.size < sizeof prefix)
        return error_at(err, ERR_FORMAT, 0,
                        "%s has %llu bytes: too short for a safetensors file; it is truncated", f.path,
                        (unsigned long long)f.size);
    TRY(input_read(in, 0, prefix, sizeof prefix, err));
    uint64_t length = load_u64(prefix);
    if (length > MAX_HEADER)
        return error_at(
            err, ERR_FORMAT, 0,
            "%s: a header of %llu bytes is announced, above the format's limit of 100,000,000: this is no "
            "safetensors file",
            f.path, (unsigned long long)length);
    if (length > f.size - sizeof prefix)
        return error_at(
            err, ERR_FORMAT, 0,
            "%s: a header of %llu bytes is announced, but the file has %llu bytes; it is truncated: "
            "download it again",
            f.path, (unsigned long long)length, (unsigned long long)f.size);
    f.data = sizeof prefix + length;
    char *text = mem_alloc(NULL, (size_t)length + 1);
    if (!text) return error_memory(err, "a safetensors header");
    text[length] = 0;
    int code = input_read(in, sizeof prefix, text, (size_t)length, err);
    if (!code) code = parse(&f, out, text, (size_t)length);
    mem_free(NULL, text);
    return code;
}
