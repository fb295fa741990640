/* compare.h -- what the files of the compare command share. */
#ifndef RECAST_CLI_COMPARE_H
#define RECAST_CLI_COMPARE_H

#include "cli/cli.h"
#include "cli/same_files.h"
#include "validate/difference.h"

/* One tensor that is not the same in both. */
typedef struct ComparedTensor {
    const char *name, *what; /* "BF16 -> Q8_0", "only in the first" */
    TensorDifference d;
} ComparedTensor;

typedef struct ComparedTensors {
    size_t same, differ, only_a, only_b;
    size_t n;
    ComparedTensor *list; /* those that are not the same, the worst first */
} ComparedTensors;

/* compare_keys.c: prints the parameters and keys that differ, or, with a list, adds them there; *n of them.
 */
int compared_keys_show(size_t *n, cJSON *list, const Model *a, const Model *b, Error *err) MUST_CHECK;

/* compare_tensors.c. files: NULL unless both are GGUFs. In the arena. */
int compared_tensors_find(ComparedTensors *out, const Cli *cli, const Model *a, const Model *b,
                          const SameFiles *files, Arena *arena, Error *err) MUST_CHECK;
/* A table, or an array of JSON objects. */
void compared_tensors_print(const ComparedTensors *t);
void compared_tensors_json(const ComparedTensors *t, cJSON *list);

/* compare_page.c: one HTML page with a picture, which needs nothing else. */
int compare_page(const char *path, const ComparedTensors *t, const char *name_a, const char *name_b,
                 Error *err) MUST_CHECK;

#endif
