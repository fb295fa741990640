/* convert_fixture.h -- a stack of views to convert, and whole files to compare. */
#ifndef RECAST_TESTS_CONVERT_FIXTURE_H
#define RECAST_TESTS_CONVERT_FIXTURE_H

#include "convert/execute.h"
#include "core/json.h"
#include "fixture.h"
#include "model/views.h"
#include "retype_fixture.h"

/* A checkpoint as GGUF form, with a plan. Fields stay NULL where a test needs less. */
typedef struct Stack {
    cJSON *overrides;
    Model *source, *override, *names, *retype;
    GgufPlan *plan;
} Stack;

static inline cJSON *parse(const char *json) {
    cJSON *out;
    Error err = {0};
    cr_assert_eq(json_parse(&out, json, strlen(json), "a test", &err), 0, "%s", err.message);
    return out;
}

/* overrides: JSON, or NULL for none */
static inline void stack_open_hf(Stack *s, const char *directory, const char *overrides) {
    Error err = {0};
    memset(s, 0, sizeof *s);
    cr_assert_eq(model_open(&s->source, directory, NULL, &err), 0, "%s", err.message);
    if (!overrides) return;
    s->overrides = parse(overrides);
    cr_assert_eq(override_open(&s->override, s->source, s->overrides, (OverrideOptions){0}, NULL, &err), 0,
                 "%s", err.message);
}

static inline void stack_open(Stack *s, const char *directory, const char *overrides, DType type) {
    Error err = {0};
    stack_open_hf(s, directory, overrides);
    const Model *base = s->override ? s->override : s->source;
    GgufNamesOptions options = {.name = "a test"};
    cr_assert_eq(gguf_names_open(&s->names, base, &options, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(retype_as(&s->retype, s->names, type, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(gguf_plan_open(&s->plan, s->retype, NULL, NULL, &err), 0, "%s", err.message);
}

static inline void stack_close(Stack *s) {
    gguf_plan_close(s->plan);
    model_close(s->retype);
    model_close(s->names);
    model_close(s->override);
    model_close(s->source);
    cJSON_Delete(s->overrides);
}

/* Entries of a directory, hidden ones included. */
static inline size_t count_files(const char *directory) {
    DIR *d = opendir(directory);
    cr_assert_not_null(d, "%s", directory);
    size_t n = 0;
    while (readdir(d)) n++;
    closedir(d);
    return n - 2; /* . and .. */
}

static inline void file_hash(char hex[SHA256_HEX], const char *directory, const char *name) {
    size_t length;
    char *bytes = fixture_read(directory, name, &length);
    cr_assert_eq(sha256_bytes(hex, bytes, length, NULL), 0);
    free(bytes);
}

#endif
