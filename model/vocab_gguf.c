/* vocab_gguf.c -- the vocabulary's GGUF form, read and written: tokenizer.* keys as llama.cpp's converter and
 * run time use them. */
#include "model/vocab_private.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

static const GgufArray *get_array(const Metadata *m, const char *key) {
    const GgufValue *value = metadata_get(m, key);
    return value && value->type == GGUF_ARRAY ? &value->array : NULL;
}

static int check_kind(const Metadata *m, const char *where, Error *err) {
    const char *model = metadata_string(m, "tokenizer.ggml.model"),
               *pre = metadata_string(m, "tokenizer.ggml.pre");
    if (!model)
        return error_set(err, ERR_FORMAT, "%s: tokenizer.ggml.model is missing: the file holds no vocabulary",
                         where);
    if (strcmp(model, "gpt2") != 0 || !pre || strcmp(pre, "qwen2") != 0) {
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: the tokenizer is model \"%.40s\", pre \"%.40s\"; only Qwen2's is known "
                         "(\"gpt2\", \"qwen2\")",
                         where, model, pre ? pre : "(none)");
    }
    return 0;
}

static int read_tokens(VocabBuilder *b, const Metadata *m, Error *err) {
    const GgufArray *tokens = get_array(m, "tokenizer.ggml.tokens");
    const GgufArray *types = get_array(m, "tokenizer.ggml.token_type");
    if (!tokens || tokens->type != GGUF_STRING) {
        return error_set(err, ERR_FORMAT, "%s: tokenizer.ggml.tokens is missing or no list of strings",
                         b->where);
    }
    if (!types || (types->type != GGUF_I32 && types->type != GGUF_U32) || types->count != tokens->count) {
        return error_set(err, ERR_FORMAT,
                         "%s: tokenizer.ggml.token_type must be a list of %llu i32, one for each token",
                         b->where, (unsigned long long)tokens->count);
    }
    TRY(vocab_builder_tokens(b, tokens->count, err));
    for (uint32_t id = 0; id < b->v->n_tokens; id++) {
        uint32_t type = load_u32((const unsigned char *)types->raw + 4 * (size_t)id);
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE) {
            return error_set(err, ERR_FORMAT, "%s: token %u has type %d; expected 1 to 6", b->where, id,
                             (int)type);
        }
        TRY(vocab_add_token(b, id, tokens->strings[id], (TokenType)type, err));
    }
    return 0;
}

static int read_merges(VocabBuilder *b, const Metadata *m, Error *err) {
    const GgufArray *merges = get_array(m, "tokenizer.ggml.merges");
    if (!metadata_get(m, "tokenizer.ggml.merges"))
        return vocab_builder_merges(b, 0, err); /* an empty list is not written */
    if (!merges || merges->type != GGUF_STRING) {
        return error_set(err, ERR_FORMAT, "%s: tokenizer.ggml.merges is no list of strings", b->where);
    }
    TRY(vocab_builder_merges(b, merges->count, err));
    for (uint32_t rank = 0; rank < b->v->n_merges; rank++)
        TRY(vocab_add_merge(b, rank, merges->strings[rank], err));
    return 0;
}

/* In the order of the file. An id beyond the vocabulary counts as none, as in llama.cpp: writers of old
 * spelled "none" as 4294967295. */
static void read_special_ids(VocabBuilder *b, const Metadata *m) {
    for (size_t i = 0; i < metadata_slots(m); i++) {
        const GgufKv *kv = metadata_slot(m, i);
        if (kv->removed) continue;
        for (size_t k = 0; k < SPECIAL_KINDS; k++) {
            char key[64];
            uint32_t id;
            snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", vocab_special_kinds[k].name);
            if (kv->key.length != strlen(key) || memcmp(kv->key.data, key, strlen(key)) != 0) continue;
            if (metadata_u32(m, key, &id) && id < b->v->n_tokens)
                vocab_add_special(b, &vocab_special_kinds[k], id);
        }
    }
}

static int read_templates(VocabBuilder *b, const Metadata *m, Error *err) {
    Vocab *v = b->v;
    v->chat_template = metadata_string(m, "tokenizer.chat_template");
    const GgufArray *names = get_array(m, "tokenizer.chat_templates");
    if (!names || names->type != GGUF_STRING) return 0;
    NamedTemplate *named = arena_alloc(v->arena, (size_t)names->count, sizeof *named);
    if (!named) return error_memory(err, "the chat templates");
    for (uint64_t i = 0; i < names->count; i++) {
        char *key = arena_printf(v->arena, "tokenizer.chat_template.%s", names->strings[i].data);
        if (!key) return error_memory(err, "the chat templates");
        named[i].name = names->strings[i].data;
        named[i].text = metadata_string(m, key);
        if (!named[i].text) return error_set(err, ERR_FORMAT, "%s: %.80s is missing", b->where, key);
    }
    TRY(vocab_sort_templates(named, (size_t)names->count, b->where, err));
    v->templates = named;
    v->n_templates = (size_t)names->count;
    return 0;
}

int vocab_read_gguf(VocabBuilder *b, const Model *m, Error *err) {
    Vocab *v = b->v;
    const Metadata *meta = m->metadata;
    TRY(check_kind(meta, b->where, err));
    TRY(read_tokens(b, meta, err));
    if (m->params.n_vocab && m->params.n_vocab != v->n_tokens) {
        return error_set(err, ERR_FORMAT, "%s: %u tokens, but the embedding has %u rows", b->where,
                         v->n_tokens, m->params.n_vocab);
    }
    TRY(read_merges(b, meta, err));
    read_special_ids(b, meta);
    v->has_add_bos = metadata_bool(meta, "tokenizer.ggml.add_bos_token", &v->add_bos);
    v->has_add_eos = metadata_bool(meta, "tokenizer.ggml.add_eos_token", &v->add_eos);
    v->has_add_sep = metadata_bool(meta, "tokenizer.ggml.add_sep_token", &v->add_sep);
    return read_templates(b, meta, err);
}

/* ---- writing ---- */

/* llama.cpp's converter spells U+2581 in a user-defined token as a space. */
static int plain_spaces(GgufString *text, Arena *arena, Error *err) {
    static const char bar[] = "\xE2\x96\x81";
    if (!memmem(text->data, (size_t)text->length, bar, 3)) return 0;
    char *copy = arena_copy(arena, text->data, (size_t)text->length);
    if (!copy) return error_memory(err, "the table of tokens");
    size_t n = 0;
    for (size_t i = 0; i < text->length;) {
        bool is_bar = text->length - i >= 3 && memcmp(copy + i, bar, 3) == 0;
        copy[n++] = is_bar ? ' ' : copy[i];
        i += is_bar ? 3 : 1;
    }
    copy[n] = 0;
    *text = (GgufString){copy, n};
    return 0;
}

static int set_array(Metadata *m, const char *key, GgufArray array, Error *err) {
    if (array.count == 0) return 0; /* gguf-py writes no empty list */
    return metadata_set(m, key, (GgufValue){.type = GGUF_ARRAY, .array = array}, err);
}

static int write_tokens(Metadata *m, const Vocab *v, Arena *scratch, Error *err) {
    GgufString *tokens = arena_alloc(scratch, v->n_tokens, sizeof *tokens);
    unsigned char *types = arena_alloc(scratch, v->n_tokens, 4);
    if (!tokens || !types) return error_memory(err, "the table of tokens");
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        tokens[id] = v->tokens[id];
        if (v->types[id] == TOKEN_USER_DEFINED) TRY(plain_spaces(&tokens[id], scratch, err));
        types[4 * (size_t)id] = (unsigned char)v->types[id]; /* little-endian; a type is at most 6 */
    }
    TRY(set_array(m, "tokenizer.ggml.tokens", (GgufArray){GGUF_STRING, v->n_tokens, NULL, tokens}, err));
    return set_array(m, "tokenizer.ggml.token_type", (GgufArray){GGUF_I32, v->n_tokens, types, NULL}, err);
}

static int write_special_ids(Metadata *m, const Vocab *v, Error *err) {
    for (const char *const *name = v->id_order; *name; name++) {
        for (size_t k = 0; k < SPECIAL_KINDS; k++) {
            const SpecialKind *kind = &vocab_special_kinds[k];
            if (strcmp(kind->name, *name) != 0) continue;
            char key[64];
            snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", kind->name);
            TRY(metadata_set_u32(m, key, (uint32_t)vocab_special(v, kind), err));
        }
    }
    if (v->has_add_bos) TRY(metadata_set_bool(m, "tokenizer.ggml.add_bos_token", v->add_bos, err));
    if (v->has_add_eos) TRY(metadata_set_bool(m, "tokenizer.ggml.add_eos_token", v->add_eos, err));
    if (v->has_add_sep) TRY(metadata_set_bool(m, "tokenizer.ggml.add_sep_token", v->add_sep, err));
    return 0;
}

/* Named templates first, then the list of their names, then the default one, as gguf-py does. */
static int write_templates(Metadata *m, const Vocab *v, Arena *scratch, Error *err) {
    const char **names = arena_alloc(scratch, v->n_templates, sizeof *names);
    if (!names) return error_memory(err, "the chat templates");
    for (size_t i = 0; i < v->n_templates; i++) {
        const NamedTemplate *t = &v->templates[i];
        char *key = arena_printf(scratch, "tokenizer.chat_template.%s", t->name);
        if (!key) return error_memory(err, "the chat templates");
        names[i] = t->name;
        TRY(metadata_set_string(m, key, t->text, err));
    }
    if (v->n_templates) TRY(metadata_set_strings(m, "tokenizer.chat_templates", names, v->n_templates, err));
    if (v->chat_template) TRY(metadata_set_string(m, "tokenizer.chat_template", v->chat_template, err));
    return 0;
}

static int write_all(Metadata *m, const Vocab *v, Arena *scratch, Error *err) {
    TRY(metadata_set_string(m, "tokenizer.ggml.model", "gpt2", err));
    TRY(metadata_set_string(m, "tokenizer.ggml.pre", v->pre, err));
    TRY(write_tokens(m, v, scratch, err));
    TRY(set_array(m, "tokenizer.ggml.merges", (GgufArray){GGUF_STRING, v->n_merges, NULL, v->merges}, err));
    TRY(write_special_ids(m, v, err));
    return write_templates(m, v, scratch, err);
}

int vocab_to_metadata(Metadata *m, const Vocab *v, Error *err) {
    Arena *scratch;
    TRY(arena_open(&scratch, NULL, err));
    int code = write_all(m, v, scratch, err);
    arena_close(scratch);
    return code;
}
