// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_RANGES_H
#define LOG_RANGES_H

#include "log/shard.h"

/* What a changelog shard knows by key-group range: the epochs that claims must reach, and which checkpoint is newest. */

/* Raises the epoch of [lo, hi) to at least `epoch`. */
void range_epochs_raise(struct shard *shard, uint32_t lo, uint32_t hi, uint64_t epoch);

/* Highest epoch of a group in [lo, hi); 0: never raised. */
uint64_t range_epochs_highest(const struct shard *shard, uint32_t lo, uint32_t hi);

/* Makes `checkpoint` the newest of its range; takes a reference for each cover. Checkpoints that cover nothing any more
 * and are not pinned are given to `drop`. */
void checkpoint_covers_put(struct shard *shard, struct checkpoint *checkpoint,
                           void (*drop)(void *ctx, struct checkpoint *checkpoint), void *ctx);

/* Offset below which the changelog is not needed: lowest `at` over all key groups; 0 while a group has no checkpoint. */
int64_t checkpoint_covers_lowest(const struct shard *shard, uint32_t lo, uint32_t hi);

/* Highest `at` in [lo, hi). */
int64_t checkpoint_covers_highest(const struct shard *shard, uint32_t lo, uint32_t hi);

#endif
