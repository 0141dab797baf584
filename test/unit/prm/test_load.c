// SPDX-License-Identifier: Apache-2.0
#include "prm/load.h"

#include <math.h>
#include <string.h>

#include "test.h"

enum { PARTS = 4, LANES = 2 };

static struct arena arena;
static const struct load_pipeline pipeline = {.objective_s = 2};
static struct load_shard shards[2];
static struct load_part parts[PARTS];
static struct load_lane lanes[LANES];

/* Two shards of 1000 records/s; shard 0 in two halves on lane 0, shard 1 in a half on each lane. Reading costs 100 us a record,
 * work 400 us: a shard is 0.1 cores of reading and 0.4 of work. */
static struct load_input two_shards(void)
{
    for (int i = 0; i < 2; i++) {
        shards[i] = (struct load_shard){.id = i, .rate_per_s = 1000, .read_s = 1e-4};
        lanes[i] =
            (struct load_lane){.name = STR("n0/0"), .node = i, .capacity = 0.5, .open = true};
    }
    for (int i = 0; i < PARTS; i++) {
        parts[i] = (struct load_part){.name = STR("p/s/0/0-2048"),
                                      .shard = i / 2,
                                      .lane = i == 3,
                                      .group_lo = i % 2 == 0 ? 0 : 2048,
                                      .group_hi = i % 2 == 0 ? 2048 : 4096,
                                      .share = 0.5,
                                      .work_s = 4e-4,
                                      .waiting = i == 0 ? 250 : 0};
    }
    return (struct load_input){.pipelines = &pipeline,
                               .shards = shards,
                               .parts = parts,
                               .lanes = lanes,
                               .pipeline_count = 1,
                               .shard_count = 2,
                               .part_count = PARTS,
                               .lane_count = LANES};
}

static void begin(void)
{
    arena_release(&arena);
    arena_init(&arena, 1 << 20);
}

TEST(load_reads_a_shard_once_on_each_lane)
{
    struct load_input in = two_shards();
    struct load load;
    struct err_info info;
    begin();
    EXPECT(load_weigh(&in, &arena, &load, &info) == ERR_OK);
    EXPECT_NEAR(load.read[0], (0.1 + 0.1) / 0.5, 1e-12); /* both shards, though three partitions */
    EXPECT_NEAR(load.read[1], 0.1 / 0.5, 1e-12);
    EXPECT_NEAR(load.work[0], 3 * 0.2 / 0.5, 1e-12);
    EXPECT_NEAR(load.work[1], 0.2 / 0.5, 1e-12);
    EXPECT_NEAR(load_utilisation(&load, 0), 1.6, 1e-12);
    EXPECT_NEAR(load.waiting_s[0], 250 * 4e-4 / 0.5, 1e-12);
    /* Together on one lane the shard is read once: that is what a split costs. */
    parts[3].lane = 0;
    EXPECT(load_weigh(&in, &arena, &load, &info) == ERR_OK);
    EXPECT_NEAR(load_utilisation(&load, 0) + load_utilisation(&load, 1), 2.0, 1e-12);
}

TEST(load_says_what_no_split_cures)
{
    struct load_input in = two_shards();
    begin();
    EXPECT_INT(load_limit_of(&in, &parts[0], 0.4), LOAD_LIMIT_NONE); /* it fits as it is */
    EXPECT_INT(load_limit_of(&in, &parts[0], 0.25), LOAD_LIMIT_NONE);
    EXPECT_INT(load_limit_of(&in, &parts[0], 0.1), LOAD_LIMIT_READING);
    EXPECT(strstr(load_limit_text(&in, &parts[0], LOAD_LIMIT_READING, &arena),
                  "a split cannot help p/s/0/0-2048") != NULL);
    parts[0].top_share = 0.9;
    EXPECT_INT(load_limit_of(&in, &parts[0], 0.25), LOAD_LIMIT_KEY);
    EXPECT(strstr(load_limit_text(&in, &parts[0], LOAD_LIMIT_KEY, &arena), "one key is the load") !=
           NULL);
    parts[0].top_share = 0;
    parts[0].group_hi = 1;
    EXPECT_INT(load_limit_of(&in, &parts[0], 0.25), LOAD_LIMIT_RANGE);
}

TEST(load_is_cut_where_it_halves)
{
    struct load_input in = two_shards();
    struct load_cut cuts[] = {{100, 0.3F}, {101, 0.55F}, {1500, 0.8F}};
    double below = -1;
    EXPECT(in.part_count == PARTS);
    EXPECT_INT(load_border(&parts[1], 0.25, &below), 2048 + 512);
    EXPECT_NEAR(below, 0.25, 1e-12);
    parts[0].cuts = cuts;
    parts[0].cut_count = 3;
    EXPECT_INT(load_border(&parts[0], 0.5, &below), 101);
    EXPECT_NEAR(below, 0.55, 1e-6);
    EXPECT_INT(load_border(&parts[0], 0.9, &below), 1500);
    parts[0].held = true;
    EXPECT_INT(load_border(&parts[0], 0.5, &below), 0);
}

TEST(load_refuses_what_makes_no_sense)
{
    struct load load;
    struct err_info info;
    for (int k = 0; k < 9; k++) {
        struct load_input in = two_shards();
        double *numbers[] = {&parts[2].share,       &parts[2].work_s,     &parts[2].waiting,
                             &shards[1].rate_per_s, &shards[1].read_s,    &lanes[1].capacity,
                             &parts[2].top_share,   &parts[2].state_bytes};
        begin();
        if (k < 8) {
            *numbers[k] = k % 2 == 0 ? NAN : -1;
        } else {
            parts[2].lane = 7;
        }
        EXPECT_INT(load_weigh(&in, &arena, &load, &info), ERR_INVALID);
        EXPECT(info.text[0] != 0);
    }
    arena_release(&arena);
}
