// SPDX-License-Identifier: Apache-2.0
// Yahoo's streaming benchmark: views of ads, by a table in memory, counted per campaign and 10 s; 100,000 events a second of
// event time.
//
//   ysb-a   JSON of 254 bytes from the log, through lanes, results into the log, commits of 1 s; beside it a loop that
//           reads the same batches from a file, checks and walks them, reads the values with simdjson, joins and counts
//   ysb-b   the JSON from memory; beside it a loop that checks and walks the batches, reads the values with simdjson, joins
//           and counts; in ysb-b-values without the batches, over the values alone
//   ysb-c   78 bytes from memory; beside it a loop that checks and walks the batches, joins and counts
//   ysb-k   ysb-c with a million campaigns of one ad
//   ysb-c-node   ysb-c from log to log

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/real/fs_real.h"
#include "base/real/temp_dir.h"
#include "bench/bare_ysb.h"
#include "bench/events.h"
#include "bench/feed_run.h"
#include "bench/node_run.h"
#include "bench/rows.h"

enum {
    YSB_RECORDS = 1 << 19,
    YSB_MANY_RECORDS = 1 << 21, /* of the row with many campaigns: some windows' worth */
    YSB_RATE = 100000,
    YSB_STEP = 1024,
    YSB_READ_BYTES = 1 << 20,
    YSB_FEW_CAMPAIGNS = 100,
    YSB_MANY_CAMPAIGNS = 1000000
};

struct ysb_spec {
    enum ysb_form form;
    bool through_node;
    bool many; /* campaigns */
};

struct ysb_row {
    struct ysb_options options;
    struct feed feed;
    struct feed_run run;
    struct lookup_table *table;
    struct bare_ysb *bare;
    int64_t bare_at;
    struct str *values; /* of JSON: views into the feed */
    int64_t value_count, value_at;
    /* through the log */
    bool through_node;
    struct node_run node;
    struct arena stages;
    char path[TEMP_DIR_MAX]; /* the ads' file; the input's, for the bare loop */
    struct fs fs;
    struct fs_file in;
    char *buf;
};

static void ysb_close(void *self)
{
    struct ysb_row *row = self;
    node_run_close(&row->node);
    feed_run_close(&row->run);
    feed_release(&row->feed);
    lookup_table_unref(row->table);
    bare_ysb_free(row->bare);
    mem_free(row->values);
    arena_release(&row->stages);
    fs_close(&row->fs, row->in);
    fs_real_close(&row->fs);
    if (row->path[0] != '\0') {
        temp_dir_remove(row->path);
    }
    mem_free(row->buf);
    mem_free(row);
}

static int64_t ysb_engine(void *self)
{
    struct ysb_row *row = self;
    return feed_run_step(&row->run, &row->feed);
}

static enum err ysb_node(void *self, double *ret_per_s, struct err_info *info)
{
    struct ysb_row *row = self;
    return node_run_slice(&row->node, ret_per_s, info);
}

/* The next of the JSON values; at their end the window closes. */
static int64_t ysb_limit_values(void *self)
{
    struct ysb_row *row = self;
    if (row->value_at == row->value_count) {
        bare_ysb_finish(row->bare);
        row->value_at = 0;
    }
    int64_t left = row->value_count - row->value_at;
    int32_t count = left < YSB_STEP ? (int32_t)left : YSB_STEP;
    bare_ysb_values(row->bare, row->values + row->value_at, count);
    row->value_at += count;
    return count;
}

/* The next batch of the input. */
static int64_t limit_batch(struct ysb_row *row,
                           int64_t (*batch)(struct bare_ysb *bare, const char *bytes, int64_t len,
                                            ptrdiff_t *ret_total))
{
    if (row->bare_at == row->feed.len) {
        bare_ysb_finish(row->bare);
        row->bare_at = 0;
    }
    ptrdiff_t total;
    int64_t records =
        batch(row->bare, row->feed.bytes + row->bare_at, row->feed.len - row->bare_at, &total);
    row->bare_at += total;
    return records;
}

static int64_t ysb_limit_binary(void *self)
{
    return limit_batch(self, bare_ysb_binary_batch);
}

static int64_t ysb_limit_json(void *self)
{
    return limit_batch(self, bare_ysb_json_batch);
}

/* All of the input, read from a file in pieces. */
static enum err read_pass(struct ysb_row *row, int64_t *ret_records, struct err_info *info)
{
    enum err err = ERR_OK;
    *ret_records = 0;
    for (int64_t at = 0; at < row->feed.len && err == ERR_OK;) {
        ptrdiff_t got = 0;
        err = fs_read(&row->fs, row->in, row->buf, YSB_READ_BYTES, at, &got, info);
        ptrdiff_t total = 0;
        for (ptrdiff_t used = 0; err == ERR_OK && used + RECORD_BATCH_HEADER <= got;
             used += total) {
            struct record_batch_header header;
            if (record_batch_parse(row->buf + used, got - used, &header, &total, NULL) != ERR_OK) {
                break; // goes on in the next piece
            }
            *ret_records += bare_ysb_json_batch(row->bare, row->buf + used, got - used, &total);
            at += total;
        }
    }
    bare_ysb_finish(row->bare);
    return err;
}

static enum err ysb_limit_file(void *self, double *ret_per_s, struct err_info *info)
{
    struct ysb_row *row = self;
    const struct clock *clock = &row->node.engine.clock;
    int64_t records;
    int64_t begun_ns = clock_thread_cpu_ns(clock);
    enum err err = read_pass(row, &records, info);
    int64_t ns = clock_thread_cpu_ns(clock) - begun_ns;
    if (err == ERR_OK) {
        *ret_per_s = (double)records * 1e9 / (double)ns;
    }
    return err;
}

/* --- making --- */

/* Views of all values, so that both sides read the same bytes. */
static void index_values(struct ysb_row *row, int64_t records)
{
    struct arena arena;
    arena_init(&arena, 64 << 20);
    row->values = MEM_NEW_ARRAY(struct str, records);
    while (row->feed.at < row->feed.len) {
        struct batch *batch;
        feed_begin(&row->feed);
        while ((batch = feed_next(&row->feed, &arena)) != NULL) {
            memcpy(row->values + row->value_count, batch->value,
                   (size_t)batch->count * sizeof *batch->value);
            row->value_count += batch->count;
            arena_reset(&arena);
        }
    }
    row->feed.at = 0;
    arena_release(&arena);
}

/* A pass of both sides: both must find as many results. */
static enum err compare_results(struct ysb_row *row, int64_t (*limit)(void *self), int64_t records,
                                struct err_info *info)
{
    while (row->feed.at < row->feed.len) {
        feed_run_step(&row->run, &row->feed);
    }
    feed_run_finish(&row->run);
    int64_t results = row->run.output_rows;
    feed_run_restart(&row->run);
    row->feed.at = 0;
    for (int64_t done = 0; done < records;) {
        done += limit(row);
    }
    bare_ysb_finish(row->bare);
    row->bare_at = row->value_at = 0;
    int64_t wanted = bare_ysb_results(row->bare);
    return results == wanted ? ERR_OK
                             : err_set(info, ERR_INTERNAL, "ysb: %lld results, by hand %lld",
                                       (long long)results, (long long)wanted);
}

static enum err open_memory(struct ysb_row *row, const struct ysb_spec *spec, int64_t records,
                            struct err_info *info)
{
    row->table = events_ads_table(&row->options);
    const char *stages =
        ysb_stages(&row->stages, spec->form, "{file: ads, format: json, key: ad_id}");
    if (spec->form == YSB_JSON) {
        index_values(row, records);
    }
    enum err err = feed_run_open(
        &row->run,
        &(struct feed_run_options){.stages = stages, .table = row->table, .restarts = true}, info);
    return err == ERR_OK
               ? compare_results(row, spec->form == YSB_JSON ? ysb_limit_values : ysb_limit_binary,
                                 records, info)
               : err;
}

/* A file of the row's folder that holds `text`; `*ret_file` stays open. */
static enum err write_file(const struct ysb_row *row, const char *name, struct str text,
                           struct fs_file *ret_file, struct err_info *info)
{
    enum err err = fs_open(&row->fs, name, FS_O_READ | FS_O_WRITE | FS_O_CREATE, ret_file, info);
    return err == ERR_OK ? fs_write(&row->fs, *ret_file, text.ptr, text.len, 0, info) : err;
}

static enum err open_node(struct ysb_row *row, const struct ysb_spec *spec, struct err_info *info)
{
    enum err err = temp_dir_make_in_memory("shadowcast-bench", row->path, info);
    if (err != ERR_OK) {
        row->path[0] = '\0';
        return err;
    }
    err = fs_real_open(row->path, &row->fs, info);
    if (err != ERR_OK) {
        return err;
    }
    struct arena text;
    struct fs_file ads = {-1};
    arena_init(&text, 1 << 30);
    err = write_file(row, "ads", events_ads(&text, &row->options), &ads, info);
    arena_release(&text);
    fs_close(&row->fs, ads);
    struct str input = {row->feed.bytes, row->feed.len};
    err = err == ERR_OK ? write_file(row, "in", input, &row->in, info) : err;
    if (err != ERR_OK) {
        return err;
    }
    row->buf = mem_new(YSB_READ_BYTES + RECORD_READ_PADDING, 1);
    const char *table = "{file: ads, format: json, key: ad_id}";
    row->node =
        (struct node_run){.stages = ysb_stages(&row->stages, spec->form, table), .commit = "1s"};
    return node_run_open(&row->node,
                         &(struct engine_options){.sync = LOG_UNSYNCED, .files = &row->fs},
                         &row->feed, info);
}

static enum err ysb_open(const struct ysb_spec *spec, uint64_t seed, void **ret_self,
                         struct err_info *info)
{
    struct ysb_row *row = MEM_NEW(struct ysb_row);
    int64_t records = spec->many ? YSB_MANY_RECORDS : YSB_RECORDS;
    row->in = (struct fs_file){-1};
    row->options =
        (struct ysb_options){.seed = seed,
                             .rate = YSB_RATE,
                             .campaigns = spec->many ? YSB_MANY_CAMPAIGNS : YSB_FEW_CAMPAIGNS,
                             .ads_per_campaign = spec->many ? 1 : 10};
    arena_init(&row->stages, 1 << 20);
    feed_init(&row->feed, 0);
    events_add_ysb(&row->feed, &row->options, records, spec->form);
    row->bare = bare_ysb_new(&row->options);
    enum err err =
        spec->through_node ? open_node(row, spec, info) : open_memory(row, spec, records, info);
    if (err != ERR_OK) {
        ysb_close(row);
        return err;
    }
    *ret_self = row;
    return ERR_OK;
}

#define YSB_OPEN(opener, of, node, many_campaigns) \
    static enum err opener(uint64_t seed, void **ret_self, struct err_info *info) \
    { \
        return ysb_open( \
            &(struct ysb_spec){.form = (of), .through_node = (node), .many = (many_campaigns)}, \
            seed, ret_self, info); \
    }

YSB_OPEN(open_a, YSB_JSON, true, false)
YSB_OPEN(open_b, YSB_JSON, false, false)
YSB_OPEN(open_c, YSB_BINARY, false, false)
YSB_OPEN(open_c_node, YSB_BINARY, true, false)
YSB_OPEN(open_k, YSB_BINARY, false, true)

const struct bench_row bench_ysb_a = {
    .name = "ysb-a",
    .goal = "G4",
    .engine = "Yahoo's benchmark: JSON from the log, results into the log, commits of 1 s",
    .limit = "read, check, walk, simdjson, join, count by hand",
    .floor_percent = 60,
    .open = open_a,
    .close = ysb_close,
    .engine_slice = ysb_node,
    .limit_slice = ysb_limit_file,
};

const struct bench_row bench_ysb_b = {
    .name = "ysb-b",
    .goal = "G4",
    .engine = "Yahoo's benchmark: JSON from memory",
    .limit = "check, walk, simdjson record by record, join, count by hand",
    .floor_percent = 70,
    .open = open_b,
    .close = ysb_close,
    .engine_step = ysb_engine,
    .limit_step = ysb_limit_json,
};

const struct bench_row bench_ysb_b_values = {
    .name = "ysb-b-values",
    .engine = "the same",
    .limit = "simdjson over the values alone, join, count by hand",
    .open = open_b,
    .close = ysb_close,
    .engine_step = ysb_engine,
    .limit_step = ysb_limit_values,
};

const struct bench_row bench_ysb_c = {
    .name = "ysb-c",
    .goal = "G4",
    .engine = "Yahoo's benchmark: binary events from memory",
    .limit = "check, walk, join, count by hand",
    .floor_percent = 25,
    .open = open_c,
    .close = ysb_close,
    .engine_step = ysb_engine,
    .limit_step = ysb_limit_binary,
};

const struct bench_row bench_ysb_k = {
    .name = "ysb-k",
    .engine = "the same with a million campaigns",
    .limit = "check, walk, join, count by hand",
    .open = open_k,
    .close = ysb_close,
    .engine_step = ysb_engine,
    .limit_step = ysb_limit_binary,
};

const struct bench_row bench_ysb_c_node = {
    .name = "ysb-c-node",
    .engine = "binary events from log to log: lanes, commits of 1 s",
    .limit = "check, walk, join, count by hand",
    .open = open_c_node,
    .close = ysb_close,
    .engine_slice = ysb_node,
    .limit_step = ysb_limit_binary,
};
