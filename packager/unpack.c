/* unpack.c -- what an archive from anywhere may put into a directory: what its manifest lists, of that size
 * and hash, once, and nothing else. */
#include "packager/archive_private.h"
#include "packager/manifest_private.h"
#include <dirent.h>
#include <string.h>
#include <sys/statvfs.h>

enum { RATIO_LIMIT = 50 };

struct Unpacking {
    const ArchiveOptions *options;
    ArchiveResult *result;
    OutputDir *directory;
    Arena *arena;
    Manifest *manifest; /* NULL before the first member has ended */
    Table *seen;
    uint64_t declared; /* bytes of all files, as far as it is known */

    /* the member at hand */
    const char *name;
    const char *sha256; /* expected; NULL: none */
    uint64_t size, at;
    Output *file;
    Sha256 *sha;
};

/* ---- what may come ---- */

static const ManifestFile *find_listed(const Manifest *m, const char *name) {
    for (size_t low = 0, high = m->n_files; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, m->files[middle].path);
        if (!order) return &m->files[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static int expect_listed(Unpacking *u, const char *name, uint64_t size, Error *err) {
    const ManifestFile *f = find_listed(u->manifest, name);
    if (!f) return error_set(err, ERR_FORMAT, "%s is not in the archive's manifest", name);
    if (f->size != size)
        return error_set(err, ERR_CHECK, "%s has %llu bytes, the manifest says %llu", name,
                         (unsigned long long)size, (unsigned long long)f->size);
    u->sha256 = f->sha256;
    return 0;
}

static int expect(Unpacking *u, const char *name, uint64_t size, Error *err) {
    const char *problem = package_path_problem(name);
    if (problem) return error_set(err, ERR_FORMAT, "the path \"%s\" %s; nothing was unpacked", name, problem);
    if (!u->manifest && strcmp(name, "manifest.json"))
        return error_set(err, ERR_FORMAT, "the archive begins with %s; a package's begins with manifest.json",
                         name);
    int put = table_put(u->seen, name, strlen(name), 0);
    if (put == -1) return error_set(err, ERR_FORMAT, "%s is in the archive twice", name);
    if (put) return error_memory(err, "an archive");
    u->sha256 = NULL;
    if (!package_is_unlisted(name)) return expect_listed(u, name, size, err);
    if (size <= SMALL_LIMIT) return 0;
    return error_set(err, ERR_LIMIT, "%s would be %llu bytes; 64 MiB are allowed", name,
                     (unsigned long long)size);
}

/* A few bytes can promise terabytes: what is promised is compared with the archive and with the disk
 * beforehand. */
static int check_declared(Unpacking *u, Error *err) {
    const Manifest *m = u->manifest;
    uint64_t limit = u->options->max_size, free_bytes = UINT64_MAX;
    struct statvfs disk;
    if (!limit && !u64_mul(&limit, u->result->archive_bytes, RATIO_LIMIT)) limit = UINT64_MAX;
    if (!u->options->max_size && !u64_add(&limit, limit, SMALL_LIMIT)) limit = UINT64_MAX;
    u->declared = 0;
    for (size_t i = 0; i < m->n_files; i++) /* 2048 files of 2^53 bytes would come round to none */
        if (!u64_add(&u->declared, u->declared, m->files[i].size)) u->declared = UINT64_MAX;
    if (u->declared > limit)
        return error_set(
            err, ERR_LIMIT,
            "the archive of %llu bytes would become %llu; more than %llu only with unpack --max-size",
            (unsigned long long)u->result->archive_bytes, (unsigned long long)u->declared,
            (unsigned long long)limit);
    return statvfs(output_dir_staging(u->directory), &disk) == 0 &&
                   u64_mul(&free_bytes, disk.f_bavail, disk.f_frsize) && u->declared > free_bytes &&
                   !u->options->max_size
               ? error_set(err, ERR_IO, "the archive would become %llu bytes, and %llu are free",
                           (unsigned long long)u->declared, (unsigned long long)free_bytes)
               : 0;
}

/* ---- one member ---- */

static int create(Unpacking *u, Error *err) {
    const char *path = arena_printf(u->arena, "%s/%s", output_dir_staging(u->directory), u->name);
    if (!path) return error_memory(err, "an archive");
    char *slash = strrchr(path, '/');
    *slash = 0;
    TRY(make_directories(path, err));
    *slash = '/';
    return output_create(&u->file, path, u->options->allocator, err);
}

int unpack_begin(Unpacking *u, const char *name, uint64_t size, Error *err) {
    u->name = arena_string(u->arena, name);
    if (!u->name) return error_memory(err, "an archive");
    TRY(expect(u, u->name, size, err));
    u->size = size;
    u->at = 0;
    return create(u, err);
}

int unpack_bytes(Unpacking *u, const void *bytes, size_t length, Error *err) {
    if (length > u->size - u->at)
        return error_set(err, ERR_FORMAT, "%s is longer than the archive says", u->name);
    TRY(output_write(u->file, u->at, bytes, length, err));
    sha256_update(u->sha, bytes, length);
    u->at += length;
    u->result->bytes += length;
    uint64_t total = u->declared > u->result->bytes ? u->declared : u->result->bytes;
    return progress_update(u->options->progress, "unpack", u->result->bytes, total, err);
}

int unpack_end(Unpacking *u, Error *err) {
    char hex[SHA256_HEX];
    sha256_finish(u->sha, hex);
    if (u->at != u->size) return error_set(err, ERR_FORMAT, "%s is shorter than the archive says", u->name);
    if (u->sha256 && strcmp(hex, u->sha256))
        return error_set(err, ERR_CHECK, "%s has SHA-256 %s, the manifest says %s", u->name, hex, u->sha256);
    Output *file = u->file;
    u->file = NULL;
    TRY(output_commit(file, err));
    u->result->n_files++;
    if (u->manifest) return 0;
    TRY(manifest_read(&u->manifest, output_dir_staging(u->directory), u->options->allocator, err));
    return check_declared(u, err);
}

/* ---- the whole ---- */

/* Everything that the manifest lists must have come, but for weights in an archive of the evidence. */
static int check_complete(Unpacking *u, bool evidence, Error *err) {
    const Manifest *m = u->manifest;
    if (!m) return error_set(err, ERR_FORMAT, "the archive is empty");
    for (size_t i = 0; i < m->n_files; i++) {
        const char *path = m->files[i].path;
        if (table_get(u->seen, path, strlen(path), NULL)) continue;
        if (!evidence || !package_is_weights(path))
            return error_set(err, ERR_CHECK, "%s is in the manifest and not in the archive", path);
        u->result->n_absent++;
    }
    return 0;
}

static int take(Unpacking *u, ArchiveKind kind, const char *path, Error *err) {
    int code =
        kind == ARCHIVE_ZIP ? zip_unpack(u, path, err) : tar_zst_unpack(u, path, u->options->threads, err);
    if (!code) code = check_complete(u, kind == ARCHIVE_ZIP, err);
    return code;
}

static int measure(uint64_t *size, const char *path, Error *err) {
    Input *in;
    TRY(input_open(&in, path, NULL, err));
    *size = input_size(in);
    input_close(in);
    return 0;
}

static bool is_empty(const char *directory) {
    DIR *entries = opendir(directory);
    if (!entries) return true; /* absent, or no directory: creating it will tell */
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(entries));)
        empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
    closedir(entries);
    return empty;
}

/* Is what would be swapped out a package? A slip of the hand must not take a home directory. */
static int check_replaced(const char *directory, const ArchiveOptions *o, Error *err) {
    Manifest *m;
    if (!o->replace || is_empty(directory)) return 0;
    int code = manifest_read(&m, directory, o->allocator, err);
    if (code)
        return error_wrap(err, code, "%s is not a package of Recast, so --replace leaves it alone",
                          directory);
    manifest_close(m);
    return 0;
}

/* The name of the hidden directory, in which everything was, is of no use to anybody. */
static void without_staging(const Unpacking *u, Error *err) {
    const char *staging = output_dir_staging(u->directory);
    size_t n = strlen(staging);
    for (char *at; err && (at = strstr(err->message, staging));) {
        size_t cut = n + (at[n] == '/');
        memmove(at, at + cut, strlen(at + cut) + 1);
    }
}

static int unpack(Unpacking *u, ArchiveKind kind, const char *path, const char *directory, Error *err) {
    const ArchiveOptions *o = u->options;
    TRY(table_open(&u->seen, u->arena, 64, err));
    TRY(sha256_open(&u->sha, err));
    TRY(check_replaced(directory, o, err));
    TRY(output_dir_create(&u->directory, directory, o->replace, o->allocator, err));
    int code = take(u, kind, path, err);
    if (code) {
        without_staging(u, err);
        return error_wrap(err, code, "%s", path);
    }
    OutputDir *done = u->directory;
    u->directory = NULL;
    return output_dir_commit(done, err);
}

int archive_unpack(ArchiveResult *out, const char *path, const char *directory, const ArchiveOptions *options,
                   Error *err) {
    ArchiveKind kind = archive_kind(path);
    Unpacking u = {.options = options, .result = out};
    *out = (ArchiveResult){0};
    if (kind == ARCHIVE_NONE)
        return error_set(err, ERR_USAGE, "%s: an archive of a package is called NAME.zip or NAME.tar.zst",
                         path);
    TRY(measure(&out->archive_bytes, path, err));
    TRY(arena_open(&u.arena, options->allocator, err));
    int code = unpack(&u, kind, path, directory, err);
    output_discard(u.file);
    output_dir_discard(u.directory);
    sha256_close(u.sha);
    manifest_close(u.manifest);
    arena_close(u.arena);
    return code;
}
