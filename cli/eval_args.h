/* eval_args.h -- what the parts of `recast eval` share. */
#ifndef RECAST_CLI_EVAL_ARGS_H
#define RECAST_CLI_EVAL_ARGS_H

#include "cli/device_option.h"
#include "runner/eval.h"
#include "runner/tokenizer.h"

enum { PASSKEY_MOST_LENGTHS = 16, PASSKEY_MOST_DEPTHS = 32, PASSKEY_MOST_TRIALS = 1000 };

/* The grid of `--passkey`. */
typedef struct PasskeyGrid {
    uint32_t lengths[PASSKEY_MOST_LENGTHS], depths[PASSKEY_MOST_DEPTHS], trials;
    size_t n_lengths, n_depths;
    uint64_t seed;
} PasskeyGrid;

typedef struct EvalArgs {
    const char *text, *against, *kv, *activations, *device, *passkey, *depths;
    uint32_t window, max_tokens, output;
    OptionList sets;
    bool llama;
    PasskeyGrid grid; /* if passkey is not NULL */
    RunnerOptions runner;
} EvalArgs;

/* eval_passkey.c: reads --passkey and --depths into a->grid; a->window becomes the longest length. */
int eval_passkey_parse(EvalArgs *a, Error *err) MUST_CHECK;
/* Asks n models (1, or 2: the one of --against first) for hidden numbers, and prints the figures. */
int eval_passkey(Cli *cli, const EvalArgs *a, Runner *const *runners, size_t n, const Tokenizer *tokenizer,
                 const MemoryPlan *memory, Error *err) MUST_CHECK;
/* {"mean": m, "error": e} under `key`. */
void eval_put_mean(cJSON *o, const char *key, EvalMean m);

#endif
