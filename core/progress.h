/* progress.h -- how long work tells its caller how far it is, and how the caller stops it. */
#ifndef RECAST_CORE_PROGRESS_H
#define RECAST_CORE_PROGRESS_H

#include "core/error.h"

typedef struct Progress {
    /* Called from any one thread at a time. phase: "hash sources", "write x.gguf"; done and total in bytes
     * (or steps). A non-zero return asks the work to stop with ERR_INTERRUPTED. */
    int (*update)(void *context, const char *phase, uint64_t done, uint64_t total);
    void *context;
    /* May be NULL. Called before update with the name of what is at hand (a tensor, a file); borrowed for the
     * call. */
    void (*item)(void *context, const char *name);
} Progress;

/* Calls update if there is one (progress may be NULL) and turns both its wish and a caught signal into
 * ERR_INTERRUPTED. */
int progress_update(const Progress *progress, const char *phase, uint64_t done, uint64_t total,
                    Error *err) MUST_CHECK;

#endif
