/* resume.h -- a conversion that goes on where a killed one stopped (journal.h holds its state).
 *
 * Only what is proved is taken up: the journal is for the same plans over the same source files (device,
 * inode, size, modification time), and was put down after the bytes it promises were on disk. */
#ifndef RECAST_CONVERT_RESUME_H
#define RECAST_CONVERT_RESUME_H

#include "convert/execute.h"
#include "core/walks.h"

enum { RESUME_DIGITS = 16 }; /* of the key, in the names of partial files */

/* A hash of all that decides the outputs' bytes, where they go, and which source files are read. */
int resume_key(char key[SHA256_HEX], const Conversion *c, Error *err) MUST_CHECK;
/* Puts the walks' states into the journal beside `path`. The first n_proofs walks are those of a proof. */
int resume_save(const char *path, const char key[SHA256_HEX], const Walk *walks, size_t n, size_t n_proofs,
                Error *err) MUST_CHECK;
/* Takes them up if there is a journal; *found says so. ERR_FORMAT if it does not fit the walks: then only a
 * restart helps. */
int resume_load(bool *found, const char *path, const char key[SHA256_HEX], Walk *walks, size_t n,
                size_t n_proofs, Error *err) MUST_CHECK;

#endif
