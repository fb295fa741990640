/* proof.h -- what a source is, in hashes: SHA-256 of every file that is read, and the weights digest.
 *
 * The weights digest is independent of container, shards, order, layout and exact widening
 * (docs/weights-digest.md): classic HF names, torch shapes; each F32 or F16 tensor narrowed by value to BF16
 * if exact, else F16 if exact, else F32; one line
 * "<sha256>  <BF16|F16|F32> [<shape>] <name>\n" a tensor, sorted by name as bytes; SHA-256 of all lines. */
#ifndef RECAST_MODEL_PROOF_H
#define RECAST_MODEL_PROOF_H

#include "core/progress.h"
#include "core/sha256.h"
#include "model/model.h"

/* The weights digest of any model of a known family, either form, views included (it reads rows).
 * ERR_UNSUPPORTED for an unknown family or a quantized tensor. Memory: a few MB a thread. */
int weights_digest(char hex[SHA256_HEX], const Model *m, unsigned threads, const Progress *progress,
                   Error *err) MUST_CHECK;

/* SHA-256 of one tensor's bytes as model_read gives them. */
int tensor_sha256(char hex[SHA256_HEX], const Tensor *t, Error *err) MUST_CHECK;

typedef struct FileProof {
    const char *name;
    uint64_t size;
    char sha256[SHA256_HEX];
} FileProof;

typedef struct SourceProof {
    size_t n_files;
    FileProof *files;                /* as model->files: sorted by name */
    char weights_sha256[SHA256_HEX]; /* "" if the model has none (unknown family, quantized) */
    Arena *arena;
} SourceProof;

/* Hashes everything, files and digest on different threads. */
int source_prove(SourceProof **out, const Model *source, unsigned threads, const Progress *progress,
                 const Allocator *allocator, Error *err) MUST_CHECK;
/* A proof whose hashes are all zeros, for planning sizes and for filling in. *has_digest: the model has a
 * weights digest. */
int source_proof_blank(SourceProof **out, const Model *source, bool *has_digest, const Allocator *allocator,
                       Error *err) MUST_CHECK;
void source_proof_close(SourceProof *p); /* NULL-safe */

#endif
