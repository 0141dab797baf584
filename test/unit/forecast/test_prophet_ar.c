// SPDX-License-Identifier: Apache-2.0
#include "forecast/prophet_ar.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "test.h"

enum { N = 2016, STEP_S = 300 };

/* Daily season, straight trend, residual AR(1) with 0.9 and innovations of sd 1. Returns the residual after the last. */
static double make_series(struct rng *rng, double *time_s, double *y, int n)
{
    double rest = 0;
    for (int i = 0; i < n; i++) {
        time_s[i] = 1e9 + (double)STEP_S * i;
        rest = 0.9 * rest + rng_normal(rng);
        y[i] = 100 + 0.002 * i + 15 * sin(6.283185307179586 * i / 288) + rest;
    }
    return rest;
}

TEST(prophet_ar_finds_the_residual_s_memory_and_uses_it)
{
    struct rng rng;
    struct arena arena;
    struct err_info info = {0};
    struct prophet_ar model;
    struct forecast near, plain;
    rng_init(&rng, test_seed());
    arena_init(&arena, (ptrdiff_t)1 << 28);
    double *time_s = ARENA_NEW_ARRAY(&arena, double, N + 288);
    double *y = ARENA_NEW_ARRAY(&arena, double, N + 288);
    make_series(&rng, time_s, y, N + 288);
    struct prophet_spec spec = prophet_defaults((double)(N - 1) * STEP_S, STEP_S);
    EXPECT(prophet_ar_fit(time_s, y, N, NULL, &spec, &arena, &model, &info) == ERR_OK);
    double sum = 0;
    for (int i = 0; i < model.rest.order.p; i++) {
        sum += model.rest.coef[i];
    }
    EXPECT_MSG(fabs(sum - 0.9) < 0.06, "sum of the coefficients is %g", sum);
    EXPECT_MSG(fabs(model.rest.sigma2 - 1) < 0.15, "variance %g", model.rest.sigma2);
    /* over a day of one-step forecasts: near the innovations, Prophet alone near the whole residual (sd 2.3) */
    double ours = 0, theirs = 0;
    for (int i = N; i < N + 288; i++) {
        struct arena_mark mark = arena_mark(&arena);
        EXPECT(prophet_ar_forecast(&model, time_s + i, 1, NULL, &arena, &near, &info) == ERR_OK);
        prophet_forecast(&model.model, time_s + i, 1, NULL, &arena, &plain);
        double error = prophet_ar_update(&model, time_s[i], y[i], NULL);
        EXPECT(fabs(error - (y[i] - near.mean[0])) < 1e-6 * fabs(y[i]));
        ours += pow(y[i] - near.mean[0], 2) / 288;
        theirs += pow(y[i] - plain.mean[0], 2) / 288;
        arena_rewind(&arena, mark);
    }
    EXPECT_MSG(sqrt(ours) < 1.2 && sqrt(theirs) > 1.5, "one step: %g, Prophet %g", sqrt(ours),
               sqrt(theirs));
    arena_release(&arena);
}

/* Far ahead the residual is forgotten: Prophet's own forecast, with the residual's whole variance for the noise. */
TEST(prophet_ar_far_ahead_is_prophet)
{
    struct rng rng;
    struct arena arena;
    struct err_info info = {0};
    struct prophet_ar model;
    struct forecast far, plain;
    rng_init(&rng, test_seed());
    arena_init(&arena, (ptrdiff_t)1 << 28);
    double *time_s = ARENA_NEW_ARRAY(&arena, double, N + 288);
    double *y = ARENA_NEW_ARRAY(&arena, double, N + 288);
    make_series(&rng, time_s, y, N + 288);
    struct prophet_spec spec = prophet_defaults((double)(N - 1) * STEP_S, STEP_S);
    y[100] = y[101] = y[N - 1] = (double)NAN;
    EXPECT(prophet_ar_fit(time_s, y, N, NULL, &spec, &arena, &model, &info) == ERR_OK);
    EXPECT(prophet_ar_forecast(&model, time_s + N, 288, NULL, &arena, &far, &info) == ERR_OK);
    prophet_forecast(&model.model, time_s + N, 288, NULL, &arena, &plain);
    EXPECT(fabs(far.mean[287] - plain.mean[287]) < 1e-3);
    EXPECT(far.sd[0] < 0.6 * far.sd[287]);
    EXPECT(fabs(far.sd[287] / plain.sd[287] - 1) < 0.1);
    for (int i = 0; i < 288; i++) {
        double middle = forecast_quantile(&far, i, 0.5);
        EXPECT(fabs(middle - far.mean[i]) < 1e-6 * fabs(far.mean[i]));
        EXPECT(forecast_quantile(&far, i, 0.9) > middle);
    }
    EXPECT_INT(prophet_ar_fit(time_s, y, 4, NULL, &spec, &arena, &model, &info), ERR_INVALID);
    EXPECT(strstr(info.text, "4 values") != NULL);
    arena_release(&arena);
}
