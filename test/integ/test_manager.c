// SPDX-License-Identifier: Apache-2.0
/* The manager of the real program: a hot partition is split by it when it may act, and the ledger says why; when it may only
 * recommend, nothing moves until somebody applies the plan; what was decided is there after a kill. */
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/real/clock_real.h"
#include "base/str.h"
#include "program.h"
#include "raw_http.h"
#include "test.h"

/* The load is a rate by the clock, whatever else the machine does: small bodies in time, larger ones when it is late. */
#define SECOND_NS 1000000000LL
enum { RATE = 40000, LINES = 1000, LINES_MAX = 16000, PATIENCE_S = 240 };

/* One shard, one partition, three lanes more that have nothing to do. The work of a record is several times its reading: else no
 * split would help, and the manager would say so. */
static const char config[] =
    "version: 1\n"
    "nodes: {count: 4, lanes: 1, capacity: 1%%}\n"
    "manager: {interval: 1s, mode: %s, cooldown: 5s, policy: predictive}\n"
    "streams:\n"
    "  in: {shards: 1}\n"
    "  out: {shards: 1}\n"
    "pipelines:\n"
    "  hot:\n"
    "    stages:\n"
    "      - {name: s, from: in, chain: [{parse: {name: p, format: json, fields: {user: string, n: "
    "time}}}, {map: {name: m, set: {a: \"format_time(n, '%%Y-%%m-%%d')\", b: \"format_time(n, '%%H:%%M:%%S')\", "
    "c: \"format_time(n, '%%j')\", d: \"format_time(n, '%%Y')\"}}}, {filter: {name: f, where: \"a != b and c != d\"}}, "
    "{window: {name: w, "
    "tumbling: 10s, out: {c: count}}}], to: out}\n";

static struct running run;
static struct raw_reply reply;

/* Sixty-four partitions on two nodes: to drain one of them takes more than thirty steps. */
static const char many[] =
    "version: 1\n"
    "nodes: {count: 2, lanes: 1}\n"
    "manager: {interval: 1s, mode: observe}\n"
    "streams:\n  in: {shards: 8}\n  out: {shards: 8}\n"
    "pipelines:\n  calm:\n    stages:\n"
    "      - {name: s, from: in, partitions: 8, chain: [{parse: {name: p, format: json, fields: "
    "{user: string}}}], to: out}\n";

static void start(const char *mode)
{
    char text[2048];
    char data[64];
    CHECK(snprintf(text, sizeof(text), config, mode) < (int)sizeof(text));
    program_write("manager.yaml", text);
    CHECK(snprintf(data, sizeof(data), "manager-%s", mode) < (int)sizeof(data));
    program_start("manager.yaml", data, "", &run);
}

static json_t *call(const char *method, const char *path, const char *extra, const char *body)
{
    program_call(&run, method, path, extra, body, &reply);
    return json_loads(raw_body(&reply), 0, NULL);
}

static json_t *get(const char *path)
{
    return call("GET", path, "", NULL);
}

static const char *word(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));
    return text != NULL ? text : "";
}

static int64_t now_ns(void)
{
    struct clock clock = clock_real();
    return clock_now_ns(&clock);
}

static void feed(void)
{
    static char body[LINES_MAX * 40];
    static int64_t fed_ns;
    static int next;
    int64_t pause_ns = LINES * SECOND_NS / RATE - (now_ns() - fed_ns);
    clock_real_sleep(pause_ns); /* the load's pace */
    int64_t begun_ns = now_ns();
    int64_t late_ns = begun_ns - fed_ns < SECOND_NS ? begun_ns - fed_ns : SECOND_NS;
    int64_t due = late_ns * RATE / SECOND_NS;
    int64_t lines = due < LINES_MAX ? due : LINES_MAX;
    fed_ns = begun_ns;
    size_t used = 0;
    for (int64_t i = 0; i < lines; i++, next++) {
        used += (size_t)snprintf(body + used, sizeof(body) - used, "{\"user\":\"u%d\",\"n\":%d}\n",
                                 next % 997, next % 100);
    }
    json_decref(call("POST", "/api/v1/streams/in/records?key_field=user", "", body));
    CHECK_MSG(reply.status == 200, "%s", reply.text);
}

/* The newest plan in one of the states, e.g. "done measured", that changes what is said; feeds until there is one. NULL: none
 * came. */
static json_t *wait_plan(const char *states, const char *change)
{
    int64_t end_ns = now_ns() + PATIENCE_S * SECOND_NS;
    for (int i = 0; now_ns() < end_ns; i++) {
        feed();
        json_t *root = i % 10 == 9 ? get("/api/v1/plans") : NULL;
        json_t *items = json_object_get(root, "items");
        for (size_t p = 0; p < json_array_size(items); p++) {
            json_t *plan = json_array_get(items, p);
            if (strstr(states, word(plan, "state")) != NULL &&
                strstr(word(plan, "change"), change) != NULL) {
                json_incref(plan);
                json_decref(root);
                return plan;
            }
        }
        json_decref(root);
    }
    return NULL;
}

static size_t count_of(const char *path)
{
    json_t *root = get(path);
    size_t count = json_array_size(json_object_get(root, "items"));
    json_decref(root);
    return count;
}

static bool has_step(const json_t *detail, const char *kind)
{
    const json_t *steps = json_object_get(detail, "steps");
    for (size_t i = 0; i < json_array_size(steps); i++) {
        if (strcmp(word(json_array_get(steps, i), "kind"), kind) == 0) {
            return true;
        }
    }
    return false;
}

/* The plan is in that state, at the end. */
static bool comes_to(long long id, const char *state)
{
    char path[64];
    CHECK(snprintf(path, sizeof(path), "/api/v1/plans/%lld", id) < (int)sizeof(path));
    for (int i = 0; i < 300; i++) {
        json_t *plan = get(path);
        const char *now = word(plan, "state");
        bool there = now[0] != 0 && strstr(state, now) != NULL;
        json_decref(plan);
        if (there) {
            return true;
        }
        IGNORE_RESULT(poll(NULL, 0, 100));
    }
    return false;
}

/* Plans that the manager has applied by itself, as `manager show` tells it. */
static long long applied_by_itself(void)
{
    json_t *root = get("/api/v1/manager");
    json_t *all = json_array_get(json_object_get(root, "items"), 0);
    json_t *count = json_object_get(all, "plans_applied");
    long long n = json_is_integer(count) ? (long long)json_integer_value(count) : -1;
    json_decref(root);
    return n;
}

TEST(a_hot_partition_is_split_by_the_manager_and_the_decision_says_why)
{
    char path[64];
    start("act");
    json_t *plan = wait_plan("done measured", "split");
    EXPECT(plan != NULL);
    long long id = (long long)json_integer_value(json_object_get(plan, "id"));
    CHECK(snprintf(path, sizeof(path), "/api/v1/decisions/%lld", id) < (int)sizeof(path));
    json_t *decision = get(path);
    EXPECT_INT(reply.status, 200);
    EXPECT(has_step(decision, "split"));
    EXPECT_STR(str_of(word(decision, "who")), STR("manager"));
    EXPECT(strstr(word(decision, "sentence"), "split") != NULL);
    EXPECT(json_array_size(json_object_get(decision, "options")) >= 2);
    EXPECT(count_of("/api/v1/partitions") >= 2);
    EXPECT(count_of("/api/v1/operations") >= 1);
    EXPECT(count_of("/api/v1/samples?kind=pipeline&subject=hot") >= 2);
    EXPECT(applied_by_itself() >= 1);
    json_decref(plan);
    json_decref(decision);
    /* It dies: what was decided is known afterwards, and the layout is as it was changed. */
    EXPECT_INT(program_stop(&run, SIGKILL), 128 + SIGKILL);
    program_start("manager.yaml", "manager-act", "", &run);
    decision = get(path);
    EXPECT_INT(reply.status, 200);
    EXPECT(has_step(decision, "split"));
    /* What was still to be measured is not any more: its horizon has a hole. */
    EXPECT(comes_to(id, "measured expired rolled_back"));
    EXPECT(count_of("/api/v1/partitions") >= 2);
    json_decref(decision);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

TEST(when_it_may_only_recommend_nothing_moves_until_the_plan_is_applied)
{
    char path[64];
    start("recommend");
    json_t *plan = wait_plan("recommended", "");
    EXPECT(plan != NULL);
    EXPECT_INT(count_of("/api/v1/partitions"), 1);
    EXPECT_INT(count_of("/api/v1/operations"), 0);
    json_decref(call("POST", "/api/v1/plans/999999/apply", "", ""));
    EXPECT_INT(reply.status, 404);
    long long id = (long long)json_integer_value(json_object_get(plan, "id"));
    json_decref(plan);
    CHECK(snprintf(path, sizeof(path), "/api/v1/plans/%lld/apply", id) < (int)sizeof(path));
    json_decref(call("POST", path, "If-Match: \"0000000000000000\"\r\n", ""));
    EXPECT_INT(reply.status, 412);
    json_decref(call("POST", path, "", ""));
    EXPECT_MSG(reply.status == 202 || reply.status == 409, "%s", reply.text);
    if (reply.status == 202) { /* else it has expired meanwhile: the load went on */
        plan = wait_plan("done measured", "");
        EXPECT(plan != NULL);
        EXPECT(count_of("/api/v1/operations") >= 1);
        EXPECT_INT(applied_by_itself(), 0); /* a person has */
        json_decref(plan);
    }
    json_decref(call("PATCH", "/api/v1/manager", "", "{\"mode\":\"dance\"}"));
    EXPECT_INT(reply.status, 400);
    json_t *modes = call("PATCH", "/api/v1/manager", "", "{\"mode\":\"observe\"}");
    EXPECT_INT(reply.status, 200);
    EXPECT_STR(str_of(word(json_array_get(json_object_get(modes, "items"), 1), "mode")),
               STR("observe"));
    json_decref(modes);
    EXPECT_INT(program_stop(&run, SIGKILL), 128 + SIGKILL);
    program_start("manager.yaml", "manager-recommend", "", &run); /* set by hand, it stays */
    modes = get("/api/v1/manager");
    for (int i = 0; i < 100 && reply.status != 200; i++) {
        IGNORE_RESULT(poll(NULL, 0, 50)); /* it is coming up */
        json_decref(modes);
        modes = get("/api/v1/manager");
    }
    EXPECT_STR(str_of(word(json_array_get(json_object_get(modes, "items"), 0), "mode")),
               STR("observe"));
    json_decref(modes);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

/* Asks until the manager has measured something. */
static long long dry_run(const char *path)
{
    for (int i = 0; i < 300; i++) {
        json_t *row = call("POST", path, "", "");
        json_t *plan = json_object_get(row, "plan");
        CHECK_MSG(reply.status == 200, "%s", reply.text);
        CHECK(strcmp(word(row, "state"), "checked") == 0);
        long long id = json_is_integer(plan) ? (long long)json_integer_value(plan) : 0;
        CHECK(id == 0 || json_is_number(json_object_get(row, "cost")));
        json_decref(row);
        if (id != 0) {
            return id;
        }
        IGNORE_RESULT(poll(NULL, 0, 100)); /* the manager's interval is a second */
    }
    return 0;
}

static int order(long long id, const char *verb)
{
    char path[64];
    CHECK(snprintf(path, sizeof(path), "/api/v1/plans/%lld/%s", id, verb) < (int)sizeof(path));
    json_t *row = call("POST", path, "", "");
    long long made = (long long)json_integer_value(json_object_get(row, "id"));
    json_decref(row);
    return reply.status == 202 ? (int)made : -reply.status;
}

static size_t active_nodes(void)
{
    json_t *root = get("/api/v1/nodes");
    json_t *items = json_object_get(root, "items");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(items); i++) {
        count += strcmp(word(json_array_get(items, i), "state"), "active") == 0;
    }
    json_decref(root);
    return count;
}

TEST(what_a_person_asks_for_is_a_plan_with_a_price_that_is_applied_and_undone)
{
    start("observe"); /* people may, whatever the manager may */
    long long split = dry_run("/api/v1/partitions/hot/s/0/0-4096/split?border=1024&to=n1");
    EXPECT(split > 0);
    EXPECT_INT(count_of("/api/v1/partitions"), 1);
    EXPECT_INT(order(split, "undo"), -409); /* nothing of it is done */
    EXPECT_INT(order(split, "cancel"), -409);
    EXPECT_INT(order(split, "apply"), split);
    EXPECT(comes_to(split, "done measured"));
    EXPECT_INT(count_of("/api/v1/partitions"), 2);
    int undo = order(split, "undo");
    EXPECT(undo > split);
    EXPECT(comes_to(undo, "done"));
    EXPECT_INT(count_of("/api/v1/partitions"), 1);
    EXPECT_INT(order(split, "undo"), -409); /* it is undone */
    /* A node is drained by a plan, and is there again, with what it had, when that is undone. */
    long long drain = dry_run("/api/v1/nodes/n0/drain");
    EXPECT(drain > 0);
    EXPECT_INT(order(drain, "apply"), drain);
    EXPECT(comes_to(drain, "done measured"));
    EXPECT_INT(active_nodes(), 3);
    undo = order(drain, "undo");
    EXPECT(comes_to(undo, "done"));
    EXPECT_INT(active_nodes(), 4);
    json_t *parts = get("/api/v1/partitions");
    EXPECT_STR(str_of(word(json_array_get(json_object_get(parts, "items"), 0), "node")), STR("n0"));
    json_decref(parts);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

/* The plan that two make; negative: refused with that status. */
static long long join(long long id, long long next)
{
    char path[64];
    CHECK(snprintf(path, sizeof(path), "/api/v1/plans/%lld/join?with=%lld", id, next) <
          (int)sizeof(path));
    json_t *row = call("POST", path, "", "");
    long long made = (long long)json_integer_value(json_object_get(row, "id"));
    json_decref(row);
    return reply.status == 200 ? made : -reply.status;
}

TEST(two_orders_of_a_person_are_one_plan_that_is_applied_and_undone_as_one)
{
    start("observe");
    long long split = dry_run("/api/v1/partitions/hot/s/0/0-4096/split?border=1024&to=n1");
    long long drain = dry_run("/api/v1/nodes/n3/drain");
    EXPECT_INT(join(split, split), -404);
    EXPECT_INT(join(split, 999999), -404);
    long long both = join(split, drain);
    EXPECT(both > drain);
    EXPECT_INT(order(both, "apply"), both);
    EXPECT(comes_to(both, "done measured"));
    EXPECT_INT(count_of("/api/v1/partitions"), 2);
    EXPECT_INT(active_nodes(), 3);
    EXPECT_INT(join(both, drain), -409); /* it is done, and the other is of another layout */
    int undo = order(both, "undo");
    EXPECT(comes_to(undo, "done"));
    EXPECT_INT(count_of("/api/v1/partitions"), 1);
    EXPECT_INT(active_nodes(), 4);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

/* Where each partition is, as one text. */
static char *places(void)
{
    json_t *root = get("/api/v1/partitions");
    json_t *of = json_object();
    json_t *row = NULL;
    size_t i = 0;
    json_array_foreach(json_object_get(root, "items"), i, row)
    {
        CHECK(json_object_set_new(of, word(row, "id"), json_string(word(row, "node"))) == 0);
    }
    char *text = json_dumps(of, JSON_SORT_KEYS);
    json_decref(of);
    json_decref(root);
    return text;
}

static long long steps_done(long long id)
{
    char path[64];
    CHECK(snprintf(path, sizeof(path), "/api/v1/plans/%lld", id) < (int)sizeof(path));
    json_t *plan = get(path);
    long long done = (long long)json_integer_value(json_object_get(plan, "steps_done"));
    json_decref(plan);
    return done;
}

/* Drains a node by a plan and cancels it when its first step is done. Negative: it was through by then, and is undone. */
static long long apply_and_cancel(void)
{
    long long drain = dry_run("/api/v1/nodes/n1/drain");
    CHECK(drain > 0 && order(drain, "apply") == drain);
    for (int i = 0; i < 60000 && steps_done(drain) == 0; i++) {
        IGNORE_RESULT(poll(NULL, 0, 1)); /* more than thirty are to come */
    }
    if (order(drain, "cancel") == drain) {
        return drain;
    }
    CHECK(comes_to(drain, "done measured") && comes_to(order(drain, "undo"), "done"));
    return -drain;
}

TEST(a_plan_that_is_cancelled_between_two_steps_is_undone_and_one_that_is_done_can_be)
{
    program_write("many.yaml", many);
    program_start("many.yaml", "manager-many", "", &run);
    char *before = places();
    EXPECT(strstr(before, "\"n1\"") != NULL);
    long long drain = apply_and_cancel();
    for (int i = 0; i < 9 && drain < 0; i++) { /* it was done before the order came: once more */
        drain = apply_and_cancel();
    }
    EXPECT(drain > 0);
    EXPECT(comes_to(drain, "failed"));
    char path[64];
    CHECK(snprintf(path, sizeof(path), "/api/v1/decisions/%lld", drain) < (int)sizeof(path));
    json_t *decision = get(path);
    EXPECT_MSG(strstr(word(decision, "reason"), "cancelled") != NULL, "%s", reply.text);
    json_decref(decision);
    char *after = places();
    EXPECT_STR(str_of(after), str_of(before)); /* what had moved is where it was */
    EXPECT_INT(active_nodes(), 2);
    EXPECT_INT(order(drain, "cancel"), -409); /* it has ended */
    EXPECT_INT(order(drain, "undo"), -409);   /* and left nothing */
    free(after);
    /* The same again, to its end; then all of its steps backwards. */
    drain = dry_run("/api/v1/nodes/n1/drain");
    EXPECT_INT(order(drain, "apply"), drain);
    EXPECT(comes_to(drain, "done measured"));
    EXPECT_INT(active_nodes(), 1);
    int undo = order(drain, "undo");
    EXPECT_MSG(undo > drain, "%s", reply.text);
    EXPECT(comes_to(undo, "done"));
    after = places();
    EXPECT_STR(str_of(after), str_of(before));
    EXPECT_INT(active_nodes(), 2);
    free(after);
    free(before);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}
