// SPDX-License-Identifier: Apache-2.0
#include "forecast/holt_winters.h"

#include <math.h>
#include <string.h>

#include "forecast/num.h"

/* Lanes of the grid, one more than points so that they fill whole vectors; the last repeats the first. */
enum { LANES = HOLT_WINTERS_GRID + 1 };

static const double ALPHA[3] = {0.05, 0.2, 0.5}, BETA[3] = {0.001, 0.02, 0.1},
                    GAMMA[3] = {0.05, 0.2, 0.5};

struct lanes {
    double by_level[LANES], by_slope[LANES], by_season[LANES];
    double level[LANES], slope[LANES], squares[LANES];
};

static void set_grid(struct lanes *g)
{
    for (int i = 0; i < LANES; i++) {
        int point = i % HOLT_WINTERS_GRID;
        double alpha = ALPHA[point / 9];
        g->by_level[i] = alpha;
        g->by_slope[i] = alpha * BETA[point / 3 % 3];
        g->by_season[i] = GAMMA[point % 3] * (1 - alpha);
    }
}

/* One value through all lanes. */
static void step(struct lanes *g, double *season, double y)
{
    for (int i = 0; i < LANES; i++) {
        double q = g->level[i] + g->slope[i], e = y - q - season[i];
        g->squares[i] += e * e;
        g->level[i] = q + g->by_level[i] * e;
        g->slope[i] += g->by_slope[i] * e;
        season[i] += g->by_season[i] * e;
    }
}

static void start(struct lanes *g, const double *y, int m, double *season)
{
    double first = 0, second = 0;
    for (int i = 0; i < m; i++) {
        first += y[i] / m;
        second += y[m + i] / m;
    }
    double slope = (second - first) / m;
    for (int i = 0; i < LANES; i++) {
        g->level[i] = first + slope * (m - 1) / 2; /* at the end of the first season */
        g->slope[i] = slope;
        g->squares[i] = 0;
    }
    for (int p = 0; p < m; p++) {
        double value = y[p] - (first + slope * (p - (m - 1) / 2.0));
        for (int i = 0; i < LANES; i++) {
            season[(long)p * LANES + i] = value;
        }
    }
}

enum err holt_winters_fit(const double *y, int n, int m, struct arena *arena,
                          struct holt_winters *ret, struct err_info *info)
{
    if (m < 2 || m > HOLT_WINTERS_SEASON_MAX) {
        return err_set(info, ERR_LIMIT, "a season of %d steps; Holt-Winters takes 2 to %d", m,
                       HOLT_WINTERS_SEASON_MAX);
    }
    if (n < 2 * m + 3) {
        return err_set(info, ERR_INVALID, "%d values; a season of %d steps needs %d", n, m,
                       2 * m + 3);
    }
    *ret = (struct holt_winters){.m = m, .seen = n};
    ret->season = ARENA_NEW_ARRAY(arena, double, m);
    struct arena_mark mark = arena_mark(arena);
    double *season = ARENA_NEW_ARRAY(arena, double, (long)m *LANES);
    struct lanes g;
    set_grid(&g);
    start(&g, y, m, season);
    for (int t = m, phase = 0; t < n; t++) {
        step(&g, season + (long)phase * LANES, y[t]);
        phase = phase + 1 < m ? phase + 1 : 0;
    }
    int best = 0;
    for (int i = 1; i < HOLT_WINTERS_GRID; i++) {
        best = g.squares[i] < g.squares[best] ? i : best;
    }
    for (int p = 0; p < m; p++) {
        ret->season[p] = season[(long)p * LANES + best];
    }
    arena_rewind(arena, mark);
    ret->alpha = ALPHA[best / 9];
    ret->beta = BETA[best / 3 % 3];
    ret->gamma = GAMMA[best % 3];
    ret->level = g.level[best];
    ret->slope = g.slope[best];
    ret->sigma2 = g.squares[best] / (n - m - 2);
    if (!isfinite(ret->sigma2)) {
        return err_set(info, ERR_INVALID, "the model's errors are not finite on this series");
    }
    return ERR_OK;
}

double holt_winters_update(struct holt_winters *model, double y)
{
    double *season = &model->season[model->seen % model->m], q = model->level + model->slope;
    double e = isfinite(y) ? y - q - *season : 0;
    model->level = q + model->alpha * e;
    model->slope += model->alpha * model->beta * e;
    *season += model->gamma * (1 - model->alpha) * e;
    model->seen++;
    return e;
}

void holt_winters_forecast(const struct holt_winters *model, int h, struct arena *arena,
                           struct forecast *ret)
{
    double sum = 0;
    forecast_init(ret, h, arena);
    for (int i = 0; i < h; i++) {
        if (i > 0) {
            double c = model->alpha * (1 + i * model->beta);
            c += i % model->m == 0 ? model->gamma * (1 - model->alpha) : 0;
            sum += c * c;
        }
        ret->mean[i] = ret->center[i] =
            model->level + (i + 1) * model->slope + model->season[(model->seen + i) % model->m];
        ret->sd[i] = sqrt(model->sigma2 * (1 + sum));
    }
}
