/* support.h -- what many tests need: an allocator that fails at the n-th request, a directory of one's own,
 * small files. */
#ifndef RECAST_TESTS_SUPPORT_H
#define RECAST_TESTS_SUPPORT_H

#include "core/memory.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A call that takes an Error by the name `err` and must succeed. */
#define OK(call)                                       \
    do {                                               \
        Error ok_err = {0};                            \
        Error *err = &ok_err;                          \
        cr_assert_eq((call), 0, "%s", ok_err.message); \
    } while (0)

/* Serves `left` requests and fails every later one; counts what is alive. */
typedef struct FailingAllocator {
    size_t left;
    size_t live;
    bool failed;
    Allocator allocator; /* pass &f.allocator */
} FailingAllocator;

static inline void *failing_resize(void *context, void *pointer, size_t size) {
    FailingAllocator *f = context;
    if (size == 0) {
        f->live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (f->left == 0) {
        f->failed = true;
        return NULL;
    }
    f->left--;
    void *result = realloc(pointer, size);
    if (result && !pointer) memset(result, 0xA5, size); /* new memory is seldom zero in a long run */
    f->live += result && !pointer;
    return result;
}

static inline void failing_init(FailingAllocator *f, size_t left) {
    *f = (FailingAllocator){.left = left, .allocator = {failing_resize, f}};
}

/* ---- files ---- */

typedef struct TempDir {
    char path[PATH_MAX / 2];
    char joined[4][PATH_MAX]; /* temp_path's answers, used in turn */
    int turn;
} TempDir;

static inline void temp_dir_open(TempDir *t) {
    const char *base = getenv("TMPDIR");
    t->turn = 0;
    snprintf(t->path, sizeof t->path, "%s/recast-test-XXXXXX", base && *base ? base : "/tmp");
    cr_assert_not_null(mkdtemp(t->path), "cannot create %s", t->path);
}

static inline int remove_one(const char *path, const struct stat *s, int flag, struct FTW *ftw) {
    (void)s, (void)flag, (void)ftw;
    return remove(path);
}

static inline void temp_dir_close(TempDir *t) {
    nftw(t->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of a name in the directory; good until the fourth call from now. */
static inline const char *temp_path(TempDir *t, const char *name) {
    char *out = t->joined[t->turn++ % 4];
    size_t length = strlen(t->path);
    memcpy(out, t->path, length);
    snprintf(out + length, PATH_MAX - length, "/%s", name);
    return out;
}

static inline void file_put(const char *path, const char *text) {
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f, "cannot create %s", path);
    cr_assert_eq(fwrite(text, 1, strlen(text), f), strlen(text));
    cr_assert_eq(fclose(f), 0);
}

/* Does the file hold exactly this text? */
static inline bool file_is(const char *path, const char *text) {
    size_t length = strlen(text);
    char *buffer = malloc(length + 1);
    FILE *f = fopen(path, "rb");
    bool same = buffer && f && fread(buffer, 1, length + 1, f) == length && memcmp(buffer, text, length) == 0;
    if (f) fclose(f);
    free(buffer);
    return same;
}

static inline bool path_exists(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0;
}

/* Entries of a directory, hidden ones included. */
static inline size_t count_entries(const char *path) {
    DIR *dir = opendir(path);
    cr_assert_not_null(dir, "cannot open %s", path);
    size_t n = 0;
    while (readdir(dir)) n++;
    closedir(dir);
    return n - 2; /* . and .. */
}

#endif
