// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/fs_real.h"
#include "log/embedded.h"
#include "log/record_batch.h"
#include "test.h"

/* The embedded engine as it runs for real: its loops in threads, files of the machine, writers and a reader beside each
 * other. The simulator proves what it does; this is for the thread sanitizer, and for the folder being opened again. */

enum { WRITERS = 3, APPENDS = 60, SHARDS = 2, RECORDS = 3, READ_BYTES = LOG_BATCH_BYTES_MAX };

struct engine {
    struct fs fs;
    struct clock clock;
    struct log *log;
    struct loop *loops[LOG_LOOPS_MAX];
    int loop_count;
};

static void engine_open(struct engine *e, const char *name)
{
    char path[200];
    IGNORE_RESULT(snprintf(path, sizeof(path), "%s/%s", test_dir(), name)); /* fits */
    e->clock = clock_real();
    CHECK(fs_real_open(path, &e->fs, NULL) == ERR_OK);
    struct log_embedded_options options = {.fs = &e->fs,
                                           .clock = &e->clock,
                                           .journal_segment_bytes = 64 << 10,
                                           .shard_segment_bytes = 16 << 10};
    struct log_recovery_report report;
    struct err_info info = {0};
    enum err err = log_embedded_open(&options, &e->log, &report, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    struct log_loop loops[LOG_LOOPS_MAX];
    e->loop_count = log_loops(e->log, loops);
    for (int i = 0; i < e->loop_count; i++) {
        e->loops[i] = loop_start(&(struct loop_options){.name = loops[i].name,
                                                        .clock = &e->clock,
                                                        .waker = loops[i].waker,
                                                        .step = loops[i].step,
                                                        .ctx = loops[i].ctx,
                                                        .cpu = -1});
    }
}

static void engine_close(struct engine *e)
{
    for (int i = 0; i < e->loop_count; i++) {
        loop_stop(e->loops[i]);
    }
    log_close(e->log);
    fs_real_close(&e->fs);
}

/* A caller on a thread of its own: submits and waits. */
struct caller {
    struct waker waker;
    struct mailbox done;
};

static void caller_init(struct caller *caller)
{
    waker_init(&caller->waker);
    mailbox_init(&caller->done, &caller->waker);
}

static enum err call(struct engine *e, struct caller *caller, struct log_op *op,
                     enum log_op_kind kind)
{
    op->kind = kind;
    op->done = &caller->done;
    log_submit(e->log, op);
    while (mailbox_take_all(&caller->done) == NULL) {
        waker_sleep(&caller->waker, CLOCK_NEVER);
    }
    return op->err;
}

struct worker {
    struct engine *engine;
    struct shard_id shards[SHARDS];
    int index;
    int64_t read; /* records seen */
    const char *wrong;
};

static void build(struct record_builder *builder, void **ret_bytes, ptrdiff_t *ret_len)
{
    record_builder_reset(builder);
    for (int i = 0; i < RECORDS; i++) {
        struct record record = {.timestamp_ms = 1, .key = STR("k"), .value = STR("some value")};
        CHECK(record_builder_add(builder, &record) == ERR_OK);
    }
    CHECK(record_builder_finish(builder, RECORD_PRODUCER_NONE, ret_bytes, ret_len, NULL) == ERR_OK);
}

static void *append_all(void *arg)
{
    struct worker *w = arg;
    struct caller caller;
    struct record_builder builder;
    caller_init(&caller);
    record_builder_init(&builder, w->index == 0 ? RECORD_CODEC_LZ4 : RECORD_CODEC_NONE);
    for (int i = 0; i < APPENDS && w->wrong == NULL; i++) {
        struct log_op op = {.u.append.shard = w->shards[i % SHARDS]};
        build(&builder, &op.u.append.batch, &op.u.append.bytes);
        if (call(w->engine, &caller, &op, LOG_OP_APPEND) != ERR_OK) {
            w->wrong = "an append is refused";
        } else if (log_end_offset(w->engine->log, op.u.append.shard) <
                   op.u.append.ret_base_offset + RECORDS) {
            w->wrong = "an acknowledged append is not readable";
        }
    }
    record_builder_release(&builder);
    return NULL;
}

static void *commit_all(void *arg)
{
    struct worker *w = arg;
    struct caller caller;
    struct record_builder builders[SHARDS];
    struct log_op init = {.u.owner.name = "node0.lane0"};
    caller_init(&caller);
    CHECK(call(w->engine, &caller, &init, LOG_OP_OWNER_INIT) == ERR_OK);
    for (int s = 0; s < SHARDS; s++) {
        record_builder_init(&builders[s], RECORD_CODEC_NONE);
    }
    for (int i = 0; i < APPENDS && w->wrong == NULL; i++) {
        struct log_batch batches[SHARDS];
        for (int s = 0; s < SHARDS; s++) {
            batches[s] = (struct log_batch){.shard = w->shards[s]};
            build(&builders[s], &batches[s].bytes, &batches[s].len);
        }
        struct log_op op = {.u.commit = {.owner = init.u.owner.ret_id,
                                         .incarnation = init.u.owner.ret_incarnation,
                                         .sequence = i + 1,
                                         .batches = batches,
                                         .batch_count = SHARDS}};
        if (call(w->engine, &caller, &op, LOG_OP_COMMIT) != ERR_OK) {
            w->wrong = "a commit is refused";
        }
    }
    for (int s = 0; s < SHARDS; s++) {
        record_builder_release(&builders[s]);
    }
    return NULL;
}

/* Follows a shard, woken by the log, until all records are there. */
static void *read_all(void *arg)
{
    struct worker *w = arg;
    struct caller caller;
    struct waker moved;
    struct shard_id shard = w->shards[w->index];
    int64_t wanted = (int64_t)RECORDS * (WRITERS * APPENDS / SHARDS + APPENDS);
    uint8_t *buf = mem_new(1, READ_BYTES);
    struct log_reader *reader = log_reader_new(w->engine->log);
    caller_init(&caller);
    waker_init(&moved);
    CHECK(log_watch(w->engine->log, shard, &moved) == ERR_OK);
    while (w->read < wanted && w->wrong == NULL) {
        struct log_op op = {.u.read = {.reader = reader,
                                       .shard = shard,
                                       .offset = w->read,
                                       .buf = buf,
                                       .cap = READ_BYTES}};
        if (call(w->engine, &caller, &op, LOG_OP_READ) != ERR_OK ||
            op.u.read.ret_next_offset < w->read) {
            w->wrong = "a read is refused or goes back";
        } else if (op.u.read.ret_bytes == 0) {
            waker_sleep(&moved, CLOCK_NEVER);
        }
        w->read = op.u.read.ret_next_offset;
    }
    log_unwatch(w->engine->log, shard, &moved);
    log_reader_free(w->engine->log, reader);
    mem_free(buf);
    return NULL;
}

static const char *run_workers(struct engine *e, const struct stream_info *info,
                               struct worker *workers)
{
    void *(*const bodies[])(void *) = {append_all, append_all, append_all,
                                       commit_all, read_all,   read_all};
    enum { WORKERS = COUNT_OF(bodies) };
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.engine = e, .index = i < 4 ? i : i - 4};
        for (int s = 0; s < SHARDS; s++) {
            workers[i].shards[s] = (struct shard_id){info->first_shard.v + (uint32_t)s};
        }
        CHECK(pthread_create(&threads[i], NULL, bodies[i], &workers[i]) == 0);
    }
    const char *wrong = NULL;
    for (int i = 0; i < WORKERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        wrong = wrong != NULL ? wrong : workers[i].wrong;
    }
    return wrong;
}

TEST(embedded_serves_threads_on_real_files_and_opens_again)
{
    struct engine engine = {0};
    struct caller caller;
    struct worker workers[6];
    caller_init(&caller);
    engine_open(&engine, "threads");
    struct log_op create = {
        .u.stream.config = {
            .name = "s", .shard_count = SHARDS, .retention_ms = -1, .retention_bytes = -1}};
    CHECK(call(&engine, &caller, &create, LOG_OP_STREAM_CREATE) == ERR_OK);
    const char *wrong = run_workers(&engine, &create.u.stream.ret_info, workers);
    struct shard_id first = create.u.stream.ret_info.first_shard;
    int64_t end = log_end_offset(engine.log, first);
    engine_close(&engine);
    EXPECT_MSG(wrong == NULL, "%s", wrong);
    EXPECT_INT(end, RECORDS * (WRITERS * APPENDS / SHARDS + APPENDS));
    engine_open(&engine, "threads");
    int64_t after = log_end_offset(engine.log, first);
    struct fs second = engine.fs;
    struct log *other = NULL;
    struct log_recovery_report report;
    struct log_embedded_options options = {.fs = &second, .clock = &engine.clock};
    enum err busy = log_embedded_open(&options, &other, &report, NULL);
    engine_close(&engine);
    EXPECT_INT(after, end);
    EXPECT_INT(busy, ERR_BUSY);
}
