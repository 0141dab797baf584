// SPDX-License-Identifier: Apache-2.0
// What a stage need not write because the next one's window takes only the best.

#include "pipeline/contest.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "chain_fixture.h"
#include "test.h"

enum { ROWS = 200 };

/* ROWS rows of three users, JSON on one line; numbers repeat, so that there are ties, and every seventh has none. */
static struct batch *some_rows(struct fixture *fixture)
{
    struct str values[ROWS];
    for (int32_t i = 0; i < ROWS; i++) {
        int32_t n = i * 37 % 19;
        values[i] = str_of(
            i % 7 == 6 ? arena_printf(&fixture->rows, "{\"user\":\"u%d\"}", i % 3)
                       : arena_printf(&fixture->rows, "{\"user\":\"u%d\",\"n\":%d}", i % 3, n));
    }
    return fixture_batch(fixture, values, ROWS);
}

static const char *const MAP = "{map: {set: {m: n * 2, f: cast(n as float)}}},";

static const char *two_stages(struct arena *arena, const char *map, const char *window,
                              const char *more)
{
    return arena_printf(
        arena,
        "version: 1\nstreams: {in: {shards: 1}, out: {shards: 1}, out2: {shards: 1}}\n"
        "pipelines:\n  p:\n    stages:\n"
        "      - {name: a, from: in, chain: [{parse: {fields: {user: string, 'n': i64}}}, %s "
        "{key_by: {key: user, shards: 1}}]}\n"
        "      - {name: b, from: a, to: out, chain: [{window: {%s}}]}\n%s",
        map, window, more);
}

/* Rows that stage a writes of ROWS. */
static int32_t written_behind(const char *map, const char *window, const char *more)
{
    struct arena arena;
    struct fixture fixture;
    arena_init(&arena, 1 << 20);
    bool opened = fixture_open(&fixture, two_stages(&arena, map, window, more), 0);
    CHECK_MSG(opened, "%s", fixture.info.text);
    struct batch *batch = some_rows(&fixture);
    CHECK(chain_process(fixture.chain, 0, batch, fixture.out, NULL) == ERR_OK);
    int32_t count = fixture_count(&fixture, OUTPUT_MAIN);
    fixture_close(&fixture);
    arena_release(&arena);
    return count;
}

static int32_t written(const char *window, const char *more)
{
    return written_behind(MAP, window, more);
}

/* Rows of some_rows() that have none, or of which no other one of their user and step of time has more (or less). */
static int32_t best_rows(int64_t step, bool least)
{
    int32_t count = 0;
    for (int32_t i = 0; i < ROWS; i++) {
        bool surpassed = false;
        for (int32_t k = 0; k < ROWS; k++) {
            int32_t a = i * 37 % 19;
            int32_t b = k * 37 % 19;
            bool together = i % 3 == k % 3 && (1000 + i) / step == (1000 + k) / step;
            surpassed = surpassed || (together && k % 7 != 6 && (least ? b < a : b > a));
        }
        count += i % 7 == 6 || !surpassed;
    }
    return count;
}

TEST(rows_that_another_surpasses_are_not_written)
{
    EXPECT_INT(written("tumbling: 10s, out: {x: {max: m}}", ""), best_rows(10000, false));
    EXPECT_INT(written("tumbling: 10s, out: {x: {min: n}}", ""), best_rows(10000, true));
    EXPECT_INT(written("tumbling: 100ms, out: {x: {max: n}}", ""), best_rows(100, false));
    EXPECT_INT(written("hopping: {size: 100ms, slide: 40ms}, out: {x: {max: n}}", ""),
               best_rows(20, false));
    EXPECT_INT(written("tumbling: 10s, out: {x: {top: {of: n, ties: all, fields: [f]}}}", ""),
               best_rows(10000, false));
}

TEST(rows_that_pass_on_as_they_came_are_told_apart_as_well)
{
    EXPECT_INT(written_behind("", "tumbling: 10s, out: {x: {max: n}}", ""),
               best_rows(10000, false));
}

TEST(all_rows_are_written_where_others_count_too)
{
    EXPECT_INT(written("tumbling: 10s, out: {x: count}", ""), ROWS);
    EXPECT_INT(written("tumbling: 10s, out: {x: {max: m}, y: count}", ""), ROWS);
    EXPECT_INT(written("tumbling: 10s, out: {x: {top: {of: n, n: 2, fields: [f]}}}", ""), ROWS);
    EXPECT_INT(written("tumbling: 10s, out: {x: {max: f}}", ""), ROWS);
    EXPECT_INT(written("tumbling: 10s, out: {x: {max: n + m}}", ""), ROWS);
    EXPECT_INT(written("session: {gap: 10s}, out: {x: {max: n}}", ""), ROWS);
    EXPECT_INT(written("tumbling: 10s, out: {x: {max: m}}",
                       "      - {name: c, from: a, to: out2, chain: [{window: {tumbling: 10s, out: "
                       "{x: {max: m}}}}]}\n"),
               ROWS);
}

TEST(rows_with_stamps_all_go_on)
{
    static struct contest_rows rows;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct batch *batch = batch_new(&arena, ROWS);
    batch_add_column(batch, VALUE_I64, false);
    batch->count = batch->sel_count = ROWS;
    int64_t *stamps = arena_new_raw(&arena, ROWS, (ptrdiff_t)sizeof *stamps);
    for (int32_t i = 0; i < ROWS; i++) {
        batch->key[i] = STR("k");
        batch->hash[i] = hash64("k", 1);
        batch->time_ms[i] = i;
        stamps[i] = i - 1;
        COLUMN_I64(&batch->columns[0])[i] = i;
    }
    struct contest contest = {.grain_ms = 1000, .column = 0};
    batch->stamp_ms = stamps;
    contest_decide(&contest, &rows, batch);
    EXPECT_INT(batch->sel_count, ROWS);
    batch->stamp_ms = NULL;
    contest_decide(&contest, &rows, batch);
    EXPECT_INT(batch->sel_count, 1);
    EXPECT_INT(batch->sel[0], ROWS - 1);
    arena_release(&arena);
}

/* The rows of a stage that writes one key's in binary form: {n, x}, x missing where it is negative. */
static void encode_rows(const int32_t (*of)[2], int32_t count, int32_t *ret_written,
                        int32_t *ret_rejected, int64_t *ret_first_n)
{
    struct fixture fixture;
    bool opened = fixture_open(
        &fixture,
        "version: 1\nstreams: {in: {shards: 1}, out: {shards: 1}}\n"
        "pipelines:\n  p:\n    stages:\n"
        "      - {name: a, from: in, chain: [{parse: {fields: {'n': i64, x: i64}}}, "
        "{map: {set: {k: 1}}}, {encode: {format: raw, fields: {k: {type: i64, offset: 0}, "
        "'n': {type: i64, offset: 8}, x: {type: i64, offset: 16}}}}, {key_by: {key: k, shards: 1}}]}\n"
        "      - {name: b, from: a, to: out, chain: [{window: {tumbling: 10s, out: {y: {max: n}}}}]}\n",
        0);
    CHECK_MSG(opened, "%s", fixture.info.text);
    struct str values[ROWS];
    for (int32_t i = 0; i < count; i++) {
        values[i] = str_of(
            of[i][1] < 0 ? arena_printf(&fixture.rows, "{\"n\":%d}", of[i][0])
                         : arena_printf(&fixture.rows, "{\"n\":%d,\"x\":%d}", of[i][0], of[i][1]));
    }
    struct batch *batch = fixture_batch(&fixture, values, count);
    CHECK(chain_process(fixture.chain, 0, batch, fixture.out, NULL) == ERR_OK);
    *ret_written = fixture_count(&fixture, OUTPUT_MAIN);
    *ret_rejected = fixture_count(&fixture, OUTPUT_DEAD_LETTER);
    struct str first = fixture_value(&fixture, OUTPUT_MAIN, 0);
    CHECK(first.len == 24);
    memcpy(ret_first_n, first.ptr + 8, sizeof *ret_first_n);
    fixture_close(&fixture);
}

TEST(rows_that_are_surpassed_are_not_encoded)
{
    static const int32_t rows[][2] = {{3, 1}, {9, 2}, {7, 3}, {9, 4}};
    int32_t written;
    int32_t rejected;
    int64_t first_n;
    encode_rows(rows, COUNT_OF(rows), &written, &rejected, &first_n);
    EXPECT_INT(written, 2);
    EXPECT_INT(first_n, 9);
    EXPECT_INT(rejected, 0);
}

TEST(a_row_that_cannot_be_encoded_surpasses_nobody)
{
    static const int32_t rows[][2] = {{3, 1}, {9, -1}, {7, 3}, {2, -1}};
    int32_t written;
    int32_t rejected;
    int64_t first_n;
    encode_rows(rows, COUNT_OF(rows), &written, &rejected, &first_n);
    EXPECT_INT(written, 1);
    EXPECT_INT(first_n, 7);
    EXPECT_INT(rejected, 2);
}

/* One key and one step: both ways of deciding agree. Two keys or steps: this one leaves all as it is. */
TEST(one_contest_is_decided_by_a_column_as_by_keys)
{
    static struct contest_rows rows;
    struct arena arena;
    struct rng rng;
    arena_init(&arena, 1 << 22);
    rng_init(&rng, test_seed());
    for (int32_t round = 0; round < 300; round++) {
        struct contest contest = {.grain_ms = 1000, .column = 0, .least = round % 2 == 0};
        int32_t kept[2][ROWS];
        int32_t counts[2];
        struct batch *batch = batch_new(&arena, ROWS);
        batch_add_column(batch, VALUE_I64, true);
        batch_add_column(batch, VALUE_TIME, false);
        for (int32_t i = 0; i < ROWS; i++) {
            batch->key[i] = STR("7");
            batch->hash[i] = hash64("7", 1);
            batch->time_ms[i] = 5000 + (int64_t)rng_below(&rng, 1000);
            batch->columns[0].null[i] = rng_below(&rng, 8) == 0;
            COLUMN_I64(&batch->columns[0])[i] = (int64_t)rng_below(&rng, 50) - 25;
            COLUMN_I64(&batch->columns[1])[i] = 7;
        }
        for (int32_t way = 0; way < 2; way++) {
            for (int32_t i = 0; i < ROWS; i++) {
                batch->sel[i] = i;
            }
            batch->sel_count = ROWS;
            if (way == 0) {
                contest_decide(&contest, &rows, batch);
            } else {
                contest_decide_one(&contest, &batch->columns[1], batch);
            }
            counts[way] = batch->sel_count;
            memcpy(kept[way], batch->sel, (size_t)batch->sel_count * sizeof batch->sel[0]);
        }
        EXPECT(counts[0] < ROWS);
        EXPECT_INT(counts[0], counts[1]);
        EXPECT(memcmp(kept[0], kept[1], (size_t)counts[0] * sizeof kept[0][0]) == 0);
        for (int32_t other = 0; other < 2;
             other++) { // one row of another key, then of another step
            batch->sel_count = ROWS;
            for (int32_t i = 0; i < ROWS; i++) {
                batch->sel[i] = i;
            }
            COLUMN_I64(&batch->columns[1])[round % ROWS] = other == 0 ? 8 : 7;
            batch->time_ms[round % ROWS] = other == 0 ? 5000 : 6000;
            contest_decide_one(&contest, &batch->columns[1], batch);
            EXPECT_INT(batch->sel_count, ROWS);
        }
        arena_reset(&arena);
    }
    arena_release(&arena);
}
