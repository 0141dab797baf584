// SPDX-License-Identifier: Apache-2.0
/* Control in the simulator's world, on the engine in memory, behind a log that refuses when told to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "control/control.h"
#include "log/memory.h"
#include "sim/world.h"
#include "test.h"

enum { CALLS_MAX = 64, STEPS_MAX = 2000000, BODY_MAX = 4096 };
#define SECOND_NS 1000000000LL

/* A log that completes commits to a shard as NO_SPACE while it is told to. */
struct refusing_log {
    struct log log; /* first */
    struct log *inner;
    int64_t refused_shard; /* -1: none */
    int refusals, commits;
};

static void submit(struct log *log, struct log_op *op)
{
    struct refusing_log *r = (struct refusing_log *)log;
    if (op->kind == LOG_OP_COMMIT) {
        r->commits++;
        for (int32_t i = 0; i < op->u.commit.batch_count; i++) {
            if (op->u.commit.batches[i].shard.v == r->refused_shard) {
                r->refusals++;
                op->err = err_set(&op->info, ERR_NO_SPACE, "the disk is full");
                mailbox_push(op->done, &op->msg);
                return;
            }
        }
    }
    log_submit(r->inner, op);
}

static int64_t end_offset(struct log *log, struct shard_id shard)
{
    return log_end_offset(((struct refusing_log *)log)->inner, shard);
}

static enum err watch(struct log *log, struct shard_id shard, struct waker *waker)
{
    return log_watch(((struct refusing_log *)log)->inner, shard, waker);
}

static void unwatch(struct log *log, struct shard_id shard, struct waker *waker)
{
    log_unwatch(((struct refusing_log *)log)->inner, shard, waker);
}

static struct log *inner_of_reader;

static struct log_reader *reader_new(struct log *log)
{
    inner_of_reader = ((struct refusing_log *)log)->inner;
    return log_reader_new(inner_of_reader);
}

static void reader_free(struct log_reader *reader)
{
    log_reader_free(inner_of_reader, reader);
}

static int loops(struct log *log, struct log_loop ret_loops[LOG_LOOPS_MAX])
{
    return log_loops(((struct refusing_log *)log)->inner, ret_loops);
}

static void close_log(struct log *log)
{
    log_close(((struct refusing_log *)log)->inner);
}

static const struct log_vtable refusing = {submit,     end_offset,  watch, unwatch,
                                           reader_new, reader_free, loops, close_log};

static struct world *world;
static struct refusing_log wrapper;
static struct arena config_arena;
static const struct config *config;
static struct control *control;
static int things[32];
static int thing_count;
static struct waker waker;
static struct mailbox done;
static int answered;

/* Calls: each with its own memory, until end(). */
static struct call {
    struct control_request request; /* first */
    struct arena arena;
    bool back;
    char body[BODY_MAX + 64];
} calls[CALLS_MAX];
static int call_count;

static int64_t collect(void *ctx, int64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
    struct msg *next = NULL;
    for (struct msg *msg = mailbox_take_all(&done); msg != NULL; msg = next) {
        next = msg->next;
        CONTAINER_OF(msg, struct call, request.msg)->back = true;
        answered++;
    }
    return CLOCK_NEVER;
}

static void add(const char *name, loop_step step, void *ctx, struct waker *its)
{
    CHECK(thing_count < (int)COUNT_OF(things));
    things[thing_count++] = world_add(world, name, step, ctx, its);
}

static bool is_serving(void *ctx)
{
    (void)ctx;
    return control_serving(control) &&
           node_runtime_state(control_runtime(control)) == RUNTIME_RUNNING;
}

static void start_control(void)
{
    struct err_info info;
    enum err err = control_new(&(struct control_options){.config = config,
                                                         .log = &wrapper.log,
                                                         .clock = world_clock(world),
                                                         .seed = test_seed()},
                               &control, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    struct node_runtime *runtime = control_runtime(control);
    add("control", control_step, control, control_waker(control));
    for (int32_t i = 0; i < node_runtime_lane_count(runtime); i++) {
        struct lane *lane = node_runtime_lane(runtime, i);
        add("lane", lane_step, lane, lane_waker(lane));
    }
    CHECK(world_run(world, is_serving, NULL, world_now_ns(world) + 60 * SECOND_NS, STEPS_MAX) ==
          WORLD_DONE);
}

/* The process dies: what it had in flight may or may not have taken effect. */
static void kill_control(void)
{
    for (int i = 0; i < thing_count; i++) {
        world_remove(world, things[i]);
    }
    thing_count = 0;
    log_memory_drop_clients(wrapper.inner);
    control_free(control);
    control = NULL;
}

static void begin_with(double again_probability, const char *text)
{
    struct err_info info;
    struct log_loop log_loops_[LOG_LOOPS_MAX];
    thing_count = 0;
    world = world_new(&(struct world_options){.seed = test_seed()});
    wrapper = (struct refusing_log){.log = {.vtable = &refusing, .engine = "memory"},
                                    .refused_shard = -1};
    wrapper.inner =
        log_memory_new(&(struct log_memory_options){.clock = world_clock(world),
                                                    .seed = test_seed() + 1,
                                                    .commit_delay_ns = 2000000,
                                                    .again_probability = again_probability,
                                                    .lost_reply_probability = 0.5});
    int count = log_loops(&wrapper.log, log_loops_);
    for (int i = 0; i < count; i++) {
        world_add(world, log_loops_[i].name, log_loops_[i].step, log_loops_[i].ctx,
                  log_loops_[i].waker);
    }
    arena_init(&config_arena, 64 << 20);
    CHECK(config_load(&config_arena, "test", str_of(text), &config, &info) == ERR_OK);
    waker_init(&waker);
    mailbox_init(&done, &waker);
    world_add(world, "caller", collect, NULL, &waker);
    call_count = 0;
    start_control();
}

static void begin(double again_probability)
{
    begin_with(again_probability, "version: 1\nstreams:\n  a: {shards: 3}\n  b: {shards: 1}\n"
                                  "  c: {shards: 4, time: {ingest_field: ts, max_future: 1h}}\n");
}

static void end(void)
{
    kill_control();
    for (int i = 0; i < call_count; i++) {
        arena_release(&calls[i].arena);
    }
    log_close(&wrapper.log);
    world_free(world);
    arena_release(&config_arena);
}

/* A call that is not sent yet. */
static struct call *prepare(enum control_kind kind, const char *stream, const char *body)
{
    CHECK(call_count < CALLS_MAX);
    struct call *call = &calls[call_count++];
    *call = (struct call){.back = false};
    arena_init(&call->arena, CONTROL_ARENA_MAX);
    call->request.kind = kind;
    call->request.done = &done;
    call->request.arena = &call->arena;
    control_args_init(&call->request.args);
    text_init(&call->request.text, &call->arena);
    IGNORE_RESULT(
        snprintf(call->request.args.stream, sizeof(call->request.args.stream), "%s", stream));
    if (body != NULL) {
        CHECK(strlen(body) <= BODY_MAX);
        memcpy(call->body, body, strlen(body));
        call->request.body = (struct str){call->body, (ptrdiff_t)strlen(body)};
    }
    return call;
}

static void send_call(struct call *call)
{
    mailbox_push(control_mailbox(control), &call->request.msg);
}

static bool all_back(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < call_count; i++) {
        if (!calls[i].back) {
            return false;
        }
    }
    return true;
}

static void wait_all(void)
{
    CHECK(world_run(world, all_back, NULL, world_now_ns(world) + 100 * SECOND_NS, STEPS_MAX) ==
          WORLD_DONE);
}

static struct call *ask(enum control_kind kind, const char *stream, const char *body)
{
    struct call *call = prepare(kind, stream, body);
    send_call(call);
    wait_all();
    return call;
}

static const struct appended_row *appended(const struct call *call)
{
    CHECK_MSG(call->request.err == ERR_OK, "%s", call->request.info.text);
    return call->request.rows.rows;
}

/* The number of records in all shards of a stream. */
static int64_t count(const char *stream)
{
    struct call *call = ask(CONTROL_STREAM_GET, stream, NULL);
    CHECK_MSG(call->request.err == ERR_OK, "%s", call->request.info.text);
    int64_t records = 0;
    struct call *shards = ask(CONTROL_SHARD_LIST, stream, NULL);
    for (int32_t i = 0; i < shards->request.rows.count; i++) {
        struct call *read = prepare(CONTROL_READ, stream, NULL);
        read->request.args.shard = i;
        read->request.args.offset = -2;
        read->request.args.limit = CONTROL_READ_RECORDS_MAX;
        read->request.args.format = READ_RAW;
        send_call(read);
        wait_all();
        CHECK_MSG(read->request.err == ERR_OK, "%s", read->request.info.text);
        for (ptrdiff_t at = 0; at < read->request.text.len; at++) {
            records += read->request.text.ptr[at] == '\n';
        }
    }
    return records;
}

static const char three[] = "{\"k\":1}\n{\"k\":2}\n{\"k\":3}\n";

static struct call *produce(const char *stream, int64_t id, int64_t sequence)
{
    struct call *call = prepare(CONTROL_INGEST, stream, three);
    call->request.args.producer_id = id;
    call->request.args.producer_epoch = 0;
    call->request.args.producer_sequence = sequence;
    memcpy(call->request.args.key_field, "k", 2);
    return call;
}

static bool has_mail(void *ctx)
{
    return mailbox_take_all(ctx) != NULL;
}

/* A stream that control did not make. */
static void make_stream(const char *name, uint32_t flags)
{
    struct mailbox box;
    struct waker nobody;
    waker_init(&nobody);
    mailbox_init(&box, &nobody);
    struct log_op op = {.kind = LOG_OP_STREAM_CREATE, .done = &box};
    op.u.stream.config = (struct stream_config){
        .flags = flags, .shard_count = 2, .retention_ms = -1, .retention_bytes = -1};
    memcpy(op.u.stream.config.name, name, strlen(name) + 1);
    log_submit(&wrapper.log, &op);
    CHECK(world_run(world, has_mail, &box, world_now_ns(world) + SECOND_NS, STEPS_MAX) ==
          WORLD_DONE);
    CHECK_MSG(op.err == ERR_OK, "%s", op.info.text);
}

TEST(only_streams_of_stages_that_are_no_more_may_be_deleted_of_the_reserved_ones)
{
    static const char text[] = "version: 1\nstreams:\n  a: {shards: 1}\n  b: {shards: 1}\n"
                               "pipelines:\n  p:\n    stages:\n"
                               "      - {name: kept, from: a, chain: [], to: b}\n";
    begin_with(0, text);
    EXPECT_STR(str_of(control_left_over(control)), str_of(""));
    make_stream("sc.p.gone.log", STREAM_INTERNAL | STREAM_CHANGELOG);
    make_stream("sc.q.gone.log", STREAM_INTERNAL | STREAM_CHANGELOG);
    kill_control();
    start_control();
    EXPECT_STR(str_of(control_left_over(control)),
               str_of("sc.p.gone.log, sc.q.gone.log")); /* and told at start */
    make_stream("sc.p.gone", STREAM_INTERNAL);
    make_stream("sc.shadow.1", STREAM_INTERNAL | STREAM_SCRATCH);
    static const struct {
        const char *name;
        enum err err;
    } cases[] = {{"sc.p.gone.log", ERR_OK},        {"sc.p.gone", ERR_OK},
                 {"sc.p.gone.log", ERR_NOT_FOUND}, {"sc.p.kept.log", ERR_DENIED},
                 {"sc.shadow.1", ERR_DENIED},      {"sc.ingest", ERR_DENIED},
                 {"sc.audit", ERR_DENIED}};
    for (int i = 0; i < COUNT_OF(cases); i++) {
        struct call *call = ask(CONTROL_STREAM_DELETE, cases[i].name, NULL);
        EXPECT_MSG(call->request.err == cases[i].err, "%s: %s", cases[i].name,
                   call->request.info.text);
    }
    end();
}

TEST(calls_that_come_together_share_a_commit)
{
    begin(0);
    for (int i = 0; i < 20; i++) {
        send_call(prepare(CONTROL_INGEST, "a", three));
    }
    wait_all();
    for (int i = 0; i < 20; i++) {
        EXPECT_INT(appended(&calls[i])->records, 3);
    }
    EXPECT_MSG(wrapper.commits <= 5, "%d commits", wrapper.commits);
    EXPECT_INT(count("a"), 60);
    end();
}

TEST(a_full_disk_is_told_to_the_calls_that_met_it_and_to_no_other)
{
    begin(0);
    struct call *shards = ask(CONTROL_INGEST, "b", three);
    EXPECT_INT(appended(shards)->shard, 0);
    /* Which shard of the log that is: the one whose refusal makes the call fail. */
    for (wrapper.refused_shard = 0; wrapper.refused_shard < 64; wrapper.refused_shard++) {
        int before = wrapper.refusals;
        struct call *probe = ask(CONTROL_INGEST, "b", three);
        if (wrapper.refusals > before) {
            EXPECT_INT(probe->request.err, ERR_NO_SPACE);
            break;
        }
    }
    EXPECT(wrapper.refused_shard < 64);
    int64_t stored = count("b");
    int first = call_count;
    for (int i = 0; i < 10; i++) {
        send_call(prepare(CONTROL_INGEST, i % 3 == 1 ? "b" : "a", three));
    }
    wait_all();
    for (int i = 0; i < 10; i++) {
        EXPECT_INT(calls[first + i].request.err, i % 3 == 1 ? ERR_NO_SPACE : ERR_OK);
    }
    EXPECT_INT(count("a"), 21);
    EXPECT_INT(count("b"), stored);
    wrapper.refused_shard = -1;
    EXPECT_INT(appended(ask(CONTROL_INGEST, "b", three))->records, 3);
    end();
}

TEST(a_refused_call_may_be_repeated_with_its_sequence)
{
    begin(0);
    struct call *made = ask(CONTROL_PRODUCER_NEW, "", NULL);
    int64_t id = ((const struct producer_row *)made->request.rows.rows)->id;
    send_call(produce("b", id, 0));
    wait_all();
    for (wrapper.refused_shard = 0; wrapper.refusals == 0; wrapper.refused_shard++) {
        IGNORE_RESULT(ask(CONTROL_INGEST, "b", three)); /* looks for the shard */
        if (wrapper.refusals > 0) {
            break;
        }
    }
    int first = call_count;
    send_call(produce("b", id, 3));
    send_call(produce("b", id, 6)); /* built upon the one that fails */
    wait_all();
    EXPECT_INT(calls[first].request.err, ERR_NO_SPACE);
    EXPECT(calls[first + 1].request.err != ERR_OK);
    wrapper.refused_shard = -1;
    int64_t before = count("b");
    first = call_count;
    send_call(produce("b", id, 3));
    send_call(produce("b", id, 6));
    wait_all();
    EXPECT(!appended(&calls[first])->duplicate && !appended(&calls[first + 1])->duplicate);
    EXPECT_INT(count("b"), before + 6);
    end();
}

static bool commit_is_out(void *ctx)
{
    return wrapper.commits > *(const int *)ctx;
}

/* The second call comes while the first one is being committed, and fails alone: the first is known as stored. */
TEST(a_call_stays_known_when_one_built_upon_it_fails)
{
    begin(0);
    struct call *made = ask(CONTROL_PRODUCER_NEW, "", NULL);
    int64_t id = ((const struct producer_row *)made->request.rows.rows)->id;
    for (wrapper.refused_shard = 0; wrapper.refusals == 0; wrapper.refused_shard++) {
        IGNORE_RESULT(ask(CONTROL_INGEST, "b", three)); /* looks for the shard */
        if (wrapper.refusals > 0) {
            break;
        }
    }
    int64_t shard = wrapper.refused_shard;
    wrapper.refused_shard = -1;
    int first = call_count, commits = wrapper.commits;
    send_call(produce("b", id, 0));
    CHECK(world_run(world, commit_is_out, &commits, CLOCK_NEVER, STEPS_MAX) == WORLD_DONE);
    send_call(produce("b", id, 3));
    wrapper.refused_shard = shard;
    wait_all();
    int64_t offset = appended(&calls[first])->offset;
    EXPECT_INT(calls[first + 1].request.err, ERR_NO_SPACE);
    wrapper.refused_shard = -1;
    struct call *again = produce("b", id, 0);
    send_call(again);
    wait_all();
    EXPECT_MSG(again->request.err == ERR_OK, "%s", again->request.info.text);
    EXPECT(appended(again)->duplicate);
    EXPECT_INT(appended(again)->offset, offset);
    again = produce("b", id, 3);
    send_call(again);
    wait_all();
    EXPECT(!appended(again)->duplicate);
    end();
}

/* A producer that repeats each call until it is answered, over deaths of the process at random times and replies that
 * get lost: every call is stored once. */
TEST(nothing_is_lost_or_doubled_over_deaths_and_lost_replies)
{
    begin(0.2);
    struct call *made = ask(CONTROL_PRODUCER_NEW, "", NULL);
    CHECK(made->request.err == ERR_OK);
    int64_t id = ((const struct producer_row *)made->request.rows.rows)->id;
    struct rng *rng = world_rng(world);
    int deaths = 0;
    for (int64_t sequence = 0; sequence < 150;) {
        for (int i = 0; i < call_count; i++) {
            arena_release(&calls[i].arena);
        }
        call_count = 0;
        struct call *call = produce("a", id, sequence);
        send_call(call);
        int64_t until_ns = world_now_ns(world) + rng_range(rng, 0, 8000000);
        enum world_end how = world_run(world, all_back, NULL, until_ns, STEPS_MAX);
        if (how != WORLD_DONE) {
            kill_control();
            IGNORE_RESULT(mailbox_take_all(&done)); /* an answer that nobody reads any more */
            start_control();
            deaths++;
        } else if (call->request.err == ERR_OK) {
            sequence += 3;
        } else {
            EXPECT_MSG(err_class_of(call->request.err) == ERR_CLASS_RETRY, "%s",
                       call->request.info.text);
        }
    }
    for (int i = 0; i < call_count; i++) {
        arena_release(&calls[i].arena);
    }
    call_count = 0;
    EXPECT_INT(count("a"), 150);
    EXPECT_MSG(deaths > 10, "only %d deaths", deaths);
    end();
}

TEST(keyed_records_go_where_java_clients_send_them_and_keyless_ones_stay_together)
{
    begin(0);
    struct call *keyed = prepare(CONTROL_INGEST, "a", "{\"k\":\"x\"}\n{\"k\":\"x\"}\n");
    memcpy(keyed->request.args.key_field, "k", 2);
    send_call(keyed);
    wait_all();
    EXPECT_INT(appended(keyed)->shard, log_shard_of_key(STR("x"), 3));
    EXPECT(appended(ask(CONTROL_INGEST, "a", three))->shard >= 0);
    struct call *chosen = prepare(CONTROL_INGEST, "a", three);
    chosen->request.args.shard = 2;
    send_call(chosen);
    wait_all();
    EXPECT_INT(appended(chosen)->shard, 2);
    chosen = prepare(CONTROL_INGEST, "a", three);
    chosen->request.args.shard = 3;
    send_call(chosen);
    wait_all();
    EXPECT_INT(chosen->request.err, ERR_INVALID);
    end();
}

TEST(a_time_too_far_in_the_future_is_judged_at_ingest)
{
    char body[256];
    begin(0);
    long long now_ms = (long long)clock_wall_unix_ms(world_clock(world));
    IGNORE_RESULT(snprintf(body, sizeof(body), "{\"ts\":%lld}\n{\"ts\":%lld}\n", now_ms + 3500000,
                           now_ms + 3700000));
    const struct appended_row *row = appended(ask(CONTROL_INGEST, "c", body));
    EXPECT_INT(row->records, 1);
    EXPECT_INT(row->rejected, 1);
    EXPECT(str_starts_with(row->reason, STR("line 2: ")));
    end();
}

TEST(readers_of_internal_streams_are_admins)
{
    begin(0);
    struct call *call = ask(CONTROL_READ, "sc.audit", NULL);
    EXPECT_INT(call->request.err, ERR_DENIED);
    call = prepare(CONTROL_READ, "sc.audit", NULL);
    call->request.who.admin = true;
    send_call(call);
    wait_all();
    EXPECT_INT(call->request.err, ERR_OK);
    call = ask(CONTROL_INGEST, "sc.ingest", three);
    EXPECT_INT(call->request.err, ERR_DENIED);
    end();
}

TEST(a_waiting_read_is_woken_by_a_record_its_deadline_or_the_end)
{
    begin(0);
    struct call *read = prepare(CONTROL_READ, "b", NULL);
    read->request.args.wait_seconds = 20;
    int64_t begun_ns = world_now_ns(world);
    send_call(read);
    wait_all();
    EXPECT(read->request.err == ERR_OK && read->request.text.len == 0);
    EXPECT(world_now_ns(world) - begun_ns >= 20 * SECOND_NS);
    read = prepare(CONTROL_READ, "b", NULL);
    read->request.args.wait_seconds = 20;
    begun_ns = world_now_ns(world);
    send_call(read);
    send_call(prepare(CONTROL_INGEST, "b", three));
    wait_all();
    EXPECT(read->request.text.len > 0 && world_now_ns(world) - begun_ns < SECOND_NS);
    read = prepare(CONTROL_READ, "b", NULL);
    read->request.args.offset = -1;
    read->request.args.wait_seconds = 20;
    send_call(read);
    CHECK(world_run(world, all_back, NULL, world_now_ns(world) + SECOND_NS, STEPS_MAX) !=
          WORLD_DONE);
    begun_ns = world_now_ns(world);
    control_drain(control);
    wait_all();
    EXPECT(read->request.err == ERR_OK && world_now_ns(world) - begun_ns < SECOND_NS);
    end();
}

TEST(figures_come_from_all_lanes)
{
    begin(0);
    struct call *call = ask(CONTROL_LANE_LIST, "", NULL);
    EXPECT_INT(call->request.rows.count, node_runtime_lane_count(control_runtime(control)));
    call = ask(CONTROL_FIGURES, "", NULL);
    EXPECT(call->request.figures[0].entity == &process_entity);
    end();
}
