// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_MANAGER_CHECK_H
#define SIM_MANAGER_CHECK_H

#include "node/runtime.h"
#include "sim/pipeline_check.h"

/* The judge of part `manager`. It reads the records of `sc.audit`, `sc.operations` and `sc.decisions` as anybody could, and
 * knows what was ordered and the promises below, none of control's or the manager's code.
 *
 *   I12  each order that was answered has one audit record with its result, one that was not has at most one; the chain of
 *        checksums is unbroken
 *   I11  operations and decisions go by their states; at the end none is half: all are final, what a failed plan had done
 *        is undone or told, the ranges of each shard are whole and their owners serve
 *   I15  what the manager changes is a step of a decision that was kept before it, in the same words; the cool-down, the
 *        decision interval and the day's budget hold, over restarts too
 *   I14  it decides on figures that were measured, or on a forecast that counts; takes capacity away only on a drop (M6)
 *   M4   in no mode but act does it begin anything, nor while somebody's operation is under way */

/* An order of a person. */
struct manager_asked {
    bool audited;  /* an order that is to be recorded */
    bool answered; /* else the process was gone first */
    const char *result;
    int64_t answered_ms; /* wall */
    int64_t operation;   /* that it began; 0: none */
};

/* A time in which the mode was known. */
struct manager_mode_time {
    int64_t from_ms, to_ms; /* wall */
    bool acts;
};

struct manager_facts {
    double time_scale, cooldown_s, interval_s, threshold;
    int32_t budget;                    /* 0: none */
    bool rivals;                       /* decide in its place, without decisions */
    bool lossy;                        /* the disk was full: a record may be lost, which is told */
    bool clock_jumps;                  /* wall times say nothing */
    const struct manager_asked *asked; /* [asked_count]; order n has the request id "r<n>" */
    int32_t asked_count;
    const struct manager_mode_time *modes; /* [mode_count] */
    int32_t mode_count;
};

struct manager_streams {
    struct pipe_rows audit, operations, decisions;
};

struct manager_tally {
    int32_t decisions, applied, done, failed, rolled_back, by_people, operations;
};

/* False: `text` says what is wrong.
 *   rt   NULL: in the middle of things, as a crash left it; else the end: all is quiet, and these are its maps */
bool manager_check(const struct manager_facts *facts, const struct manager_streams *streams,
                   const struct node_runtime *rt, struct manager_tally *ret_tally, char text[300]);

#endif
