/* lora_map.c -- which tensors of the base an adapter's keys are for, and what they do to them.
 *
 * Nothing may be left over on either side: a key that matches no tensor, and (lora_check.c) a module that the
 * configuration targets but that has no pair, are errors. So are two modules that would change the same
 * tensor. */
#include "core/json.h"
#include "core/quantize.h"
#include "model/lora_private.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 512, LARGEST_RANK = 1 << 16 };

/* ---- operations on tensors ---- */

static int too_long(const LoraMapping *m, const char *path) {
    return error_set(m->err, ERR_LIMIT, "the name of module %s is too long", path);
}

static const Tensor *base_tensor(const LoraMapping *m, const char *path, const char *tail) {
    char name[NAME_SIZE];
    int n = snprintf(name, sizeof name, "%s%s", path, tail);
    return n > 0 && (size_t)n < sizeof name ? model_find(m->lora->base, name) : NULL;
}

static int check_tensor(const LoraMapping *m, const Tensor *t) {
    bool ties = !strcmp(t->name, "model.embed_tokens.weight") || !strcmp(t->name, "lm_head.weight");
    bool readable = dtype_is_float(t->type) || (m->lora->beside && quantizer_of(t->type));
    if (!readable || t->n_transforms)
        return error_set(m->err, ERR_UNSUPPORTED,
                         "tensor %s is %s: adapters are merged into F32, F16 or BF16 weights; give the "
                         "checkpoint as it was before it was quantized",
                         t->name, dtype_name(t->type));
    if (ties && m->tied)
        return error_set(m->err, ERR_UNSUPPORTED,
                         "it changes %s, and this model's embedding and head are one tensor "
                         "(tie_word_embeddings): changing one would change the other, which the adapter does "
                         "not say",
                         t->name);
    return 0;
}

LoraTensor *lora_touch(Lora *l, const Tensor *t) {
    LoraTensor **slot = &l->touched[t - l->base->tensors];
    if (*slot) return *slot;
    uint64_t words = (tensor_rows(t) + 63) / 64;
    LoraTensor *lt = arena_alloc(l->model.arena, 1, sizeof *lt);
    uint64_t *seen = arena_alloc(l->model.arena, (size_t)words, sizeof *seen);
    if (!lt || !seen) return NULL;
    *lt = (LoraTensor){.lora = l, .base = t, .seen = seen};
    l->n_touched++;
    return *slot = lt;
}

/* One module for one tensor: the base's own rows beside a pair (LORA_BASE) are the exception. */
static int add_op(const LoraMapping *m, const Tensor *t, LoraOp op, const char *module) {
    TRY(check_tensor(m, t));
    LoraTensor *lt = lora_touch(m->lora, t);
    LoraOp *copy = lt ? arena_alloc(m->arena, 1, sizeof *copy) : NULL;
    if (!copy) return error_memory(m->err, "what an adapter changes");
    op.adapter = m->adapter;
    op.next = NULL;
    *copy = op;
    const LoraOp *last = lt->last;
    bool own = last && last->adapter == m->adapter;
    if (own && !(last->kind == LORA_OP_REPLACE && last->target == LORA_NO_TARGET))
        return error_set(m->err, ERR_FORMAT, "%s: tensor %s is changed by another module already", module,
                         t->name);
    if (last && !own && op.kind == LORA_OP_REPLACE)
        return error_set(m->err, ERR_UNSUPPORTED,
                         "%s: it replaces tensor %s, so what adapter %s did to it would be lost", module,
                         t->name, last->adapter->path);
    if (lt->last)
        lt->last->next = copy;
    else
        lt->first = copy;
    lt->last = copy;
    if (!own) m->adapter->info.n_tensors++;
    return 0;
}

static int add_target(const LoraMapping *m, size_t *out, const char *name) {
    Lora *l = m->lora;
    uint64_t index;
    char key[NAME_SIZE + 24];
    int n = snprintf(key, sizeof key, "%zu %s", m->adapter->index, name);
    if (n < 0 || (size_t)n >= sizeof key) return too_long(m, name);
    if (table_get(l->target_names, key, (size_t)n, &index)) {
        *out = (size_t)index;
        return 0;
    }
    if (l->n_targets == l->targets_capacity) {
        size_t capacity = l->targets_capacity ? 2 * l->targets_capacity : 256;
        LoraTarget *more = arena_alloc(m->arena, capacity, sizeof *more);
        if (!more) return error_memory(m->err, "an adapter's targets");
        if (l->n_targets) memcpy(more, l->targets, l->n_targets * sizeof *more);
        l->targets = more;
        l->targets_capacity = capacity;
    }
    const char *copy = arena_copy(m->arena, key, (size_t)n);
    if (!copy || table_put(l->target_names, copy, (size_t)n, l->n_targets))
        return error_memory(m->err, "an adapter's targets");
    *out = l->n_targets;
    l->targets[l->n_targets++] = (LoraTarget){copy + (strchr(copy, ' ') - copy) + 1, m->adapter};
    return 0;
}

/* ---- shapes ---- */

static void print_shape(char out[64], const SafetensorsEntry *e) {
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < e->n_dims && used < 64; i++)
        used +=
            (size_t)snprintf(out + used, 64 - used, "%s%llu", i ? ", " : "", (unsigned long long)e->shape[i]);
}

static int wrong_shape(const LoraMapping *m, const SafetensorsEntry *e, const char *expected) {
    char shape[64];
    print_shape(shape, e);
    return error_set(m->err, ERR_FORMAT,
                     "key %s has the shape [%s], %s was expected: the adapter was made for another model",
                     e->name, shape, expected);
}

static int expect_matrix(const LoraMapping *m, const SafetensorsEntry *e, uint64_t rows, uint64_t columns) {
    char expected[64];
    if (e->n_dims == 2 && e->shape[0] == rows && e->shape[1] == columns) return 0;
    snprintf(expected, sizeof expected, "[%llu, %llu]", (unsigned long long)rows,
             (unsigned long long)columns);
    return wrong_shape(m, e, expected);
}

static int expect_vector(const LoraMapping *m, const SafetensorsEntry *e, uint64_t n) {
    char expected[64];
    uint64_t elements = e->n_dims == 1 || (e->n_dims == 2 && e->shape[1] == 1) ? e->shape[0] : 0;
    if (elements == n && n) return 0;
    snprintf(expected, sizeof expected, "[%llu]", (unsigned long long)n);
    return wrong_shape(m, e, expected);
}

/* The rank that the shapes have must be the one that the configuration gives the module. */
static int check_rank(const LoraMapping *m, const char *module, uint64_t rank) {
    uint32_t expected = (uint32_t)rank;
    if (m->adapter->gguf && rank && rank <= LARGEST_RANK) return 0; /* it says nothing else */
    TRY(lora_config_rank(&expected, &m->adapter->config, module, m->err));
    if (rank == expected && rank <= LARGEST_RANK) return 0;
    return error_set(m->err, ERR_FORMAT, "module %s: its pair has rank %llu, but %s gives it %u", module,
                     (unsigned long long)rank, LORA_CONFIG_FILE, expected);
}

static int find_scale(const LoraMapping *m, float *out, const char *module, uint32_t rank) {
    double alpha;
    TRY(lora_config_alpha(&alpha, &m->adapter->config, module, m->err));
    if (m->adapter->gguf && alpha == 0) alpha = rank; /* llama.cpp: then the scale is 1 */
    double by = m->adapter->config.rslora ? sqrt((double)rank) : (double)rank;
    *out = (float)(alpha / by * m->adapter->info.scale);
    if (isfinite(*out) && *out != 0) return 0;
    return error_set(m->err, ERR_UNSUPPORTED,
                     "module %s: lora_alpha %g gives a scale of %g: nothing would change", module, alpha,
                     (double)*out);
}

static int half_a_pair(const LoraMapping *m, const LoraModule *module, const char *there,
                       const char *missing) {
    return error_set(m->err, ERR_FORMAT, "module %s has %s but no %s: half a pair can't be merged",
                     module->path, there, missing);
}

/* A parameter that PEFT wraps as such (target_parameters) is changed in two steps there. */
bool lora_is_wrapped(const LoraMapping *m, const char *path, const char *parameter) {
    char name[NAME_SIZE];
    int n = snprintf(name, sizeof name, "%s.%s", path, parameter);
    return n > 0 && (size_t)n < sizeof name && lora_listed(m->adapter->config.target_parameters, name);
}

/* ---- linear layers ---- */

static int dora_part(const LoraMapping *m, LoraModule *module, uint64_t rows, const SafetensorsEntry **out) {
    *out = module->parts[LORA_MAGNITUDE];
    if (m->adapter->config.dora && !*out)
        return error_set(m->err, ERR_FORMAT,
                         "module %s: use_dora is true, but it has no lora_magnitude_vector", module->path);
    if (!*out) return 0;
    if (!m->adapter->config.dora)
        return error_set(m->err, ERR_FORMAT, "key %s: a magnitude belongs to DoRA, but use_dora is false",
                         (*out)->name);
    return expect_vector(m, *out, rows);
}

static int map_bias(const LoraMapping *m, const LoraModule *module, float scale) {
    const SafetensorsEntry *e = module->parts[LORA_B_BIAS];
    if (!e && m->adapter->config.lora_bias)
        return error_set(m->err, ERR_FORMAT, "lora_bias is true, but module %s has no lora_B.bias",
                         module->path);
    if (!e) return 0;
    const Tensor *t = base_tensor(m, module->path, ".bias");
    if (!t)
        return error_set(m->err, ERR_UNSUPPORTED,
                         "key %s: the base's layer has no bias to add it to (lora_bias)", e->name);
    TRY(expect_vector(m, e, tensor_elements(t)));
    LoraOp op = {.kind = LORA_OP_VECTOR, .scale = scale, .entry = e, .target = LORA_NO_TARGET};
    return add_op(m, t, op, module->path);
}

static bool is_expert_path(const char *path) {
    const char *at = strstr(path, ".mlp.experts.");
    return at && at[13] >= '0' && at[13] <= '9';
}

/* Experts of a layer and projection are one target: some may see no token in a whole training. */
static int linear_target(const LoraMapping *m, size_t *out, const char *path) {
    char name[NAME_SIZE];
    if (!is_expert_path(path)) return add_target(m, out, path);
    const char *number = strstr(path, ".mlp.experts.") + 13;
    const char *rest = number + strspn(number, "0123456789");
    int n = snprintf(name, sizeof name, "%.*s*%s", (int)(number - path), path, rest);
    return n > 0 && (size_t)n < sizeof name ? add_target(m, out, name) : too_long(m, path);
}

static int map_linear(const LoraMapping *m, LoraModule *module) {
    const SafetensorsEntry *a = module->parts[LORA_A], *b = module->parts[LORA_B];
    const Tensor *t = base_tensor(m, module->path, ".weight");
    if (!t)
        return error_set(m->err, ERR_FORMAT, "key %s: the base has no tensor %s.weight; it would be lost",
                         a->name, module->path);
    if (t->n_dims != 2)
        return error_set(m->err, ERR_UNSUPPORTED, "key %s: tensor %s is no matrix", a->name, t->name);
    if (a->n_dims != 2) return wrong_shape(m, a, "a matrix");
    uint32_t rank = (uint32_t)a->shape[0];
    TRY(check_rank(m, module->path, a->shape[0]));
    TRY(expect_matrix(m, a, rank, t->dims[0]));
    TRY(expect_matrix(m, b, t->dims[1], rank));
    LoraOp op = {.kind = LORA_OP_ADD, .rank = rank};
    op.rows = (LoraFactor){.adapter = m->adapter, .entry = b, .k_fastest = true};
    op.columns = (LoraFactor){.adapter = m->adapter, .entry = a, .width = t->dims[0]};
    op.wrapped = is_expert_path(module->path) || lora_is_wrapped(m, module->path, "weight");
    TRY(find_scale(m, &op.scale, module->path, rank));
    TRY(dora_part(m, module, t->dims[1], &op.entry));
    if (op.entry) op.kind = LORA_OP_DORA;
    TRY(linear_target(m, &op.target, module->path));
    TRY(add_op(m, t, op, module->path));
    m->adapter->info.n_pairs++;
    return map_bias(m, module, op.scale);
}

/* ---- embeddings ---- */

/* An embedding is looked up by rows, so PEFT keeps its pair turned: A [rank, vocabulary], B [d, rank]. */
static int map_embedding(const LoraMapping *m, LoraModule *module) {
    const SafetensorsEntry *a = module->parts[LORA_EMBEDDING_A], *b = module->parts[LORA_EMBEDDING_B];
    const Tensor *t = base_tensor(m, module->path, ".weight");
    if (!t || t->n_dims != 2)
        return error_set(m->err, ERR_FORMAT, "key %s: the base has no matrix %s.weight; it would be lost",
                         a->name, module->path);
    if (a->n_dims != 2) return wrong_shape(m, a, "a matrix");
    if (m->adapter->config.dora)
        return error_set(m->err, ERR_UNSUPPORTED, "module %s: DoRA of an embedding is not offered",
                         module->path);
    bool turned = m->adapter->gguf != NULL; /* [vocabulary, rank] there */
    uint32_t rank = (uint32_t)a->shape[turned];
    TRY(check_rank(m, module->path, a->shape[turned]));
    TRY(turned ? expect_matrix(m, a, t->dims[1], rank) : expect_matrix(m, a, rank, t->dims[1]));
    TRY(expect_matrix(m, b, t->dims[0], rank));
    LoraOp op = {.kind = LORA_OP_ADD, .rank = rank, .wrapped = true};
    op.rows = (LoraFactor){.adapter = m->adapter, .entry = a, .k_fastest = turned, .width = t->dims[1]};
    op.columns = (LoraFactor){.adapter = m->adapter, .entry = b, .k_fastest = true};
    TRY(find_scale(m, &op.scale, module->path, rank));
    TRY(add_target(m, &op.target, module->path));
    TRY(add_op(m, t, op, module->path));
    m->adapter->info.n_pairs++;
    return 0;
}

/* ---- fused experts ---- */

typedef struct Fused {
    const LoraModule *module;
    char prefix[NAME_SIZE]; /* "model.layers.0.mlp.experts" */
    bool gate_up, turned;   /* turned: in and out exchanged, as PEFT 0.18 had them */
    uint32_t rank, n_experts;
    float scale;
} Fused;

/* What A's and B's outer sizes say: gate_up_proj is [2I, d], down_proj [d, I]. */
static int tell_fused(const LoraMapping *m, Fused *f) {
    const ModelParams *p = &m->lora->base->params;
    const SafetensorsEntry *a = f->module->parts[LORA_A], *b = f->module->parts[LORA_B];
    uint64_t d = p->n_embd, i = p->n_ff_expert, in = a->shape[1], out = b->shape[0];
    LoraLayout layout = m->adapter->info.layout;
    bool straight = (in == d && out == 2 * i) || (in == i && out == d);
    bool turned = (in == 2 * i && out == d) || (in == d && out == i);
    bool old = layout == LORA_LAYOUT_PEFT_0_18 ||
               (layout == LORA_LAYOUT_PEFT && turned && (!straight || m->adapter->config.peft_0_18));
    if (!(old ? turned : straight))
        return error_set(m->err, ERR_FORMAT,
                         "module %s: A is for %llu inputs and B for %llu outputs; with this model's sizes "
                         "(hidden %llu, expert %llu) that is neither gate_up_proj nor down_proj%s%s",
                         f->module->path, (unsigned long long)in, (unsigned long long)out,
                         (unsigned long long)d, (unsigned long long)i,
                         layout == LORA_LAYOUT_PEFT ? "" : " in the layout ",
                         layout == LORA_LAYOUT_PEFT ? "" : lora_layout_name(layout));
    f->turned = old;
    f->gate_up = old ? in == 2 * i && out == d : in == d && out == 2 * i;
    return 0;
}

static const char *fused_name(const Fused *f) {
    return f->gate_up ? "gate_up_proj" : "down_proj";
}

/* Is it among target_parameters, if there are any? */
static int check_listed(const LoraMapping *m, const Fused *f) {
    const cJSON *list = m->adapter->config.target_parameters;
    if (!list || !list->child || lora_is_wrapped(m, f->prefix, fused_name(f))) return 0;
    return error_set(m->err, ERR_FORMAT,
                     "module %s: by its shapes it is for %s, which target_parameters does not name",
                     f->module->path, fused_name(f));
}

static int read_fused(const LoraMapping *m, Fused *f, const LoraModule *module) {
    static const char inner[] = ".base_layer";
    const SafetensorsEntry *a = module->parts[LORA_A], *b = module->parts[LORA_B];
    size_t length = strlen(module->path), tail = sizeof inner - 1;
    if (length > tail && !strcmp(module->path + length - tail, inner)) length -= tail;
    if (length >= sizeof f->prefix - 32) return too_long(m, module->path);
    memcpy(f->prefix, module->path, length);
    f->prefix[length] = 0;
    f->module = module;
    f->n_experts = m->lora->base->params.n_experts;
    if (a->n_dims != 2) return wrong_shape(m, a, "a matrix");
    if (b->n_dims != 2 || b->shape[1] != a->shape[0]) return wrong_shape(m, b, "a B that fits its A");
    if (!f->n_experts || a->shape[0] % f->n_experts)
        return error_set(m->err, ERR_FORMAT, "key %s has %llu rows, no multiple of the model's %u experts",
                         a->name, (unsigned long long)a->shape[0], f->n_experts);
    TRY(tell_fused(m, f));
    TRY(check_listed(m, f));
    char name[NAME_SIZE + 32];
    snprintf(name, sizeof name, "%s.%s", f->prefix, fused_name(f));
    TRY(check_rank(m, name, a->shape[0] / f->n_experts));
    f->rank = (uint32_t)(a->shape[0] / f->n_experts);
    return find_scale(m, &f->scale, name, f->rank);
}

/* The pair of one expert's tensor, whose rows are the parameter's rows from first_row on. */
static int expert_op(const LoraMapping *m, LoraOp *op, const Fused *f, uint32_t expert, uint64_t first_row) {
    const SafetensorsEntry *a = f->module->parts[LORA_A], *b = f->module->parts[LORA_B];
    LoraSlab *slab;
    bool slowest = m->adapter->info.layout == LORA_LAYOUT_UNSLOTH;
    TRY(lora_slab(&slab, m->lora, m->adapter, b, f->n_experts, f->rank, slowest, m->err));
    LoraFactor of_a = {.adapter = m->adapter,
                       .entry = a,
                       .base = (uint64_t)expert * f->rank * a->shape[1],
                       .width = a->shape[1]};
    LoraFactor of_b = {.adapter = m->adapter,
                       .entry = b,
                       .slab = slab,
                       .k_fastest = true,
                       .base = (uint64_t)expert * f->rank * b->shape[0]};
    *op = (LoraOp){.kind = LORA_OP_ADD,
                   .rank = f->rank,
                   .scale = f->scale,
                   .wrapped = true,
                   .rows = f->turned ? of_a : of_b,
                   .columns = f->turned ? of_b : of_a};
    op->rows.first = first_row;
    return 0;
}

static int map_projection(const LoraMapping *m, const Fused *f, const char *projection, uint64_t first_row,
                          uint64_t rows, uint64_t columns) {
    char name[NAME_SIZE + 64];
    LoraOp op;
    for (uint32_t e = 0; e < f->n_experts; e++) {
        snprintf(name, sizeof name, "%s.%u.%s.weight", f->prefix, e, projection);
        const Tensor *t = model_find(m->lora->base, name);
        if (!t || t->n_dims != 2 || t->dims[0] != columns || t->dims[1] != rows)
            return error_set(m->err, ERR_FORMAT, "module %s: the base has no tensor %s of that shape",
                             f->module->path, name);
        TRY(expert_op(m, &op, f, e, first_row));
        snprintf(name, sizeof name, "%s.%s", f->prefix, fused_name(f));
        TRY(add_target(m, &op.target, name));
        TRY(add_op(m, t, op, f->module->path));
    }
    return 0;
}

static int map_fused(const LoraMapping *m, LoraModule *module) {
    const ModelParams *p = &m->lora->base->params;
    Fused f;
    uint64_t d = p->n_embd, i = p->n_ff_expert;
    if (m->adapter->config.dora)
        return error_set(m->err, ERR_UNSUPPORTED, "module %s: DoRA of fused experts does not exist in PEFT",
                         module->path);
    TRY(read_fused(m, &f, module));
    m->adapter->info.n_pairs++;
    if (!f.gate_up) return map_projection(m, &f, "down_proj", 0, d, i);
    TRY(map_projection(m, &f, "gate_proj", 0, i, d));
    return map_projection(m, &f, "up_proj", i, i, d);
}

bool lora_is_fused_path(const char *path) {
    static const char *const ends[] = {".mlp.experts", ".mlp.experts.base_layer"};
    size_t n = strlen(path);
    for (size_t i = 0; i < 2; i++) {
        size_t e = strlen(ends[i]);
        if (n > e && !strcmp(path + n - e, ends[i])) return true;
    }
    return false;
}

/* ---- whole tensors and rows ---- */

static bool is_vocabulary(const char *path) {
    const char *last = strrchr(path, '.');
    last = last ? last + 1 : path;
    return !strcmp(last, "embed_tokens") || !strcmp(last, "lm_head");
}

static int check_same_shape(const LoraMapping *m, const SafetensorsEntry *e, const Tensor *t,
                            const char *path) {
    bool same = e->n_dims == t->n_dims;
    for (uint32_t i = 0; same && i < t->n_dims; i++) same = e->shape[i] == t->dims[t->n_dims - 1 - i];
    if (same) return 0;
    if (is_vocabulary(path) && e->n_dims == 2 && e->shape[1] == t->dims[0])
        return error_set(m->err, ERR_UNSUPPORTED,
                         "key %s has %llu rows, the base %llu: tokens were added, and a model of another "
                         "vocabulary is not made here",
                         e->name, (unsigned long long)e->shape[0], (unsigned long long)t->dims[1]);
    char expected[64] = "[";
    size_t used = 1;
    for (uint32_t i = t->n_dims; i-- > 0 && used < sizeof expected;)
        used += (size_t)snprintf(expected + used, sizeof expected - used, "%llu%s",
                                 (unsigned long long)t->dims[i], i ? ", " : "]");
    return wrong_shape(m, e, expected);
}

/* A plain tensor is one that modules_to_save names, a bias that was trained, or an embedding that PEFT saves
 * along. */
static int map_whole(const LoraMapping *m, LoraModule *module, LoraPart part) {
    const SafetensorsEntry *e = module->parts[part];
    const char *tail = part == LORA_BIAS ? ".bias" : ".weight";
    const LoraConfig *c = &m->adapter->config;
    bool listed = lora_saved(c, module->path);
    bool along = part == LORA_BASE || (part == LORA_WEIGHT && is_vocabulary(module->path)) ||
                 (part == LORA_BIAS && c->bias);
    if (!listed && !along)
        return error_set(m->err, ERR_FORMAT,
                         "key %s is a whole tensor, but modules_to_save does not name %s: is it meant to "
                         "replace the base's?",
                         e->name, module->path);
    const Tensor *t = base_tensor(m, module->path, tail);
    if (!t)
        return error_set(m->err, ERR_FORMAT, "key %s: the base has no tensor %s%s; it would be lost", e->name,
                         module->path, tail);
    TRY(check_same_shape(m, e, t, module->path));
    LoraOp op = {.kind = LORA_OP_REPLACE, .entry = e, .target = LORA_NO_TARGET};
    if (listed) TRY(add_target(m, &op.target, t->name));
    TRY(add_op(m, t, op, module->path));
    m->adapter->info.n_replaced++;
    return 0;
}

typedef struct TokenRow {
    uint32_t id, place;
} TokenRow;

static int compare_ids(const void *a, const void *b) {
    uint32_t x = ((const TokenRow *)a)->id, y = ((const TokenRow *)b)->id;
    return (x > y) - (x < y);
}

/* trainable_token_indices: a list for the embedding, or lists by module. */
static const cJSON *ids_of(const cJSON *tokens, const char *path) {
    if (cJSON_IsArray(tokens)) return is_vocabulary(path) ? tokens : NULL;
    for (const cJSON *item = tokens ? tokens->child : NULL; item; item = item->next) {
        size_t n = strlen(path), k = strlen(item->string);
        if (n >= k && !strcmp(path + n - k, item->string) && (n == k || path[n - k - 1] == '.')) return item;
    }
    return NULL;
}

static int read_ids(const LoraMapping *m, LoraOp *op, const cJSON *list, const Tensor *t, const char *path) {
    size_t n = (size_t)op->n_ids, i = 0;
    TokenRow *rows = arena_alloc(m->arena, n, sizeof *rows);
    uint32_t *ids = arena_alloc(m->arena, n, sizeof *ids), *places = arena_alloc(m->arena, n, sizeof *places);
    if (!rows || !ids || !places) return error_memory(m->err, "trained tokens");
    for (const cJSON *item = list->child; item; item = item->next, i++) {
        rows[i].place = (uint32_t)i;
        if (!json_u32(item, &rows[i].id) || rows[i].id >= t->dims[1])
            return error_set(m->err, ERR_FORMAT,
                             "trainable_token_indices: token %g of %s is none of its %llu rows",
                             item->valuedouble, path, (unsigned long long)t->dims[1]);
    }
    qsort(rows, n, sizeof *rows, compare_ids);
    for (i = 0; i < n; i++) {
        if (i && rows[i].id == rows[i - 1].id)
            return error_set(m->err, ERR_FORMAT, "trainable_token_indices: token %u is there twice",
                             rows[i].id);
        ids[i] = rows[i].id;
        places[i] = rows[i].place;
    }
    op->ids = ids;
    op->places = places;
    return 0;
}

static int map_tokens(const LoraMapping *m, LoraModule *module) {
    const SafetensorsEntry *e = module->parts[LORA_TOKENS];
    const Tensor *t = base_tensor(m, module->path, ".weight");
    const cJSON *list = ids_of(m->adapter->config.tokens, module->path);
    if (!t || t->n_dims != 2)
        return error_set(m->err, ERR_FORMAT, "key %s: the base has no matrix %s.weight; it would be lost",
                         e->name, module->path);
    if (!list)
        return error_set(m->err, ERR_FORMAT,
                         "key %s: trainable_token_indices does not say which tokens these are", e->name);
    LoraOp op = {.kind = LORA_OP_ROWS, .entry = e, .n_ids = (uint64_t)cJSON_GetArraySize(list)};
    TRY(expect_matrix(m, e, op.n_ids, t->dims[0]));
    TRY(read_ids(m, &op, list, t, module->path));
    TRY(add_target(m, &op.target, t->name));
    TRY(add_op(m, t, op, module->path));
    m->adapter->info.n_pairs++;
    return 0;
}

/* ---- one module ---- */

static bool has_other_than(const LoraModule *module, unsigned allowed) {
    for (int p = 0; p < LORA_PARTS; p++)
        if (module->parts[p] && !(allowed >> p & 1)) return true;
    return false;
}

static int refuse_mixture(const LoraMapping *m, const LoraModule *module, const char *what) {
    return error_set(m->err, ERR_FORMAT, "module %s: %s", module->path, what);
}

static int map_module(const LoraMapping *m, LoraModule *module) {
    const SafetensorsEntry *const *p = module->parts;
    if (p[LORA_A] && !p[LORA_B]) return half_a_pair(m, module, "lora_A", "lora_B");
    if (p[LORA_B] && !p[LORA_A]) return half_a_pair(m, module, "lora_B", "lora_A");
    if (p[LORA_EMBEDDING_A] && !p[LORA_EMBEDDING_B])
        return half_a_pair(m, module, "lora_embedding_A", "lora_embedding_B");
    if (p[LORA_EMBEDDING_B] && !p[LORA_EMBEDDING_A])
        return half_a_pair(m, module, "lora_embedding_B", "lora_embedding_A");
    if (!p[LORA_A] && (p[LORA_MAGNITUDE] || p[LORA_B_BIAS]))
        return half_a_pair(m, module, "a magnitude or bias", "pair that it belongs to");
    if (p[LORA_WEIGHT] && has_other_than(module, 1u << LORA_WEIGHT | 1u << LORA_BIAS))
        return refuse_mixture(m, module, "it has a whole tensor and a pair");
    if (p[LORA_BASE]) TRY(map_whole(m, module, LORA_BASE));
    if (p[LORA_BIAS]) TRY(map_whole(m, module, LORA_BIAS)); /* first: lora_bias is added to it */
    if (p[LORA_A]) TRY(lora_is_fused_path(module->path) ? map_fused(m, module) : map_linear(m, module));
    if (p[LORA_EMBEDDING_A]) TRY(map_embedding(m, module));
    if (p[LORA_TOKENS]) TRY(map_tokens(m, module));
    if (p[LORA_WEIGHT]) TRY(map_whole(m, module, LORA_WEIGHT));
    return 0;
}

static bool is_tied(const Model *base) {
    return base->params.tied_embeddings || cJSON_IsTrue(json_present(base->config, "tie_word_embeddings"));
}

int lora_map(Lora *l, LoraAdapter *a, Error *err) {
    LoraMapping m = {.lora = l, .adapter = a, .arena = l->model.arena, .tied = is_tied(l->base), .err = err};
    int code = 0;
    for (size_t i = 0; !code && i < a->n_modules; i++) code = map_module(&m, &a->modules[i]);
    if (!code && !a->info.n_pairs && !a->info.n_replaced)
        code = error_set(err, ERR_FORMAT, "nothing of it fits the base: zero pairs matched");
    if (!code) code = lora_check_config(&m);
    return code ? error_wrap(err, code, "adapter %s", a->path) : 0;
}
