// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_CONTROL_PRIV_H
#define CONTROL_CONTROL_PRIV_H

#include "base/rng.h"
#include "control/control.h"
#include "control/dedupe.h"
#include "control/operations.h"
#include "control/shadows.h"
#include "log/record_batch.h"
#include "pipeline/json.h"

/* Inside of control. A *job* is one request being carried out: it submits ops to the log and goes on in `then` when all
 * of them are back. Jobs come from a fixed pool; requests that find it empty wait in the order they came.
 *
 * Invariants:
 *   J1  a job's `then` runs when op_count has fallen to 0, once, on control's loop; nothing else runs for it meanwhile.
 *   J2  an op that completes as AGAIN is submitted again, unchanged, after a pause; its job does not see it.
 *   J3  at most one commit of control's owner is in flight; its jobs are answered in the order they came. */

enum {
    JOBS_MAX = 512,
    COMMIT_JOBS_MAX = 64,        /* calls in one commit */
    COMMIT_BYTES_MAX = 16 << 20, /* their batches; one call alone may be larger */
    COMMIT_BATCHES_MAX = 4096,
    READ_SLOTS = 4, /* reads carried out at once */
    AGAIN_TRIES_MAX = 200,
    EVENTS_KEPT = 1024,
    CONFIG_TEXTS_MAX = 256 /* replaced in one run of the process */
};
#define AGAIN_PAUSE_NS     (20 * 1000000LL)
#define IDEMPOTENCY_MS     (24 * 3600000LL)
#define PRODUCER_EXPIRY_MS (7 * 24 * 3600000LL)
#define CHECKPOINT_BYTES   (16LL << 20)
#define SNAPSHOT_FRESH_NS  (250 * 1000000LL)
#define SNAPSHOT_WAIT_NS   (2000 * 1000000LL)
#define INGEST_STREAM      "sc.ingest"
#define AUDIT_STREAM       "sc.audit"

#define CONFIG_TEXT_ARENA_MAX (256LL << 20)

struct job;
typedef void (*job_fn)(struct job *job);

/* An op of a job's; the job knows how many are out. */
struct job_op {
    struct log_op op; /* first */
    struct job *job;
    int64_t due_ns; /* of the next try, while it waits for one */
    int32_t tries;
    struct job_op *next; /* in the list of those that wait */
};

/* What an ingest call is on its way into a commit. */
struct ingest_job {
    struct stream_info info;
    const struct stream_spec *spec; /* NULL: not configured: defaults */
    struct log_batch *batches;      /* [batch_count], the request's arena */
    int32_t batch_count;
    int64_t bytes;
    int64_t records, rejected;
    int64_t keys;              /* lines in the call: what a producer's sequence counts */
    char reason[ERR_TEXT_MAX]; /* of the first refusal */
    bool remember;             /* has a dedupe entry */
    bool had_before;
    bool alone; /* was in a commit that failed: try it by itself */
    struct dedupe_entry before, after;
    char key[DEDUPE_KEY_MAX + 1];
    ptrdiff_t key_len;
};

struct job {
    struct job_op one; /* for jobs that have one op at a time */
    struct control *control;
    struct control_request *request;
    job_fn then;
    int32_t op_count; /* out */
    struct job *next; /* in the pool or a list */
    int32_t index, count;
    void *rows;
    struct stream_info *infos;
    struct read_slot *slot;
    struct ingest_job *ingest;
};

struct job_list {
    struct job *first, *last;
};

struct read_slot {
    struct log_reader *reader;
    void *buf; /* LOG_BATCH_BYTES_MAX and JSON_PADDING behind it */
    bool taken;
};

/* Streams of control's own whose records are rows (own_stream.h). */
enum own_stream_id { OWN_SAMPLES, OWN_DECISIONS, OWN_SHADOWS, OWN_STREAM_COUNT };
struct own_stream;
struct history;
struct forecaster;
struct monitor;
struct manager_shell;
struct ledger;

enum control_state { CONTROL_STARTING, CONTROL_SERVING, CONTROL_FAILED };

/* Snapshots of all lanes: what is read is the last whole answer; a lane that is asked fills another buffer. */
struct lane_view {
    struct lane_command command; /* first */
    struct control *control;
    bool out;
    struct lane_figures figures;
    struct partition_report *reports; /* control's [report_count] */
    int32_t report_cap, report_count;
    struct partition_report *filling; /* the lane's while `out` */
    int32_t filling_cap;
};

/* Something that happened, as kept for those who listen. */
struct event {
    const char *kind, *state; /* literals */
    char subject[CONTROL_PARTITION_MAX + 1];
    char detail[ERR_TEXT_MAX];
    int64_t operation, time_ms;
};

struct config_text; /* operations_priv.h */

struct control {
    struct log *log;
    const struct clock *clock;
    const struct config *config;
    struct node_runtime *runtime;
    struct rng rng;
    struct waker *waker; /* the runtime's: one loop, one waker */
    struct mailbox requests, completions, lane_replies;
    _Atomic int32_t state; /* enum control_state; written by the loop */
    _Atomic bool draining;
    struct err_info why; /* of FAILED */
    int64_t now_ns, started_ns;
    /* jobs */
    struct job *pool;
    struct job *free_jobs;
    struct control_request *waiting_first, *waiting_last; /* found no job */
    struct job_op *again;                                 /* ops that wait for their next try */
    struct job start_job;
    /* reading */
    struct read_slot slots[READ_SLOTS];
    struct job_list want_slot;
    struct job_list sleepers; /* long reads; request->deadline_ns */
    struct record_reader record_reader;
    struct json_reader *json;     /* of whole records, and of times */
    struct json_reader *key_json; /* of keys: a reader learns the order of one shape's fields, */
    char key_json_field[CONTROL_FIELD_MAX + 1]; /* so it is for this field */
    struct arena scratch;                       /* reset whenever a job has used it */
    /* taking in */
    struct owner_id owner;
    uint32_t incarnation;
    int64_t commit_sequence;
    bool commit_out;
    struct job commit_job;
    struct job_list pending;    /* calls that wait for a commit */
    struct job_list committing; /* those in it */
    struct log_batch *commit_batches;
    struct shard_id ingest_shard;
    struct dedupe *dedupe;
    struct record_builder *builders; /* [LOG_SHARDS_PER_STREAM_MAX] */
    struct record_builder entries;   /* of the changelog's batch */
    struct record_builder audit_builder;
    int64_t changelog_bytes, changelog_end;
    bool checkpoint_out;
    struct job checkpoint_job;
    void *checkpoint_bytes;
    char left_over[512]; /* written before SERVING */
    /* audit */
    struct shard_id audit_shard;
    uint32_t audit_chain; /* CRC32C over all records' values */
    bool audit_out;
    struct job_list auditing; /* first: in flight */
    /* figures */
    struct lane_view *lanes;
    int32_t lane_count, lanes_out;
    bool snapshot_known;
    int64_t snapshot_ns; /* when it was taken */
    struct job_list want_snapshot;
    struct process_row process;
    int64_t no_space_ns;    /* when the log last had no space; 0: never */
    struct mailbox details; /* of partitions, from lanes */
    /* operations */
    struct operations operations;
    struct operation
        *running; /* those with a run, by run->next: also such that have no number yet */
    int32_t running_count, operations_unreadable;
    bool operations_resolved, records_out, changes_begun;
    struct shard_id operations_shard;
    struct record_builder operation_builder;
    struct job record_job;
    struct job_list operation_waiters;
    struct layout_row layouts[OPERATION_KIND_COUNT][3]; /* done, undone, needs operator */
    struct config_text *texts;                          /* that came by the API */
    int32_t text_count;
    /* samples, decisions, their local view */
    struct history *history;       /* NULL: there is none */
    struct forecaster *forecaster; /* NULL: there is none */
    struct mailbox history_done, forecaster_done;
    struct own_stream *own[OWN_STREAM_COUNT];
    job_fn own_created;
    struct monitor *monitor;
    struct manager_shell *manager;
    /* shadows */
    struct shadows shadows;
    struct shadow_watch watch;
    struct mailbox shadow_replies, shadow_details;
    struct shadow_command shadow_limits;
    bool shadow_limits_out, shadows_resolved;
    const struct control_store *stores;
    int32_t store_count;
    double shadow_budget; /* of a core, as the lane was told */
    int32_t shadows_unreadable;
    struct job_list shadow_waiters;
    struct ledger *ledger;
    struct mailbox plan_done; /* orders of the plan that is carried out */
    const struct control_past *past;
    const struct policy_params *rival_params;
    struct store_view *store_views; /* [store_count] */
    struct mailbox store_done;
    int64_t store_look_ns; /* when they are asked again */
    /* events */
    struct event *events; /* [EVENTS_KEPT], a ring */
    int64_t event_count;  /* ever */
    struct job_list event_waiters;
    enum runtime_state event_runtime;
    int32_t event_failed;
    int64_t event_left_out;
};

/* control.c */
struct log_op *job_op(struct job *job, enum log_op_kind kind, job_fn then);
void job_submit(struct job *job, struct job_op *op);
void job_answer(struct job *job); /* OK */
void job_fail(struct job *job, enum err err, const struct err_info *info);
void job_done(struct job *job); /* gives the request back as it is */
void control_fail(struct control *control, const struct err_info *why);
int64_t wall_ms(const struct control *control);
void job_failf(struct job *job, enum err err, const char *fmt, ...) ATTR_PRINTF(3, 4);
bool job_op_failed(struct job *job); /* its one op failed: answered so */
void job_list_push(struct job_list *list, struct job *job);
struct job *job_list_pop(struct job_list *list);
bool name_reserved(struct str name);

/* start.c */
void start_begin(struct control *control);
void start_serve(struct control *control); /* all is read */
bool start_failed(struct job *job); /* true if the start cannot go on: the error is control's */

/* Hands over the values of the records that the job has read, those that can be read; true if the shard has more. */
bool start_take_records(struct job *job, void (*take)(struct control *control, struct str value));

/* streams.c */
void stream_list_begin(struct job *job);
void stream_get_begin(struct job *job);
void stream_create_begin(struct job *job);
void stream_alter_begin(struct job *job);
void stream_delete_begin(struct job *job);
/* Whether it is of a stage that the running configuration does not have (any more). */
bool stream_is_left_over(const struct control *control, const struct stream_config *config);
void shard_list_begin(struct job *job);

/* ingest.c, ingest_commit.c */
void ingest_begin(struct job *job);
void end_begin(struct job *job);
void producer_begin(struct job *job);
void ingest_committed(struct job *job); /* its records are durable: answers */
void ingest_forget(struct job *job);    /* nothing of it took effect */
void ingest_commit_add(struct job *job);
void ingest_commit_step(struct control *control);

/* ingest_parse.c: body -> batches in the request's arena. Errors: LIMIT, INVALID (nothing of it can be taken). */
ATTR_NODISCARD enum err ingest_parse(struct control *control, struct control_request *request,
                                     struct ingest_job *ingest, struct err_info *info);

/* read.c */
void read_begin(struct job *job);
int64_t read_step(struct control *control); /* next deadline */

/* figures.c */
void figures_begin(struct job *job);
void figures_reply(struct control *control, struct lane_command *command);
int64_t figures_step(struct control *control); /* next deadline */
void health_answer(struct job *job);
/* Asks the lanes for a snapshot, unless one is under way; lanes_out says when it is there. False: nothing runs. */
bool figures_ask(struct control *control);
/* The row of the partition that the request names; NULL: no snapshot has it. */
struct partition_row *partition_row_of(struct control *control, struct control_request *request);

/* layout.c */
struct control_rows node_rows(struct control *control, struct control_request *request);
struct control_rows layout_rows(struct control *control, struct control_request *request);
void partition_get(struct job *job);
bool details_take(struct control *control);
void pipeline_get(struct job *job, struct control_rows rows);
void pipeline_text_begin(struct job *job);
/* The configuration that has the text of a pipeline that is in force. */
const struct config *config_in_force(const struct control *control, struct str pipeline);
uint64_t text_etag_of(struct str text);
bool etag_matches(const char *wanted, uint64_t etag);

/* operations_order.c. Errors: NOT_FOUND, INVALID, UNAVAILABLE (nothing runs). */
ATTR_NODISCARD enum err partition_named(const struct control *control,
                                        const struct control_args *args, int32_t *ret_stage,
                                        struct partition_place *ret_place, struct err_info *info);
const struct pipeline_plan *pipeline_named(const struct control *control, const char *name,
                                           struct err_info *info);

/* operations_ask.c, operations_run.c, operations_start.c */
void operation_begin(struct job *job); /* figures are fresh */
void operation_list_begin(struct job *job);
void operation_get_begin(struct job *job);
void operation_cancel_begin(struct job *job);
int64_t operations_step(struct control *control);   /* next deadline */
int64_t operations_answer(struct control *control); /* those that wait; next deadline */
void operations_restore(struct job *job);           /* at start; start_serve() follows */
void operations_free(struct control *control);      /* before the runtime */
void texts_free(struct control *control);           /* after it */

/* views.c */
void sample_list_begin(struct job *job);
void forecast_list_begin(struct job *job);
void correlation_list_begin(struct job *job);
bool views_take(struct control *control); /* what the view and the forecaster have answered */

/* stores.c */
void stores_init(struct control *control);
void stores_free(struct control *control);
int64_t stores_step(struct control *control); /* next deadline */
void store_list_begin(struct job *job);
struct control_rows store_rows(struct control *control, struct control_request *request);

/* shadows_run.c, shadows_ask.c */
void shadow_list_begin(struct job *job);
void shadow_get_begin(struct job *job);
void shadow_start_begin(struct job *job); /* figures are fresh */
void shadow_stop_begin(struct job *job);
void shadow_profile_begin(struct job *job);
void shadow_compare_begin(struct job *job);
void candidate_text_begin(struct job *job);
void candidate_promote_begin(struct job *job); /* promote.c */
void shadowing_get_begin(struct job *job);
void shadowing_set_begin(struct job *job);
struct control_rows shadowing_rows(struct control *control, struct control_request *request);
int64_t shadows_step(struct control *control);   /* next deadline */
int64_t shadows_answer(struct control *control); /* those that wait; next deadline */
void shadows_take_record(struct control *control, struct str value); /* at start */
void shadows_free(struct control *control); /* before own streams and the runtime */

/* Casts a shadow, for the manager. Errors: CONFLICT (it has one that was not asked for by a person), LIMIT (over
 * budget), UNSUPPORTED. */
ATTR_NODISCARD enum err shadows_cast(struct control *control, int32_t stage,
                                     const struct partition_place *place,
                                     const struct shadow_order *order, int64_t *ret_id,
                                     struct err_info *info);
/* manager_ask.c */
void manager_list_begin(struct job *job);
void manager_mode_begin(struct job *job);
void decision_list_begin(struct job *job);
void decision_get_begin(struct job *job);
void plan_list_begin(struct job *job);
void plan_get_begin(struct job *job);
void plan_apply_begin(struct job *job);
void plan_cancel_begin(struct job *job);
void plan_undo_begin(struct job *job);
void plan_join_begin(struct job *job);
struct control_rows manager_rows(struct control *control, struct arena *arena);

/* events.c */
void event_add(struct control *control, const char *kind, const char *subject, const char *state,
               int64_t operation, const char *detail);
/* What a change that is final did to a partition map: an event for each partition that is gone, and for each that is new or
 * has a new owner. */
void events_add_delta(struct control *control, const struct operation *op,
                      const struct change *change);
void events_begin(struct job *job);
int64_t events_step(struct control *control); /* next deadline */

/* audit.c: appends the record of an order, then answers its request. */
void audit_add(struct job *job);
void audit_step(struct control *control);

#endif
