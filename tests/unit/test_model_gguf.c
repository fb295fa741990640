/* test_model_gguf.c -- GGUF headers built in memory: what is read, and every way in which one is refused (the
 * list of llama.cpp's reader, ggml/src/gguf.cpp). */
#include "model/gguf.h"

#include "fixture.h"
#include "model/family.h"

static Buffer b;
static Model *m;
static Error e;

static void setup(void) {
    buffer_init(&b, NULL);
}

static void teardown(void) {
    model_close(m);
    m = NULL;
    buffer_free(&b);
}

/* ---- building ---- */

static void begin(uint64_t n_tensors, uint64_t n_kv) {
    teardown();
    setup();
    buffer_text(&b, "GGUF");
    buffer_u32(&b, 3);
    buffer_u64(&b, n_tensors);
    buffer_u64(&b, n_kv);
}

static void string(const char *s) {
    buffer_u64(&b, strlen(s));
    buffer_text(&b, s);
}

static void key(const char *name, uint32_t type) {
    string(name);
    buffer_u32(&b, type);
}

static void kv_string(const char *name, const char *value) {
    key(name, GGUF_STRING);
    string(value);
}

static void kv_u32(const char *name, uint32_t value) {
    key(name, GGUF_U32);
    buffer_u32(&b, value);
}

static void info(const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset) {
    string(name);
    buffer_u32(&b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) buffer_u64(&b, dims[i]);
    buffer_u32(&b, type);
    buffer_u64(&b, offset);
}

#define DIMS(...)                                           \
    (sizeof((uint64_t[]){__VA_ARGS__}) / 8), (uint64_t[]) { \
        __VA_ARGS__                                         \
    }

static void pad(size_t alignment) {
    while (b.length % alignment) buffer_u8(&b, 0);
}

/* The data section: `bytes` of it. */
static void data(size_t bytes) {
    pad(32);
    buffer_zeros(&b, bytes);
}

static int open_it(void) {
    Input *in;
    cr_assert_not(b.failed);
    cr_assert_eq(input_open_memory(&in, "x.gguf", b.data, b.length, NULL, &e), 0);
    memset(&e, 0, sizeof e);
    int code = gguf_open_input(&m, in, NULL, &e);
    if (code) input_close(in);
    return code;
}

static void opens(void) {
    cr_assert_eq(open_it(), 0, "%s", e.message);
}

static void refused(int code, const char *part) {
    int got = open_it();
    cr_assert_eq(got, code, "got %d: %s; expected ... %s", got, e.message, part);
    cr_assert_null(m);
    cr_assert_not_null(strstr(e.message, part), "%s; expected ... %s", e.message, part);
    cr_assert_not_null(strstr(e.message, "x.gguf"), "%s", e.message);
}

#define GGUF(name) Test(model_gguf, name, .init = setup, .fini = teardown)

/* ---- what is read ---- */

/* The reader has a window of 256 KiB: strings that lie across its end, that fill it, and that exceed it; more
 * of them than it first makes room for. */
static size_t nth_length(size_t i) {
    return i % 90000 == 70000 ? (size_t)(1 << 18) - 1 + i / 90000 : i % 7;
}

GGUF(long_strings_and_many) {
    enum { COUNT = 300001 };
    begin(0, 1);
    key("tokens", GGUF_ARRAY);
    buffer_u32(&b, GGUF_STRING);
    buffer_u64(&b, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        size_t n = nth_length(i);
        buffer_u64(&b, n);
        for (size_t k = 0; k < n; k++) buffer_u8(&b, (uint8_t)('a' + (i + k) % 26));
    }
    opens();
    const GgufValue *v = metadata_get(m->metadata, "tokens");
    cr_assert(v && v->array.count == COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const GgufString *s = &v->array.strings[i];
        bool right = s->length == nth_length(i) && s->data[s->length] == 0;
        for (size_t k = 0; right && k < s->length; k++) right = s->data[k] == (char)('a' + (i + k) % 26);
        cr_assert(right, "string %zu", i);
    }
}

GGUF(values_of_every_type) {
    begin(0, 13);
    key("u8", GGUF_U8), buffer_u8(&b, 200);
    key("i8", GGUF_I8), buffer_u8(&b, 0x80);
    key("u16", GGUF_U16), buffer_u16(&b, 0xFFFE);
    key("i16", GGUF_I16), buffer_u16(&b, 0xFFFE);
    key("u32", GGUF_U32), buffer_u32(&b, 0xFFFFFFFE);
    key("i32", GGUF_I32), buffer_u32(&b, 0xFFFFFFFE);
    key("f32", GGUF_F32), buffer_u32(&b, 0x358637BD);
    key("bool", GGUF_BOOL), buffer_u8(&b, 7);
    kv_string("str", "hello");
    key("arr", GGUF_ARRAY), buffer_u32(&b, GGUF_I32), buffer_u64(&b, 2), buffer_u32(&b, 1), buffer_u32(&b, 2);
    key("u64", GGUF_U64), buffer_u64(&b, 1ull << 63);
    key("i64", GGUF_I64), buffer_u64(&b, UINT64_MAX);
    key("f64", GGUF_F64), buffer_u64(&b, 0x3FF8000000000000);
    size_t end = b.length;
    opens();
    cr_assert_eq(metadata_get(m->metadata, "u8")->u, 200);
    cr_assert_eq(metadata_get(m->metadata, "i8")->i, -128);
    cr_assert_eq(metadata_get(m->metadata, "u16")->u, 0xFFFE);
    cr_assert_eq(metadata_get(m->metadata, "i16")->i, -2);
    cr_assert_eq(metadata_get(m->metadata, "u32")->u, 0xFFFFFFFE);
    cr_assert_eq(metadata_get(m->metadata, "i32")->i, -2);
    cr_assert_eq(metadata_get(m->metadata, "f32")->f32, 1e-6f);
    cr_assert_eq(metadata_get(m->metadata, "bool")->u, 1, "any byte but 0 is true");
    cr_assert_str_eq(metadata_string(m->metadata, "str"), "hello");
    const GgufArray *a = &metadata_get(m->metadata, "arr")->array;
    cr_assert(a->type == GGUF_I32 && a->count == 2 && load_u32((const char *)a->raw + 4) == 2);
    cr_assert_eq(metadata_get(m->metadata, "u64")->u, 1ull << 63);
    cr_assert_eq(metadata_get(m->metadata, "i64")->i, -1);
    cr_assert_eq(metadata_get(m->metadata, "f64")->f64, 1.5);
    Buffer again;
    buffer_init(&again, NULL);
    for (size_t i = 0; i < metadata_slots(m->metadata); i++)
        metadata_write_kv(&again, metadata_slot(m->metadata, i));
    cr_assert_eq(again.length, end - 24);
    size_t differing = 0;
    for (size_t i = 0; i < again.length; i++) differing += again.data[i] != b.data[24 + i];
    cr_assert_eq(differing, 1, "only the bool is spelled another way");
    buffer_free(&again);
}

GGUF(tensors_of_an_unknown_architecture) {
    begin(4, 1);
    kv_string("general.architecture", "mamba");
    info("a", DIMS(64, 3), DT_Q4_0, 0);               /* 108 bytes */
    info("b", 0, NULL, DT_F32, 128);                  /* a scalar */
    info("c", DIMS(0, 5), DT_F32, 160);               /* nothing */
    info("d.weight", DIMS(2, 3, 1, 2), DT_BF16, 160); /* 24 bytes */
    data(184);
    size_t start = b.length - 184;
    for (size_t i = 0; i < 184; i++) b.data[start + i] = (char)i;
    opens();
    cr_assert_eq(m->form, FORM_GGUF);
    cr_assert_null(m->family);
    cr_assert_str_eq(m->params.architecture, "mamba");
    cr_assert_null(m->config);
    cr_assert(m->n_files == 1 && m->files[0].role == SOURCE_WEIGHTS);
    cr_assert_str_eq(m->files[0].name, "x.gguf");
    cr_assert_eq(m->n_tensors, 4);
    const Tensor *a = &m->tensors[0], *scalar = &m->tensors[1], *none = &m->tensors[2],
                 *d = model_find(m, "d.weight");
    cr_assert(a->type == DT_Q4_0 && a->n_dims == 2 && tensor_bytes(a) == 108 && tensor_row_bytes(a) == 36);
    cr_assert(a->extents[0].offset == start && a->extents[0].length == 108);
    cr_assert(scalar->n_dims == 0 && tensor_elements(scalar) == 1 && tensor_bytes(scalar) == 4);
    cr_assert(none->n_dims == 2 && tensor_bytes(none) == 0);
    cr_assert(d == &m->tensors[3] && d->n_dims == 4 && tensor_rows(d) == 6 &&
              d->extents[0].offset == start + 160);
    uint8_t row[36];
    cr_assert_eq(model_read(a, 2, 1, row, &e), 0);
    cr_assert_eq(row[0], 72);
    cr_assert_eq(model_read(d, 5, 1, row, &e), 0);
    cr_assert_eq(row[3], 183);
    cr_assert_eq(model_read(none, 0, 5, row, &e), 0);
    cr_assert_eq(model_read(scalar, 0, 1, row, &e), 0);
    cr_assert_eq(row[0], 128);
}

GGUF(version_2_and_missing_last_padding) {
    begin(1, 0);
    b.data[4] = 2;
    info("a", DIMS(1), DT_F32, 0);
    data(4);
    opens();
}

GGUF(other_alignments) {
    static const uint32_t good[] = {1, 2, 4, 64, 4096};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        begin(2, 1);
        kv_u32("general.alignment", good[i]);
        info("a", DIMS(1), DT_F32, 0);
        info("b", DIMS(1), DT_F32, good[i] < 4 ? 4 : good[i]);
        pad(good[i]);
        size_t start = b.length;
        buffer_zeros(&b, good[i] + 8);
        opens();
        cr_assert_eq(m->tensors[0].extents[0].offset, start);
    }
}

GGUF(no_keys_and_no_tensors) {
    begin(0, 0);
    opens();
    cr_assert_eq(m->n_tensors, 0);
    cr_assert_str_eq(m->params.architecture, "");
}

GGUF(more_keys_and_strings_than_the_first_guess) {
    begin(0, 200);
    for (int i = 0; i < 199; i++) {
        char name[32];
        snprintf(name, sizeof name, "key.%d", i);
        kv_u32(name, (uint32_t)i);
    }
    key("list", GGUF_ARRAY), buffer_u32(&b, GGUF_STRING), buffer_u64(&b, 140000);
    for (int i = 0; i < 140000; i++) string(i % 2 ? "odd" : "");
    opens();
    const GgufArray *a = &metadata_get(m->metadata, "list")->array;
    cr_assert(a->count == 140000 && a->strings[139999].length == 3 && a->strings[139998].length == 0);
    uint32_t v;
    cr_assert(metadata_u32(m->metadata, "key.198", &v) && v == 198);
}

/* An adapter has the architecture's name, but none of its keys. */
GGUF(an_adapter_has_no_family) {
    begin(0, 2);
    kv_string("general.architecture", "qwen3moe");
    kv_string("general.type", "adapter");
    opens();
    cr_assert_null(m->family);
    cr_assert_str_eq(m->params.architecture, "qwen3moe");
}

GGUF(a_model_of_a_known_family_must_have_its_keys) {
    begin(0, 1);
    kv_string("general.architecture", "qwen3moe");
    refused(ERR_FORMAT, "is missing");
}

/* ---- what is refused: the preamble ---- */

GGUF(magic_and_version) {
    static const struct {
        uint32_t version;
        const char *part;
    } bad[] = {{0, "version 0"},
               {1, "version 1"},
               {4, "version 4"},
               {0x03000000, "big-endian"},
               {0x00030000, "big-endian"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(0, 0);
        memcpy(b.data + 4, &bad[i].version, 4);
        refused(ERR_FORMAT, bad[i].part);
        cr_assert(e.has_offset && e.offset == 4);
    }
    begin(0, 0);
    b.data[3] = 'f';
    refused(ERR_FORMAT, "does not begin with GGUF");
    begin(0, 0);
    for (b.length = 23; b.length > 0; b.length--) refused(ERR_FORMAT, "the file ends within");
}

GGUF(counts) {
    static const uint64_t bad[] = {1, UINT64_MAX, 1ull << 63, INT64_MAX, 1ull << 40};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(bad[i], 0);
        refused(ERR_FORMAT, "tensors are announced");
        cr_assert_eq(e.offset, 8);
        begin(0, bad[i]);
        refused(ERR_FORMAT, "keys are announced");
        cr_assert_eq(e.offset, 16);
    }
}

/* ---- what is refused: keys ---- */

GGUF(strings_that_are_too_long) {
    begin(0, 1);
    key("s", GGUF_STRING), buffer_u64(&b, (1u << 30) + 1);
    refused(ERR_FORMAT, "limit of 1 GiB");
    begin(0, 1);
    key("s", GGUF_STRING), buffer_u64(&b, 3), buffer_text(&b, "ab");
    refused(ERR_FORMAT, "only 2 bytes are left");
    begin(0, 1);
    buffer_u64(&b, UINT64_MAX), buffer_zeros(&b, 20);
    refused(ERR_FORMAT, "limit of 1 GiB");
    begin(0, 1);
    buffer_u64(&b, 21), buffer_zeros(&b, 20);
    refused(ERR_FORMAT, "only 20 bytes are left");
}

GGUF(arrays_that_are_too_long) {
    begin(0, 1);
    key("a", GGUF_ARRAY), buffer_u32(&b, GGUF_U8), buffer_u64(&b, (1u << 30) + 1);
    refused(ERR_FORMAT, "limit of 2^30");
    begin(0, 1);
    key("a", GGUF_ARRAY), buffer_u32(&b, GGUF_U64), buffer_u64(&b, 2), buffer_zeros(&b, 15);
    refused(ERR_FORMAT, "more than the 15 bytes left");
    begin(0, 1);
    key("a", GGUF_ARRAY), buffer_u32(&b, GGUF_STRING), buffer_u64(&b, 2), buffer_zeros(&b, 15);
    refused(ERR_FORMAT, "more than the 15 bytes left");
    begin(0, 1);
    key("a", GGUF_ARRAY), buffer_u32(&b, GGUF_U8), buffer_u64(&b, UINT64_MAX);
    refused(ERR_FORMAT, "limit of 2^30");
    begin(0, 1);
    key("a", GGUF_ARRAY), buffer_u32(&b, GGUF_STRING), buffer_u64(&b, 2), string("ok"), buffer_u64(&b, 9);
    refused(ERR_FORMAT, "only 0 bytes are left");
}

GGUF(keys_and_types) {
    begin(0, 1);
    kv_string("", "value of nothing");
    refused(ERR_FORMAT, "key 0 is empty");
    begin(0, 2);
    kv_u32("twice", 1);
    kv_string("twice", "two");
    refused(ERR_FORMAT, "the key twice is there twice");
    begin(0, 1);
    key("t", 13), buffer_zeros(&b, 32);
    refused(ERR_FORMAT, "has type 13");
    begin(0, 1);
    key("t", UINT32_MAX), buffer_zeros(&b, 32);
    refused(ERR_FORMAT, "has type 4294967295");
    begin(0, 1);
    key("t", GGUF_ARRAY), buffer_u32(&b, GGUF_ARRAY), buffer_u64(&b, 0);
    refused(ERR_FORMAT, "array of arrays");
    begin(0, 1);
    key("t", GGUF_ARRAY), buffer_u32(&b, 13), buffer_u64(&b, 0);
    refused(ERR_FORMAT, "elements of type 13");
}

GGUF(a_file_that_ends_anywhere) {
    begin(1, 4);
    kv_string("general.architecture", "other");
    key("flag", GGUF_BOOL), buffer_u8(&b, 1);
    key("list", GGUF_ARRAY), buffer_u32(&b, GGUF_STRING), buffer_u64(&b, 2), string("x"), string("yz");
    key("n", GGUF_F64), buffer_f64(&b, 2.5);
    info("tensor", DIMS(4, 2), DT_F16, 0);
    data(16);
    size_t whole = b.length;
    for (b.length = 24; b.length < whole; b.length++) {
        cr_assert_eq(open_it(), ERR_FORMAT, "%zu of %zu bytes", b.length, whole);
        cr_assert_null(m);
    }
    opens();
}

GGUF(alignment) {
    begin(0, 1);
    kv_u32("general.alignment", 0);
    refused(ERR_FORMAT, "power of two");
    begin(0, 1);
    kv_u32("general.alignment", 48);
    refused(ERR_FORMAT, "power of two");
    begin(0, 1);
    key("general.alignment", GGUF_U64), buffer_u64(&b, 32);
    refused(ERR_FORMAT, "must be u32");
    begin(0, 1);
    kv_string("general.alignment", "32");
    refused(ERR_FORMAT, "must be u32");
}

/* Shards that are files: test_model_gguf_split.c. */
GGUF(split_keys_of_a_whole_file) {
    begin(0, 1);
    key("split.count", GGUF_U16), buffer_u16(&b, 0); /* as a merged file has it */
    opens();
    cr_assert_not_null(metadata_get(m->metadata, "split.count"));
    begin(0, 1);
    kv_u32("split.count", 0);
    refused(ERR_FORMAT, "split.count has type u32; llama.cpp reads it as u16 only");
    begin(0, 1);
    key("split.count", GGUF_U16), buffer_u16(&b, 1);
    refused(ERR_FORMAT, "split.no is missing");
}

/* ---- what is refused: tensors ---- */

static void one_tensor(uint32_t n_dims, const uint64_t *dims, uint32_t type, const char *part) {
    begin(1, 0);
    info("t", n_dims, dims, type, 0);
    data(64);
    refused(ERR_FORMAT, part);
    cr_assert_not_null(strstr(e.message, "tensor t"), "%s", e.message);
}

GGUF(shapes) {
    one_tensor(DIMS(1, 1, 1, 1, 1), DT_F32, "5 dimensions");
    one_tensor(DIMS(UINT64_MAX), DT_F32, "negative");
    one_tensor(DIMS(1, 1ull << 63), DT_F32, "dimension 1 is negative");
    one_tensor(DIMS(1ull << 32, 1ull << 31), DT_I8, "overflows");
    one_tensor(DIMS(1ull << 21, 1ull << 21, 1ull << 21, 2), DT_I8, "overflows");
    one_tensor(DIMS(0, 1ull << 40, 1ull << 40), DT_I8, "overflows");
    one_tensor(DIMS(1ull << 31, 1ull << 31), DT_F64, "overflow");
    one_tensor(DIMS(1ull << 62), DT_F64, "size in bytes overflows");
    one_tensor(DIMS(33, 2), DT_Q8_0, "no multiple of the 32");
    one_tensor(DIMS(128), DT_Q4_K, "no multiple of the 256");
    begin(1, 0);
    string("t"), buffer_u32(&b, UINT32_MAX), buffer_zeros(&b, 64);
    refused(ERR_FORMAT, "4294967295 dimensions");
}

GGUF(types) {
    static const uint32_t bad[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 100, 255, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char part[32];
        snprintf(part, sizeof part, "has type %u,", bad[i]);
        one_tensor(DIMS(256), bad[i], part);
    }
}

GGUF(names) {
    char name[65];
    memset(name, 'n', 64);
    name[64] = 0;
    begin(1, 0);
    info(name, DIMS(1), DT_F32, 0);
    data(32);
    refused(ERR_FORMAT, "at most 63");
    begin(1, 0);
    info(name + 1, DIMS(1), DT_F32, 0);
    data(32);
    opens();
    begin(2, 0);
    info("same", DIMS(1), DT_F32, 0);
    info("same", DIMS(1), DT_F32, 32);
    data(64);
    refused(ERR_FORMAT, "tensor same is there twice");
    begin(1, 0);
    buffer_u64(&b, 3), buffer_append(&b, "a\0b", 3), buffer_u32(&b, 0), buffer_u32(&b, DT_F32),
        buffer_u64(&b, 0);
    data(32);
    refused(ERR_FORMAT, "holds a NUL");
}

GGUF(offsets) {
    static const uint64_t bad[] = {0, 4, 31, 33, 64, UINT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(2, 0);
        info("first", DIMS(1), DT_F32, 0);
        info("second", DIMS(1), DT_F32, bad[i]);
        data(256);
        refused(ERR_FORMAT, "expected 32");
    }
    begin(1, 0);
    info("first", DIMS(1), DT_F32, 32);
    data(256);
    refused(ERR_FORMAT, "expected 0");
    begin(2, 0);
    info("first", DIMS((1ull << 62) - 1), DT_F32, 0);
    info("second", DIMS(8), DT_F32, UINT64_MAX - 31);
    data(256);
    refused(ERR_FORMAT, "overflow");
    begin(3, 0);
    info("first", DIMS(1ull << 61), DT_F32, 0);
    info("second", DIMS(1ull << 61), DT_F32, 1ull << 63);
    info("third", DIMS(8), DT_F32, 0);
    data(256);
    refused(ERR_FORMAT, "overflow");
}

GGUF(data_beyond_the_end) {
    begin(2, 0);
    info("first", DIMS(1), DT_F32, 0);
    info("second", DIMS(4), DT_F32, 32);
    data(47);
    refused(ERR_FORMAT, "tensor second (16 bytes) goes beyond the end");
    begin(1, 0);
    info("first", DIMS(0), DT_F32, 0);
    refused(ERR_FORMAT, "tensor data should begin at");
    begin(1, 0);
    info("first", DIMS(1ull << 60), DT_F32, 0);
    data(32);
    refused(ERR_FORMAT, "goes beyond the end");
}

/* A 1 GiB header is refused before its memory is asked for: here a file with holes in it, on disk. */
GGUF(a_header_without_end) {
    FixturePath dir, path;
    fixture_dir(dir);
    begin(0, 2);
    key("a", GGUF_ARRAY), buffer_u32(&b, GGUF_U64), buffer_u64(&b, 1u << 28);
    fixture_write(dir, "x.gguf", b.data, b.length);
    fixture_path(path, dir, "x.gguf");
    cr_assert_eq(truncate(path, 1ll << 33), 0);
    cr_assert_eq(gguf_open(&m, path, NULL, &e), ERR_LIMIT, "%s", e.message);
    fixture_remove(dir);
}

GGUF(files_that_are_none) {
    FixturePath dir, path;
    fixture_dir(dir);
    fixture_path(path, dir, "absent.gguf");
    cr_assert_eq(gguf_open(&m, path, NULL, &e), ERR_IO);
    cr_assert_eq(gguf_open(&m, dir, NULL, &e), ERR_IO);
    fixture_write(dir, "empty.gguf", "", 0);
    fixture_path(path, dir, "empty.gguf");
    cr_assert_eq(gguf_open(&m, path, NULL, &e), ERR_FORMAT);
    fixture_remove(dir);
}
