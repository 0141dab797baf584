// SPDX-License-Identifier: Apache-2.0
#include "log/memory.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/loop.h"
#include "base/real/clock_real.h"
#include "conformance.h"

/* The engine in memory under the conformance suite, quick and as slow and moody as Kafka; then what is its own. */

static void memory_open(struct rig *rig)
{
    struct log_memory_options options = *(const struct log_memory_options *)rig->factory->options;
    options.clock = &rig->clock;
    options.seed = test_seed();
    rig->log = log_memory_new(&options);
}

static void memory_close(struct rig *rig)
{
    log_close(rig->log);
}

static void memory_crash(struct rig *rig)
{
    log_memory_drop_clients(rig->log);
}

static struct log_memory_options quick_options;
static struct log_memory_options moody_options = {
    .commit_delay_ns = 20000000, .again_probability = 0.3, .lost_reply_probability = 0.5};

static const struct conformance_factory quick = {
    .options = &quick_options, .open = memory_open, .crash = memory_crash, .close = memory_close};
static const struct conformance_factory moody = {
    .options = &moody_options, .open = memory_open, .crash = memory_crash, .close = memory_close};

#define X(name) \
    TEST(memory_quick_##name) \
    { \
        conformance_run(&quick, conform_##name); \
    } \
    TEST(memory_moody_##name) \
    { \
        conformance_run(&moody, conform_##name); \
    }
CONFORMANCE_LIST(X)
#undef X

/* --- what this engine does of its own --- */

static struct shard_id one_shard(struct rig *rig, uint32_t flags)
{
    return rig_shard(rig_stream(rig, "s", flags, 1), 0);
}

static void commits_leave_gaps(struct rig *rig)
{
    struct shard_id shard = one_shard(rig, 0);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    for (int i = 0; i < 4; i++) {
        EXPECT_INT(rig_commit(rig, &owner, &shard, 1, "x", 2, NULL), ERR_OK);
    }
    IGNORE_RESULT(rig_contents(rig, shard));
    EXPECT_INT(rig_offset_count, 8);
    for (int32_t i = 0; i < 8; i++) {
        EXPECT_INT(rig_offsets[i], i / 2 * 3 + i % 2); /* each third offset is a marker's */
    }
    EXPECT_INT(log_end_offset(rig->log, shard), 12);
}

TEST(memory_commit_takes_a_markers_offset)
{
    conformance_run(&quick, commits_leave_gaps);
}

static void commits_take_their_time(struct rig *rig)
{
    struct shard_id shard = one_shard(rig, 0);
    int64_t shortest = INT64_MAX, longest = 0;
    for (int i = 0; i < 200; i++) {
        struct log_op op = {.u.append.shard = shard};
        op.u.append.batch = rig_batch(rig, "x", 1, RECORD_PRODUCER_NONE, &op.u.append.bytes);
        int64_t before = rig->now_ns, end = log_end_offset(rig->log, shard);
        rig_submit(rig, &op, LOG_OP_APPEND);
        while (rig_poll(rig) == NULL) {
            EXPECT_INT(log_end_offset(rig->log, shard), end); /* unseen until it is there */
            rig_step(rig);
        }
        int64_t took = rig->now_ns - before;
        shortest = took < shortest ? took : shortest;
        longest = took > longest ? took : longest;
        free(op.u.append.batch);
    }
    EXPECT(shortest >= 10000000 && shortest < 12000000);
    EXPECT(longest <= 30000000 && longest > 28000000);
}

TEST(memory_commits_take_half_to_one_and_a_half_of_the_delay)
{
    conformance_run(&moody, commits_take_their_time);
}

static void some_replies_are_lost(struct rig *rig)
{
    struct shard_id shard = one_shard(rig, 0);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    int again = 0, lost = 0;
    for (int i = 1; i <= 400; i++) {
        struct log_batch batch = {.shard = shard, .ret_base_offset = -7};
        batch.bytes = rig_batch(rig, "x", 1, RECORD_PRODUCER_NONE, &batch.len);
        struct log_op op = {.u.commit = {.owner = owner.id,
                                         .incarnation = owner.incarnation,
                                         .sequence = i,
                                         .batches = &batch,
                                         .batch_count = 1}};
        int64_t end = log_end_offset(rig->log, shard);
        if (rig_once(rig, &op, LOG_OP_COMMIT) == ERR_AGAIN) {
            EXPECT_INT(batch.ret_base_offset, -7); /* the op is as it was */
            again++;
            lost += log_end_offset(rig->log, shard) > end;
            EXPECT_INT(rig_do(rig, &op, LOG_OP_COMMIT), ERR_OK);
        }
        EXPECT_INT(batch.ret_base_offset, end);
        free(batch.bytes);
    }
    EXPECT_MSG(again > 80 && again < 160, "%d of 400 AGAIN", again);
    EXPECT_MSG(lost > again / 3 && lost < again * 2 / 3, "%d of %d did take effect", lost, again);
}

TEST(memory_tells_again_also_of_what_took_effect)
{
    conformance_run(&moody, some_replies_are_lost);
}

/* Ten records over the same three keys again and again: the changelog must not grow with them. */
static void changelog_is_compacted(struct rig *rig)
{
    struct shard_id shard = one_shard(rig, STREAM_INTERNAL | STREAM_CHANGELOG);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    static char large[100000];
    memset(large, 'v', sizeof large);
    int64_t highest = 0, old_end = 0;
    for (int i = 0; i < 200; i++) {
        record_builder_reset(&rig->builder);
        for (int k = 0; k < 3; k++) {
            char key[16] = {0};
            int len = snprintf(key + 2, sizeof key - 2, "key%d", k);
            struct record record = {.key = {.ptr = key, .len = 2 + len},
                                    .value = {.ptr = large, .len = (ptrdiff_t)sizeof large - i}};
            CHECK(record_builder_add(&rig->builder, &record) == ERR_OK);
        }
        struct log_batch batch = {.shard = shard};
        CHECK(record_builder_finish(&rig->builder, RECORD_PRODUCER_NONE, &batch.bytes, &batch.len,
                                    NULL) == ERR_OK);
        struct log_op op = {.u.commit = {.owner = owner.id,
                                         .incarnation = owner.incarnation,
                                         .sequence = i + 1,
                                         .batches = &batch,
                                         .batch_count = 1}};
        EXPECT_INT(rig_do(rig, &op, LOG_OP_COMMIT), ERR_OK);
        EXPECT(batch.ret_end_offset > old_end);
        old_end = batch.ret_end_offset;
        int64_t size = rig_shard_info(rig, shard).size_bytes;
        highest = size > highest ? size : highest;
    }
    EXPECT_MSG(highest < 8 << 20, "%lld of 60 MB are kept", (long long)highest);
    struct log_op op = {.u.restore = {.changelog = shard,
                                      .group_hi = 4096,
                                      .at = LOG_AT_LAST,
                                      .buf = rig->buf,
                                      .cap = RIG_BUF_BYTES}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_RESTORE_OPEN), ERR_OK);
    EXPECT_INT(op.u.restore.ret_at, old_end);
    EXPECT_INT(rig_do(rig, &op, LOG_OP_RESTORE_NEXT), ERR_OK);
    EXPECT(!op.u.restore.ret_more);
    EXPECT_INT(record_reader_begin(&rig->records, rig->buf, op.u.restore.ret_bytes, NULL), ERR_OK);
    struct record record;
    for (int k = 0; k < 3; k++) {
        EXPECT_INT(record_reader_next(&rig->records, &record, NULL), ERR_OK);
        EXPECT_INT(record.value.len, (ptrdiff_t)sizeof large - 199);
        EXPECT(record.offset >= old_end - 4); /* the last ones, where they stood */
    }
    EXPECT_INT(rig_do(rig, &op, LOG_OP_RESTORE_CLOSE), ERR_OK);
    op.u.restore.at = 4; /* compaction has passed it */
    EXPECT_INT(rig_do(rig, &op, LOG_OP_RESTORE_OPEN), ERR_OFFSET_RANGE);
}

TEST(memory_compacts_changelogs)
{
    conformance_run(&quick, changelog_is_compacted);
}

static void dropped_ops_are_a_prefix(struct rig *rig)
{
    enum { N = 12 };
    int cut_somewhere = 0;
    for (int round = 0; round < 40; round++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", round);
        struct shard_id shard = rig_shard(rig_stream(rig, name, 0, 1), 0);
        static struct log_op ops[N];
        for (int i = 0; i < N; i++) {
            char text[16];
            snprintf(text, sizeof text, "%d", i);
            ops[i] = (struct log_op){.u.append.shard = shard};
            ops[i].u.append.batch =
                rig_batch(rig, text, 1, RECORD_PRODUCER_NONE, &ops[i].u.append.bytes);
            rig_submit(rig, &ops[i], LOG_OP_APPEND);
        }
        for (int64_t steps = rng_range(&rig->rng, 0, 9); steps > 0; steps--) {
            rig_step(rig);
        }
        rig_crash(rig);
        for (int i = 0; i < N; i++) {
            memset(ops[i].u.append.batch, 0xee,
                   (size_t)ops[i].u.append.bytes); /* not looked at any more */
            free(ops[i].u.append.batch);
        }
        memset(ops, 0xee, sizeof ops);
        rig_pass(rig, 1000000000);
        int last = -1;
        const char *at = rig_contents(rig, shard);
        while (*at != 0) {
            int value = (int)strtol(at, NULL, 10);
            EXPECT(value > last); /* in the order of submission; AGAIN leaves holes */
            last = value;
            at = strchr(at, ' ') + 1;
        }
        cut_somewhere += last >= 0 && last < N - 1;
    }
    EXPECT(cut_somewhere > 5);
}

TEST(memory_drops_the_ops_of_a_crashed_client_behind_some_point)
{
    conformance_run(&moody, dropped_ops_are_a_prefix);
}

/* --- threads: submitters, watchers and the loop at the same time; run under ThreadSanitizer --- */

enum { THREADS = 3, APPENDS = 400 };

struct submitter {
    struct log *log;
    struct shard_id shard;
    pthread_t thread;
    int64_t last_offset;
};

static void *submit_all(void *arg)
{
    struct submitter *me = arg;
    struct waker waker, watcher;
    struct mailbox done;
    waker_init(&waker);
    waker_init(&watcher);
    mailbox_init(&done, &waker);
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    for (int i = 0; i < APPENDS; i++) {
        if (i % 10 == 0) {
            CHECK(log_watch(me->log, me->shard, &watcher) == ERR_OK);
        }
        record_builder_reset(&builder);
        struct record record = {.value = STR("value")};
        CHECK(record_builder_add(&builder, &record) == ERR_OK);
        struct log_op op = {.kind = LOG_OP_APPEND, .done = &done, .u.append.shard = me->shard};
        CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &op.u.append.batch,
                                    &op.u.append.bytes, NULL) == ERR_OK);
        log_submit(me->log, &op);
        while (mailbox_take_all(&done) == NULL) {
            waker_sleep(&waker, 1000000000);
        }
        CHECK(op.err == ERR_OK && op.u.append.ret_base_offset > me->last_offset);
        me->last_offset = op.u.append.ret_base_offset;
        CHECK(log_end_offset(me->log, me->shard) > me->last_offset);
        CHECK(waker_take(&watcher)); /* woken no later than the answer */
        if (i % 10 == 9) {
            log_unwatch(me->log, me->shard, &watcher);
        }
    }
    record_builder_release(&builder);
    return NULL;
}

TEST(memory_serves_several_threads_at_once)
{
    struct clock clock = clock_real();
    struct log *log = log_memory_new(&(struct log_memory_options){.clock = &clock});
    struct log_loop loops[LOG_LOOPS_MAX];
    EXPECT_INT(log_loops(log, loops), 1);
    struct loop_options options = {.name = loops[0].name,
                                   .clock = &clock,
                                   .waker = loops[0].waker,
                                   .step = loops[0].step,
                                   .ctx = loops[0].ctx,
                                   .cpu = -1};
    struct loop *loop = loop_start(&options);
    struct waker waker;
    struct mailbox done;
    waker_init(&waker);
    mailbox_init(&done, &waker);
    struct log_op op = {
        .kind = LOG_OP_STREAM_CREATE,
        .done = &done,
        .u.stream.config = {
            .name = "s", .shard_count = 1, .retention_ms = -1, .retention_bytes = -1}};
    log_submit(log, &op);
    while (mailbox_take_all(&done) == NULL) {
        waker_sleep(&waker, 1000000000);
    }
    struct submitter submitters[THREADS];
    for (int i = 0; i < THREADS; i++) {
        submitters[i] = (struct submitter){
            .log = log, .shard = op.u.stream.ret_info.first_shard, .last_offset = -1};
        CHECK(pthread_create(&submitters[i].thread, NULL, submit_all, &submitters[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(submitters[i].thread, NULL) == 0);
    }
    EXPECT_INT(log_end_offset(log, op.u.stream.ret_info.first_shard), THREADS * APPENDS);
    loop_stop(loop);
    log_close(log);
}
