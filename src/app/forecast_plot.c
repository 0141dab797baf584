// SPDX-License-Identifier: Apache-2.0
#include "app/forecast_plot.h"

#include <math.h>
#include <stdio.h>

#include "app/chart.h"

enum {
    WIDTH = 960,
    HEIGHT = 440,
    HEAD = 64,
    FOOT = 56,
    AXIS = 76,
    EDGE = 20,
    COLUMNS = 3,
    PANEL_WIDTH = 400,
    PANEL_HEIGHT = 250,
    BEFORE_HORIZONS = 6,
    BEFORE_MIN = 60,
    TEXT_MAX = 64
};

static const struct chart_style seen_style = {"#223", 1.3, 1, NULL};
static const struct chart_style middle_style = {"#0a58ca", 1.8, 1, NULL};

/* Levels far out are pale, near ones strong. */
static struct chart_style band_style(double low)
{
    return (struct chart_style){"#0a58ca", 0, 0.12 + 0.3 * low, NULL};
}

/* A level without a partner, the `index`-th of them. */
static struct chart_style alone_style(int index)
{
    static const char *const dashes[] = {"7 3", "2 3", "10 3 2 3"};
    return (struct chart_style){"#c2410c", 1.4, 1, dashes[index % 3]};
}

/* Index of the level 1 - q[j], -1 if there is none. */
static int partner_of(const double *q, int count, int j)
{
    for (int k = 0; k < count; k++) {
        if (k != j && fabs(q[k] - (1 - q[j])) < 1e-9) {
            return k;
        }
    }
    return -1;
}

static int64_t time_of(const struct series *s, int step)
{
    return (int64_t)llround((s->start_s + step * s->step_s) * 1000);
}

static void widen(struct chart_panel *panel, double value)
{
    if (isfinite(value)) {
        panel->low = fmin(panel->low, value);
        panel->high = fmax(panel->high, value);
    }
}

static int first_shown(const struct fan *fan)
{
    long before = (long)BEFORE_HORIZONS * fan->h;
    before = before < BEFORE_MIN ? BEFORE_MIN : before;
    return fan->series->n > before ? fan->series->n - (int)before : 0;
}

/* Draws one forecast into the panel whose place is set. */
static void draw_fan(struct chart *chart, struct chart_panel *panel, const struct fan *fan)
{
    const struct series *s = fan->series;
    int first = first_shown(fan), middle = model_middle(fan->q, fan->count);
    int64_t step_ms = (int64_t)llround(s->step_s * 1000);
    panel->from_ms = time_of(s, first);
    panel->to_ms = time_of(s, s->n - 1 + fan->h);
    panel->low = INFINITY;
    panel->high = -INFINITY;
    for (int i = first; i < fan->known; i++) {
        widen(panel, s->y[i]);
    }
    for (long i = 0; i < (long)fan->h * fan->count; i++) {
        widen(panel, fan->out[i]);
    }
    chart_panel(chart, panel);
    chart_caption(chart, fan->caption);
    chart_mark(chart, time_of(s, s->n - 1), "");
    int alone = 0;
    for (int j = 0; j < fan->count; j++) {
        int other = partner_of(fan->q, fan->count, j);
        struct chart_values row = {fan->out + j, fan->h, fan->count, time_of(s, s->n), step_ms};
        if (other > j) {
            struct chart_style style = band_style(fan->q[j]);
            chart_band(chart, &row, fan->out + other, &style);
        } else if (other < 0 && j != middle) {
            struct chart_style style = alone_style(alone++);
            chart_line(chart, &row, &style);
        }
    }
    struct chart_values line = {fan->out + middle, fan->h, fan->count, time_of(s, s->n), step_ms};
    struct chart_values seen = {s->y + first, fan->known - first, 1, panel->from_ms, step_ms};
    chart_line(chart, &seen, &seen_style);
    chart_line(chart, &line, &middle_style);
}

static void draw_legend(struct chart *chart, const struct fan *fan)
{
    char text[TEXT_MAX];
    int middle = model_middle(fan->q, fan->count), alone = 0;
    double through =
        1; /* what the bands drawn so far leave to be seen: each lies on those before */
    chart_legend(chart, "seen", &seen_style, 0);
    IGNORE_RESULT(snprintf(text, sizeof text, "forecast, q%g", fan->q[middle])); /* fits */
    chart_legend(chart, text, &middle_style, 0);
    for (int j = 0; j < fan->count; j++) {
        int other = partner_of(fan->q, fan->count, j);
        if (other > j) {
            struct chart_style style = band_style(fan->q[j]);
            through *= 1 - style.opacity;
            style.opacity = 1 - through;
            IGNORE_RESULT(
                snprintf(text, sizeof text, "q%g to q%g", fan->q[j], fan->q[other])); /* fits */
            chart_legend(chart, text, &style, 1);
        } else if (other < 0 && j != middle) {
            IGNORE_RESULT(snprintf(text, sizeof text, "q%g", fan->q[j])); /* fits */
            struct chart_style style = alone_style(alone++);
            chart_legend(chart, text, &style, 0);
        }
    }
}

enum err forecast_plot(const char *file, const char *title, const struct fan *fan,
                       struct err_info *info)
{
    struct chart chart;
    struct chart_panel panel = {.left = AXIS,
                                .top = HEAD,
                                .right = WIDTH - EDGE,
                                .bottom = HEIGHT - FOOT,
                                .y_name = "value",
                                .x_name = "time, UTC"};
    enum err err = chart_open(&chart, file, WIDTH, HEIGHT, title, info);
    if (err != ERR_OK) {
        return err;
    }
    draw_legend(&chart, fan);
    draw_fan(&chart, &panel, fan);
    return chart_close(&chart, file, info);
}

enum err forecast_plot_panels(const char *file, const char *title, const struct fan *fans,
                              int count, struct err_info *info)
{
    struct chart chart;
    int columns = count < COLUMNS ? count : COLUMNS, rows = (count + columns - 1) / columns;
    int width = columns * PANEL_WIDTH + EDGE;
    enum err err = chart_open(&chart, file, width < WIDTH ? WIDTH : width,
                              HEAD + rows * PANEL_HEIGHT + EDGE, title, info);
    if (err != ERR_OK) {
        return err;
    }
    draw_legend(&chart, &fans[0]);
    for (int i = 0; i < count; i++) {
        int row = i / columns;
        double left = i % columns * PANEL_WIDTH, top = HEAD + row * PANEL_HEIGHT;
        struct chart_panel panel = {.left = left + AXIS,
                                    .top = top + EDGE,
                                    .right = left + PANEL_WIDTH,
                                    .bottom = top + PANEL_HEIGHT - FOOT,
                                    .y_name = "value",
                                    .x_name = "time, UTC"};
        draw_fan(&chart, &panel, &fans[i]);
    }
    return chart_close(&chart, file, info);
}
