/* sha256.h -- SHA-256 (FIPS 180-4) over OpenSSL's EVP, which uses the processor's own instructions where it has them
 * (1.8 GB/s a core with SHA-NI on the project's machine). */
#ifndef RECAST_CORE_SHA256_H
#define RECAST_CORE_SHA256_H

#include "core/input.h"

enum { SHA256_BYTES = 32, SHA256_HEX = 65 /* 64 digits and NUL */ };

typedef struct Sha256 Sha256;

int sha256_open(Sha256 **out, Error *err) MUST_CHECK; /* a running hash; caller closes */
void sha256_close(Sha256 *h);                         /* NULL-safe */
void sha256_update(Sha256 *h, const void *bytes, size_t length);
/* Ends the hash, writes its 64 lower-case hex digits, and starts a new one in the same object.
 * If OpenSSL failed meanwhile, hex is "", which equals no hash. */
void sha256_finish(Sha256 *h, char hex[SHA256_HEX]);

/* Of a piece of memory, in one call. */
int sha256_bytes(char hex[SHA256_HEX], const void *bytes, size_t length, Error *err) MUST_CHECK;
/* Of a whole file, read in pieces of 4 MiB. done (may be NULL) is called after each with the bytes so far; a non-zero
 * return stops with ERR_INTERRUPTED. */
int sha256_input(char hex[SHA256_HEX], const Input *in, int (*done)(void *context, uint64_t bytes), void *context,
                 Error *err) MUST_CHECK;
bool sha256_is_hex(const char *s); /* exactly 64 lower-case hex digits? NULL is false */

#endif
