/* quality.c -- see quality.h. */
#include "validate/quality.h"

#include "core/input.h"
#include "core/strict_math.h"
#include "runner/runner.h"
#include "runner/tokenizer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_TEXT = 64 << 20, HEAD_BATCH = 32 };

typedef struct Pair {
    const QualityTask *task;
    Runner *source, *artifact;
    Tokenizer *tokenizer;
    size_t n_vocab, n_embd;
    uint32_t context; /* positions there is room for */
    float *states[2]; /* source's and artifact's: [context][n_embd] */
    float *logits[2]; /* [HEAD_BATCH][n_vocab] */
    double *kl;       /* of each position */
    size_t n, capacity;
    size_t same; /* positions with the same most probable token */
    double source_nll, nll;
    uint64_t done, total; /* positions */
} Pair;

/* ---- one position ---- */

/* log of the sum of exp(z): z less this is the log of the probability. */
static double log_sum(const float *z, size_t n) {
    double most = (double)z[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        if ((double)z[i] > most) most = (double)z[i];
    for (size_t i = 0; i < n; i++) sum += strict_exp((double)z[i] - most);
    return most + strict_log(sum);
}

static size_t best(const float *z, size_t n) {
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (z[i] > z[at]) at = i;
    return at;
}

static int keep(Pair *p, double kl, Error *err) {
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 1024;
        double *more = realloc(p->kl, capacity * sizeof *more);
        if (!more) return error_memory(err, "measuring quality");
        p->kl = more;
        p->capacity = capacity;
    }
    p->kl[p->n++] = kl;
    return 0;
}

/* One position by both models' logits. next: the token that follows, or n_vocab if none is known. */
static int score(Pair *p, const float *a, const float *b, size_t next, Error *err) {
    double log_a = log_sum(a, p->n_vocab), log_b = log_sum(b, p->n_vocab), kl = 0;
    for (size_t i = 0; i < p->n_vocab; i++) {
        double x = (double)a[i] - log_a, y = (double)b[i] - log_b;
        kl += strict_exp(x) * (x - y);
    }
    p->same += best(a, p->n_vocab) == best(b, p->n_vocab);
    if (next < p->n_vocab) {
        p->source_nll += log_a - (double)a[next];
        p->nll += log_b - (double)b[next];
    }
    p->done++;
    TRY(progress_update(p->task->progress, p->task->label, p->done, p->total, err));
    return keep(p, kl < 0 ? 0 : kl, err); /* rounding may take a zero below zero */
}

/* ---- token sequences ---- */

/* Positions first .. end - 1 of a sequence of n tokens. known: the tokens behind them are text, and count for
 * the perplexity. */
static int score_sequence(Pair *p, const uint32_t *tokens, size_t n, size_t first, size_t end, bool known,
                          Error *err) {
    runner_reset(p->source);
    runner_reset(p->artifact);
    TRY(runner_states(p->source, tokens, n, p->states[0], err));
    TRY(runner_states(p->artifact, tokens, n, p->states[1], err));
    for (size_t at = first, count; at < end; at += count) {
        count = end - at < HEAD_BATCH ? end - at : HEAD_BATCH;
        TRY(runner_head(p->source, p->states[0] + at * p->n_embd, count, p->logits[0], err));
        TRY(runner_head(p->artifact, p->states[1] + at * p->n_embd, count, p->logits[1], err));
        for (size_t i = 0; i < count; i++)
            TRY(score(p, p->logits[0] + i * p->n_vocab, p->logits[1] + i * p->n_vocab,
                      known ? tokens[at + i + 1] : p->n_vocab, err));
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
        uint32_t token = (uint32_t)best(runner_logits(p->source), p->n_vocab);
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
    for (size_t i = 0; i < r->n_prompts; i++) TRY(score_prompt(p, r->prompts[i], err));
    return 0;
}

/* ---- all of it ---- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void conclude(QualityRecord *out, const Pair *p, bool has_text) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < p->n; i++) sum += p->kl[i];
    double mean = sum / (double)p->n;
    for (size_t i = 0; i < p->n; i++) square += (p->kl[i] - mean) * (p->kl[i] - mean);
    qsort(p->kl, p->n, sizeof *p->kl, ascending);
    size_t at = (size_t)ceil(0.999 * (double)p->n);
    *out = (QualityRecord){.positions = p->n,
                           .kl = mean,
                           .kl_error = p->n > 1 ? 1.96 * sqrt(square / (double)(p->n - 1) / (double)p->n) : 0,
                           .kl_999 = p->kl[at - 1],
                           .top1 = (double)p->same / (double)p->n};
    if (!has_text) return;
    out->source_ppl = strict_exp(p->source_nll / (double)p->n);
    out->ppl = strict_exp(p->nll / (double)p->n);
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
        const char *prompt = p->task->recipe->prompts[i];
        int code = tokenizer_encode(p->tokenizer, prompt, strlen(prompt), &ids, err);
        uint64_t needed = (uint64_t)ids.count + p->task->recipe->n_tokens;
        tokens_free(&ids);
        if (code) return code;
        if (needed > options.context) options.context = needed < UINT32_MAX ? (uint32_t)needed : UINT32_MAX;
    }
    p->context = options.context;
    TRY(runner_open(&p->source, source, options, NULL, err));
    return runner_open(&p->artifact, artifact, options, NULL, err);
}

/* The same tokens must mean the same: a file that says otherwise would also be written past its room. */
static int open_room(Pair *p, Arena *arena, Error *err) {
    const ModelParams *a = runner_params(p->source), *b = runner_params(p->artifact);
    size_t states, logits;
    if (a->n_vocab != b->n_vocab || a->n_embd != b->n_embd)
        return error_set(err, ERR_FORMAT,
                         "the artifact has %u tokens and an embedding of %u, the source %u and %u: their "
                         "predictions can't be compared",
                         b->n_vocab, b->n_embd, a->n_vocab, a->n_embd);
    p->n_vocab = a->n_vocab;
    p->n_embd = a->n_embd;
    bool ok = size_mul(&states, p->context, p->n_embd) && size_mul(&logits, HEAD_BATCH, p->n_vocab);
    for (int i = 0; ok && i < 2; i++) {
        p->states[i] = arena_alloc(arena, states, sizeof(float));
        p->logits[i] = arena_alloc(arena, logits, sizeof(float));
        ok = p->states[i] && p->logits[i];
    }
    return ok ? 0 : error_memory(err, "measuring quality");
}

static int measure(QualityRecord *out, Pair *p, const Model *source, const Model *artifact, Arena *arena,
                   Error *err) {
    char *text;
    size_t length = 0;
    Vocab *vocab;
    TRY(read_text(&text, &length, p->task->recipe, arena, err));
    TRY(vocab_open(&vocab, source, NULL, err));
    int code = tokenizer_open(&p->tokenizer, vocab, NULL, err);
    if (!code) code = open_runners(p, source, artifact, text != NULL, err);
    if (!code) code = open_room(p, arena, err);
    if (!code) code = text ? score_text(p, text, length, err) : score_prompts(p, err);
    if (!code && p->n) conclude(out, p, text != NULL);
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
    arena_close(arena);
    return code;
}

/* ---- judging ---- */

static void say_figures(Buffer *b, const QualityRecord *q) {
    buffer_printf(b, "%llu positions: mean KL %.3g +- %.2g (99.9 %%: %.3g), top-1 %.4f",
                  (unsigned long long)q->positions, q->kl, q->kl_error, q->kl_999, q->top1);
    if (q->ppl > 0)
        buffer_printf(b, ", perplexity %.4f, %.4f times the source's", q->ppl, q->ppl / q->source_ppl);
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
