/* passkey.c -- see passkey.h. */
#include "runner/passkey.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* tests/golden/make_passkey.py reads these lines. */
static const char beginning[] =
    "A number is hidden in the text below. Remember it, you will be asked for it.\n";
static const char hidden[] = "The hidden number is %s. Do not forget it: %s is the hidden number.\n";
static const char question[] = "Which number was hidden in the text? The hidden number is ";
static const char *const sentences[] = {
    "The road leads over a hill and down to the river.\n",
    "In the morning the baker opens his shop.\n",
    "Snow lies on the roofs until the end of March.\n",
    "Two boats are tied to the old bridge.\n",
    "She reads the newspaper while the kettle boils.\n",
    "A dog sleeps in the shade of the tree.\n",
    "The train to the coast leaves from the other platform.\n",
    "Every summer the children build a hut in the woods.\n",
    "Rain has washed the dust from the leaves.\n",
    "The clock in the tower is a little slow.\n",
    "He paints the fence green, as it has always been.\n",
    "There is bread on the table, and a bowl of apples.\n",
    "The library closes early on Saturdays.\n",
    "A light burns in the window across the street.\n",
    "The farmer brings his cows home before dark.\n",
    "Nobody remembers who planted the roses.\n",
};

enum { N_SENTENCES = sizeof sentences / sizeof sentences[0] };

/* SplitMix64. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* The pieces of a prompt in tokens. */
typedef struct Pieces {
    Tokens beginning, hidden, question, answer, sentences[N_SENTENCES];
} Pieces;

static void pieces_init(Pieces *p) {
    tokens_init(&p->beginning, NULL);
    tokens_init(&p->hidden, NULL);
    tokens_init(&p->question, NULL);
    tokens_init(&p->answer, NULL);
    for (size_t i = 0; i < N_SENTENCES; i++) tokens_init(&p->sentences[i], NULL);
}

static void pieces_free(Pieces *p) {
    tokens_free(&p->beginning);
    tokens_free(&p->hidden);
    tokens_free(&p->question);
    tokens_free(&p->answer);
    for (size_t i = 0; i < N_SENTENCES; i++) tokens_free(&p->sentences[i]);
}

static int encode(Tokens *out, const Tokenizer *t, const char *text, Error *err) {
    TRY(tokenizer_encode(t, text, strlen(text), out, err));
    return out->count ? 0 : error_set(err, ERR_UNSUPPORTED, "the tokenizer makes nothing of \"%s\"", text);
}

static int encode_pieces(Pieces *p, const Tokenizer *t, const char *key, Error *err) {
    char line[200];
    snprintf(line, sizeof line, hidden, key, key);
    TRY(encode(&p->beginning, t, beginning, err));
    TRY(encode(&p->hidden, t, line, err));
    TRY(encode(&p->question, t, question, err));
    TRY(encode(&p->answer, t, key, err));
    for (size_t i = 0; i < N_SENTENCES; i++) TRY(encode(&p->sentences[i], t, sentences[i], err));
    return 0;
}

static int append(Tokens *out, const Tokens *piece, Error *err) {
    return tokens_append(out, piece->ids, piece->count, err);
}

/* Sentences for `room` tokens; returns how many, and notes their tokens in *filled. */
static size_t count_sentences(const Pieces *p, uint64_t random, size_t room, size_t *filled) {
    size_t n = 0;
    *filled = 0;
    for (;; n++) {
        size_t more = p->sentences[next_random(&random) % N_SENTENCES].count;
        if (more > room - *filled) return n;
        *filled += more;
    }
}

/* The key's sentence goes in before the first sentence that begins at or behind depth % of the filling. */
static int assemble(Passkey *out, const Pieces *p, PasskeyTask task, uint64_t random, Error *err) {
    size_t fixed = p->beginning.count + p->hidden.count + p->question.count + p->answer.count, filled;
    if (task.length < fixed)
        return error_set(err, ERR_USAGE,
                         "%" PRIu32 " tokens have no room for a hidden number and the question (%zu)",
                         task.length, fixed);
    size_t n = count_sentences(p, random, task.length - fixed, &filled);
    uint64_t before = (uint64_t)filled * task.depth, said = 0;
    bool placed = false;
    TRY(append(&out->tokens, &p->beginning, err));
    for (size_t i = 0; i <= n; i++) {
        if (!placed && (said * 100 >= before || i == n)) {
            placed = true;
            out->hidden_at = out->tokens.count;
            TRY(append(&out->tokens, &p->hidden, err));
        }
        if (i == n) break;
        const Tokens *sentence = &p->sentences[next_random(&random) % N_SENTENCES];
        said += sentence->count;
        TRY(append(&out->tokens, sentence, err));
    }
    TRY(append(&out->tokens, &p->question, err));
    out->n_answer = p->answer.count;
    return append(&out->tokens, &p->answer, err);
}

int passkey_make(Passkey *out, const Tokenizer *t, PasskeyTask task, Error *err) {
    Pieces pieces;
    uint64_t random = task.seed * 1000003 + task.trial;
    *out = (Passkey){.n_answer = 0};
    tokens_init(&out->tokens, NULL);
    if (task.depth > 100)
        return error_set(err, ERR_USAGE, "a depth of %" PRIu32 " %% is beyond 100", task.depth);
    snprintf(out->key, sizeof out->key, "%u", (unsigned)(10000 + next_random(&random) % 90000));
    pieces_init(&pieces);
    int code = encode_pieces(&pieces, t, out->key, err);
    if (!code) code = assemble(out, &pieces, task, random, err);
    pieces_free(&pieces);
    return code;
}

void passkey_free(Passkey *p) {
    tokens_free(&p->tokens);
}
