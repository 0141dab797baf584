// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_TUNER_H
#define CONTROL_TUNER_H

#include "base/arena.h"
#include "control/shadows.h"
#include "node/map.h"
#include "prm/tune.h"

/* The tuner: when a shadow that nobody asked for has told which operators cost what, settings of those are tried, one after
 * the other, on candidates beside a baseline twin (prm/tune.h says which, and which are better); what is significantly better
 * is told to the manager's core, whose next plan may use it.
 *
 *   IDLE --> TRYING --> WAITING --> TRYING ... --> IDLE
 *
 *   from      to        when
 *   IDLE      TRYING    a shadow cast by itself has ended with an answer or at its time, its pipeline's mode is not observe, and
 *                       there is something to try
 *   TRYING    WAITING   the candidate of the next trial has begun
 *   TRYING    IDLE      no trial is left, the partition is another by now, or candidates were refused for too long
 *   WAITING   TRYING    the candidate has ended: judged
 *
 * Invariants:
 *   T1  At most one candidate of the tuner runs.
 *   T2  What was refused as useless, dearer or different is not tried again for a day.
 *   T3  Nothing of the live path is changed here: that is the plan's.
 *   T4  What is undecided is tried again, for twice the time, TUNER_ATTEMPTS_MAX times in all.
 *
 * Times are of the load's clock. */

enum {
    TUNER_TRIALS_MAX = 6, /* of one round: the test is corrected for them */
    TUNER_ATTEMPTS_MAX = 3,
    TUNER_USELESS_MAX = 64,
    TUNER_SETTING_MAX = 160
};

#define TUNER_STATES(X) \
    X(IDLE, "idle") \
    X(TRYING, "trying") \
    X(WAITING, "waiting")

enum tuner_state {
#define X(name, text) TUNER_##name,
    TUNER_STATES(X)
#undef X
        TUNER_STATE_COUNT
};

bool tuner_follows(enum tuner_state from, enum tuner_state to);

struct tuner_trial {
    char setting[TUNER_SETTING_MAX]; /* "l.cache=1048576" */
    uint64_t signature;
    int32_t attempts; /* that were undecided */
    int32_t knob;     /* of two good values of one knob the better one is told */
};

struct tuner {
    enum tuner_state state;
    bool started;
    int64_t seen; /* number of the last shadow that was looked at */
    /* the round */
    int32_t stage;
    const struct stage_plan *plan; /* another one: the layout has changed */
    struct partition_place place;
    struct tuner_trial trials[TUNER_TRIALS_MAX];
    int32_t trial_count, at;
    int64_t candidate;  /* under way */
    int64_t give_up_ns; /* a candidate that is refused is asked for until then */
    struct tune_result best[TUNER_TRIALS_MAX]; /* by trial; promoted or not */
    /* memory */
    struct {
        uint64_t signature;
        int64_t until_ns;
    } useless[TUNER_USELESS_MAX];
    int32_t useless_next;
    struct arena arena;
};

struct control;

void tuner_init(struct tuner *tuner);
void tuner_release(struct tuner *tuner);

/* Goes on as far as it can. Thread: control's loop. */
void tuner_step(struct control *control, struct tuner *tuner);

#endif
