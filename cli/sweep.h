/* sweep.h -- what the files of the sweep command share. */
#ifndef RECAST_CLI_SWEEP_H
#define RECAST_CLI_SWEEP_H

#include "cli/device_option.h"
#include "runner/eval_text.h"

enum { SWEEP_MOST_SETTINGS = 32, SWEEP_MOST_WINDOWS = 4 };

/* What one setting does to the predictions in windows of one length. */
typedef struct SweepDepth {
    EvalMean nll, kl, entropy, same; /* kl, same: against the base setting */
    double delta, low, high;         /* nll less the base's, with a paired bootstrap interval of 95 % */
    double route_share;              /* of the router's probability, held by the chosen experts */
    double temperature; /* at which the base setting has this mean entropy; NaN: outside 0.5 .. 2 */
} SweepDepth;

typedef struct SweepSetting {
    uint32_t experts, context;
    const char *rope; /* "default", "yarn:4" */
    bool base;        /* the model's own */
    cJSON *overrides; /* NULL for the base */
    Model *model;     /* a view, NULL for the base */
    Runner *runner;   /* while it is evaluated */
    /* what it costs */
    double active_parameters, bytes_per_token; /* weights that one token meets */
    uint64_t kv_bytes;                         /* of the whole context, f16 */
    double prefill, decode;                    /* tokens a second; 0: not measured */
    SweepDepth depth[SWEEP_MOST_WINDOWS];
} SweepSetting;

typedef struct Sweep {
    const Model *model;
    size_t n_settings, n_windows;
    SweepSetting *settings; /* the base first */
    uint32_t windows[SWEEP_MOST_WINDOWS];
    size_t tokens;         /* of the text that were read */
    uint64_t weight_bytes; /* of the model */
    const char *arithmetic;
    MemoryPlan memory;
    Arena *arena;
} Sweep;

/* sweep_measure.c: fills the settings' figures. */
typedef struct SweepOptions {
    RunnerOptions runner;
    bool speed;        /* measure tokens a second */
    size_t max_tokens; /* of the text; 0: all */
    const Progress *progress;
    DeviceLine *device; /* is told of each runner */
} SweepOptions;
/* The context that every setting's runner needs. */
uint32_t sweep_context(const Sweep *s);
int sweep_measure(Sweep *s, const uint32_t *tokens, size_t n_tokens, SweepOptions options,
                  Error *err) MUST_CHECK;

/* sweep_report.c */
void sweep_print(const Sweep *s);
cJSON *sweep_json(const Sweep *s);
int sweep_csv(const Sweep *s, const char *path, Error *err) MUST_CHECK;
/* What the settings do to the predictions, without speeds: a file that the model card may show
 * (package.sweep). The same bytes on every machine. */
int sweep_picture(const Sweep *s, const char *path, Error *err) MUST_CHECK;
int sweep_page(const Sweep *s, const char *path, Error *err) MUST_CHECK;

#endif
