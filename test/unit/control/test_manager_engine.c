// SPDX-License-Identifier: Apache-2.0
/* The manager on the engine: control, lanes and forecaster in the simulator's world, on the log in memory. What records cost a lane is
 * the test's to say: it owes their CPU time, and pays it off while it works on. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "control/forecaster.h"
#include "control/ledger.h"
#include "control/manager_priv.h"
#include "control/shadows_priv.h"
#include "log/memory.h"
#include "node/shadow.h"
#include "sim/world.h"
#include "test.h"

enum { STEPS_MAX = 50000000, THINGS_MAX = 32, LANES = 4 };
#define SECOND_NS 1000000000LL

static struct engine {
    struct world *world;
    struct log *log;
    struct arena config_arena;
    const struct config *config;
    struct control *control;
    struct forecaster *forecaster;
    struct clock clock;
    int64_t owed_ns[LANES]; /* by lane: CPU time of records that it has not paid for */
    int things[THINGS_MAX];
    int thing_count;
    struct waker waker;
    struct mailbox done;
    struct control_request request; /* one at a time */
    struct arena arena;
    bool back;
} e;

static const char *const lane_names[LANES] = {"lane 0", "lane 1", "lane 2", "lane 3"};

/* A part at each look at its clock: so reading and work both get theirs. */
static int64_t lane_cpu(void *ctx)
{
    const struct clock *clock = world_clock(e.world);
    (void)ctx;
    for (int l = 0; l < LANES; l++) {
        if (strcmp(world_last(e.world), lane_names[l]) == 0) {
            int64_t part_ns = e.owed_ns[l] / 4;
            e.owed_ns[l] -= part_ns;
            world_charge(e.world, part_ns);
        }
    }
    return clock->thread_cpu_ns(clock->ctx);
}

static int64_t now_of(void *ctx)
{
    (void)ctx;
    return world_now_ns(e.world);
}

static int64_t wall_of(void *ctx)
{
    const struct clock *clock = world_clock(e.world);
    (void)ctx;
    return clock->wall_unix_ms(clock->ctx);
}

static int64_t collect(void *ctx, int64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
    e.back = mailbox_take_all(&e.done) != NULL || e.back;
    return CLOCK_NEVER;
}

static bool is_serving(void *ctx)
{
    (void)ctx;
    return control_serving(e.control) &&
           node_runtime_state(control_runtime(e.control)) == RUNTIME_RUNNING;
}

static void add(const char *name, loop_step step, void *ctx, struct waker *waker)
{
    CHECK(e.thing_count < THINGS_MAX);
    e.things[e.thing_count++] = world_add(e.world, name, step, ctx, waker);
}

static void start_control(void)
{
    struct err_info info;
    double step_s = (double)e.config->manager.interval_ns * 1e-9;
    e.forecaster = forecaster_new(&(struct forecaster_options){.step_s = step_s, .quantile = 0.95});
    enum err err = control_new(&(struct control_options){.config = e.config,
                                                         .log = e.log,
                                                         .clock = &e.clock,
                                                         .seed = test_seed(),
                                                         .forecaster = e.forecaster,
                                                         .shadow_budget = 0.1,
                                                         .shadow_memory_bytes = 64 << 20},
                               &e.control, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    struct node_runtime *runtime = control_runtime(e.control);
    struct shadow_lane *shadows = node_runtime_shadow_lane(runtime);
    add("control", control_step, e.control, control_waker(e.control));
    for (int32_t i = 0; i < node_runtime_lane_count(runtime); i++) {
        struct lane *lane = node_runtime_lane(runtime, i);
        CHECK(i < LANES);
        add(lane_names[i], lane_step, lane, lane_waker(lane));
    }
    add("shadows", shadow_lane_step, shadows, shadow_lane_waker(shadows));
    add("forecaster", forecaster_step, e.forecaster, forecaster_waker(e.forecaster));
    CHECK(world_run(e.world, is_serving, NULL, world_now_ns(e.world) + 60 * SECOND_NS, STEPS_MAX) ==
          WORLD_DONE);
}

static void begin(const char *text)
{
    struct err_info info;
    struct log_loop loops[LOG_LOOPS_MAX];
    e = (struct engine){.thing_count = 0};
    e.world = world_new(&(struct world_options){.seed = test_seed()});
    e.clock = (struct clock){.now_ns = now_of, .wall_unix_ms = wall_of, .thread_cpu_ns = lane_cpu};
    e.log = log_memory_new(&(struct log_memory_options){
        .clock = world_clock(e.world), .seed = test_seed() + 1, .commit_delay_ns = 2000000});
    int count = log_loops(e.log, loops);
    for (int i = 0; i < count; i++) {
        world_add(e.world, loops[i].name, loops[i].step, loops[i].ctx, loops[i].waker);
    }
    arena_init(&e.config_arena, 64 << 20);
    arena_init(&e.arena, CONTROL_ARENA_MAX);
    CHECK_MSG(config_load(&e.config_arena, "test", str_of(text), &e.config, &info) == ERR_OK, "%s",
              info.text);
    waker_init(&e.waker);
    mailbox_init(&e.done, &e.waker);
    world_add(e.world, "caller", collect, NULL, &e.waker);
    start_control();
}

static void end(void)
{
    for (int i = 0; i < e.thing_count; i++) {
        world_remove(e.world, e.things[i]);
    }
    log_memory_drop_clients(e.log);
    control_free(e.control);
    forecaster_free(e.forecaster);
    log_close(e.log);
    world_free(e.world);
    arena_release(&e.config_arena);
    arena_release(&e.arena);
}

static struct control_request *prepare(enum control_kind kind)
{
    arena_reset(&e.arena);
    e.request = (struct control_request){.kind = kind, .done = &e.done, .arena = &e.arena};
    control_args_init(&e.request.args);
    text_init(&e.request.text, &e.arena);
    return &e.request;
}

static bool is_back(void *ctx)
{
    (void)ctx;
    return e.back;
}

static enum err sent(struct control_request *request)
{
    e.back = false;
    mailbox_push(control_mailbox(e.control), &request->msg);
    CHECK(world_run(e.world, is_back, NULL, world_now_ns(e.world) + 100 * SECOND_NS, STEPS_MAX) ==
          WORLD_DONE);
    return request->err;
}

static void wait_until(int64_t at_ns)
{
    IGNORE_RESULT(world_run(e.world, NULL, NULL, at_ns, STEPS_MAX)); /* time */
}

static void set(char *to, const char *text)
{
    memcpy(to, text, strlen(text) + 1);
}

static void ingest(const char *stream, int records)
{
    static int64_t fed;
    struct control_request *request = prepare(CONTROL_INGEST);
    char *body = arena_new(&e.arena, (ptrdiff_t)records * 32, 1);
    ptrdiff_t used = 0;
    set(request->args.stream, stream);
    set(request->args.key_field, "user");
    for (int i = 0; i < records; i++, fed++) {
        used += snprintf(body + used, 32, "{\"user\":\"u%d\"}\n", (int)(fed * 7919 % 997));
    }
    request->body = (struct str){body, used};
    CHECK_MSG(sent(request) == ERR_OK, "%s", request->info.text);
}

/* --- a leader and its follower --- */

enum { LAG = 20, LEVELS = 500, CALM = 40, RISE = 36 };

static const char two_pipelines[] =
    "version: 1\n"
    "nodes: {count: 2, max: 4, lanes: 1, startup: 2s}\n"
    "manager: {interval: 1s, mode: recommend, policy: predictive, sustain: 5s, cooldown: 5s}\n"
    "streams:\n  first: {shards: 1}\n  then: {shards: 2}\n  out: {shards: 1}\n"
    "pipelines:\n"
    "  leader:\n    stages: [{name: s, from: first, chain: [{parse: {name: p, format: json, fields: "
    "{user: string}}}], to: out}]\n"
    "  follower:\n    stages: [{name: s, from: then, chain: [{parse: {name: p, format: json, fields: "
    "{user: string}}}], to: out}]\n";

/* A second of both. What the leader asks of its lane stays as it is, whatever its rate: 0.4; the follower asks 0.085 a level. */
static void second(int leader, int follower)
{
    int64_t begun_ns = world_now_ns(e.world);
    for (int i = 0; i < 4; i++) {
        e.owed_ns[0] += SECOND_NS / 6;
        ingest("first", 25 * leader);
        e.owed_ns[1] += SECOND_NS / 30 * follower;
        ingest("then", 10 * follower);
        wait_until(begun_ns + SECOND_NS * (i + 1) / 4);
    }
}

/* The newest decision of such a cause; NULL: none. */
static const struct ledger_entry *newest(enum decision_cause cause)
{
    const struct ledger *ledger = e.control->ledger;
    for (int32_t i = ledger->count - 1; i >= 0; i--) {
        if (ledger->all[i]->decision.cause == cause) {
            return ledger->all[i];
        }
    }
    return NULL;
}

static void place(const char *pipeline, int shard, const char *node)
{
    struct control_request *request = prepare(CONTROL_PARTITION_MIGRATE);
    set(request->args.pipeline, pipeline);
    set(request->args.stage, "s");
    set(request->args.range, "0-4096");
    set(request->args.to, node);
    request->args.shard = shard;
    request->args.apply = true;
    IGNORE_RESULT(sent(request)); /* refused if it is there */
}

/* The follower is small beside the leader, and on another lane; what the leader has gained says that it will not stay so. */
TEST(a_leaders_rise_prepares_its_followers_plan)
{
    int level[LEVELS];
    struct rng rng;
    rng_init(&rng, test_seed());
    begin(two_pipelines);
    place("leader", 0, "n0");
    place("follower", 0, "n1");
    place("follower", 1, "n1");
    for (int i = 0; i < LEVELS; i++) {
        int draw = i < LEVELS - CALM ? (int)rng_below(&rng, 3) : 0;
        level[i] = i % 10 != 0 ? level[i - 1] : 2 + draw;
        second(level[i], i < LAG ? 2 : level[i - LAG]);
    }
    struct control_request *list = prepare(CONTROL_CORRELATION_LIST);
    EXPECT_INT(sent(list), ERR_OK);
    bool found = false;
    for (int32_t i = 0; i < list->rows.count; i++) {
        const struct correlation_row *row = (const struct correlation_row *)list->rows.rows + i;
        found = found ||
                (str_is(row->leader, "leader arrival") &&
                 str_is(row->follower, "follower arrival") && fabs(row->lag_seconds - LAG) < 1.5);
    }
    EXPECT(found);
    int64_t before = e.control->ledger->last_id;
    for (int i = 0; i < LAG - 2; i++) {
        second(RISE, 2);
    }
    const struct ledger_entry *entry = newest(DECISION_FORECAST);
    EXPECT(entry != NULL && entry->decision.id > before);
    const struct decision *d = &entry->decision;
    EXPECT_STR(str_of(d->inputs.pipeline), STR("follower"));
    EXPECT_MSG(d->state == DECISION_STATE_RECOMMENDED, "%s", decision_sentence(d, &e.arena));
    EXPECT_MSG(d->inputs.utilisation < 0.3, "%g", d->inputs.utilisation); /* nothing has come yet */
    EXPECT(d->forecast.there && d->forecast.demand_high > 2 * d->inputs.demand);
    EXPECT(d->step_count >= 1 && strstr(d->options[d->chosen].text, "follower/s/") != NULL);
    end();
}

/* --- a shadow that runs already --- */

static const char one_pipeline[] =
    "version: 1\n"
    "nodes: {count: 1, max: 2, lanes: 1}\n"
    "manager: {interval: 1s, mode: recommend, cooldown: 5s}\n"
    "streams:\n  in: {shards: 1}\n  out: {shards: 1}\n"
    "pipelines:\n  p:\n    shadowing: {threshold: 20%, sustain: 3s, duration: 30s, percent: 50}\n"
    "    stages: [{name: s, from: in, chain: [{parse: {name: p, format: json, fields: {user: "
    "string}}}], to: out}]\n";

static void busy_second(void)
{
    int64_t begun_ns = world_now_ns(e.world);
    for (int i = 0; i < 20; i++) {
        e.owed_ns[0] += SECOND_NS / 22;
        ingest("in", 10);
        wait_until(begun_ns + SECOND_NS * (i + 1) / 20);
    }
}

static int64_t cast_by_person(double seconds)
{
    struct control_request *request = prepare(CONTROL_SHADOW_START);
    set(request->args.subject, "p/s/0/0-4096");
    request->args.percent = 50;
    request->args.duration_seconds = seconds;
    CHECK_MSG(sent(request) == ERR_OK, "%s", request->info.text);
    return ((const struct shadow_row *)request->rows.rows)->id;
}

/* Until the core waits for a shadow; which. */
static int64_t waited_for(void)
{
    for (int i = 0; i < 40 && e.control->manager->cast_shadow == 0; i++) {
        busy_second();
    }
    return e.control->manager->cast_shadow;
}

static const struct shadow_entry *shadow(int64_t id)
{
    return shadows_find(&e.control->shadows, id);
}

TEST(a_persons_shadow_that_ends_in_time_answers_the_manager)
{
    begin(one_pipeline);
    int64_t own = cast_by_person(20);
    EXPECT_INT(waited_for(), own);
    EXPECT_INT(e.control->shadows.last_id, own); /* no other was cast, by the thresholds neither */
    EXPECT_INT(e.control->ledger->count, 0);
    for (int i = 0; i < 30 && shadow(own)->life.state != LIFE_ENDED; i++) {
        busy_second();
    }
    EXPECT_INT(shadow(own)->life.outcome, LIFE_END_DURATION); /* as long as the person wanted it */
    busy_second();
    busy_second();
    EXPECT_INT(e.control->manager->cast_shadow, 0);
    EXPECT(newest(DECISION_BLIND) != NULL); /* it has decided, on what is measured */
    end();
}

TEST(a_persons_shadow_that_runs_on_is_not_waited_for)
{
    begin(one_pipeline);
    int64_t own = cast_by_person(600);
    int64_t other = waited_for();
    EXPECT(other > own);
    EXPECT(shadow(other)->order.cause != LIFE_CAUSE_PERSON);
    EXPECT_INT(shadow(own)->life.outcome, LIFE_END_NONE);
    end();
}

TEST(one_that_the_thresholds_have_cast_is_the_managers_too)
{
    begin(one_pipeline);
    int64_t cast = waited_for();
    EXPECT(cast > 0);
    EXPECT_INT(e.control->shadows.last_id, cast);
    EXPECT_INT(shadows_active(&e.control->shadows, "p"), 1);
    end();
}

/* --- a rival --- */

static const char idle_nodes[] =
    "version: 1\n"
    "nodes: {count: 2, max: 2, lanes: 1}\n"
    "manager: {interval: 1s, mode: recommend, policy: reactive}\n"
    "streams:\n  first: {shards: 1}\n  out: {shards: 1}\n"
    "pipelines:\n"
    "  p:\n    stages: [{name: s, from: first, chain: [{parse: {name: p, format: json, fields: "
    "{user: string}}}], to: out}]\n";

static enum node_state second_node(void)
{
    return node_runtime_node_state(control_runtime(e.control), 1);
}

TEST(a_rival_acts_where_the_manager_may_act)
{
    begin(idle_nodes);
    wait_until(world_now_ns(e.world) + 1000 * SECOND_NS);
    EXPECT_INT(second_node(), NODE_ACTIVE);
    struct control_request *request = prepare(CONTROL_MANAGER_MODE);
    request->args.mode = CONFIG_ACT;
    CHECK_MSG(sent(request) == ERR_OK, "%s", request->info.text);
    wait_until(world_now_ns(e.world) + 1000 * SECOND_NS);
    EXPECT_INT(second_node(), NODE_OFF);
    end();
}
