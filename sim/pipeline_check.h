// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_PIPELINE_CHECK_H
#define SIM_PIPELINE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/str.h"

/* What a drawn pipeline must make of what its source shards hold: a recount that knows the meaning of the pipelines the
 * seed can draw and nothing of how the product runs them. */

enum pipe_kind {
    PIPE_STATELESS, /* parse, filter, map: one stage */
    PIPE_TUMBLING,  /* parse, filter, key_by; window */
    PIPE_HOPPING,
    PIPE_SESSION,
    PIPE_DEDUPE,      /* parse, filter, key_by; dedupe by key */
    PIPE_KEYED_COUNT, /* the kinds above are those that the first generator draws */
    PIPE_JOIN =
        PIPE_KEYED_COUNT, /* two sources: parse, filter; join by record key within a time, or of all pairs */
    PIPE_LOOKUP,          /* parse, filter, lookup in a table stream */
    PIPE_PLUGIN,          /* parse, filter, map, a plug-in (examples/plugin/mask.c) */
    PIPE_KIND_COUNT
};

struct pipe_plan {
    enum pipe_kind kind;
    int32_t source_shards, internal_shards, sink_shards, users;
    int64_t size_ms, slide_ms, gap_ms, out_of_order_ms;
    int64_t below;     /* the filter keeps records with n < this */
    int64_t within_ms; /* of a join; < 0: all pairs */
    bool left;         /* join: rows of the first source without a partner come alone */
    /* A silent shard of a source ticks after this; < 0: never. Then times only rise, so that no tick makes a record late. */
    int64_t idle_ms;
    int32_t silent_shards; /* with idle_ms: the last so many never get a record */
    bool time_field;       /* event time is payload field t */
    double bad;            /* share of records that cannot be read */
    const char *codec;
};

/* `more` draws what came later, so that old seeds keep what they had. */
void pipe_plan_draw(struct pipe_plan *plan, struct rng *rng, struct rng *more);
const char *pipe_kind_name(enum pipe_kind kind);

enum { PIPE_TEXTS = 2 }; /* ways to write a pipeline that mean the same */

/* The configuration of the plan in one layout. */
struct pipe_layout {
    int32_t partitions[2], nodes, lanes;
    int32_t more_nodes;       /* that may be added */
    int32_t capacity_percent; /* of a core, per lane */
    const char *commit;
    const char *section;  /* more sections, or "" */
    const char *settings; /* more lines of the pipeline, or "" */
};
const char *pipe_yaml(struct arena *arena, const struct pipe_plan *plan,
                      const struct pipe_layout *layout, int text);

/* A row of the table that PIPE_LOOKUP reads, stream "tab", for each user in 0..users - 1; false: it has none. */
bool pipe_table_row(struct arena *arena, int32_t user, struct str *ret_key, struct str *ret_value);

/* Draws the next record of a source shard. `now_ms` rises from call to call. */
struct pipe_record {
    struct str key, value; /* in `arena` */
    int64_t time_ms;       /* the record's timestamp */
};
struct pipe_record pipe_record_draw(const struct pipe_plan *plan, struct rng *rng,
                                    struct arena *arena, int64_t id, int64_t *now_ms);

/* A record as read back from a stream, in (shard, offset) order. */
struct pipe_row {
    int32_t shard;
    int64_t offset, time_ms;
    struct str key, value;
};

struct pipe_rows {
    const struct pipe_row *rows;
    int32_t count;
};

struct pipe_streams {
    struct pipe_rows source, second; /* second: of a join */
    struct pipe_rows sink, dead, late;
};

/* Whether sink, dead letters and late records are what the sources' rows make. False: `text` says what is not. */
bool pipe_check(const struct pipe_plan *plan, struct arena *arena,
                const struct pipe_streams *streams, char text[300]);

#endif
