// SPDX-License-Identifier: Apache-2.0
#include "forecast/forecast.h"

#include <math.h>

#include "base/check.h"
#include "forecast/num.h"

void forecast_init(struct forecast *forecast, int h, struct arena *arena)
{
    CHECK(h >= 1 && h <= HORIZON_MAX);
    *forecast = (struct forecast){.h = h};
    forecast->mean = ARENA_NEW_ARRAY(arena, double, h);
    forecast->center = ARENA_NEW_ARRAY(arena, double, h);
    forecast->sd = ARENA_NEW_ARRAY(arena, double, h);
}

/* Between the knots, and along the last two beyond them. */
static double knot_value(const double *knots, double score)
{
    double at =
        score / FORECAST_KNOT_STEP + FORECAST_KNOTS / 2; // NOLINT(bugprone-integer-division)
    int k = (int)fmin(fmax(at, 0), FORECAST_KNOTS - 2);
    return knots[k] + (at - k) * (knots[k + 1] - knots[k]);
}

double forecast_quantile(const struct forecast *forecast, int i, double q)
{
    double score = num_normal_quantile(q), value = forecast->center[i] + score * forecast->sd[i];
    if (forecast->knots != NULL) {
        value = knot_value(forecast->knots + (long)i * FORECAST_KNOTS, score);
    }
    return forecast->transformed ? box_cox_inverse(value, forecast->lambda) - forecast->shift
                                 : value;
}

double box_cox(double y, double lambda)
{
    if (num_is_zero(lambda)) {
        return y > 0 ? log(y) : NUM_NAN;
    }
    return (copysign(pow(fabs(y), lambda), y) - 1) / lambda;
}

double box_cox_inverse(double w, double lambda)
{
    if (num_is_zero(lambda)) {
        return exp(w);
    }
    double base = lambda * w + 1;
    return copysign(pow(fabs(base), 1 / lambda), base);
}

double box_cox_mean(double center, double variance, double lambda)
{
    double back = box_cox_inverse(center, lambda);
    return back * (1 + 0.5 * variance * (1 - lambda) / pow(back, 2 * lambda));
}

struct blocks {
    const double *mean, *sd;
    double *ratio;
    int count;
};

/* Coefficient of variation of sd / mean^(1 - lambda) over the blocks. */
static double block_variation(void *context, double lambda)
{
    struct blocks *blocks = context;
    double sum = 0, squares = 0;
    for (int i = 0; i < blocks->count; i++) {
        blocks->ratio[i] = blocks->sd[i] / pow(blocks->mean[i], 1 - lambda);
        sum += blocks->ratio[i];
    }
    double mean = sum / blocks->count;
    for (int i = 0; i < blocks->count; i++) {
        squares += (blocks->ratio[i] - mean) * (blocks->ratio[i] - mean);
    }
    return sqrt(squares / (blocks->count - 1)) / mean;
}

double box_cox_guerrero(const double *y, int n, int m, struct arena *arena)
{
    int period = m > 2 ? m : 2, count = n / period;
    CHECK(count >= 2);
    struct arena_mark mark = arena_mark(arena);
    double *mean = ARENA_NEW_ARRAY(arena, double, count);
    double *sd = ARENA_NEW_ARRAY(arena, double, count);
    struct blocks blocks = {mean, sd, ARENA_NEW_ARRAY(arena, double, count), count};
    for (int b = 0; b < count; b++) {
        const double *v = y + n - (count - b) * period;
        for (int i = 0; i < period; i++) {
            mean[b] += v[i] / period;
        }
        for (int i = 0; i < period; i++) {
            sd[b] += (v[i] - mean[b]) * (v[i] - mean[b]);
        }
        sd[b] = sqrt(sd[b] / (period - 1));
    }
    double lambda = num_minimum(block_variation, &blocks, -1, 2, pow(2.220446049250313e-16, 0.25));
    arena_rewind(arena, mark);
    return lambda;
}

/* Residual sum of squares of z[n] on a line and, with m > 1, seasonal means. `x` and `coef` are room. */
static double detrended_squares(double *z, int n, int m, double *x, double *coef)
{
    int k = m > 1 ? m + 1 : 2;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < k; j++) {
            x[(long)i * k + j] = j == 0 ? 1 : (j == 1 ? i : i % m == j - 1);
        }
    }
    int rank = num_least_squares(x, z, n, k, coef);
    double sum = 0;
    for (int i = rank; i < n; i++) {
        sum += z[i] * z[i];
    }
    return sum;
}

double box_cox_loglik(const double *y, int n, int m, struct arena *arena)
{
    struct arena_mark mark = arena_mark(arena);
    int k = m > 1 ? m + 1 : 2;
    double *z = ARENA_NEW_ARRAY(arena, double, n), *coef = ARENA_NEW_ARRAY(arena, double, k);
    double *x = ARENA_NEW_ARRAY(arena, double, (long)n *k);
    double mean_log = 0, best = 0, best_squares = NUM_INFINITY;
    for (int i = 0; i < n; i++) {
        mean_log += log(y[i]) / n;
    }
    for (int step = 0; step <= 60; step++) {
        double lambda = (step - 20) * 0.05;
        for (int i = 0; i < n; i++) {
            z[i] = box_cox(y[i] / exp(mean_log), fabs(lambda) < 1e-9 ? 0 : lambda);
        }
        double squares = detrended_squares(z, n, m, x, coef);
        if (squares < best_squares) {
            best_squares = squares;
            best = lambda;
        }
    }
    arena_rewind(arena, mark);
    return best;
}
