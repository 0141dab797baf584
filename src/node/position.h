// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_POSITION_H
#define NODE_POSITION_H

#include "base/err.h"
#include "node/mark.h"

/* Where a partition stands in one input shard: the next offset, and what time means there. Pure.
 *
 * A source shard's watermark is a function of the shard's prefix over all its records: the largest event time less
 * out_of_order. An internal shard's is the lowest over what its markers cover: for each shard of the writing stage's
 * input, all key groups. Watermarks never fall. */

#define TIME_NONE INT64_MIN /* no watermark yet */
#define TIME_END  INT64_MAX /* the input has ended */

/* Event times are within +-2^53 ms; what lies outside is a bad record. */
#define EVENT_TIME_LIMIT_MS (INT64_C(1) << 53)

struct shard_time {
    int64_t max_ms;       /* largest event time; TIME_NONE */
    int64_t watermark_ms; /* ticks included; TIME_NONE, TIME_END */
    bool idle;            /* silent without ever having had a record: holds nobody back */
};

/* How far one range of the writers of an internal stream has come. */
struct coverage_piece {
    uint32_t source_shard;
    uint32_t group_lo, group_hi;
    int64_t watermark_ms;
    bool idle;
};

struct coverage {                  /* all zeros: nothing covered */
    struct coverage_piece *pieces; /* heap; by (shard, lo), disjoint */
    int32_t count, cap;
};

void coverage_release(struct coverage *coverage);
void coverage_copy(struct coverage *to, const struct coverage *from);

/* Takes a marker in: raises what it covers; never lowers. */
void coverage_mark(struct coverage *coverage, const struct mark *mark);

/* Takes all of `from` in, as if its markers had come. */
void coverage_join(struct coverage *coverage, const struct coverage *from);

/* The lowest watermark over complete coverage of `source_shards` shards; TIME_NONE if something is not covered yet. If
 * all of it is idle: TIME_NONE with ret_idle. */
int64_t coverage_watermark(const struct coverage *coverage, int32_t source_shards, bool *ret_idle);

struct position {
    int64_t next_offset; /* all below are in the past */
    struct shard_time time;
    struct coverage coverage; /* internal inputs */
};
#define POSITION_START ((struct position){.time = {.max_ms = TIME_NONE, .watermark_ms = TIME_NONE}})

void position_release(struct position *position);
struct position position_copy(const struct position *position);

/* Encoding, big endian: u8 format (1), i64 next offset, i64 largest time, i64 watermark, u8 idle, u32 pieces, then per
 * piece u32 source shard, u16 lo, u16 hi (0: 4096), i64 watermark, u8 idle. */
ptrdiff_t position_bytes(const struct position *position);
void position_encode(const struct position *position, void *buf);
ATTR_NODISCARD enum err position_decode(struct str bytes, struct position *ret_position,
                                        struct err_info *info);

/* Which key groups stand where: what position entries of a changelog, applied in order, come to. */
struct position_segment {
    uint32_t group_lo, group_hi;
    struct position position;
};

struct position_map {                  /* all zeros: empty */
    struct position_segment *segments; /* heap; by group_lo, disjoint */
    int32_t count, cap;
};

void position_map_release(struct position_map *map);

/* [lo, hi) stands at `position` (moved in) from now on, whatever stood there. */
void position_map_put(struct position_map *map, uint32_t group_lo, uint32_t group_hi,
                      struct position position);

/* Cuts the map to [lo, hi) and fills its gaps with POSITION_START. */
void position_map_clip(struct position_map *map, uint32_t group_lo, uint32_t group_hi);

#endif
