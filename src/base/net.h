// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_NET_H
#define BASE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"

/* Connections to servers (TCP, TLS over it) as an interface: the real one has a thread of its own
 * (base/real/net_real.h), the simulator's (sim/net.h) delays, cuts into pieces, refuses, resets and falls silent.
 * Submit, then completion: the completion is a push of `op->msg` to `op->done`, before or after submit returns; the
 * submitter owns the op until it is back. Any thread may submit.
 *
 * On one connection at most one SEND and one RECV are in flight at a time. A failed op other than TIMEOUT of a RECV leaves
 * the connection unusable: what remains is NET_CLOSE, which ends ops in flight as CANCELLED before it completes itself.
 *
 * Errors of ops: UNAVAILABLE (refused, unreachable, no such name, reset, broken off in the middle), TIMEOUT, CLOSED (RECV: the
 * peer has ended), DENIED (TLS: a certificate that is not to be trusted, by which rule), INVALID, LIMIT (too many
 * connections), CANCELLED. */

enum net_kind {
    NET_CONNECT, /* host, port, tls, timeout -> conn */
    NET_SEND,    /* conn, buf, len, timeout; all or an error */
    NET_RECV,    /* conn, buf, len, timeout -> done_bytes > 0: what has come */
    NET_CLOSE    /* conn */
};

enum { NET_HOST_MAX = 253, NET_PATH_MAX = 1024, NET_CONNS_MAX = 64 };

struct net_conn {
    uint32_t v; /* 0: none; never used again */
};

/* How to judge the other side. Texts are valid until the connect completes. */
struct net_tls {
    const char *ca_file;     /* PEM; NULL: the system's */
    const char *server_name; /* the name the certificate must have; NULL: `host` */
    bool no_verify;          /* takes any certificate: encrypted, but with whom? */
};

struct net_op {
    struct msg msg; /* first */
    enum net_kind kind;
    struct net_conn conn;      /* in; out of NET_CONNECT */
    const char *host;          /* name or numeric address; valid until completion */
    int32_t port;              /* 1..65535 */
    const struct net_tls *tls; /* NULL: plain */
    void *buf;                 /* NET_SEND does not change it */
    ptrdiff_t len;
    int64_t timeout_ns; /* > 0; CLOCK_NEVER: none. Counted from the submit */
    struct mailbox *done;
    /* results */
    enum err err;
    struct err_info info;
    ptrdiff_t done_bytes;
    /* the implementation's while in flight */
    struct net_op *net_next;
    int64_t net_deadline_ns;
    ptrdiff_t net_progress;
};

struct net {
    void *ctx;
    void (*submit)(void *ctx, struct net_op *op);
};

static inline void net_submit(const struct net *net, struct net_op *op)
{
    net->submit(net->ctx, op);
}

#endif
