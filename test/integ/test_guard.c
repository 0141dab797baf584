// SPDX-License-Identifier: Apache-2.0
/* The server against a client that does not keep to the protocol: what smuggles, stalls or floods. In front of a control
 * plane that answers everything at once. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "api/routes.h"
#include "base/loop.h"
#include "base/real/clock_real.h"
#include "control/request.h"
#include "raw_http.h"
#include "test.h"

static struct clock clock_;
static struct waker waker;
static struct mailbox mailbox;
static struct auth auth;
static struct api *api;
static struct loop *loop;
static char tokens[ROLE_COUNT][AUTH_TOKEN_HEX + 1];
static _Atomic int64_t handled; /* requests that came through */
static _Atomic int64_t body_bytes;
static struct raw_reply reply;

static int64_t answer_all(void *ctx, int64_t now_ns)
{
    (void)ctx;
    (void)now_ns;
    static const struct check_row check = {.check = {"x", 1}, .ok = true, .reason = {"", 0}};
    struct msg *next = NULL;
    for (struct msg *msg = mailbox_take_all(&mailbox); msg != NULL; msg = next) {
        struct control_request *request = CONTAINER_OF(msg, struct control_request, msg);
        next = msg->next;
        handled++;
        body_bytes += request->body.len;
        request->rows = (struct control_rows){.entity = &check_entity, .rows = &check, .count = 1};
        mailbox_push(request->done, msg);
    }
    return CLOCK_NEVER;
}

static void stop(void)
{
    api_stop(api);
    loop_stop(loop);
    api = NULL;
}

static void start(struct limiter_rate token_rate, struct limiter_rate failure_rate)
{
    if (api != NULL) {
        stop(); /* the test before failed half way */
    }
    clock_ = clock_real();
    waker_init(&waker);
    mailbox_init(&mailbox, &waker);
    auth = (struct auth){.count = 0};
    for (int role = ROLE_VIEWER; role < ROLE_COUNT; role++) {
        auth_token_make(tokens[role]);
        CHECK(auth_add(&auth, str_of(tokens[role]), (enum role)role,
                       str_of(role_name((enum role)role)), NULL) == ERR_OK);
    }
    loop = loop_start(&(struct loop_options){.name = "fake",
                                             .clock = &clock_,
                                             .waker = &waker,
                                             .step = answer_all,
                                             .class = LOOP_NORMAL,
                                             .cpu = -1});
    struct err_info info;
    enum err err = api_start(&(struct api_options){.clock = &clock_,
                                                   .control = &mailbox,
                                                   .address = "127.0.0.1",
                                                   .auth = &auth,
                                                   .version = "0",
                                                   .ingest_body_max = 256 << 10,
                                                   .token_rate = token_rate,
                                                   .failure_rate = failure_rate},
                             &api, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    handled = 0;
    body_bytes = 0;
}

static void start_plain(void)
{
    start((struct limiter_rate){0, 0}, (struct limiter_rate){100000, 100000});
}

/* Sends a request to the ingest route with these header lines and bytes behind them. */
static void post(const char *lines, const char *rest)
{
    static char request[8192];
    IGNORE_RESULT(snprintf(request, sizeof(request),
                           "POST /api/v1/streams/s/records HTTP/1.1\r\nHost: a\r\n"
                           "Authorization: Bearer %s\r\n%s\r\n%s",
                           tokens[ROLE_ADMIN], lines, rest));
    int fd = raw_connect(api_port(api));
    IGNORE_RESULT(raw_send(fd, request, strlen(request))); /* may be refused half way */
    raw_read(fd, 20000, false, &reply);
    CHECK(close(fd) == 0);
}

/* (The library writes the head of its own refusals twice; what counts is that nothing is served.)
 * Refused with this status, at once closed, nothing behind it served, nothing handed on. */
#define EXPECT_REFUSED(what, wanted) \
    do { \
        EXPECT_MSG(reply.status == (wanted), "%s: status %d: %s", what, reply.status, reply.text); \
        EXPECT_MSG(strstr(reply.text, "HTTP/1.1 200") == NULL, "%s: %s", what, reply.text); \
        EXPECT_MSG(reply.closed, "%s: left open", what); \
        EXPECT_MSG(handled == 0, "%s: was handed on", what); \
    } while (0)

static const char smuggled[] = "helloGET /livez HTTP/1.1\r\nHost: a\r\n\r\n";

TEST(bodies_with_an_unclear_end_are_refused_and_nothing_behind_them_is_served)
{
    static const struct {
        const char *lines;
        int status;
    } probes[] = {
        {"Content-Length: 5\r\nContent-Length: 40\r\n", 400},
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 411},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 411},
        {"Transfer-Encoding: xchunked\r\n", 411},
        {"Transfer-Encoding: chunked\r\n", 411},
        {"Content-Length: +5\r\n", 400},
        {"Content-Length: 0x5\r\n", 400},
        {"Content-Length: -5\r\n", 400},
        {"Content-Length: 5, 5\r\n", 400},
        {"Content-Length: 00000000005\r\n", 400},
        {"Content-Length : 5\r\n", 400},
        {"X-A: 1\r\nHost: b\r\nContent-Length: 5\r\n", 400},
    };
    start_plain();
    for (int i = 0; i < (int)COUNT_OF(probes); i++) {
        post(probes[i].lines, smuggled);
        EXPECT_REFUSED(probes[i].lines, probes[i].status);
    }
    stop();
}

TEST(chunk_sizes_are_never_looked_at)
{
    static const char *const bodies[] = {"0x5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n",
                                         "5\r\nhello\r\n0\r\n\r\n"};
    start_plain();
    for (int i = 0; i < (int)COUNT_OF(bodies); i++) {
        post("Transfer-Encoding: chunked\r\n", bodies[i]);
        EXPECT_REFUSED(bodies[i], 411);
    }
    stop();
}

TEST(a_length_of_twenty_digits_is_refused)
{
    start_plain();
    post("Content-Length: 99999999999999999999\r\n", smuggled);
    /* The library refuses it before the guard sees it: 413, or 400 by the guard. */
    EXPECT_MSG(reply.status == 413 || reply.status == 400, "status %d", reply.status);
    EXPECT(reply.closed && strstr(reply.text, "HTTP/1.1 200") == NULL && handled == 0);
    stop();
}

TEST(a_body_over_the_limit_is_refused_before_it_is_read)
{
    start_plain();
    post("Content-Length: 1048576\r\n", "some of it");
    EXPECT_REFUSED("1 MiB", 413);
    EXPECT(strstr(reply.text, "SC1004") != NULL);
    stop();
}

TEST(requests_without_one_host_are_refused)
{
    start_plain();
    raw_call(api_port(api), "GET /livez HTTP/1.1\r\n\r\n", &reply);
    EXPECT_INT(reply.status, 400);
    raw_call(api_port(api), "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &reply);
    EXPECT_INT(reply.status, 400);
    EXPECT_INT(handled, 0);
    raw_call(api_port(api), "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", &reply);
    EXPECT_INT(reply.status, 200);
    EXPECT_INT(handled, 1);
    stop();
}

TEST(hidden_nuls_and_long_targets_are_refused)
{
    static char request[16384];
    static char big[6000];
    start_plain();
    raw_call(api_port(api), "GET /livez%00x HTTP/1.1\r\nHost: a\r\n\r\n", &reply);
    EXPECT_INT(reply.status, 400);
    raw_call(api_port(api), "GET /livez?x=%00 HTTP/1.1\r\nHost: a\r\n\r\n", &reply);
    EXPECT_INT(reply.status, 400);
    memset(big, 'a', sizeof(big) - 1);
    IGNORE_RESULT(snprintf(request, sizeof(request), "GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", big));
    raw_call(api_port(api), request, &reply);
    EXPECT_INT(reply.status, 400);
    EXPECT_INT(handled, 0);
    stop();
}

TEST(too_many_header_fields_are_refused)
{
    static char request[16384];
    start_plain();
    size_t used = (size_t)snprintf(request, sizeof(request), "GET /livez HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 64; i++) {
        used += (size_t)snprintf(request + used, sizeof(request) - used, "X-%d: y\r\n", i);
    }
    IGNORE_RESULT(snprintf(request + used, sizeof(request) - used, "\r\n"));
    raw_call(api_port(api), request, &reply);
    EXPECT_INT(reply.status, 400);
    EXPECT_INT(handled, 0);
    stop();
}

/* The library hands a header's value on as a C string, so a NUL in it hides what follows; docs/api.md says so. What
 * must hold: the request neither crashes the server nor desynchronises it. */
TEST(a_nul_inside_a_header_value_does_no_harm)
{
    static const char request[] = "GET /livez HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n";
    start_plain();
    int fd = raw_connect(api_port(api));
    EXPECT(raw_send(fd, request, sizeof(request) - 1));
    raw_read(fd, 20000, true, &reply);
    CHECK(close(fd) == 0);
    EXPECT(reply.status == 200 || reply.status == 400);
    EXPECT(reply.responses == 1);
    raw_call(api_port(api), "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", &reply);
    EXPECT_INT(reply.status, 200);
    stop();
}

static double seconds_now(void)
{
    return (double)clock_now_ns(&clock_) / 1e9;
}

/* One byte every 200 ms restarts any time-out that counts from the last byte; the deadline is for the whole head. */
TEST(a_head_that_drips_is_cut_off_in_time)
{
    static const char request[] =
        "GET /livez HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    start_plain();
    int fd = raw_connect(api_port(api));
    double begun = seconds_now();
    reply = (struct raw_reply){.status = 0};
    for (size_t i = 0; i < sizeof(request) - 1 && !reply.closed; i++) {
        if (!raw_send(fd, request + i, 1)) {
            reply.closed = true;
            break;
        }
        raw_read(fd, 200, true, &reply);
    }
    double took = seconds_now() - begun;
    CHECK(close(fd) == 0);
    EXPECT_MSG(reply.closed && took < 15, "open after %.1f s", took);
    EXPECT_INT(handled, 0);
    stop();
}

TEST(a_body_that_drips_is_cut_off_in_time)
{
    static char head[512];
    start_plain();
    int fd = raw_connect(api_port(api));
    IGNORE_RESULT(snprintf(head, sizeof(head),
                           "POST /api/v1/streams/s/records HTTP/1.1\r\nHost: a\r\n"
                           "Authorization: Bearer %s\r\nContent-Length: 100000\r\n\r\n",
                           tokens[ROLE_ADMIN]));
    EXPECT(raw_send(fd, head, strlen(head)));
    double begun = seconds_now();
    reply = (struct raw_reply){.status = 0};
    while (!reply.closed && seconds_now() - begun < 20) {
        reply.closed = !raw_send(fd, "x", 1);
        if (!reply.closed) {
            raw_read(fd, 200, true, &reply);
        }
    }
    double took = seconds_now() - begun;
    CHECK(close(fd) == 0);
    EXPECT_MSG(reply.closed && took < 15, "open after %.1f s", took);
    EXPECT_INT(handled, 0);
    stop();
}

TEST(a_request_byte_by_byte_is_served_like_any_other)
{
    static const char request[] = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    start_plain();
    int fd = raw_connect(api_port(api));
    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        EXPECT(raw_send(fd, request + i, 1));
    }
    raw_read(fd, 20000, true, &reply);
    CHECK(close(fd) == 0);
    EXPECT_INT(reply.status, 200);
    stop();
}

TEST(several_requests_on_one_connection_each_get_their_answer)
{
    static const char request[] = "GET /livez HTTP/1.1\r\nHost: a\r\nX-Request-Id: r-1\r\n\r\n"
                                  "GET /nope HTTP/1.1\r\nHost: a\r\n\r\n"
                                  "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    start_plain();
    int fd = raw_connect(api_port(api));
    EXPECT(raw_send(fd, request, sizeof(request) - 1));
    raw_read(fd, 20000, false, &reply);
    CHECK(close(fd) == 0);
    EXPECT_INT(reply.responses, 3);
    EXPECT_INT(reply.status, 200);
    EXPECT(strstr(reply.text, "X-Request-Id: r-1") != NULL && strstr(reply.text, " 404 ") != NULL);
    EXPECT_INT(handled, 2);
    stop();
}

/* The route's path with something in the place of each parameter. */
static void path_of(const struct route *route, char *path, ptrdiff_t cap)
{
    ptrdiff_t len = 0;
    struct str rest = str_of(route->path);
    while (rest.ptr != NULL) {
        struct str before = str_cut(&rest, '{');
        bool parameter = rest.ptr != NULL;
        if (parameter) {
            IGNORE_RESULT(str_cut(&rest, '}'));
        }
        len += snprintf(path + len, (size_t)(cap - len), "%.*s%s", STR_ARG(before),
                        parameter ? "s" : "");
        CHECK(len < cap);
    }
}

/* Every route with no token, a wrong one and one of each role, from the table. */
TEST(only_the_roles_of_a_route_may_call_it)
{
    static char request[2048];
    start_plain();
    for (const struct route *route = routes; route->path != NULL; route++) {
        for (int role = -1; role < ROLE_COUNT; role++) {
            char path[256];
            char authorization[128] = "";
            path_of(route, path, (ptrdiff_t)sizeof(path));
            if (role != ROLE_NONE) {
                IGNORE_RESULT(snprintf(authorization, sizeof(authorization),
                                       "Authorization: Bearer %s\r\n",
                                       role < 0 ? "0000" : tokens[role]));
            }
            const char *body = route->body == BODY_JSON ? "{\"name\":\"s\"}" : "";
            if (route->method == METHOD_PATCH) {
                body = "{}";
            }
            IGNORE_RESULT(snprintf(
                request, sizeof(request),
                "%s %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                method_name(route->method), path, authorization, strlen(body), body));
            raw_call(api_port(api), request, &reply);
            int wanted = route->role == ROLE_NONE  ? 0
                         : role <= ROLE_NONE       ? 401
                         : role < (int)route->role ? 403
                                                   : 0;
            // Whom the route lets in may still have asked for what it does not take.
            bool let_in = reply.status != 401 && reply.status != 403 && reply.status < 500;
            bool good = wanted != 0 ? reply.status == wanted : let_in;
            EXPECT_MSG(good, "%s %s as %d: status %d: %s", method_name(route->method), path, role,
                       reply.status, reply.text);
        }
    }
    stop();
}

TEST(who_calls_too_often_is_told_when_to_come_back)
{
    static char request[512];
    char after[24];
    start((struct limiter_rate){.per_second = 0.001, .burst = 3},
          (struct limiter_rate){.per_second = 0.001, .burst = 2});
    IGNORE_RESULT(snprintf(request, sizeof(request),
                           "GET /api/v1/lanes HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
                           "%s\r\nConnection: close\r\n\r\n",
                           tokens[ROLE_VIEWER]));
    for (int i = 0; i < 3; i++) {
        raw_call(api_port(api), request, &reply);
        EXPECT_INT(reply.status, 200);
    }
    raw_call(api_port(api), request, &reply);
    EXPECT_INT(reply.status, 429);
    EXPECT(raw_header(&reply, "Retry-After", after, sizeof(after)) &&
           strtol(after, NULL, 10) > 100);
    static const char guess[] =
        "GET /api/v1/lanes HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (int i = 0; i < 2; i++) {
        raw_call(api_port(api), guess, &reply);
        EXPECT_INT(reply.status, 401);
    }
    raw_call(api_port(api), guess, &reply);
    EXPECT_INT(reply.status, 429);
    IGNORE_RESULT(snprintf(request, sizeof(request),
                           "GET /api/v1/lanes HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
                           "%s\r\nConnection: close\r\n\r\n",
                           tokens[ROLE_ADMIN]));
    raw_call(api_port(api), request, &reply);
    EXPECT_MSG(reply.status == 200, "a good token is held up by others' failures: %s", reply.text);
    stop();
}

TEST(an_address_beyond_loopback_wants_to_be_asked_for)
{
    struct err_info info;
    struct api *other = NULL;
    struct api_options options = {
        .clock = &clock_, .control = &mailbox, .address = "0.0.0.0", .auth = &auth, .version = "0"};
    clock_ = clock_real();
    EXPECT_INT(api_start(&options, &other, &info), ERR_INVALID);
    EXPECT(strstr(info.text, "--insecure-listen") != NULL);
    options.address = "localhost";
    EXPECT_INT(api_start(&options, &other, &info), ERR_INVALID);
    options.address = "::";
    EXPECT_INT(api_start(&options, &other, &info), ERR_INVALID);
}

TEST(a_port_that_is_taken_is_a_conflict)
{
    struct err_info info;
    struct api *other = NULL;
    start_plain();
    struct api_options options = {.clock = &clock_,
                                  .control = &mailbox,
                                  .address = "127.0.0.1",
                                  .port = api_port(api),
                                  .auth = &auth,
                                  .version = "0"};
    EXPECT_INT(api_start(&options, &other, &info), ERR_CONFLICT);
    stop();
}

/* A flood from one peer: those over the bound are closed, those within it are served. */
TEST(one_peer_cannot_take_all_connections)
{
    enum { FLOOD = API_CONNECTIONS_PER_PEER_MAX + 40 };
    static const char request[] = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    int fds[FLOOD];
    int served = 0;
    start_plain();
    for (int i = 0; i < FLOOD; i++) {
        fds[i] = raw_connect(api_port(api));
        IGNORE_RESULT(raw_send(fds[i], request, sizeof(request) - 1)); /* may be shut */
    }
    for (int i = 0; i < FLOOD; i++) {
        raw_read(fds[i], 5000, true, &reply);
        served += reply.status == 200;
        EXPECT(reply.status == 200 || reply.closed);
    }
    for (int i = 0; i < FLOOD; i++) {
        CHECK(close(fds[i]) == 0);
    }
    EXPECT(served >= 1 && served <= API_CONNECTIONS_PER_PEER_MAX);
    stop();
}
