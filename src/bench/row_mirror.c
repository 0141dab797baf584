// SPDX-License-Identifier: Apache-2.0
// What a shadow costs the live path: slices with a shadow and without one, in turn, on the whole engine with threads. Told
// are the live lane's CPU time for a record (of the whole step: reading, chain, commit), the 99th percentile of a record's
// way from append to the committed result, and the throughput when there is no core to spare; as medians of the pairs'
// ratios, in percent. The live lane has a core of its own, the shadow's thread runs on the other one or on the same.

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
    MIRROR_TICKS = 60, // of a slice: 0.3 s
    MIRROR_BATCHES_A_TICK =
        10, // record batches of the feed: about a quarter of the live lane's core
    MIRROR_LATENCIES_MAX = MIRROR_TICKS * MIRROR_BATCHES_A_TICK,
    MIRROR_RUSH_PASSES = 8, // of the feed, as fast as it goes
    MIRROR_PAIRS_MAX = 40,
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
    uint64_t seed;
};

struct slice {
    double cpu_ns;   // of the live lane, for a record
    double p99_us;   // 0: not measured
    double per_s;    // records, wall time
    double mirrored; // share of the records that the shadow had taken
};

// --- the shadow ---

static enum err shadow_on(struct mirror *m, int32_t percent, struct err_info *info)
{
    struct shadow_spec spec = {
        .id = 1,
        .group_hi = KEY_GROUP_COUNT,
        .sample = {.below = (uint32_t)((int64_t)SAMPLE_BUCKETS * percent / 100),
                   .requested = percent / 100.0},
        .transport = m->transport,
        .warm_batches = 1,
        .warm_until = {0, 0},
    };
    return shadow_run_start_shadow(&m->run, &spec, info);
}

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

// --- slices ---

static enum err append(struct mirror *m, bool timed, struct err_info *info)
{
    int64_t now_ns = clock_now_ns(&m->run.engine.clock);
    int32_t marked = atomic_load(&m->marked);
    if (timed) { // before it is there: its results may be quicker than the answer
        m->marks[marked] = (struct mark_of_batch){
            .out_end = m->run.appended + shadow_run_next_records(&m->run), .appended_ns = now_ns};
        atomic_store(&m->marked, marked + 1);
    }
    return shadow_run_append(&m->run, info);
}

// Records at an even pace.
static enum err paced(struct mirror *m, struct err_info *info)
{
    bool timed = m->sink_loop != NULL;
    int64_t next_ns = clock_now_ns(&m->run.engine.clock);
    for (int i = 0; i < MIRROR_TICKS; i++) {
        for (int k = 0; k < MIRROR_BATCHES_A_TICK; k++) {
            enum err err = append(m, timed, info);
            if (err != ERR_OK) {
                return err;
            }
        }
        next_ns += MIRROR_TICK_NS;
        int64_t left = next_ns - clock_now_ns(&m->run.engine.clock);
        clock_real_sleep(left > 0 ? left : 0);
    }
    return ERR_OK;
}

// As many as go.
static enum err rush(struct mirror *m, struct err_info *info)
{
    enum err err = ERR_OK;
    for (int i = 0; i < MIRROR_RUSH_PASSES && err == ERR_OK; i++) {
        m->run.feed.at = 0;
        do {
            err = append(m, false, info);
        } while (m->run.feed.at < m->run.feed.len && err == ERR_OK);
    }
    return err;
}

static enum err run_slice(struct mirror *m, enum err (*feed)(struct mirror *, struct err_info *),
                          int32_t percent, struct slice *ret_slice, struct err_info *info)
{
    struct shadow_run_figures before, after;
    enum err err = percent > 0 ? shadow_on(m, percent, info) : ERR_OK;
    if (err != ERR_OK) {
        return err;
    }
    m->seen = 0;
    atomic_store(&m->marked, 0);
    shadow_run_look(&m->run, &before);
    int64_t begun_ns = clock_now_ns(&m->run.engine.clock);
    err = feed(m, info);
    shadow_run_wait(&m->run);
    int64_t took_ns = clock_now_ns(&m->run.engine.clock) - begun_ns;
    shadow_run_look(&m->run, &after);
    double records = (double)(after.records_in - before.records_in);
    struct slice slice = {.cpu_ns = (double)(after.lane_cpu_ns - before.lane_cpu_ns) / records,
                          .per_s = records * 1e9 / (double)took_ns};
    if (percent > 0) {
        shadow_run_end_shadow(&m->run, 1, &m->measures);
        int64_t passed = m->measures.next_offset[0] - m->measures.begin_offset[0];
        slice.mirrored = (double)passed / records;
    }
    if (m->sink_loop != NULL) {
        while (m->seen < atomic_load(&m->marked)) {
            waker_wake(&m->sink_waker);
            clock_real_sleep(ENGINE_CALL_PAUSE_NS);
        }
        qsort(m->latency_us, (size_t)m->seen, sizeof m->latency_us[0], by_value);
        slice.p99_us = m->latency_us[(int32_t)((double)m->seen * 0.99)];
    }
    *ret_slice = slice;
    return err;
}

// What is compared: with over without.
enum mirror_what { MIRROR_CPU, MIRROR_P99, MIRROR_SPEED };

static double of(const struct slice *slice, enum mirror_what what)
{
    return what == MIRROR_CPU ? slice->cpu_ns : what == MIRROR_P99 ? slice->p99_us : slice->per_s;
}

static const char *named(const char *text, const char *more)
{
    static char names[BENCH_FIGURES_MAX * 4][MIRROR_NAME_MAX];
    static int used;
    char *name = names[used++ % COUNT_OF(names)];
    IGNORE_RESULT(snprintf(name, MIRROR_NAME_MAX, "%s%s", text, more)); // may be cut
    return name;
}

struct comparison {
    const char *name;
    enum mirror_what what;
    int32_t percent;
    double bound_percent;
    enum err (*feed)(struct mirror *, struct err_info *);
};

static enum err compare(struct mirror *m, const struct bench_options *options,
                        const struct comparison *c, struct bench_result *result,
                        struct err_info *info)
{
    double ratios[MIRROR_PAIRS_MAX], without[MIRROR_PAIRS_MAX];
    double mirrored = 0;
    int32_t count = options->pairs < MIRROR_PAIRS_MAX ? options->pairs : MIRROR_PAIRS_MAX;
    struct slice slice;
    enum err err = run_slice(m, c->feed, c->percent, &slice, info); // warms
    for (int32_t i = 0; i < count && err == ERR_OK; i++) {
        struct slice on = {0}, off = {0};
        bool first = i % 2 == 0;
        err = run_slice(m, c->feed, first ? c->percent : 0, first ? &on : &off, info);
        err = err == ERR_OK
                  ? run_slice(m, c->feed, first ? 0 : c->percent, first ? &off : &on, info)
                  : err;
        ratios[i] = of(&on, c->what) / of(&off, c->what);
        without[i] = of(&off, c->what);
        mirrored += on.mirrored / count;
    }
    if (err != ERR_OK) {
        return err;
    }
    double median, low, high;
    bench_interval(ratios, count, options->seed, &median, &low, &high);
    double sign = c->what == MIRROR_SPEED ? -1 : 1; // a loss of speed is told as a cost
    double lowest = sign > 0 ? low : high, highest = sign > 0 ? high : low;
    bench_add_figure(result, named(c->name, ": cost"), "%", sign * (median - 1) * 100,
                     c->bound_percent);
    bench_add_figure(result, named(c->name, ": at least"), "%", sign * (lowest - 1) * 100, NAN);
    bench_add_figure(result, named(c->name, ": at most"), "%", sign * (highest - 1) * 100, NAN);
    bench_interval(without, count, options->seed, &median, &low, &high);
    static const char *const units[] = {"ns/record", "us", "records/s"};
    bench_add_figure(result, named(c->name, ": without"), units[c->what], median, NAN);
    bench_add_figure(result, named(c->name, ": mirrored"), "%", mirrored * 100, NAN);
    return ERR_OK;
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
                              .feed = paced};
    struct comparison all = {.name = same_core ? "CPU, 100 %, same core" : "CPU, 100 %, other core",
                             .what = MIRROR_CPU,
                             .percent = 100,
                             .bound_percent = 3,
                             .feed = paced};
    enum err err = mirror_open(m, MIRROR_COUNT_YAML, same_core ? 1 : 2, false, info);
    err = err == ERR_OK ? compare(m, options, &some, result, info) : err;
    err = err == ERR_OK ? compare(m, options, &all, result, info) : err;
    mirror_close(m);
    return err;
}

static enum err measure_p99(struct mirror *m, const struct bench_options *options,
                            struct bench_result *result, struct err_info *info)
{
    struct comparison c = {
        .name = "p99, 10 %", .what = MIRROR_P99, .percent = 10, .bound_percent = 10, .feed = paced};
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
                           .feed = rush};
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
