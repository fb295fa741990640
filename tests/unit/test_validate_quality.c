/* What a type costs: figures against a plain computation with libm, token by token; and what limits make of
 * them. */
#include "core/sha256.h"
#include "fixture.h"
#include "model/views.h"
#include "retype_fixture.h"
#include "runner/runner.h"
#include "runner/tokenizer.h"
#include "support.h"
#include "validate/quality.h"
#include <math.h>

static const char *const prompts[] = {"And the LORD said", "In the beginning God created"};

typedef struct Bench {
    Model *source, *names, *artifact;
    FixturePath root, text;
    Recipe recipe;
} Bench;

/* type: the artifact's; DT_NONE: as the source. */
static void bench_open(Bench *b, DType type) {
    memset(b, 0, sizeof *b);
    fixture_dir(b->root);
    OK(model_open(&b->source, FIXTURE_TINY, NULL, err));
    OK(gguf_names_open(&b->names, b->source, &(GgufNamesOptions){0}, NULL, err));
    OK(retype_as(&b->artifact, b->names, type, NULL, err));
    b->recipe = (Recipe){.prompts = prompts,
                         .n_prompts = 2,
                         .n_tokens = 5,
                         .limits = {.max_kl = -1, .min_top1 = -1, .max_ppl_ratio = -1}};
}

static void bench_close(Bench *b) {
    model_close(b->artifact);
    model_close(b->names);
    model_close(b->source);
    fixture_remove(b->root);
}

static void bench_text(Bench *b, const char *text) {
    fixture_write_text(b->root, "text.txt", text);
    fixture_path(b->text, b->root, "text.txt");
    b->recipe.eval_text = b->text;
}

static int measure_code(const Bench *b, QualityRecord *q, unsigned threads, Error *err) {
    QualityTask task = {.recipe = &b->recipe, .label = "quality", .threads = threads};
    return quality_measure(q, b->source, b->artifact, &task, err);
}

static QualityRecord measured(const Bench *b, unsigned threads) {
    QualityRecord q;
    OK(measure_code(b, &q, threads, err));
    return q;
}

/* ---- the same, plainly ---- */

typedef struct Plain {
    Runner *source, *artifact;
    Tokens ids;
    double kl[1024], source_nll, nll, source_square, square; /* sums, and of squares */
    size_t n, same;
} Plain;

static double log_partition(const float *z, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)z[i]);
    return log(sum);
}

static size_t largest(const float *z, size_t n) {
    size_t at = 0;
    for (size_t i = 1; i < n; i++) at = z[i] > z[at] ? i : at;
    return at;
}

static void plain_open(Plain *p, const Bench *b, const char *text) {
    RunnerOptions options = {.context = 600, .kv = KV_F32, .threads = 1};
    Vocab *vocab;
    Tokenizer *t;
    memset(p, 0, sizeof *p);
    OK(runner_open(&p->source, b->source, options, NULL, err));
    OK(runner_open(&p->artifact, b->artifact, options, NULL, err));
    OK(vocab_open(&vocab, b->source, NULL, err));
    OK(tokenizer_open(&t, vocab, NULL, err));
    tokens_init(&p->ids, NULL);
    OK(tokenizer_encode(t, text, strlen(text), &p->ids, err));
    tokenizer_close(t);
    vocab_close(vocab);
}

static void plain_close(Plain *p) {
    runner_close(p->source);
    runner_close(p->artifact);
    tokens_free(&p->ids);
}

static void plain_feed(Plain *p, uint32_t token) {
    OK(runner_forward(p->source, &token, 1, err));
    OK(runner_forward(p->artifact, &token, 1, err));
}

/* The position that both stand at; the token behind it. Returns the source's own choice. */
static uint32_t plain_score(Plain *p, uint32_t next) {
    const float *a = runner_logits(p->source), *b = runner_logits(p->artifact);
    size_t n = runner_params(p->source)->n_vocab;
    double la = log_partition(a, n), lb = log_partition(b, n), kl = 0;
    for (size_t i = 0; i < n; i++) {
        double pa = exp((double)a[i] - la), pb = exp((double)b[i] - lb);
        if (pa > 0) kl += pa * log(pa / pb);
    }
    p->kl[p->n++] = kl;
    p->same += largest(a, n) == largest(b, n);
    double source_nll = la - (double)a[next], nll = lb - (double)b[next];
    p->source_nll += source_nll;
    p->source_square += source_nll * source_nll;
    p->nll += nll;
    p->square += nll * nll;
    return (uint32_t)largest(a, n);
}

static bool near(double a, double b) {
    return fabs(a - b) <= 1e-9 * fabs(b) + 1e-15;
}

/* As llama-perplexity spells it: the spread around the mean over n - 1, times the perplexity. */
static double interval(double sum, double square, size_t n) {
    double mean = sum / (double)n;
    return exp(mean) * sqrt((square / (double)n - mean * mean) / (double)(n - 1));
}

static void plain_agrees(Plain *p, const QualityRecord *q, bool text) {
    double mean = 0, spread = 0, most = 0;
    for (size_t i = 0; i < p->n; i++) mean += p->kl[i] / (double)p->n, most = fmax(most, p->kl[i]);
    for (size_t i = 0; i < p->n; i++) spread += (p->kl[i] - mean) * (p->kl[i] - mean);
    double error = 1.96 * sqrt(spread / (double)(p->n - 1)) / sqrt((double)p->n);
    cr_assert_eq(q->positions, p->n);
    cr_assert(q->kl > 0 && near(q->kl, mean), "%.12g, not %.12g", q->kl, mean);
    cr_assert(near(q->kl_error, error), "%.12g, not %.12g", q->kl_error, error);
    cr_assert(p->n < 1000 && near(q->kl_999, most)); /* of fewer than 1,000 it is the largest */
    cr_assert_eq(q->top1, (double)p->same / (double)p->n);
    cr_assert(near(q->source_ppl, text ? exp(p->source_nll / (double)p->n) : 0));
    cr_assert(near(q->ppl, text ? exp(p->nll / (double)p->n) : 0));
    cr_assert(near(q->ppl_error, text ? interval(p->nll, p->square, p->n) : 0));
    cr_assert(near(q->source_ppl_error, text ? interval(p->source_nll, p->source_square, p->n) : 0));
    cr_assert(!text || (q->ppl_error > 0 && q->ppl_error < q->ppl));
}

/* ---- figures ---- */

Test(validate_quality, prompts_by_definition) {
    Bench b;
    Plain all = {.n = 0};
    bench_open(&b, DT_Q4_0);
    for (size_t i = 0; i < 2; i++) {
        Plain p;
        plain_open(&p, &b, prompts[i]);
        for (size_t k = 0; k < p.ids.count; k++) plain_feed(&p, p.ids.ids[k]);
        for (uint32_t k = 0; k < 5; k++) {
            uint32_t next = plain_score(&p, 0);
            if (k < 4) plain_feed(&p, next);
        }
        for (size_t k = 0; k < p.n; k++) all.kl[all.n++] = p.kl[k];
        all.same += p.same;
        plain_close(&p);
    }
    QualityRecord q = measured(&b, 1), other = measured(&b, 3);
    cr_assert_eq(q.positions, 10);
    plain_agrees(&all, &q, false);
    cr_assert_eq(memcmp(&q, &other, sizeof q), 0, "threads change nothing");
    bench_close(&b);
}

static const char verses[] =
    "In the beginning God created the heaven and the earth. And the earth was without form, and void; and "
    "darkness was upon the face of the deep.\n";

Test(validate_quality, text_by_definition) {
    Bench b;
    Plain p;
    bench_open(&b, DT_Q4_0);
    bench_text(&b, verses);
    plain_open(&p, &b, verses);
    for (size_t i = 0; i + 1 < p.ids.count; i++) {
        plain_feed(&p, p.ids.ids[i]);
        plain_score(&p, p.ids.ids[i + 1]);
    }
    QualityRecord q = measured(&b, 2);
    plain_agrees(&p, &q, true);
    cr_assert(q.ppl > 1 && q.source_ppl > 1 && q.ppl != q.source_ppl);
    plain_close(&p);
    bench_close(&b);
}

/* Longer than the context: each window begins anew, and no token but a window's first goes unpredicted. */
Test(validate_quality, windows) {
    Bench b;
    Plain p;
    Buffer text;
    bench_open(&b, DT_Q8_0);
    uint32_t context = b.source->params.context;
    buffer_init(&text, NULL);
    for (int i = 0; i < 16; i++) buffer_text(&text, verses);
    bench_text(&b, buffer_string(&text));
    plain_open(&p, &b, buffer_string(&text));
    cr_assert(context <= QUALITY_WINDOW && p.ids.count > context && p.ids.count < 1000, "%zu", p.ids.count);
    for (size_t i = 0; i + 1 < p.ids.count; i++) {
        if (i % context == 0) {
            runner_reset(p.source);
            runner_reset(p.artifact);
        }
        if (i % context == context - 1) continue; /* what follows is another window's */
        plain_feed(&p, p.ids.ids[i]);
        plain_score(&p, p.ids.ids[i + 1]);
    }
    QualityRecord q = measured(&b, 2);
    plain_agrees(&p, &q, true);
    buffer_free(&text);
    plain_close(&p);
    bench_close(&b);
}

Test(validate_quality, identical_models_lose_nothing) {
    Bench b;
    bench_open(&b, DT_NONE);
    for (int with_text = 0; with_text < 2; with_text++) {
        if (with_text) bench_text(&b, verses);
        QualityRecord q = measured(&b, 2);
        cr_assert(q.positions > 0 && q.kl == 0 && q.kl_error == 0 && q.kl_999 == 0 && q.top1 == 1);
        cr_assert(with_text ? q.ppl > 1 && q.ppl == q.source_ppl : q.ppl == 0 && q.source_ppl == 0);
    }
    bench_close(&b);
}

/* Better types cost less. */
Test(validate_quality, ordered_by_bits) {
    static const DType types[] = {DT_Q8_0, DT_Q5_1, DT_Q4_0};
    double before = 0;
    for (int i = 0; i < 3; i++) {
        Bench b;
        bench_open(&b, types[i]);
        bench_text(&b, verses);
        QualityRecord q = measured(&b, 2);
        cr_assert(q.kl > before, "%s: %g", dtype_name(types[i]), q.kl);
        before = q.kl;
        bench_close(&b);
    }
    cr_assert_lt(before, 1);
}

Test(validate_quality, texts_that_do_not_do) {
    Bench b;
    QualityRecord q;
    Error found = {0};
    bench_open(&b, DT_Q8_0);
    bench_text(&b, "");
    cr_assert_eq(measure_code(&b, &q, 1, &found), ERR_RECIPE);
    cr_assert(strstr(found.message, "text.txt has 0 tokens: quality needs at least two"), "%s",
              found.message);
    cr_assert_eq(q.positions, 0);
    bench_text(&b, "a");
    cr_assert_eq(measure_code(&b, &q, 1, &found), ERR_RECIPE);
    fixture_unlink(b.root, "text.txt");
    cr_assert_eq(measure_code(&b, &q, 1, &found), ERR_IO);
    cr_assert_eq(q.positions, 0);
    bench_close(&b);
}

/* A file with more tokens than the source must not be believed. */
Test(validate_quality, other_models_are_refused) {
    for (int k = 0; k < 3; k++) {
        Bench b;
        Model *other;
        QualityRecord q;
        Error found = {0};
        FixtureModel m = fixture_model_default();
        bench_open(&b, DT_NONE);
        m.hidden = b.source->params.n_embd, m.vocab = b.source->params.n_vocab;
        if (k == 0)
            m.vocab *= 2;
        else if (k == 1)
            m.hidden *= 4;
        else
            m.vocab -= 8;
        fixture_model(b.root, &m);
        OK(model_open(&other, b.root, NULL, err));
        QualityTask task = {.recipe = &b.recipe, .label = "quality", .threads = 1};
        cr_assert_eq(quality_measure(&q, b.source, other, &task, &found), ERR_FORMAT);
        cr_assert(strstr(found.message, "can't be compared"), "%s", found.message);
        model_close(other);
        bench_close(&b);
    }
}

static int stop(void *context, const char *phase, uint64_t done, uint64_t total) {
    size_t *calls = context;
    cr_assert_str_eq(phase, "quality");
    cr_assert_leq(done, total);
    return ++*calls == 3;
}

Test(validate_quality, stops_when_asked) {
    Bench b;
    QualityRecord q;
    Error found = {0};
    size_t calls = 0;
    Progress progress = {.update = stop, .context = &calls};
    bench_open(&b, DT_Q8_0);
    QualityTask task = {.recipe = &b.recipe, .label = "quality", .threads = 1, .progress = &progress};
    cr_assert_eq(quality_measure(&q, b.source, b.artifact, &task, &found), ERR_INTERRUPTED);
    cr_assert_eq(q.positions, 0);
    bench_close(&b);
}

/* ---- judging ---- */

Test(validate_quality, limits) {
    const QualityRecord on_text = {100, 0.01, 0.001, 0.05, 0.9, 8, 8.4, 0, 0}; /* ratio 1.05 */
    const QualityRecord on_prompts = {100, 0.01, 0.001, 0.05, 0.9, 0, 0, 0, 0},
                        nan = {1, NAN, 0, 0, NAN, NAN, NAN, NAN, NAN};
    static const char beyond[] = "; beyond the recipe's limits", none[] = "; the recipe sets no limit",
                      blind[] = "; max_ppl_ratio needs a text (validate.text)";
    const struct {
        const QualityRecord *q;
        QualityLimits limits;
        CheckStatus status;
        const char *words; /* at the end; "" if it passed */
    } cases[] = {
        {&on_text, {-1, -1, -1}, CHECK_NOT_RUN, none},
        {&on_text, {0.01, -1, -1}, CHECK_PASS, ""},
        {&on_text, {0.0099, -1, -1}, CHECK_FAIL, beyond},
        {&on_text, {0, -1, -1}, CHECK_FAIL, beyond},
        {&on_text, {-1, 0.9, -1}, CHECK_PASS, ""},
        {&on_text, {-1, 0.9001, -1}, CHECK_FAIL, beyond},
        {&on_text, {-1, 0, -1}, CHECK_PASS, ""},
        {&on_text, {-1, -1, 1.06}, CHECK_PASS, ""},
        {&on_text, {-1, -1, 1.04}, CHECK_FAIL, beyond},
        {&on_text, {0.02, 0.8, 1.1}, CHECK_PASS, ""},
        {&on_text, {0.02, 0.8, 1}, CHECK_FAIL, beyond},
        {&on_text, {0.02, 0.95, 1.1}, CHECK_FAIL, beyond},
        {&on_text, {0.001, 0.8, 1.1}, CHECK_FAIL, beyond},
        {&on_prompts, {-1, -1, 1.1}, CHECK_NOT_RUN, blind},
        {&on_prompts, {0.02, 0.8, 1.1}, CHECK_NOT_RUN, blind},
        {&on_prompts, {0.001, -1, 1.1}, CHECK_FAIL, beyond},
        {&on_prompts, {0.02, 0.8, -1}, CHECK_PASS, ""},
        {&nan, {1, -1, -1}, CHECK_FAIL, beyond},
        {&nan, {-1, 0.1, -1}, CHECK_FAIL, beyond},
        {&nan, {-1, -1, 2}, CHECK_FAIL, beyond},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Report *r;
        Recipe recipe = {.limits = cases[i].limits};
        OK(report_open(&r, NULL, err));
        quality_judge(r, "x.gguf", cases[i].q, &recipe);
        OK(report_ok(r, err));
        cr_assert_eq(r->n_checks, 1);
        const Check *c = &r->checks[0];
        size_t words = strlen(cases[i].words), length = strlen(c->detail);
        cr_assert_eq(c->status, cases[i].status, "case %zu: %s", i, c->detail);
        cr_assert(length > words && !strcmp(c->detail + length - words, cases[i].words), "%s", c->detail);
        cr_assert(words || !strchr(c->detail, ';'), "%s", c->detail);
        cr_assert_str_eq(c->group, "quality");
        cr_assert_str_eq(c->name, "x.gguf");
        report_close(r);
    }
}

Test(validate_quality, what_a_check_says) {
    Report *r;
    Recipe recipe = {.limits = {.max_kl = 1, .min_top1 = -1, .max_ppl_ratio = -1}};
    const QualityRecord q = {100, 0.0123456, 0.00234, 0.0567, 0.98765, 8, 8.4, 0.25, 0.5};
    OK(report_open(&r, NULL, err));
    quality_judge(r, "x", &q, &recipe);
    quality_lossless(r, "y");
    cr_assert_str_eq(r->checks[0].detail, "100 positions: mean KL 0.0123 +- 0.0023 (99.9 %: 0.0567), top-1 "
                                          "0.9877, perplexity 8.4000 +- 0.9800, 1.0500 times the source's");
    cr_assert_eq(r->checks[1].status, CHECK_PASS);
    cr_assert_str_eq(r->checks[1].detail, "lossless: the source's own weights");
    cr_assert_eq(report_group(r, "quality"), CHECK_PASS);
    report_close(r);
}
