// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_PARTITION_H
#define NODE_PARTITION_H

#include "node/changelog.h"
#include "node/commit.h"
#include "node/decode.h"
#include "node/lane.h"

/* A partition on its lane: views over its input shards, chain and keyed state, and where its outputs go. One mechanism
 * starts it, whatever for: open a view from a checkpoint into a sink. A primary's sink is its lane's commit; a shadow's is
 * what node/shadow_part.h does with it, and its view is a sample.
 *
 *             restored                 a reason to wait
 *   OPENING ------------> RUNNING <---------------------> STALLED
 *      |  ^                 |   \                          |  |
 *      |  |  lane reset     |    +--------- close ---------+  |
 *      |  +-----------------+-----------------+    |          |
 *      |                    |                 |    v          |
 *      +---- cannot be -----+-> FAILED        +- CLOSING      |
 *             restored      |                      | last commit
 *                           +---- cannot go on ----|----------+
 *                                                  v
 *                                                CLOSED
 *
 *   from      to        by
 *   OPENING   RUNNING   partition_begin          after the restore's last entry
 *   RUNNING   STALLED   partition_step           memory limit, dependency down, internal stream at its bound
 *   STALLED   RUNNING   partition_step           the reason has gone
 *   any       OPENING   partition_reopen         the lane was reset: from the last commit again
 *   any       CLOSING   the lane's close
 *   CLOSING   CLOSED    the lane, when the commit that holds its last cut is acknowledged
 *   any       FAILED    partition_fail           needs an operator; what it had finished is still committed
 *
 * Invariants:
 *   P1  Between steps, state, position and outputs are of the same rows: a cut (P1a: but for a batch that waits for a
 *       dependency; then the commit already holds a cut from before that batch).
 *   P2  Outputs go into a commit only together with the cut they belong to, or the commit is thrown away with them.
 *   P3  `advanced_ms` is the watermark up to which everything was emitted; markers say that, less what its operators hold
 *       back, and never more.
 *   P4  A shadow is in no commit.
 *   P5  Chain and state appear with the first own row, or with the first restored entry. */

/* What a lane lends a partition for one batch; a partition that must try again keeps it. */
struct bench {
    struct bench *next;
    struct arena batch_arena; /* the batch and what operators make of it */
    struct arena out_arena;   /* outputs */
    struct chain_out out;
};

/* What one step works with. */
struct work {
    const struct clock *clock;
    const struct lane_tuning *tuning;
    struct decode_cache *cache;
    struct bench *bench; /* replaced by the lane when a partition kept it */
    struct commit *commit;
    int64_t now_ns;
    struct clock_lap lap;
    bool wrote;          /* outputs went into the commit; the lane clears it */
    ptrdiff_t out_bytes; /* that the last outputs took */
    struct err_info info;
};

struct handover;
struct lane_shard;
struct shadow;
struct shadow_queue;
struct second_day;

/* A batch that waits for a dependency. */
struct parked {
    struct bench *bench;
    struct decoded *kept;    /* with the batch's rows; NULL: windows were being closed */
    const struct rows *rows; /* of kept */
    struct view_slice slice;
    int64_t backoff_ns;
};

struct partition {
    struct partition *next;       /* the lane's: all */
    struct partition *ready_next; /* the lane's: to be stepped */
    struct partition *dirty_next; /* the lane's: to be cut at the next seal */
    bool ready, dirty, in_flight;
    bool claimed; /* in the commit being filled */
    int32_t claim_index;
    int64_t delta_bytes; /* of its state, as the lane last counted it */

    struct stage *stage;
    struct partition_place place;
    enum partition_state state;
    enum partition_state counted; /* as the lane last counted it */
    bool counted_ended;           /* the same */
    enum stall_reason stall;
    struct shadow *shadow;     /* of a shadow lane (node/shadow_part.h); NULL: a primary */
    struct shadow_queue *feed; /* the half of a shadow that fills its queue; else NULL */
    bool queued;               /* the half that reads from it */
    bool held;                 /* is not to be stepped for now */
    bool behind;               /* what it wanted to read was trimmed: a shadow opens again */
    int64_t restore_at;        /* the commit to open from; LOG_AT_LAST */
    enum err failed_with;      /* FAILED: the error's kind */
    struct floor_set *floors;
    int32_t floor_slot;
    struct lane_command *opening, *closing; /* to be answered */
    bool movable; /* closing: what it has in memory is what its last commit will say */

    struct lookup_table *const *lookup_tables; /* the lane's */
    struct lane_shard *shards[2];
    struct position_map restored[2];
    struct second_day
        *second_day; /* while restoring: what an earlier chain left; NULL: nothing odd */
    struct view views[2];
    struct state *state_kept; /* P5 */
    struct chain *chain;
    struct parked *parked;
    int64_t retry_ns; /* when a stalled one tries again */

    int64_t advanced_ms; /* P3 */
    bool advancing;      /* more to emit for the present watermark */
    bool idle;           /* all inputs are */
    bool moved[2];       /* position changed since the last cut */
    int64_t marked_ms;   /* of the last marker; TIME_NONE: none */
    bool marked_idle;
    bool meta_written;
    bool hurry; /* handed over and behind since: its results leave with every commit that can go */
    bool cut_each;                 /* a cut after every batch: an operator may have to wait (P1a) */
    double row_cost_ns, row_bytes; /* CPU and arena of an own row, smoothed; 0: not known yet */
    int64_t tick_ns;

    int64_t committed[2];
    int64_t changelog_since;  /* bytes since the last checkpoint round began, or of the restore */
    int32_t checkpoint_block; /* next to take; -1: no round */

    struct partition_figures figures;
    int64_t sampled_read, sampled_own, sampled_ns; /* at the last look at rates */
    int64_t sampled_end[2];
    /* [hi - lo] each: records by key group, and those that are not in there yet (partition_counts.c). */
    uint32_t *group_counts;
    uint8_t *group_rest;
    struct heavy *heavy;
    bool heavy_seldom; /* it has come to HEAVY_LOOKS before */
    char problem[ERR_TEXT_MAX];
};

enum step_result {
    STEP_WORKED,  /* did something: call again */
    STEP_DRAINED, /* nothing to read */
    STEP_READ,    /* wants what ret_input's shard holds at its cursor */
    STEP_STALLED, /* until retry_ns */
    STEP_KEPT,    /* the same, and it kept the bench */
    STEP_FAILED,  /* FAILED; consistent: will be cut */
    STEP_BROKEN   /* FAILED, and what it left in the commit is no cut: the lane must be reset */
};

/* Records so far of each key group of its range.
 *   ret_counts   [KEY_GROUP_COUNT]; the others are left as they are, and all of them if there were no records */
void partition_put_group_counts(const struct partition *part, uint32_t *ret_counts);

struct partition *partition_new(struct stage *stage, const struct partition_place *place);
void partition_free(struct partition *part);

/* Forgets everything but what it is: before another restore, or because it will not run again. Gives back what it keeps
 * to `cache` and returns the bench it kept, if any. */
struct bench *partition_clear(struct partition *part, struct decode_cache *cache);

/* Entries of its changelog, up to STATE_APPLY_MAX, in their order. Errors: CORRUPT, and chain_new's. */
ATTR_NODISCARD enum err partition_restore(struct partition *part,
                                          const struct restore_entry *entries, int32_t count,
                                          struct err_info *info);

/* All entries are applied: OPENING -> RUNNING. NEEDS_OPERATOR: an earlier chain left state that this one cannot continue. */
ATTR_NODISCARD enum err partition_begin(struct partition *part, int64_t now_ns,
                                        struct err_info *info);

/* One batch, or one piece of closing windows. */
enum step_result partition_step(struct partition *part, struct work *work, int32_t *ret_input);

/* Early results that are due. */
enum step_result partition_tick(struct partition *part, struct work *work);

/* The shard of `input` is silent (view_tick). True if that moved its watermark: there are news, and perhaps more to emit. */
bool partition_idle(struct partition *part, int32_t input);

/* Puts delta, positions and markers into the commit being filled, and claims it: a cut. A primary between steps. */
ATTR_NODISCARD enum err partition_cut(struct partition *part, struct commit *commit,
                                      struct err_info *info);

/* Whether a cut would hold something. */
bool partition_has_news(const struct partition *part);

/* Whether what it has in memory is what its commits say, so that it may be handed over; else it must be restored. */
bool partition_may_move(const struct partition *part);

/* Takes state and positions out: it is closing, was allowed to move when it stopped, and all of it is committed. The caller's;
 * what is left is to be cleared. */
struct handover *partition_export(struct partition *part);

/* Instead of a restore: puts in what was exported, range for range. `hand` is an empty shell then. Errors: chain_new's, with
 * nothing put in. */
ATTR_NODISCARD enum err partition_adopt(struct partition *part, struct handover *hand,
                                        struct err_info *info);

void partition_fail(struct partition *part, const struct err_info *info);

/* Its input has ended, everything is emitted. */
bool partition_ended(const struct partition *part);

/* It was restored without state that its chain cannot continue (stage->drop_state). */
bool partition_dropped_state(const struct partition *part);

/* Largest event time up to which its inputs are complete; ret_idle: all of them are idle. */
int64_t partition_watermark(struct partition *part, bool *ret_idle);

/* What a checkpoint of a block will hold; buffers are kept from dump to dump. */
struct dump {
    struct record_builder builder;
    uint8_t *bytes; /* heap: record batches */
    ptrdiff_t len, cap;
};

/* Dumps meta, positions and state of groups [lo, hi), as they are now. LIMIT: an entry is larger than a batch may be. */
ATTR_NODISCARD enum err partition_dump(struct partition *part, uint32_t group_lo, uint32_t group_hi,
                                       struct dump *dump, struct err_info *info);

/* End of an input shard as the lane last saw it (lane.c). */
int64_t lane_shard_end(const struct lane_shard *shard);
struct decode_shard *lane_shard_entries(struct lane_shard *shard);
const struct decode_rules *lane_shard_rules(const struct lane_shard *shard);

#endif
