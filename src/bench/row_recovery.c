// SPDX-License-Identifier: Apache-2.0
// Recovery after a kill: a state of a million keys whose changelog holds a million changes and another million on top of
// them. Told is the wall time from opening the log until the partition runs, over and over, and beside each recovery the
// bound: read the changelog's files, check them, decode their records, put them into a bare table. The files are on a disk
// but in the page cache, as after the end of a process.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "bench/bench.h"
#include "bench/engine.h"
#include "bench/feed.h"
#include "bench/rows.h"

enum {
    RECOVERY_KEYS = 1000000,
    RECOVERY_EVENTS = 30,
    RECOVERY_CELLS = 1 << 21,
    RECOVERY_FILES_BYTES = 64 << 10,
    RECOVERY_PATH = 128
};

#define RECOVERY_MAX_MS    1000.0
#define RECOVERY_TIMES_MAX 2.0

static const char RECOVERY_YAML[] =
    "version: 1\nstreams: {in: {shards: 1}, out: {shards: 1}}\n"
    "pipelines:\n  p:\n    commit: 100ms\n    memory: 4GiB\n    stages:\n"
    "      - {name: s, from: in, chain: [{window: {name: w, tumbling: 1d, out: {n: count}}}], to: out}\n";

struct cell {
    uint64_t key, value;
};

struct recovery {
    const struct clock *clock;
    struct engine engine;
    struct shard_id changelog;
    struct cell *cells;
    char *buf;
    int64_t entries; /* of the last bound's run */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* --- the bound --- */

static void put(struct recovery *r, const struct record *record)
{
    uint64_t hash = hash64(record->key.ptr, record->key.len) | 1;
    uint64_t place = hash & (RECOVERY_CELLS - 1);
    while (r->cells[place].key != hash && r->cells[place].key != 0) {
        place = (place + 1) & (RECOVERY_CELLS - 1);
    }
    r->cells[place] = (struct cell){.key = hash, .value = (uint64_t)record->value.len};
    r->entries++;
}

static enum err load_file(struct recovery *r, const char *path, struct record_reader *reader,
                          struct err_info *info)
{
    struct fs_file file;
    const struct fs *fs = &r->engine.fs;
    enum err err = fs_open(fs, path, FS_O_READ, &file, info);
    if (err != ERR_OK) {
        return err;
    }
    ptrdiff_t got = 1;
    for (int64_t at = 0; err == ERR_OK && got > 0;) {
        err = fs_read(fs, file, r->buf, LOG_BATCH_BYTES_MAX, at, &got, info);
        ptrdiff_t used = 0;
        struct record_batch_header header;
        ptrdiff_t total;
        while (err == ERR_OK && got - used >= RECORD_BATCH_HEADER &&
               record_batch_parse(r->buf + used, got - used, &header, &total, NULL) == ERR_OK) {
            CHECK(record_batch_verify(r->buf + used, total, NULL) == ERR_OK);
            CHECK(record_reader_begin(reader, r->buf + used, total, NULL) == ERR_OK);
            struct record record;
            while (record_reader_next(reader, &record, NULL) == ERR_OK) {
                put(r, &record);
            }
            used += total;
        }
        at += used;
        got = used; // nothing whole left: the end
    }
    fs_close(fs, file);
    return err;
}

static enum err bound(struct recovery *r, double *ret_ms, struct err_info *info)
{
    char folder[RECOVERY_PATH];
    char *names = mem_new(RECOVERY_FILES_BYTES, 1);
    struct record_reader reader;
    ptrdiff_t len = 0;
    record_reader_init(&reader);
    IGNORE_RESULT(snprintf(folder, sizeof folder, "log/shards/%08x", r->changelog.v)); // fits
    int64_t begun_ns = clock_now_ns(r->clock);
    r->cells = MEM_NEW_ARRAY(struct cell, RECOVERY_CELLS);
    r->entries = 0;
    enum err err = fs_list(&r->engine.fs, folder, names, RECOVERY_FILES_BYTES, &len, info);
    for (ptrdiff_t at = 0; err == ERR_OK && at < len;) {
        struct str name = str_of(names + at);
        at += name.len + 1;
        if (str_ends_with(name, STR(".seg"))) {
            char path[RECOVERY_PATH * 2];
            IGNORE_RESULT(snprintf(path, sizeof path, "%s/%.*s", folder, STR_ARG(name))); // fits
            err = load_file(r, path, &reader, info);
        }
    }
    *ret_ms = (double)(clock_now_ns(r->clock) - begun_ns) / 1e6;
    mem_free(r->cells);
    record_reader_release(&reader);
    mem_free(names);
    return err;
}

/* --- the engine --- */

/* Each key once, then each once more, in other batches; all of it processed and committed. */
static enum err build(struct recovery *r, struct err_info *info)
{
    struct feed feed;
    struct shard_id in;
    feed_init(&feed, 1);
    for (int64_t i = 0; i < 2 * (int64_t)RECOVERY_KEYS; i++) {
        uint64_t key = (uint64_t)(i % RECOVERY_KEYS) * 7919 % RECOVERY_KEYS;
        feed_add(&feed, (struct str){.ptr = (const char *)&key, .len = 8}, STR("value of 16 byte"),
                 i / 1000);
    }
    feed_flush(&feed);
    enum err err = engine_start(&r->engine, RECOVERY_YAML, info);
    if (err == ERR_OK) {
        in = stage_shard(node_runtime_stream(r->engine.runtime, STR("in")), 0);
        r->changelog = stage_shard(node_runtime_stage(r->engine.runtime, 0)->changelog, 0);
    }
    for (int64_t at = 0; at < feed.len && err == ERR_OK;) {
        struct record_batch_header header;
        ptrdiff_t total;
        CHECK(record_batch_parse(feed.bytes + at, feed.len - at, &header, &total, NULL) == ERR_OK);
        err = engine_append(&r->engine, in, feed.bytes + at, total, info);
        at += total;
    }
    while (err == ERR_OK && !node_runtime_quiet(r->engine.runtime)) {
        clock_real_sleep(ENGINE_CALL_PAUSE_NS);
    }
    feed_release(&feed);
    return err;
}

static enum err recover(struct recovery *r, double *ret_ms, struct err_info *info)
{
    engine_kill(&r->engine);
    int64_t begun_ns = clock_now_ns(r->clock);
    enum err err = engine_reopen(&r->engine, info);
    err = err == ERR_OK ? engine_start(&r->engine, RECOVERY_YAML, info) : err;
    *ret_ms = (double)(clock_now_ns(r->clock) - begun_ns) / 1e6;
    return err;
}

static enum err recovery_measure(const struct bench_options *options, struct bench_result *result,
                                 struct err_info *info)
{
    struct recovery *r = MEM_NEW(struct recovery);
    double took[RECOVERY_EVENTS];
    double ratio[RECOVERY_EVENTS];
    double bounds[RECOVERY_EVENTS];
    r->clock = options->clock;
    r->buf = mem_new(LOG_BATCH_BYTES_MAX + RECORD_READ_PADDING, 1);
    enum err err =
        engine_open(&(struct engine_options){.sync = LOG_SYNC, .threads = true, .on_disk = true},
                    &r->engine, info);
    err = err == ERR_OK ? build(r, info) : err;
    for (int i = 0; i < RECOVERY_EVENTS && err == ERR_OK; i++) {
        err = recover(r, &took[i], info);
        err = err == ERR_OK ? bound(r, &bounds[i], info) : err;
        ratio[i] = err == ERR_OK ? took[i] / bounds[i] : 0;
    }
    if (err == ERR_OK) {
        qsort(took, RECOVERY_EVENTS, sizeof took[0], by_value);
        qsort(ratio, RECOVERY_EVENTS, sizeof ratio[0], by_value);
        qsort(bounds, RECOVERY_EVENTS, sizeof bounds[0], by_value);
        bench_add_figure(result, "changelog entries read", "entries", (double)r->entries, NAN);
        bench_add_figure(result, "recovery: median", "ms", took[RECOVERY_EVENTS / 2], NAN);
        bench_add_figure(result, "recovery: longest", "ms", took[RECOVERY_EVENTS - 1],
                         RECOVERY_MAX_MS);
        bench_add_figure(result, "bound: median", "ms", bounds[RECOVERY_EVENTS / 2], NAN);
        bench_add_figure(result, "recovery / bound: median", "times", ratio[RECOVERY_EVENTS / 2],
                         RECOVERY_TIMES_MAX);
    }
    engine_close(&r->engine);
    mem_free(r->buf);
    mem_free(r);
    return err;
}

const struct bench_row bench_recovery = {
    .name = "recovery",
    .goal = "G10",
    .engine = "open the log and restore 1 M keys from 2 M changes, 30 times",
    .measure = recovery_measure,
};
