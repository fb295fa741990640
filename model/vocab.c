/* vocab.c -- opening a vocabulary, and the tables that both forms fill. What the files say is read in
 * vocab_hf.c and vocab_gguf.c; how text is cut into tokens is runner/'s business. */
#include "model/vocab_private.h"

#include "core/utf8.h"
#include <stdlib.h>
#include <string.h>

const char vocab_qwen2_pattern[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
                                   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* "seperator" is how the GGUF key is spelled. */
const SpecialKind vocab_special_kinds[SPECIAL_KINDS] = {
    {"bos", "bos", "cls", offsetof(Vocab, bos)},    {"eos", "eos", "sep", offsetof(Vocab, eos)},
    {"unknown", "unk", NULL, offsetof(Vocab, unk)}, {"seperator", "sep", NULL, offsetof(Vocab, sep)},
    {"padding", "pad", NULL, offsetof(Vocab, pad)}, {"mask", "mask", NULL, offsetof(Vocab, mask)},
    {"eot", NULL, NULL, offsetof(Vocab, eot)},      {"eom", NULL, NULL, offsetof(Vocab, eom)},
};

/* ---- special ids ---- */

static int64_t *special_slot(Vocab *v, const SpecialKind *kind) {
    return (int64_t *)(void *)((char *)v + kind->offset);
}

int64_t vocab_special(const Vocab *v, const SpecialKind *kind) {
    return *(const int64_t *)(const void *)((const char *)v + kind->offset);
}

void vocab_add_special(VocabBuilder *b, const SpecialKind *kind, uint32_t id) {
    int64_t *slot = special_slot(b->v, kind);
    if (*slot >= 0) return;
    *slot = id;
    b->id_order[b->n_ids++] = kind->name;
}

/* ---- tokens ---- */

int vocab_builder_tokens(VocabBuilder *b, uint64_t n_tokens, Error *err) {
    Arena *arena = b->v->arena;
    if (n_tokens == 0) return error_set(err, ERR_FORMAT, "%s: the vocabulary is empty", b->where);
    if (n_tokens > VOCAB_LIMIT) {
        return error_set(err, ERR_LIMIT, "%s: a vocabulary of %llu tokens; at most %d are read", b->where,
                         (unsigned long long)n_tokens, VOCAB_LIMIT);
    }
    b->tokens = arena_alloc(arena, (size_t)n_tokens, sizeof *b->tokens);
    b->types = arena_alloc(arena, (size_t)n_tokens, sizeof *b->types);
    if (!b->tokens || !b->types) return error_memory(err, "the table of tokens");
    TRY(table_open(&b->ids, arena, (size_t)n_tokens, err));
    b->v->n_tokens = (uint32_t)n_tokens;
    b->v->tokens = b->tokens;
    b->v->types = b->types;
    b->v->ids = b->ids;
    return 0;
}

int vocab_add_token(VocabBuilder *b, uint32_t id, GgufString text, TokenType type, Error *err) {
    if (id >= b->v->n_tokens) {
        return error_set(err, ERR_FORMAT,
                         "%s: token \"%.64s\" has id %u, but the vocabulary has %u rows (vocab_size)",
                         b->where, text.data, id, b->v->n_tokens);
    }
    if (b->tokens[id].data) {
        return error_set(err, ERR_FORMAT, "%s: tokens \"%.64s\" and \"%.64s\" have the same id %u", b->where,
                         b->tokens[id].data, text.data, id);
    }
    if (utf8_invalid_at(text.data, (size_t)text.length) != text.length) {
        return error_set(err, ERR_FORMAT, "%s: token %u is not valid UTF-8", b->where, id);
    }
    int put = table_put(b->ids, text.data, (size_t)text.length, id);
    if (put > 0) return error_memory(err, "the table of tokens");
    if (put < 0) {
        uint64_t other = 0;
        table_get(b->ids, text.data, (size_t)text.length, &other);
        return error_set(err, ERR_FORMAT, "%s: tokens %u and %u are both spelled \"%.64s\"", b->where,
                         (unsigned)other, id, text.data);
    }
    b->tokens[id] = text;
    b->types[id] = type;
    return 0;
}

/* ---- merges ---- */

int vocab_builder_merges(VocabBuilder *b, uint64_t n_merges, Error *err) {
    Arena *arena = b->v->arena;
    if (n_merges > VOCAB_LIMIT) {
        return error_set(err, ERR_LIMIT, "%s: %llu merges; at most %d are read", b->where,
                         (unsigned long long)n_merges, VOCAB_LIMIT);
    }
    b->merges = arena_alloc(arena, (size_t)n_merges, sizeof *b->merges);
    b->merge_ids = arena_alloc(arena, (size_t)n_merges, sizeof *b->merge_ids);
    if (!b->merges || !b->merge_ids) return error_memory(err, "the table of merges");
    TRY(table_open(&b->merge_texts, arena, (size_t)n_merges, err));
    b->v->n_merges = (uint32_t)n_merges;
    b->v->merges = b->merges;
    b->v->merge_ids = b->merge_ids;
    return 0;
}

static int merge_part(const VocabBuilder *b, const char *text, size_t length, uint32_t rank, uint32_t *id,
                      Error *err) {
    uint64_t found;
    if (!table_get(b->ids, text, length, &found)) {
        return error_set(err, ERR_FORMAT, "%s: merge %u needs \"%.*s\", which is no token of the vocabulary",
                         b->where, rank, length < 64 ? (int)length : 64, text);
    }
    *id = (uint32_t)found;
    return 0;
}

int vocab_add_merge(VocabBuilder *b, uint32_t rank, GgufString text, Error *err) {
    size_t length = (size_t)text.length;
    /* the runtimes split at the first space behind the first byte */
    const char *space = length > 2 ? memchr(text.data + 1, ' ', length - 1) : NULL;
    size_t left = space ? (size_t)(space - text.data) : 0;
    if (!space || left + 1 == length || memchr(space + 1, ' ', length - left - 1)) {
        return error_set(err, ERR_FORMAT,
                         "%s: merge %u is \"%.64s\"; expected two tokens with one space between them",
                         b->where, rank, text.data);
    }
    buffer_clear(&b->joined);
    buffer_append(&b->joined, text.data, left);
    buffer_append(&b->joined, space + 1, length - left - 1);
    TRY(buffer_ok(&b->joined, "a merge", err));
    TokenMerge *merge = &b->merge_ids[rank];
    TRY(merge_part(b, text.data, left, rank, &merge->left, err));
    TRY(merge_part(b, space + 1, length - left - 1, rank, &merge->right, err));
    TRY(merge_part(b, b->joined.data, b->joined.length, rank, &merge->result, err));
    int put = table_put(b->merge_texts, text.data, length, rank);
    if (put > 0) return error_memory(err, "the table of merges");
    if (put < 0) {
        return error_set(err, ERR_FORMAT, "%s: merge %u, \"%.64s\", occurs twice", b->where, rank, text.data);
    }
    b->merges[rank] = text;
    return 0;
}

/* ---- templates ---- */

static int compare_templates(const void *a, const void *b) {
    return strcmp(((const NamedTemplate *)a)->name, ((const NamedTemplate *)b)->name);
}

int vocab_sort_templates(NamedTemplate *t, size_t n, const char *where, Error *err) {
    if (n == 0) return 0;
    qsort(t, n, sizeof *t, compare_templates);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(t[i - 1].name, t[i].name) == 0) {
            return error_set(err, ERR_FORMAT, "%s: two chat templates are named \"%.64s\"", where, t[i].name);
        }
    }
    return 0;
}

/* ---- opening ---- */

static int start(Vocab **out, const Allocator *allocator, Error *err) {
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Vocab *v = arena_alloc(arena, 1, sizeof *v);
    const char **order = arena_alloc(arena, SPECIAL_KINDS + 1, sizeof *order);
    if (!v || !order) {
        arena_close(arena);
        return error_memory(err, "a vocabulary");
    }
    v->arena = arena;
    v->id_order = order;
    v->pre = "qwen2";
    for (size_t i = 0; i < SPECIAL_KINDS; i++) *special_slot(v, &vocab_special_kinds[i]) = -1;
    *out = v;
    return 0;
}

int vocab_open(Vocab **out, const Model *m, const Allocator *allocator, Error *err) {
    *out = NULL;
    Vocab *v = NULL;
    TRY(start(&v, allocator, err));
    VocabBuilder b = {
        .v = v, .allocator = allocator, .where = m->path, .id_order = (const char **)(void *)v->id_order};
    buffer_init(&b.joined, allocator);
    int code = m->form == FORM_HF ? vocab_read_hf(&b, m, err) : vocab_read_gguf(&b, m, err);
    buffer_free(&b.joined);
    if (code) {
        vocab_close(v);
        return code;
    }
    *out = v;
    return 0;
}

void vocab_close(Vocab *v) {
    if (v) arena_close(v->arena);
}
