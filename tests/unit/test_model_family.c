/* Families: lookup, the expected tensors and their order, names in either form, checking a model's tensors.
 */
#include "model/family.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Qwen3-30B-A3B (its config.json; SHA-256-pinned facts of the release). */
static ModelParams params_30b(void) {
    return (ModelParams){.architecture = "qwen3moe",
                         .n_layers = 48,
                         .n_embd = 2048,
                         .n_ff = 6144,
                         .n_heads = 32,
                         .n_kv_heads = 4,
                         .head_dim = 128,
                         .n_experts = 128,
                         .n_experts_used = 8,
                         .n_ff_expert = 768,
                         .n_vocab = 151936,
                         .context = 40960,
                         .rms_eps = 1e-6f,
                         .norm_topk_prob = true,
                         .rope = {.theta = 1e6f}};
}

static ModelParams params_small(void) {
    ModelParams p = params_30b();
    p.n_layers = 12, p.n_embd = 8, p.n_heads = 4, p.n_kv_heads = 2, p.head_dim = 4, p.n_experts = 3,
    p.n_experts_used = 2;
    p.n_ff_expert = 6, p.n_vocab = 10;
    return p;
}

/* ---- a model of names and shapes alone ---- */

typedef struct Fake {
    Model model;
    Tensor *tensors;
    Table *names;
    size_t count;
} Fake;

static void add(Fake *f, const char *name, uint32_t n_dims, const uint64_t *dims) {
    Tensor *t = &f->tensors[f->count++];
    *t = (Tensor){.name = arena_string(f->model.arena, name), .n_dims = n_dims};
    for (int i = 0; i < 4; i++) t->dims[i] = i < (int)n_dims ? dims[i] : 1;
}

static void fake_open(Fake *f, ModelForm form, ModelParams p) {
    *f = (Fake){.model = {.form = form, .path = "fake", .family = &family_qwen3moe, .params = p}};
    cr_assert_eq(arena_open(&f->model.arena, NULL, NULL), 0);
    f->tensors = arena_alloc(f->model.arena, 4096, sizeof(Tensor));
    for (size_t i = 0; i < family_qwen3moe.n_tensors(&p); i++) {
        TensorSpec spec;
        family_qwen3moe.tensor(&p, i, &spec);
        if (spec.optional && p.tied_embeddings) continue;
        for (uint32_t e = 0; e < (spec.stacked && form == FORM_HF ? spec.dims[2] : 1); e++) {
            char name[160];
            cr_assert(family_expert_name(&spec, e, name, sizeof name));
            if (form == FORM_GGUF)
                add(f, spec.gguf_name, spec.n_dims, spec.dims);
            else
                add(f, name, spec.stacked ? 2 : spec.n_dims, spec.dims);
        }
    }
}

static int fake_check(Fake *f, Error *err) {
    f->model.tensors = f->tensors;
    f->model.n_tensors = f->count;
    cr_assert_eq(table_open(&f->names, f->model.arena, f->count, NULL), 0);
    for (size_t i = 0; i < f->count; i++)
        cr_assert_eq(table_put(f->names, f->tensors[i].name, strlen(f->tensors[i].name), i), 0);
    f->model.names = f->names;
    return family_check_tensors(&f->model, err);
}

static void fake_close(Fake *f) {
    arena_close(f->model.arena);
}

/* ---- lookup ---- */

Test(model_family, is_found_by_either_name) {
    cr_assert_eq(family_by_gguf("qwen3moe"), &family_qwen3moe);
    cr_assert_eq(family_by_hf("Qwen3MoeForCausalLM"), &family_qwen3moe);
    cr_assert_null(family_by_gguf("llama"));
    cr_assert_null(family_by_gguf(NULL));
    cr_assert_null(family_by_hf("Qwen3ForCausalLM"));
    cr_assert_null(family_by_hf(NULL));
}

Test(model_family, says_what_is_known) {
    cr_assert_not_null(strstr(family_known(), family_qwen3moe.name));
    cr_assert_not_null(strstr(family_known(), family_qwen3moe.hf_architecture));
}

/* ---- expected tensors ---- */

Test(model_family, expects_579_tensors_of_qwen3_30b) {
    ModelParams p = params_30b();
    cr_assert_eq(family_qwen3moe.n_tensors(&p), 579);
}

Test(model_family, lists_tensors_in_llama_quantize_order) {
    static const char *const head[] = {"output.weight",
                                       "output_norm.weight",
                                       "token_embd.weight",
                                       "blk.0.attn_k.weight",
                                       "blk.0.attn_k_norm.weight",
                                       "blk.0.attn_norm.weight",
                                       "blk.0.attn_output.weight",
                                       "blk.0.attn_q.weight",
                                       "blk.0.attn_q_norm.weight",
                                       "blk.0.attn_v.weight",
                                       "blk.0.ffn_down_exps.weight",
                                       "blk.0.ffn_gate_exps.weight",
                                       "blk.0.ffn_gate_inp.weight",
                                       "blk.0.ffn_norm.weight",
                                       "blk.0.ffn_up_exps.weight",
                                       "blk.1.attn_k.weight"};
    ModelParams p = params_small();
    TensorSpec spec;
    for (size_t i = 0; i < sizeof head / sizeof head[0]; i++) {
        family_qwen3moe.tensor(&p, i, &spec);
        cr_assert_str_eq(spec.gguf_name, head[i]);
    }
    family_qwen3moe.tensor(&p, family_qwen3moe.n_tensors(&p) - 1, &spec);
    cr_assert_str_eq(spec.gguf_name, "blk.11.ffn_up_exps.weight"); /* layers by number, not as text */
}

Test(model_family, knows_shapes_in_ggml_order) {
    static const struct {
        const char *name, *hf;
        uint32_t n;
        uint64_t dims[4];
        bool f32;
    } cases[] = {
        {"token_embd.weight", "model.embed_tokens.weight", 2, {2048, 151936, 1, 1}, false},
        {"output.weight", "lm_head.weight", 2, {2048, 151936, 1, 1}, false},
        {"output_norm.weight", "model.norm.weight", 1, {2048, 1, 1, 1}, true},
        {"blk.47.attn_q.weight", "model.layers.47.self_attn.q_proj.weight", 2, {2048, 4096, 1, 1}, false},
        {"blk.47.attn_k.weight", "model.layers.47.self_attn.k_proj.weight", 2, {2048, 512, 1, 1}, false},
        {"blk.47.attn_output.weight",
         "model.layers.47.self_attn.o_proj.weight",
         2,
         {4096, 2048, 1, 1},
         false},
        {"blk.3.attn_q_norm.weight", "model.layers.3.self_attn.q_norm.weight", 1, {128, 1, 1, 1}, true},
        {"blk.3.ffn_norm.weight", "model.layers.3.post_attention_layernorm.weight", 1, {2048, 1, 1, 1}, true},
        {"blk.3.ffn_gate_inp.weight", "model.layers.3.mlp.gate.weight", 2, {2048, 128, 1, 1}, true},
        {"blk.3.ffn_down_exps.weight",
         "model.layers.3.mlp.experts.%u.down_proj.weight",
         3,
         {768, 2048, 128, 1},
         false},
        {"blk.3.ffn_up_exps.weight",
         "model.layers.3.mlp.experts.%u.up_proj.weight",
         3,
         {2048, 768, 128, 1},
         false},
    };
    ModelParams p = params_30b();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        TensorSpec spec;
        cr_assert(family_find_spec(&family_qwen3moe, &p, cases[i].name, &spec), "%s", cases[i].name);
        cr_assert_str_eq(spec.hf_name, cases[i].hf);
        cr_assert_eq(spec.n_dims, cases[i].n);
        cr_assert_eq(memcmp(spec.dims, cases[i].dims, sizeof spec.dims), 0, "%s", cases[i].name);
        cr_assert_eq(spec.keep_f32, cases[i].f32);
        cr_assert_eq(spec.stacked, cases[i].n == 3);
    }
}

Test(model_family, finds_every_name_that_it_lists_and_no_other) {
    ModelParams p = params_small();
    TensorSpec spec, found;
    for (size_t i = 0; i < family_qwen3moe.n_tensors(&p); i++) {
        family_qwen3moe.tensor(&p, i, &spec);
        cr_assert(family_find_spec(&family_qwen3moe, &p, spec.gguf_name, &found));
        cr_assert_str_eq(found.hf_name, spec.hf_name);
    }
    static const char *const strangers[] = {"",
                                            "blk.12.attn_k.weight",
                                            "blk..attn_k.weight",
                                            "blk.0.attn_q.bias",
                                            "output",
                                            "blk.00.attn_k.weight",
                                            "rope_freqs.weight",
                                            "blk.0",
                                            "blk.99999999999999999999.attn_k.weight"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        cr_assert_not(family_find_spec(&family_qwen3moe, &p, strangers[i], &found), "%s", strangers[i]);
}

Test(model_family, names_the_hf_tensors_of_a_gguf_tensor) {
    Fake f;
    char name[128];
    uint32_t count = 0;
    fake_open(&f, FORM_GGUF, params_small());
    cr_assert(family_hf_name(&f.model, "blk.11.ffn_up_exps.weight", 2, name, sizeof name, &count));
    cr_assert_str_eq(name, "model.layers.11.mlp.experts.2.up_proj.weight");
    cr_assert_eq(count, 3);
    cr_assert_not(family_hf_name(&f.model, "blk.11.ffn_up_exps.weight", 3, name, sizeof name, &count));
    cr_assert(family_hf_name(&f.model, "output_norm.weight", 0, name, sizeof name, &count));
    cr_assert_str_eq(name, "model.norm.weight");
    cr_assert_eq(count, 1);
    cr_assert_not(family_hf_name(&f.model, "output_norm.bias", 0, name, sizeof name, &count));
    cr_assert_not(family_hf_name(&f.model, "output_norm.weight", 0, name, 5, &count),
                  "cut names are no names");
    fake_close(&f);
}

/* ---- checking ---- */

Test(model_family, accepts_both_forms) {
    for (int form = 0; form < 2; form++)
        for (int tied = 0; tied < 2; tied++) {
            Fake f;
            Error err = {0};
            ModelParams p = params_small();
            p.tied_embeddings = tied;
            fake_open(&f, form ? FORM_GGUF : FORM_HF, p);
            cr_assert_eq(f.count, (form ? 12u * 12 : 12u * (9 + 9)) + 3 - (unsigned)tied);
            cr_assert_eq(fake_check(&f, &err), 0, "%s", err.message);
            fake_close(&f);
        }
}

Test(model_family, accepts_gguf_without_trailing_ones) {
    Fake f;
    Error err = {0};
    ModelParams p = params_small();
    p.n_experts = p.n_experts_used = 1;
    fake_open(&f, FORM_GGUF, p);
    for (size_t i = 0; i < f.count; i++)
        while (f.tensors[i].n_dims > 1 && f.tensors[i].dims[f.tensors[i].n_dims - 1] == 1)
            f.tensors[i].n_dims--;
    cr_assert_eq(fake_check(&f, &err), 0, "%s", err.message);
    fake_close(&f);
}

static void expect_error(Fake *f, ErrorCode code, const char *part) {
    Error err = {0};
    cr_assert_eq(fake_check(f, &err), (int)code, "%s", err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
    fake_close(f);
}

Test(model_family, reports_a_missing_tensor) {
    Fake f;
    fake_open(&f, FORM_HF, params_small());
    const char *gone = f.tensors[--f.count].name;
    char part[160];
    snprintf(part, sizeof part, "tensor %s is missing", gone);
    expect_error(&f, ERR_FORMAT, part);
}

Test(model_family, reports_a_tensor_too_many) {
    Fake f;
    fake_open(&f, FORM_HF, params_small());
    add(&f, "model.layers.0.self_attn.q_proj.bias", 1, (uint64_t[]){16});
    expect_error(&f, ERR_UNSUPPORTED, "tensor model.layers.0.self_attn.q_proj.bias is none");
    fake_open(&f, FORM_GGUF, params_small());
    add(&f, "rope_freqs.weight", 1, (uint64_t[]){2});
    expect_error(&f, ERR_UNSUPPORTED, "rope_freqs.weight");
}

Test(model_family, reports_a_wrong_shape_with_both) {
    Fake f;
    fake_open(&f, FORM_HF, params_small());
    for (size_t i = 0; i < f.count; i++)
        if (!strcmp(f.tensors[i].name, "model.layers.4.mlp.experts.1.up_proj.weight"))
            f.tensors[i].dims[1] = 7;
    expect_error(&f, ERR_FORMAT,
                 "experts.1.up_proj.weight has the shape {8, 7} (fastest dimension first), expected {8, 6}");
}

Test(model_family, refuses_a_tied_flag_that_contradicts_the_head) {
    Fake f;
    fake_open(&f, FORM_HF, params_small());
    f.model.params.tied_embeddings = true;
    expect_error(&f, ERR_FORMAT, "tie_word_embeddings is true, but there is a tensor lm_head.weight");
    ModelParams p = params_small();
    p.tied_embeddings = true;
    fake_open(&f, FORM_HF, p);
    f.model.params.tied_embeddings = false;
    expect_error(&f, ERR_FORMAT, "lm_head.weight is missing");
}

Test(model_family, refuses_an_unknown_family) {
    Fake f;
    fake_open(&f, FORM_HF, params_small());
    f.model.family = NULL;
    snprintf(f.model.params.architecture, sizeof f.model.params.architecture, "LlamaForCausalLM");
    expect_error(&f, ERR_UNSUPPORTED, "LlamaForCausalLM is unknown; known: Qwen3MoeForCausalLM");
}
