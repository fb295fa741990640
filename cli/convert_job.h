/* convert_job.h -- what the files of the convert command share. */
#ifndef RECAST_CLI_CONVERT_JOB_H
#define RECAST_CLI_CONVERT_JOB_H

#include "cli/cli.h"
#include "cli/dry_run.h"
#include "convert/execute.h"

typedef struct ConvertArgs {
    const char *out, *type, *split, *part;
    const char *base; /* of an adapter; NULL: the source is none */
    const char *imatrix, *output_type, *embedding_type, *tensor_type_file;
    OptionList sets, tensor_types;
    uint32_t output; /* 1-based; 0: no recipe */
    bool requantize, hash, no_hash, dry_run, link, restart, join, replace;
    uint32_t part_index, part_count; /* of --part; 0: none */
    float journal;
} ConvertArgs;

/* What headers will say of the source (cli/source_proof.h). */
typedef struct Settled {
    SourceProof *proof; /* the owner of a Settled closes it; NULL: the pass will find it */
    ProofHow how;
} Settled;

/* in_pass: as in ProofOptions. */
int convert_settle(Settled *out, Cli *cli, const ConvertArgs *a, const Subject *s, bool in_pass,
                   Error *err) MUST_CHECK;

/* Is nothing to be printed? Hashes and plans that were asked for are not messages. */
static inline bool convert_is_silent(const Cli *cli, const ConvertArgs *a) {
    return cli->quiet && !cli->json && !a->hash && !a->dry_run;
}

typedef struct NamedResult {
    const char *name;
    FileResult result;
} NamedResult;

/* The files, on stdout. lora: what was merged, NULL: nothing. fallbacks: a JSON array, taken; NULL: none.
 * dry: NULL if it was done. */
int convert_print(Cli *cli, const SourceProof *proof, const NamedResult *files, size_t n, const Lora *lora,
                  cJSON *fallbacks, const DryRun *dry, Error *err) MUST_CHECK;

/* convert_adapter.c: PEFT's directory to llama.cpp's adapter GGUF. */
int convert_adapter(Cli *cli, const ConvertArgs *a, const char *adapter, ExecuteOptions options,
                    Error *err) MUST_CHECK;
/* convert_gguf.c, convert_hf.c: the two forms. */
int convert_gguf(Cli *cli, const ConvertArgs *a, const Subject *s, ExecuteOptions options,
                 Error *err) MUST_CHECK;
int convert_hf(Cli *cli, const ConvertArgs *a, const Subject *s, ExecuteOptions options,
               Error *err) MUST_CHECK;

#endif
