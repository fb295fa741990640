/* What goes before and after a preset's rules: who is quantized, types by hand, rows that don't fit,
 * importance. The expected types were taken from llama-quantize's own output (--dry-run). */
#include "mixture_fixture.h"

#define MIXTURE(name) Test(model_mixture, name, .init = setup, .fini = teardown)

/* ---- who is quantized ---- */

MIXTURE(small_and_sensitive_tensors_stay) {
    static const char *const names[] = {
        "blk.0.attn_q.bias",
        "blk.0.attn_q_norm.weight",
        "blk.0.ffn_gate_inp.weight",
        "blk.0.ffn_gate_tid2eid.weight",
        "blk.0.altup_router.weight",
        "blk.0.laurel_l.weight",
        "per_layer_model_proj.weight",
        "position_embd.weight",
        "token_types.weight",
        "blk.0.ssm_conv1d.weight",
        "blk.0.shortconv.conv.weight",
        "blk.0.indexer.k_proj.weight",
        "blk.0.time_mix_first.weight",
        "blk.0.time_mix_w1.weight",
        "blk.0.time_mix_lerp_fused.weight",
        "blk.0.attn_rel_b.weight",
        "v.position_embd.weight",
        "v.patch_embd.weight",
        "rope_freqs",
        "weight.scale",
    };
    make((Shape){"unknown", 0, 0, 8, 8, 512, false, false});
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) add(names[i], DT_F16, 512, 8, 1);
    add("row.weight", DT_F16, 512, 1, 1);
    add("table.weight", DT_I32, 512, 8, 1);
    add("doubles.weight", DT_F64, 512, 8, 1);
    add("one.weight", DT_F16, 512, 1, 8); /* three dimensions, though the second is 1 */
    add("quantized.weight", DT_Q8_0, 512, 8, 1);
    add("float.weight", DT_F32, 512, 8, 1);
    preset("Q4_K_M");
    plans();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) is(names[i], "stays");
    is("row.weight", "stays");
    is("table.weight", "stays");
    is("doubles.weight", "stays");
    is("one.weight", "Q4_K");
    is("quantized.weight", "Q4_K");
    is("float.weight", "Q4_K");
}

MIXTURE(glm5_keeps_more) {
    static const char *const kept[] = {"blk.0.hc_head.weight", "blk.0.indexer.proj.weight",
                                       "blk.0.attn_k_b.weight", "blk.0.ssm_beta.weight"};
    make((Shape){"glm5-next", 0, 0, 8, 8, 512, false, false});
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) add(kept[i], DT_F16, 512, 8, 1);
    add("blk.0.attn_q_a.weight", DT_F16, 512, 8, 1);
    add("blk.0.attn_q_b.weight", DT_F16, 512, 8, 1);
    add("blk.0.nextn.eh_proj.weight", DT_F16, 512, 8, 1);
    preset("Q4_K_M");
    plans();
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) is(kept[i], "stays");
    is("blk.0.attn_q_a.weight", "Q8_0");
    is("blk.0.attn_q_b.weight", "Q8_0");
    is("blk.0.nextn.eh_proj.weight", "Q8_0");
    strcpy(model.params.architecture, "deepseek2");
    plans();
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) is(kept[i], "Q4_K");
    is("blk.0.attn_q_a.weight", "Q4_K");
}

MIXTURE(the_head_can_stay) {
    make(QWEN3_30B);
    preset("Q4_K_M");
    rules.keep_output = true;
    rules.output_type = DT_Q8_0;
    plans();
    is("output.weight", "stays");
    is("token_embd.weight", "Q4_K");
}

/* ---- types by hand ---- */

MIXTURE(types_by_hand_win_in_llama_quantize_s_order) {
    TensorTypes *list;
    cr_assert_eq(tensor_types_open(&list, NULL, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "OUTPUT", DT_Q5_0, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "attn_output", DT_Q4_1, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "token_embd", DT_F16, NULL), 0);
    make(QWEN3_30B);
    preset("Q4_K_M");
    rules.tensor_types = list;
    plans();
    is("output.weight", "Q5_0");
    is("blk.7.attn_output.weight", "Q5_0");
    is("output_norm.weight", "stays");
    is("token_embd.weight", "F16");
    rules.output_type = DT_BF16;
    rules.embedding_type = DT_Q8_0;
    plans();
    is("output.weight", "BF16");
    is("token_embd.weight", "Q8_0");
    is("blk.7.attn_output.weight", "Q5_0");
    preset("BF16"); /* a float preset knows no list, but the two */
    rules.tensor_types = list;
    rules.output_type = DT_Q6_K;
    plans();
    is("output.weight", "Q6_K");
    is("token_embd.weight", "BF16");
    is("blk.7.attn_output.weight", "BF16");
    tensor_types_close(list);
}

MIXTURE(pure_is_one_type) {
    TensorTypes *list;
    cr_assert_eq(tensor_types_open(&list, NULL, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "blk.3.attn_v", DT_Q8_0, NULL), 0);
    make(QWEN3_30B);
    preset("Q3_K_L");
    rules.pure = true;
    plans();
    is("output.weight", "Q3_K");
    are("attn_v", (Expected){.type = "Q3_K"});
    are("ffn_down_exps", (Expected){.type = "Q3_K"});
    rules.tensor_types = list;
    rules.output_type = DT_Q4_K;
    plans();
    is("output.weight", "Q4_K");
    are("attn_v", (Expected){"Q3_K", "Q8_0", "3"});
    tensor_types_close(list);
}

MIXTURE(the_embedding_of_layers_takes_the_embedding_s_type_unless_named) {
    TensorTypes *list;
    cr_assert_eq(tensor_types_open(&list, NULL, NULL), 0);
    make(QWEN3_30B);
    add("per_layer_token_embd.weight", DT_BF16, 512, 64, 1);
    preset("Q4_K_M");
    rules.tensor_types = list;
    rules.embedding_type = DT_Q8_0;
    plans();
    is("per_layer_token_embd.weight", "Q8_0");
    cr_assert_eq(tensor_types_add(list, "token_embd", DT_Q5_0, NULL), 0);
    plans();
    is("per_layer_token_embd.weight", "Q5_0");
    is("token_embd.weight", "Q8_0");
    tensor_types_close(list);
}

/* ---- rows that don't fit ---- */

typedef struct Fallback {
    const char *preset, *rest, *output, *values; /* types that come out */
} Fallback;

static void falls_back(uint64_t row, const Fallback *table, size_t n) {
    make((Shape){"qwen3moe", 2, 4, 32, 4, row, false, false});
    for (size_t i = 0; i < n; i++) {
        preset(table[i].preset);
        plans();
        is("blk.1.attn_q.weight", table[i].rest);
        is("output.weight", table[i].output);
        is("blk.0.attn_v.weight", table[i].values);
    }
}

MIXTURE(rows_of_64_and_96_take_smaller_blocks) {
    static const Fallback table[] = {
        {"Q4_0", "Q4_0", "Q8_0", "Q4_0"},     {"Q8_0", "Q8_0", "Q8_0", "Q8_0"},
        {"Q2_K", "Q4_0", "Q8_0", "Q5_0"},     {"Q3_K_M", "Q4_0", "Q8_0", "Q5_1"},
        {"Q4_K_M", "Q5_0", "Q8_0", "Q5_0"},   {"Q5_K_M", "Q5_1", "Q8_0", "Q5_1"},
        {"Q6_K", "Q8_0", "Q8_0", "Q8_0"},     {"IQ4_NL", "IQ4_NL", "Q8_0", "Q5_1"},
        {"IQ4_XS", "IQ4_NL", "Q8_0", "Q5_1"},
    };
    falls_back(64, table, sizeof table / sizeof table[0]);
    falls_back(96, table, sizeof table / sizeof table[0]);
}

MIXTURE(rows_of_33_become_f16) {
    static const Fallback table[] = {
        {"Q4_0", "F16", "F16", "F16"}, {"Q8_0", "F16", "F16", "F16"},   {"Q2_K", "F16", "F16", "F16"},
        {"Q6_K", "F16", "F16", "F16"}, {"IQ4_XS", "F16", "F16", "F16"}, {"BF16", "BF16", "BF16", "BF16"},
    };
    falls_back(33, table, sizeof table / sizeof table[0]);
}

MIXTURE(fallbacks_are_reported_in_order) {
    make((Shape){"qwen3moe", 1, 4, 32, 4, 512, false, false});
    add("blk.0.ffn_down.extra.weight", DT_BF16, 96, 8, 1);
    add("blk.0.attn_q.extra.weight", DT_BF16, 33, 8, 1);
    add("narrow.weight", DT_BF16, 100, 8, 1);
    preset("Q4_K_S");
    plans();
    cr_assert_eq(plan->n_fallbacks, 3);
    const MixtureFallback *f = plan->fallbacks;
    cr_assert_str_eq(f[0].tensor, "narrow.weight");
    cr_assert(f[0].row_elements == 100 && f[0].from == DT_Q4_K && f[0].to == DT_F16);
    cr_assert_str_eq(f[1].tensor, "blk.0.attn_q.extra.weight");
    cr_assert(f[1].row_elements == 33 && f[1].from == DT_Q4_K && f[1].to == DT_F16);
    cr_assert_str_eq(f[2].tensor, "blk.0.ffn_down.extra.weight");
    cr_assert(f[2].row_elements == 96 && f[2].from == DT_Q4_K && f[2].to == DT_Q5_0);
}

MIXTURE(a_type_asked_for_by_name_must_fit) {
    make((Shape){"qwen3moe", 1, 4, 32, 4, 96, false, false});
    preset("Q8_0");
    rules.output_type = DT_Q6_K;
    refused(ERR_UNSUPPORTED, "output.weight: rows of 96 elements are no whole number of Q6_K blocks of 256");
    preset("Q8_0");
    rules.embedding_type = DT_Q4_K;
    refused(ERR_UNSUPPORTED, "token_embd.weight");
    preset("Q8_0");
    rules.output_type = (DType)33;
    refused(ERR_UNSUPPORTED, "no type 33");
    TensorTypes *list; /* of the list they fall back */
    cr_assert_eq(tensor_types_open(&list, NULL, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "attn_q", DT_Q6_K, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "attn_k", DT_NVFP4, NULL), 0);
    preset("Q8_0");
    rules.tensor_types = list;
    refused(ERR_UNSUPPORTED, "blk.0.attn_k.weight: rows of 96 elements are no whole number of NVFP4");
    tensor_types_close(list);
    cr_assert_eq(tensor_types_open(&list, NULL, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "attn_q", DT_Q6_K, NULL), 0);
    rules.tensor_types = list;
    plans();
    is("blk.0.attn_q.weight", "Q8_0");
    cr_assert_eq(plan->n_fallbacks, 1);
    tensor_types_close(list);
}

/* ---- layers ---- */

MIXTURE(with_experts_every_feed_forward_matrix_has_a_layer) {
    static const char *const strange[] = {"ffn_down.weight",          "mtp.0.ffn_up.weight",
                                          "blk.2.ffn_up_exps.weight", "blk.x.ffn_gate.weight",
                                          "blk.-1.ffn_down.weight",   "blk.99999999999.ffn_down.weight"};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        make((Shape){"qwen3moe", 2, 4, 32, 4, 512, false, false});
        add(strange[i], DT_BF16, 512, 8, 1);
        preset("Q6_K");
        refused(ERR_UNSUPPORTED, strange[i]);
        rules.pure = true;
        plans();
        make((Shape){"qwen3", 2, 0, 32, 4, 512, false, false});
        add(strange[i], DT_BF16, 512, 8, 1);
        rules.pure = false;
        plans();
        is(strange[i], "Q6_K");
    }
}

MIXTURE(only_the_gguf_form_has_types) {
    make(QWEN3_30B);
    model.form = FORM_HF;
    preset("Q6_K");
    refused(ERR_UNSUPPORTED, "GGUF form");
}

MIXTURE(a_model_of_nothing_plans_nothing) {
    model = (Model){.form = FORM_GGUF, .path = "x.gguf"};
    preset("Q6_K");
    plans();
    cr_assert_eq(plan->n_fallbacks, 0);
}

/* ---- importance ---- */

/* The older form, with one entry for each matrix of the model but `without`, and of another size `wrong`. */
static Imatrix *importance(const char *without, const char *wrong) {
    Buffer b;
    Input *in;
    Imatrix *m;
    int32_t n = 0;
    buffer_init(&b, NULL);
    buffer_u32(&b, 0);
    for (size_t i = 0; i < model.n_tensors; i++) {
        const Tensor *t = &tensors[i];
        if (t->dims[1] * t->dims[2] == 1 || (without && !strcmp(t->name, without))) continue;
        uint64_t size = t->dims[0] * t->dims[2] + (wrong && !strcmp(t->name, wrong));
        buffer_u32(&b, (uint32_t)strlen(t->name));
        buffer_text(&b, t->name);
        buffer_u32(&b, 1);
        buffer_u32(&b, (uint32_t)size);
        for (uint64_t k = 0; k < size; k++) buffer_f32(&b, 1);
        n++;
    }
    memcpy(b.data, &n, 4);
    cr_assert_eq(input_open_memory(&in, "x.dat", b.data, b.length, NULL, NULL), 0);
    cr_assert_eq(imatrix_open_input(&m, in, NULL, &e), 0, "%s", e.message);
    input_close(in);
    buffer_free(&b);
    return m;
}

static const Shape SMALL_48 = {"qwen3moe", 48, 4, 32, 4, 256, false, false};

MIXTURE(importance_changes_the_first_layers) {
    make(SMALL_48);
    Imatrix *m = importance(NULL, NULL);
    static const struct {
        const char *preset;
        Expected down;
    } table[] = {{"Q4_0", {"Q4_0", "Q4_1", EIGHTH}},
                 {"Q5_0", {"Q5_0", "Q5_1", EIGHTH}},
                 {"Q4_1", {.type = "Q4_1"}},
                 {"Q5_1", {.type = "Q5_1"}},
                 {"IQ4_NL", {.type = "IQ4_NL"}},
                 {"IQ4_XS", {.type = "IQ4_XS"}},
                 {"Q2_K_S", {"Q2_K", "Q4_K", EIGHTH}},
                 {"Q4_K_S", {"Q4_K", "Q5_K", EIGHTH}},
                 {"Q2_K", {.type = "Q3_K"}}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        preset(table[i].preset);
        rules.imatrix = m;
        plans();
        are("ffn_down_exps", table[i].down);
    }
    preset("Q2_K_S");
    rules.imatrix = m;
    plans();
    are("attn_v", (Expected){.type = "Q4_K"});
    are("attn_output", (Expected){.type = "Q2_K"});
    are("attn_q", (Expected){.type = "Q2_K"});
    is("output.weight", "Q6_K");
    is("token_embd.weight", "Q2_K");
    model.params.n_kv_heads = 16;
    plans();
    are("attn_v", (Expected){.type = "Q2_K"});
    imatrix_close(m);
}

MIXTURE(q2_k_s_needs_importance) {
    make(SMALL_48);
    preset("Q2_K_S");
    refused(ERR_CHECK, "Q2_K_S needs an importance matrix: without one, tensor blk.0.attn_k.weight");
    rules.pure = true; /* the embedding and the head do without, the layers not */
    refused(ERR_CHECK, "blk.0.attn_k.weight");
    preset("Q2_K");
    plans();
    Imatrix *m = importance("blk.7.ffn_up_exps.weight", NULL);
    preset("Q2_K_S");
    rules.imatrix = m;
    refused(ERR_CHECK, "x.dat has no weights for tensor blk.7.ffn_up_exps.weight");
    preset("Q4_K_M");
    rules.imatrix = m;
    plans();
    imatrix_close(m);
    m = importance("token_embd.weight", NULL);
    preset("Q2_K_S");
    rules.imatrix = m;
    plans();
    imatrix_close(m);
}

MIXTURE(importance_of_another_model_is_refused) {
    make(SMALL_48);
    Imatrix *m = importance(NULL, "blk.3.attn_q.weight");
    preset("Q6_K");
    rules.imatrix = m;
    refused(ERR_CHECK, "x.dat: 257 values for the tensor blk.3.attn_q.weight");
    imatrix_close(m);
    m = importance(NULL, "token_embd.weight");
    rules.imatrix = m;
    plans();
    imatrix_close(m);
}

/* ---- memory ---- */

MIXTURE(every_failed_allocation_is_an_error) {
    make(SMALL_48);
    preset("Q4_K_M");
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        Arena *a;
        failing_init(&f, n);
        int code = arena_open(&a, &f.allocator, &e);
        if (!code) {
            code = mixture_plan(&plan, &model, &rules, a, &e);
            arena_close(a);
        }
        cr_assert_eq(f.live, 0);
        if (!code) break;
        cr_assert_eq(code, ERR_MEMORY);
        cr_assert_lt(n, 100);
    }
}
