// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_MEMORY_PRIV_H
#define LOG_MEMORY_PRIV_H

#include "base/rng.h"
#include "log/memory.h"
#include "log/record_batch.h"

/* Inside of the engine in memory. memory.c takes ops and completes them, memory_shard.c is what a shard holds and
 * remembers, memory_stream.c and memory_control.c streams and control records, memory_restore.c compacts changelogs. All
 * of it belongs to the engine's loop, except the fields of a shard that say otherwise. */

enum { MEMORY_PRODUCER_BATCHES = 5 /* remembered per producer and shard, as Kafka does */ };

/* A record batch as stored: a copy of its own, base offset set. */
struct memory_batch {
    int64_t base_offset, last_offset;
    int64_t appended_ns; /* monotonic: retention by age does not follow wall clocks that jump */
    uint8_t *bytes;
    ptrdiff_t len;
};

struct memory_sent {
    int32_t first, last; /* sequences */
    int64_t base_offset;
};

struct memory_producer {
    int64_t id;
    int32_t count; /* of sent, newest last */
    struct memory_sent sent[MEMORY_PRODUCER_BATCHES];
};

struct memory_floor {
    uint32_t reader;
    int64_t offset;
};

struct memory_shard {
    struct stream_id stream;
    uint32_t flags; /* enum stream_flags of its stream */
    bool deleted;
    uint64_t touched; /* number of the last commit that wrote here */

    int64_t start_offset;
    int64_t compacted_to; /* restores below this offset are gone */
    ptrdiff_t compacted_bytes;
    int64_t size_bytes;
    struct memory_batch *batches; /* [first, first + count), by offset */
    ptrdiff_t first, count, cap;

    struct memory_producer *producers; /* by id */
    int32_t producer_count, producer_cap;
    struct memory_floor *floors;
    int32_t floor_count, floor_cap;

    _Atomic int64_t end_offset; /* written by the loop, read by anybody */
    atomic_flag watch_busy;     /* guards the two below; held for a few instructions */
    struct waker **watchers;
    int32_t watcher_count;
};

struct memory_stream {
    struct stream_info info;
    bool deleted;
};

struct memory_sent_batch {
    int64_t base_offset, end_offset;
};

struct memory_owner {
    char name[64];
    uint32_t incarnation; /* 0: never asked for */
    bool fenced;
    int64_t sequence;                  /* of the last commit that took effect */
    struct memory_sent_batch *results; /* of that commit, for a repeated try */
    int32_t result_count, result_cap;
};

struct memory_control {
    char key[128];
    int64_t version;
    uint8_t *value;
    ptrdiff_t len;
};

/* What a restore will hand out, made when it is opened: that pins it. */
struct log_restore {
    struct log_restore *next;
    uint8_t *bytes;
    ptrdiff_t len, cap;
    ptrdiff_t at;
};

struct log_reader {
    struct memory_log *log;
};

struct memory_log {
    struct log log; /* first */
    struct log_memory_options options;
    struct rng rng;
    struct waker waker;
    struct mailbox inbox; /* any thread pushes, the loop takes */

    struct log_op *queue_head,
        **queue_tail; /* appends and commits on their way; engine_word: when they are there */
    int64_t queue_last_due_ns;
    int64_t retention_due_ns;

    struct memory_stream *streams; /* [stream id] */
    int32_t stream_count, stream_cap;
    int32_t live_stream_count;
    struct memory_owner *owners; /* [owner id] */
    int32_t owner_count, owner_cap;
    struct memory_control *controls; /* by key */
    int32_t control_count, control_cap;
    int64_t control_version; /* last one given out, to any key */
    struct log_restore *restores;
    uint64_t commit_count;
    int64_t producer_count; /* ids below it were given out */
    struct record_reader record_reader;

    _Atomic uint32_t shard_count; /* grows; slots below it are filled and stay */
    struct memory_shard *shards[LOG_SHARDS_MAX];
};

/* memory_shard.c */

struct memory_shard *memory_shard_new(struct stream_id stream, uint32_t flags);
void memory_shard_free(struct memory_shard *shard);

/* Appends a copy of one checked batch; returns its base offset. The end moves, nobody is woken yet. */
int64_t memory_shard_append(struct memory_shard *shard, const void *bytes,
                            const struct record_batch_header *header, int64_t now_ns);

/* The same at a given offset, behind all that is there; the end stays. */
void memory_shard_store(struct memory_shard *shard, int64_t base_offset, const void *bytes,
                        const struct record_batch_header *header, int64_t now_ns);
void memory_shard_clear(struct memory_shard *shard);

/* An offset that holds no record: what a transaction's marker takes. */
void memory_shard_skip_offset(struct memory_shard *shard);

int64_t memory_shard_end(const struct memory_shard *shard);
void memory_shard_wake(struct memory_shard *shard);
ATTR_NODISCARD enum err memory_shard_watch(struct memory_shard *shard, struct waker *waker);
void memory_shard_unwatch(struct memory_shard *shard, struct waker *waker);
void memory_shard_drop_watchers(struct memory_shard *shard);

/* Index (from `first`) of the first batch whose last offset is not below `offset`; `count` if there is none. */
ptrdiff_t memory_shard_find(const struct memory_shard *shard, int64_t offset);

ATTR_NODISCARD enum err memory_shard_read(const struct memory_shard *shard, struct log_op *op);

/* Judges a producer's batch. OK with ret_duplicate_of >= 0: a repetition; the offset it had. SEQUENCE. */
ATTR_NODISCARD enum err memory_shard_sequence(const struct memory_shard *shard,
                                              const struct record_batch_header *header,
                                              int64_t *ret_duplicate_of, struct err_info *info);
void memory_shard_remember(struct memory_shard *shard, const struct record_batch_header *header,
                           int64_t base_offset);

/* Floors only rise; INT64_MAX takes the reader's away. */
void memory_shard_set_floor(struct memory_shard *shard, uint32_t reader, int64_t offset);
int64_t memory_shard_floor(const struct memory_shard *shard); /* the lowest; INT64_MAX: none */

/* Records below `offset` go, but none at or above the floor. */
void memory_shard_trim(struct memory_shard *shard, int64_t offset);
void memory_shard_retain(struct memory_shard *shard, const struct stream_config *config,
                         int64_t now_ns);

/* memory_stream.c */

/* CREATE, GET, ALTER, DELETE; and LIST. */
ATTR_NODISCARD enum err memory_stream_op(struct memory_log *m, struct log_op *op);
ATTR_NODISCARD enum err memory_stream_list(struct memory_log *m, struct log_op *op);
void memory_stream_drop(struct memory_log *m, struct memory_stream *stream);

/* memory_control.c */

ATTR_NODISCARD enum err memory_control_op(struct memory_log *m, struct log_op *op);
void memory_control_release(struct memory_log *m);

/* A list's room for one more; doubles. Returns the array, perhaps moved. */
void *memory_list_grow(void *items, int32_t count, int32_t *cap, ptrdiff_t size_bytes);

/* Whether `text` ends within `cap` bytes. */
bool memory_text_ends(const char *text, ptrdiff_t cap);

/* memory_restore.c */

/* Collects the last entry of each key below `at`, in the order of offsets and with their offsets, as record batches.
 *   drop_tombstones   leaves out entries without a value
 * Returns false if a stored batch cannot be read (a bug of a writer whose CRC held). */
ATTR_NODISCARD bool memory_compact(struct memory_log *m, const struct memory_shard *shard,
                                   int64_t at, bool drop_tombstones, struct log_restore *into);

/* Replaces what the shard holds by its last entries, when enough has come since the last time. */
void memory_compact_if_due(struct memory_log *m, struct memory_shard *shard, int64_t now_ns);

#endif
