/* proof.c -- SHA-256 of files and tensors, and the weights digest (docs/weights-digest.md).
 *
 * One list of jobs, files and tensors (experts one by one), sorted by place: a file is hashed by one thread
 * while others hash its tensors, so each byte comes from the disk once. */
#include "model/proof.h"

#include "core/threads.h"
#include "model/family.h"
#include "model/tensor_hash.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 256 };

int tensor_sha256(char hex[SHA256_HEX], const Tensor *t, Error *err) {
    TensorHasher h = {0};
    hex[0] = 0;
    int code = tensor_hash_rows(&h, t, 0, tensor_rows(t), hex, (HashProgress){0}, err);
    tensor_hasher_close(&h);
    return code;
}

/* ---- jobs ---- */

typedef struct Job {
    const SourceFile *file; /* a file to hash; NULL for rows of a tensor */
    FileProof *proof;       /* where its hash goes */
    const Tensor *tensor;
    uint64_t first_row, n_rows;
    const char *hf_name;
    uint32_t n_dims;
    uint64_t dims[4];  /* of the HF form, ggml order */
    char *line;        /* of the digest, when done */
    const char *place; /* path of the file that the bytes begin in, and where: reading order */
    uint64_t offset;
} Job;

typedef struct Work {
    Arena *arena; /* not for threads */
    Job *jobs;
    size_t n_jobs, capacity;
    uint64_t total, done; /* bytes */
    TensorHasher hashers[MAX_THREADS];
    pthread_mutex_t lock; /* guards done, last error of progress */
    const Progress *progress;
    const char *phase;
} Work;

static Job *new_job(Work *w) {
    if (w->n_jobs == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 256;
        Job *more = arena_alloc(w->arena, capacity, sizeof *more);
        if (!more) return NULL;
        if (w->n_jobs) memcpy(more, w->jobs, w->n_jobs * sizeof *more);
        w->jobs = more;
        w->capacity = capacity;
    }
    return &w->jobs[w->n_jobs++];
}

/* Where the bytes of a row lie. */
static void find_place(Job *j) {
    const Tensor *t = j->tensor;
    uint64_t rows = tensor_rows(t), at = rows ? tensor_stored_bytes(t) / rows * j->first_row : 0;
    j->place = "";
    for (uint32_t i = 0; i < t->n_extents; i++) {
        if (at < t->extents[i].length) {
            j->place = input_path(t->extents[i].file);
            j->offset = t->extents[i].offset + at;
            return;
        }
        at -= t->extents[i].length;
    }
}

static int add_rows(Work *w, const Tensor *t, const char *hf_name, uint64_t first_row, uint64_t n_rows,
                    uint32_t n_dims, const uint64_t *dims, Error *err) {
    Job *j = new_job(w);
    if (!j) return error_memory(err, "the weights digest");
    *j = (Job){.tensor = t, .hf_name = hf_name, .first_row = first_row, .n_rows = n_rows, .n_dims = n_dims};
    memcpy(j->dims, dims, n_dims * sizeof *dims);
    j->line = arena_alloc(w->arena, strlen(hf_name) + 256, 1);
    if (!j->line) return error_memory(err, "the weights digest");
    find_place(j);
    w->total += n_rows * tensor_row_bytes(t);
    return 0;
}

/* A GGUF tensor as the Hugging Face tensors it stands for. Dimensions come from the family, since GGUF tools
 * may drop a trailing 1. */
static int add_gguf_tensor(Work *w, const Model *m, const Tensor *t, Error *err) {
    TensorSpec spec;
    if (!family_find_spec(m->family, &m->params, t->name, &spec))
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: tensor %s is none of the family %s, so the weights have no digest", m->path,
                         t->name, m->family->name);
    for (uint32_t i = 0; i < TENSOR_MAX_DIMS; i++)
        if (t->dims[i] != (i < spec.n_dims ? spec.dims[i] : 1))
            return error_set(err, ERR_FORMAT,
                             "%s: tensor %s does not have the shape that the parameters ask for", m->path,
                             t->name);
    uint64_t count = spec.stacked ? spec.dims[2] : 1, rows = tensor_rows(t) / count;
    uint32_t n_dims = spec.stacked ? 2 : spec.n_dims;
    for (uint32_t e = 0; e < count; e++) {
        char name[160];
        if (!family_expert_name(&spec, e, name, sizeof name))
            return error_set(err, ERR_LIMIT, "a tensor name is too long");
        const char *kept = arena_string(w->arena, name);
        if (!kept) return error_memory(err, "the weights digest");
        TRY(add_rows(w, t, kept, e * rows, rows, n_dims, t->dims, err));
    }
    return 0;
}

static int add_tensors(Work *w, const Model *m, Error *err) {
    if (!m->family)
        return error_set(err, ERR_UNSUPPORTED, "%s: weights of the architecture %s have no digest; known: %s",
                         m->path, m->params.architecture, family_known());
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (!dtype_is_float(t->type))
            return error_set(err, ERR_UNSUPPORTED,
                             "%s: tensor %s is %s; only F32, F16 and BF16 weights have a digest", m->path,
                             t->name, dtype_name(t->type));
        if (m->form == FORM_GGUF)
            TRY(add_gguf_tensor(w, m, t, err));
        else
            TRY(add_rows(w, t, t->name, 0, tensor_rows(t), t->n_dims, t->dims, err));
    }
    return 0;
}

static int add_files(Work *w, const Model *m, FileProof *proofs, Error *err) {
    for (size_t i = 0; i < m->n_files; i++) {
        const SourceFile *f = &m->files[i];
        Job *j = new_job(w);
        if (!j) return error_memory(err, "the hashes of the source");
        *j = (Job){.file = f, .proof = &proofs[i], .place = input_path(f->input)};
        w->total += input_size(f->input);
    }
    return 0;
}

/* A file before its tensors, tensors as they lie. */
static int compare_places(const void *a, const void *b) {
    const Job *x = a, *y = b;
    int order = strcmp(x->place, y->place);
    if (order) return order;
    if (!x->file != !y->file) return x->file ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* ---- running them ---- */

static int advance(void *context, uint64_t bytes, Error *err) {
    Work *w = context;
    pthread_mutex_lock(&w->lock);
    w->done += bytes;
    int code = progress_update(w->progress, w->phase, w->done, w->total, err);
    pthread_mutex_unlock(&w->lock);
    return code;
}

typedef struct FileTick {
    Work *work;
    uint64_t seen;
    Error error;
    int code;
} FileTick;

static int file_piece(void *context, uint64_t bytes) {
    FileTick *tick = context;
    tick->code = advance(tick->work, bytes - tick->seen, &tick->error);
    tick->seen = bytes;
    return tick->code;
}

static int hash_file(Work *w, Job *j, Error *err) {
    FileTick tick = {.work = w};
    j->proof->name = j->file->name;
    j->proof->size = input_size(j->file->input);
    int code = sha256_input(j->proof->sha256, j->file->input, file_piece, &tick, err);
    if (code && tick.code && err) *err = tick.error;
    return code ? code : input_unchanged(j->file->input, err);
}

/* "<sha256>  <type> [<shape>] <name>\n" */
static void write_line(Job *j, const char *hex, DType as) {
    size_t used = (size_t)sprintf(j->line, "%s  %s [", hex, dtype_name(as));
    for (uint32_t i = j->n_dims; i-- > 0;)
        used += (size_t)sprintf(j->line + used, "%llu%s", (unsigned long long)j->dims[i], i ? "," : "");
    sprintf(j->line + used, "] %s\n", j->hf_name);
}

static int run_job(void *context, size_t index, unsigned thread, Error *err) {
    Work *w = context;
    Job *j = &w->jobs[index];
    if (j->file) return hash_file(w, j, err);
    char hex[SHA256_HEX];
    DType as = DT_NONE;
    TRY(tensor_hash_narrowest(&w->hashers[thread], j->tensor, j->first_row, j->n_rows, &as, hex,
                              (HashProgress){advance, w}, err));
    write_line(j, hex, as);
    return 0;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const Job *)a)->hf_name, ((const Job *)b)->hf_name);
}

/* The digest of all lines, sorted by name as bytes. Leaves the jobs in that order. */
static int digest_lines(Work *w, char hex[SHA256_HEX], Error *err) {
    Sha256 *sha;
    size_t n = 0;
    for (size_t i = 0; i < w->n_jobs; i++)
        if (!w->jobs[i].file) w->jobs[n++] = w->jobs[i];
    qsort(w->jobs, n, sizeof *w->jobs, compare_names);
    TRY(sha256_open(&sha, err));
    for (size_t i = 0; i < n; i++) sha256_update(sha, w->jobs[i].line, strlen(w->jobs[i].line));
    sha256_finish(sha, hex);
    sha256_close(sha);
    return hex[0] ? 0 : error_set(err, ERR_MEMORY, "OpenSSL failed to compute a SHA-256");
}

static int work_open(Work **out, Arena *arena, const Progress *progress, const char *phase, Error *err) {
    Work *w = *out = arena_alloc(arena, 1, sizeof *w);
    if (!w) return error_memory(err, "hashing");
    w->arena = arena;
    w->progress = progress;
    w->phase = phase;
    return 0;
}

static int work_run(Work *w, unsigned threads, Error *err) {
    if (threads == 0) threads = threads_available();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (w->n_jobs) qsort(w->jobs, w->n_jobs, sizeof *w->jobs, compare_places);
    pthread_mutex_init(&w->lock, NULL);
    int code = progress_update(w->progress, w->phase, 0, w->total, err);
    if (!code) code = threads_run(threads, w->n_jobs, (ThreadWork){run_job, w}, err);
    pthread_mutex_destroy(&w->lock);
    for (size_t i = 0; i < MAX_THREADS; i++) tensor_hasher_close(&w->hashers[i]);
    return code;
}

static int digest_model(Arena *arena, char hex[SHA256_HEX], const Model *m, unsigned threads,
                        const Progress *progress, Error *err) {
    Work *w;
    TRY(work_open(&w, arena, progress, "hash weights", err));
    TRY(add_tensors(w, m, err));
    TRY(work_run(w, threads, err));
    return digest_lines(w, hex, err);
}

int weights_digest(char hex[SHA256_HEX], const Model *m, unsigned threads, const Progress *progress,
                   Error *err) {
    Arena *arena;
    hex[0] = 0;
    TRY(arena_open(&arena, NULL, err));
    int code = digest_model(arena, hex, m, threads, progress, err);
    arena_close(arena);
    return code;
}

/* ---- a whole source ---- */

static int prove(SourceProof *p, const Model *m, unsigned threads, const Progress *progress, Arena *scratch,
                 Error *err) {
    Work *w;
    TRY(work_open(&w, scratch, progress, "hash sources", err));
    Error why = {0};
    int code = add_tensors(w, m, &why);
    bool has_digest = !code;
    if (code == ERR_UNSUPPORTED) {
        w->n_jobs = 0;
        w->total = 0;
    } else if (code) {
        if (err) *err = why;
        return code;
    }
    TRY(add_files(w, m, p->files, err));
    TRY(work_run(w, threads, err));
    for (size_t i = 0; i < p->n_files; i++) { /* the model may be closed before the proof */
        p->files[i].name = arena_string(p->arena, p->files[i].name);
        if (!p->files[i].name) return error_memory(err, "the hashes of the source");
    }
    return has_digest ? digest_lines(w, p->weights_sha256, err) : 0;
}

static int proof_open(SourceProof **out, const Model *m, Arena *arena, Error *err) {
    SourceProof *p = *out = arena_alloc(arena, 1, sizeof *p);
    FileProof *files = arena_alloc(arena, m->n_files, sizeof *files);
    if (!p || !files) return error_memory(err, "the hashes of the source");
    *p = (SourceProof){.n_files = m->n_files, .files = files, .arena = arena};
    return 0;
}

int source_prove(SourceProof **out, const Model *source, unsigned threads, const Progress *progress,
                 const Allocator *allocator, Error *err) {
    *out = NULL;
    Arena *arena, *scratch;
    SourceProof *p = NULL;
    TRY(arena_open(&arena, allocator, err));
    int code = arena_open(&scratch, allocator, err);
    if (!code) code = proof_open(&p, source, arena, err);
    if (!code) code = prove(p, source, threads, progress, scratch, err);
    arena_close(scratch);
    if (code)
        arena_close(arena);
    else
        *out = p;
    return code;
}

void source_proof_close(SourceProof *p) {
    if (p) arena_close(p->arena);
}
