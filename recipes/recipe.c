/* recipe.c -- opening and closing a recipe: read, parse, --set, check. What a recipe may say is
 * recipe_parse.c's matter. */
#include "recipes/recipe_private.h"
#include <string.h>

enum { RECIPE_LIMIT = 1 << 20 }; /* bytes; the largest shipped one has under 1,500 */

/* What stands before the last slash: "." for a plain name. */
static char *directory_of(const char *path, Arena *arena) {
    const char *slash = strrchr(path, '/');
    if (!slash) return arena_string(arena, ".");
    return arena_copy(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

static int read_recipe(Recipe *r, const char *const *sets, size_t n_sets, Error *err) {
    char *text;
    size_t length;
    TRY(input_read_file(&text, &length, r->path, RECIPE_LIMIT, r->arena, err));
    r->text = text;
    r->text_length = length;
    TRY(json_parse(&r->json, text, length, r->path, err));
    if (!cJSON_IsObject(r->json))
        return error_set(err, ERR_RECIPE, "%s: a recipe is a JSON object, this is something else", r->path);
    for (size_t i = 0; i < n_sets; i++) TRY(recipe_apply_set(r->json, sets[i], err));
    r->edited = n_sets > 0;
    return error_wrap(err, recipe_parse(r, err), "%s", r->path);
}

int recipe_load(Recipe **out, const char *path, const char *const *sets, size_t n_sets,
                const Allocator *allocator, Error *err) {
    *out = NULL;
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Recipe *r = arena_alloc(arena, 1, sizeof *r);
    if (r) {
        r->arena = arena;
        r->path = arena_string(arena, path);
        r->directory = directory_of(path, arena);
    }
    int code = r && r->path && r->directory ? read_recipe(r, sets, n_sets, err) : error_memory(err, path);
    if (code) {
        if (r)
            recipe_close(r);
        else
            arena_close(arena);
        return code;
    }
    *out = r;
    return 0;
}

void recipe_close(Recipe *r) {
    if (!r) return;
    for (size_t i = 0; i < r->n_outputs; i++) output_types_close(&r->outputs[i].types);
    cJSON_Delete(r->json);
    arena_close(r->arena);
}

const char *recipe_output_name(const Recipe *r, size_t output) {
    return r->outputs[output].file_name;
}
