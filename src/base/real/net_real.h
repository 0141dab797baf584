// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_REAL_NET_REAL_H
#define BASE_REAL_NET_REAL_H

#include "base/loop.h"
#include "base/net.h"

/* Sockets of the machine: one thread that waits for all of its connections. Names are looked up on it, blocking, so who
 * wants to be independent of somebody else's resolver starts a net of his own. TLS by OpenSSL, 1.2 or later. */

struct net_real;

struct net_real_options {
    const char *name; /* of the thread, <= 15 bytes */
    enum loop_class class;
};

/* Starts the thread. Errors: IO (no descriptors left). */
ATTR_NODISCARD enum err net_real_start(const struct net_real_options *options,
                                       struct net_real **ret_real, struct err_info *info);

/* What to submit to; valid until it is freed. */
const struct net *net_real_net(struct net_real *real);

/* Ends the thread (after a look-up that is under way): nothing completes after this. Closes what is open. NULL is fine. */
void net_real_stop(struct net_real *real);

#endif
