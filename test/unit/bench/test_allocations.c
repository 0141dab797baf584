// SPDX-License-Identifier: Apache-2.0
// Nothing on the data path allocates per record: the heap is watched while chains and lanes run N records and N more.

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/rng.h"
#include "bench/feed_run.h"
#include "bench/node_run.h"
#include "test.h"

static bool watched; /* only what is called now counts */
static int64_t allocations;

/* The heap's entries, in front of the C library's: whatever is linked, C++ included, comes through them. */
void *__libc_malloc(size_t size);                 // NOLINT(bugprone-reserved-identifier): glibc's
void *__libc_calloc(size_t count, size_t size);   // NOLINT(bugprone-reserved-identifier)
void *__libc_realloc(void *ptr, size_t size);     // NOLINT(bugprone-reserved-identifier)
void *__libc_memalign(size_t align, size_t size); // NOLINT(bugprone-reserved-identifier)

ATTR_EXPORT void *malloc(size_t size)
{
    allocations += watched;
    return __libc_malloc(size);
}

ATTR_EXPORT void *calloc(size_t count, size_t size)
{
    allocations += watched;
    return __libc_calloc(count, size);
}

ATTR_EXPORT void *realloc(void *ptr, size_t size)
{
    allocations += watched;
    return __libc_realloc(ptr, size);
}

ATTR_EXPORT void *aligned_alloc(size_t align, size_t size)
{
    allocations += watched;
    return __libc_memalign(align, size);
}

ATTR_EXPORT int posix_memalign(void **ret, size_t align, size_t size)
{
    allocations += watched;
    *ret = __libc_memalign(align, size);
    return *ret != NULL ? 0 : 12; // ENOMEM
}

enum { RECORDS = 32 << 10, KEYS = 500, SPAN_MS = 32000 };

#define COUNT_CHAIN "[{window: {name: w, tumbling: 10s, out: {n: count}}}]"

/* `count` records over the same span of event time: more of them make no more windows. */
static void add_counted(struct feed *feed, int32_t count)
{
    struct rng rng;
    rng_init(&rng, 7);
    for (int32_t i = 0; i < count; i++) {
        uint64_t key = i < KEYS ? (uint64_t)i : rng_below(&rng, KEYS);
        feed_add(feed, (struct str){.ptr = (const char *)&key, .len = 8}, STR("value of 16 byte"),
                 (int64_t)i * SPAN_MS / count);
    }
    feed_flush(feed);
}

static void add_clicks(struct feed *feed, int32_t count)
{
    feed_add_clicks(feed, 1, count);
    feed_flush(feed);
}

/* Allocations of the third pass over `count` records; in the first ones buffers and tables find their sizes. */
static int64_t chain_allocations(const char *chain, void (*fill)(struct feed *, int32_t),
                                 int32_t count)
{
    struct feed feed;
    struct feed_run run;
    struct err_info info = {0};
    feed_init(&feed, 4 * SPAN_MS);
    fill(&feed, count);
    CHECK_MSG(feed_run_open_chain(&run, chain, &info) == ERR_OK, "%s", info.text);
    int64_t found[3];
    for (int i = 0; i < 3; i++) {
        allocations = 0;
        watched = true;
        for (int64_t done = 0; done < count;) {
            done += feed_run_step(&run, &feed);
        }
        watched = false;
        found[i] = allocations;
    }
    feed_run_close(&run);
    feed_release(&feed);
    CHECK(found[0] > 0); // the watch works
    return found[2];
}

TEST(chains_allocate_nothing_per_record)
{
    EXPECT_INT(chain_allocations(FEED_CLICKS_CHAIN, add_clicks, RECORDS), 0);
    EXPECT_INT(chain_allocations(FEED_CLICKS_CHAIN, add_clicks, 2 * RECORDS), 0);
    /* A new window takes a table and what finds it by time; how many records it counts is all the same. */
    EXPECT_INT(chain_allocations(COUNT_CHAIN, add_counted, 2 * RECORDS),
               chain_allocations(COUNT_CHAIN, add_counted, RECORDS));
}

/* --- a lane, with its reads, decoding, commits and deltas --- */

static int64_t watched_lane(void *ctx, int64_t now_ns)
{
    watched = true;
    int64_t next = lane_step(ctx, now_ns);
    watched = false;
    return next;
}

/* Allocations inside the lane's steps while it runs over `count` records. */
static int64_t lane_allocations(const char *chain, void (*fill)(struct feed *, int32_t),
                                int32_t count)
{
    struct feed feed;
    struct node_run run = {.chain = chain, .commit = "10ms", .step_lane = watched_lane};
    struct err_info info = {0};
    /* A small cache of decoded batches is full, and goes on with what it has, before long. */
    struct engine_options options = {
        .simulated = true, .memory_log = true, .tuning = {.cache_bytes = 1 << 20}};
    feed_init(&feed, SPAN_MS);
    fill(&feed, count);
    CHECK_MSG(node_run_open(&run, &options, &feed, &info) == ERR_OK, "%s", info.text);
    allocations = 0;
    double per_s;
    CHECK_MSG(node_run_slice(&run, &per_s, &info) == ERR_OK, "%s", info.text);
    int64_t found = allocations;
    node_run_close(&run);
    feed_release(&feed);
    return found;
}

static void expect_lane_allocates_nothing(const char *chain, void (*fill)(struct feed *, int32_t))
{
    int64_t once = lane_allocations(chain, fill, 4 * RECORDS);
    int64_t twice = lane_allocations(chain, fill, 8 * RECORDS);
    EXPECT(once > 0); // the watch works
    /* Buffers still find their sizes, by doubling; a batch of 1024 that took one allocation would show. */
    EXPECT(twice - once < 4 * RECORDS / 1024 / 4);
}

TEST(lanes_allocate_nothing_per_record)
{
    expect_lane_allocates_nothing("[]", add_clicks);
    expect_lane_allocates_nothing(FEED_CLICKS_CHAIN, add_clicks);
    expect_lane_allocates_nothing(COUNT_CHAIN, add_counted);
}
