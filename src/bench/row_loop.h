// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_ROW_LOOP_H
#define BENCH_ROW_LOOP_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "bench/loop_machine.h"
#include "control/control.h"
#include "load/trace.h"

/* The closed loop: a stretch of a recorded load is replayed, faster than it was, through the real engine (embedded log, lanes
 * with a capacity each, control plane and manager, each loop on its thread) once per policy; a consumer of the sink sees how
 * late each record is. Clocks as design's "Time in replays": arrivals, decisions, start-up and lane-hours run on the load's
 * time, commits and pauses on the wall's; the objective is a second of the load's. The forecaster gets the days before. */

enum {
    REPLAY_POLICIES_MAX = 8,
    REPLAY_NODES_MAX = 32,
    REPLAY_PARTITIONS_MAX = 64,
    REPLAY_SENTENCES_MAX = 64,
    REPLAY_SENTENCE_MAX = 640,
    REPLAY_MINUTES_MAX = 360
};

/* A minute of the load's time. */
struct replay_minute {
    double rate;    /* records a second of the wall, mean */
    double demand;  /* lanes, mean */
    double hottest; /* demand of the busiest node of one lane, the most of its samples */
    double lag_s;   /* age of the oldest record that waited, of the wall, the most */
    int32_t nodes;  /* that were on, mean */
    int32_t samples;
    double late_s;
};

struct replay_options {
    const struct trace *trace;
    int64_t from_s, length_s; /* the stretch, of the trace's time */
    int64_t
        lead_s; /* of the trace before it, played so that policies find their layout; not counted */
    double scale; /* 1..1000 */
    int32_t
        nodes; /* of one lane each, at the peak of the stretch 80 % loaded; 2..REPLAY_NODES_MAX */
    double capacity;    /* of a core, a lane */
    int64_t startup_ns; /* of a node, the load's time */
    int32_t shards;
    int32_t partitions; /* of each shard at first, 1..REPLAY_PARTITIONS_MAX */
    bool reads; /* the chain looks at keys alone: reading is nearly all that a record costs */
    const char *policy;
    const struct policy_params *rival_params; /* NULL: usual ones */
    double record_cost_s;                     /* CPU of a record, of replay_calibrate() */
    uint64_t seed;
    /* Called now and then, for progress; may be NULL. */
    void (*progress)(void *ctx, double share, const char *text);
    void *progress_ctx;
};

struct replay_result {
    int64_t records, missing;      /* sent; never seen in the sink */
    double late_s;                 /* of the load's time */
    double p50_ms, p99_ms, max_ms; /* from due to visible, of the wall */
    double lane_hours;             /* reserved, of the load's time */
    double lane_hours_peak;        /* of all lanes all the time */
    int64_t changes;               /* operations done: splits, merges, migrations, nodes */
    int64_t splits, migrations, nodes_added, nodes_drained;
    int64_t shadows, shadows_answered; /* cast; those that told what they were asked */
    char limits[64];     /* the operator that limits, by the last that did; "": none */
    double limits_share; /* of the chain's CPU */
    int64_t decisions, plans, came_true; /* plans measured; those that saved something */
    double record_cost_s;                /* CPU of a record, measured: reading and work */
    double read_ratio;                   /* share of reading in it */
    double demand; /* lanes that were asked for, mean over the later half of the stretch */
    struct machine_figures machine;
    double
        demand_at_change; /* highest demand of a node when the first change had ended; NaN: none */
    char answer[REPLAY_SENTENCE_MAX]; /* the first that no layout cures; "": none */
    int32_t sentence_count;
    /* of the decisions, the first ones, each with the time at which it was made: "+12:30 ..."; whether it changed something */
    bool changed[REPLAY_SENTENCES_MAX];
    char sentences[REPLAY_SENTENCES_MAX][REPLAY_SENTENCE_MAX];
    int32_t minute_count;
    struct replay_minute minutes[REPLAY_MINUTES_MAX];
};

struct replay_calibration {
    double record_cost_s; /* CPU seconds of a record, all told */
    double yardstick_us;  /* what the machine's yardstick cost meanwhile */
};

/* What a record costs at the rate that fills the options' lanes to 80 %: static-peak under a flat load. Their trace, policy and
 * cost do not count. Takes some seconds. */
ATTR_NODISCARD enum err replay_calibrate(const struct replay_options *options,
                                         struct replay_calibration *ret_calibration,
                                         struct err_info *info);

/* How old a record may become, of the wall. */
double replay_objective_ms(const struct replay_options *options);

/* One policy. Takes length_s / scale, and some seconds. */
ATTR_NODISCARD enum err replay_run(const struct replay_options *options,
                                   struct replay_result *ret_result, struct err_info *info);

/* Where the load rises most within `length_s`, in the trace's second half; 0 if it is too short. */
int64_t replay_find_rise(const struct trace *trace, int64_t length_s);

#endif
