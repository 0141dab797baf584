// SPDX-License-Identifier: Apache-2.0
#include "node/view.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "node/decode.h"
#include "test.h"

/* Views over decoded batches: the same rows, stamps and watermark wherever reads, batches and slices are cut. */

enum { ROWS = 3000 };

struct source {
    struct record_builder builder;
    char keys[64][8];
    int64_t time_ms[ROWS];
    int32_t key[ROWS];
    int64_t out_of_order_ms;
};

static void source_init(struct source *source, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    record_builder_init(&source->builder, seed % 2 == 0 ? RECORD_CODEC_NONE : RECORD_CODEC_ZSTD);
    source->out_of_order_ms = 20;
    int64_t now = 1000;
    for (int i = 0; i < 64; i++) {
        IGNORE_RESULT(snprintf(source->keys[i], 8, "k%d", i % 64)); /* fits */
    }
    for (int i = 0; i < ROWS; i++) {
        now += rng_range(&rng, 0, 10);
        source->time_ms[i] = now - rng_range(&rng, 0, 60);
        source->key[i] = (int32_t)rng_below(&rng, 64);
    }
}

/* Puts rows [from, to) into the cache, as one read of several batches. */
static void put(struct source *source, struct decode_cache *cache, struct decode_shard *shard,
                int32_t from, int32_t to)
{
    void *buf;
    struct decoded *entry = decode_begin(cache, 1 << 20, &buf);
    ptrdiff_t len = 0;
    for (int32_t at = from; at < to;) {
        int32_t end = at + 1 + (at * 7) % 300;
        end = end < to ? end : to;
        record_builder_reset(&source->builder);
        for (int32_t i = at; i < end; i++) {
            struct record record = {.key = str_of(source->keys[source->key[i]]),
                                    .value = STR("v"),
                                    .timestamp_ms = source->time_ms[i]};
            CHECK(record_builder_add(&source->builder, &record) == ERR_OK);
        }
        void *bytes;
        ptrdiff_t bytes_len;
        CHECK(record_builder_finish(&source->builder, RECORD_PRODUCER_NONE, &bytes, &bytes_len,
                                    NULL) == ERR_OK);
        memcpy((char *)buf + len, bytes, (size_t)bytes_len);
        record_batch_set_base_offset((char *)buf + len, at);
        len += bytes_len;
        at = end;
    }
    CHECK(decode_put(cache, shard, entry, len, from, to, NULL) == ERR_OK);
}

struct seen {
    int32_t row;
    int64_t stamp_ms;
};

/* Runs a view over all rows with the given cuts; returns how many rows were its own. */
static int32_t run_view(struct source *source, const struct view_options *options,
                        int32_t read_rows, int32_t batch_rows, struct seen *seen,
                        int64_t *ret_watermark)
{
    struct decode_cache cache;
    struct decode_shard shard = {0};
    struct decode_rules rules = {0};
    decode_cache_init(&cache, 4 << 20);
    struct view view;
    view_init(&view, options, (struct position_map){0});
    struct arena arena;
    arena_init(&arena, 8 << 20);
    int32_t count = 0;
    while (view.position.next_offset < ROWS) {
        const struct rows *rows;
        CHECK(decode_rows(&cache, &shard, &rules, view.position.next_offset, &rows, NULL) ==
              ERR_OK);
        if (rows == NULL) {
            int32_t from = (int32_t)view.position.next_offset;
            put(source, &cache, &shard, from, from + read_rows < ROWS ? from + read_rows : ROWS);
            continue;
        }
        struct view_slice slice;
        view_take(&view, rows, batch_rows, 1 << 20, &arena, &slice);
        for (int32_t i = 0; slice.batch != NULL && i < slice.batch->sel_count; i++) {
            int32_t at = slice.batch->sel[i];
            CHECK(slice.batch->hash[at] ==
                  hash64(slice.batch->key[at].ptr, slice.batch->key[at].len));
            seen[count++] = (struct seen){
                .row = (int32_t)slice.batch->time_ms[at],
                .stamp_ms = slice.batch->stamp_ms != NULL ? slice.batch->stamp_ms[at] : STAMP_NONE};
        }
        arena_reset(&arena);
    }
    bool idle;
    *ret_watermark = view_watermark(&view, &idle);
    view_release(&view);
    decode_forget(&cache, &shard);
    decode_cache_release(&cache);
    arena_release(&arena);
    return count;
}

TEST(borders_of_reads_and_batches_change_nothing_for_a_view)
{
    for (uint64_t seed = test_seed(); seed < test_seed() + 4; seed++) {
        static struct source source;
        static struct seen first[ROWS], other[ROWS];
        struct sampler half;
        sampler_init(&half, &(struct shadow_sample){.below = SAMPLE_BUCKETS / 2});
        source_init(&source, seed);
        struct view_options options = {.group_lo = 1000,
                                       .group_hi = seed % 2 == 0 ? 4096 : 2500,
                                       .sampler = &half,
                                       .out_of_order_ms = 20};
        int64_t watermark, again;
        int32_t count = run_view(&source, &options, ROWS, 1024, first, &watermark);
        EXPECT(count > 100);
        static const int32_t cuts[][2] = {{1, 1}, {7, 3}, {100, 1024}, {1000, 10}, {999, 1000}};
        for (ptrdiff_t i = 0; i < COUNT_OF(cuts); i++) {
            EXPECT_INT(run_view(&source, &options, cuts[i][0], cuts[i][1], other, &again), count);
            EXPECT_INT(again, watermark);
            EXPECT(memcmp(first, other, (size_t)count * sizeof(first[0])) == 0);
        }
        record_builder_release(&source.builder);
    }
}

TEST(stamp_is_the_watermark_that_stood_before_the_row)
{
    static struct source source;
    static struct seen seen[ROWS];
    source_init(&source, test_seed());
    struct view_options options = {.group_hi = KEY_GROUP_COUNT, .out_of_order_ms = 20};
    int64_t watermark;
    EXPECT_INT(run_view(&source, &options, ROWS, 1024, seen, &watermark), ROWS);
    int64_t largest = INT64_MIN;
    int32_t stamped = 0;
    for (int32_t i = 0; i < ROWS; i++) {
        int64_t low = largest == INT64_MIN ? INT64_MIN : largest - 20;
        EXPECT_INT(seen[i].stamp_ms, source.time_ms[i] < low ? low : STAMP_NONE);
        stamped += seen[i].stamp_ms != STAMP_NONE;
        largest = source.time_ms[i] > largest ? source.time_ms[i] : largest;
    }
    EXPECT(stamped > 10);
    EXPECT_INT(watermark, largest - 20);
    record_builder_release(&source.builder);
}

TEST(batch_of_very_many_records_is_decoded_in_windows)
{
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_ZSTD);
    record_builder_reset(&builder);
    enum { MANY = 3 * DECODE_ROWS_MAX + 5 };
    for (int32_t i = 0; i < MANY; i++) {
        struct record record = {.key = STR("k"), .value = STR(""), .timestamp_ms = i};
        EXPECT(record_builder_add(&builder, &record) == ERR_OK);
    }
    void *bytes, *buf;
    ptrdiff_t len;
    EXPECT(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    struct decode_cache cache;
    struct decode_shard shard = {0};
    struct decode_rules rules = {0};
    decode_cache_init(&cache, 8 << 20);
    struct decoded *entry = decode_begin(&cache, len, &buf);
    memcpy(buf, bytes, (size_t)len);
    record_batch_set_base_offset(buf, 100);
    EXPECT(decode_put(&cache, &shard, entry, len, 90, 100 + MANY + 3, NULL) == ERR_OK);
    static const int64_t places[] = {
        0, 90, 100, 100 + DECODE_ROWS_MAX, 100 + MANY - 1, 101, 100 + MANY + 2};
    for (ptrdiff_t i = 1; i < COUNT_OF(places); i++) {
        const struct rows *rows;
        EXPECT(decode_rows(&cache, &shard, &rules, places[i], &rows, NULL) == ERR_OK &&
               rows != NULL);
        EXPECT(rows->first_offset <= places[i] && places[i] < rows->next_offset);
        EXPECT(rows->count <= DECODE_ROWS_MAX);
        int32_t row = rows_from(rows, places[i]);
        EXPECT(row == rows->count || rows->time_ms[row] == rows->offset[row] - 100);
    }
    decode_forget(&cache, &shard);
    decode_cache_release(&cache);
    record_builder_release(&builder);
}

/* A partition that has read is merged with one that has not, and moved before the cursor goes on: nothing that was processed comes
 * again (the simulator: layout, memory, seed 363). */
TEST(groups_that_stand_ahead_of_a_cursor_that_has_read_nothing_keep_their_positions)
{
    struct view_options options = {.group_lo = 100, .group_hi = 300};
    struct position_map from = {0}, to = {0};
    struct position ahead = POSITION_START;
    struct view view;
    ahead.next_offset = 7;
    position_map_put(&from, 100, 200, POSITION_START);
    position_map_put(&from, 200, 300, ahead);
    view_init(&view, &options, from);
    EXPECT(view.fresh);
    view_positions(&view, &to);
    EXPECT_INT(to.count, 2);
    EXPECT_INT(to.segments[0].position.next_offset, 0);
    EXPECT_INT(to.segments[1].group_lo, 200);
    EXPECT_INT(to.segments[1].group_hi, 300);
    EXPECT_INT(to.segments[1].position.next_offset, 7);
    position_map_release(&to);
    view_begin_at(&view, 5); /* where the shard begins by now */
    view_positions(&view, &to);
    EXPECT_INT(to.count, 2);
    EXPECT_INT(to.segments[0].position.next_offset, 0);
    EXPECT_INT(to.segments[1].position.next_offset, 7);
    position_map_release(&to);
    view_release(&view);
}
