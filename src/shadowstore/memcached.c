// SPDX-License-Identifier: Apache-2.0
/* Memcached by libmemcached, which blocks: so it has a thread, does one op at a time there, and its time-outs are those of
 * the options. A client object that saw a failure is thrown away: libmemcached leaves a failed server alone by itself for
 * some seconds, and that is the breaker's to decide.
 *
 *   M1  When an op fails, those that wait behind it fail with it: a server that is down costs one time-out, not one each.
 *   M2  No reply makes the library take more than ALLOCATION_MAX in one piece, whatever size the server announces. */
#include <ctype.h>
#include <libmemcached/memcached.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "shadowstore/remote.h"

enum { ALLOCATION_MAX = 4 << 20, ERROR_SHOWN_MAX = 120 };

struct memcached_remote {
    struct remote remote; /* first */
    struct waker waker;
    struct mailbox inbox;
    memcached_st *client; /* NULL: none yet, or the last one failed */
    char host[SHADOWSTORE_HOST_MAX + 1];
    int32_t port;
    int64_t connect_timeout_ns, timeout_ns;
};

/* --- M2: the library's memory --- */

static void *bounded_malloc(const memcached_st *client, const size_t size, void *ctx)
{
    (void)client;
    (void)ctx;
    return size <= ALLOCATION_MAX ? malloc(size) : NULL;
}

static void *bounded_realloc(const memcached_st *client, void *old, const size_t size, void *ctx)
{
    (void)client;
    (void)ctx;
    return size <= ALLOCATION_MAX ? realloc(old, size) : NULL;
}

static void *bounded_calloc(const memcached_st *client, size_t count, const size_t size, void *ctx)
{
    (void)client;
    (void)ctx;
    return size == 0 || count <= ALLOCATION_MAX / size ? calloc(count, size) : NULL;
}

static void give_back(const memcached_st *client, void *ptr, void *ctx)
{
    (void)client;
    (void)ctx;
    free(ptr);
}

/* --- the client --- */

static void set(memcached_st *client, memcached_behavior_t what, int64_t value)
{
    CHECK(memcached_behavior_set(client, what, (uint64_t)value) == MEMCACHED_SUCCESS);
}

static memcached_st *make_client(const struct memcached_remote *m)
{
    memcached_st *client = memcached_create(NULL);
    CHECK_MSG(client != NULL, "out of memory for a client of memcached");
    CHECK(memcached_set_memory_allocators(client, bounded_malloc, give_back, bounded_realloc,
                                          bounded_calloc, NULL) == MEMCACHED_SUCCESS);
    set(client, MEMCACHED_BEHAVIOR_NO_BLOCK, 1); /* so that the time-outs hold */
    set(client, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
    set(client, MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, m->connect_timeout_ns / 1000000);
    set(client, MEMCACHED_BEHAVIOR_POLL_TIMEOUT, m->timeout_ns / 1000000);
    set(client, MEMCACHED_BEHAVIOR_SND_TIMEOUT, m->timeout_ns / 1000);
    set(client, MEMCACHED_BEHAVIOR_RCV_TIMEOUT, m->timeout_ns / 1000);
    CHECK(memcached_server_add(client, m->host, (in_port_t)m->port) == MEMCACHED_SUCCESS);
    return client;
}

static enum err error_of(memcached_return_t rc)
{
    switch ((int)rc) {
    case MEMCACHED_SUCCESS:
    case MEMCACHED_STORED:
    case MEMCACHED_DELETED:
        return ERR_OK;
    case MEMCACHED_NOTFOUND:
    case MEMCACHED_DATA_DOES_NOT_EXIST:
        return ERR_NOT_FOUND;
    case MEMCACHED_E2BIG:
        return ERR_LIMIT;
    case MEMCACHED_TIMEOUT:
        return ERR_TIMEOUT;
    case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE:
        return ERR_NO_SPACE;
    case MEMCACHED_PROTOCOL_ERROR:
    case MEMCACHED_PARTIAL_READ:
    case MEMCACHED_UNKNOWN_READ_FAILURE:
    case MEMCACHED_MEMORY_ALLOCATION_FAILURE: /* M2 */
        return ERR_CORRUPT;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* The library's own words hold the server's; they are made fit to be shown. */
static enum err tell(const struct memcached_remote *m, memcached_return_t rc, struct err_info *info)
{
    char shown[ERROR_SHOWN_MAX + 1];
    const char *text = memcached_last_error_message(m->client);
    int n = 0;
    text = text != NULL ? text : memcached_strerror(m->client, rc);
    for (; text[n] != 0 && n < ERROR_SHOWN_MAX; n++) {
        shown[n] = isprint((unsigned char)text[n]) ? text[n] : '?';
    }
    shown[n] = 0;
    return err_set(info, error_of(rc), "memcached %s:%d: %s", m->host, m->port, shown);
}

/* --- ops --- */

static memcached_return_t run_get(memcached_st *client, struct remote_op *op, bool *ret_too_large)
{
    size_t len = 0;
    uint32_t flags = 0;
    memcached_return_t rc = MEMCACHED_SUCCESS;
    char *value = memcached_get(client, op->keys[0], strlen(op->keys[0]), &len, &flags, &rc);
    *ret_too_large = (ptrdiff_t)len > op->cap;
    op->ret_len = *ret_too_large ? 0 : (ptrdiff_t)len;
    if (value != NULL && op->ret_len > 0) {
        memcpy(op->buf, value, len);
    }
    free(value);
    return rc;
}

static memcached_return_t run_delete(memcached_st *client, const struct remote_op *op)
{
    for (int32_t i = 0; i < op->key_count; i++) {
        memcached_return_t rc = memcached_delete(client, op->keys[i], strlen(op->keys[i]), 0);
        if (error_of(rc) != ERR_OK && error_of(rc) != ERR_NOT_FOUND) {
            return rc;
        }
    }
    return MEMCACHED_SUCCESS;
}

static enum err run_op(struct memcached_remote *m, struct remote_op *op)
{
    memcached_return_t rc = MEMCACHED_SUCCESS;
    bool too_large = false;
    m->client = m->client != NULL ? m->client : make_client(m);
    switch (op->kind) {
    case REMOTE_SET:
        rc = memcached_set(m->client, op->keys[0], strlen(op->keys[0]), op->value, (size_t)op->len,
                           (time_t)((op->ttl_ms + 999) / 1000), 0);
        break;
    case REMOTE_GET:
        rc = run_get(m->client, op, &too_large);
        break;
    case REMOTE_DELETE:
        rc = run_delete(m->client, op);
        break;
    }
    enum err err = too_large ? ERR_LIMIT : error_of(rc);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        return err;
    }
    IGNORE_RESULT(tell(m, rc, &op->info)); /* it is `err`, but for what is too large */
    if (err != ERR_LIMIT) {
        memcached_free(m->client);
        m->client = NULL;
    }
    return err;
}

static int64_t memcached_step(void *ctx, int64_t now_ns)
{
    struct memcached_remote *m = ctx;
    struct msg *msg = mailbox_take_all(&m->inbox);
    struct remote_op *failed = NULL;
    (void)now_ns;
    while (msg != NULL) {
        struct remote_op *op = CONTAINER_OF(msg, struct remote_op, msg);
        msg = msg->next;
        if (failed != NULL) {
            op->err = failed->err; /* M1 */
            op->info = failed->info;
        } else {
            op->err = run_op(m, op);
            bool well = op->err == ERR_OK || op->err == ERR_NOT_FOUND || op->err == ERR_LIMIT;
            failed = well ? NULL : op;
        }
        if (op != failed) {
            mailbox_push(op->done, &op->msg);
        }
    }
    if (failed != NULL) { /* last: the others copy from it */
        mailbox_push(failed->done, &failed->msg);
    }
    return CLOCK_NEVER;
}

static void memcached_submit(struct remote *remote, struct remote_op *op)
{
    struct memcached_remote *m = (struct memcached_remote *)remote;
    mailbox_push(&m->inbox, &op->msg);
}

static struct shadowstore_loop memcached_loop(struct remote *remote)
{
    struct memcached_remote *m = (struct memcached_remote *)remote;
    return (struct shadowstore_loop){
        .name = "memcached", .step = memcached_step, .ctx = m, .waker = &m->waker};
}

static void memcached_remote_free(struct remote *remote)
{
    struct memcached_remote *m = (struct memcached_remote *)remote;
    if (m->client != NULL) {
        memcached_free(m->client);
    }
    mem_free(m);
}

enum err memcached_remote_new(const struct shadowstore_options *options, struct remote **ret_remote,
                              struct err_info *info)
{
    static const struct remote_vtable vtable = {
        .submit = memcached_submit, .loop = memcached_loop, .free = memcached_remote_free};
    if (options->tls || options->username.len > 0 || options->password.len > 0 ||
        options->database != 0) {
        return err_set(info, ERR_INVALID,
                       "a memcached store takes no tls, user, password or database here");
    }
    struct memcached_remote *m = MEM_NEW(struct memcached_remote);
    m->remote.vtable = &vtable;
    waker_init(&m->waker);
    mailbox_init(&m->inbox, &m->waker);
    memcpy(m->host, options->host.ptr, (size_t)options->host.len);
    m->port = options->port;
    m->connect_timeout_ns = options->connect_timeout_ns;
    m->timeout_ns = options->timeout_ns;
    *ret_remote = &m->remote;
    return ERR_OK;
}
