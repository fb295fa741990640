/* cmd_validate.c -- all checks that apply to an artifact or a package. */
#include "cli/device_option.h"
#include "cli/trust.h"
#include "cli/unpacked.h"
#include "core/json.h"
#include "core/output.h"
#include "validate/validate.h"
#include <stdio.h>
#include <string.h>

static int write_json(const Report *report, Buffer *text, Error *err) {
    cJSON *doc;
    TRY(report_json(report, &doc, err));
    json_write_pretty(text, doc);
    cJSON_Delete(doc);
    return 0;
}

typedef enum ReportForm { REPORT_TEXT, REPORT_JSON, REPORT_JUNIT } ReportForm;

static bool ends_in(const char *path, const char *end) {
    size_t n = strlen(path), m = strlen(end);
    return n > m && !strcmp(path + n - m, end);
}

/* To the file at path, or to stdout if that is NULL. */
static int write_report(const Report *report, ReportForm form, const char *path, Error *err) {
    Buffer text;
    buffer_init(&text, NULL);
    int code = 0;
    if (form == REPORT_JUNIT)
        report_junit(report, &text);
    else if (form == REPORT_JSON)
        code = write_json(report, &text, err);
    else
        report_text(report, &text);
    if (!code) code = buffer_ok(&text, "the report", err);
    if (!code && path) code = output_file(path, buffer_string(&text), text.length, NULL, err);
    if (!code && !path) fputs(buffer_string(&text), stdout);
    buffer_free(&text);
    return code;
}

/* Where there is a file, stdout has the report too: a log must show what failed. Not with -q. */
static int print_report(const Cli *cli, const Report *report, const char *path, Error *err) {
    ReportForm form = cli->json ? REPORT_JSON : REPORT_TEXT;
    if (!path) return write_report(report, form, NULL, err);
    TRY(write_report(report,
                     ends_in(path, ".xml")    ? REPORT_JUNIT
                     : ends_in(path, ".json") ? REPORT_JSON
                                              : form,
                     path, err));
    return cli->quiet ? 0 : write_report(report, form, NULL, err);
}

static int validate(Cli *cli, const char *path, ValidateOptions *options, const char *require,
                    const char *report_path, Error *err) {
    Report *report;
    TRY(validate_path(&report, path, options, err));
    int code = require ? validate_require(report, require, err) : 0;
    if (!code) code = report_ok(report, err);
    cli_end_progress(cli);
    if (!code) code = print_report(cli, report, report_path, err);
    if (!code && report_count(report, CHECK_FAIL)) cli->exit_status = error_exit_status(ERR_CHECK);
    report_close(report);
    return code;
}

static int cmd_validate(Cli *cli, int argc, char **argv, Error *err) {
    const char *source_path = NULL, *recipe_path = NULL, *require = NULL, *report_path = NULL, *device = NULL;
    OptionList sets = {.count = 0}, adapters = {.count = 0};
    DeviceLine line = {.cli = cli};
    DeviceChoice choice = {.opened = device_line_opened, .context = &line};
    bool replace = false;
    Trust trust = {0};
    Unpacked unpacked = {0};
    const OptionSpec specs[] = {
        {"--source", 0, OPTION_STRING, "DIR", "the checkpoint that it claims to come from", &source_path},
        {"--recipe", 0, OPTION_STRING, "R.json", "the recipe to hold it to (default: the package's own)",
         &recipe_path},
        {"--set", 0, OPTION_LIST, "KEY=VALUE", "change a value of that recipe", &sets},
        {"--lora", 0, OPTION_LIST, "DIR", "where an adapter is that was merged (once for each, in order)",
         &adapters},
        {"--require", 0, OPTION_STRING, "GROUPS",
         "structure,hashes,source,rebuild,generation,quality,signature: \"not run\" then fails", &require},
        TRUST_OPTIONS(trust),
        {"--report", 0, OPTION_STRING, "FILE",
         "write the report there too (NAME.xml: JUnit; NAME.json: JSON)", &report_path},
        {"--replace", 0, OPTION_FLAG, NULL, "FILE may exist: it is replaced", &replace},
        DEVICE_OPTION(device),
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (sets.count && !recipe_path)
        return error_set(err, ERR_USAGE, "--set changes the recipe of --recipe, and none is given");
    if (require) TRY(validate_groups_known(require, err));
    TRY(device_option_parse(&choice.kind, device, err));
    if (!replace) TRY(cli_check_new(report_path, "--report", err));
    warn_interrupted_edit(cli, cli->args.items[0]);
    Model *source = NULL;
    Recipe *recipe = NULL;
    const char *path = cli->args.items[0];
    int code = trust_open(&trust, err);
    if (!code)
        code = unpacked_open(&unpacked, &path,
                             &(ArchiveOptions){.threads = cli->threads, .progress = &cli->progress}, err);
    if (!code && recipe_path) code = recipe_load(&recipe, recipe_path, sets.items, sets.count, NULL, err);
    if (!code && recipe) code = recipe_set_adapters(recipe, adapters.items, adapters.count, err);
    if (!code && source_path) code = model_open(&source, source_path, NULL, err);
    ValidateOptions options = {.source = source,
                               .recipe = recipe,
                               .commit = recipe ? recipe->commit : NULL,
                               .n_adapters = adapters.count,
                               .adapters = adapters.items,
                               .key = trust.key,
                               .roots = trust.roots,
                               .n_ignored = trust.ignored.count,
                               .ignored = trust.ignored.items,
                               .evidence = unpacked.evidence,
                               .device = choice,
                               .threads = cli->threads,
                               .progress = &cli->progress};
    if (!code) code = validate(cli, path, &options, require, report_path, err);
    model_close(source);
    recipe_close(recipe);
    trust_close(&trust);
    unpacked_close(&unpacked);
    return code;
}

const Command command_validate = {
    .name = "validate",
    .summary = "check an artifact or a package: structure, hashes, source, rebuild, generation",
    .usage =
        "validate PATH [--source DIR] [--recipe R.json] [--key PUB.pem | --trust CA.pem] [--require GROUPS] "
        "[--report FILE]",
    .details = "PATH is a package (a directory or an archive of one), a GGUF or a checkpoint. Each check "
               "passes, fails, or is \"not "
               "run\" with the reason.\n"
               "The verdict says what was shown: \"consistent\" (agrees with its own manifest), \"derived\" "
               "(follows from the\n"
               "source that was supplied), \"signed by KEY\". Exit status 1 if a check fails.",
    .examples = "  recast validate out/tiny-extreme\n"
                "  recast validate out/tiny-extreme --source tests/data/tiny-qwen3moe --require "
                "hashes,source,rebuild,generation\n"
                "  recast validate model.gguf --json\n"
                "  recast validate out/tiny-extreme --report validate.xml\n",
    .run = cmd_validate,
};
