// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include "test.h"

/* A clock whose times the test sets. */
struct hands {
    int64_t now_ns, cpu_ns;
    int asked; /* for CPU time */
};

static int64_t hands_now(void *ctx)
{
    return ((struct hands *)ctx)->now_ns;
}

static int64_t hands_cpu(void *ctx)
{
    struct hands *hands = ctx;
    hands->asked++;
    return hands->cpu_ns;
}

static struct clock hands_clock(struct hands *hands, bool steady)
{
    return (struct clock){
        .ctx = hands, .now_ns = hands_now, .thread_cpu_ns = hands_cpu, .steady = steady};
}

TEST(clock_lap_takes_short_pieces_from_the_quick_clock)
{
    struct hands hands = {.now_ns = 1000, .cpu_ns = 500};
    struct clock clock = hands_clock(&hands, true);
    struct clock_lap lap;
    clock_lap_begin(&clock, &lap);
    hands.now_ns += 30000;
    hands.cpu_ns += 29000;
    EXPECT_INT(clock_lap_ns(&clock, &lap), 30000);
    hands.now_ns += CLOCK_LAP_TRUSTED_NS;
    EXPECT_INT(clock_lap_ns(&clock, &lap), CLOCK_LAP_TRUSTED_NS);
    EXPECT_INT(hands.asked, 1);
}

TEST(clock_lap_asks_for_cpu_time_when_a_piece_may_have_been_interrupted)
{
    struct hands hands = {.now_ns = 1000, .cpu_ns = 500};
    struct clock clock = hands_clock(&hands, true);
    struct clock_lap lap;
    clock_lap_begin(&clock, &lap);
    hands.now_ns += 30000;
    hands.cpu_ns += 28000;
    EXPECT_INT(clock_lap_ns(&clock, &lap), 30000);
    hands.now_ns += 5000000; // another thread ran for most of it
    hands.cpu_ns += 40000;
    EXPECT_INT(clock_lap_ns(&clock, &lap), 38000); // with what the piece before had too much
    EXPECT_INT(hands.asked, 2);
    hands.now_ns += 5000000;
    hands.cpu_ns += 0;
    EXPECT_INT(clock_lap_ns(&clock, &lap), 0);
}

TEST(clock_lap_is_never_negative)
{
    struct hands hands = {.now_ns = 1000, .cpu_ns = 500};
    struct clock clock = hands_clock(&hands, true);
    struct clock_lap lap;
    clock_lap_begin(&clock, &lap);
    hands.now_ns += 100000; // interrupted, but too short to be noticed
    EXPECT_INT(clock_lap_ns(&clock, &lap), 100000);
    hands.now_ns += 1000000;
    hands.cpu_ns += 50000;
    EXPECT_INT(clock_lap_ns(&clock, &lap), 0);
    hands.now_ns += 1000000;
    hands.cpu_ns += 150000;
    EXPECT_INT(clock_lap_ns(&clock, &lap), 100000); // all in all what the CPU clock says
}

TEST(clock_lap_goes_by_cpu_time_alone_where_that_is_quick)
{
    struct hands hands = {.now_ns = 1000, .cpu_ns = 500};
    struct clock clock = hands_clock(&hands, false);
    struct clock_lap lap;
    clock_lap_begin(&clock, &lap);
    hands.cpu_ns += 700;
    EXPECT_INT(clock_lap_ns(&clock, &lap), 700);
    EXPECT_INT(clock_lap_ns(&clock, &lap), 0);
}
