// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_COMMIT_H
#define NODE_COMMIT_H

#include "log/log.h"
#include "log/record_batch.h"

/* What one commit of a lane will hold: records for any number of shards, and the partitions it speaks for. A lane has
 * two: one being filled, one in flight. Buffers are kept from commit to commit. One thread.
 *
 *   FILLING --commit_seal--> SEALED --commit_reset--> FILLING
 *
 * SEALED: the bytes that commit_op points to stay as they are, however often the op is submitted. */

struct commit_shard;
struct partition;

struct commit_claim {
    struct partition *part;
    int32_t changelog_slot; /* its changelog shard, for ret_end_offset */
    int64_t offset[2];      /* of its inputs, at its last cut in this commit */
};

struct commit {
    struct commit_shard *slots; /* of shards seen; those of this commit stand in `used` */
    int32_t slot_count, slot_cap;
    int32_t *table; /* shard id -> slot + 1; open addressing */
    int32_t table_cap;
    int32_t *used;
    int32_t used_count;
    int64_t bytes; /* an estimate of what it will take */
    int64_t records;
    struct log_claim *claims;
    struct commit_claim *parts; /* [claim_count] */
    int32_t claim_count, claim_cap;
    struct log_batch *batches;
    bool sealed;
};

void commit_init(struct commit *commit);
void commit_release(struct commit *commit);
void commit_reset(struct commit *commit);

/* Appends a record to a shard's part. LIMIT: the record alone is larger than a record batch may be. */
ATTR_NODISCARD enum err commit_add(struct commit *commit, struct shard_id shard,
                                   enum record_codec codec, const struct record *record);

/* Speaks for a partition: once per commit and partition. Returns its index in claims and parts. */
int32_t commit_claim(struct commit *commit, struct partition *part, const struct log_claim *claim);

/* Finishes the batches and fills in u.commit's batches and claims. LIMIT over LOG_COMMIT_BYTES_MAX. */
ATTR_NODISCARD enum err commit_seal(struct commit *commit, struct log_commit_op *op,
                                    struct err_info *info);

/* After it was committed: where the changelog of claim `index` ended. */
int64_t commit_end_of(const struct commit *commit, int32_t index);

#endif
