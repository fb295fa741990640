/* expected.c -- what an artifact ought to be, as views over the source that was supplied. */
#include "core/json.h"
#include "model/views.h"
#include "validate/validation.h"
#include <string.h>

/* What decides the bytes, apart from the source. */
typedef struct Claim {
    const cJSON *overrides; /* an object */
    const cJSON *lora;      /* an array; NULL: nothing was merged */
    uint32_t bake;
} Claim;

/* ---- which output of a recipe ---- */

static bool output_fits(const RecipeOutput *o, const Model *artifact) {
    uint32_t file_type;
    if (o->format == OUTPUT_LORA) return false; /* no model */
    if (o->format == OUTPUT_HF) return artifact->form == FORM_HF;
    return artifact->form == FORM_GGUF && metadata_u32(artifact->metadata, "general.file_type", &file_type) &&
           file_type == o->types.preset->file_type;
}

/* A split artifact goes by the name of its first shard, which holds the number of shards; an output does not.
 */
static bool same_stem(const char *a, const char *b) {
    size_t length = gguf_stem_length(a);
    return length == gguf_stem_length(b) && !memcmp(a, b, length);
}

size_t find_output(const Recipe *r, const char *name, const Model *artifact) {
    size_t fitting = r->n_outputs, n_fitting = 0;
    for (size_t i = 0; i < r->n_outputs; i++) {
        if (!output_fits(&r->outputs[i], artifact)) continue;
        if (name && same_stem(recipe_output_name(r, i), name)) return i;
        fitting = i;
        n_fitting++;
    }
    return n_fitting == 1 ? fitting : r->n_outputs;
}

/* ---- without a recipe: what the file says of itself ---- */

/* The preset that recast.output names; else that of the floats which most tensors have. */
static int read_types(Expected *e, const ProvenanceRead *p, const Model *artifact, const cJSON *output,
                      Arena *arena, Error *err) {
    e->types = output_types(p->output ? output_preset(p->output) : NULL);
    if (artifact->form != FORM_GGUF) return 0;
    DType common = gguf_common_type(artifact);
    if (!e->types.preset && dtype_is_float(common))
        e->types.preset = preset_by_file_type(gguf_file_type(common));
    if (!cJSON_IsObject(output)) return 0;
    return output_types_parse(&e->types, output, "recast.recipe: output", NULL, arena, NULL, err);
}

static int read_claim(Claim *out, Expected *e, const Model *artifact, Arena *arena, Error *err) {
    ProvenanceRead p = {0};
    if (artifact->form == FORM_GGUF) TRY(provenance_read(&p, artifact->metadata, err));
    if (p.derivation)
        TRY(json_parse(&e->derivation, p.derivation, strlen(p.derivation), "recast.recipe", err));
    if (!e->derivation && !(e->derivation = cJSON_CreateObject())) return error_memory(err, "a recipe");
    const cJSON *output = json_get(e->derivation, "output");
    out->overrides = json_get(e->derivation, "overrides");
    if (!cJSON_IsObject(out->overrides) && !(out->overrides = cJSON_AddObjectToObject(e->derivation, "none")))
        return error_memory(err, "a recipe");
    json_u32(json_get(json_get(output, "gguf_dynamic"), "bake"), &out->bake);
    out->lora = json_get(e->derivation, "lora");
    return read_types(e, &p, artifact, output, arena, err);
}

static int open_gguf(Expected *e, const Claim *claim, const Allocator *allocator, Error *err) {
    RecipeStack *s = &e->stack;
    s->top = e->derived;
    if (e->derived->form == FORM_HF) {
        if (!e->types.preset)
            return error_set(err, ERR_UNSUPPORTED, "quantized tensors are not compared with a source");
        GgufNamesOptions options = {.bake_dynamic = claim->bake};
        TRY(gguf_names_open(&s->names, e->derived, &options, allocator, err));
        s->top = s->names;
    }
    TRY(retype_stack(s, &e->types, allocator, err));
    e->top = s->top;
    return 0;
}

/* ---- adapters that the file says were merged ---- */

static int read_adapter(LoraSpec *out, const cJSON *item, const char *path, Error *err) {
    const cJSON *hashes = json_get(item, "sha256"), *scale = json_get(item, "scale");
    const cJSON *rounding = json_get(item, "rounding"), *layout = json_get(item, "expert_b_layout");
    const cJSON *weights = json_get(hashes, LORA_WEIGHTS_FILE);
    *out = (LoraSpec){.path = path, .scale = cJSON_IsNumber(scale) ? scale->valuedouble : 1};
    if (cJSON_IsString(weights) && sha256_is_hex(weights->valuestring) && cJSON_IsString(rounding) &&
        lora_rounding_by_name(&out->rounding, rounding->valuestring) && cJSON_IsString(layout) &&
        lora_layout_by_name(&out->layout, layout->valuestring))
        return 0;
    return error_set(err, ERR_CHECK, "recast.recipe does not say which adapter was merged, or how");
}

/* The adapters at hand must be those that the file names. */
static int same_adapters(const Model *view, const cJSON *list, Error *err) {
    const LoraAdapterInfo *infos;
    size_t n = lora_adapters(view->lora, &infos);
    const cJSON *item = list->child;
    for (size_t i = 0; i < n; i++, item = item->next) {
        const char *said = json_get(json_get(item, "sha256"), LORA_WEIGHTS_FILE)->valuestring;
        if (strcmp(said, infos[i].weights_sha256))
            return error_set(err, ERR_CHECK,
                             "adapter %s has SHA-256 %s; this file was merged with %s: another one",
                             infos[i].name, infos[i].weights_sha256, said);
    }
    return 0;
}

static int open_adapters(Expected *e, const cJSON *list, const ValidateOptions *o, Error *err) {
    enum { MOST = 64 };
    LoraSpec specs[MOST];
    int n = cJSON_GetArraySize(list), i = 0;
    if (!o->n_adapters)
        return error_set(
            err, ERR_UNSUPPORTED,
            "it was merged with %d adapters, which are not here; give their directories by --lora", n);
    if (n > MOST || (size_t)n != o->n_adapters)
        return error_set(err, ERR_CHECK, "it was merged with %d adapters, %zu were given", n, o->n_adapters);
    for (const cJSON *item = list->child; item; item = item->next, i++)
        TRY(read_adapter(&specs[i], item, o->adapters[i], err));
    TRY(lora_open(&e->stack.lora, e->derived, specs, o->n_adapters, o->allocator, err));
    e->derived = e->stack.lora;
    return same_adapters(e->stack.lora, list, err);
}

static int open_claim(Expected *e, const Claim *claim, const Model *artifact, const ValidateOptions *o,
                      Error *err) {
    const Model *source = e->derived ? e->derived : o->source;
    if (!e->derived) {
        /* whether "accept" was said is no part of what decides the bytes */
        OverrideOptions lenient = {.accept_inert_dynamic = true};
        TRY(override_open(&e->stack.override, source, claim->overrides, lenient, o->allocator, err));
        e->derived = e->stack.override;
        if (claim->lora) TRY(open_adapters(e, claim->lora, o, err));
    }
    e->top = e->derived;
    if (artifact->form == FORM_GGUF) return open_gguf(e, claim, o->allocator, err);
    if (source->form == FORM_HF) return 0;
    return error_set(err, ERR_UNSUPPORTED, "a checkpoint is not compared with a GGUF file");
}

int expected_open(Expected *out, const Validation *v, const Model *artifact, const Recipe *recipe,
                  const char *output_name, const Model *derived, Error *err) {
    const ValidateOptions *o = v->options;
    *out = (Expected){.derived = derived, .types = output_types(NULL)};
    int code;
    if (recipe && o->source) {
        size_t i = find_output(recipe, output_name, artifact);
        out->output = i;
        if (i == recipe->n_outputs)
            return error_set(err, ERR_CHECK, "the recipe has no output like it (%s)",
                             artifact->form == FORM_HF ? "hf" : dtype_name(gguf_common_type(artifact)));
        code = recipe_stack_open(&out->stack, recipe, i, o->source, o->allocator, err);
        out->top = out->stack.top;
        out->derived = out->stack.lora ? out->stack.lora : out->stack.override;
    } else {
        Claim claim = {0};
        code = read_claim(&claim, out, artifact, v->arena, err);
        if (!code) code = open_claim(out, &claim, artifact, o, err);
    }
    if (code) expected_close(out);
    return code;
}

void expected_close(Expected *e) {
    recipe_stack_close(&e->stack);
    output_types_close(&e->types);
    cJSON_Delete(e->derivation);
    *e = (Expected){0};
}
