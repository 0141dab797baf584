// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_MANAGER_SHELL_H
#define CONTROL_MANAGER_SHELL_H

#include "control/forecaster.h"
#include "control/history.h"
#include "control/leads.h"
#include "control/manager_load.h"
#include "control/plan_run.h"
#include "control/rivals.h"
#include "control/tuner.h"
#include "prm/manager.h"

/* The shell of the Predictive Resource Manager (prm/manager.h): each interval it hands what the monitor measured to the
 * forecaster and to the core, and does what the core says: keeps its decisions in the ledger, carries out its plans.
 *
 *   the past of each pipeline, from the view  -->  core and forecaster            (before the first samples)
 *   monitor  -->  samples  -->  forecaster
 *                          -->  core  -->  decisions  -->  ledger (sc.decisions)
 *                                     -->  plan       -->  plan_run  -->  operations  -->  core (done, or not)
 *   people   -->  modes, plans applied, cancelled, undone  -->  core
 *
 * All of it is control's loop; nothing of it waits. */

enum {
    FEEDS = 8,           /* samples on their way to the forecaster: more than that is a gap */
    FEED_PARTS_MAX = 64, /* partitions whose demand is forecast: those with most */
    EVENTS_PENDING = 16
};

struct feed {
    struct forecaster_msg msg; /* first */
    bool out;
};

/* The past of one pipeline, on its way to the core and then to the forecaster. */
struct manager_past {
    struct forecaster_msg msg; /* first */
    struct history_op op;
    struct arena arena; /* of the view's answer, and of the rates */
    int32_t pipeline;
    bool known;    /* it is there, or there is none */
    int32_t first; /* of the values; FORECASTER_HISTORY_MAX: there are none */
    double value[FORECAST_SERIES_COUNT][FORECASTER_HISTORY_MAX];
    double *rates; /* [rate_count]: one an interval */
    int64_t rate_count, rate_next;
};

struct manager_shell {
    struct feed feeds[FEEDS];
    struct manager_past *past;        /* NULL: not under way */
    int32_t past_pipeline;            /* whose turn it is; pipeline_count: all are done */
    struct manager_past **pasts_sent; /* [pipeline_count], on their way to the forecaster */
    /* the core */
    bool started;
    struct arena arena, scratch;
    struct manager *core; /* NULL: there is none, `state` says why */
    struct manager_options options;
    struct manager_actions actions;
    struct manager_event pending[EVENTS_PENDING]; /* that actions have brought about */
    int32_t pending_count;
    struct manager_load load;
    enum config_mode mode;   /* of all; pipelines may have been told others since */
    enum config_mode *modes; /* [pipeline_count] */
    struct plan_run *run;    /* NULL: none is under way */
    bool run_orphan;         /* the core does not hold it */
    struct job *apply_job;   /* waits for the core's answer to APPLY */
    int64_t apply_id;
    int64_t proposed;           /* the plan that the core made of a proposal; 0: refused */
    char refused[ERR_TEXT_MAX]; /* why */
    int64_t cast_shadow,
        cast_number; /* the shadow under way, and the core's number of it; 0: none */
    struct rivals rivals;
    struct tuner tuner;
    struct leads leads;
    /* figures */
    char state[ERR_TEXT_MAX];
    int64_t decisions, plans_applied;
    double lane_seconds; /* reserved, of the load's clock */
};

void manager_shell_new(struct control *control);
void manager_shell_free(struct control *control);

/* Returns when it wants to be called again. */
int64_t manager_run(struct control *control);

/* Steps of somebody's own: the core prices them and keeps them as a plan. Returns its number, 0: refused, and why.
 *   steps    [count], filled in by the core
 *   tuning   what a TUNE step among them sets; NULL: there is none */
int64_t manager_propose_plan(struct control *control, struct plan_step *steps, int32_t count,
                             const struct plan_tuning *tuning, const char *who,
                             const char **ret_refused);

/* Samples or history are back from the forecaster. */
void manager_forecast(struct control *control, struct forecaster_msg *msg);

/* Whether the answer of the view was one about a pipeline's past. */
bool manager_past(struct control *control, struct history_op *op);

#endif
