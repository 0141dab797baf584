// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/hash.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "log/memory.h"
#include "log/record_batch.h"
#include "node/mark.h"
#include "node/runtime.h"
#include "node/shadow.h"
#include "pipeline/config.h"
#include "test.h"

/* The runtime on real threads and a real clock: lanes of two nodes, the log's loops and the runtime's, each a thread; a
 * client that appends, takes snapshots and opens a twin meanwhile. For the thread sanitizer above all. */

enum { SHARDS = 3, RECORDS = 20000, USERS = 50, BATCH = 250, LOOPS_MAX = 16 };

static const char CONFIG[] =
    "version: 1\nnodes: {count: 2, lanes: 2}\n"
    "streams: {clicks: {shards: 3, time: {out_of_order: 1s}}, counts: {shards: 2}}\n"
    "pipelines:\n  p:\n    commit: 5ms\n    stages:\n"
    "      - {name: read, from: clicks, partitions: 4, chain: [{parse: {name: p, fields: {u: string}}}, {key_by: {name: k, key: u, shards: 4}}]}\n"
    "      - {name: win, partitions: 4, chain: [{window: {name: w, tumbling: 10s, out: {c: count}}}], to: counts}\n";

struct process {
    struct clock clock;
    struct log *log;
    struct arena arena;
    struct node_runtime *runtime;
    struct loop *loops[LOOPS_MAX];
    int loop_count;
    struct mailbox done;
    struct waker waker;
};

static void start_loop(struct process *p, const char *name, loop_step step, void *ctx,
                       struct waker *waker)
{
    CHECK(p->loop_count < LOOPS_MAX);
    p->loops[p->loop_count++] = loop_start(&(struct loop_options){
        .name = name, .clock = &p->clock, .waker = waker, .step = step, .ctx = ctx, .cpu = -1});
}

static void pause_a_little(void)
{
    struct timespec span = {.tv_nsec = 2000000};
    nanosleep(&span, NULL);
}

static struct msg *wait_for(struct mailbox *box)
{
    struct msg *msg;
    while ((msg = mailbox_take_all(box)) == NULL) {
        pause_a_little();
    }
    return msg;
}

static void start(struct process *p)
{
    p->clock = clock_real();
    p->log = log_memory_new(&(struct log_memory_options){
        .clock = &p->clock, .seed = 1, .commit_delay_ns = 1000000, .again_probability = 0.05});
    waker_init(&p->waker);
    mailbox_init(&p->done, &p->waker);
    arena_init(&p->arena, 64 << 20);
    const struct config *config;
    struct err_info info = {0};
    CHECK_MSG(config_load(&p->arena, "threads.yaml", str_of(CONFIG), &config, &info) == ERR_OK,
              "%s", info.text);
    struct node_runtime_options options = {.config = config,
                                           .log = p->log,
                                           .clock = &p->clock,
                                           .shadow_budget = 0.5,
                                           .shadow_memory_bytes = 256 << 20};
    CHECK(node_runtime_new(&options, &p->runtime, &info) == ERR_OK);
    struct log_loop loops[LOG_LOOPS_MAX];
    int count = log_loops(p->log, loops);
    for (int i = 0; i < count; i++) {
        start_loop(p, loops[i].name, loops[i].step, loops[i].ctx, loops[i].waker);
    }
    for (int32_t i = 0; i < node_runtime_lane_count(p->runtime); i++) {
        struct lane *lane = node_runtime_lane(p->runtime, i);
        start_loop(p, "lane", lane_step, lane, lane_waker(lane));
    }
    struct shadow_lane *shadows = node_runtime_shadow_lane(p->runtime);
    p->loops[p->loop_count++] =
        loop_start(&(struct loop_options){.name = "shadows",
                                          .clock = &p->clock,
                                          .waker = shadow_lane_waker(shadows),
                                          .step = shadow_lane_step,
                                          .ctx = shadows,
                                          .class = LOOP_IDLE,
                                          .cpu = -1});
    start_loop(p, "runtime", node_runtime_step, p->runtime, node_runtime_waker(p->runtime));
    while (node_runtime_state(p->runtime) < RUNTIME_RUNNING) {
        pause_a_little();
    }
    CHECK(node_runtime_state(p->runtime) == RUNTIME_RUNNING);
}

static void append(struct process *p, uint32_t shard, void *bytes, ptrdiff_t len)
{
    const struct stage_stream *stream = node_runtime_stream(p->runtime, STR("clicks"));
    struct log_op op = {.kind = LOG_OP_APPEND, .done = &p->done};
    op.u.append =
        (struct log_append_op){.shard = stage_shard(stream, shard), .batch = bytes, .bytes = len};
    do {
        log_submit(p->log, &op);
        IGNORE_RESULT(wait_for(&p->done)); /* it is the op */
    } while (op.err == ERR_AGAIN);
    CHECK(op.err == ERR_OK);
}

static void look(struct process *p, int32_t lane)
{
    static struct partition_report reports[64];
    struct lane_command command = {.kind = LANE_SNAPSHOT, .reply = &p->done};
    command.u.snapshot.reports = reports;
    command.u.snapshot.cap = 64;
    lane_send(node_runtime_lane(p->runtime, lane), &command);
    IGNORE_RESULT(wait_for(&p->done)); /* it is the command */
    CHECK(command.err == ERR_OK && command.u.snapshot.ret_count >= 7);
}

static void shadow(struct process *p, enum shadow_command_kind kind)
{
    static struct shadow_measures measures;
    struct shadow_command command = {.kind = kind, .reply = &p->done};
    if (kind == SHADOW_OPEN) {
        command.u.open = (struct shadow_spec){.id = 1,
                                              .stage = 1,
                                              .shard = 1,
                                              .group_hi = 2048,
                                              .warm_until = {0, 0},
                                              .warm_batches = 1};
        command.u.open.sample = (struct shadow_sample){.below = SAMPLE_BUCKETS / 2};
    } else {
        command.u.measure = (struct shadow_measure){.id = 1, .measures = &measures};
    }
    shadow_lane_send(node_runtime_shadow_lane(p->runtime), &command);
    IGNORE_RESULT(wait_for(&p->done)); /* it is the command */
    CHECK_MSG(command.err == ERR_OK, "%s", command.info.text);
}

static void produce(struct process *p)
{
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_LZ4);
    for (int at = 0; at < RECORDS; at += BATCH) {
        record_builder_reset(&builder);
        for (int i = 0; i < BATCH; i++) {
            char value[32];
            IGNORE_RESULT(
                snprintf(value, sizeof(value), "{\"u\":\"u%d\"}", (at + i) % USERS)); /* fits */
            struct record record = {
                .key = STR("k"), .value = str_of(value), .timestamp_ms = 1000 + at + i};
            CHECK(record_builder_add(&builder, &record) == ERR_OK);
        }
        void *bytes;
        ptrdiff_t len;
        CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
        append(p, (uint32_t)(at / BATCH) % SHARDS, bytes, len);
        look(p, (at / BATCH) % 4);
        if (at == RECORDS / BATCH / 2 * BATCH) {
            shadow(p, SHADOW_OPEN);
        }
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        void *bytes;
        ptrdiff_t len;
        CHECK(mark_end_batch(&builder, &bytes, &len, NULL) == ERR_OK);
        append(p, i, bytes, len);
    }
    record_builder_release(&builder);
}

/* Sum of the counts in the batches of one read. */
static int64_t count_batches(struct record_reader *records, const char *buf, ptrdiff_t len)
{
    int64_t sum = 0;
    for (ptrdiff_t at = 0; at < len;) {
        struct record_batch_header header;
        ptrdiff_t total;
        CHECK(record_batch_parse(buf + at, len - at, &header, &total, NULL) == ERR_OK);
        CHECK(record_reader_begin(records, buf + at, total, NULL) == ERR_OK);
        struct record record;
        while (record_reader_next(records, &record, NULL) == ERR_OK) {
            ptrdiff_t place = str_find(record.value, STR("\"c\":"));
            CHECK(place >= 0);
            sum += strtol(record.value.ptr + place + 4, NULL, 10);
        }
        at += total;
    }
    return sum;
}

/* Sum of the counts in one shard of the sink. */
static int64_t count_shard(struct process *p, struct shard_id shard)
{
    struct log_reader *reader = log_reader_new(p->log);
    struct record_reader records;
    record_reader_init(&records);
    char *buf = mem_new(LOG_BATCH_BYTES_MAX + 64, 1);
    int64_t sum = 0;
    int64_t end = log_end_offset(p->log, shard);
    for (int64_t offset = 0; offset < end;) {
        struct log_op op = {.kind = LOG_OP_READ, .done = &p->done};
        op.u.read = (struct log_read_op){.reader = reader,
                                         .shard = shard,
                                         .offset = offset,
                                         .buf = buf,
                                         .cap = LOG_BATCH_BYTES_MAX};
        log_submit(p->log, &op);
        IGNORE_RESULT(wait_for(&p->done)); /* it is the op */
        CHECK(op.err == ERR_OK);
        sum += count_batches(&records, buf, op.u.read.ret_bytes);
        offset = op.u.read.ret_next_offset > offset ? op.u.read.ret_next_offset : end;
    }
    mem_free(buf);
    record_reader_release(&records);
    log_reader_free(p->log, reader);
    return sum;
}

static int64_t counted(struct process *p)
{
    const struct stage_stream *stream = node_runtime_stream(p->runtime, STR("counts"));
    return count_shard(p, stage_shard(stream, 0)) + count_shard(p, stage_shard(stream, 1));
}

TEST(lanes_of_two_nodes_on_threads_count_every_record_once)
{
    struct process p = {0};
    start(&p);
    produce(&p);
    while (!node_runtime_ended(p.runtime)) {
        CHECK(node_runtime_failed_partitions(p.runtime) == 0);
        pause_a_little();
    }
    shadow(&p, SHADOW_CLOSE);
    EXPECT_INT(counted(&p), RECORDS);
    node_runtime_stop(p.runtime);
    while (node_runtime_state(p.runtime) != RUNTIME_STOPPED) {
        pause_a_little();
    }
    for (int i = p.loop_count - 1; i >= 0; i--) {
        loop_stop(p.loops[i]);
    }
    node_runtime_free(p.runtime);
    log_close(p.log);
    arena_release(&p.arena);
}
