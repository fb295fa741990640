/* cmd_build.c -- the main job. */
#include "cli/device_option.h"
#include "cli/dry_run.h"
#include "cli/pipeline.h"
#include <stdio.h>
#include <string.h>

static void print_report(const Report *report) {
    Buffer text;
    buffer_init(&text, NULL);
    report_text(report, &text);
    fputs(buffer_string(&text), stdout);
    buffer_free(&text);
}

static void print_sample(const BuildResult *r) {
    if (!r->sample_text) return;
    printf("\nit says, after \"");
    cli_print_safe(r->sample_prompt, strlen(r->sample_prompt));
    printf("\": ");
    cli_print_safe(r->sample_text, strlen(r->sample_text));
    putchar('\n');
}

static void print_result(const BuildResult *r) {
    char size[32];
    for (size_t i = 0; i < r->n_changes; i++)
        printf("changed  %s: %s -> %s\n", r->changes[i].key, r->changes[i].old_value,
               r->changes[i].new_value);
    if (r->merged) printf("merged   %s\n", r->merged);
    printf("weights  sha256 %s%s\n", r->weights_sha256[0] ? r->weights_sha256 : "(none)",
           r->merged ? " (before the merge)" : "");
    if (r->pinned)
        printf("pins     %zu verified\n", r->pinned);
    else
        printf("pins     none: recast pin RECIPE writes them, so that a later build proves it read the same "
               "files\n");
    printf("\n");
    print_report(r->report);
    print_sample(r);
    printf("\nwritten to %s:\n", r->directory);
    for (size_t i = 0; i < r->n_files; i++)
        printf("  %s  %9s  %s\n", r->files[i].sha256, human_bytes(r->files[i].size, size), r->files[i].path);
    if (r->archive) printf("packed into %s\n", r->archive);
}

static void say(const char *text) {
    fputs(text, stderr);
}

static DryRun dry_run_of(const BuildResult *r) {
    return (DryRun){.estimate = r->estimate, .how = r->proof_how, .path = r->directory, .extras = &r->extras};
}

static void print_plan(const BuildResult *r) {
    char size[32];
    DryRun dry = dry_run_of(r);
    for (size_t i = 0; i < r->n_changes; i++)
        printf("change   %s: %s -> %s\n", r->changes[i].key, r->changes[i].old_value,
               r->changes[i].new_value);
    dry_run_print(&dry);
    printf("\nwould be written to %s:\n", r->directory);
    for (size_t i = 0; i < r->n_files; i++)
        printf("  %9s  %s\n", human_bytes(r->files[i].size, size), r->files[i].path);
    printf("  about %s beside them: card, manifest, sums, recipe, provenance, bill of materials, hashes of "
           "tensors, signatures\n",
           human_bytes(r->extras.evidence, size));
    if (r->extras.archive) printf("packed: at most %s more\n", human_bytes(r->extras.archive, size));
}

static int print_result_json(const BuildResult *r, bool dry, Error *err) {
    cJSON *doc = cJSON_CreateObject(), *report = NULL;
    if (!doc) return error_memory(err, "the JSON output");
    cJSON_AddStringToObject(doc, "directory", r->directory);
    if (!dry) cJSON_AddStringToObject(doc, "weights_sha256", r->weights_sha256);
    if (!dry) cJSON_AddNumberToObject(doc, "pins_verified", (double)r->pinned);
    cJSON *changes = cJSON_AddArrayToObject(doc, "changes");
    for (size_t i = 0; i < r->n_changes; i++) {
        cJSON *change = cJSON_CreateObject();
        cJSON_AddStringToObject(change, "key", r->changes[i].key);
        cJSON_AddStringToObject(change, "old", r->changes[i].old_value);
        cJSON_AddStringToObject(change, "new", r->changes[i].new_value);
        cJSON_AddItemToArray(changes, change);
    }
    if (r->merged) cJSON_AddStringToObject(doc, "merged", r->merged);
    if (r->archive) cJSON_AddStringToObject(doc, "archive", r->archive);
    cJSON *files = cJSON_AddArrayToObject(doc, "files");
    for (size_t i = 0; i < r->n_files; i++) {
        cJSON *file = cJSON_CreateObject();
        cJSON_AddStringToObject(file, "path", r->files[i].path);
        cJSON_AddNumberToObject(file, "size", (double)r->files[i].size);
        if (!dry) cJSON_AddStringToObject(file, "sha256", r->files[i].sha256);
        cJSON_AddItemToArray(files, file);
    }
    if (dry) {
        DryRun plan = dry_run_of(r);
        dry_run_json(&plan, doc);
        return cli_print_json(doc, err);
    }
    int code = report_json(r->report, &report, err);
    if (code) {
        cJSON_Delete(doc);
        return code;
    }
    cJSON_AddItemToObject(doc, "validation", report);
    return cli_print_json(doc, err);
}

/* Which checks failed. That something did is the command's error already, so none is added here. */
static void print_failed(const Cli *cli, const Report *report) {
    cJSON *doc;
    if (!cli->json) {
        print_report(report);
        return;
    }
    int code = report_json(report, &doc, NULL);
    if (!code) code = cli_print_json(doc, NULL);
    (void)code;
}

static int cmd_build(Cli *cli, int argc, char **argv, Error *err) {
    char cache[4096];
    const char *device = NULL;
    DeviceLine line = {.cli = cli};
    OptionList sets = {.count = 0};
    float journal = 10;
    BuildOptions o = {
        .sets = sets.items, .cache_root = hub_cache_root(cache, sizeof cache), .progress = &cli->progress};
    const OptionSpec specs[] = {
        {"--out", 'o', OPTION_STRING, "DIR", "where the package goes (default: the recipe's name)",
         &o.directory},
        {"--set", 0, OPTION_LIST, "KEY=VALUE", "change a value of the recipe", &sets},
        {"--replace", 0, OPTION_FLAG, NULL,
         "DIR may exist: it is swapped for the new one at the end; so may the archive", &o.replace},
        {"--link", 0, OPTION_FLAG, NULL, "hard-link untouched files of the Hugging Face form", &o.link},
        {"--dry-run", 0, OPTION_FLAG, NULL, "print the plan: files, passes, memory and space; make nothing",
         &o.dry_run},
        {"--restart", 0, OPTION_FLAG, NULL, "begin anew, whatever a killed build has left", &o.restart},
        {"--journal", 0, OPTION_FLOAT, "SECONDS",
         "how often to note how far it is, for going on after a kill (10; 0: never)", &journal},
        {"--no-generate", 0, OPTION_FLAG, NULL, "don't generate: those checks are then \"not run\"",
         &o.no_generate},
        DEVICE_OPTION(device),
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    TRY(device_option_parse(&o.device.kind, device, err));
    o.device.opened = device_line_opened;
    o.device.context = &line;
    o.recipe_path = cli->args.items[0];
    o.n_sets = sets.count;
    o.threads = cli->threads;
    o.journal_seconds = (double)journal;
    o.say = cli->quiet ? NULL : say;
    BuildResult *result;
    int code = build_run(&result, &o, err);
    cli_end_progress(cli);
    if (!code) {
        if (cli->json)
            code = print_result_json(result, o.dry_run, err);
        else if (o.dry_run)
            print_plan(result);
        else if (!cli->quiet)
            print_result(result);
    } else if (result && result->report) {
        print_failed(cli, result->report);
    }
    build_result_close(result);
    return code;
}

const Command command_build = {
    .name = "build",
    .summary = "the main job: derive, convert, validate and package what a recipe describes",
    .usage = "build RECIPE [-o DIR] [options]",
    .details = "Nothing appears in DIR before every check has passed. The base is the recipe's base.path, or "
               "is looked\n"
               "for in the Hugging Face cache; if it is not there the message names the download command.",
    .examples = "  recast build recipes/tiny-extreme.json -o out/tiny\n"
                "  recast build recipes/qwen3-30b-a6b-16-extreme-128k.json\n"
                "  recast build recipe.json --set overrides.num_experts_per_tok=12 --set name=Mine-12\n",
    .run = cmd_build,
};
