/* publish_files.c -- what is in the package, held against its own manifest before a byte leaves the machine.
 */
#include "core/json.h"
#include "core/threads.h"
#include "packager/manifest_private.h"
#include "packager/publish_private.h"
#include "packager/tree.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_FILES = 10000, CONTENT_LIMIT = 100 << 20 };

static const ManifestFile *find_listed(const Manifest *m, const char *path) {
    for (size_t i = 0; i < m->n_files; i++)
        if (!strcmp(m->files[i].path, path)) return &m->files[i];
    return NULL;
}

static int add_file(Publish *p, const FoundFile *found, Error *err) {
    const char *path = found->path;
    const ManifestFile *listed = find_listed(p->manifest, path);
    PublishResult *r = p->result;
    const char *problem = package_path_problem(path);
    if (found->kind != FOUND_FILE)
        return error_set(err, ERR_FORMAT, "%s/%s is a link or a special file; a package holds none",
                         p->directory, path);
    if (problem) return error_set(err, ERR_FORMAT, "%s/%s: the path %s", p->directory, path, problem);
    /* A key or a note that somebody left in the directory must not be published. */
    if (!listed && !package_is_unlisted(path))
        return error_set(err, ERR_FORMAT,
                         "%s/%s is not in the manifest and would not be verifiable; move it away",
                         p->directory, path);
    if (listed && listed->size != found->size)
        return error_set(err, ERR_CHECK, "%s/%s has %llu bytes, the manifest says %llu", p->directory, path,
                         (unsigned long long)found->size, (unsigned long long)listed->size);
    r->files[r->n_files++] = (PublishFile){.path = path, .size = found->size};
    return 0;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const PublishFile *)a)->path, ((const PublishFile *)b)->path);
}

static int check_complete(const Publish *p, Error *err) {
    const PublishResult *r = p->result;
    for (size_t i = 0; i < p->manifest->n_files; i++) {
        PublishFile wanted = {.path = p->manifest->files[i].path};
        if (!bsearch(&wanted, r->files, r->n_files, sizeof *r->files, by_path))
            return error_set(err, ERR_CHECK, "%s/%s is in the manifest and not in the directory",
                             p->directory, wanted.path);
    }
    return 0;
}

static int changed(const Publish *p, const char *path, Error *err) {
    return error_set(err, ERR_CHECK,
                     "%s/%s was changed while it was in use; run again when nothing writes it", p->directory,
                     path);
}

/* The manifest that everything was held against must be the one that is sent. */
static int same_manifest(Publish *p, const Input *in, const char *path, Error *err) {
    cJSON *json = NULL;
    size_t n = (size_t)input_size(in);
    char *text = mem_alloc(NULL, n + 1);
    if (!text) return error_memory(err, path);
    int code = input_read(in, 0, text, n, err);
    if (!code) code = json_parse(&json, text, n, path, err);
    if (!code && !cJSON_Compare(json, p->manifest->json, true)) code = changed(p, path, err);
    cJSON_Delete(json);
    mem_free(NULL, text);
    return code;
}

/* Opened once, and not through a link: what is hashed and what is sent are read from here. */
static int open_file(Publish *p, size_t i, Error *err) {
    const PublishFile *f = &p->result->files[i];
    TRY(package_open_file(&p->inputs[i], p->directory, f->path, err));
    if (input_size(p->inputs[i]) != f->size) return changed(p, f->path, err);
    return strcmp(f->path, "manifest.json") ? 0 : same_manifest(p, p->inputs[i], f->path, err);
}

int publish_list(Publish *p, Error *err) {
    PublishResult *r = p->result;
    FileTree tree;
    TRY(tree_list(&tree, p->directory, p->arena, err));
    if (tree.n_files > MOST_FILES)
        return error_set(err, ERR_LIMIT, "%s holds more than %d files", p->directory, MOST_FILES);
    r->files = arena_alloc(p->arena, tree.n_files + 1, sizeof *r->files);
    if (!r->files) return error_memory(err, p->directory);
    for (size_t i = 0; i < tree.n_files; i++) TRY(add_file(p, &tree.files[i], err));
    TRY(check_complete(p, err));
    p->inputs = arena_alloc(p->arena, r->n_files, sizeof *p->inputs);
    if (!p->inputs) return error_memory(err, p->directory);
    for (size_t i = 0; i < r->n_files; i++) TRY(open_file(p, i, err));
    return 0;
}

int publish_unchanged(const Publish *p, Error *err) {
    for (size_t i = 0; i < p->result->n_files; i++) {
        Error found = {0};
        int code = input_unchanged(p->inputs[i], &found);
        if (code) return error_wrap(err, changed(p, p->result->files[i].path, err), "nothing was committed");
    }
    return 0;
}

/* ---- hashes ---- */

typedef struct Hashing {
    Publish *p;
    uint64_t total;
    _Atomic uint64_t done;
    pthread_mutex_t lock; /* of progress */
} Hashing;

typedef struct OneHash {
    Hashing *h;
    uint64_t seen;
} OneHash;

static int hashed(void *context, uint64_t bytes) {
    OneHash *one = context;
    Hashing *h = one->h;
    h->done += bytes - one->seen;
    one->seen = bytes;
    pthread_mutex_lock(&h->lock);
    int stop = progress_update(h->p->options->progress, "hash", h->done, h->total, NULL);
    pthread_mutex_unlock(&h->lock);
    return stop;
}

/* A number for the file as it is on this machine now. */
static int identity_of(const Input *in, char hex[SHA256_HEX], Error *err) {
    Buffer b;
    buffer_init(&b, NULL);
    input_identity(in, &b);
    int code = buffer_ok(&b, "a file's identity", err);
    if (!code) code = sha256_bytes(hex, b.data, b.length, err);
    buffer_free(&b);
    return code;
}

static int hash_one(void *context, size_t index, unsigned thread, Error *err) {
    (void)thread;
    Hashing *h = context;
    PublishFile *f = &h->p->result->files[index];
    const ManifestFile *listed = find_listed(h->p->manifest, f->path);
    OneHash one = {.h = h};
    char identity[SHA256_HEX];
    TRY(identity_of(h->p->inputs[index], identity, err));
    const char *known = publish_journal_hash(h->p->journal, identity);
    if (known) {
        memcpy(f->sha256, known, SHA256_HEX);
        h->done += f->size;
    } else {
        TRY(sha256_input(f->sha256, h->p->inputs[index], hashed, &one, err));
    }
    if (listed && strcmp(listed->sha256, f->sha256) != 0)
        return error_set(err, ERR_CHECK, "%s/%s has SHA-256 %s, the manifest says %s; nothing was sent",
                         h->p->directory, f->path, f->sha256, listed->sha256);
    if (!known) publish_journal_note_hash(h->p->journal, identity, f->sha256);
    return 0;
}

int publish_hash(Publish *p, Error *err) {
    PublishResult *r = p->result;
    Hashing h = {.p = p};
    for (size_t i = 0; i < r->n_files; i++) h.total += r->files[i].size;
    pthread_mutex_init(&h.lock, NULL);
    int code = threads_run(p->options->threads, r->n_files, (ThreadWork){hash_one, &h}, err);
    pthread_mutex_destroy(&h.lock);
    for (size_t i = 1; !code && i < r->n_files; i++)
        for (size_t k = 0; k < i && !r->files[i].same_as; k++)
            if (!strcmp(r->files[k].sha256, r->files[i].sha256) && !r->files[k].same_as)
                r->files[i].same_as = r->files[k].path;
    return code;
}

/* ---- small files ---- */

int publish_content(Publish *p, size_t file, char **bytes, Error *err) {
    const PublishFile *f = &p->result->files[file];
    if (f->size > CONTENT_LIMIT)
        return error_set(err, ERR_LIMIT,
                         "%s: the Hub wants %llu bytes inside the commit; 100 MiB is the most", f->path,
                         (unsigned long long)f->size);
    *bytes = arena_alloc(p->arena, (size_t)f->size + 1, 1);
    if (!*bytes) return error_memory(err, f->path);
    return input_read(p->inputs[file], 0, *bytes, (size_t)f->size, err);
}
