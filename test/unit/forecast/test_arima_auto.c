// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forecast/arima.h"
#include "forecast/fourier.h"
#include "forecast/stl.h"
#include "golden.h"
#include "test.h"

/* The unit root numbers at 1e-8 and 1e-6; the chosen order is the reference's or its AICc is not above. */
static void check_auto(const char *name)
{
    struct golden g;
    struct err_info info = {0};
    struct arima model;
    int n, tried;
    golden_open(&g, name);
    double *y = golden_array(&g, "y", &n);
    int m = (int)golden_number(&g, "frequency", 1);
    if (golden_at(&g, "tests") != NULL) {
        double kpss = fabs(arima_kpss(y, n) - golden_number(&g, "tests.kpss_level_d0", NAN));
        EXPECT_MSG(kpss < 1e-8, "%s: KPSS off by %g", name, kpss);
        EXPECT_INT(arima_ndiffs(y, n, 2, &g.arena), (int)golden_number(&g, "tests.ndiffs", -1));
        double strength = golden_number(&g, "tests.seasonal_strength", NAN);
        EXPECT_MSG(!isfinite(strength) || fabs(stl_strength(y, n, m, &g.arena) - strength) < 1e-6,
                   "%s: strength %g, not %g", name, stl_strength(y, n, m, &g.arena), strength);
    }
    struct arima_data data = {.y = y, .n = n};
    struct arima_search search = arima_search_defaults(m);
    search.full = strstr(name, "full") != NULL;
    search.models_max = search.full ? 1000 : search.models_max;
    EXPECT(arima_auto(&data, &search, &g.arena, &model, &tried, &info) == ERR_OK);
    double above = model.aicc - golden_number(&g, "aicc", NAN);
    const struct arima_order *o = &model.order;
    int same = o->p == (int)golden_number(&g, "order.p", -1) &&
               o->q == (int)golden_number(&g, "order.q", -1) &&
               o->P == (int)golden_number(&g, "order.P", -1) &&
               o->Q == (int)golden_number(&g, "order.Q", -1);
    if (getenv("GOLDEN_VERBOSE")) {
        printf("%-22s (%d,%d,%d)(%d,%d,%d)[%d] AICc %+.3f, %d models%s\n", name, o->p, o->d, o->q,
               o->P, o->D, o->Q, m, above, tried, same ? ", same order" : "");
    }
    EXPECT_INT(o->d, (int)golden_number(&g, "order.d", -1));
    EXPECT_INT(o->D, (int)golden_number(&g, "order.D", -1));
    EXPECT_MSG(same || above < 0.01, "%s: AICc is %g above the reference", name, above);
    golden_close(&g);
}

#define AUTO_FILES(X) \
    X(autoarima_ap) \
    X(autoarima_co2) \
    X(autoarima_deaths) \
    X(autoarima_elb) \
    X(autoarima_full_ap) \
    X(autoarima_full_huron) \
    X(autoarima_full_logap) \
    X(autoarima_full_lynx) \
    X(autoarima_full_www) \
    X(autoarima_gas) \
    X(autoarima_huron) \
    X(autoarima_jj) \
    X(autoarima_latency) \
    X(autoarima_lh) \
    X(autoarima_logap) \
    X(autoarima_lynx) \
    X(autoarima_nasa5min) \
    X(autoarima_nile) \
    X(autoarima_nottem) \
    X(autoarima_wineind) \
    X(autoarima_www)

#define X(name) \
    TEST(name##_is_not_worse) \
    { \
        check_auto(#name); \
    }
AUTO_FILES(X)
#undef X

TEST(fourier_terms_are_the_reference_s)
{
    struct golden g;
    int n;
    golden_open(&g, "arimax_fourier_nasa5min");
    double *x = golden_array(&g, "xreg", &n), *ours = ARENA_NEW_ARRAY(&g.arena, double, n * 8L);
    fourier_terms(1, n, 288, 4, ours, 8);
    for (int i = 0; i < n * 8; i++) {
        EXPECT(fabs(x[i] - ours[i]) < 1e-9);
    }
    golden_close(&g);
}
