/* eval.h -- how well models predict a text: the figures of every position, for one model or for several
 * beside each other.
 *
 * All models read the same tokens, and one window goes layer by layer through each of them (runner_states),
 * so that a model larger than memory is read once a window. Logits exist for a few positions at a time:
 * nothing is kept of them but figures. Sums are in double, in a fixed order, with the functions of
 * core/strict_math.h: the same figures on every machine. */
#ifndef RECAST_RUNNER_EVAL_H
#define RECAST_RUNNER_EVAL_H

#include "runner/runner.h"

/* What a model says behind one token. Natural logarithms. */
typedef struct EvalPoint {
    double nll;     /* of the token that follows; 0 where none is known */
    double entropy; /* of what it expects next */
    /* against the first model */
    double kl; /* divergence, first from this; never below 0 */
    double
        error;  /* norm of the difference of the logits over the norm of the first's, both less their means */
    bool same;  /* is the most probable token the same? */
    bool right; /* is it the one that follows? */
} EvalPoint;

/* Figures from two rows of logits. a: the first model's, b: this one's (may be a). next: the token that
 * follows, n if none is known. */
EvalPoint eval_point(const float *a, const float *b, size_t n, size_t next);
/* The same with every exponential in double: for figures that are recorded and found again (1e-15 of a nat
 * instead of 1e-7, at five times the cost). */
EvalPoint eval_point_exact(const float *a, const float *b, size_t n, size_t next);
/* The largest of n logits, ties to the lower. */
size_t eval_best(const float *logits, size_t n);

/* Entropies of softmax(logits / t) for n_temperatures values of t. */
void eval_entropies(double *out, const float *logits, size_t n, const double *temperatures,
                    size_t n_temperatures);

typedef struct EvalRoom EvalRoom;
/* Working memory for n_models models of one shape and vocabulary, and windows of up to `window` tokens. */
int eval_room_open(EvalRoom **out, const ModelParams *p, size_t n_models, uint32_t window,
                   const Allocator *allocator, Error *err) MUST_CHECK;
/* Bytes of it, before allocating; 0 if they are more than can be addressed. */
uint64_t eval_room_bytes(const ModelParams *p, size_t n_models, uint32_t window);
void eval_room_close(EvalRoom *room); /* NULL-safe */

typedef struct EvalWindow {
    const uint32_t *tokens;
    size_t n;          /* of them, at most the room's window and each runner's context */
    size_t first, end; /* positions to score: first .. end - 1, end <= n */
    bool exact;        /* by eval_point_exact */
    bool known;        /* the token behind each position is text: tokens[i + 1], end <= n - 1 */
    /* the first model's entropies at other temperatures, of every eighth scored position: NULL, or room for
     * [(end - first + 7) / 8][n_temperatures] */
    double *entropies;
    const double *temperatures;
    size_t n_temperatures;
} EvalWindow;

/* Runs a window, from its beginning, through n_models runners; the first is the one that others are compared
 * with. points[k]: end - first points of model k. */
int eval_window(EvalPoint *const *points, Runner *const *runners, size_t n_models, EvalRoom *room,
                const EvalWindow *w, Error *err) MUST_CHECK;

/* ---- figures of many positions ---- */

typedef struct EvalMean {
    double mean, error; /* error: half the width of the 95 % interval, 1.96 standard errors */
} EvalMean;
EvalMean eval_mean(const double *values, size_t n);
/* Of the mean: sqrt(s^2 / n), s^2 the sample's variance; 0 of fewer than two. Times the perplexity it is that
 * of the perplexity (delta method), which llama-perplexity prints behind +/-. */
double eval_standard_error(const double *values, size_t n);
/* What the share q of n values doesn't exceed; sorts them. */
double eval_quantile(double *values, size_t n, double q);

#endif
