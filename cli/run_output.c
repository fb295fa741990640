/* run_output.c -- an answer as it comes, on stdout or as JSON at the end. */
#include "cli/run.h"
#include "runner/slide.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

int answer_open(Answer *out, const RunArgs *a, const Tokenizer *tokenizer, bool print, Error *err) {
    *out = (Answer){
        .tokenizer = tokenizer, .print = print, .ignore_end = a->ignore_end, .hide_end = a->chat && !a->raw};
    buffer_init(&out->bytes, NULL);
    buffer_init(&out->ready, NULL);
    buffer_init(&out->text, NULL);
    return text_stream_open(&out->stream, a->stops.items, a->stops.count, NULL, err);
}

void answer_close(Answer *a) {
    text_stream_close(a->stream);
    buffer_free(&a->bytes);
    buffer_free(&a->ready);
    buffer_free(&a->text);
}

/* Shows what is ready. */
static int show(Answer *a, Error *err) {
    buffer_append(&a->text, buffer_string(&a->ready), a->ready.length);
    TRY(buffer_ok(&a->text, "the text", err));
    if (!a->print || !a->ready.length) return 0;
    fwrite(buffer_string(&a->ready), 1, a->ready.length, stdout);
    /* nobody reads on (`| head`): a large model must not go on for minutes */
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    return error_sys(err, ERR_IO, errno, "writing to standard output failed");
}

static int emit(void *context, uint32_t token, Error *err) {
    Answer *a = context;
    buffer_clear(&a->bytes);
    buffer_clear(&a->ready);
    if (a->hide_end && tokenizer_ends(a->tokenizer, token)) return 0;
    TRY(tokenizer_decode(a->tokenizer, &token, 1, &a->bytes, err));
    TRY(text_stream_add(a->stream, buffer_string(&a->bytes), a->bytes.length, &a->ready, err));
    return show(a, err);
}

static bool ends(void *context, uint32_t token) {
    const Answer *a = context;
    return text_stream_stopped(a->stream) || (!a->ignore_end && tokenizer_ends(a->tokenizer, token));
}

int answer_finish(Answer *a, Error *err) {
    buffer_clear(&a->ready);
    TRY(text_stream_finish(a->stream, &a->ready, err));
    return show(a, err);
}

GenerateOptions answer_options(Answer *answer, const RunArgs *a, uint32_t n) {
    return (GenerateOptions){.max_tokens = n,
                             .stop_at_end = true,
                             .prefill_chunk = a->chunk,
                             .recompute = a->recompute,
                             .slide = a->slide,
                             .ends = ends,
                             .emit = emit,
                             .context = answer};
}

static cJSON *ids_json(const uint32_t *ids, size_t n) {
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++) cJSON_AddItemToArray(array, cJSON_CreateNumber(ids[i]));
    return array;
}

/* The `count` largest logits as [[id, logit], ...], best first, ties to the lower id. */
static int top_json(cJSON **out, const float *logits, uint32_t n, uint32_t count, Error *err) {
    if (count > n) count = n;
    uint32_t *ids = mem_alloc(NULL, (size_t)count * sizeof *ids);
    int code = ids ? sample_top(ids, logits, n, count, err) : error_memory(err, "the list of logits");
    *out = code ? NULL : cJSON_CreateArray();
    for (uint32_t i = 0; !code && i < count; i++) {
        cJSON *pair = cJSON_CreateArray();
        cJSON_AddItemToArray(pair, cJSON_CreateNumber(ids[i]));
        cJSON_AddItemToArray(pair, cJSON_CreateNumber((double)logits[ids[i]]));
        cJSON_AddItemToArray(*out, pair);
    }
    mem_free(NULL, ids);
    return code;
}

int run_print_json(const RunArgs *a, const Tokens *prompt, const Generation *g, const Answer *answer,
                   uint32_t n_vocab, const char *warning, const MemoryPlan *memory, Error *err) {
    Buffer text;
    cJSON *top = NULL, *doc = cJSON_CreateObject();
    buffer_init(&text, NULL);
    utf8_replace_invalid(&text, buffer_string(&answer->text), answer->text.length);
    int code = buffer_ok(&text, "the text", err);
    if (!code) code = top_json(&top, g->first_logits, n_vocab, a->top, err);
    if (!code && !doc) code = error_memory(err, "the JSON output");
    if (!code) {
        cJSON_AddItemToObject(doc, "prompt_ids", ids_json(prompt->ids, prompt->count));
        cJSON_AddItemToObject(doc, "ids", ids_json(g->tokens, g->n_tokens));
        cJSON_AddStringToObject(doc, "text", buffer_string(&text));
        cJSON_AddItemToObject(doc, "top", top);
        cJSON_AddStringToObject(doc, "arithmetic", g->arithmetic);
        cJSON_AddStringToObject(doc, "tokens_sha256", g->tokens_sha256);
        cJSON_AddStringToObject(doc, "logits_sha256", g->logits_sha256);
        if (warning) cJSON_AddStringToObject(doc, "warning", warning);
        memory_plan_put(doc, memory);
        if (a->slide) cJSON_AddNumberToObject(doc, "dropped", (double)g->dropped);
        cJSON *timings = cJSON_AddObjectToObject(doc, "timings");
        cJSON_AddNumberToObject(timings, "prefill_seconds", g->prefill_seconds);
        cJSON_AddNumberToObject(timings, "decode_seconds", g->decode_seconds);
        code = cli_print_json(doc, err);
    } else {
        cJSON_Delete(doc);
    }
    buffer_free(&text);
    return code;
}

void run_print_slid(const Cli *cli, const Runner *r, const Generation *g) {
    if (cli->quiet || !g->dropped) return;
    fprintf(stderr,
            "recast run: the context of %u positions slid: the %zu tokens behind the first %d were dropped\n",
            runner_context(r), g->dropped, SLIDE_KEPT);
}

void run_print_summary(const Cli *cli, const Tokens *prompt, const Generation *g) {
    if (cli->quiet) return;
    fprintf(stderr, "%zu prompt tokens, %.1f tok/s; %u generated, %.1f tok/s; %s\n", prompt->count,
            (double)prompt->count / (g->prefill_seconds + 1e-9), g->n_tokens,
            g->n_tokens / (g->decode_seconds + 1e-9), g->arithmetic);
    if (cli->verbose)
        fprintf(stderr, "tokens sha256 %s\nlogits sha256 %s\n", g->tokens_sha256, g->logits_sha256);
}
