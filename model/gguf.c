/* gguf.c -- GGUF files become a model: one file, or all shards of a split one joined.
 *
 * A split model is its first shard's keys and all shards' tensors. The others are found beside the first by
 * name, and whatever does not fit (a shard of another model, an older one, one too few) is refused: a model
 * put together wrongly would run, and talk nonsense. */
#include "model/gguf.h"

#include "model/family.h"
#include "model/gguf_header.h"
#include "model/gguf_split.h"
#include <string.h>

typedef struct Opening {
    Model *model;
    Input **inputs; /* one a shard */
    size_t n_inputs;
    GgufHeader *headers;
    uint64_t limit; /* bytes left for headers */
    Arena *arena;
    const Allocator *allocator;
} Opening;

/* ---- what a shard says of itself ---- */

typedef struct SplitKeys {
    uint32_t number, count; /* number from 0 on */
    uint64_t n_tensors;     /* of all shards */
} SplitKeys;

static int take_key(uint64_t *out, const Metadata *m, const char *key, GgufType type, const char *path,
                    Error *err) {
    const GgufValue *v = metadata_get(m, key);
    if (!v)
        return error_set(err, ERR_FORMAT, "%s: %s is missing, though split.count says that it is a shard",
                         path, key);
    if (v->type != type)
        return error_set(err, ERR_FORMAT, "%s: %s has type %s; llama.cpp reads it as %s only", path, key,
                         gguf_type_name(v->type), gguf_type_name(type));
    if (type == GGUF_I32 && v->i < 0)
        return error_set(err, ERR_FORMAT, "%s: %s is negative (%lld)", path, key, (long long)v->i);
    *out = type == GGUF_I32 ? (uint64_t)v->i : v->u;
    return 0;
}

static int take_split_keys(SplitKeys *out, const Metadata *m, const char *path, Error *err) {
    uint64_t number, count;
    TRY(take_key(&count, m, "split.count", GGUF_U16, path, err));
    TRY(take_key(&number, m, "split.no", GGUF_U16, path, err));
    TRY(take_key(&out->n_tensors, m, "split.tensors.count", GGUF_I32, path, err));
    out->number = (uint32_t)number;
    out->count = (uint32_t)count;
    return 0;
}

/* ---- the shards ---- */

static int check_name(const char *path, const SplitKeys *keys, Error *err) {
    uint32_t number, count;
    if (gguf_is_shard_path(path, &number, &count) && number == keys->number + 1 && count == keys->count)
        return 0;
    return error_set(err, ERR_FORMAT,
                     "%s: its keys say shard %u of %u, so its name must end in -%05u-of-%05u.gguf; give the "
                     "shards their names back",
                     path, keys->number + 1, keys->count, keys->number + 1, keys->count);
}

static int check_first(Opening *o, const SplitKeys *keys, Error *err) {
    const char *path = input_path(o->inputs[0]);
    if (keys->number >= keys->count)
        return error_set(err, ERR_FORMAT, "%s: split.no is %u, but split.count is %u", path, keys->number,
                         keys->count);
    TRY(check_name(path, keys, err));
    if (keys->number == 0) return 0;
    char *first = gguf_shard_path(o->arena, path, 0, keys->count);
    if (!first) return error_memory(err, "a path");
    return error_set(err, ERR_UNSUPPORTED, "%s is shard %u of %u of a model: name the first one, %s", path,
                     keys->number + 1, keys->count, first);
}

static int check_shard(const Metadata *m, const char *path, const SplitKeys *first, size_t index,
                       Error *err) {
    SplitKeys keys;
    TRY(take_split_keys(&keys, m, path, err));
    if (keys.number != index)
        return error_set(err, ERR_FORMAT,
                         "%s: split.no is %u, expected %zu: it is another shard under this name", path,
                         keys.number, index);
    if (keys.count != first->count)
        return error_set(err, ERR_FORMAT,
                         "%s: split.count is %u, but shard 1 says %u: it is of another model", path,
                         keys.count, first->count);
    if (keys.n_tensors != first->n_tensors)
        return error_set(err, ERR_FORMAT,
                         "%s: split.tensors.count is %llu, but shard 1 says %llu: it is of another model",
                         path, (unsigned long long)keys.n_tensors, (unsigned long long)first->n_tensors);
    for (size_t i = 0; i < metadata_slots(m); i++)
        if (!gguf_is_split_key(metadata_slot(m, i)))
            return error_set(
                err, ERR_FORMAT,
                "%s: it has the key %.64s, which llama.cpp would ignore: only shard 1 holds keys", path,
                metadata_slot(m, i)->key.data);
    return 0;
}

static int open_shard(Opening *o, const SplitKeys *first, size_t index, Error *err) {
    const char *path = gguf_shard_path(o->arena, input_path(o->inputs[0]), index, first->count);
    if (!path) return error_memory(err, "a path");
    TRY(input_open(&o->inputs[index], path, o->allocator, err));
    o->n_inputs++;
    TRY(gguf_header_read(&o->headers[index], o->inputs[index], &o->limit, o->arena, o->allocator, err));
    return check_shard(o->headers[index].metadata, path, first, index, err);
}

static int open_shards(Opening *o, const SplitKeys *first, Error *err) {
    Input *input = o->inputs[0];
    GgufHeader header = o->headers[0];
    TRY(check_first(o, first, err));
    o->inputs = arena_alloc(o->arena, first->count, sizeof *o->inputs);
    o->headers = arena_alloc(o->arena, first->count, sizeof *o->headers);
    if (!o->inputs || !o->headers) {
        o->n_inputs = 0;
        return error_memory(err, "the shards of a model");
    }
    o->inputs[0] = input;
    o->headers[0] = header;
    for (size_t i = 1; i < first->count; i++) {
        int code = open_shard(o, first, i, err);
        if (code) return error_wrap(err, code, "shard %zu of %u", i + 1, first->count);
    }
    return 0;
}

/* ---- joining ---- */

static int add_tensors(Model *m, Table *names, const Opening *o, size_t shard, size_t begin, Error *err) {
    const GgufHeader *h = &o->headers[shard];
    for (size_t i = 0; i < h->n_tensors; i++) {
        const char *name = h->tensors[i].name;
        int code = table_put(names, name, strlen(name), begin + i);
        if (code == -1) {
            const char *other = input_path(model_find(m, name)->extents[0].file);
            return error_set(err, ERR_FORMAT, "%s: tensor %s is in %s already", input_path(o->inputs[shard]),
                             name, other);
        }
        if (code) return error_memory(err, "the tensor table");
    }
    return 0;
}

static int join_tensors(Opening *o, const SplitKeys *keys, Error *err) {
    Model *m = o->model;
    size_t total = 0, at = 0;
    Table *names;
    for (size_t i = 0; i < o->n_inputs; i++)
        total += o->headers[i].n_tensors; /* each counted in bytes read */
    if (total != keys->n_tensors)
        return error_set(err, ERR_FORMAT,
                         "%s: split.tensors.count is %llu, but the %u shards hold %zu tensors", m->path,
                         (unsigned long long)keys->n_tensors, keys->count, total);
    Tensor *tensors = arena_alloc(o->arena, total, sizeof *tensors);
    if (!tensors) return error_memory(err, "the tensor table");
    TRY(table_open(&names, o->arena, total, err));
    m->tensors = tensors;
    m->names = names;
    m->n_tensors = total;
    for (size_t i = 0; i < o->n_inputs; i++) {
        const GgufHeader *h = &o->headers[i];
        if (h->n_tensors) memcpy(tensors + at, h->tensors, h->n_tensors * sizeof *tensors);
        TRY(add_tensors(m, names, o, i, at, err));
        at += h->n_tensors;
    }
    return 0;
}

/* A whole file keeps its keys as they are (llama-gguf-split --merge leaves split.count = 0 behind). */
static int join(Opening *o, Error *err) {
    Model *m = o->model;
    const GgufHeader *h = o->headers;
    const GgufValue *count = metadata_get(h->metadata, "split.count");
    SplitKeys keys;
    m->metadata = h->metadata;
    m->tensors = h->tensors;
    m->n_tensors = h->n_tensors;
    m->names = h->names;
    if (!count || (count->type == GGUF_U16 && count->u == 0)) return 0;
    TRY(take_split_keys(&keys, h->metadata, m->path, err));
    if (keys.count > 1) TRY(open_shards(o, &keys, err));
    TRY(join_tensors(o, &keys, err));
    gguf_unset_split_keys(o->headers[0].metadata);
    return 0;
}

/* ---- the model ---- */

/* Parameters, as far as they can be told. Files that hold no model of their own (adapters, projectors,
 * importance matrices) have at most an architecture's name and not its keys: they stay without a family. */
static int read_params(Model *m, Error *err) {
    if (!metadata_get(m->metadata, "general.architecture")) return 0;
    TRY(params_from_metadata(&m->params, m->metadata, err));
    const char *kind = metadata_string(m->metadata, "general.type");
    if (kind && strcmp(kind, "model")) return 0;
    m->family = family_by_gguf(m->params.architecture);
    if (!m->family) return 0;
    m->params.tied_embeddings =
        !model_find(m, "output.weight"); /* llama.cpp's rule: there is no key for it */
    return m->family->check_params(&m->params, err);
}

static void close_gguf(Model *m) {
    for (size_t i = 0; i < m->n_files; i++) input_close(m->files[i].input);
    arena_close(m->arena);
}

static int list_files(Opening *o, Error *err) {
    Model *m = o->model;
    SourceFile *files = arena_alloc(o->arena, o->n_inputs, sizeof *files);
    if (!files) return error_memory(err, "a model");
    for (size_t i = 0; i < o->n_inputs; i++) {
        const char *name = arena_string(o->arena, input_name(o->inputs[i]));
        if (!name) return error_memory(err, "a model");
        files[i] = (SourceFile){.name = name, .input = o->inputs[i], .role = SOURCE_WEIGHTS};
    }
    m->files = files;
    m->n_files = o->n_inputs;
    return 0;
}

/* as_shard: the file by itself, its split keys like any others. */
static int build(Opening *o, bool as_shard, Error *err) {
    Model *m = arena_alloc(o->arena, 1, sizeof *m);
    const char *path = arena_string(o->arena, input_path(o->inputs[0]));
    if (!m || !path) return error_memory(err, "a model");
    *m = (Model){.form = FORM_GGUF, .path = path, .arena = o->arena, .close = close_gguf};
    o->model = m;
    TRY(gguf_header_read(&o->headers[0], o->inputs[0], &o->limit, o->arena, o->allocator, err));
    if (as_shard) {
        const GgufHeader *h = o->headers;
        m->metadata = h->metadata;
        m->tensors = h->tensors;
        m->n_tensors = h->n_tensors;
        m->names = h->names;
    } else {
        TRY(join(o, err));
        int code = read_params(m, err);
        if (code) return error_wrap(err, code, "%s", path);
    }
    return list_files(o, err);
}

static int open_input(Model **out, Input *in, bool as_shard, const Allocator *allocator, Error *err) {
    *out = NULL;
    GgufHeader header;
    Opening o = {
        .inputs = &in, .n_inputs = 1, .headers = &header, .limit = GGUF_MAX_HEADER, .allocator = allocator};
    TRY(arena_open(&o.arena, allocator, err));
    int code = build(&o, as_shard, err);
    if (code) {
        for (size_t i = 1; i < o.n_inputs; i++)
            input_close(o.inputs[i]); /* the first is the caller's still */
        arena_close(o.arena);
        return code;
    }
    *out = o.model;
    return 0;
}

int gguf_open_input(Model **out, Input *in, const Allocator *allocator, Error *err) {
    return open_input(out, in, false, allocator, err);
}

int gguf_open_shard(Model **out, Input *in, const Allocator *allocator, Error *err) {
    return open_input(out, in, true, allocator, err);
}

int gguf_open(Model **out, const char *path, const Allocator *allocator, Error *err) {
    *out = NULL;
    Input *in;
    TRY(input_open(&in, path, allocator, err));
    int code = gguf_open_input(out, in, allocator, err);
    if (code) input_close(in);
    return code;
}
