/* page.h -- HTML pages that need nothing else: no script, nothing loaded from elsewhere, every text escaped.
 */
#ifndef RECAST_CLI_PAGE_H
#define RECAST_CLI_PAGE_H

#include "core/buffer.h"

/* <, &, " and control characters can't do harm in what is appended. */
void page_text(Buffer *b, const char *text);
void page_begin(Buffer *b, const char *title); /* up to the heading, which is the title too */
void page_end(Buffer *b);

/* A line chart. Intervals are drawn if low is not NULL. */
typedef struct PageSeries {
    const char *name;
    size_t n;
    const double *x, *y, *low, *high;
} PageSeries;

typedef struct PageChart {
    const char *title, *x_label, *y_label;
    size_t n_series;
    const PageSeries *series;
} PageChart;

/* One SVG. Each x value that is there gets the same room (64 at most); the y axis begins and ends at round
 * numbers. Values that are not finite are left out. */
void page_chart(Buffer *b, const PageChart *chart);

/* One SVG of its own with charts below each other: a file that needs nothing else. */
void page_picture(Buffer *b, const PageChart *charts, size_t n);

/* A colour for the i-th thing, far from its neighbours': "hsl(274 65% 45%)". */
void page_colour(Buffer *b, size_t i);

#endif
