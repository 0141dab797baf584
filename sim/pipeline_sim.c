// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/embedded.h"
#include "log/memory.h"
#include "log/record_batch.h"
#include "node/mark.h"
#include "node/runtime.h"
#include "pipeline/config.h"
#include "sim/crash.h"
#include "sim/disk.h"
#include "sim/layout_actor.h"
#include "sim/manager_actor.h"
#include "sim/part.h"
#include "sim/pipeline_check.h"
#include "sim/shadow_actor.h"
#include "sim/world.h"

/* The pipelines' part of the simulator. A seed draws a pipeline, its records, and lives: in each the process runs the
 * pipeline in another layout while a producer writes, until it is killed, the power is cut, or it is stopped. After the
 * last life the sink must hold exactly what the sources make (pipeline_check.h). */

enum { MS = 1000000, STEPS_MAX = 3000000, THINGS_MAX = 80, BATCH_MAX = 60 };
#define SIM_WAIT_NS INT64_C(300000000000)

/* Writes records one append at a time, a shard at a time; survives crashes with what was acknowledged. */
struct writer {
    struct waker waker;
    struct mailbox done;
    struct log_op op;
    struct record_builder builder;
    bool busy, again, paused;
    int64_t next_ns, now_ms;
    int64_t batch_max; /* few: many small commits, so that checkpoints come round */
    int64_t left;      /* records still to write */
    int64_t next_id, acked;
    struct rng second_rng; /* which of a join's sources */
};

struct pipe_sim {
    bool embedded;
    bool
        unsynced; /* not in parts layout and manager: a power cut may take back what was told as done */
    struct rng rng,
        weather; /* the second: what came later, so that old seeds keep their pipelines */
    struct world *world;
    struct disk *disk;
    struct sim_crash crash; /* not of part layout, which has its own */
    struct waker weather_waker;
    bool stormy; /* the disk fills up, gets slow, fails */
    bool full;
    int64_t sync_delay_ns, other_delay_ns; /* in good weather */
    bool may_fail;                         /* a failing op was ordered in this life */
    struct fs fs;
    struct log *log;
    int log_things[LOG_LOOPS_MAX];
    int log_thing_count;
    int things[THINGS_MAX];
    int thing_count;
    struct pipe_plan plan;
    struct arena config_arena, record_arena;
    struct node_runtime *runtime;
    struct layout_actor *layout;  /* part layout; NULL: the layout stays while a life lasts */
    struct shadow_actor *shadows; /* part shadow; NULL: none are cast */
    struct manager_actor
        *manager; /* part manager: the runtime is control's; NULL: there is no control */
    struct control *control;
    struct manager_tally managed;
    struct pipe_layout drawn;
    struct writer writer;
    struct waker waker;
    struct mailbox done;
    int crashes, lives;
    bool failed;
    char text[400];
};

static void fail(struct pipe_sim *sim, const char *what, const char *detail)
{
    if (!sim->failed) {
        sim->failed = true;
        IGNORE_RESULT(
            snprintf(sim->text, sizeof(sim->text), "%s: %s", what, detail)); /* may be cut */
    }
}

/* --- the log and its loops --- */

static enum err open_embedded(struct pipe_sim *sim, struct err_info *info)
{
    sim->fs = disk_fs(sim->disk);
    struct log_embedded_options options = {
        .fs = &sim->fs,
        .clock = world_clock(sim->world),
        .sync = sim->unsynced ? LOG_UNSYNCED : LOG_SYNC,
        .unsynced_interval_ns = sim->unsynced ? rng_range(&sim->weather, 1, 200) * MS : 0,
        .journal_segment_bytes = 256 << 10,
        .shard_segment_bytes = 64 << 10,
    };
    struct log_recovery_report report;
    return log_embedded_open(&options, &sim->log, &report, info);
}

static void open_log(struct pipe_sim *sim)
{
    struct err_info info = {0};
    enum err err = sim->embedded ? open_embedded(sim, &info) : ERR_OK;
    if (sim->embedded && sim->crash.struck) { /* in the middle of recovery: once more */
        if (err == ERR_OK) {
            log_close(sim->log);
        }
        IGNORE_RESULT(sim_crash_hold(&sim->crash)); /* it did */
        sim->crashes++;
        err = open_embedded(sim, &info);
    }
    if (err != ERR_OK) {
        sim->log = NULL;
        fail(sim, "the log cannot be opened", info.text);
        return;
    }
    struct log_loop loops[LOG_LOOPS_MAX];
    sim->log_thing_count = log_loops(sim->log, loops);
    for (int i = 0; i < sim->log_thing_count; i++) {
        sim->log_things[i] =
            world_add(sim->world, loops[i].name, loops[i].step, loops[i].ctx, loops[i].waker);
    }
}

static void remove_all(struct world *world, const int *things, int *count)
{
    for (int i = 0; i < *count; i++) {
        world_remove(world, things[i]);
    }
    *count = 0;
}

static void clear_up(struct pipe_sim *sim)
{
    sim->full = false;
    disk_set_size(sim->disk, INT64_MAX / 4);
    disk_set_delays(sim->disk, sim->sync_delay_ns, sim->other_delay_ns);
}

enum crash { CRASH_POWER, CRASH_KILL, CRASH_NONE };

/* The process and what it had in flight are gone. */
static void end_process(struct pipe_sim *sim, enum crash crash)
{
    sim->crashes += crash != CRASH_NONE;
    clear_up(sim);
    if (crash == CRASH_POWER) {
        disk_power_cut(sim->disk);
    } else {
        disk_process_kill(sim->disk);
    }
    remove_all(sim->world, sim->things, &sim->thing_count);
    remove_all(sim->world, sim->log_things, &sim->log_thing_count);
    if (!sim->embedded) {
        log_memory_drop_clients(sim->log);
    }
    if (sim->layout != NULL && sim->runtime != NULL) {
        layout_actor_end(sim->layout);
    }
    if (sim->shadows != NULL && sim->runtime != NULL) {
        shadow_actor_end(sim->shadows);
    }
    if (sim->control != NULL) {
        manager_actor_end(sim->manager);
        control_free(sim->control);
        sim->control = NULL;
    } else {
        node_runtime_free(sim->runtime);
    }
    sim->runtime = NULL;
    if (sim->embedded) {
        log_close(sim->log);
        sim->log = NULL;
    }
    sim->writer.busy = sim->writer.again = false;
    mailbox_init(&sim->writer.done, &sim->writer.waker);
    mailbox_init(&sim->done, &sim->waker);
}

/* --- ops of the scene --- */

static bool has_mail(void *ctx)
{
    const struct mailbox *box = ctx;
    return atomic_load(&box->head) != NULL;
}

static enum err scene_op(struct pipe_sim *sim, struct log_op *op)
{
    for (int tries = 0; tries < 1000; tries++) {
        op->done = &sim->done;
        log_submit(sim->log, op);
        enum world_end end = world_run(sim->world, has_mail, &sim->done,
                                       world_now_ns(sim->world) + SIM_WAIT_NS, STEPS_MAX);
        if (end != WORLD_DONE) {
            fail(sim, "an op of the scene never completed", world_last(sim->world));
            return ERR_TIMEOUT;
        }
        IGNORE_RESULT(mailbox_take_all(&sim->done)); /* it is the op */
        if (op->err != ERR_AGAIN) {
            return op->err;
        }
    }
    return ERR_AGAIN;
}

static bool find_stream(struct pipe_sim *sim, const char *name, struct stream_info *ret_info)
{
    struct log_op op = {.kind = LOG_OP_STREAM_GET};
    IGNORE_RESULT(
        snprintf(op.u.stream.config.name, sizeof(op.u.stream.config.name), "%s", name)); /* fits */
    if (scene_op(sim, &op) != ERR_OK) {
        return false;
    }
    *ret_info = op.u.stream.ret_info;
    return true;
}

/* --- the writer --- */

static void writer_submit(struct pipe_sim *sim)
{
    struct writer *writer = &sim->writer;
    bool second = sim->plan.kind == PIPE_JOIN && rng_chance(&writer->second_rng, 0.4);
    const struct stage_stream *stream =
        node_runtime_stream(sim->runtime, second ? STR("src2") : STR("src"));
    uint32_t shard = (uint32_t)rng_below(
        &sim->rng, (uint64_t)(sim->plan.source_shards - sim->plan.silent_shards));
    int64_t count = rng_range(&sim->rng, 1, writer->batch_max);
    count = count < writer->left ? count : writer->left;
    record_builder_reset(&writer->builder);
    arena_reset(&sim->record_arena);
    for (int64_t i = 0; i < count; i++) {
        int64_t id = 8 * writer->next_id++ + shard;
        struct pipe_record drawn =
            pipe_record_draw(&sim->plan, &sim->rng, &sim->record_arena, id, &writer->now_ms);
        struct record record = {
            .key = drawn.key, .value = drawn.value, .timestamp_ms = drawn.time_ms};
        CHECK(record_builder_add(&writer->builder, &record) == ERR_OK);
    }
    writer->left -= count;
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(&writer->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) ==
          ERR_OK);
    writer->op = (struct log_op){.kind = LOG_OP_APPEND, .done = &writer->done};
    writer->op.u.append =
        (struct log_append_op){.shard = stage_shard(stream, shard), .batch = bytes, .bytes = len};
    writer->busy = true;
    log_submit(sim->log, &writer->op);
}

static int64_t writer_step(void *ctx, int64_t now_ns)
{
    struct pipe_sim *sim = ctx;
    struct writer *writer = &sim->writer;
    if (mailbox_take_all(&writer->done) != NULL) {
        writer->busy = false;
        writer->again = err_class_of(writer->op.err) == ERR_CLASS_RETRY;
        writer->acked += writer->op.err == ERR_OK;
        if (writer->op.err != ERR_OK && !writer->again && !sim->may_fail) {
            fail(sim, "an append failed", writer->op.info.text);
        }
        writer->next_ns = now_ns + rng_range(&sim->rng, 0, 8 * MS);
    }
    if (writer->busy) {
        return CLOCK_NEVER;
    }
    if (now_ns < writer->next_ns) {
        return writer->next_ns;
    }
    if (writer->again) {
        writer->again = false;
        writer->busy = true;
        log_submit(sim->log, &writer->op);
    } else if (!writer->paused && writer->left > 0 &&
               node_runtime_state(sim->runtime) == RUNTIME_RUNNING) {
        writer_submit(sim);
    } else {
        return now_ns + MS;
    }
    return CLOCK_NEVER;
}

/* --- the weather: the disk is full for a while, or slow, or an op of it fails --- */

static int64_t weather_step(void *ctx, int64_t now_ns)
{
    struct pipe_sim *sim = ctx;
    struct rng *rng = &sim->weather;
    uint64_t what = rng_below(rng, 10);
    if (sim->full || what == 9) {
        clear_up(sim);
    } else if (what < 4 && (sim->manager == NULL || manager_actor_facts(sim->manager)->lossy)) {
        sim->full = true;
        disk_set_size(sim->disk, disk_used_bytes(sim->disk) + rng_range(rng, 0, 400000));
    } else if (what < 7) {
        bool slow = rng_chance(rng, 0.5);
        disk_set_delays(sim->disk, rng_range(rng, 0, slow ? 200 : 3) * MS,
                        rng_range(rng, 0, slow ? 20 * MS : MS / 5));
    } else if (what < 8 && sim->layout == NULL && sim->manager == NULL) {
        sim->may_fail = true;
        struct disk_fault fault = {.kind = rng_chance(rng, 0.6) ? FS_SYNC : FS_WRITE,
                                   .nth = rng_range(rng, 1, 30),
                                   .err = ERR_IO,
                                   .persistent = rng_chance(rng, 0.5),
                                   .partial = true};
        disk_set_fault(sim->disk, &fault);
    }
    return now_ns + rng_range(rng, 1, 100) * MS;
}

/* --- reading streams back --- */

struct gathered {
    struct pipe_row *rows;
    int32_t count, cap;
};

static void gather(struct gathered *all, struct arena *arena, int32_t shard, const char *bytes,
                   ptrdiff_t len)
{
    struct record_reader reader;
    record_reader_init(&reader);
    for (ptrdiff_t at = 0; at < len;) {
        struct record_batch_header header;
        ptrdiff_t total;
        CHECK(record_batch_parse(bytes + at, len - at, &header, &total, NULL) == ERR_OK);
        CHECK(record_batch_verify(bytes + at, total, NULL) == ERR_OK);
        CHECK(record_reader_begin(&reader, bytes + at, total, NULL) == ERR_OK);
        struct record record;
        while (record_reader_next(&reader, &record, NULL) == ERR_OK) {
            struct str rest = record.headers, name, value;
            if (record.header_count > 0 && record_header_next(&rest, &name, &value) &&
                str_is(name, MARK_HEADER)) {
                continue;
            }
            if (all->count == all->cap) {
                all->cap = all->cap == 0 ? 1024 : 2 * all->cap;
                all->rows = mem_resize(all->rows, all->cap, (ptrdiff_t)sizeof(struct pipe_row));
            }
            all->rows[all->count++] = (struct pipe_row){
                .shard = shard,
                .offset = record.offset,
                .time_ms = record.timestamp_ms,
                .key = {arena_dup(arena, record.key.ptr, record.key.len), record.key.len},
                .value = {arena_dup(arena, record.value.ptr, record.value.len), record.value.len},
            };
        }
        at += total;
    }
    record_reader_release(&reader);
}

static void read_shard(struct pipe_sim *sim, struct shard_id id, int32_t index,
                       struct gathered *all, struct arena *arena)
{
    struct log_reader *reader = log_reader_new(sim->log);
    char *buf = mem_new(LOG_BATCH_BYTES_MAX + 64, 1);
    struct log_op get = {.kind = LOG_OP_SHARD_GET, .u.shard.shard = id};
    enum err err = scene_op(sim, &get);
    int64_t offset = get.u.shard.ret_info.start_offset;
    while (err == ERR_OK && offset < get.u.shard.ret_info.end_offset) {
        struct log_op op = {.kind = LOG_OP_READ};
        op.u.read = (struct log_read_op){.reader = reader,
                                         .shard = id,
                                         .offset = offset,
                                         .buf = buf,
                                         .cap = LOG_BATCH_BYTES_MAX};
        err = scene_op(sim, &op);
        if (err != ERR_OK && !sim->crash.struck) {
            fail(sim, "a shard cannot be read", op.info.text);
        }
        if (err != ERR_OK) {
            break;
        }
        gather(all, arena, index, buf, op.u.read.ret_bytes);
        if (op.u.read.ret_next_offset <= offset) {
            break;
        }
        offset = op.u.read.ret_next_offset;
    }
    mem_free(buf);
    log_reader_free(sim->log, reader);
}

static struct pipe_rows read_stream(struct pipe_sim *sim, const char *name, struct arena *arena)
{
    struct gathered all = {0};
    struct stream_info info;
    if (!find_stream(sim, name, &info)) {
        return (struct pipe_rows){0};
    }
    for (int32_t i = 0; i < info.config.shard_count; i++) {
        read_shard(sim, (struct shard_id){info.first_shard.v + (uint32_t)i}, i, &all, arena);
    }
    struct pipe_row *rows = ARENA_NEW_ARRAY(arena, struct pipe_row, all.count + 1);
    if (all.count > 0) {
        memcpy(rows, all.rows, (size_t)all.count * sizeof(rows[0]));
    }
    mem_free(all.rows);
    return (struct pipe_rows){.rows = rows, .count = all.count};
}

/* --- a process --- */

static void add(struct pipe_sim *sim, const char *name, loop_step step, void *ctx,
                struct waker *waker)
{
    CHECK(sim->thing_count < THINGS_MAX);
    sim->things[sim->thing_count++] = world_add(sim->world, name, step, ctx, waker);
}

static struct pipe_layout draw_layout(struct pipe_sim *sim)
{
    static const char *const commits[] = {"5ms", "20ms", "eager", "100ms"};
    struct rng *rng = &sim->rng;
    struct pipe_layout layout = {
        .partitions = {(int32_t)rng_range(rng, 1, 9), (int32_t)rng_range(rng, 1, 9)},
        .nodes = (int32_t)rng_range(rng, 1, 4),
        .lanes = (int32_t)rng_range(rng, 1, 2),
        .capacity_percent = rng_chance(rng, 0.3) ? (int32_t)rng_range(rng, 10, 99) : 100,
        .commit = commits[rng_below(rng, COUNT_OF(commits))],
        .section = sim->manager != NULL ? manager_actor_section(sim->manager) : "",
        .settings = sim->manager != NULL ? manager_actor_pipeline(sim->manager) : "",
    };
    if (rng_chance(rng, 0.05)) {
        layout.partitions[rng_below(rng, 2)] = 64;
    }
    bool more = sim->layout != NULL || sim->manager != NULL;
    layout.more_nodes = more ? (int32_t)rng_range(rng, 0, 2) : 0;
    return layout;
}

/* What a crash has left of control's records, before anything is mended. */
static void check_records(struct pipe_sim *sim, bool end)
{
    struct arena arena;
    char text[300];
    arena_init(&arena, 1 << 30);
    struct manager_streams streams = {.audit = read_stream(sim, "sc.audit", &arena),
                                      .operations = read_stream(sim, "sc.operations", &arena),
                                      .decisions = read_stream(sim, "sc.decisions", &arena)};
    /* A crash while they are read: what was read is not all, and the next life looks again. */
    if (!sim->failed && !sim->crash.struck &&
        !manager_check(manager_actor_facts(sim->manager), &streams, end ? sim->runtime : NULL,
                       &sim->managed, text)) {
        fail(sim, end ? "the manager, at the end" : "the manager, at a start", text);
    }
    arena_release(&arena);
}

/* The runtime of all nodes in the hands of the control plane, as in the real program. */
static void start_control(struct pipe_sim *sim, const struct node_runtime_options *options)
{
    struct control_options control = {.config = options->config,
                                      .log = sim->log,
                                      .clock = manager_actor_clock(sim->manager),
                                      .fs = &sim->fs,
                                      .seed = rng_u64(&sim->rng),
                                      .tuning = options->tuning,
                                      .shadow_budget = 0.1,
                                      .shadow_memory_bytes = 64 << 20};
    CHECK(control_new(&control, &sim->control, NULL) == ERR_OK);
    sim->runtime = control_runtime(sim->control);
    struct shadow_lane *shadows = node_runtime_shadow_lane(sim->runtime);
    manager_actor_begin(sim->manager, sim->control);
    add(sim, "control", control_step, sim->control, control_waker(sim->control));
    add(sim, "shadows", shadow_lane_step, shadows, shadow_lane_waker(shadows));
    add(sim, "people", manager_actor_step, sim->manager, manager_actor_waker(sim->manager));
}

static void start_process(struct pipe_sim *sim, bool last)
{
    struct rng *rng = &sim->rng;
    bool moves = sim->layout != NULL || sim->manager != NULL;
    bool kept = moves && sim->drawn.nodes > 0 && rng_chance(rng, 0.8);
    if (!kept) {
        sim->drawn = draw_layout(sim);
    }
    open_log(sim);
    if (!sim->failed && sim->manager != NULL) {
        check_records(sim, false);
    }
    if (sim->failed) {
        return;
    }
    arena_reset(&sim->config_arena);
    const struct config *configs[PIPE_TEXTS] = {NULL};
    struct err_info info = {0};
    for (int i = 0; i < PIPE_TEXTS; i++) {
        const char *yaml = pipe_yaml(&sim->config_arena, &sim->plan, &sim->drawn, i);
        if (config_load(&sim->config_arena, "drawn.yaml", str_of(yaml), &configs[i], &info) !=
            ERR_OK) {
            fail(sim, "the drawn configuration is refused", info.text);
            return;
        }
    }
    struct node_runtime_options options = {
        .config = configs[0],
        .load = sim->layout != NULL ? config_load : NULL,
        .log = sim->log,
        .clock = world_clock(sim->world),
        .fs = &sim->fs,
        .tuning = {.cache_bytes = 1 << 20,
                   .read_bytes = rng_range(rng, 1, 64) << 10,
                   .commit_bytes = rng_range(rng, 1, 64) << 10,
                   .floor_interval_ns = rng_range(rng, 1, 50) * MS,
                   .checkpoint_bytes = rng_range(rng, 1, 64) << 9,
                   .checkpoint_ratio = 1,
                   .slice_batches = (int32_t)rng_range(rng, 1, 4),
                   .batch_rows = (int32_t)rng_range(rng, 1, 300)},
    };
    if (sim->shadows != NULL) {
        options.shadow_budget = shadow_actor_budget(sim->shadows);
        options.shadow_memory_bytes = shadow_actor_memory_bytes(sim->shadows);
    }
    if (sim->manager != NULL) {
        start_control(sim, &options);
    } else {
        CHECK(node_runtime_new(&options, &sim->runtime, &info) == ERR_OK);
        add(sim, "runtime", node_runtime_step, sim->runtime, node_runtime_waker(sim->runtime));
    }
    for (int32_t i = 0; i < node_runtime_lane_count(sim->runtime); i++) {
        struct lane *lane = node_runtime_lane(sim->runtime, i);
        add(sim, "lane", lane_step, lane, lane_waker(lane));
    }
    add(sim, "writer", writer_step, sim, &sim->writer.waker);
    sim->may_fail = false;
    if (sim->stormy && !last) {
        add(sim, "weather", weather_step, sim, &sim->weather_waker);
    }
    if (sim->layout != NULL) {
        layout_actor_begin(sim->layout, sim->runtime, kept, configs, PIPE_TEXTS);
        add(sim, "layout", layout_actor_step, sim->layout, layout_actor_waker(sim->layout));
    }
    if (sim->shadows != NULL) {
        struct shadow_actor *shadows = sim->shadows;
        shadow_actor_begin(shadows, sim->runtime);
        add(sim, "caster", shadow_actor_step, shadows, shadow_actor_waker(shadows));
        add(sim, "shadows", shadow_actor_lane_step, shadows, shadow_actor_lane_waker(shadows));
    }
    sim->lives++;
}

static const char *actor_problem(const struct pipe_sim *sim)
{
    const char *problem = sim->layout != NULL ? layout_actor_problem(sim->layout) : NULL;
    return problem == NULL && sim->shadows != NULL ? shadow_actor_problem(sim->shadows) : problem;
}

static bool control_ended(const struct pipe_sim *sim)
{
    struct err_info why;
    return sim->control != NULL && control_failed(sim->control, &why);
}

static bool in_trouble(void *ctx)
{
    const struct pipe_sim *sim = ctx;
    return sim->failed || control_ended(sim) ||
           node_runtime_state(sim->runtime) == RUNTIME_FAILED ||
           node_runtime_failed_partitions(sim->runtime) > 0 || actor_problem(sim) != NULL;
}

static bool life_over(void *ctx)
{
    const struct pipe_sim *sim = ctx;
    return in_trouble(ctx) || sim->crash.struck ||
           (sim->layout != NULL && layout_actor_crash(sim->layout));
}

static void look(struct pipe_sim *sim, const char *when)
{
    if (sim->may_fail) {
        return; /* what fails now may; the next life must not */
    }
    struct err_info why;
    if (!sim->failed && sim->control != NULL && control_failed(sim->control, &why)) {
        fail(sim, "control has failed", why.text);
    }
    if (in_trouble(sim) && !sim->failed) {
        const char *problem = actor_problem(sim);
        fail(sim, when, problem != NULL ? problem : node_runtime_problem(sim->runtime)->text);
    }
    for (int32_t i = 0; !sim->failed && i < node_runtime_lane_count(sim->runtime); i++) {
        const struct lane *lane = node_runtime_lane(sim->runtime, i);
        int32_t state = atomic_load(&lane_status(lane)->state);
        if (state == LANE_FENCED || state == LANE_FAILED) {
            fail(sim, "a lane has failed", lane_problem(lane)->text);
        }
    }
}

static bool writer_idle(void *ctx)
{
    const struct pipe_sim *sim = ctx;
    return in_trouble(ctx) || (!sim->writer.busy && !sim->writer.again);
}

static bool stopped(void *ctx)
{
    const struct pipe_sim *sim = ctx;
    return in_trouble(ctx) || node_runtime_state(sim->runtime) == RUNTIME_STOPPED;
}

static void run_until(struct pipe_sim *sim, bool (*done)(void *), const char *what)
{
    enum world_end end =
        world_run(sim->world, done, sim, world_now_ns(sim->world) + SIM_WAIT_NS, STEPS_MAX);
    look(sim, what);
    if (end != WORLD_DONE) {
        fail(sim, what,
             end == WORLD_STEPS   ? "livelock"
             : end == WORLD_QUIET ? "all sleep"
                                  : "too slow");
    }
}

static void stop_process(struct pipe_sim *sim)
{
    sim->writer.paused = true;
    run_until(sim, writer_idle, "the writer waits for ever");
    if (!sim->failed) {
        node_runtime_stop(sim->runtime);
        run_until(sim, stopped, "the runtime does not stop");
    }
    sim->writer.paused = false;
}

static void live(struct pipe_sim *sim)
{
    if (sim->layout == NULL) {
        sim_crash_draw(&sim->crash);
    }
    start_process(sim, false);
    if (sim->failed) {
        return;
    }
    int64_t span_ns =
        rng_chance(&sim->rng, 0.3)
            ? rng_range(&sim->rng, 1, 30 * MS)
            : rng_range(&sim->rng, 1, sim->writer.batch_max < BATCH_MAX ? 2000 : 400) * MS;
    enum world_end end =
        world_run(sim->world, life_over, sim, world_now_ns(sim->world) + span_ns, STEPS_MAX);
    look(sim, "in a life");
    if (end == WORLD_STEPS) {
        fail(sim, "livelock", world_last(sim->world));
    }
    enum crash crash = rng_chance(&sim->rng, 0.5)   ? CRASH_POWER
                       : rng_chance(&sim->rng, 0.7) ? CRASH_KILL
                                                    : CRASH_NONE;
    bool struck = sim_crash_hold(&sim->crash);
    if (struck || sim->may_fail) {
        crash = struck || crash == CRASH_NONE ? CRASH_KILL : crash;
    }
    if (sim->layout != NULL && layout_actor_crash(sim->layout) && crash == CRASH_NONE) {
        crash = CRASH_KILL; /* at a crash point */
    }
    if (crash == CRASH_NONE && !sim->failed) {
        stop_process(sim);
    }
    end_process(sim, crash);
}

/* --- the last life, and the verdict --- */

static bool all_written(void *ctx)
{
    const struct pipe_sim *sim = ctx;
    return in_trouble(ctx) || (sim->writer.left == 0 && !sim->writer.busy && !sim->writer.again);
}

static bool manager_quiet(void *ctx)
{
    const struct pipe_sim *sim = ctx;
    return in_trouble(ctx) || manager_actor_quiet(sim->manager);
}

static bool all_ended(void *ctx)
{
    const struct pipe_sim *sim = ctx;
    return in_trouble(ctx) || node_runtime_ended(sim->runtime);
}

static void write_ends(struct pipe_sim *sim, const char *name)
{
    struct stream_info info;
    if (!find_stream(sim, name, &info)) {
        fail(sim, "the source", "is not there");
        return;
    }
    for (int32_t i = 0; i < info.config.shard_count && !sim->failed; i++) {
        void *bytes;
        ptrdiff_t len;
        CHECK(mark_end_batch(&sim->writer.builder, &bytes, &len, NULL) == ERR_OK);
        struct log_op op = {.kind = LOG_OP_APPEND};
        op.u.append = (struct log_append_op){
            .shard = {info.first_shard.v + (uint32_t)i}, .batch = bytes, .bytes = len};
        if (scene_op(sim, &op) != ERR_OK) {
            fail(sim, "an end marker is refused", op.info.text);
        }
    }
}

static void judge(struct pipe_sim *sim, int32_t *ret_source, int32_t *ret_sink)
{
    struct arena arena;
    arena_init(&arena, 1 << 30);
    struct pipe_streams streams = {.source = read_stream(sim, "src", &arena),
                                   .second = read_stream(sim, "src2", &arena),
                                   .sink = read_stream(sim, "out", &arena),
                                   .dead = read_stream(sim, "p.read.dead", &arena),
                                   .late = read_stream(sim, "p.win.late", &arena)};
    char text[300];
    if (!sim->failed && !pipe_check(&sim->plan, &arena, &streams, text)) {
        fail(sim, "the sink is wrong", text);
    }
    *ret_source = streams.source.count + streams.second.count;
    *ret_sink = streams.sink.count;
    arena_release(&arena);
}

static void last_life(struct pipe_sim *sim, int32_t *ret_source, int32_t *ret_sink)
{
    start_process(sim, true);
    if (!sim->failed) {
        run_until(sim, all_written, "the last life's writing");
    }
    if (sim->layout != NULL) {
        layout_actor_pause(sim->layout);
    }
    if (sim->manager != NULL) {
        manager_actor_pause(sim->manager);
    }
    if (!sim->failed) {
        write_ends(sim, "src");
    }
    if (!sim->failed && sim->plan.kind == PIPE_JOIN) {
        write_ends(sim, "src2");
    }
    if (!sim->failed &&
        rng_chance(&sim->rng, 0.5)) { /* a crash in the middle of closing all windows */
        int64_t until_ns = world_now_ns(sim->world) + rng_range(&sim->rng, 1, 40 * MS);
        IGNORE_RESULT(
            world_run(sim->world, in_trouble, sim, until_ns, STEPS_MAX)); /* looked at below */
        look(sim, "before the last crash");
        /* unsynced, a power cut could take the end markers back */
        end_process(sim, sim->unsynced ? CRASH_KILL : CRASH_POWER);
        start_process(sim, true);
    }
    if (!sim->failed) {
        run_until(sim, all_ended, "the input's end");
    }
    if (!sim->failed && sim->manager != NULL) {
        run_until(sim, manager_quiet, "the manager does not come to rest");
        check_records(sim, true);
    }
    if (!sim->failed) {
        judge(sim, ret_source, ret_sink);
    }
}

/* Before the first life: what a lookup reads, once and for all. */
static void write_table(struct pipe_sim *sim)
{
    open_log(sim);
    struct log_op op = {.kind = LOG_OP_STREAM_CREATE};
    op.u.stream.config = (struct stream_config){
        .name = "tab", .shard_count = 1, .retention_ms = -1, .retention_bytes = -1};
    if (sim->failed || scene_op(sim, &op) != ERR_OK) {
        fail(sim, "the table's stream cannot be made", op.info.text);
        return;
    }
    struct shard_id shard = op.u.stream.ret_info.first_shard;
    struct record_builder *builder = &sim->writer.builder;
    record_builder_reset(builder);
    for (int32_t user = 0; user < sim->plan.users; user++) {
        struct record record = {.timestamp_ms = 1};
        if (pipe_table_row(&sim->record_arena, user, &record.key, &record.value)) {
            CHECK(record_builder_add(builder, &record) == ERR_OK);
        }
    }
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    op = (struct log_op){.kind = LOG_OP_APPEND};
    op.u.append = (struct log_append_op){.shard = shard, .batch = bytes, .bytes = len};
    if (scene_op(sim, &op) != ERR_OK) {
        fail(sim, "the table cannot be written", op.info.text);
    }
    end_process(sim, CRASH_POWER);
}

enum pipe_part { PART_PIPELINE, PART_LAYOUT, PART_SHADOW, PART_MANAGER };

static enum record_codec drawn_codec(struct rng *rng)
{
    static const enum record_codec codecs[] = {RECORD_CODEC_NONE, RECORD_CODEC_LZ4,
                                               RECORD_CODEC_ZSTD};
    return codecs[rng_below(rng, COUNT_OF(codecs))];
}

static struct pipe_sim *sim_new(const struct sim_options *options, enum pipe_part part)
{
    bool layout = part == PART_LAYOUT;
    struct pipe_sim *sim = MEM_NEW(struct pipe_sim);
    sim->layout = layout ? layout_actor_new(options->seed) : NULL;
    sim->shadows = part == PART_SHADOW ? shadow_actor_new(options->seed) : NULL;
    rng_init(&sim->rng, options->seed * 2 + 1);
    bool drawn = rng_chance(&sim->rng, 0.5);
    sim->embedded = options->engine != NULL ? strcmp(options->engine, "embedded") == 0 : drawn;
    sim->world = world_new(&(struct world_options){
        .seed = options->seed, .stall_probability = rng_chance(&sim->rng, 0.5) ? 0.05 : 0});
    sim->sync_delay_ns = rng_range(&sim->rng, 0, 3 * MS);
    sim->other_delay_ns = rng_range(&sim->rng, 0, MS / 5);
    sim->disk = disk_new(&(struct disk_options){.clock = world_clock(sim->world),
                                                .seed = options->seed,
                                                .sync_delay_ns = sim->sync_delay_ns,
                                                .other_delay_ns = sim->other_delay_ns});
    sim->fs = disk_fs(sim->disk);
    sim->manager = part == PART_MANAGER ? manager_actor_new(options->seed, sim->world) : NULL;
    IGNORE_RESULT(
        world_add(sim->world, "disk", disk_step, sim->disk, disk_waker(sim->disk))); /* stays */
    if (!layout) {
        sim_crash_init(&sim->crash, sim->disk, options->seed);
    }
    rng_init(&sim->weather, options->seed * 7 + 3);
    waker_init(&sim->weather_waker);
    bool unsynced = sim->embedded && !layout && rng_chance(&sim->weather, 0.25);
    sim->unsynced = unsynced && part != PART_MANAGER;
    sim->stormy = sim->embedded && rng_chance(&sim->weather, 0.4);
    arena_init(&sim->config_arena, 16 << 20);
    arena_init(&sim->record_arena, 16 << 20);
    waker_init(&sim->waker);
    mailbox_init(&sim->done, &sim->waker);
    waker_init(&sim->writer.waker);
    mailbox_init(&sim->writer.done, &sim->writer.waker);
    record_builder_init(&sim->writer.builder, drawn_codec(&sim->weather));
    struct rng more;
    rng_init(&more, options->seed * 17 + 11);
    rng_init(&sim->writer.second_rng, options->seed * 19 + 1);
    pipe_plan_draw(&sim->plan, &sim->rng, &more);
    sim->unsynced = sim->unsynced && sim->plan.kind != PIPE_LOOKUP; /* its table must stay */
    sim->writer.left = rng_range(&sim->rng, 200, 2000);
    sim->writer.batch_max = rng_chance(&sim->rng, 0.4) ? 4 : BATCH_MAX;
    if (sim->manager != NULL) { /* long lives: decisions take their time */
        sim->writer.left = rng_range(&sim->rng, 500, 3000);
        sim->writer.batch_max = 4;
    }
    sim->writer.now_ms = 20000;
    if (!sim->embedded) {
        sim->log = log_memory_new(&(struct log_memory_options){
            .clock = world_clock(sim->world),
            .seed = options->seed,
            .commit_delay_ns = rng_range(&sim->rng, 0, 20) * MS,
            .again_probability = 0.2 * rng_unit(&sim->rng),
            .lost_reply_probability = rng_unit(&sim->rng),
        });
    }
    return sim;
}

static void sim_free(struct pipe_sim *sim)
{
    end_process(sim, CRASH_KILL);
    bool layout = sim->layout != NULL;
    layout_actor_free(sim->layout);
    shadow_actor_free(sim->shadows);
    manager_actor_free(sim->manager);
    if (!layout) {
        sim_crash_release(&sim->crash);
    }
    log_close(sim->log);
    record_builder_release(&sim->writer.builder);
    disk_free(sim->disk);
    world_free(sim->world);
    arena_release(&sim->config_arena);
    arena_release(&sim->record_arena);
    mem_free(sim);
}

static void tell_layout(const struct pipe_sim *sim, struct sim_result *result)
{
    struct layout_tally t = layout_actor_tally(sim->layout);
    size_t used = strlen(result->text);
    IGNORE_RESULT(snprintf(
        result->text + used, sizeof(result->text) - used,
        "; %d splits, %d merges, %d migrations, %d nodes, %d texts: %d done, %d undone, %d "
        "refused, %d at a crash; %d crash points",
        t.started[CHANGE_SPLIT], t.started[CHANGE_MERGE], t.started[CHANGE_MIGRATE],
        t.started[CHANGE_NODE], t.started[CHANGE_PIPELINE], t.done, t.undone, t.refused,
        t.open_at_crash, t.crash_points)); /* may be cut */
}

static void tell_shadows(const struct pipe_sim *sim, struct sim_result *result)
{
    struct shadow_tally t = shadow_actor_tally(sim->shadows);
    size_t used = strlen(result->text);
    IGNORE_RESULT(snprintf(result->text + used, sizeof(result->text) - used,
                           "; %d shadows, %d refused, %d closed, %d looks, %d compared, %d "
                           "resampled, %d paused, %d found ended; %lld records, %lld results",
                           t.opened, t.refused, t.closed, t.measured, t.compared, t.resampled,
                           t.paused, t.ended, (long long)t.records,
                           (long long)t.results)); /* may be cut */
}

static void tell_manager(const struct pipe_sim *sim, struct sim_result *result)
{
    const struct manager_tally *t = &sim->managed;
    struct manager_actor_tally a = manager_actor_tally(sim->manager);
    size_t used = strlen(result->text);
    IGNORE_RESULT(snprintf(result->text + used, sizeof(result->text) - used,
                           "; %d orders, %d answered, %d refused; %d operations; %d decisions, %d "
                           "applied (%d by people), %d done, %d failed, %d rolled back",
                           a.orders, a.answered, a.refused, t->operations, t->decisions, t->applied,
                           t->by_people, t->done, t->failed, t->rolled_back)); /* may be cut */
}

static void run_part(const struct sim_options *options, enum pipe_part part,
                     struct sim_result *ret_result)
{
    struct pipe_sim *sim = sim_new(options, part);
    int32_t source = 0, sink = 0;
    if (sim->plan.kind == PIPE_LOOKUP) {
        write_table(sim);
    }
    for (int64_t lives = rng_range(&sim->rng, 0, 5); lives > 0 && !sim->failed; lives--) {
        live(sim);
    }
    if (!sim->failed) {
        last_life(sim, &source, &sink);
    }
    ret_result->passed = !sim->failed;
    IGNORE_RESULT(
        snprintf(ret_result->text, sizeof(ret_result->text),
                 "%s log%s%s, %s, life %d, %d crashes, at %.3f ms: %d records in, %d out%s%s",
                 sim->embedded ? "embedded" : "memory", sim->unsynced ? ", unsynced" : "",
                 sim->stormy ? ", storms" : "", pipe_kind_name(sim->plan.kind), sim->lives,
                 sim->crashes, (double)world_now_ns(sim->world) / MS, source, sink,
                 sim->failed ? "; " : "", sim->text)); /* may be cut */
    if (sim->layout != NULL) {
        tell_layout(sim, ret_result);
    }
    if (sim->shadows != NULL) {
        tell_shadows(sim, ret_result);
    }
    if (sim->manager != NULL) {
        tell_manager(sim, ret_result);
    }
    sim_free(sim);
}

void sim_pipeline_run(const struct sim_options *options, struct sim_result *ret_result)
{
    run_part(options, PART_PIPELINE, ret_result);
}

void sim_layout_run(const struct sim_options *options, struct sim_result *ret_result)
{
    run_part(options, PART_LAYOUT, ret_result);
}

void sim_shadow_run(const struct sim_options *options, struct sim_result *ret_result)
{
    run_part(options, PART_SHADOW, ret_result);
}

void sim_manager_run(const struct sim_options *options, struct sim_result *ret_result)
{
    run_part(options, PART_MANAGER, ret_result);
}
