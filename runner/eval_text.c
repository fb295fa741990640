/* eval_text.c -- see eval_text.h. */
#include "runner/eval_text.h"

typedef struct Cut {
    size_t n_windows, n; /* windows, and positions that are scored in all of them */
} Cut;

/* Positions that a window of `length` tokens scores: from *first, as many as are returned. */
static size_t scored(const EvalTextOptions *o, size_t length, size_t *first) {
    *first = 0;
    if (o->second_half) {
        if (length < o->window) return 0;
        *first = o->window / 2;
    }
    return length > *first + 1 ? length - 1 - *first : 0;
}

static Cut cut(const EvalTextOptions *o, size_t n_tokens) {
    Cut c = {0, 0};
    for (size_t at = 0, length; at < n_tokens; at += length) {
        size_t left = n_tokens - at, first;
        length = left < o->window ? left : o->window;
        size_t n = scored(o, length, &first);
        c.n += n;
        c.n_windows += n > 0;
    }
    return c;
}

static int allocate(EvalText *t, const Cut *c, const EvalTextOptions *o, Error *err) {
    t->n = c->n;
    t->n_windows = c->n_windows;
    t->position = arena_alloc(t->arena, c->n, sizeof *t->position);
    t->points = arena_alloc(t->arena, t->n_models, sizeof *t->points);
    t->entropies = arena_alloc(t->arena, o->n_temperatures, sizeof *t->entropies);
    bool ok = t->position && t->points && t->entropies;
    for (size_t k = 0; ok && k < t->n_models; k++) {
        t->points[k] = arena_alloc(t->arena, c->n, sizeof **t->points);
        ok = t->points[k] != NULL;
    }
    return ok ? 0 : error_memory(err, "the figures of a text");
}

static int run(EvalText *t, Runner *const *runners, EvalRoom *room, const uint32_t *tokens,
               const EvalTextOptions *o, Error *err) {
    EvalPoint **points = arena_alloc(t->arena, t->n_models, sizeof *points);
    size_t done = 0, samples = 0, most = o->window / 8 + 1;
    double *entropies = arena_alloc(t->arena, most * (o->n_temperatures + 1), sizeof *entropies);
    if (!points || !entropies) return error_memory(err, "the figures of a text");
    for (size_t at = 0, length; at < t->n_tokens; at += length) {
        size_t left = t->n_tokens - at, first;
        length = left < o->window ? left : o->window;
        size_t n = scored(o, length, &first);
        if (!n) continue;
        TRY(progress_update(o->progress, o->phase, done, t->n, err));
        for (size_t k = 0; k < t->n_models; k++) points[k] = t->points[k] + done;
        EvalWindow w = {.tokens = tokens + at, .n = length, .first = first, .end = first + n, .known = true};
        if (o->n_temperatures) w.entropies = entropies;
        w.temperatures = o->temperatures;
        w.n_temperatures = o->n_temperatures;
        TRY(eval_window(points, runners, t->n_models, room, &w, err));
        for (size_t i = 0; i < (n + 7) / 8 * o->n_temperatures; i++)
            t->entropies[i % o->n_temperatures] += entropies[i];
        samples += (n + 7) / 8;
        for (size_t i = 0; i < n; i++) t->position[done + i] = (uint32_t)(first + i);
        done += n;
    }
    for (size_t i = 0; i < o->n_temperatures; i++) t->entropies[i] /= (double)samples;
    return progress_update(o->progress, o->phase, t->n, t->n, err);
}

int eval_text(EvalText **out, Runner *const *runners, size_t n_models, const uint32_t *tokens,
              size_t n_tokens, EvalTextOptions options, const Allocator *allocator, Error *err) {
    Arena *arena;
    EvalRoom *room = NULL;
    *out = NULL;
    if (options.window < 2)
        return error_set(err, ERR_USAGE, "a window of %u tokens scores nothing", options.window);
    if (options.max_tokens && n_tokens > options.max_tokens) n_tokens = options.max_tokens;
    Cut c = cut(&options, n_tokens);
    if (!c.n)
        return error_set(err, ERR_USAGE, "a text of %zu tokens has nothing to score in windows of %u",
                         n_tokens, options.window);
    TRY(arena_open(&arena, allocator, err));
    EvalText *t = arena_alloc(arena, 1, sizeof *t);
    int code = t ? 0 : error_memory(err, "the figures of a text");
    if (!code) {
        *t = (EvalText){.n_models = n_models, .n_tokens = n_tokens, .arena = arena};
        code = allocate(t, &c, &options, err);
    }
    if (!code)
        code = eval_room_open(&room, runner_params(runners[0]), n_models, options.window, allocator, err);
    if (!code) code = run(t, runners, room, tokens, &options, err);
    eval_room_close(room);
    if (code)
        arena_close(arena);
    else
        *out = t;
    return code;
}

void eval_text_close(EvalText *t) {
    if (t) arena_close(t->arena);
}

/* ---- figures ---- */

size_t eval_text_figures(double *values, const EvalText *t, size_t model, EvalFigure figure, uint32_t from,
                         uint32_t to) {
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        if (t->position[i] >= from && t->position[i] < to) values[n++] = figure(&t->points[model][i]);
    return n;
}

double eval_nll(const EvalPoint *p) {
    return p->nll;
}
double eval_entropy(const EvalPoint *p) {
    return p->entropy;
}
double eval_kl(const EvalPoint *p) {
    return p->kl;
}
double eval_error(const EvalPoint *p) {
    return p->error;
}
double eval_same(const EvalPoint *p) {
    return p->same;
}
