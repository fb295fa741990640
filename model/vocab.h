/* vocab.h -- the tokenizer's tables, from tokenizer.json and its companions or from GGUF keys.
 *
 * Only the Qwen2 pipeline is known: NFC, Qwen's split pattern, byte level, BPE, added tokens. It is
 * recognised by normaliser, pattern and byte level, not by a hash of a probe string, so a cut-down vocabulary
 * is "qwen2" too. Anything else is ERR_UNSUPPORTED, naming what differs. */
#ifndef RECAST_MODEL_VOCAB_H
#define RECAST_MODEL_VOCAB_H

#include "model/model.h"

typedef enum TokenType { /* tokenizer.ggml.token_type */
                         TOKEN_NORMAL = 1,
                         TOKEN_UNKNOWN = 2,
                         TOKEN_CONTROL = 3,
                         TOKEN_USER_DEFINED = 4,
                         TOKEN_UNUSED = 5,
                         TOKEN_BYTE = 6
} TokenType;

typedef struct NamedTemplate {
    const char *name, *text;
} NamedTemplate;

/* A merge by ids: left and right become result. Its rank is its index. */
typedef struct TokenMerge {
    uint32_t left, right, result;
} TokenMerge;

typedef struct Vocab {
    uint32_t n_tokens;        /* rows of the embedding: padding rows are "[PAD123]", TOKEN_UNUSED */
    const GgufString *tokens; /* byte-level spelling (normal) or plain text (added), UTF-8 */
    const int32_t *types;     /* TokenType */
    const Table *ids;         /* token -> id; no two tokens are spelled alike */
    uint32_t n_merges;
    const GgufString *merges;    /* "left right", one space between; by rank */
    const TokenMerge *merge_ids; /* the same by ids; no pair occurs twice */
    const char *pre;             /* "qwen2" */
    int64_t bos, eos, pad, unk;  /* ids; -1 if there is none */
    int64_t sep, mask, eot, eom; /* Qwen has none of these */
    bool has_add_bos, add_bos, has_add_eos, add_eos, has_add_sep, add_sep;
    const char *chat_template; /* NULL if there is none */
    size_t n_templates;
    const NamedTemplate *templates; /* other named ones, sorted by name */
    /* The order in which special ids were found, as llama.cpp's converter writes them: "eos", "padding",
     * "bos"
     * ...; NULL-terminated. The key is tokenizer.ggml.NAME_token_id. */
    const char *const *id_order;
    Arena *arena;
} Vocab;

/* FORM_HF: from the source's tokenizer files (ERR_FORMAT "tokenizer.json is missing" with what to do).
 * FORM_GGUF: from metadata. The model must outlive the vocab, which borrows strings from it. */
int vocab_open(Vocab **out, const Model *m, const Allocator *allocator, Error *err) MUST_CHECK;
void vocab_close(Vocab *v); /* NULL-safe */
/* Sets the tokenizer.* keys as llama.cpp's converter writes them. */
int vocab_to_metadata(Metadata *m, const Vocab *v, Error *err) MUST_CHECK;
/* Qwen's split pattern, as tokenizer.json spells it. */
extern const char vocab_qwen2_pattern[];

#endif
