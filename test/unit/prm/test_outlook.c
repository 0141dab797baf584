// SPDX-License-Identifier: Apache-2.0
#include "prm/outlook.h"

#include <math.h>

#include "base/rng.h"
#include "test.h"

static const double PI = 3.14159265358979323846;

/* A day's wave between 1 and 5 lanes, with chance. */
static double wave(int64_t step, struct rng *rng, double noise)
{
    return 3 - 2 * cos(2 * PI * (double)step / 8640) + noise * rng_normal(rng);
}

TEST(outlook_is_no_forecast_before_it_knows_something)
{
    struct arena arena;
    struct outlook_view view;
    arena_init(&arena, 64 << 20);
    struct outlook *o = outlook_new(&arena, 10, 60);
    for (int i = 0; i < 100; i++) {
        outlook_step(o, 1, &view);
        EXPECT_INT(view.path_count, 0);
    }
    EXPECT_NEAR(outlook_error(o), 1, 1e-9); /* nothing changed: nothing to be better at */
    arena_release(&arena);
}

TEST(outlook_beats_staying_as_it_is_and_its_paths_cover)
{
    struct arena arena;
    struct outlook_view view = {.path_count = 0};
    struct rng rng;
    arena_init(&arena, 64 << 20);
    rng_init(&rng, 7);
    struct outlook *o = outlook_new(&arena, 10, 600);
    double asked[60] = {0};
    int above = 0, all = 0;
    for (int64_t i = 0; i < 3 * 8640; i++) {
        double demand = wave(i, &rng, 0.02);
        if (i > 2 * 8640) {
            above += demand > asked[i % 60];
            all++;
        }
        outlook_step(o, demand, &view);
        int below = 0;
        double last[OUTLOOK_PATHS_MAX], most = 0;
        for (int k = 0; k < view.path_count; k++) {
            last[k] = view.load[(long)(view.lead_count - 1) * view.stride + k];
            most = last[k] > most ? last[k] : most;
        }
        /* The value that 95 % of the paths stay below, by bisection. */
        double low = 0, high = most;
        for (int r = 0; r < 30 && view.path_count > 0; r++) {
            double middle = (low + high) / 2;
            below = 0;
            for (int k = 0; k < view.path_count; k++) {
                below += last[k] <= middle;
            }
            *(below >= 0.95 * view.path_count ? &high : &low) = middle;
        }
        asked[i % 60] = high;
    }
    EXPECT_MSG(outlook_error(o) < 0.5, "error %g of the naive one", outlook_error(o));
    EXPECT_MSG(above > 0.02 * all && above < 0.09 * all, "%d of %d above 95 %%", above, all);
    arena_release(&arena);
}

TEST(outlook_takes_rubbish)
{
    struct arena arena;
    struct outlook_view view;
    struct rng rng;
    arena_init(&arena, 64 << 20);
    rng_init(&rng, 9);
    struct outlook *o = outlook_new(&arena, 10, 70);
    for (int64_t i = 0; i < 20000; i++) {
        uint64_t kind = rng_below(&rng, 2000);
        double demand =
            kind == 0 ? (double)NAN : (kind == 1 ? (double)INFINITY : (kind == 2 ? -1 : 0));
        demand = kind == 3 ? 1e12 * rng_unit(&rng) : (kind > 3 ? rng_unit(&rng) : demand);
        outlook_step(o, demand, &view);
        for (int k = 0; k < view.path_count; k++) {
            EXPECT(isfinite(view.peak[k]) && view.peak[k] >= 0);
        }
    }
    EXPECT(view.path_count > 0);
    arena_release(&arena);
}
