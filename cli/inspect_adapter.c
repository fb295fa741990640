/* inspect_adapter.c -- see inspect_adapter.h. */
#include "cli/inspect_adapter.h"

#include "model/lora_outline.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool holds(const char *directory, const char *name) {
    char path[4096];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s", directory, name);
    return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0;
}

bool is_adapter(const char *path) {
    return holds(path, LORA_CONFIG_FILE) && !holds(path, "config.json");
}

static void print_line(const char *label, const char *text) {
    if (!text) return;
    printf("%-14s", label);
    cli_print_safe(text, strlen(text));
    printf("\n");
}

static void print_outline(const LoraOutline *o) {
    char size[32];
    printf("form          LoRA adapter of PEFT%s%s\n", o->dora ? ", DoRA" : "", o->rslora ? ", rsLoRA" : "");
    print_line("trained on", o->base);
    print_line("PEFT", o->peft_version);
    printf("rank          %u, alpha %g\n", o->rank, o->alpha);
    printf("tensors       %zu pairs and %zu others, %s\n", o->n_pairs, o->n_others,
           human_bytes(o->bytes, size));
    printf("%s sha256 %s\n", LORA_CONFIG_FILE, o->config_sha256);
    printf("%s sha256 %s\n", LORA_WEIGHTS_FILE, o->weights_sha256);
    printf("\n%zu targets\n", o->n_groups);
    for (size_t i = 0; i < o->n_groups; i++) {
        const LoraGroup *g = &o->groups[i];
        printf("  ");
        cli_print_safe(g->name, strlen(g->name));
        printf("  %zu pairs, rank %u, scale %g\n", g->n_pairs, g->rank, g->scale);
    }
}

static cJSON *outline_json(const LoraOutline *o) {
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddStringToObject(doc, "form", "lora");
    if (o->base) cJSON_AddStringToObject(doc, "base", o->base);
    if (o->peft_version) cJSON_AddStringToObject(doc, "peft_version", o->peft_version);
    cJSON_AddNumberToObject(doc, "rank", o->rank);
    cJSON_AddNumberToObject(doc, "alpha", o->alpha);
    cJSON_AddBoolToObject(doc, "rslora", o->rslora);
    cJSON_AddBoolToObject(doc, "dora", o->dora);
    cJSON_AddNumberToObject(doc, "pairs", (double)o->n_pairs);
    cJSON_AddNumberToObject(doc, "others", (double)o->n_others);
    cJSON_AddStringToObject(doc, "config_sha256", o->config_sha256);
    cJSON_AddStringToObject(doc, "weights_sha256", o->weights_sha256);
    cJSON *targets = cJSON_AddArrayToObject(doc, "targets");
    for (size_t i = 0; i < o->n_groups; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "modules", o->groups[i].name);
        cJSON_AddNumberToObject(item, "pairs", (double)o->groups[i].n_pairs);
        cJSON_AddNumberToObject(item, "rank", o->groups[i].rank);
        cJSON_AddNumberToObject(item, "scale", o->groups[i].scale);
        cJSON_AddItemToArray(targets, item);
    }
    return doc;
}

int inspect_adapter(Cli *cli, const char *path, Error *err) {
    LoraOutline o;
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    int code = lora_outline(&o, path, arena, NULL, err);
    if (!code && cli->json)
        code = cli_print_json(outline_json(&o), err);
    else if (!code)
        print_outline(&o);
    arena_close(arena);
    return code;
}
