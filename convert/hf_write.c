/* hf_write.c -- carries out the plan of a Hugging Face form: one walk proves each source file, one makes each
 * file whose bytes must pass, all side by side (core/walks.h). The disk reads a byte once: walks keep step,
 * so the second finds it in the page cache. */
#include "convert/hf_form.h"
#include "convert/hf_verify.h"
#include "convert/hf_walk.h"
#include "convert/preflight.h"
#include "core/output.h"
#include "model/lora.h"
#include "model/proof_walk.h"
#include <string.h>

typedef struct Job {
    const HfConversion *conversion;
    const ExecuteOptions *options;
    const char *phase;
    HfWalk *made; /* one a file of the plan; those without a file need no walk */
    PlannedFile *planned;
    size_t n_made, n_planned;
    ProofWalks *proof; /* NULL: none */
    Walk *walks;
    size_t buffer_size;
    uint64_t done, total; /* bytes of files that are there without a walk; of all */
    Arena *arena;
} Job;

static const FileProof *find_proof(const SourceProof *proof, const char *name) {
    for (size_t i = 0; proof && i < proof->n_files; i++)
        if (strcmp(proof->files[i].name, name) == 0) return &proof->files[i];
    return NULL;
}

/* ---- files that need no walk ---- */

static int check_size(const HfFile *f, const char *path, const Allocator *allocator, Error *err) {
    Input *in;
    TRY(input_open(&in, path, allocator, err));
    uint64_t found = input_size(in);
    input_close(in);
    if (found == hf_file_size(f)) return 0;
    return error_set(err, ERR_CHECK, "%s: %llu bytes were copied, the source had %llu when it was opened",
                     path, (unsigned long long)found, (unsigned long long)hf_file_size(f));
}

static int write_text(const Job *job, FileResult *out, const HfFile *f, const char *path, Error *err) {
    if (path) TRY(output_file(path, f->text, f->length, job->options->allocator, err));
    return job->options->no_hash ? 0 : sha256_bytes(out->sha256, f->text, f->length, err);
}

/* *there: nothing is left to be written. Bytes that must be read for a proof or a hash in any case are
 * written by the same reading, unless the file system can share them. */
static int copy(const Job *job, bool *there, const HfFile *f, const char *path, bool read, Error *err) {
    const char *from = input_path(f->source->input);
    *there = true;
    if (!path) return 0;
    if (read)
        TRY(share_file(there, from, path, job->conversion->link, err));
    else
        TRY(copy_file(from, path, job->conversion->link, err));
    return *there ? check_size(f, path, job->options->allocator, err) : 0;
}

/* ---- preparing walks ---- */

/* path NULL: hash only. */
static int open_walk(Job *job, size_t i, const char *path, bool hash, Error *err) {
    const HfConversion *c = job->conversion;
    HfWalk *w = &job->made[i];
    const Input *file = c->plan->files[i].source->input;
    TRY(hf_walk_open(w, c->plan->model, file, &job->buffer_size, job->arena, err));
    job->n_made++;
    if (hash) TRY(sha256_open(&w->hash, err));
    if (!path) return 0;
    TRY(output_create(&w->output, path, job->options->allocator, err));
    job->planned[job->n_planned++] = (PlannedFile){w->output, input_size(file)};
    return 0;
}

static int open_file(Job *job, size_t i, Error *err) {
    const HfConversion *c = job->conversion;
    const HfFile *f = &c->plan->files[i];
    FileResult *out = &c->results[i];
    const FileProof *known = find_proof(c->known, f->name);
    const char *path = NULL;
    if (c->directory && !(path = arena_printf(job->arena, "%s/%s", c->directory, f->name)))
        return error_memory(err, "the path of a file");
    *out = (FileResult){.size = hf_file_size(f)};
    if (!f->source) return write_text(job, out, f, path, err);
    bool covered = c->source || (known && known->size == out->size), there = false;
    bool hash = !job->options->no_hash && (f->merged || !covered);
    if (!f->merged) {
        TRY(copy(job, &there, f, path, c->source || hash, err));
        if (known && !hash && !job->options->no_hash) memcpy(out->sha256, known->sha256, SHA256_HEX);
    }
    if (!there || hash) return open_walk(job, i, there ? NULL : path, hash, err);
    job->done += out->size;
    return progress_update(job->options->progress, job->phase, job->done, job->total, err);
}

static int open_files(Job *job, Error *err) {
    const HfPlan *plan = job->conversion->plan;
    job->made = arena_alloc(job->arena, plan->n_files, sizeof *job->made);
    job->planned = arena_alloc(job->arena, plan->n_files, sizeof *job->planned);
    if (!job->made || !job->planned) return error_memory(err, "a checkpoint");
    memset(job->made, 0, plan->n_files * sizeof *job->made);
    for (size_t i = 0; i < plan->n_files; i++) job->total += hf_file_size(&plan->files[i]);
    for (size_t i = 0; i < plan->n_files; i++) TRY(open_file(job, i, err));
    TRY(preflight(job->planned, job->n_planned, err));
    for (size_t i = 0; i < plan->n_files; i++) {
        const HfWalk *w = &job->made[i];
        if (w->output) TRY(output_reserve(w->output, input_size(w->file), err));
    }
    return 0;
}

/* The proof comes first, so that where several failed it is its error that is told. */
static int run_walks(Job *job, Error *err) {
    const HfConversion *c = job->conversion;
    if (c->source) TRY(proof_walks_open(&job->proof, c->source, c->promised, job->options->allocator, err));
    size_t n = job->proof ? proof_walks_count(job->proof) : 0;
    job->walks = arena_alloc(job->arena, n + job->n_made, sizeof *job->walks);
    if (!job->walks) return error_memory(err, "a checkpoint");
    if (job->proof) proof_walks_put(job->proof, job->walks, 0);
    for (size_t i = 0; i < c->plan->n_files; i++)
        if (job->made[i].file) job->walks[n++] = hf_walk(&job->made[i], job->proof != NULL);
    WalkOptions how = {.threads = job->options->threads,
                       .buffer_size = job->buffer_size,
                       .phase = job->phase,
                       .progress = job->options->progress,
                       .allocator = job->options->allocator};
    return walks_run(job->walks, n, how, err);
}

/* ---- the end ---- */

static int sources_unchanged(const Model *m, Error *err) {
    for (size_t i = 0; i < m->n_files; i++) TRY(input_unchanged(m->files[i].input, err));
    return 0;
}

/* That a source was changed meanwhile explains whatever else went wrong. */
static int explain(const Job *job, int code, Error *err) {
    Error changed = {0};
    if (!code || code == ERR_INTERRUPTED || !sources_unchanged(job->conversion->plan->model, &changed))
        return code;
    if (err) *err = changed;
    return ERR_CHECK;
}

/* Hashes of what was copied as it is are those of the source. */
static void tell(const Job *job, const SourceProof *proof) {
    const HfConversion *c = job->conversion;
    for (size_t i = 0; !job->options->no_hash && i < c->plan->n_files; i++) {
        const HfFile *f = &c->plan->files[i];
        const FileProof *found = find_proof(proof, f->name);
        if (job->made[i].hash)
            memcpy(c->results[i].sha256, job->made[i].sha256, SHA256_HEX);
        else if (f->source && found)
            memcpy(c->results[i].sha256, found->sha256, SHA256_HEX);
    }
}

static int commit(Job *job, Error *err) {
    for (size_t i = 0; i < job->conversion->plan->n_files; i++) {
        Output *o = job->made[i].output;
        job->made[i].output = NULL;
        if (o) TRY(output_commit(o, err));
    }
    return 0;
}

static int carry_out(Job *job, SourceProof **proof, Error *err) {
    const HfConversion *c = job->conversion;
    const Model *m = c->plan->model;
    int code = open_files(job, err);
    if (!code) code = run_walks(job, err);
    TRY(explain(job, code, err));
    TRY(sources_unchanged(m, err));
    if (m->lora) TRY(lora_finish(m->lora, job->options->threads, err));
    if (job->proof) TRY(proof_walks_finish(job->proof, proof, err));
    tell(job, *proof);
    TRY(commit(job, err));
    return c->directory ? hf_verify(m, c->directory, job->options->allocator, err) : 0;
}

int hf_execute(const HfConversion *c, ExecuteOptions options, Error *err) {
    Job job = {.conversion = c,
               .options = &options,
               .phase = c->directory ? "write the checkpoint" : "hash what would be written",
               .buffer_size = WALK_PIECE};
    SourceProof *proof = NULL;
    if (c->proof) *c->proof = NULL;
    TRY(arena_open(&job.arena, options.allocator, err));
    int code = carry_out(&job, &proof, err);
    for (size_t i = 0; job.made && i < c->plan->n_files; i++) {
        output_discard(job.made[i].output);
        sha256_close(job.made[i].hash);
    }
    proof_walks_close(job.proof);
    arena_close(job.arena);
    if (!code && c->proof)
        *c->proof = proof;
    else
        source_proof_close(proof);
    return code;
}
