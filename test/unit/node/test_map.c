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

TEST(map_survives_encoding)
{
    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct partition_map map = map_of(&arena, 2, 7);
    int64_t turn = 3;
    partition_map_place(&map, 2, 2, &turn);
    EXPECT_INT(turn, 17);
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
    int64_t turn = 0;
    partition_map_place(&old, 2, 1, &turn);
    EXPECT_INT(partition_map_follow(&old, &(struct partition_map){0}), 4);
    struct partition_map same = map_of(&arena, 2, 2);
    turn = 0;
    partition_map_place(&same, 2, 1, &turn);
    EXPECT_INT(partition_map_follow(&same, &old), 0);
    EXPECT_INT(same.version, 1);
    struct partition_map moved = map_of(&arena, 2, 2);
    turn = 0;
    partition_map_place(&moved, 1, 1, &turn); /* those on node 1 come to node 0 */
    EXPECT_INT(partition_map_follow(&moved, &old), 2);
    EXPECT_INT(moved.version, 2);
    EXPECT_INT(moved.places[0].epoch, 1);
    EXPECT_INT(moved.places[1].epoch, 2);
    struct partition_map merged = map_of(&arena, 2, 1);
    turn = 0;
    partition_map_place(&merged, 1, 1, &turn);
    EXPECT_INT(partition_map_follow(&merged, &moved), 2);
    EXPECT(partition_map_check(&merged, 2, NULL) == ERR_OK);
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
