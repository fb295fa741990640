/* walk.c -- what really lies in a package directory. Links are noted and never followed, so nothing outside
 * of it is ever opened; a package may be anybody's. */
#include "validate/validation.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEEPEST = 16, MOST_FILES = 100000 };

typedef struct Walker {
    Walk *walk;
    Arena *arena;
    const char *directory;
} Walker;

static int add_file(Walker *w, const char *path, const struct stat *st, Error *err) {
    Walk *k = w->walk;
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
    if (*prefix || (strcmp(name, ".git") && strcmp(name, ".cache"))) return false;
    w->walk->set_aside = true;
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

int walk_package(Walk *out, const char *directory, Arena *arena, Error *err) {
    *out = (Walk){0};
    Walker w = {.walk = out, .arena = arena, .directory = directory};
    int fd =
        open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the one that the user named may be a link */
    if (fd < 0) return error_sys(err, ERR_IO, errno, "cannot read %s", directory);
    TRY(walk(&w, fd, "", 0, err));
    if (out->n_files) qsort(out->files, out->n_files, sizeof *out->files, by_path);
    return 0;
}

FoundFile *walk_find(const Walk *w, const char *path) {
    FoundFile key = {.path = path};
    return w->n_files ? bsearch(&key, w->files, w->n_files, sizeof *w->files, by_path) : NULL;
}

bool walk_is_plain(const Walk *w, const char *path) {
    size_t length = strlen(path), below = 0;
    const FoundFile *f = walk_find(w, path);
    if (f) return f->kind == FOUND_FILE;
    for (size_t i = 0; i < w->n_files; i++) {
        if (strncmp(w->files[i].path, path, length) || w->files[i].path[length] != '/') continue;
        if (w->files[i].kind != FOUND_FILE) return false;
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
