// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_SHADOW_H
#define PRM_SHADOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* The life of a shadow, and when one is cast. Pure: what is seen and the time come in as arguments, what is to be done
 * comes back as an action; control carries it out, node runs the shadow.
 *
 *            REFUSED, RESTART                      pressure
 *   WANTED -----------------> ENDED      +------------------------> PAUSED
 *     | BEGIN                   ^        |   <-- relief (to where   | |
 *     v            FAILED, LOST |        |        it was) ----------+ |
 *   OPENING -------------------+|        |                            |
 *     | OPENED                 |||       |                            |
 *     v          LOST          |||       |                            |
 *   WARMING -------------------+||-------+                            |
 *     | WARM                    ||       |                            |
 *     v          LOST           ||       |                            |
 *   MEASURING ------------------+|-------+                            |
 *     |                          |                                    |
 *     | ANSWERED, STOP, LAYOUT, SHORT, BROKEN, the duration, the guard|
 *     +--------------> ENDING ---+ <----------------------------------+
 *                              CLOSED
 *
 *   from      by                      to        action
 *   WANTED    BEGIN                   OPENING   OPEN
 *   WANTED    REFUSED, STOP, LAYOUT   ENDED     -
 *   OPENING   OPENED                  WARMING   -        (an end that came meanwhile: ENDING, CLOSE)
 *   OPENING   FAILED                  ENDED     -
 *   OPENING   STOP, LAYOUT            OPENING   -        (remembered: S5)
 *   WARMING   WARM                    MEASURING -
 *   WARMING, MEASURING, PAUSED
 *             STOP, LAYOUT, ANSWERED  ENDING    CLOSE
 *             SHORT (its lane has no memory for it), BROKEN (it cannot go on there)
 *                                     ENDING    CLOSE
 *             LOST                    ENDED     -
 *   ENDING    CLOSED, LOST            ENDED     -
 *   any       RESTART                 ENDED     -
 *   by life_tick():
 *   WARMING, MEASURING  pressure      PAUSED    PAUSE
 *   PAUSED              relief        as before RESUME
 *   WARMING, MEASURING, PAUSED  duration over; memory low a second time; paused too long
 *                                     ENDING    CLOSE
 *
 * Invariants:
 *   S1  ENDED is final, has an outcome, and is reached exactly once; no other state has ended_ns.
 *   S2  Every OPEN that succeeded is followed by exactly one CLOSE or LOST: nothing of a shadow stays behind.
 *   S3  A shadow is open for at most its duration from OPENED on, pauses included, however it goes.
 *   S4  Under pressure that lasts, it is PAUSED at the next tick and ENDING at most `pause_max_ns` later.
 *   S5  The first reason to end is the outcome; later ones change nothing.
 *   S6  `partial` iff it ended before its question was answered or its duration over. */

#define LIFE_STATES(X) \
    X(WANTED, "wanted") \
    X(OPENING, "opening") \
    X(WARMING, "warming") \
    X(MEASURING, "measuring") \
    X(PAUSED, "paused") \
    X(ENDING, "ending") \
    X(ENDED, "ended")

#define LIFE_OUTCOMES(X) \
    X(NONE, "", "it has not ended") \
    X(ANSWERED, "answered", "its question is answered") \
    X(DURATION, "duration", "its time is over") \
    X(REQUEST, "request", "it was asked to end") \
    X(RESOURCES, "resources", "the live path needed what it used") \
    X(LAYOUT_CHANGED, "layout_changed", "its partition is not the same any more") \
    X(RESTART, "restart", "the process ended while it ran") \
    X(REFUSED, "refused", "it could not be begun") \
    X(FAILED, "failed", "it could not go on")

#define LIFE_EVENTS(X) \
    X(BEGIN, "begin") \
    X(REFUSED, "refused") \
    X(OPENED, "opened") \
    X(FAILED, "failed") \
    X(WARM, "warm") \
    X(ANSWERED, "answered") \
    X(STOP, "stop") \
    X(LAYOUT, "layout") \
    X(SHORT, "short") \
    X(BROKEN, "broken") \
    X(LOST, "lost") \
    X(CLOSED, "closed") \
    X(RESTART, "restart")

#define LIFE_CAUSES(X) \
    X(PERSON, "person", "somebody asked for it") \
    X(LANE, "lane", "utilisation of its lane") \
    X(DEMAND, "demand", "demand of the partition") \
    X(MEMORY, "memory", "state of the pipeline against its limit") \
    X(IO, "io", "bytes a second against what the disk can do") \
    X(FORECAST, "forecast", "one of these is forecast") \
    X(MANAGER, "manager", "the manager's plan needs it")

enum life_state {
#define X(name, text) LIFE_##name,
    LIFE_STATES(X)
#undef X
        LIFE_STATE_COUNT
};

enum life_outcome {
#define X(name, text, help) LIFE_END_##name,
    LIFE_OUTCOMES(X)
#undef X
        LIFE_OUTCOME_COUNT
};

enum life_event {
#define X(name, text) LIFE_EVENT_##name,
    LIFE_EVENTS(X)
#undef X
        LIFE_EVENT_COUNT
};

enum life_cause {
#define X(name, text, help) LIFE_CAUSE_##name,
    LIFE_CAUSES(X)
#undef X
        LIFE_CAUSE_COUNT
};

enum life_action { LIFE_DO_NOTHING, LIFE_DO_OPEN, LIFE_DO_PAUSE, LIFE_DO_RESUME, LIFE_DO_CLOSE };

const char *life_state_name(enum life_state state);
const char *life_outcome_name(enum life_outcome outcome);
const char *life_outcome_help(enum life_outcome outcome);
const char *life_event_name(enum life_event event);
const char *life_cause_name(enum life_cause cause);
const char *life_cause_help(enum life_cause cause);

/* What a name stands for; false: none has it. */
bool life_state_named(const char *name, enum life_state *ret_state);
bool life_outcome_named(const char *name, enum life_outcome *ret_outcome);
bool life_cause_named(const char *name, enum life_cause *ret_cause);

/* ---- settings ---- */

#define SHADOW_SECOND_NS       1000000000LL
#define SHADOW_DURATION_NS_MIN (10 * SHADOW_SECOND_NS)
#define SHADOW_DURATION_NS_MAX (86400 * SHADOW_SECOND_NS)
enum { SHADOW_PERCENT_MIN = 1, SHADOW_PERCENT_MAX = 100 };

/* How a pipeline's partitions get shadows: `shadowing:` of the configuration, changed by the API while it runs. */
struct shadow_settings {
    bool automatic;     /* cast by threshold and forecast; a person may always */
    double percent;     /* of the primary's records, 1..100 */
    double threshold;   /* of any utilisation, 0.01..10 */
    int64_t sustain_ns; /* for so long, 0..1 d */
    int64_t duration_ns;
    double budget_share; /* of the pipeline's own CPU, all its shadows together, 0.001..1 */
    double budget_cores; /* but so much is always allowed, 0.001..64 */
};

/* Default: 70 % for 60 s, 10 % of the records for 10 minutes, max(5 %, a tenth of a core). */
struct shadow_settings shadow_settings_default(void);

/* Errors: INVALID, one line that says what is allowed. */
ATTR_NODISCARD enum err shadow_settings_check(const struct shadow_settings *settings,
                                              struct err_info *info);
ATTR_NODISCARD enum err shadow_percent_check(double percent, struct err_info *info);
ATTR_NODISCARD enum err shadow_duration_check(int64_t duration_ns, struct err_info *info);

/* ---- trigger: one partition ---- */

/* What it uses, as ratios of what there is; NaN: not known. design.md section 5 defines them. */
struct shadow_load {
    double lane;     /* utilisation of its lane */
    double demand;   /* of the partition */
    double memory;   /* state of the pipeline / its limit */
    double io;       /* bytes per second / what the disk can do */
    double forecast; /* highest of these that is forecast within the horizon */
};

/* Since when each was above the threshold without a break. All zeros but for what shadow_trigger_init sets. */
struct shadow_trigger {
    int64_t since_ns[LIFE_CAUSE_COUNT]; /* INT64_MAX: it is not */
    int64_t quiet_until_ns;             /* after a shadow ended: not before */
};

void shadow_trigger_init(struct shadow_trigger *trigger);

/* Looks at the load as of `now_ns`. True: a shadow is to be cast, `*ret_cause` says for what. What is not known ends a
 * streak: a gap is no evidence of heat. A forecast needs no sustained time, as it speaks of one to come, but two looks. */
bool shadow_trigger_look(struct shadow_trigger *trigger, const struct shadow_settings *settings,
                         const struct shadow_load *load, int64_t now_ns,
                         enum life_cause *ret_cause);

/* A shadow of the partition was cast or has ended: the next one not before `quiet_ns` have passed. */
void shadow_trigger_rest(struct shadow_trigger *trigger, int64_t now_ns, int64_t quiet_ns);

/* ---- guard: the live path of one pipeline ---- */

enum { SHADOW_GUARD_LOOKS = 128 };

/* Whether the 99th percentile of the live latency is above its bound, over the last two minutes of looks a second apart. Two
 * ways to see it, either is enough: more than a hundredth of the records were committed too late, or, where nothing is
 * committed at all, the oldest record was too old in 2 of the last 128 looks. */
struct shadow_guard {
    uint64_t over[SHADOW_GUARD_LOOKS / 64]; /* bits, newest lowest: its oldest record was too old */
    int64_t records[SHADOW_GUARD_LOOKS], late[SHADOW_GUARD_LOOKS]; /* a ring */
    int64_t record_sum, late_sum;                                  /* of it */
    int32_t at;   /* the oldest one, the next to go */
    int32_t calm; /* looks in a row without late records, the age below four fifths of the bound */
    bool memory_low; /* at the last look */
};

/* One look at a pipeline. */
struct live_look {
    int64_t age_ns;   /* of its oldest record not yet committed */
    int64_t bound_ns; /* its objective, > 0 */
    int64_t records;  /* committed since the last look, >= 0 */
    int64_t late; /* of them, in commits whose oldest record was older than the bound; 0..records */
    double memory; /* its state / its limit; NaN: not known */
};

void shadow_guard_look(struct shadow_guard *guard, const struct live_look *look);

bool shadow_guard_pressed(const struct shadow_guard *guard);
bool shadow_guard_calm(const struct shadow_guard *guard);

/* ---- one shadow ---- */

struct shadow_life {
    enum life_state state;
    enum life_state paused_from; /* of PAUSED: where relief leads */
    enum life_outcome outcome;   /* from the first reason to end on (S5) */
    bool partial;                /* of ENDED (S6) */
    int64_t duration_ns;
    int64_t pause_max_ns; /* longer pauses end it */
    int64_t opened_ns;    /* 0: not yet */
    int64_t paused_ns;    /* since when; of PAUSED */
    int64_t pauses_ns;    /* time spent so, over */
    int32_t memory_pauses;
    int64_t ended_ns; /* 0: not yet */
};

void life_init(struct shadow_life *shadow, int64_t duration_ns);

/* Whether the event changes anything in this state; others are late news and pass by. */
bool life_takes(const struct shadow_life *shadow, enum life_event event);

/* Tells it what has happened; what is to be done now. */
enum life_action life_take(struct shadow_life *shadow, enum life_event event, int64_t now_ns);

/* Looks at time and guard. */
enum life_action life_tick(struct shadow_life *shadow, const struct shadow_guard *guard,
                           int64_t now_ns);

/* When its time is over; INT64_MAX: it is not open. */
int64_t life_due_ns(const struct shadow_life *shadow);

/* Checks S1 to S6, as far as one state shows them. */
void life_check_state(const struct shadow_life *shadow);

/* ---- budget ---- */

/* CPU that all shadows of a pipeline may use together, in cores.
 *   pipeline_cores   what its primaries use, >= 0 */
double shadow_budget_cores(const struct shadow_settings *settings, double pipeline_cores);

/* Least share with which a shadow is of use: a hundredth of a core. */
#define SHADOW_SHARE_MIN_CORES 0.01

/* What one of `running` + 1 shadows would get. Errors: LIMIT (less than is of use), with what would help. */
ATTR_NODISCARD enum err shadow_budget_admit(const struct shadow_settings *settings,
                                            double pipeline_cores, int32_t running,
                                            double *ret_share_cores, struct err_info *info);

#endif
