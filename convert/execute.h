/* execute.h -- a plan becomes bytes: read rows, transform, hash, write, in bounded memory, on several
 * threads. Memory: a fixed number of buffers of 4 MiB, whatever the model's size. The bytes do not depend on
 * the number of threads. */
#ifndef RECAST_CONVERT_EXECUTE_H
#define RECAST_CONVERT_EXECUTE_H

#include "convert/gguf_plan.h"
#include "core/progress.h"
#include "core/sha256.h"

typedef struct ExecuteOptions {
    unsigned threads; /* 0: one a processor */
    bool no_hash;     /* leave sha256 "" */
    const Progress *progress;
    const Allocator *allocator;
} ExecuteOptions;

typedef struct FileResult {
    uint64_t size;
    char sha256[SHA256_HEX];
} FileResult;

/* Writes the file atomically, checks that the sources did not change meanwhile, opens it again and checks
 * that it says what the plan said (keys, names, types, shapes, offsets). path NULL: hash only, nothing is
 * written ("rebuild to hash"). */
int gguf_execute(FileResult *out, const GgufPlan *plan, const char *path, ExecuteOptions options,
                 Error *err) MUST_CHECK;

#endif
