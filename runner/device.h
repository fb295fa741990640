/* device.h -- a GPU that does the forward pass, behind a shared object that is opened at run time.
 *
 * The program links no CUDA: recast_cuda.so is looked for beside the executable and in ../lib/recast, by
 * absolute path, and must have the ABI number of cuda/cuda_runner.h. Bits are those of ref/ (docs/cuda.md).
 * The embedding and the RoPE table stay here; weights are copied to the device when it is opened. */
#ifndef RECAST_RUNNER_DEVICE_H
#define RECAST_RUNNER_DEVICE_H

#include "runner/ref/forward.h"

typedef struct Device Device;

/* Loads weights onto the first device and makes room for options.context positions (not 0). params, weights
 * and rope are borrowed until it is closed. other: one whose weights on the device it uses as well, if they
 * are the same bytes of the same file; may be NULL and may be closed first. Errors: ERR_DEVICE (no library,
 * no driver, no device), ERR_MEMORY (what is needed, what is free, what would fit), ERR_UNSUPPORTED,
 * ERR_INTERRUPTED. */
int device_open(Device **out, const ModelParams *params, const Weights *weights, const RopeTable *rope,
                RunnerOptions options, const Device *other, const Allocator *allocator,
                Error *err) MUST_CHECK;
void device_close(Device *d); /* NULL-safe */
/* "NVIDIA H100 80GB HBM3 (cuda)" */
const char *device_name(const Device *d);

/* As ref_forward, ref_states and ref_head, with their messages; ERR_DEVICE if the device fails. */
int device_forward(Device *d, const uint32_t *tokens, size_t count, uint32_t first, float *logits,
                   Error *err) MUST_CHECK;
/* sample_greedy of the last device_forward's logits, which the device has found. */
uint32_t device_best(const Device *d, float *margin);
int device_states(Device *d, const uint32_t *tokens, size_t count, uint32_t first, float *states,
                  Error *err) MUST_CHECK;
/* From now on, device_states adds every token and layer to *share, which is borrowed. */
void device_note_route(Device *d, RouteShare *share);
int device_head(Device *d, const float *states, size_t count, float *logits, uint32_t position,
                Error *err) MUST_CHECK;

/* See runner_device_memory. model: FORM_GGUF, checked; or NULL. options.context is not 0. */
int device_memory(DeviceMemory *out, const Model *model, RunnerOptions options, const Allocator *allocator,
                  Error *err) MUST_CHECK;

#endif
