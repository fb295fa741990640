/* tokenizer.h -- text to token ids and back: the Qwen pipeline.
 *
 * encode: added tokens are cut out of the raw text (leftmost, longest), each remaining slice is normalised to
 * NFC, split by Qwen's pattern, mapped to the byte-level alphabet and merged by BPE rank. Equal to Hugging
 * Face tokenizers on every valid text; invalid UTF-8 becomes U+FFFD first, as Python's errors='replace' does.
 * Time is linear in the length of the text, also of one word. Letters, numbers, spaces and composition come
 * from the project's own generated tables (runner/unicode_tables.c). */
#ifndef RECAST_RUNNER_TOKENIZER_H
#define RECAST_RUNNER_TOKENIZER_H

#include "core/buffer.h"
#include "model/vocab.h"

typedef struct Tokenizer Tokenizer;

typedef struct Tokens {
    uint32_t *ids;
    size_t count, capacity;
    const Allocator *allocator;
} Tokens;
void tokens_init(Tokens *t, const Allocator *allocator);
void tokens_free(Tokens *t);
int tokens_push(Tokens *t, uint32_t id, Error *err) MUST_CHECK;
/* ids must not lie in t. */
int tokens_append(Tokens *t, const uint32_t *ids, size_t count, Error *err) MUST_CHECK;

/* Builds the lookup tables; the vocab must outlive the tokenizer. Immutable afterwards: encode and decode are
 * thread-safe. */
int tokenizer_open(Tokenizer **out, const Vocab *vocab, const Allocator *allocator, Error *err) MUST_CHECK;
void tokenizer_close(Tokenizer *t); /* NULL-safe */
/* Appends the ids of `length` bytes of text. No BOS or EOS is added (Qwen adds none). */
int tokenizer_encode(const Tokenizer *t, const char *text, size_t length, Tokens *out, Error *err) MUST_CHECK;
/* Appends the bytes of the ids, special tokens as they are spelled. The bytes may end inside a UTF-8
 * sequence. */
int tokenizer_decode(const Tokenizer *t, const uint32_t *ids, size_t count, Buffer *out,
                     Error *err) MUST_CHECK;
/* Copies text, replacing each ill-formed UTF-8 sequence by U+FFFD (maximal subparts, Unicode 15 section 3.9).
 */
void utf8_replace_invalid(Buffer *out, const char *text, size_t length);
/* Bytes of the longest prefix of text that does not end inside a sequence that could still be completed. For
 * streaming. */
size_t utf8_complete_prefix(const char *text, size_t length);
/* Is this id one that ends generation: token text <|im_end|> or <|endoftext|> (rule 9)? */
bool tokenizer_ends(const Tokenizer *t, uint32_t id);
/* The id of a token by its exact text among the added ones, or -1. */
int64_t tokenizer_added(const Tokenizer *t, const char *text);

#endif
