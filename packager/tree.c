/* tree.c -- see tree.h. */
#include "packager/tree.h"
#include "core/threads.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEEPEST = 16, MOST_FILES = 100000 };

typedef struct Walker {
    FileTree *tree;
    Arena *arena;
    const char *directory;
} Walker;

static int add_file(Walker *w, const char *path, const struct stat *st, Error *err) {
    FileTree *k = w->tree;
    if (k->n_files == MOST_FILES)
        return error_set(err, ERR_LIMIT, "%s holds more than %d files", w->directory, MOST_FILES);
    if (k->n_files == k->capacity) {
        size_t capacity = k->capacity ? 2 * k->capacity : 64;
        FoundFile *files = arena_alloc(w->arena, capacity, sizeof *files);
        if (!files) return error_memory(err, "the files of a package");
        if (k->n_files) memcpy(files, k->files, k->n_files * sizeof *files);
        k->files = files;
        k->capacity = capacity;
    }
    FoundFile *f = &k->files[k->n_files++];
    *f = (FoundFile){.path = path, .size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0};
    f->kind = S_ISREG(st->st_mode) ? FOUND_FILE : S_ISLNK(st->st_mode) ? FOUND_LINK : FOUND_OTHER;
    return 0;
}

static int walk(Walker *w, int fd, const char *prefix, int depth, Error *err);

/* A clone has .git, and `hf download` writes .cache: not the package's, and not looked into. */
static bool is_set_aside(Walker *w, const char *prefix, const char *name) {
    bool git = !strcmp(name, ".git"), cache = !strcmp(name, ".cache");
    if (*prefix || (!git && !cache)) return false;
    w->tree->git_aside |= git;
    w->tree->cache_aside |= cache;
    return true;
}

static int walk_below(Walker *w, int fd, const char *name, const char *path, int depth, Error *err) {
    if (depth == DEEPEST)
        return error_set(err, ERR_LIMIT, "%s: directories deeper than %d", w->directory, DEEPEST);
    int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below < 0) return error_sys(err, ERR_IO, errno, "cannot read %s/%s", w->directory, path);
    char *prefix = arena_printf(w->arena, "%s/", path);
    if (prefix) return walk(w, below, prefix, depth + 1, err);
    close(below);
    return error_memory(err, "the files of a package");
}

static int visit(Walker *w, int fd, const char *prefix, const char *name, int depth, Error *err) {
    struct stat st;
    const char *path = arena_printf(w->arena, "%s%s", prefix, name);
    if (!path) return error_memory(err, "the files of a package");
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
        return error_sys(err, ERR_IO, errno, "cannot look at %s/%s", w->directory, path);
    if (!S_ISDIR(st.st_mode)) return add_file(w, path, &st, err);
    return is_set_aside(w, prefix, name) ? 0 : walk_below(w, fd, name, path, depth, err);
}

/* Takes fd over. */
static int walk(Walker *w, int fd, const char *prefix, int depth, Error *err) {
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int sys = errno;
        close(fd);
        return error_sys(err, ERR_IO, sys, "cannot read %s/%s", w->directory, prefix);
    }
    int code = 0;
    while (!code) {
        errno = 0;
        struct dirent *e = readdir(dir);
        if (!e && errno) code = error_sys(err, ERR_IO, errno, "cannot read %s/%s", w->directory, prefix);
        if (!e) break;
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            code = visit(w, fd, prefix, e->d_name, depth, err);
    }
    closedir(dir);
    return code;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const FoundFile *)a)->path, ((const FoundFile *)b)->path);
}

int tree_list(FileTree *out, const char *directory, Arena *arena, Error *err) {
    *out = (FileTree){0};
    Walker w = {.tree = out, .arena = arena, .directory = directory};
    int fd =
        open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the one that the user named may be a link */
    if (fd < 0) return error_sys(err, ERR_IO, errno, "cannot read %s", directory);
    TRY(walk(&w, fd, "", 0, err));
    if (out->n_files) qsort(out->files, out->n_files, sizeof *out->files, by_path);
    return 0;
}

FoundFile *tree_find(const FileTree *t, const char *path) {
    FoundFile key = {.path = path};
    return t->n_files ? bsearch(&key, t->files, t->n_files, sizeof *t->files, by_path) : NULL;
}

bool tree_is_plain(const FileTree *t, const char *path) {
    size_t length = strlen(path), below = 0;
    const FoundFile *f = tree_find(t, path);
    if (f) return f->kind == FOUND_FILE;
    for (size_t i = 0; i < t->n_files; i++) {
        if (strncmp(t->files[i].path, path, length) || t->files[i].path[length] != '/') continue;
        if (t->files[i].kind != FOUND_FILE) return false;
        below++;
    }
    return below > 0;
}

/* Opens PATH below fd, one component at a time. -1 and errno. */
static int open_below(int fd, const char *path) {
    char name[NAME_MAX + 1];
    const char *slash;
    for (; (slash = strchr(path, '/')); path = slash + 1) {
        size_t n = (size_t)(slash - path);
        if (n > NAME_MAX) {
            close(fd);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, path, n);
        name[n] = 0;
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int sys = errno;
        close(fd);
        errno = sys;
        if (next < 0) return -1;
        fd = next;
    }
    int file = openat(fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int sys = errno;
    close(fd);
    errno = sys;
    return file;
}

int package_open_file(Input **out, const char *directory, const char *path, Error *err) {
    *out = NULL;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int file = fd < 0 ? -1 : open_below(fd, path);
    if (file < 0) return error_sys(err, ERR_IO, errno, "cannot open %s of the package", path);
    int code = input_open_fd(out, file, path, NULL, err);
    close(file);
    return code;
}

/* ---- hashes ---- */

typedef struct Hashing {
    const char *directory;
    FoundFile **files;
    const Progress *progress;
    pthread_mutex_t lock; /* guards done and the call of progress */
    uint64_t done, total; /* bytes */
} Hashing;

typedef struct HashTick {
    Hashing *hashing;
    uint64_t seen;
    Error error;
} HashTick;

static int tick(void *context, uint64_t bytes) {
    HashTick *t = context;
    Hashing *h = t->hashing;
    pthread_mutex_lock(&h->lock);
    h->done += bytes - t->seen;
    t->seen = bytes;
    int code = progress_update(h->progress, "hash files", h->done, h->total, &t->error);
    pthread_mutex_unlock(&h->lock);
    return code;
}

static int hash_one(void *context, size_t index, unsigned thread, Error *err) {
    (void)thread;
    Hashing *h = context;
    FoundFile *f = h->files[index];
    HashTick t = {.hashing = h};
    Input *in;
    TRY(package_open_file(&in, h->directory, f->path, err));
    f->size = input_size(in);
    int code = sha256_input(f->sha256, in, tick, &t, err);
    if (t.error.code && err) *err = t.error;
    input_close(in);
    return code;
}

int tree_hash(const FileTree *t, const char *directory,
              bool (*wanted)(const void *context, const FoundFile *file), const void *context,
              HashOptions options, Arena *arena, Error *err) {
    Hashing h = {.directory = directory, .progress = options.progress};
    size_t n = 0;
    h.files = arena_alloc(arena, t->n_files, sizeof *h.files);
    if (!h.files) return error_memory(err, "the files of a package");
    for (size_t i = 0; i < t->n_files; i++) {
        FoundFile *f = &t->files[i];
        if (f->kind != FOUND_FILE || f->sha256[0] || (wanted && !wanted(context, f))) continue;
        h.files[n++] = f;
        h.total += f->size;
    }
    pthread_mutex_init(&h.lock, NULL);
    int code = threads_run(options.threads, n, (ThreadWork){hash_one, &h}, err);
    pthread_mutex_destroy(&h.lock);
    return code;
}
