// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "conformance.h"

/* Streams, appends, reads, producers, watchers, retention. */

static enum err create(struct rig *rig, const char *name, int32_t shards, struct log_op *op)
{
    *op = (struct log_op){
        .u.stream.config = {.shard_count = shards, .retention_ms = -1, .retention_bytes = -1}};
    snprintf(op->u.stream.config.name, sizeof op->u.stream.config.name, "%s", name);
    return rig_do(rig, op, LOG_OP_STREAM_CREATE);
}

static enum err get(struct rig *rig, const char *name, struct log_op *op)
{
    *op = (struct log_op){0};
    snprintf(op->u.stream.config.name, sizeof op->u.stream.config.name, "%s", name);
    return rig_do(rig, op, LOG_OP_STREAM_GET);
}

void conform_stream_is_made_once_and_found_by_name(struct rig *rig)
{
    struct log_op op;
    EXPECT_INT(get(rig, "clicks", &op), ERR_NOT_FOUND);
    EXPECT_INT(create(rig, "clicks", 4, &op), ERR_OK);
    struct stream_info first = op.u.stream.ret_info;
    EXPECT_INT(first.config.shard_count, 4);
    EXPECT_INT(create(rig, "orders", 2, &op), ERR_OK);
    struct stream_info second = op.u.stream.ret_info;
    EXPECT(second.id.v != first.id.v);
    EXPECT(second.first_shard.v >= first.first_shard.v + 4 ||
           first.first_shard.v >= second.first_shard.v + 2);
    EXPECT_INT(create(rig, "clicks", 4, &op), ERR_OK); /* the same again: fine */
    EXPECT_INT(op.u.stream.ret_info.id.v, first.id.v);
    EXPECT_INT(op.u.stream.ret_info.first_shard.v, first.first_shard.v);
    EXPECT_INT(get(rig, "clicks", &op), ERR_OK);
    EXPECT_INT(op.u.stream.ret_info.id.v, first.id.v);
    EXPECT_STR(str_of(op.u.stream.ret_info.config.name), STR("clicks"));
    for (int32_t i = 0; i < 4; i++) {
        struct shard_info info = rig_shard_info(rig, rig_shard(first, i));
        EXPECT_INT(info.start_offset, 0);
        EXPECT_INT(info.end_offset, 0);
        EXPECT_INT(info.health, ERR_OK);
    }
}

void conform_stream_of_another_configuration_exists_already(struct rig *rig)
{
    struct log_op op;
    EXPECT_INT(create(rig, "clicks", 4, &op), ERR_OK);
    EXPECT_INT(create(rig, "clicks", 5, &op), ERR_EXISTS);
    EXPECT(op.info.text[0] != 0);
    op = (struct log_op){.u.stream.config = {.name = "clicks",
                                             .flags = STREAM_INTERNAL,
                                             .shard_count = 4,
                                             .retention_ms = -1,
                                             .retention_bytes = -1}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_STREAM_CREATE), ERR_EXISTS);
}

void conform_stream_names_that_may_not_be_are_refused(struct rig *rig)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "../etc", "a b", "\xc3\xa9", "a*"};
    struct log_op op;
    for (ptrdiff_t i = 0; i < COUNT_OF(bad); i++) {
        EXPECT_INT(create(rig, bad[i], 1, &op), ERR_INVALID);
    }
    char longest[LOG_NAME_MAX + 1];
    memset(longest, 'n', LOG_NAME_MAX);
    longest[LOG_NAME_MAX] = 0;
    EXPECT_INT(create(rig, longest, 1, &op), ERR_OK);
    EXPECT_INT(get(rig, longest, &op), ERR_OK);
    EXPECT_STR(str_of(op.u.stream.ret_info.config.name), str_of(longest));
}

void conform_shard_counts_are_limited(struct rig *rig)
{
    struct log_op op;
    EXPECT_INT(create(rig, "none", 0, &op), ERR_INVALID);
    EXPECT_INT(create(rig, "fewer", -1, &op), ERR_INVALID);
    EXPECT_INT(create(rig, "many", LOG_SHARDS_PER_STREAM_MAX + 1, &op), ERR_LIMIT);
    EXPECT_INT(get(rig, "many", &op), ERR_NOT_FOUND);
    EXPECT_INT(create(rig, "many", LOG_SHARDS_PER_STREAM_MAX, &op), ERR_OK);
    struct shard_id last = rig_shard(op.u.stream.ret_info, LOG_SHARDS_PER_STREAM_MAX - 1);
    EXPECT_INT(rig_append(rig, last, "x", 1, RECORD_PRODUCER_NONE, NULL), ERR_OK);
}

void conform_streams_are_listed_by_name_and_a_cut_list_says_so(struct rig *rig)
{
    static const char *const names[] = {"m", "b", "z", "a", "n", "B"};
    static const char *const ordered[] = {"B", "a", "b", "m", "n", "z"};
    struct stream_info infos[8];
    struct log_op op = {.u.list = {.infos = infos, .cap = 8}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_STREAM_LIST), ERR_OK);
    EXPECT_INT(op.u.list.ret_count, 0);
    for (ptrdiff_t i = 0; i < COUNT_OF(names); i++) {
        rig_stream(rig, names[i], 0, 1);
    }
    for (int32_t cap = 8; cap >= 0; cap--) {
        op = (struct log_op){.u.list = {.infos = infos, .cap = cap}};
        EXPECT_INT(rig_do(rig, &op, LOG_OP_STREAM_LIST), cap >= 6 ? ERR_OK : ERR_LIMIT);
        EXPECT_INT(op.u.list.ret_count, cap >= 6 ? 6 : cap);
        for (int32_t i = 0; i < op.u.list.ret_count; i++) {
            EXPECT_STR(str_of(infos[i].config.name), str_of(ordered[i]));
        }
    }
}

void conform_altered_retention_stays(struct rig *rig)
{
    rig_stream(rig, "clicks", 0, 2);
    struct log_op op = {
        .u.stream.config = {.name = "clicks", .retention_ms = 5000, .retention_bytes = 1 << 20}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_STREAM_ALTER), ERR_OK);
    EXPECT_INT(op.u.stream.ret_info.config.retention_ms, 5000);
    EXPECT_INT(op.u.stream.ret_info.config.shard_count, 2);
    rig_crash(rig);
    EXPECT_INT(get(rig, "clicks", &op), ERR_OK);
    EXPECT_INT(op.u.stream.ret_info.config.retention_ms, 5000);
    EXPECT_INT(op.u.stream.ret_info.config.retention_bytes, 1 << 20);
    op = (struct log_op){.u.stream.config = {.name = "nobody"}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_STREAM_ALTER), ERR_NOT_FOUND);
}

void conform_deleted_stream_is_gone_and_its_name_free(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 2);
    EXPECT_INT(rig_append(rig, rig_shard(info, 0), "old", 2, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    struct log_op op = {.u.stream.config = {.name = "clicks"}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_STREAM_DELETE), ERR_OK);
    EXPECT_INT(get(rig, "clicks", &op), ERR_NOT_FOUND);
    EXPECT_INT(rig_append(rig, rig_shard(info, 0), "x", 1, RECORD_PRODUCER_NONE, NULL),
               ERR_NOT_FOUND);
    op = (struct log_op){.u.stream.config = {.name = "clicks"}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_STREAM_DELETE), ERR_NOT_FOUND);
    rig_crash(rig);
    EXPECT_INT(get(rig, "clicks", &op), ERR_NOT_FOUND);
    struct stream_info again = rig_stream(rig, "clicks", 0, 3);
    EXPECT(again.first_shard.v >= info.first_shard.v + 2); /* shard numbers are for ever */
    EXPECT_STR(str_of(rig_contents(rig, rig_shard(again, 0))), STR(""));
}

void conform_streams_survive_a_crash_scratch_streams_do_not(struct rig *rig)
{
    struct stream_info kept = rig_stream(rig, "kept", STREAM_INTERNAL, 3);
    struct stream_info scratch = rig_stream(rig, "scratch", STREAM_SCRATCH, 1);
    EXPECT_INT(rig_append(rig, rig_shard(scratch, 0), "s", 2, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    EXPECT_STR(str_of(rig_contents(rig, rig_shard(scratch, 0))), STR("s/0 s/1 "));
    rig_crash(rig);
    struct log_op op;
    EXPECT_INT(get(rig, "kept", &op), ERR_OK);
    EXPECT_INT(op.u.stream.ret_info.id.v, kept.id.v);
    EXPECT_INT(op.u.stream.ret_info.first_shard.v, kept.first_shard.v);
    EXPECT_INT(op.u.stream.ret_info.config.flags, STREAM_INTERNAL);
    EXPECT_INT(op.u.stream.ret_info.config.shard_count, 3);
    EXPECT_INT(get(rig, "scratch", &op), ERR_NOT_FOUND);
}

void conform_ops_on_what_is_not_there_are_not_found(struct rig *rig)
{
    struct shard_id nowhere = {54321};
    struct log_op op = {.u.shard.shard = nowhere};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_SHARD_GET), ERR_NOT_FOUND);
    EXPECT_INT(rig_append(rig, nowhere, "x", 1, RECORD_PRODUCER_NONE, NULL), ERR_NOT_FOUND);
    op = (struct log_op){
        .u.read = {.reader = rig->reader, .shard = nowhere, .buf = rig->buf, .cap = RIG_BUF_BYTES}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_READ), ERR_NOT_FOUND);
    op = (struct log_op){.u.floor = {.shard = nowhere, .reader = 1, .offset = 0}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_FLOOR), ERR_NOT_FOUND);
    op = (struct log_op){.u.trim = {.shard = nowhere}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_TRIM), ERR_NOT_FOUND);
    op = (struct log_op){.u.fence = {.changelog = nowhere, .group_hi = 64, .epoch = 1}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_RANGE_FENCE), ERR_NOT_FOUND);
    op = (struct log_op){.u.restore = {.changelog = nowhere, .group_hi = 64, .at = LOG_AT_LAST}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_RESTORE_OPEN), ERR_NOT_FOUND);
}

void conform_appended_records_are_read_back_in_order(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 2);
    struct log_append_op append;
    int64_t last_offset = -1;
    char expected[4096];
    int used = 0;
    for (int i = 0; i < 40; i++) {
        char text[32];
        snprintf(text, sizeof text, "%d", i);
        EXPECT_INT(
            rig_append(rig, rig_shard(info, 1), text, 1 + i % 3, RECORD_PRODUCER_NONE, &append),
            ERR_OK);
        EXPECT(append.ret_base_offset > last_offset);
        EXPECT(!append.ret_duplicate);
        last_offset = append.ret_base_offset + i % 3;
        EXPECT_INT(log_end_offset(rig->log, rig_shard(info, 1)), last_offset + 1);
        for (int j = 0; j <= i % 3; j++) {
            used += snprintf(expected + used, sizeof expected - (size_t)used, "%d/%d ", i, j);
        }
    }
    EXPECT_STR(str_of(rig_contents(rig, rig_shard(info, 1))), str_of(expected));
    EXPECT(rig_shard_info(rig, rig_shard(info, 1)).size_bytes > 40 * RECORD_BATCH_HEADER);
    if ((rig->factory->flags & CONFORM_DENSE) != 0) {
        EXPECT_INT(last_offset, rig_offset_count - 1);
    }
    EXPECT_STR(str_of(rig_contents(rig, rig_shard(info, 0))), STR(""));
}

void conform_appends_of_one_thread_take_effect_in_order(struct rig *rig)
{
    enum { N = 60 };
    struct stream_info info = rig_stream(rig, "clicks", 0, 1);
    static struct log_op ops[N];
    for (int i = 0; i < N; i++) {
        ops[i] = (struct log_op){.u.append.shard = rig_shard(info, 0)};
        ops[i].u.append.batch =
            rig_batch(rig, "x", 1 + i % 4, RECORD_PRODUCER_NONE, &ops[i].u.append.bytes);
        rig_submit(rig, &ops[i], LOG_OP_APPEND);
    }
    for (int back = 0; back < N; rig_step(rig)) {
        while (rig_poll(rig) != NULL) {
            back++;
        }
    }
    int64_t end = 0, taken = 0;
    for (int i = 0; i < N; i++) {
        EXPECT(ops[i].err == ERR_OK || ops[i].err == ERR_AGAIN);
        if (ops[i].err == ERR_OK) {
            EXPECT(ops[i].u.append.ret_base_offset >= end);
            end = ops[i].u.append.ret_base_offset + 1 + i % 4;
            taken += 1 + i % 4;
        }
        free(ops[i].u.append.batch);
    }
    EXPECT(taken > 0);
    IGNORE_RESULT(rig_contents(rig, rig_shard(info, 0)));
    EXPECT_INT(rig_offset_count, taken); /* AGAIN without a producer id: nothing happened */
}

void conform_read_begins_with_the_batch_that_holds_the_offset(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 1);
    struct shard_id shard = rig_shard(info, 0);
    struct log_append_op append[10];
    for (int i = 0; i < 10; i++) {
        EXPECT_INT(rig_append(rig, shard, "x", 5, RECORD_PRODUCER_NONE, &append[i]), ERR_OK);
    }
    for (int i = 9; i >= 0;
         i--) { /* also backwards: a reader's memory of its place must not bind it */
        for (int64_t delta = 4; delta >= 0; delta--) {
            struct log_op op = {.u.read = {.reader = rig->reader,
                                           .shard = shard,
                                           .offset = append[i].ret_base_offset + delta,
                                           .buf = rig->buf,
                                           .cap = RIG_BUF_BYTES}};
            EXPECT_INT(rig_do(rig, &op, LOG_OP_READ), ERR_OK);
            struct record_batch_header header;
            ptrdiff_t total;
            EXPECT_INT(record_batch_parse(rig->buf, op.u.read.ret_bytes, &header, &total, NULL),
                       ERR_OK);
            EXPECT_INT(header.base_offset, append[i].ret_base_offset);
            EXPECT(op.u.read.ret_next_offset > op.u.read.offset);
        }
    }
}

void conform_read_at_the_end_is_empty_and_beyond_it_out_of_range(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 1);
    struct shard_id shard = rig_shard(info, 0);
    for (int round = 0; round < 3; round++) {
        int64_t end = rig_shard_info(rig, shard).end_offset;
        struct log_op op = {.u.read = {.reader = rig->reader,
                                       .shard = shard,
                                       .offset = end,
                                       .buf = rig->buf,
                                       .cap = RIG_BUF_BYTES}};
        EXPECT_INT(rig_do(rig, &op, LOG_OP_READ), ERR_OK);
        EXPECT_INT(op.u.read.ret_bytes, 0);
        EXPECT_INT(op.u.read.ret_next_offset, end);
        EXPECT_INT(op.u.read.ret_end_offset, end);
        op.u.read.offset = end + 1;
        op.u.read.ret_start_offset = -1;
        EXPECT_INT(rig_do(rig, &op, LOG_OP_READ), ERR_OFFSET_RANGE);
        EXPECT_INT(op.u.read.ret_start_offset, 0);
        op.u.read.offset = -1;
        EXPECT_INT(rig_do(rig, &op, LOG_OP_READ), ERR_OFFSET_RANGE);
        EXPECT_INT(rig_append(rig, shard, "x", 3, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    }
}

void conform_read_follows_the_room_it_has(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 1);
    struct shard_id shard = rig_shard(info, 0);
    for (int i = 0; i < 10; i++) {
        EXPECT_INT(rig_append(rig, shard, "some text", 10, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    }
    ptrdiff_t all = (ptrdiff_t)rig_shard_info(rig, shard).size_bytes;
    for (ptrdiff_t cap = all; cap > 16; cap = cap * 2 / 3) {
        struct log_op op = {
            .u.read = {.reader = rig->reader, .shard = shard, .buf = rig->buf, .cap = cap}};
        enum err err = rig_do(rig, &op, LOG_OP_READ);
        EXPECT(err == ERR_OK || err == ERR_LIMIT);
        if (err == ERR_OK) {
            EXPECT(op.u.read.ret_bytes > 0 && op.u.read.ret_bytes <= cap);
        }
    }
    char *large = mem_new(LOG_BATCH_BYTES_MAX, 1);
    record_builder_reset(&rig->builder);
    struct record record = {.value = {.ptr = large, .len = LOG_BATCH_BYTES_MAX - 200}};
    CHECK(record_builder_add(&rig->builder, &record) == ERR_OK);
    struct log_op op = {.u.append.shard = shard};
    CHECK(record_builder_finish(&rig->builder, RECORD_PRODUCER_NONE, &op.u.append.batch,
                                &op.u.append.bytes, NULL) == ERR_OK);
    EXPECT_INT(rig_do(rig, &op, LOG_OP_APPEND), ERR_OK);
    mem_free(large);
    struct log_op read = {.u.read = {.reader = rig->reader,
                                     .shard = shard,
                                     .offset = op.u.append.ret_base_offset,
                                     .buf = rig->buf,
                                     .cap = RIG_BUF_BYTES}};
    EXPECT_INT(rig_do(rig, &read, LOG_OP_READ), ERR_OK);
    EXPECT_INT(read.u.read.ret_bytes, op.u.append.bytes);
}

void conform_batch_that_is_not_sound_is_refused_and_changes_nothing(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 1);
    struct shard_id shard = rig_shard(info, 0);
    EXPECT_INT(rig_append(rig, shard, "good", 1, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    ptrdiff_t len;
    uint8_t *batch = rig_batch(rig, "bad", 3, RECORD_PRODUCER_NONE, &len);
    struct log_op op = {.u.append = {.shard = shard, .batch = batch, .bytes = len}};
    for (ptrdiff_t at = 8; at < len; at += 5) {
        batch[at] ^= 0x10;
        EXPECT(rig_do(rig, &op, LOG_OP_APPEND) != ERR_OK);
        EXPECT(op.info.text[0] != 0);
        batch[at] ^= 0x10;
    }
    op.u.append.bytes = len - 1;
    EXPECT(rig_do(rig, &op, LOG_OP_APPEND) != ERR_OK);
    op.u.append.bytes = 10;
    EXPECT(rig_do(rig, &op, LOG_OP_APPEND) != ERR_OK);
    free(batch);
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("good/0 "));
    EXPECT_INT(rig_append(rig, shard, "more", 1, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("good/0 more/0 "));
}

void conform_acknowledged_appends_survive_a_crash(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 3);
    static char expected[3][8192];
    memset(expected, 0, sizeof expected);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 10; i++) {
            int32_t s = (int32_t)rng_below(&rig->rng, 3);
            char text[32];
            snprintf(text, sizeof text, "%d.%d", round, i);
            EXPECT_INT(rig_append(rig, rig_shard(info, s), text, 2, RECORD_PRODUCER_NONE, NULL),
                       ERR_OK);
            size_t used = strlen(expected[s]);
            snprintf(expected[s] + used, sizeof expected[s] - used, "%s/0 %s/1 ", text, text);
        }
        rig_crash(rig);
        for (int32_t s = 0; s < 3; s++) {
            EXPECT_STR(str_of(rig_contents(rig, rig_shard(info, s))), str_of(expected[s]));
        }
    }
}

void conform_offsets_are_not_used_again_after_a_crash(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 1);
    struct shard_id shard = rig_shard(info, 0);
    for (int round = 0; round < 8; round++) {
        struct log_append_op append;
        EXPECT_INT(rig_append(rig, shard, "x", 4, RECORD_PRODUCER_NONE, &append), ERR_OK);
        int64_t end = rig_shard_info(rig, shard).end_offset;
        struct log_op op = {.u.append.shard = shard};
        op.u.append.batch = rig_batch(rig, "inflight", 4, RECORD_PRODUCER_NONE, &op.u.append.bytes);
        rig_submit(rig, &op, LOG_OP_APPEND);
        for (int64_t steps = rng_range(&rig->rng, 0, 4); steps > 0; steps--) {
            rig_step(rig);
        }
        rig_crash(rig);
        free(op.u.append.batch);
        EXPECT(rig_shard_info(rig, shard).end_offset >= end);
        EXPECT_INT(log_end_offset(rig->log, shard), rig_shard_info(rig, shard).end_offset);
    }
    IGNORE_RESULT(rig_contents(rig, shard)); /* checks that offsets rise */
    EXPECT(rig_offset_count >= 32);
}

static struct record_producer producer_new(struct rig *rig)
{
    struct log_op op = {.kind = LOG_OP_PRODUCER_INIT};
    CHECK(rig_do(rig, &op, LOG_OP_PRODUCER_INIT) == ERR_OK);
    return (struct record_producer){.id = op.u.producer.ret_id, .epoch = op.u.producer.ret_epoch};
}

void conform_repeated_sequence_completes_with_its_first_offset(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "clicks", 0, 1), 0);
    struct record_producer producer = producer_new(rig);
    int64_t offsets[8];
    struct log_append_op append;
    for (int i = 0; i < 8; i++) {
        producer.base_sequence = 3 * i;
        EXPECT_INT(rig_append(rig, shard, "x", 3, producer, &append), ERR_OK);
        offsets[i] = append.ret_base_offset;
        if (i == 5) {
            rig_crash(rig); /* remembered over crashes */
        }
    }
    for (int i = 7; i >= 3; i--) { /* the last five */
        producer.base_sequence = 3 * i;
        EXPECT_INT(rig_append(rig, shard, "x", 3, producer, &append), ERR_OK);
        EXPECT(append.ret_duplicate);
        EXPECT_INT(append.ret_base_offset, offsets[i]);
    }
    rig_crash(rig);
    producer.base_sequence = 21;
    EXPECT_INT(rig_append(rig, shard, "x", 3, producer, &append), ERR_OK);
    EXPECT_INT(append.ret_base_offset, offsets[7]);
    producer.base_sequence = 24;
    EXPECT_INT(rig_append(rig, shard, "x", 3, producer, &append), ERR_OK);
    IGNORE_RESULT(rig_contents(rig, shard));
    EXPECT_INT(rig_offset_count, 27);
}

void conform_sequence_gap_is_refused(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "clicks", 0, 1), 0);
    struct record_producer producer = producer_new(rig);
    producer.base_sequence = 5;
    EXPECT_INT(rig_append(rig, shard, "x", 1, producer, NULL), ERR_SEQUENCE);
    producer.base_sequence = 0;
    EXPECT_INT(rig_append(rig, shard, "x", 2, producer, NULL), ERR_OK);
    producer.base_sequence = 3;
    EXPECT_INT(rig_append(rig, shard, "x", 2, producer, NULL), ERR_SEQUENCE);
    producer.base_sequence = 1; /* overlaps what was sent */
    EXPECT_INT(rig_append(rig, shard, "x", 2, producer, NULL), ERR_SEQUENCE);
    producer.base_sequence = 2;
    EXPECT_INT(rig_append(rig, shard, "y", 1, producer, NULL), ERR_OK);
    EXPECT_STR(str_of(rig_contents(rig, shard)), STR("x/0 x/1 y/0 "));
}

/* Makes `batch` claim `count` records and say that they are compressed; engines do not look inside. */
static void forge_count(uint8_t *batch, ptrdiff_t len, int32_t count)
{
    batch[22] = RECORD_CODEC_LZ4;
    for (int i = 0; i < 4; i++) {
        batch[23 + i] = (uint8_t)((uint32_t)(count - 1) >> (24 - 8 * i));
        batch[57 + i] = (uint8_t)((uint32_t)count >> (24 - 8 * i));
    }
    uint32_t crc = crc32c(0, batch + 21, len - 21);
    for (int i = 0; i < 4; i++) {
        batch[17 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

void conform_sequences_wrap(struct rig *rig)
{
    enum { COUNT = 9000000 };
    struct shard_id shard = rig_shard(rig_stream(rig, "clicks", 0, 1), 0);
    struct record_producer producer = producer_new(rig);
    struct log_op op = {.u.append.shard = shard};
    int64_t sequence = 0;
    for (; sequence <= INT32_MAX; sequence += COUNT) { /* the last of these wraps within itself */
        producer.base_sequence = (int32_t)sequence;
        op.u.append.batch = rig_batch(rig, "x", 1, producer, &op.u.append.bytes);
        forge_count(op.u.append.batch, op.u.append.bytes, COUNT);
        EXPECT_INT(rig_do(rig, &op, LOG_OP_APPEND), ERR_OK);
        free(op.u.append.batch);
    }
    struct log_append_op append;
    producer.base_sequence = (int32_t)(sequence & INT32_MAX) + 1;
    EXPECT_INT(rig_append(rig, shard, "x", 1, producer, &append), ERR_SEQUENCE);
    producer.base_sequence--;
    EXPECT_INT(rig_append(rig, shard, "x", 1, producer, &append), ERR_OK);
    EXPECT(append.ret_base_offset >= sequence);
    EXPECT_INT(rig_append(rig, shard, "x", 1, producer, &append), ERR_OK);
    EXPECT(append.ret_duplicate && append.ret_base_offset >= sequence);
}

void conform_producers_are_told_apart_by_shard_and_id(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 2);
    struct record_producer a = producer_new(rig), b = producer_new(rig);
    EXPECT(a.id != b.id);
    for (int32_t i = 0; i < 3; i++) {
        a.base_sequence = b.base_sequence = i;
        for (int32_t s = 0; s < 2; s++) {
            EXPECT_INT(rig_append(rig, rig_shard(info, s), "a", 1, a, NULL), ERR_OK);
            EXPECT_INT(rig_append(rig, rig_shard(info, s), "b", 1, b, NULL), ERR_OK);
        }
    }
    EXPECT_STR(str_of(rig_contents(rig, rig_shard(info, 1))), STR("a/0 b/0 a/0 b/0 a/0 b/0 "));
    rig_crash(rig);
    struct record_producer c = producer_new(rig);
    EXPECT(c.id != a.id && c.id != b.id); /* not given out again */
}

void conform_producer_that_was_never_given_out_is_fenced(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "clicks", 0, 1), 0);
    struct record_producer producer = {.id = 987654, .epoch = 0, .base_sequence = 0};
    EXPECT_INT(rig_append(rig, shard, "x", 1, producer, NULL), ERR_FENCED);
    EXPECT_INT(rig_shard_info(rig, shard).end_offset, 0);
}

/* Several producers, each with a few batches in flight, sends again what it is not told OK for, over crashes. */
void conform_retrying_producers_lose_and_double_nothing(struct rig *rig)
{
    enum { PRODUCERS = 3, BATCHES = 40 };
    struct stream_info info = rig_stream(rig, "clicks", 0, PRODUCERS);
    for (int p = 0; p < PRODUCERS; p++) {
        struct record_producer producer = producer_new(rig);
        char expected[8192];
        int used = 0;
        for (int i = 0; i < BATCHES; i++) {
            char text[32];
            snprintf(text, sizeof text, "%d", i);
            producer.base_sequence = 2 * i;
            used += snprintf(expected + used, sizeof expected - (size_t)used, "%d/0 %d/1 ", i, i);
            if (rng_chance(&rig->rng, 0.1)) { /* its first try meets a crash at a random moment */
                struct log_op op = {.u.append.shard = rig_shard(info, p)};
                op.u.append.batch = rig_batch(rig, text, 2, producer, &op.u.append.bytes);
                rig_submit(rig, &op, LOG_OP_APPEND);
                for (int64_t steps = rng_range(&rig->rng, 0, 6); steps > 0; steps--) {
                    rig_step(rig);
                }
                rig_crash(rig);
                free(op.u.append.batch);
            }
            EXPECT_INT(rig_append(rig, rig_shard(info, p), text, 2, producer, NULL), ERR_OK);
        }
        EXPECT_STR(str_of(rig_contents(rig, rig_shard(info, p))), str_of(expected));
    }
}

void conform_watcher_is_woken_when_the_end_moves(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 2);
    struct shard_id shard = rig_shard(info, 0);
    struct waker a, b;
    waker_init(&a);
    waker_init(&b);
    EXPECT_INT(log_watch(rig->log, shard, &a), ERR_OK);
    EXPECT_INT(log_watch(rig->log, shard, &b), ERR_OK);
    (void)waker_take(&a);
    (void)waker_take(&b);
    EXPECT_INT(rig_append(rig, shard, "x", 1, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    EXPECT(waker_take(&a));
    EXPECT(waker_take(&b));
    log_unwatch(rig->log, shard, &a);
    struct rig_owner owner = rig_owner(rig, "n1.0");
    EXPECT_INT(rig_commit(rig, &owner, &shard, 1, "x", 1, NULL), ERR_OK);
    EXPECT(!waker_take(&a));
    EXPECT(waker_take(&b));
    log_unwatch(rig->log, shard, &b);
    log_unwatch(rig->log, shard, &b); /* twice does no harm */
    EXPECT_INT(rig_append(rig, shard, "x", 1, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    EXPECT(!waker_take(&b));
}

void conform_watchers_are_limited(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "clicks", 0, 1), 0);
    static struct waker wakers[LOG_WATCHERS_PER_SHARD_MAX + 1];
    for (int i = 0; i <= LOG_WATCHERS_PER_SHARD_MAX; i++) {
        waker_init(&wakers[i]);
        EXPECT_INT(log_watch(rig->log, shard, &wakers[i]),
                   i < LOG_WATCHERS_PER_SHARD_MAX ? ERR_OK : ERR_LIMIT);
    }
    EXPECT_INT(rig_append(rig, shard, "x", 1, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    for (int i = 0; i < LOG_WATCHERS_PER_SHARD_MAX; i++) {
        EXPECT(waker_take(&wakers[i]));
        log_unwatch(rig->log, shard, &wakers[i]);
    }
    EXPECT_INT(log_watch(rig->log, shard, &wakers[0]), ERR_OK);
    log_unwatch(rig->log, shard, &wakers[0]);
}

static void set_floor(struct rig *rig, struct shard_id shard, uint32_t reader, int64_t offset)
{
    struct log_op op = {.u.floor = {.shard = shard, .reader = reader, .offset = offset}};
    CHECK(rig_do(rig, &op, LOG_OP_FLOOR) == ERR_OK);
}

/* Reading on from `offset` works. */
static bool readable_at(struct rig *rig, struct shard_id shard, int64_t offset)
{
    struct log_op op = {.u.read = {.reader = rig->reader,
                                   .shard = shard,
                                   .offset = offset,
                                   .buf = rig->buf,
                                   .cap = RIG_BUF_BYTES}};
    return rig_do(rig, &op, LOG_OP_READ) == ERR_OK;
}

void conform_trim_never_passes_a_floor_or_the_end(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "clicks", 0, 1), 0);
    struct log_append_op append[10];
    for (int i = 0; i < 10; i++) {
        EXPECT_INT(rig_append(rig, shard, "x", 2, RECORD_PRODUCER_NONE, &append[i]), ERR_OK);
    }
    int64_t floor = append[6].ret_base_offset;
    set_floor(rig, shard, 7, floor);
    set_floor(rig, shard, 8, append[9].ret_base_offset);
    set_floor(rig, shard, 7, append[2].ret_base_offset); /* floors only rise */
    struct log_op op = {.u.trim = {.shard = shard, .before_offset = append[4].ret_base_offset}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_TRIM), ERR_OK);
    EXPECT(rig_shard_info(rig, shard).start_offset <= append[4].ret_base_offset);
    EXPECT(readable_at(rig, shard, append[4].ret_base_offset));
    op.u.trim.before_offset = INT64_MAX;
    EXPECT_INT(rig_do(rig, &op, LOG_OP_TRIM), ERR_OK);
    EXPECT(rig_shard_info(rig, shard).start_offset <= floor);
    EXPECT(readable_at(rig, shard, floor));
    int64_t start = rig_shard_info(rig, shard).start_offset;
    rig_crash(rig);
    EXPECT(rig_shard_info(rig, shard).start_offset <= floor);
    EXPECT(rig_shard_info(rig, shard).start_offset >= start);
    EXPECT_INT(rig_do(rig, &op, LOG_OP_TRIM), ERR_OK);
    EXPECT(readable_at(rig, shard, floor));
    set_floor(rig, shard, 7, INT64_MAX);
    set_floor(rig, shard, 8, INT64_MAX);
    EXPECT_INT(rig_do(rig, &op, LOG_OP_TRIM), ERR_OK);
    struct shard_info info = rig_shard_info(rig, shard);
    EXPECT(info.start_offset <= info.end_offset);
    struct log_append_op next;
    EXPECT_INT(rig_append(rig, shard, "y", 1, RECORD_PRODUCER_NONE, &next), ERR_OK);
    EXPECT(next.ret_base_offset > append[9].ret_base_offset);
    EXPECT(readable_at(rig, shard, next.ret_base_offset));
}

void conform_reader_that_tells_what_it_reads_holds_nothing_else_back(struct rig *rig)
{
    struct stream_info info = rig_stream(rig, "clicks", 0, 3);
    for (int i = 0; i < 10; i++) {
        for (int k = 0; k < 3; k++) {
            EXPECT_INT(rig_append(rig, rig_shard(info, k), "x", 2, RECORD_PRODUCER_NONE, NULL),
                       ERR_OK);
        }
    }
    for (int k = 0; k < 3; k++) {
        set_floor(rig, rig_shard(info, k), 77, 2);
    }
    set_floor(rig, rig_shard(info, 1), 78, 4);
    struct log_op floor = {.u.floor = {.shard = rig_shard(info, 0),
                                       .reader = 77,
                                       .offset = 2, /* also if it does not rise */
                                       .reads = {rig_shard(info, 0)},
                                       .read_count = 1}};
    EXPECT_INT(rig_do(rig, &floor, LOG_OP_FLOOR), ERR_OK);
    EXPECT_INT(rig_append(rig, rig_shard(info, 0), "y", 1, RECORD_PRODUCER_NONE, NULL), ERR_OK);
    rig_crash(rig); /* durable with what came behind */
    for (int k = 0; k < 3; k++) {
        struct log_op op = {.u.trim = {.shard = rig_shard(info, k), .before_offset = INT64_MAX}};
        EXPECT_INT(rig_do(rig, &op, LOG_OP_TRIM), ERR_OK);
    }
    EXPECT(rig_shard_info(rig, rig_shard(info, 0)).start_offset <= 2);
    EXPECT(rig_shard_info(rig, rig_shard(info, 1)).start_offset > 2);
    EXPECT(rig_shard_info(rig, rig_shard(info, 1)).start_offset <= 4);
    EXPECT(rig_shard_info(rig, rig_shard(info, 2)).start_offset > 4);
}

void conform_deleted_changelog_holds_nothing_back_as_a_reader(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "clicks", 0, 1), 0);
    struct stream_info changelog =
        rig_stream(rig, "sc.p.s.log", STREAM_INTERNAL | STREAM_CHANGELOG, 2);
    struct log_append_op append[10];
    for (int i = 0; i < 10; i++) {
        EXPECT_INT(rig_append(rig, shard, "x", 2, RECORD_PRODUCER_NONE, &append[i]), ERR_OK);
    }
    set_floor(rig, shard, rig_shard(changelog, 0).v, append[2].ret_base_offset);
    set_floor(rig, shard, rig_shard(changelog, 1).v, append[3].ret_base_offset);
    set_floor(rig, shard, 77, append[6].ret_base_offset);
    struct log_op drop = {.u.stream.config = changelog.config};
    EXPECT_INT(rig_do(rig, &drop, LOG_OP_STREAM_DELETE), ERR_OK);
    rig_crash(rig);
    struct log_op op = {.u.trim = {.shard = shard, .before_offset = INT64_MAX}};
    EXPECT_INT(rig_do(rig, &op, LOG_OP_TRIM), ERR_OK);
    EXPECT(rig_shard_info(rig, shard).start_offset > append[3].ret_base_offset);
    EXPECT(readable_at(rig, shard, append[6].ret_base_offset));
}

/* Both in one group, where the engine makes groups: the append is not committed yet when the trim is looked at. */
void conform_trim_behind_an_append_in_flight_survives_a_crash(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "clicks", 0, 1), 0);
    struct log_append_op first;
    EXPECT_INT(rig_append(rig, shard, "x", 2, RECORD_PRODUCER_NONE, &first), ERR_OK);
    ptrdiff_t len = 0;
    void *batch = rig_batch(rig, "y", 2, RECORD_PRODUCER_NONE, &len);
    struct log_op append = {.u.append = {.shard = shard, .batch = batch, .bytes = len}};
    struct log_op trim = {.u.trim = {.shard = shard, .before_offset = INT64_MAX}};
    rig_submit(rig, &append, LOG_OP_APPEND);
    rig_submit(rig, &trim, LOG_OP_TRIM);
    for (int back = 0; back < 2;) {
        rig_step(rig);
        back += rig_poll(rig) != NULL;
    }
    EXPECT(append.err == ERR_OK || append.err == ERR_AGAIN);
    EXPECT_INT(trim.err, ERR_OK);
    rig_crash(rig);
    struct shard_info info = rig_shard_info(rig, shard);
    EXPECT(info.start_offset <= info.end_offset);
    if (append.err == ERR_OK) {
        EXPECT(info.end_offset > append.u.append.ret_base_offset);
    }
    free(batch);
}

void conform_internal_stream_is_trimmed_at_its_lowest_floor_at_most(struct rig *rig)
{
    struct shard_id shard = rig_shard(rig_stream(rig, "sc.p.s", STREAM_INTERNAL, 1), 0);
    int64_t floors[2] = {0, 0};
    set_floor(rig, shard, 1, 0);
    set_floor(rig, shard, 2, 0);
    for (int i = 0; i < 50; i++) {
        EXPECT_INT(rig_append(rig, shard, "some longer text", 20, RECORD_PRODUCER_NONE, NULL),
                   ERR_OK);
        uint32_t reader = (uint32_t)rng_below(&rig->rng, 2);
        floors[reader] =
            rng_range(&rig->rng, floors[reader], rig_shard_info(rig, shard).end_offset);
        set_floor(rig, shard, 1 + reader, floors[reader]);
        rig_pass(rig, 100000000);
        int64_t lowest = floors[0] < floors[1] ? floors[0] : floors[1];
        EXPECT(rig_shard_info(rig, shard).start_offset <= lowest);
        EXPECT(readable_at(rig, shard, lowest));
        if (i == 25) {
            rig_crash(rig);
        }
    }
}

static struct shard_id limited_stream(struct rig *rig, int64_t retention_ms,
                                      int64_t retention_bytes)
{
    struct log_op op = {.u.stream.config = {.name = "limited",
                                            .shard_count = 1,
                                            .retention_ms = retention_ms,
                                            .retention_bytes = retention_bytes}};
    CHECK(rig_do(rig, &op, LOG_OP_STREAM_CREATE) == ERR_OK);
    return rig_shard(op.u.stream.ret_info, 0);
}

/* Two MiB in batches of some 4 KiB. */
static void append_much(struct rig *rig, struct shard_id shard)
{
    for (int i = 0; i < 500; i++) {
        CHECK(rig_append(rig, shard, "a text of some length, to fill the shard", 80,
                         RECORD_PRODUCER_NONE, NULL) == ERR_OK);
    }
}

void conform_retention_never_passes_a_floor(struct rig *rig)
{
    struct shard_id shard = limited_stream(rig, 1000, 1000);
    set_floor(rig, shard, 3, 0);
    append_much(rig, shard);
    rig_pass(rig, 600000000000);
    EXPECT_INT(rig_shard_info(rig, shard).start_offset, 0);
    EXPECT(readable_at(rig, shard, 0));
    int64_t floor = rig_shard_info(rig, shard).end_offset / 2;
    set_floor(rig, shard, 3, floor);
    rig_pass(rig, 600000000000);
    append_much(rig, shard);
    EXPECT(rig_shard_info(rig, shard).start_offset <= floor);
    EXPECT(readable_at(rig, shard, floor));
}

void conform_retention_by_size_lets_old_records_go(struct rig *rig)
{
    struct shard_id shard = limited_stream(rig, -1, 300 << 10);
    append_much(rig, shard);
    rig_pass(rig, 600000000000);
    CHECK(rig_append(rig, shard, "x", 1, RECORD_PRODUCER_NONE, NULL) == ERR_OK);
    struct shard_info info = rig_shard_info(rig, shard);
    EXPECT(info.start_offset > 0 && info.start_offset < info.end_offset);
    EXPECT_MSG(info.size_bytes < 1 << 20, "%lld bytes are kept", (long long)info.size_bytes);
    EXPECT(!readable_at(rig, shard, 0));
    EXPECT(readable_at(rig, shard, info.start_offset));
    rig_crash(rig);
    EXPECT(rig_shard_info(rig, shard).start_offset >= info.start_offset);
}

void conform_retention_by_age_lets_old_records_go(struct rig *rig)
{
    struct shard_id shard = limited_stream(rig, 60000, -1);
    append_much(rig, shard);
    rig_pass(rig, 30000000000);
    EXPECT_INT(rig_shard_info(rig, shard).start_offset, 0);
    rig_pass(rig, 600000000000);
    CHECK(rig_append(rig, shard, "x", 1, RECORD_PRODUCER_NONE, NULL) == ERR_OK);
    rig_pass(rig, 20000000000);
    struct shard_info info = rig_shard_info(rig, shard);
    EXPECT(info.start_offset > 0);
    EXPECT(readable_at(rig, shard, info.end_offset - 1)); /* the young one stays */
}
