// SPDX-License-Identifier: Apache-2.0
/* The local view: rows of records, taken once, rolled up, forgotten, made anew. */
#include <math.h>
#include <sqlite3.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/real/fs_real.h"
#include "control/history.h"
#include "log/record_batch.h"
#include "pipeline/time_text.h"
#include "test.h"

#define START_MS 1767225600000LL /* 2026-01-01T00:00:00Z */

static struct history *history;
static struct mailbox done;
static struct record_builder builder;
static struct arena arena;
static int64_t made; /* as the last OPEN said */
static int64_t now_ms;

static void begin(const struct fs *fs, const char *folder)
{
    struct err_info info;
    enum err err =
        history_new(&(struct history_options){.fs = fs, .folder = folder}, &history, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    mailbox_init(&done, NULL);
    record_builder_init(&builder, RECORD_CODEC_ZSTD);
    arena_init(&arena, 256 << 20);
    made = 0;
    now_ms = START_MS + 86400 * 1000;
}

/* The folder is that of all tests of this program. */
static void open_folder(struct fs *fs)
{
    static const char *const files[] = {"history.db", "history.db-wal", "history.db-shm"};
    CHECK(fs_real_open(test_dir(), fs, NULL) == ERR_OK);
    for (ptrdiff_t i = 0; i < COUNT_OF(files); i++) {
        IGNORE_RESULT(fs_unlink(fs, files[i], NULL)); /* it may not be there */
    }
}

static void end(void)
{
    history_free(history);
    record_builder_release(&builder);
    arena_release(&arena);
}

static void carry_out(struct history_op *op)
{
    op->done = &done;
    mailbox_push(history_mailbox(history), &op->msg);
    IGNORE_RESULT(history_step(history, 0)); /* nothing else is due */
    CHECK(mailbox_take_all(&done) == &op->msg);
}

static struct sample_row sample(const char *subject, int64_t second, double demand)
{
    char text[TIME_TEXT_MAX];
    int32_t len = time_write_rfc3339(START_MS + second * 1000, text);
    return (struct sample_row){.time = {arena_dup(&arena, text, len), len},
                               .kind = STR("pipeline"),
                               .subject = str_of(subject),
                               .demand_ratio = demand,
                               .io_ratio = (double)NAN,
                               .state_bytes = 1LL << 40,
                               .lag_records = FIELD_I64_UNKNOWN,
                               .lag_seconds = demand};
}

static void add(const struct sample_row *rows, int32_t count)
{
    struct text text;
    text_init(&text, &arena);
    text_json_table(&text, &sample_entity, rows, count);
    CHECK(record_builder_add(&builder, &(struct record){.value = text_str(&text)}) == ERR_OK);
}

/* What was added, as records from `offset` on. */
static struct history_op take(int64_t offset)
{
    struct history_op op = {.kind = HISTORY_TAKE,
                            .stream = "sc.samples",
                            .made = made,
                            .from_offset = offset,
                            .now_ms = now_ms};
    void *bytes = NULL;
    op.next_offset = offset + builder.count;
    CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &op.len, NULL) == ERR_OK);
    record_batch_set_base_offset(bytes, offset);
    op.bytes = bytes;
    carry_out(&op);
    record_builder_reset(&builder);
    return op;
}

static struct history_op ask(const char *subject, bool rolled, int64_t since_ms, int64_t limit)
{
    struct history_op op = {
        .kind = HISTORY_ASK,
        .arena = &arena,
        .query = {
            .entity = &sample_entity, .rolled = rolled, .since_ms = since_ms, .limit = limit}};
    if (subject != NULL) {
        op.query.where[0].column = "subject";
        op.query.where[0].value = str_of(subject);
    }
    carry_out(&op);
    return op;
}

static int64_t next_offset(void)
{
    struct history_op op = {.kind = HISTORY_OPEN, .stream = "sc.samples"};
    carry_out(&op);
    CHECK_MSG(op.err == ERR_OK, "%s", op.info.text);
    made = op.made;
    return op.next_offset;
}

TEST(rows_come_back_as_they_were_in_order_of_time)
{
    begin(NULL, NULL);
    struct sample_row rows[3] = {sample("p", 20, 0.5), sample("q'\"", 20, 1e-300),
                                 sample("p", 10, 0.25)};
    EXPECT_INT(next_offset(), 0);
    add(rows, 3);
    EXPECT_INT(take(7).err, ERR_OK);
    EXPECT_INT(next_offset(), 8);
    struct history_op op = ask("p", false, 0, 10);
    EXPECT_INT(op.err, ERR_OK);
    EXPECT_INT(op.ret_rows.count, 2);
    const struct sample_row *got = op.ret_rows.rows;
    EXPECT_STR(got[0].time, rows[2].time);
    EXPECT_NEAR(got[1].demand_ratio, 0.5, 0);
    EXPECT(isnan(got[0].io_ratio) && got[0].lag_records == FIELD_I64_UNKNOWN);
    EXPECT_INT(got[0].state_bytes, 1LL << 40);
    EXPECT_INT(ask("q'\"", false, 0, 10).ret_rows.count, 1);
    EXPECT_INT(ask(NULL, false, START_MS + 15000, 10).ret_rows.count, 2);
    op = ask("p", false, 0, 1); /* the newest */
    EXPECT_INT(op.ret_rows.count, 1);
    EXPECT_STR(((const struct sample_row *)op.ret_rows.rows)->time, rows[0].time);
    end();
}

TEST(what_is_taken_twice_changes_nothing_and_offsets_below_are_passed_over)
{
    begin(NULL, NULL);
    for (int round = 0; round < 2; round++) {
        struct sample_row row = sample("p", 10, 0.5);
        add(&row, 1);
        EXPECT_INT(take(0).err, ERR_OK);
    }
    EXPECT_INT(ask("p", false, 0, 10).ret_rows.count, 1);
    struct sample_row two[2] = {sample("p", 20, 1), sample("p", 30, 2)};
    add(&two[0], 1);
    add(&two[1], 1);
    struct history_op op = {
        .kind = HISTORY_TAKE, .stream = "sc.samples", .from_offset = 2, .now_ms = now_ms};
    void *bytes = NULL;
    CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &op.len, NULL) == ERR_OK);
    record_batch_set_base_offset(bytes, 1); /* a batch that begins before what is wanted */
    op.bytes = bytes;
    op.next_offset = 3;
    carry_out(&op);
    EXPECT_INT(op.err, ERR_OK);
    EXPECT_INT(ask("p", false, START_MS + 15000, 10).ret_rows.count, 1);
    end();
}

TEST(records_that_are_no_rows_are_passed_over)
{
    static const char *const strange[] = {"", "[]",
                                          "{\"entity\":\"ghost\",\"fields\":[],\"rows\":[[1]]}",
                                          "{\"entity\":\"sample\",\"fields\":[1],\"rows\":7}",
                                          "{\"entity\":\"sample\",\"fields\":[\"time\",\"news\"],"
                                          "\"rows\":[[{},[]],[null,true,3,4,5]]}"};
    begin(NULL, NULL);
    for (ptrdiff_t i = 0; i < COUNT_OF(strange); i++) {
        CHECK(record_builder_add(&builder, &(struct record){.value = str_of(strange[i])}) ==
              ERR_OK);
    }
    struct sample_row row = sample("p", 10, 0.5);
    add(&row, 1);
    EXPECT_INT(take(0).err, ERR_OK);
    EXPECT_INT(ask("p", false, 0, 10).ret_rows.count, 1);
    end();
}

TEST(samples_are_rolled_up_to_five_minutes_and_forgotten_after_hours)
{
    begin(NULL, NULL);
    for (int64_t second = 0; second < 8 * 3600; second += 10) {
        struct sample_row row = sample("p", second, (double)(second / 300 % 2 + second % 20 / 10));
        add(&row, 1);
        if (second % 600 == 590) {
            EXPECT_INT(take(second / 10 - 59).err, ERR_OK);
        }
    }
    struct history_op raw = ask("p", false, 0, 20000);
    EXPECT_INT(raw.ret_rows.count, 6 * 360 + 1);
    struct history_op rolled = ask("p", true, 0, 20000);
    EXPECT_INT(rolled.ret_rows.count, 8 * 12 - 1); /* the last is under way */
    const struct sample_row *rows = rolled.ret_rows.rows;
    for (int32_t i = 0; i < rolled.ret_rows.count; i++) {
        EXPECT_NEAR(rows[i].demand_ratio, i % 2 + 0.5, 1e-12);
        EXPECT_NEAR(rows[i].lag_seconds, i % 2 + 1, 1e-12); /* the worst, not the mean */
        EXPECT_STR(rows[i].time, sample("p", i * 300, 0).time);
    }
    end();
}

static int32_t count(bool rolled)
{
    return ask(NULL, rolled, -86400 * 1000 * 365LL, 20000).ret_rows.count;
}

/* What is kept is bounded by row numbers, too: a bin that came again with each taking would use up months of them in hours. */
TEST(each_bin_is_rolled_up_once)
{
    struct fs fs;
    char path[4096];
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    open_folder(&fs);
    begin(&fs, test_dir());
    for (int64_t second = 0; second <= 3600; second += 10) {
        struct sample_row row = sample("p", second, 0.5);
        add(&row, 1);
        EXPECT_INT(take(second / 10).err, ERR_OK);
    }
    EXPECT_INT(count(true), 12);
    end();
    CHECK(snprintf(path, sizeof path, "%s/history.db", test_dir()) < (int)sizeof path);
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(db, "SELECT max(rowid) FROM sample_rolled", -1, &stmt, NULL) ==
          SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    EXPECT_INT(sqlite3_column_int64(stmt, 0), 12);
    CHECK(sqlite3_finalize(stmt) == SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    fs_real_close(&fs);
}

/* One sample of a clock that was ahead: neither taken, nor, where it was, a reason to forget the others. */
TEST(a_sample_stamped_ahead_empties_nothing)
{
    begin(NULL, NULL);
    struct sample_row ahead = sample("p", 5 * 3600, 1);
    struct sample_row next_year = sample("p", 366 * 86400, 1);
    for (int64_t second = 0; second < 1200; second += 10) {
        struct sample_row row = sample("p", second, 0.5);
        add(&row, 1);
    }
    add(&next_year, 1);
    add(&ahead, 1);
    now_ms = START_MS + 6 * 3600 * 1000;
    EXPECT_INT(take(0).err, ERR_OK);
    EXPECT_INT(count(false), 121); /* by that clock the one of hours later is of now */
    EXPECT_INT(count(true), 4);
    now_ms = START_MS + 1210 * 1000;
    struct sample_row row = sample("p", 1200, 0.5);
    add(&row, 1);
    add(&ahead, 1);
    EXPECT_INT(take(122).err, ERR_OK);
    EXPECT_INT(count(false), 121);
    EXPECT_INT(count(true), 4);
    EXPECT_STR(((const struct sample_row *)ask("p", false, 0, 1).ret_rows.rows)->time, row.time);
    now_ms = START_MS - 86400 * 1000; /* now the taker's is behind */
    row = sample("p", -86400, 0.5);
    add(&row, 1);
    EXPECT_INT(take(124).err, ERR_OK);
    EXPECT_INT(count(false), 122);
    EXPECT_INT(count(true), 4);
    end();
}

TEST(a_damaged_file_is_made_anew_and_asks_for_its_streams_again)
{
    struct fs fs;
    struct fs_file file;
    static const char garbage[4096] = "this is no database";
    open_folder(&fs);
    begin(&fs, test_dir());
    struct sample_row row = sample("p", 10, 0.5);
    add(&row, 1);
    EXPECT_INT(take(41).err, ERR_OK);
    end();
    begin(&fs, test_dir()); /* sound: it is all there */
    EXPECT_INT(next_offset(), 42);
    EXPECT_INT(ask("p", false, 0, 10).ret_rows.count, 1);
    end();
    CHECK(fs_open(&fs, "history.db", FS_O_WRITE, &file, NULL) == ERR_OK);
    CHECK(fs_write(&fs, file, garbage, sizeof garbage, 0, NULL) == ERR_OK);
    fs_close(&fs, file);
    begin(&fs, test_dir());
    EXPECT_INT(next_offset(), 0);
    EXPECT_INT(ask("p", false, 0, 10).ret_rows.count, 0);
    end();
    fs_real_close(&fs);
}

/* The header and the tables' list are sound, so that the file opens: the damage is met by whoever comes to it. */
TEST(a_file_that_is_damaged_inside_is_made_anew_by_the_op_that_meets_it)
{
    enum { ROWS = 4000, PAGE = 4096 };
    struct fs fs;
    struct fs_file file;
    int64_t size = 0;
    static char garbage[PAGE];
    memset(garbage, 0xa5, sizeof garbage);
    open_folder(&fs);
    for (int taking = 0; taking < 2; taking++) { /* a question meets it, or rows that are taken */
        begin(&fs, test_dir());
        int64_t next = next_offset();
        for (int64_t i = 0; i < ROWS; i++) {
            struct sample_row row = sample("p", i, 0.5);
            add(&row, 1);
        }
        EXPECT_INT(take(next).err, ERR_OK);
        end();
        CHECK(fs_open(&fs, "history.db", FS_O_WRITE, &file, NULL) == ERR_OK);
        CHECK(fs_size(&fs, file, &size, NULL) == ERR_OK && size > 64 * PAGE);
        for (int64_t at = size / PAGE / 2 * PAGE; at < size; at += PAGE) {
            CHECK(fs_write(&fs, file, garbage, sizeof garbage, at, NULL) == ERR_OK);
        }
        fs_close(&fs, file);
        begin(&fs, test_dir());
        EXPECT_INT(next_offset(), next + ROWS);
        struct sample_row more = sample("p", ROWS, 0.5);
        add(&more, 1);
        EXPECT_INT(taking ? take(next + ROWS).err : ask("p", false, 0, ROWS).err, ERR_CORRUPT);
        add(&more, 1);
        EXPECT_INT(take(next + ROWS).err, ERR_CORRUPT); /* what lies before it is not there */
        EXPECT_INT(next_offset(), 0);
        EXPECT_INT(ask("p", false, 0, ROWS).ret_rows.count, 0);
        add(&more, 1);
        EXPECT_INT(take(0).err, ERR_OK);
        EXPECT_INT(ask("p", false, 0, ROWS).ret_rows.count, 1);
        end();
    }
    fs_real_close(&fs);
}
