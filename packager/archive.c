/* archive.c -- which files of a package go into an archive, and reading them with their hashes. See
 * archive.h. */
#include "packager/archive_private.h"
#include "packager/manifest_private.h"
#include "packager/planes.h"
#include "packager/tree.h"
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n > m && !strcmp(text + n - m, end);
}

ArchiveKind archive_kind(const char *path) {
    return ends_with(path, ".zip")       ? ARCHIVE_ZIP
           : ends_with(path, ".tar.zst") ? ARCHIVE_TAR_ZST
                                         : ARCHIVE_NONE;
}

/* ---- reading members ---- */

int member_open(MemberReader *r, Packing *p, const Member *m, Error *err) {
    *r = (MemberReader){.packing = p, .member = m};
    TRY(package_open_file(&r->in, p->directory, m->path, err));
    int code = sha256_open(&r->sha, err);
    if (!code && input_size(r->in) != m->size)
        code = error_set(err, ERR_CHECK, "%s has %llu bytes, expected %llu", m->path,
                         (unsigned long long)input_size(r->in), (unsigned long long)m->size);
    if (code) member_close(r);
    return code;
}

static int check_end(MemberReader *r, Error *err) {
    char hex[SHA256_HEX];
    const Member *m = r->member;
    sha256_finish(r->sha, hex);
    if (!m->sha256 || !strcmp(hex, m->sha256)) return 0;
    return error_set(err, ERR_CHECK, "%s has SHA-256 %s, the manifest says %s", m->path, hex, m->sha256);
}

int member_read(MemberReader *r, void *buffer, size_t size, size_t *length, Error *err) {
    Packing *p = r->packing;
    uint64_t left = r->member->size - r->at;
    *length = left < size ? (size_t)left : size;
    if (!*length) return check_end(r, err);
    TRY(input_read(r->in, r->at, buffer, *length, err));
    sha256_update(r->sha, buffer, *length);
    r->at += *length;
    p->done += *length;
    return progress_update(p->options->progress, "pack", p->done, p->total, err);
}

void member_close(MemberReader *r) {
    sha256_close(r->sha);
    input_close(r->in);
}

/* ---- choosing them ---- */

static int add_member(Packing *p, const FileTree *tree, const char *path, const char *sha256, Error *err) {
    const FoundFile *f = tree_find(tree, path);
    if (!f) return error_set(err, ERR_CHECK, "%s/%s is missing", p->directory, path);
    if (f->kind != FOUND_FILE)
        return error_set(err, ERR_FORMAT, "%s/%s is no regular file", p->directory, path);
    p->members[p->n_members++] = (Member){.path = f->path, .sha256 = sha256, .size = f->size};
    p->total += f->size;
    return 0;
}

static int add_listed(Packing *p, const FileTree *tree, const Manifest *m, bool weights, Error *err) {
    for (size_t i = 0; i < m->n_files; i++)
        if (package_is_weights(m->files[i].path) == weights)
            TRY(add_member(p, tree, m->files[i].path, m->files[i].sha256, err));
    return 0;
}

static int by_path(const void *key, const void *file) {
    return strcmp(key, ((const ManifestFile *)file)->path);
}

static int check_nothing_else(const Packing *p, const FileTree *tree, const Manifest *m, Error *err) {
    for (size_t i = 0; i < tree->n_files; i++) {
        const char *path = tree->files[i].path;
        if (!package_is_unlisted(path) &&
            !(m->n_files && bsearch(path, m->files, m->n_files, sizeof *m->files, by_path)))
            return error_set(err, ERR_CHECK, "%s/%s is not in the manifest; nothing was packed", p->directory,
                             path);
    }
    return 0;
}

static int choose(Packing *p, ArchiveKind kind, const FileTree *tree, const Manifest *m, Error *err) {
    static const char *const first[] = {"manifest.json", "SHA256SUMS", "model.sig",
                                        "provenance.intoto.jsonl"};
    TRY(check_nothing_else(p, tree, m, err));
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        if (i == 0 || tree_find(tree, first[i])) TRY(add_member(p, tree, first[i], NULL, err));
    TRY(add_listed(p, tree, m, false, err));
    if (kind == ARCHIVE_ZIP) return 0;
    size_t weights = p->n_members;
    /* a file that is called like planes would be taken for them */
    for (size_t i = 0; i < weights; i++) p->members[i].planes = ends_with(p->members[i].path, PLANES_SUFFIX);
    TRY(add_listed(p, tree, m, true, err));
    for (size_t i = weights; i < p->n_members && !p->options->plain; i++)
        TRY(planes_pay(&p->members[i].planes, p->directory, p->members[i].path, p->members[i].size, err));
    return 0;
}

static int pack(ArchiveResult *out, Packing *p, ArchiveKind kind, const char *path, Arena *arena,
                Error *err) {
    FileTree tree;
    Manifest *m;
    TRY(manifest_read(&m, p->directory, p->options->allocator, err));
    int code = tree_list(&tree, p->directory, arena, err);
    if (!code) {
        p->members = arena_alloc(arena, m->n_files + 4, sizeof *p->members);
        code = p->members ? choose(p, kind, &tree, m, err) : error_memory(err, "an archive");
    }
    if (!code)
        code = kind == ARCHIVE_ZIP ? zip_write(p, path, &out->archive_bytes, err)
                                   : tar_zst_write(p, path, &out->archive_bytes, err);
    manifest_close(m);
    for (size_t i = 0; i < p->n_members; i++) out->n_planes += p->members[i].planes;
    out->n_files = p->n_members;
    out->bytes = p->total;
    return code;
}

int archive_write(ArchiveResult *out, const char *path, const char *directory, const ArchiveOptions *options,
                  Error *err) {
    Arena *arena;
    Packing p = {.directory = directory, .options = options};
    ArchiveKind kind = archive_kind(path);
    *out = (ArchiveResult){0};
    if (kind == ARCHIVE_NONE)
        return error_set(err, ERR_USAGE,
                         "%s: an archive is called NAME.zip (the evidence) or NAME.tar.zst (all)", path);
    TRY(arena_open(&arena, options->allocator, err));
    int code = pack(out, &p, kind, path, arena, err);
    arena_close(arena);
    return code;
}
