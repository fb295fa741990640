/* origin.c -- does what a GGUF says of its making (the recast.* keys) agree with itself and with the file?
 * Nothing but the file is needed here; whether it is true of a source is source.c's business. */
#include "core/json.h"
#include "model/family.h"
#include "model/views.h"
#include "validate/validation.h"
#include <string.h>

#define ANOTHER_FILE "provenance describes another file: "

/* ---- the types that recast.output promises ---- */

static int differs(const Model *m, const char *output, size_t tensor, DType expected, Error *err) {
    return error_set(err, ERR_CHECK, ANOTHER_FILE "recast.output is %s, but tensor %s is %s (expected %s)",
                     output, m->tensors[tensor].name, dtype_name(m->tensors[tensor].type),
                     dtype_name(expected));
}

/* Making them those types once more must change nothing. */
static int same_types(const Model *m, const char *output, const RetypeOptions *options, Error *err) {
    Model *again;
    int code = retype_open(&again, m, options, NULL, err);
    if (code == ERR_UNSUPPORTED)
        return error_set(err, ERR_CHECK,
                         ANOTHER_FILE "recast.output is %s, but the file holds tensors quantized otherwise",
                         output);
    if (code) return code;
    for (size_t i = 0; i < m->n_tensors && !code; i++)
        if (again->tensors[i].type != m->tensors[i].type)
            code = differs(m, output, i, again->tensors[i].type, err);
    model_close(again);
    return code;
}

/* json: the output as the recipe in the file has it, or NULL. */
static int check_types(const Model *m, const char *output, const cJSON *json, Error *err) {
    if (!strcmp(output, "stored")) return 0; /* a copy of a GGUF of any types */
    OutputTypes t = output_types(output_preset(output));
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    int code = t.preset ? 0
                        : error_set(err, ERR_UNSUPPORTED, "recast.output is \"%s\"; this version knows %s",
                                    output, output_presets_text(arena));
    if (!code && cJSON_IsObject(json))
        code = output_types_parse(&t, json, "recast.recipe: output", NULL, arena, NULL, err);
    if (!code) {
        RetypeOptions options = {
            .rules = mixture_rules(t.preset),
        };
        options.rules.embedding_type = t.embedding_type;
        options.rules.output_type = t.output_type;
        options.rules.tensor_types = t.tensor_types;
        options.rules.weighted = t.imatrix_name != NULL;
        code = same_types(m, output, &options, err);
    }
    output_types_close(&t);
    arena_close(arena);
    return code;
}

/* ---- the recipe in the file against the other keys ---- */

static int disagree(Error *err, const char *what, const char *key) {
    return error_set(err, ERR_CHECK, "recast.recipe says another %s than %s: one of them was changed", what,
                     key);
}

static int same_text(const cJSON *object, const char *member, const char *said, const char *key, Error *err) {
    const cJSON *item = json_get(object, member);
    if (!item && !said) return 0;
    if (cJSON_IsString(item) && said && !strcmp(item->valuestring, said)) return 0;
    return disagree(err, member, key);
}

static int same_files(const cJSON *sha256, const ProvenanceRead *p, Error *err) {
    size_t named = 0;
    for (const cJSON *f = sha256 ? sha256->child : NULL; f; f = f->next) named++;
    if (named != p->n_files) return disagree(err, "list of files", "recast.source.names");
    for (size_t i = 0; i < p->n_files; i++) {
        const cJSON *hash = json_get(sha256, p->names[i].data);
        if (!cJSON_IsString(hash) || strcmp(hash->valuestring, p->sha256[i].data))
            return error_set(err, ERR_CHECK,
                             "recast.recipe and recast.source.sha256 give %s different hashes",
                             p->names[i].data);
    }
    return 0;
}

/* Parameters that the recipe set must be those of the file. */
static int same_number(const cJSON *overrides, const char *key, double found, Error *err) {
    const cJSON *item = json_get(overrides, key);
    if (!cJSON_IsNumber(item) || (float)item->valuedouble == (float)found) return 0;
    return error_set(err, ERR_CHECK, ANOTHER_FILE "its recipe sets %s to %g, but the file has %g", key,
                     item->valuedouble, found);
}

static int same_scaling(const cJSON *overrides, const ModelParams *p, Error *err) {
    RopeParams said;
    const cJSON *scaling = json_get(overrides, "rope_scaling");
    if (!scaling) return 0;
    TRY(rope_from_config(&said, scaling, "recast.recipe: overrides.rope_scaling", err));
    /* a GGUF keeps no original length for linear scaling */
    bool same = said.type == p->rope.type && said.factor == p->rope.factor;
    if (same && said.type == ROPE_YARN && said.original_context)
        same = said.original_context == p->rope.original_context;
    if (same) return 0;
    return error_set(
        err, ERR_CHECK, ANOTHER_FILE "its recipe sets rope_scaling to %s by %g, but the file has %s by %g",
        rope_type_name(said.type), (double)said.factor, rope_type_name(p->rope.type), (double)p->rope.factor);
}

static int same_params(const cJSON *recipe, const ModelParams *p, Error *err) {
    const cJSON *overrides = json_get(recipe, "overrides");
    TRY(same_number(overrides, "num_experts_per_tok", p->n_experts_used, err));
    if (json_get(json_get(recipe, "output"), "gguf_dynamic"))
        return 0; /* length and base are those it was baked for */
    TRY(same_number(overrides, "max_position_embeddings", p->context, err));
    TRY(same_number(overrides, "rope_theta", (double)p->rope.theta, err));
    return same_scaling(overrides, p, err);
}

static int check_recipe(const cJSON *recipe, const ProvenanceRead *p, const Model *m, Error *err) {
    const cJSON *base = json_get(recipe, "base");
    TRY(same_text(base, "repo", p->repo, "recast.source.repo", err));
    TRY(same_text(base, "commit", p->commit, "recast.source.commit", err));
    TRY(same_text(base, "weights_sha256", p->weights_sha256, "recast.weights.sha256", err));
    TRY(same_text(json_get(recipe, "output"), "type", p->output, "recast.output", err));
    TRY(same_files(json_get(base, "sha256"), p, err));
    return same_params(recipe, &m->params, err);
}

static int check_all(const ProvenanceRead *p, const Model *m, Error *err) {
    if (p->derivation_version > RECAST_DERIVATION)
        return error_set(err, ERR_UNSUPPORTED, "recast.derivation is %u; this version knows %d",
                         p->derivation_version, RECAST_DERIVATION);
    cJSON *recipe = NULL;
    if (p->derivation) TRY(json_parse(&recipe, p->derivation, strlen(p->derivation), "recast.recipe", err));
    int code = p->output ? check_types(m, p->output, json_get(recipe, "output"), err) : 0;
    if (!code && recipe) code = check_recipe(recipe, p, m, err);
    cJSON_Delete(recipe);
    return code;
}

bool is_baked(const Model *m) {
    ProvenanceRead p;
    cJSON *recipe = NULL;
    if (m->form != FORM_GGUF || provenance_read(&p, m->metadata, NULL) || !p.derivation) return false;
    bool baked = !json_parse(&recipe, p.derivation, strlen(p.derivation), "recast.recipe", NULL) &&
                 json_get(json_get(recipe, "output"), "gguf_dynamic");
    cJSON_Delete(recipe);
    return baked;
}

int check_provenance(const Validation *v, const Model *m, Error *err) {
    ProvenanceRead p;
    Error found = {0};
    int code = provenance_read(&p, m->metadata, &found);
    if (!code && !p.present) return 0; /* another program's file: nothing that could disagree */
    if (!code && p.edited) {
        check_add(v, "structure", CHECK_NOT_RUN, "provenance",
                  "recast.edited is true: keys were changed by hand after the file was made, so its "
                  "provenance tells of the file before");
        return 0;
    }
    if (!code) code = check_all(&p, m, &found);
    if (code) return check_error(v, "structure", "provenance", &found, err);
    check_add(v, "structure", CHECK_PASS, "provenance",
              "%s made of %zu source files; its keys agree with each other and with the tensors",
              p.output ? p.output : "a GGUF", p.n_files);
    return 0;
}
