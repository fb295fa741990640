/* dry_run.h -- printing what a conversion would do. */
#ifndef RECAST_CLI_DRY_RUN_H
#define RECAST_CLI_DRY_RUN_H

#include "cli/pipeline.h"
#include "cli/source_proof.h"
#include "convert/estimate.h"
#include <cjson/cJSON.h>

typedef struct DryRun {
    ConversionEstimate estimate;
    ProofHow how;
    const char *path; /* where the outputs go: names the file system whose free space is told; NULL: nothing
                         is written */
    const BuildExtras *extras; /* of a build; NULL: of a conversion */
} DryRun;

/* Lines on stdout, behind the list of files. */
void dry_run_print(const DryRun *d);
void dry_run_json(const DryRun *d, cJSON *document);

#endif
