/* archive.h -- a package as one file, and back (docs/packaging.md).
 *
 * NAME.zip: the evidence, everything but weights, stored; the same package gives the same bytes.
 * NAME.tar.zst: all of it; bf16 weights with their bytes in planes where that pays. Both begin with
 * manifest.json, by which all that follows is checked when it is unpacked. */
#ifndef RECAST_PACKAGER_ARCHIVE_H
#define RECAST_PACKAGER_ARCHIVE_H

#include "core/progress.h"
#include "core/sha256.h"

typedef enum ArchiveKind { ARCHIVE_NONE, ARCHIVE_ZIP, ARCHIVE_TAR_ZST } ArchiveKind;
ArchiveKind archive_kind(const char *path); /* by its ending */

typedef struct ArchiveOptions {
    unsigned threads;  /* of zstd, both ways; 0: one a processor */
    int level;         /* of zstd; 0: 3 */
    bool plain;        /* no planes: any tar with zstd gives the package itself */
    bool replace;      /* unpacking: an older package there is swapped out */
    uint64_t max_size; /* unpacking: bytes; 0: 50 times the archive and 64 MiB */
    const Progress *progress;
    const Allocator *allocator;
} ArchiveOptions;

typedef struct ArchiveResult {
    size_t n_files, n_planes; /* n_planes: of them in planes */
    size_t n_absent;          /* unpacking: weights that the archive doesn't hold */
    uint64_t bytes, archive_bytes;
} ArchiveResult;

/* Packs the package in `directory` into `path`, which appears when it is complete. Every file is hashed on
 * its way: ERR_CHECK if it isn't what the manifest says. ERR_USAGE for a name that ends neither way. */
int archive_write(ArchiveResult *out, const char *path, const char *directory, const ArchiveOptions *options,
                  Error *err) MUST_CHECK;

/* Unpacks into a new directory, which appears only when every file has the size and hash that the manifest
 * gives. Refused: paths that leave it, links, names twice, files that the manifest does not list, more bytes
 * than it declares, and a manifest that declares more than max_size or than the disk has free. */
int archive_unpack(ArchiveResult *out, const char *path, const char *directory, const ArchiveOptions *options,
                   Error *err) MUST_CHECK;

#endif
