/* forward.c -- the forward pass of Qwen3-MoE: embedding, layers, head.
 *
 * Tokens go through a layer in batches so that each weight row is read once for all of them. A token's values
 * never depend on the batch: every sum has its own order (docs/arithmetic.md). */
#include "runner/ref/forward.h"
#include "core/cpu.h"
#include "core/process.h"
#include "core/strict_math.h"
#include "runner/ref/attention.h"
#include "runner/ref/kernels.h"
#include <stdio.h>
#include <string.h>

enum { MAX_BATCH = 256, MAX_ENTRIES = 2048, MAX_THREADS = 256 /* threads_run starts no more */ };

/* ---- memory ---- */

/* Where working memory comes from; without an arena it is only counted, so that the figure that is said
 * before anything is allocated is the one that is allocated. */
typedef struct Room {
    Arena *arena;
    uint64_t bytes;
    bool failed;
} Room;

static void *take(Room *room, size_t rows, size_t columns, size_t element) {
    size_t n = 0, bytes = 0;
    if (!size_mul(&n, rows, columns) || !size_mul(&bytes, n, element)) {
        room->failed = true;
        return NULL;
    }
    room->bytes += bytes;
    void *memory = room->arena ? arena_alloc(room->arena, n, element) : NULL;
    if (room->arena && !memory) room->failed = true;
    return memory;
}

static float *floats(Room *room, size_t rows, size_t columns) {
    return take(room, rows, columns, sizeof(float));
}

static void lay_activations(Activations *a, const ModelParams *p, uint32_t context, Room *room) {
    size_t batch = MAX_ENTRIES / p->n_experts_used;
    batch = batch < 1 ? 1 : batch > MAX_BATCH ? MAX_BATCH : batch;
    if (batch > context) batch = context;
    size_t entries = batch * p->n_experts_used, h = p->head_dim;
    a->batch = (uint32_t)batch;
    a->x = floats(room, batch, p->n_embd);
    a->y = floats(room, batch, p->n_embd);
    a->q = floats(room, batch, p->n_heads * h);
    a->k = floats(room, batch, p->n_kv_heads * h);
    a->v = floats(room, batch, p->n_kv_heads * h);
    a->heads = floats(room, batch, p->n_heads * h);
    a->cosine = floats(room, batch, h / 2);
    a->sine = floats(room, batch, h / 2);
    a->route = floats(room, batch, p->n_experts);
    a->entry = take(room, 1, entries, sizeof *a->entry);
    a->entry_weight = floats(room, 1, entries);
    a->gate = floats(room, entries, p->n_ff_expert);
    a->up = floats(room, entries, p->n_ff_expert);
    a->down = floats(room, entries, p->n_embd);
    a->products = take(room, 2, p->n_experts, sizeof *a->products);
}

static void lay_team(Team *team, const ModelParams *p, unsigned threads, Room *room) {
    size_t widest = p->n_embd, queries = (size_t)p->n_heads * p->head_dim;
    if (queries > widest) widest = queries;
    if (p->n_ff_expert > widest) widest = p->n_ff_expert;
    team->n_threads = threads ? threads : threads_available();
    if (team->n_threads > MAX_THREADS) team->n_threads = MAX_THREADS;
    team->scratch_floats = team_scratch(widest);
    if (attention_scratch(p) > team->scratch_floats) team->scratch_floats = attention_scratch(p);
    team->scratch_floats = (team->scratch_floats + 15) / 16 * 16; /* threads share no cache line */
    team->scratch = floats(room, team->n_threads, team->scratch_floats);
    team->kernels = mat_kernels(cpu_features());
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Room for the activations that quantized matrices meet at one time: a batch for query, key and value or for
 * gate and up, in three orders if types are mixed; a batch of heads; what all experts' down takes. */
static void lay_packed(Team *team, const ModelParams *p, size_t batch, Room *room) {
    size_t (*bytes)(size_t) = team->kernels->packed_bytes;
    size_t n = larger(3 * batch * bytes(p->n_embd), batch * bytes((size_t)p->n_heads * p->head_dim));
    n = larger(n, batch * p->n_experts_used * bytes(p->n_ff_expert));
    uint8_t *memory = take(room, 1, n + MAT_ALIGNMENT, 1);
    team->packed_bytes = n;
    if (memory) team->packed = memory + (MAT_ALIGNMENT - (uintptr_t)memory % MAT_ALIGNMENT) % MAT_ALIGNMENT;
}

static void lay_out(RefState *s, const ModelParams *p, bool quantized, RunnerOptions options, Room *room) {
    s->team.float_activations = options.activations == ACTIVATIONS_F32;
    lay_activations(&s->a, p, options.context, room);
    lay_team(&s->team, p, options.threads, room);
    if (quantized && !s->team.float_activations) lay_packed(&s->team, p, s->a.batch, room);
}

bool ref_work_bytes(uint64_t *out, const ModelParams *p, bool quantized, RunnerOptions options) {
    RefState s = {.params = p};
    Room room = {.arena = NULL};
    lay_out(&s, p, quantized, options, &room);
    *out = room.bytes;
    return !room.failed;
}

int ref_open(RefState *out, const ModelParams *params, const Weights *weights, const RopeTable *rope,
             RunnerOptions options, Arena *arena, const Allocator *allocator, Error *err) {
    Room room = {.arena = arena};
    *out = (RefState){.params = params, .weights = weights, .rope = rope};
    lay_out(out, params, weights->quantized, options, &room);
    if (room.failed) return error_memory(err, "the runner's working memory");
    TRY(thread_pool_open(&out->team.pool, out->team.n_threads, allocator, err));
    return kv_open(&out->kv, params, options.context, options.kv, allocator, err);
}

void ref_close(RefState *s) {
    thread_pool_close(s->team.pool);
    kv_close(&s->kv);
}

/* ---- experts ---- */

/* The (expert, token) pairs of the batch, by expert, then token; those of expert e are begin[e] to
 * begin[e + 1] - 1. */
static size_t gather(RefState *s, size_t count, size_t begin[REF_MAX_EXPERTS + 1]) {
    const ModelParams *p = s->params;
    size_t n = 0;
    for (size_t e = 0; e < p->n_experts; e++) {
        begin[e] = n;
        for (size_t t = 0; t < count; t++) {
            float weight = s->a.route[t * p->n_experts + e];
            if (weight == -1) continue;
            s->a.entry[n] = (uint32_t)t;
            s->a.entry_weight[n++] = weight;
        }
    }
    begin[p->n_experts] = n;
    return n;
}

/* Adds one token's share: what exp of the chosen logits is of the sum over all. */
static void add_share(RouteShare *share, const float *logits, const float *weights, size_t n) {
    double all = 0, chosen = 0;
    float most = logits[0];
    for (size_t i = 1; i < n; i++) most = logits[i] > most ? logits[i] : most;
    for (size_t i = 0; i < n; i++) {
        double e = (double)strict_expf(logits[i] - most);
        all += e;
        if (weights[i] != -1) chosen += e;
    }
    share->sum += (uint64_t)(chosen / all * 0x1p32);
    share->count++;
}

void route_share_add(RouteShare *share, const float *logits, const ModelParams *p) {
    float weights[REF_MAX_EXPERTS];
    memcpy(weights, logits, p->n_experts * sizeof *weights);
    route(weights, p->n_experts, p->n_experts_used, p->norm_topk_prob);
    add_share(share, logits, weights, p->n_experts);
}

static void route_token(RefState *s, float *row) {
    const ModelParams *p = s->params;
    float logits[REF_MAX_EXPERTS];
    if (s->share) memcpy(logits, row, p->n_experts * sizeof *row);
    route(row, p->n_experts, p->n_experts_used, p->norm_topk_prob);
    if (s->share) add_share(s->share, logits, row, p->n_experts);
}

/* x += experts(y) for `count` tokens; x and y [count][n_embd]. Section 7. */
static int add_experts(RefState *s, uint32_t layer, float *x, float *y, size_t count, Error *err) {
    const ModelParams *p = s->params;
    const LayerWeights *w = &s->weights->layers[layer];
    Activations *a = &s->a;
    size_t begin[REF_MAX_EXPERTS + 1], ff = p->n_ff_expert, d = p->n_embd;

    Product router = {.w = &w->router, .x = y, .out = a->route, .n = count};
    TRY(team_products(&s->team, &router, 1, err));
    for (size_t t = 0; t < count; t++) route_token(s, a->route + t * p->n_experts);
    size_t entries = gather(s, count, begin);

    for (size_t e = 0; e < p->n_experts; e++) {
        size_t at = begin[e], n = begin[e + 1] - at;
        a->products[2 * e] =
            (Product){.w = &w->gate[e], .x = y, .pick = a->entry + at, .out = a->gate + at * ff, .n = n};
        a->products[2 * e + 1] =
            (Product){.w = &w->up[e], .x = y, .pick = a->entry + at, .out = a->up + at * ff, .n = n};
    }
    TRY(team_products(&s->team, a->products, 2 * (size_t)p->n_experts, err));
    kernel_swiglu(a->gate, a->up, entries * ff);

    for (size_t e = 0; e < p->n_experts; e++) {
        size_t at = begin[e], n = begin[e + 1] - at;
        a->products[e] = (Product){.w = &w->down[e], .x = a->gate + at * ff, .out = a->down + at * d, .n = n};
    }
    TRY(team_products(&s->team, a->products, p->n_experts, err));

    /* y is free now: it takes each token's sum, experts in the order of their index */
    for (size_t i = 0; i < count * d; i++) y[i] = 0;
    for (size_t i = 0; i < entries; i++)
        kernel_add_scaled(y + a->entry[i] * d, a->entry_weight[i], a->down + i * d, d);
    for (size_t i = 0; i < count * d; i++) x[i] += y[i];
    return 0;
}

/* ---- layers ---- */

/* layer counts from 1; 0 is the embedding */
static int check_finite(const RefState *s, const float *x, size_t count, uint32_t layer, uint32_t position,
                        const uint32_t *tokens, Error *err) {
    size_t bad = first_nonfinite(x, count * s->params->n_embd);
    if (bad == count * s->params->n_embd) return 0;
    size_t t = bad / s->params->n_embd;
    char name[64] = "the embedding (token_embd)";
    if (layer) snprintf(name, sizeof name, "layer %u of %u (blk.%u)", layer, s->params->n_layers, layer - 1);
    return error_set(err, ERR_NUMERIC,
                     "%s: NaN or infinity for the token at position %zu (id %u); the weights there are not "
                     "finite or overflow float32%s",
                     name, position + t, tokens[t], s->kv.type == KV_F16 ? " (or KV f16: try f32)" : "");
}

static void norm_rows(const RefState *s, float *y, const float *x, const float *w, size_t count) {
    size_t d = s->params->n_embd;
    for (size_t t = 0; t < count; t++) kernel_norm(y + t * d, x + t * d, w, s->params->rms_eps, d);
}

/* One layer. Behind keys and values only the batch's tokens from `from` on go on: nobody reads the others'
 * output. */
static int run_layer(RefState *s, uint32_t layer, const uint32_t *tokens, size_t count, uint32_t first,
                     size_t from, Error *err) {
    const LayerWeights *w = &s->weights->layers[layer];
    Activations *a = &s->a;
    size_t wanted = count - from;
    float *x = a->x + from * s->params->n_embd;

    if (process_interrupted()) return error_set(err, ERR_INTERRUPTED, "interrupted");
    norm_rows(s, a->y, a->x, w->attn_norm, count);
    TRY(attention_store(s, layer, first, count, err));
    TRY(attention_add(s, layer, first, from, count, err));
    norm_rows(s, a->y, x, w->ffn_norm, wanted);
    TRY(add_experts(s, layer, x, a->y, wanted, err));
    return check_finite(s, x, wanted, layer + 1, first + (uint32_t)from, tokens + from, err);
}

/* Cosines and sines of the batch's positions. */
static void turn_angles(RefState *s, size_t count, uint32_t first) {
    size_t h = s->params->head_dim;
    for (size_t t = 0; t < count; t++)
        rope_angles(s->a.cosine + t * (h / 2), s->a.sine + t * (h / 2), s->rope->inv_freq,
                    s->rope->attention_factor, first + (uint32_t)t, h);
}

static int embed(RefState *s, const uint32_t *tokens, size_t count, uint32_t first, Error *err) {
    const Matrix *w = &s->weights->embedding;
    size_t d = s->params->n_embd;
    for (size_t t = 0; t < count; t++) widen_row(w, tokens[t], s->a.x + t * d);
    turn_angles(s, count, first);
    return check_finite(s, s->a.x, count, 0, first, tokens, err);
}

int ref_head(RefState *s, const float *states, size_t count, float *logits, uint32_t position, Error *err) {
    size_t n_vocab = s->params->n_vocab;
    for (size_t done = 0, n; done < count; done += n) { /* the room for activations is that of a batch */
        n = count - done < s->a.batch ? count - done : s->a.batch;
        Product product = {.w = &s->weights->head,
                           .x = states + done * s->params->n_embd,
                           .out = logits + done * n_vocab,
                           .n = n};
        TRY(team_products(&s->team, &product, 1, err));
    }
    size_t bad = first_nonfinite(logits, count * n_vocab);
    if (bad == count * n_vocab) return 0;
    position += (uint32_t)(bad / n_vocab);
    bad %= n_vocab;
    return error_set(
        err, ERR_NUMERIC,
        "the output head: the logit of token %zu at position %u is NaN or infinite; its weights are "
        "not finite or overflow float32",
        bad, position);
}

int ref_forward(RefState *s, const uint32_t *tokens, size_t count, uint32_t first, float *logits,
                Error *err) {
    for (size_t done = 0; done < count;) {
        size_t n = count - done < s->a.batch ? count - done : s->a.batch;
        uint32_t position = first + (uint32_t)done;
        TRY(embed(s, tokens + done, n, position, err));
        for (uint32_t layer = 0; layer < s->params->n_layers; layer++)
            TRY(run_layer(s, layer, tokens + done, n, position, layer + 1 == s->params->n_layers ? n - 1 : 0,
                          err));
        done += n;
        if (done < count) continue;
        norm_rows(s, s->a.y, s->a.x + (n - 1) * s->params->n_embd, s->weights->norm, 1);
        TRY(ref_head(s, s->a.y, 1, logits, first + (uint32_t)(count - 1), err));
    }
    return 0;
}

/* Layer by layer over all tokens, so that each weight comes from the disk once however many they are. The
 * batch's working memory takes a piece of the residual stream at a time. */
int ref_states(RefState *s, const uint32_t *tokens, size_t count, uint32_t first, float *states, Error *err) {
    size_t d = s->params->n_embd;
    float *own = s->a.x;
    int code = 0;
    for (uint32_t layer = 0; !code && layer < s->params->n_layers; layer++)
        for (size_t done = 0, n; !code && done < count; done += n) {
            n = count - done < s->a.batch ? count - done : s->a.batch;
            s->a.x = states + done * d;
            if (layer == 0)
                code = embed(s, tokens + done, n, first + (uint32_t)done, err);
            else if (count > s->a.batch)
                turn_angles(s, n, first + (uint32_t)done);
            if (!code) code = run_layer(s, layer, tokens + done, n, first + (uint32_t)done, 0, err);
        }
    s->a.x = own;
    if (!code) norm_rows(s, states, states, s->weights->norm, count);
    return code;
}
