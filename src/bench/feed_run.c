// SPDX-License-Identifier: Apache-2.0
#include "bench/feed_run.h"

#include "base/check.h"
#include "base/mem.h"

enum { FEED_RUN_ARENA_BYTES = 1 << 30 };

/* --- making --- */

static enum err open_chain(const struct feed_run *run, struct feed_stage *stage,
                           struct err_info *info)
{
    for (int32_t i = 0; i < stage->plan->lookup_count; i++) {
        stage->tables[i] = run->options.table;
    }
    stage->state = state_new(0, KEY_GROUP_COUNT);
    state_set_tracking(stage->state, false);
    stage->watermark_ms = INT64_MIN;
    struct chain_options options = {
        .plan = stage->plan, .state = stage->state, .lookup_tables = stage->tables};
    return chain_new(&options, &stage->chain, info);
}

static void close_chain(struct feed_stage *stage)
{
    chain_free(stage->chain);
    state_free(stage->state);
    stage->chain = NULL;
    stage->state = NULL;
}

static enum err open_stage(struct feed_run *run, const struct stage_plan *plan,
                           struct err_info *info)
{
    struct feed_stage *stage = &run->stages[run->stage_count++];
    stage->plan = plan;
    arena_init(&stage->outputs, FEED_RUN_ARENA_BYTES);
    stage->out = MEM_NEW(struct chain_out);
    chain_out_init(stage->out, &stage->outputs);
    feed_init(&stage->internal, 0);
    return open_chain(run, stage, info);
}

enum err feed_run_open(struct feed_run *run, const struct feed_run_options *options,
                       struct err_info *info)
{
    *run = (struct feed_run){.options = *options, .largest_ms = INT64_MIN};
    arena_init(&run->config_arena, FEED_RUN_ARENA_BYTES);
    arena_init(&run->rows, FEED_RUN_ARENA_BYTES);
    const char *text = arena_printf(&run->config_arena,
                                    "version: 1\nstreams: {in: {shards: 1}, out: {shards: 1}}\n"
                                    "pipelines:\n  p:\n    stages:\n%s",
                                    options->stages);
    enum err err = config_load(&run->config_arena, "bench.yaml", str_of(text), &run->config, info);
    if (err != ERR_OK) {
        return err;
    }
    const struct pipeline_plan *plan = run->config->pipelines[0];
    CHECK(plan->stage_count <= FEED_STAGES_MAX);
    for (int32_t i = 0; i < plan->stage_count && err == ERR_OK; i++) {
        err = open_stage(run, plan->stages[i], info);
    }
    return err;
}

enum err feed_run_open_chain(struct feed_run *run, const char *chain_yaml, struct err_info *info)
{
    struct arena arena;
    arena_init(&arena, FEED_RUN_ARENA_BYTES);
    const char *stages =
        arena_printf(&arena, "      - {name: s, from: in, chain: %s, to: out}\n", chain_yaml);
    enum err err = feed_run_open(run, &(struct feed_run_options){.stages = stages}, info);
    run->options.stages = NULL; // the caller's only as long as this call
    arena_release(&arena);
    return err;
}

void feed_run_close(struct feed_run *run)
{
    if (run->config_arena.limit_bytes == 0) {
        return; // never opened
    }
    for (int32_t i = 0; i < run->stage_count; i++) {
        struct feed_stage *stage = &run->stages[i];
        close_chain(stage);
        feed_release(&stage->internal);
        mem_free(stage->out);
        arena_release(&stage->outputs);
    }
    arena_release(&run->config_arena);
    arena_release(&run->rows);
    *run = (struct feed_run){.steps = 0};
}

void feed_run_restart(struct feed_run *run)
{
    for (int32_t i = 0; i < run->stage_count; i++) {
        close_chain(&run->stages[i]);
        CHECK(open_chain(run, &run->stages[i], NULL) == ERR_OK); // it was once
    }
    run->largest_ms = INT64_MIN;
    run->steps = 0;
}

/* --- running --- */

static void take_outputs(struct feed_run *run, struct feed_stage *stage)
{
    for (int32_t i = 0; i < stage->out->count; i++) {
        const struct output *output = &stage->out->outputs[i];
        CHECK(output->kind == OUTPUT_MAIN); // benchmarks have neither bad nor late records
        if (stage->plan->key_by) {
            for (int32_t row = 0; row < output->count; row++) {
                feed_add(&stage->internal, output->key[row], output->value[row],
                         output->time_ms[row]);
            }
            continue;
        }
        run->output_rows += output->count;
        if (run->options.take != NULL) {
            run->options.take(run->options.take_ctx, output);
        }
    }
    chain_out_reset(stage->out);
}

static void advance(struct feed_run *run, struct feed_stage *stage, int64_t watermark_ms)
{
    if (watermark_ms <= stage->watermark_ms) {
        return;
    }
    bool more = true;
    while (more) {
        more = chain_advance(stage->chain, watermark_ms, stage->out);
        take_outputs(run, stage);
    }
    stage->watermark_ms = watermark_ms;
}

/* Everything that `from` has written, into input `input` of `stage`. */
static void take_over(struct feed_run *run, struct feed_stage *stage, int32_t input,
                      struct feed_stage *from)
{
    struct feed *internal = &from->internal;
    feed_flush(internal);
    while (internal->at < internal->len) {
        struct batch *batch;
        feed_begin(internal);
        arena_reset(&run->rows);
        while ((batch = feed_next(internal, &run->rows)) != NULL) {
            CHECK(chain_process(stage->chain, input, batch, stage->out, NULL) == ERR_OK);
            take_outputs(run, stage);
            arena_reset(&run->rows);
        }
    }
    internal->at = internal->len = 0;
}

/* Stages stand behind those that they read. */
static void hand_over(struct feed_run *run)
{
    for (int32_t i = 0; i < run->stage_count; i++) {
        struct feed_stage *stage = &run->stages[i];
        if (stage->plan->inputs[0].kind == STAGE_SOURCE_STREAM) {
            continue;
        }
        int64_t watermark_ms = INT64_MAX;
        for (int32_t k = 0; k < stage->plan->input_count; k++) {
            struct feed_stage *from = &run->stages[stage->plan->inputs[k].stage];
            take_over(run, stage, k, from);
            watermark_ms = from->watermark_ms < watermark_ms ? from->watermark_ms : watermark_ms;
        }
        advance(run, stage, watermark_ms);
    }
}

static void advance_sources(struct feed_run *run, int64_t watermark_ms)
{
    for (int32_t i = 0; i < run->stage_count; i++) {
        if (run->stages[i].plan->inputs[0].kind == STAGE_SOURCE_STREAM) {
            advance(run, &run->stages[i], watermark_ms);
        }
    }
}

void feed_run_finish(struct feed_run *run)
{
    advance_sources(run, INT64_MAX);
    hand_over(run);
}

/* The same rows for one more reader: what chains change is its own. */
static struct batch *batch_again(const struct batch *batch)
{
    struct batch *again = ARENA_NEW(batch->arena, struct batch);
    *again = *batch;
    again->sel = arena_new_raw(batch->arena, batch->count, (ptrdiff_t)sizeof(int32_t));
    for (int32_t i = 0; i < batch->count; i++) {
        again->sel[i] = i;
    }
    return again;
}

/* Every stage that reads the feed has the rows as they were read. */
static void process_sources(struct feed_run *run, struct batch *batch)
{
    bool used = false;
    for (int32_t i = 0; i < run->stage_count; i++) {
        struct feed_stage *stage = &run->stages[i];
        if (stage->plan->inputs[0].kind != STAGE_SOURCE_STREAM) {
            continue;
        }
        struct batch *own = used ? batch_again(batch) : batch;
        struct batch keep = *batch;
        CHECK(chain_process(stage->chain, 0, own, stage->out, NULL) == ERR_OK);
        take_outputs(run, stage);
        *batch = keep;
        used = true;
    }
}

int64_t feed_run_step(struct feed_run *run, struct feed *feed)
{
    int64_t records = 0;
    if (run->options.restarts && feed->at == feed->len) {
        feed_run_finish(run);
        feed_run_restart(run);
    }
    feed_begin(feed);
    int64_t largest_ms = feed_largest_ms(feed);
    run->largest_ms = largest_ms > run->largest_ms ? largest_ms : run->largest_ms;
    for (;;) {
        arena_reset(&run->rows);
        struct batch *batch = feed_next(feed, &run->rows);
        if (batch == NULL) {
            break;
        }
        records += batch->count;
        process_sources(run, batch);
    }
    advance_sources(run, run->largest_ms);
    if (++run->steps % FEED_HANDOVER_STEPS == 0) {
        hand_over(run);
    }
    return records;
}
