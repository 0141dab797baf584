// SPDX-License-Identifier: Apache-2.0
#ifndef APP_CHART_H
#define APP_CHART_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* Charts over time as SVG: panels with a grid, both axes labelled, lines, bands, a legend. All text is escaped. Writing is
 * judged once, at the end. */

struct chart {
    FILE *to;
    int width, height;               /* of the picture, px */
    double left, top, right, bottom; /* of the panel in work, px */
    double low, high;                /* its values from bottom to top */
    int64_t from_ms, to_ms;          /* its times from left to right */
    double legend_x;                 /* where the next entry begins, px */
};

/* What a line or band looks like. */
struct chart_style {
    const char *colour; /* "#27c" */
    double width;       /* of a line, px */
    double opacity;     /* 0..1 */
    const char *dash;   /* "4 3"; NULL: drawn through */
};

/* `count` values at equal steps from a time on, `stride` apart in memory; NaN: a gap. */
struct chart_values {
    const double *v;
    int count, stride;
    int64_t start_ms, step_ms;
};

/* Begins a picture with a title. Errors: IO (the file cannot be written). */
ATTR_NODISCARD enum err chart_open(struct chart *chart, const char *file, int width, int height,
                                   const char *title, struct err_info *info);

/* Begins a panel at px left, top .. right, bottom, from_ms < to_ms across, and values that hold `low` and `high` (rounded
 * outwards to ticks, with 0 where it is near): draws grid, axes and tick labels. `y_name` beside the axis, `x_name` below
 * it; empty: none. */
struct chart_panel {
    double left, top, right, bottom;
    int64_t from_ms, to_ms;
    double low, high;
    const char *y_name, *x_name;
};
void chart_panel(struct chart *chart, const struct chart_panel *panel);

void chart_line(const struct chart *chart, const struct chart_values *values,
                const struct chart_style *style);

/* The area between two rows of values at the same times. */
void chart_band(const struct chart *chart, const struct chart_values *low, const double *high,
                const struct chart_style *style);

/* A dashed vertical line with a word at its top. */
void chart_mark(const struct chart *chart, int64_t at_ms, const char *word);

/* Text above the panel's left end. */
void chart_caption(const struct chart *chart, const char *text);

/* One more entry of the picture's legend, in a row below the title; a band's entry is a box. */
void chart_legend(struct chart *chart, const char *text, const struct chart_style *style,
                  int is_band);

/* Errors: IO (some of it could not be written). */
ATTR_NODISCARD enum err chart_close(struct chart *chart, const char *file, struct err_info *info);

#endif
