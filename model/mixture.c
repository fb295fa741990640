/* mixture.c -- the walk that gives every tensor its type: who may be quantized, whose type is given by hand,
 * whose by the preset's rules (mixture_rules.c), and what happens when rows don't fit. */
#include "model/mixture.h"

#include "model/mixture_private.h"
#include <stdlib.h>
#include <string.h>

MixtureRules mixture_rules(const Preset *preset) {
    return (MixtureRules){.preset = preset, .embedding_type = DT_NONE, .output_type = DT_NONE};
}

typedef struct Plan {
    const Model *model;
    const MixtureRules *rules;
    RuleState state;
    DType *types;
    MixtureFallback *fallbacks;
    size_t n_fallbacks;
} Plan;

/* ---- who may be quantized ---- */

/* Small or sensitive matrices that llama.cpp keeps, by parts of their names. */
static const char *const kept_parts[] = {"_norm.weight",
                                         "ffn_gate_inp.weight",
                                         "ffn_gate_tid2eid.weight",
                                         "altup",
                                         "laurel",
                                         "per_layer_model_proj",
                                         "ssm_conv1d",
                                         "shortconv.conv.weight",
                                         "indexer.k_proj.weight",
                                         "indexer.q_proj.weight",
                                         "time_mix_first.weight",
                                         "time_mix_w0.weight",
                                         "time_mix_w1.weight",
                                         "time_mix_w2.weight",
                                         "time_mix_v0.weight",
                                         "time_mix_v1.weight",
                                         "time_mix_v2.weight",
                                         "time_mix_a0.weight",
                                         "time_mix_a1.weight",
                                         "time_mix_a2.weight",
                                         "time_mix_g1.weight",
                                         "time_mix_g2.weight",
                                         "time_mix_decay_w1.weight",
                                         "time_mix_decay_w2.weight",
                                         "time_mix_lerp_fused.weight",
                                         "attn_rel_b.weight",
                                         ".position_embd",
                                         "sam.pos_embd",
                                         "sam.neck.",
                                         "sam.net_",
                                         ".rel_pos",
                                         ".patch_embd",
                                         ".patch_merger",
                                         "a.rvq.codebook",
                                         "mm.a.code_embd",
                                         NULL};

static const char *const kept_parts_glm5[] = {"hc_",
                                              "indexer.attn_q_b",
                                              "indexer.attn_k",
                                              "indexer.proj",
                                              "indexer_compressor_gate",
                                              "indexer_compressor_ape",
                                              "ssm_f_a.weight",
                                              "ssm_f_b.weight",
                                              "ssm_g_a.weight",
                                              "ssm_g_b.weight",
                                              "ssm_beta.weight",
                                              "attn_kv_a_mqa.weight",
                                              "attn_k_b.weight",
                                              "attn_v_b.weight",
                                              NULL};

static bool has_part(const char *name, const char *const *parts) {
    while (*parts)
        if (strstr(name, *parts++)) return true;
    return false;
}

/* Trailing sizes of 1 don't count, as in ggml. */
static bool is_vector(const Tensor *t) {
    return t->dims[1] == 1 && t->dims[2] == 1 && t->dims[3] == 1;
}

static bool may_quantize(const Plan *p, const Tensor *t) {
    const DTypeInfo *info = dtype_info(t->type);
    const char *name = t->name;
    size_t n = strlen(name);
    if (!info || (info->block == 1 && !dtype_is_float(t->type))) return false;
    if (is_vector(t) || n < 6 || strcmp(name + n - 6, "weight") != 0) return false;
    if (!strcmp(name, "output.weight") && p->rules->keep_output) return false;
    if (!strcmp(name, "position_embd.weight") || !strcmp(name, "token_types.weight")) return false;
    return !has_part(name, kept_parts) && !(p->state.glm5_next && has_part(name, kept_parts_glm5));
}

/* ---- types by hand ---- */

static DType listed_type(const Plan *p, const Tensor *t) {
    return p->rules->tensor_types ? tensor_types_find(p->rules->tensor_types, t->name) : DT_NONE;
}

/* Types for the embedding and the head go before all else. per_layer_token_embd, a table of its own, takes
 * the embedding's unless the list names it. */
static DType forced_type(const Plan *p, const Tensor *t, Role role) {
    const MixtureRules *r = p->rules;
    if (role == ROLE_OUTPUT) return r->output_type;
    if (role != ROLE_EMBEDDING) return DT_NONE;
    if (!strcmp(t->name, "per_layer_token_embd.weight") && listed_type(p, t) != DT_NONE) return DT_NONE;
    return r->embedding_type;
}

static bool rows_fit(const Tensor *t, DType type) {
    return t->dims[0] % dtype_info(type)->block == 0;
}

static int check_forced(const Tensor *t, DType type, Error *err) {
    if (!dtype_info(type))
        return error_set(err, ERR_UNSUPPORTED, "tensor %s: there is no type %d", t->name, (int)type);
    if (rows_fit(t, type)) return 0;
    return error_set(err, ERR_UNSUPPORTED,
                     "tensor %s: rows of %llu elements are no whole number of %s blocks of %u; choose "
                     "another type for it",
                     t->name, (unsigned long long)t->dims[0], dtype_name(type), dtype_info(type)->block);
}

/* ---- rows that don't fit ---- */

/* Of a type with large blocks: what comes closest with blocks of 32. DT_NONE: nothing is known. */
static DType smaller_blocks(DType type) {
    switch (type) {
    case DT_Q2_K:
    case DT_Q3_K:
    case DT_Q2_0:
    case DT_TQ1_0:
    case DT_TQ2_0: return DT_Q4_0;
    case DT_Q4_K: return DT_Q5_0;
    case DT_Q5_K: return DT_Q5_1;
    case DT_Q6_K: return DT_Q8_0;
    case DT_IQ1_S:
    case DT_IQ1_M:
    case DT_IQ2_XXS:
    case DT_IQ2_XS:
    case DT_IQ2_S:
    case DT_IQ3_XXS:
    case DT_IQ3_S:
    case DT_IQ4_XS: return DT_IQ4_NL;
    default: return dtype_info(type)->block <= 32 ? type : DT_NONE;
    }
}

static int fit_rows(Plan *p, const Tensor *t, DType *type, Error *err) {
    if (!dtype_info(*type) || rows_fit(t, *type)) return check_forced(t, *type, err);
    DType to = smaller_blocks(*type);
    if (to == DT_NONE) return check_forced(t, *type, err);
    if (!rows_fit(t, to)) to = DT_F16;
    p->fallbacks[p->n_fallbacks++] =
        (MixtureFallback){.tensor = t->name, .row_elements = t->dims[0], .from = *type, .to = to};
    *type = to;
    return 0;
}

/* ---- importance ---- */

/* Formats so coarse that without it the result is no use. */
static bool needs_imatrix(DType type, FileType file_type) {
    switch (type) {
    case DT_IQ1_S:
    case DT_IQ1_M:
    case DT_IQ2_XXS:
    case DT_IQ2_XS:
    case DT_IQ2_S:
    case DT_IQ3_XXS: return true;
    case DT_Q2_K: return file_type == FILE_Q2_K_S;
    default: return false;
    }
}

static int check_importance(const Plan *p, const Tensor *t, Role role, DType type, Error *err) {
    const Imatrix *imatrix = p->rules->imatrix;
    const Preset *preset = p->rules->preset;
    const float *weights = NULL;
    if ((imatrix && t->type == type) || p->rules->weighted) return 0;
    if (imatrix) TRY(imatrix_weights(&weights, imatrix, t, err));
    if (weights || role == ROLE_EMBEDDING || role == ROLE_OUTPUT || !needs_imatrix(type, preset->file_type))
        return 0;
    if (imatrix)
        return error_set(err, ERR_CHECK,
                         "%s has no weights for tensor %s, which %s can't do without (%s in %s)",
                         imatrix->file_name, t->name, dtype_name(type), t->name, preset->name);
    return error_set(err, ERR_CHECK,
                     "%s needs an importance matrix: without one, tensor %s would be no use as %s; give one, "
                     "or choose another type",
                     preset->name, t->name, dtype_name(type));
}

/* ---- one tensor ---- */

static int choose(Plan *p, const Tensor *t, Role role, DType *type, Error *err) {
    *type = forced_type(p, t, role);
    if (*type != DT_NONE) return check_forced(t, *type, err);
    *type = p->rules->preset->type;
    if (dtype_is_float(*type)) return 0;
    DType listed = listed_type(p, t);
    if (listed != DT_NONE)
        *type = listed;
    else if (!p->rules->pure)
        TRY(apply_rules(type, &p->state, t, role, err));
    return fit_rows(p, t, type, err);
}

static int plan_tensor(Plan *p, const Tensor *t, DType *type, Error *err) {
    Role role = role_of(t->name);
    *type = DT_NONE;
    if (!may_quantize(p, t)) return 0;
    TRY(choose(p, t, role, type, err));
    return check_importance(p, t, role, *type, err);
}

/* ---- what the rules look at ---- */

/* A count of the first layer: some architectures have one a layer. False: the key is no array of counts. */
static bool first_of_array(const Model *m, const char *suffix, uint32_t *out) {
    char key[160];
    const GgufValue *v =
        m->metadata ? metadata_get(m->metadata, metadata_arch_key(m->metadata, suffix, key, sizeof key))
                    : NULL;
    if (!v || v->type != GGUF_ARRAY || !v->array.count || !v->array.raw) return false;
    if (v->array.type != GGUF_U32 && v->array.type != GGUF_I32) return false;
    *out = load_u32(v->array.raw);
    return true;
}

static bool is_llama_70b(const ModelParams *p, uint32_t heads, uint32_t kv_heads) {
    const char *a = p->architecture;
    if (!strcmp(a, "llama") || !strcmp(a, "llama-embed"))
        return p->n_layers == 80 && p->n_experts != 8 && heads != kv_heads;
    if (!strcmp(a, "qwen2") || !strcmp(a, "deci") || !strcmp(a, "olmo")) return p->n_layers == 80;
    return !strcmp(a, "jais2") && p->n_layers == 68;
}

static void look_at_model(RuleState *s, const Model *m, const MixtureRules *rules) {
    const ModelParams *p = &m->params;
    uint32_t heads = p->n_heads, kv_heads = p->n_kv_heads;
    if (first_of_array(m, "attention.head_count", &heads) && !kv_heads) kv_heads = heads;
    first_of_array(m, "attention.head_count_kv", &kv_heads);
    *s = (RuleState){.file_type = rules->preset->file_type,
                     .output_type = rules->output_type,
                     .has_imatrix = rules->imatrix != NULL || rules->weighted,
                     .tied = true,
                     .falcon = !strcmp(p->architecture, "falcon"),
                     .glm5_next = !strcmp(p->architecture, "glm5-next"),
                     .llama_70b = is_llama_70b(p, heads, kv_heads),
                     .n_experts = p->n_experts,
                     .gqa = kv_heads ? heads / kv_heads : 0,
                     .n_layers = p->n_layers};
    for (size_t i = 0; i < m->n_tensors; i++) {
        Role role = role_of(m->tensors[i].name);
        if (role == ROLE_VALUES) s->n_values++;
        if (role == ROLE_OUTPUT) s->tied = false;
    }
}

/* ---- the walk ---- */

/* llama-quantize's order: what is in no layer, then layer by layer; by name as bytes. Running numbers depend
 * on it. */
typedef struct Place {
    int64_t layer;
    const char *name;
    size_t index;
} Place;

static int compare_places(const void *a, const void *b) {
    const Place *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return strcmp(x->name, y->name);
}

static Place *order(const Model *m, Arena *arena) {
    Place *places = arena_alloc(arena, m->n_tensors, sizeof *places);
    if (!places) return NULL;
    for (size_t i = 0; i < m->n_tensors; i++)
        places[i] = (Place){layer_of(m->tensors[i].name), m->tensors[i].name, i};
    qsort(places, m->n_tensors, sizeof *places, compare_places);
    return places;
}

int mixture_plan(Mixture **out, const Model *m, const MixtureRules *rules, Arena *arena, Error *err) {
    *out = NULL;
    if (m->form != FORM_GGUF)
        return error_set(err, ERR_UNSUPPORTED, "%s: types are chosen for the GGUF form only", m->path);
    Plan p = {.model = m, .rules = rules};
    Mixture *mixture = arena_alloc(arena, 1, sizeof *mixture);
    Place *places = order(m, arena);
    p.types = arena_alloc(arena, m->n_tensors, sizeof *p.types);
    p.fallbacks = arena_alloc(arena, m->n_tensors, sizeof *p.fallbacks);
    if (!mixture || !places || !p.types || !p.fallbacks) return error_memory(err, "a plan of types");
    look_at_model(&p.state, m, rules);
    for (size_t i = 0; i < m->n_tensors; i++)
        TRY(plan_tensor(&p, &m->tensors[places[i].index], &p.types[places[i].index], err));
    *mixture = (Mixture){.types = p.types, .n_fallbacks = p.n_fallbacks, .fallbacks = p.fallbacks};
    *out = mixture;
    return 0;
}
