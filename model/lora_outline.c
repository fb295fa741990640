/* lora_outline.c -- see lora_outline.h. */
#include "model/lora_outline.h"

#include "core/json.h"
#include "model/lora_private.h"
#include <math.h>
#include <string.h>

/* "model.layers.*.mlp": path with a star for each component that is a number. */
static const char *general_name(const char *path, Arena *arena) {
    char *out = arena_string(arena, path), *to = out;
    for (const char *from = path; out && *from;) {
        size_t n = strcspn(from, ".");
        if (n && strspn(from, "0123456789") == n)
            *to++ = '*';
        else {
            memcpy(to, from, n);
            to += n;
        }
        from += n;
        if (*from) *to++ = *from++;
    }
    if (out) *to = 0;
    return out;
}

static int find_group(LoraGroup *out, const LoraAdapter *a, const LoraModule *m, Error *err) {
    const LoraConfig *c = &a->config;
    const SafetensorsEntry *side = m->parts[LORA_A] ? m->parts[LORA_A] : m->parts[LORA_EMBEDDING_A];
    double alpha;
    TRY(lora_config_rank(&out->rank, c, m->path, err));
    TRY(lora_config_alpha(&alpha, c, m->path, err));
    bool fused = lora_is_fused_path(m->path);
    if (!fused && side->n_dims == 2 && side->shape[0] != out->rank)
        return error_set(err, ERR_FORMAT, "module %s: its pair has rank %llu, but %s gives it %u", m->path,
                         (unsigned long long)side->shape[0], LORA_CONFIG_FILE, out->rank);
    out->scale = alpha / (c->rslora ? sqrt((double)out->rank) : (double)out->rank);
    return 0;
}

static int add_pair(LoraOutline *o, LoraGroup *groups, Table *names, const LoraAdapter *a,
                    const LoraModule *m, Arena *arena, Error *err) {
    LoraGroup g = {.name = general_name(m->path, arena), .n_pairs = 1};
    uint64_t index;
    TRY(find_group(&g, a, m, err));
    const char *key = g.name ? arena_printf(arena, "%s %u %.17g", g.name, g.rank, g.scale) : NULL;
    if (!key) return error_memory(err, "an adapter's targets");
    o->n_pairs++;
    if (table_get(names, key, strlen(key), &index)) {
        groups[index].n_pairs++;
        return 0;
    }
    groups[o->n_groups] = g;
    return table_put(names, key, strlen(key), o->n_groups++) ? error_memory(err, "an adapter's targets") : 0;
}

static int fill(LoraOutline *o, const LoraAdapter *a, Arena *arena, Error *err) {
    LoraGroup *groups = arena_alloc(arena, a->n_modules, sizeof *groups);
    Table *names;
    if (!groups) return error_memory(err, "an adapter's targets");
    TRY(table_open(&names, arena, a->n_modules, err));
    for (size_t i = 0; i < a->n_modules; i++) {
        const LoraModule *m = &a->modules[i];
        bool pair = m->parts[LORA_A] || m->parts[LORA_EMBEDDING_A];
        if (!m->parts[LORA_A] != !m->parts[LORA_B] ||
            !m->parts[LORA_EMBEDDING_A] != !m->parts[LORA_EMBEDDING_B])
            return error_set(err, ERR_FORMAT, "module %s has half a pair", m->path);
        for (int p = 0; p < LORA_PARTS; p++) {
            if (!m->parts[p]) continue;
            o->bytes += m->parts[p]->length;
            o->n_others += p > LORA_EMBEDDING_B;
        }
        if (pair) TRY(add_pair(o, groups, names, a, m, arena, err));
    }
    o->groups = groups;
    return 0;
}

static const char *copy_of(const LoraConfig *c, const char *key, Arena *arena) {
    const cJSON *item = json_present(c->json, key);
    return cJSON_IsString(item) && item->valuestring[0] ? arena_string(arena, item->valuestring) : NULL;
}

int lora_outline(LoraOutline *out, const char *directory, Arena *arena, const Allocator *allocator,
                 Error *err) {
    LoraAdapter a = {0};
    LoraSpec spec = {.path = directory, .scale = 1};
    int code = lora_adapter_open(&a, &spec, arena, arena, allocator, err);
    *out = (LoraOutline){
        .rank = a.config.rank, .alpha = a.config.alpha, .rslora = a.config.rslora, .dora = a.config.dora};
    if (!code) {
        memcpy(out->config_sha256, a.info.config_sha256, SHA256_HEX);
        memcpy(out->weights_sha256, a.info.weights_sha256, SHA256_HEX);
        out->base = copy_of(&a.config, "base_model_name_or_path", arena);
        out->peft_version = copy_of(&a.config, "peft_version", arena);
        code = fill(out, &a, arena, err);
        if (code) code = error_wrap(err, code, "adapter %s", directory);
    }
    lora_adapter_close(&a);
    return code;
}
