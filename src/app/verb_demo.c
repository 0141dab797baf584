// SPDX-License-Identifier: Apache-2.0
/* `shadowcast demo`: replays a day of a recorded load through a pipeline of two stages, in one process that plays several
 * nodes, on the embedded log in a temporary folder; then holds every result against a recount. Then the hour of the steepest
 * rise again, with the manager acting and with a reactive rule beside it (demo_story.c). */
#include <unistd.h>

#include "app/demo_feed.h"
#include "app/demo_story.h"
#include "app/exit_code.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/fs_real.h"
#include "base/real/temp_dir.h"
#include "log/embedded.h"
#include "log/record_walk.h"
#include "node/runtime.h"

/* The trace: requests to the web server of the NASA Kennedy Space Center, July 1995, per 5 minutes (Internet Traffic
 * Archive, freely redistributable; testdata/traces/README.md). Made from the CSV by tools/embed_text. */
extern const char demo_trace[];
extern const ptrdiff_t demo_trace_len;

enum {
    DAY_FIRST_POINT = 12 * 288, /* 1995-07-13, the day a shuttle was launched */
    DAY_POINTS = 288,
    DAY_MS = 86400000,
    HOURS = 24,
    LOOPS_MAX = LOG_LOOPS_MAX + 1 + 16,
    NODES_DEMO_MAX = 16,
    CONFIG_TEXT_MAX = 2048
};

static const int64_t poll_ns = 2000000;
static const int64_t patience_ns =
    110000000000; /* the whole demo takes well under two minutes, or says that it failed */
static const int64_t jitter_ms = 60000;
static const uint64_t seed = 1995;

static const char config_text[] =
    "version: 1\n"
    "nodes: {count: %d, lanes: 1}\n"
    "streams:\n"
    "  clicks: {shards: 4, time: {out_of_order: 1m, idle_after: 10m}}\n"
    "  views_per_hour: {shards: 2}\n"
    "pipelines:\n"
    "  demo:\n"
    "    commit: 100ms\n"
    "    stages:\n"
    "      - {name: read, from: clicks, partitions: 2, chain: [{parse: {name: p, format: json, fields: {kind: string, "
    "user: string}}}, {filter: {name: f, where: \"kind == 'view'\"}}, {key_by: {name: k, key: user, shards: 4}}]}\n"
    "      - {name: count, partitions: 2, chain: [{window: {name: w, tumbling: 1h, out: {views: count}}}], to: "
    "views_per_hour}\n";

struct demo {
    struct clock clock;
    int64_t start_ns, progress_ns;
    bool terminal;
    int32_t nodes;
    struct arena arena;
    char dir[TEMP_DIR_MAX];
    struct fs fs;
    const struct config *config;
    struct log *log;
    struct node_runtime *runtime;
    struct loop *loops[LOOPS_MAX]; /* the log's first */
    int32_t loop_count, log_loop_count;
    struct trace trace;
    struct recount recount;
    struct demo_feed feed;
    struct mailbox done;
    struct err_info info;
};

static void loop_add(struct demo *demo, const char *name, loop_step step, void *ctx,
                     struct waker *waker)
{
    CHECK(demo->loop_count < LOOPS_MAX);
    struct loop_options options = {
        .name = name, .clock = &demo->clock, .waker = waker, .step = step, .ctx = ctx, .cpu = -1};
    demo->loops[demo->loop_count++] = loop_start(&options);
}

static enum err open_log(struct demo *demo)
{
    struct log_embedded_options options = {
        .fs = &demo->fs, .clock = &demo->clock, .sync = LOG_SYNC};
    struct log_recovery_report report;
    enum err err = log_embedded_open(&options, &demo->log, &report, &demo->info);
    if (err != ERR_OK) {
        return err;
    }
    struct log_loop loops[LOG_LOOPS_MAX];
    demo->log_loop_count = log_loops(demo->log, loops);
    for (int i = 0; i < demo->log_loop_count; i++) {
        loop_add(demo, loops[i].name, loops[i].step, loops[i].ctx, loops[i].waker);
    }
    return ERR_OK;
}

static enum err open_runtime(struct demo *demo)
{
    struct node_runtime_options options = {
        .config = demo->config, .log = demo->log, .clock = &demo->clock, .fs = &demo->fs};
    enum err err = node_runtime_new(&options, &demo->runtime, &demo->info);
    if (err != ERR_OK) {
        return err;
    }
    loop_add(demo, "control", node_runtime_step, demo->runtime, node_runtime_waker(demo->runtime));
    for (int32_t i = 0; i < node_runtime_lane_count(demo->runtime); i++) {
        struct lane *lane = node_runtime_lane(demo->runtime, i);
        char *name = arena_printf(&demo->arena, "lane-%d", i); /* the loop keeps it */
        loop_add(demo, name, lane_step, lane, lane_waker(lane));
    }
    return ERR_OK;
}

/* Waits for a state of the runtime; TIMEOUT, or what the runtime failed of. */
static enum err wait_state(struct demo *demo, enum runtime_state wanted)
{
    for (;;) {
        enum runtime_state state = node_runtime_state(demo->runtime);
        if (state == wanted) {
            return ERR_OK;
        }
        if (state == RUNTIME_FAILED) {
            demo->info = *node_runtime_problem(demo->runtime);
            return demo->info.code;
        }
        if (clock_now_ns(&demo->clock) - demo->start_ns > patience_ns) {
            return err_set(&demo->info, ERR_TIMEOUT, "the pipeline is still %s after %lld s",
                           runtime_state_name(state), (long long)(patience_ns / 1000000000));
        }
        clock_real_sleep(poll_ns);
    }
}

static enum err start(struct demo *demo)
{
    char text[CONFIG_TEXT_MAX];
    int len = snprintf(text, sizeof text, config_text, demo->nodes);
    CHECK(len > 0 && len < (int)sizeof text);
    char *copy = arena_dup(&demo->arena, text, len);
    enum err err = trace_parse(&demo->arena, "nasa_http_july95.csv",
                               (struct str){.ptr = demo_trace, .len = demo_trace_len}, &demo->trace,
                               &demo->info);
    if (err == ERR_OK) {
        err = config_load(&demo->arena, "demo", (struct str){.ptr = copy, .len = len},
                          &demo->config, &demo->info);
    }
    if (err == ERR_OK) {
        err = temp_dir_make("shadowcast-demo", demo->dir, &demo->info);
    }
    if (err == ERR_OK) {
        err = fs_real_open(demo->dir, &demo->fs, &demo->info);
    }
    if (err == ERR_OK) {
        err = open_log(demo);
    }
    if (err == ERR_OK) {
        err = open_runtime(demo);
    }
    return err == ERR_OK ? wait_state(demo, RUNTIME_RUNNING) : err;
}

static const struct stage_stream *stream_of(const struct demo *demo, const char *name)
{
    const struct stage_stream *stream = node_runtime_stream(demo->runtime, str_of(name));
    CHECK_MSG(stream != NULL, "%s", name);
    return stream;
}

static void print_layout(const struct demo *demo)
{
    printf(
        "A day of a web server's load (NASA Kennedy Space Center, 13 July 1995) as click records, through\n"
        "  clicks -> read [parse json | filter views | key by user] -> count [hourly windows] -> views_per_hour\n"
        "on the embedded log in %s, synced to disk before anything is acknowledged.\n",
        demo->dir);
    for (int32_t s = 0; s < node_runtime_stage_count(demo->runtime); s++) {
        const struct partition_map *map = node_runtime_map(demo->runtime, s);
        const struct stage_plan *plan = node_runtime_stage(demo->runtime, s)->plan;
        printf("  stage %-6.*s %2d partitions:", STR_ARG(plan->name), map->count);
        for (int32_t node = 0; node < demo->nodes; node++) {
            int32_t count = 0;
            for (int32_t i = 0; i < map->count; i++) {
                count += map->places[i].node == node;
            }
            printf(" %d on node %d%s", count, node + 1, node + 1 < demo->nodes ? "," : "\n");
        }
    }
}

static int64_t results_so_far(const struct demo *demo)
{
    const struct stage_stream *stream = stream_of(demo, "views_per_hour");
    int64_t count = 0;
    for (int32_t i = 0; i < stream->info.config.shard_count; i++) {
        count += log_end_offset(demo->log, stage_shard(stream, (uint32_t)i));
    }
    return count;
}

/* On a terminal one line that changes, elsewhere a line now and then. */
static void print_progress(struct demo *demo, int64_t now_ns, bool last)
{
    const int64_t every_ns = demo->terminal ? 200000000 : 5000000000;
    if (!last && now_ns - demo->progress_ns < every_ns) {
        return;
    }
    demo->progress_ns = now_ns;
    int64_t minutes = demo->feed.trace_ms / 60000;
    minutes = minutes > HOURS * 60 ? HOURS * 60 : minutes;
    IGNORE_RESULT(fprintf(
        stderr, "%s%02d:%02d of the day  %3d %%  %lld records in, %lld results out, %.0f s%s",
        demo->terminal ? "\r" : "", (int)(minutes / 60), (int)(minutes % 60),
        (int)(minutes * 100 / (HOURS * 60)), (long long)demo->feed.sent_records,
        (long long)results_so_far(demo), (double)(now_ns - demo->start_ns) * 1e-9,
        demo->terminal && !last ? "  " : "\n")); /* progress may be lost */
}

/* Plays the day, waits until all of it is processed and committed. */
static enum err play(struct demo *demo, const struct cli *cli)
{
    struct trace day = demo->trace;
    CHECK(day.count >= DAY_FIRST_POINT + DAY_POINTS);
    day.start_ms += DAY_FIRST_POINT * day.step_ms;
    day.values += DAY_FIRST_POINT;
    day.count = DAY_POINTS;
    struct generator_options options = {.trace = &day,
                                        .shape = SHAPE_CLICK,
                                        .rate_scale = cli_f64(cli, "rate-scale"),
                                        .speed = cli_f64(cli, "speed"),
                                        .until_ms = INT64_MAX,
                                        .jitter_ms = jitter_ms,
                                        .seed = seed};
    enum err err = key_chooser_parse(STR("zipf:1.1:10000"), &options.keys, &demo->info);
    if (err != ERR_OK) {
        return err;
    }
    recount_init(&demo->recount, day.start_ms);
    demo_feed_init(&demo->feed, demo->log, stream_of(demo, "clicks")->info, &options,
                   &demo->recount, clock_now_ns(&demo->clock));
    bool fed = false;
    while (!fed || !node_runtime_ended(demo->runtime)) {
        int64_t now_ns = clock_now_ns(&demo->clock);
        fed = fed || demo_feed_poll(&demo->feed, now_ns);
        print_progress(demo, now_ns, false);
        if (demo->feed.err != ERR_OK) {
            demo->info = demo->feed.info;
            return demo->feed.err;
        }
        if (node_runtime_failed_partitions(demo->runtime) > 0) {
            return err_set(&demo->info, ERR_NEEDS_OPERATOR, "a partition of the demo failed");
        }
        if (now_ns - demo->start_ns > patience_ns) {
            return err_set(&demo->info, ERR_TIMEOUT,
                           "the day is not over after %lld s: too slow a machine, or a bug",
                           (long long)(patience_ns / 1000000000));
        }
        clock_real_sleep(poll_ns);
    }
    print_progress(demo, clock_now_ns(&demo->clock), true);
    return ERR_OK;
}

static enum err run_op(struct demo *demo, struct log_op *op, enum log_op_kind kind)
{
    op->kind = kind;
    op->done = &demo->done;
    log_submit(demo->log, op);
    while (mailbox_take_all(&demo->done) == NULL) {
        clock_real_sleep(100000);
    }
    demo->info = op->info;
    return op->err;
}

static enum err compare_batches(struct demo *demo, struct record_reader *reader,
                                const uint8_t *bytes, ptrdiff_t len)
{
    struct record_walk walk = record_walk_of(reader, bytes, len);
    struct record record;
    enum err err;
    while ((err = record_walk_next(&walk, &record, &demo->info)) == ERR_OK) {
        int64_t views = 0;
        if (!recount_number(record.value, "views", &views)) {
            views = 0; /* counts as strange */
        }
        recount_compare(&demo->recount, record.key, record.timestamp_ms, views);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Reads all results and tells the recount of them. */
static enum err compare(struct demo *demo)
{
    const struct stage_stream *stream = stream_of(demo, "views_per_hour");
    struct log_reader *log_reader = log_reader_new(demo->log);
    struct record_reader reader;
    record_reader_init(&reader);
    uint8_t *buf = mem_new(LOG_BATCH_BYTES_MAX, 1);
    enum err err = ERR_OK;
    for (int32_t i = 0; i < stream->info.config.shard_count && err == ERR_OK; i++) {
        struct shard_id shard = stage_shard(stream, (uint32_t)i);
        int64_t end = log_end_offset(demo->log, shard);
        for (int64_t offset = 0; offset < end && err == ERR_OK;) {
            struct log_op op = {.u.read = {.reader = log_reader,
                                           .shard = shard,
                                           .offset = offset,
                                           .buf = buf,
                                           .cap = LOG_BATCH_BYTES_MAX}};
            err = run_op(demo, &op, LOG_OP_READ);
            if (err == ERR_OK) {
                err = compare_batches(demo, &reader, buf, op.u.read.ret_bytes);
                offset = op.u.read.ret_next_offset;
            }
        }
    }
    mem_free(buf);
    record_reader_release(&reader);
    log_reader_free(demo->log, log_reader);
    return err;
}

static bool print_results(const struct demo *demo)
{
    const struct recount *recount = &demo->recount;
    printf("\n hour       views   recount   users   busiest user\n");
    for (int32_t hour = 0; hour < RECOUNT_HOURS; hour++) {
        struct recount_hour h = recount_hour(recount, hour);
        if (h.views == 0 && h.told == 0) {
            continue;
        }
        char busiest[48] = "-";
        if (h.busiest >= 0) {
            IGNORE_RESULT(
                snprintf(busiest, sizeof busiest, "u%06d with %u", h.busiest, h.busiest_views));
        }
        printf(" %02d:00 %10lld %9lld %7d   %s%s\n", (hour + HOURS - 1) % HOURS, (long long)h.told,
               (long long)h.views, h.users, busiest, h.told == h.views ? "" : "   DIFFERENT");
    }
    bool equal = recount_equal(recount);
    printf(
        "\n%lld records, %lld views, %lld results of which %lld were due; twice %lld, different %lld, strange %lld\n"
        "%s the independent recount. %.1f s in all.\n",
        (long long)recount->records, (long long)recount->views, (long long)recount->results,
        (long long)recount_due(recount), (long long)recount->repeated,
        (long long)recount->different, (long long)recount->strange,
        equal ? "Equal to" : "NOT EQUAL to",
        (double)(clock_now_ns(&demo->clock) - demo->start_ns) * 1e-9);
    return equal;
}

static void stop(struct demo *demo)
{
    if (demo->runtime != NULL) {
        node_runtime_stop(demo->runtime);
        IGNORE_RESULT(wait_state(demo, RUNTIME_STOPPED)); /* it goes away in any case */
    }
    while (demo->loop_count > 0) { /* lanes and control first, the log last */
        loop_stop(demo->loops[--demo->loop_count]);
    }
    node_runtime_free(demo->runtime);
    log_close(demo->log);
    demo_feed_release(&demo->feed);
    recount_release(&demo->recount);
    fs_real_close(&demo->fs);
    if (demo->dir[0] != 0) {
        temp_dir_remove(demo->dir);
    }
    arena_release(&demo->arena);
}

/* False, and said why, if an option's value is out of its range. */
static bool check_call(const struct cli *cli)
{
    if (cli_i64(cli, "nodes") < 1 || cli_i64(cli, "nodes") > NODES_DEMO_MAX) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: demo: --nodes is 1 to %d\n", NODES_DEMO_MAX));
        return false;
    }
    if (!(cli_f64(cli, "speed") >= 100) || !(cli_f64(cli, "rate-scale") > 0) ||
        cli_f64(cli, "rate-scale") > 1000 || !(cli_f64(cli, "story-speed") >= 1) ||
        cli_f64(cli, "story-speed") > 1000) {
        IGNORE_RESULT(fputs("shadowcast: demo: --speed is 100 or more, --rate-scale above 0, 1000 "
                            "at most, --story-speed 1 to 1000\n",
                            stderr)); /* nobody left to tell */
        return false;
    }
    return true;
}

int verb_demo(const struct cli *cli)
{
    static struct demo demo; /* large, and there is one */
    if (!check_call(cli)) {
        return EXIT_CODE_USAGE;
    }
    demo.clock = clock_real();
    demo.start_ns = clock_now_ns(&demo.clock);
    demo.terminal = isatty(STDERR_FILENO) == 1;
    demo.nodes = (int32_t)cli_i64(cli, "nodes");
    arena_init(&demo.arena, (ptrdiff_t)1 << 30);
    mailbox_init(&demo.done, NULL);
    enum err err = start(&demo);
    if (err == ERR_OK) {
        print_layout(&demo);
        IGNORE_RESULT(fflush(stdout)); /* main() judges stdout at the end */
        err = play(&demo, cli);
    }
    err = err == ERR_OK ? compare(&demo) : err;
    bool equal = err == ERR_OK && print_results(&demo);
    struct err_info info = demo.info;
    if (equal && !cli_flag(cli, "day-only")) {
        err = demo_story(&demo.trace, cli_f64(cli, "story-speed"), demo.terminal, &info);
    }
    stop(&demo);
    if (err != ERR_OK) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info.text)); /* nobody left to tell */
        return (int)exit_code_of(err);
    }
    return equal ? EXIT_CODE_OK : EXIT_CODE_FAILURE;
}
