/* inspect_adapter.c -- see inspect_adapter.h. */
#include "cli/inspect_adapter.h"

#include "convert/provenance.h"
#include "model/lora_outline.h"
#include <stdio.h>
#include <stdlib.h>
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

/* ---- a GGUF ---- */

/* Of a GGUF that is an adapter, as llama.cpp keeps it. */
typedef struct AdapterGguf {
    const char *type; /* "lora"; NULL: it is no adapter */
    bool has_alpha;
    double alpha;
    size_t n_pairs;
    uint64_t least, most; /* rank */
} AdapterGguf;

static bool ends_in(const char *name, const char *end) {
    size_t n = strlen(name), e = strlen(end);
    return n >= e && !strcmp(name + n - e, end);
}

static AdapterGguf read_adapter_gguf(const Model *m) {
    AdapterGguf a = {.type = NULL};
    const char *general = m->metadata ? metadata_string(m->metadata, "general.type") : NULL;
    if (!general || strcmp(general, "adapter")) return a;
    a.type = metadata_string(m->metadata, "adapter.type");
    if (!a.type) a.type = "of no type";
    const GgufValue *alpha = metadata_get(m->metadata, "adapter.lora.alpha");
    a.has_alpha = alpha && alpha->type == GGUF_F32;
    if (a.has_alpha) a.alpha = (double)alpha->f32;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (!ends_in(t->name, ".lora_b")) continue;
        uint64_t rank = t->dims[0]; /* [out, rank] in torch's order */
        if (!a.n_pairs++ || rank < a.least) a.least = rank;
        if (rank > a.most) a.most = rank;
    }
    return a;
}

static void print_adapter_gguf(const AdapterGguf *a) {
    printf("adapter       ");
    cli_print_safe(a->type, strlen(a->type));
    if (a->has_alpha) printf(", alpha %.9g", a->alpha);
    printf("; %zu pairs", a->n_pairs);
    if (a->n_pairs) printf(" of rank %llu", (unsigned long long)a->least);
    if (a->most != a->least) printf(" to %llu", (unsigned long long)a->most);
    printf("; it is kept beside a model: recast run MODEL --lora FILE\n");
}

int inspect_adapters_print(const Model *m, Error *err) {
    ProvenanceRead p = {0};
    AdapterGguf a = read_adapter_gguf(m);
    if (a.type) print_adapter_gguf(&a);
    if (m->metadata) TRY(provenance_read(&p, m->metadata, err));
    for (size_t i = 0; i < p.n_adapters; i++) {
        printf(a.type ? "made from     adapter, sha256 " : "merged        adapter, sha256 ");
        cli_print_safe(p.adapters[i].data, p.adapters[i].length);
        if (p.scales) printf(", scale ");
        if (p.scales) cli_print_safe(p.scales[i].data, p.scales[i].length);
        printf("\n");
    }
    if (p.n_adapters && !a.type) printf("merged        %u pairs into %u tensors\n", p.applied, p.merged);
    return 0;
}

static void add_adapter_gguf(cJSON *doc, const AdapterGguf *a) {
    cJSON *o = cJSON_AddObjectToObject(doc, "adapter");
    cJSON_AddStringToObject(o, "type", a->type);
    if (a->has_alpha) cJSON_AddNumberToObject(o, "alpha", a->alpha);
    cJSON_AddNumberToObject(o, "pairs", (double)a->n_pairs);
    cJSON_AddNumberToObject(o, "least_rank", (double)a->least);
    cJSON_AddNumberToObject(o, "most_rank", (double)a->most);
}

int inspect_adapters_json(const Model *m, cJSON *doc, Error *err) {
    ProvenanceRead p = {0};
    AdapterGguf a = read_adapter_gguf(m);
    if (a.type) add_adapter_gguf(doc, &a);
    if (m->metadata) TRY(provenance_read(&p, m->metadata, err));
    if (!p.n_adapters) return 0;
    cJSON *o = cJSON_AddObjectToObject(doc, "lora"), *list = cJSON_AddArrayToObject(o, "adapters");
    for (size_t i = 0; i < p.n_adapters; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "weights_sha256", p.adapters[i].data);
        if (p.scales) cJSON_AddNumberToObject(item, "scale", strtod(p.scales[i].data, NULL));
        cJSON_AddItemToArray(list, item);
    }
    cJSON_AddNumberToObject(o, "pairs", p.applied);
    cJSON_AddNumberToObject(o, "tensors", p.merged);
    cJSON_AddBoolToObject(o, "merged", !a.type);
    return 0;
}
