/* copy_file.c -- copies a regular file by the cheapest way the file system offers: a hard link if asked for,
 * shared extents, a copy inside the kernel, and at last read and write. */
#include "core/output_private.h"
#include "core/process.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Pieces small enough that Ctrl-C is noticed within a second on a slow disk. */
enum { KERNEL_PIECE = 64 << 20, PIECE = 1 << 20 };

typedef struct Copy {
    const char *from, *to;
    int source, target; /* descriptors */
    uint64_t size;      /* of the source when it was opened */
    uint64_t done;      /* bytes */
    bool share_only;    /* no byte is copied here */
    bool refused;       /* the file system can't share them */
} Copy;

static int open_source(Copy *c, Error *err) {
    struct stat s;
    c->source = open(c->from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (c->source < 0 || fstat(c->source, &s) != 0)
        return error_sys(err, ERR_IO, errno, "cannot open %s", c->from);
    if (!S_ISREG(s.st_mode))
        return error_set(err, ERR_IO, "cannot copy %s: it is not a regular file", c->from);
    c->size = (uint64_t)s.st_size;
    return 0;
}

static int interrupted(const Copy *c, Error *err) {
    if (!process_interrupted()) return 0;
    return error_set(err, ERR_INTERRUPTED, "interrupted while copying %s", c->from);
}

/* Copies until the kernel says that it can't for this pair of files; read and write go on from there. It also
 * stops at 0 bytes, which some file systems give before the end. */
static int copy_in_kernel(Copy *c, Error *err) {
    while (c->done < c->size) {
        TRY(interrupted(c, err));
        uint64_t left = c->size - c->done;
        off_t in = (off_t)c->done, out = (off_t)c->done;
        ssize_t n = copy_file_range(c->source, &in, c->target, &out,
                                    left < KERNEL_PIECE ? (size_t)left : KERNEL_PIECE, 0);
        if (n < 0 && errno == EINTR) continue;
        /* Also EIO: read and write find out on which side it is. */
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
            return write_failed(c->target, c->to, c->done, errno, err);
        }
        if (n <= 0) return 0;
        c->done += (uint64_t)n;
    }
    return 0;
}

static int write_piece(Copy *c, const char *bytes, size_t length, Error *err) {
    while (length > 0) {
        ssize_t n = pwrite(c->target, bytes, length, (off_t)c->done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return write_failed(c->target, c->to, c->done, n < 0 ? errno : EIO, err);
        bytes += n;
        length -= (size_t)n;
        c->done += (uint64_t)n;
    }
    return 0;
}

static int copy_pieces(Copy *c, char *piece, Error *err) {
    while (c->done < c->size) {
        TRY(interrupted(c, err));
        uint64_t left = c->size - c->done;
        ssize_t n = pread(c->source, piece, left < PIECE ? (size_t)left : PIECE, (off_t)c->done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            return error_sys(err, ERR_IO, errno, "cannot read %s at byte %llu", c->from,
                             (unsigned long long)c->done);
        }
        if (n == 0) {
            return error_at(err, ERR_IO, c->done, "%s was cut while it was copied: it had %llu bytes",
                            c->from, (unsigned long long)c->size);
        }
        TRY(write_piece(c, piece, (size_t)n, err));
    }
    return 0;
}

static int copy_bytes(Copy *c, Error *err) {
    if (ioctl(c->target, FICLONE, c->source) == 0) return 0;
    c->refused = true;
    if (c->share_only) return 0;
    TRY(copy_in_kernel(c, err));
    if (c->done == c->size) return 0;
    char *piece = mem_alloc(NULL, PIECE);
    if (!piece) return error_memory(err, "copying a file");
    int code = copy_pieces(c, piece, err);
    mem_free(NULL, piece);
    return code;
}

/* Creates the target, or fails without a trace. */
static int copy_to_new(Copy *c, int directory, Error *err) {
    const char *name = last_component(c->to);
    c->target = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (c->target < 0) return error_sys(err, ERR_IO, errno, "cannot create %s", c->to);
    int code = copy_bytes(c, err);
    bool nothing = c->share_only && c->refused;
    int sys = code || nothing ? 0 : flush_file(c->target);
    if (close(c->target) != 0 && errno != EINTR && !sys) sys = errno;
    if (sys && !code) code = error_sys(err, ERR_IO, sys, "cannot write %s to disk", c->to);
    if (code || nothing) unlinkat(directory, name, 0);
    return code;
}

static int link_or_copy(Copy *c, int directory, bool link, Error *err) {
    /* The Hugging Face cache is made of links: AT_SYMLINK_FOLLOW gives the new name to the file, not to the
     * link. */
    if (link && linkat(AT_FDCWD, c->from, directory, last_component(c->to), AT_SYMLINK_FOLLOW) == 0) return 0;
    if (link && errno == EEXIST) return error_sys(err, ERR_IO, errno, "cannot create %s", c->to);
    return copy_to_new(c, directory, err); /* another file system, or one without hard links */
}

static int make(Copy *c, bool link, Error *err) {
    const char *to = c->to;
    int directory = -1;
    int code = check_name(to, err);
    if (!code) code = open_source(c, err);
    if (!code) code = open_parent(&directory, to, err);
    if (!code) code = link_or_copy(c, directory, link, err);
    if (!code) {
        int sys = flush_directory(directory);
        if (sys) {
            code = error_sys(err, ERR_IO, sys, "cannot write the directory of %s to disk", to);
            unlinkat(directory, last_component(to), 0);
        }
    }
    if (c->source >= 0) close(c->source);
    if (directory >= 0) close(directory);
    return code;
}

int copy_file(const char *from, const char *to, bool link, Error *err) {
    Copy c = {.from = from, .to = to, .source = -1, .target = -1};
    return make(&c, link, err);
}

int share_file(bool *done, const char *from, const char *to, bool link, Error *err) {
    Copy c = {.from = from, .to = to, .source = -1, .target = -1, .share_only = true};
    int code = make(&c, link, err);
    *done = !code && !c.refused;
    return code;
}
