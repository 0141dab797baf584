// SPDX-License-Identifier: Apache-2.0
#include "app/forecast_plot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

enum { WIDTH = 900, HEIGHT = 360, MARGIN = 50 };

struct plot {
    FILE *to;
    int first, last; /* steps shown */
    double low, high;
};

static double x_of(const struct plot *p, int step)
{
    return MARGIN + (WIDTH - 2.0 * MARGIN) * (step - p->first) / (p->last - p->first);
}

static double y_of(const struct plot *p, double value)
{
    return HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * (value - p->low) / (p->high - p->low);
}

static void widen(struct plot *p, double value)
{
    if (isfinite(value)) {
        p->low = fmin(p->low, value);
        p->high = fmax(p->high, value);
    }
}

static void draw_history(struct plot *p, const struct series *s)
{
    IGNORE_RESULT(fprintf(p->to, "<path fill='none' stroke='#334' stroke-width='1.2' d='"));
    int pen_down = 0;
    for (int i = p->first; i < s->n; i++) {
        if (isfinite(s->y[i])) {
            IGNORE_RESULT(
                fprintf(p->to, "%c%.1f %.1f", pen_down ? 'L' : 'M', x_of(p, i), y_of(p, s->y[i])));
        }
        pen_down = isfinite(s->y[i]) != 0;
    }
    IGNORE_RESULT(fprintf(p->to, "'/>\n"));
}

static void draw_band(struct plot *p, const struct series *s, int h, int count, const double *out,
                      int j)
{
    IGNORE_RESULT(fprintf(p->to, "<path fill='#27c' fill-opacity='0.18' d='"));
    for (int i = 0; i < h; i++) {
        IGNORE_RESULT(fprintf(p->to, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(p, s->n + i),
                              y_of(p, out[i * count + j])));
    }
    for (int i = h - 1; i >= 0; i--) {
        IGNORE_RESULT(fprintf(p->to, "L%.1f %.1f", x_of(p, s->n + i),
                              y_of(p, out[i * count + count - 1 - j])));
    }
    IGNORE_RESULT(fprintf(p->to, "Z'/>\n"));
}

enum err forecast_plot(const char *file, const struct series *series, int h, const double *q,
                       int count, const double *out, struct err_info *info)
{
    int middle = model_middle(q, count);
    struct plot p = {.to = fopen(file, "w"), .low = 0, .high = 1e-300};
    if (p.to == NULL) {
        return err_set_sys(info, ERR_IO, errno, "%s cannot be written", file);
    }
    p.first = series->n > 6 * h ? series->n - 6 * h : 0;
    p.last = series->n + h;
    for (int i = p.first; i < series->n; i++) {
        widen(&p, series->y[i]);
    }
    for (int i = 0; i < h * count; i++) {
        widen(&p, out[i]);
    }
    IGNORE_RESULT(fprintf(
        p.to,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='sans-serif' "
        "font-size='12'>\n<rect width='100%%' height='100%%' fill='white'/>\n"
        "<text x='6' y='%d'>%.4g</text><text x='6' y='%d'>%.4g</text>\n",
        WIDTH, HEIGHT, MARGIN, p.high, HEIGHT - MARGIN, p.low));
    draw_history(&p, series);
    for (int j = 0; j < count / 2; j++) {
        draw_band(&p, series, h, count, out, j);
    }
    IGNORE_RESULT(fprintf(p.to, "<path fill='none' stroke='#27c' stroke-width='1.6' d='"));
    for (int i = 0; i < h; i++) {
        IGNORE_RESULT(fprintf(p.to, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(&p, series->n + i),
                              y_of(&p, out[i * count + middle])));
    }
    IGNORE_RESULT(fprintf(p.to,
                          "'/>\n<text x='%d' y='20'>levels %g to %g, middle %g</text>\n</svg>\n",
                          MARGIN, q[0], q[count - 1], q[middle]));
    int bad = ferror(p.to) != 0;
    bad |= fclose(p.to) != 0;
    return bad ? err_set(info, ERR_IO, "%s cannot be written to its end", file) : ERR_OK;
}
