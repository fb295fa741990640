/* compare_keys.c -- parameters and keys in which two models differ. */
#include "cli/compare.h"
#include "cli/value.h"
#include "core/floats.h"
#include <stdio.h>
#include <string.h>

static void show_key(cJSON *list, const char *key, const char *old, const char *new) {
    if (list) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "key", key);
        cJSON_AddStringToObject(o, "a", old);
        cJSON_AddStringToObject(o, "b", new);
        cJSON_AddItemToArray(list, o);
        return;
    }
    cli_print_safe(key, strlen(key));
    printf(": ");
    cli_print_safe(old, strlen(old));
    printf(" -> ");
    cli_print_safe(new, strlen(new));
    printf("\n");
}

static void compare_u32(cJSON *list, size_t *n, const char *key, uint32_t a, uint32_t b) {
    char x[16], y[16];
    if (a == b) return;
    snprintf(x, sizeof x, "%u", a);
    snprintf(y, sizeof y, "%u", b);
    ++*n;
    show_key(list, key, x, y);
}

static void compare_f32(cJSON *list, size_t *n, const char *key, float a, float b) {
    char x[32], y[32];
    if (f32_bits(a) == f32_bits(b)) return;
    snprintf(x, sizeof x, "%.9g", (double)a);
    snprintf(y, sizeof y, "%.9g", (double)b);
    ++*n;
    show_key(list, key, x, y);
}

static void compare_text(cJSON *list, size_t *n, const char *key, const char *a, const char *b) {
    if (!strcmp(a, b)) return;
    ++*n;
    show_key(list, key, a, b);
}

static void compare_bool(cJSON *list, size_t *n, const char *key, bool a, bool b) {
    compare_text(list, n, key, a ? "true" : "false", b ? "true" : "false");
}

static void compare_rope(cJSON *list, size_t *n, const RopeParams *a, const RopeParams *b) {
    compare_text(list, n, "rope", rope_type_name(a->type), rope_type_name(b->type));
    compare_f32(list, n, "rope base", a->theta, b->theta);
    compare_f32(list, n, "rope factor", a->factor, b->factor);
    compare_u32(list, n, "rope original context", a->original_context, b->original_context);
    compare_f32(list, n, "rope attention factor", a->attention_factor, b->attention_factor);
    if (a->type != b->type) return; /* what follows are defaults of the one that has them */
    compare_f32(list, n, "rope beta_fast", a->beta_fast, b->beta_fast);
    compare_f32(list, n, "rope beta_slow", a->beta_slow, b->beta_slow);
    compare_f32(list, n, "rope mscale", a->mscale, b->mscale);
    compare_f32(list, n, "rope mscale_all_dim", a->mscale_all_dim, b->mscale_all_dim);
    compare_bool(list, n, "rope truncate", a->truncate, b->truncate);
}

/* Every field of ModelParams: what is left out here would be called equal. */
static void compare_params(cJSON *list, size_t *n, const ModelParams *a, const ModelParams *b) {
    compare_text(list, n, "architecture", a->architecture, b->architecture);
    compare_u32(list, n, "layers", a->n_layers, b->n_layers);
    compare_u32(list, n, "embedding", a->n_embd, b->n_embd);
    compare_u32(list, n, "feed forward", a->n_ff, b->n_ff);
    compare_u32(list, n, "heads", a->n_heads, b->n_heads);
    compare_u32(list, n, "key-value heads", a->n_kv_heads, b->n_kv_heads);
    compare_u32(list, n, "head size", a->head_dim, b->head_dim);
    compare_u32(list, n, "experts", a->n_experts, b->n_experts);
    compare_u32(list, n, "experts used", a->n_experts_used, b->n_experts_used);
    compare_u32(list, n, "expert feed forward", a->n_ff_expert, b->n_ff_expert);
    compare_u32(list, n, "tokens", a->n_vocab, b->n_vocab);
    compare_u32(list, n, "context", a->context, b->context);
    compare_f32(list, n, "rms_norm_eps", a->rms_eps, b->rms_eps);
    compare_bool(list, n, "norm_topk_prob", a->norm_topk_prob, b->norm_topk_prob);
    compare_bool(list, n, "tied embeddings", a->tied_embeddings, b->tied_embeddings);
    compare_rope(list, n, &a->rope, &b->rope);
}

/* Provenance says where a file comes from, not what it is. */
static bool is_provenance(const GgufKv *kv) {
    return !strncmp(kv->key.data, "recast.", 7);
}

/* The value of a key in m as text, "absent" if it has none. */
static void key_text(Buffer *out, const Metadata *m, const char *key) {
    const GgufValue *value = metadata_get(m, key);
    buffer_clear(out);
    if (value)
        value_text(out, value);
    else
        buffer_text(out, "absent");
}

static bool same_value(const GgufKv *kv, const GgufValue *other, Buffer *x, Buffer *y) {
    GgufKv twin = {.key = kv->key, .value = *other};
    buffer_clear(x);
    buffer_clear(y);
    metadata_write_kv(x, kv);
    metadata_write_kv(y, &twin);
    return x->length == y->length && !memcmp(x->data, y->data, x->length);
}

/* Keys of `from` that `other` lacks or, if values count, has another value for; shown as a -> b. */
static int compare_metadata(cJSON *list, size_t *n, const Metadata *from, const Metadata *other, bool values,
                            const Metadata *a, const Metadata *b, Error *err) {
    Buffer x, y;
    buffer_init(&x, NULL);
    buffer_init(&y, NULL);
    for (size_t i = 0; i < metadata_slots(from); i++) {
        const GgufKv *kv = metadata_slot(from, i);
        if (kv->removed || is_provenance(kv)) continue;
        const GgufValue *twin = metadata_get(other, kv->key.data);
        if (twin && (!values || same_value(kv, twin, &x, &y))) continue;
        ++*n;
        key_text(&x, a, kv->key.data);
        key_text(&y, b, kv->key.data);
        if (!strcmp(buffer_string(&x), buffer_string(&y))) buffer_text(&y, " (different further on)");
        show_key(list, kv->key.data, buffer_string(&x), buffer_string(&y));
    }
    int code = buffer_ok(&x, "comparing keys", err);
    if (!code) code = buffer_ok(&y, "comparing keys", err);
    buffer_free(&x);
    buffer_free(&y);
    return code;
}

int compared_keys_show(size_t *n, cJSON *list, const Model *a, const Model *b, Error *err) {
    *n = 0;
    if (!a->metadata || !b->metadata) {
        compare_params(list, n, &a->params, &b->params);
        return 0;
    }
    TRY(compare_metadata(list, n, a->metadata, b->metadata, true, a->metadata, b->metadata, err));
    return compare_metadata(list, n, b->metadata, a->metadata, false, a->metadata, b->metadata, err);
}
