// SPDX-License-Identifier: Apache-2.0
#ifndef SHADOWSTORE_PROTOCOL_H
#define SHADOWSTORE_PROTOCOL_H

#include "shadowstore/remote.h"

/* How a server is spoken to: commands out, replies in; no sockets, no time. What differs between Redis and Memcached. */

enum {
    OUT_BYTES = 8 * (SHADOWSTORE_PAGE_BYTES + 1024), /* most that is sent at a time */
    REPLY_BYTES_MAX = 1 << 20,                       /* no reply is believed that is larger */
    SERVER_WORDS_MAX = 100                           /* of what a server says, shown to people */
};

struct out {        /* bytes to be sent */
    uint8_t *bytes; /* [OUT_BYTES] */
    ptrdiff_t len;
};

/* Appends; false, and nothing is, if it does not fit. */
bool out_add(struct out *out, const void *bytes, ptrdiff_t len);

enum answer {
    ANSWER_MORE,   /* not all of it is there yet */
    ANSWER_WHOLE,  /* the reply was taken */
    ANSWER_GARBAGE /* this is not the protocol, or not the answer to this command */
};

/* First member of each protocol's own struct. */
struct protocol {
    const char *name;

    /* A new connection: forgets what came over the last one. */
    void (*reset)(struct protocol *protocol);

    /* Appends what has to be said first; returns how many replies that will have. */
    int (*greet)(struct protocol *protocol, struct out *out);

    /* Appends the op's commands; how many replies they will have, or 0 if there is no room. */
    int (*encode)(struct protocol *protocol, const struct remote_op *op, struct out *out);

    /* Keeps bytes that came. False: more than any reply has. */
    bool (*feed)(struct protocol *protocol, const void *bytes, ptrdiff_t len);

    /* Takes one reply: to `op`, or to a greeting (NULL). On WHOLE `ret_err` is the verdict as remote.h has it; unless it
     * is OK or NOT_FOUND, `words` is what the server said (made printable, cut; of a password's verdict the first word). */
    enum answer (*next)(struct protocol *protocol, struct remote_op *op, enum err *ret_err,
                        char words[SERVER_WORDS_MAX + 1]);

    /* Bytes kept that belong to no reply taken so far. */
    ptrdiff_t (*pending)(const struct protocol *protocol);

    void (*free)(struct protocol *protocol);
};

/* Copies the first words of what a server said, fit to be shown. `first_only`: up to the first blank. */
void server_words(const char *text, ptrdiff_t len, bool first_only,
                  char words[SERVER_WORDS_MAX + 1]);

/* With user, password and database of the options; they are copied and overwritten when freed. */
struct protocol *protocol_redis(const struct shadowstore_options *options);
struct protocol *protocol_memcached(const struct shadowstore_options *options);

#endif
