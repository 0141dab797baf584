// SPDX-License-Identifier: Apache-2.0
#include "forecast/stl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "forecast/naive.h"
#include "forecast/stl_priv.h"
#include "forecast/theta.h"
#include "golden.h"
#include "test.h"

static double deviation(const double *y, int n)
{
    double mean = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        mean += y[i] / n;
    }
    for (int i = 0; i < n; i++) {
        sum += (y[i] - mean) * (y[i] - mean);
    }
    return sqrt(sum / (n - 1));
}

/* Largest difference in units of `scale`. */
static double difference(const double *a, const double *b, int n, double scale)
{
    double largest = 0;
    for (int i = 0; i < n; i++) {
        largest = fmax(largest, fabs(a[i] - b[i]));
    }
    return largest / scale;
}

static void check_stl(const char *name, int window, int (*ranks)[2], double tolerance)
{
    struct golden g;
    struct err_info info = {0};
    struct stl split;
    int n;
    golden_open(&g, name);
    double *y = golden_array(&g, "y", &n), scale = deviation(y, n);
    int m = (int)golden_number(&g, "frequency", 1);
    EXPECT(stl_split_ranked(y, n, m, window, ranks, &g.arena, &split, &info) == ERR_OK);
    double season = difference(split.season, golden_array(&g, "seasonal", &n), n, scale);
    double trend = difference(split.trend, golden_array(&g, "trend", &n), n, scale);
    double weights = difference(split.weights, golden_array(&g, "weights", &n), n, 1);
    EXPECT_MSG(season < tolerance && trend < tolerance && weights < tolerance,
               "%s: season %g, trend %g, weights %g", name, season, trend, weights);
    golden_close(&g);
}

TEST(stl_nottem_periodic_splits_as_the_reference)
{
    check_stl("stl_nottem_periodic", STL_PERIODIC, NULL, 1e-6);
}

TEST(stl_co2_s13_splits_as_the_reference)
{
    check_stl("stl_co2_s13", 13, NULL, 1e-6);
}

/* The reference asks its partial sort for the two middle ranks in descending order, which that sort does not take; in the
 * rounds 4, 5, 8 and 13 it gets another value for one of them (found from its weights and residuals after each round). With
 * its ranks we are its result; with the median, as stl_split has it, we are 1e-3 standard deviations away from it. */
TEST(stl_co2_s13_robust_splits_as_the_reference)
{
    int ranks[STL_ROBUST_ROUNDS][2];
    for (int i = 0; i < STL_ROBUST_ROUNDS; i++) {
        ranks[i][0] = 234;
        ranks[i][1] = 233;
    }
    ranks[3][0] = 257;
    ranks[4][1] = 232;
    ranks[7][1] = 193;
    ranks[12][1] = 207;
    check_stl("stl_co2_s13_robust", 13, ranks, 1e-6);
}

TEST(stl_robust_takes_the_median_of_its_residuals)
{
    struct golden g;
    struct err_info info = {0};
    struct stl robust, ranked;
    int n;
    golden_open(&g, "stl_co2_s13_robust");
    double *y = golden_array(&g, "y", &n), scale = deviation(y, n);
    int ranks[STL_ROBUST_ROUNDS][2];
    for (int i = 0; i < STL_ROBUST_ROUNDS; i++) {
        ranks[i][0] = n / 2 - 1;
        ranks[i][1] = n / 2;
    }
    EXPECT(stl_split(y, n, 12, 13, 1, &g.arena, &robust, &info) == ERR_OK);
    EXPECT(stl_split_ranked(y, n, 12, 13, ranks, &g.arena, &ranked, &info) == ERR_OK);
    EXPECT(difference(robust.trend, ranked.trend, n, scale) < 1e-12);
    double apart = difference(robust.trend, golden_array(&g, "trend", &n), n, scale);
    EXPECT_MSG(apart > 1e-4 && apart < 2e-3, "%g", apart);
    golden_close(&g);
}

static void check_mstl(const char *name, const int *m, int count)
{
    struct golden g;
    struct err_info info = {0};
    struct mstl split;
    int n;
    golden_open(&g, name);
    double *y = golden_array(&g, "y", &n), scale = deviation(y, n);
    EXPECT(mstl_split(y, n, m, count, &g.arena, &split, &info) == ERR_OK);
    double trend = difference(split.trend, golden_array(&g, "trend", &n), n, scale), season = 0;
    for (int i = 0; i < count; i++) {
        char path[32];
        snprintf(path, sizeof path, "seasonal%d", m[i]);
        if (golden_at(&g, path) == NULL) {
            snprintf(path, sizeof path, "seasonal");
        }
        season = fmax(season, difference(split.season[i], golden_array(&g, path, &n), n, scale));
    }
    EXPECT_MSG(season < 1e-6 && trend < 1e-6, "%s: season %g, trend %g", name, season, trend);
    golden_close(&g);
}

TEST(mstl_taylor_splits_as_the_reference)
{
    check_mstl("mstl_taylor", (const int[]){48, 336}, 2);
}

TEST(mstl_nasa5min_splits_as_the_reference)
{
    check_mstl("mstl_nasa5min", (const int[]){288}, 1);
}

TEST(stlf_taylor_forecasts_as_the_reference)
{
    struct golden g, data;
    struct err_info info = {0};
    struct forecast f;
    int n, h;
    golden_open(&data, "mstl_taylor");
    golden_open(&g, "stlf_taylor");
    double *y = golden_array(&data, "y", &n), *mean = golden_array(&g, "forecast.mean", &h);
    EXPECT(stl_forecast(y, n, (const int[]){48, 336}, 2, h, &g.arena, &f, &info) == ERR_OK);
    double d = golden_distance(f.mean, mean, h);
    double u = golden_quantile_distance(&f, 0.975, golden_array(&g, "forecast.upper95", &h), h);
    /* The level part is fitted: its optimum is the optimiser's, as for ETS. */
    EXPECT_MSG(d < 1e-4 && u < 1e-3, "mean %g upper %g", d, u);
    golden_close(&g);
    golden_close(&data);
}

static void check_theta(const char *name)
{
    struct golden g;
    struct err_info info = {0};
    struct forecast f;
    double parameters[3];
    int n, h;
    golden_open(&g, name);
    double *y = golden_array(&g, "y", &n), *mean = golden_array(&g, "forecast.mean", &h);
    EXPECT(theta_forecast(y, n, (int)golden_number(&g, "frequency", 1), h, &g.arena, &f, parameters,
                          &info) == ERR_OK);
    double d = golden_distance(f.mean, mean, h);
    double u = golden_quantile_distance(&f, 0.975, golden_array(&g, "forecast.upper95", &h), h);
    double drift = fabs(parameters[1] / golden_number(&g, "drift", NAN) - 1);
    double sigma2 = parameters[2] / golden_number(&g, "sigma2", NAN) - 1;
    /* The line has one answer; alpha is the optimiser's: the variance may not be above the reference's, and the forecast
     * agrees as far as the optima do. */
    EXPECT_MSG(drift < 1e-6 && sigma2 < 1e-6, "%s: drift %g sigma2 %g", name, drift, sigma2);
    EXPECT_MSG(d < 1e-4 && u < 1e-3, "%s: mean %g upper %g sigma2 %g", name, d, u, sigma2);
    golden_close(&g);
}

TEST(theta_forecasts_as_the_reference)
{
    check_theta("theta_ap");
    check_theta("theta_api24");
    check_theta("theta_deaths");
    check_theta("theta_nile");
    check_theta("theta_www");
}

static void check_naive(struct golden *g, const struct forecast *f, const char *series,
                        const char *kind)
{
    const char *parts[] = {"mean", "lower80", "upper80", "lower95", "upper95"};
    const double q[] = {0, 0.1, 0.9, 0.025, 0.975};
    for (int i = 0; i < 5; i++) {
        if (strcmp(kind, "mean") == 0 && i > 2) {
            break; /* the t interval is scaled for one level at a time; the 95 % one has its own call */
        }
        char path[64];
        int h;
        snprintf(path, sizeof path, "%s.%s.%s", series, kind, parts[i]);
        double *ref = golden_array(g, path, &h);
        double d =
            i == 0 ? golden_distance(f->mean, ref, h) : golden_quantile_distance(f, q[i], ref, h);
        EXPECT_MSG(d < 1e-6, "%s off by %g", path, d);
    }
}

TEST(naive_family_forecasts_as_the_reference)
{
    struct golden g, ap, nile;
    struct forecast f;
    struct err_info info;
    golden_open(&g, "naive_family");
    golden_open(&ap, "arima_sarima_boxcox_ap");
    golden_open(&nile, "arima_ar1_nile");
    struct golden *data[2] = {&ap, &nile};
    for (int i = 0; i < 2; i++) {
        const char *series = i == 0 ? "ap" : "nile";
        int n, h;
        double *y = golden_array(data[i], "y", &n);
        EXPECT(naive_last(y, n, 12, &g.arena, &f, &info) == ERR_OK);
        check_naive(&g, &f, series, "naive");
        EXPECT(naive_drift(y, n, 12, &g.arena, &f, &info) == ERR_OK);
        check_naive(&g, &f, series, "drift");
        EXPECT(naive_mean(y, n, 12, 0.8, &g.arena, &f, &info) == ERR_OK);
        check_naive(&g, &f, series, "mean");
        EXPECT(naive_mean(y, n, 12, 0.95, &g.arena, &f, &info) == ERR_OK);
        double *upper = golden_array(&g, i == 0 ? "ap.mean.upper95" : "nile.mean.upper95", &h);
        EXPECT(golden_quantile_distance(&f, 0.975, upper, h) < 1e-6);
        if (i == 0) {
            EXPECT(naive_seasonal(y, n, 12, 24, &g.arena, &f, &info) == ERR_OK);
            check_naive(&g, &f, series, "snaive");
        }
    }
    golden_close(&g);
    golden_close(&ap);
    golden_close(&nile);
}

TEST(boxcox_lambda_is_the_reference_s)
{
    const char *files[] = {"arima_sarima_boxcox_ap", "ets_auto_lynx", "arima_sarima_deaths",
                           "arima_arima212_www"};
    const char *names[] = {"AirPassengers", "lynx", "USAccDeaths", "WWWusage"};
    struct golden g;
    golden_open(&g, "boxcox_lambda");
    for (int i = 0; i < 4; i++) {
        struct golden data;
        int n, two;
        golden_open(&data, files[i]);
        double *y = golden_array(&data, "y", &n), *ref = golden_array(&g, names[i], &two);
        int m = (int)golden_number(&data, "frequency", 1);
        double guerrero = box_cox_guerrero(y, n, m, &g.arena),
               loglik = box_cox_loglik(y, n, m, &g.arena);
        EXPECT_MSG(fabs(guerrero - ref[0]) < 1e-6 * fabs(ref[0]), "%s: %.12g, not %.12g", names[i],
                   guerrero, ref[0]);
        EXPECT_MSG(fabs(loglik - ref[1]) < 1e-6, "%s: %g, not %g", names[i], loglik, ref[1]);
        golden_close(&data);
    }
    golden_close(&g);
}
