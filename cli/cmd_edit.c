/* cmd_edit.c -- change metadata of any GGUF, leave tensors alone. */
#include "cli/cli.h"
#include "convert/edit.h"
#include "convert/edit_shards.h"
#include "convert/execute.h"
#include "model/gguf.h"
#include "model/gguf_split.h"
#include <stdio.h>
#include <string.h>

typedef struct EditArgs {
    const char *out;
    OptionList sets, unsets;
    bool copy;
} EditArgs;

static int apply(Metadata *m, const OptionList *sets, const OptionList *unsets, Error *err) {
    for (size_t i = 0; i < sets->count; i++) TRY(edit_set(m, sets->items[i], err));
    for (size_t i = 0; i < unsets->count; i++) TRY(edit_unset(m, unsets->items[i], err));
    return edit_finish(m, err);
}

static int write_edited(Cli *cli, const Model *model, const Metadata *m, const char *out, FileResult *result,
                        Error *err) {
    GgufPlan *plan;
    TRY(gguf_plan_open(&plan, model, m, NULL, err));
    ExecuteOptions options = {.threads = cli->threads, .progress = &cli->progress};
    int code = gguf_execute(result, plan, out, options, err);
    gguf_plan_close(plan);
    return code;
}

/* A split model stays one if OUT is named as a shard; else it becomes a whole file. */
static bool keeps_shards(const Model *model, const char *out) {
    uint32_t number, count;
    return model->n_files > 1 && gguf_is_shard_path(out, &number, &count);
}

static int edit_shards(Cli *cli, const EditArgs *a, const Model *model, FileResult *result, Error *err) {
    Input *in;
    Model *first;
    Arena *arena = NULL;
    Metadata *m;
    ExecuteOptions options = {.threads = cli->threads, .progress = &cli->progress};
    TRY(input_open(&in, model->path, NULL, err));
    int code = gguf_open_shard(&first, in, NULL, err);
    if (code) {
        input_close(in);
        return code;
    }
    code = arena_open(&arena, NULL, err);
    if (!code) code = metadata_copy(&m, first->metadata, arena, err);
    if (!code) code = apply(m, &a->sets, &a->unsets, err);
    if (!code) code = edit_first_shard(result, model, first, m, a->out, a->copy, options, err);
    arena_close(arena);
    model_close(first);
    return code;
}

static int edit_whole(Cli *cli, const EditArgs *a, const Model *model, FileResult *result, Error *err) {
    Arena *arena;
    Metadata *m;
    TRY(arena_open(&arena, NULL, err));
    int code = metadata_copy(&m, model->metadata, arena, err);
    if (!code) code = apply(m, &a->sets, &a->unsets, err);
    if (!code) code = write_edited(cli, model, m, a->out, result, err);
    arena_close(arena);
    return code;
}

static int print_result(Cli *cli, const char *out, const FileResult *result, Error *err) {
    cli_end_progress(cli);
    if (cli->json) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddStringToObject(doc, "path", out);
        cJSON_AddNumberToObject(doc, "size", (double)result->size);
        cJSON_AddStringToObject(doc, "sha256", result->sha256);
        return cli_print_json(doc, err);
    }
    printf("%s  %s\n", result->sha256, out);
    return 0;
}

static int cmd_edit(Cli *cli, int argc, char **argv, Error *err) {
    EditArgs a = {.out = NULL};
    const OptionSpec specs[] = {
        {"--out", 'o', OPTION_STRING, "OUT.gguf", "the new file; of a split model, its new first shard",
         &a.out},
        {"--set", 0, OPTION_LIST, "KEY=TYPE:VALUE",
         "int, float, bool, str or u8 .. f64; no TYPE for a key that exists", &a.sets},
        {"--unset", 0, OPTION_LIST, "KEY", "leave a key out", &a.unsets},
        {"--copy", 0, OPTION_FLAG, NULL, "copy the other shards of a split model instead of linking them",
         &a.copy},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!a.out) return error_set(err, ERR_USAGE, "-o OUT.gguf is missing");
    if (!a.sets.count && !a.unsets.count)
        return error_set(err, ERR_USAGE, "nothing to change: give --set or --unset");
    Model *model;
    FileResult result;
    uint32_t number, count;
    TRY(gguf_open(&model, cli->args.items[0], NULL, err));
    bool shards = keeps_shards(model, a.out);
    int code = !shards && gguf_is_shard_path(a.out, &number, &count)
                   ? error_set(err, ERR_USAGE, "%s is the name of a shard, but the model is one file", a.out)
                   : 0;
    if (!code)
        code = shards ? edit_shards(cli, &a, model, &result, err) : edit_whole(cli, &a, model, &result, err);
    if (!code) code = print_result(cli, a.out, &result, err);
    if (!code && shards && !cli->json && !cli->quiet)
        printf("the other %zu shards are beside it, unchanged\n", model->n_files - 1);
    model_close(model);
    return code;
}

const Command command_edit = {
    .name = "edit",
    .summary = "change metadata of a GGUF of any architecture, leave its tensors alone",
    .details = "Of a split model, FILE is the first shard. If OUT is named as one too "
               "(NEW-00001-of-00003.gguf), only "
               "that is written, and the others are hard-linked beside it; else OUT becomes one whole file.",
    .usage = "edit FILE.gguf -o OUT.gguf [--set KEY=TYPE:VALUE] [--unset KEY]",
    .examples = "  recast edit model.gguf -o new.gguf --set qwen3moe.expert_used_count=16\n"
                "  recast edit model.gguf -o new.gguf --set general.author=str:me --unset general.url\n",
    .run = cmd_edit,
};
