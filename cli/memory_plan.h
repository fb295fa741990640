/* memory_plan.h -- what a command's runners will take, said before it is allocated. */
#ifndef RECAST_CLI_MEMORY_PLAN_H
#define RECAST_CLI_MEMORY_PLAN_H

#include "cli/cli.h"
#include "runner/runner.h"

typedef struct MemoryPlan {
    RunnerMemory sum; /* of all runners, if the processor computes; weights that several share count once */
    DeviceMemory gpu; /* of all runners; its name is "" if the processor computes */
    char note[sizeof((Error *)0)->message]; /* why `auto` passes over a GPU that is there; "" if it doesn't */
    size_t n_runners;
    uint32_t context; /* of each */
    KvType kv;
    bool takes_q8; /* can the cache be in q8_0? */
} MemoryPlan;

/* Adds a runner of `model`, on options.device. shared: its mapped weights are those of a runner that was
 * added before, and will be on a GPU too (RunnerOptions.weights_of). Errors: those of runner_memory; with
 * DEVICE_CUDA ERR_DEVICE and ERR_MEMORY too. */
int memory_plan_add(MemoryPlan *plan, const Model *model, RunnerOptions options, bool shared,
                    Error *err) MUST_CHECK;
/* Adds memory that the command itself takes beside its runners. */
void memory_plan_room(MemoryPlan *plan, uint64_t bytes);
/* When all are added: do they fit on the GPU together? If not, `auto` becomes `cpu` in *device, and `cuda` is
 * ERR_MEMORY. Then says the plan on stderr, with -v or if more than 1 GB will be allocated (never with -q);
 * and warns if that is more than the machine has, with what would fit. */
int memory_plan_settle(const Cli *cli, MemoryPlan *plan, DeviceKind *device, Error *err) MUST_CHECK;
/* "memory": {...} of --json; with a GPU its part is "device" in that. */
void memory_plan_put(cJSON *document, const MemoryPlan *plan);
/* Bytes of memory that this process can have at most: the machine's, or its control group's limit. 0:
 * unknown. */
uint64_t machine_memory(void);

#endif
