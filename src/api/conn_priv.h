// SPDX-License-Identifier: Apache-2.0
#ifndef API_CONN_PRIV_H
#define API_CONN_PRIV_H

#include <microhttpd.h>
#include <pthread.h>

#include "api/answer.h"
#include "api/api.h"
#include "base/loop.h"

/* A connection and the request on it. One at a time, so a fixed table of connections is also the bound on requests.
 *
 *   FREE --accept--> OPEN --request line--> HEAD --guard, route, auth, parameters--> BODY --all of it--> WAIT
 *    ^                ^ ^                     |                                        |      (control has it)
 *    |                | +---- refused --------+                                        |                 |
 *    +----- closed    +------------------------- sent --- REPLY <---- refused ---------+   <-- ANSWER <--+ completed
 *
 * Invariants:
 *   C1  `request` is control's in WAIT and the HTTP thread's in all other states.
 *   C2  `state`, `deadline_ns`, `fd` and `body_len` change only under the api's lock; the loop reads them under it, so a
 *       descriptor that it shuts down is still this connection's.
 *       An event stream goes round: REPLY, and when all is sent, WAIT for what happens next.
 *   C3  A connection in WAIT is suspended: the library does not touch it until the loop resumes it. */

enum conn_state { CONN_FREE, CONN_OPEN, CONN_HEAD, CONN_BODY, CONN_WAIT, CONN_ANSWER, CONN_REPLY };

struct conn {
    struct control_request request; /* first: completions come back as its msg */
    enum conn_state state;
    struct api *api;
    struct MHD_Connection *mhd;
    int fd;
    int64_t since_ns;    /* when `state` was entered */
    int64_t deadline_ns; /* the loop shuts the socket down then */
    struct arena arena;
    const struct route *route;
    enum guard_verdict verdict; /* of the request target */
    bool close;                 /* after this answer */
    bool stream;       /* counted among the event streams; the HTTP thread's, like those below */
    ptrdiff_t sent;    /* of request.text, on an event stream */
    int64_t announced; /* Content-Length; -1: none */
    int64_t content_length; /* of the body that is being taken */
    char *body;
    int64_t body_len;
    uint64_t peer_hash;
    char peer[48];
    char request_id[65];
    ptrdiff_t uri_len;
    char uri[GUARD_URI_MAX + 1];
};

struct api {
    struct clock clock;
    struct mailbox *control;
    struct auth auth;
    const char *version;
    int64_t ingest_body_max, bodies_max;
    struct MHD_Daemon *daemon;
    int port;
    struct loop *loop;
    struct waker waker;
    struct mailbox done;
    pthread_mutex_t lock; /* innermost: nothing else is locked under it */
    pthread_cond_t idle;  /* busy_count fell to 0 */
    int open_count;       /* connections; under the lock */
    int busy_count;       /* requests from WAIT to the end of REPLY; under the lock */
    bool stopping;        /* under the lock */
    /* the HTTP thread's */
    int64_t body_bytes;
    int stream_count;
    struct limiter by_token, by_failure;
    uint64_t id_prefix, id_next;
    struct arena arena;
    struct str openapi;
    struct conn conns[API_CONNECTIONS_MAX];
};

/* conn.c: the states, under the lock. */
struct conn *conn_open(struct api *api, struct MHD_Connection *mhd);
void conn_close(struct conn *conn);
void conn_enter(struct conn *conn, enum conn_state state);
/* Into WAIT, or false: the process is ending. Under one lock with api_stop(), which waits for what it sees in WAIT and ends
 * the library, where nothing may be suspended. */
ATTR_NODISCARD bool conn_wait(struct conn *conn);
void conn_add_body(struct conn *conn, const void *bytes, size_t len);
void conn_reset(struct conn *conn); /* after a request: memory back */
int64_t api_loop_step(void *ctx, int64_t now_ns);

/* reply.c: one answer each; what the library's handler returns. */
enum MHD_Result reply_problem(struct conn *conn, struct problem problem, const char *pointer,
                              int64_t retry_after_s, const char *allow);
enum MHD_Result reply_error(struct conn *conn, enum err err, const char *detail,
                            const char *pointer);
enum MHD_Result reply_control(struct conn *conn);

/* api.c: hands the connection's request to control and suspends the connection (C1, C3). False, and nothing done: the
 * process is ending. */
ATTR_NODISCARD bool conn_ask(struct conn *conn);

#endif
