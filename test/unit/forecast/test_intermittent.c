// SPDX-License-Identifier: Apache-2.0
#include "forecast/intermittent.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "golden.h"
#include "test.h"

TEST(croston_is_the_reference_s)
{
    struct golden g;
    int n;
    golden_open(&g, "croston");
    double *y = golden_array(&g, "y", &n);
    size_t at;
    json_t *one;
    json_array_foreach(golden_at(&g, "cases"), at, one)
    {
        double alpha = json_number_value(json_object_get(one, "alpha"));
        json_t *fitted = json_object_get(one, "fitted");
        struct intermittent model = intermittent_start(INTERMITTENT_CROSTON, alpha, alpha);
        for (int i = 0; i < n; i++) {
            double ref = json_number_value(json_array_get(fitted, (size_t)i));
            EXPECT_MSG(fabs(intermittent_rate(&model) - ref) <= 1e-9 * fabs(ref),
                       "step %d: %.12g, not %.12g", i, intermittent_rate(&model), ref);
            double error = intermittent_update(&model, y[i]);
            EXPECT(!isfinite(error) || fabs(error - (y[i] - ref)) < 1e-6);
        }
        EXPECT(fabs(model.size / json_number_value(json_object_get(one, "size")) - 1) < 1e-9);
        EXPECT(fabs(model.gap / json_number_value(json_object_get(one, "gap")) - 1) < 1e-9);
        struct forecast f;
        intermittent_forecast(&model, 5, &g.arena, &f);
        double ref = json_number_value(json_array_get(json_object_get(one, "mean"), 4));
        EXPECT(fabs(f.mean[4] / ref - 1) < 1e-9);
    }
    golden_close(&g);
}

/* TSB by its definition, and what it is for: the rate falls while nothing comes; Croston's stays. */
TEST(tsb_is_its_definition_and_falls_when_nothing_comes)
{
    static const double y[8] = {0, 4, 0, 0, 2, 0, 6, 0};
    struct intermittent tsb = intermittent_start(INTERMITTENT_TSB, 0.2, 0.1),
                        croston = intermittent_start(INTERMITTENT_CROSTON, 0.2, 0.1);
    double chance = 0.5, size = 4;
    for (int i = 0; i < 8; i++) {
        intermittent_update(&tsb, y[i]);
        intermittent_update(&croston, y[i]);
        if (i > 1) {
            chance = y[i] > 0 ? chance + 0.1 * (1 - chance) : 0.9 * chance;
            size = y[i] > 0 ? 0.8 * size + 0.2 * y[i] : size;
            EXPECT(fabs(intermittent_rate(&tsb) - chance * size) < 1e-12);
        }
    }
    EXPECT(isnan(intermittent_update(&tsb, (double)NAN)));
    EXPECT(fabs(intermittent_rate(&tsb) - chance * size) < 1e-12);
    double before = intermittent_rate(&croston);
    for (int i = 0; i < 50; i++) {
        intermittent_update(&tsb, 0);
        intermittent_update(&croston, 0);
    }
    EXPECT(intermittent_rate(&tsb) < 0.01 * chance * size);
    EXPECT(fabs(intermittent_rate(&croston) - before) < 1e-12);
}

/* A value of 10..20 with chance 0.3: quantiles up to 0.7 are 0, above they are those of the sizes; the rate is 4.5. */
TEST(intermittent_quantiles_are_zero_or_a_size)
{
    struct rng rng;
    struct arena arena;
    struct intermittent model;
    struct forecast f;
    struct err_info info = {0};
    static double y[4000];
    rng_init(&rng, test_seed());
    arena_init(&arena, 1 << 20);
    for (int i = 0; i < 4000; i++) {
        y[i] = rng_chance(&rng, 0.3) ? 10 + 10 * rng_unit(&rng) : 0;
    }
    for (int kind = 0; kind < 3; kind++) {
        EXPECT(intermittent_fit(y, 4000, (enum intermittent_kind)kind, &model, &info) == ERR_OK);
        intermittent_forecast(&model, 3, &arena, &f);
        EXPECT_MSG(fabs(f.mean[2] - 4.5) < 1.5, "kind %d: rate %g", kind, f.mean[2]);
        EXPECT(fabs(forecast_quantile(&f, 0, 0.4)) < 1e-9);
        double q90 = forecast_quantile(&f, 0, 0.9), q99 = forecast_quantile(&f, 0, 0.99);
        EXPECT_MSG(q90 > 13 && q90 < 20 && q99 >= q90 && q99 < 22, "kind %d: %g %g", kind, q90,
                   q99);
    }
    EXPECT_INT(intermittent_fit((const double[]){1, -1}, 2, INTERMITTENT_TSB, &model, &info),
               ERR_INVALID);
    EXPECT(strstr(info.text, "value 2") != NULL);
    EXPECT_INT(intermittent_fit((const double[]){0, 0}, 2, INTERMITTENT_TSB, &model, &info),
               ERR_INVALID);
    arena_release(&arena);
}
