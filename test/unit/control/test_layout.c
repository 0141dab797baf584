// SPDX-License-Identifier: Apache-2.0
/* Orders that change the layout, through control, in the simulator's world on the engine in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "control/control.h"
#include "control/control_priv.h"
#include "log/memory.h"
#include "node/change.h"
#include "sim/world.h"
#include "test.h"

enum { CALLS_MAX = 256, STEPS_MAX = 2000000 };
#define SECOND_NS 1000000000LL

static struct world *world;
static struct log *log_;
static struct arena config_arena;
static const struct config *config;
static struct control *control;
static int things[32];
static int thing_count;
static struct waker waker;
static struct mailbox done;

static struct call {
    struct control_request request; /* first */
    struct arena arena;
    bool back;
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
    }
    return CLOCK_NEVER;
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
    enum err err = control_new(
        &(struct control_options){
            .config = config, .log = log_, .clock = world_clock(world), .seed = test_seed()},
        &control, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    struct node_runtime *runtime = control_runtime(control);
    things[thing_count++] =
        world_add(world, "control", control_step, control, control_waker(control));
    for (int32_t i = 0; i < node_runtime_lane_count(runtime); i++) {
        struct lane *lane = node_runtime_lane(runtime, i);
        CHECK(thing_count < (int)COUNT_OF(things));
        things[thing_count++] = world_add(world, "lane", lane_step, lane, lane_waker(lane));
    }
    CHECK(world_run(world, is_serving, NULL, world_now_ns(world) + 60 * SECOND_NS, STEPS_MAX) ==
          WORLD_DONE);
}

static void kill_control(void)
{
    for (int i = 0; i < thing_count; i++) {
        world_remove(world, things[i]);
    }
    thing_count = 0;
    log_memory_drop_clients(log_);
    control_free(control);
    control = NULL;
}

static void begin(uint64_t seed)
{
    static const char text[] =
        "version: 1\nnodes: {count: 2, max: 4, lanes: 2, capacity: 50%}\n"
        "streams:\n  in: {shards: 2}\n  out: {shards: 2}\n"
        "pipelines:\n  p:\n    commit: 20ms\n    stages:\n"
        "      - {name: s, from: in, partitions: 2, chain: [{parse: {name: j, format: json, "
        "fields: {user: string}}}, {window: {name: w, tumbling: 10s, out: {n: count}}}], to: "
        "out}\n";
    struct err_info info;
    struct log_loop loops[LOG_LOOPS_MAX];
    thing_count = 0;
    call_count = 0;
    world = world_new(&(struct world_options){.seed = seed});
    log_ = log_memory_new(&(struct log_memory_options){.clock = world_clock(world),
                                                       .seed = seed + 1,
                                                       .commit_delay_ns = 2000000,
                                                       .again_probability = 0.05,
                                                       .lost_reply_probability = 0.5});
    int count = log_loops(log_, loops);
    for (int i = 0; i < count; i++) {
        world_add(world, loops[i].name, loops[i].step, loops[i].ctx, loops[i].waker);
    }
    arena_init(&config_arena, 64 << 20);
    CHECK_MSG(config_load(&config_arena, "test", str_of(text), &config, &info) == ERR_OK, "%s",
              info.text);
    waker_init(&waker);
    mailbox_init(&done, &waker);
    world_add(world, "caller", collect, NULL, &waker);
    start_control();
}

static void end(void)
{
    kill_control();
    for (int i = 0; i < call_count; i++) {
        arena_release(&calls[i].arena);
    }
    log_close(log_);
    world_free(world);
    arena_release(&config_arena);
}

static struct call *prepare(enum control_kind kind)
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
    return call;
}

/* An order on "p/s/SHARD/RANGE". */
static struct call *order(enum control_kind kind, int shard, const char *range, bool apply)
{
    struct call *call = prepare(kind);
    struct control_args *args = &call->request.args;
    IGNORE_RESULT(snprintf(args->pipeline, sizeof(args->pipeline), "p")); /* fits */
    IGNORE_RESULT(snprintf(args->stage, sizeof(args->stage), "s"));
    IGNORE_RESULT(snprintf(args->range, sizeof(args->range), "%s", range));
    args->shard = shard;
    args->apply = apply;
    return call;
}

static struct call *node_order(enum control_kind kind, const char *node, bool apply)
{
    struct call *call = prepare(kind);
    IGNORE_RESULT(
        snprintf(call->request.args.node, sizeof(call->request.args.node), "%s", node)); /* fits */
    call->request.args.apply = apply;
    return call;
}

static void set(char *to, const char *text)
{
    memcpy(to, text, strlen(text) + 1);
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

static const struct operation_row *sent(struct call *call)
{
    send_call(call);
    wait_all();
    CHECK_MSG(call->request.err == ERR_OK, "%s", call->request.info.text);
    return call->request.rows.rows;
}

static enum err refused(struct call *call)
{
    send_call(call);
    wait_all();
    return call->request.err;
}

/* The operation when it is final. */
static const struct operation_row *ended(int64_t id)
{
    struct call *call = prepare(CONTROL_OPERATION_GET);
    call->request.args.operation = id;
    call->request.args.wait_seconds = 30;
    const struct operation_row *row = sent(call);
    CHECK(row->final);
    return row;
}

static const struct partition_map *map(void)
{
    return node_runtime_map(control_runtime(control), 0);
}

static bool has(uint32_t shard, uint32_t lo, uint32_t hi, int node, int lane)
{
    for (int32_t i = 0; i < map()->count; i++) {
        const struct partition_place *p = &map()->places[i];
        if (p->shard == shard && p->group_lo == lo && p->group_hi == hi) {
            return (node < 0 || p->node == node) && (lane < 0 || p->lane == lane);
        }
    }
    return false;
}

TEST(a_dry_run_tells_and_changes_nothing)
{
    begin(test_seed());
    uint64_t version = map()->version;
    const struct operation_row *row = sent(order(CONTROL_PARTITION_SPLIT, 0, "0-2048", false));
    EXPECT_STR(row->state, STR("checked"));
    EXPECT(row->dry_run && row->id == 0 && row->final);
    EXPECT_INT(row->border, 1024);
    EXPECT(row->expected_pause_seconds > 0);
    EXPECT_INT(calls[call_count - 1].request.status, 200);
    row = sent(node_order(CONTROL_NODE_ADD, "n2", false));
    EXPECT_STR(row->state, STR("checked"));
    EXPECT_INT(row->partitions, 0); /* four partitions on four lanes: none to spare */
    EXPECT(map()->version == version);
    EXPECT_INT(node_runtime_node_state(control_runtime(control), 2), NODE_OFF);
    end();
}

TEST(splits_merges_and_moves_are_operations)
{
    begin(test_seed());
    struct call *split = order(CONTROL_PARTITION_SPLIT, 0, "0-2048", true);
    split->request.args.border = 100;
    set(split->request.args.to, "n1/1");
    const struct operation_row *row = sent(split);
    EXPECT_INT(split->request.status, 202);
    EXPECT_INT(row->id, 1);
    EXPECT_STR(ended(1)->state, STR("done"));
    EXPECT(has(0, 0, 100, -1, -1) && has(0, 100, 2048, 1, 1));
    struct call *move = order(CONTROL_PARTITION_MIGRATE, 0, "0-100", true);
    set(move->request.args.to, "n1/0");
    EXPECT_STR(ended(sent(move)->id)->state, STR("done"));
    EXPECT(has(0, 0, 100, 1, 0));
    struct call *merge = order(CONTROL_PARTITION_MERGE, 0, "100-2048", true);
    set(merge->request.args.with, "p/s/0/0-100");
    row = ended(sent(merge)->id);
    EXPECT_STR(row->state, STR("done"));
    EXPECT_INT(row->id, 3);
    EXPECT_INT(row->partitions_done, 2);
    EXPECT(has(0, 0, 2048, -1, -1));
    end();
}

TEST(nodes_come_get_their_share_and_go)
{
    begin(test_seed());
    for (int i = 0; i < 4; i++) { /* eight partitions on four lanes */
        static const char *const ranges[] = {"0-2048", "2048-4096"};
        EXPECT_STR(
            ended(sent(order(CONTROL_PARTITION_SPLIT, i / 2, ranges[i % 2], true))->id)->state,
            STR("done"));
    }
    const struct operation_row *row = ended(sent(node_order(CONTROL_NODE_ADD, "n3", true))->id);
    EXPECT_STR(row->state, STR("done"));
    EXPECT_MSG(row->partitions >= 2, "%lld", (long long)row->partitions);
    EXPECT_INT(node_runtime_node_state(control_runtime(control), 3), NODE_ACTIVE);
    row = ended(sent(node_order(CONTROL_NODE_DRAIN, "n0", true))->id);
    EXPECT_STR(row->state, STR("done"));
    EXPECT_INT(node_runtime_node_state(control_runtime(control), 0), NODE_OFF);
    for (int32_t i = 0; i < map()->count; i++) {
        EXPECT(map()->places[i].node == 1 || map()->places[i].node == 3);
    }
    EXPECT_INT(refused(node_order(CONTROL_NODE_DRAIN, "n0", true)), ERR_CONFLICT);
    EXPECT_INT(refused(node_order(CONTROL_NODE_ADD, "n1", true)), ERR_CONFLICT);
    EXPECT_INT(refused(node_order(CONTROL_NODE_ADD, "n4", true)), ERR_NOT_FOUND);
    EXPECT_STR(ended(sent(node_order(CONTROL_NODE_DRAIN, "n3", true))->id)->state, STR("done"));
    EXPECT_INT(refused(node_order(CONTROL_NODE_DRAIN, "n1", true)), ERR_CONFLICT); /* the last */
    end();
}

TEST(orders_that_cannot_be_are_refused_and_leave_nothing)
{
    begin(test_seed());
    struct call *call = order(CONTROL_PARTITION_SPLIT, 0, "0-2048", true);
    call->request.args.border = 2048;
    EXPECT_INT(refused(call), ERR_INVALID);
    EXPECT_INT(refused(order(CONTROL_PARTITION_SPLIT, 0, "0-2047", true)), ERR_NOT_FOUND);
    EXPECT_INT(refused(order(CONTROL_PARTITION_SPLIT, 2, "0-2048", true)), ERR_NOT_FOUND);
    EXPECT_INT(refused(order(CONTROL_PARTITION_SPLIT, 0, "2048-0", true)), ERR_INVALID);
    call = order(CONTROL_PARTITION_MERGE, 0, "0-2048", true);
    set(call->request.args.with, "p/s/1/2048-4096");
    EXPECT_INT(refused(call), ERR_INVALID);
    call = order(CONTROL_PARTITION_MERGE, 0, "0-2048", true);
    set(call->request.args.with, "nonsense");
    EXPECT_INT(refused(call), ERR_INVALID);
    call = order(CONTROL_PARTITION_MIGRATE, 0, "0-2048", true);
    set(call->request.args.to, "n2");
    EXPECT_INT(refused(call), ERR_CONFLICT);
    call = order(CONTROL_PARTITION_MIGRATE, 0, "0-2048", true);
    set(call->request.args.to, "n1/7");
    EXPECT_INT(refused(call), ERR_INVALID);
    call = order(CONTROL_PARTITION_SPLIT, 0, "0-2048", true);
    set(call->request.args.if_match, "\"0000000000000009\"");
    EXPECT_INT(refused(call), ERR_PRECONDITION);
    call = prepare(CONTROL_OPERATION_GET);
    call->request.args.operation = 1;
    EXPECT_INT(refused(call), ERR_NOT_FOUND);
    EXPECT_INT(map()->version, 1);
    end();
}

TEST(the_same_key_again_is_the_first_operation)
{
    begin(test_seed());
    struct call *twins[3];
    for (int i = 0; i < 3; i++) { /* two at once, the third with another order */
        twins[i] = order(CONTROL_PARTITION_SPLIT, 0, "0-2048", true);
        set(twins[i]->request.args.idempotency_key, "once");
        if (i < 2) {
            send_call(twins[i]);
        }
    }
    int held = call_count;
    call_count = held - 1; /* the third is not sent yet */
    wait_all();
    call_count = held;
    CHECK(twins[0]->request.err == ERR_OK && twins[1]->request.err == ERR_OK);
    EXPECT_INT(((const struct operation_row *)twins[0]->request.rows.rows)->id, 1);
    EXPECT_INT(((const struct operation_row *)twins[1]->request.rows.rows)->id, 1);
    twins[2]->request.args.border = 7;
    EXPECT_INT(refused(twins[2]), ERR_CONFLICT);
    EXPECT_INT(twins[2]->request.operation, 1);
    EXPECT_STR(ended(1)->state, STR("done"));
    /* Over a restart, too. */
    kill_control();
    start_control();
    struct call *again = order(CONTROL_PARTITION_SPLIT, 0, "0-2048", true);
    set(again->request.args.idempotency_key, "once");
    EXPECT_INT(sent(again)->id, 1);
    EXPECT_INT(again->request.status, 200);
    end();
}

TEST(two_that_concern_the_same_exclude_each_other)
{
    begin(test_seed());
    struct call *first = order(CONTROL_PARTITION_SPLIT, 0, "0-2048", true);
    struct call *second = order(CONTROL_PARTITION_MERGE, 0, "2048-4096", true);
    struct call *apart = order(CONTROL_PARTITION_SPLIT, 1, "0-2048", true);
    set(second->request.args.with, "p/s/0/0-2048");
    send_call(first);
    send_call(second);
    send_call(apart);
    wait_all();
    EXPECT_INT(apart->request.err, ERR_OK);
    EXPECT((first->request.err == ERR_OK) != (second->request.err == ERR_OK));
    const struct call *lost = first->request.err == ERR_OK ? second : first;
    /* Refused for the other one, or, if that was done meanwhile, for the neighbour that is not there any more. */
    EXPECT_MSG(lost->request.err == ERR_CONFLICT ? lost->request.operation != 0
                                                 : lost->request.err == ERR_INVALID,
               "%s", lost->request.info.text);
    EXPECT_STR(ended(1)->state, STR("done"));
    EXPECT_STR(ended(2)->state, STR("done"));
    end();
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

/* Whatever became of it, operation 1 says so, and the map agrees. */
static void check_outcome(const struct operation_row *row)
{
    bool made = has(0, 0, 100, -1, -1) && has(0, 100, 2048, 1, 1);
    bool whole = has(0, 0, 2048, 0, 0);
    struct err_info info;
    CHECK(made != whole);
    CHECK_MSG(str_is(row->state, made ? "done" : "undone"), "%.*s, the map is %s",
              STR_ARG(row->state), made ? "changed" : "as before");
    CHECK_MSG(partition_map_check(map(), 2, &info) == ERR_OK, "%s", info.text);
}

TEST(after_a_kill_at_any_step_an_operation_is_done_or_undone_and_says_which)
{
    int known = 0, changed = 0, unchanged = 0;
    for (int steps = 1; steps <= 160; steps++) {
        begin(test_seed() + (uint64_t)steps);
        struct call *split = order(CONTROL_PARTITION_SPLIT, 0, "0-2048", true);
        split->request.args.border = 100;
        set(split->request.args.to, "n1/1");
        send_call(split);
        IGNORE_RESULT(world_run(world, never, NULL, world_now_ns(world) + SECOND_NS,
                                steps)); /* as far as it comes */
        kill_control();
        split->back = true; /* nobody answers any more */
        start_control();
        struct call *list = prepare(CONTROL_OPERATION_LIST);
        send_call(list);
        wait_all();
        if (list->request.rows.count == 0) {
            EXPECT(has(0, 0, 2048, 0, 0)); /* O1 */
        } else {
            known++;
            check_outcome(ended(1));
            changed += has(0, 0, 100, -1, -1);
            unchanged += has(0, 0, 2048, -1, -1);
        }
        end();
    }
    printf("%d of 160 known after the kill: %d done, %d undone\n", known, changed, unchanged);
    EXPECT(changed > 5 && unchanged > 1);
}

static const char other_text[] =
    "version: 1\nnodes: {count: 2, max: 4, lanes: 2, capacity: 50%}\n"
    "streams:\n  in: {shards: 2}\n  out: {shards: 2}\n"
    "pipelines:\n  p:\n    commit: 20ms\n    stages:\n"
    "      - {name: s, from: in, partitions: 2, chain: [{parse: {name: j, format: json, "
    "fields: {user: string}}}, {filter: {name: f, where: \"user != ''\"}}, {window: {name: w, "
    "tumbling: 10s, out: {n: count}}}], to: out}\n";

static struct call *replace(const char *text)
{
    struct call *call = order(CONTROL_PIPELINE_REPLACE, 0, "", true);
    call->request.body = str_of(text);
    return call;
}

static bool is_in_force(const char *text)
{
    const struct config *now = node_runtime_pipeline_config(control_runtime(control), STR("p"));
    return str_is(now->text, text);
}

TEST(another_text_is_an_operation)
{
    begin(test_seed());
    EXPECT_STR(ended(sent(replace(other_text))->id)->state, STR("done"));
    EXPECT(is_in_force(other_text));
    struct call *text = prepare(CONTROL_PIPELINE_TEXT);
    set(text->request.args.pipeline, "p");
    send_call(text);
    wait_all();
    EXPECT_STR(text_str(&text->request.text), str_of(other_text));
    struct call *stale = replace(other_text);
    set(stale->request.args.if_match, "\"0123456789abcdef\"");
    EXPECT_INT(refused(stale), ERR_PRECONDITION);
    EXPECT_INT(refused(replace("version: 1\npipelines: [")), ERR_PARSE);
    EXPECT_INT(refused(replace("version: 1\nstreams: {in: {shards: 2}}\n")), ERR_INVALID);
    end();
}

TEST(a_text_that_loses_state_is_refused_with_the_list)
{
    static char text[sizeof(other_text) + 8];
    const char *at = strstr(other_text, "tumbling: 10s");
    begin(test_seed());
    IGNORE_RESULT(snprintf(text, sizeof(text), "%.*stumbling: 20s%s", (int)(at - other_text),
                           other_text, at + strlen("tumbling: 10s"))); /* fits */
    struct call *call = replace(text);
    EXPECT_INT(refused(call), ERR_CONFLICT);
    EXPECT(str_starts_with(text_str(&call->request.text), STR("p/s: state of 'w/")));
    EXPECT(!is_in_force(text));
    call = replace(text);
    call->request.args.drop_state = true;
    EXPECT_STR(ended(sent(call)->id)->state, STR("done"));
    EXPECT(is_in_force(text));
    end();
}

TEST(a_text_replaced_when_the_process_is_killed_is_done_or_undone_and_says_which)
{
    int changed = 0, unchanged = 0;
    for (int steps = 4; steps <= 200; steps += 3) {
        begin(test_seed() + (uint64_t)steps);
        struct call *call = replace(other_text);
        send_call(call);
        IGNORE_RESULT(world_run(world, never, NULL, world_now_ns(world) + SECOND_NS, steps));
        kill_control();
        call->back = true;
        start_control();
        struct call *list = prepare(CONTROL_OPERATION_LIST);
        send_call(list);
        wait_all();
        if (list->request.rows.count > 0) {
            bool done_ = is_in_force(other_text);
            EXPECT_STR(ended(1)->state, done_ ? STR("done") : STR("undone"));
            changed += done_;
            unchanged += !done_;
        } else {
            EXPECT(!is_in_force(other_text));
        }
        end();
    }
    printf("texts: %d done, %d undone\n", changed, unchanged);
    EXPECT(changed > 3 && unchanged > 0);
}

TEST(a_drain_that_was_killed_goes_on)
{
    int resumed = 0;
    for (int steps = 20; steps <= 200; steps += 6) {
        begin(test_seed() + (uint64_t)steps);
        struct call *drain = node_order(CONTROL_NODE_DRAIN, "n0", true);
        send_call(drain);
        IGNORE_RESULT(world_run(world, never, NULL, world_now_ns(world) + SECOND_NS, steps));
        kill_control();
        drain->back = true;
        start_control();
        struct call *list = prepare(CONTROL_OPERATION_LIST);
        send_call(list);
        wait_all();
        if (list->request.rows.count > 0) {
            const struct operation_row *row = ended(1);
            bool off = node_runtime_node_state(control_runtime(control), 0) == NODE_OFF;
            EXPECT(str_is(row->state, off ? "done" : "undone"));
            EXPECT(off || node_runtime_node_state(control_runtime(control), 0) == NODE_ACTIVE);
            resumed += off;
        }
        end();
    }
    EXPECT(resumed > 3);
}

/* A lane that answers does so in its own thread: what control reads meanwhile is nothing that the lane writes. */
TEST(a_lane_does_not_write_what_control_reads)
{
    begin(test_seed());
    struct lane_view *view = &control->lanes[0];
    struct lane *lane = node_runtime_lane(control_runtime(control), 0);
    EXPECT_INT(sent(order(CONTROL_PARTITION_LIST, 0, "", false)) != NULL, 1);
    EXPECT(!view->out && view->report_count > 0);
    world_remove(world, things[1]);
    struct call *list = order(CONTROL_PARTITION_LIST, 0, "", false);
    IGNORE_RESULT(world_run(world, never, NULL, world_now_ns(world) + SECOND_NS, STEPS_MAX));
    send_call(list);
    wait_all(); /* as it was last seen: the lane has not answered */
    EXPECT(view->out);
    EXPECT_INT(list->request.rows.count, map()->count);
    struct partition_report mark = {.shard = 77};
    view->reports[0] = mark;
    IGNORE_RESULT(lane_step(lane, world_now_ns(world))); /* it answers; control has not seen it */
    EXPECT(view->out);
    EXPECT_INT(view->reports[0].shard, 77);
    IGNORE_RESULT(world_run(world, never, NULL, world_now_ns(world) + SECOND_NS, STEPS_MAX));
    EXPECT(!view->out);
    EXPECT(view->reports[0].shard != 77);
    things[1] = world_add(world, "lane", lane_step, lane, lane_waker(lane));
    end();
}

static bool is_final(void *ctx)
{
    return change_final(ctx);
}

static struct change *started(const struct change_spec *spec)
{
    struct change *change = NULL;
    uint64_t conflict = 0;
    CHECK(change_start(control_runtime(control), spec, NULL, &change, &conflict, NULL) == ERR_OK);
    return change;
}

/* A partition is on its way to n2, or what that would take is measured, and does not come on: its lane stands. n2 drains. */
static struct change *drained_with_one_on_its_way(uint32_t flags, int *ret_lane, int64_t *ret_drain)
{
    CHECK(str_is(ended(sent(node_order(CONTROL_NODE_ADD, "n2", true))->id)->state, "done"));
    const struct partition_place *place = &map()->places[partition_map_find(map(), 0, 0)];
    *ret_lane = place->node * config->nodes.lanes + place->lane;
    world_remove(world, things[1 + *ret_lane]);
    struct change_spec spec = {.kind = CHANGE_MIGRATE,
                               .flags = flags,
                               .group_lo = place->group_lo,
                               .group_hi = place->group_hi,
                               .node = 2};
    struct change *move = started(&spec);
    *ret_drain = sent(node_order(CONTROL_NODE_DRAIN, "n2", true))->id;
    IGNORE_RESULT(world_run(world, never, NULL, world_now_ns(world) + SECOND_NS, STEPS_MAX));
    CHECK(!change_final(move));
    CHECK(node_runtime_node_state(control_runtime(control), 2) == NODE_DRAINING);
    return move;
}

static void go_on(int index)
{
    struct lane *lane = node_runtime_lane(control_runtime(control), index);
    things[1 + index] = world_add(world, "lane", lane_step, lane, lane_waker(lane));
}

TEST(a_drain_waits_for_what_is_on_its_way_to_its_node)
{
    for (int dry = 0; dry < 2; dry++) {
        int lane = 0;
        int64_t id = 0;
        begin(test_seed() + (uint64_t)dry);
        struct change *move =
            drained_with_one_on_its_way(dry == 1 ? CHANGE_DRY_RUN : 0, &lane, &id);
        go_on(lane);
        const struct operation_row *row = ended(id);
        EXPECT_MSG(str_is(row->state, "done"), "%.*s", STR_ARG(row->reason));
        EXPECT_INT(row->partitions_done, 1 - dry);
        EXPECT_INT(node_runtime_node_state(control_runtime(control), 2), NODE_OFF);
        EXPECT(change_final(move));
        change_release(move);
        end();
    }
}

/* Cancelled, or waited for too long: the node is active again. */
TEST(a_drain_that_cannot_end_goes_back)
{
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        int lane = 0;
        int64_t id = 0;
        begin(test_seed());
        struct change *move = drained_with_one_on_its_way(0, &lane, &id);
        if (cancelled == 1) {
            struct call *cancel = prepare(CONTROL_OPERATION_CANCEL);
            cancel->request.args.operation = id;
            IGNORE_RESULT(sent(cancel));
        }
        IGNORE_RESULT(world_run(world, never, NULL,
                                world_now_ns(world) + (cancelled == 1 ? 1 : 60) * SECOND_NS,
                                STEPS_MAX));
        const struct operation_row *row = ended(id);
        EXPECT_STR(row->state, STR("undone"));
        EXPECT_STR(row->result, str_of(err_name(cancelled == 1 ? ERR_CANCELLED : ERR_TIMEOUT)));
        EXPECT_INT(node_runtime_node_state(control_runtime(control), 2), NODE_ACTIVE);
        go_on(lane);
        CHECK(world_run(world, is_final, move, world_now_ns(world) + SECOND_NS, STEPS_MAX) ==
              WORLD_DONE);
        change_release(move);
        end();
    }
}

/* As a drain leaves it that could neither go on nor back. */
static void leave_draining(uint16_t node)
{
    struct change_spec spec = {.kind = CHANGE_NODE, .node = node, .node_state = NODE_DRAINING};
    struct change *change = started(&spec);
    CHECK(world_run(world, is_final, change, world_now_ns(world) + SECOND_NS, STEPS_MAX) ==
          WORLD_DONE);
    CHECK(change->state == CHANGE_DONE);
    change_release(change);
}

TEST(a_node_left_draining_is_taken_up_by_the_next_order)
{
    begin(test_seed());
    leave_draining(1);
    EXPECT_STR(ended(sent(node_order(CONTROL_NODE_ADD, "n1", true))->id)->state, STR("done"));
    EXPECT_INT(node_runtime_node_state(control_runtime(control), 1), NODE_ACTIVE);
    leave_draining(1);
    struct call *drain = node_order(CONTROL_NODE_DRAIN, "n1", true);
    const struct operation_row *row = sent(drain);
    EXPECT_INT(refused(node_order(CONTROL_NODE_ADD, "n1", true)), ERR_CONFLICT); /* it is had */
    EXPECT_STR(ended(row->id)->state, STR("done"));
    EXPECT_INT(node_runtime_node_state(control_runtime(control), 1), NODE_OFF);
    end();
}

TEST(a_cancel_at_any_step_leaves_it_done_or_undone)
{
    int undone = 0, finished = 0;
    for (int steps = 1; steps <= 120; steps++) {
        begin(test_seed() + (uint64_t)steps);
        struct call *split = order(CONTROL_PARTITION_SPLIT, 0, "0-2048", true);
        split->request.args.border = 100;
        set(split->request.args.to, "n1/1");
        send_call(split);
        IGNORE_RESULT(world_run(world, never, NULL, world_now_ns(world) + SECOND_NS, steps));
        struct call *cancel = prepare(CONTROL_OPERATION_CANCEL);
        cancel->request.args.operation = 1;
        send_call(cancel);
        wait_all();
        check_outcome(ended(1));
        undone += has(0, 0, 2048, 0, 0);
        finished += has(0, 0, 100, -1, -1);
        /* A cancel that was taken and came in time is one that undid. */
        EXPECT(cancel->request.err == ERR_OK || cancel->request.err == ERR_CONFLICT ||
               cancel->request.err == ERR_NOT_FOUND);
        EXPECT(cancel->request.err != ERR_OK || has(0, 0, 2048, 0, 0));
        end();
    }
    printf("%d undone, %d were too late or too early\n", undone, finished);
    EXPECT(undone > 0 && finished > 3);
}

TEST(events_tell_what_happened_and_what_was_missed)
{
    begin(test_seed());
    struct call *events = prepare(CONTROL_EVENTS);
    send_call(events);
    wait_all();
    char last[CONTROL_EVENT_ID_MAX + 1];
    memcpy(last, events->request.args.last_event_id, sizeof(last));
    EXPECT_STR(ended(sent(order(CONTROL_PARTITION_SPLIT, 0, "0-2048", true))->id)->state,
               STR("done"));
    events = prepare(CONTROL_EVENTS);
    set(events->request.args.last_event_id, last);
    send_call(events);
    wait_all();
    struct str text = text_str(&events->request.text);
    EXPECT(str_find(text, STR("\"state\":\"recording\"")) >= 0);
    EXPECT(str_find(text, STR("\"state\":\"done\",\"operation\":1")) >
           str_find(text, STR("\"state\":\"changing\"")));
    EXPECT(str_find(text, STR("event: gap")) < 0);
    /* What became of the map, partition by partition. */
    EXPECT(str_find(text, STR("/0-2048\",\"state\":\"gone\",\"operation\":1")) >= 0);
    int owned = 0;
    for (ptrdiff_t at = 0, found = 0; found >= 0; at += found + 1) {
        found = str_find((struct str){text.ptr + at, text.len - at},
                         STR("\"state\":\"owned\",\"operation\":1"));
        owned += found >= 0;
    }
    EXPECT_INT(owned, 2);
    /* Nothing new: it waits, and then says so. */
    struct call *next = prepare(CONTROL_EVENTS);
    set(next->request.args.last_event_id, events->request.args.last_event_id);
    int64_t asked_ns = world_now_ns(world);
    send_call(next);
    wait_all();
    EXPECT_STR(text_str(&next->request.text), STR(": nothing new\n\n"));
    EXPECT(world_now_ns(world) - asked_ns >= 14 * SECOND_NS);
    /* Of another run of the process. */
    kill_control();
    start_control();
    next = prepare(CONTROL_EVENTS);
    set(next->request.args.last_event_id, last);
    send_call(next);
    wait_all();
    EXPECT(str_find(text_str(&next->request.text), STR("event: gap")) >= 0);
    end();
}
