/* Evaluation: figures of one position by their definitions, which positions a window scores, and what
 * transformers says of the same text. */
#include "core/json.h"
#include "fixture.h"
#include "model/views.h"
#include "runner/eval_text.h"
#include "runner/tokenizer.h"
#include <math.h>

/* ---- one position ---- */

static void softmax(double *p, const float *z, size_t n, double t) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, (double)z[i] / t);
    for (size_t i = 0; i < n; i++) sum += p[i] = exp((double)z[i] / t - most);
    for (size_t i = 0; i < n; i++) p[i] /= sum;
}

static void random_logits(float *z, size_t n, uint64_t *state, float scale) {
    for (size_t i = 0; i < n; i++) z[i] = ((float)(fixture_random(state) >> 40) / 8388608.0f - 1) * scale;
}

static void near(double a, double b, const char *what) {
    cr_assert(fabs(a - b) <= 1e-6 * (1 + fabs(b)), "%s: %.12g instead of %.12g", what, a, b);
}

Test(runner_eval, figures_are_those_of_their_definitions) {
    static const size_t sizes[] = {1, 2, 31, 32, 33, 1000};
    uint64_t state = 5;
    for (size_t s = 0; s < 6; s++)
        for (int round = 0; round < 20; round++) {
            size_t n = sizes[s], next = fixture_random(&state) % n;
            float a[1000], b[1000];
            double p[1000], q[1000], kl = 0, h = 0, d = 0, size = 0, ma = 0, mb = 0;
            random_logits(a, n, &state, 12);
            random_logits(b, n, &state, round % 2 ? 12 : 0.01f);
            if (round % 2 == 0)
                for (size_t i = 0; i < n; i++) b[i] += a[i];
            softmax(p, a, n, 1);
            softmax(q, b, n, 1);
            for (size_t i = 0; i < n; i++) {
                kl += p[i] * (log(p[i]) - log(q[i]));
                h -= q[i] * log(q[i]);
                ma += (double)a[i] / (double)n;
                mb += (double)b[i] / (double)n;
            }
            for (size_t i = 0; i < n; i++) {
                double x = (double)a[i] - ma, y = (double)b[i] - mb;
                d += (x - y) * (x - y);
                size += x * x;
            }
            EvalPoint found = eval_point(a, b, n, next);
            near(found.nll, -log(q[next]), "nll");
            near(found.kl, kl, "kl");
            near(found.entropy, h, "entropy");
            near(found.error, size > 0 ? sqrt(d / size) : 0, "error");
            cr_assert_eq(found.same, eval_best(a, n) == eval_best(b, n));
            cr_assert_eq(eval_point(a, b, n, n).nll, 0);
            EvalPoint exact = eval_point_exact(a, b, n, next);
            cr_assert(fabs(exact.nll + log(q[next])) < 1e-12 && fabs(exact.kl - kl) < 1e-12 &&
                      fabs(exact.entropy - h) < 1e-12);
            cr_assert(exact.same == found.same && exact.right == found.right &&
                      exact.right == (eval_best(b, n) == next));
            near(exact.error, found.error, "exact error");
            EvalPoint self = eval_point(a, a, n, next);
            cr_assert(self.kl == 0 && self.error == 0 && self.same);
            double temperatures[] = {0.5, 2}, entropies[2];
            eval_entropies(entropies, a, n, temperatures, 2);
            for (int t = 0; t < 2; t++) {
                double expected = 0;
                softmax(p, a, n, temperatures[t]);
                for (size_t i = 0; i < n; i++) expected -= p[i] > 0 ? p[i] * log(p[i]) : 0;
                near(entropies[t], expected, "entropy at a temperature");
            }
        }
}

Test(runner_eval, means_and_quantiles) {
    double v[] = {4, 1, 3, 2};
    EvalMean m = eval_mean(v, 4);
    near(m.mean, 2.5, "mean");
    near(m.error, 1.96 * sqrt(5.0 / 3 / 4), "error");
    near(eval_standard_error(v, 4), sqrt(5.0 / 3 / 4), "standard error");
    near(eval_quantile(v, 4, 0.5), 2, "half");
    near(eval_quantile(v, 4, 0.99), 4, "nearly all");
    near(eval_quantile(v, 4, 0), 1, "none");
    cr_assert_eq(eval_mean(v, 1).error, 0);
    cr_assert_eq(eval_standard_error(v, 0), 0);
    cr_assert_eq(eval_mean(v, 0).mean, 0);
}

/* ---- texts ---- */

typedef struct Text {
    Model *source;
    Tokens tokens;
} Text;

static void text_open(Text *t) {
    Vocab *vocab;
    Tokenizer *tokenizer;
    Error err = {0};
    size_t length;
    char *text = fixture_read("tests/golden", "eval-text.txt", &length);
    cr_assert_eq(model_open(&t->source, FIXTURE_TINY, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(vocab_open(&vocab, t->source, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(tokenizer_open(&tokenizer, vocab, NULL, &err), 0, "%s", err.message);
    tokens_init(&t->tokens, NULL);
    cr_assert_eq(tokenizer_encode(tokenizer, text, length, &t->tokens, &err), 0, "%s", err.message);
    cr_assert_geq(t->tokens.count, 2048);
    tokenizer_close(tokenizer);
    vocab_close(vocab);
    free(text);
}

static void text_close(Text *t) {
    tokens_free(&t->tokens);
    model_close(t->source);
}

static Runner *runner_of(const Model *m, uint32_t context) {
    Runner *r;
    Error err = {0};
    RunnerOptions options = {.context = context, .kv = KV_F32};
    cr_assert_eq(runner_open(&r, m, options, NULL, &err), 0, "%s", err.message);
    return r;
}

static EvalText *run_text(Runner *const *runners, size_t n, const Text *t, EvalTextOptions options) {
    EvalText *text;
    Error err = {0};
    cr_assert_eq(eval_text(&text, runners, n, t->tokens.ids, t->tokens.count, options, NULL, &err), 0, "%s",
                 err.message);
    return text;
}

static double mean_nll(const Model *m, const Text *t, uint32_t window) {
    Runner *r = runner_of(m, window);
    EvalText *text = run_text(&r, 1, t, (EvalTextOptions){.window = window, .max_tokens = 2048});
    double *values = malloc(text->n * sizeof *values);
    double nll = eval_mean(values, eval_text_figures(values, text, 0, eval_nll, 0, UINT32_MAX)).mean;
    free(values);
    eval_text_close(text);
    runner_close(r);
    return nll;
}

Test(runner_eval, a_text_is_to_us_what_it_is_to_transformers) {
    char *golden = fixture_read("tests/golden", "eval.txt", NULL), *rest = golden;
    Text t;
    size_t n = 0;
    text_open(&t);
    for (char *line; (line = strsep(&rest, "\n")) && *line; n++) {
        const char *name = strsep(&line, "\t"), *overrides = strsep(&line, "\t");
        double expected[2] = {strtod(strsep(&line, "\t"), NULL), strtod(line, NULL)};
        cJSON *json;
        Model *m;
        Error err = {0};
        cr_assert_eq(json_parse(&json, overrides, strlen(overrides), "overrides", &err), 0, "%s",
                     err.message);
        cr_assert_eq(override_open(&m, t.source, json, (OverrideOptions){0}, NULL, &err), 0, "%s",
                     err.message);
        for (int w = 0; w < 2; w++) {
            double found = mean_nll(m, &t, w ? 1024 : 256);
            cr_assert(fabs(found - expected[w]) < 2e-6, "%s: %.7f instead of %.7f", name, found, expected[w]);
        }
        model_close(m);
        cJSON_Delete(json);
    }
    cr_assert_eq(n, 6);
    text_close(&t);
    free(golden);
}

Test(runner_eval, which_positions_a_window_scores) {
    Text t;
    text_open(&t);
    Runner *r = runner_of(t.source, 100);
    EvalText *text = run_text(&r, 1, &t, (EvalTextOptions){.window = 100, .max_tokens = 250});
    cr_assert_eq(text->n_windows, 3);
    cr_assert_eq(text->n, 99 + 99 + 49);
    cr_assert(text->position[98] == 98 && text->position[99] == 0 && text->position[246] == 48);
    eval_text_close(text);
    text = run_text(&r, 1, &t, (EvalTextOptions){.window = 100, .max_tokens = 250, .second_half = true});
    cr_assert_eq(text->n_windows, 2);
    cr_assert_eq(text->n, 2 * 49);
    cr_assert(text->position[0] == 50 && text->position[48] == 98 && text->position[49] == 50);
    eval_text_close(text);
    Error err = {0};
    EvalTextOptions none = {.window = 100, .max_tokens = 99, .second_half = true};
    cr_assert_eq(eval_text(&text, &r, 1, t.tokens.ids, t.tokens.count, none, NULL, &err), ERR_USAGE);
    none = (EvalTextOptions){.window = 1};
    cr_assert_eq(eval_text(&text, &r, 1, t.tokens.ids, t.tokens.count, none, NULL, &err), ERR_USAGE);
    runner_close(r);
    text_close(&t);
}

/* Several models in one walk: each has the figures that it has alone. */
Test(runner_eval, models_side_by_side) {
    Text t;
    Model *other;
    Error err = {0};
    static const double temperatures[] = {1.0};
    text_open(&t);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "num_experts_per_tok", 2);
    cr_assert_eq(override_open(&other, t.source, json, (OverrideOptions){0}, NULL, &err), 0);
    Runner *runners[] = {runner_of(t.source, 64), runner_of(other, 64), runner_of(t.source, 64)};
    EvalTextOptions options = {
        .window = 64, .max_tokens = 200, .temperatures = temperatures, .n_temperatures = 1};
    runner_note_route(runners[0]);
    runner_note_route(runners[1]);
    EvalText *all = run_text(runners, 3, &t, options), *alone = run_text(&runners[1], 1, &t, options);
    double different = 0, entropy = 0;
    size_t sampled = 0, at = 0;
    for (size_t i = 0; i < all->n; i++) {
        cr_assert_eq(all->points[1][i].nll, alone->points[0][i].nll);
        cr_assert_eq(all->points[1][i].entropy, alone->points[0][i].entropy);
        cr_assert(all->points[2][i].kl == 0 && all->points[2][i].same && all->points[2][i].error == 0);
        cr_assert_eq(all->points[2][i].nll, all->points[0][i].nll);
        different += all->points[1][i].kl;
        at = all->position[i];
        if (at % 8 == 0) entropy += all->points[0][i].entropy, sampled++;
    }
    cr_assert_gt(different, 0.1);
    near(all->entropies[0], entropy / (double)sampled, "the base's entropy at temperature 1");
    double own = runner_route_share(runners[0]), fewer = runner_route_share(runners[1]);
    cr_assert(fewer > 0 && fewer < own && own < 1, "%g %g", fewer, own);
    cr_assert_eq(runner_route_share(runners[2]), 0);
    /* another vocabulary */
    FixturePath dir;
    FixtureModel f = fixture_model_default();
    f.vocab = 1056;
    fixture_dir(dir);
    fixture_model(dir, &f);
    Model *larger;
    cr_assert_eq(model_open(&larger, dir, NULL, &err), 0, "%s", err.message);
    Runner *pair[] = {runners[0], runner_of(larger, 64)};
    EvalText *refused;
    cr_assert_eq(eval_text(&refused, pair, 2, t.tokens.ids, 100, options, NULL, &err), ERR_USAGE);
    runner_close(pair[1]);
    model_close(larger);
    fixture_remove(dir);
    eval_text_close(all);
    eval_text_close(alone);
    for (int i = 0; i < 3; i++) runner_close(runners[i]);
    model_close(other);
    cJSON_Delete(json);
    text_close(&t);
}
