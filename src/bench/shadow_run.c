// SPDX-License-Identifier: Apache-2.0
#include "bench/shadow_run.h"

#include "base/check.h"
#include "base/real/clock_real.h"

enum { SHADOW_RUN_PARTITIONS = 8, SHADOW_RUN_PAUSES = 10, SHADOW_RUN_LOOK_NS = 500000 };

void shadow_run_init(struct shadow_run *run)
{
    *run = (struct shadow_run){.appended = 0};
    waker_init(&run->waker);
    mailbox_init(&run->box, &run->waker);
}

void shadow_run_release(struct shadow_run *run)
{
    feed_release(&run->feed);
}

static void wait_for(struct shadow_run *run)
{
    while (mailbox_take_all(&run->box) == NULL) {
        engine_pass(&run->engine);
    }
}

enum err shadow_run_open(struct shadow_run *run, const struct engine_options *options,
                         const char *yaml, struct err_info *info)
{
    enum err err = engine_open(options, &run->engine, info);
    run->engine.step_lane = run->step_lane;
    err = err == ERR_OK ? engine_start(&run->engine, yaml, info) : err;
    if (err != ERR_OK) {
        return err;
    }
    run->in = stage_shard(node_runtime_stream(run->engine.runtime, STR("in")), 0);
    run->out = stage_shard(node_runtime_stream(run->engine.runtime, STR("out")), 0);
    run->appended = 0;
    run->feed.at = 0;
    return ERR_OK;
}

void shadow_run_close(struct shadow_run *run)
{
    engine_close(&run->engine);
}

void shadow_run_look(struct shadow_run *run, struct shadow_run_figures *ret_figures)
{
    static struct partition_report reports[SHADOW_RUN_PARTITIONS];
    struct lane_command command = {.kind = LANE_SNAPSHOT, .reply = &run->box};
    command.u.snapshot.reports = reports;
    command.u.snapshot.cap = SHADOW_RUN_PARTITIONS;
    lane_send(node_runtime_lane(run->engine.runtime, 0), &command);
    wait_for(run);
    struct shadow_run_figures figures = {.lane_cpu_ns = command.u.snapshot.ret_lane.cpu_ns};
    for (int32_t i = 0; i < command.u.snapshot.ret_count; i++) {
        figures.records_in += reports[i].figures.records_in;
        if (reports[i].group_lo == 0) {
            figures.first = reports[i].figures;
        }
    }
    *ret_figures = figures;
}

void shadow_run_look_at_keys(struct shadow_run *run, struct partition_detail *detail)
{
    struct lane_command command = {.kind = LANE_SNAPSHOT, .reply = &run->box};
    command.u.snapshot.detail = detail;
    lane_send(node_runtime_lane(run->engine.runtime, 0), &command);
    wait_for(run);
}

static ptrdiff_t next_batch(struct shadow_run *run, int32_t *ret_records)
{
    struct feed *feed = &run->feed;
    struct record_batch_header header;
    ptrdiff_t total;
    feed->at = feed->at == feed->len ? 0 : feed->at;
    CHECK(record_batch_parse(feed->bytes + feed->at, feed->len - feed->at, &header, &total, NULL) ==
          ERR_OK);
    *ret_records = header.record_count;
    return total;
}

int32_t shadow_run_next_records(struct shadow_run *run)
{
    int32_t records = 0;
    IGNORE_RESULT(next_batch(run, &records)); // its bytes
    return records;
}

enum err shadow_run_append(struct shadow_run *run, struct err_info *info)
{
    int32_t records = 0;
    ptrdiff_t total = next_batch(run, &records);
    enum err err =
        engine_append(&run->engine, run->in, run->feed.bytes + run->feed.at, total, info);
    run->appended += records;
    run->feed.at += total;
    return err;
}

void shadow_run_wait_taken(struct shadow_run *run)
{
    struct shadow_run_figures figures = {.records_in = -1};
    while (figures.records_in < run->appended) {
        for (int i = 0; i < SHADOW_RUN_PAUSES; i++) {
            engine_pass(&run->engine);
        }
        shadow_run_look(run, &figures);
    }
}

void shadow_run_wait(struct shadow_run *run)
{
    shadow_run_wait_taken(run);
    while (!node_runtime_quiet(run->engine.runtime)) {
        engine_pass(&run->engine);
    }
}

static enum err tell(struct shadow_run *run, struct shadow_command *command)
{
    command->reply = &run->box;
    shadow_lane_send(node_runtime_shadow_lane(run->engine.runtime), command);
    wait_for(run);
    return command->err;
}

enum err shadow_run_start_shadow(struct shadow_run *run, const struct shadow_spec *spec,
                                 struct err_info *info)
{
    struct shadow_command command = {.kind = SHADOW_OPEN, .u.open = *spec};
    enum err err = tell(run, &command);
    if (err != ERR_OK) {
        *info = command.info;
    }
    return err;
}

void shadow_run_end_shadow(struct shadow_run *run, uint64_t id, struct shadow_measures *measures)
{
    struct shadow_command command = {.kind = SHADOW_CLOSE,
                                     .u.measure = {.id = id, .measures = measures}};
    CHECK(tell(run, &command) == ERR_OK);
}

void shadow_run_measure(struct shadow_run *run, uint64_t id, struct shadow_measures *measures)
{
    struct shadow_command command = {.kind = SHADOW_MEASURE,
                                     .u.measure = {.id = id, .measures = measures}};
    CHECK(tell(run, &command) == ERR_OK);
}

static void tell_one(struct shadow_run *run, enum shadow_command_kind kind, uint64_t id)
{
    struct shadow_command command = {.kind = kind, .u.id = id};
    CHECK(tell(run, &command) == ERR_OK);
}

void shadow_run_pause(struct shadow_run *run, uint64_t id)
{
    tell_one(run, SHADOW_PAUSE, id);
}

void shadow_run_go_on(struct shadow_run *run, uint64_t id, struct shadow_measures *measures)
{
    tell_one(run, SHADOW_RESUME, id);
    do {
        clock_real_sleep(SHADOW_RUN_LOOK_NS);
        shadow_run_measure(run, id, measures);
    } while (measures->state != SHADOW_MEASURING || measures->lag_records > 0);
}
