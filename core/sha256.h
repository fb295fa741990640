/* sha256.h -- SHA-256 (FIPS 180-4), with the processor's own instructions where it has them.
 *
 * Own code rather than OpenSSL's, for two things that EVP can't do: two hashes advanced at once (a single one
 * leaves the unit idle half of the time: 1.81 GB/s alone, 3.46 GB/s for two together on one core of the
 * project's machine; EVP 1.78), and a state that can be put down in a journal. OpenSSL stays the reference of
 * the tests. */
#ifndef RECAST_CORE_SHA256_H
#define RECAST_CORE_SHA256_H

#include "core/input.h"

enum { SHA256_BYTES = 32, SHA256_HEX = 65 /* 64 digits and NUL */ };

typedef struct Sha256 Sha256;

/* All of a running hash. */
typedef struct Sha256State {
    uint32_t h[8];
    uint64_t length;  /* bytes so far */
    uint8_t tail[64]; /* the last length % 64 of them; zeros behind */
} Sha256State;

int sha256_open(Sha256 **out, Error *err) MUST_CHECK; /* a running hash; caller closes */
void sha256_close(Sha256 *h);                         /* NULL-safe */
void sha256_update(Sha256 *h, const void *bytes, size_t length);
/* The same for two hashes at once, interleaved as far as both have bytes. a and b must be two objects; the
 * bytes may be the same. */
void sha256_update2(Sha256 *a, const void *bytes_a, size_t length_a, Sha256 *b, const void *bytes_b,
                    size_t length_b);
/* Ends the hash, writes its 64 lower-case hex digits, and starts a new one in the same object. */
void sha256_finish(Sha256 *h, char hex[SHA256_HEX]);

void sha256_export(const Sha256 *h, Sha256State *out);
/* h goes on from there, whatever it was before. */
void sha256_import(Sha256 *h, const Sha256State *state);
/* The same through a buffer, as a journal holds it. */
void sha256_save(const Sha256 *h, Buffer *out);
void sha256_load(Sha256 *h, BufferReader *in);

/* Of a piece of memory, in one call. */
int sha256_bytes(char hex[SHA256_HEX], const void *bytes, size_t length, Error *err) MUST_CHECK;
/* Of a whole file, read in pieces of 4 MiB. done (may be NULL) is called after each with the bytes so far; a
 * non-zero return stops with ERR_INTERRUPTED. */
int sha256_input(char hex[SHA256_HEX], const Input *in, int (*done)(void *context, uint64_t bytes),
                 void *context, Error *err) MUST_CHECK;
bool sha256_is_hex(const char *s); /* exactly 64 lower-case hex digits? NULL is false */

#endif
