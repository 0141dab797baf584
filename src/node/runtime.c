// SPDX-License-Identifier: Apache-2.0
#include "node/runtime.h"

#include <assert.h>

#include "base/check.h"
#include "base/mem.h"
#include "node/runtime_priv.h"

enum { RUNTIME_RETRY_NS = 50000000 };

const char *runtime_state_name(enum runtime_state state)
{
    static const char *const names[] = {"streams", "lookups",  "maps",    "opening",
                                        "running", "stopping", "stopped", "failed"};
    static_assert(COUNT_OF(names) == RUNTIME_STATE_COUNT, "a name for each state");
    return names[state];
}

enum runtime_state node_runtime_state(const struct node_runtime *rt)
{
    return (enum runtime_state)atomic_load_explicit(&rt->state, memory_order_acquire);
}

static void set_state(struct node_runtime *rt, enum runtime_state state)
{
    atomic_store_explicit(&rt->state, (int32_t)state, memory_order_release);
}

void runtime_submit(struct node_runtime *rt, enum log_op_kind kind)
{
    CHECK(!rt->op_busy);
    rt->op_busy = true;
    rt->op.kind = kind;
    rt->op.done = &rt->done;
    rt->op.err = ERR_OK;
    log_submit(rt->options.log, &rt->op);
}

void runtime_fail(struct node_runtime *rt, const struct err_info *info)
{
    rt->problem = *info;
    set_state(rt, RUNTIME_FAILED);
}

static void stopping_begin(struct node_runtime *rt)
{
    rt->stops = MEM_NEW_ARRAY(struct lane_command, rt->lane_count);
    for (int32_t i = 0; i < rt->lane_count; i++) {
        rt->stops[i].kind = LANE_STOP;
        rt->stops[i].reply = &rt->replies;
        lane_send(rt->lanes[i], &rt->stops[i]);
    }
    /* Without shadows nothing of it is in flight, and an idle-class thread may be long in saying so. */
    const struct shadow_lane_status *shadows =
        rt->shadow_lane != NULL ? shadow_lane_status(rt->shadow_lane) : NULL;
    rt->shadow_stopped =
        shadows == NULL || (atomic_load(&shadows->open) == 0 && atomic_load(&shadows->ended) == 0);
    if (!rt->shadow_stopped) {
        rt->shadow_stop =
            (struct shadow_command){.kind = SHADOW_STOP, .reply = &rt->shadow_replies};
        shadow_lane_send(rt->shadow_lane, &rt->shadow_stop);
    }
}

static void make_lanes(struct node_runtime *rt)
{
    const struct nodes_spec *nodes = &rt->options.config->nodes;
    for (int32_t node = 0; node < rt->node_max; node++) {
        rt->node_states[node] = node < nodes->count ? NODE_ACTIVE : NODE_OFF;
        for (int32_t lane = 0; lane < nodes->lanes; lane++) {
            struct lane_options options = {
                .log = rt->options.log,
                .clock = rt->options.clock,
                .node = (uint16_t)node,
                .lane = (uint16_t)lane,
                .capacity = nodes->capacity,
                .tuning = rt->options.tuning,
                .stages = rt->stages,
                .stage_count = rt->stage_count,
            };
            rt->lanes[rt->lane_count++] = lane_new(&options);
        }
    }
}

static void make_shadow_lane(struct node_runtime *rt)
{
    rt->shadow_stopped = true;
    if (rt->options.shadow_memory_bytes <= 0) {
        return;
    }
    struct shadow_lane_options options = {
        .log = rt->options.log,
        .clock = rt->options.clock,
        .stages = rt->stages,
        .stage_count = rt->stage_count,
        .budget = rt->options.shadow_budget,
        .memory_bytes = rt->options.shadow_memory_bytes,
        .tuning = rt->options.tuning,
    };
    rt->shadow_lane = shadow_lane_new(&options);
    rt->shadow_stopped = false;
}

struct shadow_lane *node_runtime_shadow_lane(struct node_runtime *rt)
{
    return rt->shadow_lane;
}

void runtime_enter(struct node_runtime *rt, enum runtime_state state)
{
    if (atomic_load_explicit(&rt->stop_wanted, memory_order_acquire) && state < RUNTIME_STOPPING) {
        state = RUNTIME_STOPPING;
    }
    set_state(rt, state);
    switch (state) {
    case RUNTIME_STREAMS:
        streams_begin(rt);
        return;
    case RUNTIME_LOOKUPS:
        tables_begin(rt);
        return;
    case RUNTIME_MAPS:
        maps_begin(rt);
        return;
    case RUNTIME_OPENING:
        opening_begin(rt);
        return;
    case RUNTIME_STOPPING:
        stopping_begin(rt);
        return;
    case RUNTIME_RUNNING:
    case RUNTIME_STOPPED:
    case RUNTIME_FAILED:
    case RUNTIME_STATE_COUNT:
        return;
    }
}

enum err node_runtime_new(const struct node_runtime_options *options,
                          struct node_runtime **ret_runtime, struct err_info *info)
{
    const struct config *config = options->config;
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        for (int32_t s = 0; s < config->pipelines[p]->stage_count; s++) {
            const struct stage_plan *plan = config->pipelines[p]->stages[s];
            int64_t count =
                (int64_t)plan->partitions_per_shard * plan->inputs[0].stream->shard_count;
            if (count > MAP_PARTITIONS_MAX) {
                return err_set(info, ERR_LIMIT,
                               "stage %.*s would have %lld partitions, more than %d; use fewer",
                               STR_ARG(plan->name), (long long)count, MAP_PARTITIONS_MAX);
            }
        }
    }
    struct node_runtime *rt = MEM_NEW(struct node_runtime);
    rt->options = *options;
    arena_init(&rt->arena, INT64_C(1) << 30);
    waker_init(&rt->waker);
    mailbox_init(&rt->done, &rt->waker);
    mailbox_init(&rt->replies, &rt->waker);
    mailbox_init(&rt->shadow_replies, &rt->waker);
    record_builder_init(&rt->builder, RECORD_CODEC_NONE);
    record_reader_init(&rt->records);
    rt->reader = log_reader_new(options->log);
    rt->buf = mem_new(RUNTIME_BUF_BYTES + 64, 1);
    rt->retry_ns = CLOCK_NEVER;
    rt->step = -1;
    runtime_make_streams(rt);
    rt->node_max =
        config->nodes.max > config->nodes.count ? config->nodes.max : config->nodes.count;
    rt->lanes = MEM_NEW_ARRAY(struct lane *, rt->node_max * config->nodes.lanes);
    make_lanes(rt);
    make_shadow_lane(rt);
    changes_init(rt);
    set_state(rt, RUNTIME_STREAMS);
    *ret_runtime = rt;
    return ERR_OK;
}

void node_runtime_free(struct node_runtime *rt)
{
    if (rt == NULL) {
        return;
    }
    for (int32_t i = 0; i < rt->lane_count; i++) {
        lane_free(rt->lanes[i]);
    }
    shadow_lane_free(rt->shadow_lane);
    for (int32_t i = 0; i < rt->stage_count; i++) {
        struct runtime_stage *rs = &rt->stage_table[i];
        for (int32_t k = 0; rs->floors != NULL && k < rs->stage.shard_count; k++) {
            floor_set_free(rs->floors[k]);
        }
        mem_free(rs->slot_of);
        if (rs->slot_of != NULL) { /* else the map was not made, or is still the arena's */
            mem_free(rs->map.places);
        }
    }
    changes_free(rt);
    tables_free(rt);
    log_reader_free(rt->options.log, rt->reader);
    record_builder_release(&rt->builder);
    record_reader_release(&rt->records);
    mem_free(rt->buf);
    mem_free(rt->lanes);
    mem_free(rt->streams);
    mem_free(rt->opens);
    mem_free(rt->stops);
    arena_release(&rt->arena);
    mem_free(rt);
}

/* The op is back. */
static void op_done(struct node_runtime *rt)
{
    rt->op_busy = false;
    if (rt->op.err != ERR_OK && err_class_of(rt->op.err) == ERR_CLASS_RETRY) {
        rt->retry_ns = rt->now_ns + RUNTIME_RETRY_NS;
        return;
    }
    enum runtime_state state = node_runtime_state(rt);
    if (state == RUNTIME_STREAMS) {
        streams_done(rt);
    } else if (state == RUNTIME_MAPS) {
        maps_done(rt);
    } else if (rt->op.kind == LOG_OP_READ && state != RUNTIME_FAILED) {
        tables_done(rt);
    }
}

static void reply(struct node_runtime *rt, struct lane_command *command)
{
    if (command->kind == LANE_OPEN) {
        opening_reply(rt, command);
        return;
    }
    if (command->kind == LANE_TABLE) {
        tables_reply(rt, command);
        return;
    }
    rt->stopped++;
}

int64_t node_runtime_step(void *runtime, int64_t now_ns)
{
    struct node_runtime *rt = runtime;
    rt->now_ns = now_ns;
    if (rt->step < 0) {
        runtime_enter(rt, RUNTIME_STREAMS);
    }
    for (struct msg *msg = mailbox_take_all(&rt->done), *next; msg != NULL; msg = next) {
        next = msg->next;
        op_done(rt);
    }
    for (struct msg *msg = mailbox_take_all(&rt->replies), *next; msg != NULL; msg = next) {
        next = msg->next;
        reply(rt, (struct lane_command *)msg);
    }
    rt->shadow_stopped = rt->shadow_stopped || mailbox_take_all(&rt->shadow_replies) != NULL;
    if (rt->retry_ns <= now_ns) {
        rt->retry_ns = CLOCK_NEVER;
        runtime_submit(rt, rt->op.kind);
    }
    enum runtime_state state = node_runtime_state(rt);
    if (atomic_load_explicit(&rt->stop_wanted, memory_order_acquire) &&
        (state == RUNTIME_OPENING || state == RUNTIME_RUNNING)) {
        runtime_enter(rt, RUNTIME_STOPPING);
    }
    state = node_runtime_state(rt);
    int64_t changes_next = changes_step(rt);
    if (state == RUNTIME_STOPPING && rt->stopped == rt->lane_count && rt->shadow_stopped &&
        !rt->op_busy && rt->changes.count == 0) {
        set_state(rt, RUNTIME_STOPPED);
    }
    int64_t next = state == RUNTIME_RUNNING ? tables_follow(rt) : CLOCK_NEVER;
    next = changes_next < next ? changes_next : next;
    return rt->retry_ns < next ? rt->retry_ns : next;
}

struct waker *node_runtime_waker(struct node_runtime *rt)
{
    return &rt->waker;
}

int32_t node_runtime_lane_count(const struct node_runtime *rt)
{
    return rt->lane_count;
}

struct lane *node_runtime_lane(struct node_runtime *rt, int32_t index)
{
    CHECK(index >= 0 && index < rt->lane_count);
    return rt->lanes[index];
}

const struct err_info *node_runtime_problem(const struct node_runtime *rt)
{
    for (int32_t i = 0; i < rt->lane_count && rt->problem.text[0] == '\0'; i++) {
        const struct err_info *problem = lane_problem(rt->lanes[i]);
        if (problem->text[0] != '\0') {
            return problem;
        }
    }
    return &rt->problem;
}

int64_t node_runtime_rows_left_out(const struct node_runtime *rt)
{
    return atomic_load_explicit(&rt->rows_left_out, memory_order_relaxed);
}

const char *node_runtime_left_out(const struct node_runtime *rt)
{
    return rt->left_out.text;
}

int32_t node_runtime_failed_partitions(const struct node_runtime *rt)
{
    int32_t failed = 0;
    for (int32_t i = 0; i < rt->lane_count; i++) {
        failed += atomic_load_explicit(&lane_status(rt->lanes[i])->failed, memory_order_relaxed);
    }
    return failed;
}

bool node_runtime_ended(const struct node_runtime *rt)
{
    uint32_t begun = atomic_load_explicit(&rt->changes_begun, memory_order_acquire);
    if (node_runtime_state(rt) != RUNTIME_RUNNING ||
        atomic_load_explicit(&rt->changing, memory_order_acquire) > 0) {
        return false;
    }
    int32_t ended = 0;
    for (int32_t i = 0; i < rt->lane_count; i++) {
        ended += atomic_load_explicit(&lane_status(rt->lanes[i])->ended, memory_order_acquire);
    }
    return ended == atomic_load_explicit(&rt->partition_count, memory_order_acquire) &&
           begun == atomic_load_explicit(&rt->changes_begun, memory_order_acquire);
}

bool node_runtime_quiet(const struct node_runtime *rt)
{
    if (node_runtime_state(rt) != RUNTIME_RUNNING ||
        atomic_load_explicit(&rt->changing, memory_order_acquire) > 0) {
        return false;
    }
    for (int32_t i = 0; i < rt->lane_count; i++) {
        if (!atomic_load_explicit(&lane_status(rt->lanes[i])->quiet, memory_order_acquire)) {
            return false;
        }
    }
    return true;
}

void node_runtime_stop(struct node_runtime *rt)
{
    atomic_store_explicit(&rt->stop_wanted, true, memory_order_release);
    waker_wake(&rt->waker);
}

int32_t node_runtime_stage_count(const struct node_runtime *rt)
{
    return rt->stage_count;
}

const struct stage *node_runtime_stage(const struct node_runtime *rt, int32_t index)
{
    CHECK(index >= 0 && index < rt->stage_count);
    return rt->stages[index];
}

const struct stage_stream *node_runtime_stream(const struct node_runtime *rt, struct str name)
{
    for (int32_t i = 0; i < rt->stream_count; i++) {
        if (str_equal(rt->streams[i].spec->name, name)) {
            return &rt->streams[i];
        }
    }
    return NULL;
}

const struct partition_map *node_runtime_map(const struct node_runtime *rt, int32_t stage)
{
    CHECK(stage >= 0 && stage < rt->stage_count);
    return &rt->stage_table[stage].map;
}
