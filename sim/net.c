// SPDX-License-Identifier: Apache-2.0
#include "sim/net.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

enum { PEERS_MAX = 32 };

/* Bytes on their way: those before `ready` may be taken from `due_ns` on. */
struct pipe {
    uint8_t *bytes;
    ptrdiff_t len, cap;
    int64_t due_ns;
};

struct sim_peer {
    bool used;
    bool ended; /* the server has closed: the client reads what is left, then the end */
    bool reset;
    uint32_t id;
    struct sim_net *net;
    struct pipe to_server, to_client;
    struct net_op *send, *recv;
    void *memory;
};

struct sim_net {
    struct net net;
    struct sim_net_options options;
    struct sim_server server;
    enum sim_net_weather weather;
    struct waker waker;
    struct mailbox inbox;
    int64_t now_ns;
    uint32_t last_id;
    struct net_op *connects; /* under way, by net_next */
    struct sim_peer peers[PEERS_MAX];
};

static int64_t delayed(struct sim_net *net)
{
    int64_t max_ns = net->options.delay_max_ns;
    return net->now_ns + (max_ns > 0 ? rng_range(&net->options.rng, 0, max_ns) : 0);
}

static void pipe_put(struct sim_net *net, struct pipe *pipe, const void *bytes, ptrdiff_t len)
{
    if (pipe->len + len > pipe->cap) {
        pipe->cap = 2 * (pipe->len + len);
        pipe->bytes = mem_resize(pipe->bytes, pipe->cap, 1);
    }
    if (len > 0) {
        memcpy(pipe->bytes + pipe->len, bytes, (size_t)len);
    }
    if (pipe->len == 0) {
        pipe->due_ns = delayed(net);
    }
    pipe->len += len;
}

/* How much arrives now; the next piece comes later. */
static ptrdiff_t pipe_piece(struct sim_net *net, struct pipe *pipe, ptrdiff_t most)
{
    ptrdiff_t n = pipe->len < most ? pipe->len : most;
    ptrdiff_t piece = net->options.piece_bytes;
    if (piece > 0 && n > piece) {
        n = piece;
    }
    return 1 + (ptrdiff_t)rng_below(&net->options.rng, (uint64_t)n);
}

static void pipe_cut(struct sim_net *net, struct pipe *pipe, ptrdiff_t n)
{
    pipe->len -= n;
    memmove(pipe->bytes, pipe->bytes + n, (size_t)pipe->len);
    pipe->due_ns = delayed(net);
}

static void complete(struct net_op *op, enum err err, const char *text)
{
    if (err != ERR_OK) {
        err = err_set(&op->info, err, "the server: %s", text);
    }
    op->err = err;
    mailbox_push(op->done, &op->msg);
}

static void drop(struct sim_peer *peer)
{
    struct sim_net *net = peer->net;
    net->server.closed(net->server.ctx, peer);
    mem_free(peer->to_server.bytes);
    mem_free(peer->to_client.bytes);
    *peer = (struct sim_peer){.used = false};
}

static struct sim_peer *find(struct sim_net *net, uint32_t id)
{
    for (int i = 0; i < PEERS_MAX; i++) {
        if (net->peers[i].used && net->peers[i].id == id) {
            return &net->peers[i];
        }
    }
    return NULL;
}

/* --- ops --- */

static void take_transfer(struct net_op *op, struct sim_peer *peer)
{
    struct net_op **place = op->kind == NET_SEND ? &peer->send : &peer->recv;
    if (*place != NULL || op->len <= 0) {
        complete(op, ERR_INVALID, "one at a time");
        return;
    }
    *place = op;
    if (op->kind == NET_SEND && !peer->reset && !peer->ended) {
        pipe_put(peer->net, &peer->to_server, op->buf, op->len);
    }
}

static void take_close(struct net_op *op, struct sim_peer *peer)
{
    if (peer->send != NULL) {
        complete(peer->send, ERR_CANCELLED, "closed");
    }
    if (peer->recv != NULL) {
        complete(peer->recv, ERR_CANCELLED, "closed");
    }
    drop(peer);
    complete(op, ERR_OK, "");
}

static void take_op(struct sim_net *net, struct net_op *op)
{
    op->done_bytes = 0;
    op->net_deadline_ns =
        op->timeout_ns > CLOCK_NEVER - net->now_ns ? CLOCK_NEVER : net->now_ns + op->timeout_ns;
    if (op->kind == NET_CONNECT && op->tls != NULL) {
        complete(op, ERR_UNSUPPORTED, "no TLS here");
        return;
    }
    if (op->kind == NET_CONNECT) {
        op->net_progress = 0;
        op->net_next = net->connects;
        net->connects = op;
        return;
    }
    struct sim_peer *peer = find(net, op->conn.v);
    if (peer == NULL) {
        complete(op, ERR_INVALID, "no such connection");
    } else if (op->kind == NET_CLOSE) {
        take_close(op, peer);
    } else {
        take_transfer(op, peer);
    }
}

static void accept_one(struct sim_net *net, struct net_op *op)
{
    struct sim_peer *peer = net->peers;
    while (peer < net->peers + PEERS_MAX && peer->used) {
        peer++;
    }
    if (peer == net->peers + PEERS_MAX) {
        complete(op, ERR_LIMIT, "too many connections");
        return;
    }
    *peer = (struct sim_peer){.used = true, .id = ++net->last_id, .net = net};
    op->conn.v = peer->id;
    net->server.opened(net->server.ctx, peer);
    complete(op, ERR_OK, "");
}

static int64_t move_connects(struct sim_net *net)
{
    int64_t next_ns = CLOCK_NEVER;
    struct net_op **at = &net->connects;
    while (*at != NULL) {
        struct net_op *op = *at;
        bool late = op->net_deadline_ns <= net->now_ns;
        if (net->weather == SIM_NET_SILENT && !late) {
            next_ns = op->net_deadline_ns < next_ns ? op->net_deadline_ns : next_ns;
            at = &op->net_next;
            continue;
        }
        *at = op->net_next;
        if (late) {
            complete(op, ERR_TIMEOUT, "no answer in time");
        } else if (net->weather == SIM_NET_REFUSED) {
            complete(op, ERR_UNAVAILABLE, "cannot connect: Connection refused");
        } else {
            accept_one(net, op);
        }
    }
    return next_ns;
}

/* --- bytes --- */

static void end_transfer(struct net_op **place, enum err err, const char *text)
{
    struct net_op *op = *place;
    *place = NULL;
    complete(op, err, text);
}

static void move_to_server(struct sim_peer *peer)
{
    struct sim_net *net = peer->net;
    struct pipe *pipe = &peer->to_server;
    if (pipe->len > 0 && pipe->due_ns <= net->now_ns) {
        ptrdiff_t n = pipe_piece(net, pipe, pipe->len);
        uint8_t *piece = mem_new(n, 1); /* the server may ask for anything of the peer meanwhile */
        memcpy(piece, pipe->bytes, (size_t)n);
        pipe_cut(net, pipe, n);
        net->server.received(net->server.ctx, peer, piece, n);
        mem_free(piece);
    }
    if (peer->send != NULL && pipe->len == 0) {
        peer->send->done_bytes = peer->send->len;
        end_transfer(&peer->send, ERR_OK, "");
    }
}

static void move_to_client(struct sim_peer *peer)
{
    struct sim_net *net = peer->net;
    struct pipe *pipe = &peer->to_client;
    struct net_op *op = peer->recv;
    if (op == NULL) {
        return;
    }
    if (pipe->len > 0 && pipe->due_ns <= net->now_ns) {
        op->done_bytes = pipe_piece(net, pipe, op->len);
        memcpy(op->buf, pipe->bytes, (size_t)op->done_bytes);
        pipe_cut(net, pipe, op->done_bytes);
        end_transfer(&peer->recv, ERR_OK, "");
    } else if (pipe->len == 0 && peer->ended) {
        end_transfer(&peer->recv, ERR_CLOSED, "the connection was ended");
    }
}

static int64_t transfer_deadline(const struct sim_peer *peer)
{
    int64_t next_ns = CLOCK_NEVER;
    if (peer->send != NULL || peer->to_server.len > 0) {
        next_ns = peer->to_server.due_ns;
    }
    if (peer->recv != NULL && peer->to_client.len > 0 && peer->to_client.due_ns < next_ns) {
        next_ns = peer->to_client.due_ns;
    }
    return next_ns;
}

static int64_t move_peer(struct sim_peer *peer)
{
    struct sim_net *net = peer->net;
    if (net->weather == SIM_NET_REFUSED) {
        peer->reset = true;
    }
    if (peer->reset) {
        if (peer->send != NULL) {
            end_transfer(&peer->send, ERR_UNAVAILABLE, "the connection broke off");
        }
        if (peer->recv != NULL) {
            end_transfer(&peer->recv, ERR_UNAVAILABLE, "the connection broke off");
        }
        return CLOCK_NEVER;
    }
    if (net->weather == SIM_NET_SILENT) {
        return CLOCK_NEVER;
    }
    move_to_server(peer);
    move_to_client(peer);
    return transfer_deadline(peer);
}

int64_t sim_net_step(void *ctx, int64_t now_ns)
{
    struct sim_net *net = ctx;
    net->now_ns = now_ns;
    struct msg *msg = mailbox_take_all(&net->inbox);
    while (msg != NULL) {
        struct net_op *op = CONTAINER_OF(msg, struct net_op, msg);
        msg = msg->next;
        take_op(net, op);
    }
    int64_t next_ns = move_connects(net);
    for (int i = 0; i < PEERS_MAX; i++) {
        if (net->peers[i].used) {
            int64_t at_ns = move_peer(&net->peers[i]);
            next_ns = at_ns < next_ns ? at_ns : next_ns;
        }
    }
    return next_ns;
}

static void submit(void *ctx, struct net_op *op)
{
    struct sim_net *net = ctx;
    mailbox_push(&net->inbox, &op->msg);
}

struct sim_net *sim_net_new(const struct sim_net_options *options, const struct sim_server *server)
{
    struct sim_net *net = MEM_NEW(struct sim_net);
    net->net = (struct net){.ctx = net, .submit = submit};
    net->options = *options;
    net->server = *server;
    waker_init(&net->waker);
    mailbox_init(&net->inbox, &net->waker);
    return net;
}

void sim_net_free(struct sim_net *net)
{
    if (net == NULL) {
        return;
    }
    for (int i = 0; i < PEERS_MAX; i++) {
        if (net->peers[i].used) {
            drop(&net->peers[i]);
        }
    }
    mem_free(net);
}

const struct net *sim_net_net(struct sim_net *net)
{
    return &net->net;
}

struct waker *sim_net_waker(struct sim_net *net)
{
    return &net->waker;
}

void sim_net_weather(struct sim_net *net, enum sim_net_weather weather)
{
    net->weather = weather;
    waker_wake(&net->waker);
}

void sim_peer_send(struct sim_peer *peer, const void *bytes, ptrdiff_t len)
{
    if (!peer->reset && !peer->ended) {
        pipe_put(peer->net, &peer->to_client, bytes, len);
    }
}

void sim_peer_close(struct sim_peer *peer)
{
    peer->ended = true;
    waker_wake(&peer->net->waker);
}

void **sim_peer_memory(struct sim_peer *peer)
{
    return &peer->memory;
}
