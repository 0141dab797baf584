// SPDX-License-Identifier: Apache-2.0
#include "bench/row_loop.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/fs_real.h"
#include "base/real/temp_dir.h"
#include "base/rng.h"
#include "base/sketch.h"
#include "bench/loop_machine.h"
#include "bench/loop_sink.h"
#include "bench/loop_told.h"
#include "control/forecaster.h"
#include "control/history.h"
#include "log/embedded.h"
#include "log/record_batch.h"
#include "node/shadow.h"
#include "shadowstore/shadowstore.h"

enum {
    SHARDS_MAX = 8,
    KEYS = 5000,
    YAML_MAX = 4096,
    LOOPS_MAX = LOG_LOOPS_MAX + REPLAY_NODES_MAX + 4,
    PAST_STEP_S = 300,
    PAST_MAX = 40000,
    WORDS = 100, /* in a record: what makes it dear */
    RECORD_BYTES = 1024,
    ANSWER_ARENA_MAX = 64 << 20,
    LEAD_ARENA_MAX = 1 << 20,
    LATE_SLACK_S = 3600
};

/* What a record is taken to cost before it is measured. */
#define FIRST_COST_S 8e-6

enum { LINGERS = 8 };

#define TICK_NS   INT64_C(1000000)
#define SECOND_NS INT64_C(1000000000)

/* The chain: text to fields, some of which are worked on, so that a record costs enough for lanes of a few percent of a core
 * to be full before the generator is. */
static const char config_yaml[] =
    "version: 1\n"
    "nodes: {count: %d, max: %d, lanes: 1, capacity: %.4f, startup: %lldms}\n"
    "manager: {mode: act, interval: 10s, time_scale: %g, policy: %s, sustain: 5m, budget: 0, "
    "cooldown: 1m}\n"
    "streams:\n"
    "  in: {shards: %d}\n"
    "  out: {shards: 1, codec: none}\n"
    "pipelines:\n"
    "  loop:\n"
    "    objective: %lldms\n"
    "    commit: %lldms\n"
    "    shadowing: {sustain: 60s}\n"
    "    stages:\n"
    "      - {name: words, from: in, partitions: %d, chain: [%s], to: out}\n";

static const char chain_work[] =
    "{parse: {name: p, format: json, fields: {user: string, due: int, words: string}}}, "
    "{flat_map: {name: w, split: words, by: ' ', into: word}}, "
    "{filter: {name: f, where: \"word == 'last'\"}}, {map: {name: m, select: [due]}}";

/* Of each record only the key is looked at, and one in a hundred passes: what it costs is to read it. */
static const char chain_read[] = "{filter: {name: f, where: \"key < 'u00050'\"}}";
enum { READ_PASSES = 50 }; /* of KEYS */

/* --- the process, but for its API --- */

struct replay_process {
    const struct replay_options *options;
    struct clock clock;
    struct arena arena;
    char dir[TEMP_DIR_MAX];
    struct fs fs;
    bool fs_open;
    const struct config *config;
    struct log *log;
    struct history *history;
    struct forecaster *forecaster;
    struct control *control;
    struct control_past past;
    struct loop *loops[LOOPS_MAX]; /* the log's first */
    int32_t loop_count;
    struct loop_sink sink;
    int64_t begin_unix_ms; /* of the stretch, of the wall */
    struct loop_machine machine;
    struct loop *sink_loop, *machine_loop;
    /* of shadows, where the policy casts them */
    struct shadowstore *store;
    struct control_store named_store;
    struct loop *store_loop, *shadow_loop;
    struct mailbox done;
    /* what control says as the stretch begins */
    bool lead_asked;
    struct control_request lead;
    struct mailbox lead_done;
    struct arena lead_arena;
};

/* The shadow lane's, to begin with: control sets both by what runs. */
#define SHADOW_BUDGET 0.1
enum { SHADOW_MEMORY_BYTES = 64 << 20 };

static struct loop *start_loop(const struct replay_process *p, const char *name, loop_step step,
                               void *ctx, struct waker *waker)
{
    return loop_start(&(struct loop_options){
        .name = name, .clock = &p->clock, .waker = waker, .step = step, .ctx = ctx, .cpu = -1});
}

static void add_loop(struct replay_process *p, const char *name, loop_step step, void *ctx,
                     struct waker *waker)
{
    CHECK(p->loop_count < LOOPS_MAX);
    p->loops[p->loop_count++] = start_loop(p, name, step, ctx, waker);
}

static int64_t ms_at_least(double ms, int64_t least)
{
    return ms > (double)least ? (int64_t)ms : least;
}

/* Demand of the stretch's start, in lanes. */
static double value_at(const struct trace *trace, double second)
{
    double at = second * 1e3 / (double)trace->step_ms;
    int64_t left = (int64_t)floor(at);
    left = left < 0 ? 0 : left;
    if (left >= trace->count - 1) {
        return trace->values[trace->count - 1];
    }
    double share = at - (double)left;
    double a = trace->values[left], b = trace->values[left + 1];
    a = isfinite(a) ? a : 0;
    b = isfinite(b) ? b : a;
    return a * (1 - share) + b * share;
}

static double peak_of(const struct replay_options *o)
{
    double peak = 0;
    for (int64_t s = 0; s <= o->length_s; s += 10) {
        peak = fmax(peak, value_at(o->trace, (double)(o->from_s + s)));
    }
    return peak;
}

/* Records a second of the wall for a value of the trace: the peak fills all lanes to 80 %. */
static double records_for(const struct replay_options *o, double peak, double value)
{
    return peak > 0 ? value / peak * 0.8 * o->nodes * o->capacity / o->record_cost_s : 0;
}

double replay_objective_ms(const struct replay_options *options)
{
    return (double)ms_at_least(1000 / options->scale, 10);
}

/* The fewest nodes on which no lane is above 80 % as the run begins: partitions are whole, so a lane may have one more of them
 * than the next. */
static int32_t first_nodes(const struct replay_options *o)
{
    double load = value_at(o->trace, (double)(o->from_s - o->lead_s)) / peak_of(o) * 0.8 * o->nodes;
    int32_t parts = o->partitions * o->shards, nodes = 1;
    for (; nodes < o->nodes; nodes++) {
        int32_t most = (parts + nodes - 1) / nodes;
        if (load * most / parts <= 0.8) {
            break;
        }
    }
    return strcmp(o->policy, "static-peak") == 0 ? o->nodes : nodes;
}

static enum err open_config(struct replay_process *p, struct err_info *info)
{
    const struct replay_options *o = p->options;
    char text[YAML_MAX];
    int32_t begin = first_nodes(o);
    int64_t objective_ms = (int64_t)replay_objective_ms(o);
    int len = snprintf(text, sizeof(text), config_yaml, begin, o->nodes, o->capacity,
                       (long long)(o->startup_ns / 1000000), o->scale, o->policy, o->shards,
                       (long long)objective_ms, (long long)ms_at_least(200 / o->scale, 2),
                       o->partitions, o->reads ? chain_read : chain_work);
    CHECK(len > 0 && len < YAML_MAX);
    p->sink.objective_ns = objective_ms * 1000000;
    return config_load(&p->arena, "loop", (struct str){text, len}, &p->config, info);
}

/* Rates of the days before, at steps of five minutes. */
static void fill_past(struct replay_process *p)
{
    const struct replay_options *o = p->options;
    int64_t until_s = o->from_s - o->lead_s, count = until_s > 0 ? until_s / PAST_STEP_S : 0;
    count = count < PAST_MAX ? count : PAST_MAX;
    double *rates = ARENA_NEW_ARRAY(&p->arena, double, count + 1);
    double peak = peak_of(o);
    for (int64_t i = 0; i < count; i++) {
        double middle = (double)(until_s - (count - i) * PAST_STEP_S) + PAST_STEP_S / 2.0;
        rates[i] = records_for(o, peak, value_at(o->trace, middle));
    }
    p->past = (struct control_past){.rate_per_s = rates, .count = count, .step_s = PAST_STEP_S};
}

static bool casts_shadows(const struct replay_options *o)
{
    return strcmp(o->policy, "shadowcast") == 0;
}

static enum err open_store(struct replay_process *p, struct err_info *info)
{
    const struct shadow_store_spec *spec = p->config->shadow_stores[0];
    struct shadowstore_options options = {.kind = SHADOWSTORE_MEMORY,
                                          .name = spec->name,
                                          .name_space = STR("loop"),
                                          .incarnation = 1,
                                          .ttl_ns = spec->ttl_ns,
                                          .size_bytes = spec->size_bytes,
                                          .memory_bytes = spec->memory_bytes};
    CHECK(p->config->shadow_store_count == 1 && spec->kind == SHADOW_STORE_MEMORY);
    enum err err = shadowstore_new(&options, &p->store, info);
    p->named_store = (struct control_store){.name = spec->name, .store = p->store};
    return err;
}

static enum err open_process(struct replay_process *p, struct err_info *info)
{
    struct log_recovery_report report;
    const struct replay_options *o = p->options;
    enum err err = open_config(p, info);
    err = err == ERR_OK ? temp_dir_make_in_memory("shadowcast-loop", p->dir, info) : err;
    err = err == ERR_OK ? fs_real_open(p->dir, &p->fs, info) : err;
    p->fs_open = err == ERR_OK;
    if (err == ERR_OK) {
        err = log_embedded_open(
            &(struct log_embedded_options){.fs = &p->fs, .clock = &p->clock, .sync = LOG_SYNC},
            &p->log, &report, info);
    }
    err =
        err == ERR_OK ? history_new(&(struct history_options){.fs = NULL}, &p->history, info) : err;
    err = err == ERR_OK && casts_shadows(o) ? open_store(p, info) : err;
    if (err != ERR_OK) {
        return err;
    }
    const struct manager_spec *spec = &p->config->manager;
    p->forecaster = forecaster_new(&(struct forecaster_options){
        .step_s = (double)spec->interval_ns * 1e-9,
        .quantile = spec->price_late / (spec->price_late + spec->price_node)});
    fill_past(p);
    return control_new(
        &(struct control_options){.config = p->config,
                                  .log = p->log,
                                  .clock = &p->clock,
                                  .seed = o->seed,
                                  .history = p->history,
                                  .forecaster = p->forecaster,
                                  .past = p->past.count > 1 ? &p->past : NULL,
                                  .stores = &p->named_store,
                                  .store_count = p->store != NULL,
                                  .shadow_budget = p->store != NULL ? SHADOW_BUDGET : 0,
                                  .shadow_memory_bytes = p->store != NULL ? SHADOW_MEMORY_BYTES : 0,
                                  .rival_params = o->rival_params},
        &p->control, info);
}

static struct loop *start_idle(const struct replay_process *p, const struct shadowstore_loop *loop)
{
    return loop_start(&(struct loop_options){.name = loop->name,
                                             .clock = &p->clock,
                                             .waker = loop->waker,
                                             .step = loop->step,
                                             .ctx = loop->ctx,
                                             .class = LOOP_IDLE,
                                             .cpu = -1});
}

static void start_shadows(struct replay_process *p)
{
    struct shadowstore_loop loops[SHADOWSTORE_LOOPS_MAX];
    struct shadow_lane *lane = node_runtime_shadow_lane(control_runtime(p->control));
    CHECK(shadowstore_loops(p->store, loops) == 1 && lane != NULL);
    p->store_loop = start_idle(p, &loops[0]);
    p->shadow_loop = start_idle(p, &(struct shadowstore_loop){.name = "shadows",
                                                              .waker = shadow_lane_waker(lane),
                                                              .step = shadow_lane_step,
                                                              .ctx = lane});
}

static void start_loops(struct replay_process *p)
{
    struct log_loop loops[LOG_LOOPS_MAX];
    struct node_runtime *runtime = control_runtime(p->control);
    int count = log_loops(p->log, loops);
    for (int i = 0; i < count; i++) {
        add_loop(p, loops[i].name, loops[i].step, loops[i].ctx, loops[i].waker);
    }
    add_loop(p, "history", history_step, p->history, history_waker(p->history));
    add_loop(p, "forecaster", forecaster_step, p->forecaster, forecaster_waker(p->forecaster));
    add_loop(p, "control", control_step, p->control, control_waker(p->control));
    for (int32_t i = 0; i < node_runtime_lane_count(runtime); i++) {
        struct lane *lane = node_runtime_lane(runtime, i);
        add_loop(p, "lane", lane_step, lane, lane_waker(lane));
    }
    if (p->store != NULL) {
        start_shadows(p);
    }
}

static enum err wait_running(struct replay_process *p, struct err_info *info)
{
    int64_t begun_ns = clock_now_ns(&p->clock);
    while (!control_serving(p->control) ||
           node_runtime_state(control_runtime(p->control)) != RUNTIME_RUNNING) {
        if (control_failed(p->control, info)) {
            return info->code;
        }
        if (clock_now_ns(&p->clock) - begun_ns > 60 * SECOND_NS) {
            return err_set(info, ERR_TIMEOUT, "the pipeline does not come to run");
        }
        clock_real_sleep(TICK_NS);
    }
    return ERR_OK;
}

static void close_process(struct replay_process *p)
{
    loop_stop(p->sink_loop);
    loop_stop(p->machine_loop);
    loop_stop(p->shadow_loop);
    loop_stop(p->store_loop);
    while (p->loop_count > 0) { /* the log's last */
        loop_stop(p->loops[--p->loop_count]);
    }
    loop_sink_close(&p->sink);
    shadowstore_free(p->store); /* before those whose ops it gives back */
    control_free(p->control);
    forecaster_free(p->forecaster);
    history_free(p->history);
    log_close(p->log);
    if (p->fs_open) {
        fs_real_close(&p->fs);
    }
    if (p->dir[0] != 0) {
        temp_dir_remove(p->dir);
    }
    arena_release(&p->lead_arena);
    arena_release(&p->arena);
}

/* --- what control says of it --- */

static enum err ask_for(struct replay_process *p, enum control_kind kind, struct arena *arena,
                        struct control_rows *ret_rows)
{
    struct control_request request = {.kind = kind, .done = &p->done, .arena = arena};
    control_args_init(&request.args);
    text_init(&request.text, arena);
    request.args.limit = kind == CONTROL_SAMPLE_LIST ? CONTROL_SAMPLES_MAX : 1000;
    mailbox_push(control_mailbox(p->control), &request.msg);
    while (mailbox_take_all(&p->done) == NULL) {
        clock_real_sleep(TICK_NS);
    }
    *ret_rows = request.err == ERR_OK ? request.rows : (struct control_rows){.count = 0};
    return request.err;
}

static struct control_rows ask(struct replay_process *p, enum control_kind kind,
                               struct arena *arena)
{
    struct control_rows rows;
    IGNORE_RESULT(ask_for(p, kind, arena, &rows)); /* then there are none */
    return rows;
}

/* What was reserved before the stretch began: asked for once, read at the end. */
static void ask_lead(struct replay_process *p)
{
    if (p->lead_asked) {
        return;
    }
    p->lead_asked = true;
    p->lead = (struct control_request){
        .kind = CONTROL_MANAGER_GET, .done = &p->lead_done, .arena = &p->lead_arena};
    control_args_init(&p->lead.args);
    text_init(&p->lead.text, &p->lead_arena);
    mailbox_push(control_mailbox(p->control), &p->lead.msg);
}

static double lead_lane_seconds(struct replay_process *p)
{
    while (p->lead_asked && mailbox_take_all(&p->lead_done) == NULL) {
        clock_real_sleep(TICK_NS);
    }
    bool there = p->lead_asked && p->lead.err == ERR_OK && p->lead.rows.count > 0;
    return there ? ((const struct manager_row *)p->lead.rows.rows)[0].lane_seconds : 0;
}

/* --- the generator: the calling thread --- */

struct sender {
    struct log_op op; /* first */
    struct record_builder builder;
    struct shard_id shard;
    bool in_flight;
};

struct replay_feed {
    struct sender senders[SHARDS_MAX][2]; /* of each shard, one fills while one flies */
    int filling[SHARDS_MAX];
    struct rng rng;
    struct mailbox done;
    int64_t sent, due, failed; /* due: that are to come out */
    char words[RECORD_BYTES - 128];
};

static void take_sent(struct replay_feed *feed)
{
    struct msg *next = NULL;
    for (struct msg *msg = mailbox_take_all(&feed->done); msg != NULL; msg = next) {
        struct sender *sender = CONTAINER_OF(msg, struct sender, op.msg);
        next = msg->next;
        feed->failed += sender->op.err != ERR_OK;
        sender->in_flight = false;
    }
}

static void put_record(struct replay_feed *feed, const struct replay_options *o, int64_t due_ns)
{
    char key[16], value[RECORD_BYTES];
    int user = (int)rng_below(&feed->rng, KEYS);
    int key_len = snprintf(key, sizeof(key), "u%05d", user);
    int value_len =
        snprintf(value, sizeof(value), "{\"user\":\"u%05d\",\"due\":%lld,\"words\":\"%s\"}", user,
                 (long long)due_ns, feed->words);
    int32_t shard = log_shard_of_key((struct str){key, key_len}, o->shards);
    struct sender *sender = &feed->senders[shard][feed->filling[shard]];
    if (sender->builder.count == 0) {
        record_builder_reset(&sender->builder);
    }
    struct record record = {
        .timestamp_ms = due_ns / 1000000, .key = {key, key_len}, .value = {value, value_len}};
    if (record_builder_add(&sender->builder, &record) == ERR_OK) { /* else the log is far behind */
        feed->sent++;
        feed->due += !o->reads || user < READ_PASSES;
    }
}

static void send_waiting(struct replay_feed *feed, struct log *log, int32_t shards)
{
    take_sent(feed);
    for (int32_t i = 0; i < shards; i++) {
        struct sender *sender = &feed->senders[i][feed->filling[i]];
        void *bytes = NULL;
        ptrdiff_t len = 0;
        if (sender->builder.count == 0 || feed->senders[i][1 - feed->filling[i]].in_flight) {
            continue;
        }
        CHECK(record_builder_finish(&sender->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) ==
              ERR_OK);
        sender->op = (struct log_op){.kind = LOG_OP_APPEND, .done = &feed->done};
        sender->op.u.append =
            (struct log_append_op){.shard = sender->shard, .batch = bytes, .bytes = len};
        sender->in_flight = true;
        log_submit(log, &sender->op);
        feed->filling[i] = 1 - feed->filling[i];
        record_builder_reset(&feed->senders[i][feed->filling[i]].builder);
    }
}

static void feed_open(struct replay_feed *feed, const struct replay_process *p)
{
    const struct stage_stream *in = node_runtime_stream(control_runtime(p->control), STR("in"));
    CHECK(in != NULL);
    mailbox_init(&feed->done, NULL);
    size_t used = 0;
    for (int i = 0; i < WORDS; i++) {
        used += (size_t)snprintf(feed->words + used, sizeof(feed->words) - used, "w%d ", i);
        CHECK(used < sizeof(feed->words));
    }
    IGNORE_RESULT(snprintf(feed->words + used, sizeof(feed->words) - used, "last")); /* fits */
    rng_init(&feed->rng, p->options->seed);
    for (int32_t i = 0; i < p->options->shards; i++) {
        for (int b = 0; b < 2; b++) {
            feed->senders[i][b].shard = stage_shard(in, (uint32_t)i);
            record_builder_init(&feed->senders[i][b].builder, RECORD_CODEC_LZ4);
        }
    }
}

static void feed_close(struct replay_feed *feed, int32_t shards)
{
    for (int tries = 0; tries < 5000; tries++) { /* what flies comes back before its memory goes */
        bool out = false;
        take_sent(feed);
        for (int32_t i = 0; i < shards; i++) {
            out = out || feed->senders[i][0].in_flight || feed->senders[i][1].in_flight;
        }
        if (!out) {
            break;
        }
        clock_real_sleep(TICK_NS);
    }
    for (int32_t i = 0; i < shards; i++) {
        record_builder_release(&feed->senders[i][0].builder);
        record_builder_release(&feed->senders[i][1].builder);
    }
}

/* Plays the stretch. Records are gathered for an eighth of the objective, as producers do. */
static void play(struct replay_process *p, struct replay_feed *feed)
{
    const struct replay_options *o = p->options;
    double peak = peak_of(o), owed = 0, told = 0;
    int64_t begin_ns = p->sink.begin_ns, last_ns = clock_now_ns(&p->clock), sent_ns = last_ns;
    int64_t end_ns = begin_ns + (int64_t)((double)o->length_s / o->scale * 1e9);
    while (last_ns < end_ns) {
        int64_t now_ns = clock_now_ns(&p->clock);
        now_ns = now_ns < end_ns ? now_ns : end_ns;
        double at_s = (double)(now_ns - begin_ns) * 1e-9 * o->scale;
        double rate = records_for(o, peak, value_at(o->trace, (double)o->from_s + at_s));
        double fresh = rate * (double)(now_ns - last_ns) * 1e-9;
        int64_t count = (int64_t)(owed + fresh);
        for (int64_t i = 0; i < count; i++) {
            double share = (double)(i + 1) / (double)count;
            put_record(feed, o, last_ns + (int64_t)((double)(now_ns - last_ns) * share));
        }
        owed += fresh - (double)count;
        last_ns = now_ns;
        if (now_ns - sent_ns >= p->sink.objective_ns / LINGERS) {
            sent_ns = now_ns;
            send_waiting(feed, p->log, o->shards);
        }
        if (now_ns >= begin_ns) {
            ask_lead(p);
        }
        double done = (double)(now_ns - begin_ns) / (double)(end_ns - begin_ns);
        if (o->progress != NULL && done - told > 0.01) {
            told = done;
            o->progress(o->progress_ctx, done, o->policy);
        }
        clock_real_sleep(TICK_NS);
    }
    for (int tries = 0; tries < 12000; tries++) { /* the last ones go out, and come through */
        send_waiting(feed, p->log, o->shards);
        if (atomic_load(&p->sink.seen) >= feed->due) {
            break;
        }
        clock_real_sleep(5 * TICK_NS);
    }
}

/* Until the manager has learned the days before. */
static enum err wait_manager(struct replay_process *p, struct err_info *info)
{
    struct control_rows rows;
    int64_t begun_ns = clock_now_ns(&p->clock);
    while (ask_for(p, CONTROL_MANAGER_GET, &p->arena, &rows) != ERR_OK) {
        if (clock_now_ns(&p->clock) - begun_ns > 600 * SECOND_NS) {
            return err_set(info, ERR_TIMEOUT, "the manager does not come to an end with the past");
        }
        clock_real_sleep(20 * TICK_NS);
    }
    return ERR_OK;
}

static void read_result(struct replay_process *p, const struct replay_feed *feed,
                        struct replay_result *r)
{
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_MAX);
    loop_stop(p->machine_loop); /* what it has measured is read now */
    p->machine_loop = NULL;
    r->machine = loop_machine_end(&p->machine);
    struct control_rows manager = ask(p, CONTROL_MANAGER_GET, &arena);
    struct control_rows operations = ask(p, CONTROL_OPERATION_LIST, &arena);
    struct control_rows decisions = ask(p, CONTROL_DECISION_LIST, &arena);
    struct control_rows samples = ask(p, CONTROL_SAMPLE_LIST, &arena);
    struct control_rows shadows = ask(p, CONTROL_SHADOW_LIST, &arena);
    if (manager.count > 0) {
        r->lane_hours =
            (((const struct manager_row *)manager.rows)[0].lane_seconds - lead_lane_seconds(p)) /
            3600;
    }
    loop_count_operations(&operations, p->begin_unix_ms, r);
    loop_count_decisions(&decisions, p->begin_unix_ms, p->options->scale, r);
    loop_fill_minutes(&samples, p->options->lead_s, p->options->length_s, r);
    loop_count_shadows(&shadows, r);
    r->record_cost_s = loop_record_cost(&samples);
    r->demand = loop_mean_demand(&samples);
    r->read_ratio = loop_read_ratio(&samples);
    r->records = feed->sent;
    r->missing = feed->due - atomic_load(&p->sink.seen);
    for (int64_t s = 0; s < p->sink.late_count; s++) {
        int64_t minute = s / 60 < r->minute_count ? s / 60 : r->minute_count - 1;
        r->late_s += p->sink.late[s];
        if (minute >= 0) {
            r->minutes[minute].late_s += p->sink.late[s];
        }
    }
    r->p50_ms = (double)histogram_quantile(&p->sink.latency, 0.5) * 1e-6;
    r->p99_ms = (double)histogram_quantile(&p->sink.latency, 0.99) * 1e-6;
    r->max_ms = (double)histogram_quantile(&p->sink.latency, 1) * 1e-6;
    r->lane_hours_peak = (double)p->options->nodes * (double)p->options->length_s / 3600;
    arena_release(&arena);
}

static enum err begin_sink(struct replay_process *p, struct err_info *info)
{
    struct loop_sink *sink = &p->sink;
    const struct replay_options *o = p->options;
    const struct stage_stream *out = node_runtime_stream(control_runtime(p->control), STR("out"));
    CHECK(out != NULL);
    int64_t lead_ns = (int64_t)((double)o->lead_s / o->scale * 1e9);
    enum err err = loop_sink_open(sink, p->log, stage_shard(out, 0), o->length_s + LATE_SLACK_S,
                                  o->scale, info);
    if (err != ERR_OK) {
        return err;
    }
    sink->begin_ns = clock_now_ns(&p->clock) + lead_ns;
    p->begin_unix_ms = clock_wall_unix_ms(&p->clock) + lead_ns / 1000000;
    loop_machine_begin(&p->machine, &p->clock);
    p->sink_loop = start_loop(p, "sink", loop_sink_step, sink, &sink->tail.waker);
    p->machine_loop = start_loop(p, "machine", loop_machine_step, &p->machine, &p->machine.waker);
    return ERR_OK;
}

static enum err options_check(const struct replay_options *o, struct err_info *info)
{
    if (o->partitions < 1 || o->partitions > REPLAY_PARTITIONS_MAX || o->nodes < 2 ||
        o->nodes > REPLAY_NODES_MAX || o->shards < 1 || o->shards > SHARDS_MAX ||
        !(o->scale >= 1 && o->scale <= 1000) || !(o->record_cost_s > 0) || o->length_s < 60 ||
        o->from_s < 0 || o->lead_s < 0 || !(peak_of(o) > 0)) {
        return err_set(
            info, ERR_INVALID,
            "a loop wants 2 to %d nodes, 1 to %d shards with 1 to %d partitions each, a scale of 1 "
            "to 1000, a minute or more of the trace, and some load in it",
            REPLAY_NODES_MAX, SHARDS_MAX, REPLAY_PARTITIONS_MAX);
    }
    return ERR_OK;
}

enum err replay_run(const struct replay_options *options, struct replay_result *ret_result,
                    struct err_info *info)
{
    struct replay_process *p = MEM_NEW(struct replay_process);
    struct replay_feed *feed = MEM_NEW(struct replay_feed);
    p->options = options;
    p->clock = clock_real();
    arena_init(&p->arena, ANSWER_ARENA_MAX);
    arena_init(&p->lead_arena, LEAD_ARENA_MAX);
    mailbox_init(&p->done, NULL);
    mailbox_init(&p->lead_done, NULL);
    *ret_result = (struct replay_result){.demand_at_change = (double)NAN};
    enum err err = options_check(options, info);
    err = err == ERR_OK ? open_process(p, info) : err;
    if (err == ERR_OK) {
        start_loops(p);
        err = wait_running(p, info);
    }
    err = err == ERR_OK ? wait_manager(p, info) : err;
    err = err == ERR_OK ? begin_sink(p, info) : err;
    if (err == ERR_OK) {
        feed_open(feed, p);
        play(p, feed);
        read_result(p, feed, ret_result);
        feed_close(feed, options->shards);
    }
    close_process(p);
    mem_free(p);
    mem_free(feed);
    return err;
}

/* --- beside it --- */

int64_t replay_find_rise(const struct trace *trace, int64_t length_s)
{
    int64_t all_s = (int64_t)(trace->count - 1) * trace->step_ms / 1000, best_s = 0;
    double best = -1;
    for (int64_t from = all_s / 2; from + length_s <= all_s; from += 600) {
        double low = fmax(value_at(trace, (double)from), 1e-9), high = 0;
        for (int64_t s = length_s / 4; s < length_s * 3 / 4; s += 300) {
            high = fmax(high, value_at(trace, (double)(from + s)));
        }
        /* By how much, of what the trace has at most: a rise from next to nothing to little is none. */
        double rise = high - low;
        if (rise > best) {
            best = rise;
            best_s = from;
        }
    }
    return best_s;
}

/* The load's peak is to fill all lanes to 80 %, with what lanes need beside records and what each reads for itself. What a record
 * costs depends on how many come together: so it is measured at that rate, on those lanes. */
enum err replay_calibrate(const struct replay_options *options,
                          struct replay_calibration *ret_calibration, struct err_info *info)
{
    enum { CALIBRATE_S = 4, ROUNDS = 3 };
    double values[3] = {1, 1, 1};
    struct replay_calibration calibration = {.record_cost_s = FIRST_COST_S};
    struct trace flat = {.count = 3, .step_ms = 3600000, .values = values};
    struct replay_options o = *options;
    struct replay_result *result = MEM_NEW(struct replay_result);
    enum err err = ERR_OK;
    o.trace = &flat;
    o.from_s = o.lead_s = 0;
    o.length_s = (int64_t)ceil(fmax(60, CALIBRATE_S * o.scale));
    o.policy = "static-peak";
    o.progress = NULL;
    for (int i = 0; i < ROUNDS && err == ERR_OK; i++) {
        o.record_cost_s = calibration.record_cost_s;
        err = replay_run(&o, result, info);
        if (err == ERR_OK && !(result->demand > 0)) {
            err =
                err_set(info, ERR_INTERNAL, "no record was processed while the cost was measured");
        }
        calibration.record_cost_s *= err == ERR_OK ? result->demand / (0.8 * o.nodes) : 1;
        calibration.yardstick_us = result->machine.yardstick_us;
    }
    *ret_calibration = calibration;
    mem_free(result);
    return err;
}
