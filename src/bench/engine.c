// SPDX-License-Identifier: Apache-2.0
#include "bench/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/fs_real.h"
#include "log/memory.h"
#include "node/mark.h"
#include "node/shadow.h"
#include "pipeline/config.h"

enum { STEP_PAUSE_MAX_NS = 10000000, ENGINE_ARENA_BYTES = 64 << 20, ENGINE_STREAMS_MAX = 256 };
#define SHADOW_BYTES (INT64_C(4) << 30)

static void add(struct engine *engine, struct engine_thing thing)
{
    CHECK(engine->thing_count < ENGINE_THINGS_MAX);
    if (engine->options.threads) {
        thing.loop = loop_start(&(struct loop_options){.name = thing.name,
                                                       .clock = &engine->clock,
                                                       .waker = thing.waker,
                                                       .step = thing.step,
                                                       .ctx = thing.ctx,
                                                       .class = thing.class,
                                                       .cpu = thing.core - 1});
    }
    engine->things[engine->thing_count++] = thing;
}

/* Ends the loops behind the first `keep`. */
static void end_loops(struct engine *engine, int32_t keep)
{
    while (engine->thing_count > keep) {
        loop_stop(engine->things[--engine->thing_count].loop);
    }
}

/* --- simulated time: work costs none --- */

enum { SIMULATED_COMMIT_NS = 1000000, SIMULATED_SEED = 1 };

static int64_t simulated_now(void *ctx)
{
    return ((struct engine *)ctx)->simulated_ns;
}

static int64_t simulated_wall(void *ctx)
{
    return ((struct engine *)ctx)->simulated_ns / 1000000;
}

/* Steps each loop that was woken or is due; the next deadline, or -1 if there was one. */
static int64_t step_due(struct engine *engine)
{
    bool any = false;
    int64_t next_ns = CLOCK_NEVER;
    for (int32_t i = 0; i < engine->thing_count; i++) {
        struct engine_thing *thing = &engine->things[i];
        int64_t now_ns = clock_now_ns(&engine->clock);
        if (waker_take(thing->waker) || thing->deadline_ns <= now_ns) {
            thing->deadline_ns = thing->step(thing->ctx, now_ns);
            any = true;
        }
        next_ns = thing->deadline_ns < next_ns ? thing->deadline_ns : next_ns;
    }
    return any ? -1 : next_ns;
}

/* A turn of all; if nothing was due, waits for the next deadline. */
static void step_all(struct engine *engine)
{
    int64_t next_ns = step_due(engine);
    if (next_ns < 0) {
        return;
    }
    if (engine->options.simulated) {
        CHECK(next_ns != CLOCK_NEVER);
        engine->simulated_ns = next_ns > engine->simulated_ns ? next_ns : engine->simulated_ns;
        return;
    }
    int64_t wait_ns = next_ns - clock_now_ns(&engine->clock);
    if (wait_ns >
        0) { // nobody else can wake them; short sleeps would cost CPU time that is counted
        clock_real_sleep(wait_ns < STEP_PAUSE_MAX_NS ? wait_ns : STEP_PAUSE_MAX_NS);
    }
}

void engine_settle(struct engine *engine, int64_t now_ns)
{
    CHECK(engine->options.simulated);
    engine->simulated_ns = now_ns > engine->simulated_ns ? now_ns : engine->simulated_ns;
    while (step_due(engine) < 0) {
    }
}

void engine_pass(struct engine *engine)
{
    if (engine->options.threads) {
        clock_real_sleep(ENGINE_CALL_PAUSE_NS);
    } else {
        step_all(engine);
    }
}

static void add_log_loops(struct engine *engine)
{
    struct log_loop loops[LOG_LOOPS_MAX];
    int count = log_loops(engine->log, loops);
    for (int i = 0; i < count; i++) {
        add(engine, (struct engine_thing){.name = loops[i].name,
                                          .step = loops[i].step,
                                          .ctx = loops[i].ctx,
                                          .core = engine->options.other_core,
                                          .waker = loops[i].waker});
    }
    engine->log_thing_count = engine->thing_count;
}

enum err engine_reopen(struct engine *engine, struct err_info *info)
{
    struct log_recovery_report report;
    waker_init(&engine->waker);
    mailbox_init(&engine->done, &engine->waker); // what was in flight is lost
    enum err err = log_embedded_open(
        &(struct log_embedded_options){.fs = &engine->fs,
                                       .clock = &engine->clock,
                                       .sync = engine->options.sync,
                                       .unsynced_interval_ns = INT64_C(1000000000)},
        &engine->log, &report, info);
    if (err == ERR_OK) {
        add_log_loops(engine);
    }
    return err;
}

enum err engine_open(const struct engine_options *options, struct engine *engine,
                     struct err_info *info)
{
    *engine = (struct engine){.options = *options, .clock = clock_real()};
    waker_init(&engine->waker);
    mailbox_init(&engine->done, &engine->waker);
    arena_init(&engine->arena, ENGINE_ARENA_BYTES);
    if (options->simulated) {
        engine->clock = (struct clock){.ctx = engine,
                                       .now_ns = simulated_now,
                                       .wall_unix_ms = simulated_wall,
                                       .thread_cpu_ns = simulated_now};
    }
    if (options->memory_log) {
        engine->log =
            log_memory_new(&(struct log_memory_options){.clock = &engine->clock,
                                                        .seed = SIMULATED_SEED,
                                                        .commit_delay_ns = SIMULATED_COMMIT_NS});
        add_log_loops(engine);
        return ERR_OK;
    }
    enum err err = options->on_disk
                       ? temp_dir_make("shadowcast-bench", engine->path, info)
                       : temp_dir_make_in_memory("shadowcast-bench", engine->path, info);
    if (err != ERR_OK) {
        engine->path[0] = '\0';
        return err;
    }
    err = fs_real_open(engine->path, &engine->fs, info);
    err = err == ERR_OK ? engine_reopen(engine, info) : err;
    if (err != ERR_OK) {
        engine_close(engine);
    }
    return err;
}

void engine_kill(struct engine *engine)
{
    end_loops(engine, 0);
    node_runtime_free(engine->runtime);
    engine->runtime = NULL;
    log_close(engine->log);
    engine->log = NULL;
}

void engine_close(struct engine *engine)
{
    end_loops(engine, 0);
    node_runtime_free(engine->runtime);
    log_close(engine->log);
    if (engine->arena.limit_bytes > 0) {
        arena_release(&engine->arena);
    }
    fs_real_close(&engine->fs);
    if (engine->path[0] != '\0') {
        temp_dir_remove(engine->path);
    }
    *engine = (struct engine){.log = NULL};
}

static int64_t runtime_step(void *ctx, int64_t now_ns)
{
    struct engine *engine = ctx;
    int64_t next_ns = node_runtime_step(engine->runtime, now_ns);
    if (engine->options.control == NULL) {
        return next_ns;
    }
    int64_t other_ns = engine->options.control(engine->options.control_ctx, now_ns);
    return other_ns < next_ns ? other_ns : next_ns;
}

enum err engine_start(struct engine *engine, const char *yaml, struct err_info *info)
{
    CHECK(engine->runtime == NULL);
    const struct config *config;
    arena_reset(&engine->arena);
    enum err err = config_load(&engine->arena, "bench.yaml", str_of(yaml), &config, info);
    struct node_runtime_options options = {.config = config,
                                           .log = engine->log,
                                           .clock = &engine->clock,
                                           .fs = engine->options.files,
                                           .tuning = engine->options.tuning,
                                           .shadow_budget = 1,
                                           .shadow_memory_bytes =
                                               engine->options.shadows ? SHADOW_BYTES : 0};
    err = err == ERR_OK ? node_runtime_new(&options, &engine->runtime, info) : err;
    if (err != ERR_OK) {
        return err;
    }
    for (int32_t i = 0; i < node_runtime_lane_count(engine->runtime); i++) {
        struct lane *lane = node_runtime_lane(engine->runtime, i);
        add(engine,
            (struct engine_thing){.name = "lane",
                                  .step = engine->step_lane != NULL ? engine->step_lane : lane_step,
                                  .ctx = lane,
                                  .core = engine->options.lane_core,
                                  .waker = lane_waker(lane)});
    }
    struct shadow_lane *shadows = node_runtime_shadow_lane(engine->runtime);
    if (shadows != NULL) {
        add(engine,
            (struct engine_thing){.name = "shadows",
                                  .step = shadow_lane_step,
                                  .ctx = shadows,
                                  .class = engine->options.shadows_normal ? LOOP_NORMAL : LOOP_IDLE,
                                  .core = engine->options.shadow_core,
                                  .waker = shadow_lane_waker(shadows)});
    }
    add(engine, (struct engine_thing){.name = "runtime",
                                      .step = runtime_step,
                                      .ctx = engine,
                                      .core = engine->options.other_core,
                                      .waker = node_runtime_waker(engine->runtime)});
    while (node_runtime_state(engine->runtime) < RUNTIME_RUNNING) {
        engine_pass(engine);
    }
    if (node_runtime_state(engine->runtime) == RUNTIME_RUNNING) {
        return ERR_OK;
    }
    end_loops(engine, engine->log_thing_count);
    *info = *node_runtime_problem(engine->runtime);
    engine_stop(engine);
    return info->code;
}

void engine_stop(struct engine *engine)
{
    if (engine->thing_count > engine->log_thing_count &&
        node_runtime_state(engine->runtime) != RUNTIME_FAILED) {
        node_runtime_stop(engine->runtime);
        while (node_runtime_state(engine->runtime) < RUNTIME_STOPPED) {
            engine_pass(engine);
        }
    }
    end_loops(engine, engine->log_thing_count);
    /* The log goes on, and may still be waking the lane that has just taken its last answer (base/mailbox.h). One more
     * answer, to a waker that stays, comes only behind that. */
    struct log_op last = {.kind = LOG_OP_STREAM_GET};
    IGNORE_RESULT(engine_call(engine, &last)); // there is no stream without a name
    node_runtime_free(engine->runtime);
    engine->runtime = NULL;
}

enum err engine_run_to_end(struct engine *engine, struct err_info *info)
{
    while (!node_runtime_ended(engine->runtime)) {
        if (node_runtime_failed_partitions(engine->runtime) > 0 ||
            node_runtime_state(engine->runtime) == RUNTIME_FAILED) {
            end_loops(engine, engine->log_thing_count); // the reason is theirs until then
            return err_set(info, ERR_INTERNAL, "the bench's own pipeline failed: %.180s",
                           node_runtime_problem(engine->runtime)->text);
        }
        engine_pass(engine);
    }
    return ERR_OK;
}

/* Others that come back here meanwhile are of senders that do not look any more. */
static bool is_among(const struct msg *wanted, const struct msg *list)
{
    while (list != NULL && list != wanted) {
        list = list->next;
    }
    return list != NULL;
}

enum err engine_call(struct engine *engine, struct log_op *op)
{
    op->done = &engine->done;
    do {
        op->info = (struct err_info){0};
        log_submit(engine->log, op);
        while (!is_among(&op->msg, mailbox_take_all(&engine->done))) {
            engine_pass(engine);
        }
    } while (op->err == ERR_AGAIN);
    return op->err;
}

enum err engine_stream(struct engine *engine, const char *name, struct shard_id *ret_shard,
                       struct err_info *info)
{
    struct log_op op = {.kind = LOG_OP_STREAM_CREATE};
    op.u.stream.config =
        (struct stream_config){.shard_count = 1, .retention_ms = -1, .retention_bytes = -1};
    IGNORE_RESULT(snprintf(op.u.stream.config.name, sizeof op.u.stream.config.name, "%s",
                           name)); // our own names fit
    enum err err = engine_call(engine, &op);
    if (err != ERR_OK) {
        *info = op.info;
        return err;
    }
    *ret_shard = op.u.stream.ret_info.first_shard;
    return ERR_OK;
}

enum err engine_append(struct engine *engine, struct shard_id shard, void *batch, ptrdiff_t bytes,
                       struct err_info *info)
{
    struct log_op op = {.kind = LOG_OP_APPEND};
    op.u.append = (struct log_append_op){.shard = shard, .batch = batch, .bytes = bytes};
    enum err err = engine_call(engine, &op);
    if (err != ERR_OK) {
        *info = op.info;
    }
    return err;
}

enum err engine_append_end(struct engine *engine, struct shard_id shard, struct err_info *info)
{
    struct record_builder builder;
    record_builder_init(&builder, RECORD_CODEC_NONE);
    void *bytes;
    ptrdiff_t len;
    enum err err = mark_end_batch(&builder, &bytes, &len, info);
    err = err == ERR_OK ? engine_append(engine, shard, bytes, len, info) : err;
    record_builder_release(&builder);
    return err;
}

enum err engine_drop_streams(struct engine *engine, const char *keep, struct err_info *info)
{
    struct stream_info *infos = MEM_NEW_ARRAY(struct stream_info, ENGINE_STREAMS_MAX);
    struct log_op op = {.kind = LOG_OP_STREAM_LIST};
    op.u.list = (struct log_list_op){.infos = infos, .cap = ENGINE_STREAMS_MAX};
    enum err err = engine_call(engine, &op);
    int32_t count = err == ERR_OK ? op.u.list.ret_count : 0;
    for (int32_t i = 0; i < count && err == ERR_OK; i++) {
        if (strcmp(infos[i].config.name, keep) != 0) {
            op = (struct log_op){.kind = LOG_OP_STREAM_DELETE};
            op.u.stream.config = infos[i].config;
            err = engine_call(engine, &op);
        }
    }
    mem_free(infos);
    if (err != ERR_OK) {
        *info = op.info;
    }
    return err;
}
