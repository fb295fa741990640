/* memory_plan.c -- see memory_plan.h. */
#include "cli/memory_plan.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Are all matrices used where they are mapped? Then nothing is read but norms, as float32. */
static bool all_mapped(const Model *model, const RunnerMemory *m) {
    uint64_t norms = 0;
    for (size_t i = 0; i < model->n_tensors; i++)
        if (model->tensors[i].n_dims == 1) norms += tensor_elements(&model->tensors[i]) * sizeof(float);
    return m->read == norms;
}

/* What stands in the way of `auto` is a note, unless there is just no GPU. A model that the device doesn't
 * take is left to runner_open, which knows whether the processor would. */
static int add_device(MemoryPlan *plan, const Model *model, RunnerOptions options, bool shared, Error *err) {
    DeviceMemory m;
    Error why = {0};
    if (options.device == DEVICE_CPU || *plan->note || (plan->n_runners && !*plan->gpu.name)) return 0;
    int code = runner_device_memory(&m, model, options, NULL, &why);
    if (code && options.device == DEVICE_CUDA && code != ERR_UNSUPPORTED)
        return error_set(err, why.code, "%s", why.message);
    if (code) {
        if (options.device == DEVICE_AUTO && code != ERR_DEVICE)
            memcpy(plan->note, why.message, sizeof plan->note);
        plan->gpu.name[0] = 0;
        return 0;
    }
    memcpy(plan->gpu.name, m.name, sizeof m.name);
    plan->gpu.free_bytes = m.free_bytes;
    if (!shared) plan->gpu.weights += m.weights;
    plan->gpu.kv += m.kv;
    plan->gpu.work += m.work;
    plan->gpu.host_work += m.host_work;
    return 0;
}

int memory_plan_add(MemoryPlan *plan, const Model *model, RunnerOptions options, bool shared, Error *err) {
    RunnerMemory m;
    TRY(runner_memory(&m, model, options, NULL, err));
    if (!u64_add(&plan->sum.kv, plan->sum.kv, m.kv))
        return error_set(err, ERR_LIMIT, "KV caches too large for this machine's addresses");
    if (!shared) plan->sum.mapped += m.mapped;
    plan->sum.read += m.read;
    plan->sum.work += m.work;
    TRY(add_device(plan, model, options, shared && all_mapped(model, &m), err));
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

void memory_plan_room(MemoryPlan *plan, uint64_t bytes) {
    plan->sum.work += bytes;
    plan->gpu.host_work += bytes;
}

/* On the host: with a GPU the cache and the work space are there. */
static RunnerMemory host_part(const MemoryPlan *plan) {
    RunnerMemory m = plan->sum;
    if (!*plan->gpu.name) return m;
    m.kv = 0;
    m.work = plan->gpu.host_work;
    return m;
}

static uint64_t own_bytes(const RunnerMemory *m) {
    return m->read + m->kv + m->work;
}

static uint64_t device_bytes(const DeviceMemory *m) {
    return m->weights + m->kv + m->work;
}

/* What share of the context fits beside everything else. */
static uint64_t fitting(const MemoryPlan *plan, uint64_t machine, double kv_bytes) {
    uint64_t others = plan->sum.read + plan->sum.work;
    double fits =
        others < machine && kv_bytes > 0 ? (double)(machine - others) / kv_bytes * (double)plan->context : 0;
    return fits < (double)plan->context ? (uint64_t)fits : plan->context;
}

static void warn(const Cli *cli, const MemoryPlan *plan, uint64_t needed, uint64_t machine) {
    char needs[32], has[32];
    double kv = (double)plan->sum.kv, per_element = plan->kv == KV_F32 ? 4 : 2;
    fprintf(stderr, "recast %s: warning: this needs %s of memory of its own, and the machine has %s",
            cli->command->name, human_bytes(needed, needs), human_bytes(machine, has));
    if (!*plan->gpu.name) {
        fprintf(stderr, "; a context of up to %llu would fit",
                (unsigned long long)fitting(plan, machine, kv));
        if (plan->kv != KV_Q8_0 && plan->takes_q8)
            fprintf(stderr, ", of up to %llu with --kv q8_0",
                    (unsigned long long)fitting(plan, machine, kv * 34 / 32 / per_element));
    }
    fputc('\n', stderr);
}

static void say_kv(const MemoryPlan *plan, uint64_t bytes) {
    char kv[32];
    fprintf(stderr, "; KV %s (%u positions, %s", human_bytes(bytes, kv), plan->context,
            kv_type_name(plan->kv));
    if (plan->n_runners > 1) fprintf(stderr, ", %zu times", plan->n_runners);
    fputc(')', stderr);
}

static void say_device(const MemoryPlan *plan) {
    char weights[32], work[32], room[32];
    fprintf(stderr, "memory of %s: weights %s", plan->gpu.name, human_bytes(plan->gpu.weights, weights));
    say_kv(plan, plan->gpu.kv);
    fprintf(stderr, "; work space %s; %s free\n", human_bytes(plan->gpu.work, work),
            human_bytes(plan->gpu.free_bytes, room));
}

static void say_host(const MemoryPlan *plan, const RunnerMemory *m) {
    char mapped[32], read[32], work[32];
    bool gpu = *plan->gpu.name != 0;
    fprintf(stderr, gpu ? "memory of the host: weights %s mapped" : "memory: weights %s mapped",
            human_bytes(m->mapped, mapped));
    if (m->read) fprintf(stderr, ", %s read", human_bytes(m->read, read));
    if (!gpu) say_kv(plan, m->kv);
    fprintf(stderr, "; work space %s\n", human_bytes(m->work, work));
}

static void say(const Cli *cli, const MemoryPlan *plan) {
    uint64_t machine = machine_memory();
    RunnerMemory host = host_part(plan);
    bool gpu = *plan->gpu.name != 0;
    if (cli->quiet) return;
    if (*plan->note) fprintf(stderr, "device: cpu, because of %s\n", plan->note);
    if (cli->verbose || own_bytes(&host) > 1000000000 || (gpu && device_bytes(&plan->gpu) > 1000000000)) {
        if (gpu) say_device(plan);
        say_host(plan, &host);
    }
    if (machine && own_bytes(&host) > machine) warn(cli, plan, own_bytes(&host), machine);
}

/* One model alone fits: memory_plan_add has asked. */
static int refuse(const Cli *cli, const MemoryPlan *plan, Error *err) {
    const DeviceMemory *m = &plan->gpu;
    bool settings = !strcmp(cli->command->name, "sweep");
    return error_set(err, ERR_MEMORY,
                     "%s: %zu %s need %llu bytes together and %llu are free: weights %llu, KV caches of %u "
                     "positions in %s %llu, working memory %llu; %sshorter windows%s "
                     "would take less",
                     m->name, plan->n_runners, settings ? "settings" : "models",
                     (unsigned long long)device_bytes(m), (unsigned long long)m->free_bytes,
                     (unsigned long long)m->weights, plan->context, kv_type_name(plan->kv),
                     (unsigned long long)m->kv, (unsigned long long)m->work,
                     settings ? "fewer settings or " : "", plan->kv == KV_F32 ? " or --kv f16" : "");
}

int memory_plan_settle(const Cli *cli, MemoryPlan *plan, DeviceKind *device, Error *err) {
    Error why = {0};
    if (*plan->gpu.name && device_bytes(&plan->gpu) > plan->gpu.free_bytes) {
        refuse(cli, plan, &why);
        if (*device == DEVICE_CUDA) return error_set(err, why.code, "%s", why.message);
        memcpy(plan->note, why.message, sizeof plan->note);
        plan->gpu.name[0] = 0;
    }
    if (*device == DEVICE_AUTO && !*plan->gpu.name) *device = DEVICE_CPU;
    say(cli, plan);
    return 0;
}

void memory_plan_put(cJSON *document, const MemoryPlan *plan) {
    RunnerMemory host = host_part(plan);
    cJSON *o = cJSON_AddObjectToObject(document, "memory");
    cJSON_AddNumberToObject(o, "context", plan->context);
    cJSON_AddStringToObject(o, "kv_type", kv_type_name(plan->kv));
    cJSON_AddNumberToObject(o, "weights_mapped", (double)host.mapped);
    cJSON_AddNumberToObject(o, "weights_read", (double)host.read);
    cJSON_AddNumberToObject(o, "kv", (double)host.kv);
    cJSON_AddNumberToObject(o, "work", (double)host.work);
    if (!*plan->gpu.name) return;
    o = cJSON_AddObjectToObject(o, "device");
    cJSON_AddStringToObject(o, "name", plan->gpu.name);
    cJSON_AddNumberToObject(o, "weights", (double)plan->gpu.weights);
    cJSON_AddNumberToObject(o, "kv", (double)plan->gpu.kv);
    cJSON_AddNumberToObject(o, "work", (double)plan->gpu.work);
    cJSON_AddNumberToObject(o, "free", (double)plan->gpu.free_bytes);
}
