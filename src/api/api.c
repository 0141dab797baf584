// SPDX-License-Identifier: Apache-2.0
/* The way in: from the library's callbacks to a request in control's mailbox. */
#include "api/api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "api/conn_priv.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/real/entropy.h"

enum { BODY_SLACK = 64, OPENAPI_MAX = 1 << 20 };

/* --- the library's callbacks --- */

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = conn_open(ctx, mhd);
    } else if (*socket_context != NULL) {
        conn_close(*socket_context);
        *socket_context = NULL;
    }
}

/* The request line is there, raw. What this returns becomes the handler's request context. */
static void *on_uri(void *ctx, const char *uri, struct MHD_Connection *mhd)
{
    (void)ctx;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct conn *conn = info != NULL ? info->socket_context : NULL;
    if (conn == NULL) {
        return NULL;
    }
    struct str text = str_of(uri);
    conn->verdict = guard_uri(text);
    conn->uri_len = text.len > GUARD_URI_MAX ? GUARD_URI_MAX : text.len;
    memcpy(conn->uri, uri, (size_t)conn->uri_len);
    conn->uri[conn->uri_len] = 0;
    conn_enter(conn, CONN_HEAD);
    return conn;
}

static void on_completed(void *ctx, struct MHD_Connection *mhd, void **request_context,
                         enum MHD_RequestTerminationCode code)
{
    (void)ctx;
    (void)mhd;
    (void)code;
    if (*request_context != NULL) {
        conn_reset(*request_context);
        *request_context = NULL;
    }
}

/* --- the head of a request --- */

static enum MHD_Result add_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    guard_headers_add(ctx, (struct str){name, (ptrdiff_t)name_len},
                      (struct str){value, (ptrdiff_t)value_len});
    return MHD_YES;
}

static struct str header_of(void *ctx, const char *name)
{
    const struct conn *conn = ctx;
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(conn->mhd, MHD_HEADER_KIND, name, strlen(name), &value,
                                      &len) != MHD_YES) {
        return (struct str){NULL, 0};
    }
    return (struct str){value != NULL ? value : "", (ptrdiff_t)len};
}

static void take_request_id(struct conn *conn)
{
    struct str given = header_of(conn, "X-Request-Id");
    if (given.len > 0 && given.len < (ptrdiff_t)sizeof(conn->request_id) && guard_is_token(given)) {
        memcpy(conn->request_id, given.ptr, (size_t)given.len);
        conn->request_id[given.len] = 0;
    } else {
        IGNORE_RESULT(snprintf(conn->request_id, sizeof(conn->request_id), "%08llx-%llu",
                               (unsigned long long)(conn->api->id_prefix & 0xffffffff),
                               (unsigned long long)conn->api->id_next++)); /* fits */
    }
}

static enum MHD_Result refuse_rate(struct conn *conn, int64_t wait_ns)
{
    int64_t seconds = wait_ns / 1000000000 + 1;
    return reply_problem(conn,
                         (struct problem){.code = PROBLEM_RATE,
                                          .status = 429,
                                          .title = "too many calls",
                                          .detail = "slow down; Retry-After says when"},
                         NULL, seconds, NULL);
}

/* Who calls, and whether that is allowed. True: go on. */
static bool authorize(struct conn *conn, enum MHD_Result *ret_result)
{
    struct api *api = conn->api;
    struct control_who *who = &conn->request.who;
    int64_t now_ns = clock_now_ns(&api->clock);
    int64_t wait_ns = 0;
    if (conn->route->role == ROLE_NONE) {
        return true;
    }
    /* Failures are counted by address, but never stand in the way of a good token from the same one. */
    struct str given = header_of(conn, "Authorization");
    const struct auth_token *token = auth_find(&api->auth, given);
    if (token == NULL && !limiter_take(&api->by_failure, conn->peer_hash, now_ns, &wait_ns)) {
        *ret_result = refuse_rate(conn, wait_ns);
        return false;
    }
    if (token == NULL) {
        const char *detail =
            given.len == 0 ? "this needs 'Authorization: Bearer TOKEN'; the first start wrote "
                             "one to DATA/token"
                           : "no token that is known is in 'Authorization: Bearer TOKEN'; the "
                             "first start wrote one to DATA/token";
        *ret_result = reply_error(conn, ERR_UNAUTHENTICATED, detail, NULL);
        return false;
    }
    if (!limiter_take(&api->by_token, hash64(token->hash, AUTH_HASH_BYTES) | 1, now_ns, &wait_ns)) {
        *ret_result = refuse_rate(conn, wait_ns);
        return false;
    }
    if (token->role < conn->route->role) {
        char detail[128];
        IGNORE_RESULT(snprintf(detail, sizeof(detail), "token '%s' is %s; this needs %s",
                               token->name, role_name(token->role),
                               role_name(conn->route->role))); /* fits */
        *ret_result = reply_error(conn, ERR_DENIED, detail, NULL);
        return false;
    }
    IGNORE_RESULT(snprintf(who->name, sizeof(who->name), "%s", token->name));            /* fits */
    IGNORE_RESULT(snprintf(who->role, sizeof(who->role), "%s", role_name(token->role))); /* fits */
    who->admin = token->role == ROLE_ADMIN;
    return true;
}

static struct str path_of(const struct conn *conn, struct str *ret_query)
{
    *ret_query = (struct str){conn->uri, conn->uri_len};
    return str_cut(ret_query, '?');
}

static bool find_route(struct conn *conn, const char *method, enum MHD_Result *ret_result)
{
    struct err_info info;
    struct str query;
    char allow[ROUTE_ALLOW_MAX];
    enum err err = route_find(str_of(method), path_of(conn, &query), &conn->route, allow, &info);
    if (err == ERR_UNSUPPORTED) {
        *ret_result = reply_problem(conn,
                                    (struct problem){.code = PROBLEM_METHOD,
                                                     .status = 405,
                                                     .title = "method not allowed",
                                                     .detail = info.text},
                                    NULL, 0, allow);
    } else if (err != ERR_OK) {
        *ret_result = reply_error(conn, err, info.text, NULL);
    }
    return err == ERR_OK;
}

static bool bind_head(struct conn *conn, enum MHD_Result *ret_result)
{
    struct err_info info;
    char pointer[BIND_POINTER_MAX];
    struct bind_input input = {.header = header_of, .ctx = conn};
    input.path = path_of(conn, &input.query);
    control_args_init(&conn->request.args);
    enum err err = route_bind_head(conn->route, &input, &conn->request.args, pointer, &info);
    if (err != ERR_OK) {
        *ret_result = reply_error(conn, err, info.text, pointer);
    }
    return err == ERR_OK;
}

/* Whether the body that is announced will be taken; makes room for it. */
static bool admit_body(struct conn *conn, int64_t content_length, enum MHD_Result *ret_result)
{
    struct api *api = conn->api;
    char detail[128];
    int64_t max = conn->route->body == BODY_NONE      ? 0
                  : conn->route->body == BODY_RECORDS ? api->ingest_body_max
                                                      : API_BODY_MAX;
    if (content_length < 0 && conn->route->body != BODY_NONE) {
        *ret_result =
            reply_problem(conn,
                          (struct problem){.code = PROBLEM_BODY_SHORT,
                                           .status = 411,
                                           .title = "length required",
                                           .detail = "a body with Content-Length is wanted"},
                          NULL, 0, NULL);
        return false;
    }
    if (content_length > max) {
        IGNORE_RESULT(snprintf(detail, sizeof(detail),
                               "the body has %lld bytes; at most %lld are taken",
                               (long long)content_length, (long long)max)); /* fits */
        *ret_result = reply_error(conn, ERR_LIMIT, detail, NULL);
        return false;
    }
    if (content_length > 0 && api->body_bytes + content_length > api->bodies_max) {
        *ret_result = reply_error(conn, ERR_AGAIN, "too many bodies are being received", NULL);
        return false;
    }
    struct str type = header_of(conn, "Content-Type");
    if (conn->route->body == BODY_JSON && type.ptr != NULL &&
        !str_starts_with(type, STR("application/json"))) {
        *ret_result = reply_problem(conn,
                                    (struct problem){.code = PROBLEM_BODY_MEDIA,
                                                     .status = 415,
                                                     .title = "unsupported media type",
                                                     .detail = "the body must be application/json"},
                                    NULL, 0, NULL);
        return false;
    }
    if (content_length > 0) {
        api->body_bytes += content_length;
        conn->content_length = content_length;
        conn->body = arena_new_raw(&conn->arena, content_length + BODY_SLACK, 1);
    }
    return true;
}

/* Everything that can be judged before the body. False: answered. */
static bool admit(struct conn *conn, const char *method, enum MHD_Result *ret_result)
{
    conn->request.who = (struct control_who){.admin = false};
    return find_route(conn, method, ret_result) && authorize(conn, ret_result) &&
           bind_head(conn, ret_result) && admit_body(conn, conn->announced, ret_result);
}

/* The handler's first call: all headers are there, no body yet. */
static enum MHD_Result take_head(struct conn *conn, const char *method)
{
    struct guard_headers headers;
    enum MHD_Result result = MHD_NO;
    guard_headers_init(&headers);
    IGNORE_RESULT(MHD_get_connection_values_n(conn->mhd, MHD_HEADER_KIND, add_header,
                                              &headers)); /* how many: counted in there */
    take_request_id(conn);
    enum guard_verdict verdict =
        conn->verdict != GUARD_OK ? conn->verdict : guard_headers_end(&headers);
    if (verdict != GUARD_OK) {
        conn->close = true;
        return reply_problem(conn, problem_of_guard(verdict), NULL, 0, NULL);
    }
    /* Refused before its body was read: what follows on this connection is not a request. Without a body, the library
     * is answered at its second call: it closes after an answer to the first. */
    conn->close = headers.content_length > 0;
    conn->announced = headers.content_length;
    if (headers.content_length > 0 && !admit(conn, method, &result)) {
        return result;
    }
    conn->close = false;
    conn_enter(conn, CONN_BODY);
    return MHD_YES;
}

/* --- to control --- */

bool conn_ask(struct conn *conn)
{
    struct control_request *request = &conn->request;
    struct api *api = conn->api;
    request->kind = conn->route->kind;
    request->done = &api->done;
    request->arena = &conn->arena;
    request->body = (struct str){conn->body, conn->body_len};
    request->err = ERR_OK;
    request->info = (struct err_info){.code = ERR_OK};
    request->rows = (struct control_rows){.entity = NULL};
    request->figures[0] = (struct control_rows){.entity = NULL};
    text_init(&request->text, &conn->arena);
    request->etag = 0;
    request->status = 0;
    request->operation = 0;
    request->subject[0] = 0;
    request->who.audit = conn->route->audit;
    request->who.action = conn->route->id;
    IGNORE_RESULT(
        snprintf(request->who.peer, sizeof(request->who.peer), "%s", conn->peer)); /* fits */
    IGNORE_RESULT(snprintf(request->who.request_id, sizeof(request->who.request_id), "%s",
                           conn->request_id)); /* fits */
    if (!conn_wait(conn)) {
        return false;
    }
    MHD_suspend_connection(conn->mhd);
    mailbox_push(api->control, &request->msg);
    return true;
}

static enum MHD_Result hand_over(struct conn *conn)
{
    struct api *api = conn->api;
    if (conn->route->answer == ANSWER_EVENTS) {
        if (api->stream_count >= API_EVENT_STREAMS_MAX) {
            conn->close = true;
            return reply_error(conn, ERR_AGAIN, "too many event streams are open", NULL);
        }
        conn->stream = true;
        api->stream_count++;
    }
    if (!conn_ask(conn)) {
        conn->close = true;
        return reply_error(conn, ERR_UNAVAILABLE, "the process is ending", NULL);
    }
    return MHD_YES;
}

/* The whole request is there. */
static enum MHD_Result take_whole(struct conn *conn, const char *method)
{
    enum MHD_Result result = MHD_NO;
    struct err_info info;
    char pointer[BIND_POINTER_MAX];
    if (conn->announced <= 0 && !admit(conn, method, &result)) {
        return result;
    }
    if (conn->route->body == BODY_JSON) {
        enum err err = route_bind_body(conn->route, (struct str){conn->body, conn->body_len},
                                       &conn->request.args, pointer, &info);
        if (err != ERR_OK) {
            return reply_error(conn, err, info.text, pointer);
        }
    }
    if (conn->route->answer == ANSWER_OPENAPI) {
        conn->request.err = ERR_OK;
        return reply_control(conn);
    }
    return hand_over(conn);
}

// NOLINTNEXTLINE(readability-function-size): eight parameters are the library's signature
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_data_size, void **request_context)
{
    struct conn *conn = *request_context;
    (void)ctx;
    (void)mhd;
    (void)url;
    (void)version;
    if (conn == NULL) {
        return MHD_NO;
    }
    if (conn->state == CONN_HEAD) {
        return take_head(conn, method);
    }
    if (conn->state == CONN_BODY && *upload_data_size > 0) {
        if (conn->body_len + (int64_t)*upload_data_size > conn->content_length) {
            return MHD_NO; /* more than announced: the library does not let that through */
        }
        conn_add_body(conn, upload_data, *upload_data_size);
        *upload_data_size = 0;
        return MHD_YES;
    }
    if (conn->state == CONN_BODY) {
        return take_whole(conn, method);
    }
    return conn->state == CONN_ANSWER ? reply_control(conn) : MHD_YES;
}

/* --- start and stop --- */

static bool is_loopback(const struct sockaddr_storage *addr)
{
    if (addr->ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, addr, sizeof(v4));
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, addr, sizeof(v6));
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

static enum err read_address(const struct api_options *options, struct sockaddr_storage *ret_addr,
                             struct err_info *info)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)options->port)};
    *ret_addr = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (options->port < 0 || options->port > 65535) {
        return err_set(info, ERR_INVALID, "port %d is not 0 to 65535", options->port);
    }
    if (inet_pton(AF_INET, options->address, &v4.sin_addr) == 1) {
        memcpy(ret_addr, &v4, sizeof(v4));
    } else if (inet_pton(AF_INET6, options->address, &v6.sin6_addr) == 1) {
        memcpy(ret_addr, &v6, sizeof(v6));
    } else {
        return err_set(info, ERR_INVALID, "'%s' is neither an IPv4 nor an IPv6 address",
                       options->address);
    }
    if (!options->insecure && !is_loopback(ret_addr)) {
        return err_set(info, ERR_INVALID,
                       "%s is not a loopback address, and there is no TLS: listen on 127.0.0.1 "
                       "behind a proxy, or say --insecure-listen",
                       options->address);
    }
    return ERR_OK;
}

static enum err start_daemon(struct api *api, const struct api_options *options,
                             const struct sockaddr_storage *addr, struct err_info *info)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
                     (addr->ss_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    errno = 0;
    api->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, api, MHD_OPTION_SOCK_ADDR, (const struct sockaddr *)addr,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)API_CONNECTIONS_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)API_CONNECTIONS_PER_PEER_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)API_IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(48 << 10), MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, api, MHD_OPTION_URI_LOG_CALLBACK, on_uri, api, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, api, MHD_OPTION_END);
    if (api->daemon == NULL) {
        int sys_errno = errno;
        return err_set_sys(info, sys_errno == EADDRINUSE ? ERR_CONFLICT : ERR_IO, sys_errno,
                           "cannot listen on %s, port %d (--listen names another; port 0: any "
                           "free one)",
                           options->address, options->port);
    }
    const union MHD_DaemonInfo *bound = MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_BIND_PORT);
    CHECK(bound != NULL);
    api->port = bound->port;
    return ERR_OK;
}

static struct limiter_rate rate_or(struct limiter_rate rate, struct limiter_rate fallback)
{
    return rate.burst >= 1 ? rate : fallback;
}

static struct api *api_new(const struct api_options *options)
{
    struct api *api = MEM_NEW(struct api);
    struct text openapi;
    api->clock = *options->clock;
    api->control = options->control;
    api->auth = *options->auth;
    api->version = options->version;
    api->ingest_body_max = options->ingest_body_max > 0 ? options->ingest_body_max : 8 << 20;
    api->bodies_max = options->bodies_max > 0 ? options->bodies_max : 128 << 20;
    CHECK(api->ingest_body_max <= CONTROL_ARENA_MAX / 2);
    CHECK(pthread_mutex_init(&api->lock, NULL) == 0 && pthread_cond_init(&api->idle, NULL) == 0);
    waker_init(&api->waker);
    mailbox_init(&api->done, &api->waker);
    limiter_init(&api->by_token, rate_or(options->token_rate, (struct limiter_rate){5000, 10000}));
    limiter_init(&api->by_failure, rate_or(options->failure_rate, (struct limiter_rate){5, 50}));
    entropy_fill(&api->id_prefix, (ptrdiff_t)sizeof(api->id_prefix));
    for (int i = 0; i < API_CONNECTIONS_MAX; i++) {
        api->conns[i] = (struct conn){.api = api, .state = CONN_FREE, .fd = -1};
        arena_init(&api->conns[i].arena, CONTROL_ARENA_MAX);
    }
    arena_init(&api->arena, OPENAPI_MAX);
    text_init(&openapi, &api->arena);
    answer_openapi(&openapi, api->version);
    CHECK(!openapi.cut);
    api->openapi = text_str(&openapi);
    return api;
}

static void api_free(struct api *api)
{
    for (int i = 0; i < API_CONNECTIONS_MAX; i++) {
        arena_release(&api->conns[i].arena);
    }
    arena_release(&api->arena);
    CHECK(pthread_mutex_destroy(&api->lock) == 0 && pthread_cond_destroy(&api->idle) == 0);
    mem_free(api);
}

enum err api_start(const struct api_options *options, struct api **ret_api, struct err_info *info)
{
    struct sockaddr_storage addr;
    enum err err = read_address(options, &addr, info);
    if (err != ERR_OK) {
        return err;
    }
    struct api *api = api_new(options);
    err = start_daemon(api, options, &addr, info);
    if (err != ERR_OK) {
        api_free(api);
        return err;
    }
    api->loop = loop_start(&(struct loop_options){.name = "api",
                                                  .clock = &api->clock,
                                                  .waker = &api->waker,
                                                  .step = api_loop_step,
                                                  .ctx = api,
                                                  .class = LOOP_NORMAL,
                                                  .cpu = -1});
    *ret_api = api;
    return ERR_OK;
}

int api_port(const struct api *api)
{
    return api->port;
}

void api_stop(struct api *api)
{
    if (api == NULL) {
        return;
    }
    CHECK(pthread_mutex_lock(&api->lock) == 0);
    api->stopping = true;
    while (api->busy_count > 0) {
        CHECK(pthread_cond_wait(&api->idle, &api->lock) == 0);
    }
    CHECK(pthread_mutex_unlock(&api->lock) == 0);
    /* The loop goes on while the library ends: nothing waits any more, so it has nothing to resume. */
    MHD_stop_daemon(api->daemon);
    loop_stop(api->loop);
    api_free(api);
}
