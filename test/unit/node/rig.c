// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "log/memory.h"
#include "log/record_batch.h"
#include "node/mark.h"

static const struct operator_type FAKE_TYPE = {.name = "fake"};
static const struct operator_plan PURE_OPERATOR = {.type = &FAKE_TYPE, .effects = EFFECTS_NONE};
static const struct operator_plan FLAKY_OPERATOR = {.type = &FAKE_TYPE,
                                                    .effects = EFFECTS_DECLARED};

static int32_t positive(int32_t value, int32_t fallback)
{
    return value > 0 ? value : fallback;
}

static struct stream_spec *spec(struct rig *rig, const char *name, int32_t shards, bool internal)
{
    struct stream_spec *s = ARENA_NEW(&rig->arena, struct stream_spec);
    *s = (struct stream_spec){
        .name = str_of(name),
        .shard_count = shards,
        .out_of_order_ms = rig->options.out_of_order_ms,
        .idle_after_ns = rig->options.idle_after_ns > 0 ? rig->options.idle_after_ns : CLOCK_NEVER,
        .max_future_ms = INT64_MAX,
        .retention_ms = -1,
        .retention_bytes = -1,
        .internal = internal,
        .codec = rig->options.seed % 3 == 0 ? STREAM_CODEC_LZ4 : STREAM_CODEC_NONE,
    };
    rig->made.streams[rig->made.stream_count++] = s;
    return s;
}

static struct stage_plan *stage(struct rig *rig, struct pipeline_plan *pipeline, const char *name,
                                const char *text)
{
    struct stage_plan *plan = ARENA_NEW(&rig->arena, struct stage_plan);
    plan->name = str_of(name);
    plan->index = pipeline->stage_count;
    plan->pipeline = pipeline->name;
    plan->input_count = 1;
    plan->partitions_per_shard = positive(rig->options.partitions, 1);
    plan->operator_count = 1;
    plan->operators[0] = strcmp(text, "flaky") == 0 ? &FLAKY_OPERATOR : &PURE_OPERATOR;
    plan->text = str_of(text);
    plan->text_hash = hash64(text, (ptrdiff_t)strlen(text));
    pipeline->stages[pipeline->stage_count++] = plan;
    return plan;
}

static void make_config(struct rig *rig)
{
    const struct rig_options *options = &rig->options;
    arena_reset(&rig->arena);
    rig->config = &rig->made;
    rig->made = (struct config){.nodes = {.count = positive(options->nodes, 1),
                                          .max = options->nodes_max,
                                          .lanes = positive(options->lanes, 1),
                                          .capacity = 1}};
    struct stream_spec *clicks = spec(rig, "clicks", positive(options->source_shards, 1), false);
    struct stream_spec *counts = spec(rig, "counts", positive(options->sink_shards, 1), false);
    struct stream_spec *internal =
        spec(rig, "sc.p.read", positive(options->internal_shards, 1), true);
    internal->idle_after_ns = CLOCK_NEVER;
    struct stream_spec *dead = spec(rig, "p.read.dead", 1, false);
    struct stream_spec *dead2 = spec(rig, "p.count.dead", 1, false);
    struct stream_spec *late = spec(rig, "p.count.late", 1, false);
    struct pipeline_plan *pipeline = ARENA_NEW(&rig->arena, struct pipeline_plan);
    pipeline->name = STR("p");
    pipeline->memory_bytes = options->memory_bytes > 0 ? options->memory_bytes : INT64_C(1) << 40;
    pipeline->commit_ns = options->commit_ns > 0 ? options->commit_ns : 10000000;
    pipeline->commit_eager = options->eager;
    struct stage_plan *read =
        stage(rig, pipeline, "read", options->read_text != NULL ? options->read_text : "rekey");
    read->inputs[0] = (struct stage_input){.kind = STAGE_SOURCE_STREAM, .stream = clicks};
    read->key_by = true;
    read->output = internal;
    read->dead_letter = dead;
    struct stage_plan *count =
        stage(rig, pipeline, "count", options->count_text != NULL ? options->count_text : "count");
    count->inputs[0] =
        (struct stage_input){.kind = STAGE_SOURCE_STAGE, .stage = 0, .stream = internal};
    count->output = counts;
    count->dead_letter = dead2;
    count->late = late;
    rig->made.pipelines[0] = pipeline;
    rig->made.pipeline_count = 1;
}

/* --- world --- */

static void add(struct rig *rig, const char *name, loop_step step, void *ctx, struct waker *waker)
{
    CHECK(rig->thing_count < COUNT_OF(rig->things));
    rig->things[rig->thing_count++] = world_add(rig->world, name, step, ctx, waker);
}

void rig_init(struct rig *rig, const struct rig_options *options)
{
    *rig = (struct rig){.options = *options};
    rig->world = world_new(&(struct world_options){.seed = options->seed,
                                                   .step_cost_ns = options->step_cost_ns,
                                                   .stall_probability = options->stall_probability,
                                                   .stall_max_ns = 40000000});
    rig->log = log_memory_new(&(struct log_memory_options){
        .clock = world_clock(rig->world),
        .seed = options->seed + 1,
        .commit_delay_ns = 2000000,
        .again_probability = options->again_probability,
        .lost_reply_probability = 0.5,
    });
    struct log_loop loops[LOG_LOOPS_MAX];
    int count = log_loops(rig->log, loops);
    for (int i = 0; i < count; i++) {
        world_add(rig->world, loops[i].name, loops[i].step, loops[i].ctx, loops[i].waker);
    }
    arena_init(&rig->arena, 16 << 20);
    waker_init(&rig->waker);
    mailbox_init(&rig->done, &rig->waker);
    rig->reader = log_reader_new(rig->log);
}

void rig_release(struct rig *rig)
{
    if (rig->runtime != NULL) {
        rig_kill(rig);
    }
    log_reader_free(rig->log, rig->reader);
    log_close(rig->log);
    world_free(rig->world);
    arena_release(&rig->arena);
}

void rig_start(struct rig *rig)
{
    CHECK(rig->runtime == NULL);
    struct err_info info = {0};
    if (rig->options.yaml != NULL) {
        arena_reset(&rig->arena);
        enum err err =
            rig->load(&rig->arena, "rig.yaml", str_of(rig->options.yaml), &rig->config, &info);
        CHECK_MSG(err == ERR_OK, "%s", info.text);
    } else {
        make_config(rig);
    }
    struct node_runtime_options options = {
        .config = rig->config,
        .fs = rig->options.fs,
        .log = rig->log,
        .clock = world_clock(rig->world),
        .flags = rig->options.flags,
        .load = rig->load,
        .tuning = rig->options.tuning,
        .shadow_memory_bytes = rig->options.shadow_memory_bytes,
        .shadow_budget = rig->options.shadow_budget > 0 ? rig->options.shadow_budget : 1};
    CHECK(node_runtime_new(&options, &rig->runtime, &info) == ERR_OK);
    add(rig, "runtime", node_runtime_step, rig->runtime, node_runtime_waker(rig->runtime));
    for (int32_t i = 0; i < node_runtime_lane_count(rig->runtime); i++) {
        struct lane *lane = node_runtime_lane(rig->runtime, i);
        add(rig, "lane", lane_step, lane, lane_waker(lane));
    }
    struct shadow_lane *shadows = node_runtime_shadow_lane(rig->runtime);
    if (shadows != NULL) {
        add(rig, "shadows", shadow_lane_step, shadows, shadow_lane_waker(shadows));
    }
}

static void forget_process(struct rig *rig)
{
    for (int i = 0; i < rig->thing_count; i++) {
        world_remove(rig->world, rig->things[i]);
    }
    rig->thing_count = 0;
}

void rig_kill(struct rig *rig)
{
    forget_process(rig);
    log_memory_drop_clients(rig->log);
    node_runtime_free(rig->runtime);
    rig->runtime = NULL;
}

enum { STEPS_MAX = 20000000 };
#define RUN_MAX_NS INT64_C(600000000000)

static enum world_end run_until(struct rig *rig, bool (*done)(void *), void *ctx)
{
    return world_run(rig->world, done, ctx, world_now_ns(rig->world) + RUN_MAX_NS, STEPS_MAX);
}

static bool is_up(void *ctx)
{
    enum runtime_state state = node_runtime_state(ctx);
    return state >= RUNTIME_RUNNING;
}

enum runtime_state rig_run_up(struct rig *rig)
{
    IGNORE_RESULT(run_until(rig, is_up, rig->runtime)); /* the state tells */
    return node_runtime_state(rig->runtime);
}

static bool is_stopped(void *ctx)
{
    return node_runtime_state(ctx) == RUNTIME_STOPPED;
}

void rig_stop(struct rig *rig)
{
    node_runtime_stop(rig->runtime);
    enum world_end end = run_until(rig, is_stopped, rig->runtime);
    CHECK(end == WORLD_DONE);
    forget_process(rig);
    node_runtime_free(rig->runtime);
    rig->runtime = NULL;
}

void rig_run(struct rig *rig, int64_t ns)
{
    IGNORE_RESULT(world_run(rig->world, NULL, NULL, world_now_ns(rig->world) + ns,
                            STEPS_MAX)); /* time's up */
}

static bool is_ended(void *ctx)
{
    return node_runtime_ended(ctx);
}

bool rig_run_to_end(struct rig *rig)
{
    return run_until(rig, is_ended, rig->runtime) == WORLD_DONE;
}

bool rig_run_until(struct rig *rig, bool (*done)(void *), void *ctx)
{
    return run_until(rig, done, ctx) == WORLD_DONE;
}

static bool is_quiet(void *ctx)
{
    struct rig *rig = ctx;
    for (int32_t i = 0; i < node_runtime_stage_count(rig->runtime); i++) {
        const struct stage *stage = node_runtime_stage(rig->runtime, i);
        (void)stage;
    }
    return node_runtime_quiet(rig->runtime);
}

bool rig_run_quiet(struct rig *rig)
{
    rig_run(rig, 1000000);        /* what was just appended has woken the lanes by then */
    for (int i = 0; i < 3; i++) { /* a commit of one stage is the next one's input */
        if (run_until(rig, is_quiet, rig) != WORLD_DONE) {
            return false;
        }
        rig_run(rig, 5000000);
    }
    return run_until(rig, is_quiet, rig) == WORLD_DONE;
}

/* --- client --- */

struct waiting {
    struct mailbox *box;
    struct msg *got;
};

static bool has_mail(void *ctx)
{
    struct waiting *waiting = ctx;
    struct msg *msg = mailbox_take_all(waiting->box);
    waiting->got = msg != NULL ? msg : waiting->got;
    return waiting->got != NULL;
}

enum err rig_op(struct rig *rig, struct log_op *op)
{
    for (;;) {
        op->done = &rig->done;
        log_submit(rig->log, op);
        struct waiting waiting = {.box = &rig->done};
        CHECK(run_until(rig, has_mail, &waiting) == WORLD_DONE);
        CHECK(waiting.got == &op->msg);
        if (op->err != ERR_AGAIN) {
            return op->err;
        }
    }
}

void rig_command(struct rig *rig, int32_t lane, struct lane_command *command)
{
    struct mailbox box;
    mailbox_init(&box, &rig->waker);
    command->reply = &box;
    lane_send(node_runtime_lane(rig->runtime, lane), command);
    struct waiting waiting = {.box = &box};
    CHECK(run_until(rig, has_mail, &waiting) == WORLD_DONE);
}

void rig_shadow(struct rig *rig, struct shadow_command *command)
{
    struct mailbox box;
    mailbox_init(&box, &rig->waker);
    command->reply = &box;
    shadow_lane_send(node_runtime_shadow_lane(rig->runtime), command);
    struct waiting waiting = {.box = &box};
    CHECK(run_until(rig, has_mail, &waiting) == WORLD_DONE);
}

struct stream_info rig_stream(struct rig *rig, const char *stream)
{
    struct log_op op = {.kind = LOG_OP_STREAM_GET};
    IGNORE_RESULT(snprintf(op.u.stream.config.name, sizeof(op.u.stream.config.name), "%s",
                           stream)); /* fits */
    CHECK(rig_op(rig, &op) == ERR_OK);
    return op.u.stream.ret_info;
}

static void append(struct rig *rig, const char *stream, int32_t shard, void *bytes, ptrdiff_t len)
{
    struct log_op op = {.kind = LOG_OP_STREAM_GET};
    IGNORE_RESULT(snprintf(op.u.stream.config.name, sizeof(op.u.stream.config.name), "%s",
                           stream)); /* fits */
    if (rig_op(rig, &op) == ERR_NOT_FOUND) {
        op.kind = LOG_OP_STREAM_CREATE;
        op.u.stream.config.shard_count = positive(rig->options.source_shards, 1);
        op.u.stream.config.retention_ms = op.u.stream.config.retention_bytes = -1;
        CHECK(rig_op(rig, &op) == ERR_OK);
    }
    uint32_t first = op.u.stream.ret_info.first_shard.v;
    struct log_op put = {.kind = LOG_OP_APPEND};
    put.u.append =
        (struct log_append_op){.shard = {first + (uint32_t)shard}, .batch = bytes, .bytes = len};
    CHECK(rig_op(rig, &put) == ERR_OK);
}

void rig_produce(struct rig *rig, const char *stream, int32_t shard,
                 const struct rig_record *records, int32_t count)
{
    struct record_builder builder;
    record_builder_init(&builder,
                        rig->options.seed % 2 == 0 ? RECORD_CODEC_NONE : RECORD_CODEC_LZ4);
    record_builder_reset(&builder);
    for (int32_t i = 0; i < count; i++) {
        struct record record = {.key = str_of(records[i].key),
                                .value = str_of(records[i].value),
                                .timestamp_ms = records[i].time_ms};
        CHECK(record_builder_add(&builder, &record) == ERR_OK);
    }
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(&builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    append(rig, stream, shard, bytes, len);
    record_builder_release(&builder);
}

void rig_end(struct rig *rig, const char *stream)
{
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    struct stream_info info = rig_stream(rig, stream);
    for (int32_t i = 0; i < info.config.shard_count; i++) {
        void *bytes;
        ptrdiff_t len;
        CHECK(mark_end_batch(&builder, &bytes, &len, NULL) == ERR_OK);
        append(rig, stream, i, bytes, len);
    }
    record_builder_release(&builder);
}

struct reading {
    struct rig_row *rows;
    int32_t count, cap;
    struct arena *arena;
};

static void read_batches(struct reading *reading, int32_t shard, const char *bytes, ptrdiff_t len)
{
    struct record_reader reader;
    record_reader_init(&reader);
    for (ptrdiff_t at = 0; at < len;) {
        struct record_batch_header header;
        ptrdiff_t total;
        CHECK(record_batch_parse(bytes + at, len - at, &header, &total, NULL) == ERR_OK);
        CHECK(record_reader_begin(&reader, bytes + at, total, NULL) == ERR_OK);
        struct record record;
        while (record_reader_next(&reader, &record, NULL) == ERR_OK) {
            struct str rest = record.headers, name, value;
            bool mark = record.header_count > 0 && record_header_next(&rest, &name, &value) &&
                        str_is(name, MARK_HEADER);
            if (mark) {
                continue;
            }
            if (reading->count == reading->cap) {
                reading->cap = reading->cap == 0 ? 256 : 2 * reading->cap;
                reading->rows =
                    mem_resize(reading->rows, reading->cap, (ptrdiff_t)sizeof(struct rig_row));
            }
            struct arena *arena = reading->arena;
            reading->rows[reading->count++] = (struct rig_row){
                .shard = shard,
                .offset = record.offset,
                .time_ms = record.timestamp_ms,
                .key = {arena_dup(arena, record.key.ptr, record.key.len), record.key.len},
                .value = {arena_dup(arena, record.value.ptr, record.value.len), record.value.len},
                .headers = {arena_dup(arena, record.headers.ptr, record.headers.len),
                            record.headers.len},
            };
        }
        at += total;
    }
    record_reader_release(&reader);
}

int32_t rig_read(struct rig *rig, const char *stream, struct arena *arena,
                 struct rig_row **ret_rows)
{
    struct stream_info info = rig_stream(rig, stream);
    struct reading reading = {.arena = arena};
    char *buf = mem_new(LOG_BATCH_BYTES_MAX + 64, 1);
    for (int32_t shard = 0; shard < info.config.shard_count; shard++) {
        struct shard_id id = {info.first_shard.v + (uint32_t)shard};
        struct log_op get = {.kind = LOG_OP_SHARD_GET, .u.shard.shard = id};
        CHECK(rig_op(rig, &get) == ERR_OK);
        int64_t offset = get.u.shard.ret_info.start_offset;
        while (offset < get.u.shard.ret_info.end_offset) {
            struct log_op op = {.kind = LOG_OP_READ};
            op.u.read = (struct log_read_op){.reader = rig->reader,
                                             .shard = id,
                                             .offset = offset,
                                             .buf = buf,
                                             .cap = LOG_BATCH_BYTES_MAX};
            CHECK(rig_op(rig, &op) == ERR_OK);
            read_batches(&reading, shard, buf, op.u.read.ret_bytes);
            if (op.u.read.ret_next_offset <= offset) {
                break;
            }
            offset = op.u.read.ret_next_offset;
        }
    }
    mem_free(buf);
    struct rig_row *rows =
        ARENA_NEW_ARRAY(arena, struct rig_row, reading.count > 0 ? reading.count : 1);
    if (reading.count > 0) {
        memcpy(rows, reading.rows, (size_t)reading.count * sizeof(rows[0]));
    }
    mem_free(reading.rows);
    *ret_rows = rows;
    return reading.count;
}
