// SPDX-License-Identifier: Apache-2.0
#include "prm/shadow.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "base/str.h"
#include "test.h"

#define S           SHADOW_SECOND_NS
#define NOT_KNOWN   ((double)NAN)
#define DURATION_NS (600 * S)

static const struct shadow_guard no_guard;

/* --- transitions: the table of the header, written down a second time as text --- */

struct expected {
    const char *from, *event, *to;
    enum life_action action;
    const char *outcome;
};

static const struct expected table[] = {
    {"wanted", "begin", "opening", LIFE_DO_OPEN, ""},
    {"wanted", "refused", "ended", LIFE_DO_NOTHING, "refused"},
    {"wanted", "stop", "ended", LIFE_DO_NOTHING, "request"},
    {"wanted", "layout", "ended", LIFE_DO_NOTHING, "layout_changed"},
    {"wanted", "restart", "ended", LIFE_DO_NOTHING, "restart"},
    {"opening", "opened", "warming", LIFE_DO_NOTHING, ""},
    {"opening", "failed", "ended", LIFE_DO_NOTHING, "failed"},
    {"opening", "stop", "opening", LIFE_DO_NOTHING, "request"},
    {"opening", "layout", "opening", LIFE_DO_NOTHING, "layout_changed"},
    {"opening", "restart", "ended", LIFE_DO_NOTHING, "restart"},
    {"warming", "warm", "measuring", LIFE_DO_NOTHING, ""},
    {"warming", "stop", "ending", LIFE_DO_CLOSE, "request"},
    {"warming", "layout", "ending", LIFE_DO_CLOSE, "layout_changed"},
    {"warming", "answered", "ending", LIFE_DO_CLOSE, "answered"},
    {"warming", "short", "ending", LIFE_DO_CLOSE, "resources"},
    {"warming", "broken", "ending", LIFE_DO_CLOSE, "failed"},
    {"warming", "lost", "ended", LIFE_DO_NOTHING, "failed"},
    {"warming", "restart", "ended", LIFE_DO_NOTHING, "restart"},
    {"measuring", "stop", "ending", LIFE_DO_CLOSE, "request"},
    {"measuring", "layout", "ending", LIFE_DO_CLOSE, "layout_changed"},
    {"measuring", "answered", "ending", LIFE_DO_CLOSE, "answered"},
    {"measuring", "short", "ending", LIFE_DO_CLOSE, "resources"},
    {"measuring", "broken", "ending", LIFE_DO_CLOSE, "failed"},
    {"measuring", "lost", "ended", LIFE_DO_NOTHING, "failed"},
    {"measuring", "restart", "ended", LIFE_DO_NOTHING, "restart"},
    {"paused", "stop", "ending", LIFE_DO_CLOSE, "request"},
    {"paused", "layout", "ending", LIFE_DO_CLOSE, "layout_changed"},
    {"paused", "answered", "ending", LIFE_DO_CLOSE, "answered"},
    {"paused", "short", "ending", LIFE_DO_CLOSE, "resources"},
    {"paused", "broken", "ending", LIFE_DO_CLOSE, "failed"},
    {"paused", "lost", "ended", LIFE_DO_NOTHING, "failed"},
    {"paused", "restart", "ended", LIFE_DO_NOTHING, "restart"},
    {"ending", "closed", "ended", LIFE_DO_NOTHING, "request"},
    {"ending", "lost", "ended", LIFE_DO_NOTHING, "request"},
    {"ending", "restart", "ended", LIFE_DO_NOTHING, "request"},
};

static void look_at(struct shadow_guard *guard, int64_t age_ns, double memory)
{
    shadow_guard_look(guard,
                      &(struct live_look){.age_ns = age_ns, .bound_ns = 2 * S, .memory = memory});
}

/* A guard in which `over` of the looks were above the bound. */
static struct shadow_guard guard_of(int over)
{
    struct shadow_guard guard = {.calm = 0};
    for (int i = 0; i < over; i++) {
        look_at(&guard, 3 * S, NOT_KNOWN);
    }
    return guard;
}

static struct shadow_life life_in(enum life_state state)
{
    struct shadow_life shadow;
    struct shadow_guard pressed = guard_of(2);
    life_init(&shadow, DURATION_NS);
    if (state >= LIFE_OPENING) {
        CHECK(life_take(&shadow, LIFE_EVENT_BEGIN, S) == LIFE_DO_OPEN);
    }
    if (state >= LIFE_WARMING) {
        CHECK(life_take(&shadow, LIFE_EVENT_OPENED, 2 * S) == LIFE_DO_NOTHING);
    }
    if (state >= LIFE_MEASURING) {
        CHECK(life_take(&shadow, LIFE_EVENT_WARM, 3 * S) == LIFE_DO_NOTHING);
    }
    if (state == LIFE_PAUSED) {
        CHECK(life_tick(&shadow, &pressed, 4 * S) == LIFE_DO_PAUSE);
    }
    if (state >= LIFE_ENDING) {
        CHECK(life_take(&shadow, LIFE_EVENT_STOP, 5 * S) == LIFE_DO_CLOSE);
    }
    if (state == LIFE_ENDED) {
        CHECK(life_take(&shadow, LIFE_EVENT_CLOSED, 6 * S) == LIFE_DO_NOTHING);
    }
    CHECK(shadow.state == state);
    return shadow;
}

TEST(shadow_takes_exactly_the_transitions_of_its_table)
{
    int taken = 0;
    for (int state = 0; state < LIFE_STATE_COUNT; state++) {
        for (int event = 0; event < LIFE_EVENT_COUNT; event++) {
            struct shadow_life shadow = life_in((enum life_state)state);
            const struct expected *want = NULL;
            for (ptrdiff_t i = 0; i < COUNT_OF(table); i++) {
                if (strcmp(table[i].from, life_state_name((enum life_state)state)) == 0 &&
                    strcmp(table[i].event, life_event_name((enum life_event)event)) == 0) {
                    want = &table[i];
                }
            }
            EXPECT_INT(life_takes(&shadow, (enum life_event)event), want != NULL);
            enum life_action action = life_take(&shadow, (enum life_event)event, 10 * S);
            EXPECT_STR(str_of(life_state_name(shadow.state)),
                       str_of(want != NULL ? want->to : life_state_name((enum life_state)state)));
            EXPECT_INT(action, want != NULL ? want->action : LIFE_DO_NOTHING);
            if (want != NULL) {
                EXPECT_STR(str_of(life_outcome_name(shadow.outcome)), str_of(want->outcome));
                taken++;
            }
        }
    }
    EXPECT_INT(taken, COUNT_OF(table));
}

TEST(shadow_that_was_told_to_end_while_it_opens_is_closed_when_it_is_open)
{
    struct shadow_life shadow = life_in(LIFE_OPENING);
    EXPECT_INT(life_take(&shadow, LIFE_EVENT_LAYOUT, 4 * S), LIFE_DO_NOTHING);
    EXPECT_INT(life_take(&shadow, LIFE_EVENT_STOP, 5 * S), LIFE_DO_NOTHING);
    EXPECT_INT(life_take(&shadow, LIFE_EVENT_OPENED, 6 * S), LIFE_DO_CLOSE);
    EXPECT_INT(shadow.state, LIFE_ENDING);
    EXPECT_INT(life_take(&shadow, LIFE_EVENT_CLOSED, 7 * S), LIFE_DO_NOTHING);
    EXPECT_INT(shadow.outcome, LIFE_END_LAYOUT_CHANGED);
    EXPECT(shadow.partial);
}

TEST(shadow_ends_at_its_duration_and_is_not_partial)
{
    struct shadow_life shadow = life_in(LIFE_MEASURING);
    EXPECT_INT(life_due_ns(&shadow), 2 * S + DURATION_NS);
    EXPECT_INT(life_tick(&shadow, &no_guard, 2 * S + DURATION_NS - 1), LIFE_DO_NOTHING);
    EXPECT_INT(life_tick(&shadow, &no_guard, 2 * S + DURATION_NS), LIFE_DO_CLOSE);
    EXPECT_INT(life_take(&shadow, LIFE_EVENT_CLOSED, 700 * S), LIFE_DO_NOTHING);
    EXPECT_INT(shadow.outcome, LIFE_END_DURATION);
    EXPECT(!shadow.partial);
    EXPECT_INT(shadow.ended_ns, 700 * S);
}

TEST(shadow_pauses_under_pressure_and_goes_on_where_it_was)
{
    struct shadow_guard guard = guard_of(1);
    struct shadow_life shadow = life_in(LIFE_WARMING);
    EXPECT_INT(life_tick(&shadow, &guard, 10 * S),
               LIFE_DO_NOTHING); /* 1 of 128 is no 99th percentile */
    look_at(&guard, 3 * S, 0.1);
    EXPECT_INT(life_tick(&shadow, &guard, 11 * S), LIFE_DO_PAUSE);
    for (int i = 0; i < 9; i++) {
        look_at(&guard, S, 0.1);
        EXPECT_INT(life_tick(&shadow, &guard, (12 + i) * S), LIFE_DO_NOTHING);
    }
    look_at(&guard, S, 0.1);
    EXPECT_INT(life_tick(&shadow, &guard, 21 * S), LIFE_DO_RESUME);
    EXPECT_INT(shadow.state, LIFE_WARMING);
    EXPECT_INT(shadow.pauses_ns, 10 * S);
    EXPECT_INT(life_tick(&shadow, &guard, 22 * S), LIFE_DO_NOTHING);
}

TEST(shadow_ends_when_the_pressure_lasts)
{
    struct shadow_guard guard = guard_of(2);
    struct shadow_life shadow = life_in(LIFE_PAUSED);
    EXPECT_INT(life_tick(&shadow, &guard, 4 * S + shadow.pause_max_ns - 1), LIFE_DO_NOTHING);
    EXPECT_INT(life_tick(&shadow, &guard, 4 * S + shadow.pause_max_ns), LIFE_DO_CLOSE);
    EXPECT_INT(shadow.outcome, LIFE_END_RESOURCES);
}

TEST(shadow_pauses_at_low_memory_once_then_ends)
{
    struct shadow_guard guard = {.calm = 0};
    struct shadow_life shadow = life_in(LIFE_MEASURING);
    look_at(&guard, S, 0.95);
    EXPECT_INT(life_tick(&shadow, &guard, 10 * S), LIFE_DO_PAUSE);
    for (int i = 0; i < 10; i++) {
        look_at(&guard, S, 0.5);
    }
    EXPECT_INT(life_tick(&shadow, &guard, 20 * S), LIFE_DO_RESUME);
    look_at(&guard, S, 0.95);
    EXPECT_INT(life_tick(&shadow, &guard, 21 * S), LIFE_DO_CLOSE);
    EXPECT_INT(shadow.outcome, LIFE_END_RESOURCES);
}

/* Whatever comes in whatever order: S1 to S6, told apart by a keeper that counts opens and closes. */
/* Its 99th percentile is what counts: a hundredth of the records may be late, one more may not, wherever the looks fall. */
TEST(late_records_press_the_guard_when_they_are_more_than_a_hundredth)
{
    struct shadow_guard guard = {.calm = 0};
    struct live_look look = {.age_ns = S, .bound_ns = 2 * S, .records = 1000, .memory = 0.1};
    for (int i = 0; i < SHADOW_GUARD_LOOKS - 1; i++) {
        look.late = i % 4 == 3 ? 40 : 0; /* never more than ten a look */
        shadow_guard_look(&guard, &look);
        EXPECT(!shadow_guard_pressed(&guard));
    }
    look.late = 41;
    shadow_guard_look(&guard, &look);
    EXPECT(shadow_guard_pressed(&guard));
    look.late = 0;
    for (int i = 0; i < 4; i++) { /* the window moves on: what is two minutes old is forgotten */
        EXPECT(shadow_guard_pressed(&guard));
        shadow_guard_look(&guard, &look);
    }
    EXPECT(!shadow_guard_pressed(&guard));
    EXPECT(!shadow_guard_calm(&guard));
    for (int i = 0; i < 6; i++) {
        shadow_guard_look(&guard, &look);
    }
    EXPECT(shadow_guard_calm(&guard));
}

TEST(shadow_keeps_its_invariants_over_random_events)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    int outcomes[LIFE_OUTCOME_COUNT] = {0};
    for (int run = 0; run < 20000; run++) {
        struct shadow_life shadow;
        struct shadow_guard guard = {.calm = 0};
        int64_t now_ns = S, opened_ns = 0, paused_ns = 0;
        int open = 0;
        life_init(&shadow, (int64_t)rng_range(&rng, 10, 100) * S);
        enum life_outcome first = LIFE_END_NONE;
        for (int i = 0; i < 400 && shadow.state != LIFE_ENDED; i++) {
            now_ns += S;
            look_at(&guard, rng_chance(&rng, 0.05) ? 3 * S : S,
                    rng_chance(&rng, 0.01) ? 0.95 : 0.2);
            enum life_state before = shadow.state;
            bool tick = rng_chance(&rng, 0.9);
            enum life_event event = (enum life_event)rng_below(&rng, LIFE_EVENT_COUNT);
            /* Node answers each open once, and each close once. */
            bool legal = event == LIFE_EVENT_OPENED || event == LIFE_EVENT_FAILED
                             ? before == LIFE_OPENING
                         : event == LIFE_EVENT_CLOSED ? before == LIFE_ENDING
                                                      : true;
            enum life_action action = tick    ? life_tick(&shadow, &guard, now_ns)
                                      : legal ? life_take(&shadow, event, now_ns)
                                              : LIFE_DO_NOTHING;
            if (before == LIFE_OPENING &&
                (shadow.state == LIFE_WARMING || shadow.state == LIFE_ENDING)) {
                open++;
                opened_ns = now_ns;
            }
            bool gone = open == 1 && (action == LIFE_DO_CLOSE ||
                                      (shadow.state == LIFE_ENDED && before != LIFE_ENDING));
            open -= gone;
            EXPECT(open == 0 || open == 1);
            EXPECT(shadow.state != LIFE_ENDED || open == 0); /* S2 */
            bool is_open = shadow.state == LIFE_WARMING || shadow.state == LIFE_MEASURING ||
                           shadow.state == LIFE_PAUSED;
            EXPECT(is_open == (open == 1));
            EXPECT(!is_open || !tick || now_ns - opened_ns < shadow.duration_ns); /* S3 */
            paused_ns = shadow.state != LIFE_PAUSED ? 0 : paused_ns != 0 ? paused_ns : now_ns;
            EXPECT(paused_ns == 0 || !tick || now_ns - paused_ns < shadow.pause_max_ns); /* S4 */
            EXPECT(first == LIFE_END_NONE || shadow.outcome == first);                   /* S5 */
            first = shadow.outcome;
            life_check_state(&shadow);
        }
        outcomes[shadow.state == LIFE_ENDED ? shadow.outcome : LIFE_END_NONE]++;
    }
    for (int i = 1; i < LIFE_OUTCOME_COUNT; i++) {
        EXPECT_MSG(outcomes[i] > 0, "%s never happened", life_outcome_name((enum life_outcome)i));
    }
}

/* --- trigger --- */

static const struct shadow_load cool = {0.2, 0.2, 0.1, NOT_KNOWN, NOT_KNOWN};

TEST(trigger_wants_a_streak_without_a_break)
{
    struct shadow_settings settings = shadow_settings_default();
    struct shadow_trigger trigger;
    struct shadow_load hot = cool;
    enum life_cause cause = LIFE_CAUSE_PERSON;
    hot.demand = 0.71;
    shadow_trigger_init(&trigger);
    for (int i = 0; i < 59; i++) {
        EXPECT(!shadow_trigger_look(&trigger, &settings, &hot, i * S, &cause));
    }
    EXPECT(!shadow_trigger_look(&trigger, &settings, &cool, 59 * S, &cause));
    for (int i = 60; i < 120; i++) {
        EXPECT(!shadow_trigger_look(&trigger, &settings, &hot, i * S, &cause));
    }
    EXPECT(shadow_trigger_look(&trigger, &settings, &hot, 120 * S, &cause));
    EXPECT_INT(cause, LIFE_CAUSE_DEMAND);
}

TEST(trigger_looks_at_each_use_by_itself)
{
    struct shadow_settings settings = shadow_settings_default();
    enum life_cause causes[] = {LIFE_CAUSE_LANE, LIFE_CAUSE_DEMAND, LIFE_CAUSE_MEMORY,
                                LIFE_CAUSE_IO, LIFE_CAUSE_FORECAST};
    settings.sustain_ns = S;
    for (int i = 0; i < 5; i++) {
        struct shadow_trigger trigger;
        struct shadow_load load = cool;
        double *uses[] = {&load.lane, &load.demand, &load.memory, &load.io, &load.forecast};
        enum life_cause cause = LIFE_CAUSE_PERSON;
        *uses[i] = 0.9;
        shadow_trigger_init(&trigger);
        EXPECT(!shadow_trigger_look(&trigger, &settings, &load, 5 * S, &cause));
        EXPECT(shadow_trigger_look(&trigger, &settings, &load, 6 * S, &cause));
        EXPECT_INT(cause, causes[i]);
    }
}

TEST(trigger_takes_no_gap_for_heat)
{
    struct shadow_settings settings = shadow_settings_default();
    struct shadow_trigger trigger;
    struct shadow_load hot = cool, blind = {NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN};
    enum life_cause cause = LIFE_CAUSE_PERSON;
    hot.lane = 5;
    shadow_trigger_init(&trigger);
    EXPECT(!shadow_trigger_look(&trigger, &settings, &hot, 0, &cause));
    EXPECT(!shadow_trigger_look(&trigger, &settings, &blind, 59 * S, &cause));
    EXPECT(!shadow_trigger_look(&trigger, &settings, &hot, 60 * S, &cause));
    EXPECT(!shadow_trigger_look(&trigger, &settings, &hot, 119 * S, &cause));
    EXPECT(shadow_trigger_look(&trigger, &settings, &hot, 120 * S, &cause));
}

TEST(trigger_rests_after_a_shadow_and_when_it_is_switched_off)
{
    struct shadow_settings settings = shadow_settings_default();
    struct shadow_trigger trigger;
    struct shadow_load hot = cool;
    enum life_cause cause = LIFE_CAUSE_PERSON;
    hot.lane = 0.9;
    shadow_trigger_init(&trigger);
    EXPECT(!shadow_trigger_look(&trigger, &settings, &hot, 0, &cause));
    settings.automatic = false;
    EXPECT(!shadow_trigger_look(&trigger, &settings, &hot, 100 * S, &cause));
    settings.automatic = true;
    EXPECT(shadow_trigger_look(&trigger, &settings, &hot, 101 * S, &cause));
    shadow_trigger_rest(&trigger, 101 * S, 300 * S);
    EXPECT(!shadow_trigger_look(&trigger, &settings, &hot, 200 * S, &cause));
    EXPECT(!shadow_trigger_look(&trigger, &settings, &hot, 400 * S, &cause));
    EXPECT(shadow_trigger_look(&trigger, &settings, &hot, 401 * S, &cause));
}

/* --- settings, budget --- */

TEST(settings_say_what_is_allowed)
{
    struct shadow_settings settings = shadow_settings_default();
    struct err_info info;
    EXPECT_INT(shadow_settings_check(&settings, &info), ERR_OK);
    settings.percent = 0;
    EXPECT_INT(shadow_settings_check(&settings, &info), ERR_INVALID);
    EXPECT(strstr(info.text, "1 to 100") != NULL);
    settings.percent = NOT_KNOWN;
    EXPECT_INT(shadow_settings_check(&settings, &info), ERR_INVALID);
    settings = shadow_settings_default();
    settings.duration_ns = 9 * S;
    EXPECT_INT(shadow_settings_check(&settings, &info), ERR_INVALID);
    EXPECT(strstr(info.text, "10 seconds to 24 hours") != NULL);
    settings = shadow_settings_default();
    settings.threshold = 11;
    EXPECT_INT(shadow_settings_check(&settings, &info), ERR_INVALID);
    settings = shadow_settings_default();
    settings.sustain_ns = -1;
    EXPECT_INT(shadow_settings_check(&settings, &info), ERR_INVALID);
    settings = shadow_settings_default();
    settings.budget_share = 0;
    EXPECT_INT(shadow_settings_check(&settings, &info), ERR_INVALID);
    settings = shadow_settings_default();
    settings.budget_cores = 65;
    EXPECT_INT(shadow_settings_check(&settings, &info), ERR_INVALID);
}

TEST(budget_is_shared_and_refused_when_nothing_useful_is_left)
{
    struct shadow_settings settings = shadow_settings_default();
    struct err_info info;
    double share = 0;
    EXPECT_NEAR(shadow_budget_cores(&settings, 0.5), 0.1, 1e-12);
    EXPECT_NEAR(shadow_budget_cores(&settings, 4), 0.2, 1e-12);
    EXPECT_NEAR(shadow_budget_cores(&settings, NOT_KNOWN), 0.1, 1e-12);
    EXPECT_INT(shadow_budget_admit(&settings, 4, 0, &share, &info), ERR_OK);
    EXPECT_NEAR(share, 0.2, 1e-12);
    EXPECT_INT(shadow_budget_admit(&settings, 0.5, 9, &share, &info), ERR_OK);
    EXPECT_NEAR(share, 0.01, 1e-12);
    EXPECT_INT(shadow_budget_admit(&settings, 0.5, 10, &share, &info), ERR_LIMIT);
    EXPECT(strstr(info.text, "over budget") != NULL);
}

TEST(names_find_back)
{
    for (int i = 0; i < LIFE_STATE_COUNT; i++) {
        enum life_state state;
        EXPECT(life_state_named(life_state_name((enum life_state)i), &state));
        EXPECT_INT(state, i);
    }
    for (int i = 0; i < LIFE_OUTCOME_COUNT; i++) {
        enum life_outcome outcome;
        EXPECT(life_outcome_named(life_outcome_name((enum life_outcome)i), &outcome));
        EXPECT_INT(outcome, i);
        EXPECT(life_outcome_help(outcome)[0] != 0);
    }
    for (int i = 0; i < LIFE_CAUSE_COUNT; i++) {
        enum life_cause cause;
        EXPECT(life_cause_named(life_cause_name((enum life_cause)i), &cause));
        EXPECT_INT(cause, i);
        EXPECT(life_cause_help(cause)[0] != 0);
    }
    EXPECT(!life_state_named("asleep", &(enum life_state){0}));
}
