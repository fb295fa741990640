/* hf_verify.c -- the second look at a Hugging Face form: does its config.json say what the override says? It
 * is read by the same parser as any checkpoint, which knows nothing of patching. */
#include "convert/hf_verify.h"

#include "model/checkpoint.h"
#include "model/views.h"
#include <string.h>

static int differs(Error *err, const char *what, double meant, double found) {
    return error_set(err, ERR_CHECK, "the config.json just written says %s %.9g, but %.9g was meant", what,
                     found, meant);
}

#define COMPARE(field, name)                                                                     \
    do {                                                                                         \
        if (a->field != b->field) return differs(err, name, (double)a->field, (double)b->field); \
    } while (0)

static int compare_rope(const RopeParams *a, const RopeParams *b, Error *err) {
    COMPARE(type, "rope_type (number)");
    COMPARE(theta, "rope_theta");
    COMPARE(factor, "rope factor");
    COMPARE(original_context, "original_max_position_embeddings");
    COMPARE(has_attention_factor, "attention_factor (given or not)");
    COMPARE(attention_factor, "attention_factor");
    COMPARE(beta_fast, "beta_fast");
    COMPARE(beta_slow, "beta_slow");
    COMPARE(mscale, "mscale");
    COMPARE(mscale_all_dim, "mscale_all_dim");
    COMPARE(truncate, "truncate");
    return 0;
}

static int compare_params(const ModelParams *a, const ModelParams *b, Error *err) {
    COMPARE(n_layers, "num_hidden_layers");
    COMPARE(n_embd, "hidden_size");
    COMPARE(n_ff, "intermediate_size");
    COMPARE(n_heads, "num_attention_heads");
    COMPARE(n_kv_heads, "num_key_value_heads");
    COMPARE(head_dim, "head_dim");
    COMPARE(n_experts, "num_experts");
    COMPARE(n_experts_used, "num_experts_per_tok");
    COMPARE(n_ff_expert, "moe_intermediate_size");
    COMPARE(n_vocab, "vocab_size");
    COMPARE(context, "max_position_embeddings");
    COMPARE(rms_eps, "rms_norm_eps");
    COMPARE(norm_topk_prob, "norm_topk_prob");
    COMPARE(tied_embeddings, "tie_word_embeddings");
    return compare_rope(&a->rope, &b->rope, err);
}

static int compare_tensors(const Model *a, const Model *b, Error *err) {
    bool same = a->n_tensors == b->n_tensors;
    for (size_t i = 0; same && i < a->n_tensors; i++) {
        const Tensor *x = &a->tensors[i], *y = &b->tensors[i];
        same = strcmp(x->name, y->name) == 0 && x->type == y->type &&
               memcmp(x->dims, y->dims, sizeof x->dims) == 0;
    }
    return same ? 0
                : error_set(err, ERR_CHECK,
                            "the weight files just written hold other tensors than the source");
}

/* Of an unknown family a checkpoint tells no parameters, but an override view reads those that it needs: so
 * both are looked at through one. */
static int compare_models(const Model *meant, const Model *found, const Allocator *allocator, Error *err) {
    Model *view = NULL;
    cJSON *none = NULL;
    int code = 0;
    if (!meant->family && meant->overrides) {
        none = cJSON_CreateObject();
        code = none ? override_open(&view, found, none, (OverrideOptions){0}, allocator, err)
                    : error_memory(err, "reading config.json back");
    }
    if (!code) code = compare_params(&meant->params, view ? &view->params : &found->params, err);
    if (!code) code = compare_tensors(meant, found, err);
    model_close(view);
    cJSON_Delete(none);
    return code;
}

int hf_verify(const Model *meant, const char *directory, const Allocator *allocator, Error *err) {
    Model *found;
    int code = checkpoint_open(&found, directory, allocator, err);
    if (code) return error_wrap(err, code, "what was just written can't be read back");
    code = compare_models(meant, found, allocator, err);
    model_close(found);
    return code ? error_wrap(err, code, "%s", directory) : 0;
}
