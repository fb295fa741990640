/* journal.h -- how far a conversion has come, in a small file beside its output, so that a killed one can go
 * on.
 *
 * ".NAME.KEY.journal" holds the key of the work (a hash of everything that decides its bytes and of the
 * sources' identity), a payload that only the executor understands, and the SHA-256 of both: one that is
 * damaged, half written or about other work is as good as none. It is replaced atomically, after what it
 * promises is on disk. */
#ifndef RECAST_CONVERT_JOURNAL_H
#define RECAST_CONVERT_JOURNAL_H

#include "core/buffer.h"
#include "core/sha256.h"

/* path: of the output; key: 64 hex digits. */
int journal_write(const char *path, const char key[SHA256_HEX], const Buffer *payload, Error *err) MUST_CHECK;
/* *found: is there one for this key? Then the payload is appended to *payload. Errors: ERR_MEMORY, ERR_IO
 * (not: absence). */
int journal_read(bool *found, Buffer *payload, const char *path, const char key[SHA256_HEX],
                 Error *err) MUST_CHECK;
/* Removes it; its absence is no error. */
void journal_remove(const char *path, const char key[SHA256_HEX]);

#endif
