// SPDX-License-Identifier: Apache-2.0
// Runs one hot path over a number of records, for tools/check_instructions, which counts instructions inside one function
// of it. The same records and the same steps each time: one thread, a simulated clock. Usage: instructions PATH RECORDS

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rng.h"
#include "bench/events.h"
#include "bench/feed_run.h"
#include "bench/node_run.h"

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

static void add_ysb(struct feed *feed, int32_t count)
{
    events_add_ysb(feed, &ysb_input, count, YSB_BINARY);
}

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
    {"q7", NULL, add_nexmark_one_key, false, "feed_run_step"},
    {"ysb", NULL, add_ysb, false, "feed_run_step"},
    {"lane-passthrough", "[]", add_large, true, "lane_step"},
    {"lane-json", FEED_CLICKS_CHAIN, add_clicks, true, "lane_step"},
    {"lane-count", COUNT_CHAIN, add_few, true, "lane_step"},
    {"log-commit", "[]", add_large, true, "committer_step"},
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

static int list(void)
{
    for (int i = 0; i < COUNT_OF(PATHS); i++) {
        printf("%s %s\n", PATHS[i].name, PATHS[i].function);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct path *path = NULL;
    for (int i = 0; argc == 3 && i < COUNT_OF(PATHS); i++) {
        path = strcmp(PATHS[i].name, argv[1]) == 0 ? &PATHS[i] : path;
    }
    long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (argc == 1) {
        return list();
    }
    if (path == NULL || count < 1 || count > RECORDS_MAX) {
        fprintf(stderr, "usage: instructions [PATH RECORDS]; alone it tells the paths and the "
                        "functions that count\n");
        return 2;
    }
    struct feed feed;
    struct err_info info = {0};
    feed_init(&feed, count);
    path->fill(&feed, (int32_t)count);
    enum err err = path->through_node ? run_node(path, &feed, &info)
                                      : run_memory(path, &feed, (int32_t)count, &info);
    feed_release(&feed);
    if (err != ERR_OK) {
        fprintf(stderr, "instructions: %s\n", info.text);
        return 1;
    }
    return 0;
}
