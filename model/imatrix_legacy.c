/* imatrix_legacy.c -- importance matrices in the older binary form (.dat).
 *
 * int32 entries; each: int32 length, name, int32 calls, int32 values, float32 values. Then, in all but the
 * oldest files, int32 chunks, int32 length, name of the text it was measured on. The form has no magic: what
 * is not exactly this is refused, with the byte. */
#include "model/imatrix_private.h"

#include <string.h>

enum {
    MIN_ENTRY_BYTES = 17, /* three numbers, one byte of name, one value */
    MAX_NAME = 1023       /* GGUF's limit is 63: whoever writes more holds something else in hand */
};

typedef struct Reader {
    ImatrixFile *f;
    uint64_t at, size;
    Error *err;
} Reader;

static int fail(const Reader *r, uint64_t at, const char *what, int64_t found) {
    return error_at(r->err, ERR_FORMAT, at,
                    "%s: %s is %lld; this is no importance matrix (GGUF, or llama.cpp's older format), or it "
                    "is damaged",
                    input_path(r->f->in), what, (long long)found);
}

static int take(Reader *r, void *out, uint64_t length, const char *what) {
    if (length > r->size - r->at)
        return error_at(r->err, ERR_FORMAT, r->at,
                        "%s: the file ends within %s: %llu bytes are needed, %llu are left; it is truncated, "
                        "or no importance matrix",
                        input_path(r->f->in), what, (unsigned long long)length,
                        (unsigned long long)(r->size - r->at));
    TRY(input_read(r->f->in, r->at, out, (size_t)length, r->err));
    r->at += length;
    return 0;
}

/* A number from least on. */
static int take_i32(Reader *r, int32_t *out, int32_t least, const char *what) {
    uint8_t bytes[4];
    uint64_t start = r->at;
    TRY(take(r, bytes, sizeof bytes, what));
    *out = (int32_t)load_u32(bytes);
    return *out >= least ? 0 : fail(r, start, what, *out);
}

static int take_text(Reader *r, const char **out, int32_t length, const char *what) {
    uint64_t start = r->at;
    if ((uint64_t)length > r->size - r->at) return fail(r, start, what, length);
    char *text = arena_alloc(r->f->arena, (size_t)length + 1, 1);
    if (!text) return error_memory(r->err, "an importance matrix");
    TRY(take(r, text, (uint64_t)length, what));
    if (memchr(text, 0, (size_t)length))
        return error_at(r->err, ERR_FORMAT, start, "%s: a name holds a NUL", input_path(r->f->in));
    *out = text;
    return 0;
}

static int take_name(Reader *r, const char **out) {
    int32_t length;
    uint64_t start = r->at;
    TRY(take_i32(r, &length, 1, "the length of a tensor's name"));
    if (length > MAX_NAME) return fail(r, start, "the length of a tensor's name", length);
    return take_text(r, out, length, "the length of a tensor's name");
}

static int take_values(Reader *r, float **out, int32_t count) {
    uint64_t bytes = (uint64_t)count * sizeof **out;
    if (bytes > r->size - r->at) /* before memory is asked for */
        return fail(r, r->at, "more than the file holds, the number of values,", count);
    *out = arena_alloc(r->f->arena, (size_t)count, sizeof **out);
    if (!*out) return error_memory(r->err, "an importance matrix");
    return take(r, *out, bytes, "values");
}

static int take_entry(Reader *r) {
    const char *name;
    int32_t calls, count;
    float *values = NULL;
    TRY(take_name(r, &name));
    TRY(take_i32(r, &calls, 0, "a count of calls"));
    TRY(take_i32(r, &count, 1, "a number of values"));
    TRY(take_values(r, &values, count));
    TRY(imatrix_check_values(r->f, name, values, (uint64_t)count, r->err));
    for (int32_t i = 0; calls > 0 && i < count; i++) values[i] /= (float)calls;
    return imatrix_add(
        r->f, (ImatrixEntry){.name = name, .n_in = (uint64_t)count, .n_mat = 1, .weights = values}, r->err);
}

/* What the oldest files lack. */
static int take_trailer(Reader *r) {
    int32_t chunks, length;
    TRY(take_i32(r, &chunks, 0, "the number of chunks"));
    r->f->chunk_count = (uint32_t)chunks;
    if (r->at == r->size) return 0;
    TRY(take_i32(r, &length, 0, "the length of the dataset's name"));
    if (!length) return 0;
    const char **names = arena_alloc(r->f->arena, 1, sizeof *names);
    if (!names) return error_memory(r->err, "an importance matrix");
    TRY(take_text(r, names, length, "the length of the dataset's name"));
    r->f->datasets = names;
    r->f->n_datasets = 1;
    return 0;
}

int imatrix_read_legacy(ImatrixFile *f, Error *err) {
    Reader r = {.f = f, .size = input_size(f->in), .err = err};
    int32_t count;
    TRY(take_i32(&r, &count, 1, "the number of entries"));
    if ((uint64_t)count > (r.size - r.at) / MIN_ENTRY_BYTES)
        return fail(&r, 0, "more than the file holds, the number of entries,", count);
    TRY(imatrix_reserve(f, (size_t)count, err));
    for (int32_t i = 0; i < count; i++) {
        int code = take_entry(&r);
        if (code) return error_wrap(err, code, "entry %d of %d", i + 1, count);
    }
    if (r.at < r.size) TRY(take_trailer(&r));
    if (r.at < r.size)
        return error_at(err, ERR_FORMAT, r.at, "%s: %llu bytes follow the end of the importance matrix",
                        input_path(f->in), (unsigned long long)(r.size - r.at));
    return 0;
}
