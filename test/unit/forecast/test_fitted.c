// SPDX-License-Identifier: Apache-2.0
#include "forecast/fitted.h"

#include <math.h>

#include "base/rng.h"
#include "forecast/naive.h"
#include "test.h"

enum { N = 480, MORE = 61, H = 24, SEASON = 24 };

/* A daily shape on a slow walk, never below zero. */
static void make_load(struct rng *rng, double *y, int n)
{
    double level = 100;
    for (int i = 0; i < n; i++) {
        level += 0.3 * rng_normal(rng);
        y[i] = level + 40 * sin(6.283185307179586 * i / SEASON) + rng_normal(rng);
    }
}

static const struct fit_how as_usual = {0};

TEST(fitted_naive_family_with_updates_is_the_fit_of_all)
{
    static const enum model family[4] = {MODEL_NAIVE, MODEL_SEASONAL, MODEL_DRIFT, MODEL_TREND};
    struct rng rng;
    struct arena arena;
    static double y[N + MORE];
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 26);
    make_load(&rng, y, N + MORE);
    y[N + 7] = y[N - 1] = y[40] = (double)NAN;
    for (int i = 0; i < 4; i++) {
        struct series part = {y, N, SEASON, 0, 300, NULL},
                      all = {y, N + MORE, SEASON, 0, 300, NULL};
        struct fitted fit;
        struct forecast a, b;
        EXPECT_INT(fitted_fit(family[i], &part, &as_usual, &arena, &fit, NULL), ERR_OK);
        for (int t = N; t < N + MORE; t++) {
            fitted_update(&fit, y[t]);
        }
        EXPECT_INT(fitted_forecast(&fit, H, &arena, &a, NULL), ERR_OK);
        enum err err = i == 0   ? naive_last(all.y, all.n, H, &arena, &b, NULL)
                       : i == 1 ? naive_seasonal(all.y, all.n, SEASON, H, &arena, &b, NULL)
                       : i == 2
                           ? naive_drift(all.y, all.n, H, &arena, &b, NULL)
                           : naive_trend(all.y, all.n, FITTED_TREND_WINDOW, H, &arena, &b, NULL);
        EXPECT_INT(err, ERR_OK);
        for (int t = 0; t < H; t++) {
            EXPECT_NEAR(a.center[t], b.center[t], 1e-9);
            /* over a gap, the error of repeating counts here and is left out there */
            EXPECT_NEAR(a.sd[t], b.sd[t], 0.02 * b.sd[t]);
        }
    }
    arena_release(&arena);
}

/* Largest difference of two forecasts' centres. */
static double apart(const struct fitted *x, const struct fitted *z, struct arena *arena)
{
    struct forecast a, b;
    double most = 0;
    if (fitted_forecast(x, H, arena, &a, NULL) != ERR_OK ||
        fitted_forecast(z, H, arena, &b, NULL) != ERR_OK) {
        return (double)INFINITY;
    }
    for (int t = 0; t < H; t++) {
        most = fmax(most, fabs(a.center[t] - b.center[t]));
    }
    return most;
}

TEST(fitted_models_follow_by_updates_what_a_refit_would_say)
{
    static const enum model models[] = {MODEL_ETS,   MODEL_THETA,   MODEL_STL,
                                        MODEL_ARIMA, MODEL_FOURIER, MODEL_PROPHET};
    struct rng rng;
    struct arena arena;
    static double y[N + MORE];
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 28);
    make_load(&rng, y, N + MORE);
    for (int i = 0; i < COUNT_OF(models); i++) {
        struct series part = {y, N, SEASON, 0, 300, NULL},
                      all = {y, N + MORE, SEASON, 0, 300, NULL};
        static struct fitted old, moved, fresh;
        EXPECT_INT(fitted_fit(models[i], &part, &as_usual, &arena, &old, NULL), ERR_OK);
        fitted_copy(&old, &arena, &moved);
        for (int t = N; t < N + MORE; t++) {
            fitted_update(&moved, y[t]);
        }
        struct fit_how how = {.like = &old};
        EXPECT_INT(fitted_fit(models[i], &all, &how, &arena, &fresh, NULL), ERR_OK);
        EXPECT_INT(moved.seen, fresh.seen);
        /* the season swings by 80 and MORE is no whole number of seasons: being a step out of phase would cost 10 */
        EXPECT_MSG(apart(&moved, &fresh, &arena) < 6, "%s: %g", model_name(models[i]),
                   apart(&moved, &fresh, &arena));
        /* and the copy has left the one it came from alone */
        EXPECT_INT(old.seen, N);
    }
    arena_release(&arena);
}

TEST(fitted_copies_need_nothing_of_where_they_came_from)
{
    struct rng rng;
    struct arena home, keep, scratch;
    static double y[N];
    rng_init(&rng, test_seed());
    arena_init(&home, 1 << 28);
    arena_init(&keep, 1 << 22);
    arena_init(&scratch, 1 << 24);
    make_load(&rng, y, N);
    for (int m = 0; m < MODEL_MEDIAN; m++) {
        struct series series = {y, N, SEASON, 0, 300, NULL};
        static struct fitted fit, copy;
        struct forecast a, b;
        EXPECT_INT(fitted_fit((enum model)m, &series, &as_usual, &home, &fit, NULL), ERR_OK);
        fitted_copy(&fit, &keep, &copy);
        for (int t = 0; t < 5; t++) {
            fitted_update(&fit, y[t]);
        }
        EXPECT_INT(fitted_forecast(&fit, H, &scratch, &a, NULL), ERR_OK);
        arena_release(&home);
        arena_init(&home, 1 << 28);
        for (int t = 0; t < 5; t++) {
            fitted_update(&copy, y[t]);
        }
        EXPECT_INT(fitted_forecast(&copy, H, &scratch, &b, NULL), ERR_OK);
        for (int t = 0; t < H; t++) {
            EXPECT_NEAR(a.center[t], b.center[t], 0);
            EXPECT_NEAR(a.sd[t], b.sd[t], 0);
        }
    }
    arena_release(&home);
    arena_release(&keep);
    arena_release(&scratch);
}

TEST(fitted_on_logarithms_stays_above_zero_and_below_its_cap)
{
    struct rng rng;
    struct arena arena;
    struct err_info info;
    static double y[N];
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 28);
    for (int i = 0; i < N; i++) {
        y[i] = rng_chance(&rng, 0.6) ? 0 : exp(3 * rng_normal(&rng));
    }
    for (int m = 0; m < MODEL_MEDIAN; m++) {
        struct series series = {y, N, SEASON, 0, 300, NULL};
        struct fit_how how = {.log1p = true};
        struct fitted fit;
        struct forecast f;
        EXPECT_INT(fitted_fit((enum model)m, &series, &how, &arena, &fit, NULL), ERR_OK);
        EXPECT_INT(fitted_forecast(&fit, H, &arena, &f, NULL), ERR_OK);
        for (int t = 0; t < H; t++) {
            double low = fitted_quantile(&fit, &f, t, 0.01),
                   high = fitted_quantile(&fit, &f, t, 0.999);
            EXPECT(low >= -1 && low <= high && high <= 3 * fit.most);
        }
    }
    y[3] = -1;
    struct series negative = {y, N, 1, 0, 300, NULL};
    struct fit_how how = {.log1p = true};
    struct fitted fit;
    EXPECT_INT(fitted_fit(MODEL_ETS, &negative, &how, &arena, &fit, &info), ERR_INVALID);
    arena_release(&arena);
}

/* The regression and Prophet with AR at the same coefficients have no other way to learn than value by value. */
TEST(fitted_regression_with_updates_is_the_fit_of_all_and_copies_stand_alone)
{
    struct rng rng;
    struct arena arena;
    static double y[N + MORE];
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 26);
    make_load(&rng, y, N + MORE);
    y[N + 7] = (double)NAN;
    struct fit_how how = {.horizon = H};
    static const enum model models[4] = {MODEL_REGRESSION, MODEL_PROPHET_AR, MODEL_TSB,
                                         MODEL_HOLT_WINTERS};
    for (int i = 0; i < 4; i++) {
        struct series part = {y, N, SEASON, 0, 3600, NULL},
                      all = {y, N + MORE, SEASON, 0, 3600, NULL};
        static struct fitted fit, copy, whole, again;
        EXPECT_INT(fitted_fit(models[i], &part, &how, &arena, &fit, NULL), ERR_OK);
        fitted_copy(&fit, &arena, &copy);
        double before = apart(&fit, &copy, &arena);
        EXPECT(before < 1e-12);
        for (int t = N; t < N + MORE; t++) {
            fitted_update(&fit, y[t]);
        }
        EXPECT_INT(fitted_fit(models[i], &all, &how, &arena, &whole, NULL), ERR_OK);
        double off = apart(&fit, &whole, &arena);
        EXPECT_MSG(off < (i == 0 ? 1e-9 : 15), "%s is %g off", model_name(models[i]), off);
        EXPECT(apart(&fit, &copy, &arena) > 1e-3);
        EXPECT_INT(fitted_fit(models[i], &part, &how, &arena, &again, NULL), ERR_OK);
        EXPECT(apart(&again, &copy, &arena) < 1e-12);
    }
    arena_release(&arena);
}

/* Series that optimisers may get lost on. */
static void fill_odd(struct rng *rng, int kind, double *y)
{
    for (int i = 0; i < N; i++) {
        double noise = rng_normal(rng);
        switch (kind) {
        case 0:
            y[i] = i % 7 == 0 ? 1e100 : 1;
            break;
        case 1:
            y[i] = i < N / 2 ? 0 : 1e6;
            break;
        case 2:
            y[i] = i % SEASON == 3 ? 50 : 0;
            break;
        case 3:
            y[i] = exp(12 * noise);
            break;
        default:
            y[i] = 5 + 1e-9 * noise;
        }
    }
}

TEST(fitted_ends_where_its_work_is_used_up)
{
    struct rng rng;
    struct arena arena;
    static double y[N];
    rng_init(&rng, test_seed());
    for (int kind = 0; kind < 5; kind++) {
        fill_odd(&rng, kind, y);
        for (int m = 0; m < MODEL_MEDIAN; m++) {
            static struct fitted fit;
            struct series series = {y, N, SEASON, 0, 300, NULL};
            double used[2];
            for (int round = 0; round < 2; round++) {
                struct effort effort = {.most = 20000};
                struct fit_how how = {.effort = &effort};
                struct err_info info = {0};
                struct forecast f;
                arena_init(&arena, 1 << 28);
                enum err err = fitted_fit((enum model)m, &series, &how, &arena, &fit, &info);
                EXPECT(err == ERR_OK ? fitted_forecast(&fit, H, &arena, &f, NULL) == ERR_OK
                                     : info.text[0] != 0);
                used[round] = effort.used;
                arena_release(&arena);
            }
            EXPECT_NEAR(used[0], used[1], 0);
            /* at most one step of a search more: the fullest model's covariance over all values */
            EXPECT_MSG(used[0] > 0 && used[0] < 25000, "%s, series %d: %g",
                       model_name((enum model)m), kind, used[0]);
        }
    }
}

TEST(fitted_counts_what_a_search_takes_and_has_a_model_when_it_is_cut)
{
    static const enum model models[] = {MODEL_ETS, MODEL_ARIMA, MODEL_FOURIER};
    struct rng rng;
    struct arena arena;
    static double y[N];
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 28);
    make_load(&rng, y, N);
    for (int i = 0; i < COUNT_OF(models); i++) {
        static struct fitted whole, cut;
        struct forecast a, b;
        struct series series = {y, N, SEASON, 0, 300, NULL};
        struct effort all = {0}, some = {.most = 500};
        struct fit_how freely = {.effort = &all}, bounded = {.effort = &some};
        EXPECT_INT(fitted_fit(models[i], &series, &freely, &arena, &whole, NULL), ERR_OK);
        EXPECT_INT(fitted_fit(models[i], &series, &bounded, &arena, &cut, NULL), ERR_OK);
        EXPECT_MSG(some.used < all.used / 2, "%s: %g of %g", model_name(models[i]), some.used,
                   all.used);
        EXPECT_INT(fitted_forecast(&whole, H, &arena, &a, NULL), ERR_OK);
        EXPECT_INT(fitted_forecast(&cut, H, &arena, &b, NULL), ERR_OK);
        for (int t = 0; t < H; t++) {
            EXPECT(isfinite(b.center[t]) && b.sd[t] > 0 && b.sd[t] < 1e4);
        }
    }
    arena_release(&arena);
}
