// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_MANAGER_LOAD_H
#define CONTROL_MANAGER_LOAD_H

#include "control/monitor.h"
#include "prm/load.h"

/* What the core plans on: the monitor's samples as its load model wants them, and of the heaviest partitions where their
 * load may be cut and what their heaviest key has, which their lanes are asked for in turn.
 *
 * All of it in the load's time: with a time scale of s a record costs s times what was measured, and s times fewer arrive in
 * a second, so that ratios stay and what waits takes as long as it does on that clock. */

enum {
    DETAILS_MAX = 64, /* partitions whose detail is known */
    DETAILS_OUT = 4   /* asked for at once */
};

struct part_detail {
    int32_t stage; /* -1: none */
    uint32_t shard, group_lo, group_hi;
    struct load_cut cuts[LOAD_CUTS_MAX];
    int32_t cut_count;
    double top_share;
    int64_t taken; /* number of the monitor's sample; the oldest goes first */
};

struct detail_command {
    struct lane_command command; /* first */
    bool out;
    struct partition_detail detail;
    uint32_t counts[KEY_GROUP_COUNT];
    uint32_t group_hi;
};

struct manager_load {
    struct load_input input; /* its arrays hold until the next but one is built */
    struct arena arenas[2];
    int turn;
    double lag_s[LOAD_PIPELINES_MAX];
    struct part_detail details[DETAILS_MAX];
    struct detail_command commands[DETAILS_OUT];
    struct mailbox replies;
};

void manager_load_init(struct manager_load *load, struct waker *waker);
void manager_load_release(struct manager_load *load);

/* From the monitor's last samples. Also asks for details of some partitions. */
void manager_load_build(struct control *control, struct manager_load *load);

void manager_load_take(struct manager_load *load, int64_t sample); /* details that are back */

/* Where a partition may be cut, from the records that its key groups have had. Pure. */
int32_t cuts_of(const uint32_t counts[KEY_GROUP_COUNT], uint32_t lo, uint32_t hi,
                struct load_cut ret_cuts[LOAD_CUTS_MAX]);

#endif
