// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_MONITOR_H
#define CONTROL_MONITOR_H

#include "control/control_priv.h"

/* The monitor: at a fixed interval of the load's clock it asks all lanes for their figures and makes of two of them what
 * happened in between: a sample of each partition, node and pipeline, appended to `sc.samples`.
 *
 * Demand is of the capacity that is left for records: what a lane needs to run at all (wake-ups, commits) is measured and
 * taken off first, or a small lane would be full long before its demand is 1.
 *
 * Costs are those of the interval where something was processed in it, else the last known; a partition that has just come
 * from a split or merge has those of whom it came from. */

enum {
    MONITOR_PARTS_KEPT =
        2000, /* partitions with samples of their own in the stream: those with most demand */
    MONITOR_ROWS_A_RECORD = 500
};

/* Of one interval. Rates are per second of the wall. */
struct measured {
    double demand; /* of a pipeline: lanes; else of what its lanes can do */
    double utilisation, memory, io, io_ratio;
    int64_t state_bytes, lag_records;
    double arrival, service, read; /* records */
    double read_cost_s, work_cost_s;
    double lag_s, errors, blocked;
    double moved_bytes; /* that a change of its owner would concern: its state */
};

/* What counters were. */
struct monitor_counters {
    int64_t records_read, records_in, dead_letters, read_cpu_ns, work_cpu_ns, bytes;
    int64_t ends; /* of its input shards, summed */
};

struct monitored {
    int32_t stage;
    uint32_t shard, group_lo, group_hi;
    int32_t lane; /* among those of all nodes */
    uint64_t epoch;
    bool running, stalled_sink, stalled_memory;
    double own_share; /* own records / records looked at */
    double used_s;    /* CPU time in the interval */
    struct measured m;
    struct monitor_counters counters;
};

struct monitor_lane {
    struct measured m; /* demand: of its capacity */
    double capacity;   /* cores that are left for records, after what it needs to run at all */
    double overhead;   /* that: CPU time a second that no partition accounts for, moving average */
    double seconds;    /* of its own clock, between the last two */
    int64_t wall_ns, cpu_ns, blocked_ns;
};

struct monitor {
    bool asked;
    int64_t due_ns, asked_ns, taken_ns; /* taken: 0 before the first */
    int64_t time_ms;                    /* of the load's clock, since 1970: of the last samples */
    double interval_s;                  /* of the load's clock, between the last two */
    int64_t taken_count;
    /* by stage, shard, range */
    struct monitored *parts, *before;
    int32_t part_count, part_cap, before_count, before_cap;
    struct monitor_lane *lanes; /* [lane_count] */
    struct measured *nodes;     /* [nodes.max] */
    struct measured *pipelines; /* [pipeline_count]; .lanes */
    int32_t *pipeline_of_stage; /* [stage_count] */
    int32_t stage_count;
    bool *pipeline_on_lane; /* scratch: [pipeline_count x lane_count] */
};

struct monitor *monitor_new(const struct control *control);
void monitor_free(struct monitor *monitor);

/* Returns when it wants to be called again; `*ret_taken`: there are new samples. */
int64_t monitor_step(struct control *control, bool *ret_taken);

/* The load's clock, since 1970: the wall's, or where a replay has come to. */
int64_t monitor_time_ms(const struct control *control);

/* Partitions of a pipeline are those whose stage is its. */
int32_t monitor_pipeline_of(const struct monitor *monitor, const struct monitored *part);

#endif
