/* input.c -- reading files by pread or through a mapping, and memory that plays a file. */
#include "core/input.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux moves at most 0x7ffff000 bytes a call (read(2)); asking for less keeps other systems happy too. */
enum { LARGEST_READ = 1 << 30 };

struct Input {
    const Allocator *allocator;
    int fd;               /* -1: memory */
    uint64_t size;        /* bytes */
    const uint8_t *bytes; /* the memory, or the mapping once there is one */
    struct stat seen;     /* at open */
    bool by_descriptor;   /* path is no path */
    const char *name;     /* in path */
    char path[];
};

static int new_input(Input **out, const char *path, const Allocator *allocator, Error *err) {
    size_t length = strlen(path);
    Input *in = mem_alloc(allocator, sizeof *in + length + 1);
    if (!in) return error_memory(err, path);
    *in = (Input){.allocator = allocator, .fd = -1};
    memcpy(in->path, path, length + 1);
    const char *slash = strrchr(in->path, '/');
    in->name = slash ? slash + 1 : in->path;
    *out = in;
    return 0;
}

/* What in->fd is open on: only a regular file will do. */
static int examine(Input *in, Error *err) {
    const char *path = in->path;
    if (fstat(in->fd, &in->seen) != 0) return error_sys(err, ERR_IO, errno, "cannot examine %s", path);
    if (S_ISDIR(in->seen.st_mode)) {
        return error_sys(err, ERR_IO, EISDIR, "cannot read %s, where a file is expected", path);
    }
    if (!S_ISREG(in->seen.st_mode)) {
        return error_set(err, ERR_IO,
                         "cannot read %s: it is a pipe or a device, and a regular file is expected", path);
    }
    in->size = (uint64_t)in->seen.st_size;
    return 0;
}

/* O_NONBLOCK: opening a FIFO that nobody writes would wait for ever. It changes nothing for regular files. */
static int open_file(Input *in, const char *path, Error *err) {
    do {
        in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    } while (in->fd < 0 && errno == EINTR);
    if (in->fd < 0) return error_sys(err, ERR_IO, errno, "cannot open %s", path);
    return examine(in, err);
}

int input_open(Input **out, const char *path, const Allocator *allocator, Error *err) {
    *out = NULL;
    Input *in;
    TRY(new_input(&in, path, allocator, err));
    int code = open_file(in, path, err);
    if (code) {
        input_close(in);
        return code;
    }
    *out = in;
    return 0;
}

int input_open_memory(Input **out, const char *name, const void *bytes, size_t length,
                      const Allocator *allocator, Error *err) {
    *out = NULL;
    TRY(new_input(out, name, allocator, err));
    (*out)->bytes = length ? bytes : (const uint8_t *)"";
    (*out)->size = length;
    return 0;
}

int input_open_fd(Input **out, int fd, const char *name, const Allocator *allocator, Error *err) {
    *out = NULL;
    Input *in;
    TRY(new_input(&in, name, allocator, err));
    in->by_descriptor = true;
    in->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    int code = in->fd < 0 ? error_sys(err, ERR_IO, errno, "cannot read %s back", name) : examine(in, err);
    if (code) {
        input_close(in);
        return code;
    }
    *out = in;
    return 0;
}

void input_close(Input *in) {
    if (!in) return;
    if (in->fd >= 0) {
        if (in->bytes && in->size) munmap((void *)in->bytes, (size_t)in->size);
        close(in->fd);
    }
    mem_free(in->allocator, in);
}

uint64_t input_size(const Input *in) {
    return in->size;
}
const char *input_path(const Input *in) {
    return in->path;
}
const char *input_name(const Input *in) {
    return in->name;
}
int input_fd(const Input *in) {
    return in->fd;
}

static int read_failed(const Input *in, uint64_t offset, int sys, Error *err) {
    int code =
        error_sys(err, ERR_IO, sys, "cannot read %s at byte %llu", in->path, (unsigned long long)offset);
    if (err) {
        err->has_offset = true;
        err->offset = offset;
    }
    return code;
}

int input_read(const Input *in, uint64_t offset, void *buffer, size_t length, Error *err) {
    if (offset > in->size || length > in->size - offset) {
        return error_at(err, ERR_FORMAT, offset,
                        "%s is truncated: %llu bytes are expected, the file ends at byte %llu", in->path,
                        (unsigned long long)length, (unsigned long long)in->size);
    }
    if (length == 0) return 0;
    if (in->fd < 0) {
        memcpy(buffer, in->bytes + offset, length);
        return 0;
    }
    unsigned char *to = buffer;
    while (length > 0) {
        size_t wanted = length < LARGEST_READ ? length : LARGEST_READ;
        ssize_t n = pread(in->fd, to, wanted, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return read_failed(in, offset, errno, err);
        if (n == 0) {
            return error_at(err, ERR_FORMAT, offset,
                            "%s is truncated: it had %llu bytes when it was opened and was cut since",
                            in->path, (unsigned long long)in->size);
        }
        to += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

void input_prefetch(const Input *in, uint64_t offset, uint64_t length) {
    if (in->fd >= 0 && offset < in->size)
        posix_fadvise(in->fd, (off_t)offset, (off_t)length, POSIX_FADV_WILLNEED);
}

int input_map(Input *in, const uint8_t **out, Error *err) {
    *out = NULL;
    if (!in->bytes) {
        if (in->size > SIZE_MAX) {
            return error_set(err, ERR_LIMIT, "%s is too large to be mapped on this machine: %llu bytes",
                             in->path, (unsigned long long)in->size);
        }
        if (in->size == 0) {
            in->bytes = (const uint8_t *)""; /* mmap refuses length 0 */
        } else {
            void *map = mmap(NULL, (size_t)in->size, PROT_READ, MAP_SHARED, in->fd, 0);
            if (map == MAP_FAILED) {
                return error_sys(err, ERR_IO, errno, "cannot map %s (%llu bytes)", in->path,
                                 (unsigned long long)in->size);
            }
            in->bytes = map;
        }
    }
    *out = in->bytes;
    return 0;
}

bool input_is(const Input *in, const char *path) {
    struct stat s;
    return in->fd >= 0 && stat(path, &s) == 0 && s.st_dev == in->seen.st_dev && s.st_ino == in->seen.st_ino;
}

void input_identity(const Input *in, Buffer *out) {
    buffer_u64(out, (uint64_t)in->seen.st_dev);
    buffer_u64(out, (uint64_t)in->seen.st_ino);
    buffer_u64(out, in->size);
    buffer_u64(out, (uint64_t)in->seen.st_mtim.tv_sec);
    buffer_u64(out, (uint64_t)in->seen.st_mtim.tv_nsec);
}

int input_unchanged(const Input *in, Error *err) {
    if (in->fd < 0) return 0;
    struct stat now;
    if (in->by_descriptor ? fstat(in->fd, &now) : stat(in->path, &now)) {
        return error_sys(err, ERR_CHECK, errno, "%s was removed or moved while it was in use", in->path);
    }
    const struct stat *seen = &in->seen;
    bool same = now.st_dev == seen->st_dev && now.st_ino == seen->st_ino && now.st_size == seen->st_size &&
                now.st_mtim.tv_sec == seen->st_mtim.tv_sec && now.st_mtim.tv_nsec == seen->st_mtim.tv_nsec;
    if (same) return 0;
    return error_set(err, ERR_CHECK, "%s was changed while it was in use; run again when nothing writes it",
                     in->path);
}

int input_read_file(char **text, size_t *length, const char *path, uint64_t limit, Arena *arena, Error *err) {
    *text = NULL;
    *length = 0;
    Input *in;
    TRY(input_open(&in, path, NULL, err));
    int code = 0;
    char *bytes = NULL;
    if (in->size > limit || in->size >= SIZE_MAX) {
        code = error_set(err, ERR_LIMIT, "%s has %llu bytes; at most %llu are accepted here", path,
                         (unsigned long long)in->size, (unsigned long long)limit);
    } else if (!(bytes = arena_alloc(arena, (size_t)in->size + 1, 1))) {
        code = error_memory(err, path);
    } else {
        code = input_read(in, 0, bytes, (size_t)in->size, err);
    }
    if (!code) {
        *text = bytes;
        *length = (size_t)in->size;
    }
    input_close(in);
    return code;
}
