/* tokenizer.c -- the pipeline: added tokens out of the raw text, then NFC, split, byte level and merges on
 * what lies between them; and back. */
#include "runner/tokenizer.h"

#include "core/utf8.h"
#include "runner/bpe.h"
#include "runner/piece_cache.h"
#include "runner/split.h"
#include "runner/unicode.h"
#include <stdlib.h>
#include <string.h>

typedef struct AddedToken {
    const char *text;
    size_t length;
    uint32_t id;
} AddedToken;

struct Tokenizer {
    const Vocab *vocab;
    const Allocator *allocator;
    Arena *arena;
    Bpe *bpe;
    AddedToken *added;         /* sorted as bytes, so a token stands in front of those that it begins */
    size_t starts[256 + 1];    /* by first byte: added[starts[b]] .. added[starts[b + 1] - 1] */
    int64_t im_end, endoftext; /* -1 if the vocabulary lacks it */
};

/* ---- tokens ---- */

void tokens_init(Tokens *t, const Allocator *allocator) {
    *t = (Tokens){.allocator = allocator};
}

void tokens_free(Tokens *t) {
    mem_free(t->allocator, t->ids);
    tokens_init(t, t->allocator);
}

static int reserve(Tokens *t, size_t more, Error *err) {
    if (more > t->capacity - t->count) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        while (capacity - t->count < more && capacity <= SIZE_MAX / sizeof *t->ids) capacity *= 2;
        uint32_t *ids = capacity > SIZE_MAX / sizeof *ids
                            ? NULL
                            : mem_resize(t->allocator, t->ids, capacity * sizeof *ids);
        if (!ids) return error_memory(err, "a list of tokens");
        t->ids = ids;
        t->capacity = capacity;
    }
    return 0;
}

int tokens_push(Tokens *t, uint32_t id, Error *err) {
    TRY(reserve(t, 1, err));
    t->ids[t->count++] = id;
    return 0;
}

int tokens_append(Tokens *t, const uint32_t *ids, size_t count, Error *err) {
    TRY(reserve(t, count, err));
    if (count) memcpy(t->ids + t->count, ids, count * sizeof *ids);
    t->count += count;
    return 0;
}

/* ---- added tokens ---- */

static bool is_added(const Vocab *v, uint64_t id) {
    return (v->types[id] == TOKEN_CONTROL || v->types[id] == TOKEN_USER_DEFINED) && v->tokens[id].length > 0;
}

static int compare_added(const void *left, const void *right) {
    const AddedToken *a = left, *b = right;
    int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

static int collect_added(Tokenizer *t, Error *err) {
    const Vocab *v = t->vocab;
    size_t n = 0;
    for (uint32_t id = 0; id < v->n_tokens; id++) n += is_added(v, id);
    t->added = arena_alloc(t->arena, n, sizeof *t->added);
    if (!t->added) return error_memory(err, "the added tokens");
    n = 0;
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        if (is_added(v, id))
            t->added[n++] = (AddedToken){v->tokens[id].data, (size_t)v->tokens[id].length, id};
    }
    if (n) qsort(t->added, n, sizeof *t->added, compare_added);
    for (size_t i = 0; i < n; i++) t->starts[(unsigned char)t->added[i].text[0] + 1] = i + 1;
    for (size_t byte = 1; byte <= 256; byte++) {
        if (t->starts[byte] < t->starts[byte - 1]) t->starts[byte] = t->starts[byte - 1];
    }
    return 0;
}

/* The first token of added[low] .. added[high - 1] whose byte at `depth` is at least `byte`. All agree in
 * front of it and are longer than depth. */
static size_t lower_bound(const Tokenizer *t, size_t low, size_t high, size_t depth, unsigned byte) {
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((unsigned char)t->added[middle].text[depth] < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest added token that text begins with, or NULL. */
static const AddedToken *match_added(const Tokenizer *t, const char *text, size_t length) {
    const AddedToken *longest = NULL;
    size_t low = t->starts[(unsigned char)text[0]], high = t->starts[(unsigned char)text[0] + 1];
    for (size_t depth = 1; low < high; depth++) {
        if (t->added[low].length == depth) longest = &t->added[low++];
        if (depth == length) break;
        unsigned byte = (unsigned char)text[depth];
        low = lower_bound(t, low, high, depth, byte);
        high = lower_bound(t, low, high, depth, byte + 1);
    }
    return longest;
}

/* ---- encoding ---- */

typedef struct Encoder {
    const Tokenizer *t;
    BpeWork work;
    PieceCache cache;
    Buffer normal; /* the slice at hand in NFC, if it was not */
    Tokens *out;
} Encoder;

static int encode_piece(Encoder *e, const char *piece, size_t length, Error *err) {
    bool found;
    CachedPiece *slot = piece_cache_slot(&e->cache, piece, length, &found);
    if (found) return tokens_append(e->out, slot->ids, slot->count, err);
    size_t before = e->out->count;
    int code = bpe_encode(e->t->bpe, &e->work, piece, length, e->out, err);
    if (!slot) return code;
    size_t count = e->out->count - before;
    if (code || count > PIECE_IDS) {
        slot->length = 0;
        return code;
    }
    if (count) memcpy(slot->ids, e->out->ids + before, count * sizeof *slot->ids);
    slot->count = (uint8_t)count;
    return 0;
}

static int encode_slice(Encoder *e, const char *text, size_t length, Error *err) {
    if (unicode_nfc_prefix(text, length) < length) {
        buffer_clear(&e->normal);
        unicode_nfc(&e->normal, text, length);
        TRY(buffer_ok(&e->normal, "normalising a text", err));
        text = e->normal.data;
        length = e->normal.length;
    }
    for (size_t at = 0; at < length;) {
        size_t end = split_piece(text, length, at);
        TRY(encode_piece(e, text + at, end - at, err));
        at = end;
    }
    return 0;
}

static int encode_valid(Encoder *e, const char *text, size_t length, Error *err) {
    size_t begin = 0;
    for (size_t at = 0; at < length;) {
        const AddedToken *added = match_added(e->t, text + at, length - at);
        if (!added) {
            at++;
            continue;
        }
        TRY(encode_slice(e, text + begin, at - begin, err));
        TRY(tokens_push(e->out, added->id, err));
        at += added->length;
        begin = at;
    }
    return encode_slice(e, text + begin, length - begin, err);
}

int tokenizer_encode(const Tokenizer *t, const char *text, size_t length, Tokens *out, Error *err) {
    Encoder e = {.t = t, .out = out};
    Buffer repaired;
    TRY(piece_cache_open(&e.cache, length, t->allocator, err));
    bpe_work_init(&e.work, t->allocator);
    buffer_init(&e.normal, t->allocator);
    buffer_init(&repaired, t->allocator);
    int code;
    if (utf8_invalid_at(text, length) == length) {
        code = encode_valid(&e, text, length, err);
    } else {
        utf8_replace_invalid(&repaired, text, length);
        code = buffer_ok(&repaired, "repairing a text that is not UTF-8", err);
        if (!code) code = encode_valid(&e, repaired.data, repaired.length, err);
    }
    buffer_free(&repaired);
    buffer_free(&e.normal);
    bpe_work_free(&e.work);
    piece_cache_close(&e.cache);
    return code;
}

/* ---- decoding ---- */

/* A token with a code point outside the byte-level alphabet stands for its own text, as in Hugging Face's
 * decoder. */
static void decode_normal(Buffer *out, GgufString token) {
    size_t length = (size_t)token.length, before = out->length;
    for (size_t at = 0; at < length;) {
        uint32_t c;
        size_t size = utf8_decode(token.data + at, length - at, &c);
        int byte = size ? byte_level_byte(c) : -1;
        if (byte < 0) {
            if (!out->failed) out->length = before;
            buffer_append(out, token.data, length);
            return;
        }
        buffer_char(out, (char)byte);
        at += size;
    }
}

int tokenizer_decode(const Tokenizer *t, const uint32_t *ids, size_t count, Buffer *out, Error *err) {
    const Vocab *v = t->vocab;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] >= v->n_tokens) {
            return error_set(err, ERR_FORMAT, "token id %u at position %zu; the vocabulary has %u tokens",
                             ids[i], i, v->n_tokens);
        }
        if (is_added(v, ids[i])) {
            buffer_append(out, v->tokens[ids[i]].data, (size_t)v->tokens[ids[i]].length);
        } else if (v->types[ids[i]] != TOKEN_UNUSED) { /* a padding row has no text */
            decode_normal(out, v->tokens[ids[i]]);
        }
    }
    return buffer_ok(out, "the text of tokens", err);
}

/* ---- opening ---- */

int64_t tokenizer_added(const Tokenizer *t, const char *text) {
    uint64_t id;
    return table_get(t->vocab->ids, text, strlen(text), &id) && is_added(t->vocab, id) ? (int64_t)id : -1;
}

bool tokenizer_ends(const Tokenizer *t, uint32_t id) {
    return id == t->im_end || id == t->endoftext;
}

int tokenizer_open(Tokenizer **out, const Vocab *vocab, const Allocator *allocator, Error *err) {
    *out = NULL;
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Tokenizer *t = arena_alloc(arena, 1, sizeof *t);
    int code = t ? 0 : error_memory(err, "a tokenizer");
    if (t) {
        t->vocab = vocab;
        t->allocator = allocator;
        t->arena = arena;
        code = collect_added(t, err);
    }
    if (!code) code = bpe_open(&t->bpe, vocab, arena, err);
    if (code) {
        arena_close(arena);
        return code;
    }
    t->im_end = tokenizer_added(t, "<|im_end|>");
    t->endoftext = tokenizer_added(t, "<|endoftext|>");
    *out = t;
    return 0;
}

void tokenizer_close(Tokenizer *t) {
    if (t) arena_close(t->arena);
}
