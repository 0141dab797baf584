// SPDX-License-Identifier: Apache-2.0
#include "app/chart.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "pipeline/time_text.h"

enum { TITLE_Y = 22, LEGEND_Y = 44, LEGEND_LEFT = 16, TICK_PX = 90, LABEL_MAX = 32 };

static const int64_t SECOND_MS = 1000, MINUTE_MS = 60000, HOUR_MS = 3600000, DAY_MS = 86400000;

/* Results of writing are judged once, by fclose and ferror. */
#define PRINT(...) IGNORE_RESULT(fprintf(__VA_ARGS__))

static void print_escaped(FILE *to, const char *text)
{
    for (; *text != 0; text++) {
        switch (*text) {
        case '<':
            PRINT(to, "&lt;");
            break;
        case '>':
            PRINT(to, "&gt;");
            break;
        case '&':
            PRINT(to, "&amp;");
            break;
        default:
            /* control characters are not allowed in XML at all */
            PRINT(to, "%c", (unsigned char)*text < ' ' ? ' ' : *text);
        }
    }
}

static void print_text(FILE *to, double x, double y, const char *anchor, const char *text)
{
    PRINT(to, "<text x='%.1f' y='%.1f' text-anchor='%s'>", x, y, anchor);
    print_escaped(to, text);
    PRINT(to, "</text>\n");
}

enum err chart_open(struct chart *chart, const char *file, int width, int height, const char *title,
                    struct err_info *info)
{
    *chart = (struct chart){
        .to = fopen(file, "we"), .width = width, .height = height, .legend_x = LEGEND_LEFT};
    if (chart->to == NULL) {
        return err_set_sys(info, ERR_IO, errno, "%s cannot be written", file);
    }
    PRINT(chart->to,
          "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' "
          "font-family='sans-serif' font-size='12' fill='#223'>\n"
          "<rect width='100%%' height='100%%' fill='white'/>\n"
          "<text x='%d' y='%d' font-size='15' font-weight='bold'>",
          width, height, width, height, LEGEND_LEFT, TITLE_Y);
    print_escaped(chart->to, title);
    PRINT(chart->to, "</text>\n");
    return ERR_OK;
}

static double x_of(const struct chart *c, int64_t ms)
{
    double share = (double)(ms - c->from_ms) / (double)(c->to_ms - c->from_ms);
    return c->left + (c->right - c->left) * share;
}

/* Halves, so that no difference of two doubles overflows. */
static double y_of(const struct chart *c, double value)
{
    double share = (value / 2 - c->low / 2) / (c->high / 2 - c->low / 2);
    return c->bottom - (c->bottom - c->top) * share;
}

/* 1, 2 or 5 times a power of ten, at least `least` > 0. */
static double round_step(double least)
{
    double power = pow(10, floor(log10(least)));
    double times = least / power;
    return power * (times <= 1 ? 1 : (times <= 2 ? 2 : (times <= 5 ? 5 : 10)));
}

/* Value with a unit that all labels of an axis share. */
static void label_of(double value, double largest, char out[LABEL_MAX])
{
    static const struct {
        double unit;
        const char *letter;
    } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}};
    double divide = 1;
    const char *letter = "";
    for (int i = COUNT_OF(units) - 1; i >= 0; i--) {
        if (largest >= units[i].unit && largest < 1e16) {
            divide = units[i].unit < 1e5 ? 1e3 : units[i].unit;
            letter = units[i].letter;
        }
    }
    bool zero = fabs(value) < largest * 1e-9; /* what is left of a tick there is rounding */
    IGNORE_RESULT(snprintf(out, LABEL_MAX, "%.6g%s", zero ? 0 : value / divide,
                           zero ? "" : letter)); /* cut at worst */
}

/* Room for what is shown, with 0 in it where the values come near to it. */
static double set_values(struct chart *c, double low, double high)
{
    if (!(isfinite(low) && isfinite(high) && low <= high)) {
        low = 0;
        high = 1;
    }
    low = low > 0 && low < 0.6 * high ? 0 : low;
    high = high < 0 && high > 0.6 * low ? 0 : high;
    double size = high / 4 - low / 4; /* a fourth: the full range may be no double */
    if (!(size > 1e-12 * fmax(fabs(low), fabs(high)))) {
        size = fmax(fabs(high) / 4, 1e-300);
    }
    int ticks = (int)fmax(2, (c->bottom - c->top) / 45);
    double step = round_step(4 * size / ticks);
    if (!isfinite(step)) {
        step = round_step(size);
    }
    c->low = step * floor(low / step);
    c->high = step * ceil(high / step);
    c->high = c->high > c->low ? c->high : c->low + step;
    if (!isfinite(c->low) || !isfinite(c->high)) { /* at the ends of what a double holds */
        c->low = low;
        c->high = high;
    }
    return step;
}

static void draw_value_axis(const struct chart *c, double step, const char *name)
{
    char label[LABEL_MAX];
    double largest = fmax(fabs(c->low), fabs(c->high));
    int ticks = (int)fmin(20, floor((c->high / 2 - c->low / 2) / step * 2 + 1.5));
    for (int i = 0; i < ticks; i++) {
        double value = c->low + i * step, y = y_of(c, value);
        PRINT(c->to, "<path stroke='#e3e6ec' d='M%.1f %.1fH%.1f'/>\n", c->left, y, c->right);
        label_of(value, largest, label);
        print_text(c->to, c->left - 6, y + 4, "end", label);
    }
    if (name[0] != 0) {
        double middle = (c->top + c->bottom) / 2;
        PRINT(c->to,
              "<text x='%.1f' y='%.1f' text-anchor='middle' transform='rotate(-90 %.1f %.1f)'>",
              c->left - 54, middle, c->left - 54, middle);
        print_escaped(c->to, name);
        PRINT(c->to, "</text>\n");
    }
}

/* A step of whole seconds, minutes, hours or days that leaves room for the labels. */
static int64_t time_step(const struct chart *c)
{
    static const int64_t counts[] = {1, 2, 5, 10, 15, 30};
    static const int64_t hours[] = {1, 2, 3, 6, 12, 24, 48, 7 * 24, 14 * 24, 28 * 24};
    double ticks = fmax(2, (c->right - c->left) / TICK_PX);
    double least = (double)(c->to_ms - c->from_ms) / ticks;
    for (int64_t unit = SECOND_MS; unit <= MINUTE_MS; unit *= MINUTE_MS / SECOND_MS) {
        for (int i = 0; i < COUNT_OF(counts); i++) {
            if ((double)(counts[i] * unit) >= least) {
                return counts[i] * unit;
            }
        }
    }
    for (int i = 0; i < COUNT_OF(hours); i++) {
        if ((double)(hours[i] * HOUR_MS) >= least) {
            return hours[i] * HOUR_MS;
        }
    }
    return (int64_t)ceil(least / (double)(91 * DAY_MS)) * 91 * DAY_MS;
}

static void time_label(int64_t ms, const char *format, double x, double y, FILE *to)
{
    char text[LABEL_MAX];
    int32_t len = time_write_format(ms, str_of(format), text, LABEL_MAX - 1);
    text[len] = 0;
    print_text(to, x, y, "middle", text);
}

/* The time of day below each tick, the date where it begins and where it changes; dates alone for steps of days. */
static void draw_time_axis(const struct chart *c, const char *name)
{
    int64_t step = time_step(c), before = INT64_MIN;
    int64_t first = c->from_ms - (c->from_ms % step + step) % step;
    first += first < c->from_ms ? step : 0;
    for (int64_t at = first; at <= c->to_ms; at += step) {
        double x = x_of(c, at);
        int64_t day = (at - (at % DAY_MS + DAY_MS) % DAY_MS) / DAY_MS;
        PRINT(c->to, "<path stroke='#e3e6ec' d='M%.1f %.1fV%.1f'/>\n", x, c->top, c->bottom);
        if (step < DAY_MS) {
            time_label(at, step < MINUTE_MS ? "%H:%M:%S" : "%H:%M", x, c->bottom + 16, c->to);
        }
        if (day != before) {
            time_label(at, "%Y-%m-%d", x, c->bottom + (step < DAY_MS ? 31 : 16), c->to);
        }
        before = day;
    }
    if (name[0] != 0) {
        print_text(c->to, c->right, c->bottom + 46, "end", name);
    }
}

void chart_panel(struct chart *chart, const struct chart_panel *panel)
{
    CHECK(panel->from_ms < panel->to_ms && panel->left < panel->right);
    chart->left = panel->left;
    chart->top = panel->top;
    chart->right = panel->right;
    chart->bottom = panel->bottom;
    chart->from_ms = panel->from_ms;
    chart->to_ms = panel->to_ms;
    double step = set_values(chart, panel->low, panel->high);
    draw_time_axis(chart, panel->x_name);
    draw_value_axis(chart, step, panel->y_name);
    PRINT(chart->to, "<path fill='none' stroke='#889' d='M%.1f %.1fV%.1fH%.1f'/>\n", chart->left,
          chart->top, chart->bottom, chart->right);
}

static void print_style(FILE *to, const struct chart_style *style)
{
    PRINT(to, "fill='none' stroke='%s' stroke-width='%g' stroke-opacity='%g'", style->colour,
          style->width, style->opacity);
    if (style->dash != NULL) {
        PRINT(to, " stroke-dasharray='%s'", style->dash);
    }
}

void chart_line(const struct chart *chart, const struct chart_values *values,
                const struct chart_style *style)
{
    int pen_down = 0;
    PRINT(chart->to, "<path ");
    print_style(chart->to, style);
    PRINT(chart->to, " d='");
    for (int i = 0; i < values->count; i++) {
        double value = values->v[(long)i * values->stride];
        if (isfinite(value)) {
            double x = x_of(chart, values->start_ms + i * values->step_ms);
            /* a value between two gaps is a dot, which a round end makes visible */
            PRINT(chart->to, pen_down ? "L%.1f %.1f" : "M%.1f %.1fh0", x, y_of(chart, value));
        }
        pen_down = isfinite(value) != 0;
    }
    PRINT(chart->to, "' stroke-linecap='round' stroke-linejoin='round'/>\n");
}

void chart_band(const struct chart *chart, const struct chart_values *low, const double *high,
                const struct chart_style *style)
{
    PRINT(chart->to, "<path fill='%s' fill-opacity='%g' d='", style->colour, style->opacity);
    for (int i = 0; i < low->count; i++) {
        PRINT(chart->to, "%c%.1f %.1f", i == 0 ? 'M' : 'L',
              x_of(chart, low->start_ms + i * low->step_ms),
              y_of(chart, low->v[(long)i * low->stride]));
    }
    for (int i = low->count - 1; i >= 0; i--) {
        PRINT(chart->to, "L%.1f %.1f", x_of(chart, low->start_ms + i * low->step_ms),
              y_of(chart, high[(long)i * low->stride]));
    }
    PRINT(chart->to, "Z'/>\n");
}

void chart_mark(const struct chart *chart, int64_t at_ms, const char *word)
{
    double x = x_of(chart, at_ms);
    PRINT(chart->to, "<path stroke='#889' stroke-dasharray='4 3' d='M%.1f %.1fV%.1f'/>\n", x,
          chart->top, chart->bottom);
    if (word[0] != 0) {
        print_text(chart->to, x - 5, chart->top + 12, "end", word);
    }
}

void chart_caption(const struct chart *chart, const char *text)
{
    print_text(chart->to, chart->left, chart->top - 6, "start", text);
}

void chart_legend(struct chart *chart, const char *text, const struct chart_style *style,
                  int is_band)
{
    double x = chart->legend_x;
    if (is_band) {
        PRINT(chart->to,
              "<rect x='%.1f' y='%d' width='22' height='11' fill='%s' fill-opacity='%g'/>\n", x,
              LEGEND_Y - 10, style->colour, style->opacity);
    } else {
        PRINT(chart->to, "<path ");
        print_style(chart->to, style);
        PRINT(chart->to, " d='M%.1f %dh22'/>\n", x, LEGEND_Y - 4);
    }
    print_text(chart->to, x + 28, LEGEND_Y, "start", text);
    chart->legend_x += 28 + 6.6 * (double)strlen(text) + 20;
}

enum err chart_close(struct chart *chart, const char *file, struct err_info *info)
{
    PRINT(chart->to, "</svg>\n");
    int failed = ferror(chart->to);
    if (fclose(chart->to) != 0 || failed != 0) {
        return err_set_sys(info, ERR_IO, errno, "%s cannot be written to its end", file);
    }
    return ERR_OK;
}
