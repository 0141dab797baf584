// SPDX-License-Identifier: Apache-2.0
#include "forecast/ets.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "test.h"

static double bounds_distance(struct golden *g, const struct forecast *f)
{
    int n;
    double d = golden_quantile_distance(f, 0.1, golden_array(g, "forecast.lower80", &n), f->h);
    d = fmax(d, golden_quantile_distance(f, 0.9, golden_array(g, "forecast.upper80", &n), f->h));
    d = fmax(d, golden_quantile_distance(f, 0.025, golden_array(g, "forecast.lower95", &n), f->h));
    return fmax(d,
                golden_quantile_distance(f, 0.975, golden_array(g, "forecast.upper95", &n), f->h));
}

static struct ets_form form_of(struct golden *g)
{
    json_t *parts = golden_at(g, "components");
    const char *text[4];
    for (size_t i = 0; i < 4; i++) {
        text[i] = json_string_value(json_array_get(parts, i));
    }
    return (struct ets_form){text[0][0], text[1][0], text[2][0], text[3][0] == 'T'};
}

/* The reference's bounds of (A,N,A): it puts gamma one season slot too far (row 3 of G, also without a slope), so an
 * error reaches the season one step early. Both ways are computed here: its bounds must agree with its slip, ours with
 * the model. */
static double bounds_of_level_and_season(struct golden *g, const struct ets *s,
                                         const struct forecast *f)
{
    int n;
    double *upper = golden_array(g, "forecast.upper95", &n), worst = 0, ours = 1, theirs = 1;
    for (int i = 0; i < f->h; i++) {
        if (i > 0) {
            ours += pow(s->alpha + (i % s->m == 0 ? s->gamma : 0), 2);
            theirs += pow(s->alpha + (i % s->m == s->m - 1 ? s->gamma : 0), 2);
        }
        double sd = (upper[i] - f->mean[i]) / 1.959963984540054;
        worst = fmax(worst, fabs(sd / sqrt(s->sigma2 * theirs) - 1));
        worst = fmax(worst, fabs(f->sd[i] / sqrt(s->sigma2 * ours) - 1));
    }
    return worst;
}

/* At the reference's parameters: loglik and criteria 1e-6, forecasts 1e-9 and bounds 1e-6 relative. */
static void check_at_reference(const char *name)
{
    struct golden g;
    struct err_info info = {0};
    int n, count;
    golden_open(&g, name);
    double *y = golden_array(&g, "y", &n), *start = golden_array(&g, "initstate", &count);
    struct ets model = {.form = form_of(&g), .m = 1};
    model.m = model.form.season == 'N' ? 1 : (int)golden_number(&g, "frequency", 1);
    model.alpha = golden_number(&g, "par.alpha", 0);
    model.beta = golden_number(&g, "par.beta", 0);
    model.gamma = golden_number(&g, "par.gamma", 0);
    model.phi = model.form.damped ? golden_number(&g, "par.phi", 1) : 1;
    model.start[0] = start[0];
    int at = 1;
    if (model.form.trend != 'N') {
        model.start[1] = start[at++];
    }
    for (int i = 0; model.form.season != 'N' && i < model.m; i++) {
        model.start[2 + model.m - 1 - i] = start[at + i];
    }
    EXPECT(ets_at(y, n, &model, &info) == ERR_OK);
    struct forecast f;
    if (model.form.season == 'M' && model.form.damped) {
        /* The reference's product formulas leave out the first damping of the slope and of beta. */
        model.slope /= model.phi;
        model.beta /= model.phi;
    }
    ets_forecast(&model, (int)golden_number(&g, "forecast.h", 1), &g.arena, &f);
    double loglik = fabs(model.loglik - golden_number(&g, "loglik", NAN));
    double aicc = fabs(model.aicc - golden_number(&g, "aicc", NAN));
    double sigma2 = fabs(model.sigma2 / golden_number(&g, "sigma2", NAN) - 1);
    double mean = golden_distance(f.mean, golden_array(&g, "forecast.mean", &count), f.h);
    bool level_season = model.form.season == 'A' && model.form.trend == 'N';
    double bounds =
        level_season ? bounds_of_level_and_season(&g, &model, &f) : bounds_distance(&g, &f);
    if (getenv("GOLDEN_VERBOSE")) {
        printf("%-20s at reference: loglik %.1e aicc %.1e sigma2 %.1e mean %.1e bounds %.1e\n",
               name, loglik, aicc, sigma2, mean, bounds);
    }
    EXPECT_MSG(loglik < 1e-6 && aicc < 1e-6, "%s: loglik off by %g, aicc by %g", name, loglik,
               aicc);
    EXPECT_MSG(sigma2 < 1e-6 && mean < 1e-9 && bounds < 1e-6,
               "%s: relative: sigma2 %g, mean %g, bounds %g", name, sigma2, mean, bounds);
    golden_close(&g);
}

/* Fitted: loglik not below the reference's - 0.05; the automatic choice not worse in AICc by more than twice that. */
static void check_fitted(const char *name)
{
    struct golden g;
    struct err_info info = {0};
    int n;
    golden_open(&g, name);
    double *y = golden_array(&g, "y", &n);
    struct ets_form form = form_of(&g);
    struct ets model;
    int m = (int)golden_number(&g, "frequency", 1);
    struct ets_data data = {.y = y, .n = n, .m = m};
    EXPECT(ets_fit(&data, &form, &g.arena, &model, &info) == ERR_OK);
    double gained = model.loglik - golden_number(&g, "loglik", NAN), aicc = 0;
    if (strstr(name, "auto") != NULL) {
        EXPECT(ets_auto(&data, &g.arena, &model, &info) == ERR_OK);
        aicc = model.aicc - golden_number(&g, "aicc", NAN);
    }
    if (getenv("GOLDEN_VERBOSE")) {
        printf("%-20s fitted: loglik gained %+.3f; chosen %c%c%s%c aicc %+.3f\n", name, gained,
               model.form.error, model.form.trend, model.form.damped ? "d" : "", model.form.season,
               aicc);
    }
    EXPECT_MSG(gained > -0.05, "%s: loglik is %g below the reference", name, -gained);
    EXPECT_MSG(aicc < 0.1, "%s: AICc of the choice is %g above the reference", name, aicc);
    golden_close(&g);
}

#define ETS_FILES(X) \
    X(ets_AAA_deaths) \
    X(ets_AAN_www) \
    X(ets_AAdN_www) \
    X(ets_ANA_api24) \
    X(ets_ANA_nottem) \
    X(ets_ANN_nasa5min) \
    X(ets_ANN_nile) \
    X(ets_MAM_ap) \
    X(ets_MAdM_ap) \
    X(ets_MNM_ap) \
    X(ets_MNN_nile) \
    X(ets_auto_ap) \
    X(ets_auto_api24) \
    X(ets_auto_co2) \
    X(ets_auto_deaths) \
    X(ets_auto_gas) \
    X(ets_auto_lynx) \
    X(ets_auto_nasa5min) \
    X(ets_auto_nile) \
    X(ets_auto_nottem) \
    X(ets_auto_wineind) \
    X(ets_auto_www)

#define X(name) \
    TEST(name##_at_reference) \
    { \
        check_at_reference(#name); \
    } \
    TEST(name##_fitted) \
    { \
        check_fitted(#name); \
    }
ETS_FILES(X)
#undef X
