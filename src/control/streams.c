// SPDX-License-Identifier: Apache-2.0
/* Streams: list, show, create, alter, delete, and their shards. */
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "control/control_priv.h"

static struct str copy_text(struct job *job, const char *text)
{
    ptrdiff_t len = (ptrdiff_t)strlen(text);
    return (struct str){arena_dup(job->request->arena, text, len), len};
}

static const char *kind_of(const struct stream_config *config)
{
    if ((config->flags & STREAM_CHANGELOG) != 0) {
        return "changelog";
    }
    if ((config->flags & STREAM_SCRATCH) != 0) {
        return "scratch";
    }
    bool internal = (config->flags & STREAM_INTERNAL) != 0 || name_reserved(str_of(config->name));
    return internal ? "internal" : "data";
}

static bool is_internal(const struct stream_config *config)
{
    return kind_of(config)[0] != 'd';
}

static struct stream_row row_of(struct job *job, const struct stream_info *info)
{
    const struct stream_config *config = &info->config;
    return (struct stream_row){
        .name = copy_text(job, config->name),
        .kind = str_of(kind_of(config)),
        .shards = config->shard_count,
        .retention_seconds =
            config->retention_ms < 0 ? (double)NAN : (double)config->retention_ms / 1e3,
        .retention_bytes =
            config->retention_bytes < 0 ? FIELD_I64_UNKNOWN : config->retention_bytes,
    };
}

/* What If-Match compares: all that can change of a stream, and its identity. */
static uint64_t etag_of(const struct stream_info *info)
{
    struct {
        int64_t id, shards, retention_ms, retention_bytes;
    } parts = {info->id.v, info->config.shard_count, info->config.retention_ms,
               info->config.retention_bytes};
    uint64_t hash = hash64(&parts, (ptrdiff_t)sizeof(parts));
    return hash != 0 ? hash : 1;
}

/* --- rows with the sums of their shards: one shard after the other --- */

static void next_shard(struct job *job);

static void shard_seen(struct job *job)
{
    struct stream_row *row = &((struct stream_row *)job->rows)[job->index];
    const struct shard_info *shard = &job->one.op.u.shard.ret_info;
    if (job->one.op.err != ERR_OK || shard->health != ERR_OK) {
        row->shards_refused++;
    } else {
        row->records += shard->end_offset - shard->start_offset;
        row->size_bytes += shard->size_bytes;
    }
    job->count++;
    next_shard(job);
}

/* index: the stream; count: the shard within it. */
static void next_shard(struct job *job)
{
    struct control_rows *rows = &job->request->rows;
    while (job->index < rows->count && job->count == job->infos[job->index].config.shard_count) {
        job->index++;
        job->count = 0;
    }
    if (job->index == rows->count) {
        job_answer(job);
        return;
    }
    struct log_op *op = job_op(job, LOG_OP_SHARD_GET, shard_seen);
    op->u.shard.shard.v = job->infos[job->index].first_shard.v + (uint32_t)job->count;
    job_submit(job, &job->one);
}

static void answer_streams(struct job *job, struct stream_info *infos, int32_t count)
{
    struct stream_row *rows = ARENA_NEW_ARRAY(job->request->arena, struct stream_row, count);
    for (int32_t i = 0; i < count; i++) {
        rows[i] = row_of(job, &infos[i]);
    }
    job->rows = rows;
    job->infos = infos;
    job->index = 0;
    job->count = 0;
    job->request->rows =
        (struct control_rows){.entity = &stream_entity, .rows = rows, .count = count};
    next_shard(job);
}

static void listed(struct job *job)
{
    struct log_list_op *list = &job->one.op.u.list;
    int32_t kept = 0;
    if (job_op_failed(job)) {
        return;
    }
    for (int32_t i = 0; i < list->ret_count; i++) {
        if (job->request->args.internal || !is_internal(&list->infos[i].config)) {
            list->infos[kept++] = list->infos[i];
        }
    }
    answer_streams(job, list->infos, kept);
}

void stream_list_begin(struct job *job)
{
    if (job->request->args.internal && !job->request->who.admin) {
        job_failf(job, ERR_DENIED, "internal streams are shown to admins only");
        return;
    }
    struct log_op *op = job_op(job, LOG_OP_STREAM_LIST, listed);
    op->u.list.infos = ARENA_NEW_ARRAY(job->request->arena, struct stream_info, LOG_STREAMS_MAX);
    op->u.list.cap = LOG_STREAMS_MAX;
    job_submit(job, &job->one);
}

/* --- one stream --- */

static bool name_ok(struct job *job)
{
    struct str name = str_of(job->request->args.stream);
    if (!log_name_valid(name)) {
        job_failf(job, ERR_INVALID,
                  "'%.60s' cannot name a stream: 1 to 249 letters, digits, '.', '_', '-'",
                  name.ptr);
        return false;
    }
    return true;
}

bool stream_is_left_over(const struct control *control, const struct stream_config *config)
{
    /* sc.PIPELINE.STAGE, or with .log behind it; control's own streams have no second dot. */
    const char *dot =
        name_reserved(str_of(config->name)) ? strchr(config->name + sizeof("sc.") - 1, '.') : NULL;
    return dot != NULL && (config->flags & STREAM_INTERNAL) != 0 &&
           (config->flags & STREAM_SCRATCH) == 0 &&
           node_runtime_stream(control->runtime, str_of(config->name)) == NULL;
}

static bool may_change(struct job *job)
{
    if (name_reserved(str_of(job->request->args.stream))) {
        job_failf(job, ERR_DENIED, "names that begin with sc. are reserved");
        return false;
    }
    return name_ok(job);
}

static void get_stream(struct job *job, job_fn then)
{
    struct log_op *op = job_op(job, LOG_OP_STREAM_GET, then);
    memcpy(op->u.stream.config.name, job->request->args.stream, sizeof(op->u.stream.config.name));
    job_submit(job, &job->one);
}

static void one_known(struct job *job)
{
    if (job_op_failed(job)) {
        return;
    }
    struct stream_info *info = ARENA_NEW(job->request->arena, struct stream_info);
    *info = job->one.op.u.stream.ret_info;
    job->request->etag = etag_of(info);
    answer_streams(job, info, 1);
}

void stream_get_begin(struct job *job)
{
    if (name_ok(job)) {
        get_stream(job, one_known);
    }
}

static void take_retention(const struct control_args *args, struct stream_config *config)
{
    if (!isnan(args->retention_seconds)) {
        config->retention_ms =
            args->retention_seconds < 0 ? -1 : (int64_t)(args->retention_seconds * 1e3);
    }
    if (args->retention_bytes != FIELD_I64_UNKNOWN) {
        config->retention_bytes = args->retention_bytes;
    }
}

void stream_create_begin(struct job *job)
{
    const struct control_args *args = &job->request->args;
    if (!may_change(job)) {
        return;
    }
    struct log_op *op = job_op(job, LOG_OP_STREAM_CREATE, one_known);
    struct stream_config *config = &op->u.stream.config;
    *config = (struct stream_config){
        .shard_count = (int32_t)args->shards, .retention_ms = -1, .retention_bytes = -1};
    memcpy(config->name, args->stream, sizeof(config->name));
    take_retention(args, config);
    job_submit(job, &job->one);
}

/* Whether the order still is about what its sender saw. */
static bool matches(struct job *job)
{
    char etag[24];
    const char *wanted = job->request->args.if_match;
    IGNORE_RESULT(snprintf(etag, sizeof(etag), "\"%016llx\"",
                           (unsigned long long)etag_of(&job->one.op.u.stream.ret_info))); /* fits */
    if (wanted[0] == 0 || strcmp(wanted, "*") == 0 || strcmp(wanted, etag) == 0) {
        return true;
    }
    job_failf(job, ERR_PRECONDITION, "the stream has changed: its ETag is %s now", etag);
    return false;
}

static void alter_known(struct job *job)
{
    if (job_op_failed(job) || !matches(job)) {
        return;
    }
    struct stream_config config = job->one.op.u.stream.ret_info.config;
    take_retention(&job->request->args, &config);
    struct log_op *op = job_op(job, LOG_OP_STREAM_ALTER, one_known);
    op->u.stream.config = config;
    job_submit(job, &job->one);
}

void stream_alter_begin(struct job *job)
{
    if (may_change(job)) {
        get_stream(job, alter_known);
    }
}

static void deleted(struct job *job)
{
    if (!job_op_failed(job)) {
        job_answer(job);
    }
}

static void delete_known(struct job *job)
{
    if (job_op_failed(job) || !matches(job)) {
        return;
    }
    struct stream_config config = job->one.op.u.stream.ret_info.config;
    if (name_reserved(str_of(config.name)) && !stream_is_left_over(job->control, &config)) {
        IGNORE_RESULT(may_change(job)); /* says why not */
        return;
    }
    struct log_op *op = job_op(job, LOG_OP_STREAM_DELETE, deleted);
    op->u.stream.config = config;
    job_submit(job, &job->one);
}

void stream_delete_begin(struct job *job)
{
    const struct control_args *args = &job->request->args;
    if (!name_ok(job)) {
        return;
    }
    if (config_stream(job->control->config, str_of(args->stream)) != NULL) {
        job_failf(job, ERR_CONFLICT,
                  "'%.100s' is named by the running configuration: take it out there first",
                  args->stream);
        return;
    }
    get_stream(job, delete_known);
}

/* --- shards --- */

static void shard_listed(struct job *job)
{
    const struct log_shard_op *shard = &job->one.op.u.shard;
    struct shard_row *rows = job->rows;
    bool known = job->one.op.err == ERR_OK;
    enum err health = known ? shard->ret_info.health : job->one.op.err;
    rows[job->index] = (struct shard_row){
        .stream = rows[0].stream,
        .shard = job->index,
        .start_offset = known ? shard->ret_info.start_offset : FIELD_I64_UNKNOWN,
        .end_offset = known ? shard->ret_info.end_offset : FIELD_I64_UNKNOWN,
        .size_bytes = known ? shard->ret_info.size_bytes : FIELD_I64_UNKNOWN,
        .health = str_of(err_text(health)),
        .problem = copy_text(job, known ? shard->ret_info.problem : job->one.op.info.text),
    };
    job->index++;
    if (job->index == job->count) {
        job_answer(job);
        return;
    }
    struct log_op *op = job_op(job, LOG_OP_SHARD_GET, shard_listed);
    op->u.shard.shard.v = job->infos->first_shard.v + (uint32_t)job->index;
    job_submit(job, &job->one);
}

static void shard_stream_known(struct job *job)
{
    if (job_op_failed(job)) {
        return;
    }
    struct arena *arena = job->request->arena;
    job->infos = ARENA_NEW(arena, struct stream_info);
    *job->infos = job->one.op.u.stream.ret_info;
    job->count = job->infos->config.shard_count;
    struct shard_row *rows = ARENA_NEW_ARRAY(arena, struct shard_row, job->count);
    rows[0].stream = copy_text(job, job->infos->config.name);
    job->rows = rows;
    job->request->rows =
        (struct control_rows){.entity = &shard_entity, .rows = rows, .count = job->count};
    struct log_op *op = job_op(job, LOG_OP_SHARD_GET, shard_listed);
    op->u.shard.shard = job->infos->first_shard;
    job_submit(job, &job->one);
}

void shard_list_begin(struct job *job)
{
    if (name_ok(job)) {
        get_stream(job, shard_stream_known);
    }
}
