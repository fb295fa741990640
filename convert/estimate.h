/* estimate.h -- what a conversion will take, before it is done: for --dry-run and for messages. */
#ifndef RECAST_CONVERT_ESTIMATE_H
#define RECAST_CONVERT_ESTIMATE_H

#include "convert/execute.h"

typedef struct ConversionEstimate {
    uint64_t source_bytes; /* of all files that are proved; 0 without a proof */
    uint64_t output_bytes; /* to be written */
    uint64_t buffers;      /* bytes of memory */
    uint64_t disorder;     /* bytes: how far the order of the source and that of an output come apart */
    uint64_t cache;        /* bytes that the page cache could have now; 0 if unknown */
    double seconds;        /* if the disk keeps up */
    double hash_rate;      /* bytes of SHA-256 a second on one core, measured */
    uint64_t read_again; /* bytes of the source that come apart by more than the cache: from the disk twice */
} ConversionEstimate;

/* passes: 2 if the source is hashed before the pass that writes. Reads no tensor and writes nothing; hashes
 * for a few milliseconds to see how fast this machine is. */
int convert_estimate(ConversionEstimate *out, const Conversion *c, int passes, ExecuteOptions options,
                     Error *err) MUST_CHECK;
/* Adds the files of a Hugging Face form, which the same threads make: bytes that are written, and those that
 * are hashed for their own sake. */
void convert_estimate_files(ConversionEstimate *e, uint64_t written, uint64_t hashed, unsigned threads);

#endif
