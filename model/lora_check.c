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

/* A pair whose module the configuration does not target: PEFT would pass it over in silence. */
static int check_asked(const LoraMapping *m, const LoraNames *targets) {
    const LoraAdapter *a = m->adapter;
    for (size_t i = 0; i < a->n_modules; i++) {
        const LoraModule *module = &a->modules[i];
        bool pair = module->parts[LORA_A] || module->parts[LORA_EMBEDDING_A];
        if (!pair || lora_is_fused_path(module->path) || lora_is_wrapped(m, module->path, "weight")) continue;
        if (!lora_names_match(targets, module->path))
            return error_set(
                m->err, ERR_FORMAT,
                "module %s has a pair, but target_modules does not name it: PEFT would leave it out",
                module->path);
    }
    return 0;
}

/* Every fused parameter that target_parameters names, in every layer, must have a pair. */
static int check_parameters(const LoraMapping *m) {
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

static int check_saved(const LoraMapping *m) {
    const LoraAdapter *a = m->adapter;
    for (const cJSON *s = a->config.modules_to_save ? a->config.modules_to_save->child : NULL; s;
         s = s->next) {
        bool found = false;
        for (size_t i = 0; !found && i < a->n_modules; i++)
            found = lora_listed(a->config.modules_to_save, a->modules[i].path) &&
                    a->modules[i].parts[LORA_WEIGHT];
        if (!found)
            return error_set(m->err, ERR_FORMAT,
                             "modules_to_save names %s, of which the adapter holds nothing", s->valuestring);
    }
    return 0;
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
    int code = lora_names_open(&targets, m->adapter->config.target_modules, m->err);
    if (!code) code = lora_names_open(&excluded, m->adapter->config.exclude_modules, m->err);
    if (!code && targets) code = check_targets(m, targets, excluded);
    if (!code && targets) code = check_asked(m, targets);
    lora_names_close(targets);
    lora_names_close(excluded);
    if (!code) code = check_parameters(m);
    if (!code) code = check_saved(m);
    return code ? code : check_biases(m);
}
