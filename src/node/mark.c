// SPDX-License-Identifier: Apache-2.0
#include "node/mark.h"

#include "base/check.h"
#include "base/hash.h"
#include "node/bytes.h"

/* A time that can stand in a record; markers of "end" and "none" say so in their value only. */
static int64_t mark_time_ms(int64_t watermark_ms)
{
    return watermark_ms > 0 && watermark_ms < INT64_C(1) << 53 ? watermark_ms : 0;
}

struct record mark_record(const struct mark *mark, char buf[MARK_HEADERS_MAX])
{
    uint8_t value[MARK_VALUE_BYTES];
    uint8_t *at = put_u8(value, (uint8_t)mark->kind);
    at = put_u32(at, mark->source_shard);
    at = put_u16(at, (uint16_t)mark->group_lo);
    at = put_u16(at, group_end_encode(mark->group_hi));
    at = put_u64(at, (uint64_t)mark->watermark_ms);
    CHECK(at == value + MARK_VALUE_BYTES);
    ptrdiff_t len = record_header_put(buf, MARK_HEADERS_MAX, STR(MARK_HEADER),
                                      (struct str){(const char *)value, MARK_VALUE_BYTES});
    CHECK(len > 0);
    return (struct record){
        .timestamp_ms = mark_time_ms(mark->watermark_ms), .headers = {buf, len}, .header_count = 1};
}

bool mark_decode(struct str value, struct mark *ret_mark)
{
    uint8_t kind;
    uint16_t lo, hi;
    struct mark mark;
    if (value.len != MARK_VALUE_BYTES || !take_u8(&value, &kind) ||
        !take_u32(&value, &mark.source_shard) || !take_u16(&value, &lo) || !take_u16(&value, &hi) ||
        !take_i64(&value, &mark.watermark_ms)) {
        return false;
    }
    mark.kind = (enum mark_kind)kind;
    mark.group_lo = lo;
    mark.group_hi = group_end_decode(hi);
    if (kind < MARK_WATERMARK || kind > MARK_END || mark.group_lo >= mark.group_hi ||
        mark.group_hi > KEY_GROUP_COUNT) {
        return false;
    }
    *ret_mark = mark;
    return true;
}

ptrdiff_t stamp_encode(int64_t stamp_ms, char buf[STAMP_HEADERS_MAX])
{
    uint8_t value[8];
    put_u64(value, (uint64_t)stamp_ms);
    ptrdiff_t len = record_header_put(buf, STAMP_HEADERS_MAX, STR(STAMP_HEADER),
                                      (struct str){(const char *)value, 8});
    CHECK(len > 0);
    return len;
}

bool stamp_decode(struct str value, int64_t *ret_stamp_ms)
{
    return value.len == 8 && take_i64(&value, ret_stamp_ms);
}

enum err mark_end_batch(struct record_builder *builder, void **ret_bytes, ptrdiff_t *ret_len,
                        struct err_info *info)
{
    char buf[MARK_HEADERS_MAX];
    struct mark mark = {.kind = MARK_END, .group_hi = KEY_GROUP_COUNT, .watermark_ms = INT64_MAX};
    struct record record = mark_record(&mark, buf);
    record_builder_reset(builder);
    enum err err = record_builder_add(builder, &record);
    if (err != ERR_OK) {
        return err_set(info, err, "an end marker does not fit a record batch");
    }
    return record_builder_finish(builder, RECORD_PRODUCER_NONE, ret_bytes, ret_len, info);
}
