/* override.c -- other parameters over the same tensors. The rules of a recipe's "overrides" are checked here,
 * against the base and for either form; how config.json is rewritten is convert's matter. */
#include "model/config_keys.h"
#include "model/family.h"
#include "model/views.h"
#include <math.h>
#include <string.h>

const char *const override_keys[] = {"num_experts_per_tok", "max_position_embeddings", "rope_scaling",
                                     "rope_theta", NULL};

/* rope_theta has a key of its own, so it is not one of these. */
static const char *const scaling_keys[] = {"rope_type",
                                           "type",
                                           "factor",
                                           "original_max_position_embeddings",
                                           "attention_factor",
                                           "beta_fast",
                                           "beta_slow",
                                           "mscale",
                                           "mscale_all_dim",
                                           "truncate",
                                           "low_freq_factor",
                                           "high_freq_factor",
                                           "short_factor",
                                           "long_factor",
                                           NULL};

static const char *const scaling_types[] = {"default",  "linear", "dynamic", "yarn",
                                            "longrope", "llama3", NULL};

/* ---- words ---- */

static bool is_one_of(const char *word, const char *const *list) {
    for (; *list; list++)
        if (!strcmp(word, *list)) return true;
    return false;
}

static int unknown_word(const char *path, const char *word, const char *const *known, Error *err) {
    const char *nearest = nearest_word(word, known);
    if (nearest)
        return error_set(err, ERR_RECIPE, "%s: unknown: \"%s\"; did you mean \"%s\"?", path, word, nearest);
    Buffer list;
    buffer_init(&list, NULL);
    for (size_t i = 0; known[i]; i++) buffer_printf(&list, "%s%s", i ? ", " : "", known[i]);
    int code = error_set(err, ERR_RECIPE, "%s: unknown: \"%s\"; known: %s", path, word, buffer_string(&list));
    buffer_free(&list);
    return code;
}

static int check_words(const cJSON *object, const char *path, const char *const *known, Error *err) {
    for (const cJSON *item = object->child; item; item = item->next)
        if (!is_one_of(item->string, known)) return unknown_word(path, item->string, known, err);
    return 0;
}

/* Readers of config.json report a wrong format; here the same mistake is the recipe's. */
static int as_recipe_error(Error *err, int code) {
    if (code != ERR_FORMAT && code != ERR_UNSUPPORTED) return code;
    if (err) err->code = ERR_RECIPE;
    return ERR_RECIPE;
}

/* ---- single values ---- */

static int take_experts(ModelParams *p, const cJSON *overrides, Error *err) {
    const cJSON *item = json_get(overrides, "num_experts_per_tok");
    uint32_t n;
    if (!item) return 0;
    if (!p->n_experts)
        return error_set(err, ERR_RECIPE, "overrides.num_experts_per_tok: the model has no experts (%s)",
                         p->architecture);
    if (!json_u32(item, &n) || n == 0)
        return error_set(err, ERR_RECIPE, "overrides.num_experts_per_tok: expected an integer in 1 .. %u",
                         p->n_experts);
    if (n > p->n_experts)
        return error_set(err, ERR_RECIPE, "overrides.num_experts_per_tok: %u of %u experts", n, p->n_experts);
    p->n_experts_used = n;
    return 0;
}

static int take_theta(ModelParams *p, const cJSON *overrides, Error *err) {
    const cJSON *item = json_get(overrides, "rope_theta");
    if (!item) return 0;
    float theta = cJSON_IsNumber(item) ? (float)item->valuedouble : 0;
    if (!(theta > 0 && isfinite(theta)))
        return error_set(err, ERR_RECIPE, "overrides.rope_theta: expected a finite number above 0");
    p->rope.theta = theta;
    return 0;
}

static int take_context(ModelParams *p, const cJSON *overrides, Error *err) {
    const cJSON *item = json_get(overrides, "max_position_embeddings");
    if (!item) return 0;
    if (!json_u32(item, &p->context) || p->context == 0)
        return error_set(err, ERR_RECIPE,
                         "overrides.max_position_embeddings: expected an integer in 1 .. 4294967295");
    return 0;
}

/* ---- RoPE ---- */

static bool names_original(RopeType type) {
    return type == ROPE_YARN || type == ROPE_LONGROPE || type == ROPE_LLAMA3;
}

/* Positions that the base was trained for: what its own scaling names, else its whole context. */
static uint32_t native_context(const ModelParams *base) {
    bool named = names_original(base->rope.type) && base->rope.original_context;
    return named ? base->rope.original_context : base->context;
}

static int check_scaling_type(const cJSON *object, Error *err) {
    static const char *const spellings[] = {"rope_type", "type"};
    bool found = false;
    for (size_t i = 0; i < 2; i++) {
        const cJSON *type = json_get(object, spellings[i]);
        if (!type) continue;
        found = true;
        if (!cJSON_IsString(type))
            return error_set(err, ERR_RECIPE, "overrides.rope_scaling.%s: expected a string", spellings[i]);
        if (!is_one_of(type->valuestring, scaling_types))
            return unknown_word("overrides.rope_scaling.rope_type", type->valuestring, scaling_types, err);
    }
    return found ? 0
                 : error_set(err, ERR_RECIPE,
                             "overrides.rope_scaling: rope_type is missing (\"yarn\", \"linear\" ...)");
}

/* Qwen3's 40960 positions are 32768 trained ones and 8192 for the answer; its makers scale from the former.
 */
static int missing_original(RopeType type, uint32_t native, Error *err) {
    return error_set(
        err, ERR_RECIPE,
        "overrides.rope_scaling: %s must name original_max_position_embeddings; the base's native "
        "context is %u: add \"original_max_position_embeddings\": %u%s",
        rope_type_name(type), native, native, native == 40960 ? ", or 32768 as Qwen advises for Qwen3" : "");
}

static int take_scaling(ModelParams *p, const ModelParams *base, const cJSON *overrides, Error *err) {
    const char *path = "overrides.rope_scaling";
    const cJSON *item = json_get(overrides, "rope_scaling");
    RopeParams rope;
    if (!item) return 0;
    if (cJSON_IsObject(item)) {
        TRY(check_words(item, path, scaling_keys, err));
        TRY(check_scaling_type(item, err));
    }
    TRY(as_recipe_error(err, rope_from_config(&rope, item, path, err)));
    if (names_original(rope.type) && !rope.original_context)
        return missing_original(rope.type, native_context(base), err);
    rope.theta = p->rope.theta;
    p->rope = rope;
    return 0;
}

/* A base may leave its original context to transformers' guess, max_position_embeddings; raising that would
 * move it. */
static int check_guessed_original(const Model *base, const ModelParams *p, const ModelParams *before,
                                  const cJSON *overrides, Error *err) {
    if (!base->config || json_get(overrides, "rope_scaling") || p->context == before->context) return 0;
    if (!names_original(before->rope.type)) return 0;
    const char *key = "original_max_position_embeddings";
    const cJSON *scaling = json_present(base->config, "rope_scaling");
    if (!scaling) scaling = json_present(base->config, "rope_parameters");
    if (json_present(scaling, key) || json_present(base->config, key)) return 0;
    return error_set(
        err, ERR_RECIPE,
        "overrides.max_position_embeddings: the base's rope_scaling does not name %s, so "
        "transformers would take the new value for it; override rope_scaling too and name it (%u)",
        key, before->rope.original_context);
}

static int check_reach(const ModelParams *p, uint32_t original, Error *err) {
    double factor = p->rope.type == ROPE_DEFAULT ? 1 : p->rope.factor;
    if (factor == 0 || original == 0)
        return 0; /* longrope may leave the factor out; an unknown base tells no context */
    /* 3.3 x 40960 is 135168, but float32 holds a little less than 3.3 */
    if (p->context <= factor * original * (1 + 1e-6)) return 0;
    return error_set(err, ERR_RECIPE,
                     "overrides.max_position_embeddings: %u is above %g x %u (factor x original context) = "
                     "%.0f; raise the factor of rope_scaling or lower the context",
                     p->context, factor, original, floor(factor * original * (1 + 1e-6)));
}

/* Only what the overrides touch is judged: a base may say what it likes. */
static int check_context(const ModelParams *p, const ModelParams *base, const cJSON *overrides,
                         OverrideOptions options, Error *err) {
    if (!json_get(overrides, "max_position_embeddings") && !json_get(overrides, "rope_scaling")) return 0;
    uint32_t native = native_context(base);
    if (p->rope.type == ROPE_DYNAMIC && p->context > native && !options.accept_inert_dynamic)
        return error_set(err, ERR_RECIPE,
                         "overrides.rope_scaling: \"dynamic\" changes nothing below max_position_embeddings, "
                         "which is %u here and %u natively, so the model would run unscaled; leave it at %u, "
                         "use \"yarn\", or "
                         "say \"accept\": [\"inert-dynamic\"] to reproduce such a variant as it is",
                         p->context, native, native);
    return check_reach(p, names_original(p->rope.type) ? p->rope.original_context : native, err);
}

/* ---- GGUF keys ---- */

static int set_key(Metadata *m, const char *suffix, uint32_t value, Error *err) {
    char key[160];
    return metadata_set_u32(m, metadata_arch_key(m, suffix, key, sizeof key), value, err);
}

/* Keys that no override touches stay as they are, whatever the architecture. */
static int edit_metadata(Model *m, const Model *base, Error *err) {
    const cJSON *overrides = m->overrides;
    const ModelParams *p = &m->params;
    Metadata *metadata;
    TRY(metadata_copy(&metadata, base->metadata, m->arena, err));
    m->metadata = metadata;
    if (json_get(overrides, "num_experts_per_tok"))
        TRY(set_key(metadata, "expert_used_count", p->n_experts_used, err));
    bool context = json_get(overrides, "max_position_embeddings");
    if (context) TRY(set_key(metadata, "context_length", p->context, err));
    bool rope = json_get(overrides, "rope_scaling");
    /* an original context that the file leaves out would follow the new context */
    rope = rope || (context && p->rope.type == ROPE_YARN);
    if (rope) return rope_to_metadata(metadata, &p->rope, err);
    char key[160];
    if (!json_get(overrides, "rope_theta")) return 0;
    return metadata_set_f32(metadata, metadata_arch_key(metadata, "rope.freq_base", key, sizeof key),
                            p->rope.theta, err);
}

/* ---- what changed ---- */

static const char *canonical(const cJSON *item, Arena *arena) {
    Buffer b;
    buffer_init(&b, NULL);
    if (item)
        json_write_canonical(&b, item);
    else
        buffer_text(&b, "null");
    const char *text = b.failed ? NULL : arena_copy(arena, b.data, b.length);
    buffer_free(&b);
    return text;
}

/* The base's scaling as JSON: config.json's own object, or one made from GGUF keys. Caller deletes. */
static cJSON *old_scaling(const Model *base) {
    const RopeParams *rope = &base->params.rope;
    const cJSON *item = json_present(base->config, "rope_scaling");
    bool filled = item && item->child;
    if (!filled) item = json_present(base->config, "rope_parameters");
    if (rope->type == ROPE_DEFAULT && !filled) return cJSON_CreateNull();
    if (item) {
        cJSON *copy = cJSON_Duplicate(item, true);
        cJSON_DeleteItemFromObjectCaseSensitive(copy, "rope_theta");
        return copy;
    }
    cJSON *made = cJSON_CreateObject();
    bool ok = made && cJSON_AddStringToObject(made, "rope_type", rope_type_name(rope->type)) &&
              cJSON_AddNumberToObject(made, "factor", rope->factor);
    if (ok && rope->original_context)
        ok = cJSON_AddNumberToObject(made, "original_max_position_embeddings", rope->original_context);
    if (ok && rope->has_attention_factor)
        ok = cJSON_AddNumberToObject(made, "attention_factor", rope->attention_factor);
    if (ok) return made;
    cJSON_Delete(made);
    return NULL;
}

/* The base's value as JSON; caller deletes. */
static cJSON *old_value(const Model *base, const char *key) {
    if (!strcmp(key, "rope_scaling")) return old_scaling(base);
    const cJSON *item = json_present(base->config, key);
    if (item) return cJSON_Duplicate(item, true);
    if (!strcmp(key, "rope_theta")) return cJSON_CreateNumber(base->params.rope.theta);
    if (!strcmp(key, "num_experts_per_tok")) return cJSON_CreateNumber(base->params.n_experts_used);
    return cJSON_CreateNumber(base->params.context);
}

static int list_changes(Model *m, const Model *base, Error *err) {
    size_t n = (size_t)cJSON_GetArraySize(m->overrides);
    Change *changes = arena_alloc(m->arena, n, sizeof *changes);
    if (!changes) return error_memory(err, "the list of changes");
    m->changes = changes;
    m->n_changes = 0;
    for (size_t i = 0; override_keys[i]; i++) { /* in this order, whatever the recipe's */
        const cJSON *item = json_get(m->overrides, override_keys[i]);
        if (!item) continue;
        cJSON *old = old_value(base, override_keys[i]);
        Change c = {.key = override_keys[i]};
        c.old_value = old ? canonical(old, m->arena) : NULL;
        c.new_value = canonical(item, m->arena);
        cJSON_Delete(old);
        if (!c.old_value || !c.new_value) return error_memory(err, "the list of changes");
        if (strcmp(c.old_value, c.new_value)) changes[m->n_changes++] = c;
    }
    return 0;
}

/* ---- the view ---- */

static void close_view(Model *m) {
    arena_close(m->arena);
}

/* A checkpoint of an unknown family has no parameters; what overrides are judged by stands in most configs
 * alike. */
static int read_unknown(ModelParams *p, const cJSON *config, Error *err) {
    const char *where = "config.json: ";
    TRY(config_count(&p->n_experts, config, where, "num_experts", "num_local_experts", false, err));
    TRY(config_count(&p->n_experts_used, config, where, "num_experts_per_tok", NULL, false, err));
    TRY(config_count(&p->context, config, where, "max_position_embeddings", NULL, false, err));
    return rope_from_whole_config(&p->rope, config, p->context, err);
}

static int apply(Model *m, const Model *base, OverrideOptions options, Error *err) {
    const cJSON *overrides = m->overrides;
    ModelParams before = base->params;
    if (!base->family && base->config) TRY(read_unknown(&before, base->config, err));
    m->params = before;
    TRY(take_experts(&m->params, overrides, err));
    TRY(take_theta(&m->params, overrides, err));
    TRY(take_context(&m->params, overrides, err));
    TRY(take_scaling(&m->params, &before, overrides, err));
    TRY(check_guessed_original(base, &m->params, &before, overrides, err));
    TRY(check_context(&m->params, &before, overrides, options, err));
    if (base->metadata) TRY(edit_metadata(m, base, err));
    return list_changes(m, base, err);
}

int override_open(Model **out, const Model *base, const cJSON *overrides, OverrideOptions options,
                  const Allocator *allocator, Error *err) {
    *out = NULL;
    if (!cJSON_IsObject(overrides)) return error_set(err, ERR_RECIPE, "overrides: expected an object");
    if (base->overrides)
        return error_set(err, ERR_UNSUPPORTED, "%s has overrides already; put all of them in one object",
                         base->path);
    TRY(check_words(overrides, "overrides", override_keys, err));
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Model *m = arena_alloc(arena, 1, sizeof *m);
    int code = m ? 0 : error_memory(err, "a model with overrides");
    if (!code) {
        *m = *base;
        m->overrides = overrides;
        m->arena = arena;
        m->close = close_view;
        code = apply(m, base, options, err);
    }
    if (code)
        arena_close(arena);
    else
        *out = m;
    return code;
}
