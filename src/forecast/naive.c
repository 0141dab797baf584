// SPDX-License-Identifier: Apache-2.0
#include "forecast/naive.h"

#include <math.h>

#include "forecast/num.h"

static int finite_count(const double *y, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        count += isfinite(y[i]) != 0;
    }
    return count;
}

/* Mean of the squared differences at lag m, over the pairs that are known; their number in `ret_pairs`. */
static double lag_squares(const double *y, int n, int m, int *ret_pairs)
{
    double sum = 0;
    int pairs = 0;
    for (int i = m; i < n; i++) {
        double e = y[i] - y[i - m];
        if (isfinite(e)) {
            sum += e * e;
            pairs++;
        }
    }
    *ret_pairs = pairs;
    return pairs > 0 ? sum / pairs : 0;
}

/* Index of the last known value at i, i - m, i - 2m ...; -1 if there is none. */
static int last_known(const double *y, int i, int m)
{
    while (i >= 0 && !isfinite(y[i])) {
        i -= m;
    }
    return i;
}

static enum err too_few(const double *y, int n, int needed, struct err_info *info)
{
    int count = finite_count(y, n);
    if (count < needed) {
        return err_set(info, ERR_INVALID, "the series has %d values; the model needs %d", count,
                       needed);
    }
    return ERR_OK;
}

enum err naive_seasonal(const double *y, int n, int m, int h, struct arena *arena,
                        struct forecast *ret, struct err_info *info)
{
    int pairs;
    double squares = lag_squares(y, n, m, &pairs);
    int any = last_known(y, n - 1, 1);
    if (any < 0 || n <= m) {
        return err_set(info, ERR_INVALID, "a season of %d steps needs more than its %d values", m,
                       n);
    }
    forecast_init(ret, h, arena);
    for (int i = 0; i < h; i++) {
        int from = last_known(y, n - m + i % m, m);
        ret->mean[i] = ret->center[i] = y[from >= 0 ? from : any];
        int seasons = i / m + 1;
        ret->sd[i] = sqrt(squares * seasons);
    }
    return ERR_OK;
}

enum err naive_last(const double *y, int n, int h, struct arena *arena, struct forecast *ret,
                    struct err_info *info)
{
    enum err err = too_few(y, n, 2, info);
    return err != ERR_OK ? err : naive_seasonal(y, n, 1, h, arena, ret, info);
}

enum err naive_drift(const double *y, int n, int h, struct arena *arena, struct forecast *ret,
                     struct err_info *info)
{
    enum err err = too_few(y, n, 3, info);
    if (err != ERR_OK) {
        return err;
    }
    double sum = 0, squares = 0;
    int pairs = 0;
    for (int i = 1; i < n; i++) {
        if (isfinite(y[i] - y[i - 1])) {
            sum += y[i] - y[i - 1];
            pairs++;
        }
    }
    double slope = pairs > 0 ? sum / pairs : 0;
    for (int i = 1; i < n; i++) {
        double e = y[i] - y[i - 1] - slope;
        squares += isfinite(e) ? e * e : 0;
    }
    double variance = pairs > 1 ? squares / (pairs - 1) : 0;
    double slope_variance = pairs > 0 ? variance / pairs : 0;
    double last = y[last_known(y, n - 1, 1)];
    forecast_init(ret, h, arena);
    for (int i = 0; i < h; i++) {
        double steps = i + 1;
        ret->mean[i] = ret->center[i] = last + slope * steps;
        ret->sd[i] = sqrt(variance * steps + slope_variance * steps * steps);
    }
    return ERR_OK;
}

enum err naive_mean(const double *y, int n, int h, double level, struct arena *arena,
                    struct forecast *ret, struct err_info *info)
{
    enum err err = too_few(y, n, 2, info);
    if (err != ERR_OK) {
        return err;
    }
    double mean = 0, squares = 0;
    int count = finite_count(y, n);
    for (int i = 0; i < n; i++) {
        mean += isfinite(y[i]) ? y[i] / count : 0;
    }
    for (int i = 0; i < n; i++) {
        squares += isfinite(y[i]) ? (y[i] - mean) * (y[i] - mean) : 0;
    }
    double sd = sqrt(squares / (count - 1) * (1 + 1.0 / count));
    double p = 0.5 + level / 2;
    forecast_init(ret, h, arena);
    for (int i = 0; i < h; i++) {
        ret->mean[i] = ret->center[i] = mean;
        ret->sd[i] = sd * num_t_quantile(p, count - 1) / num_normal_quantile(p);
    }
    return ERR_OK;
}

enum err naive_trend(const double *y, int n, int window, int h, struct arena *arena,
                     struct forecast *ret, struct err_info *info)
{
    int from = n > window ? n - window : 0;
    double sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0;
    int count = 0;
    enum err err = too_few(y, n, 2, info);
    if (err != ERR_OK) {
        return err;
    }
    double base = y[last_known(y, n - 1, 1)];
    for (int i = from; i < n; i++) {
        if (isfinite(y[i])) {
            double x = i - (n - 1), v = y[i] - base;
            sx += x, sy += v, sxx += x * x, sxy += x * v, syy += v * v;
            count++;
        }
    }
    double spread = count > 0 ? sxx - sx * sx / count : 0;
    double slope = spread > 0 ? (sxy - sx * sy / count) / spread : 0;
    double level = count > 0 ? (sy - slope * sx) / count : 0;
    double rest = count > 2 ? (syy - sy * sy / count - slope * slope * spread) / (count - 2) : 0;
    int pairs;
    double one_step = lag_squares(y, n, 1, &pairs);
    rest = rest > 0 ? rest : 0;
    forecast_init(ret, h, arena);
    for (int i = 0; i < h; i++) {
        double steps = i + 1, x = count > 0 ? steps - sx / count : 0;
        double line =
            rest * (1 + (spread > 0 ? x * x / spread : 0) + 1.0 / (count > 0 ? count : 1));
        ret->mean[i] = ret->center[i] = base + level + slope * steps;
        ret->sd[i] = sqrt(fmax(line, one_step * steps));
    }
    return ERR_OK;
}
