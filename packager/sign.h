/* sign.h -- signs a directory: model.sig over everything in it and, in a package, its provenance statement.
 */
#ifndef RECAST_PACKAGER_SIGN_H
#define RECAST_PACKAGER_SIGN_H

#include "packager/evidence.h"
#include "packager/key.h"
#include "packager/tree.h"

typedef struct SignOptions {
    const SignKey *key;
    const CertChain *chain; /* NULL: by key */
    const char *subject;    /* what to call the model; NULL: the package's name, else the directory's */
    HashOptions hash;
} SignOptions;

typedef struct SignResult {
    size_t n_files; /* signed */
    uint64_t bytes;
    bool package;    /* it has a manifest, and agrees with it */
    bool provenance; /* provenance.json was signed too */
} SignResult;

/* Hashes every file, and signs. A directory with manifest.json that does not agree with it is not signed:
 * ERR_CHECK names the file. An older signature is replaced. */
int sign_directory(SignResult *out, const char *directory, const SignOptions *options, Error *err) MUST_CHECK;

/* Signs provenance.json of a directory as provenance.intoto.jsonl, a DSSE envelope on one line. *done is
 * false if there is none. */
int sign_provenance(bool *done, const char *directory, const SignKey *key, Error *err) MUST_CHECK;

#endif
