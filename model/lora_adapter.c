/* lora_adapter.c -- opens an adapter's directory: its two files, and which tensors belong to which module. */
#include "model/lora_private.h"

#include <string.h>
#include <sys/stat.h>

enum { CONFIG_LIMIT = 4 << 20 }; /* bytes */

static const struct {
    const char *tail;
    LoraPart part;
} tails[] = {
    {".lora_A.weight", LORA_A},
    {".lora_B.weight", LORA_B},
    {".lora_embedding_A", LORA_EMBEDDING_A},
    {".lora_embedding_B", LORA_EMBEDDING_B},
    {".lora_B.bias", LORA_B_BIAS},
    {".lora_magnitude_vector", LORA_MAGNITUDE},
    {".lora_magnitude_vector.weight", LORA_MAGNITUDE},
    {".token_adapter.trainable_tokens_delta", LORA_TOKENS},
    {".token_adapter.base_layer.weight", LORA_BASE},
    {".base_layer.weight", LORA_BASE},
    {".base_layer.bias", LORA_BIAS},
    {".weight", LORA_WEIGHT},
    {".bias", LORA_BIAS},
};
enum { N_TAILS = sizeof tails / sizeof tails[0] };
static const char prefix[] = "base_model.model.";

/* ---- files ---- */

static bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

/* Why there is no adapter_model.safetensors to read. */
static int no_weights(const LoraSpec *spec, Arena *scratch, Error *err) {
    const char *pickle = arena_printf(scratch, "%s/adapter_model.bin", spec->path);
    if (pickle && exists(pickle))
        return error_set(
            err, ERR_UNSUPPORTED,
            "%s holds its weights as a pickle (adapter_model.bin), which can run code when it is read; "
            "convert "
            "it first: python3 -c \"import torch, safetensors.torch as s; s.save_file({k: v.contiguous() for "
            "k, v in torch.load('adapter_model.bin', map_location='cpu', weights_only=True).items()}, "
            "'%s')\"",
            spec->path, LORA_WEIGHTS_FILE);
    return error_set(err, ERR_IO, "%s/%s is missing: an adapter's directory holds it beside %s", spec->path,
                     LORA_WEIGHTS_FILE, LORA_CONFIG_FILE);
}

static int open_files(LoraAdapter *a, const LoraSpec *spec, Arena *scratch, const Allocator *allocator,
                      Error *err) {
    const char *config = arena_printf(scratch, "%s/%s", spec->path, LORA_CONFIG_FILE);
    const char *weights = arena_printf(scratch, "%s/%s", spec->path, LORA_WEIGHTS_FILE);
    if (!config || !weights) return error_memory(err, spec->path);
    if (!exists(config))
        return error_set(err, ERR_IO, "%s/%s is missing: an adapter is a directory that holds it", spec->path,
                         LORA_CONFIG_FILE);
    if (!exists(weights)) return no_weights(spec, scratch, err);
    TRY(input_open(&a->config_file, config, allocator, err));
    return input_open(&a->file, weights, allocator, err);
}

static int read_config(LoraAdapter *a, Arena *scratch, Error *err) {
    uint64_t size = input_size(a->config_file);
    if (size > CONFIG_LIMIT)
        return error_set(err, ERR_LIMIT, "%s has %llu bytes, more than the limit of %d",
                         input_path(a->config_file), (unsigned long long)size, CONFIG_LIMIT);
    char *text = arena_alloc(scratch, (size_t)size + 1, 1);
    if (!text) return error_memory(err, LORA_CONFIG_FILE);
    TRY(input_read(a->config_file, 0, text, (size_t)size, err));
    return lora_config_read(&a->config, text, (size_t)size, LORA_CONFIG_FILE, err);
}

static int take_hash(char out[SHA256_HEX], const char *known, const Input *in, Error *err) {
    if (!known) return sha256_input(out, in, NULL, NULL, err);
    memcpy(out, known, SHA256_HEX);
    return 0;
}

/* ---- keys ---- */

static int bad_key(const SafetensorsEntry *e, Error *err) {
    const char *name =
        strstr(e->name, ".lora_A.") ? strstr(e->name, ".lora_A.") : strstr(e->name, ".lora_B.");
    if (name && strcmp(name + 8, "weight"))
        return error_set(
            err, ERR_FORMAT,
            "key %s: save_pretrained leaves the adapter's name out (\"lora_A.weight\"); this file "
            "is a raw state of the training: save it by PEFT's save_pretrained",
            e->name);
    return error_set(err, ERR_FORMAT,
                     "key %s is none of PEFT's (\"base_model.model.MODULE.lora_A.weight\" and the like): it "
                     "would be lost",
                     e->name);
}

static bool split_key(const char *key, size_t *module, LoraPart *part) {
    size_t length = strlen(key), p = sizeof prefix - 1;
    if (length <= p || memcmp(key, prefix, p) || strstr(key, ".lora_A.default") ||
        strstr(key, ".lora_B.default"))
        return false;
    for (size_t i = 0; i < N_TAILS; i++) {
        size_t tail = strlen(tails[i].tail);
        if (length <= p + tail || strcmp(key + length - tail, tails[i].tail)) continue;
        *module = length - p - tail;
        *part = tails[i].part;
        return true;
    }
    return false;
}

static int add_key(LoraAdapter *a, const SafetensorsEntry *e, Arena *arena, Error *err) {
    size_t length;
    LoraPart part;
    uint64_t index;
    if (!split_key(e->name, &length, &part)) return bad_key(e, err);
    if (!dtype_is_float(e->type))
        return error_set(err, ERR_UNSUPPORTED, "key %s is %s; adapters are F32, F16 or BF16", e->name,
                         dtype_name(e->type));
    const char *path = e->name + sizeof prefix - 1;
    if (!table_get(a->by_path, path, length, &index)) {
        const char *copy = arena_copy(arena, path, length);
        index = a->n_modules;
        if (!copy || table_put(a->by_path, copy, length, index))
            return error_memory(err, "an adapter's keys");
        a->modules[a->n_modules++] = (LoraModule){.path = copy};
    }
    LoraModule *m = &a->modules[index];
    if (m->parts[part])
        return error_set(err, ERR_FORMAT, "%s and %s are the same thing twice", m->parts[part]->name,
                         e->name);
    m->parts[part] = e;
    return 0;
}

static int read_keys(LoraAdapter *a, Arena *arena, Error *err) {
    TRY(safetensors_read(&a->header, a->file, arena, err));
    a->modules = arena_alloc(arena, a->header.n_entries, sizeof *a->modules);
    if (!a->modules) return error_memory(err, "an adapter's keys");
    TRY(table_open(&a->by_path, arena, a->header.n_entries, err));
    for (size_t i = 0; i < a->header.n_entries; i++) {
        int code = add_key(a, &a->header.entries[i], arena, err);
        if (code) return error_wrap(err, code, LORA_WEIGHTS_FILE);
    }
    if (a->n_modules) return 0;
    return error_set(err, ERR_FORMAT, "%s holds no tensors: there is nothing to merge", LORA_WEIGHTS_FILE);
}

LoraModule *lora_find_module(const LoraAdapter *a, const char *path) {
    uint64_t index;
    return table_get(a->by_path, path, strlen(path), &index) ? &a->modules[index] : NULL;
}

/* ---- the directory ---- */

static const char *last_component(const char *path, Arena *arena) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return arena_copy(arena, path + begin, end - begin);
}

static int open_all(LoraAdapter *a, const LoraSpec *spec, Arena *arena, Arena *scratch,
                    const Allocator *allocator, Error *err) {
    a->path = arena_string(arena, spec->path);
    a->info = (LoraAdapterInfo){.name = last_component(spec->path, arena),
                                .scale = spec->scale,
                                .rounding = spec->rounding,
                                .layout = spec->layout};
    if (!a->path || !a->info.name) return error_memory(err, spec->path);
    if (!(spec->scale < 0 || spec->scale > 0) || spec->scale > 1e6 || spec->scale < -1e6)
        return error_set(err, ERR_UNSUPPORTED, "a scale of %g: it must be a number other than 0",
                         spec->scale);
    TRY(open_files(a, spec, scratch, allocator, err));
    TRY(read_config(a, scratch, err));
    TRY(read_keys(a, arena, err));
    TRY(take_hash(a->info.config_sha256, spec->config_sha256, a->config_file, err));
    return take_hash(a->info.weights_sha256, spec->weights_sha256, a->file, err);
}

int lora_adapter_open(LoraAdapter *out, const LoraSpec *spec, Arena *arena, Arena *scratch,
                      const Allocator *allocator, Error *err) {
    int code = open_all(out, spec, arena, scratch, allocator, err);
    return code ? error_wrap(err, code, "adapter %s", spec->path) : 0;
}

void lora_adapter_close(LoraAdapter *a) {
    input_close(a->config_file);
    if (!a->gguf) input_close(a->file);
    model_close(a->gguf);
    cJSON_Delete(a->config.json);
}
