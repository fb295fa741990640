/* imatrix.c -- importance matrices in their GGUF form: one tensor of sums and one of counts for each matrix,
 * and the lookup. The older form is imatrix_legacy.c's. */
#include "model/imatrix.h"

#include "model/gguf.h"
#include "model/imatrix_private.h"
#include <math.h>
#include <string.h>

/* Above what any model of today needs (a matrix of 1 GB stands for a model of a trillion parameters). */
static const uint64_t MAX_FILE = 1ull << 34;

/* ---- entries ---- */

int imatrix_reserve(ImatrixFile *f, size_t count, Error *err) {
    f->entries = arena_alloc(f->arena, count, sizeof *f->entries);
    if (!f->entries) return error_memory(err, "an importance matrix");
    return table_open(&f->names, f->arena, count, err);
}

int imatrix_add(ImatrixFile *f, ImatrixEntry e, Error *err) {
    int code = table_put(f->names, e.name, strlen(e.name), f->n_entries);
    if (code == -1) return error_set(err, ERR_FORMAT, "%s: %s has two entries", input_path(f->in), e.name);
    if (code) return error_memory(err, "an importance matrix");
    f->entries[f->n_entries++] = e;
    return 0;
}

int imatrix_check_values(const ImatrixFile *f, const char *name, const float *values, uint64_t count,
                         Error *err) {
    for (uint64_t i = 0; i < count; i++)
        if (!isfinite(values[i]) || values[i] < 0)
            return error_set(err, ERR_NUMERIC,
                             "%s: value %llu of %s is %g; sums of squares are finite and not negative, so "
                             "the file is damaged or was made by a broken run",
                             input_path(f->in), (unsigned long long)i, name, (double)values[i]);
    return 0;
}

/* ---- the GGUF form ---- */

static const char SUMS[] = ".in_sum2", COUNTS[] = ".counts";

static bool has_suffix(const char *s, const char *suffix) {
    size_t n = strlen(s), k = strlen(suffix);
    return n >= k && !strcmp(s + n - k, suffix);
}

/* The tensor of the same matrix with the other suffix. */
static const Tensor *find_partner(const Model *m, const Tensor *t, const char *suffix, const char *other) {
    char name[128];
    size_t stem = strlen(t->name) - strlen(suffix);
    if (stem + strlen(other) >= sizeof name) return NULL;
    memcpy(name, t->name, stem);
    memcpy(name + stem, other, strlen(other) + 1);
    return model_find(m, name);
}

static int read_values(const ImatrixFile *f, const float **out, const Tensor *t, Error *err) {
    float *values = arena_alloc(f->arena, (size_t)tensor_elements(t), sizeof *values);
    if (!values) return error_memory(err, "an importance matrix");
    int code = model_read(t, 0, tensor_rows(t), values, err);
    if (code) return error_wrap(err, code, "%s", input_path(f->in));
    *out = values;
    return imatrix_check_values(f, t->name, values, tensor_elements(t), err);
}

/* In place: sums become means. Counts are whole numbers, which the format keeps as floats. */
static void divide(float *sums, const float *counts, uint64_t n_in, uint64_t n_mat) {
    for (uint64_t m = 0; m < n_mat; m++) {
        float count = roundf(counts[m]);
        for (uint64_t i = 0; i < n_in; i++) sums[m * n_in + i] = count > 0 ? sums[m * n_in + i] / count : 1;
    }
}

static int check_pair(const ImatrixFile *f, const Tensor *sums, const Tensor *counts, Error *err) {
    const char *path = input_path(f->in);
    if (!counts)
        return error_set(err, ERR_FORMAT, "%s: tensor %s has no partner ending in %s", path, sums->name,
                         COUNTS);
    if (sums->type != DT_F32 || counts->type != DT_F32)
        return error_set(err, ERR_FORMAT, "%s: tensors %s and %s are %s and %s, expected F32", path,
                         sums->name, counts->name, dtype_name(sums->type), dtype_name(counts->type));
    uint64_t n = tensor_elements(sums), n_mat = tensor_elements(counts);
    if (!n || !n_mat || n % n_mat)
        return error_set(err, ERR_FORMAT, "%s: tensor %s has %llu values for %llu counts: no whole matrices",
                         path, sums->name, (unsigned long long)n, (unsigned long long)n_mat);
    return 0;
}

static int add_pair(ImatrixFile *f, const Model *m, const Tensor *sums, Error *err) {
    const Tensor *counts = find_partner(m, sums, SUMS, COUNTS);
    const float *values, *n;
    TRY(check_pair(f, sums, counts, err));
    size_t stem = strlen(sums->name) - strlen(SUMS);
    if (!stem)
        return error_set(err, ERR_FORMAT, "%s: tensor %s has no name before %s", input_path(f->in),
                         sums->name, SUMS);
    const char *name = arena_copy(f->arena, sums->name, stem);
    if (!name) return error_memory(err, "an importance matrix");
    TRY(read_values(f, &values, sums, err));
    TRY(read_values(f, &n, counts, err));
    uint64_t n_mat = tensor_elements(counts), n_in = tensor_elements(sums) / n_mat;
    divide((float *)values, n, n_in, n_mat);
    return imatrix_add(f, (ImatrixEntry){.name = name, .n_in = n_in, .n_mat = n_mat, .weights = values}, err);
}

static int take_u32(uint32_t *out, const ImatrixFile *f, const Metadata *m, const char *key, Error *err) {
    const GgufValue *v = metadata_get(m, key);
    if (v && v->type == GGUF_U32) {
        *out = (uint32_t)v->u;
        return 0;
    }
    return error_set(err, ERR_FORMAT, "%s: the key %s is missing or no u32: this is no importance matrix",
                     input_path(f->in), key);
}

static int take_datasets(ImatrixFile *f, const Metadata *m, Error *err) {
    const GgufValue *v = metadata_get(m, "imatrix.datasets");
    if (!v || v->type != GGUF_ARRAY || v->array.type != GGUF_STRING)
        return error_set(err, ERR_FORMAT,
                         "%s: the key imatrix.datasets is missing or no array of strings: this is no "
                         "importance matrix",
                         input_path(f->in));
    size_t n = (size_t)v->array.count;
    const char **names = arena_alloc(f->arena, n, sizeof *names);
    if (!names) return error_memory(err, "an importance matrix");
    for (size_t i = 0; i < n; i++) {
        const GgufString *s = &v->array.strings[i];
        if (memchr(s->data, 0, (size_t)s->length))
            return error_set(err, ERR_FORMAT, "%s: a name in imatrix.datasets holds a NUL",
                             input_path(f->in));
        names[i] = arena_copy(f->arena, s->data, (size_t)s->length);
        if (!names[i]) return error_memory(err, "an importance matrix");
    }
    f->datasets = names;
    f->n_datasets = n;
    return 0;
}

static int take_keys(ImatrixFile *f, const Metadata *m, Error *err) {
    const char *type = metadata_string(m, "general.type");
    if (type && strcmp(type, "imatrix") != 0)
        return error_set(err, ERR_FORMAT, "%s: general.type is \"%s\", expected \"imatrix\"",
                         input_path(f->in), type);
    TRY(take_datasets(f, m, err));
    TRY(take_u32(&f->chunk_count, f, m, "imatrix.chunk_count", err));
    return take_u32(&f->chunk_size, f, m, "imatrix.chunk_size", err);
}

/* Tensors with other endings are passed over, as llama.cpp does: a later version may add some. */
static int read_model(ImatrixFile *f, const Model *m, Error *err) {
    TRY(take_keys(f, m->metadata, err));
    TRY(imatrix_reserve(f, m->n_tensors, err));
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (has_suffix(t->name, SUMS)) {
            TRY(add_pair(f, m, t, err));
        } else if (has_suffix(t->name, COUNTS) && !find_partner(m, t, COUNTS, SUMS))
            return error_set(err, ERR_FORMAT, "%s: tensor %s has no partner ending in %s", input_path(f->in),
                             t->name, SUMS);
    }
    return 0;
}

/* A GGUF model owns its input, but ours is the caller's: it gets the same bytes by a second opening. */
static int read_gguf(ImatrixFile *f, const Allocator *allocator, Error *err) {
    Model *m;
    Input *in;
    if (input_fd(f->in) >= 0)
        TRY(input_open_fd(&in, input_fd(f->in), input_path(f->in), allocator, err));
    else {
        const uint8_t *bytes;
        TRY(input_map(f->in, &bytes, err));
        TRY(input_open_memory(&in, input_path(f->in), bytes, (size_t)input_size(f->in), allocator, err));
    }
    int code = gguf_open_shard(&m, in, allocator, err);
    if (code) {
        input_close(in);
        return code;
    }
    code = read_model(f, m, err);
    model_close(m);
    return code;
}

/* ---- opening ---- */

static int read_file(ImatrixFile *f, const Allocator *allocator, Error *err) {
    char magic[4];
    uint64_t size = input_size(f->in);
    if (size > MAX_FILE)
        return error_set(err, ERR_LIMIT, "%s: an importance matrix of more than 16 GiB", input_path(f->in));
    if (size < sizeof magic)
        return error_set(err, ERR_FORMAT, "%s: %llu bytes are no importance matrix", input_path(f->in),
                         (unsigned long long)size);
    TRY(input_read(f->in, 0, magic, sizeof magic, err));
    if (memcmp(magic, "GGUF", 4) == 0) f->is_gguf = true;
    TRY(f->is_gguf ? read_gguf(f, allocator, err) : imatrix_read_legacy(f, err));
    if (f->n_entries) return 0;
    return error_set(err, ERR_FORMAT, "%s: an importance matrix without an entry", input_path(f->in));
}

static int finish(Imatrix **out, const ImatrixFile *f, Error *err) {
    Imatrix *m = arena_alloc(f->arena, 1, sizeof *m);
    const char *name = arena_string(f->arena, input_name(f->in));
    if (!m || !name) return error_memory(err, "an importance matrix");
    *m = (Imatrix){.file_name = name,
                   .is_gguf = f->is_gguf,
                   .n_entries = f->n_entries,
                   .entries = f->entries,
                   .n_datasets = f->n_datasets,
                   .datasets = f->datasets,
                   .chunk_count = f->chunk_count,
                   .chunk_size = f->chunk_size,
                   .names = f->names,
                   .arena = f->arena};
    *out = m;
    return 0;
}

int imatrix_open_input(Imatrix **out, Input *in, const Allocator *allocator, Error *err) {
    *out = NULL;
    ImatrixFile f = {.in = in};
    TRY(arena_open(&f.arena, allocator, err));
    int code = read_file(&f, allocator, err);
    if (!code) code = finish(out, &f, err);
    if (code) arena_close(f.arena);
    return code;
}

int imatrix_open(Imatrix **out, const char *path, const Allocator *allocator, Error *err) {
    *out = NULL;
    Input *in;
    TRY(input_open(&in, path, allocator, err));
    int code = imatrix_open_input(out, in, allocator, err);
    input_close(in);
    return code;
}

void imatrix_close(Imatrix *m) {
    if (m) arena_close(m->arena);
}

/* ---- lookup ---- */

const ImatrixEntry *imatrix_find(const Imatrix *m, const char *tensor_name) {
    uint64_t i;
    return table_get(m->names, tensor_name, strlen(tensor_name), &i) ? &m->entries[i] : NULL;
}

int imatrix_weights(const float **out, const Imatrix *m, const Tensor *t, Error *err) {
    *out = NULL;
    const ImatrixEntry *e = imatrix_find(m, t->name);
    if (!e) return 0;
    uint64_t needed;
    if (u64_mul(&needed, t->dims[0], t->dims[2]) && e->n_in * e->n_mat == needed) {
        *out = e->weights;
        return 0;
    }
    if (!strcmp(t->name, "token_embd.weight") || !strcmp(t->name, "per_layer_token_embd.weight")) return 0;
    return error_set(
        err, ERR_CHECK,
        "%s: %llu values for the tensor %s, which has %llu columns in %llu matrices: it was made "
        "from another model",
        m->file_name, (unsigned long long)(e->n_in * e->n_mat), t->name, (unsigned long long)t->dims[0],
        (unsigned long long)t->dims[2]);
}
