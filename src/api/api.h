// SPDX-License-Identifier: Apache-2.0
#ifndef API_API_H
#define API_API_H

#include "api/auth.h"
#include "api/limiter.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mailbox.h"

/* The HTTP server: takes requests, guards, authenticates and binds them, hands them to the control plane by its mailbox
 * and answers when they come back. Threads: the HTTP library's own, which runs all handlers, and one loop ("api") that
 * takes completions and keeps deadlines. Neither ever touches the control plane's state. */

struct api;

struct api_options {
    const struct clock *clock;
    struct mailbox *control; /* where requests go; outlives the api */
    const char *address;     /* IPv4 or IPv6 */
    int port;                /* 0: any free one */
    bool insecure;           /* may listen beyond loopback, without TLS */
    const struct auth *auth; /* copied */
    const char *version;
    int64_t ingest_body_max;          /* bytes; 0: default 8 MiB. Other bodies: 1 MiB */
    int64_t bodies_max;               /* bytes of all bodies in flight; 0: default 128 MiB */
    struct limiter_rate token_rate;   /* calls per token; zeros: default 5000/s, burst 10000 */
    struct limiter_rate failure_rate; /* failed authentications per address; zeros: 5/s, burst 50 */
};

enum {
    API_CONNECTIONS_MAX = 256,
    API_EVENT_STREAMS_MAX = 64,
    API_CONNECTIONS_PER_PEER_MAX = 32,
    API_HEADER_SECONDS = 5, /* for a whole request head, however it drips */
    API_IDLE_SECONDS = 60,
    API_BODY_RATE_MIN = 1024, /* bytes/s after API_HEADER_SECONDS */
    API_BODY_MAX = 1 << 20
};

/* Errors: INVALID (address; or beyond loopback without `insecure`), CONFLICT (the port is taken), IO. */
ATTR_NODISCARD enum err api_start(const struct api_options *options, struct api **ret_api,
                                  struct err_info *info);

int api_port(const struct api *api);

/* Takes no more, waits for the requests that control has (which must still be running), ends, frees. NULL is fine. */
void api_stop(struct api *api);

#endif
