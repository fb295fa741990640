/* The presets, and which type each tensor of models of several shapes gets. The expected types were taken
 * from llama-quantize's own output (--dry-run) for models of these shapes. */
#include "mixture_fixture.h"

#define PRESETS(name) Test(model_presets, name, .init = setup, .fini = teardown)

/* ---- presets ---- */

PRESETS(presets_are_found_by_name_alias_and_number) {
    static const struct {
        const char *name;
        uint32_t number;
        DType type;
    } known[] = {{"F32", 0, DT_F32},        {"F16", 1, DT_F16},      {"Q4_0", 2, DT_Q4_0},
                 {"Q4_1", 3, DT_Q4_1},      {"Q8_0", 7, DT_Q8_0},    {"Q5_0", 8, DT_Q5_0},
                 {"Q5_1", 9, DT_Q5_1},      {"Q2_K", 10, DT_Q2_K},   {"Q3_K_S", 11, DT_Q3_K},
                 {"Q3_K_M", 12, DT_Q3_K},   {"Q3_K_L", 13, DT_Q3_K}, {"Q4_K_S", 14, DT_Q4_K},
                 {"Q4_K_M", 15, DT_Q4_K},   {"Q5_K_S", 16, DT_Q5_K}, {"Q5_K_M", 17, DT_Q5_K},
                 {"Q6_K", 18, DT_Q6_K},     {"Q2_K_S", 21, DT_Q2_K}, {"IQ4_NL", 25, DT_IQ4_NL},
                 {"IQ4_XS", 30, DT_IQ4_XS}, {"BF16", 32, DT_BF16}};
    enum { N = sizeof known / sizeof known[0] };
    cr_assert_eq(preset_count(), N);
    for (size_t i = 0; i < N; i++) {
        const Preset *p = preset_by_name(known[i].name);
        cr_assert_not_null(p, "%s", known[i].name);
        cr_assert_str_eq(p->name, known[i].name);
        cr_assert_eq(p->file_type, known[i].number);
        cr_assert_eq(p->type, known[i].type);
        cr_assert_eq(preset_by_file_type(known[i].number), p);
        cr_assert_eq(preset_by_name(p->key), p);
        for (size_t k = 0; p->name[k]; k++)
            cr_assert_eq(p->key[k], p->name[k] >= 'A' && p->name[k] <= 'Z' ? p->name[k] + 32 : p->name[k]);
        cr_assert_eq(preset_by_name(arena_printf(arena, "%u", known[i].number)), p);
    }
    cr_assert_eq(preset_by_name("q4_k_m"), preset_by_name("Q4_K_M"));
    cr_assert_eq(preset_by_name("iq4_Xs"), preset_by_name("IQ4_XS"));
    cr_assert_eq(preset_by_name("q3_k"), preset_by_name("Q3_K_M"));
    cr_assert_eq(preset_by_name("Q4_K"), preset_by_name("Q4_K_M"));
    cr_assert_eq(preset_by_name("Q5_k"), preset_by_name("Q5_K_M"));
    for (size_t i = 0; i < N; i++) cr_assert_eq(preset_by_name(preset_at(i)->name), preset_at(i));
    cr_assert_null(preset_at(N));
}

PRESETS(other_names_are_no_presets) {
    static const char *const wrong[] = {"",
                                        "Q4_K_",
                                        "Q4_K_MM",
                                        "Q4",
                                        "COPY",
                                        "-1",
                                        "15x",
                                        " 15",
                                        "4",
                                        "015 ",
                                        "00015",
                                        "99",
                                        "00000000000000000015",
                                        "1e1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_null(preset_by_name(wrong[i]), "%s", wrong[i]);
    cr_assert_null(preset_by_name(NULL));
    cr_assert_null(preset_by_file_type(UINT32_MAX));
}

typedef struct PresetTypes {
    const char *name, *output, *embedding, *rest;
    Expected values, attention_output, down;
} PresetTypes;

static void check_preset(const PresetTypes *x) {
    preset(x->name);
    plans();
    is("output.weight", x->output);
    is("token_embd.weight", x->embedding);
    is("output_norm.weight", "stays");
    are("attn_q", (Expected){.type = x->rest});
    are("attn_k", (Expected){.type = x->rest});
    are("ffn_gate_exps", (Expected){.type = x->rest});
    are("ffn_up_exps", (Expected){.type = x->rest});
    are("attn_norm", (Expected){.type = "stays"});
    are("ffn_gate_inp", (Expected){.type = "stays"});
    are("attn_v", x->values);
    are("attn_output", x->attention_output);
    are("ffn_down_exps", x->down);
    cr_assert_eq(plan->n_fallbacks, 0);
}

PRESETS(qwen3_30b_without_importance) {
    static const PresetTypes table[] = {
        {"F32", "F32", "F32", "F32", {.type = "F32"}, {.type = "F32"}, {.type = "F32"}},
        {"F16", "F16", "F16", "F16", {.type = "F16"}, {.type = "F16"}, {.type = "F16"}},
        {"BF16", "BF16", "BF16", "BF16", {.type = "BF16"}, {.type = "BF16"}, {.type = "BF16"}},
        {"Q4_0", "Q6_K", "Q4_0", "Q4_0", {.type = "Q4_0"}, {.type = "Q4_0"}, {.type = "Q4_0"}},
        {"Q4_1", "Q6_K", "Q4_1", "Q4_1", {.type = "Q4_1"}, {.type = "Q4_1"}, {.type = "Q4_1"}},
        {"Q5_0", "Q6_K", "Q5_0", "Q5_0", {.type = "Q5_0"}, {.type = "Q5_0"}, {.type = "Q5_0"}},
        {"Q5_1", "Q6_K", "Q5_1", "Q5_1", {.type = "Q5_1"}, {.type = "Q5_1"}, {.type = "Q5_1"}},
        {"Q8_0", "Q8_0", "Q8_0", "Q8_0", {.type = "Q8_0"}, {.type = "Q8_0"}, {.type = "Q8_0"}},
        {"Q2_K", "Q6_K", "Q2_K", "Q2_K", {.type = "Q4_K"}, {.type = "Q3_K"}, {.type = "Q3_K"}},
        {"Q3_K_S", "Q6_K", "Q3_K", "Q3_K", {.type = "Q3_K"}, {.type = "Q3_K"}, {.type = "Q3_K"}},
        {"Q3_K_M",
         "Q6_K",
         "Q3_K",
         "Q3_K",
         {"Q4_K", "Q5_K", "0-1"},
         {.type = "Q4_K"},
         {"Q4_K", "Q5_K", "0-2"}},
        {"Q3_K_L", "Q6_K", "Q3_K", "Q3_K", {.type = "Q5_K"}, {.type = "Q5_K"}, {.type = "Q5_K"}},
        {"Q4_K_S",
         "Q6_K",
         "Q4_K",
         "Q4_K",
         {"Q4_K", "Q5_K", "0-3"},
         {.type = "Q4_K"},
         {"Q4_K", "Q5_K", EIGHTH}},
        {"Q4_K_M", "Q6_K", "Q4_K", "Q4_K", {"Q4_K", "Q6_K", MORE}, {.type = "Q4_K"}, {"Q4_K", "Q6_K", MORE}},
        {"Q5_K_S", "Q6_K", "Q5_K", "Q5_K", {.type = "Q5_K"}, {.type = "Q5_K"}, {.type = "Q5_K"}},
        {"Q5_K_M", "Q6_K", "Q5_K", "Q5_K", {"Q5_K", "Q6_K", MORE}, {.type = "Q5_K"}, {"Q5_K", "Q6_K", MORE}},
        {"Q6_K", "Q6_K", "Q6_K", "Q6_K", {.type = "Q6_K"}, {.type = "Q6_K"}, {.type = "Q6_K"}},
        {"IQ4_NL",
         "Q6_K",
         "IQ4_NL",
         "IQ4_NL",
         {.type = "Q5_K"},
         {.type = "IQ4_NL"},
         {"IQ4_NL", "Q5_K", EIGHTH}},
        {"IQ4_XS",
         "Q6_K",
         "IQ4_XS",
         "IQ4_XS",
         {.type = "Q5_K"},
         {.type = "IQ4_XS"},
         {"IQ4_XS", "Q5_K", EIGHTH}},
    };
    make(QWEN3_30B);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) check_preset(&table[i]);
}

/* ---- other shapes ---- */

PRESETS(few_query_heads_to_a_key_give_values_less) {
    Shape s = QWEN3_30B;
    s.kv_heads = 16;
    make(s);
    preset("Q2_K");
    plans();
    are("attn_v", (Expected){.type = "Q3_K"});
    preset("IQ4_XS");
    plans();
    are("attn_v", (Expected){.type = "IQ4_XS"});
    preset("IQ4_NL");
    plans();
    are("attn_v", (Expected){.type = "IQ4_NL"});
    preset("Q4_K_M");
    plans();
    are("attn_v", (Expected){"Q4_K", "Q6_K", MORE});
}

PRESETS(four_query_heads_to_a_key_are_enough) {
    Shape s = QWEN3_30B;
    s.kv_heads = 8;
    make(s);
    preset("Q2_K");
    plans();
    are("attn_v", (Expected){.type = "Q4_K"});
}

static void set_counts(const char *name, GgufType type, const uint32_t *counts) {
    GgufValue v = {.type = GGUF_ARRAY, .array = {.type = type, .count = 2, .raw = counts}};
    cr_assert_eq(metadata_set(keys, name, v, &e), 0);
}

PRESETS(head_counts_may_be_one_a_layer) {
    static const uint32_t heads[] = {32, 8}, kv_heads[] = {4, 8};
    Shape s = QWEN3_30B;
    s.heads = s.kv_heads = 0;
    s.architecture = "unknown";
    make(s);
    set_counts("unknown.attention.head_count", GGUF_U32, heads);
    preset("Q2_K");
    plans();
    are("attn_v", (Expected){.type = "Q3_K"}); /* as many keys as queries, if nothing is said of them */
    model.params.n_kv_heads = 8;
    plans();
    are("attn_v", (Expected){.type = "Q4_K"});
    set_counts("unknown.attention.head_count", GGUF_I32, heads);
    set_counts("unknown.attention.head_count_kv", GGUF_I32, kv_heads);
    model.params.n_kv_heads = 32;
    plans();
    are("attn_v", (Expected){.type = "Q4_K"});
    set_counts("unknown.attention.head_count_kv", GGUF_F32, kv_heads); /* no counts */
    plans();
    are("attn_v", (Expected){.type = "Q3_K"});
}

PRESETS(a_tied_embedding_takes_the_head_s_type) {
    Shape s = QWEN3_30B;
    s.tied = true;
    make(s);
    preset("Q4_K_M");
    plans();
    is("token_embd.weight", "Q6_K");
    rules.output_type = DT_Q5_K;
    plans();
    is("token_embd.weight", "Q5_K");
    rules.embedding_type = DT_Q3_K;
    plans();
    is("token_embd.weight", "Q3_K");
    preset("Q8_0");
    plans();
    is("token_embd.weight", "Q8_0");
}

PRESETS(eight_experts_are_mixtral) {
    static const struct {
        const char *preset, *output;
    } table[] = {{"Q2_K", "Q5_K"},   {"Q3_K_S", "Q5_K"}, {"Q3_K_M", "Q5_K"}, {"Q3_K_L", "Q3_K"},
                 {"Q4_K_S", "Q5_K"}, {"Q4_K_M", "Q5_K"}, {"Q5_K_S", "Q5_K"}, {"Q5_K_M", "Q5_K"},
                 {"Q6_K", "Q6_K"},   {"IQ4_NL", "Q5_K"}, {"IQ4_XS", "Q5_K"}, {"Q4_0", "Q4_0"},
                 {"Q5_1", "Q5_1"},   {"Q8_0", "Q8_0"}};
    make((Shape){"llama", 32, 8, 32, 8, 512, false, false});
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        preset(table[i].preset);
        plans();
        are("attn_k", (Expected){.type = "Q8_0"});
        are("attn_v", (Expected){.type = "Q8_0"});
        are("attn_output", (Expected){.type = table[i].output});
    }
}

PRESETS(dense_models_count_their_matrices) {
    make((Shape){"qwen3", 36, 0, 32, 8, 512, false, false});
    preset("Q4_K_M");
    plans();
    are("attn_v", (Expected){"Q4_K", "Q6_K", "0-3,6,9,12,15,18,21,24,27,30,31-35"});
    are("ffn_down", (Expected){"Q4_K", "Q6_K", "0-3,6,9,12,15,18,21,24,27,30,31-35"});
    preset("Q3_K_M");
    plans();
    are("ffn_down", (Expected){"Q4_K", "Q5_K", "0-1"});
}

/* Those with a type by hand are not counted: the third by layer is the first by rule. With experts the layer
 * in the name counts for feed-forward, but not for attention. */
PRESETS(matrices_with_a_type_by_hand_are_not_counted) {
    TensorTypes *list;
    cr_assert_eq(tensor_types_open(&list, NULL, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "blk\\.[01]\\.(attn_v|ffn_down)", DT_Q8_0, NULL), 0);
    make((Shape){"qwen3", 32, 0, 32, 8, 512, false, false});
    preset("Q4_K_S");
    rules.tensor_types = list;
    plans();
    is("blk.0.attn_v.weight", "Q8_0");
    is("blk.1.ffn_down.weight", "Q8_0");
    for (uint32_t i = 2; i < 32; i++) {
        is(in_layer(i, "attn_v"), i < 6 ? "Q5_K" : "Q4_K");
        is(in_layer(i, "ffn_down"), i < 6 ? "Q5_K" : "Q4_K");
    }
    make((Shape){"qwen3moe", 32, 4, 32, 8, 512, false, false});
    plans();
    for (uint32_t i = 2; i < 32; i++) {
        is(in_layer(i, "attn_v"), i < 6 ? "Q5_K" : "Q4_K");
        is(in_layer(i, "ffn_down_exps"), i < 4 ? "Q5_K" : "Q4_K");
    }
    tensor_types_close(list);
}

PRESETS(one_expert_is_none) {
    make((Shape){"qwen3moe", 32, 1, 32, 8, 512, false, false});
    add("ffn_down.weight", DT_BF16, 512, 8, 1); /* in no layer, so it comes first */
    preset("Q4_K_S");
    plans();
    is("ffn_down.weight", "Q5_K");
    are("ffn_down_exps", (Expected){"Q4_K", "Q5_K", "0-2"});
}

PRESETS(a_fused_projection_counts_as_values) {
    make((Shape){"phi3", 48, 0, 32, 32, 512, false, true});
    preset("Q4_K_M");
    plans();
    are("attn_qkv", (Expected){"Q4_K", "Q6_K", MORE});
}

PRESETS(llama_70b_gives_values_more) {
    make((Shape){"llama", 80, 0, 64, 8, 512, false, false});
    preset("Q4_K_M");
    plans();
    for (uint32_t i = 0; i < 80; i++)
        is(in_layer(i, "attn_v"), i < 10 || i >= 70 || (i - 10) % 3 == 2 ? "Q6_K" : "Q5_K");
    preset("Q3_K_S");
    plans();
    are("attn_v", (Expected){.type = "Q5_K"});
    are("attn_k", (Expected){.type = "Q3_K"});
    model.params.n_kv_heads = 64; /* 65B */
    plans();
    are("attn_v", (Expected){.type = "Q3_K"});
}

PRESETS(other_models_of_that_size_do_too) {
    static const struct {
        const char *architecture;
        uint32_t layers;
        const char *values;
    } table[] = {{"qwen2", 80, "Q5_K"},       {"deci", 80, "Q5_K"},  {"olmo", 80, "Q5_K"},
                 {"llama-embed", 80, "Q5_K"}, {"jais2", 68, "Q5_K"}, {"jais2", 80, "Q3_K"},
                 {"qwen2", 68, "Q3_K"},       {"qwen3", 80, "Q3_K"}, {"llama", 68, "Q3_K"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        make((Shape){table[i].architecture, table[i].layers, 0, 64, 8, 512, false, false});
        preset("Q3_K_S");
        plans();
        are("attn_v", (Expected){.type = table[i].values});
    }
}

PRESETS(falcon_has_rules_of_its_own) {
    make((Shape){"falcon", 32, 0, 71, 1, 512, false, true});
    preset("Q4_K_M");
    plans();
    is("output.weight", "Q8_0");
    for (uint32_t i = 0; i < 32; i++) {
        bool more = i < 4 || i >= 28 || (i - 4) % 3 == 2;
        is(in_layer(i, "ffn_down"), i < 2 ? "Q6_K" : more ? "Q5_K" : "Q4_K");
        is(in_layer(i, "attn_output"), "Q4_K");
    }
    preset("Q3_K_M");
    plans();
    for (uint32_t i = 0; i < 32; i++) {
        bool more = i < 4 || i >= 28 || (i - 4) % 3 == 2;
        is(in_layer(i, "ffn_down"), i < 2 ? "Q5_K" : more ? "Q4_K" : "Q3_K");
        is(in_layer(i, "attn_output"), "Q3_K");
    }
    preset("Q3_K_L");
    plans();
    are("ffn_down", (Expected){.type = "Q4_K"});
    are("attn_output", (Expected){.type = "Q4_K"});
    preset("Q4_K_S");
    plans();
    are("ffn_down", (Expected){.type = "Q4_K"});
    preset("Q2_K");
    plans();
    are("ffn_down", (Expected){.type = "Q3_K"});
}
