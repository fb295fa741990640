/* device_option.c -- see device_option.h. */
#include "cli/device_option.h"
#include <stdio.h>
#include <string.h>

int device_option_parse(DeviceKind *out, const char *name, Error *err) {
    DeviceMemory m;
    if (!device_by_name(out, name ? name : "auto"))
        return error_set(err, ERR_USAGE, "--device takes auto, cpu or cuda, not \"%s\"", name);
    return *out == DEVICE_CUDA ? runner_device_memory(&m, NULL, (RunnerOptions){0}, NULL, err) : 0;
}

void device_line_opened(void *line, const Runner *r) {
    DeviceLine *l = line;
    const char *device = runner_device(r), *note = runner_device_note(r);
    bool gpu = strcmp(device, "cpu") != 0;
    char text[sizeof l->said];
    if (!gpu && l->plan) l->plan->gpu.name[0] = 0;
    if (l->cli->quiet || (!gpu && !*note)) return;
    snprintf(text, sizeof text, gpu ? "device: %s" : "device: cpu, because of %s", gpu ? device : note);
    if (!strcmp(text, l->said)) return;
    memcpy(l->said, text, sizeof text);
    cli_end_progress(l->cli);
    fprintf(stderr, "%s\n", text);
}
