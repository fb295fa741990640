/* The retype view by a type alone. */
#ifndef RECAST_TESTS_RETYPE_FIXTURE_H
#define RECAST_TESTS_RETYPE_FIXTURE_H

#include "model/views.h"

/* DT_NONE: as stored. */
static inline int retype_as(Model **out, const Model *base, DType type, const Allocator *allocator,
                            Error *err) {
    if (type == DT_NONE) return retype_open(out, base, NULL, allocator, err);
    const Preset *preset = NULL;
    for (size_t i = 0; i < preset_count() && !preset; i++)
        if (preset_at(i)->type == type) preset = preset_at(i);
    if (!preset) return error_set(err, ERR_UNSUPPORTED, "no preset has this type alone");
    RetypeOptions options = {.rules = mixture_rules(preset)};
    return retype_open(out, base, &options, allocator, err);
}

#endif
