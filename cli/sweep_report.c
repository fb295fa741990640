/* sweep_report.c -- a sweep as a table, CSV, JSON, and a page with pictures. */
#include "cli/page.h"
#include "cli/sweep.h"
#include "core/output.h"
#include "core/strict_math.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the terminal ---- */

/* "3.35 B", "221.6 k" */
static const char *human_count(double n, char out[32]) {
    static const char *const units[] = {"", "k", "M", "B", "T"};
    int u = 0;
    while (n >= 1000 && u < 4) n /= 1000, u++;
    snprintf(out, 32, "%.4g %s", n, units[u]);
    return out;
}

static void print_costs(const Sweep *s) {
    char bytes[32], kv[32], count[32];
    printf("experts  rope          active parameters  bytes a token  KV at %-8s prefill  decode tok/s\n",
           "context");
    for (size_t i = 0; i < s->n_settings; i++) {
        const SweepSetting *t = &s->settings[i];
        printf("%7u%c %-12s  %16s   %13s  %9s@%-6u", t->experts, t->base ? '*' : ' ', t->rope,
               human_count(t->active_parameters, count), human_bytes((uint64_t)t->bytes_per_token, bytes),
               human_bytes(t->kv_bytes, kv), t->context);
        if (t->decode > 0)
            printf(" %7.0f  %7.0f\n", t->prefill, t->decode);
        else
            printf("       -        -\n");
    }
    printf("* the model's own setting\n");
}

static void print_depth(const Sweep *s, size_t w) {
    printf("\nwindows of %u\nexperts  rope          perplexity    nats a token   less the base's          KL "
           "     top-1  "
           "router  entropy  like T\n",
           s->windows[w]);
    for (size_t i = 0; i < s->n_settings; i++) {
        const SweepSetting *t = &s->settings[i];
        const SweepDepth *d = &t->depth[w];
        printf("%7u%c %-12s  %10.3f  %9.4f+-%.3f", t->experts, t->base ? '*' : ' ', t->rope,
               strict_exp(d->nll.mean), d->nll.mean, d->nll.error);
        printf("  %+.4f (%+.4f %+.4f)  %8.5f  %6.2f %%  %5.1f %%  %7.3f", d->delta, d->low, d->high,
               d->kl.mean, 100 * d->same.mean, 100 * d->route_share, d->entropy.mean);
        if (isfinite(d->temperature))
            printf("  %6.2f\n", d->temperature);
        else
            printf("       -\n");
    }
}

void sweep_print(const Sweep *s) {
    print_costs(s);
    for (size_t w = 0; w < s->n_windows; w++) print_depth(s, w);
    printf("\n%zu tokens; intervals of 95 %%, those of differences paired; router: share of its probability "
           "that the "
           "chosen experts hold; like T: the temperature at which the base is as undecided; %s\n",
           s->tokens, s->arithmetic);
}

/* ---- JSON and CSV ---- */

static void put_number(cJSON *o, const char *key, double value) {
    if (isfinite(value))
        cJSON_AddNumberToObject(o, key, value);
    else
        cJSON_AddNullToObject(o, key);
}

static cJSON *depth_json(const SweepDepth *d, uint32_t window) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "window", window);
    put_number(o, "perplexity", strict_exp(d->nll.mean));
    put_number(o, "nll", d->nll.mean);
    put_number(o, "nll_error", d->nll.error);
    put_number(o, "nll_difference", d->delta);
    put_number(o, "nll_difference_low", d->low);
    put_number(o, "nll_difference_high", d->high);
    put_number(o, "kl", d->kl.mean);
    put_number(o, "kl_error", d->kl.error);
    put_number(o, "top1", d->same.mean);
    put_number(o, "entropy", d->entropy.mean);
    put_number(o, "router_share", d->route_share);
    put_number(o, "equivalent_temperature", d->temperature);
    return o;
}

cJSON *sweep_json(const Sweep *s) {
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddNumberToObject(doc, "tokens", (double)s->tokens);
    cJSON_AddStringToObject(doc, "arithmetic", s->arithmetic);
    cJSON_AddNumberToObject(doc, "weight_bytes", (double)s->weight_bytes);
    memory_plan_put(doc, &s->memory);
    cJSON *list = cJSON_AddArrayToObject(doc, "settings");
    for (size_t i = 0; i < s->n_settings; i++) {
        const SweepSetting *t = &s->settings[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "experts", t->experts);
        cJSON_AddStringToObject(o, "rope", t->rope);
        cJSON_AddNumberToObject(o, "context", t->context);
        cJSON_AddBoolToObject(o, "base", t->base);
        put_number(o, "active_parameters", t->active_parameters);
        put_number(o, "bytes_per_token", t->bytes_per_token);
        put_number(o, "kv_bytes", (double)t->kv_bytes);
        if (t->decode > 0) {
            put_number(o, "prefill_tokens_per_second", t->prefill);
            put_number(o, "decode_tokens_per_second", t->decode);
        }
        cJSON *depth = cJSON_AddArrayToObject(o, "depth");
        for (size_t w = 0; w < s->n_windows; w++)
            cJSON_AddItemToArray(depth, depth_json(&t->depth[w], s->windows[w]));
        cJSON_AddItemToArray(list, o);
    }
    return doc;
}

int sweep_csv(const Sweep *s, const char *path, Error *err) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_text(&b,
                "experts,rope,context,base,active_parameters,bytes_per_token,kv_bytes,window,perplexity,nll,"
                "nll_error,"
                "nll_difference,nll_difference_low,nll_difference_high,kl,kl_error,top1,entropy,router_share,"
                "equivalent_temperature\n");
    for (size_t i = 0; i < s->n_settings; i++)
        for (size_t w = 0; w < s->n_windows; w++) {
            const SweepSetting *t = &s->settings[i];
            const SweepDepth *d = &t->depth[w];
            buffer_printf(&b, "%u,%s,%u,%d,%.0f,%.0f,%llu,%u,", t->experts, t->rope, t->context, t->base,
                          t->active_parameters, t->bytes_per_token, (unsigned long long)t->kv_bytes,
                          s->windows[w]);
            buffer_printf(&b, "%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,", strict_exp(d->nll.mean), d->nll.mean,
                          d->nll.error, d->delta, d->low, d->high);
            buffer_printf(&b, "%.6g,%.6g,%.6g,%.6g,%.6g,", d->kl.mean, d->kl.error, d->same.mean,
                          d->entropy.mean, d->route_share);
            if (isfinite(d->temperature)) buffer_printf(&b, "%.4g", d->temperature);
            buffer_char(&b, '\n');
        }
    int code = buffer_ok(&b, "a table", err);
    if (!code) code = output_file(path, b.data, b.length, NULL, err);
    buffer_free(&b);
    return code;
}

/* ---- the page ---- */

typedef double (*DepthFigure)(const SweepDepth *d);

static double ppl(const SweepDepth *d) {
    return strict_exp(d->nll.mean);
}
static double ppl_low(const SweepDepth *d) {
    return strict_exp(d->nll.mean - d->nll.error);
}
static double ppl_high(const SweepDepth *d) {
    return strict_exp(d->nll.mean + d->nll.error);
}
static double delta(const SweepDepth *d) {
    return d->delta;
}
static double delta_low(const SweepDepth *d) {
    return d->low;
}
static double delta_high(const SweepDepth *d) {
    return d->high;
}
static double kl(const SweepDepth *d) {
    return d->kl.mean;
}
static double share(const SweepDepth *d) {
    return 100 * d->route_share;
}
static double entropy(const SweepDepth *d) {
    return d->entropy.mean;
}

typedef struct Picture {
    const char *title, *y_label;
    DepthFigure value, low, high; /* low NULL: no intervals */
} Picture;

/* One line for each kind of RoPE and window, over the number of experts in rising order. */
static int add_series(PageSeries *out, const Sweep *s, const char *rope, size_t w, const Picture *p,
                      Arena *arena, Error *err) {
    double *v = arena_alloc(arena, 4 * s->n_settings, sizeof *v);
    const char *name = arena_printf(arena, "%s, windows of %u", rope, s->windows[w]);
    if (!v || !name) return error_memory(err, "a picture");
    double *x = v, *y = v + s->n_settings, *low = y + s->n_settings, *high = low + s->n_settings;
    size_t n = 0;
    for (uint32_t least = 0;;) {
        const SweepSetting *next = NULL;
        for (size_t i = 0; i < s->n_settings; i++) {
            const SweepSetting *t = &s->settings[i];
            if (t->experts > least && !strcmp(t->rope, rope) && (!next || t->experts < next->experts))
                next = t;
        }
        if (!next) break;
        x[n] = next->experts;
        y[n] = p->value(&next->depth[w]);
        low[n] = p->low ? p->low(&next->depth[w]) : 0;
        high[n] = p->high ? p->high(&next->depth[w]) : 0;
        least = next->experts;
        n++;
    }
    *out = (PageSeries){
        .name = name, .n = n, .x = x, .y = y, .low = p->low ? low : NULL, .high = p->low ? high : NULL};
    return 0;
}

static int chart_of(PageChart *out, const Sweep *s, const Picture *p, Arena *arena, Error *err) {
    PageSeries *series = arena_alloc(arena, s->n_settings * s->n_windows, sizeof *series);
    size_t n = 0;
    if (!series) return error_memory(err, "a picture");
    for (size_t i = 0; i < s->n_settings; i++) {
        bool seen = false;
        for (size_t k = 0; k < i; k++) seen = seen || !strcmp(s->settings[k].rope, s->settings[i].rope);
        if (seen) continue;
        for (size_t w = 0; w < s->n_windows; w++)
            TRY(add_series(&series[n++], s, s->settings[i].rope, w, p, arena, err));
    }
    *out = (PageChart){.title = p->title,
                       .x_label = "experts a token",
                       .y_label = p->y_label,
                       .n_series = n,
                       .series = series};
    return 0;
}

static void table(Buffer *b, const Sweep *s) {
    buffer_text(
        b,
        "<table><thead><tr><th>experts</th><th>rope</th><th>window</th><th>perplexity</th><th>nats less the "
        "base's</th><th>KL</th><th>top-1</th><th>router</th><th>entropy</th><th>like T</th><th>active "
        "parameters</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < s->n_settings; i++)
        for (size_t w = 0; w < s->n_windows; w++) {
            const SweepSetting *t = &s->settings[i];
            const SweepDepth *d = &t->depth[w];
            buffer_printf(b, "<tr><td>%u%s</td><td>", t->experts, t->base ? " (the model's own)" : "");
            page_text(b, t->rope);
            buffer_printf(
                b,
                "</td><td>%u</td><td>%.4f</td><td>%+.4f (%+.4f to %+.4f)</td><td>%.5f</td><td>%.2f %%</td>",
                s->windows[w], strict_exp(d->nll.mean), d->delta, d->low, d->high, d->kl.mean,
                100 * d->same.mean);
            buffer_printf(b, "<td>%.1f %%</td><td>%.3f</td><td>", 100 * d->route_share, d->entropy.mean);
            if (isfinite(d->temperature)) buffer_printf(b, "%.2f", d->temperature);
            buffer_printf(b, "</td><td>%.3g</td></tr>\n", t->active_parameters);
        }
    buffer_text(b, "</tbody></table>\n");
}

static const Picture pictures[] = {
    {"Perplexity", "perplexity", ppl, ppl_low, ppl_high},
    {"Nats a token less the model's own setting, paired", "nats", delta, delta_low, delta_high},
    {"KL divergence from the model's own setting", "nats", kl, NULL, NULL},
    {"Router probability held by the chosen experts", "%", share, NULL, NULL},
    {"Mean entropy of the next token", "nats", entropy, NULL, NULL}};
enum { N_PICTURES = sizeof pictures / sizeof pictures[0] };

int sweep_picture(const Sweep *s, const char *path, Error *err) {
    PageChart charts[N_PICTURES];
    Buffer b;
    Arena *arena;
    int code = 0;
    TRY(arena_open(&arena, NULL, err));
    buffer_init(&b, NULL);
    for (size_t i = 0; !code && i < N_PICTURES; i++) code = chart_of(&charts[i], s, &pictures[i], arena, err);
    if (!code) {
        page_picture(&b, charts, N_PICTURES);
        code = buffer_ok(&b, "a picture", err);
    }
    if (!code) code = output_file(path, b.data, b.length, NULL, err);
    buffer_free(&b);
    arena_close(arena);
    return code;
}

int sweep_page(const Sweep *s, const char *path, Error *err) {
    Buffer b;
    Arena *arena;
    TRY(arena_open(&arena, NULL, err));
    buffer_init(&b, NULL);
    page_begin(&b, "Experts a token, and what they do to the predictions");
    buffer_text(&b, "<p>");
    page_text(&b, s->model->path);
    buffer_printf(&b, ", %zu tokens. Intervals of 95 %%; those of differences are paired bootstraps.</p>\n",
                  s->tokens);
    int code = 0;
    for (size_t i = 0; !code && i < N_PICTURES; i++) {
        PageChart chart;
        code = chart_of(&chart, s, &pictures[i], arena, err);
        if (!code) page_chart(&b, &chart);
    }
    table(&b, s);
    page_end(&b);
    if (!code) code = buffer_ok(&b, "a page", err);
    if (!code) code = output_file(path, b.data, b.length, NULL, err);
    buffer_free(&b);
    arena_close(arena);
    return code;
}
