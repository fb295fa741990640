/* passkey.h -- retrieval over a long context: a number is hidden in a text, and asked for at its end.
 *
 * The task is that of Mohtashami and Jaggi (arXiv 2305.16300, section 4.2). The text is made of sentences of
 * the project's own, drawn by seed: same seed and trial, same key and same sentences in the same order,
 * whatever length and depth. Pieces end where the tokenizer's pattern splits, so the ids are those of the
 * text as a whole. */
#ifndef RECAST_RUNNER_PASSKEY_H
#define RECAST_RUNNER_PASSKEY_H

#include "runner/tokenizer.h"

enum { PASSKEY_DIGITS = 5 };

typedef struct PasskeyTask {
    uint32_t length; /* tokens at most, the answer included; whole sentences, so mostly a few less */
    uint32_t depth;  /* 0 .. 100: how much of the filling stands before the key, in percent */
    uint64_t seed;
    uint32_t trial;
} PasskeyTask;

typedef struct Passkey {
    Tokens tokens;                /* the prompt and behind it the answer */
    size_t n_answer;              /* tokens of the answer: the key's digits */
    size_t hidden_at;             /* where the sentence with the key begins */
    char key[PASSKEY_DIGITS + 1]; /* "48213"; never begins with 0 */
} Passkey;

/* Caller frees, after an error too. ERR_USAGE: the length has no room for the question. */
int passkey_make(Passkey *out, const Tokenizer *t, PasskeyTask task, Error *err) MUST_CHECK;
void passkey_free(Passkey *p);

#endif
