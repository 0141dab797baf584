// SPDX-License-Identifier: Apache-2.0
#ifndef SHADOWSTORE_REMOTE_H
#define SHADOWSTORE_REMOTE_H

#include "shadowstore/shadowstore.h"

/* A client of a server that keeps values under keys with a time to live: all that the store wants of Redis and Memcached.
 * Submit, then completion into `op->done`; submitted and stepped by the store's own loop. A client never tries again: what
 * failed is told, and the next op connects anew if it must.
 *
 * Errors: NOT_FOUND (GET), LIMIT (the server takes no value of this size, or holds a larger one; the server is well).
 * Anything else says that the server cannot be used now: UNAVAILABLE, TIMEOUT, DENIED (password, certificate, rights),
 * NO_SPACE, CORRUPT (it does not speak the protocol), UNSUPPORTED. After those it is unknown whether the op took effect. */

enum remote_kind {
    REMOTE_SET,   /* keys[0], value, len, ttl_ms */
    REMOTE_GET,   /* keys[0] -> buf[cap], ret_len */
    REMOTE_DELETE /* keys[0..key_count): those that are not there are fine */
};

enum { REMOTE_KEYS_MAX = 32, REMOTE_KEY_MAX = 200 };

struct remote_op {
    struct msg msg; /* first */
    enum remote_kind kind;
    struct mailbox *done;
    char keys[REMOTE_KEYS_MAX][REMOTE_KEY_MAX]; /* 0-terminated; printable, without blanks */
    int32_t key_count;
    const void *value;
    ptrdiff_t len;
    int64_t ttl_ms;
    void *buf;
    ptrdiff_t cap;
    ptrdiff_t ret_len;
    enum err err;
    struct err_info info;
    /* the client's while in flight */
    struct remote_op *next;
    int64_t deadline_ns;
    int32_t answers; /* replies to it that have come: one a command */
};

struct remote;

/* For options of kind redis or memcached; copies what it needs. `waker` is woken when remote_step() is to be called. */
ATTR_NODISCARD enum err remote_new(const struct shadowstore_options *options, struct waker *waker,
                                   struct remote **ret_remote, struct err_info *info);

void remote_submit(struct remote *remote, struct remote_op *op);

/* As a loop's step, after the submits of this turn. */
int64_t remote_step(struct remote *remote, int64_t now_ns);

/* Nothing completes after this; the net has stopped. */
void remote_free(struct remote *remote);

#endif
