/* zip_write.c -- NAME.zip of the evidence: stored, no times, the same bytes everywhere, through libzip.
 *
 * libzip reads members and writes the archive through callbacks: so members are hashed on their way, and the
 * archive appears only when it is complete. */
#include "packager/archive_private.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

/* 1980-01-01, noon: the first day that DOS knows, at an hour that no time zone has skipped. libzip turns it
 * into local time and back. */
enum { DOS_NOON = 12 << 11, DOS_DAY = 0x0021 };

typedef struct ZipMember {
    Packing *packing;
    const Member *member;
    MemberReader reader;
    Error *error;      /* of the writer: the first */
    zip_error_t shown; /* what libzip gets to see */
} ZipMember;

typedef struct ZipTarget {
    Output *file;
    uint64_t at, end;
    Error *error;
    zip_error_t shown;
} ZipTarget;

static zip_int64_t fail(zip_error_t *shown) {
    zip_error_set(shown, ZIP_ER_INTERNAL, EIO);
    return -1;
}

/* ---- members, read ---- */

static zip_int64_t member_stat(const Member *m, void *data, zip_uint64_t length) {
    zip_stat_t *s = data;
    if (length < sizeof *s) return -1;
    zip_stat_init(s);
    s->size = s->comp_size = m->size;
    s->comp_method = ZIP_CM_STORE;
    s->encryption_method = ZIP_EM_NONE;
    s->valid = ZIP_STAT_SIZE;
    return sizeof *s;
}

static zip_int64_t read_some(ZipMember *z, void *data, zip_uint64_t length) {
    size_t n;
    if (member_read(&z->reader, data, (size_t)length, &n, z->error)) return fail(&z->shown);
    return (zip_int64_t)n;
}

static zip_int64_t member_call(void *context, void *data, zip_uint64_t length, zip_source_cmd_t command) {
    ZipMember *z = context;
    switch (command) {
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, -1);
    case ZIP_SOURCE_OPEN:
        return member_open(&z->reader, z->packing, z->member, z->error) ? fail(&z->shown) : 0;
    case ZIP_SOURCE_READ: return read_some(z, data, length);
    case ZIP_SOURCE_CLOSE: member_close(&z->reader); return 0;
    case ZIP_SOURCE_STAT: return member_stat(z->member, data, length);
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&z->shown, data, length);
    case ZIP_SOURCE_FREE: return 0;
    default: zip_error_set(&z->shown, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
}

/* ---- the archive, written ---- */

static zip_int64_t target_write(ZipTarget *t, const void *data, zip_uint64_t length) {
    if (output_write(t->file, t->at, data, (size_t)length, t->error)) return fail(&t->shown);
    t->at += length;
    if (t->at > t->end) t->end = t->at;
    return (zip_int64_t)length;
}

static zip_int64_t target_seek(ZipTarget *t, void *data, zip_uint64_t length) {
    zip_int64_t at = zip_source_seek_compute_offset(t->at, t->end, data, length, &t->shown);
    if (at < 0) return -1;
    t->at = (uint64_t)at;
    return 0;
}

/* There is nothing yet: that is what libzip is told when it asks. */
static zip_int64_t target_absent(ZipTarget *t) {
    zip_error_set(&t->shown, ZIP_ER_READ, ENOENT);
    return -1;
}

static zip_int64_t target_call(void *context, void *data, zip_uint64_t length, zip_source_cmd_t command) {
    ZipTarget *t = context;
    switch (command) {
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
            ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_BEGIN_WRITE,
            ZIP_SOURCE_COMMIT_WRITE, ZIP_SOURCE_ROLLBACK_WRITE, ZIP_SOURCE_WRITE, ZIP_SOURCE_SEEK_WRITE,
            ZIP_SOURCE_TELL_WRITE, ZIP_SOURCE_REMOVE, -1);
    case ZIP_SOURCE_STAT: return target_absent(t);
    case ZIP_SOURCE_WRITE: return target_write(t, data, length);
    case ZIP_SOURCE_SEEK_WRITE: return target_seek(t, data, length);
    case ZIP_SOURCE_TELL_WRITE: return (zip_int64_t)t->at;
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&t->shown, data, length);
    case ZIP_SOURCE_BEGIN_WRITE:
    case ZIP_SOURCE_COMMIT_WRITE:
    case ZIP_SOURCE_ROLLBACK_WRITE:
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0;
    default: zip_error_set(&t->shown, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
}

/* ---- the whole ---- */

static int zip_failed(zip_t *za, Error *first, Error *err) {
    if (first->code) {
        if (err) *err = *first;
        return first->code;
    }
    return error_set(err, ERR_IO, "zip: %s", zip_strerror(za));
}

static int add(zip_t *za, ZipMember *z, Error *err) {
    zip_source_t *source = zip_source_function(za, member_call, z);
    zip_int64_t i = source ? zip_file_add(za, z->member->path, source, ZIP_FL_ENC_UTF_8) : -1;
    if (i < 0) zip_source_free(source);
    zip_uint64_t index = (zip_uint64_t)i;
    if (i < 0 || zip_set_file_compression(za, index, ZIP_CM_STORE, 0) ||
        zip_file_set_dostime(za, index, DOS_NOON, DOS_DAY, 0) ||
        zip_file_set_external_attributes(za, index, 0, ZIP_OPSYS_UNIX, (zip_uint32_t)0100644 << 16))
        return zip_failed(za, z->error, err);
    return 0;
}

static int write_members(Packing *p, zip_t *za, ZipMember *members, Error *first, Error *err) {
    for (size_t i = 0; i < p->n_members; i++) {
        members[i] = (ZipMember){.packing = p, .member = &p->members[i], .error = first};
        zip_error_init(&members[i].shown);
        TRY(add(za, &members[i], err));
    }
    return zip_close(za) ? zip_failed(za, first, err) : 0;
}

static int write_archive(Packing *p, ZipTarget *target, ZipMember *members, Error *err) {
    zip_error_t reason;
    zip_error_init(&reason);
    zip_source_t *source = zip_source_function_create(target_call, target, &reason);
    zip_t *za = source ? zip_open_from_source(source, ZIP_CREATE | ZIP_TRUNCATE, &reason) : NULL;
    if (!za) {
        zip_source_free(source);
        error_set(err, ERR_IO, "zip: %s", zip_error_strerror(&reason));
        zip_error_fini(&reason);
        return ERR_IO;
    }
    int code = write_members(p, za, members, target->error, err);
    if (code) zip_discard(za);
    zip_error_fini(&reason);
    return code;
}

int zip_write(Packing *p, const char *path, uint64_t *archive_bytes, Error *err) {
    Error first = {0};
    ZipTarget target = {.error = &first};
    TRY(output_create(&target.file, path, p->options->allocator, err));
    zip_error_init(&target.shown);
    ZipMember *members = mem_alloc(NULL, (p->n_members + 1) * sizeof *members);
    int code = members ? write_archive(p, &target, members, err) : error_memory(err, "an archive");
    mem_free(NULL, members);
    *archive_bytes = target.end;
    if (!code) return output_commit(target.file, err);
    output_discard(target.file);
    return code;
}
