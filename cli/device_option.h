/* device_option.h -- `--device auto|cpu|cuda` of every command that runs a model, and the line on stderr that
 * says who computes. */
#ifndef RECAST_CLI_DEVICE_OPTION_H
#define RECAST_CLI_DEVICE_OPTION_H

#include "cli/memory_plan.h"

/* target: a const char *; left alone, it is `auto`. */
#define DEVICE_OPTION(target)                                                                              \
    {                                                                                                      \
        "--device", 0, OPTION_STRING, "NAME",                                                              \
            "auto (default: a GPU if there is one), cpu or cuda; changes no bit (docs/cuda.md)", &(target) \
    }

/* name NULL: auto. ERR_USAGE for an unknown one; ERR_DEVICE if it is `cuda` and there is none, which some
 * commands would find out only after hours of other work. */
int device_option_parse(DeviceKind *out, const char *name, Error *err) MUST_CHECK;

/* Who computes, said on stderr once. */
typedef struct DeviceLine {
    Cli *cli;
    MemoryPlan *plan; /* becomes the processor's if a runner turns out to be there; NULL: none */
    char said[sizeof((Error *)0)->message + 64];
} DeviceLine;
/* Of a runner that was just opened: "device: NAME" for a GPU, or why `auto` passed over one that is there;
 * nothing for the processor, nothing twice, nothing with -q. line: a DeviceLine. */
void device_line_opened(void *line, const Runner *r);

#endif
