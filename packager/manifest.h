/* manifest.h -- manifest.json: everything about a package that can be checked. docs/manifest.schema.json is
 * its schema. Deterministic: no times, no speeds, no local paths. Hashes are named by what they cover. */
#ifndef RECAST_PACKAGER_MANIFEST_H
#define RECAST_PACKAGER_MANIFEST_H

#include "core/report.h"
#include "core/sha256.h"
#include "model/model.h"
#include "model/proof.h"

typedef struct ManifestFile {
    const char *path; /* relative to the package, '/' between, no ".." */
    uint64_t size;
    char sha256[SHA256_HEX];
} ManifestFile;

/* How an artifact's predictions differ from the source's (with overrides), at the same positions of the same
 * tokens: what a type costs. */
typedef struct QualityRecord {
    uint64_t positions;     /* that were compared; 0: not measured */
    double kl;              /* mean Kullback-Leibler divergence, source from artifact, nats a token */
    double kl_error;        /* half the width of its 95 % interval: 1.96 standard errors */
    double kl_999;          /* what 99.9 % of the positions don't exceed */
    double top1;            /* share of positions with the same most probable token */
    double source_ppl, ppl; /* perplexities on the recipe's text; 0: it names none */
    double source_ppl_error, ppl_error; /* their standard errors; 0 in older packages too */
} QualityRecord;

typedef struct Artifact {
    const char *path;   /* "Name-BF16.gguf", or the directory "hf" */
    const char *format; /* "gguf" or "hf" */
    const char *type;   /* "bf16"; for hf the stored type */
    size_t n_tensors;
    char weights_sha256[SHA256_HEX];  /* "" if it has none */
    bool lossless;                    /* same weights digest as the source */
    const char *derivation_sha256;    /* SHA-256 of recast.recipe; NULL for hf */
    QualityRecord quality;            /* of a lossy one */
    char metadata_sha256[SHA256_HEX]; /* metadata_sha256 of a gguf; "" for hf, and in older packages */
} Artifact;

/* Of all generation records of a package: a hostile one must not keep whoever checks it busy for days. */
enum { MANIFEST_MOST_RECORDS = 1024, MANIFEST_MOST_TOKENS = 65536 };

typedef struct GenerationRecord {
    const char *prompt;
    const char *artifact; /* path of the artifact that generated, NULL: the source with overrides */
    uint32_t n_tokens;
    const char *arithmetic; /* "recast-arithmetic-1/f32 activations/kv f32" */
    const char *text;       /* what was generated, invalid UTF-8 replaced */
    char tokens_sha256[SHA256_HEX], logits_sha256[SHA256_HEX];
    float least_margin; /* smallest difference between best and second logit */
} GenerationRecord;

typedef struct Manifest {
    const char *name;
    const char *repo, *commit; /* of the base; NULL if absent */
    const char *license, *author;
    size_t n_sources;
    const FileProof *sources;
    const char *weights_sha256; /* of the source; "" if none */
    size_t n_changes;
    const Change *changes;
    const Lora *lora;        /* adapters that were merged, finished; NULL: none. Written only */
    const char *recipe_file; /* "recipe.json" */
    size_t n_artifacts;
    const Artifact *artifacts;
    size_t n_generations;
    const GenerationRecord *generations;
    const cJSON *report; /* report_json's value */
    size_t n_files;
    const ManifestFile
        *files;   /* every file of the package but manifest.json and SHA256SUMS, sorted by path */
    Arena *arena; /* only of a manifest that was read */
    cJSON *json;  /* likewise */
} Manifest;

int manifest_write(Buffer *out, const Manifest *m, Error *err) MUST_CHECK;
/* Reads and checks DIRECTORY/manifest.json: ERR_FORMAT with the JSON path for anything missing, ill-typed,
 * with path tricks or twice there. */
int manifest_read(Manifest **out, const char *directory, const Allocator *allocator, Error *err) MUST_CHECK;
void manifest_close(Manifest *m); /* NULL-safe; only for manifest_read's */

#endif
