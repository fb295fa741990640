/* What a model takes on a device is said from its tensors' names alone; it must be what opening it there
 * finds. The device is recast_cuda_host.so, which runs the kernels on the processor. */
#include "model/checkpoint.h"
#include "model/views.h"
#include "retype_fixture.h"
#include "runner/runner.h"
#include "tests/unit/fixture.h"
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* Beside the folder of this test, as the Makefile puts it. */
static const char *library(void) {
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    cr_assert(n > 0);
    for (int i = 0; i < 2; i++) *strrchr(path, '/') = 0;
    strcat(path, "/recast_cuda_host.so");
    return path;
}

static Model *open_tiny(void) {
    Model *m;
    Error err = {0};
    cr_assert_eq(checkpoint_open(&m, FIXTURE_TINY, NULL, &err), 0, "%s", err.message);
    return m;
}

/* One that is too large is refused in the same words before and when it is opened: each figure is in them. */
static void same_refusal(const Model *m, RunnerOptions options) {
    DeviceMemory said;
    Runner *r;
    Error before = {0}, then = {0};
    options.context = 60000000;
    options.device = DEVICE_CUDA;
    options.device_library = library();
    cr_assert_eq(runner_device_memory(&said, m, options, NULL, &before), ERR_MEMORY);
    cr_assert_eq(runner_open(&r, m, options, NULL, &then), ERR_MEMORY);
    cr_assert_str_eq(before.message, then.message);
}

Test(runner_device_memory, as_opening_finds) {
    Error err = {0};
    Model *m = open_tiny(), *names, *retyped;
    cr_assert_eq(gguf_names_open(&names, m, &(GgufNamesOptions){0}, NULL, &err), 0);
    same_refusal(m, (RunnerOptions){.kv = KV_F32});
    same_refusal(names, (RunnerOptions){.kv = KV_F16});
    cr_assert_eq(retype_as(&retyped, names, DT_Q8_0, NULL, &err), 0);
    same_refusal(retyped, (RunnerOptions){.kv = KV_F16});
    same_refusal(retyped, (RunnerOptions){.kv = KV_F16, .activations = ACTIVATIONS_F32});
    model_close(retyped);
    model_close(names);
    model_close(m);
}

Test(runner_device_memory, figures) {
    Error err = {0};
    Model *m = open_tiny();
    DeviceMemory native, longer, none;
    RunnerOptions options = {.kv = KV_F32, .device_library = library()};
    cr_assert_eq(runner_device_memory(&native, m, options, NULL, &err), 0, "%s", err.message);
    options.context = 2 * m->params.context;
    cr_assert_eq(runner_device_memory(&longer, m, options, NULL, &err), 0, "%s", err.message);
    cr_assert_str_eq(native.name, "host fibers (cuda)");
    cr_assert_eq(native.weights, longer.weights);
    cr_assert_eq(2 * native.kv, longer.kv); /* context 0 is the model's own */
    cr_assert(native.work > 0 && native.host_work > 0 && native.free_bytes > native.weights);
    cr_assert_eq(runner_device_memory(&none, NULL, options, NULL, &err), 0, "%s", err.message);
    cr_assert_str_eq(none.name, native.name);
    cr_assert(none.free_bytes == native.free_bytes && none.weights == 0 && none.kv == 0);
    options.device_library = "/nowhere/recast_cuda.so";
    cr_assert_eq(runner_device_memory(&none, m, options, NULL, &err), ERR_DEVICE);
    cr_assert_eq(runner_device_memory(&none, NULL, options, NULL, &err), ERR_DEVICE);
    model_close(m);
}
