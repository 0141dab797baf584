// SPDX-License-Identifier: Apache-2.0
// Runs one hot path over a number of records, for tools/check_instructions, which counts instructions inside one function
// of it. The same records and the same steps each time: one thread, a simulated clock. Usage: instructions PATH RECORDS

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/events.h"
#include "bench/feed_run.h"
#include "bench/node_run.h"
#include "bench/shadow_run.h"

enum { KEYS_FEW = 1000, KEYS_MANY = 50000, VALUE_BYTES = 180, RECORDS_MAX = 1 << 22 };

static void add_clicks(struct feed *feed, int32_t count)
{
    feed_add_clicks(feed, 1, count);
}

/* Every key comes first, so that the state is as large with few records as with many. */
static void add_keys(struct feed *feed, int32_t count, int32_t keys)
{
    struct rng rng;
    rng_init(&rng, 1);
    for (int32_t i = 0; i < count; i++) {
        uint64_t key = i < keys ? (uint64_t)i : rng_below(&rng, (uint64_t)keys);
        feed_add(feed, (struct str){.ptr = (const char *)&key, .len = 8}, STR("value of 16 byte"),
                 i / 1000);
    }
    feed_flush(feed);
}

static void add_few(struct feed *feed, int32_t count)
{
    add_keys(feed, count, KEYS_FEW);
}

static void add_many(struct feed *feed, int32_t count)
{
    add_keys(feed, count, KEYS_MANY);
}

static void add_large(struct feed *feed, int32_t count)
{
    char value[VALUE_BYTES];
    memset(value, 'v', sizeof value);
    for (int32_t i = 0; i < count; i++) {
        uint64_t key = (uint64_t)i;
        feed_add(feed, (struct str){.ptr = (const char *)&key, .len = 8},
                 (struct str){.ptr = value, .len = VALUE_BYTES}, i);
    }
    feed_flush(feed);
}

enum { EVENTS_RATE = 10000, YSB_EVENTS_RATE = 100000 };

static const struct ysb_options ysb_input = {
    .seed = 1, .rate = YSB_EVENTS_RATE, .campaigns = 100, .ads_per_campaign = 10};

static void add_nexmark_one_key(struct feed *feed, int32_t count)
{
    struct nexmark_options options = {.seed = 1, .rate = EVENTS_RATE, .group = 1};
    events_add_nexmark(feed, &options, count, true);
}

static void add_nexmark_by_key(struct feed *feed, int32_t count)
{
    struct nexmark_options options = {.seed = 1, .rate = EVENTS_RATE, .group = 1};
    events_add_nexmark(feed, &options, count, false);
}

static void add_ysb(struct feed *feed, int32_t count)
{
    events_add_ysb(feed, &ysb_input, count, YSB_BINARY);
}

#define MIRROR_CHAIN \
    "[{parse: {name: p, format: json, fields: {kind: string, user: string, ts: int}}}, " \
    "{filter: {name: f, where: \"kind == 'view'\"}}, " \
    "{window: {name: w, tumbling: 1d, out: {n: count}}}]"
#define COUNT_CHAIN "[{window: {name: w, tumbling: 10s, out: {n: count}}}]"

static const struct path {
    const char *name;
    const char *chain; /* of one stage; NULL: the query named as the path is */
    void (*fill)(struct feed *feed, int32_t count);
    bool through_node;
    const char *function; /* whose instructions count */
} PATHS[] = {
    {"json", FEED_CLICKS_CHAIN, add_clicks, false, "feed_run_step"},
    {"count-few", COUNT_CHAIN, add_few, false, "feed_run_step"},
    {"count-many", COUNT_CHAIN, add_many, false, "feed_run_step"},
    {"q5", NULL, add_nexmark_by_key, false, "feed_run_step"},
    {"q7", NULL, add_nexmark_one_key, false, "feed_run_step"},
    {"q8", NULL, add_nexmark_by_key, false, "feed_run_step"},
    {"ysb", NULL, add_ysb, false, "feed_run_step"},
    {"lane-passthrough", "[]", add_large, true, "lane_step"},
    {"lane-json", FEED_CLICKS_CHAIN, add_clicks, true, "lane_step"},
    {"lane-count", COUNT_CHAIN, add_few, true, "lane_step"},
    {"log-commit", "[]", add_large, true, "committer_step"},
};

enum { MIRROR_PACE_NS = 5000000 };

/* The live lane with a shadow of all records, or without one. */
static const struct mirror_path {
    const char *name;
    bool shadow;
    enum shadow_transport transport;
} MIRRORS[] = {
    {"mirror-off", false, SHADOW_VIEW},
    {"mirror-view", true, SHADOW_VIEW},
    {"mirror-queue", true, SHADOW_QUEUE},
};

static enum err run_memory(const struct path *path, struct feed *feed, int32_t count,
                           struct err_info *info)
{
    struct feed_run run;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    const struct nexmark_query *query = nexmark_query_find(path->name);
    bool ysb = path->chain == NULL && query == NULL;
    struct feed_run_options options = {
        .stages = ysb ? ysb_stages(&arena, YSB_BINARY, "{file: ads, format: json, key: ad_id}")
                  : query != NULL ? query->stages
                                  : NULL,
        .table = ysb ? events_ads_table(&ysb_input) : NULL};
    enum err err = path->chain != NULL ? feed_run_open_chain(&run, path->chain, info)
                                       : feed_run_open(&run, &options, info);
    for (int64_t done = 0; err == ERR_OK && done < count;) {
        done += feed_run_step(&run, feed);
    }
    feed_run_close(&run);
    lookup_table_unref(options.table);
    arena_release(&arena);
    return err;
}

static enum err run_node(const struct path *path, struct feed *feed, struct err_info *info)
{
    struct node_run run = {.chain = path->chain, .commit = "10ms"};
    struct engine_options options = {.simulated = true, .sync = LOG_UNSYNCED};
    double per_s;
    enum err err = node_run_open(&run, &options, feed, info);
    if (err != ERR_OK) {
        return err;
    }
    err = node_run_slice(&run, &per_s, info);
    node_run_close(&run);
    return err;
}

/* The live lane's steps alone: a shadow's lane has the same ones inside it. */
int64_t live_lane_step(void *ctx, int64_t now_ns);

int64_t live_lane_step(void *ctx, int64_t now_ns)
{
    return lane_step(ctx, now_ns);
}

/* Records as they come, with a shadow that reads them too, or without. */
static enum err run_mirror(const struct mirror_path *path, struct feed *feed, int32_t count,
                           struct err_info *info)
{
    static const char *const yaml =
        "version: 1\nstreams: {in: {shards: 1, time: {out_of_order: 1d}}, out: {shards: 1}}\n"
        "pipelines:\n  p:\n    commit: 20ms\n    memory: 4GiB\n    stages:\n"
        "      - {name: s, from: in, chain: " MIRROR_CHAIN ", to: out}\n";
    struct engine_options options = {.simulated = true, .sync = LOG_UNSYNCED, .shadows = true};
    struct shadow_run run;
    struct shadow_measures *measures = MEM_NEW(struct shadow_measures);
    struct shadow_spec spec = {.id = 1,
                               .group_hi = KEY_GROUP_COUNT,
                               .sample = {.below = SAMPLE_BUCKETS, .requested = 1},
                               .transport = path->transport,
                               .warm_batches = 1};
    shadow_run_init(&run);
    run.feed = *feed;
    run.step_lane = live_lane_step;
    enum err err = shadow_run_open(&run, &options, yaml, info);
    err = err == ERR_OK && path->shadow ? shadow_run_start_shadow(&run, &spec, info) : err;
    while (err == ERR_OK && run.appended < count) {
        err = shadow_run_append(&run, info);
        engine_settle(&run.engine, run.engine.simulated_ns + MIRROR_PACE_NS);
    }
    if (err == ERR_OK) {
        shadow_run_wait(&run);
    }
    if (err == ERR_OK && path->shadow) {
        shadow_run_end_shadow(&run, 1, measures);
        int64_t taken = measures->warm_records + measures->work.rows_in;
        CHECK(measures->records_dropped == 0 && taken >= count / 2);
    }
    shadow_run_close(&run);
    mem_free(measures);
    return err;
}

static int list(void)
{
    for (int i = 0; i < COUNT_OF(PATHS); i++) {
        printf("%s %s\n", PATHS[i].name, PATHS[i].function);
    }
    for (int i = 0; i < COUNT_OF(MIRRORS); i++) {
        printf("%s live_lane_step\n", MIRRORS[i].name);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct path *path = NULL;
    const struct mirror_path *mirror = NULL;
    for (int i = 0; argc == 3 && i < COUNT_OF(PATHS); i++) {
        path = strcmp(PATHS[i].name, argv[1]) == 0 ? &PATHS[i] : path;
    }
    for (int i = 0; argc == 3 && i < COUNT_OF(MIRRORS); i++) {
        mirror = strcmp(MIRRORS[i].name, argv[1]) == 0 ? &MIRRORS[i] : mirror;
    }
    long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (argc == 1) {
        return list();
    }
    if ((path == NULL && mirror == NULL) || count < 1 || count > RECORDS_MAX) {
        fprintf(stderr, "usage: instructions [PATH RECORDS]; alone it tells the paths and the "
                        "functions that count\n");
        return 2;
    }
    struct feed feed;
    struct err_info info = {0};
    feed_init(&feed, count);
    (mirror != NULL ? add_clicks : path->fill)(&feed, (int32_t)count);
    enum err err = mirror != NULL       ? run_mirror(mirror, &feed, (int32_t)count, &info)
                   : path->through_node ? run_node(path, &feed, &info)
                                        : run_memory(path, &feed, (int32_t)count, &info);
    feed_release(&feed);
    if (err != ERR_OK) {
        fprintf(stderr, "instructions: %s\n", info.text);
        return 1;
    }
    return 0;
}
