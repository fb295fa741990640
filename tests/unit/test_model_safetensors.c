/* test_model_safetensors.c -- headers that are read, and every way in which one is refused. */
#include "model/safetensors.h"

#include "fixture.h"

static Arena *arena;
static Input *in;
static Buffer file;
static Error e;
static SafetensorsHeader header;

static void teardown(void) {
    input_close(in);
    arena_close(arena);
    buffer_free(&file);
}

static int read_file(void) {
    memset(&e, 0, sizeof e);
    cr_assert_eq(arena_open(&arena, NULL, &e), 0);
    cr_assert_eq(input_open_memory(&in, "x.safetensors", file.data, file.length, NULL, &e), 0);
    return safetensors_read(&header, in, arena, &e);
}

/* A file of a header text and `data` zero bytes. */
static int read_text(const char *text, size_t data) {
    buffer_u64(&file, strlen(text));
    buffer_text(&file, text);
    buffer_zeros(&file, data);
    return read_file();
}

static void refused(const char *text, size_t data, int code, const char *part) {
    int got = read_text(text, data);
    cr_assert_eq(got, code, "%s: got %d, %s", text, got, e.message);
    cr_assert_not_null(strstr(e.message, part), "%s: %s", text, e.message);
    cr_assert_not_null(strstr(e.message, "x.safetensors"), "%s", e.message);
    cr_assert(e.has_offset);
    teardown();
    in = NULL, arena = NULL;
    buffer_init(&file, NULL);
}

static void accepted(const char *text, size_t data, size_t n) {
    cr_assert_eq(read_text(text, data), 0, "%s: %s", text, e.message);
    cr_assert_eq(header.n_entries, n);
}

#define ONE(shape, offsets) "{\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

Test(model_safetensors, entries_stand_in_order_of_place, .fini = teardown) {
    accepted("{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},\"__metadata__\":{"
             "\"format\":\"pt\"},"
             "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}  \n",
             16, 2);
    const SafetensorsEntry *a = &header.entries[0], *b = &header.entries[1];
    uint64_t data = file.length - 16;
    cr_assert_str_eq(a->name, "a");
    cr_assert(a->type == DT_F32 && a->n_dims == 0 && a->offset == data && a->length == 4);
    cr_assert_str_eq(b->name, "b");
    cr_assert(b->type == DT_BF16 && b->n_dims == 2 && b->shape[0] == 2 && b->shape[1] == 3);
    cr_assert(b->offset == data + 4 && b->length == 12);
}

Test(model_safetensors, an_empty_file, .fini = teardown) {
    accepted("{}", 0, 0);
}

Test(model_safetensors, misaligned_data_is_fine, .fini = teardown) {
    accepted("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
             "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}",
             5, 2);
}

Test(model_safetensors, tensors_without_bytes, .fini = teardown) {
    accepted("{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
             "\"a\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[0,0]},"
             "\"c\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[4,4]}}",
             4, 3);
    cr_assert_str_eq(header.entries[0].name, "a");
}

Test(model_safetensors, unknown_fields_of_an_entry_are_ignored, .fini = teardown) {
    accepted("{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8],\"note\":\"1.5e3 is text\"}}", 8,
             1);
}

Test(model_safetensors, names_keep_escapes, .fini = teardown) {
    accepted("{\"a\\\"\\u00e9\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, 1);
    cr_assert_str_eq(header.entries[0].name, "a\"\xC3\xA9");
}

Test(model_safetensors, lengths, .fini = teardown) {
    buffer_u32(&file, 7);
    cr_assert_eq(read_file(), ERR_FORMAT);
    cr_assert_not_null(strstr(e.message, "too short"));
    teardown();
    static const uint64_t lengths[] = {3, 100000000, 100000001, UINT64_MAX, 1ull << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        buffer_init(&file, NULL);
        buffer_u64(&file, lengths[i]);
        buffer_text(&file, "{}");
        cr_assert_eq(read_file(), ERR_FORMAT);
        cr_assert_not_null(
            strstr(e.message, lengths[i] > 100000000 ? "above the format's limit" : "is truncated"), "%s",
            e.message);
        cr_assert(e.has_offset && e.offset == 0);
        teardown();
    }
    buffer_init(&file, NULL);
    in = NULL, arena = NULL;
    refused("", 0, ERR_FORMAT, "does not begin with '{'");
}

Test(model_safetensors, text) {
    refused(" {}", 0, ERR_FORMAT, "does not begin with '{'");
    refused("\xEF\xBB\xBF{}", 0, ERR_FORMAT, "does not begin with '{'");
    refused("[]", 0, ERR_FORMAT, "does not begin with '{'");
    refused("{", 0, ERR_FORMAT, "JSON");
    refused("{}x", 0, ERR_FORMAT, "JSON");
    refused("{\"a\xFF\":1}", 0, ERR_FORMAT, "JSON");
    refused("{\"a\":NaN}", 0, ERR_FORMAT, "JSON");
}

Test(model_safetensors, duplicates) {
#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"
    refused("{" A "," A "}", 4, ERR_FORMAT, "twice");
}

Test(model_safetensors, metadata_holds_strings) {
    refused("{\"__metadata__\":[]}", 0, ERR_FORMAT, "__metadata__");
    refused("{\"__metadata__\":{\"n\":1}}", 0, ERR_FORMAT, "__metadata__.n");
}

Test(model_safetensors, entries_that_lack_something) {
    refused("{\"a\":1}", 0, ERR_FORMAT, "tensor a is no object");
    refused("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, ERR_FORMAT, "tensor a has no dtype");
    refused("{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, ERR_FORMAT,
            "tensor a has no dtype");
    refused("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, ERR_FORMAT, "tensor a has no shape");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, ERR_FORMAT, "data_offsets must be two");
    refused(ONE("[1]", "[0]"), 4, ERR_FORMAT, "data_offsets must be two");
    refused(ONE("[1]", "[0,4,4]"), 4, ERR_FORMAT, "data_offsets must be two");
    refused(ONE("[1]", "\"0,4\""), 4, ERR_FORMAT, "data_offsets must be two");
    refused("{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, ERR_FORMAT, "dtype F33");
}

Test(model_safetensors, numbers_are_plain_integers) {
    refused(ONE("[1.0]", "[0,4]"), 4, ERR_FORMAT, "plain non-negative integer");
    refused(ONE("[-1]", "[0,4]"), 4, ERR_FORMAT, "plain non-negative integer");
    refused(ONE("[1]", "[0,4e0]"), 4, ERR_FORMAT, "plain non-negative integer");
    refused(ONE("[1]", "[-0,4]"), 4, ERR_FORMAT, "plain non-negative integer");
    refused(ONE("[true]", "[0,4]"), 4, ERR_FORMAT, "integers from 0");
    refused(ONE("[1]", "[0,36893488147419103232]"), 4, ERR_FORMAT, "integers from 0");
    refused(ONE("[99999999999999999999]", "[0,4]"), 4, ERR_FORMAT, "integers from 0");
}

Test(model_safetensors, sizes) {
    refused(ONE("[2]", "[0,4]"), 4, ERR_FORMAT, "4 bytes by its data_offsets, 8 by");
    refused(ONE("[1]", "[4,0]"), 4, ERR_FORMAT, "end (0) before they begin (4)");
    refused(ONE("[4294967296,4294967296]", "[0,0]"), 0, ERR_FORMAT, "overflows");
    refused(ONE("[4294967296,4294967296,0]", "[0,0]"), 0, ERR_FORMAT, "overflows");
    refused(ONE("[4503599627370496,1024]", "[0,0]"), 0, ERR_FORMAT, "overflows");
    refused(ONE("[1,1,1,1,1]", "[0,4]"), 4, ERR_UNSUPPORTED, "5 dimensions");
}

Test(model_safetensors, places) {
    refused(ONE("[1]", "[0,4]"), 3, ERR_FORMAT, "is truncated");
    refused(ONE("[1]", "[0,4]"), 5, ERR_FORMAT, "bytes that belong to no tensor");
    refused(ONE("[1]", "[4,8]"), 8, ERR_FORMAT, "a hole");
    refused("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}", 12, ERR_FORMAT,
            "a hole");
    refused("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 6, ERR_FORMAT,
            "they overlap");
    refused("{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, ERR_FORMAT,
            "they overlap");
    refused("{}", 1, ERR_FORMAT, "bytes that belong to no tensor");
}
