// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_SHADOW_PRIV_H
#define NODE_SHADOW_PRIV_H

#include "base/heap.h"
#include "node/lane_priv.h"
#include "node/shadow.h"
#include "node/shadow_part.h"
#include "shadowstore/shadowstore.h"

/* Inside shadows. shadow.c: one shadow's machine; shadow_lane.c: the lane, commands, memory; shadow_measure.c: figures;
 * shadow_results.c: digests and the store; shadow_pair.c: results of two compared; shadow_feed.c: the queue;
 * shadow_check.c: what may be. */

enum {
    SHADOW_WARM_BATCHES = 16,
    SHADOW_BACKLOG_RECORDS = 1 << 16,
    SHADOW_LAG_RECORDS = 4 << 20,
    SHADOW_REOPENS_MAX = 5, /* in a row without having been WARMING */
    SHADOW_PUT_BYTES = 1 << 20,
    SHADOW_COMMIT_BYTES = 256 << 10,
    PAIR_RESULTS_MAX = 16384, /* unmatched ones of one side that are kept */
    QUEUE_RECORDS_MAX = 1 << 17,
    QUEUE_BYTES_MAX = 512 << 10
};

/* --- results on their way to the store: one put flies while the next one fills; what fits neither is dropped --- */

struct shadow_sink;

struct shadow_put {
    struct shadowstore_op op; /* first */
    struct shadow_sink *sink;
    bool in_flight;
    int32_t count;
    struct shadowstore_entry *entries; /* [SHADOWSTORE_PUT_MAX] */
    struct arena payloads;
};

/* Opens the shadow in the store, closes it; then it may outlive the shadow, whose pages may be long in going. */
struct shadow_door {
    struct shadowstore_op op; /* first */
    struct shadow_door *next; /* the lane's: those without a shadow */
    struct shadow_sink *sink; /* NULL: it has none any more */
    bool in_flight;
};

struct shadow_sink {
    struct shadowstore *store; /* NULL: none */
    uint64_t id;
    uint64_t seq;
    bool payloads;
    struct shadow_put puts[2];
    int32_t filling;
    struct shadow_door *door;
    int64_t dropped;
};

/* Opens the shadow in the store, if there is one. Stays where it is: ops point to it. */
void shadow_sink_init(struct shadow_sink *sink, const struct shadow_spec *spec,
                      struct mailbox *done);
void shadow_sink_release(struct shadow_sink *sink);
void shadow_sink_add(struct shadow_sink *sink, struct str key, uint64_t digest, struct str bytes);
/* Submits what has gathered. */
void shadow_sink_step(struct shadow_sink *sink);
void shadow_put_done(struct shadow_put *put);
/* What the digest is of. */
struct str shadow_canonical(struct arena *arena, const struct shadow_result *result);
/* Nothing is in flight. */
bool shadow_sink_still(const struct shadow_sink *sink);
/* Closes the shadow in the store; the door is the caller's, to be freed when its op is back. NULL: there is no store. */
struct shadow_door *shadow_sink_close(struct shadow_sink *sink);

/* --- results of two shadows --- */

struct pair_result {
    uint64_t identity, digest;
    int32_t next; /* of the same identity, younger; or of the free list; -1 */
    uint8_t side;
    bool waits; /* else it is free */
    enum output_kind kind;
    int64_t time_ms;
    int64_t at[2]; /* where the shadow stood in its inputs when it had made it */
    char key[SHADOW_EXAMPLE_BYTES], value[SHADOW_EXAMPLE_BYTES];
};

struct shadow_pair {
    int32_t users; /* 1 or 2 */
    struct pair_side {
        struct shadow *shadow; /* NULL: has ended, or has not come yet */
        int32_t pending;
        int64_t dropped;
    } sides[2];
    struct pair_result *results; /* [cap]; grows */
    int32_t cap, used, free;     /* free: head of the list; -1 */
    int32_t *slots;              /* [slot_cap]: first result; by identity, linear probing */
    int32_t slot_cap, slot_count;
    int64_t equal, differing;
    int64_t missing_before, extra_before, dropped_before; /* shadow_pair_go_on; as side 1 sees it */
    int32_t example_count;
    struct shadow_example examples[SHADOW_EXAMPLES_MAX]; /* own: side 1, partner: side 0 */
};

struct shadow_pair *shadow_pair_new(struct shadow *first);
void shadow_pair_join(struct shadow_pair *pair, struct shadow *second);
/* Another pair's findings, as its second side saw them, come before this one's. */
void shadow_pair_go_on(struct shadow_pair *pair, const struct shadow_comparison *before);
/* Of one user; frees with the last. */
void shadow_pair_leave(struct shadow_pair *pair, const struct shadow *shadow);
void shadow_pair_add(struct shadow_pair *pair, struct shadow *shadow,
                     const struct pair_result *result);
/* Whether the shadow must wait for its partner to come along. */
bool shadow_pair_full(const struct shadow_pair *pair, const struct shadow *shadow);
void shadow_pair_compare(const struct shadow_pair *pair, const struct shadow *own,
                         struct shadow_comparison *ret_comparison);

/* --- the queue --- */

struct feed_queue {   /* of one input */
    struct log_op op; /* first */
    struct shadow_queue *feed;
    bool in_flight;
    struct stream_spec spec;
    struct stage_stream stream; /* as the reading half's stage has it */
    struct shard_id shard;
    struct record_builder builder;
    int64_t begin, appended; /* offsets of the shard: of the generation, of what is there */
    int64_t appended_ns;     /* when the last append was due */
    int64_t marked_ms;
    bool marked_idle;
};

struct shadow_queue {
    struct shadow *shadow;
    struct queue_stream *streams; /* [2], the lane's */
    int32_t count;                /* of inputs */
    struct feed_queue queues[2];
    struct stage stage; /* what the reading half sees */
    enum err err;       /* OK, or why it cannot go on */
    struct err_info problem;
};

void shadow_feed_init(struct shadow_queue *feed, struct shadow *shadow);
void shadow_feed_release(struct shadow_queue *feed);
/* Makes the scratch streams; true when they are there. */
bool shadow_feed_streams(struct shadow_queue *feed);
/* A generation begins: the queues begin where their streams end. */
void shadow_feed_begin(struct shadow_queue *feed);
/* Appends what has gathered, and marks. */
void shadow_feed_step(struct shadow_queue *feed);
void shadow_feed_done(struct feed_queue *queue);
bool shadow_feed_still(const struct shadow_queue *feed);

/* --- measures --- */

struct meter_operator {
    int64_t rows, ns;       /* at the last step */
    int64_t rejected, late; /* when MEASURING began */
    struct meter_last {
        int64_t rejected, late, state_bytes, state_entries;
    } last; /* as last looked at */
    struct shadow_group_ns groups[SHADOW_GROUPS];
};

struct shadow_meter {
    struct shadow_measures
        m; /* of the generation; what is not summed up is filled in when asked for */
    struct probes probes;
    struct meter_operator *operators; /* [probes.count] */
    int64_t result_ns;                /* CPU time on results, ever */
    int64_t own_before;               /* own records of earlier generations */
    struct view_counts counts;        /* when MEASURING began, as the next two */
    int64_t retries, throttled_ns;
    int64_t starved_ns; /* the lane's, when the shadow was asked for */
    int64_t asked_ns;   /* when that was */
    struct meter_full {
        int64_t batches, looked, rows, read_ns, work_ns;
    } full;
    int64_t low_ms;       /* watermark up to which event time is counted; TIME_NONE: none yet */
    int64_t batch_offset; /* of the last batch measured: what it closes is its; -1: none yet */
    int64_t paused_since_ns;
    int64_t begun_ns; /* when the generation was asked for */
};

void shadow_meter_init(struct shadow *shadow);
void shadow_meter_release(struct shadow *shadow);
/* A generation begins. */
void shadow_meter_begin(struct shadow *shadow);
/* MEASURING begins: what came so far was warm-up. */
void shadow_meter_start(struct shadow *shadow, int64_t now_ns);
void shadow_meter_fill(struct shadow *shadow, const struct shadow_measure *measure, int64_t now_ns);
/* Its partitions are about to go: what they alone know is kept. */
void shadow_meter_keep(struct shadow *shadow, int64_t now_ns);

/* --- what all shadows of a pipeline may use --- */

struct shadow_budget {
    struct shadow_budget *next;
    const struct pipeline_env *pipeline;
    struct cpu_bucket bucket;
    int64_t may_run_ns;   /* not before */
    int64_t throttled_ns; /* over, and as far as it is known ahead */
};

/* --- one shadow --- */

struct shadow {
    struct shadow *next;
    struct shadow_lane *lane;
    struct shadow_spec spec;
    int32_t slot; /* names its scratch streams */
    struct sampler sampler;
    struct stage *stage; /* the candidate, or the primary's as it was at the opening */
    enum shadow_state state;
    bool paused;    /* reads nothing; PAUSED, or OPENING until it would be WARMING */
    bool measuring; /* PAUSED: MEASURING before */
    enum shadow_end end;
    char problem[ERR_TEXT_MAX];
    struct partition *part;   /* the whole, or the reading half; NULL: none now */
    struct partition *filler; /* the filling half of a queue; NULL: none now */
    bool dropping;            /* its partitions are going */
    bool closing;             /* it is to be gone when all is still */
    struct shadow_command
        *closed;          /* answered when it is: what its chain was compiled from may go then */
    int32_t reopens;      /* in a row, without having been WARMING */
    int64_t skipped_from; /* where it was when it fell behind; -1: it did not */
    int64_t skip_not_before_ns;
    bool gathering; /* BACKLOG: holds still */
    int64_t gather_until_ns;
    int64_t warm_until[2];
    bool caught_up;
    int32_t warm_left; /* batches */
    /* Event time that windows take to fill; 0: they are full, or not waited for. */
    int64_t warm_span_ms;
    int64_t warm_from_ms; /* watermark at which that began; TIME_NONE: none yet */
    bool warm;
    bool burst_done;
    struct shadow_command *opening; /* OPEN or RESAMPLE, to be answered */
    struct shadow_budget *budget;   /* the lane's */
    struct shadow_queue *feed;      /* QUEUE */
    struct shadow_pair *pair;       /* KEEP_RESULTS */
    struct shadow_sink sink;
    struct shadow_meter *meter;
    struct arena scratch; /* one canonical result */
    struct commit
        written; /* results as a primary would commit them; never sealed, begun anew now and then */
};

struct shadow *shadow_new(struct shadow_lane *lane, const struct shadow_spec *spec,
                          struct stage *stage, int32_t slot);
/* It is still. */
void shadow_free(struct shadow *shadow);

/* The other one of two that were opened from the same commit and has not ended; NULL: there is none. */
struct shadow *shadow_partner(const struct shadow *shadow);

/* Another generation, with what `spec` now says, from the primary's last commit; partners together, so that they see the same
 * from the same commit on. */
void shadow_reopen(struct shadow *shadow);
void shadow_finish(struct shadow *shadow, enum shadow_end end, const char *problem);
/* Moves on by what has happened; returns its next deadline. */
int64_t shadow_advance(struct shadow *shadow, int64_t now_ns);
void shadow_pause(struct shadow *shadow, bool paused, int64_t now_ns);
/* Nothing of it is in flight and its partitions are gone. */
bool shadow_still(const struct shadow *shadow);
void shadow_answer(struct shadow_command *command, enum err err, const struct err_info *info);

/* --- the lane --- */

struct queue_stream {
    bool known;
    struct stream_info info;
};

struct shadow_lane {
    struct shadow_lane_options options;
    struct lane *lane;
    struct heap *heap;
    struct log *log;
    const struct clock *clock;
    uint16_t number;
    int64_t memory_bytes;
    double budget; /* of a core: the lane's own */
    int64_t now_ns;
    int64_t due_ns;            /* when the last step wanted the next one; CLOCK_NEVER: at no time */
    int64_t starved_ns;        /* since the start */
    struct mailbox commands;   /* these wake the lane */
    struct mailbox log_done;   /* of feed_queue */
    struct mailbox store_done; /* of shadow_put, shadow_door */
    struct mailbox stopped;    /* the inner lane's answer */
    struct shadow *shadows;
    struct shadow_door *doors;     /* of shadows that are gone */
    struct shadow_budget *budgets; /* of pipelines that have had a shadow, or were told of one */
    uint32_t slots;                /* bit k: slot k is taken */
    struct queue_stream queues[SHADOWS_MAX][2];
    bool killing; /* one goes for memory: the next one waits until its memory is back */
    struct shadow_command *stopping;
    struct lane_command stop;
    bool stop_sent;
    struct shadow_lane_status status;
};

struct shadow *shadow_find(struct shadow_lane *lane, uint64_t id);

/* A pipeline's; made with the lane's own budget when it is asked for first. Stays as long as the lane. */
struct shadow_budget *shadow_budget_of(struct shadow_lane *lane,
                                       const struct pipeline_env *pipeline);

/* A shadow's state has changed. */
void shadow_lane_changed(struct shadow_lane *lane);

#endif
