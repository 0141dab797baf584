// SPDX-License-Identifier: Apache-2.0
#include "prm/profile.h"

#include <math.h>

#include "base/rng.h"
#include "test.h"

enum { OPERATORS = 3 };

struct bench_run {
    struct rng rng;
    struct operator_counters operators[OPERATORS];
    struct profile_counters counters;
    struct profile_primary primary;
    struct histogram latency;
    double costs[OPERATORS]; /* ns a record that comes in */
};

static struct bench_run run;
static struct profile_looks looks;
static struct profile profile;
static double memory[(LOOKS_BATCHES_MAX + 1) * (2 * (5 + 2 * OPERATORS) + 4)];

static void begin(double parse, double filter, double window)
{
    run = (struct bench_run){.costs = {parse, filter, window}};
    rng_init(&run.rng, test_seed());
    run.counters.operators = run.operators;
    run.counters.operator_count = OPERATORS;
    run.operators[0].latency = &run.latency;
    CHECK(profile_numbers(OPERATORS) == (int32_t)COUNT_OF(memory));
    profile_looks_init(&looks, memory, OPERATORS);
}

/* A stretch of the input: half of its rows pass the filter. The primary has ten times as many. */
static void go_on(void)
{
    double rows = 800 + (double)rng_below(&run.rng, 400);
    double in[OPERATORS], ns[OPERATORS];
    struct profile_group group = {
        .rows = rows, .rows_out = rows / 2, .operator_rows = in, .operator_ns = ns};
    for (int i = 0; i < OPERATORS; i++) {
        in[i] = i < 2 ? rows : rows / 2;
        ns[i] = rows * run.costs[i] * (1 + 0.1 * rng_normal(&run.rng));
        group.work_ns += ns[i];
        run.operators[i].rows_in += (int64_t)in[i];
        run.operators[i].rows_out += (int64_t)(i == 0 ? in[i] : rows / 2);
    }
    group.work_ns += rows * 100; /* outputs */
    group.read_ns = rows * 50;
    histogram_add(&run.latency, 1000 + (int64_t)rng_below(&run.rng, 1000), 1);
    run.counters.rows_in += (int64_t)rows;
    run.counters.bytes_in += (int64_t)rows * 100;
    run.primary.rows += 10 * (int64_t)rows;
    run.primary.work_ns += 10 * (int64_t)rows * 800;
    run.primary.read_ns += 10 * (int64_t)rows * 200;
    profile_add_group(&looks, &group);
    profile_look_primary(&looks, &run.primary);
}

TEST(profile_names_the_operator_that_limits_and_by_how_much)
{
    begin(600, 100, 200);
    profile_look_primary(&looks, &run.primary);
    for (int i = 0; i < 60; i++) {
        go_on();
    }
    profile_of(&looks, &run.counters, 0.5, &profile);
    EXPECT_INT(profile.limits, 0);
    EXPECT(profile.limits_clear);
    EXPECT_NEAR(profile.limits_by.value, (600.0 - 200) / 900, 0.02);
    EXPECT(profile.limits_by.low < profile.limits_by.value);
    EXPECT_NEAR(profile.operators[0].cost_ns.value, 600, 15);
    EXPECT(profile.operators[0].cost_ns.low < 610 && 590 < profile.operators[0].cost_ns.high);
    EXPECT_NEAR(profile.operators[2].cost_ns.value, 200, 6);
    EXPECT_NEAR(profile.operators[2].service_ns.value, 400, 12); /* of the half that reaches it */
    EXPECT_NEAR(profile.operators[1].selectivity.value, 0.5, 0.01);
    EXPECT(profile.operators[1].selectivity.low < 0.5 &&
           profile.operators[1].selectivity.high > 0.49);
    EXPECT_NEAR(profile.operators[0].share.value, 600.0 / 900, 0.02);
    EXPECT_NEAR(profile.bytes_in.value, 100, 1e-6);
    EXPECT_NEAR(profile.primary_work_ns.value, 800, 1e-6);
    EXPECT_NEAR(profile.read_share.value, 0.2, 1e-6);
    /* 800 + 200 ns a record on half a core */
    EXPECT_NEAR(profile.rate_max.value, 500000, 1);
    /* of 1000 ns 800 are work, nine tenths of it the chain, two thirds of that the operator */
    EXPECT_NEAR(profile.without_ratio, 1 / (1 - 0.8 * 0.9 * 600 / 900), 0.05);
    EXPECT_NEAR(profile.operators[0].latency_ns[0].value, 1500, 200);
    EXPECT(profile.operators[0].latency_ns[0].low <= profile.operators[0].latency_ns[0].high);
    EXPECT(isnan(profile.operators[1].latency_ns[0].value));
}

TEST(profile_does_not_name_one_of_two_equals)
{
    begin(300, 100, 301);
    for (int i = 0; i < 40; i++) {
        go_on();
    }
    profile_of(&looks, &run.counters, 1, &profile);
    EXPECT(profile.limits == 0 || profile.limits == 2);
    EXPECT(!profile.limits_clear);
    struct estimate cost;
    bool clear = true;
    profile_question(&looks, 0.95, &cost, &clear);
    EXPECT(!clear);
    EXPECT_NEAR(cost.value, 801, 30);
}

TEST(profile_keeps_earlier_samples_beside_the_present_one)
{
    begin(100, 100, 100);
    for (int i = 0; i < 10; i++) {
        go_on();
    }
    double first = profile_rows(&looks);
    profile_keep(&looks);
    for (int round = 0; round < 3; round++) { /* the same sample is told again and again */
        profile_begin_sample(&looks);
        EXPECT_NEAR(profile_rows(&looks), first, 1e-6);
        go_on();
        EXPECT(profile_rows(&looks) > first && profile_rows(&looks) < first + 1300);
    }
}

TEST(profile_takes_no_gain_of_a_primary_that_was_opened_again)
{
    begin(100, 100, 100);
    profile_look_primary(&looks, &run.primary);
    go_on();
    EXPECT_INT(looks.primary.total, 1);
    profile_look_primary(&looks, &run.primary); /* nothing came: no look */
    EXPECT_INT(looks.primary.total, 1);
    run.primary = (struct profile_primary){.rows = 10, .work_ns = 10, .read_ns = 10};
    profile_look_primary(&looks, &run.primary);
    EXPECT_INT(looks.primary.total, 1);
    go_on();
    EXPECT_INT(looks.primary.total, 2);
}

TEST(profile_of_nothing_knows_nothing)
{
    begin(1, 1, 1);
    profile_of(&looks, &run.counters, 1, &profile);
    EXPECT_INT(profile.limits, -1);
    EXPECT(!profile.limits_clear);
    EXPECT(isnan(profile.rate_max.value) && isnan(profile.operators[0].share.value));
}

TEST(twins_cancel_what_is_common_to_both)
{
    static struct twin_looks twins;
    struct rng rng;
    rng_init(&rng, test_seed());
    twin_init(&twins);
    for (int i = 0; i < 100; i++) {
        double weather = 1 + 0.4 * rng_unit(&rng);
        struct twin_side own = {.rows = 1000,
                                .cpu_ns = 1000 * 300 * weather * (1 + 0.01 * rng_normal(&rng))};
        struct twin_side base = {.rows = 1000,
                                 .cpu_ns = 1000 * 400 * weather * (1 + 0.01 * rng_normal(&rng))};
        twin_add(&twins, &own, &base);
    }
    struct estimate ratio = twin_ratio(&twins, 0.95);
    EXPECT_NEAR(ratio.value, 0.75, 0.01);
    EXPECT(ratio.high - ratio.low < 0.02);
    EXPECT_NEAR(ratio.n, 100000, 0.5);
    EXPECT_NEAR(twin_cost(&twins, TWIN_BASELINE, 0.95).value, 400 * 1.2, 25);
    twin_begin(&twins);
    EXPECT(isnan(twin_ratio(&twins, 0.95).value));
    EXPECT(isnan(twin_cost(&twins, TWIN_ROWS, 0.95).value));
}

/* Ten seconds of event time in each of `stretches`, a record a millisecond at 100 ns, and closings each `hop_ms` at 1 ms from
 * `from_ms` on. */
static void add_closings(struct twin_looks *twins, int stretches, int64_t hop_ms, int64_t from_ms)
{
    for (int i = 0; i < stretches; i++) {
        int64_t begin = from_ms + (int64_t)i * 10000;
        int64_t count = (begin + 10000) / hop_ms - begin / hop_ms;
        double closings = (double)count;
        struct twin_side own = {.rows = 10000,
                                .cpu_ns = 1e6 + 1e6 * closings,
                                .close_ns = 1e6 * closings,
                                .closed_ms = closings * (double)hop_ms,
                                .time_ms = 10000};
        struct twin_side base = {
            .rows = 10000, .cpu_ns = 2e6, .close_ns = 1e6, .closed_ms = 10000, .time_ms = 10000};
        twin_add(twins, &own, &base);
    }
}

TEST(closings_count_by_event_time_and_not_as_many_as_chance_has_put_into_a_stretch)
{
    static struct twin_looks twins;
    const int64_t hop_ms = 60000;
    double truth = (1e6 + 1e6 / 6) / 2e6;
    /* of 90 s: one closing or two, by where they begin; plain sums are off by a tenth or two */
    for (int64_t from_ms = 0; from_ms < hop_ms; from_ms += 10000) {
        twin_init(&twins);
        add_closings(&twins, 9, hop_ms, from_ms);
        EXPECT_NEAR(twin_ratio(&twins, 0.95).value, truth, 1e-9);
    }
    twin_init(&twins); /* none has come: nothing is known of them, and nothing made up */
    add_closings(&twins, 4, hop_ms, 0);
    EXPECT_NEAR(twin_ratio(&twins, 0.95).value, 0.5, 1e-9);
    EXPECT(isnan(twin_ratio(&twins, 0.95).low));
}

/* Twins see the same records: what is common to both falls out of their ratio. */
TEST(intervals_of_twins_hold_and_are_narrower_than_apart)
{
    struct rng rng;
    int held = 0;
    double width = 0, width_apart = 0;
    rng_init(&rng, 23);
    for (int r = 0; r < 1000; r++) {
        static struct twin_looks twins;
        twin_init(&twins);
        for (int i = 0; i < 200; i++) {
            double rows = 1000 * (1 + 0.5 * rng_unit(&rng));
            double weather = 1 + 0.3 * rng_normal(&rng) * rng_unit(&rng);
            double noise = 1 + 0.05 * rng_normal(&rng), base_noise = 1 + 0.05 * rng_normal(&rng);
            struct twin_side own = {.rows = rows, .cpu_ns = rows * 400 * weather * noise};
            struct twin_side base = {.rows = rows, .cpu_ns = rows * 500 * weather * base_noise};
            twin_add(&twins, &own, &base);
        }
        struct estimate e = twin_ratio(&twins, 0.95);
        struct estimate apart = twin_cost(&twins, TWIN_ROWS, 0.95);
        held += e.low <= 0.8 && 0.8 <= e.high;
        width += (e.high - e.low) / e.value;
        width_apart += (apart.high - apart.low) / apart.value;
    }
    EXPECT_MSG(held >= 920 && held <= 985, "%d of 1000", held);
    EXPECT(width < width_apart / 1.5);
}
