// SPDX-License-Identifier: Apache-2.0
#include "node/map.h"

#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "log/log.h"
#include "node/bytes.h"

enum { MAP_FORMAT = 2, MAP_FORMAT_OLD = 1, MAP_HEAD_BYTES = 19, MAP_PLACE_BYTES = 20 };

enum err partition_map_default(struct arena *arena, int32_t shard_count,
                               int32_t partitions_per_shard, struct partition_map *ret_map,
                               struct err_info *info)
{
    CHECK(shard_count >= 1 && partitions_per_shard >= 1 && partitions_per_shard <= KEY_GROUP_COUNT);
    int64_t count = (int64_t)shard_count * partitions_per_shard;
    if (count > MAP_PARTITIONS_MAX) {
        return err_set(info, ERR_LIMIT,
                       "%d shards x %d partitions are more than %d; use fewer partitions",
                       shard_count, partitions_per_shard, MAP_PARTITIONS_MAX);
    }
    struct partition_map map = {.places = ARENA_NEW_ARRAY(arena, struct partition_place, count)};
    uint32_t unit = partitions_per_shard <= LOG_BLOCKS ? LOG_BLOCK_GROUPS : 1;
    uint32_t units = KEY_GROUP_COUNT / unit;
    uint32_t ranges = (uint32_t)partitions_per_shard;
    for (uint32_t shard = 0; shard < (uint32_t)shard_count; shard++) {
        for (uint32_t i = 0; i < ranges; i++) {
            map.places[map.count++] = (struct partition_place){
                .shard = shard,
                .group_lo = unit * (units * i / ranges),
                .group_hi = unit * (units * (i + 1) / ranges),
                .node = MAP_NO_NODE,
            };
        }
    }
    *ret_map = map;
    return ERR_OK;
}

/* The lane among `lanes` that owns `place`; NULL: none. */
static struct map_lane *owner_of(const struct partition_place *place, struct map_lane *lanes,
                                 int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (lanes[i].node == place->node && lanes[i].lane == place->lane) {
            return &lanes[i];
        }
    }
    return NULL;
}

static struct map_lane *least_owning(struct map_lane *lanes, int32_t count)
{
    struct map_lane *least = NULL;
    for (int32_t i = 0; i < count; i++) {
        struct map_lane *lane = &lanes[i];
        if (!lane->closed && (least == NULL || lane->share < least->share ||
                              (lane->share == least->share && lane->owned < least->owned))) {
            least = lane;
        }
    }
    CHECK(least != NULL);
    return least;
}

void partition_map_place(struct partition_map *map, struct map_lane *lanes, int32_t count,
                         bool even)
{
    int32_t open = 0;
    for (int32_t i = 0; i < count; i++) {
        lanes[i].share = 0;
        open += !lanes[i].closed;
    }
    CHECK(open >= 1);
    int32_t share_max = even ? (map->count + open - 1) / open : map->count;
    for (int32_t i = 0; i < map->count; i++) {
        struct map_lane *owner = owner_of(&map->places[i], lanes, count);
        if (owner != NULL && owner->share < share_max) {
            owner->share++;
            owner->owned++;
        } else {
            map->places[i].node = MAP_NO_NODE;
        }
    }
    for (int32_t i = 0; i < map->count; i++) {
        if (map->places[i].node == MAP_NO_NODE) {
            struct map_lane *to = least_owning(lanes, count);
            to->share++;
            to->owned++;
            map->places[i].node = to->node;
            map->places[i].lane = to->lane;
        }
    }
}

static int place_order(const struct partition_place *a, const struct partition_place *b)
{
    if (a->shard != b->shard) {
        return a->shard < b->shard ? -1 : 1;
    }
    return a->group_lo < b->group_lo ? -1 : a->group_lo > b->group_lo;
}

int32_t partition_map_follow(struct partition_map *next, const struct partition_map *old)
{
    int32_t changed = 0;
    int32_t j = 0;
    for (int32_t i = 0; i < next->count; i++) {
        struct partition_place *place = &next->places[i];
        while (j < old->count && place_order(&old->places[j], place) < 0) {
            j++;
        }
        const struct partition_place *was = j < old->count ? &old->places[j] : NULL;
        if (was != NULL && place_order(was, place) == 0 && was->group_hi == place->group_hi &&
            was->node == place->node && was->lane == place->lane) {
            place->epoch = was->epoch;
            continue;
        }
        place->epoch = old->version + 1;
        changed++;
    }
    bool configured = next->configured_partitions != old->configured_partitions ||
                      next->configured_nodes != old->configured_nodes ||
                      next->configured_lanes != old->configured_lanes;
    next->version = old->version + (changed > 0 || next->count != old->count || configured ? 1 : 0);
    return changed;
}

int32_t partition_map_find(const struct partition_map *map, uint32_t shard, uint32_t group)
{
    int32_t lo = 0, hi = map->count; /* the last that begins at or before it */
    while (hi - lo > 1) {
        int32_t mid = lo + (hi - lo) / 2;
        const struct partition_place *place = &map->places[mid];
        bool before = place->shard < shard || (place->shard == shard && place->group_lo <= group);
        lo = before ? mid : lo;
        hi = before ? hi : mid;
    }
    return lo;
}

enum err partition_map_check(const struct partition_map *map, int32_t shard_count,
                             struct err_info *info)
{
    uint32_t shard = 0, covered = 0;
    for (int32_t i = 0; i < map->count; i++) {
        const struct partition_place *place = &map->places[i];
        if (place->shard != shard || place->group_lo != covered ||
            place->group_hi <= place->group_lo || place->group_hi > KEY_GROUP_COUNT) {
            return err_set(
                info, ERR_CORRUPT,
                "partition %d of the map is shard %u, groups %u-%u; expected shard %u from "
                "group %u on",
                i, place->shard, place->group_lo, place->group_hi, shard, covered);
        }
        if (place->epoch > map->version) {
            return err_set(info, ERR_CORRUPT, "partition %d has epoch %llu, above map version %llu",
                           i, (unsigned long long)place->epoch, (unsigned long long)map->version);
        }
        covered = place->group_hi;
        if (covered == KEY_GROUP_COUNT) {
            covered = 0;
            shard++;
        }
    }
    if (shard != (uint32_t)shard_count || covered != 0) {
        return err_set(info, ERR_CORRUPT, "the map covers %u of %d shards", shard, shard_count);
    }
    return ERR_OK;
}

ptrdiff_t partition_map_bytes(const struct partition_map *map)
{
    return MAP_HEAD_BYTES + (ptrdiff_t)map->count * MAP_PLACE_BYTES;
}

void partition_map_encode(const struct partition_map *map, void *buf)
{
    uint8_t *at = put_u8(buf, MAP_FORMAT);
    at = put_u64(at, map->version);
    at = put_u16(at, map->configured_partitions);
    at = put_u16(at, map->configured_nodes);
    at = put_u16(at, map->configured_lanes);
    at = put_u32(at, (uint32_t)map->count);
    for (int32_t i = 0; i < map->count; i++) {
        const struct partition_place *place = &map->places[i];
        at = put_u32(at, place->shard);
        at = put_u16(at, (uint16_t)place->group_lo);
        at = put_u16(at, group_end_encode(place->group_hi));
        at = put_u16(at, place->node);
        at = put_u16(at, place->lane);
        at = put_u64(at, place->epoch);
    }
}

static bool take_configured(struct str *bytes, uint8_t format, struct partition_map *map)
{
    return format == MAP_FORMAT_OLD ||
           (take_u16(bytes, &map->configured_partitions) &&
            take_u16(bytes, &map->configured_nodes) && take_u16(bytes, &map->configured_lanes));
}

enum err partition_map_decode(struct arena *arena, struct str bytes, struct partition_map *ret_map,
                              struct err_info *info)
{
    uint8_t format;
    uint32_t count;
    struct partition_map map = {0};
    if (!take_u8(&bytes, &format) || (format != MAP_FORMAT && format != MAP_FORMAT_OLD) ||
        !take_u64(&bytes, &map.version) || !take_configured(&bytes, format, &map) ||
        !take_u32(&bytes, &count) || count > MAP_PARTITIONS_MAX ||
        bytes.len != (ptrdiff_t)count * MAP_PLACE_BYTES) {
        return err_set(info, ERR_CORRUPT, "a partition map of %td bytes is not in format %d",
                       bytes.len, MAP_FORMAT);
    }
    map.places = ARENA_NEW_ARRAY(arena, struct partition_place, (ptrdiff_t)count);
    for (uint32_t i = 0; i < count; i++) {
        struct partition_place *place = &map.places[map.count++];
        uint16_t lo, hi;
        bool ok = take_u32(&bytes, &place->shard) && take_u16(&bytes, &lo) &&
                  take_u16(&bytes, &hi) && take_u16(&bytes, &place->node) &&
                  take_u16(&bytes, &place->lane) && take_u64(&bytes, &place->epoch);
        CHECK(ok); /* the length was checked */
        place->group_lo = lo;
        place->group_hi = group_end_decode(hi);
    }
    *ret_map = map;
    return ERR_OK;
}

void partition_id_text(char buf[PARTITION_ID_MAX], struct str pipeline, struct str stage,
                       uint32_t shard, uint32_t group_lo, uint32_t group_hi)
{
    IGNORE_RESULT(snprintf(buf, PARTITION_ID_MAX, "%.*s/%.*s/%u/%u-%u", STR_ARG(pipeline),
                           STR_ARG(stage), shard, group_lo,
                           group_hi)); /* names are bounded: cut if not */
}

/* A decimal number of 1 to 9 digits that fills `text`. */
static bool parse_number(struct str text, uint32_t *ret)
{
    if (text.len < 1 || text.len > 9) {
        return false;
    }
    uint32_t v = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        v = v * 10 + (uint32_t)(text.ptr[i] - '0');
    }
    *ret = v;
    return true;
}

bool partition_id_parse(struct str text, struct str *ret_pipeline, struct str *ret_stage,
                        uint32_t *ret_shard, uint32_t *ret_lo, uint32_t *ret_hi)
{
    struct str rest = text;
    struct str pipeline = str_cut(&rest, '/');
    struct str stage = str_cut(&rest, '/');
    struct str shard_text = str_cut(&rest, '/');
    struct str lo_text = str_cut(&rest, '-');
    uint32_t shard, lo, hi;
    if (pipeline.len == 0 || stage.len == 0 || !parse_number(shard_text, &shard) ||
        !parse_number(lo_text, &lo) || !parse_number(rest, &hi) || lo >= hi ||
        hi > KEY_GROUP_COUNT) {
        return false;
    }
    *ret_pipeline = pipeline;
    *ret_stage = stage;
    *ret_shard = shard;
    *ret_lo = lo;
    *ret_hi = hi;
    return true;
}

bool partition_map_key(char key[128], struct str pipeline, struct str stage)
{
    int len = snprintf(key, 128, "map/%.*s/%.*s", STR_ARG(pipeline), STR_ARG(stage));
    return len > 0 && len < 128;
}
