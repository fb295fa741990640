/* zip_read.c -- NAME.zip from anywhere: regular files, stored, none lying over another. */
#include "packager/archive_private.h"
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

static int zip_failed(Error *err, zip_t *za, const char *what) {
    return error_set(err, ERR_FORMAT, "%s: %s", what, zip_strerror(za));
}

static int check_kind(zip_t *za, zip_uint64_t i, const zip_stat_t *s, Error *err) {
    zip_uint8_t system;
    zip_uint32_t attributes;
    size_t n = strlen(s->name);
    if (zip_file_get_external_attributes(za, i, 0, &system, &attributes)) return zip_failed(err, za, s->name);
    mode_t mode = system == ZIP_OPSYS_UNIX ? (mode_t)(attributes >> 16) : 0;
    const char *kind = (mode & S_IFMT) == S_IFLNK                                    ? "a symbolic link"
                       : (mode & S_IFMT) == S_IFDIR || s->name[n ? n - 1 : 0] == '/' ? "a directory"
                       : (mode & S_IFMT) && (mode & S_IFMT) != S_IFREG               ? "no regular file"
                                                                                     : NULL;
    if (kind)
        return error_set(err, ERR_FORMAT, "%s is %s; a package holds regular files and nothing else", s->name,
                         kind);
    if (s->encryption_method != ZIP_EM_NONE) return error_set(err, ERR_FORMAT, "%s is encrypted", s->name);
    if (s->comp_method != ZIP_CM_STORE || s->size != s->comp_size)
        return error_set(err, ERR_FORMAT, "%s is compressed; the archive of a package stores its files",
                         s->name);
    return 0;
}

static int check_stat(zip_t *za, zip_uint64_t i, zip_stat_t *s, Error *err) {
    zip_stat_init(s);
    if (zip_stat_index(za, i, 0, s)) return zip_failed(err, za, "the archive");
    zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD |
                          ZIP_STAT_ENCRYPTION_METHOD;
    if ((s->valid & needed) != needed) return error_set(err, ERR_FORMAT, "an entry has no name or no size");
    return check_kind(za, i, s, err);
}

/* All entries before the first byte: stored ones that hold more than the archive lie over one another. */
static int check_all(zip_t *za, zip_int64_t n, uint64_t archive_bytes, Error *err) {
    uint64_t sum = 0;
    for (zip_int64_t i = 0; i < n; i++) {
        zip_stat_t s;
        TRY(check_stat(za, (zip_uint64_t)i, &s, err));
        if (!u64_add(&sum, sum, s.size) || sum > archive_bytes)
            return error_set(err, ERR_LIMIT,
                             "its entries say they hold more bytes than it has: they overlap");
    }
    return 0;
}

static int copy(Unpacking *u, zip_file_t *f, const char *name, uint8_t *piece, Error *err) {
    for (;;) {
        zip_int64_t n = zip_fread(f, piece, ARCHIVE_PIECE);
        if (n < 0) return error_set(err, ERR_FORMAT, "%s: %s", name, zip_file_strerror(f));
        if (!n) return 0;
        TRY(unpack_bytes(u, piece, (size_t)n, err));
    }
}

static int take_entry(Unpacking *u, zip_t *za, zip_uint64_t i, uint8_t *piece, Error *err) {
    zip_stat_t s;
    TRY(check_stat(za, i, &s, err));
    TRY(unpack_begin(u, s.name, s.size, err));
    zip_file_t *f = zip_fopen_index(za, i, 0);
    if (!f) return zip_failed(err, za, s.name);
    int code = copy(u, f, s.name, piece, err);
    zip_fclose(f);
    return code ? code : unpack_end(u, err);
}

static int take_entries(Unpacking *u, zip_t *za, uint64_t archive_bytes, Error *err) {
    zip_int64_t n = zip_get_num_entries(za, 0);
    TRY(check_all(za, n, archive_bytes, err));
    uint8_t *piece = mem_alloc(NULL, ARCHIVE_PIECE);
    int code = piece ? 0 : error_memory(err, "an archive");
    for (zip_int64_t i = 0; i < n && !code; i++) code = take_entry(u, za, (zip_uint64_t)i, piece, err);
    mem_free(NULL, piece);
    return code;
}

int zip_unpack(Unpacking *u, const char *path, Error *err) {
    struct stat st;
    int why = 0;
    zip_t *za = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, &why);
    if (!za || stat(path, &st)) {
        zip_error_t reason;
        zip_error_init_with_code(&reason, why);
        error_set(err, ERR_FORMAT, "is no zip archive that can be trusted: %s", zip_error_strerror(&reason));
        zip_error_fini(&reason);
        if (za) zip_discard(za);
        return ERR_FORMAT;
    }
    int code = take_entries(u, za, (uint64_t)st.st_size, err);
    zip_discard(za);
    return code;
}
