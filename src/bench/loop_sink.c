// SPDX-License-Identifier: Apache-2.0
#include "bench/loop_sink.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

/* A record that was due at `due_ns` and is seen at `now_ns` was older than the objective in between: those seconds are late. */
static void note_record(struct loop_sink *sink, int64_t due_ns, int64_t now_ns)
{
    int64_t latency_ns = now_ns - due_ns;
    if (due_ns >= sink->begin_ns) {
        histogram_add(&sink->latency, latency_ns > 0 ? latency_ns : 0, 1);
    }
    if (latency_ns <= sink->objective_ns) {
        return;
    }
    double scale = sink->scale;
    int64_t from = (int64_t)((double)(due_ns + sink->objective_ns - sink->begin_ns) * 1e-9 * scale);
    int64_t to = (int64_t)((double)(now_ns - sink->begin_ns) * 1e-9 * scale);
    for (int64_t s = from > 0 ? from : 0; s <= to && s < sink->late_count; s++) {
        sink->late[s] = 1;
    }
}

static int64_t number_of(struct str value)
{
    ptrdiff_t at = str_find(value, STR("\"due\":"));
    return at < 0 ? 0 : strtoll(value.ptr + at + 6, NULL, 10);
}

int64_t loop_sink_step(void *ctx, int64_t now_ns)
{
    struct loop_sink *sink = ctx;
    struct record_walk walk;
    struct record record;
    int64_t count = 0;
    enum err err;
    if (!tail_read(&sink->tail, &walk)) {
        return CLOCK_NEVER;
    }
    while ((err = record_walk_next(&walk, &record, NULL)) == ERR_OK) {
        int64_t due_ns = number_of(record.value);
        if (due_ns > 0) {
            note_record(sink, due_ns, now_ns);
            count++;
        }
    }
    CHECK(err == ERR_NOT_FOUND);
    atomic_fetch_add_explicit(&sink->seen, count, memory_order_relaxed);
    return now_ns;
}

enum err loop_sink_open(struct loop_sink *sink, struct log *log, struct shard_id shard,
                        int64_t late_count, double scale, struct err_info *info)
{
    sink->scale = scale;
    sink->late_count = late_count;
    sink->late = MEM_NEW_ARRAY(uint8_t, late_count);
    return tail_open(&sink->tail, log, shard, info);
}

void loop_sink_close(struct loop_sink *sink)
{
    tail_close(&sink->tail);
    mem_free(sink->late);
}
