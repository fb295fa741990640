/* artifact.c -- one artifact against source and recipe, in order: what it ought to be, source, rebuild,
 * generation. */
#include "model/views.h"
#include "validate/prompts.h"
#include "validate/validation.h"
#include <string.h>

int check_pins(const Validation *v, const Recipe *r, Error *err) {
    size_t pinned = 0;
    Error found = {0};
    const ValidateOptions *o = v->options;
    if (recipe_check_pins(r, o->source, o->proof, o->commit, &pinned, &found))
        return check_error(v, "source", "pins", &found, err);
    if (pinned) check_add(v, "source", CHECK_PASS, "pins", "%zu pins of the recipe hold", pinned);
    return 0;
}

static int rebuild(const Validation *v, const Subject *s, const Expected *e, Error *err) {
    const SourceProof *proof = v->options->proof;
    if (s->model->form == FORM_HF) return rebuild_hf(v, e->top, proof, s->files, s->n_files, s->exact, err);
    return rebuild_gguf(v, s->recipe, e->output, e->top, proof, s->files, s->n_files, err);
}

/* Without records, a recipe's prompts and the source make them. */
static int make_records(GenerationRecord **out, const Validation *v, const Recipe *r, const Model *derived,
                        Error *err) {
    const char *const *prompts;
    *out = arena_alloc(v->arena, r->n_prompts, sizeof **out);
    if (!*out) return error_memory(err, "generation records");
    TRY(prompt_texts(&prompts, r, derived, v->arena, err));
    return validate_generate(*out, derived, prompts, r->n_prompts, r->n_tokens, NULL, v->options, v->arena,
                             err);
}

static int generation(const Validation *v, const Subject *s, bool lossless, const Model *derived,
                      Error *err) {
    size_t n = s->n_records;
    const GenerationRecord *records = s->records;
    if (!records && lossless && derived && s->recipe) {
        GenerationRecord *made;
        Error found = {0};
        if (make_records(&made, v, s->recipe, derived, &found))
            return check_error(v, "generation", "generation", &found, err);
        records = made;
        n = s->recipe->n_prompts;
    }
    return check_generation(v, s->model, s->name, lossless, derived, n, records, err);
}

int check_subject(const Validation *v, const Subject *s, bool lossless, Error *err) {
    Expected e;
    Error found = {0};
    if (!v->options->source) return generation(v, s, lossless, NULL, err);
    if (expected_open(&e, v, s->model, s->recipe, s->name, NULL, &found)) {
        TRY(check_error(v, "source", "recipe", &found, err));
        return generation(v, s, lossless, NULL, err);
    }
    int code = check_source(v, s->model, s->digest, &e, v->options->proof, err);
    if (!code && s->recipe) code = rebuild(v, s, &e, err);
    if (!code) code = generation(v, s, lossless || retype_is_lossless(e.top), e.derived, err);
    expected_close(&e);
    return code;
}
