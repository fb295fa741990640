/* execute.c -- carries out a conversion: one walk proves each source file, one makes each output, all side by
 * side (core/walks.h).
 *
 * Each byte comes from the disk once as long as source order and output order come apart by less than what
 * the page cache holds; convert_estimate (estimate.h) tells. */
#include "convert/execute.h"

#include "convert/clone.h"
#include "convert/gguf_verify.h"
#include "convert/journal.h"
#include "convert/output_walk.h"
#include "convert/preflight.h"
#include "convert/resume.h"
#include "model/lora_gguf.h"
#include "model/proof_walk.h"
#include <stdio.h>
#include <string.h>

typedef struct Job {
    const Conversion *conversion;
    const ExecuteOptions *options;
    OutputWalk *outputs; /* one an output */
    PlannedFile *files;  /* those that are written */
    size_t n_files;
    ProofWalks *proof; /* NULL: none */
    Walk *walks;
    size_t n_walks, n_proofs; /* the proof's walks come first */
    size_t buffer_size;
    const char *journal; /* the output that it stands beside; NULL: none is kept */
    char key[SHA256_HEX];
    bool begun, saved; /* bytes of an earlier run are there; this run has put something down */
    bool owned;        /* all outputs are ours: nobody else writes them */
    Arena *arena;
} Job;

/* ---- preparing ---- */

/* With a journal the temporary survives the process, under a name that the next run finds. */
static int create_output(Job *job, Output **out, const char *path, Error *err) {
    if (!job->journal) return output_create(out, path, job->options->allocator, err);
    char digits[RESUME_DIGITS + 1] = {0};
    uint64_t size;
    memcpy(digits, job->key, RESUME_DIGITS);
    TRY(output_resume(out, path, digits, false, &size, job->options->allocator, err));
    job->begun &= size > 0;
    return 0;
}

static int choose_journal(Job *job, Error *err) {
    const Conversion *c = job->conversion;
    if (job->options->journal_seconds <= 0 || job->options->no_hash || !c->n_outputs) return 0;
    for (size_t i = 0; i < c->n_outputs; i++)
        if (!c->outputs[i].path) return 0;
    TRY(resume_key(job->key, c, err));
    job->journal = c->outputs[0].path;
    job->begun = true; /* until an output turns out to be new */
    return 0;
}

/* An output takes the place of what has its name; that must not be what it is made from. */
static int not_a_source(const Model *m, const char *path, Error *err) {
    for (size_t i = 0; m && i < m->n_files; i++)
        if (input_is(m->files[i].input, path))
            return error_set(err, ERR_IO,
                             "%s is the source itself, which stays as it is: give the output another name",
                             path);
    return 0;
}

static int open_output(Job *job, size_t i, Error *err) {
    ConversionOutput *o = &job->conversion->outputs[i];
    OutputWalk *w = &job->outputs[i];
    size_t buffer;
    w->plan = o->plan;
    o->result = (FileResult){.size = o->plan->file_size};
    TRY(output_walk_buffer(o->plan, &buffer, err));
    if (buffer > job->buffer_size) job->buffer_size = buffer;
    if (!job->options->no_hash) TRY(sha256_open(&w->hash, err));
    if (!o->path) return 0;
    TRY(not_a_source(o->plan->model, o->path, err));
    TRY(not_a_source(job->conversion->source, o->path, err));
    TRY(create_output(job, &w->output, o->path, err));
    TRY(clone_share(&w->data_there, w->output, o->plan, err));
    /* what it still needs */
    uint64_t size = w->data_there ? o->plan->data_offset : o->plan->file_size;
    job->files[job->n_files++] = (PlannedFile){w->output, size};
    return 0;
}

static int open_outputs(Job *job, Error *err) {
    size_t n = job->conversion->n_outputs;
    job->buffer_size = WALK_PIECE;
    job->outputs = arena_alloc(job->arena, n, sizeof *job->outputs);
    job->files = arena_alloc(job->arena, n, sizeof *job->files);
    if (!job->outputs || !job->files) return error_memory(err, "a conversion");
    memset(job->outputs, 0, n * sizeof *job->outputs);
    TRY(choose_journal(job, err));
    for (size_t i = 0; i < n; i++) TRY(open_output(job, i, err));
    job->owned = true;
    TRY(preflight(job->files, job->n_files, err));
    for (size_t i = 0; i < n; i++) {
        OutputWalk *w = &job->outputs[i];
        if (w->output && !w->data_there) TRY(output_reserve(w->output, w->plan->file_size, err));
    }
    return 0;
}

/* The proof is the first group, so that where several failed it is its error that is told: a source that is
 * not what it should be explains the others. */
static int open_walks(Job *job, Error *err) {
    const Conversion *c = job->conversion;
    if (c->source) TRY(proof_walks_open(&job->proof, c->source, c->promised, job->options->allocator, err));
    size_t proofs = job->n_proofs = job->proof ? proof_walks_count(job->proof) : 0;
    job->n_walks = proofs + c->n_outputs;
    job->walks = arena_alloc(job->arena, job->n_walks, sizeof *job->walks);
    if (!job->walks) return error_memory(err, "a conversion");
    if (job->proof) proof_walks_put(job->proof, job->walks, 0);
    unsigned group = job->proof != NULL;
    for (size_t i = 0; i < c->n_outputs; i++) {
        if (i && !c->outputs[i].continues) group++;
        job->walks[proofs + i] = output_walk(&job->outputs[i], group);
    }
    return 0;
}

/* ---- the journal ---- */

static int go_on(Job *job, Error *err) {
    bool found;
    if (!job->journal || !job->begun || job->options->restart) return 0;
    return resume_load(&found, job->journal, job->key, job->walks, job->n_walks, job->n_proofs, err);
}

static int put_down(void *context, Error *err) {
    Job *job = context;
    for (size_t i = 0; i < job->conversion->n_outputs; i++) TRY(output_flush(job->outputs[i].output, err));
    TRY(resume_save(job->journal, job->key, job->walks, job->n_walks, job->n_proofs, err));
    job->saved = true;
    return 0;
}

/* ---- running ---- */

static const char *phase_name(char *buffer, size_t size, const Job *job) {
    if (job->n_files == 0) return job->conversion->n_outputs ? "hash what would be written" : "hash sources";
    const char *path = output_path(job->files[0].output), *slash = strrchr(path, '/');
    if (job->n_files > 1)
        snprintf(buffer, size, "write %zu files", job->n_files);
    else
        snprintf(buffer, size, "write %s", slash ? slash + 1 : path);
    return buffer;
}

/* Where nothing is hashed, no byte of plain data has to come by here. */
static int copy_in_kernel(Job *job, Error *err) {
    char phase[300];
    if (!job->options->no_hash || job->conversion->source) return 0;
    for (size_t i = 0; i < job->conversion->n_outputs; i++) {
        OutputWalk *w = &job->outputs[i];
        if (!w->output || w->data_there) continue;
        TRY(clone_copy(&w->data_there, w->output, w->plan, job->options->progress,
                       phase_name(phase, sizeof phase, job), err));
    }
    return 0;
}

static int run(Job *job, Error *err) {
    char phase[300];
    WalkOptions options = {.threads = job->options->threads,
                           .buffer_size = job->buffer_size,
                           .phase = phase_name(phase, sizeof phase, job),
                           .progress = job->options->progress,
                           .checkpoint = job->journal ? put_down : NULL,
                           .checkpoint_context = job,
                           .checkpoint_seconds = job->options->journal_seconds,
                           .allocator = job->options->allocator};
    for (size_t i = 0; i < job->conversion->n_outputs; i++)
        options.progress_total += job->outputs[i].plan->file_size;
    return walks_run(job->walks, job->n_walks, options, err);
}

static int sources_unchanged(const Model *m, Error *err) {
    for (size_t i = 0; i < m->n_files; i++) TRY(input_unchanged(m->files[i].input, err));
    return 0;
}

/* A merge must have changed what it is for. (Shards of one model have one view; an adapter that is kept
 * beside the model merges nothing.) */
static int adapters_done(const Job *job, Error *err) {
    const Conversion *c = job->conversion;
    for (size_t i = 0; i < c->n_outputs; i++) {
        const Model *m = c->outputs[i].plan->model;
        if (m->lora && !is_lora_gguf(m) && !c->outputs[i].continues)
            TRY(lora_finish(m->lora, job->options->threads, err));
    }
    return 0;
}

static int check(Job *job, SourceProof **proof, Error *err) {
    const Conversion *c = job->conversion;
    for (size_t i = 0; i < c->n_outputs; i++) TRY(sources_unchanged(c->outputs[i].plan->model, err));
    TRY(adapters_done(job, err));
    if (job->proof) TRY(proof_walks_finish(job->proof, proof, err));
    for (size_t i = 0; i < c->n_outputs; i++) {
        const Output *o = job->outputs[i].output;
        if (o)
            TRY(gguf_verify(job->outputs[i].plan, output_fd(o), output_path(o), job->options->allocator,
                            err));
    }
    return 0;
}

/* From the last to the first: a split model without its first shard is none to anybody. */
static int commit(Job *job, Error *err) {
    for (size_t i = job->conversion->n_outputs; i-- > 0;) {
        OutputWalk *w = &job->outputs[i];
        memcpy(job->conversion->outputs[i].result.sha256, w->sha256, SHA256_HEX);
        Output *o = w->output;
        w->output = NULL;
        if (o) TRY(output_commit(o, err));
    }
    return 0;
}

static int carry_out(Job *job, SourceProof **proof, Error *err) {
    TRY(open_outputs(job, err));
    TRY(copy_in_kernel(job, err));
    TRY(open_walks(job, err));
    TRY(go_on(job, err));
    TRY(run(job, err));
    TRY(check(job, proof, err));
    return commit(job, err);
}

int convert_execute(const Conversion *c, ExecuteOptions options, Error *err) {
    Job job = {.conversion = c, .options = &options};
    SourceProof *proof = NULL;
    if (c->proof) *c->proof = NULL;
    TRY(arena_open(&job.arena, options.allocator, err));
    int code = carry_out(&job, &proof, err);
    bool keep = code == ERR_INTERRUPTED && job.saved;
    if (keep) code = error_wrap(err, code, "the same command goes on from here");
    if (!keep && job.journal && job.owned) journal_remove(job.journal, job.key);
    for (size_t i = 0; job.outputs && i < c->n_outputs; i++) {
        if (keep)
            output_keep(job.outputs[i].output);
        else
            output_discard(job.outputs[i].output);
        sha256_close(job.outputs[i].hash);
    }
    proof_walks_close(job.proof);
    arena_close(job.arena);
    if (!code && c->proof)
        *c->proof = proof;
    else
        source_proof_close(proof);
    return code;
}

int gguf_execute(FileResult *out, const GgufPlan *plan, const char *path, ExecuteOptions options,
                 Error *err) {
    ConversionOutput output = {.plan = plan, .path = path};
    int code = convert_execute(&(Conversion){.n_outputs = 1, .outputs = &output}, options, err);
    *out = output.result;
    return code;
}
