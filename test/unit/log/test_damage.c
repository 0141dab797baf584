// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "log/embedded.h"
#include "log/journal.h"
#include "log/record_batch.h"
#include "log/scan.h"
#include "log/shard.h"
#include "sim/disk.h"
#include "test.h"

/* What the embedded engine does with damage: torn tails, flipped bits, failing operations, a full disk. On the simulator's
 * disk with operations that complete at once; time moves only when nothing is due. */

struct bench {
    struct disk *disk;
    struct fs fs;
    struct clock clock;
    int64_t now_ns;
    struct log *log;
    struct log_loop loops[LOG_LOOPS_MAX];
    int loop_count;
    struct log_recovery_report report;
    enum log_sync_mode sync;
    struct mailbox done;
    struct log_op op;
    struct shard_id shard, other, changelog;
    uint8_t *buf;
};

static int64_t bench_now(void *ctx)
{
    return ((struct bench *)ctx)->now_ns;
}

static int64_t bench_wall(void *ctx)
{
    return 1700000000000 + ((struct bench *)ctx)->now_ns / 1000000;
}

static void bench_init_with(struct bench *b, uint64_t seed)
{
    *b = (struct bench){.now_ns = 1};
    b->clock = (struct clock){
        .ctx = b, .now_ns = bench_now, .wall_unix_ms = bench_wall, .thread_cpu_ns = bench_now};
    struct disk_options options = {.seed = seed};
    b->disk = disk_new(&options);
    b->buf = mem_new(LOG_BATCH_BYTES_MAX, 1);
}

static void bench_init(struct bench *b)
{
    bench_init_with(b, test_seed());
}

static enum err bench_open(struct bench *b)
{
    b->fs = disk_fs(b->disk);
    mailbox_init(&b->done, NULL);
    struct log_embedded_options options = {.fs = &b->fs,
                                           .clock = &b->clock,
                                           .sync = b->sync,
                                           .journal_segment_bytes = 128 << 10,
                                           .shard_segment_bytes = 1 << 20,
                                           .group_bytes_max = 64 << 10};
    struct err_info info = {0};
    b->log = NULL;
    enum err err = log_embedded_open(&options, &b->log, &b->report, &info);
    b->loop_count = err == ERR_OK ? log_loops(b->log, b->loops) : 0;
    return err;
}

static void bench_close(struct bench *b)
{
    log_close(b->log);
    b->log = NULL;
}

static void bench_release(struct bench *b)
{
    bench_close(b);
    disk_free(b->disk);
    mem_free(b->buf);
}

/* Steps until nothing is due at the present time. */
static int64_t settle(struct bench *b)
{
    int64_t due = 0;
    for (int round = 0; round < 1000; round++) {
        due = CLOCK_NEVER;
        for (int i = 0; i < b->loop_count; i++) {
            int64_t next = b->loops[i].step(b->loops[i].ctx, b->now_ns);
            due = next < due ? next : due;
        }
        bool woken = false;
        for (int i = 0; i < b->loop_count; i++) {
            woken = waker_take(b->loops[i].waker) || woken;
        }
        if (!woken && due > b->now_ns) {
            break;
        }
    }
    return due;
}

static void pass(struct bench *b, int64_t ns)
{
    int64_t until = b->now_ns + ns;
    for (int64_t due = settle(b); due <= until; due = settle(b)) {
        b->now_ns = due;
    }
    b->now_ns = until;
    settle(b);
}

/* AGAIN if it never came back. */
static enum err run(struct bench *b, enum log_op_kind kind)
{
    b->op.kind = kind;
    b->op.done = &b->done;
    log_submit(b->log, &b->op);
    for (int i = 0; i < 100; i++) {
        struct msg *msg = mailbox_take_all(&b->done);
        if (msg != NULL) {
            return b->op.err;
        }
        int64_t due = settle(b);
        b->now_ns = due != CLOCK_NEVER && due > b->now_ns && i > 2 ? due : b->now_ns;
    }
    return ERR_AGAIN;
}

static enum err make_stream_of(struct bench *b, const char *name, uint32_t flags,
                               struct shard_id *ret_shard)
{
    b->op = (struct log_op){0};
    struct stream_config *config = &b->op.u.stream.config;
    memcpy(config->name, name, strlen(name));
    config->flags = flags;
    config->shard_count = 1;
    config->retention_ms = config->retention_bytes = -1;
    enum err err = run(b, LOG_OP_STREAM_CREATE);
    if (err == ERR_OK) {
        *ret_shard = b->op.u.stream.ret_info.first_shard;
    }
    return err;
}

static enum err make_stream(struct bench *b, const char *name, struct shard_id *ret_shard)
{
    return make_stream_of(b, name, 0, ret_shard);
}

static enum err append(struct bench *b, struct shard_id shard, ptrdiff_t value_bytes,
                       struct record_producer producer)
{
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    memset(b->buf, 'v', (size_t)value_bytes);
    struct record record = {.value = {(const char *)b->buf, value_bytes}};
    CHECK(record_builder_add(&builder, &record) == ERR_OK);
    void *bytes = NULL;
    ptrdiff_t len = 0;
    CHECK(record_builder_finish(&builder, producer, &bytes, &len, NULL) == ERR_OK);
    b->op = (struct log_op){.u.append = {.shard = shard, .batch = bytes, .bytes = len}};
    enum err err = run(b, LOG_OP_APPEND);
    record_builder_release(&builder);
    return err;
}

/* Records from `from` to the end; -1 with *ret_err set: reading failed. */
static int64_t count_records(struct bench *b, struct shard_id shard, int64_t from,
                             enum err *ret_err)
{
    struct log_reader *reader = log_reader_new(b->log);
    int64_t offset = from;
    enum err err = ERR_OK;
    for (;;) {
        b->op = (struct log_op){.u.read = {.reader = reader,
                                           .shard = shard,
                                           .offset = offset,
                                           .buf = b->buf,
                                           .cap = LOG_BATCH_BYTES_MAX}};
        err = run(b, LOG_OP_READ);
        if (err != ERR_OK || b->op.u.read.ret_bytes == 0) {
            break;
        }
        offset = b->op.u.read.ret_next_offset;
    }
    log_reader_free(b->log, reader);
    *ret_err = err;
    return err == ERR_OK ? offset - from : -1;
}

/* A store with `count` appends of `value_bytes`, closed. */
static void fill(struct bench *b, int count, ptrdiff_t value_bytes)
{
    bench_init(b);
    CHECK(bench_open(b) == ERR_OK && make_stream(b, "s", &b->shard) == ERR_OK &&
          make_stream(b, "other", &b->other) == ERR_OK);
    for (int i = 0; i < count; i++) {
        CHECK(append(b, b->shard, value_bytes, RECORD_PRODUCER_NONE) == ERR_OK);
    }
    CHECK(append(b, b->other, 10, RECORD_PRODUCER_NONE) == ERR_OK);
    CHECK(append(b, b->shard, value_bytes, RECORD_PRODUCER_NONE) == ERR_OK);
    settle(b);
    bench_close(b);
}

/* The journal's last frame: its file, where it begins and ends. */
static struct scanned_segment last_segment(struct bench *b, char path[JOURNAL_PATH_MAX])
{
    struct journal_scan scan;
    CHECK(journal_scan(&b->fs, false, &scan, NULL) == ERR_OK && scan.tail == TAIL_CLEAN);
    struct scanned_segment last = scan.segments[scan.last_good];
    journal_path(path, last.number);
    journal_scan_release(&scan);
    return last;
}

static void zero_file(struct bench *b, const char *path, int64_t from, int64_t to)
{
    struct fs_file file;
    uint8_t *zeros = mem_new((ptrdiff_t)(to - from), 1);
    CHECK(fs_open(&b->fs, path, FS_O_WRITE, &file, NULL) == ERR_OK);
    CHECK(fs_write(&b->fs, file, zeros, (ptrdiff_t)(to - from), from, NULL) == ERR_OK);
    fs_close(&b->fs, file);
    mem_free(zeros);
}

static int64_t file_bytes(struct bench *b, const char *path)
{
    struct fs_file file;
    int64_t size = 0;
    CHECK(fs_open(&b->fs, path, FS_O_READ, &file, NULL) == ERR_OK);
    CHECK(fs_size(&b->fs, file, &size, NULL) == ERR_OK);
    fs_close(&b->fs, file);
    return size;
}

static void cut_file(struct bench *b, const char *path, int64_t bytes)
{
    struct fs_file file;
    CHECK(fs_open(&b->fs, path, FS_O_WRITE, &file, NULL) == ERR_OK);
    CHECK(fs_truncate(&b->fs, file, bytes, NULL) == ERR_OK);
    fs_close(&b->fs, file);
}

/* The last of `count` batches of the same size is not in the shard's file: its frame was never synced. */
static void unwrite_last(struct bench *b, int count)
{
    char path[SHARD_PATH_MAX];
    segment_path(path, b->shard.v, 0);
    int64_t bytes = file_bytes(b, path);
    CHECK(bytes % count == 0);
    cut_file(b, path, bytes / count * (count - 1));
}

TEST(journal_tail_zeroed_from_any_byte_loses_the_last_frame_and_nothing_else)
{
    struct bench b;
    fill(&b, 3, 100);
    b.fs = disk_fs(b.disk);
    char path[JOURNAL_PATH_MAX];
    struct scanned_segment last = last_segment(&b, path);
    bench_release(&b);
    for (int64_t cut = last.last_at; cut < last.end; cut++) {
        fill(&b, 3, 100);
        b.fs = disk_fs(b.disk);
        zero_file(&b, path, cut, last.end);
        unwrite_last(&b, 4);
        enum err err = ERR_OK;
        EXPECT_INT(bench_open(&b), ERR_OK);
        EXPECT_INT(count_records(&b, b.shard, 0, &err), 3);
        EXPECT_INT(count_records(&b, b.other, 0, &err), 1);
        EXPECT_MSG((b.report.torn_at_sequence > 0) == (cut > last.last_at), "cut at %lld of %lld",
                   (long long)(cut - last.last_at), (long long)(last.end - last.last_at));
        EXPECT_INT(append(&b, b.shard, 10, RECORD_PRODUCER_NONE), ERR_OK);
        EXPECT_INT(count_records(&b, b.shard, 0, &err), 4);
        bench_release(&b);
    }
}

TEST(journal_frame_with_any_sector_lost_is_cut)
{
    enum { VALUE = 5000 };
    struct bench b;
    fill(&b, 2, VALUE);
    b.fs = disk_fs(b.disk);
    char path[JOURNAL_PATH_MAX];
    struct scanned_segment last = last_segment(&b, path);
    bench_release(&b);
    for (int64_t at = last.last_at; at < last.end; at += JOURNAL_SECTOR) {
        fill(&b, 2, VALUE);
        b.fs = disk_fs(b.disk);
        zero_file(&b, path, at, at + JOURNAL_SECTOR);
        unwrite_last(&b, 3);
        enum err err = ERR_OK;
        EXPECT_INT(bench_open(&b), ERR_OK);
        EXPECT_INT(count_records(&b, b.shard, 0, &err), 2);
        EXPECT(b.report.torn_at_sequence > 0 && b.report.text[0] != 0);
        bench_release(&b);
    }
}

/* A segment that was made ready and not used yet, behind the last one. */
static void add_ready_segment(struct bench *b, uint64_t number)
{
    char path[JOURNAL_PATH_MAX];
    struct fs_file file;
    journal_path(path, number);
    CHECK(fs_open(&b->fs, path, FS_O_WRITE | FS_O_CREATE, &file, NULL) == ERR_OK);
    fs_close(&b->fs, file);
    zero_file(b, path, 0, 64 << 10);
}

TEST(journal_segment_that_is_ready_does_not_hide_a_torn_frame)
{
    struct bench b;
    fill(&b, 2, 5000);
    b.fs = disk_fs(b.disk);
    char path[JOURNAL_PATH_MAX];
    struct scanned_segment last = last_segment(&b, path);
    add_ready_segment(&b, last.number + 1);
    EXPECT_INT(bench_open(&b), ERR_OK);
    enum err err = ERR_OK;
    EXPECT_INT(count_records(&b, b.shard, 0, &err), 3);
    EXPECT(b.report.torn_at_sequence < 0);
    bench_release(&b);

    fill(&b, 2, 5000);
    b.fs = disk_fs(b.disk);
    add_ready_segment(&b, last.number + 1);
    zero_file(&b, path, last.last_at, last.last_at + JOURNAL_SECTOR);
    unwrite_last(&b, 3);
    EXPECT_INT(bench_open(&b), ERR_OK);
    EXPECT_INT(count_records(&b, b.shard, 0, &err), 2);
    EXPECT(b.report.torn_at_sequence > 0);
    bench_release(&b);
}

TEST(journal_segment_that_is_ready_does_not_hide_a_lost_frame)
{
    struct bench b;
    fill(&b, 2, 5000);
    b.fs = disk_fs(b.disk);
    char path[JOURNAL_PATH_MAX];
    struct scanned_segment last = last_segment(&b, path);
    add_ready_segment(&b, last.number + 1);
    zero_file(&b, path, last.last_at - JOURNAL_SECTOR,
              last.last_at); // the whole frame before the last
    EXPECT_INT(bench_open(&b), ERR_CORRUPT);
    bench_release(&b);
}

static void expect_complete(struct bench *b)
{
    enum err err = ERR_OK;
    EXPECT_INT(count_records(b, b->shard, 0, &err), 4);
    EXPECT_INT(count_records(b, b->other, 0, &err), 1);
}

static void expect_refused(struct bench *b, enum err opened, int64_t changes)
{
    EXPECT_INT(opened, ERR_CORRUPT);
    EXPECT(changes < 10); /* folders and the lock, no more */
    char text[2000];
    bool sound = true;
    EXPECT_INT(log_embedded_repair_show(&b->fs, text, sizeof(text), &sound, NULL), ERR_OK);
    EXPECT(strstr(text, "corrupt") != NULL && !sound);
}

/* No crash makes a segment shorter than it was made, so it is not taken for a torn one: not at any length. */
TEST(journal_file_that_is_shorter_is_refused_and_stays)
{
    struct bench b;
    fill(&b, 3, 100);
    b.fs = disk_fs(b.disk);
    char path[JOURNAL_PATH_MAX];
    struct scanned_segment last = last_segment(&b, path);
    EXPECT_INT(last.made_bytes, last.bytes);
    bench_release(&b);
    for (int64_t bytes = 0; bytes < last.bytes; bytes += bytes < last.end ? 73 : 7777) {
        fill(&b, 3, 100);
        b.fs = disk_fs(b.disk);
        cut_file(&b, path, bytes);
        int64_t changes = disk_changes(b.disk);
        expect_refused(&b, bench_open(&b), disk_changes(b.disk) - changes);
        EXPECT_INT(file_bytes(&b, path), bytes);
        bench_release(&b);
    }
}

/* Lost at a frame's border nothing in the journal tells it, but its batches are where only synced frames' are. */
TEST(journal_that_knows_less_than_the_shards_is_refused)
{
    struct bench b;
    fill(&b, 3, 100);
    b.fs = disk_fs(b.disk);
    char path[JOURNAL_PATH_MAX], shard_path[SHARD_PATH_MAX];
    struct scanned_segment last = last_segment(&b, path);
    segment_path(shard_path, b.shard.v, 0);
    int64_t bytes = file_bytes(&b, shard_path);
    zero_file(&b, path, last.last_at, last.end);
    EXPECT_INT(bench_open(&b), ERR_CORRUPT);
    EXPECT_INT(file_bytes(&b, shard_path), bytes);
    bench_release(&b);
}

TEST(journal_with_a_flipped_bit_is_refused_or_complete_never_shortened)
{
    struct bench b;
    fill(&b, 3, 700);
    b.fs = disk_fs(b.disk);
    char path[JOURNAL_PATH_MAX];
    struct scanned_segment last = last_segment(&b, path);
    bench_release(&b);
    int refused = 0;
    for (int64_t at = 0; at < last.end; at += 7) {
        fill(&b, 3, 700);
        b.fs = disk_fs(b.disk);
        EXPECT_INT(disk_corrupt(b.disk, path, at, 1), ERR_OK);
        int64_t changes = disk_changes(b.disk);
        enum err opened = bench_open(&b);
        refused += opened == ERR_OK ? 0 : 1;
        if (opened == ERR_OK) {
            expect_complete(&b);
        } else {
            expect_refused(&b, opened, disk_changes(b.disk) - changes);
        }
        bench_release(&b);
    }
    EXPECT(refused > 50);
}

/* Rolls the journal until nothing of shard `s` is in it any more. */
static void push_out(struct bench *b)
{
    for (int i = 0; i < 40; i++) {
        CHECK(append(b, b->other, 60000, RECORD_PRODUCER_NONE) == ERR_OK);
        pass(b, 1000000);
    }
}

TEST(segment_with_a_flipped_bit_is_refused_and_named_and_others_run)
{
    for (int64_t at = 0; at < 900; at += 13) {
        struct bench b;
        fill(&b, 3, 200);
        EXPECT_INT(bench_open(&b), ERR_OK);
        push_out(&b);
        bench_close(&b);
        EXPECT_INT(disk_corrupt(b.disk, "log/shards/00000001/00000000000000000000.seg", at, 1),
                   ERR_OK);
        EXPECT_INT(bench_open(&b), ERR_OK);
        EXPECT_INT(b.report.shards_refused, 1);
        enum err err = ERR_OK;
        EXPECT_INT(count_records(&b, b.shard, 0, &err), -1);
        EXPECT_INT(err, ERR_CORRUPT);
        EXPECT(strstr(b.op.info.text, "log/shards/00000001/") != NULL);
        EXPECT_INT(append(&b, b.shard, 10, RECORD_PRODUCER_NONE), ERR_CORRUPT);
        EXPECT_INT(count_records(&b, b.other, 0, &err), 41);
        bench_release(&b);
    }
}

/* One read of one record at `offset`. */
static enum err read_one(struct bench *b, struct shard_id shard, int64_t offset)
{
    struct log_reader *reader = log_reader_new(b->log);
    b->op = (struct log_op){.u.read = {.reader = reader,
                                       .shard = shard,
                                       .offset = offset,
                                       .buf = b->buf,
                                       .cap = 600}}; /* no two of them */
    enum err err = run(b, LOG_OP_READ);
    if (err == ERR_OK && (b->op.u.read.ret_bytes == 0 || b->buf[299] != 'v')) {
        err = ERR_INTERNAL;
    }
    log_reader_free(b->log, reader);
    return err;
}

TEST(records_beside_a_bad_one_are_served_and_only_the_bad_one_is_refused)
{
    enum { COUNT = 9, VALUE = 400 };
    int behind = 0;
    struct bench b;
    fill(&b, COUNT - 1, VALUE);
    EXPECT_INT(bench_open(&b), ERR_OK);
    push_out(&b);
    bench_close(&b);
    struct fs fs = disk_fs(b.disk);
    struct fs_file file = {-1};
    int64_t size = 0;
    EXPECT_INT(fs_open(&fs, "log/shards/00000001/00000000000000000000.seg", FS_O_READ, &file, NULL),
               ERR_OK);
    EXPECT_INT(fs_size(&fs, file, &size, NULL), ERR_OK);
    fs_close(&fs, file);
    const int64_t each = size / COUNT;
    for (int64_t at = 0; at < size; at += 37) {
        EXPECT_INT(disk_corrupt(b.disk, "log/shards/00000001/00000000000000000000.seg", at, 1),
                   ERR_OK);
        EXPECT_INT(bench_open(&b), ERR_OK);
        for (int64_t offset = 0; offset < COUNT; offset++) {
            enum err err = read_one(&b, b.shard, offset);
            EXPECT_MSG(offset == at / each  ? err == ERR_CORRUPT
                       : offset < at / each ? err == ERR_OK
                                            : err == ERR_OK || err == ERR_CORRUPT,
                       "byte %lld: offset %lld gives %d", (long long)at, (long long)offset, err);
            behind += offset > at / each && err == ERR_OK;
        }
        bench_close(&b);
        EXPECT_INT(disk_corrupt(b.disk, "log/shards/00000001/00000000000000000000.seg", at, 1),
                   ERR_OK); /* and back */
    }
    EXPECT(behind > 100); /* a bad length hides what is behind it, a bad value does not */
    bench_release(&b);
}

static void expect_all_from_anywhere(struct bench *b, int64_t count)
{
    for (int64_t from = 0; from < count; from++) {
        enum err err = ERR_OK;
        EXPECT_INT(count_records(b, b->other, from, &err), count - from);
    }
}

TEST(segment_index_missing_or_bad_is_only_slower)
{
    static const char index[] = "log/shards/00000002/00000000000000000000.idx";
    for (int damage = 0; damage < 3; damage++) {
        struct bench b;
        fill(&b, 1, 10);
        EXPECT_INT(bench_open(&b), ERR_OK);
        push_out(&b);
        struct fs_file file = {-1};
        EXPECT_INT(fs_open(&b.fs, index, FS_O_READ, &file, NULL), ERR_OK);
        fs_close(&b.fs, file);
        enum err done = damage == 1   ? fs_unlink(&b.fs, index, NULL)
                        : damage == 2 ? disk_corrupt(b.disk, index, 24, 24)
                                      : ERR_OK;
        EXPECT_INT(done, ERR_OK);
        expect_all_from_anywhere(&b, 41);
        bench_release(&b);
    }
}

/* Appends until one fails; returns how many were acknowledged. */
static int append_some(struct bench *b, int count)
{
    int done = 0;
    while (done < count && append(b, b->shard, 30000, RECORD_PRODUCER_NONE) == ERR_OK) {
        done++;
    }
    return done;
}

/* Streams "s" of two segments and a piece and "t", of which the journal has nothing any more. */
static void open_with_old_segments(struct bench *b)
{
    bench_init(b);
    EXPECT_INT(bench_open(b), ERR_OK);
    EXPECT_INT(make_stream(b, "s", &b->shard), ERR_OK);
    EXPECT_INT(make_stream(b, "t", &b->other), ERR_OK);
    EXPECT_INT(append_some(b, 80), 80);
    push_out(b);
}

TEST(damage_in_an_old_segment_is_shown_before_anybody_reads_it)
{
    static const char path[] = "log/shards/00000001/00000000000000000000.seg";
    struct bench b;
    open_with_old_segments(&b);
    bench_close(&b);
    b.fs = disk_fs(b.disk);
    char text[2000];
    bool sound = false;
    EXPECT_INT(log_embedded_repair_show(&b.fs, text, sizeof(text), &sound, NULL), ERR_OK);
    EXPECT_MSG(sound && strstr(text, "nothing to repair") != NULL, "%s", text);
    EXPECT_INT(disk_corrupt(b.disk, path, 500000, 1), ERR_OK);
    EXPECT_INT(log_embedded_repair_show(&b.fs, text, sizeof(text), &sound, NULL), ERR_OK);
    EXPECT_MSG(!sound && strstr(text, path) != NULL && strstr(text, "lose offsets") != NULL, "%s",
               text);
    bench_release(&b);
}

static enum err health_of(struct bench *b, struct shard_id shard)
{
    b->op = (struct log_op){.u.shard = {.shard = shard}};
    return run(b, LOG_OP_SHARD_GET) == ERR_OK ? b->op.u.shard.ret_info.health : ERR_INTERNAL;
}

/* Found by a reader while it runs, or by the next start. */
TEST(damage_in_an_old_segment_is_refused_to_readers_and_stops_no_append)
{
    static const char path[] = "log/shards/00000001/00000000000000000000.seg";
    struct bench b;
    enum err err = ERR_OK;
    open_with_old_segments(&b);
    EXPECT_INT(disk_corrupt(b.disk, path, 500000, 1), ERR_OK);
    for (int life = 0; life < 2; life++) {
        EXPECT_INT(b.report.shards_refused, life);
        EXPECT_INT(count_records(&b, b.shard, 0, &err), -1);
        EXPECT_INT(err, ERR_CORRUPT);
        EXPECT_MSG(strstr(b.op.info.text, path) != NULL, "%s", b.op.info.text);
        EXPECT_INT(health_of(&b, b.shard), ERR_CORRUPT);
        EXPECT_INT(append(&b, b.shard, 30000, RECORD_PRODUCER_NONE), ERR_OK);
        EXPECT_INT(count_records(&b, b.shard, 40, &err), 41 + life);
        bench_close(&b);
        EXPECT_INT(bench_open(&b), ERR_OK);
    }
    bench_release(&b);
}

enum damage {
    DAMAGE_NONE,
    DAMAGE_JOURNAL_GONE,
    DAMAGE_NEWEST_LONGER,
    DAMAGE_NEWEST_GARBAGE,
    DAMAGE_NEWEST_GONE,
    DAMAGE_NEWEST_CUT,
    DAMAGE_COUNT
};

static void put_garbage(struct bench *b, const char *path, int64_t at)
{
    uint8_t garbage[5000];
    struct fs_file file;
    for (int i = 0; i < COUNT_OF(garbage); i++) {
        garbage[i] = (uint8_t)(i * 7 + 1);
    }
    CHECK(fs_open(&b->fs, path, FS_O_WRITE, &file, NULL) == ERR_OK);
    CHECK(fs_write(&b->fs, file, garbage, COUNT_OF(garbage), at, NULL) == ERR_OK);
    fs_close(&b->fs, file);
}

static void remove_journal(struct bench *b)
{
    struct journal_scan scan;
    char path[JOURNAL_PATH_MAX];
    CHECK(journal_scan(&b->fs, false, &scan, NULL) == ERR_OK);
    for (int32_t i = 0; i < scan.count; i++) {
        journal_path(path, scan.segments[i].number);
        CHECK(fs_unlink(&b->fs, path, NULL) == ERR_OK);
    }
    journal_scan_release(&scan);
}

static void do_damage(struct bench *b, enum damage damage)
{
    char path[SHARD_PATH_MAX];
    segment_path(path, b->shard.v, 0);
    int64_t bytes = file_bytes(b, path);
    switch (damage) {
    case DAMAGE_JOURNAL_GONE:
        remove_journal(b);
        break;
    case DAMAGE_NEWEST_LONGER:
        put_garbage(b, path, bytes);
        break;
    case DAMAGE_NEWEST_GARBAGE:
        put_garbage(b, path, 0);
        break;
    case DAMAGE_NEWEST_GONE:
        CHECK(fs_unlink(&b->fs, path, NULL) == ERR_OK);
        break;
    case DAMAGE_NEWEST_CUT:
        cut_file(b, path, bytes / 2);
        break;
    case DAMAGE_NONE:
    case DAMAGE_COUNT:
        break;
    }
}

/* What is shown before a start is what the start then finds, whether the journal has the shard's bytes still or not. */
TEST(repair_shows_what_a_start_refuses_and_nothing_else)
{
    for (int damage = 0; damage < DAMAGE_COUNT; damage++) {
        for (int pushed = 0; pushed < 2; pushed++) {
            struct bench b;
            fill(&b, 20, 1000);
            CHECK(bench_open(&b) == ERR_OK);
            if (pushed) {
                push_out(&b);
            }
            bench_close(&b);
            b.fs = disk_fs(b.disk);
            do_damage(&b, (enum damage)damage);
            char text[4000];
            bool sound = false;
            int64_t changes = disk_changes(b.disk);
            EXPECT_INT(log_embedded_repair_show(&b.fs, text, sizeof(text), &sound, NULL), ERR_OK);
            EXPECT_INT(disk_changes(b.disk), changes);
            bool starts = bench_open(&b) == ERR_OK && b.report.shards_refused == 0;
            EXPECT_MSG(sound == starts, "damage %d, %d: a start goes well: %d, but\n%s", damage,
                       pushed, starts, text);
            EXPECT_MSG(!pushed || sound == (damage == DAMAGE_NONE), "damage %d\n%s", damage, text);
            bench_release(&b);
        }
    }
}

TEST(segment_file_without_a_byte_is_refused_and_named_and_not_read_for_ever)
{
    static const char path[] = "log/shards/00000001/00000000000000000000.seg";
    struct bench b;
    open_with_old_segments(&b);
    bench_close(&b);
    b.fs = disk_fs(b.disk);
    cut_file(&b, path, 0);
    EXPECT_INT(bench_open(&b), ERR_OK);
    enum err err = ERR_OK;
    EXPECT_INT(count_records(&b, b.shard, 0, &err), -1);
    EXPECT_INT(err, ERR_CORRUPT);
    EXPECT_MSG(strstr(b.op.info.text, path) != NULL, "%s", b.op.info.text);
    EXPECT_INT(count_records(&b, b.shard, 40, &err), 40); /* another segment */
    bench_release(&b);
}

/* One life that ends after `n` changes of the disk, and the next. Returns whether the first was not touched. */
static bool stop_after(int64_t n)
{
    struct bench b;
    bench_init(&b);
    int done = 0;
    disk_stop_after(b.disk, n);
    bool made = bench_open(&b) == ERR_OK && make_stream(&b, "s", &b.shard) == ERR_OK;
    done = made ? append_some(&b, 12) : 0;
    disk_power_cut(b.disk);
    bench_close(&b);
    enum err err = bench_open(&b);
    if (err != ERR_OK) {
        test_fail(__FILE__, __LINE__, "does not open, stopped after %lld changes", (long long)n);
    } else if (made) {
        int64_t count = count_records(&b, b.shard, 0, &err);
        if ((count != done && count != done + 1) ||
            append(&b, b.shard, 10, RECORD_PRODUCER_NONE) != ERR_OK) {
            test_fail(__FILE__, __LINE__,
                      "%lld records, %d acknowledged, stopped after %lld changes", (long long)count,
                      done, (long long)n);
        }
    }
    bench_release(&b);
    return done == 12;
}

TEST(store_stopped_at_any_change_keeps_what_it_acknowledged)
{
    bool untouched = false;
    for (int64_t n = 0; !untouched && n < 2000; n += 1 + n / 60) {
        untouched = stop_after(n);
    }
    EXPECT(untouched);
}

TEST(failed_sync_is_final_and_reads_go_on)
{
    struct bench b;
    fill(&b, 2, 100);
    EXPECT_INT(bench_open(&b), ERR_OK);
    settle(&b);
    struct disk_fault fault = {.kind = FS_SYNC, .nth = 1, .err = ERR_IO};
    disk_set_fault(b.disk, &fault);
    EXPECT_INT(append(&b, b.shard, 100, RECORD_PRODUCER_NONE), ERR_IO);
    EXPECT_INT(append(&b, b.shard, 100, RECORD_PRODUCER_NONE), ERR_IO);
    enum err err = ERR_OK;
    EXPECT_INT(count_records(&b, b.shard, 0, &err), 3);
    bench_close(&b);
    EXPECT_INT(bench_open(&b), ERR_OK);
    EXPECT(count_records(&b, b.shard, 0, &err) >= 3);
    EXPECT_INT(append(&b, b.shard, 100, RECORD_PRODUCER_NONE), ERR_OK);
    bench_release(&b);
}

TEST(full_disk_refuses_writes_reads_go_on_and_space_mends_it)
{
    struct bench b;
    fill(&b, 2, 100);
    EXPECT_INT(bench_open(&b), ERR_OK);
    settle(&b);
    disk_set_size(b.disk, disk_used_bytes(b.disk) + (300 << 10));
    int64_t acknowledged = 3;
    enum err err = ERR_OK;
    for (int i = 0, refused = 0; i < 100 && refused < 2; i++) {
        err = append(&b, b.shard, 30000, RECORD_PRODUCER_NONE);
        acknowledged += err == ERR_OK ? 1 : 0;
        refused = err == ERR_OK ? 0 : refused + 1;
        pass(&b, err == ERR_OK
                     ? 0
                     : 3000000000); /* journal segments that are done with give space back */
    }
    EXPECT_INT(err, ERR_NO_SPACE);
    EXPECT_INT(append(&b, b.shard, 30000, RECORD_PRODUCER_NONE), ERR_NO_SPACE);
    EXPECT(count_records(&b, b.shard, 0, &err) > 0);
    disk_set_size(b.disk, (int64_t)1 << 40);
    pass(&b, 5000000000);
    EXPECT_INT(append(&b, b.shard, 30000, RECORD_PRODUCER_NONE), ERR_OK);
    EXPECT_INT(count_records(&b, b.shard, 0, &err), acknowledged + 1);
    bench_close(&b);
    EXPECT_INT(bench_open(&b), ERR_OK);
    EXPECT_INT(count_records(&b, b.shard, 0, &err), acknowledged + 1);
    bench_release(&b);
}

/* A stream "old" of two segments and a piece, and room for little more. */
static void leave_little_room(struct bench *b, struct shard_id *ret_old)
{
    bench_init(b);
    CHECK(bench_open(b) == ERR_OK && make_stream(b, "old", ret_old) == ERR_OK &&
          make_stream(b, "s", &b->shard) == ERR_OK && make_stream(b, "t", &b->other) == ERR_OK);
    CHECK(make_stream_of(b, "sc.p.s.log", STREAM_INTERNAL | STREAM_CHANGELOG, &b->changelog) ==
          ERR_OK);
    for (int i = 0; i < 80; i++) {
        CHECK(append(b, *ret_old, 30000, RECORD_PRODUCER_NONE) == ERR_OK);
    }
    push_out(b);
    disk_set_size(b->disk, disk_used_bytes(b->disk) + (300 << 10));
}

/* The reserve is smaller than what waits for space here: a group stands still, for seconds. */
TEST(full_disk_that_stalls_a_group_is_looked_at_again_and_again_but_not_all_the_time)
{
    struct bench b;
    struct shard_id old;
    leave_little_room(&b, &old);
    for (int i = 0; i < 100; i++) {
        IGNORE_RESULT(
            append(&b, b.shard, 30000, RECORD_PRODUCER_NONE)); /* until one cannot go on */
    }
    for (int i = 0; i < 30; i++) {
        b.now_ns += 100000000;
        EXPECT(settle(&b) > b.now_ns);
    }
    disk_set_size(b.disk, (int64_t)1 << 40);
    pass(&b, 5000000000);
    EXPECT_INT(append(&b, b.shard, 30000, RECORD_PRODUCER_NONE), ERR_OK);
    bench_release(&b);
}

static void fill_disk(struct bench *b, struct shard_id *ret_old)
{
    leave_little_room(b, ret_old);
    for (int i = 0, refused = 0; i < 300 && refused < 5; i++) {
        enum err err = append(b, b->shard, 8000, RECORD_PRODUCER_NONE); /* the reserve holds one */
        CHECK(err == ERR_OK || err == ERR_NO_SPACE);
        refused = err == ERR_OK ? 0 : refused + 1;
        pass(b, err == ERR_OK ? 0 : 3000000000);
    }
    CHECK(append(b, b->shard, 8000, RECORD_PRODUCER_NONE) == ERR_NO_SPACE);
}

static enum err retain(struct bench *b, const char *name, enum log_op_kind kind, int64_t bytes)
{
    b->op = (struct log_op){.u.stream.config = {.retention_ms = -1, .retention_bytes = bytes}};
    memcpy(b->op.u.stream.config.name, name, strlen(name));
    return run(b, kind);
}

TEST(full_disk_is_mended_by_deleting_a_stream)
{
    struct bench b;
    struct shard_id old;
    enum err err = ERR_OK;
    fill_disk(&b, &old);
    int64_t count = count_records(&b, b.shard, 0, &err);
    EXPECT_INT(retain(&b, "old", LOG_OP_STREAM_DELETE, -1), ERR_OK);
    pass(&b, 5000000000);
    EXPECT_INT(append(&b, b.shard, 30000, RECORD_PRODUCER_NONE), ERR_OK);
    bench_close(&b);
    EXPECT_INT(bench_open(&b), ERR_OK);
    EXPECT_INT(count_records(&b, b.shard, 0, &err), count + 1);
    EXPECT_INT(count_records(&b, old, 0, &err), -1);
    bench_release(&b);
}

TEST(full_disk_is_mended_by_retention)
{
    struct bench b;
    struct shard_id old;
    enum err err = ERR_OK;
    fill_disk(&b, &old);
    int64_t count = count_records(&b, b.shard, 0, &err);
    EXPECT_INT(retain(&b, "old", LOG_OP_STREAM_ALTER, 1 << 20), ERR_OK);
    pass(&b, 10000000000);
    EXPECT_INT(append(&b, b.shard, 30000, RECORD_PRODUCER_NONE), ERR_OK);
    bench_close(&b);
    EXPECT_INT(bench_open(&b), ERR_OK);
    EXPECT_INT(count_records(&b, b.shard, 0, &err), count + 1);
    EXPECT_INT(count_records(&b, old, 0, &err), -1);
    EXPECT_INT(err, ERR_OFFSET_RANGE);
    bench_release(&b);
}

static int count_checkpoint_files(struct bench *b)
{
    char *names = NULL;
    ptrdiff_t bytes = 0;
    int count = 0;
    CHECK(list_folder(&b->fs, "log/checkpoints", &names, &bytes, NULL) == ERR_OK);
    for (const char *name = names; name < names + bytes; name += strlen(name) + 1) {
        count++;
    }
    mem_free(names);
    return count;
}

TEST(full_disk_keeps_no_file_of_a_checkpoint_that_it_refused)
{
    struct bench b;
    struct shard_id old;
    fill_disk(&b, &old);
    b.op = (struct log_op){.u.checkpoint = {.changelog = b.changelog, .group_hi = 64}};
    EXPECT_INT(run(&b, LOG_OP_CHECKPOINT), ERR_NO_SPACE);
    EXPECT_INT(count_checkpoint_files(&b), 1); /* it was written, but no frame could name it */
    EXPECT_INT(retain(&b, "old", LOG_OP_STREAM_DELETE, -1), ERR_OK);
    pass(&b, 5000000000);
    EXPECT_INT(count_checkpoint_files(&b), 0);
    bench_release(&b);
}

TEST(second_process_on_a_folder_is_busy)
{
    struct bench b;
    fill(&b, 1, 10);
    EXPECT_INT(bench_open(&b), ERR_OK);
    struct bench second = b;
    EXPECT_INT(bench_open(&second), ERR_BUSY);
    bench_release(&b);
}

TEST(unsynced_mode_loses_at_most_what_came_since_the_last_sync)
{
    struct bench b;
    bench_init(&b);
    b.sync = LOG_UNSYNCED;
    EXPECT_INT(bench_open(&b), ERR_OK);
    EXPECT(!b.log->synced);
    EXPECT_INT(make_stream(&b, "s", &b.shard), ERR_OK);
    for (int i = 0; i < 5; i++) {
        EXPECT_INT(append(&b, b.shard, 1000, RECORD_PRODUCER_NONE), ERR_OK);
    }
    pass(&b, 3000000000);
    for (int i = 0; i < 5; i++) {
        EXPECT_INT(append(&b, b.shard, 1000, RECORD_PRODUCER_NONE), ERR_OK);
    }
    disk_power_cut(b.disk);
    bench_close(&b);
    enum err err = ERR_OK;
    EXPECT_INT(bench_open(&b), ERR_OK);
    int64_t count = count_records(&b, b.shard, 0, &err);
    EXPECT_MSG(count >= 5 && count <= 10, "%lld", (long long)count);
    EXPECT_INT(append(&b, b.shard, 10, RECORD_PRODUCER_NONE), ERR_OK);
    bench_release(&b);
}

/* Appends until the committer alone, its syncer standing still, has begun a journal segment while the one before it is not
 * durable, or cannot go on. Returns the number of appends; *ret_open: it has. */
static int append_past_a_roll(struct bench *b, bool *ret_open)
{
    int count = 0;
    b->loop_count = 1;
    while (count < 4 && append(b, b->shard, 30000, RECORD_PRODUCER_NONE) == ERR_OK) {
        count++;
    }
    struct journal_scan scan;
    CHECK(journal_scan(&b->fs, true, &scan, NULL) == ERR_OK && scan.tail == TAIL_CLEAN);
    *ret_open = scan.last_good > 0 && scan.segments[scan.last_good].open;
    journal_scan_release(&scan);
    return count;
}

TEST(unsynced_mode_keeps_a_beginning_whatever_is_left_of_two_segments)
{
    int open = 0, shortened = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct bench b;
        bench_init_with(&b, test_seed() + seed);
        b.sync = LOG_UNSYNCED;
        CHECK(bench_open(&b) == ERR_OK && make_stream(&b, "s", &b.shard) == ERR_OK);
        int durable = 18 + (int)(seed % 6); /* the first segment is the largest */
        for (int i = 0; i < durable; i++) {
            EXPECT_INT(append(&b, b.shard, 60000, RECORD_PRODUCER_NONE), ERR_OK);
        }
        pass(&b, 3000000000);
        bool is_open = false;
        int appended = durable + append_past_a_roll(&b, &is_open);
        disk_power_cut(b.disk);
        bench_close(&b);
        enum err err = ERR_OK;
        EXPECT_INT(bench_open(&b), ERR_OK);
        EXPECT_INT(b.report.shards_refused, 0);
        int64_t count = count_records(&b, b.shard, 0, &err);
        EXPECT_MSG(count >= durable && count <= appended, "seed %d: %lld of %d..%d", (int)seed,
                   (long long)count, durable, appended);
        EXPECT_INT(append(&b, b.shard, 10, RECORD_PRODUCER_NONE), ERR_OK);
        open += is_open;
        shortened += is_open && count < appended;
        bench_release(&b);
    }
    EXPECT(open > 0 && shortened > 0);
}

TEST(producer_is_known_after_restarts_and_journal_rolls)
{
    struct bench b;
    fill(&b, 1, 10);
    EXPECT_INT(bench_open(&b), ERR_OK);
    b.op = (struct log_op){0};
    EXPECT_INT(run(&b, LOG_OP_PRODUCER_INIT), ERR_OK);
    struct record_producer producer = {.id = b.op.u.producer.ret_id};
    EXPECT_INT(append(&b, b.shard, 10, producer), ERR_OK);
    int64_t offset = b.op.u.append.ret_base_offset;
    for (int life = 0; life < 3; life++) {
        push_out(&b);
        bench_close(&b);
        EXPECT_INT(bench_open(&b), ERR_OK);
        EXPECT_INT(append(&b, b.shard, 10, producer), ERR_OK);
        EXPECT(b.op.u.append.ret_duplicate);
        EXPECT_INT(b.op.u.append.ret_base_offset, offset);
    }
    producer.base_sequence = 2;
    EXPECT_INT(append(&b, b.shard, 10, producer), ERR_SEQUENCE);
    bench_release(&b);
}
