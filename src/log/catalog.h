// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_CATALOG_H
#define LOG_CATALOG_H

#include "log/journal.h"
#include "log/producers.h"
#include "log/shard.h"
#include "log/wire.h"

/* The catalog: everything the journal knows besides the batches themselves. It changes only by applying entries, the same
 * way while running (encode, apply, write) and in recovery (read, apply), so that a replay cannot differ from what ran.
 * A snapshot is a list of entries that makes an empty catalog equal to this one.
 *
 * Entry:  offset size field      (little endian; strings are u32 length, then bytes)
 *              0    4 kind       enum entry_kind
 *              4    4 length     of the body
 *              8      body
 *   COUNTERS        u32 next stream, next shard, next owner; i64 next producer, next checkpoint, control version floor
 *   STREAM          u32 id, flags, shards, first shard; i64 retention ms, retention bytes; name
 *   STREAM_DELETE   u32 id
 *   SHARD           u32 id; i64 start, end; u32 count, then each segment: i64 base offset, bytes, last append ms
 *   BATCH           u32 shard, flags (1: begins a segment, 2: producer's); i64 base offset; u32 bytes, CRC, records
 *   PRODUCER        i64 id; u32 epoch; i64 last ms
 *   PRODUCER_SHARD  i64 id; u32 shard, count, then each batch: u32 first, last; i64 offset
 *   OWNER           u32 id, incarnation, fenced; i64 sequence; name; u32 count, then each: u32 shard; i64 base, end
 *   OWNER_COMMIT    u32 id; i64 sequence; u32 count, then each as in OWNER
 *   RANGE_EPOCH     u32 shard, lo, hi; u64 epoch
 *   CONTROL         i64 version (negative: deleted at that version); key; value
 *   FLOOR           u32 shard, reader; i64 offset (INT64_MAX: gone)
 *   TRIM            u32 shard; i64 start offset (of a segment that stays)
 *   CHECKPOINT      u32 shard, lo, hi; i64 at, number, bytes
 *
 * Thread: the committer's, but for the atomics of its shards. */

enum entry_kind {
    ENTRY_COUNTERS = 1,
    ENTRY_STREAM,
    ENTRY_STREAM_DELETE,
    ENTRY_SHARD,
    ENTRY_BATCH,
    ENTRY_PRODUCER,
    ENTRY_PRODUCER_SHARD,
    ENTRY_OWNER,
    ENTRY_OWNER_COMMIT,
    ENTRY_RANGE_EPOCH,
    ENTRY_CONTROL,
    ENTRY_FLOOR,
    ENTRY_TRIM,
    ENTRY_CHECKPOINT,
    ENTRY_KIND_END
};

enum {
    BATCH_ROLLED = 1,
    BATCH_PRODUCER = 2,
    ENTRY_HEADER = 8,
    BATCH_ENTRY = ENTRY_HEADER + 28,
    OWNERS_MAX = 4096,
    CONTROL_KEYS_MAX = 65536,
    FLOORS_PER_SHARD_MAX = 4096
};

struct owner_result {
    uint32_t shard;
    int64_t base, end;
};

struct owner {
    uint32_t id, incarnation;
    bool fenced;
    int64_t sequence; /* of its last commit; 0: none */
    char name[64];
    struct owner_result *results; /* of that commit */
    int32_t result_count;
};

struct control {
    char key[128];
    int64_t version;
    uint8_t *value;
    ptrdiff_t len;
};

/* Files that nothing refers to once the frame that said so is synced. */
enum garbage_kind { GARBAGE_SEGMENT, GARBAGE_FOLDER, GARBAGE_CHECKPOINT, GARBAGE_JOURNAL };
struct garbage {
    enum garbage_kind kind;
    uint32_t shard;
    int64_t number; /* base offset, or the checkpoint's */
};

struct catalog {
    struct shard_table *shards;
    struct stream_info **streams; /* live ones, by id */
    int32_t stream_count, stream_cap;
    struct owner **owners; /* index = id */
    int32_t owner_count, owner_cap;
    struct control **controls; /* sorted by key */
    int32_t control_count, control_cap;
    int64_t control_version_floor; /* highest version of a deleted key: new keys begin above it */
    struct producers producers;
    uint32_t next_stream, next_shard;
    int64_t next_producer, next_checkpoint;
    int64_t checkpoints_applied;
    int32_t shard_count; /* live */
    struct garbage *garbage;
    int32_t garbage_count, garbage_cap;
    int64_t now_ns; /* set by who applies */
};

void catalog_init(struct catalog *catalog, struct shard_table *shards);
void catalog_release(struct catalog *catalog); /* not the shards */

struct stream_info *catalog_stream(const struct catalog *catalog, struct str name);
struct stream_info *catalog_stream_by_id(const struct catalog *catalog, uint32_t id);
struct owner *catalog_owner(const struct catalog *catalog, struct str name);
struct control *catalog_control(const struct catalog *catalog, struct str key);
/* Index of the first control record whose key is >= `key`. */
int32_t catalog_control_index(const struct catalog *catalog, struct str key);

/* Live shard or NULL (also if its stream is deleted). */
struct shard *catalog_shard(const struct catalog *catalog, uint32_t id);

/* Encoding: begin, wire_put_..., end. */
ptrdiff_t entry_begin(struct wire_out *out, enum entry_kind kind);
void entry_end(struct wire_out *out, ptrdiff_t begun);

/* One entry after another. False at the end; `in->bad` if it is cut short. */
bool entry_next(struct wire_in *in, uint32_t *ret_kind, struct wire_in *ret_body);

/* Any entry but BATCH. CORRUPT if it is malformed or does not fit the catalog. */
ATTR_NODISCARD enum err catalog_apply(struct catalog *catalog, uint32_t kind, struct wire_in body);

/* Ends the entry begun and applies it: it must fit (our own). */
void catalog_apply_own(struct catalog *catalog, struct wire_out *out, ptrdiff_t begun);

struct batch_entry {
    uint32_t shard, flags;
    int64_t base_offset;
    uint32_t bytes, crc, records;
};
void batch_entry_put(struct wire_out *out, const struct batch_entry *entry);
ATTR_NODISCARD enum err batch_entry_get(struct wire_in body, struct batch_entry *ret_entry);

/* Replays a batch: its place in the shard's files, its producer's state. CORRUPT if its base offset is not the end.
 * *ret_shard NULL: the shard is not there any more, nothing to do. */
ATTR_NODISCARD enum err catalog_apply_batch(struct catalog *catalog,
                                            const struct batch_entry *entry, const uint8_t *bytes,
                                            int64_t time_ms, struct shard **ret_shard,
                                            struct place *ret_place);

/* Appends the entries of a snapshot; returns how many. */
uint32_t catalog_snapshot(const struct catalog *catalog, struct wire_out *out);

/* Whether entries and data of a frame hold together: entries whole, each batch as its entry says, by its CRC. */
bool catalog_check_frame(const struct frame_header *header, const uint8_t *entries,
                         const uint8_t *data);

void catalog_add_garbage(struct catalog *catalog, enum garbage_kind kind, uint32_t shard,
                         int64_t number);

/* Drops a reference; at zero the checkpoint's file becomes garbage and it is freed. */
void catalog_checkpoint_unref(struct catalog *catalog, struct checkpoint *checkpoint);

#endif
