// SPDX-License-Identifier: Apache-2.0
// The figures of single records that are always on, beside what was fed.
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "node/partition_priv.h"
#include "test.h"

enum { ROWS = 1000, HOT = 7 };

struct fed {
    struct partition *part;
    struct rng rng;
    int64_t offset[ROWS];
    uint64_t hash[ROWS];
    struct str key[ROWS];
    uint32_t groups[KEY_GROUP_COUNT]; /* what was fed, exactly */
};

/* Feeds `count` batches, of whose records about `hot_percent` have the key HOT. */
static void feed(struct fed *fed, int count, uint64_t hot_percent)
{
    struct position *position = &fed->part->views[0].position;
    for (int i = 0; i < count; i++) {
        for (int32_t row = 0; row < ROWS; row++) {
            uint64_t key =
                rng_below(&fed->rng, 100) < hot_percent ? HOT : 1000 + rng_below(&fed->rng, 100000);
            fed->offset[row] = position->next_offset + row;
            fed->hash[row] = hash64(&key, sizeof key);
            fed->key[row] = STR("key");
            fed->groups[key_group_of(fed->hash[row])]++;
        }
        struct rows rows = {.first_offset = position->next_offset,
                            .next_offset = position->next_offset + ROWS,
                            .count = ROWS,
                            .offset = fed->offset,
                            .hash = fed->hash,
                            .key = fed->key};
        struct batch batch = {.count = ROWS, .sel_count = ROWS, .hash = fed->hash};
        position->next_offset += ROWS;
        partition_count_rows(fed->part, &batch, &rows, rows.first_offset);
    }
}

struct share {
    uint64_t hash;
    double least, most;
};

/* Of the heaviest key, as the sketch tells it. */
static struct share heaviest(const struct fed *fed)
{
    struct heavy_entry top = {0};
    double all = (double)heavy_total(fed->part->heavy);
    CHECK(heavy_top(fed->part->heavy, &top, 1) == 1);
    return (struct share){.hash = top.hash,
                          .least = (double)(top.count - top.error) / all,
                          .most = (double)top.count / all};
}

static struct fed *open_fed(void)
{
    struct fed *fed = MEM_NEW(struct fed);
    fed->part = MEM_NEW(struct partition);
    fed->part->place.group_hi = KEY_GROUP_COUNT;
    rng_init(&fed->rng, test_seed());
    return fed;
}

static void close_fed(struct fed *fed)
{
    mem_free(partition_take_group_counts(fed->part));
    heavy_free(fed->part->heavy);
    mem_free(fed->part);
    mem_free(fed);
}

TEST(counts_of_key_groups_are_exact)
{
    struct fed *fed = open_fed();
    feed(fed, 700, 30);
    static uint32_t counts[KEY_GROUP_COUNT];
    partition_put_group_counts(fed->part, counts);
    EXPECT(memcmp(counts, fed->groups, sizeof counts) == 0);
    close_fed(fed);
}

TEST(counts_tell_of_heavy_keys_what_was_lately)
{
    const uint64_t hot = HOT;
    struct fed *fed = open_fed();
    feed(fed, 100, 20);
    struct share top = heaviest(fed);
    EXPECT(top.hash == hash64(&hot, sizeof hot) && top.least < 0.23 && top.most > 0.17);
    feed(fed, 4000, 0); /* it was, and is no more */
    EXPECT(heaviest(fed).least < 0.03);
    EXPECT(heavy_total(fed->part->heavy) < HEAVY_LOOKS);
    feed(fed, 2000, 50); /* and is again */
    top = heaviest(fed);
    EXPECT_MSG(top.least > 0.3 && top.most < 0.6, "%.3f to %.3f", top.least, top.most);
    EXPECT(top.hash == hash64(&hot, sizeof hot));
    close_fed(fed);
}
