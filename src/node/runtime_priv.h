// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_RUNTIME_PRIV_H
#define NODE_RUNTIME_PRIV_H

#include "node/change.h"
#include "node/runtime.h"
#include "node/shadow.h"
#include "pipeline/lookup_table.h"

/* Inside the runtime. runtime.c: its life and state machine; runtime_streams.c: streams, end markers; runtime_maps.c:
 * maps, owners, opening; change*.c: layout changes. One op of the log is in flight at a time, and one of the changes. */

struct runtime_stage {
    struct stage stage;
    struct partition_map old; /* as read at start; the arena's */
    struct partition_map map; /* places: heap */
    int64_t control_version;
    struct floor_set **floors; /* [shard_count] */
    int32_t *slot_of;          /* [map.count]: in its shard's floor set; heap */
};

/* Layout changes under way. */
struct runtime_changes {
    struct change *first;
    int32_t count; /* mirrored by node_runtime.changing */
    uint64_t last_id;
    struct mailbox replies; /* of lanes, to pieces */
    struct mailbox done;    /* of `op` */
    struct log_op op;       /* writes a control record */
    bool op_busy;
    int64_t retry_ns;                      /* CLOCK_NEVER: not waiting to write again */
    struct change *waiting, *waiting_last; /* MAPPING, not submitted; by mapping_next */
    struct change *flying;                 /* those that the write in flight holds */
    struct partition_map next_map;         /* what it writes, if it is a map; heap */
    int32_t *next_slots;
    void *buf; /* heap, kept */
    ptrdiff_t cap;
};

struct runtime_table; /* runtime_tables.c */

/* Which text of a pipeline is in force. */
struct runtime_text {
    struct str pipeline;
    const struct config *config; /* that has it */
    int64_t version;             /* of its control record; 0: none */
};

struct runtime_open {
    struct lane_command command;
    bool busy;
};

enum { RUNTIME_OPENS_PER_LANE = 64 };

struct node_runtime {
    struct node_runtime_options options;
    struct arena arena;
    struct waker waker;
    struct mailbox done;    /* log ops */
    struct mailbox replies; /* lane commands */
    _Atomic int32_t state;
    _Atomic bool stop_wanted;
    struct err_info problem;
    struct err_info left_out;      /* the last row that a lookup's table could not hold */
    _Atomic int64_t rows_left_out; /* of all tables */
    int64_t now_ns, retry_ns;

    struct lane **lanes;
    int32_t lane_count;
    struct stage *_Atomic *stages; /* as lanes see them */
    struct runtime_stage *stage_table;
    int32_t stage_count;
    _Atomic int32_t partition_count;
    _Atomic int32_t changing;       /* changes that are not final */
    _Atomic uint32_t changes_begun; /* so that sums over lanes across a change are not believed */
    struct runtime_text *texts;     /* [pipeline_count of the configuration] */
    int32_t node_max;
    uint8_t node_states[NODES_MAX]; /* enum node_state */
    int64_t nodes_version;          /* of their control record; 0: none */
    struct stage_stream *streams;
    int32_t stream_count;

    struct log_op op;
    bool op_busy;
    int32_t step;       /* within the state: which stream, stage, ... */
    int32_t sub;        /* within that: which shard, ... */
    int64_t end_offset; /* of the shard whose end is looked for */
    int64_t read_offset;
    bool end_seen;
    struct log_reader *reader;
    void *buf; /* for control values and reads */
    struct record_builder builder;
    struct record_reader records;

    struct runtime_table *tables;
    int32_t table_count;
    struct runtime_changes changes;

    struct runtime_open *opens;
    int32_t open_count, open_stage, open_place, answered;
    struct lane_command *stops;      /* [lane_count] */
    struct shadow_lane *shadow_lane; /* NULL: none */
    struct shadow_command shadow_stop;
    struct mailbox shadow_replies; /* its answer */
    bool shadow_stopped;
    int32_t stopped;
};

enum { RUNTIME_BUF_BYTES = LOG_BATCH_BYTES_MAX };

void runtime_submit(struct node_runtime *rt, enum log_op_kind kind);
void runtime_enter(struct node_runtime *rt, enum runtime_state state);
void runtime_fail(struct node_runtime *rt, const struct err_info *info);

/* Each: begin() submits the state's first op, done() takes its completion and goes on. */
void runtime_make_streams(struct node_runtime *rt);
void streams_begin(struct node_runtime *rt);
void streams_done(struct node_runtime *rt);
void tables_begin(struct node_runtime *rt);
void tables_done(struct node_runtime *rt);
/* Follows table streams; returns the next deadline. */
int64_t tables_follow(struct node_runtime *rt);
void tables_reply(struct node_runtime *rt, const struct lane_command *command);
void tables_free(struct node_runtime *rt);
void maps_begin(struct node_runtime *rt);
void maps_done(struct node_runtime *rt);
void opening_begin(struct node_runtime *rt);
void opening_reply(struct node_runtime *rt, struct lane_command *command);
/* Control key of a stage's map. */
void runtime_map_key(const struct node_runtime *rt, int32_t stage, char key[128]);
#define NODES_KEY "layout/nodes"
enum { NODES_RECORD_BYTES = 5 + NODES_MAX };
/* The record of node states, with `node` in `state`; returns its length. */
ptrdiff_t runtime_nodes_encode(const struct node_runtime *rt, int32_t node, enum node_state state,
                               uint8_t buf[NODES_RECORD_BYTES]);

/* A call that may be sent again later, unchanged (lane.c). */
bool err_may_retry(enum err err);

/* change_text.c. The record of a text that replaced the file's: u8 format (1), u64 hash64 of the file's whole text, then the
 * whole text. A file that has been edited since wins: the record is void. */
bool runtime_text_key(struct str pipeline, char key[128]);
/* What of `next` differs from what runs: fills affected[stage of the pipeline]; UNSUPPORTED if it is more than chains and
 * settings. */
ATTR_NODISCARD enum err text_compare(struct node_runtime *rt, const struct pipeline_plan *next,
                                     bool affected[STAGES_MAX], int32_t *ret_first,
                                     struct err_info *info);
void text_put_in_force(struct node_runtime *rt, const struct config *config,
                       const struct pipeline_plan *next, const bool affected[STAGES_MAX],
                       int32_t first, bool drop_state);
/* At start: takes the record that was read, if it is valid. *ret_void: it is to be deleted. */
ATTR_NODISCARD enum err text_take_record(struct node_runtime *rt, struct runtime_text *text,
                                         struct str bytes, bool *ret_void, struct err_info *info);

/* change_steps.c */
void changes_init(struct node_runtime *rt);
void changes_free(struct node_runtime *rt);
int64_t changes_step(struct node_runtime *rt);

#endif
