/* A plan becomes a file: the right bytes whatever the threads, and nothing at all when something goes wrong.
 */
#include "convert/execute.h"
#include "convert/gguf_verify.h"
#include "convert_fixture.h"
#include "core/process.h"
#include "model/gguf.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

static int execute(FileResult *out, const GgufPlan *plan, const char *path, unsigned threads, Error *err) {
    return gguf_execute(out, plan, path, (ExecuteOptions){.threads = threads}, err);
}

/* ---- bytes ---- */

/* "type name DTYPE dims sha256" of every tensor that llama.cpp's converter (tests/golden/tiny-tensors.txt) or
 * its llama-quantize (tiny-presets.txt) writes for the tiny model. */
static void check_golden(const char *file, const char *type, const Model *m) {
    char *golden = fixture_read("tests/golden", file, NULL), *next = NULL;
    size_t found = 0;
    for (char *line = strtok_r(golden, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        char of[16], name[64], dtype[16], dims[64], hex[65], have[SHA256_HEX], shape[64];
        if (sscanf(line, "%15s %63s %15s %63s %64s", of, name, dtype, dims, hex) != 5 || strcmp(of, type))
            continue;
        const Tensor *t = model_find(m, name);
        cr_assert_not_null(t, "%s", name);
        cr_assert_str_eq(dtype_name(t->type), dtype, "%s", name);
        int n = 0;
        for (uint32_t d = 0; d < t->n_dims; d++) {
            n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%llu", d ? "," : "",
                          (unsigned long long)t->dims[d]);
        }
        cr_assert_str_eq(shape, dims, "%s", name);
        size_t length = (size_t)tensor_bytes(t);
        char *bytes = malloc(length);
        cr_assert_eq(model_read(t, 0, tensor_rows(t), bytes, NULL), 0);
        cr_assert_eq(sha256_bytes(have, bytes, length, NULL), 0);
        cr_assert_str_eq(have, hex, "%s of %s", name, type);
        free(bytes);
        found++;
    }
    free(golden);
    cr_assert_eq(found, 27);
    cr_assert_eq(m->n_tensors, 27);
}

static void check_type(const char *directory, const char *name, DType type) {
    static const unsigned threads[] = {1, 2, 7};
    Stack s;
    FixturePath path;
    char first[SHA256_HEX] = "";
    fixture_path(path, directory, "x.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, type);
    for (int i = 0; i < 3; i++) {
        FileResult written, hashed;
        Error err = {0};
        char read_back[SHA256_HEX];
        cr_assert_eq(execute(&written, s.plan, path, threads[i], &err), 0, "%s", err.message);
        cr_assert_eq(execute(&hashed, s.plan, NULL, threads[i], &err), 0, "%s", err.message);
        file_hash(read_back, directory, "x.gguf");
        cr_assert_str_eq(written.sha256, read_back);
        cr_assert_str_eq(hashed.sha256, read_back);
        cr_assert_eq(written.size, hashed.size);
        if (first[0]) cr_assert_str_eq(read_back, first, "%u threads", threads[i]);
        memcpy(first, read_back, sizeof first);
    }
    Model *m;
    cr_assert_eq(gguf_open(&m, path, NULL, NULL), 0);
    check_golden("tiny-tensors.txt", name, m);
    model_close(m);
    stack_close(&s);
}

Test(convert_execute, bytes_are_llama_cpps_with_any_number_of_threads) {
    FixturePath dir;
    fixture_dir(dir);
    check_type(dir, "f32", DT_F32);
    check_type(dir, "f16", DT_F16);
    check_type(dir, "bf16", DT_BF16);
    check_type(dir, "q8_0", DT_Q8_0);
    fixture_remove(dir);
}

/* Enough data for many pieces: tensors of 1 to 13 MB, whole and partial pieces, converted and plain ones. */
static void many_pieces(const char *directory) {
    FixtureModel m = fixture_model_default();
    m.layers = 1;
    m.experts = 102;
    m.hidden = 512;
    m.ff = 64;
    m.shards = 3;
    fixture_model(directory, &m);
}

/* Rows of 32 and 64 elements: the rules of each preset, and what becomes of types that don't fit. */
Test(convert_execute, presets_are_those_of_llama_quantize) {
    Stack s;
    size_t quantized = 0;
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    for (size_t i = 0; i < preset_count(); i++) {
        const Preset *preset = preset_at(i);
        Model *m;
        Error err = {0};
        RetypeOptions options = {.rules = mixture_rules(preset)};
        if (dtype_is_float(preset->type) || preset->file_type == FILE_Q2_K_S) continue;
        cr_assert_eq(retype_open(&m, s.names, &options, NULL, &err), 0, "%s", err.message);
        check_golden("tiny-presets.txt", preset->key, m);
        quantized++;
        model_close(m);
    }
    stack_close(&s);
    cr_assert_eq(quantized, 16);
}

Test(convert_execute, pieces_of_large_tensors_join) {
    FixturePath dir, out, path;
    fixture_dir(dir);
    fixture_dir(out);
    many_pieces(dir);
    fixture_path(path, out, "x.gguf");
    for (int t = 0; t < 2; t++) {
        Stack s;
        FileResult one, many;
        Model *m;
        Error err = {0};
        stack_open(&s, dir, NULL, t ? DT_F32 : DT_BF16);
        cr_assert_eq(execute(&one, s.plan, path, 1, &err), 0, "%s", err.message);
        cr_assert_eq(execute(&many, s.plan, path, 5, &err), 0, "%s", err.message);
        cr_assert_str_eq(one.sha256, many.sha256);
        cr_assert_eq(gguf_open(&m, path, NULL, &err), 0, "%s", err.message);
        /* Read through the views in one go, and from the file. */
        const Tensor *a = model_find(s.retype, "blk.0.ffn_gate_exps.weight");
        const Tensor *b = model_find(m, "blk.0.ffn_gate_exps.weight");
        size_t length = (size_t)tensor_bytes(a);
        cr_assert_gt(length, t ? 3u << 22 : 1u << 22);
        char *x = malloc(length), *y = malloc(length);
        cr_assert_eq(model_read(a, 0, tensor_rows(a), x, NULL), 0);
        cr_assert_eq(model_read(b, 0, tensor_rows(b), y, NULL), 0);
        cr_assert_eq(memcmp(x, y, length), 0);
        free(x);
        free(y);
        model_close(m);
        stack_close(&s);
    }
    fixture_remove(dir);
    fixture_remove(out);
}

Test(convert_execute, gguf_to_gguf_is_the_same_file) {
    FixturePath dir, a, b;
    Stack s;
    FileResult first, second;
    Model *m;
    GgufPlan *p;
    Error err = {0};
    fixture_dir(dir);
    fixture_path(a, dir, "a.gguf");
    fixture_path(b, dir, "b.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    cr_assert_eq(execute(&first, s.plan, a, 2, &err), 0, "%s", err.message);
    cr_assert_eq(model_open(&m, a, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(gguf_plan_open(&p, m, NULL, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(execute(&second, p, b, 2, &err), 0, "%s", err.message);
    cr_assert_str_eq(first.sha256, second.sha256);
    /* Never onto itself: a source stays as it is. */
    char hex[SHA256_HEX];
    cr_assert_eq(execute(&second, p, a, 2, &err), ERR_IO);
    cr_assert(strstr(err.message, "is the source itself"), "%s", err.message);
    file_hash(hex, dir, "a.gguf");
    cr_assert_str_eq(first.sha256, hex);
    cr_assert_eq(count_files(dir), 2);
    gguf_plan_close(p);
    model_close(m);
    stack_close(&s);
    fixture_remove(dir);
}

Test(convert_execute, no_hash_leaves_it_empty) {
    FixturePath dir, path;
    Stack s;
    FileResult r;
    fixture_dir(dir);
    fixture_path(path, dir, "x.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    cr_assert_eq(gguf_execute(&r, s.plan, path, (ExecuteOptions){.no_hash = true}, NULL), 0);
    cr_assert_str_empty(r.sha256);
    cr_assert_eq(r.size, s.plan->file_size);
    stack_close(&s);
    fixture_remove(dir);
}

/* ---- turns ---- */

/* What four small tensors do when they are read, at the same time. */
typedef struct Scene {
    bool one_waits;     /* the first, until number `signals` was read, and a little longer */
    int signals, fails; /* numbers from 1; 0: none */
    atomic_bool signalled;
} Scene;

typedef struct Actor {
    Scene *scene;
    int number;
} Actor;

static int act(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t n, const void *in,
               void *out, Error *err) {
    const Actor *a = t->context;
    Scene *s = a->scene;
    (void)first_row;
    memcpy(out, in, (size_t)(n_rows * n * 4));
    if (a->number == 1 && s->one_waits) {
        for (int ms = 0; ms < 5000 && !s->signalled; ms++) usleep(1000);
        usleep(30000);
    }
    if (a->number == s->signals) s->signalled = true;
    return a->number == s->fails ? error_set(err, ERR_NUMERIC, "number %d failed", a->number) : 0;
}

enum { N_ACTORS = 4 };

/* Tensors of 20 bytes, so that 12 bytes of padding follow each, filled with their number. */
static int play(Scene *scene, const char *path, unsigned threads, FileResult *r, Error *err) {
    static const char *const names[] = {"one", "two", "three", "four"};
    uint8_t bytes[N_ACTORS][20] = {{0}};
    Actor actors[N_ACTORS];
    Extent extents[N_ACTORS];
    Tensor tensors[N_ACTORS];
    Input *in;
    Arena *arena;
    Metadata *m;
    GgufPlan *plan;
    cr_assert_eq(input_open_memory(&in, "x", bytes, sizeof bytes, NULL, NULL), 0);
    for (int i = 0; i < N_ACTORS; i++) {
        memset(bytes[i], i + 1, sizeof bytes[i]);
        actors[i] = (Actor){scene, i + 1};
        extents[i] = (Extent){in, (uint64_t)i * 20, 20};
        tensors[i] = (Tensor){.name = names[i],
                              .type = DT_F32,
                              .stored = DT_F32,
                              .n_dims = 1,
                              .dims = {5, 1, 1, 1},
                              .n_extents = 1,
                              .extents = &extents[i],
                              .n_transforms = 1,
                              .transforms = {{DT_F32, DT_F32, act, &actors[i]}}};
    }
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&m, arena, NULL), 0);
    cr_assert_eq(metadata_set_string(m, "general.architecture", "x", NULL), 0);
    Model model = {
        .form = FORM_GGUF, .path = "a test", .n_tensors = N_ACTORS, .tensors = tensors, .metadata = m};
    cr_assert_eq(gguf_plan_open(&plan, &model, NULL, NULL, err), 0, "%s", err->message);
    int code = execute(r, plan, path, threads, err);
    gguf_plan_close(plan);
    arena_close(arena);
    input_close(in);
    return code;
}

Test(convert_execute, padding_is_zero_and_a_slow_piece_keeps_its_place, .timeout = 20) {
    FixturePath dir, path;
    FileResult r;
    Error err = {0};
    fixture_dir(dir);
    fixture_path(path, dir, "x.gguf");
    for (unsigned threads = 1; threads <= 3; threads++) {
        Scene scene = {.one_waits = threads > 1, .signals = 2};
        size_t length;
        char hex[SHA256_HEX];
        cr_assert_eq(play(&scene, path, threads, &r, &err), 0, "%s", err.message);
        char *file = fixture_read(dir, "x.gguf", &length);
        cr_assert_eq(r.size, length);
        cr_assert_gt(length, 4 * 32);
        const char *data = file + length - 4 * 32;
        for (int i = 0; i < 4 * 32; i++) cr_assert_eq(data[i], i % 32 < 20 ? i / 32 + 1 : 0, "byte %d", i);
        cr_assert_eq(sha256_bytes(hex, file, length, NULL), 0);
        cr_assert_str_eq(r.sha256, hex);
        free(file);
    }
    fixture_remove(dir);
}

static void fails(int number, int signals) {
    for (unsigned threads = 1; threads <= 5; threads++) {
        Scene scene = {.one_waits = threads >= (unsigned)signals, .signals = signals, .fails = number};
        FileResult r;
        Error err = {0};
        char expected[40];
        snprintf(expected, sizeof expected, "number %d failed", number);
        cr_assert_eq(play(&scene, NULL, threads, &r, &err), ERR_NUMERIC);
        cr_assert_not_null(strstr(err.message, expected), "%s", err.message);
    }
}

Test(convert_execute, a_failure_wakes_those_that_wait, .timeout = 20) {
    fails(1, 2);
}

/* The second waits for the first when the third has failed already, and must go on waiting. */
Test(convert_execute, a_failure_does_not_stop_what_comes_before_it, .timeout = 20) {
    fails(2, 2);
    fails(3, 3);
}

/* ---- the second look ---- */

static void notices(const GgufPlan *plan, const char *path, uint64_t at, const char *part) {
    Error err = {0};
    char byte, changed;
    int fd = open(path, O_RDWR);
    cr_assert_eq(gguf_verify(plan, fd, path, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(pread(fd, &byte, 1, (off_t)at), 1);
    changed = byte ^ 1;
    cr_assert_eq(pwrite(fd, &changed, 1, (off_t)at), 1);
    cr_assert_neq(gguf_verify(plan, fd, path, NULL, &err), 0);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

static uint64_t find(const GgufPlan *plan, const char *text) {
    char *at = memmem(plan->header.data, plan->header.length, text, strlen(text));
    cr_assert_not_null(at, "%s", text);
    return (uint64_t)(at - plan->header.data);
}

Test(convert_execute, what_reads_back_differently_is_refused) {
    FixturePath dir, path;
    Stack s;
    FileResult r;
    Error err = {0};
    fixture_dir(dir);
    fixture_path(path, dir, "x.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    cr_assert_eq(execute(&r, s.plan, path, 2, &err), 0, "%s", err.message);
    notices(s.plan, path, 0, "can't be read back");
    notices(s.plan, path, find(s.plan, "a test"), "general.name differs");
    notices(s.plan, path, find(s.plan, "general.file_type"), "general.file_type differs");
    notices(s.plan, path, find(s.plan, "blk.1.attn_q.weight"), "blk.1.attn_q.weight differs");
    cr_assert_eq(truncate(path, (off_t)s.plan->file_size - 1), 0);
    int fd = open(path, O_RDONLY);
    cr_assert_eq(gguf_verify(s.plan, fd, path, NULL, &err), ERR_CHECK);
    cr_assert_not_null(strstr(err.message, "its size differs"), "%s", err.message);
    close(fd);
    stack_close(&s);
    fixture_remove(dir);
}

/* ---- what goes wrong ---- */

/* After a failure: the message, no temporary file, and an older file as it was. */
static void check_harmless(const char *dir, const Error *err, int code, const char *part) {
    cr_assert_eq(err->code, code, "%s", err->message);
    cr_assert_not_null(strstr(err->message, part), "%s", err->message);
    cr_assert_eq(count_files(dir), 1);
    char *old = fixture_read(dir, "x.gguf", NULL);
    cr_assert_str_eq(old, "the old file");
    free(old);
}

Test(convert_execute, source_cut_while_it_is_read) {
    FixturePath dir, out, path, shard;
    Stack s;
    FileResult r;
    Error err = {0};
    fixture_dir(dir);
    fixture_dir(out);
    fixture_copy_dir(FIXTURE_TINY, dir);
    fixture_write_text(out, "x.gguf", "the old file");
    fixture_path(path, out, "x.gguf");
    fixture_path(shard, dir, "model-00002-of-00002.safetensors");
    stack_open(&s, dir, NULL, DT_BF16);
    cr_assert_eq(truncate(shard, 100000), 0);
    cr_assert_neq(execute(&r, s.plan, path, 2, &err), 0);
    check_harmless(out, &err, ERR_FORMAT, "model-00002-of-00002.safetensors is truncated");
    stack_close(&s);
    fixture_remove(dir);
    fixture_remove(out);
}

Test(convert_execute, source_changed_while_it_is_read) {
    FixturePath dir, out, path;
    Stack s;
    FileResult r;
    Error err = {0};
    fixture_dir(dir);
    fixture_dir(out);
    fixture_copy_dir(FIXTURE_TINY, dir);
    fixture_write_text(out, "x.gguf", "the old file");
    fixture_path(path, out, "x.gguf");
    stack_open(&s, dir, NULL, DT_BF16);
    fixture_unlink(dir, "tokenizer.json");
    fixture_copy(FIXTURE_TINY, dir, "tokenizer.json"); /* the same bytes in another file */
    cr_assert_neq(execute(&r, s.plan, path, 2, &err), 0);
    check_harmless(out, &err, ERR_CHECK, "tokenizer.json was changed");
    stack_close(&s);
    fixture_remove(dir);
    fixture_remove(out);
}

typedef struct Stop {
    uint64_t after; /* bytes */
    uint64_t last;
    bool backwards;
    atomic_int inside; /* calls at the same time */
    bool together;
} Stop;

static int stop_after(void *context, const char *phase, uint64_t done, uint64_t total) {
    Stop *s = context;
    (void)phase;
    if (atomic_fetch_add(&s->inside, 1)) s->together = true;
    s->backwards = s->backwards || done < s->last || done > total;
    s->last = done;
    atomic_fetch_sub(&s->inside, 1);
    return done >= s->after;
}

Test(convert_execute, interrupted_in_the_middle) {
    FixturePath dir, path;
    Stack s;
    FileResult r;
    fixture_dir(dir);
    fixture_write_text(dir, "x.gguf", "the old file");
    fixture_path(path, dir, "x.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    for (unsigned threads = 1; threads < 4; threads++) {
        Stop stop = {.after = s.plan->file_size / 2};
        Progress progress = {.update = stop_after, .context = &stop};
        Error err = {0};
        int code =
            gguf_execute(&r, s.plan, path, (ExecuteOptions){.threads = threads, .progress = &progress}, &err);
        cr_assert_eq(code, ERR_INTERRUPTED);
        check_harmless(dir, &err, ERR_INTERRUPTED, "interrupted during: write x.gguf");
    }
    stack_close(&s);
    fixture_remove(dir);
}

Test(convert_execute, ctrl_c) {
    FixturePath dir, path;
    Stack s;
    FileResult r;
    Error err = {0};
    fixture_dir(dir);
    fixture_write_text(dir, "x.gguf", "the old file");
    fixture_path(path, dir, "x.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    signal(SIGINT, SIG_DFL); /* whatever the shell that started us had it set to */
    process_catch_signals();
    raise(SIGINT);
    cr_assert_neq(execute(&r, s.plan, path, 2, &err), 0);
    check_harmless(dir, &err, ERR_INTERRUPTED, "interrupted");
    stack_close(&s);
    fixture_remove(dir);
}

Test(convert_execute, progress_counts_the_bytes_of_the_file) {
    FixturePath dir, path;
    Stack s;
    FileResult r;
    Stop stop = {.after = UINT64_MAX};
    Progress progress = {.update = stop_after, .context = &stop};
    fixture_dir(dir);
    fixture_path(path, dir, "x.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, DT_F32);
    cr_assert_eq(gguf_execute(&r, s.plan, path, (ExecuteOptions){.threads = 4, .progress = &progress}, NULL),
                 0);
    cr_assert_eq(stop.last, s.plan->file_size);
    cr_assert_not(stop.backwards);
    cr_assert_not(stop.together);
    stack_close(&s);
    fixture_remove(dir);
}

Test(convert_execute, file_size_limit_is_a_full_disk) {
    FixturePath dir, path;
    Stack s;
    FileResult r;
    Error err = {0};
    fixture_dir(dir);
    fixture_write_text(dir, "x.gguf", "the old file");
    fixture_path(path, dir, "x.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    struct rlimit old, limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 1 << 20;
    process_catch_signals(); /* SIGXFSZ would end the program */
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int code = execute(&r, s.plan, path, 2, &err);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_assert_eq(code, ERR_IO);
    cr_assert_eq(err.sys, EFBIG);
    check_harmless(dir, &err, ERR_IO, "x.gguf");
    stack_close(&s);
    fixture_remove(dir);
}

/* A sparse source of 8 TiB can't be written anywhere; that must be said before the first piece. */
Test(convert_execute, full_disk_is_noticed_before_writing) {
    FixturePath dir, source, path;
    Error err = {0};
    FileResult r;
    fixture_dir(dir);
    fixture_path(source, dir, "big.bin");
    fixture_path(path, dir, "x.gguf");
    uint64_t size = (uint64_t)8 << 40;
    struct statvfs v;
    int fd = open(source, O_RDWR | O_CREAT | O_EXCL, 0600);
    /* Some file systems have no files that large, or can't reserve, or are larger. */
    bool able = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1) == 0 && ftruncate(fd, (off_t)size) == 0 &&
                fstatvfs(fd, &v) == 0 && v.f_bavail < size / v.f_frsize;
    close(fd);
    if (able) {
        /* Should the reservation be lost one day, this test must not fill the disk. */
        struct rlimit limit = {1 << 26, RLIM_INFINITY};
        process_catch_signals();
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        Input *in;
        Arena *arena;
        Metadata *m;
        GgufPlan *plan;
        cr_assert_eq(input_open(&in, source, NULL, NULL), 0);
        cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
        cr_assert_eq(metadata_open(&m, arena, NULL), 0);
        Extent extent = {in, 0, size};
        Tensor t = {.name = "big",
                    .type = DT_F32,
                    .stored = DT_F32,
                    .n_dims = 2,
                    .dims = {1 << 20, size >> 22, 1, 1},
                    .n_extents = 1,
                    .extents = &extent};
        Model model = {.form = FORM_GGUF, .path = "a test", .n_tensors = 1, .tensors = &t, .metadata = m};
        cr_assert_eq(gguf_plan_open(&plan, &model, NULL, NULL, NULL), 0);
        cr_assert_eq(execute(&r, plan, path, 2, &err), ERR_IO);
        cr_assert_eq(err.sys, ENOSPC);
        cr_assert_not_null(strstr(err.message, "bytes are needed"), "%s", err.message);
        cr_assert_not_null(strstr(err.message, "are free there"), "%s", err.message);
        cr_assert_eq(count_files(dir), 1); /* the source */
        gguf_plan_close(plan);
        arena_close(arena);
        input_close(in);
    }
    fixture_remove(dir);
}

Test(convert_execute, read_only_and_missing_directories) {
    FixturePath dir, path, missing;
    Stack s;
    FileResult r;
    Error err = {0};
    fixture_dir(dir);
    fixture_path(path, dir, "x.gguf");
    fixture_path(missing, dir, "none/x.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    cr_assert_eq(execute(&r, s.plan, missing, 2, &err), ERR_IO);
    cr_assert_eq(err.sys, ENOENT);
    cr_assert_eq(chmod(dir, 0555), 0);
    if (geteuid() == 0) cr_assert_eq(seteuid(65534), 0); /* nothing is read-only for root */
    cr_assert_eq(execute(&r, s.plan, path, 2, &err), ERR_IO);
    cr_assert_eq(err.sys, EACCES);
    cr_assert_not_null(strstr(err.message, "x.gguf"), "%s", err.message);
    if (getuid() == 0) cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(chmod(dir, 0755), 0);
    cr_assert_eq(count_files(dir), 0);
    stack_close(&s);
    fixture_remove(dir);
}

Test(convert_execute, rows_too_long_to_convert) {
    Stack s;
    FileResult r;
    Error err = {0};
    stack_open(&s, FIXTURE_TINY, NULL, DT_F32);
    Tensor *t = (Tensor *)&s.retype->tensors[0];
    cr_assert_gt(t->n_transforms, 0);
    t->dims[0] = (uint64_t)1 << 24; /* 64 MiB of float32 */
    cr_assert_eq(execute(&r, s.plan, NULL, 2, &err), ERR_LIMIT);
    cr_assert_not_null(strstr(err.message, "output.weight"), "%s", err.message);
    stack_close(&s);
}

/* ---- memory ---- */

typedef struct Failing {
    size_t left, live;
} Failing;

static void *failing_resize(void *context, void *p, size_t size) {
    Failing *f = context;
    if (size == 0) {
        f->live -= p != NULL;
        free(p);
        return NULL;
    }
    if (f->left == 0) return NULL;
    f->left--;
    f->live += !p;
    return realloc(p, size);
}

Test(convert_execute, every_allocation_may_fail) {
    FixturePath dir, path;
    Stack s;
    FileResult r;
    fixture_dir(dir);
    fixture_write_text(dir, "x.gguf", "the old file");
    fixture_path(path, dir, "x.gguf");
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    size_t n = 0;
    for (int code = ERR_MEMORY; code; n++) {
        Failing f = {.left = n};
        Allocator allocator = {failing_resize, &f};
        Error err = {0};
        GgufPlan *p;
        code = gguf_plan_open(&p, s.retype, NULL, &allocator, &err);
        if (!code) code = gguf_execute(&r, p, path, (ExecuteOptions){.allocator = &allocator}, &err);
        gguf_plan_close(p);
        cr_assert_eq(f.live, 0);
        if (code) check_harmless(dir, &err, ERR_MEMORY, "");
    }
    cr_assert_gt(n, 8);
    stack_close(&s);
    fixture_remove(dir);
}
