// SPDX-License-Identifier: Apache-2.0
#include "forecast/short.h"

#include <math.h>
#include <string.h>

#include "forecast/num.h"

/* Weight of the ridge in rows, and the slopes' windows. */
static const double RIDGE_ROWS = 20;
static const int WINDOWS[2] = {3, 12};

enum { K = SHORT_FEATURES, RIGHT = K * (K + 1) / 2, SQUARES = RIGHT + K, WEIGHT = SQUARES + 1 };

enum err short_start(const struct short_spec *spec, struct arena *arena, struct short_model *ret,
                     struct err_info *info)
{
    if (spec->steps < 1 || spec->steps > SHORT_STEPS_MAX) {
        return err_set(info, ERR_LIMIT, "%d steps ahead; the regression takes 1 to %d", spec->steps,
                       SHORT_STEPS_MAX);
    }
    if (spec->day < 0 || spec->day == 1 || spec->day > SHORT_LAG_MAX || spec->week < 0 ||
        spec->week == 1 || spec->week > SHORT_LAG_MAX || !(spec->memory >= 50)) {
        return err_set(info, ERR_LIMIT, "day %d, week %d (most: %d steps), memory %g (least: 50)",
                       spec->day, spec->week, SHORT_LAG_MAX, spec->memory);
    }
    int longest = spec->week > spec->day ? spec->week : spec->day, size = 16;
    while (size < longest + 2 * spec->steps + WINDOWS[1] + 2) {
        size *= 2;
    }
    *ret = (struct short_model){.spec = *spec, .mask = size - 1};
    ret->past = ARENA_NEW_ARRAY(arena, double, size);
    ret->sums = ARENA_NEW_ARRAY(arena, double, (long)spec->steps *SHORT_SUMS);
    return ERR_OK;
}

void short_copy(const struct short_model *from, struct arena *arena, struct short_model *ret)
{
    size_t sums = (size_t)from->spec.steps * SHORT_SUMS;
    struct short_model copy = *from;
    copy.past = ARENA_NEW_ARRAY(arena, double, from->mask + 1);
    copy.sums = ARENA_NEW_ARRAY(arena, double, (long)sums);
    memcpy(copy.past, from->past, sizeof(double) * (size_t)(from->mask + 1));
    memcpy(copy.sums, from->sums, sizeof(double) * sums);
    *ret = copy;
}

/* Value at absolute step t; NaN where it is not known. */
static double value_at(const struct short_model *s, int t)
{
    return t >= 0 && t < s->seen && s->seen - t <= s->mask ? s->past[t & s->mask] : NUM_NAN;
}

static double known(double x)
{
    return isfinite(x) ? x : 0;
}

/* What the series did `lag` steps (or whole multiples, so that all is past) before, and how far now is from then. */
static void features_of_lag(const struct short_model *s, int t, int h, int lag, double now,
                            double *ret)
{
    ret[0] = ret[1] = 0;
    if (lag == 0) {
        return;
    }
    int back = (h + lag - 1) / lag * lag;
    double then = value_at(s, t - back), after = value_at(s, t - back + h);
    if (isfinite(then) && isfinite(after)) {
        ret[0] = after - then;
        ret[1] = then - now;
    }
}

static void features_at(const struct short_model *s, int t, int h, double now, double x[K])
{
    for (int i = 0; i < 2; i++) {
        x[i] = known(now - value_at(s, t - WINDOWS[i]));
    }
    features_of_lag(s, t, h, s->spec.day, now, x + 2);
    features_of_lag(s, t, h, s->spec.week, now, x + 4);
}

void short_update(struct short_model *model, double y)
{
    struct short_model *s = model;
    double fade = exp(-1 / s->spec.memory);
    s->past[s->seen & s->mask] = y;
    s->seen++;
    if (!isfinite(y)) {
        return;
    }
    for (int h = 1; h <= s->spec.steps && h < s->seen; h++) {
        int t = s->seen - 1 - h;
        double now = value_at(s, t), x[K], *sums = s->sums + (h - 1L) * SHORT_SUMS;
        if (!isfinite(now)) {
            continue;
        }
        features_at(s, t, h, now, x);
        double target = y - now, *at = sums;
        for (int i = 0; i < K; i++) {
            for (int j = 0; j <= i; j++, at++) {
                *at = *at * fade + x[i] * x[j];
            }
        }
        for (int i = 0; i < K; i++, at++) {
            *at = *at * fade + x[i] * target;
        }
        sums[SQUARES] = sums[SQUARES] * fade + target * target;
        sums[WEIGHT] = sums[WEIGHT] * fade + 1;
    }
}

/* Ridge regression from the sums; returns the variance of its residuals. */
static double solve(const double *sums, double w[K])
{
    double a[K * K], weight = sums[WEIGHT], squares = sums[SQUARES];
    for (int i = 0, at = 0; i < K; i++) {
        for (int j = 0; j <= i; j++, at++) {
            a[i * K + j] = sums[at];
        }
        double diagonal = a[i * K + i];
        a[i * K + i] = diagonal > 0 ? diagonal * (1 + RIDGE_ROWS / fmax(weight, 1)) : 1;
        w[i] = sums[RIGHT + i];
    }
    if (!num_cholesky(a, K)) {
        for (int i = 0; i < K; i++) {
            w[i] = 0;
        }
    } else {
        num_cholesky_solve(a, w, K);
    }
    /* c - 2 b'w + w'Aw with the A of before the ridge */
    for (int i = 0, at = 0; i < K; i++) {
        squares -= 2 * w[i] * sums[RIGHT + i];
        for (int j = 0; j <= i; j++, at++) {
            squares += (i == j ? 1 : 2) * w[i] * w[j] * sums[at];
        }
    }
    return fmax(squares, 0) / fmax(weight - K, 1);
}

enum err short_forecast(const struct short_model *model, int h, struct arena *arena,
                        struct forecast *ret, struct err_info *info)
{
    const struct short_model *s = model;
    int last = s->seen - 1, oldest = s->seen - 1 - s->mask;
    while (last >= 0 && last > oldest && !isfinite(value_at(s, last))) {
        last--;
    }
    double now = value_at(s, last);
    if (!isfinite(now)) {
        return err_set(info, ERR_INVALID, "no value is known yet");
    }
    if (h < 1 || h > s->spec.steps) {
        return err_set(info, ERR_INVALID, "%d steps ahead; this regression was started for %d", h,
                       s->spec.steps);
    }
    forecast_init(ret, h, arena);
    for (int i = 0; i < h; i++) {
        /* from the last value known; steps beyond the regressions' reach repeat the furthest */
        int ahead = i + s->seen - last;
        ahead = ahead < s->spec.steps ? ahead : s->spec.steps;
        double x[K], w[K], change = 0;
        features_at(s, last, ahead, now, x);
        double variance = solve(s->sums + (ahead - 1L) * SHORT_SUMS, w);
        for (int j = 0; j < K; j++) {
            change += w[j] * x[j];
        }
        ret->mean[i] = ret->center[i] = now + change;
        ret->sd[i] = sqrt(variance);
    }
    return ERR_OK;
}
