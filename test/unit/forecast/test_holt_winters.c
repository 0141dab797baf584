// SPDX-License-Identifier: Apache-2.0
#include "forecast/holt_winters.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "forecast/ets.h"
#include "test.h"

static void make_series(struct rng *rng, double *y, int n, int m)
{
    double level = 50;
    for (int i = 0; i < n; i++) {
        level += 0.02 + 0.2 * rng_normal(rng);
        y[i] = level + 10 * sin(6.283185307179586 * i / m) + rng_normal(rng);
    }
}

/* Each point of the grid by ETS (A,A,A) from the same start, one after the other: the winner and its state must be ours. */
TEST(holt_winters_is_the_best_of_its_grid_run_one_by_one)
{
    enum { N = 300, M = 12 };
    static const double alpha[3] = {0.05, 0.2, 0.5}, beta[3] = {0.001, 0.02, 0.1},
                        gamma[3] = {0.05, 0.2, 0.5};
    struct rng rng;
    struct arena arena;
    struct err_info info = {0};
    struct holt_winters model;
    struct forecast f, g;
    static double y[N];
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 22);
    for (int round = 0; round < 10; round++) {
        make_series(&rng, y, N, M);
        EXPECT(holt_winters_fit(y, N, M, &arena, &model, &info) == ERR_OK);
        double first = 0, second = 0, least = (double)INFINITY;
        for (int i = 0; i < M; i++) {
            first += y[i] / M;
            second += y[M + i] / M;
        }
        struct ets best = {0};
        double slope = (second - first) / M;
        for (int point = 0; point < HOLT_WINTERS_GRID; point++) {
            struct ets e = {.form = {'A', 'A', 'A', 0}, .m = M, .phi = 1};
            e.alpha = alpha[point / 9];
            e.beta = e.alpha * beta[point / 3 % 3];
            e.gamma = gamma[point % 3] * (1 - e.alpha);
            e.level = first + slope * (M - 1) / 2;
            e.slope = slope;
            for (int i = 0; i < M; i++) {
                e.season[i] = y[i] - first - slope * (i - (M - 1) / 2.0);
            }
            double squares = 0;
            for (int t = M; t < N; t++) {
                double error = ets_update(&e, y[t]);
                squares += error * error;
            }
            if (squares < least) {
                least = squares;
                best = e;
            }
        }
        EXPECT_NEAR(model.alpha, best.alpha, 1e-12);
        EXPECT_NEAR(model.gamma * (1 - model.alpha), best.gamma, 1e-12);
        EXPECT_NEAR(model.sigma2, least / (N - M - 2), 1e-9);
        best.sigma2 = model.sigma2;
        holt_winters_forecast(&model, 30, &arena, &f);
        ets_forecast(&best, 30, &arena, &g);
        for (int i = 0; i < 30; i++) {
            EXPECT_NEAR(f.mean[i], g.mean[i], 1e-9);
            EXPECT_NEAR(f.sd[i], g.sd[i], 1e-9);
        }
        arena_reset(&arena);
    }
    arena_release(&arena);
}

TEST(holt_winters_goes_on_value_by_value_and_refuses_what_is_too_short)
{
    enum { N = 2000, M = 288 };
    struct rng rng;
    struct arena arena;
    struct err_info info = {0};
    struct holt_winters model;
    struct forecast f;
    static double y[N];
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 24);
    make_series(&rng, y, N, M);
    EXPECT(holt_winters_fit(y, N - M, M, &arena, &model, &info) == ERR_OK);
    double squares = 0;
    for (int t = N - M; t < N; t++) {
        struct arena_mark mark = arena_mark(&arena);
        holt_winters_forecast(&model, 1, &arena, &f);
        double e = holt_winters_update(&model, y[t]);
        EXPECT_NEAR(e, y[t] - f.mean[0], 1e-9);
        squares += e * e / M;
        arena_rewind(&arena, mark);
    }
    EXPECT_MSG(squares < 2.5 && squares < 2 * model.sigma2, "variance of the errors %g", squares);
    struct holt_winters before = model;
    EXPECT(fabs(holt_winters_update(&model, (double)NAN)) < 1e-12);
    EXPECT_NEAR(model.level, before.level + before.slope, 1e-12);
    EXPECT_INT(holt_winters_fit(y, 2 * M, M, &arena, &model, &info), ERR_INVALID);
    EXPECT(strstr(info.text, "needs 579") != NULL);
    EXPECT_INT(holt_winters_fit(y, N, 1, &arena, &model, &info), ERR_LIMIT);
    arena_release(&arena);
}
