// SPDX-License-Identifier: Apache-2.0
#include "forecast/theta.h"

#include "base/check.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "forecast/ets.h"
#include "forecast/num.h"

void theta_season_ratios(const double *y, int n, int m, double *ratios)
{
    double total = 0;
    int half = m / 2;
    for (int phase = 0; phase < m; phase++) {
        double sum = 0;
        int count = 0;
        for (int t = phase; t < n; t += m) {
            if (t < half || t + half >= n) {
                continue;
            }
            double average = 0;
            for (int j = -half; j <= half; j++) {
                average += y[t + j] * (m % 2 == 0 && (j == half || j == -half) ? 0.5 : 1) / m;
            }
            sum += y[t] / average;
            count++;
        }
        ratios[phase] = count > 0 ? sum / count : 1;
        total += ratios[phase] / m;
    }
    for (int phase = 0; phase < m; phase++) {
        ratios[phase] /= total;
    }
}

/* Autocorrelation at lag m beyond the 90 % bound that the shorter lags leave. */
static bool season_matters(const double *y, int n, int m)
{
    double mean = 0, whole = 0, squares = 0, last = 0;
    for (int i = 0; i < n; i++) {
        mean += y[i] / n;
    }
    for (int i = 0; i < n; i++) {
        whole += (y[i] - mean) * (y[i] - mean);
    }
    for (int lag = 1; lag <= m; lag++) {
        double sum = 0;
        for (int i = lag; i < n; i++) {
            sum += (y[i] - mean) * (y[i - lag] - mean);
        }
        last = whole > 0 ? sum / whole : 0;
        squares += lag < m ? last * last : 0;
    }
    return fabs(last) / sqrt((1 + 2 * squares) / n) > num_normal_quantile(0.95);
}

/* The series without its season in v[n]; false if there is none that can be taken off. */
static bool take_off_season(const double *y, int n, int m, double *v, double *ratios)
{
    bool seasonal = m > 1 && n > 2 * m && season_matters(y, n, m);
    for (int i = 0; i < n && seasonal; i++) {
        seasonal = y[i] > 0;
    }
    if (!seasonal) {
        return false;
    }
    theta_season_ratios(y, n, m, ratios);
    for (int i = 0; i < m; i++) {
        seasonal = seasonal && ratios[i] > 1e-10;
    }
    for (int i = 0; i < n && seasonal; i++) {
        v[i] = y[i] / ratios[i % m];
    }
    return seasonal;
}

enum err theta_fit(const struct ets_data *data, struct arena *arena, struct theta *ret,
                   struct err_info *info)
{
    const double *y = data->y;
    int n = data->n, m = data->m;
    if (n < 4) {
        return err_set(info, ERR_INVALID, "%d values; Theta needs 4", n);
    }
    double *v = ARENA_NEW_ARRAY(arena, double, n);
    memcpy(v, y, sizeof(double) * (size_t)n);
    struct theta theta = {.m = m > 1 ? m : 1, .seen = n};
    theta.ratio = ARENA_NEW_ARRAY(arena, double, theta.m);
    if (!take_off_season(y, n, m, v, theta.ratio)) {
        theta.m = 1;
        theta.ratio[0] = 1;
    }
    struct ets_form form = {'A', 'N', 'N', 0};
    struct ets_data level = {.y = v, .n = n, .m = 1, .effort = data->effort};
    effort_spend(data->effort, (double)n * theta.m);
    enum err err = ets_fit(&level, &form, arena, &theta.ets, info);
    if (err != ERR_OK) {
        return err;
    }
    double middle = (n - 1) / 2.0, slope = 0, spread = 0, alpha = theta.ets.alpha;
    for (int i = 0; i < n; i++) {
        slope += (i - middle) * v[i];
        spread += (i - middle) * (i - middle);
    }
    theta.half = slope / spread / 2;
    theta.fit_term = (1 - pow(1 - alpha, n)) / alpha;
    *ret = theta;
    return ERR_OK;
}

void theta_predict(const struct theta *model, int h, struct arena *arena, struct forecast *ret)
{
    CHECK(model->m > 0 && model->ratio != NULL);
    double alpha = model->ets.alpha;
    forecast_init(ret, h, arena);
    for (int i = 0; i < h; i++) {
        double mean = model->ets.level + model->half * (i + model->fit_term);
        ret->mean[i] = ret->center[i] = mean * model->ratio[(model->seen + i) % model->m];
        ret->sd[i] = sqrt(model->ets.sigma2 * (1 + i * alpha * alpha));
    }
}

void theta_update(struct theta *model, double y)
{
    ets_update(&model->ets, y / model->ratio[model->seen % model->m]);
    model->seen++;
}

// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
enum err theta_forecast(const double *y, int n, int m, int h, struct arena *arena,
                        struct forecast *ret, double ret_parameters[3], struct err_info *info)
{
    struct theta model = {0};
    struct ets_data data = {.y = y, .n = n, .m = m};
    enum err err = theta_fit(&data, arena, &model, info);
    if (err != ERR_OK) {
        return err;
    }
    theta_predict(&model, h, arena, ret);
    if (ret_parameters != NULL) {
        ret_parameters[0] = model.ets.alpha;
        ret_parameters[1] = model.half;
        ret_parameters[2] = model.ets.sigma2;
    }
    return ERR_OK;
}
