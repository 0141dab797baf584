// SPDX-License-Identifier: Apache-2.0
#include "prm/queue.h"

#include "test.h"

TEST(queue_is_late_only_after_the_objective)
{
    /* Twice what fits: after t seconds t lane-seconds wait, which two lanes' arrivals brought in t / 2 seconds: late once
     * that is more than 2 s, so after 4 s. */
    double work = 0;
    struct queue_step step = {
        .rate_begin = 2, .rate_end = 2, .capacity = 1, .seconds = 10, .objective_s = 2};
    EXPECT_NEAR(queue_advance(&work, &step), 6, 1e-9);
    EXPECT_NEAR(work, 10, 1e-9);
}

TEST(queue_drains_and_stays_late_until_drained)
{
    double work = 10;
    struct queue_step step = {
        .rate_begin = 1, .rate_end = 1, .capacity = 2, .seconds = 20, .objective_s = 2};
    EXPECT_NEAR(queue_advance(&work, &step), 7, 1e-9); /* 9, 8 .. 3 wait at the ends of 7 s */
    EXPECT_NEAR(work, 0, 1e-9);
}

TEST(queue_follows_a_line)
{
    double work = 0;
    struct queue_step step = {
        .rate_begin = 0, .rate_end = 4, .capacity = 2, .seconds = 8, .objective_s = 100};
    EXPECT_NEAR(queue_advance(&work, &step), 0, 1e-9);
    EXPECT_NEAR(work, 4, 1e-9); /* the triangle above the capacity in the second half */
}

TEST(cost_is_the_formula_and_its_quantile)
{
    struct prices prices = {.node = 1, .late = 19, .move = 0.5, .change = 3};
    struct usage usage = {.lane_seconds = 100, .late_seconds = 2, .moved_bytes = 10, .changes = 4};
    EXPECT_NEAR(cost_of(&prices, &usage, 8), 100 + 19 * 2 * 8 + 5 + 12, 1e-9);
    EXPECT_NEAR(cost_quantile(&prices), 0.95, 1e-12);
}
