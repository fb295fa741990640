/* subject.c -- opening what users name: a recipe, a checkpoint directory or a GGUF. */
#include "cli/cli.h"
#include "convert/in_place.h"
#include "model/model.h"
#include <stdio.h>
#include <string.h>

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

static int open_recipe(Subject *s, const char *path, const OptionList *sets, uint32_t output, Error *err) {
    char buf[4096];
    const char *directory;
    TRY(recipe_load(&s->recipe, path, sets ? sets->items : NULL, sets ? sets->count : 0, NULL, err));
    TRY(recipe_locate(s->recipe, hub_cache_root(buf, sizeof buf), &directory, &s->commit, err));
    TRY(model_open(&s->source, directory, NULL, err));
    if (output > s->recipe->n_outputs)
        return error_set(err, ERR_USAGE, "--output %u: %s has %zu outputs", output, path,
                         s->recipe->n_outputs);
    if (output)
        TRY(recipe_stack_open(&s->stack, s->recipe, output - 1, s->source, NULL, err));
    else
        TRY(recipe_override_open(&s->stack, s->recipe, s->source, NULL, err));
    s->model = s->stack.top;
    return 0;
}

int subject_open(Subject *out, const char *path, const OptionList *sets, uint32_t output, Error *err) {
    memset(out, 0, sizeof *out);
    int code;
    if (ends_with(path, ".json")) {
        code = open_recipe(out, path, sets, output, err);
    } else if ((sets && sets->count) || output) {
        code = error_set(err, ERR_USAGE, "--set and --output are for recipes; %s is none", path);
    } else {
        code = model_open(&out->source, path, NULL, err);
        out->model = out->source;
    }
    if (code) subject_close(out);
    return code;
}

void subject_close(Subject *s) {
    recipe_stack_close(&s->stack);
    model_close(s->source);
    recipe_close(s->recipe);
    memset(s, 0, sizeof *s);
}

void warn_interrupted_edit(const Cli *cli, const char *path) {
    bool interrupted;
    if (cli->quiet || in_place_interrupted(&interrupted, path, NULL) || !interrupted) return;
    fprintf(stderr,
            "recast %s: an edit of %s was cut short, so this may be neither what it was nor what it should "
            "become; recast edit --in-place %s puts it back\n",
            cli->command->name, path, path);
}
