/* device_choice.h -- who computes what a validation runs. The bits are the same, so that nothing of it
 * reaches a report. */
#ifndef RECAST_VALIDATE_DEVICE_CHOICE_H
#define RECAST_VALIDATE_DEVICE_CHOICE_H

#include "runner/runner.h"

typedef struct DeviceChoice {
    DeviceKind kind;
    void (*opened)(void *context, const Runner *r); /* called with each runner that was opened; may be NULL */
    void *context;
} DeviceChoice;

/* runner_open on that device. What the processor would run and the device doesn't take is ERR_DEVICE: it says
 * nothing about the model. */
int device_choice_open(Runner **out, const Model *model, RunnerOptions options, const DeviceChoice *choice,
                       Error *err) MUST_CHECK;

#endif
