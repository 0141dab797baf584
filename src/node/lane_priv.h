// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_LANE_PRIV_H
#define NODE_LANE_PRIV_H

#include "base/sketch.h"
#include "node/partition.h"
#include "pipeline/lookup_table.h"

/* Inside a lane. lane.c: turns, commands, stepping; lane_read.c: input shards; lane_open.c: owner, opening, closing,
 * reset; lane_commit.c: commits, floors, checkpoints; lane_report.c: figures. */

enum lane_op_role {
    LANE_OP_OWNER,
    LANE_OP_READ,
    LANE_OP_OPENING,
    LANE_OP_COMMIT,
    LANE_OP_FLOOR,
    LANE_OP_CHECKPOINT,
    LANE_OP_SIZE
};

struct lane_op {
    struct log_op op; /* first */
    enum lane_op_role role;
    bool in_flight;
    void *of; /* lane_shard, opening, ... */
};

/* How far a shard had come when: for the age of what is not committed yet. Every second sample is dropped when full. */
enum { SHARD_AGES = 64 };
struct shard_age {
    int64_t end_offset, seen_ns;
};

/* A view's shard, shared by the partitions of this lane that read it. */
struct lane_shard {
    struct lane_shard *next;
    struct shard_id id;
    const struct stage_stream *stream;
    struct decode_rules rules;
    struct decode_shard entries;
    struct log_reader *reader;
    struct lane_op *read;    /* made with the first read */
    struct decoded *reading; /* what it reads into */
    int64_t read_bytes;
    int64_t want_low, want_high; /* offsets that its readers wait for; high < 0: none */
    struct lane_shard *next_wanting;
    uint32_t read_count, wake_count;
    int64_t retry_ns; /* not before, after a failed read */
    int64_t end_offset, end_before;
    int64_t moved_ns;    /* when the end last moved */
    int64_t tick_ns;     /* when silence is to be looked at; CLOCK_NEVER */
    double arrival_rate; /* records/s */
    int64_t rate_end;
    struct shard_age ages[SHARD_AGES];
    int32_t age_count;
    struct {
        struct partition *part;
        int32_t input;
    } * readers;
    int32_t reader_count, reader_cap;
};

enum opening_state { OPENING_FREE, OPENING_FENCING, OPENING_RESTORING, OPENING_WAITING };

struct opening {
    struct lane_op op;
    bool
        running; /* what was handed over does not wait for its fence: nobody else has the range any more */
    struct restore restore;
    enum opening_state state;
    struct partition *part;
    int64_t retry_ns, backoff_ns;
};

struct part_queue {
    struct partition *first, *last;
};

enum owner_state { OWNER_NONE, OWNER_ASKING, OWNER_KNOWN };
enum { LANE_FLOOR_OPS = 4 };

struct lane {
    struct lane_options options;
    struct lane_tuning tuning;
    struct waker waker;
    struct mailbox done, commands;
    struct lane_status status;
    struct err_info problem;       /* of the lane */
    struct err_info first_failure; /* of a partition; written once, before status.failed tells */
    int64_t now_ns, begun_ns;

    struct partition *parts;
    struct part_queue ready;   /* RUNNING or STALLED, to be stepped */
    struct part_queue to_open; /* OPENING, waiting for a slot */
    struct partition *dirty;
    int64_t delta_bytes; /* what their states will add to the commit */
    int32_t state_count[PARTITION_STATE_COUNT];
    int32_t closings; /* partitions that were told to close */
    int32_t ended;    /* partitions counted as that */
    int64_t tick_ns;  /* next early results of any partition */
    int64_t stall_ns; /* next retry of any stalled partition */

    struct lane_shard *shards;
    struct lane_shard *wanting; /* with reads to be submitted at the end of the turn */
    int32_t reads_in_flight;    /* shards with `reading` */
    int64_t shards_due_ns;      /* no tick_ns or retry_ns of a shard is earlier */
    struct decode_cache cache;
    struct work work;

    struct lane_op owner_op;
    enum owner_state owner;
    int64_t owner_retry_ns;
    int64_t sequence;         /* of the last commit sealed */
    struct opening *openings; /* [tuning.opens] */
    int32_t openings_used;    /* from here on all are free */
    bool buffers_held;        /* by openings */

    struct lane_op commit_op;
    struct commit commits[2];
    struct commit *filling, *flying; /* flying NULL: none in flight */
    int64_t commit_due_ns;           /* CLOCK_NEVER: nothing to commit */
    int64_t resend_ns;               /* CLOCK_NEVER: not waiting to send again */
    int64_t resend_backoff_ns;
    int64_t flown_ns; /* when it was first submitted */
    bool reset_wanted;

    struct lane_op floor_ops[LANE_FLOOR_OPS];
    struct lane_op checkpoint_op;
    struct dump dump;
    int32_t dump_claim; /* of the flying commit; -1: no checkpoint waits for it */
    uint32_t dump_lo, dump_hi;
    struct lane_op size_op;
    int32_t size_stage, size_shard;
    int64_t size_largest, size_ns; /* when to poll next */

    struct lookup_table ***tables; /* [stage_count][lookup_count]; made when first wanted */
    struct lookup_table **old_tables;
    int32_t old_count, old_cap;

    struct lane_command *stopping;
    struct cpu_bucket bucket;
    int64_t may_run_ns;     /* capacity: not before */
    int64_t waits_since_ns; /* when the last step left work undone */
    bool throttled, blocked;
    struct lane_figures figures;
    int64_t rates_ns, rates_cpu_ns; /* when rates were last looked at */
    int64_t log_moves;              /* of the log, when the shards were last looked at */
};

/* lane.c */
/* From now on; its thread. */
void lane_set_capacity(struct lane *lane, double capacity);
void lane_submit(struct lane *lane, struct lane_op *op, enum log_op_kind kind);
void lane_ready(struct lane *lane, struct partition *part);
void lane_dirty(struct lane *lane, struct partition *part);
void queue_push(struct part_queue *queue, struct partition *part);
struct partition *queue_pop(struct part_queue *queue);
void queue_remove(struct part_queue *queue, struct partition *part); /* if it is in it */
/* What a partition that is dirty will add to the commit, besides what is in it. */
void lane_count_delta(struct lane *lane, struct partition *part, int64_t bytes);
/* Counts a partition under its present state. */
void lane_count(struct lane *lane, struct partition *part);
/* Counts it as ended, or not any more. */
void lane_note_ended(struct lane *lane, struct partition *part);
void lane_set_state(struct lane *lane, struct partition *part, enum partition_state state);
void lane_fail_partition(struct lane *lane, struct partition *part, const struct err_info *info);
/* Everything of a partition but its place in the list is given back. */
void lane_clear_partition(struct lane *lane, struct partition *part);
void lane_answer(struct lane *lane, struct lane_command *command, enum err err,
                 const struct err_info *info);
/* A call that may be sent again later, unchanged. */
bool err_may_retry(enum err err);

/* lane_read.c */
ATTR_NODISCARD enum err lane_attach(struct lane *lane, struct partition *part,
                                    struct err_info *info);
void lane_detach(struct lane *lane, struct partition *part);
void lane_look_at_shards(struct lane *lane);
void lane_want(struct lane *lane, struct lane_shard *shard, int64_t offset);
void lane_submit_reads(struct lane *lane);
void lane_read_done(struct lane *lane, struct lane_shard *shard);
int64_t lane_idle_ticks(struct lane *lane); /* returns the next deadline */
/* Age of the oldest record at or behind `committed`; 0: there is none. */
int64_t lane_shard_lag_ns(const struct lane_shard *shard, int64_t committed, int64_t now_ns);
void lane_shards_free(struct lane *lane);

/* lane_open.c */
void lane_open_partition(struct lane *lane, struct lane_command *command);
/* Of a shadow lane: the lane's from now on, to be opened from `restore_at`. */
void lane_add_shadow(struct lane *lane, struct partition *part);
/* Whatever it is doing; shadow_part_gone() follows in a later step. */
void lane_drop_shadow(struct lane *lane, struct partition *part);
void lane_close_partition(struct lane *lane, struct lane_command *command);
struct partition *lane_find(struct lane *lane, int32_t stage, uint32_t shard, uint32_t group_lo);
int64_t lane_advance_openings(struct lane *lane);
void lane_opening_done(struct lane *lane, struct opening *opening);
void lane_owner_done(struct lane *lane);
void lane_close_ready(struct lane *lane);
/* The lane stops: whoever waits for a partition that has not begun to open is told. */
void lane_refuse_queued(struct lane *lane);
void lane_refuse_closings(struct lane *lane);
void lane_reset(struct lane *lane);
/* Once a second: buffers of slots that nobody needs. */
void lane_release_openings(struct lane *lane);
bool lane_opening_busy(const struct lane *lane);

/* lane_commit.c */
bool lane_commit_full(const struct lane *lane);
void lane_seal_if_due(struct lane *lane);
void lane_commit_done(struct lane *lane);
void lane_checkpoint_done(struct lane *lane);
void lane_size_done(struct lane *lane);
int64_t lane_poll_sizes(struct lane *lane);
int64_t lane_commit_deadline(const struct lane *lane);

/* lane_tables.c */
struct lookup_table *const *lane_tables(struct lane *lane, int32_t stage);
void lane_take_table(struct lane *lane, struct lane_command *command);
void lane_drop_old_tables(struct lane *lane);
void lane_tables_free(struct lane *lane);

/* lane_report.c */
void lane_rates(struct lane *lane);
void lane_snapshot_fill(struct lane *lane, struct lane_snapshot *snapshot);
void lane_measure_one(struct lane *lane, struct lane_command *command);

#endif
