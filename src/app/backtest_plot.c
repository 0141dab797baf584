// SPDX-License-Identifier: Apache-2.0
#include "app/backtest_plot.h"

#include <math.h>

#include "app/chart.h"

enum { WIDTH = 1200, HEIGHT = 460, LEFT = 76, TOP = 64, EDGE = 20, FOOT = 56 };

static const struct chart_style load_style = {"#556", 1.6, 1, NULL};

static void draw(const struct chart *chart, const float *values, const struct chart_style *style)
{
    double copy[BACKTEST_PLOT];
    for (int i = 0; i < BACKTEST_PLOT; i++) {
        copy[i] = (double)values[i];
    }
    struct chart_values row = {copy, BACKTEST_PLOT, 1, chart->from_ms,
                               (chart->to_ms - chart->from_ms) / BACKTEST_PLOT};
    chart_line(chart, &row, style);
}

enum err backtest_plot(const char *file, int64_t end_ms, const float *load,
                       const struct backtest_result *results, int count, struct err_info *info)
{
    static const char *const colours[POLICY_COUNT] = {"#06c", "#0aa", "#e80", "#c22", "#a3a",
                                                      "#888", "#bbb", "#2a2", "#000"};
    struct chart chart;
    enum err err = chart_open(&chart, file, WIDTH, HEIGHT,
                              "Lanes that serve, by policy, and the load they had", info);
    if (err != ERR_OK) {
        return err;
    }
    struct chart_panel panel = {.left = LEFT,
                                .top = TOP,
                                .right = WIDTH - EDGE,
                                .bottom = HEIGHT - FOOT,
                                .from_ms = end_ms - (int64_t)llround(results[0].days * 86400e3),
                                .to_ms = end_ms,
                                .high = 1,
                                .y_name = "lanes",
                                .x_name = "time, UTC"};
    for (int i = 0; i < BACKTEST_PLOT; i++) {
        panel.high = fmax(panel.high, (double)load[i]);
        for (int k = 0; k < count; k++) {
            panel.high = fmax(panel.high, (double)results[k].plot[i]);
        }
    }
    chart_legend(&chart, "load, in full lanes", &load_style, 0);
    chart_panel(&chart, &panel);
    draw(&chart, load, &load_style);
    for (int k = 0; k < count; k++) {
        struct chart_style style = {colours[results[k].kind], 1.2, 0.85, NULL};
        chart_legend(&chart, policy_name(results[k].kind), &style, 0);
        draw(&chart, results[k].plot, &style);
    }
    return chart_close(&chart, file, info);
}
