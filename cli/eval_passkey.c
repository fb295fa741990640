/* eval_passkey.c -- hidden numbers over a grid of lengths and depths (runner/passkey.h). */
#include "cli/eval_args.h"
#include "runner/passkey.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one model makes of one trial. */
typedef struct Answer {
    double nats; /* a token of the answer, mean */
    bool found;  /* is each token the most probable one? Then the greedy answer is the key. */
} Answer;

typedef struct Trial {
    char key[PASSKEY_DIGITS + 1];
    size_t n_tokens, hidden_at;
    Answer answers[2];
} Trial;

typedef struct Asking {
    const PasskeyGrid *grid;
    Runner *const *runners;
    size_t n_models;
    const Tokenizer *tokenizer;
    EvalRoom *room;
    Trial *trials;  /* [n_lengths][n_depths][grid->trials] */
    double *values; /* room for a figure of each trial */
} Asking;

/* ---- options ---- */

static int parse_list(uint32_t *out, size_t *n, size_t most, const char *list, const char *option,
                      uint32_t least, uint32_t largest, Error *err) {
    for (const char *at = list;; at++) {
        char *end;
        unsigned long long value = strtoull(at, &end, 10);
        if (*at < '0' || *at > '9' || (*end && *end != ',') || value < least || value > largest)
            return error_set(err, ERR_USAGE, "%s %s: expected numbers of %u to %u, separated by commas",
                             option, list, least, largest);
        if (*n == most) return error_set(err, ERR_USAGE, "%s: more than %zu numbers", option, most);
        out[(*n)++] = (uint32_t)value;
        at = end;
        if (!*at) return 0;
    }
}

int eval_passkey_parse(EvalArgs *a, Error *err) {
    PasskeyGrid *g = &a->grid;
    TRY(parse_list(g->lengths, &g->n_lengths, PASSKEY_MOST_LENGTHS, a->passkey, "--passkey", 1, 1 << 30,
                   err));
    TRY(parse_list(g->depths, &g->n_depths, PASSKEY_MOST_DEPTHS, a->depths, "--depths", 0, 100, err));
    if (!g->trials || g->trials > PASSKEY_MOST_TRIALS)
        return error_set(err, ERR_USAGE, "--trials %u: 1 to %d", g->trials, PASSKEY_MOST_TRIALS);
    for (size_t i = 0; i < g->n_lengths; i++)
        if (g->lengths[i] > a->window) a->window = g->lengths[i];
    return 0;
}

/* ---- asking ---- */

static int ask_trial(Asking *q, Trial *t, PasskeyTask task, Error *err) {
    Passkey p;
    EvalPoint found[2][PASSKEY_DIGITS * 4]; /* a digit is one token in every tokenizer that is known */
    EvalPoint *points[2] = {found[0], found[1]};
    int code = passkey_make(&p, q->tokenizer, task, err);
    size_t n = p.tokens.count;
    if (!code && p.n_answer > PASSKEY_DIGITS * 4)
        code = error_set(err, ERR_UNSUPPORTED, "%zu tokens for a number of %d digits", p.n_answer,
                         PASSKEY_DIGITS);
    EvalWindow w = {.tokens = p.tokens.ids, .n = n, .first = n - p.n_answer - 1, .end = n - 1, .known = true};
    if (!code) code = eval_window(points, q->runners, q->n_models, q->room, &w, err);
    for (size_t k = 0; !code && k < q->n_models; k++) {
        t->answers[k] = (Answer){.found = true};
        for (size_t i = 0; i < p.n_answer; i++) {
            t->answers[k].nats += found[k][i].nll / (double)p.n_answer;
            t->answers[k].found &= found[k][i].right;
        }
    }
    memcpy(t->key, p.key, sizeof t->key);
    t->n_tokens = n;
    t->hidden_at = p.hidden_at;
    passkey_free(&p);
    return code;
}

static size_t cells(const PasskeyGrid *g) {
    return g->n_lengths * g->n_depths;
}

static int ask_all(Asking *q, const Progress *progress, Error *err) {
    const PasskeyGrid *g = q->grid;
    size_t n = cells(g) * g->trials;
    for (size_t i = 0; i < n; i++) {
        size_t cell = i / g->trials;
        PasskeyTask task = {.length = g->lengths[cell / g->n_depths],
                            .depth = g->depths[cell % g->n_depths],
                            .seed = g->seed,
                            .trial = (uint32_t)(i % g->trials)};
        TRY(progress_update(progress, "hidden numbers", i, n, err));
        TRY(ask_trial(q, &q->trials[i], task, err));
    }
    return progress_update(progress, "hidden numbers", n, n, err);
}

/* ---- figures of n trials from `first` on ---- */

static size_t count_found(const Asking *q, size_t first, size_t n, size_t model) {
    size_t found = 0;
    for (size_t i = first; i < first + n; i++) found += q->trials[i].answers[model].found;
    return found;
}

static EvalMean nats(const Asking *q, size_t first, size_t n, size_t model) {
    for (size_t i = 0; i < n; i++) q->values[i] = q->trials[first + i].answers[model].nats;
    return eval_mean(q->values, n);
}

/* The second model less the first, trial by trial. */
static EvalMean difference(const Asking *q, size_t first, size_t n) {
    for (size_t i = 0; i < n; i++)
        q->values[i] = q->trials[first + i].answers[1].nats - q->trials[first + i].answers[0].nats;
    return eval_mean(q->values, n);
}

/* ---- text ---- */

static void print_row(const Asking *q, size_t first, size_t n) {
    for (size_t k = 0; k < q->n_models; k++) {
        EvalMean m = nats(q, first, n, k);
        printf("   %4zu of %-4zu %8.4f +- %-7.4f", count_found(q, first, n, k), n, m.mean, m.error);
    }
    if (q->n_models == 2) {
        EvalMean d = difference(q, first, n);
        printf("  %+8.4f +- %.4f", d.mean, d.error);
    }
    printf("\n");
}

static void print_text(const Asking *q) {
    const PasskeyGrid *g = q->grid;
    printf("numbers of %d digits hidden in a text, %u for each length and depth, seed %" PRIu64
           "; nats a token of the answer (guessing digits: 2.3026)\n\n",
           PASSKEY_DIGITS, g->trials, g->seed);
    if (q->n_models == 2) printf("                 against                          model\n");
    printf("length    depth");
    for (size_t k = 0; k < q->n_models; k++) printf("   found            nats           ");
    printf("%s\n", q->n_models == 2 ? "  difference" : "");
    for (size_t c = 0; c < cells(g); c++) {
        printf("%-7u   %3u %%", g->lengths[c / g->n_depths], g->depths[c % g->n_depths]);
        print_row(q, c * g->trials, g->trials);
    }
    printf("all            ");
    print_row(q, 0, cells(g) * g->trials);
}

/* ---- JSON ---- */

static void put_figures(cJSON *o, const Asking *q, size_t first, size_t n) {
    static const char *const names[2][2] = {{"model"}, {"against", "model"}};
    for (size_t k = 0; k < q->n_models; k++) {
        cJSON *m = cJSON_AddObjectToObject(o, names[q->n_models - 1][k]);
        cJSON_AddNumberToObject(m, "found", (double)count_found(q, first, n, k));
        eval_put_mean(m, "nats", nats(q, first, n, k));
    }
    if (q->n_models == 2) eval_put_mean(o, "difference", difference(q, first, n));
}

static cJSON *trial_json(const Trial *t, size_t n_models) {
    cJSON *o = cJSON_CreateObject(), *list;
    cJSON_AddStringToObject(o, "key", t->key);
    cJSON_AddNumberToObject(o, "tokens", (double)t->n_tokens);
    cJSON_AddNumberToObject(o, "hidden_at", (double)t->hidden_at);
    list = cJSON_AddArrayToObject(o, "nats");
    for (size_t k = 0; k < n_models; k++) cJSON_AddItemToArray(list, cJSON_CreateNumber(t->answers[k].nats));
    return o;
}

static int print_json(const Asking *q, const MemoryPlan *memory, Error *err) {
    const PasskeyGrid *g = q->grid;
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddStringToObject(doc, "style", "passkey");
    cJSON_AddNumberToObject(doc, "digits", PASSKEY_DIGITS);
    cJSON_AddNumberToObject(doc, "trials", g->trials);
    cJSON_AddNumberToObject(doc, "seed", (double)g->seed);
    cJSON_AddStringToObject(doc, "arithmetic", runner_arithmetic(q->runners[q->n_models - 1]));
    cJSON *list = cJSON_AddArrayToObject(doc, "cells");
    for (size_t c = 0; c < cells(g); c++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "length", g->lengths[c / g->n_depths]);
        cJSON_AddNumberToObject(o, "depth", g->depths[c % g->n_depths]);
        put_figures(o, q, c * g->trials, g->trials);
        cJSON *trials = cJSON_AddArrayToObject(o, "trials");
        for (size_t i = 0; i < g->trials; i++)
            cJSON_AddItemToArray(trials, trial_json(&q->trials[c * g->trials + i], q->n_models));
        cJSON_AddItemToArray(list, o);
    }
    put_figures(cJSON_AddObjectToObject(doc, "all"), q, 0, cells(g) * g->trials);
    memory_plan_put(doc, memory);
    return cli_print_json(doc, err);
}

/* ---- all of it ---- */

int eval_passkey(Cli *cli, const EvalArgs *a, Runner *const *runners, size_t n, const Tokenizer *tokenizer,
                 const MemoryPlan *memory, Error *err) {
    Asking q = {.grid = &a->grid, .runners = runners, .n_models = n, .tokenizer = tokenizer};
    size_t most = cells(&a->grid) * a->grid.trials;
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    q.trials = arena_alloc(arena, most, sizeof *q.trials);
    q.values = arena_alloc(arena, most, sizeof *q.values);
    int code = q.trials && q.values ? 0 : error_memory(err, "the figures");
    if (!code) code = eval_room_open(&q.room, runner_params(runners[0]), n, a->window, NULL, err);
    if (!code) code = ask_all(&q, &cli->progress, err);
    cli_end_progress(cli);
    if (!code && cli->json)
        code = print_json(&q, memory, err);
    else if (!code)
        print_text(&q);
    eval_room_close(q.room);
    arena_close(arena);
    return code;
}
