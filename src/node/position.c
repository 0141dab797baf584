// SPDX-License-Identifier: Apache-2.0
#include "node/position.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/planted.h"
#include "node/bytes.h"

enum { POSITION_FORMAT = 1, POSITION_HEAD_BYTES = 30, POSITION_PIECE_BYTES = 17 };

/* --- coverage --- */

void coverage_release(struct coverage *coverage)
{
    mem_free(coverage->pieces);
    *coverage = (struct coverage){0};
}

static void coverage_reserve(struct coverage *coverage, int32_t count)
{
    if (count > coverage->cap) {
        coverage->cap = count < 8 ? 8 : 2 * count;
        coverage->pieces =
            mem_resize(coverage->pieces, coverage->cap, (ptrdiff_t)sizeof(coverage->pieces[0]));
    }
}

void coverage_copy(struct coverage *to, const struct coverage *from)
{
    coverage_reserve(to, from->count);
    if (from->count > 0) {
        memcpy(to->pieces, from->pieces, (size_t)from->count * sizeof(from->pieces[0]));
    }
    to->count = from->count;
}

/* What a piece becomes under a marker. */
static struct coverage_piece raised(struct coverage_piece piece, const struct mark *mark)
{
    if (mark->kind == MARK_IDLE) {
        piece.idle = piece.watermark_ms != TIME_END;
        return piece;
    }
    int64_t to = mark->kind == MARK_END ? TIME_END : mark->watermark_ms;
    piece.watermark_ms = piece.watermark_ms > to ? piece.watermark_ms : to;
    piece.idle = false;
    return piece;
}

/* First piece that ends behind (shard, group). */
static int32_t coverage_lower(const struct coverage *coverage, uint32_t shard, uint32_t group)
{
    int32_t lo = 0, hi = coverage->count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        const struct coverage_piece *piece = &coverage->pieces[mid];
        bool before =
            piece->source_shard != shard ? piece->source_shard < shard : piece->group_hi <= group;
        lo = before ? mid + 1 : lo;
        hi = before ? hi : mid;
    }
    return lo;
}

/* Appends to a list of pieces, growing the last one if the new one only continues it. */
static int32_t piece_append(struct coverage_piece *list, int32_t count, struct coverage_piece piece)
{
    if (piece.group_lo >= piece.group_hi) {
        return count;
    }
    struct coverage_piece *last = count > 0 ? &list[count - 1] : NULL;
    if (last != NULL && last->source_shard == piece.source_shard &&
        last->group_hi == piece.group_lo && last->watermark_ms == piece.watermark_ms &&
        last->idle == piece.idle) {
        last->group_hi = piece.group_hi;
        return count;
    }
    list[count] = piece;
    return count + 1;
}

void coverage_mark(struct coverage *coverage, const struct mark *mark)
{
    int32_t first = coverage_lower(coverage, mark->source_shard, mark->group_lo);
    struct coverage_piece *old = coverage->pieces;
    if (first < coverage->count && old[first].source_shard == mark->source_shard &&
        old[first].group_lo == mark->group_lo && old[first].group_hi == mark->group_hi) {
        old[first] = raised(old[first], mark); /* the usual case: its own last marker */
        return;
    }
    int32_t end = first;
    while (end < coverage->count && old[end].source_shard == mark->source_shard &&
           old[end].group_lo < mark->group_hi) {
        end++;
    }
    /* Each old piece is cut into at most three, each gap adds one. */
    struct coverage_piece *fresh = MEM_NEW_ARRAY(struct coverage_piece, 4 * (end - first) + 2);
    int32_t count = 0;
    uint32_t at = mark->group_lo;
    struct coverage_piece gap = raised(
        (struct coverage_piece){.source_shard = mark->source_shard, .watermark_ms = TIME_NONE},
        mark);
    for (int32_t i = first; i < end; i++) {
        struct coverage_piece piece = old[i];
        uint32_t lo = piece.group_lo > mark->group_lo ? piece.group_lo : mark->group_lo;
        uint32_t hi = piece.group_hi < mark->group_hi ? piece.group_hi : mark->group_hi;
        struct coverage_piece left = piece, middle = raised(piece, mark), right = piece;
        left.group_hi = lo;
        middle.group_lo = lo;
        middle.group_hi = hi;
        right.group_lo = hi;
        gap.group_lo = at;
        gap.group_hi = lo;
        count = piece_append(fresh, count, i == first ? left : gap);
        count = i == first ? piece_append(fresh, count, gap) : count;
        count = piece_append(fresh, count, middle);
        count = piece_append(fresh, count, right);
        at = hi;
    }
    gap.group_lo = at;
    gap.group_hi = mark->group_hi;
    count = piece_append(fresh, count, gap);
    int32_t tail = coverage->count - end;
    coverage_reserve(coverage, first + count + tail);
    memmove(coverage->pieces + first + count, coverage->pieces + end,
            (size_t)tail * sizeof(coverage->pieces[0]));
    memcpy(coverage->pieces + first, fresh, (size_t)count * sizeof(fresh[0]));
    coverage->count = first + count + tail;
    mem_free(fresh);
}

void coverage_join(struct coverage *coverage, const struct coverage *from)
{
    for (int32_t i = 0; i < from->count; i++) {
        const struct coverage_piece *piece = &from->pieces[i];
        struct mark mark = {.kind = piece->watermark_ms == TIME_END ? MARK_END : MARK_WATERMARK,
                            .source_shard = piece->source_shard,
                            .group_lo = piece->group_lo,
                            .group_hi = piece->group_hi,
                            .watermark_ms = piece->watermark_ms};
        coverage_mark(coverage, &mark);
        if (piece->idle) {
            mark.kind = MARK_IDLE;
            coverage_mark(coverage, &mark);
        }
    }
}

int64_t coverage_watermark(const struct coverage *coverage, int32_t source_shards, bool *ret_idle)
{
    int64_t lowest = TIME_END;
    uint32_t shard = 0, at = 0;
    bool idle = true;
    *ret_idle = false;
    for (int32_t i = 0; i < coverage->count; i++) {
        const struct coverage_piece *piece = &coverage->pieces[i];
        if (piece->source_shard != shard || piece->group_lo != at) {
            return TIME_NONE;
        }
        at = piece->group_hi;
        if (at == KEY_GROUP_COUNT) {
            at = 0;
            shard++;
        }
        if (!piece->idle) {
            idle = false;
            lowest = piece->watermark_ms < lowest ? piece->watermark_ms : lowest;
        }
    }
    if (shard != (uint32_t)source_shards || at != 0) {
        return TIME_NONE;
    }
    *ret_idle = idle;
    return idle ? TIME_NONE : lowest;
}

/* --- positions --- */

void position_release(struct position *position)
{
    coverage_release(&position->coverage);
}

ptrdiff_t position_bytes(const struct position *position)
{
    return POSITION_HEAD_BYTES + (ptrdiff_t)position->coverage.count * POSITION_PIECE_BYTES;
}

void position_encode(const struct position *position, void *buf)
{
    uint8_t *at = put_u8(buf, POSITION_FORMAT);
    at = put_u64(at, (uint64_t)position->next_offset);
    at = put_u64(at, (uint64_t)position->time.max_ms);
    at = put_u64(at, (uint64_t)position->time.watermark_ms);
    at = put_u8(at, position->time.idle ? 1 : 0);
    at = put_u32(at, (uint32_t)position->coverage.count);
    for (int32_t i = 0; i < position->coverage.count; i++) {
        const struct coverage_piece *piece = &position->coverage.pieces[i];
        at = put_u32(at, piece->source_shard);
        at = put_u16(at, (uint16_t)piece->group_lo);
        at = put_u16(at, group_end_encode(piece->group_hi));
        at = put_u64(at, (uint64_t)piece->watermark_ms);
        at = put_u8(at, piece->idle ? 1 : 0);
    }
}

static bool piece_decode(struct str *bytes, struct coverage_piece *ret_piece)
{
    uint16_t lo, hi;
    uint8_t idle;
    bool ok = take_u32(bytes, &ret_piece->source_shard) && take_u16(bytes, &lo) &&
              take_u16(bytes, &hi) && take_i64(bytes, &ret_piece->watermark_ms) &&
              take_u8(bytes, &idle);
    if (!ok) {
        return false;
    }
    ret_piece->group_lo = lo;
    ret_piece->group_hi = group_end_decode(hi);
    ret_piece->idle = idle != 0;
    return ret_piece->group_lo < ret_piece->group_hi && ret_piece->group_hi <= KEY_GROUP_COUNT;
}

/* Whether `next` may stand behind `last` in a coverage. */
static bool piece_follows(const struct coverage_piece *last, const struct coverage_piece *next)
{
    return last->source_shard != next->source_shard ? last->source_shard < next->source_shard
                                                    : last->group_hi <= next->group_lo;
}

enum err position_decode(struct str bytes, struct position *ret_position, struct err_info *info)
{
    struct position position = POSITION_START;
    ptrdiff_t len = bytes.len;
    uint8_t format, idle;
    uint32_t count;
    if (!take_u8(&bytes, &format) || format != POSITION_FORMAT ||
        !take_i64(&bytes, &position.next_offset) || !take_i64(&bytes, &position.time.max_ms) ||
        !take_i64(&bytes, &position.time.watermark_ms) || !take_u8(&bytes, &idle) ||
        !take_u32(&bytes, &count) || bytes.len != (ptrdiff_t)count * POSITION_PIECE_BYTES ||
        position.next_offset < 0) {
        return err_set(info, ERR_CORRUPT, "a position entry of %td bytes is not in format %d", len,
                       POSITION_FORMAT);
    }
    position.next_offset -= PLANTED(STALE_POSITION) && position.next_offset > 0;
    position.time.idle = idle != 0;
    coverage_reserve(&position.coverage, (int32_t)count);
    for (uint32_t i = 0; i < count; i++) {
        struct coverage_piece *piece = &position.coverage.pieces[i];
        if (!piece_decode(&bytes, piece) || (i > 0 && !piece_follows(piece - 1, piece))) {
            position_release(&position);
            return err_set(info, ERR_CORRUPT, "a position entry's coverage is out of order at %u",
                           i);
        }
        position.coverage.count++;
    }
    *ret_position = position;
    return ERR_OK;
}

struct position position_copy(const struct position *position)
{
    struct position copy = *position;
    copy.coverage = (struct coverage){0};
    coverage_copy(&copy.coverage, &position->coverage);
    return copy;
}

/* --- position maps --- */

void position_map_release(struct position_map *map)
{
    for (int32_t i = 0; i < map->count; i++) {
        position_release(&map->segments[i].position);
    }
    mem_free(map->segments);
    *map = (struct position_map){0};
}

static void position_map_insert(struct position_map *map, int32_t at,
                                struct position_segment segment)
{
    if (map->count == map->cap) {
        map->cap = map->cap == 0 ? 4 : 2 * map->cap;
        map->segments = mem_resize(map->segments, map->cap, (ptrdiff_t)sizeof(map->segments[0]));
    }
    memmove(map->segments + at + 1, map->segments + at,
            (size_t)(map->count - at) * sizeof(map->segments[0]));
    map->segments[at] = segment;
    map->count++;
}

static void position_map_remove(struct position_map *map, int32_t at)
{
    position_release(&map->segments[at].position);
    map->count--;
    memmove(map->segments + at, map->segments + at + 1,
            (size_t)(map->count - at) * sizeof(map->segments[0]));
}

void position_map_put(struct position_map *map, uint32_t group_lo, uint32_t group_hi,
                      struct position position)
{
    CHECK(group_lo < group_hi && group_hi <= KEY_GROUP_COUNT);
    int32_t i = 0;
    while (i < map->count && map->segments[i].group_hi <= group_lo) {
        i++;
    }
    while (i < map->count && map->segments[i].group_lo < group_hi) {
        struct position_segment *old = &map->segments[i];
        if (old->group_lo < group_lo && old->group_hi > group_hi) { /* the new one splits it */
            struct position_segment right = {.group_lo = group_hi,
                                             .group_hi = old->group_hi,
                                             .position = position_copy(&old->position)};
            old->group_hi = group_lo;
            position_map_insert(map, i + 1, right);
            i++;
            break;
        }
        if (old->group_lo < group_lo) {
            old->group_hi = group_lo;
            i++;
        } else if (old->group_hi > group_hi) {
            old->group_lo = group_hi;
            break;
        } else {
            position_map_remove(map, i);
        }
    }
    position_map_insert(map, i,
                        (struct position_segment){
                            .group_lo = group_lo, .group_hi = group_hi, .position = position});
}

void position_map_clip(struct position_map *map, uint32_t group_lo, uint32_t group_hi)
{
    for (int32_t i = map->count - 1; i >= 0; i--) {
        struct position_segment *segment = &map->segments[i];
        segment->group_lo = segment->group_lo > group_lo ? segment->group_lo : group_lo;
        segment->group_hi = segment->group_hi < group_hi ? segment->group_hi : group_hi;
        if (segment->group_lo >= segment->group_hi) {
            position_map_remove(map, i);
        }
    }
    uint32_t at = group_lo;
    for (int32_t i = 0; i <= map->count; i++) {
        uint32_t next = i < map->count ? map->segments[i].group_lo : group_hi;
        uint32_t end = i < map->count ? map->segments[i].group_hi : group_hi;
        if (at < next) {
            position_map_insert(map, i,
                                (struct position_segment){
                                    .group_lo = at, .group_hi = next, .position = POSITION_START});
            i++;
        }
        at = end;
    }
}
