/* merged_shard.h -- a safetensors file of which some tensors are computed: header and all else as they are.
 */
#ifndef RECAST_CONVERT_MERGED_SHARD_H
#define RECAST_CONVERT_MERGED_SHARD_H

#include "convert/execute.h"

/* Does the model compute rows of a tensor that lies in this file? */
bool merged_shard_changes(const Model *m, const Input *file);
/* Writes the file with those rows (their type and place stay) to `path`, which appears when it is complete;
 * NULL: hash only. Errors: those of reading and writing,
 * ERR_LIMIT for rows above 32 MiB. */
int merged_shard_write(FileResult *out, const Model *m, const Input *file, const char *path,
                       const ExecuteOptions *options, Error *err) MUST_CHECK;

#endif
