/* memory_plan.c -- see memory_plan.h. */
#include "cli/memory_plan.h"
#include <stdio.h>
#include <unistd.h>

int memory_plan_add(MemoryPlan *plan, const Model *model, RunnerOptions options, bool shared, Error *err) {
    RunnerMemory m;
    TRY(runner_memory(&m, model, options, NULL, err));
    if (!u64_add(&plan->sum.kv, plan->sum.kv, m.kv))
        return error_set(err, ERR_LIMIT, "KV caches too large for this machine's addresses");
    if (!shared) plan->sum.mapped += m.mapped;
    plan->sum.read += m.read;
    plan->sum.work += m.work;
    plan->n_runners++;
    plan->context = options.context ? options.context : model->params.context;
    plan->kv = options.kv;
    plan->takes_q8 = model->params.head_dim % 32 == 0;
    return 0;
}

uint64_t machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
    unsigned long long limit;
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "re");
    if (!f) return bytes;
    if (fscanf(f, "%llu", &limit) == 1 && (!bytes || limit < bytes)) bytes = limit;
    fclose(f);
    return bytes;
}

static uint64_t own_bytes(const MemoryPlan *plan) {
    return plan->sum.read + plan->sum.kv + plan->sum.work;
}

/* What share of the context fits beside everything else. */
static uint64_t fitting(const MemoryPlan *plan, uint64_t machine, double kv_bytes) {
    uint64_t others = plan->sum.read + plan->sum.work;
    double fits =
        others < machine && kv_bytes > 0 ? (double)(machine - others) / kv_bytes * (double)plan->context : 0;
    return fits < (double)plan->context ? (uint64_t)fits : plan->context;
}

static void warn(const Cli *cli, const MemoryPlan *plan, uint64_t machine) {
    char needs[32], has[32];
    double kv = (double)plan->sum.kv, per_element = plan->kv == KV_F32 ? 4 : 2;
    fprintf(stderr, "recast %s: warning: this needs %s of memory of its own, and the machine has %s",
            cli->command->name, human_bytes(own_bytes(plan), needs), human_bytes(machine, has));
    fprintf(stderr, "; a context of up to %llu would fit", (unsigned long long)fitting(plan, machine, kv));
    if (plan->kv != KV_Q8_0 && plan->takes_q8)
        fprintf(stderr, ", of up to %llu with --kv q8_0",
                (unsigned long long)fitting(plan, machine, kv * 34 / 32 / per_element));
    fputc('\n', stderr);
}

void memory_plan_say(const Cli *cli, const MemoryPlan *plan) {
    char mapped[32], read[32], kv[32], work[32];
    uint64_t machine = machine_memory();
    if (cli->quiet) return;
    if (cli->verbose || own_bytes(plan) > 1000000000) {
        fprintf(stderr, "memory: weights %s mapped", human_bytes(plan->sum.mapped, mapped));
        if (plan->sum.read) fprintf(stderr, ", %s read", human_bytes(plan->sum.read, read));
        fprintf(stderr, "; KV %s (%u positions, %s", human_bytes(plan->sum.kv, kv), plan->context,
                kv_type_name(plan->kv));
        if (plan->n_runners > 1) fprintf(stderr, ", %zu times", plan->n_runners);
        fprintf(stderr, "); work space %s\n", human_bytes(plan->sum.work, work));
    }
    if (machine && own_bytes(plan) > machine) warn(cli, plan, machine);
}

void memory_plan_put(cJSON *document, const MemoryPlan *plan) {
    cJSON *o = cJSON_AddObjectToObject(document, "memory");
    cJSON_AddNumberToObject(o, "context", plan->context);
    cJSON_AddStringToObject(o, "kv_type", kv_type_name(plan->kv));
    cJSON_AddNumberToObject(o, "weights_mapped", (double)plan->sum.mapped);
    cJSON_AddNumberToObject(o, "weights_read", (double)plan->sum.read);
    cJSON_AddNumberToObject(o, "kv", (double)plan->sum.kv);
    cJSON_AddNumberToObject(o, "work", (double)plan->sum.work);
}
