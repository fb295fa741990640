/* mixture_fixture.h -- models that are only names and shapes, and what a plan says of their tensors. */
#ifndef RECAST_TESTS_MIXTURE_FIXTURE_H
#define RECAST_TESTS_MIXTURE_FIXTURE_H

#include "core/buffer.h"
#include "model/mixture.h"
#include "support.h"

/* ---- models of names and shapes ---- */

typedef struct Shape {
    const char *architecture;
    uint32_t layers, experts, heads, kv_heads;
    uint64_t row; /* elements of every row */
    bool tied, fused_qkv;
} Shape;

enum { MAX_TENSORS = 1000 };

static Model model;
static Tensor tensors[MAX_TENSORS];
static Arena *arena; /* of names and plans */
static Metadata *keys;
static MixtureRules rules;
static Mixture *plan;
static Error e;

static inline void setup(void) {
    e = (Error){0};
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&keys, arena, NULL), 0);
}

static inline void teardown(void) {
    arena_close(arena);
}

static inline Tensor *add(const char *name, DType type, uint64_t d0, uint64_t d1, uint64_t d2) {
    cr_assert_lt(model.n_tensors, MAX_TENSORS);
    Tensor *t = &tensors[model.n_tensors++];
    *t = (Tensor){.name = name, .type = type, .stored = type, .n_dims = 3, .dims = {d0, d1, d2, 1}};
    return t;
}

static inline void add_in_layer(uint32_t layer, const char *name, DType type, uint64_t d0, uint64_t d1,
                                uint64_t d2) {
    add(arena_printf(arena, "blk.%u.%s.weight", layer, name), type, d0, d1, d2);
}

static inline void add_layer(const Shape *s, uint32_t i) {
    uint64_t experts = s->experts ? s->experts : 1;
    const char *suffix = s->experts ? "_exps" : "";
    if (s->fused_qkv)
        add_in_layer(i, "attn_qkv", DT_BF16, s->row, 96, 1);
    else
        for (const char *c = "qkv"; *c; c++)
            add_in_layer(i, arena_printf(arena, "attn_%c", *c), DT_BF16, s->row, 32, 1);
    add_in_layer(i, "attn_output", DT_BF16, s->row, 64, 1);
    add_in_layer(i, "attn_norm", DT_F32, s->row, 1, 1);
    add_in_layer(i, arena_printf(arena, "ffn_down%s", suffix), DT_BF16, s->row, 32, experts);
    add_in_layer(i, arena_printf(arena, "ffn_gate%s", suffix), DT_BF16, s->row, 32, experts);
    add_in_layer(i, arena_printf(arena, "ffn_up%s", suffix), DT_BF16, s->row, 32, experts);
    if (s->experts) add_in_layer(i, "ffn_gate_inp", DT_F32, s->row, experts, 1);
}

/* Layers come last to first, so that only sorting them by number gives the right running numbers. */
static inline void make(Shape s) {
    model = (Model){.form = FORM_GGUF, .path = "x.gguf", .tensors = tensors, .metadata = keys};
    snprintf(model.params.architecture, sizeof model.params.architecture, "%s", s.architecture);
    cr_assert_eq(metadata_set_string(keys, "general.architecture", s.architecture, NULL), 0);
    model.params.n_layers = s.layers;
    model.params.n_experts = s.experts;
    model.params.n_heads = s.heads;
    model.params.n_kv_heads = s.kv_heads;
    for (uint32_t i = s.layers; i-- > 0;) add_layer(&s, i);
    add("token_embd.weight", DT_BF16, s.row, 1000, 1);
    add("output_norm.weight", DT_F32, s.row, 1, 1);
    if (!s.tied) add("output.weight", DT_BF16, s.row, 1000, 1);
}

static const Shape QWEN3_30B = {"qwen3moe", 48, 128, 32, 4, 512, false, false};

static inline void preset(const char *name) {
    const Preset *p = preset_by_name(name);
    cr_assert_not_null(p, "%s", name);
    rules = mixture_rules(p);
}

static inline void plans(void) {
    int code = mixture_plan(&plan, &model, &rules, arena, &e);
    cr_assert_eq(code, 0, "%s: %s", rules.preset->name, e.message);
}

static inline void refused(int code, const char *part) {
    cr_assert_eq(mixture_plan(&plan, &model, &rules, arena, &e), code);
    cr_assert_null(plan);
    cr_assert_not_null(strstr(e.message, part), "%s", e.message);
}

static inline const char *type_of(const char *name) {
    for (size_t i = 0; i < model.n_tensors; i++)
        if (!strcmp(tensors[i].name, name))
            return plan->types[i] == DT_NONE ? "stays" : dtype_name(plan->types[i]);
    cr_assert_fail("%s", name);
    return NULL;
}

static inline void is(const char *name, const char *type) {
    cr_assert_str_eq(type_of(name), type, "%s: %s is %s, expected %s", rules.preset->name, name,
                     type_of(name), type);
}

static inline const char *in_layer(uint32_t layer, const char *name) {
    return arena_printf(arena, "blk.%u.%s.weight", layer, name);
}

/* ---- expected types a layer ---- */

/* "0-5,8": is i in it? */
static inline bool in_ranges(const char *ranges, uint32_t i) {
    for (const char *at = ranges; *at;) {
        char *end;
        unsigned long first = strtoul(at, &end, 10), last = first;
        if (*end == '-') last = strtoul(end + 1, &end, 10);
        if (i >= first && i <= last) return true;
        at = *end == ',' ? end + 1 : end;
    }
    return false;
}

typedef struct Expected {
    const char *type;            /* of the layers that are not named */
    const char *special, *where; /* another one, and its layers: "0-5,8" */
} Expected;

static inline void are(const char *name, Expected x) {
    for (uint32_t i = 0; i < model.params.n_layers; i++)
        is(in_layer(i, name), x.special && in_ranges(x.where, i) ? x.special : x.type);
}

/* of 48 layers */
#define MORE   "0-5,8,11,14,17,20,23,26,29,32,35,38,41,42-47"
#define EIGHTH "0-5"

#endif
