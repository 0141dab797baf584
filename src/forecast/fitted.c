// SPDX-License-Identifier: Apache-2.0
#include "forecast/fitted.h"

#include <string.h>

#include "base/check.h"
#include "forecast/fitted_priv.h"
#include "forecast/fourier.h"
#include "forecast/naive.h"
#include "forecast/num.h"

enum { FOURIER_MODELS_MAX = 16 };
static const double LOG_TOP =
    3; /* a forecast by logarithms stays below this many times the largest value seen */

double *series_without_gaps(const double *y, int n, struct arena *arena)
{
    double *v = ARENA_NEW_ARRAY(arena, double, n);
    int last = -1;
    for (int i = 0; i < n; i++) {
        if (!isfinite(y[i])) {
            continue;
        }
        for (int j = last + 1; j < i; j++) {
            v[j] = last < 0 ? y[i] : y[last] + (y[i] - y[last]) * (j - last) / (i - last);
        }
        v[i] = y[i];
        last = i;
    }
    for (int j = last + 1; j < n; j++) {
        v[j] = last >= 0 ? y[last] : 0;
    }
    return v;
}

static bool is_naive(enum model model)
{
    return model == MODEL_NAIVE || model == MODEL_SEASONAL || model == MODEL_DRIFT ||
           model == MODEL_TREND;
}

static bool is_prophet(enum model model)
{
    return model == MODEL_PROPHET || model == MODEL_PROPHET_LOGISTIC;
}

/* Takes one value of the naive family: its error of repeating, then its place. */
static void naive_take(struct fitted *fit, int at, double y)
{
    bool whole = fit->model == MODEL_SEASONAL || !fit->gap; /* else no error of one step */
    fit->gap = !isfinite(y);
    if (!isfinite(y)) {
        return;
    }
    int lag = fit->model == MODEL_SEASONAL ? fit->season : 1;
    double before = at >= lag ? fit->recent[(at - lag) % fit->recent_count] : NUM_NAN;
    if (whole && isfinite(before)) {
        fit->sum += y - before;
        fit->squares += (y - before) * (y - before);
        fit->pairs++;
    }
}

/* A place that was missing keeps what stood there one turn before; the one-place models keep the last known. */
static void naive_place(struct fitted *fit, int at, double y)
{
    int place = at % fit->recent_count;
    if (isfinite(y)) {
        fit->recent[place] = y;
    } else if (fit->model == MODEL_TREND) {
        fit->recent[place] = NUM_NAN;
    }
}

static enum err fit_naive(struct fitted *fit, const double *y, int n, struct arena *arena,
                          struct err_info *info)
{
    if (fit->model == MODEL_SEASONAL && (fit->season < 2 || n <= fit->season)) {
        return err_set(info, ERR_INVALID, "a season of %d steps does not fit into %d values",
                       fit->season, n);
    }
    fit->recent_count = fit->model == MODEL_SEASONAL ? fit->season
                        : fit->model == MODEL_TREND  ? FITTED_TREND_WINDOW
                                                     : 1;
    fit->recent = ARENA_NEW_ARRAY(arena, double, fit->recent_count);
    for (int i = 0; i < fit->recent_count; i++) {
        fit->recent[i] = NUM_NAN;
    }
    for (int i = 0; i < n; i++) {
        naive_take(fit, i, y[i]);
        naive_place(fit, i, y[i]);
    }
    return ERR_OK;
}

static enum err fit_ets(struct fitted *fit, const double *y, int n, const struct fit_how *how,
                        struct arena *arena, struct err_info *info)
{
    struct ets_data data = {.y = y, .n = n, .m = fit->season, .effort = how->effort};
    if (how->like == NULL) {
        return ets_auto(&data, arena, &fit->ets, info);
    }
    data.m = how->like->ets.m;
    return ets_fit(&data, &how->like->ets.form, arena, &fit->ets, info);
}

/* Regressors of `rows` steps from step `from`. */
static double *fourier_rows(const struct fitted *fit, int from, int rows, struct arena *arena)
{
    int k = 2 * fit->fourier_pairs;
    if (k == 0) {
        return NULL;
    }
    double *x = ARENA_NEW_ARRAY(arena, double, (long)rows *k);
    fourier_terms(fit->phase + from, rows, fit->season, fit->fourier_pairs, x, k);
    return x;
}

static enum err fit_arima(struct fitted *fit, const double *y, int n, const struct fit_how *how,
                          struct arena *arena, struct err_info *info)
{
    struct arima_data data = {.y = y, .n = n, .effort = how->effort};
    struct arima_search search = arima_search_defaults(fit->season);
    if (fit->model == MODEL_FOURIER) {
        if (fit->season < 4 || n < 2 * fit->season) {
            return err_set(info, ERR_INVALID,
                           "Fourier terms need a season of 4 steps or more, twice");
        }
        int most = fit->season / 2 - 1;
        fit->fourier_pairs = most < FITTED_PAIRS_MAX ? most : FITTED_PAIRS_MAX;
        fit->phase = fmod(fit->start_s / fit->step_s, fit->season);
        data.k = 2 * fit->fourier_pairs;
        data.x = fourier_rows(fit, 0, n, arena);
        search = arima_search_defaults(1);
        search.models_max = FOURIER_MODELS_MAX;
    }
    if (how->like != NULL) {
        return arima_fit(&data, &how->like->arima.order, how->like->arima.coef, arena, &fit->arima,
                         info);
    }
    if (how->models_max > 0 && how->models_max < search.models_max) {
        search.models_max = how->models_max;
    }
    return arima_auto(&data, &search, arena, &fit->arima, NULL, info);
}

double *fitted_times(const struct fitted *fit, int from, int rows, struct arena *arena)
{
    double *time_s = ARENA_NEW_ARRAY(arena, double, rows);
    for (int i = 0; i < rows; i++) {
        time_s[i] = fit->start_s + (from + i) * fit->step_s;
    }
    return time_s;
}

/* Fits Prophet and measures how much of a residual is left a step later. */
static enum err fit_prophet(struct fitted *fit, const double *y, int n, const struct fit_how *how,
                            struct arena *arena, struct err_info *info)
{
    double *time_s = fitted_times(fit, 0, n, arena);
    struct prophet_spec spec = prophet_defaults((n - 1) * fit->step_s, fit->step_s);
    spec.effort = how->effort;
    if (fit->model == MODEL_PROPHET_LOGISTIC) {
        series_limits(y, n, &spec);
    }
    const double *x = fitted_holidays(fit->holidays, &spec, time_s, n, arena);
    enum err err = prophet_fit(time_s, y, n, x, &spec, arena, &fit->prophet, info);
    if (err != ERR_OK) {
        return err;
    }
    struct forecast at;
    prophet_forecast(&fit->prophet, time_s, n, x, arena, &at);
    double product = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        double e = y[i] - at.center[i];
        if (!isfinite(e)) {
            continue;
        }
        product += e * fit->last;
        squares += e * e;
        fit->last = e;
    }
    fit->carry = squares > 0 ? fmin(fmax(product / squares, 0), 0.99) : 0;
    return ERR_OK;
}

static enum err fit_model(struct fitted *fit, const double *y, int n, const struct fit_how *how,
                          struct arena *arena, struct err_info *info)
{
    if (fitted_is_more(fit->model)) {
        return fitted_more_fit(fit, y, n, how, arena, info);
    }
    const double *whole =
        is_naive(fit->model) || is_prophet(fit->model) ? y : series_without_gaps(y, n, arena);
    switch (fit->model) {
    case MODEL_NAIVE:
    case MODEL_SEASONAL:
    case MODEL_DRIFT:
    case MODEL_TREND:
        return fit_naive(fit, y, n, arena, info);
    case MODEL_ETS:
        return fit_ets(fit, whole, n, how, arena, info);
    case MODEL_THETA:
        return theta_fit(&(struct ets_data){whole, n, fit->season, how->effort}, arena, &fit->theta,
                         info);
    case MODEL_STL:
        return stl_fit(whole, n, &fit->season, 1,
                       &(struct stl_how){how->like ? &how->like->stl.rest.form : NULL, how->effort},
                       arena, &fit->stl, info);
    case MODEL_ARIMA:
    case MODEL_FOURIER:
        return fit_arima(fit, whole, n, how, arena, info);
    case MODEL_PROPHET:
    case MODEL_PROPHET_LOGISTIC:
        return fit_prophet(fit, y, n, how, arena, info);
    case MODEL_PROPHET_AR:
    case MODEL_REGRESSION:
    case MODEL_HOLT_WINTERS:
    case MODEL_CROSTON:
    case MODEL_TSB:
    case MODEL_MEDIAN:
    case MODEL_COUNT:
        break;
    }
    return err_set(info, ERR_INVALID, "%s is not fitted by itself", model_name(fit->model));
}

/* Models that iterate count their work as they go; that of the others is known from the length. */
static bool is_counted(enum model model)
{
    return model == MODEL_ETS || model == MODEL_THETA || model == MODEL_STL ||
           model == MODEL_ARIMA || model == MODEL_FOURIER || model == MODEL_PROPHET_AR ||
           is_prophet(model);
}

enum err fitted_fit(enum model model, const struct series *series, const struct fit_how *how,
                    struct arena *arena, struct fitted *ret, struct err_info *info)
{
    CHECK(how->like == NULL || how->like->model == model);
    struct fitted fit = {.model = model,
                         .log1p = how->log1p,
                         .season = series->season,
                         .seen = series->n,
                         .start_s = series->start_s,
                         .step_s = series->step_s,
                         .holidays = series->holidays,
                         .least = NUM_INFINITY,
                         .most = -NUM_INFINITY};
    double *logs = how->log1p ? ARENA_NEW_ARRAY(arena, double, series->n) : NULL;
    int known = 0;
    for (int i = 0; i < series->n; i++) {
        double y = series->y[i];
        if (isfinite(y)) {
            fit.least = fmin(fit.least, y);
            fit.most = fmax(fit.most, y);
            known++;
        }
        if (logs != NULL) {
            logs[i] = isfinite(y) && y >= 0 ? log1p(y) : NUM_NAN;
        }
    }
    if (known < 2 || (how->log1p && fit.least < 0)) {
        return err_set(info, ERR_INVALID,
                       known < 2 ? "the series has less than 2 values"
                                 : "a negative value has no logarithm");
    }
    enum err err = fit_model(&fit, logs != NULL ? logs : series->y, series->n, how, arena, info);
    if (!is_counted(model)) {
        effort_spend(how->effort, EFFORT_UNIT * fitted_work(model, series->n, series->season, how));
    }
    if (err == ERR_OK) {
        *ret = fit;
    }
    return err;
}

static double *copy_of(const double *from, int count, struct arena *arena)
{
    double *to = ARENA_NEW_ARRAY(arena, double, count);
    memcpy(to, from, sizeof(double) * (size_t)count);
    return to;
}

void fitted_copy(const struct fitted *from, struct arena *arena, struct fitted *ret)
{
    struct fitted fit = *from;
    if (is_naive(fit.model)) {
        fit.recent = copy_of(from->recent, fit.recent_count, arena);
    } else if (fit.model == MODEL_THETA) {
        fit.theta.ratio = copy_of(from->theta.ratio, fit.theta.m, arena);
    } else if (fit.model == MODEL_STL) {
        for (int j = 0; j < fit.stl.count; j++) {
            fit.stl.shape[j] = copy_of(from->stl.shape[j], fit.stl.m[j], arena);
        }
    } else if (fit.model == MODEL_ARIMA || fit.model == MODEL_FOURIER) {
        arima_copy(&from->arima, arena, &fit.arima);
    } else if (fitted_is_more(fit.model)) {
        fitted_more_copy(from, arena, &fit);
    }
    *ret = fit;
}

/* Prophet's value of a step, without the carried residual. */
static double prophet_at(const struct fitted *fit, int step)
{
    double at = fit->start_s + step * fit->step_s, row[HOLIDAY_COLUMNS_MAX];
    return prophet_value(&fit->prophet, at, fitted_holiday_row(fit, at, row));
}

void fitted_update(struct fitted *fit, double y)
{
    double x[2 * FITTED_PAIRS_MAX];
    if (isfinite(y)) {
        fit->least = fmin(fit->least, y);
        fit->most = fmax(fit->most, y);
    }
    double v = !isfinite(y) || (fit->log1p && y < 0) ? NUM_NAN : (fit->log1p ? log1p(y) : y);
    if (is_naive(fit->model)) {
        naive_take(fit, fit->seen, v);
        naive_place(fit, fit->seen, v);
    } else if (fit->model == MODEL_ETS) {
        ets_update(&fit->ets, v);
    } else if (fit->model == MODEL_THETA) {
        theta_update(&fit->theta, v);
    } else if (fit->model == MODEL_STL) {
        stl_update(&fit->stl, v);
    } else if (fit->model == MODEL_ARIMA || fit->model == MODEL_FOURIER) {
        if (fit->fourier_pairs > 0) {
            fourier_terms(fit->phase + fit->seen, 1, fit->season, fit->fourier_pairs, x,
                          2 * fit->fourier_pairs);
        }
        IGNORE_RESULT(arima_update(&fit->arima, v, x)); /* the error is not used here */
    } else if (fitted_is_more(fit->model)) {
        fitted_more_update(fit, v);
    } else if (is_prophet(fit->model)) {
        double e = v - prophet_at(fit, fit->seen);
        fit->last = isfinite(e) ? e : fit->last * fit->carry;
    }
    fit->seen++;
}

/* Value of the naive family i steps behind the end. */
static double naive_value(const struct fitted *fit, int i)
{
    double value = fit->recent[(fit->seen + i) % fit->recent_count];
    for (int j = 0; !isfinite(value) && j < fit->recent_count; j++) {
        /* a phase that was never seen: the nearest known before */
        value = fit->recent[(fit->seen + fit->recent_count - 1 - j) % fit->recent_count];
    }
    return value;
}

static void naive_forecast(const struct fitted *fit, int h, struct forecast *ret)
{
    int m = fit->model == MODEL_SEASONAL ? fit->season : 1;
    double variance = fit->pairs > 0 ? fit->squares / fit->pairs : 0, slope = 0, slope_variance = 0;
    if (fit->model == MODEL_DRIFT && fit->pairs > 1) {
        slope = fit->sum / fit->pairs;
        variance = fmax(0, (fit->squares - slope * fit->sum) / (fit->pairs - 1));
        slope_variance = variance / fit->pairs;
    }
    for (int i = 0; i < h; i++) {
        int rounds = i / m + 1; // the season gone round so often
        double steps = rounds;
        ret->mean[i] = ret->center[i] = naive_value(fit, i) + slope * steps;
        ret->sd[i] = sqrt(variance * steps + slope_variance * steps * steps);
    }
}

/* The slope of the last values; the errors of repeating, as the whole history had them, are the least spread. */
static enum err trend_forecast(const struct fitted *fit, int h, struct arena *arena,
                               struct forecast *ret, struct err_info *info)
{
    double last[FITTED_TREND_WINDOW];
    int count = fit->seen < FITTED_TREND_WINDOW ? fit->seen : FITTED_TREND_WINDOW;
    for (int i = 0; i < count; i++) {
        last[i] = fit->recent[(fit->seen - count + i) % FITTED_TREND_WINDOW];
    }
    enum err err = naive_trend(last, count, count, h, arena, ret, info);
    double variance = fit->pairs > 0 ? fit->squares / fit->pairs : 0;
    for (int i = 0; err == ERR_OK && i < h; i++) {
        ret->sd[i] = fmax(ret->sd[i], sqrt(variance * (i + 1)));
    }
    return err;
}

static void carried_forecast(const struct fitted *fit, int h, struct arena *arena,
                             struct forecast *ret)
{
    const double *time_s = fitted_times(fit, fit->seen, h, arena);
    prophet_forecast(&fit->prophet, time_s, h, fitted_holiday_rows(fit, time_s, h, arena), arena,
                     ret);
    double left = fit->last;
    for (int i = 0; i < h; i++) {
        left *= fit->carry;
        ret->center[i] += left;
        ret->mean[i] += left;
        for (int k = 0; ret->knots != NULL && k < FORECAST_KNOTS; k++) {
            ret->knots[(long)i * FORECAST_KNOTS + k] += left;
        }
    }
}

static enum err forecast_model(const struct fitted *fit, int h, struct arena *arena,
                               struct forecast *ret, struct err_info *info)
{
    switch (fit->model) {
    case MODEL_NAIVE:
    case MODEL_SEASONAL:
    case MODEL_DRIFT:
        forecast_init(ret, h, arena);
        naive_forecast(fit, h, ret);
        return ERR_OK;
    case MODEL_TREND:
        return trend_forecast(fit, h, arena, ret, info);
    case MODEL_ETS:
        ets_forecast(&fit->ets, h, arena, ret);
        return ERR_OK;
    case MODEL_THETA:
        theta_predict(&fit->theta, h, arena, ret);
        return ERR_OK;
    case MODEL_STL:
        stl_predict(&fit->stl, h, arena, ret);
        return ERR_OK;
    case MODEL_ARIMA:
    case MODEL_FOURIER:
        return arima_forecast(&fit->arima, h, fourier_rows(fit, fit->seen, h, arena), arena, ret,
                              info);
    case MODEL_PROPHET:
    case MODEL_PROPHET_LOGISTIC:
        carried_forecast(fit, h, arena, ret);
        return ERR_OK;
    case MODEL_PROPHET_AR:
    case MODEL_REGRESSION:
    case MODEL_HOLT_WINTERS:
    case MODEL_CROSTON:
    case MODEL_TSB:
        return fitted_more_forecast(fit, h, arena, ret, info);
    case MODEL_MEDIAN:
    case MODEL_COUNT:
        break;
    }
    return err_set(info, ERR_INTERNAL, "no such model");
}

enum err fitted_forecast(const struct fitted *fit, int h, struct arena *arena, struct forecast *ret,
                         struct err_info *info)
{
    if (h < 1 || h > HORIZON_MAX) {
        return err_set(info, ERR_LIMIT, "a horizon of %d steps; 1 to %d are allowed", h,
                       HORIZON_MAX);
    }
    enum err err = forecast_model(fit, h, arena, ret, info);
    if (err == ERR_OK && fit->log1p) {
        ret->transformed = 1;
        ret->lambda = 0;
        ret->shift = 1;
        for (int i = 0; i < h; i++) {
            ret->mean[i] = fmin(expm1(ret->mean[i]), LOG_TOP * fit->most);
        }
    }
    return err;
}

double fitted_quantile(const struct fitted *fit, const struct forecast *forecast, int i, double q)
{
    double value = forecast_quantile(forecast, i, q);
    return fit->log1p && value > LOG_TOP * fit->most ? LOG_TOP * fit->most : value;
}

double fitted_work(enum model model, int n, int season, const struct fit_how *how)
{
    /* microseconds a value, measured (docs/forecasting.md, Speed) */
    bool like = how->like != NULL;
    double each = 0.02;
    int models = how->models_max > 0 ? how->models_max : FOURIER_MODELS_MAX;
    switch (model) {
    case MODEL_ETS:
        each = (like ? 2 : 12) * (season > 1 && season <= STATE_SEASON_MAX ? 8.0 : 1.0);
        break;
    case MODEL_THETA:
        each = 1 + 0.02 * season;
        break;
    case MODEL_STL:
        each = like ? 3 : 12;
        break;
    case MODEL_ARIMA:
        each = (like ? 2 : 2.0 * models) * (season > 1 && season <= STATE_SEASON_MAX ? 10.0 : 1.0);
        break;
    case MODEL_FOURIER:
        each = like ? 10 : 12.0 * models;
        break;
    case MODEL_PROPHET:
        each = 1;
        break;
    case MODEL_PROPHET_LOGISTIC:
    case MODEL_PROPHET_AR:
        each = 10;
        break;
    case MODEL_REGRESSION:
        each = 0.1 * (how->horizon > 0 ? how->horizon : FITTED_HORIZON);
        break;
    case MODEL_HOLT_WINTERS:
    case MODEL_CROSTON:
    case MODEL_TSB:
        each = 1;
        break;
    case MODEL_NAIVE:
    case MODEL_SEASONAL:
    case MODEL_DRIFT:
    case MODEL_TREND:
    case MODEL_MEDIAN:
    case MODEL_COUNT:
        break;
    }
    return each * n;
}
