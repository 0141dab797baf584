// SPDX-License-Identifier: Apache-2.0
/* The API of the real program. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"
#include "raw_http.h"
#include "test.h"

static const char config[] = "version: 1\n"
                             "streams:\n"
                             "  in: {shards: 4, time: {ingest_field: ts, max_future: 1h}}\n"
                             "  plain: {shards: 2}\n"
                             "  out: {shards: 2}\n"
                             "pipelines:\n"
                             "  p:\n"
                             "    stages:\n"
                             "      - {name: s, from: in, chain: [{parse: {name: j, format: json, "
                             "fields: {k: string}}}], to: out}\n";

static struct running run;
static struct raw_reply reply;

static void start(void)
{
    if (run.pid <= 0) {
        program_write("api.yaml", config);
        program_start("api.yaml", "api-data", "", &run);
    }
}

/* The process is shared by the tests of this file; the last one ends it. */
static void call(const char *method, const char *path, const char *extra, const char *body)
{
    start();
    program_call(&run, method, path, extra, body, &reply);
}

static json_t *body(void)
{
    return json_loads(raw_body(&reply), 0, NULL);
}

static long long number(const char *member)
{
    json_t *root = body();
    json_t *value = json_object_get(root, member);
    long long n = json_is_integer(value) ? json_integer_value(value) : -1;
    json_decref(root);
    return n;
}

static bool is_true(const char *member)
{
    json_t *root = body();
    bool yes = json_is_true(json_object_get(root, member));
    json_decref(root);
    return yes;
}

static bool problem_is(int status, const char *code)
{
    return reply.status == status && strstr(raw_body(&reply), code) != NULL &&
           strstr(reply.text, "application/problem+json") != NULL;
}

/* How many records all shards of a stream hold, markers not counted. */
static int count_records(const char *stream, int shards)
{
    int count = 0;
    for (int i = 0; i < shards; i++) {
        char path[256];
        IGNORE_RESULT(snprintf(path, sizeof(path),
                               "/api/v1/streams/%s/records?shard=%d&limit=10000&format=raw", stream,
                               i));
        call("GET", path, "", NULL);
        CHECK(reply.status == 200);
        for (const char *c = raw_body(&reply); *c != 0; c++) {
            count += *c == '\n';
        }
    }
    return count;
}

TEST(health_needs_no_token_and_gives_reasons)
{
    start();
    raw_call(run.port, "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &reply);
    EXPECT_INT(reply.status, 200);
    EXPECT(is_true("ok"));
    call("GET", "/readyz", "", NULL);
    EXPECT(strstr(raw_body(&reply), "\"check\":\"log\",\"ok\":true") != NULL);
}

TEST(streams_are_made_shown_changed_and_deleted)
{
    char etag[64];
    char header[128];
    call("POST", "/api/v1/streams", "",
         "{\"name\":\"made\",\"shards\":3,\"retention_seconds\":60}");
    EXPECT_INT(reply.status, 201);
    EXPECT_INT(number("shards"), 3);
    call("POST", "/api/v1/streams", "", "{\"name\":\"made\",\"shards\":4}");
    EXPECT_MSG(problem_is(409, "SC1102"), "%s", reply.text);
    call("GET", "/api/v1/streams/made", "", NULL);
    EXPECT_INT(reply.status, 200);
    EXPECT(raw_header(&reply, "ETag", etag, sizeof(etag)));
    call("PATCH", "/api/v1/streams/made", "If-Match: \"0000000000000000\"\r\n",
         "{\"retention_bytes\":1000000}");
    EXPECT_MSG(problem_is(412, "SC1104"), "%s", reply.text);
    IGNORE_RESULT(snprintf(header, sizeof(header), "If-Match: %s\r\n", etag));
    call("PATCH", "/api/v1/streams/made", header, "{\"retention_bytes\":1000000}");
    EXPECT_INT(reply.status, 200);
    EXPECT_INT(number("retention_bytes"), 1000000);
    call("GET", "/api/v1/streams/made/shards", "", NULL);
    EXPECT(strstr(raw_body(&reply), "\"shard\":2") != NULL);
    call("DELETE", "/api/v1/streams/made", "", NULL);
    EXPECT_INT(reply.status, 204);
    call("GET", "/api/v1/streams/made", "", NULL);
    EXPECT_MSG(problem_is(404, "SC1101"), "%s", reply.text);
}

TEST(reserved_and_configured_streams_are_kept_from_clients)
{
    call("POST", "/api/v1/streams", "", "{\"name\":\"sc.mine\"}");
    EXPECT_MSG(problem_is(403, "SC1202"), "%s", reply.text);
    call("POST", "/api/v1/streams/sc.audit/records", "", "{}\n");
    EXPECT_MSG(problem_is(403, "SC1202"), "%s", reply.text);
    call("DELETE", "/api/v1/streams/in", "", NULL);
    EXPECT_MSG(problem_is(409, "SC1103"), "%s", reply.text);
    call("POST", "/api/v1/streams", "", "{\"name\":\"../etc\"}");
    EXPECT_MSG(problem_is(400, "SC1001"), "%s", reply.text);
}

TEST(records_are_read_back_as_they_were_written)
{
    call("POST", "/api/v1/streams", "", "{\"name\":\"back\"}");
    EXPECT_INT(reply.status, 201);
    call("POST", "/api/v1/streams/back/records?key_field=k", "",
         "{\"k\":\"a\\u00e4\\\"b\",\"n\":1}\r\n\n{\"k\":7}\n{\"n\":2}\n{\"k\":null}");
    EXPECT_MSG(reply.status == 200, "%s", reply.text);
    EXPECT_INT(number("records"), 4);
    EXPECT_INT(number("offset"), 0);
    call("POST", "/api/v1/streams/back/records?format=raw", "X-Record-Key: key\r\n",
         "two\nlines \x01");
    EXPECT_INT(number("offset"), 4);
    call("GET", "/api/v1/streams/back/records", "", NULL);
    const char *text = raw_body(&reply);
    EXPECT_MSG(
        strstr(text, "\"key\":\"a\xc3\xa4\\\"b\",\"value\":{\"k\":\"a\\u00e4\\\"b\",\"n\":1}}\n") !=
            NULL,
        "%s", text);
    EXPECT(strstr(text, "\"key\":\"7\",\"value\":{\"k\":7}}") != NULL);
    EXPECT(strstr(text, "\"key\":null,\"value\":{\"n\":2}}") != NULL);
    EXPECT(strstr(text, "\"key\":\"key\",\"value\":\"two\\nlines \\u0001\"}") != NULL);
    call("GET", "/api/v1/streams/back/records?offset=3&limit=1&format=raw", "", NULL);
    EXPECT(strcmp(raw_body(&reply), "{\"k\":null}\n") == 0);
    char next[24];
    EXPECT(raw_header(&reply, "X-Next-Offset", next, sizeof(next)) && strcmp(next, "4") == 0);
    call("GET", "/api/v1/streams/back/records?offset=99", "", NULL);
    EXPECT_MSG(problem_is(416, "SC1006"), "%s", reply.text);
    call("GET", "/api/v1/streams/back/records?shard=1", "", NULL);
    EXPECT_MSG(problem_is(400, "SC1001"), "%s", reply.text);
}

TEST(bad_lines_are_refused_and_told_and_the_others_stored)
{
    call("POST", "/api/v1/streams/in/records?key_field=k", "",
         "{\"ts\":1,\"k\":\"a\"}\n{\"ts\":\"yesterday\",\"k\":\"a\"}\n{\"k\":{}}\nnonsense\n"
         "{\"ts\":99999999999999,\"k\":\"b\"}\n");
    EXPECT_MSG(reply.status == 200, "%s", reply.text);
    EXPECT_INT(number("records"), 1);
    EXPECT_INT(number("rejected"), 4);
    EXPECT(strstr(raw_body(&reply), "line 2: ") != NULL);
    call("POST", "/api/v1/streams/in/records", "", "nonsense\n");
    EXPECT_MSG(problem_is(400, "SC1001"), "%s", reply.text);
    call("POST", "/api/v1/streams/in/records", "", "\n\n");
    EXPECT_MSG(problem_is(400, "SC1001"), "%s", reply.text);
    call("POST", "/api/v1/streams/nowhere/records", "", "{}\n");
    EXPECT_MSG(problem_is(404, "SC1101"), "%s", reply.text);
}

static const char three[] = "{\"k\":\"a\"}\n{\"k\":\"b\"}\n{\"k\":\"c\"}\n";

TEST(a_repeated_call_stores_nothing_twice)
{
    int before = count_records("plain", 2);
    call("POST", "/api/v1/streams/plain/records?key_field=k", "Idempotency-Key: one\r\n", three);
    EXPECT_MSG(reply.status == 200 && !is_true("duplicate"), "%s", reply.text);
    call("POST", "/api/v1/streams/plain/records?key_field=k", "Idempotency-Key: one\r\n", three);
    EXPECT_MSG(reply.status == 200 && is_true("duplicate"), "%s", reply.text);
    EXPECT_INT(number("records"), 3);
    EXPECT_INT(count_records("plain", 2), before + 3);
    call("POST", "/api/v1/streams/plain/records?key_field=k", "Idempotency-Key: one\r\n", "{}\n");
    EXPECT_MSG(problem_is(409, "SC1103"), "%s", reply.text);
}

static void produce(long long id, int sequence)
{
    char headers[256];
    IGNORE_RESULT(snprintf(
        headers, sizeof(headers),
        "X-Producer-Id: %lld\r\nX-Producer-Epoch: 0\r\nX-Producer-Sequence: %d\r\n", id, sequence));
    call("POST", "/api/v1/streams/plain/records?key_field=k", headers, three);
}

TEST(a_producers_sequence_lets_no_call_in_twice_and_no_gap_also_after_kill_9)
{
    call("POST", "/api/v1/producers", "", NULL);
    EXPECT_INT(reply.status, 201);
    long long id = number("id");
    int before = count_records("plain", 2);
    produce(id, 0);
    EXPECT_MSG(reply.status == 200 && !is_true("duplicate"), "%s", reply.text);
    produce(id, 0);
    EXPECT(is_true("duplicate"));
    produce(id, 6);
    EXPECT_MSG(problem_is(409, "SC1105"), "%s", reply.text);
    produce(id, 1);
    EXPECT_MSG(problem_is(409, "SC1105"), "%s", reply.text);
    produce(id, 3);
    EXPECT(reply.status == 200 && !is_true("duplicate"));
    EXPECT_INT(count_records("plain", 2), before + 6);
    EXPECT_INT(program_stop(&run, SIGKILL), 128 + SIGKILL);
    program_start("api.yaml", "api-data", "", &run);
    EXPECT_INT(count_records("plain", 2), before + 6);
    produce(id, 3);
    EXPECT_MSG(is_true("duplicate"), "%s", reply.text);
    produce(id, 6);
    EXPECT(reply.status == 200 && !is_true("duplicate"));
    EXPECT_INT(count_records("plain", 2), before + 9);
    call("POST", "/api/v1/streams/plain/records?key_field=k", "X-Producer-Id: 1\r\n", three);
    EXPECT_MSG(problem_is(400, "SC1001"), "%s", reply.text);
}

TEST(a_long_read_is_answered_as_soon_as_a_record_comes)
{
    static char request[512];
    call("POST", "/api/v1/streams", "", "{\"name\":\"slow\"}");
    EXPECT_INT(reply.status, 201);
    IGNORE_RESULT(snprintf(request, sizeof(request),
                           "GET /api/v1/streams/slow/records?wait=30 HTTP/1.1\r\nHost: a\r\n"
                           "Authorization: Bearer %s\r\n\r\n",
                           run.token));
    int fd = raw_connect(run.port);
    EXPECT(raw_send(fd, request, strlen(request)));
    static struct raw_reply early;
    raw_read(fd, 100, true, &early);
    EXPECT_INT(early.len, 0);
    call("POST", "/api/v1/streams/slow/records", "", "{\"x\":1}\n");
    EXPECT_INT(reply.status, 200);
    raw_read(fd, 10000, true, &reply);
    EXPECT(strstr(raw_body(&reply), "\"value\":{\"x\":1}") != NULL);
    EXPECT(strstr(reply.text, "X-Next-Offset: 1") != NULL);
    CHECK(close(fd) == 0);
    call("GET", "/api/v1/streams/slow/records?offset=1&wait=1", "", NULL);
    EXPECT(reply.status == 200 && raw_body(&reply)[0] == 0);
}

TEST(markers_are_not_shown)
{
    call("POST", "/api/v1/streams", "", "{\"name\":\"ended\",\"shards\":2}");
    call("POST", "/api/v1/streams/ended/records?shard=1", "", "{}\n");
    EXPECT_INT(number("shard"), 1);
    call("POST", "/api/v1/streams/ended/end", "", NULL);
    EXPECT_MSG(reply.status == 200, "%s", reply.text);
    EXPECT_INT(count_records("ended", 2), 1);
    call("GET", "/api/v1/streams/ended", "", NULL);
    EXPECT_INT(number("records"), 3);
}

TEST(orders_leave_a_chain_of_audit_records)
{
    call("POST", "/api/v1/streams", "X-Request-Id: look-for-me\r\n", "{\"name\":\"audited\"}");
    EXPECT_INT(reply.status, 201);
    call("GET", "/api/v1/streams/sc.audit/records?limit=10000&format=raw", "", NULL);
    EXPECT_INT(reply.status, 200);
    const char *line = strstr(raw_body(&reply), "\"request_id\":\"look-for-me\"");
    EXPECT(line != NULL);
    EXPECT(strstr(line, "\"action\":\"stream_create\",\"stream\":\"audited\"") != NULL);
    EXPECT(strstr(line, "\"result\":\"OK\"") != NULL);
    EXPECT(strstr(raw_body(&reply), run.token) == NULL);
}

TEST(figures_and_lists_are_there)
{
    static const char *const paths[] = {"/api/v1/partitions", "/api/v1/lanes", "/api/v1/pipelines",
                                        "/api/v1/streams?internal=true"};
    for (int i = 0; i < (int)COUNT_OF(paths); i++) {
        call("GET", paths[i], "", NULL);
        json_t *root = body();
        EXPECT_MSG(reply.status == 200 && json_array_size(json_object_get(root, "items")) > 0,
                   "%s: %s", paths[i], reply.text);
        json_decref(root);
    }
    call("GET", "/metrics", "", NULL);
    EXPECT(strstr(raw_body(&reply), "shadowcast_process_records_ingested_total ") != NULL);
    EXPECT(strstr(raw_body(&reply), "shadowcast_lane_partitions{node=\"n0\",lane=\"0\"} ") != NULL);
    EXPECT(strstr(raw_body(&reply), "shadowcast_partition_records_in_total{pipeline=\"p\"") !=
           NULL);
    call("GET", "/openapi.json", "", NULL);
    json_t *root = body();
    EXPECT(json_object_size(json_object_get(root, "paths")) >= 10);
    json_decref(root);
}

TEST(it_ends_in_order_when_told)
{
    start();
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
    run.pid = 0;
}
