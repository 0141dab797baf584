// SPDX-License-Identifier: Apache-2.0
/* Connections by system calls, on one thread.
 *
 *   a connection:  (free) --CONNECT--> CONNECTING --tcp--> [SHAKING --tls-->] OPEN --CLOSE--> (free)
 *                              |  next address, or none left: the op fails, (free)
 *
 *   N1  A socket is watched for what its pending ops wait for and nothing else; with none pending it is not watched at all
 *       (a peer that hangs up would otherwise wake the thread for ever).
 *   N2  The thread has all signals blocked, SIGPIPE among them: a write to a broken connection says EPIPE. */
#include "base/real/net_real.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/net_tls.h"

enum { EVENTS_MAX = 32, NAME_MAX_BYTES = NET_HOST_MAX + 16 };
#define MS_NS 1000000LL

enum conn_state { CONN_FREE, CONN_CONNECTING, CONN_SHAKING, CONN_OPEN };

struct conn {
    enum conn_state state;
    uint32_t id;
    int fd;
    uint32_t watched; /* events the kernel was told of; 0: none, not in the set */
    struct net_tls_conn *tls;
    struct addrinfo *addresses, *next_address; /* CONNECTING */
    struct net_op *connect, *send, *recv;      /* in flight; NULL: none */
    enum net_wait connect_wait, send_wait, recv_wait;
    char name[NAME_MAX_BYTES]; /* "host:port", for messages */
};

struct net_real {
    struct net net;
    struct clock clock;
    struct mailbox inbox; /* any thread pushes; woken through wake_fd */
    int epoll_fd, wake_fd;
    _Atomic bool stop;
    pthread_t thread;
    struct net_real_options options;
    uint32_t last_id;
    struct conn conns[NET_CONNS_MAX];
};

static void complete(struct net_op *op, enum err err)
{
    op->err = err;
    mailbox_push(op->done, &op->msg);
}

/* --- watching --- */

static uint32_t wanted(const struct conn *conn)
{
    uint32_t events = 0;
    const struct net_op *ops[] = {conn->connect, conn->send, conn->recv};
    const enum net_wait waits[] = {conn->connect_wait, conn->send_wait, conn->recv_wait};
    for (ptrdiff_t i = 0; i < COUNT_OF(ops); i++) {
        if (ops[i] != NULL) {
            events |= waits[i] == NET_WAIT_READ ? EPOLLIN : 0U;
            events |= waits[i] == NET_WAIT_WRITE ? EPOLLOUT : 0U;
        }
    }
    return events;
}

static void watch(const struct net_real *real, struct conn *conn)
{
    uint32_t events = conn->fd >= 0 ? wanted(conn) : 0;
    if (events == conn->watched) {
        return;
    }
    struct epoll_event event = {.events = events, .data.u32 = (uint32_t)(conn - real->conns)};
    int how = events == 0 ? EPOLL_CTL_DEL : conn->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    CHECK(epoll_ctl(real->epoll_fd, how, conn->fd, &event) == 0);
    conn->watched = events;
}

static void drop_socket(const struct net_real *real, struct conn *conn)
{
    net_tls_free(conn->tls);
    conn->tls = NULL;
    if (conn->fd >= 0) {
        if (conn->watched != 0) {
            CHECK(epoll_ctl(real->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL) == 0);
        }
        IGNORE_RESULT(close(conn->fd)); /* nothing is lost by it: what mattered was answered */
    }
    conn->watched = 0;
    conn->fd = -1;
}

static void drop(const struct net_real *real, struct conn *conn)
{
    drop_socket(real, conn);
    if (conn->addresses != NULL) {
        freeaddrinfo(conn->addresses);
    }
    *conn = (struct conn){.state = CONN_FREE, .fd = -1};
}

/* --- connecting --- */

static void end_connect(struct net_real *real, struct conn *conn, enum err err)
{
    struct net_op *op = conn->connect;
    conn->connect = NULL;
    if (err == ERR_OK) {
        freeaddrinfo(conn->addresses);
        conn->addresses = NULL;
        conn->state = CONN_OPEN;
        op->conn.v = conn->id;
    } else {
        drop(real, conn);
    }
    complete(op, err);
}

static void shake(struct net_real *real, struct conn *conn)
{
    struct net_op *op = conn->connect;
    enum err err = net_tls_handshake(conn->tls, conn->name, &conn->connect_wait, &op->info);
    if (err != ERR_OK || conn->connect_wait == NET_WAIT_NOTHING) {
        end_connect(real, conn, err);
    }
}

static void tcp_connected(struct net_real *real, struct conn *conn)
{
    struct net_op *op = conn->connect;
    int on = 1;
    /* Small commands are not to wait for acknowledgements; without it they are merely slower. */
    IGNORE_RESULT(setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
    if (op->tls == NULL) {
        end_connect(real, conn, ERR_OK);
        return;
    }
    enum err err = net_tls_open(conn->fd, op->host, op->tls, &conn->tls, &op->info);
    if (err != ERR_OK) {
        end_connect(real, conn, err);
        return;
    }
    conn->state = CONN_SHAKING;
    shake(real, conn);
}

/* Tries address after address until one is under way or connected. */
static void try_addresses(struct net_real *real, struct conn *conn, int last_errno)
{
    struct net_op *op = conn->connect;
    while (conn->next_address != NULL) {
        const struct addrinfo *address = conn->next_address;
        conn->next_address = address->ai_next;
        conn->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (conn->fd >= 0 && connect(conn->fd, address->ai_addr, address->ai_addrlen) == 0) {
            tcp_connected(real, conn);
            return;
        }
        last_errno = errno;
        if (conn->fd >= 0 && last_errno == EINPROGRESS) {
            conn->connect_wait = NET_WAIT_WRITE;
            return;
        }
        drop_socket(real, conn);
    }
    end_connect(
        real, conn,
        err_set_sys(&op->info, ERR_UNAVAILABLE, last_errno, "%s: cannot connect", conn->name));
}

static void tcp_answered(struct net_real *real, struct conn *conn)
{
    int failure = 0;
    socklen_t len = sizeof(failure);
    CHECK(getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &failure, &len) == 0);
    if (failure == 0) {
        tcp_connected(real, conn);
        return;
    }
    drop_socket(real, conn);
    try_addresses(real, conn, failure);
}

static enum err look_up(struct conn *conn, struct net_op *op)
{
    char port[8];
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    IGNORE_RESULT(snprintf(port, sizeof(port), "%d", op->port)); /* fits */
    int rc = getaddrinfo(op->host, port, &hints, &conn->addresses);
    if (rc != 0) {
        return err_set(&op->info, ERR_UNAVAILABLE, "%s: no such name: %s", conn->name,
                       gai_strerror(rc));
    }
    conn->next_address = conn->addresses;
    return ERR_OK;
}

static void start_connect(struct net_real *real, struct net_op *op)
{
    struct conn *conn = real->conns;
    if (op->port < 1 || op->port > 65535 || strlen(op->host) > NET_HOST_MAX) {
        complete(op,
                 err_set(&op->info, ERR_INVALID, "no address: '%s', port %d", op->host, op->port));
        return;
    }
    while (conn < real->conns + NET_CONNS_MAX && conn->state != CONN_FREE) {
        conn++;
    }
    if (conn == real->conns + NET_CONNS_MAX) {
        complete(op, err_set(&op->info, ERR_LIMIT, "over %d connections", NET_CONNS_MAX));
        return;
    }
    conn->state = CONN_CONNECTING;
    conn->id = ++real->last_id;
    conn->connect = op;
    IGNORE_RESULT(snprintf(conn->name, sizeof(conn->name), "%s:%d", op->host, op->port)); /* fits */
    enum err err = look_up(conn, op);
    if (err != ERR_OK) {
        end_connect(real, conn, err);
        return;
    }
    try_addresses(real, conn, 0);
}

/* --- sending, receiving --- */

static enum err plain_result(ssize_t n, ptrdiff_t *ret_bytes, enum net_wait wait,
                             enum net_wait *ret_wait)
{
    *ret_bytes = n > 0 ? n : 0;
    *ret_wait = NET_WAIT_NOTHING;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        *ret_wait = wait;
        return ERR_OK;
    }
    return n < 0 ? ERR_UNAVAILABLE : n == 0 ? ERR_CLOSED : ERR_OK;
}

static void go_on_sending(struct conn *conn)
{
    struct net_op *op = conn->send;
    enum err err = ERR_OK;
    while (err == ERR_OK && op->net_progress < op->len) {
        const char *from = (const char *)op->buf + op->net_progress;
        ptrdiff_t left = op->len - op->net_progress, n = 0;
        err = conn->tls != NULL ? net_tls_write(conn->tls, from, left, &n, &conn->send_wait)
                                : plain_result(send(conn->fd, from, (size_t)left, MSG_NOSIGNAL), &n,
                                               NET_WAIT_WRITE, &conn->send_wait);
        op->net_progress += n;
        if (err == ERR_OK && conn->send_wait != NET_WAIT_NOTHING) {
            return;
        }
    }
    if (err != ERR_OK) {
        err = err_set(&op->info, ERR_UNAVAILABLE, "%s: the connection broke off", conn->name);
    }
    op->done_bytes = op->net_progress;
    conn->send = NULL;
    complete(op, err);
}

static void go_on_receiving(struct conn *conn)
{
    struct net_op *op = conn->recv;
    ptrdiff_t n = 0;
    enum err err = conn->tls != NULL
                       ? net_tls_read(conn->tls, op->buf, op->len, &n, &conn->recv_wait)
                       : plain_result(recv(conn->fd, op->buf, (size_t)op->len, 0), &n,
                                      NET_WAIT_READ, &conn->recv_wait);
    if (err == ERR_OK && conn->recv_wait != NET_WAIT_NOTHING) {
        return;
    }
    if (err != ERR_OK) {
        err = err_set(&op->info, err, "%s: %s", conn->name,
                      err == ERR_CLOSED ? "the connection was ended" : "the connection broke off");
    }
    op->done_bytes = n;
    conn->recv = NULL;
    complete(op, err);
}

/* --- ops --- */

static struct conn *find(struct net_real *real, struct net_conn id)
{
    for (int i = 0; i < NET_CONNS_MAX; i++) {
        if (real->conns[i].state == CONN_OPEN && real->conns[i].id == id.v) {
            return &real->conns[i];
        }
    }
    return NULL;
}

static void cancel(struct net_op *op)
{
    if (op != NULL) {
        complete(op, err_set(&op->info, ERR_CANCELLED, "the connection was closed"));
    }
}

static void start_transfer(struct net_op *op, struct conn *conn)
{
    struct net_op **place = op->kind == NET_SEND ? &conn->send : &conn->recv;
    if (*place != NULL || op->len <= 0) {
        complete(op, err_set(&op->info, ERR_INVALID, "one at a time, of one byte or more"));
        return;
    }
    *place = op;
    if (op->kind == NET_SEND) {
        go_on_sending(conn);
    } else {
        go_on_receiving(conn);
    }
}

static void take_op(struct net_real *real, struct net_op *op, int64_t now_ns)
{
    op->net_progress = 0;
    op->net_deadline_ns =
        op->timeout_ns > CLOCK_NEVER - now_ns ? CLOCK_NEVER : now_ns + op->timeout_ns;
    op->info = (struct err_info){.code = ERR_OK};
    if (op->kind == NET_CONNECT) {
        start_connect(real, op);
        return;
    }
    struct conn *conn = find(real, op->conn);
    if (conn == NULL) {
        complete(op, err_set(&op->info, ERR_INVALID, "no such connection"));
        return;
    }
    if (op->kind == NET_CLOSE) {
        cancel(conn->send);
        cancel(conn->recv);
        drop(real, conn);
        complete(op, ERR_OK);
        return;
    }
    start_transfer(op, conn);
}

static void go_on(struct net_real *real, struct conn *conn)
{
    if (conn->state == CONN_CONNECTING) {
        tcp_answered(real, conn);
    } else if (conn->state == CONN_SHAKING) {
        shake(real, conn);
    }
    if (conn->state == CONN_OPEN && conn->send != NULL) {
        go_on_sending(conn);
    }
    if (conn->state == CONN_OPEN && conn->recv != NULL) {
        go_on_receiving(conn);
    }
}

/* Ends an op that took too long; the time at which the next one will have. */
static int64_t time_out(struct net_real *real, struct conn *conn, int64_t now_ns)
{
    int64_t next_ns = CLOCK_NEVER;
    struct net_op **places[] = {&conn->connect, &conn->send, &conn->recv};
    for (ptrdiff_t i = 0; i < COUNT_OF(places); i++) {
        struct net_op *op = *places[i];
        if (op == NULL || op->net_deadline_ns > now_ns) {
            int64_t at_ns = op != NULL ? op->net_deadline_ns : CLOCK_NEVER;
            next_ns = at_ns < next_ns ? at_ns : next_ns;
            continue;
        }
        enum err err = err_set(&op->info, ERR_TIMEOUT, "%s: no answer in time", conn->name);
        if (op == conn->connect) {
            end_connect(real, conn, err);
            return CLOCK_NEVER;
        }
        *places[i] = NULL;
        complete(op, err);
    }
    return next_ns;
}

/* --- the thread --- */

static void take_inbox(struct net_real *real)
{
    int64_t now_ns = clock_now_ns(&real->clock);
    struct msg *msg = mailbox_take_all(&real->inbox);
    while (msg != NULL) {
        struct net_op *op = CONTAINER_OF(msg, struct net_op, msg);
        msg = msg->next;
        take_op(real, op, now_ns);
    }
}

static int64_t tend_conns(struct net_real *real)
{
    int64_t now_ns = clock_now_ns(&real->clock);
    int64_t next_ns = CLOCK_NEVER;
    for (int i = 0; i < NET_CONNS_MAX; i++) {
        struct conn *conn = &real->conns[i];
        if (conn->state != CONN_FREE) {
            int64_t at_ns = time_out(real, conn, now_ns);
            next_ns = at_ns < next_ns ? at_ns : next_ns;
            watch(real, conn);
        }
    }
    return next_ns == CLOCK_NEVER ? CLOCK_NEVER : next_ns - now_ns;
}

static int wait_ms(int64_t ns)
{
    int64_t ms = ns == CLOCK_NEVER ? -1 : (ns + MS_NS - 1) / MS_NS;
    return ms > 60000 ? 60000 : (int)ms;
}

/* Waits until a connection can go on, somebody submits, or a deadline comes. */
static void wait_and_go_on(struct net_real *real, int64_t left_ns)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(real->epoll_fd, events, EVENTS_MAX, wait_ms(left_ns));
    CHECK(n >= 0 || errno == EINTR);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == NET_CONNS_MAX) {
            uint64_t count;
            IGNORE_RESULT(read(real->wake_fd, &count, sizeof(count))); /* only its being */
        } else {
            go_on(real, &real->conns[events[i].data.u32]);
        }
    }
}

static void *run(void *arg)
{
    struct net_real *real = arg;
    if (real->options.class == LOOP_IDLE) {
        struct sched_param param = {.sched_priority = 0};
        IGNORE_RESULT(sched_setscheduler(0, SCHED_IDLE, &param)); /* as in loop_real.c */
    }
    IGNORE_RESULT(pthread_setname_np(pthread_self(), real->options.name)); /* too long: none */
    while (!atomic_load(&real->stop)) {
        take_inbox(real);
        wait_and_go_on(real, tend_conns(real));
    }
    return NULL;
}

static void wake(struct net_real *real)
{
    uint64_t one = 1;
    IGNORE_RESULT(write(real->wake_fd, &one, sizeof(one))); /* full: it wakes anyway */
}

static void submit(void *ctx, struct net_op *op)
{
    struct net_real *real = ctx;
    mailbox_push(&real->inbox, &op->msg);
    wake(real);
}

static void start_thread(struct net_real *real)
{
    sigset_t all, before;
    CHECK(sigfillset(&all) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0); /* N2 */
    int rc = pthread_create(&real->thread, NULL, run, real);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK_MSG(rc == 0, "cannot start thread %s: error %d", real->options.name, rc);
}

enum err net_real_start(const struct net_real_options *options, struct net_real **ret_real,
                        struct err_info *info)
{
    struct net_real *real = MEM_NEW(struct net_real);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = NET_CONNS_MAX};
    real->net = (struct net){.ctx = real, .submit = submit};
    real->clock = clock_real();
    real->options = *options;
    mailbox_init(&real->inbox, NULL);
    for (int i = 0; i < NET_CONNS_MAX; i++) {
        real->conns[i].fd = -1;
    }
    real->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    real->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (real->epoll_fd < 0 || real->wake_fd < 0 ||
        epoll_ctl(real->epoll_fd, EPOLL_CTL_ADD, real->wake_fd, &event) != 0) {
        enum err err =
            err_set_sys(info, ERR_IO, errno, "no descriptors for connections to servers");
        IGNORE_RESULT(close(real->epoll_fd)); /* -1: fails, rightly */
        IGNORE_RESULT(close(real->wake_fd));
        mem_free(real);
        return err;
    }
    start_thread(real);
    *ret_real = real;
    return ERR_OK;
}

const struct net *net_real_net(struct net_real *real)
{
    return &real->net;
}

void net_real_stop(struct net_real *real)
{
    if (real == NULL) {
        return;
    }
    atomic_store(&real->stop, true);
    wake(real);
    CHECK(pthread_join(real->thread, NULL) == 0);
    for (int i = 0; i < NET_CONNS_MAX; i++) {
        if (real->conns[i].state != CONN_FREE) {
            drop(real, &real->conns[i]);
        }
    }
    IGNORE_RESULT(close(real->epoll_fd)); /* ours, and nothing is written through them */
    IGNORE_RESULT(close(real->wake_fd));
    mem_free(real);
}
