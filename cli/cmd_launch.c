/* cmd_launch.c -- how an artifact is started elsewhere, and what of it fits. */
#include "cli/cli.h"
#include "cli/ollama_import.h"
#include "core/json.h"
#include "core/output.h"
#include "packager/gpus.h"
#include "packager/launch.h"
#include "packager/manifest.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* "48G" or "48" (GiB), "24564M" (MiB). */
static bool parse_vram(const char *text, uint64_t *bytes) {
    size_t n = strlen(text), digits = strspn(text, "0123456789.");
    char number[32];
    double value;
    if (!digits || digits >= sizeof number || n > digits + 3) return false;
    memcpy(number, text, digits);
    number[digits] = '\0';
    const char *unit = text + digits;
    bool mega = !strcmp(unit, "M") || !strcmp(unit, "MiB"),
         giga = !*unit || !strcmp(unit, "G") || !strcmp(unit, "GiB");
    if ((!mega && !giga) || !parse_double(number, &value) || value <= 0 || value > 1e6) return false;
    *bytes = (uint64_t)(value * (mega ? 1 << 20 : 1 << 30));
    return true;
}

static bool is_package(const char *path) {
    char manifest[4096];
    struct stat st;
    int n = snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    return n > 0 && (size_t)n < sizeof manifest && stat(manifest, &st) == 0;
}

/* Opens and plans one artifact. On success the caller closes *model. */
static int plan_one(LaunchPlan *plan, Model **model, const char *path, Error *err) {
    plan->path = path;
    TRY(model_open(model, path, NULL, err));
    int code = launch_plan(plan, *model, err);
    if (code) {
        model_close(*model);
        *model = NULL;
    }
    return code;
}

/* A package's artifact with the plan for it. */
typedef struct Choice {
    LaunchPlan plan;
    Model *model; /* NULL: none yet */
    bool f32;
} Choice;

/* Is `b` the better choice: one that fits over one that doesn't; F32 last, since it takes twice the memory of
 * BF16 and says nothing more; else the larger of two that fit, the smaller of two that don't? */
static bool better(const Choice *b, const Choice *a) {
    if (!a->model || b->plan.fits != a->plan.fits) return !a->model || b->plan.fits;
    if (b->f32 != a->f32) return a->f32;
    return b->plan.fits ? b->plan.weights > a->plan.weights : b->plan.weights < a->plan.weights;
}

/* The artifact of a package that suits the engine and the memory. */
static int plan_package(LaunchPlan *plan, Model **model, const char *directory, Arena *arena, Error *err) {
    Manifest *m;
    Choice best = {.model = NULL};
    bool gguf = launch_engine_takes_gguf(plan->engine);
    TRY(manifest_read(&m, directory, NULL, err));
    int code = 0;
    for (size_t i = 0; !code && i < m->n_artifacts; i++) {
        const Artifact *a = &m->artifacts[i];
        Choice one = {.plan = *plan, .f32 = !strcmp(a->type, "f32")};
        if (!strcmp(a->format, "gguf") != gguf) continue;
        char *path = arena_printf(arena, "%s/%s", directory, a->path);
        code = path ? plan_one(&one.plan, &one.model, path, err) : error_memory(err, directory);
        if (code) continue;
        bool wins = better(&one, &best);
        model_close(wins ? best.model : one.model);
        if (wins) best = one;
    }
    manifest_close(m);
    if (!code && !best.model)
        code = error_set(err, ERR_USAGE, "%s holds nothing that %s takes (%s)", directory,
                         launch_engine_name(plan->engine), gguf ? "a GGUF" : "the Hugging Face form");
    if (code) {
        model_close(best.model);
        return code;
    }
    *model = best.model;
    *plan = best.plan;
    return 0;
}

static int print_json(const LaunchPlan *p, const Buffer *script, Error *err) {
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddStringToObject(doc, "engine", launch_engine_name(p->engine));
    cJSON_AddStringToObject(doc, "artifact", p->path);
    cJSON_AddNumberToObject(doc, "context", p->context);
    cJSON_AddNumberToObject(doc, "weights", (double)p->weights);
    cJSON_AddNumberToObject(doc, "kv_f16_a_position", (double)p->kv_f16);
    cJSON_AddNumberToObject(doc, "kv_q8_0_a_position", (double)p->kv_q8_0);
    cJSON_AddNumberToObject(doc, "compute", (double)p->compute);
    cJSON_AddNumberToObject(doc, "driver", (double)p->driver);
    if (p->vram) {
        cJSON_AddNumberToObject(doc, "vram", (double)p->vram);
        cJSON_AddBoolToObject(doc, "fits", p->fits);
        cJSON_AddStringToObject(doc, "cache", p->cache == CACHE_F16 ? "f16" : "q8_0");
        cJSON_AddNumberToObject(doc, "layers_on_gpu", p->layers_on_gpu);
        cJSON_AddNumberToObject(doc, "expert_layers_on_cpu", p->expert_layers_on_cpu);
        cJSON_AddNumberToObject(doc, "most_context_f16", (double)p->most_f16);
        cJSON_AddNumberToObject(doc, "most_context_q8_0", (double)p->most_q8_0);
    }
    cJSON_AddStringToObject(doc, "script", buffer_string(script));
    return cli_print_json(doc, err);
}

static int finish(Cli *cli, const LaunchPlan *plan, const char *path, Error *err) {
    Buffer script, words;
    buffer_init(&script, NULL);
    buffer_init(&words, NULL);
    launch_script(plan, &script);
    launch_explain(plan, "", &words);
    int code = buffer_ok(&script, "a script", err);
    if (!code) code = buffer_ok(&words, "a plan", err);
    if (!code && path) code = output_file(path, script.data, script.length, NULL, err);
    if (!code && path && plan->engine != ENGINE_OLLAMA && chmod(path, 0755) != 0)
        code = error_set(err, ERR_IO, "%s can't be made executable", path);
    if (!code && cli->json)
        code = print_json(plan, &script, err);
    else if (!code && !path)
        fputs(buffer_string(&script), stdout);
    else if (!code && !cli->quiet)
        printf("%s%s\n", buffer_string(&words), path);
    buffer_free(&script);
    buffer_free(&words);
    return code;
}

static int launch(Cli *cli, LaunchPlan *plan, const char *path, const char *import, Error *err) {
    const char *artifact = cli->args.items[0];
    Model *model = NULL;
    Arena *arena;
    char whole[CLI_PATH_MAX];
    if (strpbrk(artifact, "\n\r"))
        return error_set(err, ERR_USAGE, "a path with a line end can't stand in a script");
    TRY(arena_open(&arena, NULL, err));
    int code = is_package(artifact) ? plan_package(plan, &model, artifact, arena, err)
                                    : plan_one(plan, &model, artifact, err);
    if (!code && !import) code = cli_path_from(plan->path, path, whole, &plan->path, err);
    if (!code && strpbrk(plan->path, "\n\r"))
        code = error_set(err, ERR_USAGE, "a path with a line end can't stand in a script");
    if (!code) code = import ? ollama_import(cli, plan, import, err) : finish(cli, plan, path, err);
    model_close(model);
    arena_close(arena);
    return code;
}

static int find_vram(LaunchPlan *plan, const cJSON *table, const char *gpu, const char *vram, Error *err) {
    if (gpu && vram) return error_set(err, ERR_USAGE, "--gpu and --vram say the same; give one");
    if (vram && !parse_vram(vram, &plan->vram))
        return error_set(err, ERR_USAGE, "--vram %s: a size such as 48G (GiB) is expected", vram);
    return gpu ? gpu_find(table, gpu, &plan->vram, &plan->gpu, err) : 0;
}

static int cmd_launch(Cli *cli, int argc, char **argv, Error *err) {
    const char *engine = NULL, *gpu = NULL, *vram = NULL, *table_path = NULL, *path = NULL, *import = NULL;
    LaunchPlan plan = {.engine = ENGINE_COUNT};
    bool replace = false;
    const OptionSpec specs[] = {
        {"--engine", 0, OPTION_STRING, "NAME",
         "llama.cpp, text-generation-webui, vllm, sglang, transformers or ollama", &engine},
        {"--gpu", 0, OPTION_STRING, "NAME", "\"RTX 6000 Ada\": its memory is looked up", &gpu},
        {"--vram", 0, OPTION_STRING, "SIZE", "48G: GiB of GPU memory", &vram},
        {"--gpu-table", 0, OPTION_STRING, "FILE", "look there instead of in the program's own table",
         &table_path},
        {"--context", 0, OPTION_U32, "N", "positions (default: the model's)", &plan.context},
        {"--import", 0, OPTION_STRING, "NAME",
         "ollama: link the file into its store, and make the model NAME if it runs", &import},
        {"--out", 'o', OPTION_STRING, "FILE", "write the script there (default: standard output)", &path},
        {"--output", 0, OPTION_STRING, "FILE", NULL, &path}, /* what it was called before */
        {"--replace", 0, OPTION_FLAG, NULL, "FILE may exist: it is replaced", &replace},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!engine || !launch_engine_by_name(engine, &plan.engine))
        return error_set(
            err, ERR_USAGE,
            "--engine%s%s: llama.cpp, text-generation-webui, vllm, sglang, transformers and ollama are "
            "offered",
            engine ? " " : "", engine ? engine : "");
    if (!replace) TRY(cli_check_new(path, "-o", err));
    cJSON *table;
    TRY(gpus_load(&table, table_path, err));
    int code = find_vram(&plan, table, gpu, vram, err);
    if (!code) code = launch(cli, &plan, path, import, err);
    cJSON_Delete(table);
    return code;
}

const Command command_launch = {
    .name = "launch",
    .summary = "write a start script for another engine, and say what fits into a GPU",
    .usage = "launch ARTIFACT --engine NAME [--gpu NAME | --vram 48G] [--context N] [-o FILE]",
    .details = "ARTIFACT is a GGUF, a checkpoint directory or a package (then the artifact that suits the "
               "engine and the "
               "memory).\nThe script is commented: weights, KV cache and context, with the arithmetic.",
    .examples = "  recast launch out/tiny-extreme --engine llama.cpp -o start.sh\n"
                "  recast launch model-Q4_K_M.gguf --engine llama.cpp --gpu \"RTX 4090\" --context 131072\n"
                "  recast launch package/hf --engine vllm --vram 80G -o vllm.sh\n"
                "  recast launch model.gguf --engine ollama -o Modelfile\n"
                "  recast launch model.gguf --engine ollama --import mine\n",
    .run = cmd_launch,
};
