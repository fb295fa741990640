/* cmd_convert.c -- a recipe, a checkpoint or a GGUF becomes GGUFs or the Hugging Face form: options, and what
 * both forms share. */
#include "cli/convert_job.h"
#include "cli/fallbacks.h"
#include "cli/merge_report.h"
#include "convert/parts.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

/* ---- what both forms share ---- */

static void print_file(const NamedResult *f) {
    char size[32];
    const char *hash = f->result.sha256[0] ? f->result.sha256 : "-";
    printf("%s  %9s  %s\n", hash, human_bytes(f->result.size, size), f->name);
}

int convert_print(Cli *cli, const SourceProof *proof, const NamedResult *files, size_t n, const Lora *lora,
                  cJSON *fallbacks, const DryRun *dry, Error *err) {
    cli_end_progress(cli);
    if (dry && dry->how == PROOF_PLANNED) proof = NULL;
    if (!cli->json) {
        cJSON_Delete(fallbacks);
        if (!cli->quiet && proof && proof->weights_sha256[0])
            printf("weights sha256 %s\n", proof->weights_sha256);
        if (!cli->quiet && lora && !dry) merge_report_print(lora);
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
    if (fallbacks) cJSON_AddItemToObject(doc, "fallbacks", fallbacks);
    int code = lora && !dry ? merge_report_json(lora, doc, err) : 0;
    if (code) {
        cJSON_Delete(doc);
        return code;
    }
    if (dry) dry_run_json(dry, doc);
    return cli_print_json(doc, err);
}

static void say(const char *text) {
    fputs(text, stderr);
}

int convert_settle(Settled *out, Cli *cli, const ConvertArgs *a, const Subject *s, bool in_pass, Error *err) {
    ProofOptions options = {.recipe = s->recipe,
                            .commit = s->commit,
                            .plan_only = a->dry_run,
                            .no_hash = a->no_hash,
                            .in_pass = in_pass,
                            .threads = cli->threads,
                            .progress = &cli->progress,
                            .say = cli->quiet ? NULL : say};
    return settle_proof(&out->proof, &out->how, s->source, &options, err);
}

/* ---- the command ---- */

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

/* Is `path` called like a file of another format? A directory of that name would surprise. */
static bool is_other_file(const char *path) {
    static const char *const endings[] = {".gguf", ".ggml", ".bin", ".safetensors", ".pt",  ".pth",
                                          ".onnx", ".json", ".zip", ".tar",         ".zst", ".gz"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t m = strlen(endings[i]);
        if (n > m && !strcasecmp(path + n - m, endings[i])) return true;
    }
    return false;
}

/* The Hugging Face form goes into a directory that is new, or empty. */
static int check_directory(const char *path, Error *err) {
    if (is_other_file(path))
        return error_set(
            err, ERR_USAGE,
            "%s: a GGUF is called NAME.gguf, and a directory for the Hugging Face form has no such "
            "ending",
            path);
    DIR *entries = opendir(path);
    size_t count = 0;
    for (struct dirent *e; entries && (e = readdir(entries));)
        count += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (entries) closedir(entries);
    return count ? error_set(err, ERR_IO, "%s exists: give another -o, or remove it first", path) : 0;
}

static int convert(Cli *cli, ConvertArgs *a, Error *err) {
    const char *path = cli->args.items[0];
    Subject s;
    TRY(choose_output(a, path, err));
    TRY(subject_open(&s, path, &a->sets, a->output, err));
    bool recipe_gguf = s.recipe && s.recipe->outputs[a->output - 1].format != OUTPUT_HF;
    bool gguf = s.recipe ? recipe_gguf : a->out ? ends_with(a->out, ".gguf") : true;
    ExecuteOptions options = {.threads = cli->threads,
                              .no_hash = a->no_hash,
                              .journal_seconds = (double)a->journal,
                              .restart = a->restart,
                              .progress = &cli->progress};
    int code = 0;
    if (s.stack.lora && !cli->quiet) merge_report_warn(s.stack.lora->lora);
    if (s.recipe && (a->type || a->split))
        code = error_set(err, ERR_USAGE, "--%s is not for recipes: use --set outputs[%u].%s=...",
                         a->type ? "type" : "split", a->output - 1, a->type ? "type" : "split");
    else if (s.recipe && a->out && gguf != ends_with(a->out, ".gguf"))
        code = error_set(err, ERR_USAGE, "output %u is %s, so OUT must %s", a->output,
                         gguf ? "a GGUF" : "the Hugging Face form", gguf ? "end in .gguf" : "be a directory");
    if (!code && !gguf && a->out) code = check_directory(a->out, err);
    if (!code) code = gguf ? convert_gguf(cli, a, &s, options, err) : convert_hf(cli, a, &s, options, err);
    if (code) cli_name_flag(err, "ask to requantize", "--requantize");
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

/* SOURCE OUT TYPE, as llama-quantize has them. */
static int take_positional(const Cli *cli, ConvertArgs *a, Error *err) {
    size_t n = cli->args.count;
    if ((n > 1 && a->out) || (n > 2 && a->type))
        return error_set(err, ERR_USAGE, "%s is given twice", n > 1 && a->out ? "OUT" : "the type");
    if (n > 1) a->out = cli->args.items[1];
    if (n > 2) a->type = cli->args.items[2];
    return 0;
}

static int cmd_convert(Cli *cli, int argc, char **argv, Error *err) {
    ConvertArgs a = {.journal = 10};
    const OptionSpec specs[] = {
        {"--out", 'o', OPTION_STRING, "OUT",
         "X.gguf ({type} in it becomes the type), or a new directory for the Hugging Face form", &a.out},
        {"--type", 0, OPTION_STRING, "T",
         "f32, f16, bf16, q8_0, q4_k_m ... as llama-quantize names them (default: as stored); several, with "
         "commas, from one reading",
         &a.type},
        {"--imatrix", 0, OPTION_STRING, "FILE", "importance matrix of llama.cpp, for quantized types",
         &a.imatrix},
        {"--tensor-type", 0, OPTION_LIST, "RE=T", "a type for the tensors whose names match; the first wins",
         &a.tensor_types},
        {"--tensor-type-file", 0, OPTION_STRING, "FILE", "such words, one a line", &a.tensor_type_file},
        {"--output-type", 0, OPTION_STRING, "T", "of output.weight", &a.output_type},
        {"--embedding-type", 0, OPTION_STRING, "T", "of token_embd.weight", &a.embedding_type},
        {"--requantize", 0, OPTION_FLAG, NULL, "take a quantized source, whose errors add to the new ones",
         &a.requantize},
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
        {"--replace", 0, OPTION_FLAG, NULL, "a GGUF that exists is written anew", &a.replace},
        {"--force", 0, OPTION_FLAG, NULL, NULL, &a.replace},
        {"--restart", 0, OPTION_FLAG, NULL, "begin anew, whatever a killed run has left", &a.restart},
        {"--journal", 0, OPTION_FLOAT, "SECONDS",
         "how often to note how far it is, for going on after a kill (10; 0: never)", &a.journal},
        {"--part", 0, OPTION_STRING, "I/N",
         "write only the I-th of N shares of a GGUF; any machine that sees the directory may write another",
         &a.part},
        {"--join", 0, OPTION_FLAG, NULL, "check the parts and the source, and give the file its name",
         &a.join},
        {"--base", 0, OPTION_STRING, "DIR",
         "SOURCE is an adapter of PEFT for this checkpoint: write it as a GGUF to be kept beside the model",
         &a.base},
        {"--link", 0, OPTION_FLAG, NULL, "Hugging Face form: hard-link untouched files", &a.link},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 3, err));
    if (cli->done) return 0;
    TRY(take_positional(cli, &a, err));
    if (!a.out && !a.hash) return error_set(err, ERR_USAGE, "-o OUT is missing (or --hash)");
    if (a.out && a.hash) return error_set(err, ERR_USAGE, "--hash writes nothing: leave -o out");
    if (a.hash && a.no_hash) return error_set(err, ERR_USAGE, "--hash and --no-hash exclude each other");
    if (a.part) TRY(parse_part(&a, err));
    if ((a.part || a.join) && (a.hash || !a.out || (a.part && a.join)))
        return error_set(err, ERR_USAGE, "--part I/N, then --join, each with -o OUT");
    if (!a.base) return convert(cli, &a, err);
    if (!a.replace) TRY(cli_check_new(a.out, "-o", err));
    ExecuteOptions options = {.threads = cli->threads, .no_hash = a.no_hash, .progress = &cli->progress};
    return convert_adapter(cli, &a, cli->args.items[0], options, err);
}

const Command command_convert = {
    .name = "convert",
    .summary = "write one GGUF, or the Hugging Face form, with provenance",
    .usage = "convert SOURCE -o OUT [--type T] [options]   (also: convert SOURCE OUT T)",
    .details = "SOURCE is a recipe, a checkpoint directory or a GGUF; with --base an adapter of PEFT.",
    .examples = "  recast convert Qwen3-30B-A3B/ -o qwen3.gguf --type bf16\n"
                "  recast convert Qwen3-30B-A3B/ -o qwen3-{type}.gguf --type q4_k_m,q6_k,q8_0\n"
                "  recast convert qwen3-BF16.gguf qwen3-Q4_K_M.gguf Q4_K_M --imatrix imatrix.gguf\n"
                "  recast convert variant.gguf -o variant.gguf --split metadata-first\n"
                "  recast convert recipe.json --output 2 -o out.gguf\n"
                "  recast convert recipe.json --output 1 --hash\n"
                "  recast convert my-lora/ --base Qwen3-30B-A3B/ -o my-lora.gguf\n"
                "  recast convert recipe.json -o out.gguf --part 1/2   # and 2/2, then --join\n",
    .run = cmd_convert,
};
