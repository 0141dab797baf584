// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_REAL_NET_TLS_H
#define BASE_REAL_NET_TLS_H

#include "base/net.h"

/* TLS of one connection over a non-blocking socket, for net_real.c alone. One thread at a time. */

struct net_tls_conn;

/* What a call that could not go on waits for. */
enum net_wait { NET_WAIT_NOTHING, NET_WAIT_READ, NET_WAIT_WRITE };

/* Prepares for `fd`, whose other side is called `host`. Errors: INVALID (a CA file that cannot be read), IO. */
ATTR_NODISCARD enum err net_tls_open(int fd, const char *host, const struct net_tls *options,
                                     struct net_tls_conn **ret_tls, struct err_info *info);

/* Each goes as far as it can. OK with *ret_wait NOTHING: done; else: call again when that is possible. `name` is for the
 * message. Errors: DENIED (certificate), UNAVAILABLE, CLOSED (read). */
ATTR_NODISCARD enum err net_tls_handshake(struct net_tls_conn *tls, const char *name,
                                          enum net_wait *ret_wait, struct err_info *info);
ATTR_NODISCARD enum err net_tls_read(struct net_tls_conn *tls, void *buf, ptrdiff_t len,
                                     ptrdiff_t *ret_bytes, enum net_wait *ret_wait);
ATTR_NODISCARD enum err net_tls_write(struct net_tls_conn *tls, const void *buf, ptrdiff_t len,
                                      ptrdiff_t *ret_bytes, enum net_wait *ret_wait);

/* NULL is fine. The socket stays open. */
void net_tls_free(struct net_tls_conn *tls);

#endif
