/* validation.h -- what the files of validate/ share. Not for other rooms. */
#ifndef RECAST_VALIDATE_VALIDATION_H
#define RECAST_VALIDATE_VALIDATION_H

#include "convert/provenance.h"
#include "core/threads.h"
#include "packager/tree.h"
#include "runner/generate.h"
#include "validate/validate.h"
#include <pthread.h>

/* Lines about the same kind of trouble in one report; the rest is counted. */
enum { MOST_LINES = 20 };

/* ---- one validation (findings.c) ---- */

typedef struct Validation {
    Report *report;
    const ValidateOptions *options;
    const char *label; /* what check names begin with: the artifact in its package; "" for a lone file */
    const char *path;  /* of what is looked at; details say the label (or "the file") instead */
    Arena *arena;      /* scratch, as long as the validation */
} Validation;

/* report_add with the label before the name ("tiny-BF16.gguf: tensors"). */
void check_add(const Validation *v, const char *group, CheckStatus status, const char *name,
               const char *detail, ...) ERROR_PRINTF(5, 6);
/* What an error of a check means. An error of this machine (memory, I/O, interrupted) ends the validation: it
 * is put into *err and its code returned. Otherwise 0, and the report has a line: "not run" for what this
 * program doesn't know (ERR_UNSUPPORTED), else a failure. */
int check_error(const Validation *v, const char *group, const char *name, const Error *found, Error *err);
/* The same for an artifact that could not be opened: also a file of it that is missing is a finding. */
int check_open_error(const Validation *v, const Error *found, Error *err);
/* Is this error the machine's? */
bool error_is_ours(int code);

/* ---- work on many tensors or files, on several threads (sweep.c) ---- */

enum { SWEEP_PIECE = 1 << 20, SWEEP_THREADS = 64 };

typedef struct Sweep {
    unsigned threads;
    const char *phase;
    const Progress *progress;
    uint64_t done, total; /* bytes */
    pthread_mutex_t lock; /* guards done and the call of progress */
    struct {
        uint8_t *bytes;
        size_t size;
    } buffers[SWEEP_THREADS][2];
} Sweep;

/* Calls run for items 0 .. count-1; s->total and s->phase are set. Buffers are freed afterwards. */
int sweep_run(Sweep *s, const ValidateOptions *options, size_t count, ThreadWork work, Error *err);
/* A buffer of one's own for this thread, at least `size` bytes; which: 0 or 1. */
int sweep_buffer(Sweep *s, unsigned thread, int which, size_t size, uint8_t **out, Error *err);
int sweep_advance(Sweep *s, uint64_t bytes, Error *err);

/* Pieces of tensors: rows where there are transforms or rows are short, else bytes, so that one long row does
 * not need as much memory. */
typedef struct TensorPieces {
    uint64_t total, step; /* of units */
    size_t unit;          /* bytes of one as model_read gives them: a row's, or 1 */
} TensorPieces;
TensorPieces tensor_pieces(const Tensor *t, bool by_rows);
int tensor_piece(const Tensor *t, const TensorPieces *p, uint64_t at, uint64_t count, void *buffer,
                 Error *err);

/* ---- structure (structure.c, lint.c, origin.c, weights.c) ---- */

int check_structure(const Validation *v, const Model *m, Error *err);
/* Keys that are well-formed but mislead a run time. */
void check_keys(const Validation *v, const Model *m);
/* Do the recast.* keys agree with themselves and with the tensors? */
int check_provenance(const Validation *v, const Model *m, Error *err);
/* Does its recipe say that `dynamic` rope was fixed for one length? Then it says other things than its
 * source. */
bool is_baked(const Model *m);
int check_finite(const Validation *v, const Model *m, Error *err);

/* ---- source (source.c, expected.c, compare.c) ---- */

/* What an artifact ought to be: views over the source. */
typedef struct Expected {
    const Model *top;     /* compared with the artifact */
    const Model *derived; /* the source with overrides: what generation is compared with */
    RecipeStack stack;    /* the views; those that are not needed are NULL */
    OutputTypes types;    /* without a recipe: what the file says of them */
    size_t output;        /* which of its outputs */
    cJSON *derivation;    /* the recipe that the file carries */
} Expected;
/* By the recipe's output, if there are a recipe and a source; else by the recipe that the artifact carries;
 * else the plain source in the artifact's own type. derived: the source with overrides if it is open already,
 * or NULL. ERR_CHECK, ERR_RECIPE ...: the claim can't hold, and says why. */
int expected_open(Expected *out, const Validation *v, const Model *artifact, const Recipe *recipe,
                  const char *output_name, const Model *derived, Error *err);
void expected_close(Expected *e);
/* The output of that name; else the only one that `artifact` can be; n_outputs if there is none. */
size_t find_output(const Recipe *r, const char *name, const Model *artifact);

/* The weights digest, "" if there is none. */
int artifact_digest(char hex[SHA256_HEX], const Validation *v, const Model *m, Error *err);
int check_source(const Validation *v, const Model *artifact, const char *digest, const Expected *expected,
                 const SourceProof *proof, Error *err);
int check_source_files(const Validation *v, const Model *artifact, const SourceProof *proof, Error *err);
int compare_tensors(const Validation *v, const Model *artifact, const Model *expected, bool *same,
                    Error *err);
int compare_parameters(const Validation *v, const Model *artifact, const Model *expected, Error *err);
int compare_keys(const Validation *v, const Model *artifact, const Model *expected, Error *err);

/* ---- rebuild (rebuild.c) ---- */

/* files: of the artifact, in shard order. */
int rebuild_gguf(const Validation *v, const Recipe *r, size_t output, const Model *top,
                 const SourceProof *proof, const FoundFile *files, size_t n_files, Error *err);
/* files: what lies in the directory, names relative to it; exact: no file but the recipe's may be there. */
int rebuild_hf(const Validation *v, const Model *top, const SourceProof *proof, const FoundFile *files,
               size_t n_files, bool exact, Error *err);

/* ---- generation (generation.c) ---- */

/* records: those of the package; the ones that hold for this artifact are reproduced: the source's for a
 * lossless one, and its own (of that path). derived: to explain a difference; may be NULL. */
int check_generation(const Validation *v, const Model *artifact, const char *path, bool lossless,
                     const Model *derived, size_t n_records, const GenerationRecord *records, Error *err);

/* Are what a package records the prompts of its recipe, in their order? A line only if not (records.c). */
void check_records(const Validation *v, const Manifest *m, const Recipe *r);

/* ---- packages (package.c, hashes.c) ---- */

/* Files against manifest and SHA256SUMS. Fills the sha256 of w's files that the manifest lists. */
int check_hashes(const Validation *v, const char *directory, FileTree *w, const Manifest *m, Error *err);
int check_package(const Validation *v, const char *directory, Error *err);

/* Do provenance.json, bom.cdx.json and the hashes of tensors say what the manifest says (evidence.c)? */
int check_evidence(const Validation *v, const char *directory, const FileTree *tree, const Manifest *m,
                   Error *err) MUST_CHECK;

/* ---- signatures (signature.c) ---- */

/* Fills the report's signed_by if model.sig is good. m: NULL if it is no package. */
int check_signature(const Validation *v, const char *directory, const FileTree *tree, const Manifest *m,
                    Error *err);

/* ---- one artifact (artifact.c) ---- */

typedef struct Subject {
    const Model *model;
    const char *name;       /* of the recipe's output, and of its generation records */
    const Recipe *recipe;   /* NULL: none */
    const FoundFile *files; /* hashed; names in a directory, or the one file */
    size_t n_files;
    bool exact; /* the recipe must give all of them */
    char digest[SHA256_HEX];
    size_t n_records;
    const GenerationRecord *records;
} Subject;
/* Source, rebuild and generation, as far as source and recipe are there. lossless: it is, or is said to be;
 * then it must say what its source says. */
int check_subject(const Validation *v, const Subject *s, bool lossless, Error *err);
/* Once for a recipe and a source: do the recipe's pins hold? */
int check_pins(const Validation *v, const Recipe *r, Error *err);

#endif
