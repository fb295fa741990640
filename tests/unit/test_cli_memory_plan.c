/* Several runners on one device: they fit together, or nothing is opened there. */
#include "cli/memory_plan.h"
#include <criterion/criterion.h>

static const Command sweep = {.name = "sweep"}, eval = {.name = "eval"};

/* Three runners of 100 bytes each on the device, with `room` bytes free. */
static MemoryPlan plan_of(uint64_t room) {
    return (MemoryPlan){
        .sum = {.mapped = 7, .read = 5, .kv = 60, .work = 30},
        .gpu = {.name = "GPU", .weights = 210, .kv = 60, .work = 30, .free_bytes = room, .host_work = 9},
        .n_runners = 3,
        .context = 64,
        .kv = KV_F32};
}

static double figure(const cJSON *o, const char *key) {
    const cJSON *item = cJSON_GetObjectItem(o, key);
    cr_assert_not_null(item, "%s", key);
    return item->valuedouble;
}

Test(cli_memory_plan, fits) {
    Cli cli = {.command = &sweep, .quiet = true};
    for (DeviceKind kind = DEVICE_AUTO; kind <= DEVICE_CUDA; kind++) {
        MemoryPlan plan = plan_of(300);
        DeviceKind device = kind;
        memory_plan_room(&plan, 11);
        cr_assert_eq(memory_plan_settle(&cli, &plan, &device, NULL), 0);
        cr_assert_eq(device, kind);
        cJSON *doc = cJSON_CreateObject();
        memory_plan_put(doc, &plan);
        const cJSON *host = cJSON_GetObjectItem(doc, "memory"), *gpu = cJSON_GetObjectItem(host, "device");
        cr_assert_eq(figure(host, "weights_mapped"), 7);
        cr_assert_eq(figure(host, "kv"), 0);
        cr_assert_eq(figure(host, "work"), 20);
        cr_assert_eq(figure(gpu, "weights"), 210);
        cr_assert_eq(figure(gpu, "kv"), 60);
        cr_assert_eq(figure(gpu, "work"), 30);
        cr_assert_eq(figure(gpu, "free"), 300);
        cJSON_Delete(doc);
    }
}

Test(cli_memory_plan, one_byte_short) {
    Cli cli = {.command = &sweep, .quiet = true};
    MemoryPlan plan = plan_of(299);
    DeviceKind device = DEVICE_AUTO;
    Error err = {0};
    memory_plan_room(&plan, 11);
    cr_assert_eq(memory_plan_settle(&cli, &plan, &device, &err), 0);
    cr_assert_eq(device, DEVICE_CPU);
    cr_assert_eq(strncmp(plan.note, "GPU: 3 settings need 300 bytes together and 299 are free: ", 57), 0,
                 "%s", plan.note);
    cJSON *doc = cJSON_CreateObject();
    memory_plan_put(doc, &plan);
    const cJSON *host = cJSON_GetObjectItem(doc, "memory");
    cr_assert_null(cJSON_GetObjectItem(host, "device"));
    cr_assert_eq(figure(host, "kv"), 60);
    cr_assert_eq(figure(host, "work"), 41);
    cJSON_Delete(doc);

    plan = plan_of(299);
    device = DEVICE_CUDA;
    cli.command = &eval;
    cr_assert_eq(memory_plan_settle(&cli, &plan, &device, &err), ERR_MEMORY);
    cr_assert_not_null(strstr(err.message, "3 models need 300 bytes"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "--kv f16"), "%s", err.message);
}

Test(cli_memory_plan, no_device) {
    Cli cli = {.command = &eval, .quiet = true};
    MemoryPlan plan = plan_of(0);
    plan.gpu = (DeviceMemory){.name = ""};
    DeviceKind device = DEVICE_AUTO;
    cr_assert_eq(memory_plan_settle(&cli, &plan, &device, NULL), 0);
    cr_assert_eq(device, DEVICE_CPU);
    cr_assert_str_empty(plan.note);
}
