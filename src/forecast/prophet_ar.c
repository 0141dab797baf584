// SPDX-License-Identifier: Apache-2.0
#include "forecast/prophet_ar.h"

#include <math.h>

#include "forecast/num.h"

enum { AR_MAX = 3, VALUES_MIN = 6 };

// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
enum err prophet_ar_fit(const double *time_s, const double *y, int n, const double *x,
                        const struct prophet_spec *spec, struct arena *arena,
                        struct prophet_ar *ret, struct err_info *info)
{
    enum err err = prophet_fit(time_s, y, n, x, spec, arena, &ret->model, info);
    if (err != ERR_OK) {
        return err;
    }
    double *rest = ARENA_NEW_ARRAY(arena, double, n);
    int known = 0;
    for (int i = 0; i < n; i++) {
        const double *row = x ? x + (long)i * spec->regressor_count : NULL;
        rest[i] = y[i] - prophet_value(&ret->model, time_s[i], row);
        known += isfinite(rest[i]) != 0;
    }
    if (known < VALUES_MIN) {
        return err_set(info, ERR_INVALID, "%d values; the residual's model needs %d", known,
                       VALUES_MIN);
    }
    struct arima_data data = {.y = rest, .n = n, .effort = spec->effort};
    bool found = false;
    for (int p = 1; p <= AR_MAX; p++) {
        struct arima_order order = {.p = p, .m = 1};
        struct arima trial;
        if (arima_fit(&data, &order, NULL, arena, &trial, info) == ERR_OK &&
            (!found || trial.aicc < ret->rest.aicc)) {
            ret->rest = trial;
            found = true;
        }
    }
    return found ? ERR_OK : ERR_INVALID;
}

double prophet_ar_update(struct prophet_ar *model, double time_s, double y, const double *x)
{
    return arima_update(&model->rest, y - prophet_value(&model->model, time_s, x), NULL);
}

enum err prophet_ar_forecast(const struct prophet_ar *model, const double *time_s, int h,
                             const double *x, struct arena *arena, struct forecast *ret,
                             struct err_info *info)
{
    struct forecast rest;
    enum err err = arima_forecast(&model->rest, h, NULL, arena, &rest, info);
    if (err != ERR_OK) {
        return err;
    }
    prophet_forecast(&model->model, time_s, h, x, arena, ret);
    double noise = model->model.sigma * model->model.y_scale;
    for (int i = 0; i < h; i++) {
        /* the residual's variance takes the place of the noise; the shape of changes of trend stays */
        double before = ret->sd[i], center = ret->center[i];
        double variance = before * before - noise * noise + rest.sd[i] * rest.sd[i];
        double *knots = ret->knots != NULL ? ret->knots + (long)i * FORECAST_KNOTS : NULL;
        ret->sd[i] = sqrt(fmax(variance, 0));
        ret->center[i] += rest.mean[i];
        ret->mean[i] += rest.mean[i];
        for (int k = 0; knots != NULL && k < FORECAST_KNOTS; k++) {
            double scaled = before > 0 ? (knots[k] - center) * ret->sd[i] / before : 0;
            knots[k] = ret->center[i] + scaled;
        }
    }
    return ERR_OK;
}
