/* pipeline.h -- the main job, without printing: recipe -> derived outputs -> validation -> package. */
#ifndef RECAST_CLI_PIPELINE_H
#define RECAST_CLI_PIPELINE_H

#include "cli/source_proof.h"
#include "convert/estimate.h"
#include "core/progress.h"
#include "core/report.h"
#include "recipes/recipe.h"
#include "validate/device_choice.h"

typedef struct BuildOptions {
    const char *recipe_path;
    const char *const *sets;
    size_t n_sets;
    const char *directory;         /* NULL: the recipe's name, in the working directory */
    const char *cache_root;        /* of the Hugging Face cache */
    bool link;                     /* hard-link untouched files of the Hugging Face form */
    bool replace;                  /* an existing directory is swapped out at the end */
    bool no_generate;              /* leave generation out: its checks are then "not run" */
    double journal_seconds;        /* as in ExecuteOptions; a killed build then goes on */
    bool restart;                  /* begin anew */
    bool dry_run;                  /* plan only: files and estimate are set, nothing is made */
    void (*say)(const char *text); /* messages for the user; NULL: none */
    DeviceChoice device;           /* for what is generated and measured */
    unsigned threads;
    const Progress *progress;
    const Allocator *allocator;
} BuildOptions;

typedef struct BuiltFile {
    const char *path;
    uint64_t size;
    const char *sha256; /* "" in a dry run */
} BuiltFile;

/* What a build does beside converting, for a dry run. Bytes. */
typedef struct BuildExtras {
    uint64_t checked;        /* of outputs, read again: digests, and beside the source */
    uint64_t tensors_hashed; /* of GGUFs, read again for NAME.gguf.manifest */
    uint64_t evidence;       /* of what stands beside the artifacts, about */
    uint64_t archive;        /* at most; 0: none is asked for */
} BuildExtras;

typedef struct BuildResult {
    const char *directory;
    const char *archive; /* beside it; NULL: the recipe names none */
    size_t n_files;
    const BuiltFile *files;
    Report *report;
    const char *weights_sha256;
    size_t n_changes;
    const Change *changes;
    const char *merged;          /* what adapters changed; NULL: none was merged */
    size_t pinned;               /* pins that were verified */
    ConversionEstimate estimate; /* of a dry run, with the next */
    ProofHow proof_how;
    BuildExtras extras;                      /* likewise */
    const char *sample_prompt, *sample_text; /* the first recorded generation */
    Arena *arena;
} BuildResult;

/* Everything is made in a hidden directory beside the final one and appears only when all checks passed. The
 * archive is made of what has appeared: if that fails, the directory stays, and the message says so. After
 * any other error nothing appears; *out may be set all the same (its report, if there is one, says what
 * failed). Caller closes. */
int build_run(BuildResult **out, const BuildOptions *options, Error *err) MUST_CHECK;
void build_result_close(BuildResult *r);

#endif
