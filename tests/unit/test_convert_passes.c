/* One pass: several outputs and the proof of the source together, promises that must be kept, reads and
 * writes that fail. */
#include "convert/estimate.h"
#include "convert/execute.h"
#include "convert_fixture.h"
#include "faults.h"
#include <criterion/criterion.h>
#include <sys/statvfs.h>

enum { N_TYPES = 3 };
static const DType types[N_TYPES] = {DT_BF16, DT_F16, DT_F32};

/* A source of several MB in three files, as three types. */
typedef struct Scene {
    FixturePath dir, out, paths[N_TYPES];
    Stack stacks[N_TYPES];
    ConversionOutput outputs[N_TYPES];
    Conversion c;
    Error err;
} Scene;

static void scene_open(Scene *s) {
    memset(s, 0, sizeof *s);
    FixtureModel m = fixture_model_default();
    m.layers = 1;
    m.experts = 24;
    m.hidden = 256;
    m.ff = 64;
    m.shards = 3;
    fixture_dir(s->dir);
    fixture_dir(s->out);
    fixture_model(s->dir, &m);
    for (int i = 0; i < N_TYPES; i++) {
        char name[24];
        snprintf(name, sizeof name, "%d.gguf", i);
        fixture_path(s->paths[i], s->out, name);
        stack_open(&s->stacks[i], s->dir, NULL, types[i]);
        s->outputs[i] = (ConversionOutput){.plan = s->stacks[i].plan, .path = s->paths[i]};
    }
    s->c = (Conversion){.source = s->stacks[0].source, .n_outputs = N_TYPES, .outputs = s->outputs};
}

static void scene_close(Scene *s) {
    for (int i = 0; i < N_TYPES; i++) stack_close(&s->stacks[i]);
    fixture_remove(s->dir);
    fixture_remove(s->out);
}

static int run(Scene *s, unsigned threads) {
    s->err = (Error){0};
    return convert_execute(&s->c, (ExecuteOptions){.threads = threads}, &s->err);
}

Test(convert_passes, outputs_and_proof_are_those_of_single_passes) {
    static const unsigned threads[] = {1, 2, 7};
    Scene s;
    SourceProof *alone, *together;
    scene_open(&s);
    cr_assert_eq(source_prove(&alone, s.c.source, 2, NULL, NULL, &s.err), 0);
    s.c.proof = &together;
    for (int t = 0; t < 3; t++) {
        cr_assert_eq(run(&s, threads[t]), 0, "%s", s.err.message);
        for (int i = 0; i < N_TYPES; i++) {
            FileResult single;
            char name[24], hex[SHA256_HEX];
            snprintf(name, sizeof name, "%d.gguf", i);
            cr_assert_eq(gguf_execute(&single, s.outputs[i].plan, NULL, (ExecuteOptions){.threads = 1}, NULL),
                         0);
            file_hash(hex, s.out, name);
            cr_assert_str_eq(s.outputs[i].result.sha256, single.sha256);
            cr_assert_str_eq(hex, single.sha256);
        }
        cr_assert_eq(together->n_files, alone->n_files);
        cr_assert_str_eq(together->weights_sha256, alone->weights_sha256);
        for (size_t i = 0; i < alone->n_files; i++) {
            cr_assert_str_eq(together->files[i].name, alone->files[i].name);
            cr_assert_str_eq(together->files[i].sha256, alone->files[i].sha256);
            cr_assert_eq(together->files[i].size, alone->files[i].size);
        }
        source_proof_close(together);
    }
    source_proof_close(alone);
    scene_close(&s);
}

/* Shards of one model are made one after the other, and are the same files. */
Test(convert_passes, outputs_in_a_row_and_hash_only) {
    Scene s;
    scene_open(&s);
    for (int i = 0; i < N_TYPES; i++) {
        s.outputs[i].continues = i > 0;
        s.outputs[i].path = NULL;
    }
    cr_assert_eq(run(&s, 3), 0, "%s", s.err.message);
    for (int i = 0; i < N_TYPES; i++) {
        FileResult single;
        cr_assert_eq(gguf_execute(&single, s.outputs[i].plan, NULL, (ExecuteOptions){.threads = 1}, NULL), 0);
        cr_assert_str_eq(s.outputs[i].result.sha256, single.sha256);
    }
    cr_assert_eq(count_files(s.out), 0);
    scene_close(&s);
}

/* ---- promises ---- */

static void broken(Scene *s, const char *part, const char *expected, const char *found) {
    cr_assert_eq(run(s, 2), ERR_CHECK, "%s", s->err.message);
    cr_assert_not_null(strstr(s->err.message, part), "%s", s->err.message);
    cr_assert_not_null(strstr(s->err.message, expected), "%s", s->err.message);
    cr_assert_not_null(strstr(s->err.message, found), "%s", s->err.message);
    cr_assert_eq(count_files(s->out), 0);
}

Test(convert_passes, a_promise_that_is_not_kept_leaves_nothing) {
    static const char wrong[] = "00000000000000000000000000000000000000000000000000000000000000aa";
    Scene s;
    SourceProof *promised, *none;
    char right[SHA256_HEX];
    scene_open(&s);
    cr_assert_eq(source_prove(&promised, s.c.source, 2, NULL, NULL, &s.err), 0);
    s.c.promised = promised;
    s.c.proof = &none;
    for (size_t i = 0; i < promised->n_files; i++) {
        memcpy(right, promised->files[i].sha256, sizeof right);
        memcpy(promised->files[i].sha256, wrong, sizeof right);
        broken(&s, promised->files[i].name, wrong, right);
        cr_assert_null(none);
        memcpy(promised->files[i].sha256, right, sizeof right);
    }
    memcpy(right, promised->weights_sha256, sizeof right);
    memcpy(promised->weights_sha256, wrong, sizeof right);
    broken(&s, "weights digest", wrong, right);
    memcpy(promised->weights_sha256, right, sizeof right);
    cr_assert_eq(run(&s, 2), 0, "%s", s.err.message);
    cr_assert_eq(count_files(s.out), N_TYPES);
    source_proof_close(none);
    source_proof_close(promised);
    scene_close(&s);
}

/* ---- what goes wrong ---- */

typedef struct Meddler {
    const char *directory;
    bool done;
} Meddler;

static int meddle(void *context, const char *phase, uint64_t done, uint64_t total) {
    Meddler *m = context;
    (void)phase;
    if (m->done || done < total / 2) return 0;
    fixture_write_text(m->directory, "generation_config.json", "{}");
    m->done = true;
    return 0;
}

Test(convert_passes, source_changed_in_the_middle) {
    Scene s;
    scene_open(&s);
    Meddler m = {.directory = s.dir};
    Progress progress = {.update = meddle, .context = &m};
    cr_assert_eq(convert_execute(&s.c, (ExecuteOptions){.threads = 2, .progress = &progress}, &s.err),
                 ERR_CHECK);
    cr_assert(m.done);
    cr_assert_not_null(strstr(s.err.message, "generation_config.json was changed"), "%s", s.err.message);
    cr_assert_eq(count_files(s.out), 0);
    scene_close(&s);
}

static void failing(Scene *s, const char *call, int nth, int sys) {
    faults_clear();
    fault_set(call, nth, sys);
    int code = run(s, 1);
    int seen = faults.one.seen;
    faults_clear();
    cr_assert_eq(code, ERR_IO, "%s %d: %s", call, nth, s->err.message);
    cr_assert_eq(s->err.sys, sys);
    cr_assert_geq(seen, nth);
    cr_assert_eq(count_files(s->out), 0, "%s %d", call, nth);
}

Test(convert_passes, failing_reads_and_writes) {
    Scene s;
    scene_open(&s);
    for (int nth = 1; nth <= 16; nth += 5) {
        failing(&s, "pread", nth, EIO);
        failing(&s, "pwrite", nth, ENOSPC);
        failing(&s, "pwrite", nth, EIO);
    }
    failing(&s, "fsync", 1, EIO);
    scene_close(&s);
}

Test(convert_passes, space_is_counted_for_all_outputs_together) {
    Scene s;
    struct statvfs v;
    FixturePath big;
    scene_open(&s);
    cr_assert_eq(statvfs(s.out, &v), 0);
    uint64_t size = (uint64_t)v.f_bavail * v.f_frsize / 2 >> 22 << 22; /* two nearly fit, three don't */
    fixture_path(big, s.dir, "big.bin");
    fixture_write_text(s.dir, "big.bin", "");
    bool able = size && truncate(big, (off_t)size) == 0;
    if (able) {
        Input *in;
        Arena *arena;
        Metadata *m;
        GgufPlan *plan;
        cr_assert_eq(input_open(&in, big, NULL, NULL), 0);
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
        for (int i = 0; i < N_TYPES; i++) s.outputs[i].plan = plan;
        s.c.source = NULL;
        fault_set("pwrite", 0, ENOSPC); /* should the check be lost one day, this must not fill the disk */
        int code = run(&s, 1);
        int writes = faults.one.seen;
        faults_clear();
        cr_assert_eq(code, ERR_IO);
        cr_assert_eq(s.err.sys, ENOSPC);
        cr_assert_eq(writes, 0);
        cr_assert_not_null(strstr(s.err.message, "and the other outputs"), "%s", s.err.message);
        cr_assert_eq(count_files(s.out), 0);
        gguf_plan_close(plan);
        arena_close(arena);
        input_close(in);
    }
    scene_close(&s);
}

/* ---- progress and estimate ---- */

typedef struct Names {
    char last[64];
    bool header, tensor, file;
} Names;

static void note(void *context, const char *name) {
    Names *n = context;
    n->header |= !strcmp(name, "header");
    n->tensor |= !strcmp(name, "blk.0.ffn_down_exps.weight");
    n->file |= !strcmp(name, "tokenizer.json");
}

Test(convert_passes, progress_names_what_is_at_hand) {
    Scene s;
    Names n = {.header = false};
    Progress progress = {.context = &n, .item = note};
    scene_open(&s);
    cr_assert_eq(convert_execute(&s.c, (ExecuteOptions){.threads = 2, .progress = &progress}, &s.err), 0,
                 "%s", s.err.message);
    cr_assert(n.header && n.tensor && n.file);
    scene_close(&s);
}

Test(convert_passes, estimate) {
    Scene s;
    ConversionEstimate e;
    uint64_t source = 0, output = 0;
    scene_open(&s);
    for (size_t i = 0; i < s.c.source->n_files; i++) source += input_size(s.c.source->files[i].input);
    for (int i = 0; i < N_TYPES; i++) output += s.outputs[i].plan->file_size;
    cr_assert_eq(convert_estimate(&e, &s.c, 1, (ExecuteOptions){.threads = 2}, &s.err), 0);
    cr_assert_eq(e.source_bytes, source);
    cr_assert_eq(e.output_bytes, output);
    cr_assert_gt(e.disorder, 0);
    cr_assert_leq(e.disorder, source);
    cr_assert_leq(e.buffers, 256u << 20);
    cr_assert_eq(e.read_again, 0);
    cr_assert_gt(e.seconds, 0);
    s.c.source = NULL;
    for (int i = 0; i < N_TYPES; i++) s.outputs[i].path = NULL;
    cr_assert_eq(convert_estimate(&e, &s.c, 1, (ExecuteOptions){.threads = 2}, &s.err), 0);
    cr_assert_eq(e.source_bytes, 0);
    cr_assert_eq(e.output_bytes, 0);
    cr_assert_eq(e.disorder, 0);

    /* files of a Hugging Face form take time and buffers, also where nothing is hashed */
    ConversionEstimate none = {.hash_rate = e.hash_rate}, copied = none, hashed = none, proved = none;
    convert_estimate_files(&copied, 1 << 30, 0, 2);
    cr_assert_eq(copied.output_bytes, 1 << 30);
    cr_assert_gt(copied.seconds, 0);
    cr_assert_gt(copied.buffers, 0);
    convert_estimate_files(&hashed, 1 << 30, 1 << 30, 2);
    cr_assert_gt(hashed.seconds, copied.seconds);
    proved.source_bytes = 1; /* the proof's walks have buffers too */
    convert_estimate_files(&proved, 1 << 30, 0, 2);
    cr_assert_gt(proved.buffers, copied.buffers);
    scene_close(&s);
}
