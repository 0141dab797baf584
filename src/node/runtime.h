// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_RUNTIME_H
#define NODE_RUNTIME_H

#include "base/fs.h"
#include "node/lane.h"

/* All pipelines of one configuration on one log: creates the streams, writes the partition maps, holds the lanes of
 * several nodes and opens partitions on them. No threads of its own: node_runtime_step() is one loop's step (control's),
 * and each lane is another's.
 *
 *   STREAMS --> LOOKUPS --> MAPS --> OPENING --> RUNNING --> STOPPING --> STOPPED
 *      |           |          |         |           |
 *      +-----------+----------+---------+-----------+--> FAILED
 *
 * RUNNING also with partitions that need an operator: the others go on; node_runtime_failed_partitions() counts them. */

struct node_runtime;
struct shadow_lane; /* node/shadow.h */

enum runtime_state {
    RUNTIME_STREAMS, /* creating what the configuration names */
    RUNTIME_LOOKUPS, /* reading tables */
    RUNTIME_MAPS, /* reading, writing partition maps; fencing owners that are not in them any more */
    RUNTIME_OPENING, /* lanes restore their partitions */
    RUNTIME_RUNNING,
    RUNTIME_STOPPING, /* last commits */
    RUNTIME_STOPPED,
    RUNTIME_FAILED,
    RUNTIME_STATE_COUNT
};

enum runtime_flags {
    RUNTIME_UNTIL_END = 1, /* source streams whose last record is no end marker get one at start */
    RUNTIME_DROP_STATE = 2 /* forget state that the present chains cannot continue */
};

struct node_runtime_options {
    const struct config *config; /* outlives the runtime */
    struct log *log;
    const struct clock *clock;
    const struct fs
        *fs; /* lookup files, whose paths are relative to its root; NULL if there are none */
    uint32_t flags;
    /* config_load, for texts that replaced a pipeline's at run time (node/change.h); NULL: those are not kept */
    enum err (*load)(struct arena *arena, const char *file, struct str text,
                     const struct config **ret_config, struct err_info *info);
    struct lane_tuning tuning;
    /* Of the shadow lane (node/shadow.h): of a core, all shadows together; bytes. 0: there is none. */
    double shadow_budget;
    int64_t shadow_memory_bytes;
};

/* Errors: LIMIT (more partitions than a map may have). */
ATTR_NODISCARD enum err node_runtime_new(const struct node_runtime_options *options,
                                         struct node_runtime **ret_runtime, struct err_info *info);

/* Loops have ended, or the log dropped its ops. A log whose loops go on has answered one more op since (base/mailbox.h: it
 * may still be waking a lane). NULL is fine. */
void node_runtime_free(struct node_runtime *rt);

/* A loop_step. */
int64_t node_runtime_step(void *runtime, int64_t now_ns);
struct waker *node_runtime_waker(struct node_runtime *rt);

/* Lanes, fixed in number from node_runtime_new on: node-major, of nodes 0 .. nodes.max - 1. They may be stepped at once; they
 * idle until something is opened on them (node/change.h tells how nodes come and go). */
int32_t node_runtime_lane_count(const struct node_runtime *rt);
struct lane *node_runtime_lane(struct node_runtime *rt, int32_t index);

/* The shadow lane, to be stepped in a loop of LOOP_IDLE; NULL: there is none. Made with the runtime, told of lookup tables,
 * stopped with it. A shadow store that its shadows use is freed before the runtime is. */
struct shadow_lane *node_runtime_shadow_lane(struct node_runtime *rt);

/* Any thread. */
enum runtime_state node_runtime_state(const struct node_runtime *rt);
const char *runtime_state_name(enum runtime_state state);

/* Why it is FAILED, or the first partition that needs an operator; empty text: no problem. The runtime's thread, or after
 * its loop has ended. */
const struct err_info *node_runtime_problem(const struct node_runtime *rt);

/* Rows of table streams that a lookup's table could not hold, since the start: how many (any thread), and in words which was
 * the last (the runtime's thread). */
int64_t node_runtime_rows_left_out(const struct node_runtime *rt);
const char *node_runtime_left_out(const struct node_runtime *rt);

int32_t node_runtime_failed_partitions(const struct node_runtime *rt);

/* Any thread. All partitions run, all input is consumed up to its end markers, all of it is committed. */
bool node_runtime_ended(const struct node_runtime *rt);

/* Any thread. Nothing to read and nothing to commit anywhere just now. */
bool node_runtime_quiet(const struct node_runtime *rt);

/* Any thread: asks for last commits; RUNTIME_STOPPED follows. */
void node_runtime_stop(struct node_runtime *rt);

/* Stages and their streams; from RUNTIME_LOOKUPS on. */
int32_t node_runtime_stage_count(const struct node_runtime *rt);
const struct stage *node_runtime_stage(const struct node_runtime *rt, int32_t index);

/* The configuration that has the text of a pipeline that is in force: the file's, or one that replaced it. NULL: there is no
 * such pipeline. The runtime's thread; from RUNTIME_OPENING on. */
const struct config *node_runtime_pipeline_config(const struct node_runtime *rt,
                                                  struct str pipeline);

/* The stream named `name`, or NULL; from RUNTIME_LOOKUPS on. */
const struct stage_stream *node_runtime_stream(const struct node_runtime *rt, struct str name);

/* The map of a stage; from RUNTIME_OPENING on. The runtime's thread; its places hold until its next step. */
const struct partition_map *node_runtime_map(const struct node_runtime *rt, int32_t stage);

#endif
