// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/mailbox.h"
#include "base/str.h"

/* The log: named, durable streams of record batches, and the one act that makes a partition's progress durable.
 *
 * One interface, several engines: embedded (log/embedded.h), in memory and behaving as Kafka does (log/memory.h), later
 * Kafka itself. Callers rely on what is written here and nothing else; the conformance suite holds all engines to it.
 *
 * Submit, then completion. A caller fills a `struct log_op`, submits it and owns it again when `op.msg` arrives in
 * `op.done`, which may happen before log_submit() returns. Everything an op points to stays valid and unchanged until
 * then. Ops of one mailbox may complete in any order, but appends and commits to one shard take effect in the order
 * submitted by one thread. Any thread may submit.
 *
 * What is promised:
 *   L1  A completed append or commit survives any crash (unless the engine runs unsynced, which it says).
 *   L2  A commit is atomic: after any crash, all of its batches are there or none.
 *   L3  Offsets of a shard increase and are never reused with other content; only some engines keep them dense.
 *   L4  Readers see only what is committed, in offset order, without gaps in content.
 *   L5  After an owner is fenced, or a range's epoch is raised past its claim, no commit of the old one takes effect.
 *   L6  A completion of ERR_AGAIN changes nothing: the same op, same bytes, same sequence, is submitted again. If the
 *       first try did take effect, the second completes as OK with the first one's offsets.
 *   L7  Bytes that fail their checksum are never delivered: the read fails with ERR_CORRUPT and names the segment.
 *
 * Errors of every op: INVALID (an argument that cannot be, a name that may not be), LIMIT (over a limit below), NOT_FOUND
 * (a stream, shard, owner or handle that is not there), NO_SPACE, IO, CORRUPT. Results are written on OK only, unless said
 * otherwise. */

struct log;
struct log_reader;
struct log_restore;

/* Limits on what outsiders control. */
enum {
    LOG_NAME_MAX = 249, /* Kafka's, for stream names: [a-zA-Z0-9._-], not "." or ".." */
    LOG_SHARDS_PER_STREAM_MAX = 1024,
    LOG_STREAMS_MAX = 4096,
    LOG_SHARDS_MAX = 65536,
    LOG_BATCH_BYTES_MAX = 8 << 20,   /* one record batch, as stored */
    LOG_COMMIT_BYTES_MAX = 64 << 20, /* all batches of one commit */
    LOG_CONTROL_VALUE_MAX = 4 << 20,
    LOG_WATCHERS_PER_SHARD_MAX = 256
};

struct shard_id {
    uint32_t v; /* numbers a shard of this log for ever; never reused */
};

struct stream_id {
    uint32_t v;
};

struct owner_id {
    uint32_t v;
};

enum stream_flags {
    STREAM_INTERNAL =
        1, /* made by the engine: not written by clients, trimmed at its readers' positions */
    STREAM_CHANGELOG = 2, /* state and positions of a stage: read through restore */
    STREAM_SCRATCH = 4    /* bypasses durability: gone at restart */
};

struct stream_config {
    char name[LOG_NAME_MAX + 1];
    uint32_t flags;
    int32_t shard_count;     /* 1..LOG_SHARDS_PER_STREAM_MAX */
    int64_t retention_ms;    /* < 0: for ever. Never past a floor */
    int64_t retention_bytes; /* of each shard; < 0: no limit. Never past a floor */
};

struct stream_info {
    struct stream_id id;
    struct stream_config config;
    struct shard_id first_shard; /* its shards are numbered from here without gaps */
};

struct shard_info {
    int64_t start_offset; /* first that can be read */
    int64_t end_offset;   /* one past the last committed */
    int64_t size_bytes;
    /* OK, or why some of it cannot be read; if that is its newest segment, nor be appended to. */
    enum err health;
    char problem[160]; /* in words, naming the segment; empty if healthy */
};

enum log_op_kind {
    LOG_OP_STREAM_CREATE, /* u.stream: config -> info. EXISTS if another config has the name; the same config is OK */
    LOG_OP_STREAM_GET,   /* u.stream: config.name -> info. NOT_FOUND */
    LOG_OP_STREAM_LIST,  /* u.list */
    LOG_OP_STREAM_ALTER, /* u.stream: config.name, new retention -> info */
    LOG_OP_STREAM_DELETE, /* u.stream: config.name. A changelog's shards are then gone as readers, too (floors) */
    LOG_OP_SHARD_GET,     /* u.shard -> info */
    LOG_OP_READ,          /* u.read */
    LOG_OP_PRODUCER_INIT, /* u.producer -> id, epoch */
    LOG_OP_APPEND,        /* u.append */
    LOG_OP_OWNER_INIT, /* u.owner: name -> id, incarnation; fences earlier incarnations of the name */
    LOG_OP_OWNER_FENCE, /* u.owner: name; no commit of its present incarnation takes effect any more */
    LOG_OP_RANGE_FENCE, /* u.fence: raises the epoch that claims on a key-group range must reach */
    LOG_OP_COMMIT,      /* u.commit */
    LOG_OP_CONTROL_SET, /* u.control: compare-and-set */
    LOG_OP_CONTROL_GET, /* u.control */
    LOG_OP_CONTROL_LIST, /* u.control: keys that begin with `key`, each ended by 0, into value; ordered */
    LOG_OP_CHECKPOINT,    /* u.checkpoint */
    LOG_OP_RESTORE_OPEN,  /* u.restore -> handle */
    LOG_OP_RESTORE_NEXT,  /* u.restore */
    LOG_OP_RESTORE_CLOSE, /* u.restore */
    LOG_OP_FLOOR,         /* u.floor: how far a reader has come, durably */
    LOG_OP_TRIM,          /* u.trim: records before an offset are not wanted any more */
    LOG_OP_KIND_COUNT
};

struct log_stream_op {
    struct stream_config config;
    struct stream_info ret_info;
};

struct log_list_op {
    struct stream_info *infos; /* caller's array; ordered by name */
    int32_t cap;
    int32_t ret_count; /* written, also with LIMIT: there are more than `cap` */
};

struct log_shard_op {
    struct shard_id shard;
    struct shard_info ret_info;
};

/* Whole record batches from the one that holds `offset` on, as stored. The first may begin before `offset`.
 * At the end: OK with ret_bytes 0. Where offsets have gaps, ret_next_offset passes them: reading is done when it equals
 * ret_end_offset, whatever was returned. OFFSET_RANGE if `offset` is below the start (ret_start_offset says it) or above the
 * end. `cap` >= LOG_BATCH_BYTES_MAX always makes progress; a smaller one may complete as LIMIT. */
struct log_read_op {
    struct log_reader
        *reader; /* of the submitting thread; remembers where it stands between calls */
    struct shard_id shard;
    int64_t offset;
    void *buf;
    ptrdiff_t cap;
    ptrdiff_t ret_bytes;
    int64_t ret_next_offset; /* where to go on */
    int64_t ret_end_offset;  /* committed end when it was read */
    int64_t ret_start_offset;
};

struct log_producer_op {
    int64_t ret_id;
    int16_t ret_epoch;
};

/* One record batch v2, as record_batch_check_new() wants it; whatever base offset it brings, the engine sets it in place
 * (v2's CRC does not cover it). If the batch carries a producer id: its first sequence on a shard is 0; one of the last
 * five batches repeated completes as OK with the old offset and ret_duplicate; a gap, or a repetition of an older one, is
 * SEQUENCE; an older epoch or an id never given out (or expired) is FENCED. Sequences wrap from 2^31 - 1 to 0. A batch
 * without a producer id is never told AGAIN after it took effect. */
struct log_append_op {
    struct shard_id shard;
    void *batch;
    ptrdiff_t bytes;
    int64_t ret_base_offset;
    bool ret_duplicate;
};

struct log_owner_op {
    char name[64]; /* one lane of one deployment; [a-z0-9.-] */
    struct owner_id ret_id;
    uint32_t ret_incarnation;
};

struct log_batch {
    struct shard_id shard;
    void *
        bytes; /* record batches v2, one or several behind each other, base offsets 0; patched in place */
    ptrdiff_t len;
    int64_t ret_base_offset; /* of the first; written on OK */
    int64_t
        ret_end_offset; /* one past the last; for a changelog: the name of this commit in restores */
};

/* A partition that the commit speaks for: refused (FENCED) if the range's epoch was raised above `epoch`. Engines that
 * can only fence owners do not look at claims. */
struct log_claim {
    struct shard_id changelog;
    uint32_t group_lo, group_hi; /* [lo, hi) */
    uint64_t epoch;
};

struct log_commit_op {
    struct owner_id owner;
    uint32_t incarnation;
    int64_t
        sequence; /* of this owner's incarnation: 1, 2, ...; the last one repeated is a repeated try (L6); else SEQUENCE */
    struct log_batch *batches;
    int32_t batch_count;
    const struct log_claim *claims;
    int32_t claim_count;
    int32_t
        ret_fenced_claim; /* on FENCED: index of the claim that was refused, or -1: the owner itself */
};

struct log_fence_op {
    struct shard_id changelog;
    uint32_t group_lo, group_hi;
    uint64_t epoch; /* lower ones than present are ignored */
};

/* Control records: a small, durable, versioned map; version 0 = absent. SET with another version than present completes
 * as PRECONDITION and returns the present one. GET of an absent key is OK with ret_version 0 and ret_len 0. A version is
 * never given to two contents of a key, also not after a deletion. GET, LIST: LIMIT if the buffer is too small; ret_len
 * then says what is needed. */
struct log_control_op {
    char key[128];            /* 1..127 bytes and a 0; LIST: may be empty */
    int64_t expected_version; /* SET */
    void *value;              /* SET: in; GET, LIST: caller's buffer */
    ptrdiff_t len;            /* SET: bytes; a negative len deletes. GET, LIST: capacity */
    ptrdiff_t ret_len;
    int64_t ret_version;
};

/* A snapshot of the state of key groups [group_lo, group_hi) as of changelog offset `at`: all commits below it, none
 * above. `bytes` are record batches v2 of entries as in the changelog. Completes when durable; the engine may then trim
 * what no restore needs any more, which is what lies below the checkpoints of *all* groups: who uses a few groups only, and
 * knows it, makes a checkpoint of all. Where compaction does this, it completes at once and does nothing. */
struct log_checkpoint_op {
    struct shard_id changelog;
    uint32_t group_lo, group_hi; /* within a block (LOG_BLOCK_GROUPS groups, aligned), or all */
    int64_t at;
    const void *bytes;
    ptrdiff_t len;
};

enum { LOG_BLOCK_GROUPS = 64, LOG_BLOCKS = 4096 / LOG_BLOCK_GROUPS };

/* Rebuilds what the changelog says of a key-group range at a commit, on the running log while its owner commits on.
 * OPEN pins what it will read. NEXT fills `buf` with record batches v2 in an order in which later entries of a key
 * replace earlier ones (checkpoint blocks first, then the changelog up to `at`); batches may hold entries outside the
 * range and entries older than a block's: applying all in order, filtered by range, gives the state at `at`.
 *   at   a changelog offset (one past the commit's last), or LOG_AT_LAST. OFFSET_RANGE if checkpoints have passed it */
struct log_restore_op {
    struct shard_id changelog;
    uint32_t group_lo, group_hi;
    int64_t at;
    struct log_restore *handle; /* out of OPEN, in for NEXT and CLOSE */
    int64_t ret_at;             /* OPEN: the offset that LOG_AT_LAST stands for */
    void *buf;
    ptrdiff_t cap; /* >= LOG_BATCH_BYTES_MAX */
    ptrdiff_t ret_bytes;
    bool ret_more; /* NEXT: false when nothing follows */
};

#define LOG_AT_LAST INT64_MAX

/* Retention never passes the lowest floor of a shard; internal streams (changelogs apart) are trimmed there. Floors are
 * durable, at latest with the next commit; they only rise. */
struct log_floor_op {
    struct shard_id shard;
    uint32_t
        reader;     /* any number that stays the same over restarts: a stage's changelog shard id */
    int64_t offset; /* INT64_MAX: this reader is gone */
    /* read_count > 0: all the shards that this reader reads. Its floors elsewhere, of an earlier time, are gone. */
    struct shard_id reads[2];
    int32_t read_count;
};

/* Trims up to `before_offset`, but never past a floor or the committed end; what remains readable may begin a little
 * earlier. */
struct log_trim_op {
    struct shard_id shard;
    int64_t before_offset;
};

struct log_op {
    struct msg msg; /* first */
    enum log_op_kind kind;
    struct mailbox *done;
    enum err err;
    struct err_info info;
    union {
        struct log_stream_op stream;
        struct log_list_op list;
        struct log_shard_op shard;
        struct log_read_op read;
        struct log_producer_op producer;
        struct log_append_op append;
        struct log_owner_op owner;
        struct log_fence_op fence;
        struct log_commit_op commit;
        struct log_control_op control;
        struct log_checkpoint_op checkpoint;
        struct log_restore_op restore;
        struct log_floor_op floor;
        struct log_trim_op trim;
    } u;
    struct log_op *engine_next; /* the engine's while in flight */
    int64_t engine_word;
};

/* What the engine needs stepped; each by one thread, none of them the callers'. */
struct log_loop {
    const char *name;
    loop_step step;
    void *ctx;
    struct waker *waker;
};

enum { LOG_LOOPS_MAX = 4 };

struct log_vtable {
    void (*submit)(struct log *log, struct log_op *op);
    int64_t (*end_offset)(struct log *log, struct shard_id shard);
    enum err (*watch)(struct log *log, struct shard_id shard, struct waker *waker);
    void (*unwatch)(struct log *log, struct shard_id shard, struct waker *waker);
    struct log_reader *(*reader_new)(struct log *log);
    void (*reader_free)(struct log_reader *reader);
    int (*loops)(struct log *log, struct log_loop ret_loops[LOG_LOOPS_MAX]);
    void (*close)(struct log *log);
};

struct log { /* first member of each engine's own struct */
    const struct log_vtable *vtable;
    const char *engine; /* "embedded", "memory" */
    bool synced;        /* acknowledgements wait for the disk */
    /* NULL, or why nothing is acknowledged any more and never will be: the process is to end. Any thread. */
    const struct err_info *_Atomic failure;
    /* Grows after each move of a shard's end, before its watchers are woken; 0: the engine does not tell. */
    _Atomic int64_t moves;
};

/* While this is the same, and not 0, no shard's end has moved: so who watches many need not look at each. Any thread. */
static inline int64_t log_moves(struct log *log)
{
    return atomic_load_explicit(&log->moves, memory_order_acquire);
}

/* Engines: an end has moved. */
static inline void log_moved(struct log *log)
{
    atomic_fetch_add_explicit(&log->moves, 1, memory_order_release);
}

void log_submit(struct log *log, struct log_op *op);

/* Committed end of a shard; one atomic load. Any thread. */
int64_t log_end_offset(struct log *log, struct shard_id shard);

/* Wakes `waker` whenever the shard's end moves, until unwatched. LIMIT over LOG_WATCHERS_PER_SHARD_MAX. Any thread. */
ATTR_NODISCARD enum err log_watch(struct log *log, struct shard_id shard, struct waker *waker);
void log_unwatch(struct log *log, struct shard_id shard, struct waker *waker);

/* One a cursor and thread. Shares no lock with anybody. Knows its log. */
struct log_reader *log_reader_new(struct log *log);
void log_reader_free(struct log *log, struct log_reader *reader);

/* The loops to run (in threads, or by the simulator's world); returns how many. */
int log_loops(struct log *log, struct log_loop ret_loops[LOG_LOOPS_MAX]);

/* After its loops have stopped: completes nothing more, frees. NULL is fine. */
void log_close(struct log *log);

/* Whether `name` may name a stream (Kafka's rule). */
bool log_name_valid(struct str name);

/* Whether a checkpoint's groups, which are a range, lie within one block or are all there are. */
bool log_checkpoint_range_valid(const struct log_checkpoint_op *op);

/* The shard of a keyed record among `shard_count`: murmur2 as Java producers do. */
int32_t log_shard_of_key(struct str key, int32_t shard_count);

#endif
