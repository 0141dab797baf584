// SPDX-License-Identifier: Apache-2.0
#ifndef API_LIMITER_H
#define API_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

/* Token buckets, one for each of many ids (a token, an address): how often somebody may call. Pure. The table is fixed;
 * when it is full the bucket unused for longest is given away: a flood of new addresses cannot make it grow, and what
 * it forgets is in the caller's favour. */

enum { LIMITER_BUCKETS = 1024 };

struct limiter_rate {
    double per_second; /* > 0 */
    double burst;      /* >= 1 */
};

struct limiter {
    struct limiter_rate rate;
    struct limiter_bucket {
        uint64_t id; /* 0: free */
        double level;
        int64_t at_ns;
    } buckets[LIMITER_BUCKETS];
};

void limiter_init(struct limiter *limiter, struct limiter_rate rate);

/* Takes one from the bucket of `id` (any number but 0). False if it is empty: then `*ret_wait_ns` says when it would
 * hold one again. `now_ns` never goes back. */
bool limiter_take(struct limiter *limiter, uint64_t id, int64_t now_ns, int64_t *ret_wait_ns);

/* The same without taking: whether one is there. */
bool limiter_has(struct limiter *limiter, uint64_t id, int64_t now_ns, int64_t *ret_wait_ns);

#endif
