/* validate.h -- all checks that apply to an artifact or a package; fills a report, prints nothing.
 *
 * Groups: structure (the file is well-formed, complete, of the right shapes, and its provenance agrees with
 * itself), hashes (every file against manifest.json), source (per-tensor identity and weights digest against
 * a source that was supplied), rebuild (the recipe, run again to hash, gives these bytes), generation
 * (recorded hashes reproduced), quality (with lossy types; not run here), signature (model.sig is that of a
 * key or certificate that the user trusts, and the files are those that were signed). Each check is pass,
 * fail or not run (reason). Verdict: "consistent" (agrees with its own manifest), "derived" (follows from a
 * source that was supplied), "evidence consistent" (the same of an archive without weights), "failed",
 * "nothing shown"; and Report.signed_by. */
#ifndef RECAST_VALIDATE_VALIDATE_H
#define RECAST_VALIDATE_VALIDATE_H

#include "core/progress.h"
#include "core/report.h"
#include "packager/key.h"
#include "packager/manifest.h"
#include "recipes/recipe.h"
#include "validate/device_choice.h"

typedef struct ValidateOptions {
    const Model *source;      /* the base checkpoint, open; NULL: source checks are not run */
    const SourceProof *proof; /* of the source if known already; NULL: computed when needed */
    const Recipe *recipe;     /* NULL: the package's own recipe.json, if it is a package */
    const char *commit;       /* of the source; NULL if unknown */
    const PublicKey *key;     /* whose signature is wanted; NULL: not known */
    const CertStore *roots;   /* that a signer's certificate must lead to; NULL: none */
    size_t n_ignored;         /* paths that a signature needn't cover, at the user's word */
    const char *const *ignored;
    bool evidence;               /* it came out of an archive without weights: their absence is no failure */
    size_t n_adapters;           /* places of the adapters that the recipe merges; 0: where the recipe says */
    const char *const *adapters; /* directories, in the recipe's order */
    bool records_own; /* what an artifact generates will be recorded as its own, if nothing else is to be kept
                         to */
    DeviceChoice device; /* for what is generated and measured */
    unsigned threads;
    const Progress *progress;
    const Allocator *allocator;
} ValidateOptions;

/* path: a GGUF file, a checkpoint directory or a package directory (one with manifest.json). Returns an error
 * only if validation itself could not be done; a failed check is in the report. */
int validate_path(Report **out, const char *path, const ValidateOptions *options, Error *err) MUST_CHECK;

/* --require: "structure,hashes": adds a failed check for each listed group of which something was not run
 * (one that failed has failed already), and the verdict follows. ERR_USAGE for an unknown group. */
int validate_require(Report *r, const char *list, Error *err) MUST_CHECK;
/* Is every group of such a list known? To be asked before the work: a validation may take an hour. */
int validate_groups_known(const char *list, Error *err) MUST_CHECK;

/* Generates exactly n_tokens tokens behind each of n prompts, in strict arithmetic, greedy, KV f32, end
 * tokens ignored; at most 2,048 positions (ERR_LIMIT). out: [n]. Used by the pipeline to record and by
 * validate to check. text: ill-formed UTF-8 and NULs become U+FFFD. artifact: the path to record, NULL for
 * the source with overrides. Of the options device, threads and progress count. */
int validate_generate(GenerationRecord *out, const Model *model, const char *const *prompts, size_t n,
                      uint32_t n_tokens, const char *artifact, const ValidateOptions *options, Arena *arena,
                      Error *err) MUST_CHECK;
/* Would that refuse a prompt for its length? To be asked before hours of work. ERR_LIMIT or ERR_RECIPE if so;
 * 0 also where the tokenizer is none that this program knows. */
int validate_prompts_fit(const Model *model, const char *const *prompts, size_t n, uint32_t n_tokens,
                         Error *err) MUST_CHECK;

/* Checks one artifact that was just built, against what it was built from, into r: structure, source and
 * generation groups. label: its name in the package, which is also that of the recipe's output. expected:
 * what the source with overrides said; a lossy artifact is not held to it ("not run"). */
int validate_artifact(Report *r, const char *label, const Model *artifact, const Model *derived,
                      const SourceProof *proof, size_t n_expected, const GenerationRecord *expected,
                      const ValidateOptions *options, Error *err) MUST_CHECK;

#endif
