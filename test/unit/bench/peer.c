// SPDX-License-Identifier: Apache-2.0
// Shadowcast's side of the comparison with its peers (bench/peers/README.md): the same queries over the same file, the same
// hash of results, CPU time of the whole process. Usage: see usage() below; prints one JSON line a pass.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/fs_real.h"
#include "bench/feed_run.h"
#include "bench/node_run.h"
#include "pipeline/lookup_table.h"

enum { PASSES_MAX = 100, KEY_AT = 9, LINES_MAX = 1 << 24, TEXT_BYTES_MAX = 1 << 20 };

/* `{"user":"`: what each line begins with. */
static const char HEAD[] = "{\"user\":\"";

#define VIEWS \
    "{parse: {name: p, format: json, fields: {kind: string, user: string, ts: int}}}, " \
    "{filter: {name: f, where: \"kind == 'view'\"}}"

struct query {
    const char *name, *chain;
    bool with_key;      /* its result lines are key, time, value; else the value alone */
    const char *stages; /* instead of a chain: of a configuration of examples/ */
    struct lookup_table *table;
    const struct fs *files; /* the folder that the lookup's table is in */
};

static const struct query QUERIES[] = {
    {"filter", "[" VIEWS ", {map: {name: m, select: [user, ts]}}]", false, NULL, NULL, NULL},
    {"count", "[" VIEWS ", {window: {name: w, tumbling: 10s, out: {n: count}}}]", true, NULL, NULL,
     NULL},
};

struct results {
    const struct query *query;
    uint64_t hash;
    int64_t count;
};

static void add_result(struct results *results, struct str key, int64_t time_ms, struct str value)
{
    char line[512];
    int len = (int)value.len;
    const char *text = value.ptr;
    if (results->query->with_key) {
        len = snprintf(line, sizeof line, "%.*s,%lld,%.*s", STR_ARG(key), (long long)time_ms,
                       STR_ARG(value));
        CHECK(len < (int)sizeof line);
        text = line;
    }
    results->hash += XXH3_64bits(text, (size_t)len);
    results->count++;
}

static void take_output(void *ctx, const struct output *output)
{
    for (int32_t i = 0; i < output->count; i++) {
        add_result(ctx, output->key[i], output->time_ms[i], output->value[i]);
    }
}

/* --- in memory: record batches whose values are the lines --- */

static enum err memory_pass(const struct query *query, struct feed *feed, struct results *results,
                            struct err_info *info)
{
    struct feed_run run;
    enum err err =
        query->stages == NULL
            ? feed_run_open_chain(&run, query->chain, info)
            : feed_run_open(
                  &run, &(struct feed_run_options){.stages = query->stages, .table = query->table},
                  info);
    run.options.take = take_output;
    run.options.take_ctx = results;
    feed->at = 0;
    while (err == ERR_OK && feed->at < feed->len) {
        feed_run_step(&run, feed);
    }
    if (err == ERR_OK) {
        feed_run_finish(&run);
    }
    feed_run_close(&run);
    return err;
}

/* --- durable: from log to log, a synced commit each 100 ms --- */

static enum err read_results(struct node_run *run, const char *stream, void *ctx,
                             struct err_info *info)
{
    struct results *results = ctx;
    struct log_op op = {.kind = LOG_OP_STREAM_GET};
    IGNORE_RESULT(snprintf(op.u.stream.config.name, sizeof op.u.stream.config.name, "%s",
                           stream)); // fits: our own
    enum err err = engine_call(&run->engine, &op);
    struct shard_id shard = op.u.stream.ret_info.first_shard;
    *info = op.info;
    char *buf = mem_new(LOG_BATCH_BYTES_MAX + RECORD_READ_PADDING, 1);
    struct log_reader *reader = log_reader_new(run->engine.log);
    struct record_reader records;
    record_reader_init(&records);
    for (int64_t offset = 0; err == ERR_OK && offset < log_end_offset(run->engine.log, shard);) {
        op = (struct log_op){.kind = LOG_OP_READ};
        op.u.read = (struct log_read_op){.reader = reader,
                                         .shard = shard,
                                         .offset = offset,
                                         .buf = buf,
                                         .cap = LOG_BATCH_BYTES_MAX};
        err = engine_call(&run->engine, &op);
        struct record_batch_header header;
        ptrdiff_t total;
        for (ptrdiff_t at = 0; err == ERR_OK && at < op.u.read.ret_bytes; at += total) {
            CHECK(record_batch_parse(buf + at, op.u.read.ret_bytes - at, &header, &total, NULL) ==
                  ERR_OK);
            CHECK(record_reader_begin(&records, buf + at, total, NULL) == ERR_OK);
            struct record record;
            while (record_reader_next(&records, &record, NULL) == ERR_OK) {
                if (record.offset >= offset) {
                    add_result(results, record.key, record.timestamp_ms, record.value);
                }
            }
        }
        offset = op.u.read.ret_next_offset;
    }
    record_reader_release(&records);
    log_reader_free(run->engine.log, reader);
    mem_free(buf);
    return err;
}

/* --- input --- */

/* Clicks are keyed by their user, as a producer sets it; events of the standard benchmarks have no key. */
static bool add_line(struct feed *feed, struct str line)
{
    static const char *const times[] = {"\"ts\":", "\"dateTime\":", "\"event_time\": \""};
    struct str key = {NULL, 0};
    if (str_starts_with(line, str_of(HEAD))) {
        const char *end = memchr(line.ptr + KEY_AT, '"', (size_t)(line.len - KEY_AT));
        key = (struct str){line.ptr + KEY_AT, end != NULL ? end - line.ptr - KEY_AT : 0};
    }
    for (ptrdiff_t i = 0; i < COUNT_OF(times); i++) {
        ptrdiff_t at = str_find(line, str_of(times[i]));
        if (at >= 0) {
            feed_add(feed, key, line, strtoll(line.ptr + at + strlen(times[i]), NULL, 10));
            return true;
        }
    }
    return false;
}

static bool read_input(const char *path, struct feed *feed, int64_t *ret_records)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    bool good = file != NULL;
    *ret_records = 0;
    while (good && (len = getline(&line, &cap, file)) > 0) {
        good = add_line(feed, (struct str){line, line[len - 1] == '\n' ? len - 1 : len});
        (*ret_records)++;
    }
    free(line);
    if (file != NULL) {
        IGNORE_RESULT(fclose(file)); // only read
    }
    feed_flush(feed);
    return good && *ret_records > 0;
}

static struct str read_text(struct arena *arena, const char *path)
{
    FILE *file = fopen(path, "re");
    CHECK_MSG(file != NULL, "cannot read %s", path);
    char *text = arena_new(arena, TEXT_BYTES_MAX, 1);
    size_t len = fread(text, 1, TEXT_BYTES_MAX - 1, file);
    IGNORE_RESULT(fclose(file)); // only read
    return (struct str){text, (ptrdiff_t)len};
}

/* `text` with the first `from` replaced by `to`, if it has one. */
static struct str replaced(struct arena *arena, struct str text, const char *from, const char *to)
{
    ptrdiff_t at = str_find(text, str_of(from));
    if (at < 0) {
        return text;
    }
    struct str rest = {text.ptr + at + strlen(from), text.len - at - (ptrdiff_t)strlen(from)};
    return str_of(arena_printf(arena, "%.*s%s%.*s", (int)at, text.ptr, to, STR_ARG(rest)));
}

/* The stages of a configuration of examples/, between the streams that a feed_run has. */
static const char *stages_of(struct arena *arena, const char *path)
{
    static const char head[] = "    stages:\n";
    struct str text = read_text(arena, path);
    ptrdiff_t at = str_find(text, STR(head));
    CHECK_MSG(at >= 0, "%s has no stages", path);
    text = (struct str){text.ptr + at + strlen(head), text.len - at - (ptrdiff_t)strlen(head)};
    for (int i = 0; i < 2; i++) { // q3 reads its input twice
        text = replaced(arena, text, "from: nexmark", "from: in");
    }
    text = replaced(arena, text, "from: events", "from: in");
    return replaced(arena, text, "to: results", "to: out").ptr;
}

static struct lookup_table *table_of(struct arena *arena, const char *path)
{
    struct lookup_builder *builder = lookup_builder_new();
    struct err_info info = {0};
    CHECK_MSG(lookup_builder_add_text(builder, str_of(path), STR("json"), STR("ad_id"),
                                      read_text(arena, path), &info) == ERR_OK,
              "%s", info.text);
    struct lookup_table *table = lookup_table_new(builder);
    lookup_builder_free(builder);
    return table;
}

/* Where the pipeline finds the file of its table: examples/ name it without a folder. */
static const struct fs *open_folder_of(struct arena *arena, const char *path, struct fs *fs)
{
    const char *slash = strrchr(path, '/');
    const char *folder =
        slash == NULL ? "." : arena_printf(arena, "%.*s", (int)(slash - path), path);
    struct err_info info = {0};
    CHECK_MSG(fs_real_open(folder, fs, &info) == ERR_OK, "%s", info.text);
    return fs;
}

/* --- commands --- */

static int generate(long count, const char *path)
{
    struct feed feed;
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        fprintf(stderr, "peer: cannot write %s: %s\n", path, strerror(errno));
        return 1;
    }
    feed_init(&feed, count);
    feed_add_clicks(&feed, 1, (int32_t)count);
    struct arena arena;
    arena_init(&arena, 64 << 20);
    while (feed.at < feed.len) {
        struct batch *batch;
        feed_begin(&feed);
        while ((batch = feed_next(&feed, &arena)) != NULL) {
            for (int32_t i = 0; i < batch->count; i++) {
                fprintf(file, "%.*s\n", STR_ARG(batch->value[i]));
            }
            arena_reset(&arena);
        }
    }
    arena_release(&arena);
    feed_release(&feed);
    return fclose(file) == 0 ? 0 : 1;
}

static enum err run_pass(const struct query *query, struct node_run *node, struct feed *feed,
                         struct results *results, struct err_info *info)
{
    if (node == NULL) {
        return memory_pass(query, feed, results, info);
    }
    double per_s;
    node->after = read_results;
    node->after_ctx = results;
    return node_run_slice(node, &per_s, info);
}

static int run(const struct query *query, bool durable, struct feed *feed, int64_t records,
               long passes)
{
    struct node_run node = {.chain = query->chain, .stages = query->stages, .commit = "100ms"};
    struct engine_options options = {
        .sync = LOG_SYNC, .threads = true, .on_disk = true, .files = query->files};
    struct clock clock = clock_real();
    struct err_info info = {0};
    enum err err = durable ? node_run_open(&node, &options, feed, &info) : ERR_OK;
    for (long pass = 0; err == ERR_OK && pass < passes; pass++) {
        struct results results = {.query = query};
        int64_t cpu_ns = clock_real_process_cpu_ns();
        int64_t wall_ns = clock_now_ns(&clock);
        err = run_pass(query, durable ? &node : NULL, feed, &results, &info);
        cpu_ns = durable ? node.cpu_ns : clock_real_process_cpu_ns() - cpu_ns;
        wall_ns = clock_now_ns(&clock) - wall_ns;
        printf(
            "{\"records\":%lld,\"cpu_s\":%.4f,\"wall_s\":%.4f,\"hash\":\"%016llx\",\"results\":%lld}\n",
            (long long)records, (double)cpu_ns / 1e9, (double)wall_ns / 1e9,
            (unsigned long long)results.hash, (long long)results.count);
    }
    if (durable) {
        node_run_close(&node);
    }
    if (err != ERR_OK) {
        fprintf(stderr, "peer: %s\n", info.text);
    }
    return err == ERR_OK ? 0 : 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: peer generate RECORDS FILE\n"
                    "       peer run filter|count memory|durable FILE PASSES\n"
                    "       peer run NAME memory|durable FILE PASSES EXAMPLE.yaml [ADS]\n");
    return 2;
}

static int run_file(const struct query *query, bool durable, const char *path, long passes)
{
    struct feed feed;
    int64_t records;
    feed_init(&feed, 0);
    bool good = read_input(path, &feed, &records);
    if (!good) {
        fprintf(stderr, "peer: %s cannot be read\n", path);
    }
    int code = good ? run(query, durable, &feed, records, passes) : 1;
    feed_release(&feed);
    return code;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "generate") == 0) {
        long count = strtol(argv[2], NULL, 10);
        return count > 0 && count <= LINES_MAX ? generate(count, argv[3]) : usage();
    }
    if (argc < 6 || argc > 8 || strcmp(argv[1], "run") != 0) {
        return usage();
    }
    struct arena arena;
    arena_init(&arena, 64 << 20);
    struct query query = {.name = argv[2]};
    for (int i = 0; argc == 6 && i < COUNT_OF(QUERIES); i++) {
        query = strcmp(QUERIES[i].name, argv[2]) == 0 ? QUERIES[i] : query;
    }
    query.stages = argc > 6 ? stages_of(&arena, argv[6]) : NULL;
    query.table = argc > 7 ? table_of(&arena, argv[7]) : NULL;
    struct fs files = {0};
    query.files = argc > 7 ? open_folder_of(&arena, argv[7], &files) : NULL;
    bool durable = strcmp(argv[3], "durable") == 0;
    long passes = strtol(argv[5], NULL, 10);
    bool known = query.chain != NULL || query.stages != NULL;
    int code =
        known && passes >= 1 && passes <= PASSES_MAX && (durable || strcmp(argv[3], "memory") == 0)
            ? run_file(&query, durable, argv[4], passes)
            : usage();
    lookup_table_unref(query.table);
    fs_real_close(&files);
    arena_release(&arena);
    return code;
}
