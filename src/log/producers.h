// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_PRODUCERS_H
#define LOG_PRODUCERS_H

#include "base/err.h"
#include "log/record_batch.h"

/* Idempotent producers: per producer and shard the last five batches, so that a repeated one is answered with its old
 * offset. Forgotten when a producer has not been heard of for a while. The committer's. */

enum { PRODUCERS_MAX = 65536, PRODUCER_BATCHES = 5 };

struct producer_batch {
    int32_t first, last; /* sequences */
    int64_t offset;      /* base offset it got */
};

struct producer_shard {
    uint32_t shard;
    int32_t count;                                   /* of batches */
    struct producer_batch batches[PRODUCER_BATCHES]; /* oldest first */
};

struct producer {
    int64_t id;
    int16_t epoch;
    int64_t last_ms;               /* trusted wall time of its last sign of life */
    struct producer_shard *shards; /* sorted by shard */
    int32_t shard_count, shard_cap;
};

struct producers {
    struct producer **slots; /* open addressing by id */
    int32_t slot_count, count;
};

void producers_release(struct producers *producers);

/* NULL: not there. */
struct producer *producers_find(const struct producers *producers, int64_t id);

/* Finds or makes. */
struct producer *producers_put(struct producers *producers, int64_t id);

/* Forgets those last heard of before `before_ms`; returns how many. */
int32_t producers_expire(struct producers *producers, int64_t before_ms);

/* What to do with a batch that carries a producer id.
 *   OK          it is the next one, or a repeated one: *ret_offset is then its old base offset, else -1
 *   SEQUENCE    a gap, or a repetition that is too old
 *   FENCED      unknown id or another epoch */
ATTR_NODISCARD enum err producers_check(const struct producers *producers, uint32_t shard,
                                        const struct record_batch_header *header,
                                        int64_t *ret_offset, struct err_info *info);

/* Notes an appended batch of a known producer. */
void producers_note(struct producer *producer, uint32_t shard,
                    const struct record_batch_header *header, int64_t base_offset, int64_t time_ms);

/* The state for a shard, made if absent. */
struct producer_shard *producer_shard_put(struct producer *producer, uint32_t shard);

#endif
