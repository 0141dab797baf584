// SPDX-License-Identifier: Apache-2.0
#include "log/ranges.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

void range_epochs_raise(struct shard *shard, uint32_t lo, uint32_t hi, uint64_t epoch)
{
    CHECK(lo < hi && hi <= KEY_GROUP_COUNT);
    /* Borders of the new list are old borders, lo and hi: at most twice as many pieces and a few. */
    struct range_epoch *fresh = MEM_NEW_ARRAY(struct range_epoch, 2 * shard->epoch_count + 3);
    int32_t count = 0;
    uint32_t at = lo;
    for (int32_t i = 0; i < shard->epoch_count; i++) {
        struct range_epoch old = shard->epochs[i];
        uint32_t from = old.lo > lo ? old.lo : lo, to = old.hi < hi ? old.hi : hi;
        if (from >= to) { /* apart */
            if (old.lo >= hi && at < hi) {
                fresh[count++] = (struct range_epoch){at, hi, epoch};
                at = hi;
            }
            fresh[count++] = old;
            continue;
        }
        if (old.lo < from) {
            fresh[count++] = (struct range_epoch){old.lo, from, old.epoch};
        }
        if (at < from) {
            fresh[count++] = (struct range_epoch){at, from, epoch};
        }
        fresh[count++] = (struct range_epoch){from, to, old.epoch > epoch ? old.epoch : epoch};
        at = to;
        if (to < old.hi) {
            fresh[count++] = (struct range_epoch){to, old.hi, old.epoch};
        }
    }
    if (at < hi) {
        fresh[count++] = (struct range_epoch){at, hi, epoch};
    }
    int32_t kept = 0; /* join equal neighbours */
    for (int32_t i = 0; i < count; i++) {
        if (kept > 0 && fresh[kept - 1].hi == fresh[i].lo &&
            fresh[kept - 1].epoch == fresh[i].epoch) {
            fresh[kept - 1].hi = fresh[i].hi;
        } else {
            fresh[kept++] = fresh[i];
        }
    }
    mem_free(shard->epochs);
    shard->epochs = fresh;
    shard->epoch_count = kept;
}

uint64_t range_epochs_highest(const struct shard *shard, uint32_t lo, uint32_t hi)
{
    uint64_t highest = 0;
    for (int32_t i = 0; i < shard->epoch_count; i++) {
        const struct range_epoch *range = &shard->epochs[i];
        if (range->lo < hi && lo < range->hi && range->epoch > highest) {
            highest = range->epoch;
        }
    }
    return highest;
}

void checkpoint_covers_put(struct shard *shard, struct checkpoint *checkpoint,
                           void (*drop)(void *ctx, struct checkpoint *checkpoint), void *ctx)
{
    const uint32_t lo = checkpoint->lo, hi = checkpoint->hi;
    CHECK(lo < hi && hi <= KEY_GROUP_COUNT);
    struct checkpoint_cover *fresh = MEM_NEW_ARRAY(struct checkpoint_cover, shard->cover_count + 3);
    int32_t count = 0;
    bool placed = false;
    checkpoint->refs++; /* the cover's */
    for (int32_t i = 0; i < shard->cover_count; i++) {
        struct checkpoint_cover old = shard->covers[i];
        if (old.lo < lo) { /* what stands before */
            old.checkpoint->refs++;
            fresh[count++] =
                (struct checkpoint_cover){old.lo, old.hi < lo ? old.hi : lo, old.checkpoint};
        }
        if (!placed && old.hi > lo) {
            fresh[count++] = (struct checkpoint_cover){lo, hi, checkpoint};
            placed = true;
        }
        if (old.hi > hi) { /* what stands behind */
            old.checkpoint->refs++;
            fresh[count++] =
                (struct checkpoint_cover){old.lo > hi ? old.lo : hi, old.hi, old.checkpoint};
        }
        if (--old.checkpoint->refs == 0) {
            drop(ctx, old.checkpoint);
        }
    }
    if (!placed) {
        fresh[count++] = (struct checkpoint_cover){lo, hi, checkpoint};
    }
    mem_free(shard->covers);
    shard->covers = fresh;
    shard->cover_count = count;
}

int64_t checkpoint_covers_lowest(const struct shard *shard, uint32_t lo, uint32_t hi)
{
    int64_t lowest = INT64_MAX;
    uint32_t at = lo;
    for (int32_t i = 0; i < shard->cover_count && at < hi; i++) {
        const struct checkpoint_cover *cover = &shard->covers[i];
        if (cover->hi <= at) {
            continue;
        }
        if (cover->lo > at) {
            return 0;
        }
        lowest = cover->checkpoint->at < lowest ? cover->checkpoint->at : lowest;
        at = cover->hi;
    }
    return at < hi ? 0 : lowest;
}

int64_t checkpoint_covers_highest(const struct shard *shard, uint32_t lo, uint32_t hi)
{
    int64_t highest = 0;
    for (int32_t i = 0; i < shard->cover_count; i++) {
        const struct checkpoint_cover *cover = &shard->covers[i];
        if (cover->lo < hi && lo < cover->hi && cover->checkpoint->at > highest) {
            highest = cover->checkpoint->at;
        }
    }
    return highest;
}
