/* lora_check.c -- does an adapter hold all that its configuration says was trained, and nothing else? A merge
 * that drops a part in silence is the known failure of others. */
#include "model/lora_private.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 512 };

/* The base's own module is a matrix that a linear layer or an embedding can be. */
static bool module_of(char out[NAME_SIZE], const Tensor *t) {
    static const char tail[] = ".weight";
    size_t n = strlen(t->name), k = sizeof tail - 1;
    if (t->n_dims != 2 || n <= k || n - k >= NAME_SIZE || strcmp(t->name + n - k, tail)) return false;
    memcpy(out, t->name, n - k);
    out[n - k] = 0;
    return true;
}

static bool touched_by(const LoraMapping *m, size_t tensor) {
    const LoraTensor *t = m->lora->touched[tensor];
    for (const LoraOp *op = t ? t->first : NULL; op; op = op->next)
        if (op->adapter == m->adapter) return true;
    return false;
}

static int check_targets(const LoraMapping *m, const LoraNames *targets, const LoraNames *excluded) {
    const Model *base = m->lora->base;
    size_t asked = 0, missing = 0, first = 0;
    char module[NAME_SIZE];
    for (size_t i = 0; i < base->n_tensors; i++) {
        if (!module_of(module, &base->tensors[i]) || !lora_names_match(targets, module)) continue;
        if (excluded && lora_names_match(excluded, module)) continue;
        if (lora_layer_left_out(&m->adapter->config, module)) continue;
        asked++;
        if (!touched_by(m, i) && !missing++) first = i;
    }
    if (!missing) return 0;
    return error_set(
        m->err, ERR_FORMAT,
        "target_modules asks for %zu modules of this model, and %zu of them have no pair, the first "
        "%s: parts of the training would be missing. If they were never trained, take their name out "
        "of target_modules",
        asked, missing, base->tensors[first].name);
}

static int check_module(const LoraMapping *m, const char *path, const LoraNames *targets,
                        const LoraNames *excluded) {
    if (!lora_names_match(targets, path))
        return error_set(m->err, ERR_FORMAT,
                         "module %s has a pair, but target_modules does not name it: PEFT would leave it out",
                         path);
    bool out = excluded && lora_names_match(excluded, path);
    if (!out && !lora_layer_left_out(&m->adapter->config, path)) return 0;
    return error_set(m->err, ERR_FORMAT, "module %s has a pair, but %s leaves it out: so would PEFT", path,
                     out ? "exclude_modules" : "layers_to_transform");
}

/* A pair whose module the configuration does not target: PEFT would pass it over in silence. */
static int check_asked(const LoraMapping *m, const LoraNames *targets, const LoraNames *excluded) {
    const LoraAdapter *a = m->adapter;
    for (size_t i = 0; i < a->n_modules; i++) {
        const LoraModule *module = &a->modules[i];
        bool pair = module->parts[LORA_A] || module->parts[LORA_EMBEDDING_A];
        if (!pair || lora_is_fused_path(module->path) || lora_is_wrapped(m, module->path, "weight")) continue;
        TRY(check_module(m, module->path, targets, excluded));
    }
    return 0;
}

/* Every fused parameter that target_parameters names, in every layer, must have a pair. */
static int check_fused(const LoraMapping *m) {
    const Model *base = m->lora->base;
    static const char *const fused[2][2] = {{"gate_up_proj", "gate_proj"}, {"down_proj", "down_proj"}};
    const cJSON *list = m->adapter->config.target_parameters;
    char prefix[NAME_SIZE], name[NAME_SIZE + 32];
    for (uint32_t layer = 0; list && list->child && layer < base->params.n_layers; layer++)
        for (size_t i = 0; i < 2; i++) {
            snprintf(prefix, sizeof prefix, "model.layers.%u.mlp.experts", layer);
            snprintf(name, sizeof name, "%s.0.%s.weight", prefix, fused[i][1]);
            const Tensor *t = model_find(base, name);
            if (!t || !lora_is_wrapped(m, prefix, fused[i][0])) continue;
            if (lora_layer_left_out(&m->adapter->config, name)) continue;
            if (!touched_by(m, (size_t)(t - base->tensors)))
                return error_set(m->err, ERR_FORMAT,
                                 "target_parameters asks for %s.%s, which has no pair: parts of the training "
                                 "would be missing",
                                 prefix, fused[i][0]);
        }
    return 0;
}

/* And every plain one, like the router's "mlp.gate.weight". */
static int check_parameters(const LoraMapping *m) {
    const Model *base = m->lora->base;
    const LoraConfig *c = &m->adapter->config;
    for (size_t i = 0; i < base->n_tensors; i++) {
        const char *name = base->tensors[i].name;
        if (!lora_listed(c->target_parameters, name) || lora_layer_left_out(c, name)) continue;
        if (!touched_by(m, i))
            return error_set(
                m->err, ERR_FORMAT,
                "target_parameters asks for %s, which has no pair: parts of the training would be missing",
                name);
    }
    return check_fused(m);
}

/* One name of modules_to_save: all modules whose paths end so. */
static int check_saved_name(const LoraMapping *m, const char *name) {
    const Model *base = m->lora->base;
    static const char tail[] = ".weight";
    bool found = false;
    for (size_t i = 0; i < base->n_tensors; i++) {
        const char *tensor = base->tensors[i].name;
        size_t n = strlen(tensor), k = sizeof tail - 1;
        if (n <= k || strcmp(tensor + n - k, tail) || !lora_ends(tensor, n - k, name)) continue;
        if (!touched_by(m, i))
            return error_set(m->err, ERR_FORMAT,
                             "modules_to_save names %s, but the adapter holds no %s: parts of the training "
                             "would be missing",
                             name, tensor);
        found = true;
    }
    if (found) return 0;
    return error_set(m->err, ERR_FORMAT, "modules_to_save names %s, of which the adapter holds nothing",
                     name);
}

static int check_saved(const LoraMapping *m) {
    const cJSON *list = m->adapter->config.modules_to_save;
    for (const cJSON *s = list ? list->child : NULL; s; s = s->next) TRY(check_saved_name(m, s->valuestring));
    return 0;
}

/* trainable_token_indices: a list, or lists by module of which each that is not empty has its rows. */
static int check_tokens(const LoraMapping *m) {
    const cJSON *tokens = m->adapter->config.tokens;
    size_t asked = 0, found = 0;
    if (cJSON_IsArray(tokens))
        asked = tokens->child != NULL;
    else
        for (const cJSON *item = tokens ? tokens->child : NULL; item; item = item->next)
            asked += item->child != NULL;
    for (size_t i = 0; i < m->adapter->n_modules; i++)
        found += m->adapter->modules[i].parts[LORA_TOKENS] != NULL;
    if (found >= asked) return 0;
    return error_set(
        m->err, ERR_FORMAT,
        "trainable_token_indices is set for %zu modules, but the adapter holds no trainable_tokens_delta "
        "of %zu: parts of the training would be missing",
        asked, asked - found);
}

/* bias "all" and "lora_only" train the base's own biases. */
static int check_biases(const LoraMapping *m) {
    if (!m->adapter->config.bias) return 0;
    for (size_t i = 0; i < m->adapter->n_modules; i++)
        if (m->adapter->modules[i].parts[LORA_BIAS]) return 0;
    return error_set(
        m->err, ERR_FORMAT,
        "bias is not \"none\", but the adapter holds no biases: parts of the training would be missing");
}

int lora_check_config(const LoraMapping *m) {
    LoraNames *targets = NULL, *excluded = NULL;
    bool no_targets = false, no_excluded = false;
    int code = lora_names_open(&targets, m->adapter->config.target_modules, &no_targets, m->err);
    if (!code) code = lora_names_open(&excluded, m->adapter->config.exclude_modules, &no_excluded, m->err);
    m->adapter->info.unread = no_targets ? "target_modules" : no_excluded ? "exclude_modules" : NULL;
    /* what is left out is not known: nothing can be missed */
    if (!code && targets && !no_excluded) code = check_targets(m, targets, excluded);
    if (!code && targets) code = check_asked(m, targets, excluded);
    lora_names_close(targets);
    lora_names_close(excluded);
    if (!code) code = check_parameters(m);
    if (!code) code = check_saved(m);
    if (!code) code = check_tokens(m);
    return code ? code : check_biases(m);
}
