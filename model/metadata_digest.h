/* metadata_digest.h -- one hash for all that a GGUF says beside its tensors (docs/packaging.md). */
#ifndef RECAST_MODEL_METADATA_DIGEST_H
#define RECAST_MODEL_METADATA_DIGEST_H

#include "core/sha256.h"
#include "model/metadata.h"

/* SHA-256 over what metadata_write_kv spells, in the order of the keys' bytes: the same however the keys are
 * ordered, aligned or split. general.alignment and the keys of a split (gguf_is_split_key) are left out,
 * which say how a file is laid out. */
int metadata_sha256(char hex[SHA256_HEX], const Metadata *m, Error *err) MUST_CHECK;

#endif
