/* quality.h -- what an artifact's type costs: its predictions beside those of the source, token by token.
 *
 * Both models read the same tokens and each position's logits are compared: teacher forcing, so that one
 * near-tie doesn't carry on. Tokens are those of a text, in plain windows of at most 2,048, or, without one,
 * the prompts with the source's own greedy continuation. KV is float32; sums are in double, with the
 * functions of core/strict_math.h, so that any machine finds the same figures. */
#ifndef RECAST_VALIDATE_QUALITY_H
#define RECAST_VALIDATE_QUALITY_H

#include "core/progress.h"
#include "packager/manifest.h"
#include "recipes/recipe.h"
#include "validate/device_choice.h"

enum { QUALITY_WINDOW = 2048 /* positions, or the context if that is shorter */ };

typedef struct QualityTask {
    const Recipe *recipe; /* its prompts, number of tokens, text */
    const char *label;    /* for the progress line */
    DeviceChoice device;
    unsigned threads;
    const Progress *progress;
} QualityTask;

/* source: with the recipe's overrides. Errors: ERR_UNSUPPORTED (a type that the runner does not take), ERR_IO
 * (the text), ERR_RECIPE (it has less than two tokens), ERR_FORMAT (an artifact with other tokens or another
 * embedding size), what runner_forward says. */
int quality_measure(QualityRecord *out, const Model *source, const Model *artifact, const QualityTask *task,
                    Error *err) MUST_CHECK;

/* Adds the check "quality" of an artifact to a report: pass or fail by the recipe's limits; not run if it
 * sets none, or for lack of a text. */
void quality_judge(Report *r, const char *name, const QualityRecord *q, const Recipe *recipe);
/* The same for an artifact with the source's weights digest: there is nothing to lose. */
void quality_lossless(Report *r, const char *name);

#endif
