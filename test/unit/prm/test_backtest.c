// SPDX-License-Identifier: Apache-2.0
#include "prm/backtest.h"

#include <math.h>
#include <string.h>

#include "test.h"

static const double PI = 3.14159265358979323846;

enum { COUNT = 4 * 288 + 1 };

static struct arena arena;
static double load[COUNT];

static struct backtest_options wave_options(double startup_s)
{
    for (int i = 0; i < COUNT; i++) {
        load[i] = 1000 * (1.2 - cos(2 * PI * i / 288) + 0.15 * cos(2 * PI * i / 7.3));
    }
    return (struct backtest_options){.values = load,
                                     .count = COUNT,
                                     .step_s = 300,
                                     .lanes = 8,
                                     .startup_s = startup_s,
                                     .interval_s = 10,
                                     .objective_s = 2,
                                     .prices = {.node = 1, .late = 19}};
}

static const struct backtest_result *replay(const struct backtest_options *options,
                                            const enum policy_kind *kinds, int count)
{
    struct backtest *b = NULL;
    struct err_info info;
    if (backtest_new(&arena, options, kinds, count, &b, &info) != ERR_OK) {
        return NULL;
    }
    while (!backtest_step(b, 1000)) {
    }
    return backtest_results(b);
}

TEST(backtest_orders_policies_as_they_must_be)
{
    static const enum policy_kind kinds[] = {POLICY_SHADOWCAST, POLICY_PREDICTIVE,
                                             POLICY_REACTIVE,   POLICY_PERFECT,
                                             POLICY_ORACLE,     POLICY_STATIC_PEAK};
    arena_init(&arena, (ptrdiff_t)1 << 30);
    struct backtest_options options = wave_options(600);
    const struct backtest_result *r = replay(&options, kinds, 6);
    EXPECT(r != NULL);
    EXPECT_MSG(r[0].cost < r[2].cost, "%g against reactive's %g", r[0].cost, r[2].cost);
    EXPECT(r[3].cost < r[0].cost && r[4].cost < r[3].cost && r[0].cost < r[5].cost);
    EXPECT_NEAR(r[4].late_s, 0, 1e-9);
    EXPECT_NEAR(r[5].late_s, 0, 1e-9);
    EXPECT_NEAR(r[5].lane_hours, 8 * 24 * r[5].days, 1e-6);
    EXPECT_NEAR(r[0].shadow_hours > 0, 1, 0);
    EXPECT_NEAR(r[1].shadow_hours, 0, 1e-12);
    arena_release(&arena);
}

/* A steady wave: to give lanes back after two minutes costs a sixth more than after ten, which is believed; by the weight of a late
 * second costs differ by less than a thousandth, the least at 0.5, which is not. */
TEST(backtest_believes_its_history_only_where_it_says_something)
{
    static const enum policy_kind kinds[] = {POLICY_PREDICTIVE};
    arena_init(&arena, (ptrdiff_t)1 << 30);
    struct backtest_options options = wave_options(600);
    options.interval_s = 50;
    const struct backtest_result *r = replay(&options, kinds, 1);
    EXPECT(r != NULL);
    EXPECT_NEAR(r[0].params.down_s, 600, 0);
    EXPECT_NEAR(r[0].params.risk, policy_grid(POLICY_PREDICTIVE, 0).risk, 0);
    arena_release(&arena);
}

TEST(backtest_never_looks_ahead)
{
    /* Another future must not change what was done before it: the plot of the first quarter of the replay is the same. */
    static const enum policy_kind kinds[] = {POLICY_SHADOWCAST};
    arena_init(&arena, (ptrdiff_t)1 << 30);
    struct backtest_options options = wave_options(60);
    const struct backtest_result *r = replay(&options, kinds, 1);
    EXPECT(r != NULL);
    float before[BACKTEST_PLOT];
    memcpy(before, r->plot, sizeof before);
    for (int i = 3 * 288; i < COUNT; i++) {
        load[i] = 100;
    }
    r = replay(&options, kinds, 1);
    EXPECT(r != NULL);
    int last = BACKTEST_PLOT / 2 - 10, different = 0;
    for (int i = 0; i < last; i++) {
        EXPECT_NEAR((double)r->plot[i], (double)before[i], 1e-9);
    }
    for (int i = BACKTEST_PLOT / 2 + 10; i < BACKTEST_PLOT; i++) {
        different += fabs((double)(r->plot[i] - before[i])) > 0.5;
    }
    EXPECT(different > 100);
    arena_release(&arena);
}

TEST(backtest_refuses_what_cannot_be_replayed)
{
    static const enum policy_kind kinds[] = {POLICY_DS2};
    struct err_info info;
    struct backtest *b = NULL;
    arena_init(&arena, (ptrdiff_t)1 << 30);
    struct backtest_options options = wave_options(60);
    options.step_s = 303;
    EXPECT_INT(backtest_new(&arena, &options, kinds, 1, &b, &info), ERR_INVALID);
    options = wave_options(60);
    options.count = 288;
    EXPECT_INT(backtest_new(&arena, &options, kinds, 1, &b, &info), ERR_INVALID);
    options = wave_options(60);
    options.lanes = 0;
    EXPECT_INT(backtest_new(&arena, &options, kinds, 1, &b, &info), ERR_INVALID);
    load[5] = -1;
    options.lanes = 8;
    EXPECT_INT(backtest_new(&arena, &options, kinds, 1, &b, &info), ERR_INVALID);
    memset(load, 0, sizeof load);
    EXPECT_INT(backtest_new(&arena, &options, kinds, 1, &b, &info), ERR_INVALID);
    EXPECT(b == NULL);
    arena_release(&arena);
}
