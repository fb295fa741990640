/* cmd_edit.c -- change metadata of any GGUF, leave tensors alone. */
#include "cli/cli.h"
#include "convert/edit.h"
#include "convert/execute.h"
#include "model/gguf.h"
#include <stdio.h>
#include <string.h>

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
    const char *out = NULL;
    OptionList sets = {.count = 0}, unsets = {.count = 0};
    const OptionSpec specs[] = {
        {"--out", 'o', OPTION_STRING, "OUT.gguf", "the new file", &out},
        {"--set", 0, OPTION_LIST, "KEY=TYPE:VALUE",
         "int, float, bool, str or u8 .. f64; no TYPE for a key that exists", &sets},
        {"--unset", 0, OPTION_LIST, "KEY", "leave a key out", &unsets},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!out) return error_set(err, ERR_USAGE, "-o OUT.gguf is missing");
    if (!sets.count && !unsets.count)
        return error_set(err, ERR_USAGE, "nothing to change: give --set or --unset");
    Model *model = NULL;
    Arena *arena = NULL;
    Metadata *m = NULL;
    FileResult result;
    int code = gguf_open(&model, cli->args.items[0], NULL, err);
    if (!code) code = arena_open(&arena, NULL, err);
    if (!code) code = metadata_copy(&m, model->metadata, arena, err);
    if (!code) code = apply(m, &sets, &unsets, err);
    if (!code) code = write_edited(cli, model, m, out, &result, err);
    if (!code) code = print_result(cli, out, &result, err);
    arena_close(arena);
    model_close(model);
    return code;
}

const Command command_edit = {
    .name = "edit",
    .summary = "change metadata of a GGUF of any architecture, leave its tensors alone",
    .usage = "edit FILE.gguf -o OUT.gguf [--set KEY=TYPE:VALUE] [--unset KEY]",
    .examples = "  recast edit model.gguf -o new.gguf --set qwen3moe.expert_used_count=16\n"
                "  recast edit model.gguf -o new.gguf --set general.author=str:me --unset general.url\n",
    .run = cmd_edit,
};
