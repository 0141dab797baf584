// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_STATE_PRIV_H
#define PIPELINE_STATE_PRIV_H

#include "base/arena.h"
#include "pipeline/state.h"
#include "pipeline/state_table.h"

/* What the files of keyed state share. */

/* The part of a table that a lookup reads, packed so that all groups' parts stay in the second-level cache. */
struct table_ref {
    char *slots; /* of no table: one empty slot */
    uint32_t mask;
    uint16_t stride_bytes;
    uint16_t key_room_bytes;
};

/* References to the entries of a listed space, by key group << 32 | tag, in buckets by time as those of a timed space's table
 * (state_table.h). One may be stale, and name more than one entry. */
struct ref_bucket {
    int64_t id; /* time >> shift */
    uint64_t *refs;
    int64_t count, cap;
};

struct ref_list {
    struct ref_bucket
        *buckets; /* ascending by id; behind `count`: empty ones whose memory is kept */
    int32_t count, cap;
    int32_t last; /* where the last reference went */
    int32_t shift;
    bool twins; /* there are, or were, entries that one reference does not tell apart */
    int64_t ref_count;
    int64_t memory_bytes;
    uint32_t version; /* places in buckets told before it changed mean nothing */
};

/* Which tags the references of one bucket have: none where the bit is not set, but for one in eight that only look like it. */
struct tag_filter {
    uint64_t *words;
    int64_t word_count; /* a power of two */
    int64_t id;         /* of the bucket */
    int64_t noted;      /* its references that are in here, from the first on */
    uint32_t version;   /* of the list */
};

/* What state_walk_next showed last. */
struct state_shown {
    struct state_due *entries, *beside; /* [cap] each */
    int32_t count, cap;
    bool has_beside;
};

struct state_space {
    struct state *state;
    uint32_t id;
    uint32_t index; /* in state->spaces */
    struct str name;
    struct table_shape shape;
    int32_t payload_bytes; /* as asked for: what goes to the changelog */
    bool composite;
    /* [group count], made with the first entry; NULL before */
    struct table_ref *refs;
    struct table **tables;
    /* While all tables there are have slots alike: their size and room for keys. Stride 0: they differ, or there are none. */
    uint32_t stride_bytes, key_room_bytes;
    int32_t room_tables[TABLE_KEY_ROOM_MAX / TABLE_KEY_ROOM_MIN +
                        1]; /* tables by room for keys; [0]: absent ones */
    int64_t *group_min; /* timed: smallest time of each group, or a bound below it if group_loose */
    uint8_t *group_loose;
    int64_t min_time; /* timed: of the space, or a bound below it if min_loose */
    bool min_loose;
    struct due_list due;
    struct state_due *
        due_shown; /* [due_shown_cap], what state_due_begin showed last: due.items, in their order */
    int32_t due_shown_cap;
    uint32_t due_shown_group;
    struct arena taken; /* what state_take_due handed out last */
    bool listed;
    struct ref_list list;
    struct state_shown shown;
    struct tag_filter beside; /* of the bucket that a walk looks beside itself into */
};

struct state {
    uint32_t group_lo, group_hi;
    bool tracking;
    int32_t space_count;
    struct state_space *spaces[STATE_SPACES_MAX];
    int64_t bytes_used;
    int64_t entry_count;
    /* Dirty entries: space << 44 | group << 32 | tag. */
    uint64_t *dirty;
    ptrdiff_t dirty_count, dirty_cap, dirty_next;
    int64_t dirty_bytes;
    /* Keys of removed entries that the changelog has: u32 length, key. */
    char *removed;
    ptrdiff_t removed_len, removed_cap, removed_next;
    /* What the last _next handed out. */
    char *key_buffer;
    ptrdiff_t key_cap;
    char *value_buffer;
    ptrdiff_t value_cap;
};

enum { STATE_ENTRY_HEAD_BYTES = 2 + 4 + 8 };

void space_make_tables(struct state_space *space);
struct table *space_table(struct state_space *space, uint32_t group);

/* After a table may have been rebuilt: its ref, and the bytes that changed since `bytes_before`. */
void space_table_changed(struct state_space *space, uint32_t group, int64_t bytes_before);

/* Hand-over of one table: out, which leaves the group as if it had never had one, and in. */
void space_forget_table(struct state_space *space, uint32_t group);
void space_adopt_table(struct state_space *space, uint32_t group, struct table *table);

/* Removes an entry of `group`; a tombstone is written if `tell` and the changelog has it. */
void space_remove(struct state_space *space, uint32_t group, struct slot *slot, bool tell);

/* Writes a tombstone for an entry that is about to go. */
void state_tell_removed(struct state_space *space, uint32_t group, const struct slot *slot);

/* Finds or makes, without marking it dirty. */
struct slot *space_put(struct state_space *space, uint32_t group, uint32_t tag, struct str key,
                       int64_t time);

/* Makes an entry that is not there. */
struct slot *space_add(struct state_space *space, uint32_t group, uint32_t tag, struct str key,
                       int64_t time);

void space_mark_dirty(struct state_space *space, uint32_t group, struct slot *slot);

/* The list of a listed space: what was made there, what came with a table. */
void ref_list_add(struct state_space *space, uint32_t group, uint32_t tag, int64_t time);
void ref_list_add_table(struct state_space *space, uint32_t group, const struct table *table);
void ref_list_release(struct state_space *space);

/* Writes the 14 bytes before the user key. */
void state_encode_head(char *out, uint32_t group, uint32_t space_id, int64_t time);

#endif
