// SPDX-License-Identifier: Apache-2.0
// The cache of decoded batches: what is kept, what is given back, how much is read next.

#include <string.h>

#include "base/mem.h"
#include "log/log.h"
#include "node/decode.h"
#include "test.h"

enum { READ_BYTES = 64 << 10, RECORDS = 10 };

struct fixture {
    struct decode_cache cache;
    struct decode_shard shard;
    struct record_builder builder;
    const void *buf; /* that was read into last */
    ptrdiff_t batch_bytes;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.buf = NULL};
    decode_cache_init(&f->cache, 1 << 20);
    record_builder_init(&f->builder, RECORD_CODEC_NONE);
}

static void end(struct fixture *f)
{
    decode_forget(&f->cache, &f->shard);
    decode_cache_release(&f->cache);
    record_builder_release(&f->builder);
}

/* An entry of one batch of RECORDS records with values of `value_bytes`, from `offset` on. */
static const struct decoded *read_at(struct fixture *f, int64_t offset, ptrdiff_t value_bytes)
{
    void *buf;
    void *bytes;
    ptrdiff_t len;
    char *value = mem_new(value_bytes, 1);
    record_builder_reset(&f->builder);
    for (int i = 0; i < RECORDS; i++) {
        struct record record = {.timestamp_ms = i, .value = {value, value_bytes}};
        CHECK(record_builder_add(&f->builder, &record) == ERR_OK);
    }
    mem_free(value);
    CHECK(record_builder_finish(&f->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    record_batch_set_base_offset(bytes, offset);
    struct decoded *entry = decode_begin(&f->cache, READ_BYTES, &buf);
    CHECK(len <= READ_BYTES);
    memcpy(buf, bytes, (size_t)len);
    f->buf = buf;
    f->batch_bytes = len;
    CHECK(decode_put(&f->cache, &f->shard, entry, len, offset, offset + RECORDS, NULL) == ERR_OK);
    return entry;
}

static bool holds(struct fixture *f, int64_t offset)
{
    const struct rows *rows;
    struct decode_rules rules = {.internal = false};
    CHECK(decode_rows(&f->cache, &f->shard, &rules, offset, &rows, NULL) == ERR_OK);
    return rows != NULL;
}

TEST(decode_gives_back_what_all_have_passed_and_reads_into_it)
{
    struct fixture f;
    begin(&f);
    IGNORE_RESULT(read_at(&f, 0, 100));
    const void *first = f.buf;
    IGNORE_RESULT(read_at(&f, RECORDS, 100));
    EXPECT(f.buf != first);
    decode_passed(&f.cache, &f.shard, RECORDS - 1); // somebody still wants its last record
    EXPECT(holds(&f, 0));
    decode_passed(&f.cache, &f.shard, RECORDS);
    EXPECT(!holds(&f, 0));
    EXPECT(holds(&f, RECORDS));
    IGNORE_RESULT(read_at(&f, 2 * RECORDS, 100));
    EXPECT(f.buf == first);
    EXPECT(holds(&f, RECORDS));
    end(&f);
}

TEST(decode_next_read_is_of_whole_batches)
{
    struct fixture f;
    begin(&f);
    const struct decoded *small = read_at(&f, 0, 100);
    int64_t batch = f.batch_bytes;
    EXPECT(decode_next_read_bytes(small, 10 * batch + 1) == 10 * batch);
    EXPECT(decode_next_read_bytes(small, batch) == 2 * batch);
    const struct decoded *large = read_at(&f, RECORDS, 5000); /* few of these are no window */
    EXPECT(decode_next_read_bytes(large, INT64_C(1) << 40) == LOG_BATCH_BYTES_MAX);
    end(&f);
}

/* What a lane that lags reads is many batches at once. Views that take turns at them are not to decode them once each. */
TEST(decode_entry_is_a_window_however_much_was_read)
{
    enum { BATCHES = 2 * DECODE_INFLATED_MAX + 3 };
    struct decode_cache cache;
    struct decode_shard shard = {0};
    struct decode_rules rules = {0};
    struct record_builder builder;
    void *bytes, *buf;
    ptrdiff_t len = 0, at = 0;
    decode_cache_init(&cache, 8 << 20);
    record_builder_init(&builder, RECORD_CODEC_LZ4);
    struct decoded *entry = decode_begin(&cache, 256 << 10, &buf);
    for (int64_t b = 0; b < BATCHES; b++) {
        record_builder_reset(&builder);
        for (int i = 0; i < RECORDS; i++) {
            struct record record = {.timestamp_ms = i, .value = STR("a value that is long enough")};
            CHECK(record_builder_add(&builder, &record) == ERR_OK);
        }
        CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
        record_batch_set_base_offset(bytes, b * RECORDS);
        memcpy((char *)buf + at, bytes, (size_t)len);
        at += len;
    }
    CHECK(decode_put(&cache, &shard, entry, at, 0, BATCHES * RECORDS, NULL) == ERR_OK);
    const int64_t end = DECODE_INFLATED_MAX * RECORDS;
    const struct rows *rows = NULL, *first = NULL;
    for (int turn = 0; turn < 4; turn++) { /* one is at the beginning, one at the end */
        CHECK(decode_rows(&cache, &shard, &rules, turn % 2 == 0 ? 0 : end - 1, &rows, NULL) ==
              ERR_OK);
        first = first == NULL ? rows : first;
        EXPECT(rows == first && rows->first_offset == 0 && rows->next_offset == end);
    }
    EXPECT_INT(cache.hits, 3);
    CHECK(decode_rows(&cache, &shard, &rules, end, &rows, NULL) == ERR_OK);
    EXPECT(rows == NULL); /* is read again */
    int64_t next = decode_next_read_bytes(entry, 256 << 10);
    EXPECT_MSG(next <= DECODE_INFLATED_MAX * len && next > (DECODE_INFLATED_MAX - 2) * len,
               "%lld bytes, a batch has %td", (long long)next, len);
    decode_forget(&cache, &shard);
    decode_cache_release(&cache);
    record_builder_release(&builder);
}
