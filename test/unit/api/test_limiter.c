// SPDX-License-Identifier: Apache-2.0
#include "api/limiter.h"

#include "test.h"

static struct limiter limiter;

TEST(a_bucket_gives_its_burst_then_its_rate)
{
    int64_t wait_ns = 0;
    limiter_init(&limiter, (struct limiter_rate){.per_second = 2, .burst = 3});
    for (int i = 0; i < 3; i++) {
        EXPECT(limiter_take(&limiter, 7, 1000, &wait_ns));
    }
    EXPECT(!limiter_take(&limiter, 7, 1000, &wait_ns));
    EXPECT(wait_ns > 499000000 && wait_ns < 501000000);
    EXPECT(!limiter_take(&limiter, 7, 1000 + wait_ns - 1000, &wait_ns));
    EXPECT(limiter_take(&limiter, 7, 500002000, &wait_ns));
    EXPECT(limiter_take(&limiter, 8, 1000, &wait_ns));
}

TEST(asking_takes_nothing)
{
    int64_t wait_ns = 0;
    limiter_init(&limiter, (struct limiter_rate){.per_second = 1, .burst = 1});
    for (int i = 0; i < 10; i++) {
        EXPECT(limiter_has(&limiter, 1, 5, &wait_ns));
    }
    EXPECT(limiter_take(&limiter, 1, 5, &wait_ns));
    EXPECT(!limiter_has(&limiter, 1, 5, &wait_ns));
}

TEST(a_flood_of_ids_does_not_outgrow_the_table)
{
    int64_t wait_ns = 0;
    limiter_init(&limiter, (struct limiter_rate){.per_second = 1, .burst = 2});
    for (uint64_t id = 1; id < 100000; id++) {
        EXPECT(limiter_take(&limiter, id * 0x9e3779b97f4a7c15u | 1, (int64_t)id, &wait_ns));
    }
}
