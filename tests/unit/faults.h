/* faults.h -- system calls that fail when a test says so. Include it in one source file of a test program.
 *
 * A function defined in the program is used by the linker in place of the C library's. Each of these asks the
 * kernel directly unless a fault is set, so what happens around the fault is real. */
#ifndef RECAST_TESTS_FAULTS_H
#define RECAST_TESTS_FAULTS_H

#include <errno.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

typedef struct Fault {
    const char *call; /* NULL: none */
    int nth;          /* which call of that name fails, from 1; 0: every one */
    int sys;          /* errno; FAULT_DIES: the process ends there and then, as at kill -9 */
    int seen;         /* calls so far */
} Fault;

typedef struct Faults {
    Fault one, other;
    bool no_clone; /* FICLONE and FICLONERANGE are refused */
    bool clones;   /* FICLONERANGE works: by reading and writing, and for whole blocks of 4096 bytes only */
    bool pieces;   /* reads and writes move 3 bytes, and every second one is interrupted */
    int turn;      /* of those */
    bool same_random; /* the next getrandom gives zeros */
} Faults;

enum { FAULT_DIES = -1, FAULT_STATUS = 77 /* of a process that died so */ };

static Faults faults;

static inline void fault_set(const char *call, int nth, int sys) {
    faults.one = (Fault){call, nth, sys, 0};
}

static inline void faults_clear(void) {
    faults = (Faults){0};
}

static bool fault_hits(Fault *f, const char *call) {
    if (!f->call || strcmp(f->call, call) != 0) return false;
    f->seen++;
    if (f->nth && f->seen != f->nth) return false;
    if (f->sys == FAULT_DIES) _exit(FAULT_STATUS);
    errno = f->sys;
    return true;
}

static bool fails(const char *call) {
    return fault_hits(&faults.one, call) || fault_hits(&faults.other, call);
}

/* Cuts a length to a piece; false: be interrupted now. */
static bool piece(size_t *length) {
    if (!faults.pieces) return true;
    if (*length > 3) *length = 3;
    errno = EINTR;
    return faults.turn++ % 2 != 0;
}

ssize_t pread(int fd, void *buffer, size_t length, off_t offset) {
    if (fails("pread") || !piece(&length)) return -1;
    return syscall(SYS_pread64, fd, buffer, length, offset);
}

ssize_t pwrite(int fd, const void *buffer, size_t length, off_t offset) {
    if (fails("pwrite") || !piece(&length)) return -1;
    return syscall(SYS_pwrite64, fd, buffer, length, offset);
}

int fsync(int fd) {
    return fails("fsync") ? -1 : (int)syscall(SYS_fsync, fd);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    return fails("fallocate") ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    return fails("renameat2") ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    return fails("renameat") ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int unlinkat(int directory, const char *name, int flags) {
    return fails("unlinkat") ? -1 : (int)syscall(SYS_unlinkat, directory, name, flags);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    return fails("linkat") ? -1 : (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

ssize_t copy_file_range(int in, off_t *in_offset, int out, off_t *out_offset, size_t length, unsigned flags) {
    if (fails("copy_file_range") || !piece(&length)) return -1;
    return syscall(SYS_copy_file_range, in, in_offset, out, out_offset, length, flags);
}

/* What FICLONERANGE asks for, done on a file system that can't. */
static int clone_range(int fd, const struct file_clone_range *r) {
    char block[4096];
    errno = EINVAL;
    if (r->src_offset % 4096 || r->dest_offset % 4096 || r->src_length % 4096) return -1;
    for (unsigned long long at = 0; at < r->src_length; at += sizeof block) {
        long n = syscall(SYS_pread64, r->src_fd, block, sizeof block, r->src_offset + at);
        if (n != (long)sizeof block) return -1;
        if (syscall(SYS_pwrite64, fd, block, sizeof block, r->dest_offset + at) != n) return -1;
    }
    return 0;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list args;
    va_start(args, request);
    long argument = va_arg(args, long);
    va_end(args);
    if (faults.no_clone && (request == FICLONE || request == FICLONERANGE)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (fails("ioctl")) return -1;
    if (faults.clones && request == FICLONERANGE)
        return clone_range(fd, (const struct file_clone_range *)argument);
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    if (!faults.same_random) return syscall(SYS_getrandom, buffer, length, flags);
    faults.same_random = false;
    memset(buffer, 0, length);
    return (ssize_t)length;
}

#endif
