/* preflight.c -- see preflight.h. */
#include "convert/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The process's limit, and the file system's: a seek beyond the largest file is refused without changing
 * anything (4 GiB on FAT). */
static int check_size(const PlannedFile *f, Error *err) {
    struct rlimit limit;
    bool known = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    if (known && f->size > limit.rlim_cur)
        return error_sys(err, ERR_IO, EFBIG,
                         "cannot create %s: %llu bytes are needed, but this process may write files of at "
                         "most %llu (see `ulimit -f`)",
                         output_path(f->output), (unsigned long long)f->size,
                         (unsigned long long)limit.rlim_cur);
    if (f->size <= INT64_MAX && lseek(output_fd(f->output), (off_t)f->size, SEEK_SET) >= 0) return 0;
    if (f->size <= INT64_MAX && errno != EINVAL && errno != EFBIG) return 0; /* says nothing about sizes */
    return error_sys(err, ERR_IO, EFBIG,
                     "cannot create %s: its file system can't hold a file of %llu bytes; use another, or "
                     "split the output",
                     output_path(f->output), (unsigned long long)f->size);
}

static bool same_file_system(const PlannedFile *a, const PlannedFile *b) {
    struct stat x, y;
    return fstat(output_fd(a->output), &x) == 0 && fstat(output_fd(b->output), &y) == 0 &&
           x.st_dev == y.st_dev;
}

/* A file system that can't reserve space may also compress, and then its free bytes would say little. */
static bool free_space(int fd, uint64_t *bytes) {
    struct statvfs v;
    return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1) == 0 && fstatvfs(fd, &v) == 0 &&
           u64_mul(bytes, v.f_bavail, v.f_frsize);
}

static int check_space(const PlannedFile *files, size_t n, size_t i, Error *err) {
    uint64_t needed = 0, left;
    for (size_t k = 0; k < n; k++)
        if (same_file_system(&files[i], &files[k]) && !u64_add(&needed, needed, files[k].size))
            needed = UINT64_MAX;
    if (!free_space(output_fd(files[i].output), &left) || needed <= left) return 0;
    return error_sys(err, ERR_IO, ENOSPC, "cannot create %s%s: %llu bytes are needed, %llu are free there",
                     output_path(files[i].output), n > 1 ? " and the other outputs" : "",
                     (unsigned long long)needed, (unsigned long long)left);
}

int preflight(const PlannedFile *files, size_t n, Error *err) {
    for (size_t i = 0; i < n; i++) TRY(check_space(files, n, i, err));
    for (size_t i = 0; i < n; i++) TRY(check_size(&files[i], err));
    return 0;
}
