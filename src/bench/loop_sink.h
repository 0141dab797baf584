// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_LOOP_SINK_H
#define BENCH_LOOP_SINK_H

#include <stdatomic.h>

#include "base/sketch.h"
#include "bench/tail.h"

/* The sink's consumer: a loop of its own that sees how old each record is when it can be read. A record is due at the time that
 * stands in it ("due":ns, of the clock); seconds in which one was older than the objective are late. */
struct loop_sink {
    struct tail tail; /* its waker: of loop_sink_step */
    int64_t begin_ns,
        objective_ns; /* what is due before does not count; set before the loop starts */
    double scale;     /* the load's seconds in one of the wall's */
    _Atomic int64_t seen;
    uint8_t *late; /* [late_count] by second of the load's time */
    int64_t late_count;
    struct histogram latency; /* ns, from due to visible */
};

/* late_count: seconds of the load's time that are looked at. As tail_open(). */
ATTR_NODISCARD enum err loop_sink_open(struct loop_sink *sink, struct log *log,
                                       struct shard_id shard, int64_t late_count, double scale,
                                       struct err_info *info);

/* A loop's step; ctx: the sink. */
int64_t loop_sink_step(void *ctx, int64_t now_ns);

/* When its loop has stopped; also of one that was never opened. */
void loop_sink_close(struct loop_sink *sink);

#endif
