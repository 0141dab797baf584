// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_MANAGER_H
#define PRM_MANAGER_H

#include "prm/decision.h"

/* The Predictive Resource Manager's core: (state, event, now) -> actions. It watches, has shadows cast, forecasts, plans,
 * has plans carried out, and judges them. The shell (src/control) feeds it and does what it says.
 *
 *              sustained threshold,                profile, or
 *              or the forecast                     no time left              done
 *   WATCHING ---------------------> SHADOWING ----------------> (plan) ----------> VERDICT --> WATCHING
 *      |  ^                             |                        |   ^               |
 *      |  |                             | refused, ended         |   |               | its own prediction failed and going
 *      |  +-----------------------------+-- nothing is better ---+   |               | back beats nothing
 *      |                                                             |               v
 *      +-- second threshold, lag grows, or a confirmed drop ---------+        CHANGING (back)
 *
 *   state      waits for
 *   WATCHING   samples
 *   SHADOWING  a profile of a partition, or the moment at which it can wait no longer
 *   CHANGING   an operation's end
 *   VERDICT    the horizon of the change
 *
 * Invariants:
 *   M1  Nothing is changed for what is not known: a sample that is missing or impossible, no forecast, a clock that jumps, a
 *       forecast worse than none. Then only what is measured counts, and the decision says so (BLIND).           (I14)
 *   M2  Each APPLY carries the id of a decision that was logged before, with the same steps.                     (I15)
 *   M3  Between two changes that are not urgent lies the cool-down; between any two, one decision interval; changes that
 *       are not urgent stay within the day's budget.                                                            (I15)
 *   M4  In no mode but ACT is anything changed without a person's APPLY; while a drain or an operation is under way,
 *       nothing is begun.
 *   M5  Every shadow asked for is given back: at its profile, at its end, when its partition changes, when the manager is
 *       switched off.
 *   M6  Capacity is taken away only on a measured, confirmed drop, never below what is measured to be needed.
 *
 * Time is the caller's (trace time in a replay), growing; an event whose time lies before the last is taken at the last. */

enum {
    MANAGER_ACTIONS_MAX = 16,
    MANAGER_WINDOWS_MAX = 112, /* 8 a day, each perhaps over midnight */
    MANAGER_PLANS_MAX = 12,    /* recommended ones that may still be applied */
    MANAGER_PROPOSED_MAX = 3,  /* of them, what people have asked for: the oldest goes */
    MANAGER_FAILED_MAX = 64,   /* changes remembered as failed */
    MANAGER_PROFILES_MAX = 256,
};

enum manager_mode {
    MANAGER_OBSERVE,   /* decides and logs */
    MANAGER_RECOMMEND, /* ... and offers the plan */
    MANAGER_ACT        /* ... and carries it out */
};

/* Seconds of the week, from Monday 00:00 UTC, in which changes that are not urgent may be made. */
struct manager_window {
    int32_t begin_s, end_s; /* 0..604800, begin < end */
};

struct manager_options {
    double interval_s;    /* between samples and decisions, > 0 */
    double startup_s;     /* of a node */
    double threshold;     /* utilisation that, sustained, asks for a shadow (0.7) */
    double threshold_now; /* demand at which there is no waiting (0.9) */
    double sustain_s;
    double confirm_s;     /* a drop must have been seen for so long */
    double cooldown_s;    /* between changes that are not urgent */
    double shadow_s;      /* duration of a shadow */
    double profile_age_s; /* a younger profile is good enough */
    double plan_age_s;    /* a recommended plan expires */
    double pause_s;       /* of a moved partition, until one was measured */
    double pause_factor;  /* a pause of so many times the expected one is a failure (3) */
    double work_factor;   /* ... so much more load than predicted (1.25) */
    double failed_s;      /* what failed is not tried again for so long */
    double risk, margin;
    double
        target; /* utilisation that a relieved lane is brought to, at most threshold_now: there a lane is full */
    struct prices prices;
    int32_t budget_day; /* changes a day that are not urgent; 0: no bound */
    int32_t nodes_min, nodes_max, nodes_step;
    int32_t lanes_per_node;        /* >= 1 */
    int32_t moves_max, splits_max; /* of one plan */
    bool shadows;                  /* whether shadows are cast at all (policy `predictive`: not) */
    bool forecasts;                /* whether forecasts count (policy `reactive`: not) */
    struct manager_window windows[MANAGER_WINDOWS_MAX];
    int32_t window_count;  /* 0: always open */
    double week_at_zero_s; /* second of the week at time 0 */
};

/* What the product uses. */
struct manager_options manager_defaults(void);

/* NULL, or what is wrong with the options. The arena's. */
const char *manager_options_wrong(const struct manager_options *options, struct arena *arena);

/* What a shadow found, as far as plans use it. */
struct manager_profile {
    int64_t shadow;   /* as in CAST */
    bool complete;    /* false: partial, or ended before there was an answer: nothing is learned */
    double top_share; /* of its heaviest key */
    struct load_cut cuts[LOAD_CUTS_MAX];
    int32_t cut_count;
    const struct plan_tuning *tunings; /* settings found better (prm/tune.h) */
    int32_t tuning_count;
};

#define MANAGER_EVENTS(X) \
    X(SAMPLES, "the figures of an interval, in full") \
    X(HISTORY, "arrival rates of a pipeline before now, for the forecaster") \
    X(FORECAST, "a forecast of hours from the models, for a pipeline") \
    X(PROFILE, "a shadow has answered") \
    X(SHADOW_ENDED, "a shadow is gone, or was refused") \
    X(APPLYING, "the shell has begun to carry out a plan") \
    X(OPERATION_DONE, "a plan was carried out, or could not be") \
    X(MODE, "another mode, for all or for one pipeline") \
    X(OPTIONS, "other options") \
    X(APPLY, "a person wants a recommended plan carried out") \
    X(PROPOSE, "a person's own steps: to be priced and offered as a plan") \
    X(TUNINGS, "settings that trials have found better") \
    X(RECALL, "a decision of the ledger, after a restart") \
    X(TICK, "nothing but time")

enum manager_event_kind {
#define X(name, help) MANAGER_EVENT_##name,
    MANAGER_EVENTS(X)
#undef X
        MANAGER_EVENT_KIND_COUNT
};

struct manager_event {
    enum manager_event_kind kind;
    union {
        struct {
            const struct load_input *load;    /* NULL: the figures of this interval are missing */
            double lag_s[LOAD_PIPELINES_MAX]; /* by pipeline: oldest record not yet committed */
            bool
                draining; /* a node is being drained, or an operation not the manager's is under way */
        } samples;
        struct {
            int32_t pipeline;
            const double *rate_per_s; /* [count], one an interval, the newest last; NaN: missing */
            int64_t count;
        } history;
        struct {
            int32_t pipeline;
            bool usable;       /* false: no model beats the naive one */
            double horizon_s;  /* how far it looks */
            double high_per_s; /* highest arrival rate within it at the planning quantile */
            double error;      /* backtest's: / naive */
        } forecast;
        struct manager_profile profile;
        struct {
            int64_t shadow;
            bool refused;
        } shadow_ended;
        struct {
            int64_t decision;
        } applying;
        struct {
            int64_t decision;
            bool
                done; /* false: undone, failed, or refused; nothing of it is there, or as `reason` says */
            double pause_s; /* longest of a partition, measured; NaN: nothing stood still */
            double moved_bytes;
            struct str reason;
        } operation_done;
        struct {
            int32_t pipeline; /* -1: all */
            enum manager_mode mode;
        } mode;
        const struct manager_options *options;
        struct {
            int64_t decision;
            struct str who;
        } apply;
        struct {
            struct plan_step *steps; /* [step_count], filled in; the caller's */
            int32_t step_count;
            const struct plan_tuning *tuning; /* what a TUNE step among them sets; NULL: none */
            struct str who;
        } propose;
        struct {
            const struct plan_tuning *list; /* [count] */
            int32_t count;
        } tunings;
        const struct decision *recall;
    };
};

#define MANAGER_ACTION_KINDS(X) \
    X(CAST, "start a shadow of a partition") \
    X(END_SHADOW, "end it") \
    X(LOG, "append the decision to the ledger: new, or as it is now") \
    X(APPLY, "carry out the decision's steps, in order") \
    X(REFUSE, "answer to APPLY or PROPOSE: cannot be, and why")

enum manager_action_kind {
#define X(name, help) MANAGER_ACTION_##name,
    MANAGER_ACTION_KINDS(X)
#undef X
        MANAGER_ACTION_KIND_COUNT
};

struct manager_action {
    enum manager_action_kind kind;
    int64_t shadow; /* CAST, END_SHADOW: number given by the manager */
    int64_t shard;  /* CAST: the partition */
    uint32_t group_lo, group_hi;
    double duration_s;
    bool by_forecast;                /* CAST: what is expected, not what is there, is the reason */
    const struct decision *decision; /* LOG, APPLY */
    const struct plan_step *steps;   /* LOG (of a plan), APPLY: [step_count] */
    int32_t step_count;
    const struct plan_tuning *tunings; /* APPLY: what TUNE steps index */
    const char *reason;                /* REFUSE, CAST */
};

struct manager_actions {
    struct manager_action list[MANAGER_ACTIONS_MAX];
    int32_t count;
};

#define MANAGER_STATES(X) \
    X(WATCHING, "watching") \
    X(SHADOWING, "shadowing") \
    X(CHANGING, "changing") \
    X(VERDICT, "verdict")

enum manager_state {
#define X(name, text) MANAGER_STATE_##name,
    MANAGER_STATES(X)
#undef X
        MANAGER_STATE_COUNT
};

/* What is expected, for faces. */
struct manager_view {
    enum manager_state state;
    enum manager_mode mode;
    const struct outlook_view *near; /* records/s over start-up and one interval; NULL: none yet */
    const struct outlook_view
        *far;                  /* ... over start-up, a shadow's duration and one interval more */
    double error;              /* of the near one: / "stays as it is" */
    double rate_per_s, cost_s; /* now: arrivals, CPU seconds a record */
    double demand;             /* lanes */
    double slope_per_min;
    bool blind; /* the forecast does not count now */
};

struct manager;

/* One for all pipelines on one set of lanes. Memory from the arena, all at once: about 2.5 MB a pipeline and 160 bytes a
 * partition; kept until the arena goes.
 * Errors: INVALID (options), LIMIT. */
ATTR_NODISCARD enum err manager_new(struct arena *arena, const struct manager_options *options,
                                    int32_t parts_max, int32_t lanes_max, int32_t pipelines_max,
                                    struct manager **ret_manager, struct err_info *info);

/* Takes an event at now_ns and tells what is to be done. What the actions point to is the manager's, until the next step.
 *   scratch   for planning; given back before the return
 * Input that is wrong (a partition without a lane, NaN) moves nothing. Cost: O(partitions) for SAMPLES, else little. */
void manager_step(struct manager *manager, const struct manager_event *event, int64_t now_ns,
                  struct arena *scratch, struct manager_actions *ret_actions);

struct manager_view manager_view(const struct manager *manager, int32_t pipeline);

/* A decision still held: recommended, under way or waiting for its verdict; NULL: none such. */
const struct decision *manager_decision(const struct manager *manager, int64_t id);

/* Its steps. */
const struct plan_step *manager_steps(const struct manager *manager, int64_t id,
                                      int32_t *ret_count);

const char *manager_mode_name(enum manager_mode mode);
const char *manager_state_name(enum manager_state state);

#endif
