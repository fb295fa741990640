/* execute.h -- plans become files, in one pass over the source that proves it as well: read rows, transform,
 * write, hash, in bounded memory, on several threads. Memory: a fixed number of small buffers, whatever the
 * model's size. The bytes do not depend on the number of threads. */
#ifndef RECAST_CONVERT_EXECUTE_H
#define RECAST_CONVERT_EXECUTE_H

#include "convert/gguf_plan.h"
#include "core/progress.h"
#include "core/sha256.h"
#include "model/proof.h"

typedef struct ExecuteOptions {
    unsigned threads;       /* 0: one a processor */
    bool no_hash;           /* leave the outputs' sha256 "" */
    double journal_seconds; /* above 0: put down every so many seconds how far it is, so that a killed run
                               goes on where it was when it is started again. Needs hashes and a path. 0: no
                               journal */
    bool restart;           /* don't go on: begin anew */
    const Progress *progress;
    const Allocator *allocator;
} ExecuteOptions;

typedef struct FileResult {
    uint64_t size;
    char sha256[SHA256_HEX];
} FileResult;

typedef struct ConversionOutput {
    const GgufPlan *plan;
    const char *path;  /* NULL: hash only, nothing is written ("rebuild to hash") */
    bool continues;    /* a further shard of the model that the output before it belongs to: shards of a model
                          are    made one after the other, models side by side */
    FileResult result; /* filled in */
} ConversionOutput;

typedef struct Conversion {
    const Model *source; /* as model_open gives it: its proof is made in the same pass. NULL: no proof */
    const SourceProof *promised; /* what the headers already say of the source; NULL: nothing. A difference is
                                    ERR_CHECK, naming file, expected and found */
    SourceProof **proof;         /* caller closes; NULL: not wanted */
    size_t n_outputs;            /* may be 0 */
    ConversionOutput *outputs;
} Conversion;

/* Checks space, limits and permission for all outputs together, makes them, checks that the sources did not
 * change meanwhile, opens each file again and checks that it says what the plan said (keys, names, types,
 * shapes, offsets). After an error nothing has appeared; with a journal, what was done before a kill or an
 * interruption waits in a hidden file beside the output. */
int convert_execute(const Conversion *c, ExecuteOptions options, Error *err) MUST_CHECK;

/* One output, no proof. */
int gguf_execute(FileResult *out, const GgufPlan *plan, const char *path, ExecuteOptions options,
                 Error *err) MUST_CHECK;

#endif
