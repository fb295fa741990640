/* cmd_run.c -- generate with a model: greedy unless --temp; a text, a question, or a conversation. */
#include "cli/adapters.h"
#include "cli/run.h"
#include <stdio.h>
#include <string.h>

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

/* How many tokens to generate where nobody says: 128; in a conversation, where a thought may be long, 1024 or
 * what the context has room for. */
static uint32_t choose_tokens(const RunArgs *a, const ModelParams *p, size_t n_prompt) {
    uint32_t n = a->chat ? 1024 : 128, context = a->runner.context ? a->runner.context : p->context;
    if (a->n != RUN_TOKENS_ABSENT) return a->n;
    if (a->chat && n_prompt < context && context - n_prompt < n) n = context - (uint32_t)n_prompt;
    return n;
}

/* The context to make room for: what was asked, or what the prompt and the answer need, up to the model's
 * own; one that slides has the model's where nobody says. A model may be run beyond its context length, with
 * a warning: recipes are where that is an error. */
static int choose_context(Cli *cli, RunArgs *a, const ModelParams *p, size_t n_prompt, const char **warning,
                          Error *err) {
    uint64_t needed = (uint64_t)n_prompt + a->n;
    if (needed > UINT32_MAX)
        return error_set(err, ERR_LIMIT, "%llu positions are too many", (unsigned long long)needed);
    if (a->slide && !a->runner.context) a->runner.context = p->context;
    if (a->runner.context && needed > a->runner.context && !a->slide)
        return error_set(err, ERR_LIMIT,
                         "the prompt has %zu tokens and -n is %u: together more than --context %u; raise it, "
                         "generate fewer, or --slide",
                         n_prompt, a->n, a->runner.context);
    uint32_t asked = a->runner.context ? a->runner.context : (uint32_t)needed;
    if (asked > p->context) {
        *warning = "beyond the model's context length";
        if (!cli->quiet)
            fprintf(stderr, "recast run: warning: %u positions, but the model's context length is %u\n",
                    asked, p->context);
    }
    if (needed < a->runner.context || !a->slide) a->runner.context = (uint32_t)needed;
    return 0;
}

static int run_prompt(Cli *cli, RunArgs *a, const RunModel *m, const Tokens *prompt, Error *err) {
    Runner *runner = NULL;
    Generation *g = NULL;
    MemoryPlan memory = {0};
    DeviceLine line = {.cli = cli, .plan = &memory};
    const char *warning = NULL;
    Answer answer;
    int code = answer_open(&answer, a, m->tokenizer, !cli->json, err);
    a->n = choose_tokens(a, &m->model->params, prompt->count);
    if (!code) code = choose_context(cli, a, &m->model->params, prompt->count, &warning, err);
    a->runner.threads = cli->threads;
    if (!code) code = memory_plan_add(&memory, m->model, a->runner, false, err);
    if (!code) code = memory_plan_settle(cli, &memory, &a->runner.device, err);
    if (!code) code = runner_open(&runner, m->model, a->runner, NULL, err);
    if (!code) device_line_opened(&line, runner);
    if (!code)
        code = generate(&g, runner, prompt->ids, prompt->count, a->sample, answer_options(&answer, a, a->n),
                        NULL, err);
    if (!code) code = answer_finish(&answer, err);
    if (!code && cli->json)
        code = run_print_json(a, prompt, g, &answer, m->model->params.n_vocab, warning, &memory, err);
    if (!code && !cli->json) {
        putchar('\n');
        fflush(stdout);
    }
    if (!code) run_print_slid(cli, runner, g);
    if (!code && !cli->json) run_print_summary(cli, prompt, g);
    answer_close(&answer);
    generation_close(g);
    runner_close(runner);
    return code;
}

int run_render(Buffer *text, const RunArgs *a, const RunModel *m, const ChatMessage *messages, size_t count,
               Error *err) {
    if (m->tmpl) return chat_render(m->tmpl, messages, count, !a->no_thinking, text, err);
    for (size_t i = 0; i < count; i++) buffer_text(text, messages[i].content);
    return buffer_ok(text, "the prompt", err);
}

/* -p TEXT: one prompt, one answer. */
static int run_text(Cli *cli, RunArgs *a, const RunModel *m, Error *err) {
    ChatMessage messages[2] = {{"system", a->system}, {"user", a->prompt}};
    bool system = a->system != NULL;
    Buffer text;
    Tokens prompt;
    buffer_init(&text, NULL);
    tokens_init(&prompt, NULL);
    int code = run_render(&text, a, m, messages + !system, 1 + (size_t)system, err);
    if (!code) code = tokenizer_encode(m->tokenizer, buffer_string(&text), text.length, &prompt, err);
    if (!code) code = run_prompt(cli, a, m, &prompt, err);
    tokens_free(&prompt);
    buffer_free(&text);
    return code;
}

/* A wish that a template can't grant is refused, not forgotten. */
static int choose_template(const ChatTemplate **out, const RunArgs *a, const Vocab *vocab, Error *err) {
    TRY(chat_template_find(out, vocab->chat_template, err));
    if (!a->no_thinking || (*out)->thinking != CHAT_THINKS_ALWAYS) return 0;
    return error_set(err, ERR_UNSUPPORTED,
                     "--no-thinking: the template %s has no such switch, it always thinks", (*out)->name);
}

static int check_args(const Cli *cli, const RunArgs *a, Error *err) {
    if (!a->prompt && !a->chat)
        return error_set(err, ERR_USAGE, "-p TEXT is missing (or --chat for a conversation)");
    if (!a->chat && (a->system || a->no_thinking || a->raw))
        return error_set(err, ERR_USAGE, "%s goes with --chat",
                         a->system        ? "--system"
                         : a->no_thinking ? "--no-thinking"
                                          : "--raw");
    if (a->raw && (a->system || a->no_thinking))
        return error_set(err, ERR_USAGE, "--raw uses no template, and so knows no %s",
                         a->system ? "--system" : "--no-thinking");
    if (a->slide && (!a->prompt || a->recompute))
        return error_set(err, ERR_USAGE, "--slide %s",
                         a->prompt ? "and --recompute exclude each other"
                                   : "goes with -p TEXT: a conversation never drops anything");
    if (!a->prompt && cli->json)
        return error_set(err, ERR_USAGE, "a conversation has no --json; give -p TEXT");
    return 0;
}

static int cmd_run(Cli *cli, int argc, char **argv, Error *err) {
    RunArgs a = {.n = RUN_TOKENS_ABSENT, .kv = "f16", .activations = "q8", .sample = {.top_p = 1}};
    const OptionSpec specs[] = {
        {"--prompt", 'p', OPTION_STRING, "TEXT",
         "what to continue (special tokens as <|im_start|> are understood)", &a.prompt},
        {"--tokens", 'n', OPTION_U32, "N", "how many tokens at most (128; with --chat 1024)", &a.n},
        {"--temp", 0, OPTION_FLOAT, "T", "temperature; 0, the default, is greedy", &a.sample.temperature},
        {"--top-k", 0, OPTION_U32, "K", "sample among the K best only", &a.sample.top_k},
        {"--top-p", 0, OPTION_FLOAT, "P", "sample among the best that hold P of the probability",
         &a.sample.top_p},
        {"--min-p", 0, OPTION_FLOAT, "P", "drop tokens below P times the best one's probability",
         &a.sample.min_p},
        {"--seed", 0, OPTION_U64, "S", "of the sampler (0)", &a.sample.seed},
        {"--repeat-penalty", 0, OPTION_FLOAT, "R",
         "divide logits above 0 of tokens said before by R, multiply others (1: off)",
         &a.sample.penalty.repeat},
        {"--presence-penalty", 0, OPTION_FLOAT, "P", "subtract P for tokens of the answer",
         &a.sample.penalty.presence},
        {"--frequency-penalty", 0, OPTION_FLOAT, "F", "subtract F for each time a token is in the answer",
         &a.sample.penalty.frequency},
        {"--stop", 0, OPTION_LIST, "TEXT", "end before this text (may be repeated)", &a.stops},
        {"--chat", 0, OPTION_FLAG, NULL,
         "TEXT is a question; without -p a conversation: each line of input is a turn", &a.chat},
        {"--system", 0, OPTION_STRING, "TEXT", "with --chat: the system message", &a.system},
        {"--no-thinking", 0, OPTION_FLAG, NULL, "with --chat: enable_thinking=false", &a.no_thinking},
        {"--raw", 0, OPTION_FLAG, NULL, "with --chat: no template, the text as it is", &a.raw},
        {"--context", 0, OPTION_U32, "N", "positions that prompt and answer may take together",
         &a.runner.context},
        {"--slide", 0, OPTION_FLAG, NULL,
         "beyond the context, go on without the oldest tokens (docs/generation.md)", &a.slide},
        {"--kv", 0, OPTION_STRING, "TYPE", "of the KV cache: f16 (default), f32 or q8_0", &a.kv},
        {"--activations", 0, OPTION_STRING, "TYPE", "that quantized weights meet: q8 (default) or f32",
         &a.activations},
        DEVICE_OPTION(a.device),
        {"--rope-length", 0, OPTION_U32, "L", "dynamic RoPE: one table, for length L", &a.runner.rope_length},
        {"--recompute", 0, OPTION_FLAG, NULL,
         "run the whole sequence for each token (dynamic RoPE as transformers does it)", &a.recompute},
        {"--prefill-chunk", 0, OPTION_U32, "N", "prompt tokens a step; changes no bit", &a.chunk},
        {"--ignore-end", 0, OPTION_FLAG, NULL, "go on after an end-of-text token", &a.ignore_end},
        {"--top", 0, OPTION_U32, "N", "with --json: the N largest logits after the prompt", &a.top},
        {"--lora", 0, OPTION_LIST, "A[:SCALE]",
         "put an adapter beside the model: PEFT's directory or an adapter GGUF (may be repeated)",
         &a.adapters},
        {"--set", 0, OPTION_LIST, "KEY=VALUE", "change a value of the recipe", &a.sets},
        {"--output", 0, OPTION_U32, "N", "run the recipe's N-th output instead of the unconverted weights",
         &a.output},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    TRY(check_args(cli, &a, err));
    TRY(device_option_parse(&a.runner.device, a.device, err));
    TRY(parse_kv(&a, err));
    TRY(parse_activations(&a, err));
    Subject s;
    Vocab *vocab = NULL;
    Tokenizer *tokenizer = NULL;
    TRY(subject_open(&s, cli->args.items[0], &a.sets, a.output, err));
    Model *beside = NULL;
    int code = adapters_open(&beside, s.model, &a.adapters, err);
    if (beside) s.model = beside;
    if (!code && s.model->lora) code = adapters_ready(cli, s.model, err);
    if (!code) code = vocab_open(&vocab, s.model, NULL, err);
    if (!code) code = tokenizer_open(&tokenizer, vocab, NULL, err);
    RunModel m = {.model = s.model, .tokenizer = tokenizer};
    if (!code && a.chat && !a.raw) code = choose_template(&m.tmpl, &a, vocab, err);
    if (!code) code = a.prompt ? run_text(cli, &a, &m, err) : run_conversation(cli, &a, &m, err);
    tokenizer_close(tokenizer);
    vocab_close(vocab);
    model_close(beside);
    subject_close(&s);
    return code;
}

const Command command_run = {
    .name = "run",
    .summary = "generate from a GGUF, a checkpoint or a recipe",
    .usage = "run MODEL (-p TEXT | --chat [-p TEXT]) [-n N] [options]",
    .details = "MODEL is a GGUF, a checkpoint directory, or a recipe, which is tried on its base before "
               "anything is written.\n"
               "The arithmetic is strict: the same model, prompt and options give the same bits on every "
               "machine, and\n"
               "--json prints their SHA-256.\n"
               "With --chat the text goes through the model's chat template, which must be one of Qwen3's.",
    .examples = "  recast run recipes/tiny-extreme.json -p \"And the LORD said\" -n 32\n"
                "  recast run model.gguf -p \"Once\" --temp 0.7 --top-p 0.95 --seed 1\n"
                "  recast run model.gguf -p \"Once\" --kv f32 --json --top 5\n"
                "  recast run model.gguf --chat --no-thinking --temp 0.7 --top-k 20 --top-p 0.8\n",
    .run = cmd_run,
};
