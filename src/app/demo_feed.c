// SPDX-License-Identifier: Apache-2.0
#include "app/demo_feed.h"

#include "base/check.h"
#include "node/mark.h"

enum {
    SEND_BYTES =
        64 << 10, /* a batch that large goes out at once; smaller ones when nothing is in flight */
    POLL_RECORDS_MAX = 20000 /* made in one poll, so that progress is seen */
};

void demo_feed_init(struct demo_feed *feed, struct log *log, struct stream_info stream,
                    const struct generator_options *options, struct recount *recount,
                    int64_t now_ns)
{
    CHECK(stream.config.shard_count <= DEMO_SHARDS_MAX);
    *feed = (struct demo_feed){.log = log,
                               .recount = recount,
                               .start_ns = now_ns,
                               .shard_count = stream.config.shard_count};
    mailbox_init(&feed->done, NULL);
    generator_init(&feed->generator, options);
    for (int32_t i = 0; i < feed->shard_count; i++) {
        feed->shards[i].shard = (struct shard_id){stream.first_shard.v + (uint32_t)i};
        record_builder_init(&feed->shards[i].builders[0], RECORD_CODEC_LZ4);
        record_builder_init(&feed->shards[i].builders[1], RECORD_CODEC_LZ4);
    }
}

void demo_feed_release(struct demo_feed *feed)
{
    for (int32_t i = 0; i < feed->shard_count; i++) {
        record_builder_release(&feed->shards[i].builders[0]);
        record_builder_release(&feed->shards[i].builders[1]);
    }
}

static void take_answers(struct demo_feed *feed)
{
    struct msg *next;
    for (struct msg *msg = mailbox_take_all(&feed->done); msg != NULL; msg = next) {
        next = msg->next;
        struct log_op *op = CONTAINER_OF(msg, struct log_op, msg);
        struct demo_shard *shard = CONTAINER_OF(op, struct demo_shard, op);
        if (op->err == ERR_AGAIN || op->err == ERR_BUSY) {
            log_submit(feed->log, op);
            continue;
        }
        shard->in_flight = false;
        if (op->err != ERR_OK && feed->err == ERR_OK) {
            feed->err = op->err;
            feed->info = op->info;
        }
    }
}

static void submit(struct demo_feed *feed, struct demo_shard *shard, void *bytes, ptrdiff_t len)
{
    shard->op = (struct log_op){
        .kind = LOG_OP_APPEND,
        .done = &feed->done,
        .u.append = {.shard = shard->shard, .batch = bytes, .bytes = len},
    };
    shard->in_flight = true;
    log_submit(feed->log, &shard->op);
}

static enum err send_batch(struct demo_feed *feed, struct demo_shard *shard)
{
    struct record_builder *builder = &shard->builders[shard->filling];
    void *bytes;
    ptrdiff_t len;
    enum err err = record_builder_finish(builder, RECORD_PRODUCER_NONE, &bytes, &len, &feed->info);
    if (err == ERR_OK) {
        feed->sent_records += builder->count;
        shard->filling = 1 - shard->filling;
        record_builder_reset(&shard->builders[shard->filling]);
        submit(feed, shard, bytes, len);
    }
    return err;
}

/* What waits goes out where nothing is in flight; after the play, the end marker. */
static enum err send_waiting(struct demo_feed *feed)
{
    enum err err = ERR_OK;
    for (int32_t i = 0; i < feed->shard_count && err == ERR_OK; i++) {
        struct demo_shard *shard = &feed->shards[i];
        struct record_builder *builder = &shard->builders[shard->filling];
        if (shard->in_flight || shard->ended) {
            continue;
        }
        if (builder->count > 0) {
            err = send_batch(feed, shard);
        } else if (feed->play_ended) {
            void *bytes;
            ptrdiff_t len;
            err = mark_end_batch(builder, &bytes, &len, &feed->info);
            if (err == ERR_OK) {
                shard->ended = true;
                submit(feed, shard, bytes, len);
            }
        }
    }
    return err;
}

/* Puts the present record into its shard's batch. False: that batch is full and the one before still on its way. */
static bool put_record(struct demo_feed *feed)
{
    const struct generated *made = &feed->record;
    struct str key = {.ptr = made->key, .len = made->key_len};
    struct demo_shard *shard = &feed->shards[log_shard_of_key(key, feed->shard_count)];
    struct record_builder *builder = &shard->builders[shard->filling];
    if (builder->len >= SEND_BYTES) {
        if (shard->in_flight) {
            return false;
        }
        feed->err = send_batch(feed, shard);
        builder = &shard->builders[shard->filling];
    }
    struct str value = {.ptr = made->value, .len = made->value_len};
    struct record record = {.timestamp_ms = made->time_ms, .key = key, .value = value};
    CHECK(record_builder_add(builder, &record) == ERR_OK); /* far from any limit */
    recount_add(feed->recount, value);
    return true;
}

bool demo_feed_poll(struct demo_feed *feed, int64_t now_ns)
{
    take_answers(feed);
    for (int i = 0; i < POLL_RECORDS_MAX && feed->err == ERR_OK && !feed->play_ended; i++) {
        if (!feed->has_record) {
            feed->has_record = generator_next(&feed->generator, &feed->record);
            feed->play_ended = !feed->has_record;
        }
        if (!feed->has_record || feed->record.due_ns > now_ns - feed->start_ns ||
            !put_record(feed)) {
            break;
        }
        feed->has_record = false;
        feed->trace_ms =
            (int64_t)((double)feed->record.due_ns * 1e-6 * feed->generator.options.speed);
    }
    if (feed->err == ERR_OK) {
        feed->err = send_waiting(feed);
    }
    bool all = feed->play_ended;
    for (int32_t i = 0; i < feed->shard_count; i++) {
        all = all && feed->shards[i].ended && !feed->shards[i].in_flight;
    }
    return all || feed->err != ERR_OK;
}
