/* vocab_private.h -- what the two readers of a vocabulary share; private to vocab*.c. */
#ifndef RECAST_MODEL_VOCAB_PRIVATE_H
#define RECAST_MODEL_VOCAB_PRIVATE_H

#include "core/json.h"
#include "model/vocab.h"

/* Far above any vocabulary there is; it keeps a hostile vocab_size from asking for the whole memory. */
enum { VOCAB_LIMIT = 1 << 24 };

/* A vocabulary while it is being read. */
typedef struct VocabBuilder {
    Vocab *v;
    const Allocator *allocator; /* for what is needed while reading only */
    const char *where;          /* the file, for messages */
    GgufString *tokens;
    int32_t *types;
    Table *ids;
    GgufString *merges;
    TokenMerge *merge_ids;
    Table *merge_texts; /* to find a pair that occurs twice */
    Buffer joined;
    const char **id_order;
    size_t n_ids;
} VocabBuilder;

/* The special ids, in the order in which llama.cpp's converter asks for them. */
typedef struct SpecialKind {
    const char *name;    /* tokenizer.ggml.NAME_token_id */
    const char *hf;      /* HF_token in tokenizer_config.json, HF_token_id in config.json; NULL: GGUF only */
    const char *instead; /* the token whose text stands in when HF_token is absent; or NULL */
    size_t offset;       /* of the id in Vocab */
} SpecialKind;

enum { SPECIAL_KINDS = 8 };
extern const SpecialKind vocab_special_kinds[SPECIAL_KINDS];

int vocab_builder_tokens(VocabBuilder *b, uint64_t n_tokens, Error *err) MUST_CHECK;
int vocab_builder_merges(VocabBuilder *b, uint64_t n_merges, Error *err) MUST_CHECK;
/* text must outlive the vocab. ERR_FORMAT if the id or the text is taken. */
int vocab_add_token(VocabBuilder *b, uint32_t id, GgufString text, TokenType type, Error *err) MUST_CHECK;
/* The merge of this rank. ERR_FORMAT unless left, right and both together are tokens. */
int vocab_add_merge(VocabBuilder *b, uint32_t rank, GgufString text, Error *err) MUST_CHECK;
/* Takes note of a special id, if none of its kind is known yet. */
void vocab_add_special(VocabBuilder *b, const SpecialKind *kind, uint32_t id);
int64_t vocab_special(const Vocab *v, const SpecialKind *kind);
/* Sorts by name; ERR_FORMAT if two have the same. */
int vocab_sort_templates(NamedTemplate *t, size_t n, const char *where, Error *err) MUST_CHECK;

int vocab_read_hf(VocabBuilder *b, const Model *m, Error *err) MUST_CHECK;
int vocab_read_gguf(VocabBuilder *b, const Model *m, Error *err) MUST_CHECK;
/* Special ids and chat templates out of tokenizer_config.json (may be NULL) and config.json. */
int vocab_read_hf_config(VocabBuilder *b, const Model *m, const cJSON *config, Error *err) MUST_CHECK;
/* 0 if tokenizer.json describes the Qwen2 pipeline. */
int vocab_check_pipeline(const cJSON *root, const char *where, Error *err) MUST_CHECK;

/* A source file by name, or NULL; its text in the arena. */
const SourceFile *vocab_source(const Model *m, const char *name);
int vocab_source_text(const SourceFile *f, char **text, size_t *length, Arena *arena, Error *err) MUST_CHECK;

#endif
