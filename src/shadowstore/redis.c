// SPDX-License-Identifier: Apache-2.0
/* Redis: hiredis formats commands and reads replies, base's sockets carry them, so TLS and the simulator work.
 *
 *   IDLE --an op waits--> CONNECTING --connected--> GREETING --all greetings answered--> READY
 *    ^                        |                        |                                   |
 *    +----- refused, too late +                        +--- refused, too late, garbage ----+--> CLOSING --> IDLE
 *                                                      +--- broken off --------------------+
 *
 * Invariants:
 *   R1  Replies come in the order of the commands: `sent` is that order. A connection of which that is not certain any
 *       more (a time-out, garbage, a reply to nothing) is closed, never used again.
 *   R2  When a connection ends, all ops that were sent or wait are told so; none is tried again.
 *   R3  No reply is believed that is larger than REPLY_BYTES_MAX, and no array is read: nothing here asks for one.
 *   R4  What the server says to a password is told by its first word alone: it may repeat the password.
 *
 * Commands used, for an access list: AUTH SELECT SET GET UNLINK. */
#include <ctype.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "shadowstore/remote.h"

enum {
    OUT_BYTES = 8 * (SHADOWSTORE_PAGE_BYTES + 1024),
    IN_BYTES = 64 << 10,
    REPLY_BYTES_MAX = 1 << 20,
    ARGUMENTS_MAX = REMOTE_KEYS_MAX + 1,
    ERROR_SHOWN_MAX = 100,
    TARGET_MAX = SHADOWSTORE_HOST_MAX + 16
};

enum redis_state { REDIS_IDLE, REDIS_CONNECTING, REDIS_GREETING, REDIS_READY, REDIS_CLOSING };

struct op_list {
    struct remote_op *first, *last;
};

struct redis {
    struct remote remote; /* first */
    const struct net *net;
    struct mailbox io;
    enum redis_state state;
    struct net_conn conn;
    struct net_op connect, send, recv, close;
    bool sending, receiving;
    struct op_list waiting, sent;
    int greetings; /* replies to AUTH and SELECT still to come */
    bool auth_unanswered;
    int64_t deadline_ns; /* of CONNECTING and GREETING */
    uint8_t *out;        /* [2][OUT_BYTES]: one is filled while the other is sent */
    ptrdiff_t out_len;   /* of the one being filled */
    int filling;
    uint8_t *in; /* [IN_BYTES] */
    redisReader *reader;
    redisReplyObjectFunctions functions;
    int64_t now_ns;
    /* options */
    char host[SHADOWSTORE_HOST_MAX + 1];
    char target[TARGET_MAX]; /* "host:port", for messages */
    int32_t port, database;
    int64_t connect_timeout_ns, timeout_ns;
    bool use_tls;
    struct net_tls tls;
    char ca_file[NET_PATH_MAX];
    char server_name[NET_HOST_MAX + 1];
    char username[SHADOWSTORE_SECRET_MAX + 1];
    char password[SHADOWSTORE_SECRET_MAX + 1];
    ptrdiff_t password_len;
};

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

static void end_op(struct remote_op *op, enum err err, const struct err_info *info)
{
    op->err = err;
    if (info != NULL) {
        op->info = *info;
    }
    mailbox_push(op->done, &op->msg);
}

static void enter(struct redis *redis, enum redis_state state)
{
    redis->state = state;
}

/* R2. Without a connection there is nothing to close. */
static void fail(struct redis *redis, enum err err, const struct err_info *info)
{
    struct remote_op *op;
    while ((op = list_pop(&redis->sent)) != NULL || (op = list_pop(&redis->waiting)) != NULL) {
        end_op(op, err, info);
    }
    redis->greetings = 0;
    redis->out_len = 0;
    if (redis->state == REDIS_CONNECTING) {
        enter(redis, REDIS_IDLE);
        return;
    }
    enter(redis, REDIS_CLOSING);
    redis->close = (struct net_op){
        .kind = NET_CLOSE, .conn = redis->conn, .timeout_ns = CLOCK_NEVER, .done = &redis->io};
    net_submit(redis->net, &redis->close);
}

static void fail_text(struct redis *redis, enum err err, const char *what)
{
    struct err_info info;
    IGNORE_RESULT(err_set(&info, err, "redis %s: %s", redis->target, what)); /* it is `err` */
    fail(redis, err, &info);
}

/* --- commands --- */

static bool append(struct redis *redis, int argc, const char **argv, const size_t *lens)
{
    char *command = NULL;
    int len = redisFormatCommandArgv(&command, argc, argv, lens);
    CHECK_MSG(len > 0, "out of memory for a command to Redis");
    bool fits = len <= OUT_BYTES - redis->out_len;
    if (fits) {
        memcpy(redis->out + (ptrdiff_t)redis->filling * OUT_BYTES + redis->out_len, command,
               (size_t)len);
        redis->out_len += len;
    }
    explicit_bzero(command, (size_t)len); /* it may hold a password */
    redisFreeCommand(command);
    return fits;
}

/* False: it has to wait until what is being sent is out. */
static bool encode(struct redis *redis, const struct remote_op *op)
{
    const char *argv[ARGUMENTS_MAX];
    size_t lens[ARGUMENTS_MAX];
    char ttl[24];
    int argc = 0;
    argv[argc++] = op->kind == REMOTE_SET ? "SET" : op->kind == REMOTE_GET ? "GET" : "UNLINK";
    for (int32_t i = 0; i < op->key_count; i++) {
        argv[argc++] = op->keys[i];
    }
    for (int i = 0; i < argc; i++) {
        lens[i] = strlen(argv[i]);
    }
    if (op->kind == REMOTE_SET) {
        argv[argc] = op->value;
        lens[argc++] = (size_t)op->len;
        argv[argc] = "PX";
        lens[argc++] = 2;
        argv[argc] = ttl;
        lens[argc++] = (size_t)snprintf(ttl, sizeof(ttl), "%lld", (long long)op->ttl_ms); /* fits */
    }
    return append(redis, argc, argv, lens);
}

static void greet(struct redis *redis)
{
    if (redis->password_len > 0) {
        bool named = redis->username[0] != 0;
        const char *argv[3] = {"AUTH", named ? redis->username : redis->password, redis->password};
        size_t password = (size_t)redis->password_len;
        size_t lens[3] = {4, named ? strlen(redis->username) : password, password};
        CHECK(append(redis, named ? 3 : 2, argv, lens)); /* the buffer is empty */
        redis->greetings++;
        redis->auth_unanswered = true;
    }
    if (redis->database != 0) {
        char number[16];
        const char *argv[2] = {"SELECT", number};
        size_t lens[2] = {6, (size_t)snprintf(number, sizeof(number), "%d", redis->database)};
        CHECK(append(redis, 2, argv, lens));
        redis->greetings++;
    }
}

/* --- replies --- */

static enum err error_of(const char *text)
{
    static const struct {
        const char *word;
        enum err err;
    } words[] = {{"OOM ", ERR_NO_SPACE},           {"NOAUTH ", ERR_DENIED},
                 {"WRONGPASS ", ERR_DENIED},       {"NOPERM ", ERR_DENIED},
                 {"MOVED ", ERR_UNSUPPORTED},      {"ASK ", ERR_UNSUPPORTED},
                 {"CLUSTERDOWN ", ERR_UNSUPPORTED}};
    for (ptrdiff_t i = 0; i < COUNT_OF(words); i++) {
        if (strncmp(text, words[i].word, strlen(words[i].word)) == 0) {
            return words[i].err;
        }
    }
    return ERR_UNAVAILABLE;
}

/* What the server said, fit to be shown: printable, short, and of AUTH the first word only (R4). */
static void error_text(const struct redis *redis, const redisReply *reply, bool auth,
                       struct err_info *info)
{
    char shown[ERROR_SHOWN_MAX + 1];
    int n = 0;
    for (size_t i = 0; i < reply->len && n < ERROR_SHOWN_MAX; i++) {
        char c = reply->str[i];
        if (auth && c == ' ') {
            break;
        }
        shown[n++] = isprint((unsigned char)c) ? c : '?';
    }
    shown[n] = 0;
    enum err err = error_of(reply->str);
    const char *hint = err == ERR_UNSUPPORTED ? " (a Redis Cluster: name a server that is none)"
                       : auth                 ? " (to the password)"
                                              : "";
    IGNORE_RESULT(err_set(info, err, "redis %s: says %s%s", redis->target, shown, hint)); /* err */
}

static enum err get_reply(struct remote_op *op, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_NIL) {
        return ERR_NOT_FOUND;
    }
    if (reply->type != REDIS_REPLY_STRING) {
        return ERR_CORRUPT;
    }
    if ((ptrdiff_t)reply->len > op->cap) {
        return ERR_LIMIT;
    }
    memcpy(op->buf, reply->str, reply->len);
    op->ret_len = (ptrdiff_t)reply->len;
    return ERR_OK;
}

static bool is_ok(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STATUS && reply->len == 2 && memcmp(reply->str, "OK", 2) == 0;
}

static void take_greeting(struct redis *redis, const redisReply *reply)
{
    struct err_info info;
    if (reply->type == REDIS_REPLY_ERROR) {
        error_text(redis, reply, redis->auth_unanswered, &info);
        if (redis->auth_unanswered && info.code == ERR_UNAVAILABLE) {
            info.code = ERR_DENIED;
        }
        fail(redis, info.code, &info);
    } else if (!is_ok(reply)) {
        fail_text(redis, ERR_CORRUPT, "answers a greeting with what is no answer to it");
    } else if (--redis->greetings == 0) {
        enter(redis, REDIS_READY);
    }
    redis->auth_unanswered = false;
}

static void take_reply(struct redis *redis, const redisReply *reply)
{
    if (redis->greetings > 0) {
        take_greeting(redis, reply);
        return;
    }
    struct remote_op *op = redis->sent.first;
    if (op == NULL) {
        fail_text(redis, ERR_CORRUPT, "says something without having been asked"); /* R1 */
        return;
    }
    enum err err = ERR_OK;
    if (reply->type == REDIS_REPLY_ERROR) {
        error_text(redis, reply, false, &op->info);
        err = op->info.code;
    } else if (op->kind == REMOTE_GET) {
        err = get_reply(op, reply);
    } else if (op->kind == REMOTE_SET) {
        err = is_ok(reply) ? ERR_OK : ERR_CORRUPT;
    } else {
        err = reply->type == REDIS_REPLY_INTEGER ? ERR_OK : ERR_CORRUPT;
    }
    if (err == ERR_CORRUPT) {
        fail_text(redis, ERR_CORRUPT, "its reply does not belong to the command"); /* R1 */
        return;
    }
    end_op(list_pop(&redis->sent), err, NULL);
}

/* R3. hiredis has its own functions for objects; only the one for arrays is not wanted. */
static void *refuse_array(const redisReadTask *task, int elements)
{
    (void)task;
    (void)elements;
    return NULL;
}

static void make_reader(struct redis *redis)
{
    if (redis->reader != NULL) {
        redisReaderFree(redis->reader);
    }
    redis->reader = redisReaderCreate();
    CHECK_MSG(redis->reader != NULL, "out of memory for a reader of replies");
    redis->functions = *redis->reader->fn;
    redis->functions.createArray = refuse_array;
    redis->reader->fn = &redis->functions;
}

static void take_bytes(struct redis *redis, const void *bytes, ptrdiff_t len)
{
    void *reply = NULL;
    if (redisReaderFeed(redis->reader, bytes, (size_t)len) != REDIS_OK) {
        fail_text(redis, ERR_CORRUPT, "its reply cannot be kept");
        return;
    }
    while (redis->state == REDIS_GREETING || redis->state == REDIS_READY) {
        if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK) {
            fail_text(redis, ERR_CORRUPT, "does not speak the Redis protocol");
            return;
        }
        if (reply == NULL) {
            break;
        }
        take_reply(redis, reply);
        freeReplyObject(reply);
    }
    if (redis->state != REDIS_CLOSING &&
        redis->reader->len - redis->reader->pos > REPLY_BYTES_MAX) {
        fail_text(redis, ERR_CORRUPT, "its reply is larger than anything asked for"); /* R3 */
    }
}

/* --- the connection --- */

static void receive(struct redis *redis)
{
    redis->receiving = true;
    redis->recv = (struct net_op){.kind = NET_RECV,
                                  .conn = redis->conn,
                                  .buf = redis->in,
                                  .len = IN_BYTES,
                                  .timeout_ns = CLOCK_NEVER, /* deadlines are kept here */
                                  .done = &redis->io};
    net_submit(redis->net, &redis->recv);
}

static void begin_connect(struct redis *redis)
{
    enter(redis, REDIS_CONNECTING);
    redis->connect = (struct net_op){.kind = NET_CONNECT,
                                     .host = redis->host,
                                     .port = redis->port,
                                     .tls = redis->use_tls ? &redis->tls : NULL,
                                     .timeout_ns = redis->connect_timeout_ns,
                                     .done = &redis->io};
    redis->deadline_ns = redis->now_ns + redis->connect_timeout_ns;
    net_submit(redis->net, &redis->connect);
}

static void connected(struct redis *redis)
{
    const struct net_op *op = &redis->connect;
    if (op->err != ERR_OK) {
        struct err_info info;
        IGNORE_RESULT(err_set(&info, op->err, "redis %s", op->info.text)); /* it is op->err */
        fail(redis, op->err, &info);
        return;
    }
    redis->conn = op->conn;
    make_reader(redis);
    greet(redis);
    enter(redis, redis->greetings > 0 ? REDIS_GREETING : REDIS_READY);
    receive(redis);
}

static void received(struct redis *redis)
{
    const struct net_op *op = &redis->recv;
    redis->receiving = false;
    if (redis->state == REDIS_CLOSING) {
        return;
    }
    if (op->err == ERR_CLOSED || op->err == ERR_UNAVAILABLE) {
        fail_text(redis, ERR_UNAVAILABLE,
                  op->err == ERR_CLOSED ? "has ended the connection" : "the connection broke off");
    } else if (op->err != ERR_OK) {
        fail(redis, op->err, &op->info);
    } else {
        take_bytes(redis, redis->in, op->done_bytes);
    }
    if (redis->state == REDIS_GREETING || redis->state == REDIS_READY) {
        receive(redis);
    }
}

static void was_sent(struct redis *redis)
{
    redis->sending = false;
    explicit_bzero(redis->send.buf, (size_t)redis->send.len); /* the greeting holds a password */
    if (redis->send.err != ERR_OK && redis->state != REDIS_CLOSING) {
        fail_text(redis, ERR_UNAVAILABLE, "the connection broke off");
    }
}

static void take_io(struct redis *redis)
{
    struct msg *msg = mailbox_take_all(&redis->io);
    while (msg != NULL) {
        struct net_op *op = CONTAINER_OF(msg, struct net_op, msg);
        msg = msg->next;
        if (op == &redis->connect) {
            connected(redis);
        } else if (op == &redis->recv) {
            received(redis);
        } else if (op == &redis->send) {
            was_sent(redis);
        } else {
            redis->conn.v = 0;
        }
    }
    if (redis->state == REDIS_CLOSING && redis->conn.v == 0 && !redis->sending &&
        !redis->receiving) {
        enter(redis, REDIS_IDLE);
    }
}

static void send_waiting(struct redis *redis)
{
    while (redis->state == REDIS_READY && redis->waiting.first != NULL) {
        struct remote_op *op = redis->waiting.first;
        if (!encode(redis, op)) {
            break;
        }
        op->deadline_ns = redis->now_ns + redis->timeout_ns;
        list_push(&redis->sent, list_pop(&redis->waiting));
    }
    bool open = redis->state == REDIS_READY || redis->state == REDIS_GREETING;
    if (!open || redis->sending || redis->out_len == 0) {
        return;
    }
    redis->sending = true;
    redis->send = (struct net_op){.kind = NET_SEND,
                                  .conn = redis->conn,
                                  .buf = redis->out + (ptrdiff_t)redis->filling * OUT_BYTES,
                                  .len = redis->out_len,
                                  .timeout_ns = CLOCK_NEVER,
                                  .done = &redis->io};
    redis->filling = 1 - redis->filling;
    redis->out_len = 0;
    net_submit(redis->net, &redis->send);
}

static int64_t next_deadline(const struct redis *redis)
{
    if (redis->state == REDIS_GREETING) {
        return redis->deadline_ns;
    }
    return redis->state == REDIS_READY && redis->sent.first != NULL ? redis->sent.first->deadline_ns
                                                                    : CLOCK_NEVER;
}

static int64_t redis_step(struct remote *remote, int64_t now_ns)
{
    struct redis *redis = (struct redis *)remote;
    redis->now_ns = now_ns;
    take_io(redis);
    if (next_deadline(redis) <= now_ns) {
        fail_text(redis, ERR_TIMEOUT,
                  redis->state == REDIS_GREETING ? "does not answer the greeting in time"
                                                 : "does not answer in time");
    }
    if (redis->state == REDIS_IDLE && redis->waiting.first != NULL) {
        begin_connect(redis);
    }
    send_waiting(redis);
    return next_deadline(redis);
}

static void redis_submit(struct remote *remote, struct remote_op *op)
{
    struct redis *redis = (struct redis *)remote;
    list_push(&redis->waiting, op);
}

static void redis_free(struct remote *remote)
{
    struct redis *redis = (struct redis *)remote;
    if (redis->reader != NULL) {
        redisReaderFree(redis->reader);
    }
    explicit_bzero(redis->password, sizeof(redis->password));
    explicit_bzero(redis->out, 2 * OUT_BYTES);
    mem_free(redis->out);
    mem_free(redis->in);
    mem_free(redis);
}

static void copy_text(char *to, ptrdiff_t cap, struct str text)
{
    CHECK(text.len < cap); /* checked by the options */
    if (text.len > 0) {
        memcpy(to, text.ptr, (size_t)text.len);
    }
    to[text.len] = 0;
}

enum err redis_new(const struct shadowstore_options *options, struct waker *waker,
                   struct remote **ret_remote, struct err_info *info)
{
    static const struct remote_vtable vtable = {
        .submit = redis_submit, .step = redis_step, .free = redis_free};
    struct str ca_file = str_of(options->tls_options.ca_file);
    struct str server_name = str_of(options->tls_options.server_name);
    if (options->net == NULL || ca_file.len >= NET_PATH_MAX || server_name.len > NET_HOST_MAX) {
        return err_set(info, ERR_INVALID, "a Redis store wants a net, and names that fit it");
    }
    struct redis *redis = MEM_NEW(struct redis);
    redis->remote.vtable = &vtable;
    redis->net = options->net;
    mailbox_init(&redis->io, waker);
    redis->out = mem_new(2, OUT_BYTES);
    redis->in = mem_new(IN_BYTES, 1);
    redis->port = options->port;
    redis->database = options->database;
    redis->connect_timeout_ns = options->connect_timeout_ns;
    redis->timeout_ns = options->timeout_ns;
    redis->use_tls = options->tls;
    copy_text(redis->host, (ptrdiff_t)sizeof(redis->host), options->host);
    copy_text(redis->ca_file, (ptrdiff_t)sizeof(redis->ca_file), ca_file);
    copy_text(redis->server_name, (ptrdiff_t)sizeof(redis->server_name), server_name);
    copy_text(redis->username, (ptrdiff_t)sizeof(redis->username), options->username);
    copy_text(redis->password, (ptrdiff_t)sizeof(redis->password), options->password);
    redis->password_len = options->password.len;
    redis->tls = (struct net_tls){.ca_file = ca_file.len > 0 ? redis->ca_file : NULL,
                                  .server_name = server_name.len > 0 ? redis->server_name : NULL,
                                  .no_verify = options->tls_options.no_verify};
    IGNORE_RESULT(snprintf(redis->target, sizeof(redis->target), "%s:%d", redis->host,
                           redis->port)); /* fits */
    *ret_remote = &redis->remote;
    return ERR_OK;
}
