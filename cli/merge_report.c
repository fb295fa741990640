/* merge_report.c -- see merge_report.h. */
#include "cli/merge_report.h"

#include <stdio.h>

void merge_report_warn(const Lora *lora) {
    const LoraAdapterInfo *infos;
    size_t n = lora ? lora_adapters(lora, &infos) : 0;
    for (size_t i = 0; i < n; i++)
        if (infos[i].unread)
            fprintf(stderr, "note: adapter %s: " LORA_UNREAD_TEXT "\n", infos[i].name, infos[i].unread);
}

void merge_report_print(const Lora *lora) {
    const LoraAdapterInfo *infos;
    size_t n = lora_adapters(lora, &infos);
    LoraSummary all = lora_summary(lora);
    for (size_t i = 0; i < n; i++) {
        printf("adapter %s, scale %g: %zu pairs", infos[i].name, infos[i].scale, infos[i].n_pairs);
        if (infos[i].n_replaced) printf(" and %zu whole tensors", infos[i].n_replaced);
        printf(", all applied; %s %s\n", LORA_WEIGHTS_FILE, infos[i].weights_sha256);
    }
    printf("merged into %zu tensors: %llu of %llu values changed, by at most %.3g (%s), by %.3g on average\n",
           all.n_tensors, (unsigned long long)all.changed, (unsigned long long)all.elements, (double)all.max,
           all.max_name, all.mean);
}

static void add_adapter(cJSON *list, const LoraAdapterInfo *a) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", a->name);
    cJSON_AddStringToObject(item, "weights_sha256", a->weights_sha256);
    cJSON_AddStringToObject(item, "config_sha256", a->config_sha256);
    cJSON_AddNumberToObject(item, "scale", a->scale);
    cJSON_AddStringToObject(item, "rounding", lora_rounding_name(a->rounding));
    cJSON_AddStringToObject(item, "expert_b_layout", lora_layout_name(a->layout));
    cJSON_AddNumberToObject(item, "pairs", (double)a->n_pairs);
    cJSON_AddNumberToObject(item, "replaced", (double)a->n_replaced);
    cJSON_AddNumberToObject(item, "tensors", (double)a->n_tensors);
    cJSON_AddBoolToObject(item, "targets_checked", !a->unread);
    cJSON_AddItemToArray(list, item);
}

static void add_change(cJSON *list, const LoraChange *c) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", c->name);
    cJSON_AddNumberToObject(item, "elements", (double)c->elements);
    cJSON_AddNumberToObject(item, "changed", (double)c->changed);
    cJSON_AddNumberToObject(item, "largest", (double)c->max);
    cJSON_AddNumberToObject(item, "mean", c->mean);
    cJSON_AddItemToArray(list, item);
}

int merge_report_json(const Lora *lora, cJSON *doc, Error *err) {
    const LoraAdapterInfo *infos;
    LoraChange *changes;
    size_t n = lora_adapters(lora, &infos), n_changes;
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    int code = lora_changes(lora, &changes, &n_changes, arena, err);
    cJSON *merge = code ? NULL : cJSON_AddObjectToObject(doc, "lora");
    cJSON *adapters = cJSON_AddArrayToObject(merge, "adapters");
    for (size_t i = 0; merge && i < n; i++) add_adapter(adapters, &infos[i]);
    cJSON *tensors = cJSON_AddArrayToObject(merge, "tensors");
    for (size_t i = 0; merge && i < n_changes; i++) add_change(tensors, &changes[i]);
    arena_close(arena);
    return code;
}
