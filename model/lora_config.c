/* lora_config.c -- adapter_config.json: what of it decides a merge, and what can't be merged.
 *
 * PEFT 0.21.2's LoraConfig. A key that this version has never heard of and that is set to something is
 * refused: it may change what the weights mean. */
#include "core/json.h"
#include "model/lora_private.h"
#include "model/tensor_pattern.h"
#include <regex.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is refused ---- */

typedef struct Refusal {
    const char *key, *why;
} Refusal;

static const Refusal refused[] = {
    {"use_qalora", "its A works on pooled inputs, so B * A has not the shape of the weights"},
    {"use_bdlora", "its blocks are not a product B * A of the whole weights"},
    {"kasa_config", "it truncates the base's weights by a decomposition, so the base is not the one to merge "
                    "into"},
    {"monteclora_config", "its weights are drawn at random in each step"},
    {"arrow_config", "it routes between adapters token by token, which no merged weight can do"},
    {"alora_invocation_tokens",
     "it acts only behind certain tokens, so it can't be merged by design; keep it beside the model"},
    {"layer_replication", "it repeats layers, so the model would have another number of them"},
    {"megatron_config", "its weights are those of Megatron's split layers"},
};

/* Known keys that change nothing about a merge, whatever they say. */
static const char *const harmless[] = {"auto_mapping",      "base_model_name_or_path",
                                       "corda_config",      "ensure_weight_tying",
                                       "eva_config",        "inference_mode",
                                       "layers_pattern",    "loftq_config",
                                       "lora_dropout",      "lora_ga_config",
                                       "megatron_core",     "peft_version",
                                       "qalora_group_size", "revision",
                                       "runtime_config",    "task_type",
                                       "velora_config",     NULL};
static const char *const used[] = {"alpha_pattern",
                                   "bias",
                                   "exclude_modules",
                                   "fan_in_fan_out",
                                   "init_lora_weights",
                                   "layers_to_transform",
                                   "lora_alpha",
                                   "lora_bias",
                                   "modules_to_save",
                                   "peft_type",
                                   "r",
                                   "rank_pattern",
                                   "target_modules",
                                   "target_parameters",
                                   "trainable_token_indices",
                                   "use_dora",
                                   "use_rslora",
                                   NULL};

/* Null, false, 0, "", [] and {} leave a feature off. */
static bool is_on(const cJSON *item) {
    if (!item || cJSON_IsNull(item) || cJSON_IsFalse(item)) return false;
    if (cJSON_IsNumber(item)) return item->valuedouble != 0;
    if (cJSON_IsString(item)) return item->valuestring[0] != 0;
    if (cJSON_IsArray(item) || cJSON_IsObject(item)) return item->child != NULL;
    return true;
}

static bool is_in(const char *word, const char *const *list) {
    for (; *list; list++)
        if (!strcmp(word, *list)) return true;
    return false;
}

static int refuse_features(const cJSON *json, Error *err) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (is_on(json_get(json, refused[i].key)))
            return error_set(err, ERR_UNSUPPORTED, "%s is set: %s", refused[i].key, refused[i].why);
    for (const cJSON *item = json->child; item; item = item->next) {
        bool known = is_in(item->string, harmless) || is_in(item->string, used);
        for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
            known = known || !strcmp(item->string, refused[i].key);
        if (!known && is_on(item))
            return error_set(err, ERR_UNSUPPORTED,
                             "%s is set, and this version does not know whether it changes what the weights "
                             "mean; if it does not, remove the key",
                             item->string);
    }
    return 0;
}

static int wrong(Error *err, const char *key, const char *expected) {
    return error_set(err, ERR_FORMAT, "%s: expected %s", key, expected);
}

/* Initialisations that take a part out of the base: W is then base - s * B0 * A0, and the adapter belongs to
 * that. save_pretrained(path_initial_model_for_weight_conversion=...) makes a plain one of it, and says
 * true. */
static int refuse_initialisation(const cJSON *json, Error *err) {
    static const char *const bad[] = {"pissa", "olora", "corda", "loftq", "lora_ga"};
    const cJSON *item = json_present(json, "init_lora_weights");
    if (!cJSON_IsString(item)) return 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!strncmp(item->valuestring, bad[i], strlen(bad[i])))
            return error_set(
                err, ERR_UNSUPPORTED,
                "init_lora_weights is \"%s\": such an adapter was trained on a changed base, not "
                "on this one; save it again by save_pretrained(..., "
                "path_initial_model_for_weight_conversion=...) of PEFT, which makes an ordinary "
                "adapter of it",
                item->valuestring);
    return 0;
}

/* ---- reading ---- */

static int get_bool(bool *out, const cJSON *json, const char *key, Error *err) {
    const cJSON *item = json_present(json, key);
    *out = cJSON_IsTrue(item);
    return !item || cJSON_IsBool(item) ? 0 : wrong(err, key, "true or false");
}

static int get_kind(const cJSON **out, const cJSON *json, const char *key, bool good(const cJSON *),
                    const char *expected, Error *err) {
    const cJSON *item = json_present(json, key);
    *out = NULL;
    if (!item) return 0;
    if (!good(item)) return wrong(err, key, expected);
    *out = item;
    return 0;
}

static bool is_strings(const cJSON *item) {
    if (!cJSON_IsArray(item)) return false;
    for (const cJSON *s = item->child; s; s = s->next)
        if (!cJSON_IsString(s) || !s->valuestring[0]) return false;
    return true;
}

static bool is_names(const cJSON *item) {
    return cJSON_IsString(item) || is_strings(item);
}

static bool is_layers(const cJSON *item) {
    uint32_t layer;
    if (!cJSON_IsArray(item)) return json_u32(item, &layer);
    for (const cJSON *s = item->child; s; s = s->next)
        if (!json_u32(s, &layer)) return false;
    return true;
}

static bool is_ranks(const cJSON *item) {
    uint32_t rank;
    if (!cJSON_IsObject(item)) return false;
    for (const cJSON *s = item->child; s; s = s->next)
        if (!json_u32(s, &rank) || !rank) return false;
    return true;
}

static bool is_numbers(const cJSON *item) {
    if (!cJSON_IsObject(item)) return false;
    for (const cJSON *s = item->child; s; s = s->next)
        if (!cJSON_IsNumber(s)) return false;
    return true;
}

static bool is_tokens(const cJSON *item) {
    if (!cJSON_IsObject(item)) return cJSON_IsArray(item) && is_layers(item);
    for (const cJSON *s = item->child; s; s = s->next)
        if (!cJSON_IsArray(s) || !is_layers(s)) return false;
    return true;
}

static int read_numbers(LoraConfig *c, Error *err) {
    const cJSON *rank = json_present(c->json, "r"), *alpha = json_present(c->json, "lora_alpha");
    c->rank = 8; /* LoraConfig's defaults */
    c->alpha = 8;
    if (rank && (!json_u32(rank, &c->rank) || !c->rank)) return wrong(err, "r", "an integer above 0");
    if (alpha && !cJSON_IsNumber(alpha)) return wrong(err, "lora_alpha", "a number");
    if (alpha) c->alpha = alpha->valuedouble;
    const cJSON *version = json_present(c->json, "peft_version");
    c->peft_0_18 = cJSON_IsString(version) && !strncmp(version->valuestring, "0.18.", 5);
    return 0;
}

static int read_flags(LoraConfig *c, Error *err) {
    bool transposed;
    TRY(get_bool(&c->rslora, c->json, "use_rslora", err));
    TRY(get_bool(&c->dora, c->json, "use_dora", err));
    TRY(get_bool(&c->lora_bias, c->json, "lora_bias", err));
    TRY(get_bool(&transposed, c->json, "fan_in_fan_out", err));
    if (transposed)
        return error_set(err, ERR_UNSUPPORTED,
                         "fan_in_fan_out is true: it is for models that keep weights as [in, out] (GPT-2); "
                         "no layer of this model does");
    const cJSON *bias = json_present(c->json, "bias");
    if (bias && !cJSON_IsString(bias)) return wrong(err, "bias", "none, all or lora_only");
    c->bias = bias && strcmp(bias->valuestring, "none");
    return 0;
}

static int read_fields(LoraConfig *c, Error *err) {
    const cJSON *type = json_present(c->json, "peft_type"), *j = c->json;
    if (!cJSON_IsString(type)) return wrong(err, "peft_type", "\"LORA\"; is this an adapter of PEFT?");
    if (strcmp(type->valuestring, "LORA"))
        return error_set(err, ERR_UNSUPPORTED, "peft_type is \"%s\"; adapters of the type LORA are merged",
                         type->valuestring);
    TRY(refuse_features(j, err));
    TRY(refuse_initialisation(j, err));
    TRY(read_numbers(c, err));
    TRY(read_flags(c, err));
    TRY(get_kind(&c->target_modules, j, "target_modules", is_names, "a list of names or an expression", err));
    TRY(get_kind(&c->exclude_modules, j, "exclude_modules", is_names, "a list of names or an expression",
                 err));
    TRY(get_kind(&c->target_parameters, j, "target_parameters", is_strings, "a list of names", err));
    TRY(get_kind(&c->modules_to_save, j, "modules_to_save", is_strings, "a list of names", err));
    TRY(get_kind(&c->layers, j, "layers_to_transform", is_layers, "a layer or a list of them", err));
    TRY(get_kind(&c->rank_pattern, j, "rank_pattern", is_ranks, "ranks above 0 by pattern", err));
    TRY(get_kind(&c->alpha_pattern, j, "alpha_pattern", is_numbers, "numbers by pattern", err));
    return get_kind(&c->tokens, j, "trainable_token_indices", is_tokens,
                    "a list of token ids, or lists by module", err);
}

int lora_config_read(LoraConfig *out, const char *text, size_t length, const char *name, Error *err) {
    *out = (LoraConfig){0};
    TRY(json_parse(&out->json, text, length, name, err));
    if (!cJSON_IsObject(out->json)) return error_set(err, ERR_FORMAT, "%s: a JSON object was expected", name);
    int code = read_fields(out, err);
    return code ? error_wrap(err, code, "%s", name) : 0;
}

/* ---- names and patterns ---- */

bool lora_ends(const char *module, size_t length, const char *name) {
    size_t n = strlen(name);
    return length >= n && !memcmp(module + length - n, name, n);
}

bool lora_saved(const LoraConfig *c, const char *module) {
    for (const cJSON *s = c->modules_to_save ? c->modules_to_save->child : NULL; s; s = s->next)
        if (lora_ends(module, strlen(module), s->valuestring)) return true;
    return false;
}

static bool ends_at_dot(const char *module, const char *name) {
    size_t m = strlen(module), n = strlen(name);
    if (m < n || strcmp(module + m - n, name)) return false;
    return m == n || module[m - n - 1] == '.';
}

bool lora_listed(const cJSON *list, const char *module) {
    for (const cJSON *s = list ? list->child : NULL; s; s = s->next)
        if (ends_at_dot(module, s->valuestring)) return true;
    return false;
}

/* begin, the expression in a group, end; compiled. */
static int compile(regex_t *out, const char *begin, const char *pattern, Error *err) {
    Buffer text;
    buffer_init(&text, NULL);
    buffer_text(&text, begin);
    int code = tensor_pattern_translate(&text, pattern, err);
    buffer_text(&text, ")$");
    if (!code) code = buffer_ok(&text, "a pattern", err);
    if (!code && regcomp(out, buffer_string(&text), REG_EXTENDED | REG_NOSUB))
        code = error_set(err, ERR_RECIPE, "the pattern \"%s\" is none", pattern);
    buffer_free(&text);
    return code;
}

static bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

/* POSIX has no \b. Where a match begins and a letter of a name follows it says nothing: there it is left out,
 * for Unsloth's expressions have one. An expression must match the whole path, so it begins there, and behind
 * a group's ( and | if the group does. */
static void drop_first_boundaries(Buffer *out, const char *pattern) {
    enum { DEEPEST = 64 };
    bool groups[DEEPEST] = {true}; /* does the group begin where the match does? */
    bool begins = true, set = false;
    size_t depth = 0, n;
    for (const char *p = pattern; *p; p += n) {
        bool opens = !set && *p == '(';
        n = p[0] == '\\' && p[1] ? 2 : opens && !strncmp(p, "(?:", 3) ? 3 : 1;
        if (begins && !strncmp(p, "\\b", 2) && is_word(p[2])) continue;
        buffer_append(out, p, n);
        if (opens && ++depth < DEEPEST) groups[depth] = begins;
        if (!set && *p == ')' && depth) depth--;
        if (!opens) begins = !set && *p == '|' && depth < DEEPEST && groups[depth];
        if (*p == '[' || *p == ']') set = *p == '[';
    }
}

struct LoraNames {
    const cJSON *list; /* NULL: the expression */
    regex_t expression;
};

static int compile_whole(regex_t *out, const char *pattern) {
    Buffer text;
    buffer_init(&text, NULL);
    drop_first_boundaries(&text, pattern);
    int code = buffer_ok(&text, "an expression", NULL);
    if (!code) code = compile(out, "^(", buffer_string(&text), NULL);
    buffer_free(&text);
    return code;
}

int lora_names_open(LoraNames **out, const cJSON *item, bool *unread, Error *err) {
    *out = NULL;
    *unread = false;
    *unread = cJSON_IsString(item) && !strcmp(item->valuestring, "all-linear");
    if (!item || *unread) return 0;
    if (cJSON_IsArray(item) && !item->child) return 0;
    LoraNames *n = mem_alloc(NULL, sizeof *n);
    if (!n) return error_memory(err, "a list of names");
    n->list = cJSON_IsArray(item) ? item : NULL;
    if (!n->list && compile_whole(&n->expression, item->valuestring)) {
        *unread = true;
        mem_free(NULL, n);
        return 0;
    }
    *out = n;
    return 0;
}

void lora_names_close(LoraNames *n) {
    if (n && !n->list) regfree(&n->expression);
    mem_free(NULL, n);
}

bool lora_names_match(const LoraNames *n, const char *module) {
    if (n->list) return lora_listed(n->list, module);
    return regexec(&n->expression, module, 0, NULL, 0) == 0;
}

/* Names without any sign but the dot, which stands for every character. */
static bool is_plain(const char *pattern) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    return *pattern && !pattern[strspn(pattern, plain)];
}

static bool plain_matches(const char *pattern, const char *module) {
    size_t n = strlen(pattern), m = strlen(module);
    if (m < n || (m > n && module[m - n - 1] != '.')) return false;
    for (size_t i = 0; i < n; i++)
        if (pattern[i] != '.' && pattern[i] != module[m - n + i]) return false;
    return true;
}

/* The first pattern that is found at the end of the module's path, behind a dot or from the start. */
static int find_pattern(const cJSON **out, const cJSON *patterns, const char *key, const char *module,
                        Error *err) {
    *out = NULL;
    for (const cJSON *p = patterns ? patterns->child : NULL; p && !*out; p = p->next) {
        regex_t expression;
        if (is_plain(p->string)) { /* EVA's adapters have one a module: compiling them all takes minutes */
            if (plain_matches(p->string, module)) *out = p;
            continue;
        }
        if (compile(&expression, "^(.*\\.)?(", p->string, err)) {
            if (err) err->code = ERR_UNSUPPORTED;
            return error_wrap(err, ERR_UNSUPPORTED, "%s", key);
        }
        if (regexec(&expression, module, 0, NULL, 0) == 0) *out = p;
        regfree(&expression);
    }
    return 0;
}

int lora_config_rank(uint32_t *out, const LoraConfig *c, const char *module, Error *err) {
    const cJSON *found;
    *out = c->rank;
    TRY(find_pattern(&found, c->rank_pattern, "rank_pattern", module, err));
    if (found) json_u32(found, out);
    return 0;
}

int lora_config_alpha(double *out, const LoraConfig *c, const char *module, Error *err) {
    const cJSON *found;
    *out = c->alpha;
    TRY(find_pattern(&found, c->alpha_pattern, "alpha_pattern", module, err));
    if (found) *out = found->valuedouble;
    return 0;
}

/* The first number between two dots of a path is its layer. */
bool lora_layer_left_out(const LoraConfig *c, const char *module) {
    uint32_t listed;
    if (!c->layers || (cJSON_IsArray(c->layers) && !c->layers->child)) return false;
    const char *at = module;
    for (; (at = strchr(at, '.')); at++)
        if (at[1] >= '0' && at[1] <= '9') break;
    if (!at) return true;
    unsigned long layer = strtoul(at + 1, NULL, 10);
    if (!cJSON_IsArray(c->layers)) return !json_u32(c->layers, &listed) || listed != layer;
    for (const cJSON *s = c->layers->child; s; s = s->next)
        if (json_u32(s, &listed) && listed == layer) return false;
    return true;
}
