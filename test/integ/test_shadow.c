// SPDX-License-Identifier: Apache-2.0
/* Shadows on the real program: by hand, by threshold, killed in the middle, candidates; and what the primary writes is the
 * same with them as without. A shadow's thread is of the idle class: on a full machine it takes a while, so that waits here
 * are for conditions, up to a minute and a half. */
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "program.h"
#include "raw_http.h"
#include "test.h"

enum { LINES = 2000, LINE_MAX_BYTES = 64, WAIT_MS = 90000, USERS = 500 };

static const char config[] =
    "version: 1\n"
    "manager: {interval: 1s, mode: observe}\n"
    "streams:\n"
    "  in: {shards: 1, time: {ingest_field: ts, out_of_order: 1s}}\n"
    "  out: {shards: 1}\n"
    "pipelines:\n"
    "  p:\n"
    "    commit: 20ms\n"
    "    shadowing: {automatic: false, percent: 100, duration: 5m}\n"
    "    stages:\n"
    "      - {name: s, from: in, chain: [{parse: {name: j, format: json, fields: {user: string, n: "
    "int}}}, {filter: {name: f, where: 'n >= 0'}}, {window: {name: w, tumbling: 1s, out: {c: "
    "count, t: {sum: n}}}}], to: out}\n";

static struct running run;
static struct raw_reply reply;
static int64_t fed;

static void start(const char *data)
{
    program_write("shadow.yaml", config);
    program_start("shadow.yaml", data, "", &run);
    fed = 0;
}

/* Half of the records are of one user; event times move on by 1 ms a record. */
static void feed(int times)
{
    char *body = mem_new((ptrdiff_t)LINES * LINE_MAX_BYTES, 1);
    for (int k = 0; k < times; k++) {
        size_t used = 0;
        for (int i = 0; i < LINES; i++, fed++) {
            int user = fed % 2 == 0 ? 0 : 1 + (int)(fed * 7919 % USERS);
            used += (size_t)snprintf(body + used, (size_t)LINES * LINE_MAX_BYTES - used,
                                     "{\"user\":\"u%d\",\"n\":%d,\"ts\":%lld}\n", user,
                                     (int)(fed % 10), 1767225600000LL + (long long)fed);
        }
        program_call(&run, "POST", "/api/v1/streams/in/records?key_field=user", "", body, &reply);
        CHECK_MSG(reply.status == 200, "%s", reply.text);
    }
    mem_free(body);
}

static json_t *call(const char *method, const char *path, const char *body)
{
    program_call(&run, method, path, body != NULL ? "Content-Type: application/json\r\n" : "", body,
                 &reply);
    return json_loads(raw_body(&reply), 0, NULL);
}

static const char *word(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));
    return text != NULL ? text : "";
}

static const char *answer(const json_t *profile, const char *question)
{
    size_t index = 0;
    json_t *row = NULL;
    json_array_foreach(json_object_get(profile, "answers"), index, row)
    {
        if (strcmp(word(row, "question"), question) == 0) {
            return word(row, "answer");
        }
    }
    return "";
}

/* Feeds until the answer to a question of the page at `path` begins with `begin`; its page, or NULL. */
static json_t *wait_answer(const char *path, const char *question, const char *begin)
{
    for (int waited = 0; waited < WAIT_MS; waited += 300) {
        json_t *page = call("GET", path, NULL);
        if (strncmp(answer(page, question), begin, strlen(begin)) == 0) {
            return page;
        }
        json_decref(page);
        feed(1);
        IGNORE_RESULT(poll(NULL, 0, 300));
    }
    return NULL;
}

static void start_shadow(const char *body)
{
    json_t *row = call("POST", "/api/v1/shadows", body);
    CHECK_MSG(reply.status == 201, "%s", reply.text);
    json_decref(row);
}

/* The key that has half of the records, and its share, by the interval that is told: all but certainly within three of it. */
static bool names_the_key_with_half(const json_t *page)
{
    const json_t *top = json_array_get(json_object_get(page, "heavy_keys"), 0);
    size_t index = 0;
    json_t *figure = NULL;
    if (strcmp(word(top, "key"), "u0") != 0) {
        return false;
    }
    json_array_foreach(json_object_get(page, "figures"), index, figure)
    {
        double low = json_number_value(json_object_get(figure, "low"));
        double high = json_number_value(json_object_get(figure, "high"));
        double width = high - low;
        if (strcmp(word(figure, "name"), "share of the heaviest key") == 0) {
            printf("    the key with half of the records: %.1f to %.1f %%\n", low, high);
            return width > 0 && low - width <= 50 && high + width >= 50;
        }
    }
    return false;
}

TEST(a_shadow_tells_what_limits_and_that_no_split_helps)
{
    start("shadow-hand");
    feed(5);
    start_shadow("{\"partition\":\"p/s/0/0-4096\"}");
    json_t *page = wait_answer("/api/v1/shadows/1/profile", "what limits it", "w (window)");
    page = page != NULL ? page : wait_answer("/api/v1/shadows/1/profile", "what limits it", "j (");
    EXPECT(page != NULL);
    EXPECT_INT(json_array_size(json_object_get(page, "operators")), 3);
    json_decref(page);
    page = wait_answer("/api/v1/shadows/1/profile", "would a split help",
                       "no split helps: key 'u0' alone has");
    EXPECT(page != NULL);
    EXPECT(names_the_key_with_half(page));
    json_decref(page);
    static struct result result;
    char line[400];
    IGNORE_RESULT(snprintf(line, sizeof(line), "$SC shadow profile 1 --data '%s'", run.data));
    program_run(line, "", &result);
    EXPECT_INT(result.code, 0);
    EXPECT(strstr(result.out, "what limits it?") != NULL);
    EXPECT(strstr(result.out, "SERVICE US") != NULL);
    json_t *row = call("DELETE", "/api/v1/shadows/1", NULL);
    EXPECT_INT(reply.status, 202);
    json_decref(row);
    row = call("GET", "/api/v1/shadows/1?wait=30", NULL);
    EXPECT_STR(str_of(word(row, "outcome")), STR("request"));
    json_decref(row);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

TEST(a_threshold_casts_one)
{
    start("shadow-threshold");
    json_t *row = call("PUT", "/api/v1/pipelines/p/shadowing",
                       "{\"automatic\":\"on\",\"threshold_ratio\":0.01,\"sustain_seconds\":1}");
    EXPECT_INT(reply.status, 200);
    json_decref(row);
    bool cast = false;
    for (int waited = 0; waited < WAIT_MS && !cast; waited += 10) {
        feed(2);
        json_t *list = call("GET", "/api/v1/shadows", NULL);
        const json_t *first = json_array_get(json_object_get(list, "items"), 0);
        cast = first != NULL && strcmp(word(first, "cause"), "person") != 0 &&
               strcmp(word(first, "partition"), "p/s/0/0-4096") == 0;
        json_decref(list);
        IGNORE_RESULT(poll(NULL, 0, 10));
    }
    EXPECT(cast);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

/* Whether a call is refused with that exit code and these words, which say what is allowed. */
static bool refused(const char *call_line, int code, const char *words)
{
    static struct result result;
    char line[512];
    IGNORE_RESULT(snprintf(line, sizeof(line), "$SC %s --data '%s'", call_line, run.data));
    program_run(line, "", &result);
    bool one_line = strchr(result.err, '\n') != NULL && strchr(result.err, '\n')[1] == 0;
    if (result.code != code || strstr(result.err, words) == NULL || !one_line) {
        printf("    %s: %d: %s", call_line, result.code, result.err);
        return false;
    }
    return true;
}

TEST(orders_that_cannot_be_are_refused_with_what_is_allowed)
{
#define START "shadow start p/s/0/0-4096 "
    static const struct {
        const char *line;
        int code;
        const char *words;
    } cases[] = {
        {START "--percent 0", 2, "percent is 0, not 1 to 100"},
        {START "--percent 101", 2, "percent is 101, not 1 to 100"},
        {START "--percent nan", 2, "'nan' is not a number"},
        {START "--duration 0s", 2, "duration_seconds is 0, not 10 to 86400"},
        {START "--duration 25h", 2, "not 10 to 86400"},
        {START "--duration 10", 2, "a duration such as 250ms, 30s or 1h"},
        {START "--store nope", 3, "there are: memory"},
        {START "--sampling record", 2, "by record is for stages without state"},
        {START "--sampling other", 2, "none of key|record"},
        {START "--transport other", 2, "none of view|queue"},
        {START "--feed other", 2, "none of follow|backlog"},
        {"shadow start p/s/0/0-2048", 3, "the one that holds key group 0 is 0-4096"},
        {"shadow start p/s/1/0-4096", 3, "the stage's input has 1"},
        {"shadow start p/x/0/0-4096", 3, "GET /api/v1/partitions lists what is there"},
        {"shadow start p/s", 2, "its id is pipeline/stage/shard/lo-hi"},
        {"shadow show 1", 3, "there are none yet"},
        {"candidate start p/s/0/0-4096", 2, "either --set operator.key=value or --file"},
        {"candidate start p/s/0/0-4096 --set x.y=1", 3, "no operator 'x'"},
        {"candidate start p/s/0/0-4096 --set w.y=1", 2, "known here: name"},
        {"shadow settings p --percent 0", 2, "percent is 0, not 1 to 100"},
        {"shadow settings p --threshold 0", 2, "threshold_ratio is 0, not 0.01 to 10"},
        {"shadow settings p --threshold 1001%", 2, "threshold_ratio is 10.01, not 0.01 to 10"},
        {"shadow settings p --threshold hot", 2, "a share such as 0.7 or 70%"},
        {"shadow settings p --budget 0", 2, "budget_ratio is 0, not 0.001 to 1"},
        {"shadow settings p --duration 9s", 2, "duration_seconds is 9, not 10 to 86400"},
        {"shadow settings p --store nope", 3, "there are: memory"},
        {"shadow settings p --budget-cores 0", 2, "budget_cores is 0, not 0.001 to 64"},
        {"shadow settings x --percent 5", 3, "GET /api/v1/pipelines lists them"},
    };
#undef START
    start("shadow-refused");
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        EXPECT(refused(cases[i].line, cases[i].code, cases[i].words));
    }
    start_shadow("{\"partition\":\"p/s/0/0-4096\"}");
    EXPECT(refused("shadow start 1", 2, "a shadow has none of its own"));
    EXPECT(refused("shadow stop 2", 3, "the numbers 1 to 1 are"));
    json_t *row = call("PUT", "/api/v1/pipelines/p/shadowing",
                       "{\"budget_ratio\":0.001,\"budget_cores\":0.015}");
    EXPECT_INT(reply.status, 200);
    json_decref(row);
    EXPECT(refused("shadow start p/s/0/0-4096", 1, "stop one, or raise the budget"));
    json_t *list = call("GET", "/api/v1/shadows", NULL);
    EXPECT_INT(json_array_size(json_object_get(list, "items")), 1); /* none came of a refused one */
    json_decref(list);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

TEST(what_ran_when_the_program_was_killed_has_ended_as_partial)
{
    start("shadow-kill");
    feed(2);
    start_shadow("{\"partition\":\"p/s/0/0-4096\"}");
    EXPECT_INT(program_stop(&run, SIGKILL), 128 + SIGKILL);
    program_start("shadow.yaml", "shadow-kill", "", &run);
    json_t *row = call("GET", "/api/v1/shadows/1", NULL);
    EXPECT_STR(str_of(word(row, "state")), STR("ended"));
    EXPECT_STR(str_of(word(row, "outcome")), STR("restart"));
    EXPECT(json_is_true(json_object_get(row, "partial")));
    json_decref(row);
    start_shadow("{\"partition\":\"p/s/0/0-4096\"}");
    row = call("GET", "/api/v1/shadows/2", NULL);
    EXPECT_INT(reply.status, 200);
    json_decref(row);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

TEST(candidates_are_equal_or_differ)
{
    start("shadow-candidate");
    feed(2);
    json_t *row = call(
        "POST", "/api/v1/candidates?partition=p/s/0/0-4096&set=f.where%3Dn%2B0%20%3E%3D%200", NULL);
    EXPECT_INT(reply.status, 201);
    json_decref(row);
    row = call("POST", "/api/v1/candidates?partition=p/s/0/0-4096&set=f.where%3Dn%20%3E%3D%205",
               NULL);
    EXPECT_INT(reply.status, 201);
    json_decref(row);
    json_t *page = wait_answer("/api/v1/candidates/2/profile", "are the results the same", "no: ");
    EXPECT(page != NULL && json_array_size(json_object_get(page, "examples")) > 0);
    json_decref(page);
    page = wait_answer("/api/v1/candidates/1/profile", "are the results the same", "yes: ");
    EXPECT(page != NULL);
    json_decref(page);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
}

/* --- what the primary writes --- */

enum with { WITH_NONE, WITH_SHADOWS, WITH_SLOW, WITH_FAILING, WITH_KILLED, WITH_COUNT };

static void put_settings(const char *body)
{
    json_t *row = call("PUT", "/api/v1/pipelines/p/shadowing", body);
    CHECK_MSG(reply.status == 200, "%s", reply.text);
    json_decref(row);
}

/* Begun and ended in the middle, by either transport. */
static void come_and_go(int round)
{
    static const char *const paths[] = {"/api/v1/shadows/1", "/api/v1/shadows/4",
                                        "/api/v1/shadows/5"};
    if (round % 3 == 0) {
        start_shadow("{\"partition\":\"p/s/0/0-4096\",\"twin\":true}");
        start_shadow("{\"partition\":\"p/s/0/0-4096\",\"percent\":30,\"transport\":\"queue\"}");
    }
    if (round % 3 == 2) {
        json_t *row = call("DELETE", paths[round / 3], NULL);
        CHECK_MSG(reply.status == 202, "%s", reply.text);
        json_decref(row);
    }
}

/* A hundredth of a core for all of the records, twice: they fall behind and stay there. */
static void start_slow(int round)
{
    if (round == 0) {
        put_settings("{\"budget_ratio\":0.001,\"budget_cores\":0.02}");
        start_shadow("{\"partition\":\"p/s/0/0-4096\"}");
        start_shadow("{\"partition\":\"p/s/0/0-4096\",\"transport\":\"queue\"}");
    }
}

/* Candidates that cannot go on from the primary's state: each fails when it opens, once there is any. */
static void start_failing(int round)
{
    static char text[sizeof(config)];
    memcpy(text, config, sizeof(config));
    char *sum = strstr(text, "sum: n"); /* becomes "max: n" */
    sum[0] = 'm';
    sum[1] = 'a';
    sum[2] = 'x';
    if (round % 2 == 0) {
        program_call(&run, "POST", "/api/v1/candidates?partition=p/s/0/0-4096", "", text, &reply);
        CHECK_MSG(reply.status == 409 || reply.status == 201, "%s", reply.text);
    }
}

/* The program dies while they run, and goes on without them. */
static void die_with_shadows(int round, const char *data)
{
    if (round % 3 == 0) {
        start_shadow("{\"partition\":\"p/s/0/0-4096\",\"twin\":true}");
        start_shadow("{\"partition\":\"p/s/0/0-4096\",\"transport\":\"queue\"}");
    }
    if (round % 3 == 1) {
        CHECK(program_stop(&run, SIGKILL) == 128 + SIGKILL);
        program_start("shadow.yaml", data, "", &run);
    }
}

/* The profile of one that did not even open. */
static void tells_that_nothing_is_known(int64_t id)
{
    char path[64];
    IGNORE_RESULT(
        snprintf(path, sizeof(path), "/api/v1/candidates/%lld/profile", (long long)id)); /* fits */
    program_call(&run, "GET", path, "", "", &reply);
    CHECK_MSG(reply.status == 200, "%s", reply.text);
    EXPECT(strstr(reply.text, "no records were measured") != NULL);
    EXPECT(strstr(reply.text, "(null)") == NULL && strstr(reply.text, "nan") == NULL);
}

static bool one_has_failed(void)
{
    size_t index = 0;
    json_t *row = NULL;
    bool failed = false;
    json_t *list = call("GET", "/api/v1/candidates", NULL);
    json_array_foreach(json_object_get(list, "items"), index, row)
    {
        if (strcmp(word(row, "outcome"), "failed") == 0) {
            tells_that_nothing_is_known(json_integer_value(json_object_get(row, "id")));
            failed = true;
        }
    }
    json_decref(list);
    return failed;
}

static void do_round(enum with with, int round, const char *data)
{
    switch (with) {
    case WITH_NONE:
    case WITH_COUNT:
        break;
    case WITH_SHADOWS:
        come_and_go(round);
        break;
    case WITH_SLOW:
        start_slow(round);
        break;
    case WITH_FAILING:
        start_failing(round);
        break;
    case WITH_KILLED:
        die_with_shadows(round, data);
        break;
    }
}

/* Digest of the sink when the input has ended. */
static void result_of(const char *data, enum with with, struct result *ret_result)
{
    char line[600];
    start(data);
    for (int i = 0; i < 10; i++) {
        feed(1);
        do_round(with, i, data);
        feed(1);
    }
    CHECK(with != WITH_FAILING || one_has_failed());
    CHECK(program_stop(&run, SIGTERM) == 0);
    IGNORE_RESULT(snprintf(line, sizeof(line),
                           "$SC run shadow.yaml --data %s --listen 127.0.0.1:0 --until-end", data));
    program_run(line, "", ret_result);
    CHECK_MSG(ret_result->code == 0, "%s", ret_result->err);
    program_start("shadow.yaml", data, "", &run);
    IGNORE_RESULT(
        snprintf(line, sizeof(line), "$SC consume out --result-hash --data '%s'", run.data));
    program_run(line, "", ret_result);
    CHECK_MSG(ret_result->code == 0, "%s", ret_result->err);
    CHECK(program_stop(&run, SIGTERM) == 0);
}

TEST(the_primary_writes_the_same_with_shadows_slow_failing_or_killed_as_without)
{
    static const char *const names[WITH_COUNT] = {"shadow-without", "shadow-with", "shadow-slow",
                                                  "shadow-failing", "shadow-killed"};
    static struct result results[WITH_COUNT];
    for (int i = 0; i < WITH_COUNT; i++) {
        result_of(names[i], (enum with)i, &results[i]);
        EXPECT(results[i].out[0] != 0);
        EXPECT_STR(str_of(results[i].out), str_of(results[WITH_NONE].out));
    }
}
