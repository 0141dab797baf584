// SPDX-License-Identifier: Apache-2.0
// What a shadow costs the live path: blocks with the shadow running and with it paused, in turn, on the whole engine with
// threads. Told are the live lane's CPU time for a record (of the whole step: reading, chain, commit), the 99th percentile of
// a record's way from append to the committed result, and the throughput when there is no core to spare; as medians of the
// pairs' ratios with their intervals, in percent. The live lane has a core of its own, the shadow's thread runs on the other
// one or on the same.
//
// A machine is faster or slower from one second to the next by more than what is looked for, so blocks are short and many,
// and all do the same: a block is the whole feed once, and ends when all of it is committed. A shadow that goes on first
// catches up with what it has missed, outside of any block.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "bench/bench.h"
#include "bench/rows.h"
#include "bench/shadow_run.h"

enum {
    MIRROR_CLICKS = 64 << 10,
    MIRROR_TICK_NS = 5000000,
    MIRROR_BATCHES_A_TICK = 4, // record batches: about a third of the live lane's core
    // What latencies are measured with: half of what the lane can do. At 80 % a moment in which the machine is slower becomes a
    // queue: blocks alike differed by a factor of five, and 96 pairs decided nothing.
    MIRROR_BURST_BATCHES_A_TICK = 5,
    MIRROR_LATENCY_PASSES = 4, // of the feed, a block
    MIRROR_LATENCIES_MAX = 1024,
    MIRROR_RUSH_PASSES = 4,  // of the feed, as fast as it goes
    MIRROR_WARM_PASSES = 20, // until the retention has begun to take away
    // pairs of blocks to one of the pairs asked for, by how much a pair says
    MIRROR_BLOCKS_SOME = 28, // a block's cost differs from the next one's by a tenth
    MIRROR_BLOCKS_SOME_SAME_CORE = 12,
    MIRROR_BLOCKS_ALL = 14,
    MIRROR_BLOCKS_P99 = 14,
    MIRROR_BLOCKS_SPEED = 4,
    MIRROR_PAIRS_MAX = BENCH_PAIRS_MAX,
    MIRROR_NAME_MAX = 96
};

#define MIRROR_COUNT_YAML \
    "version: 1\nstreams: {in: {shards: 1, time: {out_of_order: 1d}, retention: {size: 256MiB}}, " \
    "out: {shards: 1}}\npipelines:\n  p:\n    commit: 20ms\n    memory: 4GiB\n    stages:\n" \
    "      - {name: s, from: in, chain: [{parse: {name: p, format: json, fields: {kind: string, " \
    "user: string, ts: int}}}, {filter: {name: f, where: \"kind == 'view'\"}}, " \
    "{window: {name: w, tumbling: 1d, out: {n: count}}}], to: out}\n"
#define MIRROR_PASS_YAML \
    "version: 1\nstreams: {in: {shards: 1, time: {out_of_order: 1d}, retention: {size: 256MiB}}, " \
    "out: {shards: 1, codec: none, retention: {size: 256MiB}}}\n" \
    "pipelines:\n  p:\n    commit: eager\n    memory: 4GiB\n    stages:\n" \
    "      - {name: s, from: in, chain: [{parse: {name: p, format: json, fields: {user: string, " \
    "ts: int}}}, {map: {name: m, select: [user, ts]}}], to: out}\n"

// Where a record batch's results end, and when it was appended.
struct mark_of_batch {
    int64_t out_end, appended_ns;
};

struct mirror {
    struct shadow_run run;
    enum shadow_transport transport;
    struct shadow_measures measures;
    // latencies: appended by the caller, taken by the sink's loop
    struct waker sink_waker;
    struct loop *sink_loop;
    struct mark_of_batch marks[MIRROR_LATENCIES_MAX];
    _Atomic int32_t marked;
    _Atomic int32_t seen;
    double latency_us[MIRROR_LATENCIES_MAX];
};

struct block {
    double cpu_ns;   // of the live lane, for a record
    double p99_us;   // 0: not measured
    double per_s;    // records, wall time
    double mirrored; // share of the records that the shadow had taken when the live lane had
};

// What is compared: with over without.
enum mirror_what { MIRROR_CPU, MIRROR_P99, MIRROR_SPEED };

struct comparison {
    const char *name;
    enum mirror_what what;
    int32_t percent;
    double bound_percent; // NAN: none
    int32_t passes;       // of the feed, a block
    int32_t batches;      // each tick; 0: as fast as it goes
    int32_t blocks;       // pairs of them, to one of the pairs asked for
};

enum { MIRROR_ID = 1 };

// --- latencies ---

static int64_t sink_step(void *ctx, int64_t now_ns)
{
    struct mirror *m = ctx;
    int64_t end = log_end_offset(m->run.engine.log, m->run.out);
    int32_t marked = atomic_load(&m->marked);
    while (m->seen < marked && m->marks[m->seen].out_end <= end) {
        m->latency_us[m->seen] = (double)(now_ns - m->marks[m->seen].appended_ns) / 1e3;
        m->seen++;
    }
    return CLOCK_NEVER;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double p99_of(double *values, int32_t count)
{
    qsort(values, (size_t)count, sizeof values[0], by_value);
    return values[(int32_t)((double)count * 0.99)];
}

// All of the block's results have been seen.
static double take_p99(struct mirror *m)
{
    while (m->seen < atomic_load(&m->marked)) {
        waker_wake(&m->sink_waker);
        clock_real_sleep(ENGINE_CALL_PAUSE_NS);
    }
    return p99_of(m->latency_us, m->seen);
}

// --- blocks ---

static enum err append(struct mirror *m, struct err_info *info)
{
    int64_t now_ns = clock_now_ns(&m->run.engine.clock);
    int32_t marked = atomic_load(&m->marked);
    if (m->sink_loop != NULL) { // before it is there: its results may be quicker than the answer
        CHECK(marked < MIRROR_LATENCIES_MAX);
        m->marks[marked] = (struct mark_of_batch){
            .out_end = m->run.appended + shadow_run_next_records(&m->run), .appended_ns = now_ns};
        atomic_store(&m->marked, marked + 1);
    }
    return shadow_run_append(&m->run, info);
}

// The feed, over and over: some batches each tick, or as many as go.
static enum err feed_all(struct mirror *m, const struct comparison *c, struct err_info *info)
{
    int64_t next_ns = clock_now_ns(&m->run.engine.clock);
    int64_t batches = (int64_t)c->passes * MIRROR_CLICKS / FEED_BATCH_RECORDS;
    for (int64_t i = 1; i <= batches; i++) {
        enum err err = append(m, info);
        if (err != ERR_OK) {
            return err;
        }
        if (c->batches > 0 && i % c->batches == 0) {
            next_ns += MIRROR_TICK_NS;
            int64_t left = next_ns - clock_now_ns(&m->run.engine.clock);
            clock_real_sleep(left > 0 ? left : 0);
        }
    }
    return ERR_OK;
}

// The shadow has been going on, or is paused, since before.
static enum err run_block(struct mirror *m, const struct comparison *c, struct block *ret_block,
                          struct err_info *info)
{
    struct shadow_run_figures before, after;
    m->seen = 0;
    atomic_store(&m->marked, 0);
    shadow_run_look(&m->run, &before);
    int64_t begun_ns = clock_now_ns(&m->run.engine.clock);
    enum err err = feed_all(m, c, info);
    shadow_run_wait(&m->run);
    int64_t took_ns = clock_now_ns(&m->run.engine.clock) - begun_ns;
    shadow_run_look(&m->run, &after);
    double records = (double)(after.records_in - before.records_in);
    *ret_block =
        (struct block){.cpu_ns = (double)(after.lane_cpu_ns - before.lane_cpu_ns) / records,
                       .per_s = records * 1e9 / (double)took_ns,
                       .p99_us = m->sink_loop != NULL ? take_p99(m) : 0};
    return err;
}

static enum err run_with(struct mirror *m, const struct comparison *c, struct block *ret_block,
                         struct err_info *info)
{
    shadow_run_go_on(&m->run, MIRROR_ID, &m->measures);
    int64_t from = m->measures.next_offset[0];
    int64_t begin = m->run.appended;
    enum err err = run_block(m, c, ret_block, info);
    shadow_run_measure(&m->run, MIRROR_ID, &m->measures);
    ret_block->mirrored =
        (double)(m->measures.next_offset[0] - from) / (double)(m->run.appended - begin);
    shadow_run_pause(&m->run, MIRROR_ID);
    return err;
}

static enum err run_pair(struct mirror *m, const struct comparison *c, bool with_first,
                         struct block *with, struct block *without, struct err_info *info)
{
    enum err err = with_first ? run_with(m, c, with, info) : run_block(m, c, without, info);
    if (err != ERR_OK) {
        return err;
    }
    return with_first ? run_block(m, c, without, info) : run_with(m, c, with, info);
}

static enum err shadow_on(struct mirror *m, int32_t percent, struct err_info *info)
{
    struct shadow_spec spec = {
        .id = MIRROR_ID,
        .group_hi = KEY_GROUP_COUNT,
        .sample = {.below = (uint32_t)((int64_t)SAMPLE_BUCKETS * percent / 100),
                   .requested = percent / 100.0},
        .transport = m->transport,
        .warm_batches = 1,
        .warm_until = {0, 0},
    };
    return shadow_run_start_shadow(&m->run, &spec, info);
}

// --- comparing ---

static double of(const struct block *block, enum mirror_what what)
{
    return what == MIRROR_CPU ? block->cpu_ns : what == MIRROR_P99 ? block->p99_us : block->per_s;
}

static const char *named(const char *text, const char *more)
{
    static char names[BENCH_FIGURES_MAX * 4][MIRROR_NAME_MAX];
    static int used;
    char *name = names[used++ % COUNT_OF(names)];
    IGNORE_RESULT(snprintf(name, MIRROR_NAME_MAX, "%s%s", text, more)); // may be cut
    return name;
}

struct pairs {
    double ratios[MIRROR_PAIRS_MAX], without[MIRROR_PAIRS_MAX];
    double mirrored; // mean
    int32_t count;
};

static void tell_pairs(const struct comparison *c, const struct pairs *pairs, uint64_t seed,
                       struct bench_result *result)
{
    static const char *const units[] = {"ns/record", "us", "records/s"};
    double median, low, high;
    bench_interval(pairs->ratios, pairs->count, seed, &median, &low, &high);
    double sign = c->what == MIRROR_SPEED ? -1 : 1; // a loss of speed is told as a cost
    double lowest = sign > 0 ? low : high, highest = sign > 0 ? high : low;
    bench_add_interval(result, &(struct bench_figure){.name = named(c->name, ": cost"),
                                                      .unit = "%",
                                                      .value = sign * (median - 1) * 100,
                                                      .low = sign * (lowest - 1) * 100,
                                                      .high = sign * (highest - 1) * 100,
                                                      .bound = c->bound_percent});
    bench_interval(pairs->without, pairs->count, seed, &median, &low, &high);
    bench_add_figure(result, named(c->name, ": without"), units[c->what], median, NAN);
    bench_add_figure(result, named(c->name, ": mirrored"), "%", pairs->mirrored * 100, NAN);
}

static enum err compare(struct mirror *m, const struct bench_options *options,
                        const struct comparison *c, struct bench_result *result,
                        struct err_info *info)
{
    struct pairs *pairs = MEM_NEW(struct pairs);
    int32_t wanted = options->pairs * c->blocks;
    wanted = wanted < MIRROR_PAIRS_MAX ? wanted : MIRROR_PAIRS_MAX;
    struct block with = {0}, without = {0};
    struct comparison warm = {.what = c->what, .passes = MIRROR_LATENCY_PASSES};
    enum err err = ERR_OK;
    for (int i = 0; i < MIRROR_WARM_PASSES / MIRROR_LATENCY_PASSES && err == ERR_OK; i++) {
        err = run_block(m, &warm, &without, info);
    }
    err = err == ERR_OK ? shadow_on(m, c->percent, info) : err;
    err = err == ERR_OK ? run_block(m, c, &with, info) : err; // warms the shadow
    for (; pairs->count < wanted && err == ERR_OK; pairs->count++) {
        err = run_pair(m, c, pairs->count % 2 == 0, &with, &without, info);
        pairs->ratios[pairs->count] = of(&with, c->what) / of(&without, c->what);
        pairs->without[pairs->count] = of(&without, c->what);
        pairs->mirrored += with.mirrored / wanted;
    }
    if (err == ERR_OK) {
        shadow_run_end_shadow(&m->run, MIRROR_ID, &m->measures);
        tell_pairs(c, pairs, options->seed, result);
    }
    mem_free(pairs);
    return err;
}

// --- settings ---

static enum err mirror_open(struct mirror *m, const char *yaml, int shadow_core, bool one_core,
                            struct err_info *info)
{
    struct engine_options options = {.sync = LOG_UNSYNCED,
                                     .threads = true,
                                     .shadows = true,
                                     .lane_core = 1,
                                     .shadow_core = shadow_core,
                                     .other_core = one_core ? 1 : 2};
    return shadow_run_open(&m->run, &options, yaml, info);
}

static void mirror_close(struct mirror *m)
{
    if (m->sink_loop != NULL) {
        log_unwatch(m->run.engine.log, m->run.out, &m->sink_waker);
        loop_stop(m->sink_loop);
        m->sink_loop = NULL;
    }
    shadow_run_close(&m->run);
}

static enum err measure_cpu(struct mirror *m, const struct bench_options *options, bool same_core,
                            struct bench_result *result, struct err_info *info)
{
    struct comparison some = {.name = same_core ? "CPU, 10 %, same core" : "CPU, 10 %, other core",
                              .what = MIRROR_CPU,
                              .percent = 10,
                              .bound_percent = 1,
                              .passes = 1,
                              .batches = MIRROR_BATCHES_A_TICK,
                              .blocks =
                                  same_core ? MIRROR_BLOCKS_SOME_SAME_CORE : MIRROR_BLOCKS_SOME};
    struct comparison all = {.name = same_core ? "CPU, 100 %, same core" : "CPU, 100 %, other core",
                             .what = MIRROR_CPU,
                             .percent = 100,
                             .bound_percent = 3,
                             .passes = 1,
                             .batches = MIRROR_BATCHES_A_TICK,
                             .blocks = MIRROR_BLOCKS_ALL};
    enum err err = mirror_open(m, MIRROR_COUNT_YAML, same_core ? 1 : 2, false, info);
    err = err == ERR_OK ? compare(m, options, &some, result, info) : err;
    err = err == ERR_OK ? compare(m, options, &all, result, info) : err;
    mirror_close(m);
    return err;
}

static enum err measure_p99(struct mirror *m, const struct bench_options *options,
                            struct bench_result *result, struct err_info *info)
{
    struct comparison c = {.name = "p99, 10 %",
                           .what = MIRROR_P99,
                           .percent = 10,
                           .bound_percent = 10,
                           .passes = MIRROR_LATENCY_PASSES,
                           .batches = MIRROR_BURST_BATCHES_A_TICK,
                           .blocks = MIRROR_BLOCKS_P99};
    enum err err = mirror_open(m, MIRROR_PASS_YAML, 2, false, info);
    if (err == ERR_OK) {
        waker_init(&m->sink_waker);
        err = log_watch(m->run.engine.log, m->run.out, &m->sink_waker);
    }
    if (err == ERR_OK) {
        m->sink_loop = loop_start(&(struct loop_options){.name = "sink",
                                                         .clock = &m->run.engine.clock,
                                                         .waker = &m->sink_waker,
                                                         .step = sink_step,
                                                         .ctx = m,
                                                         .cpu = -1});
        err = compare(m, options, &c, result, info);
    }
    mirror_close(m);
    return err;
}

static enum err measure_one_core(struct mirror *m, const struct bench_options *options,
                                 struct bench_result *result, struct err_info *info)
{
    struct comparison c = {.name = "speed, one core for all, 100 %",
                           .what = MIRROR_SPEED,
                           .percent = 100,
                           .bound_percent = 5,
                           .passes = MIRROR_RUSH_PASSES,
                           .blocks = MIRROR_BLOCKS_SPEED};
    enum err err = mirror_open(m, MIRROR_COUNT_YAML, 1, true, info);
    err = err == ERR_OK ? compare(m, options, &c, result, info) : err;
    mirror_close(m);
    return err;
}

static enum err mirror_measure(const struct bench_options *options, struct bench_result *result,
                               enum shadow_transport transport, struct err_info *info)
{
    struct mirror *m = MEM_NEW(struct mirror);
    m->transport = transport;
    shadow_run_init(&m->run);
    feed_init(&m->run.feed, 0);
    feed_add_clicks(&m->run.feed, options->seed, MIRROR_CLICKS);
    enum err err = measure_cpu(m, options, false, result, info);
    err = err == ERR_OK ? measure_cpu(m, options, true, result, info) : err;
    err = err == ERR_OK ? measure_p99(m, options, result, info) : err;
    err = err == ERR_OK ? measure_one_core(m, options, result, info) : err;
    shadow_run_release(&m->run);
    mem_free(m);
    return err;
}

static enum err mirror_view(const struct bench_options *options, struct bench_result *result,
                            struct err_info *info)
{
    return mirror_measure(options, result, SHADOW_VIEW, info);
}

static enum err mirror_queue(const struct bench_options *options, struct bench_result *result,
                             struct err_info *info)
{
    return mirror_measure(options, result, SHADOW_QUEUE, info);
}

const struct bench_row bench_mirror_view = {
    .name = "mirror_view",
    .engine = "what a shadow costs the live path, by a second cursor on the log",
    .only_named = true,
    .measure = mirror_view,
};

const struct bench_row bench_mirror_queue = {
    .name = "mirror_queue",
    .engine = "what a shadow costs the live path, by a queue of its own",
    .only_named = true,
    .measure = mirror_queue,
};
