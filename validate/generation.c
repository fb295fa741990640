/* generation.c -- what a model says, in hashes of tokens and logits: recorded, and reproduced.
 * Strict arithmetic gives the same bits on every machine, so any difference is a failure
 * (docs/arithmetic.md). */
#include "core/utf8.h"
#include "runner/tokenizer.h"
#include "validate/validation.h"
#include <math.h>
#include <string.h>

enum {
    MOST_POSITIONS = 2048, /* a CPU must be able to check a package in reasonable time */
    ROOM = 512 /* the context is a multiple of it, so that a longer prompt seldom needs a new runner */
};

/* A model that says several things. Its runner stays open: a GPU is given all weights when it opens. */
typedef struct Speaker {
    const Model *model;
    const ValidateOptions *options;
    Vocab *vocab;
    Tokenizer *tokenizer;
    Runner *runner;
} Speaker;

static void speaker_close(Speaker *s) {
    runner_close(s->runner);
    tokenizer_close(s->tokenizer);
    vocab_close(s->vocab);
}

/* ---- one generation ---- */

static int encode(Tokens *prompt, const Tokenizer *t, const char *text, uint32_t n_tokens, Error *err) {
    TRY(tokenizer_encode(t, text, strlen(text), prompt, err));
    if (prompt->count == 0)
        return error_set(err, ERR_RECIPE, "a prompt without tokens: nothing to generate from");
    if (n_tokens && n_tokens <= MOST_POSITIONS && prompt->count <= MOST_POSITIONS - n_tokens) return 0;
    return error_set(
        err, ERR_LIMIT,
        "a prompt of %zu tokens and %u to generate: validation generates at least one and takes at most %d "
        "positions together, so that any machine can check it",
        prompt->count, n_tokens, MOST_POSITIONS);
}

static int make_room(Speaker *s, uint32_t positions, Error *err) {
    RunnerOptions options = {
        .context = (positions + ROOM - 1) / ROOM * ROOM, .kv = KV_F32, .threads = s->options->threads};
    if (s->runner && runner_context(s->runner) >= positions) {
        runner_reset(s->runner);
        return 0;
    }
    runner_close(s->runner);
    s->runner = NULL;
    return device_choice_open(&s->runner, s->model, options, &s->options->device, err);
}

static int run(Generation **out, Speaker *s, const Tokens *prompt, uint32_t n_tokens, Error *err) {
    SampleOptions greedy = {.top_p = 1};
    TRY(make_room(s, (uint32_t)prompt->count + n_tokens, err));
    TRY(generate(out, s->runner, prompt->ids, prompt->count, greedy,
                 (GenerateOptions){.max_tokens = n_tokens}, NULL, err));
    if ((*out)->n_tokens == n_tokens) return 0;
    int code = error_set(err, ERR_CHECK, "%u tokens were generated, not %u", (*out)->n_tokens, n_tokens);
    generation_close(*out);
    *out = NULL;
    return code;
}

/* What was generated, as text that any reader takes: no ill-formed UTF-8, no NUL (a C string would end
 * there). */
static int decode(char **out, const Tokenizer *t, const Generation *g, Arena *arena, Error *err) {
    Buffer raw, text;
    buffer_init(&raw, NULL);
    buffer_init(&text, NULL);
    int code = tokenizer_decode(t, g->tokens, g->n_tokens, &raw, err);
    for (size_t i = 0; !code && i < raw.length; i++)
        if (!raw.data[i]) raw.data[i] = (char)0xFF; /* ill-formed, so it becomes U+FFFD like the rest */
    if (!code) utf8_replace_invalid(&text, buffer_string(&raw), raw.length);
    if (!code) code = buffer_ok(&text, "the generated text", err);
    *out = code ? NULL : arena_copy(arena, buffer_string(&text), text.length);
    if (!code && !*out) code = error_memory(err, "the generated text");
    buffer_free(&raw);
    buffer_free(&text);
    return code;
}

/* text (may be NULL): what was generated, in the arena. */
static int generate_from(Generation **out, char **text, Speaker *s, const char *prompt, uint32_t n_tokens,
                         Arena *arena, Error *err) {
    Tokens ids;
    tokens_init(&ids, NULL);
    *out = NULL;
    int code = s->vocab ? 0 : vocab_open(&s->vocab, s->model, NULL, err);
    if (!code && !s->tokenizer) code = tokenizer_open(&s->tokenizer, s->vocab, NULL, err);
    if (!code) code = encode(&ids, s->tokenizer, prompt, n_tokens, err);
    if (!code) code = run(out, s, &ids, n_tokens, err);
    if (!code && text) {
        code = decode(text, s->tokenizer, *out, arena, err);
        if (code) {
            generation_close(*out);
            *out = NULL;
        }
    }
    tokens_free(&ids);
    return code;
}

static float least_margin(const Generation *g) {
    float least = g->margins[0];
    for (uint32_t i = 1; i < g->n_tokens; i++)
        if (g->margins[i] < least) least = g->margins[i];
    return least;
}

static int record(GenerationRecord *out, const Generation *g, const char *prompt, const char *artifact,
                  char *text, Arena *arena, Error *err) {
    *out = (GenerationRecord){.n_tokens = g->n_tokens, .text = text, .least_margin = least_margin(g)};
    out->prompt = arena_string(arena, prompt);
    out->artifact = artifact ? arena_string(arena, artifact) : NULL;
    out->arithmetic = arena_string(arena, g->arithmetic);
    memcpy(out->tokens_sha256, g->tokens_sha256, SHA256_HEX);
    memcpy(out->logits_sha256, g->logits_sha256, SHA256_HEX);
    bool ok = out->prompt && out->arithmetic && (!artifact || out->artifact);
    return ok ? 0 : error_memory(err, "a generation record");
}

static int generate_record(GenerationRecord *out, Speaker *s, const char *prompt, uint32_t n_tokens,
                           const char *artifact, Arena *arena, Error *err) {
    Generation *g;
    char *text;
    int code = generate_from(&g, &text, s, prompt, n_tokens, arena, err);
    if (!code) code = record(out, g, prompt, artifact, text, arena, err);
    generation_close(g);
    return code;
}

int validate_generate(GenerationRecord *out, const Model *model, const char *const *prompts, size_t n,
                      uint32_t n_tokens, const char *artifact, const ValidateOptions *options, Arena *arena,
                      Error *err) {
    Speaker s = {.model = model, .options = options};
    const char *phase = artifact ? artifact : "generate from the source";
    int code = 0;
    for (size_t i = 0; !code && i < n; i++) {
        code = progress_update(options->progress, phase, i, n, err);
        if (!code) code = generate_record(&out[i], &s, prompts[i], n_tokens, artifact, arena, err);
    }
    speaker_close(&s);
    return code;
}

static int fits(const Speaker *s, const char *prompt, uint32_t n_tokens, Error *err) {
    Tokens ids;
    tokens_init(&ids, NULL);
    int code = encode(&ids, s->tokenizer, prompt, n_tokens, err);
    tokens_free(&ids);
    return code;
}

int validate_prompts_fit(const Model *model, const char *const *prompts, size_t n, uint32_t n_tokens,
                         Error *err) {
    Speaker s = {.model = model};
    Error found = {0};
    int code = vocab_open(&s.vocab, model, NULL, &found);
    if (!code) code = tokenizer_open(&s.tokenizer, s.vocab, NULL, &found);
    for (size_t i = 0; !code && i < n; i++) code = fits(&s, prompts[i], n_tokens, &found);
    speaker_close(&s);
    if (code != ERR_LIMIT && code != ERR_RECIPE) return 0;
    return error_set(err, code, "%s", found.message);
}

/* ---- reproducing one ---- */

/* "prompt 2 ("And God said...")": cut, so that a line stays a line. */
static void say_prompt(Buffer *b, size_t number, const char *prompt) {
    size_t n = utf8_cut(prompt, strlen(prompt), 40);
    buffer_printf(b, "prompt %zu (\"", number + 1);
    buffer_printable(b, prompt, n);
    buffer_text(b, prompt[n] ? "...\"): " : "\"): ");
}

static void say_step(Buffer *b, const Generation *found, const Generation *expected) {
    for (uint32_t i = 0; i < found->n_tokens && i < expected->n_tokens; i++) {
        if (found->tokens[i] == expected->tokens[i]) continue;
        buffer_printf(b, "at step %u of %u it says token %u, the source says %u by a margin of %.3g", i + 1,
                      found->n_tokens, found->tokens[i], expected->tokens[i], (double)expected->margins[i]);
        return;
    }
    buffer_text(b, "the same tokens, but other logits");
}

/* Without the source only the recorded text can tell where. */
static void say_text(Buffer *b, const GenerationRecord *r, const char *text) {
    size_t at = 0;
    while (text[at] && text[at] == r->text[at]) at++;
    if (!text[at] && !r->text[at])
        buffer_text(b, "the recorded text, but other hashes");
    else
        buffer_printf(b, "another text from byte %zu on (least margin recorded: %.3g)", at,
                      (double)r->least_margin);
}

/* derived: its model may be NULL. */
static void explain(Buffer *b, const Validation *v, const Generation *found, const char *text,
                    const GenerationRecord *r, Speaker *derived) {
    Generation *expected = NULL;
    Error ignored;
    if (strcmp(found->tokens_sha256, r->tokens_sha256) == 0)
        buffer_text(b, "the same tokens, but other logits");
    else if (derived->model && !r->artifact &&
             !generate_from(&expected, NULL, derived, r->prompt, r->n_tokens, v->arena, &ignored) &&
             !strcmp(expected->tokens_sha256, r->tokens_sha256))
        say_step(b, found, expected);
    else
        say_text(b, r, text);
    generation_close(expected);
}

/* Hashes that hold, and beside them what a reader looks at: the text, and how near another one was. A margin
 * that was not recorded is infinite. False with what to say of it. */
static bool same_words(Buffer *b, const GenerationRecord *r, const Generation *found, const char *text) {
    float margin = least_margin(found);
    if (strcmp(text, r->text)) {
        size_t at = 0;
        while (text[at] == r->text[at]) at++;
        buffer_printf(b, "the recorded tokens and logits, but they say another text from byte %zu on", at);
        return false;
    }
    bool near = fabsf(r->least_margin - margin) <= 1e-6f * margin; /* a manifest's decimals may be rounded */
    if (!isfinite(r->least_margin) || near) return true;
    buffer_printf(b, "the recorded tokens and logits, but their least margin is %.9g, not %.9g",
                  (double)margin, (double)r->least_margin);
    return false;
}

typedef struct Tally {
    Speaker artifact, derived; /* derived: explains a difference; its model may be NULL */
    size_t tried, equal;
} Tally;

static int reproduce(const Validation *v, const GenerationRecord *r, size_t number, Tally *tally,
                     Error *err) {
    Generation *g;
    char *text;
    Error found = {0};
    tally->tried++;
    if (generate_from(&g, &text, &tally->artifact, r->prompt, r->n_tokens, v->arena, &found))
        return check_error(v, "generation", "generation", &found, err);
    Buffer b;
    buffer_init(&b, NULL);
    say_prompt(&b, number, r->prompt);
    if (strcmp(g->arithmetic, r->arithmetic)) {
        check_add(v, "generation", CHECK_NOT_RUN, "generation",
                  "%srecorded with %s, this program computes %s", buffer_string(&b), r->arithmetic,
                  g->arithmetic);
    } else if (!strcmp(g->tokens_sha256, r->tokens_sha256) && !strcmp(g->logits_sha256, r->logits_sha256)) {
        bool same = same_words(&b, r, g, text);
        tally->equal += same;
        if (!same) check_add(v, "generation", CHECK_FAIL, "generation", "%s", buffer_string(&b));
    } else {
        explain(&b, v, g, text, r, &tally->derived);
        check_add(v, "generation", CHECK_FAIL, "generation", "%s", buffer_string(&b));
    }
    if (b.failed) v->report->failed_alloc = true;
    buffer_free(&b);
    generation_close(g);
    return 0;
}

/* ---- all of an artifact ---- */

/* A record of the source holds for every artifact with its weights; a lossy one has records of its own. */
static bool holds_for(const GenerationRecord *r, const char *path, bool lossless) {
    return r->artifact ? path && !strcmp(r->artifact, path) : lossless;
}

int check_generation(const Validation *v, const Model *artifact, const char *path, bool lossless,
                     const Model *derived, size_t n_records, const GenerationRecord *records, Error *err) {
    /* what explains may run anywhere: both models at once may be too much for a GPU */
    ValidateOptions anywhere = *v->options;
    if (anywhere.device.kind == DEVICE_CUDA) anywhere.device.kind = DEVICE_AUTO;
    Tally tally = {.artifact = {.model = artifact, .options = v->options},
                   .derived = {.model = derived, .options = &anywhere}};
    bool baked = is_baked(artifact);
    int code = 0;
    for (size_t i = 0; !code && i < n_records; i++) {
        if (!holds_for(&records[i], path, lossless && !baked)) continue;
        code = progress_update(v->options->progress, "generate", i, n_records, err);
        if (!code) code = reproduce(v, &records[i], i, &tally, err);
    }
    speaker_close(&tally.artifact);
    speaker_close(&tally.derived);
    if (code) return code;
    if (!tally.tried)
        check_add(
            v, "generation", CHECK_NOT_RUN, "generation", "%s",
            baked ? "GGUF has \"dynamic\" only fixed for one length, so it does not say what its source says"
            : v->options->records_own
                ? "no file before this one has its weights: what it generates is recorded as its own"
            : n_records && !lossless
                ? "not lossless, and nothing is recorded that this artifact itself generated"
                : "no generation is recorded");
    else if (tally.equal == tally.tried)
        check_add(v, "generation", CHECK_PASS, "generation",
                  "%zu of %zu: the recorded tokens and logits, to the bit", tally.equal, tally.tried);
    return 0;
}
