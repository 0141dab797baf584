// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_HANDOVER_H
#define NODE_HANDOVER_H

#include "base/sketch.h"
#include "node/figures.h"
#include "node/position.h"
#include "pipeline/state.h"

/* Key groups exported at a commit: what a partition that stopped there leaves to its successors within the process. State
 * is moved, table by table; positions are those of the commit. One owner at a time: the partition's lane, then the
 * message, then the change, then the next lane (X5 in node/change.h).
 *
 * Invariant: what the log would restore for [group_lo, group_hi) at that commit is what this holds. */

enum { HANDOVER_INPUTS = 2 };

struct handover {
    uint32_t group_lo, group_hi;
    int32_t input_count;
    struct position_map positions[HANDOVER_INPUTS];
    struct state_group *
        *groups; /* [hi - lo], NULL where a group has no entries; NULL: no state at all */
    uint32_t *group_counts;           /* [hi - lo]; NULL: no records yet */
    struct heavy *heavy;              /* NULL: none, or lost by a split */
    bool heavy_seldom;                /* as in the partition */
    struct partition_figures figures; /* zero behind a split or merge */
    int64_t state_bytes;
    int64_t changelog_since; /* bytes since the last checkpoint round began */
};

struct handover *handover_new(uint32_t group_lo, uint32_t group_hi, int32_t input_count);
void handover_free(struct handover *hand);

/* Cuts at `border`, strictly inside: `hand` keeps what is below, the result has the rest. Cost: O(key groups). */
struct handover *handover_split(struct handover *hand, uint32_t border);

/* Puts `upper`, which begins where `hand` ends, to it; frees `upper`. */
void handover_join(struct handover *hand, struct handover *upper);

#endif
