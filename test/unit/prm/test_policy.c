// SPDX-License-Identifier: Apache-2.0
#include "prm/policy.h"

#include <math.h>

#include "test.h"

/* Two leads, ten paths: the load is 2 now and 2.5 at the window's end but for `high` paths, which reach 4.5. */
static double loads[2 * 10], peaks[10];

static struct outlook_view view_of(int high)
{
    struct outlook_view view = {.lead_count = 2,
                                .path_count = 10,
                                .stride = 10,
                                .lead_s = {60, 70},
                                .load = loads,
                                .peak = peaks,
                                .peak_max = high > 0 ? 4.5 : 2.5};
    for (int k = 0; k < 10; k++) {
        loads[k] = 2;
        loads[10 + k] = k < high ? 4.5 : 2.5;
        peaks[k] = loads[10 + k];
    }
    return view;
}

static const struct prices prices = {.node = 1, .late = 19};

static struct policy_input input_of(const struct outlook_view *view, int serving)
{
    return (struct policy_input){.now_s = 1000,
                                 .demand = 2,
                                 .objective_s = 0.5,
                                 .interval_s = 10,
                                 .startup_s = 60,
                                 .serving = serving,
                                 .lanes_max = 8,
                                 .ready = {serving, serving},
                                 .prices = &prices,
                                 .view = view};
}

static int decide(int high, int serving, double risk)
{
    struct policy policy;
    struct policy_params params = {.risk = risk, .down_s = 60};
    struct outlook_view view = view_of(high);
    struct policy_input in = input_of(&view, serving);
    policy_init(&policy, POLICY_PREDICTIVE, &params);
    return policy_step(&policy, &in);
}

TEST(policy_weighs_what_may_come_against_its_price)
{
    EXPECT_INT(decide(0, 3, 1), 3);     /* enough, and a lane fewer would be late */
    EXPECT_INT(decide(5, 3, 1), 4);     /* half of the futures want a fourth */
    EXPECT_INT(decide(1, 3, 0.001), 3); /* a risk that is worth nothing is taken */
}

/* A lane more saves `saves` of the price: whether it is ordered. */
static bool orders(double saves, double margin)
{
    struct policy policy;
    struct outlook_view view = view_of(5);
    struct policy_input in = input_of(&view, 3);
    double staying = policy_price(&in, 3, 0), more = policy_price(&in, 4, 1);
    double late = policy_price(&in, 3, 1) - staying; /* at a weight of 1; with four there is none */
    struct policy_params params = {.risk = (more / (1 - saves) - staying) / late, .margin = margin};
    policy_init(&policy, POLICY_PREDICTIVE, &params);
    return policy_step(&policy, &in) == 4;
}

TEST(policy_changes_only_for_what_beats_doing_nothing_by_the_margin)
{
    EXPECT(!orders(0.01, 0.02));
    EXPECT(orders(0.01, 0));
    EXPECT(orders(0.03, 0.02));
    EXPECT(!orders(-0.01, 0));
}

/* What was worth its order is worth being kept while it starts: the future is the same, and its start-up is paid either way. */
TEST(policy_keeps_a_lane_that_starts_for_what_it_was_ordered_for)
{
    struct policy policy;
    struct policy_params params = {.risk = 0.1};
    struct outlook_view view = view_of(5);
    struct policy_input in = input_of(&view, 3);
    policy_init(&policy, POLICY_PREDICTIVE, &params);
    EXPECT_INT(policy_step(&policy, &in), 4);
    in.now_s += 10;
    in.starting = 1;
    in.ready[1] = 4;
    EXPECT_INT(policy_step(&policy, &in), 4);
    view = view_of(0); /* what it was ordered for does not come: it goes */
    in.now_s += 10;
    EXPECT_INT(policy_step(&policy, &in), 3);
}

/* One future in ten wants more than is there, by how much wavers from decision to decision: whether a lane is held against it is a
 * close call, and a call that is made once. Lanes come six decisions after their order. */
TEST(policy_does_not_order_and_give_back_for_ever)
{
    enum { DECISIONS = 2000, STARTUP = 6 };
    int arriving[STARTUP] = {0}, changes = 0, serving = 3, starting = 0;
    struct policy policy;
    struct policy_params params = policy_grid(POLICY_PREDICTIVE, 0);
    policy_init(&policy, POLICY_PREDICTIVE, &params);
    for (int t = 0; t < DECISIONS; t++) {
        serving += arriving[t % STARTUP];
        starting -= arriving[t % STARTUP];
        arriving[t % STARTUP] = 0;
        struct outlook_view view = view_of(1);
        loads[10] = peaks[0] = view.peak_max = 3.95 + 0.01 * (t * 7 % 11);
        struct policy_input in = input_of(&view, serving);
        in.now_s = 10.0 * t;
        in.starting = starting;
        in.ready[1] = serving + starting;
        int more = policy_step(&policy, &in) - serving - starting;
        changes += more != 0;
        for (int back = STARTUP; more < 0 && back > 0; back--) { /* the latest order first */
            int *order = &arriving[(t + back) % STARTUP];
            int less = *order < -more ? *order : -more;
            *order -= less;
            starting -= less;
            more += less;
        }
        serving += more < 0 ? more : 0;
        arriving[t % STARTUP] += more > 0 ? more : 0;
        starting += more > 0 ? more : 0;
    }
    EXPECT_MSG(changes <= 4, "%d changes in %d decisions", changes, DECISIONS);
}

/* Records wait, and lanes ordered now come when the window is nearly over: what they then drain is worth them. */
TEST(policy_orders_what_drains_records_that_are_late)
{
    struct policy policy;
    struct policy_params params = {.risk = 1, .down_s = 60};
    struct outlook_view view = view_of(0);
    struct policy_input in = input_of(&view, 3);
    policy_init(&policy, POLICY_PREDICTIVE, &params);
    EXPECT_INT(policy_step(&policy, &in), 3);
    in.work = 200;
    in.lag_s = 100;
    EXPECT(policy_price(&in, 8, 1) < policy_price(&in, 3, 1));
    EXPECT_INT(policy_step(&policy, &in), 8);
}

TEST(policy_goes_down_only_after_a_confirmed_drop)
{
    struct policy policy;
    struct policy_params params = {.risk = 1, .down_s = 60};
    struct outlook_view view = view_of(0);
    struct policy_input in = input_of(&view, 6);
    policy_init(&policy, POLICY_PREDICTIVE, &params);
    for (int i = 0; i < 6; i++) {
        EXPECT_INT(policy_step(&policy, &in), 6);
        EXPECT_INT(policy.reason, POLICY_UNCONFIRMED);
        in.now_s += 10;
    }
    EXPECT_INT(policy_step(&policy, &in), 3);
    EXPECT_INT(policy.reason, POLICY_FALLS);
}

TEST(policy_does_nothing_for_a_gap_and_is_reactive_when_blind)
{
    struct policy policy;
    struct policy_params params = {.risk = 1};
    struct outlook_view view = view_of(10);
    struct policy_input in = input_of(&view, 3);
    in.demand = (double)NAN;
    policy_init(&policy, POLICY_PREDICTIVE, &params);
    EXPECT_INT(policy_step(&policy, &in), 3);
    EXPECT_INT(policy.reason, POLICY_BLIND);
    in.demand = 4;
    in.view = NULL;
    EXPECT_INT(policy_step(&policy, &in), 5);
    EXPECT_INT(policy.reason, POLICY_BLIND);
}

TEST(policy_keeps_its_budget_and_steps_but_not_when_urgent)
{
    struct policy policy;
    struct policy_params params = {.risk = 1, .budget_day = 1, .step_max = 1};
    struct outlook_view view = view_of(10);
    struct policy_input in = input_of(&view, 3);
    policy_init(&policy, POLICY_PREDICTIVE, &params);
    EXPECT_INT(policy_step(&policy, &in), 4);
    EXPECT_INT(policy_step(&policy, &in), 3);
    EXPECT_INT(policy.reason, POLICY_BUDGET);
    in.demand = 6.5; /* seven are needed now: one more, whatever the budget says */
    EXPECT_INT(policy_step(&policy, &in), 4);
    EXPECT_INT(policy.reason, POLICY_URGENT);
}
