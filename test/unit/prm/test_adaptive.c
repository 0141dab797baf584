// SPDX-License-Identifier: Apache-2.0
#include "prm/adaptive.h"

#include <math.h>
#include <stddef.h>

#include "base/rng.h"
#include "prm/profile.h"
#include "test.h"

#define S 1000000000LL

static struct estimate interval_of(double value, double half, double n)
{
    return (struct estimate){.value = value, .low = value - half, .high = value + half, .n = n};
}

TEST(adaptive_asks_for_more_confidence_with_each_judgement)
{
    struct adaptive adaptive;
    struct adaptive_settings settings = adaptive_settings_default(ADAPTIVE_ASK_COMPARE, 100);
    double confidence = 0, spent = 0, n = 1000;
    bool stop = false;
    adaptive_init(&adaptive, &settings, 10, 0);
    EXPECT(!adaptive_due(&adaptive, 999, &confidence));
    for (int k = 1; k <= 200; k++) {
        EXPECT(adaptive_due(&adaptive, n, &confidence));
        spent += 1 - confidence;
        struct estimate e = interval_of(1.05, 10, n);
        adaptive_judge(&adaptive, &e, true, 600 * S, k * S, &stop);
        EXPECT(!stop);
        EXPECT(!adaptive_due(&adaptive, n * 1.49, &confidence));
        n *= 1.5;
    }
    EXPECT(spent < settings.alpha);
    EXPECT(spent > 0.9 * settings.alpha);
}

TEST(adaptive_raises_only_while_the_interval_is_too_wide)
{
    struct adaptive adaptive;
    struct adaptive_settings settings = adaptive_settings_default(ADAPTIVE_ASK_PROFILE, 50);
    bool stop = true;
    adaptive_init(&adaptive, &settings, 10, 0);
    /* half of what is left of the time, and the width has to halve: four times as many records, twice are to come */
    struct estimate wide = interval_of(100, 20, 10000);
    EXPECT_NEAR(adaptive_judge(&adaptive, &wide, true, 200 * S, 100 * S, &stop), 20, 1e-9);
    EXPECT(!stop);
    EXPECT_INT(adaptive.steps[0].reason, ADAPTIVE_WIDE);
    /* the same width with much time left: it stays */
    struct estimate fair = interval_of(100, 12, 20000);
    EXPECT_NEAR(adaptive_judge(&adaptive, &fair, true, 2000 * S, 150 * S, &stop), 20, 1e-9);
    EXPECT_INT(adaptive.steps[1].reason, ADAPTIVE_STAY);
    struct estimate hopeless = interval_of(100, 90, 40000);
    EXPECT_NEAR(adaptive_judge(&adaptive, &hopeless, true, 200 * S, 190 * S, &stop), 40, 1e-9);
    EXPECT_NEAR(adaptive_judge(&adaptive, &hopeless, true, 200 * S, 191 * S, &stop), 50, 1e-9);
    EXPECT_NEAR(adaptive_judge(&adaptive, &hopeless, true, 200 * S, 192 * S, &stop), 50, 1e-9);
    EXPECT_INT(adaptive.steps[4].reason, ADAPTIVE_TOP);
    struct estimate narrow = interval_of(100, 9, 80000);
    EXPECT_NEAR(adaptive_judge(&adaptive, &narrow, false, 200 * S, 193 * S, &stop), 50, 1e-9);
    EXPECT(!stop); /* narrow, but which operator limits is open */
    EXPECT_NEAR(adaptive_judge(&adaptive, &narrow, true, 200 * S, 194 * S, &stop), 50, 1e-9);
    EXPECT(stop);
    EXPECT_INT(adaptive.verdict, VERDICT_KNOWN);
    EXPECT_INT(adaptive.steps[6].reason, ADAPTIVE_ANSWERED);
    EXPECT_INT(adaptive.step_count, 7);
}

TEST(adaptive_lowers_when_resources_are_short_and_does_not_try_that_again)
{
    struct adaptive adaptive;
    struct adaptive_settings settings = adaptive_settings_default(ADAPTIVE_ASK_PROFILE, 100);
    bool stop = false;
    adaptive_init(&adaptive, &settings, 10, 0);
    EXPECT_NEAR(adaptive_lower(&adaptive, 100, S), 5, 1e-9);
    EXPECT_INT(adaptive.steps[0].reason, ADAPTIVE_SHORT);
    struct estimate wide = interval_of(100, 90, 10000);
    EXPECT_NEAR(adaptive_judge(&adaptive, &wide, true, 20 * S, 19 * S, &stop), 5, 1e-9);
    for (int i = 0; i < 10; i++) {
        adaptive_lower(&adaptive, 100, S);
    }
    EXPECT_NEAR(adaptive.percent, 1, 1e-9);
    EXPECT_INT(adaptive.step_count, 5); /* the lowest one is no step */
}

TEST(adaptive_answers_by_the_whole_interval)
{
    static const struct {
        double value, half;
        enum adaptive_verdict verdict;
    } cases[] = {{0.8, 0.1, VERDICT_BETTER}, {0.8, 0.2, VERDICT_OPEN},  {1.2, 0.1, VERDICT_WORSE},
                 {1.0, 0.04, VERDICT_SAME},  {1.0, 0.06, VERDICT_OPEN}, {0.96, 0.02, VERDICT_OPEN}};
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        struct adaptive adaptive;
        struct adaptive_settings settings = adaptive_settings_default(ADAPTIVE_ASK_COMPARE, 10);
        struct estimate e = interval_of(cases[i].value, cases[i].half, 5000);
        bool stop = false;
        adaptive_init(&adaptive, &settings, 10, 0);
        adaptive_judge(&adaptive, &e, true, 600 * S, S, &stop);
        EXPECT_INT(adaptive.verdict, cases[i].verdict);
        EXPECT_INT(stop, cases[i].verdict != VERDICT_OPEN);
    }
    struct adaptive adaptive;
    struct adaptive_settings settings = adaptive_settings_default(ADAPTIVE_ASK_COMPARE, 10);
    struct estimate none = {(double)NAN, (double)NAN, (double)NAN, 5000};
    bool stop = true;
    adaptive_init(&adaptive, &settings, 10, 0);
    adaptive_judge(&adaptive, &none, true, 600 * S, S, &stop);
    EXPECT(!stop);
}

/* The truth lies exactly on the margin, the worst place: any answer but open is false. One run judges dozens of times. */
static bool answers_falsely(struct rng *rng, bool spends)
{
    struct adaptive adaptive;
    struct adaptive_settings settings = adaptive_settings_default(ADAPTIVE_ASK_COMPARE, 10);
    static struct twin_looks looks;
    bool stop = false;
    adaptive_init(&adaptive, &settings, 10, 0);
    twin_init(&looks);
    for (int i = 1; i <= 600 && !stop; i++) {
        double rows = 100;
        double confidence = 0.95;
        struct twin_side own = {.rows = rows, .cpu_ns = rows * 95 * (1 + 0.2 * rng_normal(rng))};
        struct twin_side base = {.rows = rows, .cpu_ns = rows * 100 * (1 + 0.2 * rng_normal(rng))};
        twin_add(&looks, &own, &base);
        bool due = adaptive_due(&adaptive, rows * i, &confidence);
        if (spends ? due : i >= 10) {
            struct estimate e = twin_ratio(&looks, spends ? confidence : 0.95);
            adaptive_judge(&adaptive, &e, true, 600 * S, i * S, &stop);
        }
    }
    return adaptive.verdict == VERDICT_BETTER || adaptive.verdict == VERDICT_SAME;
}

TEST(adaptive_is_wrong_no_more_often_than_it_says_however_often_it_looks)
{
    struct rng rng;
    int wrong = 0, wrong_without = 0;
    rng_init(&rng, 41);
    for (int i = 0; i < 400; i++) {
        wrong += answers_falsely(&rng, true);
        wrong_without += answers_falsely(&rng, false);
    }
    EXPECT_MSG(wrong <= 400 * 6 / 100, "%d of 400", wrong);
    /* that this is no matter of course: plain 95 % intervals at every look */
    EXPECT_MSG(wrong_without > 400 * 12 / 100, "%d of 400", wrong_without);
}

TEST(adaptive_names_are_all_there)
{
    for (int i = 0; i < ADAPTIVE_REASON_COUNT; i++) {
        EXPECT(adaptive_reason_name((enum adaptive_reason)i)[0] != 0);
        EXPECT(adaptive_reason_help((enum adaptive_reason)i)[0] != 0);
    }
    for (int i = 0; i < ADAPTIVE_VERDICT_COUNT; i++) {
        EXPECT(adaptive_verdict_name((enum adaptive_verdict)i)[0] != 0);
        EXPECT(adaptive_verdict_help((enum adaptive_verdict)i)[0] != 0);
    }
    for (int i = 0; i < ADAPTIVE_QUESTION_COUNT; i++) {
        EXPECT(adaptive_question_name((enum adaptive_question)i)[0] != 0);
    }
}
