/* A conversion that was stopped goes on where it was, and ends with the same bytes. */
#include "convert_fixture.h"
#include <stdio.h>
#include <unistd.h>

typedef struct Case {
    FixturePath source, out, path;
    Stack s;
    SourceProof *proof;
    char right[SHA256_HEX];
    uint64_t begun_at; /* bytes done when progress was first told */
    uint64_t stop_at;
    bool told;
} Case;

static int watch(void *context, const char *phase, uint64_t done, uint64_t total) {
    Case *c = context;
    (void)phase;
    (void)total;
    if (done && !c->told) {
        c->told = true;
        c->begun_at = done;
    }
    return done >= c->stop_at;
}

/* One output and the source's proof, with something put down after every piece. */
static int convert(Case *c, unsigned threads, bool restart, Error *err) {
    Progress progress = {.update = watch, .context = c};
    ConversionOutput output = {.plan = c->s.plan, .path = c->path};
    Conversion conversion = {.source = c->s.source, .proof = &c->proof, .n_outputs = 1, .outputs = &output};
    c->told = false;
    return convert_execute(
        &conversion,
        (ExecuteOptions){
            .threads = threads, .journal_seconds = 1e-9, .restart = restart, .progress = &progress},
        err);
}

static void open_case(Case *c) {
    FileResult r;
    Error err = {0};
    memset(c, 0, sizeof *c);
    c->stop_at = UINT64_MAX;
    fixture_dir(c->source);
    fixture_dir(c->out);
    fixture_path(c->path, c->out, "x.gguf");
    FixtureModel m = fixture_model_default();
    m.layers = 1;
    m.experts = 102;
    m.hidden = 512;
    m.ff = 64;
    m.shards = 3;
    fixture_model(c->source, &m);
    stack_open(&c->s, c->source, NULL, DT_F32);
    cr_assert_gt(c->s.plan->file_size, 30u << 20, "many pieces");
    cr_assert_eq(gguf_execute(&r, c->s.plan, NULL, (ExecuteOptions){0}, &err), 0, "%s", err.message);
    memcpy(c->right, r.sha256, sizeof c->right);
}

static void close_case(Case *c) {
    source_proof_close(c->proof);
    stack_close(&c->s);
    fixture_remove(c->source);
    fixture_remove(c->out);
}

/* The file is right, the proof too, and nothing else is left. */
static void check_right(Case *c) {
    char hex[SHA256_HEX], digest[SHA256_HEX];
    file_hash(hex, c->out, "x.gguf");
    cr_assert_str_eq(hex, c->right);
    cr_assert_eq(count_files(c->out), 1);
    cr_assert_eq(weights_digest(digest, c->s.source, 1, NULL, NULL), 0);
    cr_assert_str_eq(c->proof->weights_sha256, digest);
    for (size_t i = 0; i < c->proof->n_files; i++) {
        file_hash(hex, c->source, c->proof->files[i].name);
        cr_assert_str_eq(c->proof->files[i].sha256, hex, "%s", c->proof->files[i].name);
    }
    cr_assert_eq(unlink(c->path), 0);
    source_proof_close(c->proof);
    c->proof = NULL;
}

/* Stops once `bytes` are done. (tests/kill_resume.sh uses SIGKILL, at random moments; a Criterion test can't
 * fork.) */
static void run_and_stop(Case *c, uint64_t bytes, unsigned threads) {
    Error err = {0};
    c->stop_at = bytes;
    cr_assert_eq(convert(c, threads, false, &err), ERR_INTERRUPTED);
    cr_assert(strstr(err.message, "the same command goes on"), "%s", err.message);
    cr_assert_neq(access(c->path, F_OK), 0, "nothing under the final name");
    c->stop_at = UINT64_MAX;
}

Test(convert_resume, after_a_stop) {
    Case c;
    Error err = {0};
    open_case(&c);
    for (unsigned tenth = 1; tenth < 10; tenth++) {
        unsigned threads = 1 + tenth % 3;
        uint64_t at = c.s.plan->file_size / 10 * tenth;
        run_and_stop(&c, at, threads);
        cr_assert_eq(convert(&c, threads, false, &err), 0, "%s", err.message);
        if (tenth > 3)
            cr_assert_gt(c.begun_at, at / 2, "stopped at %llu, gone on at %llu", (unsigned long long)at,
                         (unsigned long long)c.begun_at);
        check_right(&c);
    }
    close_case(&c);
}

Test(convert_resume, after_many_stops) {
    Case c;
    Error err = {0};
    open_case(&c);
    for (unsigned tenth = 1; tenth < 10; tenth++) run_and_stop(&c, c.s.plan->file_size / 10 * tenth, 2);
    cr_assert_eq(convert(&c, 2, false, &err), 0, "%s", err.message);
    check_right(&c);
    close_case(&c);
}

Test(convert_resume, a_restart_begins_anew) {
    Case c;
    Error err = {0};
    open_case(&c);
    run_and_stop(&c, c.s.plan->file_size / 2, 1);
    cr_assert_eq(convert(&c, 1, true, &err), 0, "%s", err.message);
    cr_assert_lt(c.begun_at, c.s.plan->file_size / 8);
    check_right(&c);
    close_case(&c);
}

/* Another time of modification makes it another source: nothing of the journal counts. */
Test(convert_resume, not_after_a_change_of_the_source) {
    Case c;
    Error err = {0};
    open_case(&c);
    run_and_stop(&c, c.s.plan->file_size / 2, 1);
    stack_close(&c.s);
    FixturePath shard;
    fixture_path(shard, c.source, "model-00001-of-00003.safetensors");
    size_t length;
    char *bytes = fixture_read(c.source, "model-00001-of-00003.safetensors", &length);
    bytes[length - 1] ^= 1;
    FILE *f = fopen(shard, "wb");
    cr_assert_eq(fwrite(bytes, 1, length, f), length);
    cr_assert_eq(fclose(f), 0);
    free(bytes);
    stack_open(&c.s, c.source, NULL, DT_F32);
    FileResult r;
    cr_assert_eq(gguf_execute(&r, c.s.plan, NULL, (ExecuteOptions){0}, NULL), 0);
    cr_assert_str_neq(r.sha256, c.right);
    memcpy(c.right, r.sha256, sizeof c.right);
    cr_assert_eq(convert(&c, 1, false, &err), 0, "%s", err.message);
    cr_assert_lt(c.begun_at, c.s.plan->file_size / 8);
    char hex[SHA256_HEX];
    file_hash(hex, c.out, "x.gguf");
    cr_assert_str_eq(hex, c.right);
    close_case(&c);
}

/* A journal without the bytes that it speaks of is of no use. */
Test(convert_resume, not_without_the_partial_file) {
    Case c;
    Error err = {0};
    open_case(&c);
    run_and_stop(&c, c.s.plan->file_size / 2, 1);
    char command[3 * sizeof(FixturePath)];
    snprintf(command, sizeof command, "rm %s/.x.gguf.*.partial", c.out);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(convert(&c, 1, false, &err), 0, "%s", err.message);
    cr_assert_lt(c.begun_at, c.s.plan->file_size / 8);
    check_right(&c);
    close_case(&c);
}
