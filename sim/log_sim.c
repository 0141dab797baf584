// SPDX-License-Identifier: Apache-2.0
#include "sim/log_sim.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/memory.h"
#include "sim/part.h"

/* The log's part of the simulator. A seed draws the engine, its streams, who uses them and how they suffer. It lives
 * several lives; each ends by a power cut, a kill or a clean close, sometimes with a second crash in the recovery. After
 * each crash everything is read and judged. */

enum { MS = 1000000, LIVES_MAX = 6, STEPS_MAX = 400000, DRAIN_MS = 60000 };

/* ---- ops of the scene itself */

static int64_t idle_step(void *ctx, int64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
    return CLOCK_NEVER;
}

static bool came_back(void *ctx)
{
    const struct mailbox *done = ctx;
    return atomic_load(&done->head) != NULL;
}

enum err sim_do(struct sim *sim, struct log_op *op)
{
    op->done = &sim->done;
    for (int tries = 0; tries < 200; tries++) {
        log_submit(sim->log, op);
        int64_t until_ns = world_now_ns(sim->world) + (int64_t)DRAIN_MS * MS;
        world_run(sim->world, came_back, &sim->done, until_ns, STEPS_MAX);
        if (mailbox_take_all(&sim->done) == NULL) {
            log_model_fail(sim->model, "op %d never completed", op->kind);
            return ERR_TIMEOUT;
        }
        if (op->err != ERR_AGAIN) {
            return op->err;
        }
    }
    log_model_fail(sim->model, "op %d is told AGAIN for ever", op->kind);
    return ERR_TIMEOUT;
}

static struct shard_id create_stream(struct sim *sim, const char *name, uint32_t flags,
                                     int32_t shards, int64_t retention_bytes)
{
    struct log_op op = {.kind = LOG_OP_STREAM_CREATE};
    op.u.stream.config = (struct stream_config){.flags = flags,
                                                .shard_count = shards,
                                                .retention_ms = -1,
                                                .retention_bytes = retention_bytes};
    memcpy(op.u.stream.config.name, name, strlen(name) + 1);
    if (sim_do(sim, &op) != ERR_OK) {
        log_model_fail(sim->model, "stream %s cannot be made: %s", name, op.info.text);
    }
    return op.u.stream.ret_info.first_shard;
}

/* ---- the scene */

static void add_shards(struct sim *sim, const char *name, const struct sim_shard *like,
                       int32_t count, int64_t retention_bytes)
{
    struct shard_id first =
        create_stream(sim, name, like->internal ? STREAM_INTERNAL : 0, count, retention_bytes);
    for (int32_t i = 0; i < count; i++) {
        struct sim_shard *shard = &sim->shards[sim->shard_count++];
        *shard = *like;
        shard->id = (struct shard_id){first.v + (uint32_t)i};
        shard->retention = retention_bytes >= 0;
        bool trimmed = shard->trimmed || shard->internal;
        shard->model =
            log_model_add_shard(sim->model, shard->id.v, trimmed ? MODEL_TRIMMED : MODEL_WHOLE);
        if (shard->retention) {
            log_model_allow_start(sim->model, shard->model, INT64_MAX);
        }
    }
}

static void make_streams(struct sim *sim)
{
    struct rng *rng = &sim->rng;
    bool retention = rng_chance(rng, 0.3);
    struct sim_shard in = {.trimmed = true,
                           .floor_asked = !retention && rng_chance(rng, 0.5) ? 0 : -1};
    struct sim_shard out = {.floor_asked = -1};
    struct sim_shard mid = {.internal = true, .floor_asked = 0};
    add_shards(sim, "in", &in, (int32_t)rng_range(rng, 1, 3),
               retention ? rng_range(rng, 2000, 100000) : -1);
    add_shards(sim, "out", &out, (int32_t)rng_range(rng, 1, 3), -1);
    add_shards(sim, "sc.p.read", &mid, (int32_t)rng_range(rng, 1, 2), -1);
    for (int i = 0; i < sim->shard_count; i++) {
        if (sim->shards[i].floor_asked == 0) {
            struct log_op op = {.kind = LOG_OP_FLOOR};
            op.u.floor = (struct log_floor_op){.shard = sim->shards[i].id, .reader = 7};
            if (sim_do(sim, &op) != ERR_OK) {
                log_model_fail(sim->model, "a floor is refused: %s", op.info.text);
            }
        }
    }
    int32_t changelogs = (int32_t)rng_range(rng, 1, SIM_CHANGELOGS_MAX);
    struct shard_id first =
        create_stream(sim, "sc.p.read.log", STREAM_INTERNAL | STREAM_CHANGELOG, changelogs, -1);
    for (int32_t i = 0; i < changelogs; i++) {
        struct sim_changelog *changelog = &sim->changelogs[sim->changelog_count++];
        changelog->id = (struct shard_id){first.v + (uint32_t)i};
        changelog->model = log_model_add_shard(sim->model, changelog->id.v, MODEL_CHANGELOG);
        uint32_t ranges = 1U << rng_range(rng, 0, 3);
        for (uint32_t r = 0; r < ranges; r++) {
            sim->parts[sim->part_count++] = (struct sim_part_range){
                .changelog = i,
                .lo = r * (MODEL_GROUPS / ranges),
                .hi = (r + 1) * (MODEL_GROUPS / ranges),
                .owner = -1,
            };
        }
    }
}

static void make_actors(struct sim *sim)
{
    struct rng *rng = &sim->rng;
    int ins = 0;
    while (ins < sim->shard_count && sim->shards[ins].trimmed) {
        ins++;
    }
    int64_t producers = rng_range(rng, 1, 6);
    for (int64_t i = 0; i < producers; i++) {
        struct actor *actor = actor_new(sim, ACTOR_PRODUCER, "producer");
        actor->shard = (int)rng_range(rng, 0, ins - 1);
        actor->idempotent = rng_chance(rng, 0.7);
    }
    int64_t owners = rng_range(rng, 1, 4);
    int first_owner = sim->actor_count;
    for (int64_t i = 0; i < owners; i++) {
        actor_new(sim, ACTOR_OWNER, "owner");
    }
    for (int p = 0; p < sim->part_count; p++) {
        sim->parts[p].owner = first_owner + (int)rng_range(rng, 0, owners - 1);
        sim->parts[p].epoch = 1;
        sim->parts[p].epoch_asked = 1;
    }
    actor_new(sim, ACTOR_CONTROLLER, "controller");
    for (int64_t i = rng_range(rng, 1, 3); i > 0; i--) {
        actor_new(sim, ACTOR_READER, "reader");
    }
    for (int64_t i = rng_range(rng, 1, 2); i > 0; i--) {
        actor_new(sim, ACTOR_RESTORER, "restorer");
    }
    actor_new(sim, ACTOR_TRIMMER, "trimmer");
    actor_new(sim, ACTOR_CONTROL, "control");
    actor_new(sim, ACTOR_CONTROL, "control");
    actor_new(sim, ACTOR_WEATHER, "weather");
}

/* ---- opening and crashing */

static void add_loops(struct sim *sim)
{
    struct log_loop loops[LOG_LOOPS_MAX];
    sim->loop_count = log_loops(sim->log, loops);
    for (int i = 0; i < sim->loop_count; i++) {
        sim->loops[i] =
            world_add(sim->world, loops[i].name, loops[i].step, loops[i].ctx, loops[i].waker);
    }
}

static void remove_loops(struct sim *sim)
{
    for (int i = 0; i < sim->loop_count; i++) {
        world_remove(sim->world, sim->loops[i]);
    }
    sim->loop_count = 0;
}

/* Opens the log; with `calm` unset the power may fail once in the middle of it. */
static void open_log(struct sim *sim, bool calm)
{
    if (!sim->embedded) {
        add_loops(sim);
        return;
    }
    struct err_info info = {0};
    bool fails = !calm && rng_chance(&sim->rng, 0.3);
    if (fails) {
        disk_stop_after(sim->disk, rng_range(&sim->rng, 0, 30));
    }
    if (!calm) {
        sim_crash_draw(&sim->crash);
    }
    enum err err = sim_open_embedded(sim, &info);
    bool struck = sim_crash_hold(&sim->crash);
    if (struck && err == ERR_OK) {
        log_close(sim->log); /* struck at its end: it opened on a disk that is gone */
    }
    if (struck || (err != ERR_OK && fails)) {
        disk_power_cut(sim->disk);
        sim->crashes++;
        err = sim_open_embedded(sim, &info);
    }
    disk_stop_after(sim->disk, -1);
    if (err == ERR_CORRUPT && sim->rotten) {
        sim->log = NULL; /* refuses all of it: as it should where the journal is hit */
        return;
    }
    if (err != ERR_OK) {
        sim->log = NULL;
        log_model_fail(sim->model, "the log does not open: %s: %s", err_name(err), info.text);
        return;
    }
    add_loops(sim);
}

static void wake_all(struct sim *sim)
{
    for (int i = 0; i < sim->actor_count; i++) {
        waker_wake(&sim->actors[i].waker);
    }
}

static bool all_idle(void *ctx)
{
    const struct sim *sim = ctx;
    for (int i = 0; i < sim->actor_count; i++) {
        if (sim->actors[i].busy || sim->actors[i].again) {
            return log_model_problem(sim->model) != NULL || sim->died;
        }
    }
    return true;
}

/* Lets what is under way come to its end. The disk has room again. */
static void drain(struct sim *sim)
{
    disk_set_size(sim->disk, INT64_MAX / 4);
    sim->paused = true;
    wake_all(sim);
    int64_t until_ns = world_now_ns(sim->world) + (int64_t)DRAIN_MS * MS;
    enum world_end end = world_run(sim->world, all_idle, sim, until_ns, STEPS_MAX);
    for (int i = 0; i < sim->actor_count && end != WORLD_DONE; i++) {
        const struct actor *actor = &sim->actors[i];
        if (actor->busy || actor->again) {
            log_model_fail(sim->model, "%s waits for op %d without end (%s)", actor->name,
                           actor->op.kind, err_name(actor->op.err));
        }
    }
}

static bool disk_idle(void *ctx)
{
    return disk_in_flight(ctx) == 0;
}

/* The loops are stopped, as threads are, between two steps: what they have submitted still comes to its end. */
static void stop_loops(struct sim *sim)
{
    remove_loops(sim);
    int64_t until_ns = world_now_ns(sim->world) + (int64_t)DRAIN_MS * MS;
    CHECK(world_run(sim->world, disk_idle, sim->disk, until_ns, STEPS_MAX) == WORLD_DONE);
}

enum crash { CRASH_POWER, CRASH_KILL, CRASH_NONE };

/* Ends a life: the log object is gone, the disk is as the crash left it. */
static void end_life(struct sim *sim, enum crash crash)
{
    if (crash == CRASH_NONE && !sim->died) {
        drain(sim);
    }
    if (crash == CRASH_POWER) {
        disk_power_cut(sim->disk);
    } else if (crash == CRASH_KILL) {
        disk_process_kill(sim->disk);
    } else {
        stop_loops(sim);
    }
    remove_loops(sim);
    for (int i = 0; i < sim->actor_count; i++) {
        actor_crash(&sim->actors[i]);
    }
    log_model_crash(sim->model);
    sim->crashes += crash != CRASH_NONE;
    if (!sim->embedded) {
        log_memory_drop_clients(sim->log);
        return;
    }
    log_close(sim->log);
    sim->log = NULL;
    if (crash == CRASH_NONE) {
        disk_process_kill(sim->disk); /* clean or not: nothing of it is left running */
    }
}

/* ---- lives */

static bool life_over(void *ctx)
{
    const struct sim *sim = ctx;
    return sim->died || sim->crash.struck || log_model_problem(sim->model) != NULL;
}

/* True: it ended at a crash point. */
static bool live(struct sim *sim, int64_t span_ns)
{
    sim->paused = false;
    wake_all(sim);
    if (sim->embedded) {
        sim_crash_draw(&sim->crash);
    }
    enum world_end end =
        world_run(sim->world, life_over, sim, world_now_ns(sim->world) + span_ns, STEPS_MAX);
    if (end == WORLD_STEPS) {
        log_model_fail(sim->model, "livelock: %d steps, the last one of %s", STEPS_MAX,
                       world_last(sim->world));
    } else if (end == WORLD_QUIET) {
        log_model_fail(sim->model, "everything sleeps for ever");
    }
    return sim_crash_hold(&sim->crash);
}

/* After a crash: opens, reads, judges, revives. */
static void reopen(struct sim *sim, bool calm)
{
    sim->paused = true;
    sim->died = false;
    sim->full_before = false;
    sim->fault_before = false;
    disk_set_size(sim->disk, INT64_MAX / 4);
    open_log(sim, calm);
    if (log_model_problem(sim->model) != NULL) {
        return;
    }
    sim_scan(sim);
    sim_restore_all(sim);
    for (int i = 0; i < sim->actor_count && log_model_problem(sim->model) == NULL; i++) {
        actor_revive(&sim->actors[i]);
    }
}

/* Bytes rot while the log is closed: what it then gives is right, or it says CORRUPT (L7). */
static void rot(struct sim *sim)
{
    end_life(sim, CRASH_NONE);
    sim_rot(sim);
    open_log(sim, true);
    if (sim->log != NULL && log_model_problem(sim->model) == NULL) {
        sim_scan(sim);
        sim_restore_all(sim);
    }
}

static void run_lives(struct sim *sim)
{
    int64_t lives = rng_range(&sim->rng, 2, LIVES_MAX);
    for (int64_t i = 0; i < lives && log_model_problem(sim->model) == NULL; i++) {
        int64_t span_ms = rng_range(&sim->rng, 5, 400);
        span_ms *= rng_chance(&sim->crash.rng, 0.15) ? 8 : 1; /* so that retention comes round */
        bool struck = live(sim, span_ms * MS);
        if (log_model_problem(sim->model) != NULL) {
            return;
        }
        end_life(sim, struck                        ? CRASH_KILL
                      : rng_chance(&sim->rng, 0.65) ? CRASH_POWER
                      : rng_chance(&sim->rng, 0.6)  ? CRASH_KILL
                                                    : CRASH_NONE);
        if (log_model_problem(sim->model) == NULL) {
            reopen(sim, false);
        }
    }
    if (log_model_problem(sim->model) == NULL) {
        end_life(sim, CRASH_NONE);
    }
    if (log_model_problem(sim->model) == NULL) {
        reopen(sim, true);
    }
    if (log_model_problem(sim->model) == NULL && sim->embedded && rng_chance(&sim->rng, 0.4)) {
        rot(sim);
    }
}

static struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = MEM_NEW(struct sim);
    sim->seed = options->seed;
    rng_init(&sim->rng, options->seed * 2 + 1);
    bool embedded = rng_chance(&sim->rng, 0.75);
    sim->embedded = options->engine != NULL ? strcmp(options->engine, "embedded") == 0 : embedded;
    sim->world = world_new(&(struct world_options){
        .seed = options->seed, .stall_probability = rng_chance(&sim->rng, 0.5) ? 0.01 : 0});
    sim->disk = disk_new(&(struct disk_options){
        .clock = world_clock(sim->world),
        .seed = options->seed,
        .sync_delay_ns = rng_range(&sim->rng, 0, 3 * MS),
        .other_delay_ns = rng_range(&sim->rng, 0, MS / 5),
    });
    sim_crash_init(&sim->crash, sim->disk, options->seed);
    sim->model = log_model_new(sim->embedded);
    waker_init(&sim->waker);
    mailbox_init(&sim->done, &sim->waker);
    world_add(sim->world, "scene", idle_step, sim, &sim->waker);
    world_add(sim->world, "disk", disk_step, sim->disk, disk_waker(sim->disk));
    if (!sim->embedded) {
        sim->log = log_memory_new(&(struct log_memory_options){
            .clock = world_clock(sim->world),
            .seed = options->seed,
            .commit_delay_ns = rng_range(&sim->rng, 0, 5) * MS,
            .again_probability = 0.1 * rng_unit(&sim->rng),
            .lost_reply_probability = rng_unit(&sim->rng),
        });
    }
    return sim;
}

static void sim_free(struct sim *sim)
{
    for (int i = 0; i < sim->actor_count; i++) {
        if (sim->actors[i].reader != NULL) {
            log_reader_free(sim->log, sim->actors[i].reader);
        }
    }
    sim_crash_release(&sim->crash);
    disk_process_kill(sim->disk); /* while the ops in flight are still in memory */
    log_close(sim->log);
    for (int i = 0; i < sim->actor_count; i++) {
        actor_free(&sim->actors[i]);
    }
    log_model_free(sim->model);
    disk_free(sim->disk);
    world_free(sim->world);
    mem_free(sim);
}

void sim_log_run(const struct sim_options *options, struct sim_result *ret_result)
{
    struct sim *sim = sim_new(options);
    open_log(sim, true);
    if (log_model_problem(sim->model) == NULL) {
        make_streams(sim);
        make_actors(sim);
        run_lives(sim);
    }
    const char *problem = log_model_problem(sim->model);
    struct log_tally tally = log_model_tally(sim->model);
    ret_result->passed = problem == NULL;
    if (problem != NULL) {
        IGNORE_RESULT(snprintf(
            ret_result->text, sizeof(ret_result->text), "%s log, life %lld, at %.3f ms: %s",
            sim->embedded ? "embedded" : "memory", (long long)log_model_life(sim->model),
            (double)world_now_ns(sim->world) / MS, problem)); /* fits */
    } else {
        IGNORE_RESULT(snprintf(ret_result->text, sizeof(ret_result->text),
                               "%s log, %d crashes, %lld writes: %lld acknowledged, %lld there "
                               "without, %lld without effect, %lld disk faults",
                               sim->embedded ? "embedded" : "memory", sim->crashes,
                               (long long)tally.attempts, (long long)tally.acked,
                               (long long)tally.there, (long long)tally.voided,
                               (long long)disk_faults_struck(sim->disk))); /* fits */
    }
    sim_free(sim);
}
