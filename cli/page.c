/* page.c -- see page.h. */
#include "cli/page.h"
#include <math.h>
#include <string.h>

enum {
    WIDTH = 900,
    HEIGHT = 320,
    LEFT = 70,
    RIGHT = 210,
    TOP = 34,
    BOTTOM = 46,
    MOST_TICKS = 12,
    MOST_PLACES = 64
};

void page_text(Buffer *b, const char *text) {
    Buffer safe;
    buffer_init(&safe, NULL);
    buffer_printable(&safe, text, strlen(text));
    for (const char *c = buffer_string(&safe); *c; c++) {
        if (*c == '<')
            buffer_text(b, "&lt;");
        else if (*c == '&')
            buffer_text(b, "&amp;");
        else if (*c == '"')
            buffer_text(b, "&quot;");
        else
            buffer_char(b, *c);
    }
    if (safe.failed) b->failed = true;
    buffer_free(&safe);
}

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.4rem}svg{width:100%;height:auto;background:#fafafa;border:1px solid #ddd;margin:.5rem 0}"
    "svg text{font:12px system-ui,sans-serif;fill:#333}svg .title{font-weight:600}.grid{stroke:#ddd}"
    "table{border-collapse:collapse;width:100%;font-size:.85rem;margin-top:1rem;display:block;overflow-x:"
    "auto}"
    "th,td{text-align:right;padding:.2rem .5rem;border-bottom:1px solid #eee;white-space:nowrap}"
    "th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}";

void page_begin(Buffer *b, const char *title) {
    buffer_text(b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                   "content=\"width=device-width\"><title>");
    page_text(b, title);
    buffer_text(b, "</title><style>");
    buffer_text(b, style);
    buffer_text(b, "</style></head><body>\n<h1>");
    page_text(b, title);
    buffer_text(b, "</h1>\n");
}

void page_end(Buffer *b) {
    buffer_text(b, "</body></html>\n");
}

void page_colour(Buffer *b, size_t i) {
    buffer_printf(b, "hsl(%d 65%% 45%%)", (int)(i * 137 % 360));
}

/* ---- axes ---- */

typedef struct Axis {
    double low, high, step;
} Axis;

/* Round numbers around what is there: steps of 1, 2 or 5 times a power of ten. */
static Axis axis_of(double low, double high) {
    if (!(low <= high)) low = 0, high = 1;
    if (high - low <= fabs(high) * 1e-9) low -= 0.5, high += 0.5;
    double rough = (high - low) / 5, power = pow(10, floor(log10(rough))), digit = rough / power;
    double step = power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
    return (Axis){floor(low / step) * step, ceil(high / step) * step, step};
}

static void cover(double *low, double *high, double v) {
    if (!isfinite(v)) return;
    if (v < *low) *low = v;
    if (v > *high) *high = v;
}

/* The x values that are there, rising: each gets the same room, since counts of experts double rather than
 * add. */
typedef struct Places {
    double v[MOST_PLACES];
    size_t n;
} Places;

static void add_place(Places *p, double v) {
    size_t at = 0;
    while (at < p->n && p->v[at] < v) at++;
    if ((at < p->n && p->v[at] == v) || p->n == MOST_PLACES || !isfinite(v)) return;
    memmove(p->v + at + 1, p->v + at, (p->n - at) * sizeof *p->v);
    p->v[at] = v;
    p->n++;
}

static double x_at(const Places *p, double v) {
    size_t at = 0;
    while (at + 1 < p->n && p->v[at] < v) at++;
    return LEFT + ((double)at + 0.5) * (WIDTH - LEFT - RIGHT) / (double)(p->n ? p->n : 1);
}

static double y_at(const Axis *a, double v) {
    return HEIGHT - BOTTOM - (v - a->low) / (a->high - a->low) * (HEIGHT - TOP - BOTTOM);
}

static void draw_axes(Buffer *b, const PageChart *c, const Places *x, const Axis *y) {
    for (int i = 0; i <= MOST_TICKS && y->low + i * y->step <= y->high + y->step / 2; i++) {
        double v = y->low + i * y->step, at = y_at(y, v);
        buffer_printf(b, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" class=\"grid\"/>", LEFT,
                      WIDTH - RIGHT, at, at);
        buffer_printf(b, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT - 8, at + 4, v);
    }
    for (size_t i = 0; i < x->n; i++)
        buffer_printf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", x_at(x, x->v[i]),
                      HEIGHT - BOTTOM + 18, x->v[i]);
    buffer_printf(b, "<text x=\"%d\" y=\"20\" class=\"title\">", LEFT);
    page_text(b, c->title);
    buffer_printf(b, "</text>\n<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2,
                  HEIGHT - 8);
    page_text(b, c->x_label);
    buffer_printf(b,
                  "</text>\n<text x=\"16\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 16 %d)\">",
                  (TOP + HEIGHT - BOTTOM) / 2, (TOP + HEIGHT - BOTTOM) / 2);
    page_text(b, c->y_label);
    buffer_text(b, "</text>\n");
}

/* ---- lines ---- */

static void draw_intervals(Buffer *b, const PageSeries *s, size_t colour, const Places *x, const Axis *y) {
    for (size_t i = 0; s->low && i < s->n; i++) {
        if (!isfinite(s->low[i]) || !isfinite(s->high[i])) continue;
        buffer_printf(
            b, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke-opacity=\"0.45\" stroke=\"",
            x_at(x, s->x[i]), x_at(x, s->x[i]), y_at(y, s->low[i]), y_at(y, s->high[i]));
        page_colour(b, colour);
        buffer_text(b, "\"/>\n");
    }
}

static void draw_series(Buffer *b, const PageSeries *s, size_t colour, const Places *x, const Axis *y) {
    draw_intervals(b, s, colour, x, y);
    buffer_text(b, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"");
    page_colour(b, colour);
    buffer_text(b, "\" points=\"");
    for (size_t i = 0; i < s->n; i++)
        if (isfinite(s->y[i])) buffer_printf(b, "%.1f,%.1f ", x_at(x, s->x[i]), y_at(y, s->y[i]));
    buffer_text(b, "\"/>\n");
    for (size_t i = 0; i < s->n; i++) {
        if (!isfinite(s->y[i])) continue;
        buffer_printf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"", x_at(x, s->x[i]),
                      y_at(y, s->y[i]));
        page_colour(b, colour);
        buffer_text(b, "\"><title>");
        page_text(b, s->name);
        buffer_printf(b, ": %g, %.6g</title></circle>\n", s->x[i], s->y[i]);
    }
    int at = TOP + 8 + (int)colour * 18;
    buffer_printf(b, "<circle cx=\"%d\" cy=\"%d\" r=\"4\" fill=\"", WIDTH - RIGHT + 16, at);
    page_colour(b, colour);
    buffer_printf(b, "\"/><text x=\"%d\" y=\"%d\">", WIDTH - RIGHT + 26, at + 4);
    page_text(b, s->name);
    buffer_text(b, "</text>\n");
}

static void draw_chart(Buffer *b, const PageChart *c) {
    double y_low = INFINITY, y_high = -INFINITY;
    Places x = {.n = 0};
    for (size_t k = 0; k < c->n_series; k++)
        for (size_t i = 0; i < c->series[k].n; i++) {
            const PageSeries *s = &c->series[k];
            add_place(&x, s->x[i]);
            cover(&y_low, &y_high, s->y[i]);
            if (s->low) cover(&y_low, &y_high, s->low[i]);
            if (s->high) cover(&y_low, &y_high, s->high[i]);
        }
    Axis y = axis_of(y_low, y_high);
    draw_axes(b, c, &x, &y);
    for (size_t k = 0; k < c->n_series; k++) draw_series(b, &c->series[k], k, &x, &y);
}

void page_chart(Buffer *b, const PageChart *c) {
    buffer_printf(b, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    page_text(b, c->title);
    buffer_text(b, "\">\n");
    draw_chart(b, c);
    buffer_text(b, "</svg>\n");
}

void page_picture(Buffer *b, const PageChart *charts, size_t n) {
    int height = HEIGHT * (int)n;
    buffer_printf(
        b,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">"
        "<style>text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600}.grid{stroke:#ddd}"
        "</style>\n<rect width=\"%d\" height=\"%d\" fill=\"#fafafa\"/>\n",
        WIDTH, height, WIDTH, height, WIDTH, height);
    for (size_t i = 0; i < n; i++) {
        buffer_printf(b, "<g transform=\"translate(0 %d)\">\n", HEIGHT * (int)i);
        draw_chart(b, &charts[i]);
        buffer_text(b, "</g>\n");
    }
    buffer_text(b, "</svg>\n");
}
