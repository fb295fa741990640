/* run_chat.c -- a conversation: each line of input is a turn, the history is kept, and so is the part of the
 * KV cache that the next prompt begins with.
 *
 * Ctrl-C stops an answer and keeps what there is of it. /new forgets the conversation, /exit or the end of
 * input ends it. */
#include "cli/run.h"
#include "core/process.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Positions to make room for where nobody says: a KV cache for all of 262144 would fill the memory. */
enum { DEFAULT_CONTEXT = 8192 };

typedef struct Conversation {
    Cli *cli;
    const RunArgs *a;
    const RunModel *m;
    Runner *runner;
    Arena *arena; /* of the messages */
    ChatMessage *messages;
    size_t count, capacity;
    Tokens held; /* what the runner's cache holds */
    uint64_t turns;
    bool terminal;
} Conversation;

static int say(Conversation *c, const char *role, const char *text, Error *err) {
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 16;
        ChatMessage *messages = arena_alloc(c->arena, capacity, sizeof *messages);
        if (!messages) return error_memory(err, "the conversation");
        if (c->count) memcpy(messages, c->messages, c->count * sizeof *messages);
        c->messages = messages;
        c->capacity = capacity;
    }
    const char *copy = arena_string(c->arena, text);
    if (!copy) return error_memory(err, "the conversation");
    c->messages[c->count++] = (ChatMessage){role, copy};
    return 0;
}

/* Begins anew; the cache is compared with the next prompt as always. */
static int forget(Conversation *c, Error *err) {
    arena_close(c->arena);
    c->arena = NULL;
    c->messages = NULL;
    c->count = c->capacity = 0;
    TRY(arena_open(&c->arena, NULL, err));
    return c->a->system ? say(c, "system", c->a->system, err) : 0;
}

/* Leaves in the cache what the prompt begins with, at most all but its last token: that one gives the logits.
 */
static size_t keep_prefix(Conversation *c, const Tokens *prompt) {
    size_t n = 0;
    while (n < c->held.count && n + 1 < prompt->count && c->held.ids[n] == prompt->ids[n]) n++;
    if (c->a->recompute) n = 0;
    runner_rewind(c->runner, (uint32_t)n);
    c->held.count = n;
    return n;
}

/* Notes what the cache holds after an answer: all but the last token, which was not run. */
static int note_held(Conversation *c, const Tokens *prompt, const Generation *g, Error *err) {
    uint32_t position = runner_position(c->runner);
    for (size_t i = c->held.count; i < position; i++)
        TRY(tokens_push(&c->held, i < prompt->count ? prompt->ids[i] : g->tokens[i - prompt->count], err));
    return 0;
}

/* The answer to this prompt, shown as it comes. After Ctrl-C it is what came so far. */
static int reply(Conversation *c, const Tokens *prompt, Answer *answer, Error *err) {
    Generation *g = NULL;
    uint32_t context = runner_context(c->runner), n = c->a->n;
    if (n == RUN_TOKENS_ABSENT) n = 1024;
    if (prompt->count >= context)
        return error_set(err, ERR_LIMIT,
                         "the conversation has %zu tokens, the context %u; /new begins another, --context "
                         "makes more room",
                         prompt->count, context);
    if (n > context - prompt->count) n = context - (uint32_t)prompt->count;
    GenerateOptions options = answer_options(answer, c->a, n);
    SampleOptions sample = c->a->sample;
    sample.seed += c->turns++; /* else each answer would draw the same numbers */
    options.kept = keep_prefix(c, prompt);
    int code = generate(&g, c->runner, prompt->ids, prompt->count, sample, options, NULL, err);
    if (!code) code = note_held(c, prompt, g, err);
    if (code == ERR_INTERRUPTED && process_forget_interrupt()) code = 0;
    if (!g) {
        runner_rewind(c->runner, 0);
        c->held.count = 0;
    }
    if (!code) code = answer_finish(answer, err);
    putchar('\n');
    fflush(stdout);
    if (!code && !g && !c->cli->quiet) fprintf(stderr, "(stopped)\n");
    if (!code && g && n && !options.ends(answer, g->tokens[g->n_tokens - 1]) && !c->cli->quiet)
        fprintf(stderr, "(cut after %u tokens)\n", n);
    if (!code && g && c->cli->verbose) run_print_summary(c->cli, prompt, g);
    generation_close(g);
    return code;
}

/* A turn of the user's and the answer to it. After an error the turn is taken back. */
static int turn(Conversation *c, const char *line, Error *err) {
    Buffer text;
    Tokens prompt;
    Answer answer;
    size_t before = c->count;
    buffer_init(&text, NULL);
    tokens_init(&prompt, NULL);
    int code = answer_open(&answer, c->a, c->m->tokenizer, true, err);
    if (!code) code = say(c, "user", line, err);
    if (!code) code = run_render(&text, c->a, c->m, c->messages, c->count, err);
    if (!code) code = tokenizer_encode(c->m->tokenizer, buffer_string(&text), text.length, &prompt, err);
    if (!code) code = reply(c, &prompt, &answer, err);
    if (!code) code = say(c, "assistant", buffer_string(&answer.text), err);
    if (code) c->count = before;
    answer_close(&answer);
    tokens_free(&prompt);
    buffer_free(&text);
    return code;
}

/* The next line without its end; false at the end of input. */
static int read_line(Conversation *c, char **line, size_t *size, bool *more, Error *err) {
    if (c->terminal) {
        fputs("> ", stdout);
        fflush(stdout);
    }
    errno = 0;
    ssize_t n = getline(line, size, stdin);
    *more = n >= 0;
    if (n < 0 && process_interrupted()) return error_set(err, ERR_INTERRUPTED, "interrupted");
    if (n < 0 && ferror(stdin)) return error_sys(err, ERR_IO, errno, "reading standard input failed");
    if (n < 0) return 0;
    if (memchr(*line, 0, (size_t)n)) return error_set(err, ERR_FORMAT, "a line of input holds a NUL byte");
    while (n && ((*line)[n - 1] == '\n' || (*line)[n - 1] == '\r')) (*line)[--n] = 0;
    return 0;
}

static int converse(Conversation *c, Error *err) {
    char *line = NULL;
    size_t size = 0;
    bool more = true;
    int code = 0;
    while (!code) {
        code = read_line(c, &line, &size, &more, err);
        if (code || !more || !strcmp(line, "/exit")) break;
        if (!line[0]) continue;
        if (!strcmp(line, "/new")) {
            code = forget(c, err);
            continue;
        }
        code = turn(c, line, err);
        if (code == ERR_LIMIT && c->terminal) { /* the person may still say /new */
            fprintf(stderr, "recast run: %s\n", err->message);
            code = 0;
        }
    }
    if (c->terminal && !more) putchar('\n');
    free(line);
    return code;
}

int run_conversation(Cli *cli, RunArgs *a, const RunModel *m, Error *err) {
    Conversation c = {.cli = cli, .a = a, .m = m, .terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    uint32_t native = m->model->params.context;
    tokens_init(&c.held, NULL);
    if (!a->runner.context) a->runner.context = native < DEFAULT_CONTEXT ? native : DEFAULT_CONTEXT;
    if (a->runner.context > native && !cli->quiet)
        fprintf(stderr, "recast run: warning: %u positions, but the model's context length is %u\n",
                a->runner.context, native);
    a->runner.threads = cli->threads;
    MemoryPlan memory = {0};
    DeviceLine line = {.cli = cli, .plan = &memory};
    int code = memory_plan_add(&memory, m->model, a->runner, false, err);
    if (!code) code = memory_plan_settle(cli, &memory, &a->runner.device, err);
    if (!code) code = runner_open(&c.runner, m->model, a->runner, NULL, err);
    if (!code) device_line_opened(&line, c.runner);
    if (!code) code = forget(&c, err);
    if (!code && c.terminal && !cli->quiet)
        fprintf(stderr, "%s template, %u positions; /new begins anew, /exit ends\n",
                m->tmpl ? m->tmpl->name : "no", a->runner.context);
    if (!code) code = converse(&c, err);
    tokens_free(&c.held);
    arena_close(c.arena);
    runner_close(c.runner);
    return code;
}
