// SPDX-License-Identifier: Apache-2.0
#include "prm/tune.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "forecast/num.h"
#include "test.h"

enum { BLOCKS = 30 };

/* Twins on the same stretches: what they cost differs by a twentieth beside `ratio`. Told as a shadow tells it: the ratio and its
 * interval of 95 % by a paired t. */
static struct tune_reading reading(struct rng *rng, int32_t count, double ratio)
{
    double logs[BLOCKS], mean = 0, squares = 0;
    for (int32_t i = 0; i < count; i++) {
        logs[i] = log(ratio) + 0.05 * rng_normal(rng);
        mean += logs[i] / count;
    }
    for (int32_t i = 0; i < count; i++) {
        squares += (logs[i] - mean) * (logs[i] - mean);
    }
    double half = num_t_quantile(0.975, count - 1) * sqrt(squares / (count - 1) / count);
    return (struct tune_reading){.value = exp(mean),
                                 .low = exp(mean - half),
                                 .high = exp(mean + half),
                                 .stretches = count,
                                 .compared = true,
                                 .equal_output = true,
                                 .tried = 4};
}

TEST(tune_promotes_what_is_better_and_refuses_what_is_not)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    struct tune_reading told = reading(&rng, BLOCKS, 0.7);
    struct tune_result r = tune_judge(&told, 0.03);
    EXPECT_INT(r.verdict, TUNE_PROMOTE);
    EXPECT(r.ratio_low < 0.7 && 0.7 < r.ratio_high && r.ratio_high - r.ratio_low < 0.1);
    told.compared = false; /* how good the ratio may be: who knows what it puts out */
    EXPECT_INT(tune_judge(&told, 0.03).verdict, TUNE_MORE);
    told = reading(&rng, BLOCKS, 1);
    EXPECT_INT(tune_judge(&told, 0.05).verdict, TUNE_REFUSE_USELESS);
    told = reading(&rng, BLOCKS, 1.2);
    EXPECT_INT(tune_judge(&told, 0.03).verdict, TUNE_REFUSE_WORSE);
    told = reading(&rng, BLOCKS, 0.5);
    told.equal_output = false;
    EXPECT_INT(tune_judge(&told, 0.03).verdict, TUNE_REFUSE_OUTPUT);
}

/* Useless knobs: at most one round in twenty promotes any of its four. And intervals hold what they promise. */
TEST(tune_seldom_promotes_what_is_of_no_use)
{
    struct rng rng;
    int promoted = 0, covered = 0;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 1000; round++) {
        bool any = false;
        for (int k = 0; k < 4; k++) {
            struct tune_reading told = reading(&rng, BLOCKS, 1);
            struct tune_result r = tune_judge(&told, 0);
            any = any || r.verdict == TUNE_PROMOTE;
            covered += r.ratio_low <= 1 && 1 <= r.ratio_high;
        }
        promoted += any;
    }
    EXPECT_MSG(promoted <= 50, "%d of 1000", promoted);
    EXPECT_MSG(covered >= 4000 * 0.98, "%d of 4000", covered); /* at 1.25 % each: 98.75 % */
}

TEST(tune_tries_what_could_save_most_first)
{
    const struct tune_knob knobs[] = {
        {STR("w"), STR("cache"), TUNE_NUMBER, 100, 16, 1 << 20, NAN, 0.6, 0.9},
        {STR(""), STR("batch"), TUNE_NUMBER, 8, 1, 4096, NAN, 0.3, NAN},
        {STR("k"), STR("combine"), TUNE_SWITCH, 0, 0, 1, NAN, 0.8, 0.7},
        {STR("f"), STR("order"), TUNE_ORDER, 1, 0, 1, NAN, 0.5, 0.5},   /* as it should be */
        {STR("l"), STR("cache"), TUNE_NUMBER, 64, 64, 64, NAN, 0.5, 1}, /* no room */
        {STR("m"), STR("x"), TUNE_SWITCH, 0, 0, 1, NAN, 0.01, 1}};      /* nothing to save */
    struct tune_trial trials[16];
    int32_t n = tune_trials(knobs, 6, NULL, 0, trials, 16);
    EXPECT_INT(n, 5);
    EXPECT_INT(trials[0].knob, 2);
    EXPECT_NEAR(trials[0].value, 1, 0);
    EXPECT_INT(trials[1].knob, 0);
    EXPECT_NEAR(trials[1].value, 25, 0);
    EXPECT_NEAR(trials[2].value, 400, 0);
    EXPECT_INT(trials[3].knob, 1);
    uint64_t useless = tune_signature(&knobs[2], 1);
    EXPECT_INT(tune_trials(knobs, 6, &useless, 1, trials, 16), 4);
    EXPECT_INT(trials[0].knob, 0);
    EXPECT_INT(tune_trials(knobs, 6, NULL, 0, trials, 2), 2);
}

TEST(tune_judges_a_ratio_by_its_interval_widened_for_the_trials)
{
    struct tune_reading r = {.value = 0.8,
                             .low = 0.75,
                             .high = 0.86,
                             .stretches = 20,
                             .compared = true,
                             .equal_output = true,
                             .tried = 1};
    struct tune_result one = tune_judge(&r, 0.05);
    EXPECT_INT(one.verdict, TUNE_PROMOTE);
    EXPECT_NEAR(one.ratio_high, 0.86, 1e-9);
    r.tried = 20;
    struct tune_result many = tune_judge(&r, 0.05);
    EXPECT(many.ratio_high > one.ratio_high && many.ratio_low < one.ratio_low);
    r.high = 0.93; /* alone it were enough, as one of twenty it is not */
    r.tried = 1;
    EXPECT_INT(tune_judge(&r, 0.05).verdict, TUNE_PROMOTE);
    r.tried = 20;
    EXPECT_INT(tune_judge(&r, 0.05).verdict, TUNE_MORE);
    r = (struct tune_reading){0.995, 0.98, 1.01, 20, true, true, 1};
    EXPECT_INT(tune_judge(&r, 0.05).verdict, TUNE_REFUSE_USELESS);
    r = (struct tune_reading){1.1, 1.05, 1.15, 20, true, true, 1};
    EXPECT_INT(tune_judge(&r, 0.05).verdict, TUNE_REFUSE_WORSE);
    r.equal_output = false;
    EXPECT_INT(tune_judge(&r, 0.05).verdict, TUNE_REFUSE_OUTPUT);
    r = (struct tune_reading){NAN, NAN, NAN, 20, true, true, 1};
    EXPECT_INT(tune_judge(&r, 0.05).verdict, TUNE_MORE);
    r = (struct tune_reading){0.5,  0.4,  0.6, 3,
                              true, true, 1}; /* too few stretches for an interval */
    EXPECT_INT(tune_judge(&r, 0.05).verdict, TUNE_MORE);
}

TEST(tune_tries_the_usual_value_of_a_setting_that_is_not_usual)
{
    struct tune_trial trials[8];
    struct tune_knob knob = {.operator_name = STR("l"),
                             .name = STR("cache"),
                             .kind = TUNE_NUMBER,
                             .max = 1 << 28,
                             .usual = 65536,
                             .operator_share = 0.9,
                             .hint = NAN};
    int32_t count = tune_trials(&knob, 1, NULL, 0, trials, 8);
    bool usual = false;
    for (int32_t i = 0; i < count; i++) {
        usual = usual || fabs(trials[i].value - 65536) < 1e-9;
    }
    EXPECT(usual);
    knob.value = 65536 / 4; /* four times as much is the usual one: tried once */
    EXPECT_INT(tune_trials(&knob, 1, NULL, 0, trials, 8), 2);
    knob.value = 65536;
    EXPECT_INT(tune_trials(&knob, 1, NULL, 0, trials, 8), 2);
}
