/* quality.c -- see quality.h. */
#include "validate/quality.h"

#include "core/input.h"
#include "core/strict_math.h"
#include "runner/eval.h"
#include "runner/sample.h"
#include "runner/tokenizer.h"
#include "validate/prompts.h"
#include <stdlib.h>
#include <string.h>

enum { LARGEST_TEXT = 64 << 20 };

typedef struct Pair {
    const QualityTask *task;
    Runner *source, *artifact;
    Tokenizer *tokenizer;
    const char *const *prompts; /* as the models get them; NULL with a text */
    uint32_t context;           /* positions there is room for */
    EvalRoom *room;
    EvalPoint *points[2];          /* source's and artifact's: [context] */
    double *kl, *source_nll, *nll; /* of each position */
    size_t n, capacity;
    size_t same;          /* positions with the same most probable token */
    uint64_t done, total; /* positions */
} Pair;

/* ---- token sequences ---- */

static bool grow(double **list, size_t capacity) {
    double *more = realloc(*list, capacity * sizeof *more);
    if (more) *list = more;
    return more != NULL;
}

static int keep(Pair *p, const EvalPoint *source, const EvalPoint *artifact, Error *err) {
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 1024;
        if (!grow(&p->kl, capacity) || !grow(&p->source_nll, capacity) || !grow(&p->nll, capacity))
            return error_memory(err, "measuring quality");
        p->capacity = capacity;
    }
    p->kl[p->n] = artifact->kl;
    p->source_nll[p->n] = source->nll;
    p->nll[p->n++] = artifact->nll;
    return 0;
}

/* Positions first .. end - 1 of a sequence of n tokens. known: the tokens behind them are text, and count for
 * the perplexity. */
static int score_sequence(Pair *p, const uint32_t *tokens, size_t n, size_t first, size_t end, bool known,
                          Error *err) {
    Runner *const runners[] = {p->source, p->artifact};
    EvalWindow w = {.tokens = tokens, .n = n, .first = first, .end = end, .exact = true, .known = known};
    TRY(eval_window(p->points, runners, 2, p->room, &w, err));
    for (size_t i = 0; i < end - first; i++) {
        const EvalPoint *source = &p->points[0][i], *artifact = &p->points[1][i];
        p->same += artifact->same;
        TRY(progress_update(p->task->progress, p->task->label, ++p->done, p->total, err));
        TRY(keep(p, source, artifact, err));
    }
    return 0;
}

static int score_text(Pair *p, const char *text, size_t length, Error *err) {
    Tokens ids;
    tokens_init(&ids, NULL);
    int code = tokenizer_encode(p->tokenizer, text, length, &ids, err);
    if (!code && ids.count < 2)
        code = error_set(err, ERR_RECIPE, "%s has %zu tokens: quality needs at least two",
                         p->task->recipe->eval_text, ids.count);
    p->total = ids.count;
    for (size_t at = 0; !code && at + 1 < ids.count; at += p->context) {
        size_t left = ids.count - at, n = left < p->context ? left : p->context;
        code = score_sequence(p, ids.ids + at, n, 0, n - 1, true, err);
    }
    tokens_free(&ids);
    return code;
}

/* The prompt and what the source says to it, scored where it says it. */
static int score_prompt(Pair *p, const char *prompt, Error *err) {
    Tokens ids;
    tokens_init(&ids, NULL);
    int code = tokenizer_encode(p->tokenizer, prompt, strlen(prompt), &ids, err);
    size_t n = ids.count;
    if (!code && !n) code = error_set(err, ERR_RECIPE, "a prompt without tokens");
    runner_reset(p->source);
    if (!code) code = runner_forward(p->source, ids.ids, n, err);
    for (uint32_t i = 0; !code && i + 1 < p->task->recipe->n_tokens; i++) {
        uint32_t token = sample_greedy(runner_logits(p->source), runner_params(p->source)->n_vocab, NULL);
        code = tokens_push(&ids, token, err);
        if (!code) code = runner_forward(p->source, &token, 1, err);
    }
    if (!code) code = score_sequence(p, ids.ids, ids.count, n - 1, ids.count, false, err);
    tokens_free(&ids);
    return code;
}

static int score_prompts(Pair *p, Error *err) {
    const Recipe *r = p->task->recipe;
    p->total = (uint64_t)r->n_prompts * r->n_tokens;
    for (size_t i = 0; i < r->n_prompts; i++) TRY(score_prompt(p, p->prompts[i], err));
    return 0;
}

/* ---- all of it ---- */

static void conclude_perplexity(double *ppl, double *error, const double *nll, size_t n) {
    *ppl = strict_exp(eval_mean(nll, n).mean);
    *error = *ppl * eval_standard_error(nll, n);
}

static void conclude(QualityRecord *out, const Pair *p, bool has_text) {
    EvalMean kl = eval_mean(p->kl, p->n);
    *out = (QualityRecord){.positions = p->n,
                           .kl = kl.mean,
                           .kl_error = kl.error,
                           .kl_999 = eval_quantile(p->kl, p->n, 0.999),
                           .top1 = (double)p->same / (double)p->n};
    if (!has_text) return;
    conclude_perplexity(&out->source_ppl, &out->source_ppl_error, p->source_nll, p->n);
    conclude_perplexity(&out->ppl, &out->ppl_error, p->nll, p->n);
}

static int read_text(char **text, size_t *length, const Recipe *r, Arena *arena, Error *err) {
    *text = NULL;
    return r->eval_text ? input_read_file(text, length, r->eval_text, LARGEST_TEXT, arena, err) : 0;
}

/* Room for a window, or for the longest prompt with what follows it. */
static int open_runners(Pair *p, const Model *source, const Model *artifact, bool has_text, Error *err) {
    uint32_t context = source->params.context < QUALITY_WINDOW ? source->params.context : QUALITY_WINDOW;
    RunnerOptions options = {.context = context, .kv = KV_F32, .threads = p->task->threads};
    for (size_t i = 0; !has_text && i < p->task->recipe->n_prompts; i++) {
        Tokens ids;
        tokens_init(&ids, NULL);
        const char *prompt = p->prompts[i];
        int code = tokenizer_encode(p->tokenizer, prompt, strlen(prompt), &ids, err);
        uint64_t needed = (uint64_t)ids.count + p->task->recipe->n_tokens;
        tokens_free(&ids);
        if (code) return code;
        if (needed > options.context) options.context = needed < UINT32_MAX ? (uint32_t)needed : UINT32_MAX;
    }
    p->context = options.context;
    TRY(device_choice_open(&p->source, source, options, &p->task->device, err));
    return device_choice_open(&p->artifact, artifact, options, &p->task->device, err);
}

/* The same tokens must mean the same: a file that says otherwise would also be written past its room. */
static int open_room(Pair *p, Arena *arena, Error *err) {
    const ModelParams *a = runner_params(p->source), *b = runner_params(p->artifact);
    if (a->n_vocab != b->n_vocab || a->n_embd != b->n_embd)
        return error_set(err, ERR_FORMAT,
                         "the artifact has %u tokens and an embedding of %u, the source %u and %u: their "
                         "predictions can't be compared",
                         b->n_vocab, b->n_embd, a->n_vocab, a->n_embd);
    for (int i = 0; i < 2; i++) {
        p->points[i] = arena_alloc(arena, p->context, sizeof **p->points);
        if (!p->points[i]) return error_memory(err, "measuring quality");
    }
    return eval_room_open(&p->room, a, 2, p->context, NULL, err);
}

static int measure(QualityRecord *out, Pair *p, const Model *source, const Model *artifact, Arena *arena,
                   Error *err) {
    char *text;
    size_t length = 0;
    Vocab *vocab;
    TRY(read_text(&text, &length, p->task->recipe, arena, err));
    if (!text) TRY(prompt_texts(&p->prompts, p->task->recipe, source, arena, err));
    TRY(vocab_open(&vocab, source, NULL, err));
    int code = tokenizer_open(&p->tokenizer, vocab, NULL, err);
    if (!code) code = open_runners(p, source, artifact, text != NULL, err);
    if (!code) code = open_room(p, arena, err);
    if (!code) code = text ? score_text(p, text, length, err) : score_prompts(p, err);
    if (!code && p->n) conclude(out, p, text != NULL);
    eval_room_close(p->room);
    runner_close(p->source);
    runner_close(p->artifact);
    tokenizer_close(p->tokenizer);
    vocab_close(vocab);
    return code;
}

int quality_measure(QualityRecord *out, const Model *source, const Model *artifact, const QualityTask *task,
                    Error *err) {
    Pair p = {.task = task};
    Arena *arena;
    *out = (QualityRecord){.positions = 0};
    TRY(arena_open(&arena, NULL, err));
    int code = measure(out, &p, source, artifact, arena, err);
    free(p.kl);
    free(p.source_nll);
    free(p.nll);
    arena_close(arena);
    return code;
}

/* ---- judging ---- */

static void say_figures(Buffer *b, const QualityRecord *q) {
    buffer_printf(b, "%llu positions: mean KL %.3g +- %.2g (99.9 %%: %.3g), top-1 %.4f",
                  (unsigned long long)q->positions, q->kl, q->kl_error, q->kl_999, q->top1);
    if (q->ppl > 0)
        buffer_printf(b, ", perplexity %.4f +- %.4f, %.4f times the source's", q->ppl, 1.96 * q->ppl_error,
                      q->ppl / q->source_ppl);
}

void quality_judge(Report *r, const char *name, const QualityRecord *q, const Recipe *recipe) {
    const QualityLimits *l = &recipe->limits;
    bool limited = l->max_kl >= 0 || l->min_top1 >= 0 || l->max_ppl_ratio >= 0;
    bool bad = (l->max_kl >= 0 && !(q->kl <= l->max_kl)) || (l->min_top1 >= 0 && !(q->top1 >= l->min_top1));
    bool blind = l->max_ppl_ratio >= 0 && q->ppl == 0;
    if (l->max_ppl_ratio >= 0 && !blind && !(q->ppl / q->source_ppl <= l->max_ppl_ratio)) bad = true;
    Buffer b;
    buffer_init(&b, NULL);
    say_figures(&b, q);
    if (!limited)
        buffer_text(&b, "; the recipe sets no limit");
    else if (bad)
        buffer_text(&b, "; beyond the recipe's limits");
    else if (blind)
        buffer_text(&b, "; max_ppl_ratio needs a text (validate.text)");
    report_add(r, "quality",
               bad                 ? CHECK_FAIL
               : !limited || blind ? CHECK_NOT_RUN
                                   : CHECK_PASS,
               name, "%s", buffer_string(&b));
    buffer_free(&b);
}

void quality_lossless(Report *r, const char *name) {
    report_add(r, "quality", CHECK_PASS, name, "lossless: the source's own weights");
}
