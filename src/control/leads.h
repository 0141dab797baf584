// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_LEADS_H
#define CONTROL_LEADS_H

#include "control/forecaster.h"
#include "prm/lead.h"

/* Leaders put to use: every so many intervals the forecaster is asked which pipeline's arrivals follow which other's; each such
 * pair becomes a regressor (prm/lead.h), and while its backtest says that it helps, also against the core's own outlook, what it
 * says of the follower goes to the core as a forecast. So a leader's rise prepares its followers' plan. */

enum { LEADS_MAX = 16, LEADS_PAST = 720, LEADS_EVERY = 30 };

struct lead_pair {
    int32_t leader, follower; /* pipelines */
    struct lead *lead;        /* of `arena`; NULL: the slot is free */
    struct arena arena;
    struct lead_forecast last;
    bool told; /* the core has a forecast of it */
};

struct leads {
    struct lead_pair pairs[LEADS_MAX];
    double *rates; /* heap, [pipelines * LEADS_PAST] ring: arrivals a second of the load's clock */
    int64_t samples;           /* that there have been */
    struct forecaster_msg msg; /* the question */
    struct control_request request;
    struct arena arena; /* of its answer */
    bool out;
};

struct control;

void leads_init(struct leads *leads, int32_t pipelines);
void leads_release(struct leads *leads); /* the forecaster answers no more */

/* The monitor has taken samples. */
void leads_sample(struct control *control, struct leads *leads);

/* The forecaster has answered the question. */
void leads_take(struct control *control, struct leads *leads);

#endif
