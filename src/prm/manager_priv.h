// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_MANAGER_PRIV_H
#define PRM_MANAGER_PRIV_H

#include "prm/manager.h"

/* What the manager's own files share.
 *
 *   manager.c         events, the state machine, shadows, people
 *   manager_watch.c   samples: rates, forecasts, thresholds
 *   manager_decide.c  from what is seen to a decision and its actions
 *   manager_judge.c   what came of a change
 *   manager_propose.c what people bring: steps of their own, settings that trials have found */

enum { VERDICT_STEPS_MAX = 512, MISSED_MAX = 600, REPEAT_S = 3600 };

#define MANAGER_NEVER_NS (INT64_MIN / 2) /* no change yet: any span since then can be told */

struct pipe {
    enum manager_mode mode;
    struct outlook *near_outlook, *far_outlook;
    struct outlook_view near, far;
    double rate, cost_s, read_ratio, demand, slope_per_min, lag_s, lag_before_s;
    int lag_grows; /* samples in a row */
    /* Work of a partition against its own records, over partitions and samples, forgetting: what it takes by itself. */
    double fit_n, fit_x, fit_y, fit_xx, fit_xy;
    double part_cores,
        fixed; /* cores a partition; share of the demand that does not grow with the rate */
    /* the last forecast of hours */
    bool hours_usable;
    double hours_high, hours_error, hours_horizon_s;
    int64_t hours_at_ns;
};

struct kept_profile {
    int64_t shard;
    uint32_t group_lo, group_hi;
    int64_t at_ns;
    double top_share;
    struct load_cut cuts[LOAD_CUTS_MAX];
    int32_t cut_count;
};

/* A decision that may still be applied, is under way, or waits for its verdict. */
struct held {
    bool used;
    struct decision decision;
    struct plan_step *steps; /* [PLAN_STEPS_MAX] */
    uint64_t signature;
    uint64_t layout; /* that it was planned on */
};

struct asked_shadow {
    int64_t id; /* 0: none */
    int64_t shard;
    uint32_t group_lo, group_hi;
    int64_t since_ns;
};

/* A setting that was found better, with its text. */
struct tuning {
    struct plan_tuning plan;
    char text[PLAN_SETTING_MAX + 1], back[PLAN_SETTING_MAX + 1];
};

/* For the verdict: what was there before, and what has come since. */
struct trial {
    double *before; /* [lanes * pipelines] cores a record/s, before the change */
    bool *open;     /* [lanes] before the change */
    double *rates;  /* [VERDICT_STEPS_MAX * pipelines] that came */
    double *after;  /* [lanes * pipelines] sums over the samples since, cores a record/s */
    int32_t count;
    int64_t done_ns, until_ns;
    double rate[LOAD_PIPELINES_MAX];     /* at the decision */
    double rate_low[LOAD_PIPELINES_MAX]; /* least and most that any path had */
    double rate_high[LOAD_PIPELINES_MAX];
    double max_sum; /* of the busiest lane's utilisation, over the samples */
    double pause_s; /* expected */
};

struct manager {
    struct manager_options options;
    struct planner *planner;
    int32_t parts_max, lanes_max, pipelines_max, pipeline_count;
    enum manager_state state;
    int64_t now_ns, sampled_ns; /* sampled: the last sample's time; < 0: none yet */
    struct pipe *pipes;
    struct load_input load;  /* of the sample under way */
    struct load_part *parts; /* [parts_max] with what profiles say */
    bool loaded;             /* the planner has the sample */
    bool draining;
    /* thresholds */
    int64_t *above_ns; /* [lanes] above the threshold since; -1: it is not */
    int64_t spare_ns;  /* a node fewer would do since; -1 */
    int64_t idle_ns;   /* all lanes are below half of the target since; -1 */
    double *demand;    /* [lanes] utilisation as demand */
    int32_t hottest;   /* lane */
    int32_t
        worst; /* lane that a decision is about: the hottest, or the one whose forecast passes a threshold first */
    int32_t full_samples; /* in a row in which it was full */
    uint64_t tuned;       /* settings promoted so far */
    uint64_t layout;
    /* what was done */
    int64_t next_id, next_shadow, day_ns; /* day: since when changes_today counts */
    int64_t changed_ns;                   /* the last change; of before the start: below 0 */
    int32_t changes_today;
    double placed_demand; /* lanes that were asked for when the last change was begun */
    struct held held[MANAGER_PLANS_MAX];
    struct held *current; /* under way, or waiting for its verdict */
    struct held log;      /* what is logged and not kept */
    struct asked_shadow shadow;
    struct kept_profile profiles[MANAGER_PROFILES_MAX];
    int32_t profile_next;
    struct tuning tunings[PLAN_TUNINGS_MAX];
    struct plan_tuning plan_tunings[PLAN_TUNINGS_MAX];
    int32_t tuning_count;
    struct {
        uint64_t signature;
        int64_t until_ns;
    } failed[MANAGER_FAILED_MAX];
    int32_t failed_next;
    struct trial trial;
    bool profile_came; /* plan at the next sample */
    uint64_t said;     /* the last decision that changed nothing, in short */
    int64_t said_ns;
    double pause_s;             /* as last measured */
    char refusal[ERR_TEXT_MAX]; /* of a proposal, for the action */
    struct manager_actions *actions;
    struct arena *scratch;
};

/* What the sample under way asks for. */
struct seen {
    int32_t pipeline; /* worst off */
    bool sustained, urgent, spare;
    bool idle;       /* little is asked of all lanes, for long, and fusing partitions could pay */
    bool late;       /* what waits is older than the objective, and grows */
    double passes_s; /* of the hottest lane at the planning quantile; NaN: not in sight */
    double passes_full_s; /* ... until it is full */
};

struct manager_action *manager_say(struct manager *m, enum manager_action_kind kind);
void manager_log(struct manager *m, struct held *held);
void manager_set(struct manager *m, struct held *held, enum decision_state state);
struct held *manager_free_slot(struct manager *m);
void manager_remember_failed(struct manager *m, uint64_t signature, int64_t at_ns);
void manager_end_shadow(struct manager *m);
void manager_begin(struct manager *m, struct held *held);
int64_t manager_ns(double seconds);
/* Changes of the day under way; a day that is over begins anew. */
int32_t manager_changes_today(struct manager *m);

/* manager_watch.c. False: the sample cannot be used; nothing moves. */
bool manager_watch(struct manager *m, const struct load_input *load, const double *lag_s,
                   struct seen *ret_seen);
void manager_gap(struct manager *m, int64_t steps);
/* Whether so many nodes fewer would carry what is measured, and what is expected, below the target. */
bool manager_can_spare(struct manager *m, int32_t nodes);
/* By how much the demand grows when the rate grows so. */
double manager_grown(const struct pipe *pipe, double ratio);
bool manager_trusts(const struct manager *m, int32_t pipeline);
/* The heaviest partition of the worst lane, or NULL. */
const struct load_part *manager_heaviest(const struct manager *m);
/* Lanes that all pipelines ask for. */
double manager_demand(const struct manager *m);
bool manager_has_profile(const struct manager *m, const struct load_part *part);

/* manager_decide.c */
void manager_decide(struct manager *m, const struct seen *seen, enum decision_cause cause);
void manager_fill(struct manager *m, const struct seen *seen, enum decision_cause cause,
                  struct decision *decision);
enum manager_mode manager_mode_of(const struct manager *m, const struct plan_step *steps,
                                  int32_t count, int32_t pipeline);
bool manager_window_open(const struct manager *m);

/* What a plan is made with. */
struct planning {
    struct plan_growth growth[LOAD_PIPELINES_MAX];
    uint64_t failed[MANAGER_FAILED_MAX];
    struct plan_input input; /* without tunings */
    struct plan_options options;
};
void manager_planning(const struct manager *m, enum decision_cause cause, struct planning *ret);
void manager_fill_options(struct decision *decision, const struct plan *plan);
void manager_copy_text(char *to, ptrdiff_t size, struct str from);

/* manager_lead.c: a forecast that others made (MANAGER_EVENT_FORECAST), while it holds. */
bool manager_hours(const struct manager *m, int32_t pipeline, double *ret_left_s);
/* What is planned with: the near outlook if it is trusted, raised to that forecast. NULL: as measured. Of the scratch arena. */
const struct outlook_view *manager_planned(const struct manager *m, int32_t pipeline);

/* manager_propose.c */
void manager_propose(struct manager *m, const struct manager_event *event);
void manager_take_tunings(struct manager *m, const struct plan_tuning *list, int32_t count);

/* manager.c */
void manager_expire(struct manager *m, struct held *held, const char *reason);

/* manager_judge.c */
void manager_trial_snapshot(
    struct manager *m); /* the layout that is: each sample while nothing changes */
void manager_trial_carry(struct manager *m); /* ... as it was measured since the last change */
void manager_trial_sample(struct manager *m);
void manager_trial_end(struct manager *m, const struct seen *seen);

#endif
