// SPDX-License-Identifier: Apache-2.0
#include "prm/correlate.h"

#include <math.h>

#include "forecast/num.h"

/* First differences over known neighbours; 0 where one is missing. */
static void difference(const double *v, int n, double *out)
{
    for (int i = 0; i + 1 < n; i++) {
        double d = v[i + 1] - v[i];
        out[i] = isfinite(d) ? d : 0;
    }
}

/* Mean 0, deviation 1, cut at four deviations and scaled again; false if it does not vary. */
static bool standardise(double *v, int n)
{
    for (int round = 0; round < 2; round++) {
        double sum = 0, square = 0;
        for (int i = 0; i < n; i++) {
            sum += v[i] / n;
        }
        for (int i = 0; i < n; i++) {
            square += (v[i] - sum) * (v[i] - sum) / n;
        }
        double deviation = sqrt(square);
        if (!(deviation > 0) || !isfinite(deviation)) {
            return false;
        }
        for (int i = 0; i < n; i++) {
            double z = (v[i] - sum) / deviation;
            z = round == 0 && z > 4 ? 4 : z;
            v[i] = round == 0 && z < -4 ? -4 : z;
        }
    }
    return true;
}

/* Sum of a[i] * b[i + lag] over what both have, over n. */
static double product(const double *a, const double *b, int n, int lag)
{
    double sum = 0;
    for (int i = lag < 0 ? -lag : 0; i < n && i + lag < n; i++) {
        sum += a[i] * b[i + lag];
    }
    return sum / n;
}

/* Autoregression of x by the Yule-Walker equations (Levinson-Durbin). */
static void fit_autoregression(const double *x, int n, double *phi)
{
    double r0 = product(x, x, n, 0), variance = r0, old[CORRELATE_ORDER];
    for (int k = 0; k < CORRELATE_ORDER; k++) {
        double next = product(x, x, n, k + 1);
        for (int j = 0; j < k; j++) {
            next -= phi[j] * product(x, x, n, k - j);
            old[j] = phi[j];
        }
        phi[k] = variance > 1e-12 * r0 ? next / variance : 0;
        for (int j = 0; j < k; j++) {
            phi[j] = old[j] - phi[k] * old[k - 1 - j];
        }
        variance *= 1 - phi[k] * phi[k];
    }
}

/* What the autoregression leaves of v; works from the end, in place. */
static void whiten(double *v, int n, const double *phi)
{
    for (int i = n - 1; i >= 0; i--) {
        for (int k = 0; k < CORRELATE_ORDER && k < i; k++) {
            v[i] -= phi[k] * v[i - 1 - k];
        }
    }
}

// NOLINTNEXTLINE(readability-function-size): all eight are the call, none a pair
enum err correlate(const double *x, const double *y, int n, int lag_max, double alpha,
                   struct arena *arena, struct correlation *ret_correlation, struct err_info *info)
{
    if (n < CORRELATE_MIN || n > CORRELATE_MAX || lag_max < 1 || lag_max > n / 4 ||
        !(alpha > 0 && alpha < 1)) {
        return err_set(
            info, ERR_INVALID,
            "correlation of %d values at up to %d steps: wants %d to %d values, lags up to a quarter",
            n, lag_max, CORRELATE_MIN, CORRELATE_MAX);
    }
    struct arena_mark mark = arena_mark(arena);
    double *a = ARENA_NEW_ARRAY(arena, double, n), *b = ARENA_NEW_ARRAY(arena, double, n);
    double phi[CORRELATE_ORDER] = {0};
    int count = n - 1;
    difference(x, n, a);
    difference(y, n, b);
    bool varies = standardise(a, count) && standardise(b, count);
    if (varies) {
        fit_autoregression(a, count, phi);
        whiten(a, count, phi);
        whiten(b, count, phi);
        varies = standardise(a, count) && standardise(b, count);
    }
    if (!varies) {
        arena_rewind(arena, mark);
        return err_set(info, ERR_INVALID, "a series does not vary: it can lead and follow nothing");
    }
    struct correlation best = {.r = 0};
    for (int lag = -lag_max; lag <= lag_max; lag++) {
        double r = product(a, b, count, lag);
        if (fabs(r) > fabs(best.r)) {
            best.r = r;
            best.lag = lag;
        }
    }
    best.threshold = num_normal_quantile(1 - alpha / 2 / (2 * lag_max + 1)) / sqrt((double)count);
    best.significant = fabs(best.r) > best.threshold;
    arena_rewind(arena, mark);
    *ret_correlation = best;
    return ERR_OK;
}
