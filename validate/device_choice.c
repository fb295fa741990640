/* device_choice.c -- see device_choice.h. */
#include "validate/device_choice.h"

static bool runs_on_processor(const Model *model, RunnerOptions options) {
    Runner *r;
    options.device = DEVICE_CPU;
    if (runner_open(&r, model, options, NULL, NULL)) return false;
    runner_close(r);
    return true;
}

int device_choice_open(Runner **out, const Model *model, RunnerOptions options, const DeviceChoice *choice,
                       Error *err) {
    Error found = {0};
    options.device = choice->kind;
    int code = runner_open(out, model, options, NULL, &found);
    if (code == ERR_UNSUPPORTED && options.device == DEVICE_CUDA && runs_on_processor(model, options))
        code = ERR_DEVICE;
    if (code == ERR_MEMORY && options.device == DEVICE_CUDA)
        return error_set(err, code, "%s; `auto` would leave it to the processor", found.message);
    if (code) return error_set(err, code, "%s", found.message);
    if (choice->opened) choice->opened(choice->context, *out);
    return 0;
}
