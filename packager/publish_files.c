/* publish_files.c -- what is in the package, held against its own manifest before a byte leaves the machine.
 */
#include "core/json.h"
#include "core/threads.h"
#include "packager/manifest_private.h"
#include "packager/publish_private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_LIMIT = 16, MOST_FILES = 10000, CONTENT_LIMIT = 100 << 20 };

static const ManifestFile *find_listed(const Manifest *m, const char *path) {
    for (size_t i = 0; i < m->n_files; i++)
        if (!strcmp(m->files[i].path, path)) return &m->files[i];
    return NULL;
}

static int add_file(Publish *p, const char *path, uint64_t size, Error *err) {
    const ManifestFile *listed = find_listed(p->manifest, path);
    PublishResult *r = p->result;
    const char *problem = package_path_problem(path);
    if (problem) return error_set(err, ERR_FORMAT, "%s/%s: the path %s", p->directory, path, problem);
    /* A key or a note that somebody left in the directory must not be published. */
    if (!listed && !package_is_unlisted(path))
        return error_set(err, ERR_FORMAT,
                         "%s/%s is not in the manifest and would not be verifiable; move it away",
                         p->directory, path);
    if (listed && listed->size != size)
        return error_set(err, ERR_CHECK, "%s/%s has %llu bytes, the manifest says %llu", p->directory, path,
                         (unsigned long long)size, (unsigned long long)listed->size);
    if (r->n_files == MOST_FILES)
        return error_set(err, ERR_LIMIT, "%s holds more than %d files", p->directory, MOST_FILES);
    r->files[r->n_files++] = (PublishFile){.path = path, .size = size};
    return 0;
}

static int walk(Publish *p, const char *below, unsigned depth, Error *err) {
    char *path = arena_printf(p->arena, "%s%s%s", p->directory, *below ? "/" : "", below);
    if (!path) return error_memory(err, p->directory);
    DIR *dir = depth < DEPTH_LIMIT ? opendir(path) : NULL;
    if (!dir) return error_sys(err, ERR_IO, depth < DEPTH_LIMIT ? errno : ELOOP, "can't list %s", path);
    int code = 0;
    for (struct dirent *e; !code && (e = readdir(dir));) {
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char *name = arena_printf(p->arena, "%s%s%s", below, *below ? "/" : "", e->d_name);
        if (!name)
            code = error_memory(err, path);
        else if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            code = error_sys(err, ERR_IO, errno, "%s/%s", p->directory, name);
        else if (S_ISDIR(st.st_mode))
            code = walk(p, name, depth + 1, err);
        else if (!S_ISREG(st.st_mode))
            code = error_set(err, ERR_FORMAT, "%s/%s is a link or a special file; a package holds none",
                             p->directory, name);
        else
            code = add_file(p, name, (uint64_t)st.st_size, err);
    }
    closedir(dir);
    return code;
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

int publish_list(Publish *p, Error *err) {
    PublishResult *r = p->result;
    r->files = arena_alloc(p->arena, MOST_FILES, sizeof *r->files);
    if (!r->files) return error_memory(err, p->directory);
    TRY(walk(p, "", 0, err));
    qsort(r->files, r->n_files, sizeof *r->files, by_path);
    TRY(check_complete(p, err));
    p->inputs = arena_alloc(p->arena, r->n_files, sizeof *p->inputs);
    if (!p->inputs) return error_memory(err, p->directory);
    for (size_t i = 0; i < r->n_files; i++) {
        char *path = arena_printf(p->arena, "%s/%s", p->directory, r->files[i].path);
        if (!path) return error_memory(err, p->directory);
        TRY(input_open(&p->inputs[i], path, NULL, err));
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
