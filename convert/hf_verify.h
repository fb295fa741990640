/* hf_verify.h -- reads a checkpoint directory that was just written and compares it with the model that was
 * meant. */
#ifndef RECAST_CONVERT_HF_VERIFY_H
#define RECAST_CONVERT_HF_VERIFY_H

#include "model/model.h"

/* Opens the directory and compares parameters and tensor table. ERR_CHECK names what differs. */
int hf_verify(const Model *meant, const char *directory, const Allocator *allocator, Error *err) MUST_CHECK;

#endif
