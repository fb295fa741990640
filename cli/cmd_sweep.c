/* cmd_sweep.c -- expert counts and RoPE settings beside each other: what they cost and what they do. */
#include "cli/sweep.h"
#include "core/input.h"
#include "model/views.h"
#include "runner/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_TEXT = 256 << 20 };

typedef struct SweepArgs {
    const char *text, *experts, *rope, *windows, *kv, *device, *html, *csv, *picture;
    uint32_t max_tokens;
    bool no_speed, replace;
    SweepOptions options;
} SweepArgs;

/* ---- settings ---- */

static cJSON *rope_json(const char *rope, uint32_t context) {
    const char *colon = strchr(rope, ':');
    cJSON *o = cJSON_CreateObject();
    char type[16] = "";
    snprintf(type, sizeof type, "%.*s", (int)(colon ? colon - rope : (long)strlen(rope)), rope);
    cJSON_AddStringToObject(o, "rope_type", type);
    if (colon) cJSON_AddNumberToObject(o, "factor", strtod(colon + 1, NULL));
    if (!strcmp(type, "yarn")) cJSON_AddNumberToObject(o, "original_max_position_embeddings", context);
    return o;
}

/* rope NULL: as it is. */
static int add_setting(Sweep *s, uint32_t experts, const char *rope, Error *err) {
    const ModelParams *p = &s->model->params;
    if (s->n_settings == SWEEP_MOST_SETTINGS)
        return error_set(err, ERR_USAGE, "more than %d settings in one sweep", SWEEP_MOST_SETTINGS);
    if (rope && !strcmp(rope, rope_type_name(p->rope.type)) && p->rope.type == ROPE_DEFAULT) rope = NULL;
    const char *name = rope ? rope : rope_type_name(p->rope.type);
    for (size_t i = 0; i < s->n_settings; i++)
        if (s->settings[i].experts == experts && !strcmp(s->settings[i].rope, name)) return 0;
    SweepSetting *t = &s->settings[s->n_settings++];
    *t = (SweepSetting){.experts = experts, .context = p->context, .rope = name};
    t->overrides = cJSON_CreateObject();
    cJSON_AddNumberToObject(t->overrides, "num_experts_per_tok", experts);
    if (rope) {
        double factor = strchr(rope, ':') ? strtod(strchr(rope, ':') + 1, NULL) : 1;
        if (factor >= 1 && factor * p->context < 1e9) t->context = (uint32_t)(factor * p->context);
        cJSON_AddItemToObject(t->overrides, "rope_scaling", rope_json(rope, p->context));
        cJSON_AddNumberToObject(t->overrides, "max_position_embeddings", t->context);
    }
    OverrideOptions lenient = {.accept_inert_dynamic = true};
    return override_open(&t->model, s->model, t->overrides, lenient, NULL, err);
}

/* Calls for each word of a list with commas. */
static int each_word(Sweep *s, const char *list, const char *option,
                     int (*take)(Sweep *s, const char *word, const void *with, Error *err), const void *with,
                     Error *err) {
    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ",");
        char *word = arena_printf(s->arena, "%.*s", (int)n, at);
        if (!word) return error_memory(err, option);
        if (!n) return error_set(err, ERR_USAGE, "%s: an empty word in \"%s\"", option, list);
        TRY(take(s, word, with, err));
        at += n;
        if (!*at) return 0;
    }
}

static int take_experts(Sweep *s, const char *word, const void *rope, Error *err) {
    char *end;
    unsigned long n = strtoul(word, &end, 10);
    if (*end || n < 1 || n > s->model->params.n_experts)
        return error_set(err, ERR_USAGE, "--experts %s: the model has 1 to %u to choose from", word,
                         s->model->params.n_experts);
    return add_setting(s, (uint32_t)n, rope, err);
}

static int take_rope(Sweep *s, const char *word, const void *experts, Error *err) {
    const char *colon = strchr(word, ':');
    char *end = NULL;
    const char *type = arena_printf(s->arena, "%.*s", (int)strcspn(word, ":"), word);
    if (!type) return error_memory(err, "--rope");
    if (rope_type_by_name(type) == ROPE_UNKNOWN)
        return error_set(err, ERR_USAGE, "--rope %s: default, linear:X, dynamic:X and yarn:X are offered",
                         word);
    if (colon) strtod(colon + 1, &end);
    if (colon && (end == colon + 1 || *end))
        return error_set(err, ERR_USAGE, "--rope %s: a number is expected behind the colon, as in yarn:4",
                         word);
    return each_word(s, experts, "--experts", take_experts, word, err);
}

static int take_window(Sweep *s, const char *word, const void *with, Error *err) {
    char *end;
    unsigned long n = strtoul(word, &end, 10);
    (void)with;
    if (*end || n < 2 || n > 1 << 20)
        return error_set(err, ERR_USAGE, "--window %s: a number of tokens", word);
    if (s->n_windows == SWEEP_MOST_WINDOWS)
        return error_set(err, ERR_USAGE, "more than %d windows in one sweep", SWEEP_MOST_WINDOWS);
    s->windows[s->n_windows++] = (uint32_t)n;
    return 0;
}

static int choose_settings(Sweep *s, const SweepArgs *a, Error *err) {
    const ModelParams *p = &s->model->params;
    s->settings = arena_alloc(s->arena, SWEEP_MOST_SETTINGS, sizeof *s->settings);
    if (!s->settings) return error_memory(err, "the settings");
    s->settings[s->n_settings++] = (SweepSetting){.experts = p->n_experts_used,
                                                  .context = p->context,
                                                  .rope = rope_type_name(p->rope.type),
                                                  .base = true};
    for (size_t i = 0; i < s->model->n_tensors; i++) s->weight_bytes += tensor_bytes(&s->model->tensors[i]);
    TRY(each_word(s, a->windows, "--window", take_window, NULL, err));
    TRY(each_word(s, a->experts, "--experts", take_experts, NULL, err));
    return a->rope ? each_word(s, a->rope, "--rope", take_rope, a->experts, err) : 0;
}

/* ---- the command ---- */

static int tokenize(Tokens *out, const Model *model, const char *path, Arena *arena, Error *err) {
    Vocab *vocab;
    Tokenizer *tokenizer = NULL;
    char *text;
    size_t length;
    TRY(input_read_file(&text, &length, path, LARGEST_TEXT, arena, err));
    TRY(vocab_open(&vocab, model, NULL, err));
    int code = tokenizer_open(&tokenizer, vocab, NULL, err);
    if (!code) code = tokenizer_encode(tokenizer, text, length, out, err);
    tokenizer_close(tokenizer);
    vocab_close(vocab);
    return code;
}

static int report(Cli *cli, const Sweep *s, const SweepArgs *a, Error *err) {
    cli_end_progress(cli);
    if (a->csv) TRY(sweep_csv(s, a->csv, err));
    if (a->picture) TRY(sweep_picture(s, a->picture, err));
    if (a->html) TRY(sweep_page(s, a->html, err));
    if (cli->json) return cli_print_json(sweep_json(s), err);
    sweep_print(s);
    return 0;
}

/* All settings are there at the same time, each with its own cache; the weights are the same. */
static int plan_memory(const Cli *cli, Sweep *s, SweepArgs *a, Error *err) {
    RunnerOptions options = a->options.runner;
    options.context = sweep_context(s);
    for (size_t i = 0; i < s->n_settings; i++) {
        const Model *m = s->settings[i].model;
        TRY(memory_plan_add(&s->memory, m ? m : s->model, options, i > 0, err));
    }
    memory_plan_room(&s->memory, eval_room_bytes(&s->model->params, s->n_settings, options.context));
    return memory_plan_settle(cli, &s->memory, &a->options.runner.device, err);
}

/* A window of n_tokens or fewer may reach behind a setting's context, where it says nothing of the setting.
 */
static void warn_long_windows(const Cli *cli, const Sweep *s, size_t n_tokens) {
    uint32_t window = 0, context = UINT32_MAX;
    for (size_t i = 0; i < s->n_windows; i++)
        if (s->windows[i] > window) window = s->windows[i];
    for (size_t i = 0; i < s->n_settings; i++)
        if (s->settings[i].context < context) context = s->settings[i].context;
    if (window > context && n_tokens > context && !cli->quiet)
        fprintf(stderr, "recast sweep: warning: windows of %u, but a setting's context length is %u\n",
                window, context);
}

static int sweep(Cli *cli, const Model *model, SweepArgs *a, Error *err) {
    Sweep s = {.model = model};
    DeviceLine line = {.cli = cli, .plan = &s.memory};
    Tokens tokens;
    tokens_init(&tokens, NULL);
    TRY(arena_open(&s.arena, NULL, err));
    int code = choose_settings(&s, a, err);
    if (!code) code = tokenize(&tokens, model, a->text, s.arena, err);
    if (!code && !tokens.count) code = error_set(err, ERR_USAGE, "%s has no tokens", a->text);
    if (!code)
        warn_long_windows(cli, &s,
                          a->max_tokens && a->max_tokens < tokens.count ? a->max_tokens : tokens.count);
    a->options.device = &line;
    if (!code) code = plan_memory(cli, &s, a, err);
    if (!code) code = sweep_measure(&s, tokens.ids, tokens.count, a->options, err);
    if (!code) code = report(cli, &s, a, err);
    for (size_t i = 0; s.settings && i < s.n_settings; i++) {
        model_close(s.settings[i].model);
        cJSON_Delete(s.settings[i].overrides);
    }
    tokens_free(&tokens);
    arena_close(s.arena);
    return code;
}

/* Before the work, which may take hours. */
static int check_files(const SweepArgs *a, Error *err) {
    if (a->replace) return 0;
    TRY(cli_check_new(a->html, "--html", err));
    TRY(cli_check_new(a->picture, "--picture", err));
    return cli_check_new(a->csv, "--csv", err);
}

static int cmd_sweep(Cli *cli, int argc, char **argv, Error *err) {
    SweepArgs a = {.experts = "4,8,12,16", .windows = "2048", .kv = "f32"};
    const OptionSpec specs[] = {
        {"--text", 'f', OPTION_STRING, "FILE", "the text", &a.text},
        {"--experts", 0, OPTION_STRING, "N,N,...",
         "experts a token (4,8,12,16); the model's own is always there", &a.experts},
        {"--rope", 0, OPTION_STRING, "R,R,...", "also with these: default, linear:2, yarn:4", &a.rope},
        {"--window", 0, OPTION_STRING, "N,N,...", "tokens of a window, up to four lengths (2048)",
         &a.windows},
        {"--tokens", 'n', OPTION_U32, "N", "only the first N tokens of the text", &a.max_tokens},
        {"--no-speed", 0, OPTION_FLAG, NULL, "don't measure tokens a second", &a.no_speed},
        {"--kv", 0, OPTION_STRING, "TYPE", "of the KV cache: f32 (default), f16 or q8_0", &a.kv},
        DEVICE_OPTION(a.device),
        {"--html", 0, OPTION_STRING, "FILE", "one page with pictures", &a.html},
        {"--picture", 0, OPTION_STRING, "FILE.svg",
         "the pictures alone, without speeds, for a model card (package.sweep of a recipe)", &a.picture},
        {"--csv", 0, OPTION_STRING, "FILE", "a table, without speeds", &a.csv},
        {"--replace", 0, OPTION_FLAG, NULL,
         "files of --html, --picture and --csv may exist: they are replaced", &a.replace},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!a.text) return error_set(err, ERR_USAGE, "--text FILE is missing");
    if (!kv_type_by_name(&a.options.runner.kv, a.kv))
        return error_set(err, ERR_USAGE, "--kv takes f32, f16 or q8_0, not \"%s\"", a.kv);
    TRY(device_option_parse(&a.options.runner.device, a.device, err));
    TRY(check_files(&a, err));
    a.options.runner.threads = cli->threads;
    a.options.speed = !a.no_speed;
    a.options.max_tokens = a.max_tokens;
    a.options.progress = &cli->progress;
    Subject s;
    TRY(subject_open(&s, cli->args.items[0], NULL, 0, err));
    int code = s.recipe ? error_set(err, ERR_USAGE,
                                    "a sweep takes a checkpoint or a GGUF and tries the settings itself")
                        : sweep(cli, s.model, &a, err);
    subject_close(&s);
    return code;
}

const Command command_sweep = {
    .name = "sweep",
    .summary = "what more or fewer experts and a stretched context do to a model",
    .usage = "sweep MODEL --text FILE [--experts 4,8,12,16] [--rope yarn:4] [options]",
    .details = "Every setting reads the same text in the same walk: perplexity, KL divergence and top-1 "
               "agreement against the model's own\n"
               "setting with paired intervals, the share of the router's probability that the chosen experts "
               "hold, and the sampling\n"
               "temperature at which the model's own setting would be as undecided; beside it parameters, "
               "bytes and speed.",
    .examples =
        "  recast sweep Qwen3-30B-A3B-Q4_K_M.gguf --text wiki.txt --tokens 16384 --html sweep.html\n"
        "  recast sweep model/ --text book.txt --experts 8,16 --rope default,yarn:4 --window 2048,8192\n",
    .run = cmd_sweep,
};
