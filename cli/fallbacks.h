/* fallbacks.h -- says which tensors could not get the type that was asked for. */
#ifndef RECAST_CLI_FALLBACKS_H
#define RECAST_CLI_FALLBACKS_H

#include "core/error.h"
#include "model/model.h"

/* One line for the user by say (NULL: nobody listens) if a retyped model has tensors that got another type
 * for their rows' sake; nothing for other models. */
int fallbacks_say(const Model *retyped, void (*say)(const char *text), Error *err) MUST_CHECK;
/* Appends {"output", "tensor", "from", "to"} of each to *array; *array NULL: makes it first if there are any.
 */
void fallbacks_json(const Model *retyped, const char *type, cJSON **array);

#endif
