// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_STATE_TABLE_H
#define PIPELINE_STATE_TABLE_H

#include "pipeline/state.h"

/* One table of keyed state: the entries of one key group in one space. Open addressing, linear probing, no tombstones
 * (removal shifts back). A slot holds all of a short-keyed entry, so that an upsert costs one cache miss:
 *
 *   offset 0   u32 tag        first place = tag & mask, rounded down to even: so that a cache line of two small slots is
 *                             looked at whole before the next
 *          4   u16 key length
 *          6   u8  flags
 *          8   i64 time
 *         16   payload, rounded up to 8
 *          .   tail: pointer, u32 length, u32 capacity (spaces with tails)
 *          .   key: the bytes, or a pointer into the slab if they are longer than this table's room for them
 *
 * The room for keys follows the longest key seen (8, 16, 24, 40 bytes), so a table of integer keys has slots of half a
 * cache line. Slots move at growth, removal and widening; nothing refers to them but by tag.
 *
 * Times of a timed space's table are indexed by buckets of tags: windows have few distinct times, so a bucket usually is
 * one time; when there would be more than TIME_BUCKETS_MAX, buckets become twice as wide. References are by tag and may
 * be stale (the entry was removed); they are dropped when their bucket is looked at, or when they outnumber the entries.
 * Source of the idea: calendar queues, Brown 1988. The index is made when it is first asked for what looking at every slot
 * does not tell as cheaply, and forgotten when the table is empty: of a window that closes as a whole there never is one. */

enum {
    TABLE_SLOTS_MIN = 4,
    TABLE_KEY_ROOM_MIN = 8,
    TABLE_KEY_ROOM_MAX = 40,
    TABLE_LINE_BYTES = 64,
    TABLE_SLAB_CLASSES = 13, /* 16 B .. 64 KiB; longer pieces come from the heap one by one */
    TIME_BUCKETS_MAX = 64
};

enum slot_flags {
    SLOT_USED = 1,
    SLOT_DIRTY = 2, /* changed since it was last handed out for a delta */
    SLOT_KEPT = 4,  /* the changelog has it: its removal needs a tombstone */
    SLOT_PICKED = 8 /* while due entries are collected, or shown */
};

struct slot {
    uint32_t tag;
    uint16_t key_len;
    uint8_t flags;
    uint8_t unused;
    int64_t time;
};

struct slot_tail {
    char *ptr;
    uint32_t len;
    uint32_t cap;
};

/* Pieces for long keys and tails: powers of two, cut from chunks that live as long as the table. */
struct slab {
    void *free_list[TABLE_SLAB_CLASSES];
    void *chunks;
    char *cut;
    ptrdiff_t cut_left_bytes;
    ptrdiff_t chunk_next_bytes;
};

struct time_bucket {
    int64_t id; /* time >> shift */
    uint32_t *tags;
    uint32_t count, cap;
};

struct time_index {
    struct time_bucket *buckets; /* ascending by id */
    int32_t count, cap;
    int32_t last; /* where the last reference went */
    int32_t shift;
    uint32_t ref_count;
    bool made; /* else there are no buckets, and: */
    bool least_loose;
    int64_t least; /* the smallest time, or a bound below it if least_loose; INT64_MAX: empty */
};

/* What all tables of a space have in common. */
struct table_shape {
    int32_t payload_bytes; /* rounded up to 8 */
    int32_t tail_offset;   /* of struct slot_tail; 0: none */
    int32_t key_offset;
    bool timed;
};

struct table {
    char *slots;
    uint32_t mask;
    uint32_t stride_bytes;
    uint32_t key_room_bytes;
    uint32_t count;
    uint32_t grow_at;
    uint32_t peak_count;  /* since it was last empty */
    uint32_t spread;      /* 0..255: this table's place between the growth thresholds */
    int64_t memory_bytes; /* all that hangs on this table, itself included */
    struct slab slab;
    struct time_index times;
};

struct table *table_new(const struct table_shape *shape, uint32_t spread);
void table_free(const struct table_shape *shape, struct table *table);

static inline uint32_t table_tag(uint64_t hash, int64_t time)
{
    return (uint32_t)hash ^ (uint32_t)(((uint64_t)time * 0x9e3779b97f4a7c15u) >> 32);
}

/* Where the search for a tag begins. */
static inline uint32_t table_home(uint32_t tag, uint32_t mask)
{
    return tag & mask & ~1u;
}

static inline struct slot *table_slot(const struct table *table, uint32_t place)
{
    return (struct slot *)(void *)(table->slots + (size_t)place * table->stride_bytes);
}

static inline void *slot_payload(const struct slot *slot)
{
    return (char *)(uintptr_t)slot + sizeof *slot;
}

static inline struct slot *slot_of_payload(const void *payload)
{
    return (struct slot *)(void *)((char *)(uintptr_t)payload - sizeof(struct slot));
}

static inline struct slot_tail *slot_tail_of(const struct table_shape *shape,
                                             const struct slot *slot)
{
    return (struct slot_tail *)(void *)((char *)(uintptr_t)slot + shape->tail_offset);
}

/* The entry's key, wherever it is. */
struct str slot_key(const struct table_shape *shape, const struct table *table,
                    const struct slot *slot);
struct str slot_tail_view(const struct table_shape *shape, const struct slot *slot);

/* NULL if absent. */
struct slot *table_find(const struct table_shape *shape, const struct table *table, uint32_t tag,
                        struct str key, int64_t time);

/* Adds an entry that is not there: used, clean, payload zero. May move all others. */
struct slot *table_add(const struct table_shape *shape, struct table *table, uint32_t tag,
                       struct str key, int64_t time);

/* Removes; moves others. Gives up its key and tail. The smallest time may be a later one now. */
void table_remove(const struct table_shape *shape, struct table *table, struct slot *slot);

/* Resizes the tail: kept bytes stay, new ones are zero. Returns it. */
char *table_tail_resize(const struct table_shape *shape, struct table *table, struct slot *slot,
                        uint32_t len);

/* Removes all entries. The index of times is the caller's to empty. */
void table_clear(const struct table_shape *shape, struct table *table);

/* Called when all entries have been removed: gives memory back that the last fill did not need. */
void table_settle(const struct table_shape *shape, struct table *table);

/* Tells the index of times of a new entry, which is in the table already. */
void table_index_time(struct table *table, uint32_t tag, int64_t time);

/* Forgets the index of times of an empty table. */
void table_forget_times(struct table *table);

/* The smallest time; INT64_MAX if empty. Drops stale references on the way. */
int64_t table_min_time(struct table *table);

/* Slots in which `tag` is found, one after the other: `place` starts as table_home. NULL at the end. */
struct slot *table_probe_tag(const struct table *table, uint32_t tag, uint32_t *place);

struct due_ref {
    int64_t time;
    uint64_t prefix; /* first 8 bytes of the key, big endian */
    struct slot *slot;
};

struct due_list {
    struct due_ref *items, *spare;
    int32_t count, cap;
    int32_t bucket_count; /* buckets looked at */
    int64_t rest_time;    /* of table_list_due: no entry that it left out is earlier */
    bool rest_loose;      /* the earliest of them may be later than that */
};
void due_list_release(struct due_list *list);

/* Collects entries with time <= until, whole buckets from the earliest on, until there are `want` or more, and sorts
 * them by (time, key). Slots are marked SLOT_PICKED. */
void table_collect_due(const struct table_shape *shape, struct table *table, int64_t until,
                       int32_t want, struct due_list *list);

/* Removes the first `count` collected entries, unmarks the others and forgets the references of those removed. The slots
 * of `list` are void after it. */
void table_remove_due(const struct table_shape *shape, struct table *table, int64_t until,
                      struct due_list *list, int32_t count);

/* Lists the entries with time <= until, sorted by (time, key); nothing is marked. */
void table_list_due(const struct table_shape *shape, struct table *table, int64_t until,
                    struct due_list *list);

/* Removes the listed entries that are SLOT_PICKED. The slots of `list` are void after it. */
void table_remove_listed(const struct table_shape *shape, struct table *table,
                         struct due_list *list);

#endif
