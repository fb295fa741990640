/* adapters.c -- see adapters.h. */
#include "cli/adapters.h"

#include "cli/memory_plan.h"
#include "cli/merge_report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ADAPTERS = 64 };

/* "dir:0.5": the number goes to spec->scale, what stands before it stays. */
static int parse(LoraSpec *spec, const char *word, Arena *arena, Error *err) {
    const char *colon = strrchr(word, ':');
    char *end = NULL;
    *spec = (LoraSpec){.path = word, .scale = 1};
    if (!colon || colon == word) return 0;
    double scale = strtod(colon + 1, &end);
    if (end == colon + 1 || *end) return 0; /* a colon in the path */
    spec->path = arena_copy(arena, word, (size_t)(colon - word));
    spec->scale = scale;
    return spec->path ? 0 : error_memory(err, "adapters");
}

int adapters_open(Model **out, const Model *base, const OptionList *list, Error *err) {
    LoraSpec specs[MOST_ADAPTERS];
    Arena *arena;
    *out = NULL;
    if (!list->count) return 0;
    if (list->count > MOST_ADAPTERS)
        return error_set(err, ERR_USAGE, "--lora: more than %d adapters", MOST_ADAPTERS);
    TRY(arena_open(&arena, NULL, err));
    int code = 0;
    for (size_t i = 0; !code && i < list->count; i++) code = parse(&specs[i], list->items[i], arena, err);
    if (!code) code = lora_beside_open(out, base, specs, list->count, NULL, err);
    arena_close(arena);
    return code;
}

/* The runner reads what is computed once, when it opens the model. */
int adapters_ready(const Cli *cli, const Model *model, Error *err) {
    uint64_t bytes = 0, machine = machine_memory();
    size_t n = 0;
    char needed[32], has[32];
    for (size_t i = 0; i < model->n_tensors; i++) {
        if (!model->tensors[i].n_transforms) continue;
        bytes += tensor_bytes(&model->tensors[i]);
        n++;
    }
    if (!cli->quiet) merge_report_warn(model->lora);
    if (machine && bytes > machine)
        return error_set(
            err, ERR_MEMORY,
            "the %zu tensors that the adapters change take %s of memory once they are merged, and "
            "this machine has %s: merge them into a file instead, which takes a few hundred MB (a "
            "recipe with \"lora\", then recast build R.json, or recast convert R.json -o "
            "MERGED.gguf), and run that",
            n, human_bytes(bytes, needed), human_bytes(machine, has));
    if (!cli->quiet && (cli->verbose || bytes > 1000000000))
        fprintf(stderr, "adapters: %zu tensors are merged now and kept in memory, %s\n", n,
                human_bytes(bytes, needed));
    return 0;
}
