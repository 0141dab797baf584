// SPDX-License-Identifier: Apache-2.0
// Latency from log to log with a thread for each loop, open loop: records are due at fixed instants, carry them, and are
// read from the sink by a consumer that watches it; a record that could not be sent in time has waited since its instant,
// not since it was sent. Loads are shares of the throughput that the same set-up reached just before when the generator
// did not wait. Beside it a thread that wants to wake each millisecond tells how late this machine is by itself.

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/sketch.h"
#include "bench/bench.h"
#include "bench/engine.h"
#include "bench/rows.h"
#include "bench/tail.h"
#include "log/record_batch.h"

enum {
    LATENCY_OPS = 64,            /* appends in flight at most */
    LATENCY_BATCH_RECORDS = 500, /* of one append at most */
    LATENCY_VALUE_BYTES = 180,
    LATENCY_IN_FLIGHT = 50000, /* records, while the throughput is sought */
    LATENCY_SYNCS = 500,
    LATENCY_SYNC_BYTES = 65536,
    LATENCY_WARM_S = 1,
    LATENCY_SYNC_TIMES = 3,
    LATENCY_HICCUP_TIMES = 2
};

#define LATENCY_TICK_NS   INT64_C(200000)
#define LATENCY_HICCUP_NS INT64_C(1000000)
#define LATENCY_PROBE_NS  INT64_C(10000000)
#define LATENCY_S_NS      INT64_C(1000000000)

/* Owned by the consumer's thread but for `seen`. */
struct consumer {
    const struct clock *clock;
    struct tail tail;
    struct histogram latency;
    _Atomic int64_t count_from_ns; /* records due earlier are not counted: warm-up */
    _Atomic int64_t seen;          /* records */
};

struct hiccup {
    struct waker waker;
    int64_t due_ns;
    struct histogram late;
};

/* Syncs 64 KiB of a zeroed file now and then, beside the engine: what the disk alone makes anybody wait. */
struct probe {
    const struct clock *clock;
    const struct fs *fs;
    struct fs_file file;
    struct waker waker;
    char *bytes;
    int64_t syncs, failed;
    struct histogram times;
};

struct sender {
    struct log_op op; /* first */
    struct record_builder builder;
    bool in_flight;
};

struct latency {
    const struct bench_options *options;
    struct engine engine;
    struct shard_id in;
    struct consumer consumer;
    struct hiccup hiccup;
    struct probe probe;
    struct loop *consumer_loop, *hiccup_loop, *probe_loop;
    struct sender senders[LATENCY_OPS];
    int64_t sent;
    int64_t failed; /* appends */
};

/* --- consumer and hiccups --- */

static int64_t consumer_step(void *ctx, int64_t now_ns)
{
    struct consumer *c = ctx;
    struct record_walk walk;
    struct record record;
    int64_t count = 0;
    enum err err;
    IGNORE_RESULT(now_ns); /* read anew after the read */
    if (!tail_read(&c->tail, &walk)) {
        return CLOCK_NEVER;
    }
    int64_t then_ns = clock_now_ns(c->clock);
    int64_t from_ns = atomic_load_explicit(&c->count_from_ns, memory_order_relaxed);
    while ((err = record_walk_next(&walk, &record, NULL)) == ERR_OK) {
        int64_t due_ns;
        CHECK(record.value.len == LATENCY_VALUE_BYTES);
        memcpy(&due_ns, record.value.ptr, sizeof due_ns);
        if (due_ns >= from_ns) {
            histogram_add(&c->latency, then_ns - due_ns, 1);
        }
        count++;
    }
    CHECK(err == ERR_NOT_FOUND);
    atomic_fetch_add_explicit(&c->seen, count, memory_order_relaxed);
    return 0;
}

static int64_t hiccup_step(void *ctx, int64_t now_ns)
{
    struct hiccup *hiccup = ctx;
    if (hiccup->due_ns > 0) {
        histogram_add(&hiccup->late, now_ns > hiccup->due_ns ? now_ns - hiccup->due_ns : 0, 1);
    }
    hiccup->due_ns = now_ns + LATENCY_HICCUP_NS;
    return hiccup->due_ns;
}

/* --- generator: the calling thread --- */

static void take_back(struct latency *run)
{
    for (struct msg *msg = mailbox_take_all(&run->engine.done); msg != NULL;) {
        struct sender *sender = (struct sender *)(void *)msg;
        msg = msg->next;
        run->failed += sender->op.err != ERR_OK;
        sender->in_flight = false;
    }
}

static struct sender *free_sender(struct latency *run)
{
    for (int i = 0; i < LATENCY_OPS; i++) {
        if (!run->senders[i].in_flight) {
            return &run->senders[i];
        }
    }
    return NULL;
}

/* Appends `count` records, the first due at `due_ns`, the others `gap_ns` after each other. */
static void send(struct latency *run, struct sender *sender, double due_ns, double gap_ns,
                 int32_t count)
{
    char value[LATENCY_VALUE_BYTES];
    memset(value, 'v', sizeof value);
    record_builder_reset(&sender->builder);
    for (int32_t i = 0; i < count; i++) {
        int64_t at_ns = (int64_t)(due_ns + gap_ns * i);
        uint64_t key = (uint64_t)(run->sent + i) % 100000;
        memcpy(value, &at_ns, sizeof at_ns);
        struct record record = {.timestamp_ms = at_ns / 1000000,
                                .key = {.ptr = (const char *)&key, .len = sizeof key},
                                .value = {.ptr = value, .len = sizeof value}};
        CHECK(record_builder_add(&sender->builder, &record) == ERR_OK);
    }
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(&sender->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) ==
          ERR_OK);
    sender->op = (struct log_op){.kind = LOG_OP_APPEND, .done = &run->engine.done};
    sender->op.u.append = (struct log_append_op){.shard = run->in, .batch = bytes, .bytes = len};
    sender->in_flight = true;
    run->sent += count;
    log_submit(run->engine.log, &sender->op);
}

static int64_t seen(struct latency *run)
{
    return atomic_load_explicit(&run->consumer.seen, memory_order_relaxed);
}

static bool any_in_flight(const struct latency *run)
{
    bool any = false;
    for (int i = 0; i < LATENCY_OPS; i++) {
        any = any || run->senders[i].in_flight;
    }
    return any;
}

/* Waits until all that was sent has come out, and been acknowledged: readers see it before. */
static void drain(struct latency *run)
{
    while ((seen(run) < run->sent && run->failed == 0) || any_in_flight(run)) {
        clock_real_sleep(LATENCY_TICK_NS);
        take_back(run);
    }
}

/* Sends as fast as it comes out; records per second. */
static double saturate(struct latency *run, int64_t ns)
{
    const struct clock *clock = run->options->clock;
    int64_t begun_ns = clock_now_ns(clock);
    int64_t end_ns = begun_ns + ns;
    int64_t before = seen(run);
    int64_t now_ns = begun_ns;
    while (now_ns < end_ns && run->failed == 0) {
        take_back(run);
        struct sender *sender = free_sender(run);
        if (sender == NULL || run->sent - seen(run) > LATENCY_IN_FLIGHT) {
            clock_real_sleep(LATENCY_TICK_NS / 4);
        } else {
            send(run, sender, (double)now_ns, 0, LATENCY_BATCH_RECORDS);
        }
        now_ns = clock_now_ns(clock);
    }
    double per_s = (double)(seen(run) - before) * 1e9 / (double)(now_ns - begun_ns);
    drain(run);
    return per_s;
}

/* Sends what is due, each tick, for `ns`. */
static void send_on_time(struct latency *run, double per_s, int64_t ns)
{
    const struct clock *clock = run->options->clock;
    double gap_ns = 1e9 / per_s;
    double due_ns = (double)clock_now_ns(clock);
    double end_ns = due_ns + (double)ns;
    int64_t tick_ns = (int64_t)due_ns;
    while (due_ns < end_ns && run->failed == 0) {
        take_back(run);
        double now_ns = (double)clock_now_ns(clock);
        struct sender *sender;
        while (due_ns <= now_ns && due_ns < end_ns && (sender = free_sender(run)) != NULL) {
            double due = (now_ns - due_ns) / gap_ns + 1;
            int32_t count = due < LATENCY_BATCH_RECORDS ? (int32_t)due : LATENCY_BATCH_RECORDS;
            send(run, sender, due_ns, gap_ns, count);
            due_ns += gap_ns * count;
        }
        tick_ns += LATENCY_TICK_NS;
        clock_real_sleep(tick_ns - clock_now_ns(clock));
    }
    drain(run);
}

/* --- set-up --- */

static int64_t probe_step(void *ctx, int64_t now_ns)
{
    struct probe *probe = ctx;
    int64_t at = probe->syncs++ % LATENCY_SYNCS * LATENCY_SYNC_BYTES;
    enum err err = fs_write(probe->fs, probe->file, probe->bytes, LATENCY_SYNC_BYTES, at, NULL);
    int64_t begun_ns = clock_now_ns(probe->clock);
    err = err == ERR_OK ? fs_sync(probe->fs, probe->file, NULL) : err;
    probe->failed += err != ERR_OK;
    histogram_add(&probe->times, clock_now_ns(probe->clock) - begun_ns, 1);
    return now_ns + LATENCY_PROBE_NS;
}

/* Makes the probe's file and learns how long its syncs take while nothing else runs. */
static enum err probe_open(struct latency *run, double *ret_p99_ms, struct err_info *info)
{
    struct probe *probe = &run->probe;
    probe->clock = run->options->clock;
    probe->fs = &run->engine.fs;
    probe->bytes = mem_new(LATENCY_SYNC_BYTES, 1);
    waker_init(&probe->waker);
    enum err err = fs_open(probe->fs, "probe", FS_O_WRITE | FS_O_CREATE, &probe->file, info);
    if (err != ERR_OK) {
        return err;
    }
    for (int i = 0; i < 2 * LATENCY_SYNCS; i++) {
        if (i == LATENCY_SYNCS) { // the first round made the file
            probe->times = (struct histogram){.count = 0};
        }
        IGNORE_RESULT(probe_step(probe, 0)); // no deadline to keep
    }
    *ret_p99_ms = (double)histogram_quantile(&probe->times, 0.99) / 1e6;
    return probe->failed == 0 ? ERR_OK : err_set(info, ERR_IO, "the probe's file cannot be synced");
}

static struct loop *begin(const struct latency *run, const char *name, loop_step step, void *ctx,
                          struct waker *waker)
{
    return loop_start(&(struct loop_options){.name = name,
                                             .clock = run->options->clock,
                                             .waker = waker,
                                             .step = step,
                                             .ctx = ctx,
                                             .cpu = -1});
}

static enum err set_up(struct latency *run, enum log_sync_mode sync, struct err_info *info)
{
    struct engine *engine = &run->engine;
    enum err err = engine_open(
        &(struct engine_options){.sync = sync, .threads = true, .on_disk = true}, engine, info);
    if (err != ERR_OK) {
        return err;
    }
    struct consumer *c = &run->consumer;
    c->clock = run->options->clock;
    atomic_init(&c->count_from_ns, INT64_MAX); // nothing yet
    for (int i = 0; i < LATENCY_OPS; i++) {
        record_builder_init(&run->senders[i].builder, RECORD_CODEC_NONE);
    }
    waker_init(&run->hiccup.waker);
    err = engine_start(engine,
                       "version: 1\nstreams:\n"
                       "  in: {shards: 1, codec: none, retention: {size: 256MiB}}\n"
                       "  out: {shards: 1, codec: none, retention: {size: 256MiB}}\n"
                       "pipelines:\n  p:\n    commit: eager\n    stages:\n"
                       "      - {name: s, from: in, chain: [], to: out}\n",
                       info);
    if (err != ERR_OK) {
        return err;
    }
    run->in = stage_shard(node_runtime_stream(engine->runtime, STR("in")), 0);
    err = tail_open(&c->tail, engine->log,
                    stage_shard(node_runtime_stream(engine->runtime, STR("out")), 0), info);
    if (err != ERR_OK) {
        return err;
    }
    run->consumer_loop = begin(run, "consumer", consumer_step, c, &c->tail.waker);
    return ERR_OK;
}

static void tear_down(struct latency *run)
{
    struct consumer *c = &run->consumer;
    if (run->consumer_loop != NULL) {
        loop_stop(run->consumer_loop);
    }
    tail_close(&c->tail);
    if (run->engine.runtime != NULL) {
        engine_stop(&run->engine);
    }
    if (run->probe.bytes != NULL) {
        fs_close(&run->engine.fs, run->probe.file);
    }
    engine_close(&run->engine);
    for (int i = 0; i < LATENCY_OPS; i++) {
        record_builder_release(&run->senders[i].builder);
    }
    mem_free(run->probe.bytes);
    mem_free(run);
}

struct load_names {
    int32_t percent;
    const char *rate, *p50, *p99, *p999, *hiccup, *hiccup999, *ratio, *sync;
};

static const struct load_names LOADS[] = {
    {50, "50 % load: records", "50 % load: p50", "50 % load: p99", "50 % load: p99.9",
     "50 % load: hiccup p99", "50 % load: hiccup p99.9", "50 % load: p99 / hiccup p99",
     "50 % load: a bare sync's p99"},
    {80, "80 % load: records", "80 % load: p50", "80 % load: p99", "80 % load: p99.9",
     "80 % load: hiccup p99", "80 % load: hiccup p99.9", "80 % load: p99 / hiccup p99",
     "80 % load: a bare sync's p99"},
};

static double ms(const struct histogram *histogram, double q)
{
    return (double)histogram_quantile(histogram, q) / 1e6;
}

static void tell_load(const struct latency *run, const struct load_names *load, bool synced,
                      double bound_ms, struct bench_result *result)
{
    double p99 = ms(&run->consumer.latency, 0.99);
    double hiccup = ms(&run->hiccup.late, 0.99);
    if (synced) {
        bench_add_figure(result, load->sync, "ms", ms(&run->probe.times, 0.99), NAN);
        bound_ms = fmax(bound_ms, LATENCY_SYNC_TIMES * ms(&run->probe.times, 0.99));
    }
    bench_add_figure(result, load->p50, "ms", ms(&run->consumer.latency, 0.5), NAN);
    bench_add_figure(result, load->p99, "ms", p99, bound_ms);
    bench_add_figure(result, load->p999, "ms", ms(&run->consumer.latency, 0.999), NAN);
    bench_add_figure(result, load->hiccup, "ms", hiccup, NAN);
    bench_add_figure(result, load->hiccup999, "ms", ms(&run->hiccup.late, 0.999), NAN);
    bench_add_figure(result, load->ratio, "times", p99 / hiccup,
                     synced ? (double)NAN : LATENCY_HICCUP_TIMES);
}

/* One stretch at a share of the throughput. */
static void measure_load(struct latency *run, const struct load_names *load, double saturation,
                         double bound_ms, struct bench_result *result)
{
    struct consumer *c = &run->consumer;
    bool synced = run->engine.options.sync == LOG_SYNC;
    double per_s = saturation * load->percent / 100;
    int64_t stretch_ns = run->options->seconds * LATENCY_S_NS;
    bench_add_figure(result, load->rate, "per s", per_s, NAN);
    atomic_store_explicit(&c->count_from_ns,
                          clock_now_ns(run->options->clock) + LATENCY_WARM_S * LATENCY_S_NS,
                          memory_order_relaxed);
    run->hiccup.due_ns = 0;
    run->hiccup.late = run->probe.times = (struct histogram){.count = 0};
    run->hiccup_loop = begin(run, "hiccup", hiccup_step, &run->hiccup, &run->hiccup.waker);
    run->probe_loop =
        synced ? begin(run, "probe", probe_step, &run->probe, &run->probe.waker) : NULL;
    send_on_time(run, per_s, stretch_ns + LATENCY_WARM_S * LATENCY_S_NS);
    loop_stop(run->hiccup_loop);
    loop_stop(run->probe_loop);
    loop_stop(run->consumer_loop); // for the reading of its histogram
    tell_load(run, load, synced, bound_ms, result);
    c->latency = (struct histogram){.count = 0};
    atomic_store_explicit(&c->count_from_ns, INT64_MAX, memory_order_relaxed);
    run->consumer_loop = begin(run, "consumer", consumer_step, c, &c->tail.waker);
}

static enum err latency_measure(enum log_sync_mode sync, const struct bench_options *options,
                                struct bench_result *result, struct err_info *info)
{
    /* No sync: 1 and 3 ms, and twice the hiccups. Synced: 10 and 25 ms, or thrice what a bare sync takes meanwhile. */
    static const double BOUNDS[2][2] = {{1, 3}, {10, 25}};
    struct latency *run = MEM_NEW(struct latency);
    run->options = options;
    double sync_ms = 0;
    enum err err = set_up(run, sync, info);
    err = err == ERR_OK && sync == LOG_SYNC ? probe_open(run, &sync_ms, info) : err;
    if (err != ERR_OK) {
        tear_down(run);
        return err;
    }
    if (sync == LOG_SYNC) {
        bench_add_figure(result, "a bare sync of 64 KiB, alone: p99", "ms", sync_ms, NAN);
    }
    /* As long again before it counts: caches take more for a while than the disk behind them does. */
    int64_t ns = LATENCY_S_NS * options->seconds / 6;
    ns = ns > LATENCY_S_NS ? ns : LATENCY_S_NS;
    IGNORE_RESULT(saturate(run, ns)); // warm-up
    double saturation = saturate(run, ns);
    bench_add_figure(result, "throughput, not waiting", "per s", saturation, NAN);
    for (int i = 0; i < COUNT_OF(LOADS) && run->failed == 0; i++) {
        measure_load(run, &LOADS[i], saturation, BOUNDS[sync == LOG_SYNC][i], result);
    }
    if (run->failed + run->probe.failed > 0) {
        err =
            err_set(info, ERR_IO, "%lld writes failed", (long long)run->failed + run->probe.failed);
    }
    tear_down(run);
    return err;
}

static enum err measure_unsynced(const struct bench_options *options, struct bench_result *result,
                                 struct err_info *info)
{
    return latency_measure(LOG_UNSYNCED, options, result, info);
}

static enum err measure_synced(const struct bench_options *options, struct bench_result *result,
                               struct err_info *info)
{
    return latency_measure(LOG_SYNC, options, result, info);
}

const struct bench_row bench_latency_unsynced = {
    .name = "latency",
    .goal = "G7a",
    .engine = "200 B records from log to log, eager commits, unsynced, open loop",
    .only_named = true,
    .measure = measure_unsynced,
};

const struct bench_row bench_latency_synced = {
    .name = "latency-durable",
    .goal = "G7b",
    .engine = "200 B records from log to log, eager commits, synced, open loop",
    .only_named = true,
    .measure = measure_synced,
};
