/* evidence.h -- what a package says of its making in the words of others: in-toto and SLSA, CycloneDX,
 * llama-gguf-hash. All three follow from the manifest and hold no time, path or name of a machine. */
#ifndef RECAST_PACKAGER_EVIDENCE_H
#define RECAST_PACKAGER_EVIDENCE_H

#include "packager/package.h"

#define PROVENANCE_FILE        "provenance.json"
#define PROVENANCE_SIGNED_FILE "provenance.intoto.jsonl" /* a DSSE envelope around the former (sign.h) */
#define BOM_FILE               "bom.cdx.json"
#define TENSOR_HASHES_SUFFIX   ".manifest" /* behind a GGUF's name */

/* An in-toto statement v1 with SLSA provenance v1 as predicate: which files were made, of which files, by
 * which recipe. in->manifest.files are the artifacts' files; recipe_sha256: of recipe.json. */
int provenance_statement(Buffer *out, const PackageInputs *in, const char *recipe_sha256,
                         Error *err) MUST_CHECK;
/* A CycloneDX 1.6 bill of materials of a machine-learning model. n_files: of in->manifest.files, those of the
 * artifacts. */
int bom_write(Buffer *out, const PackageInputs *in, const char *recipe_sha256, const char *provenance_sha256,
              Error *err) MUST_CHECK;

/* SHA-256 of every tensor of a GGUF file (be it a shard) as it lies there, and of all of them together, in
 * the form that llama-gguf-hash --check reads. name: what the file is called in it. Reads the whole file. */
int tensor_hashes_write(Buffer *out, const char *path, const char *name, const Progress *progress,
                        Error *err) MUST_CHECK;
/* Bytes of that file for a GGUF of these tensors, before there is one. */
uint64_t tensor_hashes_size(const Model *m, const char *name);

#endif
