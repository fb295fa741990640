/* hf_form.c -- a derived checkpoint directory: which files it has, and writing them. What is patched in
 * config.json is config_patch.c's business. */
#include "convert/hf_form.h"

#include "convert/config_patch.h"
#include "convert/hf_verify.h"
#include "convert/merged_shard.h"
#include "core/output.h"
#include "model/lora.h"
#include <string.h>

/* ---- the plan ---- */

static int patched_config(HfFile *f, const Model *m, Arena *arena, const Allocator *allocator, Error *err) {
    Buffer text;
    buffer_init(&text, allocator);
    buffer_text(&text, m->config_text);
    int code = buffer_ok(&text, "config.json", err);
    if (!code) code = config_patch(&text, m->config, m->overrides, err);
    if (!code) {
        f->text = arena_copy(arena, text.data, text.length);
        f->length = text.length;
        f->source = NULL;
        if (!f->text) code = error_memory(err, "config.json");
    }
    buffer_free(&text);
    return code;
}

static int list_files(HfPlan *p, const Allocator *allocator, Error *err) {
    const Model *m = p->model;
    p->files = arena_alloc(p->arena, m->n_files, sizeof *p->files);
    if (!p->files) return error_memory(err, "the plan of a checkpoint");
    for (size_t i = 0; i < m->n_files; i++) {
        HfFile *f = &p->files[i];
        *f = (HfFile){.name = m->files[i].name, .source = &m->files[i]};
        f->merged =
            m->lora && m->files[i].role == SOURCE_WEIGHTS && merged_shard_changes(m, f->source->input);
        if (m->files[i].role != SOURCE_CONFIG || !m->overrides || !m->overrides->child) continue;
        TRY(patched_config(f, m, p->arena, allocator, err));
    }
    p->n_files = m->n_files;
    return 0;
}

/* The weights are copied as files, so nothing but a merge, which keeps types, may have been done to them. */
static int check_model(const Model *m, Error *err) {
    if (m->form != FORM_HF || !m->config || !m->config_text) {
        return error_set(err, ERR_UNSUPPORTED,
                         "%s is not a Hugging Face checkpoint, and making one of a GGUF file is not offered",
                         m->path);
    }
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (t->n_transforms == 0 || (m->lora && t->type == t->stored)) continue;
        return error_set(err, ERR_UNSUPPORTED, "tensor %s: the Hugging Face form keeps weights as they are",
                         m->tensors[i].name);
    }
    return 0;
}

int hf_plan_open(HfPlan **out, const Model *model, const Allocator *allocator, Error *err) {
    *out = NULL;
    TRY(check_model(model, err));
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    HfPlan *p = arena_alloc(arena, 1, sizeof *p);
    int code = p ? 0 : error_memory(err, "the plan of a checkpoint");
    if (!code) {
        *p = (HfPlan){.model = model, .arena = arena};
        code = list_files(p, allocator, err);
    }
    if (code) {
        arena_close(arena);
        return code;
    }
    *out = p;
    return 0;
}

void hf_plan_close(HfPlan *p) {
    if (p) arena_close(p->arena);
}

/* ---- writing ---- */

typedef struct Job {
    const HfPlan *plan;
    const char *directory; /* NULL: hash only */
    bool link;
    const SourceProof *proof;
    const ExecuteOptions *options;
    const char *phase;
    uint64_t done, total; /* bytes */
    Arena *arena;
} Job;

uint64_t hf_file_size(const HfFile *f) {
    return f->source ? input_size(f->source->input) : f->length;
}

static int report(Job *job, uint64_t more, Error *err) {
    return progress_update(job->options->progress, job->phase, job->done + more, job->total, err);
}

static int hashed_so_far(void *context, uint64_t bytes) {
    return report(context, bytes, NULL);
}

static const FileProof *find_proof(const SourceProof *proof, const char *name) {
    for (size_t i = 0; proof && i < proof->n_files; i++) {
        if (strcmp(proof->files[i].name, name) == 0) return &proof->files[i];
    }
    return NULL;
}

/* The copy is what is hashed, so that the hash covers the copying too. */
static int hash_file(Job *job, char hex[SHA256_HEX], const HfFile *f, const char *path, Error *err) {
    if (!path) return sha256_input(hex, f->source->input, hashed_so_far, job, err);
    Input *in;
    TRY(input_open(&in, path, job->options->allocator, err));
    int code = sha256_input(hex, in, hashed_so_far, job, err);
    input_close(in);
    return code;
}

static int check_size(const HfFile *f, const char *path, const Allocator *allocator, Error *err) {
    Input *in;
    TRY(input_open(&in, path, allocator, err));
    uint64_t found = input_size(in);
    input_close(in);
    if (found == hf_file_size(f)) return 0;
    return error_set(err, ERR_CHECK, "%s: %llu bytes were copied, the source had %llu when it was opened",
                     path, (unsigned long long)found, (unsigned long long)hf_file_size(f));
}

static int copy_one(Job *job, FileResult *out, const HfFile *f, const char *path, Error *err) {
    const FileProof *known = find_proof(job->proof, f->name);
    if (path) {
        TRY(copy_file(input_path(f->source->input), path, job->link, err));
        TRY(check_size(f, path, job->options->allocator, err));
    }
    if (job->options->no_hash) return 0;
    if (!known || known->size != hf_file_size(f)) return hash_file(job, out->sha256, f, path, err);
    memcpy(out->sha256, known->sha256, SHA256_HEX);
    return 0;
}

static int write_one(Job *job, FileResult *out, const HfFile *f, Error *err) {
    const char *path = NULL;
    if (job->directory && !(path = arena_printf(job->arena, "%s/%s", job->directory, f->name))) {
        return error_memory(err, "the path of a file");
    }
    *out = (FileResult){.size = hf_file_size(f)};
    if (f->merged) {
        TRY(merged_shard_write(out, job->plan->model, f->source->input, path, job->options, err));
    } else if (f->source) {
        TRY(copy_one(job, out, f, path, err));
    } else {
        if (path) TRY(output_file(path, f->text, f->length, job->options->allocator, err));
        if (!job->options->no_hash) TRY(sha256_bytes(out->sha256, f->text, f->length, err));
    }
    job->done += out->size;
    return report(job, 0, err);
}

static int write_all(Job *job, FileResult *results, Error *err) {
    const HfPlan *plan = job->plan;
    for (size_t i = 0; i < plan->n_files; i++) job->total += hf_file_size(&plan->files[i]);
    for (size_t i = 0; i < plan->n_files; i++) TRY(write_one(job, &results[i], &plan->files[i], err));
    for (size_t i = 0; i < plan->model->n_files; i++) TRY(input_unchanged(plan->model->files[i].input, err));
    if (plan->model->lora) TRY(lora_finish(plan->model->lora, job->options->threads, err));
    return job->directory ? hf_verify(plan->model, job->directory, job->options->allocator, err) : 0;
}

int hf_execute(FileResult *results, const HfPlan *plan, const char *directory, bool link,
               const SourceProof *proof, ExecuteOptions options, Error *err) {
    Job job = {.plan = plan,
               .directory = directory,
               .link = link,
               .proof = proof,
               .options = &options,
               .phase = directory ? "copy the checkpoint" : "hash what would be written"};
    TRY(arena_open(&job.arena, options.allocator, err));
    int code = write_all(&job, results, err);
    arena_close(job.arena);
    return code;
}
