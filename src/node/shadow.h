// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_SHADOW_H
#define NODE_SHADOW_H

#include "base/sketch.h"
#include "node/lane.h"
#include "node/shadow_sample.h"
#include "pipeline/probe.h"

/* A shadow: the temporary sampled twin of a primary. It is the same act as every other opening (a view from a checkpoint
 * into a sink): the view is a sample of the primary's keys, the checkpoint is the primary's last commit, the sink is a
 * digest and, if asked for, a shadow store. It runs on a shadow lane: a lane that owns no primaries and never commits,
 * whose thread is of the idle scheduling class and has a heap of its own. The live path does nothing for it, waits for it
 * nowhere and shares no lock with it.
 *
 *                 restored           caught up, warm
 *   OPENING ---------------> WARMING ---------------> MEASURING
 *      ^                        |  ^                    |  ^
 *      |                  pause |  | resume       pause |  | resume
 *      |                        v  |                    v  |
 *      |                       PAUSED <-----------------+  |
 *      |                          +------------------------+
 *      +-- reopened: another sample, too far behind, records trimmed before they were read -- any but ENDED
 *
 *   any --burst done, memory, cannot go on--> ENDED    (kept until closed, so that its measures can be read)
 *
 * Invariants:
 *   W1  Nothing of a shadow reaches a commit, a floor or the pipeline's count of state bytes.
 *   W2  Figures speak of one generation (one sample, opened once) and of MEASURING only: what came before is warm-up.
 *   W3  Every record of the sample is measured, or counted as dropped: never silently left out.
 *   W4  When ENDED nothing of it is in flight, and all its memory but the measures is given back.
 *   W5  Same sample, same results, whichever transport carries it: those of the primary for the same keys.
 *
 * Thread: the lane's, but for shadow_lane_send, _status, _waker, and the pure functions: any. */

struct shadow_lane;
struct shadowstore; /* shadowstore/shadowstore.h */

enum {
    SHADOWS_MAX = 32,       /* on a lane, ended ones that were not closed included */
    SHADOW_GROUPS = 64,     /* batch means kept */
    SHADOW_REASONS_MAX = 8, /* different texts of rejects kept */
    SHADOW_EXAMPLES_MAX = 8,
    SHADOW_EXAMPLE_BYTES = 120
};

/* --- what a shadow is told --- */

enum shadow_transport {
    SHADOW_VIEW, /* a second cursor on the primary's shards */
    SHADOW_QUEUE /* a scratch stream that carries the sample, filled by a view of its own on the shadow lane */
};

enum shadow_feed {
    SHADOW_FOLLOW, /* records as they come */
    SHADOW_BACKLOG /* lets a backlog grow, then drains it at full speed, again and again: the maximum service rate */
};

enum shadow_flags {
    SHADOW_DROP_STATE = 1, /* state that the candidate's chain cannot continue is forgotten: cold */
    SHADOW_KEEP_RESULTS = 2, /* digests and beginnings are kept until a partner's match them */
    SHADOW_NO_PROBES = 4,    /* operators are not timed: bare ratios, and what timing costs */
    SHADOW_PAYLOADS = 8      /* results go to the store whole, not as digest and size */
};

struct shadow_spec {
    uint64_t id;   /* the caller's, > 0, unique on the lane */
    int32_t stage; /* of the runtime: the primary's */
    /* shadow_candidate_stage(); outlives the shadow. NULL: the primary's own settings */
    const struct stage *candidate;
    uint32_t shard, group_lo, group_hi; /* the primary's range or a part of it ("half the range") */
    struct shadow_sample sample;
    enum shadow_transport transport;
    enum shadow_feed feed;
    uint32_t flags; /* enum shadow_flags */
    /* Opens from the same commit as that shadow of this lane, with the same range and sample; with KEEP_RESULTS on both,
     * their results are compared. 0: none. */
    uint64_t partner;
    int64_t warm_until[2]; /* offset of each input where the primary was; < 0: the shard's end */
    int32_t warm_batches;  /* after that; 0: 16 */
    /* A candidate that had to drop state warms until its windows are full, if they need no more event time than this; a
     * longer one is measured as it is: cold. 0: as it is */
    int64_t warm_span_ms_max;
    /* Own rows of a batch, at most: of a comparison as many as the primary's have in the mean, since what a batch costs by
     * itself is shared by them. 0: as many as there may be */
    int32_t batch_rows;
    int64_t records_max;     /* own records measured, then it ends as DONE: a burst. 0: no limit */
    int64_t backlog_records; /* BACKLOG: of the shard, gathered before each drain; 0: 65536 */
    int64_t backlog_wait_ns; /* BACKLOG: or when it has waited so long; 0: 2 s */
    /* Of the shard; further behind, it skips to the primary's last commit, and what it passed over counts as dropped.
     * 0: 4 Mi */
    int64_t lag_records_max;
    /* Results go there, too: the lane opens the shadow in it and closes it with the shadow. NULL: digests only. Outlives
     * the lane. */
    struct shadowstore *store;
};

/* Whether a shadow of this kind can be: range and sample within what the stage has, by record only without state,
 * declared effects only (of the stage or the candidate), a candidate that reads the same inputs and lookups. Pure. Any
 * thread. Errors: INVALID, UNSUPPORTED; `info` names the operator and what is allowed. */
ATTR_NODISCARD enum err shadow_check(const struct stage *stage, const struct shadow_spec *spec,
                                     struct err_info *info);

/* The primary's stage with another plan: other knobs, another plug-in, another text. `ret_stage` is the caller's memory and
 * points to what `primary` points to. Errors: UNSUPPORTED (other inputs, other lookup tables). */
ATTR_NODISCARD enum err shadow_candidate_stage(const struct stage *primary,
                                               const struct stage_plan *plan, bool drop_state,
                                               struct stage *ret_stage, struct err_info *info);

/* --- states --- */

enum shadow_state {
    SHADOW_OPENING,
    SHADOW_WARMING,
    SHADOW_MEASURING,
    SHADOW_PAUSED,
    SHADOW_ENDED,
    SHADOW_STATE_COUNT
};

enum shadow_end {
    SHADOW_END_NONE,   /* it has not ended */
    SHADOW_END_DONE,   /* records_max reached */
    SHADOW_END_MEMORY, /* the lane's memory bound: the largest shadow goes first */
    SHADOW_END_FAILED, /* cannot go on: `problem` */
    SHADOW_END_COUNT
};

const char *shadow_state_name(enum shadow_state state);
const char *shadow_end_name(enum shadow_end end);

/* --- what is measured --- */

/* Batch means. Group k holds what came of source offsets [(first + k) << shift, (first + k + 1) << shift) of input 0, so
 * that twins on the same sample have the same groups and can be compared in pairs. When there would be more than
 * SHADOW_GROUPS, neighbours are joined and shift rises. The first and the last group may be cut short. */
struct shadow_groups {
    int32_t shift, count;
    int64_t first;
    struct shadow_group {
        int64_t rows;    /* own records */
        int64_t batches; /* in which they came */
        int64_t read_ns; /* fetch, check, inflate, decode, choose; CPU */
        int64_t work_ns; /* chain, timers, probes taken off; CPU */
        /* Windows that close together: what that took of work_ns, event time that they stand for (as many hops as closed) and
         * that passed meanwhile. Few closings fall into a stretch: what they cost a record is told by time. 0: none do. */
        int64_t close_ns, closed_ms, time_ms;
        int64_t rows_out;
        int64_t heavy_rows; /* of rows: of the heavy stratum */
    } group[SHADOW_GROUPS];
};

struct shadow_operator {
    char name[OPERATOR_FIELD_NAME_MAX];
    const char *type;
    struct probe probe;                 /* all zeros with SHADOW_NO_PROBES */
    int64_t rejected, late;             /* errors by kind; probe.again: waits for a dependency */
    int64_t state_bytes, state_entries; /* now */
    struct shadow_group_ns {
        int64_t rows, ns;
    } groups[SHADOW_GROUPS]; /* by shadow_groups' bounds */
};

struct shadow_reason {
    char text[96];
    int64_t count;
};

struct shadow_measures {
    uint64_t id;
    enum shadow_state state;
    enum shadow_end end;
    char problem[ERR_TEXT_MAX]; /* why it ended, or waits; empty otherwise */
    uint32_t
        generation; /* 1, 2, ...: rises with every reopening; all below speaks of the present one (W2) */
    /* A stage with state, records before the commit, and no state of the sampled keys; not if its windows have filled since. */
    bool cold;
    bool catching_up; /* behind by more than one read */
    int64_t opened_ns, measuring_ns,
        now_ns;        /* lane's clock: restored; MEASURING since (0: not yet) */
    int64_t commit_at; /* changelog offset that it was opened from */
    int64_t restored_entries, restored_bytes, restore_ns;
    int64_t begin_offset[2], next_offset[2],
        end_offset[2]; /* opened at, processed up to, end of the shard */

    /* the sample */
    int64_t records_seen;                  /* of the primary's range, looked at while MEASURING */
    int64_t records_heavy, records_hashed; /* own, by stratum */
    int64_t records_left;                  /* of left-out keys, looked at */
    int64_t records_dropped;               /* of the shard: passed over, over all generations */
    int64_t warm_records;                  /* own, before MEASURING */
    double requested,
        reached; /* shares of the primary's records: what the choice expected of; what came */
    double
        completeness; /* of the sample since the first generation: measured or warmed, over that and what was dropped or
                       * still waits (following only: a backlog is meant to wait); NaN: it has had nothing */

    /* cost, CPU, over own records unless said otherwise */
    struct probe_moments read; /* rows_in: looked at; rows_out: own */
    struct probe_moments work; /* the chain as a whole: what the primary's work cost is */
    int64_t overhead_ns;       /* probes, digests, results: not in the above */
    struct histogram batch_ns; /* work of a batch; weighted by rows */
    struct histogram row_ps;
    struct shadow_groups groups;

    /* queueing */
    int64_t lag_records; /* of the shard, behind its end */
    struct histogram
        wait_ns; /* from when the lane saw a record to when it was processed; weighted by rows */
    int64_t paused_ns, throttled_ns; /* wall time; throttled: its pipeline's budget or the lane's */
    /* wall time since `asked_ns` in which the lane had work, and the machine no processor for it; over all generations */
    int64_t starved_ns;
    int64_t asked_ns; /* lane's clock: it was asked for */
    double
        rate_max; /* own records per second of CPU, reading included, of full batches; 0: there were none */
    int64_t full_batches;

    /* results */
    int64_t results, late, dead_letters, retries;
    int64_t digest_results; /* in `digest` */
    int64_t result_bytes;
    uint64_t
        digest; /* sum of XXH3-64 of the canonical results of the generation, warm-up included */
    int64_t store_dropped; /* results that the store's queue had no room for */
    int32_t reason_count;
    struct shadow_reason reasons[SHADOW_REASONS_MAX];

    int64_t state_bytes, state_entries;
    int32_t operator_count;
};

/* Results of two partners, matched by (kind, key, event time, number among equals). */
struct shadow_example {
    enum shadow_example_kind {
        SHADOW_DIFFERING,
        SHADOW_MISSING, /* the partner has it, this one has not */
        SHADOW_EXTRA
    } kind;
    enum output_kind output;
    int64_t time_ms;
    /* beginnings, cut at SHADOW_EXAMPLE_BYTES, ended by 0 */
    char key[SHADOW_EXAMPLE_BYTES], own[SHADOW_EXAMPLE_BYTES], partner[SHADOW_EXAMPLE_BYTES];
};

struct shadow_comparison {
    int64_t equal, differing, missing, extra;
    int64_t pending; /* the other one has not come so far yet */
    int64_t dropped; /* there was no room: not compared */
    int32_t example_count;
    struct shadow_example examples[SHADOW_EXAMPLES_MAX];
};

/* A result as it is told from others: content, not place. Views. */
struct shadow_result {
    enum output_kind kind;
    struct str key, value; /* ptr NULL: absent */
    int64_t time_ms;
    struct str headers; /* encoded block; reserved ones but the reason do not count */
};

/* XXH3-64 of its canonical form; equal for what a primary wrote and what its shadow made. Pure; takes memory of `arena`. */
uint64_t shadow_digest(struct arena *arena, const struct shadow_result *result);

/* --- commands: the sender's memory until they are back in `reply` --- */

enum shadow_command_kind {
    SHADOW_OPEN, /* u.open; answered when it is WARMING, or cannot be. EXISTS, LIMIT, INVALID, UNSUPPORTED,
                      * NEEDS_OPERATOR (a candidate that cannot continue the state), and the restore's */
    SHADOW_CLOSE, /* u.measure (may be NULL pointers): last measures, then it is gone, whatever it was doing; an OPEN or RESAMPLE
 * that was not answered yet is answered CANCELLED. NOT_FOUND */
    SHADOW_PAUSE, /* u.id. It reads nothing; it holds its memory */
    SHADOW_RESUME, /* u.id. It catches up from where it was */
    SHADOW_RESAMPLE, /* u.resample: another sample: measures of the present generation, then it reopens from the
                      * primary's last commit as the next one, its partner with it. Answered when it is WARMING again */
    SHADOW_MEASURE, /* u.measure. NOT_FOUND */
    SHADOW_COMPARE, /* u.compare. NOT_FOUND, INVALID (no partner that kept its results) */
    SHADOW_LIST,    /* u.list */
    SHADOW_LIMITS,  /* u.limits: from now on */
    SHADOW_STOP /* closes all; answered when nothing is in flight any more. The lane takes nothing more */
};

struct shadow_measure {
    uint64_t id;
    struct shadow_measures *measures;  /* the caller's; NULL: not wanted. Large: not on a stack */
    struct shadow_operator *operators; /* the caller's [operator_cap], in the order of the chain */
    int32_t operator_cap;
    uint32_t *
        group_counts; /* the caller's [KEY_GROUP_COUNT]: own records by key group; NULL: not wanted */
};

struct shadow_brief {
    uint64_t id;
    enum shadow_state state;
    enum shadow_end end;
    uint32_t generation;
    int64_t memory_bytes; /* state; about */
};

struct shadow_command {
    struct msg msg; /* first */
    enum shadow_command_kind kind;
    struct mailbox *reply;
    enum err err;
    struct err_info info;
    union {
        struct shadow_spec open;
        uint64_t id;
        struct {
            struct shadow_measure last; /* of the generation that ends; its id is the shadow's */
            struct shadow_sample sample;
        } resample;
        struct shadow_measure measure;
        struct {
            uint64_t id;                          /* compared with its partner */
            struct shadow_comparison *comparison; /* the caller's */
        } compare;
        struct {
            struct shadow_brief *briefs; /* the caller's [cap] */
            int32_t cap, ret_count;
        } list;
        struct shadow_limits {
            double budget;        /* of a core, 0.001..1; 0: as it is */
            int64_t memory_bytes; /* of the whole lane; 0: as it is */
            /* The budget is of all shadows of the pipeline that this stage belongs to; < 0: of the whole lane. */
            int32_t stage;
        } limits;
    } u;
};

/* --- the lane --- */

struct shadow_lane_options {
    struct log *log;
    const struct clock *clock;
    struct stage *_Atomic const *stages; /* as in lane_options */
    int32_t stage_count;
    uint16_t number; /* of the lane in its process: names its scratch streams */
    double
        budget; /* of a core, all shadows together, reading included; until LIMITS also of each pipeline's */
    int64_t memory_bytes; /* bound of its heap: all shadows together */
    struct lane_tuning tuning;
};

struct shadow_lane *shadow_lane_new(const struct shadow_lane_options *options);
void shadow_lane_free(struct shadow_lane *lane);

/* A loop_step; its loop is of LOOP_IDLE. */
int64_t shadow_lane_step(void *ctx, int64_t now_ns);
struct waker *shadow_lane_waker(struct shadow_lane *lane);

/* Any thread. */
void shadow_lane_send(struct shadow_lane *lane, struct shadow_command *command);

/* What other threads may look at at any time. */
struct shadow_lane_status {
    _Atomic int32_t open;     /* shadows that have not ended */
    _Atomic int32_t ended;    /* and were not closed yet */
    _Atomic uint32_t changes; /* rises with every change of a shadow's state: then LIST says more */
    _Atomic int64_t memory_bytes;                     /* of its heap, now */
    _Atomic int64_t memory_max;                       /* the bound */
    _Atomic int64_t killed;                           /* shadows ended for memory since the start */
    _Atomic int64_t cpu_ns, throttled_ns, starved_ns; /* since the start */
    _Atomic bool stopped;
};
const struct shadow_lane_status *shadow_lane_status(const struct shadow_lane *lane);

/* A new snapshot of a lookup table: a LANE_TABLE command. Any thread. */
void shadow_lane_send_table(struct shadow_lane *lane, struct lane_command *command);

#endif
