// SPDX-License-Identifier: Apache-2.0
#include "forecast/holidays.h"
#include "forecast/prophet.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "forecast/jumps.h"
#include "golden.h"
#include "test.h"

static double *times(struct golden *g, const char *path, int *ret_n)
{
    json_t *at = golden_at(g, path);
    *ret_n = (int)json_array_size(at);
    double *v = ARENA_NEW_ARRAY(&g->arena, double, *ret_n);
    for (int i = 0; i < *ret_n; i++) {
        struct tm tm = {0};
        CHECK(strptime(json_string_value(json_array_get(at, (size_t)i)), "%Y-%m-%dT%H:%M:%SZ",
                       &tm) != NULL);
        v[i] = (double)timegm(&tm);
    }
    return v;
}

static struct prophet_spec spec_of(struct golden *g)
{
    struct prophet_spec spec = {.changes = 25, .change_range = 0.8};
    spec.flat = strcmp(golden_text(g, "growth"), "flat") == 0;
    spec.logistic = strcmp(golden_text(g, "growth"), "logistic") == 0;
    spec.cap = spec.logistic ? json_number_value(json_array_get(golden_at(g, "cap"), 0)) : 0;
    spec.change_prior = golden_number(g, "changepoint_prior_scale", 0.05);
    const char *name;
    json_t *season;
    json_object_foreach(golden_at(g, "seasonalities"), name, season)
    {
        spec.season[spec.season_count++] = (struct prophet_season){
            json_number_value(json_object_get(season, "period")),
            (int)json_number_value(json_object_get(season, "fourier.order")),
            json_number_value(json_object_get(season, "prior.scale")),
            strcmp(json_string_value(json_object_get(season, "mode")), "multiplicative") == 0};
    }
    return spec;
}

/* Standard error of the width between the quantiles 1 - q and q of 4000 draws, from the slope of our quantiles. */
static double width_error(const struct forecast *f, int i, double q)
{
    double p = 1 - q, step = p / 10;
    double slope =
        (forecast_quantile(f, i, q + step) - forecast_quantile(f, i, q - step)) / step / 2;
    return slope * sqrt(2 * (p * q - p * p) / 4000);
}

struct widths {
    double mean, worst; /* ratio of ours to theirs; largest relative difference */
    double error, most; /* standard error of theirs, mean and largest, relative */
};

/* Our central interval's widths against those of the reference's 4000 draws. */
static struct widths widths(struct golden *g, const struct forecast *f, const char *low_name,
                            const char *high_name, double q)
{
    struct widths w = {0};
    char path[2][64];
    int count;
    snprintf(path[0], sizeof path[0], "quantiles_4000draws.%s", low_name);
    snprintf(path[1], sizeof path[1], "quantiles_4000draws.%s", high_name);
    double *low = golden_array(g, path[0], &count), *high = golden_array(g, path[1], &count);
    for (int i = 0; i < f->h; i++) {
        double ours = forecast_quantile(f, i, q) - forecast_quantile(f, i, 1 - q);
        double ratio = ours / (high[i] - low[i]), error = width_error(f, i, q) / ours;
        w.mean += ratio / f->h;
        w.worst = fmax(w.worst, fabs(ratio - 1));
        w.error += error / f->h;
        w.most = fmax(w.most, error);
    }
    return w;
}

static void check_prophet(const char *name, bool additive)
{
    struct golden g;
    struct err_info info = {0};
    struct prophet model;
    struct forecast f;
    int n, h, count;
    golden_open(&g, name);
    struct prophet_spec spec = spec_of(&g);
    double *ds = times(&g, "ds", &n), *future = times(&g, "future_ds", &h),
           *y = golden_array(&g, "y", &n);
    EXPECT(prophet_prepare(ds, y, n, &spec, &g.arena, &model, &info) == ERR_OK);
    double *places = golden_array(&g, "changepoints_t", &count);
    for (int j = 0; j < model.changes; j++) {
        EXPECT(fabs(model.change_at[j] - places[j]) < 1e-9);
    }
    model.k = golden_number(&g, "params.k", NAN);
    model.m = golden_number(&g, "params.m", NAN);
    model.sigma = golden_number(&g, "params.sigma_obs", NAN);
    memcpy(model.delta, golden_array(&g, "params.delta", &count),
           sizeof(double) * (size_t)model.changes);
    memcpy(model.beta, golden_array(&g, "params.beta", &count),
           sizeof(double) * (size_t)model.features);
    double stan = golden_number(&g, "stan_log_posterior", NAN);
    double refined = golden_number(&g, "map_refined.log_posterior", NAN);
    double at_reference = fabs(prophet_log_posterior(&model, ds, y, n, NULL) - stan);
    EXPECT_MSG(at_reference < 1e-3, "%s: log posterior off by %g at the reference's parameters",
               name, at_reference);
    prophet_forecast(&model, future, h, NULL, &g.arena, &f);
    double *yhat = golden_array(&g, "forecast.yhat", &count);
    EXPECT_MSG(golden_distance(f.mean, yhat, h) < 1e-8, "%s: yhat off by %g", name,
               golden_distance(f.mean, yhat, h));
    struct widths width[2] = {widths(&g, &f, "q10", "q90", 0.9),
                              widths(&g, &f, "q025", "q975", 0.975)};
    EXPECT(prophet_fit(ds, y, n, NULL, &spec, &g.arena, &model, &info) == ERR_OK);
    double again = prophet_log_posterior(&model, ds, y, n, NULL);
    prophet_forecast(&model, future, h, NULL, &g.arena, &f);
    double mean = 0, level = 0;
    for (int i = 0; i < h; i++) {
        mean += fabs(f.mean[i] - yhat[i]);
        level += fabs(yhat[i]);
    }
    double largest = golden_distance(f.mean, yhat, h);
    double to_refined =
        isfinite(refined) ? golden_distance(f.mean, golden_array(&g, "map_refined.yhat", &count), h)
                          : 0;
    if (getenv("GOLDEN_VERBOSE")) {
        printf(
            "%-38s L %.4f, %+.4f to Stan, %+.1e to refined; yhat mean %.2e max %.2e refined %.1e; width 80 %.3f worst %.3f, 95 %.3f worst %.3f\n",
            name, again, again - stan, again - refined, mean / level, largest, to_refined,
            width[0].mean, width[0].worst, width[1].mean, width[1].worst);
    }
    EXPECT_MSG(fabs(again - model.log_posterior) < 1e-5, "%s: %.9g is not %.9g", name,
               model.log_posterior, again);
    EXPECT_MSG(again > stan - 1e-3, "%s: log posterior %g below Stan's", name, stan - again);
    EXPECT_MSG(!isfinite(refined) || again > refined - 1e-3,
               "%s: log posterior %g below the refined", name, refined - again);
    EXPECT_MSG(mean / level < 0.02 && largest < 0.08, "%s: yhat off by %g, at most %g", name,
               mean / level, largest);
    EXPECT_MSG(!additive || to_refined < 1e-4, "%s: yhat off the refined by %g", name, to_refined);
    for (int i = 0; i < 2; i++) {
        /* The draws' paths are shared by all steps, so that their noise does not average out over them. Where the law is
         * heavy-tailed it is larger than the 1 and 6 % of the others: 1.5 and 4 of its standard errors then. */
        EXPECT_MSG(fabs(width[i].mean - 1) < fmax(0.01, 1.5 * width[i].error) &&
                       width[i].worst < fmax(0.06, 4 * width[i].most),
                   "%s: width %d is %g, off by at most %g; standard error %g", name, i,
                   width[i].mean, width[i].worst, width[i].error);
    }
    golden_close(&g);
}

TEST(prophet_5min_additive_is_matched)
{
    check_prophet("prophet_5min_additive", true);
}
TEST(prophet_5min_growth_additive_is_matched)
{
    check_prophet("prophet_5min_growth_additive", true);
}
TEST(prophet_5min_multiplicative_is_matched)
{
    check_prophet("prophet_5min_multiplicative", false);
}
TEST(prophet_airpassengers_additive_is_matched)
{
    check_prophet("prophet_airpassengers_additive", true);
}
TEST(prophet_airpassengers_multiplicative_is_matched)
{
    check_prophet("prophet_airpassengers_multiplicative", false);
}
TEST(prophet_daily_additive_is_matched)
{
    check_prophet("prophet_daily_additive", true);
}
TEST(prophet_daily_multiplicative_is_matched)
{
    check_prophet("prophet_daily_multiplicative", false);
}
TEST(prophet_flat_is_matched)
{
    check_prophet("prophet_flat", true);
}
TEST(prophet_logistic_is_matched)
{
    check_prophet("prophet_logistic", true);
}
TEST(prophet_short_newton_is_matched)
{
    check_prophet("prophet_short_newton", true);
}

/* Holidays with windows, one additive and one multiplicative regressor, standardised. */
TEST(prophet_holidays_and_regressors_are_matched)
{
    /* in the order of the reference's columns: by name */
    static const struct {
        const char *name, *day;
        int lower, upper;
    } days[4] = {{"christmas", "2014-12-25", -1, 1},
                 {"newyear", "2015-01-01", 0, 0},
                 {"storm", "2015-01-27", -1, 0},
                 {"thanksgiving", "2014-11-27", 0, 1}};
    struct holiday items[4] = {0};
    struct holidays holidays;
    struct golden g;
    struct err_info info = {0};
    struct prophet model;
    struct forecast f;
    int n, h, count;
    golden_open(&g, "prophet_holidays_regressors");
    struct prophet_spec spec = spec_of(&g);
    double *ds = times(&g, "ds", &n), *future = times(&g, "future_ds", &h),
           *y = golden_array(&g, "y", &n);
    const double *columns[2][2] = {
        {golden_array(&g, "regressor_reg", &n), golden_array(&g, "regressor_load", &n)},
        {golden_array(&g, "regressor_future_reg", &h),
         golden_array(&g, "regressor_future_load", &h)}};
    double mu = golden_number(&g, "extra_regressors.load.mu", 0),
           sd = golden_number(&g, "extra_regressors.load.std", 1);
    spec.regressor_count = 10;
    for (int j = 0; j < 10; j++) {
        spec.regressor_prior[j] = j == 9 ? 5 : 10;
        spec.regressor_multiplicative[j] = j == 9;
    }
    for (int j = 0; j < 4; j++) {
        struct tm tm = {0};
        CHECK(strptime(days[j].day, "%Y-%m-%d", &tm) != NULL);
        items[j] = (struct holiday){.day = timegm(&tm) / 86400,
                                    .lower = days[j].lower,
                                    .upper = days[j].upper,
                                    .prior = 10};
        snprintf(items[j].name, sizeof items[j].name, "%s", days[j].name);
    }
    EXPECT_INT(holidays_prepare(items, 4, &g.arena, &holidays, &info), ERR_OK);
    EXPECT_INT(holidays.column_count, 8);
    double *x = ARENA_NEW_ARRAY(&g.arena, double, (n + h) * 10L);
    for (int i = 0; i < n + h; i++) {
        double at = i < n ? ds[i] : future[i - n];
        holidays_row(&holidays, at, x + i * 10L);
        x[i * 10 + 8] = columns[i >= n][0][i < n ? i : i - n];
        x[i * 10 + 9] = (columns[i >= n][1][i < n ? i : i - n] - mu) / sd;
    }
    EXPECT(prophet_prepare(ds, y, n, &spec, &g.arena, &model, &info) == ERR_OK);
    EXPECT_INT(model.features, 24);
    model.k = golden_number(&g, "params.k", NAN);
    model.m = golden_number(&g, "params.m", NAN);
    model.sigma = golden_number(&g, "params.sigma_obs", NAN);
    memcpy(model.delta, golden_array(&g, "params.delta", &count),
           sizeof(double) * (size_t)model.changes);
    memcpy(model.beta, golden_array(&g, "params.beta", &count),
           sizeof(double) * (size_t)model.features);
    double stan = golden_number(&g, "stan_log_posterior", NAN);
    double off = fabs(prophet_log_posterior(&model, ds, y, n, x) - stan);
    EXPECT_MSG(off < 1e-3, "log posterior off by %g at the reference's parameters", off);
    double *yhat = golden_array(&g, "forecast.yhat", &count);
    prophet_forecast(&model, future, h, x + n * 10L, &g.arena, &f);
    EXPECT_MSG(golden_distance(f.mean, yhat, h) < 1e-8, "yhat off by %g",
               golden_distance(f.mean, yhat, h));
    EXPECT(prophet_fit(ds, y, n, x, &spec, &g.arena, &model, &info) == ERR_OK);
    EXPECT_MSG(model.log_posterior > stan - 1e-3, "log posterior %g below Stan's",
               stan - model.log_posterior);
    prophet_forecast(&model, future, h, x + n * 10L, &g.arena, &f);
    double mean = 0, level = 0;
    for (int i = 0; i < h; i++) {
        mean += fabs(f.mean[i] - yhat[i]);
        level += fabs(yhat[i]);
    }
    EXPECT_MSG(mean / level < 0.02 && golden_distance(f.mean, yhat, h) < 0.08,
               "yhat off by %g, at most %g", mean / level, golden_distance(f.mean, yhat, h));
    golden_close(&g);
}

/* The law by inversion against 400,000 simulated sums, within 5 standard errors of theirs. */
TEST(jump_law_is_that_of_simulated_sums)
{
    enum { DRAWS = 400000 };
    static const double laws[4][3] = {{1, 0.5, 2}, {0.3, 4, 1}, {1, 12, 0.4}, {0.05, 2, 1}};
    struct arena arena;
    struct rng rng;
    arena_init(&arena, (ptrdiff_t)1 << 24);
    double *v = ARENA_NEW_ARRAY(&arena, double, DRAWS);
    rng_init(&rng, test_seed());
    for (int l = 0; l < 4; l++) {
        struct jump_law law = {laws[l][0], laws[l][1], laws[l][2]};
        double sd = sqrt(law.noise_sd * law.noise_sd + 2 * law.count * law.scale * law.scale / 3);
        double knots[FORECAST_KNOTS];
        EXPECT(jump_law_knots(&law, knots));
        for (int i = 0; i < DRAWS; i++) {
            v[i] = law.noise_sd * rng_normal(&rng);
            for (double left = law.count - rng_exponential(&rng); left > 0;
                 left -= rng_exponential(&rng)) {
                double size = law.scale * rng_exponential(&rng) * rng_unit(&rng);
                v[i] += rng_chance(&rng, 0.5) ? size : -size;
            }
        }
        for (int k = 2; k < FORECAST_KNOTS - 2; k++) {
            int below = 0;
            double p = 0.5 * erfc(-forecast_knot_score(k) / sqrt(2));
            for (int i = 0; i < DRAWS; i++) {
                below += v[i] < knots[k] * sd;
            }
            double miss = ((double)below / DRAWS - p) / sqrt(p * (1 - p) / DRAWS);
            EXPECT_MSG(fabs(miss) < 5, "law %d, knot %d: %g standard errors", l, k, miss);
        }
    }
    EXPECT(!jump_law_knots(&(struct jump_law){1, 0, 1}, (double[FORECAST_KNOTS]){0}));
    arena_release(&arena);
}

/* Above the cap it cannot go, below the floor neither; a cap that is not above its floor is refused. */
TEST(prophet_logistic_keeps_to_cap_and_floor)
{
    struct arena arena;
    struct rng rng;
    struct err_info info = {0};
    struct prophet model;
    struct forecast f;
    double time_s[300], y[200];
    arena_init(&arena, (ptrdiff_t)1 << 26);
    rng_init(&rng, test_seed());
    for (int i = 0; i < 300; i++) {
        time_s[i] = 86400.0 * i;
    }
    for (int i = 0; i < 200; i++) {
        y[i] = 20 + 80 / (1 + exp(-(i - 90) / 12.0)) + rng_normal(&rng);
    }
    struct prophet_spec spec = {.logistic = 1,
                                .cap = 100,
                                .floor = 20,
                                .changes = 10,
                                .change_range = 0.8,
                                .change_prior = 0.05};
    EXPECT(prophet_fit(time_s, y, 200, NULL, &spec, &arena, &model, &info) == ERR_OK);
    prophet_forecast(&model, time_s + 200, 100, NULL, &arena, &f);
    for (int i = 0; i < 100; i++) {
        EXPECT_MSG(f.mean[i] < 100.0 + 1e-9 && f.mean[i] > 98, "%g", f.mean[i]);
    }
    spec.cap = 20;
    EXPECT_INT(prophet_fit(time_s, y, 200, NULL, &spec, &arena, &model, &info), ERR_INVALID);
    EXPECT(strstr(info.text, "cap above its floor") != NULL);
    arena_release(&arena);
}
