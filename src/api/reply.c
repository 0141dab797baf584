// SPDX-License-Identifier: Apache-2.0
/* Answers onto the wire. Texts live in the connection's arena until the library says that they are sent. */
#include <stdio.h>

#include "api/conn_priv.h"
#include "base/check.h"

static const char json_type[] = "application/json";

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    CHECK_MSG(MHD_add_response_header(response, name, value) == MHD_YES, "header %s", name);
}

static void add_number(struct MHD_Response *response, const char *name, int64_t value)
{
    char buf[24];
    IGNORE_RESULT(snprintf(buf, sizeof(buf), "%lld", (long long)value)); /* fits */
    add_header(response, name, buf);
}

static struct MHD_Response *make(struct conn *conn, struct str body, const char *type)
{
    static char nothing[1];
    void *bytes = nothing;
    if (body.len > 0) {
        memcpy(&bytes, &body.ptr, sizeof(bytes)); /* the library only reads, yet wants it plain */
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)body.len, bytes, MHD_RESPMEM_PERSISTENT);
    CHECK(response != NULL);
    if (body.len > 0) {
        add_header(response, "Content-Type", type);
    }
    add_header(response, "X-Request-Id", conn->request_id);
    add_header(response, "Cache-Control", "no-store");
    add_header(response, "X-Content-Type-Options", "nosniff");
    if (conn->close) {
        add_header(response, "Connection", "close");
    }
    return response;
}

static enum MHD_Result send_out(struct conn *conn, struct MHD_Response *response, int status)
{
    conn_enter(conn, CONN_REPLY);
    enum MHD_Result result = MHD_queue_response(conn->mhd, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result reply_problem(struct conn *conn, struct problem problem, const char *pointer,
                              int64_t retry_after_s, const char *allow)
{
    struct text text;
    text_init(&text, &conn->arena);
    problem.pointer = pointer;
    problem.request_id = conn->request_id;
    answer_problem(&text, &problem);
    struct MHD_Response *response = make(conn, text_str(&text), "application/problem+json");
    if (retry_after_s > 0) {
        add_number(response, "Retry-After", retry_after_s);
    }
    if (allow != NULL) {
        add_header(response, "Allow", allow);
    }
    if (problem.status == 401) {
        add_header(response, "WWW-Authenticate", "Bearer");
    }
    return send_out(conn, response, problem.status);
}

enum MHD_Result reply_error(struct conn *conn, enum err err, const char *detail,
                            const char *pointer)
{
    struct problem problem = problem_of(err);
    problem.detail = detail;
    if (conn->state == CONN_ANSWER) {
        problem.operation = conn->request.operation;
        problem.differences = conn->route->answer == ANSWER_ROW ? text_str(&conn->request.text)
                                                                : (struct str){NULL, 0};
    }
    return reply_problem(conn, problem, pointer, problem.status == 503 ? 1 : 0, NULL);
}

static void add_etag(struct MHD_Response *response, const struct control_request *request)
{
    char etag[24];
    if (request->etag != 0) {
        IGNORE_RESULT(snprintf(etag, sizeof(etag), "\"%016llx\"",
                               (unsigned long long)request->etag)); /* fits */
        add_header(response, "ETag", etag);
    }
}

static const char *record_type(const struct control_request *request)
{
    return request->args.format == READ_RAW ? "application/octet-stream" : "application/x-ndjson";
}

static enum MHD_Result reply_rows(struct conn *conn)
{
    const struct control_request *request = &conn->request;
    struct text text;
    int status = request->status != 0 ? request->status : conn->route->status;
    text_init(&text, &conn->arena);
    if (conn->route->answer == ANSWER_LIST) {
        answer_list(&text, &request->rows);
    } else if (conn->route->answer == ANSWER_DETAIL) {
        answer_detail(&text, request->figures);
    } else if (conn->route->answer == ANSWER_CHECKS) {
        answer_checks(&text, &request->rows);
        status = request->err == ERR_OK ? status : 503;
    } else {
        CHECK(request->rows.count == 1);
        text_json_row(&text, request->rows.entity, request->rows.rows);
        text_add(&text, STR("\n"));
    }
    if (text.cut) {
        return reply_error(conn, ERR_LIMIT, "the answer is too large", NULL);
    }
    struct MHD_Response *response = make(conn, text_str(&text), json_type);
    add_etag(response, request);
    if (status == 202 && request->operation != 0) {
        char location[64];
        IGNORE_RESULT(snprintf(location, sizeof(location), "/api/v1/operations/%lld",
                               (long long)request->operation)); /* fits */
        add_header(response, "Location", location);
    }
    return send_out(conn, response, status);
}

static enum MHD_Result reply_text(struct conn *conn, const char *type)
{
    if (conn->request.text.cut) {
        return reply_error(conn, ERR_LIMIT, "the answer is too large", NULL);
    }
    struct MHD_Response *response = make(conn, text_str(&conn->request.text), type);
    add_etag(response, &conn->request);
    return send_out(conn, response, conn->route->status);
}

/* --- event streams --- */

/* The library wants bytes. What control has answered is sent; when that is all, control is asked for more and the connection
 * sleeps until it has an answer. */
static ssize_t read_events(void *ctx, uint64_t position, char *buf, size_t max)
{
    struct conn *conn = ctx;
    const struct control_request *request = &conn->request;
    (void)position;
    if (conn->state == CONN_ANSWER) {
        conn_enter(conn, CONN_REPLY);
        conn->sent = 0;
    }
    struct str text = text_str(&request->text);
    if (request->err != ERR_OK || request->text.cut) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (conn->sent < text.len) {
        size_t left = (size_t)(text.len - conn->sent);
        size_t n = left < max ? left : max;
        memcpy(buf, text.ptr + conn->sent, n);
        conn->sent += (ptrdiff_t)n;
        return (ssize_t)n;
    }
    arena_reset(&conn->arena);
    conn->sent = 0;
    return conn_ask(conn) ? 0 : MHD_CONTENT_READER_END_OF_STREAM;
}

static enum MHD_Result reply_events(struct conn *conn)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_events, conn, NULL);
    CHECK(response != NULL);
    add_header(response, "Content-Type", "text/event-stream");
    add_header(response, "X-Request-Id", conn->request_id);
    add_header(response, "Cache-Control", "no-store");
    add_header(response, "X-Content-Type-Options", "nosniff");
    conn->sent = 0;
    return send_out(conn, response, conn->route->status);
}

static enum MHD_Result reply_records(struct conn *conn)
{
    const struct control_request *request = &conn->request;
    struct MHD_Response *response = make(conn, text_str(&request->text), record_type(request));
    add_number(response, "X-Next-Offset", request->next_offset);
    add_number(response, "X-End-Offset", request->end_offset);
    add_number(response, "X-Start-Offset", request->start_offset);
    return send_out(conn, response, conn->route->status);
}

static enum MHD_Result reply_metrics(struct conn *conn)
{
    struct text text;
    text_init(&text, &conn->arena);
    answer_metrics(&text, conn->request.figures, conn->api->version);
    if (text.cut) {
        return reply_error(conn, ERR_LIMIT, "the answer is too large", NULL);
    }
    return send_out(conn, make(conn, text_str(&text), "text/plain; version=0.0.4; charset=utf-8"),
                    conn->route->status);
}

enum MHD_Result reply_control(struct conn *conn)
{
    const struct control_request *request = &conn->request;
    if (request->err != ERR_OK && conn->route->answer != ANSWER_CHECKS) {
        return reply_error(conn, request->err, request->info.text, NULL);
    }
    switch (conn->route->answer) {
    case ANSWER_LIST:
    case ANSWER_ROW:
    case ANSWER_CHECKS:
    case ANSWER_DETAIL:
        return reply_rows(conn);
    case ANSWER_TEXT:
        return reply_text(conn, "application/yaml");
    case ANSWER_JSON:
        return reply_text(conn, json_type);
    case ANSWER_EVENTS:
        return reply_events(conn);
    case ANSWER_RECORDS:
        return reply_records(conn);
    case ANSWER_METRICS:
        return reply_metrics(conn);
    case ANSWER_OPENAPI:
        return send_out(conn, make(conn, conn->api->openapi, json_type), 200);
    case ANSWER_NONE:
        break;
    }
    return send_out(conn, make(conn, STR(""), json_type), conn->route->status);
}
