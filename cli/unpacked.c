/* unpacked.c -- see unpacked.h. */
#include "cli/unpacked.h"
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

int unpacked_open(Unpacked *out, const char **path, const ArchiveOptions *options, Error *err) {
    const char *base = getenv("TMPDIR");
    ArchiveResult result;
    *out = (Unpacked){0};
    if (archive_kind(*path) == ARCHIVE_NONE || !is_file(*path)) return 0;
    if (!base || !*base) base = "/tmp";
    int n = snprintf(out->root, sizeof out->root, "%s/recast-XXXXXX", base);
    if (n < 0 || (size_t)n >= sizeof out->root - 16 || !mkdtemp(out->root)) {
        out->root[0] = 0;
        return error_sys(err, ERR_IO, errno, "can't make a directory below %s to unpack in", base);
    }
    memcpy(out->directory, out->root, (size_t)n);
    memcpy(out->directory + n, "/package", sizeof "/package");
    TRY(archive_unpack(&result, *path, out->directory, options, err));
    out->evidence = result.n_absent > 0;
    *path = out->directory;
    return 0;
}

static int remove_one(const char *path, const struct stat *s, int flag, struct FTW *ftw) {
    (void)s, (void)flag, (void)ftw;
    return remove(path);
}

void unpacked_close(Unpacked *u) {
    if (u->root[0]) nftw(u->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
