/* proof_walk.h -- the walks that prove a source: each file once, from end to end, and on the same bytes the
 * tensors that lie there. A conversion runs them beside the walks that write. */
#ifndef RECAST_MODEL_PROOF_WALK_H
#define RECAST_MODEL_PROOF_WALK_H

#include "core/walks.h"
#include "model/proof.h"

typedef struct ProofWalks ProofWalks;

/* source: as model_open gives it. promised (may be NULL): hashes that the walks must find; a difference is
 * ERR_CHECK, as soon as a file has come to its end. */
int proof_walks_open(ProofWalks **out, const Model *source, const SourceProof *promised,
                     const Allocator *allocator, Error *err) MUST_CHECK;
void proof_walks_close(ProofWalks *p); /* NULL-safe */

size_t proof_walks_count(const ProofWalks *p);
uint64_t proof_walks_bytes(const ProofWalks *p); /* of all files */
/* Sets walks[0 .. count): one a file, in the order of the source's files. */
void proof_walks_put(ProofWalks *p, Walk *walks, unsigned group);
/* The state of one walk, at a moment when it takes no piece; and back into a walk just put: false if that is
 * no state of this walk. */
void proof_walk_save(const Walk *w, Buffer *out);
bool proof_walk_load(Walk *w, BufferReader *in);
/* When all have run: the proof (caller closes), compared with what was promised. */
int proof_walks_finish(ProofWalks *p, SourceProof **out, Error *err) MUST_CHECK;

/* A proof whose files are to be filled in (for whoever makes one). */
int source_proof_open(SourceProof **out, size_t n_files, const Allocator *allocator, Error *err) MUST_CHECK;

#endif
