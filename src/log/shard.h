// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_SHARD_H
#define LOG_SHARD_H

#include <stdatomic.h>

#include "base/fs.h"
#include "log/log.h"

/* A shard of the embedded engine: what readers see of it, lock-free, and what the committer knows of it.
 *
 * Invariants:
 *   S1  segments [first, count) are in order of base offset; the base of segment i + 1 is the end of segment i.
 *   S2  start_offset >= base of segment `first`; end_offset <= next_offset; both ends only rise.
 *   S3  bytes of all batches below end_offset are in the files before end_offset is stored (release), so a reader that
 *       loads end_offset first (acquire) finds them.
 *   S4  an entry of the segment list never moves or changes its base once counted; it is freed with the shard.
 *   S5  unwatch() returns only when the committer cannot touch the waker any more. The unwatching thread waits for the
 *       committer (a bounded loop of wake-ups), never the other way round.
 * Threads: members are the committer's unless they are atomic. */

enum {
    SEGMENT_CHUNKS = 24, /* of 8, 16, 32, ... segments */
    SHARD_PATH_MAX = 64,
    SHARD_CHUNK = 1024,
    SHARD_CHUNK_COUNT = 4096 /* so 4 Mi shards may ever be made */
};

struct segment {
    int64_t base_offset;
    int64_t bytes;
    int64_t last_append_ms; /* trusted wall time (committer.h) */
    int64_t seen_ns; /* monotonic: when this process first knew it; retention's minimum age */
};

struct segment_list {
    _Atomic(struct segment *) chunk[SEGMENT_CHUNKS];
    _Atomic int32_t first, count;
};

struct segment *segment_at(const struct segment_list *list, int32_t index);

/* Index of the last segment in [first, count) whose base is <= offset; -1: none. */
int32_t segment_find(const struct segment_list *list, int64_t offset);

/* How far a reader has come. */
struct shard_floor {
    uint32_t reader;
    int64_t offset;
};

/* Claims on [lo, hi) must have at least this epoch. Sorted, disjoint. */
struct range_epoch {
    uint32_t lo, hi;
    uint64_t epoch;
};

/* One checkpoint file. Freed when no cover and no restore refers to it. */
struct checkpoint {
    int64_t number; /* names the file */
    uint32_t lo, hi;
    int64_t at;
    int64_t bytes;
    int64_t order; /* in which they were applied: newer ones cover older ones */
    int32_t refs;
};

/* Groups [lo, hi) are newest in `checkpoint`. Sorted, disjoint. */
struct checkpoint_cover {
    uint32_t lo, hi;
    struct checkpoint *checkpoint;
};

struct pending_batch; /* group.h */
struct watch_list;

struct shard {
    uint32_t id;
    uint32_t stream;
    uint32_t flags; /* enum stream_flags */

    /* any thread */
    _Atomic int64_t start_offset, end_offset;
    struct segment_list segments;  /* base_offset only */
    _Atomic int32_t problem_state; /* 0 healthy, 1 being written, 2 stands */
    _Atomic bool unwritable;       /* with a problem: it is where the next batch would go */
    enum err health;
    char problem[160];
    _Atomic(struct watch_list *) watchers;
    _Atomic uint32_t waking;

    /* the committer's */
    int64_t next_offset; /* end, with what is not yet published */
    int64_t size_bytes;
    int64_t index_window; /* last one that has an index entry or needs none */
    struct fs_file file;  /* open for writing on the last segment, or none */
    int64_t file_base;
    struct shard *lru_newer, *lru_older;
    bool dirty; /* segment `dirty_base` has bytes that no shard sync has covered */
    int64_t dirty_base;
    bool
        absent; /* recovery: segment `absent_base` has no file: a later frame must say that it was let go */
    int64_t absent_base;
    struct pending_batch *group_head, *group_tail;
    struct shard *group_next;
    struct shard_floor *floors;
    int32_t floor_count;
    struct range_epoch *epochs;
    int32_t epoch_count;
    struct checkpoint_cover *covers;
    int32_t cover_count;
    struct log_restore *restores; /* open ones: they pin */
};

/* All shards ever made, by id; entries appear and stay. */
struct shard_table {
    _Atomic(_Atomic(struct shard *) *) chunk[SHARD_CHUNK_COUNT];
};

struct shard *shard_get(const struct shard_table *table, uint32_t id); /* NULL: none */
struct shard *shard_new(struct shard_table *table, uint32_t id, uint32_t stream, uint32_t flags);
void shard_table_release(struct shard_table *table);

/* Adds a segment behind the last. */
void shard_add_segment(struct shard *shard, int64_t base_offset, int64_t last_append_ms,
                       int64_t now_ns);

/* Where the next batch of `bytes` goes: begins a segment if there is none or the last one would pass
 * `segment_bytes` (`force_roll`: in any case). Moves next_offset by `records`.
 *   ret_position   in the segment that is then the last */
struct place {
    int64_t segment_base;
    int64_t position;
    bool rolled;
    bool index; /* first batch in its index window: an index entry is due */
};
struct place shard_place(struct shard *shard, ptrdiff_t bytes, int32_t records,
                         int64_t segment_bytes, int64_t time_ms, int64_t now_ns);

/* The last segment is recovery's to forget, with everything else the shard holds. Only before readers exist. */
void shard_clear_segments(struct shard *shard);

/* First report stays. Any thread. What is wrong with segment `base` stops appends only if it is the newest: an old one is
 * refused to its readers, and is no reason to take nothing new. */
void shard_set_problem(struct shard *shard, int64_t base, enum err health, const char *fmt, ...)
    ATTR_PRINTF(4, 5);
enum err shard_health(const struct shard *shard);
/* OK, or why nothing may be appended. */
enum err shard_write_health(const struct shard *shard);

/* Stores the new end and wakes who watches. */
void shard_publish(struct log *log, struct shard *shard);

ATTR_NODISCARD enum err shard_watch(struct shard *shard, struct waker *waker);
void shard_unwatch(struct shard *shard, struct waker *waker);

/* Lowest floor; INT64_MAX if there is none. */
int64_t shard_lowest_floor(const struct shard *shard);

/* Paths, relative to the data folder. `path` holds SHARD_PATH_MAX bytes. */
void shard_folder_path(char *path, uint32_t id);
void segment_path(char *path, uint32_t id, int64_t base_offset);
void segment_index_path(char *path, uint32_t id, int64_t base_offset);
void checkpoint_path(char *path, int64_t number);

#endif
