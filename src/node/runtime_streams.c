// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "log/record_walk.h"
#include "node/mark.h"
#include "node/runtime_priv.h"

/* Streams of a configuration: created if they are not there, checked if they are, and, for a run that is to end, ended.
 *
 *   for each stream:   CREATE --EXISTS--> GET --same shards--> ALTER
 *   then, until end:   for each source shard: SHARD_GET --> READ ... --no end marker last--> APPEND */

static struct stage_stream *stream_of_spec(struct node_runtime *rt, const struct stream_spec *spec)
{
    for (int32_t i = 0; spec != NULL && i < rt->stream_count; i++) {
        if (rt->streams[i].spec == spec || str_equal(rt->streams[i].spec->name, spec->name)) {
            return &rt->streams[i];
        }
    }
    return NULL;
}

static struct stage_stream *add_stream(struct node_runtime *rt, const struct stream_spec *spec)
{
    struct stage_stream *stream = stream_of_spec(rt, spec);
    if (stream == NULL) {
        stream = &rt->streams[rt->stream_count++];
        stream->spec = spec;
    }
    return stream;
}

static const struct stream_spec *changelog_spec(struct node_runtime *rt,
                                                const struct stage_plan *plan)
{
    struct stream_spec *spec = ARENA_NEW(&rt->arena, struct stream_spec);
    *spec = (struct stream_spec){
        .name = str_of(arena_printf(&rt->arena, "sc.%.*s.%.*s.log", STR_ARG(plan->pipeline),
                                    STR_ARG(plan->name))),
        .shard_count = plan->inputs[0].stream->shard_count,
        .idle_after_ns = CLOCK_NEVER,
        .max_future_ms = INT64_MAX,
        .retention_ms = -1,
        .retention_bytes = -1,
        .codec = STREAM_CODEC_LZ4,
        .internal = true,
    };
    return spec;
}

/* Shards of the first input of the stage that writes an internal stream; 0: a source. */
static int32_t source_shards_of(const struct pipeline_plan *pipeline,
                                const struct stage_input *input)
{
    return input->kind == STAGE_SOURCE_STAGE
               ? pipeline->stages[input->stage]->inputs[0].stream->shard_count
               : 0;
}

static void make_stage(struct node_runtime *rt, const struct pipeline_plan *pipeline,
                       struct pipeline_env *env, const struct stage_plan *plan)
{
    struct stage *stage = &rt->stage_table[rt->stage_count].stage;
    *stage = (struct stage){
        .plan = plan,
        .pipeline = env,
        .index = rt->stage_count,
        .shard_count = plan->inputs[0].stream->shard_count,
        .drop_state = (rt->options.flags & RUNTIME_DROP_STATE) != 0,
    };
    for (int32_t i = 0; i < plan->input_count; i++) {
        stage->inputs[i] = add_stream(rt, plan->inputs[i].stream);
        stage->source_shards[i] = source_shards_of(pipeline, &plan->inputs[i]);
    }
    stage->output = plan->output != NULL ? add_stream(rt, plan->output) : NULL;
    stage->dead_letter = plan->dead_letter != NULL ? add_stream(rt, plan->dead_letter) : NULL;
    stage->late = plan->late != NULL ? add_stream(rt, plan->late) : NULL;
    stage->changelog = add_stream(rt, changelog_spec(rt, plan));
    rt->stages[rt->stage_count++] = stage;
}

void runtime_make_streams(struct node_runtime *rt)
{
    const struct config *config = rt->options.config;
    int32_t stages = 0;
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        stages += config->pipelines[p]->stage_count;
    }
    rt->streams = MEM_NEW_ARRAY(struct stage_stream, config->stream_count + 6 * stages);
    rt->stages = ARENA_NEW_ARRAY(&rt->arena, struct stage * _Atomic, stages);
    rt->texts = ARENA_NEW_ARRAY(&rt->arena, struct runtime_text, config->pipeline_count);
    rt->stage_table = ARENA_NEW_ARRAY(&rt->arena, struct runtime_stage, stages);
    for (int32_t i = 0; i < config->stream_count; i++) {
        IGNORE_RESULT(add_stream(rt, config->streams[i])); /* looked up by spec later */
    }
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        const struct pipeline_plan *pipeline = config->pipelines[p];
        struct pipeline_env *env = ARENA_NEW(&rt->arena, struct pipeline_env);
        env->plan = pipeline;
        rt->texts[p] = (struct runtime_text){.pipeline = pipeline->name, .config = config};
        for (int32_t s = 0; s < pipeline->stage_count; s++) {
            make_stage(rt, pipeline, env, pipeline->stages[s]);
        }
    }
}

/* --- creating --- */

static bool is_changelog(const struct node_runtime *rt, const struct stage_stream *stream)
{
    for (int32_t i = 0; i < rt->stage_count; i++) {
        if (rt->stages[i]->changelog == stream) {
            return true;
        }
    }
    return false;
}

static struct stream_config config_of(const struct node_runtime *rt,
                                      const struct stage_stream *stream)
{
    const struct stream_spec *spec = stream->spec;
    struct stream_config config = {
        .flags = (spec->internal ? (uint32_t)STREAM_INTERNAL : 0) |
                 (is_changelog(rt, stream) ? (uint32_t)STREAM_CHANGELOG : 0),
        .shard_count = spec->shard_count,
        .retention_ms = spec->retention_ms,
        .retention_bytes = spec->retention_bytes,
    };
    IGNORE_RESULT(snprintf(config.name, sizeof(config.name), "%.*s",
                           STR_ARG(spec->name))); /* checked when loaded */
    return config;
}

static void ends_begin(struct node_runtime *rt);
static void ends_done(struct node_runtime *rt);

static void next_stream(struct node_runtime *rt)
{
    if (rt->step == rt->stream_count) {
        ends_begin(rt);
        return;
    }
    rt->op.u.stream = (struct log_stream_op){.config = config_of(rt, &rt->streams[rt->step])};
    runtime_submit(rt, LOG_OP_STREAM_CREATE);
}

void streams_begin(struct node_runtime *rt)
{
    rt->step = 0;
    next_stream(rt);
}

/* A stream of that name is there: only what may be altered may differ. */
static void stream_exists(struct node_runtime *rt)
{
    struct stream_config wanted = config_of(rt, &rt->streams[rt->step]);
    const struct stream_config *have = &rt->op.u.stream.ret_info.config;
    if (have->shard_count != wanted.shard_count || have->flags != wanted.flags) {
        struct err_info info;
        IGNORE_RESULT(
            err_set(&info, ERR_CONFLICT,
                    "stream %s has %d shards in the data folder and %d in the configuration; "
                    "shards cannot be changed: give the stream (or stage) another name",
                    wanted.name, have->shard_count, wanted.shard_count)); /* told by FAILED */
        runtime_fail(rt, &info);
        return;
    }
    rt->op.u.stream = (struct log_stream_op){.config = wanted};
    runtime_submit(rt, LOG_OP_STREAM_ALTER);
}

void streams_done(struct node_runtime *rt)
{
    struct log_op *op = &rt->op;
    bool creating = op->kind == LOG_OP_STREAM_CREATE || op->kind == LOG_OP_STREAM_GET ||
                    op->kind == LOG_OP_STREAM_ALTER;
    if (!creating) {
        ends_done(rt);
    } else if (op->kind == LOG_OP_STREAM_CREATE && op->err == ERR_EXISTS) {
        op->u.stream = (struct log_stream_op){.config = config_of(rt, &rt->streams[rt->step])};
        runtime_submit(rt, LOG_OP_STREAM_GET);
    } else if (op->err != ERR_OK) {
        runtime_fail(rt, &op->info);
    } else if (op->kind == LOG_OP_STREAM_GET) {
        stream_exists(rt);
    } else {
        rt->streams[rt->step++].info = op->u.stream.ret_info;
        next_stream(rt);
    }
}

/* --- ends --- */

/* Whether only outsiders write it, and some stage reads it. */
static bool is_source(const struct node_runtime *rt, const struct stage_stream *stream)
{
    bool read = false;
    for (int32_t i = 0; i < rt->stage_count; i++) {
        const struct stage *stage = rt->stages[i];
        if (stage->output == stream || stage->dead_letter == stream || stage->late == stream) {
            return false;
        }
        for (int32_t k = 0; k < stage->plan->input_count; k++) {
            read |= stage->inputs[k] == stream;
        }
    }
    return read && !stream->spec->internal;
}

static struct shard_id ends_shard(const struct node_runtime *rt)
{
    return stage_shard(&rt->streams[rt->step], (uint32_t)rt->sub);
}

/* Asks for the next source shard's end. */
static void ends_next(struct node_runtime *rt)
{
    while (rt->step < rt->stream_count &&
           (!is_source(rt, &rt->streams[rt->step]) ||
            rt->sub >= rt->streams[rt->step].info.config.shard_count)) {
        rt->step++;
        rt->sub = 0;
    }
    if (rt->step == rt->stream_count) {
        runtime_enter(rt, RUNTIME_LOOKUPS);
        return;
    }
    rt->op.u.shard = (struct log_shard_op){.shard = ends_shard(rt)};
    runtime_submit(rt, LOG_OP_SHARD_GET);
}

static void ends_begin(struct node_runtime *rt)
{
    if ((rt->options.flags & RUNTIME_UNTIL_END) == 0) {
        runtime_enter(rt, RUNTIME_LOOKUPS);
        return;
    }
    rt->step = 0;
    rt->sub = 0;
    ends_next(rt);
}

static void ends_read(struct node_runtime *rt)
{
    rt->op.u.read = (struct log_read_op){.reader = rt->reader,
                                         .shard = ends_shard(rt),
                                         .offset = rt->read_offset,
                                         .buf = rt->buf,
                                         .cap = RUNTIME_BUF_BYTES};
    runtime_submit(rt, LOG_OP_READ);
}

static void ends_append(struct node_runtime *rt)
{
    void *bytes;
    ptrdiff_t len;
    struct err_info info = {0};
    if (mark_end_batch(&rt->builder, &bytes, &len, &info) != ERR_OK) {
        runtime_fail(rt, &info);
        return;
    }
    rt->op.u.append = (struct log_append_op){.shard = ends_shard(rt), .batch = bytes, .bytes = len};
    runtime_submit(rt, LOG_OP_APPEND);
}

static bool is_end_mark(struct str headers)
{
    struct str name, value;
    struct mark mark;
    while (record_header_next(&headers, &name, &value)) {
        if (str_is(name, MARK_HEADER)) {
            return mark_decode(value, &mark) && mark.kind == MARK_END;
        }
    }
    return false;
}

/* Whether the last record of what was read is an end marker. False also if it cannot be decoded: then the partitions
 * that read the shard will say so. */
static bool last_is_end(struct node_runtime *rt, ptrdiff_t bytes, bool before)
{
    struct record_walk walk = record_walk_of(&rt->records, rt->buf, bytes);
    struct record record;
    bool end = before;
    enum err err;
    while ((err = record_walk_next(&walk, &record, NULL)) == ERR_OK) {
        end = record.header_count > 0 && is_end_mark(record.headers);
    }
    return err == ERR_NOT_FOUND && end;
}

static void ends_done(struct node_runtime *rt)
{
    struct log_op *op = &rt->op;
    if (op->err != ERR_OK) {
        runtime_fail(rt, &op->info);
        return;
    }
    if (op->kind == LOG_OP_SHARD_GET) {
        const struct shard_info *info = &op->u.shard.ret_info;
        rt->end_offset = info->end_offset;
        rt->end_seen = false;
        /* The last record is near the end, whatever gaps the engine leaves between offsets. */
        rt->read_offset =
            info->end_offset - info->start_offset > 16 ? info->end_offset - 16 : info->start_offset;
    } else if (op->kind == LOG_OP_READ) {
        rt->end_seen = last_is_end(rt, op->u.read.ret_bytes, rt->end_seen);
        rt->read_offset = op->u.read.ret_next_offset > rt->read_offset ? op->u.read.ret_next_offset
                                                                       : rt->end_offset;
    } else {
        rt->sub++;
        ends_next(rt);
        return;
    }
    if (rt->read_offset < rt->end_offset) {
        ends_read(rt);
    } else if (!rt->end_seen) {
        ends_append(rt);
    } else {
        rt->sub++;
        ends_next(rt);
    }
}
