/* releases.c -- see releases.h. */
#include "recipes/releases.h"
#include <string.h>
#include <strings.h>

extern const unsigned char recipes_releases_json[]; /* made from the file by the Makefile */
extern const unsigned long recipes_releases_json_size;

enum { MOST_NAMES = 256 };

int releases_load(cJSON **out, Error *err) {
    return json_parse(out, (const char *)recipes_releases_json, recipes_releases_json_size, "releases.json",
                      err);
}

size_t releases_count(const cJSON *table) {
    return (size_t)cJSON_GetArraySize(json_get(table, "releases"));
}

static uint32_t number(const cJSON *object, const char *key) {
    uint32_t v = 0;
    return json_u32(json_get(object, key), &v) ? v : 0;
}

static void read_params(ModelParams *p, const cJSON *r, const char *type) {
    memset(p, 0, sizeof *p);
    p->n_embd = number(r, "hidden");
    p->n_layers = number(r, "layers");
    p->n_heads = number(r, "heads");
    p->n_kv_heads = number(r, "kv_heads");
    p->head_dim = number(r, "head_dim");
    p->n_experts = number(r, "experts");
    p->n_experts_used = number(r, "experts_used");
    p->n_ff_expert = number(r, "expert_width");
    p->n_vocab = number(r, "vocab");
    p->context = number(r, "context");
    p->rope.theta = (float)number(r, "theta");
    p->tied_embeddings = cJSON_IsTrue(json_get(r, "tied"));
    p->norm_topk_prob = !cJSON_IsFalse(json_get(r, "norm_topk_prob"));
    if (!strcmp(type, "qwen3_moe")) strcpy(p->architecture, "qwen3moe");
}

static void read_release(const cJSON *r, Release *out) {
    const char *type = cJSON_GetStringValue(json_get(r, "model_type"));
    *out = (Release){.repo = cJSON_GetStringValue(json_get(r, "repo")),
                     .model_type = type ? type : "",
                     .license = cJSON_GetStringValue(json_get(r, "license")),
                     .note = cJSON_GetStringValue(json_get(r, "note")),
                     .trained = number(r, "trained"),
                     .claimed = number(r, "claimed"),
                     .native_long = cJSON_IsTrue(json_get(r, "native_long")),
                     .hybrid = cJSON_IsTrue(json_get(r, "hybrid"))};
    read_params(&out->params, r, out->model_type);
}

void release_at(const cJSON *table, size_t i, Release *out) {
    read_release(cJSON_GetArrayItem(json_get(table, "releases"), (int)i), out);
}

int release_find(const cJSON *table, const char *name, Release *out, Error *err) {
    const char *names[MOST_NAMES + 1], *slash = strchr(name, '/');
    size_t n = releases_count(table);
    for (size_t i = 0; i < n; i++) {
        release_at(table, i, out);
        const char *last = strchr(out->repo, '/') + 1;
        if (!strcasecmp(out->repo, name) || !strcasecmp(last, name)) return 0;
        if (i < MOST_NAMES) names[i] = slash ? out->repo : last;
    }
    names[n < MOST_NAMES ? n : MOST_NAMES] = NULL;
    const char *near = nearest_word(name, names);
    return error_set(err, ERR_USAGE,
                     "%s is neither a release that is known here nor a directory with a checkpoint%s%s%s",
                     name, near ? ": did you mean " : "; recast init --list names them", near ? near : "",
                     near ? "?" : "");
}

bool release_of(const cJSON *table, const ModelParams *p, Release *out) {
    for (size_t i = 0; i < releases_count(table); i++) {
        release_at(table, i, out);
        const ModelParams *q = &out->params;
        if (q->context && q->rope.theta > 0 && q->context == p->context && q->rope.theta == p->rope.theta &&
            q->n_embd == p->n_embd && q->n_layers == p->n_layers && q->n_heads == p->n_heads &&
            q->n_kv_heads == p->n_kv_heads && q->n_experts == p->n_experts &&
            q->n_ff_expert == p->n_ff_expert)
            return true;
    }
    return false;
}
