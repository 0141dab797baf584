// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_FLOORS_H
#define NODE_FLOORS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* How far the partitions of one (stage, shard) have committed, wherever they run: the lowest is what the log must keep.
 * Shared by lanes without a lock: each partition stores into its own slot, anybody may take the minimum. */

enum { FLOOR_INPUTS = 2 };

struct floor_set {
    int32_t slot_count;
    int32_t input_count;
    _Atomic int64_t last_submit_ns;          /* so that one lane at a time submits */
    _Atomic int64_t submitted[FLOOR_INPUTS]; /* what the log was told */
    _Atomic int64_t slots[];                 /* [slot_count x input_count]; -1: not known yet */
};

/* All slots unknown. */
struct floor_set *floor_set_new(int32_t slot_count, int32_t input_count);
void floor_set_free(struct floor_set *set);

/* The partition of `slot` has committed up to `offset` (all below is in the past) of input `input`. Any thread. */
void floor_set_report(struct floor_set *set, int32_t slot, int32_t input, int64_t offset);

/* The lowest of all slots; -1 as long as one is unknown. Any thread. O(slots). */
int64_t floor_set_lowest(const struct floor_set *set, int32_t input);

/* True for one caller each `interval_ns`: it is to submit. Any thread. */
bool floor_set_turn(struct floor_set *set, int64_t now_ns, int64_t interval_ns);

#endif
