// SPDX-License-Identifier: Apache-2.0
#include "node/map.h"

#include "log/log.h"
#include "test.h"

static struct partition_map map_of(struct arena *arena, int32_t shards, int32_t ranges)
{
    struct partition_map map;
    CHECK(partition_map_default(arena, shards, ranges, &map, NULL) == ERR_OK);
    return map;
}

TEST(default_layouts_cover_every_key_group_once)
{
    static const int32_t ranges[] = {1, 2, 3, 7, 63, 64, 65, 1000, 4096};
    for (ptrdiff_t i = 0; i < COUNT_OF(ranges); i++) {
        struct arena arena;
        arena_init(&arena, 16 << 20);
        struct partition_map map = map_of(&arena, 3, ranges[i]);
        EXPECT_INT(map.count, 3 * ranges[i]);
        EXPECT(partition_map_check(&map, 3, NULL) == ERR_OK);
        for (int32_t k = 0; k < map.count && ranges[i] <= LOG_BLOCKS; k++) {
            EXPECT_INT(map.places[k].group_lo % LOG_BLOCK_GROUPS, 0);
        }
        arena_release(&arena);
    }
}

/* Places on `count` nodes of one lane, that own nothing yet. */
static void place_on(struct partition_map *map, struct map_lane *lanes, int32_t count, bool even)
{
    for (int32_t i = 0; i < count; i++) {
        lanes[i] = (struct map_lane){.node = (uint16_t)i};
    }
    partition_map_place(map, lanes, count, even);
}

TEST(map_survives_encoding)
{
    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct partition_map map = map_of(&arena, 2, 7);
    struct map_lane lanes[4];
    place_on(&map, lanes, 4, true);
    EXPECT_INT(partition_map_follow(&map, &(struct partition_map){0}), 14);
    ptrdiff_t len = partition_map_bytes(&map);
    char *bytes = arena_new(&arena, len, 1);
    partition_map_encode(&map, bytes);
    struct partition_map back;
    EXPECT(partition_map_decode(&arena, (struct str){bytes, len}, &back, NULL) == ERR_OK);
    EXPECT_INT(back.version, 1);
    EXPECT_INT(back.count, map.count);
    EXPECT(memcmp(back.places, map.places, (size_t)map.count * sizeof(map.places[0])) == 0);
    for (ptrdiff_t cut = 0; cut < len; cut++) {
        EXPECT(partition_map_decode(&arena, (struct str){bytes, cut}, &back, NULL) == ERR_CORRUPT);
    }
    arena_release(&arena);
}

TEST(epoch_changes_only_with_the_owner)
{
    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct partition_map old = map_of(&arena, 2, 2);
    struct map_lane lanes[2];
    place_on(&old, lanes, 2, true);
    EXPECT_INT(partition_map_follow(&old, &(struct partition_map){0}), 4);
    struct partition_map same = map_of(&arena, 2, 2);
    place_on(&same, lanes, 2, true);
    EXPECT_INT(partition_map_follow(&same, &old), 0);
    EXPECT_INT(same.version, 1);
    struct partition_map moved = map_of(&arena, 2, 2);
    place_on(&moved, lanes, 1, true); /* those on node 1 come to node 0 */
    EXPECT_INT(partition_map_follow(&moved, &old), 2);
    EXPECT_INT(moved.version, 2);
    EXPECT_INT(moved.places[0].epoch, 1);
    EXPECT_INT(moved.places[1].epoch, 2);
    struct partition_map merged = map_of(&arena, 2, 1);
    place_on(&merged, lanes, 1, true);
    EXPECT_INT(partition_map_follow(&merged, &moved), 2);
    EXPECT(partition_map_check(&merged, 2, NULL) == ERR_OK);
    arena_release(&arena);
}

TEST(partitions_go_round_robin_over_lanes_and_stages)
{
    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct partition_map first = map_of(&arena, 1, 3), second = map_of(&arena, 1, 6);
    struct map_lane lanes[4];
    place_on(&first, lanes, 4, true);
    partition_map_place(&second, lanes, 4, true);
    static const int32_t want[] = {3, 0, 1, 2, 3, 0};
    for (int32_t i = 0; i < 3; i++) {
        EXPECT_INT(first.places[i].node, i);
    }
    for (int32_t i = 0; i < 6; i++) {
        EXPECT_INT(second.places[i].node, want[i]);
    }
    arena_release(&arena);
}

/* Nodes that come and go at a restart: nobody owns more than the even share, and no more partitions move than must. */
TEST(other_nodes_move_as_few_as_can_be)
{
    struct arena arena;
    arena_init(&arena, 16 << 20);
    for (int32_t before = 1; before <= 9; before++) {
        for (int32_t after = 1; after <= 9; after++) {
            struct partition_map map = map_of(&arena, 4, 6);
            struct map_lane lanes[9];
            place_on(&map, lanes, before, true);
            int32_t was[24], share = (24 + after - 1) / after, owned[9] = {0}, must = 24, moved = 0;
            for (int32_t i = 0; i < 24; i++) {
                was[i] = map.places[i].node;
                owned[was[i]]++;
            }
            for (int32_t node = 0; node < after; node++) {
                must -= owned[node] < share ? owned[node] : share;
            }
            place_on(&map, lanes, after, true);
            for (int32_t i = 0; i < 24; i++) {
                moved += map.places[i].node != was[i];
                EXPECT(map.places[i].node < after);
            }
            for (int32_t i = 0; i < after; i++) {
                EXPECT(lanes[i].owned <= share);
            }
            EXPECT_INT(moved, must);
        }
    }
    arena_release(&arena);
}

TEST(a_layout_that_stays_is_not_evened_out)
{
    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct partition_map map = map_of(&arena, 1, 4);
    struct map_lane lanes[3] = {{.node = 0}, {.node = 1, .closed = true}, {.node = 2}};
    map.places[0].node = map.places[1].node = map.places[2].node = 1; /* drains, keeps them */
    map.places[3].node = 7;                                           /* off */
    partition_map_place(&map, lanes, 3, false);
    EXPECT_INT(map.places[0].node, 1);
    EXPECT_INT(map.places[2].node, 1);
    EXPECT_INT(map.places[3].node, 0);
    EXPECT_INT(lanes[1].owned, 3);
    arena_release(&arena);
}

TEST(incomplete_maps_are_refused)
{
    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct partition_map map = map_of(&arena, 2, 4);
    EXPECT(partition_map_check(&map, 3, NULL) == ERR_CORRUPT);
    map.places[2].group_hi -= 64;
    EXPECT(partition_map_check(&map, 2, NULL) == ERR_CORRUPT);
    map.places[2].group_hi += 64;
    map.places[5].epoch = 9;
    EXPECT(partition_map_check(&map, 2, NULL) == ERR_CORRUPT);
    map.places[5].epoch = 0;
    map.count--;
    EXPECT(partition_map_check(&map, 2, NULL) == ERR_CORRUPT);
    arena_release(&arena);
}

TEST(partition_ids_read_back)
{
    char text[PARTITION_ID_MAX];
    partition_id_text(text, STR("per_user"), STR("count"), 3, 0, 4096);
    EXPECT_STR(str_of(text), STR("per_user/count/3/0-4096"));
    struct str pipeline, stage;
    uint32_t shard, lo, hi;
    EXPECT(partition_id_parse(str_of(text), &pipeline, &stage, &shard, &lo, &hi));
    EXPECT_STR(pipeline, STR("per_user"));
    EXPECT_STR(stage, STR("count"));
    EXPECT(shard == 3 && lo == 0 && hi == 4096);
    static const char *bad[] = {
        "",         "a/b/0",     "a/b/0/1-",    "a/b/0/1-4097",       "a/b/0/2-2",
        "a//0/1-2", "a/b/x/1-2", "a/b/0/1-2/3", "a/b/99999999999/1-2"};
    for (ptrdiff_t i = 0; i < COUNT_OF(bad); i++) {
        EXPECT_MSG(!partition_id_parse(str_of(bad[i]), &pipeline, &stage, &shard, &lo, &hi), "%s",
                   bad[i]);
    }
}
