/* model.c -- what every model can do: find a tensor, read its rows, open whatever stands at a path. */
#include "model/model.h"

#include "model/checkpoint.h"
#include "model/gguf.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Scratch for one step of a chain of transforms. Large enough that a step's cost is its work, small enough
 * for the cache. */
enum { STEP_BYTES = 1 << 20 };

void model_close(Model *m) {
    if (m) m->close(m);
}

const Tensor *model_find(const Model *m, const char *name) {
    uint64_t index;
    return table_get(m->names, name, strlen(name), &index) ? &m->tensors[index] : NULL;
}

uint64_t tensor_rows(const Tensor *t) {
    return t->dims[1] * t->dims[2] * t->dims[3];
}

uint64_t tensor_elements(const Tensor *t) {
    return t->dims[0] * tensor_rows(t);
}

/* Row sizes were checked when the model was opened: dims[0] is a multiple of the block and nothing overflows.
 */
static uint64_t row_bytes(DType type, uint64_t elements) {
    uint64_t bytes;
    return dtype_bytes(type, elements, &bytes) ? bytes : 0;
}

uint64_t tensor_row_bytes(const Tensor *t) {
    return row_bytes(t->type, t->dims[0]);
}

uint64_t tensor_bytes(const Tensor *t) {
    return tensor_rows(t) * tensor_row_bytes(t);
}

uint64_t tensor_stored_bytes(const Tensor *t) {
    return tensor_rows(t) * row_bytes(t->stored, t->dims[0]);
}

int tensor_read_stored(const Tensor *t, uint64_t offset, void *buffer, size_t length, Error *err) {
    uint8_t *to = buffer;
    for (uint32_t i = 0; i < t->n_extents && length; i++) {
        const Extent *e = &t->extents[i];
        if (offset >= e->length) {
            offset -= e->length;
            continue;
        }
        uint64_t here = e->length - offset;
        size_t n = here < length ? (size_t)here : length;
        int code = input_read(e->file, e->offset + offset, to, n, err);
        if (code) return error_wrap(err, code, "tensor %s", t->name);
        to += n;
        length -= n;
        offset = 0;
    }
    if (length)
        return error_set(err, ERR_FORMAT, "tensor %s: %zu bytes were asked for beyond its end", t->name,
                         length);
    return 0;
}

/* ---- reading through transforms ---- */

static int check_rows(const Tensor *t, uint64_t first_row, uint64_t n_rows, Error *err) {
    uint64_t rows = tensor_rows(t);
    if (first_row <= rows && n_rows <= rows - first_row) return 0;
    return error_set(err, ERR_LIMIT,
                     "tensor %s: rows from %llu on, %llu of them, were asked for; it has %llu", t->name,
                     (unsigned long long)first_row, (unsigned long long)n_rows, (unsigned long long)rows);
}

/* Rows go through the chain a step at a time; two scratch buffers take turns and the last transform writes to
 * `out`. */
static int read_step(const Tensor *t, uint64_t first_row, uint64_t n_rows, uint8_t *scratch[2], void *out,
                     Error *err) {
    uint64_t stored = row_bytes(t->stored, t->dims[0]);
    if (t->n_extents) /* else the first transform makes the rows of nothing */
        TRY(tensor_read_stored(t, first_row * stored, scratch[0], (size_t)(n_rows * stored), err));
    const void *in = scratch[0];
    for (uint32_t i = 0; i < t->n_transforms; i++) {
        const RowTransform *f = &t->transforms[i];
        void *to = i + 1 == t->n_transforms ? out : scratch[(i + 1) % 2];
        int code = f->apply(f, first_row, n_rows, t->dims[0], in, to, err);
        if (code) return error_wrap(err, code, "tensor %s", t->name);
        in = to;
    }
    return 0;
}

static int read_transformed(const Tensor *t, uint64_t first_row, uint64_t n_rows, uint8_t *out, Error *err) {
    uint64_t widest = row_bytes(t->stored, t->dims[0]);
    for (uint32_t i = 0; i < t->n_transforms; i++) {
        uint64_t bytes = row_bytes(t->transforms[i].to, t->dims[0]);
        if (bytes > widest) widest = bytes;
    }
    uint64_t step = widest && widest < STEP_BYTES ? STEP_BYTES / widest : 1;
    if (step > n_rows) step = n_rows;
    uint8_t *scratch[2] = {mem_alloc(NULL, (size_t)(step * widest)),
                           mem_alloc(NULL, (size_t)(step * widest))};
    int code = scratch[0] && scratch[1] ? 0 : error_memory(err, "rows of a tensor");
    uint64_t made = tensor_row_bytes(t);
    for (uint64_t done = 0; !code && done < n_rows; done += step) {
        uint64_t n = n_rows - done < step ? n_rows - done : step;
        code = read_step(t, first_row + done, n, scratch, out + done * made, err);
    }
    mem_free(NULL, scratch[0]);
    mem_free(NULL, scratch[1]);
    return code;
}

int model_read(const Tensor *t, uint64_t first_row, uint64_t n_rows, void *buffer, Error *err) {
    TRY(check_rows(t, first_row, n_rows, err));
    if (n_rows == 0 || t->dims[0] == 0) return 0;
    if (t->n_transforms) return read_transformed(t, first_row, n_rows, buffer, err);
    uint64_t bytes = tensor_row_bytes(t);
    return tensor_read_stored(t, first_row * bytes, buffer, (size_t)(n_rows * bytes), err);
}

/* ---- mapping ---- */

/* What a pointer to elements of a type must be a multiple of. Block formats begin with or hold 16-bit scales;
 * Q8_K a float. */
static size_t type_alignment(DType type) {
    const DTypeInfo *info = dtype_info(type);
    if (!info || type == DT_Q8_K) return 4;
    return info->block == 1 ? info->bytes : 2;
}

int tensor_map(const Tensor *t, uint64_t first_row, uint64_t n_rows, const void **out, Error *err) {
    *out = NULL;
    TRY(check_rows(t, first_row, n_rows, err));
    if (t->n_transforms) return 0;
    uint64_t bytes = tensor_row_bytes(t), offset = first_row * bytes, length = n_rows * bytes;
    for (uint32_t i = 0; i < t->n_extents; i++) {
        const Extent *e = &t->extents[i];
        if (offset >= e->length) {
            offset -= e->length;
            continue;
        }
        if (length > e->length - offset) return 0;
        const uint8_t *base;
        int code = input_map(e->file, &base, err);
        if (code) return error_wrap(err, code, "tensor %s", t->name);
        const uint8_t *p = base + e->offset + offset;
        if ((uintptr_t)p % type_alignment(t->stored) == 0) *out = p;
        return 0;
    }
    return 0;
}

/* ---- opening ---- */

int model_open(Model **out, const char *path, const Allocator *allocator, Error *err) {
    *out = NULL;
    struct stat st;
    if (stat(path, &st)) return error_sys(err, ERR_IO, errno, "%s", path);
    if (S_ISDIR(st.st_mode)) return checkpoint_open(out, path, allocator, err);
    Input *in;
    TRY(input_open(&in, path, allocator, err));
    char magic[4] = {0};
    int code = input_size(in) < sizeof magic ? 0 : input_read(in, 0, magic, sizeof magic, err);
    if (!code && memcmp(magic, "GGUF", sizeof magic))
        code = error_at(
            err, ERR_FORMAT, 0,
            "%s is neither a GGUF file (it does not begin with GGUF) nor a checkpoint directory%s", path,
            strstr(path, ".safetensors") ? "; name the directory that holds it and config.json" : "");
    if (!code) code = gguf_open_input(out, in, allocator, err);
    if (code) input_close(in);
    return code;
}
