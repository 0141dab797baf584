// SPDX-License-Identifier: Apache-2.0
#include "prm/profile.h"

#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "test.h"

enum { OPERATORS = 3 };

struct bench_run {
    struct rng rng;
    struct operator_counters operators[OPERATORS];
    struct profile_counters counters;
    struct histogram latency;
    double costs[OPERATORS]; /* ns a record that comes in */
};

static struct bench_run run;
static double memory[(LOOKS_BATCHES_MAX + 2) * (16 + 3 * OPERATORS)];

static void begin(double parse, double filter, double window)
{
    run = (struct bench_run){.costs = {parse, filter, window}};
    rng_init(&run.rng, test_seed());
    run.counters.operators = run.operators;
    run.counters.operator_count = OPERATORS;
    for (int i = 0; i < OPERATORS; i++) {
        IGNORE_RESULT(snprintf(run.operators[i].name, sizeof(run.operators[i].name), "op%d", i));
    }
    run.operators[0].latency = &run.latency;
    CHECK(profile_numbers(OPERATORS) <= (int32_t)COUNT_OF(memory));
}

/* A second goes by: rows come, half of them pass the filter. */
static void go_on(void)
{
    int64_t rows = 800 + (int64_t)rng_below(&run.rng, 400);
    for (int i = 0; i < OPERATORS; i++) {
        struct operator_counters *op = &run.operators[i];
        double noise = 1 + 0.1 * rng_normal(&run.rng);
        int64_t in = i < 2 ? rows : rows / 2;
        op->rows_in += in;
        op->rows_out += i == 0 ? in : rows / 2;
        op->cpu_ns += (int64_t)((double)rows * run.costs[i] * noise);
        run.counters.work_cpu_ns += (int64_t)((double)rows * run.costs[i] * noise);
    }
    histogram_add(&run.latency, 1000 + (int64_t)rng_below(&run.rng, 1000), 1);
    run.counters.rows_in += rows;
    run.counters.bytes_in += rows * 100;
    run.counters.rows_out += rows / 2;
    run.counters.work_cpu_ns += rows * 100; /* outputs */
    run.counters.read_cpu_ns += rows * 50;
    run.counters.primary_rows += 10 * rows;
    run.counters.primary_work_cpu_ns += 10 * rows * 800;
    run.counters.primary_read_cpu_ns += 10 * rows * 200;
}

TEST(profile_names_the_operator_that_limits_and_by_how_much)
{
    struct profile_looks looks;
    static struct profile profile;
    begin(600, 100, 200);
    profile_looks_init(&looks, memory, OPERATORS);
    for (int i = 0; i < 60; i++) {
        profile_look(&looks, &run.counters);
        go_on();
    }
    profile_look(&looks, &run.counters);
    profile_of(&looks, &run.counters, 0.5, &profile);
    EXPECT_INT(profile.limits, 0);
    EXPECT(profile.limits_clear);
    EXPECT_NEAR(profile.limits_by.value, (600.0 - 200) / 900, 0.02);
    EXPECT(profile.limits_by.low < profile.limits_by.value);
    EXPECT_NEAR(profile.operators[0].cost_ns.value, 600, 15);
    EXPECT(profile.operators[0].cost_ns.low < 600 && 600 < profile.operators[0].cost_ns.high + 10);
    EXPECT_NEAR(profile.operators[2].cost_ns.value, 200, 6);
    EXPECT_NEAR(profile.operators[2].service_ns.value, 400, 12); /* of the half that reaches it */
    EXPECT_NEAR(profile.operators[1].selectivity.value, 0.5, 0.01);
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
    struct profile_looks looks;
    static struct profile profile;
    begin(300, 100, 301);
    profile_looks_init(&looks, memory, OPERATORS);
    for (int i = 0; i < 40; i++) {
        profile_look(&looks, &run.counters);
        go_on();
    }
    profile_of(&looks, &run.counters, 1, &profile);
    EXPECT(profile.limits == 0 || profile.limits == 2);
    EXPECT(!profile.limits_clear);
}

TEST(profile_takes_no_gain_over_a_pause_or_a_new_start)
{
    struct profile_looks looks;
    begin(100, 100, 100);
    profile_looks_init(&looks, memory, OPERATORS);
    profile_look(&looks, &run.counters);
    go_on();
    profile_look(&looks, &run.counters);
    EXPECT_INT(looks.looks.total, 1);
    profile_skip(&looks);
    go_on();
    profile_look(&looks, &run.counters);
    EXPECT_INT(looks.looks.total, 1);
    struct operator_counters kept[OPERATORS];
    for (int i = 0; i < OPERATORS; i++) {
        kept[i] = run.operators[i];
        run.operators[i].rows_in = 0; /* opened again: counters begin anew */
    }
    profile_look(&looks, &run.counters);
    EXPECT_INT(looks.looks.total, 1);
    go_on();
    profile_look(&looks, &run.counters);
    EXPECT_INT(looks.looks.total, 2);
    EXPECT(kept[0].rows_in > 0);
}

TEST(profile_of_nothing_knows_nothing)
{
    struct profile_looks looks;
    static struct profile profile;
    begin(1, 1, 1);
    profile_looks_init(&looks, memory, OPERATORS);
    profile_of(&looks, &run.counters, 1, &profile);
    EXPECT_INT(profile.limits, -1);
    EXPECT(!profile.limits_clear);
    EXPECT(isnan(profile.rate_max.value) && isnan(profile.operators[0].share.value));
}

TEST(twins_cancel_what_is_common_to_both)
{
    static struct twin_looks looks;
    int64_t rows = 0, cpu = 0, base_cpu = 0;
    struct rng rng;
    rng_init(&rng, test_seed());
    twin_looks_init(&looks);
    for (int i = 0; i < 100; i++) {
        twin_look(&looks, rows, cpu, rows, base_cpu);
        double weather = 1 + 0.4 * rng_unit(&rng);
        rows += 1000;
        cpu += (int64_t)(1000 * 300 * weather * (1 + 0.01 * rng_normal(&rng)));
        base_cpu += (int64_t)(1000 * 400 * weather * (1 + 0.01 * rng_normal(&rng)));
    }
    struct estimate ratio = twin_ratio(&looks, 0.95);
    EXPECT_NEAR(ratio.value, 0.75, 0.01);
    EXPECT(ratio.high - ratio.low < 0.02);
    EXPECT_NEAR(ratio.n, 99000, 0.5);
    twin_skip(&looks);
    twin_look(&looks, rows + 1000000, cpu, rows, base_cpu);
    EXPECT_NEAR(twin_ratio(&looks, 0.95).n, 99000, 0.5);
}
