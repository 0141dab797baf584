// SPDX-License-Identifier: Apache-2.0
#include "app/backtest_plot.h"

#include <errno.h>
#include <stdio.h>

enum { WIDTH = 1200, HEIGHT = 420, MARGIN = 40 };

/* Results of writing are judged once, by fclose and ferror. */
#define PRINT(...) IGNORE_RESULT(fprintf(__VA_ARGS__))

static double y_of(double value, double top)
{
    return HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * value / top;
}

static void draw(FILE *to, const float *values, double top, const char *style)
{
    PRINT(to, "<path %s d='", style);
    for (int i = 0; i < BACKTEST_PLOT; i++) {
        double x = MARGIN + (WIDTH - 2.0 * MARGIN) * i / (BACKTEST_PLOT - 1);
        PRINT(to, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x, y_of((double)values[i], top));
    }
    PRINT(to, "'/>\n");
}

enum err backtest_plot(const char *file, const float *load, const struct backtest_result *results,
                       int count, struct err_info *info)
{
    static const char *const colours[POLICY_COUNT] = {"#06c", "#0aa", "#e80", "#c22", "#a3a",
                                                      "#888", "#bbb", "#2a2", "#000"};
    FILE *to = fopen(file, "we");
    if (to == NULL) {
        return err_set_sys(info, ERR_IO, errno, "%s cannot be written", file);
    }
    double top = 1;
    for (int i = 0; i < BACKTEST_PLOT; i++) {
        top = (double)load[i] > top ? (double)load[i] : top;
        for (int k = 0; k < count; k++) {
            double lanes = (double)results[k].plot[i];
            top = lanes > top ? lanes : top;
        }
    }
    PRINT(to,
          "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' "
          "font-family='sans-serif' font-size='12'>\n<rect width='100%%' height='100%%' "
          "fill='#fff'/>\n",
          WIDTH, HEIGHT);
    draw(to, load, top, "fill='none' stroke='#556' stroke-width='1.6'");
    PRINT(to, "<text x='%d' y='20' fill='#556'>load (lanes, top %.1f, %.1f days)</text>\n", MARGIN,
          top, results[0].days);
    for (int k = 0; k < count; k++) {
        char style[96];
        const char *colour = colours[results[k].kind];
        IGNORE_RESULT(snprintf(style, sizeof style, "fill='none' stroke='%s' stroke-opacity='0.8'",
                               colour)); /* fits */
        draw(to, results[k].plot, top, style);
        PRINT(to, "<text x='%d' y='20' fill='%s'>%s</text>\n", MARGIN + 210 + 100 * k, colour,
              policy_name(results[k].kind));
    }
    PRINT(to, "</svg>\n");
    int failed = ferror(to);
    if (fclose(to) != 0 || failed != 0) {
        return err_set_sys(info, ERR_IO, errno, "%s cannot be written", file);
    }
    return ERR_OK;
}
