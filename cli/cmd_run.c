/* cmd_run.c -- generate with a model: greedy unless --temp. */
#include "cli/cli.h"
#include "cli/progress_line.h"
#include "core/json.h"
#include "model/views.h"
#include "runner/generate.h"
#include "runner/tokenizer.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct RunArgs {
    const char *prompt, *kv, *activations;
    uint32_t n, output, top, chunk;
    OptionList sets;
    SampleOptions sample;
    RunnerOptions runner;
    bool recompute, ignore_end;
} RunArgs;

/* Text goes out as it comes, but never half a character. */
typedef struct Stream {
    const Tokenizer *tokenizer;
    Buffer pending;
    bool print;
} Stream;

static int emit(void *context, uint32_t token, Error *err) {
    Stream *s = context;
    if (!s->print) return 0;
    TRY(tokenizer_decode(s->tokenizer, &token, 1, &s->pending, err));
    size_t ready = utf8_complete_prefix(buffer_string(&s->pending), s->pending.length);
    fwrite(buffer_string(&s->pending), 1, ready, stdout);
    /* nobody reads on (`| head`): a large model must not go on for minutes */
    if (fflush(stdout) != 0 || ferror(stdout))
        return error_sys(err, ERR_IO, errno, "writing to standard output failed");
    char rest[8];
    size_t left = s->pending.length - ready;
    if (left > sizeof rest) left = 0;
    memcpy(rest, buffer_string(&s->pending) + ready, left);
    buffer_clear(&s->pending);
    buffer_append(&s->pending, rest, left);
    return buffer_ok(&s->pending, "the text", err);
}

static bool ends(void *context, uint32_t token) {
    return tokenizer_ends(((Stream *)context)->tokenizer, token);
}

static int parse_activations(RunArgs *a, Error *err) {
    if (!strcmp(a->activations, "f32"))
        a->runner.activations = ACTIVATIONS_F32;
    else if (strcmp(a->activations, "q8"))
        return error_set(err, ERR_USAGE, "--activations takes q8 or f32, not \"%s\"", a->activations);
    return 0;
}

static int parse_kv(RunArgs *a, Error *err) {
    if (kv_type_by_name(&a->runner.kv, a->kv)) return 0;
    return error_set(err, ERR_USAGE, "--kv takes f32, f16 or q8_0, not \"%s\"", a->kv);
}

/* The context to make room for: what was asked, or what the prompt and the answer need, up to the model's
 * own. A model may be run beyond its context length, with a warning: recipes are where that is an error. */
static int choose_context(Cli *cli, RunArgs *a, const ModelParams *p, size_t n_prompt, const char **warning,
                          Error *err) {
    uint64_t needed = (uint64_t)n_prompt + a->n;
    if (needed > UINT32_MAX)
        return error_set(err, ERR_LIMIT, "%llu positions are too many", (unsigned long long)needed);
    if (a->runner.context && needed > a->runner.context)
        return error_set(err, ERR_LIMIT,
                         "the prompt has %zu tokens and -n is %u: together more than --context %u", n_prompt,
                         a->n, a->runner.context);
    uint32_t asked = a->runner.context ? a->runner.context : (uint32_t)needed;
    if (asked > p->context) {
        *warning = "beyond the model's context length";
        if (!cli->quiet)
            fprintf(stderr, "recast run: warning: %u positions, but the model's context length is %u\n",
                    asked, p->context);
    }
    a->runner.context = (uint32_t)needed;
    return 0;
}

static cJSON *ids_json(const uint32_t *ids, size_t n) {
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++) cJSON_AddItemToArray(array, cJSON_CreateNumber(ids[i]));
    return array;
}

/* The `count` largest logits as [[id, logit], ...], best first, ties to the lower id. Picks one at a time:
 * count is small. */
static int top_json(cJSON **out, const float *logits, uint32_t n, uint32_t count, Error *err) {
    cJSON *top = cJSON_CreateArray();
    bool *taken = mem_alloc(NULL, n);
    if (!top || !taken) {
        cJSON_Delete(top);
        mem_free(NULL, taken);
        return error_memory(err, "the list of logits");
    }
    memset(taken, 0, n);
    for (uint32_t k = 0; k < count && k < n; k++) {
        uint32_t best = n;
        for (uint32_t i = 0; i < n; i++)
            if (!taken[i] && (best == n || logits[i] > logits[best])) best = i;
        taken[best] = true;
        cJSON *pair = cJSON_CreateArray();
        cJSON_AddItemToArray(pair, cJSON_CreateNumber(best));
        cJSON_AddItemToArray(pair, cJSON_CreateNumber((double)logits[best]));
        cJSON_AddItemToArray(top, pair);
    }
    mem_free(NULL, taken);
    *out = top;
    return 0;
}

static int print_json(const RunArgs *a, const Tokenizer *tokenizer, const Tokens *prompt, const Generation *g,
                      uint32_t n_vocab, const char *warning, Error *err) {
    Buffer raw, text;
    cJSON *top = NULL, *doc = cJSON_CreateObject();
    buffer_init(&raw, NULL);
    buffer_init(&text, NULL);
    int code = tokenizer_decode(tokenizer, g->tokens, g->n_tokens, &raw, err);
    if (!code) utf8_replace_invalid(&text, buffer_string(&raw), raw.length);
    if (!code) code = buffer_ok(&text, "the text", err);
    if (!code) code = top_json(&top, g->first_logits, n_vocab, a->top, err);
    if (!code && !doc) code = error_memory(err, "the JSON output");
    if (!code) {
        cJSON_AddItemToObject(doc, "prompt_ids", ids_json(prompt->ids, prompt->count));
        cJSON_AddItemToObject(doc, "ids", ids_json(g->tokens, g->n_tokens));
        cJSON_AddStringToObject(doc, "text", buffer_string(&text));
        cJSON_AddItemToObject(doc, "top", top);
        cJSON_AddStringToObject(doc, "arithmetic", g->arithmetic);
        cJSON_AddStringToObject(doc, "tokens_sha256", g->tokens_sha256);
        cJSON_AddStringToObject(doc, "logits_sha256", g->logits_sha256);
        if (warning) cJSON_AddStringToObject(doc, "warning", warning);
        cJSON *timings = cJSON_AddObjectToObject(doc, "timings");
        cJSON_AddNumberToObject(timings, "prefill_seconds", g->prefill_seconds);
        cJSON_AddNumberToObject(timings, "decode_seconds", g->decode_seconds);
        code = cli_print_json(doc, err);
    } else {
        cJSON_Delete(doc);
    }
    buffer_free(&raw);
    buffer_free(&text);
    return code;
}

static void print_summary(const Cli *cli, const Tokens *prompt, const Generation *g) {
    if (cli->quiet) return;
    fprintf(stderr, "%zu prompt tokens, %.1f tok/s; %u generated, %.1f tok/s; %s\n", prompt->count,
            (double)prompt->count / (g->prefill_seconds + 1e-9), g->n_tokens,
            g->n_tokens / (g->decode_seconds + 1e-9), g->arithmetic);
    if (cli->verbose)
        fprintf(stderr, "tokens sha256 %s\nlogits sha256 %s\n", g->tokens_sha256, g->logits_sha256);
}

static int run_prompt(Cli *cli, RunArgs *a, const Model *model, const Tokenizer *tokenizer,
                      const Tokens *prompt, Error *err) {
    Runner *runner = NULL;
    Generation *g = NULL;
    const char *warning = NULL;
    Stream stream = {.tokenizer = tokenizer, .print = !cli->json};
    buffer_init(&stream.pending, NULL);
    GenerateOptions options = {.max_tokens = a->n,
                               .stop_at_end = !a->ignore_end,
                               .prefill_chunk = a->chunk,
                               .recompute = a->recompute,
                               .ends = ends,
                               .emit = emit,
                               .context = &stream};
    int code = choose_context(cli, a, &model->params, prompt->count, &warning, err);
    a->runner.threads = cli->threads;
    if (!code) code = runner_open(&runner, model, a->runner, NULL, err);
    if (!code) code = generate(&g, runner, prompt->ids, prompt->count, a->sample, options, NULL, err);
    if (!code && cli->json) code = print_json(a, tokenizer, prompt, g, model->params.n_vocab, warning, err);
    if (!code && !cli->json) {
        fwrite(buffer_string(&stream.pending), 1, stream.pending.length, stdout);
        putchar('\n');
        fflush(stdout);
        print_summary(cli, prompt, g);
    }
    buffer_free(&stream.pending);
    generation_close(g);
    runner_close(runner);
    return code;
}

static int cmd_run(Cli *cli, int argc, char **argv, Error *err) {
    RunArgs a = {.n = 128, .kv = "f16", .activations = "q8", .sample = {.top_p = 1}};
    const OptionSpec specs[] = {
        {"--prompt", 'p', OPTION_STRING, "TEXT",
         "what to continue (special tokens as <|im_start|> are understood)", &a.prompt},
        {"--tokens", 'n', OPTION_U32, "N", "how many tokens at most (128)", &a.n},
        {"--temp", 0, OPTION_FLOAT, "T", "temperature; 0, the default, is greedy", &a.sample.temperature},
        {"--top-k", 0, OPTION_U32, "K", "sample among the K best only", &a.sample.top_k},
        {"--top-p", 0, OPTION_FLOAT, "P", "sample among the best that hold P of the probability",
         &a.sample.top_p},
        {"--min-p", 0, OPTION_FLOAT, "P", "drop tokens below P times the best one's probability",
         &a.sample.min_p},
        {"--seed", 0, OPTION_U64, "S", "of the sampler (0)", &a.sample.seed},
        {"--context", 0, OPTION_U32, "N", "positions that prompt and answer may take together",
         &a.runner.context},
        {"--kv", 0, OPTION_STRING, "TYPE", "of the KV cache: f16 (default), f32 or q8_0", &a.kv},
        {"--activations", 0, OPTION_STRING, "TYPE", "that quantized weights meet: q8 (default) or f32",
         &a.activations},
        {"--rope-length", 0, OPTION_U32, "L", "dynamic RoPE: one table, for length L", &a.runner.rope_length},
        {"--recompute", 0, OPTION_FLAG, NULL,
         "run the whole sequence for each token (dynamic RoPE as transformers does it)", &a.recompute},
        {"--prefill-chunk", 0, OPTION_U32, "N", "prompt tokens a step; changes no bit", &a.chunk},
        {"--ignore-end", 0, OPTION_FLAG, NULL, "go on after an end-of-text token", &a.ignore_end},
        {"--top", 0, OPTION_U32, "N", "with --json: the N largest logits after the prompt", &a.top},
        {"--set", 0, OPTION_LIST, "KEY=VALUE", "change a value of the recipe", &a.sets},
        {"--output", 0, OPTION_U32, "N", "run the recipe's N-th output instead of the unconverted weights",
         &a.output},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!a.prompt) return error_set(err, ERR_USAGE, "-p TEXT is missing");
    TRY(parse_kv(&a, err));
    TRY(parse_activations(&a, err));
    Subject s;
    Vocab *vocab = NULL;
    Tokenizer *tokenizer = NULL;
    Tokens prompt;
    tokens_init(&prompt, NULL);
    TRY(subject_open(&s, cli->args.items[0], &a.sets, a.output, err));
    int code = vocab_open(&vocab, s.model, NULL, err);
    if (!code) code = tokenizer_open(&tokenizer, vocab, NULL, err);
    if (!code) code = tokenizer_encode(tokenizer, a.prompt, strlen(a.prompt), &prompt, err);
    if (!code) code = run_prompt(cli, &a, s.model, tokenizer, &prompt, err);
    tokens_free(&prompt);
    tokenizer_close(tokenizer);
    vocab_close(vocab);
    subject_close(&s);
    return code;
}

const Command command_run = {
    .name = "run",
    .summary = "generate from a GGUF, a checkpoint or a recipe",
    .usage = "run MODEL -p TEXT [-n N] [options]",
    .details = "MODEL is a GGUF, a checkpoint directory, or a recipe, which is tried on its base before "
               "anything is written.\n"
               "The arithmetic is strict: the same model, prompt and options give the same bits on every "
               "machine, and\n"
               "--json prints their SHA-256.",
    .examples = "  recast run recipes/tiny-extreme.json -p \"And the LORD said\" -n 32\n"
                "  recast run model.gguf -p \"Once\" --temp 0.7 --top-p 0.95 --seed 1\n"
                "  recast run model.gguf -p \"Once\" --kv f32 --json --top 5\n",
    .run = cmd_run,
};
