/* cmd_convert.c -- one output: a recipe, a checkpoint or a GGUF becomes a GGUF or the Hugging Face form. */
#include "cli/cli.h"
#include "convert/hf_form.h"
#include "convert/produce.h"
#include "core/output.h"
#include "model/views.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct ConvertArgs {
    const char *out, *type;
    OptionList sets;
    uint32_t output;
    bool hash, no_hash, link;
} ConvertArgs;

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

static int parse_type(const char *name, DType *out, Error *err) {
    static const struct {
        const char *name;
        DType type;
    } types[] = {{"f32", DT_F32}, {"f16", DT_F16}, {"bf16", DT_BF16}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcasecmp(name, types[i].name)) {
            *out = types[i].type;
            return 0;
        }
    return error_set(err, ERR_USAGE, "--type %s: f32, f16 and bf16 are offered", name);
}

/* Without --type: the type in which most of the weights are stored, so that nothing is lost. (llama.cpp's
 * converter makes F16 of an F32 checkpoint.) */
static int stored_type(const Model *m, DType *out, Error *err) {
    *out = gguf_common_type(m);
    if (dtype_is_float(*out)) return 0;
    return error_set(err, ERR_UNSUPPORTED,
                     "%s is stored as %s: only f32, f16 and bf16 weights can be converted", m->path,
                     dtype_name(*out));
}

static const char *type_text(DType type) {
    return type == DT_F32 ? "f32" : type == DT_F16 ? "f16" : "bf16";
}

static int print_file(const char *name, const FileResult *r, bool no_hash) {
    char size[32];
    printf("%s  %9s  %s\n", no_hash ? "-" : r->sha256, human_bytes(r->size, size), name);
    return 0;
}

static int print_results(Cli *cli, const ConvertArgs *a, const SourceProof *proof, const HfPlan *hf,
                         const FileResult *files, size_t n, Error *err) {
    cli_end_progress(cli);
    const char *single = a->out ? a->out : "(hash only)";
    if (!cli->json) {
        if (!cli->quiet && proof && proof->weights_sha256[0])
            printf("weights sha256 %s\n", proof->weights_sha256);
        for (size_t i = 0; i < n; i++)
            print_file(hf ? hf->files[i].name : single, &files[i], !files[i].sha256[0]);
        return 0;
    }
    cJSON *doc = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(doc, "files");
    if (proof) cJSON_AddStringToObject(doc, "weights_sha256", proof->weights_sha256);
    for (size_t i = 0; i < n; i++) {
        cJSON *file = cJSON_CreateObject();
        cJSON_AddStringToObject(file, "path", hf ? hf->files[i].name : single);
        cJSON_AddNumberToObject(file, "size", (double)files[i].size);
        if (files[i].sha256[0]) cJSON_AddStringToObject(file, "sha256", files[i].sha256);
        cJSON_AddItemToArray(array, file);
    }
    return cli_print_json(doc, err);
}

/* ---- Hugging Face form ---- */

static int write_hf(Cli *cli, const ConvertArgs *a, const Model *model, const SourceProof *proof,
                    ExecuteOptions options, Error *err) {
    HfPlan *plan;
    OutputDir *directory = NULL;
    TRY(hf_plan_open(&plan, model, NULL, err));
    FileResult *results = calloc(plan->n_files, sizeof *results);
    int code = results ? 0 : error_memory(err, "the list of files");
    if (!code && !a->hash) code = output_dir_create(&directory, a->out, false, NULL, err);
    if (!code)
        code = hf_execute(results, plan, directory ? output_dir_staging(directory) : NULL, a->link, proof,
                          options, err);
    if (!code && directory) {
        code = output_dir_commit(directory, err);
        directory = NULL;
    }
    if (!code) code = print_results(cli, a, proof, plan, results, plan->n_files, err);
    output_dir_discard(directory);
    free(results);
    hf_plan_close(plan);
    return code;
}

/* ---- GGUF ---- */

/* The views of a plain conversion: GGUF names over a checkpoint, then the type. */
static int plain_stack(RecipeStack *stack, const Model *source, DType type, Error *err) {
    memset(stack, 0, sizeof *stack);
    const Model *base = source;
    if (source->form == FORM_HF) {
        TRY(gguf_names_open(&stack->names, source, NULL, NULL, err));
        base = stack->names;
    }
    int code = retype_open(&stack->retype, base, type, NULL, err);
    stack->top = stack->retype;
    return code;
}

static int write_gguf(Cli *cli, const ConvertArgs *a, const Subject *s, const Model *model,
                      const SourceProof *proof, const char *type, ExecuteOptions options, Error *err) {
    Buffer derivation;
    FileResult result;
    buffer_init(&derivation, NULL);
    size_t index = a->output ? a->output - 1 : 0;
    int code = s->recipe ? recipe_derivation(s->recipe, index, proof, s->commit, &derivation, err)
                         : recipe_plain_derivation(type, proof, &derivation, err);
    Provenance p = {.derivation = buffer_string(&derivation),
                    .commit = s->commit,
                    .proof = proof,
                    .output = type,
                    .n_changes = model->n_changes,
                    .changes = model->changes};
    if (s->recipe) {
        p.repo = s->recipe->repo;
        p.license = s->recipe->license;
        p.author = s->recipe->author;
        p.n_tags = s->recipe->n_tags;
        p.tags = s->recipe->tags;
    }
    if (!code) code = gguf_produce(&result, model, &p, a->hash ? NULL : a->out, options, err);
    if (!code) code = print_results(cli, a, proof, NULL, &result, 1, err);
    buffer_free(&derivation);
    return code;
}

/* ---- the command ---- */

static int prove(Cli *cli, const Subject *s, SourceProof **proof, Error *err) {
    size_t pinned;
    TRY(source_prove(proof, s->source, cli->threads, &cli->progress, NULL, err));
    return s->recipe ? recipe_check_pins(s->recipe, s->source, *proof, s->commit, &pinned, err) : 0;
}

static int convert_gguf(Cli *cli, const ConvertArgs *a, Subject *s, ExecuteOptions options, Error *err) {
    RecipeStack stack = {0};
    SourceProof *proof = NULL;
    const Model *model = s->model;
    const char *name = s->recipe ? s->recipe->outputs[a->output - 1].type_name : "stored";
    int code = 0;
    /* a GGUF of any types is copied as it is unless a type is asked for */
    if (!s->recipe && (a->type || s->source->form == FORM_HF)) {
        DType type = DT_NONE;
        code = a->type ? parse_type(a->type, &type, err) : stored_type(s->source, &type, err);
        if (!code) code = plain_stack(&stack, s->source, type, err);
        model = stack.top;
        name = type_text(type);
    }
    if (!code) code = prove(cli, s, &proof, err);
    if (!code) code = write_gguf(cli, a, s, model, proof, name, options, err);
    source_proof_close(proof);
    recipe_stack_close(&stack);
    return code;
}

static int convert_hf(Cli *cli, const ConvertArgs *a, Subject *s, ExecuteOptions options, Error *err) {
    SourceProof *proof = NULL;
    if (s->model->form != FORM_HF)
        return error_set(err, ERR_UNSUPPORTED, "GGUF -> Hugging Face is not offered: OUT must end in .gguf");
    if (a->type)
        return error_set(err, ERR_USAGE,
                         "--type is for GGUF; the Hugging Face form keeps its weights as they are");
    int code = prove(cli, s, &proof, err);
    if (!code) code = write_hf(cli, a, s->model, proof, options, err);
    source_proof_close(proof);
    return code;
}

/* A recipe with one output needs no --output; a.output is 1-based from here on. */
static int choose_output(ConvertArgs *a, const char *path, Error *err) {
    if (!ends_with(path, ".json") || a->output) return 0;
    Recipe *r;
    TRY(recipe_load(&r, path, a->sets.items, a->sets.count, NULL, err));
    size_t n = r->n_outputs;
    recipe_close(r);
    a->output = 1;
    return n == 1 ? 0 : error_set(err, ERR_USAGE, "%s has %zu outputs: choose one by --output N", path, n);
}

static int convert(Cli *cli, ConvertArgs *a, Error *err) {
    const char *path = cli->args.items[0];
    Subject s;
    TRY(choose_output(a, path, err));
    TRY(subject_open(&s, path, &a->sets, a->output, err));
    bool recipe_gguf = s.recipe && s.recipe->outputs[a->output - 1].format == OUTPUT_GGUF;
    bool gguf = s.recipe ? recipe_gguf : a->out ? ends_with(a->out, ".gguf") : true;
    ExecuteOptions options = {.threads = cli->threads, .no_hash = a->no_hash, .progress = &cli->progress};
    int code = 0;
    if (s.recipe && a->type)
        code = error_set(err, ERR_USAGE, "--type is not for recipes: use --set outputs[0].type=...");
    else if (s.recipe && a->out && gguf != ends_with(a->out, ".gguf"))
        code = error_set(err, ERR_USAGE, "output %u is %s, so OUT must %s", a->output,
                         gguf ? "a GGUF" : "the Hugging Face form", gguf ? "end in .gguf" : "be a directory");
    if (!code) code = gguf ? convert_gguf(cli, a, &s, options, err) : convert_hf(cli, a, &s, options, err);
    subject_close(&s);
    return code;
}

static int cmd_convert(Cli *cli, int argc, char **argv, Error *err) {
    ConvertArgs a = {.hash = false};
    const OptionSpec specs[] = {
        {"--out", 'o', OPTION_STRING, "OUT", "X.gguf, or a new directory for the Hugging Face form", &a.out},
        {"--type", 0, OPTION_STRING, "T", "f32, f16 or bf16 (default: as stored)", &a.type},
        {"--output", 0, OPTION_U32, "N", "the recipe's N-th output", &a.output},
        {"--set", 0, OPTION_LIST, "KEY=VALUE", "change a value of the recipe", &a.sets},
        {"--hash", 0, OPTION_FLAG, NULL, "write nothing, print the SHA-256 of what would be written",
         &a.hash},
        {"--no-hash", 0, OPTION_FLAG, NULL, "don't hash the output", &a.no_hash},
        {"--link", 0, OPTION_FLAG, NULL, "Hugging Face form: hard-link untouched files", &a.link},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!a.out && !a.hash) return error_set(err, ERR_USAGE, "-o OUT is missing (or --hash)");
    if (a.out && a.hash) return error_set(err, ERR_USAGE, "--hash writes nothing: leave -o out");
    if (a.hash && a.no_hash) return error_set(err, ERR_USAGE, "--hash and --no-hash exclude each other");
    return convert(cli, &a, err);
}

const Command command_convert = {
    .name = "convert",
    .summary = "write one GGUF, or the Hugging Face form, with provenance",
    .usage = "convert SOURCE -o OUT [--type T] [options]",
    .details = "SOURCE is a recipe, a checkpoint directory or a GGUF of float types.",
    .examples = "  recast convert Qwen3-30B-A3B/ -o qwen3.gguf --type bf16\n"
                "  recast convert recipe.json --output 2 -o out.gguf\n"
                "  recast convert recipe.json --output 1 --hash\n",
    .run = cmd_convert,
};
