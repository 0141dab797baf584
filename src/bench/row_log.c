// SPDX-License-Identifier: Apache-2.0
// Records of 200 bytes from log to log, through the whole engine: read, checked, decoded, encoded, journal, shard. Against a
// loop that reads the same bytes from a file, checks them, frames them, writes the frame into a journal and the batches
// into a shard's file. The journal's segments are zeroed and synced before their first use, and a shard's file is synced
// when a segment is full, on both sides inside the measured stretch.
//
// `log-to-log` runs unsynced, its files in memory if /dev/shm is there, and counts CPU time of one thread that steps
// everything. `log-durable` has a thread for each
// loop, syncs each group of 64 KiB before the next one, and counts wall time.

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/fs_real.h"
#include "base/rng.h"
#include "bench/node_run.h"
#include "bench/rows.h"

enum {
    LOG_ROW_RECORDS = 1 << 20,
    LOG_ROW_DURABLE_RECORDS = 1 << 18,
    LOG_ROW_VALUE_BYTES = 180,
    LOG_ROW_READ_BYTES = 256 << 10,
    LOG_ROW_FRAME_HEADER = 64,
    LOG_ROW_SEGMENT_BYTES = 64 << 20,
    LOG_ROW_GROUP_BYTES = 2 << 20, /* the engine's default */
    LOG_ROW_DURABLE_BYTES = 64 << 10
};

struct log_row {
    struct feed feed;
    struct node_run run;
    bool durable;
    /* the limit's side */
    char path[TEMP_DIR_MAX];
    struct fs fs;
    struct fs_file in, journal, shard;
    struct clock clock;
    char *buf, *frame;
    int64_t group_bytes;
    int64_t journal_at, shard_at;
};

static void log_row_close(void *self)
{
    struct log_row *row = self;
    node_run_close(&row->run);
    feed_release(&row->feed);
    fs_close(&row->fs, row->in);
    fs_close(&row->fs, row->journal);
    fs_close(&row->fs, row->shard);
    fs_real_close(&row->fs);
    if (row->path[0] != '\0') {
        temp_dir_remove(row->path);
    }
    mem_free(row->buf);
    mem_free(row->frame);
    mem_free(row);
}

/* A new journal segment, all zeros, on the disk; the shard's file synced up to here and begun anew. */
static enum err next_segment(struct log_row *row, struct err_info *info)
{
    enum err err = fs_sync(&row->fs, row->shard, info);
    fs_close(&row->fs, row->journal);
    row->journal = (struct fs_file){-1};
    err = err == ERR_OK ? fs_unlink(&row->fs, "journal", info) : err;
    err = err == ERR_OK
              ? fs_open(&row->fs, "journal", FS_O_WRITE | FS_O_CREATE, &row->journal, info)
              : err;
    char *zeros = MEM_NEW_ARRAY(char, 1 << 20);
    for (int64_t at = 0; at < LOG_ROW_SEGMENT_BYTES && err == ERR_OK; at += 1 << 20) {
        err = fs_write(&row->fs, row->journal, zeros, 1 << 20, at, info);
    }
    mem_free(zeros);
    row->journal_at = 0;
    return err == ERR_OK ? fs_sync(&row->fs, row->journal, info) : err;
}

/* Frames `len` bytes, writes the frame, syncs it if that is asked for, writes the bytes behind the shard's others. */
static enum err write_group(struct log_row *row, ptrdiff_t len, struct err_info *info)
{
    ptrdiff_t total = LOG_ROW_FRAME_HEADER + len;
    uint32_t crc = crc32c(0, row->frame + LOG_ROW_FRAME_HEADER, len);
    memcpy(row->frame, &crc, sizeof crc);
    enum err err = ERR_OK;
    if (row->journal_at + total > LOG_ROW_SEGMENT_BYTES) {
        err = next_segment(row, info);
    }
    if (err == ERR_OK) {
        err = fs_write(&row->fs, row->journal, row->frame, total, row->journal_at, info);
    }
    row->journal_at += (total + 511) / 512 * 512;
    if (err == ERR_OK && row->durable) {
        err = fs_sync(&row->fs, row->journal, info);
    }
    if (err == ERR_OK) {
        err = fs_write(&row->fs, row->shard, row->frame + LOG_ROW_FRAME_HEADER, len, row->shard_at,
                       info);
    }
    row->shard_at += len;
    return err;
}

/* Reads all of the input, in pieces; writes it in groups. */
static enum err limit_pass(struct log_row *row, struct err_info *info)
{
    ptrdiff_t filled = 0;
    enum err err = fs_truncate(&row->fs, row->shard, 0, info);
    row->shard_at = 0;
    for (int64_t at = 0; at < row->feed.len && err == ERR_OK;) {
        ptrdiff_t got = 0;
        err = fs_read(&row->fs, row->in, row->buf, LOG_ROW_READ_BYTES, at, &got, info);
        ptrdiff_t total = 0;
        for (ptrdiff_t used = 0; err == ERR_OK && used + RECORD_BATCH_HEADER <= got;
             used += total) {
            struct record_batch_header header;
            if (record_batch_parse(row->buf + used, got - used, &header, &total, NULL) != ERR_OK) {
                break; // goes on in the next piece
            }
            CHECK(record_batch_verify(row->buf + used, total, NULL) == ERR_OK);
            memcpy(row->frame + LOG_ROW_FRAME_HEADER + filled, row->buf + used, (size_t)total);
            filled += total;
            at += total;
            if (filled + total > row->group_bytes) {
                err = write_group(row, filled, info);
                filled = 0;
            }
        }
    }
    return err == ERR_OK && filled > 0 ? write_group(row, filled, info) : err;
}

static enum err log_limit(void *self, double *ret_per_s, struct err_info *info)
{
    struct log_row *row = self;
    int64_t begun_ns = row->durable ? clock_now_ns(&row->clock) : clock_thread_cpu_ns(&row->clock);
    enum err err = limit_pass(row, info);
    int64_t now_ns = row->durable ? clock_now_ns(&row->clock) : clock_thread_cpu_ns(&row->clock);
    if (err == ERR_OK) {
        *ret_per_s = (double)row->run.records * 1e9 / (double)(now_ns - begun_ns);
    }
    return err;
}

static enum err log_engine(void *self, double *ret_per_s, struct err_info *info)
{
    struct log_row *row = self;
    return node_run_slice(&row->run, ret_per_s, info);
}

static enum err open_limit(struct log_row *row, struct err_info *info)
{
    row->in = row->journal = row->shard = (struct fs_file){-1};
    row->clock = clock_real();
    row->buf = mem_new(LOG_ROW_READ_BYTES, 1);
    row->frame = mem_new(LOG_ROW_FRAME_HEADER + LOG_ROW_GROUP_BYTES + LOG_ROW_READ_BYTES, 1);
    enum err err = row->durable ? temp_dir_make("shadowcast-bench", row->path, info)
                                : temp_dir_make_in_memory("shadowcast-bench", row->path, info);
    if (err != ERR_OK) {
        row->path[0] = '\0';
        return err;
    }
    err = fs_real_open(row->path, &row->fs, info);
    if (err != ERR_OK) {
        return err;
    }
    uint32_t flags = FS_O_READ | FS_O_WRITE | FS_O_CREATE;
    err = fs_open(&row->fs, "in", flags, &row->in, info);
    err = err == ERR_OK ? fs_open(&row->fs, "journal", flags, &row->journal, info) : err;
    err = err == ERR_OK ? fs_open(&row->fs, "shard", flags, &row->shard, info) : err;
    err =
        err == ERR_OK ? fs_write(&row->fs, row->in, row->feed.bytes, row->feed.len, 0, info) : err;
    return err == ERR_OK ? next_segment(row, info) : err;
}

static void fill(struct feed *feed, int32_t records, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (int32_t i = 0; i < records; i++) {
        uint64_t key = rng_below(&rng, 100000);
        char value[LOG_ROW_VALUE_BYTES];
        memset(value, (int)rng_below(&rng, 256), sizeof value);
        feed_add(feed, (struct str){.ptr = (const char *)&key, .len = 8},
                 (struct str){.ptr = value, .len = (ptrdiff_t)sizeof value}, i);
        if (feed->builder.count == LOG_ROW_DURABLE_BYTES / 200) {
            feed_flush(feed); // batches of the smaller group's size, for both rows
        }
    }
    feed_flush(feed);
}

static enum err open_row(uint64_t seed, bool durable, void **ret_self, struct err_info *info)
{
    struct log_row *row = MEM_NEW(struct log_row);
    row->durable = durable;
    row->group_bytes = durable ? LOG_ROW_DURABLE_BYTES + 4096 : LOG_ROW_GROUP_BYTES;
    feed_init(&row->feed, LOG_ROW_RECORDS);
    fill(&row->feed, durable ? LOG_ROW_DURABLE_RECORDS : LOG_ROW_RECORDS, seed);
    /* A durable commit is full long before; what a pass ends with is not, and waits so long. */
    row->run = (struct node_run){.chain = "[]", .commit = durable ? "5ms" : "1s"};
    struct engine_options options = {
        .sync = durable ? LOG_SYNC : LOG_UNSYNCED, .threads = durable, .on_disk = durable};
    if (durable) {
        options.tuning.commit_bytes = LOG_ROW_DURABLE_BYTES;
        options.tuning.batch_rows = LOG_ROW_DURABLE_BYTES / 200;
    }
    enum err err = open_limit(row, info);
    err = err == ERR_OK ? node_run_open(&row->run, &options, &row->feed, info) : err;
    if (err != ERR_OK) {
        log_row_close(row);
        return err;
    }
    *ret_self = row;
    return ERR_OK;
}

static enum err open_unsynced(uint64_t seed, void **ret_self, struct err_info *info)
{
    return open_row(seed, false, ret_self, info);
}

static enum err open_durable(uint64_t seed, void **ret_self, struct err_info *info)
{
    return open_row(seed, true, ret_self, info);
}

const struct bench_row bench_log_to_log = {
    .name = "log-to-log",
    .goal = "G1a",
    .engine = "200 B records from log to log, unsynced",
    .limit = "read, check, frame, write to a journal and a shard's file",
    .floor_percent = 50,
    .open = open_unsynced,
    .close = log_row_close,
    .engine_slice = log_engine,
    .limit_slice = log_limit,
};

const struct bench_row bench_log_durable = {
    .name = "log-durable",
    .goal = "G1c",
    .engine = "200 B records from log to log, a sync for each group of 64 KiB",
    .limit = "write 64 KiB to a zeroed journal, sync, write to a shard's file",
    .floor_percent = 80,
    .wall = true,
    .on_disk = true,
    .open = open_durable,
    .close = log_row_close,
    .engine_slice = log_engine,
    .limit_slice = log_limit,
};
