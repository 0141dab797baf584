// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_FEED_H
#define BENCH_FEED_H

#include "log/record_batch.h"
#include "pipeline/batch.h"

/* Input in memory: record batches as the log holds them, read over and over; each pass lies later in event time. */

enum { FEED_BATCH_RECORDS = 1024 };

struct feed {
    char *bytes; /* batches one after the other; RECORD_READ_PADDING behind */
    int64_t len, cap;
    int64_t at;
    int64_t pass_ms;   /* added to times per pass */
    int64_t offset_ms; /* of this pass */
    struct record_builder builder;
    struct record_reader reader;
};

void feed_init(struct feed *feed, int64_t pass_ms);
void feed_release(struct feed *feed);
void feed_add(struct feed *feed, struct str key, struct str value, int64_t time_ms);
void feed_flush(struct feed *feed); /* ends the batch being built */

/* Adds `count` clicks: JSON of about 200 bytes with seven fields, keyed by one of 100,000 users, a third of them views; one a
 * millisecond. And the chain that keeps the views and writes two fields. */
void feed_add_clicks(struct feed *feed, uint64_t seed, int32_t count);
#define FEED_CLICKS_CHAIN \
    "[{parse: {name: p, format: json, fields: {kind: string, user: string, ts: int}}}, " \
    "{filter: {name: f, where: \"kind == 'view'\"}}, " \
    "{map: {name: m, select: [user, ts]}}]"

/* Reads and checks the next record batch and decodes it, 1024 records at most each; NULL at the batch's end. */
void feed_begin(struct feed *feed);
struct batch *feed_next(struct feed *feed, struct arena *arena);

/* Of the record batch that was begun: the largest event time. */
int64_t feed_largest_ms(const struct feed *feed);

#endif
