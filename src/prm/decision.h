// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_DECISION_H
#define PRM_DECISION_H

#include "prm/plan.h"

/* The ledger's record: what was seen, what was expected, every option with its price and why it lost, what was chosen and
 * by whom; later what happened, and what would have happened without it. Flat: it can be kept, copied and written as it is. */

enum {
    DECISION_OPTIONS_MAX = 12,
    DECISION_NAME_MAX = 127,
    DECISION_WHO_MAX = 32,
    DECISION_SENTENCE_MAX = 1024,
};

/* What made the manager look. */
#define DECISION_CAUSES(X) \
    X(THRESHOLD, "threshold", "utilisation was above the threshold for the sustained time") \
    X(FORECAST, "forecast", "the forecast says that the threshold will be passed") \
    X(URGENT, "urgent", "demand is above the second threshold, or lag grows") \
    X(DROP, "drop", "the load has fallen, measured and confirmed") \
    X(PROFILE, "profile", "a shadow's profile has come") \
    X(VERDICT, "verdict", "the layout did not do what was predicted of it") \
    X(PERSON, "person", "somebody asked") \
    X(BLIND, "blind", "what is measured asks for it")

enum decision_cause {
#define X(name, text, help) DECISION_##name,
    DECISION_CAUSES(X)
#undef X
        DECISION_CAUSE_COUNT
};

/* What became of it.
 *
 *   OBSERVED                       mode observe, or nothing was to be done: final
 *   RECOMMENDED --> APPROVED --> APPLYING --> DONE --> MEASURED --> ROLLED_BACK
 *        |              |            |          |
 *        +--> EXPIRED   +------------+-> FAILED +--> EXPIRED (never measured: a restart, or another layout) */
#define DECISION_STATES(X) \
    X(OBSERVED, "observed") \
    X(RECOMMENDED, "recommended") \
    X(APPROVED, "approved") \
    X(APPLYING, "applying") \
    X(DONE, "done") \
    X(FAILED, "failed") \
    X(EXPIRED, "expired") \
    X(MEASURED, "measured") \
    X(ROLLED_BACK, "rolled_back")

enum decision_state {
#define X(name, text) DECISION_STATE_##name,
    DECISION_STATES(X)
#undef X
        DECISION_STATE_COUNT
};

/* What was seen. All of the pipeline that is worst off. */
struct decision_inputs {
    char pipeline[DECISION_NAME_MAX + 1];
    char partition[DECISION_NAME_MAX + 1]; /* the heaviest of the busiest lane; "": none */
    char lane[DECISION_NAME_MAX + 1];      /* the busiest */
    double rate_per_s;                     /* records that arrive */
    double cost_s;                         /* CPU seconds a record, reading included */
    double read_ratio;                     /* of it, reading, 0..1 */
    double demand;                         /* of all, in lanes */
    double utilisation;                    /* of the busiest lane, as demand; may exceed 1 */
    double lag_s;                          /* oldest waiting record */
    double slope_per_min;                  /* change of demand, lanes a minute */
    int32_t lanes, nodes, partitions;      /* open lanes, active nodes */
    uint32_t symptoms;                     /* enum load_symptom */
};

struct decision_forecast {
    bool there; /* false: no forecast; the rest is as measured */
    double horizon_s;
    double demand;      /* lanes at the horizon's end, median */
    double demand_high; /* lanes, highest of the window, at `quantile` */
    double quantile;    /* what the prices mean */
    double error;       /* backtest: mean absolute error / that of "stays as it is" */
    double
        passes_s; /* until the busiest lane passes the threshold at that quantile; NaN: it does not */
};

struct decision_option {
    enum plan_option_kind kind;
    enum plan_verdict verdict;
    double cost, lane_seconds, late_seconds, moved_bytes, changes;
    double max_after;
    double freed_lanes; /* by its setting; not kept in the ledger */
    char text[PLAN_TEXT_MAX];
};

/* After the horizon. */
struct decision_outcome {
    double cost_new;  /* the same queue on the arrivals that came, measured costs, the new layout */
    double cost_old;  /* ... the layout before */
    double benefit;   /* cost_old - cost_new: what it brought */
    double predicted; /* what it was to bring */
    double pause_s;   /* longest of a partition, measured */
    double
        work_ratio; /* measured load of the new layout / predicted for the arrivals that came; 1: as predicted */
    double arrivals_ratio; /* arrivals / the forecast's median */
    double freed_lanes,
        freed_predicted; /* by a setting, for the arrivals that came; 0: none was set */
    bool layout_failed;  /* the layout's own prediction failed: its load or its pause */
    bool
        forecast_failed; /* the arrivals lay outside the paths: counts against the forecast, not the layout */
};

struct decision {
    int64_t id;                /* grows; also the plan's */
    int64_t parent;            /* of a roll-back: the decision undone; 0: none */
    int64_t at_ns, changed_ns; /* manager's time: when made, when its state last changed */
    enum decision_cause cause;
    enum decision_state state;
    char who[DECISION_WHO_MAX + 1]; /* "manager", or the person that approved it */
    struct decision_inputs inputs;
    struct decision_forecast forecast;
    struct decision_option options[DECISION_OPTIONS_MAX];
    int32_t option_count, chosen; /* index in options */
    enum load_limit limit;        /* what no layout cures */
    char answer[256];             /* its sentence; "": none */
    int32_t step_count;
    /* What its TUNE step sets, as "pipeline/stage: operator.key=value; ...", and what sets it back; "": none. */
    char setting[PLAN_SETTING_MAX + 1], setting_back[PLAN_SETTING_MAX + 1];
    struct decision_outcome outcome; /* MEASURED, ROLLED_BACK */
    char reason[256];                /* FAILED, EXPIRED: why */
    uint64_t
        signature; /* of the change: equal ones are not tried again when it has failed; 0: none */
};

const char *decision_cause_name(enum decision_cause cause);
const char *decision_cause_text(enum decision_cause cause);
const char *decision_state_name(enum decision_state state);
bool decision_follows(enum decision_state from, enum decision_state to);
bool decision_is_final(enum decision_state state);

/* One readable sentence: what was seen, what was expected, what was chosen and why not the next best, what came of it. The
 * arena's. */
const char *decision_sentence(const struct decision *decision, struct arena *arena);

#endif
