// SPDX-License-Identifier: Apache-2.0
// What a stage need not write because the next one's window takes only the best.

#include "pipeline/contest.h"

#include <stdio.h>

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
