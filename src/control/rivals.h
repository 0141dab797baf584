// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_RIVALS_H
#define CONTROL_RIVALS_H

#include "control/control_priv.h"
#include "prm/policy.h"

/* The policies that the manager is compared with, on the real engine: each interval prm/policy.h says how many lanes there
 * should be, and nodes are added or drained for it (in mode `act` alone), which spread the partitions by measured demand. */

enum { RIVAL_HISTORY = 1024, RIVAL_ORDERS = 16 };

struct rival_order {
    struct control_request request; /* first */
    struct arena arena;
    bool out;
};

struct rivals {
    bool on; /* the configuration's policy is one of them */
    struct policy policy;
    double history[RIVAL_HISTORY]; /* demand by interval, the newest last */
    int64_t history_count;
    double demand_max;
    struct rival_order orders[RIVAL_ORDERS];
    struct mailbox done;
};

void rivals_init(struct rivals *rivals, const struct control *control);
void rivals_release(struct rivals *rivals);

/* There are new samples. */
void rivals_samples(struct control *control, struct rivals *rivals);

#endif
