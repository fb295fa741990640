/* gguf_verify.h -- opens what was written again and compares what it says with what was planned. */
#ifndef RECAST_CONVERT_GGUF_VERIFY_H
#define RECAST_CONVERT_GGUF_VERIFY_H

#include "convert/gguf_plan.h"

/* Reads the file behind fd with the GGUF reader and compares size, keys, and every tensor's name, type, shape
 * and offset with the plan. name is used in messages. ERR_CHECK when they differ. */
int gguf_verify(const GgufPlan *plan, int fd, const char *name, const Allocator *allocator,
                Error *err) MUST_CHECK;

#endif
