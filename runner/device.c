/* device.c -- finds the CUDA part, plans its memory, gives it the weights, and speaks for it. */
#include "runner/device.h"
#include "core/process.h"
#include "runner/cuda/cuda_runner.h"
#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "recast_cuda.so"

struct Device {
    const ModelParams *params;
    const Weights *weights;
    const RopeTable *rope;
    Arena *arena;
    void *library;
    const CudaApi *api;
    CudaRunner *runner;
    CudaDevice device;
    uint32_t batch;
    float *x, *cosine, *sine; /* of a batch */
    float *routes;            /* of a batch: [n_layers][tokens][n_experts] the router's logits */
    RouteShare *share;        /* NULL: nobody asks */
    CudaBest best;            /* of the last logits */
    char name[sizeof((CudaDevice *)0)->name + 8];
    char error[CUDA_ERROR_SIZE];
};

static int device_error(const Device *d, Error *err) {
    return error_set(err, ERR_DEVICE, "%s", d->error);
}

/* ---- the library ---- */

/* The n-th place to look in, an absolute path; false behind the last. */
static bool library_path(char out[PATH_MAX], size_t n) {
    static const char *const places[] = {"/" LIBRARY, "/../lib/recast/" LIBRARY};
    char exe[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n >= sizeof places / sizeof *places || length < 1) return false;
    exe[length] = 0;
    char *slash = strrchr(exe, '/');
    if (!slash) return false;
    *slash = 0;
    int written = snprintf(out, PATH_MAX, "%s%s", exe, places[n]);
    return written > 0 && written < PATH_MAX;
}

static int find_library(char out[PATH_MAX], const char *given, Error *err) {
    if (given) {
        int n = snprintf(out, PATH_MAX, "%s", given);
        return n > 0 && n < PATH_MAX ? 0 : error_set(err, ERR_DEVICE, "%s: the path is too long", given);
    }
    for (size_t i = 0; library_path(out, i); i++)
        if (access(out, R_OK) == 0) return 0;
    return error_set(err, ERR_DEVICE,
                     "no CUDA: " LIBRARY " is neither beside this program nor in ../lib/recast; "
                     "`make cuda` builds it where nvcc is installed");
}

static int open_library(Device *d, const char *given, Error *err) {
    char path[PATH_MAX];
    CudaApiFunction function;
    TRY(find_library(path, given, err));
    /* not unloaded when it is closed: a driver's threads may outlive it */
    d->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!d->library) return error_set(err, ERR_DEVICE, "no CUDA: %s", dlerror());
    void *symbol = dlsym(d->library, RECAST_CUDA_SYMBOL);
    if (!symbol)
        return error_set(err, ERR_DEVICE, "%s is no CUDA runner: it has no " RECAST_CUDA_SYMBOL, path);
    memcpy(&function, &symbol, sizeof function); /* POSIX allows it, ISO C has no cast for it */
    d->api = function();
    if (d->api->abi != RECAST_CUDA_ABI || d->api->size != sizeof *d->api)
        return error_set(err, ERR_DEVICE, "%s has ABI %u, this program needs %d; build both from one source",
                         path, d->api->abi, RECAST_CUDA_ABI);
    return d->api->probe(&d->device, d->error) ? device_error(d, err) : 0;
}

/* ---- memory ---- */

static CudaModel describe(const Device *d, RunnerOptions options, const uint8_t (*types)[CUDA_MATRICES]) {
    const ModelParams *p = d->params;
    return (CudaModel){.n_layers = p->n_layers,
                       .n_embd = p->n_embd,
                       .n_heads = p->n_heads,
                       .n_kv_heads = p->n_kv_heads,
                       .head_dim = p->head_dim,
                       .n_ff_expert = p->n_ff_expert,
                       .n_experts = p->n_experts,
                       .n_experts_used = p->n_experts_used,
                       .n_vocab = p->n_vocab,
                       .rms_eps = p->rms_eps,
                       .norm_topk_prob = p->norm_topk_prob,
                       .context = options.context,
                       .kv = options.kv == KV_F32   ? CUDA_KV_F32
                             : options.kv == KV_F16 ? CUDA_KV_F16
                                                    : CUDA_KV_Q8_0,
                       .float_activations = options.activations == ACTIVATIONS_F32,
                       .flags = (options.device_plain ? CUDA_PLAIN : 0u) |
                                (options.device_unmarked ? CUDA_UNMARKED : 0u),
                       .head_type = (uint32_t)d->weights->head.type,
                       .types = types};
}

static int make_plan(const Device *d, const CudaModel *m, CudaPlan *out, Error *err) {
    char error[CUDA_ERROR_SIZE];
    if (!d->api->plan(m, out, error)) return 0;
    return error_set(err, ERR_UNSUPPORTED, "%s: %s", d->name, error);
}

static uint64_t plan_bytes(const CudaPlan *p) {
    return p->weights + p->kv + p->work;
}

/* The longest context that fits in `bytes` with this kind of cache; 0 if none does. */
static uint32_t longest_context(const Device *d, CudaModel m, uint32_t kv, uint64_t bytes) {
    CudaPlan plan;
    uint32_t low = 0, high = m.context;
    m.kv = kv;
    while (low < high) {
        m.context = low + (high - low + 1) / 2;
        if (make_plan(d, &m, &plan, NULL) || plan_bytes(&plan) > bytes)
            high = m.context - 1;
        else
            low = m.context;
    }
    return low;
}

static int refuse(const Device *d, const CudaModel *m, const CudaPlan *plan, Error *err) {
    static const char *const names[] = {"f32", "f16", "q8_0"};
    uint64_t room = d->device.free_bytes;
    char hint[160] = "weights of a smaller type would";
    bool q8 = m->head_dim % 32 == 0;
    for (uint32_t kv = m->kv; kv <= (q8 ? CUDA_KV_Q8_0 : CUDA_KV_F16); kv++) {
        uint32_t context = longest_context(d, *m, kv, room);
        if (!context) continue;
        snprintf(hint, sizeof hint, "a context of %u positions with KV in %s would", context, names[kv]);
        if (context == m->context) break;
    }
    return error_set(err, ERR_MEMORY,
                     "%s: %" PRIu64 " bytes are needed and %" PRIu64 " are free: weights %" PRIu64
                     ", KV cache of %u positions in %s %" PRIu64 ", working memory %" PRIu64 "; %s fit",
                     d->name, plan_bytes(plan), room, plan->weights, m->context, names[m->kv], plan->kv,
                     plan->work, hint);
}

/* ---- weights ---- */

static int load(Device *d, CudaSlot slot, uint32_t layer, uint32_t expert, const void *data, Error *err) {
    if (process_interrupted()) return error_set(err, ERR_INTERRUPTED, "interrupted");
    return d->api->load(d->runner, slot, layer, expert, data, d->error) ? device_error(d, err) : 0;
}

static int load_layer(Device *d, uint32_t layer, Error *err) {
    const LayerWeights *w = &d->weights->layers[layer];
    TRY(load(d, CUDA_Q, layer, 0, w->q.data, err));
    TRY(load(d, CUDA_K, layer, 0, w->k.data, err));
    TRY(load(d, CUDA_V, layer, 0, w->v.data, err));
    TRY(load(d, CUDA_O, layer, 0, w->o.data, err));
    TRY(load(d, CUDA_ROUTER, layer, 0, w->router.data, err));
    for (uint32_t e = 0; e < d->params->n_experts; e++) {
        TRY(load(d, CUDA_GATE, layer, e, w->gate[e].data, err));
        TRY(load(d, CUDA_UP, layer, e, w->up[e].data, err));
        TRY(load(d, CUDA_DOWN, layer, e, w->down[e].data, err));
    }
    TRY(load(d, CUDA_ATTN_NORM, layer, 0, w->attn_norm, err));
    TRY(load(d, CUDA_Q_NORM, layer, 0, w->q_norm, err));
    TRY(load(d, CUDA_K_NORM, layer, 0, w->k_norm, err));
    return load(d, CUDA_FFN_NORM, layer, 0, w->ffn_norm, err);
}

static int load_all(Device *d, Error *err) {
    for (uint32_t i = 0; i < d->params->n_layers; i++) TRY(load_layer(d, i, err));
    TRY(load(d, CUDA_NORM, 0, 0, d->weights->norm, err));
    return load(d, CUDA_HEAD, 0, 0, d->weights->head.data, err);
}

static void layer_types(uint8_t out[CUDA_MATRICES], const LayerWeights *w) {
    const Matrix *m[CUDA_MATRICES] = {&w->q, &w->k, &w->v, &w->o, &w->router, w->gate, w->up, w->down};
    for (int i = 0; i < CUDA_MATRICES; i++) out[i] = (uint8_t)m[i]->type;
}

/* ---- opening ---- */

static bool same_floats(const float *a, const float *b, size_t n) {
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* The same bytes of the same file: matrices by where they are mapped, norms, which may be copies, by value.
 */
static bool same_layer(const LayerWeights *a, const LayerWeights *b, const ModelParams *p) {
    bool same = a->q.data == b->q.data && a->k.data == b->k.data && a->v.data == b->v.data &&
                a->o.data == b->o.data && a->router.data == b->router.data &&
                same_floats(a->attn_norm, b->attn_norm, p->n_embd) &&
                same_floats(a->ffn_norm, b->ffn_norm, p->n_embd) &&
                same_floats(a->q_norm, b->q_norm, p->head_dim) &&
                same_floats(a->k_norm, b->k_norm, p->head_dim);
    for (uint32_t e = 0; same && e < p->n_experts; e++)
        same = a->gate[e].data == b->gate[e].data && a->up[e].data == b->up[e].data &&
               a->down[e].data == b->down[e].data;
    return same;
}

static bool same_weights(const Device *a, const Device *b) {
    const ModelParams *p = a->params, *q = b->params;
    bool same = p->n_layers == q->n_layers && p->n_embd == q->n_embd && p->head_dim == q->head_dim &&
                p->n_experts == q->n_experts && p->n_vocab == q->n_vocab &&
                a->weights->head.data == b->weights->head.data &&
                same_floats(a->weights->norm, b->weights->norm, p->n_embd);
    for (uint32_t i = 0; same && i < p->n_layers; i++)
        same = same_layer(&a->weights->layers[i], &b->weights->layers[i], p);
    return same;
}

static int open_runner(Device *d, const Device *other, RunnerOptions options, Error *err) {
    const ModelParams *p = d->params;
    CudaPlan plan;
    uint8_t(*types)[CUDA_MATRICES] = arena_alloc(d->arena, p->n_layers, sizeof *types);
    if (!types) return error_memory(err, "the device's table of types");
    for (uint32_t i = 0; i < p->n_layers; i++) layer_types(types[i], &d->weights->layers[i]);
    if (options.kv == KV_Q8_0 && p->head_dim % 32)
        return error_set(
            err, ERR_UNSUPPORTED,
            "KV in q8_0 has blocks of 32, and heads of %u elements are no multiple of it; take f16 or f32",
            p->head_dim);
    CudaModel m = describe(d, options, (const uint8_t(*)[CUDA_MATRICES])types);
    TRY(make_plan(d, &m, &plan, err));
    if (other && !same_weights(d, other)) other = NULL;
    if (other) plan.weights = 0;
    if (plan_bytes(&plan) > d->device.free_bytes) return refuse(d, &m, &plan, err);
    if (d->api->open(&d->runner, &m, other ? other->runner : NULL, d->error)) return device_error(d, err);
    d->batch = plan.batch;
    d->x = arena_alloc(d->arena, (size_t)plan.batch * p->n_embd, sizeof *d->x);
    d->cosine = arena_alloc(d->arena, (size_t)plan.batch * (p->head_dim / 2), sizeof *d->cosine);
    d->sine = arena_alloc(d->arena, (size_t)plan.batch * (p->head_dim / 2), sizeof *d->sine);
    d->routes = arena_alloc(d->arena, (size_t)p->n_layers * plan.batch * p->n_experts, sizeof *d->routes);
    if (!d->x || !d->cosine || !d->sine || !d->routes) return error_memory(err, "the device's input");
    return other ? 0 : load_all(d, err);
}

int device_open(Device **out, const ModelParams *params, const Weights *weights, const RopeTable *rope,
                RunnerOptions options, const Device *other, const Allocator *allocator, Error *err) {
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Device *d = arena_alloc(arena, 1, sizeof *d);
    if (!d) {
        arena_close(arena);
        return error_memory(err, "the device");
    }
    *d = (Device){.params = params, .weights = weights, .rope = rope, .arena = arena};
    int code = open_library(d, options.device_library, err);
    if (!code) snprintf(d->name, sizeof d->name, "%s (cuda)", d->device.name);
    if (!code) code = open_runner(d, other, options, err);
    if (code)
        device_close(d);
    else
        *out = d;
    return code;
}

void device_close(Device *d) {
    if (!d) return;
    if (d->runner) d->api->close(d->runner);
    if (d->library) dlclose(d->library);
    arena_close(d->arena);
}

const char *device_name(const Device *d) {
    return d->name;
}

/* ---- the forward pass ---- */

static int bad_stream(const Device *d, uint32_t layer, uint32_t position, uint32_t id, Error *err) {
    char name[64] = "the embedding (token_embd)";
    if (layer) snprintf(name, sizeof name, "layer %u of %u (blk.%u)", layer, d->params->n_layers, layer - 1);
    return error_set(
        err, ERR_NUMERIC,
        "%s: NaN or infinity for the token at position %u (id %u); the weights there are not finite or "
        "overflow float32 (or KV f16: try f32)",
        name, position, id);
}

/* Rows of the embedding and RoPE's angles, for n tokens, no more than a batch. */
static int embed(Device *d, const uint32_t *tokens, size_t n, uint32_t first, Error *err) {
    size_t width = d->params->n_embd, half = d->params->head_dim / 2;
    for (size_t t = 0; t < n; t++) {
        widen_row(&d->weights->embedding, tokens[t], d->x + t * width);
        rope_angles(d->cosine + t * half, d->sine + t * half, d->rope->inv_freq, d->rope->attention_factor,
                    first + (uint32_t)t, d->params->head_dim);
    }
    size_t bad = first_nonfinite(d->x, n * width);
    if (bad == n * width) return 0;
    return bad_stream(d, 0, first + (uint32_t)(bad / width), tokens[bad / width], err);
}

static void note_routes(const Device *d, size_t n) {
    const ModelParams *p = d->params;
    for (size_t i = 0; i < p->n_layers * n; i++) route_share_add(d->share, d->routes + i * p->n_experts, p);
}

static int run(Device *d, const uint32_t *tokens, size_t count, uint32_t first, float *logits, float *states,
               Error *err) {
    for (size_t done = 0, n; done < count; done += n) {
        CudaFault fault;
        uint32_t position = first + (uint32_t)done;
        n = count - done < d->batch ? count - done : d->batch;
        if (process_interrupted()) return error_set(err, ERR_INTERRUPTED, "interrupted");
        TRY(embed(d, tokens + done, n, position, err));
        CudaBatch batch = {.x = d->x,
                           .cosine = d->cosine,
                           .sine = d->sine,
                           .count = (uint32_t)n,
                           .first = position,
                           .logits = done + n == count ? logits : NULL,
                           .best = &d->best,
                           .states = states ? states + done * d->params->n_embd : NULL,
                           .routes = d->share ? d->routes : NULL};
        if (d->api->forward(d->runner, &batch, &fault, d->error)) return device_error(d, err);
        if (fault.layer)
            return bad_stream(d, fault.layer, position + fault.token, tokens[done + fault.token], err);
        if (states && d->share) note_routes(d, n);
    }
    return 0;
}

static int bad_logit(size_t token, uint32_t position, Error *err) {
    return error_set(
        err, ERR_NUMERIC,
        "the output head: the logit of token %zu at position %u is NaN or infinite; its weights are not "
        "finite or overflow float32",
        token, position);
}

int device_forward(Device *d, const uint32_t *tokens, size_t count, uint32_t first, float *logits,
                   Error *err) {
    TRY(run(d, tokens, count, first, logits, NULL, err));
    return d->best.bad == UINT32_MAX ? 0 : bad_logit(d->best.bad, first + (uint32_t)(count - 1), err);
}

uint32_t device_best(const Device *d, float *margin) {
    *margin = d->best.margin;
    return d->best.token;
}

void device_note_route(Device *d, RouteShare *share) {
    d->share = share;
}

int device_states(Device *d, const uint32_t *tokens, size_t count, uint32_t first, float *states,
                  Error *err) {
    return run(d, tokens, count, first, NULL, states, err);
}

int device_head(Device *d, const float *states, size_t count, float *logits, uint32_t position, Error *err) {
    size_t n_vocab = d->params->n_vocab, n = count * n_vocab;
    if (d->api->head(d->runner, states, count, logits, d->error)) return device_error(d, err);
    size_t bad = first_nonfinite(logits, n);
    return bad == n ? 0 : bad_logit(bad % n_vocab, position + (uint32_t)(bad / n_vocab), err);
}

/* ---- what it would take ---- */

static int find_type(uint8_t *out, const Model *m, const char *name, Error *err) {
    const Tensor *t = model_find(m, name);
    if (!t) return error_set(err, ERR_FORMAT, "%s: tensor %s is missing; the runner needs it", m->path, name);
    *out = (uint8_t)t->type;
    return 0;
}

static int find_types(uint8_t (*out)[CUDA_MATRICES], const Model *m, Error *err) {
    static const char *const parts[CUDA_MATRICES] = {"attn_q",      "attn_k",       "attn_v",
                                                     "attn_output", "ffn_gate_inp", "ffn_gate_exps",
                                                     "ffn_up_exps", "ffn_down_exps"};
    char name[64];
    for (uint32_t layer = 0; layer < m->params.n_layers; layer++)
        for (int i = 0; i < CUDA_MATRICES; i++) {
            snprintf(name, sizeof name, "blk.%u.%s.weight", layer, parts[i]);
            TRY(find_type(&out[layer][i], m, name, err));
        }
    return 0;
}

/* As open_runner plans, but from the tensors' names: no weight is read. */
static int count_memory(DeviceMemory *out, Device *d, const Model *model, RunnerOptions options, Error *err) {
    const ModelParams *p = d->params = &model->params;
    Weights weights = {.layers = NULL};
    CudaPlan plan;
    uint8_t head = 0, (*types)[CUDA_MATRICES] = arena_alloc(d->arena, p->n_layers, sizeof *types);
    if (!types) return error_memory(err, "the device's table of types");
    TRY(find_types(types, model, err));
    const char *name = model_find(model, "output.weight") ? "output.weight" : "token_embd.weight";
    TRY(find_type(&head, model, name, err));
    weights.head.type = (DType)head;
    d->weights = &weights;
    CudaModel m = describe(d, options, (const uint8_t(*)[CUDA_MATRICES])types);
    TRY(make_plan(d, &m, &plan, err));
    if (plan_bytes(&plan) > d->device.free_bytes) return refuse(d, &m, &plan, err);
    out->weights = plan.weights;
    out->kv = plan.kv;
    out->work = plan.work;
    out->host_work =
        ((uint64_t)plan.batch * (p->n_embd + p->head_dim + (uint64_t)p->n_layers * p->n_experts) +
         p->n_vocab) *
        sizeof(float);
    return 0;
}

int device_memory(DeviceMemory *out, const Model *model, RunnerOptions options, const Allocator *allocator,
                  Error *err) {
    Device d = {.params = NULL};
    TRY(arena_open(&d.arena, allocator, err));
    int code = open_library(&d, options.device_library, err);
    if (!code) {
        snprintf(d.name, sizeof d.name, "%s (cuda)", d.device.name);
        snprintf(out->name, sizeof out->name, "%s", d.name);
        out->free_bytes = d.device.free_bytes;
    }
    if (!code && model) code = count_memory(out, &d, model, options, err);
    if (d.library) dlclose(d.library);
    arena_close(d.arena);
    return code;
}
