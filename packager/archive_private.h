/* archive_private.h -- what the files behind archive.h share. Not for other files. */
#ifndef RECAST_PACKAGER_ARCHIVE_PRIVATE_H
#define RECAST_PACKAGER_ARCHIVE_PRIVATE_H

#include "core/output.h"
#include "packager/archive.h"
#include "packager/manifest.h"

enum { ARCHIVE_PIECE = 1 << 20, SMALL_LIMIT = 64 << 20 /* of a file that the manifest can't list */ };

/* ---- what goes in (archive.c) ---- */

typedef struct Member {
    const char *path;   /* in the package */
    const char *sha256; /* that the manifest gives; NULL: it can't list it */
    uint64_t size;
    bool planes;
} Member;

typedef struct Packing {
    const char *directory;
    const ArchiveOptions *options;
    Member *members; /* manifest.json first, weights last */
    size_t n_members;
    uint64_t done, total; /* bytes of all members */
} Packing;

/* A member, read piece by piece and hashed. */
typedef struct MemberReader {
    Packing *packing;
    const Member *member;
    Input *in;
    Sha256 *sha;
    uint64_t at;
} MemberReader;
int member_open(MemberReader *r, Packing *p, const Member *m, Error *err) MUST_CHECK;
/* At most `size` bytes; *length 0 is the end, and the hash was right. */
int member_read(MemberReader *r, void *buffer, size_t size, size_t *length, Error *err) MUST_CHECK;
void member_close(MemberReader *r);

int zip_write(Packing *p, const char *path, uint64_t *archive_bytes, Error *err) MUST_CHECK;
int tar_zst_write(Packing *p, const char *path, uint64_t *archive_bytes, Error *err) MUST_CHECK;

/* ---- what comes out (unpack.c) ---- */

typedef struct Unpacking Unpacking;
/* The first member must be manifest.json: it decides about all others. ERR_FORMAT, ERR_LIMIT. planes: the
 * member holds planes of the file that is called without ".planes". */
int unpack_begin(Unpacking *u, const char *name, uint64_t size, Error *err) MUST_CHECK;
int unpack_bytes(Unpacking *u, const void *bytes, size_t length, Error *err) MUST_CHECK;
int unpack_end(Unpacking *u, Error *err) MUST_CHECK;

int zip_unpack(Unpacking *u, const char *path, Error *err) MUST_CHECK;
int tar_zst_unpack(Unpacking *u, const char *path, unsigned threads, Error *err) MUST_CHECK;

#endif
