// SPDX-License-Identifier: Apache-2.0
#include "conformance.h"

#include <stdlib.h>

#include "base/mem.h"

enum { STEPS_MAX = 4000000, CONTENTS_MAX = 4 << 20, OFFSETS_MAX = 1 << 18 };

static int64_t rig_now(void *ctx)
{
    return ((struct rig *)ctx)->now_ns;
}

static int64_t rig_wall(void *ctx)
{
    return 1767225600000 + ((struct rig *)ctx)->now_ns / 1000000;
}

static void rig_loops(struct rig *rig)
{
    rig->loop_count = log_loops(rig->log, rig->loops);
    rig->reader = log_reader_new(rig->log);
}

void conformance_run(const struct conformance_factory *factory, void (*test)(struct rig *rig))
{
    static struct rig rig;
    rig = (struct rig){.factory = factory, .now_ns = 1000000000};
    rig.clock = (struct clock){
        .ctx = &rig, .now_ns = rig_now, .wall_unix_ms = rig_wall, .thread_cpu_ns = rig_now};
    rng_init(&rig.rng, test_seed());
    waker_init(&rig.waker);
    mailbox_init(&rig.done, &rig.waker);
    record_builder_init(&rig.builder, RECORD_CODEC_NONE);
    record_reader_init(&rig.records);
    rig.buf = mem_new(RIG_BUF_BYTES + 64, 1);
    factory->open(&rig);
    rig_loops(&rig);
    test(&rig);
    log_reader_free(rig.log, rig.reader);
    factory->close(&rig);
    mem_free(rig.buf);
    record_reader_release(&rig.records);
    record_builder_release(&rig.builder);
}

/* Steps all once at the present time; returns the earliest deadline. */
static int64_t step_all(struct rig *rig)
{
    CHECK(++rig->watchdog < STEPS_MAX); /* a test that never ends */
    int64_t due = CLOCK_NEVER;
    for (int i = 0; i < rig->loop_count; i++) {
        int64_t d = rig->loops[i].step(rig->loops[i].ctx, rig->now_ns);
        due = d < due ? d : due;
    }
    if (rig->factory->step != NULL) {
        int64_t d = rig->factory->step(rig, rig->now_ns);
        due = d < due ? d : due;
    }
    for (int i = 0; i < rig->loop_count; i++) {
        if (waker_take(rig->loops[i].waker)) {
            due = rig->now_ns;
        }
    }
    return due;
}

void rig_step(struct rig *rig)
{
    int64_t due = step_all(rig);
    bool answered = atomic_load(&rig->done.head) != NULL;
    if (!answered && due > rig->now_ns && due != CLOCK_NEVER) {
        rig->now_ns = due;
    }
}

void rig_pass(struct rig *rig, int64_t ns)
{
    int64_t until = rig->now_ns + ns;
    for (;;) {
        int64_t due = step_all(rig);
        if (due > until) {
            break;
        }
        rig->now_ns = due > rig->now_ns ? due : rig->now_ns;
    }
    rig->now_ns = until;
    (void)step_all(rig);
}

void rig_crash(struct rig *rig)
{
    log_reader_free(rig->log, rig->reader);
    rig->factory->crash(rig);
    mailbox_init(&rig->done, &rig->waker); /* what was on its way is lost with its sender */
    rig->back = NULL;
    rig_loops(rig);
}

void rig_submit(struct rig *rig, struct log_op *op, enum log_op_kind kind)
{
    op->kind = kind;
    op->done = &rig->done;
    log_submit(rig->log, op);
}

struct log_op *rig_poll(struct rig *rig)
{
    if (rig->back == NULL) {
        rig->back = mailbox_take_all(&rig->done);
    }
    struct msg *msg = rig->back;
    if (msg == NULL) {
        return NULL;
    }
    rig->back = msg->next;
    return CONTAINER_OF(msg, struct log_op, msg);
}

enum err rig_once(struct rig *rig, struct log_op *op, enum log_op_kind kind)
{
    rig_submit(rig, op, kind);
    struct log_op *back;
    int64_t steps = 0;
    while ((back = rig_poll(rig)) == NULL) {
        rig_step(rig);
        CHECK_MSG(++steps < 200000, "op of kind %d never completes", (int)kind);
    }
    CHECK(back == op);
    CHECK(op->err != ERR_OK || op->info.code == ERR_OK);
    return op->err;
}

enum err rig_do(struct rig *rig, struct log_op *op, enum log_op_kind kind)
{
    enum err err;
    int tries = 0;
    do {
        err = rig_once(rig, op, kind);
        CHECK(++tries < 1000);
    } while (err == ERR_AGAIN);
    return err;
}

struct stream_info rig_stream(struct rig *rig, const char *name, uint32_t flags, int32_t shards)
{
    struct log_op op = {
        .u.stream.config = {
            .flags = flags, .shard_count = shards, .retention_ms = -1, .retention_bytes = -1}};
    snprintf(op.u.stream.config.name, sizeof op.u.stream.config.name, "%s", name);
    enum err err = rig_do(rig, &op, LOG_OP_STREAM_CREATE);
    CHECK_MSG(err == ERR_OK, "%s: %s", name, op.info.text);
    return op.u.stream.ret_info;
}

struct shard_id rig_shard(struct stream_info info, int32_t index)
{
    return (struct shard_id){info.first_shard.v + (uint32_t)index};
}

struct shard_info rig_shard_info(struct rig *rig, struct shard_id shard)
{
    struct log_op op = {.u.shard.shard = shard};
    CHECK(rig_do(rig, &op, LOG_OP_SHARD_GET) == ERR_OK);
    return op.u.shard.ret_info;
}

void *rig_batch(struct rig *rig, const char *text, int32_t count, struct record_producer producer,
                ptrdiff_t *ret_len)
{
    record_builder_reset(&rig->builder);
    for (int32_t i = 0; i < count; i++) {
        char value[64];
        int len = snprintf(value, sizeof value, "%s/%d", text, i);
        struct record record = {.timestamp_ms = 1000 + i, .value = {.ptr = value, .len = len}};
        CHECK(record_builder_add(&rig->builder, &record) == ERR_OK);
    }
    void *bytes;
    CHECK(record_builder_finish(&rig->builder, producer, &bytes, ret_len, NULL) == ERR_OK);
    void *copy = malloc((size_t)*ret_len);
    CHECK(copy != NULL);
    memcpy(copy, bytes, (size_t)*ret_len);
    return copy;
}

enum err rig_append(struct rig *rig, struct shard_id shard, const char *text, int32_t count,
                    struct record_producer producer, struct log_append_op *ret_append)
{
    struct log_op op = {.u.append.shard = shard};
    op.u.append.batch = rig_batch(rig, text, count, producer, &op.u.append.bytes);
    enum err err = rig_do(rig, &op, LOG_OP_APPEND);
    free(op.u.append.batch);
    op.u.append.batch = NULL;
    if (ret_append != NULL) {
        *ret_append = op.u.append;
    }
    return err;
}

struct rig_owner rig_owner(struct rig *rig, const char *name)
{
    struct log_op op = {.kind = LOG_OP_OWNER_INIT};
    snprintf(op.u.owner.name, sizeof op.u.owner.name, "%s", name);
    CHECK(rig_do(rig, &op, LOG_OP_OWNER_INIT) == ERR_OK);
    struct rig_owner owner = {.id = op.u.owner.ret_id, .incarnation = op.u.owner.ret_incarnation};
    snprintf(owner.name, sizeof owner.name, "%s", name);
    return owner;
}

enum err rig_commit(struct rig *rig, struct rig_owner *owner, const struct shard_id *shards,
                    int32_t shard_count, const char *text, int32_t count,
                    struct log_commit_op *ret_commit)
{
    enum { SHARDS = 16 };
    CHECK(shard_count <= SHARDS);
    struct log_batch batches[SHARDS];
    for (int32_t i = 0; i < shard_count; i++) {
        batches[i] = (struct log_batch){.shard = shards[i]};
        batches[i].bytes = rig_batch(rig, text, count, RECORD_PRODUCER_NONE, &batches[i].len);
    }
    struct log_op op = {.u.commit = {.owner = owner->id,
                                     .incarnation = owner->incarnation,
                                     .sequence = owner->sequence + 1,
                                     .batches = batches,
                                     .batch_count = shard_count}};
    enum err err = rig_do(rig, &op, LOG_OP_COMMIT);
    for (int32_t i = 0; i < shard_count; i++) {
        free(batches[i].bytes);
    }
    owner->sequence += err == ERR_OK;
    if (ret_commit != NULL) {
        *ret_commit = op.u.commit;
        ret_commit->batches = NULL;
    }
    return err;
}

int64_t rig_offsets[OFFSETS_MAX];
int32_t rig_offset_count;

/* Adds the values of one piece of a shard to `text`. */
static ptrdiff_t contents_add(struct rig *rig, const uint8_t *bytes, ptrdiff_t len, char *text,
                              ptrdiff_t used)
{
    for (ptrdiff_t at = 0, total = 0; at < len; at += total) {
        struct record_batch_header header;
        CHECK(record_batch_parse(bytes + at, len - at, &header, &total, NULL) == ERR_OK);
        CHECK(record_batch_verify(bytes + at, total, NULL) == ERR_OK);
        CHECK(record_reader_begin(&rig->records, bytes + at, total, NULL) == ERR_OK);
        struct record record;
        while (record_reader_next(&rig->records, &record, NULL) == ERR_OK) {
            CHECK(rig_offset_count < OFFSETS_MAX && used + record.value.len + 2 < CONTENTS_MAX);
            CHECK(rig_offset_count == 0 || record.offset > rig_offsets[rig_offset_count - 1]);
            rig_offsets[rig_offset_count++] = record.offset;
            memcpy(text + used, record.value.ptr, (size_t)record.value.len);
            used += record.value.len;
            text[used++] = ' ';
        }
    }
    return used;
}

const char *rig_contents(struct rig *rig, struct shard_id shard)
{
    static char text[CONTENTS_MAX];
    struct shard_info info = rig_shard_info(rig, shard);
    CHECK(info.end_offset == log_end_offset(rig->log, shard));
    ptrdiff_t used = 0;
    rig_offset_count = 0;
    for (int64_t offset = info.start_offset; offset < info.end_offset;) {
        struct log_op op = {.u.read = {.reader = rig->reader,
                                       .shard = shard,
                                       .offset = offset,
                                       .buf = rig->buf,
                                       .cap = RIG_BUF_BYTES}};
        enum err err = rig_do(rig, &op, LOG_OP_READ);
        CHECK_MSG(err == ERR_OK, "read at %lld: %s", (long long)offset, op.info.text);
        CHECK(op.u.read.ret_next_offset > offset); /* progress */
        CHECK(op.u.read.ret_end_offset == info.end_offset);
        used = contents_add(rig, rig->buf, op.u.read.ret_bytes, text, used);
        offset = op.u.read.ret_next_offset;
    }
    text[used] = 0;
    return text;
}
