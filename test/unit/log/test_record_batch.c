// SPDX-License-Identifier: Apache-2.0
#include "log/record_batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "log/log.h"
#include "log/record_codec.h"
#include "log/record_walk.h"
#include "test.h"

enum { SAMPLE_MAX = 400, TEXT_MAX = 64 << 10 };

/* Records with all that they can have, made from a seed; they own their bytes in `text`. */
struct sample {
    struct record records[SAMPLE_MAX];
    int32_t count;
    char text[TEXT_MAX];
    ptrdiff_t used;
};

static struct str sample_bytes(struct sample *s, struct rng *rng, ptrdiff_t len)
{
    CHECK(s->used + len <= TEXT_MAX);
    char *at = s->text + s->used;
    for (ptrdiff_t i = 0; i < len; i++) {
        at[i] = (char)('a' + rng_below(rng, 6));
    }
    s->used += len;
    return (struct str){.ptr = at, .len = len};
}

static void sample_fill(struct sample *s, uint64_t seed, int32_t count)
{
    struct rng rng;
    rng_init(&rng, seed);
    s->count = count;
    s->used = 0;
    for (int32_t i = 0; i < count; i++) {
        struct record *record = &s->records[i];
        *record = (struct record){.offset = i};
        record->timestamp_ms = rng_chance(&rng, 0.05)
                                   ? (int64_t)rng_u64(&rng)
                                   : 1700000000000 + rng_range(&rng, -9000, 9000);
        if (!rng_chance(&rng, 0.2)) {
            record->key = sample_bytes(s, &rng, rng_range(&rng, 0, 20));
        }
        if (!rng_chance(&rng, 0.1)) {
            record->value =
                sample_bytes(s, &rng, rng_chance(&rng, 0.05) ? 300 : rng_range(&rng, 0, 70));
        }
        if (rng_chance(&rng, 0.2)) {
            record->header_count = (int32_t)rng_range(&rng, 1, 3);
            char *at = s->text + s->used;
            for (int32_t h = 0; h < record->header_count; h++) {
                struct str value = rng_chance(&rng, 0.3) ? (struct str){0} : STR("some value");
                ptrdiff_t put =
                    record_header_put(s->text + s->used, TEXT_MAX - s->used, STR("name"), value);
                CHECK(put > 0);
                s->used += put;
            }
            record->headers = (struct str){.ptr = at, .len = s->text + s->used - at};
        }
    }
}

static bool same_bytes(struct str a, struct str b)
{
    return str_equal(a, b) && (a.ptr == NULL) == (b.ptr == NULL);
}

static bool same_record(const struct record *a, const struct record *b)
{
    return a->timestamp_ms == b->timestamp_ms && same_bytes(a->key, b->key) &&
           same_bytes(a->value, b->value) && a->header_count == b->header_count &&
           str_equal(a->headers, b->headers);
}

static void *sample_build(struct record_builder *builder, const struct sample *s,
                          ptrdiff_t *ret_len)
{
    record_builder_reset(builder);
    for (int32_t i = 0; i < s->count; i++) {
        CHECK(record_builder_add(builder, &s->records[i]) == ERR_OK);
    }
    void *bytes;
    CHECK(record_builder_finish(builder, RECORD_PRODUCER_NONE, &bytes, ret_len, NULL) == ERR_OK);
    return bytes;
}

/* A second decoder, slow and plain, that shares nothing with the one under test: numbers are read bit by bit from the
 * protocol's description. */

static uint64_t plain_big_endian(const uint8_t *at, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) {
        v = v * 256 + at[i];
    }
    return v;
}

static int64_t plain_varint(const uint8_t **at)
{
    uint64_t v = 0;
    int shift = 0;
    for (;;) {
        uint8_t byte = *(*at)++;
        for (int bit = 0; bit < 7 && shift + bit < 64; bit++) {
            if ((byte >> bit & 1) != 0) {
                v += (uint64_t)1 << (shift + bit);
            }
        }
        shift += 7;
        if (byte < 128) {
            break;
        }
    }
    return v % 2 == 0 ? (int64_t)(v / 2) : -(int64_t)(v / 2) - 1;
}

static struct str plain_bytes(const uint8_t **at)
{
    int64_t len = plain_varint(at);
    struct str s = {.ptr = (const char *)*at, .len = (ptrdiff_t)len};
    if (len < 0) {
        return (struct str){0};
    }
    *at += len;
    return s;
}

/* Record `index` of an uncompressed batch. */
static struct record plain_record(const uint8_t *batch, int32_t index)
{
    const uint8_t *at = batch + 61;
    struct record record = {0};
    for (int32_t i = 0; i <= index; i++) {
        int64_t len = plain_varint(&at);
        const uint8_t *end = at + len;
        at++;
        record.timestamp_ms =
            (int64_t)(plain_big_endian(batch + 27, 8) + (uint64_t)plain_varint(&at));
        record.offset = (int64_t)plain_big_endian(batch, 8) + plain_varint(&at);
        record.key = plain_bytes(&at);
        record.value = plain_bytes(&at);
        record.header_count = (int32_t)plain_varint(&at);
        record.headers = (struct str){.ptr = (const char *)at, .len = end - at};
        at = end;
    }
    return record;
}

/* CRC32C by its definition, a bit at a time. */
static uint32_t plain_crc32c(const uint8_t *at, ptrdiff_t len)
{
    uint32_t crc = ~0U;
    for (ptrdiff_t i = 0; i < len; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78U : crc >> 1;
        }
    }
    return ~crc;
}

enum { GOLDEN_BYTES = 61 + 33 };

/* The batch of the next test, written by hand from the protocol guide. */
static void golden_write(uint8_t expected[GOLDEN_BYTES])
{
    static const uint8_t head[] = {
        0, 0, 0, 0,  0, 0, 0,    0,    /* base offset */
        0, 0, 0, 82,                   /* length: 49 of the header and 33 of records */
        0, 0, 0, 0,                    /* leader epoch */
        2,                             /* magic */
        0, 0, 0, 0,                    /* CRC, filled in below */
        0, 0,                          /* attributes */
        0, 0, 0, 1,                    /* last offset delta */
        0, 0, 0, 0,  0, 0, 0x03, 0xe8, /* base timestamp 1000 */
        0, 0, 0, 0,  0, 0, 0x07, 0xd0, /* max timestamp 2000 */
        0, 0, 0, 0,  0, 0, 0,    7,    /* producer */
        0, 3,                          /* its epoch */
        0, 0, 0, 42,                   /* its sequence */
        0, 0, 0, 2,                    /* records */
    };
    static const uint8_t expected_records[] = {
        /* 13 bytes follow: attributes, timestamp +0, offset +0, key 3, value 4, no headers */
        26,
        0,
        0,
        0,
        6,
        'k',
        'e',
        'y',
        8,
        'v',
        'a',
        'l',
        '1',
        0,
        /* 18 bytes follow: timestamp +1000 = zigzag 2000 = 0xd0 0x0f, offset +1, no key, no value, one header */
        36,
        0,
        0xd0,
        0x0f,
        2,
        1,
        1,
        2,
        4,
        'h',
        '1',
        14,
        'h',
        'e',
        'a',
        'd',
        'e',
        'r',
        '!',
    };
    static_assert(sizeof head == 61 && sizeof expected_records == 33, "as the length field says");
    memcpy(expected, head, 61);
    memcpy(expected + 61, expected_records, sizeof expected_records);
    uint32_t crc = plain_crc32c(expected + 21, GOLDEN_BYTES - 21);
    for (int i = 0; i < 4; i++) {
        expected[17 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

TEST(batch_has_the_bytes_that_the_protocol_says)
{
    uint8_t expected[GOLDEN_BYTES];
    golden_write(expected);
    char header[32];
    ptrdiff_t header_len = record_header_put(header, sizeof header, STR("h1"), STR("header!"));
    EXPECT_INT(header_len, 11);
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    struct record first = {.timestamp_ms = 1000, .key = STR("key"), .value = STR("val1")};
    struct record second = {
        .timestamp_ms = 2000, .headers = {.ptr = header, .len = header_len}, .header_count = 1};
    CHECK(record_builder_add(&builder, &first) == ERR_OK);
    CHECK(record_builder_add(&builder, &second) == ERR_OK);
    void *bytes;
    ptrdiff_t len;
    struct record_producer producer = {.id = 7, .epoch = 3, .base_sequence = 42};
    CHECK(record_builder_finish(&builder, producer, &bytes, &len, NULL) == ERR_OK);
    EXPECT_INT(len, GOLDEN_BYTES);
    for (ptrdiff_t i = 0; i < len; i++) {
        EXPECT_MSG(((uint8_t *)bytes)[i] == expected[i], "byte %td is %d, expected %d", i,
                   ((uint8_t *)bytes)[i], expected[i]);
    }
    record_builder_release(&builder);
}

TEST(known_batch_of_another_writer_is_read)
{
    /* "a" -> "b" at offset 5, 1500000000000 ms, written out by hand from the protocol guide. */
    uint8_t bytes[] = {0,    0,    0,    0,    0,    0,    0,    5,    0,    0,    0,    58,
                       0,    0,    0,    0,    2,    0,    0,    0,    0,    0,    0,    0,
                       0,    0,    0,    0,    0,    1,    0x5d, 0x3e, 0xf7, 0x98, 0,    0,
                       0,    1,    0x5d, 0x3e, 0xf7, 0x98, 0,    0xff, 0xff, 0xff, 0xff, 0xff,
                       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,    0,    0,
                       1,    16,   0,    0,    0,    2,    'a',  2,    'b',  0};
    uint32_t crc = plain_crc32c(bytes + 21, (ptrdiff_t)sizeof bytes - 21);
    for (int i = 0; i < 4; i++) {
        bytes[17 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
    struct record_batch_header header;
    ptrdiff_t total;
    CHECK(record_batch_parse(bytes, sizeof bytes, &header, &total, NULL) == ERR_OK);
    EXPECT_INT(total, sizeof bytes);
    EXPECT_INT(header.producer_id, -1);
    EXPECT_INT(header.base_timestamp_ms, 1500000000000);
    EXPECT_INT(record_batch_verify(bytes, total, NULL), ERR_OK);
    struct record_reader reader;
    record_reader_init(&reader);
    struct record record;
    CHECK(record_reader_begin(&reader, bytes, total, NULL) == ERR_OK);
    EXPECT_INT(record_reader_next(&reader, &record, NULL), ERR_OK);
    EXPECT_INT(record.offset, 5);
    EXPECT_INT(record.timestamp_ms, 1500000000000);
    EXPECT_STR(record.key, STR("a"));
    EXPECT_STR(record.value, STR("b"));
    EXPECT_INT(record_reader_next(&reader, &record, NULL), ERR_NOT_FOUND);
    record_reader_release(&reader);
}

static void check_round_trip(enum record_codec codec, int rounds)
{
    static struct sample sample;
    struct record_builder builder, plain_builder;
    record_builder_init(&builder, codec);
    record_builder_init(&plain_builder, RECORD_CODEC_NONE);
    struct record_reader reader;
    record_reader_init(&reader);
    for (int round = 0; round < rounds; round++) {
        sample_fill(&sample, test_seed() + (uint64_t)round, 1 + round * 7 % SAMPLE_MAX);
        ptrdiff_t len, plain_len, total;
        uint8_t *bytes = sample_build(&builder, &sample, &len);
        uint8_t *plain = sample_build(&plain_builder, &sample, &plain_len);
        record_batch_set_base_offset(bytes, 1000);
        record_batch_set_base_offset(plain, 1000);
        struct record_batch_header header;
        EXPECT_INT(record_batch_parse(bytes, len, &header, &total, NULL), ERR_OK);
        EXPECT_INT(total, len);
        EXPECT_INT(record_batch_verify(bytes, total, NULL), ERR_OK);
        EXPECT_INT(plain_big_endian(bytes + 17, 4), plain_crc32c(bytes + 21, len - 21));
        EXPECT_INT(record_reader_begin(&reader, bytes, total, NULL), ERR_OK);
        for (int32_t i = 0; i < sample.count; i++) {
            struct record record, twin = plain_record(plain, i);
            EXPECT_INT(record_reader_next(&reader, &record, NULL), ERR_OK);
            EXPECT_INT(record.offset, 1000 + i);
            EXPECT_INT(twin.offset, 1000 + i);
            EXPECT(same_record(&record, &sample.records[i]));
            EXPECT(same_record(&record, &twin));
        }
        struct record record;
        EXPECT_INT(record_reader_next(&reader, &record, NULL), ERR_NOT_FOUND);
    }
    record_reader_release(&reader);
    record_builder_release(&builder);
    record_builder_release(&plain_builder);
}

TEST(records_come_back_uncompressed)
{
    check_round_trip(RECORD_CODEC_NONE, 60);
}

TEST(records_come_back_through_lz4)
{
    check_round_trip(RECORD_CODEC_LZ4, 60);
}

TEST(records_come_back_through_zstd)
{
    check_round_trip(RECORD_CODEC_ZSTD, 60);
}

TEST(compression_makes_alike_records_smaller_and_never_a_batch_larger)
{
    for (int codec = RECORD_CODEC_LZ4; codec <= RECORD_CODEC_ZSTD; codec++) {
        struct record_builder builder;
        record_builder_init(&builder, (enum record_codec)codec);
        struct record record = {
            .timestamp_ms = 1, .key = STR("user-1"), .value = STR("{\"kind\":\"view\"}")};
        for (int i = 0; i < 1000; i++) {
            CHECK(record_builder_add(&builder, &record) == ERR_OK);
        }
        void *bytes;
        ptrdiff_t len, raw = builder.len;
        CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
        EXPECT_MSG(len < raw / 5, "%td of %td bytes", len, raw);
        record_builder_reset(&builder);
        record.value = STR("x");
        CHECK(record_builder_add(&builder, &record) == ERR_OK);
        raw = builder.len;
        CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
        EXPECT_INT(len, raw);
        struct record_batch_header header;
        ptrdiff_t total;
        EXPECT_INT(record_batch_parse(bytes, len, &header, &total, NULL), ERR_OK);
        EXPECT_INT(header.attributes, RECORD_CODEC_NONE);
        record_builder_release(&builder);
    }
}

TEST(many_at_once_are_the_same_as_one_by_one)
{
    static struct sample sample;
    sample_fill(&sample, test_seed(), SAMPLE_MAX);
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_LZ4);
    ptrdiff_t len;
    void *bytes = sample_build(&builder, &sample, &len);
    struct record_reader reader;
    record_reader_init(&reader);
    for (int32_t cap = 1; cap < SAMPLE_MAX + 3; cap += 1 + cap / 3) {
        static int64_t offset[SAMPLE_MAX + 3], timestamp[SAMPLE_MAX + 3];
        static struct str key[SAMPLE_MAX + 3], value[SAMPLE_MAX + 3], headers[SAMPLE_MAX + 3];
        static int32_t header_count[SAMPLE_MAX + 3];
        struct record_arrays arrays = {offset, timestamp, key, value, headers, header_count};
        EXPECT_INT(record_reader_begin(&reader, bytes, len, NULL), ERR_OK);
        int32_t seen = 0, got;
        do {
            got = record_reader_next_many(&reader, &arrays, cap);
            EXPECT(got >= 0);
            for (int32_t i = 0; i < got; i++, seen++) {
                struct record record = {offset[i], timestamp[i], key[i],
                                        value[i],  headers[i],   header_count[i]};
                EXPECT_INT(record.offset, seen);
                EXPECT(same_record(&record, &sample.records[seen]));
            }
        } while (got == cap);
        EXPECT_INT(seen, SAMPLE_MAX);
        EXPECT_INT(record_reader_next_many(&reader, &arrays, cap), 0);
        struct record_arrays no_headers = {offset, timestamp, key, value, NULL, NULL};
        EXPECT_INT(record_reader_begin(&reader, bytes, len, NULL), ERR_OK);
        EXPECT_INT(record_reader_next_many(&reader, &no_headers, SAMPLE_MAX), SAMPLE_MAX);
    }
    record_reader_release(&reader);
    record_builder_release(&builder);
}

TEST(headers_are_walked_one_by_one)
{
    char block[64];
    ptrdiff_t len = record_header_put(block, sizeof block, STR("a"), STR("1"));
    len += record_header_put(block + len, (ptrdiff_t)sizeof block - len, STR("sc.mark"),
                             (struct str){0});
    struct str rest = {.ptr = block, .len = len}, key, value;
    EXPECT(record_header_next(&rest, &key, &value));
    EXPECT_STR(key, STR("a"));
    EXPECT_STR(value, STR("1"));
    EXPECT(record_header_next(&rest, &key, &value));
    EXPECT_STR(key, STR("sc.mark"));
    EXPECT(value.ptr == NULL);
    EXPECT(!record_header_next(&rest, &key, &value));
    EXPECT_INT(record_header_put(block, 3, STR("a"), STR("1")), -1);
    struct str broken = {.ptr = block, .len = 2};
    EXPECT(!record_header_next(&broken, &key, &value));
}

/* Walks all records of a batch whose checks have passed; returns how many there were, -1 if it was refused. */
static int32_t walk(struct record_reader *reader, const void *bytes, ptrdiff_t total,
                    uint64_t *ret_sum)
{
    struct record record;
    int32_t count = 0;
    *ret_sum = 0;
    if (record_reader_begin(reader, bytes, total, NULL) != ERR_OK) {
        return -1;
    }
    for (;;) {
        enum err err = record_reader_next(reader, &record, NULL);
        if (err != ERR_OK) {
            return err == ERR_NOT_FOUND ? count : -1;
        }
        *ret_sum += hash64(record.key.ptr, record.key.len) +
                    hash64(record.value.ptr, record.value.len) + (uint64_t)record.timestamp_ms;
        struct str rest = record.headers, key, value;
        int32_t headers = 0;
        while (record_header_next(&rest, &key, &value)) {
            *ret_sum += hash64(value.ptr, value.len);
            headers++;
        }
        if (headers != record.header_count || rest.len != 0) {
            return -2; /* the reader let a malformed header block pass */
        }
        count++;
    }
}

/* Copies into a block of exactly `len` bytes, so that a sanitizer sees any step outside. */
static uint8_t *exact_copy(const void *bytes, ptrdiff_t len)
{
    uint8_t *copy = malloc((size_t)len);
    CHECK(copy != NULL);
    memcpy(copy, bytes, (size_t)len);
    return copy;
}

static void check_every_byte_mutated(enum record_codec codec)
{
    static struct sample sample;
    sample_fill(&sample, test_seed(), 12);
    struct record_builder builder;
    record_builder_init(&builder, codec);
    ptrdiff_t len;
    void *bytes = sample_build(&builder, &sample, &len);
    struct record_reader reader;
    record_reader_init(&reader);
    uint64_t sum, mutant_sum;
    EXPECT_INT(walk(&reader, bytes, len, &sum), 12);
    for (ptrdiff_t at = 0; at < len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t *mutant = exact_copy(bytes, len);
            mutant[at] ^= (uint8_t)(1 << bit);
            struct record_batch_header header;
            ptrdiff_t total;
            enum err err = record_batch_parse(mutant, len, &header, &total, NULL);
            if (err == ERR_OK) {
                err = record_batch_verify(mutant, total, NULL);
            }
            /* Only the base offset may differ unseen: the log knows which one it expects. */
            EXPECT_MSG(err != ERR_OK || at < 8, "byte %td bit %d went unseen", at, bit);
            if (err == ERR_OK) {
                EXPECT_INT(walk(&reader, mutant, total, &mutant_sum), 12);
                EXPECT(mutant_sum == sum);
            }
            free(mutant);
        }
    }
    record_reader_release(&reader);
    record_builder_release(&builder);
}

TEST(each_flipped_bit_is_seen)
{
    check_every_byte_mutated(RECORD_CODEC_NONE);
    check_every_byte_mutated(RECORD_CODEC_LZ4);
    check_every_byte_mutated(RECORD_CODEC_ZSTD);
}

static void fix_crc(uint8_t *bytes, ptrdiff_t len)
{
    uint32_t crc = crc32c(0, bytes + 21, len - 21);
    for (int i = 0; i < 4; i++) {
        bytes[17 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

/* Garbage with a good CRC: what a broken or hostile writer sends. Nothing may be read out of bounds (sanitizers), and
 * what is delivered is well formed. */
TEST(mutants_with_a_good_checksum_are_read_or_refused_but_never_break_the_reader)
{
    static struct sample sample;
    struct rng rng;
    rng_init(&rng, test_seed());
    struct record_reader reader;
    record_reader_init(&reader);
    struct record_builder builders[3];
    static const enum record_codec codecs[3] = {RECORD_CODEC_NONE, RECORD_CODEC_LZ4,
                                                RECORD_CODEC_ZSTD};
    for (int i = 0; i < 3; i++) {
        record_builder_init(&builders[i], codecs[i]);
    }
    int refused = 0, read = 0;
    for (int round = 0; round < 20000; round++) {
        struct record_builder *builder = &builders[round % 3];
        if (round % 300 < 3) {
            sample_fill(&sample, rng_u64(&rng), (int32_t)rng_range(&rng, 1, 30));
            ptrdiff_t len_now;
            IGNORE_RESULT(sample_build(builder, &sample, &len_now));
        }
        void *bytes;
        ptrdiff_t len;
        CHECK(record_builder_finish(builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
        ptrdiff_t cut = rng_chance(&rng, 0.1) ? rng_range(&rng, 61, len) : len;
        uint8_t *mutant = exact_copy(bytes, cut);
        for (int64_t changes = rng_range(&rng, 1, 4); changes > 0; changes--) {
            mutant[rng_range(&rng, rng_chance(&rng, 0.8) && cut > 61 ? 61 : 0, cut - 1)] =
                (uint8_t)(rng_chance(&rng, 0.5) ? rng_u64(&rng) : 0xff);
        }
        mutant[16] = 2;
        memset(mutant + 8, 0, 8);
        mutant[9] = (uint8_t)((cut - 12) >> 16);
        mutant[10] = (uint8_t)((cut - 12) >> 8);
        mutant[11] = (uint8_t)(cut - 12);
        fix_crc(mutant, cut);
        struct record_batch_header header;
        ptrdiff_t total;
        int32_t count = -1;
        uint64_t sum;
        if (record_batch_parse(mutant, cut, &header, &total, NULL) == ERR_OK) {
            EXPECT_INT(record_batch_verify(mutant, total, NULL), ERR_OK);
            count = walk(&reader, mutant, total, &sum);
        }
        EXPECT(count >= -1);
        *(count < 0 ? &refused : &read) += 1;
        free(mutant);
    }
    EXPECT_MSG(refused > 1000 && read > 1000, "%d refused, %d read", refused, read);
    for (int i = 0; i < 3; i++) {
        record_builder_release(&builders[i]);
    }
    record_reader_release(&reader);
}

/* Appends up to 60 records, mostly of one form: fixed lengths, times that rise, now and then something else. */
static void build_alike(struct record_builder *builder, struct rng *rng)
{
    static const char text[300] = "key and value";
    ptrdiff_t key_len = rng_range(rng, 0, 70), value_len = rng_range(rng, 0, 200);
    int64_t time = rng_range(rng, 0, 1000000), step = rng_range(rng, -3, 300);
    for (int64_t left = rng_range(rng, 1, 60); left > 0; left--) {
        struct record record = {.timestamp_ms = time,
                                .key = {.ptr = text, .len = key_len},
                                .value = {.ptr = text, .len = value_len}};
        if (rng_chance(rng, 0.05)) {
            record.key.ptr = rng_chance(rng, 0.5) ? NULL : text;
            record.key.len = 0;
        }
        if (rng_chance(rng, 0.05)) {
            record.value.len = rng_range(rng, 0, 300);
        }
        CHECK(record_builder_add(builder, &record) == ERR_OK);
        time += step + (rng_chance(rng, 0.05) ? rng_range(rng, -100000, 100000) : 0);
    }
}

/* Reads a batch one by one and many at once, and expects the same records and the same verdict. */
static void read_both_ways(struct record_reader *reader, const uint8_t *bytes, ptrdiff_t len,
                           bool *ret_read)
{
    enum { CAP = 64 };
    struct record one[CAP];
    int32_t count = 0;
    EXPECT_INT(record_reader_begin(reader, bytes, len, NULL), ERR_OK);
    enum err err = ERR_OK;
    while (count < CAP && err == ERR_OK) {
        err = record_reader_next(reader, &one[count], NULL);
        count += err == ERR_OK;
    }
    int64_t offset[CAP], timestamp[CAP];
    struct str key[CAP], value[CAP], headers[CAP];
    int32_t header_count[CAP];
    struct record_arrays arrays = {offset, timestamp, key, value, headers, header_count};
    EXPECT_INT(record_reader_begin(reader, bytes, len, NULL), ERR_OK);
    int32_t got = record_reader_next_many(reader, &arrays, CAP);
    EXPECT_INT(got, err == ERR_NOT_FOUND ? count : -1);
    for (int32_t i = 0; i < got; i++) {
        struct record many = {offset[i], timestamp[i], key[i],
                              value[i],  headers[i],   header_count[i]};
        EXPECT_INT(many.offset, one[i].offset);
        EXPECT(same_record(&many, &one[i]) && many.key.ptr == one[i].key.ptr &&
               many.value.ptr == one[i].value.ptr);
    }
    *ret_read = got >= 0;
}

/* Runs of records that are written alike are read by another path: it may not read anything the general one does not. */
TEST(records_written_alike_are_the_same_many_at_once_and_one_by_one)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    struct record_reader reader;
    record_reader_init(&reader);
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    int read = 0, refused = 0;
    for (int round = 0; round < 20000; round++) {
        record_builder_reset(&builder);
        build_alike(&builder, &rng);
        void *bytes;
        ptrdiff_t len;
        CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
        uint8_t *mutant = exact_copy(bytes, len);
        for (int64_t changes = rng_range(&rng, 0, 2); changes > 0; changes--) {
            uint8_t *at = &mutant[rng_range(&rng, 61, len - 1)];
            *at = (uint8_t)(rng_chance(&rng, 0.5) ? *at + rng_below(&rng, 3) : rng_u64(&rng));
        }
        fix_crc(mutant, len);
        bool is_read = false;
        read_both_ways(&reader, mutant, len, &is_read);
        *(is_read ? &read : &refused) += 1;
        free(mutant);
    }
    EXPECT_MSG(read > 1000 && refused > 1000, "%d read, %d refused", read, refused);
    record_builder_release(&builder);
    record_reader_release(&reader);
}

static uint8_t *one_record_batch(ptrdiff_t *ret_len)
{
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    struct record record = {.key = STR("key"), .value = STR("value")};
    CHECK(record_builder_add(&builder, &record) == ERR_OK);
    void *bytes;
    CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, ret_len, NULL) == ERR_OK);
    uint8_t *copy = exact_copy(bytes, *ret_len);
    record_builder_release(&builder);
    return copy;
}

static void put_be(uint8_t *at, int bytes, int64_t value)
{
    for (int i = 0; i < bytes; i++) {
        at[i] = (uint8_t)((uint64_t)value >> (8 * (bytes - 1 - i)));
    }
}

TEST(headers_that_cannot_be_are_refused)
{
    static const struct {
        const char *what;
        int at, bytes;
        int64_t value;
        enum err err;
    } cases[] = {
        {"negative base offset", 0, 8, -1, ERR_CORRUPT},
        {"offsets beyond 63 bits", 0, 8, INT64_MAX, ERR_CORRUPT},
        {"length below the header", 8, 4, 48, ERR_CORRUPT},
        {"negative length", 8, 4, -5, ERR_CORRUPT},
        {"length over the limit", 8, 4, LOG_BATCH_BYTES_MAX, ERR_CORRUPT},
        {"length beyond the bytes", 8, 4, 1000, ERR_LIMIT},
        {"leader epoch", 12, 4, 1, ERR_CORRUPT},
        {"magic 1", 16, 1, 1, ERR_CORRUPT},
        {"negative offset delta", 23, 4, -1, ERR_CORRUPT},
        {"negative record count", 57, 4, -1, ERR_CORRUPT},
        {"more records than offsets", 57, 4, 2, ERR_CORRUPT},
    };
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        ptrdiff_t len, total;
        uint8_t *bytes = one_record_batch(&len);
        put_be(bytes + cases[i].at, cases[i].bytes, cases[i].value);
        struct record_batch_header header;
        struct err_info info = {0};
        enum err err = record_batch_parse(bytes, len, &header, &total, &info);
        EXPECT_MSG(err == cases[i].err, "%s: %s", cases[i].what, err_name(err));
        EXPECT(info.code == err && info.text[0] != 0);
        free(bytes);
    }
    uint8_t short_one[60] = {0};
    struct record_batch_header header;
    ptrdiff_t total;
    EXPECT_INT(record_batch_parse(short_one, 60, &header, &total, NULL), ERR_LIMIT);
}

TEST(record_batch_header_is_told_though_its_batch_goes_on_behind_the_bytes)
{
    ptrdiff_t len, total = 0;
    uint8_t *bytes = one_record_batch(&len);
    record_batch_set_base_offset(bytes, 77);
    struct record_batch_header header = {0};
    EXPECT_INT(record_batch_parse(bytes, RECORD_BATCH_HEADER, &header, &total, NULL), ERR_LIMIT);
    EXPECT(header.base_offset == 77 && header.record_count == 1 && total == len);
    free(bytes);
}

TEST(record_count_is_bounded_by_the_bytes_that_could_hold_them)
{
    ptrdiff_t len, total;
    uint8_t *bytes = one_record_batch(&len);
    put_be(bytes + 23, 4, INT32_MAX);
    put_be(bytes + 57, 4, INT32_MAX);
    struct record_batch_header header;
    EXPECT_INT(record_batch_parse(bytes, len, &header, &total, NULL), ERR_CORRUPT);
    free(bytes);
}

TEST(new_batch_is_taken_only_whole_and_sound)
{
    static const struct {
        const char *what;
        int at, bytes;
        int64_t value;
        enum err err;
    } cases[] = {
        {"sound", 0, 8, 0, ERR_OK},
        {"longer than its bytes", 8, 4, 200, ERR_CORRUPT},
        {"gzip", 21, 2, 1, ERR_UNSUPPORTED},
        {"snappy", 21, 2, 2, ERR_UNSUPPORTED},
        {"transactional", 21, 2, 16, ERR_UNSUPPORTED},
        {"control", 21, 2, 32, ERR_UNSUPPORTED},
        {"holes between offsets", 23, 4, 5, ERR_CORRUPT},
        {"no record", 57, 4, 0, ERR_CORRUPT},
    };
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        ptrdiff_t len;
        uint8_t *bytes = one_record_batch(&len);
        put_be(bytes + cases[i].at, cases[i].bytes, cases[i].value);
        fix_crc(bytes, len);
        struct record_batch_header header;
        enum err err = record_batch_check_new(bytes, len, &header, NULL);
        EXPECT_MSG(err == cases[i].err, "%s: %s", cases[i].what, err_name(err));
        free(bytes);
    }
    ptrdiff_t len;
    uint8_t *bytes = one_record_batch(&len);
    struct record_batch_header header;
    bytes[len - 1] ^= 1;
    EXPECT_INT(record_batch_check_new(bytes, len, &header, NULL), ERR_CORRUPT);
    bytes[len - 1] ^= 1;
    EXPECT_INT(record_batch_check_new(bytes, len - 1, &header, NULL), ERR_CORRUPT);
    EXPECT_INT(record_batch_check_new(bytes, 10, &header, NULL), ERR_CORRUPT);
    free(bytes);
}

/* Puts `len` zero bytes, compressed, behind a header that claims one record. */
static uint8_t *bomb(enum record_codec codec, ptrdiff_t zeros, ptrdiff_t *ret_len)
{
    uint8_t *raw = mem_new(RECORD_BATCH_HEADER + zeros, 1);
    struct record_deflater *deflater = record_deflater_new();
    uint8_t *packed = record_deflate(deflater, codec, raw, RECORD_BATCH_HEADER + zeros,
                                     RECORD_BATCH_HEADER, ret_len);
    ptrdiff_t header_len;
    uint8_t *header = one_record_batch(&header_len);
    memcpy(packed, header, RECORD_BATCH_HEADER);
    put_be(packed + 8, 4, *ret_len - 12);
    put_be(packed + 21, 2, codec);
    fix_crc(packed, *ret_len);
    uint8_t *copy = exact_copy(packed, *ret_len);
    free(header);
    mem_free(raw);
    record_deflater_free(deflater);
    return copy;
}

TEST(compression_bombs_are_refused)
{
    ptrdiff_t limit = 8 * (ptrdiff_t)LOG_BATCH_BYTES_MAX;
    for (int codec = RECORD_CODEC_LZ4; codec <= RECORD_CODEC_ZSTD; codec++) {
        ptrdiff_t len;
        struct record_reader reader;
        record_reader_init(&reader);
        uint8_t *bytes = bomb((enum record_codec)codec, limit + 1, &len);
        EXPECT_MSG(len < limit / 100, "%td bytes", len);
        EXPECT_INT(record_reader_begin(&reader, bytes, len, NULL), ERR_LIMIT);
        EXPECT(reader.inflated_cap <= limit);
        free(bytes);
        bytes = bomb((enum record_codec)codec, limit, &len);
        EXPECT_INT(record_reader_begin(&reader, bytes, len, NULL), ERR_OK);
        struct record record;
        EXPECT_INT(record_reader_next(&reader, &record, NULL),
                   ERR_CORRUPT); /* zeros are no record */
        EXPECT_INT(record_reader_next(&reader, &record, NULL), ERR_CORRUPT);
        int64_t offset[1], timestamp[1];
        struct str key[1], value[1];
        struct record_arrays arrays = {offset, timestamp, key, value, NULL, NULL};
        EXPECT_INT(record_reader_next_many(&reader, &arrays, 1), -1);
        free(bytes);
        record_reader_release(&reader);
    }
}

/* A frame may keep its size to itself or lie about it. */
TEST(lz4_bomb_that_understates_its_size_is_refused)
{
    ptrdiff_t len;
    uint8_t *bytes = bomb(RECORD_CODEC_LZ4, 9 * (ptrdiff_t)LOG_BATCH_BYTES_MAX, &len);
    memset(bytes + 61 + 6, 0,
           8); /* stated size 0; the frame header's own checksum no longer holds either */
    fix_crc(bytes, len);
    struct record_reader reader;
    record_reader_init(&reader);
    EXPECT_INT(record_reader_begin(&reader, bytes, len, NULL), ERR_CORRUPT);
    record_reader_release(&reader);
    free(bytes);
}

TEST(inflater_grows_to_what_an_unstated_size_needs)
{
    /* A zstd frame written by hand, which does not state its size. */
    static const uint8_t run_of_sevens[] = {
        0x28, 0xb5, 0x2f, 0xfd, /* magic */
        0x00, 0x58,             /* no size, window 2 MiB */
        0x03, 0x00, 0x08, 0x07, /* last block, run length 65536 of 7 */
    };
    enum { N = 65536 };
    struct str frame = {.ptr = (const char *)run_of_sevens, .len = (ptrdiff_t)sizeof run_of_sevens};
    struct record_inflater *inflater = record_inflater_new();
    uint8_t *to = mem_new(N, 1);
    ptrdiff_t done;
    EXPECT_INT(record_inflate(inflater, RECORD_CODEC_ZSTD, frame, to, N - 1, &done, NULL),
               ERR_LIMIT);
    EXPECT_INT(record_inflate(inflater, RECORD_CODEC_ZSTD, frame, to, N, &done, NULL), ERR_OK);
    EXPECT_INT(done, N);
    EXPECT_INT(to[N - 1], 7);
    mem_free(to);
    record_inflater_free(inflater);
}

TEST(builder_refuses_what_does_not_fit_and_goes_on)
{
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    void *bytes;
    ptrdiff_t len;
    EXPECT_INT(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL),
               ERR_INVALID);
    char *large = mem_new(LOG_BATCH_BYTES_MAX + 1, 1);
    struct record record = {.value = {.ptr = large, .len = LOG_BATCH_BYTES_MAX}};
    EXPECT_INT(record_builder_add(&builder, &record), ERR_LIMIT);
    record.value.len = LOG_BATCH_BYTES_MAX / 2;
    EXPECT_INT(record_builder_add(&builder, &record), ERR_OK);
    EXPECT_INT(record_builder_add(&builder, &record), ERR_LIMIT);
    EXPECT_INT(builder.count, 1);
    /* To the last byte: record overhead is 4 (length) + 1 + 1 + 1 + 1 + 4 (value's length) + 1. */
    record.value.len = LOG_BATCH_BYTES_MAX - builder.len - 13;
    EXPECT_INT(record_builder_add(&builder, &record), ERR_OK);
    EXPECT_INT(builder.len, LOG_BATCH_BYTES_MAX);
    EXPECT_INT(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL), ERR_OK);
    struct record_batch_header header;
    EXPECT_INT(record_batch_check_new(bytes, len, &header, NULL), ERR_OK);
    EXPECT_INT(header.record_count, 2);
    struct record many_headers = {.header_count = RECORD_HEADERS_MAX + 1};
    record_builder_reset(&builder);
    EXPECT_INT(record_builder_add(&builder, &many_headers), ERR_LIMIT);
    mem_free(large);
    record_builder_release(&builder);
}

TEST(buffers_are_kept_from_batch_to_batch)
{
    static struct sample sample;
    for (int codec = RECORD_CODEC_LZ4; codec <= RECORD_CODEC_ZSTD; codec++) {
        struct record_builder builder;
        record_builder_init(&builder, (enum record_codec)codec);
        struct record_reader reader;
        record_reader_init(&reader);
        void *first_bytes = NULL, *first_inflated = NULL;
        for (int round = 0; round < 20; round++) {
            sample_fill(&sample, (uint64_t)round, round == 0 ? SAMPLE_MAX : 300);
            ptrdiff_t len;
            uint64_t sum;
            void *bytes = sample_build(&builder, &sample, &len);
            EXPECT_INT(walk(&reader, bytes, len, &sum), sample.count);
            if (round == 0) {
                first_bytes = bytes;
                first_inflated = reader.inflated;
            }
            EXPECT(bytes == first_bytes && reader.inflated == first_inflated);
        }
        record_reader_release(&reader);
        record_builder_release(&builder);
    }
}

TEST(log_append_time_stands_for_all_records)
{
    ptrdiff_t len;
    uint8_t *bytes = one_record_batch(&len);
    put_be(bytes + 21, 2, 8);
    put_be(bytes + 35, 8, 777);
    fix_crc(bytes, len);
    struct record_reader reader;
    record_reader_init(&reader);
    struct record record;
    EXPECT_INT(record_reader_begin(&reader, bytes, len, NULL), ERR_OK);
    EXPECT_INT(record_reader_next(&reader, &record, NULL), ERR_OK);
    EXPECT_INT(record.timestamp_ms, 777);
    record_reader_release(&reader);
    free(bytes);
}

TEST(compacted_batch_keeps_its_offsets)
{
    /* Two records of which the middle offsets are gone: deltas 1 and 4 of 0..5. */
    uint8_t bytes[61 + 18] = {0};
    ptrdiff_t len;
    uint8_t *one = one_record_batch(&len);
    memcpy(bytes, one, 61);
    static const uint8_t records[18] = {16, 0, 0, 2, 2, 'a', 2, 'b', 0,
                                        16, 0, 0, 8, 2, 'c', 2, 'd', 0};
    memcpy(bytes + 61, records, sizeof records);
    put_be(bytes, 8, 100);
    put_be(bytes + 8, 4, (int64_t)sizeof bytes - 12);
    put_be(bytes + 23, 4, 5);
    put_be(bytes + 57, 4, 2);
    fix_crc(bytes, sizeof bytes);
    struct record_reader reader;
    record_reader_init(&reader);
    int64_t offset[4];
    int64_t timestamp[4];
    struct str key[4], value[4];
    struct record_arrays arrays = {offset, timestamp, key, value, NULL, NULL};
    EXPECT_INT(record_reader_begin(&reader, bytes, sizeof bytes, NULL), ERR_OK);
    EXPECT_INT(record_reader_next_many(&reader, &arrays, 4), 2);
    EXPECT_INT(offset[0], 101);
    EXPECT_INT(offset[1], 104);
    bytes[61 + 9 + 3] = 2; /* the same offset again: an order that cannot be */
    fix_crc(bytes, sizeof bytes);
    EXPECT_INT(record_reader_begin(&reader, bytes, sizeof bytes, NULL), ERR_OK);
    EXPECT_INT(record_reader_next_many(&reader, &arrays, 4), -1);
    record_reader_release(&reader);
    free(one);
}

TEST(inflated_values_may_be_read_a_little_past_their_end)
{
    /* The frame states its size, so the buffer is exactly that large, and the last value ends where it ends. */
    static char text[5000];
    memset(text, 'v', sizeof text);
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_ZSTD);
    struct record record = {.value = {.ptr = text, .len = sizeof text}};
    CHECK(record_builder_add(&builder, &record) == ERR_OK);
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    struct record_reader reader;
    record_reader_init(&reader);
    EXPECT_INT(record_reader_begin(&reader, bytes, len, NULL), ERR_OK);
    EXPECT_INT(record_reader_next(&reader, &record, NULL), ERR_OK);
    EXPECT(record.value.ptr >= (const char *)reader.inflated &&
           record.value.ptr < (const char *)reader.inflated + reader.inflated_cap);
    volatile char sum = 0; /* a sanitizer would see a step outside */
    for (ptrdiff_t i = 0; i < RECORD_READ_PADDING; i++) {
        sum = (char)(sum + record.value.ptr[record.value.len + i]);
    }
    record_reader_release(&reader);
    record_builder_release(&builder);
}

/* Three batches of two records each, one behind another, as a read gives them. Returns the length of all. */
static ptrdiff_t three_batches(char buf[1024], ptrdiff_t *ret_one)
{
    struct record_builder builder;
    ptrdiff_t used = 0;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    for (int64_t i = 0; i < 3; i++) {
        void *bytes;
        record_builder_reset(&builder);
        for (int64_t k = 0; k < 2; k++) {
            struct record record = {.timestamp_ms = 10 * i + k, .value = STR("value")};
            CHECK(record_builder_add(&builder, &record) == ERR_OK);
        }
        CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, ret_one, NULL) ==
                  ERR_OK &&
              used + *ret_one <= 1024);
        record_batch_set_base_offset(bytes, 2 * i);
        memcpy(buf + used, bytes, (size_t)*ret_one);
        used += *ret_one;
    }
    record_builder_release(&builder);
    return used;
}

TEST(a_walk_gives_all_records_and_goes_on_behind_a_damaged_batch)
{
    char buf[1024];
    ptrdiff_t one, len = three_batches(buf, &one);
    struct record_reader reader;
    struct record record;
    record_reader_init(&reader);
    struct record_walk walk = record_walk_of(&reader, buf, len);
    for (int64_t offset = 0; offset < 6; offset++) {
        EXPECT_INT(record_walk_next(&walk, &record, NULL), ERR_OK);
        EXPECT_INT(record.offset, offset);
        EXPECT_INT(record.timestamp_ms, 10 * (offset / 2) + offset % 2);
    }
    EXPECT_INT(record_walk_next(&walk, &record, NULL), ERR_NOT_FOUND);
    EXPECT_INT(record_walk_next(&walk, &record, NULL), ERR_NOT_FOUND);

    buf[2 * one - 1] ^= 1; /* the second one's CRC does not hold */
    walk = record_walk_of(&reader, buf, len);
    static const int64_t left[] = {0, 1, -1, 4, 5};
    for (ptrdiff_t i = 0; i < COUNT_OF(left); i++) {
        EXPECT_INT(record_walk_next(&walk, &record, NULL), left[i] < 0 ? ERR_CORRUPT : ERR_OK);
        EXPECT(left[i] < 0 || record.offset == left[i]);
    }
    EXPECT_INT(record_walk_next(&walk, &record, NULL), ERR_NOT_FOUND);

    walk = record_walk_of(&reader, buf + 2 * one, one - 1); /* its end is missing */
    EXPECT_INT(record_walk_next(&walk, &record, NULL), ERR_LIMIT);
    EXPECT_INT(record_walk_next(&walk, &record, NULL), ERR_NOT_FOUND);
    record_reader_release(&reader);
}
