/* cmd_compare.c -- parameters, keys and tensors in which two models differ, and by how much. */
#include "cli/compare.h"
#include "cli/remote_compare.h"
#include <stdio.h>
#include <string.h>

/* What somebody who has the first must fetch to have the second. */
static int show_download(cJSON *doc, const SameFiles *files, Error *err) {
    Buffer text;
    if (doc) {
        cJSON *list = cJSON_AddArrayToObject(doc, "download_again");
        for (size_t i = 0; i < files->n_files; i++)
            if (!files->same[i]) cJSON_AddItemToArray(list, cJSON_CreateString(files->b->files[i].name));
        return 0;
    }
    buffer_init(&text, NULL);
    same_files_text(files, &text);
    int code = buffer_ok(&text, "comparing files", err);
    if (!code) printf("download again: %s\n", buffer_string(&text));
    buffer_free(&text);
    return code;
}

typedef struct Compared {
    size_t keys;
    ComparedTensors tensors;
} Compared;

static int print_json(const Compared *c, cJSON *keys, const SameFiles *files, Error *err) {
    const ComparedTensors *t = &c->tensors;
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddItemToObject(doc, "keys", keys);
    compared_tensors_json(t, cJSON_AddArrayToObject(doc, "tensors"));
    cJSON_AddNumberToObject(doc, "identical_tensors", (double)t->same);
    cJSON_AddBoolToObject(doc, "weights_identical", t->n == 0);
    int code = files ? show_download(doc, files, err) : 0;
    if (!code) return cli_print_json(doc, err);
    cJSON_Delete(doc);
    return code;
}

static int print_text(const Compared *c, const SameFiles *files, Error *err) {
    const ComparedTensors *t = &c->tensors;
    compared_tensors_print(t);
    printf("%zu tensors identical, %zu differ, %zu only in the first, %zu only in the second; %zu parameters "
           "and keys differ\n",
           t->same, t->differ, t->only_a, t->only_b, c->keys);
    return files ? show_download(NULL, files, err) : 0;
}

static int compare(Cli *cli, const Model *a, const Model *b, const SameFiles *files, const char *page,
                   Error *err) {
    Compared c;
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    cJSON *keys = cli->json ? cJSON_CreateArray() : NULL;
    int code = compared_keys_show(&c.keys, keys, a, b, err);
    if (!code) code = compared_tensors_find(&c.tensors, cli, a, b, files, arena, err);
    cli_end_progress(cli);
    if (!code && page) code = compare_page(page, &c.tensors, a->path, b->path, err);
    if (code)
        cJSON_Delete(keys);
    else
        code = cli->json ? print_json(&c, keys, files, err) : print_text(&c, files, err);
    arena_close(arena);
    return code;
}

/* A checkpoint and a GGUF meet in GGUF names, the checkpoint typed as the GGUF form types it (norms in F32).
 */
static int as_gguf(RecipeStack *views, const Model **m, Error *err) {
    GgufNamesOptions options = {.lenient_rope = true};
    TRY(gguf_names_open(&views->names, *m, &options, NULL, err));
    TRY(retype_open(&views->retype, views->names, NULL, NULL, err));
    *m = views->retype;
    return 0;
}

static bool is_gguf(const Subject *s) {
    return !s->recipe && s->source->form == FORM_GGUF;
}

static int cmd_compare(Cli *cli, int argc, char **argv, Error *err) {
    const char *page = NULL;
    bool replace = false;
    const OptionSpec specs[] = {
        {"--html", 0, OPTION_STRING, "FILE", "also one HTML page with a picture of the errors", &page},
        {"--replace", 0, OPTION_FLAG, NULL, "FILE may exist: it is replaced", &replace},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 2, 2, err));
    if (cli->done) return 0;
    if (is_remote(cli->args.items[0]) || is_remote(cli->args.items[1])) {
        if (page)
            return error_set(err, ERR_USAGE,
                             "--html needs the tensors of both; hf: names are compared by hashes");
        return remote_compare(cli, cli->args.items[0], cli->args.items[1], err);
    }
    if (!replace) TRY(cli_check_new(page, "--html", err));
    Subject a, b = {0};
    SameFiles *files = NULL;
    RecipeStack views_a = {0}, views_b = {0};
    TRY(subject_open(&a, cli->args.items[0], NULL, 0, err));
    int code = subject_open(&b, cli->args.items[1], NULL, 0, err);
    const Model *x = a.model, *y = b.model;
    if (!code && x->form == FORM_HF && y->form == FORM_GGUF)
        code = as_gguf(&views_a, &x, err);
    else if (!code && x->form == FORM_GGUF && y->form == FORM_HF)
        code = as_gguf(&views_b, &y, err);
    if (!code && is_gguf(&a) && is_gguf(&b)) code = same_files_open(&files, x, y, &cli->progress, err);
    if (!code) code = compare(cli, x, y, files, page, err);
    same_files_close(files);
    recipe_stack_close(&views_a);
    recipe_stack_close(&views_b);
    subject_close(&a);
    subject_close(&b);
    return code;
}

const Command command_compare = {
    .name = "compare",
    .summary = "what differs between two models: parameters, keys, tensors, and by how much",
    .usage = "compare A B [--html FILE]",
    .details =
        "A and B are checkpoints, GGUFs of any architecture, or recipes. Provenance keys (recast.*) "
        "are left out. Tensors\nof any types are compared as numbers, the worst first. Of two GGUFs "
        "the last line tells which files of B are not\nin A already.\n"
        "hf:user/name[@revision] is a model on the Hub: is that variant untouched? It is answered from the "
        "hashes of its files,\nits config and GGUF headers, without a download of weights.",
    .examples = "  recast compare Qwen3-30B-A3B/ variant.gguf\n"
                "  recast compare model-BF16.gguf model-Q4_K_M.gguf --html errors.html\n"
                "  recast compare a.gguf b.gguf --json\n"
                "  recast compare hf:Qwen/Qwen3-30B-A3B hf:DavidAU/Qwen3-30B-A6B-16-Extreme\n",
    .run = cmd_compare,
};
