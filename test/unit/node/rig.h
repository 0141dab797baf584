// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_RIG_H
#define TEST_RIG_H

#include "log/log.h"
#include "node/runtime.h"
#include "node/shadow.h"
#include "sim/world.h"

/* A whole process in the simulator's world for tests of the node: a log in memory that outlives it, a runtime on it, and
 * a client that produces and reads. Two stages: "read" (clicks -> re-keyed) and "count" (-> counts). */

struct rig_options {
    uint64_t seed;
    int32_t source_shards, internal_shards, sink_shards;
    int32_t partitions; /* of each stage, per shard */
    int32_t nodes, lanes;
    int32_t nodes_max;                  /* 0: nodes */
    const char *read_text, *count_text; /* chains; NULL: "rekey", "count" */
    int64_t out_of_order_ms;
    int64_t idle_after_ns; /* 0: never */
    int64_t commit_ns;     /* 0: 10 ms */
    bool eager;
    int64_t memory_bytes; /* 0: much */
    double again_probability;
    int64_t step_cost_ns;     /* CPU of a step, and of what is timed in it, mean; 0: little */
    double stall_probability; /* of a thread being held up for up to 40 ms after a step */
    uint32_t flags;           /* enum runtime_flags */
    struct lane_tuning tuning;
    const char *yaml; /* NULL: the two stages */
    const struct fs *fs;
    int64_t shadow_memory_bytes; /* 0: no shadow lane */
    double shadow_budget;        /* 0: a whole core */
};

struct rig {
    struct rig_options options;
    struct world *world;
    struct log *log;
    struct arena arena; /* of the configuration */
    struct config made;
    const struct config *config;
    /* config_load, set by tests with real chains (the others have chains of their own and must not link them) */
    enum err (*load)(struct arena *arena, const char *file, struct str text,
                     const struct config **ret_config, struct err_info *info);
    struct node_runtime *runtime; /* NULL: not running */
    int things[80];
    int thing_count;
    struct mailbox done; /* the client's */
    struct waker waker;
    struct log_reader *reader;
};

/* The log and its world. */
void rig_init(struct rig *rig, const struct rig_options *options);
void rig_release(struct rig *rig);

/* Starts a process with the rig's options (they may be changed between processes). */
void rig_start(struct rig *rig);
/* Runs until it is RUNNING or FAILED. */
enum runtime_state rig_run_up(struct rig *rig);
/* The process is gone, with whatever it had in flight. */
void rig_kill(struct rig *rig);
/* Last commits, then the process ends. */
void rig_stop(struct rig *rig);

/* Submits an op and runs the world until it is done. */
enum err rig_op(struct rig *rig, struct log_op *op);

/* Runs for a while, or until the runtime says ended or quiet; false: it took too long. */
void rig_run(struct rig *rig, int64_t ns);
bool rig_run_to_end(struct rig *rig);
bool rig_run_until(struct rig *rig, bool (*done)(void *), void *ctx);
bool rig_run_quiet(struct rig *rig);
/* Runs until a command is back. */
void rig_command(struct rig *rig, int32_t lane, struct lane_command *command);
void rig_shadow(struct rig *rig, struct shadow_command *command);

struct rig_record {
    const char *key, *value;
    int64_t time_ms;
};
/* Appends one batch to a shard of a stream, which is created if it is not there. */
void rig_produce(struct rig *rig, const char *stream, int32_t shard,
                 const struct rig_record *records, int32_t count);
void rig_end(struct rig *rig, const char *stream);

/* All records of a stream in (shard, offset) order, marks left out; each copied into `arena`. */
struct rig_row {
    int32_t shard;
    int64_t offset, time_ms;
    struct str key, value;
    struct str headers;
};
int32_t rig_read(struct rig *rig, const char *stream, struct arena *arena,
                 struct rig_row **ret_rows);

struct stream_info rig_stream(struct rig *rig, const char *stream);

#endif
