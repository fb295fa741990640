/* KEY=TYPE:VALUE: every type, and every way to be wrong. */
#include "convert/edit.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static Arena *arena;
static Metadata *m;

static void setup(void) {
    static const char *const list[] = {"a"};
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&m, arena, NULL), 0);
    cr_assert_eq(metadata_set_string(m, "general.architecture", "qwen3moe", NULL), 0);
    cr_assert_eq(metadata_set_string(m, "general.name", "a name", NULL), 0);
    cr_assert_eq(metadata_set_u32(m, "qwen3moe.expert_used_count", 8, NULL), 0);
    cr_assert_eq(metadata_set_f32(m, "qwen3moe.rope.freq_base", 1e6f, NULL), 0);
    cr_assert_eq(metadata_set_bool(m, "tokenizer.ggml.add_bos_token", false, NULL), 0);
    cr_assert_eq(metadata_set(m, "small", (GgufValue){.type = GGUF_U8, .u = 1}, NULL), 0);
    cr_assert_eq(metadata_set(m, "signed", (GgufValue){.type = GGUF_I64, .i = 1}, NULL), 0);
    cr_assert_eq(metadata_set_strings(m, "general.tags", list, 1, NULL), 0);
}

static void teardown(void) {
    arena_close(arena);
}

TestSuite(convert_edit, .init = setup, .fini = teardown);

static const GgufValue *set(const char *expression) {
    Error err = {0};
    char key[80];
    size_t n = strcspn(expression, "=");
    cr_assert_eq(edit_set(m, expression, &err), 0, "%s: %s", expression, err.message);
    memcpy(key, expression, n);
    key[n] = 0;
    const GgufValue *v = metadata_get(m, key);
    cr_assert_not_null(v);
    return v;
}

static void is_unsigned(const char *expression, GgufType type, uint64_t value) {
    const GgufValue *v = set(expression);
    cr_assert_eq(v->type, type, "%s is %s", expression, gguf_type_name(v->type));
    cr_assert_eq(v->u, value, "%s", expression);
}

static void is_signed(const char *expression, GgufType type, int64_t value) {
    const GgufValue *v = set(expression);
    cr_assert_eq(v->type, type, "%s is %s", expression, gguf_type_name(v->type));
    cr_assert_eq(v->i, value, "%s", expression);
}

static void is_f32(const char *expression, float value) {
    const GgufValue *v = set(expression);
    cr_assert_eq(v->type, GGUF_F32, "%s", expression);
    cr_assert_eq(v->f32, value, "%s: %g", expression, (double)v->f32);
}

static void is_string(const char *expression, const char *value) {
    const GgufValue *v = set(expression);
    cr_assert_eq(v->type, GGUF_STRING, "%s", expression);
    cr_assert_str_eq(v->string.data, value);
}

Test(convert_edit, the_type_that_a_key_has) {
    is_unsigned("qwen3moe.expert_used_count=int:16", GGUF_U32, 16);
    is_unsigned("qwen3moe.expert_used_count=12", GGUF_U32, 12);
    is_unsigned("small=int:255", GGUF_U8, 255);
    is_signed("signed=int:-9223372036854775808", GGUF_I64, INT64_MIN);
    is_f32("qwen3moe.rope.freq_base=float:5e6", 5e6f);
    is_f32("qwen3moe.rope.freq_base=int:7", 7);
    is_f32("qwen3moe.rope.freq_base=0.1", 0.1f);
    is_unsigned("tokenizer.ggml.add_bos_token=bool:true", GGUF_BOOL, 1);
    is_unsigned("tokenizer.ggml.add_bos_token=false", GGUF_BOOL, 0);
    is_string("general.name=str:another", "another");
    is_string("general.name=no type", "no type");
    is_string("general.name=", "");
    is_string("general.name=Qwen: the \"best\"=1", "Qwen: the \"best\"=1");
    is_string("general.name=str:u32:5", "u32:5");
    is_string("general.name=\xC3\xA9", "\xC3\xA9");
}

Test(convert_edit, new_keys) {
    is_unsigned("new.a=int:5", GGUF_U32, 5);
    is_signed("new.b=int:-5", GGUF_I32, -5);
    is_f32("new.c=float:-1.5e-3", -1.5e-3f);
    is_unsigned("new.d=bool:true", GGUF_BOOL, 1);
    is_string("new.e=str:x:y", "x:y");
    is_unsigned("new.u8=u8:255", GGUF_U8, 255);
    is_signed("new.i8=i8:-128", GGUF_I8, -128);
    is_unsigned("new.u16=u16:65535", GGUF_U16, 65535);
    is_signed("new.i16=i16:-32768", GGUF_I16, -32768);
    is_unsigned("new.u32=u32:4294967295", GGUF_U32, 4294967295);
    is_signed("new.i32=i32:2147483647", GGUF_I32, 2147483647);
    is_unsigned("new.u64=u64:18446744073709551615", GGUF_U64, UINT64_MAX);
    is_signed("new.i64=i64:+7", GGUF_I64, 7);
    is_f32("new.f32=f32:3.4028234e38", 3.4028234e38f);
    cr_assert_eq(set("new.f64=f64:0.1")->f64, 0.1);
}

Test(convert_edit, ggufs_own_types_change_a_type) {
    is_unsigned("qwen3moe.rope.freq_base=u16:5", GGUF_U16, 5);
    is_f32("small=f32:2.5", 2.5f);
}

static void is_wrong(const char *expression, const char *part) {
    Error err = {0};
    cr_assert_eq(edit_set(m, expression, &err), ERR_USAGE, "%s", expression);
    cr_assert_not_null(strstr(err.message, part), "%s: %s", expression, err.message);
    cr_assert_eq(metadata_count(m), 8, "%s changed something", expression);
}

Test(convert_edit, mistakes) {
    is_wrong("general.name", "is not KEY=TYPE:VALUE");
    is_wrong("=int:5", "key is missing");
    is_wrong("new.a=5", "needs a type");
    is_wrong("general.nam=x", "did you mean general.name?");
    is_wrong("qwen3moe.expert_used_cont=16", "did you mean qwen3moe.expert_used_count?");
    is_wrong("new.a=integer:5", "there is no type integer");
    is_wrong("new.a=int:", "not a whole number");
    is_wrong("new.a=int:5x", "not a whole number");
    is_wrong("new.a=int: 5", "not a whole number");
    is_wrong("new.a=int:1.0", "not a whole number");
    is_wrong("new.a=int:99999999999999999999", "not a whole number");
    is_wrong("new.a=int:4294967296", "out of range for u32 (0 to 4294967295)");
    is_wrong("new.a=i8:128", "out of range for i8 (-128 to 127)");
    is_wrong("new.a=i64:-9223372036854775809", "out of range for i64");
    is_wrong("new.a=u64:-1", "out of range for u64");
    is_wrong("small=256", "out of range for u8");
    is_wrong("new.a=float:1e39", "out of range for f32");
    is_wrong("new.a=float:nan", "not a finite number");
    is_wrong("new.a=float:inf", "not a finite number");
    is_wrong("new.a=float:0x10", "not a finite number");
    is_wrong("new.a=float:1,5", "not a finite number");
    is_wrong("new.a=f64:1e999", "not a finite number");
    is_wrong("new.a=bool:yes", "not true or false");
    is_wrong("new.a=str:\xFF", "not UTF-8");
    is_wrong("general.name=int:5", "is str in this file");
    is_wrong("qwen3moe.expert_used_count=float:1.5", "is u32 in this file");
    is_wrong("qwen3moe.expert_used_count=str:16", "is u32 in this file");
    is_wrong("tokenizer.ggml.add_bos_token=int:1", "is bool in this file");
    is_wrong("general.tags=str:x", "is an array");
    is_wrong("general.alignment=u32:64", "can't be edited");
    is_wrong("general.architecture=str:llama", "can't be edited");
    is_wrong("recast.edited=bool:false", "provenance");
    is_wrong("recast.pad=str:x", "the place of the tensor data");
}

Test(convert_edit, unset) {
    Error err = {0};
    cr_assert_eq(edit_unset(m, "general.tags", &err), 0, "%s", err.message);
    cr_assert_null(metadata_get(m, "general.tags"));
    cr_assert_eq(edit_unset(m, "general.tags", &err), ERR_USAGE);
    cr_assert_eq(edit_unset(m, "general.nme", &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "general.name"), "%s", err.message);
    cr_assert_eq(edit_unset(m, "general.architecture", &err), ERR_USAGE);
    cr_assert_eq(edit_unset(m, "recast.recipe", &err), ERR_USAGE);
    cr_assert_eq(metadata_count(m), 7);
}

Test(convert_edit, finish_marks_provenance) {
    bool edited;
    cr_assert_eq(edit_finish(m, NULL), 0);
    cr_assert_null(metadata_get(m, "recast.edited"));
    cr_assert_eq(metadata_set_u32(m, "recast.derivation", 1, NULL), 0);
    cr_assert_eq(metadata_set_bool(m, "recast.edited", false, NULL), 0);
    cr_assert_eq(edit_finish(m, NULL), 0);
    cr_assert(metadata_bool(m, "recast.edited", &edited) && edited);
}

/* A shard's split keys stay; what a merged file has left of them (split.count is 0 there) may go. */
Test(convert_edit, split_keys) {
    Error err = {0};
    cr_assert_eq(metadata_set(m, "split.count", (GgufValue){.type = GGUF_U16, .u = 2}, NULL), 0);
    cr_assert_eq(edit_set(m, "split.no=u16:1", &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "can't be edited"), "%s", err.message);
    cr_assert_eq(edit_unset(m, "split.count", &err), ERR_USAGE);
    cr_assert_eq(metadata_set(m, "split.count", (GgufValue){.type = GGUF_U16, .u = 0}, NULL), 0);
    cr_assert_eq(edit_unset(m, "split.count", &err), 0, "%s", err.message);
    cr_assert_null(metadata_get(m, "split.count"));
}
