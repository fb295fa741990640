/* digest.c -- see digest.h. Reads no tensor data. */
#include "model/digest.h"

#include "model/family.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list ---- */

typedef struct Builder {
    DigestList *list;
    size_t capacity;
    const Model *model;
    Arena *arena;
} Builder;

static int add(Builder *b, const Tensor *t, const char *hf_name, uint64_t first_row, uint64_t n_rows,
               uint32_t n_dims, Error *err) {
    DigestList *list = b->list;
    if (list->n == b->capacity) {
        size_t capacity = b->capacity ? 2 * b->capacity : 256;
        DigestEntry *more = arena_alloc(b->arena, capacity, sizeof *more);
        if (!more) return error_memory(err, "the weights digest");
        if (list->n) memcpy(more, list->entries, list->n * sizeof *more);
        list->entries = more;
        b->capacity = capacity;
    }
    DigestEntry *e = &list->entries[list->n++];
    *e = (DigestEntry){
        .tensor = t, .first_row = first_row, .n_rows = n_rows, .hf_name = hf_name, .n_dims = n_dims};
    memcpy(e->dims, t->dims, n_dims * sizeof *e->dims);
    return 0;
}

static int check_shape(const Model *m, const Tensor *t, const TensorSpec *spec, Error *err) {
    for (uint32_t i = 0; i < TENSOR_MAX_DIMS; i++)
        if (t->dims[i] != (i < spec->n_dims ? spec->dims[i] : 1))
            return error_set(err, ERR_FORMAT,
                             "%s: tensor %s does not have the shape that the parameters ask for", m->path,
                             t->name);
    return 0;
}

/* A GGUF tensor as the Hugging Face tensors it stands for. Dimensions come from the family, since GGUF tools
 * may drop a trailing 1. */
static int add_gguf_tensor(Builder *b, const Tensor *t, Error *err) {
    const Model *m = b->model;
    TensorSpec spec;
    if (!family_find_spec(m->family, &m->params, t->name, &spec))
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: tensor %s is none of the family %s, so the weights have no digest", m->path,
                         t->name, m->family->name);
    TRY(check_shape(m, t, &spec, err));
    uint64_t count = spec.stacked ? spec.dims[2] : 1, rows = tensor_rows(t) / count;
    uint32_t n_dims = spec.stacked ? 2 : spec.n_dims;
    for (uint32_t e = 0; e < count; e++) {
        char name[160];
        if (!family_expert_name(&spec, e, name, sizeof name))
            return error_set(err, ERR_LIMIT, "a tensor name is too long");
        const char *kept = arena_string(b->arena, name);
        if (!kept) return error_memory(err, "the weights digest");
        TRY(add(b, t, kept, e * rows, rows, n_dims, err));
    }
    return 0;
}

int digest_list(DigestList *out, const Model *m, Arena *arena, Error *err) {
    *out = (DigestList){.n = 0};
    Builder b = {.list = out, .model = m, .arena = arena};
    if (!m->family)
        return error_set(err, ERR_UNSUPPORTED, "%s: weights of the architecture %s have no digest; known: %s",
                         m->path, m->params.architecture, family_known());
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (!dtype_is_float(t->type))
            return error_set(err, ERR_UNSUPPORTED,
                             "%s: tensor %s is %s; only F32, F16 and BF16 weights have a digest", m->path,
                             t->name, dtype_name(t->type));
        if (m->form == FORM_GGUF)
            TRY(add_gguf_tensor(&b, t, err));
        else
            TRY(add(&b, t, t->name, 0, tensor_rows(t), t->n_dims, err));
    }
    return 0;
}

/* ---- the digest ---- */

/* "<sha256>  <type> [<shape>] <name>\n" */
static void hash_line(Sha256 *sha, const DigestEntry *e) {
    char text[SHA256_HEX + 16 + TENSOR_MAX_DIMS * 24];
    size_t used = (size_t)snprintf(text, sizeof text, "%s  %s [", e->sha256, dtype_name(e->as));
    for (uint32_t i = e->n_dims; i-- > 0;)
        used += (size_t)snprintf(text + used, sizeof text - used, "%llu%s", (unsigned long long)e->dims[i],
                                 i ? "," : "");
    used += (size_t)snprintf(text + used, sizeof text - used, "] ");
    sha256_update(sha, text, used);
    sha256_update(sha, e->hf_name, strlen(e->hf_name));
    sha256_update(sha, "\n", 1);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const DigestEntry *)a)->hf_name, ((const DigestEntry *)b)->hf_name);
}

int digest_lines(DigestList *list, char hex[SHA256_HEX], Error *err) {
    Sha256 *sha;
    if (list->n) qsort(list->entries, list->n, sizeof *list->entries, compare_names);
    TRY(sha256_open(&sha, err));
    for (size_t i = 0; i < list->n; i++) hash_line(sha, &list->entries[i]);
    sha256_finish(sha, hex);
    sha256_close(sha);
    return hex[0] ? 0 : error_set(err, ERR_MEMORY, "OpenSSL failed to compute a SHA-256");
}
