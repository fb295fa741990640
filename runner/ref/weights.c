/* weights.c -- finds every tensor of a qwen3moe model, checks type and shape, and points at its bytes. */
#include "runner/ref/weights.h"
#include "core/floats.h"
#include "core/quantize.h"
#include "runner/ref/quantized.h"
#include <inttypes.h>
#include <stdio.h>

typedef struct Loader {
    const Model *model;
    Arena *arena;
    bool *quantized; /* of the Weights */
} Loader;

static void shape_text(char *buf, size_t size, uint32_t n_dims, const uint64_t dims[4]) {
    size_t used = 0;
    for (uint32_t i = 0; i < n_dims && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%" PRIu64, i ? ", " : "", dims[i]);
    if (!n_dims) buf[0] = 0;
}

/* dims as ggml orders them: columns first. */
static int find(const Tensor **out, const Loader *load, const char *name, uint32_t n_dims,
                const uint64_t dims[4], Error *err) {
    const Tensor *t = model_find(load->model, name);
    if (!t)
        return error_set(err, ERR_FORMAT, "%s: tensor %s is missing; the runner needs it", load->model->path,
                         name);
    bool same = t->n_dims == n_dims;
    for (uint32_t i = 0; same && i < n_dims; i++) same = t->dims[i] == dims[i];
    if (!same) {
        char found[100], expected[100];
        shape_text(found, sizeof found, t->n_dims, t->dims);
        shape_text(expected, sizeof expected, n_dims, dims);
        return error_set(err, ERR_FORMAT,
                         "%s: tensor %s has shape [%s], expected [%s] from the model's parameters",
                         load->model->path, name, found, expected);
    }
    bool quantized = quantized_knows(t->type) && quantizer_of(t->type);
    if (!dtype_is_float(t->type) && !quantized)
        return error_set(err, ERR_UNSUPPORTED, "%s: tensor %s is %s, a type that the runner does not take",
                         load->model->path, name, dtype_name(t->type));
    *load->quantized |= quantized;
    *out = t;
    return 0;
}

/* Rows first .. first + rows of a tensor. */
static int load_rows(Matrix *out, const Loader *load, const Tensor *t, uint64_t first, uint64_t rows,
                     Error *err) {
    const void *data;
    size_t bytes;
    *out = (Matrix){.type = t->type,
                    .rows = (size_t)rows,
                    .columns = (size_t)t->dims[0],
                    .row_bytes = (size_t)tensor_row_bytes(t)};
    TRY(tensor_map(t, first, rows, &data, err));
    if (!data) {
        void *memory =
            size_mul(&bytes, out->rows, out->row_bytes) ? arena_alloc(load->arena, 1, bytes) : NULL;
        if (!memory)
            return error_set(err, ERR_MEMORY, "no memory for %" PRIu64 " bytes of tensor %s", tensor_bytes(t),
                             t->name);
        TRY(model_read(t, first, rows, memory, err));
        data = memory;
    }
    out->data = data;
    return 0;
}

static int load_matrix(Matrix *out, const Loader *load, const char *name, uint64_t rows, uint64_t columns,
                       Error *err) {
    const Tensor *t;
    TRY(find(&t, load, name, 2, (uint64_t[4]){columns, rows, 1, 1}, err));
    return load_rows(out, load, t, 0, rows, err);
}

static int load_experts(const Matrix **out, const Loader *load, const char *name, uint64_t experts,
                        uint64_t rows, uint64_t columns, Error *err) {
    const Tensor *t;
    TRY(find(&t, load, name, 3, (uint64_t[4]){columns, rows, experts, 1}, err));
    Matrix *list = arena_alloc(load->arena, (size_t)experts, sizeof *list);
    if (!list) return error_memory(err, "the table of experts");
    for (uint64_t e = 0; e < experts; e++) TRY(load_rows(&list[e], load, t, e * rows, rows, err));
    *out = list;
    return 0;
}

static int load_norm(const float **out, const Loader *load, const char *name, uint64_t n, Error *err) {
    const Tensor *t;
    Matrix row;
    TRY(find(&t, load, name, 1, (uint64_t[4]){n, 1, 1, 1}, err));
    TRY(load_rows(&row, load, t, 0, 1, err));
    float *values = arena_alloc(load->arena, (size_t)n, sizeof *values);
    if (!values) return error_memory(err, name);
    *out = values;
    return floats_convert(DT_F32, values, row.type, row.data, (size_t)n, err);
}

static int load_layer(LayerWeights *out, const Loader *load, uint32_t layer, Error *err) {
    const ModelParams *p = &load->model->params;
    uint64_t d = p->n_embd, h = p->head_dim, heads = p->n_heads * h, kv_heads = p->n_kv_heads * h;
    char name[64];
#define NAME(part) (snprintf(name, sizeof name, "blk.%u." part ".weight", layer), name)
    TRY(load_norm(&out->attn_norm, load, NAME("attn_norm"), d, err));
    TRY(load_matrix(&out->q, load, NAME("attn_q"), heads, d, err));
    TRY(load_matrix(&out->k, load, NAME("attn_k"), kv_heads, d, err));
    TRY(load_matrix(&out->v, load, NAME("attn_v"), kv_heads, d, err));
    TRY(load_matrix(&out->o, load, NAME("attn_output"), d, heads, err));
    TRY(load_norm(&out->q_norm, load, NAME("attn_q_norm"), h, err));
    TRY(load_norm(&out->k_norm, load, NAME("attn_k_norm"), h, err));
    TRY(load_norm(&out->ffn_norm, load, NAME("ffn_norm"), d, err));
    TRY(load_matrix(&out->router, load, NAME("ffn_gate_inp"), p->n_experts, d, err));
    TRY(load_experts(&out->gate, load, NAME("ffn_gate_exps"), p->n_experts, p->n_ff_expert, d, err));
    TRY(load_experts(&out->up, load, NAME("ffn_up_exps"), p->n_experts, p->n_ff_expert, d, err));
    return load_experts(&out->down, load, NAME("ffn_down_exps"), p->n_experts, d, p->n_ff_expert, err);
#undef NAME
}

int weights_open(Weights *out, const Model *model, Arena *arena, Error *err) {
    const ModelParams *p = &model->params;
    Loader load = {.model = model, .arena = arena, .quantized = &out->quantized};
    out->quantized = false;
    TRY(load_matrix(&out->embedding, &load, "token_embd.weight", p->n_vocab, p->n_embd, err));
    out->head = out->embedding;
    if (model_find(model, "output.weight"))
        TRY(load_matrix(&out->head, &load, "output.weight", p->n_vocab, p->n_embd, err));
    else if (!p->tied_embeddings)
        return error_set(err, ERR_FORMAT, "%s: tensor output.weight is missing, and embeddings are not tied",
                         model->path);
    TRY(load_norm(&out->norm, &load, "output_norm.weight", p->n_embd, err));
    LayerWeights *layers = arena_alloc(arena, p->n_layers, sizeof *layers);
    if (!layers) return error_memory(err, "the table of layers");
    for (uint32_t i = 0; i < p->n_layers; i++) TRY(load_layer(&layers[i], &load, i, err));
    out->layers = layers;
    return 0;
}

int weights_bytes(uint64_t *mapped, uint64_t *read, bool *quantized, const Model *model, Error *err) {
    *mapped = *read = 0;
    *quantized = false;
    for (size_t i = 0; i < model->n_tensors; i++) {
        const Tensor *t = &model->tensors[i];
        uint64_t rows = tensor_rows(t),
                 some = t->n_dims == 3 ? t->dims[1] : rows; /* one expert tells for all */
        const void *data = NULL;
        if (rows) TRY(tensor_map(t, 0, some, &data, err));
        *(data ? mapped : read) += tensor_bytes(t);
        if (t->n_dims == 1) *read += tensor_elements(t) * sizeof(float);
        *quantized |= !dtype_is_float(t->type);
    }
    return 0;
}
