// SPDX-License-Identifier: Apache-2.0
/* The connection to a server: base's sockets carry what a protocol says, so TLS and the simulator work.
 *
 *   IDLE --an op waits--> CONNECTING --connected--> GREETING --all greetings answered--> READY
 *    ^                        |                        |                                   |
 *    +----- refused, too late +                        +--- refused, too late, garbage ----+--> CLOSING --> IDLE
 *                                                      +--- broken off --------------------+
 *
 * Invariants:
 *   C1  Replies come in the order of the commands: `sent` is that order. A connection of which that is not certain any
 *       more (a time-out, garbage, a reply to nothing) is closed, never used again.
 *   C2  When a connection ends, all ops that were sent or wait are told so; none is tried again.
 *   C3  A server is not blamed for a processor that this side did not get: it runs in the idle class, so on a full machine
 *       its own steps come late, and the net's beside it. A deadline that was noticed late by a tenth of the time-out or
 *       more is put off by as much, twice at most; each command has its own. */
#include "shadowstore/remote.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "shadowstore/protocol.h"

enum { IN_BYTES = 64 << 10, TARGET_MAX = SHADOWSTORE_HOST_MAX + 32, PUT_OFF_MAX = 2 };

enum remote_state { REMOTE_IDLE, REMOTE_CONNECTING, REMOTE_GREETING, REMOTE_READY, REMOTE_CLOSING };

struct op_list {
    struct remote_op *first, *last;
};

struct remote {
    struct protocol *protocol;
    const struct net *net;
    struct mailbox io;
    enum remote_state state;
    struct net_conn conn;
    struct net_op connect, send, recv, close;
    bool sending, receiving;
    struct op_list waiting, sent;
    int greetings;       /* replies to greetings still to come */
    int64_t deadline_ns; /* of CONNECTING and GREETING */
    struct out outs[2];  /* one is filled while the other is sent */
    int filling;
    uint8_t *in; /* [IN_BYTES] */
    int64_t now_ns;
    int put_off; /* times that the deadline of now was (C3) */
    int64_t connect_timeout_ns, timeout_ns;
    int32_t port;
    bool use_tls;
    struct net_tls tls; /* texts: of this struct */
    char host[SHADOWSTORE_HOST_MAX + 1];
    char target[TARGET_MAX]; /* "redis host:port", for messages */
    char ca_file[NET_PATH_MAX];
    char server_name[NET_HOST_MAX + 1];
};

bool out_add(struct out *out, const void *bytes, ptrdiff_t len)
{
    if (len > OUT_BYTES - out->len) {
        return false;
    }
    memcpy(out->bytes + out->len, bytes, (size_t)len);
    out->len += len;
    return true;
}

void server_words(const char *text, ptrdiff_t len, bool first_only,
                  char words[SERVER_WORDS_MAX + 1])
{
    int n = 0;
    while (n < len && n < SERVER_WORDS_MAX && !(first_only && text[n] == ' ')) {
        words[n] = isprint((unsigned char)text[n]) ? text[n] : '?';
        n++;
    }
    words[n] = 0;
}

static void list_push(struct op_list *list, struct remote_op *op)
{
    op->next = NULL;
    if (list->last != NULL) {
        list->last->next = op;
    } else {
        list->first = op;
    }
    list->last = op;
}

static struct remote_op *list_pop(struct op_list *list)
{
    struct remote_op *op = list->first;
    if (op != NULL) {
        list->first = op->next;
        list->last = list->first != NULL ? list->last : NULL;
    }
    return op;
}

/* --- ends --- */

static void end_op(struct remote_op *op, enum err err)
{
    op->err = err;
    mailbox_push(op->done, &op->msg);
}

/* C2. Without a connection there is nothing to close. */
static void fail(struct remote *remote, enum err err, const char *what)
{
    struct remote_op *op;
    while ((op = list_pop(&remote->sent)) != NULL || (op = list_pop(&remote->waiting)) != NULL) {
        end_op(op, err_set(&op->info, err, "%s: %s", remote->target, what));
    }
    remote->greetings = 0;
    remote->put_off = 0;
    remote->outs[remote->filling].len = 0;
    if (remote->state == REMOTE_CONNECTING) {
        remote->state = REMOTE_IDLE;
        return;
    }
    remote->state = REMOTE_CLOSING;
    remote->close = (struct net_op){
        .kind = NET_CLOSE, .conn = remote->conn, .timeout_ns = CLOCK_NEVER, .done = &remote->io};
    net_submit(remote->net, &remote->close);
}

/* --- replies --- */

static const char *hint_of(enum err err)
{
    return err == ERR_UNSUPPORTED ? " (a Redis Cluster: name a server that is none)" : "";
}

static void greeted(struct remote *remote, enum err err, const char *words)
{
    char what[SERVER_WORDS_MAX + 64];
    if (err != ERR_OK) {
        IGNORE_RESULT(snprintf(what, sizeof(what), "says %s to the greeting (%s)", words,
                               err == ERR_DENIED ? "user or password" : "database")); /* fits */
        fail(remote, err, what);
    } else if (--remote->greetings == 0) {
        remote->state = REMOTE_READY;
        remote->put_off = 0;
    }
}

/* A reply to one of the op's commands; the op ends with the last one, or with the first that is not good. */
static void answered(struct remote *remote, struct remote_op *op, enum err err, const char *words)
{
    if (op->err == ERR_OK && err != ERR_OK) {
        op->err = err;
        if (err != ERR_NOT_FOUND) {
            IGNORE_RESULT(err_set(&op->info, err, "%s: says %s%s", remote->target, words,
                                  hint_of(err))); /* it is `err` */
        }
    }
    if (--op->answers == 0) {
        remote->put_off = 0; /* what comes next has a deadline of its own */
        end_op(list_pop(&remote->sent), op->err);
    }
}

static bool is_open(const struct remote *remote)
{
    return remote->state == REMOTE_GREETING || remote->state == REMOTE_READY;
}

/* Takes the replies that are whole. */
static void take_replies(struct remote *remote)
{
    struct protocol *protocol = remote->protocol;
    while (is_open(remote) && protocol->pending(protocol) > 0) {
        char words[SERVER_WORDS_MAX + 1] = "";
        enum err err = ERR_OK;
        struct remote_op *op = remote->greetings > 0 ? NULL : remote->sent.first;
        if (op == NULL && remote->greetings == 0) {
            fail(remote, ERR_CORRUPT, "says something without having been asked"); /* C1 */
            return;
        }
        switch (protocol->next(protocol, op, &err, words)) {
        case ANSWER_MORE:
            return;
        case ANSWER_GARBAGE:
            fail(remote, ERR_CORRUPT,
                 "its answer is none in its protocol, or not to what was asked");
            return;
        case ANSWER_WHOLE:
            break;
        }
        if (op == NULL) {
            greeted(remote, err, words);
        } else {
            answered(remote, op, err, words);
        }
    }
}

/* --- the connection --- */

static void receive(struct remote *remote)
{
    remote->receiving = true;
    remote->recv = (struct net_op){.kind = NET_RECV,
                                   .conn = remote->conn,
                                   .buf = remote->in,
                                   .len = IN_BYTES,
                                   .timeout_ns = CLOCK_NEVER, /* deadlines are kept here */
                                   .done = &remote->io};
    net_submit(remote->net, &remote->recv);
}

static void begin_connect(struct remote *remote)
{
    remote->state = REMOTE_CONNECTING;
    remote->connect = (struct net_op){.kind = NET_CONNECT,
                                      .host = remote->host,
                                      .port = remote->port,
                                      .tls = remote->use_tls ? &remote->tls : NULL,
                                      .timeout_ns = remote->connect_timeout_ns,
                                      .done = &remote->io};
    remote->deadline_ns = remote->now_ns + remote->connect_timeout_ns;
    net_submit(remote->net, &remote->connect);
}

static void connected(struct remote *remote)
{
    const struct net_op *op = &remote->connect;
    if (op->err != ERR_OK) {
        /* The net says the address too; once is enough. */
        const char *place = remote->target + strlen(remote->protocol->name) + 1;
        size_t len = strlen(place);
        bool twice = strncmp(op->info.text, place, len) == 0 && op->info.text[len] == ':';
        fail(remote, op->err, twice ? op->info.text + len + 2 : op->info.text);
        return;
    }
    remote->conn = op->conn;
    remote->protocol->reset(remote->protocol);
    remote->greetings = remote->protocol->greet(remote->protocol, &remote->outs[remote->filling]);
    remote->state = remote->greetings > 0 ? REMOTE_GREETING : REMOTE_READY;
    receive(remote);
}

static void received(struct remote *remote)
{
    const struct net_op *op = &remote->recv;
    remote->receiving = false;
    if (remote->state == REMOTE_CLOSING) {
        return;
    }
    if (op->err != ERR_OK) {
        fail(remote, ERR_UNAVAILABLE,
             op->err == ERR_CLOSED ? "has ended the connection" : "the connection broke off");
    } else if (!remote->protocol->feed(remote->protocol, remote->in, op->done_bytes)) {
        fail(remote, ERR_CORRUPT, "its answer is larger than any that was asked for");
    } else {
        take_replies(remote);
    }
    if (is_open(remote)) {
        receive(remote);
    }
}

static void was_sent(struct remote *remote)
{
    remote->sending = false;
    explicit_bzero(remote->send.buf, (size_t)remote->send.len); /* greetings hold a password */
    if (remote->send.err != ERR_OK && remote->state != REMOTE_CLOSING) {
        fail(remote, ERR_UNAVAILABLE, "the connection broke off");
    }
}

static void take_io(struct remote *remote)
{
    struct msg *msg = mailbox_take_all(&remote->io);
    while (msg != NULL) {
        struct net_op *op = CONTAINER_OF(msg, struct net_op, msg);
        msg = msg->next;
        if (op == &remote->connect) {
            connected(remote);
        } else if (op == &remote->recv) {
            received(remote);
        } else if (op == &remote->send) {
            was_sent(remote);
        } else {
            remote->conn.v = 0;
        }
    }
    if (remote->state == REMOTE_CLOSING && remote->conn.v == 0 && !remote->sending &&
        !remote->receiving) {
        remote->state = REMOTE_IDLE;
    }
}

static void send_waiting(struct remote *remote)
{
    struct out *out = &remote->outs[remote->filling];
    while (remote->state == REMOTE_READY && remote->waiting.first != NULL) {
        struct remote_op *op = remote->waiting.first;
        op->answers = remote->protocol->encode(remote->protocol, op, out);
        if (op->answers == 0) {
            break; /* when what is being sent is out, there is room */
        }
        op->err = ERR_OK;
        op->deadline_ns = remote->now_ns + remote->timeout_ns;
        list_push(&remote->sent, list_pop(&remote->waiting));
    }
    if (!is_open(remote) || remote->sending || out->len == 0) {
        return;
    }
    remote->sending = true;
    remote->send = (struct net_op){.kind = NET_SEND,
                                   .conn = remote->conn,
                                   .buf = out->bytes,
                                   .len = out->len,
                                   .timeout_ns = CLOCK_NEVER,
                                   .done = &remote->io};
    out->len = 0;
    remote->filling = 1 - remote->filling;
    net_submit(remote->net, &remote->send);
}

static int64_t next_deadline(const struct remote *remote)
{
    if (remote->state == REMOTE_GREETING) {
        return remote->deadline_ns;
    }
    bool waits = remote->state == REMOTE_READY && remote->sent.first != NULL;
    return waits ? remote->sent.first->deadline_ns : CLOCK_NEVER;
}

/* C3. Whether the deadline has been put off instead of being kept. */
static bool puts_off(struct remote *remote, int64_t late_ns)
{
    int64_t least_ns = remote->timeout_ns / 10;
    if (late_ns < least_ns || remote->put_off == PUT_OFF_MAX) {
        return false; /* it fails, which ends the count, too */
    }
    int64_t more_ns = late_ns < remote->timeout_ns ? late_ns : remote->timeout_ns;
    remote->put_off++;
    if (remote->state == REMOTE_GREETING) {
        remote->deadline_ns = remote->now_ns + more_ns;
    } else {
        remote->sent.first->deadline_ns = remote->now_ns + more_ns;
    }
    return true;
}

int64_t remote_step(struct remote *remote, int64_t now_ns)
{
    remote->now_ns = now_ns;
    take_io(remote);
    int64_t deadline_ns = next_deadline(remote);
    if (deadline_ns <= now_ns && !puts_off(remote, now_ns - deadline_ns)) {
        fail(remote, ERR_TIMEOUT,
             remote->state == REMOTE_GREETING ? "does not answer the greeting in time"
                                              : "does not answer in time");
    }
    if (remote->state == REMOTE_IDLE && remote->waiting.first != NULL) {
        begin_connect(remote);
    }
    send_waiting(remote);
    return next_deadline(remote);
}

void remote_submit(struct remote *remote, struct remote_op *op)
{
    list_push(&remote->waiting, op);
}

void remote_free(struct remote *remote)
{
    for (int i = 0; i < 2; i++) {
        explicit_bzero(remote->outs[i].bytes, OUT_BYTES); /* greetings hold a password */
        mem_free(remote->outs[i].bytes);
    }
    remote->protocol->free(remote->protocol);
    mem_free(remote->in);
    mem_free(remote);
}

static void copy_text(char *to, ptrdiff_t cap, struct str text)
{
    CHECK(text.len < cap); /* checked with the options */
    if (text.len > 0) {
        memcpy(to, text.ptr, (size_t)text.len);
    }
    to[text.len] = 0;
}

enum err remote_new(const struct shadowstore_options *options, struct waker *waker,
                    struct remote **ret_remote, struct err_info *info)
{
    struct str ca_file = str_of(options->tls_options.ca_file);
    struct str server_name = str_of(options->tls_options.server_name);
    if (options->net == NULL || ca_file.len >= NET_PATH_MAX || server_name.len > NET_HOST_MAX) {
        return err_set(info, ERR_INVALID, "a store with a server wants a net, and names that fit");
    }
    bool redis = options->kind == SHADOWSTORE_REDIS;
    struct remote *remote = MEM_NEW(struct remote);
    remote->protocol = redis ? protocol_redis(options) : protocol_memcached(options);
    remote->net = options->net;
    mailbox_init(&remote->io, waker);
    for (int i = 0; i < 2; i++) {
        remote->outs[i].bytes = mem_new(OUT_BYTES, 1);
    }
    remote->in = mem_new(IN_BYTES, 1);
    remote->port = options->port;
    remote->connect_timeout_ns = options->connect_timeout_ns;
    remote->timeout_ns = options->timeout_ns;
    remote->use_tls = options->tls;
    copy_text(remote->host, (ptrdiff_t)sizeof(remote->host), options->host);
    copy_text(remote->ca_file, (ptrdiff_t)sizeof(remote->ca_file), ca_file);
    copy_text(remote->server_name, (ptrdiff_t)sizeof(remote->server_name), server_name);
    remote->tls = (struct net_tls){.ca_file = ca_file.len > 0 ? remote->ca_file : NULL,
                                   .server_name = server_name.len > 0 ? remote->server_name : NULL,
                                   .no_verify = options->tls_options.no_verify};
    int n = snprintf(remote->target, sizeof(remote->target), "%s %s:%d", remote->protocol->name,
                     remote->host, remote->port);
    CHECK(n > 0 && n < (int)sizeof(remote->target));
    *ret_remote = remote;
    return ERR_OK;
}
