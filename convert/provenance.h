/* provenance.h -- the recast.* keys of a GGUF: what it was made from, so that the proof travels with the
 * file. All strings, arrays of strings or scalars, never empty, no NUL (other tools drop or cut those).
 * docs/provenance.md. */
#ifndef RECAST_CONVERT_PROVENANCE_H
#define RECAST_CONVERT_PROVENANCE_H

#include "model/model.h"
#include "model/proof.h"

enum { RECAST_DERIVATION = 1 }; /* raised only when the same recipe would give other bytes */

typedef struct Provenance {
    const char *derivation;    /* canonical JSON of what decides the bytes; NULL if there was no recipe */
    const char *repo, *commit; /* NULL if there is none */
    const SourceProof *proof;
    size_t n_changes;
    const Change *changes;
    const Lora *lora;             /* adapters that were merged; NULL: none */
    const char *output;           /* type as asked: "bf16" */
    const char *license, *author; /* for general.license, general.author; NULL if absent */
    size_t n_tags;
    const char *const *tags; /* general.tags */
} Provenance;

/* Adds the recast.* keys, general.base_model.*, general.license and general.tags to m. */
int provenance_set(Metadata *m, const Provenance *p, Error *err) MUST_CHECK;

/* What a GGUF says of itself. Pointers are into m. */
typedef struct ProvenanceRead {
    bool present;
    uint32_t derivation_version;
    const char *derivation, *derivation_sha256, *repo, *commit, *weights_sha256, *output;
    size_t n_files;
    const GgufString *names, *sha256;
    size_t n_changes;
    const GgufString *changes; /* "key: old -> new" */
    size_t n_adapters;
    const GgufString *adapters; /* SHA-256 of their weights */
    const GgufString *scales;   /* of each, a number; NULL: not said */
    uint32_t applied, merged;   /* pairs and whole tensors; tensors of the checkpoint that they changed */
    bool edited;
} ProvenanceRead;
/* ERR_FORMAT if keys are there but contradict each other (wrong types, arrays of different length, sha256
 * that isn't the derivation's). Absent keys: present is false. */
int provenance_read(ProvenanceRead *out, const Metadata *m, Error *err) MUST_CHECK;

#endif
