// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_SHADOW_PART_H
#define NODE_SHADOW_PART_H

#include "node/partition.h"
#include "node/shadow_sample.h"
#include "pipeline/probe.h"

/* What partitions and lanes ask of the shadow they work for; all on the shadow lane's thread. */

struct shadow;
struct shadow_queue;

const struct sampler *shadow_sampler(const struct shadow *shadow);

/* NULL: operators are not timed. */
struct probes *shadow_probes(struct shadow *shadow);

/* Own rows of a batch, at most. 0: no limit of its own. */
int32_t shadow_batch_rows(const struct shadow *shadow);

/* Whether a state entry of the changelog belongs to the sample; counts it. */
bool shadow_restores(struct shadow *shadow, struct str raw_key, struct str value);

/* Where the queue of an input begins. */
int64_t shadow_queue_begin(const struct shadow *shadow, int32_t input);

/* Where its results are written, for what writing them costs; with room. */
struct commit *shadow_commit(struct shadow *shadow);

/* Results, and rows whose time cannot be read: digest, store, comparison. */
void shadow_take(struct shadow *shadow, const struct partition *part, const struct output *output);
void shadow_reject(struct shadow *shadow, const struct partition *part, const struct rows *rows,
                   int32_t row, struct str reason);

/* Rows of a slice go into the queue. */
void shadow_feed_take(struct shadow_queue *feed, const struct rows *rows,
                      const struct view_slice *slice);
/* Whether it takes another slice now. */
bool shadow_feed_room(const struct shadow_queue *feed);

/* Around a step of a partition: what it did is what its figures gained. */
struct shadow_step {
    struct partition_figures before;
    struct view_counts counts;
    int64_t offset[2];
    int64_t spent_ns; /* on measuring, before */
    int64_t advanced_ms;
    bool advancing;
};
void shadow_step_begin(struct shadow *shadow, const struct partition *part,
                       struct shadow_step *ret_step);
void shadow_step_end(struct shadow *shadow, struct partition *part, int64_t now_ns,
                     const struct shadow_step *step);

/* A partition of it is about to be freed. */
void shadow_part_gone(struct shadow *shadow, const struct partition *part);

#endif
