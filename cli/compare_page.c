/* compare_page.c -- what compare found, as one HTML page: a picture of the error of every tensor by layer,
 * and the table. Nothing is loaded from elsewhere, and names from files are escaped. */
#include "cli/compare.h"
#include "cli/page.h"
#include "core/output.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WIDTH = 920,
    HEIGHT = 420,
    LEFT = 70,
    RIGHT = 190, /* the legend */
    TOP = 20,
    BOTTOM = 50,
    MOST_KINDS = 24,
};

/* ---- kinds and layers ---- */

/* "blk.7.attn_q.weight": layer 7, kind "attn_q.weight"; else layer -1 and the whole name. */
static const char *kind_of(const char *name, int *layer) {
    char *end;
    *layer = -1;
    if (strncmp(name, "blk.", 4) != 0) return name;
    long n = strtol(name + 4, &end, 10);
    if (end == name + 4 || *end != '.' || n < 0 || n > 100000) return name;
    *layer = (int)n;
    return end + 1;
}

typedef struct Plot {
    const ComparedTensors *t;
    const char *kinds[MOST_KINDS]; /* of those inside layers; further ones share the last colour */
    int n_kinds, n_layers;
    int low, high; /* powers of ten of the axis */
} Plot;

static bool shown(const ComparedTensor *t) {
    return t->d.measured && t->d.differ && isfinite(t->d.relative) && t->d.relative > 0;
}

static int kind_index(Plot *p, const char *kind) {
    for (int i = 0; i < p->n_kinds; i++)
        if (!strcmp(p->kinds[i], kind)) return i;
    if (p->n_kinds == MOST_KINDS) return MOST_KINDS - 1;
    p->kinds[p->n_kinds] = kind;
    return p->n_kinds++;
}

static void look(Plot *p) {
    double least = INFINITY, most = 0;
    for (size_t i = 0; i < p->t->n; i++) {
        int layer;
        if (!shown(&p->t->list[i])) continue;
        kind_index(p, kind_of(p->t->list[i].name, &layer));
        if (layer + 1 > p->n_layers) p->n_layers = layer + 1;
        if (p->t->list[i].d.relative < least) least = p->t->list[i].d.relative;
        if (p->t->list[i].d.relative > most) most = p->t->list[i].d.relative;
    }
    p->low = most > 0 ? (int)floor(log10(least)) : -3;
    p->high = most > 0 ? (int)ceil(log10(most)) : 0;
    if (p->high == p->low) p->high++;
}

/* ---- the picture ---- */

/* Layers get equal columns, what is in none the first one. */
static double x_of(const Plot *p, int layer) {
    return LEFT + (layer + 1.5) * (WIDTH - LEFT - RIGHT) / (p->n_layers + 1);
}

static double y_of(const Plot *p, double relative) {
    return TOP + (p->high - log10(relative)) * (HEIGHT - TOP - BOTTOM) / (p->high - p->low);
}

static void axes(Buffer *b, const Plot *p) {
    for (int e = p->low; e <= p->high; e++) {
        double y = y_of(p, pow(10, e));
        buffer_printf(b, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" class=\"grid\"/>", LEFT,
                      WIDTH - RIGHT, y, y);
        buffer_printf(b, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT - 8, y + 4,
                      pow(10, e));
    }
    int step = p->n_layers > 24 ? 8 : p->n_layers > 8 ? 4 : 1;
    for (int layer = -1; layer < p->n_layers; layer++) {
        if (layer > 0 && layer % step) continue;
        buffer_printf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", x_of(p, layer),
                      HEIGHT - BOTTOM + 18);
        if (layer < 0)
            buffer_text(b, "none");
        else
            buffer_printf(b, "%d", layer);
        buffer_text(b, "</text>\n");
    }
    buffer_printf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">layer</text>\n",
                  (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10);
    buffer_printf(b,
                  "<text x=\"16\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 16 %d)\">relative "
                  "error</text>\n",
                  (TOP + HEIGHT - BOTTOM) / 2, (TOP + HEIGHT - BOTTOM) / 2);
}

static void points(Buffer *b, Plot *p) {
    for (size_t i = 0; i < p->t->n; i++) {
        const ComparedTensor *t = &p->t->list[i];
        int layer;
        if (!shown(t)) continue;
        int kind = kind_index(p, kind_of(t->name, &layer));
        buffer_printf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"", x_of(p, layer),
                      y_of(p, t->d.relative));
        page_colour(b, (size_t)kind);
        buffer_text(b, "\"><title>");
        page_text(b, t->name);
        buffer_printf(b, " %s %.4g</title></circle>\n", t->what, t->d.relative);
    }
}

static void legend(Buffer *b, const Plot *p) {
    int pitch = p->n_kinds * 18 > HEIGHT - TOP - BOTTOM ? (HEIGHT - TOP - BOTTOM) / p->n_kinds : 18;
    for (int i = 0; i < p->n_kinds; i++) {
        int y = TOP + 10 + i * pitch;
        buffer_printf(b, "<circle cx=\"%d\" cy=\"%d\" r=\"4\" fill=\"", WIDTH - RIGHT + 16, y);
        page_colour(b, (size_t)i);
        buffer_printf(b, "\"/><text x=\"%d\" y=\"%d\">", WIDTH - RIGHT + 26, y + 4);
        page_text(b, p->kinds[i]);
        buffer_text(b, "</text>\n");
    }
}

static void picture(Buffer *b, Plot *p) {
    look(p);
    if (!p->n_kinds) {
        buffer_text(b, "<p>No tensor differs in its numbers.</p>\n");
        return;
    }
    buffer_printf(b, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"relative error by layer\">\n",
                  WIDTH, HEIGHT);
    axes(b, p);
    points(b, p);
    legend(b, p);
    buffer_text(b, "</svg>\n");
}

/* ---- the table ---- */

static void table(Buffer *b, const ComparedTensors *t) {
    buffer_text(b, "<table><thead><tr><th>tensor</th><th>types</th><th>relative error</th><th>rmse</th>"
                   "<th>largest</th><th>cosine</th><th>elements that differ</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < t->n; i++) {
        const TensorDifference *d = &t->list[i].d;
        buffer_text(b, "<tr><td>");
        page_text(b, t->list[i].name);
        buffer_text(b, "</td><td>");
        page_text(b, t->list[i].what);
        buffer_text(b, "</td>");
        if (d->measured)
            buffer_printf(b,
                          "<td>%.4g</td><td>%.4g</td><td>%.4g</td><td>%.6f</td><td>%llu of %llu</td></tr>\n",
                          d->relative, d->rmse, d->max, d->cosine, (unsigned long long)d->differ,
                          (unsigned long long)d->elements);
        else
            buffer_text(b, "<td></td><td></td><td></td><td></td><td></td></tr>\n");
    }
    buffer_text(b, "</tbody></table>\n");
}

int compare_page(const char *path, const ComparedTensors *t, const char *name_a, const char *name_b,
                 Error *err) {
    Buffer b, title;
    Plot plot = {.t = t};
    buffer_init(&b, NULL);
    buffer_init(&title, NULL);
    buffer_printf(&title, "%s against %s", name_a, name_b);
    page_begin(&b, buffer_string(&title));
    if (title.failed) b.failed = true;
    buffer_free(&title);
    buffer_printf(
        &b,
        "<p>%zu tensors identical, %zu differ, %zu only in the first, %zu only in the second. Relative "
        "error: root mean square of the difference over that of the first model's tensor.</p>\n",
        t->same, t->differ, t->only_a, t->only_b);
    picture(&b, &plot);
    table(&b, t);
    page_end(&b);
    int code = buffer_ok(&b, "a page", err);
    if (!code) code = output_file(path, b.data, b.length, NULL, err);
    buffer_free(&b);
    return code;
}
