/* cmd_eval.c -- how well a model predicts a text, alone or beside another. */
#include "cli/eval_args.h"
#include "core/input.h"
#include "core/strict_math.h"
#include "runner/eval_text.h"
#include "runner/tokenizer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LARGEST_TEXT = 256 << 20, WINDOW = 2048 };

/* Both models over one text. */
typedef struct Evaluation {
    const EvalArgs *args;
    const EvalText *text;
    const MemoryPlan *memory;
    double *values; /* room for a figure of each position */
} Evaluation;

/* ---- figures ---- */

static EvalMean mean(const Evaluation *e, size_t model, EvalFigure figure, uint32_t from, uint32_t to,
                     size_t *n) {
    *n = eval_text_figures(e->values, e->text, model, figure, from, to);
    return eval_mean(e->values, *n);
}

static EvalMean all(const Evaluation *e, size_t model, EvalFigure figure) {
    size_t n;
    return mean(e, model, figure, 0, UINT32_MAX, &n);
}

/* Of the mean of -log p. */
static double standard_error(const Evaluation *e, size_t model) {
    return eval_standard_error(e->values,
                               eval_text_figures(e->values, e->text, model, eval_nll, 0, UINT32_MAX));
}

static double quantile(const Evaluation *e, EvalFigure figure, double q) {
    size_t n = eval_text_figures(e->values, e->text, 1, figure, 0, UINT32_MAX);
    return eval_quantile(e->values, n, q);
}

/* Positions 0 to 63, 64 to 127, 128 to 255 ... */
static bool next_bucket(uint32_t *from, uint32_t *to, uint32_t window) {
    *from = *to;
    *to = *from < 64 ? 64 : 2 * *from;
    return *from + 1 < window;
}

/* ---- text ---- */

static void print_perplexity(const Evaluation *e, size_t model, const char *name) {
    EvalMean entropy = all(e, model, eval_entropy), nll = all(e, model, eval_nll);
    double perplexity = strict_exp(nll.mean);
    printf("%-10s  perplexity %.4f +/- %.4f (%.4f to %.4f), %.5f nats a token, entropy %.4f\n", name,
           perplexity, perplexity * standard_error(e, model), strict_exp(nll.mean - nll.error),
           strict_exp(nll.mean + nll.error), nll.mean, entropy.mean);
}

static void print_buckets(const Evaluation *e, const char *const *names) {
    printf("\nposition in the window    tokens");
    for (size_t k = 0; k < e->text->n_models; k++) printf("  %12s", names[k]);
    printf("\n");
    for (uint32_t from = 0, to = 0; next_bucket(&from, &to, e->args->window);) {
        size_t n;
        mean(e, 0, eval_nll, from, to, &n);
        if (!n) continue;
        printf("%10u to %-10u %7zu", from, (to < e->args->window ? to : e->args->window) - 1, n);
        for (size_t k = 0; k < e->text->n_models; k++)
            printf("  %12.4f", strict_exp(mean(e, k, eval_nll, from, to, &n).mean));
        printf("\n");
    }
}

static void print_comparison(const Evaluation *e) {
    EvalMean kl = all(e, 1, eval_kl), same = all(e, 1, eval_same), error = all(e, 1, eval_error);
    double ratio = strict_exp(all(e, 1, eval_nll).mean - all(e, 0, eval_nll).mean);
    printf("\nthe model against the one of --against, at the same positions:\n");
    printf("perplexity ratio  %.5f\n", ratio);
    printf("KL divergence     mean %.6f +- %.6f, 99 %% %.5f, 99.9 %% %.5f nats\n", kl.mean, kl.error,
           quantile(e, eval_kl, 0.99), quantile(e, eval_kl, 0.999));
    printf("top-1 agreement   %.3f %% +- %.3f\n", 100 * same.mean, 100 * same.error);
    printf("logit error       mean %.5f +- %.5f of their norm\n", error.mean, error.error);
}

static void print_text(const Evaluation *e) {
    static const char *const alone[] = {"model"}, *const both[] = {"against", "model"};
    const EvalText *t = e->text;
    const char *const *names = t->n_models == 2 ? both : alone;
    printf("%zu tokens in windows of %u, %zu scored%s\n\n", t->n_tokens, e->args->window, t->n,
           e->args->llama ? " (the second half of each whole window)" : "");
    for (size_t k = 0; k < t->n_models; k++) print_perplexity(e, k, names[k]);
    if (t->n_models == 2) print_comparison(e);
    print_buckets(e, names);
}

/* ---- JSON ---- */

void eval_put_mean(cJSON *o, const char *key, EvalMean m) {
    cJSON *item = cJSON_AddObjectToObject(o, key);
    cJSON_AddNumberToObject(item, "mean", m.mean);
    cJSON_AddNumberToObject(item, "error", m.error);
}

static void put_model(cJSON *doc, const char *key, const Evaluation *e, size_t model) {
    cJSON *o = cJSON_AddObjectToObject(doc, key);
    EvalMean nll = all(e, model, eval_nll);
    double perplexity = strict_exp(nll.mean);
    cJSON_AddNumberToObject(o, "perplexity", perplexity);
    cJSON_AddNumberToObject(o, "perplexity_standard_error", perplexity * standard_error(e, model));
    eval_put_mean(o, "nll", nll);
    eval_put_mean(o, "entropy", all(e, model, eval_entropy));
    cJSON *list = cJSON_AddArrayToObject(o, "by_position");
    for (uint32_t from = 0, to = 0; next_bucket(&from, &to, e->args->window);) {
        size_t n;
        EvalMean m = mean(e, model, eval_nll, from, to, &n);
        if (!n) continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "from", from);
        cJSON_AddNumberToObject(item, "to", to < e->args->window ? to : e->args->window);
        cJSON_AddNumberToObject(item, "tokens", (double)n);
        cJSON_AddNumberToObject(item, "nll", m.mean);
        cJSON_AddItemToArray(list, item);
    }
}

static void put_comparison(cJSON *doc, const Evaluation *e) {
    cJSON *o = cJSON_AddObjectToObject(doc, "comparison");
    eval_put_mean(o, "kl", all(e, 1, eval_kl));
    cJSON_AddNumberToObject(o, "kl_99", quantile(e, eval_kl, 0.99));
    cJSON_AddNumberToObject(o, "kl_999", quantile(e, eval_kl, 0.999));
    eval_put_mean(o, "top1", all(e, 1, eval_same));
    eval_put_mean(o, "logit_error", all(e, 1, eval_error));
    cJSON_AddNumberToObject(o, "perplexity_ratio",
                            strict_exp(all(e, 1, eval_nll).mean - all(e, 0, eval_nll).mean));
}

static int print_json(const Evaluation *e, const char *arithmetic, Error *err) {
    const EvalText *t = e->text;
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddNumberToObject(doc, "tokens", (double)t->n_tokens);
    cJSON_AddNumberToObject(doc, "window", e->args->window);
    cJSON_AddNumberToObject(doc, "scored", (double)t->n);
    cJSON_AddStringToObject(doc, "style", e->args->llama ? "second half" : "plain");
    cJSON_AddStringToObject(doc, "arithmetic", arithmetic);
    if (t->n_models == 2) put_model(doc, "against", e, 0);
    put_model(doc, "model", e, t->n_models - 1);
    memory_plan_put(doc, e->memory);
    if (t->n_models == 2) put_comparison(doc, e);
    return cli_print_json(doc, err);
}

/* ---- the command ---- */

static int evaluate(Cli *cli, const EvalArgs *a, Runner *const *runners, size_t n, const Tokens *tokens,
                    const MemoryPlan *memory, Error *err) {
    EvalText *text;
    EvalTextOptions options = {.window = a->window,
                               .second_half = a->llama,
                               .max_tokens = a->max_tokens,
                               .progress = &cli->progress,
                               .phase = "evaluate"};
    TRY(eval_text(&text, runners, n, tokens->ids, tokens->count, options, NULL, err));
    Evaluation e = {.args = a, .text = text, .memory = memory};
    e.values = arena_alloc(text->arena, text->n, sizeof *e.values);
    int code = e.values ? 0 : error_memory(err, "the figures");
    cli_end_progress(cli);
    if (!code && cli->json)
        code = print_json(&e, runner_arithmetic(runners[n - 1]), err);
    else if (!code)
        print_text(&e);
    eval_text_close(text);
    return code;
}

static int same_vocabulary(const Model *a, const Model *b, Error *err) {
    if (a->params.n_vocab == b->params.n_vocab && a->params.n_embd == b->params.n_embd) return 0;
    return error_set(err, ERR_USAGE,
                     "%s and %s have different shapes or vocabularies: they can't be compared token by token",
                     a->path, b->path);
}

/* What is evaluated: a text, or prompts that are made as it goes. */
typedef struct Input {
    Vocab *vocab;
    Tokenizer *tokenizer;
    Tokens tokens;
} Input;

static int plan_memory(const Cli *cli, MemoryPlan *plan, EvalArgs *a, const Model *model,
                       const Model *against, Error *err) {
    if (against) TRY(memory_plan_add(plan, against, a->runner, false, err));
    TRY(memory_plan_add(plan, model, a->runner, false, err));
    memory_plan_room(plan, eval_room_bytes(&model->params, plan->n_runners, a->window));
    return memory_plan_settle(cli, plan, &a->runner.device, err);
}

static int run_models(Cli *cli, EvalArgs *a, const Model *model, const Model *against, const Input *input,
                      Error *err) {
    Runner *runners[2] = {NULL, NULL};
    size_t n = 0;
    if (!a->window) a->window = model->params.context < WINDOW ? model->params.context : WINDOW;
    a->runner.context = a->window;
    a->runner.threads = cli->threads;
    if (a->window > model->params.context && !cli->quiet)
        fprintf(stderr, "recast eval: warning: windows of %u, but the model's context length is %u\n",
                a->window, model->params.context);
    MemoryPlan memory = {0};
    DeviceLine line = {.cli = cli, .plan = &memory};
    int code = against ? same_vocabulary(model, against, err) : 0;
    if (!code) code = plan_memory(cli, &memory, a, model, against, err);
    if (!code && against) code = runner_open(&runners[n], against, a->runner, NULL, err);
    if (!code && against) n++;
    if (!code) code = runner_open(&runners[n], model, a->runner, NULL, err);
    for (size_t i = 0; !code && i <= n; i++) device_line_opened(&line, runners[i]);
    if (!code && a->passkey)
        code = eval_passkey(cli, a, runners, n + 1, input->tokenizer, &memory, err);
    else if (!code)
        code = evaluate(cli, a, runners, n + 1, &input->tokens, &memory, err);
    runner_close(runners[0]);
    runner_close(runners[1]);
    return code;
}

static int read_text(Input *in, const char *path, Error *err) {
    Arena *arena;
    char *text;
    size_t length;
    TRY(arena_open(&arena, NULL, err));
    int code = input_read_file(&text, &length, path, LARGEST_TEXT, arena, err);
    if (!code) code = tokenizer_encode(in->tokenizer, text, length, &in->tokens, err);
    arena_close(arena);
    return code;
}

static int open_input(Input *in, const Model *model, const EvalArgs *a, Error *err) {
    TRY(vocab_open(&in->vocab, model, NULL, err));
    TRY(tokenizer_open(&in->tokenizer, in->vocab, NULL, err));
    return a->text ? read_text(in, a->text, err) : 0;
}

static void close_input(Input *in) {
    tokens_free(&in->tokens);
    tokenizer_close(in->tokenizer);
    vocab_close(in->vocab);
}

static int parse_types(EvalArgs *a, Error *err) {
    if (!kv_type_by_name(&a->runner.kv, a->kv))
        return error_set(err, ERR_USAGE, "--kv takes f32, f16 or q8_0, not \"%s\"", a->kv);
    if (!strcmp(a->activations, "f32"))
        a->runner.activations = ACTIVATIONS_F32;
    else if (strcmp(a->activations, "q8"))
        return error_set(err, ERR_USAGE, "--activations takes q8 or f32, not \"%s\"", a->activations);
    return 0;
}

static int check_args(EvalArgs *a, Error *err) {
    if (!a->text && !a->passkey)
        return error_set(err, ERR_USAGE, "--text FILE is missing (or --passkey LENGTHS)");
    if (!a->passkey) return 0;
    if (a->text || a->window || a->llama || a->max_tokens)
        return error_set(err, ERR_USAGE,
                         "--passkey makes its own texts; it goes with none of --text, --window, "
                         "--tokens and --llama");
    return eval_passkey_parse(a, err);
}

static int cmd_eval(Cli *cli, int argc, char **argv, Error *err) {
    EvalArgs a = {.kv = "f32", .activations = "q8", .depths = "0,25,50,75,100", .grid = {.trials = 5}};
    const OptionSpec specs[] = {
        {"--text", 'f', OPTION_STRING, "FILE", "the text", &a.text},
        {"--against", 0, OPTION_STRING, "MODEL", "compare with this model's predictions, in the same walk",
         &a.against},
        {"--window", 0, OPTION_U32, "N", "tokens of a window (the context length, at most 2048)", &a.window},
        {"--tokens", 'n', OPTION_U32, "N", "only the first N tokens of the text", &a.max_tokens},
        {"--llama", 0, OPTION_FLAG, NULL,
         "score as llama-perplexity does: the second half of each whole window", &a.llama},
        {"--passkey", 0, OPTION_STRING, "N,N,...",
         "instead of a text: find a number that is hidden in so many tokens", &a.passkey},
        {"--depths", 0, OPTION_STRING, "D,D,...",
         "with --passkey: where it is hidden, in percent (0,25,50,75,100)", &a.depths},
        {"--trials", 0, OPTION_U32, "N", "with --passkey: numbers for each length and depth (5)",
         &a.grid.trials},
        {"--seed", 0, OPTION_U64, "S", "with --passkey: of numbers and texts (0)", &a.grid.seed},
        {"--kv", 0, OPTION_STRING, "TYPE", "of the KV cache: f32 (default), f16 or q8_0", &a.kv},
        {"--activations", 0, OPTION_STRING, "TYPE", "that quantized weights meet: q8 (default) or f32",
         &a.activations},
        DEVICE_OPTION(a.device),
        {"--set", 0, OPTION_LIST, "KEY=VALUE", "change a value of the recipe", &a.sets},
        {"--output", 0, OPTION_U32, "N", "the recipe's N-th output instead of the unconverted weights",
         &a.output},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    TRY(check_args(&a, err));
    TRY(parse_types(&a, err));
    TRY(device_option_parse(&a.runner.device, a.device, err));
    Subject s, other = {0};
    Input input = {0};
    tokens_init(&input.tokens, NULL);
    TRY(subject_open(&s, cli->args.items[0], &a.sets, a.output, err));
    int code = a.against ? subject_open(&other, a.against, NULL, 0, err) : 0;
    if (!code) code = open_input(&input, s.model, &a, err);
    if (!code) code = run_models(cli, &a, s.model, a.against ? other.model : NULL, &input, err);
    close_input(&input);
    subject_close(&other);
    subject_close(&s);
    return code;
}

const Command command_eval = {
    .name = "eval",
    .summary = "perplexity of a model on a text, and how it differs from another",
    .usage = "eval MODEL (--text FILE | --passkey N,N,...) [--against MODEL] [options]",
    .details =
        "Plain windows, each scored from its second token on, or, with --llama, what llama-perplexity "
        "computes. All weights\n"
        "are read once a window, so a model larger than memory can be judged. With --passkey: does it find a "
        "number that is hidden\n"
        "in a long text?",
    .examples =
        "  recast eval model-Q4_K_M.gguf --text wiki.txt --against model-BF16.gguf\n"
        "  recast eval recipe.json --text book.txt --window 8192 --tokens 65536\n"
        "  recast eval model.gguf --passkey 8192,32768,131072 --depths 0,50,100 --trials 10 --kv f16\n",
    .run = cmd_eval,
};
