/* tar.h -- headers of tar members (POSIX.1-2001, pax): regular files only, owned by nobody, of no time. */
#ifndef RECAST_PACKAGER_TAR_H
#define RECAST_PACKAGER_TAR_H

#include "core/buffer.h"

enum { TAR_BLOCK = 512, TAR_END = 1024 /* bytes of zeros behind the last member */ };

/* Appends the header of a file; names above 100 bytes and sizes above 8 GiB get a pax header before it. */
void tar_header(Buffer *out, const char *name, uint64_t size);
uint64_t tar_padding(uint64_t size); /* bytes of zeros behind a member of that size */

typedef struct TarHeader {
    char type; /* '0' file, 'x' pax header for the next, 0: all zeros, the end */
    char name[257];
    uint64_t size;
} TarHeader;
/* ERR_FORMAT: checksum, numbers, or a kind of member that a package has none of (links, devices,
 * directories). */
int tar_parse(TarHeader *out, const uint8_t block[TAR_BLOCK], Error *err) MUST_CHECK;
/* What a pax header says: name (in a buffer, "" if it says nothing) and size. ERR_FORMAT for anything else in
 * it. */
int tar_parse_pax(Buffer *name, uint64_t *size, bool *has_size, const char *text, size_t length,
                  Error *err) MUST_CHECK;

#endif
