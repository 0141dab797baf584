// SPDX-License-Identifier: Apache-2.0
#ifndef APP_DEMO_FEED_H
#define APP_DEMO_FEED_H

#include "app/demo_recount.h"
#include "base/clock.h"
#include "load/generator.h"
#include "log/log.h"
#include "log/record_batch.h"

/* Sends a replayed trace into a stream, as fast as it is due and the log takes it: per shard one append in flight, the
 * next batch fills meanwhile. Ends with an end marker on each shard. One thread; polled, never blocks. */

enum { DEMO_SHARDS_MAX = 64 };

struct demo_shard {
    struct shard_id shard;
    struct record_builder builders[2]; /* one fills, one is in flight */
    int32_t filling;
    struct log_op op;
    bool in_flight, ended;
};

struct demo_feed {
    struct log *log;
    struct mailbox done;
    struct generator generator;
    struct generated record; /* the next one */
    bool has_record, play_ended;
    int64_t start_ns;
    struct recount *recount;
    int32_t shard_count;
    struct demo_shard shards[DEMO_SHARDS_MAX];
    int64_t sent_records;
    int64_t trace_ms; /* how far the play has come */
    enum err err;     /* why it stopped */
    struct err_info info;
};

void demo_feed_init(struct demo_feed *feed, struct log *log, struct stream_info stream,
                    const struct generator_options *options, struct recount *recount,
                    int64_t now_ns);
void demo_feed_release(struct demo_feed *feed);

/* Sends what is due. True once all records and end markers are acknowledged, or feed->err is set. */
bool demo_feed_poll(struct demo_feed *feed, int64_t now_ns);

#endif
