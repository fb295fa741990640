/* Data that only moves to another file: what can be cloned, where blocks meet, and the same bytes by every
 * way.
 */
#include "convert/clone.h"
#include "convert/edit.h"
#include "convert/provenance.h"
#include "convert_fixture.h"
#include "core/process.h"
#include "faults.h"
#include "model/gguf.h"
#include <fcntl.h>
#include <signal.h>

/* ---- a source of three tensors, the padding behind two of them being `dirt` ---- */

/* Enough to move the data: headers are multiples of 32 bytes. */
#define LONGER "general.name=a name that is longer by more than the thirty-two bytes of a step"

enum { LARGE = 300001, N_TENSORS = 3 };
static const uint64_t elements[N_TENSORS] = {LARGE, 5, 7000};
static const char *const names[N_TENSORS] = {"a", "b", "c"};

static FixturePath dir, path;

static void fill(uint8_t *bytes, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(((uint32_t)i * 2654435761u + seed) >> 11);
}

/* n: elements of the first tensor */
static void make_source(uint64_t n, uint8_t dirt) {
    Tensor tensors[N_TENSORS];
    Arena *arena;
    Metadata *m;
    GgufPlan *plan;
    for (int i = 0; i < N_TENSORS; i++) {
        tensors[i] = (Tensor){.name = names[i],
                              .type = DT_F32,
                              .stored = DT_F32,
                              .n_dims = 1,
                              .dims = {i ? elements[i] : n, 1, 1, 1}};
    }
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&m, arena, NULL), 0);
    cr_assert_eq(metadata_set_string(m, "general.architecture", "other", NULL), 0);
    cr_assert_eq(metadata_set_string(m, "general.name", "a name", NULL), 0);
    Model model = {.form = FORM_GGUF, .path = "x", .n_tensors = N_TENSORS, .tensors = tensors, .metadata = m};
    cr_assert_eq(gguf_plan_open(&plan, &model, NULL, NULL, NULL), 0);
    uint8_t *bytes = malloc(plan->file_size);
    memcpy(bytes, plan->header.data, plan->header.length);
    memset(bytes + plan->header.length, dirt, plan->file_size - plan->header.length);
    for (int i = 0; i < N_TENSORS; i++)
        fill(bytes + plan->data_offset + plan->offsets[i], tensor_bytes(&tensors[i]), (uint32_t)i);
    fixture_write(dir, "source.gguf", bytes, plan->file_size);
    free(bytes);
    gguf_plan_close(plan);
    arena_close(arena);
}

static void setup(void) {
    fixture_dir(dir);
    fixture_path(path, dir, "source.gguf");
    make_source(LARGE, 0);
}

static void teardown(void) {
    faults_clear();
    fixture_remove(dir);
}

TestSuite(convert_clone, .init = setup, .fini = teardown);

/* The first n_tensors of the source with an edit, planned. */
typedef struct Job {
    Model *model;
    Arena *arena;
    Metadata *m;
    GgufPlan *plan;
} Job;

static void job_open_some(Job *j, const char *source, size_t n_tensors, const char *set, bool pad) {
    Error err = {0};
    cr_assert_eq(gguf_open(&j->model, source, NULL, &err), 0, "%s", err.message);
    if (n_tensors) j->model->n_tensors = n_tensors;
    cr_assert_eq(arena_open(&j->arena, NULL, NULL), 0);
    cr_assert_eq(metadata_copy(&j->m, j->model->metadata, j->arena, NULL), 0);
    if (set) cr_assert_eq(edit_set(j->m, set, &err), 0, "%s", err.message);
    if (pad) cr_assert_eq(clone_pad(j->m, j->model, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(gguf_plan_open(&j->plan, j->model, j->m, NULL, &err), 0, "%s", err.message);
}

static void job_open(Job *j, const char *source, const char *set, bool pad) {
    job_open_some(j, source, 0, set, pad);
}

static void job_close(Job *j) {
    gguf_plan_close(j->plan);
    model_close(j->model);
    arena_close(j->arena);
}

/* ---- what can be cloned ---- */

Test(convert_clone, the_data_of_a_gguf_is_one_stretch) {
    Job j;
    CloneRange r;
    job_open(&j, path, NULL, false);
    cr_assert(clone_find(&r, j.plan));
    cr_assert_eq(r.file, j.model->files[0].input);
    cr_assert_eq(r.from, j.plan->data_offset);    /* nothing was changed */
    cr_assert_eq(r.length, 1200032 + 32 + 28000); /* 4 * LARGE is 1200004 */
    job_close(&j);
}

static bool found(const Model *m) {
    GgufPlan *plan;
    CloneRange r;
    cr_assert_eq(gguf_plan_open(&plan, m, NULL, NULL, NULL), 0);
    bool yes = clone_find(&r, plan);
    gguf_plan_close(plan);
    return yes;
}

Test(convert_clone, what_is_no_stretch_is_not_cloned) {
    Job j;
    Stack s;
    job_open(&j, path, NULL, false);
    Tensor t[N_TENSORS];
    Model m = *j.model;
    m.tensors = t;
    memcpy(t, j.model->tensors, sizeof t);
    cr_assert(found(&m));
    t[1] = j.model->tensors[2];
    t[2] = j.model->tensors[1];
    cr_assert_not(found(&m), "another order");
    memcpy(t, j.model->tensors, sizeof t);
    t[1].n_transforms = 1;
    cr_assert_not(found(&m), "a transform");
    memcpy(t, j.model->tensors, sizeof t);
    m.n_tensors = 2;
    cr_assert(found(&m), "without the last");
    m.n_tensors = 3;
    t[0] = t[1];
    t[0].name = "d";
    cr_assert_not(found(&m), "a tensor twice");
    m.n_tensors = 0;
    cr_assert_not(found(&m), "no data");
    job_close(&j);
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    cr_assert_not(found(s.retype), "a checkpoint");
    stack_close(&s);
}

Test(convert_clone, extents_that_follow_each_other_are_one_stretch) {
    Job j;
    job_open(&j, path, NULL, false);
    Tensor t[N_TENSORS];
    Model m = *j.model;
    Extent parts[2] = {j.model->tensors[0].extents[0], j.model->tensors[0].extents[0]};
    parts[0].length = 4096;
    parts[1].offset += 4096;
    parts[1].length -= 4096;
    memcpy(t, j.model->tensors, sizeof t);
    m.tensors = t;
    t[0].extents = parts;
    t[0].n_extents = 2;
    cr_assert(found(&m));
    parts[1].offset += 4;
    cr_assert_not(found(&m), "a hole");
    parts[1].offset -= 4;
    parts[1].length -= 4;
    cr_assert_not(found(&m), "too short");
    job_close(&j);
}

/* ---- padding ---- */

Test(convert_clone, padding_makes_blocks_meet) {
    char set[200];
    size_t padded = 0;
    for (int length = 1; length < 160; length += 13) {
        Job j;
        CloneRange r;
        snprintf(set, sizeof set, "general.name=%0*d", length, 0);
        job_open(&j, path, set, true);
        cr_assert(clone_find(&r, j.plan));
        cr_assert_eq((j.plan->data_offset - r.from) % 4096, 0, "%d", length);
        cr_assert_lt(j.plan->data_offset, r.from + 2 * 4096);
        const char *pad = metadata_string(j.m, "recast.pad");
        padded += pad != NULL;
        cr_assert_eq(pad == NULL, j.plan->data_offset == r.from, "%d", length);
        if (pad) cr_assert(strlen(pad) >= 1 && strspn(pad, ".") == strlen(pad));
        job_close(&j);
    }
    cr_assert_geq(padded, 8);
}

/* An edit of an edit is as good as one edit. */
Test(convert_clone, padding_is_the_same_when_done_again) {
    FixturePath once;
    Job j, k;
    FileResult a, b;
    fixture_path(once, dir, "once.gguf");
    job_open(&j, path, LONGER, true);
    cr_assert_not_null(metadata_get(j.m, "recast.pad"));
    cr_assert_eq(gguf_execute(&a, j.plan, once, (ExecuteOptions){0}, NULL), 0);
    job_close(&j);
    job_open(&k, once, NULL, true);
    cr_assert_eq(gguf_execute(&b, k.plan, NULL, (ExecuteOptions){0}, NULL), 0);
    cr_assert_str_eq(a.sha256, b.sha256);
    job_close(&k);
    /* and back to what needs none */
    job_open(&k, once, "general.name=a name", true);
    cr_assert_null(metadata_get(k.m, "recast.pad"));
    job_close(&k);
}

/* A file of anybody's that was padded still says nothing of where it comes from. */
Test(convert_clone, padding_is_no_provenance) {
    Job j;
    ProvenanceRead p;
    Error err = {0};
    job_open(&j, path, LONGER, true);
    cr_assert_not_null(metadata_get(j.m, "recast.pad"));
    cr_assert_eq(provenance_read(&p, j.m, &err), 0, "%s", err.message);
    cr_assert_not(p.present);
    cr_assert_eq(metadata_set_bool(j.m, "recast.edited", true, NULL), 0);
    cr_assert_eq(provenance_read(&p, j.m, &err), ERR_FORMAT);
    cr_assert_not_null(strstr(err.message, "recast.edited"), "%s", err.message);
    job_close(&j);
}

Test(convert_clone, small_files_are_not_padded) {
    Job j;
    make_source(10000, 0);
    job_open(&j, path, LONGER, true);
    cr_assert_null(metadata_get(j.m, "recast.pad"));
    job_close(&j);
}

/* ---- the bytes ---- */

typedef enum Way { SHARE, COPY } Way;

/* By a way of this module, with the header beside it. */
static int make(bool *done, const GgufPlan *plan, const char *to, Way way, Error *err) {
    Output *o;
    cr_assert_eq(output_create(&o, to, NULL, err), 0, "%s", err->message);
    int code = way == SHARE ? clone_share(done, o, plan, err) : clone_copy(done, o, plan, NULL, "test", err);
    if (code || !*done) {
        output_discard(o);
        return code;
    }
    cr_assert_eq(output_write(o, 0, plan->header.data, plan->header.length, err), 0);
    return output_commit(o, err);
}

/* The faults that are set hold while it is made. */
static void same_bytes(size_t n_tensors, const char *set, Way way) {
    FixturePath to;
    Job j;
    FileResult r;
    char hex[SHA256_HEX];
    bool done;
    Error err = {0};
    Faults wanted = faults;
    faults_clear();
    fixture_path(to, dir, "out.gguf");
    job_open_some(&j, path, n_tensors, set, true);
    cr_assert_eq(gguf_execute(&r, j.plan, NULL, (ExecuteOptions){0}, &err), 0, "%s", err.message);
    faults = wanted;
    int code = make(&done, j.plan, to, way, &err);
    faults_clear();
    cr_assert_eq(code, 0, "%s", err.message);
    cr_assert(done);
    file_hash(hex, dir, "out.gguf");
    cr_assert_str_eq(hex, r.sha256, "%s", set);
    job_close(&j);
}

Test(convert_clone, every_way_gives_the_same_bytes) {
    static const char *const sets[] = {"general.name=b name", LONGER, "general.name=", "other.new=u32:1",
                                       NULL};
    for (int i = 0; sets[i]; i++) {
        faults.clones = true;
        same_bytes(0, sets[i], SHARE);
        same_bytes(0, sets[i], COPY);
    }
}

/* What the source has between and behind its tensors is not taken over. Two tensors: the last has 20 bytes.
 */
Test(convert_clone, padding_becomes_zero) {
    make_source(LARGE, 0xEE);
    for (size_t n = 2; n <= 3; n++) {
        faults.clones = true;
        same_bytes(n, LONGER, SHARE);
        same_bytes(n, LONGER, COPY);
    }
}

Test(convert_clone, copying_goes_on_where_it_was_cut) {
    make_source(4000, 0);
    faults.pieces = true;
    same_bytes(0, LONGER, COPY);
}

/* Done by whatever file system the tests run on: it may share or not, the file is the same. */
Test(convert_clone, a_whole_conversion) {
    static const ExecuteOptions ways[] = {{.threads = 2}, {.threads = 2, .no_hash = true}};
    FixturePath to;
    Job j;
    FileResult r, expected;
    char hex[SHA256_HEX];
    Error err = {0};
    fixture_path(to, dir, "out.gguf");
    make_source(LARGE, 0xEE);
    job_open(&j, path, LONGER, true);
    cr_assert_eq(gguf_execute(&expected, j.plan, NULL, ways[0], &err), 0, "%s", err.message);
    for (int i = 0; i < 8; i++) {
        faults.clones = i & 1;
        faults.no_clone = i & 2;
        if (i & 2) fault_set("copy_file_range", 0, EXDEV);
        cr_assert_eq(gguf_execute(&r, j.plan, to, ways[i / 4], &err), 0, "%s", err.message);
        faults_clear();
        cr_assert_str_eq(r.sha256, ways[i / 4].no_hash ? "" : expected.sha256);
        file_hash(hex, dir, "out.gguf");
        cr_assert_str_eq(hex, expected.sha256);
    }
    job_close(&j);
}

/* The source has pieces of 1 MiB, 150 KiB and one each of the other tensors. */
Test(convert_clone, without_hashes_no_data_is_read) {
    FixturePath to;
    Job j;
    FileResult r;
    int reads[2];
    Error err = {0};
    fixture_path(to, dir, "out.gguf");
    job_open(&j, path, LONGER, true);
    for (int i = 0; i < 2; i++) {
        faults.clones = true;
        fault_set("pread", 1 << 20, EIO);
        ExecuteOptions options = {.threads = 1, .no_hash = i};
        cr_assert_eq(gguf_execute(&r, j.plan, to, options, &err), 0, "%s", err.message);
        reads[i] = faults.one.seen;
        faults_clear();
    }
    cr_assert_eq(reads[0] - reads[1], 4);
    job_close(&j);
}

/* ---- what fails ---- */

Test(convert_clone, copying_can_be_interrupted) {
    FixturePath to;
    Job j;
    bool done;
    Error err = {0};
    fixture_path(to, dir, "out.gguf");
    process_catch_signals();
    job_open(&j, path, NULL, false);
    raise(SIGINT);
    cr_assert_eq(make(&done, j.plan, to, COPY, &err), ERR_INTERRUPTED);
    job_close(&j);
    cr_assert_eq(count_files(dir), 1);
}

Test(convert_clone, a_refusal_is_no_error) {
    static const int refusals[] = {EOPNOTSUPP, EXDEV, EINVAL, ENOTTY, EPERM, ENOSPC};
    FixturePath to;
    Job j;
    bool done = true;
    Error err = {0};
    fixture_path(to, dir, "out.gguf");
    job_open(&j, path, LONGER, true);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        faults.clones = true;
        fault_set("ioctl", 0, refusals[i]);
        cr_assert_eq(make(&done, j.plan, to, SHARE, &err), 0);
        cr_assert_not(done);
        cr_assert_eq(faults.one.seen, 1);
    }
    faults_clear();
    fault_set("copy_file_range", 1, EXDEV);
    cr_assert_eq(make(&done, j.plan, to, COPY, &err), 0);
    cr_assert_not(done);
    job_close(&j);
    cr_assert_eq(count_files(dir), 1);
}

Test(convert_clone, blocks_that_do_not_meet_are_not_shared) {
    FixturePath to;
    Job j;
    bool done;
    fixture_path(to, dir, "out.gguf");
    faults.clones = true;
    job_open(&j, path, LONGER, false);
    cr_assert_eq(make(&done, j.plan, to, SHARE, NULL), 0);
    cr_assert_not(done);
    job_close(&j);
}

Test(convert_clone, a_full_disk_is_an_error) {
    FixturePath to;
    Job j;
    bool done;
    Error err = {0};
    fixture_path(to, dir, "out.gguf");
    job_open(&j, path, NULL, true);
    fault_set("copy_file_range", 1, ENOSPC);
    cr_assert_eq(make(&done, j.plan, to, COPY, &err), ERR_IO);
    cr_assert_eq(err.sys, ENOSPC);
    cr_assert_not_null(strstr(err.message, "out.gguf at byte"), "%s", err.message);
    fault_set("pwrite", 1, EIO);
    faults.clones = true;
    cr_assert_eq(make(&done, j.plan, to, SHARE, &err), ERR_IO);
    job_close(&j);
    cr_assert_eq(count_files(dir), 1);
}
