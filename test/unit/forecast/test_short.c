// SPDX-License-Identifier: Apache-2.0
#include "forecast/short.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/rng.h"
#include "forecast/num.h"
#include "test.h"

enum { DAY = 48, WEEK = 7 * DAY, HORIZON = 12 };

/* Days alike but for a random level, weekends lower, some noise. */
static void make_days(struct rng *rng, double *y, int n, double noise)
{
    double level = 0;
    for (int i = 0; i < n; i++) {
        if (i % DAY == 0) {
            level = 10 * rng_normal(rng);
        }
        double shape =
            50 * sin(6.283185307179586 * i / DAY) + 20 * sin(12.566370614359172 * i / DAY);
        y[i] = 200 + level + (i / DAY % 7 >= 5 ? 0.4 : 1) * shape + noise * rng_normal(rng);
    }
}

/* One horizon's coefficients by plain least squares on the same rows with the same ridge, from the definition. */
static double naive_forecast(const double *y, int n, int h)
{
    static double x[WEEK * 3][6], target[WEEK * 3];
    int rows = 0;
    for (int t = 0; t + h < n; t++) {
        double *r = x[rows];
        memset(r, 0, sizeof x[0]);
        r[0] = t >= 3 ? y[t] - y[t - 3] : 0;
        r[1] = t >= 12 ? y[t] - y[t - 12] : 0;
        if (t >= DAY) {
            r[2] = y[t + h - DAY] - y[t - DAY];
            r[3] = y[t - DAY] - y[t];
        }
        if (t >= WEEK) {
            r[4] = y[t + h - WEEK] - y[t - WEEK];
            r[5] = y[t - WEEK] - y[t];
        }
        target[rows++] = y[t + h] - y[t];
    }
    double a[36] = {0}, b[6] = {0}, weight = 0;
    for (int i = 0; i < rows; i++) {
        double w = exp(-(rows - 1 - i) / 1000.0);
        weight += w;
        for (int j = 0; j < 6; j++) {
            b[j] += w * x[i][j] * target[i];
            for (int k = 0; k < 6; k++) {
                a[j * 6 + k] += w * x[i][j] * x[i][k];
            }
        }
    }
    for (int j = 0; j < 6; j++) {
        a[j * 7] *= 1 + 20 / weight;
    }
    CHECK(num_solve(a, b, 6));
    int t = n - 1;
    return y[t] + b[0] * (y[t] - y[t - 3]) + b[1] * (y[t] - y[t - 12]) +
           b[2] * (y[t + h - DAY] - y[t - DAY]) + b[3] * (y[t - DAY] - y[t]) +
           b[4] * (y[t + h - WEEK] - y[t - WEEK]) + b[5] * (y[t - WEEK] - y[t]);
}

TEST(short_regression_is_weighted_least_squares_on_its_features)
{
    enum { N = WEEK * 3 };
    struct rng rng;
    struct arena arena;
    struct short_model model;
    struct forecast f;
    struct err_info info = {0};
    double y[N];
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 22);
    make_days(&rng, y, N, 3);
    struct short_spec spec = {.steps = HORIZON, .day = DAY, .week = WEEK, .memory = 1000};
    EXPECT(short_start(&spec, &arena, &model, &info) == ERR_OK);
    for (int i = 0; i < N; i++) {
        short_update(&model, y[i]);
    }
    EXPECT(short_forecast(&model, HORIZON, &arena, &f, &info) == ERR_OK);
    for (int h = 1; h <= HORIZON; h += 5) {
        double naive = naive_forecast(y, N, h);
        EXPECT_MSG(fabs(f.mean[h - 1] - naive) < 1e-6, "%d ahead: %.9g, not %.9g", h, f.mean[h - 1],
                   naive);
    }
    arena_release(&arena);
}

/* On days that repeat it must beat the last value by far and the day before too; its 80 % interval must hold. */
TEST(short_regression_follows_the_day_and_its_quantiles_hold)
{
    enum { N = WEEK * 12, FROM = WEEK * 6 };
    struct rng rng;
    struct arena arena;
    struct short_model model;
    struct err_info info = {0};
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 24);
    double *y = ARENA_NEW_ARRAY(&arena, double, N + HORIZON);
    make_days(&rng, y, N + HORIZON, 3);
    struct short_spec spec = {.steps = HORIZON, .day = DAY, .week = WEEK, .memory = 2016};
    EXPECT(short_start(&spec, &arena, &model, &info) == ERR_OK);
    double ours = 0, last = 0, day = 0;
    int inside = 0, total = 0;
    for (int i = 0; i < N; i++) {
        short_update(&model, y[i]);
        /* where the level of the day does not change within the horizon */
        if (i < FROM || i % DAY > DAY - HORIZON - 1 || i % DAY < 1) {
            continue;
        }
        struct arena_mark mark = arena_mark(&arena);
        struct forecast f;
        EXPECT(short_forecast(&model, HORIZON, &arena, &f, &info) == ERR_OK);
        for (int h = 1; h <= HORIZON; h++) {
            double truth = y[i + h];
            ours += fabs(f.mean[h - 1] - truth);
            last += fabs(y[i] - truth);
            day += fabs(y[i + h - DAY] - truth);
            inside += truth > forecast_quantile(&f, h - 1, 0.1) &&
                      truth < forecast_quantile(&f, h - 1, 0.9);
            total++;
        }
        arena_rewind(&arena, mark);
    }
    EXPECT_MSG(ours < 0.5 * last && ours < 0.7 * day, "%g against %g and %g", ours / total,
               last / total, day / total);
    EXPECT_MSG(inside > 0.75 * total && inside < 0.97 * total, "%g inside", (double)inside / total);
    arena_release(&arena);
}

TEST(short_regression_lives_with_gaps_and_says_what_it_cannot)
{
    struct arena arena;
    struct short_model model;
    struct forecast f;
    struct err_info info = {0};
    arena_init(&arena, 1 << 22);
    struct short_spec spec = {.steps = 5, .day = 24, .week = 168, .memory = 500};
    EXPECT(short_start(&spec, &arena, &model, &info) == ERR_OK);
    EXPECT_INT(short_forecast(&model, 5, &arena, &f, &info), ERR_INVALID);
    for (int i = 0; i < 1000; i++) {
        short_update(&model, i % 7 == 3 || i > 990 ? (double)NAN : i % 24);
    }
    EXPECT(short_forecast(&model, 5, &arena, &f, &info) == ERR_OK);
    for (int i = 0; i < 5; i++) {
        EXPECT(isfinite(f.mean[i]) && isfinite(f.sd[i]));
    }
    EXPECT_INT(short_forecast(&model, 6, &arena, &f, &info), ERR_INVALID);
    spec.steps = SHORT_STEPS_MAX + 1;
    EXPECT_INT(short_start(&spec, &arena, &model, &info), ERR_LIMIT);
    arena_release(&arena);
}
