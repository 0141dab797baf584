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

static void consume(struct loop_sink *sink, const char *bytes, ptrdiff_t total, int64_t now_ns)
{
    struct record record;
    int64_t count = 0;
    CHECK(record_reader_begin(&sink->records, bytes, total, NULL) == ERR_OK);
    while (record_reader_next(&sink->records, &record, NULL) == ERR_OK) {
        int64_t due_ns = number_of(record.value);
        if (due_ns > 0) {
            note_record(sink, due_ns, now_ns);
            count++;
        }
    }
    atomic_fetch_add_explicit(&sink->seen, count, memory_order_relaxed);
}

int64_t loop_sink_step(void *ctx, int64_t now_ns)
{
    struct loop_sink *sink = ctx;
    struct record_batch_header header;
    ptrdiff_t total = 0;
    if (log_end_offset(sink->log, sink->shard) <= sink->offset) {
        return CLOCK_NEVER;
    }
    sink->op = (struct log_op){.kind = LOG_OP_READ, .done = &sink->done};
    sink->op.u.read = (struct log_read_op){.reader = sink->reader,
                                           .shard = sink->shard,
                                           .offset = sink->offset,
                                           .buf = sink->buf,
                                           .cap = LOG_BATCH_BYTES_MAX};
    log_submit(sink->log, &sink->op);
    CHECK(mailbox_take_all(&sink->done) != NULL &&
          sink->op.err == ERR_OK); /* reads of this engine are at once */
    for (ptrdiff_t at = 0; at < sink->op.u.read.ret_bytes; at += total) {
        CHECK(record_batch_parse(sink->buf + at, sink->op.u.read.ret_bytes - at, &header, &total,
                                 NULL) == ERR_OK);
        consume(sink, sink->buf + at, total, now_ns);
    }
    sink->offset = sink->op.u.read.ret_next_offset;
    return now_ns;
}

void loop_sink_open(struct loop_sink *sink, struct log *log, struct shard_id shard,
                    int64_t late_count, double scale)
{
    sink->log = log;
    sink->reader = log_reader_new(log);
    sink->shard = shard;
    sink->scale = scale;
    sink->buf = mem_new(LOG_BATCH_BYTES_MAX, 1);
    sink->late_count = late_count;
    sink->late = MEM_NEW_ARRAY(uint8_t, late_count);
    record_reader_init(&sink->records);
    waker_init(&sink->waker);
    mailbox_init(&sink->done, NULL);
}

void loop_sink_close(struct loop_sink *sink)
{
    if (sink->log == NULL) {
        return;
    }
    log_reader_free(sink->log, sink->reader);
    record_reader_release(&sink->records);
    mem_free(sink->buf);
    mem_free(sink->late);
}
