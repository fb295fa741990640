/* test_model_gguf_split.c -- shards as files: joined into one model, and every way in which they may not
 * belong together. Names and rules are those of llama.cpp's tools/gguf-split. */
#include "model/gguf.h"
#include "model/gguf_split.h"

#include "support.h"

enum { MAX_TENSORS = 4 };

/* What one shard says; what is left out is as it should be. */
typedef struct Shard {
    uint16_t number, count;
    int32_t n_tensors; /* of all shards; -1: leave the key out */
    const char *key;   /* one more key (a string); NULL: none */
    const char *tensors[MAX_TENSORS];
    GgufType number_type;
    bool no_number;
} Shard;

static TempDir dir;
static Model *m;
static Error e;

static void setup(void) {
    temp_dir_open(&dir);
    m = NULL;
}

static void teardown(void) {
    model_close(m);
    temp_dir_close(&dir);
}

/* ---- writing ---- */

static void string(Buffer *b, const char *s) {
    buffer_u64(b, strlen(s));
    buffer_text(b, s);
}

static void key(Buffer *b, const char *name, uint32_t type) {
    string(b, name);
    buffer_u32(b, type);
}

static void put_file(const char *name, const Buffer *b) {
    cr_assert_not(b->failed);
    int fd = open(temp_path(&dir, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, b->data, b->length), (ssize_t)b->length);
    close(fd);
}

/* Each tensor is four F32; the value of all is the shard's number times 100 plus its place. */
static void put_data(Buffer *b, const Shard *s) {
    while (b->length % 32) buffer_u8(b, 0);
    for (int i = 0; i < MAX_TENSORS && s->tensors[i]; i++) {
        for (int j = 0; j < 4; j++) buffer_f32(b, (float)(100 * s->number + i));
        buffer_zeros(b, 16);
    }
}

static void put(const char *name, Shard s) {
    Buffer b;
    uint64_t n = 0, keys = 1u + !s.no_number + (s.n_tensors >= 0) + (s.key != NULL);
    while (n < MAX_TENSORS && s.tensors[n]) n++;
    buffer_init(&b, NULL);
    buffer_text(&b, "GGUF");
    buffer_u32(&b, 3);
    buffer_u64(&b, n);
    buffer_u64(&b, keys);
    if (s.key) key(&b, s.key, GGUF_STRING), string(&b, "value");
    if (!s.no_number) {
        key(&b, "split.no", s.number_type ? s.number_type : GGUF_U16);
        if (s.number_type == GGUF_U32)
            buffer_u32(&b, s.number);
        else
            buffer_u16(&b, s.number);
    }
    if (s.n_tensors >= 0) key(&b, "split.tensors.count", GGUF_I32), buffer_u32(&b, (uint32_t)s.n_tensors);
    key(&b, "split.count", GGUF_U16), buffer_u16(&b, s.count);
    for (uint64_t i = 0; i < n; i++) {
        string(&b, s.tensors[i]);
        buffer_u32(&b, 1), buffer_u64(&b, 4), buffer_u32(&b, DT_F32), buffer_u64(&b, 32 * i);
    }
    put_data(&b, &s);
    put_file(name, &b);
    buffer_free(&b);
}

static const Shard first = {0, 3, 5, .key = "general.name", .tensors = {"a", "b"}},
                   second = {1, 3, 5, .tensors = {"c"}}, third = {2, 3, 5, .tensors = {"z", "d"}};

static void put_all(void) {
    put("m-00001-of-00003.gguf", first);
    put("m-00002-of-00003.gguf", second);
    put("m-00003-of-00003.gguf", third);
}

static void refused(const char *name, int code, const char *part) {
    memset(&e, 0, sizeof e);
    int got = model_open(&m, temp_path(&dir, name), NULL, &e);
    cr_assert_eq(got, code, "got %d: %s; expected ... %s", got, e.message, part);
    cr_assert_null(m);
    cr_assert_not_null(strstr(e.message, part), "%s; expected ... %s", e.message, part);
}

#define FIRST       "m-00001-of-00003.gguf"
#define SPLIT(name) Test(model_gguf_split, name, .init = setup, .fini = teardown)

/* ---- joined ---- */

SPLIT(shards_are_one_model) {
    static const char *const names[] = {"a", "b", "c", "z", "d"};
    static const float values[] = {0, 1, 100, 200, 201};
    put_all();
    cr_assert_eq(model_open(&m, temp_path(&dir, FIRST), NULL, &e), 0, "%s", e.message);
    cr_assert_eq(m->n_tensors, 5);
    cr_assert_eq(m->n_files, 3);
    for (size_t i = 0; i < 5; i++) {
        float row[4];
        cr_assert_str_eq(m->tensors[i].name, names[i]);
        cr_assert_eq(model_find(m, names[i]), &m->tensors[i]);
        cr_assert_eq(model_read(&m->tensors[i], 0, 1, row, &e), 0, "%s", e.message);
        cr_assert_eq(row[0], values[i]);
        cr_assert_eq(row[3], values[i]);
    }
    cr_assert_eq(m->tensors[2].extents[0].file, m->files[1].input);
    cr_assert_str_eq(m->files[2].name, "m-00003-of-00003.gguf");
    cr_assert_eq(metadata_count(m->metadata), 1, "split keys are no keys of the model");
    cr_assert_str_eq(metadata_string(m->metadata, "general.name"), "value");
}

SPLIT(the_first_may_hold_keys_alone) {
    put("k-00001-of-00002.gguf", (Shard){0, 2, 2, .key = "general.name"});
    put("k-00002-of-00002.gguf", (Shard){1, 2, 2, .tensors = {"a", "b"}});
    cr_assert_eq(gguf_open(&m, temp_path(&dir, "k-00001-of-00002.gguf"), NULL, &e), 0, "%s", e.message);
    cr_assert_eq(m->n_tensors, 2);
    cr_assert_eq(m->tensors[0].extents[0].file, m->files[1].input);
}

/* llama.cpp looks at names from two shards on. */
SPLIT(one_of_one_may_have_any_name) {
    put("whole.gguf", (Shard){0, 1, 1, .tensors = {"a"}});
    cr_assert_eq(gguf_open(&m, temp_path(&dir, "whole.gguf"), NULL, &e), 0, "%s", e.message);
    cr_assert_eq(m->n_tensors, 1);
    cr_assert_eq(metadata_count(m->metadata), 0);
}

SPLIT(a_shard_by_itself) {
    Input *in;
    put_all();
    cr_assert_eq(input_open(&in, temp_path(&dir, "m-00003-of-00003.gguf"), NULL, &e), 0, "%s", e.message);
    cr_assert_eq(gguf_open_shard(&m, in, NULL, &e), 0, "%s", e.message);
    cr_assert_eq(m->n_tensors, 2);
    cr_assert_eq(m->n_files, 1);
    cr_assert_eq(metadata_count(m->metadata), 3);
}

/* ---- refused ---- */

SPLIT(another_shard_than_the_first) {
    put_all();
    refused("m-00002-of-00003.gguf", ERR_UNSUPPORTED, "is shard 2 of 3 of a model: name the first one, ");
    cr_assert_not_null(strstr(e.message, "/" FIRST), "%s", e.message);
}

SPLIT(missing_shards) {
    put("m-00001-of-00003.gguf", first);
    put("m-00003-of-00003.gguf", third);
    refused(FIRST, ERR_IO, "shard 2 of 3: ");
    cr_assert_not_null(strstr(e.message, "m-00002-of-00003.gguf"), "%s", e.message);
    put("m-00002-of-00003.gguf", second);
    unlink(temp_path(&dir, "m-00003-of-00003.gguf"));
    refused(FIRST, ERR_IO, "shard 3 of 3: ");
}

SPLIT(other_names) {
    put("m-00001-of-00004.gguf", first);
    refused("m-00001-of-00004.gguf", ERR_FORMAT, "its name must end in -00001-of-00003.gguf");
    put("model.gguf", first);
    refused("model.gguf", ERR_FORMAT,
            "its keys say shard 1 of 3, so its name must end in -00001-of-00003.gguf");
    put("m-00001-of-00003.gguf", second);
    refused(FIRST, ERR_FORMAT, "its keys say shard 2 of 3");
}

SPLIT(shards_of_another_model) {
    put_all();
    Shard s = second;
    s.number = 2;
    put("m-00002-of-00003.gguf", s);
    refused(FIRST, ERR_FORMAT, "m-00002-of-00003.gguf: split.no is 2, expected 1");
    s = second, s.count = 4;
    put("m-00002-of-00003.gguf", s);
    refused(FIRST, ERR_FORMAT, "split.count is 4, but shard 1 says 3");
    s = second, s.n_tensors = 6;
    put("m-00002-of-00003.gguf", s);
    refused(FIRST, ERR_FORMAT, "split.tensors.count is 6, but shard 1 says 5");
    s = second, s.key = "general.architecture";
    put("m-00002-of-00003.gguf", s);
    refused(FIRST, ERR_FORMAT, "it has the key general.architecture, which llama.cpp would ignore");
    s = second, s.tensors[0] = "b";
    put("m-00002-of-00003.gguf", s);
    refused(FIRST, ERR_FORMAT, "m-00002-of-00003.gguf: tensor b is in ");
    s = second, s.tensors[1] = "more";
    put("m-00002-of-00003.gguf", s);
    refused(FIRST, ERR_FORMAT, "split.tensors.count is 5, but the 3 shards hold 6 tensors");
    file_put(temp_path(&dir, "m-00002-of-00003.gguf"), "GGUG");
    refused(FIRST, ERR_FORMAT, "shard 2 of 3: ");
}

SPLIT(keys_that_no_shard_may_lack) {
    Shard s = first;
    put_all();
    s.number = 3;
    put("m-00004-of-00003.gguf", s);
    refused("m-00004-of-00003.gguf", ERR_FORMAT, "split.no is 3, but split.count is 3");
    s = first, s.no_number = true;
    put(FIRST, s);
    refused(FIRST, ERR_FORMAT, "split.no is missing");
    s = first, s.n_tensors = -1;
    put(FIRST, s);
    refused(FIRST, ERR_FORMAT, "split.tensors.count is missing");
    s = first, s.number_type = GGUF_U32;
    put(FIRST, s);
    refused(FIRST, ERR_FORMAT, "split.no has type u32; llama.cpp reads it as u16 only");
}

SPLIT(memory_runs_out_anywhere) {
    put_all();
    int code = ERR_MEMORY;
    for (size_t left = 0; code == ERR_MEMORY; left++) {
        FailingAllocator f;
        failing_init(&f, left);
        code = gguf_open(&m, temp_path(&dir, FIRST), &f.allocator, &e);
        cr_assert(code == 0 || code == ERR_MEMORY, "%s", e.message);
        model_close(m);
        m = NULL;
        cr_assert_eq(f.live, 0);
    }
    cr_assert_eq(code, 0);
}

/* ---- names and rules ---- */

Test(model_gguf_split, names) {
    Arena *arena;
    uint32_t number, count;
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_str_eq(gguf_shard_path(arena, "a/X-BF16.gguf", 1, 3), "a/X-BF16-00002-of-00003.gguf");
    cr_assert_str_eq(gguf_shard_path(arena, "X-00001-of-00009.gguf", 11, 65535), "X-00012-of-65535.gguf");
    cr_assert_str_eq(gguf_shard_path(arena, "plain", 0, 1), "plain-00001-of-00001.gguf");
    arena_close(arena);
    cr_assert(gguf_is_shard_path("d/X-00012-of-00345.gguf", &number, &count));
    cr_assert(number == 12 && count == 345);
    cr_assert_not(gguf_is_shard_path("X-0012-of-00345.gguf", &number, &count));
    cr_assert_not(gguf_is_shard_path("X-00012-of-00345.gguf.bak", &number, &count));
    cr_assert_not(gguf_is_shard_path("00012-of-00345.gguf", &number, &count));
    cr_assert_not(gguf_is_shard_path("X-0001x-of-00345.gguf", &number, &count));
}

static void rule(const char *text, uint64_t bytes, uint64_t tensors, bool metadata_first) {
    SplitRule r;
    Error err = {0};
    cr_assert_eq(split_rule_parse(&r, text, &err), 0, "%s", err.message);
    cr_assert(r.max_bytes == bytes && r.max_tensors == tensors && r.metadata_first == metadata_first, "%s",
              text);
    cr_assert_not(split_rule_is_none(&r));
}

Test(model_gguf_split, rules) {
    static const char *const bad[] = {"",
                                      "0",
                                      "0G",
                                      "G",
                                      "48GB",
                                      "48 G",
                                      "-1",
                                      "1.5G",
                                      "48g",
                                      "1e9",
                                      "metadata-first,",
                                      "metadata",
                                      "metadata-firstly",
                                      "48G,metadata-first",
                                      "18446744073709551616",
                                      "18446744073709552K",
                                      NULL};
    SplitRule r = {0};
    cr_assert(split_rule_is_none(&r));
    rule("48G", 48000000000, 0, false);
    rule("500M", 500000000, 0, false);
    rule("7K", 7000, 0, false);
    rule("128", 0, 128, false);
    rule("metadata-first", 0, 0, true);
    rule("metadata-first,48G", 48000000000, 0, true);
    rule("metadata-first,10", 0, 10, true);
    for (size_t i = 0; bad[i]; i++) {
        Error err = {0};
        cr_assert_eq(split_rule_parse(&r, bad[i], &err), ERR_USAGE, "%s", bad[i]);
        cr_assert_not_null(strstr(err.message, "is no way to split"), "%s", err.message);
    }
}
