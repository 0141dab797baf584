// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "app/demo_feed.h"
#include "app/demo_recount.h"
#include "log/memory.h"
#include "node/mark.h"
#include "test.h"

static const int64_t day_ms = 804556800000;
static const int64_t hour_ms = 3600000;

static void add(struct recount *recount, const char *user, const char *kind, int64_t time_ms)
{
    char json[128];
    int len = snprintf(json, sizeof json,
                       "{\"ts\":%lld,\"user\":\"%s\",\"kind\":\"%s\",\"page\":\"/p/1\"}",
                       (long long)time_ms, user, kind);
    recount_add(recount, (struct str){.ptr = json, .len = len});
}

/* Two users; u000007 has views in two hours. */
static struct recount small_day(void)
{
    struct recount recount;
    recount_init(&recount, day_ms);
    add(&recount, "u000007", "view", day_ms);
    add(&recount, "u000007", "view", day_ms + hour_ms - 1);
    add(&recount, "u000007", "click", day_ms + 5);
    add(&recount, "u000007", "view", day_ms + hour_ms);
    add(&recount, "u009999", "view", day_ms + 23 * hour_ms);
    add(&recount, "u009999", "view", day_ms - 1); /* out of order, of the day before */
    return recount;
}

static void tell(struct recount *recount, const char *user, int64_t hour, int64_t views)
{
    recount_compare(recount, str_of(user), day_ms + (hour + 1) * hour_ms - 1, views);
}

TEST(demo_recount_agrees_with_right_results_only_when_all_are_told)
{
    struct recount recount = small_day();
    EXPECT_INT(recount.records, 6);
    EXPECT_INT(recount.views, 5);
    EXPECT_INT(recount_due(&recount), 4);
    tell(&recount, "u000007", 0, 2);
    tell(&recount, "u000007", 1, 1);
    tell(&recount, "u009999", 23, 1);
    EXPECT(!recount_equal(&recount)); /* one is missing */
    tell(&recount, "u009999", -1, 1);
    EXPECT(recount_equal(&recount));
    struct recount_hour hour = recount_hour(&recount, 1);
    EXPECT_INT(hour.views, 2);
    EXPECT_INT(hour.users, 1);
    EXPECT_INT(hour.busiest, 7);
    recount_release(&recount);
}

TEST(demo_recount_finds_each_kind_of_wrong_result)
{
    static const struct {
        const char *user;
        int64_t hour, views;
    } wrong[] = {
        {"u000007", 0, 2}, /* once more */
        {"u000007", 5, 1}, /* where nothing happened */
        {"u000008", 0, 1}, /* nobody */
        {"stranger", 0, 1}, {"u000007", 40, 1},
    };
    for (ptrdiff_t i = 0; i < COUNT_OF(wrong); i++) {
        struct recount recount = small_day();
        tell(&recount, "u000007", 0, 2);
        tell(&recount, "u000007", 1, 1);
        tell(&recount, "u009999", 23, 1);
        tell(&recount, "u009999", -1, 1);
        EXPECT(recount_equal(&recount));
        tell(&recount, wrong[i].user, wrong[i].hour, wrong[i].views);
        EXPECT_MSG(!recount_equal(&recount), "case %td", i);
        recount_release(&recount);
    }
    struct recount recount = small_day();
    tell(&recount, "u000007", 0, 3); /* another number */
    tell(&recount, "u000007", 1, 1);
    tell(&recount, "u009999", 23, 1);
    tell(&recount, "u009999", -1, 1);
    EXPECT(!recount_equal(&recount));
    recount_release(&recount);
    recount = small_day();
    recount_compare(&recount, STR("u000007"), day_ms + 17, 2); /* no end of an hour */
    EXPECT_INT(recount.strange, 1);
    recount_release(&recount);
}

/* A log in memory, stepped by hand. */
struct bench {
    int64_t now_ns;
    struct clock clock;
    struct log *log;
    struct log_loop loops[LOG_LOOPS_MAX];
    struct mailbox done;
};

static int64_t bench_now(void *ctx)
{
    return ((struct bench *)ctx)->now_ns;
}

static void bench_step(struct bench *bench)
{
    bench->now_ns += 1000000;
    IGNORE_RESULT(
        bench->loops[0].step(bench->loops[0].ctx, bench->now_ns)); /* steps often enough */
}

static void bench_run(struct bench *bench, struct log_op *op, enum log_op_kind kind)
{
    op->kind = kind;
    op->done = &bench->done;
    log_submit(bench->log, op);
    while (mailbox_take_all(&bench->done) == NULL) {
        bench_step(bench);
    }
    CHECK_MSG(op->err == ERR_OK, "%s", op->info.text);
}

/* Reads a shard: records are counted, per key their times must not fall; the last one is the end marker. */
static int64_t check_shard(struct bench *bench, struct shard_id shard, struct recount *again)
{
    static uint8_t buf[LOG_BATCH_BYTES_MAX];
    struct record_reader reader;
    record_reader_init(&reader);
    int64_t count = 0, marks = 0, end = log_end_offset(bench->log, shard);
    for (int64_t offset = 0; offset < end;) {
        struct log_op op = {
            .u.read = {.shard = shard, .offset = offset, .buf = buf, .cap = sizeof buf}};
        bench_run(bench, &op, LOG_OP_READ);
        for (ptrdiff_t at = 0, total = 0; at < op.u.read.ret_bytes; at += total) {
            struct record_batch_header header;
            CHECK(record_batch_parse(buf + at, op.u.read.ret_bytes - at, &header, &total, NULL) ==
                  ERR_OK);
            CHECK(record_reader_begin(&reader, buf + at, total, NULL) == ERR_OK);
            struct record record;
            while (record_reader_next(&reader, &record, NULL) == ERR_OK) {
                struct str rest = record.headers, name, value;
                struct mark mark;
                if (record_header_next(&rest, &name, &value) && str_is(name, MARK_HEADER)) {
                    marks += mark_decode(value, &mark) && mark.kind == MARK_END;
                    continue;
                }
                CHECK(marks == 0); /* nothing behind the end */
                recount_add(again, record.value);
                count++;
            }
        }
        offset = op.u.read.ret_next_offset;
    }
    CHECK(marks == 1);
    record_reader_release(&reader);
    return count;
}

/* The log says AGAIN now and then; appends without a producer id then did not take effect. */
TEST(demo_feed_sends_the_whole_play_once_and_ends_each_shard)
{
    static struct bench bench;
    static struct demo_feed feed;
    bench = (struct bench){.now_ns = 1000000000};
    bench.clock = (struct clock){.ctx = &bench, .now_ns = bench_now, .wall_unix_ms = bench_now};
    struct log_memory_options log_options = {.clock = &bench.clock,
                                             .seed = test_seed(),
                                             .commit_delay_ns = 5000000,
                                             .again_probability = 0.2};
    bench.log = log_memory_new(&log_options);
    log_loops(bench.log, bench.loops);
    mailbox_init(&bench.done, NULL);
    struct log_op op = {
        .u.stream.config = {
            .name = "clicks", .shard_count = 4, .retention_ms = -1, .retention_bytes = -1}};
    bench_run(&bench, &op, LOG_OP_STREAM_CREATE);
    double values[24];
    for (int i = 0; i < 24; i++) {
        values[i] = 500 + 40 * i;
    }
    struct trace trace = {.count = 24, .start_ms = day_ms, .step_ms = hour_ms, .values = values};
    struct generator_options options = {.trace = &trace,
                                        .rate_scale = 1,
                                        .speed = 86400,
                                        .until_ms = INT64_MAX,
                                        .jitter_ms = 60000,
                                        .seed = test_seed()};
    EXPECT_INT(key_chooser_parse(STR("zipf:1.1:10000"), &options.keys, NULL), ERR_OK);
    struct recount sent, read;
    recount_init(&sent, day_ms);
    recount_init(&read, day_ms);
    demo_feed_init(&feed, bench.log, op.u.stream.ret_info, &options, &sent, bench.now_ns);
    int64_t began_ns = bench.now_ns;
    while (!demo_feed_poll(&feed, bench.now_ns)) {
        bench_step(&bench);
        CHECK(bench.now_ns - began_ns < 60000000000);
    }
    EXPECT_INT(feed.err, ERR_OK);
    EXPECT(bench.now_ns - began_ns > 900000000); /* a day in a second: not before it was due */
    int64_t expected = 24 * 500 + 40 * (23 * 24 / 2), count = 0;
    for (int32_t i = 0; i < 4; i++) {
        struct shard_id shard = {op.u.stream.ret_info.first_shard.v + (uint32_t)i};
        count += check_shard(&bench, shard, &read);
    }
    EXPECT_INT(count, expected);
    EXPECT_INT(feed.sent_records, expected);
    EXPECT_INT(sent.records, expected);
    for (ptrdiff_t i = 0; i < (ptrdiff_t)RECOUNT_USERS * RECOUNT_HOURS; i++) {
        EXPECT_INT(read.cells[i].views, sent.cells[i].views);
    }
    demo_feed_release(&feed);
    recount_release(&sent);
    recount_release(&read);
    log_close(bench.log);
}
