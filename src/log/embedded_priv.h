// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_EMBEDDED_PRIV_H
#define LOG_EMBEDDED_PRIV_H

#include "base/crashpoint.h"
#include "log/catalog.h"
#include "log/embedded.h"
#include "log/segment.h"

/* The embedded engine's parts. Three kinds of threads meet here and share no lock:
 *   callers    submit; READ and RESTORE_NEXT run in their thread, on files and on the atomics of struct shard
 *   committer  owns the catalog and the journal (committer.c, group.c, retention.c)
 *   syncer     owns what is slow and may wait: preparing journal segments, syncing shards, writing checkpoints, removing
 *              files (syncer.c)
 * They talk by mailboxes; a message belongs to who has it. */

enum {
    OPS_PER_GROUP_MAX = 4096,
    SHARD_WRITES_MAX = 64,      /* in flight at once */
    OPEN_SHARD_FILES_MAX = 128, /* the committer's */
    JOURNAL_SEGMENTS_WAITING_MAX = 16,
    RESTORES_MAX = 4096, /* open at once; a power of two */
    RESERVE_BYTES_MAX = 8 << 20
};

#define RETENTION_EVERY_NS   1000000000LL
#define SPACE_RETRY_NS       500000000LL
#define SHARD_RETRY_NS       100000000LL
#define RETENTION_MIN_AGE_MS (3600 * 1000LL)

/* Syncer and committer talk in these. */
enum engine_msg_kind { MSG_SEGMENT, MSG_PACE, MSG_ROUND, MSG_JOURNAL, MSG_GARBAGE, MSG_RESERVE };

/* A prepared journal segment is asked for; one at a time. It comes named, zeroed, all of it durable. */
struct segment_request {
    struct msg msg;
    enum engine_msg_kind kind;
    int64_t bytes_goal, bytes_min;
    enum err err; /* OK, NO_SPACE, IO */
    struct err_info info;
    uint64_t segment;
    struct fs_file file;
    int64_t bytes;
};

/* So much of the segment after the next should be ready by now. */
enum { SPARE_PARTS = 256 };
struct pace {
    struct msg msg;
    enum engine_msg_kind kind;
    int32_t parts;      /* 1..SPARE_PARTS */
    int64_t bytes_goal; /* of the whole segment */
};

/* Shard files that were written to; one round at a time. They are given to the disk, or synced, and then journal segments
 * below `journal_below` are removed. */
struct dirty_file {
    uint32_t shard;
    bool fresh; /* its name may not be durable yet */
    int64_t base_offset;
};
struct sync_round {
    struct msg msg;
    enum engine_msg_kind kind;
    bool sync;
    struct dirty_file *files;
    int32_t count, cap;
    uint64_t journal_first, journal_below; /* [first, below) are removed */
    enum err err;
    struct err_info info;
};

/* Unsynced mode: a journal segment, which stays the committer's, is to be synced, or only given to the disk (`out`); one at a time.
 * When it is synced, `head` is written to the beginning of `next`. */
struct journal_sync {
    struct msg msg;
    enum engine_msg_kind kind;
    bool out;
    struct fs_file file, next; /* next: fd -1: nothing is to be written */
    uint8_t *head;             /* [JOURNAL_SECTOR] */
    enum err err;
    struct err_info info;
};

/* Files to remove; the syncer frees it. */
struct garbage_job {
    struct msg msg;
    enum engine_msg_kind kind;
    struct garbage *files;
    int32_t count;
};

/* The reserve is wanted (given up for space) or to be made again. */
struct reserve_request {
    struct msg msg;
    enum engine_msg_kind kind;
    bool give_up;
    bool there; /* reply: the reserve stands */
};

struct log_restore {
    struct embedded *engine;
    uint64_t ticket; /* what the caller has as its handle */
    struct shard *shard;
    struct log_restore *next; /* of the shard's, committer's */
    struct checkpoint **checkpoints;
    int32_t checkpoint_count;
    int64_t from, at;
    /* who reads: NEXT */
    int32_t checkpoint_index;
    struct fs_file file;
    int64_t position;
    int64_t next_offset;
    struct log_reader *reader;
};

struct log_reader {
    struct embedded *engine;
    bool placed;
    uint32_t shard;
    struct fs_file file;
    int64_t segment_base;
    int64_t position, next_offset; /* batch with base next_offset begins at position */
    uint8_t *scan;
};

struct shard_write {
    struct fs_op op;
    struct pending_batch *first; /* run of batches that it writes */
};

/* A batch of the group: where it comes from, where it goes. */
struct pending_batch {
    struct shard *shard;
    struct pending_batch *next; /* of the same shard */
    uint8_t *source;            /* the op's bytes, then the frame's */
    struct batch_entry entry;
    struct place place;
};

enum committer_state {
    COMMITTER_IDLE,
    COMMITTER_SEGMENT,        /* waits for a prepared journal segment */
    COMMITTER_SNAPSHOT_WRITE, /* the new segment's first frame */
    COMMITTER_SNAPSHOT_SYNC,
    COMMITTER_WRITE,
    COMMITTER_SYNC,
    COMMITTER_SHARDS, /* writes the group's batches to the shards' files */
    COMMITTER_STALLED /* the same, waiting for space */
};

/* Unsynced mode: a journal segment that is not known to be durable. */
struct open_segment {
    struct fs_file file; /* of one that was left; else it is c->journal */
    uint64_t number;
    int64_t left_ns;
    struct garbage_job *garbage; /* let go by its frames, or by those before */
    /* Its first sector, as it is to be once the segment before is durable. */
    uint8_t head[JOURNAL_SECTOR];
};

enum { JOURNAL_LEFT_MAX = 8 };

struct committer_unsynced {
    bool dirty;            /* there are frames that no sync which came back covers */
    int64_t due_ns;        /* when the next sync of the segment in use is */
    int64_t written_bytes; /* of frames, since some were last on their way to the disk */
    struct journal_sync job;
    bool job_out, job_left; /* job_left: it is of left[0] */
    uint64_t job_frame;     /* frames up to this one are durable when it is back */
    int64_t job_ns;         /* when it was sent */
    /* By number; behind the last one that was left: the one in use. */
    struct open_segment left[JOURNAL_LEFT_MAX + 1];
    int32_t left_count;
    /* Files let go by frames that are not durable; `going`: by those that the job covers. */
    struct garbage_job *held, *going;
};

struct committer {
    struct waker waker;
    struct mailbox ops, io, replies;
    enum committer_state state;
    enum err failed; /* final */
    struct err_info failure;
    bool no_space; /* writes are refused until space is back */
    int64_t retry_ns;

    struct log_op *queue_head, *queue_tail; /* engine_next */
    struct log_op *group_head, *group_tail;
    int64_t group_bytes; /* bound of what the group adds to a frame */
    bool must_write;     /* a frame is due even without batches */

    struct fs_file journal;
    uint64_t segment; /* number of the journal segment written to */
    uint64_t oldest_segment;
    int64_t segment_bytes, at;
    uint64_t store, frame_number; /* of the last frame */
    struct committer_unsynced unsynced;
    struct wire_out entries; /* of the next frame */
    uint32_t entry_count;
    uint8_t *frame;
    int64_t frame_cap, frame_len;
    struct fs_op journal_op;
    struct segment_request request;
    bool request_out;
    int64_t ask_ns;      /* not before: the last one could not be made */
    struct fs_file next; /* the segment after this one, once it is handed over; fd -1 before */
    uint64_t next_segment;
    int64_t next_bytes;
    struct pace pace;
    bool pace_out;
    int32_t pace_told; /* parts, of this segment */

    struct pending_batch *pending; /* fixed per group */
    int32_t pending_count, pending_cap;
    struct shard *touched;
    struct shard *write_shard; /* whose batches are written next */
    struct pending_batch *write_next;
    struct shard_write writes[SHARD_WRITES_MAX];
    int32_t writes_out;
    enum err write_err;
    struct err_info write_info;

    struct shard *lru_newest, *lru_oldest;
    int32_t open_files;
    struct dirty_file *dirty;
    int32_t dirty_count, dirty_cap;
    struct sync_round round;
    bool round_out;
    bool round_wanted;
    uint64_t round_below; /* a durable segment: those before it go with the round */
    int64_t round_bytes;  /* written to shards since the last one was sent */
    struct reserve_request reserve;
    bool reserve_out, reserve_gone;
    int64_t retention_ns; /* next run */
    uint32_t retention_stream;

    int64_t wall_base_ms, wall_base_ns; /* trusted time: wall time at open + monotonic since */
    int64_t time_ms;                    /* of the group */
    int64_t now_ns;
};

struct embedded {
    struct log log; /* first */
    const struct fs *fs;
    const struct clock *clock;
    struct log_embedded_options options; /* defaults filled in */
    struct fs_file lock;
    struct shard_table shards;
    struct catalog catalog;
    struct committer committer;
    struct syncer *syncer;
    _Atomic int64_t next_checkpoint; /* names files */
    /* Open restores by the low bits of their tickets; tickets are told apart, so a closed handle finds nothing. */
    _Atomic uint64_t tickets[RESTORES_MAX];
    _Atomic(struct log_restore *) restores[RESTORES_MAX];
    uint64_t next_ticket; /* committer's */
    int32_t restore_count;
};

/* ---- committer.c */
void committer_init(struct embedded *engine, int64_t now_ns);
void committer_release(struct embedded *engine);
int64_t committer_step(void *ctx, int64_t now_ns); /* ctx: struct embedded */
void committer_dirty_add(struct committer *c, struct shard *shard, int64_t base_offset, bool fresh);
/* shard->file becomes segment `base`, open for writing, its folder made if need be; another may be closed for it. */
ATTR_NODISCARD enum err committer_open_shard(struct embedded *engine, struct shard *shard,
                                             int64_t base, struct err_info *info);
/* Writes a slot of the sparse index; what fails is only a hint less. */
void committer_write_index(struct embedded *engine, const struct shard *shard,
                           const struct place *place, int64_t base_offset);
/* Writes and syncs the snapshot that opens a journal segment, at once: for recovery. */
ATTR_NODISCARD enum err committer_first_snapshot(struct embedded *engine, struct err_info *info);
/* Builds the snapshot frame in c->frame. */
/* segment_bytes: of the file that it begins; flags: beyond those of all frames. */
void committer_build_snapshot(struct embedded *engine, int64_t segment_bytes, uint32_t flags);

/* ---- group.c: what an op asks, checked against the catalog and put into the next frame. */
int64_t group_bound(const struct log_op *op); /* bytes an op may add to a frame */
bool group_is_write(const struct log_op *op);
void group_prepare(struct embedded *engine, struct log_op *op); /* sets op->err and its results */

/* ---- retention.c: adds TRIM entries for what is too old, too much or not needed. Returns whether there are any. */
bool retention_run(struct embedded *engine);
/* Trims `shard` to at most `offset`, whole segments (internal streams: exactly). */
bool retention_trim(struct embedded *engine, struct shard *shard, int64_t offset, bool exact);
int64_t retention_limit(const struct shard *shard); /* what trims may not pass */

/* ---- reader.c: in the caller's thread. */
struct log_reader *embedded_reader_new(struct log *log);
void embedded_reader_free(struct log_reader *reader);
/* Takes all memory that it will ever want: nothing of it is then of the heap of whoever reads with it. */
void embedded_reader_fill(struct log_reader *reader);
enum err embedded_read(struct embedded *engine, struct log_read_op *op, struct err_info *info);

/* ---- restore.c */
enum err restore_open(struct embedded *engine, struct log_restore_op *op, struct err_info *info);
enum err restore_next(struct embedded *engine, struct log_restore_op *op, struct err_info *info);
/* NOT_FOUND: the handle is closed already. */
enum err restore_close(struct embedded *engine, const struct log_restore_op *op,
                       struct err_info *info);
void restore_free_all(struct embedded *engine);

/* ---- checkpoint.c */
enum { CHECKPOINT_HEADER = 64 };
void checkpoint_header_put(uint8_t header[CHECKPOINT_HEADER], uint32_t shard,
                           const struct log_checkpoint_op *op);
ATTR_NODISCARD enum err checkpoint_check(struct embedded *engine,
                                         const struct log_checkpoint_op *op, struct err_info *info);

/* ---- syncer.c */
struct syncer *syncer_new(struct embedded *engine, uint64_t next_segment);
void syncer_free(struct syncer *syncer);
int64_t syncer_step(void *ctx, int64_t now_ns); /* ctx: struct syncer */
struct waker *syncer_waker(struct syncer *syncer);
void syncer_send(struct syncer *syncer, struct msg *msg);              /* an engine message */
void syncer_send_checkpoint(struct syncer *syncer, struct log_op *op); /* a LOG_OP_CHECKPOINT */
/* Makes a zeroed, synced journal segment at once: for the first start. */
ATTR_NODISCARD enum err syncer_make_segment(const struct fs *fs, uint64_t segment, int64_t bytes,
                                            struct fs_file *ret_file, struct err_info *info);

/* ---- recovery.c */
ATTR_NODISCARD enum err recovery_run(struct embedded *engine,
                                     struct log_recovery_report *ret_report,
                                     uint64_t *ret_next_segment, struct err_info *info);

#define JOURNAL_SPARE   "log/journal/spare"
#define JOURNAL_NEXT    "log/journal/spare.tmp"
#define JOURNAL_OLD     "log/journal/old"
#define RESERVE_PATH    "log/reserve"
#define CHECKPOINT_TEMP "log/checkpoints/tmp"

static inline void op_complete(struct log_op *op)
{
    mailbox_push(op->done, &op->msg);
}

#endif
