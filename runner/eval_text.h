/* eval_text.h -- a text through one model or several, window by window (eval.h). */
#ifndef RECAST_RUNNER_EVAL_TEXT_H
#define RECAST_RUNNER_EVAL_TEXT_H

#include "core/progress.h"
#include "runner/eval.h"

typedef struct EvalTextOptions {
    uint32_t window;   /* tokens, at least 2; the last window may be shorter */
    bool second_half;  /* llama-perplexity's way: whole windows only, and of each only positions window / 2 to
                          window - 2, so that every scored token has a long context */
    size_t max_tokens; /* 0: the whole text */
    const double *temperatures; /* the first model's mean entropy at these; NULL: none */
    size_t n_temperatures;
    const Progress *progress;
    const char *phase; /* for the progress line */
} EvalTextOptions;

typedef struct EvalText {
    size_t n_models, n_tokens, n_windows;
    size_t n;           /* scored positions */
    uint32_t *position; /* [n]: in its window */
    EvalPoint **points; /* [n_models][n] */
    double *entropies;  /* [n_temperatures] means, of every eighth position */
    Arena *arena;
} EvalText;

/* runners: opened with a context of at least options.window. ERR_USAGE if nothing can be scored (a text of
 * one token, or, with second_half, shorter than a window). */
int eval_text(EvalText **out, Runner *const *runners, size_t n_models, const uint32_t *tokens,
              size_t n_tokens, EvalTextOptions options, const Allocator *allocator, Error *err) MUST_CHECK;
void eval_text_close(EvalText *t); /* NULL-safe */

/* One figure of a model's positions whose place in the window is from <= place < to, as an array of doubles
 * in `values` (room for t->n); returns how many. */
typedef double (*EvalFigure)(const EvalPoint *p);
size_t eval_text_figures(double *values, const EvalText *t, size_t model, EvalFigure figure, uint32_t from,
                         uint32_t to);
double eval_nll(const EvalPoint *p);
double eval_entropy(const EvalPoint *p);
double eval_kl(const EvalPoint *p);
double eval_error(const EvalPoint *p);
double eval_same(const EvalPoint *p); /* 1 or 0 */

#endif
