/* Hidden numbers: the prompts of an independent program (tests/golden/make_passkey.py), and what transformers
 * gives the answers. */
#include "core/sha256.h"
#include "fixture.h"
#include "model/model.h"
#include "runner/eval.h"
#include "runner/passkey.h"
#include "support.h"
#include <math.h>

typedef struct Tiny {
    Model *model;
    Vocab *vocab;
    Tokenizer *tokenizer;
} Tiny;

static void tiny_open(Tiny *t) {
    OK(model_open(&t->model, FIXTURE_TINY, NULL, err));
    OK(vocab_open(&t->vocab, t->model, NULL, err));
    OK(tokenizer_open(&t->tokenizer, t->vocab, NULL, err));
}

static void tiny_close(Tiny *t) {
    tokenizer_close(t->tokenizer);
    vocab_close(t->vocab);
    model_close(t->model);
}

typedef struct Golden {
    PasskeyTask task;
    char key[8], sha256[SHA256_HEX];
    size_t n, hidden_at;
    double nats;
    unsigned right;
} Golden;

static void compare_answer(const Passkey *p, const Golden *g, Runner *r, EvalRoom *room) {
    EvalPoint points[8], *list[] = {points};
    size_t n = p->tokens.count;
    double nats = 0;
    unsigned right = 0;
    EvalWindow w = {
        .tokens = p->tokens.ids, .n = n, .first = n - p->n_answer - 1, .end = n - 1, .known = true};
    OK(eval_window(list, &r, 1, room, &w, err));
    for (size_t i = 0; i < p->n_answer; i++) {
        nats += points[i].nll / (double)p->n_answer;
        right += points[i].right;
    }
    cr_assert(fabs(nats - g->nats) < 5e-6, "%u at %u: %.7f instead of %.7f", g->task.length, g->task.depth,
              nats, g->nats);
    cr_assert_eq(right, g->right);
}

Test(runner_passkey, golden) {
    Tiny t;
    Golden g;
    Runner *r;
    EvalRoom *room;
    unsigned cases = 0;
    FILE *f = fopen("tests/golden/passkey.txt", "r");
    cr_assert_not_null(f);
    tiny_open(&t);
    OK(runner_open(&r, t.model, (RunnerOptions){.context = 1024}, NULL, err));
    OK(eval_room_open(&room, runner_params(r), 1, 1024, NULL, err));
    while (fscanf(f, "%u %u %llu %u %7s %zu %zu %64s %lf %u", &g.task.length, &g.task.depth,
                  (unsigned long long *)&g.task.seed, &g.task.trial, g.key, &g.n, &g.hidden_at, g.sha256,
                  &g.nats, &g.right) == 10) {
        Passkey p;
        char hex[SHA256_HEX];
        OK(passkey_make(&p, t.tokenizer, g.task, err));
        cr_assert_str_eq(p.key, g.key);
        cr_assert_eq(p.tokens.count, g.n);
        cr_assert_eq(p.hidden_at, g.hidden_at);
        cr_assert_eq(p.n_answer, PASSKEY_DIGITS);
        OK(sha256_bytes(hex, p.tokens.ids, p.tokens.count * sizeof *p.tokens.ids, err)); /* little-endian */
        cr_assert_str_eq(hex, g.sha256);
        compare_answer(&p, &g, r, room);
        passkey_free(&p);
        cases++;
    }
    cr_assert_eq(cases, 7);
    fclose(f);
    eval_room_close(room);
    runner_close(r);
    tiny_close(&t);
}

/* Only the place of the sentence differs between depths; a longer text begins with the shorter one's
 * sentences. The pieces together are the text as a whole. */
Test(runner_passkey, what_depth_and_length_change) {
    Tiny t;
    Passkey first, last, longer;
    Buffer text;
    Tokens again;
    tiny_open(&t);
    OK(passkey_make(&first, t.tokenizer, (PasskeyTask){300, 0, 5, 2}, err));
    OK(passkey_make(&last, t.tokenizer, (PasskeyTask){300, 100, 5, 2}, err));
    OK(passkey_make(&longer, t.tokenizer, (PasskeyTask){400, 100, 5, 2}, err));
    cr_assert_str_eq(first.key, last.key);
    cr_assert_str_eq(first.key, longer.key);
    cr_assert_eq(first.tokens.count, last.tokens.count);
    cr_assert(first.hidden_at < last.hidden_at && last.tokens.count <= 300 && longer.tokens.count <= 400);
    cr_assert_arr_eq(longer.tokens.ids, last.tokens.ids, last.hidden_at * sizeof *last.tokens.ids);
    buffer_init(&text, NULL);
    tokens_init(&again, NULL);
    OK(tokenizer_decode(t.tokenizer, longer.tokens.ids, longer.tokens.count, &text, err));
    OK(tokenizer_encode(t.tokenizer, buffer_string(&text), text.length, &again, err));
    cr_assert_eq(again.count, longer.tokens.count);
    cr_assert_arr_eq(again.ids, longer.tokens.ids, again.count * sizeof *again.ids);
    tokens_free(&again);
    buffer_free(&text);
    passkey_free(&first);
    passkey_free(&last);
    passkey_free(&longer);
    tiny_close(&t);
}

Test(runner_passkey, refusals) {
    Tiny t;
    Passkey p;
    Error err = {0};
    tiny_open(&t);
    cr_assert_eq(passkey_make(&p, t.tokenizer, (PasskeyTask){20, 0, 0, 0}, &err), ERR_USAGE);
    cr_assert(strstr(err.message, "20 tokens have no room"), "%s", err.message);
    passkey_free(&p);
    cr_assert_eq(passkey_make(&p, t.tokenizer, (PasskeyTask){200, 101, 0, 0}, &err), ERR_USAGE);
    passkey_free(&p);
    tiny_close(&t);
}
