/* proof.c -- SHA-256 of tensors, the weights digest of any model, and the proof of a source
 * (docs/weights-digest.md). */
#include "model/proof.h"

#include "core/threads.h"
#include "model/digest.h"
#include "model/proof_walk.h"
#include "model/tensor_hash.h"
#include <pthread.h>
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

/* ---- the digest of a model, views included: it reads rows ---- */

typedef struct Work {
    DigestList list;
    uint64_t total, done; /* bytes */
    TensorHasher hashers[MAX_THREADS];
    pthread_mutex_t lock; /* guards done, and calls of progress */
    const Progress *progress;
} Work;

static int advance(void *context, uint64_t bytes, Error *err) {
    Work *w = context;
    pthread_mutex_lock(&w->lock);
    w->done += bytes;
    int code = progress_update(w->progress, "hash weights", w->done, w->total, err);
    pthread_mutex_unlock(&w->lock);
    return code;
}

static int hash_entry(void *context, size_t index, unsigned thread, Error *err) {
    Work *w = context;
    DigestEntry *e = &w->list.entries[index];
    return tensor_hash_narrowest(&w->hashers[thread], e->tensor, e->first_row, e->n_rows, &e->as, e->sha256,
                                 (HashProgress){advance, w}, err);
}

/* Where an entry's first byte lies. */
static uint64_t find_place(const DigestEntry *e, const char **path) {
    const Tensor *t = e->tensor;
    uint64_t rows = tensor_rows(t), at = rows ? tensor_stored_bytes(t) / rows * e->first_row : 0;
    *path = "";
    for (uint32_t i = 0; i < t->n_extents; i++) {
        if (at < t->extents[i].length) {
            *path = input_path(t->extents[i].file);
            return t->extents[i].offset + at;
        }
        at -= t->extents[i].length;
    }
    return 0;
}

/* As they lie: reading order. */
static int compare_places(const void *a, const void *b) {
    const char *path_a, *path_b;
    uint64_t x = find_place(a, &path_a), y = find_place(b, &path_b);
    int order = strcmp(path_a, path_b);
    return order ? order : (x > y) - (x < y);
}

static int digest_model(Work *w, char hex[SHA256_HEX], const Model *m, unsigned threads, Arena *arena,
                        Error *err) {
    TRY(digest_list(&w->list, m, arena, err));
    if (threads == 0) threads = threads_available();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    for (size_t i = 0; i < w->list.n; i++)
        w->total += w->list.entries[i].n_rows * tensor_row_bytes(w->list.entries[i].tensor);
    if (w->list.n) qsort(w->list.entries, w->list.n, sizeof *w->list.entries, compare_places);
    TRY(progress_update(w->progress, "hash weights", 0, w->total, err));
    TRY(threads_run(threads, w->list.n, (ThreadWork){hash_entry, w}, err));
    return digest_lines(&w->list, hex, err);
}

int weights_digest(char hex[SHA256_HEX], const Model *m, unsigned threads, const Progress *progress,
                   Error *err) {
    Arena *arena;
    hex[0] = 0;
    TRY(arena_open(&arena, NULL, err));
    Work *w = arena_alloc(arena, 1, sizeof *w);
    int code = w ? 0 : error_memory(err, "hashing");
    if (!code) {
        *w = (Work){.progress = progress};
        pthread_mutex_init(&w->lock, NULL);
        code = digest_model(w, hex, m, threads, arena, err);
        pthread_mutex_destroy(&w->lock);
        for (size_t i = 0; i < MAX_THREADS; i++) tensor_hasher_close(&w->hashers[i]);
    }
    arena_close(arena);
    return code;
}

/* ---- a whole source ---- */

int source_proof_open(SourceProof **out, size_t n_files, const Allocator *allocator, Error *err) {
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    SourceProof *proof = arena_alloc(arena, 1, sizeof *proof);
    FileProof *files = arena_alloc(arena, n_files, sizeof *files);
    if (!proof || !files) {
        arena_close(arena);
        return error_memory(err, "the hashes of the source");
    }
    memset(files, 0, n_files * sizeof *files);
    *proof = (SourceProof){.n_files = n_files, .files = files, .arena = arena};
    *out = proof;
    return 0;
}

static int run_walks(ProofWalks *p, unsigned threads, const Progress *progress, const Allocator *allocator,
                     Error *err) {
    size_t n = proof_walks_count(p);
    Walk *walks = mem_alloc(allocator, n * sizeof *walks);
    if (!walks) return error_memory(err, "the hashes of the source");
    proof_walks_put(p, walks, 0);
    WalkOptions options = {.threads = threads,
                           .buffer_size = WALK_PIECE,
                           .phase = "hash sources",
                           .progress = progress,
                           .allocator = allocator};
    int code = walks_run(walks, n, options, err);
    mem_free(allocator, walks);
    return code;
}

int source_prove(SourceProof **out, const Model *source, unsigned threads, const Progress *progress,
                 const Allocator *allocator, Error *err) {
    *out = NULL;
    ProofWalks *p;
    TRY(proof_walks_open(&p, source, NULL, allocator, err));
    int code = run_walks(p, threads, progress, allocator, err);
    if (!code) code = proof_walks_finish(p, out, err);
    proof_walks_close(p);
    return code;
}

static int fill_blank(SourceProof *p, const Model *m, bool has_digest, Error *err) {
    static const char zeros[SHA256_HEX] = "0000000000000000000000000000000000000000000000000000000000000000";
    for (size_t i = 0; i < m->n_files; i++) {
        FileProof *f = &p->files[i];
        f->name = arena_string(p->arena, m->files[i].name);
        f->size = input_size(m->files[i].input);
        memcpy(f->sha256, zeros, SHA256_HEX);
        if (!f->name) return error_memory(err, "the hashes of the source");
    }
    memcpy(p->weights_sha256, has_digest ? zeros : "", has_digest ? SHA256_HEX : 1);
    return 0;
}

int source_proof_blank(SourceProof **out, const Model *source, bool *has_digest, const Allocator *allocator,
                       Error *err) {
    Arena *scratch;
    SourceProof *p = NULL;
    DigestList list;
    Error why = {0};
    *out = NULL;
    TRY(arena_open(&scratch, allocator, err));
    int code = digest_list(&list, source, scratch, &why);
    arena_close(scratch);
    *has_digest = !code;
    if (code && code != ERR_UNSUPPORTED) {
        if (err) *err = why;
        return code;
    }
    TRY(source_proof_open(&p, source->n_files, allocator, err));
    code = fill_blank(p, source, *has_digest, err);
    if (code)
        source_proof_close(p);
    else
        *out = p;
    return code;
}

void source_proof_close(SourceProof *p) {
    if (p) arena_close(p->arena);
}
