// SPDX-License-Identifier: Apache-2.0
#include "forecast/backtest.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "test.h"

/* Shapes that break forecasters: constant, short, zeros, spikes, gaps, steps, huge, tiny, negative. */
static int make_shape(struct rng *rng, int shape, double *y)
{
    int n = 2 + (int)rng_below(rng, 120);
    double scale = shape == 6 ? 1e200 : (shape == 7 ? 1e-200 : 10), walk = 0;
    for (int i = 0; i < n; i++) {
        double noise = rng_normal(rng);
        walk += noise;
        y[i] = scale * (shape == 0   ? 1
                        : shape == 1 ? noise
                        : shape == 2 ? walk
                                     : fabs(sin(i * 0.5)) + 0.1 * fabs(noise));
        if (shape == 3) {
            y[i] = rng_chance(rng, 0.8) ? 0 : fabs(noise);
        }
        if (shape == 4 && rng_chance(rng, 0.3)) {
            y[i] = (double)NAN;
        }
        if (shape == 5) {
            y[i] += i > n / 2 ? 1e6 : 0;
        }
        if (shape == 8) {
            y[i] = rng_chance(rng, 0.02) ? 1e9 : 1;
        }
    }
    return n;
}

TEST(every_model_stays_finite_and_ordered_on_every_shape)
{
    static const double q[5] = {0.05, 0.1, 0.5, 0.9, 0.95};
    struct rng rng;
    struct arena arena;
    rng_init(&rng, test_seed());
    arena_init(&arena, (ptrdiff_t)1 << 28);
    for (int round = 0; round < 90; round++) {
        double y[128], out[7 * 5];
        int n = make_shape(&rng, round % 9, y);
        struct series series = {y, n,   rng_chance(&rng, 0.5) ? 1 : 2 + (int)rng_below(&rng, 14),
                                0, 300, NULL};
        for (int m = 0; m < MODEL_COUNT; m++) {
            struct err_info info = {0};
            if (model_forecast((enum model)m, &series, 7, q, 5, &arena, out, &info) != ERR_OK) {
                EXPECT(info.text[0] != 0);
                continue;
            }
            for (int i = 0; i < 35; i++) {
                EXPECT_MSG(isfinite(out[i]), "round %d: %s is not finite", round,
                           model_name((enum model)m));
                EXPECT(i % 5 == 0 || out[i] >= out[i - 1]);
            }
        }
        arena_reset(&arena);
    }
    arena_release(&arena);
}

TEST(season_is_found_among_candidates)
{
    static const int candidates[3] = {7, 12, 24};
    struct rng rng;
    double y[240];
    rng_init(&rng, test_seed());
    for (int i = 0; i < 240; i++) {
        y[i] = 100 + 40 * sin(6.283185307179586 * i / 24) + rng_normal(&rng);
    }
    EXPECT_INT(model_season(y, 240, candidates, 3), 24);
}

TEST(backtest_ranks_a_seasonal_model_before_the_naive_one_and_scores_the_truth)
{
    static double y[480];
    static struct backtest_row rows[BACKTEST_MODELS];
    struct arena arena;
    struct err_info info;
    struct rng rng;
    rng_init(&rng, test_seed());
    arena_init(&arena, (ptrdiff_t)1 << 28);
    for (int i = 0; i < 480; i++) {
        y[i] = 100 + 40 * sin(6.283185307179586 * i / 24) + rng_normal(&rng);
    }
    struct series series = {y, 480, 24, 0, 3600, NULL};
    struct backtest spec = {
        .train = 240, .h = 12, .origins = 5, .level_count = 3, .level = {0.1, 0.5, 0.9}};
    EXPECT_INT(backtest_origin(&spec, 480, 4), 468);
    EXPECT_INT(backtest_at(&series, &spec, 468, BACKTEST_MODELS, &arena, rows, &info), ERR_OK);
    EXPECT(rows[MODEL_NAIVE].there && rows[BACKTEST_AUTO].there && rows[MODEL_STL].there);
    EXPECT(rows[BACKTEST_AUTO].mase < 0.1 * rows[MODEL_NAIVE].mase);
    EXPECT(rows[BACKTEST_AUTO].loss[2] < 0.2 * rows[MODEL_NAIVE].loss[2]);
    /* by hand: the naive model's middle level is the last value */
    double off = 0, scale = 0;
    for (int i = 0; i < 12; i++) {
        off += fabs(y[468 + i] - y[467]) / 12;
    }
    for (int i = 24; i < 240; i++) {
        scale += fabs(y[228 + i] - y[228 + i - 24]) / 216;
    }
    EXPECT_NEAR(rows[MODEL_NAIVE].mase, off / scale, 1e-9);
    EXPECT_NEAR(rows[MODEL_NAIVE].loss[1], off / scale / 2, 1e-9);
    EXPECT_INT(backtest_at(&series, &spec, 470, BACKTEST_MODELS, &arena, rows, &info), ERR_LIMIT);
    arena_release(&arena);
}

TEST(too_short_a_series_is_refused_with_its_length)
{
    struct arena arena;
    struct err_info info;
    double q = 0.5, out, y[2] = {1, (double)NAN};
    struct series series = {y, 2, 1, 0, 60, NULL};
    arena_init(&arena, 1 << 20);
    EXPECT_INT(model_forecast(MODEL_NAIVE, &series, 1, &q, 1, &arena, &out, &info), ERR_INVALID);
    EXPECT(strstr(info.text, "1 values") != NULL);
    arena_release(&arena);
}
