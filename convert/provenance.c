/* provenance.c -- the recast.* keys of a GGUF file, written and read back (docs/provenance.md).
 *
 * Written: what the caller knows of source, recipe and changes. Read: with the checks that need nothing but
 * the keys themselves; whether they tell the truth about the tensors is validate's business. */
#include "convert/provenance.h"

#include "model/lora.h"
#include "model/model_id.h"
#include <string.h>

/* ---- writing ---- */

/* Empty strings are left out: llama.cpp's writer drops them, and then two tools would disagree about the
 * keys. */
static int set_text(Metadata *m, const char *key, const char *value, Error *err) {
    return value && value[0] ? metadata_set_string(m, key, value, err) : 0;
}

static int set_title(Metadata *m, const char *key, const char *id, Arena *arena, Error *err) {
    if (!id) return 0;
    const char *title = model_id_title(id, arena);
    return title ? set_text(m, key, title, err) : error_memory(err, key);
}

static void unset_prefix(Metadata *m, const char *prefix) {
    for (size_t i = 0; i < metadata_slots(m); i++) {
        const GgufKv *kv = metadata_slot(m, i);
        if (!kv->removed && strncmp(kv->key.data, prefix, strlen(prefix)) == 0)
            metadata_unset(m, kv->key.data);
    }
}

/* The keys that llama.cpp's converter derives from a model card's "base_model: Org/Model-Name". A model made
 * from another GGUF may hold some already, about what that one was made from; the base of this one is `repo`.
 */
static int set_base_model(Metadata *m, const char *repo, Arena *arena, Error *err) {
    ModelId id;
    TRY(model_id_parse(&id, repo, 0, arena, err));
    const char *url = arena_printf(arena, "https://huggingface.co/%s", repo);
    if (!url) return error_memory(err, "the provenance keys");
    unset_prefix(m, "general.base_model.");
    unset_prefix(m, "general.source.");
    TRY(metadata_set_u32(m, "general.base_model.count", 1, err));
    TRY(set_title(m, "general.base_model.0.name", id.name, arena, err));
    TRY(set_text(m, "general.base_model.0.version", id.version, err));
    TRY(set_title(m, "general.base_model.0.organization", id.organization, arena, err));
    TRY(metadata_set_string(m, "general.base_model.0.repo_url", url, err));
    return metadata_set_string(m, "general.source.repo_url", url, err);
}

static int set_recipe(Metadata *m, const char *derivation, Error *err) {
    char hex[SHA256_HEX];
    if (!derivation || !derivation[0]) return 0;
    TRY(sha256_bytes(hex, derivation, strlen(derivation), err));
    TRY(metadata_set_string(m, "recast.recipe", derivation, err));
    return metadata_set_string(m, "recast.recipe.sha256", hex, err);
}

static int set_strings(Metadata *m, const char *key, const GgufString *strings, size_t count, Error *err) {
    if (count == 0) return 0;
    GgufValue v = {.type = GGUF_ARRAY, .array = {.type = GGUF_STRING, .count = count, .strings = strings}};
    return metadata_set(m, key, v, err);
}

static GgufString as_gguf(const char *s) {
    return (GgufString){s, strlen(s)};
}

static int set_files(Metadata *m, const SourceProof *proof, Arena *arena, Error *err) {
    if (!proof) return 0;
    GgufString *names = arena_alloc(arena, proof->n_files, sizeof *names);
    GgufString *hashes = arena_alloc(arena, proof->n_files, sizeof *hashes);
    if (!names || !hashes) return error_memory(err, "the provenance keys");
    for (size_t i = 0; i < proof->n_files; i++) {
        names[i] = as_gguf(proof->files[i].name);
        hashes[i] = as_gguf(proof->files[i].sha256);
    }
    TRY(set_strings(m, "recast.source.names", names, proof->n_files, err));
    TRY(set_strings(m, "recast.source.sha256", hashes, proof->n_files, err));
    return set_text(m, "recast.weights.sha256", proof->weights_sha256, err);
}

static int set_changes(Metadata *m, const Provenance *p, Arena *arena, Error *err) {
    GgufString *lines = arena_alloc(arena, p->n_changes, sizeof *lines);
    if (!lines) return error_memory(err, "the provenance keys");
    for (size_t i = 0; i < p->n_changes; i++) {
        const Change *c = &p->changes[i];
        const char *line = arena_printf(arena, "%s: %s -> %s", c->key, c->old_value, c->new_value);
        if (!line) return error_memory(err, "the provenance keys");
        lines[i] = as_gguf(line);
    }
    return set_strings(m, "recast.overrides", lines, p->n_changes, err);
}

static int set_adapters(Metadata *m, const Lora *lora, Arena *arena, Error *err) {
    const LoraAdapterInfo *infos;
    size_t n = lora ? lora_adapters(lora, &infos) : 0, pairs = 0;
    if (!n) return 0;
    GgufString *weights = arena_alloc(arena, n, sizeof *weights);
    GgufString *configs = arena_alloc(arena, n, sizeof *configs);
    GgufString *scales = arena_alloc(arena, n, sizeof *scales);
    if (!weights || !configs || !scales) return error_memory(err, "the provenance keys");
    for (size_t i = 0; i < n; i++) {
        const char *scale = arena_printf(arena, "%.9g", infos[i].scale);
        if (!scale) return error_memory(err, "the provenance keys");
        weights[i] = as_gguf(infos[i].weights_sha256);
        configs[i] = as_gguf(infos[i].config_sha256);
        scales[i] = as_gguf(scale);
        pairs += infos[i].n_pairs + infos[i].n_replaced;
    }
    TRY(set_strings(m, "recast.lora.sha256", weights, n, err));
    TRY(set_strings(m, "recast.lora.config_sha256", configs, n, err));
    TRY(set_strings(m, "recast.lora.scale", scales, n, err));
    TRY(metadata_set_u32(m, "recast.lora.applied", (uint32_t)pairs, err));
    return metadata_set_u32(m, "recast.lora.tensors", (uint32_t)lora_tensors(lora), err);
}

static int set_tags(Metadata *m, const Provenance *p, Error *err) {
    return p->n_tags ? metadata_set_strings(m, "general.tags", p->tags, p->n_tags, err) : 0;
}

static int set_all(Metadata *m, const Provenance *p, Arena *arena, Error *err) {
    TRY(set_text(m, "general.author", p->author, err));
    TRY(set_text(m, "general.license", p->license, err));
    if (p->repo && p->repo[0]) TRY(set_base_model(m, p->repo, arena, err));
    TRY(set_tags(m, p, err));
    unset_prefix(m, "recast.");
    TRY(metadata_set_u32(m, "recast.derivation", RECAST_DERIVATION, err));
    TRY(set_recipe(m, p->derivation, err));
    TRY(set_text(m, "recast.source.repo", p->repo, err));
    TRY(set_text(m, "recast.source.commit", p->commit, err));
    TRY(set_files(m, p->proof, arena, err));
    TRY(set_changes(m, p, arena, err));
    TRY(set_adapters(m, p->lora, arena, err));
    TRY(set_text(m, "recast.output", p->output, err));
    return metadata_set_bool(m, "recast.edited", false, err);
}

int provenance_set(Metadata *m, const Provenance *p, Error *err) {
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    int code = set_all(m, p, arena, err);
    arena_close(arena);
    return code;
}

/* ---- reading ---- */

static int wrong_type(Error *err, const char *key, const char *expected) {
    return error_set(err, ERR_FORMAT, "%s is not %s: this file's provenance is damaged", key, expected);
}

static int get_text(const char **out, const Metadata *m, const char *key, Error *err) {
    *out = NULL;
    if (!metadata_get(m, key)) return 0;
    *out = metadata_string(m, key);
    if (*out && (*out)[0]) return 0;
    return wrong_type(err, key, "a string that says something");
}

static int get_hash(const char **out, const Metadata *m, const char *key, Error *err) {
    TRY(get_text(out, m, key, err));
    return !*out || sha256_is_hex(*out) ? 0 : wrong_type(err, key, "a SHA-256 of 64 lower-case hex digits");
}

static int get_strings(const GgufString **out, size_t *count, const Metadata *m, const char *key,
                       Error *err) {
    *out = NULL;
    *count = 0;
    const GgufValue *v = metadata_get(m, key);
    if (!v) return 0;
    if (v->type != GGUF_ARRAY || v->array.type != GGUF_STRING || v->array.count == 0) {
        return wrong_type(err, key, "an array of strings");
    }
    for (uint64_t i = 0; i < v->array.count; i++) {
        const GgufString *s = &v->array.strings[i];
        if (s->length == 0 || memchr(s->data, 0, s->length))
            return wrong_type(err, key, "an array of strings without NULs");
    }
    *out = v->array.strings;
    *count = (size_t)v->array.count;
    return 0;
}

static int get_files(ProvenanceRead *out, const Metadata *m, Error *err) {
    size_t n_hashes;
    TRY(get_strings(&out->names, &out->n_files, m, "recast.source.names", err));
    TRY(get_strings(&out->sha256, &n_hashes, m, "recast.source.sha256", err));
    if (n_hashes != out->n_files) {
        return error_set(
            err, ERR_FORMAT,
            "recast.source.names names %zu files and recast.source.sha256 has %zu hashes: this file's "
            "provenance is damaged",
            out->n_files, n_hashes);
    }
    for (size_t i = 0; i < n_hashes; i++) {
        if (!sha256_is_hex(out->sha256[i].data))
            return wrong_type(err, "recast.source.sha256", "a list of SHA-256 values");
    }
    return 0;
}

static int get_recipe(ProvenanceRead *out, const Metadata *m, Error *err) {
    char hex[SHA256_HEX];
    TRY(get_text(&out->derivation, m, "recast.recipe", err));
    TRY(get_hash(&out->derivation_sha256, m, "recast.recipe.sha256", err));
    if (!out->derivation != !out->derivation_sha256) {
        return error_set(err, ERR_FORMAT,
                         "recast.recipe and recast.recipe.sha256 belong together, and one is missing");
    }
    if (!out->derivation) return 0;
    TRY(sha256_bytes(hex, out->derivation, strlen(out->derivation), err));
    if (strcmp(hex, out->derivation_sha256) == 0) return 0;
    return error_set(err, ERR_FORMAT,
                     "recast.recipe has SHA-256 %s, but recast.recipe.sha256 says %s: one was changed", hex,
                     out->derivation_sha256);
}

/* recast.pad (clone.h) tells nothing and stands in files of any origin. */
static const GgufKv *find_any(const Metadata *m) {
    for (size_t i = 0; i < metadata_slots(m); i++) {
        const GgufKv *kv = metadata_slot(m, i);
        if (kv->removed || strncmp(kv->key.data, "recast.", 7) || !strcmp(kv->key.data, "recast.pad"))
            continue;
        return kv;
    }
    return NULL;
}

static int get_adapters(ProvenanceRead *out, const Metadata *m, Error *err) {
    size_t n_scales;
    TRY(get_strings(&out->adapters, &out->n_adapters, m, "recast.lora.sha256", err));
    TRY(get_strings(&out->scales, &n_scales, m, "recast.lora.scale", err));
    if (out->scales && n_scales != out->n_adapters)
        return error_set(err, ERR_FORMAT,
                         "recast.lora.sha256 names %zu adapters and recast.lora.scale has %zu numbers: this "
                         "file's provenance is damaged",
                         out->n_adapters, n_scales);
    metadata_u32(m, "recast.lora.applied", &out->applied);
    metadata_u32(m, "recast.lora.tensors", &out->merged);
    return 0;
}

int provenance_read(ProvenanceRead *out, const Metadata *m, Error *err) {
    *out = (ProvenanceRead){0};
    const GgufKv *any = find_any(m);
    if (!any) return 0;
    out->present = true;
    if (!metadata_get(m, "recast.derivation")) {
        return error_set(err, ERR_FORMAT,
                         "%s is there but recast.derivation is not: a tool dropped provenance keys",
                         any->key.data);
    }
    if (!metadata_u32(m, "recast.derivation", &out->derivation_version)) {
        return wrong_type(err, "recast.derivation", "a u32");
    }
    TRY(get_recipe(out, m, err));
    TRY(get_text(&out->repo, m, "recast.source.repo", err));
    TRY(get_text(&out->commit, m, "recast.source.commit", err));
    TRY(get_files(out, m, err));
    TRY(get_hash(&out->weights_sha256, m, "recast.weights.sha256", err));
    TRY(get_strings(&out->changes, &out->n_changes, m, "recast.overrides", err));
    TRY(get_adapters(out, m, err));
    TRY(get_text(&out->output, m, "recast.output", err));
    if (metadata_get(m, "recast.edited") && !metadata_bool(m, "recast.edited", &out->edited)) {
        return wrong_type(err, "recast.edited", "a bool");
    }
    return 0;
}
