/* edit_shards.h -- a split model with other keys: only its first shard is written, the others get a second
 * name beside it. */
#ifndef RECAST_CONVERT_EDIT_SHARDS_H
#define RECAST_CONVERT_EDIT_SHARDS_H

#include "convert/execute.h"

/* set: the split model, open; first: its first shard by itself (gguf_open_shard); keys: what the new first
 * shard says, split keys included. path: where it goes, named as the first of as many shards. The others are
 * hard-linked, and copied where that is impossible or `copy` says so; one that is there already as the same
 * file stays. Errors: ERR_USAGE (path is not named so), ERR_IO (a name is taken). Leaves nothing on failure.
 */
int edit_first_shard(FileResult *out, const Model *set, const Model *first, const Metadata *keys,
                     const char *path, bool copy, ExecuteOptions options, Error *err) MUST_CHECK;

#endif
