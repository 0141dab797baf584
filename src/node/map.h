// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_MAP_H
#define NODE_MAP_H

#include "base/arena.h"
#include "base/err.h"
#include "pipeline/config.h"

/* The partition map of one stage: which partitions it has and who owns them. Kept as control record
 * `map/<pipeline>/<stage>`, changed by compare-and-set only; lanes open what it says and nothing else.
 *
 * Encoding, big endian: u8 format (2), u64 map version, u16 partitions per shard, u16 nodes, u16 lanes (as configured when
 * the layout was made from the file), u32 count, then per partition u32 shard, u16 group_lo, u16 group_hi (0 stands for
 * 4096), u16 node, u16 lane, u64 epoch: 20 bytes. Format 1 lacked what was configured: read as 0, that is, as something else.
 *
 * A start with the same configured numbers keeps the map as changes at run time have left it. With other nodes or lanes
 * partitions move as few as make the lanes' numbers even; with other partitions per shard the layout is made anew.
 *
 * Invariants (partition_map_check): M1 for each shard the ranges are disjoint, ascending and cover all key groups.
 * M2 no epoch is above the map's version. M3 ordered by (shard, group_lo). */

struct partition_place {
    uint32_t shard;
    uint32_t group_lo, group_hi; /* [lo, hi) */
    uint16_t node, lane;         /* lane within the node */
    uint64_t epoch;              /* map version that last changed this partition's owner */
};

struct partition_map {
    uint64_t version; /* 0: no map yet */
    uint16_t configured_partitions, configured_nodes, configured_lanes;
    int32_t count;
    struct partition_place *places; /* the arena's */
};

enum { PARTITION_ID_MAX = 256, MAP_PARTITIONS_MAX = 200000 };

/* The layout a stage starts with: `partitions_per_shard` ranges for each of `shard_count` shards, aligned to blocks of
 * LOG_BLOCK_GROUPS as long as there are at most as many ranges as blocks, else even. Owners and epochs are left 0.
 * Errors: LIMIT over MAP_PARTITIONS_MAX. */
ATTR_NODISCARD enum err partition_map_default(struct arena *arena, int32_t shard_count,
                                              int32_t partitions_per_shard,
                                              struct partition_map *ret_map, struct err_info *info);

/* A lane that may own partitions. */
struct map_lane {
    uint16_t node, lane; /* lane within the node */
    bool closed;         /* keeps what it has, nothing comes */
    int32_t owned;       /* partitions of the maps placed so far */
    int32_t share;       /* of the map being placed; scratch */
};

enum { MAP_NO_NODE = UINT16_MAX }; /* `node` of a partition that is nowhere */

/* Places partitions by count. One whose lane is among `lanes` stays; `even`: unless that lane has its even share (rounded
 * up) of this map's partitions already. All others go, in order, to the lane that owns fewest of this map, of those the
 * one that owns fewest in all, of those the first in `lanes`. With partitions that are all nowhere that is round robin;
 * with one lane more or less it is the fewest moves that leave every lane at most its even share. Adds to `owned`.
 *   lanes   [count], at least one not closed
 * O(partitions + those that go x count). */
void partition_map_place(struct partition_map *map, struct map_lane *lanes, int32_t count,
                         bool even);

/* Index of the partition of `shard` that holds `group`; the map covers all (M1). O(log count). */
int32_t partition_map_find(const struct partition_map *map, uint32_t shard, uint32_t group);

/* Makes `next` the successor of `old`: version + 1, the epoch of each partition that `old` has with the same range and
 * owner, the new version for all others. Returns how many are new or changed owner; with 0 and equal counts nothing
 * changed, and the version stays `old`'s. */
int32_t partition_map_follow(struct partition_map *next, const struct partition_map *old);

/* Whether M1 to M3 hold for a stage of `shard_count` shards; CORRUPT says what does not. */
ATTR_NODISCARD enum err partition_map_check(const struct partition_map *map, int32_t shard_count,
                                            struct err_info *info);

ptrdiff_t partition_map_bytes(const struct partition_map *map);
/* Writes partition_map_bytes() bytes. */
void partition_map_encode(const struct partition_map *map, void *buf);
ATTR_NODISCARD enum err partition_map_decode(struct arena *arena, struct str bytes,
                                             struct partition_map *ret_map, struct err_info *info);

/* "<pipeline>/<stage>/<shard>/<lo>-<hi>", 0-terminated. */
void partition_id_text(char buf[PARTITION_ID_MAX], struct str pipeline, struct str stage,
                       uint32_t shard, uint32_t group_lo, uint32_t group_hi);

/* The parts of such an id, views into `text`. False if it is none. */
bool partition_id_parse(struct str text, struct str *ret_pipeline, struct str *ret_stage,
                        uint32_t *ret_shard, uint32_t *ret_lo, uint32_t *ret_hi);

/* The control record's key, cut to fit `key` (128 bytes); false if the names are too long. */
bool partition_map_key(char key[128], struct str pipeline, struct str stage);

#endif
