// SPDX-License-Identifier: Apache-2.0
#include "sim/batch_check.h"

#include <string.h>

#include "base/check.h"

enum { HEADER_BYTES = 61, CRC_AT = 17, CRC_FROM = 21 };

/* ---- numbers */

static uint64_t get_be(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static void put_be(uint8_t *at, int bytes, uint64_t value)
{
    for (int i = bytes - 1; i >= 0; i--) {
        at[i] = (uint8_t)value;
        value >>= 8;
    }
}

enum { CRC_SLICES = 8 };

/* [k][b]: what byte b, with k zero bytes behind it, does to the remainder. */
struct crc_tables {
    bool made;
    uint32_t of[CRC_SLICES][256];
};

static void make_tables(struct crc_tables *tables)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78U : crc >> 1;
        }
        tables->of[0][i] = crc;
    }
    for (int k = 1; k < CRC_SLICES; k++) {
        for (int i = 0; i < 256; i++) {
            uint32_t before = tables->of[k - 1][i];
            tables->of[k][i] = tables->of[0][before & 255] ^ before >> 8;
        }
    }
    tables->made = true;
}

/* Castagnoli's CRC by division, eight bytes at a time: a fifth of the simulator's time went into it by nibbles. One thread. */
static uint32_t crc_of(const uint8_t *bytes, ptrdiff_t len)
{
    static struct crc_tables tables;
    if (!tables.made) {
        make_tables(&tables);
    }
    uint32_t crc = 0xffffffffU;
    for (; len >= CRC_SLICES; len -= CRC_SLICES, bytes += CRC_SLICES) {
        uint32_t next = 0;
        for (int k = 0; k < CRC_SLICES; k++) {
            uint32_t byte = k < 4 ? bytes[k] ^ (crc >> 8 * k & 255) : bytes[k];
            next ^= tables.of[CRC_SLICES - 1 - k][byte];
        }
        crc = next;
    }
    for (; len > 0; len--, bytes++) {
        crc = tables.of[0][(crc ^ *bytes) & 255] ^ crc >> 8;
    }
    return ~crc;
}

struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

static int64_t get_varint(struct cursor *c)
{
    uint64_t raw = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (c->at == c->end) {
            break;
        }
        uint8_t byte = *c->at++;
        raw |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
        }
    }
    c->bad = true;
    return 0;
}

static struct str get_bytes(struct cursor *c)
{
    int64_t len = get_varint(c);
    if (len == -1) {
        return (struct str){NULL, 0};
    }
    if (len < 0 || len > c->end - c->at) {
        c->bad = true;
        return (struct str){NULL, 0};
    }
    struct str bytes = {(const char *)c->at, (ptrdiff_t)len};
    c->at += len;
    return bytes;
}

static uint8_t *put_varint(uint8_t *at, int64_t value)
{
    uint64_t raw = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    while (raw >= 0x80) {
        *at++ = (uint8_t)(raw | 0x80);
        raw >>= 7;
    }
    *at++ = (uint8_t)raw;
    return at;
}

static uint8_t *put_bytes(uint8_t *at, struct str bytes)
{
    at = put_varint(at, bytes.ptr != NULL ? bytes.len : -1);
    if (bytes.len > 0) {
        memcpy(at, bytes.ptr, (size_t)bytes.len);
        at += bytes.len;
    }
    return at;
}

/* ---- batches */

static const char *decode_record(struct cursor *c, const struct check_batch *batch,
                                 int64_t base_timestamp_ms, struct check_record *ret_record)
{
    int64_t len = get_varint(c);
    if (c->bad || len < 0 || len > c->end - c->at) {
        return "a record's length is impossible";
    }
    struct cursor in = {.at = c->at, .end = c->at + len};
    c->at += len;
    if (in.at < in.end) {
        in.at++; /* attributes */
    }
    int64_t timestamp_delta = get_varint(&in);
    int64_t offset_delta = get_varint(&in);
    struct str key = get_bytes(&in);
    struct str value = get_bytes(&in);
    int64_t headers = get_varint(&in);
    for (int64_t i = 0; i < headers && !in.bad; i++) {
        get_bytes(&in);
        get_bytes(&in);
    }
    if (in.bad || in.at != in.end) {
        return "a record is malformed";
    }
    *ret_record = (struct check_record){.offset = batch->base_offset + offset_delta,
                                        .timestamp_ms = base_timestamp_ms + timestamp_delta,
                                        .key = key,
                                        .value = value};
    return NULL;
}

const char *check_batch_decode(const uint8_t *bytes, ptrdiff_t len, struct check_batch *ret_batch)
{
    if (len < HEADER_BYTES) {
        return "shorter than a batch's header";
    }
    int64_t total = 12 + (int64_t)get_be(bytes + 8, 4);
    int64_t count = (int64_t)get_be(bytes + 57, 4);
    if (total < HEADER_BYTES || total > len) {
        return "the batch is longer than what was delivered";
    }
    if (bytes[16] != 2 || get_be(bytes + 12, 4) != 0) {
        return "not magic 2 with leader epoch 0";
    }
    if (get_be(bytes + CRC_AT, 4) != crc_of(bytes + CRC_FROM, total - CRC_FROM)) {
        return "the CRC does not hold";
    }
    if (get_be(bytes + 21, 2) != 0 || count < 1 || count > CHECK_RECORDS_MAX) {
        return "attributes or record count are not what was written";
    }
    ret_batch->base_offset = (int64_t)get_be(bytes, 8);
    ret_batch->end_offset = ret_batch->base_offset + (int64_t)get_be(bytes + 23, 4) + 1;
    ret_batch->producer = (struct check_producer){.id = (int64_t)get_be(bytes + 43, 8),
                                                  .epoch = (int16_t)get_be(bytes + 51, 2),
                                                  .base_sequence = (int32_t)get_be(bytes + 53, 4)};
    ret_batch->bytes = (ptrdiff_t)total;
    ret_batch->count = (int32_t)count;
    struct cursor c = {.at = bytes + HEADER_BYTES, .end = bytes + total};
    for (int32_t i = 0; i < count; i++) {
        const char *wrong =
            decode_record(&c, ret_batch, (int64_t)get_be(bytes + 27, 8), &ret_batch->records[i]);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return c.at == c.end ? NULL : "bytes are left behind the last record";
}

static ptrdiff_t varint_bytes(int64_t value)
{
    uint8_t scratch[10];
    return put_varint(scratch, value) - scratch;
}

static ptrdiff_t bytes_bytes(struct str bytes)
{
    return varint_bytes(bytes.ptr != NULL ? bytes.len : -1) + bytes.len;
}

ptrdiff_t check_batch_encode(uint8_t *buf, ptrdiff_t cap, const struct check_record *records,
                             int32_t count, struct check_producer producer)
{
    CHECK(count >= 1 && count <= CHECK_RECORDS_MAX && cap >= HEADER_BYTES);
    uint8_t *at = buf + HEADER_BYTES;
    int64_t base_ms = records[0].timestamp_ms;
    int64_t max_ms = base_ms;
    for (int32_t i = 0; i < count; i++) {
        const struct check_record *r = &records[i];
        int64_t delta_ms = r->timestamp_ms - base_ms;
        max_ms = r->timestamp_ms > max_ms ? r->timestamp_ms : max_ms;
        ptrdiff_t len = 1 + varint_bytes(delta_ms) + varint_bytes(i) + bytes_bytes(r->key) +
                        bytes_bytes(r->value) + varint_bytes(0);
        CHECK(len + 10 <= cap - (at - buf));
        at = put_varint(at, len);
        *at++ = 0;
        at = put_varint(at, delta_ms);
        at = put_varint(at, i);
        at = put_bytes(at, r->key);
        at = put_bytes(at, r->value);
        at = put_varint(at, 0);
    }
    ptrdiff_t total = at - buf;
    memset(buf, 0, HEADER_BYTES);
    put_be(buf + 8, 4, (uint64_t)total - 12);
    buf[16] = 2;
    put_be(buf + 23, 4, (uint64_t)count - 1);
    put_be(buf + 27, 8, (uint64_t)base_ms);
    put_be(buf + 35, 8, (uint64_t)max_ms);
    put_be(buf + 43, 8, (uint64_t)producer.id);
    put_be(buf + 51, 2, (uint64_t)producer.epoch);
    put_be(buf + 53, 4, (uint64_t)producer.base_sequence);
    put_be(buf + 57, 4, (uint64_t)count);
    put_be(buf + CRC_AT, 4, crc_of(buf + CRC_FROM, total - CRC_FROM));
    return total;
}
