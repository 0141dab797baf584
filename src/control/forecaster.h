// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_FORECASTER_H
#define CONTROL_FORECASTER_H

#include "base/clock.h"
#include "control/request.h"

/* The forecasts of what the monitor measures, by forecast/online.h, at two resolutions: one sample an interval, for minutes
 * to half an hour, and means of five minutes, for hours. Demand, arrival rate and cost of each pipeline, demand of the
 * partitions.
 *
 * Thread: a loop of its own, as a fit takes milliseconds: control's loop only hands samples over. What is due of refits is
 * done in slices between messages. */

struct forecaster;

enum {
    FORECASTER_SERIES_MAX = 128,   /* pipelines first; partitions as they come */
    FORECASTER_HISTORY_MAX = 4032, /* five-minute means: two weeks */
    FORECASTER_RECENT = 720,       /* samples of pipelines that are correlated */
    FORECASTER_LAG_MAX = 120
};
#define FORECASTER_COARSE_S 300.0

#define FORECAST_SERIES(X) \
    X(DEMAND, "demand") \
    X(ARRIVAL, "arrival") \
    X(COST, "cost")

enum forecast_series {
#define X(name, text) FORECAST_##name,
    FORECAST_SERIES(X)
#undef X
        FORECAST_SERIES_COUNT
};

enum forecaster_kind {
    FORECASTER_SAMPLES,  /* time_ms, items */
    FORECASTER_HISTORY,  /* one subject's past, before its first samples: items[0], history */
    FORECASTER_ASK,      /* request: args.subject, args.series -> rows */
    FORECASTER_CORRELATE /* request -> correlation rows */
};

struct forecaster_item {
    char subject[CONTROL_PARTITION_MAX + 1];
    bool pipeline; /* else a partition: demand alone */
    double value[FORECAST_SERIES_COUNT];
    double
        lag_s; /* of a pipeline: of its oldest record not yet committed; correlated, not forecast */
};

struct forecaster_msg {
    struct msg msg; /* first */
    enum forecaster_kind kind;
    struct mailbox *done;
    int64_t time_ms;               /* of the load's clock */
    struct forecaster_item *items; /* the sender's */
    int32_t item_count, item_cap;
    const double
        *history[FORECAST_SERIES_COUNT]; /* [history_count], by FORECASTER_COARSE_S; NaN: missing */
    int32_t history_count;
    struct control_request *request;
    void *job;
};

struct forecaster_options {
    double step_s;   /* of the load's clock, between samples */
    double quantile; /* the planning one, in (0, 1) */
};

struct forecaster *forecaster_new(const struct forecaster_options *options);
void forecaster_free(struct forecaster *forecaster); /* its loop has ended; NULL is fine */

int64_t forecaster_step(void *ctx, int64_t now_ns); /* a loop_step */
struct waker *forecaster_waker(struct forecaster *forecaster);
struct mailbox *forecaster_mailbox(struct forecaster *forecaster); /* any thread pushes messages */

#endif
