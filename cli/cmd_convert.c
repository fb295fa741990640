/* cmd_convert.c -- one output: a recipe, a checkpoint or a GGUF becomes a GGUF or the Hugging Face form. */
#include "cli/cli.h"
#include "cli/dry_run.h"
#include "cli/fallbacks.h"
#include "convert/hf_form.h"
#include "convert/parts.h"
#include "convert/produce.h"
#include "core/output.h"
#include "model/views.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct ConvertArgs {
    const char *out, *type, *split, *part;
    OptionList sets;
    uint32_t output;
    bool hash, no_hash, dry_run, link, restart, join;
    uint32_t part_index, part_count; /* of --part; 0: none */
    float journal;
} ConvertArgs;

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

static int parse_type(const char *name, DType *out, Error *err) {
    for (size_t i = 0; output_type_names[i]; i++)
        if (!strcasecmp(name, output_type_names[i])) {
            *out = output_type_by_name(output_type_names[i]);
            return 0;
        }
    return error_set(err, ERR_USAGE, "--type %s: f32, f16, bf16 and q8_0 are offered", name);
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

typedef struct NamedResult {
    const char *name;
    FileResult result;
} NamedResult;

static void print_file(const NamedResult *f) {
    char size[32];
    const char *hash = f->result.sha256[0] ? f->result.sha256 : "-";
    printf("%s  %9s  %s\n", hash, human_bytes(f->result.size, size), f->name);
}

/* dry: NULL if it was done. */
static int print_results(Cli *cli, const Model *model, const SourceProof *proof, const NamedResult *files,
                         size_t n, const DryRun *dry, Error *err) {
    cli_end_progress(cli);
    if (dry && dry->how == PROOF_PLANNED) proof = NULL;
    if (!cli->json) {
        if (!cli->quiet && proof && proof->weights_sha256[0])
            printf("weights sha256 %s\n", proof->weights_sha256);
        for (size_t i = 0; i < n; i++) print_file(&files[i]);
        if (dry) dry_run_print(dry);
        return 0;
    }
    cJSON *doc = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(doc, "files");
    if (proof) cJSON_AddStringToObject(doc, "weights_sha256", proof->weights_sha256);
    for (size_t i = 0; i < n; i++) {
        cJSON *file = cJSON_CreateObject();
        const FileResult *r = &files[i].result;
        cJSON_AddStringToObject(file, "path", files[i].name);
        cJSON_AddNumberToObject(file, "size", (double)r->size);
        if (r->sha256[0]) cJSON_AddStringToObject(file, "sha256", r->sha256);
        cJSON_AddItemToArray(array, file);
    }
    fallbacks_json(model, doc);
    if (dry) dry_run_json(dry, doc);
    return cli_print_json(doc, err);
}

/* ---- the source ---- */

typedef struct Settled {
    SourceProof *proof;
    ProofHow how;
} Settled;

static void say(const char *text) {
    fputs(text, stderr);
}

static int settle(Cli *cli, const ConvertArgs *a, const Subject *s, Settled *out, Error *err) {
    ProofOptions options = {.recipe = s->recipe,
                            .commit = s->commit,
                            .plan_only = a->dry_run,
                            .no_hash = a->no_hash,
                            .threads = cli->threads,
                            .progress = &cli->progress,
                            .say = cli->quiet ? NULL : say};
    return settle_proof(&out->proof, &out->how, s->source, &options, err);
}

/* ---- Hugging Face form ---- */

/* Files that are copied take their hashes from the proof, so a promise is verified first. */
static int verify_promise(const Subject *s, const Settled *settled, ExecuteOptions options, Error *err) {
    if (settled->how != PROOF_PROMISED) return 0;
    Conversion c = {.source = s->source, .promised = settled->proof};
    return convert_execute(&c, options, err);
}

static int copy_hf(FileResult *results, const ConvertArgs *a, const HfPlan *plan, const Settled *settled,
                   ExecuteOptions options, Error *err) {
    OutputDir *directory = NULL;
    int code = a->hash ? 0 : output_dir_create(&directory, a->out, false, NULL, err);
    if (!code)
        code = hf_execute(results, plan, directory ? output_dir_staging(directory) : NULL, a->link,
                          settled->proof, options, err);
    if (code || !directory) {
        output_dir_discard(directory);
        return code;
    }
    return output_dir_commit(directory, err);
}

static int plan_hf(DryRun *dry, FileResult *results, const ConvertArgs *a, const HfPlan *plan,
                   const Subject *s, const Settled *settled, ExecuteOptions options, Error *err) {
    Conversion c = {.source = settled->how == PROOF_NONE ? NULL : s->source};
    *dry = (DryRun){.how = settled->how, .path = a->hash ? NULL : a->out};
    TRY(convert_estimate(&dry->estimate, &c, proof_passes(settled->how), options, err));
    for (size_t i = 0; i < plan->n_files; i++) {
        results[i] = (FileResult){.size = hf_file_size(&plan->files[i])};
        if (!a->hash) dry->estimate.output_bytes += results[i].size;
    }
    return 0;
}

static int write_hf(Cli *cli, const ConvertArgs *a, const Subject *s, const Settled *settled,
                    ExecuteOptions options, Error *err) {
    HfPlan *plan;
    DryRun dry;
    TRY(hf_plan_open(&plan, s->model, NULL, err));
    FileResult *results = calloc(plan->n_files, sizeof *results);
    NamedResult *named = calloc(plan->n_files, sizeof *named);
    int code = results && named ? 0 : error_memory(err, "the list of files");
    if (!code && a->dry_run) {
        code = plan_hf(&dry, results, a, plan, s, settled, options, err);
    } else {
        if (!code) code = verify_promise(s, settled, options, err);
        if (!code) code = copy_hf(results, a, plan, settled, options, err);
    }
    for (size_t i = 0; !code && i < plan->n_files; i++)
        named[i] = (NamedResult){plan->files[i].name, results[i]};
    if (!code)
        code =
            print_results(cli, s->model, settled->proof, named, plan->n_files, a->dry_run ? &dry : NULL, err);
    free(named);
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

/* What a file is called that is hashed only; NULL: no memory. */
static const char *nameless(const Production *p, size_t i) {
    size_t n = p->conversion.n_outputs;
    return n == 1 ? "(hash only)" : arena_printf(p->arena, "(hash only, shard %zu of %zu)", i + 1, n);
}

static int write_part(Cli *cli, const ConvertArgs *a, const GgufPlan *plan, ExecuteOptions options,
                      Error *err) {
    bool done;
    PartRange range;
    TRY(part_write(&done, &range, plan, a->out, a->part_index, a->part_count, options, err));
    cli_end_progress(cli);
    if (cli->json) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddStringToObject(doc, "path", a->out);
        cJSON_AddNumberToObject(doc, "part", a->part_index);
        cJSON_AddNumberToObject(doc, "parts", a->part_count);
        cJSON_AddNumberToObject(doc, "begin", (double)range.begin);
        cJSON_AddNumberToObject(doc, "end", (double)range.end);
        cJSON_AddBoolToObject(doc, "written", !done);
        return cli_print_json(doc, err);
    }
    printf("part %u of %u: bytes %llu to %llu of %llu%s\n", a->part_index, a->part_count,
           (unsigned long long)range.begin, (unsigned long long)range.end,
           (unsigned long long)plan->file_size, done ? ", done before" : "");
    return 0;
}

static int carry_out(Cli *cli, const ConvertArgs *a, const Subject *s, const Model *model,
                     const Settled *settled, Production *p, ExecuteOptions options, Error *err) {
    DryRun dry = {.how = settled->how, .path = a->hash ? NULL : a->out};
    bool promised = settled->how == PROOF_PROMISED;
    if (promised || settled->how == PROOF_PLANNED) p->conversion.source = s->source;
    if (promised) p->conversion.promised = settled->proof;
    if (a->part_index && !a->dry_run) return write_part(cli, a, p->conversion.outputs[0].plan, options, err);
    if (a->dry_run)
        TRY(convert_estimate(&dry.estimate, &p->conversion, proof_passes(settled->how), options, err));
    else if (a->join)
        TRY(parts_join(&p->conversion, options, err));
    else
        TRY(convert_execute(&p->conversion, options, err));
    size_t n = p->conversion.n_outputs;
    NamedResult *files = arena_alloc(p->arena, n, sizeof *files);
    if (!files) return error_memory(err, "the list of files");
    for (size_t i = 0; i < n; i++) {
        const ConversionOutput *o = &p->conversion.outputs[i];
        files[i] = (NamedResult){o->path ? o->path : nameless(p, i), o->result};
        files[i].result.size = o->plan->file_size;
        if (!files[i].name) return error_memory(err, "the list of files");
    }
    return print_results(cli, model, settled->proof, files, n, a->dry_run ? &dry : NULL, err);
}

/* A whole file under a shard's name would be taken for one. */
static int check_shard_name(const char *out, const SplitRule *rule, Error *err) {
    uint32_t number, count;
    if (!out || !split_rule_is_none(rule) || !gguf_is_shard_path(out, &number, &count)) return 0;
    return error_set(
        err, ERR_USAGE,
        "%s is the name of a shard, but one whole file was asked for; choose another name, or split it", out);
}

static int write_gguf(Cli *cli, const ConvertArgs *a, const Subject *s, const Model *model,
                      const Settled *settled, const char *type, ExecuteOptions options, Error *err) {
    Buffer derivation;
    Production *production = NULL;
    SplitRule rule = {0};
    if (s->recipe)
        rule = s->recipe->outputs[a->output - 1].split;
    else if (a->split)
        TRY(split_rule_parse(&rule, a->split, err));
    buffer_init(&derivation, NULL);
    size_t index = a->output ? a->output - 1 : 0;
    int code = s->recipe ? recipe_derivation(s->recipe, index, settled->proof, s->commit, &derivation, err)
                         : recipe_plain_derivation(type, &rule, settled->proof, &derivation, err);
    Provenance p = {.derivation = buffer_string(&derivation),
                    .commit = s->commit,
                    .proof = settled->proof,
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
    if (!code && (a->part_index || a->join) && !split_rule_is_none(&rule))
        code = error_set(err, ERR_USAGE, "parts are written of one file: leave the split out");
    if (!code) code = check_shard_name(a->out, &rule, err);
    Product product = {.model = model, .provenance = &p, .path = a->hash ? NULL : a->out, .split = rule};
    if (!code) code = production_open(&production, &product, 1, NULL, err);
    if (!code) code = carry_out(cli, a, s, model, settled, production, options, err);
    production_close(production);
    buffer_free(&derivation);
    return code;
}

/* ---- the command ---- */

static int convert_gguf(Cli *cli, const ConvertArgs *a, Subject *s, ExecuteOptions options, Error *err) {
    RecipeStack stack = {0};
    Settled settled = {.proof = NULL};
    const Model *model = s->model;
    const char *name = s->recipe ? s->recipe->outputs[a->output - 1].type_name : "stored";
    int code = 0;
    /* a GGUF of any types is copied as it is unless a type is asked for */
    if (!s->recipe && (a->type || s->source->form == FORM_HF)) {
        DType type = DT_NONE;
        code = a->type ? parse_type(a->type, &type, err) : stored_type(s->source, &type, err);
        if (!code) code = plain_stack(&stack, s->source, type, err);
        model = stack.top;
        name = output_type_name(type);
    }
    if (!code) code = fallbacks_say(model, cli->quiet ? NULL : say, err);
    if (!code) code = settle(cli, a, s, &settled, err);
    if (!code) code = write_gguf(cli, a, s, model, &settled, name, options, err);
    source_proof_close(settled.proof);
    recipe_stack_close(&stack);
    return code;
}

static int convert_hf(Cli *cli, const ConvertArgs *a, Subject *s, ExecuteOptions options, Error *err) {
    Settled settled = {.proof = NULL};
    if (s->model->form != FORM_HF)
        return error_set(err, ERR_UNSUPPORTED, "GGUF -> Hugging Face is not offered: OUT must end in .gguf");
    if (a->part_index || a->join)
        return error_set(err, ERR_USAGE, "--part and --join are for GGUF; the Hugging Face form is a copy");
    if (a->type || a->split)
        return error_set(err, ERR_USAGE,
                         "--%s is for GGUF; the Hugging Face form keeps its weights and files as they are",
                         a->type ? "type" : "split");
    int code = settle(cli, a, s, &settled, err);
    if (!code) code = write_hf(cli, a, s, &settled, options, err);
    source_proof_close(settled.proof);
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
    ExecuteOptions options = {.threads = cli->threads,
                              .no_hash = a->no_hash,
                              .journal_seconds = (double)a->journal,
                              .restart = a->restart,
                              .progress = &cli->progress};
    int code = 0;
    if (s.recipe && (a->type || a->split))
        code = error_set(err, ERR_USAGE, "--%s is not for recipes: use --set outputs[%u].%s=...",
                         a->type ? "type" : "split", a->output - 1, a->type ? "type" : "split");
    else if (s.recipe && a->out && gguf != ends_with(a->out, ".gguf"))
        code = error_set(err, ERR_USAGE, "output %u is %s, so OUT must %s", a->output,
                         gguf ? "a GGUF" : "the Hugging Face form", gguf ? "end in .gguf" : "be a directory");
    if (!code) code = gguf ? convert_gguf(cli, a, &s, options, err) : convert_hf(cli, a, &s, options, err);
    subject_close(&s);
    return code;
}

static int parse_part(ConvertArgs *a, Error *err) {
    char rest;
    if (strspn(a->part, "0123456789/") == strlen(a->part) &&
        sscanf(a->part, "%4u/%4u%c", &a->part_index, &a->part_count, &rest) == 2 && a->part_index &&
        a->part_index <= a->part_count && a->part_count <= PARTS_MOST)
        return 0;
    return error_set(err, ERR_USAGE, "--part %s: expected I/N with 1 <= I <= N <= %d, as 3/8", a->part,
                     PARTS_MOST);
}

static int cmd_convert(Cli *cli, int argc, char **argv, Error *err) {
    ConvertArgs a = {.journal = 10};
    const OptionSpec specs[] = {
        {"--out", 'o', OPTION_STRING, "OUT", "X.gguf, or a new directory for the Hugging Face form", &a.out},
        {"--type", 0, OPTION_STRING, "T", "f32, f16, bf16 or q8_0 (default: as stored)", &a.type},
        {"--split", 0, OPTION_STRING, "S",
         "several files: 48G of tensor data in each, 128 tensors in each, metadata-first or "
         "metadata-first,48G",
         &a.split},
        {"--output", 0, OPTION_U32, "N", "the recipe's N-th output", &a.output},
        {"--set", 0, OPTION_LIST, "KEY=VALUE", "change a value of the recipe", &a.sets},
        {"--hash", 0, OPTION_FLAG, NULL, "write nothing, print the SHA-256 of what would be written",
         &a.hash},
        {"--no-hash", 0, OPTION_FLAG, NULL,
         "hash nothing but what the recipe pins; the file then says nothing of "
         "unpinned sources",
         &a.no_hash},
        {"--dry-run", 0, OPTION_FLAG, NULL, "print the plan: files, passes, memory and space; make nothing",
         &a.dry_run},
        {"--restart", 0, OPTION_FLAG, NULL, "begin anew, whatever a killed run has left", &a.restart},
        {"--journal", 0, OPTION_FLOAT, "SECONDS",
         "how often to note how far it is, for going on after a kill (10; 0: never)", &a.journal},
        {"--part", 0, OPTION_STRING, "I/N",
         "write only the I-th of N shares of a GGUF; any machine that sees the directory may write another",
         &a.part},
        {"--join", 0, OPTION_FLAG, NULL, "check the parts and the source, and give the file its name",
         &a.join},
        {"--link", 0, OPTION_FLAG, NULL, "Hugging Face form: hard-link untouched files", &a.link},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!a.out && !a.hash) return error_set(err, ERR_USAGE, "-o OUT is missing (or --hash)");
    if (a.out && a.hash) return error_set(err, ERR_USAGE, "--hash writes nothing: leave -o out");
    if (a.hash && a.no_hash) return error_set(err, ERR_USAGE, "--hash and --no-hash exclude each other");
    if (a.part) TRY(parse_part(&a, err));
    if ((a.part || a.join) && (a.hash || !a.out || (a.part && a.join)))
        return error_set(err, ERR_USAGE, "--part I/N, then --join, each with -o OUT");
    return convert(cli, &a, err);
}

const Command command_convert = {
    .name = "convert",
    .summary = "write one GGUF, or the Hugging Face form, with provenance",
    .usage = "convert SOURCE -o OUT [--type T] [options]",
    .details = "SOURCE is a recipe, a checkpoint directory or a GGUF of float types.",
    .examples = "  recast convert Qwen3-30B-A3B/ -o qwen3.gguf --type bf16\n"
                "  recast convert variant.gguf -o variant.gguf --split metadata-first\n"
                "  recast convert recipe.json --output 2 -o out.gguf\n"
                "  recast convert recipe.json --output 1 --hash\n"
                "  recast convert recipe.json -o out.gguf --part 1/2   # and 2/2, then --join\n",
    .run = cmd_convert,
};
