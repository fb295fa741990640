/* tar_zst.c -- NAME.tar.zst: members of tar through zstd, weights in planes. */
#include "packager/archive_private.h"
#include "packager/planes.h"
#include "packager/tar.h"
#include "packager/zstd_stream.h"
#include <string.h>

enum { PAX_LIMIT = 8192 };

/* ---- writing ---- */

typedef struct TarWriter {
    Packing *packing;
    ZstdWriter *zstd;
    Buffer header;
    uint8_t *piece, *block; /* ARCHIVE_PIECE; a block in planes */
} TarWriter;

static uint64_t stored_size(const Member *m) {
    return m->planes ? planes_size(m->size) : m->size;
}

static int put_header(Buffer *b, const Member *m, Error *err) {
    char name[1100];
    size_t n = strlen(m->path);
    buffer_clear(b);
    memcpy(name, m->path, n + 1); /* package_path_problem: at most 1000 bytes */
    if (m->planes) memcpy(name + n, PLANES_SUFFIX, sizeof PLANES_SUFFIX);
    tar_header(b, name, stored_size(m));
    return buffer_ok(b, "an archive", err);
}

static int total_size(uint64_t *out, TarWriter *w, Error *err) {
    const Packing *p = w->packing;
    *out = TAR_END;
    for (size_t i = 0; i < p->n_members; i++) {
        uint64_t size = stored_size(&p->members[i]);
        TRY(put_header(&w->header, &p->members[i], err));
        *out += w->header.length + size + tar_padding(size);
    }
    return 0;
}

static int put_zeros(TarWriter *w, uint64_t count, Error *err) {
    static const uint8_t zeros[TAR_END];
    return count ? zstd_write(w->zstd, zeros, (size_t)count, err) : 0;
}

static int put_pieces(TarWriter *w, MemberReader *r, Error *err) {
    for (;;) {
        size_t n;
        TRY(member_read(r, w->piece, ARCHIVE_PIECE, &n, err));
        if (!n) return 0;
        if (r->member->planes) {
            planes_split(w->block, w->piece, n);
            TRY(zstd_write(w->zstd, w->block, n + 1, err));
        } else
            TRY(zstd_write(w->zstd, w->piece, n, err));
    }
}

static int put_member(TarWriter *w, const Member *m, Error *err) {
    MemberReader r;
    TRY(put_header(&w->header, m, err));
    TRY(zstd_write(w->zstd, w->header.data, w->header.length, err));
    TRY(member_open(&r, w->packing, m, err));
    int code = put_pieces(w, &r, err);
    member_close(&r);
    return code ? code : put_zeros(w, tar_padding(stored_size(m)), err);
}

static int put_all(TarWriter *w, Output *file, uint64_t *archive_bytes, Error *err) {
    uint64_t total;
    const ArchiveOptions *o = w->packing->options;
    TRY(total_size(&total, w, err));
    TRY(zstd_writer_open(&w->zstd, file, total, o->threads, o->level, err));
    for (size_t i = 0; i < w->packing->n_members; i++) TRY(put_member(w, &w->packing->members[i], err));
    TRY(put_zeros(w, TAR_END, err));
    return zstd_writer_finish(w->zstd, archive_bytes, err);
}

_Static_assert((int)PLANES_BLOCK == (int)ARCHIVE_PIECE, "a piece that is read is a block of planes");

int tar_zst_write(Packing *p, const char *path, uint64_t *archive_bytes, Error *err) {
    Output *file;
    TRY(output_create(&file, path, p->options->allocator, err));
    TarWriter w = {
        .packing = p, .piece = mem_alloc(NULL, ARCHIVE_PIECE), .block = mem_alloc(NULL, ARCHIVE_PIECE + 1)};
    buffer_init(&w.header, NULL);
    int code = w.piece && w.block ? put_all(&w, file, archive_bytes, err) : error_memory(err, "an archive");
    zstd_writer_close(w.zstd);
    buffer_free(&w.header);
    mem_free(NULL, w.piece);
    mem_free(NULL, w.block);
    if (!code) return output_commit(file, err);
    output_discard(file);
    return code;
}

/* ---- reading ---- */

typedef struct TarReader {
    ZstdReader *zstd;
    Unpacking *to;
    Buffer name; /* of the pax header before a member */
    bool has_size;
    uint64_t size;
    uint8_t *piece, *block;
} TarReader;

static int skip_padding(TarReader *r, uint64_t size, Error *err) {
    uint8_t zeros[TAR_BLOCK];
    size_t n = (size_t)tar_padding(size);
    TRY(zstd_read(r->zstd, zeros, n, err));
    for (size_t i = 0; i < n; i++)
        if (zeros[i]) return error_set(err, ERR_FORMAT, "something lies between two members of the archive");
    return 0;
}

static int read_pax(TarReader *r, const TarHeader *h, Error *err) {
    char text[PAX_LIMIT];
    if (h->size > sizeof text) return error_set(err, ERR_LIMIT, "a pax header is larger than 8 KiB");
    if (r->name.length || r->has_size) return error_set(err, ERR_FORMAT, "two pax headers before one member");
    TRY(zstd_read(r->zstd, text, (size_t)h->size, err));
    TRY(tar_parse_pax(&r->name, &r->size, &r->has_size, text, (size_t)h->size, err));
    return skip_padding(r, h->size, err);
}

static int take_plain(TarReader *r, uint64_t size, Error *err) {
    while (size) {
        size_t n = size < ARCHIVE_PIECE ? (size_t)size : ARCHIVE_PIECE;
        TRY(zstd_read(r->zstd, r->piece, n, err));
        TRY(unpack_bytes(r->to, r->piece, n, err));
        size -= n;
    }
    return 0;
}

static int take_planes(TarReader *r, uint64_t size, Error *err) {
    while (size) {
        size_t n = size < PLANES_BLOCK ? (size_t)size : PLANES_BLOCK;
        TRY(zstd_read(r->zstd, r->block, n + 1, err));
        TRY(planes_join(r->piece, r->block, n, err));
        TRY(unpack_bytes(r->to, r->piece, n, err));
        size -= n;
    }
    return 0;
}

/* The size of the file whose planes take so many bytes: one byte of each full block says how. false if none
 * has. */
static bool size_of_planes(uint64_t stored, uint64_t *size) {
    uint64_t blocks = (stored + PLANES_BLOCK) / (PLANES_BLOCK + 1);
    *size = stored - (blocks < stored ? blocks : stored);
    return planes_size(*size) == stored;
}

static int take_member(TarReader *r, char *name, uint64_t stored, Error *err) {
    uint64_t size = stored;
    size_t n = strlen(name), suffix = sizeof PLANES_SUFFIX - 1;
    bool planes = n > suffix && !strcmp(name + n - suffix, PLANES_SUFFIX);
    if (planes && !size_of_planes(stored, &size))
        return error_set(err, ERR_FORMAT, "%s: no file has planes of %llu bytes", name,
                         (unsigned long long)stored);
    if (planes) name[n - suffix] = 0;
    TRY(unpack_begin(r->to, name, size, err));
    if (planes)
        TRY(take_planes(r, size, err));
    else
        TRY(take_plain(r, size, err));
    TRY(unpack_end(r->to, err));
    return skip_padding(r, stored, err);
}

static int take_header(TarReader *r, TarHeader *h, Error *err) {
    if (h->type == 'x') return read_pax(r, h, err);
    char *name = h->name;
    if (r->name.length) {
        if (memchr(r->name.data, 0, r->name.length))
            return error_set(err, ERR_FORMAT, "a name with a NUL in it");
        name = r->name.data;
    }
    int code = take_member(r, name, r->has_size ? r->size : h->size, err);
    buffer_clear(&r->name);
    r->has_size = false;
    return code;
}

static int take_all(TarReader *r, Error *err) {
    for (;;) {
        uint8_t block[TAR_BLOCK];
        TarHeader h;
        TRY(zstd_read(r->zstd, block, sizeof block, err));
        TRY(tar_parse(&h, block, err));
        if (h.type) {
            TRY(take_header(r, &h, err));
            continue;
        }
        TRY(zstd_read(r->zstd, block, sizeof block, err));
        TRY(tar_parse(&h, block, err));
        if (h.type) return error_set(err, ERR_FORMAT, "members behind the end of the archive");
        return zstd_read_end(r->zstd, err);
    }
}

int tar_zst_unpack(Unpacking *u, const char *path, unsigned threads, Error *err) {
    Input *in;
    TRY(input_open(&in, path, NULL, err));
    TarReader r = {
        .to = u, .piece = mem_alloc(NULL, ARCHIVE_PIECE), .block = mem_alloc(NULL, ARCHIVE_PIECE + 1)};
    buffer_init(&r.name, NULL);
    int code =
        r.piece && r.block ? zstd_reader_open(&r.zstd, in, threads, err) : error_memory(err, "an archive");
    if (!code) code = take_all(&r, err);
    zstd_reader_close(r.zstd);
    buffer_free(&r.name);
    mem_free(NULL, r.piece);
    mem_free(NULL, r.block);
    input_close(in);
    return code;
}
