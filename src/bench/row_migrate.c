// SPDX-License-Identifier: Apache-2.0
// How long a key waits when its partition moves. Probe keys have a record each millisecond, in a stream whose other records
// make up a share of what the same set-up reached just before; a partition with a million (ten million) keys of state is
// migrated, then split, merged and migrated at random. The gaps between a probe key's results, as a consumer of the sink
// sees them, that fall into a change of its partition are its pauses. Commits are eager and synced to a disk; beside them
// stand the same gaps without changes, bare syncs, and what copying and rebuilding the state would take.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/rng.h"
#include "base/sketch.h"
#include "bench/bench.h"
#include "bench/engine.h"
#include "bench/rows.h"
#include "bench/tail.h"
#include "log/record_batch.h"
#include "node/change.h"

enum {
    MIGRATE_OPS = 64,
    MIGRATE_BATCH_RECORDS = 2000,
    MIGRATE_PROBES = 8,
    MIGRATE_EVENTS_MAX = 4096,
    MIGRATE_GAPS_MAX = 4 << 20,
    MIGRATE_IN_FLIGHT = 32, /* batches, while the throughput is sought */
    MIGRATE_PARTS_MAX = 6,
    MIGRATE_SYNCS = 300,
    MIGRATE_SYNC_BYTES = 65536,
    MIGRATE_EMPTY_SHARDS = 12,
    MIGRATE_EMPTY_PARTITIONS = 12000,
    MIGRATE_EMPTY_FLIGHT = 256,
    MIGRATE_EMPTY_CHANGES = 12000
};

#define MIGRATE_TICK_NS  INT64_C(1000000)
#define MIGRATE_PAUSE_NS INT64_C(40000000) /* between two changes */
#define MIGRATE_S_NS     INT64_C(1000000000)

/* What is sent: the key is 8 bytes; a repeated `n` of a key is dropped, so that the state stays as large as it is. */
struct row_value {
    int64_t n, due_ns;
};

/* A change that was carried out. The runtime's thread until the driver is off. */
struct event {
    enum change_kind kind;
    uint32_t group_lo, group_hi;
    int64_t stopped_ns, running_ns;
};

/* Between two results of a probe key. */
struct gap {
    int32_t probe;
    int64_t from_ns, to_ns;
};

enum drive { DRIVE_OFF, DRIVE_MIGRATE, DRIVE_RANDOM };

struct driver {
    struct engine *engine;
    _Atomic int32_t drive; /* enum drive */
    _Atomic bool busy;
    struct change *change;
    struct event *events; /* [MIGRATE_EVENTS_MAX] */
    int32_t event_count, undone;
    int64_t next_ns;
    struct rng rng;
};

struct sink {
    struct tail tail;
    uint64_t first_probe; /* keys from it on are probes */
    int64_t last_ns[MIGRATE_PROBES];
    struct gap *gaps; /* [MIGRATE_GAPS_MAX] */
    int32_t gap_count;
    _Atomic bool noting;
    _Atomic int64_t seen; /* records */
};

struct sender {
    struct log_op op; /* first */
    struct record_builder builder;
    bool in_flight;
};

struct migrate {
    const struct bench_options *options;
    struct engine engine;
    struct shard_id in;
    struct driver driver;
    struct sink sink;
    struct loop *sink_loop;
    struct sender senders[MIGRATE_OPS];
    int64_t keys;
    int64_t wanted; /* results that must come */
    int64_t unique; /* the next n */
    int64_t failed;
    uint64_t next_key;
};

/* --- the driver: behind the runtime, on its thread --- */

static void draw(struct driver *driver, struct change_spec *spec)
{
    struct node_runtime *rt = driver->engine->runtime;
    const struct partition_map *map = node_runtime_map(rt, 0);
    bool random =
        atomic_load_explicit(&driver->drive, memory_order_relaxed) == (int32_t)DRIVE_RANDOM;
    const struct partition_place *place =
        &map->places[random ? rng_below(&driver->rng, (uint64_t)map->count) : 0];
    *spec = (struct change_spec){.kind = CHANGE_MIGRATE,
                                 .shard = place->shard,
                                 .group_lo = place->group_lo,
                                 .group_hi = place->group_hi,
                                 .node = place->node == 0 ? 1 : 0};
    if (random) {
        spec->kind = (enum change_kind)rng_below(&driver->rng, 3);
        spec->flags = rng_below(&driver->rng, 2) == 0 ? (uint32_t)CHANGE_PLACED : 0;
    }
    if (!random && map->count > 1) { /* what random changes left is put together first */
        spec->kind = CHANGE_MERGE;
    }
    if (spec->kind == CHANGE_SPLIT && map->count >= MIGRATE_PARTS_MAX) {
        spec->kind = CHANGE_MIGRATE;
    }
}

static void note_event(struct driver *driver)
{
    const struct change *change = driver->change;
    bool random =
        atomic_load_explicit(&driver->drive, memory_order_relaxed) == (int32_t)DRIVE_RANDOM;
    if (!random && change->spec.kind == CHANGE_MERGE) {
        return;
    }
    if (change->state != CHANGE_DONE || driver->event_count == MIGRATE_EVENTS_MAX) {
        driver->undone++;
        return;
    }
    uint32_t hi = change->spec.group_hi;
    if (change->spec.kind == CHANGE_MERGE) {
        const struct partition_map *map = node_runtime_map(driver->engine->runtime, 0);
        hi = map->places[partition_map_find(map, change->spec.shard, change->spec.group_lo)]
                 .group_hi;
    }
    driver->events[driver->event_count++] = (struct event){.kind = change->spec.kind,
                                                           .group_lo = change->spec.group_lo,
                                                           .group_hi = hi,
                                                           .stopped_ns = change->stopped_ns,
                                                           .running_ns = change->running_ns};
}

static int64_t driver_step(void *ctx, int64_t now_ns)
{
    struct driver *driver = ctx;
    if (driver->change != NULL && change_final(driver->change)) {
        note_event(driver);
        change_release(driver->change);
        driver->change = NULL;
        driver->next_ns = now_ns + MIGRATE_PAUSE_NS;
    }
    enum drive drive = (enum drive)atomic_load_explicit(&driver->drive, memory_order_acquire);
    if (driver->change == NULL && drive != DRIVE_OFF && now_ns >= driver->next_ns) {
        struct change_spec spec;
        uint64_t conflict;
        draw(driver, &spec);
        if (change_start(driver->engine->runtime, &spec, NULL, &driver->change, &conflict, NULL) !=
            ERR_OK) {
            driver->change = NULL; /* a merge that has no neighbour, say */
            driver->next_ns = now_ns + MIGRATE_TICK_NS;
        }
    }
    atomic_store_explicit(&driver->busy, driver->change != NULL, memory_order_release);
    return driver->change != NULL || drive == DRIVE_OFF ? CLOCK_NEVER : driver->next_ns;
}

static void drive(struct migrate *run, enum drive how)
{
    atomic_store_explicit(&run->driver.drive, (int32_t)how, memory_order_release);
    waker_wake(node_runtime_waker(run->engine.runtime));
}

static void drive_off(struct migrate *run)
{
    drive(run, DRIVE_OFF);
    do { /* its thread has seen it by the second look, and nothing is under way */
        clock_real_sleep(MIGRATE_TICK_NS);
        waker_wake(node_runtime_waker(run->engine.runtime));
        clock_real_sleep(MIGRATE_TICK_NS);
    } while (atomic_load_explicit(&run->driver.busy, memory_order_acquire));
}

/* --- the sink's consumer: a thread --- */

static void note_probe(struct sink *sink, int32_t probe, bool noting, int64_t now_ns)
{
    if (noting && sink->gap_count < MIGRATE_GAPS_MAX && sink->last_ns[probe] > 0) {
        sink->gaps[sink->gap_count++] =
            (struct gap){.probe = probe, .from_ns = sink->last_ns[probe], .to_ns = now_ns};
    }
    sink->last_ns[probe] = noting ? now_ns : 0;
}

static int64_t sink_step(void *ctx, int64_t now_ns)
{
    struct sink *sink = ctx;
    struct record_walk walk;
    struct record record;
    int64_t count = 0;
    enum err err;
    if (!tail_read(&sink->tail, &walk)) {
        return CLOCK_NEVER;
    }
    bool noting = atomic_load_explicit(&sink->noting, memory_order_acquire);
    while ((err = record_walk_next(&walk, &record, NULL)) == ERR_OK) {
        uint64_t key;
        CHECK(record.key.len == sizeof key);
        memcpy(&key, record.key.ptr, sizeof key);
        count++;
        if (key >= sink->first_probe) {
            note_probe(sink, (int32_t)(key - sink->first_probe), noting, now_ns);
        }
    }
    CHECK(err == ERR_NOT_FOUND);
    atomic_fetch_add_explicit(&sink->seen, count, memory_order_relaxed);
    return 0;
}

static int64_t seen(struct migrate *run)
{
    return atomic_load_explicit(&run->sink.seen, memory_order_relaxed);
}

/* --- the generator: the calling thread --- */

static struct sender *wait_sender(struct migrate *run)
{
    for (;;) {
        for (struct msg *msg = mailbox_take_all(&run->engine.done); msg != NULL;) {
            struct sender *sender = (struct sender *)(void *)msg;
            msg = msg->next;
            run->failed += sender->op.err != ERR_OK;
            sender->in_flight = false;
        }
        for (int i = 0; i < MIGRATE_OPS; i++) {
            if (!run->senders[i].in_flight) {
                record_builder_reset(&run->senders[i].builder);
                return &run->senders[i];
            }
        }
        clock_real_sleep(MIGRATE_TICK_NS / 10);
    }
}

static void put(struct migrate *run, struct sender *sender, uint64_t key, int64_t n)
{
    struct row_value value = {.n = n, .due_ns = clock_now_ns(run->options->clock)};
    struct record record = {.timestamp_ms = value.due_ns / 1000000,
                            .key = {.ptr = (const char *)&key, .len = sizeof key},
                            .value = {.ptr = (const char *)&value, .len = sizeof value}};
    CHECK(record_builder_add(&sender->builder, &record) == ERR_OK);
    run->wanted += n != 0;
}

static void submit(struct migrate *run, struct sender *sender)
{
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(&sender->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) ==
          ERR_OK);
    sender->op = (struct log_op){.kind = LOG_OP_APPEND, .done = &run->engine.done};
    sender->op.u.append = (struct log_append_op){.shard = run->in, .batch = bytes, .bytes = len};
    sender->in_flight = true;
    log_submit(run->engine.log, &sender->op);
}

static void put_others(struct migrate *run, struct sender *sender, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        put(run, sender, run->next_key, 0);
        run->next_key = run->next_key + 1 < (uint64_t)run->keys ? run->next_key + 1 : 0;
    }
}

static void drain(struct migrate *run)
{
    while (seen(run) < run->wanted && run->failed == 0) {
        clock_real_sleep(MIGRATE_TICK_NS);
    }
}

/* Every key once: each is a result, and a key of the state. */
static void fill(struct migrate *run)
{
    for (int64_t key = 0; key < run->keys && run->failed == 0;) {
        struct sender *sender = wait_sender(run);
        for (int32_t i = 0; i < MIGRATE_BATCH_RECORDS && key < run->keys; i++) {
            put(run, sender, (uint64_t)key++, 0);
        }
        submit(run, sender);
    }
    run->wanted += run->keys;
    drain(run);
}

/* As fast as it goes; records per second. Each batch ends with one that makes a result. */
static double saturate(struct migrate *run, int64_t ns)
{
    const struct clock *clock = run->options->clock;
    int64_t begun_ns = clock_now_ns(clock), batches = 0;
    while (clock_now_ns(clock) < begun_ns + ns && run->failed == 0) {
        if (run->wanted - seen(run) > MIGRATE_IN_FLIGHT) {
            clock_real_sleep(MIGRATE_TICK_NS / 20);
            continue;
        }
        struct sender *sender = wait_sender(run);
        put_others(run, sender, MIGRATE_BATCH_RECORDS - 1);
        put(run, sender, 0, ++run->unique);
        submit(run, sender);
        batches++;
    }
    drain(run);
    return (double)batches * MIGRATE_BATCH_RECORDS * 1e9 / (double)(clock_now_ns(clock) - begun_ns);
}

/* A record for each probe key each millisecond, and the others, for `ns`. Returns the share that was sent in time. */
static void send_on_time(struct migrate *run, double per_s, int64_t ns)
{
    const struct clock *clock = run->options->clock;
    int64_t tick_ns = clock_now_ns(clock), end_ns = tick_ns + ns;
    double debt = 0;
    for (; tick_ns < end_ns && run->failed == 0; tick_ns += MIGRATE_TICK_NS) {
        clock_real_sleep(tick_ns - clock_now_ns(clock));
        debt += per_s * (double)MIGRATE_TICK_NS / 1e9 - MIGRATE_PROBES;
        struct sender *sender = wait_sender(run);
        for (uint64_t p = 0; p < MIGRATE_PROBES; p++) {
            put(run, sender, run->sink.first_probe + p, ++run->unique);
        }
        while (debt >= 1) {
            int64_t some = debt < MIGRATE_BATCH_RECORDS ? (int64_t)debt : MIGRATE_BATCH_RECORDS;
            put_others(run, sender, some);
            debt -= (double)some;
            if (debt >= 1) {
                submit(run, sender);
                sender = wait_sender(run);
            }
        }
        submit(run, sender);
    }
    drain(run);
}

/* --- bounds --- */

/* What one of N keys of 8 bytes with 8 of value takes to be copied and put into a table again: what a hand-over costs that
 * moves bytes. Milliseconds. */
static double copy_and_rebuild_ms(const struct migrate *run)
{
    const struct clock *clock = run->options->clock;
    int64_t cap = 1;
    while (cap < 2 * run->keys) {
        cap *= 2;
    }
    uint64_t(*from)[2] = mem_new(run->keys, 16);
    uint64_t(*copy)[2] = mem_new(run->keys, 16);
    uint64_t(*table)[2] = mem_new(cap, 16);
    for (int64_t i = 0; i < run->keys; i++) {
        from[i][0] = (uint64_t)i + 1;
        from[i][1] = hash64(&i, sizeof i);
    }
    memset(copy, 1, (size_t)run->keys * 16);
    memset(table, 0, (size_t)cap * 16);
    int64_t begun_ns = clock_now_ns(clock);
    memcpy(copy, from, (size_t)run->keys * 16);
    for (int64_t i = 0; i < run->keys; i++) {
        int64_t at = (int64_t)(hash64(&copy[i][0], 8) & (uint64_t)(cap - 1));
        while (table[at][0] != 0) {
            at = (at + 1) & (cap - 1);
        }
        memcpy(table[at], copy[i], 16);
    }
    double ms = (double)(clock_now_ns(clock) - begun_ns) / 1e6;
    mem_free(from);
    mem_free(copy);
    mem_free(table);
    return ms;
}

/* 99th percentile of bare syncs, nothing else running; milliseconds. */
static enum err bare_sync_ms(struct migrate *run, double *ret_ms, struct err_info *info)
{
    struct fs_file file;
    struct histogram times = {.count = 0};
    char *bytes = mem_new(MIGRATE_SYNC_BYTES, 1);
    const struct fs *fs = &run->engine.fs;
    enum err err = fs_open(fs, "probe", FS_O_WRITE | FS_O_CREATE, &file, info);
    for (int i = 0; i < 2 * MIGRATE_SYNCS && err == ERR_OK; i++) {
        int64_t at = (int64_t)(i % MIGRATE_SYNCS) * MIGRATE_SYNC_BYTES;
        err = fs_write(fs, file, bytes, MIGRATE_SYNC_BYTES, at, info);
        int64_t begun_ns = clock_now_ns(run->options->clock);
        err = err == ERR_OK ? fs_sync(fs, file, info) : err;
        if (i >= MIGRATE_SYNCS) { // the first round made the file
            histogram_add(&times, clock_now_ns(run->options->clock) - begun_ns, 1);
        }
    }
    mem_free(bytes);
    *ret_ms = (double)histogram_quantile(&times, 0.99) / 1e6;
    return err;
}

/* --- the verdict --- */

static uint32_t probe_group(const struct migrate *run, int32_t probe)
{
    uint64_t key = run->sink.first_probe + (uint64_t)probe;
    return key_group_of(hash64((const char *)&key, sizeof key));
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

struct pauses {
    int64_t *ns;
    int32_t count;
};

static double quantile_ms(struct pauses *pauses, double q)
{
    if (pauses->count == 0) {
        return NAN;
    }
    qsort(pauses->ns, (size_t)pauses->count, sizeof pauses->ns[0], compare_ns);
    int32_t at = (int32_t)ceil(q * pauses->count) - 1;
    return (double)pauses->ns[at > 0 ? at : 0] / 1e6;
}

/* For each change and probe key of its range: the longest gap that the change lies in. */
static void find_pauses(const struct migrate *run, struct pauses *ret_pauses)
{
    const struct sink *sink = &run->sink;
    struct pauses pauses = {
        .ns = MEM_NEW_ARRAY(int64_t, MIGRATE_EVENTS_MAX * (ptrdiff_t)MIGRATE_PROBES)};
    int32_t from = 0;
    for (int32_t e = 0; e < run->driver.event_count; e++) {
        const struct event *event = &run->driver.events[e];
        int64_t longest[MIGRATE_PROBES] = {0};
        while (from < sink->gap_count && sink->gaps[from].to_ns < event->stopped_ns) {
            from++;
        }
        for (int32_t i = from; i < sink->gap_count; i++) {
            const struct gap *gap = &sink->gaps[i];
            if (gap->from_ns > event->running_ns + MIGRATE_PAUSE_NS) {
                break;
            }
            int64_t ns = gap->to_ns - gap->from_ns;
            if (gap->from_ns <= event->running_ns && ns > longest[gap->probe]) {
                longest[gap->probe] = ns;
            }
        }
        for (int32_t p = 0; p < MIGRATE_PROBES; p++) {
            uint32_t group = probe_group(run, p);
            if (longest[p] > 0 && group >= event->group_lo && group < event->group_hi) {
                pauses.ns[pauses.count++] = longest[p];
            }
        }
    }
    *ret_pauses = pauses;
}

struct stretch {
    int32_t percent;
    enum drive drive;
    const char *what, *p50, *p99;
};

static const struct stretch STRETCHES[] = {
    {50, DRIVE_OFF, NULL, "50 % load, no changes: gap p50", "50 % load, no changes: gap p99"},
    {50, DRIVE_MIGRATE, "50 % load: migrations", "50 % load: migration, pause p50",
     "50 % load: migration, pause p99"},
    {50, DRIVE_RANDOM, "50 % load: random changes", "50 % load: random change, pause p50",
     "50 % load: random change, pause p99"},
    {80, DRIVE_OFF, NULL, "80 % load, no changes: gap p50", "80 % load, no changes: gap p99"},
    {80, DRIVE_MIGRATE, "80 % load: migrations", "80 % load: migration, pause p50",
     "80 % load: migration, pause p99"},
    {80, DRIVE_RANDOM, "80 % load: random changes", "80 % load: random change, pause p50",
     "80 % load: random change, pause p99"},
};

static struct pauses all_gaps(const struct migrate *run)
{
    const struct sink *sink = &run->sink;
    struct pauses all = {.ns = MEM_NEW_ARRAY(int64_t, sink->gap_count + 1),
                         .count = sink->gap_count};
    for (int32_t i = 0; i < sink->gap_count; i++) {
        all.ns[i] = sink->gaps[i].to_ns - sink->gaps[i].from_ns;
    }
    return all;
}

static void measure_stretch(struct migrate *run, const struct stretch *stretch, double per_s,
                            double bound_ms, struct bench_result *result)
{
    run->sink.gap_count = run->driver.event_count = run->driver.undone = 0;
    atomic_store_explicit(&run->sink.noting, true, memory_order_release);
    drive(run, stretch->drive);
    send_on_time(run, per_s * stretch->percent / 100,
                 run->options->seconds * MIGRATE_S_NS / (stretch->drive == DRIVE_OFF ? 4 : 1));
    drive_off(run);
    atomic_store_explicit(&run->sink.noting, false, memory_order_release);
    loop_stop(run->sink_loop); // for the reading of its gaps
    struct pauses pauses;
    if (stretch->drive == DRIVE_OFF) {
        pauses = all_gaps(run);
    } else {
        find_pauses(run, &pauses);
        bench_add_figure(result, stretch->what, "changes", run->driver.event_count, NAN);
    }
    bench_add_figure(result, stretch->p50, "ms", quantile_ms(&pauses, 0.5), NAN);
    bench_add_figure(result, stretch->p99, "ms", quantile_ms(&pauses, 0.99),
                     stretch->drive == DRIVE_OFF ? (double)NAN : bound_ms);
    mem_free(pauses.ns);
    memset(run->sink.last_ns, 0, sizeof run->sink.last_ns);
    run->sink_loop = loop_start(&(struct loop_options){.name = "sink",
                                                       .clock = run->options->clock,
                                                       .waker = &run->sink.tail.waker,
                                                       .step = sink_step,
                                                       .ctx = &run->sink,
                                                       .cpu = -1});
}

/* --- set-up --- */

static enum err set_up(struct migrate *run, struct err_info *info)
{
    struct engine *engine = &run->engine;
    run->driver.engine = engine;
    run->driver.events = MEM_NEW_ARRAY(struct event, MIGRATE_EVENTS_MAX);
    rng_init(&run->driver.rng, run->options->seed);
    enum err err = engine_open(&(struct engine_options){.sync = LOG_SYNC,
                                                        .threads = true,
                                                        .on_disk = true,
                                                        .control = driver_step,
                                                        .control_ctx = &run->driver},
                               engine, info);
    if (err != ERR_OK) {
        return err;
    }
    struct sink *sink = &run->sink;
    sink->gaps = mem_resize(NULL, MIGRATE_GAPS_MAX, (ptrdiff_t)sizeof(struct gap));
    sink->first_probe = UINT64_C(1) << 40;
    for (int i = 0; i < MIGRATE_OPS; i++) {
        record_builder_init(&run->senders[i].builder, RECORD_CODEC_NONE);
    }
    err =
        engine_start(engine,
                     "version: 1\nnodes: {count: 2}\nstreams:\n"
                     "  in: {shards: 1, codec: none, retention: {size: 256MiB}}\n"
                     "  out: {shards: 1, codec: none, retention: {size: 256MiB}}\n"
                     "pipelines:\n  p:\n    commit: eager\n    memory: 16GiB\n    stages:\n"
                     "      - {name: s, from: in, to: out, chain: [{parse: {name: p, format: raw, "
                     "fields: {\"n\": {type: i64, offset: 0}}}}, {dedupe: {name: d, by: "
                     "[\"n\"]}}]}\n",
                     info);
    if (err != ERR_OK) {
        return err;
    }
    run->in = stage_shard(node_runtime_stream(engine->runtime, STR("in")), 0);
    err = tail_open(&sink->tail, engine->log,
                    stage_shard(node_runtime_stream(engine->runtime, STR("out")), 0), info);
    if (err != ERR_OK) {
        return err;
    }
    run->sink_loop = loop_start(&(struct loop_options){.name = "sink",
                                                       .clock = run->options->clock,
                                                       .waker = &sink->tail.waker,
                                                       .step = sink_step,
                                                       .ctx = sink,
                                                       .cpu = -1});
    return ERR_OK;
}

static void tear_down(struct migrate *run)
{
    struct sink *sink = &run->sink;
    if (run->sink_loop != NULL) {
        loop_stop(run->sink_loop);
    }
    tail_close(&sink->tail);
    if (run->engine.runtime != NULL) {
        engine_stop(&run->engine);
    }
    engine_close(&run->engine);
    for (int i = 0; i < MIGRATE_OPS; i++) {
        record_builder_release(&run->senders[i].builder);
    }
    mem_free(sink->gaps);
    mem_free(run->driver.events);
    mem_free(run);
}

static enum err measure(const struct bench_options *options, int64_t keys, double bound_ms,
                        struct bench_result *result, struct err_info *info)
{
    struct migrate *run = MEM_NEW(struct migrate);
    run->options = options;
    run->keys = keys;
    double sync_ms = 0;
    enum err err = set_up(run, info);
    err = err == ERR_OK ? bare_sync_ms(run, &sync_ms, info) : err;
    if (err != ERR_OK) {
        tear_down(run);
        return err;
    }
    bench_add_figure(result, "a bare sync of 64 KiB, alone: p99", "ms", sync_ms, NAN);
    bench_add_figure(result, "copying and rebuilding the keys", "ms", copy_and_rebuild_ms(run),
                     NAN);
    fill(run);
    int64_t ns = options->seconds * MIGRATE_S_NS / 6;
    IGNORE_RESULT(saturate(run, ns > MIGRATE_S_NS ? ns : MIGRATE_S_NS)); // warm-up
    double per_s = saturate(run, ns > MIGRATE_S_NS ? ns : MIGRATE_S_NS);
    bench_add_figure(result, "throughput, not waiting", "per s", per_s, NAN);
    for (int i = 0; i < COUNT_OF(STRETCHES) && run->failed == 0; i++) {
        measure_stretch(run, &STRETCHES[i], per_s, bound_ms, result);
    }
    if (run->failed > 0) {
        err = err_set(info, ERR_IO, "%lld writes failed", (long long)run->failed);
    }
    tear_down(run);
    return err;
}

static enum err measure_1m(const struct bench_options *options, struct bench_result *result,
                           struct err_info *info)
{
    return measure(options, 1000000, 20, result, info);
}

static enum err measure_10m(const struct bench_options *options, struct bench_result *result,
                            struct err_info *info)
{
    return measure(options, 10000000, 50, result, info);
}

/* --- partitions without anything in them --- */

struct empty {
    struct engine engine;
    struct change *changes[MIGRATE_EMPTY_FLIGHT];
    _Atomic bool begun;
    _Atomic int32_t done;
    int32_t started, undone;
    int64_t begun_ns;
    _Atomic int64_t ended_ns;
};

static int64_t empty_step(void *ctx, int64_t now_ns)
{
    struct empty *run = ctx;
    if (!atomic_load_explicit(&run->begun, memory_order_acquire)) {
        return CLOCK_NEVER;
    }
    run->begun_ns = run->begun_ns == 0 ? now_ns : run->begun_ns;
    const struct partition_map *map = node_runtime_map(run->engine.runtime, 0);
    for (int i = 0; i < MIGRATE_EMPTY_FLIGHT; i++) {
        if (run->changes[i] != NULL && change_final(run->changes[i])) {
            run->undone += run->changes[i]->state != CHANGE_DONE;
            change_release(run->changes[i]);
            run->changes[i] = NULL;
            if (atomic_fetch_add(&run->done, 1) + 1 == MIGRATE_EMPTY_CHANGES) {
                atomic_store_explicit(&run->ended_ns, now_ns, memory_order_release);
            }
        }
        if (run->changes[i] == NULL && run->started < MIGRATE_EMPTY_CHANGES) {
            const struct partition_place *place = &map->places[run->started++ % map->count];
            struct change_spec spec = {.kind = CHANGE_MIGRATE,
                                       .shard = place->shard,
                                       .group_lo = place->group_lo,
                                       .group_hi = place->group_hi,
                                       .node = place->node == 0 ? 1 : 0};
            uint64_t conflict;
            CHECK(change_start(run->engine.runtime, &spec, NULL, &run->changes[i], &conflict,
                               NULL) == ERR_OK);
        }
    }
    return CLOCK_NEVER; /* a change that ends wakes it */
}

static enum err measure_empty(const struct bench_options *options, struct bench_result *result,
                              struct err_info *info)
{
    (void)options;
    struct empty *run = MEM_NEW(struct empty);
    enum err err = engine_open(&(struct engine_options){.sync = LOG_SYNC,
                                                        .threads = true,
                                                        .on_disk = true,
                                                        .control = empty_step,
                                                        .control_ctx = run},
                               &run->engine, info);
    err = err == ERR_OK
              ? engine_start(&run->engine,
                             "version: 1\nnodes: {count: 2}\nstreams: {in: {shards: 12}, out: {}}\n"
                             "pipelines:\n  p:\n    stages:\n"
                             "      - {name: s, from: in, to: out, partitions: 1000, chain: "
                             "[{parse: {name: p, fields: {\"n\": int}}}]}\n",
                             info)
              : err;
    if (err == ERR_OK) {
        atomic_store_explicit(&run->begun, true, memory_order_release);
        waker_wake(node_runtime_waker(run->engine.runtime));
        while (atomic_load_explicit(&run->ended_ns, memory_order_acquire) == 0) {
            clock_real_sleep(MIGRATE_TICK_NS);
        }
        double s = (double)(run->ended_ns - run->begun_ns) / 1e9;
        bench_add_figure(result, "partitions", "partitions", MIGRATE_EMPTY_PARTITIONS, NAN);
        bench_add_figure(result, "migrations per second", "per s", MIGRATE_EMPTY_CHANGES / s, NAN);
        bench_add_figure(result, "time of a migration, 256 at once", "ms",
                         1000 * s / MIGRATE_EMPTY_CHANGES, 2); // 500 a second
        bench_add_figure(result, "not done", "changes", run->undone, 0);
        engine_stop(&run->engine);
    }
    engine_close(&run->engine);
    mem_free(run);
    return err;
}

const struct bench_row bench_migrate_1m = {
    .name = "migrate-1m",
    .goal = "G9a",
    .engine = "changes of the layout of 1 M keys of state: how long a key waits",
    .only_named = true,
    .measure = measure_1m,
};

const struct bench_row bench_migrate_10m = {
    .name = "migrate-10m",
    .goal = "G9b",
    .engine = "the same with 10 M keys",
    .only_named = true,
    .measure = measure_10m,
};

const struct bench_row bench_migrate_empty = {
    .name = "migrate-empty",
    .goal = "G9d",
    .engine = "migrations of 12,000 empty partitions",
    .only_named = true,
    .measure = measure_empty,
};
