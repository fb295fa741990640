/* attention.c -- docs/arithmetic.md, sections 4 to 6. */
#include "runner/ref/attention.h"
#include "runner/ref/kernels.h"
#include <math.h>

/* Each thread: a chunk of keys and one of values; the float kernel's; for each head of a group its scores,
 * its output, and (m, l) of the chunk and of all so far. */
size_t attention_scratch(const ModelParams *p) {
    size_t group = p->n_heads / p->n_kv_heads;
    return 2 * (size_t)ATTENTION_CHUNK * p->head_dim + mat_scratch(p->head_dim) / sizeof(float) +
           group * (ATTENTION_CHUNK + p->head_dim + 4);
}

int attention_store(RefState *s, uint32_t layer, uint32_t first, size_t count, Error *err) {
    const ModelParams *p = s->params;
    const LayerWeights *w = &s->weights->layers[layer];
    Activations *a = &s->a;
    size_t h = p->head_dim;
    Product products[] = {{.w = &w->q, .x = a->y, .out = a->q, .n = count},
                          {.w = &w->k, .x = a->y, .out = a->k, .n = count},
                          {.w = &w->v, .x = a->y, .out = a->v, .n = count}};
    TRY(team_products(&s->team, products, 3, err));
    for (size_t t = 0; t < count; t++)
        for (uint32_t head = 0; head < p->n_kv_heads; head++) {
            float *k = a->k + (t * p->n_kv_heads + head) * h, *v = a->v + (t * p->n_kv_heads + head) * h;
            kernel_norm(k, k, w->k_norm, p->rms_eps, h);
            rope_turn(k, a->cosine + t * (h / 2), a->sine + t * (h / 2), h);
            kv_store(&s->kv, layer, head, first + (uint32_t)t, k, v);
        }
    return 0;
}

typedef struct AttentionWork {
    RefState *s;
    uint32_t layer, first;
    size_t from; /* first token of the batch that is wanted */
} AttentionWork;

/* All query heads of one key-value head, for one token: they read each chunk of the cache together. */
static int attend_group(void *context, size_t index, unsigned thread, Error *err) {
    (void)err;
    const AttentionWork *work = context;
    RefState *s = work->s;
    const ModelParams *p = s->params;
    size_t h = p->head_dim, group = p->n_heads / p->n_kv_heads, token = work->from + index / p->n_kv_heads;
    uint32_t kv_head = (uint32_t)(index % p->n_kv_heads), last = work->first + (uint32_t)token;
    const LayerWeights *w = &s->weights->layers[work->layer];
    float *k_room = s->team.scratch + thread * s->team.scratch_floats;
    float *v_room = k_room + ATTENTION_CHUNK * h, *scratch = v_room + ATTENTION_CHUNK * h;
    float *scores = scratch + mat_scratch(h) / sizeof(float);
    float *mixed = scores + group * ATTENTION_CHUNK, *m = mixed + group * h, *l = m + group;
    float *chunk_m = l + group, *chunk_l = chunk_m + group;
    float *q = s->a.q + (token * p->n_heads + kv_head * group) * h; /* [group][head_dim] */
    float *out = s->a.heads + (token * p->n_heads + kv_head * group) * h;
    float scale = (float)(1 / sqrt((double)h));

    for (size_t j = 0; j < group; j++) {
        kernel_norm(q + j * h, q + j * h, w->q_norm, p->rms_eps, h);
        rope_turn(q + j * h, s->a.cosine + token * (h / 2), s->a.sine + token * (h / 2), h);
    }
    for (uint32_t start = 0; start <= last; start += ATTENTION_CHUNK) {
        size_t n = last - start < ATTENTION_CHUNK ? last - start + 1 : ATTENTION_CHUNK;
        const float *k = kv_keys(&s->kv, work->layer, kv_head, start, n, k_room);
        const float *v = kv_values(&s->kv, work->layer, kv_head, start, n, v_room);
        MatTile keys = {.type = DT_F32,
                        .rows = (const uint8_t *)k,
                        .row_bytes = h * sizeof *k,
                        .n_rows = n,
                        .columns = h,
                        .x = (const uint8_t *)q,
                        .x_bytes = h * sizeof *q,
                        .n = group,
                        .out = scores,
                        .out_stride = ATTENTION_CHUNK,
                        .scratch = scratch};
        s->team.kernels->floats(&keys);
        for (size_t j = 0; j < group; j++)
            kernel_softmax(scores + j * ATTENTION_CHUNK, n, scale, &chunk_m[j], &chunk_l[j]);
        s->team.kernels->mix(start ? mixed : out, scores, ATTENTION_CHUNK, v, n, group, h);
        for (size_t j = 0; j < group; j++)
            if (start)
                kernel_merge(&m[j], &l[j], out + j * h, chunk_m[j], chunk_l[j], mixed + j * h, h);
            else
                m[j] = chunk_m[j], l[j] = chunk_l[j];
    }
    for (size_t j = 0; j < group; j++)
        for (size_t d = 0; d < h; d++) out[j * h + d] /= l[j];
    return 0;
}

int attention_add(RefState *s, uint32_t layer, uint32_t first, size_t from, size_t count, Error *err) {
    const ModelParams *p = s->params;
    Activations *a = &s->a;
    size_t wanted = count - from, width = (size_t)p->n_heads * p->head_dim;
    AttentionWork work = {.s = s, .layer = layer, .first = first, .from = from};
    uint64_t macs = (uint64_t)wanted * width * 2 * (first + count);
    TRY(team_run(&s->team, macs, wanted * p->n_kv_heads, (ThreadWork){attend_group, &work}, err));
    Product o = {.w = &s->weights->layers[layer].o, .x = a->heads + from * width, .out = a->y, .n = wanted};
    TRY(team_products(&s->team, &o, 1, err));
    for (size_t i = 0; i < wanted * p->n_embd; i++) a->x[from * p->n_embd + i] += a->y[i];
    return 0;
}
