/* output.c -- files that appear under their name only when complete, and the small steps that the other
 * writers share.
 *
 * All names are resolved against a descriptor of the parent directory that is opened once. So temporary,
 * final name and fsync stay in one directory even if somebody renames a folder above it meanwhile. */
#include "core/output_private.h"
#include "core/utf8.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST_WRITE = 1 << 30 };

enum { KEPT_BEHIND = 512 << 20 }; /* bytes of a large file that stay in the page cache while it is written */

struct Output {
    const Allocator *allocator;
    int fd;
    bool large;       /* too large to be left in the page cache */
    int directory;    /* the parent */
    const char *name; /* in path */
    char temporary[HIDDEN_NAME_SIZE];
    char path[];
};

/* ---- shared steps ---- */

const char *last_component(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int check_name(const char *path, Error *err) {
    const char *name = last_component(path);
    if (strcmp(name, "") != 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) return 0;
    return error_set(err, ERR_IO, "cannot create \"%s\": it doesn't end in a name", path);
}

int open_parent(int *directory, const char *path, Error *err) {
    char parent[PATH_MAX];
    size_t length = (size_t)(last_component(path) - path);
    if (length >= sizeof parent) return error_sys(err, ERR_IO, ENAMETOOLONG, "cannot create %s", path);
    memcpy(parent, path, length);
    parent[length] = '\0';
    while (length > 1 && parent[length - 1] == '/') parent[--length] = '\0';
    if (length == 0) strcpy(parent, ".");
    *directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*directory >= 0) return 0;
    return error_sys(err, ERR_IO, errno, "cannot create %s in the directory %s", path, parent);
}

void hidden_name(char out[HIDDEN_NAME_SIZE], const char *name) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random) {
        /* Only kernels before 3.17 get here. The name must differ from others; O_EXCL does the rest. */
        struct timespec now = {0};
        clock_gettime(CLOCK_MONOTONIC, &now);
        random = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec ^ (uint64_t)getpid() << 16;
    }
    size_t room = HIDDEN_NAME_SIZE - sizeof "..0123456789abcdef.tmp";
    int length = (int)utf8_cut(name, strlen(name), room);
    snprintf(out, HIDDEN_NAME_SIZE, ".%.*s.%016llx.tmp", length, name, (unsigned long long)random);
}

int flush_file(int fd) {
    while (fsync(fd) != 0) {
        if (errno != EINTR) return errno;
    }
    return 0;
}

/* Some file systems (FUSE, some network ones) say EINVAL here: nothing we could do better. */
int flush_directory(int directory) {
    int sys = flush_file(directory);
    return sys == EINVAL || sys == ENOTSUP ? 0 : sys;
}

/* Free bytes for this user on the file system of fd. */
static bool free_bytes(int fd, uint64_t *bytes) {
    struct statvfs v;
    return fstatvfs(fd, &v) == 0 && u64_mul(bytes, v.f_bavail, v.f_frsize);
}

int write_failed(int fd, const char *path, uint64_t offset, int sys, Error *err) {
    unsigned long long at = offset;
    uint64_t left;
    int code;
    if (sys == ENOSPC && free_bytes(fd, &left)) {
        code = error_sys(err, ERR_IO, sys, "cannot write %s at byte %llu (%llu bytes are free there)", path,
                         at, (unsigned long long)left);
    } else if (sys == EFBIG) {
        code =
            error_sys(err, ERR_IO, sys,
                      "cannot write %s at byte %llu (see `ulimit -f`, or use another file system)", path, at);
    } else {
        code = error_sys(err, ERR_IO, sys, "cannot write %s at byte %llu", path, at);
    }
    if (err) {
        err->has_offset = true;
        err->offset = offset;
    }
    return code;
}

/* ---- Output ---- */

/* A rename would replace whatever has the name. That is meant for files; for /dev/null or a directory it is
 * not. A link that leads nowhere may be replaced. */
static int check_target(const Output *o, Error *err) {
    struct stat s;
    if (fstatat(o->directory, o->name, &s, 0) != 0) {
        return errno == ENOENT || errno == ELOOP ? 0
                                                 : error_sys(err, ERR_IO, errno, "cannot create %s", o->path);
    }
    if (S_ISDIR(s.st_mode)) return error_sys(err, ERR_IO, EISDIR, "cannot replace %s by a file", o->path);
    if (!S_ISREG(s.st_mode)) {
        return error_set(err, ERR_IO, "cannot replace %s: it is a pipe or a device; give the name of a file",
                         o->path);
    }
    return 0;
}

/* O_EXCL: whatever has the name already, a symbolic link included, is neither opened nor followed. */
static int create_temporary(Output *o, Error *err) {
    for (int i = 0; i < HIDDEN_TRIES; i++) {
        hidden_name(o->temporary, o->name);
        o->fd = openat(o->directory, o->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (o->fd >= 0) return 0;
        if (errno != EEXIST && errno != EINTR) break;
    }
    return error_sys(err, ERR_IO, errno, "cannot create %s", o->path);
}

static void free_output(Output *o) {
    if (o->fd >= 0) close(o->fd);
    if (o->directory >= 0) close(o->directory);
    mem_free(o->allocator, o);
}

static int prepare(Output **out, const char *path, const Allocator *allocator, Error *err) {
    size_t length = strlen(path);
    Output *o = mem_alloc(allocator, sizeof *o + length + 1);
    if (!o) return error_memory(err, path);
    *o = (Output){.allocator = allocator, .fd = -1, .directory = -1};
    memcpy(o->path, path, length + 1);
    o->name = last_component(o->path);
    *out = o;
    TRY(check_name(o->path, err));
    TRY(open_parent(&o->directory, o->path, err));
    return check_target(o, err);
}

int output_create(Output **out, const char *path, const Allocator *allocator, Error *err) {
    Output *o = NULL;
    int code = prepare(&o, path, allocator, err);
    if (!code) code = create_temporary(o, err);
    if (code && o) free_output(o);
    *out = code ? NULL : o;
    return code;
}

/* The name can be guessed, so whatever has it is trusted only if we could have made it. */
static int open_partial(Output *o, bool shared, uint64_t *size, Error *err) {
    struct stat s;
    int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    do {
        o->fd = openat(o->directory, o->temporary, flags, 0666);
    } while (o->fd < 0 && errno == EINTR);
    if (o->fd < 0 || fstat(o->fd, &s) != 0) return error_sys(err, ERR_IO, errno, "cannot create %s", o->path);
    if (!S_ISREG(s.st_mode) || s.st_uid != geteuid() || s.st_nlink != 1)
        return error_set(err, ERR_IO,
                         "%s stands where the unfinished %s would be, and is not ours: remove it",
                         o->temporary, o->path);
    if (flock(o->fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return error_set(err, ERR_IO, "%s is being written by another process", o->path);
    *size = (uint64_t)s.st_size;
    return 0;
}

int partial_name(char out[HIDDEN_NAME_SIZE], const char *name, const char *key, Error *err) {
    size_t digits = strspn(key, "0123456789abcdef"), used;
    if (digits < 1 || digits > 32 || key[digits])
        return error_set(err, ERR_IO, "\"%s\" is no key for a partial file", key);
    used = utf8_cut(name, strlen(name), HIDDEN_NAME_SIZE - sizeof "...partial" - digits);
    snprintf(out, HIDDEN_NAME_SIZE, ".%.*s.%s.partial", (int)used, name, key);
    return 0;
}

int output_resume(Output **out, const char *path, const char *key, bool shared, uint64_t *size,
                  const Allocator *allocator, Error *err) {
    Output *o = NULL;
    int code = prepare(&o, path, allocator, err);
    if (!code) code = partial_name(o->temporary, o->name, key, err);
    if (!code) code = open_partial(o, shared, size, err);
    if (code && o) free_output(o);
    *out = code ? NULL : o;
    return code;
}

int output_flush(Output *o, Error *err) {
    int result;
    do {
        result = fdatasync(o->fd);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : error_sys(err, ERR_IO, errno, "cannot write %s to disk", o->path);
}

void output_forget(const char *path, const char *key) {
    char name[HIDDEN_NAME_SIZE];
    int directory;
    if (partial_name(name, last_component(path), key, NULL) || open_parent(&directory, path, NULL)) return;
    unlinkat(directory, name, 0);
    close(directory);
}

void output_keep(Output *o) {
    if (o) free_output(o);
}

/* Asks for blocks beyond the end; the size stays. 0 or errno. fallocate and not posix_fallocate, which would
 * write zeros where the file system can't reserve. */
static int reserve_blocks(const Output *o, uint64_t size) {
    int result;
    do {
        result = fallocate(o->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result == 0 || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ? 0 : errno;
}

static int does_not_fit(const Output *o, uint64_t size, uint64_t left, int sys, Error *err) {
    return error_sys(err, ERR_IO, sys, "cannot create %s: %llu bytes are needed, %llu are free there",
                     o->path, (unsigned long long)size, (unsigned long long)left);
}

static uint64_t physical_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
}

/* A reservation that does not fit would take all that is left before it fails (ext4 does), and for that
 * moment nobody else could write; so the free space is looked at first. The first block tells whether this
 * file system can reserve at all: one that can't may also compress, and its free bytes would say little. */
int output_reserve(Output *o, uint64_t size, Error *err) {
    if (size == 0) return 0;
    o->large = size > physical_memory() / 8;
    if (size > INT64_MAX) {
        return error_set(err, ERR_LIMIT, "cannot create %s: %llu bytes are more than a file can hold",
                         o->path, (unsigned long long)size);
    }
    uint64_t left;
    bool known = free_bytes(o->fd, &left);
    if (known && size > left && fallocate(o->fd, FALLOC_FL_KEEP_SIZE, 0, 1) == 0) {
        return does_not_fit(o, size, left, ENOSPC, err);
    }
    int sys = reserve_blocks(o, size);
    if (sys == 0) return 0;
    if ((sys == ENOSPC || sys == EDQUOT) && known) return does_not_fit(o, size, left, sys, err);
    return error_sys(err, ERR_IO, sys, "cannot create %s with %llu bytes", o->path, (unsigned long long)size);
}

int output_write(Output *o, uint64_t offset, const void *bytes, size_t length, Error *err) {
    const unsigned char *from = bytes;
    uint64_t end;
    if (!u64_add(&end, offset, length) || end > INT64_MAX)
        return write_failed(o->fd, o->path, offset, EFBIG, err);
    while (length > 0) {
        size_t wanted = length < LARGEST_WRITE ? length : LARGEST_WRITE;
        ssize_t n = pwrite(o->fd, from, wanted, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return write_failed(o->fd, o->path, offset, n < 0 ? errno : EIO, err);
        from += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

/* A file that takes a good part of memory pushes out the sources that others still want, and the kernel
 * spends more on making room than on copying: 8.7 GB on a machine of 24 took 13.9 s with all of it cached
 * and 6.8 s with the last 512 MB (docs/performance.md). */
void output_start(const Output *o, uint64_t offset, uint64_t length) {
    sync_file_range(o->fd, (off_t)offset, (off_t)length, SYNC_FILE_RANGE_WRITE);
    if (!o->large || offset < KEPT_BEHIND) return;
    off_t old = (off_t)(offset - KEPT_BEHIND);
    sync_file_range(o->fd, old, (off_t)length, SYNC_FILE_RANGE_WAIT_BEFORE);
    posix_fadvise(o->fd, old, (off_t)length, POSIX_FADV_DONTNEED);
}

int output_fd(const Output *o) {
    return o->fd;
}
const char *output_path(const Output *o) {
    return o->path;
}

void output_discard(Output *o) {
    if (!o) return;
    unlinkat(o->directory, o->temporary, 0);
    free_output(o);
}

/* An error of fsync or close may be the only sign that the kernel failed to write what pwrite had accepted.
 */
static int flush_and_close(Output *o, Error *err) {
    int sys = flush_file(o->fd);
    int fd = o->fd;
    o->fd = -1;
    if (close(fd) != 0 && errno != EINTR && !sys) sys = errno;
    return sys ? error_sys(err, ERR_IO, sys, "cannot write %s to disk", o->path) : 0;
}

int output_commit(Output *o, Error *err) {
    int code = flush_and_close(o, err);
    if (!code && renameat(o->directory, o->temporary, o->directory, o->name) != 0) {
        code = error_sys(err, ERR_IO, errno, "cannot put %s in place", o->path);
    }
    if (code) {
        output_discard(o);
        return code;
    }
    int sys = flush_directory(o->directory);
    if (sys)
        code = error_sys(err, ERR_IO, sys, "%s is in place, but its directory can't be written to disk",
                         o->path);
    free_output(o);
    return code;
}

int output_file(const char *path, const void *bytes, size_t length, const Allocator *allocator, Error *err) {
    Output *o;
    TRY(output_create(&o, path, allocator, err));
    int code = output_write(o, 0, bytes, length, err);
    if (code) {
        output_discard(o);
        return code;
    }
    return output_commit(o, err);
}
