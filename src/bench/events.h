// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_EVENTS_H
#define BENCH_EVENTS_H

#include "bench/bare_nexmark.h"
#include "bench/feed.h"
#include "load/nexmark.h"
#include "load/ysb.h"
#include "pipeline/lookup_table.h"

/* Events of Nexmark and Yahoo's benchmark as a feed's records, and the queries over them as pipelines: binary records whose
 * key is what the query groups by. The same queries over JSON are in examples/. */

struct nexmark_query {
    const char *name;
    enum bare_query bare;
    bool one_key;       /* every record has the same key */
    const char *stages; /* YAML for feed_run and node_run */
};

extern const struct nexmark_query nexmark_queries[];
int32_t nexmark_query_count(void);

/* The query named `name`, or NULL. */
const struct nexmark_query *nexmark_query_find(const char *name);

/* Binary events 0..count of the stream that `options` make. */
void events_add_nexmark(struct feed *feed, const struct nexmark_options *options, int64_t count,
                        bool one_key);

enum ysb_form { YSB_JSON, YSB_BINARY };

/* Stages for events in that form. `table`: YAML of the lookup's table. */
const char *ysb_stages(struct arena *arena, enum ysb_form form, const char *table);

/* Events 0..count, keyed by nothing that the query uses. */
void events_add_ysb(struct feed *feed, const struct ysb_options *options, int64_t count,
                    enum ysb_form form);

/* The ads as rows of JSON, and as the table that a lookup has of them. */
struct str events_ads(struct arena *arena, const struct ysb_options *options);
struct lookup_table *events_ads_table(const struct ysb_options *options);

#endif
