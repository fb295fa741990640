/* run.h -- what the parts of `recast run` share: options, the answer as it comes, its JSON, and the
 * conversation on a terminal. */
#ifndef RECAST_CLI_RUN_H
#define RECAST_CLI_RUN_H

#include "cli/cli.h"
#include "cli/device_option.h"
#include "runner/chat.h"
#include "runner/generate.h"
#include "runner/text_stream.h"
#include "runner/tokenizer.h"

#define RUN_TOKENS_ABSENT UINT32_MAX /* RunArgs.n when -n is not given */

typedef struct RunArgs {
    const char *prompt, *system, *kv, *activations, *device;
    uint32_t n, output, top, chunk;
    OptionList sets, stops, adapters;
    SampleOptions sample;
    RunnerOptions runner;
    bool slide, recompute, ignore_end, chat, raw, no_thinking;
} RunArgs;

/* What runs, and how a conversation becomes its prompt (tmpl NULL: the text as it is). */
typedef struct RunModel {
    const Model *model;
    const Tokenizer *tokenizer;
    const ChatTemplate *tmpl;
} RunModel;

/* One answer as it comes: shown up to a stop string, never half a character. */
typedef struct Answer {
    const Tokenizer *tokenizer;
    TextStream *stream;
    Buffer bytes, ready; /* of one token */
    Buffer text;         /* all that was shown */
    bool print, ignore_end, hide_end;
} Answer;

/* Caller closes, after an error too. */
int answer_open(Answer *out, const RunArgs *a, const Tokenizer *tokenizer, bool print, Error *err) MUST_CHECK;
void answer_close(Answer *a);
/* Shows what was held back. */
int answer_finish(Answer *a, Error *err) MUST_CHECK;
/* The options of a generation of at most n tokens that goes into this answer. */
GenerateOptions answer_options(Answer *answer, const RunArgs *a, uint32_t n);

/* What the model is given for these messages. Appends to text. */
int run_render(Buffer *text, const RunArgs *a, const RunModel *m, const ChatMessage *messages, size_t count,
               Error *err) MUST_CHECK;
/* Says on stderr that the context slid, and how far. */
void run_print_slid(const Cli *cli, const Runner *r, const Generation *g);
/* Prompt, ids, text, the `--top` largest logits, hashes and timings, on stdout. warning may be NULL. */
int run_print_json(const RunArgs *a, const Tokens *prompt, const Generation *g, const Answer *answer,
                   uint32_t n_vocab, const char *warning, const MemoryPlan *memory, Error *err) MUST_CHECK;
/* Speeds, on stderr. */
void run_print_summary(const Cli *cli, const Tokens *prompt, const Generation *g);
/* A conversation: each line of stdin is a turn, until it ends or says /exit. */
int run_conversation(Cli *cli, RunArgs *a, const RunModel *m, Error *err) MUST_CHECK;

#endif
