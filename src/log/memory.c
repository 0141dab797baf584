// SPDX-License-Identifier: Apache-2.0
#include "log/memory.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "log/memory_priv.h"

/* One loop does everything: it takes ops from the inbox, does most of them at once, and puts appends and commits into a
 * queue where they travel for about the commit's delay. What comes out of the queue takes effect in the order it went
 * in, so an order of submission is an order of effects.
 *
 *   inbox --take--> at once: done
 *              \--> queue --due--> AGAIN, nothing done        (again_probability)
 *                             \--> done, told AGAIN           (of those: lost_reply_probability)
 *                             \--> done, told so
 *
 * An op's results are worked out beside the op and copied into it only when it is told OK, so a lost reply leaves the
 * op as it was: it is submitted again unchanged. */

enum {
    NS_PER_S = 1000000000,
    DELAY_SPREAD = 2 /* a commit takes from 1/2 to 3/2 of the delay */
};

static struct memory_log *memory_of(struct log *log)
{
    return CONTAINER_OF(log, struct memory_log, log);
}

/* Any thread: a number that was given out stays good. NULL: never given out. */
static struct memory_shard *shard_slot(struct memory_log *m, struct shard_id id)
{
    uint32_t count = atomic_load_explicit(&m->shard_count, memory_order_acquire);
    return id.v < count ? m->shards[id.v] : NULL;
}

/* NULL: `info` says that there is none; the op is NOT_FOUND. */
static struct memory_shard *shard_find(struct memory_log *m, struct shard_id id,
                                       struct err_info *info)
{
    struct memory_shard *shard = shard_slot(m, id);
    if (shard == NULL || shard->deleted) {
        IGNORE_RESULT(err_set(info, ERR_NOT_FOUND, "shard %u does not exist", id.v));
        return NULL;
    }
    return shard;
}

static const struct stream_config *config_of(struct memory_log *m, const struct memory_shard *shard)
{
    return &m->streams[shard->stream.v].info.config;
}

static enum err shard_get(struct memory_log *m, struct log_op *op)
{
    struct memory_shard *shard = shard_find(m, op->u.shard.shard, &op->info);
    if (shard == NULL) {
        return ERR_NOT_FOUND;
    }
    op->u.shard.ret_info = (struct shard_info){
        .start_offset = shard->start_offset,
        .end_offset = memory_shard_end(shard),
        .size_bytes = shard->size_bytes,
        .health = ERR_OK,
    };
    return ERR_OK;
}

static enum err read_op(struct memory_log *m, struct log_op *op)
{
    struct memory_shard *shard = shard_find(m, op->u.read.shard, &op->info);
    return shard != NULL ? memory_shard_read(shard, op) : ERR_NOT_FOUND;
}

/* Owners. */

static bool owner_name_valid(const struct log_owner_op *owner)
{
    if (!memory_text_ends(owner->name, COUNT_OF(owner->name)) || owner->name[0] == 0) {
        return false;
    }
    for (const char *at = owner->name; *at != 0; at++) {
        bool good =
            (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '.' || *at == '-';
        if (!good) {
            return false;
        }
    }
    return true;
}

static enum err owner_op(struct memory_log *m, struct log_op *op)
{
    struct log_owner_op *to = &op->u.owner;
    if (!owner_name_valid(to)) {
        return err_set(&op->info, ERR_INVALID,
                       "owner name '%.*s': 1 to 63 of a-z 0-9 . - are allowed",
                       COUNT_OF(to->name) > 0 ? (int)COUNT_OF(to->name) - 1 : 0, to->name);
    }
    int32_t at = 0;
    while (at < m->owner_count && strcmp(m->owners[at].name, to->name) != 0) {
        at++;
    }
    if (op->kind == LOG_OP_OWNER_FENCE) {
        if (at == m->owner_count) {
            return err_set(&op->info, ERR_NOT_FOUND, "owner '%s' was never there", to->name);
        }
        m->owners[at].fenced = true;
        return ERR_OK;
    }
    if (at == m->owner_count) {
        m->owners = memory_list_grow(m->owners, m->owner_count, &m->owner_cap, sizeof *m->owners);
        m->owners[at] = (struct memory_owner){0};
        memcpy(m->owners[at].name, to->name, sizeof to->name);
        m->owner_count++;
    }
    struct memory_owner *owner = &m->owners[at];
    owner->incarnation++;
    owner->fenced = false;
    owner->sequence = 0;
    owner->result_count = 0;
    to->ret_id = (struct owner_id){(uint32_t)at};
    to->ret_incarnation = owner->incarnation;
    return ERR_OK;
}

static enum err range_check(struct memory_log *m, struct shard_id changelog, uint32_t lo,
                            uint32_t hi, struct err_info *info)
{
    struct memory_shard *shard = shard_find(m, changelog, info);
    if (shard == NULL) {
        return ERR_NOT_FOUND;
    }
    if (lo >= hi || hi > LOG_BLOCKS * LOG_BLOCK_GROUPS) {
        return err_set(info, ERR_INVALID, "key groups [%u, %u) are no range within [0, %d)", lo, hi,
                       LOG_BLOCKS * LOG_BLOCK_GROUPS);
    }
    if ((shard->flags & STREAM_CHANGELOG) == 0) {
        return err_set(info, ERR_INVALID, "shard %u is not of a changelog", changelog.v);
    }
    return ERR_OK;
}

/* Appends and commits, when they arrive. */

static enum err do_append(struct memory_log *m, struct log_op *op, bool told, int64_t now_ns)
{
    struct log_append_op *append = &op->u.append;
    struct memory_shard *shard = shard_find(m, append->shard, &op->info);
    if (shard == NULL) {
        return ERR_NOT_FOUND;
    }
    struct record_batch_header header = {0};
    enum err err = record_batch_check_new(append->batch, append->bytes, &header, &op->info);
    if (err != ERR_OK) {
        return err;
    }
    int64_t base_offset = -1;
    if (header.producer_id >= 0) {
        if (header.producer_id >= m->producer_count || header.producer_epoch != 0) {
            return err_set(&op->info, ERR_FENCED, "producer %lld with epoch %d is not known here",
                           (long long)header.producer_id, header.producer_epoch);
        }
        err = memory_shard_sequence(shard, &header, &base_offset, &op->info);
        if (err != ERR_OK) {
            return err;
        }
    }
    bool duplicate = base_offset >= 0;
    if (!duplicate) {
        base_offset = memory_shard_append(shard, append->batch, &header, now_ns);
        if (header.producer_id >= 0) {
            memory_shard_remember(shard, &header, base_offset);
        }
        memory_shard_retain(shard, config_of(m, shard), now_ns);
        log_moved(&m->log);
        memory_shard_wake(shard);
    }
    if (told) {
        record_batch_set_base_offset(append->batch, base_offset);
        append->ret_base_offset = base_offset;
        append->ret_duplicate = duplicate;
    }
    return ERR_OK;
}

/* The batches of one entry of a commit, from `at` on: the next one's header and length. `at` < `len`. */
static enum err piece_get(const struct log_batch *batch, ptrdiff_t at,
                          struct record_batch_header *ret_header, ptrdiff_t *ret_len,
                          struct err_info *info)
{
    const uint8_t *bytes = (const uint8_t *)batch->bytes + at;
    ptrdiff_t len = batch->len - at;
    enum err err = record_batch_parse(bytes, len, ret_header, &len, info);
    if (err == ERR_LIMIT) {
        return err_set(info, ERR_CORRUPT, "commit's batch for shard %u ends within itself",
                       batch->shard.v);
    }
    if (err == ERR_OK) {
        err = record_batch_check_new(bytes, len, ret_header, info);
        *ret_len = len;
    }
    return err;
}

static enum err commit_check(struct memory_log *m, struct log_op *op)
{
    const struct log_commit_op *commit = &op->u.commit;
    int64_t total = 0;
    for (int32_t i = 0; i < commit->batch_count; i++) {
        const struct log_batch *batch = &commit->batches[i];
        if (shard_find(m, batch->shard, &op->info) == NULL) {
            return ERR_NOT_FOUND;
        }
        total += batch->len;
        if (batch->len <= 0 || total > LOG_COMMIT_BYTES_MAX) {
            return err_set(&op->info, batch->len <= 0 ? ERR_INVALID : ERR_LIMIT,
                           "commit's batch %d of %td bytes; 1 to %d in all are possible", i,
                           batch->len, LOG_COMMIT_BYTES_MAX);
        }
        ptrdiff_t len = 0;
        for (ptrdiff_t at = 0; at < batch->len; at += len) {
            struct record_batch_header header;
            enum err err = piece_get(batch, at, &header, &len, &op->info);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

/* Appends all batches, then takes a marker's offset on each shard touched, as a transaction does. */
static void commit_apply(struct memory_log *m, const struct log_commit_op *commit,
                         struct memory_owner *owner, int64_t now_ns)
{
    if (owner->result_cap < commit->batch_count) {
        owner->result_cap = commit->batch_count;
        mem_free(owner->results);
        owner->results = MEM_NEW_ARRAY(struct memory_sent_batch, owner->result_cap);
    }
    owner->result_count = commit->batch_count;
    owner->sequence = commit->sequence;
    m->commit_count++;
    for (int32_t i = 0; i < commit->batch_count; i++) {
        const struct log_batch *batch = &commit->batches[i];
        struct memory_shard *shard = m->shards[batch->shard.v];
        owner->results[i].base_offset = memory_shard_end(shard);
        for (ptrdiff_t at = 0, len = 0; at < batch->len; at += len) {
            struct record_batch_header header;
            const uint8_t *bytes = (const uint8_t *)batch->bytes + at;
            CHECK(record_batch_parse(bytes, batch->len - at, &header, &len, NULL) == ERR_OK);
            memory_shard_append(shard, bytes, &header, now_ns);
        }
    }
    for (int32_t i = 0; i < commit->batch_count; i++) {
        struct memory_shard *shard = m->shards[commit->batches[i].shard.v];
        if (shard->touched == m->commit_count) {
            owner->results[i].end_offset = memory_shard_end(shard);
            continue; /* several entries for one shard: one marker */
        }
        shard->touched = m->commit_count;
        memory_shard_skip_offset(shard);
        owner->results[i].end_offset = memory_shard_end(shard);
        if ((shard->flags & STREAM_CHANGELOG) != 0) {
            memory_compact_if_due(m, shard, now_ns);
        } else {
            memory_shard_retain(shard, config_of(m, shard), now_ns);
        }
        log_moved(&m->log);
        memory_shard_wake(shard);
    }
}

/* Tells the op what its commit gave: base offsets in place in each batch, several behind each other being dense. */
static void commit_tell(struct log_commit_op *commit, const struct memory_owner *owner)
{
    for (int32_t i = 0; i < commit->batch_count; i++) {
        struct log_batch *batch = &commit->batches[i];
        int64_t offset = owner->results[i].base_offset;
        for (ptrdiff_t at = 0, len = 0; at < batch->len; at += len) {
            struct record_batch_header header;
            uint8_t *bytes = (uint8_t *)batch->bytes + at;
            CHECK(record_batch_parse(bytes, batch->len - at, &header, &len, NULL) == ERR_OK);
            record_batch_set_base_offset(bytes, offset);
            offset += (int64_t)header.last_offset_delta + 1;
        }
        batch->ret_base_offset = owner->results[i].base_offset;
        batch->ret_end_offset = owner->results[i].end_offset;
    }
}

static enum err do_commit(struct memory_log *m, struct log_op *op, bool told, int64_t now_ns)
{
    struct log_commit_op *commit = &op->u.commit;
    if (commit->owner.v >= (uint32_t)m->owner_count) {
        return err_set(&op->info, ERR_NOT_FOUND, "owner %u was never there", commit->owner.v);
    }
    struct memory_owner *owner = &m->owners[commit->owner.v];
    if (owner->fenced || owner->incarnation != commit->incarnation) {
        commit->ret_fenced_claim = -1;
        return err_set(&op->info, ERR_FENCED,
                       "owner '%s' of incarnation %u is fenced (present: %u)", owner->name,
                       commit->incarnation, owner->incarnation);
    }
    bool again = commit->sequence == owner->sequence && commit->sequence > 0 &&
                 commit->batch_count == owner->result_count;
    if (!again) {
        if (commit->sequence != owner->sequence + 1) {
            return err_set(&op->info, ERR_SEQUENCE, "owner '%s' commits %lld after %lld",
                           owner->name, (long long)commit->sequence, (long long)owner->sequence);
        }
        enum err err = commit_check(m, op);
        if (err != ERR_OK) {
            return err;
        }
        commit_apply(m, commit, owner, now_ns);
    }
    if (told) {
        commit_tell(commit, owner);
    }
    return ERR_OK;
}

/* Whether a repeated try of `op` would be recognised. */
static bool repeatable(const struct log_op *op)
{
    struct record_batch_header header;
    ptrdiff_t total;
    return op->kind == LOG_OP_COMMIT || (record_batch_parse(op->u.append.batch, op->u.append.bytes,
                                                            &header, &total, NULL) == ERR_OK &&
                                         header.producer_id >= 0);
}

static enum err arrive(struct memory_log *m, struct log_op *op, int64_t now_ns)
{
    bool again = rng_chance(&m->rng, m->options.again_probability);
    bool lost = rng_chance(&m->rng, m->options.lost_reply_probability) && repeatable(op);
    enum err err = ERR_OK;
    if (!again || lost) {
        err = op->kind == LOG_OP_COMMIT ? do_commit(m, op, !again, now_ns)
                                        : do_append(m, op, !again, now_ns);
    }
    if (again && err == ERR_OK) {
        err = err_set(&op->info, ERR_AGAIN, "the coordinator is busy");
    }
    return err;
}

/* Checkpoints and restores. */

static enum err checkpoint_op(struct memory_log *m, struct log_op *op)
{
    const struct log_checkpoint_op *checkpoint = &op->u.checkpoint;
    enum err err = range_check(m, checkpoint->changelog, checkpoint->group_lo, checkpoint->group_hi,
                               &op->info);
    if (err != ERR_OK) {
        return err;
    }
    if (!log_checkpoint_range_valid(checkpoint)) {
        return err_set(&op->info, ERR_INVALID, "key groups [%u, %u) are of more than one block",
                       checkpoint->group_lo, checkpoint->group_hi);
    }
    if (checkpoint->at < 0 ||
        checkpoint->at > memory_shard_end(m->shards[checkpoint->changelog.v])) {
        return err_set(&op->info, ERR_OFFSET_RANGE, "checkpoint at offset %lld, beyond the end",
                       (long long)checkpoint->at);
    }
    return ERR_OK; /* compaction does its work */
}

static enum err restore_open(struct memory_log *m, struct log_op *op)
{
    struct log_restore_op *restore = &op->u.restore;
    enum err err =
        range_check(m, restore->changelog, restore->group_lo, restore->group_hi, &op->info);
    if (err != ERR_OK) {
        return err;
    }
    const struct memory_shard *shard = m->shards[restore->changelog.v];
    int64_t end_offset = memory_shard_end(shard);
    int64_t at = restore->at == LOG_AT_LAST ? end_offset : restore->at;
    if (at < shard->compacted_to || at > end_offset) {
        return err_set(&op->info, ERR_OFFSET_RANGE,
                       "changelog %u cannot be restored at %lld (%lld..%lld)", restore->changelog.v,
                       (long long)at, (long long)shard->compacted_to, (long long)end_offset);
    }
    struct log_restore *handle = MEM_NEW(struct log_restore);
    if (!memory_compact(m, shard, at, false, handle)) {
        mem_free(handle->bytes);
        mem_free(handle);
        return err_set(&op->info, ERR_CORRUPT, "changelog %u holds a batch that cannot be read",
                       restore->changelog.v);
    }
    handle->next = m->restores;
    m->restores = handle;
    restore->handle = handle;
    restore->ret_at = at;
    return ERR_OK;
}

static void restore_free(struct log_restore **link)
{
    struct log_restore *handle = *link;
    *link = handle->next;
    mem_free(handle->bytes);
    mem_free(handle);
}

/* Whole batches, as many as fit. */
static enum err restore_next(struct log_restore *handle, struct log_op *op)
{
    struct log_restore_op *restore = &op->u.restore;
    if (restore->cap < LOG_BATCH_BYTES_MAX) {
        return err_set(&op->info, ERR_LIMIT, "a restore's buffer has at least %d bytes, given %td",
                       LOG_BATCH_BYTES_MAX, restore->cap);
    }
    ptrdiff_t used = 0, len = 0;
    for (ptrdiff_t at = handle->at; at < handle->len; at += len) {
        struct record_batch_header header;
        CHECK(record_batch_parse(handle->bytes + at, handle->len - at, &header, &len, NULL) ==
              ERR_OK);
        if (used + len > restore->cap) {
            break;
        }
        used += len;
    }
    if (used > 0) {
        memcpy(restore->buf, handle->bytes + handle->at, (size_t)used);
    }
    handle->at += used;
    restore->ret_bytes = used;
    restore->ret_more = handle->at < handle->len;
    return ERR_OK;
}

static enum err restore_op(struct memory_log *m, struct log_op *op)
{
    if (op->kind == LOG_OP_RESTORE_OPEN) {
        return restore_open(m, op);
    }
    struct log_restore **link = &m->restores;
    while (*link != NULL && *link != op->u.restore.handle) {
        link = &(*link)->next;
    }
    if (*link == NULL) {
        return err_set(&op->info, ERR_NOT_FOUND, "no such restore is open");
    }
    if (op->kind == LOG_OP_RESTORE_NEXT) {
        return restore_next(*link, op);
    }
    restore_free(link);
    return ERR_OK;
}

/* Floors and trims. */

static void leave_others(struct memory_log *m, const struct log_floor_op *floor)
{
    uint32_t count = atomic_load_explicit(&m->shard_count, memory_order_relaxed);
    for (uint32_t i = 0; floor->read_count > 0 && i < count; i++) {
        bool read = floor->reads[0].v == i || (floor->read_count > 1 && floor->reads[1].v == i);
        if (!read) {
            memory_shard_set_floor(m->shards[i], floor->reader, INT64_MAX);
        }
    }
}

static enum err floor_op(struct memory_log *m, struct log_op *op)
{
    const struct log_floor_op *floor = &op->u.floor;
    struct memory_shard *shard = shard_find(m, floor->shard, &op->info);
    if (shard == NULL) {
        return ERR_NOT_FOUND;
    }
    if (floor->offset < 0 || floor->read_count < 0 || floor->read_count > COUNT_OF(floor->reads)) {
        return err_set(&op->info, ERR_INVALID, "a floor cannot be %lld, of a reader of %d shards",
                       (long long)floor->offset, floor->read_count);
    }
    leave_others(m, floor);
    memory_shard_set_floor(shard, floor->reader, floor->offset);
    bool internal = (shard->flags & (STREAM_INTERNAL | STREAM_CHANGELOG)) == STREAM_INTERNAL;
    if (internal && shard->floor_count > 0) {
        memory_shard_trim(shard, memory_shard_floor(shard));
    }
    return ERR_OK;
}

static enum err trim_op(struct memory_log *m, struct log_op *op)
{
    struct memory_shard *shard = shard_find(m, op->u.trim.shard, &op->info);
    if (shard == NULL) {
        return ERR_NOT_FOUND;
    }
    memory_shard_trim(shard, op->u.trim.before_offset);
    return ERR_OK;
}

/* The loop. */

static enum err do_at_once(struct memory_log *m, struct log_op *op)
{
    switch (op->kind) {
    case LOG_OP_STREAM_CREATE:
    case LOG_OP_STREAM_GET:
    case LOG_OP_STREAM_ALTER:
    case LOG_OP_STREAM_DELETE:
        return memory_stream_op(m, op);
    case LOG_OP_STREAM_LIST:
        return memory_stream_list(m, op);
    case LOG_OP_SHARD_GET:
        return shard_get(m, op);
    case LOG_OP_READ:
        return read_op(m, op);
    case LOG_OP_PRODUCER_INIT:
        op->u.producer.ret_id = m->producer_count++;
        op->u.producer.ret_epoch = 0;
        return ERR_OK;
    case LOG_OP_OWNER_INIT:
    case LOG_OP_OWNER_FENCE:
        return owner_op(m, op);
    case LOG_OP_RANGE_FENCE: /* Kafka fences owners only */
        return range_check(m, op->u.fence.changelog, op->u.fence.group_lo, op->u.fence.group_hi,
                           &op->info);
    case LOG_OP_CONTROL_SET:
    case LOG_OP_CONTROL_GET:
    case LOG_OP_CONTROL_LIST:
        return memory_control_op(m, op);
    case LOG_OP_CHECKPOINT:
        return checkpoint_op(m, op);
    case LOG_OP_RESTORE_OPEN:
    case LOG_OP_RESTORE_NEXT:
    case LOG_OP_RESTORE_CLOSE:
        return restore_op(m, op);
    case LOG_OP_FLOOR:
        return floor_op(m, op);
    case LOG_OP_TRIM:
        return trim_op(m, op);
    case LOG_OP_APPEND:
    case LOG_OP_COMMIT:
    case LOG_OP_KIND_COUNT:
        break;
    }
    CHECK_MSG(false, "op kind %d", (int)op->kind);
}

static void complete(struct log_op *op, enum err err)
{
    op->err = err;
    mailbox_push(op->done, &op->msg);
}

static void queue_push(struct memory_log *m, struct log_op *op, int64_t now_ns)
{
    int64_t delay = m->options.commit_delay_ns;
    int64_t due = now_ns + delay;
    if (delay > 0) {
        due += rng_range(&m->rng, -delay / DELAY_SPREAD, delay / DELAY_SPREAD);
    }
    m->queue_last_due_ns = due > m->queue_last_due_ns ? due : m->queue_last_due_ns;
    op->engine_word = m->queue_last_due_ns; /* nothing overtakes */
    op->engine_next = NULL;
    *m->queue_tail = op;
    m->queue_tail = &op->engine_next;
}

static struct log_op *queue_pop(struct memory_log *m)
{
    struct log_op *op = m->queue_head;
    m->queue_head = op->engine_next;
    if (m->queue_head == NULL) {
        m->queue_tail = &m->queue_head;
    }
    return op;
}

/* Retention by age, once a second, as long as there is a stream that has it. */
static void retain_by_age(struct memory_log *m, int64_t now_ns)
{
    if (now_ns < m->retention_due_ns) {
        return;
    }
    m->retention_due_ns = CLOCK_NEVER;
    for (int32_t i = 0; i < m->stream_count; i++) {
        const struct stream_info *info = &m->streams[i].info;
        bool changelog = (info->config.flags & STREAM_CHANGELOG) != 0;
        if (m->streams[i].deleted || info->config.retention_ms < 0 || changelog) {
            continue;
        }
        m->retention_due_ns = now_ns + NS_PER_S;
        for (int32_t s = 0; s < info->config.shard_count; s++) {
            memory_shard_retain(m->shards[info->first_shard.v + (uint32_t)s], &info->config,
                                now_ns);
        }
    }
}

static int64_t memory_step(void *ctx, int64_t now_ns)
{
    struct memory_log *m = ctx;
    struct msg *next;
    for (struct msg *msg = mailbox_take_all(&m->inbox); msg != NULL; msg = next) {
        next = msg->next;
        struct log_op *op = CONTAINER_OF(msg, struct log_op, msg);
        op->info = (struct err_info){0};
        if (op->kind == LOG_OP_APPEND || op->kind == LOG_OP_COMMIT) {
            queue_push(m, op, now_ns);
            continue;
        }
        if (op->kind == LOG_OP_STREAM_CREATE || op->kind == LOG_OP_STREAM_ALTER) {
            m->retention_due_ns = now_ns;
        }
        complete(op, do_at_once(m, op));
    }
    while (m->queue_head != NULL && m->queue_head->engine_word <= now_ns) {
        struct log_op *op = queue_pop(m);
        complete(op, arrive(m, op, now_ns));
    }
    retain_by_age(m, now_ns);
    int64_t due = m->queue_head != NULL ? m->queue_head->engine_word : CLOCK_NEVER;
    return due < m->retention_due_ns ? due : m->retention_due_ns;
}

/* The interface. */

static void memory_submit(struct log *log, struct log_op *op)
{
    mailbox_push(&memory_of(log)->inbox, &op->msg);
}

static int64_t memory_end_offset(struct log *log, struct shard_id shard)
{
    struct memory_shard *slot = shard_slot(memory_of(log), shard);
    return slot != NULL ? memory_shard_end(slot) : 0;
}

static enum err memory_watch(struct log *log, struct shard_id shard, struct waker *waker)
{
    struct memory_shard *slot = shard_slot(memory_of(log), shard);
    return slot != NULL ? memory_shard_watch(slot, waker) : ERR_NOT_FOUND;
}

static void memory_unwatch(struct log *log, struct shard_id shard, struct waker *waker)
{
    struct memory_shard *slot = shard_slot(memory_of(log), shard);
    if (slot != NULL) {
        memory_shard_unwatch(slot, waker);
    }
}

static struct log_reader *memory_reader_new(struct log *log)
{
    struct log_reader *reader = MEM_NEW(struct log_reader);
    reader->log = memory_of(log);
    return reader;
}

static void memory_reader_free(struct log_reader *reader)
{
    mem_free(reader);
}

static int memory_loops(struct log *log, struct log_loop ret_loops[LOG_LOOPS_MAX])
{
    struct memory_log *m = memory_of(log);
    ret_loops[0] =
        (struct log_loop){.name = "log-memory", .step = memory_step, .ctx = m, .waker = &m->waker};
    return 1;
}

static void memory_close(struct log *log)
{
    struct memory_log *m = memory_of(log);
    for (uint32_t i = 0; i < atomic_load(&m->shard_count); i++) {
        memory_shard_free(m->shards[i]);
    }
    for (int32_t i = 0; i < m->owner_count; i++) {
        mem_free(m->owners[i].results);
    }
    memory_control_release(m);
    while (m->restores != NULL) {
        restore_free(&m->restores);
    }
    record_reader_release(&m->record_reader);
    mem_free(m->streams);
    mem_free(m->owners);
    mem_free(m);
}

static const struct log_vtable memory_vtable = {
    .submit = memory_submit,
    .end_offset = memory_end_offset,
    .watch = memory_watch,
    .unwatch = memory_unwatch,
    .reader_new = memory_reader_new,
    .reader_free = memory_reader_free,
    .loops = memory_loops,
    .close = memory_close,
};

struct log *log_memory_new(const struct log_memory_options *options)
{
    CHECK(options->commit_delay_ns >= 0);
    struct memory_log *m = MEM_NEW(struct memory_log);
    m->log = (struct log){.vtable = &memory_vtable, .engine = "memory", .synced = true, .moves = 1};
    m->options = *options;
    m->queue_tail = &m->queue_head;
    m->retention_due_ns = CLOCK_NEVER;
    rng_init(&m->rng, options->seed);
    waker_init(&m->waker);
    mailbox_init(&m->inbox, &m->waker);
    record_reader_init(&m->record_reader);
    return &m->log;
}

/* A crash cuts the stream of requests somewhere: what stood before the cut arrived, what stood behind it never did. */
void log_memory_drop_clients(struct log *log)
{
    struct memory_log *m = memory_of(log);
    while (m->queue_head != NULL && rng_chance(&m->rng, 0.5)) {
        struct log_op *op = queue_pop(m);
        IGNORE_RESULT(arrive(m, op, op->engine_word)); /* nobody is there to be told */
    }
    m->queue_head = NULL;
    m->queue_tail = &m->queue_head;
    IGNORE_RESULT(mailbox_take_all(&m->inbox));
    while (m->restores != NULL) {
        restore_free(&m->restores);
    }
    for (uint32_t i = 0; i < atomic_load(&m->shard_count); i++) {
        memory_shard_drop_watchers(m->shards[i]);
    }
    for (int32_t i = 0; i < m->stream_count; i++) {
        if (!m->streams[i].deleted && (m->streams[i].info.config.flags & STREAM_SCRATCH) != 0) {
            memory_stream_drop(m, &m->streams[i]);
        }
    }
}
