// SPDX-License-Identifier: Apache-2.0
/* The layout of the real program changes while records flow: 200 changes of every kind through the API, and the output is
 * that of a recount, each key in its order. And what the API says about it. */
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "program.h"
#include "raw_http.h"
#include "test.h"

enum {
    USERS = 200,
    WINDOWS_MAX = 4096,
    WINDOW_MS = 10000,
    STEP_MS = 5,
    LINES = 300, /* in one call */
    FEED_PAUSE_MS = 10,
    CHANGES = 200,
    PENDING = 6,
    PARTITIONS_MAX = 36,
    KINDS = 6
};
#define BEGAN_MS 1767225600000LL

static const char config[] =
    "version: 1\n"
    "nodes: {count: 2, max: 4, lanes: 2}\n"
    "streams:\n"
    "  in: {shards: 2, time: {ingest_field: ts, out_of_order: 2s}}\n"
    "  plain: {shards: 2}\n"
    "  counts: {shards: 2}\n"
    "pipelines:\n"
    "  order:\n"
    "    commit: 20ms\n"
    "    stages:\n"
    "      - {name: pass, from: in, partitions: 2, chain: [{parse: {name: j, format: json, fields: "
    "{user: string, seq: int}}}, {filter: {name: f, where: 'seq >= 0'}}], to: plain}\n"
    "  count:\n"
    "    commit: eager\n"
    "    stages:\n"
    "      - {name: read, from: in, partitions: 2, chain: [{parse: {name: p, format: json, fields: "
    "{user: string}}}, {key_by: {name: k, key: user, shards: 2}}]}\n"
    "      - {name: count, partitions: 2, chain: [{window: {name: w, tumbling: 10s, out: {n: "
    "count}}}], to: counts}\n";

static struct running run;
static struct raw_reply reply;
static struct rng rng;

static void start(void)
{
    if (run.pid <= 0) {
        program_write("layout.yaml", config);
        program_start("layout.yaml", "layout-data", "", &run);
        rng_init(&rng, test_seed());
    }
}

static json_t *call(const char *method, const char *path, const char *extra)
{
    start();
    program_call(&run, method, path, extra, NULL, &reply);
    return json_loads(raw_body(&reply), 0, NULL);
}

static long long number(const json_t *row, const char *name)
{
    return (long long)json_integer_value(json_object_get(row, name));
}

static const char *word(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));
    return text != NULL ? text : "";
}

/* --- the load: a thread of its own, until it is told to stop --- */

static atomic_bool feed_stop;
static int64_t fed;                    /* records; the feeder's until it has ended */
static int32_t seqs[USERS];            /* records of each user */
static int32_t (*wanted)[WINDOWS_MAX]; /* [USERS]: records of each window */
static struct raw_reply feed_reply;

static void feed_lines(char *request, size_t cap, struct rng *feed_rng)
{
    static char body[LINES * 80];
    size_t used = 0;
    for (int i = 0; i < LINES; i++) {
        int user = (int)rng_below(feed_rng, USERS);
        int64_t at_ms = fed * STEP_MS;
        CHECK(at_ms / WINDOW_MS < WINDOWS_MAX);
        int n = snprintf(body + used, sizeof(body) - used,
                         "{\"user\":\"u%d\",\"seq\":%d,\"ts\":%lld}\n", user, seqs[user]++,
                         (long long)(BEGAN_MS + at_ms));
        CHECK(n > 0 && used + (size_t)n < sizeof(body));
        used += (size_t)n;
        wanted[user][at_ms / WINDOW_MS]++;
        fed++;
    }
    int n =
        snprintf(request, cap,
                 "POST /api/v1/streams/in/records?key_field=user HTTP/1.1\r\nHost: a\r\n"
                 "Authorization: Bearer %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                 run.token, used, body);
    CHECK(n > 0 && (size_t)n < cap);
}

static void *feed(void *ctx)
{
    static char request[LINES * 80 + 1024];
    struct rng feed_rng;
    (void)ctx;
    rng_init(&feed_rng, test_seed() + 1);
    while (!atomic_load(&feed_stop) && fed + LINES < (int64_t)WINDOWS_MAX * WINDOW_MS / STEP_MS) {
        feed_lines(request, sizeof(request), &feed_rng);
        raw_call(run.port, request, &feed_reply);
        CHECK_MSG(feed_reply.status == 200, "%s", feed_reply.text);
        IGNORE_RESULT(poll(NULL, 0, FEED_PAUSE_MS)); /* the load: at most 30,000 records a second */
    }
    return NULL;
}

/* --- changes --- */

static const char *const kinds[KINDS] = {"split",    "merge",      "migrate",
                                         "node_add", "node_drain", "pipeline"};
static int done_of[KINDS], undone, refusals;
static long long pending[PENDING];
static int pending_count;

static int kind_of(const char *kind)
{
    int at = 0;
    while (at < KINDS && strcmp(kinds[at], kind) != 0) {
        at++;
    }
    CHECK_MSG(at < KINDS, "%s", kind);
    return at;
}

/* Waits for the end of the oldest one. */
static void settle(void)
{
    char path[96];
    json_t *row = NULL;
    bool final = false;
    for (int tries = 0; tries < 3 && !final; tries++) {
        json_decref(row);
        IGNORE_RESULT(snprintf(path, sizeof(path), "/api/v1/operations/%lld?wait=20", pending[0]));
        row = call("GET", path, "");
        CHECK_MSG(reply.status == 200, "%s", reply.text);
        final = json_is_true(json_object_get(row, "final"));
    }
    CHECK_MSG(final, "operation %lld hangs: %s", pending[0], raw_body(&reply));
    const char *state = word(row, "state");
    if (strcmp(state, "done") == 0) {
        done_of[kind_of(word(row, "kind"))]++;
    } else {
        CHECK_MSG(strcmp(state, "undone") == 0, "%s", raw_body(&reply));
        undone++;
    }
    json_decref(row);
    pending_count--;
    memmove(pending, pending + 1, (size_t)pending_count * sizeof(pending[0]));
}

/* The configuration with another, harmless filter in pipeline `order`. */
static const char *other_text(void)
{
    static char text[sizeof(config) + 64];
    const char *at = strstr(config, "seq >= 0");
    CHECK(at != NULL);
    IGNORE_RESULT(snprintf(text, sizeof(text), "%.*sseq >= -%d%s", (int)(at - config), config,
                           (int)rng_below(&rng, 1000), at + strlen("seq >= 0"))); /* fits */
    return text;
}

/* A random order on the layout as it was seen; others are under way, so it may come too late. */
static void give(const json_t *parts)
{
    char path[512];
    const char *method = "POST";
    const char *body = NULL;
    size_t count = json_array_size(parts);
    size_t at = (size_t)rng_below(&rng, count);
    const json_t *part = json_array_get(parts, at);
    const json_t *next = at + 1 < count ? json_array_get(parts, at + 1) : NULL;
    const char *id = word(part, "id");
    uint64_t draw = rng_below(&rng, 100);
    if (draw < 32 && count < PARTITIONS_MAX) {
        IGNORE_RESULT(snprintf(path, sizeof(path), "/api/v1/partitions/%s/split?apply=true", id));
    } else if (draw < 52 && next != NULL) {
        IGNORE_RESULT(snprintf(path, sizeof(path), "/api/v1/partitions/%s/merge?apply=true&with=%s",
                               id, word(next, "id")));
    } else if (draw < 88) {
        IGNORE_RESULT(snprintf(path, sizeof(path),
                               "/api/v1/partitions/%s/migrate?apply=true&to=n%d/%d", id,
                               (int)rng_below(&rng, 4), (int)rng_below(&rng, 2)));
    } else if (draw < 91) {
        method = "PUT";
        body = other_text();
        IGNORE_RESULT(
            snprintf(path, sizeof(path), "/api/v1/pipelines/order/text?apply=true")); /* fits */
    } else {
        IGNORE_RESULT(snprintf(path, sizeof(path), "/api/v1/nodes/n%d/%s?apply=true",
                               (int)rng_below(&rng, 4), draw < 96 ? "add" : "drain"));
    }
    program_call(&run, method, path, "", body, &reply);
    json_t *row = json_loads(raw_body(&reply), 0, NULL);
    if (reply.status == 202) {
        pending[pending_count++] = number(row, "id");
    } else {
        /* Refused as it is not possible (any more), never for another reason. */
        bool apart = reply.status == 503 && strstr(reply.text, "records apart") != NULL;
        CHECK_MSG(apart || reply.status == 409 || reply.status == 404 || reply.status == 400,
                  "%s: %s", path, reply.text);
        refusals++;
    }
    json_decref(row);
}

static int changes_done(void)
{
    int sum = 0;
    for (int i = 0; i < KINDS; i++) {
        sum += done_of[i];
    }
    return sum;
}

/* --- what came out --- */

static int32_t (*found)[WINDOWS_MAX];
static int32_t next_seq[USERS];
static int64_t plain_count, out_of_order, doubled;

static void take_plain(const json_t *record)
{
    const json_t *value = json_object_get(record, "value");
    long user = strtol(word(value, "user") + 1, NULL, 10);
    CHECK(user >= 0 && user < USERS);
    out_of_order += number(value, "seq") != next_seq[user];
    next_seq[user] = (int32_t)number(value, "seq") + 1;
    plain_count++;
}

static void take_count(const json_t *record)
{
    const json_t *value = json_object_get(record, "value");
    long user = strtol(word(record, "key") + 1, NULL, 10);
    long long window = (number(value, "window_start") - BEGAN_MS) / WINDOW_MS;
    CHECK(user >= 0 && user < USERS && window >= 0 && window < WINDOWS_MAX);
    doubled += found[user][window] != 0;
    found[user][window] += (int32_t)number(value, "n");
}

static void read_stream(const char *stream, void (*take)(const json_t *record))
{
    for (int shard = 0; shard < 2; shard++) {
        long long offset = 0, end = 1;
        while (offset < end) {
            char path[128];
            char header[32];
            IGNORE_RESULT(snprintf(path, sizeof(path),
                                   "/api/v1/streams/%s/records?shard=%d&offset=%lld&limit=400",
                                   stream, shard, offset));
            program_call(&run, "GET", path, "", NULL, &reply);
            CHECK_MSG(reply.status == 200, "%s", reply.text);
            CHECK(raw_header(&reply, "X-Next-Offset", header, sizeof(header)));
            offset = strtoll(header, NULL, 10);
            CHECK(raw_header(&reply, "X-End-Offset", header, sizeof(header)));
            end = strtoll(header, NULL, 10);
            for (const char *at = raw_body(&reply); *at != 0;) {
                size_t len = strcspn(at, "\n");
                json_t *record = json_loadb(at, len, 0, NULL);
                CHECK(record != NULL);
                take(record);
                json_decref(record);
                at += len + (at[len] == '\n');
            }
        }
    }
}

/* All input is processed. The pause is bounded by the tries. */
static bool has_ended(void)
{
    for (int tries = 0; tries < 3000; tries++) {
        json_t *root = call("GET", "/api/v1/pipelines", "");
        const json_t *items = json_object_get(root, "items");
        bool ended = json_array_size(items) == 2 &&
                     strcmp(word(json_array_get(items, 0), "state"), "ended") == 0 &&
                     strcmp(word(json_array_get(items, 1), "state"), "ended") == 0;
        json_decref(root);
        if (ended) {
            return true;
        }
        IGNORE_RESULT(poll(NULL, 0, 20));
    }
    return false;
}

TEST(two_hundred_changes_under_load_do_not_show_in_the_output)
{
    pthread_t feeder;
    start();
    wanted = calloc(USERS, sizeof(*wanted));
    found = calloc(USERS, sizeof(*found));
    CHECK(wanted != NULL && found != NULL);
    CHECK(pthread_create(&feeder, NULL, feed, NULL) == 0);
    for (int given = 0; changes_done() < CHANGES && given < 20 * CHANGES; given++) {
        json_t *root = call("GET", "/api/v1/partitions", "");
        CHECK_MSG(root != NULL, "%.200s", reply.text);
        give(json_object_get(root, "items"));
        json_decref(root);
        if (pending_count == PENDING) {
            settle();
        }
    }
    while (pending_count > 0) {
        settle();
    }
    atomic_store(&feed_stop, true);
    CHECK(pthread_join(feeder, NULL) == 0);
    json_decref(call("POST", "/api/v1/streams/in/end", ""));
    EXPECT_INT(reply.status, 200);
    EXPECT_MSG(has_ended(), "not ended: %s", raw_body(&reply));
    printf("%lld records; %d splits, %d merges, %d moves, %d nodes added, %d drained, %d texts; "
           "%d undone, %d "
           "refused\n",
           (long long)fed, done_of[0], done_of[1], done_of[2], done_of[3], done_of[4], done_of[5],
           undone, refusals);
    EXPECT(changes_done() >= CHANGES);
    for (int i = 0; i < KINDS; i++) {
        EXPECT_MSG(done_of[i] >= (i < 3 ? 20 : 2), "%d of %s", done_of[i], kinds[i]);
    }
    read_stream("plain", take_plain);
    EXPECT_INT(plain_count, fed);
    EXPECT_INT(out_of_order, 0);
    read_stream("counts", take_count);
    EXPECT_INT(doubled, 0);
    for (int user = 0; user < USERS; user++) {
        EXPECT_INT(next_seq[user], seqs[user]);
        for (int window = 0; window < WINDOWS_MAX; window++) {
            EXPECT_INT(found[user][window], wanted[user][window]);
        }
    }
    free(wanted);
    free(found);
}

/* Id of a partition of stage order/pass that can be split. */
static void some_partition(char id[256])
{
    json_t *root = call("GET", "/api/v1/partitions", "");
    size_t index = 0;
    json_t *part = NULL;
    id[0] = 0;
    json_array_foreach(json_object_get(root, "items"), index, part)
    {
        const char *text = word(part, "id");
        long shard = 0, lo = 0, hi = 0;
        if (sscanf(text, "order/pass/%ld/%ld-%ld", &shard, &lo, &hi) == 3 && hi - lo >= 16) {
            IGNORE_RESULT(snprintf(id, 256, "%s", text));
        }
    }
    json_decref(root);
    CHECK(id[0] != 0);
}

TEST(orders_tell_their_operation_and_hold_for_what_was_looked_at)
{
    char id[256], path[512], etag[64], header[128];
    some_partition(id);
    IGNORE_RESULT(snprintf(path, sizeof(path), "/api/v1/partitions/%s", id));
    json_t *row = call("GET", path, "");
    EXPECT_INT(reply.status, 200);
    EXPECT(json_is_array(json_object_get(row, "heavy_keys")));
    EXPECT(json_is_array(json_object_get(row, "key_groups")));
    json_decref(row);
    EXPECT(raw_header(&reply, "ETag", etag, sizeof(etag)));
    IGNORE_RESULT(snprintf(path, sizeof(path), "/api/v1/partitions/%s/split?apply=true", id));
    json_decref(call("POST", path, "If-Match: \"00000000deadbeef\"\r\n"));
    EXPECT_MSG(reply.status == 412, "%s", reply.text);
    IGNORE_RESULT(
        snprintf(header, sizeof(header), "If-Match: %s\r\nIdempotency-Key: once\r\n", etag));
    row = call("POST", path, header);
    EXPECT_MSG(reply.status == 202, "%s", reply.text);
    long long first = number(row, "id");
    json_decref(row);
    char location[64];
    EXPECT(raw_header(&reply, "Location", location, sizeof(location)));
    IGNORE_RESULT(snprintf(path, sizeof(path), "%s?wait=20", location));
    row = call("GET", path, "");
    EXPECT_MSG(strcmp(word(row, "state"), "done") == 0, "%s", reply.text);
    json_decref(row);
    /* The partition is gone, and its name with it; the key still stands for what was done. */
    IGNORE_RESULT(snprintf(path, sizeof(path), "/api/v1/partitions/%s/split?apply=true", id));
    row = call("POST", path, "Idempotency-Key: once\r\n");
    EXPECT_MSG(reply.status == 200, "%s", reply.text);
    EXPECT_INT(number(row, "id"), first);
    json_decref(row);
    json_decref(call("POST", path, ""));
    EXPECT_INT(reply.status, 404);
    IGNORE_RESULT(snprintf(path, sizeof(path), "%s/cancel", location));
    row = call("POST", path, "");
    EXPECT_INT(reply.status, 409);
    EXPECT_INT(number(row, "operation"), first);
    json_decref(row);
}

/* Reads from an event stream until `text` has come; false after 20 s without it. */
static bool read_until(int fd, char *buf, size_t cap, const char *text)
{
    size_t used = strlen(buf);
    while (strstr(buf, text) == NULL && used + 1 < cap) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, 20000) <= 0) {
            return false;
        }
        ssize_t n = read(fd, buf + used, cap - 1 - used);
        if (n <= 0) {
            return false;
        }
        used += (size_t)n;
        buf[used] = 0;
    }
    return strstr(buf, text) != NULL;
}

TEST(events_come_as_they_happen_and_go_on_where_one_left)
{
    static char buf[1 << 16];
    char id[256], path[512], request[512], last[64];
    some_partition(id);
    int n = snprintf(request, sizeof(request),
                     "GET /api/v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n",
                     run.token);
    int fd = raw_connect(run.port);
    EXPECT(raw_send(fd, request, (size_t)n));
    buf[0] = 0;
    EXPECT(read_until(fd, buf, sizeof(buf), ": from now on"));
    EXPECT(strstr(buf, "Content-Type: text/event-stream") != NULL);
    IGNORE_RESULT(snprintf(path, sizeof(path), "/api/v1/partitions/%s/split?apply=true", id));
    json_decref(call("POST", path, ""));
    EXPECT_INT(reply.status, 202);
    EXPECT(read_until(fd, buf, sizeof(buf), "\"state\":\"done\""));
    EXPECT(strstr(buf, "event: operation") != NULL);
    EXPECT(close(fd) == 0);
    /* From the first event on again. */
    const char *at = strstr(buf, "id: ");
    EXPECT(at != NULL && sscanf(at, "id: %63s", last) == 1);
    n = snprintf(request, sizeof(request),
                 "GET /api/v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n"
                 "Last-Event-ID: %s\r\n\r\n",
                 run.token, last);
    fd = raw_connect(run.port);
    EXPECT(raw_send(fd, request, (size_t)n));
    buf[0] = 0;
    EXPECT(read_until(fd, buf, sizeof(buf), "\"state\":\"done\""));
    EXPECT(strstr(buf, "event: gap") == NULL);
    EXPECT(strstr(buf, last) == NULL);
    EXPECT(close(fd) == 0);
}

TEST(event_streams_do_not_hold_up_the_end)
{
    char request[512];
    int fds[8];
    start();
    int n = snprintf(request, sizeof(request),
                     "GET /api/v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n",
                     run.token);
    for (int i = 0; i < 8; i++) {
        static char buf[4096];
        fds[i] = raw_connect(run.port);
        EXPECT(raw_send(fds[i], request, (size_t)n));
        buf[0] = 0;
        EXPECT(read_until(fds[i], buf, sizeof(buf), ": from now on"));
    }
    EXPECT(close(fds[0]) == 0); /* one has gone away */
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
    run.pid = 0;
    for (int i = 1; i < 8; i++) {
        EXPECT(close(fds[i]) == 0);
    }
    /* What was changed is there after the restart. */
    program_start("layout.yaml", "layout-data", "", &run);
    json_t *root = call("GET", "/api/v1/operations?limit=50", "");
    size_t index = 0;
    json_t *row = NULL;
    EXPECT(json_array_size(json_object_get(root, "items")) >= 2);
    json_array_foreach(json_object_get(root, "items"), index, row)
    {
        EXPECT(json_is_true(json_object_get(row, "final")));
    }
    json_decref(root);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
    run.pid = 0;
}

/* Demands of the two active nodes, by their names. */
static bool read_demands(double ret_demand[2])
{
    json_t *root = json_loads(raw_body(&reply), 0, NULL);
    const json_t *items = json_object_get(root, "items");
    for (size_t i = 0; i < 2; i++) {
        ret_demand[i] =
            json_number_value(json_object_get(json_array_get(items, i), "demand_ratio"));
    }
    json_decref(root);
    return ret_demand[0] > 1 && ret_demand[1] > 1;
}

TEST(lanes_that_are_full_take_nothing_more)
{
    static const char text[] =
        "version: 1\nnodes: {count: 2, max: 3, lanes: 1, capacity: 1%}\n"
        "streams: {in: {shards: 1}, out: {shards: 1}}\n"
        "pipelines: {p: {stages: [{name: s, from: in, partitions: 2, chain: [{parse: {name: j, "
        "format: json, fields: {user: string}}}, {filter: {name: f, where: \"user != 'x'\"}}], to: "
        "out}]}}\n";
    static char body[60000];
    struct running full;
    double demand[2] = {0, 0};
    size_t used = 0;
    for (int i = 0; i < 3000; i++) {
        used += (size_t)snprintf(body + used, sizeof(body) - used, "{\"user\":\"u%d\"}\n", i % 97);
    }
    program_write("full.yaml", text);
    program_start("full.yaml", "full-data", "", &full);
    bool over = false;
    for (int i = 0; i < 20000 && !over; i++) {
        program_call(&full, "POST", "/api/v1/streams/in/records?key_field=user", "", body, &reply);
        CHECK_MSG(reply.status == 200, "%s", reply.text);
        program_call(&full, "GET", "/api/v1/nodes", "", NULL, &reply);
        over = read_demands(demand);
    }
    EXPECT(over);
    /* From the lane that has less to the one that has more. */
    const char *path = demand[0] < demand[1] ? "/api/v1/partitions/p/s/0/0-2048/migrate?to=n1"
                                             : "/api/v1/partitions/p/s/0/2048-4096/migrate?to=n0";
    program_call(&full, "POST", path, "", NULL, &reply);
    EXPECT_MSG(reply.status == 409 && strstr(reply.text, "is full") != NULL, "%s", reply.text);
    program_call(&full, "POST", "/api/v1/nodes/n1/drain?apply=true", "", NULL, &reply);
    EXPECT_MSG(reply.status == 409 && strstr(reply.text, "are full") != NULL, "%s", reply.text);
    program_call(&full, "GET", "/api/v1/operations", "", NULL, &reply);
    EXPECT(strstr(reply.text, "\"id\"") == NULL); /* refused is not an operation */
    EXPECT_INT(program_stop(&full, SIGTERM), 0);
}
