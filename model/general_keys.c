/* general_keys.c -- general.* as llama.cpp's converter writes it, but for README.md's front matter, which is
 * not read (docs/gguf-keys.md). */
#include "model/general_keys.h"
#include "core/json.h"
#include "model/model_id.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GENERATION_LIMIT = 1 << 20 };

/* ---- general.sampling.* ---- */

typedef enum SamplingType { SAMPLE_I32, SAMPLE_F32, SAMPLE_STRING } SamplingType;

static const struct {
    const char *key, *json, *other; /* other: read if json is absent */
    SamplingType type;
} sampling[] = {
    {"general.sampling.sequence", "sequence", NULL, SAMPLE_STRING},
    {"general.sampling.top_k", "top_k", NULL, SAMPLE_I32},
    {"general.sampling.top_p", "top_p", NULL, SAMPLE_F32},
    {"general.sampling.min_p", "min_p", NULL, SAMPLE_F32},
    {"general.sampling.xtc_probability", "xtc_probability", NULL, SAMPLE_F32},
    {"general.sampling.xtc_threshold", "xtc_threshold", NULL, SAMPLE_F32},
    {"general.sampling.temp", "temperature", NULL, SAMPLE_F32},
    {"general.sampling.penalty_last_n", "penalty_last_n", NULL, SAMPLE_I32},
    {"general.sampling.penalty_repeat", "penalty_repeat", "repetition_penalty", SAMPLE_F32},
    {"general.sampling.mirostat", "mirostat", NULL, SAMPLE_I32},
    {"general.sampling.mirostat_tau", "mirostat_tau", NULL, SAMPLE_F32},
    {"general.sampling.mirostat_eta", "mirostat_eta", NULL, SAMPLE_F32},
};

static int set_sampling(Metadata *m, size_t i, const cJSON *item, Error *err) {
    const char *key = sampling[i].key, *json = sampling[i].json;
    double v = item->valuedouble;
    switch (sampling[i].type) {
    case SAMPLE_STRING:
        if (!cJSON_IsString(item))
            return error_set(err, ERR_FORMAT, "generation_config.json: %s is no string", json);
        return *item->valuestring ? metadata_set_string(m, key, item->valuestring, err) : 0;
    case SAMPLE_I32:
        if (!cJSON_IsNumber(item) || v != floor(v) || v < INT32_MIN || v > INT32_MAX)
            return error_set(err, ERR_FORMAT, "generation_config.json: %s is no integer of 32 bits", json);
        return metadata_set_i32(m, key, (int32_t)v, err);
    case SAMPLE_F32:
        if (!cJSON_IsNumber(item) || !isfinite((float)v))
            return error_set(err, ERR_FORMAT, "generation_config.json: %s is no number that float32 can hold",
                             json);
        return metadata_set_f32(m, key, (float)v, err);
    }
    return 0;
}

static int sampling_keys(Metadata *m, const cJSON *config, Error *err) {
    for (size_t i = 0; i < sizeof sampling / sizeof sampling[0]; i++) {
        const cJSON *item = json_get(config, sampling[i].json);
        if (!item && sampling[i].other) item = json_get(config, sampling[i].other);
        if (item && !cJSON_IsNull(item)) TRY(set_sampling(m, i, item, err));
    }
    return 0;
}

static int read_generation_config(cJSON **out, const Input *in, Error *err) {
    uint64_t size = input_size(in);
    if (size > GENERATION_LIMIT)
        return error_set(err, ERR_LIMIT, "%s has %llu bytes, at most %d are expected", input_path(in),
                         (unsigned long long)size, GENERATION_LIMIT);
    char *text = mem_alloc(NULL, (size_t)size);
    if (!text) return error_memory(err, "generation_config.json");
    int code = input_read(in, 0, text, (size_t)size, err);
    if (!code) code = json_parse(out, text, (size_t)size, input_path(in), err);
    mem_free(NULL, text);
    return code;
}

static int set_sampling_keys(Metadata *metadata, const Model *m, Error *err) {
    for (size_t i = 0; i < m->n_files; i++) {
        if (m->files[i].role != SOURCE_GENERATION) continue;
        cJSON *config = NULL;
        TRY(read_generation_config(&config, m->files[i].input, err));
        int code = sampling_keys(metadata, config, err);
        cJSON_Delete(config);
        return code;
    }
    return 0;
}

/* ---- names ---- */

/* The last component of the source's path; "." and the like are resolved first. NULL without memory. */
static const char *directory_name(const char *path, Arena *arena) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t begin = n;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    bool dots = n - begin <= 2 && strspn(path + begin, ".") >= n - begin;
    if (!dots) return arena_copy(arena, path + begin, n - begin);
    char *real = realpath(path, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL;
    const char *name = arena_string(arena, slash ? slash + 1 : "");
    free(real);
    return name;
}

static uint64_t total_parameters(const Model *m) {
    uint64_t total = 0;
    for (size_t i = 0; i < m->n_tensors; i++) total += tensor_elements(&m->tensors[i]);
    return total;
}

/* Without a size in the name: all parameters, or "128x201K" with what is shared plus one expert. */
static int size_from_shapes(const char **out, const Model *m, Arena *arena, Error *err) {
    uint64_t shared = 0, expert = 0, experts = 0, stacks = 0;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        bool stack = strstr(t->name, "_exps.") && t->n_dims >= 3;
        if (!stack)
            shared += tensor_elements(t);
        else
            expert += tensor_elements(t) / t->dims[2], experts += t->dims[2], stacks++;
    }
    char rounded[32];
    model_id_rounded(rounded, sizeof rounded, shared + expert);
    *out = stacks ? arena_printf(arena, "%llux%s", (unsigned long long)(experts / stacks), rounded)
                  : arena_string(arena, rounded);
    return *out ? 0 : error_memory(err, "a size label");
}

/* What earlier sources of names left open. */
static void fill(ModelId *into, const ModelId *from) {
    if (!into->name) into->name = from->name;
    if (!into->organization) into->organization = from->organization;
    if (!into->basename) into->basename = from->basename;
    if (!into->finetune) into->finetune = from->finetune;
    if (!into->version) into->version = from->version;
    if (!into->size_label) into->size_label = from->size_label;
}

/* The converter asks config.json's _name_or_path if it looks like a model's name, then the directory. */
static int id_of_source(ModelId *out, const Model *m, uint64_t total, Arena *arena, Error *err) {
    const cJSON *item = json_get(m->config, "_name_or_path");
    const char *path = cJSON_IsString(item) ? item->valuestring : NULL;
    const char *slash = path ? strchr(path, '/') : NULL;
    memset(out, 0, sizeof *out);
    if (path && (!slash || !strchr(slash + 1, '/'))) TRY(model_id_parse(out, path, total, arena, err));
    const char *directory = directory_name(m->path, arena);
    if (!directory) return error_memory(err, "the directory's name");
    ModelId id;
    TRY(model_id_parse(&id, directory, total, arena, err));
    fill(out, &id);
    out->name = model_id_title(out->name, arena);
    if (out->organization) out->organization = model_id_title(out->organization, arena);
    return out->name ? 0 : error_memory(err, "a model's name");
}

static int set_if(Metadata *m, const char *key, const char *value, Error *err) {
    return value && *value ? metadata_set_string(m, key, value, err)
                           : 0; /* the converter writes no empty strings */
}

static int name_keys(Metadata *metadata, const Model *m, const char *name, Arena *arena, Error *err) {
    ModelId id;
    uint64_t total = total_parameters(m);
    if (name) {
        TRY(model_id_parse(&id, name, total, arena, err));
        id.name = name, id.organization = NULL;
    } else {
        TRY(id_of_source(&id, m, total, arena, err));
    }
    if (!id.size_label) TRY(size_from_shapes(&id.size_label, m, arena, err));
    TRY(set_if(metadata, "general.name", id.name, err));
    TRY(set_if(metadata, "general.version", id.version, err));
    TRY(set_if(metadata, "general.organization", id.organization, err));
    TRY(set_if(metadata, "general.finetune", id.finetune, err));
    TRY(set_if(metadata, "general.basename", id.basename, err));
    return set_if(metadata, "general.size_label", id.size_label, err);
}

int general_keys_set(Metadata *metadata, const Model *m, const char *name, Error *err) {
    TRY(metadata_set_string(metadata, "general.architecture", m->params.architecture, err));
    TRY(metadata_set_string(metadata, "general.type", "model", err));
    TRY(set_sampling_keys(metadata, m, err));
    return name_keys(metadata, m, name, m->arena, err);
}
