/* A GGUF in several files: which tensor goes where, what each header says, and that the files together are
 * the model. Rules, names and keys are those of llama.cpp's tools/gguf-split; its own tool gave the counts
 * for the tiny model. */
#include "convert/edit.h"
#include "convert/edit_shards.h"
#include "convert/gguf_set.h"
#include "convert_fixture.h"
#include "core/process.h"
#include "model/gguf.h"
#include "model/proof.h"
#include "support.h"
#include <criterion/criterion.h>
#include <signal.h>

enum { MAX_TENSORS = 70000 };

/* A model of F32 vectors in memory; no data. */
typedef struct Plain {
    Arena *arena;
    Metadata *metadata;
    Model model;
} Plain;

static void plain_open(Plain *p, const uint64_t *elements, size_t n) {
    cr_assert_eq(arena_open(&p->arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&p->metadata, p->arena, NULL), 0);
    cr_assert_eq(metadata_set_string(p->metadata, "general.architecture", "x", NULL), 0);
    Tensor *tensors = arena_alloc(p->arena, n, sizeof *tensors);
    for (size_t i = 0; i < n; i++)
        tensors[i] = (Tensor){.name = arena_printf(p->arena, "t%zu", i),
                              .type = DT_F32,
                              .stored = DT_F32,
                              .n_dims = 1,
                              .dims = {elements[i], 1, 1, 1}};
    p->model = (Model){
        .form = FORM_GGUF, .path = "a test", .n_tensors = n, .tensors = tensors, .metadata = p->metadata};
}

/* The numbers of tensors in each file, "2 1 3". */
static void cut_as(const uint64_t *elements, size_t n, SplitRule rule, const char *expected) {
    Plain p;
    GgufSet *s;
    Error err = {0};
    char found[256] = "";
    uint64_t total = 0;
    size_t next = 0;
    plain_open(&p, elements, n);
    cr_assert_eq(gguf_set_open(&s, &p.model, NULL, &rule, NULL, &err), 0, "%s", err.message);
    for (size_t f = 0; f < s->n_files; f++) {
        const Model *part = s->files[f]->model;
        size_t length = strlen(found);
        snprintf(found + length, sizeof found - length, f ? " %zu" : "%zu", part->n_tensors);
        cr_assert_eq(part->tensors, p.model.tensors + next);
        if (part->n_tensors) cr_assert_eq(s->files[f]->offsets[0], 0, "offsets begin anew in each file");
        next += part->n_tensors;
        total += s->files[f]->file_size;
    }
    cr_assert_str_eq(found, expected);
    cr_assert_eq(next, n);
    cr_assert_eq(total, s->total_size);
    gguf_set_close(s);
    arena_close(p.arena);
}

Test(convert_split, tensors_go_by_the_rule) {
    static const uint64_t eight[] = {8, 8, 8, 8, 8, 8, 8}; /* 32 bytes each */
    cut_as(eight, 7, (SplitRule){.max_tensors = 3}, "3 3 1");
    cut_as(eight, 7, (SplitRule){.max_tensors = 7}, "7");
    cut_as(eight, 7, (SplitRule){.max_tensors = 1}, "1 1 1 1 1 1 1");
    cut_as(eight, 7, (SplitRule){.max_bytes = 64}, "2 2 2 1");
    cut_as(eight, 7, (SplitRule){.max_bytes = 95}, "2 2 2 1");
    cut_as(eight, 7, (SplitRule){.max_bytes = 224}, "7");
    cut_as(eight, 7, (SplitRule){.max_bytes = UINT64_MAX}, "7");
    cut_as(eight, 7, (SplitRule){.metadata_first = true}, "0 7");
    cut_as(eight, 7, (SplitRule){.metadata_first = true, .max_tensors = 4}, "0 4 3");
    cut_as(eight, 7, (SplitRule){.metadata_first = true, .max_bytes = 96}, "0 3 3 1");
    cut_as(eight, 7, (SplitRule){.max_bytes = 96, .max_tensors = 2}, "2 2 2 1");
    cut_as(eight, 0, (SplitRule){.metadata_first = true}, "0");
    cut_as(eight, 0, (SplitRule){.max_bytes = 1}, "0");
}

/* A tensor above the limit has a file of its own (gguf-split refuses it); padding counts. */
Test(convert_split, tensors_above_the_limit) {
    static const uint64_t mixed[] = {1, 100, 1, 1, 100, 100, 1};
    cut_as(mixed, 7, (SplitRule){.max_bytes = 64}, "1 1 2 1 1 1");
    cut_as(mixed, 7, (SplitRule){.max_bytes = 64, .metadata_first = true}, "0 1 1 2 1 1 1");
    cut_as(mixed, 7, (SplitRule){.max_bytes = 63}, "1 1 1 1 1 1 1");
    cut_as(mixed, 7, (SplitRule){.max_bytes = 1}, "1 1 1 1 1 1 1");
}

Test(convert_split, a_rule_that_makes_too_many_files) {
    static uint64_t ones[MAX_TENSORS];
    for (size_t i = 0; i < MAX_TENSORS; i++) ones[i] = 1;
    Plain p;
    GgufSet *s;
    Error err = {0};
    plain_open(&p, ones, MAX_TENSORS);
    cr_assert_eq(gguf_set_open(&s, &p.model, NULL, &(SplitRule){.max_tensors = 1}, NULL, &err), ERR_LIMIT);
    cr_assert_null(s);
    cr_assert_not_null(strstr(err.message, "would make 70000 files, and split.count can tell of 65535"), "%s",
                       err.message);
    arena_close(p.arena);
}

/* ---- headers ---- */

/* The three keys as gguf-split writes them, from their lengths on. */
static void split_keys(char out[256], size_t *length, uint16_t number, uint32_t tensors, uint16_t count) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_u64(&b, 8), buffer_text(&b, "split.no"), buffer_u32(&b, 2), buffer_u16(&b, number);
    buffer_u64(&b, 19), buffer_text(&b, "split.tensors.count"), buffer_u32(&b, 5), buffer_u32(&b, tensors);
    buffer_u64(&b, 11), buffer_text(&b, "split.count"), buffer_u32(&b, 2), buffer_u16(&b, count);
    cr_assert(!b.failed && b.length < 256);
    memcpy(out, b.data, b.length);
    *length = b.length;
    buffer_free(&b);
}

Test(convert_split, headers) {
    static const uint64_t eight[] = {8, 8, 8};
    Plain p;
    GgufSet *s;
    char keys[256];
    size_t length;
    plain_open(&p, eight, 3);
    /* left from an earlier split: they give way */
    cr_assert_eq(metadata_set_u32(p.metadata, "split.count", 9, NULL), 0);
    cr_assert_eq(metadata_set_string(p.metadata, "general.name", "n", NULL), 0);
    cr_assert_eq(gguf_set_open(&s, &p.model, NULL, &(SplitRule){.max_tensors = 2}, NULL, NULL), 0);
    cr_assert_eq(s->n_files, 2);
    const Buffer *first = &s->files[0]->header, *second = &s->files[1]->header;
    cr_assert_eq(load_u64(first->data + 8), 2, "tensors");
    cr_assert_eq(load_u64(first->data + 16), 5, "keys");
    split_keys(keys, &length, 0, 3, 2);
    const char *found = memmem(first->data, first->length, keys, length);
    cr_assert_not_null(found);
    cr_assert_eq(memcmp(found + length, "\x02\0\0\0\0\0\0\0t0", 10), 0, "split keys are the last");
    cr_assert_null(memmem(first->data, (size_t)(found - first->data), "split.", 6));
    cr_assert_eq(load_u64(second->data + 8), 1);
    cr_assert_eq(load_u64(second->data + 16), 3);
    split_keys(keys, &length, 1, 3, 2);
    cr_assert_eq(memcmp(second->data + 24, keys, length), 0, "and all that other shards have");
    cr_assert_eq(memcmp(second->data + 24 + length, "\x02\0\0\0\0\0\0\0t2", 10), 0);
    gguf_set_close(s);
    arena_close(p.arena);
}

Test(convert_split, names) {
    static const uint64_t eight[] = {8, 8, 8};
    Plain p;
    GgufSet *s;
    plain_open(&p, eight, 3);
    cr_assert_eq(gguf_set_open(&s, &p.model, NULL, NULL, NULL, NULL), 0);
    cr_assert(!s->split && s->n_files == 1);
    cr_assert_str_eq(gguf_set_path(s, p.arena, "d/X.gguf", 0), "d/X.gguf");
    gguf_set_close(s);
    cr_assert_eq(gguf_set_open(&s, &p.model, NULL, &(SplitRule){.max_tensors = 9}, NULL, NULL), 0);
    cr_assert(s->split && s->n_files == 1);
    cr_assert_str_eq(gguf_set_path(s, p.arena, "d/X.gguf", 0), "d/X-00001-of-00001.gguf");
    gguf_set_close(s);
    cr_assert_eq(gguf_set_open(&s, &p.model, NULL, &(SplitRule){.max_tensors = 1}, NULL, NULL), 0);
    cr_assert_str_eq(gguf_set_path(s, p.arena, "d/X.gguf", 2), "d/X-00003-of-00003.gguf");
    gguf_set_close(s);
    arena_close(p.arena);
}

/* ---- files ---- */

/* The tiny model as BF16, in shards below a directory. */
typedef struct Scene {
    FixturePath dir, path;
    Stack stack;
    GgufSet *set;
    Arena *arena;
    size_t n;
    ConversionOutput outputs[16];
} Scene;

static void scene_open(Scene *s, const char *overrides, const char *rule) {
    SplitRule r;
    Error err = {0};
    memset(s, 0, sizeof *s);
    fixture_dir(s->dir);
    fixture_path(s->path, s->dir, "X.gguf");
    stack_open(&s->stack, FIXTURE_TINY, overrides, DT_BF16);
    cr_assert_eq(arena_open(&s->arena, NULL, NULL), 0);
    cr_assert_eq(split_rule_parse(&r, rule, &err), 0, "%s", err.message);
    cr_assert_eq(gguf_set_open(&s->set, s->stack.retype, NULL, &r, NULL, &err), 0, "%s", err.message);
    s->n = s->set->n_files;
    cr_assert_leq(s->n, 16);
    for (size_t f = 0; f < s->n; f++)
        s->outputs[f] = (ConversionOutput){.plan = s->set->files[f],
                                           .path = gguf_set_path(s->set, s->arena, s->path, f),
                                           .continues = f > 0};
    Conversion c = {.n_outputs = s->n, .outputs = s->outputs};
    cr_assert_eq(convert_execute(&c, (ExecuteOptions){.threads = 3}, &err), 0, "%s", err.message);
}

static void scene_close(Scene *s) {
    gguf_set_close(s->set);
    stack_close(&s->stack);
    arena_close(s->arena);
    fixture_remove(s->dir);
}

static Model *open_first(const Scene *s) {
    Model *m;
    Error err = {0};
    cr_assert_eq(model_open(&m, s->outputs[0].path, NULL, &err), 0, "%s", err.message);
    return m;
}

/* How many files llama-gguf-split makes of the tiny model, which has 27 tensors. */
Test(convert_split, the_files_are_the_model) {
    static const struct {
        const char *rule;
        size_t files;
    } cases[] = {{"10", 3}, {"1M", 6}, {"metadata-first,1M", 7}, {"metadata-first", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Scene s;
        Error err = {0};
        char whole[SHA256_HEX], parts[SHA256_HEX];
        scene_open(&s, NULL, cases[i].rule);
        cr_assert_eq(s.n, cases[i].files, "%s: %zu", cases[i].rule, s.n);
        cr_assert_eq(count_files(s.dir), s.n);
        Model *m = open_first(&s);
        cr_assert_eq(m->n_files, s.n);
        cr_assert_eq(m->n_tensors, 27);
        cr_assert_eq(metadata_count(m->metadata), metadata_count(s.stack.retype->metadata));
        cr_assert_eq(weights_digest(whole, s.stack.source, 2, NULL, &err), 0, "%s", err.message);
        cr_assert_eq(weights_digest(parts, m, 2, NULL, &err), 0, "%s", err.message);
        cr_assert_str_eq(whole, parts, "a model's digest does not depend on how it is cut");
        for (size_t f = 0; f < s.n; f++) {
            cr_assert_eq(s.outputs[f].result.size, input_size(m->files[f].input));
            char hex[SHA256_HEX];
            cr_assert_eq(sha256_input(hex, m->files[f].input, NULL, NULL, &err), 0);
            cr_assert_str_eq(hex, s.outputs[f].result.sha256);
        }
        model_close(m);
        scene_close(&s);
    }
}

Test(convert_split, metadata_first_shares_every_shard_but_one) {
    Scene base, variant;
    scene_open(&base, NULL, "metadata-first,1M");
    scene_open(&variant,
               "{\"num_experts_per_tok\":16,\"max_position_embeddings\":1024,\"rope_scaling\":{\"rope_type\":"
               "\"yarn\",\"factor\":4,\"original_max_position_embeddings\":256}}",
               "metadata-first,1M");
    cr_assert_eq(base.n, variant.n);
    cr_assert_str_neq(base.outputs[0].result.sha256, variant.outputs[0].result.sha256);
    for (size_t f = 1; f < base.n; f++)
        cr_assert_str_eq(base.outputs[f].result.sha256, variant.outputs[f].result.sha256);
    scene_close(&base);
    scene_close(&variant);
}

/* ---- a new first shard ---- */

static int edit(const Scene *s, const Model *set, const char *path, bool copy, Error *err) {
    Input *in;
    Model *first;
    Arena *arena;
    Metadata *keys;
    FileResult result;
    cr_assert_eq(input_open(&in, s->outputs[0].path, NULL, err), 0, "%s", err->message);
    cr_assert_eq(gguf_open_shard(&first, in, NULL, err), 0, "%s", err->message);
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(metadata_copy(&keys, first->metadata, arena, NULL), 0);
    cr_assert_eq(edit_set(keys, "qwen3moe.expert_used_count=12", err), 0, "%s", err->message);
    int code = edit_first_shard(&result, set, first, keys, path, copy, (ExecuteOptions){.threads = 1}, err);
    arena_close(arena);
    model_close(first);
    return code;
}

static nlink_t links(const char *directory, const char *name) {
    FixturePath path;
    struct stat st;
    fixture_path(path, directory, name);
    cr_assert_eq(stat(path, &st), 0, "%s", path);
    return st.st_nlink;
}

static void check_edited(const Scene *s, const char *path) {
    Model *m;
    Error err = {0};
    char whole[SHA256_HEX], parts[SHA256_HEX];
    cr_assert_eq(model_open(&m, path, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(m->params.n_experts_used, 12);
    cr_assert_eq(weights_digest(whole, s->stack.source, 2, NULL, &err), 0);
    cr_assert_eq(weights_digest(parts, m, 2, NULL, &err), 0);
    cr_assert_str_eq(whole, parts);
    model_close(m);
}

Test(convert_split, edited) {
    Scene s;
    Error err = {0};
    FixturePath path;
    scene_open(&s, NULL, "metadata-first,2M");
    Model *set = open_first(&s);
    cr_assert_eq(s.n, 3);
    fixture_path(path, s.dir, "L-00001-of-00003.gguf");
    cr_assert_eq(edit(&s, set, path, false, &err), 0, "%s", err.message);
    check_edited(&s, path);
    cr_assert_eq(links(s.dir, "L-00001-of-00003.gguf"), 1);
    cr_assert_eq(links(s.dir, "L-00003-of-00003.gguf"), 2);
    /* once more: what is linked already stays */
    cr_assert_eq(edit(&s, set, path, false, &err), 0, "%s", err.message);
    cr_assert_eq(links(s.dir, "L-00003-of-00003.gguf"), 2);
    fixture_path(path, s.dir, "C-00001-of-00003.gguf");
    cr_assert_eq(edit(&s, set, path, true, &err), 0, "%s", err.message);
    check_edited(&s, path);
    cr_assert_eq(links(s.dir, "C-00003-of-00003.gguf"), 1);
    model_close(set);
    scene_close(&s);
}

Test(convert_split, edited_and_refused) {
    Scene s;
    Error err = {0};
    FixturePath path;
    scene_open(&s, NULL, "metadata-first,2M");
    Model *set = open_first(&s);
    fixture_path(path, s.dir, "E-00001-of-00002.gguf");
    cr_assert_eq(edit(&s, set, path, false, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "must be named -00001-of-00003.gguf"), "%s", err.message);
    fixture_write_text(s.dir, "E-00003-of-00003.gguf", "somebody's");
    fixture_path(path, s.dir, "E-00001-of-00003.gguf");
    cr_assert_eq(edit(&s, set, path, false, &err), ERR_IO);
    cr_assert_not_null(strstr(err.message, "E-00003-of-00003.gguf exists and is another file"), "%s",
                       err.message);
    cr_assert_eq(count_files(s.dir), 4, "nothing was linked");
    fixture_unlink(s.dir, "E-00003-of-00003.gguf");
    process_catch_signals();
    raise(SIGINT);
    cr_assert_eq(edit(&s, set, path, false, &err), ERR_INTERRUPTED);
    cr_assert_eq(count_files(s.dir), 3, "what was linked is gone again");
    model_close(set);
    scene_close(&s);
}

Test(convert_split, memory_runs_out_anywhere) {
    Stack s;
    int code = ERR_MEMORY;
    stack_open(&s, FIXTURE_TINY, NULL, DT_F16);
    for (size_t left = 0; code == ERR_MEMORY; left++) {
        FailingAllocator f;
        GgufSet *set;
        Error err = {0};
        failing_init(&f, left);
        code = gguf_set_open(&set, s.retype, NULL, &(SplitRule){.max_tensors = 5}, &f.allocator, &err);
        cr_assert(code == 0 || code == ERR_MEMORY, "%s", err.message);
        gguf_set_close(set);
        cr_assert_eq(f.live, 0);
    }
    cr_assert_eq(code, 0);
    stack_close(&s);
}
