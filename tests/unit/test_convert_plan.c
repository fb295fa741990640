/* The layout of a GGUF file, byte by byte. */
#include "convert/gguf_plan.h"
#include "convert_fixture.h"
#include "model/gguf.h"
#include <criterion/criterion.h>

/* A model of two tensors in memory, in GGUF form. */
typedef struct Small {
    Arena *arena;
    Metadata *metadata;
    Tensor tensors[2];
    Model model;
} Small;

static void small_open(Small *s) {
    *s = (Small){
        .tensors = {
            {.name = "a", .type = DT_F32, .stored = DT_F32, .n_dims = 1, .dims = {3, 1, 1, 1}},
            {.name = "b.weight", .type = DT_Q8_0, .stored = DT_Q8_0, .n_dims = 2, .dims = {32, 2, 1, 1}}}};
    cr_assert_eq(arena_open(&s->arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&s->metadata, s->arena, NULL), 0);
    cr_assert_eq(metadata_set_string(s->metadata, "general.architecture", "x", NULL), 0);
    s->model = (Model){
        .form = FORM_GGUF, .path = "a test", .n_tensors = 2, .tensors = s->tensors, .metadata = s->metadata};
}

static void small_close(Small *s) {
    arena_close(s->arena);
}

Test(convert_plan, header_is_what_the_specification_says) {
    /* Spelled out from docs/gguf.md of the ggml repository. */
    static const char expected[] = "GGUF\x03\0\0\0"
                                   "\x02\0\0\0\0\0\0\0"
                                   "\x02\0\0\0\0\0\0\0"
                                   "\x14\0\0\0\0\0\0\0"
                                   "general.architecture"
                                   "\x08\0\0\0"
                                   "\x01\0\0\0\0\0\0\0x"
                                   "\x01\0\0\0\0\0\0\0n"
                                   "\x04\0\0\0\x07\0\0\0"
                                   "\x01\0\0\0\0\0\0\0"
                                   "a"
                                   "\x01\0\0\0\x03\0\0\0\0\0\0\0"
                                   "\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\x08\0\0\0\0\0\0\0"
                                   "b.weight"
                                   "\x02\0\0\0\x20\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0"
                                   "\x08\0\0\0\x20\0\0\0\0\0\0\0";
    Small s;
    Error err = {0};
    GgufPlan *p;
    small_open(&s);
    cr_assert_eq(metadata_set_u32(s.metadata, "n", 7, NULL), 0);
    cr_assert_eq(gguf_plan_open(&p, &s.model, NULL, NULL, &err), 0, "%s", err.message);
    size_t length = sizeof expected - 1;
    cr_assert_geq(p->header.length, length);
    cr_assert_eq(memcmp(p->header.data, expected, length), 0);
    cr_assert_eq(p->data_offset % 32, 0);
    cr_assert_lt(p->data_offset - length, 32);
    for (size_t i = length; i < p->header.length; i++) cr_assert_eq(p->header.data[i], 0);
    cr_assert_eq(p->offsets[0], 0);
    cr_assert_eq(p->offsets[1], 32);                      /* 12 bytes, padded */
    cr_assert_eq(p->file_size, p->data_offset + 32 + 96); /* 68 bytes, padded too */
    gguf_plan_close(p);
    small_close(&s);
}

/* The header must be read by the reader, which is other code. */
Test(convert_plan, reader_understands_the_header) {
    Small s;
    Error err = {0};
    GgufPlan *p;
    small_open(&s);
    cr_assert_eq(gguf_plan_open(&p, &s.model, NULL, NULL, &err), 0, "%s", err.message);
    char *file = calloc(1, (size_t)p->file_size);
    memcpy(file, p->header.data, p->header.length);
    Input *in;
    Model *m;
    cr_assert_eq(input_open_memory(&in, "x.gguf", file, (size_t)p->file_size, NULL, &err), 0);
    cr_assert_eq(gguf_open_input(&m, in, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(m->n_tensors, 2);
    cr_assert_str_eq(m->tensors[1].name, "b.weight");
    cr_assert_eq(m->tensors[1].type, DT_Q8_0);
    cr_assert_eq(m->tensors[1].extents[0].offset, p->data_offset + 32);
    model_close(m);
    free(file);
    gguf_plan_close(p);
    small_close(&s);
}

static void count_keys(const Small *s, uint64_t expected) {
    GgufPlan *p;
    Error err = {0};
    cr_assert_eq(gguf_plan_open(&p, &s->model, NULL, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(load_u64(p->header.data + 16), expected);
    cr_assert_eq(p->alignment, 32);
    gguf_plan_close(p);
}

Test(convert_plan, other_alignments_and_removed_keys_are_not_written) {
    Small s;
    small_open(&s);
    cr_assert_eq(metadata_set_u32(s.metadata, "general.alignment", 32, NULL), 0);
    count_keys(&s, 2);
    cr_assert_eq(metadata_set_u32(s.metadata, "general.alignment", 64, NULL), 0);
    count_keys(&s, 1);
    cr_assert_eq(metadata_set_u32(s.metadata, "gone", 1, NULL), 0);
    metadata_unset(s.metadata, "gone");
    count_keys(&s, 1);
    small_close(&s);
}

static void expect_refusal(const Small *s, int code, const char *part) {
    GgufPlan *p;
    Error err = {0};
    cr_assert_eq(gguf_plan_open(&p, &s->model, NULL, NULL, &err), code, "%s", err.message);
    cr_assert_null(p);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
}

Test(convert_plan, what_gguf_cannot_hold_is_refused) {
    Small s;
    small_open(&s);
    char name[65];
    memset(name, 'n', 64);
    name[64] = 0;
    s.tensors[0].name = name;
    expect_refusal(&s, ERR_UNSUPPORTED, "at most 63 bytes");
    name[63] = 0;
    GgufPlan *p;
    cr_assert_eq(gguf_plan_open(&p, &s.model, NULL, NULL, NULL), 0);
    gguf_plan_close(p);

    s.tensors[0].type = DT_F8_E4M3;
    expect_refusal(&s, ERR_UNSUPPORTED, "F8_E4M3");
    s.tensors[0].type = DT_F32;
    s.tensors[1].dims[0] = 33;
    expect_refusal(&s, ERR_UNSUPPORTED, "multiples of 32");
    s.tensors[1].dims[0] = 32;
    s.tensors[1].dims[1] = UINT64_MAX / 32;
    expect_refusal(&s, ERR_LIMIT, "larger than a file");
    s.tensors[1].dims[1] = (uint64_t)1 << 58; /* 34 bytes each: above 2^63, within 64 bits */
    expect_refusal(&s, ERR_LIMIT, "larger than a file");
    s.tensors[1].dims[1] = 2;
    s.model.form = FORM_HF;
    expect_refusal(&s, ERR_UNSUPPORTED, "not in GGUF form");
    small_close(&s);
}

Test(convert_plan, empty_tensors_take_no_place) {
    Small s;
    GgufPlan *p;
    small_open(&s);
    s.tensors[0].dims[0] = 0;
    cr_assert_eq(gguf_plan_open(&p, &s.model, NULL, NULL, NULL), 0);
    cr_assert_eq(p->offsets[1], 0);
    cr_assert_eq(p->file_size, p->data_offset + 96);
    gguf_plan_close(p);
    s.model.n_tensors = 0;
    cr_assert_eq(gguf_plan_open(&p, &s.model, NULL, NULL, NULL), 0);
    cr_assert_eq(p->file_size, p->data_offset);
    gguf_plan_close(p);
    small_close(&s);
}

/* llama-quantize's order: output, norm, embedding, then layers with names in byte order. */
Test(convert_plan, tensors_of_the_tiny_model) {
    Stack s;
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    const Model *m = s.plan->model;
    cr_assert_eq(m->n_tensors, 27);
    cr_assert_str_eq(m->tensors[0].name, "output.weight");
    cr_assert_str_eq(m->tensors[3].name, "blk.0.attn_k.weight");
    cr_assert_str_eq(m->tensors[26].name, "blk.1.ffn_up_exps.weight");
    cr_assert_eq(s.plan->offsets[1], 64 * 1024 * 2);
    stack_close(&s);
}
