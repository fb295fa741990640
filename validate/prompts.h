/* prompts.h -- a recipe's prompts as the texts that a model is given. */
#ifndef RECAST_VALIDATE_PROMPTS_H
#define RECAST_VALIDATE_PROMPTS_H

#include "recipes/recipe.h"

/* (*out)[recipe->n_prompts]: plain prompts as they are; conversations through the chat template of `model`
 * (docs/generation.md; enable_thinking is true, as transformers has it by default), in the arena. The text is
 * what is recorded, so that a recorded generation can be repeated without knowing any template. ERR_RECIPE
 * names the prompt if the model has no template or one that is unknown. */
int prompt_texts(const char *const **out, const Recipe *recipe, const Model *model, Arena *arena,
                 Error *err) MUST_CHECK;

#endif
