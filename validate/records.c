/* records.c -- the generations that a manifest lists against the recipe beside it: one that was left out, or
 * put in place of another, would reproduce all the same. */
#include "validate/validation.h"
#include <string.h>

static bool says(const GenerationRecord *g, const char *artifact) {
    return artifact && g->artifact ? !strcmp(g->artifact, artifact) : !artifact && !g->artifact;
}

/* What a conversation becomes is the chat template's business. */
static bool is_asked(const GenerationRecord *g, const Recipe *r, size_t prompt) {
    return prompt < r->n_prompts && g->n_tokens == r->n_tokens &&
           (!r->prompts[prompt] || !strcmp(g->prompt, r->prompts[prompt]));
}

/* artifact NULL: the source with overrides. Who says nothing need not say it: a merge has nothing but its
 * artifacts, a build may leave generation out. */
static void check_speaker(const Validation *v, const Manifest *m, const Recipe *r, const char *artifact) {
    size_t n = 0, asked = 0;
    for (size_t i = 0; i < m->n_generations; i++) {
        if (!says(&m->generations[i], artifact)) continue;
        asked += is_asked(&m->generations[i], r, n);
        n++;
    }
    if (!n || (n == r->n_prompts && asked == n)) return;
    check_add(v, "generation", CHECK_FAIL, "recorded prompts",
              "%s: %zu generations are recorded, and %zu of them are what the recipe asks for at that place: "
              "%zu prompts, %u tokens each",
              artifact ? artifact : "the source with overrides", n, asked, r->n_prompts, r->n_tokens);
}

void check_records(const Validation *v, const Manifest *m, const Recipe *r) {
    check_speaker(v, m, r, NULL);
    for (size_t i = 0; i < m->n_artifacts; i++) check_speaker(v, m, r, m->artifacts[i].path);
}
