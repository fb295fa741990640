/* checkpoint.c -- opens a Hugging Face checkpoint directory: which files belong to it, the agreement of index
 * and shards, the tensor table. Parameters are the family's business, fused experts fused.c's, a shard's
 * header safetensors.c's. */
#include "model/checkpoint.h"

#include "core/json.h"
#include "model/family.h"
#include "model/fused.h"
#include "model/safetensors.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char config_name[] = "config.json", index_name[] = "model.safetensors.index.json",
                  single_name[] = "model.safetensors";
static const uint64_t CONFIG_LIMIT = 16u << 20, INDEX_LIMIT = 100000000; /* bytes */

/* Files that travel with the weights, when they exist. */
static const struct {
    const char *name;
    SourceRole role;
} companions[] = {
    {"generation_config.json", SOURCE_GENERATION},
    {"tokenizer.json", SOURCE_TOKENIZER},
    {"tokenizer_config.json", SOURCE_TOKENIZER},
    {"vocab.json", SOURCE_TOKENIZER},
    {"merges.txt", SOURCE_TOKENIZER},
    {"chat_template.jinja", SOURCE_TOKENIZER},
    {"chat_template.json", SOURCE_TOKENIZER},
    {"special_tokens_map.json", SOURCE_TOKENIZER},
    {"added_tokens.json", SOURCE_TOKENIZER},
    {"tokenizer.model", SOURCE_TOKENIZER},
};

typedef struct Shard {
    const char *name;
    uint64_t id;              /* its number in the order in which the index names shards */
    uint64_t n_mapped;        /* tensors that the index puts here */
    const char *first_tensor; /* one of them, for messages */
    Input *input;
    SafetensorsHeader header;
} Shard;

typedef struct Builder {
    Model *m;
    Arena *arena;   /* the model's */
    Arena *scratch; /* dies when the model is open */
    const Allocator *allocator;
    const char *dir;
    SourceFile *files; /* the model's, still to be sorted */
    cJSON *config, *index;
    Table *shard_of; /* tensor -> Shard.id; NULL without an index */
    Shard *shards;
    size_t n_shards;
    Error *err;
} Builder;

/* ---- files ---- */

/* (Without memory for the path the answer is yes, so that opening it reports what is wrong.) */
static bool exists(Builder *b, const char *name) {
    struct stat st;
    const char *path = arena_printf(b->scratch, "%s/%s", b->dir, name);
    return !path || stat(path, &st) == 0;
}

/* Opens a file of the checkpoint and lists it. Links are followed: a Hugging Face cache is made of them. */
static int add_file(Builder *b, const char *name, SourceRole role, Input **out) {
    SourceFile *f = &b->files[b->m->n_files];
    f->name = arena_string(b->arena, name);
    f->role = role;
    const char *path = arena_printf(b->scratch, "%s/%s", b->dir, name);
    if (!f->name || !path) return error_memory(b->err, "the list of files");
    TRY(input_open(&f->input, path, b->allocator, b->err));
    b->m->n_files++;
    *out = f->input;
    return 0;
}

static int read_json(Builder *b, Input *in, uint64_t limit, Arena *arena, char **text, cJSON **out) {
    uint64_t size = input_size(in);
    if (size > limit)
        return error_set(b->err, ERR_LIMIT, "%s has %llu bytes, more than the limit of %llu", input_path(in),
                         (unsigned long long)size, (unsigned long long)limit);
    *text = arena_alloc(arena, (size_t)size + 1, 1);
    if (!*text) return error_memory(b->err, input_path(in));
    TRY(input_read(in, 0, *text, (size_t)size, b->err));
    TRY(json_parse(out, *text, (size_t)size, input_path(in), b->err));
    if (cJSON_IsObject(*out)) return 0;
    return error_set(b->err, ERR_FORMAT, "%s: a JSON object was expected", input_path(in));
}

static int compare_files(const void *a, const void *b) {
    return strcmp(((const SourceFile *)a)->name, ((const SourceFile *)b)->name);
}

static int compare_shards(const void *a, const void *b) {
    return strcmp(((const Shard *)a)->name, ((const Shard *)b)->name);
}

/* ---- config.json ---- */

static const char *architecture_of(const cJSON *config) {
    const cJSON *list = json_present(config, "architectures");
    const cJSON *name = cJSON_IsArray(list) ? list->child : NULL;
    if (!cJSON_IsString(name)) name = json_present(config, "model_type");
    return cJSON_IsString(name) ? name->valuestring : "";
}

static int read_config(Builder *b) {
    Input *in;
    char *text;
    if (!exists(b, config_name) && exists(b, "manifest.json"))
        return error_set(
            b->err, ERR_FORMAT,
            "%s is a package, not a model: name one of the models in it (recast inspect %s lists them)",
            b->dir, b->dir);
    if (!exists(b, config_name) && exists(b, "adapter_config.json"))
        return error_set(
            b->err, ERR_FORMAT,
            "%s is an adapter, not a model: a recipe's \"lora\" merges it, `recast run MODEL --lora` "
            "tries it, and `recast convert %s --base CHECKPOINT` makes a GGUF of it",
            b->dir, b->dir);
    if (!exists(b, config_name))
        return error_set(b->err, ERR_IO,
                         "%s/%s is missing: a Hugging Face checkpoint directory holds it beside the weights",
                         b->dir, config_name);
    TRY(add_file(b, config_name, SOURCE_CONFIG, &in));
    Model *m = b->m;
    int code = read_json(b, in, CONFIG_LIMIT, b->arena, &text, &b->config);
    m->config = b->config; /* the model's to free, whatever else happens */
    if (code) return code;
    m->config_text = text;
    const char *architecture = architecture_of(b->config);
    m->family = family_by_hf(architecture);
    if (m->family) {
        code = m->family->params_from_config(&m->params, b->config, b->err);
        return code ? error_wrap(b->err, code, "%s", b->dir) : 0;
    }
    size_t n = strlen(architecture), room = sizeof m->params.architecture - 1;
    memcpy(m->params.architecture, architecture, n < room ? n : room);
    return 0;
}

/* ---- which shards there are ---- */

static int check_shard_name(const Builder *b, const cJSON *item) {
    const char *name = cJSON_IsString(item) ? item->valuestring : NULL, *suffix = ".safetensors";
    if (!name)
        return error_set(b->err, ERR_FORMAT, "%s/%s: weight_map: the file of %s is no string", b->dir,
                         index_name, item->string);
    size_t n = strlen(name), s = strlen(suffix);
    if (strchr(name, '/') || strchr(name, '\\') || name[0] == '.' || n == 0)
        return error_set(
            b->err, ERR_FORMAT,
            "%s/%s: weight_map: %s is said to be in \"%s\"; the plain name of a file in this directory was "
            "expected",
            b->dir, index_name, item->string, name);
    if (n < s || strcmp(name + n - s, suffix))
        return error_set(b->err, ERR_UNSUPPORTED,
                         "%s/%s: weight_map: %s is in \"%s\"; only .safetensors files are read", b->dir,
                         index_name, item->string, name);
    return 0;
}

/* Gathers shards and which tensor is in which. */
static int read_weight_map(Builder *b, const cJSON *map) {
    Table *ids;
    size_t count = 0;
    for (const cJSON *item = map->child; item; item = item->next) count++;
    TRY(table_open(&b->shard_of, b->scratch, count, b->err));
    TRY(table_open(&ids, b->scratch, 64, b->err));
    b->shards = arena_alloc(b->scratch, count, sizeof *b->shards);
    if (!b->shards) return error_memory(b->err, "the list of shards");
    for (const cJSON *item = map->child; item; item = item->next) {
        TRY(check_shard_name(b, item));
        const char *name = item->valuestring;
        uint64_t id = b->n_shards;
        if (!table_get(ids, name, strlen(name), &id)) {
            if (table_put(ids, name, strlen(name), id)) return error_memory(b->err, "the list of shards");
            b->shards[b->n_shards++] = (Shard){.name = name, .id = id, .first_tensor = item->string};
        }
        b->shards[id].n_mapped++;
        if (table_put(b->shard_of, item->string, strlen(item->string), id))
            return error_memory(b->err, "the list of shards");
    }
    qsort(b->shards, b->n_shards, sizeof *b->shards, compare_shards);
    return 0;
}

static int read_index(Builder *b) {
    Input *in;
    char *text;
    TRY(add_file(b, index_name, SOURCE_INDEX, &in));
    TRY(read_json(b, in, INDEX_LIMIT, b->scratch, &text, &b->index));
    const cJSON *map = json_get(b->index, "weight_map");
    if (!cJSON_IsObject(map))
        return error_set(b->err, ERR_FORMAT, "%s/%s: weight_map is missing or no object", b->dir, index_name);
    TRY(read_weight_map(b, map));
    if (!exists(b, single_name)) return 0;
    for (size_t i = 0; i < b->n_shards; i++)
        if (!strcmp(b->shards[i].name, single_name)) return 0;
    return error_set(
        b->err, ERR_FORMAT,
        "%s holds both %s and an index that does not name it; some programs read one, some the other: remove "
        "the one that is not meant",
        b->dir, single_name);
}

/* Why there are no weights to read. */
static int no_weights(Builder *b) {
    DIR *dir = opendir(b->dir);
    bool pickled = false;
    for (struct dirent *d; dir && (d = readdir(dir));)
        if (!strncmp(d->d_name, "pytorch_model", 13) && strstr(d->d_name, ".bin")) pickled = true;
    if (dir) closedir(dir);
    if (pickled)
        return error_set(
            b->err, ERR_UNSUPPORTED,
            "%s holds its weights as pickles (pytorch_model*.bin), which can run code when they are "
            "read; convert them first: save_pretrained of transformers writes safetensors",
            b->dir);
    return error_set(b->err, ERR_IO, "%s holds no weights: neither %s nor %s is there", b->dir, single_name,
                     index_name);
}

static int find_shards(Builder *b) {
    if (exists(b, index_name)) return read_index(b);
    if (!exists(b, single_name)) return no_weights(b);
    b->shards = arena_alloc(b->scratch, 1, sizeof *b->shards);
    if (!b->shards) return error_memory(b->err, "the list of shards");
    b->shards[0].name = single_name;
    b->n_shards = 1;
    return 0;
}

/* ---- shards against the index ---- */

/* Old checkpoints store RoPE's table, which follows from the configuration; every reader ignores it. */
static bool is_ignored(const char *name) {
    static const char suffix[] = "rotary_emb.inv_freq";
    size_t n = strlen(name), s = sizeof suffix - 1;
    return n >= s && !strcmp(name + n - s, suffix);
}

/* The index puts more tensors into the shard than it holds: name one. */
static int missing_tensor(const Builder *b, const Shard *s) {
    Table *held;
    TRY(table_open(&held, b->scratch, s->header.n_entries, b->err));
    for (size_t i = 0; i < s->header.n_entries; i++) {
        const char *name = s->header.entries[i].name;
        if (table_put(held, name, strlen(name), i)) return error_memory(b->err, "the list of shards");
    }
    const char *missing = "a tensor";
    for (const cJSON *item = json_get(b->index, "weight_map")->child; item; item = item->next)
        if (!strcmp(item->valuestring, s->name) &&
            !table_get(held, item->string, strlen(item->string), NULL)) {
            missing = item->string;
            break;
        }
    return error_set(b->err, ERR_FORMAT, "%s/%s: %s is not in %s, where the index says it is", b->dir,
                     s->name, missing, s->name);
}

static int check_shard(const Builder *b, const Shard *s) {
    uint64_t n_found = 0;
    if (!b->shard_of) return 0;
    for (size_t i = 0; i < s->header.n_entries; i++) {
        const char *name = s->header.entries[i].name;
        uint64_t id;
        bool listed = table_get(b->shard_of, name, strlen(name), &id);
        if (listed && id == s->id)
            n_found++;
        else if (!is_ignored(name))
            return error_set(b->err, ERR_FORMAT, "%s/%s holds the tensor %s, which the index %s", b->dir,
                             s->name, name, listed ? "says is in another file" : "does not list");
    }
    return n_found == s->n_mapped ? 0 : missing_tensor(b, s);
}

static int open_shards(Builder *b) {
    for (size_t i = 0; i < b->n_shards; i++) {
        Shard *s = &b->shards[i];
        if (!exists(b, s->name))
            return error_set(b->err, ERR_IO,
                             "%s/%s is missing; the index says that it holds %llu tensors, %s among them: "
                             "the download may be "
                             "incomplete",
                             b->dir, s->name, (unsigned long long)s->n_mapped, s->first_tensor);
        TRY(add_file(b, s->name, SOURCE_WEIGHTS, &s->input));
        TRY(safetensors_read(&s->header, s->input, b->arena, b->err));
        TRY(check_shard(b, s));
    }
    return 0;
}

/* ---- the tensor table ---- */

/* Only a known family says how many experts there must be; a shard alone never does, since a layer's experts
 * may be split over two. */
static int count_tensors(const Builder *b, size_t *out) {
    const Model *m = b->m;
    for (size_t s = 0; s < b->n_shards; s++)
        for (size_t i = 0; i < b->shards[s].header.n_entries; i++) {
            const SafetensorsEntry *e = &b->shards[s].header.entries[i];
            if (is_ignored(e->name)) continue;
            FusedKind kind = m->family && m->params.n_experts ? fused_kind(e->name) : FUSED_NO;
            if (kind != FUSED_NO) TRY(fused_check(e, &m->params, input_path(b->shards[s].input), b->err));
            *out += fused_count(kind, m->params.n_experts);
        }
    if (*out) return 0;
    return error_set(b->err, ERR_FORMAT, "%s: its weight files hold no tensors", b->dir);
}

static int add_tensor(Builder *b, Tensor *t, Table *names, Input *in, const SafetensorsEntry *e) {
    Model *m = b->m;
    Extent *extent = arena_alloc(b->arena, 1, sizeof *extent);
    if (!extent) return error_memory(b->err, "the tensor table");
    *extent = (Extent){in, e->offset, e->length};
    *t = (Tensor){
        .name = e->name, .type = e->type, .stored = e->type, .n_dims = e->n_dims, .dims = {1, 1, 1, 1}};
    for (uint32_t i = 0; i < e->n_dims; i++) t->dims[i] = e->shape[e->n_dims - 1 - i];
    t->extents = extent;
    t->n_extents = e->length ? 1 : 0;
    int code = table_put(names, t->name, strlen(t->name), m->n_tensors);
    if (code == -1)
        return error_set(b->err, ERR_FORMAT, "%s: the tensor %s is there twice", input_path(in), t->name);
    if (code) return error_memory(b->err, "the tensor table");
    m->n_tensors++;
    return 0;
}

static int build_tensors(Builder *b) {
    Model *m = b->m;
    size_t count = 0;
    Table *names;
    TRY(count_tensors(b, &count));
    TRY(table_open(&names, b->arena, count, b->err));
    Tensor *tensors = arena_alloc(b->arena, count, sizeof *tensors);
    if (!tensors) return error_memory(b->err, "the tensor table");
    m->tensors = tensors;
    m->names = names;
    for (size_t s = 0; s < b->n_shards; s++)
        for (size_t i = 0; i < b->shards[s].header.n_entries; i++) {
            const SafetensorsEntry *e = &b->shards[s].header.entries[i];
            if (is_ignored(e->name)) continue;
            FusedKind kind = m->family && m->params.n_experts ? fused_kind(e->name) : FUSED_NO;
            size_t parts = fused_count(kind, m->params.n_experts);
            for (size_t p = 0; p < parts; p++) {
                SafetensorsEntry part = *e;
                if (kind != FUSED_NO) TRY(fused_part(&part, e, p, b->arena, b->err));
                TRY(add_tensor(b, &tensors[m->n_tensors], names, b->shards[s].input, &part));
            }
        }
    return 0;
}

/* ---- the directory ---- */

static int build(Builder *b) {
    enum { N_COMPANIONS = sizeof companions / sizeof companions[0] };
    Input *in;
    TRY(read_config(b));
    TRY(find_shards(b));
    SourceFile *files = arena_alloc(b->arena, 2 + N_COMPANIONS + b->n_shards, sizeof *files);
    if (!files) return error_memory(b->err, "the list of files");
    memcpy(files, b->files, b->m->n_files * sizeof *files);
    b->m->files = b->files = files;
    TRY(open_shards(b));
    for (size_t i = 0; i < N_COMPANIONS; i++)
        if (exists(b, companions[i].name)) TRY(add_file(b, companions[i].name, companions[i].role, &in));
    TRY(build_tensors(b));
    qsort(files, b->m->n_files, sizeof *files, compare_files);
    return 0;
}

static void close_checkpoint(Model *m) {
    for (size_t i = 0; i < m->n_files; i++) input_close(m->files[i].input);
    cJSON_Delete((cJSON *)m->config);
    arena_close(m->arena);
}

static int start(Builder *b) {
    Model *m = arena_alloc(b->arena, 1, sizeof *m);
    b->files = arena_alloc(b->scratch, 2,
                           sizeof *b->files); /* config.json and the index, until the shards are known */
    if (!m || !b->files) return error_memory(b->err, "a model");
    *m = (Model){.form = FORM_HF, .arena = b->arena, .close = close_checkpoint, .files = b->files};
    m->path = arena_string(b->arena, b->dir);
    if (!m->path) return error_memory(b->err, "a model");
    b->m = m;
    return build(b);
}

int checkpoint_open(Model **out, const char *directory, const Allocator *allocator, Error *err) {
    *out = NULL;
    Builder b = {.allocator = allocator, .dir = directory, .err = err};
    TRY(arena_open(&b.arena, allocator, err));
    int code = arena_open(&b.scratch, allocator, err);
    if (!code) code = start(&b);
    cJSON_Delete(b.index);
    if (code) {
        if (b.m)
            close_checkpoint(b.m);
        else
            arena_close(b.arena);
    } else {
        *out = b.m;
    }
    arena_close(b.scratch);
    return code;
}
