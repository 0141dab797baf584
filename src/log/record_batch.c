// SPDX-License-Identifier: Apache-2.0
#include "log/record_batch.h"

#include <assert.h>
#include <immintrin.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/planted.h"
#include "log/log.h"
#include "log/record_codec.h"
#include "log/record_form.h"

/* Where the header's fields stand (the table is in the header file). */
enum {
    AT_BASE_OFFSET = 0,
    AT_BATCH_LENGTH = 8,
    AT_LEADER_EPOCH = 12,
    AT_MAGIC = 16,
    AT_CRC = 17,
    AT_ATTRIBUTES = 21,
    AT_LAST_OFFSET_DELTA = 23,
    AT_BASE_TIMESTAMP = 27,
    AT_MAX_TIMESTAMP = 35,
    AT_PRODUCER_ID = 43,
    AT_PRODUCER_EPOCH = 51,
    AT_BASE_SEQUENCE = 53,
    AT_RECORD_COUNT = 57
};

enum {
    MAGIC = 2,
    CODEC_MASK = 7,
    LOG_APPEND_TIME = 8,
    TRANSACTIONAL = 16,
    CONTROL = 32,
    RECORD_BYTES_MIN = 7, /* every field one byte */
    ALIKE_TRIES = 8,      /* in vain, before a batch is taken for one of records that differ */
    VARINT_MAX = 10,
    INFLATED_BYTES_MAX = 8 * LOG_BATCH_BYTES_MAX,
    BUILDER_CAP_MIN = 4096
};

static int16_t get16(const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return (int16_t)__builtin_bswap16(v);
}

static int32_t get32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return (int32_t)__builtin_bswap32(v);
}

static int64_t get64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return (int64_t)__builtin_bswap64(v);
}

static void put16(uint8_t *at, int16_t value)
{
    uint16_t v = __builtin_bswap16((uint16_t)value);
    memcpy(at, &v, sizeof v);
}

static void put32(uint8_t *at, int32_t value)
{
    uint32_t v = __builtin_bswap32((uint32_t)value);
    memcpy(at, &v, sizeof v);
}

static void put64(uint8_t *at, int64_t value)
{
    uint64_t v = __builtin_bswap64((uint64_t)value);
    memcpy(at, &v, sizeof v);
}

/* Varints. One and two bytes are nearly all there are: lengths below 8192, deltas below 8192. */

static bool varint_long(const uint8_t **at, const uint8_t *end, int64_t *ret_value)
{
    uint64_t value = 0;
    const uint8_t *p = *at;
    for (int shift = 0; shift < 7 * VARINT_MAX && p < end; shift += 7) {
        uint8_t byte = *p++;
        value |= (uint64_t)(byte & 0x7f) << shift; /* the tenth byte's upper bits fall off */
        if (byte < 0x80) {
            *at = p;
            *ret_value = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
            return true;
        }
    }
    return false;
}

static ATTR_ALWAYS_INLINE bool varint(const uint8_t **at, const uint8_t *end, int64_t *ret_value)
{
    const uint8_t *p = *at;
    if (LIKELY(end - p >= 2)) {
        uint32_t value = p[0];
        if (value < 0x80) {
            *at = p + 1;
            *ret_value = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
            return true;
        }
        if (p[1] < 0x80) {
            value = (value & 0x7f) | (uint32_t)p[1] << 7;
            *at = p + 2;
            *ret_value = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
            return true;
        }
    }
    return varint_long(at, end, ret_value);
}

static uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static ptrdiff_t varint_size(int64_t value)
{
    return (63 - __builtin_clzll(zigzag(value) | 1)) / 7 + 1;
}

static uint8_t *varint_put(uint8_t *at, int64_t value)
{
    uint64_t rest = zigzag(value);
    while (rest >= 0x80) {
        *at++ = (uint8_t)(rest | 0x80);
        rest >>= 7;
    }
    *at++ = (uint8_t)rest;
    return at;
}

/* Batches as wholes. */

static struct record_batch_header header_get(const uint8_t *at)
{
    return (struct record_batch_header){
        .base_offset = get64(at + AT_BASE_OFFSET),
        .batch_length = get32(at + AT_BATCH_LENGTH),
        .crc = (uint32_t)get32(at + AT_CRC),
        .attributes = get16(at + AT_ATTRIBUTES),
        .last_offset_delta = get32(at + AT_LAST_OFFSET_DELTA),
        .base_timestamp_ms = get64(at + AT_BASE_TIMESTAMP),
        .max_timestamp_ms = get64(at + AT_MAX_TIMESTAMP),
        .producer_id = get64(at + AT_PRODUCER_ID),
        .producer_epoch = get16(at + AT_PRODUCER_EPOCH),
        .base_sequence = get32(at + AT_BASE_SEQUENCE),
        .record_count = get32(at + AT_RECORD_COUNT),
    };
}

/* How many records `header` may claim, from the bytes they would need at least. */
static int64_t record_count_bound(const struct record_batch_header *header)
{
    int64_t stored = header->batch_length + RECORD_BATCH_OVERHEAD - RECORD_BATCH_HEADER;
    bool packed = (header->attributes & CODEC_MASK) != RECORD_CODEC_NONE;
    return (packed ? INFLATED_BYTES_MAX : stored) / RECORD_BYTES_MIN;
}

enum err record_batch_parse(const void *bytes, ptrdiff_t len,
                            struct record_batch_header *ret_header, ptrdiff_t *ret_total,
                            struct err_info *info)
{
    if (len < RECORD_BATCH_HEADER) {
        return err_set(info, ERR_LIMIT, "%td bytes are too few for a record batch's header of %d",
                       len, RECORD_BATCH_HEADER);
    }
    const uint8_t *at = bytes;
    struct record_batch_header header = header_get(at);
    if (at[AT_MAGIC] != MAGIC) {
        return err_set(info, ERR_CORRUPT, "record batch has magic %d; only format 2 is read",
                       at[AT_MAGIC]);
    }
    if (get32(at + AT_LEADER_EPOCH) != 0) {
        return err_set(info, ERR_CORRUPT, "record batch has leader epoch %d; it is always 0",
                       get32(at + AT_LEADER_EPOCH));
    }
    if (header.batch_length < RECORD_BATCH_HEADER - RECORD_BATCH_OVERHEAD ||
        header.batch_length > LOG_BATCH_BYTES_MAX - RECORD_BATCH_OVERHEAD) {
        return err_set(info, ERR_CORRUPT,
                       "record batch claims a length of %d (%d..%d are possible)",
                       header.batch_length, RECORD_BATCH_HEADER - RECORD_BATCH_OVERHEAD,
                       LOG_BATCH_BYTES_MAX - RECORD_BATCH_OVERHEAD);
    }
    ptrdiff_t total = (ptrdiff_t)header.batch_length + RECORD_BATCH_OVERHEAD;
    if (header.base_offset < 0 || header.last_offset_delta < 0 || header.record_count < 0 ||
        header.record_count > record_count_bound(&header) ||
        (int64_t)header.record_count > (int64_t)header.last_offset_delta + 1 ||
        header.base_offset > INT64_MAX - 1 - header.last_offset_delta) {
        return err_set(
            info, ERR_CORRUPT,
            "record batch at offset %lld claims %d records over %lld offsets in %td bytes",
            (long long)header.base_offset, header.record_count,
            (long long)header.last_offset_delta + 1, total);
    }
    *ret_header = header;
    *ret_total = total;
    if (total > len) {
        return err_set(info, ERR_LIMIT, "record batch of %td bytes does not fit into %td", total,
                       len);
    }
    return ERR_OK;
}

enum err record_batch_verify(const void *bytes, ptrdiff_t total, struct err_info *info)
{
    CHECK(total >= RECORD_BATCH_HEADER);
    const uint8_t *at = bytes;
    uint32_t stored = (uint32_t)get32(at + AT_CRC);
    uint32_t computed = crc32c(0, at + AT_ATTRIBUTES, total - AT_ATTRIBUTES);
    if (stored != computed && !PLANTED(SKIP_CHECKSUM)) {
        return err_set(info, ERR_CORRUPT,
                       "record batch at offset %lld of %td bytes has checksum %08x, its bytes %08x",
                       (long long)get64(at), total, stored, computed);
    }
    return ERR_OK;
}

enum err record_batch_check_new(const void *bytes, ptrdiff_t len,
                                struct record_batch_header *ret_header, struct err_info *info)
{
    if (len > LOG_BATCH_BYTES_MAX) {
        return err_set(info, ERR_LIMIT, "record batch of %td bytes is over the limit of %d", len,
                       LOG_BATCH_BYTES_MAX);
    }
    struct record_batch_header header = {0};
    ptrdiff_t total = 0;
    enum err err = record_batch_parse(bytes, len, &header, &total, info);
    if (err != ERR_OK) {
        /* All of it is here, so "needs more bytes" means that it lies about its length. */
        return err == ERR_LIMIT ? err_set(info, ERR_CORRUPT,
                                          "record batch ends after %td bytes, within itself", len)
                                : err;
    }
    if (total != len) {
        return err_set(info, ERR_CORRUPT, "%td bytes behind a record batch of %td", len - total,
                       total);
    }
    if (header.record_count < 1 || header.record_count != header.last_offset_delta + 1) {
        return err_set(info, ERR_CORRUPT, "record batch of %d records over %lld offsets",
                       header.record_count, (long long)header.last_offset_delta + 1);
    }
    if ((header.attributes & (TRANSACTIONAL | CONTROL)) != 0) {
        return err_set(
            info, ERR_UNSUPPORTED,
            "record batch has attributes 0x%x: transactional and control batches are not "
            "taken",
            (unsigned)(uint16_t)header.attributes);
    }
    int codec = header.attributes & CODEC_MASK;
    if (codec != RECORD_CODEC_NONE && codec != RECORD_CODEC_LZ4 && codec != RECORD_CODEC_ZSTD) {
        return err_set(info, ERR_UNSUPPORTED,
                       "record batch is compressed with codec %d; none, lz4 and zstd are taken",
                       codec);
    }
    err = record_batch_verify(bytes, total, info);
    if (err == ERR_OK) {
        *ret_header = header;
    }
    return err;
}

void record_batch_set_base_offset(void *bytes, int64_t base_offset)
{
    put64((uint8_t *)bytes + AT_BASE_OFFSET, base_offset);
}

/* Reading. */

void record_reader_init(struct record_reader *reader)
{
    *reader = (struct record_reader){.last_delta = -1};
}

void record_reader_release(struct record_reader *reader)
{
    mem_free(reader->inflated);
    record_inflater_free(reader->inflater);
    record_reader_init(reader);
}

/* Inflates [at, at + len) into the reader's buffer, which doubles until it is large enough: that happens only until
 * the buffer has seen the largest batch. */
static enum err reader_inflate(struct record_reader *reader, const uint8_t *at, ptrdiff_t len,
                               struct err_info *info)
{
    if (reader->inflater == NULL) {
        reader->inflater = record_inflater_new();
    }
    enum record_codec codec = (enum record_codec)(reader->header.attributes & CODEC_MASK);
    struct str from = {.ptr = (const char *)at, .len = len};
    ptrdiff_t want = record_inflate_guess(codec, from);
    for (;;) {
        if (want > INFLATED_BYTES_MAX) {
            return err_set(info, ERR_LIMIT,
                           "record batch at offset %lld inflates to more than %d bytes",
                           (long long)reader->header.base_offset, INFLATED_BYTES_MAX);
        }
        if (want > reader->inflated_cap) {
            mem_free(reader->inflated);
            reader->inflated = mem_new(want + RECORD_READ_PADDING, 1);
            reader->inflated_cap = want;
        }
        ptrdiff_t done;
        enum err err = record_inflate(reader->inflater, codec, from, reader->inflated,
                                      reader->inflated_cap, &done, info);
        if (err == ERR_OK) {
            reader->at = reader->inflated;
            reader->end = reader->inflated + done;
            return ERR_OK;
        }
        if (err != ERR_LIMIT) {
            return err;
        }
        bool last = reader->inflated_cap == INFLATED_BYTES_MAX;
        want = last ? INFLATED_BYTES_MAX + 1 : 2 * reader->inflated_cap;
        want = !last && want > INFLATED_BYTES_MAX ? INFLATED_BYTES_MAX : want;
    }
}

enum err record_reader_begin(struct record_reader *reader, const void *bytes, ptrdiff_t total,
                             struct err_info *info)
{
    reader->left = 0;
    reader->last_delta = -1;
    ptrdiff_t parsed = 0;
    enum err err = record_batch_parse(bytes, total, &reader->header, &parsed, info);
    if (err != ERR_OK) {
        return err;
    }
    const uint8_t *at = (const uint8_t *)bytes + RECORD_BATCH_HEADER;
    ptrdiff_t len = parsed - RECORD_BATCH_HEADER;
    int codec = reader->header.attributes & CODEC_MASK;
    if (codec == RECORD_CODEC_NONE) {
        reader->at = at;
        reader->end = at + len;
    } else if (codec == RECORD_CODEC_LZ4 || codec == RECORD_CODEC_ZSTD) {
        err = reader_inflate(reader, at, len, info);
    } else {
        err = err_set(info, ERR_UNSUPPORTED,
                      "record batch at offset %lld is compressed with codec %d; lz4 and zstd are "
                      "read",
                      (long long)reader->header.base_offset, codec);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (reader->header.record_count > (reader->end - reader->at) / RECORD_BYTES_MIN) {
        return err_set(info, ERR_CORRUPT,
                       "record batch at offset %lld claims %d records in %td bytes",
                       (long long)reader->header.base_offset, reader->header.record_count,
                       reader->end - reader->at);
    }
    reader->left = reader->header.record_count;
    return ERR_OK;
}

/* A length and as many bytes; length -1 stands for absent. */
static ATTR_ALWAYS_INLINE bool bytes_get(const uint8_t **at, const uint8_t *end,
                                         struct str *ret_bytes)
{
    int64_t len;
    if (!varint(at, end, &len) || len > end - *at) {
        return false;
    }
    if (len < 0) {
        *ret_bytes = (struct str){.ptr = NULL, .len = 0};
        return len == -1;
    }
    *ret_bytes = (struct str){.ptr = (const char *)*at, .len = (ptrdiff_t)len};
    *at += len;
    return true;
}

/* Walks `count` headers from `at`: true if they end exactly at `end`. */
static bool headers_hold(const uint8_t *at, const uint8_t *end, int64_t count)
{
    if (count < 0 || count > RECORD_HEADERS_MAX) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        struct str key, value;
        if (!bytes_get(&at, end, &key) || key.ptr == NULL || !bytes_get(&at, end, &value)) {
            return false;
        }
    }
    return at == end;
}

/* Decodes the record at `*at`, which is advanced; `*last_delta` too. False: corrupt. */
static ATTR_ALWAYS_INLINE bool record_get(const struct record_batch_header *header,
                                          const uint8_t **at, const uint8_t *end,
                                          int64_t *last_delta, struct record *ret_record)
{
    int64_t len, timestamp_delta, offset_delta, header_count;
    if (!varint(at, end, &len) || len < RECORD_BYTES_MIN - 1 || len > end - *at) {
        return false;
    }
    const uint8_t *p = *at + 1; /* attributes: none is defined */
    const uint8_t *record_end = *at + len;
    if (!varint(&p, record_end, &timestamp_delta) || !varint(&p, record_end, &offset_delta) ||
        !bytes_get(&p, record_end, &ret_record->key) ||
        !bytes_get(&p, record_end, &ret_record->value) || !varint(&p, record_end, &header_count) ||
        offset_delta <= *last_delta || offset_delta > header->last_offset_delta) {
        return false;
    }
    ret_record->headers = (struct str){.ptr = (const char *)p, .len = record_end - p};
    ret_record->header_count = (int32_t)header_count;
    if (UNLIKELY(p != record_end || header_count != 0) &&
        !headers_hold(p, record_end, header_count)) {
        return false;
    }
    ret_record->offset = header->base_offset + offset_delta;
    ret_record->timestamp_ms =
        (header->attributes & LOG_APPEND_TIME) != 0
            ? header->max_timestamp_ms
            : (int64_t)((uint64_t)header->base_timestamp_ms + (uint64_t)timestamp_delta);
    *last_delta = offset_delta;
    *at = record_end;
    return true;
}

/* -1 in `left` marks a batch that was found corrupt. */
static bool reader_fail(struct record_reader *reader)
{
    reader->left = -1;
    return false;
}

/* After the last record nothing may follow. */
static bool reader_at_end(struct record_reader *reader)
{
    return reader->left == 0 && (reader->at == reader->end || reader_fail(reader));
}

enum err record_reader_next(struct record_reader *reader, struct record *ret_record,
                            struct err_info *info)
{
    struct record record;
    if (reader->left > 0 &&
        record_get(&reader->header, &reader->at, reader->end, &reader->last_delta, &record)) {
        reader->left--;
        *ret_record = record;
        return ERR_OK;
    }
    if (reader_at_end(reader)) {
        return ERR_NOT_FOUND;
    }
    reader->left = -1;
    return err_set(info, ERR_CORRUPT,
                   "record batch at offset %lld: records are malformed after %lld",
                   (long long)reader->header.base_offset,
                   (long long)reader->header.base_offset + (long long)reader->last_delta);
}

/* How many of the `count` records from `at` on are written alike, the first with the head `want`; their times. */
static int32_t times_alike(const struct record_form *like, const uint8_t *at, uint64_t want,
                           int64_t base_ms, int64_t *timestamp_ms, int32_t count)
{
    const struct record_form form =
        *like; // a local, so that stores cannot make the compiler load it again
    int32_t i = 0;
    for (; i < count; i++) {
        uint64_t head = record_form_head(at);
        if (!record_form_holds(&form, at, head, want)) {
            break;
        }
        want = record_form_step(&form, want);
        int64_t delta = record_form_delta(head, form.time_shift, form.time_bits);
        timestamp_ms[i] = (int64_t)((uint64_t)base_ms + (uint64_t)delta);
        at += form.whole;
    }
    return i;
}

/* The same, four records at a time, as long as all four are alike; `want` goes on to the one behind them. */
ATTR_TARGET("avx2")
static int32_t times_fours(const struct record_form *like, const uint8_t *at, uint64_t *want,
                           int64_t base_ms, int64_t *timestamp_ms, int32_t count)
{
    const struct record_form form = *like;
    const ptrdiff_t whole = form.whole;
    struct record_form_four four = record_form_four_begin(&form, *want, base_ms);
    int32_t i = 0;
    for (; i + 4 <= count; i += 4, at += 4 * whole) {
        __m256i heads = _mm256_setr_epi64x(
            (int64_t)record_form_head(at), (int64_t)record_form_head(at + whole),
            (int64_t)record_form_head(at + 2 * whole), (int64_t)record_form_head(at + 3 * whole));
        uint16_t value_lens = record_form_value_differs(&form, at) |
                              record_form_value_differs(&form, at + whole) |
                              record_form_value_differs(&form, at + 2 * whole) |
                              record_form_value_differs(&form, at + 3 * whole);
        const uint8_t *last = at + whole - 1;
        uint8_t headers = last[0] | last[whole] | last[2 * whole] | last[3 * whole];
        if (((value_lens & form.value_care) | headers) != 0 ||
            !record_form_four_holds(&four, heads)) {
            break;
        }
        _mm256_storeu_si256((__m256i *)(void *)&timestamp_ms[i],
                            record_form_four_times(&four, heads));
        record_form_four_step(&four);
        *want = record_form_steps_4(&form, *want);
    }
    return i;
}

/* What else there is to tell of records that are alike: it all goes up by steps. */
static void fill_alike(const struct record_form *form, const uint8_t *at,
                       const struct record_arrays *to, int32_t first, int32_t count)
{
    int64_t last = to->offset[first - 1];
    for (int32_t i = first; i < first + count; i++, at += form->whole) {
        to->offset[i] = ++last;
        to->key[i] = (struct str){.ptr = (const char *)at + form->key_at, .len = form->key_len};
        to->value[i] =
            (struct str){.ptr = (const char *)at + form->value_at, .len = form->value_len};
    }
}

/* Two struct str as one register: pointers of records that are written alike go up by the same step. */
ATTR_TARGET("avx2")
static inline __m256i str_pair_of(const uint8_t *ptr, ptrdiff_t len, ptrdiff_t step)
{
    int64_t address = (int64_t)(uintptr_t)ptr;
    return _mm256_setr_epi64x(address, len, address + step, len);
}

/* The same, two records at a time; those that are left over are not filled in. */
ATTR_TARGET("avx2")
static int32_t fill_twos(const struct record_form *form, const uint8_t *at,
                         const struct record_arrays *to, int32_t first, int32_t count)
{
    int64_t *offset = to->offset + first;
    struct str *key = to->key + first;
    struct str *value = to->value + first;
    __m256i keys = str_pair_of(at + form->key_at, form->key_len, form->whole);
    __m256i values = str_pair_of(at + form->value_at, form->value_len, form->whole);
    __m128i offsets = _mm_set_epi64x(offset[-1] + 2, offset[-1] + 1);
    const __m256i step = _mm256_setr_epi64x(2 * form->whole, 0, 2 * form->whole, 0);
    int32_t i = 0;
    for (; i + 2 <= count; i += 2) {
        _mm_storeu_si128((__m128i *)(void *)&offset[i], offsets);
        _mm256_storeu_si256((__m256i *)(void *)&key[i], keys);
        _mm256_storeu_si256((__m256i *)(void *)&value[i], values);
        offsets = _mm_add_epi64(offsets, _mm_set1_epi64x(2));
        keys = _mm256_add_epi64(keys, step);
        values = _mm256_add_epi64(values, step);
    }
    return i;
}

/* Records behind the one that gave the form, written alike: up to `count` into the arrays, from entry `first` on. Returns
 * how many. */
static int32_t read_alike(const struct record_batch_header *header, const struct record_form *form,
                          const uint8_t *at, const uint8_t *end, const struct record_arrays *to,
                          int32_t first, int32_t count)
{
    bool wide = __builtin_cpu_supports("avx2") != 0;
    int64_t rest = header->last_offset_delta - (to->offset[first - 1] - header->base_offset);
    rest = rest < (end - at) / form->whole ? rest : (end - at) / form->whole;
    count = rest < count ? (int32_t)rest : count;
    if (count <= 0) {
        return 0; /* nothing is left, or the form is none */
    }
    uint64_t want = record_form_step(form, form->head_want);
    int64_t *time_ms = to->timestamp_ms + first;
    int64_t base_ms = header->base_timestamp_ms;
    int32_t done = wide ? times_fours(form, at, &want, base_ms, time_ms, count) : 0;
    done += times_alike(form, at + done * form->whole, want, base_ms, time_ms + done, count - done);
    int32_t filled = wide ? fill_twos(form, at, to, first, done) : 0;
    fill_alike(form, at + filled * form->whole, to, first + filled, done - filled);
    for (int32_t i = first; to->headers != NULL && i < first + done; i++) {
        to->headers[i] = (struct str){.ptr = to->value[i].ptr + to->value[i].len + 1, .len = 0};
        to->header_count[i] = 0;
    }
    return done;
}

static ATTR_ALWAYS_INLINE void arrays_set(const struct record_arrays *to, int32_t i,
                                          const struct record *record)
{
    to->offset[i] = record->offset;
    to->timestamp_ms[i] = record->timestamp_ms;
    to->key[i] = record->key;
    to->value[i] = record->value;
    if (to->headers != NULL) {
        to->headers[i] = record->headers;
        to->header_count[i] = record->header_count;
    }
}

int32_t record_reader_next_many(struct record_reader *reader, const struct record_arrays *arrays,
                                int32_t cap)
{
    /* Locals, so that stores into the arrays cannot make the compiler reload what it has in registers. */
    struct record_batch_header header = reader->header;
    struct record_arrays to = *arrays;
    const uint8_t *at = reader->at, *end = reader->end;
    int64_t last_delta = reader->last_delta;
    int32_t count = reader->left < cap ? reader->left : cap;
    int32_t i = 0;
    // Tries less records that they found: of records that vary in length some few are like the one before by chance, which does not
    // make up for looking. Where times are not the records' own, no try is made.
    int32_t in_vain = (header.attributes & LOG_APPEND_TIME) != 0 ? ALIKE_TRIES : 0;
    while (i < count) {
        const uint8_t *record_at = at;
        struct record record;
        if (UNLIKELY(!record_get(&header, &at, end, &last_delta, &record))) {
            break;
        }
        arrays_set(&to, i++, &record);
        if (in_vain < ALIKE_TRIES) {
            struct record_form form = record_form_learn(record_at, at, &record);
            int32_t alike = read_alike(&header, &form, at, end, &to, i, count - i);
            at += alike * form.whole;
            i += alike;
            last_delta = alike > 0 ? to.offset[i - 1] - header.base_offset : last_delta;
            in_vain = in_vain + 1 > alike ? in_vain + 1 - alike : 0;
        }
    }
    reader->at = at;
    reader->last_delta = last_delta;
    if (i < count || reader->left < 0) {
        reader->left = -1;
        return -1;
    }
    reader->left -= count;
    return reader->left == 0 && !reader_at_end(reader) ? -1 : count;
}

bool record_header_next(struct str *rest, struct str *ret_key, struct str *ret_value)
{
    if (rest->len == 0) {
        return false;
    }
    const uint8_t *at = (const uint8_t *)rest->ptr, *end = at + rest->len;
    struct str key, value;
    if (!bytes_get(&at, end, &key) || key.ptr == NULL || !bytes_get(&at, end, &value)) {
        return false;
    }
    *rest = (struct str){.ptr = (const char *)at, .len = end - at};
    *ret_key = key;
    *ret_value = value;
    return true;
}

/* Building. */

void record_builder_init(struct record_builder *builder, enum record_codec codec)
{
    *builder = (struct record_builder){.codec = codec, .len = RECORD_BATCH_HEADER};
}

void record_builder_release(struct record_builder *builder)
{
    mem_free(builder->bytes);
    record_deflater_free(builder->deflater);
    record_builder_init(builder, builder->codec);
}

void record_builder_reset(struct record_builder *builder)
{
    builder->len = RECORD_BATCH_HEADER;
    builder->count = 0;
}

static ATTR_COLD void builder_grow(struct record_builder *builder, ptrdiff_t need)
{
    ptrdiff_t cap = builder->cap > 0 ? builder->cap : BUILDER_CAP_MIN;
    while (cap < need) {
        cap *= 2;
    }
    builder->bytes = mem_resize(builder->bytes, cap, 1);
    builder->cap = cap;
}

static uint8_t *bytes_put(uint8_t *at, struct str bytes)
{
    at = varint_put(at, bytes.ptr != NULL ? bytes.len : -1);
    if (bytes.ptr != NULL) {
        memcpy(at, bytes.ptr, (size_t)bytes.len);
    }
    return at + bytes.len;
}

enum err record_builder_add(struct record_builder *builder, const struct record *record)
{
    if (record->key.len > LOG_BATCH_BYTES_MAX || record->value.len > LOG_BATCH_BYTES_MAX ||
        record->headers.len > LOG_BATCH_BYTES_MAX || record->header_count > RECORD_HEADERS_MAX) {
        return ERR_LIMIT;
    }
    bool has_key = record->key.ptr != NULL, has_value = record->value.ptr != NULL;
    int64_t base = builder->count == 0 ? record->timestamp_ms : builder->base_timestamp_ms;
    /* Wraps where the reader wraps. */
    int64_t timestamp_delta = (int64_t)((uint64_t)record->timestamp_ms - (uint64_t)base);
    ptrdiff_t len = 1 + varint_size(timestamp_delta) + varint_size(builder->count) +
                    varint_size(has_key ? record->key.len : -1) + record->key.len +
                    varint_size(has_value ? record->value.len : -1) + record->value.len +
                    varint_size(record->header_count) + record->headers.len;
    ptrdiff_t need = builder->len + varint_size(len) + len;
    if (need > LOG_BATCH_BYTES_MAX) {
        return ERR_LIMIT;
    }
    if (UNLIKELY(need > builder->cap)) {
        builder_grow(builder, need);
    }
    uint8_t *at = varint_put(builder->bytes + builder->len, len);
    *at++ = 0;
    at = varint_put(at, timestamp_delta);
    at = varint_put(at, builder->count);
    at = bytes_put(at, record->key);
    at = bytes_put(at, record->value);
    at = varint_put(at, record->header_count);
    if (record->headers.len > 0) {
        memcpy(at, record->headers.ptr, (size_t)record->headers.len);
    }
    if (builder->count == 0 || record->timestamp_ms > builder->max_timestamp_ms) {
        builder->max_timestamp_ms = record->timestamp_ms;
    }
    builder->base_timestamp_ms = base;
    builder->len = need;
    builder->count++;
    return ERR_OK;
}

ptrdiff_t record_header_put(void *buf, ptrdiff_t cap, struct str key, struct str value)
{
    bool has_value = value.ptr != NULL;
    CHECK(key.ptr != NULL);
    ptrdiff_t len =
        varint_size(key.len) + key.len + varint_size(has_value ? value.len : -1) + value.len;
    if (len > cap) {
        return -1;
    }
    bytes_put(bytes_put(buf, key), value);
    return len;
}

enum err record_builder_finish(struct record_builder *builder, struct record_producer producer,
                               void **ret_bytes, ptrdiff_t *ret_len, struct err_info *info)
{
    if (builder->count == 0) {
        return err_set(info, ERR_INVALID, "a record batch needs at least one record");
    }
    uint8_t *bytes = builder->bytes;
    ptrdiff_t len = builder->len;
    enum record_codec codec = RECORD_CODEC_NONE;
    if (builder->codec != RECORD_CODEC_NONE) {
        if (builder->deflater == NULL) {
            builder->deflater = record_deflater_new();
        }
        ptrdiff_t packed_len;
        uint8_t *packed = record_deflate(builder->deflater, builder->codec, bytes, len,
                                         RECORD_BATCH_HEADER, &packed_len);
        if (packed_len < len) {
            bytes = packed;
            len = packed_len;
            codec = builder->codec;
        }
    }
    put64(bytes + AT_BASE_OFFSET, 0);
    put32(bytes + AT_BATCH_LENGTH, (int32_t)(len - RECORD_BATCH_OVERHEAD));
    put32(bytes + AT_LEADER_EPOCH, 0);
    bytes[AT_MAGIC] = MAGIC;
    put16(bytes + AT_ATTRIBUTES, (int16_t)codec);
    put32(bytes + AT_LAST_OFFSET_DELTA, builder->count - 1);
    put64(bytes + AT_BASE_TIMESTAMP, builder->base_timestamp_ms);
    put64(bytes + AT_MAX_TIMESTAMP, builder->max_timestamp_ms);
    put64(bytes + AT_PRODUCER_ID, producer.id);
    put16(bytes + AT_PRODUCER_EPOCH, producer.epoch);
    put32(bytes + AT_BASE_SEQUENCE, producer.base_sequence);
    put32(bytes + AT_RECORD_COUNT, builder->count);
    put32(bytes + AT_CRC, (int32_t)crc32c(0, bytes + AT_ATTRIBUTES, len - AT_ATTRIBUTES));
    *ret_bytes = bytes;
    *ret_len = len;
    return ERR_OK;
}
