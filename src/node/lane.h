// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_LANE_H
#define NODE_LANE_H

#include "base/sketch.h"
#include "node/figures.h"
#include "node/floors.h"
#include "node/map.h"
#include "node/stage.h"

/* A lane: one thread's worth of partitions. It reads, runs chains, commits; it is told what to open. All of it happens in
 * lane_step(), which never blocks; a thread (base/loop.h) or the simulator's world calls it.
 *
 * Invariants:
 *   N1  At most one commit of the lane is in flight; the next one fills meanwhile, and when that is full, reading stops.
 *   N2  A commit holds a cut of each of its partitions: outputs, delta and position of the same rows.
 *   N3  A commit is never given up: it is sent again, byte for byte, or its partitions are dropped.
 *   N4  A shadow lane (node/shadow.h) has shadows only: it never asks for an owner, commits, or watches a shard. */

struct lane;
struct handover;

/* Numbers that tests and benchmarks vary; 0: the default. */
struct lane_tuning {
    int64_t cache_bytes;       /* decoded batches kept; 32 MiB */
    int64_t read_bytes;        /* one read of the log; 256 KiB */
    int64_t commit_bytes;      /* size at which a commit does not wait for its interval; 2 MiB */
    int64_t floor_interval_ns; /* between two floors of one (stage, shard); 1 s */
    int64_t checkpoint_bytes;  /* changelog bytes of a partition between checkpoints; 64 MiB */
    int32_t checkpoint_ratio;  /* and percent of its state that they must have come to; 400 */
    int64_t again_backoff_ns;  /* first wait before a commit is sent again; 5 ms, doubles to 1 s */
    int64_t retry_backoff_ns;  /* the same for a dependency that is down; 50 ms, doubles to 5 s */
    int32_t slice_batches;     /* batches of one partition before it is the next one's turn; 4 */
    int32_t batch_rows;        /* rows of one batch; BATCH_ROWS_MAX */
    int32_t opens;             /* partitions being opened at once; 512: their fences share a sync */
    bool figures_off;          /* no CPU times, counts per key group, heavy keys: what they cost */
};

struct lane_options {
    struct log *log;
    const struct clock *clock;
    uint16_t node, lane;
    double capacity; /* of a core, 0 < c <= 1; 1: no limit */
    struct lane_tuning tuning;
    struct stage *_Atomic const
        *stages; /* outlive the lane; an entry may be replaced (node/stage.h) */
    int32_t stage_count;
    bool shadows; /* a shadow lane's */
};

struct lane *lane_new(const struct lane_options *options);

/* Its thread has ended, or the log dropped its ops: frees all, submits and completes nothing. NULL is fine. */
void lane_free(struct lane *lane);

/* A loop_step. */
int64_t lane_step(void *ctx, int64_t now_ns);
struct waker *lane_waker(struct lane *lane);

/* What other threads may look at at any time. */
enum lane_state { LANE_RUNNING, LANE_STOPPING, LANE_STOPPED, LANE_FENCED, LANE_FAILED };
struct lane_status {
    _Atomic int32_t state;   /* enum lane_state */
    _Atomic int32_t opening; /* partitions, by state */
    _Atomic int32_t running;
    _Atomic int32_t stalled;
    _Atomic int32_t failed;
    _Atomic int32_t ended; /* running, input at its end marker, all committed */
    _Atomic bool
        quiet; /* nothing to read, nothing to commit, nothing in flight, at its last step */
};
const struct lane_status *lane_status(const struct lane *lane);

/* For measuring what the always-on figures cost: from the next step on they are left out, or kept again. Thread: the lane's. */
void lane_figures_off(struct lane *lane);
void lane_figures_on(struct lane *lane);

/* Records that the partitions which are open have read. Thread: the lane's. */
int64_t lane_records_read(const struct lane *lane);

/* Why the lane is LANE_FENCED or LANE_FAILED, else why the first partition of it failed that did; empty text: nothing
 * of the kind. Any thread. */
const struct err_info *lane_problem(const struct lane *lane);

/* --- commands: the sender's memory until they are back in `reply` --- */

enum lane_command_kind {
    LANE_OPEN,     /* a partition of the map; answered when it runs or has failed */
    LANE_CLOSE,    /* the same; answered after its last commit */
    LANE_SNAPSHOT, /* figures */
    LANE_MEASURE,  /* figures of one partition; NOT_FOUND */
    LANE_TABLE,    /* a new snapshot of a lookup table */
    LANE_STOP      /* last commit of all, then nothing more; answered then */
};

enum partition_state {
    PARTITION_OPENING,
    PARTITION_RUNNING,
    PARTITION_STALLED,
    PARTITION_CLOSING,
    PARTITION_CLOSED,
    PARTITION_FAILED,
    PARTITION_STATE_COUNT
};

enum stall_reason {
    STALL_NONE,
    STALL_MEMORY,   /* the pipeline's limit: needs an operator */
    STALL_RETRY,    /* a dependency is down */
    STALL_INTERNAL, /* the internal stream it writes is at its bound */
    STALL_REASON_COUNT
};

const char *partition_state_name(enum partition_state state);
const char *stall_reason_name(enum stall_reason reason);

/* What a snapshot says of one partition. */
struct partition_report {
    int32_t stage; /* index of struct stage */
    uint32_t shard, group_lo, group_hi;
    uint64_t epoch;
    enum partition_state state;
    enum stall_reason stall;
    int64_t next_offset[2]; /* processed */
    int64_t committed[2];
    struct partition_figures figures;
    char problem[ERR_TEXT_MAX]; /* why FAILED or STALLED; empty otherwise */
};

/* Selected detail of one partition. */
struct partition_detail {
    uint32_t *group_counts; /* [4096], by key group; zero outside its range */
    struct heavy_entry
        heavy[HEAVY_TOP]; /* heaviest first; counts are of sampled records, old ones by parts */
    int32_t heavy_count;
    uint64_t heavy_sampled; /* all counts */
};

struct lane_snapshot {
    struct partition_report *reports; /* caller's [cap] */
    int32_t cap;
    int32_t ret_count; /* partitions there are; at most `cap` are written */
    struct lane_figures ret_lane;
    struct partition_detail *detail; /* of the partition below; NULL: none wanted */
    int32_t detail_stage;
    uint32_t detail_shard, detail_group_lo;
};

struct lane_open {
    int32_t stage;
    struct partition_place place;
    struct floor_set *floors; /* outlives the lane */
    int32_t floor_slot;
    /* OPEN: what the range's owners of before left; emptied and freed when it runs, else still the sender's. NULL: restore.
     * CLOSE with `want_hand`: what it leaves, the sender's; NULL: it must be restored. */
    struct handover *hand;
    bool want_hand;
    int64_t until
        [2]; /* CLOSE: of each input, first to go on to this offset, if it can be; 0: no farther */
    int64_t ret_ns; /* CLOSE: when it stopped working; OPEN: when it began */
};

struct lane_measure {
    int32_t stage;
    uint32_t shard, group_lo;
    uint32_t *group_counts;          /* caller's [4096], by key group; NULL: not wanted */
    struct partition_report *report; /* the caller's */
    int64_t ret_commit_ns;           /* that a commit of the lane takes at present; 0: none yet */
};

/* A table's reference goes to the lane. */
struct lane_table {
    int32_t stage, index;
    struct lookup_table *table;
};

struct lane_command {
    struct msg msg; /* first */
    enum lane_command_kind kind;
    struct mailbox *reply;
    enum err err;
    struct err_info info;
    union {
        struct lane_open open; /* also CLOSE: stage, shard, group_lo are looked at */
        struct lane_snapshot snapshot;
        struct lane_measure measure;
        struct lane_table table;
    } u;
};

/* Any thread. */
void lane_send(struct lane *lane, struct lane_command *command);

#endif
