// SPDX-License-Identifier: Apache-2.0
#include "api/limiter.h"

#include <stddef.h>

#include "base/check.h"

enum { LIMITER_PROBES = 8 };

void limiter_init(struct limiter *limiter, struct limiter_rate rate)
{
    CHECK(rate.per_second > 0 && rate.burst >= 1);
    *limiter = (struct limiter){.rate = rate};
}

/* The bucket of `id`, brought to `now_ns`. Ids are hashes, so a few places next to each other are enough; among those
 * the one unused for longest is given away. */
static struct limiter_bucket *bucket_of(struct limiter *limiter, uint64_t id, int64_t now_ns)
{
    struct limiter_bucket *oldest = NULL;
    CHECK(id != 0);
    for (int i = 0; i < LIMITER_PROBES; i++) {
        struct limiter_bucket *bucket = &limiter->buckets[(id + (uint64_t)i) % LIMITER_BUCKETS];
        if (bucket->id == id) {
            double seconds = (double)(now_ns - bucket->at_ns) / 1e9;
            bucket->level += seconds * limiter->rate.per_second;
            bucket->level =
                bucket->level > limiter->rate.burst ? limiter->rate.burst : bucket->level;
            bucket->at_ns = now_ns;
            return bucket;
        }
        if (bucket->id == 0) {
            oldest = bucket;
            break;
        }
        if (oldest == NULL || bucket->at_ns < oldest->at_ns) {
            oldest = bucket;
        }
    }
    *oldest = (struct limiter_bucket){.id = id, .level = limiter->rate.burst, .at_ns = now_ns};
    return oldest;
}

bool limiter_has(struct limiter *limiter, uint64_t id, int64_t now_ns, int64_t *ret_wait_ns)
{
    const struct limiter_bucket *bucket = bucket_of(limiter, id, now_ns);
    if (bucket->level >= 1) {
        return true;
    }
    *ret_wait_ns = (int64_t)((1 - bucket->level) / limiter->rate.per_second * 1e9) + 1;
    return false;
}

bool limiter_take(struct limiter *limiter, uint64_t id, int64_t now_ns, int64_t *ret_wait_ns)
{
    if (!limiter_has(limiter, id, now_ns, ret_wait_ns)) {
        return false;
    }
    bucket_of(limiter, id, now_ns)->level -= 1;
    return true;
}
