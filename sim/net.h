// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_NET_H
#define SIM_NET_H

#include "base/net.h"
#include "base/rng.h"
#include "sim/world.h"

/* The simulator's network: one server at one address, connections to it that delay, arrive in pieces and fail as asked.
 * A thing of the world: its step takes ops, moves bytes, completes. TLS is not played; a connect that asks for it is
 * refused as UNSUPPORTED. Reproducible from the generator it is given. */

enum sim_net_weather {
    SIM_NET_FAIR,
    SIM_NET_REFUSED, /* connects fail at once; what is open is reset */
    SIM_NET_SILENT   /* nothing arrives, either way; connects hang until they time out */
};

struct sim_peer; /* the server's end of one connection */

/* What plays the server; called from the network's step. */
struct sim_server {
    void *ctx;
    void (*opened)(void *ctx, struct sim_peer *peer);
    void (*received)(void *ctx, struct sim_peer *peer, const void *bytes, ptrdiff_t len);
    void (*closed)(void *ctx, struct sim_peer *peer);
};

struct sim_net_options {
    struct rng rng;
    int64_t delay_max_ns;  /* of bytes on their way, each way */
    ptrdiff_t piece_bytes; /* most that arrives at a time; 0: any number */
};

struct sim_net;

struct sim_net *sim_net_new(const struct sim_net_options *options, const struct sim_server *server);
void sim_net_free(struct sim_net *net);

const struct net *sim_net_net(struct sim_net *net);

/* To be added to the world. */
int64_t sim_net_step(void *ctx, int64_t now_ns);
struct waker *sim_net_waker(struct sim_net *net);

/* From inside or outside of a step. */
void sim_net_weather(struct sim_net *net, enum sim_net_weather weather);

/* For the server: sends bytes to the client; ends the connection when they are out; what it remembers of the peer. */
void sim_peer_send(struct sim_peer *peer, const void *bytes, ptrdiff_t len);
void sim_peer_close(struct sim_peer *peer);
void **sim_peer_memory(struct sim_peer *peer);

#endif
