/* lora_gguf.c -- see lora_gguf.h. Tensors of the adapter are computed when read: parts of A and B as the lora
 * view knows them, as float32. */
#include "model/lora_gguf.h"

#include "core/floats.h"
#include "model/family.h"
#include "model/lora_private.h"
#include <string.h>

/* Side of a weight's pair, of all its experts. */
typedef struct Side {
    Lora *lora;
    const LoraOp **ops; /* one an expert; NULL: it has none, and zeros stand for it */
    uint64_t rows;      /* of one expert */
    uint32_t rank;      /* of the file's tensor: the largest of the experts' */
    bool turned;        /* rows are ranks */
    bool of_columns;    /* A's values, else B's */
    float *factors;     /* one an expert, times its values */
} Side;

/* Values (x, k) of rows x of one expert, as [n][rank]. */
static int load_expert(const Side *s, const LoraOp *op, float *out, uint64_t first, uint64_t n, Error *err) {
    return lora_load_rows(s->lora, out, s->of_columns ? &op->columns : &op->rows, op->rank, first, n, err);
}

/* Rows first .. first + n of one expert into out[n][elements]. */
static int side_rows(const Side *s, size_t expert, uint64_t first, uint64_t n, uint64_t elements, float *out,
                     Error *err) {
    const LoraOp *op = s->ops[expert];
    memset(out, 0, (size_t)(n * elements) * sizeof *out);
    if (!op) return 0;
    uint64_t count = s->turned ? elements : n;
    float *values = mem_alloc(NULL, (size_t)(count * op->rank) * sizeof *values), f = s->factors[expert];
    if (!values) return error_memory(err, "an adapter's rows");
    int code = load_expert(s, op, values, s->turned ? 0 : first, count, err);
    for (uint64_t r = 0; !code && r < n; r++)
        for (uint64_t i = 0; i < elements; i++) {
            uint64_t x = s->turned ? i : r, k = s->turned ? first + r : i;
            if (k < op->rank) out[r * elements + i] = f * values[x * op->rank + k];
        }
    mem_free(NULL, values);
    if (code || floats_first_nonfinite(DT_F32, out, (size_t)(n * elements)) == n * elements) return code;
    return error_set(err, ERR_NUMERIC, "adapter %s: %s has values that are NaN or infinite",
                     op->adapter->path, (s->of_columns ? op->columns : op->rows).entry->name);
}

static int apply_side(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                      const void *in, void *out, Error *err) {
    const Side *s = t->context;
    (void)in;
    for (uint64_t done = 0; done < n_rows;) {
        uint64_t row = first_row + done, left = s->rows - row % s->rows;
        uint64_t n = left < n_rows - done ? left : n_rows - done;
        TRY(side_rows(s, (size_t)(row / s->rows), row % s->rows, n, row_elements,
                      (float *)out + done * row_elements, err));
        done += n;
    }
    return 0;
}

/* ---- which weights ---- */

typedef struct Builder {
    const Lora *lora;
    Model *model;
    Tensor *tensors;
    size_t n, capacity;
    Table *names;
    float alpha; /* of the file; 0 until the first pair */
} Builder;

static int only_pair(const LoraOp **out, const LoraTensor *t, Error *err) {
    *out = t ? t->first : NULL;
    if (!*out || ((*out)->kind == LORA_OP_ADD && !(*out)->next)) return 0;
    return error_set(
        err, ERR_UNSUPPORTED,
        "tensor %s: the adapter does more to it than adding a pair (DoRA, a whole tensor, trained tokens), "
        "which llama.cpp's adapters can't say: merge it instead",
        t->base->name);
}

static int find_ops(const Builder *b, const TensorSpec *spec, const LoraOp **ops, uint32_t *rank,
                    Error *err) {
    const Model *base = b->lora->base;
    uint64_t n = spec->stacked ? spec->dims[2] : 1;
    *rank = 0;
    for (uint32_t e = 0; e < n; e++) {
        char name[160];
        if (!family_expert_name(spec, e, name, sizeof name))
            return error_set(err, ERR_LIMIT, "a name is too long");
        const Tensor *t = model_find(base, name);
        if (t) TRY(only_pair(&ops[e], b->lora->touched[t - base->tensors], err));
        if (ops[e] && ops[e]->rank > *rank) *rank = ops[e]->rank;
    }
    return 0;
}

static int add_tensor(Builder *b, const TensorSpec *spec, const char *end, Side side, uint64_t columns,
                      Error *err) {
    Arena *arena = b->model->arena;
    Side *s = arena_alloc(arena, 1, sizeof *s);
    Tensor *t = &b->tensors[b->n];
    *t = (Tensor){.name = arena_printf(arena, "%s%s", spec->gguf_name, end),
                  .type = DT_F32,
                  .stored = DT_F32,
                  .n_dims = spec->stacked ? 3 : 2,
                  .dims = {columns, side.rows, spec->stacked ? spec->dims[2] : 1, 1},
                  .n_transforms = 1};
    if (!s || !t->name || table_put(b->names, t->name, strlen(t->name), b->n))
        return error_memory(err, "an adapter's tensors");
    *s = side;
    t->transforms[0] = (RowTransform){.from = DT_F32, .to = DT_F32, .apply = apply_side, .context = s};
    b->n++;
    return 0;
}

/* What B must be multiplied with so that alpha / rank means each expert's scale. */
static int find_factors(Builder *b, float **out, const LoraOp **ops, size_t n, uint32_t rank, Error *err) {
    float *factors = *out = arena_alloc(b->model->arena, 2 * n, sizeof *factors);
    if (!factors) return error_memory(err, "an adapter's scales");
    for (size_t e = 0; e < n; e++) {
        float alpha = ops[e] ? (float)((double)ops[e]->scale * rank) : 1;
        if (ops[e] && b->alpha == 0) b->alpha = alpha;
        factors[e] = ops[e] ? (float)((double)alpha / (double)b->alpha) : 0;
        factors[n + e] = 1; /* A's */
    }
    return 0;
}

static int add_weight(Builder *b, const TensorSpec *spec, Error *err) {
    size_t n = spec->stacked ? (size_t)spec->dims[2] : 1;
    const LoraOp **ops = arena_alloc(b->model->arena, n, sizeof *ops);
    bool embedding = !strcmp(spec->gguf_name, "token_embd.weight");
    uint32_t rank;
    float *factors;
    if (!ops) return error_memory(err, "an adapter's tensors");
    TRY(find_ops(b, spec, ops, &rank, err));
    if (!rank) return 0;
    TRY(find_factors(b, &factors, ops, n, rank, err));
    uint64_t in = spec->dims[0], out = spec->dims[1];
    Side of_b = {.lora = (Lora *)b->lora, .ops = ops, .rank = rank, .rows = out, .factors = factors};
    Side of_a = {
        .lora = (Lora *)b->lora, .ops = ops, .rank = rank, .of_columns = true, .factors = factors + n};
    if (embedding) { /* [vocabulary, rank] and [d, rank] */
        of_a.rows = in;
        TRY(add_tensor(b, spec, ".lora_a", of_b, rank, err));
        return add_tensor(b, spec, ".lora_b", of_a, rank, err);
    }
    of_a.rows = rank;
    of_a.turned = true;
    TRY(add_tensor(b, spec, ".lora_a", of_a, in, err));
    return add_tensor(b, spec, ".lora_b", of_b, rank, err);
}

/* ---- the model ---- */

static int set_keys(Builder *b, const char *name, Error *err) {
    Metadata *m;
    TRY(metadata_open(&m, b->model->arena, err));
    TRY(metadata_set_string(m, "general.architecture", b->lora->base->family->name, err));
    TRY(metadata_set_string(m, "general.type", "adapter", err));
    TRY(metadata_set_string(m, "adapter.type", "lora", err));
    if (name) TRY(metadata_set_string(m, "general.name", name, err));
    TRY(metadata_set_f32(m, "adapter.lora.alpha", b->alpha, err));
    b->model->metadata = m;
    return metadata_set_u32(m, "general.quantization_version", 2, err);
}

static int build(Builder *b, const char *name, Error *err) {
    const Model *base = b->lora->base;
    size_t n = base->family->n_tensors(&base->params);
    b->tensors = arena_alloc(b->model->arena, 2 * n, sizeof *b->tensors);
    if (!b->tensors) return error_memory(err, "an adapter's tensors");
    TRY(table_open(&b->names, b->model->arena, 2 * n, err));
    for (size_t i = 0; i < n; i++) {
        TensorSpec spec;
        base->family->tensor(&base->params, i, &spec);
        TRY(add_weight(b, &spec, err));
    }
    b->model->tensors = b->tensors;
    b->model->n_tensors = b->n;
    b->model->names = b->names;
    return set_keys(b, name, err);
}

static void close_view(Model *m) {
    arena_close(m->arena);
}

static int check_view(const Model *view, Error *err) {
    const Lora *l = view->lora;
    if (!l || !l->base->family)
        return error_set(err, ERR_UNSUPPORTED, "%s: adapters become GGUFs for known architectures only: %s",
                         view->path, family_known());
    if (l->n_adapters == 1) return family_check_tensors(l->base, err);
    return error_set(err, ERR_UNSUPPORTED, "an adapter GGUF is made of one adapter; there are %zu",
                     l->n_adapters);
}

int lora_gguf_open(Model **out, const Model *view, const char *name, const Allocator *allocator, Error *err) {
    Arena *arena;
    *out = NULL;
    TRY(check_view(view, err));
    TRY(arena_open(&arena, allocator, err));
    Model *m = arena_alloc(arena, 1, sizeof *m);
    int code = m ? 0 : error_memory(err, "an adapter");
    if (!code) {
        *m = *view;
        m->form = FORM_GGUF;
        m->arena = arena;
        m->close = close_view;
        Builder b = {.lora = view->lora, .model = m};
        code = build(&b, name, err);
    }
    if (code)
        arena_close(arena);
    else
        *out = m;
    return code;
}

bool is_lora_gguf(const Model *m) {
    const char *type =
        m->form == FORM_GGUF && m->metadata ? metadata_string(m->metadata, "general.type") : NULL;
    return type && !strcmp(type, "adapter");
}
