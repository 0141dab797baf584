// SPDX-License-Identifier: Apache-2.0
/* Shadows and candidates through control, in the simulator's world on the engine in memory. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "control/control_priv.h"
#include "control/shadows_priv.h"
#include "log/memory.h"
#include "node/shadow.h"
#include "sim/world.h"
#include "test.h"

enum { CALLS_MAX = 8192, STEPS_MAX = 20000000, LINES = 60 };
#define SECOND_NS 1000000000LL
#define PARTITION "p/s/0/0-4096"

static struct world *world;
static struct log *log_;
static struct arena config_arena;
static const struct config *config;
static struct control *control;
static int things[64];
static int thing_count;
static struct waker waker;
static struct mailbox done;
static int64_t fed;

static struct call {
    struct control_request request; /* first */
    struct arena arena;
    bool back;
} * calls;
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
    enum err err = control_new(&(struct control_options){.config = config,
                                                         .log = log_,
                                                         .clock = world_clock(world),
                                                         .seed = test_seed(),
                                                         .shadow_budget = 0.1,
                                                         .shadow_memory_bytes = 64 << 20},
                               &control, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    struct node_runtime *runtime = control_runtime(control);
    struct shadow_lane *shadows = node_runtime_shadow_lane(runtime);
    things[thing_count++] =
        world_add(world, "control", control_step, control, control_waker(control));
    for (int32_t i = 0; i < node_runtime_lane_count(runtime); i++) {
        struct lane *lane = node_runtime_lane(runtime, i);
        CHECK(thing_count < (int)COUNT_OF(things));
        things[thing_count++] = world_add(world, "lane", lane_step, lane, lane_waker(lane));
    }
    things[thing_count++] =
        world_add(world, "shadows", shadow_lane_step, shadows, shadow_lane_waker(shadows));
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

static int64_t commit_delay_ns = 2000000; /* how long a commit is on its way */
static const char *objective = "2s";
static const char *manager = "{interval: 1s, mode: observe}";
static unsigned long long seed_more;

static void begin_costly(const char *shadowing, int64_t step_cost_ns)
{
    static char text[2048];
    struct err_info info;
    struct log_loop loops[LOG_LOOPS_MAX];
    int n = snprintf(
        text, sizeof(text),
        "version: 1\nnodes: {count: 1, max: 2, lanes: 2}\n"
        "manager: %s\n"
        "streams:\n  in: {shards: 1}\n  out: {shards: 1}\n"
        "pipelines:\n  p:\n    commit: 20ms\n    objective: %s\n    shadowing: %s\n    stages:\n"
        "      - {name: s, from: in, chain: [{parse: {name: j, format: json, fields: "
        "{user: string, n: int}}}, {filter: {name: f, where: 'n >= 0'}}, {window: "
        "{name: w, tumbling: 1s, out: {c: count}}}], to: out}\n",
        manager, objective, shadowing);
    CHECK(n > 0 && n < (int)sizeof(text));
    thing_count = call_count = 0;
    fed = 0;
    calls = MEM_NEW_ARRAY(struct call, CALLS_MAX);
    world = world_new(
        &(struct world_options){.seed = test_seed() + seed_more, .step_cost_ns = step_cost_ns});
    log_ = log_memory_new(&(struct log_memory_options){.clock = world_clock(world),
                                                       .seed = test_seed() + seed_more + 1,
                                                       .commit_delay_ns = commit_delay_ns});
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

static void begin(const char *shadowing)
{
    begin_costly(shadowing, 0);
}

static void end(void)
{
    kill_control();
    for (int i = 0; i < call_count; i++) {
        arena_release(&calls[i].arena);
    }
    mem_free(calls);
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

static void set(char *to, const char *text)
{
    memcpy(to, text, strlen(text) + 1);
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

static enum err sent(struct call *call)
{
    mailbox_push(control_mailbox(control), &call->request.msg);
    CHECK(world_run(world, all_back, NULL, world_now_ns(world) + 100 * SECOND_NS, STEPS_MAX) ==
          WORLD_DONE);
    return call->request.err;
}

static const struct shadow_row *row_of(struct call *call)
{
    CHECK_MSG(sent(call) == ERR_OK, "%s", call->request.info.text);
    CHECK(call->request.rows.count == 1);
    return call->request.rows.rows;
}

static void wait(int64_t ns)
{
    IGNORE_RESULT(world_run(world, NULL, NULL, world_now_ns(world) + ns, STEPS_MAX)); /* time */
}

/* Records of one call, half of them of one key. */
static struct call *ingest(int lines)
{
    struct call *call = prepare(CONTROL_INGEST);
    char *body = arena_new(&call->arena, lines * 64, 1);
    ptrdiff_t used = 0;
    set(call->request.args.stream, "in");
    set(call->request.args.key_field, "user");
    for (int l = 0; l < lines; l++, fed++) {
        bool hot = fed % 2 == 0;
        used += snprintf(body + used, (size_t)(lines * 64 - used), "{\"user\":\"u%d\",\"n\":%d}\n",
                         hot ? 0 : 1 + (int)(fed * 7919 % 997), (int)(fed % 10));
    }
    call->request.body = (struct str){body, used};
    return call;
}

static void feed(int times)
{
    for (int i = 0; i < times; i++) {
        struct call *call = ingest(LINES);
        CHECK_MSG(sent(call) == ERR_OK, "%s", call->request.info.text);
        wait(50000000);
    }
}

static struct call *order(enum control_kind kind, const char *partition)
{
    struct call *call = prepare(kind);
    set(call->request.args.subject, partition);
    call->request.args.percent = 100;
    call->request.args.duration_seconds = 60;
    return call;
}

static struct call *about(enum control_kind kind, int64_t id)
{
    struct call *call = prepare(kind);
    call->request.args.operation = id;
    return call;
}

static json_t *profile(enum control_kind kind, int64_t id)
{
    struct call *call = about(kind, id);
    CHECK_MSG(sent(call) == ERR_OK, "%s", call->request.info.text);
    struct str json = text_str(&call->request.text);
    json_t *root = json_loadb(json.ptr, (size_t)json.len, 0, NULL);
    CHECK_MSG(root != NULL, "%.*s", STR_ARG(json));
    return root;
}

/* The answer to the question that begins so. */
static const char *answer(const json_t *root, const char *question)
{
    size_t index = 0;
    json_t *row = NULL;
    json_array_foreach(json_object_get(root, "answers"), index, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "question")), question) == 0) {
            return json_string_value(json_object_get(row, "answer"));
        }
    }
    return "";
}

/* A candidate is what runs with one setting more: those of the start are in the text it is made of. */
TEST(a_candidates_text_has_the_settings_of_the_start)
{
    static const char file[] = "version: 1\nstreams: {in: {}}\npipelines:\n  p:\n    stages:\n"
                               "      - {name: s, from: in, chain: [{parse: {name: r, fields: {a: "
                               "int}}}, {dedupe: {name: d, by: a, within: 1m}}]}\n";
    const struct str sets[] = {STR("pipelines.p.commit=30ms")};
    struct arena arena;
    struct err_info info;
    const struct config *started = NULL, *candidate = NULL;
    struct str text;
    arena_init(&arena, 16 << 20);
    CHECK_MSG(config_load_set(&arena, "file", str_of(file), sets, 1, &started, &info) == ERR_OK,
              "%s", info.text);
    struct candidate_place place = {started->text, STR("p"), STR("s")};
    CHECK_MSG(candidate_text(&arena, &place, "d.within=2m", &text, &info) == ERR_OK, "%s",
              info.text);
    CHECK_MSG(config_load(&arena, "candidate", text, &candidate, &info) == ERR_OK, "%s", info.text);
    EXPECT_INT(candidate->pipelines[0]->commit_ns, 30000000);
    EXPECT(str_find(candidate->pipelines[0]->stages[0]->text, STR("\"2m\"")) >= 0);
    arena_release(&arena);
}

TEST(a_shadow_by_hand_measures_and_ends_on_request)
{
    begin("{automatic: false}");
    feed(10);
    struct call *start = order(CONTROL_SHADOW_START, PARTITION);
    const struct shadow_row *row = row_of(start);
    EXPECT_INT(row->id, 1);
    EXPECT_STR(row->cause, STR("person"));
    EXPECT_STR(row->state, STR("warming"));
    feed(120);
    wait(5 * SECOND_NS);
    row = row_of(about(CONTROL_SHADOW_GET, 1));
    EXPECT_STR(row->state, STR("measuring"));
    EXPECT(row->records > 0);
    json_t *root = profile(CONTROL_SHADOW_PROFILE, 1);
    EXPECT_INT(json_array_size(json_object_get(root, "operators")), 3);
    EXPECT(strstr(answer(root, "what limits it"), "% of the chain's CPU") != NULL);
    EXPECT_MSG(strstr(answer(root, "would a split help"), "no split helps: key 'u0' alone has") !=
                   NULL,
               "%s", answer(root, "would a split help"));
    json_decref(root);
    EXPECT_INT(sent(about(CONTROL_SHADOW_STOP, 1)), ERR_OK);
    struct call *wait_end = about(CONTROL_SHADOW_GET, 1);
    wait_end->request.args.wait_seconds = 30;
    row = row_of(wait_end);
    EXPECT_STR(row->state, STR("ended"));
    EXPECT_STR(row->outcome, STR("request"));
    EXPECT(row->partial);
    EXPECT_INT(sent(about(CONTROL_SHADOW_STOP, 1)), ERR_CONFLICT);
    const struct shadow_lane_status *status =
        shadow_lane_status(node_runtime_shadow_lane(control_runtime(control)));
    EXPECT_INT(atomic_load(&status->open) + atomic_load(&status->ended), 0);
    root = profile(CONTROL_SHADOW_PROFILE, 1);
    EXPECT(strstr(answer(root, "how far to trust it"), "it ended early") != NULL);
    json_decref(root);
    end();
}

TEST(a_shadow_ends_at_its_duration)
{
    begin("{automatic: false}");
    feed(5);
    struct call *start = order(CONTROL_SHADOW_START, PARTITION);
    start->request.args.duration_seconds = 10;
    EXPECT_STR(row_of(start)->state, STR("warming"));
    wait(12 * SECOND_NS);
    const struct shadow_row *row = row_of(about(CONTROL_SHADOW_GET, 1));
    EXPECT_STR(row->outcome, STR("duration"));
    EXPECT(!row->partial);
    EXPECT_NEAR(row->age_seconds, 10, 1.5);
    end();
}

TEST(a_sustained_threshold_casts_one_shadow)
{
    begin_costly("{threshold: 5%, sustain: 2s, duration: 10s, percent: 50}", 1000000);
    struct control_rows rows = {0};
    for (int i = 0; i < 40 && rows.count == 0; i++) {
        feed(4);
        struct call *list = prepare(CONTROL_SHADOW_LIST);
        EXPECT_INT(sent(list), ERR_OK);
        rows = list->request.rows;
    }
    EXPECT_INT(rows.count, 1);
    const struct shadow_row *row = rows.rows;
    EXPECT_MSG(str_is(row->cause, "lane") || str_is(row->cause, "demand"), "%.*s",
               STR_ARG(row->cause));
    EXPECT_STR(row->partition, STR(PARTITION));
    EXPECT(row->adaptive);
    feed(60); /* still hot: no second one, and it rests after the first */
    wait(15 * SECOND_NS);
    struct call *list = prepare(CONTROL_SHADOW_LIST);
    EXPECT_INT(sent(list), ERR_OK);
    EXPECT_INT(list->request.rows.count, 1);
    EXPECT_STR(((const struct shadow_row *)list->request.rows.rows)->state, STR("ended"));
    end();
}

TEST(thresholds_of_a_replay_count_in_the_load_s_time)
{
    manager = "{interval: 20s, time_scale: 20, mode: observe}";
    begin_costly("{threshold: 5%, sustain: 40s, duration: 5m, percent: 50}", 1000000);
    manager = "{interval: 1s, mode: observe}";
    struct control_rows rows = {0};
    int64_t begun_ns = world_now_ns(world);
    for (int i = 0; i < 40 && rows.count == 0; i++) {
        feed(4);
        struct call *list = prepare(CONTROL_SHADOW_LIST);
        EXPECT_INT(sent(list), ERR_OK);
        rows = list->request.rows;
    }
    EXPECT_INT(rows.count, 1);
    EXPECT(world_now_ns(world) - begun_ns < 20 * SECOND_NS); /* of the wall it would be 40 */
    EXPECT_NEAR(((const struct shadow_row *)rows.rows)->duration_seconds, 15, 0.001);
    end();
}

TEST(a_shadow_ends_with_its_layout)
{
    begin("{automatic: false}");
    feed(20);
    EXPECT_STR(row_of(order(CONTROL_SHADOW_START, PARTITION))->state, STR("warming"));
    struct call *split = prepare(CONTROL_PARTITION_SPLIT);
    set(split->request.args.pipeline, "p");
    set(split->request.args.stage, "s");
    set(split->request.args.range, "0-4096");
    split->request.args.shard = 0;
    split->request.args.border = 2048;
    split->request.args.apply = true;
    EXPECT_INT(sent(split), ERR_OK);
    wait(5 * SECOND_NS);
    const struct shadow_row *row = row_of(about(CONTROL_SHADOW_GET, 1));
    EXPECT_STR(row->outcome, STR("layout_changed"));
    EXPECT(row->partial);
    end();
}

TEST(a_restart_ends_what_ran_as_partial_with_its_profile)
{
    begin("{automatic: false}");
    feed(10);
    struct call *start = order(CONTROL_SHADOW_START, PARTITION);
    start->request.args.duration_seconds = 600;
    EXPECT_STR(row_of(start)->state, STR("warming"));
    for (int i = 0; i < 12; i++) { /* its profile is put into the stream every half a minute */
        feed(12);
        wait(6 * SECOND_NS);
    }
    EXPECT_STR(row_of(about(CONTROL_SHADOW_GET, 1))->state, STR("measuring"));
    kill_control();
    start_control();
    wait(SECOND_NS);
    const struct shadow_row *row = row_of(about(CONTROL_SHADOW_GET, 1));
    EXPECT_STR(row->state, STR("ended"));
    EXPECT_STR(row->outcome, STR("restart"));
    EXPECT(row->partial && row->records > 0);
    json_t *root = profile(CONTROL_SHADOW_PROFILE, 1);
    EXPECT_INT(json_array_size(json_object_get(root, "operators")), 3);
    json_decref(root);
    EXPECT_INT(row_of(order(CONTROL_SHADOW_START, PARTITION))->id, 2); /* numbers grow */
    kill_control();
    start_control(); /* its end was recorded, too */
    EXPECT_STR(row_of(about(CONTROL_SHADOW_GET, 1))->outcome, STR("restart"));
    end();
}

/* The same chain gives the same results, another filter does not. */
TEST(a_candidate_is_compared_with_its_baseline)
{
    begin("{automatic: false}");
    feed(10);
    struct call *same = order(CONTROL_CANDIDATE_START, PARTITION);
    set(same->request.args.settings, "f.where=n + 0 >= 0");
    EXPECT_STR(row_of(same)->kind, STR("candidate"));
    struct call *other = order(CONTROL_CANDIDATE_START, PARTITION);
    set(other->request.args.settings, "f.where=n >= 5");
    EXPECT_INT(row_of(other)->id, 2);
    feed(200);
    wait(5 * SECOND_NS);
    json_t *root = profile(CONTROL_CANDIDATE_PROFILE, 1);
    EXPECT_MSG(strncmp(answer(root, "are the results the same"), "yes: ", 5) == 0, "%s",
               answer(root, "are the results the same"));
    json_decref(root);
    root = profile(CONTROL_CANDIDATE_PROFILE, 2);
    EXPECT_MSG(strncmp(answer(root, "are the results the same"), "no: ", 4) == 0, "%s",
               answer(root, "are the results the same"));
    EXPECT(json_array_size(json_object_get(root, "examples")) > 0);
    json_decref(root);
    struct call *text = about(CONTROL_CANDIDATE_TEXT, 2);
    EXPECT_INT(sent(text), ERR_OK);
    EXPECT(str_find(text_str(&text->request.text), STR("n >= 5")) >= 0);
    EXPECT_INT(sent(about(CONTROL_SHADOW_GET, 2)), ERR_NOT_FOUND); /* it is no shadow */
    wait(70 * SECOND_NS); /* what is kept when they have ended: the tuner goes by it */
    const struct shadow_entry *ended = shadows_find(&control->shadows, 1);
    EXPECT(ended->run == NULL && ended->compared && ended->same);
    ended = shadows_find(&control->shadows, 2);
    EXPECT(ended->run == NULL && ended->compared && !ended->same);
    end();
}

static double figure(const json_t *root, const char *name)
{
    size_t index = 0;
    json_t *row = NULL;
    json_array_foreach(json_object_get(root, "figures"), index, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0) {
            return json_number_value(json_object_get(row, "value"));
        }
    }
    return (double)NAN;
}

/* Half of the records are of one key, which a tenth has no room for. */
TEST(a_key_that_is_left_out_is_measured_in_a_burst)
{
    begin("{automatic: false}");
    feed(10);
    struct call *start = order(CONTROL_SHADOW_START, PARTITION);
    start->request.args.percent = 10;
    start->request.args.duration_seconds = 300;
    EXPECT_INT(row_of(start)->id, 1);
    feed(150);
    wait(70 * SECOND_NS); /* it has had its time, though not its records */
    json_t *root = profile(CONTROL_SHADOW_PROFILE, 1);
    EXPECT_NEAR(figure(root, "heavy keys, of the primary's records"), 50, 5);
    EXPECT(!isnan(figure(root, "work cost of heavy keys, in bursts")));
    EXPECT(figure(root, "of them, of heavy keys") < 1);
    json_decref(root);
    const struct shadow_lane_status *status =
        shadow_lane_status(node_runtime_shadow_lane(control_runtime(control)));
    EXPECT_INT(atomic_load(&status->open) + atomic_load(&status->ended), 1); /* itself */
    EXPECT_INT(sent(about(CONTROL_SHADOW_STOP, 1)), ERR_OK);
    wait(SECOND_NS);
    EXPECT_INT(atomic_load(&status->open) + atomic_load(&status->ended), 0);
    end();
}

TEST(the_percentage_of_a_candidate_rises_for_both_sides)
{
    begin("{automatic: false}");
    feed(10);
    struct call *start = order(CONTROL_CANDIDATE_START, PARTITION);
    set(start->request.args.settings, "f.where=n + 0 >= 0");
    start->request.args.percent = 60;
    start->request.args.adaptive = true;
    start->request.args.duration_seconds = 300;
    EXPECT_INT(row_of(start)->id, 1);
    feed(300);
    wait(5 * SECOND_NS);
    EXPECT(row_of(about(CONTROL_CANDIDATE_GET, 1))->percent > 60);
    json_t *root = profile(CONTROL_CANDIDATE_PROFILE, 1);
    EXPECT_MSG(strncmp(answer(root, "are the results the same"), "yes: ", 5) == 0, "%s",
               answer(root, "are the results the same"));
    EXPECT(json_array_size(json_object_get(root, "percent_steps")) > 0);
    json_decref(root);
    end();
}

TEST(a_backlog_is_told_against_records_as_they_come)
{
    begin("{automatic: false}");
    feed(10);
    struct call *start = order(CONTROL_SHADOW_START, PARTITION);
    start->request.args.feed = 1;
    EXPECT(row_of(start)->twin);
    feed(100);
    wait(5 * SECOND_NS);
    json_t *root = profile(CONTROL_SHADOW_PROFILE, 1);
    EXPECT(answer(root, "how fast could it be")[0] != 0);
    EXPECT_STR(str_of(answer(root, "are the results the same")), STR(""));
    json_decref(root);
    end();
}

/* Its lane is not stepped any more, as on a machine whose other work never ends. */
TEST(a_shadow_without_a_processor_says_so)
{
    begin("{automatic: false}");
    feed(10);
    struct call *start = order(CONTROL_SHADOW_START, PARTITION);
    start->request.args.duration_seconds = 300;
    EXPECT_INT(row_of(start)->id, 1);
    feed(60);
    wait(5 * SECOND_NS);
    json_t *root = profile(CONTROL_SHADOW_PROFILE, 1);
    EXPECT(strstr(answer(root, "how far to trust it"), "starved") == NULL);
    json_decref(root);
    world_remove(world, things[--thing_count]); /* the shadow lane was the last to come */
    wait(60 * SECOND_NS);
    root = profile(CONTROL_SHADOW_PROFILE, 1);
    EXPECT_MSG(strstr(answer(root, "how far to trust it"), "starved: for 8") != NULL ||
                   strstr(answer(root, "how far to trust it"), "starved: for 9") != NULL,
               "%s", answer(root, "how far to trust it"));
    json_decref(root);
    end();
}

static bool is_on_its_lane(void *ctx)
{
    const struct shadow_lane_status *status = ctx;
    return atomic_load(&status->open) > 0;
}

/* Its lane gets no processor between the order and the opening, and has one ever after. */
TEST(a_shadow_that_was_starved_says_of_how_much_of_its_time)
{
    begin("{automatic: false}");
    feed(10);
    struct shadow_lane *lane = node_runtime_shadow_lane(control_runtime(control));
    struct call *start = order(CONTROL_SHADOW_START, PARTITION);
    start->request.args.duration_seconds = 300;
    mailbox_push(control_mailbox(control), &start->request.msg);
    EXPECT_INT(world_run(world, is_on_its_lane, (void *)(uintptr_t)shadow_lane_status(lane),
                         world_now_ns(world) + 10 * SECOND_NS, STEPS_MAX),
               WORLD_DONE);
    EXPECT_INT(shadows_find(&control->shadows, 1)->life.state, LIFE_OPENING);
    world_remove(world, things[--thing_count]); /* the shadow lane was the last to come */
    wait(60 * SECOND_NS);
    things[thing_count++] =
        world_add(world, "shadows", shadow_lane_step, lane, shadow_lane_waker(lane));
    feed(40);
    wait(60 * SECOND_NS);
    const struct shadow_row *row = row_of(about(CONTROL_SHADOW_GET, 1));
    EXPECT_MSG(row->starved_ratio > 0.4 && row->starved_ratio < 0.55, "%g", row->starved_ratio);
    end();
}

static bool is_open(void)
{
    const struct shadow_entry *entry = shadows_find(&control->shadows, 1);
    return entry != NULL && entry->life.opened_ns != 0;
}

static bool is_measuring(void)
{
    return shadows_find(&control->shadows, 1)->life.state == LIFE_MEASURING;
}

static bool never(void)
{
    return false;
}

enum { MANY_LINES = 500 };

/* Twenty thousand records a second, whose answers nobody waits for. */
static void feed_many(int times, bool (*enough)(void))
{
    for (int i = 0; i < times && !enough(); i++) {
        mailbox_push(control_mailbox(control), &ingest(MANY_LINES)->request.msg);
        wait(SECOND_NS / 40);
    }
}

/* However soon its cost is known: an answer without a look at the results would be none. */
TEST(an_answered_candidate_was_compared)
{
    begin("{automatic: false}");
    feed(10);
    struct call *start = order(CONTROL_CANDIDATE_START, PARTITION);
    set(start->request.args.settings, "f.where=n + 0 >= 0");
    start->request.args.adaptive = true;
    start->request.args.duration_seconds = 300;
    EXPECT_INT(row_of(start)->id, 1);
    const struct shadow_entry *entry = shadows_find(&control->shadows, 1);
    for (int i = 0; i < 80 && entry->run != NULL; i++) {
        feed(100);
    }
    EXPECT(entry->run == NULL && entry->compared && entry->same);
    end();
}

/* One run of it: how far the shadow opened behind where its primary was known to be; -1: it was not warm when it said so. */
static int64_t behind_when_opened(void)
{
    begin("{automatic: false}");
    feed_many(400, never);
    struct call *start = order(CONTROL_SHADOW_START, PARTITION);
    start->request.args.duration_seconds = 300;
    mailbox_push(control_mailbox(control), &start->request.msg);
    feed_many(400, is_open);
    const struct shadow_run *run = shadows_find(&control->shadows, 1)->run;
    int64_t was = shadow_primary_report(control, run)->next_offset[0];
    feed_many(800, is_measuring);
    const struct shadow_measures *m = run->sides[SHADOW_SUBJECT].measures;
    int64_t behind = was - m->begin_offset[0];
    bool warm = m->state == SHADOW_MEASURING && m->warm_records >= behind;
    CHECK(sent(about(CONTROL_SHADOW_GET, 1)) == ERR_OK);
    end();
    return warm ? behind : -1;
}

/* Commits take seconds: a shadow opens from one that its primary has left behind, and has to come along first. How far behind
 * is chance; in some run it is more than the 16 batches which are warm-up in any case. */
TEST(a_shadow_is_warm_where_its_primary_was)
{
    int64_t most = 0;
    commit_delay_ns = 4 * SECOND_NS; /* a snapshot is a second old at most */
    objective = "1m";                /* or it would be paused for that */
    for (seed_more = 0; seed_more < 4; seed_more++) {
        int64_t behind = behind_when_opened();
        EXPECT(behind >= 0);
        most = behind > most ? behind : most;
    }
    EXPECT_MSG(most > 16 * BATCH_ROWS_MAX, "%lld behind", (long long)most);
    seed_more = 0;
    commit_delay_ns = 2000000;
    objective = "2s";
}

TEST(what_cannot_be_is_refused_with_what_can)
{
    begin("{automatic: false}");
    feed(2);
    static const struct {
        const char *partition, *settings, *says;
        enum err err;
        bool candidate;
    } cases[] = {
        {"p/s/0/0-9", "", "the one that holds key group 0 is 0-4096", ERR_NOT_FOUND, false},
        {"nonsense", "", "pipeline/stage/shard/lo-hi", ERR_INVALID, false},
        {"1", "", "a shadow has none of its own", ERR_INVALID, false},
        {PARTITION, "x.y=1", "no operator 'x'", ERR_NOT_FOUND, true},
        {PARTITION, "w", "operator.key=value", ERR_INVALID, true},
        {PARTITION, "w.size=1", "unknown key", ERR_INVALID, true},
        {PARTITION, "", "either 'set'", ERR_INVALID, true},
    };
    EXPECT_INT(row_of(order(CONTROL_SHADOW_START, PARTITION))->id, 1);
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        struct call *call =
            order(cases[i].candidate ? CONTROL_CANDIDATE_START : CONTROL_SHADOW_START,
                  cases[i].partition);
        set(call->request.args.settings, cases[i].settings);
        EXPECT_INT(sent(call), cases[i].err);
        EXPECT_MSG(strstr(call->request.info.text, cases[i].says) != NULL, "%s",
                   call->request.info.text);
    }
    struct call *call = order(CONTROL_SHADOW_START, PARTITION);
    call->request.args.sampling = 1;
    EXPECT_INT(sent(call), ERR_UNSUPPORTED); /* by record, with state */
    call = order(CONTROL_SHADOW_START, PARTITION);
    set(call->request.args.store, "disk");
    EXPECT_INT(sent(call), ERR_NOT_FOUND);
    for (int i = 0; i < 9; i++) {
        EXPECT_INT(sent(order(CONTROL_SHADOW_START, PARTITION)), ERR_OK);
    }
    call = order(CONTROL_SHADOW_START, PARTITION); /* ten share a tenth of a core */
    EXPECT_INT(sent(call), ERR_LIMIT);
    EXPECT(strstr(call->request.info.text, "over budget") != NULL);
    end();
}

TEST(settings_are_changed_while_it_runs)
{
    begin("{automatic: false}");
    struct call *get = prepare(CONTROL_SHADOWING_GET);
    set(get->request.args.pipeline, "p");
    EXPECT_INT(sent(get), ERR_OK);
    const struct shadowing_row *row = get->request.rows.rows;
    EXPECT(!row->automatic);
    EXPECT_NEAR(row->threshold_ratio, 0.7, 1e-12);
    struct call *put = prepare(CONTROL_SHADOWING_SET);
    set(put->request.args.pipeline, "p");
    put->request.args.threshold = 0.8;
    put->request.args.automatic = 1;
    IGNORE_RESULT(snprintf(put->request.args.if_match, sizeof(put->request.args.if_match),
                           "\"%016llx\"", (unsigned long long)get->request.etag)); /* fits */
    EXPECT_INT(sent(put), ERR_OK);
    row = put->request.rows.rows;
    EXPECT(row->automatic);
    EXPECT_NEAR(row->threshold_ratio, 0.8, 1e-12);
    EXPECT_NEAR(row->percent, 10, 1e-12);
    struct call *late = prepare(CONTROL_SHADOWING_SET);
    set(late->request.args.pipeline, "p");
    late->request.args.percent = 20;
    memcpy(late->request.args.if_match, put->request.args.if_match, 20);
    EXPECT_INT(sent(late), ERR_PRECONDITION);
    struct call *bad = prepare(CONTROL_SHADOWING_SET);
    set(bad->request.args.pipeline, "p");
    bad->request.args.threshold = 0.001;
    EXPECT_INT(sent(bad), ERR_INVALID);
    end();
}

TEST(records_of_shadows_are_read_back_as_they_were)
{
    struct arena arena;
    struct err_info info;
    struct shadow_entry entry = {.id = 7, .order = {.percent = 12, .duration_ns = 60 * SECOND_NS}};
    struct shadow_entry back = {.id = 0};
    arena_init(&arena, 1 << 20);
    life_init(&entry.life, 60 * SECOND_NS);
    set(entry.partition, PARTITION);
    set(entry.pipeline, "p");
    set(entry.order.store, "memory");
    set(entry.limits, "w");
    set(entry.reason, "because \"so\"");
    entry.order.cause = LIFE_CAUSE_DEMAND;
    entry.percent = 12;
    entry.records = 1234;
    entry.ratio.value = entry.reached = entry.completeness = (double)NAN;
    EXPECT_INT(life_take(&entry.life, LIFE_EVENT_BEGIN, 5), LIFE_DO_OPEN);
    IGNORE_RESULT(life_take(&entry.life, LIFE_EVENT_OPENED, 6));
    struct str record = shadow_write(&entry, 10, &arena);
    EXPECT_INT(shadow_read(record, &back, &info), ERR_OK);
    EXPECT_INT(back.id, 7);
    EXPECT_INT(back.life.state, LIFE_WARMING);
    EXPECT_INT(back.order.cause, LIFE_CAUSE_DEMAND);
    EXPECT_INT(back.records, 1234);
    EXPECT_STR(str_of(back.reason), str_of(entry.reason));
    EXPECT(isnan(back.ratio.value) && back.profile == NULL);
    EXPECT_INT(life_take(&back.life, LIFE_EVENT_RESTART, 1), LIFE_DO_NOTHING);
    EXPECT(back.life.partial);
    for (ptrdiff_t cut = 0; cut < record.len; cut += 37) { /* whatever is read, it is refused */
        EXPECT_INT(shadow_read((struct str){record.ptr, cut}, &back, &info), ERR_CORRUPT);
    }
    arena_release(&arena);
}
