// SPDX-License-Identifier: Apache-2.0
#include "forecast/models.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/names.h"
#include "forecast/fitted.h"
#include "forecast/naive.h"
#include "forecast/num.h"
#include "forecast/prophet.h"

const char *model_name(enum model model)
{
    static const char *const names[] = {MODEL_LIST(NAMES_TEXT)};
    return NAMES_AT(names, model);
}

static struct effort effort_of(const struct series *s)
{
    return (struct effort){.most = MODEL_WORK_BASE + (double)MODEL_WORK_EACH * s->n};
}

static enum err run_prophet(const struct series *s, int logistic, int h, struct arena *arena,
                            struct forecast *ret, struct err_info *info)
{
    double *time_s = ARENA_NEW_ARRAY(arena, double, s->n + h);
    for (int i = 0; i < s->n + h; i++) {
        time_s[i] = s->start_s + i * s->step_s;
    }
    struct prophet_spec spec = prophet_defaults((s->n - 1) * s->step_s, s->step_s);
    struct prophet model;
    struct effort effort = effort_of(s);
    spec.effort = &effort;
    if (logistic) {
        series_limits(s->y, s->n, &spec);
    }
    const double *x = fitted_holidays(s->holidays, &spec, time_s, s->n + h, arena);
    enum err err = prophet_fit(time_s, s->y, s->n, x, &spec, arena, &model, info);
    if (err == ERR_OK) {
        const double *ahead = x != NULL ? x + (long)s->n * spec.regressor_count : NULL;
        prophet_forecast(&model, time_s + s->n, h, ahead, arena, ret);
    }
    return err;
}

static enum err run_fitted(enum model model, const struct series *s, int h, struct arena *arena,
                           struct forecast *ret, struct err_info *info)
{
    struct fitted fit;
    struct effort effort = effort_of(s);
    struct fit_how how = {.horizon = h, .effort = &effort};
    enum err err = fitted_fit(model, s, &how, arena, &fit, info);
    return err == ERR_OK ? fitted_forecast(&fit, h, arena, ret, info) : err;
}

static enum err run_model(enum model model, const struct series *s, int h, struct arena *arena,
                          struct forecast *ret, struct err_info *info)
{
    switch (model) {
    case MODEL_NAIVE:
        return naive_last(s->y, s->n, h, arena, ret, info);
    case MODEL_SEASONAL:
        return s->season > 1 ? naive_seasonal(s->y, s->n, s->season, h, arena, ret, info)
                             : err_set(info, ERR_INVALID, "no season is known");
    case MODEL_DRIFT:
        return naive_drift(s->y, s->n, h, arena, ret, info);
    case MODEL_TREND:
        return naive_trend(s->y, s->n, FITTED_TREND_WINDOW, h, arena, ret, info);
    case MODEL_PROPHET:
    case MODEL_PROPHET_LOGISTIC:
        return run_prophet(s, model == MODEL_PROPHET_LOGISTIC, h, arena, ret, info);
    case MODEL_ETS:
    case MODEL_THETA:
    case MODEL_STL:
    case MODEL_ARIMA:
    case MODEL_FOURIER:
    case MODEL_PROPHET_AR:
    case MODEL_REGRESSION:
    case MODEL_HOLT_WINTERS:
    case MODEL_CROSTON:
    case MODEL_TSB:
        return run_fitted(model, s, h, arena, ret, info);
    case MODEL_MEDIAN:
    case MODEL_COUNT:
        break;
    }
    return err_set(info, ERR_INTERNAL, "no such model");
}

/* Puts each row in order, within what the series allows; false if anything is not finite. */
static bool finish_rows(const struct series *s, double *out, int h, int count)
{
    double least = NUM_INFINITY;
    for (int i = 0; i < s->n; i++) {
        least = isfinite(s->y[i]) && s->y[i] < least ? s->y[i] : least;
    }
    for (int i = 0; i < h; i++) {
        double *row = out + (long)i * count;
        for (int j = 0; j < count; j++) {
            if (!isfinite(row[j])) {
                return false;
            }
            row[j] = least >= 0 && row[j] < 0 ? 0 : row[j];
        }
        num_sort(row, count);
    }
    return true;
}

/* Median over the members that fit, level by level: the four kinds whose errors have least in common. */
static enum err run_median(const struct series *s, int h, const double *q, int count,
                           struct arena *arena, double *out, struct err_info *info)
{
    static const enum model seasonal[] = {MODEL_SEASONAL, MODEL_STL, MODEL_FOURIER, MODEL_ETS};
    static const enum model plain[] = {MODEL_NAIVE, MODEL_THETA, MODEL_ARIMA, MODEL_ETS};
    const enum model *members = s->season > 3 && s->n >= 2 * s->season ? seasonal : plain;
    struct series member_series = *s;
    long size = (long)h * count;
    double *all = ARENA_NEW_ARRAY(arena, double, 4 * size);
    int fitted = 0;
    for (int i = 0; i < 4; i++) {
        /* The plain smoothing member stays without season: it is there for series whose season is none. */
        member_series.season = members[i] == MODEL_ETS ? 1 : s->season;
        if (model_forecast(members[i], &member_series, h, q, count, arena, all + fitted * size,
                           info) == ERR_OK) {
            fitted++;
        }
    }
    if (fitted == 0) {
        return err_set(info, ERR_INVALID, "none of the combination's models can be fitted");
    }
    for (long i = 0; i < size; i++) {
        double v[4];
        for (int j = 0; j < fitted; j++) {
            v[j] = all[j * size + i];
        }
        out[i] = num_quantile(v, fitted, 0.5);
    }
    return ERR_OK;
}

// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
enum err model_forecast(enum model model, const struct series *series, int h, const double *q,
                        int count, struct arena *arena, double *out, struct err_info *info)
{
    int finite = 0;
    for (int i = 0; i < series->n; i++) {
        finite += isfinite(series->y[i]) != 0;
    }
    if (finite < 2) {
        return err_set(info, ERR_INVALID, "the series has %d values; 2 are the least", finite);
    }
    if (h < 1 || h > HORIZON_MAX || count < 1 || count > QUANTILES_MAX) {
        return err_set(info, ERR_LIMIT, "%d steps at %d levels; most are %d and %d", h, count,
                       HORIZON_MAX, QUANTILES_MAX);
    }
    struct arena_mark mark = arena_mark(arena);
    enum err err;
    if (model == MODEL_MEDIAN) {
        /* one level down at most: the members are never the median */
        err = run_median(series, h, q, count, arena, out, info); // NOLINT(misc-no-recursion)
    } else {
        struct forecast f;
        err = run_model(model, series, h, arena, &f, info);
        for (int i = 0; err == ERR_OK && i < h * count; i++) {
            out[i] = forecast_quantile(&f, i / count, q[i % count]);
        }
    }
    arena_rewind(arena, mark);
    if (err == ERR_OK && !finish_rows(series, out, h, count)) {
        return err_set(info, ERR_INVALID, "the model's forecast is not finite on this series");
    }
    return err;
}

int model_middle(const double *q, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++) {
        best = fabs(q[i] - 0.5) < fabs(q[best] - 0.5) ? i : best;
    }
    return best;
}

double model_likeness(const double *y, int n, int m, int gap)
{
    double product = 0, a = 0, b = 0;
    for (int i = m + gap; i < n; i++) {
        double now = y[i] - y[i - gap], before = y[i - m] - y[i - m - gap];
        if (isfinite(now) && isfinite(before)) {
            product += now * before;
            a += now * now;
            b += before * before;
        }
    }
    return a > 0 && b > 0 ? product / sqrt(a * b) : 0;
}

int model_season(const double *y, int n, const int *candidates, int count)
{
    double best = 0.2;
    int season = 1;
    for (int c = 0; c < count; c++) {
        int m = candidates[c];
        double r = m >= 2 && 2 * m <= n ? model_likeness(y, n, m, 1) : 0;
        if (r > best) {
            best = r;
            season = m;
        }
    }
    return season;
}
