// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/mem.h"
#include "log/memory_priv.h"

/* Streams: an array in the order of their making; a number is never used again, so what was deleted keeps its place. */

static struct memory_stream *stream_find(struct memory_log *m, const char *name)
{
    for (int32_t i = 0; i < m->stream_count; i++) {
        if (!m->streams[i].deleted && strcmp(m->streams[i].info.config.name, name) == 0) {
            return &m->streams[i];
        }
    }
    return NULL;
}

static enum err stream_name_check(const struct log_op *op, struct err_info *info)
{
    const struct stream_config *config = &op->u.stream.config;
    if (!memory_text_ends(config->name, COUNT_OF(config->name)) ||
        !log_name_valid(str_of(config->name))) {
        return err_set(
            info, ERR_INVALID,
            "stream name '%.*s': 1 to %d of a-z A-Z 0-9 . _ - are allowed, not '.' or '..'",
            LOG_NAME_MAX, config->name, LOG_NAME_MAX);
    }
    return ERR_OK;
}

static bool same_config(const struct stream_config *a, const struct stream_config *b)
{
    return a->flags == b->flags && a->shard_count == b->shard_count &&
           a->retention_ms == b->retention_ms && a->retention_bytes == b->retention_bytes;
}

static enum err stream_create(struct memory_log *m, struct log_op *op)
{
    const struct stream_config *config = &op->u.stream.config;
    struct memory_stream *stream = stream_find(m, config->name);
    if (stream != NULL) {
        if (!same_config(&stream->info.config, config)) {
            return err_set(&op->info, ERR_EXISTS, "stream '%s' exists with another configuration",
                           config->name);
        }
        op->u.stream.ret_info = stream->info;
        return ERR_OK;
    }
    uint32_t shard_count = atomic_load(&m->shard_count);
    if (config->shard_count < 1) {
        return err_set(&op->info, ERR_INVALID, "stream '%s' cannot have %d shards", config->name,
                       config->shard_count);
    }
    if (config->shard_count > LOG_SHARDS_PER_STREAM_MAX ||
        m->live_stream_count == LOG_STREAMS_MAX ||
        config->shard_count > LOG_SHARDS_MAX - (int64_t)shard_count) {
        return err_set(
            &op->info, ERR_LIMIT,
            "stream '%s' of %d shards: at most %d of a stream, %d streams, %d shards in all",
            config->name, config->shard_count, LOG_SHARDS_PER_STREAM_MAX, LOG_STREAMS_MAX,
            LOG_SHARDS_MAX);
    }
    m->streams = memory_list_grow(m->streams, m->stream_count, &m->stream_cap, sizeof *m->streams);
    stream = &m->streams[m->stream_count];
    *stream = (struct memory_stream){.info = {
                                         .id = {(uint32_t)m->stream_count},
                                         .config = *config,
                                         .first_shard = {shard_count},
                                     }};
    m->stream_count++;
    m->live_stream_count++;
    for (int32_t i = 0; i < config->shard_count; i++) {
        m->shards[shard_count + (uint32_t)i] = memory_shard_new(stream->info.id, config->flags);
    }
    atomic_store_explicit(&m->shard_count, shard_count + (uint32_t)config->shard_count,
                          memory_order_release);
    op->u.stream.ret_info = stream->info;
    return ERR_OK;
}

/* The shards of a changelog are gone as readers of others. */
static void drop_readers(struct memory_log *m, const struct stream_info *info)
{
    uint32_t count = atomic_load_explicit(&m->shard_count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < (uint32_t)info->config.shard_count; k++) {
            memory_shard_set_floor(m->shards[i], info->first_shard.v + k, INT64_MAX);
        }
    }
}

void memory_stream_drop(struct memory_log *m, struct memory_stream *stream)
{
    stream->deleted = true;
    m->live_stream_count--;
    if ((stream->info.config.flags & STREAM_CHANGELOG) != 0) {
        drop_readers(m, &stream->info);
    }
    for (int32_t i = 0; i < stream->info.config.shard_count; i++) {
        struct memory_shard *shard = m->shards[stream->info.first_shard.v + (uint32_t)i];
        shard->deleted = true;
        memory_shard_clear(shard);
        log_moved(&m->log);
        memory_shard_wake(shard); /* whoever waits for it finds out */
    }
}

enum err memory_stream_op(struct memory_log *m, struct log_op *op)
{
    enum err err = stream_name_check(op, &op->info);
    if (err != ERR_OK) {
        return err;
    }
    if (op->kind == LOG_OP_STREAM_CREATE) {
        return stream_create(m, op);
    }
    struct memory_stream *stream = stream_find(m, op->u.stream.config.name);
    if (stream == NULL) {
        return err_set(&op->info, ERR_NOT_FOUND, "stream '%s' does not exist",
                       op->u.stream.config.name);
    }
    if (op->kind == LOG_OP_STREAM_ALTER) {
        stream->info.config.retention_ms = op->u.stream.config.retention_ms;
        stream->info.config.retention_bytes = op->u.stream.config.retention_bytes;
    }
    op->u.stream.ret_info = stream->info;
    if (op->kind == LOG_OP_STREAM_DELETE) {
        memory_stream_drop(m, stream);
    }
    return ERR_OK;
}

/* Insertion by name into the caller's array: of more than fit, the first by name stay. */
enum err memory_stream_list(struct memory_log *m, struct log_op *op)
{
    struct log_list_op *list = &op->u.list;
    int32_t count = 0;
    for (int32_t i = 0; i < m->stream_count; i++) {
        if (m->streams[i].deleted) {
            continue;
        }
        int32_t at = count;
        while (at > 0 &&
               strcmp(list->infos[at - 1].config.name, m->streams[i].info.config.name) > 0) {
            at--;
        }
        int32_t kept = count < list->cap ? count : list->cap - 1;
        if (at < list->cap) {
            memmove(&list->infos[at + 1], &list->infos[at],
                    (size_t)(kept - at) * sizeof *list->infos);
            list->infos[at] = m->streams[i].info;
            count = kept + 1;
        }
    }
    list->ret_count = count;
    if (m->live_stream_count > list->cap) {
        return err_set(&op->info, ERR_LIMIT, "there are %d streams, room is for %d",
                       m->live_stream_count, list->cap);
    }
    return ERR_OK;
}
