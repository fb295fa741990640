/* family.c -- the table of families, and what all of them share: checking tensors against the expected ones,
 * and finding the Hugging Face names of a GGUF tensor. */
#include "model/family.h"
#include <stdio.h>
#include <string.h>

static const Family *const families[] = {&family_qwen3moe};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

const Family *family_by_gguf(const char *architecture) {
    for (size_t i = 0; architecture && i < N_FAMILIES; i++)
        if (!strcmp(families[i]->name, architecture)) return families[i];
    return NULL;
}

const Family *family_by_hf(const char *hf_architecture) {
    for (size_t i = 0; hf_architecture && i < N_FAMILIES; i++)
        if (!strcmp(families[i]->hf_architecture, hf_architecture)) return families[i];
    return NULL;
}

/* Spelled out, since a list joined at run time would need memory; a test compares it with the table. */
const char *family_known(void) {
    return "Qwen3MoeForCausalLM (qwen3moe)";
}

/* ---- checking ---- */

static void print_shape(char *out, size_t size, uint32_t n_dims, const uint64_t *dims) {
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < n_dims && used < size; i++) {
        int n = snprintf(out + used, size - used, "%s%llu", i ? ", " : "", (unsigned long long)dims[i]);
        if (n < 0) return;
        used += (size_t)n;
    }
}

/* GGUF tools drop trailing dimensions of 1 (ggml's own writer does), so there only the sizes count. */
static bool same_shape(const Tensor *t, uint32_t n_dims, const uint64_t *dims, ModelForm form) {
    if (form == FORM_HF && t->n_dims != n_dims) return false;
    for (uint32_t i = 0; i < TENSOR_MAX_DIMS; i++)
        if (t->dims[i] != (i < n_dims ? dims[i] : 1)) return false;
    return true;
}

typedef struct TensorCheck {
    const Model *model;
    bool *seen; /* by tensor index */
    size_t found;
} TensorCheck;

static int check_one(TensorCheck *c, const char *name, bool optional, uint32_t n_dims, const uint64_t *dims,
                     Error *err) {
    const Model *m = c->model;
    uint64_t index;
    bool there = table_get(m->names, name, strlen(name), &index);
    if (optional && m->form == FORM_HF && there == m->params.tied_embeddings)
        return error_set(
            err, ERR_FORMAT,
            there
                ? "%s: tie_word_embeddings is true, but there is a tensor %s; set it to false if that is the "
                  "output head"
                : "%s: tie_word_embeddings is false, but the tensor %s is missing",
            m->path, name);
    if (!there && optional) return 0;
    if (!there) return error_set(err, ERR_FORMAT, "%s: tensor %s is missing", m->path, name);
    const Tensor *t = &m->tensors[index];
    if (!same_shape(t, n_dims, dims, m->form)) {
        char expected[96], got[96];
        print_shape(expected, sizeof expected, n_dims, dims);
        print_shape(got, sizeof got, t->n_dims, t->dims);
        return error_set(err, ERR_FORMAT,
                         "%s: tensor %s has the shape {%s} (fastest dimension first), expected {%s}", m->path,
                         name, got, expected);
    }
    c->seen[index] = true;
    c->found++;
    return 0;
}

static int check_spec(TensorCheck *c, const TensorSpec *spec, Error *err) {
    if (c->model->form == FORM_GGUF)
        return check_one(c, spec->gguf_name, spec->optional, spec->n_dims, spec->dims, err);
    if (!spec->stacked) return check_one(c, spec->hf_name, spec->optional, spec->n_dims, spec->dims, err);
    for (uint32_t e = 0; e < spec->dims[2]; e++) {
        char name[160];
        if (!family_expert_name(spec, e, name, sizeof name))
            return error_set(err, ERR_LIMIT, "a tensor name is too long");
        TRY(check_one(c, name, spec->optional, 2, spec->dims, err));
    }
    return 0;
}

static int check_all(TensorCheck *c, Error *err) {
    const Model *m = c->model;
    size_t n = m->family->n_tensors(&m->params);
    for (size_t i = 0; i < n; i++) {
        TensorSpec spec;
        m->family->tensor(&m->params, i, &spec);
        TRY(check_spec(c, &spec, err));
    }
    if (c->found == m->n_tensors) return 0;
    for (size_t i = 0; i < m->n_tensors; i++)
        if (!c->seen[i])
            return error_set(err, ERR_UNSUPPORTED,
                             "%s: tensor %s is none that a %s of %u layers and %u experts has", m->path,
                             m->tensors[i].name, m->family->name, m->params.n_layers, m->params.n_experts);
    return 0;
}

int family_check_tensors(const Model *m, Error *err) {
    if (!m->family)
        return error_set(err, ERR_UNSUPPORTED, "%s: architecture %s is unknown; known: %s", m->path,
                         m->params.architecture, family_known());
    TensorCheck check = {.model = m, .seen = mem_alloc(NULL, m->n_tensors * sizeof(bool))};
    if (!check.seen) return error_memory(err, "the tensor check");
    memset(check.seen, 0, m->n_tensors * sizeof(bool));
    int code = check_all(&check, err);
    mem_free(NULL, check.seen);
    return code;
}

/* ---- names ---- */

/* "blk.12.x" -> 12, anything else -> -1: llama-quantize's first sorting key. */
static long layer_of(const char *gguf_name) {
    if (strncmp(gguf_name, "blk.", 4)) return -1;
    long layer = 0;
    const char *c = gguf_name + 4;
    for (; *c >= '0' && *c <= '9' && layer < 100000; c++) layer = 10 * layer + (*c - '0');
    return *c == '.' && c > gguf_name + 4 ? layer : -1;
}

static int compare_names(const char *a, const char *b) {
    long la = layer_of(a), lb = layer_of(b);
    if (la != lb) return la < lb ? -1 : 1;
    return strcmp(a, b);
}

bool family_expert_name(const TensorSpec *spec, uint32_t e, char *out, size_t size) {
    const char *hole = strstr(spec->hf_name, "%u");
    int n = hole ? snprintf(out, size, "%.*s%u%s", (int)(hole - spec->hf_name), spec->hf_name, e, hole + 2)
                 : snprintf(out, size, "%s", spec->hf_name);
    return n >= 0 && (size_t)n < size;
}

bool family_find_spec(const Family *family, const ModelParams *p, const char *gguf_name, TensorSpec *out) {
    size_t low = 0, high = family->n_tensors(p);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        family->tensor(p, middle, out);
        int order = compare_names(gguf_name, out->gguf_name);
        if (!order) return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

bool family_hf_name(const Model *m, const char *gguf_name, uint32_t e, char *out, size_t size,
                    uint32_t *count) {
    TensorSpec spec;
    if (!m->family || !family_find_spec(m->family, &m->params, gguf_name, &spec)) return false;
    uint32_t n = spec.stacked ? (uint32_t)spec.dims[2] : 1;
    if (count) *count = n;
    if (e >= n) return false;
    return family_expert_name(&spec, e, out, size);
}
