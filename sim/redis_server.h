// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_REDIS_SERVER_H
#define SIM_REDIS_SERVER_H

#include "base/str.h"
#include "sim/net.h"

/* A Redis for the simulator's network: AUTH, SELECT, SET with PX, GET, UNLINK as the real one answers them, and each way
 * in which a real one, or something that is none, may answer otherwise. */

enum sim_redis_mood {
    SIM_REDIS_WELL,
    SIM_REDIS_OOM,      /* writes are refused: no memory */
    SIM_REDIS_LOADING,  /* everything is refused: it reads its file */
    SIM_REDIS_READONLY, /* writes are refused: it is a replica */
    SIM_REDIS_MOVED,    /* keys are elsewhere: it is a cluster */
    SIM_REDIS_GARBAGE,  /* answers what is no protocol */
    SIM_REDIS_HUGE,     /* announces 2147483647 bytes, sends some */
    SIM_REDIS_MANY,     /* announces an array of 2147483647 */
    SIM_REDIS_HALF,     /* half an answer, then nothing */
    SIM_REDIS_CHATTY,   /* answers twice */
    SIM_REDIS_WRONG,    /* well-formed answers to other questions */
    SIM_REDIS_HANGS_UP, /* ends the connection instead of answering */
    SIM_REDIS_MOODS
};

struct sim_redis;

/* `password` NULL: none is wanted. Kept, not copied. */
struct sim_redis *sim_redis_new(struct sim_net **ret_net, const struct sim_net_options *options,
                                const struct clock *clock, const char *password);

/* Frees the network too. */
void sim_redis_free(struct sim_redis *redis);

void sim_redis_mood(struct sim_redis *redis, enum sim_redis_mood mood);

/* Keys that are there (those whose time has come are not); all, or those that begin with `prefix`. */
int32_t sim_redis_count(struct sim_redis *redis, struct str prefix);

/* Evicts each key with this probability. 1: it was flushed, or came back empty. */
void sim_redis_evict(struct sim_redis *redis, double probability);

/* Overwrites what is under keys that begin with `prefix`. */
void sim_redis_spoil(struct sim_redis *redis, struct str prefix, struct str value);

/* Keys without a time to live, ever: must stay 0. */
int32_t sim_redis_immortal(const struct sim_redis *redis);

/* Values ever set. */
int64_t sim_redis_sets(const struct sim_redis *redis);

#endif
