/* adapters.c -- see adapters.h. */
#include "cli/adapters.h"

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
