// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "base/attr.h"
#include "forecast/fitted_priv.h"
#include "forecast/num.h"

/* Steps after which a row of the regression weighs 1/e: a week of 5 minutes. */
static const double REGRESSION_MEMORY = 2016;

void series_limits(const double *y, int n, struct prophet_spec *spec)
{
    double least = NUM_INFINITY, most = -NUM_INFINITY;
    for (int i = 0; i < n; i++) {
        least = isfinite(y[i]) ? fmin(least, y[i]) : least;
        most = isfinite(y[i]) ? fmax(most, y[i]) : most;
    }
    spec->logistic = 1;
    spec->floor = least >= 0 ? 0 : least - (most - least);
    spec->cap = spec->floor + 3 * (most - spec->floor);
}

double *fitted_holidays(const struct holidays *holidays, struct prophet_spec *spec,
                        const double *time_s, int rows, struct arena *arena)
{
    if (holidays == NULL || holidays->column_count == 0) {
        return NULL;
    }
    int k = holidays->column_count;
    spec->regressor_count = k;
    for (int j = 0; j < k; j++) {
        spec->regressor_prior[j] = holidays->prior[j];
        spec->regressor_multiplicative[j] = 0;
    }
    double *x = ARENA_NEW_ARRAY(arena, double, (long)rows *k);
    for (int i = 0; i < rows; i++) {
        holidays_row(holidays, time_s[i], x + (long)i * k);
    }
    return x;
}

double *fitted_holiday_rows(const struct fitted *fit, const double *time_s, int rows,
                            struct arena *arena)
{
    struct prophet_spec unused;
    return fitted_holidays(fit->holidays, &unused, time_s, rows, arena);
}

const double *fitted_holiday_row(const struct fitted *fit, double time_s,
                                 double row[HOLIDAY_COLUMNS_MAX])
{
    if (fit->holidays == NULL || fit->holidays->column_count == 0) {
        return NULL;
    }
    holidays_row(fit->holidays, time_s, row);
    return row;
}

bool fitted_is_more(enum model model)
{
    return model == MODEL_PROPHET_AR || model == MODEL_REGRESSION || model == MODEL_HOLT_WINTERS ||
           model == MODEL_CROSTON || model == MODEL_TSB;
}

static enum err fit_prophet_ar(struct fitted *fit, const double *y, int n,
                               const struct fit_how *how, struct arena *arena,
                               struct err_info *info)
{
    const double *time_s = fitted_times(fit, 0, n, arena);
    struct prophet_spec spec = prophet_defaults((n - 1) * fit->step_s, fit->step_s);
    const double *x = fitted_holidays(fit->holidays, &spec, time_s, n, arena);
    spec.effort = how->effort;
    return prophet_ar_fit(time_s, y, n, x, &spec, arena, &fit->prophet_ar, info);
}

/* Day and week come from the step where it divides a day in 4 or more, else the day is the season. */
static enum err fit_regression(struct fitted *fit, const double *y, int n, int horizon,
                               struct arena *arena, struct err_info *info)
{
    double steps = 86400 / fit->step_s, whole = round(steps);
    bool calendar = whole >= 4 && fabs(steps - whole) < 1e-6 * whole;
    double day = calendar ? whole : (fit->season > 1 ? fit->season : 0);
    struct short_spec spec = {.steps = horizon > 0 ? horizon : FITTED_HORIZON,
                              .memory = REGRESSION_MEMORY};
    spec.day = day < n && day <= SHORT_LAG_MAX ? (int)day : 0;
    spec.week = 7 * day < n && 7 * day <= SHORT_LAG_MAX ? (int)(7 * day) : 0;
    enum err err = short_start(&spec, arena, &fit->regression, info);
    for (int i = 0; err == ERR_OK && i < n; i++) {
        short_update(&fit->regression, y[i]);
    }
    return err;
}

enum err fitted_more_fit(struct fitted *fit, const double *y, int n, const struct fit_how *how,
                         struct arena *arena, struct err_info *info)
{
    if (fit->model == MODEL_PROPHET_AR) {
        return fit_prophet_ar(fit, y, n, how, arena, info);
    }
    if (fit->model == MODEL_REGRESSION) {
        return fit_regression(fit, y, n, how->horizon, arena, info);
    }
    if (fit->model == MODEL_HOLT_WINTERS) {
        return holt_winters_fit(series_without_gaps(y, n, arena), n, fit->season, arena,
                                &fit->holt_winters, info);
    }
    return intermittent_fit(y, n, fit->model == MODEL_TSB ? INTERMITTENT_TSB : INTERMITTENT_CROSTON,
                            &fit->intermittent, info);
}

void fitted_more_copy(const struct fitted *from, struct arena *arena, struct fitted *ret)
{
    if (from->model == MODEL_PROPHET_AR) {
        arima_copy(&from->prophet_ar.rest, arena, &ret->prophet_ar.rest);
    } else if (from->model == MODEL_REGRESSION) {
        short_copy(&from->regression, arena, &ret->regression);
    } else if (from->model == MODEL_HOLT_WINTERS) {
        size_t m = (size_t)from->holt_winters.m;
        ret->holt_winters.season = ARENA_NEW_ARRAY(arena, double, (long)m);
        memcpy(ret->holt_winters.season, from->holt_winters.season, sizeof(double) * m);
    }
}

void fitted_more_update(struct fitted *fit, double y)
{
    if (fit->model == MODEL_PROPHET_AR) {
        double at = fit->start_s + fit->seen * fit->step_s, row[HOLIDAY_COLUMNS_MAX];
        const double *x = fitted_holiday_row(fit, at, row);
        IGNORE_RESULT(
            prophet_ar_update(&fit->prophet_ar, at, y, x)); /* the error is not used here */
    } else if (fit->model == MODEL_REGRESSION) {
        short_update(&fit->regression, y);
    } else if (fit->model == MODEL_HOLT_WINTERS) {
        IGNORE_RESULT(holt_winters_update(&fit->holt_winters, y)); /* nor here */
    } else {
        IGNORE_RESULT(intermittent_update(&fit->intermittent, y < 0 ? NUM_NAN : y)); /* nor here */
    }
}

enum err fitted_more_forecast(const struct fitted *fit, int h, struct arena *arena,
                              struct forecast *ret, struct err_info *info)
{
    if (fit->model == MODEL_PROPHET_AR) {
        const double *time_s = fitted_times(fit, fit->seen, h, arena);
        return prophet_ar_forecast(&fit->prophet_ar, time_s, h,
                                   fitted_holiday_rows(fit, time_s, h, arena), arena, ret, info);
    }
    if (fit->model == MODEL_REGRESSION) {
        return short_forecast(&fit->regression, h, arena, ret, info);
    }
    if (fit->model == MODEL_HOLT_WINTERS) {
        holt_winters_forecast(&fit->holt_winters, h, arena, ret);
        return ERR_OK;
    }
    intermittent_forecast(&fit->intermittent, h, arena, ret);
    return ERR_OK;
}
