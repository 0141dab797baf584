// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_FLOORS_H
#define NODE_FLOORS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* How far the partitions of one (stage, shard) have committed, wherever they run: the lowest is what the log must keep.
 * Shared by lanes without a lock: each partition stores into its own slot, anybody may take the minimum. */

enum {
    FLOOR_INPUTS = 2,
    FLOOR_CHUNK_SLOTS = 64,
    FLOOR_CHUNKS =
        128 /* room for each key group's own partition while all of them are being replaced */
};

struct floor_chunk {
    _Atomic int64_t slots[FLOOR_CHUNK_SLOTS][FLOOR_INPUTS]; /* -1: not known yet; INT64_MAX: free */
};

struct floor_set {
    int32_t input_count;
    _Atomic int64_t last_submit_ns;          /* so that one lane at a time submits */
    _Atomic int64_t submitted[FLOOR_INPUTS]; /* what the log was told */
    _Atomic uint32_t
        generation; /* moves before each take and give: a minimum read across one is not believed */
    _Atomic int32_t chunk_count;
    int32_t free_hint;                                /* no slot below it is free. The owner's */
    struct floor_chunk *_Atomic chunks[FLOOR_CHUNKS]; /* appear in order, stay */
};

/* No slots. */
struct floor_set *floor_set_new(int32_t input_count);
void floor_set_free(struct floor_set *set);

/* A free slot, unknown from now on: the set's owner (the runtime). -1: FLOOR_CHUNKS x FLOOR_CHUNK_SLOTS are taken. */
int32_t floor_set_take(struct floor_set *set);

/* The slot's partition is gone: it holds nothing back any more. The set's owner, when nobody reports to it. */
void floor_set_give(struct floor_set *set, int32_t slot);

/* The partition of `slot` has committed up to `offset` (all below is in the past) of input `input`. Any thread. */
void floor_set_report(struct floor_set *set, int32_t slot, int32_t input, int64_t offset);

/* The lowest of all slots that are taken; -1 as long as one is unknown, none is taken, or slots
 * were taken or given meanwhile. Any thread. O(slots). */
int64_t floor_set_lowest(const struct floor_set *set, int32_t input);

/* True for one caller each `interval_ns`: it is to submit. Any thread. */
bool floor_set_turn(struct floor_set *set, int64_t now_ns, int64_t interval_ns);

#endif
