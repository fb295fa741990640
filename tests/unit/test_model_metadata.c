/* test_model_metadata.c -- the ordered list of GGUF keys: places, types, bytes. */
#include "model/metadata_digest.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static Arena *arena;
static Metadata *m;
static Error e;

static void setup(void) {
    cr_assert_eq(arena_open(&arena, NULL, &e), 0);
    cr_assert_eq(metadata_open(&m, arena, &e), 0);
}

static void teardown(void) {
    arena_close(arena);
}

static void keys_are(const char *expected) {
    Buffer b;
    buffer_init(&b, NULL);
    for (size_t i = 0; i < metadata_slots(m); i++)
        if (!metadata_slot(m, i)->removed) buffer_printf(&b, "%s ", metadata_slot(m, i)->key.data);
    cr_assert_str_eq(buffer_string(&b), expected);
    buffer_free(&b);
}

Test(model_metadata, setting_again_keeps_the_place, .init = setup, .fini = teardown) {
    cr_assert_eq(metadata_set_u32(m, "a", 1, &e), 0);
    cr_assert_eq(metadata_set_string(m, "b", "two", &e), 0);
    cr_assert_eq(metadata_set_f32(m, "c", 3, &e), 0);
    const GgufValue *a = metadata_get(m, "a");
    cr_assert_eq(metadata_set_string(m, "a", "one", &e), 0);
    keys_are("a b c ");
    cr_assert_eq(a, metadata_get(m, "a"), "a pointer to a value stays good");
    cr_assert_str_eq(metadata_string(m, "a"), "one");
    cr_assert_eq(metadata_count(m), 3);
}

Test(model_metadata, an_unset_key_that_returns_goes_to_the_end, .init = setup, .fini = teardown) {
    cr_assert_eq(metadata_set_u32(m, "a", 1, &e), 0);
    cr_assert_eq(metadata_set_u32(m, "b", 2, &e), 0);
    metadata_unset(m, "a");
    metadata_unset(m, "a");
    metadata_unset(m, "never there");
    keys_are("b ");
    cr_assert_null(metadata_get(m, "a"));
    cr_assert_eq(metadata_count(m), 1);
    cr_assert_eq(metadata_set_u32(m, "a", 3, &e), 0);
    keys_are("b a ");
    metadata_unset(m, "a");
    cr_assert_eq(metadata_set_u32(m, "a", 4, &e), 0);
    uint32_t v = 0;
    cr_assert(metadata_u32(m, "a", &v));
    cr_assert_eq(v, 4);
    cr_assert_eq(metadata_count(m), 2);
}

Test(model_metadata, hundreds_of_keys, .init = setup, .fini = teardown) {
    char key[32];
    for (uint32_t i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "key.%u", i);
        cr_assert_eq(metadata_set_u32(m, key, i * i, &e), 0);
    }
    for (uint32_t i = 0, v; i < 500; i++) {
        snprintf(key, sizeof key, "key.%u", i);
        cr_assert(metadata_u32(m, key, &v));
        cr_assert_eq(v, i * i);
    }
}

Test(model_metadata, values_are_copied, .init = setup, .fini = teardown) {
    char key[] = "name", text[] = "value", one[] = "x";
    const char *list[] = {one, "y"};
    cr_assert_eq(metadata_set_string(m, key, text, &e), 0);
    cr_assert_eq(metadata_set_strings(m, "list", list, 2, &e), 0);
    key[0] = text[0] = one[0] = '!';
    cr_assert_str_eq(metadata_string(m, "name"), "value");
    cr_assert_str_eq(metadata_get(m, "list")->array.strings[0].data, "x");
}

Test(model_metadata, what_other_tools_would_cut_is_refused, .init = setup, .fini = teardown) {
    GgufValue v = {.type = GGUF_STRING, .string = {"a\0b", 3}};
    cr_assert_eq(metadata_set(m, "nul", v, &e), ERR_FORMAT);
    GgufString strings[] = {{"fine", 4}, {"a\0b", 3}};
    GgufValue list = {.type = GGUF_ARRAY, .array = {.type = GGUF_STRING, .count = 2, .strings = strings}};
    cr_assert_eq(metadata_set(m, "nul", list, &e), ERR_FORMAT);
    cr_assert_eq(metadata_set_u32(m, "", 1, &e), ERR_FORMAT);
    GgufValue nested = {.type = GGUF_ARRAY, .array = {.type = GGUF_ARRAY}};
    cr_assert_eq(metadata_set(m, "nested", nested, &e), ERR_FORMAT);
    cr_assert_eq(metadata_count(m), 0);
}

Test(model_metadata, numbers_must_fit_their_type, .init = setup, .fini = teardown) {
    cr_assert_eq(metadata_set(m, "k", (GgufValue){.type = GGUF_U8, .u = 255}, &e), 0);
    cr_assert_eq(metadata_set(m, "k", (GgufValue){.type = GGUF_U8, .u = 256}, &e), ERR_FORMAT);
    cr_assert_eq(metadata_set(m, "k", (GgufValue){.type = GGUF_I16, .i = -32769}, &e), ERR_FORMAT);
    cr_assert_eq(metadata_set(m, "k", (GgufValue){.type = GGUF_U32, .u = 1ull << 32}, &e), ERR_FORMAT);
    cr_assert_eq(metadata_set(m, "k", (GgufValue){.type = GGUF_BOOL, .u = 2}, &e), ERR_FORMAT);
    cr_assert_eq(metadata_set(m, "k", (GgufValue){.type = GGUF_N_TYPES}, &e), ERR_FORMAT);
    cr_assert_eq(metadata_get(m, "k")->u, 255);
}

Test(model_metadata, typed_reads, .init = setup, .fini = teardown) {
    uint32_t u = 7;
    float f;
    bool b = false;
    cr_assert_eq(metadata_set(m, "u64", (GgufValue){.type = GGUF_U64, .u = 5}, &e), 0);
    cr_assert_eq(metadata_set(m, "big", (GgufValue){.type = GGUF_U64, .u = 1ull << 40}, &e), 0);
    cr_assert_eq(metadata_set_i32(m, "i32", 6, &e), 0);
    cr_assert_eq(metadata_set_i32(m, "minus", -6, &e), 0);
    cr_assert_eq(metadata_set_bool(m, "bool", true, &e), 0);
    cr_assert_eq(metadata_set_f32(m, "f32", 0.5f, &e), 0);
    cr_assert(metadata_u32(m, "u64", &u) && u == 5);
    cr_assert(metadata_u32(m, "i32", &u) && u == 6);
    cr_assert_not(metadata_u32(m, "big", &u));
    cr_assert_not(metadata_u32(m, "minus", &u));
    cr_assert_not(metadata_u32(m, "bool", &u));
    cr_assert_not(metadata_u32(m, "absent", &u));
    cr_assert(metadata_bool(m, "bool", &b) && b);
    cr_assert_not(metadata_bool(m, "i32", &b));
    cr_assert(metadata_f32(m, "f32", &f) && f == 0.5f);
    cr_assert_not(metadata_f32(m, "i32", &f));
    cr_assert_null(metadata_string(m, "f32"));
    GgufKv kv = {.key = {"cut", 3}, .value = {.type = GGUF_STRING, .string = {"a\0b", 3}}};
    cr_assert_eq(metadata_add(m, &kv, &e), 0, "a file may hold such a string");
    cr_assert_null(metadata_string(m, "cut"));
    cr_assert_eq(metadata_add(m, &kv, &e), ERR_FORMAT, "but no key twice");
}

Test(model_metadata, copies_can_be_edited_alone, .init = setup, .fini = teardown) {
    Metadata *copy;
    cr_assert_eq(metadata_set_u32(m, "a", 1, &e), 0);
    cr_assert_eq(metadata_set_u32(m, "gone", 1, &e), 0);
    metadata_unset(m, "gone");
    cr_assert_eq(metadata_copy(&copy, m, arena, &e), 0);
    cr_assert_eq(metadata_slots(copy), 1);
    cr_assert_eq(metadata_set_u32(copy, "a", 2, &e), 0);
    metadata_unset(m, "a");
    uint32_t v;
    cr_assert(metadata_u32(copy, "a", &v) && v == 2);
}

Test(model_metadata, keys_of_the_architecture, .init = setup, .fini = teardown) {
    char key[64];
    cr_assert_eq(metadata_set_string(m, "general.architecture", "qwen3moe", &e), 0);
    cr_assert_str_eq(metadata_arch_key(m, "block_count", key, sizeof key), "qwen3moe.block_count");
    cr_assert_str_eq(metadata_arch_key(m, "block_count", key, 20), "", "one byte short");
    cr_assert_str_eq(metadata_arch_key(m, "block_count", key, 21), "qwen3moe.block_count");
}

/* Bytes as the GGUF specification lays them out, written down by hand. */
Test(model_metadata, bytes, .init = setup, .fini = teardown) {
    static const unsigned char expected[] =
        {
            1,    0,    0,    0,   0,   0, 0, 0, 'a', 4,    0,    0, 0, 0x78, 0x56, 0x34, 0x12, /* u32 */
            1,    0,    0,    0,   0,   0, 0, 0, 'b', 5,    0,    0, 0, 0xFE, 0xFF, 0xFF, 0xFF, /* i32 -2 */
            1,    0,    0,    0,   0,   0, 0, 0, 'c', 6,    0,    0, 0, 0xBD, 0x37, 0x86, 0x35, /* f32 1e-6 */
            1,    0,    0,    0,   0,   0, 0, 0, 'd', 7,    0,    0, 0, 1,                      /* bool */
            1,    0,    0,    0,   0,   0, 0, 0, 'e', 8,    0,    0, 0, 2,    0,    0,    0,    0,
            0,    0,    0,    'h', 'i', /* string */
            1,    0,    0,    0,   0,   0, 0, 0, 'f', 9,    0,    0, 0, 8,    0,    0,    0,    2,
            0,    0,    0,    0,   0,   0, 0,                                                /* strings */
            1,    0,    0,    0,   0,   0, 0, 0, 'x', 0,    0,    0, 0, 0,    0,    0,    0, /* */
            1,    0,    0,    0,   0,   0, 0, 0, 'g', 9,    0,    0, 0, 3,    0,    0,    0,    2,
            0,    0,    0,    0,   0,   0, 0, 1, 0,   0xFF, 0xFF,                   /* i16 */
            1,    0,    0,    0,   0,   0, 0, 0, 'h', 1,    0,    0, 0, 0x80,       /* i8 -128 */
            1,    0,    0,    0,   0,   0, 0, 0, 'i', 2,    0,    0, 0, 0x34, 0x12, /* u16 */
            1,    0,    0,    0,   0,   0, 0, 0, 'j', 11,   0,    0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
            0xFF, 0xFF, 0xFF, /* i64 -1 */
            1,    0,    0,    0,   0,   0, 0, 0, 'k', 12,   0,    0, 0, 0,    0,    0,    0,    0,
            0,    0xF8, 0x3F, /* f64 1.5 */
        };
    static const int16_t shorts[] = {1, -1};
    const char *strings[] = {"x", ""};
    cr_assert_eq(metadata_set_u32(m, "a", 0x12345678, &e), 0);
    cr_assert_eq(metadata_set_i32(m, "b", -2, &e), 0);
    cr_assert_eq(metadata_set_f32(m, "c", 1e-6f, &e), 0);
    cr_assert_eq(metadata_set_bool(m, "d", true, &e), 0);
    cr_assert_eq(metadata_set_string(m, "e", "hi", &e), 0);
    cr_assert_eq(metadata_set_strings(m, "f", strings, 2, &e), 0);
    GgufValue list = {.type = GGUF_ARRAY, .array = {.type = GGUF_I16, .count = 2, .raw = shorts}};
    cr_assert_eq(metadata_set(m, "g", list, &e), 0);
    cr_assert_eq(metadata_set(m, "h", (GgufValue){.type = GGUF_I8, .i = -128}, &e), 0);
    cr_assert_eq(metadata_set(m, "i", (GgufValue){.type = GGUF_U16, .u = 0x1234}, &e), 0);
    cr_assert_eq(metadata_set(m, "j", (GgufValue){.type = GGUF_I64, .i = -1}, &e), 0);
    cr_assert_eq(metadata_set(m, "k", (GgufValue){.type = GGUF_F64, .f64 = 1.5}, &e), 0);
    Buffer b;
    buffer_init(&b, NULL);
    for (size_t i = 0; i < metadata_slots(m); i++) metadata_write_kv(&b, metadata_slot(m, i));
    cr_assert_eq(b.length, sizeof expected);
    cr_assert_eq(memcmp(b.data, expected, sizeof expected), 0);
    buffer_free(&b);
}

Test(model_metadata, type_names_and_sizes) {
    static const struct {
        const char *name;
        uint32_t bytes;
    } expected[] = {{"u8", 1},   {"i8", 1},  {"u16", 2}, {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
                    {"bool", 1}, {"str", 0}, {"arr", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8}};
    for (int i = 0; i < GGUF_N_TYPES; i++) {
        cr_assert_str_eq(gguf_type_name((GgufType)i), expected[i].name);
        cr_assert_eq(gguf_type_bytes((GgufType)i), expected[i].bytes);
    }
}

/* The expected value is Python's: hashlib over struct.pack'ed a = 7 (u32), ab = ["x", ""], b = "hi" and
 * split.counts = 1 (u32), which is no key of a split. */
Test(model_metadata, digest, .init = setup, .fini = teardown) {
    static const char expected[] = "7c006144133a19f9d7b6027fcf5284a08cf983603a97600138d0609797f6d03b";
    static const char *const strings[] = {"x", ""};
    char hex[SHA256_HEX];
    cr_assert_eq(metadata_sha256(hex, m, &e), 0);
    cr_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    cr_assert_eq(metadata_set_u32(m, "split.counts", 1, &e), 0);
    cr_assert_eq(metadata_set_string(m, "b", "hi", &e), 0);
    cr_assert_eq(metadata_set_u32(m, "gone", 1, &e), 0);
    cr_assert_eq(metadata_set_strings(m, "ab", strings, 2, &e), 0);
    cr_assert_eq(metadata_set_u32(m, "general.alignment", 64, &e), 0);
    cr_assert_eq(metadata_set_u32(m, "split.count", 3, &e), 0);
    cr_assert_eq(metadata_set_u32(m, "a", 7, &e), 0);
    metadata_unset(m, "gone");
    cr_assert_eq(metadata_sha256(hex, m, &e), 0, "%s", e.message);
    cr_assert_str_eq(hex, expected);
    cr_assert_eq(metadata_set_i32(m, "a", 7, &e), 0); /* another type */
    cr_assert_eq(metadata_sha256(hex, m, &e), 0);
    cr_assert_str_neq(hex, expected);
    cr_assert_eq(metadata_set_u32(m, "a", 7, &e), 0);
    cr_assert_eq(metadata_set_string(m, "b", "ho", &e), 0);
    cr_assert_eq(metadata_sha256(hex, m, &e), 0);
    cr_assert_str_neq(hex, expected);
}
