// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_RECORD_BATCH_H
#define LOG_RECORD_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Kafka record batch, format v2: what segments hold, what ops carry, what one decoder reads for every engine.
 *
 *   offset size field
 *        0    8 base offset          the only fields the log sets: not covered by the CRC
 *        8    4 batch length         bytes after this field
 *       12    4 partition leader epoch   always 0
 *       16    1 magic                2
 *       17    4 crc                  CRC32C of everything from attributes on
 *       21    2 attributes           bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control
 *       23    4 last offset delta
 *       27    8 base timestamp       ms
 *       35    8 max timestamp        ms
 *       43    8 producer id          -1: none
 *       51    2 producer epoch
 *       53    4 base sequence
 *       57    4 record count
 *       61      records, together compressed if attributes say so
 * All big endian. Record: zigzag varints length, (i8) attributes, timestamp delta, offset delta, key length (-1 null),
 * key, value length (-1 null), value, header count, headers (key length, key, value length (-1 null), value).
 * Source: Kafka protocol guide, "Record Batch". */

enum {
    RECORD_BATCH_HEADER = 61,
    RECORD_BATCH_OVERHEAD = 12, /* bytes of a batch that its length field does not count */
    RECORD_HEADERS_MAX = 64,
    RECORD_READ_PADDING = 64 /* bytes that may be read behind a value: JSON readers look ahead */
};

enum record_codec { RECORD_CODEC_NONE = 0, RECORD_CODEC_LZ4 = 3, RECORD_CODEC_ZSTD = 4 };

/* The header, decoded; plain numbers. */
struct record_batch_header {
    int64_t base_offset;
    int32_t batch_length;
    uint32_t crc;
    int16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t record_count;
};

/* Reads and checks the header of the batch at `bytes`: magic, leader epoch 0, lengths and counts against the limits and
 * against `len` (ERR_LIMIT: the batch is longer than `len`; needs 61 bytes at least). The CRC is record_batch_verify's.
 *   ret_header, ret_total   header and bytes of the whole batch; also written when a whole header's batch is longer than
 *                           `len`, so that who walks headers need not have the bodies */
ATTR_NODISCARD enum err record_batch_parse(const void *bytes, ptrdiff_t len,
                                           struct record_batch_header *ret_header,
                                           ptrdiff_t *ret_total, struct err_info *info);

/* CRC over the whole batch of `total` bytes, as record_batch_parse measured it. CORRUPT if it does not hold. */
ATTR_NODISCARD enum err record_batch_verify(const void *bytes, ptrdiff_t total,
                                            struct err_info *info);

/* What an engine asks of `len` bytes that somebody wants appended as one batch: parses, holds its CRC, ends where the
 * bytes end, has at least one record and as many offsets as records, is no control batch and of no transaction. The
 * records inside are not looked at. Errors: LIMIT (over LOG_BATCH_BYTES_MAX), UNSUPPORTED (codec), CORRUPT. */
ATTR_NODISCARD enum err record_batch_check_new(const void *bytes, ptrdiff_t len,
                                               struct record_batch_header *ret_header,
                                               struct err_info *info);

/* Sets base offset in place. */
void record_batch_set_base_offset(void *bytes, int64_t base_offset);

/* One record; views into the batch (or into the reader's inflated copy), valid until the reader's next batch. */
struct record {
    int64_t offset;
    int64_t timestamp_ms;
    struct str key; /* ptr NULL: absent */
    struct str value;
    struct str headers; /* encoded, without their count; len 0 if header_count is 0 */
    int32_t header_count;
};

/* Walks records of one batch after another. Owns a buffer for inflated records, bounded by 8 x LOG_BATCH_BYTES_MAX. */
struct record_reader {
    const uint8_t *at, *end;
    struct record_batch_header header;
    int32_t left;           /* records not delivered yet */
    int64_t last_delta;     /* offset delta of the record before, -1 at the start: deltas rise */
    uint8_t *inflated;      /* reused */
    ptrdiff_t inflated_cap; /* RECORD_READ_PADDING more are allocated */
    struct record_inflater *inflater; /* decompression contexts, made when first wanted, reused */
};

void record_reader_init(struct record_reader *reader);
void record_reader_release(struct record_reader *reader);

/* Starts on a batch whose CRC was verified. Inflates. CORRUPT if it cannot be, LIMIT if it would be over 8 x
 * LOG_BATCH_BYTES_MAX, UNSUPPORTED for gzip and snappy. Value bytes may be read up to
 * RECORD_READ_PADDING past their end without a fault: inflated ones always, others if the caller's buffer has that much
 * behind the batch. */
ATTR_NODISCARD enum err record_reader_begin(struct record_reader *reader, const void *bytes,
                                            ptrdiff_t total, struct err_info *info);

/* Next record. OK, or NOT_FOUND at the end, or CORRUPT (and from then on). Allocates nothing. */
ATTR_NODISCARD enum err record_reader_next(struct record_reader *reader, struct record *ret_record,
                                           struct err_info *info);

/* Many records at once into arrays of the caller's (headers and header_count may be NULL); the hot path of decoding.
 * Returns how many were written (<= cap), fewer than cap only at the end of the batch; -1 if the batch is corrupt. */
struct record_arrays {
    int64_t *offset;
    int64_t *timestamp_ms;
    struct str *key;
    struct str *value;
    struct str *headers;
    int32_t *header_count;
};
int32_t record_reader_next_many(struct record_reader *reader, const struct record_arrays *arrays,
                                int32_t cap);

/* Next header of an encoded block. `rest` is advanced. False at the end (or if it is malformed). */
bool record_header_next(struct str *rest, struct str *ret_key, struct str *ret_value);

/* Builds one batch in a growing buffer of its own, which is kept over resets. */
struct record_builder {
    uint8_t *bytes;
    ptrdiff_t len, cap;
    int32_t count;
    int64_t base_timestamp_ms, max_timestamp_ms;
    enum record_codec codec;
    struct record_deflater *deflater; /* compressed copy and contexts, made when first wanted */
};

void record_builder_init(struct record_builder *builder, enum record_codec codec);
void record_builder_release(struct record_builder *builder);
void record_builder_reset(struct record_builder *builder);

/* Appends a record (its offset is ignored: the next). LIMIT if the batch would pass LOG_BATCH_BYTES_MAX: finish it and
 * begin another; if it was empty, the record itself is too large. `headers` holds exactly `header_count` of them. */
ATTR_NODISCARD enum err record_builder_add(struct record_builder *builder,
                                           const struct record *record);

/* Appends one header to an encoded block in caller's memory; returns bytes written, or -1 if `cap` is too small.
 * `key` is present (it may be empty). */
ptrdiff_t record_header_put(void *buf, ptrdiff_t cap, struct str key, struct str value);

/* Who produced a batch; id -1: nobody in particular (then epoch and sequence are -1). */
struct record_producer {
    int64_t id;
    int16_t epoch;
    int32_t base_sequence;
};
#define RECORD_PRODUCER_NONE ((struct record_producer){.id = -1, .epoch = -1, .base_sequence = -1})

/* Fills in the header, compresses (unless that would not make it smaller), computes the CRC. The bytes belong to the
 * builder and stay until its next change. INVALID if there is no record. */
ATTR_NODISCARD enum err record_builder_finish(struct record_builder *builder,
                                              struct record_producer producer, void **ret_bytes,
                                              ptrdiff_t *ret_len, struct err_info *info);

#endif
