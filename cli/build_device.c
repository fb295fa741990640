/* build_device.c -- see build_device.h. */
#include "cli/build_device.h"
#include "model/views.h"
#include "runner/runner.h"
#include "validate/quality.h"
#include <inttypes.h>

static int ask(DeviceMemory *out, const Model *m, Error *err) {
    uint32_t context = m->params.context < QUALITY_WINDOW ? m->params.context : QUALITY_WINDOW;
    RunnerOptions options = {.context = context, .kv = KV_F32, .device = DEVICE_CUDA};
    Error found = {0};
    int code = runner_device_memory(out, m, options, NULL, &found);
    if (code == ERR_MEMORY)
        return error_set(err, code, "%s; `auto` would leave it to the processor", found.message);
    return code ? error_set(err, code, "%s", found.message) : 0;
}

static uint64_t needed(const DeviceMemory *m) {
    return m->weights + m->kv + m->work;
}

int build_device_check(const Recipe *recipe, const Model *derived, const RecipeStack *stacks, Error *err) {
    DeviceMemory source, own;
    Error found;
    TRY(ask(&source, derived, err));
    for (size_t i = 0; i < recipe->n_outputs; i++) {
        if (!stacks[i].retype || stacks[i].adapter || retype_is_lossless(stacks[i].top)) continue;
        int code = ask(&own, stacks[i].top, &found);
        if (code == ERR_UNSUPPORTED) continue; /* a type that is never run: the report will say so */
        if (code) return error_set(err, code, "%s", found.message);
        if (needed(&source) + needed(&own) <= own.free_bytes) continue;
        return error_set(
            err, ERR_MEMORY,
            "%s: to measure what %s loses, both it and the source must be there: %" PRIu64 " and %" PRIu64
            " bytes, and %" PRIu64 " are free; `auto` would leave one to the processor",
            own.name, recipe_output_name(recipe, i), needed(&own), needed(&source), own.free_bytes);
    }
    return 0;
}
