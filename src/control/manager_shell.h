// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_MANAGER_SHELL_H
#define CONTROL_MANAGER_SHELL_H

#include "control/control_priv.h"
#include "control/forecaster.h"
#include "control/history.h"

/* The shell of the Predictive Resource Manager: feeds what the monitor measures to the forecaster. */

enum {
    FEEDS = 8,          /* samples on their way to the forecaster: more than that is a gap */
    FEED_PARTS_MAX = 64 /* partitions whose demand is forecast: those with most */
};

struct feed {
    struct forecaster_msg msg; /* first */
    bool out;
};

/* The past of one pipeline, on its way to the forecaster. */
struct manager_past {
    struct forecaster_msg msg; /* first */
    struct history_op op;
    struct arena arena; /* of the view's answer */
    bool out;
    int32_t first; /* of the values; FORECASTER_HISTORY_MAX: there are none */
    double value[FORECAST_SERIES_COUNT][FORECASTER_HISTORY_MAX];
};

struct manager_shell {
    struct feed feeds[FEEDS];
    struct manager_past *past; /* NULL: not under way */
    int32_t past_pipeline;     /* whose turn it is; pipeline_count: all are done */
    const struct control_past *given;
};

struct manager_shell *manager_shell_new(struct control *control);
void manager_shell_free(struct manager_shell *shell);

/* Returns when it wants to be called again. */
int64_t manager_run(struct control *control);

/* Samples or history are back from the forecaster. */
void manager_forecast(struct control *control, struct forecaster_msg *msg);

/* Whether the answer of the view was one about a pipeline's past. */
bool manager_past(struct control *control, struct history_op *op);

#endif
