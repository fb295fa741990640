/* cmd_pin.c -- hash the sources once and write the pins into the recipe. */
#include "cli/cli.h"
#include "core/output.h"
#include "model/proof.h"
#include <stdio.h>

static int pin(Cli *cli, Subject *s, const char *path, bool print, Error *err) {
    SourceProof *proof;
    Buffer text;
    size_t pinned;
    buffer_init(&text, NULL);
    TRY(source_prove(&proof, s->source, cli->threads, &cli->progress, NULL, err));
    int code = recipe_check_pins(s->recipe, s->source, proof, s->commit, &pinned, err);
    if (!code) code = recipe_pinned_text(s->recipe, proof, s->commit, &text, err);
    cli_end_progress(cli);
    if (!code && print) fputs(buffer_string(&text), stdout);
    if (!code && !print) code = output_file(path, buffer_string(&text), text.length, NULL, err);
    if (!code && !print && !cli->quiet)
        printf("%s: %zu files pinned, weights %s\n", path, proof->n_files,
               proof->weights_sha256[0] ? proof->weights_sha256 : "have no digest");
    buffer_free(&text);
    source_proof_close(proof);
    return code;
}

static int cmd_pin(Cli *cli, int argc, char **argv, Error *err) {
    bool print = false;
    const OptionSpec specs[] = {
        {"--print", 0, OPTION_FLAG, NULL, "print the pinned recipe instead of changing the file", &print},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    Subject s;
    TRY(subject_open(&s, cli->args.items[0], NULL, 0, err));
    int code = s.recipe ? pin(cli, &s, cli->args.items[0], print || cli->json, err)
                        : error_set(err, ERR_USAGE, "%s is not a recipe (*.json)", cli->args.items[0]);
    subject_close(&s);
    return code;
}

const Command command_pin = {
    .name = "pin",
    .summary = "hash a recipe's sources once and write the hashes into the recipe",
    .usage = "pin RECIPE [--print]",
    .details =
        "A pinned recipe says exactly which files it is about: a later build fails if one of them differs.\n"
        "Pins that are there already are checked, not replaced.",
    .examples = "  recast pin recipes/tiny-extreme.json --print\n"
                "  recast pin recipe.json\n",
    .run = cmd_pin,
};
