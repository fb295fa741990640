/* vocab_hf.c -- tokens and merges out of tokenizer.json. The types of added tokens follow llama.cpp's
 * converter, so that the GGUF form is the one that others write. */
#include "model/vocab_private.h"

#include <stdio.h>
#include <string.h>

enum { TOKENIZER_LIMIT = 256 << 20 }; /* bytes of a tokenizer file; Qwen's is 11 MB */

/* ---- files ---- */

const SourceFile *vocab_source(const Model *m, const char *name) {
    for (size_t i = 0; i < m->n_files; i++) {
        if (strcmp(m->files[i].name, name) == 0) return &m->files[i];
    }
    return NULL;
}

int vocab_source_text(const SourceFile *f, char **text, size_t *length, Arena *arena, Error *err) {
    uint64_t size = input_size(f->input);
    if (size > TOKENIZER_LIMIT) {
        return error_set(err, ERR_LIMIT, "%s has %llu bytes; a tokenizer file of at most %d MiB is read",
                         input_path(f->input), (unsigned long long)size, TOKENIZER_LIMIT >> 20);
    }
    *length = (size_t)size;
    *text = arena_alloc(arena, *length + 1, 1);
    if (!*text) return error_memory(err, input_path(f->input));
    return input_read(f->input, 0, *text, *length, err);
}

/* Parses a file that the vocabulary's arena need not keep. */
static int parse_source(const VocabBuilder *b, const SourceFile *f, cJSON **out, Error *err) {
    Arena *arena;
    char *text;
    size_t length;
    TRY(arena_open(&arena, b->allocator, err));
    int code = vocab_source_text(f, &text, &length, arena, err);
    if (!code) code = json_parse(out, text, length, input_path(f->input), err);
    arena_close(arena);
    return code;
}

/* ---- tokens ---- */

static int copy_text(const VocabBuilder *b, const char *string, GgufString *out, Error *err) {
    size_t length = strlen(string);
    out->data = arena_copy(b->v->arena, string, length);
    out->length = length;
    return out->data ? 0 : error_memory(err, "the table of tokens");
}

static int read_tokens(VocabBuilder *b, const cJSON *vocab, Error *err) {
    for (const cJSON *item = vocab->child; item; item = item->next) {
        uint32_t id;
        GgufString text;
        if (!json_u32(item, &id)) {
            return error_set(err, ERR_FORMAT, "%s: the id of token \"%.64s\" is no whole number", b->where,
                             item->string);
        }
        TRY(copy_text(b, item->string, &text, err));
        TRY(vocab_add_token(b, id, text, TOKEN_NORMAL, err));
    }
    return 0;
}

/* llama.cpp's converter takes these for control tokens even if tokenizer.json calls them not special. */
static bool looks_special(const char *text) {
    static const struct {
        const char *begin, *end;
    } brackets[] = {{"<|", "|>"}, {"<\xEF\xBD\x9C", "\xEF\xBD\x9C>"}, {"<unused", ">"}};
    static const char *const words[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    size_t length = strlen(text);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) return true;
    }
    for (size_t i = 0; i < sizeof brackets / sizeof *brackets; i++) {
        size_t begin = strlen(brackets[i].begin), end = strlen(brackets[i].end);
        if (length >= begin && length >= end && strncmp(text, brackets[i].begin, begin) == 0 &&
            strcmp(text + length - end, brackets[i].end) == 0) {
            return true;
        }
    }
    return false;
}

static int check_added_flags(const VocabBuilder *b, const cJSON *item, const char *content, Error *err) {
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        const cJSON *flag = json_present(item, flags[i]);
        if (flag && !cJSON_IsFalse(flag)) {
            return error_set(
                err, ERR_UNSUPPORTED,
                "%s: added token \"%.64s\" has \"%s\" set, which a GGUF can't say; only added tokens that "
                "match as they are spelled are known",
                b->where, content, flags[i]);
        }
    }
    return 0;
}

static int read_added_token(VocabBuilder *b, const cJSON *item, Error *err) {
    const cJSON *content = json_get(item, "content"), *special = json_present(item, "special");
    uint32_t id;
    if (!cJSON_IsString(content) || !*content->valuestring || !json_u32(json_get(item, "id"), &id)) {
        return error_set(err, ERR_FORMAT, "%s: an entry of added_tokens lacks an id or a content", b->where);
    }
    TRY(check_added_flags(b, item, content->valuestring, err));
    TokenType type =
        cJSON_IsTrue(special) || looks_special(content->valuestring) ? TOKEN_CONTROL : TOKEN_USER_DEFINED;
    GgufString text;
    TRY(copy_text(b, content->valuestring, &text, err));
    /* an added token may also be listed in model.vocab */
    if (id < b->v->n_tokens && b->types[id] == TOKEN_NORMAL && b->tokens[id].length == text.length &&
        memcmp(b->tokens[id].data, text.data, (size_t)text.length) == 0) {
        b->types[id] = type;
        return 0;
    }
    return vocab_add_token(b, id, text, type, err);
}

static int read_added_tokens(VocabBuilder *b, const cJSON *added, Error *err) {
    if (!added) return 0;
    if (!cJSON_IsArray(added)) return error_set(err, ERR_FORMAT, "%s: added_tokens is no list", b->where);
    for (const cJSON *item = added->child; item; item = item->next) TRY(read_added_token(b, item, err));
    return 0;
}

/* Rows of the embedding that no token uses. */
static int add_padding(VocabBuilder *b, Error *err) {
    for (uint32_t id = 0; id < b->v->n_tokens; id++) {
        if (b->tokens[id].data) continue;
        char *name = arena_printf(b->v->arena, "[PAD%u]", id);
        if (!name) return error_memory(err, "the table of tokens");
        TRY(vocab_add_token(b, id, (GgufString){name, strlen(name)}, TOKEN_UNUSED, err));
    }
    return 0;
}

/* ---- merges ---- */

static bool has_space(const char *s) {
    return strchr(s, ' ') != NULL;
}

/* "left right" (until tokenizers 0.19) or ["left", "right"]. */
static int read_merge(VocabBuilder *b, uint32_t rank, const cJSON *item, Error *err) {
    GgufString text;
    if (cJSON_IsString(item)) {
        TRY(copy_text(b, item->valuestring, &text, err));
        return vocab_add_merge(b, rank, text, err);
    }
    const cJSON *left = cJSON_IsArray(item) ? item->child : NULL, *right = left ? left->next : NULL;
    if (!cJSON_IsString(left) || !cJSON_IsString(right) || right->next) {
        return error_set(err, ERR_FORMAT, "%s: merge %u is neither a string nor a pair of strings", b->where,
                         rank);
    }
    if (has_space(left->valuestring) || has_space(right->valuestring)) {
        return error_set(err, ERR_FORMAT, "%s: merge %u holds a space, which byte-level tokens never do",
                         b->where, rank);
    }
    text.data = arena_printf(b->v->arena, "%s %s", left->valuestring, right->valuestring);
    if (!text.data) return error_memory(err, "the table of merges");
    text.length = strlen(text.data);
    return vocab_add_merge(b, rank, text, err);
}

static int read_merges(VocabBuilder *b, const cJSON *merges, Error *err) {
    if (!cJSON_IsArray(merges))
        return error_set(err, ERR_FORMAT, "%s: model.merges is missing or no list", b->where);
    TRY(vocab_builder_merges(b, (uint64_t)cJSON_GetArraySize(merges), err));
    uint32_t rank = 0;
    for (const cJSON *item = merges->child; item; item = item->next) TRY(read_merge(b, rank++, item, err));
    return 0;
}

/* ---- all of it ---- */

/* Rows of the embedding, or for a checkpoint that doesn't say, as many as the ids need. */
static uint64_t count_tokens(const Model *m, const cJSON *vocab, const cJSON *added) {
    uint64_t n = m->params.n_vocab;
    if (n) return n;
    uint32_t id;
    for (const cJSON *item = vocab->child; item; item = item->next) {
        if (json_u32(item, &id) && id >= n) n = (uint64_t)id + 1;
    }
    for (const cJSON *item = added ? added->child : NULL; item; item = item->next) {
        if (json_u32(json_get(item, "id"), &id) && id >= n) n = (uint64_t)id + 1;
    }
    return n;
}

static int read_tokenizer(VocabBuilder *b, const Model *m, const cJSON *root, Error *err) {
    TRY(vocab_check_pipeline(root, b->where, err));
    const cJSON *model = json_get(root, "model"), *vocab = json_get(model, "vocab");
    const cJSON *added = json_present(root, "added_tokens");
    if (!cJSON_IsObject(vocab))
        return error_set(err, ERR_FORMAT, "%s: model.vocab is missing or no object", b->where);
    TRY(vocab_builder_tokens(b, count_tokens(m, vocab, added), err));
    TRY(read_tokens(b, vocab, err));
    TRY(read_merges(b, json_get(model, "merges"), err)); /* before added tokens, which no merge may use */
    TRY(read_added_tokens(b, added, err));
    TRY(add_padding(b, err));
    /* ByteLevel decides that nothing is added around a text, whatever tokenizer_config.json says */
    if (json_present(root, "post_processor")) b->v->has_add_bos = b->v->has_add_eos = true;
    return 0;
}

int vocab_read_hf(VocabBuilder *b, const Model *m, Error *err) {
    const SourceFile *tokenizer = vocab_source(m, "tokenizer.json");
    const SourceFile *config = vocab_source(m, "tokenizer_config.json");
    cJSON *root = NULL;
    if (!tokenizer) {
        return error_set(
            err, ERR_FORMAT,
            "%s: tokenizer.json is missing; copy it from the model that this checkpoint was made from, or "
            "have transformers write it (AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR))",
            m->path);
    }
    b->where = input_path(tokenizer->input);
    TRY(parse_source(b, tokenizer, &root, err));
    int code = read_tokenizer(b, m, root, err);
    cJSON_Delete(root);
    if (code) return code;
    root = NULL;
    if (config) TRY(parse_source(b, config, &root, err));
    code = vocab_read_hf_config(b, m, root, err);
    cJSON_Delete(root);
    return code;
}
