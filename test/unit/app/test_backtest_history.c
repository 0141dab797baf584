// SPDX-License-Identifier: Apache-2.0
#include "app/backtest_history.h"

#include <sqlite3.h>

#include "base/arena.h"
#include "test.h"

enum { ROWS = 4000, PAGE_BYTES = 4096 };

static void run(sqlite3 *db, const char *sql)
{
    char *why = NULL;
    CHECK_MSG(sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK, "%s: %s", sql, why);
}

/* A view of ROWS five minutes of one pipeline, one of them missing; `more`: what else the file has. */
static const char *make_view(struct arena *arena, const char *name, const char *more)
{
    const char *path = arena_printf(arena, "%s/%s", test_dir(), name);
    sqlite3 *db = NULL;
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    run(db, "PRAGMA page_size = 4096");
    run(db, "CREATE TABLE sample_rolled (kind TEXT, subject TEXT, time TEXT, demand_ratio REAL)");
    run(db, arena_printf(arena,
                         "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < "
                         "%d) INSERT INTO sample_rolled SELECT 'pipeline', 'p', strftime("
                         "'%%Y-%%m-%%dT%%H:%%M:%%SZ', 1700000100 + 300 * i, 'unixepoch'), 1.5 "
                         "FROM n",
                         ROWS - 1));
    run(db, "DELETE FROM sample_rolled WHERE rowid = 2");
    run(db, more);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    return path;
}

/* Zeroes over a page at about `share` of the file: no page of a table begins so. */
static void spoil(const char *path, double share)
{
    char zeroes[PAGE_BYTES] = {0};
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    long page = (long)(share * (double)(ftell(file) / PAGE_BYTES));
    CHECK(fseek(file, page * PAGE_BYTES, SEEK_SET) == 0);
    CHECK(fwrite(zeroes, 1, PAGE_BYTES, file) == PAGE_BYTES && fclose(file) == 0);
}

static enum err ask(struct arena *arena, const char *path, struct trace *trace, int64_t *missing,
                    struct err_info *info)
{
    *info = (struct err_info){.code = ERR_OK};
    return backtest_history(arena, path, NULL, trace, missing, info);
}

TEST(a_history_is_read_whole_or_the_error_is_told)
{
    struct arena arena;
    struct trace trace = {.count = 0};
    struct err_info info;
    int64_t missing = 0;
    arena_init(&arena, 8 << 20);
    const char *sound = make_view(&arena, "sound.db", "");
    EXPECT_INT(ask(&arena, sound, &trace, &missing, &info), ERR_OK);
    EXPECT_INT(trace.count, ROWS);
    EXPECT_INT(missing, 1);

    /* The names are looked for in the whole table. */
    spoil(sound, 0.5);
    EXPECT_MSG(ask(&arena, sound, &trace, &missing, &info) == ERR_CORRUPT, "%s", info.text);

    /* With an index they are found there, and the values are what meets the page. */
    const char *indexed =
        make_view(&arena, "indexed.db", "CREATE INDEX names ON sample_rolled (kind, subject)");
    spoil(indexed, 0.4);
    EXPECT_MSG(ask(&arena, indexed, &trace, &missing, &info) == ERR_CORRUPT, "%s", info.text);
    arena_release(&arena);
}
