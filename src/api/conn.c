// SPDX-License-Identifier: Apache-2.0
/* States of connections, their deadlines, and the loop that keeps them and takes completions. */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#include "api/conn_priv.h"
#include "base/check.h"
#include "base/hash.h"

enum { CONN_ARENA_KEEP = 256 << 10 };
#define SECOND_NS   1000000000LL
#define TICK_NS     (SECOND_NS / 4)
#define REPLY_NS    (120 * SECOND_NS) /* for a whole answer to be taken */
#define STOPPING_NS (2 * SECOND_NS)   /* the same when the process ends */

static void lock(struct api *api)
{
    CHECK(pthread_mutex_lock(&api->lock) == 0);
}

static void unlock(struct api *api)
{
    CHECK(pthread_mutex_unlock(&api->lock) == 0);
}

static bool is_busy(enum conn_state state)
{
    return state == CONN_WAIT || state == CONN_ANSWER || state == CONN_REPLY;
}

/* How long a connection may stay in a state. A body has no fixed end: its rate is watched. */
static int64_t deadline_of(enum conn_state state, bool first, int64_t now_ns)
{
    switch (state) {
    case CONN_OPEN:
        return now_ns +
               (first ? API_HEADER_SECONDS : API_IDLE_SECONDS + API_HEADER_SECONDS) * SECOND_NS;
    case CONN_HEAD:
        return now_ns + API_HEADER_SECONDS * SECOND_NS;
    case CONN_REPLY:
        return now_ns + REPLY_NS;
    case CONN_FREE:
    case CONN_BODY:
    case CONN_WAIT:
    case CONN_ANSWER:
        break;
    }
    return CLOCK_NEVER;
}

/* The only place where a state changes. */
static void enter_locked(struct conn *conn, enum conn_state state)
{
    struct api *api = conn->api;
    bool first = conn->state == CONN_FREE;
    conn->since_ns = clock_now_ns(&api->clock);
    conn->deadline_ns = deadline_of(state, first, conn->since_ns);
    api->busy_count += is_busy(state) - is_busy(conn->state);
    api->open_count += (state != CONN_FREE) - (conn->state != CONN_FREE);
    conn->state = state;
    CHECK(api->busy_count >= 0 && api->busy_count <= api->open_count);
    if (api->busy_count == 0) {
        CHECK(pthread_cond_broadcast(&api->idle) == 0);
    }
}

void conn_enter(struct conn *conn, enum conn_state state)
{
    lock(conn->api);
    enter_locked(conn, state);
    unlock(conn->api);
}

bool conn_wait(struct conn *conn)
{
    lock(conn->api);
    bool stopping = conn->api->stopping;
    if (!stopping) {
        enter_locked(conn, CONN_WAIT);
    }
    unlock(conn->api);
    return !stopping;
}

static void take_address(struct conn *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *addr = info != NULL ? info->client_addr : NULL;
    IGNORE_RESULT(snprintf(conn->peer, sizeof(conn->peer), "unknown")); /* fits */
    if (addr != NULL && addr->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, addr, sizeof(v4));
        IGNORE_RESULT(inet_ntop(AF_INET, &v4.sin_addr, conn->peer, sizeof(conn->peer))); /* fits */
    } else if (addr != NULL && addr->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, addr, sizeof(v6));
        IGNORE_RESULT(
            inet_ntop(AF_INET6, &v6.sin6_addr, conn->peer, sizeof(conn->peer))); /* fits */
    }
    conn->peer_hash = hash64(conn->peer, (ptrdiff_t)strlen(conn->peer)) | 1;
}

struct conn *conn_open(struct api *api, struct MHD_Connection *mhd)
{
    struct conn *conn = NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    lock(api);
    for (int i = 0; i < API_CONNECTIONS_MAX && conn == NULL; i++) {
        if (api->conns[i].state == CONN_FREE) {
            conn = &api->conns[i];
        }
    }
    if (conn != NULL && info != NULL) {
        conn->mhd = mhd;
        conn->fd = info->connect_fd;
        enter_locked(conn, CONN_OPEN);
    }
    unlock(api);
    if (conn != NULL) {
        take_address(conn);
        waker_wake(&api->waker);
    }
    return conn;
}

void conn_close(struct conn *conn)
{
    lock(conn->api);
    conn->fd = -1;
    enter_locked(conn, CONN_FREE);
    unlock(conn->api);
}

void conn_add_body(struct conn *conn, const void *bytes, size_t len)
{
    CHECK(conn->body_len + (int64_t)len <= conn->content_length);
    memcpy(conn->body + conn->body_len, bytes, len);
    lock(conn->api);
    conn->body_len += (int64_t)len;
    unlock(conn->api);
}

void conn_reset(struct conn *conn)
{
    /* The loop that keeps deadlines looks at the state and at how far the body has come: both change at once for it. */
    lock(conn->api);
    conn->body_len = 0;
    enter_locked(conn, CONN_OPEN);
    unlock(conn->api);
    conn->api->stream_count -= conn->stream;
    conn->stream = false;
    conn->sent = 0;
    conn->api->body_bytes -= conn->body != NULL ? conn->content_length : 0;
    conn->body = NULL;
    conn->content_length = 0;
    conn->route = NULL;
    conn->close = false;
    if (conn->arena.used_bytes > CONN_ARENA_KEEP) {
        arena_release(&conn->arena);
        arena_init(&conn->arena, CONTROL_ARENA_MAX);
    } else {
        arena_reset(&conn->arena);
    }
}

static bool is_overdue(const struct conn *conn, int64_t now_ns)
{
    int64_t age_ns = now_ns - conn->since_ns;
    if (conn->state == CONN_BODY) {
        int64_t late_ns = age_ns - API_HEADER_SECONDS * SECOND_NS;
        return late_ns > 0 && conn->body_len < late_ns / SECOND_NS * API_BODY_RATE_MIN;
    }
    if (conn->state == CONN_REPLY && conn->api->stopping) {
        return age_ns > STOPPING_NS;
    }
    return now_ns >= conn->deadline_ns;
}

int64_t api_loop_step(void *ctx, int64_t now_ns)
{
    struct api *api = ctx;
    struct msg *next = NULL;
    for (struct msg *msg = mailbox_take_all(&api->done); msg != NULL; msg = next) {
        struct conn *conn = CONTAINER_OF(msg, struct conn, request.msg);
        next = msg->next;
        CHECK(conn->state == CONN_WAIT);
        conn_enter(conn, CONN_ANSWER);
        MHD_resume_connection(conn->mhd);
    }
    lock(api);
    for (int i = 0; i < API_CONNECTIONS_MAX; i++) {
        struct conn *conn = &api->conns[i];
        if (conn->state != CONN_FREE && is_overdue(conn, now_ns)) {
            conn->deadline_ns =
                CLOCK_NEVER; /* once is enough: the library sees the end and closes */
            IGNORE_RESULT(shutdown(conn->fd, SHUT_RDWR)); /* gone already: the same to us */
        }
    }
    bool any = api->open_count > 0;
    unlock(api);
    return any ? now_ns + TICK_NS : CLOCK_NEVER;
}
