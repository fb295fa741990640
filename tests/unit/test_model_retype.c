/* The retype view: which tensors change type, what their rows become, and what is refused. */
#include "core/floats.h"
#include "fixture.h"
#include "model/checkpoint.h"
#include "model/family.h"
#include "model/views.h"
#include "retype_fixture.h"
#include <math.h>

/* ---- a small GGUF model in memory ---- */

typedef struct Source {
    Model model;
    Input *input;
    Metadata *keys;
    Tensor tensors[16];
    Extent extents[16];
    Table *names;
    uint64_t at;
} Source;

static void source_open(Source *s, const char *architecture, const void *bytes, size_t length) {
    memset(s, 0, sizeof *s);
    s->model = (Model){.form = FORM_GGUF, .path = "x.gguf", .family = family_by_gguf(architecture)};
    cr_assert_eq(arena_open(&s->model.arena, NULL, NULL), 0);
    cr_assert_eq(input_open_memory(&s->input, "x.gguf", bytes, length, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&s->keys, s->model.arena, NULL), 0);
    cr_assert_eq(metadata_set_string(s->keys, "general.architecture", architecture, NULL), 0);
    cr_assert_eq(metadata_set_u32(s->keys, "general.file_type", 15, NULL), 0);
    cr_assert_eq(metadata_set_u32(s->keys, "last", 1, NULL), 0);
    cr_assert_eq(table_open(&s->names, s->model.arena, 16, NULL), 0);
    s->model.metadata = s->keys;
    s->model.tensors = s->tensors;
    s->model.names = s->names;
}

static void source_add(Source *s, const char *name, DType type, uint32_t n_dims, uint64_t d0, uint64_t d1) {
    size_t i = s->model.n_tensors++;
    Tensor *t = &s->tensors[i];
    *t = (Tensor){.name = name, .type = type, .stored = type, .n_dims = n_dims, .dims = {d0, d1, 1, 1}};
    t->n_extents = 1;
    t->extents = &s->extents[i];
    s->extents[i] = (Extent){.file = s->input, .offset = s->at, .length = tensor_bytes(t)};
    s->at += s->extents[i].length;
    cr_assert_eq(table_put(s->names, name, strlen(name), i), 0);
}

static void source_close(Source *s) {
    input_close(s->input);
    arena_close(s->model.arena);
}

static Model *retyped(const Source *s, DType type) {
    Model *m;
    Error err = {0};
    cr_assert_eq(retype_as(&m, &s->model, type, NULL, &err), 0, "%s", err.message);
    return m;
}

static DType type_of(const Model *m, const char *name) {
    const Tensor *t = model_find(m, name);
    cr_assert_not_null(t, "%s", name);
    return t->type;
}

static const uint8_t zeros[1 << 16];

/* ---- types ---- */

static void add_llama(Source *s, DType type) {
    source_add(s, "token_embd.weight", type, 2, 32, 8);
    source_add(s, "blk.0.attn_q.weight", type, 2, 32, 8);
    source_add(s, "blk.0.attn_q.bias", type, 2, 32, 2);
    source_add(s, "blk.0.attn_norm.weight", DT_F32, 1, 32, 1);
    source_add(s, "blk.0.ssm_norm.weight", type, 2, 32, 2);
    source_add(s, "blk.0.ffn_gate_inp.weight", type, 2, 32, 4);
    source_add(s, "blk.0.row.weight", type, 2, 32, 1);
    source_add(s, "blk.0.conv.weight", DT_F32, 2, 32, 2);
    source_add(s, "blk.0.table.weight", DT_I32, 2, 4, 2);
}

Test(model_retype, keeps_norms_routers_and_vectors_of_any_architecture_in_f32) {
    Source s;
    source_open(&s, "llama", zeros, sizeof zeros);
    add_llama(&s, DT_F16);
    Model *m = retyped(&s, DT_BF16);
    cr_assert_eq(type_of(m, "token_embd.weight"), DT_BF16);
    cr_assert_eq(type_of(m, "blk.0.attn_q.weight"), DT_BF16);
    cr_assert_eq(type_of(m, "blk.0.attn_q.bias"), DT_F32);
    cr_assert_eq(type_of(m, "blk.0.attn_norm.weight"), DT_F32);
    cr_assert_eq(type_of(m, "blk.0.ssm_norm.weight"), DT_F32);
    cr_assert_eq(type_of(m, "blk.0.ffn_gate_inp.weight"), DT_F32);
    cr_assert_eq(type_of(m, "blk.0.row.weight"), DT_F32);
    cr_assert_eq(type_of(m, "blk.0.conv.weight"), DT_F32, "F32 among F16 matrices is a policy of its maker");
    cr_assert_eq(type_of(m, "blk.0.table.weight"), DT_I32);
    cr_assert_eq(model_find(m, "blk.0.attn_norm.weight")->n_transforms, 0);
    cr_assert_eq(model_find(m, "token_embd.weight")->n_transforms, 1);
    cr_assert_eq(model_find(m, "token_embd.weight")->stored, DT_F16);
    model_close(m);
    source_close(&s);
}

Test(model_retype, changes_all_matrices_of_an_f32_file) {
    Source s;
    source_open(&s, "llama", zeros, sizeof zeros);
    add_llama(&s, DT_F32);
    Model *m = retyped(&s, DT_F16);
    cr_assert_eq(type_of(m, "token_embd.weight"), DT_F16);
    cr_assert_eq(type_of(m, "blk.0.conv.weight"), DT_F16);
    cr_assert_eq(type_of(m, "blk.0.attn_norm.weight"), DT_F32);
    model_close(m);
    source_close(&s);
}

Test(model_retype, keeps_stored_types_when_none_is_asked) {
    Source s;
    source_open(&s, "llama", zeros, sizeof zeros);
    add_llama(&s, DT_F16);
    Model *m = retyped(&s, DT_NONE);
    uint32_t file_type = 0;
    for (size_t i = 0; i < m->n_tensors; i++) cr_assert_eq(m->tensors[i].n_transforms, 0);
    cr_assert(metadata_u32(m->metadata, "general.file_type", &file_type) && file_type == 1);
    cr_assert(retype_is_lossless(m));
    model_close(m);
    source_close(&s);
}

Test(model_retype, widens_norms_and_router_of_a_known_family_even_then) {
    Model *source, *names, *m;
    cr_assert_eq(checkpoint_open(&source, FIXTURE_TINY, NULL, NULL), 0);
    cr_assert_eq(gguf_names_open(&names, source, NULL, NULL, NULL), 0);
    cr_assert_eq(retype_as(&m, names, DT_NONE, NULL, NULL), 0);
    uint32_t file_type = 0;
    cr_assert_eq(type_of(m, "blk.0.ffn_gate_inp.weight"), DT_F32);
    cr_assert_eq(type_of(m, "output_norm.weight"), DT_F32);
    cr_assert_eq(type_of(m, "output.weight"), DT_BF16);
    cr_assert(metadata_u32(m->metadata, "general.file_type", &file_type) && file_type == 32);
    cr_assert(retype_is_lossless(m));
    model_close(m);
    model_close(names);
    model_close(source);
}

Test(model_retype, sets_the_file_type_in_its_place) {
    Source s;
    source_open(&s, "llama", zeros, sizeof zeros);
    add_llama(&s, DT_BF16);
    static const struct {
        DType type;
        uint32_t id;
    } cases[] = {{DT_F32, 0}, {DT_F16, 1}, {DT_BF16, 32}};
    for (size_t i = 0; i < 3; i++) {
        Model *m = retyped(&s, cases[i].type);
        cr_assert_eq(metadata_slot(m->metadata, 1)->value.u, cases[i].id);
        cr_assert_str_eq(metadata_slot(m->metadata, 2)->key.data, "last");
        cr_assert_eq(gguf_file_type(cases[i].type), cases[i].id);
        model_close(m);
    }
    cr_assert_eq(gguf_file_type(DT_Q8_0), 7);
    cr_assert_eq(metadata_slot(s.keys, 1)->value.u, 15, "the base's keys stay");
    source_close(&s);
}

Test(model_retype, passes_quantized_files_only_untouched) {
    Source s;
    Model *m;
    Error err = {0};
    source_open(&s, "llama", zeros, sizeof zeros);
    source_add(&s, "token_embd.weight", DT_Q8_0, 2, 32, 8);
    source_add(&s, "blk.0.attn_norm.weight", DT_F32, 1, 32, 1);
    cr_assert_eq(retype_as(&m, &s.model, DT_F16, NULL, &err), ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "token_embd.weight is already quantized (Q8_0)"), "%s",
                       err.message);
    m = retyped(&s, DT_NONE);
    uint32_t file_type = 0;
    cr_assert(metadata_u32(m->metadata, "general.file_type", &file_type) && file_type == 15,
              "a mixture keeps its name");
    model_close(m);
    source_close(&s);
}

Test(model_retype, rows_that_are_no_whole_blocks_become_f16_and_are_named) {
    Source s;
    const MixtureFallback *names;
    source_open(&s, "other", zeros, sizeof zeros);
    source_add(&s, "odd.weight", DT_BF16, 2, 48, 2);
    source_add(&s, "even.weight", DT_BF16, 2, 64, 2);
    source_add(&s, "a_norm.weight", DT_BF16, 1, 48, 1);
    Model *m = retyped(&s, DT_Q8_0);
    cr_assert_eq(type_of(m, "odd.weight"), DT_F16);
    cr_assert_eq(type_of(m, "even.weight"), DT_Q8_0);
    cr_assert_eq(type_of(m, "a_norm.weight"), DT_F32);
    cr_assert_eq(retype_fallbacks(m, &names), 1);
    cr_assert_str_eq(names[0].tensor, "odd.weight");
    cr_assert(names[0].from == DT_Q8_0 && names[0].to == DT_F16);
    cr_assert_eq(retype_is_lossless(m), false);
    model_close(m);
    m = retyped(&s, DT_BF16);
    cr_assert_eq(retype_fallbacks(m, &names), 0);
    model_close(m);
    source_close(&s);
}

Test(model_retype, a_value_that_no_block_can_hold_is_an_error_with_tensor_row_and_element) {
    static float values[2 * 64];
    Source s;
    uint8_t out[2 * 68];
    Error err = {0};
    values[64 + 5] = NAN;
    source_open(&s, "other", values, sizeof values);
    source_add(&s, "w.weight", DT_F32, 2, 64, 2);
    s.tensors[0].type = s.tensors[0].stored = DT_F32;
    /* two dimensions of F32 stay F32 among other types only */
    Model *m = retyped(&s, DT_Q8_0);
    cr_assert_eq(type_of(m, "w.weight"), DT_Q8_0);
    cr_assert_eq(model_read(&m->tensors[0], 0, 2, out, &err), ERR_NUMERIC);
    cr_assert_not_null(strstr(err.message, "w.weight"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "row 1, element 5"), "%s", err.message);
    model_close(m);
    source_close(&s);
}

Test(model_retype, refuses_other_types_and_forms) {
    Source s;
    Model *m;
    Error err = {0};
    source_open(&s, "llama", zeros, sizeof zeros);
    cr_assert_eq(retype_as(&m, &s.model, DT_Q8_1, NULL, &err), ERR_UNSUPPORTED);
    s.model.form = FORM_HF;
    cr_assert_eq(retype_as(&m, &s.model, DT_F16, NULL, &err), ERR_UNSUPPORTED);
    source_close(&s);
}

Test(model_retype, knows_what_is_lossless_by_type) {
    static const struct {
        DType from, to;
        bool lossless;
    } cases[] = {{DT_BF16, DT_F32, true}, {DT_BF16, DT_BF16, true}, {DT_BF16, DT_F16, false},
                 {DT_F16, DT_F32, true},  {DT_F16, DT_BF16, false}, {DT_F16, DT_F16, true},
                 {DT_F32, DT_F16, false}, {DT_F32, DT_BF16, false}, {DT_F32, DT_F32, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Source s;
        source_open(&s, "llama", zeros, sizeof zeros);
        source_add(&s, "token_embd.weight", cases[i].from, 2, 32, 8);
        Model *m = retyped(&s, cases[i].to);
        cr_assert_eq(retype_is_lossless(m), cases[i].lossless, "%s to %s", dtype_name(cases[i].from),
                     dtype_name(cases[i].to));
        model_close(m);
        source_close(&s);
    }
}

/* ---- rows ---- */

Test(model_retype, reads_rows_from_the_middle) {
    float in[4 * 8];
    uint16_t out[2 * 8];
    for (int i = 0; i < 32; i++) in[i] = (float)i + 0.5f;
    Source s;
    source_open(&s, "llama", in, sizeof in);
    source_add(&s, "token_embd.weight", DT_F32, 2, 8, 4);
    Model *m = retyped(&s, DT_F16);
    cr_assert_eq(model_read(&m->tensors[0], 1, 2, out, NULL), 0);
    for (int i = 0; i < 16; i++) cr_assert_eq(f32_from_f16(out[i]), in[8 + i]);
    model_close(m);
    source_close(&s);
}

Test(model_retype, reports_an_overflow_with_tensor_row_and_element) {
    float in[3 * 8] = {0};
    uint16_t out[3 * 8];
    Error err = {0};
    in[8] = INFINITY, in[9] = NAN; /* were there before: passed on */
    in[2 * 8 + 5] = -65520;        /* rounds to -infinity; 65519 would not */
    Source s;
    source_open(&s, "llama", in, sizeof in);
    source_add(&s, "token_embd.weight", DT_F32, 2, 8, 3);
    Model *m = retyped(&s, DT_F16);
    cr_assert_eq(model_read(&m->tensors[0], 0, 2, out, &err), 0, "%s", err.message);
    cr_assert(isinf(f32_from_f16(out[8])) && isnan(f32_from_f16(out[9])));
    for (int first = 0; first < 3; first++) {
        cr_assert_eq(model_read(&m->tensors[0], (uint64_t)first, 3 - (uint64_t)first, out, &err),
                     ERR_NUMERIC);
        cr_assert_not_null(strstr(err.message, "token_embd.weight: row 2, element 5 is -65520"), "%s",
                           err.message);
    }
    model_close(m);
    in[2 * 8 + 5] = 65519;
    m = retyped(&s, DT_F16);
    cr_assert_eq(model_read(&m->tensors[0], 0, 3, out, &err), 0);
    cr_assert_eq(f32_from_f16(out[21]), 65504);
    model_close(m);
    source_close(&s);
}

Test(model_retype, stacks_on_another_view) {
    uint16_t in[8], out[8];
    for (int i = 0; i < 8; i++) in[i] = bf16_from_f32((float)i / 8);
    Source s;
    source_open(&s, "llama", in, sizeof in);
    source_add(&s, "token_embd.weight", DT_BF16, 2, 4, 2);
    Model *wide = retyped(&s, DT_F32), *narrow;
    cr_assert_eq(retype_as(&narrow, wide, DT_BF16, NULL, NULL), 0);
    cr_assert_eq(narrow->tensors[0].n_transforms, 2);
    cr_assert_eq(model_read(&narrow->tensors[0], 0, 2, out, NULL), 0);
    cr_assert_eq(memcmp(in, out, sizeof in), 0);
    cr_assert_not(retype_is_lossless(narrow), "judged by types, not by values");
    model_close(narrow);
    model_close(wide);
    source_close(&s);
}
