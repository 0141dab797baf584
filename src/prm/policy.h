// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_POLICY_H
#define PRM_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "prm/outlook.h"
#include "prm/queue.h"

/* Policies: how many lanes a pipeline should have. All behind one call, so that the same executor runs Shadowcast and its
 * rivals. Pure: (state, what is seen now) -> lanes wanted. */

#define POLICY_LIST(X) \
    X(SHADOWCAST, "shadowcast", "forecast, price, decide; shadows cast before a rise") \
    X(PREDICTIVE, "predictive", "the same without shadows") \
    X(TREND, "trend", "the last minutes' slope, carried on") \
    X(REACTIVE, "reactive", "thresholds on utilisation") \
    X(DS2, "ds2", "demand over target, after a few equal votes (Kalavri 2018)") \
    X(STATIC_PEAK, "static-peak", "lanes for the peak at 80 %") \
    X(STATIC_MEAN, "static-mean", "lanes for the mean at 80 %") \
    X(PERFECT, "perfect", "Shadowcast's rule with the true future") \
    X(ORACLE, "oracle", "exactly what is needed, ordered a start-up ahead")

enum policy_kind {
#define X(name, text, help) POLICY_##name,
    POLICY_LIST(X)
#undef X
        POLICY_COUNT
};

const char *policy_name(enum policy_kind kind);
const char *policy_help(enum policy_kind kind);

enum { POLICY_VOTES_MAX = 512 };

/* Settings; each policy uses those that its comment names. The last ones bound every policy that changes anything. */
struct policy_params {
    double target;     /* rivals: utilisation aimed at, (0, 1] */
    double slope_s;    /* trend: how far back the slope looks */
    double up_s;       /* rivals: the demand is the mean over these seconds */
    double down_s;     /* a drop must have been seen for so long */
    double cooldown_s; /* no way down so soon after a change */
    double risk;       /* Shadowcast: weight of expected late seconds */
    double margin;  /* Shadowcast: share of the cost by which an option must beat doing nothing */
    int budget_day; /* changes a day that are not urgent; 0: no bound */
    int step_max;   /* lanes in one change; 0: no bound */
};

/* What is seen at a decision. */
struct policy_input {
    double now_s;  /* since the start of the replay */
    double demand; /* lanes, mean over the last interval; NaN: no measurement */
    double work;   /* backlog, lane-seconds */
    double lag_s;  /* age of the oldest waiting record */
    double objective_s;
    double interval_s, startup_s;
    int serving;   /* lanes that work */
    int starting;  /* lanes ordered, not yet there */
    int lanes_max; /* >= 1: also the lanes that a late second is priced by */
    double ready
        [OUTLOOK_LEADS_MAX]; /* lanes that will serve at each lead of `view` if nothing is done */
    const struct prices *prices;
    const struct outlook_view *view; /* forecast, or the truth for PERFECT; NULL: none */
    const double *history;           /* demand by interval, the newest last */
    int64_t history_count;
    double need; /* ORACLE alone: lanes that the coming interval needs a start-up ahead */
    double mean; /* STATIC_MEAN alone: the load's mean */
};

enum policy_reason {
    POLICY_STAYS,       /* nothing beats doing nothing */
    POLICY_RISES,       /* more is expected to be needed */
    POLICY_URGENT,      /* measured demand is above what is there, or records are late */
    POLICY_FALLS,       /* a measured, confirmed drop */
    POLICY_UNCONFIRMED, /* less would do, but not for long enough yet */
    POLICY_COOLING,     /* too soon after a change */
    POLICY_BUDGET,      /* the day's changes are used up */
    POLICY_BLIND        /* no measurement or no forecast: reactive */
};

struct policy {
    enum policy_kind kind;
    struct policy_params params;
    double below_since_s, changed_at_s, shadow_until_s, profile_at_s, day_at_s;
    int below_most; /* highest target since below_since_s */
    int votes, vote, changes_today;
    enum policy_reason reason;
    double price_now, price_best; /* of the last decision: staying and the choice */
};

void policy_init(struct policy *policy, enum policy_kind kind, const struct policy_params *params);

/* Lanes wanted, 1..lanes_max. */
int policy_step(struct policy *policy, const struct policy_input *input);

/* CPU of shadows running at now_s, in lanes: part of what is reserved. */
double policy_shadow_lanes(const struct policy *policy, double now_s, double demand);

/* Price of having `lanes` after the earliest moment it can be reached, over the view's window: the mean over paths. */
double policy_price(const struct policy_input *input, int lanes, double risk);

/* The grid of a policy's settings from which history chooses; index 0..count-1. Of settings whose cost on the history is within
 * the policy's slack of the least, as a share of that, the first is taken. The rivals' slack is 0. Shadowcast's settings stand in the
 * order in which they are believed without any history: history is one draw, and has too few late seconds for small differences
 * to mean anything (the one-standard-error rule's idea, Breiman et al. 1984, section 3.4.3). */
int policy_grid_count(enum policy_kind kind);
struct policy_params policy_grid(enum policy_kind kind, int index);
double policy_grid_slack(enum policy_kind kind);

#endif
