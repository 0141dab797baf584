// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_SKEW_H
#define PRM_SKEW_H

#include "base/sketch.h"
#include "prm/looks.h"

/* How the load of a partition lies over its keys, and what a split could do about it. From the always-on figures: records per
 * key group, exact, and a sketch of heavy keys over a sample of records. */

#define SPLIT_VERDICTS(X) \
    X(UNKNOWN, "unknown", "too few records to tell") \
    X(HELPS, "helps", "a split takes load away") \
    X(ONE_KEY, "one_key", "one key is about half of the load or more: no split helps") \
    X(ONE_GROUP, "one_group", "one key group has nearly all of the load: no split helps") \
    X(READING, "reading", \
      "a split cannot help: reading is most of the cost; re-key into a stream with more shards") \
    X(NARROW, "narrow", "the partition is one key group wide: it cannot be split")

enum split_verdict {
#define X(name, text, help) SPLIT_##name,
    SPLIT_VERDICTS(X)
#undef X
        SPLIT_VERDICT_COUNT
};

const char *split_verdict_name(enum split_verdict verdict);
const char *split_verdict_help(enum split_verdict verdict);

enum { SKEW_RECORDS_MIN = 1000 };

struct skew_input {
    const uint32_t *groups; /* [group_hi - group_lo] records of each */
    uint32_t group_lo, group_hi;
    const struct heavy_entry *heavy; /* [heavy_count], heaviest first */
    int32_t heavy_count;
    double heavy_sampled; /* records that the sketch has seen */
    double read_share;    /* reading / all CPU of the partition, 0..1; NaN: not known */
};

struct skew {
    double records;
    enum split_verdict verdict;
    uint32_t border; /* first key group of the upper half where the load halves best; 0: none */
    double heavier_share; /* of the work, of the heavier side there; 1 if it cannot be split */
    double
        after_share; /* of the partition's cost with reading: what the heavier side still costs */
    int32_t top;     /* index of the heaviest key; -1: none */
    struct estimate top_share;
    double peak_ratio; /* records of the fullest key group / mean of all */
    uint32_t peak_group;
};

/* Cost: O(groups). */
void skew_of(const struct skew_input *input, struct skew *ret_skew);

#endif
