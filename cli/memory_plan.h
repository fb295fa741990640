/* memory_plan.h -- what a command's runners will take, said before it is allocated. */
#ifndef RECAST_CLI_MEMORY_PLAN_H
#define RECAST_CLI_MEMORY_PLAN_H

#include "cli/cli.h"
#include "runner/runner.h"

typedef struct MemoryPlan {
    RunnerMemory sum; /* of all runners; weights that several of them share are counted once */
    size_t n_runners;
    uint32_t context; /* of each */
    KvType kv;
    bool takes_q8; /* can the cache be in q8_0? */
} MemoryPlan;

/* Adds a runner of `model`. shared: its mapped weights are those of a runner that was added before. */
int memory_plan_add(MemoryPlan *plan, const Model *model, RunnerOptions options, bool shared,
                    Error *err) MUST_CHECK;
/* One line on stderr, with -v or if more than 1 GB will be allocated (never with -q); and a warning if that
 * is more than the machine has, with what would fit. */
void memory_plan_say(const Cli *cli, const MemoryPlan *plan);
/* "memory": {...} of --json. */
void memory_plan_put(cJSON *document, const MemoryPlan *plan);
/* Bytes of memory that this process can have at most: the machine's, or its control group's limit. 0:
 * unknown. */
uint64_t machine_memory(void);

#endif
