/* signature_private.h -- what signature.c and signature_read.c share. Not for other files. */
#ifndef RECAST_PACKAGER_SIGNATURE_PRIVATE_H
#define RECAST_PACKAGER_SIGNATURE_PRIVATE_H

#include "packager/signature.h"

#define IN_TOTO_STATEMENT   "https://in-toto.io/Statement/v1"
#define SIGNATURE_PREDICATE "https://model_signing/signature/v1.0"
#define BUNDLE_MEDIA_TYPE   "application/vnd.dev.sigstore.bundle.v0.3+json"

enum { SIGNATURE_OWN_IGNORED = 6 };
extern const char *const signature_own_ignored[];

bool path_is_below(const char *path, const char *directory); /* or is it itself */
/* Appends the 32 bytes of a digest in hex. */
void root_add(Buffer *digests, const char *sha256);

#endif
