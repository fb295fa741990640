/* cmd_init.c -- a recipe for a known release or a local checkpoint, and what to know about it. */
#include "cli/cli.h"
#include "core/json.h"
#include "core/output.h"
#include "recipes/init.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A line a release: what recipes and plans need. */
static void print_release(const Release *r) {
    const ModelParams *p = &r->params;
    char experts[40] = "dense", context[16] = "?";
    if (p->n_experts) snprintf(experts, sizeof experts, "%u of %u experts", p->n_experts_used, p->n_experts);
    if (p->context) snprintf(context, sizeof context, "%u", p->context);
    printf("%-36s %-18s %3u layers  context %7s%s\n", r->repo, experts, p->n_layers, context,
           r->hybrid        ? "  hybrid: no recipe"
           : r->native_long ? "  native"
           : r->claimed     ? "  YaRN to 131072"
                            : "");
}

static int list(const cJSON *table, bool json, Error *err) {
    if (json) {
        cJSON *copy = cJSON_Duplicate(json_get(table, "releases"), true);
        return copy ? cli_print_json(copy, err) : error_memory(err, "the list");
    }
    for (size_t i = 0; i < releases_count(table); i++) {
        Release r;
        release_at(table, i, &r);
        print_release(&r);
    }
    return 0;
}

static bool is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A local checkpoint: its own figures, and what is known if it is a known release. */
static int read_checkpoint(const cJSON *table, const char *path, Release *out, Buffer *notes, Error *err) {
    Model *m;
    TRY(model_open(&m, path, NULL, err));
    int code = m->form == FORM_HF ? 0
                                  : error_set(err, ERR_USAGE,
                                              "%s is no checkpoint directory; recast edit changes a "
                                              "GGUF's metadata",
                                              path);
    if (!code && release_of(table, &m->params, out)) {
        buffer_printf(notes, "%s has the shape, context and rope_theta of %s\n", path, out->repo);
    } else if (!code) {
        *out = (Release){.model_type = ""};
        out->trained = m->params.rope.original_context ? m->params.rope.original_context : m->params.context;
    }
    out->params = m->params;
    model_close(m);
    return code;
}

static int finish(Cli *cli, const Buffer *recipe, const Buffer *notes, const char *path, Error *err) {
    if (cli->json) {
        cJSON *doc = cJSON_CreateObject(), *text = NULL;
        int code = json_parse(&text, recipe->data, recipe->length, "recipe", err);
        cJSON_AddItemToObject(doc, "recipe", text);
        cJSON_AddStringToObject(doc, "notes", buffer_string(notes));
        if (!code && path) code = output_file(path, recipe->data, recipe->length, NULL, err);
        if (!code) return cli_print_json(doc, err);
        cJSON_Delete(doc);
        return code;
    }
    if (path) TRY(output_file(path, recipe->data, recipe->length, NULL, err));
    if (!path) fputs(buffer_string(recipe), stdout);
    if (!cli->quiet) fputs(buffer_string(notes), stderr);
    if (path && !cli->quiet) printf("%s: next, recast build %s\n", path, path);
    return 0;
}

static int init(Cli *cli, const cJSON *table, InitOptions *o, const char *path, Error *err) {
    const char *model = cli->args.items[0];
    Release base;
    Buffer recipe, notes;
    char buf[CLI_PATH_MAX];
    buffer_init(&recipe, NULL);
    buffer_init(&notes, NULL);
    int code;
    if (is_directory(model)) {
        code = read_checkpoint(table, model, &base, &notes, err);
        if (!code) code = cli_path_from(model, path, buf, &o->base_path, err); /* relative to the recipe */
    } else {
        code = release_find(table, model, &base, err);
    }
    if (!code) code = init_recipe(&recipe, &notes, &base, o, err);
    if (!code) code = finish(cli, &recipe, &notes, path, err);
    buffer_free(&recipe);
    buffer_free(&notes);
    return code;
}

static int cmd_init(Cli *cli, int argc, char **argv, Error *err) {
    const char *path = NULL;
    bool show = false, replace = false;
    float factor = 0;
    InitOptions o = {.experts = 0};
    const OptionSpec specs[] = {
        {"--experts", 0, OPTION_U32, "N", "experts a token", &o.experts},
        {"--context", 0, OPTION_U32, "N", "positions", &o.context},
        {"--rope", 0, OPTION_STRING, "TYPE",
         "yarn (default), linear or dynamic, if the context needs scaling", &o.rope},
        {"--factor", 0, OPTION_FLOAT, "X", "of the scaling (default: context / native context)", &factor},
        {"--name", 0, OPTION_STRING, "NAME", "what the variant is called", &o.name},
        {"--out", 'o', OPTION_STRING, "R.json", "where to write the recipe (default: standard output)",
         &path},
        {"--output", 0, OPTION_STRING, "R.json", NULL, &path}, /* what it was called before */
        {"--replace", 0, OPTION_FLAG, NULL, "R.json may exist: it is replaced", &replace},
        {"--list", 0, OPTION_FLAG, NULL, "the releases that are known", &show},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 0, 1, err));
    if (cli->done) return 0;
    if (!show && !cli->args.count)
        return error_set(err, ERR_USAGE, "missing argument; usage: recast %s", cli->command->usage);
    if (!replace) TRY(cli_check_new(path, "-o", err));
    o.factor = (double)factor;
    cJSON *table;
    TRY(releases_load(&table, err));
    int code = show ? list(table, cli->json, err) : init(cli, table, &o, path, err);
    cJSON_Delete(table);
    return code;
}

const Command command_init = {
    .name = "init",
    .summary = "write a recipe for a known Qwen release or a local checkpoint, and say what matters",
    .usage =
        "init MODEL_OR_DIR [--experts N] [--context N] [--rope TYPE] [--factor X] [--name NAME] [-o R.json]",
    .details = "MODEL is a release (Qwen/Qwen3-30B-A3B, or its last part); DIR a checkpoint. The recipe goes "
               "to standard "
               "output\nor to a file, what to know about it to standard error. --list names the releases.",
    .examples = "  recast init Qwen3-30B-A3B --experts 16 --context 131072 -o a6b-128k.json\n"
                "  recast init Qwen3-30B-A3B-Instruct-2507 --experts 16\n"
                "  recast init ./my-checkpoint --context 65536 --rope linear\n"
                "  recast init --list\n",
    .run = cmd_init,
};
