/* output_dir.c -- directories that appear under their name only when complete; mkdir -p; removal of a tree.
 *
 * Where both names exist they are swapped in one step (renameat2 with RENAME_EXCHANGE), so at every moment
 * either the old or the new directory stands there whole. */
#include "core/output_private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct OutputDir {
    const Allocator *allocator;
    int parent;
    int lock; /* the staging directory, held while it is ours; -1: it needs none */
    bool replace;
    const char *name;   /* in path */
    char *staging_name; /* in staging */
    char *staging;
    char path[];
};

/* ---- removal ---- */

static int remove_entries(DIR *dir, bool *removed) {
    *removed = false;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) return errno;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        int sys = remove_tree(dirfd(dir), entry->d_name);
        if (sys) return sys;
        *removed = true;
    }
}

/* O_NOFOLLOW: a directory that becomes a link between two calls is an error, not a way out of the tree. */
static int remove_directory(int directory, const char *name) {
    int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int sys = errno;
        close(fd);
        return sys;
    }
    int sys = 0;
    for (bool removed = true;
         removed && !sys;) { /* again until empty: removing may hide entries from one pass */
        rewinddir(dir);
        sys = remove_entries(dir, &removed);
    }
    closedir(dir);
    if (sys) return sys;
    return unlinkat(directory, name, AT_REMOVEDIR) == 0 ? 0 : errno;
}

int remove_tree(int directory, const char *name) {
    if (unlinkat(directory, name, 0) == 0 || errno == ENOENT) return 0;
    return errno == EISDIR ? remove_directory(directory, name) : errno;
}

/* ---- OutputDir ---- */

/* 0 empty, 1 not empty, -1 with errno. */
static int has_entries(int directory, const char *name) {
    int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -1;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -1;
    }
    int found = 0;
    const struct dirent *entry;
    while (!found && (entry = readdir(dir))) {
        found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(dir);
    return found;
}

static int check_old(const OutputDir *d, Error *err) {
    struct stat s;
    if (fstatat(d->parent, d->name, &s, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? 0 : error_sys(err, ERR_IO, errno, "cannot create the directory %s", d->path);
    }
    if (S_ISLNK(s.st_mode)) {
        return error_set(err, ERR_IO,
                         "cannot create the directory %s: a symbolic link has that name; give the path "
                         "that it stands for",
                         d->path);
    }
    if (!S_ISDIR(s.st_mode))
        return error_sys(err, ERR_IO, ENOTDIR, "cannot create the directory %s", d->path);
    int entries = has_entries(d->parent, d->name);
    if (entries < 0) return error_sys(err, ERR_IO, errno, "cannot look into the directory %s", d->path);
    if (entries == 0 || d->replace) return 0;
    return error_sys(err, ERR_IO, ENOTEMPTY,
                     "cannot create the directory %s: it exists; choose another name or ask to "
                     "replace it",
                     d->path);
}

static int create_staging(OutputDir *d, Error *err) {
    char hidden[HIDDEN_NAME_SIZE];
    for (int i = 0; i < HIDDEN_TRIES; i++) {
        hidden_name(hidden, d->name);
        if (mkdirat(d->parent, hidden, 0777) == 0) {
            size_t parent_length = (size_t)(d->name - d->path);
            memcpy(d->staging, d->path, parent_length);
            memcpy(d->staging + parent_length, hidden, strlen(hidden) + 1);
            d->staging_name = d->staging + parent_length;
            return 0;
        }
        if (errno != EEXIST) break;
    }
    return error_sys(err, ERR_IO, errno, "cannot create the directory %s", d->path);
}

/* ---- staging that survives the process ---- */

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), e = strlen(end);
    return n > e && !strcmp(name + n - e, end);
}

static bool is_unfinished(const char *name) {
    return name[0] == '.' && (ends_with(name, ".partial") || ends_with(name, ".journal"));
}

static bool is_finished(const char *name) {
    return !is_unfinished(name);
}

static bool is_journal(const char *name) {
    return name[0] == '.' && ends_with(name, ".journal");
}

/* Calls for each entry that `which` picks: removes it (0 or errno), or, with count, counts it. */
static int each_entry(int directory, bool (*which)(const char *name), size_t *count) {
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int sys = dir ? 0 : errno;
    if (!dir && fd >= 0) close(fd);
    const struct dirent *entry;
    while (dir && !sys && (entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || !which(entry->d_name)) continue;
        if (count)
            ++*count;
        else
            sys = remove_tree(directory, entry->d_name);
    }
    if (dir) closedir(dir);
    return sys;
}

/* The name can be guessed, so whatever has it is trusted only if we could have made it. */
static int take_staging(OutputDir *d, Error *err) {
    struct stat s;
    d->lock = openat(d->parent, d->staging_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->lock < 0 || fstat(d->lock, &s) != 0 || s.st_uid != geteuid())
        return error_set(err, ERR_IO,
                         "%s stands where the unfinished %s would be, and is not ours: remove it",
                         d->staging_name, d->path);
    if (flock(d->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return error_set(err, ERR_IO, "%s is being made by another process", d->path);
    int sys = each_entry(d->lock, is_finished, NULL);
    return sys ? error_sys(err, ERR_IO, sys, "cannot tidy up %s", d->staging) : 0;
}

static int resume_staging(OutputDir *d, const char *key, Error *err) {
    char hidden[HIDDEN_NAME_SIZE];
    size_t parent_length = (size_t)(d->name - d->path);
    TRY(partial_name(hidden, d->name, key, err));
    memcpy(d->staging, d->path, parent_length);
    memcpy(d->staging + parent_length, hidden, strlen(hidden) + 1);
    d->staging_name = d->staging + parent_length;
    if (mkdirat(d->parent, hidden, 0777) != 0 && errno != EEXIST)
        return error_sys(err, ERR_IO, errno, "cannot create the directory %s", d->path);
    return take_staging(d, err);
}

/* ---- opening and closing ---- */

static void free_dir(OutputDir *d) {
    if (d->lock >= 0) close(d->lock);
    if (d->parent >= 0) close(d->parent);
    mem_free(d->allocator, d);
}

static int prepare(OutputDir *d, const char *key, Error *err) {
    TRY(check_name(d->path, err));
    TRY(open_parent(&d->parent, d->path, err));
    TRY(check_old(d, err));
    return key ? resume_staging(d, key, err) : create_staging(d, err);
}

static int open_dir(OutputDir **out, const char *path, bool replace, const char *key,
                    const Allocator *allocator, Error *err) {
    *out = NULL;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    OutputDir *d = mem_alloc(allocator, sizeof *d + 2 * (length + 1) + HIDDEN_NAME_SIZE);
    if (!d) return error_memory(err, path);
    *d = (OutputDir){.allocator = allocator, .parent = -1, .lock = -1, .replace = replace};
    memcpy(d->path, path, length);
    d->path[length] = '\0';
    d->name = last_component(d->path);
    d->staging = d->path + length + 1;
    int code = prepare(d, key, err);
    if (code) {
        free_dir(d);
        return code;
    }
    *out = d;
    return 0;
}

int output_dir_create(OutputDir **out, const char *path, bool replace, const Allocator *allocator,
                      Error *err) {
    return open_dir(out, path, replace, NULL, allocator, err);
}

int output_dir_resume(OutputDir **out, const char *path, bool replace, const char *key,
                      const Allocator *allocator, Error *err) {
    return open_dir(out, path, replace, key, allocator, err);
}

const char *output_dir_staging(const OutputDir *d) {
    return d->staging;
}
const char *output_dir_path(const OutputDir *d) {
    return d->path;
}

void output_dir_discard(OutputDir *d) {
    if (!d) return;
    remove_tree(d->parent, d->staging_name);
    free_dir(d);
}

void output_dir_keep(OutputDir *d) {
    size_t journals = 0;
    if (d && d->lock >= 0 && each_entry(d->lock, is_journal, &journals) == 0 && journals)
        free_dir(d);
    else
        output_dir_discard(d);
}

/* For file systems that can't exchange: the old directory steps aside, and comes back if the new one can't
 * step in. */
static int swap_in_two_steps(OutputDir *d) {
    char aside[HIDDEN_NAME_SIZE];
    hidden_name(aside, d->name);
    if (renameat(d->parent, d->name, d->parent, aside) != 0) return errno;
    if (renameat(d->parent, d->staging_name, d->parent, d->name) != 0) {
        int sys = errno;
        renameat(d->parent, aside, d->parent, d->name);
        return sys;
    }
    strcpy(d->staging_name, aside); /* as after an exchange; there is room for any hidden name */
    return 0;
}

/* Puts the staging directory under its name; *old: staging now names the directory that was replaced. 0 or
 * errno. */
static int put_in_place(OutputDir *d, bool *old) {
    *old = false;
    /* rename(2) itself replaces an empty directory, and refuses a full one or a file. */
    if (renameat(d->parent, d->staging_name, d->parent, d->name) == 0) return 0;
    if (!d->replace || (errno != ENOTEMPTY && errno != EEXIST)) return errno;
    *old = true;
    if (renameat2(d->parent, d->staging_name, d->parent, d->name, RENAME_EXCHANGE) == 0) return 0;
    return errno == EINVAL || errno == ENOSYS || errno == ENOTSUP ? swap_in_two_steps(d) : errno;
}

static int flush_staging(const OutputDir *d) {
    int fd = openat(d->parent, d->staging_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno;
    int sys = flush_directory(fd);
    close(fd);
    return sys;
}

int output_dir_commit(OutputDir *d, Error *err) {
    bool old = false;
    int sys = d->lock >= 0 ? each_entry(d->lock, is_unfinished, NULL) : 0;
    if (!sys) sys = flush_staging(d);
    if (!sys) sys = put_in_place(d, &old);
    if (sys) {
        int code = error_sys(err, ERR_IO, sys, "cannot put the directory %s in place", d->path);
        output_dir_discard(d);
        return code;
    }
    int code = 0;
    sys = flush_directory(d->parent);
    if (sys)
        code =
            error_sys(err, ERR_IO, sys, "%s is in place, but its parent can't be written to disk", d->path);
    if (old && (sys = remove_tree(d->parent, d->staging_name))) {
        code =
            error_sys(err, ERR_IO, sys, "%s is in place, but the old one can't be removed and is left as %s",
                      d->path, d->staging);
    }
    free_dir(d);
    return code;
}

/* ---- mkdir -p ---- */

static int make_one(const char *path, Error *err) {
    if (mkdir(path, 0777) == 0) {
        int parent; /* so that what is flushed inside can be found after a crash */
        if (open_parent(&parent, path, NULL) == 0) {
            flush_directory(parent);
            close(parent);
        }
        return 0;
    }
    int sys = errno;
    struct stat s;
    if (stat(path, &s) == 0) {
        if (S_ISDIR(s.st_mode)) return 0;
        sys = ENOTDIR;
    }
    return error_sys(err, ERR_IO, sys, "cannot create the directory %s", path);
}

int make_directories(const char *path, Error *err) {
    char prefix[PATH_MAX];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    if (length >= sizeof prefix)
        return error_sys(err, ERR_IO, ENAMETOOLONG, "cannot create the directory %s", path);
    memcpy(prefix, path, length);
    prefix[length] = '\0';
    for (size_t i = 1; i < length; i++) {
        if (prefix[i] != '/' || prefix[i - 1] == '/') continue;
        prefix[i] = '\0';
        TRY(make_one(prefix, err));
        prefix[i] = '/';
    }
    return make_one(prefix, err);
}
