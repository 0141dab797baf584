// SPDX-License-Identifier: Apache-2.0
#include "forecast/season.h"

#include <math.h>

#include "base/rng.h"
#include "test.h"

enum { N = 6000 };

static int found_in(const double *y, int n, struct season_found *found)
{
    struct arena arena;
    arena_init(&arena, 1 << 24);
    int count = season_find(y, n, SEASONS_FOUND_MAX, &arena, found);
    arena_release(&arena);
    return count;
}

TEST(season_of_any_length_is_found_under_noise_and_a_walking_level)
{
    static const int lengths[6] = {5, 12, 24, 37, 288, 1000};
    static double y[N];
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int l = 0; l < 6; l++) {
        double level = 0;
        for (int i = 0; i < N; i++) {
            double angle = 6.283185307179586 * i / lengths[l];
            level += 0.05 * rng_normal(&rng);
            y[i] = level + 5 * sin(angle) + 2 * cos(2 * angle) + rng_normal(&rng);
            y[i] = rng_chance(&rng, 0.02) ? (double)NAN : y[i];
            y[i] = rng_chance(&rng, 0.002) ? 1e6 : y[i];
        }
        struct season_found found[SEASONS_FOUND_MAX] = {0};
        int count = found_in(y, N, found);
        EXPECT_MSG(count >= 1 && fabs((double)(found[0].steps - lengths[l])) <= 0.02 * lengths[l],
                   "%d found, the first of %d steps, not %d", count, found[0].steps, lengths[l]);
        EXPECT(count < 1 || found[0].strength > 0.5);
    }
}

TEST(seasons_week_is_found_behind_the_day)
{
    static double y[N];
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int i = 0; i < N; i++) {
        double day = sin(6.283185307179586 * i / 48);
        y[i] = 100 + (i / 48 % 7 >= 5 ? -25 : 0) + 20 * day + 2 * rng_normal(&rng);
    }
    struct season_found found[SEASONS_FOUND_MAX] = {0};
    int count = found_in(y, N, found);
    EXPECT_MSG(count == 2 && found[0].steps == 48 && found[1].steps == 336, "%d: %d, %d", count,
               found[0].steps, found[1].steps);
}

/* Noise, walks, a trend, steps and constants have no season: of 200 such series at most 10 may seem to. */
TEST(seasons_are_not_found_where_there_are_none)
{
    static double y[600];
    struct rng rng;
    int wrong = 0;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 200; round++) {
        double walk = 0;
        for (int i = 0; i < 600; i++) {
            double noise = rng_normal(&rng);
            walk += noise;
            y[i] = round % 5 == 0   ? noise
                   : round % 5 == 1 ? walk
                   : round % 5 == 2 ? 0.1 * i + noise
                   : round % 5 == 3 ? (i > 300) * 50 + noise
                                    : 7;
        }
        struct season_found found[SEASONS_FOUND_MAX];
        wrong += found_in(y, 600, found) > 0;
    }
    EXPECT_MSG(wrong <= 10, "%d of 200", wrong);
}

TEST(season_lives_with_short_missing_and_huge_values)
{
    struct season_found found[SEASONS_FOUND_MAX];
    static double y[240];
    EXPECT_INT(found_in(y, 3, found), 0);
    for (int i = 0; i < 240; i++) {
        y[i] = (double)NAN;
    }
    EXPECT_INT(found_in(y, 240, found), 0);
    for (int i = 0; i < 240; i++) {
        y[i] = 1e300 * (i % 24 < 8);
    }
    EXPECT_INT(found_in(y, 240, found), 1);
    EXPECT_INT(found[0].steps, 24);
}
