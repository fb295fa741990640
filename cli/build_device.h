/* build_device.h -- will a GPU hold what a build runs at its end? */
#ifndef RECAST_CLI_BUILD_DEVICE_H
#define RECAST_CLI_BUILD_DEVICE_H

#include "recipes/recipe.h"

/* With `--device cuda`: asked before the first byte is written, for a build that can't generate makes
 * nothing. derived: the source with overrides. stacks: of the recipe's outputs. Errors: ERR_DEVICE,
 * ERR_MEMORY, ERR_UNSUPPORTED (the device doesn't take the model). */
int build_device_check(const Recipe *recipe, const Model *derived, const RecipeStack *stacks,
                       Error *err) MUST_CHECK;

#endif
